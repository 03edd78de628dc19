"""Policies as people write them: what `policy.toml` says, every mistake in it, and how it takes effect on a registry.

What a `Policy` does once it is there is in `test_policy.py`, how it is read from the disk in `test_rules_store.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration import RegistrationPipeline
from registration.core.chart import GuardUse
from registration.core.facts import GOVERNED, TAGGING
from registration.core.policy import CHANGES, Kind, Limits, Policy, Verdict
from registration.engine.opening import lifecycle_from
from registration.engine.policy_on_disk import read_policy
from registration.errors import CorruptRegistry, GuardRefused, InvalidArgument, InvalidPolicy, StoreError
from registration.rules.guards.registry import Parameter
from registration.rules.lifecycles.registration import CHART
from registration.rules.policy_data import policy_from, rules_digest
from registration.rules.policy_file import POLICY_BYTES_MAX, PROBLEMS_MAX, parse_policy
from registration.rules.policy_file import __doc__ as described
from registration.values.documents import digest_of
from registration.values.people import person
from tests.kit.builders import i_json, texts, tries
from tests.kit.disks import tree
from tests.kit.policies import put_in_force

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
FULL = FIXTURES / "policies" / "full"
SERVER = json.loads((FIXTURES / "manifests" / "mcp-server.json").read_bytes())
ANY = b"{}"


def parsed(text, guards=None, **beside):
    """The policy that a text says, with files beside it; a name with a dot is given with `__`."""
    files = {name.replace("__", "."): content for name, content in beside.items()}

    def read(name):
        if name not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return files[name]

    raw = text if isinstance(text, bytes) else text.encode()
    return parse_policy(raw, source="policy.toml", chart=CHART, read=read, guards=guards)


def problems(text, guards=None, **beside):
    """What is wrong with a policy."""
    with pytest.raises(InvalidPolicy) as caught:
        parsed(text, guards, **beside)
    return caught.value.details["problems"]


def kind(**members):
    """A policy with one kind."""
    lines = [
        f"{name} = {value}" for name, value in {"name": '"a"', "match": '{ "/a" = 1 }', **members}.items()
    ]
    return "\n".join(["[[kinds]]", *lines])


def use(guard, *lines, actions='["approve"]', roles='reviewer = ["bea"]'):
    """A policy with one use of a guard."""
    return "\n".join([f"[roles]\n{roles}\n[[guards]]", f'guard = "{guard}"', f"actions = {actions}", *lines])


# -- what a file says ------------------------------------------------------------------------------------


def test_an_empty_file_has_no_rules():
    """Neither has one with nothing but comments: it is as if there were none."""
    assert parsed("").digest is None
    assert parsed("# nothing yet\n\n[refusals]\n").digest is None


def test_the_example_of_the_documentation_can_be_used():
    """What the module shows is a policy, and means what it says there."""
    example = textwrap.dedent(described.split("::\n")[1].split("The guards' actions")[0])
    policy = parsed(example, **{"schemas/mcp-server__schema__json": ANY})

    assert (policy.name, policy.log_refusals, policy.format) == ("acme", True, 2)
    assert (policy.sources, policy.one_script, policy.limits) == (("login",), True, Limits(people=20))
    assert policy.governance == {
        "policy": (GuardUse("role", {"any": ["reviewer"]}), GuardUse("not_the_author"))
    }
    assert policy.guards.keys() == {"approvals", "not_the_author", "role"}
    assert policy.roles == {"reviewer": ("bea", "cyd")}
    assert policy.kinds == (
        Kind("mcp-server", {"/$schema": "https://static.modelcontextprotocol.io/schemas/*"}, digest_of({})),
    )
    assert [(one.name, one.parameters) for one in policy.uses["register"]] == [("approvals", {"count": 2})]


def test_the_sample_policies_can_be_used():
    """Each is sound for the lifecycle that it speaks of."""
    full = read_policy(str(FULL / "policy.toml"), CHART).policy
    public = lifecycle_from(FIXTURES / "lifecycles" / "public-registry.toml").chart
    four_eyes = read_policy(str(FIXTURES / "policies" / "four-eyes.toml"), public).policy

    assert list(full.uses) == ["create", "revise", "submit_for_review", "approve", "register"]
    assert list(four_eyes.uses) == ["accept", "publish"]


def test_the_digest_stands_for_the_schemas_and_not_for_their_names():
    """A schema under another name is the same policy; another schema under the same name is another."""
    plain = parsed(kind(schema='"a.json"'), a__json=b'{"type":"object"}')
    renamed = parsed(kind(schema='"b.json"'), b__json=b'{ "type": "object" }')
    other = parsed(kind(schema='"a.json"'), a__json=b'{"type":"array"}')

    assert plain.digest == renamed.digest
    assert other.digest != plain.digest
    assert plain.data["kinds"][0]["schema"] == digest_of({"type": "object"})


def test_a_definition_inside_of_a_schema_can_be_meant():
    """Behind a # stands the pointer to it; several kinds may use one file."""
    schema = b'{"$defs": {"x": {"type": "object"}, "y": true}}'
    policy = parsed(
        kind(schema='"s.json#/$defs/x"') + "\n" + kind(name='"b"', schema='"s.json#/$defs/y"'), s__json=schema
    )

    assert [one.schema_pointer for one in policy.kinds] == ["/$defs/x", "/$defs/y"]
    assert list(policy.schemas.values()) == [json.loads(schema)]


def test_guards_are_asked_in_the_order_of_the_file():
    """By action, in the order in which they stand there."""
    policy = parsed(
        use("reason_given", actions='["approve", "register"]')
        + '\n[[guards]]\nguard = "not_the_author"\nactions = ["register", "approve"]\n'
    )

    assert {action: [one.name for one in uses] for action, uses in policy.uses.items()} == {
        "approve": ["reason_given", "not_the_author"],
        "register": ["reason_given", "not_the_author"],
    }


