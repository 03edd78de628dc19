"""Lists, counts, statistics and queries of a whole registry, as a program asks for them."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given

from registration import RegistrationPipeline, open_memory
from registration.catalog.catalog import Catalog
from registration.catalog.file import Unusable, in_memory, transaction
from registration.catalog.projection import Projection
from registration.catalog.queries import run_query
from registration.catalog.statistics import InState, Stays
from registration.catalog.statistics import statistics as statistics_of
from registration.core.policy import Kind, Policy
from registration.errors import (
    CorruptLog,
    CorruptRegistry,
    InvalidArgument,
    LockTimeout,
    Rejected,
    StoreError,
)
from registration.pipeline.pipeline import CAUGHT_UP_AFTER
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.ledger import Ledger
from registration.testing import FakeClock
from tests.kit.builders import SOURCE, tries
from tests.kit.catalogs import Registry, registries, stays
from tests.kit.policies import put_in_force

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
POLICY = Policy(kinds=(Kind("server", {"/name": "io.*"}),))


@pytest.fixture(params=["catalog", "without", "memory"])
def pipeline(
    request: pytest.FixtureRequest, root: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A registry with a catalog, one where none can be had, and one in memory."""
    if request.param == "without":

        def refuse(*_: object) -> None:
            raise Unusable("the test has none")

        monkeypatch.setattr("registration.catalog.file.CatalogFile.ask", refuse)
    store = open_memory(SOURCE, REGISTRATION) if request.param == "memory" else None
    with RegistrationPipeline(
        None if store else root, store=store, actor="ada", clock=clock, policy=POLICY
    ) as pipeline:
        yield pipeline


def stock(pipeline: RegistrationPipeline) -> None:
    """One manifest in each state, and two drafts."""
    for id, walked in (("d1", 0), ("d2", 0), ("r", 1), ("a", 2), ("z", 3)):
        pipeline.create(id, {"name": f"io.acme/{id}" if walked else id, "version": f"1.{walked}"})
        for action in ("submit_for_review", "approve", "register")[:walked]:
            pipeline.act(id, action, actor="bea")


def ids(found: Any) -> list[str]:
    return [summary.manifest_id for summary in found]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, ["a", "d1", "d2", "r", "z"]),
        ({"state": "IN_REVIEW"}, ["a", "r"]),
        ({"actor": "bea"}, ["a", "r", "z"]),
        ({"kind": "server"}, ["a", "r", "z"]),
        ({"name_prefix": "d"}, ["d1", "d2"]),
        ({"where": {"/version": "1.0"}}, ["d1", "d2"]),
        ({"text": "ACM"}, ["a", "r", "z"]),
        ({"created_since": "2026-01-01", "state": "DRAFT"}, ["d1", "d2"]),
        ({"created_until": "2025-12-31"}, []),
        ({"updated_since": "2030-01-01"}, []),
        ({"sort": "-id"}, ["z", "r", "d2", "d1", "a"]),
        ({"sort": "created"}, ["d1", "d2", "r", "a", "z"]),
        ({"sort": "-updated"}, ["z", "a", "r", "d2", "d1"]),
        ({"sort": "state"}, ["a", "d1", "d2", "z", "r"]),
        ({"tag": "x"}, []),
    ],
)
def test_a_list_is_of_what_was_asked_for(
    pipeline: RegistrationPipeline, said: dict[str, Any], expected: list[str]
) -> None:
    """The same with a catalog, without one and in memory; and so is the count."""
    stock(pipeline)

    assert ids(pipeline.list(**said)) == expected
    assert pipeline.find.count(**{name: value for name, value in said.items() if name != "sort"}) == len(
        expected
    )


def test_a_page_says_where_the_next_one_begins(pipeline: RegistrationPipeline) -> None:
    """Until there is none; what is made meanwhile moves nothing."""
    stock(pipeline)
    first = pipeline.list(limit=2)
    assert ids(first) == ["a", "d1"]
    pipeline.create("0", {})
    second = pipeline.list(limit=2, after=first.next_page)
    assert ids(second) == ["d2", "r"]
    third = pipeline.list(limit=2, after=second.next_page)

    assert ids(third) == ["z"]
    assert third.next_page is None
    assert ids(third) == []


