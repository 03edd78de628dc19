"""Guards: what each says of an action, in which words, and what it rests on; and how guards are found by name.

Those with rules of their own kind of document have tests of their own: MCP servers, A2A agent cards, JSON Schemas.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration import RegistrationPipeline, open_memory
from registration.core.policy import Kind, Policy
from registration.errors import InvalidArgument
from registration.rules.guards import a2a, builtin, findings, mcp, names, registry, urls
from registration.rules.guards.builtin import not_the_author
from registration.rules.guards.findings import PROBLEMS_MAX, Finding
from registration.rules.guards.registry import (
    BUILTIN,
    GuardKind,
    Parameter,
    guard_of,
    known_names,
    problems_of_use,
)
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.commands import Command
from registration.values.pointers import ABSENT
from tests.kit.builders import STREAM, asked, i_json_objects, tries, weather
from tests.kit.judging import bringing, places, standing

# -- built in: reasons, roles, four eyes, approvals ------------------------------------------------------


def test_a_document_that_nobody_named_brought_is_nobodys_to_approve():
    """Ana made it, somebody unnamed revised it: that may have been Ben, so Ben can't be told from its author."""
    pipeline = RegistrationPipeline(store=open_memory("urn:uuid:1", REGISTRATION))
    pipeline.create("a", {"v": 1}, actor="ana")
    pipeline.revise("a", {"v": 2})
    state = pipeline.load_state("a")
    command = Command(stream="a", action="approve", actor="ben")

    verdict = not_the_author(state, command, Policy())
    whole = not_the_author(state, command, Policy(parameters={"scope": "manifest"}))

    assert state.facts["authors"] == ["ana", None]
    assert not verdict.agrees
    assert not whole.agrees
    assert "can't rule out" in verdict.reason


def test_a_reason_that_is_given_is_enough():
    """`reason_given` agrees with whatever the reason is, and keeps it as evidence."""
    verdict = builtin.reason_given(standing(), asked("reject", reason="wrong title"), Policy())

    assert verdict.agrees
    assert verdict.evidence == {"reason": "wrong title"}


@pytest.mark.parametrize("reason", [None, ""])
def test_no_reason_is_refused(reason):
    """`reason_given` says which option gives one."""
    verdict = builtin.reason_given(standing(), asked("reject", reason=reason), Policy())

    assert not verdict.agrees
    assert verdict.reason == "a reason is required but missing"
    assert verdict.needs == {"reason": "TEXT"}


ROLES = {"reviewer": ("bea", "cyd"), "lawyer": ("dan",)}


def test_who_has_one_of_the_roles_may():
    """`role` agrees with an actor who has any of them, and names all that this actor has."""
    policy = Policy(roles={**ROLES, "chair": ("bea",)}, parameters={"any": ["reviewer", "lawyer"]})

    verdict = builtin.role(standing(), asked("approve", actor="bea"), policy)

    assert verdict.agrees
    assert verdict.reason == "'bea' is lawyer or reviewer"
    assert verdict.evidence == {"actor": "bea", "roles": ["chair", "reviewer"], "any": ["lawyer", "reviewer"]}


def test_who_has_none_of_the_roles_may_not():
    """`role` names those who could."""
    policy = Policy(roles=ROLES, parameters={"any": ["reviewer"]})

    verdict = builtin.role(standing(), asked("approve", actor="dan"), policy)

    assert not verdict.agrees
    assert verdict.reason == "'dan' is not reviewer"
    assert "bea, cyd" in verdict.remedy
    assert verdict.needs == {"actor": "bea"}


def test_a_role_that_nobody_has_is_said_to_be_nobodys():
    """`role` doesn't send anybody looking for people who aren't there; a nameless actor has no role."""
    verdict = builtin.role(standing(), asked("approve", actor=None), Policy(parameters={"any": ["reviewer"]}))

    assert not verdict.agrees
    assert verdict.reason == "the unnamed actor is not reviewer"
    assert "no reviewer is assigned" in verdict.remedy.lower()
    assert verdict.needs == {}


