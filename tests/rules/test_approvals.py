"""Approvals: whose count, under which rules and with which roles; and what the guard said under format 1.

A test of an attack begins with the attack.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.chart import GuardUse
from registration.core.policy import Policy
from registration.rules.guards import builtin, builtin_1
from registration.values.people import person
from tests.kit.builders import Log, asked, tries, weather
from tests.kit.judging import standing

ROLES = {"reviewer": ("bea", "cyd", "dan"), "lawyer": ("dan", "eve")}
RULES = Policy(
    roles=ROLES,
    uses={
        "approve": (GuardUse("role", {"any": ["reviewer", "lawyer"]}), GuardUse("not_the_author")),
        "register": (GuardUse("approvals", {"count": 2}),),
    },
    guards={"approvals": builtin.approvals, "role": builtin.role, "not_the_author": builtin.not_the_author},
)


def approval(actor, version, *, roles=("reviewer",), policy=RULES.digest, digest=None):
    """An approval as a state has it."""
    return {
        "actor": actor,
        "version": version,
        "digest": digest or weather().digest,
        "policy": policy,
        "roles": list(roles),
    }


def judged(*given, policy=RULES, authors=("ana",), **parameters):
    """The verdict of `approvals` on a document with these approvals."""
    state = standing(approvals=list(given), authors=list(authors))
    return builtin.approvals(state, asked("register"), replace(policy, parameters={"count": 2, **parameters}))


def who_counts(verdict):
    """The actors whose approvals count."""
    return [one["actor"] for one in verdict.evidence["counted"]]


def why_not(verdict):
    """By actor, why an approval doesn't count."""
    return {one["actor"]: one["why"] for one in verdict.evidence["not_counted"]}


# -- people ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["Bea", "BEA", "\uff42\uff45\uff41", "b\u200bea", "bea "])
def test_one_person_in_two_spellings_is_one(other):
    """`bea` and `Bea` were two approvals."""
    verdict = judged(approval("bea", 4), approval(other, 5))

    assert not verdict.agrees
    assert who_counts(verdict) == [other]
    assert why_not(verdict) == {"bea": f"the same person as {other!r}, version 5"}


def test_nfc_and_nfd_are_one_person():
    """Both spellings look the same, and were two approvals."""
    policy = replace(RULES, roles={"reviewer": ("zoé", "cyd")})
    composed, decomposed = "zo\u00e9", "zoe\u0301"

    verdict = judged(approval(composed, 4), approval(decomposed, 5), policy=policy)

    assert not verdict.agrees
    assert "1 of 2 approvals" in verdict.reason


def test_an_unnamed_approver_may_be_any_of_the_others():
    """bea approved once with a name and once without: that made two."""
    alone = judged(approval(None, 4, roles=()), count=1)
    beside = judged(approval("bea", 4), approval(None, 5, roles=()))

    assert alone.agrees
    assert not beside.agrees
    assert why_not(beside) == {None: "the unnamed actor may be one of the others"}


@pytest.mark.parametrize("spelling", ["ana", "Ana", "\uff21\uff2e\uff21"])
def test_four_eyes_see_the_same_person_in_every_spelling(spelling):
    """`ada` passed four eyes as `Ada`."""
    verdict = builtin.not_the_author(standing(authors=["ana"]), asked("approve", actor=spelling), Policy())

    assert not verdict.agrees
    assert "submitted this document" in verdict.reason
    assert "'ana'" in verdict.reason


def test_a_role_is_a_persons():
    """The roster has `bea`; she logs in as `Bea`."""
    policy = replace(RULES, parameters={"any": ["reviewer"]})

    verdict = builtin.role(standing(), asked("approve", actor="Bea"), policy)

    assert verdict.agrees
    assert verdict.evidence["roles"] == ["reviewer"]


# -- rules and roster ------------------------------------------------------------------------------------


