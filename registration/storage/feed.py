"""The feed: the entries of a registry's order as committed events, each once.

If the order is a proof, an entry comes with the bytes at its position in the log. If it is a hint (files), or those bytes differ, it
is looked up by loading its stream, which never shows events that a power cut could undo. If the stream does not have that commit
yet, it is loaded again under its lock: by then the writer of the hint has finished or died. If the bytes that the hint names don't
end in the hash that it names, the commit was never made, or is gone, and the hint is skipped. A hash occurs in one hint only.

A damaged event is raised, with the cursor for continuing after it: nothing is left out silently.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Protocol

from registration.core.codec import BadLine, Fault, decode_line, head_of_tail
from registration.errors import CorruptLog, RegistrationError, UnknownEvent
from registration.storage.notes import NOW, START, Commit, check_limit, decode_commit
from registration.storage.ports import TAIL_BYTES, Entry
from registration.storage.recovery import corrupt
from registration.storage.reports import Backlog, FeedEntry
from registration.values.events import Position

if TYPE_CHECKING:
    from registration.storage.ports import Backend
    from registration.values.events import Event, StateSnapshot

_LINES_AHEAD_MAX = 256
_BYTES_AHEAD_MAX = 4 * 1024 * 1024
"""How many hints are looked up together, and how much of their logs: a stream with several hints is read once."""


class AreaLogs(Protocol):
    """The logs of an area as the feed reads them; a `registration.storage.ledger.Ledger` is one."""

    def load(self, stream: str, *, waiting: bool = False) -> StateSnapshot | None:
        """The acknowledged state; waiting: after a writer in progress. None if there is none, or its definition is unknown here."""

    def read(self, stream: str) -> Iterator[Event]:
        """All acknowledged events, checked."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The bytes of a stream from `begin` on, up to the end of its acknowledged part, `size_bytes`."""

    size_bytes: int
    begin: int
    data: bytes

    def between(self, start: int, end: int) -> bytes:
        """The bytes between two offsets; empty if they were not all read."""
        return self.data[start - self.begin : end - self.begin] if end <= self.size_bytes else b""


_Ahead = tuple[Commit, Entry]