def test_the_author_of_the_document_needs_somebody_else():
    """`not_the_author` refuses who brought the document that stands."""
    state = standing(authors=["cyd", "ana"])

    refused = builtin.not_the_author(state, asked("approve", actor="ana"), Policy())
    agreed = builtin.not_the_author(state, asked("approve", actor="cyd"), Policy())

    assert not refused.agrees
    assert "'ana' submitted this document" in refused.reason
    assert refused.evidence == {"actor": "ana", "authors": ["ana"]}
    assert agreed.agrees


def test_in_the_scope_of_the_manifest_every_author_counts():
    """`not_the_author` with `scope = "manifest"` refuses whoever ever brought a document."""
    policy = Policy(parameters={"scope": "manifest"})
    state = standing(authors=["cyd", "ana"])

    refused = builtin.not_the_author(state, asked("approve", actor="cyd"), policy)
    agreed = builtin.not_the_author(state, asked("approve", actor="bea"), policy)

    assert not refused.agrees
    assert refused.evidence["authors"] == ["cyd", "ana"]
    assert agreed.agrees


@pytest.mark.parametrize(
    ("state", "actor", "needs"),
    [
        (standing(authors=["ana"]), None, {"actor": "NAME"}),
        (standing(), "bea", {}),
        (None, "bea", {}),
    ],
)
def test_where_nobody_is_named_four_eyes_cant_be_told(state, actor, needs):
    """`not_the_author` refuses where the actor or every author is nameless: they may be the same."""
    verdict = builtin.not_the_author(state, asked("approve", actor=actor), Policy())

    assert not verdict.agrees
    assert verdict.reason.startswith("can't rule out")
    assert verdict.needs == needs


def test_who_brings_a_document_is_its_author_at_once():
    """`not_the_author` on an action that brings a document refuses everybody."""
    verdict = builtin.not_the_author(standing(authors=["ana"]), asked("revise", actor="bea"), Policy())

    assert not verdict.agrees
    assert verdict.evidence["authors"] == ["bea"]


def approved(*actors, policy=None, digest=None, roles=()):
    """Approvals as a state has them."""
    return [
        {
            "actor": actor,
            "version": version,
            "digest": digest or weather().digest,
            "policy": policy,
            "roles": list(roles),
        }
        for version, actor in enumerate(actors, start=4)
    ]


def test_one_approval_is_enough_unless_more_are_asked_for():
    """`approvals` asks for one, or for as many as `count` says."""
    state = standing(approvals=approved("bea"))

    assert builtin.approvals(state, asked("register"), Policy()).agrees
    refused = builtin.approvals(state, asked("register"), Policy(parameters={"count": 2}))
    assert not refused.agrees
    assert "1 of 2 approvals" in refused.reason
    assert refused.needs == {"action": "approve"}
    assert refused.evidence["counted"] == [{"actor": "bea", "version": 4}]


@pytest.mark.parametrize("state", [None, standing()])
def test_without_an_approval_there_is_none(state):
    """`approvals` refuses where nobody approved; the advice names the action that does."""
    verdict = builtin.approvals(state, asked("register"), Policy(parameters={"action": "sign"}))

    assert not verdict.agrees
    assert "0 of 1 approval" in verdict.reason
    assert verdict.needs == {"action": "sign"}


def test_each_person_approves_once():
    """`approvals` counts people, not approvals."""
    state = standing(approvals=approved("bea", "bea"))

    verdict = builtin.approvals(state, asked("register"), Policy(parameters={"count": 2}))

    assert not verdict.agrees
    assert verdict.evidence["counted"] == [{"actor": "bea", "version": 5}]


def test_an_approval_of_another_document_or_policy_doesnt_count():
    """`approvals` says of each that doesn't count why."""
    others = approved("bea", digest="sha256:" + "0" * 64)
    state = standing(approvals=[*others, *approved("cyd", policy="sha256:" + "1" * 64)])

    verdict = builtin.approvals(state, asked("register"), Policy())

    assert not verdict.agrees
    assert [(one["actor"], one["why"]) for one in verdict.evidence["not_counted"]] == [
        ("bea", "another document"),
        ("cyd", "another policy"),
    ]
    assert "0 of 1 approval" in verdict.reason
    assert "count" in verdict.reason


