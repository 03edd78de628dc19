"""The projection: events into the catalog's tables, one transaction for each batch, together with the cursor.

An event is folded if it follows the row. Any other event, because it is a duplicate, an earlier one is missing,
or the log was repaired or copied in, is settled by the log itself: `mend` compares, and folds again if
they differ. So the result does not depend on the order or number of deliveries.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from registration.catalog.file import damaged, read_meta, transaction, write_meta
from registration.catalog.rows import Move, Row, advance, follows, move, tags_of
from registration.catalog.words import words_of
from registration.errors import LockTimeout, NotFound, RegistrationError, StoreError
from registration.values.documents import digest_of

if TYPE_CHECKING:
    from registration.core.chart import Chart
    from registration.core.definition import Definition
    from registration.core.policy import Policy
    from registration.values.events import Event, StateSnapshot

KIND_UNKNOWN = ""
"""Marks a kind that has not been determined yet: it needs the policy, and few queries use it."""

_COLUMNS = (
    "id, state, version, digest, name, document_version, creator, actor, created_at, updated_at, entered_at, "
    "size_bytes, head"
)
_ABSENT = object()

KINDS_AT_ONCE = 500
"""Documents can have up to a megabyte each."""


class Logs(Protocol):
    """The logs, for questions that the feed can't answer: a `registration.storage.ledger.Ledger`."""

    def load(self, stream: str) -> StateSnapshot | None:
        """See `Ledger.load`."""

    def read(self, stream: str) -> Iterator[Event]:
        """See `Ledger.read`."""


@dataclass(frozen=True, slots=True, eq=False)
class Mended:
    """The result of mending. changed: the catalog was wrong. problem: the error if the manifest can't be read."""

    changed: bool
    problem: RegistrationError | None = None


@dataclass(slots=True, eq=False)
class _Pending:
    """The effect of a batch on one manifest. number: None for a new one. document: `_ABSENT` if it did not change."""

    row: Row | None
    number: int | None
    moves: list[Move]
    document: Any = _ABSENT
    tags: tuple[str, ...] | None = None

    def fold(self, event: Event) -> None:
        self.moves.append(move(self.row, event))
        self.row = advance(self.row, event)
        if "document" in event.data:
            self.document = event.data["document"]
        if (tags := tags_of(event)) is not None:
            self.tags = tags


