"""Names, aliases and tags as programs meet them: on files and in memory, and against a model."""

from __future__ import annotations

import functools
import json
import logging
import os
import random
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from registration import (
    AliasedVersion,
    AlreadyExists,
    CorruptLog,
    GuardRefused,
    InvalidArgument,
    NameTaken,
    NotFound,
    RegistrationPipeline,
    Rejected,
    StoreError,
    VersionConflict,
    open_memory,
)
from registration.core.chart import GuardUse
from registration.core.codec import decode_snapshot, encode_snapshot, scan
from registration.core.decider import fold
from registration.core.policy import Policy
from registration.engine.names.aliases import ALIASES
from registration.engine.names.reservations import Reservation, decode_reservation
from registration.pipeline.wire import names
from registration.rules.guards.builtin import role
from registration.rules.lifecycles.loading import definition_of, shipped
from registration.storage import layout
from registration.testing import FakeClock
from registration.values.events import Position
from registration.values.ids import id_of
from tests.conftest import check_store
from tests.kit.builders import tries
from tests.kit.disks import tree
from tests.storage.test_fixtures import FIXTURES
from tests.values.test_names import naive_compare

SOURCE = "urn:uuid:019b76da-a800-7000-8000-000000000001"
UPKEEP = definition_of(shipped("registration-upkeep"))


@pytest.fixture(params=["files", "memory"])
def pipeline(request, root, clock):
    """A registry in which what was registered can be withdrawn."""
    if request.param == "memory":
        store = open_memory(SOURCE, UPKEEP)
        yield RegistrationPipeline(store=store, actor="ada", clock=clock, random=random.Random(1))
        check_store(store)
        return
    with RegistrationPipeline(
        root, lifecycle="registration-upkeep", actor="ada", clock=clock, random=random.Random(1)
    ) as pipeline:
        yield pipeline


def approved(pipeline, id, version="1.0.0", name="weather", **members):
    pipeline.create(id, {"name": name, "version": version, **members})
    pipeline.submit_for_review(id)
    return pipeline.approve(id)


def registered(pipeline, id, version="1.0.0", name="weather", **members):
    approved(pipeline, id, version, name, **members)
    return pipeline.register(id)


# -- one holder ------------------------------------------------------------------------------------------


def test_a_name_has_one_holder(pipeline):
    """The second one is refused before anything is written, and told who holds the name."""
    registered(pipeline, "a")
    before = approved(pipeline, "b").snapshot

    with pytest.raises(NameTaken) as refused:
        pipeline.register("b")

    assert isinstance(refused.value, AlreadyExists)
    assert refused.value.details["holder"] == "a"
    assert refused.value.details["name"] == "weather@1.0.0"
    assert "'weather@1.0.0', which is held by 'a' (REGISTERED)" in refused.value.problem
    assert pipeline.load_state("b") == before
    assert pipeline.names.status("weather@1.0.0").holder.manifest_id == "a"


def test_why_tells_that_the_name_is_taken(pipeline):
    """Before anybody tries: as an answer among those of the guards."""
    registered(pipeline, "a")
    approved(pipeline, "b")
    approved(pipeline, "c", "2.0.0")

    refused, allowed = pipeline.explain("b", "register")[0], pipeline.explain("c", "register")[0]

    assert not refused.allowed
    assert refused.refusals[0].reason == "the name 'weather@1.0.0' is held by 'a'"
    assert refused.as_json()["verdicts"][-1]["evidence"] == {
        "name": "weather@1.0.0",
        "holder": "a",
        "state": "REGISTERED",
    }
    assert allowed.allowed
    assert pipeline.explain("a", "deprecate", reason="r")[0].allowed


def test_a_name_that_was_let_go_of_is_free(pipeline):
    """For another manifest, and for the same one, with another document as well."""
    registered(pipeline, "a")
    approved(pipeline, "b")
    pipeline.act("a", "withdraw", reason="a hole")
    assert not pipeline.names.status("weather@1.0.0").unfinished
    with pytest.raises(NotFound):
        pipeline.names.resolve("weather@1.0.0")

    pipeline.register("b")
    assert pipeline.names.resolve("weather@1.0.0").manifest_id == "b"
    pipeline.act("a", "reinstate")
    pipeline.revise("a", {"name": "weather", "version": "2.0.0"})
    pipeline.submit_for_review("a")
    pipeline.approve("a")
    pipeline.register("a")

    assert pipeline.names.resolve("weather@2.0.0").manifest_id == "a"
    assert pipeline.names.resolve("weather").version == "2.0.0"


def test_documents_without_a_name_do_not_meet(pipeline):
    """They claim nothing, and both are registered."""
    for id in ("a", "b"):
        pipeline.create(id, {"title": "nameless"})
        pipeline.submit_for_review(id)
        pipeline.approve(id)
        pipeline.register(id)

    assert list(pipeline.names.held()) == []
    assert list(pipeline.names.known()) == []


def test_a_name_without_a_version_is_a_name(pipeline):
    """It resolves by itself, and stands below all versions of that name."""
    pipeline.create("a", {"name": "weather"})
    pipeline.submit_for_review("a")
    pipeline.approve("a")
    pipeline.register("a")

    found = pipeline.names.resolve("weather")
    assert (found.manifest_id, found.version, found.full_name, found.alias) == (
        "a",
        None,
        "weather",
        "latest",
    )
    registered(pipeline, "b", "0.0.1-rc")

    assert pipeline.names.resolve("weather").manifest_id == "b"
    assert [one.full_name for one in pipeline.names.held("weather")] == ["weather", "weather@0.0.1-rc"]