# -- mistakes that people make -----------------------------------------------------------------------------

NOT_HERE = "it takes format, name, roles, kinds, guards, actors, limits, refusals, claims, governance"
GUARDS = (
    "The guards are a2a_agent_card, a2a_card_compatible, approvals, mcp_server, name, not_the_author, reason_given, "
    "role, schema, version."
)

MISTAKES = [
    # the file
    (b"\xff", "byte 0 is not UTF-8 (invalid start byte)"),
    (b"\xef\xbb\xbfname = 'x'", "it begins with a byte order mark; save it as UTF-8 without a BOM"),
    ("x = [", "it is not TOML: …"),
    ("name = 'a'\nname = 'b'", "it is not TOML: Cannot overwrite a value…"),
    ("at = 2026-01-01", "at /at: a date is not a JSON value"),
    ("name = nan", "at /name: it is not a finite number (NaN, or beyond ±1.8e308)"),
    ("name = 9007199254740993", "at /name: the integer is beyond ±2^53; write it as text"),
    (
        "#" * (POLICY_BYTES_MAX + 1),
        f"it has more than {POLICY_BYTES_MAX:,} bytes",
    ),
    # its members
    ("nme = 'x'", f"nme: unknown member. Did you mean 'name'? {NOT_HERE.capitalize()}"),
    ("name = 1", "name: it must be text, not 1"),
    ("format = 3", "format: it must be 1 or 2, not 3"),
    ("format = 0", "format: it must be 1 or 2, not 0"),
    ("format = true", "format: it must be an integer, not true"),
    ("roles = ['bea']", "roles: it must be a table, not a list"),
    ("kinds = 'x'", "kinds: it must be a list, not 'x'"),
    ("[guards]\nguard = 'role'", "guards: it must be a list, not a table"),
    ("guards = [1]", "guards[0]: it must be a table, not 1"),
    ("[refusals]\nlog = 'yes'", "refusals.log: it must be true or false, not 'yes'"),
    ("[refusals]\nlgo = true", "refusals.lgo: unknown member. Did you mean 'log'? It takes log"),
    # actors, limits, governance
    ("[actors]\nsource = 'login'", "actors.source: it must be a list, not 'login'"),
    ("[actors]\nsource = []", "actors.source: it is empty"),
    (
        "[actors]\nsource = ['lgoin']",
        "actors.source[0]: unknown source 'lgoin'. Did you mean 'login'? There is login",
    ),
    (
        "[actors]\none_scrpt = true",
        "actors.one_scrpt: unknown member. Did you mean 'one_script'? It takes source, one_script",
    ),
    ("[limits]\npeople = 0", "limits.people: it must be an integer from 1, not 0"),
    ("[limits]\nbytes = '1 MB'", "limits.bytes: it must be an integer from 1, not '1 MB'"),
    ("[limits]\ndrafts = true", "limits.drafts: it must be an integer from 1, not true"),
    (
        "[limits]\ndraft = 3",
        "limits.draft: unknown member. Did you mean 'drafts'? It takes people, revisions, bytes, drafts, refusals",
    ),
    ("limits = 3", "limits: it must be a table, not 3"),
    (
        "[governance]\nrules = { four_eyes = true }",
        "governance.rules: unknown member. It takes policy, roster, lifecycle",
    ),
    ("[governance]\npolicy = ['owner']", "governance.policy: it must be a table, not a list"),
    (
        "[governance]\npolicy = {}",
        "governance.policy: it demands nothing; give `roles` or `four_eyes = true`, or leave it out",
    ),
    ("[governance]\nroster = { roles = [] }", "governance.roster.roles: it is empty"),
    (
        "[governance]\npolicy = { role = ['a'] }",
        "governance.policy.role: unknown member. Did you mean 'roles'? It takes roles, four_eyes",
    ),
    (
        "[roles]\nowner = ['ana']\n[governance]\nlifecycle = { roles = ['ownr'] }",
        "governance.lifecycle.roles: [roles] has no 'ownr'. Did you mean 'owner'?",
    ),
    # roles
    ("[roles]\nreviewer = 'bea'", "roles.reviewer: it must be a list, not 'bea'"),
    ("[roles]\nreviewer = ['bea', 7]", "roles.reviewer[1]: it must be text, not 7"),
    ("[roles]\nreviewer = ['']", "roles.reviewer[0]: it must have 1 to 200 characters, not 0"),
    (
        "[roles]\nreviewer = ['bea', 'cyd\u200b']",
        r"roles.reviewer[1]: 'cyd\u200b': it contains U+200B ZERO WIDTH SPACE, which is invisible; leave it out",
    ),
    (
        "[roles]\nreviewer = [' bea']",
        "roles.reviewer[0]: ' bea': it begins or ends with a space, or has several in a row; leave single spaces between words",
    ),
    (
        "[actors]\none_script = true\n[roles]\nreviewer = ['b\u0435a']",
        "roles.reviewer[0]: 'b\u0435a': it mixes Cyrillic and Latin: 'b' (U+0062 LATIN SMALL LETTER B), …",
    ),
    ("[roles]\n'' = ['bea']", "roles: '' is an invalid name; one has 1 to 200 characters"),
    # kinds
    ("[[kinds]]\nmatch = { '/a' = 1 }", "kinds[0].name: it is missing"),
    ("[[kinds]]\nname = 'a'", "kinds[0].match: it is missing"),
    (kind(match="{}"), "kinds[0].match: it is empty"),
    (kind(match="{ name = 'x' }"), "kinds[0].match: 'name' is not a JSON Pointer; write it as '/name'"),
    (
        kind(match="{ '/a~b' = 1 }"),
        "kinds[0].match: '/a~b' is not a JSON Pointer; a ~ is ~0 and a / in a name ~1",
    ),
    (
        kind(shcema="'x'"),
        "kinds[0].shcema: unknown member. Did you mean 'schema'? It takes name, match, schema",
    ),
    # schemas
    (kind(schema="'none.json'"), "kinds[0].schema: 'none.json' can't be read: No such file or directory"),
    (
        kind(schema="'/etc/a.json'"),
        "kinds[0].schema: '/etc/a.json' is not in the policy's directory; put the file there",
    ),
    (
        kind(schema="'../a.json'"),
        "kinds[0].schema: '../a.json' is not in the policy's directory; put the file there",
    ),
    (
        kind(schema="'a/../../a.json'"),
        "kinds[0].schema: 'a/../../a.json' is not in the policy's directory; put the file there",
    ),
    (kind(schema="''"), "kinds[0].schema: '' is not a file name"),
    (kind(schema='"a\\u0000.json"'), r"kinds[0].schema: 'a\x00.json' is not a file name"),
    (
        kind(schema="'any.json#x'"),
        "kinds[0].schema: 'x' is not a JSON Pointer; put one after the #, as in '#/$defs/name'",
    ),
    (kind(schema="'any.json#/x'"), "kinds[0].schema: at /x: expected a schema, found nothing"),
    (
        kind(schema="'torn.json'"),
        ("kinds[0].schema: torn.json is invalid: it is not JSON: …"),
    ),
    (
        kind(schema="'list.json'"),
        "kinds[0].schema: list.json is invalid: it is an array; expected a JSON object",
    ),
    (
        kind(schema="'away.json'"),
        ("kinds[0].schema: the reference 'https://x.example/s' does not resolve, and nothing is fetched"),
    ),
    # guards
    ("[[guards]]\nactions = ['approve']", "guards[0].guard: it is missing"),
    ("[[guards]]\nguard = 'reason_given'", "guards[0].actions: it is missing"),
    (use("reason_given", actions="[]"), "guards[0].actions: it is empty"),
    (use("reason_given", actions="'approve'"), "guards[0].actions: it must be a list, not 'approve'"),
    (
        use("reason_given", actions="['aprove']"),
        ("guards[0].actions: the lifecycle 'registration' has no action 'aprove'. Did you mean 'approve'?"),
    ),
    (use("rol"), f"guards[0].guard: There is no guard 'rol'. Did you mean 'role'? {GUARDS}"),
    (use("role"), "guards[0].any: it is required: a list of texts, with at least one"),
    (use("role", "any = ['revewer']"), "guards[0].any: [roles] has no 'revewer'. Did you mean 'reviewer'?"),
    (use("approvals", "roles = { boss = 1 }"), "guards[0].roles: [roles] has no 'boss'"),
    (use("approvals", "count = 0"), "guards[0].count: it must be an integer from 1, not 0"),
    (
        use("approvals", "cuont = 2"),
        (
            "guards[0].cuont: the guard 'approvals' has no such parameter. Did you mean 'count'? It has "
            "count, roles, held, action."
        ),
    ),
    (use("name", "kinds = ['mpc']"), "guards[0].kinds: [[kinds]] has no 'mpc'"),
    (
        use("name", "pattern = '('"),
        ("guards[0].pattern: '(' is not a valid Python regular expression: …"),
    ),
]


