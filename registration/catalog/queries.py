"""Queries: user-supplied, read-only SQL over the catalog.

Three independent safeguards: the file is opened read-only, `query_only` is set, and an authorizer allows
nothing but selects and functions. A time limit ends slow queries, and the number of rows and the size of a
value are bounded, since users of queries need not be trusted with the memory.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registration.catalog.schema import TABLES
from registration.errors import InvalidArgument, Next, Rejected

VALUE_BYTES_MAX = 16 * 1024 * 1024

Parameters = Sequence[Any] | Mapping[str, Any]

_STEPS = 10_000
"""Virtual machine instructions of SQLite between two checks of the clock: well below a millisecond."""

_READING = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info", "data_version"})
"""Pragmas that only describe tables; also as functions: ``pragma_table_info('events')``."""

_OF_THE_FILE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Failures that the query did not cause."""

_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
"""Functions of some builds that reach outside the catalog."""

_ADVICE = "Write one select, and see which tables there are."
_SCHEMA = Next(operation="query.schema")


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a query. columns: their names. rows: of JSON values, bytes as hex. more: whether rows were cut off."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


def schema() -> str:
    """The tables that can be queried, as SQL with comments."""
    return TABLES


def run_query(
    db: sqlite3.Connection, sql: str, parameters: Parameters = (), *, rows_max: int, time_limit_s: float
) -> Answer:
    """Run one select on an open catalog, which is read-only afterwards.

    parameters: for ``?``, or by name for ``:name``.

    Raises:
        InvalidArgument: when it is invalid SQL, names an unknown table or column, or is not one select.
        Rejected: when it would do anything but read, or times out.
    """
    refused: list[str] = []
    ends_at = time.monotonic() + time_limit_s
    db.execute("PRAGMA query_only = ON")
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
    db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    db.set_progress_handler(lambda: time.monotonic() > ends_at, _STEPS)
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    db.set_authorizer(lambda *asked: _authorize(refused, *asked))
    try:
        cursor = db.execute(sql, parameters)
        if cursor.description is None:
            raise InvalidArgument("The statement is not a query: it returns no rows.", _ADVICE, _SCHEMA)
        rows = cursor.fetchmany(rows_max + 1)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_FILE:
            raise
        raise _explained(error, refused, time_limit_s) from None
    columns = tuple(column[0] for column in cursor.description)
    return Answer(
        columns, tuple(tuple(map(_json_value, row)) for row in rows[:rows_max]), len(rows) > rows_max
    )


def _authorize(
    refused: list[str],
    action: int,
    one: str | None,
    other: str | None,
    _database: str | None,
    _by: str | None,
) -> int:
    if action == sqlite3.SQLITE_FUNCTION and other in _REFUSED_FUNCTIONS:
        refused.append(f"call {other}")
        return sqlite3.SQLITE_DENY
    if action in _READING or (action == sqlite3.SQLITE_PRAGMA and one in _PRAGMAS):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_UPDATE and one == "sqlite_master":
        # Opening a virtual table, such as json_each, looks like this. A real change is always refused.
        return sqlite3.SQLITE_OK
    refused.append(_NAMES.get(action, "do anything but select"))
    return sqlite3.SQLITE_DENY


_NAMES = {
    sqlite3.SQLITE_INSERT: "insert rows",
    sqlite3.SQLITE_UPDATE: "change rows",
    sqlite3.SQLITE_DELETE: "delete rows",
    sqlite3.SQLITE_ATTACH: "attach a file",
    sqlite3.SQLITE_DETACH: "detach a file",
    sqlite3.SQLITE_PRAGMA: "use a pragma",
    sqlite3.SQLITE_TRANSACTION: "begin or end a transaction",
}


def _explained(error: Exception, refused: list[str], time_limit_s: float) -> InvalidArgument | Rejected:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if refused:
        return Rejected(f"The query would {refused[0]}; queries may only read.", _ADVICE, _SCHEMA)
    if code == sqlite3.SQLITE_INTERRUPT:
        return Rejected(
            f"The query timed out after {time_limit_s:g} s.",
            "Ask for less, or allow more time.",
            Next(operation="query", missing=("sql", "time_limit")),
        )
    reason = str(error).rstrip(".")
    return InvalidArgument(f"Invalid query: {reason}.", _ADVICE, _SCHEMA)


def _json_value(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
