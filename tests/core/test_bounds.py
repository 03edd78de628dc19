"""What a manifest can have: one approval by each person, so many people, documents and bytes. A reached bound refuses; nothing is pushed out.

A test of an attack begins with the attack.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.chart import GuardUse
from registration.core.decider import decide
from registration.core.explanation import Who, explain
from registration.core.policy import Limits, Policy
from registration.errors import GuardRefused, Next
from registration.evidence.policy_replay import replay_decisions
from registration.rules.guards.builtin import approvals, not_the_author, role
from registration.values.people import person
from tests.kit.builders import STREAM, Log, asked, tries, weather

REGISTRY = {"version": 1, "hash": "0" * 64}
ROLES = {"reviewer": ("bea", "cyd", "dan")}
RULES = Policy(
    roles=ROLES,
    uses={
        "approve": (GuardUse("role", {"any": ["reviewer"]}), GuardUse("not_the_author")),
        "register": (GuardUse("approvals", {"count": 2}),),
    },
    guards={"approvals": approvals, "role": role, "not_the_author": not_the_author},
    registry=REGISTRY,
)
FREE = Policy(registry=REGISTRY)
"""No rules but those of the lifecycle."""


def reviewed(policy=FREE, *actors):
    """A manifest by ana, approved by some."""
    log = Log(policy=policy)
    log.do("create", actor="ana")
    log.do("submit_for_review", actor="ana")
    for actor in actors:
        log.do("approve", actor=actor)
    return log


def refusal(log, action, **said):
    """The refusal of a command, with the guards that refuse."""
    with pytest.raises(GuardRefused) as caught:
        decide(
            log.definition, log.state, asked(action, **said), time="2026-02-01T00:00:00.000000Z", event_id="x", policy=log.policy
        )  # fmt: skip
    error = caught.value
    return error, [one["guard"] for one in error.details["verdicts"] if not one["agrees"]]


# -- one approval by each person -------------------------------------------------------------------------


@pytest.mark.parametrize("actor", ["bea", "Bea", "\uff42ea"])
def test_approving_twice_is_refused(actor):
    """The same person could approve again and again, and was told each time that it had worked."""
    log = reviewed(RULES, "bea")

    error, guards = refusal(log, "approve", actor=actor)

    assert guards == ["once"]
    assert "approved this document already, at version 3" in error.problem
    assert "'bea'" in error.problem
    assert error.next_step == "Missing: one of cyd, dan."
    assert error.next == (Next(operation="act", id=STREAM, action="approve", actor="cyd"),)
    assert error.details["who"] == {"anybody": False, "actors": ["cyd", "dan"], "excluded": []}


def test_a_second_approval_is_refused_when_nothing_is_missing():
    """The next step is then the action that the approvals were for."""
    log = reviewed(RULES, "bea", "cyd")

    error, guards = refusal(log, "approve", actor="bea")

    assert guards == ["once"]
    assert error.next_step == "No approval is missing for 'register'."
    assert error.next == (Next(operation="act", id=STREAM, action="register"),)


def test_an_approval_by_an_unnamed_actor_is_given_once():
    """Two of them may be by one person, and count once."""
    error, guards = refusal(reviewed(FREE, None), "approve", actor=None)

    assert guards == ["once"]
    assert error.problem.endswith("an unnamed actor approved this document already, at version 3.")


def test_another_document_is_approved_anew():
    """Also by the same person; and so is the same document, once its approvals lapsed."""
    log = reviewed(RULES, "bea")
    log.do("reject", actor="cyd", reason="no")
    log.do("submit_for_review", actor="ana")
    log.do("approve", actor="bea")
    log.do("reject", actor="cyd", reason="no")
    log.do("revise", actor="ana", document=weather(title="x"))
    log.do("submit_for_review", actor="ana")

    assert log.do("approve", actor="bea").state == "APPROVED"


def test_under_other_rules_the_same_person_approves_again():
    """The first approval does not count under them. Another roster changes no rules."""
    log = reviewed(RULES, "bea")
    log.policy = replace(RULES, roles={"reviewer": ("bea", "eve")})
    _, under_the_same = refusal(log, "approve", actor="bea")

    log.policy = replace(RULES, name="stricter")
    log.do("approve", actor="bea")

    assert under_the_same == ["once"]
    assert [one["actor"] for one in log.state.approvals] == ["bea", "bea"]


def test_who_has_another_role_by_now_approves_again():
    """cyd approved as reviewer and is lawyer since: an approval as lawyer adds something."""
    rules = replace(
        RULES, uses={"approve": (), "register": (GuardUse("approvals", {"roles": {"lawyer": 1}}),)}
    )
    log = reviewed(rules, "cyd")
    log.policy = replace(rules, roles={**ROLES, "lawyer": ("cyd",)})
    before, _ = refusal(log, "register", actor="ana")

    log.do("approve", actor="cyd")

    assert "0 of 1 by lawyer" in before.problem
    assert log.do("register", actor="ana").state == "REGISTERED"
    assert log.events[-1].data["counted"] == [4]


def test_an_approval_that_no_longer_counts_is_given_anew():
    """cyd's role was taken away, and another one given: the old approval doesn't count, a new one does."""
    rules = replace(
        RULES, uses={**RULES.uses, "approve": (GuardUse("role", {"any": ["reviewer", "lawyer"]}),)}
    )
    log = reviewed(rules, "bea", "cyd")
    log.policy = replace(rules, roles={"reviewer": ("bea",), "lawyer": ("cyd",)})
    refused, _ = refusal(log, "register", actor="ana")

    log.do("approve", actor="cyd")

    assert "no longer reviewer" in refused.problem
    assert log.do("register", actor="ana").state == "REGISTERED"


def test_who_lost_every_role_approves_anew_where_none_is_demanded():
    """cyd approved as reviewer, and has no role any more: that approval no longer counts, one without a role does."""
    rules = replace(RULES, uses={"register": RULES.uses["register"]})
    log = reviewed(rules, "bea", "cyd")
    log.policy = replace(rules, roles={"reviewer": ("bea",)})

    log.do("approve", actor="cyd")
    _, again = refusal(log, "approve", actor="cyd")

    assert again == ["once"]
    assert log.do("register", actor="ana").state == "REGISTERED"
    assert log.events[-1].data["counted"] == [3, 5]


def test_why_names_those_who_can_still_approve():
    """Each person once, whatever the spelling."""
    log = reviewed(FREE, "bea", "cyd")

    why = explain(log.definition, log.state, asked("approve", actor="Bea"), policy=log.policy)

    assert not why.allowed
    assert why.who == Who(anybody=True, excluded=("Bea", "cyd"))


def test_release_0_1_accepted_a_second_approval():
    """Under format 1 it is decided again as it was."""
    log = reviewed(Policy(format=1), "bea", "bea")

    assert [one["actor"] for one in log.state.approvals] == ["bea", "bea"]


@given(st.lists(st.sampled_from(["bea", "Bea", "cyd", "CYD", "dan", None]), max_size=8))
@tries(60)
def test_whoever_approves_in_whatever_order_each_person_has_one_approval(actors):
    """One approval is kept per person, document and rules."""
    log = reviewed()
    for actor in actors:
        with suppress(GuardRefused):
            log.do("approve", actor=actor)

    people = [one["actor"] and person(one["actor"]) for one in log.state.approvals]

    assert len(people) == len(set(people))
    assert set(people) == {actor and person(actor) for actor in actors}


# -- bounds of every manifest ----------------------------------------------------------------------------


def test_256_approvals_by_mallory_push_out_none():
    """256 approvals by mallory, and bea's was no longer counted."""
    log = reviewed(FREE, "bea", "mallory")
    for _ in range(3):
        refusal(log, "approve", actor="mallory")
    names = [f"mallory{number}" for number in range(254)]
    for name in names:
        log.do("approve", actor=name)

    error, guards = refusal(log, "approve", actor="mallory254")

    assert guards == ["limits"]
    assert "this document has 256 approvals; it can have at most 256" in error.problem
    assert "`people` in [limits]" in error.next_step
    assert log.state.approvals[0]["actor"] == "bea"
    assert log.do("register", actor="ana").state == "REGISTERED"
    assert 3 in log.events[-1].data["counted"]


