"""The feed: the journal's lines looked up in the logs, so that what comes out are committed events, each once.

A line is resolved by loading its stream, which never shows what a power cut could take back. Where the stream isn't there
yet, it is loaded once more under its lock: whoever wrote the line is done by then, or dead. The bytes that the line names
end in the hash that it names, or that commit never was, and the line is passed over. A hash stands in one line only.

An event that was damaged is raised, with the cursor for going on behind it: nothing is left out silently.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Protocol

from registration.core.codec import TAIL_BYTES, BadLine, Fault, decode_line, head_of_tail
from registration.core.store import Backlog, FeedEntry
from registration.errors import CorruptLog, RegistrationError, UnknownEvent
from registration.storage import layout
from registration.storage.disk import failures_named, read_span
from registration.storage.files.feed.records import (
    NOW,
    START,
    Cursor,
    Record,
    check_limit,
    decode_record,
    not_of_this_feed,
    parse_cursor,
)
from registration.storage.recovery import corrupt
from registration.values.snapshots import Position

if TYPE_CHECKING:
    from registration.core.store import Files
    from registration.storage.files.feed.journal import Journal
    from registration.storage.files.feed.segments import Segment, Segments
    from registration.values.events import Event
    from registration.values.snapshots import StateSnapshot

_READ_BYTES = 1 << 16

_LINES_AHEAD_MAX = 256
_BYTES_AHEAD_MAX = 4 * 1024 * 1024
"""How many lines are looked up together, and how much of their logs: a stream that has several is read once."""


class Logs(Protocol):
    """What the feed needs of the store of an area; `registration.storage.files.files.FileStore` is one."""

    @property
    def source(self) -> str:
        """``urn:uuid:`` and the registry's id."""

    def load(self, stream: str, *, waiting: bool = False) -> StateSnapshot | None:
        """The acknowledged state; waiting: after whoever is writing at this moment."""

    def read(self, stream: str) -> Iterator[Event]:
        """All acknowledged events, checked."""

    def inspect(self, stream: str) -> Files:
        """The bytes as they stand."""

    def log_bytes(self, stream: str, start: int, end: int) -> bytes:
        """The log's bytes from `start` to `end`; fewer where it ends before."""

    def log_sizes(self) -> Iterator[tuple[str, int]]:
        """The ids of all logs, each with its size as it stands, in no order."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was looked up of a stream: its bytes from `begin` on. size_bytes: how far they are acknowledged, and read."""

    size_bytes: int
    begin: int
    data: bytes

    def between(self, start: int, end: int) -> bytes:
        """The bytes between; none where they were not all read."""
        return self.data[start - self.begin : end - self.begin] if end <= self.size_bytes else b""


