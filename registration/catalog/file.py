"""The storage of a catalog: `CatalogFile`, or `CatalogInMemory` if a file is impossible.

The file is opened for each question, created if missing, and rebuilt if unusable.

A connection lives for one question. That costs 0.1 ms and leaves nothing to go wrong later: no connection crosses a fork or
outlives its file. SQLite's rollback journal is used rather than its WAL: at rest there is one file, which can be copied and
deleted, and readers need not write. `synchronous` is NORMAL, so a power cut may undo the last rows together with the
cursor, but never leaves a torn table.

Rebuilding never renames or unlinks the file. A journal belongs to a file by its name, so replacing the file under a writer
would apply one file's journal to the other. The file is truncated in place, under an exclusive lock on the bytes that
SQLite locks.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import orjson

from registration.catalog.schema import FORMAT, MACHINERY, TABLES, WORDS
from registration.storage import layout
from registration.storage.disk import Disk, given_back, is_file, lock_span, opened_directory

CACHE_KB = 32 * 1024
"""The cache of a connection; a transaction of catching up fits in it, so that readers are not blocked."""

_JOURNAL = layout.CATALOG_FILE + "-journal"
_LOCKED_BYTES = (0x4000_0000, 512)
"""The bytes on which SQLite takes its locks (https://www.sqlite.org/fileformat2.html, "the lock-byte page")."""

_USELESS = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_FORMAT,
    }
)
"""The primary error codes that an intact catalog of this release never gives."""

_NAMES = frozenset(re.findall(r"CREATE (?:TABLE|INDEX|VIEW) (\w+)", TABLES + MACHINERY))

T = TypeVar("T")

_turns: dict[str, threading.RLock] = {}
"""By path, the mutex of this process: opening and closing the file outside SQLite releases the locks of all threads."""

os.register_at_fork(after_in_child=_turns.clear)  # a thread that does not exist in the child may hold one


class Unusable(Exception):  # a reason on its way to a catalog in memory, never seen by a caller
    """The catalog can't be used now, and the answer has to come from another one."""


class Useless(Exception):  # a reason to rebuild the catalog, never seen by a caller
    """The file is damaged, or not a catalog of this release and this registry."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The identity of a file when it was opened: it is only rebuilt if it is still the same."""

    inode: int
    size_bytes: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Seen:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


class CatalogFile:
    """`catalog.sqlite` of one registry. Safe to share between threads and processes.

    root: the registry's directory. source: ``urn:uuid:`` and the registry's id. busy_timeout_s: how long to wait if another
    process has it locked.
    """

    def __init__(self, disk: Disk, root: str, source: str, *, busy_timeout_s: float) -> None:
        self._disk = disk
        self._root = root
        self._source = source
        self._busy_timeout_s = busy_timeout_s
        self.path = os.path.join(root, layout.CATALOG_FILE)

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask an intact catalog, which may be a new, empty one; it is rebuilt if it turns out to be unusable.

        Raises:
            Unusable: when it is unavailable: locked for too long, not writable, no space, not a regular file.
        """
        with self._turn():
            try:
                return self._ask(question)
            except Useless:
                # A file that another process puts there from here on is not the unusable one.
                self._empty(self._look())
            try:
                return self._ask(question)
            except Useless as why:
                raise Unusable(f"it was rebuilt and is still unusable: {why}") from why

    def ask_as_it_is(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask a read-only question of the file as it is.

        Raises:
            Unusable: when it is unavailable, missing or unusable.
        """
        with self._turn():
            try:
                return self._ask(question, read_only=True)
            except Useless as why:
                raise Unusable(f"it is unusable: {why}") from why

    def make_anew(self) -> None:
        """Empty it, whatever it contains.

        Raises:
            Unusable: when another process keeps it open, or it is unavailable.
        """
        with self._turn():
            self._empty(self._look())

    @contextmanager
    def _turn(self) -> Iterator[None]:
        turn = _turns.setdefault(self.path, threading.RLock())
        if not turn.acquire(timeout=self._busy_timeout_s):
            raise Unusable("another thread holds it")
        try:
            yield
        finally:
            turn.release()

    def _ask(self, question: Callable[[sqlite3.Connection], T], *, read_only: bool = False) -> T:
        with _explained():
            if not read_only:
                self._make()
            self._look()
            with closing(self._connect(read_only=read_only)) as db:
                if not self._is_sound(db):
                    if read_only:
                        raise Useless("it is empty")
                    with transaction(db):
                        if not self._is_sound(db):
                            make_tables(db, self._source)
                return question(db)

    def _make(self) -> None:
        """Create an empty file if it is missing: mode 0600, and no link is followed."""
        with opened_directory(self._disk, self._root) as root, suppress(FileExistsError):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            with given_back(self._disk, self._disk.open(layout.CATALOG_FILE, flags, dir_fd=root)):
                pass

    def _look(self) -> Seen | None:
        """The identity of the file; SQLite follows links, so links are refused here."""
        seen = None
        for name in (_JOURNAL, layout.CATALOG_FILE):
            try:
                found = self._disk.status_at(os.path.join(self._root, name))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Unusable(f"{name} can't be read: {error.strerror}") from error
            if not is_file(found):
                raise Unusable(f"{name} is not a regular file, and links are not followed")
            seen = Seen.of(found) if name == layout.CATALOG_FILE else None
        return seen

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        mode = "ro" if read_only else "rw"
        # The name of a registry's directory may contain any characters.
        path = self.path.replace("%", "%25").replace("?", "%3F").replace("#", "%23")
        db = sqlite3.connect(
            f"file:{path}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        return db

    def _is_sound(self, db: sqlite3.Connection) -> bool:
        """Whether it is a catalog of this release and this registry; False for an empty one."""
        try:
            meta = read_meta(db)
        except sqlite3.OperationalError:
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise
            return False
        if (meta["format"], meta["registry"]) != (FORMAT, self._source):
            raise Useless(f"it has format {meta['format']}, and belongs to the registry {meta['registry']}")
        there = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        if not _NAMES | ({"words"} if meta["words"] == "yes" else set()) <= there:
            raise Useless("tables are missing")
        if meta["words"] == "no" and has_fts5(db):
            raise Useless("it was created by a SQLite without FTS5")
        return True

    def _empty(self, seen: Seen | None) -> None:
        """Truncate the file while no one has it open, unless it has been replaced."""
        disk = self._disk
        with (
            _explained(),
            suppress(FileNotFoundError),
            opened_directory(disk, self._root) as root,
            given_back(disk, disk.open(layout.CATALOG_FILE, os.O_RDWR, dir_fd=root)) as fd,
        ):
            self._hold_alone(fd)
            if Seen.of(disk.status(fd)) == seen:
                with suppress(FileNotFoundError):
                    disk.unlink(_JOURNAL, dir_fd=root)
                disk.truncate(fd, 0)

    def _hold_alone(self, fd: int) -> None:
        """Wait until no one has the file open in SQLite, and lock others out."""
        deadline = time.monotonic() + self._busy_timeout_s
        wait_s = 0.001
        while not lock_span(fd, *_LOCKED_BYTES):
            if time.monotonic() > deadline:
                raise Unusable("it must be rebuilt, but another process has it open")
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, 0.05)