class Projection:
    """Writes into one open catalog, inside the caller's transaction.

    logs, definition: the source of the events.
    """

    def __init__(self, db: sqlite3.Connection, logs: Logs, definition: Definition) -> None:
        self._db = db
        self._logs = logs
        self._definition = definition
        self._words = read_meta(db)["words"] == "yes"

    def fold(self, events: Iterable[Event]) -> None:
        """Fold events, in order for each manifest; duplicates and gaps are settled by the log."""
        pending: dict[str, _Pending] = {}
        doubtful: dict[str, None] = {}
        for event in events:
            id = event.subject
            if id in doubtful:
                continue
            if id not in pending:
                pending[id] = self._begun(id)
            if event.type in self._definition.event_types and follows(pending[id].row, event):
                pending[id].fold(self._definition.upcast(event))
            else:
                doubtful[id] = None
        self._write(pending.values())
        for id in doubtful:
            self.mend(id)

    def mend(self, id: str) -> Mended:
        """Make the catalog's rows of a manifest match its log.

        An unreadable one is recorded as such, and tried again by later questions.
        """
        number, row = self.row(id)
        try:
            state = self._logs.load(id)
            if state is not None and row is not None and _same(row, state):
                return Mended(changed=False)
            events = [] if state is None else self._events(id)
        except (StoreError, LockTimeout) as problem:
            return Mended(changed=self.note_unreadable(id), problem=problem)
        if row is not None and len(events) >= row.version and events[row.version - 1].hash == row.head:
            again = _Pending(row, number, [])  # it is only behind
            events = events[row.version :]
        else:
            self.forget(id, keep_number=bool(events))
            again = _Pending(None, number, [])
        for event in events:
            again.fold(event)
        self._write([again])
        return Mended(changed=row is not None or bool(events))

    def forget(self, id: str, *, keep_number: bool = False) -> None:
        """Remove a manifest."""
        self._db.execute("DELETE FROM unreadable WHERE id = ?", (id,))
        number, _ = self.row(id)
        if number is None:
            return
        self._unsay(number, id)
        for table in ("documents", "events", "tags"):
            self._db.execute(f"DELETE FROM {table} WHERE manifest = ?", (number,))
        if keep_number:
            self._db.execute(f"UPDATE manifests SET kind = '{KIND_UNKNOWN}' WHERE number = ?", (number,))
        else:
            self._db.execute("DELETE FROM manifests WHERE number = ?", (number,))

    def row(self, id: str) -> tuple[int | None, Row | None]:
        """The row of a manifest, and its number."""
        found = self._db.execute(f"SELECT number, {_COLUMNS} FROM manifests WHERE id = ?", (id,)).fetchone()
        return (None, None) if found is None else (found[0], row_from(found[1:]))

    def _events(self, id: str) -> list[Event]:
        try:
            return [self._definition.upcast(event) for event in self._logs.read(id)]
        except NotFound:  # it has been removed
            return []

    def _begun(self, id: str) -> _Pending:
        number, row = self.row(id)
        return _Pending(row, number, [])

    def note_unreadable(self, id: str) -> bool:
        """Record that a manifest can't be read, and remove its row; returns whether that is new."""
        known = self._db.execute("SELECT 1 FROM unreadable WHERE id = ?", (id,)).fetchone() is not None
        self.forget(id)
        self._db.execute("INSERT INTO unreadable VALUES (?)", (id,))
        return not known

    def _write(self, pending: Iterable[_Pending]) -> None:
        moves: list[tuple[Any, ...]] = []
        for one in pending:
            if one.row is None or not one.moves:
                continue
            number = self._write_row(one)
            moves += [(number, *happened) for happened in one.moves]
            if one.document is not _ABSENT:
                self._write_document(number, one.row.id, one.document)
            if one.tags is not None:
                self._db.execute("DELETE FROM tags WHERE manifest = ?", (number,))
                self._db.executemany("INSERT INTO tags VALUES (?, ?)", [(number, tag) for tag in one.tags])
        self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", moves)

    def _write_row(self, one: _Pending) -> int:
        assert one.row is not None
        values = _values(one.row)
        if one.number is None:
            marks = ", ".join("?" * len(values))
            new = self._db.execute(
                f"INSERT INTO manifests ({_COLUMNS}, kind) VALUES ({marks}, ?)",
                (*values, KIND_UNKNOWN),
            )
            assert new.lastrowid is not None
            self._db.execute("DELETE FROM unreadable WHERE id = ?", (one.row.id,))
            return new.lastrowid
        sets = ", ".join(f"{column} = ?" for column in _COLUMNS.split(", "))
        if one.document is not _ABSENT:
            sets += f", kind = '{KIND_UNKNOWN}'"
        self._db.execute(f"UPDATE manifests SET {sets} WHERE number = ?", (*values, one.number))
        return one.number

    def _write_document(self, number: int, id: str, document: Mapping[str, Any]) -> None:
        self._unsay(number, id)
        text = orjson.dumps(document).decode()
        self._db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?)", (number, text))
        if self._words:
            said = " ".join(words_of(id, document))
            self._db.execute("INSERT INTO words (rowid, said) VALUES (?, ?)", (number, said))

    def _unsay(self, number: int, id: str) -> None:
        """Remove the words of a document from their index, which needs the old words."""
        if not self._words:
            return
        old = self._db.execute("SELECT document FROM documents WHERE manifest = ?", (number,)).fetchone()
        if old is not None:
            said = " ".join(words_of(id, orjson.loads(old[0])))
            self._db.execute("INSERT INTO words (words, rowid, said) VALUES ('delete', ?, ?)", (number, said))


