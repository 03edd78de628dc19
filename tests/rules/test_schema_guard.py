"""The guard on JSON Schemas: the verdict is that of jsonschema itself, nothing is fetched, and no input is too odd."""

from __future__ import annotations

import json
import re
import socket
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.policy import Kind, Policy
from registration.errors import InvalidDocument
from registration.rules.guards import schema as guard
from registration.rules.guards.findings import PROBLEMS_MAX
from registration.rules.guards.schema import check_schema, document_valid
from registration.values.documents import check_document, digest_of, parse_document
from registration.values.pointers import ABSENT, at_pointer, pointer
from tests.kit.builders import asked, i_json_objects, tries

SHARED = Path(__file__).resolve().parents[3] / "shared"
OFFICIAL = {
    "mcp-server-2025-10-17.schema.json": "",
    "mcp-server-2025-12-11.schema.json": "",
    "a2a-v0.3.0.json": "/definitions/AgentCard",
    "claude-code-plugin-manifest.schema.json": "",
}
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real manifests and schemas are not beside this clone"
)

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture(autouse=True)
def nothing_remembered():
    """Each test begins without verdicts and validators of others."""
    guard._remembered.cache_clear()
    guard._compiled.cache_clear()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whoever opens a connection has failed the test."""

    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def policy_of(schema, schema_pointer="", **parameters):
    """A policy by which every document is of one kind, with this schema."""
    digest = digest_of(schema)
    return Policy(
        kinds=(Kind("thing", {}, digest, schema_pointer),), schemas={digest: schema}, parameters=parameters
    )


def checked(document, schema, schema_pointer=""):
    """The verdict on a document."""
    command = asked("create", document=check_document(document))
    return document_valid(None, command, policy_of(schema, schema_pointer))


def told(verdict):
    """The problems that a verdict names: places and ways through the schema."""
    return [(problem["at"], problem["rule"]) for problem in verdict.evidence.get("problems", ())]


def official(name):
    return json.loads((SHARED / "schemas" / name).read_bytes())


def documents():
    """The real manifests that are documents, by their paths."""
    for path in sorted((SHARED / "manifests").glob("*/*.json")):
        try:
            yield path, parse_document(path.read_bytes()).value
        except InvalidDocument:
            continue


# -- the verdict -----------------------------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize("name", OFFICIAL)
def test_the_verdict_on_every_real_manifest_is_that_of_jsonschema(name):
    """For every manifest there is, of this schema or not, the same problems are found, one by one."""
    whole = official(name)
    definition = OFFICIAL[name]
    # A second way to the definition: as the root of a schema of its own.
    alone = {"$ref": f"#{definition}", "definitions": whole["definitions"]} if definition else whole
    oracle = jsonschema.Draft7Validator(alone)
    verdicts = []
    for path, document in documents():
        expected = [
            (pointer(list(error.absolute_path)), pointer(list(error.absolute_schema_path)))
            for error in oracle.iter_errors(document)
        ]

        verdict = checked(document, whole, definition)

        assert verdict.agrees is (not expected), path
        assert sorted(told(verdict)) == sorted(expected), path
        verdicts.append(verdict.agrees)

    assert len(verdicts) > 100
    assert 0 < sum(verdicts) < len(verdicts)


@needs_shared
def test_real_manifests_are_checked_against_the_schema_of_their_kind():
    """A policy tells kinds apart, and each document is checked against its own schema."""
    names = {"mcp-server-2025-10-17": "2025-10-17", "mcp-server-2025-12-11": "2025-12-11"}
    schemas = {digest_of(official(name)): official(name) for name in OFFICIAL}
    kinds = [
        Kind(date, {"/$schema": f"*/{date}/*"}, digest_of(official(f"{name}.schema.json")))
        for name, date in names.items()
    ]
    card = Kind("card", {"/skills": True}, digest_of(official("a2a-v0.3.0.json")), "/definitions/AgentCard")
    policy = Policy(kinds=(*kinds, card), schemas=schemas)
    counted = {}
    for path, document in documents():
        verdict = document_valid(None, asked("create", document=check_document(document)), policy)
        kind = verdict.evidence["kind"]
        if path.parent.name.startswith(("mcp-server", "a2a")):
            counted.setdefault((path.parent.name, kind), []).append(verdict.agrees)

    assert {group: (sum(verdicts), len(verdicts)) for group, verdicts in counted.items()} == {
        ("a2a-agent-card", "card"): (13, 15),
        ("a2a-agent-card-fixture", "card"): (0, 9),
        ("mcp-server-agentregistry", "2025-10-17"): (30, 40),
        ("mcp-server-nimblebrain", "2025-12-11"): (8, 8),
        ("mcp-server-seed-20250929", None): (15, 15),
    }


NESTED = {
    "$schema": DRAFT_2020,
    "additionalProperties": {
        "anyOf": [
            {"type": ["integer", "null", "boolean"]},
            {"type": "string", "maxLength": 4},
            {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
            {"$ref": "#"},
        ]
    },
    "maxProperties": 3,
    "type": "object",
}


@given(document=i_json_objects())
@tries(150)
def test_the_verdict_on_any_document_is_that_of_jsonschema(document):
    """Whatever the document, the problems are the same, and each pointer leads to what is wrong."""
    expected = [
        (pointer(list(error.absolute_path)), pointer(list(error.absolute_schema_path)))
        for error in jsonschema.Draft202012Validator(NESTED).iter_errors(document)
    ]

    verdict = checked(document, NESTED)

    assert sorted(told(verdict)) == sorted(expected)
    assert all(at_pointer(document, at) is not ABSENT for at, _ in told(verdict))
    assert verdict == checked(document, NESTED)


def test_a_valid_document_is_told_with_what_it_was_checked_against():
    """The evidence names the document, the kind, the schema and the definition in it, by digests."""
    schema = {"definitions": {"a": True}}

    verdict = checked({"name": "a"}, schema, "/definitions/a")

    assert verdict.agrees
    assert verdict.reason == "the document complies with the JSON Schema of thing"
    assert verdict.evidence == {
        "digest": digest_of({"name": "a"}),
        "kind": "thing",
        "schema": digest_of(schema),
        "pointer": "/definitions/a",
    }


def test_a_single_problem_is_the_reason():
    """What is wrong is told in the reason, with its place."""
    verdict = checked({"name": 7}, {"properties": {"name": {"type": "string"}}})

    assert not verdict.agrees
    assert verdict.reason == "at /name: 7 is not of type 'string' (/properties/name/type)"
    assert told(verdict) == [("/name", "/properties/name/type")]


def test_several_problems_are_counted_in_the_reason():
    """The reason has their number; ways through a schema would be no list to read."""
    verdict = checked({}, {"required": ["a", "b"]})

    assert verdict.reason == "the document violates the JSON Schema of thing in 2 places"


def test_problems_are_in_the_order_of_the_document():
    """The third item comes before the eleventh, and members go by name."""
    items = ["x" if index in (2, 10) else index for index in range(12)]
    schema = {"properties": {"b": {"items": {"type": "integer"}}, "a": {"type": "array"}}, "required": ["z"]}

    verdict = checked({"b": items, "a": 1}, schema)

    assert [at for at, _ in told(verdict)] == ["", "/a", "/b/2", "/b/10"]


def test_the_document_that_stands_is_checked_where_none_is_brought():
    """The digest in the evidence tells which it was."""
    document = check_document({"name": 7})
    command = asked("create", document=document)
    policy = policy_of({"required": ["version"]})

    brought = document_valid(None, command, policy)

    assert not brought.agrees
    assert brought.needs == {}
    assert brought.evidence["digest"] == document.digest


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize(
    ("kinds", "reason"),
    [((), "it is of no kind"), ((Kind("thing", {}),), "the kind 'thing' has none")],
)
def test_a_document_without_a_schema_is_refused_only_where_one_is_required(kinds, reason, required):
    """`required` closes the door for kinds that nobody thought of."""
    policy = Policy(kinds=kinds, parameters={"required": required})

    verdict = document_valid(None, asked("create"), policy)

    assert verdict.agrees is not required
    assert verdict.reason == f"the document isn't checked against a JSON Schema: {reason}"
    assert bool(verdict.remedy) is required


@pytest.mark.parametrize("required", [False, True])
def test_no_document_has_no_schema(required):
    """Where there is nothing to check, it is as for a document of no kind."""
    policy = Policy(kinds=(Kind("thing", {}, "sha256:0"),), parameters={"required": required})

    assert document_valid(None, asked("approve"), policy).agrees is not required


# -- what it says ----------------------------------------------------------------------------------------


def said(document, schema):
    (problem,) = checked(document, schema).evidence["problems"]
    return problem["problem"]


@pytest.mark.parametrize(
    ("value", "schema", "text"),
    [
        ("abc", {"maxLength": 2}, "'abc' is too long (`maxLength` is 2)"),
        (3, {"maximum": 2}, "3 is greater than the maximum of 2 (`maximum` is 2)"),
        ("a", {"enum": ["b"]}, "'a' is not one of ['b']"),
        ("a", {"pattern": "b"}, "'a' does not match 'b'"),
        (1, False, "False schema does not allow 1"),
    ],
)
def test_a_problem_says_what_was_expected_and_found(value, schema, text):
    """Where the library's message doesn't say what was expected, it is added."""
    assert said({"a": value}, {"properties": {"a": schema}}) == text


def test_long_values_are_shortened():
    """A problem of a megabyte of text isn't told by a megabyte of text."""
    text = said({"a": "x" * 100_000}, {"properties": {"a": {"maxLength": 2}}})

    assert text.startswith("'xxx")
    assert text.endswith("… is too long (`maxLength` is 2)")
    assert len(text) < 130


