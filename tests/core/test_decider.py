"""Decide and fold: what a command leads to, what is refused and in which words, and what a log adds up to."""

from __future__ import annotations

import copy
import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration import __version__
from registration.core.chart import Action, Chart, GuardUse, State, Transition
from registration.core.codec import decode_snapshot, encode_snapshot
from registration.core.decider import KEYS_KEPT_MAX, check_state, decide, fold, is_same_request, nearest
from registration.core.definition import Definition
from registration.core.policy import NO_POLICY, Kind, Policy, Verdict
from registration.errors import (
    AlreadyExists,
    GuardRefused,
    IllegalTransition,
    InvalidArgument,
    Next,
    NotFound,
    PinMismatch,
    RegistrationError,
    Rejected,
    UnknownEvent,
)
from registration.rules.guards.builtin import approvals
from registration.rules.lifecycles.facts import keep_facts
from registration.rules.lifecycles.registration import CHART, REGISTRATION
from tests.kit.builders import (
    ELSEWHERE,
    FIRST_TIME,
    SOURCE,
    STREAM,
    Log,
    asked,
    i_json_objects,
    registered,
    texts,
    tries,
    weather,
)

# -- a story, told whole ---------------------------------------------------------------------------------

STORY = """\
> ana approve
NotFound: There is no manifest 'io.github.acme/weather@1.2.0'. Create it first.
> ana create
1 DRAFT
> ana create
AlreadyExists: 'io.github.acme/weather@1.2.0' exists already: it is DRAFT, at version 1. Choose another id, or \
`revise` it.
> ben approve
IllegalTransition: 'io.github.acme/weather@1.2.0' is DRAFT and can't do 'approve' from there: the lifecycle has \
no such transition. From DRAFT it can: revise (to DRAFT), submit_for_review (to REVIEWED).
> ana submit_for_review
2 REVIEWED
> ben approve comment='looks good'
3 APPROVED approved by ben at 3
> cem reject
GuardRefused: 'reject' of 'io.github.acme/weather@1.2.0' was refused: a reason is required but missing. \
Give a reason.
> cem reject reason='wrong title'
4 DRAFT
> ana revise
5 DRAFT
> ana target=REVIEWED
6 REVIEWED
> ben target=APPROVED
7 APPROVED approved by ben at 7
> ana aprove
InvalidArgument: The lifecycle 'registration' has no action 'aprove'. Did you mean 'approve'? Its actions are create, revise, submit_for_review, approve, reject, register.
> ana target=APPROVED
IllegalTransition: 'io.github.acme/weather@1.2.0' is APPROVED and can't go to APPROVED from there: it is there \
already. From APPROVED it can: approve (to APPROVED), reject (to DRAFT), register (to REGISTERED).
> dan register
8 REGISTERED approved by ben at 7
> dan reject reason=late
IllegalTransition: 'io.github.acme/weather@1.2.0' is REGISTERED and can't do 'reject' from there: the lifecycle \
has no such transition. REGISTERED is final.
> ana create
AlreadyExists: 'io.github.acme/weather@1.2.0' exists already: it is REGISTERED, at version 8. Choose another id.
"""


def play(story):
    """Carry out the commands of a transcript; give the transcript as it comes out."""
    log, told = Log(), []
    for line in story.splitlines():
        if not line.startswith("> "):
            continue
        told.append(line)
        actor, *words = shlex.split(line[2:])
        said = dict(word.split("=", 1) for word in words if "=" in word)
        action = next((word for word in words if "=" not in word), None)
        try:
            state = log.do(action, actor=actor, **said)
        except RegistrationError as error:
            told.append(f"{type(error).__name__}: {error}")
        else:
            approvals = [f"approved by {a['actor']} at {a['version']}" for a in state.approvals]
            told.append(" ".join([str(state.version), state.state, *approvals]))
    return "\n".join(told) + "\n"


def test_a_manifest_on_its_way():
    """The whole life of a manifest, wrong turns included, in the words that people read."""
    assert play(STORY) == STORY


# -- what a command leads to -----------------------------------------------------------------------------


def decided(state, command, time=FIRST_TIME, definition=REGISTRATION, policy=NO_POLICY):
    (event,) = decide(definition, state, command, time=time, event_id="id-1", policy=policy)
    return event


def test_creation_brings_the_document_and_its_digest():
    """The first event holds the document whole, its digest, and nothing that nobody said."""
    document = weather()

    event = decided(None, asked("create", document=document))

    assert event.type == "registration.created.v1"
    assert event.data == {
        "action": "create",
        "from": None,
        "to": "DRAFT",
        "actor": "ana",
        "lifecycle": REGISTRATION.identity,
        "release": __version__,
        "digest": document.digest,
        "document": document.value,
    }
    assert (event.id, event.time, event.correlation_id) == ("id-1", FIRST_TIME, "id-1")
    assert (event.causation_id, event.idempotency_key, event.traceparent) == (None, None, None)


def test_what_the_caller_says_goes_into_the_event():
    """Reason, comment, context, key, correlation, cause and trace are in the event as they were given."""
    state = registered().state
    in_review = replace(state, state="REVIEWED")
    command = asked(
        "reject",
        reason="wrong",
        comment="see ticket",
        context={"ticket": 7},
        idempotency_key="k",
        correlation_id="c",
        causation_id="d",
        traceparent="t",
    )

    event = decided(in_review, command)

    assert list(event.data) == [
        "action", "from", "to", "actor", "reason", "comment", "context", "lifecycle", "release", "lapsed", "digest",
    ]  # fmt: skip
    assert (event.data["reason"], event.data["comment"], event.data["context"]) == (
        "wrong",
        "see ticket",
        {"ticket": 7},
    )
    assert (event.idempotency_key, event.correlation_id, event.causation_id, event.traceparent) == tuple(
        "kcdt"
    )