class Feed:
    """The feed of one registry. logs_of: the logs of an area; None for areas whose entries are skipped."""

    def __init__(self, backend: Backend, source: str, logs_of: Callable[[str], AreaLogs | None]) -> None:
        self._order = backend.order
        self._logs = backend.logs
        self._source = source
        self._logs_of = logs_of

    def entries(
        self, after: str | None = None, *, limit: int | None = None, areas: Collection[str] | None = None
    ) -> Iterator[FeedEntry]:
        """See `registration.storage.ledger.Ledger.feed`."""
        check_limit(limit)
        return islice(self._entries(after, areas, limit), limit)

    def backlog(self, after: str | None = None) -> Backlog:
        """See `registration.storage.ledger.Ledger.feed_backlog`."""
        commits = self._commits(after, data=False)
        first = list(islice(commits, _LINES_AHEAD_MAX))
        more = next(commits, None)
        events, since = 0, None
        if more is not None or self._order.is_proof:
            for commit, entry in chain(first, () if more is None else (more,), commits):
                events += commit.count - entry.skipped
                since = since or commit.time
            return Backlog(events, since)
        known = self._looked_up(first)
        for commit, entry in first:
            try:
                found = len(self._resolved(commit, entry, known.get((commit.area, commit.stream))))
            except RegistrationError:
                found = commit.count  # an unreadable commit counts as recorded
            if found > entry.skipped:
                events += found - entry.skipped
                since = since or commit.time
        return Backlog(events, since)

    def _entries(
        self, after: str | None, areas: Collection[str] | None, limit: int | None
    ) -> Iterator[FeedEntry]:
        wanted = limit if areas is None and self._order.is_proof else None
        commits = (one for one in self._commits(after, limit=wanted) if areas is None or one[0].area in areas)
        size = 1  # a reader of one event should not wait for many
        while ahead := list(islice(commits, size)):
            known = {} if self._order.is_proof else self._looked_up(ahead)
            for commit, entry in ahead:
                try:
                    events = self._resolved(commit, entry, known.get((commit.area, commit.stream)))
                except RegistrationError as error:
                    behind = entry.ends[-1]
                    error.details |= {"area": commit.area, "stream": commit.stream, "behind": behind}
                    if isinstance(error, CorruptLog | UnknownEvent):
                        error.details["cursor"] = behind  # waiting doesn't help: reading can continue there
                    raise
                # A commit that was never made has no events.
                for event, cursor in list(zip(events, entry.ends, strict=False))[entry.skipped :]:
                    yield FeedEntry(cursor, commit.area, event)
            size = min(2 * size, _LINES_AHEAD_MAX)

    def _commits(self, after: str | None, *, limit: int | None = None, data: bool = True) -> Iterator[_Ahead]:
        if after == NOW:
            return
        for entry in self._order.entries(None if after == START else after, limit=limit, data=data):
            commit = decode_commit(entry.line)
            if commit is not None:
                yield commit, entry

    def _looked_up(self, ahead: list[_Ahead]) -> dict[tuple[str, str], _Known | RegistrationError]:
        """The streams of several hints, each loaded once, with the bytes that all its hints name.

        An unreadable stream is represented by its error, raised at its hint's turn: it may be readable by then.
        """
        spans: dict[tuple[str, str], tuple[int, int]] = {}
        for commit, _ in ahead:
            key = commit.area, commit.stream
            start, end = spans.get(key, (commit.start_bytes, 0))
            spans[key] = min(start, commit.start_bytes), max(end, commit.size_bytes)
        known: dict[tuple[str, str], _Known | RegistrationError] = {}
        left = _BYTES_AHEAD_MAX
        for (area, stream), (start, end) in spans.items():
            left -= end - start
            if left < 0:
                break
            try:
                logs = self._logs_of(area)
                state = logs.load(stream) if logs is not None else None
                if state is not None:
                    begin = max(0, start - TAIL_BYTES)
                    until = min(end, state.position.size_bytes)
                    known[area, stream] = _Known(until, begin, self._logs.read(area, stream, begin, until))
            except RegistrationError as error:
                known[area, stream] = error
        return known

    def _resolved(
        self, commit: Commit, entry: Entry, known: _Known | RegistrationError | None
    ) -> list[Event]:
        """The events of a commit; none if it was never made, or its area is unknown here."""
        if isinstance(known, RegistrationError):
            raise known
        if entry.data is not None and head_of_tail(entry.data[-TAIL_BYTES:]) == commit.head:
            return self._events(commit, entry.data, head_of_tail(entry.before or b""))
        logs = self._logs_of(commit.area)
        if logs is None:
            return []
        before = max(0, commit.start_bytes - TAIL_BYTES)
        split = commit.start_bytes - before
        data = b"" if known is None else known.between(before, commit.size_bytes)
        if head_of_tail(data[-TAIL_BYTES:]) != commit.head:
            state = logs.load(commit.stream)
            if state is None or state.version < commit.version:
                state = logs.load(commit.stream, waiting=True)
            if state is None or state.position.size_bytes < commit.size_bytes:
                return []
            data = self._logs.read(commit.area, commit.stream, before, commit.size_bytes)
            if head_of_tail(data[-TAIL_BYTES:]) != commit.head:
                # The position holds another commit, since the log was truncated or recreated; or damage, which is not skipped.
                for _ in logs.read(commit.stream):
                    pass
                return []
        return self._events(commit, data[split:], head_of_tail(data[:split]))

    def _events(self, commit: Commit, data: bytes, head: str) -> list[Event]:
        place = Position(commit.version - commit.count, commit.start_bytes, head)
        events = []
        for line in data.splitlines(keepends=True):
            try:
                event = decode_line(line, stream=commit.stream, source=self._source, after=place)
            except BadLine as error:
                fault = Fault(place.version + 1, place.size_bytes, str(error), torn=False)
                raise corrupt(commit.stream, fault, place.version, commit.area) from None
            place = Position(event.version, place.size_bytes + len(line), event.hash)
            events.append(event)
        if place.version != commit.version:
            fault = Fault(
                place.version, place.size_bytes, f"version {commit.version} belongs there", torn=False
            )
            raise corrupt(commit.stream, fault, place.version, commit.area)
        return events