def test_64_authors_push_out_none():
    """After 64 authors, the first one could approve her own text."""
    log = Log(
        policy=replace(
            FREE, uses={"approve": (GuardUse("not_the_author", {"scope": "manifest"}),)}, guards=RULES.guards
        )
    )
    log.do("create", actor="ada")
    for number in range(63):
        log.do("revise", actor=f"author{number}")

    error, guards = refusal(log, "revise", actor="author63")
    log.do("revise", actor="author7")
    log.do("submit_for_review", actor="author7")
    _, by_the_first = refusal(log, "approve", actor="ada")

    assert guards == ["limits"]
    assert "this manifest has 64 authors; it can have at most 64" in error.problem
    assert by_the_first == ["not_the_author"]


def test_authors_whom_release_0_1_dropped_are_not_forgotten():
    """65 authors under release 0.1, of whom it dropped the first: she may still not approve, now that she can't be told from others."""
    log = Log(policy=Policy(format=1))
    log.do("create", actor="ada")
    for number in range(64):
        log.do("revise", actor=f"author{number}")
    log.policy = replace(
        FREE, uses={"approve": (GuardUse("not_the_author", {"scope": "manifest"}),)}, guards=RULES.guards
    )
    log.do("submit_for_review", actor="author7")
    before, _ = refusal(log, "approve", actor="ada")
    log.do("reject", actor="author7", reason="no")
    log.do("revise", actor="author7")
    log.do("submit_for_review", actor="author7")
    after, _ = refusal(log, "approve", actor="ada")

    for error in (before, after):
        assert (
            "can't rule out that the actor is the author: release 0.1 kept only the last 64" in error.problem
        )


