"""The contract of backends as a test suite: inherit from it, open a backend, and every sentence of the port is tested.

::

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def open_backend(self, server):
            return lambda: MyBackend(server)

`open_backend` is a pytest fixture: a callable that opens the same registry again on each call, as another process would.
A backend whose registry ends with it, such as the one in memory, returns the same object each time and sets `outlives_closing` to False.
Backends that store the registry's id themselves have to be opened with that of `SOURCE`.

There are three parts. The tests here need bytes only: `registration.storage.ports`. `RecordsContract` tests the values that change
under a lock, and `StoreContract` the promises of the ledger above the port. The logs here are bytes with a chain of hashes, and
nothing else: a backend that interprets them fails. Each of the ledger's tests ends with a check of every byte.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from typing import ClassVar

import pytest

from registration.core.codec import encode_snapshot
from registration.errors import CorruptLog, InvalidArgument
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.ledger import Ledger
from registration.storage.notes import encode_commit
from registration.storage.ports import (
    NOTHING_GIVEN,
    TAIL_BYTES,
    Backend,
    Entry,
    Key,
    Mark,
    Moved,
    Note,
    mark_of,
)
from registration.testing.contract import (
    OpenStore,
    StoreContract,
    append,
    findings,
    new_event,
    run_threads,
)
from registration.testing.records_contract import OpenRecords, RecordsContract, put
from registration.values.events import StateSnapshot

OpenBackend = Callable[[], Backend]

SOURCE = "urn:uuid:019b76da-a800-7000-8000-000000000001"
"""The registry of the tests."""

AREA, OTHER = "manifests", "aliases"
RECORD: Key = ("names", "weather", "1.json")
WAIT_S = 60.0
"""Longer than any operation here: only a failing test waits for it."""

_TIME = "2026-01-01T00:00:00.000000Z"
_CURSOR = re.compile(r"[0-9]+-[0-9a-f]{8}:[0-9]+(\+[0-9]+)?")


class BackendContract(StoreContract, RecordsContract):
    """The promises of `registration.storage.ports.Backend`, one test for each.

    outlives_closing: whether the registry still exists after its backend was closed.
    """

    outlives_closing: ClassVar[bool] = True

    @pytest.fixture
    def open_records(self, open_backend: OpenBackend) -> OpenRecords:
        """The registry's records, for `RecordsContract`."""
        return lambda: open_backend().records

    @pytest.fixture
    def open_store(self, open_backend: OpenBackend) -> Iterator[OpenStore]:
        """A ledger over the backend, for `StoreContract`."""
        yield (opened := partial(_ledger, open_backend))
        store = opened()
        assert [found for stream in store.streams() for found in findings(store, stream)] == []

    # -- the end of a log ------------------------------------------------------------------------------------

    def test_no_log_ends_at_the_first_mark(self, open_backend: OpenBackend) -> None:
        """A missing log has an empty mark without `seen` and no bytes; no other mark is its end; reading creates nothing."""
        logs = open_backend().logs

        snapshot, mark = logs.found(AREA, "a")

        assert (snapshot, mark, mark.seen) == (None, Mark(), None)
        assert logs.unmoved(AREA, "a", Mark())
        assert not logs.unmoved(AREA, "a", Log().add("a", b"").mark)
        assert logs.read(AREA, "a", 0, 100) == b""
        assert list(logs.ids(AREA)) == []

    def test_a_commit_gives_the_mark_after_it(self, open_backend: OpenBackend) -> None:
        """The mark has the size and last bytes, derived from the log alone; every handle finds it at once, and no older one."""
        one, other = open_backend(), open_backend()
        log, marks = Log(), [Mark()]

        for number in range(3):
            data, note = log.next("a", events=1 + number)
            mark, waited_s = one.logs.append(AREA, "a", log.mark, data, note)
            log.put(data, note)
            marks.append(mark)

            assert mark == log.mark == other.logs.found(AREA, "a")[1]
            assert waited_s >= 0
        for handle in (one, other):
            assert [handle.logs.unmoved(AREA, "a", mark) for mark in marks] == [False, False, False, True]

    def test_a_mark_of_bytes_alone_is_as_good(self, open_backend: OpenBackend) -> None:
        """The backend's `seen` only makes it faster."""
        one, other = open_backend(), open_backend()
        log = commit(one, "a")
        earlier = log.mark

        assert other.logs.unmoved(AREA, "a", earlier)
        commit(other, "a", log)
        assert not one.logs.unmoved(AREA, "a", earlier)
        assert one.logs.unmoved(AREA, "a", log.mark)

    def test_any_part_of_a_log_can_be_read(self, open_backend: OpenBackend) -> None:
        """The bytes between two offsets, fewer if the log ends earlier; large ranges too, and bytes of every value."""
        backend = open_backend()
        log = commit(backend, "a")
        commit(backend, "a", log, text=bytes(range(256)) * 1_000)
        size = len(log.data)
        spans = (
            (0, size),
            (0, 10),
            (7, 8),
            (5, 5),
            (size - 9, size + 9),
            (size, size + 9),
            (size + 1, size + 9),
        )

        for start, end in spans:
            assert backend.logs.read(AREA, "a", start, end) == log.data[start:end]

    def test_areas_and_ids_are_apart(self, open_backend: OpenBackend) -> None:
        """One id in two areas has two logs, two snapshots and two ends."""
        backend = open_backend()
        first = commit(backend, "a", snapshot=b"first")
        commit(backend, "b")

        assert list(backend.logs.ids(OTHER)) == []
        assert backend.logs.found(OTHER, "a") == (None, Mark())
        second = commit(backend, "a", area=OTHER, events=2, snapshot=b"second")

        assert backend.logs.found(AREA, "a") == (b"first", first.mark)
        assert backend.logs.found(OTHER, "a") == (b"second", second.mark)
        assert list(backend.logs.ids(AREA)) == ["a", "b"]
        assert list(backend.logs.ids(OTHER)) == ["a"]
        assert [entry.line for entry in backend.order.entries(None)].count(second.notes[0].line) == 1

    # -- conflicts -------------------------------------------------------------------------------------------

    def test_a_commit_at_another_mark_is_refused(self, open_backend: OpenBackend) -> None:
        """An earlier or later mark, of no log, of another size, of another history of the same size: nothing is written."""
        backend = open_backend()
        log = Log()
        data, note = log.next("a", text=b"one")
        seen, _ = backend.logs.append(AREA, "a", log.mark, data, note)
        log.put(data, note)
        earlier = log.mark
        commit(backend, "a", log, text=b"two", snapshot=b"kept")
        end, elsewhere = log.mark, Log().add("a", b"two").add("a", b"one").mark
        assert elsewhere.size_bytes == end.size_bytes
        longer, shorter = (Mark(end.size_bytes + step, end.tail) for step in (1, -1))

        for mark in (Mark(), seen, earlier, elsewhere, longer, shorter):
            with unchanged(backend, "a"), pytest.raises(Moved):
                backend.logs.append(AREA, "a", mark, *log.next("a"), snapshot=b"refused")

    def test_a_commit_after_a_log_that_is_not_there_is_refused(self, open_backend: OpenBackend) -> None:
        """The commit is refused, and creates no log."""
        backend = open_backend()
        elsewhere = commit(backend, "elsewhere")

        with unchanged(backend, "a"), pytest.raises(Moved):
            backend.logs.append(AREA, "a", elsewhere.mark, *elsewhere.next("a"))

        assert list(backend.logs.ids(AREA)) == ["elsewhere"]

    @pytest.mark.parametrize("equal", [False, True], ids=["other bytes", "equal bytes"])
    def test_of_many_writers_at_one_mark_one_wins(self, open_backend: OpenBackend, equal: bool) -> None:
        """Even if all of them write the same bytes: the others get `Moved`, and the order has one commit."""
        backends = [open_backend() for _ in range(4)]
        log = Log()

        for _ in range(5):
            given = [log.next("a", text=b"" if equal else b"%d" % index) for index in range(len(backends))]
            won = _race(backends, log.mark, given)

            assert len(won) == 1
            log.put(*given[won[0]])
        assert backends[0].logs.read(AREA, "a", 0, 1 << 20) == log.data
        assert [entry.line for entry in backends[0].order.entries(None)] == [note.line for note in log.notes]

    # -- what a decision rested on ---------------------------------------------------------------------------

    def test_a_commit_is_made_while_given_records_hold(self, open_backend: OpenBackend) -> None:
        """The first commit of a log as well as a later one, with the lock of the record and without it."""
        one, other = open_backend(), open_backend()
        put(one.records, RECORD, b"mine")
        given = {RECORD: b"mine", (*RECORD[:-1], "2.json"): None}

        log = commit(other, "a", given=given)
        commit(one, "a", log, given=given)
        with one.records.held(RECORD) as cell:
            assert cell is not None
            cell.write(b"changed")
            commit(one, "a", log, given={RECORD: b"changed"})

        assert other.logs.found(AREA, "a")[1] == log.mark

    @pytest.mark.parametrize("found", [None, b"theirs", b"mine, and more"])
    def test_a_changed_record_refuses_the_commit(
        self, open_backend: OpenBackend, found: bytes | None
    ) -> None:
        """Other bytes, none, or some in place of none: neither log nor order nor snapshot is written."""
        one, other = open_backend(), open_backend()
        log = commit(one, "a", snapshot=b"kept")
        put(one.records, RECORD, b"mine")
        commit(one, "a", log, given={RECORD: b"mine"})

        put(other.records, RECORD, found or b"")

        expected: list[bytes | None] = [b"mine", *([None] if found else [])]
        for data in expected:
            for id, after in (("a", log), ("new", Log())):
                with unchanged(one, id), pytest.raises(Moved):
                    one.logs.append(
                        AREA, id, after.mark, *after.next(id), snapshot=b"no", given={RECORD: data}
                    )
        assert list(one.logs.ids(AREA)) == ["a"]

    def test_a_record_that_changed_in_time_refuses_the_commit(self, open_backend: OpenBackend) -> None:
        """Nothing is committed after a change was acknowledged: a given record is looked at in the commit, and not before it."""
        writing, changing = open_backend(), open_backend()
        if writing.mending is not None:
            pytest.skip("files trust the lock, which lasts as long as its holder")
        log, late = Log(), list[int]()

        for number in range(100):
            put(changing.records, RECORD, b"mine")
            start, ends = threading.Barrier(2), list[str]()

            def change(start: threading.Barrier = start, ends: list[str] = ends) -> None:
                start.wait()
                put(changing.records, RECORD, b"theirs")
                ends.append(changing.order.end())

            def write(start: threading.Barrier = start) -> None:
                start.wait()
                with suppress(Moved):
                    commit(writing, "a", log, given={RECORD: b"mine"})

            run_threads([change, write])
            late.extend(number for _ in writing.order.entries(ends[0]))

        assert late == []

    # -- a lost answer ---------------------------------------------------------------------------------------

    def test_asking_again_writes_nothing_twice(self, open_backend: OpenBackend) -> None:
        """With `again`, a commit whose answer was lost is found, whatever followed it; given records no longer matter."""
        backend = _losing(open_backend)
        log = commit(backend, "a")
        before, (data, note) = log.mark, log.next("a", events=2)
        mark, _ = backend.logs.append(AREA, "a", before, data, note, snapshot=b"kept", given={RECORD: None})
        log.put(data, note)
        put(backend.records, RECORD, b"changed")

        with unchanged(backend, "a"):
            again, _ = backend.logs.append(AREA, "a", before, data, note, given={RECORD: None}, again=True)
        commit(backend, "a", log)
        with unchanged(backend, "a"):
            late, _ = backend.logs.append(AREA, "a", before, data, note, again=True)

        assert mark == again == late

    def test_asking_again_commits_what_never_arrived(self, open_backend: OpenBackend) -> None:
        """With `again`, a commit that was not made is made."""
        backend = _losing(open_backend)
        log = Log()

        for _ in range(2):
            data, note = log.next("a")
            mark, _ = backend.logs.append(AREA, "a", log.mark, data, note, again=True)
            log.put(data, note)

            assert mark == log.mark == backend.logs.found(AREA, "a")[1]
        assert len(list(backend.order.entries(None))) == 2

    def test_asking_again_is_refused_where_others_wrote(self, open_backend: OpenBackend) -> None:
        """Other bytes at that position, or another history before it, are a conflict."""
        backend = _losing(open_backend)
        log = commit(backend, "a")
        mark, late, won = log.mark, log.next("a", text=b"late"), log.next("a", text=b"won")
        backend.logs.append(AREA, "a", mark, *won)
        elsewhere = Log().add("a", b"elsewhere").mark

        for after, commit_of in ((mark, late), (elsewhere, won), (Mark(), won)):
            with unchanged(backend, "a"), pytest.raises(Moved):
                backend.logs.append(AREA, "a", after, *commit_of, again=True)
        with unchanged(backend, "a"), pytest.raises(Moved):
            backend.logs.append(AREA, "a", mark, *won)  # the same bytes, but a first call

    # -- snapshots -------------------------------------------------------------------------------------------

    def test_a_commit_replaces_the_snapshot_or_leaves_it(self, open_backend: OpenBackend) -> None:
        """The new snapshot is whole, and visible with the commit."""
        backend = open_backend()
        found = []

        log = Log()
        for snapshot in (None, b"one, and longer", None, b"two", bytes(range(256)) * 500):
            commit(backend, "a", log, snapshot=snapshot)
            found.append(open_backend().logs.found(AREA, "a")[0])

        assert found == [None, b"one, and longer", b"one, and longer", b"two", bytes(range(256)) * 500]

    def test_a_snapshot_is_put_where_the_log_ends(self, open_backend: OpenBackend) -> None:
        """Only at the log's end, and never without a log."""
        one, other = open_backend(), open_backend()
        assert not one.logs.put_snapshot(AREA, "a", b"of nothing", Mark())
        log = commit(one, "a", text=b"one", snapshot=b"first")
        earlier = log.mark
        commit(one, "a", log, text=b"two")
        elsewhere = Log().add("a", b"two").add("a", b"one").mark
        assert elsewhere.size_bytes == log.mark.size_bytes

        for mark in (Mark(), earlier, elsewhere):
            assert not other.logs.put_snapshot(AREA, "a", b"refused", mark)
            assert one.logs.found(AREA, "a") == (b"first", log.mark)
        assert other.logs.put_snapshot(AREA, "a", b"second", log.mark)
        assert one.logs.found(AREA, "a") == (b"second", log.mark)

    def test_a_snapshot_is_never_ahead_of_the_log(self, open_backend: OpenBackend) -> None:
        """During concurrent commits, `found` shows one moment, or the snapshot of an earlier one."""
        writing, reading = open_backend(), open_backend()
        done, ahead = threading.Event(), list[int]()

        def write() -> None:
            log = Log()
            try:
                for _ in range(60):
                    size = len(log.data) + len(log.next("a")[0])
                    commit(writing, "a", log, snapshot=b"%d" % size)
            finally:
                done.set()

        def look() -> None:
            while not done.is_set():
                snapshot, mark = reading.logs.found(AREA, "a")
                if snapshot is not None and int(snapshot) > mark.size_bytes:
                    ahead.append(mark.size_bytes)

        run_threads([write, look])

        assert ahead == []

    # -- cutting and removing --------------------------------------------------------------------------------

    def test_a_cut_log_goes_on_with_the_repairs_event(self, open_backend: OpenBackend) -> None:
        """Cut, event, snapshot and entry are visible together; commits continue after it."""
        backend = open_backend()
        log = commit(backend, "a", snapshot=b"old")
        kept = log.copy()
        commit(backend, "a", log, snapshot=b"lost")
        commit(backend, "a", log)
        end = backend.order.end()
        data, note = kept.next("a", text=b"longer than what it replaces" * 20)

        backend.logs.cut(AREA, "a", log.mark, len(kept.data), then=(data, note, b"new"))
        kept.put(data, note)

        assert backend.logs.found(AREA, "a") == (b"new", kept.mark)
        assert backend.logs.read(AREA, "a", 0, 1 << 20) == kept.data
        assert [entry.line for entry in backend.order.entries(end)] == [note.line]
        assert not backend.logs.unmoved(AREA, "a", log.mark)
        commit(backend, "a", kept)

    def test_a_log_is_cut_without_an_event(self, open_backend: OpenBackend) -> None:
        """The snapshot is removed, the order stays; a log cut to nothing can start again."""
        backend = open_backend()
        log = commit(backend, "a", snapshot=b"old")
        kept = log.copy()
        commit(backend, "a", log)
        end = backend.order.end()

        backend.logs.cut(AREA, "a", log.mark, len(kept.data))

        assert backend.logs.found(AREA, "a") == (None, kept.mark)
        backend.logs.cut(AREA, "a", kept.mark, 0)
        assert backend.logs.found(AREA, "a") == (None, Mark())
        assert backend.logs.read(AREA, "a", 0, 100) == b""
        assert backend.order.end() == end
        anew = commit(backend, "a", snapshot=b"anew")
        assert backend.logs.found(AREA, "a") == (b"anew", anew.mark)

    def test_a_log_that_moved_is_not_cut(self, open_backend: OpenBackend) -> None:
        """With or without an event, nothing changes."""
        backend = open_backend()
        log = commit(backend, "a", snapshot=b"kept")
        earlier = log.copy()
        commit(backend, "a", log)

        for then in (None, (*earlier.next("a"), b"no")):
            with unchanged(backend, "a"), pytest.raises(Moved):
                backend.logs.cut(AREA, "a", earlier.mark, 0, then=then)

    def test_a_removed_log_leaves_its_entries_in_the_order(self, open_backend: OpenBackend) -> None:
        """Log and snapshot are gone for every handle, old marks are invalid, the order's end stays; the id can be used again."""
        one, other = open_backend(), open_backend()
        log = commit(one, "a", snapshot=b"old")
        commit(one, "b")
        end, lines = one.order.end(), [entry.line for entry in one.order.entries(None)]

        assert other.logs.remove(AREA, "a")
        assert not one.logs.remove(AREA, "a")
        assert not one.logs.remove(AREA, "never-there")

        found = one.logs.found(AREA, "a")
        assert (*found, found[1].seen) == (None, Mark(), None)
        assert list(one.logs.ids(AREA)) == ["b"]
        assert one.order.end() == end
        assert [entry.line for entry in one.order.entries(None)] == lines
        with pytest.raises(Moved):
            one.logs.append(AREA, "a", log.mark, *log.next("a"))
        anew = commit(one, "a")
        assert other.logs.found(AREA, "a") == (None, anew.mark)
        assert [entry.line for entry in other.order.entries(end)] == [anew.notes[0].line]

    # -- the order -------------------------------------------------------------------------------------------

    def test_the_order_has_every_commit_once(self, open_backend: OpenBackend) -> None:
        """All areas, logs and handles, in commit order: the line, and a cursor after each event."""
        backends = (open_backend(), open_backend())
        logs, lines, counts = dict[str, Log](), list[bytes](), []
        for number, id in enumerate(("b", "a", "b", "c/x", "a", "b")):
            log = logs.setdefault(id, Log())
            commit(backends[number % 2], id, log, events=1 + number % 3, area=(AREA, OTHER)[id == "a"])
            lines.append(log.notes[-1].line)
            counts.append(1 + number % 3)

        entries = list(open_backend().order.entries(None))

        assert [entry.line for entry in entries] == lines
        assert [len(entry.ends) for entry in entries] == counts
        assert [entry.skipped for entry in entries] == [0] * len(lines)
        cursors = [cursor for entry in entries for cursor in entry.ends]
        assert len(set(cursors)) == len(cursors)
        assert all(_CURSOR.fullmatch(cursor) for cursor in cursors)
        assert cursors[-1] == backends[0].order.end()

    def test_an_entry_of_a_proof_brings_its_bytes(self, open_backend: OpenBackend) -> None:
        """And the tail before them; a hint has none, and neither has an entry read without data."""
        order = (backend := open_backend()).order
        log, expected = Log(), []
        for events in (1, 3, 1):
            before, data = log.mark.tail, log.next("a", events=events)[0]
            commit(backend, "a", log, events=events)
            expected.append((before, data) if order.is_proof else (None, None))

        assert order.is_proof is (backend.mending is None)
        assert [(entry.before, entry.data) for entry in order.entries(None)] == expected
        for entry in order.entries(None, data=False):
            assert (entry.before, entry.data) == (None, None)

    def test_a_cursor_leads_to_the_rest(self, open_backend: OpenBackend) -> None:
        """After each cursor, also inside a batch: `skipped` is the number of events of the first entry before it."""
        backend = open_backend()
        log = Log()
        for events in (1, 3, 2):
            commit(backend, "a", log, events=events)
        entries = list(backend.order.entries(None))
        cursors = [cursor for entry in entries for cursor in entry.ends]

        for taken, cursor in enumerate(cursors, 1):
            rest = list(open_backend().order.entries(cursor))

            assert [c for entry in rest for c in entry.ends[entry.skipped :]] == cursors[taken:]
            assert all(entry.skipped < len(entry.ends) for entry in rest)
            assert [entry.skipped for entry in rest[1:]] == [0] * len(rest[1:])
        later = commit(backend, "b")
        assert [entry.line for entry in backend.order.entries(cursors[-1])] == [later.notes[0].line]

    def test_a_limit_gets_enough(self, open_backend: OpenBackend) -> None:
        """The first entries, with at least `limit` events; a backend may stop there."""
        backend = open_backend()
        log = Log()
        for events in (2, 3, 1):
            commit(backend, "a", log, events=events)
        every = list(backend.order.entries(None))

        for after in (None, every[0].ends[0]):
            whole = list(backend.order.entries(after))
            for limit in range(1, 7):
                found = list(backend.order.entries(after, limit=limit))

                assert found == whole[: len(found)]
                assert _events(found) >= min(limit, _events(whole))

    def test_reading_the_order_is_as_of_its_beginning(self, open_backend: OpenBackend) -> None:
        """A commit after the first `next` belongs to the next reading."""
        backend = open_backend()
        log = commit(backend, "a")
        commit(backend, "a", log)
        reading = backend.order.entries(None)
        found = [next(reading)]

        commit(backend, "a", log)
        found.extend(reading)

        assert len(found) == 2

    def test_the_end_moves_with_each_commit_alone(self, open_backend: OpenBackend) -> None:
        """At once, for every handle; not for a refused commit, nor for records, blobs and lines."""
        one, other = open_backend(), open_backend()
        ends = [one.order.end()]
        log = Log()
        for _ in range(2):
            commit(one, "a", log)
            ends.append(other.order.end())
            assert one.order.end() == ends[-1]

        put(one.records, RECORD, b"there")
        one.blobs.put(("rules", "policies", "0" * 64 + ".json"), b"{}")
        one.lines.add("refusals", b"{}\n")
        with pytest.raises(Moved):
            one.logs.append(AREA, "a", Mark(), *log.next("a"))

        assert len(set(ends)) == 3
        assert one.order.end() == other.order.end() == ends[-1]
        assert [len(list(one.order.entries(end))) for end in ends] == [2, 1, 0]

    def test_a_cursor_of_another_order_is_refused(self, open_backend: OpenBackend) -> None:
        """An invalid cursor is refused as well, and one after the end."""
        order = (backend := open_backend()).order
        commit(backend, "a")
        end = order.end()
        epoch, _, rest = end.partition("-")
        digits, _, place = rest.partition(":")
        other = "0" * 8 if digits != "0" * 8 else "1" * 8

        for cursor in (
            "",
            "0",
            f"{epoch}-{other}:{place}",
            f"{epoch}-{digits}:{int(place) + 1_000_000}",
            f"{end}\n",
        ):
            with pytest.raises(InvalidArgument):
                list(order.entries(cursor))

    def test_nothing_appears_before_a_cursor_that_was_given_out(self, open_backend: OpenBackend) -> None:
        """A reader that resumes from cursor to cursor during writes misses nothing, and sees each log in its order."""
        writers, reading = [open_backend() for _ in range(4)], open_backend()
        logs = [Log() for _ in writers]
        done, read = threading.Event(), list[tuple[bytes, str]]()

        def write(index: int) -> None:
            for number in range(15):
                commit(writers[index], f"s{index}", logs[index], events=1 + number % 2)

        def follow() -> None:
            after, is_last = None, False
            while not is_last:
                is_last = done.is_set()  # and once more, since something may have come before that
                for entry in reading.order.entries(after):
                    after = entry.ends[-1]
                    read.append((entry.line, after))

        follower = threading.Thread(target=follow)
        follower.start()
        try:
            run_threads([partial(write, index) for index in range(len(writers))])
        finally:
            done.set()
            follower.join(WAIT_S)

        assert read == [(entry.line, entry.ends[-1]) for entry in open_backend().order.entries(None)]
        assert sorted(line for line, _ in read) == sorted(note.line for log in logs for note in log.notes)
        for log in logs:
            lines = [note.line for note in log.notes]
            assert [line for line, _ in read if line in lines] == lines

    # -- waiting ---------------------------------------------------------------------------------------------

    def test_a_commit_of_another_handle_wakes(self, open_backend: OpenBackend) -> None:
        """A waiter for another end is woken."""
        waiting, writing = open_backend(), open_backend()
        end, woke, began = waiting.order.end(), list[bool](), threading.Event()

        def wait() -> None:
            began.set()
            woke.append(waiting.order.wait(end, WAIT_S))

        thread = threading.Thread(target=wait)
        thread.start()
        assert began.wait(WAIT_S)
        start_s = time.monotonic()
        commit(writing, "a")
        thread.join()

        assert woke == [True]
        assert time.monotonic() - start_s < WAIT_S / 2
        assert waiting.order.wait(end, WAIT_S)  # it looks first

    def test_waiting_ends_with_its_time(self, open_backend: OpenBackend) -> None:
        """Neither early, nor with a result other than False."""
        backend = open_backend()
        commit(backend, "a")
        start_s = time.monotonic()

        assert not backend.order.wait(backend.order.end(), 0.05)
        assert time.monotonic() - start_s >= 0.05
        assert not backend.order.wait(backend.order.end(), 0)

    def test_waiting_can_be_stopped(self, open_backend: OpenBackend) -> None:
        """Before the wait, and during it."""
        backend = open_backend()
        end, stop, stopped = backend.order.end(), threading.Event(), list[bool]()
        thread = threading.Thread(target=lambda: stopped.append(backend.order.wait(end, WAIT_S, stop=stop)))
        start_s = time.monotonic()
        thread.start()
        stop.set()
        thread.join()

        assert not backend.order.wait(end, WAIT_S, stop=stop)
        assert stopped == [False]
        assert time.monotonic() - start_s < WAIT_S / 2

    def test_a_turn_is_a_courtesy(self, open_backend: OpenBackend) -> None:
        """It never raises, also without a log or while it is taken; its holder can commit, and so can others."""
        one, other = open_backend(), open_backend()

        with one.logs.turn(AREA, "a", 0.01) as nothing:
            assert nothing >= 0
        log = commit(one, "a")
        with one.logs.turn(AREA, "a", 0.01), other.logs.turn(AREA, "a", 0.01) as waited_s:
            assert waited_s >= 0
            commit(one, "a", log)
            commit(other, "a", log)

    # -- blobs and lines -------------------------------------------------------------------------------------

    def test_a_blob_is_kept(self, open_backend: OpenBackend) -> None:
        """By its key, for every handle; repeating it is harmless."""
        key: Key = ("quarantine", "manifests", "a", "0-x.bin")
        data = bytes(range(256))
        assert open_backend().blobs.get(key) is None

        for _ in range(2):
            open_backend().blobs.put(key, data)

        assert open_backend().blobs.get(key) == data
        assert open_backend().blobs.get((*key[:-1], "other")) is None
        assert open_backend().blobs.get(("rules", *key[1:])) is None

    def test_lines_come_back_in_order(self, open_backend: OpenBackend) -> None:
        """Those of one name, of all handles, whole."""
        one, other = open_backend(), open_backend()
        assert list(one.lines.all("refusals")) == []

        for number in range(3):
            (one, other)[number % 2].lines.add("refusals", b'{"n":%d}\n' % number)
        one.lines.add("others", b"{}\n")

        assert list(other.lines.all("refusals")) == [b'{"n":0}\n', b'{"n":1}\n', b'{"n":2}\n']
        assert list(other.lines.all("others")) == [b"{}\n"]

    # -- the backend -----------------------------------------------------------------------------------------

    def test_everything_outlives_closing(self, open_backend: OpenBackend) -> None:
        """After reopening, logs, snapshots, records, blobs, lines, order and cursors are the same."""
        if not self.outlives_closing:
            pytest.skip("this registry ends with its backend")
        backend = open_backend()
        log = commit(backend, "a", events=2, snapshot=b"kept")
        put(backend.records, RECORD, b"there")
        backend.blobs.put(("rules", "policies", "0" * 64 + ".json"), b"{}")
        backend.lines.add("refusals", b"{}\n")
        entries, end = list(backend.order.entries(None)), backend.order.end()

        backend.close()
        backend.close()
        reopened = open_backend()

        assert reopened.logs.found(AREA, "a") == (b"kept", log.mark)
        assert reopened.logs.read(AREA, "a", 0, 1 << 20) == log.data
        assert reopened.records.read(RECORD) == b"there"
        assert reopened.blobs.get(("rules", "policies", "0" * 64 + ".json")) == b"{}"
        assert list(reopened.lines.all("refusals")) == [b"{}\n"]
        assert list(reopened.order.entries(None)) == entries
        assert reopened.order.end() == end
        commit(reopened, "a", log)

    # -- what the ledger makes of it -------------------------------------------------------------------------

    def test_the_feed_has_the_events_of_every_area(self, open_store: OpenStore) -> None:
        """Each event has the name of its area."""
        store = open_store()
        aliases = store.area("aliases", store.definition)

        events = [(AREA, append(store, "a")), (OTHER, append(aliases, "a", count=2))]

        found = [(entry.area, entry.event) for entry in store.feed()]
        assert found == [(area, event) for area, (made, _) in events for event in made]
        assert [entry.area for entry in store.feed(areas=("aliases",))] == ["aliases"] * 2

    def test_a_snapshot_of_another_history_is_not_believed(self, open_store: OpenStore) -> None:
        """An intact snapshot of the same size but of another log: the log is folded, and the snapshot replaced."""
        store = open_store()
        _, snapshot = append(store, "a", word="this")
        _, foreign = append(store.area("elsewhere", store.definition), "a", word="that")
        logs, mark = store.backend.logs, mark_of(snapshot.position)
        assert foreign.position.size_bytes == mark.size_bytes

        assert logs.put_snapshot(AREA, "a", encode_snapshot(foreign), mark)

        assert open_store().load("a") == snapshot
        assert open_store().inspect("a").snapshot == encode_snapshot(snapshot)

    def test_a_stream_that_began_anew_has_its_own_events(self, open_store: OpenStore) -> None:
        """In the feed as well: entries of deleted commits are skipped, even if other bytes are in their place."""
        store = open_store()
        append(store, "a", count=2, word="gone")
        other, _ = append(store, "b")
        assert store.delete("a")
        assert [entry.event for entry in store.feed()] == other

        anew, _ = append(store, "a", word="anew")

        assert [entry.event for entry in store.feed()] == [*other, *anew]
        assert [entry.event for entry in open_store().feed()] == [*other, *anew]

    def test_damage_is_named_and_repaired(self, open_store: OpenStore) -> None:
        """A foreign line is refused by every reader; repair cuts it off and saves it, and the log continues with the repair's event."""
        store = open_store()
        _, sound = append(store, "a")
        data = append(store, "b")[0][0].line
        put_damage(store, "a", sound, data)
        readings: tuple[Callable[[], object], ...] = (
            lambda: open_store().load("a"),
            lambda: list(open_store().read("a")),
            lambda: list(open_store().feed()),
        )
        for reading in readings:
            with pytest.raises(CorruptLog):
                reading()

        loss = store.repair("a", lambda _: new_event(store.definition, "a", sound.version + 1))

        assert loss is not None
        assert loss.event is not None
        assert loss.state == sound
        assert store.backend.blobs.get(tuple(loss.kept_as[0].split("/"))) == data
        assert [event.hash for event in store.read("a")] == [sound.position.head, loss.event.hash]
        assert open_store().load("a") == loss.repaired
        found = [entry.event for entry in store.feed() if entry.event.subject == "a"]
        assert found == list(store.read("a"))
        append(store, "a")

    def test_a_torn_commit_is_damage_where_there_is_none(self, open_store: OpenStore) -> None:
        """Without mending, no crash can leave half a commit: it is reported as damage, and can be repaired."""
        store = open_store()
        if store.backend.mending is not None:
            pytest.skip("files may be torn, and are mended")
        _, sound = append(store, "a")
        put_damage(store, "a", sound, b'{"half of')

        with pytest.raises(CorruptLog):
            open_store().load("a")
        loss = store.repair("a", lambda _: new_event(store.definition, "a", sound.version + 1))

        assert loss is not None
        assert open_store().load("a") == loss.repaired