@pytest.mark.parametrize(("text", "problem"), MISTAKES, ids=[problem[:60] for _, problem in MISTAKES])
def test_a_mistake_is_named_with_its_path(text, problem):
    """What is wrong, where in the file, and what would be right; nothing else is said."""
    schemas = {
        "any__json": ANY,
        "torn__json": b"{",
        "list__json": b"[]",
        "away__json": b'{"$ref": "https://x.example/s"}',
    }

    (found,) = problems(text, **schemas)

    said, words_of_a_library, _ = problem.partition("…")
    assert found.startswith(said) if words_of_a_library else found == problem


def test_all_mistakes_are_told_at_once():
    """A file can be mended in one go; the message lists them, and says that nothing is written meanwhile."""
    text = "\n".join(
        [kind(schema="'a.json'"), use("rle"), "[[guards]]\nguard = 'role'\nactions = ['aprove', 'x']"]
    )
    with pytest.raises(InvalidPolicy) as caught:
        parsed(text)

    assert [problem.partition(":")[0] for problem in caught.value.details["problems"]] == [
        "kinds[0].schema",
        "guards[0].guard",
        "guards[1].any",
        "guards[1].actions",
        "guards[1].actions",
    ]
    assert "The policy policy.toml has 5 problems: kinds[0].schema: " in str(caught.value)
    assert caught.value.next_step == "Fix them all and try again."


def test_nobody_reads_more_than_a_hundred_problems():
    """Beyond that it is said that there are more."""
    for text in (
        use("role", f"any = {[f'r{n}' for n in range(200)]}"),
        "\n".join(f"x{n} = 1" for n in range(200)),
    ):
        found = problems(text)

        assert len(found) == PROBLEMS_MAX + 1
        assert found[-1] == "and more"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a." * 3_000 + "b = 1", "line 1 has more than 500 dots; break it up"),
        ("x = " + "[" * 100_000, "it is nested too deep"),
        ("x = " + "1" * 100_000, "it has a number of thousands of digits"),
        ("x." * 200 + "x = 1", "it is nested deeper than 100 levels"),
    ],
)
def test_a_hostile_file_ends_in_a_refusal(text, problem):
    """Whatever it is made of, it costs neither minutes nor the machine's memory."""
    (found,) = problems(text)

    assert found.endswith(problem)


