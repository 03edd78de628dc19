"""A backend in memory: nothing outlives the process. For tests of programs that use a registry, and as the model of other backends."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from operator import itemgetter
from time import monotonic

from registration.core.definition import Definition
from registration.errors import LockTimeout, StoreError
from registration.storage.ledger import Areas, Ledger
from registration.storage.notes import Cursor, not_of_this_feed, parse_cursor
from registration.storage.ports import NOTHING_GIVEN, TAIL_BYTES, Cell, Entry, Key, Mark, Moved, Note
from registration.values.documents import DOCUMENT_BYTES_MAX
from registration.values.ids import name_of


class MemoryBackend:
    """One registry in memory. See `registration.storage.ports.Backend`. lock_timeout_s: how long to wait for a record's lock."""

    mending = place = None

    def __init__(self, *, lock_timeout_s: float = 10.0) -> None:
        self.records = MemoryRecords(lock_timeout_s=lock_timeout_s)
        self.logs = self.order = MemoryLogs(self.records)
        self.blobs = MemoryBlobs()
        self.lines = MemoryLines()

    def close(self) -> None:
        """Nothing is open: the content of the registry lasts as long as the object."""


def open_memory(
    source: str,
    definition: Definition,
    *,
    document_bytes_max: int = DOCUMENT_BYTES_MAX,
    others: Areas | None = None,
) -> Ledger:
    """The manifests of a new registry in memory. source: ``urn:uuid:`` and the registry's id. others: see `Areas`."""
    return Ledger(MemoryBackend(), source, definition, document_bytes_max=document_bytes_max, others=others)


class MemoryLogs:
    """Logs and their order, under one lock. See `registration.storage.ports.Logs` and `Order`.

    A place in the order counts events, so it says how many are before it.
    """

    is_proof = True

    def __init__(self, records: MemoryRecords) -> None:
        self._changed = records.changed
        self._records = records
        self._logs: dict[tuple[str, str], bytearray] = {}
        self._snapshots: dict[tuple[str, str], bytes] = {}
        # How many events there are by then; the log, where it ended before, and its size after; the note.
        self._commits: list[tuple[int, str, str, Mark, int, Note]] = []
        self._events = 0
        self._epoch = os.urandom(4).hex()

    def ids(self, area: str) -> Iterator[str]:
        with self._changed:
            return iter(sorted((id for of, id in self._logs if of == area), key=name_of))

    def found(self, area: str, id: str) -> tuple[bytes | None, Mark]:
        with self._changed:
            return self._snapshots.get((area, id)), self._end(area, id)

    def unmoved(self, area: str, id: str, mark: Mark) -> bool:
        with self._changed:
            return self._end(area, id) == mark

    def read(self, area: str, id: str, start: int, end: int) -> bytes:
        with self._changed:
            return bytes(self._logs.get((area, id), b"")[start:end])

    def append(
        self,
        area: str,
        id: str,
        after: Mark,
        data: bytes,
        note: Note,
        *,
        snapshot: bytes | None = None,
        given: Mapping[Key, bytes | None] = NOTHING_GIVEN,
        again: bool = False,
    ) -> tuple[Mark, float]:
        start, end = after.size_bytes, after.size_bytes + len(data)
        with self._changed:
            if not (again and self.read(area, id, start - len(after.tail), end) == after.tail + data):
                if self._end(area, id) != after or any(
                    self._records.read(key) != given[key] for key in given
                ):
                    raise Moved
                self._commit(area, id, data, note, snapshot)
        return Mark(end, (after.tail + data)[-TAIL_BYTES:]), 0.0

    def put_snapshot(self, area: str, id: str, snapshot: bytes, at: Mark) -> bool:
        with self._changed:
            if unmoved := at.size_bytes > 0 and self._end(area, id) == at:
                self._snapshots[area, id] = snapshot
            return unmoved

    def cut(
        self, area: str, id: str, at: Mark, size_bytes: int, *, then: tuple[bytes, Note, bytes] | None = None
    ) -> None:
        with self._changed:
            if self._end(area, id) != at:
                raise Moved
            self._snapshots.pop((area, id), None)
            if kept := self._logs.pop((area, id), bytearray())[:size_bytes]:
                self._logs[area, id] = kept
            if then is not None:
                self._commit(area, id, *then)

    def remove(self, area: str, id: str) -> bool:
        with self._changed:
            self._snapshots.pop((area, id), None)
            return self._logs.pop((area, id), None) is not None

    def turn(self, area: str, id: str, timeout_s: float) -> AbstractContextManager[float]:
        return nullcontext(0.0)

    def entries(self, after: str | None, *, limit: int | None = None, data: bool = True) -> Iterator[Entry]:
        cursor = Cursor(1, self._epoch, 0) if after is None else parse_cursor(after)
        begin = cursor.offset
        if cursor != Cursor(1, self._epoch, min(begin, self._events)):
            raise not_of_this_feed(str(cursor))
        with self._changed:
            commits = self._commits[bisect_right(self._commits, begin, key=itemgetter(0)) :]
        for stop, area, id, before, end, note in commits:
            first = stop - note.events
            ends = [str(Cursor(1, self._epoch, place)) for place in range(first + 1, stop + 1)]
            found = (before.tail, self.read(area, id, before.size_bytes, end)) if data else ()
            yield Entry(note.line, ends, max(0, begin - first), *found)

    def end(self) -> str:
        return str(Cursor(1, self._epoch, self._events))

    def wait(self, seen: str, timeout_s: float, *, stop: threading.Event | None = None) -> bool:
        end_s = monotonic() + timeout_s
        with self._changed:
            while self.end() == seen and not (stop and stop.is_set()) and (left_s := end_s - monotonic()) > 0:
                self._changed.wait(min(left_s, 0.1))  # nothing tells of `stop`, so it is looked at
            return self.end() != seen

    def _end(self, area: str, id: str) -> Mark:
        log = self._logs.get((area, id), b"")
        return Mark(len(log), bytes(log[-TAIL_BYTES:]))

    def _commit(self, area: str, id: str, data: bytes, note: Note, snapshot: bytes | None) -> None:
        before = self._end(area, id)
        self._logs.setdefault((area, id), bytearray()).extend(data)
        if snapshot is not None:
            self._snapshots[area, id] = snapshot
        self._events += note.events
        self._commits.append((self._events, area, id, before, before.size_bytes + len(data), note))
        self._changed.notify_all()


