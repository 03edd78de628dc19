"""Real processes that want the same names: one winner each, also when they are killed at any moment."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter

import pytest

from registration import NotFound, RegistrationPipeline
from tests.torture.test_processes import start

# Registers a manifest of its own for each of the names, as soon as it is told to, and says what became of it.
RACER = """
import json, sys
from registration import NameTaken, RegistrationPipeline
import registration.pipeline.pipeline, portalocker

root, racer, names = sys.argv[1], sys.argv[2], int(sys.argv[3])
with RegistrationPipeline(root, actor=racer) as pipeline:
    for number in range(names):
        id = f"{racer}-{number}"
        pipeline.create(id, {"name": f"n{number}", "version": "1.0.0", "by": racer})
        pipeline.submit_for_review(id)
        pipeline.approve(id)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(names):
        try:
            pipeline.register(f"{racer}-{number}")
        except NameTaken as taken:
            print(json.dumps({"name": taken.details["name"], "held_by": taken.details["holder"]}), flush=True)
        else:
            print(json.dumps({"name": f"n{number}@1.0.0", "won": f"{racer}-{number}"}), flush=True)
"""

# Registers and withdraws manifests of its own that all want one of a few names, until it is killed. An acknowledgement
# is written, with one system call, to a file of its own: what the kernel has taken, no kill takes back.
VICTIM = """
import os, random, sys
from registration import NameTaken, NotFound, RegistrationPipeline
import registration.pipeline.pipeline, portalocker

