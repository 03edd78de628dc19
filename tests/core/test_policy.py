"""Policies and explanations: what a policy's digest stands for, which kind a document is of, who may act and what to type.

The built-in guards have tests of their own; those here say yes, no, or what they were asked.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.chart import Action, Chart, GuardUse, State, Transition
from registration.core.decider import decide
from registration.core.definition import Definition
from registration.core.explanation import CANDIDATES_MAX, Who, explain
from registration.core.policy import NO_POLICY, Kind, Policy, Verdict
from registration.errors import GuardRefused, Next
from registration.rules.guards.builtin import approvals, not_the_author, role
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.leases import Lease
from tests.kit.builders import FIRST_TIME, STREAM, Log, asked, i_json_objects, tries, weather

# -- what a policy's digest stands for -------------------------------------------------------------------


def yes(_state, _command, _policy):
    return Verdict(agrees=True, reason="yes")


def no(_state, _command, _policy):
    return Verdict(agrees=False, reason="no")


FULL = Policy(
    name="acme",
    roles={"reviewer": ("bea", "cyd"), "owner": ("ana",)},
    kinds=(Kind("server", {"/a": "x*", "/b": True}, "sha256:" + "1" * 64, "/definitions/S"),),
    uses={"approve": (GuardUse("role", {"any": ["reviewer"]}), GuardUse("yes"))},
    guards={"role": role, "yes": yes},
    log_refusals=True,
)


def test_no_rules_at_all_have_no_digest():
    """Where nothing is demanded there is nothing to keep: events say nothing of a policy."""
    assert (NO_POLICY.data, NO_POLICY.digest) == (None, None)
    assert Policy(guards={"yes": yes}).digest is None


def test_the_digest_can_be_computed_by_anybody():
    """It is SHA-256 over the policy's JSON values with sorted names and no white space (RFC 8785)."""
    said = json.dumps(FULL.data, sort_keys=True, separators=(",", ":"))

    assert FULL.digest == "sha256:" + hashlib.sha256(said.encode()).hexdigest()
    assert FULL.data == {
        "format": 2,
        "name": "acme",
        "log_refusals": True,
        "kinds": [
            {
                "name": "server",
                "match": {"/a": "x*", "/b": True},
                "schema": "sha256:" + "1" * 64,
                "pointer": "/definitions/S",
            }
        ],
        "guards": {"approve": [{"guard": "role", "any": ["reviewer"]}, {"guard": "yes"}]},
    }


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"log_refusals": False},
        {"kinds": ()},
        {"kinds": (replace(FULL.kinds[0], name="other"),)},
        {"kinds": (replace(FULL.kinds[0], match={"/a": "x*"}),)},
        {"kinds": (replace(FULL.kinds[0], match={"/a": "x*", "/b": 1}),)},
        {"kinds": (replace(FULL.kinds[0], schema="sha256:" + "2" * 64),)},
        {"kinds": (replace(FULL.kinds[0], schema_pointer=""),)},
        {"uses": {"register": FULL.uses["approve"]}},
        {"uses": {"approve": FULL.uses["approve"][::-1]}},
        {"uses": {"approve": (GuardUse("role", {"any": ["owner"]}), GuardUse("yes"))}},
        {"uses": {"approve": (GuardUse("role", {"any": ["reviewer"]}),)}},
    ],
)
def test_other_rules_have_another_digest(change):
    """Whatever is demanded otherwise, the digest is another one: approvals under the old rules stop counting."""
    assert replace(FULL, **change).digest != FULL.digest


@pytest.mark.parametrize(
    "roles", [{"reviewer": ("bea",), "owner": ("ana",)}, {"reviewers": ("bea", "cyd"), "owner": ("ana",)}]
)
def test_people_are_not_rules(roles):
    """Another roster has another digest, of its own; in format 1 it was part of the rules."""
    changed = replace(FULL, roles=roles)

    assert changed.digest == FULL.digest
    assert changed.roster != FULL.roster
    assert replace(changed, format=1).digest != replace(FULL, format=1).digest


