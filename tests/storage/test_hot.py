"""Hot states, snapshots that follow, syncs that overlap: faster, and nothing that was promised is less true."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from registration import RegistrationPipeline
from registration.core.codec import encode_snapshot
from registration.errors import InvalidArgument, StoreError
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.behind import SnapshotsBehind
from registration.storage.disk import PosixDisk
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile
from registration.storage.files.syncs import SLOW_S, Syncs
from registration.storage.hot import HotStates
from registration.storage.ports import Mark
from tests.kit.disks import LOG, SNAPSHOT, ScriptedDisk

WANTED = RegistryFile("019b76da-a800-7000-8000-000000000001", "2026-01-01T00:00:00.000000Z", "registration")


def pipeline_on(disk, root, **options):
    """A pipeline on a registry whose system calls go through `disk`."""
    store = open_files(root, REGISTRATION, wanted=WANTED, disk=disk, **options)
    return RegistrationPipeline(store=store, actor="ada")


def calls_of(disk, act):
    """The system calls that something makes, in order."""
    before = len(disk.calls)
    act()
    return [operation for operation, _ in disk.calls[before:]]


# -- hot states ------------------------------------------------------------------------------------------------------


def test_a_state_that_was_used_lately_takes_one_look_at_its_log(root):
    """Reading it again opens nothing."""
    disk = ScriptedDisk()
    pipeline = pipeline_on(disk, root)
    pipeline.create("a", {"n": 1})

    assert calls_of(disk, lambda: pipeline.load_state("a")) == ["status_at"]


def test_a_transition_makes_no_system_call_without_a_reason(root):
    """One open of the log, one lock, one write, one sync; then the snapshot. Nothing is read back."""
    disk = ScriptedDisk()
    pipeline = pipeline_on(disk, root)
    pipeline.create("a", {"n": 1})
    pipeline.submit_for_review("a")

    assert calls_of(disk, lambda: pipeline.reject("a", reason="no")) == [
        "status_at",  # the log: is the hot state still the latest?
        "status_at",  # the registry's own log: are the rules still in force?
        "status_at",  # has anybody claimed it?
        "open", "open", "lock", "status_at",  # the directory, the log; is it the one that was decided on?
        "status_at",  # registry.json: is the lifecycle still in force?
        "status", "write",  # the feed: the commit is announced
        "write", "sync_data",  # the commit
        "open", "write", "sync", "close", "rename",  # the snapshot
        "status",  # what the log is now, for the next look
        "close", "close",
    ]  # fmt: skip


def test_with_idle_snapshots_a_transition_is_the_log_alone(root):
    """The commit opens one file; whether somebody has claimed the manifest takes one look."""
    disk = ScriptedDisk()
    pipeline = pipeline_on(disk, root, snapshots="idle")
    pipeline._registry.store._behind._start = lambda: None
    pipeline.create("a", {"n": 1})
    pipeline.submit_for_review("a")

    calls = calls_of(disk, lambda: pipeline.reject("a", reason="no"))

    assert calls == [
        "status_at", "status_at", "status_at", "open", "lock", "status_at", "status_at", "status", "write", "write", "sync_data",
        "status", "close",
    ]  # fmt: skip
    pipeline.close()


def test_what_another_process_wrote_is_seen(open_pipeline):
    """A hot state is never older than an acknowledged write, whoever's it was."""
    one, other = open_pipeline(), open_pipeline()
    one.create("a", {"n": 1})
    other.submit_for_review("a")

    assert one.load_state("a").state == "REVIEWED"
    one.approve("a")
    assert other.load_state("a").state == "APPROVED"


def test_a_log_that_was_put_there_is_not_taken_for_the_one_that_was(open_pipeline, root, tmp_path):
    """Another file of the very same size is another log."""
    pipeline = open_pipeline()
    pipeline.create("a", {"n": 1})
    shutil.copytree(root, tmp_path / "copy")
    pipeline.revise("a", {"n": 2})
    with RegistrationPipeline(tmp_path / "copy", actor="ada") as copy:
        copy.revise("a", {"n": 3})
    shutil.rmtree(root / "manifests" / "a")
    shutil.copytree(tmp_path / "copy" / "manifests" / "a", root / "manifests" / "a")

    assert pipeline.load_state("a").document == {"n": 3}