def test_another_colleague_voids_no_approval():
    """A change of who has a role voided every pending approval: 27 manifests at once, when a colleague was added."""
    grown = replace(RULES, roles={**ROLES, "reviewer": (*ROLES["reviewer"], "fay")})

    verdict = judged(approval("bea", 4), approval("cyd", 5), policy=grown)

    assert grown.digest == RULES.digest
    assert verdict.agrees
    assert who_counts(verdict) == ["bea", "cyd"]


def test_an_approver_who_lost_the_role_doesnt_count():
    """cyd left the team before the document was registered. `held = "then"` lets the approval count."""
    left = replace(RULES, roles={"reviewer": ("bea", "dan"), "lawyer": ("eve",)})
    given = [approval("bea", 4), approval("cyd", 5)]

    now, then = judged(*given, policy=left), judged(*given, policy=left, held="then")

    assert not now.agrees
    assert why_not(now) == {"cyd": "no longer reviewer"}
    assert then.agrees


def test_one_of_several_roles_is_enough_to_count_but_not_for_the_other_role():
    """dan approved as lawyer and reviewer; he is only reviewer now."""
    policy = replace(RULES, roles={"reviewer": ("bea", "dan"), "lawyer": ("eve",)})
    given = [approval("bea", 4), approval("dan", 5, roles=["lawyer", "reviewer"])]

    in_total = judged(*given, policy=policy)
    by_role = judged(*given, policy=policy, roles={"lawyer": 1})
    then = judged(*given, policy=policy, roles={"lawyer": 1}, held="then")

    assert in_total.agrees
    assert not by_role.agrees
    assert "0 of 1 by lawyer" in by_role.reason
    assert then.agrees


def test_a_role_that_came_later_is_not_one_that_the_approver_had():
    """eve approved without a role, and is lawyer since: her approval counts, but not as a lawyer's."""
    given = [approval("bea", 4), approval("eve", 5, roles=[])]

    assert judged(*given).agrees
    assert not judged(*given, roles={"lawyer": 1}).agrees


def test_the_approval_with_the_demanded_role_is_the_one_that_counts():
    """dan approved as reviewer, and again as lawyer after he became one: he counts once, as lawyer."""
    given = [approval("dan", 4, roles=["lawyer"]), approval("bea", 5), approval("dan", 6)]

    verdict = judged(*given, roles={"lawyer": 1})

    assert verdict.agrees
    assert [one["version"] for one in verdict.evidence["counted"]] == [4, 5]
    assert why_not(verdict) == {"dan": "the same person as 'dan', version 4"}


def test_approvals_of_release_0_1_count_under_the_same_rules():
    """Release 0.1 named the digest of a whole policy.toml: its approvals count if the rules in that file are those in force."""
    same, other = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    policy = replace(RULES, rules_of={same: RULES.digest, other: "sha256:" + "3" * 64}.get)

    verdict = judged(approval("bea", 4, policy=same), approval("cyd", 5, policy=other), policy=policy)

    assert who_counts(verdict) == ["bea"]
    assert why_not(verdict) == {"cyd": "another policy"}


# -- what is missing -------------------------------------------------------------------------------------


def test_the_verdict_names_those_who_could_give_what_is_missing():
    """By the approving action's own rules: not the author, not those who approved."""
    policy = replace(RULES, roles={**ROLES, "reviewer": (*ROLES["reviewer"], "ana")})

    verdict = judged(approval("bea", 4), policy=policy)

    assert verdict.evidence["missing"] == [
        {"count": 1, "role": None, "actors": ["cyd", "dan", "eve"], "besides": []}
    ]
    assert verdict.remedy == "Get the missing approvals: one of cyd, dan, eve."


def test_what_is_missing_by_role_is_named_by_role():
    """Who approved without the demanded role can approve again with it."""
    verdict = judged(approval("bea", 4), approval("eve", 5, roles=[]), roles={"lawyer": 2})

    assert verdict.evidence["missing"] == [
        {"count": 2, "role": "lawyer", "actors": ["dan", "eve"], "besides": []}
    ]
    assert verdict.remedy == "Get the missing approvals: dan and eve (lawyer)."