def test_approvals_are_counted_by_role():
    """`approvals` with `roles` asks for so many people who had each role, and names every role that is short."""
    policy = Policy(roles=ROLES, parameters={"count": 1, "roles": {"lawyer": 1, "reviewer": 1}})
    half = standing(approvals=approved("bea", roles=["reviewer"]))
    whole = standing(approvals=[*approved("bea", roles=["reviewer"]), *approved("dan", roles=["lawyer"])])

    refused = builtin.approvals(half, asked("register"), policy)
    agreed = builtin.approvals(whole, asked("register"), policy)

    assert not refused.agrees
    assert "0 of 1 by lawyer" in refused.reason
    assert "reviewer" not in refused.reason
    assert agreed.agrees
    assert agreed.reason == "2 approved this document"


# -- what guards on documents have in common ------------------------------------------------------------


DOCUMENT_GUARDS = {
    "name": names.name_well_formed,
    "version": names.version_well_formed,
    "mcp_server": mcp.mcp_server,
    "a2a_agent_card": a2a.a2a_agent_card,
}


@pytest.mark.parametrize("guard", DOCUMENT_GUARDS.values(), ids=DOCUMENT_GUARDS)
def test_without_a_document_there_is_nothing_to_agree_with(guard):
    """Every guard on documents refuses where there is none."""
    verdict = guard(None, asked("approve"), Policy())

    assert not verdict.agrees
    assert verdict.reason == "there is no document to check"
    assert verdict.remedy == "Submit one, with an action that takes a document."


KINDS = (Kind("server", {"/packages": True}), Kind("agent", {"/skills": True}))


@pytest.mark.parametrize(
    "guard",
    [*DOCUMENT_GUARDS.values(), a2a.a2a_card_compatible],
    ids=[*DOCUMENT_GUARDS, "a2a_card_compatible"],
)
@pytest.mark.parametrize(
    ("document", "kind"), [({"name": 1, "packages": 1}, "server"), ({"name": 1, "version": 1}, None)]
)
def test_a_guard_isnt_asked_about_documents_of_other_kinds(guard, document, kind):
    """`kinds` names the kinds that a guard is for; of all others it says so, and agrees."""
    state = standing({**weather().value, "skills": [{"id": "a"}]})
    policy = Policy(kinds=KINDS, parameters={"kinds": ["agent"]})

    verdict = guard(state, bringing(document), policy)

    assert verdict.agrees
    assert verdict.reason.startswith("not applicable")
    assert verdict.evidence == {"kind": kind, "kinds": ["agent"]}


@pytest.mark.parametrize("guard", DOCUMENT_GUARDS.values(), ids=DOCUMENT_GUARDS)
def test_a_guard_is_asked_about_documents_of_its_kinds(guard):
    """A document of a kind in `kinds` is looked at."""
    policy = Policy(kinds=KINDS, parameters={"kinds": ["agent", "server"]})

    verdict = guard(None, bringing({"name": 1, "version": 1, "skills": []}), policy)

    assert not verdict.agrees
    assert verdict.evidence["problems"]


def test_the_document_that_is_brought_goes_before_the_one_that_stands():
    """A guard looks at what the command brings; without that, at what stands."""
    state = standing({"name": "a", "version": "latest"})

    stands = names.version_well_formed(state, asked("register"), Policy())
    brought = names.version_well_formed(state, bringing({"name": "a", "version": "1"}), Policy())

    assert not stands.agrees
    assert stands.evidence["digest"] == state.digest
    assert stands.needs == {"action": "revise"}
    assert brought.agrees
    assert brought.evidence["digest"] != state.digest


def test_one_problem_is_the_reason_and_several_are_counted():
    """A single problem is told in the reason itself; of several, how many there are and of which rules."""
    one = [Finding("/a", "M4", "it is wrong")]
    three = [*one, Finding("/b", "M10", "no"), Finding("", "M4", "no")]

    single = findings.judged(one, asked("create"), rules="rules for x", evidence={"kept": 1})
    several = findings.judged(three, asked("create"), rules="rules for x", evidence={})

    assert single.reason == "at /a: it is wrong (M4)"
    assert single.remedy == "Correct every problem listed, and submit the document again."
    assert single.evidence == {
        "kept": 1,
        "problems": [{"at": "/a", "rule": "M4", "problem": "it is wrong"}],
    }
    assert several.reason == "the document violates the rules for x in 3 places (M4, M10)"
    assert str(three[2]) == "no (M4)"
    assert several.needs == {}