def test_every_event_names_the_document_that_it_is_about():
    """An approval is bound to what was looked at: the digest of the document as it stands."""
    log = Log()
    log.do("create")
    log.do("revise", document=weather(title="other"))
    log.do("submit_for_review")
    log.do("approve")

    first, *others = [event.data["digest"] for event in log.events]

    assert first == weather().digest
    assert others == [weather(title="other").digest] * 3


def test_a_target_is_reached_by_the_action_that_leads_there():
    """Naming where to go is as good as naming the action; a compound state means its initial child."""
    log = Log()
    log.do("create")

    assert decided(log.state, asked(None, target="REVIEWED")).data["action"] == "submit_for_review"
    assert decided(log.state, asked(None, target="IN_REVIEW")).data["action"] == "submit_for_review"
    log.do("submit_for_review")
    assert decided(log.state, asked(None, target="APPROVED")).data["action"] == "approve"
    assert decided(log.state, asked(None, target="DRAFT", reason="no")).data["action"] == "reject"


def test_a_clock_that_goes_back_never_makes_history_go_back():
    """Where the writer's clock is behind the last event, that event's time is taken."""
    log = Log()
    before = log.do("create").updated_at
    log.clock.advance(-3600)

    assert log.do("submit_for_review").updated_at == before
    assert [event.time for event in log.events] == [before, before]
    assert log.state.created_at == before


def test_deciding_changes_nothing():
    """The same state and command give the same events, as often as they are asked, and stay as they were."""
    state, command = registered().state, asked("revise", context={"a": [1]})
    draft = replace(state, state="DRAFT")
    before = copy.deepcopy((draft, command))

    assert decided(draft, command) == decided(draft, command)
    assert (draft, command) == before


# -- refusals --------------------------------------------------------------------------------------------


def in_state(name):
    """A manifest that stands in a state."""
    log = registered()
    return replace(log.state, state=name)


def refused(kind, state, command, definition=REGISTRATION, policy=NO_POLICY):
    with pytest.raises(kind) as caught:
        decided(state, command, definition=definition, policy=policy)
    assert type(caught.value) is kind
    json.dumps(caught.value.as_json())
    return caught.value


@pytest.mark.parametrize("action", ["revise", "submit_for_review", "approve", "reject", "register"])
def test_nothing_but_creation_meets_no_manifest(action):
    """A command for a manifest that isn't there says that it isn't there."""
    error = refused(NotFound, None, asked(action))

    assert error.details == {"manifest_id": STREAM}
    assert error.next_step == "Create it first."


def test_a_target_is_no_way_to_create():
    """Nothing is created by naming a state."""
    refused(NotFound, None, asked(None, target="DRAFT", document=weather()))


@pytest.mark.parametrize("state", ["DRAFT", "REVIEWED", "APPROVED", "REGISTERED"])
def test_creation_meets_a_manifest(state):
    """An id is taken for good, and the error says what has it."""
    error = refused(AlreadyExists, in_state(state), asked("create"))

    assert error.details == {"manifest_id": STREAM, "state": state, "version": 8}
    assert not isinstance(error, Rejected)


@pytest.mark.parametrize(
    ("state", "action", "allowed"),
    [
        ("DRAFT", "register", {"revise": "DRAFT", "submit_for_review": "REVIEWED"}),
        ("REVIEWED", "register", {"approve": "APPROVED", "reject": "DRAFT"}),
        ("APPROVED", "revise", {"approve": "APPROVED", "reject": "DRAFT", "register": "REGISTERED"}),
        ("REGISTERED", "approve", {}),
    ],
)
def test_a_move_that_the_lifecycle_does_not_have(state, action, allowed):
    """The error says where the manifest is, and everything that can be done from there."""
    error = refused(IllegalTransition, in_state(state), asked(action))

    assert error.details == {
        "manifest_id": STREAM,
        "state": state,
        "version": 8,
        "action": action,
        "target": None,
        "allowed": allowed,
    }
    assert f"is {state} and can't do '{action}' from there: the lifecycle has no such transition." in str(
        error
    )
    assert all(f"{name} (to {target})" in error.next_step for name, target in allowed.items())


@pytest.mark.parametrize(
    ("state", "target", "why"),
    [
        ("DRAFT", "REGISTERED", "the lifecycle has no such transition"),
        ("DRAFT", "DRAFT", "it is there already"),
        ("REVIEWED", "REVIEWED", "it is there already"),
        ("REVIEWED", "IN_REVIEW", "it is there already"),
        ("APPROVED", "IN_REVIEW", "it is there already"),
        ("REGISTERED", "DRAFT", "the lifecycle has no such transition"),
    ],
)
def test_a_target_that_can_not_be_reached(state, target, why):
    """The error tells a place that is too far from one where the manifest is already."""
    error = refused(IllegalTransition, in_state(state), asked(None, target=target))

    assert error.details["target"] == target
    assert error.problem.endswith(f"is {state} and can't go to {target} from there: {why}.")


