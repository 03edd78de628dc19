"""Claims to names, as files: ``names/<name>/<version>.json``, one small file for each name in full.

The lock of a claim is on its own file, so whoever wants a name that is just being registered waits for that to be done, and
a claim whose maker died can be taken over at once. Who finds the file empty, under the lock, is the one to write it. A file
that was removed while somebody waited for its lock is noticed by its inode, as for logs (`registration.storage.files.place`).

A claim is written in place, so a crash can leave a part of it: whoever reads one checks it as a whole. It is on the disk,
with its directories, when `write` returns. Removing one is not synced: a claim that comes back after a power cut is
worth no more than one whose maker died.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.core.store import Stray
from registration.errors import LockTimeout, StoreError
from registration.storage import layout
from registration.storage.disk import (
    DIRECTORY_MODE,
    Disk,
    ensure_directory,
    failures_named,
    given_back,
    is_file,
    opened_directory,
    read_whole,
    write_whole,
)
from registration.storage.files.place import let_go_by_children
from registration.values.ids import id_of, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class FileSlot:
    """One claim's file, locked. above: `names/`; directory: that of the name; fd: the file."""

    disk: Disk
    full: str
    above: int
    directory: int
    fd: int

    def read(self) -> bytes:
        with failures_named("reading", layout.claim_path(self.full)):
            return read_whole(self.disk, self.fd)

    def write(self, data: bytes) -> None:
        with failures_named("writing", layout.claim_path(self.full)):
            try:
                write_whole(self.disk, self.fd, data)
                self.disk.sync(self.fd)
                # Whoever made the directory may have died before its name was on the disk.
                for directory in (self.directory, self.above):
                    self.disk.sync(directory)
            except OSError:
                with suppress(StoreError):
                    self.remove()
                raise

    def remove(self) -> None:
        with failures_named("removing", layout.claim_path(self.full)):
            self.disk.unlink(layout.claim_parts(self.full)[1], dir_fd=self.directory)


class FileClaims:
    """The claims of one registry on a disk. Holds nothing open between calls."""

    def __init__(self, disk: Disk, root: str, *, lock_timeout_s: float) -> None:
        self._disk = disk
        self._root = root
        self._lock_timeout_s = lock_timeout_s
        self._made = False  # whether `names/` is known to be there after a power cut

    def read(self, full: str) -> bytes | None:
        """See `ClaimPlace.read`."""
        directory, file = layout.claim_parts(full)
        with failures_named("reading", layout.claim_path(full)):
            try:
                with self._opened(directory) as (_, own):
                    fd = self._disk.open(file, os.O_RDONLY, dir_fd=own)
                with given_back(self._disk, fd):
                    return read_whole(self._disk, fd)
            except FileNotFoundError:
                return None

    @contextmanager
    def locked(self, full: str, *, create: bool, timeout_s: float | None = None) -> Iterator[FileSlot | None]:
        """See `ClaimPlace.locked`."""
        timeout_s = self._lock_timeout_s if timeout_s is None else timeout_s
        slot = None
        while slot is None:
            with ExitStack() as held:
                try:
                    with failures_named("locking", layout.claim_path(full)):
                        slot = self._lock(held, full, timeout_s, create=create)
                except StoreError as error:
                    if create or not isinstance(error.__cause__, FileNotFoundError):
                        raise
                    yield None
                    return
                if slot is not None:
                    yield slot

    def claims_of(self, name: str) -> list[str]:
        """See `ClaimPlace.claims_of`."""
        with failures_named("listing", f"{layout.NAMES}/{name_of(name)}"):
            try:
                with self._opened(name_of(name)) as (_, own):
                    files = self._disk.names(own)
            except FileNotFoundError:
                return []
        return [full for file in files if (full := layout.claimed_by_file(name, file)) is not None]

    def claimed_names(self) -> Iterator[str]:
        """See `ClaimPlace.claimed_names`. Names that no claim has are passed over."""
        with failures_named("listing", layout.NAMES):
            try:
                with opened_directory(self._disk, f"{self._root}/{layout.NAMES}") as above:
                    names = sorted(self._disk.names(above))
            except FileNotFoundError:
                names = []
        return (name for encoded in names if (name := id_of(encoded)) is not None)

    def strays(self) -> Iterator[Stray]:
        """What stands in `names/` and is no claim."""
        with (
            suppress(FileNotFoundError),
            opened_directory(self._disk, f"{self._root}/{layout.NAMES}") as above,
        ):
            for encoded in sorted(self._disk.names(above)):
                name, path = id_of(encoded), f"{layout.NAMES}/{encoded}"
                if name is None:
                    yield Stray(path, "no name has this file name", unfinished=False)
                    continue
                try:
                    with opened_directory(self._disk, encoded, dir_fd=above) as own:
                        files = sorted(self._disk.names(own))
                except NotADirectoryError:
                    yield Stray(path, "it is none of the registry's files", unfinished=False)
                    continue
                for file in files:
                    if layout.claimed_by_file(name, file) is None:
                        yield Stray(f"{path}/{file}", "no name has this file name", unfinished=False)

    @contextmanager
    def _opened(self, directory: str) -> Iterator[tuple[int, int]]:
        """`names/`, and the directory of a name in it. Raises FileNotFoundError where there is none."""
        with (
            opened_directory(self._disk, f"{self._root}/{layout.NAMES}") as above,
            opened_directory(self._disk, directory, dir_fd=above) as own,
        ):
            yield above, own

    def _make(self, directory: str) -> None:
        """A directory for a name; put on the disk by `FileSlot.write`, once there is a claim in it."""
        with opened_directory(self._disk, self._root) as root:
            if not self._made or layout.NAMES not in self._disk.names(root):
                ensure_directory(self._disk, layout.NAMES, dir_fd=root)
                self._made = True
            with opened_directory(self._disk, layout.NAMES, dir_fd=root) as above, suppress(FileExistsError):
                self._disk.make_directory(directory, DIRECTORY_MODE, dir_fd=above)

    def _lock(self, held: ExitStack, full: str, timeout_s: float, *, create: bool) -> FileSlot | None:
        """Lock a claim's file; None where it was removed, or another one put there, while it was waited for."""
        disk = self._disk
        directory, file = layout.claim_parts(full)
        if create:
            self._make(directory)
        above, own = held.enter_context(self._opened(directory))
        fd = disk.open(file, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0), dir_fd=own)
        held.enter_context(given_back(disk, fd))
        held.enter_context(let_go_by_children(disk, fd))
        if not disk.lock(fd, timeout_s):
            raise LockTimeout(full, timeout_s)
        mine = disk.status(fd)
        if not is_file(mine):
            path = layout.claim_path(full)
            raise StoreError(f"{path} is not a plain file.", "Move it away.", path=path)
        try:
            there = disk.status_at(file, dir_fd=own)
        except FileNotFoundError:
            return None
        same = (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev)
        return FileSlot(disk, full, above, own, fd) if same else None