def test_a_hundred_problems_are_listed_and_no_more():
    """A document with a problem a byte doesn't become a refusal of many times its size."""
    many = (Finding(f"/{index}", "M4", "no") for index in range(10_000))

    verdict = findings.judged(many, asked("create"), rules="rules", evidence={})

    assert len(verdict.evidence["problems"]) == PROBLEMS_MAX
    assert verdict.evidence["more"] is True
    assert "more than 100 places" in verdict.reason


def test_exactly_a_hundred_problems_are_all_there_are():
    """Where nothing is left out, nothing is said to be."""
    verdict = findings.judged([Finding("", "M4", "no")] * 100, asked("create"), rules="rules", evidence={})

    assert "more" not in verdict.evidence
    assert "in 100 places" in verdict.reason


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a\nb", "'a\\nb'"),
        ("x" * 80, repr("x" * 80)),
        ("x" * 81, repr("x" * 80 + "…")),
        ({"a": 1}, "an object"),
        ([1], "an array"),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (ABSENT, "nothing"),
    ],
)
def test_values_are_shown_short_and_on_one_line(value, said):
    """What was found is told as a sentence can hold it."""
    assert findings.shown(value) == said


@pytest.mark.parametrize("guard", DOCUMENT_GUARDS.values(), ids=DOCUMENT_GUARDS)
@given(members=i_json_objects())
@tries(60)
def test_no_document_is_too_odd_to_be_judged(guard, members):
    """Whatever JSON stands where, a guard gives a verdict, the same each time, and its pointers are pointers."""
    known = [
        "name",
        "version",
        "packages",
        "remotes",
        "icons",
        "repository",
        "_meta",
        "skills",
        "capabilities",
    ]
    known += [
        "supportedInterfaces",
        "provider",
        "signatures",
        "defaultInputModes",
        "protocolVersion",
        "$schema",
    ]
    odd = dict(zip(known, members.values(), strict=False))
    command = bringing({**members, **odd})

    verdict = guard(None, command, Policy(parameters={"publish": True}))

    assert verdict == guard(None, command, Policy(parameters={"publish": True}))
    assert verdict.agrees or all(at.startswith("/") for at, _ in places(verdict))


# -- names and versions ----------------------------------------------------------------------------------


def test_a_name_that_is_the_manifests_own_is_well_formed():
    """`name` agrees where the document gives itself the id that the manifest has."""
    verdict = names.name_well_formed(None, asked("create"), Policy())

    assert verdict.agrees
    assert verdict.reason == "the document complies with the rules for names"
    assert verdict.evidence == {
        "digest": weather().digest,
        "name": "io.github.acme/weather",
        "manifest_id": STREAM,
        "own_id": STREAM,
    }


def test_a_document_cant_be_registered_under_another_id():
    """One name and version are one id, so nobody registers them a second time under another."""
    verdict = names.name_well_formed(None, asked("create", stream="elsewhere"), Policy())

    assert not verdict.agrees
    assert places(verdict) == [("/name", "M3")]
    assert f"calls itself {STREAM!r}" in verdict.reason
    assert verdict.remedy.startswith(f"Create it as {STREAM!r}")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, [("/name", "name")]),
        ({"name": 7}, [("/name", "name")]),
        ({"name": None}, [("/name", "name")]),
        ({"name": " "}, [("/name", "name")]),
        ({"name": "☂"}, [("/name", "M3")]),
        ({"name": "x" * 201}, [("/name", "name"), ("/name", "M3")]),
    ],
)
def test_a_name_has_to_be_text_that_an_id_can_be_made_from(document, expected):
    """`name` names each way in which a name is none, once."""
    verdict = names.name_well_formed(None, bringing(document), Policy())

    assert not verdict.agrees
    assert places(verdict) == expected
    assert verdict.remedy.startswith("Correct every problem")


@pytest.mark.parametrize(
    ("parameters", "agrees"),
    [
        ({"pattern": r"[a-z]+"}, True),
        ({"pattern": r"[a-z]"}, False),
        ({"pattern": r"eather"}, False),
        ({"characters_min": 7, "characters_max": 7}, True),
        ({"characters_min": 8}, False),
        ({"characters_max": 6}, False),
    ],
)
def test_a_name_keeps_the_bounds_that_are_asked_for(parameters, agrees):
    """`pattern` must match the whole name; `characters_min` and `characters_max` are bounds that are allowed."""
    command = bringing({"name": "weather"}, stream="weather")

    verdict = names.name_well_formed(None, command, Policy(parameters=parameters))

    assert verdict.agrees is agrees
    assert agrees or places(verdict) == [("/name", "name")]


