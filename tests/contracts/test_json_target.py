"""The target on plain files: the contract, what its file looks like, and what becomes of it when things break."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random

import pytest

from registration.errors import LockTimeout, StoreError, TargetRefused, TargetUnavailable
from registration.onboarding.community.deploying import Done, JsonTarget, PlannedFailure
from registration.storage.disk import PosixDisk
from registration.storage.files.records import FileRecords
from registration.testing import SimulatedDisk, TargetContract
from registration.testing.simulated_disk import PowerCut
from tests.kit.disks import Killed, ScriptedDisk
from tests.kit.totals import counter


class TestJsonTarget(TargetContract):
    @pytest.fixture
    def open_target(self, tmp_path):
        return lambda: JsonTarget(tmp_path / "community")


def gold(target, key="a"):
    return target.create_role(key, name="Gold", colour="#F1C40F", permissions=["speak"])


def test_the_file_is_what_people_can_read(tmp_path):
    """The community and the ledger in one JSON document, under the names that the module tells."""
    target = JsonTarget(tmp_path / "c")
    role = gold(target)
    channel = target.create_channel("b", name="general", kind="text", category=None)
    target.set_permission("c", channel=channel, role=role, access="write")

    actual = json.loads((tmp_path / "c" / "actual.json").read_bytes())

    ledger = actual.pop("ledger")
    assert actual == {
        "format": 1,
        "roles": {"r1": {"name": "Gold", "colour": "#F1C40F", "permissions": ["speak"]}},
        "channels": {"c2": {"name": "general", "kind": "text", "category": None}},
        "permissions": {"c2": {"r1": {"access": "write", "set_by": "c"}}},
    }
    assert list(ledger["keys"]) == ["a", "b", "c"]
    assert os.listdir(tmp_path / "c") == ["actual.json"]


def test_taking_everything_back_leaves_the_community_as_it_was(tmp_path):
    """Only the ledger remembers."""
    target = JsonTarget(tmp_path / "c")
    before = target.content()
    role = gold(target)
    channel = target.create_channel("b", name="general", kind="text", category=None)
    target.set_permission("c", channel=channel, role=role, access="write")

    target.restore_permission("c")
    target.delete_channel("b")
    target.delete_role("a")

    assert target.content() == before == {"roles": {}, "channels": {}, "permissions": {}}


@pytest.mark.parametrize("refused", [True, False])
def test_a_planned_failure_before_the_call_leaves_nothing(tmp_path, refused):
    """The one that was planned fails, and the next goes through."""
    target = JsonTarget(tmp_path / "c", failures=[PlannedFailure("create_role", nth=2, refused=refused)])
    gold(target)

    with pytest.raises(TargetRefused if refused else TargetUnavailable, match="as planned"):
        target.create_role("b", name="Silver", colour="#95A5A6", permissions=[])

    assert target.find("b") is None
    target.create_role("b", name="Silver", colour="#95A5A6", permissions=[])


def test_a_planned_failure_after_the_call_loses_the_answer_only(tmp_path):
    """What was done is there, and found by its key."""
    target = JsonTarget(tmp_path / "c", failures=[PlannedFailure("create_role", when="after")])

    with pytest.raises(TargetUnavailable, match="was lost"):
        gold(target)

    assert target.find("a") == Done("create_role", "r1", undone=False)
    assert gold(target) == "r1"


def test_a_failure_can_be_planned_for_several_calls(tmp_path):
    """From the nth on, so many times; also for asking."""
    target = JsonTarget(tmp_path / "c", failures=[PlannedFailure("find", nth=2, times=2)])

    assert target.find("a") is None
    for _ in range(2):
        with pytest.raises(TargetUnavailable):
            target.find("a")
    assert target.find("a") is None


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"{}", b'{"format": 2}', b'{"format":1,"roles":[],"channels":{},"permissions":{},"ledger":{}}']
)  # fmt: skip
def test_a_file_that_somebody_broke_is_named_and_left_alone(tmp_path, content):
    """Nothing is made of it, and nothing is written over it."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "actual.json").write_bytes(content)
    target = JsonTarget(tmp_path / "c")

    for act in (lambda: gold(target), lambda: target.find("a"), target.content):
        with pytest.raises(StoreError, match=r"actual\.json is not a community of format 1"):
            act()

    assert (tmp_path / "c" / "actual.json").read_bytes() == content


