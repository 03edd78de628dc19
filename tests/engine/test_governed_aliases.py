"""Moving an alias is an action, and a policy governs it as it does those on manifests."""

from __future__ import annotations

import json
import random

import pytest

from registration import GuardRefused, InvalidPolicy, RegistrationPipeline
from registration.core.chart import GuardUse
from registration.core.policy import Policy
from registration.rules.guards.builtin import reason_given, role
from registration.rules.guards.registry import BUILTIN, OF_AN_ALIAS, problems_of_alias_use
from registration.rules.policy_file import parse_policy

MOVERS = GuardUse("role", {"any": ["mover"]})


def ruled(**uses):
    return Policy(
        roles={"mover": ("dan", "eve")}, uses=uses, guards={"role": role, "reason_given": reason_given}
    )


@pytest.fixture
def opened(root, clock):
    def opened(policy=None, **rest):
        if (root / "registry.json").exists() and policy is not None:
            with RegistrationPipeline(root, clock=clock, random=random.Random(2)) as pipeline:
                pipeline.upkeep.apply_policy(policy, actor="owner")
        return RegistrationPipeline(
            root, policy=policy, actor="ada", clock=clock, random=random.Random(1), **rest
        )

    return opened


@pytest.fixture
def pipeline(opened):
    """Two registered versions of a name whose aliases are moved by `mover`s alone."""
    with opened(ruled(move_alias=(MOVERS,), remove_alias=(MOVERS,))) as pipeline:
        for id, version in (("a", "1.0.0"), ("b", "2.0.0")):
            pipeline.create(id, {"name": "w", "version": version})
            pipeline.submit_for_review(id)
            pipeline.approve(id)
            pipeline.register(id)
        yield pipeline


def last(pipeline):
    return list(pipeline.names.alias_history("w"))[-1]


def test_an_alias_is_moved_and_removed_by_those_who_may(pipeline):
    """The refusal names the alias, the rule, the people and the next step; the event names the rules."""
    with pytest.raises(GuardRefused) as refusal:
        pipeline.names.set_alias("w", "stable", "1.0.0")
    pipeline.names.set_alias("w", "stable", "1.0.0", actor="dan")
    moved = last(pipeline)
    with pytest.raises(GuardRefused, match="Removing the alias 'stable' of 'w' was refused"):
        pipeline.names.remove_alias("w", "stable")
    pipeline.names.remove_alias("w", "stable", actor="eve", reason="no more")

    assert refusal.value.problem == "Moving the alias 'stable' of 'w' was refused: 'ada' is not mover."
    details = refusal.value.details
    assert (details["action"], details["alias"]) == ("move_alias", "stable")
    assert details["who"]["actors"] == ["dan", "eve"]
    (step,) = refusal.value.next
    assert (step.operation, step.id, step.actor) == ("alias.set", "w", "dan")
    assert step.given == {"alias": "stable", "version": "1.0.0"}
    assert details["next_actions"] == [step.as_json()]
    policy = pipeline.policy
    assert (moved.data["policy"], moved.data["roster"]) == (policy.digest, policy.roster)
    assert pipeline.names.aliases("w").keys() == {"latest"}


def test_a_refused_move_writes_nothing_dry_or_not(pipeline):
    """Neither does a dry run that is allowed."""
    before = list(pipeline.names.alias_history("w"))

    for dry_run in (False, True):
        with pytest.raises(GuardRefused):
            pipeline.names.set_alias("w", "stable", "1.0.0", dry_run=dry_run)
        with pytest.raises(GuardRefused):
            pipeline.names.set_alias("w", "stable", "latest", actor="dana", dry_run=dry_run)
    assert pipeline.names.set_alias("w", "stable", "1.0.0", actor="dan", dry_run=True).manifest_id == "a"

    assert list(pipeline.names.alias_history("w")) == before


def test_latest_moves_by_itself_under_any_rule(pipeline):
    """It follows from registrations, which were governed; its events name the rules all the same."""
    events = list(pipeline.names.alias_history("w"))

    assert [event.data["target"]["version"] for event in events] == ["1.0.0", "2.0.0"]
    assert {event.actor for event in events} == {None}
    assert {event.data["policy"] for event in events} == {pipeline.policy.digest}


def test_a_rule_may_be_of_some_aliases(opened, pipeline):
    """The others are anyone's. The parameter is the engine's: no guard gets it."""
    asked = []

    def witness(state, command, policy):
        asked.append(dict(policy.parameters))
        return role(state, command, policy)

    rule = GuardUse("role", {"any": ["mover"], "aliases": ["stable", "lts"]})
    policy = Policy(roles={"mover": ("dan",)}, uses={"move_alias": (rule,)}, guards={"role": witness})
    with opened(policy) as narrow:
        narrow.names.set_alias("w", "next", "2.0.0")
        for alias in ("stable", "lts"):
            with pytest.raises(GuardRefused):
                narrow.names.set_alias("w", alias, "1.0.0")
        narrow.names.remove_alias("w", "next")  # `remove_alias` has no rule

    assert {frozenset(one) for one in asked} == {frozenset({"any"})}