def test_a_state_of_an_older_lifecycle_can_do_nothing():
    """A manifest in a state that the chart has lost is refused every move."""
    error = refused(IllegalTransition, in_state("PENDING"), asked("approve"))

    assert error.details["allowed"] == {}
    assert "is PENDING and can't do 'approve'" in error.problem


def test_a_state_of_an_older_lifecycle_is_not_called_final():
    """Nobody is told that a state is final which the lifecycle doesn't even have."""
    error = refused(IllegalTransition, in_state("PENDING"), asked("approve"))

    assert "is final" not in error.next_step


def test_the_final_state_says_so():
    """From the final state nothing leads on, and the next step says why."""
    assert (
        refused(IllegalTransition, in_state("REGISTERED"), asked("approve")).next_step
        == "REGISTERED is final."
    )


@pytest.mark.parametrize("state", [None, "DRAFT", "REGISTERED"])
def test_an_unknown_action_is_a_mistake_of_the_caller(state):
    """A misspelt action is told from one that isn't possible now, and the nearest one is suggested."""
    error = refused(InvalidArgument, in_state(state) if state else None, asked("registr"))

    assert error.problem == "The lifecycle 'registration' has no action 'registr'. Did you mean 'register'?"
    known = ["create", "revise", "submit_for_review", "approve", "reject", "register"]
    assert error.next_step == f"Its actions are {', '.join(known)}."
    assert error.details == {"action": "registr", "actions": known}


def test_an_unknown_target_is_a_mistake_of_the_caller():
    """A misspelt state is answered with the nearest one and the list of all."""
    error = refused(InvalidArgument, in_state("DRAFT"), asked(None, target="approved"))

    assert error.problem == "The lifecycle 'registration' has no state 'approved'. Did you mean 'APPROVED'?"
    assert error.next_step == "Its states are DRAFT, REVIEWED, APPROVED, REGISTERED."
    assert error.details == {"state": "approved", "states": ["DRAFT", "REVIEWED", "APPROVED", "REGISTERED"]}


@pytest.mark.parametrize(("state", "action"), [(None, "create"), ("DRAFT", "revise")])
def test_a_document_that_is_missing(state, action):
    """Who creates or revises brings a document."""
    error = refused(InvalidArgument, in_state(state) if state else None, asked(action, document=None))

    assert error.problem == f"'{action}' needs a document, but none was given."
    assert error.details == {"action": action}


@pytest.mark.parametrize(("state", "action"), [("DRAFT", "submit_for_review"), ("REVIEWED", "approve")])
def test_a_document_that_is_misplaced(state, action):
    """No other action takes one: nobody smuggles a new document in with an approval."""
    error = refused(InvalidArgument, in_state(state), asked(action, document=weather()))

    assert error.problem == f"'{action}' takes no document."


def test_a_rejection_without_a_reason_is_refused():
    """The guard says what is missing; its verdict is in the details."""
    error = refused(GuardRefused, in_state("APPROVED"), asked("reject", reason=""))

    assert isinstance(error, Rejected)
    assert error.details == {
        "manifest_id": STREAM,
        "action": "reject",
        "actor": "ana",
        "state": "APPROVED",
        "version": 8,
        "to": "DRAFT",
        "allowed": False,
        "verdicts": [
            {
                "guard": "reason_given",
                "origin": "lifecycle",
                "agrees": False,
                "reason": "a reason is required but missing",
                "evidence": {},
                "remedy": "Give a reason.",
            }
        ],
        "who": {"anybody": True, "actors": [], "excluded": []},
        "next": f"reject {STREAM!r}, giving reason",
        "next_actions": [step.as_json() for step in error.next],
        "digest": weather(title="Weather").digest,
        "policy": None,
        "lifecycle": REGISTRATION.identity,
    }
    assert error.next == (Next(operation="act", id=STREAM, action="reject", missing=("reason",)),)


def agrees(_state, _command, _policy):
    return Verdict(agrees=True, reason="it is paid", evidence={"amount": 5})


def late(_state, _command, _policy):
    return Verdict(agrees=False, reason="it is late", remedy="Come earlier.")


def unsigned(_state, command, _policy):
    return Verdict(
        agrees=False,
        reason=f"{command.actor} has not signed",
        evidence={"actor": command.actor},
        remedy="Sign it.",
    )


TICKETS = Definition(
    Chart(
        "ticket",
        states=(State("OPEN"), State("DONE", final=True)),
        actions=(Action("open", "opened"), Action("finish", "finished"), Action("cancel", "cancelled")),
        transitions=(
            Transition("open", None, "OPEN"),
            Transition(
                "finish", "OPEN", "DONE", guards=(GuardUse("paid"), GuardUse("in_time"), GuardUse("signed"))
            ),
            Transition("cancel", "OPEN", "DONE"),
        ),
    ),
    guards={"paid": agrees, "in_time": late, "signed": unsigned},
)


def opened():
    log = Log(definition=TICKETS)
    return log.do("open")


def test_every_guard_is_asked():
    """One answer holds every refusal, and what the other guards said, in their order."""
    error = refused(GuardRefused, opened(), asked("finish"), TICKETS)

    assert error.problem == f"'finish' of {STREAM!r} was refused: it is late; ana has not signed."
    assert error.next_step == "Come earlier. Sign it."
    assert error.details["verdicts"] == [
        {"guard": "paid", "origin": "lifecycle", "agrees": True, "reason": "it is paid",
         "evidence": {"amount": 5}, "remedy": ""},
        {"guard": "in_time", "origin": "lifecycle", "agrees": False, "reason": "it is late",
         "evidence": {}, "remedy": "Come earlier."},
        {"guard": "signed", "origin": "lifecycle", "agrees": False, "reason": "ana has not signed",
         "evidence": {"actor": "ana"}, "remedy": "Sign it."},
    ]  # fmt: skip


