"""The façade that programs import: what each call does, refuses and promises, on files and in memory."""

from __future__ import annotations

import ast
import fcntl
import json
import pickle
import random
import subprocess
import sys
import threading
from dataclasses import replace
from types import MappingProxyType

import pytest

import registration
from registration import (
    LifecycleState,
    RegistrationPipeline,
    RetryPolicy,
    StateChange,
    Summary,
    __version__,
    errors,
    open_memory,
)
from registration.core.chart import Action, Chart, State, Transition
from registration.core.codec import encode_snapshot
from registration.core.definition import Definition
from registration.core.interpreter import steps
from registration.engine.origin import came_in
from registration.errors import (
    AlreadyExists,
    CorruptLog,
    GuardRefused,
    IdempotencyMismatch,
    IllegalTransition,
    InvalidArgument,
    InvalidDocument,
    LockTimeout,
    NotFound,
    RegistrationError,
    SnapshotMismatch,
    StoreError,
    VersionConflict,
)
from registration.evidence.verification import Finding
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.documents import check_document
from tests.conftest import check_store
from tests.kit.disks import LOG, SNAPSHOT, tree

SOURCE = "urn:uuid:019b76da-a800-7000-8000-000000000001"


@pytest.fixture
def in_memory(clock):
    store = open_memory(SOURCE, REGISTRATION)
    yield RegistrationPipeline(store=store, actor="ada", clock=clock, random=random.Random(1))
    check_store(store)


@pytest.fixture(params=["files", "memory"])
def any_pipeline(request):
    """The same façade over either store."""
    return request.getfixturevalue("pipeline" if request.param == "files" else "in_memory")


def damage(root, stream):
    """Change one letter in the first line of a log, and take away the snapshot that covers it."""
    place = root / "manifests" / stream
    log = (place / LOG).read_bytes()
    (place / LOG).write_bytes(log.replace(b'"actor"', b'"actoR"', 1))
    (place / SNAPSHOT).unlink()


# -- the whole way -------------------------------------------------------------------------------------


def test_a_manifest_goes_the_whole_way(any_pipeline):
    """Each command leads where the lifecycle says, one version further, in the name of who did it."""
    created = any_pipeline.create("a", {"name": "weather"})
    results = [
        any_pipeline.submit_for_review("a"),
        any_pipeline.reject("a", reason="unclear", actor="bea"),
        any_pipeline.revise("a", {"name": "weather", "version": "2"}),
        any_pipeline.submit_for_review("a"),
        any_pipeline.approve("a", actor="bea", comment="fine"),
        any_pipeline.register("a"),
    ]

    assert (created.manifest_id, created.state, created.version) == ("a", "DRAFT", 1)
    assert [(r.from_state, r.to_state, r.snapshot.version, r.event.actor) for r in results] == [
        ("DRAFT", "REVIEWED", 2, "ada"),
        ("REVIEWED", "DRAFT", 3, "bea"),
        ("DRAFT", "DRAFT", 4, "ada"),
        ("DRAFT", "REVIEWED", 5, "ada"),
        ("REVIEWED", "APPROVED", 6, "bea"),
        ("APPROVED", "REGISTERED", 7, "ada"),
    ]
    assert all(r.manifest_id == "a" and r.attempts == 1 and not r.replayed for r in results)
    assert any_pipeline.load_state("a") == results[-1].snapshot
    assert [event.version for event in any_pipeline.history("a")] == [1, 2, 3, 4, 5, 6, 7]
    assert any_pipeline.load_state("a").document == {"name": "weather", "version": "2"}


def test_both_stores_write_the_same_log(open_pipeline):
    """Given the same clock, randomness and registry, the logs in memory are those on files, byte for byte."""
    from registration.testing import FakeClock

    on_files = open_pipeline(clock=FakeClock(), random=random.Random(8))
    source = f"urn:uuid:{on_files.registry_id}"
    same = random.Random(8)
    same.randbytes(10)  # the id of the registry
    clock = FakeClock()
    clock()  # its creation
    in_memory = RegistrationPipeline(
        store=open_memory(source, REGISTRATION), actor="ada", clock=clock, random=same
    )
    logs = []
    for pipeline in (on_files, in_memory):
        pipeline._registry.engine._clock, pipeline._registry.engine._random = FakeClock(), random.Random(9)
        pipeline.create("a", {"name": "weather"})
        pipeline.submit_for_review("a", context={"ticket": 7})
        governance = pipeline._registry.governing()
        logs.append((pipeline._registry.store.inspect("a"), governance.log.inspect("registry")))

    assert logs[0] == logs[1]