def test_actions_of_a_lifecycle_are_not_those_of_an_alias(opened, pipeline):
    """A rule for an action `move` is for manifests: the chart of aliases has one of that name."""
    with opened(ruled(move=(MOVERS,), remove=(MOVERS,))) as other:
        other.names.set_alias("w", "stable", "1.0.0")
        other.names.remove_alias("w", "stable")


def test_reasons_are_demanded_as_of_other_actions(opened, pipeline):
    """The next step asks for one."""
    with opened(ruled(move_alias=(GuardUse("reason_given"),))) as strict:
        with pytest.raises(GuardRefused) as refusal:
            strict.names.set_alias("w", "stable", "1.0.0")
        strict.names.set_alias("w", "stable", "1.0.0", reason="a week in use")

    assert refusal.value.next[0].missing == ("reason",)


def test_what_moved_an_alias_is_a_witness_of_the_manifest(pipeline):
    """The event says at which version of the holder, and at which head of its log, the name was held."""
    pipeline.names.set_alias("w", "stable", "1.0.0", actor="dan")

    seen = last(pipeline).data["seen"]["holder"]
    state = pipeline.load_state("a")
    assert seen == {"version": state.version, "hash": state.position.head}


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_guards_about_documents_say_nothing_of_an_alias(name):
    """A policy that asks one of them is refused: it could never agree, or would always."""
    parameters = {"any": ["mover"]} if name == "role" else {}

    problems = problems_of_alias_use(name, parameters)

    assert problems == [] if name in OF_AN_ALIAS else "an alias has none" in problems[0]


@pytest.mark.parametrize(
    ("aliases", "problem"),
    [
        (["stable", "lts"], None),
        ("stable", "it must be a list"),
        ([], "it must be a list"),
        (["latest"], "moves by itself"),
        (["v1"], "'v1' is an invalid alias"),
    ],
)
def test_the_aliases_of_a_rule_are_checked(aliases, problem):
    """Those that can be no alias, and the one that people don't move."""
    problems = problems_of_alias_use("role", {"any": ["mover"], "aliases": aliases})

    assert not problems if problem is None else problem in problems[0]


def test_a_refusal_is_noted_as_others_are(opened, pipeline, root):
    """If the policy asks for it."""
    policy = ruled(move_alias=(MOVERS,))
    with (
        opened(
            Policy(roles=policy.roles, uses=policy.uses, guards=policy.guards, log_refusals=True)
        ) as noting,
        pytest.raises(GuardRefused),
    ):
        noting.names.set_alias("w", "stable", "1.0.0")

    noted = [json.loads(line) for line in (root / "refusals.jsonl").read_bytes().splitlines()]
    assert [(one["command"]["actor"], one["command"]["alias"]) for one in noted] == [("ada", "stable")]


def test_a_policy_file_governs_aliases(opened, pipeline):
    """As written by hand: of some aliases, in a rule of their own."""
    rule = '[roles]\nmover = ["dan"]\n[[guards]]\nguard = "role"\nany = ["mover"]\n{}\n'
    good = rule.format('actions = ["move_alias", "remove_alias"]\naliases = ["stable"]')
    mixed = rule.format('actions = ["move_alias", "register"]\naliases = ["stable"]')

    def parsed(text):
        return parse_policy(
            text.encode(), source="policy.toml", chart=pipeline.definition.chart, read=lambda _: b""
        )

    with opened(parsed(good)) as governed:
        with pytest.raises(GuardRefused):
            governed.names.set_alias("w", "stable", "1.0.0")
        governed.names.set_alias("w", "next", "1.0.0")
        governed.names.set_alias("w", "stable", "1.0.0", actor="dan")
    with pytest.raises(InvalidPolicy, match="aliases: the guard 'role' has no such parameter"):
        parsed(mixed)
    with pytest.raises(InvalidPolicy, match="an alias has none"):
        parsed('[[guards]]\nguard = "approvals"\nactions = ["move_alias"]\n')


def test_a_proposed_policy_is_tried_on_the_moves_of_aliases(opened, pipeline, root):
    """And on the refused ones, if they were noted; `latest` is nobody's decision."""
    pipeline.names.set_alias("w", "stable", "1.0.0", actor="dan")
    noting = Policy(
        roles={"mover": ("dan",)},
        uses={"move_alias": (MOVERS,)},
        guards={"role": role},
        log_refusals=True,
    )
    with opened(noting) as noting_too, pytest.raises(GuardRefused):
        noting_too.names.set_alias("w", "stable", "2.0.0")

    proposed = Policy(roles={"mover": ("ada",)}, uses={"move_alias": (MOVERS,)}, guards={"role": role})
    with opened(proposed) as other:
        found = [one for one in other.evidence.replay_policy(proposed) if one.area == "aliases"]

    assert [(one.manifest_id, one.version, one.was, one.would_be) for one in found] == [
        ("w", 3, "accepted", "refused"),
        ("w", 3, "refused", "accepted"),
    ]