def test_long_members_and_messages_are_shortened():
    """Neither the place nor the message grows with the document."""
    schema = {"additionalProperties": {"type": "integer"}}
    verdict = checked({"k" * 100_000: "x"}, schema)

    (problem,) = verdict.evidence["problems"]
    assert len(problem["at"]) < 2100
    many = said({f"{index}" * 50: 1 for index in range(50)}, {"additionalProperties": False})
    assert many.startswith("Additional properties are not allowed ('")
    assert len(many) < 250


TRANSPORT = {
    "properties": {
        "transport": {
            "anyOf": [
                {"properties": {"type": {"enum": ["stdio"]}}, "required": ["type"]},
                {"properties": {"type": {"enum": ["http"]}}, "required": ["type", "url"]},
                {"properties": {"type": {"enum": ["sse"]}, "url": {"anyOf": [{"pattern": "^https:"}]}}},
            ]
        }
    }
}


def test_of_alternatives_the_one_that_was_meant_is_told():
    """Where nothing fits, the problem names what is wrong with the alternative whose words were used."""
    http = said({"transport": {"type": "http"}}, TRANSPORT)
    sse = said({"transport": {"type": "sse", "url": "x"}}, TRANSPORT)

    assert http == (
        "{'type': 'http'} is not valid under any of the given schemas; "
        "nearest, at /transport: 'url' is a required property"
    )
    assert sse.endswith("nearest, at /transport/url: 'x' does not match '^https:'")


