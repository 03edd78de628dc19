"""How a catalog stands."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from registration.catalog.file import read_meta
from registration.errors import InvalidArgument

if TYPE_CHECKING:
    from registration.storage.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a catalog.

    state: ``current``, ``behind`` by `lag` events, ``missing``, or ``unusable`` for the reason given; if it is not current,
    the next query fixes it, if possible. cursor: its position in the feed.
    """

    state: Literal["current", "behind", "missing", "unusable"]
    path: str
    size_bytes: int = 0
    cursor: str | None = None
    lag: int = 0
    manifests: int = 0
    events: int = 0
    reason: str = ""


def status_of(db: sqlite3.Connection, store: Ledger, *, path: str, size_bytes: int) -> Status:
    """The status of an open catalog. Only reads."""
    cursor = read_meta(db)["cursor"] or None
    lag = 0
    if cursor != store.feed_end():
        try:
            lag = store.feed_backlog(cursor).events
        except InvalidArgument:  # the feed was deleted
            lag = store.feed_backlog(None).events
    manifests, events = (
        db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("manifests", "events")
    )
    return Status("behind" if lag else "current", path, size_bytes, cursor, lag, manifests, events)
