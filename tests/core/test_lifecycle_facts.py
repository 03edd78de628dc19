"""What a lifecycle keeps besides state and document: approvals, authors, history, time-outs; and events of older schemas.

The logs of format 1 in fixtures/ were written before events said what follows from them. They fold to the very bytes they
did: the old fold stands here again, in full, and is asked beside the new one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.chart import Action, Chart, GuardUse, State, Transition
from registration.core.codec import encode_snapshot, scan
from registration.core.decider import fold
from registration.core.definition import Definition
from registration.core.policy import NO_POLICY, Limits, Policy, Verdict
from registration.errors import InvalidDefinition, UnknownEvent
from registration.rules.lifecycles.facts import APPROVALS_KEPT_MAX, AUTHORS_KEPT_MAX, keep_facts
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.events import Event, Position
from registration.values.ids import id_of
from tests.kit.builders import Log, forge, members_of, registered, tries, weather

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
LOGS = sorted(FIXTURES.glob("registries/format-1/manifests/*/events.jsonl"))
SOURCE = "urn:uuid:019b76da-a800-75b1-a522-4a58b791f1d8"

OF_0_1 = Policy(format=1)
OF_TODAY = Policy(registry={"version": 1, "hash": "0" * 64})

# -- approvals and authors -------------------------------------------------------------------------------


def approved_by(*actors, policy=NO_POLICY):
    log = Log(policy=policy)
    log.do("create")
    log.do("submit_for_review")
    for actor in actors:
        log.do("approve", actor=actor)
    return log


def test_approvals_stand_in_order():
    """Each approval of the document is kept, also the second by the same person, which release 0.1 accepted; the guard counts people."""
    log = approved_by("bea", "cyd", "bea", policy=OF_0_1)

    assert [(one["actor"], one["version"]) for one in log.state.approvals] == [
        ("bea", 3),
        ("cyd", 4),
        ("bea", 5),
    ]
    assert [one["head"] for one in log.state.approvals] == [event.hash for event in log.events[1:4]]


def test_what_lapses_is_said_by_the_event():
    """The fold asks no chart: a rejection lists the versions of the approvals that it ends."""
    log = approved_by("bea", "cyd")

    log.do("reject", reason="no")

    assert log.events[-1].data["lapsed"] == [3, 4]
    assert log.state.facts["approvals"] == []


def test_a_rejection_of_what_nobody_approved_lapses_nothing():
    """It says so, with an empty list: the word is there whenever the action ends approvals."""
    log = approved_by()

    log.do("reject", reason="no")

    assert log.events[-1].data["lapsed"] == []


BRINGING = Definition(
    Chart(
        "pairs",
        states=(State("OPEN"), State("DONE", final=True)),
        actions=(
            Action("start", "started"),
            Action("agree", "agreed", approval=True),
            Action("amend", "amended", document=True),
            Action("propose", "proposed", document=True, approval=True),
            Action("restart", "restarted", approval=True, lapses=True),
            Action("finish", "finished"),
        ),
        transitions=(
            Transition("start", None, "OPEN"),
            *(Transition(action, "OPEN", "OPEN") for action in ("agree", "amend", "propose", "restart")),
            Transition("finish", "OPEN", "DONE"),
        ),
    ),
    evolve=keep_facts,
)
"""A lifecycle whose actions approve, bring documents, and do both at once."""


def pairs():
    log = Log(definition=BRINGING)
    log.do("start")
    return log


@pytest.mark.parametrize("action", ["propose", "restart"])
def test_an_approval_that_ends_the_others_stands_alone(action):
    """An action that brings a document and approves it left the approvals of the old document beside the new one."""
    log = pairs()
    log.do("agree", actor="bea")

    log.do(action, actor="cyd", **({"document": weather()} if action == "propose" else {}))

    assert log.events[-1].data["lapsed"] == [2]
    assert [one["actor"] for one in log.state.approvals] == ["cyd"]


def test_another_document_lapses_what_was_approved():
    """The event that brings it lists the approvals that end; where there were none, it has no such word."""
    log = pairs()
    log.do("agree", actor="bea")

    log.do("amend", document=weather())
    log.do("amend", document=weather(title="again"))

    assert [event.data.get("lapsed") for event in log.events] == [None, None, [2], None]
    assert log.state.approvals == ()


def test_events_of_release_0_1_push_out_the_first_approvals():
    """Release 0.1 kept the latest 256: its logs fold to what it decided on."""
    log = pairs()
    log.policy = OF_0_1
    for number in range(APPROVALS_KEPT_MAX + 3):
        log.do("agree", actor=f"p{number}")

    kept = [one["actor"] for one in log.state.approvals]

    assert APPROVALS_KEPT_MAX == 256
    assert kept == [f"p{number}" for number in range(3, APPROVALS_KEPT_MAX + 3)]


def test_a_later_event_pushes_out_no_approval():
    """Where the rules allow more than 256 people, all of them are kept."""
    log = pairs()
    log.policy = replace(OF_TODAY, limits=Limits(people=300))
    for number in range(300):
        log.do("agree", actor=f"p{number}")

    assert [one["actor"] for one in log.state.approvals] == [f"p{number}" for number in range(300)]


def test_authors_are_those_who_brought_documents():
    """Each once, the latest last, and None for somebody who wasn't named; who did anything else is none."""
    log = Log()
    log.do("create", actor="ana")
    for actor in ("bea", "ana", "cyd", None, "bea"):
        log.do("revise", actor=actor)
    log.do("submit_for_review", actor="dan")

    assert log.state.facts["authors"] == ["ana", "cyd", None, "bea"]