def test_a_problem_is_told_in_one_line_without_control_characters():
    """Names out of a file can't paint the terminal of whoever reads what is wrong with it."""
    (found,) = problems('[roles]\n"a\\u001b[31m\\nb" = [1]')

    assert found == r"roles.a\x1b[31m\nb[0]: it must be text, not 1"


def test_a_guard_of_the_program_is_known_by_its_name():
    """What it takes is checked where it says so; where the program is another, it is no guard."""

    def weekday(_state, _command, policy):
        return Verdict(agrees=policy.parameters["days"] > 0, reason="r")

    weekday.parameters = {"days": Parameter("count", required=True)}
    text = use("weekday", "days = 5")

    assert parsed(text, {"weekday": weekday}).guards == {"weekday": weekday}
    assert problems(use("weekday"), {"weekday": weekday}) == [
        "guards[0].days: it is required: an integer from 1"
    ]
    assert problems(text)[0].startswith("guards[0].guard: There is no guard 'weekday'.")


def test_a_policy_may_guard_what_is_no_action_of_the_lifecycle():
    """Tags, repairs and aliases, whatever the lifecycle; a lock is of a manifest, and reserves no alias."""
    governed = [*TAGGING, *GOVERNED]

    assert list(parsed(use("reason_given", actions=governed)).uses) == governed
    assert problems('[claims]\nexclusive = ["tag", "repair"]') == [
        "claims.exclusive: the lifecycle 'registration' has no action 'repair'"
    ]


SETS = """
[roles]
a = {people}
b = ["bea"]
[[guards]]
guard = "role"
actions = {actions}
any = {roles}
[[guards]]
guard = "role"
actions = ["move_alias"]
any = {roles}
aliases = {roles}
[claims]
exclusive = {actions}
[governance]
policy = {{ roles = {roles} }}
"""


def test_the_order_of_names_in_a_set_changes_no_digest():
    """Neither does a name that is given twice: they are the same rules, and the same roster."""
    one = parsed(SETS.format(people=["x", "y"], actions=["approve", "reject"], roles=["a", "b"]))
    other = parsed(
        SETS.format(people=["y", "x", "y"], actions=["reject", "approve", "reject"], roles=["b", "a"])
    )

    assert (one.digest, one.roster) == (other.digest, other.roster)
    assert (one.data, one.roster_data) == (other.data, other.roster_data)
    assert [len(uses) for uses in other.uses.values()] == [1, 1, 1]


def test_two_spellings_of_one_person_have_a_role_once():
    """Whichever of them comes first."""
    one, other = (parsed(f"[roles]\na = {names}") for names in (["bea", "Bea", "cyd"], ["cyd", "Bea", "bea"]))

    assert one.roles == {"a": ("Bea", "cyd")}
    assert one.roster == other.roster


def test_another_roster_is_the_same_rules():
    """Who has a role has a digest of its own."""
    one, other = (
        parsed(use("role", "any = ['reviewer']", roles=f"reviewer = ['{name}']")) for name in ("bea", "cyd")
    )

    assert one.digest == other.digest
    assert one.roster != other.roster
    assert "roles" not in one.data


def test_a_file_of_either_format_means_the_same():
    """What people wrote before is compiled to what is stored today."""
    text = use("role", "any = ['reviewer']")

    assert parsed("format = 1\n" + text).data == parsed("format = 2\n" + text).data == parsed(text).data


# -- and back from what was kept ---------------------------------------------------------------------------

names = texts().filter(str.strip)  # no guard takes a blank name of a role or a kind
SCHEMAS = [{}, {"type": "object"}, {"$defs": {"x": {"required": ["name"]}}}]


@st.composite
def policies(draw):
    """A policy in its file form: TOML values, and the schemas beside it."""
    people = st.lists(st.sampled_from(["bea", "Bea", "cyd", "ünal", "李 雷", "o'neil"]), max_size=4)
    roles = draw(st.dictionaries(names, people, max_size=3))
    kinds = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "name": names,
                    "match": st.dictionaries(
                        st.sampled_from(["", "/a", "/$schema", "/a~1b/0"]), matches(), min_size=1, max_size=2
                    ),
                },
                optional={"schema": st.sampled_from(["0.json", "1.json", "2.json#/$defs/x"])},
            ),
            max_size=3,
        )
    )
    has_role = [{"guard": "role", "any": [name]} for name in roles]
    has_kind = [{"guard": "name", "kinds": [one["name"]], "characters_max": 20} for one in kinds]
    uses = [
        {"guard": "reason_given"},
        {"guard": "not_the_author", "scope": "manifest"},
        {"guard": "approvals", "count": 3, "roles": dict.fromkeys(roles, 2)},
        {"guard": "schema", "required": True},
        *has_role,
        *has_kind,
    ]
    actions = st.lists(st.sampled_from([action.name for action in CHART.actions]), min_size=1, max_size=3)
    guards = [
        {**draw(st.sampled_from(uses)), "actions": draw(actions)} for _ in range(draw(st.integers(0, 3)))
    ]
    changes = st.fixed_dictionaries(
        {"four_eyes": st.just(True)},
        optional={"roles": st.lists(st.sampled_from(list(roles)), min_size=1, max_size=3)} if roles else {},
    )
    limits = st.dictionaries(
        st.sampled_from(["people", "revisions", "bytes", "drafts", "refusals"]), st.integers(1, 2**53 - 1)
    )
    return {
        "format": draw(st.sampled_from([1, 2])),
        "name": draw(texts()),
        "roles": roles,
        "kinds": kinds,
        "guards": guards,
        "refusals": {"log": draw(st.booleans())},
        "actors": draw(
            st.fixed_dictionaries({}, optional={"source": st.just(["login"]), "one_script": st.booleans()})
        ),
        "limits": draw(limits),
        "governance": draw(st.dictionaries(st.sampled_from(CHANGES), changes)),
        "claims": draw(st.fixed_dictionaries({}, optional={"exclusive": actions})),
    }