def test_the_first_answer_is_given_again(pipeline):
    """A repeated registration with its key is no second reservation."""
    approved(pipeline, "a")

    first = pipeline.register("a", idempotency_key="k")
    again = pipeline.register("a", idempotency_key="k")

    assert again.replayed
    assert again.event == first.event


def test_threads_that_want_a_name(pipeline, restless_threads):
    """One of them gets it, in one process as well."""
    for index in range(6):
        approved(pipeline, f"m{index}")
    taken, got = [], []

    def register(id):
        try:
            pipeline.register(id)
            got.append(id)
        except NameTaken as error:
            taken.append(error.details["holder"])

    threads = [threading.Thread(target=register, args=(f"m{index}",)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 1
    assert taken == got * 5


def test_a_handler_may_want_the_name(pipeline):
    """Handlers are told outside of every lock, that of the reservation as well."""
    approved(pipeline, "b")
    refused = []

    def register_too(change):
        if change.to_state == "REGISTERED" and change.manifest_id == "a":
            assert pipeline.names.resolve("weather").manifest_id == "a"
            try:
                pipeline.register("b")
            except NameTaken as error:
                refused.append(error.details["holder"])

    pipeline.on("state_change", register_too)
    registered(pipeline, "a")

    assert refused == ["a"]


def test_a_reservation_whose_event_met_a_conflict_is_decided_again(pipeline):
    """Somebody else tagged it in between: the reservation is kept for the second try, and so is the promise."""
    approved(pipeline, "a")
    names, store = pipeline._registry.names, pipeline._registry.store
    whole = names.held_for
    seen = []

    @functools.wraps(whole)
    def slow(stream, after, events):
        if "claimed" in events[0].data and not seen:
            seen.append(after.version)
            pipeline._registry.engine.reservations = names
            RegistrationPipeline(store=store, clock=FakeClock(), actor="dan").tag("a", "in-between")
        return whole(stream, after, events)

    names.held_for = slow
    result = pipeline.register("a")

    assert (result.attempts, seen) == (2, [3])
    assert (result.event.version, result.snapshot.tags) == (5, ("in-between",))
    assert pipeline.names.resolve("weather@1.0.0").manifest_id == "a"


def test_a_reservation_is_removed_where_its_event_is_not_decided_again(pipeline):
    """The manifest moved on to where it can't be registered: nothing is left of the reservation."""
    approved(pipeline, "a")
    names, store = pipeline._registry.names, pipeline._registry.store
    whole = names.held_for
    other = RegistrationPipeline(store=store, clock=FakeClock(), actor="dan")

    def slow(stream, after, events):
        names.held_for = whole
        other.reject("a", reason="in between")
        return whole(stream, after, events)

    names.held_for = slow
    with pytest.raises(Rejected):
        pipeline.register("a")
    assert not pipeline._registry.names.reservations.exists("weather@1.0.0")
    pipeline.transition_state("a", "REVIEWED")
    pipeline.transition_state("a", "APPROVED")
    names.held_for = slow
    with pytest.raises(VersionConflict):
        pipeline.register("a", expected_version=pipeline.load_state("a").version)

    assert not pipeline._registry.names.reservations.exists("weather@1.0.0")


def test_a_manifest_that_holds_the_name_it_is_called_by_is_found_without_its_reservation(pipeline):
    """Where `names/` was lost, and manifests are called what their documents are, a second holder is refused all the same."""
    registered(pipeline, "weather@1.0.0")
    with pipeline._registry.store.records.held(layout.name_record("weather@1.0.0")) as cell:
        cell.remove()
    approved(pipeline, "b")

    with pytest.raises(NameTaken):
        pipeline.register("b")

    assert [step.done for step in pipeline.upkeep.recover("weather@1.0.0").steps] == ["made again"]


@pytest.mark.damaged
def test_two_holders_are_damage(root):
    """Which can't come from a crash: the reservation was removed, and somebody else was faster than `recover`."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        registered(pipeline, "a")
        shutil.rmtree(root / "names")
        registered(pipeline, "b")

        damage = pipeline.evidence.verify("a")
        steps = pipeline.upkeep.recover("a").steps

        assert damage.damaged
        assert damage.findings[0].path == "names/weather/1.0.0.json"
        assert damage.findings[0].reason == "the name 'weather@1.0.0' is held by 'b' and by 'a'"
        assert [(step.found, step.done) for step in steps] == [
            (
                "the name 'weather@1.0.0' is held by 'b' as well",
                "unchanged: one of them must release it",
            )
        ]
        assert pipeline.evidence.verify("b").findings == ()


@pytest.mark.damaged
def test_whether_a_damaged_holder_holds_a_name_is_not_guessed(root):
    """The reservation leads to a log that can't be read: nobody gets the name, and the damage is named."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        registered(pipeline, "a")
        approved(pipeline, "b")
        log = root / "manifests" / "a" / "events.jsonl"
        log.write_bytes(log.read_bytes()[:-9])

        with pytest.raises(CorruptLog):
            pipeline.register("b")
        with pytest.raises(CorruptLog):
            pipeline.names.resolve("weather@1.0.0")

        assert pipeline.load_state("b").state == "APPROVED"


def test_a_reservation_is_what_it_says():
    """Its bytes are the same for ever, and nothing else is taken for one."""
    reservation = Reservation("weather@1.0.0", "a", 3, "f" * 64, "2026-01-01T00:00:00.000000Z")
    raw = reservation.encode()

    assert decode_reservation(raw, "weather@1.0.0") == reservation
    assert decode_reservation(raw, "weather@1.0.1") is None
    assert decode_reservation(raw.replace(b'"a"', b'"b"'), "weather@1.0.0") is None
    assert decode_reservation(raw.replace(b'"format": 1', b'"format": 2'), "weather@1.0.0") is None
    assert json.loads(raw)["after"] == {"version": 3, "head": "f" * 64}


# -- resolving -------------------------------------------------------------------------------------------


def test_what_a_name_stands_for(pipeline):
    """The manifest, where it stands, and the bytes that the name was claimed for."""
    registered(pipeline, "old", "1.9.0")
    last = registered(pipeline, "a", "1.10.0")
    pipeline.act("a", "suspend", reason="for the time being")

    exact, bare = pipeline.names.resolve("weather@1.10.0"), pipeline.names.resolve("weather")

    assert names.resolution(exact) == {
        "full_name": "weather@1.10.0",
        "name": "weather",
        "version": "1.10.0",
        "alias": None,
        "manifest_id": "a",
        "state": "SUSPENDED",
        "manifest_version": 5,
        "digest": last.snapshot.digest,
        "same_document": True,
        "time": last.event.time,
    }
    assert bare == replace(exact, alias="latest")
    assert pipeline.names.resolve("weather@latest") == bare


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("weather@1.0.1", "'weather@1.0.1' is not held. Did you mean '1.0.0'?"),
        ("weather@stabel", "'weather@stabel' is not held. Did you mean 'stable'?"),
        ("wether", "No manifest holds the name 'wether'. Did you mean 'weather'?"),
        ("wether@1.0.0", "No manifest holds the name 'wether@1.0.0'. Did you mean 'weather'?"),
        ("zzz@1", "No manifest holds the name 'zzz@1'. A manifest holds the name of"),
    ],
)
def test_what_was_probably_meant_is_suggested(pipeline, asked, said):
    """Names, versions and aliases."""
    registered(pipeline, "a")
    pipeline.names.set_alias("weather", "stable", "1.0.0")

    with pytest.raises(NotFound) as missing:
        pipeline.names.resolve(asked)

    assert str(missing.value).startswith(said)


