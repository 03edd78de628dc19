"""A backend in memory: nothing outlives the process. For tests of what is built on a registry, and the model of the other backends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from registration.core.definition import Definition
from registration.errors import LockTimeout, StoreError
from registration.storage.ledger import Areas, Ledger
from registration.storage.notes import Cursor, not_of_this_feed, parse_cursor
from registration.storage.ports import NOTHING_GIVEN, TAIL_BYTES, Entry, Key, Mark, Moved, Note
from registration.values.documents import DOCUMENT_BYTES_MAX
from registration.values.ids import name_of

_LOOK_S = 0.1


class MemoryBackend:
    """One registry in memory. See `registration.storage.ports.Backend`. lock_timeout_s: how long a record's lock is waited for."""

    mending = None
    place = None

    def __init__(self, *, lock_timeout_s: float = 10.0) -> None:
        changed = threading.Condition(threading.Lock())
        self.records = MemoryRecords(lock_timeout_s=lock_timeout_s)
        self.logs = MemoryLogs(changed, self.records)
        self.order = self.logs.order
        self.blobs = MemoryBlobs()
        self.lines = MemoryLines()

    def close(self) -> None:
        """Nothing is open: what a registry holds stays for as long as the object does."""


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
    """See `registration.storage.ports.Logs`. changed: the one lock of logs and order, and what tells of commits."""

    def __init__(self, changed: threading.Condition, records: MemoryRecords) -> None:
        self.order = MemoryOrder(changed, self)
        self._changed = changed
        self._records = records
        self._logs: dict[tuple[str, str], bytearray] = {}
        self._snapshots: dict[tuple[str, str], bytes] = {}

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
            return self.span(area, id, start, end)

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
            if again and self.span(area, id, start - len(after.tail), end) == after.tail + data:
                return Mark(end, (after.tail + data)[-TAIL_BYTES:]), 0.0
            if self._end(area, id) != after or any(self._records.read(key) != given[key] for key in given):
                raise Moved
            self._commit(area, id, start, data, note, snapshot)
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
            if then is None and not size_bytes:
                self._logs.pop((area, id), None)
                return
            del self._logs[area, id][size_bytes:]
            if then is not None:
                self._commit(area, id, size_bytes, *then)

    def remove(self, area: str, id: str) -> bool:
        with self._changed:
            self._snapshots.pop((area, id), None)
            return self._logs.pop((area, id), None) is not None

    def turn(self, area: str, id: str, timeout_s: float) -> AbstractContextManager[float]:
        return nullcontext(0.0)

    def span(self, area: str, id: str, start: int, end: int) -> bytes:
        """The bytes between, for those who hold the lock."""
        return bytes(self._logs.get((area, id), b"")[start:end])

    def _commit(
        self, area: str, id: str, start: int, data: bytes, note: Note, snapshot: bytes | None
    ) -> None:
        before = self.span(area, id, max(0, start - TAIL_BYTES), start)
        self._logs.setdefault((area, id), bytearray()).extend(data)
        if snapshot is not None:
            self._snapshots[area, id] = snapshot
        self.order.add(area, id, start, len(data), before, note)
        self._changed.notify_all()

    def _end(self, area: str, id: str) -> Mark:
        log = self._logs.get((area, id), b"")
        return Mark(len(log), bytes(log[-TAIL_BYTES:]))