def test_a_pattern_isnt_tried_on_a_name_without_bounds():
    """A long name is refused for its length, before a pattern could take years over it."""
    policy = Policy(parameters={"pattern": r"(a+)+b"})

    verdict = names.name_well_formed(None, bringing({"name": "a" * 5000}), policy)

    assert not verdict.agrees
    assert "5,000" in verdict.evidence["problems"][0]["problem"]


def versioned(version, **parameters):
    document = {"name": "a", "version": version}
    return names.version_well_formed(None, bringing(document), Policy(parameters=parameters))


@pytest.mark.parametrize(
    "version",
    [
        "1.0.0",
        "v1.2",
        "2025.11.4",
        "0.0.1-beta.9",
        "0.3.0-mcpb.1",
        "1.2.3-x.7.z.92",
        "1.0.0+x",
        "2024-05-01",
        "1.0~rc1",
        "snapshot",
        "x86",
        "latest-1",
        "1.0 (final)",
        "2.0.x86",
        "release.x",
    ],
)
def test_one_version_is_well_formed(version):
    """A version needs no form; it only must be one."""
    verdict = versioned(version)

    assert verdict.agrees
    assert verdict.reason == "the document complies with the rules for versions"
    assert verdict.evidence["version"] == version
    assert set(verdict.evidence) == {"digest", "version"}


@pytest.mark.parametrize(
    "version",
    [
        "^1.2.3",
        "~1.2.3",
        ">=1.0",
        "<=1.0",
        ">1",
        "<2",
        "=1.0.0",
        "!=1.0",
        " >=1.0 <2.0 ",
        "1.0,<2",
        "1.0 - 2.0",
        "v1 - v2",
        "1.2 || 1.3",
        "1.x",
        "1.2.X",
        "1.2.*",
        "1.x-beta",
        "*",
        "x",
        "1.0.0-*",
        "X.1",
    ],
)
def test_a_range_is_no_version(version):
    """What stands for several versions is refused, and the reason says why it is a range."""
    verdict = versioned(version)

    assert not verdict.agrees
    assert places(verdict) == [("/version", "M4")]
    assert "is a range (" in verdict.reason


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("1 || 2", "it has `||`"),
        ("^1", "it compares"),
        ("1 - 2", "it goes from one version to another"),
        ("1.x", "it has a wildcard"),
    ],
)
def test_a_range_is_told_why_it_is_one(version, why):
    """The problem names what makes it a range."""
    assert versioned(version).reason == (
        f"at /version: `version` must name one version, and {version!r} is a range ({why}) (M4)"
    )


@pytest.mark.parametrize("version", ["latest", "LATEST", " Latest "])
def test_latest_is_no_version(version):
    """`latest` is a different one every week, in whatever case it is written."""
    verdict = versioned(version)

    assert not verdict.agrees
    assert places(verdict) == [("/version", "M4")]
    assert "names whichever is last" in verdict.reason


@pytest.mark.parametrize("version", [None, 1, 1.5, "", "  ", ["1"], {"a": 1}])
def test_a_version_has_to_be_text(version):
    """A number is no version, and neither is nothing."""
    assert places(versioned(version)) == [("/version", "M4")]


def test_a_version_has_to_be_there():
    """The version is required."""
    verdict = names.version_well_formed(None, bringing({"name": "a"}), Policy())

    assert verdict.reason == "at /version: `version` is required but missing (M4)"


def test_a_version_has_a_bounded_length():
    """255 characters are taken, and not one more."""
    assert versioned("1" * 255).agrees
    assert places(versioned("1" * 256)) == [("/version", "M4")]


NUMBERS = st.integers(0, 10**12).map(str)
PRERELEASES = st.one_of(NUMBERS, st.from_regex(r"[0-9]*[a-zA-Z-][0-9a-zA-Z-]{0,6}", fullmatch=True))
SEMVERS = st.builds(
    lambda core, prerelease, build: (
        ".".join(core)
        + ("-" + ".".join(prerelease) if prerelease else "")
        + ("+" + ".".join(build) if build else "")
    ),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
    st.lists(PRERELEASES, max_size=3),
    st.lists(st.from_regex(r"[0-9a-zA-Z-]{1,6}", fullmatch=True), max_size=2),
)