@pytest.mark.parametrize("others", [30, pytest.param(1_000, marks=pytest.mark.slow)])
def test_resolving_reads_as_many_files_however_many_manifests_there_are(root, clock, others):
    """The cost is that of the name alone: no other manifest is opened, and none is listed."""
    with RegistrationPipeline(root, actor="ada", clock=clock) as pipeline:
        registered(pipeline, "a")
        registered(pipeline, "b", "1.1.0")
        pipeline.names.set_alias("weather", "stable", "1.0.0")

        def opened(text):
            calls = []
            disk = pipeline._registry.store.backend.disk
            pipeline._registry.names.logs.store.backend.disk = pipeline._registry.store.backend.disk
            kinds = ("open", "names", "status_at", "lock")
            whole = {kind: getattr(disk, kind) for kind in kinds}
            for kind in kinds:
                setattr(disk, kind, _counting(whole[kind], calls, kind))
            pipeline.names.resolve(text)
            for kind in kinds:
                delattr(disk, kind)
            assert "lock" not in calls
            return len(calls)

        asked = ("weather", "weather@1.0.0", "weather@stable", "weather@latest")
        few = [opened(text) for text in asked]
        for number in range(others):
            registered(pipeline, f"m{number}", name=f"n{number}")
        many = [opened(text) for text in asked]

    assert many == few
    assert few[1] < 12


def _counting(call, calls, kind):
    def counted(*args, **options):
        calls.append(kind)
        return call(*args, **options)

    return counted


def test_a_registry_that_can_not_be_written_resolves_all_the_same(root, clock):
    """What a crash left is not shown, and setting it right is left to others."""
    with RegistrationPipeline(root, actor="ada", clock=clock) as pipeline:
        registered(pipeline, "a")
        registered(pipeline, "b", "2.0.0")
        shutil.rmtree(root / "aliases")
        left = root / "names" / "weather" / "3.0.0.json"
        left.write_bytes(Reservation("weather@3.0.0", "a", 1, "", "2026").encode())
        writing = []

        def refuse(call):
            def refused(path, flags, *args, **options):
                if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                    writing.append(path)
                    raise PermissionError(30, "Read-only file system", path)
                return call(path, flags, *args, **options)

            return refused

        disk = pipeline._registry.store.backend.disk
        disk.open = refuse(disk.open)
        disk.make_directory = refuse(lambda *_args, **_options: None)
        before = tree(root)

        assert pipeline.names.resolve("weather").manifest_id == "b"
        with pytest.raises(NotFound):
            pipeline.names.resolve("weather@3.0.0")

        assert writing
        assert tree(root) == before
        del disk.open, disk.make_directory
        assert pipeline.names.resolve("weather").manifest_id == "b"
        with pytest.raises(NotFound):
            pipeline.names.resolve("weather@3.0.0")
        assert not left.exists()
        assert pipeline.names.aliases("weather")["latest"].version == "2.0.0"


