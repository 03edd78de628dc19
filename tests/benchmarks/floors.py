"""Floors: what a transition can't do without, with bare system calls, no lock, no check, and the same bytes."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import orjson

from registration.storage.disk import PosixDisk, write_whole

if TYPE_CHECKING:
    from types import TracebackType

APPEND = "append + fdatasync"
TWO_FILES = "bare two files"
BARE_REPLAY = "orjson + SHA-256"


class BareFiles:
    """A log and a snapshot in a directory of their own, written without asking anything.

    Two files: append, fdatasync; a new file, its bytes, fsync, rename over the old one.
    """

    def __init__(self, directory: str) -> None:
        os.makedirs(directory)
        self._disk = disk = PosixDisk()
        self._directory = disk.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._log = disk.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, dir_fd=self._directory)
        self.line, self.snapshot = b"x" * 1000 + b"\n", b"x" * 2000

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for fd in (self._log, self._directory):
            with suppress(OSError):
                self._disk.close(fd)

    def append(self) -> None:
        """The log alone."""
        write_whole(self._disk, self._log, self.line)
        self._disk.sync_data(self._log)

    def write_both(self) -> None:
        """The log, then the snapshot."""
        self.append()
        disk = self._disk
        new = disk.open("snapshot.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=self._directory)
        write_whole(disk, new, self.snapshot)
        disk.sync(new)
        disk.close(new)
        disk.rename("snapshot.tmp", "snapshot", dir_fd=self._directory)


def read_lines(raw: bytes) -> None:
    """Parse each line of a log and hash what its hash covers; compare nothing."""
    for line in raw.splitlines():
        orjson.loads(line)
        hashlib.sha256(line[: line.rindex(b',"hash":"')]).hexdigest()