class Feed:
    """The feed of one registry. areas: the store of each kind of stream; lines of other areas are passed over."""

    def __init__(self, segments: Segments, areas: Mapping[str, Logs], journal: Journal) -> None:
        self._segments = segments
        self._areas = areas
        self._journal = journal

    def entries(
        self, after: str | None = None, *, limit: int | None = None, areas: Collection[str] | None = None
    ) -> Iterator[FeedEntry]:
        """See `registration.core.store.Store.feed`."""
        check_limit(limit)
        return islice(self._entries(after, areas), limit)

    def end(self) -> str:
        """See `registration.core.store.Store.feed_end`."""
        with _reading():
            last, _ = self._ready()
            return str(_end_of(self._segments, last))

    def backlog(self, after: str | None = None) -> Backlog:
        """See `registration.core.store.Store.feed_backlog`."""
        records = self._records(after)
        first = list(islice(records, _LINES_AHEAD_MAX))
        more = next(records, None)
        events, since = self._counted(first) if more is None else (0, None)
        for record, _, taken in chain(first, (more,), records) if more is not None else ():
            events += record.count - taken
            since = since or record.time
        return Backlog(events, since)

    def _counted(self, records: list[tuple[Record, list[Cursor], int]]) -> tuple[int, str | None]:
        """How many events these lines lead to, and the time of the first; what can't be read counts as it was announced."""
        events, since = 0, None
        known = self._looked_up([record for record, _, _ in records])
        for record, _, taken in records:
            try:
                found = len(self._resolved(record, known.get((record.area, record.stream))))
            except RegistrationError:
                found = record.count
            if found > taken:
                events += found - taken
                since = since or record.time
        return events, since

    def reconcile(self) -> int:
        """See `registration.core.store.Store.reconcile_feed`."""
        from registration.storage.files.feed.reconciling import reconcile_late  # noqa: PLC0415  # few readers ever need it

        with _reading():
            last, _ = self._ready()
            return reconcile_late(self._segments, dict(self._areas), last.number, self._journal)

    def _entries(self, after: str | None, areas: Collection[str] | None) -> Iterator[FeedEntry]:
        records = (found for found in self._records(after) if areas is None or found[0].area in areas)
        size = 1  # who wants one event shall not wait for many
        while ahead := list(islice(records, size)):
            known = self._looked_up([record for record, _, _ in ahead])
            for record, ends, taken in ahead:
                try:
                    events = self._resolved(record, known.get((record.area, record.stream)))
                except RegistrationError as error:
                    behind = str(ends[-1])
                    error.details |= {"area": record.area, "stream": record.stream, "behind": behind}
                    if isinstance(error, CorruptLog | UnknownEvent):
                        error.details["cursor"] = (
                            behind  # waiting doesn't help: whoever wants to can go on there
                        )
                    raise
                # A commit that never was has no events.
                for event, cursor in list(zip(events, ends, strict=False))[taken:]:
                    yield FeedEntry(str(cursor), record.area, event)
            size = min(2 * size, _LINES_AHEAD_MAX)

    def _looked_up(self, records: list[Record]) -> dict[tuple[str, str], _Known | RegistrationError]:
        """The streams of several lines, each loaded once, with the bytes that all its lines name.

        What can't be read is kept as its error, to be raised when its line's turn comes: it may have been waited for.
        """
        spans: dict[tuple[str, str], tuple[int, int]] = {}
        for record in records:
            key = record.area, record.stream
            start, end = spans.get(key, (record.start_bytes, 0))
            spans[key] = min(start, record.start_bytes), max(end, record.size_bytes)
        known: dict[tuple[str, str], _Known | RegistrationError] = {}
        left = _BYTES_AHEAD_MAX
        for (area, stream), (start, end) in spans.items():
            logs = self._areas.get(area)
            left -= end - start
            if logs is None or left < 0:
                continue
            try:
                state = logs.load(stream)
                if state is not None:
                    begin = max(0, start - TAIL_BYTES)
                    until = min(end, state.position.size_bytes)
                    known[area, stream] = _Known(until, begin, logs.log_bytes(stream, begin, until))
            except RegistrationError as error:
                known[area, stream] = error
        return known

    def _records(self, after: str | None) -> Iterator[tuple[Record, list[Cursor], int]]:
        """The lines behind a cursor, each with the cursors behind its events, and how many of those are before `after`."""
        if after == NOW:
            return
        with _reading():
            last, numbers = self._ready()
            begin = self._begin(after, last, numbers)
        for number in numbers:
            if begin is not None and number < begin.segment:
                continue
            here = begin if begin is not None and number == begin.segment else None
            with _reading(), self._segments.opened() as feed:
                segment = last if number == last.number else self._segments.segment(feed, number)
            id = segment.header.id if segment.header else "0" * 8
            for record, start, stop in records_of(
                self._segments, segment, here.offset if here else 0, live=number == last.number
            ):
                within = [Cursor(number, id, start, k) for k in range(1, record.count)]
                taken = here.taken if here and start == here.offset else 0
                if taken < record.count:
                    yield record, [*within, Cursor(number, id, stop)], taken

    def _ready(self) -> tuple[Segment, list[int]]:
        """The segment of this run of the machine, with all that is before it, and the numbers of all.

        Nothing of a run is read before what the earlier ones have lost was looked for.
        """
        segments = self._segments
        try:
            with segments.opened() as feed:
                numbers = segments.numbers(feed)
                last = segments.current(feed, numbers)
                if last is not None and last.number - 1 in numbers:
                    return last, numbers
        except FileNotFoundError:
            pass
        from registration.storage.files.feed.reconciling import reconcile_before  # noqa: PLC0415  # once for each run of the machine

        with segments.made() as feed:
            last = segments.current(feed) or segments.make(feed)
        reconcile_before(segments, dict(self._areas), last.number)
        with segments.opened() as feed:
            return segments.segment(feed, last.number), segments.numbers(feed)

    def _begin(self, after: str | None, last: Segment, numbers: list[int]) -> Cursor | None:
        """Where a cursor leads; None for the beginning."""
        if after is None or after == START:
            return None
        cursor = parse_cursor(after)
        if cursor.segment not in numbers:
            raise not_of_this_feed(after)
        with self._segments.opened() as feed:
            segment = self._segments.segment(feed, cursor.segment)
            if segment.header is not None and segment.header.id != cursor.id:
                raise not_of_this_feed(after)
            # Of an earlier run's segment, a power cut may have taken the end.
            if cursor.segment == last.number and not self._is_between_lines(feed, cursor):
                raise not_of_this_feed(after)
        return cursor

    def _is_between_lines(self, feed: int, cursor: Cursor) -> bool:
        with self._segments.open_in(feed, cursor.segment) as fd:
            return cursor.offset == 0 or self._segments.disk.read(fd, 1, cursor.offset - 1) == b"\n"

    def _resolved(self, record: Record, known: _Known | RegistrationError | None) -> list[Event]:
        """The events of a commit; none where it never was, and where its area is not known here."""
        if isinstance(known, RegistrationError):
            raise known
        logs = self._areas.get(record.area)
        if logs is None:
            return []
        before = max(0, record.start_bytes - TAIL_BYTES)
        split = record.start_bytes - before
        data = b"" if known is None else known.between(before, record.size_bytes)
        if head_of_tail(data[-TAIL_BYTES:]) == record.head:
            return _events(record, data[split:], head_of_tail(data[:split]), logs.source)
        state = logs.load(record.stream)
        if state is None or state.version < record.version:
            state = logs.load(record.stream, waiting=True)
        if state is None or state.position.size_bytes < record.size_bytes:
            return []
        data = logs.log_bytes(record.stream, before, record.size_bytes)
        if head_of_tail(data[-TAIL_BYTES:]) != record.head:
            # Another commit has that place; or damage has, and that is not passed over.
            for _ in logs.read(record.stream):
                pass
            return []
        return _events(record, data[split:], head_of_tail(data[:split]), logs.source)