def test_alternatives_within_alternatives_are_told_so_far_and_no_further():
    """A sentence ends somewhere."""
    schema = {"type": "string"}
    for _ in range(9):
        schema = {"anyOf": [schema]}

    assert said({"a": 1}, {"properties": {"a": schema}}).count("nearest, at /a: ") == 5


# -- schemas and references ------------------------------------------------------------------------------


def test_a_definition_refers_to_the_whole_schema():
    """What a pointer names is checked with all that it refers to, by place, by id and by anchor."""
    schema = {
        "$schema": DRAFT_2020,
        "$id": "https://a.example/thing.json",
        "$defs": {
            "a/b c%d~": {
                "properties": {
                    "place": {"$ref": "#/$defs/text"},
                    "id": {"$ref": "thing.json#/$defs/text"},
                    "whole": {"$ref": "https://a.example/thing.json#/$defs/text"},
                    "anchor": {"$ref": "#words"},
                }
            },
            "text": {"$anchor": "words", "type": "string"},
        },
    }
    wrong = dict.fromkeys(("place", "id", "whole", "anchor"), 1)

    verdict = checked(wrong, schema, "/$defs/a~1b c%d~0")

    assert [at for at, _ in told(verdict)] == ["/anchor", "/id", "/place", "/whole"]
    assert check_schema(schema, "/$defs/a~1b c%d~0") == []


@pytest.mark.parametrize(
    ("dialect", "agrees"), [(DRAFT_7, True), (DRAFT_7.rstrip("#"), True), (DRAFT_2020, False), (None, False)]
)
def test_the_dialect_is_that_of_the_whole_schema(dialect, agrees):
    """In draft 7 nothing stands beside a `$ref`; a definition doesn't say, so the root must be asked."""
    schema = {
        "definitions": {
            "a": {"properties": {"name": {"$ref": "#/definitions/b", "maxLength": 1}}},
            "b": {"type": "string"},
        }
    }
    schema |= {"$schema": dialect} if dialect else {}

    assert checked({"name": "abc"}, schema, "/definitions/a").agrees is agrees


def test_the_meta_schema_can_be_referred_to():
    """It is known without a connection: a document may hold a schema."""
    schema = {"properties": {"schema": {"$ref": DRAFT_7}}}

    assert checked({"schema": {"type": "string"}}, schema).agrees
    assert not checked({"schema": {"type": "text"}}, schema).agrees
    assert check_schema(schema) == []