def test_what_callers_do_to_what_they_got_stays_theirs(open_pipeline):
    """Documents and facts of states and events may be changed; the registry goes on with what was written."""
    pipeline = open_pipeline()
    created = pipeline.create_with_result("a", {"n": [1]})
    created.event.data["document"]["n"].append("changed")
    created.snapshot.document["n"].append("changed")
    pipeline.load_state("a").document["n"].append("changed")
    pipeline.submit_for_review("a")
    approved = pipeline.approve("a")
    approved.event.data["approval"]["roles"].append("changed")
    approved.snapshot.approvals[0]["roles"].append("changed")
    seen = []
    pipeline.on("state_change", lambda change: seen.append(change.snapshot.document["n"].append("changed")))

    pipeline.register("a")

    state = pipeline.load_state("a")
    assert state.document == {"n": [1]}
    assert state.approvals[0]["roles"] == []
    assert seen
    with open_pipeline() as afresh:
        assert afresh.upkeep.recover("a").steps == ()
        assert afresh.load_state("a") == state


def test_hot_states_are_bounded(pipeline):
    """The least recently used go, and what is too large for all is not kept."""
    pipeline.create("a", {"n": 1})
    state = pipeline.load_state("a")
    found = Mark(state.position.size_bytes)
    hot = HotStates(entries_max=2, bytes_max=980)
    for stream in ("a", "b"):
        hot.put(stream, state, found)
    hot.get("a")

    hot.put("c", state, found)
    assert [stream for stream in "abc" if hot.get(stream)] == ["a", "c"]
    hot.put("large", replace(state, document={"text": "x" * 900}), found)
    assert [stream for stream in ("a", "c", "large") if hot.get(stream)] == ["large"]
    hot.put("larger", replace(state, document={"text": "x" * 2_000}), found)
    assert hot.get("larger") is None


def test_a_state_of_another_size_than_its_log_is_not_kept(pipeline):
    """A log that has grown meanwhile is another writer's next state."""
    pipeline.create("a", {"n": 1})
    hot = HotStates()

    hot.put("a", pipeline.load_state("a"), Mark(17))

    assert hot.get("a") is None


def test_after_a_failed_write_nothing_hot_is_believed(root):
    """The state is read from the disk again, and the next write goes through."""
    disk = ScriptedDisk()
    pipeline = pipeline_on(disk, root)
    pipeline.create("a", {"n": 1})
    disk.fail("sync_data", errno.EIO, name=LOG)

    with pytest.raises(StoreError):
        pipeline.submit_for_review("a")
    assert "open" in calls_of(disk, lambda: pipeline.load_state("a"))
    assert pipeline.submit_for_review("a").snapshot.version == 2


# -- snapshots that follow ---------------------------------------------------------------------------------------------


def snapshot_of(root, stream="a"):
    path = root / "manifests" / stream / SNAPSHOT
    return path.read_bytes() if path.exists() else None


def wait_until(holds):
    """Give the background its time; a test that waits in vain fails by what it asserts next."""
    for _ in range(1_000):
        if holds():
            return
        time.sleep(0.01)


def test_an_idle_snapshot_follows_when_the_manifest_is_quiet(open_pipeline, root):
    """Without anybody asking for it."""
    pipeline = open_pipeline(snapshots="idle")
    pipeline.create("a", {"n": 1})
    state = pipeline.submit_for_review("a").snapshot

    wait_until(lambda: snapshot_of(root) is not None)

    assert snapshot_of(root) == encode_snapshot(state)


def test_closing_writes_every_snapshot_that_is_behind(open_pipeline, root):
    """`close` leaves nothing to fold."""
    pipeline = open_pipeline(snapshots="idle")
    states = [pipeline.create(f"m{n}", {"n": n}) for n in range(20)]

    pipeline.close()

    assert [snapshot_of(root, state.stream) for state in states] == [encode_snapshot(s) for s in states]