def _events(record: Record, data: bytes, head: str, source: str) -> list[Event]:
    place = Position(record.version - record.count, record.start_bytes, head)
    events = []
    for line in data.splitlines(keepends=True):
        try:
            event = decode_line(line, stream=record.stream, source=source, after=place)
        except BadLine as error:
            fault = Fault(place.version + 1, place.size_bytes, str(error), torn=False)
            raise corrupt(record.stream, fault, place.version, record.area) from None
        place = Position(event.version, place.size_bytes + len(line), event.hash)
        events.append(event)
    if place.version != record.version:
        fault = Fault(place.version, place.size_bytes, f"version {record.version} belongs there", torn=False)
        raise corrupt(record.stream, fault, place.version, record.area)
    return events


def records_of(
    segments: Segments, segment: Segment, offset: int, *, live: bool
) -> Iterator[tuple[Record, int, int]]:
    """The lines of a segment from an offset to the size that it had, each with its beginning and its end.

    live: of this run of the machine. What stands behind a hole in an earlier one's is as lost as the hole: it was looked
    for, and is in a later segment.
    """
    if not live and offset and _has_hole(segments, segment, offset):
        return
    rest = b""
    while offset + len(rest) < segment.size_bytes:
        piece = _piece(segments, segment, offset + len(rest))
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            start, offset = offset, offset + len(line) + 1
            if not live and b"\0" in line:
                return
            if (record := decode_record(line)) is not None:
                yield record, start, offset


def _piece(segments: Segments, segment: Segment, begin: int) -> bytes:
    """Some bytes of a segment. It is opened for each: whoever stops reading half-way leaves nothing open."""
    end = min(begin + _READ_BYTES, segment.size_bytes)
    with _reading(), segments.opened() as feed, segments.open_in(feed, segment.number) as fd:
        return read_span(segments.disk, fd, begin, end)


def _has_hole(segments: Segments, segment: Segment, end: int) -> bool:
    """Whether a power cut left a hole before `end`: zeros, where a block did not make it."""
    pieces = range(0, min(end, segment.size_bytes), _READ_BYTES)
    return any(b"\0" in _piece(segments, segment, begin)[: end - begin] for begin in pieces)


def _end_of(segments: Segments, segment: Segment) -> Cursor:
    """Behind the last whole line of a segment."""
    end = segment.size_bytes
    with segments.opened() as feed, segments.open_in(feed, segment.number) as fd:
        # A line is written by one call, so that hardly ever anything stands behind the last line feed.
        while end and segments.disk.read(fd, 1, end - 1) != b"\n":
            end -= 1
    assert segment.header is not None
    return Cursor(segment.number, segment.header.id, end)


@contextmanager
def _reading() -> Iterator[None]:
    with failures_named("reading", layout.FEED):
        yield
