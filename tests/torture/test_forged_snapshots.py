"""A forged `state.json`: each of its members changed in turn, its checksum computed again, before every command.

A snapshot is a cache that the log proves. Whatever a forged one says, each command decides and answers as if it were honest, or
names the damage; nothing of it is decided on, and nothing of it is answered. The same for logs of release 0.1, whose events
say nothing of their states.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from registration import RegistrationPipeline
from registration.core.codec import encode_snapshot, scan
from registration.core.decider import fold
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.layout import directory_of
from registration.values.events import Position
from tests.cli.test_cli import ID, SERVER, Terminal
from tests.kit.builders import forge
from tests.kit.totals import counter

pytestmark = [pytest.mark.torture, pytest.mark.damaged]

Members = dict[str, Any]
OTHER = "sha256:" + "0" * 64
FORGED_DOCUMENT = {"name": "io.github.acme/evil", "version": "6.6.6"}


def _approval(state: Members) -> None:
    real = state["facts"]["approvals"][0]
    state["facts"]["approvals"].append({**real, "actor": "cyd", "version": real["version"]})


def _set(path: str, value: Any) -> Callable[[Members], None]:
    def forge_it(state: Members) -> None:
        *above, name = path.split("/")
        at = state
        for step in above:
            at = at[step]
        at[name] = value

    return forge_it


FORGERIES: dict[str, Callable[[Members], None]] = {
    "a second approval": _approval,
    "no approvals": _set("facts/approvals", []),
    "another approver": lambda state: state["facts"]["approvals"][0].update(actor="cyd"),
    "another author": _set("facts/authors", ["eve"]),
    "a fact of its own": _set("facts/history", {"IN_REVIEW": "APPROVED"}),
    "a name": lambda state: state["facts"].update(
        name="io.github.acme/weather@1.2.0", named={"version": 1, "time": state["created_at"], "digest": OTHER}
    ),
    "tags": _set("facts/tags", ["safe"]),
    "a fence": _set("facts/fence", {"number": 99, "actor": "eve", "version": 1}),
    "a time-out": _set("facts/due", {"stale": "2020-01-01T00:00:00.000000Z"}),
    "registered": _set("state", "REGISTERED"),
    "a draft": _set("state", "DRAFT"),
    "nowhere": _set("state", "NOWHERE"),
    "a later version": lambda state: state.update(version=state["version"] + 1),
    "an earlier version": lambda state: state.update(version=state["version"] - 1),
    "created earlier": _set("created_at", "2020-01-01T00:00:00.000000Z"),
    "updated later": _set("updated_at", "2036-01-01T00:00:00.000000Z"),
    "another digest": _set("digest", OTHER),
    "another document": _set("document", FORGED_DOCUMENT),
    "another document and its digest": lambda state: state.update(
        document=FORGED_DOCUMENT,
        digest="sha256:" + hashlib.sha256(orjson.dumps(FORGED_DOCUMENT, option=orjson.OPT_SORT_KEYS)).hexdigest(),
    ),
    "true for one": lambda state: state["document"].update(one=True),
    "no document": lambda state: state.update(document=None, digest=None),
    "keys": _set("keys", [{"key": "k-1", "version": 1}]),
    "no keys": _set("keys", []),
    "other rules": _set("registry", {"version": 99, "hash": "0" * 64}),
    "a shorter log": lambda state: state["log"].update(size=state["log"]["size"] - 1),
    "a longer log": lambda state: state["log"].update(size=state["log"]["size"] + 1),
    "another head": _set("log/head", "0" * 64),
    "another format": _set("format", 2),
    "another manifest": _set("subject", "b"),
    "another registry": _set("source", "urn:uuid:00000000-0000-7000-8000-000000000000"),
    "another lifecycle": _set("definition", "other"),
}  # fmt: skip

COMMANDS: dict[str, tuple[str, ...]] = {
    "show": ("show", ID, "--json"),
    "document": ("show", ID, "--document"),
    "log": ("log", ID),
    "list": ("list", "--json"),
    "list --state": ("list", "--state", "APPROVED", "--json"),
    "count": ("count",),
    "query": ("query", "select state, version from manifests"),
    "why": ("why", ID, "--json"),
    "next": ("next", "--as", "cyd", "--json"),
    "receipt": ("receipt", ID),
    "diff": ("diff", ID),
    "blame": ("blame", ID),
    "resolve": ("resolve", "io.github.acme/weather@1.2.0", "--json"),
    "export": ("follow", "--once", "--json"),
    "register": ("register", ID, "--actor", "ada"),
    "approve": ("approve", ID, "--actor", "cyd"),
    "approve by the author": ("approve", ID, "--actor", "ada"),
    "reject": ("reject", ID, "--actor", "bea", "--reason", "no"),
    "revise": ("revise", ID, SERVER),
    "submit": ("submit", ID),
    "undo": ("undo", ID),
    "tag": ("tag", "add", ID, "new"),
    "untag": ("tag", "remove", ID, "safe"),
    "create": ("create", SERVER),
    "again": ("create", SERVER, "--idempotency-key", "k-1"),
    "fenced": ("approve", ID, "--actor", "cyd", "--fence", "5"),
    "tick": ("tick", ID),
    "recover": ("recover", ID),
}  # fmt: skip


def as_forged(path: Path, forgery: Callable[[Members], None]) -> None:
    """Change a snapshot, and compute its checksum again: it has no key."""
    members = json.loads(path.read_text("utf-8"))
    del members["checksum"]
    forgery(members)
    covered = orjson.dumps(members, option=orjson.OPT_INDENT_2)[: -len(b"\n}")]
    checksum = hashlib.sha256(covered).hexdigest()
    path.write_bytes(covered + f',\n  "checksum": "{checksum}"\n}}\n'.encode())


def as_of_release_0_1(directory: Path, source: str) -> None:
    """Take the hashes of the states out of a log, and seal it again."""
    lines = [json.loads(line) for line in (directory / "events.jsonl").read_bytes().splitlines()]
    for line in lines:
        del line["statehash"]
        line["data"] = {name: value for name, value in line["data"].items() if name != "registry"}
        line["data"]["release"] = "0.1.0"
    raw = forge(lines)
    (directory / "events.jsonl").write_bytes(raw)
    state = fold(REGISTRATION, None, scan(raw, stream=ID, source=source, after=Position()).events)
    assert state is not None
    (directory / "state.json").write_bytes(encode_snapshot(state))


def masked(text: str, root: Path) -> str:
    """Output without what differs from run to run: times, ids, hashes, the place."""
    text = text.replace(str(root), "ROOT")
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?Z?", "TIME", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"\b\d+-[0-9a-f]{8}:\d+\b", "CURSOR", text)
    return re.sub(r"\b[0-9a-f]{12,64}\b", "HASH", text)


@pytest.fixture(scope="module", params=["proved", "release 0.1"])
def honest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with rules that want two approvals, and a manifest that has one."""
    root = tmp_path_factory.mktemp("honest") / "registry"
    root.mkdir()
    (root / "policy.toml").write_text(
        '[[guards]]\nguard = "approvals"\nactions = ["register"]\ncount = 2\n'
        '[[guards]]\nguard = "not_the_author"\nactions = ["approve"]\n'
    )
    terminal = Terminal(root)
    terminal.ok("init")
    terminal.ok("create", SERVER, "--idempotency-key", "k-0")
    terminal.ok("submit", ID)
    terminal.ok("approve", ID, "--actor", "bea")
    if request.param == "release 0.1":
        with RegistrationPipeline(root) as pipeline:
            source = pipeline.load_state(ID).source
        as_of_release_0_1(root / "manifests" / directory_of(ID), source)
        shutil.rmtree(root / "feed")
    return root