@pytest.mark.parametrize(
    "reference", ["https://a.example/other.json", "other.json#/a", "#/definitions/none", "#none"]
)
def test_a_reference_that_leads_nowhere_is_named_and_nothing_is_fetched(reference):
    """Also where the schema has an id that a server could answer to."""
    for schema in ({"$ref": reference}, {"$id": "https://a.example/x.json", "$ref": reference}):
        verdict = checked({"name": "a"}, schema)

        assert not verdict.agrees
        assert verdict.reason.startswith("the JSON Schema of thing is invalid: its reference ")
        assert reference.split("#")[-1].split("/")[-1] in verdict.reason
        assert "`[kinds]`" in verdict.remedy
        (problem,) = check_schema(schema)
        assert repr(reference) in problem


def test_a_reference_that_no_document_comes_to_hurts_nobody():
    """A document is refused only where its own check needs it."""
    schema = {"properties": {"a": {"$ref": "#/none"}}}

    assert checked({"b": 1}, schema).agrees
    assert not checked({"a": 1}, schema).agrees


@pytest.mark.parametrize(
    ("schema", "schema_pointer", "said"),
    [
        ([], "", "a JSON Schema is an object, true or false, not an array"),
        ("x", "", "a JSON Schema is an object, true or false, not 'x'"),
        ({"$schema": "https://a.example/dialect"}, "", "an unknown dialect"),
        ({"$schema": 7}, "", "an unknown dialect"),
        ({"$ref": "#"}, "", "refers to itself without end"),
        ({"properties": {"name": {"pattern": "("}}}, "", "unterminated subpattern"),
        ({"properties": {"name": {"minLength": "x"}}}, "", "TypeError"),
        ({"type": "text"}, "", "text"),
        ({}, "/definitions/a", "/definitions/a"),
        (True, "/definitions/a", "/definitions/a"),
    ],
)
def test_a_schema_that_is_none_is_a_refusal_and_no_crash(schema, schema_pointer, said):
    """Whatever is wrong with the schema is told as a reason."""
    verdict = checked({"name": "a"}, schema, schema_pointer)

    assert not verdict.agrees
    assert verdict.reason.startswith("the JSON Schema of thing is invalid: ")
    assert said in verdict.reason
    assert "problems" not in verdict.evidence


def test_true_and_false_are_schemas():
    """`true` takes everything, `false` nothing."""
    assert checked({}, True).agrees
    refused = checked({}, False)
    assert not refused.agrees
    assert told(refused) == [("", "schema")]


def test_a_schema_that_isnt_kept_is_named():
    """A policy that names a schema and has lost it refuses, instead of letting everything pass."""
    policy = Policy(kinds=(Kind("thing", {}, "sha256:" + "0" * 64),))

    verdict = document_valid(None, asked("create"), policy)

    assert not verdict.agrees
    assert "it is missing" in verdict.reason


def test_without_the_library_nothing_is_valid(monkeypatch):
    """Where jsonschema isn't installed the guard refuses, and says how to install it."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    monkeypatch.setitem(sys.modules, "jsonschema.validators", None)

    verdict = checked({}, {})

    assert not verdict.agrees
    assert "jsonschema isn't installed" in verdict.reason
    assert "pip install '.[schema]'" in verdict.remedy
    assert "pip install '.[schema]'" in check_schema({})[0]


# -- bounds ----------------------------------------------------------------------------------------------


def test_a_hundred_problems_are_listed():
    """One more than that is `more`."""
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}

    many = checked({"a": ["x"] * 5000}, schema)
    exactly = checked({"a": ["x"] * PROBLEMS_MAX}, schema)

    assert len(many.evidence["problems"]) == len(exactly.evidence["problems"]) == PROBLEMS_MAX
    assert many.evidence["more"] is True
    assert "more than 100 places" in many.reason
    assert "more" not in exactly.evidence


def test_a_document_as_deep_as_any_is_checked():
    """Recursive schemas go down as deep as documents may."""
    document = {"name": "x"}
    for _ in range(98):
        document = {"a": document}

    verdict = checked(document, {"properties": {"a": {"$ref": "#"}, "name": {"type": "integer"}}})

    assert told(verdict) == [("/a" * 98 + "/name", "/properties/a" * 98 + "/properties/name/type")]


def test_a_check_that_ran_out_of_stack_is_tried_again():
    """How deep is too deep depends on who asks, so that verdict isn't kept."""
    command = asked("create")
    policy = policy_of({"$ref": "#"})

    document_valid(None, command, policy)

    assert guard._remembered(command.document.digest, digest_of({"$ref": "#"}), "") == []


