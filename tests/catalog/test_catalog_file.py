"""The catalog's file: whatever somebody did to it, or did not let be done, an answer is right or comes from elsewhere."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from registration.catalog import catalog as catalog_module
from registration.catalog.catalog import Catalog
from registration.catalog.file import CatalogFile, Seen, Unusable
from registration.catalog.filters import Filters, Order
from registration.catalog.schema import FORMAT
from registration.core.policy import NO_POLICY
from registration.storage.disk import PosixDisk, lock_span
from registration.values.documents import check_document
from tests.catalog.test_catalog_projection import assert_right
from tests.kit.catalogs import DOCUMENTS, ListFeed, Registry


@pytest.fixture
def registry() -> Registry:
    """Thirty manifests, some of them under way."""
    registry = Registry()
    for number in range(30):
        registry.do(f"m{number:02}", "create", document=check_document(DOCUMENTS[number % len(DOCUMENTS)]))
    for number in range(0, 30, 2):
        registry.do(f"m{number:02}", "submit_for_review", actor="ben")
    return registry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


def catalog_at(path: Path, registry: Registry, busy_timeout_s: float = 5) -> Catalog:
    return Catalog(registry, disk=PosixDisk(), root=str(path.parent), busy_timeout_s=busy_timeout_s)


def listed(catalog: Catalog, **said: Any) -> list[str]:
    page = catalog.page(Filters(**said), Order(), policy=lambda: NO_POLICY, after=None, limit=1_000)
    return [row.id for row in page.rows]


def assert_sound(path: Path, registry: Registry) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert_right(db, registry)


def test_it_is_made_where_it_is_missing_for_nobody_else_to_read(path: Path, registry: Registry) -> None:
    """And at rest it is one file."""
    catalog = catalog_at(path, registry)

    assert listed(catalog, state="REVIEWED") == [f"m{number:02}" for number in range(0, 30, 2)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["catalog.sqlite"]
    assert_sound(path, registry)


def test_deleting_it_loses_nothing(path: Path, registry: Registry) -> None:
    """The next question makes it again, with the same answers."""
    catalog = catalog_at(path, registry)
    before = listed(catalog)
    path.unlink()

    assert listed(catalog) == before
    assert_sound(path, registry)


def test_it_catches_up_with_what_was_committed_since(path: Path, registry: Registry) -> None:
    """Only with that, also in a process that begins anew."""
    catalog = catalog_at(path, registry)
    first = catalog.catch_up()
    registry.do("m01", "submit_for_review")

    assert first == 45
    assert catalog_at(path, registry).catch_up() == 1
    assert catalog.catch_up() == 0
    assert_sound(path, registry)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE meta (name TEXT)")
        db.execute("CREATE TABLE plants (name TEXT)")
        db.commit()


def says(**meta: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.executemany("UPDATE meta SET value = ? WHERE key = ?", [(v, k) for k, v in meta.items()])
            db.execute("DELETE FROM manifests")
            db.commit()

    return change


def statement(sql: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute(sql)
            db.commit()

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"SQLite format 3\x00" + b"x" * 5_000),
        lambda path: path.write_bytes(b"{}\n" * 1_000),
        lambda path: path.write_bytes(path.read_bytes()[:4096]),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + bytes(path.stat().st_size - 4096)),
        lambda path: (path.unlink(), foreign(path)),
        says(format="0"),
        says(format=str(int(FORMAT) + 1)),
        says(registry="urn:uuid:01890a5d-ac96-774b-bcce-b302099a8058"),
        statement("DELETE FROM meta"),
        statement("DROP TABLE events"),
        statement("DROP TABLE words"),
        statement("ALTER TABLE manifests DROP COLUMN actor"),
        lambda path: path.with_name("catalog.sqlite-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"x" * 600),
    ],
    ids=["empty", "header", "text", "one-page", "half", "zeros", "foreign", "older", "newer", "another-registry", "no-meta",
         "no-events", "no-words", "no-column", "journal"],
)  # fmt: skip
def test_what_is_of_no_use_is_made_anew(
    path: Path, registry: Registry, change: Callable[[Path], None]
) -> None:
    """Damaged, foreign, of another release or another registry: the answer is the same as from nothing."""
    catalog = catalog_at(path, registry)
    before = listed(catalog)
    change(path)

    assert listed(catalog) == before
    catalog.refresh(registry.streams(), quick=False, step=lambda: None)
    assert_sound(path, registry)


def test_bytes_that_somebody_changed_are_found_by_a_full_check(path: Path, registry: Registry) -> None:
    """SQLite has no checksums; comparing with the logs finds what it can't, whatever was changed."""
    catalog = catalog_at(
        path, registry, busy_timeout_s=0.05
    )  # some changes make it look as if it were locked
    listed(catalog)
    sound = path.read_bytes()
    chance = random.Random(5)
    for _ in range(20):
        raw = bytearray(sound)
        for _ in range(chance.randint(1, 40)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        path.write_bytes(raw)

        with suppress(Unusable):
            listed(catalog)
        catalog.refresh(registry.streams(), quick=False, step=lambda: None)
        with closing(sqlite3.connect(path)) as db:
            assert [row[0] for row in db.execute("SELECT id FROM manifests ORDER BY id")] == sorted(
                registry.logs
            )
            assert db.execute("SELECT count(*) FROM events").fetchone() == (45,)


@pytest.mark.parametrize("name", ["catalog.sqlite", "catalog.sqlite-journal"])
@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "pipe"])
def test_what_is_no_plain_file_is_left_alone(
    path: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory, name: str, kind: str
) -> None:
    """A link is not followed, for reading or for writing."""
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file"
    if kind != "dangling":
        elsewhere.write_bytes(b"precious")
    there = path.with_name(name)
    {
        "link": lambda: there.symlink_to(elsewhere),
        "dangling": lambda: there.symlink_to(elsewhere),
        "directory": there.mkdir,
        "pipe": lambda: os.mkfifo(there),
    }[kind]()
    catalog = catalog_at(path, registry)

    with pytest.raises(Unusable, match="not a regular file"):
        listed(catalog)
    with pytest.raises(Unusable, match="not a regular file"):
        catalog.refresh(registry.streams(), quick=True, anew=True, step=lambda: None)
    assert elsewhere.exists() is (kind != "dangling")
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"precious"


