"""Checking: does the catalog match the logs? Differences are repaired on the way.

For each manifest the head of its log is compared, which covers every byte before it; a full check also folds the log
again and compares every row, so that damage is detected as well as lag.
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
    """The result of a check; afterwards everything is correct.

    caught_up: the number of events that were missing. manifests: the number of logs compared. mended: the ids whose rows
    were wrong or missing; gone: those whose logs no longer exist. unreadable: those that can't be read.
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
        """Whether the catalog's rows of a manifest match its log; an unreadable one is neither."""
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
        """Release the rows that were folded for comparison."""
        if self._other is not None:
            self._other.close()


def _all_of(db: sqlite3.Connection, id: str) -> list[list[Any]]:
    return [db.execute(query, (id,)).fetchall() for query in _COMPARED]