def test_a_page_that_ends_with_the_last_one_has_no_next(pipeline: RegistrationPipeline) -> None:
    """It was looked whether there is more."""
    stock(pipeline)
    exact = pipeline.list(limit=5)
    rest = pipeline.list(limit=1, state="REGISTERED")

    assert (len(ids(exact)), exact.next_page) == (5, None)
    assert (ids(rest), rest.next_page) == (["z"], None)


def test_long_lists_are_fetched_in_pieces(
    pipeline: RegistrationPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are one list all the same."""
    monkeypatch.setattr("registration.catalog.listing.ROWS_AT_ONCE", 2)
    stock(pipeline)

    assert ids(pipeline.list()) == ["a", "d1", "d2", "r", "z"]
    assert ids(pipeline.list(sort="-created")) == ["z", "a", "r", "d2", "d1"]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"state": "DRAFTS"}, "Did you mean 'DRAFT'"),
        ({"sort": "name"}, "can't be sorted"),
        ({"limit": 0}, "expected 1 or more"),
        ({"limit": True}, "expected 1 or more"),
        ({"after": "x"}, "invalid page cursor"),
        ({"where": {"version": 1}}, "not a JSON Pointer"),
    ],
)
def test_what_can_not_be_meant_is_refused_at_once(
    pipeline: RegistrationPipeline, said: dict[str, Any], problem: str
) -> None:
    """Before anything is looked for."""
    with pytest.raises(InvalidArgument, match=problem):
        pipeline.list(**said)


def test_a_closed_pipeline_finds_nothing(pipeline: RegistrationPipeline) -> None:
    """Every question says that it is closed."""
    pipeline.close()

    for question in (
        pipeline.list,
        pipeline.find.count,
        pipeline.find.stats,
        pipeline.find.catalog_status,
        pipeline.find.refresh_catalog,
    ):
        with pytest.raises(StoreError, match="closed"):
            question()
    with pytest.raises(StoreError, match="closed"):
        pipeline.find.query("select 1")


# -- statistics --------------------------------------------------------------------------------------------------------


def test_statistics_of_a_registry(pipeline: RegistrationPipeline) -> None:
    """How many, since when, how long, and what was done, in exact numbers."""
    stock(pipeline)

    found = pipeline.find.stats()

    states = {one.state: one for one in found.states}
    assert (found.manifests, found.events, found.unreadable) == (5, 11, 0)
    assert {name: one.count for name, one in states.items()} == {
        "DRAFT": 2, "REVIEWED": 1, "APPROVED": 1, "REGISTERED": 1,
    }  # fmt: skip
    assert states["DRAFT"].oldest == pipeline.load_state("d1").created_at
    assert states["REGISTERED"].stays is None
    assert states["DRAFT"].stays == Stays(3, 1.0, 1.0, 1.0, 1.0, 1.0)
    assert found.days == {"2026-01-01": {"create": 5, "submit_for_review": 3, "approve": 2, "register": 1}}
    assert pipeline.find.stats(since="2026-01-02").days == {}


def test_statistics_of_an_empty_registry(pipeline: RegistrationPipeline) -> None:
    """Nothing, and no division by it."""
    found = pipeline.find.stats()

    assert (found.manifests, found.events, found.states, found.days) == (0, 0, (), {})


@tries(60)
@given(registries())
def test_statistics_are_exact(registry: Registry) -> None:
    """Counts, ages, stays and throughput, worked out once more from the logs alone."""
    logs = [log.events for log in registry.logs.values()]
    with closing(in_memory(registry.source)) as db:
        with transaction(db):
            Projection(db, registry, registry.definition).fold(registry.told.events)
        found = statistics_of(db, time="", since=None)

    entered: dict[str, list[str]] = {}
    for events in logs:
        index = len(events) - 1
        while index and events[index - 1].to_state == events[-1].to_state:
            index -= 1
        entered.setdefault(events[-1].to_state, []).append(events[index].time)
    left: dict[str, list[float]] = {}
    for state, seconds in [one for events in logs for one in stays(events)]:
        left.setdefault(state, []).append(seconds)

    def summed(seconds: list[float]) -> Stays:
        ordered = sorted(seconds)
        rank = lambda percent: ordered[-(-len(ordered) * percent // 100) - 1]  # noqa: E731
        mean = pytest.approx(statistics.fmean(ordered))
        return Stays(len(ordered), mean, ordered[0], rank(50), rank(95), ordered[-1])  # type: ignore[arg-type]

    assert list(found.states) == [
        InState(
            state,
            len(entered.get(state, ())),
            min(entered.get(state, [None])),  # type: ignore[type-var]
            statistics.median_low(entered[state]) if state in entered else None,
            summed(left[state]) if state in left else None,
        )
        for state in sorted(entered.keys() | left.keys())
    ]
    days = Counter((event.time[:10], event.action) for events in logs for event in events)
    assert {(day, action): n for day, counts in found.days.items() for action, n in counts.items()} == days


# -- queries -----------------------------------------------------------------------------------------------------------


def test_a_query_is_answered(pipeline: RegistrationPipeline) -> None:
    """With the kinds of the policy, the places of the lifecycle, and parameters."""
    stock(pipeline)

    kinds = pipeline.find.query("select kind, count(*) as n from manifests group by kind order by kind")
    under = pipeline.find.query(
        "select id from manifests join places on place = manifests.state where places.state = :state order by id",
        {"state": "IN_REVIEW"},
    )
    words = pipeline.find.query("select count(*) from words where words match ?", ['"acme"'])
    members = pipeline.find.query("select count(*) from documents, json_each(document) where key = 'version'")
    history = pipeline.find.query("select version, action from history where id = 'r' order by version")
    text = pipeline.find.query("select json_extract(document, '$.version') from documents join manifests on number = manifest "
                          "where id = 'z'")  # fmt: skip

    assert kinds.columns == ("kind", "n")
    assert kinds.rows == ((None, 2), ("server", 3))
    assert under.rows == (("a",), ("r",))
    assert words.rows == ((3,),)
    assert members.rows == ((5,),)
    assert history.rows == ((1, "create"), (2, "submit_for_review"))
    assert text.rows == (("1.3",),)


@pytest.mark.parametrize(
    ("sql", "kind", "problem"),
    [
        ("delete from manifests", Rejected, "delete rows"),
        ("insert into manifests (id) values ('x')", Rejected, "insert rows"),
        ("update manifests set state = 'x'", Rejected, "change rows"),
        ("drop table manifests", Rejected, "queries may only read"),
        ("create table t (a)", Rejected, "queries may only read"),
        ("create temp table t (a)", Rejected, "queries may only read"),
        ("attach ':memory:' as other", Rejected, "attach a file"),
        ("detach main", Rejected, "detach a file"),
        ("vacuum into '/tmp/x'", Rejected, "queries may only read"),
        ("pragma query_only = off", Rejected, "use a pragma"),
        ("pragma journal_mode = wal", Rejected, "use a pragma"),
        ("select * from pragma_database_list", Rejected, "queries may only read"),
        ("begin", Rejected, "transaction"),
        ("reindex", Rejected, "queries may only read"),
        ("analyze", Rejected, "queries may only read"),
        ("select load_extension('x')", Rejected, "load_extension"),
        ("select fts3_tokenizer('simple')", Rejected, "fts3_tokenizer"),
        ("with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c", Rejected, "after 0.2 s"),
        ("select zeroblob(1000000000)", InvalidArgument, "too big"),
        ("selec", InvalidArgument, "syntax error"),
        ("select absent from manifests", InvalidArgument, "no such column"),
        ("update sqlite_master set sql = 'x'", InvalidArgument, "may not be modified"),
        ("select * from nowhere", InvalidArgument, "no such table"),
        ("select 1; select 2", InvalidArgument, "one statement"),
        ("", InvalidArgument, "no rows"),
        ("-- nothing", InvalidArgument, "no rows"),
        ("select ?", InvalidArgument, "binding"),
        ("select '\x00'", InvalidArgument, "null"),
        ("select '\ud800'", InvalidArgument, "surrogates"),
    ],
)  # fmt: skip
def test_a_query_can_do_nothing_but_read(
    pipeline: RegistrationPipeline, sql: str, kind: type[Exception], problem: str
) -> None:
    """What else it would do is said; and the catalog is as it was."""
    stock(pipeline)

    with pytest.raises(kind, match=problem):
        pipeline.find.query(sql, time_limit_s=0.2)
    assert pipeline.find.count() == 5
    assert pipeline.find.query("select count(*) from manifests").rows == ((5,),)


@pytest.mark.parametrize("fence", ["authorizer", "query_only", "read-only file"])
def test_each_fence_around_queries_would_do(root: Path, monkeypatch: pytest.MonkeyPatch, fence: str) -> None:
    """Where the two others were not there, nothing could be written all the same."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("a", {})
        pipeline.find.count()
    mode = "ro" if fence == "read-only file" else "rw"
    if fence != "authorizer":
        monkeypatch.setattr("registration.catalog.queries._authorize", lambda *_: sqlite3.SQLITE_OK)
    with closing(
        sqlite3.connect(f"file:{root}/catalog.sqlite?mode={mode}", uri=True, isolation_level=None)
    ) as db:
        asked = Unfenced(db) if fence == "read-only file" else db

        with pytest.raises((Rejected, InvalidArgument), match=r"queries may only read|readonly"):
            run_query(
                cast("sqlite3.Connection", asked),
                "delete from manifests returning id",
                rows_max=1,
                time_limit_s=5,
            )
        db.set_authorizer(None)
        assert db.execute("select count(*) from manifests").fetchone() == (1,)


class Unfenced:
    """A connection that is not told to only read."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def execute(self, sql: str, *values: Any) -> Any:
        return self._db.execute("SELECT 1" if sql.startswith("PRAGMA") else sql, *values)


def test_a_query_has_bounds(pipeline: RegistrationPipeline) -> None:
    """Rows beyond the bound are left out, and that is said; values are JSON values."""
    stock(pipeline)

    cut = pipeline.find.query("select id from manifests order by id", rows_max=2)
    whole = pipeline.find.query("select id from manifests order by id", rows_max=5)
    odd = pipeline.find.query("select x'00ff', cast(x'ff' as text), null, 1.5, 9007199254740993")

    assert (cut.rows, cut.more) == ((("a",), ("d1",)), True)
    assert (len(whole.rows), whole.more) == (5, False)
    assert odd.rows == (("00ff", "�", None, 1.5, 9007199254740993),)


def test_a_query_tells_of_tables(pipeline: RegistrationPipeline) -> None:
    """The pragmas that only tell are let through."""
    found = pipeline.find.query("select name from pragma_table_info('tags')")

    assert found.rows == (("manifest",), ("tag",))


@pytest.mark.damaged
def test_rules_that_are_lost_cost_kinds_only(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Asking for a kind says what is wrong; everything else is answered."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("a", {})
        put_in_force(pipeline, '[[kinds]]\nname = "server"\nmatch = { "/name" = true }\n')
        shutil.rmtree(root / "rules" / "policies")
    with RegistrationPipeline(root, actor="ada") as pipeline:
        assert ids(pipeline.list()) == ["a"]
        with caplog.at_level(logging.WARNING):
            assert pipeline.find.query("select id, kind from manifests").rows == (("a", None),)
        assert "Kinds can't be determined" in caplog.text
        with pytest.raises(CorruptRegistry, match=r"rules/policies/\w+\.json is missing, and it is in force"):
            list(pipeline.list(kind="server"))


# -- the catalog beside a registry -------------------------------------------------------------------------------------


@pytest.mark.damaged
@pytest.mark.parametrize("sort", ["id", "-id", "updated"])
def test_one_that_can_not_be_read_has_its_place_in_a_list(root: Path, sort: str) -> None:
    """By id where it belongs, on one page only; else first. It does not count for the limit."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        for id in "abcd":
            pipeline.create(id, {})
        pipeline.revise("b", {})
        log = root / "manifests" / "b" / "events.jsonl"
        log.write_bytes(log.read_bytes().replace(b"create", b"cre@te"))
        (root / "manifests" / "b" / "state.json").unlink()
        first = pipeline.list(sort=sort, limit=1)
        pages = [ids(first)]
        while first.next_page is not None:
            first = pipeline.list(sort=sort, limit=1, after=first.next_page)
            pages.append(ids(first))
        whole = list(pipeline.list("REGISTERED", sort=sort))

        assert pages == {"id": [["a"], ["b", "c"], ["d"]], "-id": [["d"], ["c"], ["b", "a"]]}.get(
            sort, [["b", "a"], ["c"], ["d"]]
        )
        assert ids(whole) == ["b"]
        assert isinstance(whole[0].problem, CorruptLog)
        assert pipeline.find.count() == 3
        assert pipeline.find.stats().unreadable == 1


@pytest.mark.damaged
def test_one_that_can_not_be_read_waits_for_its_page(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the list is fetched in pieces."""
    monkeypatch.setattr("registration.catalog.listing.ROWS_AT_ONCE", 1)
    with RegistrationPipeline(root, actor="ada") as pipeline:
        for id in "abcd":
            pipeline.create(id, {})
        pipeline.revise("c", {})
        log = root / "manifests" / "c" / "events.jsonl"
        log.write_bytes(log.read_bytes().replace(b"create", b"cre@te"))
        (root / "manifests" / "c" / "state.json").unlink()

    with RegistrationPipeline(root, create=False) as reader:
        assert ids(reader.list()) == ["a", "b", "c", "d"]
        assert ids(reader.list(sort="-id")) == ["d", "c", "b", "a"]
        assert ids(reader.list(sort="created")) == ["c", "a", "b", "d"]


def test_one_that_somebody_holds_is_waited_for_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its events, and its place in the list, cost one wait; the others are listed, and it is once it can be read."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        for id in "abc":
            pipeline.create(id, {})
    (root / "manifests" / "b" / "state.json").unlink()  # so that its log must be looked at, under the lock
    log = os.open(root / "manifests" / "b" / "events.jsonl", os.O_RDWR)
    assert PosixDisk().lock(log, 0)
    waits: list[str] = []
    original = Ledger.load

    def load(store: Ledger, stream: str, *, waiting: bool = False) -> Any:
        try:
            return original(store, stream, waiting=waiting)
        except LockTimeout:
            waits.append(stream)
            raise

    monkeypatch.setattr(Ledger, "load", load)
    with RegistrationPipeline(root, create=False, lock_timeout_s=0) as reader:
        listed = list(reader.list())
        os.close(log)

        assert [one.problem is None for one in listed] == [True, False, True]
        assert isinstance(listed[1].problem, LockTimeout)
        assert waits == ["b"]
        assert reader.find.catalog_status().state == "current"
        assert [one.problem for one in reader.list()] == [None, None, None]


@pytest.mark.damaged
def test_one_whose_files_the_disk_does_not_give_keeps_nobody_else_out(root: Path) -> None:
    """Something else stands where its log belongs: the catalog goes on behind it."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        assert list(pipeline.list()) == []
        for id in "abc":
            pipeline.create(id, {})
        (root / "manifests" / "b" / "events.jsonl").rename(root / "kept")
        (root / "manifests" / "b" / "events.jsonl").mkdir()
        pipeline.submit_for_review("c")

    with RegistrationPipeline(root, create=False) as reader:
        listed = list(reader.list("REVIEWED"))

        assert ids(listed) == ["b", "c"]
        assert isinstance(listed[0].problem, StoreError)
        assert reader.find.catalog_status().state == "current"


def test_what_is_shown_was_looked_at(root: Path) -> None:
    """A manifest whose directory is gone, or that was put back to what it was, is not listed as the catalog has it."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        for id in "abc":
            pipeline.create(id, {})
        shutil.copytree(root / "manifests" / "b", root / "kept")
        pipeline.submit_for_review("b")
        assert [one.state for one in pipeline.list()] == ["DRAFT", "REVIEWED", "DRAFT"]
        shutil.rmtree(root / "manifests" / "a")
        shutil.rmtree(root / "manifests" / "b")
        (root / "kept").rename(root / "manifests" / "b")

        assert [(one.manifest_id, one.state) for one in pipeline.list()] == [("b", "DRAFT"), ("c", "DRAFT")]
        assert ids(pipeline.list("REVIEWED")) == []


def test_a_log_that_was_copied_in_is_found_by_a_refresh(root: Path, tmp_path: Path) -> None:
    """Nobody announced it."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("a", {})
        pipeline.create("b", {})
        shutil.move(root / "manifests" / "b", tmp_path / "b")
        assert ids(pipeline.list()) == ["a"]
        shutil.move(tmp_path / "b", root / "manifests" / "b")

        found = pipeline.find.refresh_catalog()

        assert found.manifests == 2
        assert ids(pipeline.list()) == ["a", "b"]
        assert pipeline.find.catalog_status().state == "current"


def test_a_repair_is_followed(root: Path) -> None:
    """What the log lost, the catalog loses."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("a", {"name": "first"})
        pipeline.submit_for_review("a")
        pipeline.approve("a", actor="bea")
        assert [one.state for one in pipeline.list()] == ["APPROVED"]
        log = root / "manifests" / "a" / "events.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(lines[0] + lines[1].replace(b"ada", b"eve") + lines[2])
        pipeline.upkeep.repair("a", accept_loss=True)

        assert [(one.state, one.version) for one in pipeline.list()] == [("DRAFT", 2)]
        assert pipeline.find.query("select action from history order by version").rows == (
            ("create",),
            ("repair",),
        )
        assert pipeline.find.refresh_catalog().mended == ()


def test_deleting_the_feed_and_the_catalog_loses_nothing(root: Path) -> None:
    """Both are made again from the logs."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        stock(pipeline)
        before = list(pipeline.list())
        numbers = pipeline.find.stats()
        shutil.rmtree(root / "feed")
        assert list(pipeline.list()) == before
        (root / "catalog.sqlite").unlink()
        shutil.rmtree(root / "feed")

        assert list(pipeline.list()) == before
        assert pipeline.find.stats().states == numbers.states


def test_a_registry_of_an_earlier_release_has_its_catalog_made(tmp_path: Path) -> None:
    """It has no feed either."""
    shutil.copytree(FIXTURES / "registries" / "format-1", tmp_path / "r")
    with RegistrationPipeline(tmp_path / "r", create=False) as pipeline:
        listed = list(pipeline.list())

        assert ids(listed) == sorted(pipeline.upkeep.manifest_ids())
        assert [(one.state, one.version) for one in listed] == [
            ((state := pipeline.load_state(one.manifest_id)).state, state.version) for one in listed
        ]
        assert pipeline.find.refresh_catalog().mended == ()


def test_a_registry_in_memory_has_a_catalog_there() -> None:
    """Its status, what it is asked, and its upkeep are as for one in a file."""
    with RegistrationPipeline(store=open_memory(SOURCE, REGISTRATION), actor="ada") as pipeline:
        stock(pipeline)
        before = pipeline.find.catalog_status()
        assert ids(pipeline.list("DRAFT")) == ["d1", "d2"]
        after = pipeline.find.catalog_status()
        pipeline.create("new", {})

        assert (before.state, before.lag, before.path) == ("behind", 13, ":memory:")
        assert (after.state, after.lag, after.manifests, after.events) == ("current", 0, 5, 11)
        assert pipeline.find.catalog_status().lag == 1
        checked = pipeline.find.refresh_catalog()
        assert (checked.caught_up, checked.manifests, checked.mended, checked.gone) == (1, 6, (), ())
        assert pipeline.find.refresh_catalog(anew=True).caught_up == 12
        assert pipeline.find.catch_up_catalog() == 0  # nothing that outlives the pipeline


def test_a_question_of_ones_own_leaves_the_catalog_in_memory_as_it_was() -> None:
    """It is put to a copy: what fences it in would keep the next answer from being caught up."""
    with RegistrationPipeline(store=open_memory(SOURCE, REGISTRATION), actor="ada") as pipeline:
        stock(pipeline)
        assert pipeline.find.query("select count(*) from manifests").rows == ((5,),)
        with pytest.raises(Rejected):
            pipeline.find.query("delete from manifests")
        pipeline.create("new", {})

        assert pipeline.find.query("select count(*) from manifests").rows == ((6,),)
        assert pipeline.find.count() == 6


def test_a_forked_child_asks_a_catalog_in_memory_of_its_own() -> None:
    """Also where another thread of its parent had the turn."""
    with RegistrationPipeline(store=open_memory(SOURCE, REGISTRATION), actor="ada") as pipeline:
        stock(pipeline)
        assert pipeline.find.count() == 5
        held, go = threading.Event(), threading.Event()

        def hold() -> None:
            with pipeline.find._in_memory._file._turn:
                held.set()
                go.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = os.fork()
        if child == 0:
            os._exit(pipeline.find.count())
        go.set()
        thread.join()

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


def test_what_another_process_writes_shows_in_a_catalog_in_memory(root: Path) -> None:
    """With a feed that can be read and with one that can't: what is new, what changed, and what is gone."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        stock(pipeline)
        (root / "catalog.sqlite").mkdir()
        assert pipeline.find.count() == 5
        with RegistrationPipeline(root, actor="bea", create=False) as other:
            other.create("new", {})
            other.submit_for_review("d1")
        assert ids(pipeline.list("DRAFT")) == ["d2", "new"]

        (root / "feed").rename(root / "kept")
        (root / "feed").write_bytes(b"")
        shutil.rmtree(root / "manifests" / "new")
        assert ids(pipeline.list("DRAFT")) == ["d2"]
        assert pipeline.find.count() == 5
        (root / "feed").unlink()
        (root / "kept").rename(root / "feed")
        shutil.rmtree(root / "catalog.sqlite")


def test_a_catalog_that_can_not_be_kept_is_said_where_it_is_asked_for(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A list comes from one in memory, and says so in the log only."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        stock(pipeline)
        (root / "catalog.sqlite").mkdir()

        with caplog.at_level(logging.INFO):
            assert ids(pipeline.list("DRAFT")) == ["d1", "d2"]
        assert "not a regular file" in caplog.text
        assert pipeline.find.query("select count(*) from manifests").rows == ((5,),)
        assert pipeline.find.stats().manifests == 5
        with pytest.raises(StoreError, match="can't be stored"):
            pipeline.find.refresh_catalog()
        (root / "catalog.sqlite").rmdir()


def test_a_feed_that_can_not_be_read_is_a_reason_to_do_without(root: Path) -> None:
    """Something else stands where it belongs: the status says so, and lists come from the manifests' own files."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        stock(pipeline)
        before = list(pipeline.list())
        (root / "feed").rename(root / "kept")
        (root / "feed").write_bytes(b"")

        assert list(pipeline.list()) == before
        status = pipeline.find.catalog_status()
        assert (status.state, "feed" in status.reason) == ("unusable", True)
        with pytest.raises(StoreError):
            pipeline.find.refresh_catalog()
        (root / "feed").unlink()
        (root / "kept").rename(root / "feed")


def test_python_without_sqlite_says_so_where_a_catalog_is_needed(root: Path) -> None:
    """Lists need it; states and histories don't, and a pipeline closes without."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        stock(pipeline)
    program = (
        "import sys\n"
        "sys.modules['sqlite3'] = None\n"
        "from registration import RegistrationPipeline\n"
        "with RegistrationPipeline(sys.argv[1], create=False) as pipeline:\n"
        "    print(pipeline.load_state('z').state, len(list(pipeline.history('z'))))\n"
        "    for ask in (lambda: list(pipeline.list('DRAFT')), pipeline.find.stats, pipeline.find.catalog_status):\n"
        "        try:\n"
        "            ask()\n"
        "        except Exception as error:\n"
        "            print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == [
        "REGISTERED 4", *3 * ["This Python has no SQLite. Use one that has its module sqlite3."],
    ]  # fmt: skip


@pytest.mark.parametrize("feed", [True, False], ids=["feed", "no feed"])
def test_a_list_goes_on_in_memory_where_the_catalog_breaks_off(
    root: Path, monkeypatch: pytest.MonkeyPatch, feed: bool
) -> None:
    """From the very place that it came to; from the logs alone, each of which is compared once, where the feed is gone as well."""
    monkeypatch.setattr("registration.catalog.listing.ROWS_AT_ONCE", 2)
    page, mend, mended = Catalog.page, Projection.mend, []
    asked = iter(range(10))

    def no_feed(self: Ledger) -> str:
        raise StoreError("There is no feed.")

    def breaking_off(self: Catalog, *args: Any, **said: Any) -> Any:
        if self._file.path != ":memory:" and next(asked):
            if not feed:
                monkeypatch.setattr(Ledger, "feed_end", no_feed)
            raise Unusable("locked")
        return page(self, *args, **said)

    def counted(self: Projection, id: str) -> Any:
        mended.append(id)
        return mend(self, id)

    monkeypatch.setattr(Catalog, "page", breaking_off)
    with RegistrationPipeline(root, actor="ada") as pipeline:
        stock(pipeline)
        monkeypatch.setattr(Projection, "mend", counted)

        assert ids(pipeline.list(sort="-created")) == ["z", "a", "r", "d2", "d1"]
        assert sorted(mended) == ([] if feed else ["a", "d1", "d2", "r", "z"])


def test_who_committed_much_catches_up_when_it_closes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever committed little leaves that to the next list; closing twice does it once."""
    monkeypatch.setattr("registration.pipeline.pipeline.CAUGHT_UP_AFTER", 5)
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("first", {})
    assert not (root / "catalog.sqlite").exists()

    with RegistrationPipeline(root, actor="ada") as pipeline:
        stock(pipeline)
    with RegistrationPipeline(root, create=False) as reader:
        assert reader.find.catalog_status().state == "current"
        assert reader.find.catalog_status().events == 12
    pipeline.close()
    assert CAUGHT_UP_AFTER == 300


@pytest.mark.parametrize(
    ("way", "error"),
    [
        ("registration.catalog.file.CatalogFile.ask", Unusable("locked")),
        ("registration.pipeline.find.FindPart.catch_up_catalog", StoreError("It can't be read.")),
    ],
)
def test_closing_is_not_kept_from_by_the_catalog(
    root: Path, monkeypatch: pytest.MonkeyPatch, way: str, error: Exception
) -> None:
    """Where it can't be had, the next list sees to it; where a manifest can't be read, as well."""
    monkeypatch.setattr("registration.pipeline.pipeline.CAUGHT_UP_AFTER", 0)

    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(way, refuse)
        with RegistrationPipeline(root, actor="ada") as pipeline:
            pipeline.create("a", {})

    with pytest.raises(StoreError, match="closed"):
        pipeline.list()
    with RegistrationPipeline(root, create=False) as reader:
        assert ids(reader.list()) == ["a"]


WRITER = """
import random, sys
from registration import RegistrationPipeline
from registration.errors import RegistrationError
root, seed = sys.argv[1:]
chance = random.Random(seed)
with RegistrationPipeline(root, actor=f"w{seed}", create=False) as pipeline:
    for number in range(10_000):
        if number == 12:
            print(flush=True)  # from here on it may be killed
        id = f"m{chance.randrange(12)}"
        try:
            if chance.random() < 0.4:
                pipeline.create(id, {"name": id, "n": number})
            elif chance.random() < 0.2:
                list(pipeline.list(limit=3))
            else:
                chart = pipeline.explain(id)
                action = chance.choice([one.action for one in chart] or ["revise"])
                pipeline.act(id, action, reason="so", document={"n": number} if action == "revise" else None)
        except RegistrationError:
            pass
"""


@pytest.mark.torture
def test_kills_of_writers_and_readers_leave_a_catalog_that_agrees(root: Path) -> None:
    """Three processes write and list, and are killed at random; what is listed afterwards is what the logs say."""
    RegistrationPipeline(root).close()
    chance = random.Random(11)
    for turn in range(4):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(root), str(3 * turn + one)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            for one in range(3)
        ]  # fmt: skip
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        time.sleep(0.2 + chance.random() / 2)
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
        for writer in writers:
            assert b"Traceback" not in writer.communicate()[1]

        with RegistrationPipeline(root, create=False) as pipeline:
            listed = [(one.manifest_id, one.state, one.version) for one in pipeline.list()]
            states = [
                state for id in pipeline.upkeep.manifest_ids() if (state := loaded(pipeline, id)) is not None
            ]
            assert listed == sorted((state.stream, state.state, state.version) for state in states)

    with RegistrationPipeline(root, create=False) as pipeline:
        found = pipeline.find.refresh_catalog()
        assert (found.mended, found.gone, found.unreadable) == ((), (), ())
        assert found.manifests >= len(listed) > 0
    with closing(sqlite3.connect(root / "catalog.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def loaded(pipeline: RegistrationPipeline, id: str) -> Any:
    return pipeline.upkeep.recover(id, dry_run=True).state


def test_threads_list_while_others_commit(root: Path) -> None:
    """Every commit that was acknowledged before a list is in it."""
    missing: list[str] = []
    with RegistrationPipeline(root, actor="ada") as pipeline:

        def work(name: str) -> None:
            for number in range(8):
                id = f"{name}{number}"
                pipeline.create(id, {"name": id})
                if id not in ids(pipeline.list("DRAFT")) or not pipeline.find.count(name_prefix=id):
                    missing.append(id)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert missing == []
        assert pipeline.find.count() == 24
        assert pipeline.find.refresh_catalog().mended == ()


def test_times_of_a_registry_are_those_of_its_clock(root: Path) -> None:
    """Ages are counted from the time that the statistics were made at."""
    with RegistrationPipeline(root, actor="ada", clock=FakeClock()) as pipeline:
        pipeline.create("a", {})
        found = pipeline.find.stats()

    age = datetime.fromisoformat(found.time) - datetime.fromisoformat(found.states[0].oldest or "")
    assert 0 < age.total_seconds() < 60
