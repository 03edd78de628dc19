"""Rows: what the catalog knows of one manifest, as a fold of its events. Pure and total: no log can stop it."""

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

    state: its place. name, document_version: what the document calls itself; `name` is the id where it has none.
    creator, actor: who acted first and last. entered_at: since when it has been in this place. size_bytes, head: the log
    that this is the fold of. Times are RFC 3339, as in events.
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
    """A manifest that can't be read, and why."""

    id: str
    problem: RegistrationError


Move = tuple[int, str, str, "str | None", "str | None", str, "int | None"]
"""As much of an event as the catalog keeps: version, time, action, actor, source, target, stayed_us.

source: the place before; None for the first. stayed_us: how long the manifest had been there, in microseconds, where the
event led to another place."""


def advance(row: Row | None, event: Event) -> Row:
    """The row after an event that follows on it; None: before the first."""
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
    """What is kept of an event that follows on a row."""
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
    """Whether an event is the next one in the log that a row is the fold of."""
    if row is None:
        return event.version == 1
    return event.version == row.version + 1 and event.prev_hash == row.head


def tags_of(event: Event) -> tuple[str, ...] | None:
    """All tags after an event that says so; None where it says nothing of them."""
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
    """Microseconds from one time to another; None where one of them, in a log that somebody else wrote, is none."""
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)) // _MICROSECOND
    except (ValueError, TypeError):
        return None
