"""The JSON Schemas that `policy schema`, `lifecycle schema` and `hooks schema` print: what editors check files against.

Whatever is read is valid under them: the examples, the files of the package, and any file that a test of their readers writes. The
mistakes that people make in the form of a file are found by them as well.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from registration.core.chart_data import as_data
from registration.errors import InvalidHooks
from registration.feed.hooks.hook_file import _MEMBERS, parse_hooks
from registration.rules.guards.explaining import EXAMPLES
from registration.rules.guards.registry import BUILTIN
from registration.rules.lifecycles.registration import CHART
from registration.rules.policies.templates import TEMPLATES, policy_template, template_roles
from tests.cli.test_cli import Terminal
from tests.kit.builders import tries
from tests.rules.test_policy_file import MISTAKES, policies, toml

ROOT = Path(__file__).resolve().parents[2]
POLICIES = sorted(
    [
        *ROOT.glob("fixtures/**/policy.toml"),
        *ROOT.glob("fixtures/policies/*.toml"),
        *ROOT.glob("registration/rules/policies/*.toml"),
    ]
)
LIFECYCLES = sorted(
    [
        *ROOT.glob("examples/lifecycles/*"),
        *ROOT.glob("fixtures/lifecycles/*"),
        *ROOT.glob("fixtures/registries/*/rules/lifecycles/*.json"),
        *ROOT.glob("registration/rules/lifecycles/*.toml"),
    ]
)


def schema(*command: str) -> Draft202012Validator:
    """What a command prints, checked against the schema of schemas."""
    printed = json.loads(Terminal(ROOT / "nowhere").ok(*command, "schema"))
    Draft202012Validator.check_schema(printed)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert printed["title"]
    assert printed["description"]
    return Draft202012Validator(printed)


@pytest.fixture(scope="module")
def policy() -> Draft202012Validator:
    return schema("policy")


@pytest.fixture(scope="module")
def lifecycle() -> Draft202012Validator:
    return schema("lifecycle")


@pytest.fixture(scope="module")
def hooks() -> Draft202012Validator:
    return schema("hooks")


def read(path: Path) -> Any:
    """The values of a TOML or JSON file."""
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)


def undescribed(found: Any, at: str = "") -> list[str]:
    """The members without a description, by their place in a schema."""
    if isinstance(found, list):
        return [each for one in found for each in undescribed(one, at)]
    if not isinstance(found, dict):
        return []
    bare = [
        f"{at}/{name}"
        for name, one in found.get("properties", {}).items()
        if one is not False and not one.keys() & {"description", "$ref", "const"}
    ]
    return (
        bare
        + [
            each
            for name, one in found.items()
            if name != "properties"
            for each in undescribed(one, f"{at}/{name}")
        ]
        + [
            each
            for name, one in found.get("properties", {}).items()
            for each in undescribed(one, f"{at}/{name}")
        ]
    )


@pytest.mark.parametrize("command", ["policy", "lifecycle", "hooks"])
def test_every_member_is_described(command: str, request: pytest.FixtureRequest) -> None:
    """Editors show what it is for."""
    found = request.getfixturevalue(command).schema

    plain = [one for one in undescribed(found) if one.rpartition("/")[2] not in ("guard", "name")]
    assert plain == []


# -- policies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_policies_are_valid(policy: Draft202012Validator, path: Path) -> None:
    """Those of the package, and those of the tests."""
    policy.validate(read(path))


@pytest.mark.parametrize("name", [*EXAMPLES, *TEMPLATES])
def test_policies_to_begin_with_are_valid(policy: Draft202012Validator, name: str) -> None:
    """The examples of guards, and the templates with people in them."""
    text = (
        EXAMPLES[name]
        if name in EXAMPLES
        else policy_template(name, {role: ["ana"] for role in template_roles(name)}).decode()
    )

    policy.validate(tomllib.loads(text))


@tries(60)
@given(said=policies())
def test_what_is_read_is_valid(policy: Draft202012Validator, said: dict[str, Any]) -> None:
    """Any policy that the reader takes."""
    policy.validate(tomllib.loads("\n".join(f"{name} = {toml(value)}" for name, value in said.items())))


BEYOND = (
    "JSON value", "can't be read", "is not in the policy's directory", "is not a file name", "is not a JSON Pointer", "expected a schema",
    "is invalid: ", "does not resolve", "[roles] has no", "[[kinds]] has no", "has no action", "There is no guard", "regular expression",
    "beyond ±2^53", "finite", "U+200B", "begins or ends with a space", "mixes", "demands nothing", "more than",
)  # fmt: skip
"""Mistakes that no schema can tell: they are in the values, in other files, or in the lifecycle."""


def test_mistakes_in_the_form_are_found(policy: Draft202012Validator) -> None:
    """All that the reader finds without another file, the lifecycle or the people."""
    missed, found = [], 0
    for text, problem in MISTAKES:
        if isinstance(text, bytes) or any(words in problem for words in (*BEYOND, "it is not TOML")):
            continue
        found += 1
        if policy.is_valid(tomllib.loads(text)):
            missed.append((text, problem))

    assert missed == []
    assert found > 30


def test_a_guard_of_a_program_may_have_any_parameters(policy: Draft202012Validator) -> None:
    """A built-in one has its own only, with their types."""
    use = {"guard": "weekday", "actions": ["approve"], "days": 5}

    assert policy.is_valid({"guards": [use]})
    assert not policy.is_valid({"guards": [{**use, "guard": "reason_given"}]})
    for name, kind in BUILTIN.items():
        wrong = {said: ["x"] if one.type in ("flag", "count") else 7 for said, one in kind.parameters.items()}
        for said, value in wrong.items():
            assert not policy.is_valid({"guards": [{"guard": name, "actions": ["a"], said: value}]}), said


# -- lifecycles ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LIFECYCLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_lifecycles_are_valid(lifecycle: Draft202012Validator, path: Path) -> None:
    """Those of the package, of the examples and of the tests, as tables and as printed."""
    lifecycle.validate(read(path))


def test_a_printed_lifecycle_is_valid(lifecycle: Draft202012Validator) -> None:
    """It can be edited with the same help."""
    lifecycle.validate(as_data(CHART, 1))


SOUND = {
    "name": "tickets",
    "states": {"OPEN": {}, "DONE": {"final": True}},
    "actions": {
        "open": {"past": "opened", "document": True, "to": "OPEN"},
        "finish": {
            "past": "finished",
            "from": ["OPEN"],
            "to": "DONE",
            "guards": ["reason_given", {"guard": "approvals", "count": 2}],
        },
    },
    "timeouts": {"forget": {"past": "forgotten", "state": "OPEN", "after": "14d", "to": "DONE"}},
}


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ("name", None),
        ("name", "two words"),
        ("format", 2),
        ("version", 0),
        ("states", [{"final": True}]),
        ("states/OPEN", {"fianl": True}),
        ("states/2OPEN", {}),
        ("states/OPEN", {"final": "yes"}),
        ("actions/open", {"past": "opened"}),
        ("actions/open", {"to": "OPEN"}),
        ("actions/open/too", "OPEN"),
        ("actions/open/moves", [{"to": "OPEN"}]),
        ("actions/finish/from", []),
        ("actions/finish/guards", "reason_given"),
        ("actions/finish/guards", [{"guard": "approvals", "cuont": 2}]),
        ("actions/finish/guards", [{"guard": "role"}]),
        ("timeouts/forget/after", "2 weeks"),
        ("timeouts/forget/to", None),
        ("title", "x" * 201),
    ],
)
def test_mistakes_in_the_form_of_a_lifecycle_are_found(
    lifecycle: Draft202012Validator, at: str, value: Any
) -> None:
    """A member that is missing, mistyped, or of another type; two forms of one action."""
    said = json.loads(json.dumps(SOUND))
    *steps, last = at.split("/")
    table = said
    for step in steps:
        table = table[step]
    table[last] = value
    if value is None:
        del table[last]

    lifecycle.validate(SOUND)
    assert not lifecycle.is_valid(said)


# -- hooks -----------------------------------------------------------------------------------------------------

COMMAND = {"name": "index", "command": ["./index.py"]}
URL = {"name": "ci", "url": "https://ci.example.com/x", "secrets": ["env:S"]}


@pytest.mark.parametrize(
    "hook",
    [
        COMMAND,
        URL,
        {**COMMAND, "states": ["REGISTERED"], "actions": ["approve"], "types": ["registration.*"], "areas": ["sessions"]},
        {**COMMAND, "timeout_s": 0.5, "attempts_max": 1, "wait_s": 1, "wait_s_max": 60.0, "start": "start"},
        {**URL, "allow_private": True, "ca_file": "ca.pem", "secrets": ["file:a", "env:B"]},
        {},
        {"name": "x"},
        {**COMMAND, "name": "a b"},
        {**COMMAND, "name": "-x"},
        {**COMMAND, "name": ""},
        {**COMMAND, "nmae": "x"},
        {**COMMAND, "url": "https://ci.example.com"},
        {**COMMAND, "secrets": ["env:S"]},
        {**COMMAND, "command": "./index.py"},
        {**COMMAND, "command": []},
        {**COMMAND, "command": [""]},
        {**COMMAND, "states": "REGISTERED"},
        {**COMMAND, "types": [""]},
        {**COMMAND, "areas": ["somewhere"]},
        {**COMMAND, "timeout_s": 0},
        {**COMMAND, "timeout_s": True},
        {**COMMAND, "timeout_s": 3_601},
        {**COMMAND, "attempts_max": 1.5},
        {**COMMAND, "attempts_max": 101},
        {**COMMAND, "wait_s": 604_801},
        {**COMMAND, "start": "later"},
        {**URL, "secrets": []},
        {**URL, "secrets": ["S"]},
        {**URL, "allow_private": "yes"},
        {**URL, "ca_file": ""},
    ],
)  # fmt: skip
def test_a_hook_is_valid_if_it_is_read(hooks: Draft202012Validator, hook: dict[str, Any]) -> None:
    """The schema and the reader agree about the form of each member."""
    said = {"hooks": [hook]}
    try:
        parse_hooks(said, source="hooks.toml", chart=CHART)
    except InvalidHooks:
        read = False
    else:
        read = True

    assert hooks.is_valid(said) == read


def test_every_member_of_a_hook_is_known(hooks: Draft202012Validator) -> None:
    """Those that are read, and no others; nothing besides the hooks."""
    items = hooks.schema["properties"]["hooks"]["items"]

    assert items["properties"].keys() == _MEMBERS
    assert not hooks.is_valid({"hook": []})
    assert hooks.is_valid({})


def test_a_schema_is_printed_on_one_line_for_programs() -> None:
    """As every other output."""
    printed = Terminal(ROOT / "nowhere").ok("policy", "schema", "--json")

    assert printed.count("\n") == 1