@pytest.mark.parametrize(
    "change",
    [
        {"roles": {"owner": ("ana",), "reviewer": ("cyd", "bea")}},
        {"guards": {"yes": no, "role": role}},
        {"schemas": {"sha256:" + "1" * 64: {}}},
        {"parameters": {"count": 2}},
    ],
)
def test_the_same_rules_in_another_order_have_the_same_digest(change):
    """The order of roles and of their people means nothing; nor does which use of a guard is being asked."""
    assert replace(FULL, **change).digest == FULL.digest


def test_a_use_is_asked_with_its_own_parameters():
    """A guard finds its parameters in the policy, beside all the rest, and the policy itself stays as it was."""
    asked_with = FULL.asked_with({"count": 2})

    assert asked_with.parameters == {"count": 2}
    assert (asked_with.digest, asked_with.data, asked_with.roles) == (FULL.digest, FULL.data, FULL.roles)
    assert FULL.parameters == {}
    assert FULL.asked_with({}) is FULL


def test_roles_are_a_persons_in_every_spelling():
    """Under a policy of format 1, which past decisions were made by, of one spelling only."""
    roles = {"reviewer": ("Bea", "Jos\u00e9"), "owner": ("bea",)}
    today, then = Policy(roles=roles), Policy(roles=roles, format=1)

    assert [today.roles_of(name) for name in ("BEA", "bea", "Jose\u0301", "be")] == [
        ["owner", "reviewer"],
        ["owner", "reviewer"],
        ["reviewer"],
        [],
    ]
    assert [then.roles_of(name) for name in ("Bea", "BEA")] == [["reviewer"], []]
    assert today.asked_with({"any": ["owner"]}).roles_of("BEA") == ["owner", "reviewer"]


def test_a_lock_is_its_holders_in_every_spelling():
    """And of one spelling only, where a decision of format 1 is made again."""
    definition = REGISTRATION
    state = Log().do("create", document=weather())
    held = Lease(
        key="manifests/x", holder="Bea", host="h", number=3, since=FIRST_TIME, until="9999", token=""
    )

    def refusing(actor, policy):
        why = explain(definition, state, asked("submit_for_review", actor=actor, claim=held), policy=policy)
        return [answer.guard for answer in why.answers if not answer.verdict.agrees]

    assert refusing("bea", Policy()) == refusing("Bea", Policy(format=1)) == []
    assert refusing("be", Policy()) == refusing("bea", Policy(format=1)) == ["unclaimed"]


def test_roles_are_sorted_and_nobody_has_none():
    """Somebody has every role that names them; who isn't named, or says nothing, has none."""
    policy = Policy(roles={"b": ("ana",), "a": ("ana", "bea")})

    assert policy.roles_of("ana") == ["a", "b"]
    assert policy.roles_of("bea") == ["a"]
    assert policy.roles_of("cyd") == policy.roles_of(None) == []


# -- kinds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "holds", "holds_not"),
    [
        ("text", ["text"], ["Text", "text ", "", None, ["text"]]),
        ("1.*", ["1.", "1.2", "1.*"], ["11", "2.1", "x1.2", 1.2]),
        ("*", ["", "anything\nat all"], [5, None, True, {}]),
        ("a*b*c", ["abc", "a-b-c", "abbbc", "a\nb\nc"], ["ac", "acb", "abcd", "xabc"]),
        ("ab*ba", ["abba", "ab-ba"], ["aba", "ab", "ba"]),
        ("https://x/*.json", ["https://x/.json", "https://x/a/b.json"], ["https://xy/a.json", "https://x/json"]),
        (True, [True, False, None, 0, "", [], {"a": 1}], []),
        (False, [False], [True, 0, None, "", "False"]),
        (1, [1], [True, 1.0, "1", 2]),
        (1.5, [1.5], [1, "1.5"]),
        (["a", 1], [["a", 1]], [["a"], ["a", 2], "a"]),
    ],
)  # fmt: skip
def test_what_a_match_means(wanted, holds, holds_not):
    """A value stands for itself and its own type, ``*`` in text for any characters, and true for anything at all."""
    kind = Kind("k", {"/a/0": wanted})

    assert [value for value in holds if not kind.holds({"a": [value]})] == []
    assert [value for value in holds_not if kind.holds({"a": [value]})] == []
    assert not kind.holds({"a": []})
    assert not kind.holds({})


