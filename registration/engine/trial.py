"""Trials: the results of commands, one after the other, without writing.

The engine decides a command of a trial like any other, by the same rules, and then stores it here instead of in the log. Later
commands of the same trial see the manifests as they would be by then: their states, their logs with idempotency keys, their
names, and the leases that would have ended.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import astuple
from typing import TYPE_CHECKING, NamedTuple

import orjson

from registration.core.codec import decode_snapshot, encode_snapshot, scan
from registration.values.events import Position
from registration.values.people import person

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping, Sequence

    from registration.storage.ledger import Ledger
    from registration.storage.ports import Records
    from registration.values.events import Event, StateSnapshot
    from registration.values.leases import Lease


class _Tried(NamedTuple):
    """The trial of one stream: the end of its log, the lines that would follow, and the state after them."""

    after: Position
    lines: bytes
    snapshot: bytes

    def encode(self) -> bytes:
        """All of it as bytes."""
        head = orjson.dumps([*astuple(self.after), len(self.lines)])
        return head + b"\n" + self.lines + self.snapshot

    @classmethod
    def decode(cls, raw: bytes) -> _Tried:
        """The reverse of `encode`."""
        head, _, rest = raw.partition(b"\n")
        version, size_bytes, log_head, length = orjson.loads(head)
        return cls(Position(version, size_bytes, log_head), rest[:length], rest[length:])


class Trial:
    """A projected registry. Safe to share between threads if each stream is changed by one at a time.

    store: the actual logs. kept: the projected streams; a dict by default, `Spilled` for many.
    """

    def __init__(self, store: Ledger, kept: MutableMapping[str, bytes] | None = None) -> None:
        self._store = store
        self._kept = {} if kept is None else kept
        self._holders: dict[str, str | None] = {}
        self._ended: set[tuple[str, int]] = set()
        self._drafts: dict[str | None, int] = {}
        self._mutex = threading.RLock()

    @property
    def records(self) -> Records:
        """The actual records of the registry, for reading."""
        return self._store.records

    def streams(self) -> Iterator[str]:
        """The ids of all actual logs."""
        return self._store.streams()

    def load(self, stream: str) -> StateSnapshot | None:
        """The projected state of a stream; None if it would not exist."""
        tried = self._tried(stream)
        if tried is None:
            return self._store.load(stream)
        store = self._store
        return decode_snapshot(
            tried.snapshot, stream=stream, source=store.source, definition=store.definition.name
        )

    def read(self, stream: str) -> Iterator[Event]:
        """The events of its projected log."""
        tried = self._tried(stream)
        if tried is None:
            yield from self._store.read(stream)
            return
        if tried.after.version:
            for event in self._store.read(stream):
                yield event
                if event.version == tried.after.version:
                    break
        yield from scan(tried.lines, stream=stream, source=self._store.source, after=tried.after).events

    def would_hold(self, full: str) -> str | None:
        """The manifest that has claimed a name in this trial so far."""
        return self._holders.get(full)

    def put(
        self,
        stream: str,
        after: Position,
        events: Sequence[Event],
        state: StateSnapshot,
        check: Callable[[], None],
    ) -> None:
        """Record these events as committed. check: called first, atomically with the record; it may refuse."""
        with self._mutex:
            check()
            earlier = self._tried(stream)
            lines = b"".join(event.line for event in events)
            if earlier is not None:
                after, lines = earlier.after, earlier.lines + lines
            self._kept[stream] = _Tried(after, lines, encode_snapshot(state)).encode()
            for event in events:
                for word, holder in (("released", None), ("claimed", stream)):
                    if word in event.data:
                        self._holders[event.data[word]] = holder

    @contextmanager
    def creating(self, actor: str | None) -> Iterator[int]:
        """Count a manifest that an actor creates; yields the number of earlier ones in this trial. An error takes it back."""
        key = actor if actor is None else person(actor)
        with self._mutex:
            before = self._drafts.get(key, 0)
            self._drafts[key] = before + 1
        try:
            yield before
        except BaseException:
            with self._mutex:
                self._drafts[key] -= 1
            raise

    def end_lease(self, stream: str, number: int) -> None:
        """Record that this lease on a manifest was released, or broken."""
        self._ended.add((stream, number))

    def lease(self, stream: str, found: Lease | None) -> Lease | None:
        """The projected lease on a manifest. found: the actual one."""
        return None if found is None or (stream, found.number) in self._ended else found

    def _tried(self, stream: str) -> _Tried | None:
        with self._mutex, suppress(KeyError):
            return _Tried.decode(self._kept[stream])
        return None