class MemoryOrder:
    """See `registration.storage.ports.Order`. A place counts events, so it says how many there are before it."""

    is_proof = True

    def __init__(self, changed: threading.Condition, logs: MemoryLogs) -> None:
        self._changed = changed
        self._logs = logs
        self._id = os.urandom(4).hex()
        self._commits: list[tuple[int, str, str, int, int, bytes, Note]] = []
        self._events = 0

    def add(self, area: str, id: str, start: int, size: int, before: bytes, note: Note) -> None:
        """Add a commit; its maker holds the lock."""
        self._events += note.events
        self._commits.append((self._events, area, id, start, size, before, note))

    def entries(self, after: str | None, *, limit: int | None = None, data: bool = True) -> Iterator[Entry]:
        begin = 0 if after is None else self._place(after)
        with self._changed:
            commits = list(self._commits)
        for stop, area, id, start, size, before, note in commits:
            if stop <= begin:
                continue
            with self._changed:
                found = self._logs.span(area, id, start, start + size)
            first = stop - note.events
            ends = [str(Cursor(1, self._id, place)) for place in range(first + 1, stop + 1)]
            skipped = max(0, begin - first)
            yield Entry(note.line, ends, skipped, *((before, found) if data else ()))

    def end(self) -> str:
        return str(Cursor(1, self._id, self._events))

    def wait(self, seen: str, timeout_s: float, *, stop: threading.Event | None = None) -> bool:
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while not (stop is not None and stop.is_set()):
                left_s = end_s - time.monotonic()
                if self.end() != seen or left_s <= 0:
                    return self.end() != seen
                self._changed.wait(left_s if stop is None else min(left_s, _LOOK_S))
        return False

    def _place(self, after: str) -> int:
        cursor = parse_cursor(after)
        if (cursor.segment, cursor.id, cursor.taken) != (1, self._id, 0) or cursor.offset > self._events:
            raise not_of_this_feed(after)
        return cursor.offset


class MemoryRecords:
    """Records in memory, for the threads of one process. See `registration.storage.ports.Records`.

    lock_timeout_s: how long `held` waits where it is not told.
    """

    def __init__(self, *, lock_timeout_s: float = 10.0) -> None:
        self._lock_timeout_s = lock_timeout_s
        self._bytes: dict[Key, bytes] = {}
        self._held: set[Key] = set()
        self._released = threading.Condition()

    def read(self, key: Key) -> bytes | None:
        """See `Records.read`."""
        return self._bytes.get(key)

    @contextmanager
    def held(
        self, key: Key, *, create: bool = True, timeout_s: float | None = None
    ) -> Iterator[MemoryCell | None]:
        """See `Records.held`."""
        wait_s = self._lock_timeout_s if timeout_s is None else timeout_s
        with self._released:
            if not self._released.wait_for(lambda: key not in self._held, wait_s):
                raise LockTimeout("/".join(key), wait_s)
            self._held.add(key)
        cell = MemoryCell(self._bytes, key)
        try:
            yield cell if create or key in self._bytes else None
        finally:
            cell.is_held = False
            with self._released:
                self._held.remove(key)
                self._released.notify_all()

    def names(self, *place: str) -> list[str]:
        """See `Records.names`."""
        depth = len(place)
        return sorted({key[depth] for key in list(self._bytes) if len(key) > depth and key[:depth] == place})


class MemoryCell:
    """One record in memory, held. See `registration.storage.ports.Cell`."""

    def __init__(self, records: dict[Key, bytes], key: Key) -> None:
        self.is_held = True
        self._records = records
        self._key = key

    def read(self) -> bytes:
        """See `Cell.read`."""
        return self._own().get(self._key, b"")

    def write(self, data: bytes, *, durable: bool = True) -> None:
        """See `Cell.write`."""
        if data:
            self._own()[self._key] = data
        else:
            self.remove()

    def append(self, data: bytes) -> None:
        """See `Cell.append`."""
        self.write(self.read() + data)

    def remove(self) -> None:
        """See `Cell.remove`."""
        self._own().pop(self._key, None)

    def _own(self) -> dict[Key, bytes]:
        if not self.is_held:
            raise StoreError(f"{'/'.join(self._key)} is no longer locked.", "Lock it first.")
        return self._records


class MemoryBlobs:
    """See `registration.storage.ports.Blobs`."""

    def __init__(self) -> None:
        self._values: dict[Key, bytes] = {}

    def put(self, key: Key, data: bytes) -> None:
        self._values[key] = data

    def get(self, key: Key) -> bytes | None:
        return self._values.get(key)


class MemoryLines:
    """See `registration.storage.ports.Lines`."""

    def __init__(self) -> None:
        self._lines: dict[str, list[bytes]] = {}

    def add(self, name: str, line: bytes) -> None:
        self._lines.setdefault(name, []).append(line)

    def all(self, name: str) -> Iterator[bytes]:
        return iter(list(self._lines.get(name, ())))
