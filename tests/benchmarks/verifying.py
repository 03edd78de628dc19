"""`verify` of one long log: how fast, and in how much memory; in turn with that of another checkout of this project.

    python tests/benchmarks/verifying.py [--events N] [--rounds N] [--against CHECKOUT] [--json] [DIR]

Each is measured in a process of its own: the processor's time of the verification alone, and the peak of the process's memory. The log is
made in memory, without a commit for each event: submitted, approved under a policy of two guards, rejected, and again, with a new
document at every tenth event.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from registration import RegistrationPipeline
from registration.core.codec import encode_snapshot
from registration.core.decider import decide, sealed
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.commands import Command
from registration.values.documents import check_document
from registration.values.ids import uuid7
from registration.values.times import rfc3339

ID = "long"
POLICY = """
[roles]
approver = ["bea", "cyd"]

[[guards]]
guard = "role"
actions = ["approve"]
any = ["approver"]

[[guards]]
guard = "not_the_author"
actions = ["approve"]
"""

VERIFY = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from registration import RegistrationPipeline
with RegistrationPipeline(sys.argv[2], create=False) as pipeline:
    began = time.process_time()
    found = pipeline.evidence.verify(sys.argv[3])
    spent = time.process_time() - began
# A release of before folds other facts, and does not know this snapshot; the lines are sound to both.
assert not [one for one in found.findings if one.line], found.findings[:3]
print(json.dumps([spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, found.sound_version]))
"""


def make(root: str, events: int) -> None:
    """A registry with one log of so many events, and its snapshot."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create(ID, {"name": "acme/weather", "version": "1"})
    put_in_force(root, POLICY)
    with RegistrationPipeline(root, create=False) as pipeline:
        store, policy = (
            pipeline._registry.store,
            pipeline._registry.policy(),
        )  # the same rules, without a commit for each
        pipeline._registry.engine._keep_rules(policy)  # as above
        state = store.load(ID)
        assert state is not None
        lines = [event.line for event in store.read(ID)]
        clock_ms = int(time.time() * 1000)
        while state.version < events:
            turn = state.version % 10
            action = {"DRAFT": "revise" if not turn else "submit_for_review", "REVIEWED": "approve"}.get(
                state.state, "reject"
            )
            clock_ms += 1000
            command = Command(
                stream=ID,
                action=action,
                actor="bea" if action == "approve" else "ada",
                reason="once more" if action == "reject" else None,
                document=check_document({"name": "acme/weather", "version": str(state.version)})
                if action == "revise"
                else None,
            )
            decided = decide(
                REGISTRATION,
                state,
                command,
                time=rfc3339(clock_ms * 1_000_000),
                event_id=uuid7(clock_ms, clock_ms.to_bytes(10, "big")),
                policy=policy,
            )
            made, (state,) = sealed(REGISTRATION, state, decided, stream=ID, source=store.source)
            lines.append(made[0].line)
    with open(f"{root}/manifests/{ID}/events.jsonl", "wb") as log:
        log.writelines(lines)
    with open(f"{root}/manifests/{ID}/state.json", "wb") as snapshot:
        snapshot.write(encode_snapshot(state))


def put_in_force(root: str, text: str) -> None:
    """Write the policy of a registry, and apply it."""
    with open(f"{root}/policy.toml", "w", encoding="utf-8") as policy:
        policy.write(text)
    with RegistrationPipeline(root, create=False) as pipeline:
        pipeline.upkeep.apply_policy(None, actor="owner", reason="to measure", as_owner=True)


def measured(checkout: str, root: str) -> list[float]:
    """Seconds, MiB and the version up to which the log is valid, of one verification by a checkout."""
    done = subprocess.run(
        [sys.executable, "-c", VERIFY, checkout, root, ID],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    found: list[float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", default=None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("dir", nargs="?", default=None)
    given = parser.parse_args()
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    checkouts = {"this": own} | ({"other": given.against} if given.against else {})
    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        root = f"{folder}/registry"
        # In a process of its own: the peak of a child's memory is never below what its parent had when it began.
        here = os.path.dirname(os.path.abspath(__file__))
        code = "import sys; sys.path.insert(0, sys.argv[1]); import verifying; verifying.make(sys.argv[2], int(sys.argv[3]))"
        subprocess.run([sys.executable, "-c", code, here, root, str(given.events)], check=True)
        taken: dict[str, list[list[float]]] = {name: [] for name in checkouts}
        for _ in range(given.rounds):
            for name, checkout in checkouts.items():
                taken[name].append(measured(checkout, root))
    told: dict[str, Any] = {"events": given.events}
    for name, rounds in taken.items():
        told[name] = {
            "us_per_event": round(statistics.median(one[0] for one in rounds) / given.events * 1e6, 2),
            "peak_mib": round(max(one[1] for one in rounds), 1),
        }
    if given.against:
        pairs = zip(taken["other"], taken["this"], strict=True)
        told["speed"] = round(statistics.median(other[0] / this[0] for other, this in pairs), 3)
    if given.json:
        print(json.dumps(told))
        return
    for name, figures in told.items():
        print(f"{name}: {figures}")


if __name__ == "__main__":
    main()
