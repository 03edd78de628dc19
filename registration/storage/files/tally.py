"""The tally: the lines of a feed by stream, in a temporary database, for the duration of a comparison.

A registry may have a million streams. SQLite holds an unnamed database in memory while it is small, and in a
temporary file otherwise.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from registration.errors import StoreError

if TYPE_CHECKING:
    from registration.storage.notes import Commit

CACHE_KB = 16 * 1024
_STREAMS_AT_ONCE = 500
_SIZE_BYTES_MAX = 2**63 - 1  # of any file; a line with a larger size is invalid

_TABLES = """
CREATE TABLE told (area TEXT, stream TEXT, size INTEGER, broken INTEGER, PRIMARY KEY (area, stream)) WITHOUT ROWID;
CREATE TABLE doubtful (area TEXT, stream TEXT, sound INTEGER, PRIMARY KEY (area, stream)) WITHOUT ROWID;
CREATE TABLE lines (area TEXT, stream TEXT, start INTEGER, size INTEGER, head TEXT, segment INTEGER);
CREATE INDEX lines_of ON lines (area, stream);
"""

Lines = dict[tuple[int, int, str], int]
"""The segment of a commit's line, by the commit's start, end and hash."""


class Tally:
    """The streams that have commits without a line, and their lines.

    Raises:
        StoreError: when there is no space for it.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        with _refusals_named():
            for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KB}"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_TABLES)
            self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def tell(self, records: Iterable[Commit]) -> None:
        """Add lines, in order: checks that those of each stream are contiguous, and notes where they end."""
        with _refusals_named():
            self._db.executemany(
                "INSERT INTO told VALUES (?1, ?2, ?4, ?3 <> 0) ON CONFLICT DO UPDATE "
                "SET broken = broken OR size <> ?3, size = ?4",
                (
                    (one.area, one.stream, one.start_bytes, one.size_bytes)
                    for one in records
                    if one.size_bytes <= _SIZE_BYTES_MAX
                ),
            )

    def doubt(self, area: str, sizes: Iterable[tuple[str, int]]) -> None:
        """Add the sizes of an area's logs: streams whose lines don't end there are doubtful."""
        with _refusals_named():
            self._db.executemany(
                "INSERT OR IGNORE INTO doubtful SELECT ?1, ?2, 0 WHERE NOT EXISTS "
                "(SELECT 1 FROM told WHERE area = ?1 AND stream = ?2 AND size = ?3 AND NOT broken) "
                "AND (?3 <> 0 OR EXISTS (SELECT 1 FROM told WHERE area = ?1 AND stream = ?2))",
                ((area, stream, size) for stream, size in sizes),
            )

    def doubtful(self, area: str) -> Iterator[tuple[str, int]]:
        """The doubtful streams of an area, sorted, each with the number of bytes known to be intact."""
        last = ""
        while True:
            with _refusals_named():
                found = self._db.execute(
                    "SELECT stream, sound FROM doubtful WHERE area = ? AND stream > ? ORDER BY stream LIMIT ?",
                    (area, last, _STREAMS_AT_ONCE),
                ).fetchall()
            if not found:
                return
            yield from found
            last = found[-1][0]

    def note_sound(self, area: str, stream: str, size_bytes: int) -> None:
        """Set the size of the intact part of a doubtful stream."""
        with _refusals_named():
            self._db.execute(
                "UPDATE doubtful SET sound = ? WHERE area = ? AND stream = ?", (size_bytes, area, stream)
            )

    def note_lines(self, records: Iterable[tuple[int, Commit]]) -> None:
        """Add lines with their segments; those of streams that aren't doubtful are skipped."""
        with _refusals_named():
            self._db.executemany(
                "INSERT INTO lines SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS "
                "(SELECT 1 FROM doubtful WHERE area = ?1 AND stream = ?2)",
                (
                    (one.area, one.stream, one.start_bytes, one.size_bytes, one.head, segment)
                    for segment, one in records
                    if one.size_bytes <= _SIZE_BYTES_MAX
                ),
            )

    def lines_of(self, area: str, stream: str) -> Lines:
        """The lines of a doubtful stream."""
        with _refusals_named():
            found = self._db.execute(
                "SELECT start, size, head, segment FROM lines WHERE area = ? AND stream = ? ORDER BY rowid",
                (area, stream),
            ).fetchall()
        return {(start, size, head): segment for start, size, head, segment in found}


@contextmanager
def _refusals_named() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"Comparing the feed with the logs failed: {error}.",
            "Free some space for temporary files (TMPDIR, else /tmp), then retry.",
        ) from error
