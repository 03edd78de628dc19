"""Leases on plain files: ``leases/<area>/<name>.json`` in a registry, one small file for each key, replaced whole.

The lock is on the file itself. It is replaced under its own lock, so whoever got the lock looks whether the file that they
locked still has the name, and begins anew where it hasn't: the last one to hold the lock of the file that has the name is
alone. A lock beside it would be one more file for each key, and one on the directory would make all keys wait for each other.

A file is never removed: the number in it is the last one that was given out. It is on the disk, name and all, before
anybody is told of it. What `find` says is not: it may tell of a lease that a power cut takes back, together with whoever got
it before they were told.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson

from registration.engine.leases.keeping import Change, RecordLeases
from registration.engine.leases.record import NUMBER_MAX, LeaseRecord
from registration.errors import CorruptRegistry, LockTimeout, NotFound, StoreError
from registration.storage import layout
from registration.storage.disk import (
    Disk,
    PosixDisk,
    ensure_directory,
    failures_named,
    given_back,
    is_file,
    opened_directory,
    read_whole,
    replace_atomic,
)
from registration.storage.files.place import let_go_by_children
from registration.values.leases import EndedLease, Lease
from registration.values.times import Clock, system_clock

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1

_LEASE = {"holder": str, "host": str, "number": int, "since": str, "until": str, "token": str}
_ENDED = {"number": int, "holder": str, "host": str, "since": str, "until": str, "how": str, "time": str}


class FileLeases(RecordLeases):
    """The leases of one registry on plain files, for all processes of one machine.

    root: the registry's directory, which must be there. lock_timeout_s: how long to wait for somebody else who is changing
    the same lease: for that moment only, never for the lease. The rest: as `RecordLeases`.

    Raises:
        NotFound: when there is no such directory.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        disk: Disk | None = None,
        clock: Clock = system_clock,
        host: str | None = None,
        randbytes: Callable[[int], bytes] = os.urandom,
        lock_timeout_s: float = 10.0,
    ) -> None:
        records = _Records(disk or PosixDisk(), os.path.realpath(root), lock_timeout_s)
        super().__init__(records, clock=clock, host=host, randbytes=randbytes)


class _Records:
    def __init__(self, disk: Disk, root: str, lock_timeout_s: float) -> None:
        self._disk = disk
        self._root = root
        self._lock_timeout_s = lock_timeout_s
        self._areas: set[str] = set()  # those that are known to be found after a power cut
        try:
            with failures_named("opening", root), opened_directory(disk, root):
                pass
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise NotFound(
                f"There is no directory {root} to keep leases in.", f"Make a registry: `registration init {root}`."
            ) from None  # fmt: skip

    def change(self, key: str, change: Change, *, create: bool) -> tuple[LeaseRecord, LeaseRecord]:
        disk = self._disk
        area, name = layout.lease_place(key)
        path = f"{layout.LEASES}/{area}/{name}"
        with failures_named("writing", path):
            if create:
                self._make(area)
            try:
                with self._opened(area) as directory, self._locked(directory, name, key, create=create) as fd:
                    before = decode_record(read_whole(disk, fd), key=key, path=path)
                    after = change(before)
                    if after != before:
                        self._replace(directory, name, encode_record(after))
                    return before, after
            except FileNotFoundError:
                if create:
                    raise
                empty = LeaseRecord(key)  # nothing was ever given out
                return empty, change(empty)

    def _replace(self, directory: int, name: str, data: bytes) -> None:
        disk, temporary = self._disk, name + layout.TEMPORARY_SUFFIX
        # One that a failed sync has left may be clean in the cache and not on the disk: never write into it once more.
        with suppress(FileNotFoundError):
            disk.unlink(temporary, dir_fd=directory)
        replace_atomic(disk, directory, name, temporary, data)
        disk.sync(directory)

    def look(self, key: str) -> LeaseRecord:
        area, name = layout.lease_place(key)
        path = f"{layout.LEASES}/{area}/{name}"
        with failures_named("reading", path), suppress(FileNotFoundError):
            # Most keys were never held: one system call tells.
            self._disk.status_at(f"{self._root}/{path}")
            with self._opened(area) as directory:
                fd = self._disk.open(name, os.O_RDONLY, dir_fd=directory)
                with given_back(self._disk, fd):
                    return decode_record(read_whole(self._disk, fd), key=key, path=path)
        return LeaseRecord(key)

    def keys(self, area: str | None) -> Iterator[str]:
        disk, found = self._disk, []
        with (
            failures_named("listing", layout.LEASES),
            suppress(FileNotFoundError),
            opened_directory(disk, self._root) as root,
            self._inside(root, layout.LEASES) as leases,
        ):
            for one in sorted(disk.names(leases)) if area is None else [layout.check_area(area)]:
                # What is not a directory is nobody's area.
                with suppress(FileNotFoundError, NotADirectoryError), self._inside(leases, one) as directory:
                    found += [layout.lease_key_of(one, name) for name in disk.names(directory)]
        return iter(sorted(key for key in found if key is not None))

    def _make(self, area: str) -> None:
        """See to it, once in each process, that an area is there and stays: whoever made it may have died before it was."""
        if area in self._areas:
            return
        with opened_directory(self._disk, self._root) as root:
            ensure_directory(self._disk, layout.LEASES, dir_fd=root)
            with self._inside(root, layout.LEASES) as leases:
                ensure_directory(self._disk, area, dir_fd=leases)
        self._areas.add(area)

    @contextmanager
    def _opened(self, area: str) -> Iterator[int]:
        """The directory of an area, step by step: no link is followed."""
        with (
            opened_directory(self._disk, self._root) as root,
            self._inside(root, layout.LEASES) as leases,
            self._inside(leases, area) as directory,
        ):
            yield directory

    @contextmanager
    def _inside(self, directory: int, name: str) -> Iterator[int]:
        with opened_directory(self._disk, name, dir_fd=directory) as fd:
            yield fd

    @contextmanager
    def _locked(self, directory: int, name: str, key: str, *, create: bool) -> Iterator[int]:
        """The file under its lock. An empty one is made where there is none: it says that nothing was given out."""
        disk = self._disk
        while True:
            fd = disk.open(name, os.O_RDWR | (os.O_CREAT if create else 0), dir_fd=directory)
            with given_back(disk, fd), let_go_by_children(disk, fd):
                if not disk.lock(fd, 0.0) and not disk.lock(fd, self._lock_timeout_s):
                    raise LockTimeout(key, self._lock_timeout_s)
                mine, there = disk.status(fd), disk.status_at(name, dir_fd=directory)
                if not is_file(mine):
                    raise StoreError(
                        f"{layout.LEASES}/…/{name} is not a plain file.", "Move it away.", key=key
                    )
                if (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev):
                    yield fd
                    return


