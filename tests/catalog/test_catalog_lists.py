"""Lists: the same answer from the catalog, in a file or in memory, and from who goes through all manifests naively."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.catalog.catalog import Catalog
from registration.catalog.cursors import cursor_of, place_of
from registration.catalog.file import in_memory, transaction
from registration.catalog.filters import KEYS, Filters, Order, check_filters, is_equal
from registration.catalog.projection import Projection, keep_places
from registration.catalog.rows import Unreadable
from registration.catalog.selecting import select_page
from registration.catalog.words import has_words, words_in
from registration.core.policy import NO_POLICY
from registration.errors import InvalidArgument
from registration.rules.lifecycles.registration import CHART
from registration.storage.disk import PosixDisk
from registration.values.times import rfc3339
from tests.kit.builders import tries
from tests.kit.catalogs import ACTORS, DOCUMENTS, POLICY, Registry, document_of, registries
from tests.kit.scanning import scan

FIRST_NS = 1_767_225_600_000_000_000
TIMES = [rfc3339(FIRST_NS + seconds * 1_000_000_000) for seconds in (0, 2, 5, 9, 20)]
ORDERS = [Order(key, descending) for key in KEYS for descending in (False, True)]


def filters() -> st.SearchStrategy[Filters]:
    """Filters that let something through often enough."""
    some: Callable[[Any], Any] = lambda values: st.one_of(st.none(), st.sampled_from(list(values)))  # noqa: E731
    pointers = {
        "/name": "Weather Agent",
        "/version": "1.0.0",
        "/port": 8080,
        "/skills/0/on": True,
        "/tags/1": "METEO-1",
    }
    pointers |= {"/a~1b/~0": [0, False, ""], "/weather": None, "/skills/0": {"on": True, "id": "s"}}
    where = st.one_of(
        st.none(), st.dictionaries(st.sampled_from(sorted(pointers)), st.none(), min_size=1, max_size=1)
    )
    said = st.fixed_dictionaries(
        {
            "state": some([state.name for state in CHART.states]),
            "kind": some(["server", "agent", "none"]),
            "actor": some(ACTORS),
            "created_since": some(TIMES),
            "created_until": some(TIMES),
            "updated_since": some(TIMES),
            "updated_until": some(TIMES),
            "name_prefix": some(["", "io.", "io.github.acme/weather", "Weather", "\U0010ffff", "a", "b:"]),
            "text": some(
                ["weather", "WETT zurich", "strasse", "天", "b 1", "x" + "y" * 99, "meteo 1", "nothing"]
            ),
            "where": where.map(lambda found: found and {one: pointers[one] for one in found}),
        }
    )
    # Most at a time would let nothing through.
    return st.tuples(
        said,
        st.sets(
            st.sampled_from(
                [
                    "state",
                    "kind",
                    "actor",
                    "created_since",
                    "created_until",
                    "updated_since",
                    "updated_until",
                    "name_prefix",
                    "text",
                    "where",
                ]
            ),
            max_size=2,
        ),
    ).map(lambda pair: check_filters(CHART, **{name: pair[0][name] for name in pair[1]}))


@contextmanager
def catalog_of(registry: Registry, *, in_memory: bool = False) -> Iterator[Catalog]:
    if in_memory:
        yield Catalog(registry)
        return
    with tempfile.TemporaryDirectory() as root:
        yield Catalog(registry, disk=PosixDisk(), root=root, busy_timeout_s=1)


def shown(row: Any) -> tuple[Any, ...]:
    return (row.id, row.state, row.version, row.digest, row.name, row.created_at, row.updated_at)


@pytest.mark.parametrize("in_memory", [False, True], ids=["file", "memory"])
@tries(100)
@given(
    registries(),
    st.lists(st.tuples(filters(), st.sampled_from(ORDERS)), min_size=1, max_size=6),
    st.integers(1, 4),
)
def test_the_catalog_gives_what_going_through_all_manifests_does(
    in_memory: bool, registry: Registry, asked: list[tuple[Filters, Order]], size: int
) -> None:
    """Every filter and every order, page by page; so is the count."""
    with catalog_of(registry, in_memory=in_memory) as catalog:
        for wanted, order in asked:
            scanned = [shown(row) for row in scan(registry, wanted, order, policy=lambda: POLICY)]
            paged: list[tuple[Any, ...]] = []
            place = None
            while True:
                page = catalog.page(wanted, order, policy=lambda: POLICY, after=place, limit=size)
                paged += map(shown, page.rows)
                rest = scan(registry, wanted, order, policy=lambda: POLICY, after=place)
                assert [shown(row) for row in islice(rest, size)] == [shown(row) for row in page.rows]
                if len(page.rows) < size:
                    break
                place = order.sort_key(page.rows[-1])

            assert paged == scanned
            assert catalog.count(wanted, policy=lambda: POLICY) == len(scanned)


@tries(60)
@given(registries(), st.sampled_from(ORDERS))
def test_an_order_is_by_its_key_and_then_by_id(registry: Registry, order: Order) -> None:
    """Worked out here once more: times and states as text, ids as text, all of it turned round."""
    states = [state for id in registry.logs if (state := registry.load(id)) is not None]
    keys: dict[str, Callable[[Any], str]] = {
        "id": lambda state: state.stream,
        "updated": lambda state: state.updated_at,
        "created": lambda state: state.created_at,
        "state": lambda state: state.state,
    }
    expected = sorted(states, key=lambda state: (keys[order.key](state), state.stream))
    if order.descending:
        expected.reverse()

    with catalog_of(registry) as catalog:
        page = catalog.page(Filters(), order, policy=lambda: POLICY, after=None, limit=100)

    assert [row.id for row in page.rows] == [state.stream for state in expected]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"state": "DRAFT"}, ["a", "d"]),
        ({"state": "IN_REVIEW"}, ["b", "c"]),
        ({"kind": "server"}, ["a", "b"]),
        ({"actor": "ben"}, ["b", "c"]),
        ({"created_since": TIMES[1], "created_until": TIMES[1]}, ["c"]),
        ({"name_prefix": "io.github.acme/"}, ["a", "b"]),
        ({"name_prefix": "d"}, ["d"]),
        ({"name_prefix": "\ud7ff"}, []),
        ({"name_prefix": "\U0010ffff"}, []),
        ({"where": {"/port": 8080}}, ["b", "c"]),
        ({"where": {"/port": True}}, []),
        ({"where": {"/port": "8080"}}, []),
        ({"where": {"/version": "1.0.0"}}, ["a"]),
        ({"where": {"/weather": None}}, ["c"]),
        ({"where": {"/skills/0": {"on": True, "id": "s"}}}, ["c"]),
        ({"where": {"": DOCUMENTS[0]}}, ["d"]),
        ({"text": "ZURICH"}, ["a"]),
        ({"text": "wett zur"}, ["a"]),
        ({"text": "eather"}, []),
        ({"text": "weather", "state": "IN_REVIEW"}, ["b", "c"]),
        ({"text": "title"}, []),
    ],
)
def test_what_each_filter_means(said: dict[str, Any], expected: list[str]) -> None:
    """With a catalog and without."""
    from registration.values.documents import check_document

    registry = Registry()
    for id, number in (("a", 1), ("b", 2), ("c", 3), ("d", 0)):
        registry.do(id, "create", document=check_document(DOCUMENTS[number]))
    for id in ("b", "c"):
        registry.do(id, "submit_for_review", actor="ben")
    registry.do("c", "approve", actor="cem")
    wanted = check_filters(CHART, **said)

    with catalog_of(registry) as catalog:
        page = catalog.page(wanted, Order(), policy=lambda: POLICY, after=None, limit=10)

    assert [row.id for row in page.rows] == expected
    assert [row.id for row in scan(registry, wanted, Order(), policy=lambda: POLICY)] == expected


def test_a_tag_filters() -> None:
    """By the tags that there are now."""
    from dataclasses import replace

    registry = Registry()
    for id, tags in (("a", ["hot"]), ("b", []), ("c", ["new", "hot"])):
        registry.do(id, "create")
        log = registry.logs[id]
        new = log.new("revise")
        log.add([replace(new, data={**new.data, "tags": tags})])
        registry.told.events.append(log.events[-1])
    wanted = Filters(tag="hot")

    with catalog_of(registry) as catalog:
        page = catalog.page(wanted, Order(), policy=lambda: POLICY, after=None, limit=10)

    assert [row.id for row in page.rows] == ["a", "c"]
    assert [row.id for row in scan(registry, wanted, Order(), policy=lambda: POLICY)] == ["a", "c"]


def test_words_are_found_without_an_index_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite comes without FTS5, the documents are gone through; once it has it, the catalog is made anew."""
    registry = Registry()
    registry.do("a", "create")
    wanted = check_filters(CHART, text="wetter zurich", where={"/version": "1.2.0"})
    with catalog_of(registry) as catalog:
        with monkeypatch.context() as without:
            without.setattr("registration.catalog.file.has_fts5", lambda _: False)
            page = catalog.page(wanted, Order(), policy=lambda: POLICY, after=None, limit=10)
            none = catalog.page(Filters(text="nothing"), Order(), policy=lambda: POLICY, after=None, limit=10)
        again = catalog.page(wanted, Order(), policy=lambda: POLICY, after=None, limit=10)

        assert [row.id for row in page.rows] == [row.id for row in again.rows] == ["a"]
        assert none.rows == []
        with closing(open_catalog(catalog)) as db:
            assert db.execute("SELECT value FROM meta WHERE key = 'words'").fetchone() == ("yes",)


