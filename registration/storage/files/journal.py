"""The journal: one short line per commit of a registry, in commit order, written before the log.

The committer appends it under the stream's lock: one `write`, never synced, through a descriptor that stays open. Therefore

- a committed event always has a line, unless the power fails;
- after seeing a line, taking the stream's lock shows whether its commit succeeded;
- a line proves nothing: its writer may have died, or the disk may have failed, before the log was written.

`registration.storage.feed` looks up the lines, `registration.storage.files.reconciling` finds commits without one. Deleting `feed/` loses
no event, only cursors and the order between manifests.
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
    """An open segment: its descriptor, and the file's identity when it was opened."""

    fd: int
    inode: int
    device: int


class Journal:
    """Records commits in the journal. Safe to share between threads; a forked child opens its own segment."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._disk: Disk = segments.disk
        self._mutex = (
            threading.Lock()
        )  # so that no descriptor is closed by one thread while another writes to it
        self._kept: _Kept | None = None
        _open_now.add(self)

    def add(self, line: bytes) -> None:
        """Record a commit that is about to be written. The caller holds the stream's lock.

        line: encoded by `registration.storage.notes`.

        Raises:
            LockTimeout: when another process kept the segment locked while creating it.
            StoreError: when recording fails; then the commit must not be written.
        """
        try:
            with self._mutex:
                fd = self._usable()
                # A truncated line is written again: a line is parsed from its last brace.
                if self._disk.write(fd, line) != len(line) and self._disk.write(fd, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            # Not around the whole function: every commit runs it.
            with failures_named("recording the commit in", layout.FEED):
                raise

    def close(self) -> None:
        """Close the segment. Closing twice is harmless; a later note opens it again."""
        with self._mutex:
            self._let_go()

    def __del__(self) -> None:
        # A program that never closes a registry must not run out of descriptors. A simulated disk may raise anything here.
        with suppress(BaseException):
            self._let_go()

    def _usable(self) -> int:
        """The descriptor of this run's segment: the open one, unless the file was deleted or the descriptor closed."""
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
                    self._kept = None  # it was closed, and its number has been reused
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
        self._mutex = threading.Lock()  # the thread that held it does not exist in the child
        with suppress(BaseException):  # one simulated disk that raises must not leave another journal locked
            self._let_go()


_open_now: weakref.WeakSet[Journal] = weakref.WeakSet()


def _begin_anew_in_child() -> None:
    for journal in list(_open_now):
        journal._begin_anew_in_child()  # noqa: SLF001  # one of our own


os.register_at_fork(after_in_child=_begin_anew_in_child)
