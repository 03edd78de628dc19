"""Hot states: the latest states of the recently used streams, each valid while its log's end is unchanged.

A cache, bounded in number and bytes. An entry holds only states that a commit or a read has seen on the disk; a log never becomes
shorter than its acknowledged part, so an equal mark means an equal log. Callers share nothing in it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from registration.storage.ports import Mark
    from registration.values.events import StateSnapshot

ENTRIES_MAX = 1024
BYTES_MAX = 32 * 1024 * 1024
"""Limit of the documents and facts of all hot states as JSON; as Python objects they take several times as much."""


@dataclass(frozen=True, slots=True)
class Hot:
    """One state, and the end of its log. size_bytes: of its document and facts as JSON."""

    state: StateSnapshot
    mark: Mark
    size_bytes: int


class HotStates:
    """The recently used states, by stream. Safe to share between threads."""

    def __init__(self, *, entries_max: int = ENTRIES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._entries: OrderedDict[str, Hot] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    def get(self, stream: str) -> Hot | None:
        """The entry of a stream. Compare its mark before using its state."""
        with self._lock:
            entry = self._entries.get(stream)
            if entry is not None:
                self._entries.move_to_end(stream)
            return entry

    def put(self, stream: str, state: StateSnapshot, mark: Mark, *, before: Hot | None = None) -> None:
        """Store a state. Callers may share its document with an event, so it is copied.

        before: the entry that the state was decided on; its document already belongs to this cache.
        """
        if mark.size_bytes != state.position.size_bytes:
            self.drop(stream)
            return
        if before is not None and state.document is before.state.document:
            entry = Hot(state, mark, before.size_bytes)
        else:
            document = orjson.dumps(state.document)
            size_bytes = len(document) + len(orjson.dumps(state.facts))
            entry = Hot(replace(state, document=orjson.loads(document)), mark, size_bytes)
        with self._lock:
            self._remove(stream)
            self._entries[stream] = entry
            self._size_bytes += entry.size_bytes
            while len(self._entries) > self._entries_max or self._size_bytes > self._bytes_max:
                self._remove(next(iter(self._entries)))

    def drop(self, stream: str) -> None:
        """Forget a stream's state, which is in doubt."""
        with self._lock:
            self._remove(stream)

    def _remove(self, stream: str) -> None:
        entry = self._entries.pop(stream, None)
        if entry is not None:
            self._size_bytes -= entry.size_bytes