def test_the_document_of_a_name_may_change_under_it(root, clock):
    """In a lifecycle in which what is registered can be revised: the name is of the bytes that it was claimed for."""
    lifecycle = {
        "name": "loose",
        "states": [{"name": "ON"}, {"name": "OFF"}],
        "actions": [
            {"name": "create", "past": "registered", "document": True, "moves": [{"to": "ON"}]},
            {"name": "revise", "past": "revised", "document": True, "moves": [{"from": "ON", "to": "ON"}]},
            {
                "name": "rename",
                "past": "renamed",
                "document": True,
                "claims": True,
                "moves": [{"from": "ON", "to": "ON"}],
            },
            {"name": "end", "past": "withdrawn", "moves": [{"from": "ON", "to": "OFF"}]},
            {"name": "begin", "past": "begun", "moves": [{"from": "OFF", "to": "ON"}]},
        ],
    }
    with RegistrationPipeline(root, lifecycle=lifecycle, actor="ada", clock=clock) as pipeline:
        first = pipeline.create("a", {"name": "w", "version": "1"})
        pipeline.names.set_alias("w", "stable", "1")
        pipeline.revise("a", {"name": "w", "version": "2"})

        found = pipeline.names.resolve("w@1")
        assert (found.digest, found.same_document) == (first.digest, False)
        assert pipeline.names.resolve("w@stable").manifest_id == "a"
        with pytest.raises(NotFound):
            pipeline.names.resolve("w@2")

        pipeline.act("a", "rename", document={"name": "w", "version": "2"})
        assert pipeline.names.resolve("w").version == "2"
        with pytest.raises(NotFound, match="which is no longer held"):
            pipeline.names.resolve("w@stable")
        with pytest.raises(NotFound):
            pipeline.names.resolve("w@1")
        pipeline.create("b", {"name": "w", "version": "1"})
        with pytest.raises(NotFound, match="which 'b' holds now"):
            pipeline.names.resolve("w@stable")
        with pytest.raises(NameTaken):
            pipeline.act("b", "rename", document={"name": "w", "version": "2"})
        with pytest.raises(NameTaken):
            pipeline.create("c", {"name": "w", "version": "2"})
        pipeline.names.set_alias("w", "stable", "2")
        pipeline.act("a", "rename", document={"name": "w", "version": "2", "more": 1})
        with pytest.raises(NotFound, match="whose document has changed"):
            pipeline.names.resolve("w@stable")

        assert pipeline.names.aliases("w")["latest"].digest == pipeline.load_state("a").digest


# -- aliases ---------------------------------------------------------------------------------------------


def test_latest_moves_by_itself(pipeline):
    """By an event that each registration causes, where that is of a better version; and back, where that is let go of."""
    causes = [registered(pipeline, "a", "1.0.0").event]
    registered(pipeline, "older", "0.9.0")
    registered(pipeline, "rc", "2.0.0-rc.1")
    causes.append(registered(pipeline, "b", "1.1.0").event)
    pipeline.act("older", "withdraw", reason="old")
    causes.append(pipeline.act("b", "withdraw", reason="a hole").event)
    causes.append(pipeline.act("a", "withdraw", reason="a hole").event)
    causes.append(pipeline.act("rc", "withdraw", reason="all over").event)

    events = list(pipeline.names.alias_history("weather"))

    assert [event.data.get("target", {}).get("version") for event in events] == [
        "1.0.0",
        "1.1.0",
        "1.0.0",
        "2.0.0-rc.1",
        None,
    ]
    assert [event.action for event in events] == ["move"] * 4 + ["remove"]
    assert [event.causation_id for event in events] == [cause.id for cause in causes]
    assert [event.correlation_id for event in events] == [cause.correlation_id for cause in causes]
    assert {(event.data["alias"], event.actor) for event in events} == {("latest", None)}
    assert pipeline.names.aliases("weather") == {}
    assert events[0].type == "aliases.moved.v1"


def test_versions_that_are_no_semantic_ones_are_ordered_by_time(pipeline):
    """Whoever was registered last is the latest, until there is a version that can be compared."""
    for id, version in (("a", "2026-11"), ("b", "2026-02"), ("c", "v9.9.9")):
        registered(pipeline, id, version)
        assert pipeline.names.resolve("weather").manifest_id == id
    registered(pipeline, "d", "0.0.1")
    registered(pipeline, "e", "2027-01")

    assert pipeline.names.resolve("weather").manifest_id == "d"


def test_an_alias_is_set_by_people(pipeline):
    """With who and why; where it points there already, nothing is written."""
    registered(pipeline, "a", "1.0.0")
    registered(pipeline, "b", "1.1.0")

    target = pipeline.names.set_alias(
        "weather", "stable", "1.0.0", actor="bea", reason="a week in use", comment="c"
    )
    assert target == AliasedVersion("1.0.0", "a", pipeline.load_state("a").digest)
    assert pipeline.names.set_alias("weather", "stable", "1.0.0", actor="cyd") == target
    assert pipeline.names.set_alias("weather", "lts", "stable") == target
    assert pipeline.names.set_alias("weather", "next", "latest").manifest_id == "b"
    pipeline.names.remove_alias("weather", "lts", actor="bea", reason="no more")

    assert pipeline.names.resolve("weather@stable").alias == "stable"
    assert pipeline.names.aliases_of(pipeline.load_state("a")) == ["stable"]
    assert pipeline.names.aliases_of(pipeline.load_state("b")) == ["latest", "next"]
    moved = [event for event in pipeline.names.alias_history("weather") if event.data["alias"] == "stable"]
    assert [(event.actor, event.data["reason"], event.data["comment"]) for event in moved] == [
        ("bea", "a week in use", "c")
    ]
    last = list(pipeline.names.alias_history("weather"))[-1]
    assert (last.action, last.data["alias"], last.actor, last.to_state) == ("remove", "lts", "bea", "REMOVED")