def open_catalog(catalog: Catalog) -> Any:
    import sqlite3

    return sqlite3.connect(catalog.status().path)


def test_a_page_goes_through_an_index_in_every_order() -> None:
    """So it costs what it shows: nothing is sorted, and no table is gone through, however many manifests there are."""
    registry = Registry()
    for id in "abc":
        registry.do(id, "create")
    with closing(in_memory(registry.source)) as db:
        with transaction(db):
            Projection(db, registry, registry.definition).fold(registry.told.events)
        plans: list[str] = []
        db.set_trace_callback(plans.append)
        places = keep_places(db, CHART, "1")
        for order in ORDERS:
            for state in (None, "DRAFT"):
                for after in (None, (TIMES[0], "a")):
                    select_page(db, places, Filters(state=state), order, after=after, limit=2)
        db.set_trace_callback(None)
        selects = [one for one in plans if "LIMIT" in one and "ORDER BY" in one]
        told = [row[3] for one in selects for row in db.execute(f"EXPLAIN QUERY PLAN {one}")]

        assert len(selects) >= 4 * len(ORDERS) - 4
        assert not [line for line in told if "TEMP B-TREE" in line or line.startswith("SCAN")]


# -- cursors -----------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8")), st.text(), st.sampled_from(ORDERS))
def test_a_cursor_comes_back(key: str, id: str, order: Order) -> None:
    """Whatever the place is."""
    given_under = {"source": "urn:uuid:1", "filters": Filters(text="x"), "order": order}

    assert place_of(cursor_of((key, "a"), **given_under), **given_under) == (key, "a")


