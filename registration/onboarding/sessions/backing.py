"""The storage of sessions: a registry, on files or in memory. Also the wizard of each session.

A session's stream is in the area `sessions`, and its lifecycle is that of its wizard; so there is one ledger per wizard, all of
one area. A session's first event names its wizard.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from registration.errors import Next, StoreError
from registration.onboarding.sessions.active import ActiveSessions
from registration.onboarding.sessions.clients import client_key
from registration.onboarding.sessions.settings import SessionSettings, read_settings
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage import layout
from registration.storage.files.backend import FileBackend
from registration.storage.ledger import Ledger, kept_rule
from registration.storage.memory import MemoryBackend

if TYPE_CHECKING:
    from registration.core.definition import Definition
    from registration.storage.disk import Disk

_FIRST_LINE_BYTES_MAX = 4 * 1024 * 1024
_PIECE_BYTES = 4096


class LedgerBacking:
    """The sessions of a ledger's registry. Safe to share between threads.

    settings: the registry's settings of sessions; None: read from `sessions.toml`. randbytes: the source of the clients' key.

    Raises:
        InvalidArgument: when `sessions.toml` is invalid.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        settings: SessionSettings | None = None,
        randbytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._ledger = ledger
        self._backend = backend = ledger.backend
        self._randbytes = randbytes
        self._key: bytes | None = None
        self.active = ActiveSessions(ledger.records)
        if isinstance(backend, FileBackend):
            self.settings = settings or read_settings(backend.disk, backend.root)
        else:
            self.settings = settings or SessionSettings()

    def store(self, definition: Definition) -> Ledger:
        """The logs of the sessions of one wizard."""
        return self._ledger.under(definition, area=layout.SESSIONS)

    def ids(self) -> Iterator[str]:
        """The ids of all sessions, in the order of their start, and the names of unexpected files."""
        ids = list(self._backend.logs.ids(layout.SESSIONS))
        if self._backend.mending is not None:
            strays = (stray.path.split("/")[1:] for stray in self._backend.mending.strays(layout.SESSIONS))
            ids = sorted({*ids, *(names[0] for names in strays if len(names) == 1)})
        return iter(ids)

    def begun_with(self, session: str) -> Mapping[str, Any] | None:
        """The wizard in a session's log: `name`, `version`, and `digest` if it was read from data. None: never started.

        Reads no more than the first line.

        Raises:
            StoreError: when it can't be read, or its first line is damaged.
        """
        line = self._first_line(session)
        if not line.endswith(b"\n"):
            return None  # a start that was never acknowledged
        try:
            found = orjson.loads(line)["data"]["context"]["wizard"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("name"), str):
            path = layout.log_path(session, layout.SESSIONS)
            raise StoreError(
                f"{path} is damaged in line 1: its wizard is missing.",
                "Nothing was changed. Look for a backup, or delete the session.",
                Next(operation="sessions.delete", id=session),
            )
        return found

    def kept_wizard(self, digest: str) -> Any:
        """The data of a session's wizard.

        Raises:
            NotFound: when it is missing.
        """
        return kept_rule(self._backend, "wizards", digest)

    def client_key(self) -> bytes:
        """The key for hashing clients. Created on first use."""
        if self._key is None:
            self._key = client_key(self._ledger.records, self._randbytes)
        return self._key

    def _first_line(self, session: str) -> bytes:
        line = b""
        while b"\n" not in line and len(line) < _FIRST_LINE_BYTES_MAX:
            piece = self._backend.logs.read(layout.SESSIONS, session, len(line), len(line) + _PIECE_BYTES)
            if not piece:
                break
            line += piece
        return line.partition(b"\n")[0] + (b"\n" if b"\n" in line else b"")


class FileBacking(LedgerBacking):
    """On the plain files of a registry, which must exist.

    Raises:
        NotFound, CorruptRegistry, StoreError: as `FileBackend`.
        InvalidArgument: when `sessions.toml` is invalid.
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
        backend = FileBackend(root, disk=disk, lock_timeout_s=lock_timeout_s)
        self.root = backend.root
        ledger = Ledger(backend, backend.registry.source, REGISTRATION)
        super().__init__(ledger, settings=settings, randbytes=randbytes)


class MemoryBacking(LedgerBacking):
    """In memory. source: ``urn:uuid:`` and an id, as of a registry."""

    def __init__(
        self,
        source: str = "urn:uuid:00000000-0000-7000-8000-000000000000",
        *,
        settings: SessionSettings | None = None,
        lock_timeout_s: float = 10.0,
        randbytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        ledger = Ledger(MemoryBackend(lock_timeout_s=lock_timeout_s), source, REGISTRATION)
        super().__init__(ledger, settings=settings, randbytes=randbytes)