root, victim, acknowledgements = sys.argv[1:]
out = os.open(acknowledgements, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
choose = random.Random(victim)
number = 0
with RegistrationPipeline(root, actor=victim) as pipeline:
    while True:
        number += 1
        id, version = f"{victim}-{number}", choose.choice(["1.0.0", "1.1.0", "2.0.0-rc.1"])
        pipeline.create(id, {"name": "wanted", "version": version, "by": victim})
        pipeline.submit_for_review(id)
        pipeline.approve(id)
        try:
            event = pipeline.register(id).event
        except NameTaken:
            pass
        else:
            os.write(out, f"{id} {event.version} {event.id}\\n".encode())
            try:
                pipeline.names.resolve("wanted")
            except NotFound:
                pass
            if choose.random() < 0.8:
                event = pipeline.act(id, "withdraw", reason="the next one").event
                os.write(out, f"{id} {event.version} {event.id}\\n".encode())
"""


def test_of_processes_that_want_a_name_one_gets_it(root):
    """Each name has one winner; the others are told who it is, and what they wanted to register is as it was."""
    names, racers = 15, 4
    with RegistrationPipeline(root):
        pass
    running = [start(RACER, root, f"racer{index}", names) for index in range(racers)]
    for racer in running:
        assert racer.stdout.readline() == "ready\n"
    for racer in running:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = []
    for racer in running:
        output, complaints = racer.communicate()
        assert (racer.returncode, complaints) == (0, "")
        said += [json.loads(line) for line in output.splitlines()]

    won = {answer["name"]: answer["won"] for answer in said if "won" in answer}
    assert len(said) == names * racers
    assert Counter("won" in answer for answer in said) == {True: names, False: names * (racers - 1)}
    assert {(answer["name"], answer["held_by"]) for answer in said if "held_by" in answer} == set(won.items())
    with RegistrationPipeline(root) as pipeline:
        states = Counter(summary.state for summary in pipeline.list())
        assert states == {"REGISTERED": names, "APPROVED": names * (racers - 1)}
        for name, id in won.items():
            assert pipeline.names.resolve(name).manifest_id == id
            assert pipeline.names.aliases(name.partition("@")[0])["latest"].manifest_id == id


def test_processes_that_write_one_manifest_share_one_reservation(root):
    """Of several that register the same manifest, one does; the name is held, and nobody's reservation is taken from them."""
    script = """
import sys
from registration import RegistrationPipeline, Rejected, RetryPolicy, VersionConflict
import registration.pipeline.pipeline, portalocker
with RegistrationPipeline(sys.argv[1], actor="x", retry=RetryPolicy(attempts_max=50)) as pipeline:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(15):
        try:
            pipeline.register(f"m{number}")
            print(number, flush=True)
        except Rejected:
            pass
"""
    with RegistrationPipeline(root) as pipeline:
        for number in range(15):
            pipeline.create(f"m{number}", {"name": f"n{number}", "version": "1"})
            pipeline.submit_for_review(f"m{number}")
            pipeline.approve(f"m{number}")
        running = [start(script, root) for _ in range(4)]
        for one in running:
            assert one.stdout.readline() == "ready\n"
        for one in running:
            one.stdin.write("go\n")
            one.stdin.flush()
        told = [line for one in running for line in one.communicate()[0].splitlines()]

        assert sorted(map(int, told)) == list(range(15))
        for number in range(15):
            assert pipeline.names.resolve(f"n{number}@1").manifest_id == f"m{number}"
            assert pipeline.evidence.verify(f"m{number}").findings == ()


def holders(pipeline, name):
    """By name in full, who holds it, as the events of all logs say it."""
    found: dict[str, list[str]] = {}
    for id in pipeline.upkeep.manifest_ids():
        held = None
        for event in pipeline.history(id) if pipeline._registry.store.load(id) is not None else ():
            held = event.data.get("claimed", None if "released" in event.data else held)
        if held is not None:
            assert held.startswith(f"{name}@")
            found.setdefault(held, []).append(id)
    return found


def acknowledged_in(directory):
    """The ids of the events that victims were told of, by manifest and version."""
    lines = [
        line.split() for file in directory.glob("acknowledged *") for line in file.read_text().splitlines()
    ]
    return {(id, int(version)): event_id for id, version, event_id in lines}


def set_to_work(root, tmp_path, indexes):
    """Victims that are all at work; who holds a name may keep the others from an acknowledgement for a while."""
    victims = [start(VICTIM, root, f"victim{index}", tmp_path / f"acknowledged {index}") for index in indexes]
    for index, victim in zip(indexes, victims, strict=True):
        while not list((root / "manifests").glob(f"victim{index}-*")):
            assert victim.poll() is None, victim.stderr.read()
            time.sleep(0.001)
    return victims


def test_no_name_has_two_holders_whenever_processes_are_killed(root, tmp_path):
    """Killed at random while they register and withdraw: every acknowledged event is there, and every holder is the only one."""
    moments, kills, at_once = random.Random(2), 24, 3
    with RegistrationPipeline(root, lifecycle="registration-upkeep") as pipeline:
        for first in range(0, kills, at_once):
            victims = set_to_work(root, tmp_path, range(first, first + at_once))
            while not acknowledged_in(tmp_path):  # the first three find every name free
                time.sleep(0.001)
            for victim in victims:
                time.sleep(moments.uniform(0, 0.03))
                victim.kill()
                assert victim.wait() == -signal.SIGKILL
                victim.communicate()
            held = holders(pipeline, "wanted")
            assert all(len(ids) == 1 for ids in held.values()), held
            for full, (
                id,
            ) in held.items():  # so that the next ones find the names free, or just claimed by the dead
                if moments.random() < 0.7:
                    pipeline.act(id, "withdraw", reason="the next one", actor="ada")
                    with pytest.raises(NotFound):
                        pipeline.names.resolve(full)

        acknowledged = acknowledged_in(tmp_path)
        for id in pipeline.upkeep.manifest_ids():
            pipeline.upkeep.recover(id)
        for name in pipeline.names.known():
            pipeline.upkeep.recover_name(name)
        there = {
            (id, event.version): event.id
            for id in pipeline.upkeep.manifest_ids()
            if pipeline._registry.store.load(id) is not None
            for event in pipeline.history(id)
        }
        assert acknowledged
        assert acknowledged.items() <= there.items()
        held = holders(pipeline, "wanted")
        assert all(len(ids) == 1 for ids in held.values())
        reservations = pipeline._registry.names.reservations
        found = {full: reservations.find(full) for full in reservations.versions("wanted")}
        assert {full: [one and one.manifest_id] for full, one in found.items()} == held
        assert {
            one.full_name: [one.holder.manifest_id] for one in pipeline.names.held() if one.holder
        } == held
        assert not any(pipeline.upkeep.verify_name(name) for name in pipeline.names.known())