@pytest.mark.parametrize(
    "under",
    [
        {"source": "urn:uuid:2"},
        {"filters": Filters(state="DRAFT")},
        {"order": Order("id", descending=True)},
        {"order": Order("updated")},
    ],
)
def test_a_cursor_is_bound_to_what_it_was_given_under(under: dict[str, Any]) -> None:
    """Another registry, filters or order would silently skip or repeat manifests."""
    first: dict[str, Any] = {"source": "urn:uuid:1", "filters": Filters(), "order": Order()}
    cursor = cursor_of(("a", "a"), **first)

    with pytest.raises(InvalidArgument, match="with other filters"):
        place_of(cursor, **{**first, **under})


@pytest.mark.parametrize(
    "cursor", ["", "x", "🙂", "WzFd", "eyJhIjoxfQ", "W10", "WzEsMiwzXQ", None, 7, "=", "AAAA===="]
)
def test_what_is_no_cursor_is_refused(cursor: Any) -> None:
    """Saying so, whatever it is."""
    with pytest.raises(InvalidArgument, match="invalid page cursor"):
        place_of(cursor, source="urn:uuid:1", filters=Filters(), order=Order())


@tries(40)
@given(registries(), st.sampled_from(ORDERS), st.randoms(use_true_random=False))
def test_pages_are_stable_while_others_write(registry: Registry, order: Order, chance: random.Random) -> None:
    """Whatever did not change meanwhile comes exactly once; by id, so does everything that was there at first."""
    with catalog_of(registry) as catalog:
        before = {id: registry.load(id) for id in registry.logs}
        seen: list[str] = []
        place = None
        while True:
            page = catalog.page(Filters(), order, policy=lambda: NO_POLICY, after=place, limit=1)
            seen += [row.id for row in page.rows]
            if not page.rows:
                break
            place = order.sort_key(page.rows[-1])
            moving = chance.choice(sorted(before))
            state = registry.load(moving)
            if state is not None and state.state == "DRAFT" and chance.random() < 0.5:
                registry.do(moving, "revise")

    same = [id for id, state in before.items() if registry.load(id) == state]
    assert all(seen.count(id) == 1 for id in same)
    if order.key != "updated":
        assert sorted(seen) == sorted(before)


