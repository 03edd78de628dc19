"""The contenders: the same durable transition, by this registry, by hand on SQLite, by `eventsourcing`, and with bare files.

All are equally durable: when `step` returns, the event survives a power cut. SQLite keeps a write-ahead log that is synced at every
commit (`journal_mode=WAL`, `synchronous=FULL`), by hand as in `eventsourcing`. Each step hands a manifest of about 800 bytes in for
review, or sends it back, with a check that nobody else was faster, and records who did it, when, from where and to where.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import orjson
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from floors import BareFiles
from subject import DOCUMENT, Walker, modes, open_subject

Work = Callable[[], object]

NEXT = {"DRAFT": ("submit_for_review", "REVIEWED"), "REVIEWED": ("reject", "DRAFT")}

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS manifests (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, version INTEGER NOT NULL, updated_at TEXT NOT NULL, document TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    manifest TEXT NOT NULL, version INTEGER NOT NULL, event TEXT NOT NULL, PRIMARY KEY (manifest, version)
) WITHOUT ROWID;
"""


class ByHand:
    """What a careful programmer writes on SQLite: an event and the state in one transaction, with a version check.

    Each thread has a connection of its own. SQLite has one writer at a time; those of one process wait for each other at a lock,
    which hands on faster than SQLite's own waiting (it sleeps and tries again).
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._own = threading.local()
        self._turn = threading.Lock()
        self._opened: list[sqlite3.Connection] = []
        self.connection().executescript(SCHEMA)

    def connection(self) -> sqlite3.Connection:
        """This thread's."""
        found: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if found is None:
            found = sqlite3.connect(self._path, timeout=60, isolation_level=None, check_same_thread=False)
            found.execute("PRAGMA synchronous = FULL")
            self._own.connection = found
            self._opened.append(found)
        return found

    def create(self, id: str) -> None:
        """A DRAFT, with its first event."""
        connection = self.connection()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO manifests VALUES (?, 'DRAFT', 1, ?, ?)",
            (id, _now(), orjson.dumps(DOCUMENT).decode()),
        )
        connection.execute("INSERT INTO events VALUES (?, 1, ?)", (id, _event("create", None, "DRAFT", 1)))
        connection.execute("COMMIT")

    def step(self, id: str) -> None:
        """One transition: load, decide, and commit unless somebody else was faster."""
        connection = self.connection()
        state, version = connection.execute(
            "SELECT state, version FROM manifests WHERE id = ?", (id,)
        ).fetchone()
        action, target = NEXT[state]
        with self._turn:
            self._commit(connection, id, version, action, state, target)

    def _commit(
        self, connection: sqlite3.Connection, id: str, version: int, action: str, state: str, target: str
    ) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            changed = connection.execute(
                "UPDATE manifests SET state = ?, version = ?, updated_at = ? WHERE id = ? AND version = ?",
                (target, version + 1, _now(), id, version),
            )
            if changed.rowcount != 1:
                raise RuntimeError("somebody else was faster")
            connection.execute(
                "INSERT INTO events VALUES (?, ?, ?)",
                (id, version + 1, _event(action, state, target, version + 1)),
            )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def load(self, id: str) -> Any:
        """The state and the document."""
        row = self.connection().execute("SELECT * FROM manifests WHERE id = ?", (id,)).fetchone()
        return row[:4], orjson.loads(row[4])

    def replay(self, id: str) -> int:
        """All events of one manifest, parsed; nothing is checked, since nothing is chained."""
        rows = self.connection().execute(
            "SELECT event FROM events WHERE manifest = ? ORDER BY version", (id,)
        )
        return sum(1 for (text,) in rows if orjson.loads(text))

    def close(self) -> None:
        for connection in self._opened:
            connection.close()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _event(action: str, source: str | None, target: str, version: int) -> str:
    said = {"action": action, "from": source, "to": target, "actor": "bench", "reason": "once more"}
    return orjson.dumps(
        {"id": str(uuid.uuid4()), "type": action, "time": _now(), "version": version, "data": said}
    ).decode()


class Manifest(Aggregate):
    """The same as an aggregate of `eventsourcing`."""

    @event("Created")
    def __init__(self, document: dict[str, Any]) -> None:
        self.state = "DRAFT"
        self.document = document

    @event("Moved")
    def move(self, action: str, target: str, actor: str, reason: str) -> None:
        self.state = target


class WithEventsourcing:
    """An application of `eventsourcing` on SQLite. Aggregates are cached, and brought up to date from the database."""

    def __init__(self, path: str) -> None:
        self._application = Application[uuid.UUID](
            env={
                "PERSISTENCE_MODULE": "eventsourcing.sqlite",
                "SQLITE_DBNAME": path,
                "SQLITE_LOCK_TIMEOUT": "60",
                "AGGREGATE_CACHE_MAXSIZE": "1000",
            }
        )
        self._ids: dict[str, uuid.UUID] = {}

    def create(self, id: str) -> None:
        manifest = Manifest(DOCUMENT)
        self._application.save(manifest)
        self._ids[id] = manifest.id

    def step(self, id: str) -> None:
        manifest: Any = self._application.repository.get(self._ids[id])
        action, target = NEXT[manifest.state]
        manifest.move(action, target, "bench", "once more")
        self._application.save(manifest)

    def load(self, id: str) -> Any:
        return self._application.repository.get(self._ids[id])

    def replay(self, id: str) -> int:
        return sum(1 for _ in self._application.events.get(self._ids[id]))

    def close(self) -> None:
        self._application.close()


BY_HAND, EVENTSOURCING = "SQLite by hand", "eventsourcing on SQLite"
LOG_ONLY, TWO_FILES = "log only", "bare two files"


def registration(mode: str) -> str:
    """What this registry is called, with its snapshots kept that way."""
    return f"registration, {mode}"


@contextmanager
def contenders(folder: str, *, writers: int) -> Iterator[dict[str, list[Work]]]:
    """Each contender, ready to step: one work for each of so many writers, with a manifest each."""
    os.makedirs(folder)
    with ExitStack() as stack:
        bare = [stack.enter_context(BareFiles(f"{folder}/bare-{number}")) for number in range(writers)]
        works: dict[str, list[Work]] = {
            LOG_ONLY: [one.append for one in bare],
            TWO_FILES: [one.write_both for one in bare],
        }
        for name, subject in {
            BY_HAND: ByHand(f"{folder}/by-hand.sqlite"),
            EVENTSOURCING: WithEventsourcing(f"{folder}/eventsourcing.sqlite"),
        }.items():
            stack.callback(subject.close)
            for number in range(writers):
                subject.create(f"m{number}")
            works[name] = [partial(subject.step, f"m{number}") for number in range(writers)]
        for mode in modes():
            pipeline = stack.enter_context(open_subject(f"{folder}/{mode}", mode))
            walkers = [Walker(pipeline, f"m{number}") for number in range(writers)]
            works[registration(mode)] = [walker.step for walker in walkers]
            for walker, one in zip(walkers, bare, strict=True):
                walker.lend(one)
        yield works
