"""Records on plain files: one small file each, replaced atomically, under a lock on the file itself.

The method, shared by every small value that changes:

- A new value goes into a temporary file, which is locked *before* it is renamed. So the holder of a record still holds it after
  each replacement. A waiter that gets the lock of the old file finds another inode under the name, and queues again.
- Readers take no lock: they see the old file or the new one, whole.
- An empty file is a record without a value. `held` creates one if it is missing, to have a file to lock, and removes it again
  if nothing was written. A kill in between leaves it behind, which is harmless.
- Nothing stays open between calls, and a forked child closes locked files (`let_go_by_children`).

A separate lock file for each record could never be removed safely, and a lock on the directory would make all of its records
wait for each other.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from registration.errors import LockTimeout, StoreError
from registration.storage.disk import (
    DIRECTORY_MODE,
    Disk,
    failure_named,
    failures_named,
    given_back,
    is_file,
    let_go_by_children,
    opened_directory,
    overwrite_whole,
    read_span,
    read_whole,
    write_whole,
)
from registration.storage.layout import TEMPORARY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registration.storage.ports import Key

_PLACES_MAX = 4_096
"""The maximal number of directories remembered as durable. Forgetting one costs a sync."""


class FileRecords:
    """The records below one directory of one disk. See `registration.storage.ports.Records`.

    root: the directory, which exists and stays. lock_timeout_s: how long `held` waits by default.
    """

    def __init__(self, disk: Disk, root: str, *, lock_timeout_s: float = 10.0) -> None:
        self._disk = disk
        self._root = root
        self._lock_timeout_s = lock_timeout_s
        self._durable: set[Key] = set()  # paths that survive a power cut, whichever process created them
        self._held: dict[Key, tuple[int, int]] = {}  # by process and thread: a forked child holds nothing

    def read(self, key: Key) -> bytes | None:
        """See `Records.read`."""
        path = _path(key)
        whole = f"{self._root}/{path}"
        try:
            there = self._disk.status_at(whole).st_size > 0
        except FileNotFoundError:  # most do not exist: one system call tells, and each command asks for one
            return None
        except OSError as error:
            raise failure_named("reading", path, error) from error
        with failures_named("reading", path), suppress(FileNotFoundError):
            while there:
                with ExitStack() as opened:
                    directories = self._directories(opened, key[:-1])
                    fd = opened.enter_context(
                        given_back(self._disk, self._disk.open(key[-1], os.O_RDONLY, dir_fd=directories[-1]))
                    )
                    size_bytes = self._disk.status(fd).st_size
                    data = read_span(self._disk, fd, 0, size_bytes)
                    if len(data) == size_bytes:  # else it was removed while being read
                        return data or None
                there = self._disk.status_at(whole).st_size > 0
        return None

    @contextmanager
    def held(
        self, key: Key, *, create: bool = True, timeout_s: float | None = None
    ) -> Iterator[FileCell | None]:
        """See `Records.held`."""
        cell = self._lock(key, self._lock_timeout_s if timeout_s is None else timeout_s, create=create)
        if cell is None:
            yield None
            return
        self._held[key] = (os.getpid(), threading.get_ident())
        try:
            yield cell
            cell.settle()
        except Exception:  # an exiting process leaves the file as a kill would
            cell.settle()
            raise
        finally:
            del self._held[key]
            cell.opened.close()

    def holds(self, key: Key) -> bool:
        """Whether the calling thread holds a record: its value can't change before the thread continues."""
        holder = self._held.get(key)
        return holder is not None and holder == (os.getpid(), threading.get_ident())

    def names(self, *place: str) -> list[str]:
        """See `Records.names`."""
        disk = self._disk
        with (
            failures_named("listing", path := "/".join(place)),
            suppress(FileNotFoundError),
            ExitStack() as opened,
        ):
            try:
                directory = self._directories(opened, place)[-1]
            except NotADirectoryError:
                if not is_file(disk.status_at(f"{self._root}/{path}")):
                    raise  # so does a link to a directory: it is neither followed nor skipped
            else:
                return sorted(name for name in disk.names(directory) if self._holds_bytes(directory, name))
        return []

    def _holds_bytes(self, directory: int, name: str) -> bool:
        if name.endswith(TEMPORARY_SUFFIX):
            return False
        with suppress(FileNotFoundError):
            status = self._disk.status_at(name, dir_fd=directory)
            return not is_file(status) or status.st_size > 0
        return False

    def _lock(self, key: Key, wait_s: float, *, create: bool) -> FileCell | None:
        """None if the record has no value and is not to be created."""
        path, ends_s = _path(key), time.monotonic() + wait_s
        with failures_named("locking", path):
            while True:
                with ExitStack() as opened:
                    try:
                        cell = self._open(opened, key, create=create)
                    except FileNotFoundError:
                        if create:
                            raise
                        return None
                    if not cell.lock(max(0.0, ends_s - time.monotonic())):
                        raise LockTimeout(path, wait_s)
                    if not cell.is_current():
                        continue
                    if not create and cell.is_empty:
                        cell.settle()
                        return None
                    cell.opened = opened.pop_all()
                    return cell

    def _open(self, opened: ExitStack, key: Key, *, create: bool) -> FileCell:
        directories = self._directories(opened, key[:-1], create=create)
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        fd = self._disk.open(key[-1], flags, dir_fd=directories[-1])
        cell = FileCell(self._disk, key, directories, self._durable, fd)
        opened.callback(cell.close)
        return cell

    def _directories(self, opened: ExitStack, place: Key, *, create: bool = False) -> list[int]:
        """Descriptors of the root and of each directory of a path, opened one by one so that no link is followed."""
        disk, found = self._disk, [opened.enter_context(opened_directory(self._disk, self._root))]
        for depth, name in enumerate(place, 1):
            try:
                directory = opened.enter_context(opened_directory(disk, name, dir_fd=found[-1]))
            except FileNotFoundError:
                if not create:
                    raise
                self._durable.discard(place[:depth])
                with suppress(FileExistsError):
                    disk.make_directory(name, DIRECTORY_MODE, dir_fd=found[-1])
                directory = opened.enter_context(opened_directory(disk, name, dir_fd=found[-1]))
            found.append(directory)
        return found