class Log:
    """A log as its writer knows it: commits of any bytes, each of which ends in a hash of all before it.

    notes: of each commit.
    """

    def __init__(self, data: bytes = b"", notes: Sequence[Note] = ()) -> None:
        self.data = data
        self.notes = list(notes)

    @property
    def mark(self) -> Mark:
        """Where it ends."""
        return Mark(len(self.data), self.data[-TAIL_BYTES:])

    def next(self, id: str, *, text: bytes = b"", events: int = 1, area: str = AREA) -> tuple[bytes, Note]:
        """A commit that could come next: its bytes and its note."""
        before = b"%d:" % len(self.data) + text
        head = sha256(self.data + before).hexdigest()
        data = before + f',"hash":"{head}"}}\n'.encode()
        version = sum(note.events for note in self.notes) + events
        start, end = len(self.data), len(self.data) + len(data)
        return data, Note(encode_commit(area, id, version, events, start, end, head, _TIME), events)

    def put(self, data: bytes, note: Note) -> None:
        """A commit that was made."""
        self.data += data
        self.notes.append(note)

    def add(self, id: str, text: bytes) -> Log:
        """Make one that no backend has."""
        self.put(*self.next(id, text=text))
        return self

    def copy(self) -> Log:
        """The log as of now."""
        return Log(self.data, self.notes)