def test_who_waits_too_long_for_others_is_told(tmp_path):
    """By the name of the directory."""
    gold(JsonTarget(tmp_path / "c"))

    with (
        FileRecords(PosixDisk(), str(tmp_path)).held(("c", "actual.json")),
        pytest.raises(LockTimeout, match=str(tmp_path / "c'")),
    ):
        gold(JsonTarget(tmp_path / "c", lock_timeout_s=0.01), "b")


def make_some(directory, worker, count):
    target = JsonTarget(directory)
    for number in range(count):
        target.create_role(f"{worker}:{number}", name=f"{worker} {number}", colour="#000000", permissions=[])


def test_several_processes_lose_nothing_of_each_other(tmp_path):
    """Each call reads and replaces the file under the lock."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=make_some, args=(tmp_path / "c", n, 25)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(JsonTarget(tmp_path / "c").content()["roles"]) == 100


def test_a_kill_at_any_system_call_leaves_the_file_whole(tmp_path):
    """What was done and its key are there together, or neither; the same key afterwards does it once."""
    number, ended = 0, False
    while not ended:
        number += 1
        directory = tmp_path / str(number)
        disk = ScriptedDisk()
        disk.kill(number)
        try:
            gold(JsonTarget(directory, disk=disk))
            ended = True
        except Killed:
            pass
        target = JsonTarget(directory)
        assert (target.find("a") is None) == (not target.content()["roles"])

        assert gold(target) == "r1"
        assert list(target.content()["roles"]) == ["r1"]
    assert number > 10


@pytest.mark.parametrize("operation", ["write", "sync", "rename", "open", "lock"])
def test_a_disk_that_fails_is_told_and_nothing_is_done_twice(tmp_path, operation):
    """After a failure nobody knows; asking again settles it."""
    disk = ScriptedDisk()
    target = JsonTarget(tmp_path / "c", disk=disk)
    gold(target)
    disk.fail(operation, errno.EIO)

    with pytest.raises(StoreError, match=r"actual\.json failed: (Input/output error|the lock)"):
        target.create_role("b", name="Silver", colour="#95A5A6", permissions=[])

    target.create_role("b", name="Silver", colour="#95A5A6", permissions=[])

    assert len(JsonTarget(tmp_path / "c").content()["roles"]) == 2


def test_a_power_cut_takes_back_nothing_that_was_answered(request):
    """At each system call, in each legal aftermath: whatever a call or `find` had said still holds."""
    looked_at = counter(request.config, "disks looked at after power cuts of a JSON target")
    cut_at, ended = 0, False
    while not ended:
        cut_at += 1
        disk = SimulatedDisk(cut_at=cut_at)
        said = []
        try:
            said.append(gold(JsonTarget("/c", disk=disk)))
            target = JsonTarget("/c", disk=disk)
            said.append(target.create_role("b", name="Silver", colour="#95A5A6", permissions=[]))
            ended = True
        except PowerCut:
            pass
        for after in disk.after_power_cut(random.Random(cut_at), 64):
            looked_at(1)
            target = JsonTarget("/c", disk=after)
            roles = target.content()["roles"]
            assert set(said) <= set(roles)
            assert len(roles) <= len(said) + 1
            for key, role in zip(("a", "b"), ("r1", "r2"), strict=True):
                assert (target.find(key) is not None) == (role in roles)
    assert cut_at > 10


def test_what_find_says_survives_a_power_cut(request):
    """A process was killed between its rename and its sync; the next one found what it did, and then the power went.

    Found by thinking of it: reporting what only the page cache has would let a deployment record a step as done that
    is gone after the cut.
    """
    cut_at, tried = 0, 0
    while True:
        cut_at += 1
        disk = SimulatedDisk(cut_at=cut_at)
        try:
            gold(JsonTarget("/c", disk=disk))
            break
        except PowerCut:
            pass
        survivor = disk.killed()  # the process is gone, the machine is not
        found = JsonTarget("/c", disk=survivor).find("a")
        for after in survivor.after_power_cut(random.Random(cut_at), 64):
            tried += 1
            if found is not None:
                assert JsonTarget("/c", disk=after).find("a") == found
    assert tried > 10
