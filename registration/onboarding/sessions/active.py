"""The active session of a scope, or of a user in it: at most one, across threads and processes.

It is a record, ``active/<sha256 of the owner>/session.json``, which names the session. The record is held while a session is
started, and replaced first: of several concurrent starts one wins, and the others see its session. It is never removed: whether
its session is still active is in that session's log. So a session that ended, expired, or was never started because its process
was killed, blocks no other.
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
from registration.values.people import person

if TYPE_CHECKING:
    from registration.onboarding.sessions.settings import Active
    from registration.storage.ports import Cell, Key, Records

Owner = tuple[str, ...]
"""The owner of one active session: a scope, or a scope and a user in it."""


def owners_of(active: Active, scope: str, user: str) -> tuple[Owner, ...]:
    """The owner of a session, according to the settings; and where earlier releases looked, who compared users as typed."""
    if active == "scope":
        return ((scope,),)
    return tuple(dict.fromkeys(((scope, person(user)), (scope, user))))


class ActiveSessions:
    """The active sessions of one registry. Safe to share between threads."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def of(self, *owners: Owner) -> str | None:
        """The last session of an owner; it may have ended. None if there never was one. owners: see `owners_of`."""
        found = (_decoded(self._records.read(_key(owner)) or b"") for owner in owners)
        return next(filter(None, found), None)

    @contextmanager
    def held(self, owner: Owner, *earlier: Owner) -> Iterator[ActiveSession]:
        """Exclude other starts of a session for an owner during the block. earlier: see `owners_of`.

        Raises:
            LockTimeout: when another process was starting one all the time.
            StoreError: on disk errors.
        """
        with made_as(" ".join(owner), self._records, _key(owner)) as cell:
            yield ActiveSession(cell, owner, self.of(*earlier))


class ActiveSession:
    """The record of one owner, held."""

    def __init__(self, cell: Cell, owner: Owner, earlier: str | None = None) -> None:
        self._cell = cell
        self._owner = owner
        self._earlier = earlier

    @property
    def session(self) -> str | None:
        """The last session of the owner; None if there never was one."""
        return _decoded(self._cell.read()) or self._earlier

    def replace(self, session: str) -> None:
        """Set the owner's session. Durable on return."""
        members = {"session": session, "of": list(self._owner)}
        self._cell.write(orjson.dumps(members, option=orjson.OPT_APPEND_NEWLINE))


def _key(owner: Owner) -> Key:
    return (layout.ACTIVE, hashlib.sha256(canonical(list(owner))).hexdigest(), layout.ACTIVE_FILE)


def _decoded(data: bytes) -> str | None:
    try:
        session = orjson.loads(data)["session"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None  # invalid or empty: the next session overwrites it
    return session if isinstance(session, str) else None