def test_somebody_who_keeps_it_locked_is_not_waited_for_for_ever(path: Path, registry: Registry) -> None:
    """A reader shuts nobody out from reading; a writer does, for as long as is waited."""
    catalog = catalog_at(path, registry, busy_timeout_s=0.05)
    before = listed(catalog)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM manifests").fetchone()
        beside_a_reader = listed(catalog)
        other.execute("ROLLBACK")
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(Unusable, match="locked"):
            listed(catalog)
        other.execute("ROLLBACK")

    assert beside_a_reader == listed(catalog) == before


def test_a_useless_one_that_somebody_has_open_is_not_emptied_under_them(
    path: Path, registry: Registry
) -> None:
    """It is made anew once they are done."""
    catalog = catalog_at(path, registry, busy_timeout_s=0.05)
    before = listed(catalog)
    says(format="0")(path)
    reader = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN'); db.execute('SELECT * FROM events').fetchone(); print(flush=True)\n"
        "input(); print(db.execute('SELECT count(*) FROM events').fetchone()[0])\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", reader, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    other.stdout.readline()

    with pytest.raises(Unusable, match="another process has it open"):
        listed(catalog)

    assert other.communicate("go on\n")[0] == "45\n"
    assert listed(catalog) == before


def test_one_that_somebody_made_meanwhile_is_not_emptied(path: Path, registry: Registry) -> None:
    """What was found useless isn't what stands there now."""
    catalog = catalog_at(path, registry)
    listed(catalog)
    file = CatalogFile(PosixDisk(), str(path.parent), registry.source, busy_timeout_s=1)
    seen = Seen.of(path.stat())
    path.unlink()
    listed(catalog)
    made = path.read_bytes()

    file._empty(seen)

    assert path.read_bytes() == made


def test_a_lock_of_a_span_excludes_sqlite(path: Path) -> None:
    """Of this process and of others; closing the descriptor ends it."""
    with closing(sqlite3.connect(path, timeout=0)) as db:
        db.execute("CREATE TABLE t (a)")
        fd = os.open(path, os.O_RDWR)
        assert lock_span(fd, 0x40000000, 512)
        other = os.open(path, os.O_RDWR)

        assert not lock_span(other, 0x40000000, 512)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            db.execute("SELECT * FROM t").fetchall()
        os.close(fd)
        assert db.execute("SELECT * FROM t").fetchall() == []
        assert lock_span(other, 0x40000000, 512)
        os.close(other)