def test_without_a_rule_on_approvers_anyone_else_can_approve():
    """No roster: the approvers are not named, only those who don't count again."""
    verdict = judged(approval("bea", 4, policy=None, roles=[]), policy=Policy())

    assert verdict.evidence["missing"] == [{"count": 1, "role": None, "actors": None, "besides": ["bea"]}]
    assert verdict.remedy == "Get the missing approvals: one by any actor except bea."


# -- format 1 --------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["bea", "Bea", "cyd", "ana", None])
APPROVALS = st.lists(
    st.builds(
        approval,
        NAMES,
        st.integers(4, 9),
        roles=st.lists(st.sampled_from(["reviewer", "lawyer"]), unique=True, max_size=2),
        policy=st.sampled_from([RULES.digest, None]),
        digest=st.sampled_from([None, "sha256:" + "0" * 64]),
    ),
    max_size=6,
)


@given(APPROVALS, NAMES, st.lists(NAMES, max_size=3), st.integers(1, 3))
@tries(100)
def test_under_format_1_the_guards_say_what_release_0_1_said(given_, actor, authors, count):
    """What was decided under format 1 is decided again in its meaning: spellings are people, and every change of a role is a change."""
    state = standing(approvals=given_, authors=authors)
    old = Policy(format=1, roles=ROLES)
    for guard, frozen, parameters in (
        (builtin.role, builtin_1.role, {"any": ["reviewer"]}),
        (builtin.not_the_author, builtin_1.not_the_author, {"scope": "manifest"}),
        (builtin.approvals, builtin_1.approvals, {"count": count, "roles": {"lawyer": 1}}),
    ):
        policy = replace(old, parameters=parameters)
        assert guard(state, asked("approve", actor=actor), policy) == frozen(
            state, asked("approve", actor=actor), policy
        )


def test_what_release_0_1_allowed_stays_allowed_under_format_1():
    """Two spellings were two approvals, and `Ana` not `ana`; nothing of today's is in the event."""
    log = Log(
        policy=Policy(
            format=1, uses=RULES.uses, guards=RULES.guards, roles={"reviewer": ("bea", "Bea", "Ana")}
        )
    )
    log.do("create", actor="ana")
    log.do("submit_for_review", actor="ana")
    for actor in ("bea", "Bea", "Bea", "Ana"):
        log.do("approve", actor=actor)

    state = log.do("register", actor="bea")

    assert state.state == "REGISTERED"
    assert "counted" not in log.events[-1].data


# -- properties ------------------------------------------------------------------------------------------


@given(APPROVALS, st.permutations(["bea", "cyd", "ana"]), st.sampled_from(["now", "then"]))
@tries(200)
def test_each_approval_counts_or_is_passed_over_and_each_person_counts_once(given_, order, held):
    """Whatever was approved, in whatever order: counted and not counted together are all, and the counted ones are different people."""
    given_ = [{**one, "version": 4 + index} for index, one in enumerate(given_)]
    policy = replace(RULES, roles={"reviewer": tuple(order[:2])})
    verdict = judged(*given_, policy=policy, held=held)
    counted, passed_over = verdict.evidence["counted"], verdict.evidence["not_counted"]

    assert sorted(one["version"] for one in counted + passed_over) == [one["version"] for one in given_]
    people = [person(one["actor"]) if one["actor"] is not None else None for one in counted]
    assert len(set(people)) == len(people)
    assert verdict.agrees == (len(counted) >= 2)


def test_the_event_names_the_approvals_that_were_counted():
    """`register` says which approvals it rests on, by their versions."""
    log = Log(policy=RULES)
    log.do("create", actor="ana")
    log.do("submit_for_review", actor="ana")
    for actor in ("bea", "cyd", "dan"):
        log.do("approve", actor=actor)
    log.policy = replace(RULES, roles={"reviewer": ("bea", "dan")})

    log.do("register", actor="ana")

    assert log.events[-1].data["counted"] == [3, 5]
    assert [event.data.get("counted") for event in log.events[:-1]] == [None] * 5