class FileCell:
    """One record under its lock. See `registration.storage.ports.Cell`.

    directories: open descriptors of the root and of each directory down to the record's own. durable: the paths known to survive a
    power cut, shared by all cells of a `FileRecords`. opened: resources that are closed with the lock. is_empty: whether it has no value.
    """

    def __init__(self, disk: Disk, key: Key, directories: Sequence[int], durable: set[Key], fd: int) -> None:
        self.opened = ExitStack()
        self.is_empty = True
        self._disk = disk
        self._key = key
        self._path = _path(key)
        self._directories = directories
        self._durable = durable
        self._fd: int | None = fd
        self._file = self._kept(fd)

    def read(self) -> bytes:
        """See `Cell.read`."""
        with failures_named("reading", self._path):
            return read_whole(self._disk, self._own())

    def write(self, data: bytes, *, durable: bool = True) -> None:
        """See `Cell.write`."""
        self._own()
        with failures_named("writing", self._path):
            self._replace(data)
            self.is_empty = not data
            if durable:
                self._sync_names()

    def append(self, data: bytes) -> None:
        """See `Cell.append`. In place: replacing a long record for each added line would cost more and more."""
        with failures_named("writing", self._path):
            fd = self._own()
            self.is_empty = False
            overwrite_whole(self._disk, fd, data, self._disk.status(fd).st_size)
            self._disk.sync(fd)
            self._sync_names()

    def remove(self) -> None:
        """See `Cell.remove`. The name is removed with the lock: until then, others wait at this file."""
        with failures_named("removing", self._path):
            self._disk.truncate(self._own(), 0)
            self.is_empty = True

    def lock(self, wait_s: float) -> bool:
        """Lock the file; False on timeout."""
        disk, fd = self._disk, self._own()
        return disk.lock(fd, 0.0) or (wait_s > 0 and disk.lock(fd, wait_s))

    def is_current(self) -> bool:
        """Whether the locked file still has the record's name.

        Raises:
            StoreError: when it is not a regular file.
        """
        mine = self._disk.status(self._own())
        if not is_file(mine):
            raise StoreError(f"{self._path} is not a regular file.", "Move it elsewhere.", path=self._path)
        self.is_empty = not mine.st_size
        try:
            there = self._disk.status_at(self._key[-1], dir_fd=self._directories[-1])
        except FileNotFoundError:
            return False
        return (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev)

    def settle(self) -> None:
        """Remove an empty file. If that fails it stays, which means the same."""
        if self.is_empty:
            with suppress(OSError):
                self._disk.unlink(self._key[-1], dir_fd=self._directories[-1])

    def close(self) -> None:
        """Close the file, and release the lock with it."""
        self._fd = None
        self._file.close()

    def _own(self) -> int:
        if self._fd is None:
            raise StoreError(f"{self._path} is no longer locked.", "Lock it first.", path=self._path)
        return self._fd

    def _replace(self, data: bytes) -> None:
        disk, name, directory = self._disk, self._key[-1], self._directories[-1]
        temporary = name + TEMPORARY_SUFFIX
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        try:
            fd = disk.open(temporary, flags, dir_fd=directory)
        except FileExistsError:
            # Left by a killed writer. After a failed sync, the cache may consider pages clean that the disk lacks: never reuse it.
            disk.unlink(temporary, dir_fd=directory)
            fd = disk.open(temporary, flags, dir_fd=directory)
        with self._kept(fd) as new:
            try:
                disk.lock(fd, 0.0)  # never blocks: a temporary file is only opened under its record's lock
                write_whole(disk, fd, data)
                disk.sync(fd)
                disk.rename(temporary, name, dir_fd=directory)
            except OSError:
                with suppress(OSError):
                    disk.unlink(temporary, dir_fd=directory)
                raise
            old, self._file, self._fd = self._file, new.pop_all(), fd
        old.close()

    def _kept(self, fd: int) -> ExitStack:
        with ExitStack() as file:
            file.enter_context(given_back(self._disk, fd))
            file.enter_context(let_go_by_children(self._disk, fd))
            return file.pop_all()

    def _sync_names(self) -> None:
        """Make the record's name durable, and the names of the directories above it once per process."""
        place, directories = self._key[:-1], self._directories
        self._disk.sync(directories[-1])
        for depth in range(len(place), 0, -1):
            if place[:depth] not in self._durable:
                self._disk.sync(directories[depth - 1])
                if len(self._durable) >= _PLACES_MAX:
                    self._durable.clear()
                self._durable.add(place[:depth])


@lru_cache(maxsize=4_096)
def _path(key: Key) -> str:
    assert all(name and name not in (".", "..") and "/" not in name and "\0" not in name for name in key), key
    return "/".join(key)
