"""The wizards for MCP servers and agent cards: what they come to is valid, and what isn't is told where it was said."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from registration.onboarding.wizards.shipped import shipped
from registration.onboarding.wizards.wizard import Problem
from registration.rules.guards.schema import schema_problems

SHARED = Path(__file__).resolve().parents[3] / "shared"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real manifests and schemas are not beside this clone"
)

IMAGE = "ghcr.io/acme/weather:1.2.0"
SERVER = {
    "IDENTITY": {"name": "io.github.acme/weather", "title": "Weather", "description": "Forecasts", "version": "1.2.0"},
    "LINKS": {
        "repository": {"url": "https://github.com/acme/weather", "source": "github", "subfolder": None},
        "website": "https://weather.acme.example",
    },
    "OFFER": {"offered": "both"},
    "PACKAGES": {
        "packages": [
            {"type": "oci", "identifier": IMAGE},
            {"type": "npm", "identifier": "@acme/weather", "version": "1.2.0", "transport": "sse", "url": "http://localhost:80/"},
        ]
    },
    "ARGUMENTS": {
        "arguments": [
            {"package": IMAGE, "name": "--units", "description": "metric or imperial", "default": "metric"},
            {"package": IMAGE, "kind": "positional", "name": "place", "required": True},
        ]
    },
    "ENVIRONMENT": {"variables": [{"package": IMAGE, "name": "WEATHER_API_KEY", "secret": True}]},
    "REMOTES": {
        "remotes": [{"url": "https://weather.acme.example/mcp", "headers": [{"name": "Authorization", "secret": True}]}]
    },
}  # fmt: skip
CARD = {
    "IDENTITY": {"name": "Harbour Pilot", "description": "Plans berths and tides", "version": "2.1.0"},
    "PROVIDER": {"organization": "Harbour Office", "url": "https://harbour.example"},
    "ENDPOINT": {"url": "https://pilot.harbour.example/a2a"},
    "ABILITIES": {"streaming": True},
    "SKILLS": {
        "skills": [{"id": "plan-berth", "name": "Plan", "description": "Finds a berth", "tags": ["harbour"]}]
    },
    "SECURITY": {"scheme": "api-key", "header": "X-Key"},
}


def answered(name, given):
    """The answers as they are kept, step by step, as a session would."""
    wizard, answers, state = shipped(name), {}, shipped(name).steps[0].name
    while state is not None:
        if wizard.step(state).kind == "form":
            kept, problems = wizard.check(state, given[state], answers)
            assert problems == []
            answers[state] = kept
        state = wizard.onward(state, answers)
    assert wizard.problems(answers) == {}
    return answers


def schema_of(file, definition=None):
    schema = json.loads((SHARED / "schemas" / file).read_bytes())
    return schema if definition is None else {**schema, "$ref": f"#/definitions/{definition}"}


@needs_shared
@pytest.mark.parametrize(
    ("offered", "settings", "links"),
    list(product(["packages", "remotes", "both"], [True, False], [True, False])),
)
def test_an_mcp_server_is_valid_by_the_official_schema(offered, settings, links):
    """However it is offered, with and without arguments, environment, repository and page."""
    given = {**SERVER, "OFFER": {"offered": offered}}
    given |= {} if settings else {"ARGUMENTS": {}, "ENVIRONMENT": {}}
    given |= {} if links else {"LINKS": {}}

    document = shipped("mcp-server").document(answered("mcp-server", given))

    assert schema_problems(document, schema_of("mcp-server-2025-12-11.schema.json")) == ()
    assert ("packages" in document, "remotes" in document) == (offered != "remotes", offered != "packages")


@needs_shared
@pytest.mark.parametrize("scheme", ["none", "bearer", "api-key"])
@pytest.mark.parametrize("provided", [True, False])
def test_an_agent_card_is_valid_by_the_official_schema(scheme, provided):
    """With and without a provider, however clients prove who they are."""
    security = {"scheme": scheme, "header": "X-Key" if scheme == "api-key" else None}
    given = {**CARD, "SECURITY": security} | ({} if provided else {"PROVIDER": {}})

    document = shipped("agent-card").document(answered("agent-card", given))

    assert schema_problems(document, schema_of("a2a-v0.3.0.json", "AgentCard")) == ()


def test_an_mcp_server_says_what_was_answered():
    """Secrets are marked, settings stand with their package, and what wasn't said isn't there."""
    document = shipped("mcp-server").document(answered("mcp-server", SERVER))

    image, npm = document["packages"]
    assert image["environmentVariables"] == [
        {"name": "WEATHER_API_KEY", "isRequired": True, "isSecret": True}
    ]
    assert image["packageArguments"] == [
        {"type": "named", "name": "--units", "description": "metric or imperial", "default": "metric"},
        {"type": "positional", "valueHint": "place", "isRequired": True},
    ]
    assert npm == {
        "registryType": "npm", "identifier": "@acme/weather", "version": "1.2.0",
        "transport": {"type": "sse", "url": "http://localhost:80/"},
    }  # fmt: skip
    assert document["remotes"][0]["headers"] == [
        {"name": "Authorization", "isRequired": True, "isSecret": True}
    ]


@pytest.mark.parametrize(
    ("wizard", "step", "answer", "at"),
    [
        ("mcp-server", "IDENTITY", {"name": "weather", "description": "x"}, "/name"),
        ("mcp-server", "IDENTITY", {"name": "a/b", "description": "x" * 101}, "/description"),
        ("mcp-server", "IDENTITY", {"name": "io.github.acme/b", "description": "x", "version": "^1.0"}, "/version"),
        ("mcp-server", "LINKS", {"website": "http://x.example"}, "/website"),
        ("mcp-server", "LINKS", {"repository": {"url": "https://github.com/a/b", "source": "svn"}}, "/repository/source"),
        ("mcp-server", "OFFER", {"offered": "by post"}, "/offered"),
        ("mcp-server", "PACKAGES", {"packages": []}, "/packages"),
        ("mcp-server", "PACKAGES", {"packages": [{"type": "gem", "identifier": "x"}]}, "/packages/0/type"),
        ("mcp-server", "PACKAGES", {"packages": [{"type": "oci", "identifier": "weather"}]}, "/packages/0/identifier"),
        ("mcp-server", "PACKAGES", {"packages": [{"type": "oci", "identifier": IMAGE, "url": "http://x/"}]}, "/packages/0/url"),
        ("mcp-server", "PACKAGES", {"packages": [{"type": "npm", "identifier": "x", "version": "latest"}]}, "/packages/0/version"),
        ("mcp-server", "ARGUMENTS", {"arguments": [{"package": "other", "name": "--x"}]}, "/arguments/0/package"),
        ("mcp-server", "ENVIRONMENT", {"variables": [{"package": IMAGE, "name": "KEY", "secret": True, "default": "s3"}]}, "/variables/0/default"),
        ("mcp-server", "REMOTES", {"remotes": [{"url": "http://localhost/mcp"}]}, "/remotes/0/url"),
        ("agent-card", "PROVIDER", {"organization": "Harbour Office"}, ""),
        ("agent-card", "PROVIDER", {"organization": "Harbour Office", "url": "harbour"}, "/url"),
        ("agent-card", "ENDPOINT", {"url": "ftp://x"}, "/url"),
        ("agent-card", "ABILITIES", {"input_modes": ["text"]}, "/input_modes/0"),
        ("agent-card", "SKILLS", {"skills": CARD["SKILLS"]["skills"] * 2}, "/skills/1/id"),
        ("agent-card", "SECURITY", {"scheme": "api-key"}, "/header"),
        ("agent-card", "SECURITY", {"scheme": "bearer", "header": "X-Key"}, "/header"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_where_it_was_said(wizard, step, answer, at):
    """By the rules for documents of the kind, with pointers into the answer and not into the document."""
    given = answered(wizard, SERVER if wizard == "mcp-server" else CARD)

    problems = shipped(wizard).check(step, answer, given)[1]

    assert at in [problem.at for problem in problems], problems


def test_a_field_is_looked_at_before_the_step_is_whole():
    """An invalid name is reported while the description is still to come."""
    problems = shipped("mcp-server").check_so_far("IDENTITY", {"name": "weather"}, {})

    assert [one.at for one in problems if one.at == "/name"] == ["/name"]
    assert Problem("/description", "it is required but missing") in problems