def test_a_target_that_two_actions_lead_to_is_no_answer():
    """Where two actions lead to the target, nothing is guessed: the error names both."""
    error = refused(IllegalTransition, opened(), asked(None, target="DONE"), TICKETS)

    assert error.problem.endswith("can't go to DONE from there: both 'finish' and 'cancel' lead there.")
    assert error.next_step == "Name one of the actions."


def test_a_definition_without_documents_has_none():
    """A lifecycle without documents keeps neither document nor digest."""
    state = opened()

    assert (state.document, state.digest) == (None, None)
    assert "digest" not in decided(state, asked("cancel"), definition=TICKETS).data


@pytest.mark.parametrize(
    ("wanted", "suggestion"),
    [
        ("draft", " Did you mean 'DRAFT'?"),
        ("Review", " Did you mean 'REVIEWED'?"),
        ("REGISTRED", " Did you mean 'REGISTERED'?"),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_the_nearest_word_is_suggested(wanted, suggestion):
    """A misspelling is answered with the word that was meant, case aside; nonsense with nothing."""
    assert nearest(wanted, CHART.leaves) == suggestion


@pytest.mark.parametrize("name", ["DRAFT", "REVIEWED", "APPROVED", "REGISTERED", "IN_REVIEW"])
def test_a_state_that_the_lifecycle_has(name):
    """Every state is one, compound ones included."""
    assert check_state(CHART, name) == name


@pytest.mark.parametrize("name", ["draft", "", "DRAFT ", "PUBLISHED"])
def test_a_state_that_the_lifecycle_does_not_have(name):
    """Anything else is refused, with the list of states."""
    with pytest.raises(InvalidArgument, match="has no state") as caught:
        check_state(CHART, name)

    assert caught.value.details["states"] == ["DRAFT", "REVIEWED", "APPROVED", "REGISTERED"]


# -- approvals -------------------------------------------------------------------------------------------


def test_an_approval_says_who_when_and_of_what():
    """What is kept of an approval is the person, the time, the version, the exact document, and what it was decided on.

    That is the head of the log that was looked at, the lifecycle, the policy, and the roles that the person had.
    """
    log = Log()
    log.do("create")
    before = log.do("submit_for_review")
    state = log.do("approve", actor="ben")

    assert state.approvals == (
        {
            "actor": "ben",
            "time": state.updated_at,
            "version": 3,
            "digest": weather().digest,
            "policy": None,
            "lifecycle": REGISTRATION.identity["digest"],
            "head": before.position.head,
            "roles": [],
        },
    )
    assert log.do("register").approvals == state.approvals


def test_a_rejection_lapses_the_approvals():
    """What is sent back is approved by nobody, even where its document stays as it was."""
    log = Log()
    log.do("create")
    log.do("submit_for_review")
    log.do("approve")

    assert log.do("reject", reason="no").approvals == ()
    assert log.do("submit_for_review").approvals == ()


def test_another_document_lapses_the_approvals():
    """However an event brings another document, nobody has approved that one."""
    log = Log()
    log.do("create")
    log.do("submit_for_review")
    log.do("approve")
    other = weather(title="other")
    swapped = log.new(
        data={"action": "revise", "from": "APPROVED", "to": "APPROVED", "actor": "eve",
              "digest": other.digest, "document": other.value}
    )  # fmt: skip

    assert log.add([swapped]).approvals == ()


# -- an approval can't be carried ------------------------------------------------------------------------


def ruled(*, count=1, name="acme", roles=None, **members):
    """A policy that demands approvals before anything is registered."""
    return Policy(
        name=name,
        roles=roles or {},
        uses={"register": (GuardUse("approvals", {"count": count, **members}),)},
        guards={"approvals": approvals},
    )


def approved_under(policy, *actors, document=None):
    log = Log(policy=policy)
    log.do("create", document=document or weather())
    log.do("submit_for_review")
    for actor in actors or ("bea",):
        log.do("approve", actor=actor)
    return log


def not_counted(log):
    """Why registering is refused: the approvals that don't count, by actor, and why."""
    error = refused(GuardRefused, log.state, asked("register", stream=log.stream), policy=log.policy)
    return {
        one["actor"]: one["why"]
        for verdict in error.details["verdicts"]
        for one in verdict["evidence"]["not_counted"]
    }


def carried(log, **members):
    """The latest approval, as if it had been given now, to whatever stands there now; `members` go over its own."""
    given = [event for event in log.events if "approval" in event.data][-1].data
    data = {**given, "from": log.state.state, "to": "APPROVED", "digest": log.state.digest}
    return log.add([log.new("approve", data={**data, "approval": {**given["approval"], **members}})])


def test_an_approval_is_not_carried_to_another_document():
    """Each try: over a revision and back into review, or as an event that speaks of the earlier document."""
    log = approved_under(NO_POLICY)
    log.do("reject", reason="title")
    log.do("revise", document=weather(title="other"))
    log.do("submit_for_review")

    carried(log)

    assert log.state.state == "APPROVED"
    assert not_counted(log) == {"bea": "another document"}
    log.do("approve", actor="cyd")
    assert log.do("register").state == "REGISTERED"


def test_an_approval_does_not_come_back_with_its_document():
    """Who brings the first document again brings no approval of it: what lapsed has lapsed."""
    log = approved_under(NO_POLICY)
    log.do("reject", reason="title")
    log.do("revise", document=weather(title="other"))
    log.do("revise", document=weather())
    log.do("submit_for_review")

    assert log.state.digest == log.events[2].data["approval"]["digest"]
    assert log.state.approvals == ()
    refused(IllegalTransition, log.state, asked("register"))


OTHER_RULES = [
    NO_POLICY,
    ruled(name="other"),
    ruled(count=2),
    replace(ruled(), log_refusals=True),
    replace(ruled(), kinds=(Kind("k", {"/name": True}),)),
]


@pytest.mark.parametrize("given", OTHER_RULES, ids=range(len(OTHER_RULES)))
@pytest.mark.parametrize("back", [False, True], ids=["given", "in-force"])
def test_an_approval_is_not_carried_to_another_policy(given, back):
    """Whatever the rules were that it was given under, under others it doesn't count; under the same ones it does."""
    before, after = (ruled(), given) if back else (given, ruled())
    log = approved_under(before, "bea", "cyd")

    log.policy = after

    assert not_counted(log) == {"bea": "another policy", "cyd": "another policy"}
    log.policy = before
    assert log.do("register").state == "REGISTERED"


def test_an_approval_that_claims_the_policy_in_force_counts_for_it_alone():
    """The claim is the event's own; a later approval by the same person stands for itself."""
    log = approved_under(ruled(name="old"))
    log.policy = ruled()

    log.do("approve", actor="bea")

    assert log.do("register").state == "REGISTERED"
    assert [one["policy"] for one in log.state.approvals] == [ruled(name="old").digest, ruled().digest]


def test_an_approval_is_not_carried_to_another_manifest():
    """The same document, the same rules, the same people: each manifest is approved for itself."""
    approved_under(ruled())
    other = Log(stream="io.github.acme/other", policy=ruled())
    other.do("create")
    other.do("submit_for_review")

    refused(IllegalTransition, other.state, asked("register", stream=other.stream), policy=other.policy)
    assert other.state.approvals == ()


def test_each_person_counts_once():
    """Two approvals by one person are one of two: the second is refused, and adds nothing in a log that has it."""
    log = approved_under(ruled(count=2), "bea")
    again = refused(GuardRefused, log.state, asked("approve", actor="bea"), policy=log.policy)
    assert again.details["verdicts"][-1]["guard"] == "once"
    (approval,) = log.state.facts["approvals"]
    log.state = replace(
        log.state, facts={**log.state.facts, "approvals": [approval, {**approval, "version": 4}]}
    )

    error = refused(GuardRefused, log.state, asked("register"), policy=log.policy)

    (verdict,) = [one for one in error.details["verdicts"] if one["origin"] == "policy"]
    assert verdict["evidence"]["counted"] == [{"actor": "bea", "version": 4}]
    assert "1 of 2 approvals" in verdict["reason"]
    log.do("approve", actor="cyd")
    assert log.do("register").state == "REGISTERED"


def test_roles_are_those_of_the_moment_of_approving():
    """What somebody is when he approves stands in the approval; what he becomes later, or was before, doesn't count."""
    policy = ruled(roles={"security": ("bea",)}, count=1)
    policy = replace(
        policy, uses={"register": (GuardUse("approvals", {"count": 1, "roles": {"security": 1}}),)}
    )
    log = approved_under(policy, "cyd")

    error = refused(GuardRefused, log.state, asked("register"), policy=policy)
    log.do("approve", actor="bea")

    assert "0 of 1 by security" in error.problem
    assert [one["roles"] for one in log.state.approvals] == [[], ["security"]]
    assert log.do("register").state == "REGISTERED"


# -- what was looked at ----------------------------------------------------------------------------------

ELSE = {"digest": "sha256:" + "0" * 64, "head": "0" * 64}


@pytest.mark.parametrize("what", ["digest", "head"])
def test_what_was_looked_at_has_to_be_what_is_there(what):
    """Whoever pins the document, or the whole log, is refused where it is another by now, whatever else is wrong."""
    log = approved_under(NO_POLICY)
    found = {"digest": log.state.digest, "head": log.state.position.head}[what]

    error = refused(PinMismatch, log.state, asked("revise", **{f"expected_{what}": ELSE[what]}))

    assert isinstance(error, Rejected)
    assert error.details == {
        "manifest_id": STREAM,
        "version": 3,
        "pinned": what,
        "expected": ELSE[what],
        "found": found,
    }
    assert f"has the {what} {found}; expected {ELSE[what]}." in error.problem
    assert decided(log.state, asked("register", **{f"expected_{what}": found}))


def test_a_pinned_log_that_went_on_is_another():
    """The head of the log moves with every event, the digest only with the document."""
    log = approved_under(NO_POLICY)
    seen = log.state

    log.do("approve", actor="cyd")

    assert decided(log.state, asked("register", expected_digest=seen.digest))
    refused(PinMismatch, log.state, asked("register", expected_head=seen.position.head))


# -- what an event is decided under, and what follows from it --------------------------------------------


def test_an_event_says_what_it_was_decided_under():
    """The lifecycle and the policy by digest, and the release; where there are no rules, nothing is said of them."""
    log = Log(policy=ruled())
    log.do("create")
    log.policy = NO_POLICY
    log.do("submit_for_review")

    first, second = (event.data for event in log.events)

    assert (first["lifecycle"], first["policy"], first["release"]) == (
        REGISTRATION.identity,
        ruled().digest,
        __version__,
    )
    assert (second["lifecycle"], second["release"]) == (first["lifecycle"], __version__)
    assert "policy" not in second


def test_an_undoing_says_what_it_takes_back():
    """The event names the version that it undoes; all others have no such word."""
    log = Log()
    log.do("create")
    log.do("submit_for_review")

    log.do("reject", reason="oops", undoes=2)

    assert log.events[-1].data["undoes"] == 2
    assert not any("undoes" in event.data for event in log.events[:-1])


REVIEWS = Definition(
    Chart(
        "reviews",
        states=(
            State("BOTH", parallel=True, done="READY"),
            State("LAW", parent="BOTH", initial="LAW_OPEN"),
            State("LAW_OPEN", parent="LAW"),
            State("LAW_DONE", parent="LAW", final=True),
            State("SAFETY", parent="BOTH", initial="SAFETY_OPEN"),
            State("SAFETY_OPEN", parent="SAFETY"),
            State("SAFETY_DONE", parent="SAFETY", final=True),
            State("READY"),
            State("PAUSED"),
            State("SHELF", initial="UPPER"),
            State("UPPER", parent="SHELF"),
            State("LOWER", parent="SHELF"),
            State("AS_BEFORE", parent="SHELF", history=True, initial="UPPER"),
            State("DONE", final=True),
        ),
        actions=(
            Action("open", "opened"),
            Action("pass_law", "law_passed"),
            Action("pass_safety", "safety_passed"),
            Action("shelve", "shelved"),
            Action("move", "moved"),
            Action("pause", "paused"),
            Action("resume", "resumed"),
            Action("finish", "finished"),
        ),
        transitions=(
            Transition("open", None, "BOTH"),
            Transition("pass_law", "LAW_OPEN", "LAW_DONE"),
            Transition("pass_safety", "SAFETY_OPEN", "SAFETY_DONE"),
            Transition("shelve", "READY", "SHELF"),
            Transition("move", "UPPER", "LOWER"),
            Transition("pause", "SHELF", "PAUSED"),
            Transition("resume", "PAUSED", "AS_BEFORE"),
            Transition("finish", "SHELF", "DONE"),
        ),
    ),
    evolve=keep_facts,
)
"""Two reviews at once, which are joined; and a shelf that remembers its place."""


def reviewed(*actions):
    log = Log(definition=REVIEWS)
    for action in ("open", *actions):
        log.do(action)
    return log


def test_regions_are_joined_by_the_last_of_them():
    """A place names every active leaf; the event that ends the last region says what it joined."""
    log = reviewed("pass_safety", "pass_law")

    assert [event.to_state for event in log.events] == [
        "LAW_OPEN+SAFETY_OPEN",
        "LAW_OPEN+SAFETY_DONE",
        "READY",
    ]
    assert [event.data.get("joined") for event in log.events] == [None, None, ["BOTH"]]


def test_where_a_region_stands_can_be_asked_for_by_name():
    """A target inside one region is reached where that region enters it, whatever the others do."""
    log = reviewed()

    assert decided(log.state, asked(None, target="LAW_DONE"), definition=REVIEWS).data["action"] == "pass_law"
    assert (
        refused(IllegalTransition, log.state, asked(None, target="LAW"), REVIEWS)
        .problem.endswith("it is there already.")
    )  # fmt: skip


def test_what_was_active_is_remembered_in_the_events():
    """Going back leads to where it was left: the events say so, and any lifecycle that knows them folds them alike."""
    log = reviewed("pass_safety", "pass_law", "shelve", "move", "pause")

    log.do("resume")

    assert log.events[-2].data["history"] == {"SHELF": "LOWER"}
    assert log.state.state == "LOWER"
    gone = replace(TICKETS, earlier=REVIEWS.event_types, evolve=keep_facts)
    assert fold(gone, None, log.events).facts == log.state.facts


def test_without_a_memory_the_initial_child_is_meant():
    """What never was left is entered at its initial child."""
    log = reviewed("pass_safety", "pass_law", "shelve")

    assert "history" not in log.events[-1].data
    assert log.do("pause").state == "PAUSED"
    assert log.do("resume").state == "UPPER"


# -- idempotency keys ------------------------------------------------------------------------------------


def test_the_keys_used_last_are_kept():
    """A snapshot remembers the last 64 keys, oldest first, each with the version it led to, and no more."""
    log = Log()
    log.do("create", idempotency_key="key-1")
    for n in range(2, 71):
        log.do("revise", idempotency_key=f"key-{n}")

    assert KEYS_KEPT_MAX == 64
    assert log.state.keys == tuple((f"key-{n}", n) for n in range(7, 71))


def test_commands_without_a_key_push_none_out():
    """The window counts keys, not events."""
    log = Log()
    log.do("create", idempotency_key="first")
    for _ in range(100):
        log.do("revise")

    assert log.state.keys == (("first", 1),)


def test_the_window_of_keys_does_not_depend_on_where_folding_stopped():
    """Folding a long log in one go or in pieces keeps the same 64 keys."""
    log = Log()
    log.do("create", idempotency_key="key-1")
    for n in range(2, 80):
        log.do("revise", idempotency_key=f"key-{n}")

    half = fold(REGISTRATION, None, log.events[:40])

    assert fold(REGISTRATION, half, log.events[40:]) == fold(REGISTRATION, None, log.events) == log.state


# -- the same request again ------------------------------------------------------------------------------


def recorded(action, **said):
    """The event that a command left, and the command."""
    states = {
        "create": None,
        "revise": "DRAFT",
        "submit_for_review": "DRAFT",
        "approve": "REVIEWED",
        "reject": "APPROVED",
    }
    log = Log()
    if states[action]:
        log.state = in_state(states[action])
    log.do(action, **said)
    return log.events[-1]


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("create", {}),
        ("approve", {}),
        ("approve", {"comment": "fine", "context": {"a": [1, {"b": None}]}}),
        ("reject", {"reason": "no", "comment": ""}),
        ("revise", {"document": weather(title="other")}),
        ("approve", {"actor": None}),
    ],
)
def test_the_same_request_is_recognised(action, said):
    """What was asked once is the same request when it is asked again, word for word."""
    assert is_same_request(REGISTRATION, asked(action, **said), recorded(action, **said))


