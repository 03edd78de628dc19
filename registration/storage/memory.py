"""The store in memory: the same contract as on files, without the files. Nothing outlives the process.

For tests of what is built on a registry, and as the model that the store on files is held against.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from registration.core.codec import encode_snapshot
from registration.core.decider import fold
from registration.core.store import Backlog, FeedEntry, Files, Loss, Record, Recovered, Stray
from registration.errors import LockTimeout, NotFound, StoreError, VersionConflict
from registration.storage.files.feed.keeping import ConsumersInMemory
from registration.storage.files.feed.records import (
    NOW,
    START,
    Cursor,
    check_limit,
    not_of_this_feed,
    parse_cursor,
)
from registration.storage.files.rules import rule_not_found
from registration.storage.layout import MANIFESTS, directory_of, rule_file
from registration.values.documents import DOCUMENT_BYTES_MAX, canonical
from registration.values.ids import name_of
from registration.values.names import check_name
from registration.values.snapshots import Position, StateSnapshot

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from registration.core.definition import Definition
    from registration.core.store import ConsumerKeeper
    from registration.storage.ports import Key
    from registration.values.events import Event


class MemoryStore:
    """The logs of one registry in memory. source: ``urn:uuid:`` and the registry's id."""

    def __init__(
        self, source: str, definition: Definition, *, document_bytes_max: int = DOCUMENT_BYTES_MAX
    ) -> None:
        self._source = source
        self._definition = definition
        self._document_bytes_max = document_bytes_max
        self._lock = threading.Lock()
        self._logs: dict[str, list[Event]] = {}
        self._snapshots: dict[str, StateSnapshot] = {}
        self._rules: dict[tuple[str, str], bytes] = {}
        self._refusals: list[bytes] = []
        self._feed: list[Event] = []
        self._feed_id = os.urandom(4).hex()
        self._consumers = ConsumersInMemory()
        self._beside: dict[str, MemoryStore] = {}
        self._claims = MemoryClaims()

    @property
    def source(self) -> str:
        """``urn:uuid:`` and the registry's id."""
        return self._source

    @property
    def definition(self) -> Definition:
        """What the logs are folded with."""
        return self._definition

    @property
    def consumers(self) -> ConsumerKeeper:
        """See `Store.consumers`."""
        return self._consumers

    @property
    def document_bytes_max(self) -> int:
        """How large a document this registry takes."""
        return self._document_bytes_max

    def load(self, stream: str) -> StateSnapshot | None:
        """See `Store.load`."""
        directory_of(stream)  # refuses what is not an id, as on files
        return self._snapshots.get(stream)

    def append(self, stream: str, after: Position, events: Sequence[Event], snapshot: StateSnapshot) -> float:
        """See `Store.append`. The lock is held for so short that no wait is counted."""
        directory_of(stream)
        with self._lock:
            now = self._snapshots.get(stream)
            if (now.position if now else Position()) != after:
                raise VersionConflict(stream, after.version, now.version if now else 0)
            self._logs.setdefault(stream, []).extend(events)
            self._snapshots[stream] = snapshot
            self._feed.extend(events)
        return 0.0

    def queue(self, stream: str) -> AbstractContextManager[float]:
        """See `Store.queue`: threads take turns before they get here."""
        return nullcontext(0.0)

    def read(self, stream: str) -> Iterator[Event]:
        """See `Store.read`."""
        yield from self._events(stream)

    def save(self, stream: str, snapshot: StateSnapshot) -> None:
        """See `Store.save`: the one that is kept is always the latest."""
        self._events(stream)

    def inspect(self, stream: str, *, quick: bool = False) -> Files:
        """See `Store.inspect`."""
        with self._lock:
            events, state = list(self._found(stream)), self._snapshots[stream]
        log, snapshot = b"".join(event.line for event in events), encode_snapshot(state)
        return Files(b"", snapshot, len(log)) if quick else Files(log, snapshot)

    def recover(self, stream: str, *, dry_run: bool = False) -> Recovered:
        """See `Store.recover`."""
        directory_of(stream)
        with self._lock:
            state = fold(self._definition, None, self._logs.get(stream, []))
            if state is not None and not dry_run:
                self._snapshots[stream] = state
            return Recovered(state)

    def repair(self, stream: str, record: Record | None) -> Loss | None:
        """See `Store.repair`: memory is not damaged."""
        self._events(stream)
        return None

    def delete(self, stream: str) -> bool:
        """See `FileStore.delete`."""
        directory_of(stream)
        with self._lock:
            self._snapshots.pop(stream, None)
            return self._logs.pop(stream, None) is not None

    def streams(self) -> Iterator[str]:
        """See `Store.streams`."""
        return iter(sorted(self._logs, key=directory_of))

    def strays(self) -> Iterator[Stray]:
        """See `Store.strays`: nobody else gets in here."""
        return iter(())

    def keep(self, kind: str, digest: str, value: Any) -> None:
        """See `Store.keep`."""
        self._rules[kind, digest] = canonical(value)

    def kept(self, kind: str, digest: str) -> Any:
        """See `Store.kept`."""
        rule_file(digest)  # refuses what is not a digest, as on files
        if (kind, digest) not in self._rules:
            raise rule_not_found(kind, digest)
        return orjson.loads(self._rules[kind, digest])

    def log_refusal(self, line: bytes) -> None:
        """See `Store.log_refusal`."""
        self._refusals.append(line)

    def refusals(self) -> Iterator[bytes]:
        """See `Store.refusals`."""
        return iter(list(self._refusals))

    def feed(
        self, after: str | None = None, *, limit: int | None = None, areas: Collection[str] | None = None
    ) -> Iterator[FeedEntry]:
        """See `Store.feed`. Tells of manifests only."""
        check_limit(limit)
        return islice(self._entries(after) if areas is None or MANIFESTS in areas else (), limit)

    def feed_end(self) -> str:
        """See `Store.feed_end`."""
        return self._cursor(len(self._feed))

    def feed_backlog(self, after: str | None = None) -> Backlog:
        """See `Store.feed_backlog`."""
        left = self._feed[self._begin(after) :]
        return Backlog(len(left), left[0].time if left else None)

    def reconcile_feed(self) -> int:
        """See `Store.reconcile_feed`: nobody else gets in here."""
        return 0

    def beside(self, area: str, definition: Definition) -> MemoryStore:
        """See `Store.beside`. They share the rules that are kept."""
        with self._lock:
            if area not in self._beside:
                self._beside[area] = MemoryStore(self._source, definition)
                self._beside[area]._rules = self._rules  # noqa: SLF001  # one of its own
            return self._beside[area]

    @property
    def claims(self) -> MemoryClaims:
        """See `Store.claims`."""
        return self._claims

    def close(self) -> None:
        """See `Store.close`."""

    def _entries(self, after: str | None) -> Iterator[FeedEntry]:
        begin = self._begin(after)
        for place, event in enumerate(self._feed[begin:], begin + 1):
            yield FeedEntry(self._cursor(place), MANIFESTS, event)

    def _cursor(self, place: int) -> str:
        return str(Cursor(1, self._feed_id, place))

    def _begin(self, after: str | None) -> int:
        if after in (None, START, NOW):
            return len(self._feed) if after == NOW else 0
        cursor = parse_cursor(after or "")
        if (
            (cursor.segment, cursor.id) != (1, self._feed_id)
            or cursor.taken
            or cursor.offset > len(self._feed)
        ):
            raise not_of_this_feed(str(cursor))
        return cursor.offset

    def _events(self, stream: str) -> list[Event]:
        with self._lock:
            return list(self._found(stream))

    def _found(self, stream: str) -> list[Event]:
        directory_of(stream)
        if stream not in self._logs:
            raise NotFound(f"There is no manifest {stream!r}.", "Create it first.", manifest_id=stream)
        return self._logs[stream]


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

    def write(self, data: bytes) -> None:
        """See `Cell.write`."""
        if data:
            self._own()[self._key] = data
        else:
            self.remove()

    def remove(self) -> None:
        """See `Cell.remove`."""
        self._own().pop(self._key, None)

    def _own(self) -> dict[Key, bytes]:
        if not self.is_held:
            raise StoreError(f"{'/'.join(self._key)} is not held any more.", "Hold it first.")
        return self._records