def test_what_was_done_is_there_after_reopening(open_pipeline):
    """Another pipeline on the same directory, in this process or the next, sees and continues it."""
    with open_pipeline() as first:
        created = first.create("a", {}, idempotency_key="k")
        submitted = first.submit_for_review("a", idempotency_key="l")

    with open_pipeline() as second:
        assert second.registry_id == first.registry_id
        assert second.load_state("a") == submitted.snapshot
        assert second.create("a", {}, idempotency_key="k") == created
        assert second.submit_for_review("a", idempotency_key="l") == replace(submitted, replayed=True)
        with pytest.raises(IdempotencyMismatch):
            second.approve("a", idempotency_key="l")
        assert second.approve("a").snapshot.version == 3


def test_an_event_says_who_why_and_what(any_pipeline):
    """Reason, comment and further context are recorded as they were given, with the digest of the document."""
    created = any_pipeline.create("a", {"name": "weather"})
    any_pipeline.submit_for_review("a")

    event = any_pipeline.transition_state(
        "a",
        "DRAFT",
        {"reason": " unclear ", "comment": "see line 3", "ticket": 7, "more": {"list": [1, None, 2.5]}},
        actor="bea",
        correlation_id="request 1",
    ).event

    assert event.data == {
        "action": "reject",
        "from": "REVIEWED",
        "to": "DRAFT",
        "actor": "bea",
        "via": came_in(),
        "reason": "unclear",
        "comment": "see line 3",
        "context": {"ticket": 7, "more": {"list": [1, None, 2.5]}},
        "lifecycle": any_pipeline.definition.identity,
        "registry": any_pipeline.policy.registry,
        "release": __version__,
        "lapsed": [],
        "digest": created.digest,
    }
    assert event.correlation_id == "request 1"


