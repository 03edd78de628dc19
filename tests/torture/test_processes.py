"""Real processes on one registry: nothing lost, nothing doubled, nothing seen twice; also when they are killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from registration import RegistrationPipeline
from tests.kit.disks import faults_in

# Makes changes to the manifest `a` as soon as it is told to, and says what became of each.
WRITER = """
import json, random, sys
from registration import RegistrationPipeline, RetryPolicy, VersionConflict
import registration.pipeline.pipeline, portalocker

root, name, changes, pinned = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "pinned"
choose = random.Random(name)
possible = {"DRAFT": ["revise", "submit_for_review"], "REVIEWED": ["approve", "reject"], "APPROVED": ["reject"]}
print("ready", flush=True)
sys.stdin.readline()
with RegistrationPipeline(root, actor=name, retry=RetryPolicy(attempts_max=50)) as pipeline:
    for number in range(changes):
        said, action = {"comment": str(number)}, "revise"
        if pinned:
            state = pipeline.load_state("a")
            said["expected_version"] = state.version
            action = choose.choice(possible[state.state])
        try:
            if action == "revise":
                result = pipeline.revise("a", {"by": name, "number": number}, **said)
            else:
                result = pipeline.act("a", action, reason="why", **said)
        except VersionConflict as conflict:
            print(json.dumps({"conflict": conflict.details}), flush=True)
        else:
            print(json.dumps({"id": result.event.id, "version": result.snapshot.version}), flush=True)
"""

# Makes changes to everybody's manifests and manifests of its own until it is killed. An acknowledgement is
# written, with one system call, to a file of its own: what the kernel has taken, no kill takes back.
VICTIM = """
import os, random, sys
from registration import AlreadyExists, RegistrationPipeline, Rejected, VersionConflict
import registration.pipeline.pipeline, portalocker

root, name, acknowledgements = sys.argv[1:]
out = os.open(acknowledgements, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
choose = random.Random(name)
number = 0
with RegistrationPipeline(root, actor=name) as pipeline:
    while True:
        number += 1
        id = choose.choice(["a", "b", f"{name}-{number}"])
        try:
            if id not in "ab":
                result = pipeline.create_with_result(id, {"text": "x" * choose.randrange(20_000)})
            else:
                result = pipeline.revise(id, {"text": "x" * choose.randrange(20_000)})
        except VersionConflict:
            continue
        os.write(out, f"{id} {result.snapshot.version} {result.event.id}\\n".encode())
"""


def start(program, *arguments):
    """A Python process that runs `program`."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def acknowledged_in(directory):
    """The ids of the events that victims were told of, by manifest and version."""
    lines = [
        line.split() for file in directory.glob("acknowledged *") for line in file.read_text().splitlines()
    ]
    return {(id, int(version)): event_id for id, version, event_id in lines}


@pytest.mark.parametrize("mode", ["free", "pinned"])
def test_processes_that_write_at_once_lose_nothing(root, mode):
    """Every call of four processes either is in the log exactly once, or was a conflict; readers see versions grow."""
    with RegistrationPipeline(root) as pipeline:
        pipeline.create("a", {})
        writers = [start(WRITER, root, f"writer {index}", 25, mode) for index in range(4)]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"

        seen, read = [], []
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        while any(writer.poll() is None for writer in writers):
            seen.append(pipeline.load_state("a").version)
            if len(seen) % 10 == 0:
                read.append([event.version for event in pipeline.history("a")])
        said = []
        for writer in writers:
            output, complaints = writer.communicate()
            assert (writer.returncode, complaints) == (0, "")
            said += [json.loads(line) for line in output.splitlines()]

        events = list(pipeline.history("a"))

    written = [answer for answer in said if "id" in answer]
    assert len(said) == 4 * 25
    assert len(written) >= 25  # of writers that collide, one gets through
    assert mode == "pinned" or len(written) == 4 * 25
    assert [event.version for event in events] == list(range(1, len(written) + 2))
    assert {event.version: event.id for event in events[1:]} == {w["version"]: w["id"] for w in written}
    assert len(Counter(event.id for event in events)) == len(events)
    assert all(
        answer["conflict"]["found"] > answer["conflict"]["expected"]
        for answer in said
        if "conflict" in answer
    )
    assert seen == sorted(seen)
    assert all(versions == list(range(1, len(versions) + 1)) for versions in read)


def test_processes_that_are_killed_lose_nothing_that_was_acknowledged(root, tmp_path):
    """Thirty writers are killed at any moment: every acknowledged event is there, and no file is damaged."""
    moments, kills, at_once = random.Random(1), 30, 3
    with RegistrationPipeline(root) as pipeline:
        for id in ("a", "b"):
            pipeline.create(id, {})

        for first in range(0, kills, at_once):
            victims = []
            for index in range(first, first + at_once):
                file = tmp_path / f"acknowledged {index}"
                victims.append((start(VICTIM, root, f"victim{index}", file), file))
            for victim, file in victims:
                while not (file.exists() and file.stat().st_size):  # it is at work
                    assert victim.poll() is None, victim.stderr.read()
                    time.sleep(0.001)
                time.sleep(moments.uniform(0, 0.02))
                victim.kill()
                assert victim.wait() == -signal.SIGKILL
                victim.communicate()

        acknowledged = acknowledged_in(tmp_path)
        ids = list(pipeline.upkeep.manifest_ids())
        assert not any(pipeline.evidence.verify(id).damaged for id in ids)
        for id in ids:
            pipeline.upkeep.recover(id)
        found = {
            (id, event.version): event.id
            for id in ids
            if pipeline.upkeep.recover(id).state is not None
            for event in pipeline.history(id)
        }

        assert acknowledged.items() <= found.items()
        assert 0 <= len(found) - len(acknowledged) - 2 <= kills  # each may have died before it could say so
        assert not any(faults_in(pipeline.evidence.verify(id).findings) for id in ids)


def test_recovery_runs_beside_writers(tmp_path):
    """Recovering the whole registry again and again, while others write to it, costs nobody anything."""
    root = tmp_path / "registry"
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("a", {"by": "ada"})
        writers = [start(WRITER, root, f"w{number}", 25, "free") for number in range(2)]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        while any(writer.poll() is None for writer in writers):
            for id in pipeline.upkeep.manifest_ids():
                recovered = pipeline.upkeep.recover(id)
                found = pipeline.evidence.verify(id)

                assert recovered.state is not None
                assert not found.damaged
        answers = [json.loads(line) for writer in writers for line in writer.communicate()[0].splitlines()]

        events = list(pipeline.history("a"))
    acknowledged = {answer["id"] for answer in answers if "id" in answer}
    assert len(acknowledged) == 50
    assert acknowledged <= {event.id for event in events}
    assert [event.version for event in events] == list(range(1, 52))