@given(version=SEMVERS)
@tries(200)
def test_every_semantic_version_is_one_version(version):
    """Whatever Semantic Versioning 2.0.0 allows is taken for no range, and keeps `semver`."""
    assert versioned(version, semver=True).agrees


@given(version=SEMVERS, other=SEMVERS, operator=st.sampled_from(["^", "~", ">=", "<=", ">", "<", "="]))
@tries(200)
def test_every_range_of_semantic_versions_is_a_range(version, other, operator):
    """An operator, a hyphen between two, `||` or a wildcard make a range of any version."""
    ranges = [
        f"{operator}{version}",
        f"{operator} {version}",
        f"{version} - {other}",
        f"{version} || {other}",
        f"{version.split('.')[0]}.x",
        f"{version.split('.')[0]}.*",
    ]

    assert [found for found in ranges if versioned(found).agrees] == []


@pytest.mark.parametrize(
    "version", ["1.0", "v1.0.0", "01.0.0", "1.0.0-01", "1.0.0-", "1.0.0+", "1.0.0\n", "\u0661.0.0"]
)
def test_semver_asks_for_all_of_it(version):
    """`semver = true` refuses what Semantic Versioning 2.0.0 doesn't allow; without it that is a version."""
    verdict = versioned(version, semver=True)

    assert places(verdict) == [("/version", "semver")]
    assert versioned(version).agrees