def test_a_trace_is_recorded_where_one_is_active(open_pipeline):
    """The W3C trace context that a program gives goes into the event."""
    traces = iter(["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None])
    pipeline = open_pipeline(traceparent=lambda: next(traces))

    pipeline.create("a", {})
    pipeline.submit_for_review("a")

    assert [event.traceparent for event in pipeline.history("a")] == [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        None,
    ]


# -- creating --------------------------------------------------------------------------------------------


def test_a_document_can_name_itself(any_pipeline):
    """Without an id, the manifest is called what its document says."""
    created = any_pipeline.create(None, {"name": "io.github.acme/weather", "version": "1.2.0"})

    assert created.manifest_id == "io.github.acme/weather@1.2.0"
    with pytest.raises(InvalidDocument, match="no `name`"):
        any_pipeline.create(None, {})


def test_a_document_can_be_given_in_three_ways(any_pipeline):
    """As JSON text, as Python values or checked already, it is the same document."""
    values = {"name": "weather", "tags": ["a", "b"]}

    for id, given in (("a", values), ("b", json.dumps(values).encode()), ("c", check_document(values))):
        any_pipeline.create(id, given)

    assert len({any_pipeline.load_state(id).digest for id in "abc"}) == 1
    assert any_pipeline.create_with_result("d", values).snapshot.document == values
    assert any_pipeline.read_document(b'{"name": "weather"}').value == {"name": "weather"}


def test_a_document_is_taken_as_it_is_now(any_pipeline):
    """Changing the document after it was given changes nothing that was written."""
    document = {"tags": ["a"]}
    any_pipeline.create("a", document)

    document["tags"].append("b")

    assert any_pipeline.load_state("a").document == {"tags": ["a"]}
    assert any_pipeline.recover_from_events("a").document == {"tags": ["a"]}


def test_a_mapping_of_any_kind_is_a_document(any_pipeline):
    """What is promised to be a mapping may be any mapping."""
    created = any_pipeline.create("a", MappingProxyType({"name": "weather"}))

    assert created.document == {"name": "weather"}


@pytest.mark.parametrize(
    "given", [[], "text", None, {"a": float("nan")}, {1: 2}, b"{", b"[]", b'{"a":1,"a":2}']
)
def test_a_document_that_can_not_be_kept_is_refused(any_pipeline, given):
    """Neither creation nor revision takes what is no JSON object, and nothing is written."""
    any_pipeline.create("a", {})

    with pytest.raises(InvalidDocument):
        any_pipeline.create("b", given)
    with pytest.raises(InvalidDocument):
        any_pipeline.revise("a", given)

    assert list(any_pipeline.upkeep.manifest_ids()) == ["a"]
    assert any_pipeline.load_state("a").version == 1


def test_an_id_can_be_taken_once(any_pipeline):
    """A second creation of the same id says in which state the first is."""
    any_pipeline.create("a", {})
    any_pipeline.submit_for_review("a")

    with pytest.raises(AlreadyExists, match="REVIEWED, at version 2"):
        any_pipeline.create("a", {})


@pytest.mark.parametrize(
    "given", [{"text": "x" * 100}, b'{"text": "%s"}' % (b"x" * 100), check_document({"text": "x" * 100})]
)
def test_a_registry_keeps_to_its_limit(open_pipeline, given):
    """A document larger than the registry takes is refused, however it is given and whoever opens it."""
    open_pipeline(document_bytes_max=64)
    pipeline = open_pipeline()
    pipeline.create("a", {})

    with pytest.raises(InvalidDocument, match="at most 64"):
        pipeline.create("b", given)
    with pytest.raises(InvalidDocument, match="at most 64"):
        pipeline.revise("a", given)

    assert pipeline.document_bytes_max == 64


# -- transitions by state ----------------------------------------------------------------------------------


def test_a_state_is_reached_by_whichever_action_leads_there(any_pipeline):
    """Naming the state is enough; a parent state stands for the child that is entered."""
    any_pipeline.create("a", {})

    actions = [
        any_pipeline.transition_state("a", target, context).event.action
        for target, context in (
            ("IN_REVIEW", None),
            (LifecycleState.APPROVED, {}),
            ("DRAFT", {"reason": "one more change"}),
            (LifecycleState.REVIEWED, None),
            ("APPROVED", None),
            ("REGISTERED", None),
        )
    ]

    assert actions == ["submit_for_review", "approve", "reject", "submit_for_review", "approve", "register"]


@pytest.mark.parametrize(
    ("state", "target", "said"),
    [
        ("DRAFT", "APPROVED", "no such transition"),
        ("DRAFT", "REGISTERED", "no such transition"),
        ("DRAFT", "DRAFT", "there already"),
        ("REVIEWED", "REVIEWED", "there already"),
        ("REVIEWED", "IN_REVIEW", "there already"),
        ("APPROVED", "REVIEWED", "no such transition"),
        ("REGISTERED", "DRAFT", "is final"),
        ("REGISTERED", "REGISTERED", "there already"),
    ],
)
def test_a_state_that_nothing_leads_to_is_refused(any_pipeline, state, target, said):
    """The refusal says where the manifest is, why it can't go there and where it can, and writes nothing."""
    any_pipeline.create("a", {})
    for on_the_way in ("REVIEWED", "APPROVED", "REGISTERED"):
        if any_pipeline.load_state("a").state != state:
            any_pipeline.transition_state("a", on_the_way)
    before = any_pipeline.load_state("a")

    with pytest.raises(IllegalTransition, match=f"'a' is {state} and can't go to {target}") as caught:
        any_pipeline.transition_state("a", target, {"reason": "wanted"})

    assert said in str(caught.value)
    assert caught.value.details["allowed"] == {
        action: taken.place for action, taken in steps(any_pipeline.lifecycle, state).items()
    }
    assert any_pipeline.load_state("a") == before


def test_an_action_that_is_not_possible_says_what_is(any_pipeline):
    """An action out of turn is refused with those that are possible now."""
    any_pipeline.create("a", {})

    with pytest.raises(IllegalTransition, match=r"revise \(to DRAFT\), submit_for_review \(to REVIEWED\)"):
        any_pipeline.approve("a")


def test_an_ambiguous_state_is_not_guessed():
    """Where two actions lead to a state, naming the state is refused, and naming an action works."""
    chart = Chart(
        name="votes",
        states=(State("OPEN"), State("DONE", final=True)),
        actions=(
            Action("open", "opened", document=True),
            Action("pass", "passed"),
            Action("drop", "dropped"),
        ),
        transitions=(
            Transition("open", None, "OPEN"),
            Transition("pass", "OPEN", "DONE"),
            Transition("drop", "OPEN", "DONE"),
        ),
    )
    pipeline = RegistrationPipeline(store=open_memory(SOURCE, Definition(chart)))
    pipeline._registry.carry_out("a", {}, action="open", document=check_document({}))

    with pytest.raises(IllegalTransition, match="both 'pass' and 'drop' lead there"):
        pipeline.transition_state("a", "DONE")

    assert pipeline.act("a", "drop").to_state == "DONE"


def test_a_rejection_needs_a_reason(any_pipeline):
    """Without a reason, or with a blank one, the guard says no, and its verdict is there for programs."""
    any_pipeline.create("a", {})
    any_pipeline.submit_for_review("a")

    for reason in (None, "", "   "):
        with pytest.raises(GuardRefused, match="a reason is required") as caught:
            any_pipeline.reject("a", reason=reason)
    with pytest.raises(GuardRefused):
        any_pipeline.transition_state("a", "DRAFT")

    (verdict,) = caught.value.details["verdicts"]
    assert (verdict["guard"], verdict["agrees"]) == ("reason_given", False)
    assert any_pipeline.load_state("a").version == 2


def test_a_revision_lapses_approvals(any_pipeline):
    """Who approved is kept for the very document, and gone with it."""
    any_pipeline.create("a", {})
    any_pipeline.submit_for_review("a")
    approved = any_pipeline.approve("a", actor="bea").snapshot
    rejected = any_pipeline.reject("a", reason="after all not").snapshot

    assert [(a["actor"], a["version"], a["digest"]) for a in approved.approvals] == [
        ("bea", 3, approved.digest)
    ]
    assert rejected.approvals == ()


# -- arguments ------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_a_request_is_said_at_once(any_pipeline):
    """Each invalid argument is named, with what was found, and nothing is written."""
    any_pipeline.create("a", {})

    with pytest.raises(InvalidArgument) as caught:
        any_pipeline.act(
            "a",
            "submit_for_review",
            actor="",
            reason=5,
            comment="x" * 10_001,
            context={"n": 2**60},
            expected_version=-1,
            idempotency_key=" padded ",
            correlation_id="line\nfeed",
        )

    problems = caught.value.details["problems"]
    named = [problem.split(":")[0] for problem in problems]
    assert named == [
        "actor",
        "reason",
        "comment",
        "context",
        "expected_version",
        "idempotency_key",
        "correlation_id",
    ]
    assert isinstance(caught.value, ValueError)
    assert any_pipeline.load_state("a").version == 1


@pytest.mark.parametrize(
    "said",
    [
        {"actor": "x" * 201},
        {"actor": b"ada"},
        {"reason": "\ud800"},
        {"expected_version": True},
        {"expected_version": "1"},
        {"expected_version": 1.0},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 201},
        {"context": ["a list"]},
        {"context": "text"},
        {"context": {"reason": "twice"}},
        {"context": {"n": float("inf")}},
        {"context": {"text": "x" * 70_000}},
        {"context": {1: "number"}},
    ],
)
def test_an_argument_that_can_not_be_meant_is_refused(any_pipeline, said):
    """Nothing is converted, cut or guessed."""
    any_pipeline.create("a", {})

    with pytest.raises(InvalidArgument, match=next(iter(said))):
        any_pipeline.act("a", "submit_for_review", **said)

    assert any_pipeline.load_state("a").version == 1


@pytest.mark.parametrize("context", [["a list"], "text", 5])
def test_a_context_that_is_no_mapping_is_refused(any_pipeline, context):
    """A context is a mapping, for `transition_state` as for everything else."""
    any_pipeline.create("a", {})

    with pytest.raises(InvalidArgument, match="context"):
        any_pipeline.transition_state("a", "REVIEWED", context)


def test_a_context_may_be_any_mapping(any_pipeline):
    """What is promised to be a mapping may be any mapping."""
    any_pipeline.create("a", {})

    by_state = any_pipeline.transition_state("a", "REVIEWED", MappingProxyType({"ticket": 7}))
    by_action = any_pipeline.act("a", "approve", context=MappingProxyType({"ticket": 7}))

    assert by_state.event.data["context"] == by_action.event.data["context"] == {"ticket": 7}


@pytest.mark.parametrize("target", [None, 5, "", "NOWHERE", ["REVIEWED"]])
def test_a_state_that_there_is_not_is_refused(any_pipeline, target):
    """A target that the lifecycle doesn't have, or that isn't text, is an invalid argument."""
    any_pipeline.create("a", {})

    with pytest.raises(InvalidArgument):
        any_pipeline.transition_state("a", target)


@pytest.mark.parametrize("action", [None, 5, "", "aprove", ["approve"]])
def test_an_action_that_there_is_not_is_refused(any_pipeline, action):
    """An action that the lifecycle doesn't have, or that isn't text, is an invalid argument."""
    any_pipeline.create("a", {})

    with pytest.raises(InvalidArgument):
        any_pipeline.act("a", action)


def test_the_nearest_name_is_suggested(any_pipeline):
    """A state, an action or a manifest that was nearly right is named in the refusal."""
    any_pipeline.create("io.github.acme/weather", {})

    with pytest.raises(InvalidArgument, match="Did you mean 'REVIEWED'"):
        any_pipeline.transition_state("io.github.acme/weather", "reviewed")
    with pytest.raises(InvalidArgument, match="Did you mean 'approve'"):
        any_pipeline.act("io.github.acme/weather", "aprove")
    with pytest.raises(NotFound, match=r"Did you mean 'io\.github\.acme/weather'"):
        any_pipeline.load_state("io.github.acme/wether")


def test_a_document_in_the_wrong_place_is_refused(any_pipeline):
    """Creation by its name alone lacks a document."""
    with pytest.raises(InvalidArgument, match="needs a document"):
        any_pipeline.act("a", "create")


CALLS = {
    "create": lambda p: p.create("ghost", {}),
    "create_with_result": lambda p: p.create_with_result("ghost", {}),
    "revise": lambda p: p.revise("ghost", {}),
    "submit_for_review": lambda p: p.submit_for_review("ghost"),
    "approve": lambda p: p.approve("ghost"),
    "reject": lambda p: p.reject("ghost", reason="why"),
    "register": lambda p: p.register("ghost"),
    "act": lambda p: p.act("ghost", "approve"),
    "transition_state": lambda p: p.transition_state("ghost", "REVIEWED"),
    "load_state": lambda p: p.load_state("ghost"),
    "history": lambda p: list(p.history("ghost")),
    "persist_state": lambda p: p.persist_state("ghost", None),
    "recover_from_events": lambda p: p.recover_from_events("ghost"),
    "verify": lambda p: p.evidence.verify("ghost"),
}


@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith("create")])
def test_what_is_not_there_is_not_found(any_pipeline, name):
    """Every call on an unknown manifest says so, and makes nothing."""
    with pytest.raises(NotFound, match="no manifest 'ghost'"):
        CALLS[name](any_pipeline)

    assert list(any_pipeline.upkeep.manifest_ids()) == []