@contextmanager
def no_room() -> Iterator[None]:
    """Every write that makes a file longer fails."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_costs_the_catalog_and_not_the_answer(path: Path, registry: Registry) -> None:
    """What it had stays sound; with room again it goes on."""
    catalog = catalog_at(path, registry)
    with no_room(), pytest.raises(Unusable):
        listed(catalog)
    before = listed(catalog)
    registry.do("m01", "submit_for_review")
    with no_room(), pytest.raises(Unusable):
        listed(catalog)

    assert listed(catalog, state="REVIEWED") == sorted([*(f"m{n:02}" for n in range(0, 30, 2)), "m01"])
    assert listed(catalog) == before
    assert_sound(path, registry)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, who may read and not write")
def test_a_directory_that_can_not_be_written_has_no_catalog(registry: Registry) -> None:
    """Nor one that is behind."""
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "catalog.sqlite"
        catalog = catalog_at(path, registry)
        listed(catalog)
        path.unlink()
        os.chmod(root, 0o755)
        for made in (False, True):
            if made:
                listed(catalog)
                path.chmod(0o644)
                registry.do("m01", "submit_for_review")
            os.seteuid(65534)
            try:
                with pytest.raises(Unusable):
                    listed(catalog)
            finally:
                os.seteuid(0)

        assert len(listed(catalog)) == 30


def in_child(work: Callable[[], object]) -> int:
    """The process that does some work; it ends in 0 where the work did not raise."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


