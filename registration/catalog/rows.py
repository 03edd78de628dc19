"""Rows: the catalog's data about one manifest, as a fold of its events. Pure and total: no log can make it fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registration.errors import RegistrationError
    from registration.values.events import Event

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One manifest after `version` events.

    state: its place. name, document_version: of the document; `name` is the id if it has none.
    creator, actor: who acted first and last. entered_at: the time since when it has been in this place. size_bytes, head: the
    position in the log that this is the fold of. Times are RFC 3339, as in events.
    """

    id: str
    state: str
    version: int
    digest: str | None
    name: str
    document_version: str | None
    creator: str | None
    actor: str | None
    created_at: str
    updated_at: str
    entered_at: str
    size_bytes: int
    head: str


@dataclass(frozen=True, slots=True, eq=False)
class Unreadable:
    """A manifest that can't be read, and the error."""

    id: str
    problem: RegistrationError


Move = tuple[int, str, str, "str | None", "str | None", str, "int | None"]
"""The part of an event that the catalog stores: version, time, action, actor, source, target, stayed_us.

source: the place before; None for the first. stayed_us: how long the manifest had been there, in microseconds, if the
event led to another place."""


def advance(row: Row | None, event: Event) -> Row:
    """The row after the next event; None: before the first."""
    data = event.data
    state, actor = event.to_state, _text(data.get("actor"))
    digest = _text(data["digest"]) if "digest" in data else (row.digest if row else None)
    if "document" in data:
        name, document_version = _names(event.subject, data["document"])
    else:
        name, document_version = (row.name, row.document_version) if row else (event.subject, None)
    return Row(
        id=event.subject,
        state=state,
        version=event.version,
        digest=digest,
        name=name,
        document_version=document_version,
        creator=row.creator if row else actor,
        actor=actor,
        created_at=row.created_at if row else event.time,
        updated_at=event.time,
        entered_at=row.entered_at if row and row.state == state else event.time,
        size_bytes=(row.size_bytes if row else 0) + len(event.line),
        head=event.hash,
    )


def move(row: Row | None, event: Event) -> Move:
    """The stored part of an event that follows a row."""
    source = row.state if row else None
    left = row is not None and row.state != event.to_state
    return (
        event.version,
        event.time,
        str(event.data["action"]),
        _text(event.data.get("actor")),
        source,
        event.to_state,
        _between_us(row.entered_at, event.time) if row is not None and left else None,
    )


def follows(row: Row | None, event: Event) -> bool:
    """Whether an event is the next one in the row's log."""
    if row is None:
        return event.version == 1
    return event.version == row.version + 1 and event.prev_hash == row.head


def tags_of(event: Event) -> tuple[str, ...] | None:
    """All tags after an event that changes them; None if it does not."""
    tags = event.data.get("tags")
    if not isinstance(tags, list | tuple):
        return None
    return tuple(sorted({tag for tag in tags if isinstance(tag, str)}))


def _names(id: str, document: Any) -> tuple[str, str | None]:
    if not isinstance(document, Mapping):
        return id, None
    return _text(document.get("name")) or id, _text(document.get("version"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _between_us(start: str, end: str) -> int | None:
    """Microseconds from one time to another; None if one of them, in a log by another program, is invalid."""
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)) // _MICROSECOND
    except (ValueError, TypeError):
        return None
