"""Policies that are valid and shut the gate for good: what nobody can meet is found before the policy is in force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.chart import Action, Chart, State, Transition
from registration.core.decider import decide, sealed
from registration.core.definition import ask
from registration.core.explanation import step_from
from registration.engine.opening import lifecycle_from
from registration.engine.policy_on_disk import read_policy
from registration.rules.lifecycles.registration import CHART, REGISTRATION
from registration.rules.policy_demands import unmet_demands
from registration.rules.policy_file import parse_policy
from tests.kit.builders import asked, tries, weather
from tests.rules.test_policy_file import FIXTURES, FULL, toml


def policy(roles, *uses, chart=CHART, **tables):
    """A policy: people by role, uses of guards, further tables."""
    guards = [{"guard": name, "actions": actions.split(), **parameters} for name, actions, parameters in uses]
    said = {"roles": roles, "guards": guards, **tables}
    text = "\n".join(f"{name} = {toml(value)}" for name, value in said.items())
    return parse_policy(text.encode(), source="policy.toml", chart=chart, read=lambda _: b"{}")


def found(*said, chart=CHART, **tables):
    """What can't be met, each as text; `!` before what no one ever can."""
    unmet = unmet_demands(policy(*said, chart=chart, **tables), chart)
    return [f"{'!' if one.never else ''}{one}" for one in unmet]


def role(actions, *roles):
    return ("role", actions, {"any": list(roles)})


def approvals(count, actions="register", **parameters):
    return ("approvals", actions, {"count": count, **parameters})


FOUR_EYES = ("not_the_author", "approve", {})


@pytest.mark.parametrize(
    ("roles", "uses", "unmet"),
    [
        # anyone may act
        ({}, [], []),
        ({}, [FOUR_EYES, approvals(5)], []),
        ({"owner": []}, [FOUR_EYES], []),
        # a role that no one has
        ({"owner": []}, [role("register", "owner")], ["!register: it takes owner, and no one is"]),
        ({"a": [], "b": []}, [role("tag", "a", "b")], ["!tag: it takes a or b, and no one is"]),
        ({"a": [], "b": ["bea"]}, [role("approve", "a", "b")], []),
        (
            {"a": ["ana"], "b": ["bea"]},
            [role("reject", "a"), role("reject", "b")],
            ["!reject: it takes a and b, and no one is"],
        ),
        ({"a": ["ana", "bea"], "b": ["bea"]}, [role("reject", "a"), role("reject", "b")], []),
        ({"a": ["Bea"], "b": ["bea"]}, [role("reject", "a"), role("reject", "b")], []),
        ({"a": []}, [role("move_alias remove_alias repair", "a")], [
            "!repair: it takes a, and no one is",
            "!move_alias: it takes a, and no one is",
            "!remove_alias: it takes a, and no one is",
        ]),
        # too few who may approve
        (
            {"reviewer": ["bea"]},
            [role("approve", "reviewer"), approvals(2)],
            ["!register: it takes 2 approvals, and only 'bea' may approve"],
        ),
        (
            {"reviewer": ["bea", "Bea"]},
            [role("approve", "reviewer"), approvals(2)],
            ["!register: it takes 2 approvals, and only 'Bea' may approve"],
        ),
        ({"reviewer": ["bea", "cyd"]}, [role("approve", "reviewer"), approvals(2)], []),
        (
            {"security": ["sam"]},
            [approvals(1, roles={"security": 2})],
            ["!register: it takes 2 approvals by security, and only 'sam' may approve"],
        ),
        (
            {"security": []},
            [approvals(1, roles={"security": 1})],
            ["!register: it takes 1 approval by security, and no one who has it may approve"],
        ),
        (
            {"reviewer": ["bea"], "security": ["sam"]},
            [role("approve", "reviewer"), approvals(1, roles={"security": 1})],
            ["!register: it takes 1 approval by security, and no one who has it may approve"],
        ),
        # four eyes
        (
            {"author": ["ana"], "reviewer": ["ana"]},
            [role("create revise", "author"), role("approve", "reviewer"), FOUR_EYES],
            ["!approve: only 'ana' may do it, and only 'ana' may submit documents"],
        ),
        (
            {"reviewer": ["bea"]},
            [role("approve", "reviewer"), FOUR_EYES],
            ["approve: only 'bea' may do it, and not for documents that 'bea' submitted"],
        ),
        ({"author": ["ana"], "reviewer": ["bea"]}, [role("create revise", "author"), role("approve", "reviewer"), FOUR_EYES], []),
        (
            {"reviewer": ["bea", "cyd"]},
            [role("approve", "reviewer"), FOUR_EYES, approvals(2)],
            [
                (
                    "register: it takes 2 approvals; documents that 'bea' or 'cyd' submitted can't get them: "
                    "only 'bea' and 'cyd' may approve, not their own"
                )
            ],
        ),
        (
            {"team": ["ana", "bea"]},
            [role("create revise approve", "team"), FOUR_EYES, approvals(2)],
            ["!register: it takes 2 approvals, and only 'ana' and 'bea' may approve, not their own documents"],
        ),
        (
            {"team": ["ana", "bea"], "security": ["bea"]},
            [role("create revise approve", "team"), FOUR_EYES, approvals(1, roles={"security": 1})],
            ["register: it takes 1 approval by security; documents that 'bea' submitted can't get it: only 'bea' may approve, not their own"],
        ),
        (
            {},
            [("not_the_author", "create revise", {})],
            [
                "!create: not_the_author: it brings the document, so its actor is the author",
                "!revise: not_the_author: it brings the document, so its actor is the author",
            ],
        ),
        # approvals where there can be none
        ({}, [approvals(2, "approve")], ["!approve: it takes 2 approvals before it, and it is what approves: name an action after it"]),
        ({}, [approvals(1, "submit_for_review")], ["!submit_for_review: it takes 1 approval before it, and the lifecycle 'registration' allows 0 by then"]),
        ({}, [approvals(1, "tag")], []),
        # documents of kinds
        ({}, [("schema", "create", {"required": True})], ["!create: it takes a document with a JSON Schema, and no kind in [[kinds]] has a `schema`"]),
        ({}, [("schema", "create", {})], []),
    ],
)  # fmt: skip
def test_a_demand_that_can_not_be_met_is_found(roles, uses, unmet):
    """For nobody ever, or only not for the documents of some; with those who are left, and nothing about what can be met."""
    assert found(roles, *uses) == unmet