# -- [limits] --------------------------------------------------------------------------------------------


def limited(**limits):
    return replace(FREE, limits=Limits(**limits))


def test_people_bounds_approvers_and_authors():
    """Both as people: another spelling is none more."""
    log = reviewed(limited(people=2), "bea", "cyd")
    approving, by_approver = refusal(log, "approve", actor="dan")
    log.do("reject", actor="bea", reason="no")
    log.do("revise", actor="Ana")
    log.do("revise", actor="bea")
    log.do("revise", actor="ANA")
    revising, by_author = refusal(log, "revise", actor="cyd")

    assert (by_approver, by_author) == (["limits"], ["limits"])
    assert "this document has 2 approvals; it can have at most 2" in approving.problem
    assert "this manifest has 2 authors; it can have at most 2" in revising.problem


def test_revisions_bounds_documents():
    """Counted since release 0.2; the document it was created with is one."""
    log = Log(policy=limited(revisions=2))
    log.do("create", actor="ana")
    log.do("revise", actor="ana")

    error, guards = refusal(log, "revise", actor="ana")

    assert guards == ["limits"]
    assert "this manifest has had 2 documents; it can have at most 2" in error.problem
    assert error.details["verdicts"][-1]["evidence"] == {"limit": "revisions", "most": 2, "found": 2}
    assert log.do("submit_for_review").state == "REVIEWED"


def test_without_a_log_of_the_registry_nothing_is_pushed_out_either():
    """Its events are folded as those of release 0.1, which kept 64 authors and counted no documents: more is refused, not dropped."""
    log = Log(policy=Policy(limits=Limits(people=1000)))
    log.do("create", actor="ada")
    for number in range(63):
        log.do("revise", actor=f"author{number}")
    beyond, _ = refusal(log, "revise", actor="author63")
    log.policy = Policy(limits=Limits(revisions=100))
    uncounted, _ = refusal(log, "revise", actor="ada")

    assert "it can have at most 64" in beyond.problem
    assert "`revisions` in [limits] can't be kept" in uncounted.problem


def test_bytes_bounds_the_log():
    """Below the bound, an event is added; from it on, none."""
    log = Log(policy=limited(bytes=1100))
    log.do("create", actor="ana")
    log.do("revise", actor="ana")
    size = log.state.position.size_bytes

    error, guards = refusal(log, "submit_for_review", actor="ana")

    assert size > 1100
    assert guards == ["limits"]
    assert f"the log of this manifest has {size:,} bytes" in error.problem


@pytest.mark.parametrize(
    ("limit", "seen", "guards"),
    [("drafts", 2, ["limits"]), ("drafts", 1, []), ("refusals", 2, ["limits"]), ("refusals", 1, []), ("drafts", None, ["limits"])],
)  # fmt: skip
def test_what_an_actor_did_today_is_compared_with_what_was_seen(limit, seen, guards):
    """The command says what was counted, and the event contains it; without it, the limit can't be kept."""
    log = Log(policy=limited(**{limit: 2}))
    said = {"seen": None if seen is None else {limit: seen}, "actor": "eve"}

    if guards:
        assert refusal(log, "create", **said)[1] == guards
    else:
        log.do("create", **said)
        assert log.events[0].data["seen"] == {limit: seen}


def test_a_name_is_no_template():
    """An actor named like a placeholder is refused like any other."""
    error, guards = refusal(Log(policy=limited(drafts=1)), "create", actor="{0}{x", seen={"drafts": 1})

    assert guards == ["limits"]
    assert "'{0}{x' has created 1 manifest today; at most 1 a day are allowed" in error.problem


def test_a_limit_of_one_actor_leaves_the_others_free():
    """`why` names everyone but the one who has reached it."""
    log = Log(policy=limited(drafts=2))

    why = explain(log.definition, None, asked("create", actor="eve", seen={"drafts": 2}), policy=log.policy)

    assert why.who == Who(anybody=True, excluded=("eve",))


def test_limits_are_none_of_release_0_1():
    """What it accepted is accepted again, whatever it was."""
    log = reviewed(Policy(format=1), *(f"p{number}" for number in range(257)))

    assert len(log.state.approvals) == 256


def test_a_replay_under_limits_refuses_what_goes_beyond_them():
    """What an actor did in a day was not counted then, and refuses nothing; what a manifest has is in its log."""
    log = reviewed(Policy(format=1), "bea", "bea", "cyd", "dan")

    decisions = replay_decisions(log.definition, limited(people=2, drafts=1, refusals=1), log.events)

    assert [(one.version, one.was, one.would_be) for one in decisions if one.differs] == [
        (4, "accepted", "refused"),
        (6, "accepted", "refused"),
    ]
