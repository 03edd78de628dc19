"""What a gate demands, in short; and the policies to begin with, which nobody but those who are named can pass."""

from __future__ import annotations

import tomllib

import pytest

from registration.core.policy import NO_POLICY
from registration.errors import InvalidArgument
from registration.rules.gate import gate_of
from registration.rules.lifecycles.loading import definition_of, shipped
from registration.rules.lifecycles.registration import CHART
from registration.rules.policies.templates import TEMPLATES, policy_template, template_roles
from registration.rules.policy_demands import unmet_demands
from registration.rules.policy_file import parse_policy
from tests.rules.test_policy_demands import FOUR_EYES, approvals, policy, role

UPKEEP = definition_of(shipped("registration-upkeep")).chart
TEAM = {"reviewer": ["bea", "cyd"], "owner": ["ana"]}


def told(*said, **tables):
    """What the actions of a policy demand, one a line; `!` where the author can bring it about alone."""
    gate = gate_of(policy(*said, **tables), CHART)
    return [f"{'!' if one.alone else ''}{one.action}: {one.demand}" for one in gate]


def test_without_rules_the_author_may_do_everything_alone():
    """Approving, and then registering what was approved."""
    assert [one.as_json() for one in gate_of(NO_POLICY, CHART)] == [
        {"action": "approve", "demand": "anyone, also the author", "alone": True},
        {"action": "register", "demand": "anyone, also the author, after 1 approval", "alone": True},
    ]


@pytest.mark.parametrize(
    ("roles", "uses", "gate"),
    [
        ({}, [FOUR_EYES], ["approve: anyone, not the author", "register: anyone, after 1 approval"]),
        (
            {},
            [("not_the_author", "register", {"scope": "manifest"})],
            [
                "!approve: anyone, also the author",
                "register: anyone, not an author of any document of the manifest, after 1 approval",
            ],
        ),
        ({}, [approvals(2)], ["!approve: anyone, also the author", "register: anyone, after 2 approvals"]),
        (
            {"a": ["ana"], "b": []},
            [role("approve", "a", "b"), role("register", "a"), role("register", "b")],
            ["approve: a (ana) or b (nobody)", "register: a (ana) and b (nobody), after 1 approval"],
        ),
        (
            {"a": ["ana", "bea", "cyd", "dan", "eve", "fay"]},
            [role("tag", "a"), ("name", "create", {}), ("reason_given", "create", {})],
            [
                "create: anyone, with a reason, checked by name",
                "!approve: anyone, also the author",
                "!register: anyone, also the author, after 1 approval",
                "tag: a (ana, bea, cyd, dan, eve and 1 more)",
            ],
        ),
        (
            {"a": ["ana"]},
            [approvals(2, roles={"a": 1}), ("role", "move_alias", {"any": ["a"], "aliases": ["stable"]})],
            [
                "!approve: anyone, also the author",
                "register: anyone, after 2 approvals (1 by a)",
                "move_alias: a (ana) for stable",
            ],
        ),
    ],
)  # fmt: skip
def test_a_demand_is_told_in_one_line(roles, uses, gate):
    """Who, whose documents, after what; a demand of the lifecycle that one of the policy implies is not repeated."""
    assert told(roles, *uses) == gate


@pytest.mark.parametrize("chart", [CHART, UPKEEP], ids=lambda chart: chart.name)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_policy_to_begin_with_can_be_met(name, chart):
    """In both lifecycles of the package: it is valid, everyone has a part, and the author can't do it alone."""
    members = {role: TEAM[role] for role in template_roles(name)}

    rules = parse_policy(policy_template(name, members), source=name, chart=chart, read=None)

    assert rules.name.replace(" ", "-") == name
    assert {role: list(people) for role, people in rules.roles.items()} == members
    assert unmet_demands(rules, chart) == ()
    assert not any(one.alone for one in gate_of(rules, chart))


def test_people_are_put_into_the_roles_of_a_template():
    """Each once, as written, whatever is in the name; the rest of the file stays, with its comments."""
    names = ["bea", 'Ünal "O\'Neil" \\', "bea"]

    text = policy_template("team", {"owner": ["ana"], "reviewer": names}).decode()

    assert tomllib.loads(text)["roles"] == {"reviewer": names[:2], "owner": ["ana"]}
    assert text.startswith("# A team: ")


@pytest.mark.parametrize(
    ("name", "members", "problem"),
    [
        ("teem", {}, r"No policy 'teem' comes with the package\. Did you mean 'team'\? There are four-eyes, team, mcp"),
        ("team", {}, "needs at least one person as reviewer and one as owner"),
        ("team", {"reviewer": ["bea"], "owner": []}, r"needs at least one person as owner\."),
        ("team", {"reviwer": ["bea"]}, r"no role 'reviwer'\. Did you mean 'reviewer'\? Its roles are reviewer, owner"),
        ("four-eyes", {"owner": ["ana"]}, r"no role 'owner'\. It has no roles"),
        ("mcp", {"reviewer": ["b\u200bea"], "owner": ["ana"]}, r"can't be an actor: it contains U\+200B"),
        ("mcp", {"reviewer": [""], "owner": ["ana"]}, "can't be an actor: it is empty"),
    ],
)  # fmt: skip
def test_a_gate_that_nobody_can_pass_is_not_made(name, members, problem):
    """Every role has somebody, who can be an actor."""
    with pytest.raises(InvalidArgument, match=problem):
        policy_template(name, members)