def test_an_alias_has_its_own_people():
    """A rule for some aliases limits those, in addition to the rules for all."""
    one = ("role", "move_alias", {"any": ["a"], "aliases": ["stable", "lts"]})
    other = ("role", "move_alias remove_alias", {"any": ["b"], "aliases": ["beta", "lts"]})

    assert found({"a": ["ana"], "b": ["bea"]}, one, other) == [
        "!move_alias: for 'lts', it takes a and b, and no one is"
    ]
    assert found({"a": ["ana"], "b": ["ana"]}, one, other) == []


def test_limits_below_the_approvals_that_a_rule_takes():
    """A bound refuses the next approval, so the last one never comes."""
    unmet = found({}, approvals(3), limits={"people": 2})

    assert unmet == ["!register: it takes 3 approvals, and `people` in [limits] is 2"]
    assert found({}, approvals(2), limits={"people": 2}) == []
    assert found({}, approvals(257)) == [
        "!register: it takes 257 approvals, and a document has at most 256, unless `people` in [limits] is more"
    ]
    assert found({}, approvals(257), limits={"people": 300}) == []


@pytest.mark.parametrize(
    ("people", "demands", "unmet"),
    [
        ([], {"roles": ["owner"]}, ["!governance.policy: it takes owner, and no one is"]),
        (
            ["ana"],
            {"roles": ["owner"], "four_eyes": True},
            ["governance.policy: only 'ana' may do it, and not what 'ana' proposed"],
        ),
        (["ana"], {"roles": ["owner"]}, []),
        (["ana", "bea"], {"roles": ["owner"], "four_eyes": True}, []),
        ([], {"four_eyes": True}, []),
    ],
)
def test_rules_that_nobody_may_change(people, demands, unmet):
    """What a change of the registry takes is looked at as an action is."""
    assert found({"owner": people}, governance={"policy": demands}) == unmet


def test_people_whose_names_are_no_logins():
    """Where the actor is the operating-system user, they can't act, so they don't count."""
    unmet = found(
        {"reviewer": ["Bea Smith", "cyd"]},
        role("approve", "reviewer"),
        approvals(2),
        actors={"source": ["login"]},
    )

    assert unmet == [
        "roles: 'Bea Smith' is no login name, which [actors] source requires",
        "!register: it takes 2 approvals, and only 'cyd' may approve",
    ]


def test_many_people_are_listed_in_short():
    """A few by name, and how many more there are."""
    people = [f"p{number}" for number in range(9)]

    (unmet,) = found({"r": people}, role("approve", "r"), approvals(10))

    assert unmet.endswith("and only 'p0', 'p1', 'p2', 'p3', 'p4' and 4 others may approve")


def once(*, approving=True):
    """A lifecycle in which each manifest is approved once."""
    return Chart(
        name="once",
        states=(State("DRAFT"), State("GOOD"), State("OUT", final=True)),
        actions=(
            Action("create", past="created", document=True),
            Action("approve", past="approved", approval=approving),
            Action("publish", past="published"),
        ),
        transitions=(
            Transition("create", source=None, target="DRAFT"),
            Transition("approve", source="DRAFT", target="GOOD"),
            Transition("publish", source="GOOD", target="OUT"),
        ),
    )


