"""`Catalog`: one registry's `catalog.sqlite`, caught up before each answer.

The questions are in `filters`. If the file can't be written, the same code answers from memory; see `Catalog`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

from registration.catalog.file import (
    CatalogFile,
    CatalogInMemory,
    Unusable,
    damaged,
    read_meta,
    transaction,
    write_meta,
)
from registration.catalog.projection import Projection, keep_kinds, keep_places
from registration.catalog.rows import Unreadable
from registration.catalog.selecting import count, select_page, unreadable
from registration.errors import InvalidArgument, LockTimeout, RegistrationError, StoreError
from registration.storage import layout

if TYPE_CHECKING:
    from registration.catalog.checking import Checked
    from registration.catalog.filters import Filters, Order
    from registration.catalog.queries import Answer, Parameters
    from registration.catalog.rows import Row
    from registration.catalog.statistics import Statistics
    from registration.catalog.status import Status
    from registration.core.policy import Policy
    from registration.storage.disk import Disk
    from registration.storage.ledger import Ledger
    from registration.values.events import Event

EVENTS_AT_ONCE = 2_000
BYTES_AT_ONCE = 8 * 1024 * 1024
"""The maximum that is folded in one transaction: other writers, and readers at its end, wait for it."""

SELECTED_AGAIN_MAX = 3
"""The maximum number of retries when a log on a page has changed: under constant writes there would be no end."""

CHECKED_AT_ONCE = 200


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """Some rows, in order, and all manifests that can't be read, sorted by id."""

    rows: Sequence[Row]
    unreadable: Sequence[Unreadable]


@dataclass(slots=True, eq=False)
class _CaughtUp:
    """The result of catching up. problems: the errors of manifests in the feed that can't be read."""

    events: int = 0
    problems: dict[str, RegistrationError] = field(default_factory=dict)
    done: bool = False


@dataclass(slots=True, eq=False)
class _Batch:
    """One batch of events. cursor: the position after it; None if there were no more."""

    cursor: str | None = None
    events: list[Event] = field(default_factory=list)
    size_bytes: int = 0
    problems: dict[str, RegistrationError] = field(default_factory=dict)


