"""The directory `feed/`: its segments, and the one of this run of the machine.

The content of a segment is never synced, so a power cut may remove its end, or leave holes. Each run of the machine therefore
has its own segment: an odd number, with a header that names the run. A process that finds a segment of another run last
creates the next one, under the lock of `feed/`, and syncs its header and its name: no number is used twice. Even numbers
are for lines found missing before the odd one that follows: see `registration.storage.files.reconciling`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.errors import LockTimeout
from registration.storage import layout
from registration.storage.disk import (
    DIRECTORY_MODE,
    failures_named,
    given_back,
    let_go_by_children,
    opened_directory,
    read_span,
    write_whole,
)
from registration.storage.notes import Commit, Cursor, Header, decode_commit, decode_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.storage.disk import Disk

BOOT_ID = "/proc/sys/kernel/random/boot_id"
_HEADER_BYTES_MAX = 4096
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment at one moment: its number, its size, and its header if that is intact.

    Odd numbers record commits; even numbers hold lines that were found missing.
    """

    number: int
    size_bytes: int
    header: Header | None


class Segments:
    """The segments of one registry. source: the registry's own. Nothing stays open between calls."""

    def __init__(self, disk: Disk, root: str, source: str, *, lock_timeout_s: float) -> None:
        self.disk = disk
        self.source = source
        self._root = root
        self.lock_timeout_s = lock_timeout_s
        self._boot: str | None = None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The directory `feed/`. Raises FileNotFoundError if there is none."""
        with (
            opened_directory(self.disk, self._root) as root,
            opened_directory(self.disk, layout.FEED, dir_fd=root) as feed,
        ):
            yield feed

    @contextmanager
    def made(self) -> Iterator[int]:
        """The directory `feed/`, created durably if it is missing."""
        with opened_directory(self.disk, self._root) as root:
            try:
                feed = self.disk.open(layout.FEED, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
            except FileNotFoundError:
                with suppress(FileExistsError):
                    self.disk.make_directory(layout.FEED, DIRECTORY_MODE, dir_fd=root)
                self.disk.sync(root)
                feed = self.disk.open(layout.FEED, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
        with given_back(self.disk, feed):
            yield feed

    def numbers(self, feed: int) -> list[int]:
        """The numbers of the existing segments, sorted."""
        found = (layout.segment_number(name) for name in self.disk.names(feed))
        return sorted(number for number in found if number is not None)

    def segment(self, feed: int, number: int) -> Segment:
        """A segment as it is now. Raises FileNotFoundError if there is none."""
        with self.open_in(feed, number) as fd:
            size = self.disk.status(fd).st_size
            first, end, _ = self.disk.read(fd, min(size, _HEADER_BYTES_MAX), 0).partition(b"\n")
        return Segment(number, size, decode_header(first) if end else None)

    def current(self, feed: int, numbers: list[int] | None = None) -> Segment | None:
        """The segment of this run of the machine; None if there is none yet. numbers: as just listed."""
        runs = [number for number in numbers or self.numbers(feed) if number % 2 == 1]
        if not runs:
            return None
        last = self.segment(feed, runs[-1])
        return last if last.header is not None and self._is_of_this_run(last.header) else None

    def commits(
        self, segment: Segment, offset: int, *, live: bool, of: bytes = b""
    ) -> Iterator[tuple[Commit, bytes, int, int]]:
        """The commits of a segment from an offset to its recorded size, each with its line and the line's start and end.

        live: of this run of the machine. In an earlier run's segment, lines behind a hole are as lost as the hole: they were
        restored in a later segment. of: only lines that contain these bytes.
        """
        if not live and offset and self._has_hole(segment, offset):
            return
        rest = b""
        while offset + len(rest) < segment.size_bytes:
            piece = self._piece(segment, offset + len(rest))
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                start, offset = offset, offset + len(line) + 1
                if not live and b"\0" in line:
                    return
                if of in line and (commit := decode_commit(line)) is not None:
                    yield commit, line, start, offset

    def end_of(self, segment: Segment) -> Cursor:
        """The end of the last whole line of a segment."""
        end = segment.size_bytes
        with self.opened() as feed, self.open_in(feed, segment.number) as fd:
            # A line is written by one call, so bytes behind the last line feed are rare.
            while end and self.disk.read(fd, 1, end - 1) != b"\n":
                end -= 1
        assert segment.header is not None
        return Cursor(segment.number, segment.header.id, end)

    def _piece(self, segment: Segment, begin: int) -> bytes:
        """Some bytes of a segment. Opened for each read: a reader that stops half-way leaves nothing open."""
        end = min(begin + _READ_BYTES, segment.size_bytes)
        with (
            failures_named("reading", layout.FEED),
            self.opened() as feed,
            self.open_in(feed, segment.number) as fd,
        ):
            return read_span(self.disk, fd, begin, end)

    def _has_hole(self, segment: Segment, end: int) -> bool:
        """Whether a power cut left a hole before `end`: zeros, from a block that was not written."""
        pieces = range(0, min(end, segment.size_bytes), _READ_BYTES)
        return any(b"\0" in self._piece(segment, begin)[: end - begin] for begin in pieces)

    def make(self, feed: int) -> Segment:
        """The segment of this run of the machine, created if there is none; of several concurrent processes, one creates it.

        The lock is on `feed` itself, and ends when the caller closes it. A last segment without an intact header, seen under the
        lock that its creator would hold, means that its creator died: nothing writes to it.

        Raises:
            LockTimeout: when another process held the lock all the time, creating it.
        """
        with let_go_by_children(self.disk, feed):
            if not self.disk.lock(feed, self.lock_timeout_s):
                raise LockTimeout(layout.FEED, self.lock_timeout_s)
            found = self.current(feed)
            return found if found is not None else self._next(feed)

    @contextmanager
    def open_in(self, feed: int, number: int) -> Iterator[int]:
        """A descriptor of an existing segment for reading, open during the block."""
        name = layout.segment_file(number)
        with given_back(self.disk, self.disk.open(name, os.O_RDONLY, dir_fd=feed)) as fd:
            yield fd

    def append_to(self, feed: int, number: int) -> int:
        """A descriptor of an existing segment for appending."""
        return self.disk.open(layout.segment_file(number), os.O_WRONLY | os.O_APPEND, dir_fd=feed)

    def _next(self, feed: int) -> Segment:
        numbers = self.numbers(feed)
        number = numbers[-1] + 1 + numbers[-1] % 2 if numbers else 1
        header = Header(number, os.urandom(4).hex(), self.boot(), self.source)
        data = header.encode()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        with given_back(self.disk, self.disk.open(layout.segment_file(number), flags, dir_fd=feed)) as fd:
            write_whole(self.disk, fd, data)
            self.disk.sync(fd)
        self.disk.sync(feed)
        return Segment(number, len(data), header)

    def boot(self) -> str:
        """The run of the machine; empty if the system doesn't tell, or denies access.

        Then the last segment is continued, whichever run it belongs to: other processes find lines lost in a power cut.
        """
        if self._boot is None:
            try:
                with given_back(self.disk, self.disk.open(BOOT_ID, os.O_RDONLY)) as fd:
                    self._boot = self.disk.read(fd, 64, 0).decode("ascii", "replace").strip()
            except (FileNotFoundError, PermissionError):
                self._boot = ""
        return self._boot

    def _is_of_this_run(self, header: Header) -> bool:
        # If one of two programs can't tell the run, both continue one segment: two segments at once would lose the order.
        return header.source == self.source and (
            header.boot == self.boot() or "" in (header.boot, self.boot())
        )
