"""Trials: what commands would come to, one after the other, with nothing written.

The engine decides a command of a trial as it decides any other, by the same rules, and then puts it here instead of into the log.
What comes later in the same trial finds the manifests as they would be by then: their states, their logs with idempotency keys,
the names that they would hold, and the leases that would have ended.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import astuple
from typing import TYPE_CHECKING, NamedTuple

import orjson

from registration.core.codec import decode_snapshot, encode_snapshot, scan
from registration.values.events import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping, Sequence

    from registration.storage.ledger import Ledger
    from registration.storage.ports import Records
    from registration.values.events import Event, StateSnapshot
    from registration.values.leases import Lease


class _Tried(NamedTuple):
    """What a trial knows of one stream: where its log ends, the lines that would follow, and the state after them."""

    after: Position
    lines: bytes
    snapshot: bytes

    def encode(self) -> bytes:
        """All of it as bytes."""
        head = orjson.dumps([*astuple(self.after), len(self.lines)])
        return head + b"\n" + self.lines + self.snapshot

    @classmethod
    def decode(cls, raw: bytes) -> _Tried:
        """What `encode` made."""
        head, _, rest = raw.partition(b"\n")
        version, size_bytes, log_head, length = orjson.loads(head)
        return cls(Position(version, size_bytes, log_head), rest[:length], rest[length:])


class Trial:
    """A registry as it would be. Safe to share between threads, where each stream is changed by one at a time.

    store: the logs as they are. kept: by stream, what would be; a dict as usual, `Spilled` for many.
    """

    def __init__(self, store: Ledger, kept: MutableMapping[str, bytes] | None = None) -> None:
        self._store = store
        self._kept = {} if kept is None else kept
        self._holders: dict[str, str | None] = {}
        self._ended: set[tuple[str, int]] = set()
        self._mutex = threading.RLock()

    @property
    def records(self) -> Records:
        """The records of the registry as they are, for reading."""
        return self._store.records

    def streams(self) -> Iterator[str]:
        """The ids of all logs as they are."""
        return self._store.streams()

    def load(self, stream: str) -> StateSnapshot | None:
        """The state that a stream would be in; None where it would not exist."""
        tried = self._tried(stream)
        if tried is None:
            return self._store.load(stream)
        store = self._store
        return decode_snapshot(
            tried.snapshot, stream=stream, source=store.source, definition=store.definition.name
        )

    def read(self, stream: str) -> Iterator[Event]:
        """The events that its log would have."""
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
        """The manifest that would have claimed a name in this trial by now."""
        return self._holders.get(full)

    def put(
        self,
        stream: str,
        after: Position,
        events: Sequence[Event],
        state: StateSnapshot,
        check: Callable[[], None],
    ) -> None:
        """Take it that these events were committed. check: what would refuse that, asked with nobody in between."""
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

    def end_lease(self, stream: str, number: int) -> None:
        """Take it that this lease on a manifest was released, or broken."""
        self._ended.add((stream, number))

    def lease(self, stream: str, found: Lease | None) -> Lease | None:
        """The lease that would hold on a manifest. found: the one that does."""
        return None if found is None or (stream, found.number) in self._ended else found

    def _tried(self, stream: str) -> _Tried | None:
        with self._mutex, suppress(KeyError):
            return _Tried.decode(self._kept[stream])
        return None