def test_events_of_release_0_1_push_out_the_first_authors():
    """Release 0.1 kept the latest 64: its logs fold to what it decided on. The next document says that some may be lost."""
    log = Log(policy=OF_0_1)
    log.do("create", actor="first")
    for number in range(AUTHORS_KEPT_MAX + 2):
        log.do("revise", actor=f"p{number}")
    of_0_1 = log.state.facts
    log.policy = OF_TODAY
    log.do("revise", actor="p9")

    assert AUTHORS_KEPT_MAX == 64
    assert of_0_1["authors"] == [f"p{number}" for number in range(2, AUTHORS_KEPT_MAX + 2)]
    assert of_0_1.keys() == {"approvals", "authors"}
    assert log.state.facts["authors_lost"] is True
    assert log.state.facts["revisions"] == 1


def test_a_later_event_pushes_out_no_author():
    """Where the rules allow more than 64 people, all of them are kept, and none is said to be lost."""
    log = Log(policy=replace(OF_TODAY, limits=Limits(people=80)))
    log.do("create", actor="p0")
    for number in range(1, 80):
        log.do("revise", actor=f"p{number}")

    assert log.state.facts["authors"] == [f"p{number}" for number in range(80)]
    assert log.state.facts["revisions"] == 80
    assert "authors_lost" not in log.state.facts


# -- history and time-outs -------------------------------------------------------------------------------


def test_history_and_time_outs_are_those_of_the_last_event():
    """What an event says of them replaces what was there; an event that says nothing ends them."""
    log = Log()
    log.do("create")
    data = {"action": "x", "from": "DRAFT", "to": "DRAFT", "actor": None}

    log.add([log.new(data={**data, "history": {"A": "B"}, "due": {"expire": "2026-01-02T00:00:00.000000Z"}})])
    told = dict(log.state.facts)
    log.add([log.new(data={**data, "due": {"remind": "2026-01-03T00:00:00.000000Z"}})])
    later = dict(log.state.facts)
    log.add([log.new(data=data)])

    assert (told["history"], told["due"]) == ({"A": "B"}, {"expire": "2026-01-02T00:00:00.000000Z"})
    assert ("history" in later, later["due"]) == (False, {"remind": "2026-01-03T00:00:00.000000Z"})
    assert log.state.facts.keys() == {"approvals", "authors"}


def test_a_repair_leaves_everything_as_it_was():
    """It decides nothing: who approved, what is remembered and what is due is as the events before it say."""
    log = approved_by("bea")
    data = {"action": "x", "from": "APPROVED", "to": "APPROVED", "actor": None}
    log.add([log.new(data={**data, "history": {"A": "B"}, "due": {"expire": "2026-01-02T00:00:00.000000Z"}})])
    before = log.state.facts

    log.add(
        [log.new(type=REGISTRATION.repaired, data={**data, "action": "repair", "lost": {"size_bytes": 9}})]
    )

    assert log.state.facts == before
    assert log.state.facts["approvals"]


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "approval": st.fixed_dictionaries({"digest": st.text("ab", max_size=1)}),
                "document": st.just({}),
                "lapsed": st.just([1]),
                "history": st.just({"A": "B"}),
                "due": st.just({"t": "2026"}),
                "lifecycle": st.just({"name": "registration"}),
                "lost": st.just({}),
                "registry": st.just({"version": 1, "hash": "0" * 64}),
            },
        ),
        max_size=8,
    )
)
@tries(100)
def test_the_fold_changes_nothing_that_it_was_given(said):
    """Facts and events stay as they were: a state that somebody holds is never changed behind his back."""
    facts: Mapping[str, Any] = {"approvals": [{"actor": "ana"}], "authors": ["ana"]}
    for data in said:
        event = Log().new(data={"action": "x", "from": None, "to": "A", "actor": "bea", **data})
        sealed = _sealed(event)
        before = copy.deepcopy((facts, sealed.data))

        after = keep_facts(facts, sealed)

        assert (facts, sealed.data) == before
        assert keep_facts(facts, sealed) == after
        facts = after