def encode_record(record: LeaseRecord) -> bytes:
    """What is kept of a key, as indented JSON with a checksum of itself."""
    members: dict[str, Any] = {
        "format": FORMAT,
        "key": record.key,
        "number": record.number,
        "lease": None if record.lease is None else _lease_members(record.lease),
        "history": [one.as_json() for one in record.history],
    }
    members["checksum"] = _checksum(members)
    return orjson.dumps(members, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def decode_record(raw: bytes, *, key: str, path: str) -> LeaseRecord:
    """The same back; an empty record of no bytes at all: the file was made, and nothing was given out.

    Raises:
        CorruptRegistry: when it is not what was written for that key.
    """
    if not raw:
        return LeaseRecord(key)
    try:
        members = orjson.loads(raw)
        checksum = members.pop("checksum")
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise _corrupt(path, key, "it is not JSON with a checksum") from None
    if members.get("format") != FORMAT:
        raise _corrupt(
            path, key, f"it is of format {members.get('format')!r}, and this release reads {FORMAT}"
        )
    if checksum != _checksum(members):
        raise _corrupt(path, key, "its checksum is not that of its content")
    if members.get("key") != key:
        raise _corrupt(path, key, f"it is of {members.get('key')!r}")
    lease, number, history = members.get("lease"), members.get("number"), members.get("history")
    if not (
        type(number) is int
        and 0 <= number <= NUMBER_MAX
        and (lease is None or _has(lease, _LEASE))
        and type(history) is list
        and all(_has(one, _ENDED) for one in history)
    ):
        raise _corrupt(path, key, "its members are not those of a lease")
    return LeaseRecord(
        key=key,
        number=number,
        lease=None if lease is None else Lease(key=key, **{name: lease[name] for name in _LEASE}),
        history=tuple(
            EndedLease(**{name: one[name] for name in _ENDED}, by=one.get("by"), reason=one.get("reason"))
            for one in history
        ),
    )


def _lease_members(lease: Lease) -> dict[str, Any]:
    return {name: getattr(lease, name) for name in _LEASE}


def _has(members: Any, shape: Mapping[str, type]) -> bool:
    return type(members) is dict and all(type(members.get(name)) is kind for name, kind in shape.items())


def _checksum(members: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _corrupt(path: str, key: str, reason: str) -> CorruptRegistry:
    return CorruptRegistry(
        f"{path} is not what was kept of the lease on {key!r}: {reason}.",
        "Nothing was changed. Put it back from a backup. Where there is none, and nobody works on it, remove it: the next "
        "lease then has a greater number than the log has seen.",
        path=path,
        key=key,
        reason=reason,
    )