class Catalog:
    """The catalog of one registry. Safe to share between threads and processes.

    root: the registry's directory on `disk`, which contains the catalog. in_memory: store nothing there, but in
    memory for the lifetime of this object; always so without a root. A catalog in memory catches up from the feed as well;
    if the feed can't be read, because it does not exist yet and can't be written, it is compared with every log instead.

    Every call raises `Unusable` if the catalog is unavailable; then the answer has to come from one in memory.
    """

    def __init__(
        self,
        store: Ledger,
        *,
        disk: Disk | None = None,
        root: str | None = None,
        busy_timeout_s: float = 10.0,
        in_memory: bool = False,
    ) -> None:
        self._store = store
        self._disk = disk
        self._root = root
        self._file: CatalogFile | CatalogInMemory
        if in_memory or disk is None or root is None:
            self._file = CatalogInMemory(store.source)
        else:
            self._file = CatalogFile(disk, root, store.source, busy_timeout_s=busy_timeout_s)

    def catch_up(self) -> int:
        """Fold the events committed since the last call; returns their number."""
        return self._file.ask(lambda db: self._catch_up(db).events)

    def page(
        self,
        filters: Filters,
        order: Order,
        *,
        policy: Callable[[], Policy],
        after: tuple[str, str] | None,
        limit: int,
        goes_on: bool = False,
    ) -> Page:
        """The first rows behind a place in the order that the filters let through.

        The log of each is checked once: its size tells whether the row is current. policy: needed for kinds. goes_on:
        whether it is a later page of one answer, for which the logs need not be checked again.
        """

        def question(db: sqlite3.Connection) -> Page:
            dark = self._unreadable(db, self._catch_up(db, goes_on=goes_on))
            if filters.kind is not None:
                keep_kinds(db, policy())
            for _ in range(SELECTED_AGAIN_MAX):
                rows = select_page(db, self._places(db), filters, order, after=after, limit=limit)
                changed = [row.id for row in rows if self._log_bytes(row) != row.size_bytes]
                if not changed or not self._settle(db, changed):
                    break
                dark = self._unreadable(db, _CaughtUp())
            return Page(rows, dark)

        return self._file.ask(question)

    def count(self, filters: Filters, *, policy: Callable[[], Policy]) -> int:
        """The number of manifests that match the filters."""

        def question(db: sqlite3.Connection) -> int:
            self._catch_up(db)
            if filters.kind is not None:
                keep_kinds(db, policy())
            return count(db, self._places(db), filters)

        return self._file.ask(question)

    def statistics(self, *, time: str, since: str | None) -> Statistics:
        """See `registration.catalog.statistics`."""
        from registration.catalog.statistics import statistics  # noqa: PLC0415  # a list should not pay for it

        def question(db: sqlite3.Connection) -> Statistics:
            self._catch_up(db)
            return statistics(db, time=time, since=since)

        return self._file.ask(question)

    def query(
        self,
        sql: str,
        parameters: Parameters,
        *,
        policy: Callable[[], Policy],
        rows_max: int,
        time_limit_s: float,
    ) -> Answer:
        """See `registration.catalog.queries`. It runs on a read-only connection."""
        from registration.catalog.queries import run_query  # noqa: PLC0415  # as above

        def first(db: sqlite3.Connection) -> None:
            self._catch_up(db)
            self._for_people(db, policy)

        self._file.ask(first)
        return self._file.ask_as_it_is(
            lambda db: run_query(db, sql, parameters, rows_max=rows_max, time_limit_s=time_limit_s)
        )

    def refresh(
        self, ids: Iterable[str], *, quick: bool, step: Callable[[], None], anew: bool = False
    ) -> Checked:
        """Catch up, find changes that are not in the feed, and compare the catalog with the logs; see `Checked`.

        ids: of all logs. quick: compare the heads of the logs only. step: called after each log. anew: rebuild from scratch.
        """
        if anew:
            self._file.make_anew()
        self._store.reconcile_feed()
        if not quick:
            self._file.ask(_check_pages)
        return self._file.ask(lambda db: self._refresh(db, iter(ids), quick=quick, step=step))

    def status(self) -> Status:
        """Its status; changes nothing."""
        from registration.catalog.status import Status, status_of  # noqa: PLC0415  # as above

        path, size = self._file.path, 0
        if isinstance(self._file, CatalogFile):
            assert self._disk is not None
            try:
                size = self._disk.status_at(path).st_size
            except FileNotFoundError:
                return Status("missing", path)
        try:
            with _unusable_feed():
                return self._file.ask_as_it_is(
                    lambda db: status_of(db, self._store, path=path, size_bytes=size)
                )
        except Unusable as why:
            return Status("unusable", path, size, reason=str(why))

    # -- inside --------------------------------------------------------------------------------------------

    def _catch_up(self, db: sqlite3.Connection, *, goes_on: bool = False) -> _CaughtUp:
        found = _CaughtUp()
        try:
            with _unusable_feed():
                if read_meta(db)["cursor"] == self._store.feed_end():
                    return found
                while not found.done:
                    with transaction(
                        db
                    ):  # one at a time: another process that catches up continues from where this ends
                        self._fold_some(db, found)
        except Unusable:
            if isinstance(self._file, CatalogFile):
                raise
            return found if goes_on and read_meta(db)["logs"] else self._from_logs(db)
        return found

    def _from_logs(self, db: sqlite3.Connection) -> _CaughtUp:
        """Compare the row of every manifest with its log, and fold the differing ones."""
        found = _CaughtUp(done=True)
        with transaction(db):
            projection = Projection(db, self._store, self._store.definition)
            known = {id for (id,) in db.execute("SELECT id FROM manifests UNION SELECT id FROM unreadable")}
            there = set(self._store.streams())
            for id in chain(there, known - there):  # removed ones are checked as well
                mended = projection.mend(id)
                found.events += mended.changed
                if mended.problem is not None:
                    found.problems[id] = mended.problem
            self._places(db)
            write_meta(db, logs="compared")
        return found

    def _fold_some(self, db: sqlite3.Connection, found: _CaughtUp) -> None:
        """Fold a batch."""
        cursor, end = read_meta(db)["cursor"] or None, self._store.feed_end()
        if cursor == end:
            found.done = True
            return
        batch = self._batch(cursor)
        projection = Projection(db, self._store, self._store.definition)
        projection.fold(batch.events)
        for id, problem in batch.problems.items():
            projection.note_unreadable(id)
            found.problems[id] = problem
        found.events += len(batch.events)
        found.done = batch.cursor is None
        write_meta(db, cursor=batch.cursor or end)
        self._places(db)

    def _batch(self, cursor: str | None) -> _Batch:
        batch = _Batch()
        try:
            for entry in self._store.feed(cursor, limit=EVENTS_AT_ONCE, areas=(layout.MANIFESTS,)):
                batch.cursor = entry.cursor
                batch.events.append(entry.event)
                batch.size_bytes += len(entry.event.line)
                if batch.size_bytes > BYTES_AT_ONCE:
                    break
        except InvalidArgument:  # the cursor's feed was deleted
            if cursor is None:
                raise
            return self._batch(None)
        except RegistrationError as error:
            if "stream" not in error.details:  # the feed itself can't be read
                raise
            batch.cursor = error.details["behind"]
            batch.problems[error.details["stream"]] = error
        return batch

    def _unreadable(self, db: sqlite3.Connection, found: _CaughtUp) -> list[Unreadable]:
        """The manifests that were unreadable before and still are; those found just now are not tried again."""
        ids = unreadable(db)
        if not ids:
            return []
        with transaction(db):
            projection = Projection(db, self._store, self._store.definition)
            problems = [(id, found.problems.get(id) or projection.mend(id).problem) for id in ids]
        return [Unreadable(id, problem) for id, problem in problems if problem is not None]

    def _settle(self, db: sqlite3.Connection, ids: Iterable[str]) -> bool:
        """Repair the rows of manifests whose logs have changed; returns whether a row changed."""
        caught_up = self._catch_up(
            db
        ).events  # so that differences found from here on are not merely new events
        with transaction(db):
            projection = Projection(db, self._store, self._store.definition)
            mended = [projection.mend(id).changed for id in ids]
        return bool(caught_up) or any(mended)

    def _refresh(
        self, db: sqlite3.Connection, ids: Iterator[str], *, quick: bool, step: Callable[[], None]
    ) -> Checked:
        from registration.catalog.checking import Checked, Comparison  # noqa: PLC0415  # as above

        caught_up = self._catch_up(db).events
        seen: set[str] = set()
        mended: list[str] = []
        with closing(Comparison(db, self._store, self._store.definition, quick=quick)) as comparison:
            while some := list(islice(ids, CHECKED_AT_ONCE)):
                self._catch_up(db)
                with transaction(db):
                    for id in some:
                        seen.add(id)
                        if not comparison.is_equal(id):
                            mended.append(id)
                        step()
        with transaction(db):
            known = db.execute("SELECT id FROM manifests UNION SELECT id FROM unreadable ORDER BY id")
            projection = Projection(db, self._store, self._store.definition)
            # Check again: a manifest created in the meantime has a log.
            unknown = [id for (id,) in known.fetchall() if id not in seen]
            gone = [id for id in unknown if projection.mend(id).changed]
        dark = tuple(unreadable(db))
        return Checked(caught_up, len(seen), tuple(id for id in mended if id not in dark), tuple(gone), dark)

    def _places(self, db: sqlite3.Connection) -> dict[str, frozenset[str]]:
        definition = self._store.definition
        return keep_places(db, definition.chart, definition.identity["digest"])

    def _for_people(self, db: sqlite3.Connection, policy: Callable[[], Policy]) -> None:
        """Update the columns for user queries: kinds by the policy in force, places by the lifecycle in force."""
        keep_kinds(db, policy())
        with transaction(db):
            self._places(db)

    def _log_bytes(self, row: Row) -> int:
        """The size of a row's log; the recorded size if it isn't a file, since no other program can change it."""
        if self._disk is None or self._root is None:
            return row.size_bytes
        try:
            return self._disk.status_at(os.path.join(self._root, layout.log_path(row.id))).st_size
        except (FileNotFoundError, NotADirectoryError):
            return -1


@contextmanager
def _unusable_feed() -> Iterator[None]:
    """Without the feed a catalog is unusable: for example if the directory is read-only and has no feed yet."""
    try:
        yield
    except (StoreError, LockTimeout) as error:
        raise Unusable(f"the feed can't be read: {error.problem}") from error


def _check_pages(db: sqlite3.Connection) -> None:
    """Check every page of the file. Raises sqlite3.DatabaseError when one is damaged, so that the catalog is rebuilt."""
    found = [str(reason) for (reason,) in db.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise damaged("; ".join(found))