def _sealed(new):
    log = Log()
    log.add([new])
    return log.events[0]


# -- events of older schemas -----------------------------------------------------------------------------


def old_fold(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """What release 0.1.0 kept: the fold of format 1 as it was, word for word."""
    if event.type == "registration.approved.v1":
        approval = {
            "actor": event.actor,
            "time": event.time,
            "version": event.version,
            "digest": event.data.get("digest"),
        }
        return {**facts, "approvals": [*facts.get("approvals", ()), approval]}
    if "document" in event.data or event.to_state == "DRAFT":
        return {**facts, "approvals": []}
    return facts


def as_format_1(log: Log) -> bytes:
    """A log's history as release 0.1.0 would have written it."""
    later = {"lifecycle", "release", "approval", "lapsed", "claimed"}
    return forge(
        {
            **members,
            "type": members["type"].replace(".v2", ".v1"),
            "data": {name: value for name, value in members["data"].items() if name not in later},
        }
        for members in members_of(log)
    )


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.parent.name)
def test_a_kept_log_folds_as_it_did(path):
    """The facts of each log of format 1, at every version, are what the old fold made of it; and so are the bytes."""
    raw, stream = path.read_bytes(), id_of(path.parent.name)
    found = scan(raw, stream=stream, source=SOURCE, after=Position())

    facts: Mapping[str, Any] = {}
    for event in found.events:
        facts = old_fold(facts, event)

        state = fold(REGISTRATION, None, found.events[: event.version])
        assert json.dumps(state.facts) == json.dumps(facts)
    assert encode_snapshot(state) == (path.parent / "state.json").read_bytes()


@given(
    st.lists(st.sampled_from(["revise", "submit_for_review", "approve", "reject", "register"]), max_size=12)
)
@tries(100)
def test_any_history_of_format_1_folds_as_it_did(actions):
    """Not only the kept ones: whatever could be done then, the snapshot is the same to the byte."""
    log = Log()
    log.do("create")
    onward = {
        "DRAFT": {"revise", "submit_for_review"},
        "REVIEWED": {"approve", "reject"},
        "APPROVED": {"reject", "register"},  # a second approval came later
        "REGISTERED": set(),
    }
    for action in actions:
        if action in onward[log.state.state]:
            log.do(action, reason="r", actor=f"{action}er")
    found = log.scan(as_format_1(log))
    assert found.fault is None
    facts: Mapping[str, Any] = {}
    for event in found.events:
        facts = old_fold(facts, event)

    state = fold(REGISTRATION, None, found.events)

    assert json.dumps(state.facts) == json.dumps(facts)
    assert (state.state, state.digest, state.version) == (
        log.state.state,
        log.state.digest,
        log.state.version,
    )


def test_an_old_approval_counts_where_there_is_no_policy():
    """What was approved before policies were, for this very document, is approved; it names no policy and no head."""
    log = Log()
    log.do("create")
    log.do("submit_for_review")
    log.do("approve", actor="bea")
    old = Log()
    old.events = log.scan(as_format_1(log)).events
    old.state = fold(REGISTRATION, None, old.events)

    assert old.state.approvals == (
        {"actor": "bea", "time": old.events[2].time, "version": 3, "digest": weather().digest},
    )
    assert old.do("register").state == "REGISTERED"


def test_upcasting_changes_what_is_folded_and_not_what_was_written():
    """The event that is read back, and its line, are in the schema they were written in."""
    log = registered()
    found = log.scan(as_format_1(log))
    approved = found.events[2]

    upcast = REGISTRATION.upcast(approved)

    assert (approved.type, upcast.type) == ("registration.approved.v1", "registration.approved.v2")
    assert upcast.data == {**approved.data, "approval": {"digest": approved.data["digest"]}}
    assert (upcast.line, upcast.hash, upcast.version) == (approved.line, approved.hash, approved.version)
    assert "approval" not in approved.data
    assert REGISTRATION.upcast(upcast) is upcast


