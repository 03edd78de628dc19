"""The place of a registry on a disk: its directories opened, made, synced; a manifest's files held under their lock.

Nothing here knows what the bytes mean. `registration.stores.files` reads and commits with it,
`registration.stores.settling` recovers and repairs.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration import layout
from registration.core.codec import TAIL_BYTES, head_of_tail
from registration.disk import (
    DIRECTORY_MODE,
    Disk,
    ensure_directory,
    given_back,
    is_file,
    opened_directory,
    overwrite_whole,
    read_span,
    read_whole,
    replace_atomic,
)
from registration.errors import LockTimeout, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.values.snapshots import Position

TEMPORARY_SNAPSHOT = layout.SNAPSHOT_FILE + layout.TEMPORARY_SUFFIX


@dataclass(frozen=True, slots=True)
class Held:
    """One manifest under its lock: the open directory and the open log."""

    stream: str
    directory: int
    log: int


class Place:
    """One registry's root on one disk. Holds nothing open between calls.

    root_synced: whether the root's own entries are known to be on the disk, as they are after making it. area: which of
    its directories the logs are in.
    """

    def __init__(
        self,
        disk: Disk,
        root: str,
        *,
        lock_timeout_s: float,
        root_synced: bool,
        area: str = layout.MANIFESTS,
    ) -> None:
        self.disk = disk
        self.root = root
        self._lock_timeout_s = lock_timeout_s
        self._root_synced = root_synced
        self.area = area

    @contextmanager
    def opened_manifests(self) -> Iterator[int]:
        """The directory of all manifests. Opened anew each time: a kept one could be of a registry that is gone."""
        with opened_directory(self.disk, f"{self.root}/{self.area}") as manifests:
            yield manifests

    @contextmanager
    def opened(self, stream: str) -> Iterator[int]:
        """A manifest's directory. Raises FileNotFoundError where there is none."""
        name = layout.directory_of(stream)
        with (
            self.opened_manifests() as manifests,
            opened_directory(self.disk, name, dir_fd=manifests) as directory,
        ):
            yield directory

    @contextmanager
    def locked(self, stream: str, *, create: bool = False, writing: bool = True) -> Iterator[Held]:
        """Hold a manifest's lock.

        The lock is on the log, not on the snapshot: replacing a locked file would swap the locked inode away.

        Raises:
            FileNotFoundError: where there is no log and none is to be created.
            LockTimeout: when somebody else held it all the time.
        """
        disk = self.disk
        flags = (os.O_RDWR | os.O_APPEND if writing else os.O_RDONLY) | (os.O_CREAT if create else 0)
        with self.opened(stream) as directory:
            while True:
                log = disk.open(layout.LOG_FILE, flags, dir_fd=directory)
                with given_back(disk, log), let_go_by_children(disk, log):
                    if not disk.lock(log, self._lock_timeout_s):
                        raise LockTimeout(stream, self._lock_timeout_s)
                    mine, there = disk.status(log), disk.status_at(layout.LOG_FILE, dir_fd=directory)
                    if not is_file(mine):
                        raise StoreError(f"{layout.log_path(stream)} is not a plain file.", "Move it away.")
                    # A copy tool may have put another file there while we waited: that one is the log.
                    if (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev):
                        yield Held(stream, directory, log)
                        return

    def bytes_of(self, directory: int, name: str) -> bytes | None:
        """A file's bytes; None where there is none."""
        try:
            fd = self.disk.open(name, os.O_RDONLY, dir_fd=directory)
        except FileNotFoundError:
            return None
        with given_back(self.disk, fd):
            return read_whole(self.disk, fd)

    def log_bytes(self, held: Held, start: int) -> bytes:
        """The log's bytes from `start` to its end."""
        return read_whole(self.disk, held.log, start)

    def ends_at(self, log: int, after: Position) -> bool:
        """Whether a log is the very one that a decision was made on: its size, and the hash it ends in."""
        return self.disk.status(log).st_size == after.size_bytes and self.goes_through(log, after)

    def goes_through(self, log: int, position: Position) -> bool:
        """Whether what a log holds up to a place ends in the hash that belongs there."""
        end = position.size_bytes
        return head_of_tail(read_span(self.disk, log, max(0, end - TAIL_BYTES), end)) == position.head

    def cut(self, held: Held, size_bytes: int) -> None:
        """Cut a log, on the disk as well."""
        self.disk.truncate(held.log, size_bytes)
        self.disk.sync(held.log)

    def rewrite(self, held: Held, data: bytes, offset_bytes: int) -> None:
        """Write bytes once more where they stand already, and sync them.

        A killed writer leaves lines that only the page cache has; one whose sync failed leaves lines that the
        cache calls clean and the disk never got. The same bytes again make the pages dirty again.
        """
        # Through a descriptor of its own: on one opened with O_APPEND, a write at an offset appends.
        with given_back(self.disk, self.disk.open(layout.LOG_FILE, os.O_WRONLY, dir_fd=held.directory)) as fd:
            overwrite_whole(self.disk, fd, data, offset_bytes)
            self.disk.sync_data(fd)

    def replace_snapshot(self, held: Held, data: bytes) -> None:
        """Put a new `state.json` in the place of the old one; see `replace_atomic`."""
        replace_atomic(self.disk, held.directory, layout.SNAPSHOT_FILE, TEMPORARY_SNAPSHOT, data)

    def set_aside(self, held: Held, name: str, data: bytes) -> str:
        """Keep bytes in `quarantine/`, on the disk; gives their path, relative to the root.

        The same bytes under the same name end in the same file, however often this is begun.
        """
        disk, own = self.disk, layout.directory_of(held.stream)
        with opened_directory(disk, self.root) as root:
            ensure_directory(disk, layout.QUARANTINE, dir_fd=root)
            with opened_directory(disk, layout.QUARANTINE, dir_fd=root) as quarantine:
                ensure_directory(disk, own, dir_fd=quarantine)
                with opened_directory(disk, own, dir_fd=quarantine) as directory:
                    replace_atomic(disk, directory, name, name + layout.TEMPORARY_SUFFIX, data)
                    disk.sync(directory)
        return f"{layout.QUARANTINE}/{own}/{name}"

    def make(self, stream: str) -> None:
        """A directory for a new manifest. Synced by `sync`, once its log is in it."""
        if self.area != layout.MANIFESTS:  # which is there since the registry is
            with opened_directory(self.disk, self.root) as root:
                ensure_directory(self.disk, self.area, dir_fd=root)
        self.sync_root()
        with self.opened_manifests() as manifests, suppress(FileExistsError):
            self.disk.make_directory(layout.directory_of(stream), DIRECTORY_MODE, dir_fd=manifests)

    def sync(self, held: Held) -> None:
        """See to it that a manifest's directory, and the log in it, are found after a power cut."""
        self.disk.sync(held.directory)
        with self.opened_manifests() as manifests:
            self.disk.sync(manifests)

    def sync_root(self) -> None:
        """Once: whoever made the registry may have died before its name was on the disk."""
        if not self._root_synced:
            with opened_directory(self.disk, self.root) as root:
                self.disk.sync(root)
            self._root_synced = True


_locked_now: set[tuple[Disk, int]] = set()
"""The descriptors that hold a lock. One `add` or `discard` is atomic, and a forked child has one thread."""


@contextmanager
def let_go_by_children(disk: Disk, fd: int) -> Iterator[None]:
    """Have a descriptor closed in every child that is forked during the block."""
    entry = (disk, fd)
    _locked_now.add(entry)
    try:
        yield
    finally:
        _locked_now.discard(entry)


def _let_go_in_child() -> None:
    """A fork inherits the lock: without this, a child that lives on would keep everybody out of the manifest."""
    for disk, fd in _locked_now:
        with suppress(OSError):
            disk.close(fd)
    _locked_now.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