@given(st.text("ab*", max_size=7), st.text("ab", max_size=9))
@tries(500)
def test_stars_mean_what_they_mean_in_a_regular_expression(wanted, found):
    """However many stars there are, and wherever they stand."""
    by_expression = re.fullmatch(".*".join(map(re.escape, wanted.split("*"))), found, re.DOTALL) is not None

    assert Kind("k", {"/a": wanted}).holds({"a": found}) is by_expression


def test_a_hostile_document_does_not_keep_a_match_busy():
    """A form with several stars took a regular expression the square of the text's length, and more: hours for 1 MB."""
    kind = Kind("k", {"/a": "*-*-*-beta"})
    began = time.process_time()

    holds = kind.holds({"a": "-" * 1_000_000})

    assert not holds
    assert time.process_time() - began < 2


def test_a_document_is_of_the_first_kind_all_of_whose_matches_hold():
    """The order of kinds decides; a document that none fits is of no kind, as is no document."""
    narrow, wide = Kind("narrow", {"/a": 1, "/b": 2}), Kind("wide", {"/a": 1})

    assert Policy(kinds=(narrow, wide)).kind_of({"a": 1, "b": 2}) is narrow
    assert Policy(kinds=(wide, narrow)).kind_of({"a": 1, "b": 2}) is wide
    assert Policy(kinds=(narrow, wide)).kind_of({"a": 1}) is wide
    assert Policy(kinds=(narrow, wide)).kind_of({"b": 2}) is None
    assert Policy(kinds=(narrow, wide)).kind_of(None) is None


# -- what guards are asked -------------------------------------------------------------------------------


def in_review(policy=NO_POLICY):
    """A manifest of ana's that waits for approvals."""
    log = Log(policy=policy)
    log.do("create")
    log.do("submit_for_review")
    return log


def under(*uses, action="approve", **members):
    """A policy that asks these guards: names, with parameters where there are any, of those that are here."""
    guards = {"yes": yes, "no": no, "role": role, "not_the_author": not_the_author, "approvals": approvals}
    return Policy(
        name="acme",
        uses={action: tuple(GuardUse(use) if isinstance(use, str) else GuardUse(*use) for use in uses)},
        **{"guards": guards, **members},
    )


def doing(action, **more):
    """The step that takes an action on the manifest."""
    return Next(operation="act", id=STREAM, action=action, **more)


def why(log, action, policy, **said):
    return explain(log.definition, log.state, asked(action, stream=log.stream, **said), policy=policy)


def test_guards_of_the_lifecycle_come_first_and_all_are_asked():
    """Whoever says no, everybody is asked, in order, and each answer says where the guard comes from."""
    policy = under("no", "yes", action="reject")

    answers = why(in_review(), "reject", policy).answers

    assert [(a.guard, a.origin, a.verdict.agrees) for a in answers] == [
        ("reason_given", "lifecycle", False),
        ("no", "policy", False),
        ("yes", "policy", True),
    ]


def test_a_guard_sees_the_state_the_command_and_its_parameters():
    """It gets the state as it stands, the command with its action, and the policy with the parameters of this use."""
    seen = []

    def curious(state, command, policy):
        seen.append((state, command, policy.parameters, policy.digest))
        return yes(state, command, policy)

    log = in_review()
    policy = under(("curious", {"n": 1}), ("curious", {"n": 2}), guards={"curious": curious})

    decide(
        log.definition,
        log.state,
        asked(None, target="APPROVED", comment="c"),
        time=FIRST_TIME,
        event_id="id",
        policy=policy,
    )

    assert [parameters for _, _, parameters, _ in seen] == [{"n": 1}, {"n": 2}]
    assert {digest for *_, digest in seen} == {policy.digest}
    assert all(state is log.state for state, *_ in seen)
    assert all((c.action, c.target, c.comment) == ("approve", None, "c") for _, c, *_ in seen)