def test_a_document_is_checked_once(monkeypatch):
    """The same document, schema and definition give the same verdict without a second check; others are checked."""
    asked_for = []
    check = guard._problems_of

    def count(document, validator):
        asked_for.append(document)
        return check(document, validator)

    monkeypatch.setattr(guard, "_problems_of", count)
    schema = {"required": ["a"], "definitions": {"a": {"required": ["b"]}}}

    verdicts = [checked({"b": 1}, schema) for _ in range(3)]
    other = checked({"b": 1}, schema, "/definitions/a")
    third = checked({"c": 1}, schema)

    assert verdicts[0] == verdicts[1] == verdicts[2]
    assert not verdicts[0].agrees
    assert other.agrees
    assert not third.agrees
    assert len(asked_for) == 3


def test_a_schema_is_made_ready_once(monkeypatch):
    """The validator of a schema and a definition is made once, for all documents."""
    made = []
    make = guard._compile

    def count(schema, schema_pointer):
        made.append(schema_pointer)
        return make(schema, schema_pointer)

    monkeypatch.setattr(guard, "_compile", count)
    schema = {"definitions": {"a": {}}}

    for index in range(3):
        checked({"a": index}, schema)
        checked({"a": index}, schema, "/definitions/a")

    assert made == ["", "/definitions/a"]


def test_what_is_remembered_is_bounded():
    """Documents come and go for years: only so many verdicts and validators are kept."""
    for index in range(guard.VALIDATORS_MAX + 5):
        checked({}, {"maxProperties": index})

    assert guard._compiled.cache_info().currsize == guard.VALIDATORS_MAX
    assert guard._remembered.cache_info().maxsize == guard.VERDICTS_MAX


# -- a schema that is taken in ---------------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_schemas_are_without_fault(name):
    """Each is valid by its meta-schema, and all its references lead somewhere."""
    assert check_schema(official(name), OFFICIAL[name]) == []


@pytest.mark.parametrize(
    ("schema", "schema_pointer", "expected"),
    [
        (True, "", []),
        ({}, "", []),
        (
            {"properties": {"$ref": {"type": "string"}}, "enum": [{"$ref": "no"}], "const": {"pattern": "("}},
            "",
            [],
        ),
        ({"definitions": {"a": False}}, "/definitions/a", []),
        (None, "", ["a JSON Schema is an object, true or false, not null"]),
        ({"$schema": "x"}, "", ["`.schema` 'x' is an unknown dialect"]),
        ({}, "/a", ["at /a: expected a schema, found nothing"]),
        ({"type": "object"}, "/type", ["at /type: expected a schema, found 'object'"]),
        ({"minLength": "x"}, "", [r"at /minLength: 'x' is not of type 'integer'"]),
        ({"pattern": "("}, "", [r"the pattern '\(' is not a valid Python regular expression"]),
        ({"patternProperties": {"[": {}}}, "", [r"the pattern '\[' is not a valid"]),
        (
            {"$defs": {"a": {"items": {"$ref": "#/$defs/b"}}}},
            "",
            ["the reference '#/\\$defs/b' does not resolve"],
        ),
        ({"$ref": "#/x/y", "x": {"y": {"$ref": "#/z"}}}, "", ["the reference '#/z' does not resolve"]),
        ({"$dynamicRef": "#a"}, "", ["the reference '#a' does not resolve"]),
        ({"allOf": [{"$ref": "#/a"}, {"$ref": "#/a"}, {"$ref": "#/b"}]}, "", ["'#/a'", "'#/b'"]),
    ],
)
def test_the_faults_of_a_schema_are_told_once_each(schema, schema_pointer, expected):
    """Its form, its dialect, the definition, references and patterns; data that looks like them is left alone."""
    found = check_schema(schema, schema_pointer)

    assert len(found) == len(expected)
    assert all(re.search(pattern, problem) for pattern, problem in zip(expected, found, strict=True)), found


def test_a_schema_may_be_too_deep_to_be_checked():
    """A meta-schema takes a good deal of stack for each level; running out of it is a fault of the schema."""
    schema = {}
    for _ in range(500):
        schema = {"not": schema}

    assert check_schema(schema) == ["it is nested too deep"]


def test_a_schema_that_refers_to_itself_is_gone_through_once():
    """Circles end."""
    schema = {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}, "not": {"$ref": "#"}}},
    }

    assert check_schema(schema) == []


@given(schema=st.one_of(i_json_objects(), st.none(), st.integers(0, 9), st.lists(st.none())))
@tries(100)
def test_any_value_can_be_asked_about(schema):
    """A value that isn't a schema has problems; one without problems can be used."""
    found = check_schema(schema)

    verdict = checked({"name": "a"}, schema)

    assert found or "is invalid" not in verdict.reason
