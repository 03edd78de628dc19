"""Reconciling: finding events that are missing from the feed, and their position.

Nothing in `feed/` is synced, so a power cut removes lines of events that are durable; earlier releases wrote no lines at all;
and `feed/` may be deleted or not copied. So, once per run of the machine, the first reader compares every log with its lines:
the size alone, if the lines have no gap.

Missing lines go into an even segment, written whole before it gets its name: number 2 holds the lines that are missing before
number 3. A missing event followed by one with a line goes before the segment of that one, so a manifest's events stay in
order. No run's segment is read before the even one in front of it exists.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registration.core.codec import scan
from registration.errors import CorruptLog, LockTimeout, StoreError, UnknownEvent
from registration.storage import layout
from registration.storage.disk import given_back, let_go_by_children, write_whole
from registration.storage.files.tally import Lines, Tally
from registration.storage.notes import Commit, Header
from registration.values.events import Position

if TYPE_CHECKING:
    from registration.storage.files.journal import Journal
    from registration.storage.files.logs import FileLogs
    from registration.storage.files.segments import Segments
    from registration.values.events import Event

_WRITE_BYTES = 1 << 16

Sound = Callable[[str, str], int]
"""Returns, by area and id, how many bytes of a log are acknowledged."""


def reconcile_before(
    segments: Segments, logs: FileLogs, areas: Iterable[str], sound: Sound, number: int
) -> None:
    """Make sure that the even segments hold every line that is missing before the segment of this run.

    Of several concurrent processes, one does it. After a kill at any point, the next call completes it.
    """
    with _exclusively(segments, number):
        with segments.opened() as feed:
            numbers = segments.numbers(feed)
        if number - 1 in numbers:
            return
        slots = _Slots(segments, numbers, number)
        try:
            for lost, claimed in _missing(segments, logs, areas, sound, number):
                slots.put(lost, claimed)
            slots.keep()
        finally:
            slots.close()


def reconcile_late(
    segments: Segments, logs: FileLogs, areas: Iterable[str], sound: Sound, number: int, journal: Journal
) -> int:
    """Add missing lines at the end of the feed, since their position may have been read already; returns the number of events."""
    events = 0
    with _exclusively(segments, number):
        for lost, _ in _missing(segments, logs, areas, sound, number):
            journal.add(lost.encode(late=True))
            events += lost.count
    return events


@contextmanager
def _exclusively(segments: Segments, number: int) -> Iterator[None]:
    """Exclude other reconcilers. The lock is on the segment, which committers never lock."""
    disk = segments.disk
    with segments.opened() as feed:
        fd = disk.open(layout.segment_file(number), os.O_RDONLY, dir_fd=feed)
    with given_back(disk, fd), let_go_by_children(disk, fd):
        if not disk.lock(fd, segments.lock_timeout_s):
            raise LockTimeout(layout.FEED, segments.lock_timeout_s)
        yield


def _missing(
    segments: Segments, logs: FileLogs, areas: Iterable[str], sound: Sound, number: int
) -> Iterator[tuple[Commit, int | None]]:
    """The commits without a line, each with the segment of the next line of its stream, if any.

    The ends of the logs are read before the lines: a commit in between has its line already.
    """
    with Tally() as tally:
        tally.tell(record for _, record in _all_records(segments, number))
        there = []
        for area in areas:
            with suppress(FileNotFoundError), logs.opened_area(area):
                there.append(area)
        for area in there:
            tally.doubt(area, logs.sizes(area))
        for area in there:
            for stream, _ in tally.doubtful(area):
                tally.note_sound(area, stream, _sound_bytes(logs, sound, area, stream, segments.source))
        tally.note_lines(_all_records(segments, number))
        for area in there:
            for stream, size in tally.doubtful(area):
                lines = tally.lines_of(area, stream)
                yield from _missing_of(logs, area, stream, size, lines, segments.source)


def _all_records(segments: Segments, number: int) -> Iterator[tuple[int, Commit]]:
    with segments.opened() as feed:
        found = [segments.segment(feed, one) for one in segments.numbers(feed)]
    for segment in found:
        for record, *_ in segments.commits(segment, 0, live=segment.number == number):
            yield segment.number, record


def _sound_bytes(logs: FileLogs, sound: Sound, area: str, stream: str, source: str) -> int:
    """The acknowledged size of a log; if it is damaged, the size of its intact part."""
    try:
        return sound(area, stream)
    except (CorruptLog, UnknownEvent):
        log = logs.read(area, stream, 0, sys.maxsize)
        return scan(log, stream=stream, source=source, after=Position()).position.size_bytes
    except StoreError as error:
        if error.details.get("errno") in (errno.ELOOP, errno.ENOTDIR):
            return 0  # not a log, so nothing of it is read
        raise


def _missing_of(
    logs: FileLogs, area: str, stream: str, sound_bytes: int, lines: Lines, source: str
) -> Iterator[tuple[Commit, int | None]]:
    log = logs.read(area, stream, 0, sound_bytes) if sound_bytes else b""
    events = scan(log, stream=stream, source=source, after=Position()).events
    following: int | None = None
    found: list[tuple[Commit, int | None]] = []
    for commit in reversed(_commits(events, area, stream)):
        segment = lines.get((commit.start_bytes, commit.size_bytes, commit.head))
        if segment is None:
            found.append((commit, following))
        else:
            following = segment
    yield from reversed(found)


def _commits(events: list[Event], area: str, stream: str) -> list[Commit]:
    """The journal records of whole commands, as their writers would have recorded them."""
    found = []
    start = offset = count = 0
    for event in events:
        offset += len(event.line)
        count += 1
        if not event.remaining:
            found.append(Commit(area, stream, event.version, count, start, offset, event.hash, event.time))
            start, count = offset, 0
    return found


@dataclass(slots=True)
class _Slot:
    """An even segment under construction."""

    fd: int
    waiting: list[bytes] = field(default_factory=list)
    waiting_bytes: int = 0


class _Slots:
    """The missing even segments, written under temporary names until they are complete."""

    def __init__(self, segments: Segments, numbers: list[int], last: int) -> None:
        self._segments = segments
        self._there = set(numbers)
        self._last = last
        self._open: dict[int, _Slot] = {}
        self._slot(last - 1)  # even if nothing is missing: its existence says so

    def put(self, lost: Commit, claimed: int | None) -> None:
        """Add a missing line before a line in the segment `claimed`, or at the end if there is no such line."""
        number = self._last - 1
        if claimed is not None and claimed % 2 == 1 and claimed - 1 not in self._there:
            number = claimed - 1
        slot, line = self._slot(number), lost.encode(late=True)
        slot.waiting.append(line)
        slot.waiting_bytes += len(line)
        if slot.waiting_bytes > _WRITE_BYTES:
            self._write(slot)

    def keep(self) -> None:
        """Rename them to their final names, the last one last: once it exists, all do."""
        disk = self._segments.disk
        with self._segments.opened() as feed:
            for number, slot in sorted(self._open.items()):
                self._write(slot)
                disk.sync(slot.fd)
                name = layout.segment_file(number)
                disk.rename(name + layout.TEMPORARY_SUFFIX, name, dir_fd=feed)
                disk.sync(feed)

    def close(self) -> None:
        """Close them."""
        for slot in self._open.values():
            with given_back(self._segments.disk, slot.fd):
                pass

    def _slot(self, number: int) -> _Slot:
        if number not in self._open:
            name = layout.segment_file(number) + layout.TEMPORARY_SUFFIX
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with self._segments.opened() as feed:
                slot = self._open[number] = _Slot(self._segments.disk.open(name, flags, dir_fd=feed))
            header = Header(number, os.urandom(4).hex(), self._segments.boot(), self._segments.source)
            slot.waiting.append(header.encode())
        return self._open[number]

    def _write(self, slot: _Slot) -> None:
        write_whole(self._segments.disk, slot.fd, b"".join(slot.waiting))
        slot.waiting, slot.waiting_bytes = [], 0