@pytest.mark.parametrize(
    ("type", "said"),
    [
        (
            "registration.approved.v1",
            {"approval": {"digest": "d", "policy": "p", "head": "h", "roles": ["r"]}},
        ),
        ("registration.rejected.v1", {"lapsed": [3, 4]}),
    ],
)
def test_what_an_event_says_itself_is_not_overwritten_by_an_upcaster(type, said):
    """A registry that was migrated to a lifecycle in which `approve` is of schema 1 again lost what approvals say.

    Its new events went through the upcaster of the old ones, and no approval under a policy ever counted.
    """
    event = _sealed(
        Log().new(type=type, data={"action": "x", "from": "A", "to": "B", "actor": "bea", **said})
    )

    upcast = REGISTRATION.upcast(event)

    assert upcast.type == type.replace(".v1", ".v2")
    assert upcast.data == event.data


NOTES = (
    State("OPEN"),
    State("DONE", final=True),
)


def notes(schema, **members):
    """A lifecycle whose event `noted` is in its third schema, or in whichever."""
    chart = Chart(
        "notes",
        states=NOTES,
        actions=(Action("start", "started"), Action("note", "noted", schema=schema), Action("end", "ended")),
        transitions=(
            Transition("start", None, "OPEN"),
            Transition("note", "OPEN", "OPEN"),
            Transition("end", "OPEN", "DONE"),
        ),
    )
    return Definition(chart, **members)


def test_schemas_are_climbed_one_by_one():
    """An event of the first schema is brought to the second, and that to the third; one of the third is left alone."""
    seen = []
    definition = notes(
        3,
        evolve=lambda facts, event: seen.append((event.type, dict(event.data))) or facts,
        upcasters={
            "notes.noted.v1": lambda data: {**data, "second": True},
            "notes.noted.v2": lambda data: {**data, "third": data.get("second")},
        },
    )
    log = Log(definition=definition)
    data = {"action": "note", "from": "OPEN", "to": "OPEN", "actor": None}

    log.add([log.new("note", type=f"notes.noted.v{schema}", data=data) for schema in (1, 2, 3)])

    assert seen == [
        ("notes.noted.v3", {**data, "second": True, "third": True}),
        ("notes.noted.v3", {**data, "third": None}),
        ("notes.noted.v3", data),
    ]


def test_a_definition_with_a_gap_between_schemas_can_not_be_built():
    """Each schema but the last has an upcaster, and each upcaster is of an event: all that is wrong is said at once."""
    with pytest.raises(InvalidDefinition) as caught:
        notes(3, upcasters={"notes.noted.v2": dict, "notes.noted.v3": dict, "notes.sung.v1": dict})

    assert caught.value.details["problems"] == [
        "the upcaster from notes.noted.v1 to the next schema is missing",
        "the upcaster of notes.noted.v3 matches no event",
        "the upcaster of notes.sung.v1 matches no event",
    ]


def test_a_definition_whose_guards_are_not_there_can_not_be_built():
    """The problem has its path, the name, and the names that there are."""
    chart = Chart(
        "notes",
        states=NOTES,
        actions=(Action("start", "started"), Action("end", "ended")),
        transitions=(
            Transition("start", None, "OPEN"),
            Transition("end", "OPEN", "DONE", guards=(GuardUse("wise"), GuardUse("paid"))),
        ),
    )

    with pytest.raises(InvalidDefinition) as caught:
        Definition(
            chart, guards={"paid": lambda *_: Verdict(agrees=True, reason="r"), "kind": lambda *_: None}
        )

    assert caught.value.details["problems"] == [
        "actions.end.guards: there is no guard 'wise'; there are kind, paid"
    ]


def test_events_of_an_earlier_lifecycle_stay_known():
    """What an earlier version of a lifecycle led to folds under the later one, which has no such action any more."""
    log = Log(definition=notes(1, earlier=frozenset({"notes.sung.v1"})))
    data = {"action": "sing", "from": "OPEN", "to": "HUMMING", "actor": None}
    log.do("start")

    state = log.add([log.new("note", type="notes.sung.v1", data=data)])

    assert state.state == "HUMMING"
    with pytest.raises(UnknownEvent):
        log.add([log.new("note", type="notes.sung.v2", data=data)])


def test_the_version_of_a_lifecycle_is_part_of_what_it_is():
    """Name, version and digest of the data form: another version is another lifecycle, also where all else is the same."""
    one, two = notes(1), notes(1, version=2)

    assert one.identity == {"name": "notes", "version": 1, "digest": one.identity["digest"]}
    assert two.data == {**one.data, "version": 2}
    assert one.identity["digest"] != two.identity["digest"]
    assert notes(1).identity == one.identity