@pytest.mark.parametrize("manifest_id", ["", "../escape", "white space", None, 5, "x" * 201])
def test_what_is_no_id_is_refused(any_pipeline, manifest_id):
    """Every call refuses what can't be an id; only a creation may leave it to the document."""
    calls = [
        lambda given: any_pipeline.revise(given, {}),
        any_pipeline.approve,
        lambda given: any_pipeline.transition_state(given, "REVIEWED"),
        any_pipeline.load_state,
        lambda given: next(any_pipeline.history(given)),
        any_pipeline.recover_from_events,
        any_pipeline.upkeep.recover,
        any_pipeline.evidence.verify,
    ]
    if manifest_id is not None:
        calls.append(lambda given: any_pipeline.create(given, {}))

    for call in calls:
        with pytest.raises(InvalidArgument, match="invalid manifest id"):
            call(manifest_id)


def test_an_expected_version_is_checked(any_pipeline):
    """A pinned version that isn't the manifest's is a conflict which says where it is."""
    any_pipeline.create("a", {})

    with pytest.raises(VersionConflict, match="expected at version 7, but it is at version 1"):
        any_pipeline.submit_for_review("a", expected_version=7)

    assert any_pipeline.submit_for_review("a", expected_version=1).snapshot.version == 2


# -- opening and closing ----------------------------------------------------------------------------------------