# -- URLs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.COM./a", "example.com"),
        ("http://user@example.com:80/", "example.com"),
        ("HTTPS://[::1]:8/", "::1"),
        ("ftp://example.com", None),
        ("//example.com", None),
        ("https://", None),
        ("https:///a", None),
        ("https://example.com:port/", None),
        ("https://[::1", None),
        ("https://exa mple.com", None),
        ("https://example.com\n", None),
        ("https://localhost\\.example.com", None),
        ("data:text/plain,a", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_only_an_absolute_url_has_a_host(url, host):
    """What readers of URLs read differently is no URL to us."""
    assert urls.host_of(url) == host


@pytest.mark.parametrize(
    ("host", "local", "public"),
    [
        ("localhost", True, False),
        ("a.localhost", True, False),
        ("127.0.0.1", True, False),
        ("127.8.8.8", True, False),
        ("::1", True, False),
        ("::ffff:127.0.0.1", True, False),
        ("0.0.0.0", True, False),
        ("10.1.2.3", False, False),
        ("169.254.1.1", False, False),
        ("100.64.0.1", False, False),
        ("224.0.0.1", False, False),
        ("fe80::1", False, False),
        ("8.8.8.8", False, True),
        ("2606:4700::1111", False, True),
        ("example.com", False, True),
        ("localhost.example.com", False, True),
    ],
)
def test_where_a_host_can_be_reached_from(host, local, public):
    """Local is the machine itself; public is what can be reached from everywhere."""
    assert urls.is_local(host) is local
    assert urls.is_public(host) is public


# -- guards by name --------------------------------------------------------------------------------------


def say_no(_state, _command, _policy):
    """A guard of a program."""
    raise AssertionError


def test_every_built_in_guard_can_be_asked():
    """Each name leads to a function with a docstring, and each summary is one line without a full stop."""
    for name, kind in BUILTIN.items():
        assert callable(guard_of(name)), name
        assert guard_of(name).__doc__
        assert "\n" not in kind.summary
        assert not kind.summary.endswith(".")


def test_the_docstrings_tell_every_parameter():
    """What can be said in a use is written down where the guard is."""
    untold = [
        (name, parameter)
        for name, kind in BUILTIN.items()
        for parameter in kind.parameters
        if f"`{parameter}`" not in guard_of(name).__doc__
    ]

    assert untold == []


def test_a_built_in_guard_goes_before_one_of_the_program():
    """Nobody can put another `approvals` in the place of ours."""
    extra = {"approvals": say_no, "own": say_no}

    assert guard_of("approvals", extra) is builtin.approvals
    assert guard_of("own", extra) is say_no
    assert {"own", "approvals"} <= set(known_names(extra))


def test_an_unknown_guard_is_refused_with_the_nearest_name():
    """The error names the nearest of all there are, and all of them."""
    with pytest.raises(InvalidArgument) as caught:
        guard_of("aprovals", {"own": say_no})

    assert "Did you mean 'approvals'?" in str(caught.value)
    assert "own" in caught.value.details["guards"]
    assert caught.value.details["guard"] == "aprovals"


class Point:
    """An entry point that isn't installed."""

    def __init__(self, name, value, load):
        self.name, self.value, self.load = name, value, load


@pytest.fixture
def installed(monkeypatch):
    """Guards as if they were installed, by name."""
    points = []

    def entry_points(*, group, name=None):
        assert group == "registration.guards"
        return [point for point in points if name in (None, point.name)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return points


def test_an_installed_guard_is_found(installed):
    """An entry point of the group `registration.guards` is a guard, after those of the program."""
    installed.append(Point("theirs", "them:guard", lambda: say_no))
    installed.append(Point("theirs", "them:guard", lambda: say_no))  # the same, seen twice

    assert guard_of("theirs") is say_no
    assert guard_of("theirs", {"theirs": len}) is len
    assert "theirs" in known_names()


def fail():
    raise RuntimeError("no disk")


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([Point("theirs", "them:guard", fail)], "can't be loaded from 'them:guard': RuntimeError: no disk"),
        ([Point("theirs", "them:guard", lambda: 7)], "is not a function"),
        (
            [Point("theirs", "a:g", fail), Point("theirs", "b:g", fail)],
            "More than one guard 'theirs' is installed",
        ),
    ],
)
def test_an_installed_guard_that_cant_be_had_is_refused(installed, points, said):
    """What goes wrong with somebody else's guard is told as an error of ours."""
    installed += points

    with pytest.raises(InvalidArgument, match=said):
        guard_of("theirs")
    assert said in problems_of_use("theirs", {})[0]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("reason_given", {}),
        ("role", {"any": ["reviewer"]}),
        ("role", {"any": ("reviewer",)}),
        ("not_the_author", {}),
        ("not_the_author", {"scope": "manifest"}),
        ("approvals", {"count": 2, "roles": {"lawyer": 1}, "action": "sign"}),
        ("approvals", {"roles": {}}),
        ("schema", {"required": True}),
        ("name", {"pattern": "[a-z]+", "characters_min": 1, "characters_max": 1, "kinds": ["server"]}),
        ("version", {"semver": False}),
        ("mcp_server", {"publish": True, "kinds": ["server"]}),
        ("a2a_agent_card", {}),
        ("a2a_card_compatible", {"kinds": ["agent"]}),
    ],
)
def test_a_good_use_has_no_problems(name, parameters):
    """What a guard can be asked with is taken."""
    assert problems_of_use(name, parameters) == []


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        (
            "reason_given",
            {"reason": "x"},
            ["reason: the guard 'reason_given' has no such parameter. It has none."],
        ),
        ("role", {}, ["any: it is required: a list of texts, with at least one"]),
        ("role", {"any": []}, ["any: it must be a list of texts, with at least one, not []"]),
        (
            "role",
            {"any": "reviewer"},
            ["any: it must be a list of texts, with at least one, not 'reviewer'"],
        ),
        ("role", {"any": [" "]}, ["any: it must be a list of texts, with at least one, not [' ']"]),
        ("role", {"any": ["a", 1]}, ["any: it must be a list of texts, with at least one, not ['a', 1]"]),
        ("not_the_author", {"scope": "all"}, ["scope: it must be 'document' or 'manifest', not 'all'"]),
        ("not_the_author", {"scope": 1}, ["scope: it must be 'document' or 'manifest', not 1"]),
        ("approvals", {"count": 0}, ["count: it must be an integer from 1, not 0"]),
        ("approvals", {"count": True}, ["count: it must be an integer from 1, not True"]),
        ("approvals", {"count": 1.0}, ["count: it must be an integer from 1, not 1.0"]),
        (
            "approvals",
            {"roles": {"lawyer": 0}},
            ["roles: it must be a table from text to integers from 1, not {'lawyer': 0}"],
        ),
        (
            "approvals",
            {"roles": {"": 1}},
            ["roles: it must be a table from text to integers from 1, not {'': 1}"],
        ),
        (
            "approvals",
            {"roles": ["lawyer"]},
            ["roles: it must be a table from text to integers from 1, not ['lawyer']"],
        ),
        ("approvals", {"action": ""}, ["action: it must be text, not ''"]),
        ("schema", {"required": "yes"}, ["required: it must be true or false, not 'yes'"]),
        (
            "name",
            {"pattern": "("},
            [
                "pattern: '(' is not a valid Python regular expression: missing ), unterminated subpattern at position 0"
            ],
        ),
        ("name", {"pattern": 7}, ["pattern: it must be a regular expression, not 7"]),
        ("name", {"characters_min": 300}, ["characters_min: it is 300, above characters_max, which is 200"]),
        (
            "name",
            {"characters_min": 2, "characters_max": 1},
            ["characters_min: it is 2, above characters_max, which is 1"],
        ),
        ("mcp_server", {"kinds": []}, ["kinds: it must be a list of texts, with at least one, not []"]),
    ],
    ids=str,
)
def test_a_bad_use_is_told_by_parameter(name, parameters, said):
    """Each problem begins with the parameter that it is of, and says what was expected and what was found."""
    assert problems_of_use(name, parameters) == said


