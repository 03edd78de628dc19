"""The journal: a line for each commit, before the log is written; what a crash, a fork or somebody with `rm` makes of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration import RegistrationPipeline
from registration.errors import CorruptLog, InvalidArgument, LockTimeout, StoreError
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile
from registration.storage.layout import segment_file, segment_number
from registration.storage.notes import (
    Commit,
    Cursor,
    Header,
    decode_commit,
    decode_header,
    encode_commit,
    parse_cursor,
)
from registration.testing.contract import append
from tests.kit.builders import tries
from tests.kit.disks import LOG, Killed, ScriptedDisk

SEGMENT = "000001.jsonl"
RECORD = Commit("manifests", "a", 7, 2, 100, 300, "f" * 64, "2026-01-01T00:00:00.000000Z")

records = st.builds(
    lambda area, stream, version, count, start, size, head: Commit(
        area, stream, version + count, count, start, start + size, head, "2026-01-01T00:00:00.000000Z"
    ),
    st.sampled_from(["manifests", "aliases", "sessions"]),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~:/@+-]{0,40}", fullmatch=True),
    st.integers(0, 10**9),
    st.integers(1, 1000),
    st.integers(0, 10**12),
    st.integers(1, 10**9),
    st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
)


@pytest.fixture
def open_store(root):
    wanted = RegistryFile(
        "019b76da-a800-7000-8000-000000000001", "2026-01-01T00:00:00.000000Z", REGISTRATION.name
    )

    def open_store(disk=None, **options):
        return open_files(root, REGISTRATION, wanted=wanted, disk=disk, **options)

    return open_store


@pytest.fixture
def store(open_store):
    store = open_store()
    yield store
    store.close()


@pytest.fixture
def feed(root):
    return root / "feed"


def events_of(store, after=None):
    """What the feed has, as streams and versions."""
    return [(entry.event.subject, entry.event.version) for entry in store.feed(after)]


def lines_of(feed, name=SEGMENT):
    """The records in a segment."""
    return [json.loads(line) for line in (feed / name).read_bytes().splitlines()[1:]]


def reboot(feed):
    """Have the segments be of an earlier run of the machine: a header has another boot id."""
    for path in feed.glob("*.jsonl"):
        first, _, rest = path.read_bytes().partition(b"\n")
        header = json.loads(first)
        header["boot"] = f"before {header['boot']}"
        path.write_bytes(json.dumps(header).encode() + b"\n" + rest)


# -- lines and cursors -----------------------------------------------------------------------------------------


@tries(200)
@given(records, st.booleans())
def test_a_record_comes_back_as_it_was(record, late):
    """A line is what was announced, and one line."""
    line = record.encode(late=late)

    assert decode_commit(line) == record
    assert line.count(b"\n") == 1
    assert line.count(b"{") == 1


@tries(200)
@given(records, records, st.integers(0, 400))
def test_a_line_that_follows_on_the_remains_of_another_counts(first, second, cut):
    """A writer that died inside of its line takes no other's along."""
    line = first.encode()[:-1][:cut] + second.encode()

    assert decode_commit(line) == second


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[1]\n",
        b'"s"\n',
        b"nothing\n",
        b"\0" * 20,
        Header(1, "0" * 8, "", "urn:uuid:x").encode(),
        RECORD.encode()[:-5],
        RECORD.encode().replace(b'"v":7', b'"v":"7"'),
        RECORD.encode().replace(b'"v":7', b'"v":true'),
        RECORD.encode().replace(b'"n":2', b'"n":0'),
        RECORD.encode().replace(b'"n":2', b'"n":8'),
        RECORD.encode().replace(b'"o":100', b'"o":300'),
        RECORD.encode().replace(b'"o":100', b'"o":-1'),
        RECORD.encode().replace(b'"s":"a"', b'"s":1'),
        RECORD.encode().replace(b'"s":"a",', b""),
    ],
)
def test_what_is_no_record_is_none(line):
    """Whatever stands in a segment, nothing is made of it that nobody announced."""
    assert decode_commit(line) is None