def test_what_does_not_belong_to_a_request_is_not_compared():
    """A retry may come under another trace, another correlation, or with the members in another order."""
    event = recorded("revise", document=weather(), correlation_id="one", traceparent="t")
    reordered = weather(**dict(reversed(weather().value.items())))

    assert is_same_request(REGISTRATION, asked("revise", document=reordered, correlation_id="two"), event)


@pytest.mark.parametrize("target", ["REVIEWED", "IN_REVIEW"])
def test_a_target_that_was_reached_is_the_same_request(target):
    """Asking for the state is the same request as the action that led there."""
    event = recorded("submit_for_review")

    assert is_same_request(REGISTRATION, asked(None, target=target), event)
    assert not is_same_request(REGISTRATION, asked(None, target="APPROVED"), event)
    assert not is_same_request(REGISTRATION, asked(None, target="NOWHERE"), event)


def test_a_target_is_never_the_same_request_as_a_revision():
    """A revision goes nowhere, so nobody can have asked for it by naming a state."""
    event = recorded("revise")

    assert not is_same_request(REGISTRATION, asked(None, target="DRAFT", document=weather()), event)


@pytest.mark.parametrize(
    "other",
    [
        {"action": "approve"},
        {"actor": "eve"},
        {"actor": None},
        {"reason": "another"},
        {"reason": None},
        {"comment": "more"},
        {"context": {"n": 2}},
        {"context": None},
        {"context": {"n": 1, "m": 1}},
        {"document": weather()},
    ],
)
def test_another_request_is_told_apart(other):
    """Another action, actor, word or document makes another request."""
    said = {"action": "reject", "reason": "no", "context": {"n": 1}}
    event = recorded(**said)

    assert is_same_request(REGISTRATION, asked(**said), event)
    assert not is_same_request(REGISTRATION, asked(**{**said, **other}), event)


