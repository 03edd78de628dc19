"""The outlook: how many approvals a manifest has and lacks, who could give them, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registration import RegistrationPipeline, open_memory
from registration.core.chart import GuardUse
from registration.core.outlook import Missing, Outlook, outlooks
from registration.core.policy import Policy
from registration.errors import GuardRefused
from registration.pipeline.wire import manifests
from registration.rules.guards.builtin import approvals, not_the_author, role
from registration.rules.lifecycles.registration import REGISTRATION
from tests.kit.builders import Log, weather

ROLES = {"reviewer": ("bea", "cyd", "dan"), "lawyer": ("dan", "eve")}
RULES = Policy(
    roles=ROLES,
    uses={
        "approve": (GuardUse("role", {"any": ["reviewer", "lawyer"]}), GuardUse("not_the_author")),
        "register": (GuardUse("approvals", {"count": 2, "roles": {"lawyer": 1}}),),
    },
    guards={"approvals": approvals, "role": role, "not_the_author": not_the_author},
)


def log_under(policy, *actions):
    log = Log(policy=policy)
    for action, actor in actions:
        log.do(action, actor=actor, reason="because")
    return log


def told(log):
    """The outlook of a log's state, in words."""
    return [str(one) for one in outlooks(REGISTRATION.chart, REGISTRATION.guards, log.policy, log.state)]


WAY = (
    ("create", "ana"),
    ("submit_for_review", "ana"),
    ("approve", "bea"),
    ("approve", "dan"),
    ("approve", "cyd"),
)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (1, []),
        (
            2,
            [
                "0 of 2 approvals, 0 of 1 by lawyer; missing: one of bea, cyd, dan, eve and one of dan, eve (lawyer)"
            ],
        ),
        (3, ["1 of 2 approvals, 0 of 1 by lawyer; missing: one of dan, eve (lawyer)"]),
        (4, ["2 of 2 approvals"]),
        (5, ["3 approvals, 2 needed"]),
    ],
)
def test_the_way_to_a_registration_is_told_step_by_step(steps, words):
    """From the review on; a draft is not on its way to anything. The lifecycle's one approval is part of the policy's two."""
    assert told(log_under(RULES, *WAY[:steps])) == words


def test_the_author_is_none_of_those_who_could_approve():
    """Four eyes exclude her; whoever approved is excluded as well."""
    policy = replace(RULES, roles={"reviewer": ("ana", "bea", "cyd"), "lawyer": ("dan",)})
    log = log_under(policy, ("create", "Ana"), ("submit_for_review", "Ana"), ("approve", "dan"))

    (outlook,) = outlooks(REGISTRATION.chart, REGISTRATION.guards, log.policy, log.state)

    assert (outlook.given, outlook.wanted) == (1, 2)
    assert outlook.missing == (Missing(1, None, ("bea", "cyd")),)


def test_a_lifecycle_without_a_policy_demands_one_approval_of_anyone():
    """`approvals` of the lifecycle itself."""
    log = log_under(Policy(), ("create", "ana"), ("submit_for_review", "ana"))

    assert told(log) == ["0 of 1 approval; missing: one by any actor"]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (Missing(1, None, ("cyd", "dan")), "one of cyd, dan"),
        (Missing(1, None, ("cyd",)), "cyd"),
        (Missing(2, None, ("cyd", "dan")), "cyd and dan"),
        (Missing(2, None, ("cyd",)), "two, but only cyd can give one"),
        (Missing(1, "lawyer", ("dan", "eve")), "one of dan, eve (lawyer)"),
        (Missing(1, "lawyer", ()), "one (lawyer), which no actor with a role can give"),
        (Missing(12, None, tuple("abcdefghijklmn")), "12 of a, b, c, d, e and 9 more"),
        (Missing(1, None, None, ("bea",)), "one by any actor except bea"),
    ],
)
def test_what_is_missing_in_words(missing, words):
    """However many could give it."""
    assert str(missing) == words


def test_a_result_tells_the_outlook_on_demand_and_as_json():
    """For programs: who could give what is missing, and the text that people read."""
    pipeline = RegistrationPipeline(store=open_memory("urn:uuid:1", REGISTRATION), policy=RULES)
    pipeline.create("w", weather().value, actor="ana")
    pipeline.submit_for_review("w", actor="ana")

    result = pipeline.approve("w", actor="dan")

    (outlook,) = result.outlook()
    assert outlook == pipeline.outlook("w")[0] == Outlook(
        "register", "approve", 1, 2, {"lawyer": (1, 1)}, (Missing(1, None, ("bea", "cyd", "eve")),)
    )  # fmt: skip
    assert manifests.transition(result)["outlook"] == [
        {
            "action": "register",
            "approving": "approve",
            "given": 1,
            "wanted": 2,
            "by_role": {"lawyer": {"given": 1, "wanted": 1}},
            "missing": [{"count": 1, "role": None, "actors": ["bea", "cyd", "eve"], "besides": []}],
            "text": "1 of 2 approvals; missing: one of bea, cyd, eve",
        }
    ]
    pipeline.close()


def test_an_approval_that_is_sent_again_is_answered_and_not_refused():
    """With its idempotency key it is the same approval, on files as in memory; without, a second one."""
    pipeline = RegistrationPipeline(store=open_memory("urn:uuid:1", REGISTRATION), policy=RULES)
    pipeline.create("w", weather().value, actor="ana")
    pipeline.submit_for_review("w", actor="ana")
    first = pipeline.approve("w", actor="bea", idempotency_key="k")

    again = pipeline.approve("w", actor="bea", idempotency_key="k")
    with pytest.raises(GuardRefused, match="approved this document already, at version 3"):
        pipeline.approve("w", actor="bea")

    assert again.replayed
    assert again.event == first.event
    assert [str(one) for one in again.outlook()] == [str(one) for one in first.outlook()]
    pipeline.close()