def test_a_registry_is_made_where_it_is_missing(root, open_pipeline):
    """The first opening makes it and says so; the second finds it."""
    assert open_pipeline().made is True
    assert open_pipeline().made is False
    assert (root / "registry.json").exists()


def test_a_registry_is_not_made_where_that_is_not_wanted(root):
    """With `create=False`, a missing registry is `NotFound`, and the directory stays missing."""
    with pytest.raises(NotFound, match="There is no registry at") as caught:
        RegistrationPipeline(root, create=False)
    assert caught.value.next[0].operation == "init"

    assert not root.exists()


@pytest.mark.parametrize("limit", [0, 1, -5, "64", 64.0, None, True])
def test_a_registry_with_a_senseless_limit_is_not_made(root, limit):
    """A limit that no registry can have is refused before a file is written."""
    with pytest.raises(InvalidArgument):
        RegistrationPipeline(root, document_bytes_max=limit)

    assert not (root / "registry.json").exists()


def test_a_pipeline_needs_one_place(tmp_path):
    """Neither no place nor two can be meant."""
    with pytest.raises(InvalidArgument):
        RegistrationPipeline()
    with pytest.raises(InvalidArgument):
        RegistrationPipeline(tmp_path, store=open_memory(SOURCE, REGISTRATION))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [*CALLS, "list", "manifest_ids", "recover", "on", "emit_state_change"])