def matches():
    """What can stand behind a pointer: anything that TOML and JSON can both say."""
    return i_json().filter(lambda value: "null" not in json.dumps(value))


def toml(value):
    """A JSON value without null as TOML, in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(name)} = {toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@tries(60)
@given(policies())
def test_what_was_kept_is_the_policy_that_was_written(said):
    """From the file, and from what `rules/policies/` keeps of it, comes the same policy with the same digest."""
    files = {f"{number}__json": json.dumps(schema).encode() for number, schema in enumerate(SCHEMAS)}
    by_digest = {digest_of(schema): schema for schema in SCHEMAS}

    policy = parsed("\n".join(f"{name} = {toml(value)}" for name, value in said.items()), **files)
    data, roster = json.loads(json.dumps([policy.data, policy.roster_data]))
    kept = policy_from(data, by_digest.__getitem__, roster=roster)

    assert (kept.digest, kept.data) == (policy.digest, policy.data)
    assert (kept.roster, kept.roles) == (policy.roster, policy.roles)
    assert kept.schemas == policy.schemas
    assert kept.guards == policy.guards
    assert (kept.sources, kept.one_script, kept.limits) == (policy.sources, policy.one_script, policy.limits)
    assert (kept.governance, kept.exclusive) == (policy.governance, policy.exclusive)
    assert [dict(one.match) for one in policy.kinds] == [one["match"] for one in said["kinds"]]
    assert {role: [person(name) for name in people] for role, people in policy.roles.items()} == {
        role: sorted({person(name) for name in people}) for role, people in said["roles"].items()
    }
    assert rules_digest(data) == (policy.digest or "")


def before(policy, **changed):
    """The policy as release 0.1 stored it: rules and roles in one document."""
    return json.loads(json.dumps(replace(policy, format=1, **changed).data))


@tries(60)
@given(policies())
def test_rules_of_an_earlier_release_have_the_digest_that_they_have_today(said):
    """An approval that names a whole `policy.toml` of that time counts where its rules are those in force."""
    files = {f"{number}__json": json.dumps(schema).encode() for number, schema in enumerate(SCHEMAS)}
    said = {name: value for name, value in said.items() if name not in ("actors", "limits", "governance")}
    policy = parsed("\n".join(f"{name} = {toml(value)}" for name, value in said.items()), **files)

    stored = before(policy)

    if stored is None:
        assert policy.digest is None
        return
    kept = policy_from(stored, {digest_of(one): one for one in SCHEMAS}.__getitem__)
    assert (kept.format, kept.data, kept.digest) == (1, stored, digest_of(stored))
    assert kept.roles == policy.roles
    assert rules_digest(stored) == (policy.digest or "")


def test_an_earlier_release_kept_sets_in_the_order_of_the_file():
    """They are the same rules all the same; the stored document keeps its order, and so its digest."""
    policy = parsed(use("role", "any = ['b', 'a']", roles="a = []\nb = []"))

    stored = before(policy, uses={"approve": (GuardUse("role", {"any": ["b", "a"]}),)})

    assert digest_of(stored) != digest_of(before(policy))
    assert rules_digest(stored) == rules_digest(before(policy)) == policy.digest
    assert policy_from(stored, {}.__getitem__).data == stored


@pytest.mark.parametrize("value", [5, "ab", [1, "a"], [["a"]], None])
def test_a_parameter_of_another_type_has_a_digest_all_the_same(value):
    """Stored rules can have been tampered with: the guard refuses, and nothing crashes before it is asked."""
    stored = {**STORED, "format": 1, "roles": {}, "guards": {"approve": [{"guard": "role", "any": value}]}}

    assert rules_digest(stored).startswith("sha256:")
    assert policy_from(stored, {}.__getitem__).data == stored


def test_roles_alone_are_no_rules():
    """As stored by an earlier release, they have the digest of no policy at all."""
    policy = parsed("[roles]\na = ['bea']")

    assert policy.digest is None
    assert rules_digest(before(policy)) == ""
    assert policy_from(None, {}.__getitem__, roster=policy.roster_data).roles == {"a": ("bea",)}


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("registries/*/rules/policies/*.json")), ids=lambda path: path.parts[-4]
)
def test_the_policies_that_earlier_releases_stored_are_read(path):
    """With the digest that is their file's name; the `policy.toml` of release 0.1 has the same rules today."""
    stored = json.loads(path.read_bytes())
    root = path.parents[2]

    kept = policy_from(stored, lambda _: {})
    lifecycle = json.loads((root / "registry.json").read_bytes())["lifecycle"]["digest"].partition(":")[2]
    chart = lifecycle_from(root / "rules" / "lifecycles" / f"{lifecycle}.json").chart
    written = read_policy(str(root / "policy.toml"), chart).policy

    assert kept.digest == f"sha256:{path.stem}"
    if stored["format"] == 1:  # later ones changed on the way, and the last one is in the file
        assert rules_digest(stored) == (written.digest or "")