@pytest.mark.parametrize(
    ("name", "alias", "version", "error"),
    [
        ("weather", "latest", "1.0.0", "moves by itself"),
        ("weather", "v2", "1.0.0", "is an invalid alias"),
        ("weather", "1.0", "1.0.0", "is an invalid alias"),
        ("weather@1.0.0", "stable", "1.0.0", "includes a version; aliases belong to a name"),
        ("weather", "beta", "1.0.0", "has a version named 'beta'"),
        ("weather", "stable", "", "is not a version"),
        ("weather", "stable", "1@", "is not a version"),
        ("weather", "stable", "x y", "is an invalid name"),
        ("wea ther", "stable", "1.0.0", "is an invalid manifest id"),
    ],
)
def test_what_can_be_no_alias_is_refused(pipeline, name, alias, version, error):
    """Whoever reads it later should not have to guess."""
    registered(pipeline, "a", "1.0.0")
    registered(pipeline, "b", "beta")

    with pytest.raises(InvalidArgument, match=error):
        pipeline.names.set_alias(name, alias, version)

    assert set(pipeline.names.aliases("weather")) == {"latest"}


def test_an_alias_goes_before_a_version_of_that_name(pipeline):
    """Nobody takes `stable` over by registering a version that is called so."""
    registered(pipeline, "a", "1.0.0")
    pipeline.names.set_alias("weather", "stable", "1.0.0")

    registered(pipeline, "b", "stable")
    registered(pipeline, "c", "latest")

    assert pipeline.names.resolve("weather@stable").manifest_id == "a"
    assert pipeline.names.resolve("weather@latest").manifest_id == "a"
    pipeline.names.remove_alias("weather", "stable")
    assert pipeline.names.resolve("weather@stable").manifest_id == "b"
    assert pipeline.names.status("weather@latest").holder.manifest_id == "c"


@pytest.mark.parametrize(
    ("alias", "error"), [("stabel", NotFound), ("latest", InvalidArgument), ("1.0", InvalidArgument)]
)
def test_an_alias_that_is_not_there_can_not_be_taken_away(pipeline, alias, error):
    """The nearest is suggested."""
    registered(pipeline, "a")
    pipeline.names.set_alias("weather", "stable", "1.0.0")

    with pytest.raises(error):
        pipeline.names.remove_alias("weather", alias)
    with pytest.raises(NotFound):
        pipeline.names.remove_alias("never", "stable")
    with pytest.raises(NotFound):
        pipeline.names.set_alias("weather", "stable", "9.9.9")
    with pytest.raises(InvalidArgument, match="actor"):
        pipeline.names.set_alias("weather", "stable", "1.0.0", actor="")

    assert list(pipeline.names.alias_history("never")) == []


def test_a_crash_between_registration_and_latest_is_healed_by_who_resolves(pipeline, caplog):
    """The registration stands, is said to be so, and its alias follows, with its cause."""
    registered(pipeline, "a", "1.0.0")
    names = pipeline._registry.names
    whole = names.move_latest

    def fail(name, **_options):
        raise StoreError(f"no room for {name}")

    names.move_latest = fail
    with caplog.at_level(logging.WARNING):
        event = registered(pipeline, "b", "2.0.0").event
        gone = pipeline.act("a", "withdraw", reason="r").event
    assert "the consequences of version 4 are postponed" in caplog.text
    assert pipeline.names.aliases("weather")["latest"].version == "1.0.0"
    names.move_latest = whole
    assert [one.reason for one in pipeline.upkeep.verify_name("weather")] == [
        "`latest` of 'weather' does not point at its latest version"
    ]

    assert pipeline.names.resolve("weather").manifest_id == "b"

    last = list(pipeline.names.alias_history("weather"))[-1]
    assert last.data["target"]["version"] == "2.0.0"
    assert last.causation_id in {event.id, gone.id}
    names.move_latest = fail
    gone = pipeline.act("b", "withdraw", reason="r").event
    names.move_latest = whole
    assert [step.done for step in pipeline.upkeep.recover_name("weather")] == ["moved"]
    assert list(pipeline.names.alias_history("weather"))[-1].causation_id == gone.id
    assert pipeline.names.aliases("weather") == {}


def test_an_alias_that_others_move_meanwhile_is_decided_again(pipeline):
    """Within the bounds of the retry policy; then it is a conflict."""
    registered(pipeline, "a")
    names = pipeline._registry.names
    engine = names.logs.engine
    whole, calls = engine.execute, []

    def overtaken(command, *_):
        calls.append(command)
        if len(calls) < 3:
            raise VersionConflict(command.stream, 1)
        return whole(command)

    engine.execute = overtaken
    names.logs._sleep = lambda _wait_s: None
    assert pipeline.names.set_alias("weather", "stable", "1.0.0").version == "1.0.0"
    assert len(calls) == 3
    engine.execute = lambda command, *_: overtaken(calls.clear() or command)

    with pytest.raises(VersionConflict):
        pipeline.names.set_alias("weather", "other", "1.0.0")