def test_another_document_is_another_request():
    """The same action with another document is not the same request."""
    event = recorded("revise", document=weather(title="one"))

    assert not is_same_request(REGISTRATION, asked("revise", document=weather(title="two")), event)
    assert not is_same_request(REGISTRATION, asked("revise", document=None), event)


def test_true_is_not_one():
    """JSON's true and 1 are two things, though Python's are equal: another context is another request."""
    event = recorded("approve", context={"urgent": True})

    assert not is_same_request(REGISTRATION, asked("approve", context={"urgent": 1}), event)


# -- folding ---------------------------------------------------------------------------------------------


def test_the_fold_of_a_whole_log():
    """A log adds up to the state, the document, the times, the keys and the place that it ends at."""
    log = registered()

    state = fold(REGISTRATION, None, log.events)

    assert state == log.state
    assert (state.stream, state.manifest_id, state.source) == (STREAM, STREAM, SOURCE)
    assert (state.definition, state.state, state.version) == ("registration", "REGISTERED", 8)
    assert (state.created_at, state.updated_at) == (log.events[0].time, log.events[-1].time)
    assert state.document == weather(title="Weather").value
    assert state.digest == weather(title="Weather").digest
    assert state.keys == (("k-1", 1),)
    assert (state.position.version, state.position.size_bytes) == (8, len(log.raw))
    assert state.position.head == log.events[-1].hash