@dataclass(frozen=True, slots=True)
class MemorySlot:
    """One claim, locked."""

    claims: dict[str, bytes]
    full: str

    def read(self) -> bytes:
        return self.claims.get(self.full, b"")

    def write(self, data: bytes) -> None:
        self.claims[self.full] = data

    def remove(self) -> None:
        self.claims.pop(self.full, None)


class MemoryClaims:
    """The claims of one registry in memory. One lock for all of them: nobody waits for a disk here."""

    def __init__(self) -> None:
        self._claims: dict[str, bytes] = {}
        self._lock = threading.RLock()

    def read(self, full: str) -> bytes | None:
        """See `ClaimPlace.read`."""
        check_name(full)
        return self._claims.get(full)

    @contextmanager
    def locked(
        self, full: str, *, create: bool, timeout_s: float | None = None
    ) -> Iterator[MemorySlot | None]:
        """See `ClaimPlace.locked`."""
        check_name(full)
        if not self._lock.acquire(timeout=10.0 if timeout_s is None else timeout_s):
            raise LockTimeout(full, 10.0 if timeout_s is None else timeout_s)
        try:
            yield MemorySlot(self._claims, full) if create or full in self._claims else None
        finally:
            self._lock.release()

    def claims_of(self, name: str) -> list[str]:
        """See `ClaimPlace.claims_of`."""
        return [full for full in list(self._claims) if check_name(full).name == name]

    def claimed_names(self) -> Iterator[str]:
        """See `ClaimPlace.claimed_names`."""
        return iter(sorted({check_name(full).name for full in list(self._claims)}, key=name_of))
