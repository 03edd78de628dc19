"""Claims: which session is the active one of a key. At most one is, whoever begins one, in any thread or process.

A claim is taken while the session is begun, and its key is locked for as long as that lasts; so of several that begin at
once one wins, and the others see its session. A claim is never given back: whether its session is still active is in that
session's log. So a claim of a session that ended, that expired, or that a killed process never began, is in nobody's way.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import orjson

from registration.errors import LockTimeout
from registration.storage import layout
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
from registration.values.documents import canonical

if TYPE_CHECKING:
    from registration.onboarding.sessions.settings import Active

Key = tuple[str, ...]
"""What there is one active session of: a scope, or a scope and a user in it."""


def key_of(active: Active, scope: str, user: str) -> Key:
    """The key that a session of that owner claims."""
    return (scope,) if active == "scope" else (scope, user)


class Claim(Protocol):
    """A key that nobody else can claim at this moment."""

    @property
    def session(self) -> str | None:
        """The session that has it; None where none ever had."""

    def take(self, session: str) -> None:
        """Give it to a session. On the disk when it returns."""


class Claims(Protocol):
    """The claims of one registry. Safe to share between threads."""

    def holder(self, key: Key) -> str | None:
        """The session that has a key; it may have ended."""

    def claiming(self, key: Key) -> AbstractContextManager[Claim]:
        """Keep all others from claiming a key for as long as the block lasts.

        Raises:
            LockTimeout: when somebody else was at it all the time.
            StoreError: when the disk refuses.
        """


class FileClaims:
    """On plain files: ``active/<sha256 of the key>/session.json``. The lock is on the directory, which is never replaced."""

    def __init__(self, disk: Disk, root: str, *, lock_timeout_s: float = 10.0) -> None:
        self._disk = disk
        self._root = root
        self._lock_timeout_s = lock_timeout_s

    def holder(self, key: Key) -> str | None:
        """See `Claims.holder`. Two system calls and no lock."""
        path = f"{self._root}/{layout.ACTIVE}/{_name(key)}"
        with (
            failures_named("reading", layout.ACTIVE),
            suppress(FileNotFoundError),
            opened_directory(self._disk, path) as directory,
        ):
            return _session_in(self._disk, directory)
        return None

    @contextmanager
    def claiming(self, key: Key) -> Iterator[Claim]:
        """See `Claims.claiming`."""
        disk, name = self._disk, _name(key)
        with failures_named("claiming in", layout.ACTIVE), opened_directory(disk, self._root) as root:
            # Each time: whoever made them may have died before they were on the disk.
            ensure_directory(disk, layout.ACTIVE, dir_fd=root)
            with opened_directory(disk, layout.ACTIVE, dir_fd=root) as claims:
                ensure_directory(disk, name, dir_fd=claims)
                directory = disk.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=claims)
        with given_back(disk, directory), let_go_by_children(disk, directory):
            with failures_named("locking", layout.ACTIVE):
                locked = disk.lock(directory, 0.0) or disk.lock(directory, self._lock_timeout_s)
            if not locked:
                raise LockTimeout(" ".join(key), self._lock_timeout_s)
            yield _FileClaim(disk, directory, key)


class _FileClaim:
    def __init__(self, disk: Disk, directory: int, key: Key) -> None:
        self._disk = disk
        self._directory = directory
        self._key = key

    @property
    def session(self) -> str | None:
        with failures_named("reading", layout.ACTIVE):
            return _session_in(self._disk, self._directory)

    def take(self, session: str) -> None:
        data = orjson.dumps({"session": session, "of": list(self._key)}, option=orjson.OPT_APPEND_NEWLINE)
        temporary = layout.ACTIVE_FILE + layout.TEMPORARY_SUFFIX
        with failures_named("claiming in", layout.ACTIVE):
            replace_atomic(self._disk, self._directory, layout.ACTIVE_FILE, temporary, data)
            self._disk.sync(self._directory)


def _session_in(disk: Disk, directory: int) -> str | None:
    try:
        with given_back(disk, disk.open(layout.ACTIVE_FILE, os.O_RDONLY, dir_fd=directory)) as fd:
            session = orjson.loads(read_whole(disk, fd))["session"]
    except FileNotFoundError:
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None  # not what was written: whoever claims writes it anew
    return session if isinstance(session, str) else None


def _name(key: Key) -> str:
    return hashlib.sha256(canonical(list(key))).hexdigest()


class MemoryClaims:
    """In memory: the same for one process."""

    def __init__(self, *, lock_timeout_s: float = 10.0) -> None:
        self._lock_timeout_s = lock_timeout_s
        self._mutex = threading.Lock()
        self._locks: dict[Key, threading.Lock] = {}
        self._holders: dict[Key, str] = {}

    def holder(self, key: Key) -> str | None:
        """See `Claims.holder`."""
        return self._holders.get(key)

    @contextmanager
    def claiming(self, key: Key) -> Iterator[Claim]:
        """See `Claims.claiming`."""
        with self._mutex:
            lock = self._locks.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=self._lock_timeout_s):
            raise LockTimeout(" ".join(key), self._lock_timeout_s)
        try:
            yield _MemoryClaim(self._holders, key)
        finally:
            lock.release()


class _MemoryClaim:
    def __init__(self, holders: dict[Key, str], key: Key) -> None:
        self._holders = holders
        self._key = key

    @property
    def session(self) -> str | None:
        return self._holders.get(self._key)

    def take(self, session: str) -> None:
        self._holders[self._key] = session
