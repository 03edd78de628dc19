"""The active session of a scope, or of a user in it: at most one, whichever thread or process begins one.

It is a record, ``active/<sha256 of the owner>/session.json``, which names the session. The record is held while a session is begun
and replaced first: of several that begin at once one wins, and the others see its session. It is never removed: whether its session
is still active is in that session's log. So one that ended, expired, or was never begun since its process was killed, is in nobody's
way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson

from registration.storage import layout
from registration.storage.records import made_as
from registration.values.documents import canonical

if TYPE_CHECKING:
    from registration.onboarding.sessions.settings import Active
    from registration.storage.ports import Cell, Key, Records

Owner = tuple[str, ...]
"""What has one active session: a scope, or a scope and a user in it."""


def owner_of(active: Active, scope: str, user: str) -> Owner:
    """The owner of a session's activity, as the settings have it."""
    return (scope,) if active == "scope" else (scope, user)


class ActiveSessions:
    """The active sessions of one registry. Safe to share between threads."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def of(self, owner: Owner) -> str | None:
        """The last session of an owner; it may have ended. None where there never was one."""
        return _decoded(self._records.read(_key(owner)) or b"")

    @contextmanager
    def held(self, owner: Owner) -> Iterator[ActiveSession]:
        """Keep all others from beginning a session of an owner for the block.

        Raises:
            LockTimeout: when another process was beginning one all the time.
            StoreError: when the disk refuses.
        """
        with made_as(" ".join(owner), self._records, _key(owner)) as cell:
            yield ActiveSession(cell, owner)


class ActiveSession:
    """The record of one owner, held."""

    def __init__(self, cell: Cell, owner: Owner) -> None:
        self._cell = cell
        self._owner = owner

    @property
    def session(self) -> str | None:
        """The last session of the owner; None where there never was one."""
        return _decoded(self._cell.read())

    def replace(self, session: str) -> None:
        """Have another session be the owner's. Durable when it returns."""
        members = {"session": session, "of": list(self._owner)}
        self._cell.write(orjson.dumps(members, option=orjson.OPT_APPEND_NEWLINE))


def _key(owner: Owner) -> Key:
    return (layout.ACTIVE, hashlib.sha256(canonical(list(owner))).hexdigest(), layout.ACTIVE_FILE)


def _decoded(data: bytes) -> str | None:
    try:
        session = orjson.loads(data)["session"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None  # not what was written, or nothing: the next session is written over it
    return session if isinstance(session, str) else None
