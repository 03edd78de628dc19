"""The contract of records as a test suite: inherit from it, open records, and every promise is tested.

::

    class TestMyRecords(RecordsContract):
        @pytest.fixture
        def open_records(self, tmp_path):
            return lambda: MyRecords(tmp_path)

`open_records` is a pytest fixture: a callable that opens the same records again on each call, as another process would. Records
that only one handle can see, such as those in memory, return the same handle each time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from registration.errors import LockTimeout, StoreError
from registration.storage.ports import Cell, Key, Records
from registration.testing.lease_contract import raised

OpenRecords = Callable[[], Records]

KEY = ("leases", "manifests", "acme%2Fweather@1.0.json")
WAIT_S = 60.0
"""Longer than any operation here: only a failing test waits for it."""


class RecordsContract:
    """The promises of `registration.storage.ports.Records`, one test for each."""

    def test_what_was_written_is_read(self, open_records: OpenRecords) -> None:
        """By the holder, and by others without the lock, at once; every write replaces the whole value."""
        one, other = open_records(), open_records()

        for data in (b"first, and longer", b"second", bytes(range(256)) * 9_000):
            with held(one) as cell:
                cell.write(data)

                assert cell.read() == data
                assert other.read(KEY) == data
        assert one.read(KEY) == data

    def test_what_need_not_be_durable_is_written_all_the_same(self, open_records: OpenRecords) -> None:
        """Every reader sees it at once."""
        one, other = open_records(), open_records()
        put(one, KEY, b"old")

        with held(one) as cell:
            cell.write(b"new", durable=False)

            assert cell.read() == other.read(KEY) == b"new"

    def test_a_record_that_was_never_written_holds_nothing(self, open_records: OpenRecords) -> None:
        """Reading it and holding it create nothing that is visible."""
        records = open_records()

        assert records.read(KEY) is None
        assert records.names("leases") == []
        with records.held(KEY, create=False) as cell:
            assert cell is None
        with held(records) as made:
            assert made.read() == b""
            assert records.read(KEY) is None

        assert records.read(KEY) is None
        assert records.names(*KEY[:-1]) == []
        with records.held(KEY, create=False) as cell:
            assert cell is None

    def test_a_record_that_is_there_is_held_without_create(self, open_records: OpenRecords) -> None:
        """With its bytes."""
        records = open_records()
        put(records, KEY, b"there")

        with records.held(KEY, create=False) as cell:
            assert cell is not None
            assert cell.read() == b"there"

    def test_a_removed_record_holds_nothing(self, open_records: OpenRecords) -> None:
        """From the return of `remove`, for every handle; removing it again is harmless."""
        one, other = open_records(), open_records()
        put(one, KEY, b"there")

        with held(one) as cell:
            cell.remove()
            cell.remove()

            assert cell.read() == b""
            assert other.read(KEY) is None
            assert other.names(*KEY[:-1]) == []

        assert one.read(KEY) is None
        with other.held(KEY, create=False) as gone:
            assert gone is None

    def test_a_removed_record_is_still_held(self, open_records: OpenRecords) -> None:
        """Others wait, and get the holder's later write."""
        one, other = open_records(), open_records()
        put(one, KEY, b"old")
        with held(one) as cell:
            cell.remove()

            refuse(other)
            cell.write(b"new")
            refuse(other)

        with held(other) as cell:
            assert cell.read() == b"new"

    def test_writing_nothing_is_removing(self, open_records: OpenRecords) -> None:
        """An empty record is a record without a value."""
        records = open_records()
        put(records, KEY, b"there")

        put(records, KEY, b"")

        assert records.read(KEY) is None
        assert records.names(*KEY[:-1]) == []

    def test_what_is_appended_is_behind_the_rest(self, open_records: OpenRecords) -> None:
        """On an empty record, it is the whole value; a later write replaces it."""
        one, other = open_records(), open_records()

        with held(one) as cell:
            cell.append(b"first")
            cell.append(b"second")
            assert cell.read() == other.read(KEY) == b"firstsecond"
        with held(other) as cell:
            cell.append(b"third")
            cell.write(b"all")
            cell.append(b" of it")

        assert one.read(KEY) == b"all of it"

    # -- exclusion -------------------------------------------------------------------------------------------

    def test_one_holder_at_a_time(self, open_records: OpenRecords) -> None:
        """A second holder, of another handle or the same, waits until the timeout, and the error names the record."""
        one, other = open_records(), open_records()
        with held(one):
            for records in (one, other):
                for create in (True, False):
                    error = raised(LockTimeout, partial(enter, records, create=create))

                    assert error.details["what"] == "/".join(KEY)

        with held(other) as cell:
            cell.write(b"free again")

    def test_records_do_not_touch_each_other(self, open_records: OpenRecords) -> None:
        """While one is held, its neighbours can be changed."""
        one, other = open_records(), open_records()
        neighbour = (*KEY[:-1], "acme%2Fweather@1.1.json")
        with held(one) as cell:
            put(other, neighbour, b"there")
            cell.write(b"here")

        assert (one.read(KEY), one.read(neighbour)) == (b"here", b"there")

    def test_reading_needs_no_lock(self, open_records: OpenRecords) -> None:
        """While a record is held, every reader sees the last write."""
        one, other = open_records(), open_records()
        put(one, KEY, b"old")

        with held(one) as cell:
            assert other.read(KEY) == b"old"
            cell.write(b"new")
            assert other.read(KEY) == b"new"

    def test_a_holder_that_replaces_still_holds(self, open_records: OpenRecords) -> None:
        """During repeated writes, no other holder gets in."""
        one, other = open_records(), open_records()
        with held(one) as cell:
            for number in range(5):
                cell.write(b"%d" % number)
                refuse(other)

            assert cell.read() == b"4"

    def test_a_waiter_gets_the_new_bytes(self, open_records: OpenRecords) -> None:
        """A waiter that began to wait before a replacement changes the new value, and loses nothing."""
        one, other = open_records(), open_records()
        put(one, KEY, b"1")
        waiting = threading.Event()
        got: list[bytes] = []

        def wait() -> None:
            waiting.set()
            with other.held(KEY, timeout_s=WAIT_S) as cell:
                assert cell is not None
                got.append(cell.read())
                cell.write(b"3")

        waiter = threading.Thread(target=wait)
        with held(one) as cell:
            waiter.start()
            assert waiting.wait(WAIT_S)
            cell.write(b"2")
        waiter.join(WAIT_S)

        assert got == [b"2"]
        assert one.read(KEY) == b"3"

    def test_no_change_is_lost_among_threads(self, open_records: OpenRecords) -> None:
        """Each reads, adds one, and writes: the sum is complete. Readers always see whole values."""
        rounds, done = 10, threading.Event()
        torn: list[bytes] = []

        def add() -> None:
            records = open_records()
            for _ in range(rounds):
                with records.held(KEY, timeout_s=WAIT_S) as cell:
                    assert cell is not None
                    cell.write(b"%09d" % (int(cell.read() or b"0") + 1))

        def watch() -> None:
            records = open_records()
            while not done.is_set():
                data = records.read(KEY)
                if data is not None and len(data) != 9:
                    torn.append(data)

        writers = [threading.Thread(target=add) for _ in range(4)]
        reader = threading.Thread(target=watch)
        for thread in (reader, *writers):
            thread.start()
        for thread in writers:
            thread.join(WAIT_S)
        done.set()
        reader.join(WAIT_S)

        assert open_records().read(KEY) == b"%09d" % (4 * rounds)
        assert torn == []

    def test_a_block_that_fails_releases(self, open_records: OpenRecords) -> None:
        """And its writes before the failure stay."""
        records = open_records()

        def fail() -> None:
            with held(records) as cell:
                cell.write(b"there")
                raise KeyError

        raised(KeyError, fail)

        with held(records) as cell:
            assert cell.read() == b"there"

    def test_a_cell_ends_with_its_block(self, open_records: OpenRecords) -> None:
        """A cell without its lock changes nothing."""
        records = open_records()
        with held(records) as cell:
            cell.write(b"there")

        raised(StoreError, partial(cell.write, b"too late"))
        raised(StoreError, cell.remove)

        assert records.read(KEY) == b"there"

    # -- names -----------------------------------------------------------------------------------------------

    def test_names_are_listed_once_and_sorted(self, open_records: OpenRecords) -> None:
        """Of records, and of prefixes with records below them; nothing deeper or elsewhere."""
        records = open_records()
        there = records.names()  # of the registry that they are in
        keys: list[Key] = [
            ("a", "x", "2"),
            ("a", "x", "1"),
            ("a", "b", "1"),
            ("a", "é"),
            ("a", "B"),
            ("c", "1"),
        ]
        for key in keys:
            put(records, key, b"there")

        assert records.names("a") == ["B", "b", "x", "é"]
        assert records.names("a", "x") == ["1", "2"]
        assert records.names() == sorted([*there, "a", "c"])
        assert records.names("b") == []
        assert records.names("c", "1") == []


@contextmanager
def held(records: Records, key: Key = KEY) -> Iterator[Cell]:
    """A record, created if it is missing."""
    with records.held(key) as cell:
        assert cell is not None
        yield cell


def put(records: Records, key: Key, data: bytes) -> None:
    """Replace a record."""
    with held(records, key) as cell:
        cell.write(data)


def enter(records: Records, *, create: bool = True) -> None:
    """Hold the record for a moment, without waiting."""
    with records.held(KEY, create=create, timeout_s=0):
        pass


def refuse(records: Records) -> None:
    """Fail unless another holder has the record."""
    raised(LockTimeout, partial(enter, records))
