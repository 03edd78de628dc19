"""Guards on A2A agent cards: required members, and compatibility of a revised card with the previous one.

The ids are those of the rules of a2aproject/A2A (``specification/a2a.proto`` for v1.0, ``specification/json/a2a.json`` at
tag v0.3.0, ``docs/specification.md``) and of Apicurio Registry (``assembly-a2a-features.adoc``):

- A1: required members. A card of v1.0 has `supportedInterfaces`; one of v0.3 has `protocolVersion` and `url` instead.
- A2: signatures have the form of a JWS. Verifying them needs the key, and is not done here.
- A3: a protocol version is Major.Minor. That of a whole card may have a patch if it is 0.MINOR: the schema of v0.3.0
  itself uses ``0.3.0``, and so do most cards of that time. That of an interface, which is new in v1.0, may not.
- A6: a revised card removes nothing that clients may rely on (`registration.rules.guards.a2a_offers`).

A list may be empty, except that of the interfaces: the sources require its presence. Where a card is served and
whether its agent answers (A5) can only be checked over the network.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registration.core.policy import Verdict
from registration.rules.guards.a2a_offers import taken_back
from registration.rules.guards.findings import (
    Finding,
    excused,
    judged,
    listed,
    looked_at,
    no_document,
    shown,
    text_problems,
)
from registration.rules.guards.urls import host_of
from registration.values.pointers import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.core.policy import Policy
    from registration.values.commands import Command
    from registration.values.events import StateSnapshot

_VERSION = re.compile(r"\d+\.\d+", re.ASCII)
_EARLY_VERSION = re.compile(r"0\.\d+(\.\d+)?", re.ASCII)
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_FLAGS = ("streaming", "pushNotifications", "stateTransitionHistory", "extendedAgentCard")


def a2a_agent_card(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """The document is an A2A agent card, of v1.0 or v0.3 (A1, A2, A3; see the module docstring).

    Parameter `kinds`: the kinds of document that are checked (default: all).
    """
    document, digest = looked_at(state, command)
    verdict = excused(policy, document)
    if verdict is not None:
        return verdict
    if document is None:
        return no_document()
    shape = _shape(document)
    evidence = {"digest": digest, "shape": shape}
    return judged(
        _problems(document, shape), command, rules=f"rules for agent cards of {shape}", evidence=evidence
    )


def a2a_card_compatible(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """The agent card of the command removes nothing that the previous one offers (A6).

    This covers skills, capabilities, interfaces with their protocol versions, security schemes, input and output modes. In the
    evidence, `at` is the position in the previous card. Without a new card, or without a previous one, the guard agrees.

    Parameter `kinds`: the kinds of document that are checked (default: all).
    """
    brought = command.document
    before = state.document if state is not None else None
    if brought is None or before is None:
        said = "brings no card" if brought is None else "brings the first card"
        return Verdict(agrees=True, reason=f"nothing is removed: the command {said}")
    verdict = excused(policy, brought.value)
    if verdict is not None:
        return verdict
    evidence = {"digest": brought.digest, "before": state.digest if state is not None else None}
    return judged(
        taken_back(before, brought.value),
        command,
        rules="rule that a revised agent card removes nothing",
        evidence=evidence,
        remedy="Restore the fields that `problems` lists, or register the card under another name.",
    )


def _shape(card: Mapping[str, Any]) -> str:
    """The version of a card: by its interfaces, then by its `protocolVersion`, then by its `url`."""
    if "supportedInterfaces" in card:
        return "v1.0"
    said = card.get("protocolVersion")
    early = said.startswith("0.") if isinstance(said, str) else "url" in card
    return "v0.3" if early else "v1.0"


def _problems(card: Mapping[str, Any], shape: str) -> Iterator[Finding]:
    for name in ("name", "description", "version"):
        yield from text_problems(card, name, "", "A1")
    yield from _version_problems(card, "", _EARLY_VERSION, required=shape == "v0.3")
    if shape == "v1.0":
        yield from _interface_problems(card, "supportedInterfaces", "protocolBinding")
    if shape == "v0.3" or "url" in card:
        yield from _url_problems(card, "url", "")
    yield from _interface_problems(card, "additionalInterfaces", "transport")
    for name in ("defaultInputModes", "defaultOutputModes"):
        yield from _texts_problems(card, name, "")
    yield from _capability_problems(card)
    yield from _skill_problems(card)
    yield from _provider_problems(card)
    yield from _signature_problems(card)


def _version_problems(
    owner: Mapping[str, Any], at: str, early: re.Pattern[str] | None, *, required: bool
) -> Iterator[Finding]:
    if not required and "protocolVersion" not in owner:
        return
    wrong = list(text_problems(owner, "protocolVersion", at, "A1"))
    said = owner.get("protocolVersion")
    if (
        not wrong
        and isinstance(said, str)
        and not (_VERSION.fullmatch(said) or (early and early.fullmatch(said)))
    ):
        problem = f"`protocolVersion` must be Major.Minor, such as '1.0', not {shown(said)}"
        wrong.append(Finding(f"{at}/protocolVersion", "A3", problem))
    yield from wrong


def _interface_problems(card: Mapping[str, Any], name: str, binding: str) -> Iterator[Finding]:
    """The interfaces of v1.0, which are required and have their own versions, or those of v0.3."""
    latest = name == "supportedInterfaces"
    if latest and card.get(name, []) == []:
        found = "it is missing" if name not in card else "it is empty"
        yield Finding(f"/{name}", "A1", f"`{name}` must name at least one interface, but {found}")
    for at, interface in listed(card, name, "", "A1"):
        if isinstance(interface, Finding):
            yield interface
            continue
        yield from _url_problems(interface, "url", at)
        yield from text_problems(interface, binding, at, "A1")
        if latest:
            yield from _version_problems(interface, at, None, required=True)


def _url_problems(owner: Mapping[str, Any], name: str, at: str) -> Iterator[Finding]:
    url = owner.get(name, ABSENT)
    if host_of(url) is None:
        yield Finding(
            f"{at}/{name}", "A1", f"`{name}` must be an absolute http or https URL, not {shown(url)}"
        )


def _texts_problems(owner: Mapping[str, Any], name: str, at: str) -> Iterator[Finding]:
    value = owner.get(name, ABSENT)
    if not isinstance(value, list):
        yield Finding(f"{at}/{name}", "A1", f"`{name}` must be an array of texts, not {shown(value)}")
        return
    for index, item in enumerate(value):
        if not isinstance(item, str):
            yield Finding(f"{at}/{name}/{index}", "A1", f"it must be text, not {shown(item)}")


def _capability_problems(card: Mapping[str, Any]) -> Iterator[Finding]:
    capabilities = card.get("capabilities", ABSENT)
    if not isinstance(capabilities, Mapping):
        problem = f"`capabilities` must be an object, not {shown(capabilities)}"
        yield Finding("/capabilities", "A1", problem)
        return
    for name in _FLAGS:
        if not isinstance(capabilities.get(name, False), bool):
            problem = f"`{name}` must be true or false, not {shown(capabilities[name])}"
            yield Finding(f"/capabilities/{name}", "A1", problem)
    for at, extension in listed(capabilities, "extensions", "/capabilities", "A1"):
        if isinstance(extension, Finding):
            yield extension
        else:
            yield from text_problems(extension, "uri", at, "A1")


def _skill_problems(card: Mapping[str, Any]) -> Iterator[Finding]:
    if "skills" not in card:
        yield Finding("/skills", "A1", "`skills` is required but missing")
    first: dict[str, str] = {}
    for at, skill in listed(card, "skills", "", "A1"):
        if isinstance(skill, Finding):
            yield skill
            continue
        for name in ("id", "name", "description"):
            yield from text_problems(skill, name, at, "A1")
        yield from _texts_problems(skill, "tags", at)
        id = skill.get("id")
        if isinstance(id, str) and first.setdefault(id, at) != at:
            problem = f"each skill has an `id` of its own, and {shown(id)} is already that of {first[id]}"
            yield Finding(f"{at}/id", "A1", problem)


def _provider_problems(card: Mapping[str, Any]) -> Iterator[Finding]:
    if "provider" not in card:
        return
    provider = card["provider"]
    if not isinstance(provider, Mapping):
        yield Finding("/provider", "A1", f"`provider` must be an object, not {shown(provider)}")
        return
    yield from text_problems(provider, "organization", "/provider", "A1")
    yield from _url_problems(provider, "url", "/provider")


def _signature_problems(card: Mapping[str, Any]) -> Iterator[Finding]:
    for at, signature in listed(card, "signatures", "", "A2"):
        if isinstance(signature, Finding):
            yield signature
            continue
        for name in ("protected", "signature"):
            if not (isinstance(signature.get(name), str) and _BASE64URL.fullmatch(signature[name])):
                problem = f"`{name}` must be base64url, not {shown(signature.get(name, ABSENT))}"
                yield Finding(f"{at}/{name}", "A2", problem)
            elif name == "protected" and not _is_jws_header(signature[name]):
                problem = "`protected` must be the base64url of a JSON object that names `alg` and `kid`"
                yield Finding(f"{at}/{name}", "A2", problem)
        if not isinstance(signature.get("header", {}), Mapping):
            problem = f"`header` must be an object, not {shown(signature['header'])}"
            yield Finding(f"{at}/header", "A2", problem)


def _is_jws_header(text: str) -> bool:
    """Whether a protected header is valid (RFC 7515; A2A, section 8.4.2): `alg`, other than ``none``, and `kid`."""
    try:
        header = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        return False
    said = [header.get(name) for name in ("alg", "kid")] if isinstance(header, dict) else [None]
    return all(isinstance(one, str) and one for one in said) and said[0] != "none"