STORED = {"format": 2, "name": "a", "log_refusals": False, "kinds": [], "guards": {}}


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {**STORED, "format": True},
        {**STORED, "format": "2"},
        {**STORED, "name": 7},
        {**STORED, "log_refusals": "yes"},
        {**STORED, "kinds": [{"name": "x"}]},
        {**STORED, "guards": {"approve": [{"count": 2}]}},
        {**STORED, "guards": ["approve"]},
        {**STORED, "roles": {}},
        {**STORED, "later": True},
        {**STORED, "limits": {"people": "20"}},
        {**STORED, "limits": {"peple": 20}},
        {**STORED, "actors": {"source": "login", "one_script": False}},
        {**STORED, "claims": {"exclusive": ["reject", "approve"]}},
        {**STORED, "format": 1},
        {**STORED, "format": 1, "roles": {"a": "bea"}},
        {**STORED, "format": 1, "roles": {"a": [7]}},
    ],
)  # fmt: skip
def test_a_stored_document_of_another_form_is_no_policy(data):
    """Nothing in it is left out, and nothing is guessed; it is refused whatever is wrong with it."""
    for ask in (lambda: policy_from(data, {}.__getitem__), lambda: rules_digest(data)):
        with pytest.raises(StoreError, match=r"is not a document of format 1 or 2\. Restore `rules/`"):
            ask()
    with pytest.raises(StoreError):
        policy_from(STORED, {}.__getitem__, roster={"format": 1, "roles": ["a"]})


def test_a_stored_policy_of_a_later_release_is_named_as_such():
    """It is neither damage nor no policy."""
    with pytest.raises(StoreError, match=r"has format 3; expected 1 or 2\. A later release wrote it"):
        policy_from({**STORED, "format": 3}, {}.__getitem__)


def test_a_stored_policy_is_read_without_pydantic():
    """`verify` reads every policy that events name, and doesn't pay for what only files of people need."""
    script = (
        "import sys; from registration.rules.policy_data import policy_from;"
        f"policy_from({STORED!r}, None); print('pydantic' in sys.modules)"
    )

    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert told.stdout == "False\n"


def test_a_policy_whose_guard_is_gone_can_not_be_had_again():
    """What was kept names the guard; where it isn't there, that is said, and nothing is left out silently."""
    kept = parsed(use("mine"), {"mine": len}).data

    with pytest.raises(InvalidArgument, match="There is no guard 'mine'"):
        policy_from(kept, {}.__getitem__)


# -- in force ----------------------------------------------------------------------------------------------

FOUR_EYES = use("not_the_author")
SIGNED = use("approvals", "count = 2", actions='["register"]')


def write(root, text):
    (root / "policy.toml").write_text(text)


def test_a_policy_takes_effect_when_it_is_applied(pipeline, root):
    """In a pipeline that is open already. Written, edited or taken away, the file alone changes nothing."""
    pipeline.create("a", {})
    pipeline.submit_for_review("a")

    write(root, FOUR_EYES)
    assert pipeline.explain("a", "approve")[0].allowed
    put_in_force(pipeline, FOUR_EYES)
    with pytest.raises(GuardRefused, match="'ada' submitted this document"):
        pipeline.approve("a")
    write(root, use("reason_given"))
    with pytest.raises(GuardRefused, match="'ada' submitted this document"):
        pipeline.approve("a")
    put_in_force(pipeline, use("reason_given"))
    with pytest.raises(GuardRefused, match="a reason is required"):
        pipeline.approve("a")
    (root / "policy.toml").unlink()
    with pytest.raises(GuardRefused, match="a reason is required"):
        pipeline.approve("a")
    put_in_force(pipeline, "")
    approved = pipeline.approve("a")

    assert approved.event.data["approval"]["policy"] is None
    assert "policy" not in approved.event.data
    assert approved.event.data["registry"]["version"] == 4
    assert pipeline.policy.digest is None


def test_the_first_policy_binds_whoever_opened_the_registry_before(open_pipeline, root):
    """Every program that has it open, reading or writing, sees the same rules."""
    one, other = open_pipeline(), open_pipeline(actor="bea")
    one.create("a", {})

    put_in_force(root, use("role", "any = ['reviewer']", actions='["submit_for_review"]'))

    with pytest.raises(GuardRefused):
        one.submit_for_review("a")
    assert [said.allowed for said in one.explain("a", "submit_for_review")] == [False]
    assert other.submit_for_review("a").event.data["policy"] == one.policy.digest == other.policy.digest


def test_a_schema_is_a_part_of_the_policy(pipeline, root):
    """Edited and applied, other documents are taken, under another digest; what was applied before stays until then."""
    (root / "schemas").mkdir()
    (root / "schemas" / "a.json").write_text('{"required": ["licence"]}')
    text = kind(match='{ "" = true }', schema="'schemas/a.json'") + "\n" + use("schema", actions='["create"]')
    put_in_force(pipeline, text)
    before = pipeline.policy.digest
    (root / "schemas" / "a.json").write_text('{"required": ["name"]}')

    with pytest.raises(GuardRefused, match="licence"):
        pipeline.create("a", {"name": "a"})
    put_in_force(pipeline, text)
    created = pipeline.create_with_result("a", {"name": "a"})

    assert created.event.data["policy"] == pipeline.policy.digest != before
    assert pipeline.evidence.rule("policies", created.event.data["policy"]) == pipeline.policy.data
    assert pipeline.evidence.rule("schemas", pipeline.policy.kinds[0].schema) == {"required": ["name"]}


WRITES = {
    "create": lambda pipeline: pipeline.create("b", {}),
    "revise": lambda pipeline: pipeline.revise("a", {}),
    "submit": lambda pipeline: pipeline.submit_for_review("a"),
    "transition": lambda pipeline: pipeline.transition_state("a", "REVIEWED"),
    "undo": lambda pipeline: pipeline.undo("a"),
}