@pytest.mark.torture
def test_a_kill_at_any_moment_leaves_what_can_be_gone_on_from(
    path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With kill -9, again and again, until it got through; the catalog is never wrong on the way."""
    monkeypatch.setattr(catalog_module, "EVENTS_AT_ONCE", 1)
    chance = random.Random(3)
    catalog = catalog_at(path, registry)
    killed = 0
    for number in count():
        if killed and number >= 25:
            break
        if number % 25 == 24 and not killed:  # each came to its end before the signal came
            path.unlink()
        child = in_child(catalog.catch_up)
        threading.Event().wait(chance.randrange(1, 60) / 1_000)
        os.kill(child, signal.SIGKILL)
        killed += os.waitpid(child, 0)[1] == signal.SIGKILL
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    assert listed(catalog) == sorted(registry.logs)
    assert_sound(path, registry)


def test_many_processes_and_threads_may_catch_up_at_once(
    path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes on from where the other came to; every event is folded once."""
    monkeypatch.setattr(catalog_module, "EVENTS_AT_ONCE", 2)
    catalog = catalog_at(path, registry, busy_timeout_s=60)
    children = [in_child(catalog.catch_up) for _ in range(4)]
    threads = [threading.Thread(target=catalog.catch_up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = [os.waitpid(child, 0)[1] for child in children]

    assert codes == [0, 0, 0, 0]
    assert_sound(path, registry)


def test_processes_that_find_it_useless_at_once_make_it_anew_together(path: Path, registry: Registry) -> None:
    """Nobody empties what another one just made, nor ends up with a file that is nobody's."""
    catalog = catalog_at(path, registry, busy_timeout_s=60)
    for _ in range(5):
        path.write_bytes(b"no catalog at all " * 1_000)
        children = [in_child(lambda: listed(catalog) == sorted(registry.logs) or 1 / 0) for _ in range(4)]
        codes = [os.waitpid(child, 0)[1] for child in children]

        assert codes == [0, 0, 0, 0]
        assert_sound(path, registry)


def test_a_fork_while_another_thread_has_it_is_no_wait(path: Path, registry: Registry) -> None:
    """The child doesn't have that thread."""
    catalog = catalog_at(path, registry, busy_timeout_s=5)
    inside, done = threading.Event(), threading.Event()

    class Slow(ListFeed):
        def end(self) -> str:
            inside.set()
            done.wait()
            return super().end()

    slow_registry = Registry()
    slow_registry.told = Slow(registry.told.events)
    slow_registry.logs = registry.logs
    slow = catalog_at(path, slow_registry)
    thread = threading.Thread(target=slow.catch_up)
    thread.start()
    inside.wait()
    child = in_child(lambda: listed(catalog))
    code = os.waitpid(child, 0)[1]
    done.set()
    thread.join()

    assert code == 0


def test_a_feed_that_was_deleted_is_read_from_its_beginning(path: Path, registry: Registry) -> None:
    """Its cursors are gone with it; what the catalog has is compared, and stays."""
    catalog = catalog_at(path, registry)
    listed(catalog)
    registry.told.name = "2"
    registry.do("m03", "submit_for_review")

    assert catalog.status().lag == 46
    assert "m03" in listed(catalog, state="REVIEWED")
    assert catalog.status().state == "current"
    assert_sound(path, registry)


def test_events_of_other_areas_are_passed_over(path: Path, registry: Registry) -> None:
    """The feed has aliases as well; the cursor goes on behind them."""
    registry.told.elsewhere = frozenset(range(40, 45))
    catalog = catalog_at(path, registry)

    assert catalog.catch_up() == 40
    assert catalog.status().state == "current"


def test_the_status_changes_nothing(path: Path, registry: Registry) -> None:
    """It says what there is: nothing, something that is behind, something useless."""
    catalog = catalog_at(path, registry)
    missing = catalog.status()
    assert not path.exists()
    listed(catalog)
    registry.do("m01", "submit_for_review")
    before = path.read_bytes()
    behind = catalog.status()
    path.write_bytes(b"x" * 10_000)
    useless = catalog.status()

    assert (missing.state, missing.manifests) == ("missing", 0)
    assert (behind.state, behind.lag, behind.manifests, behind.events) == ("behind", 1, 30, 45)
    assert behind.size_bytes == len(before)
    assert (useless.state, useless.size_bytes) == ("unusable", 10_000)
    assert "not a database" in useless.reason
    assert path.read_bytes() == b"x" * 10_000


# -- comparing with the logs -------------------------------------------------------------------------------------------


def check(catalog: Catalog, registry: Registry, *, quick: bool = False, anew: bool = False) -> Any:
    steps: list[None] = []
    found = catalog.refresh(registry.streams(), quick=quick, anew=anew, step=lambda: steps.append(None))
    assert len(steps) == found.manifests == len(registry.logs)
    return found


@pytest.mark.parametrize("quick", [False, True])
def test_a_refresh_finds_what_the_feed_does_not_tell(path: Path, registry: Registry, quick: bool) -> None:
    """A log that a copy tool put there, one that is gone, one that went back, one that went on unannounced."""
    catalog = catalog_at(path, registry)
    listed(catalog)
    announced = list(registry.told.events)
    registry.do("new", "create")
    registry.do("m00", "approve")
    del registry.logs["m02"]
    registry.logs["m04"].events.pop()
    registry.told.events[:] = announced
    registry.do("m05", "submit_for_review")

    found = check(catalog, registry, quick=quick)

    assert found.caught_up == 1
    assert set(found.mended) == {"m00", "m04", "new"}
    assert found.gone == ("m02",)
    assert registry.told.reconciled == 1
    assert_sound(path, registry)
    again = check(catalog, registry, quick=quick)
    assert (again.caught_up, again.mended, again.gone) == (0, (), ())


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE manifests SET state = 'APPROVED' WHERE id = 'm04'",
        "UPDATE events SET actor = 'eve' WHERE manifest = (SELECT number FROM manifests WHERE id = 'm04')",
        "DELETE FROM documents WHERE manifest = (SELECT number FROM manifests WHERE id = 'm04')",
        "INSERT INTO tags SELECT number, 'x' FROM manifests WHERE id = 'm04'",
    ],
)
def test_a_full_refresh_compares_every_row(path: Path, registry: Registry, sql: str) -> None:
    """A quick one believes rows whose head is right."""
    catalog = catalog_at(path, registry)
    listed(catalog)
    statement(sql)(path)

    quick, full = check(catalog, registry, quick=True), check(catalog, registry)

    assert (quick.mended, full.mended) == ((), ("m04",))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM tags").fetchone() == (0,)
        assert db.execute("SELECT state FROM manifests WHERE id = 'm04'").fetchone() == ("REVIEWED",)


def test_a_refresh_names_what_can_not_be_read(path: Path, registry: Registry) -> None:
    """And has it again once it can."""
    catalog = catalog_at(path, registry)
    listed(catalog)
    registry.dark = {"m07"}

    found = check(catalog, registry)
    registry.dark = set()
    again = check(catalog, registry)

    assert (found.unreadable, found.mended) == (("m07",), ())
    assert (again.unreadable, again.mended) == ((), ("m07",))


def test_a_rebuild_begins_from_nothing(path: Path, registry: Registry) -> None:
    """Whatever stood there."""
    catalog = catalog_at(path, registry)
    listed(catalog)
    statement("UPDATE manifests SET state = 'APPROVED', head = head")(path)

    found = check(catalog, registry, quick=True, anew=True)

    assert (found.caught_up, found.mended) == (45, ())
    assert_sound(path, registry)
