"""The order of commits on files: the journal's lines. See `registration.storage.ports.Order`.

A line is a hint, written before its commit; the ledger looks it up in the log. No line of a run of the machine is read before the
lost lines of earlier runs have been restored (`registration.storage.files.reconciling`).

Waiting polls the end every 50 ms, backing off to 0.4 s while nothing happens. If watchfiles is installed (extra `watch`), the
system reports changes at once, and the end is polled only twice a second.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from registration.storage import layout
from registration.storage.disk import failures_named
from registration.storage.notes import Cursor, Noted, is_late, not_of_this_feed, parse_cursor
from registration.storage.ports import Entry

if TYPE_CHECKING:
    from registration.storage.files.journal import Journal
    from registration.storage.files.logs import FileLogs
    from registration.storage.files.segments import Segment, Segments

LOOK_S = 0.05
LOOK_S_MAX = 0.4
TOLD_S = 0.5


class FileOrder:
    """The order of one registry. Safe to share between threads."""

    is_proof = False

    def __init__(self, segments: Segments, journal: Journal, logs: FileLogs) -> None:
        self._segments = segments
        self._journal = journal
        self._logs = logs
        self._areas: Callable[[], Iterable[str]] = lambda: layout.LOG_AREAS
        self._acknowledged: Callable[[str, str], int] | None = None
        self._watching = threading.local()

    def acknowledge_by(
        self, areas: Callable[[], Iterable[str]], acknowledged: Callable[[str, str], int]
    ) -> None:
        """See `registration.storage.ports.Mending.acknowledge_by`."""
        self._areas, self._acknowledged = areas, acknowledged

    def entries(self, after: str | None, *, limit: int | None = None, data: bool = True) -> Iterator[Entry]:
        """See `Order.entries`. The ledger looks up the bytes."""
        with _reading():
            last, numbers = self._ready()
            begin = None if after is None else self._place(after, last, numbers)
        for number in numbers:
            if begin is not None and number < begin.segment:
                continue
            here = begin if begin is not None and number == begin.segment else None
            with _reading(), self._segments.opened() as feed:
                segment = last if number == last.number else self._segments.segment(feed, number)
            id = segment.header.id if segment.header else "0" * 8
            live = number == last.number
            offset = here.offset if here else 0
            for commit, line, start, stop in self._segments.commits(segment, offset, live=live):
                skipped = here.taken if here and start == here.offset else 0
                if skipped < commit.count:
                    ends = [str(Cursor(number, id, start, k)) for k in range(1, commit.count)]
                    yield Entry(line + b"\n", [*ends, str(Cursor(number, id, stop))], skipped)

    def end(self) -> str:
        """See `Order.end`."""
        with _reading():
            last, _ = self._ready()
            return str(self._segments.end_of(last))

    def wait(self, seen: str, timeout_s: float, *, stop: threading.Event | None = None) -> bool:
        """See `Order.wait`."""
        stop = stop or threading.Event()
        end_s, pause_s = time.monotonic() + timeout_s, LOOK_S
        while not stop.is_set():
            if self.end() != seen:
                return True
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return False
            if not self._told(min(left_s, TOLD_S), stop):
                stop.wait(min(left_s, pause_s))
                pause_s = min(pause_s * 1.5, LOOK_S_MAX)
        return False

    def _told(self, timeout_s: float, stop: threading.Event) -> bool:
        """Wait for a change reported by the system, or until the timeout; False if the system reports none."""
        watcher = getattr(self._watching, "watcher", None)
        if watcher is None:
            watcher = self._watching.watcher = _watcher(os.path.join(self._logs.root, layout.FEED)) or False
            if watcher:
                return True  # commits before the start of watching have to be checked
        if not watcher:
            return False
        watcher.watch(20, 10, max(1, round(timeout_s * 1000)), stop)
        return True

    def noted(self, stream: str | None = None) -> Iterator[Noted]:
        """See `registration.storage.ports.Mending.noted`."""
        segments, of = self._segments, b"" if stream is None else orjson.dumps(stream)
        with _reading():
            try:
                with segments.opened() as feed:
                    numbers = segments.numbers(feed)
                    last = segments.current(feed, numbers)
            except FileNotFoundError:
                return
        for number in numbers:
            with _reading(), segments.opened() as feed:
                segment = segments.segment(feed, number)
            header, live = segment.header, last is not None and number == last.number
            if header is None or header.source != segments.source:
                continue
            for commit, line, *_ in segments.commits(segment, 0, live=live, of=of):
                in_order = header.segment == number and number % 2 == 1 and not is_late(line)
                yield Noted(commit, number, live and bool(header.boot), in_order)

    def reconcile(self) -> int:
        """Find commits without a line, and add their lines at the end; returns the number of their events."""
        from registration.storage.files.reconciling import reconcile_late  # noqa: PLC0415  # few readers ever need it

        with _reading():
            last, _ = self._ready()
            return reconcile_late(
                self._segments, self._logs, self._areas(), self._sound, last.number, self._journal
            )

    def _sound(self, area: str, id: str) -> int:
        if self._acknowledged is not None:
            return self._acknowledged(area, id)
        return self._logs.found(area, id)[1].size_bytes  # without a ledger, the bytes are taken as they are

    def _ready(self) -> tuple[Segment, list[int]]:
        """The segment of this run of the machine, with every earlier one restored, and the numbers of all."""
        segments = self._segments
        try:
            with segments.opened() as feed:
                numbers = segments.numbers(feed)
                last = segments.current(feed, numbers)
                if last is not None and last.number - 1 in numbers:
                    return last, numbers
        except FileNotFoundError:
            pass
        from registration.storage.files.reconciling import reconcile_before  # noqa: PLC0415  # once for each run of the machine

        with segments.made() as feed:
            last = segments.current(feed) or segments.make(feed)
        reconcile_before(segments, self._logs, self._areas(), self._sound, last.number)
        with segments.opened() as feed:
            return segments.segment(feed, last.number), segments.numbers(feed)

    def _place(self, after: str, last: Segment, numbers: list[int]) -> Cursor:
        """Where a cursor leads."""
        cursor = parse_cursor(after)
        if cursor.segment not in numbers:
            raise not_of_this_feed(after)
        with self._segments.opened() as feed:
            segment = self._segments.segment(feed, cursor.segment)
            if segment.header is not None and segment.header.id != cursor.id:
                raise not_of_this_feed(after)
            # A power cut may have removed the end of an earlier run's segment.
            if cursor.segment == last.number and not self._is_between_lines(feed, cursor):
                raise not_of_this_feed(after)
        return cursor

    def _is_between_lines(self, feed: int, cursor: Cursor) -> bool:
        with self._segments.open_in(feed, cursor.segment) as fd:
            return cursor.offset == 0 or self._segments.disk.read(fd, 1, cursor.offset - 1) == b"\n"


def _watcher(folder: str) -> Any:
    """A watcher of changes in a folder; None if watchfiles isn't installed, or the system refuses."""
    try:
        from watchfiles._rust_notify import RustNotify  # noqa: PLC0415  # an extra; `watch` can't be left and taken up again
    except ImportError:
        return None
    try:
        return RustNotify([folder], False, False, 0, False, False)
    except Exception:  # whatever the error, polling suffices
        return None


@contextmanager
def _reading() -> Iterator[None]:
    with failures_named("reading", layout.FEED):
        yield