# -- invalid arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"state": "DRAFTS"}, "Did you mean 'DRAFT'"),
        ({"kind": 7}, "Invalid `kind` 7"),
        ({"actor": "\ud800"}, "expected text"),
        ({"created_since": "yesterday"}, "Invalid time"),
        ({"updated_until": "2026-01-01T10:00"}, "time zone"),
        ({"updated_until": 7}, "expected text"),
        ({"where": "x"}, "JSON Pointers"),
        ({"where": {"version": 1}}, "not a JSON Pointer"),
        ({"where": {7: 1}}, "expected text"),
        ({"where": {"/a": float("nan")}}, "not a JSON value"),
        ({"where": {"/a": object()}}, "not a JSON value"),
        ({"where": {"/a": "\ud800"}}, "not a JSON value"),
        ({"text": "!?"}, "contains no words"),
        ({"text": ""}, "contains no words"),
    ],
)
def test_filters_that_can_not_be_meant_are_refused(said: dict[str, Any], problem: str) -> None:
    """Naming what was said."""
    with pytest.raises(InvalidArgument, match=problem):
        check_filters(CHART, **said)


@pytest.mark.parametrize("text", ["ids", "", "-", "--id", None, 7])
def test_an_order_that_there_is_not_is_refused(text: Any) -> None:
    """Naming those that there are."""
    with pytest.raises(InvalidArgument, match="can't be sorted"):
        Order.of(text)


def test_a_day_is_the_whole_of_it() -> None:
    """Since its first microsecond, until its last."""
    found = check_filters(CHART, created_since="2026-01-31", created_until="2026-01-31")

    assert found.created_since == "2026-01-31T00:00:00.000000Z"
    assert found.created_until == "2026-01-31T23:59:59.999999Z"


def test_words_are_without_case_and_accents() -> None:
    """And without whatever separates them; long ones are cut."""
    assert list(words_in("Zürich, STRASSE straße under_score 1.10 İ ﬁ")) == [
        "zurich", "strasse", "under", "score", "1", "10", "i", "fi",
    ]  # fmt: skip
    assert list(words_in("a" * 100)) == ["a" * 64]
    assert has_words(["zur"], ["a", "zurich"])
    assert not has_words(["zur", "b"], ["a", "zurich"])


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [(1, 1.0, True), (True, 1, False), (False, False, True), (None, False, False), ("1", 1, False), ([1], (1.0,), True),
     ([1], [1, 2], False), ({"a": [True]}, {"a": [1]}, False), ({"a": 1, "b": None}, {"b": None, "a": 1.0}, True),
     ({"a": 1}, {"b": 1}, False), ({}, [], False)],
)  # fmt: skip
def test_json_values_are_equal_by_what_they_mean(one: Any, other: Any, equal: bool) -> None:
    """Numbers by value; true is no number."""
    assert is_equal(one, other) is equal
    assert is_equal(other, one) is equal


def test_one_that_can_not_be_read_is_given_whatever_the_filters(tmp_path: Path) -> None:
    """With its problem; and is a row again once it can be read."""
    registry = Registry()
    for id in "abc":
        registry.do(id, "create")
    registry.dark = {"b"}
    catalog = Catalog(registry, disk=PosixDisk(), root=str(tmp_path), busy_timeout_s=1)
    registry.told.events.insert(0, registry.logs["b"].events[0])  # so that the log itself must be looked at

    dark = catalog.page(Filters(state="REGISTERED"), Order(), policy=lambda: POLICY, after=None, limit=5)
    scanned = list(scan(registry, Filters(state="REGISTERED"), Order(), policy=lambda: POLICY))
    registry.dark = set()
    light = catalog.page(Filters(), Order(), policy=lambda: POLICY, after=None, limit=5)

    assert [one.id for one in dark.unreadable] == ["b"]
    assert [one.id for one in scanned if isinstance(one, Unreadable)] == ["b"]
    assert (dark.rows, light.unreadable) == ([], [])
    assert [row.id for row in light.rows] == ["a", "b", "c"]
    assert document_of(registry.logs["a"].events)