def test_what_is_required_is_asked_before_any_guard():
    """What an action requires is the lifecycle's own demand: a verdict like a guard's, naming all that is missing."""
    chart = Chart(
        "ticket",
        states=(State("OPEN"), State("DONE", final=True)),
        actions=(
            Action("open", "opened"),
            Action("close", "closed", required=("actor", "reason", "context.ticket", "context.it's")),
        ),
        transitions=(
            Transition("open", None, "OPEN"),
            Transition("close", "OPEN", "DONE", guards=(GuardUse("yes"),)),
        ),
    )
    log = Log(definition=Definition(chart, guards={"yes": yes}))
    log.do("open")

    missing = why(log, "close", NO_POLICY, actor=None, context={"ticket": ""})
    given = why(log, "close", NO_POLICY, reason="done", context={"ticket": 0, "it's": False})

    assert [(a.guard, a.origin) for a in missing.answers] == [("required", "lifecycle"), ("yes", "lifecycle")]
    (verdict,) = missing.refusals
    assert verdict.evidence["missing"] == ["actor", "reason", "context.ticket", "context.it's"]
    assert verdict.reason == "actor, reason, context.ticket, context.it's are required but missing"
    assert verdict.remedy == "Give actor and reason and context.ticket and context.it's."
    assert missing.next == doing("close", missing=("reason", "context", "actor"))
    assert why(log, "close", NO_POLICY).next == doing("close", missing=("reason", "context"))
    assert given.allowed


def test_one_missing_thing_is_said_in_the_singular():
    """A sentence for people agrees in number."""
    chart = Chart(
        "ticket",
        states=(State("OPEN"), State("DONE", final=True)),
        actions=(Action("open", "opened"), Action("close", "closed", required=("comment",))),
        transitions=(Transition("open", None, "OPEN"), Transition("close", "OPEN", "DONE")),
    )
    log = Log(definition=Definition(chart))
    log.do("open")

    (verdict,) = why(log, "close", NO_POLICY).refusals

    assert verdict.reason == "comment is required but missing"
    assert why(log, "close", NO_POLICY, comment="fine").allowed


# -- the explanation -------------------------------------------------------------------------------------


def test_what_can_be_done_is_explained_as_well():
    """Where nobody objects, it says so: where the action leads, and the very line that does it."""
    log = in_review()

    found = why(log, "approve", NO_POLICY, actor="bea")

    assert (found.manifest_id, found.action, found.actor) == (STREAM, "approve", "bea")
    assert (found.state, found.version, found.to, found.allowed) == ("REVIEWED", 2, "APPROVED", True)
    assert (found.answers, found.refusals) == ((), ())
    assert found.who == Who(anybody=True)
    assert found.next == doing("approve")
    assert (found.digest, found.policy) == (log.state.digest, None)
    assert found.lifecycle == REGISTRATION.identity


def test_creation_can_be_explained():
    """Before there is a manifest there is no state, and the digest is that of what would be brought."""
    found = explain(REGISTRATION, None, asked("create", actor="ana"), policy=under("no", action="create"))

    assert (found.state, found.version, found.to, found.allowed) == (None, 0, "DRAFT", False)
    assert found.digest == weather().digest
    assert found.next == doing("create", missing=("document",))


def test_a_move_that_is_not_there_names_the_first_step_towards_it():
    """Nobody is asked about what the lifecycle doesn't offer from here; the next line is the nearest way to it."""
    log = Log()
    log.do("create")

    found = why(log, "register", under("no", action="register"))

    assert (found.to, found.allowed, found.answers, found.who) == (None, False, (), None)
    assert found.next == doing("submit_for_review")


def test_where_no_way_leads_on_nothing_is_advised():
    """From the end, and for what was never reachable, there is no line to type."""
    log = in_review()
    log.do("approve", actor="bea")
    log.do("register", actor="bea")

    assert why(log, "approve", NO_POLICY).next is None