def test_a_header_comes_back_as_it_was():
    """And what is none is none."""
    header = Header(3, "0123abcd", "run", "urn:uuid:x")

    assert decode_header(header.encode()) == header
    for line in (b"", b"{}", b"[]", b"1", b"\0\0", header.encode().replace(b"3", b'"3"', 1)):
        assert decode_header(line) is None


@tries(200)
@given(
    st.integers(0, 999_999_999), st.integers(0, 16**8 - 1), st.integers(0, 10**15 - 1), st.integers(0, 999)
)
def test_a_cursor_is_its_text(segment, id, offset, taken):
    """A cursor can be kept as text, and read again."""
    cursor = Cursor(segment, f"{id:08x}", offset, taken)

    assert parse_cursor(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "1", "1:0", "1-0123abcd", "1-0123ABCD:0", "1-0123abcd:0+", "1-0123abcd:-1",
                                  "1-0123abcd:0\n", "1:0123abcd-0", "now", None, 7, b"1-0123abcd:0"])  # fmt: skip
def test_a_text_that_is_no_cursor_is_refused(text):
    """And says what is one."""
    with pytest.raises(InvalidArgument, match="is not a cursor"):
        parse_cursor(text)


def test_a_segment_is_its_file_name():
    """Names that only look like a segment's are none."""
    for number in (0, 1, 999_999, 1_234_567):
        assert segment_number(segment_file(number)) == number
    for name in (
        "1.jsonl",
        "000001.jsonl.tmp",
        "0000001.jsonl",
        "000001.json",
        "consumers",
        "000001.jsonl\n",
    ):
        assert segment_number(name) is None


# -- announcing --------------------------------------------------------------------------------------------------


def test_a_commit_is_announced_before_its_log_is_written(store, feed, open_store):
    """In one write, by a line that names the stream, its version and the bytes, while the log is as it was."""
    append(store, "a")
    disk, seen = ScriptedDisk(), []
    disk.before("write", lambda: seen.append(lines_of(feed)), name=LOG)
    size = store.load("a").position.size_bytes

    events, snapshot = append(open_store(disk), "a", count=2)

    assert disk.calls.count(("write", SEGMENT)) == 1
    assert not [call for call in disk.calls if call[0].startswith("sync") and call[1] == SEGMENT]
    assert seen[0][-1] == {
        "s": "a",
        "v": 3,
        "n": 2,
        "o": size,
        "z": snapshot.position.size_bytes,
        "h": events[-1].hash,
        "t": events[-1].time,
    }


def test_the_segment_is_opened_once(open_store):
    """A commit costs the feed one fstat and one write."""
    disk = ScriptedDisk()
    store = open_store(disk)
    append(store, "a")
    before = len(disk.calls)

    append(store, "a")

    calls = [call for call in disk.calls[before:] if call[1] in (SEGMENT, "feed")]
    assert calls == [("status", SEGMENT), ("write", SEGMENT)]
    store.close()


def test_a_commit_that_can_not_be_announced_is_not_written(store, feed, open_store):
    """The error names the feed, and the log is as it was."""
    append(store, "a")
    for operation in ("open", "write", "status"):
        disk = ScriptedDisk()
        disk.fail(operation, errno.ENOSPC, name=SEGMENT, times=9)

        with pytest.raises(
            StoreError, match=r"recording the commit in feed failed: No space.*free some space"
        ):
            append(open_store(disk), "a")

        assert ("write", LOG) not in disk.calls
    assert store.load("a").version == 1
    assert events_of(store) == [("a", 1)]


def test_a_line_that_was_cut_short_is_written_once_more(store, open_store, feed):
    """The remains do no harm: the event is in the feed once, and so is the next one."""
    disk = ScriptedDisk()
    disk.shorten("write", 50, name=SEGMENT)
    short = open_store(disk)

    append(short, "a")
    append(short, "a")

    short.close()
    assert events_of(store) == [("a", 1), ("a", 2)]
    assert len((feed / SEGMENT).read_bytes().splitlines()) == 3