def test_a_closed_pipeline_refuses(any_pipeline, name):
    """After `close`, or after the `with` block, every call says that the pipeline is closed."""
    calls = {
        "list": lambda p: p.list(),
        "manifest_ids": lambda p: p.upkeep.manifest_ids(),
        "recover": lambda p: p.upkeep.recover("a"),
        "on": lambda p: p.on("state_change", print),
        "emit_state_change": lambda p: p.emit_state_change(change),
        **CALLS,
    }
    with any_pipeline as pipeline:
        created = pipeline.create("a", {})
        change = StateChange(next(pipeline.history("a")), created)

    with pytest.raises(StoreError, match="closed"):
        calls[name](any_pipeline)
    any_pipeline.close()


def test_what_is_raised_inside_comes_out(any_pipeline):
    """The `with` block closes the pipeline and swallows nothing."""
    with pytest.raises(ZeroDivisionError), any_pipeline:
        raise ZeroDivisionError

    with pytest.raises(StoreError, match="closed"):
        any_pipeline.load_state("a")


# -- lists ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stocked(any_pipeline):
    """One manifest in each state, and two drafts."""
    for id, walked in (("d1", 0), ("d2", 0), ("r", 1), ("a", 2), ("z", 3)):
        any_pipeline.create(id, {"id": id})
        for action in ("submit_for_review", "approve", "register")[:walked]:
            any_pipeline.act(id, action)
    return any_pipeline


def test_a_list_has_every_manifest(stocked):
    """Each manifest is one line with what its snapshot says, sorted."""
    summaries = list(stocked.list())

    assert [(s.manifest_id, s.state, s.version) for s in summaries] == [
        ("a", "APPROVED", 3),
        ("d1", "DRAFT", 1),
        ("d2", "DRAFT", 1),
        ("r", "REVIEWED", 2),
        ("z", "REGISTERED", 4),
    ]
    state = stocked.load_state("a")
    assert summaries[0] == Summary(
        "a", "APPROVED", 3, state.digest, state.created_at, state.updated_at, problem=None
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("DRAFT", ["d1", "d2"]),
        ("REVIEWED", ["r"]),
        ("IN_REVIEW", ["a", "r"]),
        (LifecycleState.REGISTERED, ["z"]),
    ],
)
def test_a_list_can_be_of_one_state(stocked, state, expected):
    """A state filters, and a parent state stands for its children."""
    assert [summary.manifest_id for summary in stocked.list(state)] == expected


def test_a_list_of_a_state_that_there_is_not_is_refused(any_pipeline):
    """A misspelt state is an error at once, not an empty list."""
    with pytest.raises(InvalidArgument, match="Did you mean 'DRAFT'"):
        any_pipeline.list("DRAFTS")


@pytest.mark.damaged
@pytest.mark.parametrize("state", [None, "REGISTERED"])
def test_a_damaged_manifest_does_not_end_a_list(pipeline, root, state):
    """What can't be read is given with its problem, whatever was asked for, and the rest follows."""
    for id in ("a", "b", "c"):
        pipeline.create(id, {})
    pipeline.revise("b", {})
    damage(root, "b")

    summaries = list(pipeline.list(state))

    damaged = next(summary for summary in summaries if summary.manifest_id == "b")
    assert isinstance(damaged.problem, CorruptLog)
    assert damaged == Summary("b", problem=damaged.problem)
    assert [s.manifest_id for s in summaries] == (["a", "b", "c"] if state is None else ["b"])


def test_a_manifest_that_is_being_written_does_not_end_a_list(open_pipeline, root):
    """A writer that holds a lock for too long costs the list one line, not the rest."""
    pipeline = open_pipeline(lock_timeout_s=0)
    for id in ("a", "b", "c"):
        pipeline.create(id, {})
    (root / "manifests" / "b" / SNAPSHOT).unlink()  # so that its log must be looked at, under the lock

    with (root / "manifests" / "b" / LOG).open() as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        summaries = list(open_pipeline(lock_timeout_s=0).list())

    assert [summary.manifest_id for summary in summaries] == ["a", "b", "c"]
    assert isinstance(summaries[1].problem, LockTimeout)
    assert open_pipeline().load_state("b").version == 1


# -- histories --------------------------------------------------------------------------------------------------------


def test_a_history_begins_when_it_is_asked(any_pipeline):
    """Nothing is read, and nothing is refused, before the first event is wanted."""
    history = any_pipeline.history("a")
    any_pipeline.create("a", {})

    assert next(history).version == 1
    assert next(history, None) is None
    unknown = any_pipeline.history("ghost")
    with pytest.raises(NotFound):
        next(unknown)