def test_the_explanation_is_one_json_object_with_stable_names():
    """The names are a promise: programs read them from `why --json`, from refusals and from the log of refusals."""
    log = in_review()

    def only_bea(_state, command, policy):
        return Verdict(
            agrees=command.actor == "bea",
            reason="it is bea's to do",
            evidence={"has": policy.roles_of(command.actor), **policy.parameters},
            remedy="Ask bea.",
            needs={"actor": "bea"},
        )

    policy = under(("only_bea", {"n": 1}), guards={"only_bea": only_bea}, roles={"reviewer": ("bea",)})

    told = json.loads(json.dumps(why(log, "approve", policy).as_json()))

    assert told == {
        "manifest_id": STREAM,
        "action": "approve",
        "actor": "ana",
        "state": "REVIEWED",
        "version": 2,
        "to": "APPROVED",
        "allowed": False,
        "verdicts": [
            {
                "guard": "only_bea",
                "origin": "policy",
                "agrees": False,
                "reason": "it is bea's to do",
                "evidence": {"has": [], "n": 1},
                "remedy": "Ask bea.",
            }
        ],
        "who": {"anybody": False, "actors": ["bea"], "excluded": []},
        "next": f"approve {STREAM!r} as 'bea'",
        "next_actions": [
            {
                "operation": "act",
                "id": STREAM,
                "action": "approve",
                "actor": "bea",
                "given": {},
                "missing": [],
            }
        ],
        "digest": weather().digest,
        "policy": policy.digest,
        "lifecycle": {"name": "registration", "version": 1, "digest": REGISTRATION.identity["digest"]},
    }


POLICIES = [
    NO_POLICY,
    under(("role", {"any": ["reviewer"]}), roles={"reviewer": ("bea", "cyd")}),
    under("not_the_author", "no"),
    under(("approvals", {"count": 2}), action="register"),
    under("yes", action="reject"),
]


@pytest.mark.parametrize("policy", POLICIES, ids=range(len(POLICIES)))
@pytest.mark.parametrize("actor", ["ana", "bea", None])
@pytest.mark.parametrize("action", ["approve", "reject", "register"])
def test_a_refusal_is_the_explanation(policy, actor, action):
    """`why` says beforehand, word for word, what the refusal will say; where it allows, nothing is refused."""
    log = in_review()
    if action == "register":
        log.do("approve", actor="bea")
    command = asked(action, actor=actor)
    before = copy.deepcopy((log.state, command))

    told = explain(REGISTRATION, log.state, command, policy=policy)

    def take():
        return decide(REGISTRATION, log.state, command, time=FIRST_TIME, event_id="id", policy=policy)

    if told.allowed:
        assert take()
    else:
        with pytest.raises(GuardRefused) as caught:
            take()
        assert caught.value.details == told.as_json()
        assert all(verdict.reason in caught.value.problem for verdict in told.refusals)
    assert explain(REGISTRATION, log.state, command, policy=policy) == told
    assert (log.state, command) == before


def test_the_same_remedy_is_given_once():
    """Two guards that would be content with the same thing are answered by one sentence."""

    def picky(_state, _command, _policy):
        return Verdict(agrees=False, reason="not yet", remedy="Wait.")

    log = in_review()
    policy = under("picky", ("picky", {"again": True}), guards={"picky": picky})

    with pytest.raises(GuardRefused) as caught:
        decide(log.definition, log.state, asked("approve"), time=FIRST_TIME, event_id="id", policy=policy)

    assert caught.value.next_step == "Wait."
    assert caught.value.problem.endswith("was refused: not yet; not yet.")


# -- who could act ---------------------------------------------------------------------------------------


def test_who_has_the_role_could_act():
    """Of those who are known, the ones whom every guard would let act, sorted; the next line names the first."""
    policy = under(
        ("role", {"any": ["reviewer"]}), "not_the_author", roles={"reviewer": ("dan", "cyd", "ana"), "x": ("bea",)}
    )  # fmt: skip

    found = why(in_review(), "approve", policy)

    assert found.who == Who(anybody=False, actors=("cyd", "dan"))
    assert found.next == doing("approve", actor="cyd")


def test_anybody_but_the_author_could_act():
    """Where strangers may act, only those who may not are listed."""
    policy = under("not_the_author", roles={"x": ("bea",)})

    found = why(in_review(), "approve", policy)

    assert found.who == Who(anybody=True, excluded=("ana",))
    assert found.next == doing("approve", missing=("actor",))
    assert why(in_review(), "approve", policy, actor="bea").next == doing("approve", actor="bea")