def test_the_remains_of_a_killed_writers_line_take_no_other_along(store, open_store, feed):
    """Killed in the middle of the line: that commit never was, and the next one's line counts."""
    append(store, "a")
    for torn_bytes in (1, 60, 130):
        disk = ScriptedDisk()
        victim = open_store(disk)
        append(victim, "b")
        disk.kill(len(disk.calls) + next_call(disk, victim, ("write", SEGMENT)), torn_bytes=torn_bytes)
        with pytest.raises(Killed):
            append(victim, "a")

    append(store, "a")

    assert [event for event in events_of(store) if event[0] == "a"] == [("a", 1), ("a", 2)]
    assert feed.joinpath(SEGMENT).read_bytes().endswith(b"}\n")


def next_call(disk, store, wanted):
    """How many calls it takes the next commit to come to that one."""
    before = len(disk.calls)
    append(store, "b")
    return disk.calls[before:].index(wanted) + 1


def test_deleting_the_feed_under_a_writer_loses_no_event(store, feed):
    """The writer makes it anew, and whoever reads it finds what it doesn't have."""
    append(store, "a")
    append(store, "b")
    shutil.rmtree(feed)

    append(store, "a")

    assert [event for event in events_of(store) if event[0] == "a"] == [("a", 1), ("a", 2)]
    assert sorted(events_of(store)) == [("a", 1), ("a", 2), ("b", 1)]


def test_a_descriptor_that_somebody_closed_is_not_written_to(store, feed, tmp_path):
    """A program that closes what it doesn't know makes the journal open the segment again, and write to no other file."""
    append(store, "a")
    for reused in (False, True):
        fd = store.backend.journal._kept.fd
        os.close(fd)
        other = tmp_path / "other"
        other.touch()
        opened = os.open(other, os.O_RDWR)
        if reused:
            os.dup2(opened, fd)

        append(store, "a")

        assert other.read_bytes() == b""
        os.close(opened)
        if reused:
            os.close(fd)
    assert events_of(store) == [("a", 1), ("a", 2), ("a", 3)]


def test_a_closed_store_keeps_no_descriptor(open_store):
    """Neither does one that nobody closes, once it is forgotten."""
    before = set(os.listdir("/proc/self/fd"))
    closed, forgotten = open_store(), open_store()
    append(closed, "a")
    append(forgotten, "b")

    closed.close()
    closed.close()
    del forgotten

    assert (
        set(os.listdir("/proc/self/fd")) <= before
    )  # stores of other tests may have been forgotten meanwhile


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12 warns of forks beside threads
def test_a_forked_child_announces_for_itself(store, feed):
    """Also where a thread of the parent was at it at the moment of the fork."""
    append(store, "a")
    store.backend.journal._mutex.acquire()  # as a thread that announces something would hold it
    child = os.fork()
    if child == 0:
        append(store, "b")
        os._exit(0)
    store.backend.journal._mutex.release()
    _, status = os.waitpid(child, 0)

    append(store, "a")

    assert status == 0
    assert events_of(store) == [("a", 1), ("b", 1), ("a", 2)]


def test_a_forked_child_is_not_held_up_by_a_dead_disk(store, open_store, feed):
    """A journal that can't be closed in the child leaves no other journal locked there."""

    class Dead(PosixDisk):
        def close(self, fd):
            super().close(fd)
            if os.getpid() != parent:
                raise Killed

    parent = os.getpid()
    dead = [open_store(Dead()) for _ in range(8)]  # some of them are met before the other journal
    for number, one in enumerate([*dead, store]):
        append(one, f"a{number}")
    store.backend.journal._mutex.acquire()
    child = os.fork()
    if child == 0:
        os._exit(0 if store.backend.journal._mutex.acquire(blocking=False) else 1)
    store.backend.journal._mutex.release()

    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.torture
