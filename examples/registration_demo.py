"""From DRAFT to REGISTERED through the Python API, with a crash and a recovery in between.

    python examples/registration_demo.py [MANIFEST]

The manifest is any JSON object with a name; by default the MCP server in fixtures/. The registry is made in a
new temporary folder, whose path is printed at the end: look around in it with `cat`.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

from registration import RegistrationPipeline, StateChange
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.files.backend import open_files

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parent / "fixtures" / "manifests" / "mcp-server.json"


class DyingDisk(PosixDisk):
    """A disk whose machine dies in the middle of the next event: half a line is written, and that is all."""

    def write(self, fd: int, data: bytes) -> int:
        if not data.startswith(b'{"specversion"'):  # the line that announces the event to the feed
            return super().write(fd, data)
        super().write(fd, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("nobody gets here")


def crash_while_approving(root: Path, manifest_id: str) -> None:
    """Start an approval in a process of its own, and kill that process with SIGKILL half-way."""
    child = os.fork()
    if child == 0:
        store = open_files(root, REGISTRATION, disk=DyingDisk())
        RegistrationPipeline(store=store).approve(manifest_id, actor="bea")
        os._exit(1)  # not reached
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def main(manifest: Path) -> None:
    """Walk one manifest through its life."""
    root = Path(tempfile.mkdtemp(prefix="registration-example-")) / "registry"

    # A pipeline is one registry: a directory of plain files. There is no server and nothing to set up.
    with RegistrationPipeline(root, actor="ada") as pipeline:
        # Handlers are told of every committed event, after it is on the disk. One that fails harms nobody.
        def tell(change: StateChange) -> None:
            print(
                f"  {change.event.version}. {change.event.actor}: {change.event.action} -> {change.to_state}"
            )

        pipeline.on("state_change", tell)

        print(f"Registering {manifest.name}:")
        # The document is checked once, here, and kept as it was given. Its id is what it says of itself.
        draft = pipeline.create(None, manifest.read_bytes(), idempotency_key="import-1")
        manifest_id = draft.manifest_id

        # The same key with the same request gives the first answer again: a caller may safely try again.
        assert pipeline.create(None, manifest.read_bytes(), idempotency_key="import-1") == draft

        pipeline.submit_for_review(manifest_id)

        print("Now a process dies in the middle of an approval.")
        crash_while_approving(root, manifest_id)
        found = pipeline.evidence.verify(manifest_id).findings
        print(f"  what it left: {found[0].kind}, line {found[0].line}: {found[0].reason}")

        # Nothing was acknowledged, so nothing has happened. Reading settles it: the half line goes to
        # quarantine/, since nothing is ever thrown away.
        state = pipeline.load_state(manifest_id)
        print(f"  what the registry says: {state.state}, version {state.version}")
        kept = [path for path in (root / "quarantine").rglob("*") if path.is_file()]
        print(f"  set aside: {kept[0].stat().st_size} bytes in {kept[0].relative_to(root).parts[0]}/")

        print("Approving again:")
        # The reviewer says which version was looked at: if it has moved on since, this is refused.
        pipeline.approve(manifest_id, actor="bea", expected_version=state.version)
        registered = pipeline.register(manifest_id).snapshot

        # The log is the truth. Replaying it from the first byte, its hash chain checked, gives the same bytes.
        snapshot_file = next(root.glob("manifests/*/state.json"))
        before = snapshot_file.read_bytes()
        snapshot_file.unlink()
        assert pipeline.recover_from_events(manifest_id) == registered
        assert snapshot_file.read_bytes() == before
        assert not pipeline.evidence.verify(manifest_id).findings

        approval = registered.approvals[0]
        print(f"{manifest_id} is {registered.state}.")
        print(f"Approved by {approval['actor']} for {approval['digest']}.")
        print(f"The evidence: {root}/manifests/")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