class MemoryRecords:
    """See `registration.storage.ports.Records`. For the threads of one process. lock_timeout_s: how long `held` waits by default."""

    def __init__(self, *, lock_timeout_s: float = 10.0) -> None:
        self.changed = threading.Condition()
        self._lock_timeout_s = lock_timeout_s
        self._bytes: dict[Key, bytes] = {}
        self._locks: dict[Key, threading.Lock] = {}

    def read(self, key: Key) -> bytes | None:
        """See `Records.read`."""
        return self._bytes.get(key)

    def put(self, key: Key, data: bytes) -> None:
        """Replace a record, for the holder of its lock: never while a commit is made that rests on it."""
        with self.changed:
            if data:
                self._bytes[key] = data
            else:
                self._bytes.pop(key, None)

    @contextmanager
    def held(self, key: Key, *, create: bool = True, timeout_s: float | None = None) -> Iterator[Cell | None]:
        """See `Records.held`."""
        wait_s = self._lock_timeout_s if timeout_s is None else timeout_s
        lock = self._locks.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=wait_s):
            raise LockTimeout("/".join(key), wait_s)
        cell = MemoryCell(self, key)
        try:
            yield cell if create or key in self._bytes else None
        finally:
            cell.is_held = False
            lock.release()

    def names(self, *place: str) -> list[str]:
        """See `Records.names`."""
        return sorted({key[len(place)] for key in list(self._bytes) if key[: len(place)] == place != key})


@dataclass
class MemoryCell:
    """One record in memory, held. See `registration.storage.ports.Cell`."""

    records: MemoryRecords
    key: Key
    is_held: bool = True

    def read(self) -> bytes:
        """See `Cell.read`."""
        return self.records.read(self.key) or b""

    def write(self, data: bytes, *, durable: bool = True) -> None:
        """See `Cell.write`."""
        if not self.is_held:
            raise StoreError(f"{'/'.join(self.key)} is no longer locked.", "Lock it first.")
        self.records.put(self.key, data)

    def append(self, data: bytes) -> None:
        """See `Cell.append`."""
        self.write(self.read() + data)

    def remove(self) -> None:
        """See `Cell.remove`."""
        self.write(b"")


class MemoryBlobs(dict[Key, bytes]):
    """See `registration.storage.ports.Blobs`."""

    def put(self, key: Key, data: bytes) -> None:
        self[key] = data


class MemoryLines(dict[str, list[bytes]]):
    """See `registration.storage.ports.Lines`."""

    def add(self, name: str, line: bytes) -> None:
        self.setdefault(name, []).append(line)

    def all(self, name: str) -> Iterator[bytes]:
        return iter(self.get(name, []).copy())