WRITER = """
import os, signal, sys
from registration import RegistrationPipeline
pipeline = RegistrationPipeline(sys.argv[1], actor="ada", snapshots="idle")
pipeline.create("a", {"n": 1})
pipeline.submit_for_review("a")
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["at its end", "killed"])
def test_a_process_that_forgets_to_close_loses_nothing(root, end):
    """At its end it writes what is behind; killed, the next reader folds the rest."""
    run = subprocess.run([sys.executable, "-c", WRITER, root, end], check=False)

    assert run.returncode == (-signal.SIGKILL if end == "killed" else 0)
    assert (snapshot_of(root) is None) is (end == "killed")
    with RegistrationPipeline(root, create=False) as pipeline:
        assert pipeline.load_state("a").state == "REVIEWED"


def test_others_read_what_is_behind_at_once(open_pipeline, root):
    """Another process needn't wait for the snapshot, nor does the writer for the reader."""
    writer, reader = open_pipeline(snapshots="idle"), open_pipeline()
    writer._registry.store._behind._start = lambda: None
    writer.create("a", {"n": 1})

    assert reader.load_state("a").version == 1
    writer.submit_for_review("a")
    assert reader.load_state("a").version == 2
    writer.approve("a")
    writer.close()
    assert snapshot_of(root) == encode_snapshot(open_pipeline().load_state("a"))


def test_a_snapshot_that_others_are_past_is_left_alone(open_pipeline, root):
    """What is behind is written only where it is still the latest."""
    writer, other = open_pipeline(snapshots="idle"), open_pipeline()
    writer._registry.store._behind._start = lambda: None
    writer.create("a", {"n": 1})
    latest = other.submit_for_review("a").snapshot

    writer.close()

    assert snapshot_of(root) == encode_snapshot(latest)


def test_a_snapshot_that_can_not_follow_is_made_by_the_next_reader(root, caplog):
    """A disk that fails in the background harms no commit; it is logged."""
    disk = ScriptedDisk()
    pipeline = pipeline_on(disk, root, snapshots="idle")
    pipeline._registry.store._behind._start = lambda: None
    pipeline.create("a", {"n": 1})
    disk.fail("rename", errno.EIO)

    with caplog.at_level(logging.WARNING):
        pipeline.close()

    assert "writing the snapshot failed" in caplog.text
    with RegistrationPipeline(root, create=False) as afresh:
        assert afresh.load_state("a").version == 1


def test_not_too_many_snapshots_are_behind(monkeypatch):
    """Who commits to one more stream than is allowed writes the first one's."""
    monkeypatch.setattr("registration.storage.behind.BEHIND_MAX", 3)
    written = []
    behind = SnapshotsBehind(lambda stream, _snapshot: written.append(stream))
    behind._start = lambda: None

    for stream in ("a", "b", "a", "c", "d", "e"):
        behind.add(stream, None)

    assert written == ["a", "b"]
    behind.close()
    assert written == ["a", "b", "c", "d", "e"]


def test_a_stream_that_never_rests_gets_its_snapshot_all_the_same(monkeypatch):
    """After a while it is written, however busy the stream."""
    monkeypatch.setattr("registration.storage.behind.QUIET_S", 0.05)
    monkeypatch.setattr("registration.storage.behind.BEHIND_S_MAX", 0.2)
    written = threading.Event()
    behind = SnapshotsBehind(lambda _stream, _snapshot: written.set())

    for _ in range(5_000):
        behind.add("a", None)
        if written.wait(0.002):
            break

    assert written.is_set()
    behind.close()


def test_a_forked_child_leaves_to_its_parent_what_is_behind(open_pipeline, root):
    """It neither writes it nor waits for a thread that it doesn't have."""
    pipeline = open_pipeline(snapshots="idle")
    pipeline.create("a", {"n": 1})

    child = os.fork()
    if child == 0:
        pipeline.submit_for_review("a")
        pipeline.close()
        os._exit(0)
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert pipeline.load_state("a").version == 2


def test_when_snapshots_are_written_is_one_of_two_words(root):
    """Anything else is refused before a registry is made."""
    with pytest.raises(InvalidArgument, match="'each' or 'idle'"):
        RegistrationPipeline(root, snapshots="never")
    assert not root.exists()


