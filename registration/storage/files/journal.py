"""The journal: one short line for each commit of a registry, in the order of the commits, before the log is written.

The committer appends it under the stream's lock: one `write`, never synced, through a descriptor that is kept open. So

- a committed event always has a line, short of a power cut;
- whoever takes a stream's lock after seeing a line knows what became of it;
- a line proves nothing: its writer may have died, or been refused by the disk, before the log was written.

`registration.storage.feed` looks the lines up, `registration.storage.files.reconciling` finds the commits without one. Deleting `feed/` loses
no event; only cursors, and the order between manifests.
"""

from __future__ import annotations

import errno
import os
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.storage import layout
from registration.storage.disk import failures_named

if TYPE_CHECKING:
    from registration.storage.disk import Disk
    from registration.storage.files.segments import Segments


@dataclass(frozen=True, slots=True)
class _Kept:
    """An open segment: its descriptor, and which file that was when it was opened."""

    fd: int
    inode: int
    device: int


class Journal:
    """Announces commits. Safe to share between threads; a forked child opens the segment for itself."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._disk: Disk = segments.disk
        self._mutex = threading.Lock()  # nobody may close a descriptor that somebody is about to write to
        self._kept: _Kept | None = None
        _open_now.add(self)

    def add(self, line: bytes) -> None:
        """Announce a commit that is about to be written. The caller holds the stream's lock.

        line: as `registration.storage.notes` makes it.

        Raises:
            LockTimeout: when another process was making the segment all the time.
            StoreError: when it can't be announced; then the commit must not be written.
        """
        try:
            with self._mutex:
                fd = self._usable()
                # A line that was cut short is written once more: what counts of a line begins at its last brace.
                if self._disk.write(fd, line) != len(line) and self._disk.write(fd, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            # Not around the whole of it: this is on the way of every commit.
            with failures_named("recording the commit in", layout.FEED):
                raise

    def close(self) -> None:
        """Let go of the segment. Closing twice is harmless, and so is noting afterwards."""
        with self._mutex:
            self._let_go()

    def __del__(self) -> None:
        # Who never closes a registry shall not run out of descriptors. A disk of the tests may raise anything here.
        with suppress(BaseException):
            self._let_go()

    def _usable(self) -> int:
        """The descriptor of this run's segment: the kept one, unless somebody deleted the file or closed it."""
        kept = self._kept
        if kept is not None:
            try:
                found = self._disk.status(kept.fd)
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
                self._kept = None
            else:
                if found.st_ino != kept.inode or found.st_dev != kept.device:
                    self._kept = None  # somebody closed it, and the number is somebody else's by now
                elif found.st_nlink:
                    return kept.fd
                else:
                    self._let_go()
        self._kept = self._opened()
        return self._kept.fd

    def _opened(self) -> _Kept:
        disk, segments = self._disk, self._segments
        with segments.made() as feed:
            segment = segments.current(feed) or segments.make(feed)
            fd = segments.append_to(feed, segment.number)
        try:
            found = disk.status(fd)
        except OSError:
            disk.close(fd)
            raise
        return _Kept(fd, found.st_ino, found.st_dev)

    def _let_go(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            with suppress(OSError):
                self._disk.close(kept.fd)

    def _begin_anew_in_child(self) -> None:
        self._mutex = threading.Lock()  # whoever held it is not in the child
        self._let_go()


_open_now: weakref.WeakSet[Journal] = weakref.WeakSet()


def _begin_anew_in_child() -> None:
    for journal in list(_open_now):
        journal._begin_anew_in_child()  # noqa: SLF001  # one of our own


os.register_at_fork(after_in_child=_begin_anew_in_child)