def test_all_problems_of_a_use_are_told_at_once():
    """A parameter that isn't there is suggested the nearest; the others are looked at all the same."""
    found = problems_of_use("approvals", {"cuont": 2, "roles": 7})

    assert len(found) == 2
    assert (
        "cuont: the guard 'approvals' has no such parameter. Did you mean 'count'? It has count, roles, held, action."
        in found
    )
    assert found[1].startswith("roles: ")


def test_a_use_of_an_unknown_guard_is_a_problem():
    """It is told like the others, with the nearest name."""
    (problem,) = problems_of_use("rolle", {})

    assert problem.startswith("guard: There is no guard 'rolle'. Did you mean 'role'?")


def test_a_guard_of_a_program_may_say_what_it_takes():
    """With an attribute `parameters` a use is checked; without it, anything goes."""

    def silent(_state, _command, _policy):
        raise AssertionError

    def telling(_state, _command, _policy):
        raise AssertionError

    telling.parameters = {"days": Parameter("count", required=True, least=0), "odd": {"type": "text"}}
    extra = {"silent": silent, "telling": telling}

    assert problems_of_use("silent", {"whatever": 1}, extra) == []
    assert problems_of_use("telling", {"days": 0}, extra) == [
        "odd: the guard 'telling' declares this without a `Parameter`"
    ]
    assert problems_of_use("telling", {}, extra)[0] == "days: it is required: an integer from 0"
    assert problems_of_use("telling", {"days": -1, "odd": 1}, extra)[0].startswith("days: ")


def test_the_table_is_what_it_says():
    """The names are those that policies use; a spec is a value."""
    assert list(BUILTIN) == [
        "reason_given",
        "role",
        "not_the_author",
        "approvals",
        "schema",
        "name",
        "version",
        "mcp_server",
        "a2a_agent_card",
        "a2a_card_compatible",
    ]
    assert GuardKind("a:b", "c") == GuardKind("a:b", "c", {})
    assert registry.ENTRY_POINTS == "registration.guards"


def test_looking_up_guards_loads_nothing_heavy():
    """The table, a look-up and a check of a use need neither jsonschema nor what is installed, nor other guards."""
    script = (
        "import sys\n"
        "from registration.rules.guards.registry import guard_of, problems_of_use\n"
        "guard_of('approvals'), problems_of_use('schema', {'required': True}), problems_of_use('mcp_server', {})\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('jsonschema', 'referencing', 'pydantic')\n"
        "       or n in ('importlib.metadata', 'registration.rules.guards.mcp', 'registration.rules.guards.schema')])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


def test_an_installed_guard_is_really_found(tmp_path, monkeypatch):
    """A distribution on the path with an entry point of our group brings a guard."""
    (tmp_path / "their_guards.py").write_text("def guard(state, command, policy):\n    return 'theirs'\n")
    info = tmp_path / "their_guards-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-guards\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[registration.guards]\ntheirs = their_guards:guard\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert guard_of("theirs")(None, Command(stream="a"), Policy()) == "theirs"
