"""A repair: the lost events may have ended any approval, so all of them lapse, and must be given again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registration import __version__
from registration.core.chart import Action, Chart, GuardUse, State, Timeout, Transition
from registration.core.decider import check_repair, decide_repair
from registration.core.definition import Definition
from registration.core.explanation import explain
from registration.core.policy import Limits, Policy
from registration.core.repairing import Lost, asked_in
from registration.errors import GuardRefused
from registration.rules.guards.builtin import approvals, not_the_author, reason_given, role
from registration.rules.lifecycles.facts import REPAIRS_KEPT_MAX, keep_facts
from registration.rules.lifecycles.loading import definition_of, shipped
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.commands import Command
from tests.kit.builders import STREAM, WATCH, Log


def log_of(*actions, definition=REGISTRATION, policy=None):
    """A log with these actions, each by its own actor."""
    log = Log(definition=definition, policy=policy or Policy())
    for action in actions:
        log.do(action, actor=f"{action}er", reason="because")
    return log


REVIEWED = ("create", "submit_for_review")
APPROVED = (*REVIEWED, "approve")


@pytest.mark.parametrize(
    ("actions", "place"),
    [
        (("create",), "DRAFT"),
        (REVIEWED, "REVIEWED"),
        ((*APPROVED, "reject"), "DRAFT"),
        (APPROVED, "REVIEWED"),
        ((*APPROVED, "register"), "REVIEWED"),
    ],
)
def test_a_repair_leads_to_where_approvals_must_be_given(actions, place):
    """States that need no approval stay; behind them, it continues where the first one can be given."""
    log = log_of(*actions)

    after = log.repair()

    assert (after.state, after.approvals) == (place, ())


def test_the_event_of_a_repair_says_what_follows_from_it():
    """The target, the lapsed approvals, the rules and the release, besides the loss; the fold needs no chart."""
    policy = Policy(
        uses={"repair": (GuardUse("role", {"any": ["admin"]}),)},
        guards={"role": role},
        roles={"admin": ("zoe",)},
        registry={"version": 3, "hash": "ab" * 32},
    )
    log = log_of(*APPROVED, policy=policy)
    log.do("approve", actor="bea")
    before = log.state

    log.repair(actor="zoe", reason="no backup")

    data = log.events[-1].data
    assert log.events[-1].type == "registration.repaired.v1"
    assert data["lost"] == {
        "offset_bytes": before.position.size_bytes,
        "size_bytes": 90,
        "last_version": 5,
        "kept_as": ["quarantine/x"],
        "damage": "the hash does not match",
    }
    assert {name: value for name, value in data.items() if name != "lost"} == {
        "action": "repair",
        "from": "APPROVED",
        "to": "REVIEWED",
        "actor": "zoe",
        "reason": "no backup",
        "lifecycle": REGISTRATION.identity,
        "policy": policy.digest,
        "roster": policy.roster,
        "registry": policy.registry,
        "release": __version__,
        "lapsed": [3, 4],
        "digest": before.digest,
    }
    assert log.state.facts["repairs"] == [
        {
            "actor": "zoe",
            "time": log.events[-1].time,
            "version": 5,
            "size_bytes": 90,
            "last_version": 5,
            "lapsed": [3, 4],
        }
    ]


def test_without_a_reason_the_damage_is_the_reason():
    """And then it is not there twice."""
    log = log_of("create")

    log.repair()

    assert log.events[-1].data["reason"] == "the hash does not match"
    assert "damage" not in log.events[-1].data["lost"]


@pytest.mark.parametrize("reason", [None, "no backup", "the hash does not match"])
def test_a_repair_can_be_decided_again_from_its_event(reason):
    """Who, why and what was lost are in the event, so the same decision comes out, whatever the reason."""
    log = log_of(*APPROVED, "register")
    before = log.state
    log.repair(reason=reason)
    event = log.events[-1]

    command, lost = asked_in(event)
    assert command.reason == reason
    again = decide_repair(REGISTRATION, before, command, lost, time=event.time, event_id=event.id)

    assert (again.data, again.type, again.time) == (event.data, event.type, event.time)


def test_a_name_that_another_manifest_was_seen_to_hold_is_released():
    """What was seen is in the event, so that it can be decided again; a manifest without a name has none to release."""
    for actions, released in (((*APPROVED, "register"), "io.github.acme/weather@1.2.0"), (APPROVED, None)):
        log = log_of(*actions)
        before = log.state
        seen = {"holder": {"manifest_id": "other", "version": 4, "hash": "ab" * 32}}
        command = Command(stream=STREAM, action="repair", actor="ana", seen=seen)
        made = decide_repair(REGISTRATION, before, command, LOST, time="2026", event_id=log.events[0].id)

        log.add([made])

        assert made.data.get("released") == released
        assert (log.state.name, made.data["seen"]) == (None, seen)
        again = decide_repair(
            REGISTRATION, before, *asked_in(log.events[-1]), time=made.time, event_id=made.id
        )
        assert again.data == made.data


def test_a_registered_manifest_keeps_its_name():
    """It is under review again, and nothing else can take its name meanwhile."""
    log = log_of(*APPROVED, "register")
    name = log.state.name
    assert name is not None

    log.repair()

    assert (log.state.state, log.state.name) == ("REVIEWED", name)
    log.do("approve", actor="bea")
    assert log.do("register").name == name
    assert "released" not in log.events[-1].data


def test_what_was_approved_before_does_not_count_afterwards():
    """The scenario: a rejection is lost, and the approval before it opens nothing any more."""
    log = log_of(*APPROVED)
    log.repair()

    log.do("approve", actor="bea")
    log.repair()
    with pytest.raises(Exception, match="can't do 'register'"):
        log.do("register")
    log.do("approve", actor="bea")

    assert log.do("register").state == "REGISTERED"


def test_only_the_latest_repairs_are_kept():
    """A log can be damaged any number of times; what a state keeps is bounded."""
    log = log_of("create")
    for _ in range(REPAIRS_KEPT_MAX + 3):
        log.repair()

    versions = [one["version"] for one in log.state.facts["repairs"]]

    assert versions == list(range(5, REPAIRS_KEPT_MAX + 5))


def test_a_repair_by_an_earlier_release_decides_nothing():
    """It said nothing of approvals, and those who read it then counted them on; so it folds as it did."""
    log = log_of(*APPROVED)
    before = log.state.facts
    data = {
        "action": "repair",
        "from": "APPROVED",
        "to": "APPROVED",
        "actor": None,
        "lost": {"size_bytes": 9},
    }

    log.add([log.new(type=REGISTRATION.repaired, data=data)])

    assert log.state.facts == before


# -- other lifecycles ------------------------------------------------------------------------------------------


def test_what_needs_no_approval_stays_though_it_lies_behind_others():
    """In the lifecycle with upkeep, a withdrawn draft was never approved; a suspended manifest was."""
    upkeep = definition_of(shipped("registration-upkeep"))
    withdrawn = log_of(*APPROVED, "register", "withdraw", definition=upkeep)
    suspended = log_of(*APPROVED, "register", "deprecate", "suspend", definition=upkeep)

    assert (withdrawn.repair().state, suspended.repair().state) == ("WITHDRAWN", "REVIEWED")
    assert "history" not in suspended.state.facts


def test_a_lifecycle_without_approvals_stays_where_it_is():
    """There is nothing to give again; time-outs run on, and sliding ones begin with the repair."""
    log = log_of("create", "ask", definition=WATCH)
    before = log.state.facts["due"]

    log.repair(time="2026-01-01T01:30:00.000000Z")

    assert log.state.state == "WAITING"
    assert log.state.facts["due"] == {
        "nudge": before["nudge"],
        "close": before["close"],
        "abandon": "2026-01-01T04:30:00.000000Z",
    }
    assert log.events[-1].data["lapsed"] == []


def lifecycle(states, moves, **more):
    """A lifecycle of which `sign` is the approval. moves: from, action, to, and its guards."""
    actions = dict.fromkeys(action for _, action, *_ in moves)
    return Definition(
        Chart(
            "deeds",
            states=tuple(states),
            actions=tuple(
                Action(name, f"{name}ed", document=name == "create", approval=name.startswith("sign"))
                for name in actions
            ),
            transitions=tuple(
                Transition(action, source, target, tuple(map(GuardUse, guards)))
                for source, action, target, *guards in moves
            ),
            **more,
        ),
        guards={"approvals": approvals, "reason_given": reason_given},
        evolve=keep_facts,
    )


SIGNED_IN_PLACE = (
    (None, "create", "OPEN"),
    ("OPEN", "submit", "REVIEW"),
    ("REVIEW", "sign", "REVIEW"),
    ("REVIEW", "enact", "IN_FORCE"),
)


@pytest.mark.parametrize("asked_by", ["lifecycle", "policy"])
def test_what_approvals_were_counted_for_needs_them_again(asked_by):
    """A place can also depend on approvals by a guard, of the lifecycle or of the policy, without an action that gives one."""
    moves = SIGNED_IN_PLACE
    policy = Policy()
    if asked_by == "lifecycle":
        moves = (*moves[:-1], (*moves[-1], "approvals"))
    else:
        policy = Policy(uses={"enact": (GuardUse("approvals"),)}, guards={"approvals": approvals})
    states = (State("OPEN"), State("REVIEW"), State("IN_FORCE", final=True))
    log = log_of("create", "submit", "sign", definition=lifecycle(states, moves), policy=policy)

    after = log.do("enact", reason=None)
    assert after.state == "IN_FORCE"

    assert log.repair().state == "REVIEW"
    with pytest.raises(GuardRefused, match="0 of 1 approval"):
        log.do("enact")


def test_what_nothing_counts_approvals_for_stays():
    """Where approvals are remarks that no rule asks for, there is no place to give them again."""
    states = (State("OPEN"), State("REVIEW"), State("IN_FORCE", final=True))
    log = log_of("create", "submit", "sign", "enact", definition=lifecycle(states, SIGNED_IN_PLACE))

    assert (log.repair().state, log.state.approvals) == ("IN_FORCE", ())


def test_what_a_history_state_remembers_of_approvals_is_forgotten():
    """A paused review would be resumed where it was: as signed, though no signature counts any more."""
    deeds = lifecycle(
        (
            State("DRAFT"),
            State("REVIEW", initial="OPEN"),
            State("OPEN", parent="REVIEW"),
            State("SIGNED", parent="REVIEW"),
            State("LAST", parent="REVIEW", initial="OPEN", history=True),
            State("PAUSED"),
            State("IN_FORCE", final=True),
        ),
        (
            (None, "create", "DRAFT"),
            ("DRAFT", "submit", "REVIEW"),
            ("OPEN", "sign", "SIGNED"),
            ("REVIEW", "pause", "PAUSED"),
            ("PAUSED", "resume", "LAST"),
            ("SIGNED", "enact", "IN_FORCE"),
        ),
    )
    unsigned = log_of("create", "submit", "pause", definition=deeds)
    signed = log_of("create", "submit", "sign", "pause", definition=deeds)
    assert signed.state.facts["history"] == {"REVIEW": "SIGNED"}

    assert (unsigned.repair().state, signed.repair().state) == ("PAUSED", "PAUSED")

    assert unsigned.state.facts["history"] == signed.state.facts["history"] == {"REVIEW": "OPEN"}
    assert signed.do("resume").state == "OPEN"


def regions():
    return lifecycle(
        (
            State("DRAFT"),
            State("REVIEW", parallel=True, done="CLEARED"),
            State("SECURITY", parent="REVIEW", initial="SECURITY_OPEN"),
            State("SECURITY_OPEN", parent="SECURITY"),
            State("SECURITY_DONE", parent="SECURITY", final=True),
            State("LEGAL", parent="REVIEW", initial="LEGAL_OPEN"),
            State("LEGAL_OPEN", parent="LEGAL"),
            State("LEGAL_READ", parent="LEGAL"),
            State("LEGAL_DONE", parent="LEGAL", final=True),
            State("CLEARED"),
            State("IN_FORCE", final=True),
        ),
        (
            (None, "create", "DRAFT"),
            ("DRAFT", "submit", "REVIEW"),
            ("SECURITY_OPEN", "sign_security", "SECURITY_DONE"),
            ("LEGAL_OPEN", "read", "LEGAL_READ"),
            ("LEGAL_READ", "sign_legal", "LEGAL_DONE"),
            ("CLEARED", "enact", "IN_FORCE"),
        ),
        timeouts=(Timeout("remind", "reminded", "LEGAL_READ", "2d", "DRAFT"),),
    )


@pytest.mark.parametrize(
    ("actions", "place"),
    [
        (("read",), "SECURITY_OPEN+LEGAL_READ"),
        (("sign_security",), "SECURITY_OPEN+LEGAL_OPEN"),
        (("read", "sign_legal"), "SECURITY_OPEN+LEGAL_OPEN"),
        (("read", "sign_legal", "sign_security"), "SECURITY_OPEN+LEGAL_OPEN"),
        (("read", "sign_legal", "sign_security", "enact"), "SECURITY_OPEN+LEGAL_OPEN"),
    ],
)
def test_regions_begin_again_together(actions, place):
    """A place is all its regions: one that was signed takes the others back with it, as does what was joined from them."""
    log = log_of("create", "submit", *actions, definition=regions())

    assert log.repair().state == place
    log.do("read") if "LEGAL_OPEN" in place else None
    log.do("sign_legal")
    log.do("sign_security")
    assert log.state.state == "CLEARED"


def test_time_outs_begin_with_the_repair_where_a_place_is_entered_anew():
    """Those who have to look again have the whole time for it; where nothing moves, it runs on."""
    moved = lifecycle(
        (
            State("OPEN"),
            State("REVIEW", initial="READ"),
            State("READ", parent="REVIEW"),
            State("SIGNED", parent="REVIEW"),
            State("END", final=True),
        ),
        (
            (None, "create", "OPEN"),
            ("OPEN", "submit", "REVIEW"),
            ("READ", "sign", "SIGNED"),
            ("SIGNED", "enact", "END"),
        ),
        timeouts=(Timeout("expire", "expired", "REVIEW", "2d", "OPEN"),),
    )
    stays = log_of("create", "submit", definition=moved)
    moves = log_of("create", "submit", "sign", definition=moved)
    due = stays.state.facts["due"]

    stays.repair(time="2026-01-02T00:00:00.000000Z")
    moves.repair(time="2026-01-02T00:00:00.000000Z")

    assert stays.state.facts["due"] == due
    assert moves.state.state == "READ"
    assert moves.state.facts["due"] == {"expire": "2026-01-04T00:00:00.000000Z"}


def test_an_approval_that_comes_with_the_creation_bars_nothing():
    """Nothing exists without its creation; what follows from further approvals does not stay."""
    deeds = lifecycle(
        (State("OPEN"), State("SIGNED"), State("IN_FORCE", final=True)),
        ((None, "sign_in", "OPEN"), ("OPEN", "sign", "SIGNED"), ("SIGNED", "enact", "IN_FORCE")),
    )
    log = Log(definition=deeds)
    log.do("sign_in")
    assert log.repair().state == "OPEN"
    log.do("sign")
    log.do("enact")

    assert (log.repair().state, log.state.approvals) == ("OPEN", ())


def test_a_state_that_the_lifecycle_no_longer_has_is_reviewed_again():
    """Whether it was reached with approvals is unknown."""
    log = log_of(*APPROVED)
    log.state = replace(log.state, state="ACCREDITED")

    assert log.repair().state == "REVIEWED"


# -- guards ----------------------------------------------------------------------------------------------------

GUARDED = Policy(
    uses={
        "repair": (GuardUse("role", {"any": ["admin"]}), GuardUse("not_the_author"), GuardUse("reason_given"))
    },
    guards={"role": role, "not_the_author": not_the_author, "reason_given": reason_given},
    roles={"admin": ("createer", "zoe")},
)
LOST = Lost(9, 4, (), "the hash does not match")


def refused(log, actor, reason):
    with pytest.raises(GuardRefused) as error:
        log.repair(actor=actor, reason=reason)
    return error.value


def test_a_repair_is_an_action_that_a_policy_guards():
    """Roles, four eyes and a reason are asked of it, in the state that remains; every refusal is listed."""
    log = log_of(*APPROVED, policy=GUARDED)

    assert "'bea' is not admin" in str(refused(log, "bea", "no backup"))
    assert "the unnamed actor is not admin" in str(refused(log, None, "no backup"))
    assert "'createer' submitted this document" in str(refused(log, "createer", "no backup"))
    why = refused(log, "zoe", None)

    assert why.details["action"] == "repair"
    assert (why.details["state"], why.details["to"]) == ("APPROVED", "REVIEWED")
    assert [one["guard"] for one in why.details["verdicts"]] == ["role", "not_the_author", "reason_given"]
    assert (why.next[0].operation, why.next[0].action, why.next[0].actor, why.next[0].missing) == (
        "repair",
        None,
        "zoe",
        ("reason",),
    )
    assert log.repair(actor="zoe", reason="no backup").state == "REVIEWED"


def test_limits_do_not_keep_a_log_damaged():
    """A repair makes a log shorter, also one that has reached its limit, or of which nothing is left."""
    limits = Limits(people=1, revisions=1, bytes=1, drafts=1, refusals=1)
    log = log_of(*APPROVED)
    log.policy = Policy(limits=limits)

    assert log.repair().state == "REVIEWED"
    command = Command(stream=STREAM, action="repair", actor="ana")
    assert check_repair(REGISTRATION, None, command, log.policy).place == ""


def test_the_damage_is_no_reason_of_the_actor():
    """A rule that wants a reason wants one that was given."""
    log = log_of("create", policy=GUARDED)

    assert "a reason is required" in str(refused(log, "zoe", None))


def test_why_a_repair_would_be_refused_can_be_asked():
    """The same answers as in a refusal, and who could do it."""
    log = log_of(*APPROVED, policy=GUARDED)
    command = Command(stream=STREAM, action="repair", actor="bea")

    why = explain(REGISTRATION, log.state, command, policy=GUARDED)

    assert (why.allowed, why.to) == (False, "REVIEWED")
    assert why.who is not None
    assert (why.who.anybody, why.who.actors) == (False, ("zoe",))


def test_a_lifecycle_may_have_an_action_of_that_name():
    """It is taken like any other; a repair of the log is still one, and has its own event."""
    machines = lifecycle(
        (State("OPEN"), State("FIXED", final=True)),
        ((None, "create", "OPEN"), ("OPEN", "sign", "OPEN"), ("OPEN", "mend", "FIXED")),
    )
    chart = replace(
        machines.chart,
        actions=tuple(
            Action("repair", "mended") if one.name == "mend" else one for one in machines.chart.actions
        ),
        transitions=tuple(
            replace(one, action="repair") if one.action == "mend" else one
            for one in machines.chart.transitions
        ),
    )
    log = Log(definition=replace(machines, chart=chart))
    log.do("create")
    log.repair()

    assert [event.type for event in log.events] == ["deeds.createed.v1", "deeds.repaired.v1"]
    assert log.do("repair").state == "FIXED"