def outcomes(
    honest: Path, place: Path, forgery: Callable[[Members], None] | None, words: tuple[str, ...]
) -> Any:
    """What a command prints and leaves behind, over a copy whose snapshot is forged."""
    root = place / "registry"
    shutil.copytree(honest, root)
    snapshot = root / "manifests" / directory_of(ID) / "state.json"
    if forgery is not None:
        as_forged(snapshot, forgery)
    terminal = Terminal(root)
    result = terminal.type(*words)
    assert "Traceback" not in result.output
    assert "should not happen" not in result.output
    after = terminal.type("show", ID, "--json")
    shutil.rmtree(root)
    return result, (
        result.exit_code,
        masked(result.stdout, root),
        masked(after.stdout, root),
        after.exit_code,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_of_a_forged_snapshot_is_decided_on_or_answered(
    honest: Path, tmp_path: Path, pytestconfig: pytest.Config, name: str
) -> None:
    """Each forgery is healed from the log, or named as damage; the log decides."""
    words = COMMANDS[name]
    counter(pytestconfig, "commands over forged snapshots")(len(FORGERIES))
    _, expected = outcomes(honest, tmp_path, None, words)
    for forged, forgery in FORGERIES.items():
        result, found = outcomes(honest, tmp_path, forgery, words)
        if found == expected:
            continue
        code, told, after, after_code = found
        if name == "recover" and code == 0:
            assert "rebuilt" in told, forged  # it says what it healed
            assert (after, after_code) == expected[2:], forged
        else:
            # A snapshot that says that the log was longer is a witness of lost bytes: that is named, and nothing is answered.
            assert (after_code, after) == (7, ""), f"{forged}: {found}\nnot\n{expected}"
            answered = [line for line in told.splitlines() if '"error":"corrupt_log"' not in line]
            assert set(answered) <= set(expected[1].splitlines()) | {"0"}, f"{forged}: {result.output}"


@pytest.mark.parametrize("words", [("verify", ID), ("verify", "--quick"), ("verify",)])
def test_a_forged_snapshot_is_found(
    honest: Path, tmp_path: Path, pytestconfig: pytest.Config, words: tuple[str, ...]
) -> None:
    """By the whole verification each; by a quick one whatever one line of the log tells."""
    counter(pytestconfig, "commands over forged snapshots")(len(FORGERIES))
    for forged, forgery in FORGERIES.items():
        result, _ = outcomes(honest, tmp_path, forgery, words)
        if not ("--quick" in words and result.exit_code == 0):
            assert result.exit_code == 7, f"{forged}: {result.output}"
            assert "damage" in result.output


def test_a_gate_is_not_passed_with_a_forged_state(honest: Path, tmp_path: Path) -> None:
    """`examples/install_gate.py` asks the registry, and the registry asks the log."""
    root = tmp_path / "registry"
    shutil.copytree(honest, root)
    as_forged(root / "manifests" / directory_of(ID) / "state.json", FORGERIES["registered"])
    gate = Path(__file__).resolve().parents[2] / "examples" / "install_gate.py"

    ended = subprocess.run(
        [sys.executable, str(gate), str(root), SERVER], capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stdout) == (1, f"refused: {ID} is APPROVED, not REGISTERED\n")