def test_registrations_at_once_leave_latest_at_the_best(pipeline, restless_threads):
    """However their alias events overtake each other."""
    versions = [f"1.{minor}.0" for minor in range(8)]
    for version in versions:
        approved(pipeline, version, version)
    random.Random(3).shuffle(versions)

    threads = [threading.Thread(target=pipeline.register, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert pipeline.names.aliases("weather")["latest"].version == "1.7.0"


# -- what is listed, and what is left ----------------------------------------------------------------------


def test_names_are_listed_with_their_holders(pipeline):
    """In the order of names, and of versions."""
    for id, name, version in (
        ("a", "weather", "1.10.0"),
        ("b", "weather", "1.9.0"),
        ("c", "acme/notes", "2.0.0"),
        ("d", "weather", "2.0.0-rc"),
        ("e", "weather", "odd"),
    ):
        registered(pipeline, id, version, name)

    everything = [(one.full_name, one.holder.manifest_id) for one in pipeline.names.held()]

    assert everything == [
        ("acme/notes@2.0.0", "c"),
        ("weather@odd", "e"),
        ("weather@2.0.0-rc", "d"),
        ("weather@1.9.0", "b"),
        ("weather@1.10.0", "a"),
    ]
    assert [one.full_name for one in pipeline.names.held("acme/notes")] == ["acme/notes@2.0.0"]
    assert list(pipeline.names.held("nothing")) == []
    assert names.name(pipeline.names.status("weather@9")) == {
        "full_name": "weather@9",
        "held": False,
        "unfinished": False,
        "holder": None,
    }


def test_what_a_dead_process_left_is_told_and_taken_back(pipeline):
    """A reservation without its event is unfinished, and worth nothing."""
    approved(pipeline, "a")
    state = pipeline.load_state("a")
    with (
        pytest.raises(KeyboardInterrupt),
        pipeline._registry.names.reservations.reserved("weather@1.0.0", "a", state.position, "2026"),
    ):
        raise KeyboardInterrupt

    assert pipeline.names.status("weather@1.0.0").unfinished
    assert [one.kind for one in pipeline.upkeep.verify_name("weather")] == ["unfinished"]
    assert [step.done for step in pipeline.upkeep.recover_name("weather", dry_run=True)] == ["removed"]
    assert pipeline.names.status("weather@1.0.0").unfinished
    assert [step.done for step in pipeline.upkeep.recover_name("weather")] == ["removed"]
    assert pipeline.upkeep.recover_name("weather") == ()
    assert not pipeline.names.status("weather@1.0.0").unfinished


def test_whoever_resolves_does_not_wait_for_who_registers(root):
    """A reservation that somebody is at is left alone, and its name is not held yet."""
    with (
        RegistrationPipeline(root, actor="ada") as pipeline,
        RegistrationPipeline(root, actor="bea") as other,
    ):
        approved(pipeline, "a")
        position = pipeline.load_state("a").position
        with pipeline._registry.names.reservations.reserved("weather@1.0.0", "a", position, "2026"):
            with pytest.raises(NotFound):
                other.names.resolve("weather@1.0.0")
            assert other.names.status("weather@1.0.0").unfinished
            with pytest.raises(NotFound):
                other.names.resolve("weather")
        assert pipeline.upkeep.recover_name("weather")


def test_strays_among_names_are_named(root):
    """What stands in `names/` or `aliases/` and is none of ours."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        registered(pipeline, "a")
        (root / "names" / "weather" / "notes.txt").write_text("x")
        (root / "names" / "weather" / "1%2f0.json").write_text("x")
        (root / "names" / "-x").mkdir()
        (root / "names" / "file").write_text("x")
        (root / "aliases" / "-y").mkdir()
        (root / "aliases" / "weather" / "more").write_text("x")

        assert sorted(stray.path for stray in pipeline.upkeep.strays()) == [
            "aliases/-y",
            "aliases/weather/more",
            "names/-x",
            "names/file",
            "names/weather/1%2f0.json",
            "names/weather/notes.txt",
        ]


@pytest.mark.damaged
def test_damage_to_the_aliases_is_named(root):
    """Every byte of their logs is checked; what a name stands for needs none of them."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        registered(pipeline, "a")
        log = root / "aliases" / "weather" / "events.jsonl"
        log.write_bytes(log.read_bytes().replace(b"latest", b"lAtest", 1))

        damage = pipeline.upkeep.verify_name("weather")[0]
        assert (damage.kind, damage.path) == ("damage", "aliases/weather/events.jsonl")
        assert pipeline.names.resolve("weather@1.0.0").manifest_id == "a"
        assert pipeline.names.resolve("weather").manifest_id == "a"
        with pytest.raises(CorruptLog):
            pipeline.upkeep.recover_name("weather")
        assert pipeline.upkeep.recover("a").state.state == "REGISTERED"


def test_a_reservation_that_is_not_a_file_is_said(root):
    """A directory stands where a reservation belongs."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        approved(pipeline, "a")
        (root / "names" / "weather" / "1.0.0.json").mkdir(parents=True)

        with pytest.raises(StoreError, match=r"names/weather/1\.0\.0\.json"):
            pipeline.register("a")

        (root / "names" / "weather" / "1.0.0.json").rmdir()
        os.mkfifo(root / "names" / "weather" / "1.0.0.json")
        with pytest.raises(StoreError, match="is not a regular file"):
            pipeline.register("a")
        (root / "names" / "weather" / "1.0.0.json").unlink()


def test_a_pipeline_that_is_closed_answers_nothing(pipeline):
    """As for every other call."""
    pipeline.close()

    for call in (
        lambda: pipeline.names.resolve("a"),
        lambda: list(pipeline.names.held()),
        lambda: pipeline.names.set_alias("a", "b", "1"),
        lambda: pipeline.tag("a", "b"),
        lambda: pipeline.names.aliases("a"),
        pipeline.names.known,
        lambda: pipeline.upkeep.verify_name("a"),
    ):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_a_time_out_lets_go_of_a_name(root, clock):
    """Recorded by whoever writes next, and `latest` follows."""
    lifecycle = {
        "name": "lease",
        "states": [{"name": "ON"}, {"name": "OFF"}],
        "actions": [
            {"name": "create", "past": "registered", "document": True, "moves": [{"to": "ON"}]},
            {"name": "renew", "past": "renewed", "claims": True, "moves": [{"from": "OFF", "to": "ON"}]},
        ],
        "timeouts": [
            {"name": "expire", "past": "expired", "state": "ON", "after": "1d", "to": "OFF", "releases": True}
        ],
    }
    with RegistrationPipeline(root, lifecycle=lifecycle, actor="ada", clock=clock) as pipeline:
        pipeline.create("a", {"name": "w", "version": "1"})
        clock.advance(2 * 86_400)
        pipeline.create("b", {"name": "w", "version": "2"})
        assert pipeline.upkeep.tick("a", dry_run=True)
        assert pipeline.names.resolve("w@1").manifest_id == "a"

        (event,) = pipeline.upkeep.tick("a")

        assert event.data["released"] == "w@1"
        with pytest.raises(NotFound):
            pipeline.names.resolve("w@1")
        pipeline.act("a", "renew")
        assert pipeline.names.resolve("w@1").manifest_id == "a"


# -- tags ------------------------------------------------------------------------------------------------


def test_tags_from_programs(pipeline):
    """One or several, with all that accompanies a command; the key gives the first answer again."""
    pipeline.create("a", {"name": "w"})

    first = pipeline.tag("a", "team/maps", actor="dan", reason="r", idempotency_key="k")
    more = pipeline.tag("a", {"x", "y"}, expected_version=2)
    again = pipeline.tag("a", ["team/maps"], actor="dan", reason="r", idempotency_key="k")
    less = pipeline.untag("a", ("x", "z"))

    assert first.snapshot.tags == ("team/maps",)
    assert more.snapshot.tags == ("team/maps", "x", "y")
    assert again.replayed
    assert less.snapshot.tags == ("team/maps", "y")
    assert (less.event.action, less.from_state, less.to_state) == ("untag", "DRAFT", "DRAFT")
    with pytest.raises(VersionConflict):
        pipeline.tag("a", "z", expected_version=2)
    with pytest.raises(InvalidArgument):
        pipeline.tag("a", "no tag")
    with pytest.raises(NotFound, match="Did you mean 'a'"):
        pipeline.tag("a1", "x")


def test_the_policy_governs_tags(root):
    """And `why` tells who could give them."""
    policy = Policy(
        roles={"librarian": ("dan",)},
        uses={"tag": (GuardUse("role", {"any": ["librarian"]}),)},
        guards={"role": role},
    )
    with RegistrationPipeline(root, policy=policy, actor="ada") as pipeline:
        pipeline.create("a", {"name": "w"})
        with pytest.raises(GuardRefused):
            pipeline.tag("a", "x")
        pipeline.tag("a", "x", actor="dan")

        assert pipeline.explain("a", "tag", actor="ada")[0].who.actors == ("dan",)
        assert pipeline.explain("a", "untag", actor="ada")[0].allowed
        with pytest.raises(InvalidArgument):
            pipeline.explain("a", "tagg")


# -- what was written stays readable -----------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("registries/*/aliases/*/events.jsonl")), ids=str)
def test_kept_aliases_fold_to_the_kept_snapshot_to_the_byte(path: Path):
    """The logs of aliases are read for ever, as those of manifests."""
    raw, kept = path.read_bytes(), (path.parent / "state.json").read_bytes()
    source = json.loads((path.parents[2] / "registry.json").read_bytes())["id"]
    stream = id_of(path.parent.name)
    said = {"stream": stream, "source": f"urn:uuid:{source}"}

    found = scan(raw, **said, after=Position())

    assert found.fault is None
    assert encode_snapshot(fold(ALIASES, None, found.events)) == kept
    assert encode_snapshot(decode_snapshot(kept, **said, definition="aliases")) == kept


@pytest.mark.parametrize(
    ("registry", "resolved"),
    [
        (
            "format-1-names",
            {
                "io.github.acme/weather": "weather-1.3",
                "io.github.acme/weather@stable": "io.github.acme/weather@1.2.0",
                "io.github.acme/weather@2.0.0-rc.1": "weather-2-rc",
                "plain": "other",
            },
        ),
        (
            "format-1-names-upkeep",
            {"io.github.acme/weather": "third", "io.github.acme/weather@1.0.0": "first"},
        ),
    ],
)
def test_kept_names_resolve(registry, resolved, tmp_path):
    """And nothing about them must be set right."""
    shutil.copytree(FIXTURES / "registries" / registry, tmp_path / "r")
    before = tree(tmp_path / "r")

    with RegistrationPipeline(tmp_path / "r", create=False) as pipeline:
        found = {name: pipeline.names.resolve(name).manifest_id for name in resolved}
        findings = [
            finding for name in pipeline.names.known() for finding in pipeline.upkeep.verify_name(name)
        ]
        steps = [
            step
            for name in pipeline.names.known()
            for step in pipeline.upkeep.recover_name(name, dry_run=True)
        ]

    assert found == resolved
    assert findings == steps == []
    assert tree(tmp_path / "r") == before


def test_a_registry_of_before_names_goes_on(tmp_path):
    """What was registered then holds no name; what is registered now does."""
    shutil.copytree(FIXTURES / "registries" / "format-1", tmp_path / "r")

    with RegistrationPipeline(tmp_path / "r", create=False, actor="ada") as pipeline:
        assert pipeline.load_state("io.github.acme/weather@1.2.0").name is None
        with pytest.raises(NotFound):
            pipeline.names.resolve("io.github.acme/weather@1.2.0")
        pipeline.approve("ledger-notes@0.3.1")
        pipeline.register("ledger-notes@0.3.1")

        assert pipeline.names.resolve("ledger-notes").manifest_id == "ledger-notes@0.3.1"
        assert layout.name_record("ledger-notes@0.3.1")[0] != layout.MANIFESTS


# -- a model -----------------------------------------------------------------------------------------------

VERSIONS = (
    "0.9.0",
    "1.0.0",
    "1.0.0+b",
    "1.1.0-rc.1",
    "1.1.0-rc.10",
    "1.1.0-rc.2",
    "1.1.0",
    "odd",
    "other",
    None,
)


class NamesMachine(RuleBasedStateMachine):
    """A registry in memory against dictionaries: who holds what, where `latest` and the other aliases point.

    The order of versions is asked of the sentences of the specification, not of the code that is tried.
    """

    def __init__(self):
        super().__init__()
        self.pipeline = RegistrationPipeline(
            store=open_memory(SOURCE, UPKEEP), clock=FakeClock(), random=random.Random(1), actor="ada"
        )
        self.versions: dict[str, str | None] = {}
        self.held: dict[str | None, tuple[str, int]] = {}
        self.aliases: dict[str, tuple[str, str]] = {}
        self.clock = 0

    @initialize()
    def begin(self):
        self.add("1.0.0")

    @rule(version=st.sampled_from(VERSIONS))
    def add(self, version):
        id = f"m{len(self.versions)}"
        document = {"name": "w", "by": id} | ({"version": version} if version else {})
        self.pipeline.create(id, document)
        self.pipeline.submit_for_review(id)
        self.pipeline.approve(id)
        self.versions[id] = version

    @rule(data=st.data())
    def register(self, data):
        id = data.draw(st.sampled_from(sorted(self.versions)))
        version = self.versions[id]
        state = self.pipeline.load_state(id).state
        if state != "APPROVED":
            return
        if version in self.held:
            with pytest.raises(NameTaken) as refused:
                self.pipeline.register(id)
            assert refused.value.details["holder"] == self.held[version][0]
        else:
            self.pipeline.register(id)
            self.clock += 1
            self.held[version] = (id, self.clock)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def withdraw(self, data):
        version = data.draw(st.sampled_from(sorted(self.held, key=str)))
        self.pipeline.act(self.held.pop(version)[0], "withdraw", reason="r")

    @precondition(lambda self: set(self.held) - {None})
    @rule(data=st.data(), alias=st.sampled_from(["stable", "lts"]))
    def point(self, data, alias):
        version = data.draw(st.sampled_from(sorted(set(self.held) - {None})))
        self.pipeline.names.set_alias("w", alias, version)
        self.aliases[alias] = (version, self.held[version][0])

    @rule(alias=st.sampled_from(["stable", "lts"]))
    def unpoint(self, alias):
        if alias in self.aliases:
            self.pipeline.names.remove_alias("w", alias)
            del self.aliases[alias]
        else:
            with pytest.raises(NotFound):
                self.pipeline.names.remove_alias("w", alias)

    def best(self):
        """Releases before pre-releases before the rest; among the rest, and among equals, the last registered."""

        def sort(version):
            if version is None or version in ("odd", "other"):
                return 0
            return 1 if "-" in version else 2

        def compare(a, b):
            if sort(a) != sort(b):
                return sort(a) - sort(b)
            by_the_book = naive_compare(a, b) if sort(a) else 0
            return by_the_book or self.held[a][1] - self.held[b][1]

        return max(self.held, key=functools.cmp_to_key(compare), default=NotFound)

    @invariant()
    def the_registry_says_the_same(self):
        best = self.best()
        known = self.pipeline.names.aliases("w")
        if best is NotFound:
            assert "latest" not in known
            with pytest.raises(NotFound):
                self.pipeline.names.resolve("w")
        else:
            found = self.pipeline.names.resolve("w")
            assert (found.version, found.manifest_id) == (best, self.held[best][0])
            assert (known["latest"].version, known["latest"].manifest_id) == (best, self.held[best][0])
        for version in VERSIONS[:-1]:
            status = self.pipeline.names.status(f"w@{version}")
            holder = self.held.get(version)
            assert (status.holder.manifest_id if status.holder else None) == (holder[0] if holder else None)
        pointing = {
            alias: (one.version, one.manifest_id) for alias, one in known.items() if alias != "latest"
        }
        assert pointing == self.aliases
        for alias, (version, id) in self.aliases.items():
            if self.held.get(version, (None,))[0] == id:
                assert self.pipeline.names.resolve(f"w@{alias}").manifest_id == id
            else:
                with pytest.raises(NotFound):
                    self.pipeline.names.resolve(f"w@{alias}")

    def teardown(self):
        check_store(self.pipeline._registry.store)
        assert self.pipeline.upkeep.recover_name("w") == ()


TestNamesMachine = NamesMachine.TestCase
TestNamesMachine.settings = settings(tries(60), stateful_step_count=30)
