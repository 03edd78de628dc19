"""Checking: is the catalog what the logs say? What differs is mended on the way.

For each manifest the head of its log is compared, which stands for every byte before it; in a full check the log is folded
again as well, and every row of it compared, so that a damaged catalog shows as well as one that is behind.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registration.catalog.file import in_memory
from registration.catalog.projection import Projection, columns

if TYPE_CHECKING:
    from registration.catalog.projection import Logs
    from registration.core.definition import Definition

_COMPARED = (
    f"SELECT {columns('m')} FROM manifests AS m WHERE m.id = ?",
    "SELECT * FROM history WHERE id = ? ORDER BY version",
    "SELECT d.document FROM documents AS d JOIN manifests AS m ON m.number = d.manifest WHERE m.id = ?",
    "SELECT t.tag FROM tags AS t JOIN manifests AS m ON m.number = t.manifest WHERE m.id = ? ORDER BY t.tag",
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to; all of it is right now.

    caught_up: how many events the catalog was behind. manifests: how many logs were compared. mended: the ids of those that the catalog
    had something else of, or nothing; gone: those that it had and that are no more. unreadable: those that can't be read.
    """

    caught_up: int
    manifests: int
    mended: tuple[str, ...]
    gone: tuple[str, ...]
    unreadable: tuple[str, ...]


class Comparison:
    """Compares manifest by manifest, each inside the caller's transaction. quick: heads only."""

    def __init__(self, db: sqlite3.Connection, logs: Logs, definition: Definition, *, quick: bool) -> None:
        self._db = db
        self._projection = Projection(db, logs, definition)
        self._other = None if quick else in_memory("")
        self._again = self._projection if self._other is None else Projection(self._other, logs, definition)

    def is_equal(self, id: str) -> bool:
        """Whether the catalog has of a manifest what its log says; what can't be read is neither."""
        if self._projection.mend(id).changed:
            return False
        if self._other is None or self._projection.row(id)[1] is None:
            return True
        self._again.mend(id)
        same = _all_of(self._other, id) == _all_of(self._db, id)
        unread = self._again.row(id)[1] is None
        self._again.forget(id)
        if not same and not unread:
            self._projection.forget(id)
            self._projection.mend(id)
        return same or unread

    def close(self) -> None:
        """Let go of what was folded again."""
        if self._other is not None:
            self._other.close()


def _all_of(db: sqlite3.Connection, id: str) -> list[list[Any]]:
    return [db.execute(query, (id,)).fetchall() for query in _COMPARED]