def test_of_several_that_make_the_segment_one_does(root, open_store, feed):
    """Processes whose first commits meet announce them in one segment."""
    program = (
        "import sys\n"
        "from registration.rules.lifecycles.registration import REGISTRATION\n"
        "from registration.storage.files.backend import open_files\n"
        "from registration.testing.contract import append\n"
        "store = open_files(sys.argv[1], REGISTRATION)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "append(store, sys.argv[2])\n"
    )
    store = open_store()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, root, f"m{index}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for index in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0

    assert [path.name for path in feed.iterdir()] == [SEGMENT]
    assert sorted(events_of(store)) == [(f"m{index}", 1) for index in range(4)]


def test_a_segment_whose_maker_died_is_left_alone(store, feed):
    """One without a header is nobody's: the next number is taken, and both are read."""
    feed.mkdir()
    for left in (b"", b'{"segment":1,"id":"0123ab'):
        shutil.rmtree(feed)
        feed.mkdir()
        (feed / SEGMENT).write_bytes(left)

        store.backend.journal.close()
        append(store, "a")

        assert (feed / SEGMENT).read_bytes() == left
        assert len(lines_of(feed, "000003.jsonl")) == 1
    assert events_of(store) == [("a", 1), ("a", 2)]


def test_a_segment_of_another_registry_is_not_gone_on_with(store, feed, root):
    """A feed that was copied along from elsewhere is passed over."""
    append(store, "a")
    store.backend.journal.close()
    path = feed / SEGMENT
    path.write_bytes(path.read_bytes().replace(b"8000-000000000001", b"8000-000000000002", 1))

    append(store, "a")

    assert len(lines_of(feed, "000003.jsonl")) == 1
    assert sorted(events_of(store)) == [("a", 1), ("a", 2)]


