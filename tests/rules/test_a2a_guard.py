"""The guards on A2A agent cards: what a card has to say, what a revised one can't take back, and real cards."""

from __future__ import annotations

import base64
import copy
import json

import pytest
from hypothesis import given

from registration.core.policy import Policy
from registration.rules.guards import a2a
from registration.values.documents import check_document, digest_of
from registration.values.pointers import at_pointer
from tests.kit.builders import asked, i_json_objects, tries
from tests.kit.judging import bringing, needs_manifests, places, real, standing

SKILL = {"id": "forecast", "name": "Forecast", "description": "Tells the weather", "tags": ["weather"]}
CARD = {
    "name": "Weather",
    "description": "Tells the weather",
    "version": "1.0.0",
    "supportedInterfaces": [
        {"url": "https://acme.example/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    ],
    "capabilities": {"streaming": True, "extensions": [{"uri": "https://acme.example/ext"}]},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain", "application/json"],
    "skills": [SKILL],
}
EARLY = {name: value for name, value in CARD.items() if name != "supportedInterfaces"} | {
    "protocolVersion": "0.3.0",
    "url": "https://acme.example/a2a",
}


def encoded(header):
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


SIGNATURE = {"protected": encoded({"alg": "ES256", "kid": "key-1", "typ": "JOSE"}), "signature": "QUJD-_"}


def carded(base=CARD, **members):
    """The verdict on an agent card; `members` go over those of a good one, and None takes one out."""
    document = {name: value for name, value in {**base, **members}.items() if value is not None}
    return a2a.a2a_agent_card(None, bringing(document), Policy())


@pytest.mark.parametrize("base", [CARD, EARLY], ids=["v1.0", "v0.3"])
@pytest.mark.parametrize(
    "members",
    [
        {},
        {"skills": []},
        {"skills": [{**SKILL, "tags": []}]},
        {"capabilities": {}},
        {"provider": {"organization": "Acme", "url": "http://acme.example"}},
        {"signatures": [SIGNATURE, {**SIGNATURE, "header": {"a": 1}}]},
        {"additionalInterfaces": [{"url": "https://acme.example/grpc", "transport": "GRPC"}]},
        {"protocolVersion": "0.3"},
        {"protocolVersion": "0.2.6"},
    ],
    ids=str,
)
def test_a_good_card_is_taken(base, members):
    """What v1.0 or v0.3 asks for is taken, and the evidence says which it is."""
    verdict = carded(base, **members)

    assert verdict.agrees, verdict
    shape = "v1.0" if base is CARD else "v0.3"
    assert verdict.reason == f"the document complies with the rules for agent cards of {shape}"
    assert verdict.evidence["shape"] == shape
    assert set(verdict.evidence) == {"digest", "shape"}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"name": None}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"description": 7}, ["/description"]),
        ({"version": None}, ["/version"]),
        ({"capabilities": None}, ["/capabilities"]),
        ({"capabilities": []}, ["/capabilities"]),
        (
            {"capabilities": {"streaming": "yes", "pushNotifications": 1}},
            ["/capabilities/streaming", "/capabilities/pushNotifications"],
        ),
        (
            {"capabilities": {"extendedAgentCard": 1, "stateTransitionHistory": 1}},
            ["/capabilities/stateTransitionHistory", "/capabilities/extendedAgentCard"],
        ),
        ({"capabilities": {"extensions": {}}}, ["/capabilities/extensions"]),
        (
            {"capabilities": {"extensions": [{}, 7]}},
            ["/capabilities/extensions/0/uri", "/capabilities/extensions/1"],
        ),
        ({"defaultInputModes": None}, ["/defaultInputModes"]),
        ({"defaultOutputModes": "text"}, ["/defaultOutputModes"]),
        ({"defaultOutputModes": ["text", 7]}, ["/defaultOutputModes/1"]),
        ({"skills": None}, ["/skills"]),
        ({"skills": {}}, ["/skills"]),
        ({"skills": [{}]}, ["/skills/0/id", "/skills/0/name", "/skills/0/description", "/skills/0/tags"]),
        ({"skills": ["forecast", {**SKILL, "tags": [1]}]}, ["/skills/0", "/skills/1/tags/0"]),
        ({"skills": [SKILL, {**SKILL, "id": "b"}, SKILL]}, ["/skills/2/id"]),
        ({"skills": [{**SKILL, "id": []}, {**SKILL, "id": []}]}, ["/skills/0/id", "/skills/1/id"]),
        ({"provider": None, "provider ": 1}, []),
        ({"provider": "Acme"}, ["/provider"]),
        ({"provider": {}}, ["/provider/organization", "/provider/url"]),
        ({"provider": {"organization": "Acme", "url": "ftp://acme.example"}}, ["/provider/url"]),
        (
            {"additionalInterfaces": [{"url": "/a2a"}]},
            ["/additionalInterfaces/0/url", "/additionalInterfaces/0/transport"],
        ),
        ({"additionalInterfaces": 7}, ["/additionalInterfaces"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("base", [CARD, EARLY], ids=["v1.0", "v0.3"])
def test_a_bad_member_of_a_card_is_named(base, members, expected):
    """A1: each problem with its pointer, the same for both versions."""
    verdict = carded(base, **members)

    assert verdict.agrees is (not expected)
    assert [at for at, rule in places(verdict) if rule == "A1"] == expected if expected else True


@pytest.mark.parametrize(
    ("base", "members", "expected"),
    [
        (CARD, {"supportedInterfaces": None}, [("/supportedInterfaces", "A1")]),
        (CARD, {"supportedInterfaces": []}, [("/supportedInterfaces", "A1")]),
        (CARD, {"supportedInterfaces": {}}, [("/supportedInterfaces", "A1")]),
        (CARD, {"supportedInterfaces": [7]}, [("/supportedInterfaces/0", "A1")]),
        (CARD, {"supportedInterfaces": None, "url": "https://acme.example"}, [("/protocolVersion", "A1")]),
        (CARD, {"supportedInterfaces": None, "protocolVersion": "0.3"}, [("/url", "A1")]),
        (
            CARD,
            {"supportedInterfaces": None, "protocolVersion": "2.0", "url": "https://acme.example"},
            [("/supportedInterfaces", "A1")],
        ),
        (CARD, {"url": "acme.example"}, [("/url", "A1")]),
        (CARD, {"protocolVersion": "1.0.0"}, [("/protocolVersion", "A3")]),
        (CARD, {"protocolVersion": 1.0}, [("/protocolVersion", "A1")]),
        (CARD, {"protocolVersion": " "}, [("/protocolVersion", "A1")]),
        (EARLY, {"url": "acme.example"}, [("/url", "A1")]),
        (EARLY, {"url": None}, [("/url", "A1")]),
        (EARLY, {"protocolVersion": None}, [("/protocolVersion", "A1")]),
        (EARLY, {"protocolVersion": "0.3.0-beta"}, [("/protocolVersion", "A3")]),
        (EARLY, {"protocolVersion": "0.3.0.1"}, [("/protocolVersion", "A3")]),
    ],
)
def test_each_version_of_cards_has_demands_of_its_own(base, members, expected):
    """A1, A3: v1.0 asks for interfaces, v0.3 for a version and a URL; only what is 0.MINOR has a patch."""
    assert places(carded(base, **members)) == expected


@pytest.mark.parametrize(
    ("interface", "expected"),
    [
        ({}, [("url", "A1"), ("protocolBinding", "A1"), ("protocolVersion", "A1")]),
        (
            {"url": "grpc.acme.example:443", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
            [("url", "A1")],
        ),
        (
            {"url": "https://a.example", "protocolBinding": "GRPC", "protocolVersion": "0.3.0"},
            [("protocolVersion", "A3")],
        ),
        (
            {"url": "https://a.example", "protocolBinding": "GRPC", "protocolVersion": "one"},
            [("protocolVersion", "A3")],
        ),
    ],
)
def test_an_interface_says_where_and_how(interface, expected):
    """A1, A3: every interface of v1.0 has a URL, a binding and a version without a patch."""
    verdict = carded(supportedInterfaces=[*CARD["supportedInterfaces"], interface])

    assert places(verdict) == [(f"/supportedInterfaces/1/{name}", rule) for name, rule in expected]


@pytest.mark.parametrize(
    ("signature", "member"),
    [
        ({"protected": SIGNATURE["protected"]}, "signature"),
        ({"signature": "QUJD"}, "protected"),
        ({**SIGNATURE, "signature": "QUJD="}, "signature"),
        ({**SIGNATURE, "signature": ""}, "signature"),
        ({**SIGNATURE, "signature": 7}, "signature"),
        ({**SIGNATURE, "protected": "e30 "}, "protected"),
        ({**SIGNATURE, "protected": "A"}, "protected"),
        ({**SIGNATURE, "protected": "_w"}, "protected"),
        ({**SIGNATURE, "protected": encoded([1])}, "protected"),
        ({**SIGNATURE, "protected": encoded({"alg": "none", "kid": "k"})}, "protected"),
        ({**SIGNATURE, "protected": encoded({"kid": "k"})}, "protected"),
        ({**SIGNATURE, "protected": encoded({"alg": "ES256"})}, "protected"),
        ({**SIGNATURE, "protected": encoded({"alg": "ES256", "kid": ""})}, "protected"),
        ({**SIGNATURE, "protected": encoded({"alg": "ES256", "kid": 7})}, "protected"),
        ({**SIGNATURE, "protected": base64.urlsafe_b64encode(b"[" * 99_999).decode()}, "protected"),
        ({**SIGNATURE, "header": []}, "header"),
    ],
)
def test_a_signature_has_the_form_of_a_jws(signature, member):
    """A2: what can't be a signature is named; whether one is good isn't asked."""
    assert places(carded(signatures=[SIGNATURE, signature])) == [(f"/signatures/1/{member}", "A2")]


@pytest.mark.parametrize(
    ("base", "members", "text"),
    [
        (
            CARD,
            {"supportedInterfaces": None},
            "`supportedInterfaces` must name at least one interface, but it is missing",
        ),
        (
            CARD,
            {"supportedInterfaces": []},
            "`supportedInterfaces` must name at least one interface, but it is empty",
        ),
        (CARD, {"skills": None}, "`skills` is required but missing"),
        (
            CARD,
            {"skills": [SKILL, SKILL]},
            "each skill has an `id` of its own, and 'forecast' is already that of /skills/0",
        ),
        (
            EARLY,
            {"protocolVersion": "0.x"},
            "`protocolVersion` must be Major.Minor, such as '1.0', not '0.x'",
        ),
        (EARLY, {"url": None}, "`url` must be an absolute http or https URL, not nothing"),
        (
            CARD,
            {"signatures": [{**SIGNATURE, "protected": "e30"}]},
            "`protected` must be the base64url of a JSON object that names `alg` and `kid`",
        ),
    ],
    ids=str,
)
def test_a_problem_of_a_card_says_what_was_expected_and_what_was_found(base, members, text):
    """The words are those that people mend a card by."""
    (problem,) = carded(base, **members).evidence["problems"]

    assert problem["problem"] == text


def test_signatures_are_a_list_of_objects():
    """A2: anything else is named as such."""
    assert places(carded(signatures={})) == [("/signatures", "A2")]
    assert places(carded(signatures=[7])) == [("/signatures/0", "A2")]


@needs_manifests
def test_real_cards_are_judged_as_their_sources_judge_them():
    """Published cards are taken; fixtures that must be rejected are rejected, each for what its name says."""
    refused = {}
    for path, document in real("a2a-agent-card", "a2a-agent-card-fixture"):
        verdict = a2a.a2a_agent_card(None, bringing(document), Policy())
        if not verdict.agrees:
            refused[path.stem] = [at for at, _ in places(verdict)]

    assert len(refused.pop("a2a__cli__testdata__invalid__invalid-format")) == 9
    assert refused == {
        # From a pull request to A2A: it calls itself v1.0 and has no interface.
        "a2a__cli__testdata__valid__minimal": ["/supportedInterfaces", "/skills/0/tags"],
        # It has a `url` and no `protocolVersion`, which v0.3 requires.
        "agntcy__a2a-agent-card": ["/protocolVersion"],
        "apicurio__agentcard-invalid-capabilities": ["/capabilities/streaming", "/capabilities/pushNotifications"],
        "apicurio__agentcard-invalid-interfaces": [
            "/supportedInterfaces/0/protocolBinding",
            "/supportedInterfaces/0/protocolVersion",
        ],
        "apicurio__agentcard-invalid-provider-url": ["/provider/url"],
        "apicurio__agentcard-invalid-skill-missing-id": ["/skills/0/id"],
        "apicurio__agentcard-missing-interfaces": ["/supportedInterfaces"],
        "apicurio__agentcard-missing-skill-description": ["/skills/0/description"],
        # An example of a generator: the version is that of the card, and v1.0 has it in the interface.
        "sample__examples__weather_agent_card": ["/supportedInterfaces/0/protocolVersion"],
    }  # fmt: skip


def revised(before, after):
    """The verdict on a card that follows another."""
    command = asked("revise", document=check_document(after))
    return a2a.a2a_card_compatible(standing(before), command, Policy())


FULL = {
    **CARD,
    "securitySchemes": {"key/1": {"type": "apiKey"}, "oauth": {}},
    "skills": [SKILL, {**SKILL, "id": "history"}],
}


def without(card, pointer):
    """A card in which something is gone."""
    card = copy.deepcopy(card)
    *above, last = pointer.removeprefix("/").replace("~1", "\0").split("/")
    owner = at_pointer(card, "".join("/" + step for step in above))
    del owner[int(last) if isinstance(owner, list) else last.replace("\0", "/")]
    return card


@pytest.mark.parametrize(
    ("pointer", "said"),
    [
        ("/skills/1", "the skill 'history' was removed"),
        ("/capabilities/streaming", "the capability 'streaming' was removed"),
        ("/capabilities/extensions/0", "the extension 'https://acme.example/ext' was removed"),
        ("/securitySchemes/key~11", "the security scheme 'key/1' was removed"),
        ("/defaultInputModes/0", "the input mode 'text/plain' was removed"),
        ("/defaultOutputModes/1", "the output mode 'application/json' was removed"),
        ("/supportedInterfaces/0", "the interface 'https://acme.example/a2a' ('JSONRPC') was removed"),
    ],
)
def test_a_revised_card_removes_nothing(pointer, said):
    """A6: what is gone is named, with the place where it stood; the way back is compatible."""
    less = without(FULL, pointer)

    verdict = revised(FULL, less)

    assert not verdict.agrees
    assert verdict.evidence == {
        "digest": digest_of(less),
        "before": digest_of(FULL),
        "problems": [{"at": pointer, "rule": "A6", "problem": said}],
    }
    assert verdict.remedy.startswith("Restore the fields that `problems` lists")
    assert revised(less, FULL).agrees


def test_an_unchanged_card_is_compatible_and_the_order_is_no_change():
    """A6: nothing is removed by standing elsewhere."""
    turned = copy.deepcopy(FULL)
    turned["skills"].reverse()
    turned["defaultOutputModes"].reverse()

    assert revised(FULL, turned).agrees


def test_a_capability_that_is_turned_off_is_removed():
    """A6: one that was false, or wasn't there, can go."""
    off = {**FULL, "capabilities": {**FULL["capabilities"], "streaming": False}}

    assert not revised(FULL, off).agrees
    assert revised(off, without(off, "/capabilities/streaming")).agrees


def interfaces(*versions):
    (one,) = CARD["supportedInterfaces"]
    return {**CARD, "supportedInterfaces": [{**one, "protocolVersion": version} for version in versions]}


@pytest.mark.parametrize(
    ("before", "after", "agrees"),
    [
        (interfaces("0.3"), interfaces("1.0"), False),
        (interfaces("0.3"), interfaces("1.0", "0.3"), True),
        (interfaces("1.0", "0.3"), interfaces("1.0"), False),
        (interfaces("1.0"), interfaces("1.0.1"), True),
        (EARLY, {**EARLY, "protocolVersion": "0.3.1"}, True),
        (EARLY, {**EARLY, "protocolVersion": "0.2.6"}, False),
        (EARLY, {**EARLY, "url": "https://acme.example/b"}, False),
        (EARLY, {**EARLY, "preferredTransport": "JSONRPC"}, True),
        (EARLY, {**EARLY, "preferredTransport": "GRPC"}, False),
        (EARLY, interfaces("0.3", "1.0"), True),
        (EARLY, interfaces("1.0"), False),
    ],
)
def test_an_interface_keeps_its_protocol_version(before, after, agrees):
    """A6: a version may be added beside another, also from v0.3 to v1.0; a patch changes nothing."""
    verdict = revised(before, after)

    assert verdict.agrees is agrees


@pytest.mark.parametrize(
    ("before", "after", "at", "said"),
    [
        (EARLY, interfaces("1.0"), "/url", "was '0.3', and is '1.0'"),
        (
            interfaces("1.0"),
            interfaces("1.2", "1.1"),
            "/supportedInterfaces/0",
            "was '1.0', and is '1.1' and '1.2'",
        ),
        (interfaces("1.0"), interfaces(7), "/supportedInterfaces/0", "was '1.0', and is nothing"),
    ],
)
def test_a_changed_protocol_version_is_told(before, after, at, said):
    """A6: the problem says where the interface stood, which version it had, and which ones it has."""
    (problem,) = revised(before, after).evidence["problems"]

    assert problem["at"] == at
    assert problem["rule"] == "A6"
    assert problem["problem"] == f"the protocol version of the interface 'https://acme.example/a2a' {said}"


@pytest.mark.parametrize("name", ["additionalInterfaces", "supportedInterfaces"])
def test_interfaces_of_either_version_can_be_removed(name):
    """A6: those of v0.3 go by `transport`, those of v1.0 by `protocolBinding`."""
    key = "transport" if name == "additionalInterfaces" else "protocolBinding"
    more = [
        {"url": "https://acme.example/1", key: "GRPC", "protocolVersion": "1.0"},
        {"url": "https://acme.example/1", key: "HTTP+JSON", "protocolVersion": "1.0"},
    ]

    (problem,) = revised({**EARLY, name: more}, {**EARLY, name: more[:1]}).evidence["problems"]

    assert problem["at"] == f"/{name}/1"
    assert problem["problem"] == "the interface 'https://acme.example/1' ('HTTP+JSON') was removed"


@pytest.mark.parametrize(
    "odd",
    [
        {"defaultInputModes": "text"},
        {"defaultOutputModes": [7]},
        {"skills": [7, {"id": 7}, {"id": [7]}]},
        {"capabilities": {"extensions": [7, {"uri": 7}], "streaming": "yes"}},
        {"capabilities": 7},
        {"securitySchemes": ["key"]},
        {"supportedInterfaces": [7, {"url": 7}]},
    ],
    ids=str,
)
def test_what_cant_be_read_offers_nothing(odd):
    """A6: a card that never said it properly takes nothing back by leaving it out."""
    assert revised({**FULL, **odd}, {**FULL, **dict.fromkeys(odd)}).agrees


def test_a_version_may_be_added_to_an_interface_that_had_none():
    """A6: nothing was promised, so nothing is taken back."""
    assert revised(interfaces(None), interfaces("1.0")).agrees


def test_a_first_card_or_none_takes_nothing_back():
    """A6: there must be a card before, and one after."""
    first = a2a.a2a_card_compatible(None, bringing(CARD), Policy())
    none = a2a.a2a_card_compatible(standing(CARD), asked("approve"), Policy())

    assert first.agrees
    assert none.agrees
    assert first.reason == "nothing is removed: the command brings the first card"
    assert none.reason == "nothing is removed: the command brings no card"


@given(before=i_json_objects(), after=i_json_objects())
@tries(60)
def test_whatever_stood_before_can_be_compared(before, after):
    """A6: cards that aren't cards offer nothing, and nothing is compared with an error."""
    odd = dict(zip(FULL, before.values(), strict=False))

    verdict = revised({**FULL, **odd}, {**FULL, **after})

    assert verdict == revised({**FULL, **odd}, {**FULL, **after})
    assert revised(FULL, FULL).agrees