@pytest.mark.damaged
def test_a_history_gives_what_is_sound_before_damage(pipeline, root):
    """The events before the damage are given, then the error names its place."""
    pipeline.create("a", {})
    pipeline.revise("a", {"n": 1})
    pipeline.revise("a", {"n": 2})
    log = root / "manifests" / "a" / LOG
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[1].replace(b'"n":1', b'"n":7') + lines[2])
    history = pipeline.history("a")

    assert next(history).version == 1
    with pytest.raises(CorruptLog, match="line 2"):
        next(history)


# -- snapshots and recovery ---------------------------------------------------------------------------------------------


def test_a_snapshot_of_ones_own_can_be_kept(any_pipeline):
    """A snapshot that the log bears out is accepted; an older one leaves the later in place."""
    created = any_pipeline.create("a", {})
    submitted = any_pipeline.submit_for_review("a").snapshot

    any_pipeline.persist_state("a", submitted)
    any_pipeline.persist_state("a", created)

    assert any_pipeline.load_state("a") == submitted


def test_a_tampered_snapshot_is_refused(any_pipeline):
    """A snapshot that says anything but what the log folds to is refused, and nothing is written."""
    any_pipeline.create("a", {})
    snapshot = any_pipeline.submit_for_review("a").snapshot

    for tampered in (
        replace(snapshot, state="APPROVED"),
        replace(snapshot, version=3),
        replace(snapshot, document={"forged": True}),
        replace(snapshot, facts={"approvals": [{"actor": "eve"}]}),
    ):
        with pytest.raises(SnapshotMismatch):
            any_pipeline.persist_state("a", tampered)

    assert any_pipeline.load_state("a") == snapshot


def test_a_snapshot_of_another_manifest_is_refused(any_pipeline):
    """A snapshot is kept under its own id only."""
    any_pipeline.create("a", {})
    other = any_pipeline.create("b", {})

    with pytest.raises(InvalidArgument, match="of 'b', not of 'a'"):
        any_pipeline.persist_state("a", other)


def test_recovery_replays_the_log(any_pipeline):
    """`recover_from_events` gives the state that the events lead to, and leaves a sound manifest as it is."""
    any_pipeline.create("a", {})
    submitted = any_pipeline.submit_for_review("a").snapshot

    assert any_pipeline.recover_from_events("a") == submitted
    assert any_pipeline.upkeep.recover("a").steps == ()
    assert any_pipeline.load_state("a") == submitted


def test_recovery_makes_a_lost_snapshot_anew(pipeline, root):
    """The snapshot is a cache: deleted, it comes back with the same bytes. Only the registry's own log says that it was away."""
    created = pipeline.create("a", {})
    before = tree(root)
    (root / "manifests" / "a" / SNAPSHOT).unlink()

    assert pipeline.recover_from_events("a") == created
    after = tree(root)
    changed = {path for path in after.keys() | before.keys() if after.get(path) != before.get(path)}
    assert {path.split("/")[0] for path in changed} <= {"registry", "registry.json", "feed", "rules"}
    assert encode_snapshot(created) == before[f"manifests/a/{SNAPSHOT}"]


@pytest.mark.damaged
def test_recovery_of_a_damaged_log_changes_nothing(pipeline, root):
    """Recovery never mends what it can't know."""
    pipeline.create("a", {})
    pipeline.revise("a", {})
    damage(root, "a")
    before = tree(root)

    with pytest.raises(CorruptLog) as caught:
        pipeline.recover_from_events("a")

    assert caught.value.details["line"] == 1
    assert tree(root) == before


def test_a_sound_manifest_is_verified(any_pipeline):
    """A verification of what nobody touched has no findings and reaches the last version."""
    any_pipeline.create("a", {})
    any_pipeline.submit_for_review("a")

    verified = any_pipeline.evidence.verify("a")

    assert (verified.manifest_id, verified.sound_version, verified.findings) == ("a", 2, ())
    assert not verified.damaged


@pytest.mark.damaged
def test_damage_and_what_a_crash_leaves_are_told_apart(pipeline, root):
    """A verification changes nothing and says of each finding whether a crash can have left it."""
    for id in ("a", "b"):
        pipeline.create(id, {})
        pipeline.revise(id, {})
    (root / "manifests" / "a" / SNAPSHOT).unlink()
    with (root / "manifests" / "a" / LOG).open("ab") as log:
        log.write(b"torn")
    damage(root, "b")
    before = tree(root)

    unfinished, damaged = pipeline.evidence.verify("a"), pipeline.evidence.verify("b")

    assert {finding.kind for finding in unfinished.findings} == {"unfinished"}
    assert (unfinished.sound_version, unfinished.damaged) == (2, False)
    assert damaged.damaged
    assert damaged.findings[0] == Finding(
        "damage", "manifests/b/events.jsonl", 1, 0, "its bytes do not match its hash"
    )
    assert tree(root) == before


