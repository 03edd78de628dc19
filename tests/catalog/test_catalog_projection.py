"""The projection: whatever way events come, the catalog ends where the logs are."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.catalog.file import in_memory, transaction
from registration.catalog.projection import Projection, keep_kinds, keep_places
from registration.catalog.words import words_of
from registration.core.policy import NO_POLICY
from registration.values.events import Event
from tests.kit.builders import tries
from tests.kit.catalogs import DOCUMENTS, POLICY, Registry, document_of, facts, registries, stays


def rows(db: sqlite3.Connection, query: str, *values: object) -> list[dict[str, Any]]:
    cursor = db.execute(query, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def fold(db: sqlite3.Connection, registry: Registry, events: list[Event]) -> None:
    with transaction(db):
        Projection(db, registry, registry.definition).fold(events)


def assert_right(db: sqlite3.Connection, registry: Registry) -> None:
    """Fail unless the catalog has of every manifest what its log says, and of nothing else."""
    logs = {id: log.events for id, log in sorted(registry.logs.items()) if id not in registry.dark}
    known = rows(db, "SELECT * FROM manifests ORDER BY id")
    number = {row["id"]: row.pop("number") for row in known}
    assert [{**row, "kind": None} for row in known] == [
        {**facts(events), "kind": None} for events in logs.values()
    ]
    for id, events in logs.items():
        document = orjson.loads(
            rows(db, "SELECT * FROM documents WHERE manifest = ?", number[id])[0]["document"]
        )
        assert document == document_of(events)
        happened = rows(
            db, "SELECT version, time, action, actor, source, target FROM history WHERE id = ?", id
        )
        assert happened == [
            {
                "version": event.version,
                "time": event.time,
                "action": event.action,
                "actor": event.actor,
                "source": event.from_state,
                "target": event.to_state,
            }
            for event in events
        ]
        stayed = rows(db, "SELECT source, stayed_s FROM history WHERE id = ? AND stayed_s IS NOT NULL", id)
        assert [(row["source"], row["stayed_s"]) for row in stayed] == stays(events)
    for table in ("documents", "events"):
        named = {row["n"] for row in rows(db, f"SELECT DISTINCT manifest AS n FROM {table}")}
        assert named == set(number.values())
    db.execute("CREATE VIRTUAL TABLE temp.said USING fts5vocab(main, words, 'instance')")
    said = {(row["doc"], row["term"]) for row in rows(db, "SELECT doc, term FROM temp.said")}
    db.execute("DROP TABLE temp.said")
    assert said == {
        (number[id], word) for id, events in logs.items() for word in words_of(id, document_of(events))
    }
    assert [row["id"] for row in rows(db, "SELECT id FROM unreadable ORDER BY id")] == sorted(registry.dark)


@tries(60)
@given(registries(), st.randoms(use_true_random=False))
def test_batches_of_any_size_end_in_the_same(registry: Registry, chance: random.Random) -> None:
    """Where the borders between transactions fall makes no difference."""
    with closing(in_memory(registry.source)) as db:
        rest = list(registry.told.events)
        while rest:
            size = chance.randint(1, 6)
            fold(db, registry, rest[:size])
            rest = rest[size:]

        assert_right(db, registry)


@tries(60)
@given(registries(), st.randoms(use_true_random=False))
def test_events_that_come_twice_late_or_never_are_settled_by_the_log(
    registry: Registry, chance: random.Random
) -> None:
    """Whatever was delivered, in whichever order, a manifest of which anything was delivered last is as its log says."""
    events = list(registry.told.events)
    delivered = [event for event in events if chance.random() < 0.7]
    delivered += chance.choices(events, k=len(events) // 2) if events else []
    if chance.random() < 0.5:
        chance.shuffle(delivered)
    delivered += [log.events[-1] for log in registry.logs.values()]
    with closing(in_memory(registry.source)) as db:
        while delivered:
            size = chance.randint(1, 8)
            fold(db, registry, delivered[:size])
            delivered = delivered[size:]

        assert_right(db, registry)


@tries(30)
@given(registries(), st.randoms(use_true_random=False))
def test_a_log_that_was_cut_or_replaced_is_folded_anew(registry: Registry, chance: random.Random) -> None:
    """A repair goes on from an earlier event, and a copy tool puts back what was: nothing of the former stays behind."""
    with closing(in_memory(registry.source)) as db:
        fold(db, registry, registry.told.events)
        other = Registry()
        for id, log in registry.logs.items():
            other.do(id, "create", actor="eve")
            for _ in range(chance.randint(0, len(log.events))):
                other.do(id, "revise", actor="eve")
        delivered = [chance.choice(log.events) for log in other.logs.values()]
        fold(db, other, delivered)

        assert_right(db, other)


@tries(30)
@given(registries(), st.randoms(use_true_random=False))
def test_what_can_not_be_read_is_noted_and_comes_back(registry: Registry, chance: random.Random) -> None:
    """A manifest that can't be read has no row, and is as it was once it can be read again."""
    with closing(in_memory(registry.source)) as db:
        fold(db, registry, registry.told.events[: len(registry.told.events) // 2])
        registry.dark = {id for id in registry.logs if chance.random() < 0.5}
        with transaction(db):
            projection = Projection(db, registry, registry.definition)
            problems = {id for id in registry.logs if projection.mend(id).problem is not None}

        assert problems == registry.dark
        assert_right(db, registry)
        registry.dark = set()
        with transaction(db):
            for id in registry.logs:
                projection.mend(id)
        assert_right(db, registry)


def test_mending_what_is_right_changes_nothing() -> None:
    """And says so: the catalog had what the log says."""
    registry = Registry()
    registry.do("a", "create")
    with closing(in_memory(registry.source)) as db:
        fold(db, registry, registry.told.events)
        with transaction(db):
            projection = Projection(db, registry, registry.definition)
            same = projection.mend("a")
            absent = projection.mend("b")

        assert not same.changed
        assert not absent.changed
        registry.do("a", "revise")
        with transaction(db):
            assert projection.mend("a").changed
            assert not projection.mend("a").changed
        assert_right(db, registry)


def test_a_manifest_that_is_gone_leaves_nothing() -> None:
    """Its directory was deleted, say: no row, no word, no event of it stays."""
    registry = Registry()
    registry.do("a", "create", document=None or weather_document())
    with closing(in_memory(registry.source)) as db:
        fold(db, registry, registry.told.events)
        del registry.logs["a"]
        with transaction(db):
            changed = Projection(db, registry, registry.definition).mend("a").changed

        assert changed
        assert_right(db, registry)


def test_tags_are_those_that_the_last_event_with_tags_says() -> None:
    """An event with `tags` says all that there are after it; whatever else stands there is none."""
    registry = Registry()
    registry.do("a", "create")
    log = registry.logs["a"]
    for tags in (["new", "hot"], ["hot", "hot", 7, None], None):
        new = log.new("revise")
        log.add([new] if tags is None else [_with(new, tags=tags)])
        registry.told.events.append(log.events[-1])
    with closing(in_memory(registry.source)) as db:
        fold(db, registry, registry.told.events[:2])
        first = [row["tag"] for row in rows(db, "SELECT tag FROM tags ORDER BY tag")]
        fold(db, registry, registry.told.events[2:])
        last = [row["tag"] for row in rows(db, "SELECT tag FROM tags")]

        assert (first, last) == (["hot", "new"], ["hot"])


def test_kinds_are_worked_out_when_they_are_asked_for_and_again_for_another_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In pieces, since documents are large; a policy with the same kinds changes nothing."""
    monkeypatch.setattr("registration.catalog.projection.KINDS_AT_ONCE", 2)
    registry = Registry()
    for number, document in enumerate(DOCUMENTS):
        registry.do(f"m{number}", "create", document=_checked(document))
    with closing(in_memory(registry.source)) as db:
        fold(db, registry, registry.told.events)
        unknown = rows(db, "SELECT DISTINCT kind FROM manifests")
        keep_kinds(db, POLICY)
        kinds = [row["kind"] for row in rows(db, "SELECT kind FROM manifests ORDER BY id")]
        fold(db, registry, [registry.do("m0", "revise", document=_checked(DOCUMENTS[3]))])
        keep_kinds(db, POLICY)
        changed = rows(db, "SELECT kind FROM manifests WHERE id = 'm0'")
        keep_kinds(db, NO_POLICY)
        none = rows(db, "SELECT DISTINCT kind FROM manifests")

        assert unknown == [{"kind": ""}]
        assert kinds == [None, "server", "server", "agent", None, None]
        assert changed == [{"kind": "agent"}]
        assert none == [{"kind": None}]


def test_places_say_which_states_are_active_in_them() -> None:
    """For people's SQL; they follow the lifecycle and what there is."""
    registry = Registry()
    registry.do("a", "create")
    chart = registry.definition.chart
    with closing(in_memory(registry.source)) as db:
        fold(db, registry, registry.told.events)
        with transaction(db):
            keep_places(db, chart, "1")
        first = rows(db, "SELECT * FROM places ORDER BY 1, 2")
        fold(db, registry, [registry.do("a", "submit_for_review")])
        with transaction(db):
            keep_places(db, chart, "1")
        second = rows(db, "SELECT * FROM places ORDER BY 1, 2")

        assert first == [{"place": "DRAFT", "state": "DRAFT"}]
        assert second == [
            {"place": "REVIEWED", "state": "IN_REVIEW"},
            {"place": "REVIEWED", "state": "REVIEWED"},
        ]


def test_a_log_that_somebody_else_wrote_can_not_stop_it() -> None:
    """Times that are none, actors that are no text: folded as far as they mean anything."""
    registry = Registry()
    registry.do("a", "create")
    log = registry.logs["a"]
    new = log.new("submit_for_review", time="yesterday")
    log.add([_with(new, actor=["eve"], to="REVIEWED")])
    with closing(in_memory(registry.source)) as db:
        fold(db, registry, log.events)

        assert rows(db, "SELECT actor, updated_at FROM manifests") == [
            {"actor": None, "updated_at": "yesterday"}
        ]
        assert rows(db, "SELECT stayed_us FROM events WHERE version = 2") == [{"stayed_us": None}]


def _checked(document: dict[str, Any]) -> Any:
    from registration.values.documents import check_document

    return check_document(document)


def weather_document() -> Any:
    return _checked(DOCUMENTS[1])


def _with(new: Any, **data: Any) -> Any:
    from dataclasses import replace

    return replace(new, data={**new.data, **data})