def test_folding_nothing_changes_nothing():
    """No events leave the state as it is, or absent."""
    state = registered().state

    assert fold(REGISTRATION, None, []) is None
    assert fold(REGISTRATION, state, []) is state


def test_folding_does_not_ask_the_chart():
    """A log that was written under an older lifecycle folds for ever, through states that are gone."""
    log = Log()
    log.add(
        [
            log.new(
                "approve",
                data={"action": "x", "from": "LIMBO", "to": "PENDING", "actor": None, "digest": "d"},
            )
        ]
    )

    assert log.state.state == "PENDING"


@pytest.mark.parametrize(
    "type",
    ["registration.created.v2", "registration.renamed.v1", "ticket.opened.v1", "", "registration.created"],
)
def test_an_event_of_a_later_release_stops_the_fold(type):
    """A type that this release doesn't know is never skipped in silence: the error says to upgrade."""
    log = Log()
    log.do("create")
    known = log.events[:]

    with pytest.raises(UnknownEvent) as caught:
        log.add([log.new(type=type)])

    assert caught.value.details == {"manifest_id": STREAM, "version": 2, "type": type, "release": None}
    assert f"is a {type!r}, which this release of the lifecycle 'registration' does not know" in str(
        caught.value
    )
    assert "It was written by a later release" in caught.value.next_step
    assert fold(REGISTRATION, None, known).version == 1