def row_from(values: Sequence[Any]) -> Row:
    """A row from the result of a select of `columns`.

    Raises:
        sqlite3.DatabaseError: when it is corrupt.
    """
    id, state, version, digest, name, document_version, creator, actor, *rest = values
    created_at, updated_at, entered_at, size_bytes, head = rest
    texts = (id, state, name, created_at, updated_at, entered_at, head)
    if not (all(type(one) is str for one in texts) and type(version) is type(size_bytes) is int):
        raise damaged("a row of manifests has values of the wrong type")
    return Row(
        id=id,
        state=state,
        version=version,
        digest=digest,
        name=name,
        document_version=document_version,
        creator=creator,
        actor=actor,
        created_at=created_at,
        updated_at=updated_at,
        entered_at=entered_at,
        size_bytes=size_bytes,
        head=head,
    )


def columns(table: str) -> str:
    """The columns of a row, for a select."""
    return ", ".join(f"{table}.{column}" for column in _COLUMNS.split(", "))


def keep_places(db: sqlite3.Connection, chart: Chart, lifecycle: str) -> dict[str, frozenset[str]]:
    """The places in which manifests are, each with the states that are active in it, by the current lifecycle.

    lifecycle: its digest. Their table, for user queries, is updated if it is out of date.
    """
    found = db.execute(
        "WITH RECURSIVE one(place) AS (SELECT min(state) FROM manifests UNION ALL "
        "SELECT (SELECT min(state) FROM manifests WHERE state > place) FROM one WHERE place IS NOT NULL) "
        "SELECT place FROM one WHERE place IS NOT NULL"
    )
    places = {place: chart.active(place) for (place,) in found}
    mark = orjson.dumps([lifecycle, *sorted(places)]).decode()
    if not db.in_transaction or read_meta(db)["places"] == mark:
        return places
    db.execute("DELETE FROM places")
    rows = [(place, state) for place, active in places.items() for state in sorted(active)]
    db.executemany("INSERT INTO places VALUES (?, ?)", rows)
    write_meta(db, places=mark)
    return places


def keep_kinds(db: sqlite3.Connection, policy: Policy) -> None:
    """Determine the kind of every manifest, by the policy in force. In its own transactions."""
    kinds = digest_of([[kind.name, dict(kind.match)] for kind in policy.kinds])
    if read_meta(db)["kinds"] != kinds:
        with transaction(db):
            db.execute(f"UPDATE manifests SET kind = '{KIND_UNKNOWN}'")
            write_meta(db, kinds=kinds)
    while _find_kinds(db, policy):
        pass


def _find_kinds(db: sqlite3.Connection, policy: Policy) -> bool:
    """Determine the kinds of some manifests that have none yet; returns whether there may be more."""
    query = (
        "SELECT m.number, d.document FROM manifests AS m LEFT JOIN documents AS d ON d.manifest = m.number "
        f"WHERE m.kind = '{KIND_UNKNOWN}' LIMIT {KINDS_AT_ONCE}"
    )
    if db.execute(query).fetchone() is None:
        return False
    with transaction(db):
        found = [(_kind(policy, document), number) for number, document in db.execute(query)]
        db.executemany("UPDATE manifests SET kind = ? WHERE number = ?", found)
    return len(found) == KINDS_AT_ONCE


def _kind(policy: Policy, document: str | None) -> str | None:
    found = policy.kind_of(orjson.loads(document)) if document is not None and policy.kinds else None
    return found.name if found else None


def _same(row: Row, state: StateSnapshot) -> bool:
    position = state.position
    return (row.version, row.size_bytes, row.head) == (position.version, position.size_bytes, position.head)


def _values(row: Row) -> tuple[Any, ...]:
    return (
        row.id,
        row.state,
        row.version,
        row.digest,
        row.name,
        row.document_version,
        row.creator,
        row.actor,
        row.created_at,
        row.updated_at,
        row.entered_at,
        row.size_bytes,
        row.head,
    )