def commit(
    backend: Backend,
    id: str,
    log: Log | None = None,
    *,
    text: bytes = b"",
    events: int = 1,
    area: str = AREA,
    snapshot: bytes | None = None,
    given: Mapping[Key, bytes | None] = NOTHING_GIVEN,
) -> Log:
    """Commit what comes next in a log (None: in a new one), by its bytes alone; the log after it."""
    log = log or Log()
    data, note = log.next(id, text=text, events=events, area=area)
    backend.logs.append(area, id, log.mark, data, note, snapshot=snapshot, given=given)
    log.put(data, note)
    return log


@contextmanager
def unchanged(backend: Backend, id: str) -> Iterator[None]:
    """Fail if the block changes the log, its snapshot, or the order."""

    def shown() -> object:
        logs, order = backend.logs, backend.order
        snapshot, mark = logs.found(AREA, id)
        return snapshot, mark, logs.read(AREA, id, 0, 1 << 20), order.end(), list(order.entries(None))

    before = shown()
    yield
    assert shown() == before


def put_damage(store: Ledger, stream: str, state: StateSnapshot, data: bytes) -> None:
    """Commit bytes after a state, by the backend alone."""
    version, mark = state.version + 1, mark_of(state.position)
    end = mark.size_bytes + len(data)
    line = encode_commit(AREA, stream, version, 1, mark.size_bytes, end, data[-TAIL_BYTES:-3].decode(), _TIME)
    store.backend.logs.append(AREA, stream, mark, data, Note(line, 1))


def _race(backends: list[Backend], mark: Mark, given: list[tuple[bytes, Note]]) -> list[int]:
    """Have each backend commit at the same mark at once; which of them did."""
    start, won = threading.Barrier(len(backends)), list[int]()

    def write(index: int) -> None:
        start.wait()
        with suppress(Moved):
            backends[index].logs.append(AREA, "a", mark, *given[index])
            won.append(index)

    run_threads([partial(write, index) for index in range(len(backends))])
    return won


def _losing(open_backend: OpenBackend) -> Backend:
    """A backend whose answers can be lost on the way."""
    backend = open_backend()
    if backend.mending is not None:
        pytest.skip("files lose no answer")
    return backend


def _ledger(open_backend: OpenBackend) -> Ledger:
    return Ledger(open_backend(), SOURCE, REGISTRATION)


def _events(entries: list[Entry]) -> int:
    return sum(len(entry.ends) - entry.skipped for entry in entries)