def test_an_event_of_a_later_release_names_that_release():
    """Where the event says which release wrote it, the error does as well: that is the one to upgrade to."""
    log = Log()
    log.do("create")
    data = {"action": "rename", "from": "DRAFT", "to": "DRAFT", "actor": None, "release": "9.1.0"}

    with pytest.raises(UnknownEvent) as caught:
        log.add([log.new(type="registration.renamed.v1", data=data)])

    assert caught.value.details["release"] == "9.1.0"
    assert caught.value.next_step == (
        "It was written by release 9.1.0: upgrade to that release or a later one, and read it again."
    )


@pytest.mark.parametrize(
    ("name", "version", "meanwhile"),
    [
        ("registration", 2, True),
        ("registration", 1, False),
        ("registration", True, False),
        ("other", 2, False),
    ],
)
def test_an_event_of_a_later_version_of_the_lifecycle_says_to_open_again(name, version, meanwhile):
    """A lifecycle may be put in force while a program has the registry open: it is behind, not its release."""
    log = Log()
    log.do("create")
    data = {"action": "rename", "from": "DRAFT", "to": "DRAFT", "actor": None}
    under = {"name": name, "version": version, "digest": "d"}

    with pytest.raises(UnknownEvent) as caught:
        log.add(
            [log.new(type="registration.renamed.v1", data={**data, "lifecycle": under, "release": "9.1"})]
        )

    assert ("open the registry again" in caught.value.next_step) is meanwhile
    assert ("upgrade" in caught.value.next_step) is not meanwhile


def test_an_approval_without_a_digest_folds():
    """The fold is total: an approval that names no document, as no release writes it, adds up all the same."""
    log = Log()
    log.do("create")

    assert log.add([log.new("approve")]).version == 2


TYPES = sorted(REGISTRATION.event_types)
CONSEQUENCES = {
    "lifecycle": st.just({"name": "registration", "version": 1, "digest": "d"}),
    "approval": st.fixed_dictionaries({"digest": texts()}, optional={"policy": st.none() | texts()}),
    "lapsed": st.lists(st.integers(1, 9), max_size=2),
    "history": st.dictionaries(texts(), texts(), max_size=2),
    "due": st.dictionaries(texts(), texts(), max_size=2),
    "lost": st.just({"offset_bytes": 0}),
}
"""What an event may say of a move besides the place that it leads to."""


@st.composite
def logs(draw, *, digests=True):
    """A log of any events of known types, in any order, in commands of any size."""
    log = Log(source=draw(st.sampled_from([SOURCE, ELSEWHERE])))
    for size in draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)):
        events = []
        for _ in range(size):
            data = {
                "action": draw(texts()),
                "from": draw(st.none() | texts()),
                "to": draw(st.sampled_from(["DRAFT", "APPROVED", "GONE"]) | texts()),
                "actor": draw(st.none() | texts()),
            }
            if digests:
                data["digest"] = draw(texts())
            if draw(st.booleans()):
                data["document"] = draw(i_json_objects())
            data |= draw(st.fixed_dictionaries({}, optional=CONSEQUENCES))
            type = draw(st.sampled_from(TYPES))
            key = draw(st.none() | st.sampled_from(["k1", "k2", "k3"]))
            events.append(log.new(type=type, data=data, idempotency_key=key))
        log.add(events)
    return log


@given(logs(), st.data())
@tries(60)
def test_folding_is_the_same_however_it_is_cut(log, data):
    """In one go, one by one, or cut anywhere and kept as a snapshot in between: the same state."""
    whole = fold(REGISTRATION, None, log.events)
    cut = data.draw(st.integers(0, len(log.events)))

    one_by_one = None
    for event in log.events:
        one_by_one = fold(REGISTRATION, one_by_one, [event])
    in_two = fold(REGISTRATION, fold(REGISTRATION, None, log.events[:cut]), log.events[cut:])
    kept = fold(REGISTRATION, None, log.events[:cut])
    if kept is not None:
        raw = encode_snapshot(kept)
        kept = decode_snapshot(raw, stream=STREAM, source=log.source, definition="registration")
    through_a_snapshot = fold(REGISTRATION, kept, log.events[cut:])

    assert one_by_one == in_two == through_a_snapshot == whole
    assert encode_snapshot(through_a_snapshot) == encode_snapshot(whole)


@given(logs())
@tries(60)
def test_the_fold_never_refuses_what_it_knows(log):
    """Whatever events of known types say, they have happened: they fold, and stay as they were."""
    before = copy.deepcopy(log.events)

    state = fold(REGISTRATION, None, log.events)

    assert state.version == len(log.events)
    assert state.state == log.events[-1].to_state
    assert state.position.size_bytes == len(log.raw)
    assert log.events == before


def test_a_fold_leaves_the_state_that_it_starts_from_alone():
    """Folding on from a state, twice, in two directions, gives two states and keeps the first."""
    log = Log()
    log.do("create", idempotency_key="a")
    log.do("submit_for_review")
    state = log.do("approve")
    before = encode_snapshot(state)

    other = Log()
    other.events, other.state = log.events[:], state
    log.do("reject", reason="no", idempotency_key="b")
    other.do("register")

    assert encode_snapshot(state) == before
    assert (log.state.approvals, len(other.state.approvals)) == ((), 1)
