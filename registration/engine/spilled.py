"""`Spilled`: a mapping from text to bytes that may be larger than memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping


class Spilled(MutableMapping[str, bytes]):
    """In a private SQLite database, removed by the system: in memory, or in a temporary file once it is large.

    The caller makes sure that one thread uses it at a time.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._db.execute("create table kept (name text primary key, value blob) without rowid")

    def __getitem__(self, name: str) -> bytes:
        found = self._db.execute("select value from kept where name = ?", (name,)).fetchone()
        if found is None:
            raise KeyError(name)
        value: bytes = found[0]
        return value

    def __setitem__(self, name: str, value: bytes) -> None:
        self._db.execute("insert or replace into kept values (?, ?)", (name, value))

    def __delitem__(self, name: str) -> None:
        self._db.execute("delete from kept where name = ?", (name,))

    def __iter__(self) -> Iterator[str]:
        return (name for (name,) in self._db.execute("select name from kept"))

    def __len__(self) -> int:
        count: int = self._db.execute("select count(*) from kept").fetchone()[0]
        return count