def test_where_guards_leave_nobody_nobody_is_named():
    """Two guards that each let somebody act, but nobody both: no one could, and there is no line to type."""
    policy = under(
        ("role", {"any": ["reviewer"]}), ("role", {"any": ["owner"]}), roles={"reviewer": ("bea",), "owner": ("cyd",)}
    )  # fmt: skip

    found = why(in_review(), "approve", policy)

    assert found.who == Who(anybody=False)
    assert found.next is None


def test_a_guard_that_refuses_everybody_is_not_about_who():
    """Missing approvals keep nobody in particular from registering: who could act is said apart from whether now."""
    policy = under(("approvals", {"count": 1}), ("role", {"any": ["owner"]}), action="register", roles={"owner": ("cyd",)})  # fmt: skip
    log = in_review()
    log.do("approve", actor="bea")  # under no policy, so it doesn't count under this one

    found = why(log, "register", policy, actor="cyd")

    assert not found.allowed
    assert found.who == Who(anybody=False, actors=("cyd",))
    assert found.next == doing("approve")


def test_those_who_approved_and_wrote_are_looked_at_too():
    """Not only roles name people: authors, approvers and the asker are known as well."""
    log = in_review()
    log.do("approve", actor="bea")

    def only(_state, command, _policy):
        return Verdict(agrees=command.actor in ("ana", "bea", "zoe"), reason="chosen")

    policy = under("only", action="reject", guards={"only": only})

    found = why(log, "reject", policy, actor="zoe", reason="r")

    assert found.who == Who(anybody=False, actors=("ana", "bea", "zoe"))


def test_who_is_looked_at_is_bounded():
    """However many people a policy names, only so many are asked about."""
    asked_for = []

    def nosy(_state, command, _policy):
        asked_for.append(command.actor)
        return Verdict(agrees=False, reason="no")

    policy = under(
        "nosy", guards={"nosy": nosy}, roles={"crowd": tuple(f"p{n}" for n in range(5 * CANDIDATES_MAX))}
    )

    why(in_review(), "approve", policy)

    assert len(asked_for) <= CANDIDATES_MAX + 2


# -- what to do next ------------------------------------------------------------------------------------


def test_what_a_guard_needs_is_missing_in_the_step():
    """Words that a guard asks for have to be supplied; an action that has to come first replaces the step."""
    log = in_review()

    assert why(log, "reject", NO_POLICY).next == doing("reject", missing=("reason",))
    log.do("approve", actor="bea")
    assert why(log, "register", under(("approvals", {"count": 2}), action="register")).next == doing(
        "approve"
    )


def test_an_action_that_could_not_come_first_is_not_advised():
    """A guard may name an action that the lifecycle doesn't have: it is passed over. Where it leads round, nothing is said."""

    def wants(_state, _command, policy):
        return Verdict(agrees=False, reason="no", needs={"action": policy.parameters["first"]})

    said = {}
    for first in ("dance", "register", "approve"):
        policy = under(("wants", {"first": first}), guards={"wants": wants})
        said[first] = why(in_review(), "approve", policy).next

    assert said == {"dance": doing("approve"), "register": None, "approve": doing("approve")}


def test_a_word_that_a_guard_names_is_given():
    """A guard may ask for a certain word, not only for some: that one is in the step, and does not have to be supplied."""

    def wants(_state, command, _policy):
        return Verdict(
            agrees=command.reason == "SEC-1", reason="no", needs={"reason": "SEC-1", "comment": "TEXT"}
        )

    policy = under("wants", guards={"wants": wants})

    assert why(in_review(), "approve", policy).next == doing(
        "approve", given={"reason": "SEC-1"}, missing=("comment",)
    )


@given(i_json_objects(floats=False))
@tries(50)
def test_evidence_of_any_json_values_goes_through(evidence):
    """Whatever a guard rests on, the refusal carries it as it was given."""

    def odd(_state, _command, _policy):
        return Verdict(agrees=False, reason="no", evidence=evidence)

    log = in_review()
    policy = under("odd", guards={"odd": odd})

    told = why(log, "approve", policy).as_json()

    assert json.loads(json.dumps(told))["verdicts"][0]["evidence"] == evidence