def test_approvals_are_counted_along_the_lifecycle():
    """One that approves once doesn't lead to two; one that doesn't approve leads to none."""
    two = "!publish: it takes 2 approvals before it, and the lifecycle 'once' allows 1 by then"
    none = "!publish: it takes 1 approval before it, and the lifecycle 'once' has no action that approves"

    assert found({}, approvals(2, "publish"), chart=once()) == [two]
    assert found({"a": ["x", "y"]}, approvals(1, "publish", roles={"a": 2}), chart=once()) == [two]
    assert found({}, approvals(1, "publish"), chart=once()) == []
    assert found({}, approvals(1, "publish"), chart=once(approving=False)) == [none]


def test_the_guards_of_the_lifecycle_count_as_well(tmp_path):
    """A role that it demands is one that somebody must have."""
    (tmp_path / "once.toml").write_text(
        'name = "once"\n[states.DRAFT]\n[states.OUT]\nfinal = true\n'
        '[actions.create]\npast = "created"\ndocument = true\nto = "DRAFT"\n'
        '[actions.publish]\npast = "published"\nfrom = "DRAFT"\nto = "OUT"\n'
        'guards = [{ guard = "role", any = ["editor"] }]\n'
    )
    chart = lifecycle_from(tmp_path / "once.toml").chart

    assert found({}, chart=chart) == ["!publish: it takes editor, and no one is"]
    assert found({"editor": ["ed"]}, chart=chart) == []


def test_the_sample_policies():
    """What a small team can't do with its own documents is told; so is an action that four eyes close on purpose."""
    public = lifecycle_from(FIXTURES / "lifecycles" / "public-registry.toml").chart

    full = unmet_demands(read_policy(str(FULL / "policy.toml"), CHART).policy, CHART)
    four_eyes = unmet_demands(
        read_policy(str(FIXTURES / "policies" / "four-eyes.toml"), public).policy, public
    )

    assert [(one.never, str(one)) for one in full] == [
        (False, "register: only 'dot' may do it, and not for documents that 'dot' submitted"),
        (
            False,
            (
                "register: it takes 2 approvals; documents that 'bea' or 'cyd' submitted can't get them: only 'bea' and "
                "'cyd' may approve, not their own"
            ),
        ),
    ]
    assert [(one.never, str(one)) for one in four_eyes] == [
        (True, "publish: not_the_author: it brings the document, so its actor is the author")
    ]


# -- against everything that people can do -----------------------------------------------------------------

PEOPLE = ("ana", "bea", "cyd", "eve")
ACTIONS = tuple(action.name for action in CHART.actions)


@st.composite
def gates(draw):
    """A policy of roles, four eyes and approvals, over few people; `eve` has no role."""
    roles = {name: draw(st.lists(st.sampled_from(PEOPLE[:3]), max_size=2)) for name in ("a", "b")}
    names = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2, unique=True)
    acting = st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=2, unique=True).map(" ".join)
    use = st.one_of(
        st.builds(lambda actions, roles: role(actions, *roles), acting, names),
        st.builds(lambda: role("approve", "a")),
        st.builds(lambda actions: ("not_the_author", actions, {}), st.sampled_from(["approve", "register", "submit_for_review"])),
        st.builds(lambda count, by: approvals(count, roles=by), st.integers(1, 3), st.dictionaries(st.sampled_from(["a", "b"]), st.integers(1, 2), max_size=1)),
    )  # fmt: skip
    return roles, draw(st.lists(use, max_size=4))


def taken(rules):
    """By action, the authors of the documents for which someone could take it, whatever else people do before."""
    found = {}
    waiting, seen = [None], set()
    for state in waiting:
        for name in ACTIONS:
            for actor in PEOPLE:
                brings = CHART.action(name).document
                command = asked(name, actor=actor, reason="r", document=weather() if brings else None)
                way = step_from(CHART, state, name)
                if way is None or not all(
                    one.verdict.agrees for one in ask(REGISTRATION, rules, state, command, way)
                ):
                    continue
                author = actor if brings else state.facts["authors"][-1]
                found.setdefault(name, set()).add(author)
                decided = decide(
                    REGISTRATION,
                    state,
                    command,
                    time="2026-01-01T00:00:00.000000Z",
                    event_id="0" * 32,
                    policy=rules,
                )
                _, (*_, after) = sealed(REGISTRATION, state, decided, stream="a", source="s")
                approvers = frozenset(one["actor"] for one in after.facts.get("approvals", ()))
                key = (after.state, author, approvers)
                if key not in seen:
                    seen.add(key)
                    waiting.append(after)
    return found


@tries(25)
@given(gates())
def test_exactly_what_nobody_can_do_is_found(gate):
    """Each way through the lifecycle is tried by everyone: what is said to be impossible is, and the rest is possible."""
    rules = policy(gate[0], *gate[1])
    unmet = unmet_demands(rules, CHART)

    could = taken(rules)

    never = {one.of for one in unmet if one.never}
    assert never.isdisjoint(could)
    if not never:
        assert could.keys() == set(ACTIONS)
    if not unmet:
        assert could["register"] == could["create"] | could["revise"]