# -- syncs that overlap ------------------------------------------------------------------------------------------------


class SlowDisk(PosixDisk):
    """A disk whose syncs take their time. at_once_max: how many of them were under way at once.

    meet: of how many each waits until they are, however late the machine begins the others.
    """

    def __init__(self, takes_s):
        self.takes_s = takes_s
        self.at_once = self.at_once_max = 0
        self.meet = 0
        self.meeting = threading.Condition()
        self.fail_next = None

    def _take_time(self):
        with self.meeting:
            self.at_once += 1
            self.at_once_max = max(self.at_once, self.at_once_max)
            self.meeting.notify_all()
            self.meeting.wait_for(lambda: self.at_once_max >= self.meet, timeout=60)
        time.sleep(self.takes_s)
        with self.meeting:
            self.at_once -= 1

    def sync_data(self, fd):
        super().sync_data(fd)
        self._take_time()
        if self.fail_next:
            error, self.fail_next = self.fail_next, None
            raise error

    def sync(self, fd):
        super().sync(fd)
        self._take_time()


def slow_pipeline(root, takes_s=10 * SLOW_S):
    disk = SlowDisk(takes_s)
    pipeline = pipeline_on(disk, root)
    for n in range(4):  # until it is known how slow it is
        pipeline.create(f"before-{n}", {})
    disk.at_once_max = 0
    return pipeline, disk


def test_on_a_slow_disk_the_syncs_of_a_commit_overlap(root):
    """Those of a log and its snapshot; at a creation those of the directories as well."""
    pipeline, disk = slow_pipeline(root)

    disk.meet = 4
    pipeline.create("a", {"n": 1})
    assert disk.at_once_max == 4
    disk.meet, disk.at_once_max = 2, 0
    state = pipeline.submit_for_review("a").snapshot

    assert disk.at_once_max == 2
    assert snapshot_of(root) == encode_snapshot(state)
    pipeline.close()


def test_on_a_fast_disk_they_do_not(root, monkeypatch):
    """Handing a sync to a thread would cost more than the sync."""
    stopped_clock = SimpleNamespace(perf_counter=lambda: 0.0)  # whatever else the machine does
    monkeypatch.setattr("registration.storage.files.syncs.time", stopped_clock)
    pipeline, disk = slow_pipeline(root, takes_s=0)

    pipeline.create("a", {"n": 1})

    assert disk.at_once_max <= 1


def test_a_log_that_can_not_be_synced_gets_no_snapshot(root):
    """Though the snapshot was prepared meanwhile: nothing was acknowledged, and nothing is left of it."""
    pipeline, disk = slow_pipeline(root)
    before = pipeline.create("a", {"n": 1})
    disk.fail_next = OSError(errno.EIO, "Input/output error")

    with pytest.raises(StoreError, match="Input/output error"):
        pipeline.submit_for_review("a")

    assert disk.at_once == 0
    assert snapshot_of(root) == encode_snapshot(before)
    assert pipeline.load_state("a") == before
    assert pipeline.submit_for_review("a").snapshot.version == 2
    pipeline.close()


def test_a_forked_child_syncs_with_threads_of_its_own(root):
    """It has none of its parent's."""
    pipeline, _ = slow_pipeline(root)
    pipeline.create("a", {"n": 1})

    child = os.fork()
    if child == 0:
        pipeline.submit_for_review("a")
        os._exit(0)
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert pipeline.load_state("a").version == 2
    pipeline.close()


def test_every_sync_is_waited_for_though_one_has_failed():
    """No descriptor is closed under a sync that is still at it."""
    syncs = Syncs(PosixDisk())
    syncs._usual_s = 1.0
    done = []

    def fail(_fd):
        raise OSError(errno.EIO, "failed")

    def dawdle(_fd):
        time.sleep(0.05)
        done.append("dawdled")

    with pytest.raises(OSError, match="failed"):
        syncs.all((fail, 0), (dawdle, 0), beside=lambda: bool(done.append("beside")))

    assert sorted(done) == ["beside", "dawdled"]
    syncs.close()