def test_where_the_run_can_not_be_told_all_go_on_in_one_segment(store, open_store, feed):
    """A program that may not read the run's id does not part from those that may."""

    class Secretive(PosixDisk):
        def open(self, path, flags, mode=0o600, *, dir_fd=None):
            if path.startswith("/proc/"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return super().open(path, flags, mode, dir_fd=dir_fd)

    append(store, "a")
    append(open_store(Secretive()), "a")
    append(store, "a")
    shutil.rmtree(feed)
    append(open_store(Secretive()), "a")
    append(store, "a")

    assert [path.name for path in feed.glob("*.jsonl")] == [SEGMENT]
    assert sorted(events_of(store)) == [("a", version) for version in range(1, 6)]


# -- looking lines up ----------------------------------------------------------------------------------------------


def test_what_was_announced_and_never_written_is_passed_over(store, open_store):
    """A write that failed leaves a line of no event; the next event has its place, and a line of its own."""
    RegistrationPipeline(store=store).create("a", {"n": 0})
    for number in range(1, 4):
        disk = ScriptedDisk()
        disk.fail("write", errno.EIO, name=LOG)
        with RegistrationPipeline(store=open_store(disk)) as failing, pytest.raises(StoreError):
            failing.revise("a", {"n": number})

    RegistrationPipeline(store=store).revise("a", {"n": 4})

    documents = [entry.event.data["document"] for entry in store.feed(areas=("manifests",))]
    assert documents == [{"n": 0}, {"n": 4}]
    assert store.feed_backlog().events == 3  # with the registry's own


def test_a_reader_waits_for_whoever_is_writing(store, open_store):
    """A line that is seen before its event is neither passed over nor handed on too early."""
    disk = ScriptedDisk()
    slow = open_store(disk)
    append(store, "a")
    end = store.feed_end()
    reading, go_on, seen = threading.Event(), threading.Event(), []

    def pause():
        reading.set()
        assert go_on.wait(60)

    disk.before("write", pause, name=LOG)
    writer = threading.Thread(target=append, args=(slow, "a"))
    writer.start()
    assert reading.wait(60)
    reader = threading.Thread(target=lambda: seen.extend(events_of(open_store(), end)))
    reader.start()
    with pytest.raises(LockTimeout):
        events_of(open_store(lock_timeout_s=0.01), end)
    assert seen == []

    go_on.set()
    writer.join()
    reader.join()

    assert seen == [("a", 2)]
    slow.close()


@pytest.mark.damaged
def test_damage_is_named_and_can_be_passed(root, store):
    """An event that was changed is raised, with the cursor behind it; the others come."""
    for stream in ("a", "b", "a", "b"):
        append(store, stream)
    log = root / "manifests" / "a" / LOG
    log.write_bytes(log.read_bytes().replace(b'"version":"1"', b'"version":"9"'))
    (root / "manifests" / "a" / "state.json").unlink()
    seen, cursor = [], None

    for _ in range(9):
        try:
            for entry in store.feed(cursor):
                seen.append((entry.event.subject, entry.event.version))
                cursor = entry.cursor
            break
        except CorruptLog as error:
            seen.append(f"damage to {error.details['manifest_id']}")
            cursor = error.details["cursor"]

    assert seen == ["damage to a", ("b", 1), "damage to a", ("b", 2)]


@pytest.mark.damaged
def test_damage_behind_a_snapshot_is_named_as_well(root, store):
    """Bytes that were changed where nobody looks, since the snapshot covers them, are no event that never was."""
    append(store, "a")
    append(store, "a")
    log = root / "manifests" / "a" / LOG
    sound = log.read_bytes()
    hash = json.loads(sound.splitlines()[0])["hash"].encode()
    other = hash.replace(hash[:1], b"0" if hash[:1] != b"0" else b"1", 1)

    for changed in (sound.replace(b'"version":"1"', b'"version":"9"'), sound.replace(hash, other, 1)):
        log.write_bytes(changed)
        with pytest.raises(CorruptLog):
            list(store.feed())


def test_what_a_repair_gave_up_is_no_longer_in_the_feed(root):
    """The repair itself is, once; what stood behind the damage is not."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("a", {"n": 1})
        pipeline.revise("a", {"n": 2})
        pipeline.revise("a", {"n": 3})
        log = root / "manifests" / "a" / LOG
        log.write_bytes(log.read_bytes().replace(b'"n":2', b'"n":7'))
        (root / "manifests" / "a" / "state.json").unlink()

        pipeline.upkeep.repair("a", accept_loss=True)
        pipeline.revise("a", {"n": 4})

        actions = [entry.event.action for entry in pipeline.feed.read() if entry.area == "manifests"]
        assert actions == ["create", "repair", "revise"]
        assert actions == [event.action for event in pipeline.history("a")]


def test_areas_that_are_not_known_are_passed_over(store, feed):
    """A line of an area of a later release does no harm."""
    append(store, "a")
    with (feed / SEGMENT).open("ab") as file:
        file.write(encode_commit("later", "x", 1, 1, 0, 10, "f" * 64, "2026-01-01T00:00:00.000000Z"))
    append(store, "a")

    assert events_of(store) == [("a", 1), ("a", 2)]


def test_a_read_only_registry_says_so(store, feed, monkeypatch):
    """What can't be brought up to date is an error; what is up to date can be read."""
    append(store, "a")
    assert events_of(store) == [("a", 1)]
    real = PosixDisk.open

    def refuse(self, path, flags, mode=0o600, *, dir_fd=None):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(self, path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(PosixDisk, "open", refuse)
    assert events_of(store) == [("a", 1)]
    (feed / "000000.jsonl").unlink()

    with pytest.raises(StoreError, match="read-only"):
        events_of(store)


# -- reconciling -----------------------------------------------------------------------------------------------------


def test_events_without_a_line_are_found(store, feed):
    """Of a registry whose feed is not there: each event once, in order for each manifest."""
    for stream in ("a", "b", "a"):
        append(store, stream, count=2)
    expected = sorted(events_of(store))
    shutil.rmtree(feed)

    assert sorted(events_of(store)) == expected
    assert [version for stream, version in events_of(store) if stream == "a"] == [1, 2, 3, 4]


def test_the_end_of_a_segment_that_a_power_cut_took_is_made_up_for(store, feed):
    """Wherever the earlier run's segment ends, or has a hole: each event once, in order, with what came after."""
    for stream in ("a", "b", "a", "b", "a"):
        append(store, stream)
    whole = (feed / SEGMENT).read_bytes()
    header = whole.index(b"\n") + 1
    for cut in range(header, len(whole) + 1, 37):
        for changed in (whole[:cut], whole[:cut] + bytes(64) + whole[cut + 64 :]):
            shutil.rmtree(feed)
            feed.mkdir()
            (feed / SEGMENT).write_bytes(changed)
            reboot(feed)
            store.backend.journal.close()

            append(store, "b")

            found = events_of(store)
            count = store.load("b").version
            assert sorted(found) == [("a", n) for n in (1, 2, 3)] + [("b", n) for n in range(1, count + 1)]
            assert [event for event in found if event[0] == "a"] == [("a", n) for n in (1, 2, 3)]
            assert [event for event in found if event[0] == "b"] == [("b", n) for n in range(1, count + 1)]


def test_a_cursor_into_what_a_power_cut_took_goes_on(store, feed):
    """Behind the end, or behind a hole, of an earlier run's segment: nothing is left out."""
    for stream in ("a", "b", "a", "b"):
        append(store, stream)
    entries = list(store.feed())
    whole = (feed / SEGMENT).read_bytes()
    reboot(feed)
    moved = len((feed / SEGMENT).read_bytes()) - len(whole)
    whole = (feed / SEGMENT).read_bytes()
    hole = whole.index(b'"s":"b"')
    for changed in (whole[:hole], whole[:hole] + bytes(10) + whole[hole + 10 :]):
        for path in feed.glob("*"):
            path.unlink()
        (feed / SEGMENT).write_bytes(changed)
        store.backend.journal.close()
        cursor = parse_cursor(entries[2].cursor)

        rest = events_of(store, str(Cursor(1, cursor.id, cursor.offset + moved)))

        assert [event for event in rest if event not in events_of(store)[:1]] == rest
        assert ("b", 2) in rest
        assert sorted(events_of(store)) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_what_several_runs_lost_comes_in_order(store, feed):
    """Where nobody read in between, what each run lost stands before what the next one had."""
    append(store, "a")
    first = (feed / SEGMENT).read_bytes()
    (feed / SEGMENT).write_bytes(first.partition(b"\n")[0] + b"\n")
    reboot(feed)
    for run in (3, 5):
        store.backend.journal.close()
        append(store, "a")
        append(store, "a")
        path = feed / segment_file(run)
        kept = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(kept[:2]))  # the first of the two; the second is lost
        reboot(feed)
    store.backend.journal.close()
    append(store, "a")

    assert events_of(store) == [("a", version) for version in range(1, 7)]
    assert sorted(path.name for path in feed.glob("*.jsonl")) == [
        segment_file(number) for number in (1, 2, 3, 4, 5, 6, 7)
    ]


def test_what_was_copied_in_is_found_when_asked_for(store, root, feed, tmp_path):
    """Events that somebody put there meanwhile are added at the end, once, also by two at once."""
    append(store, "a")
    events_of(store)
    other = RegistryFile(
        "019b76da-a800-7000-8000-000000000001", "2026-01-01T00:00:00.000000Z", "registration"
    )
    elsewhere = open_files(tmp_path / "other", REGISTRATION, wanted=other)
    append(elsewhere, "copied", count=2)
    append(elsewhere, "copied")
    elsewhere.close()
    shutil.copytree(tmp_path / "other" / "manifests" / "copied", root / "manifests" / "copied")
    assert events_of(store) == [("a", 1)]

    found = []
    threads = [threading.Thread(target=lambda: found.append(store.reconcile_feed())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == [0, 3]
    assert events_of(store) == [("a", 1), ("copied", 1), ("copied", 2), ("copied", 3)]
    assert [line.get("r") for line in lines_of(feed)] == [None, 1, 1]


def test_two_that_reconcile_at_once_find_each_event_once(root, open_store, feed):
    """And writers go on meanwhile."""
    store = open_store()
    for number in range(20):
        append(store, f"s{number}")
    shutil.rmtree(feed)
    found = []
    stores = [open_store() for _ in range(3)]
    threads = [threading.Thread(target=lambda s=s: found.append(events_of(s))) for s in stores]
    for thread in threads:
        thread.start()
    for number in range(20):
        append(store, f"s{number}")
    for thread in threads:
        thread.join()

    for events in (*found, events_of(store)):
        assert len(events) == len(set(events))
        assert [event for event in events if event[1] == 1] == sorted(
            (event for event in events if event[1] == 1), key=events.index
        )
    assert sorted(events_of(store)) == sorted((f"s{n}", version) for n in range(20) for version in (1, 2))


@pytest.mark.torture
def test_reconciling_that_was_killed_anywhere_is_finished_by_the_next(open_store, feed):
    """However far it came: each event once."""
    store = open_store()
    for stream in ("a", "b", "a"):
        append(store, stream)
    expected = sorted(events_of(store))
    number = 0
    while True:
        number += 1
        shutil.rmtree(feed)
        disk = ScriptedDisk()
        victim = open_store(disk)
        disk.kill(len(disk.calls) + number)
        died = True
        with suppress(Killed):
            events_of(victim)
            died = False

        assert sorted(events_of(open_store())) == expected
        if not died:
            break
    assert number > 20


@pytest.mark.damaged
def test_a_damaged_manifest_does_not_keep_the_others_from_being_found(root, store, feed):
    """What of it checks out is recorded as well, for when it is repaired."""
    for stream in ("a", "b", "a", "a"):
        append(store, stream)
    log = root / "manifests" / "a" / LOG
    log.write_bytes(log.read_bytes().replace(b'"version":"2"', b'"version":"9"'))
    (root / "manifests" / "a" / "state.json").unlink()
    (root / "manifests" / "strange").symlink_to(root / "manifests" / "b")
    shutil.rmtree(feed)

    with pytest.raises(CorruptLog) as caught:
        events_of(store)

    assert events_of(store, caught.value.details["cursor"]) == [("b", 1)]
    assert [line["s"] for line in lines_of(feed, "000000.jsonl")] == ["a", "b"]


def test_a_registry_of_an_earlier_release_is_followed_from_its_beginning(store, feed):
    """Its events have no lines; those that are committed from now on come behind them."""
    for stream in ("a", "b", "a"):
        append(store, stream)
    shutil.rmtree(feed)
    store.backend.journal.close()

    append(store, "a")
    append(store, "b")

    assert events_of(store) == [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2)]


def test_a_commit_that_never_was_is_not_behind_anybody(store, open_store):
    """A writer that died between its line and its commit leaves a line; nobody waits for its events, which will not come."""
    RegistrationPipeline(store=store).create("a", {"n": 0})
    disk = ScriptedDisk()
    disk.fail("write", errno.EIO, name=LOG)
    with RegistrationPipeline(store=open_store(disk)) as failing, pytest.raises(StoreError):
        failing.revise("a", {"n": 1})
    made, entry = store.feed()

    assert entry.cursor != store.feed_end()
    assert store.feed_backlog(entry.cursor).events == 0
    assert store.feed_backlog(made.cursor).events == 1
    RegistrationPipeline(store=store).revise("a", {"n": 2})
    assert store.feed_backlog(entry.cursor).events == 1


def test_a_long_backlog_is_counted_by_its_lines(store):
    """As many as there are, without a look at each."""
    for _ in range(300):
        append(store, "a")

    assert store.feed_backlog().events == 300
    assert store.feed_backlog(next(iter(store.feed(limit=1))).cursor).events == 299
