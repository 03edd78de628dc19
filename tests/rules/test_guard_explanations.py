"""Guards explained: each parameter with its type, and an example that can be pasted into a `policy.toml`."""

from __future__ import annotations

import pytest

from registration.core.policy import Verdict
from registration.errors import InvalidArgument
from registration.pipeline.wire import rules
from registration.rules.guards.explaining import EXAMPLES, explain_guard
from registration.rules.guards.registry import BUILTIN, Parameter
from registration.rules.lifecycles.registration import CHART
from registration.rules.policy_demands import unmet_demands
from registration.rules.policy_file import parse_policy


def parsed(text, guards=None):
    """The policy that an example is."""
    return parse_policy(text.encode(), source="example", chart=CHART, read=lambda _: b"{}", guards=guards)


@pytest.mark.parametrize("name", BUILTIN)
def test_the_example_of_a_guard_is_a_policy_that_uses_it(name):
    """As a file of its own it is valid, it demands nothing impossible, and it shows what the guard takes."""
    found = explain_guard(name)

    policy = parsed(found.example)

    assert name in policy.guards
    assert [one for one in unmet_demands(policy, CHART) if one.never] == []
    used = {said for uses in policy.uses.values() for use in uses for said in use.parameters}
    assert used or not BUILTIN[name].parameters
    assert all(one.about and not one.about.endswith(".") for one in found.parameters.values())
    assert found.summary == BUILTIN[name].summary


def test_each_built_in_guard_has_an_example():
    """And there is none of a guard that isn't there."""
    assert EXAMPLES.keys() == BUILTIN.keys()


def test_a_parameter_is_explained_as_a_policy_takes_it():
    """Its type, what it takes, whether it must be given, and what it is if it isn't."""
    told = {one["name"]: one for one in rules.guard_explained(explain_guard("approvals"))["parameters"]}

    assert told["count"] == {
        "name": "count",
        "type": "count",
        "expected": "an integer from 1",
        "required": False,
        "default": 1,
        "choices": [],
        "about": "how many people have approved this document",
    }
    assert told["roles"]["default"] is None
    assert told["held"]["choices"] == ["now", "then"]
    assert "aliases" not in told
    assert "aliases" in explain_guard("role").parameters


def weekday(_state, _command, _policy):
    """The day is a working day."""
    return Verdict(agrees=True, reason="r")


weekday.parameters = {
    "days": Parameter("count", required=True, least=3),
    "zone": Parameter("text", default="UTC"),
    "names": Parameter("texts"),
    "hours": Parameter("counts", least=8),
    "kind": Parameter("text", choices=("open", "shut")),
    "pattern": Parameter("pattern"),
    "strict": Parameter("flag"),
}


def test_a_guard_of_a_program_is_explained_as_well():
    """By its docstring and its parameters; the example is made of them, and can be used."""
    found = explain_guard("weekday", {"weekday": weekday})

    assert found.summary == "The day is a working day"
    assert list(found.parameters) == [*weekday.parameters, "aliases"]
    (use,) = parsed(found.example, {"weekday": weekday}).uses["create"]
    assert use.parameters == {
        "days": 3,
        "zone": "UTC",
        "names": ["text"],
        "hours": {"text": 8},
        "kind": "open",
        "pattern": "[a-z]+",
        "strict": True,
    }


def test_an_unknown_guard_is_refused_with_the_nearest():
    """As everywhere."""
    with pytest.raises(InvalidArgument, match=r"There is no guard 'aproval'\. Did you mean 'approvals'\?"):
        explain_guard("aproval")
