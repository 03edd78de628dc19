"""Where named consumers are kept: files in `feed/consumers/`, or memory.

``<name>.json`` is replaced whole, so a kill or a power cut leaves the old one or the new one. ``<name>.lock`` is a file
beside it that is locked and never replaced: it says who holds it, which is of no consequence.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson

from registration.errors import ConsumerBusy
from registration.storage import layout
from registration.storage.disk import (
    ensure_directory,
    failures_named,
    given_back,
    let_go_by_children,
    opened_directory,
    read_whole,
    replace_atomic,
    write_whole,
)

if TYPE_CHECKING:
    from registration.storage.files.segments import Segments

_STATE, _LOCK = ".json", ".lock"
_TRIES, _TRY_S = 5, 0.02
"""How often, and how far apart, a lock is tried: somebody may hold it only to see whether anybody does."""


class ConsumerFiles:
    """The consumers of a registry on files. Holds nothing open between calls, but for the lock of a block."""

    def __init__(self, segments: Segments, root: str) -> None:
        self._segments = segments
        self._disk = segments.disk
        self._root = root

    @property
    def folder(self) -> str | None:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        return os.path.join(self._root, layout.FEED)

    def names(self) -> list[str]:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        with _named("listing"), suppress(FileNotFoundError), self._opened() as directory:
            names = self._disk.names(directory)
            return sorted(_name_in(name) for name in names if name.endswith(_STATE))
        return []

    def read(self, name: str) -> bytes | None:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        with _named("reading", name), suppress(FileNotFoundError), self._opened() as directory:
            return self._bytes(directory, _file(name, _STATE))
        return None

    def write(self, name: str, data: bytes) -> None:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        with _named("writing", name), self._made() as directory:
            file = _file(name, _STATE)
            new = file not in self._disk.names(directory)
            replace_atomic(self._disk, directory, file, file + layout.TEMPORARY_SUFFIX, data)
            if new:
                self._disk.sync(
                    directory
                )  # later ones may be lost to a power cut: then it begins further back

    def remove(self, name: str) -> None:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        with _named("removing", name), suppress(FileNotFoundError), self._opened() as directory:
            for suffix in (_STATE + layout.TEMPORARY_SUFFIX, _STATE, _LOCK):
                with suppress(FileNotFoundError):
                    self._disk.unlink(_file(name, suffix), dir_fd=directory)

    @contextmanager
    def held(self, name: str, by: Mapping[str, Any]) -> Iterator[None]:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        disk = self._disk
        while True:
            with _named("locking", name), self._made() as directory:
                fd = disk.open(_file(name, _LOCK), os.O_RDWR | os.O_CREAT, dir_fd=directory)
            with given_back(disk, fd), let_go_by_children(disk, fd):
                with _named("locking", name):
                    if not self._locked(fd):
                        raise ConsumerBusy(name, _who(read_whole(disk, fd)))
                    if not self._is_still(fd, name):
                        continue  # it was deleted meanwhile: the one that stands there now is the lock
                    disk.truncate(fd, 0)
                    write_whole(disk, fd, orjson.dumps(by))
                try:
                    yield
                finally:
                    with suppress(OSError):
                        disk.truncate(fd, 0)
                return

    def holder(self, name: str) -> Mapping[str, Any] | None:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        disk = self._disk
        with (
            _named("reading", name),
            suppress(FileNotFoundError),
            self._opened() as directory,
            given_back(disk, disk.open(_file(name, _LOCK), os.O_RDONLY, dir_fd=directory)) as fd,
        ):
            return None if disk.lock(fd, 0) else _who(read_whole(disk, fd))
        return None

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with (
            self._segments.opened() as feed,
            opened_directory(self._disk, layout.CONSUMERS, dir_fd=feed) as directory,
        ):
            yield directory

    @contextmanager
    def _made(self) -> Iterator[int]:
        with self._segments.made() as feed:
            if layout.CONSUMERS not in self._disk.names(feed):
                ensure_directory(self._disk, layout.CONSUMERS, dir_fd=feed)
            with opened_directory(self._disk, layout.CONSUMERS, dir_fd=feed) as directory:
                yield directory

    def _locked(self, fd: int) -> bool:
        # Not by waiting in the kernel: a wait that is given up takes the lock for a moment once it is free.
        for tries_left in reversed(range(_TRIES)):
            if self._disk.lock(fd, 0):
                return True
            if tries_left:
                time.sleep(_TRY_S)
        return False

    def _bytes(self, directory: int, name: str) -> bytes:
        with given_back(self._disk, self._disk.open(name, os.O_RDONLY, dir_fd=directory)) as fd:
            return read_whole(self._disk, fd)

    def _is_still(self, fd: int, name: str) -> bool:
        mine = self._disk.status(fd)
        with suppress(FileNotFoundError), self._opened() as directory:
            there = self._disk.status_at(_file(name, _LOCK), dir_fd=directory)
            return (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev)
        return False


class ConsumersInMemory:
    """The consumers of a registry in memory."""

    folder: str | None = None

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._kept: dict[str, bytes] = {}
        self._holders: dict[str, Mapping[str, Any]] = {}

    def names(self) -> list[str]:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        return sorted(self._kept)

    def read(self, name: str) -> bytes | None:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        return self._kept.get(name)

    def write(self, name: str, data: bytes) -> None:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        self._kept[name] = data

    def remove(self, name: str) -> None:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        self._kept.pop(name, None)

    @contextmanager
    def held(self, name: str, by: Mapping[str, Any]) -> Iterator[None]:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        with self._mutex:
            if name in self._holders:
                raise ConsumerBusy(name, dict(self._holders[name]))
            self._holders[name] = by
        try:
            yield
        finally:
            with self._mutex:
                del self._holders[name]

    def holder(self, name: str) -> Mapping[str, Any] | None:
        """See `registration.storage.consumers_over.ConsumerKeeper`."""
        return self._holders.get(name)


def _file(name: str, suffix: str) -> str:
    # The colon of `hook:` is the one character of a consumer's name that is not written as it is.
    return name.replace(":", "%3A") + suffix


def _name_in(file: str) -> str:
    return file.removesuffix(_STATE).replace("%3A", ":")


def _who(data: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None  # it is just being written
    return found if type(found) is dict else None


@contextmanager
def _named(doing: str, name: str = "") -> Iterator[None]:
    with failures_named(doing, f"{layout.FEED}/{layout.CONSUMERS}" + (f" for {name!r}" if name else "")):
        yield