class CatalogInMemory:
    """A catalog that is in no file, and gone with this object; it takes the same questions. Safe to share between threads.

    source: as for `CatalogFile`.
    """

    path = ":memory:"

    def __init__(self, source: str) -> None:
        self._source = source
        self._turn = threading.RLock()
        self._kept: list[sqlite3.Connection] = []
        _in_memory.add(self)
        weakref.finalize(self, _close, self._kept)

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask it a question, one at a time; it is rebuilt if it turns out to be unusable.

        Raises:
            Unusable: when there is no memory for it.
        """
        with self._turn:
            try:
                return self._ask(question)
            except Useless:
                self.make_anew()
            try:
                return self._ask(question)
            except Useless as why:
                raise Unusable(f"it was rebuilt and is still unusable: {why}") from why

    def ask_as_it_is(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask a read-only question of a copy, which may be left in any state."""
        with self._turn, _explained(), closing(sqlite3.connect(self.path, isolation_level=None)) as copy:
            self._opened().backup(copy)
            return question(copy)

    def make_anew(self) -> None:
        """Empty it."""
        with self._turn:
            _close(self._kept)

    def forget(self) -> None:
        """In a forked child, start afresh: the lock may be held by a thread that does not exist there."""
        self._turn = threading.RLock()
        self._kept.clear()

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        with _explained():
            return question(self._opened())

    def _opened(self) -> sqlite3.Connection:
        if not self._kept:
            self._kept.append(in_memory(self._source))
        return self._kept[0]


def _close(kept: list[sqlite3.Connection]) -> None:
    while kept:
        kept.pop().close()


_in_memory: weakref.WeakSet[CatalogInMemory] = weakref.WeakSet()


def _forget_all() -> None:
    for one in _in_memory:
        one.forget()


os.register_at_fork(after_in_child=_forget_all)


def in_memory(source: str) -> sqlite3.Connection:
    """A new, empty catalog in memory."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    make_tables(db, source)
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; other writers are locked out."""
    db.execute("BEGIN IMMEDIATE")
    before = db.total_changes
    try:
        yield
        # Without a change, a commit would still wait for every reader.
        db.execute("COMMIT" if db.total_changes != before else "ROLLBACK")
    except BaseException:
        if db.in_transaction:  # a failure may have ended it already
            db.execute("ROLLBACK")
        raise


def make_tables(db: sqlite3.Connection, source: str) -> None:
    """The tables of an empty catalog. Inside a transaction: `executescript` would end it."""
    for statement in _statements(TABLES + MACHINERY):
        db.execute(statement)
    words = has_fts5(db)
    if words:
        db.execute(WORDS)
    write_meta(db, format=FORMAT, registry=source, words="yes" if words else "no")


def damaged(reason: str) -> sqlite3.DatabaseError:
    """The error of corrupt content, as SQLite itself would raise it."""
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def read_meta(db: sqlite3.Connection) -> defaultdict[str, str]:
    """The catalog's metadata: format, registry, words (whether there is an index of them), cursor, kinds, places."""
    return defaultdict(str, db.execute("SELECT key, value FROM meta"))


def write_meta(db: sqlite3.Connection, **said: str) -> None:
    """Change its metadata."""
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", said.items())


def has_fts5(db: sqlite3.Connection) -> bool:
    """Whether this SQLite supports an index of words."""
    try:
        return bool(db.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone())
    except sqlite3.OperationalError:  # a SQLite without this pragma
        return False


def _statements(script: str) -> Iterator[str]:
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


@contextmanager
def _explained() -> Iterator[None]:
    """Translate errors of SQLite and the system: into `Useless` if the file is unusable, else into `Unusable`."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a defect of ours
        raise
    except (UnicodeDecodeError, orjson.JSONDecodeError) as error:
        raise Useless(f"its content is not text, or not JSON: {error}") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _USELESS:
            raise Useless(str(error)) from error
        raise Unusable(str(error)) from error
    except OSError as error:
        raise Unusable(error.strerror or str(error)) from error