# -- time, threads ----------------------------------------------------------------------------------------------------------


def test_times_never_go_back(any_pipeline, clock):
    """Where the clock jumps back, events keep the time of the one before until it has caught up."""
    any_pipeline.create("a", {})
    clock.advance(-3600)
    any_pipeline.submit_for_review("a")
    any_pipeline.reject("a", reason="why")
    clock.advance(7200)
    any_pipeline.revise("a", {})

    times = [event.time for event in any_pipeline.history("a")]

    assert times[0] == times[1] == times[2] < times[3]
    assert any_pipeline.load_state("a").created_at == times[0]
    assert any_pipeline.load_state("a").updated_at == times[3]


def test_threads_can_share_a_pipeline(open_pipeline):
    """Of many threads on one pipeline every call succeeds once, and each reader sees versions grow."""
    pipeline = open_pipeline(retry=RetryPolicy(attempts_max=10_000))
    pipeline.create("a", {})
    done, written, seen, failures = threading.Event(), [], [], []

    def write(name):
        try:
            written.extend(pipeline.revise("a", {"by": name, "n": n}).event.id for n in range(25))
        except RegistrationError as error:
            failures.append(error)

    def read():
        while not done.is_set():
            seen.append(pipeline.load_state("a").version)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()

    events = list(pipeline.history("a"))
    assert failures == []
    assert [event.version for event in events] == list(range(1, 102))
    assert sorted(event.id for event in events[1:]) == sorted(written)
    assert seen == sorted(seen)


# -- errors and names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "provoke",
    [
        lambda p: p.load_state("ghost"),
        lambda p: p.create("a", {}),
        lambda p: p.approve("a"),
        lambda p: p.submit_for_review("a", expected_version=9),
        lambda p: p.transition_state("a", "NOWHERE"),
        lambda p: p.create("b", []),
        lambda p: p.act("a", "approve", actor=""),
    ],
)
def test_an_error_crosses_a_process_boundary(any_pipeline, provoke):
    """What a worker raises arrives whole: class, text, next step and details."""
    any_pipeline.create("a", {})
    with pytest.raises(RegistrationError) as caught:
        provoke(any_pipeline)

    copy = pickle.loads(pickle.dumps(caught.value))

    assert type(copy) is type(caught.value)
    assert str(copy) == str(caught.value)
    assert copy.as_json() == caught.value.as_json()
    assert json.loads(json.dumps(copy.as_json())) == copy.as_json()


def _modules_after(program):
    listing = "\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program + listing], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


HEAVY = {"pydantic", "orjson", "rfc8785", "portalocker", "click", "asyncio", "sqlite3", "http.client"}


def test_importing_the_package_costs_nothing():
    """`import registration` loads no other module of ours, and none of anybody else's."""
    before = _modules_after("")

    loaded = _modules_after("import registration") - before

    assert {name for name in loaded if name.startswith("registration")} == {"registration"}
    assert not loaded & HEAVY


def test_reading_loads_nothing_that_only_writing_needs(pipeline, root):
    """A program that reads a registry pays neither for pydantic nor for locks."""
    pipeline.create("a", {})
    program = (
        "from registration import RegistrationPipeline\n"
        f"with RegistrationPipeline({str(root)!r}, create=False) as pipeline:\n"
        "    assert pipeline.load_state('a').version == 1\n"
        "    assert len(list(pipeline.upkeep.manifest_ids())) == len(list(pipeline.history('a'))) == 1\n"
        "print()"
    )

    loaded = _modules_after(program) - _modules_after("")

    assert "registration.storage.files.backend" in loaded
    assert loaded & HEAVY == {"orjson"}


def test_the_type_checker_sees_the_names_that_there_are():
    """What `__all__` promises, what is resolved at run time and what is imported for types is one list."""
    with open(registration.__file__, encoding="utf-8") as file:
        source = ast.parse(file.read())
    guarded = next(node for node in source.body if isinstance(node, ast.If))
    imported = {
        alias.asname: (node.module, alias.name)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert {name: (module, name) for name, module in registration._HOME_OF.items()} == imported
    assert registration.__all__ == ["__version__", *imported]
    assert dir(registration) == sorted(registration.__all__)
    for name, (module, _) in imported.items():
        assert getattr(registration, name).__module__ == module
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        registration.nothing  # noqa: B018  # looking is the test


def test_every_public_error_can_be_imported_from_the_package():
    """Whoever catches an error needs one import."""
    public = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, RegistrationError)
    }

    assert public <= set(registration.__all__)
