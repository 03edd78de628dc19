"""Blobs on plain files: written once, never changed. See `registration.storage.ports.Blobs`.

``rules/<kind>/<sha256>.json`` holds the RFC 8785 form of a rule, so a file's name is its own SHA-256: ``sha256sum`` checks it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from registration.errors import LockTimeout
from registration.storage.disk import (
    Disk,
    ensure_directory,
    failures_named,
    given_back,
    let_go_by_children,
    opened_directory,
    read_whole,
    replace_atomic,
)
from registration.storage.layout import TEMPORARY_SUFFIX

if TYPE_CHECKING:
    from registration.storage.ports import Key


class FileBlobs:
    """See `registration.storage.ports.Blobs`: files written once, under the lock of the root."""

    def __init__(self, disk: Disk, root: str, *, lock_timeout_s: float) -> None:
        self._disk = disk
        self._root = root
        self._lock_timeout_s = lock_timeout_s

    def put(self, key: Key, data: bytes) -> None:
        """See `Blobs.put`. An existing file is kept, and synced: its writer may have died before its own sync."""
        disk = self._disk
        with failures_named("writing", "/".join(key)):
            if self._synced(key):
                return
            with opened_directory(disk, self._root) as root, let_go_by_children(disk, root):
                if not disk.lock(root, self._lock_timeout_s):
                    raise LockTimeout(self._root, self._lock_timeout_s)
                write_blob(disk, root, key, data)

    def get(self, key: Key) -> bytes | None:
        """See `Blobs.get`."""
        disk = self._disk
        with (
            failures_named("reading", "/".join(key)),
            suppress(FileNotFoundError),
            opened(disk, self._root, key[:-1]) as found,
            given_back(disk, disk.open(key[-1], os.O_RDONLY, dir_fd=found[-1])) as fd,
        ):
            return read_whole(disk, fd)
        return None

    def _synced(self, key: Key) -> bool:
        try:
            with opened(self._disk, self._root, key[:-1]) as found:
                self._disk.status_at(key[-1], dir_fd=found[-1])
                for fd in reversed(found):
                    self._disk.sync(fd)
        except FileNotFoundError:
            return False
        return True


def write_blob(disk: Disk, root: int, key: Key, data: bytes) -> None:
    """Write a blob, durably. The caller holds the lock of the root, whose descriptor this is."""
    with ExitStack() as stack:
        directory = root
        for name in key[:-1]:
            ensure_directory(disk, name, dir_fd=directory)
            directory = stack.enter_context(opened_directory(disk, name, dir_fd=directory))
        replace_atomic(disk, directory, key[-1], key[-1] + TEMPORARY_SUFFIX, data)
        disk.sync(directory)


@contextmanager
def opened(disk: Disk, root: str, place: Key) -> Iterator[list[int]]:
    """The root and each directory of a path in it, opened one by one so that no link is followed. Raises FileNotFoundError if one is missing."""
    with ExitStack() as stack:
        found = [stack.enter_context(opened_directory(disk, root))]
        for name in place:
            found.append(stack.enter_context(opened_directory(disk, name, dir_fd=found[-1])))
        yield found