@pytest.mark.parametrize(
    "text", ["no TOML [", FOUR_EYES.replace("approve", "aprove"), kind(schema="'gone.json'")]
)
def test_a_broken_policy_is_not_applied(pipeline, text):
    """What is in force goes on, and the status says that the file is invalid, and why."""
    put_in_force(pipeline, use("reason_given", actions='["revise"]'))
    pipeline.create("a", {"v": 1})
    before = pipeline.policy

    with pytest.raises(InvalidPolicy, match=r"policy\.toml has 1 problem"):
        put_in_force(pipeline, text)

    status = pipeline.upkeep.policy_status()
    assert (status.file, status.policy, status.version) == ("invalid", before.digest, 2)
    assert "policy.toml has 1 problem" in status.problem
    with pytest.raises(GuardRefused):
        pipeline.revise("a", {"v": 2})
    assert pipeline.revise("a", {"v": 2}, reason="r").event.data["policy"] == before.digest


@pytest.fixture
def unreadable(pipeline, root):
    """A registry whose rules in force are no longer in `rules/`."""
    put_in_force(pipeline, use("reason_given", actions='["revise"]'))
    pipeline.create("a", {"v": 1})
    pipeline.revise("a", {"v": 2}, reason="r")
    kept = root / "rules" / "policies" / (pipeline.policy.digest.removeprefix("sha256:") + ".json")
    kept.rename(root.parent / "kept.json")
    with RegistrationPipeline(root, actor="ada") as opened:
        yield opened, kept
    if not kept.exists():
        (root.parent / "kept.json").rename(kept)


@pytest.mark.parametrize("write_it", WRITES.values(), ids=WRITES)
def test_rules_in_force_that_are_gone_stop_every_write(unreadable, root, write_it):
    """A gate whose rules can't be read stays shut; nothing is written until they can, and then all goes on."""
    pipeline, kept = unreadable
    before = tree(root)

    with pytest.raises(CorruptRegistry, match=rf"rules/policies/{kept.name} is missing, and it is in force"):
        write_it(pipeline)

    assert tree(root) == before
    (root.parent / "kept.json").rename(kept)
    with suppress(GuardRefused):
        write_it(pipeline)


def test_rules_in_force_that_are_gone_let_everybody_read(unreadable, root):
    """What is there can be looked at, and its history told."""
    pipeline, _ = unreadable

    assert pipeline.load_state("a").state == "DRAFT"
    assert [one.state for one in pipeline.list()] == ["DRAFT"]
    assert [event.action for event in pipeline.history("a")] == ["create", "revise"]
    assert pipeline.evidence.at("a", version=1).state == "DRAFT"
    assert pipeline.evidence.diff("a").only_one is False
    assert pipeline.recover_from_events("a").version == 2
    for ask in (lambda: pipeline.policy, lambda: pipeline.explain("a")):
        with pytest.raises(CorruptRegistry):
            ask()


def test_a_policy_that_is_no_file_is_not_taken_for_none(pipeline, root):
    """Something else in its place is an error of whoever applies it, and changes nothing."""
    (root / "policy.toml").mkdir()

    with pytest.raises(StoreError, match=r"reading policy\.toml"):
        pipeline.upkeep.apply_policy()

    assert pipeline.create("a", {}).state == "DRAFT"


def test_a_policy_of_the_program_is_put_in_force_where_it_makes_the_registry(open_pipeline, root):
    """Who gives one with `policy=` has it for everybody; where another is in force, it is refused, not preferred."""
    strict = parsed(FOUR_EYES.replace("approve", "submit_for_review"))
    pipeline = open_pipeline(policy=strict)
    pipeline.create("a", {})

    with pytest.raises(GuardRefused, match="'ada' submitted this document"):
        open_pipeline().submit_for_review("a")
    with pytest.raises(InvalidArgument, match="The rules in force in this registry are sha256:"):
        open_pipeline(policy=parsed(use("reason_given"))).submit_for_review("a", actor="bea")

    assert pipeline.policy.data == strict.data
    assert pipeline.submit_for_review("a", actor="bea").event.data["policy"] == strict.digest


# -- links -------------------------------------------------------------------------------------------------


def test_a_link_in_place_of_the_policy_is_not_applied(pipeline, root, tmp_path):
    """Rules come from the registry itself: a link is neither followed nor taken for nothing."""
    (tmp_path / "lax.toml").write_text("")
    (root / "policy.toml").symlink_to(tmp_path / "lax.toml")

    with pytest.raises(StoreError, match="symbolic link"):
        pipeline.upkeep.apply_policy()

    assert list(pipeline._registry.governing().history())[1:] == []


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("a.json", "a.json"),
        ("schemas", "schemas/a.json"),
        ("schemas", "schemas/mcp/a.json"),
        ("x/schemas", "x/schemas/a.json"),
    ],
)
def test_a_link_on_the_way_to_a_schema_is_not_followed(pipeline, root, tmp_path, link, path):
    """Neither the file itself, nor any directory above it: all of the policy stands in the registry."""
    outside = tmp_path / "outside"
    for place in ("a.json", "mcp/a.json"):
        (outside / place).parent.mkdir(parents=True, exist_ok=True)
        (outside / place).write_text("{}")
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to(outside / "a.json" if link.endswith("json") else outside)
    text = kind(schema=f"'{path}'")

    with pytest.raises(InvalidPolicy, match=rf"kinds\[0\]\.schema: '{path}' can't be read: "):
        put_in_force(pipeline, text)

    (root / link).unlink()
    shutil.copytree(outside, (root / path).parent, dirs_exist_ok=True)
    assert put_in_force(pipeline, text).digest is not None


# -- guards of programs and of packages --------------------------------------------------------------------


def licensed(_state, command, policy):
    """A guard of a program: the document has one of the licences that the policy names."""
    found = (command.document.value if command.document else {}).get("licence")
    return Verdict(
        agrees=found in policy.parameters["any"],
        reason=f"the licence is {found!r}",
        evidence={"licence": found},
        remedy="Give it a licence.",
    )


