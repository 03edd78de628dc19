"""What sessions are kept in: a registry's files, or memory. Which wizard a session was begun with, and the wizards there are.

A session's stream is in the area `sessions/`, and its lifecycle is that of its wizard; so there is one store for each wizard,
all of one area. Which one a session belongs to is told by its first event.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from registration.core.store import Store
from registration.errors import Next, NotFound, StoreError
from registration.onboarding.sessions.claims import Claims, FileClaims, MemoryClaims
from registration.onboarding.sessions.clients import client_key
from registration.onboarding.sessions.settings import SessionSettings, read_settings
from registration.storage import layout
from registration.storage.disk import Disk, PosixDisk, failures_named, given_back, opened_directory, read_span
from registration.storage.files.files import FileStore
from registration.storage.files.registry_file import read_registry
from registration.storage.files.rules import read_rule, rule_not_found
from registration.storage.memory import MemoryStore

if TYPE_CHECKING:
    from registration.core.definition import Definition

_FIRST_LINE_BYTES_MAX = 4 * 1024 * 1024
_PIECE_BYTES = 4096


class SessionStore(Store, Protocol):
    """A store that can also forget."""

    def delete(self, stream: str) -> bool:
        """Remove a stream for good; False where there is none."""


class Backing(Protocol):
    """Where sessions are. Safe to share between threads."""

    @property
    def claims(self) -> Claims:
        """Which session is the active one of a key."""

    @property
    def settings(self) -> SessionSettings:
        """What the registry says of its sessions."""

    def store(self, definition: Definition) -> SessionStore:
        """The store of the sessions of one wizard; the same for every definition of that name."""

    def ids(self) -> Iterator[str]:
        """The ids of all sessions, in the order in which they were begun."""

    def begun_with(self, session: str) -> Mapping[str, Any] | None:
        """What a session says of its wizard: `name`, `version`, and `digest` where it was read from data. None: never begun.

        Raises:
            StoreError: when it can't be read, or its first line is damaged.
        """

    def kept_wizard(self, digest: str) -> Any:
        """The data of a wizard that a session was begun with.

        Raises:
            NotFound: when it wasn't kept.
        """

    def client_key(self) -> bytes:
        """What clients are hashed with."""


class FileBacking:
    """On the plain files of a registry, which must be there.

    Raises:
        NotFound, CorruptRegistry, StoreError: as `FileStore`.
        InvalidArgument: when `sessions.toml` can't be meant.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        settings: SessionSettings | None = None,
        lock_timeout_s: float = 10.0,
        disk: Disk | None = None,
        randbytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._disk = disk or PosixDisk()
        self.root = os.path.realpath(root)
        read_registry(self._disk, self.root)
        self.settings = settings or read_settings(self._disk, self.root)
        self.claims: Claims = FileClaims(self._disk, self.root, lock_timeout_s=lock_timeout_s)
        self._lock_timeout_s = lock_timeout_s
        self._randbytes = randbytes
        self._key: bytes | None = None

    def store(self, definition: Definition) -> FileStore:
        """See `Backing.store`."""
        return FileStore(
            self.root, definition, area=layout.SESSIONS, lock_timeout_s=self._lock_timeout_s, disk=self._disk
        )

    def ids(self) -> Iterator[str]:
        """See `Backing.ids`."""
        with failures_named("listing", layout.SESSIONS):
            try:
                with opened_directory(self._disk, f"{self.root}/{layout.SESSIONS}") as area:
                    names = self._disk.names(area)
            except FileNotFoundError:
                names = []
        return iter(sorted(names))

    def begun_with(self, session: str) -> Mapping[str, Any] | None:
        """See `Backing.begun_with`. Reads no more than the first line."""
        path = layout.log_path(session, layout.SESSIONS)
        with failures_named("reading", path):
            try:
                # Step by step: no link is followed.
                with (
                    opened_directory(self._disk, f"{self.root}/{layout.SESSIONS}") as area,
                    opened_directory(self._disk, layout.directory_of(session), dir_fd=area) as directory,
                    given_back(
                        self._disk, self._disk.open(layout.LOG_FILE, os.O_RDONLY, dir_fd=directory)
                    ) as fd,
                ):
                    line = self._first_line(fd)
            except FileNotFoundError:
                return None
        if not line.endswith(b"\n"):
            return None  # a beginning that was never acknowledged
        try:
            found = orjson.loads(line)["data"]["context"]["wizard"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("name"), str):
            raise StoreError(
                f"{path} is damaged in line 1: it doesn't say which wizard it is of.",
                "Nothing was changed. Look for a backup, or delete the session.",
                Next(operation="sessions.delete", id=session),
            )
        return found

    def kept_wizard(self, digest: str) -> Any:
        """See `Backing.kept_wizard`."""
        return read_rule(self._disk, self.root, "wizards", digest)

    def client_key(self) -> bytes:
        """See `Backing.client_key`. Made when it is first needed."""
        if self._key is None:
            self._key = client_key(
                self._disk, self.root, self._randbytes, lock_timeout_s=self._lock_timeout_s
            )
        return self._key

    def _first_line(self, fd: int) -> bytes:
        line = b""
        while b"\n" not in line and len(line) < _FIRST_LINE_BYTES_MAX:
            piece = read_span(self._disk, fd, len(line), len(line) + _PIECE_BYTES)
            if not piece:
                break
            line += piece
        return line.partition(b"\n")[0] + (b"\n" if b"\n" in line else b"")


class MemoryBacking:
    """In memory. source: ``urn:uuid:`` and an id, as of a registry."""

    def __init__(
        self,
        source: str = "urn:uuid:00000000-0000-7000-8000-000000000000",
        *,
        settings: SessionSettings | None = None,
        lock_timeout_s: float = 10.0,
        randbytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.settings = settings or SessionSettings()
        self.claims: Claims = MemoryClaims(lock_timeout_s=lock_timeout_s)
        self._source = source
        self._stores: dict[str, MemoryStore] = {}
        self._key = randbytes(32).hex().encode()

    def store(self, definition: Definition) -> SessionStore:
        """See `Backing.store`."""
        return self._stores.setdefault(definition.name, MemoryStore(self._source, definition))

    def ids(self) -> Iterator[str]:
        """See `Backing.ids`."""
        return iter(sorted(id for store in list(self._stores.values()) for id in store.streams()))

    def begun_with(self, session: str) -> Mapping[str, Any] | None:
        """See `Backing.begun_with`."""
        for store in list(self._stores.values()):
            if (state := store.load(session)) is not None:
                found: Mapping[str, Any] = state.facts["wizard"]
                return found
        return None

    def kept_wizard(self, digest: str) -> Any:
        """See `Backing.kept_wizard`."""
        for store in list(self._stores.values()):
            with suppress(NotFound):
                return store.kept("wizards", digest)
        raise rule_not_found("wizards", digest)

    def client_key(self) -> bytes:
        """See `Backing.client_key`."""
        return self._key