LICENSED = use("licensed", "any = ['MIT']", actions='["create"]')


def test_a_guard_of_the_program_is_asked(open_pipeline, root):
    """With the parameters of the policy; its verdict, reason and evidence are in the refusal."""
    pipeline = open_pipeline(guards={"licensed": licensed})
    put_in_force(pipeline, LICENSED)

    with pytest.raises(GuardRefused, match="the licence is None") as caught:
        pipeline.create("a", {})

    assert caught.value.details["verdicts"] == [
        {
            "guard": "licensed",
            "origin": "policy",
            "agrees": False,
            "reason": "the licence is None",
            "evidence": {"licence": None},
            "remedy": "Give it a licence.",
        }
    ]
    assert pipeline.create("a", {"licence": "MIT"}).state == "DRAFT"


@pytest.mark.parametrize(
    ("guard", "failure"),
    [
        (lambda *_: 1 // 0, "ZeroDivisionError: "),
        (lambda *_: True, "it returned True, which is not a `Verdict`"),
        (lambda: None, "TypeError: "),
    ],
)
def test_a_guard_that_fails_has_said_no(open_pipeline, root, guard, failure):
    """Nothing passes by a mistake in somebody's guard; the other rules are asked all the same, and it is told as they are."""
    pipeline = open_pipeline(guards={"theirs": guard})
    pipeline.create("a", {})
    more = '[[guards]]\nguard = "reason_given"\nactions = ["submit_for_review"]'
    put_in_force(pipeline, use("theirs", more, actions='["submit_for_review"]'))

    (why,) = pipeline.explain("a", "submit_for_review")
    with pytest.raises(GuardRefused, match="the guard 'theirs' failed: ") as caught:
        pipeline.submit_for_review("a", reason="because")

    failed, other = caught.value.details["verdicts"]
    assert failed["evidence"]["failure"].startswith(failure)
    assert (failed["agrees"], other["agrees"]) == (False, True)
    assert (why.allowed, why.next) == (False, None)
    assert [answer.verdict.agrees for answer in why.answers] == [False, False]
    assert pipeline.load_state("a").version == 1


def test_who_has_not_got_the_guard_can_not_write(open_pipeline, root):
    """A program that doesn't know what the policy asks for doesn't leave it out: it writes nothing."""
    put_in_force(open_pipeline(guards={"licensed": licensed}), LICENSED)

    with pytest.raises(InvalidArgument, match="There is no guard 'licensed'"):
        open_pipeline().create("a", {"licence": "MIT"})


def test_a_proposed_policy_may_name_guards_of_the_program(open_pipeline, root, tmp_path):
    """What can be in force can be tried out before."""
    pipeline = open_pipeline(guards={"licensed": licensed})
    (tmp_path / "proposed.toml").write_text(LICENSED)

    assert pipeline.evidence.read_policy(str(tmp_path / "proposed.toml")).guards == {"licensed": licensed}


@pytest.mark.slow
def test_a_guard_of_an_installed_package_is_asked_by_every_program(pipeline, root, tmp_path):
    """An entry point of the group `registration.guards`, in a process of its own: the command line knows it as well."""
    site = tmp_path / "site"
    (site / "acme-1.0.dist-info").mkdir(parents=True)
    (site / "acme-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (site / "acme-1.0.dist-info" / "entry_points.txt").write_text(
        "[registration.guards]\nlicensed = acme:licensed\n"
    )
    (site / "acme.py").write_text(
        "from registration.core.policy import Verdict\n"
        "def licensed(state, command, policy):\n"
        "    found = command.document.value.get('licence')\n"
        "    problems = [] if found else ['no licence', {'at': '/licence', 'problem': 'missing'}]\n"
        "    return Verdict(found in policy.parameters['any'], f'licence {found!r}', {'problems': problems})\n"
    )
    write(root, LICENSED)
    apply = [sys.executable, "-m", "registration", "policy", "apply"]
    environment = {**os.environ, "PYTHONPATH": str(site), "REGISTRATION_ROOT": str(root)}
    subprocess.run(apply, env=environment, capture_output=True, check=True)
    (tmp_path / "bare.json").write_text("{}")
    (tmp_path / "licensed.json").write_text('{"licence": "MIT"}')

    def create(file):
        return subprocess.run(
            [sys.executable, "-m", "registration", "create", "--id", "a", str(tmp_path / file)],
            env={**os.environ, "PYTHONPATH": str(site), "REGISTRATION_ROOT": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )

    refused, created = create("bare.json"), create("licensed.json")

    assert refused.returncode == 4
    assert "licence None" in refused.stderr
    assert "  - no licence\n  - at /licence: missing\n" in refused.stderr
    assert (created.returncode, created.stdout) == (0, "a  DRAFT  (version 1)\n")
    assert pipeline.load_state("a").document == {"licence": "MIT"}


def test_the_whole_policy_guards_a_real_server(root, open_pipeline):
    """All that can be demanded of an MCP server at once: this one may pass, and one without a description may not."""
    pipeline = open_pipeline()
    put_in_force(pipeline, FULL / "policy.toml")

    with pytest.raises(GuardRefused) as caught:
        pipeline.create(None, {name: value for name, value in SERVER.items() if name != "description"})
    created = pipeline.create(None, SERVER)

    refusing = [verdict["guard"] for verdict in caught.value.details["verdicts"] if not verdict["agrees"]]
    assert refusing == ["schema", "mcp_server"]
    assert created.manifest_id == "io.github.acme/weather@1.2.0"
    assert isinstance(pipeline.policy, Policy)
