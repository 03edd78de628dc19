"""Offers of an A2A agent card to clients, of v1.0 or v0.3, and those that a revised card no longer makes.

Skills are identified by id, extensions by URI, security schemes and capabilities by name, interfaces by URL and
protocol binding. A member of an unexpected form offers nothing: `registration.rules.guards.a2a` reports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registration.rules.guards.findings import Finding, listed, shown
from registration.values.pointers import pointer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_Item = tuple[str, str]
"""An offer of a card: its JSON Pointer, and its name."""


def taken_back(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Finding]:
    """The offers of the previous card that the new one lacks (A6); `at` is the position in the previous one."""
    for what, offered in (
        ("the skill", _skills),
        ("the capability", _capabilities),
        ("the extension", _extensions),
        ("the security scheme", _security_schemes),
        ("the input mode", lambda card: _modes(card, "defaultInputModes")),
        ("the output mode", lambda card: _modes(card, "defaultOutputModes")),
    ):
        yield from _missing(what, offered(before), offered(after))
    now = {(url, binding): set[str]() for _, url, binding, _ in _interfaces(after)}
    for _, url, binding, version in _interfaces(after):
        now[url, binding].add(version)
    for at, url, binding, version in _interfaces(before):
        versions = now.get((url, binding))
        if versions is None:
            yield Finding(at, "A6", f"the interface {shown(url)} ({shown(binding)}) was removed")
        elif version and version not in versions:
            said = " and ".join(shown(one) for one in sorted(versions) if one) or "nothing"
            problem = (
                f"the protocol version of the interface {shown(url)} was {shown(version)}, and is {said}"
            )
            yield Finding(at, "A6", problem)


def _missing(what: str, before: Iterable[_Item], after: Iterable[_Item]) -> Iterator[Finding]:
    offered = {name for _, name in after}
    for at, name in before:
        if name not in offered:
            yield Finding(at, "A6", f"{what} {shown(name)} was removed")


def _skills(card: Mapping[str, Any]) -> Iterator[_Item]:
    yield from _named(card, "skills", "", "id")


def _extensions(card: Mapping[str, Any]) -> Iterator[_Item]:
    capabilities = card.get("capabilities")
    if isinstance(capabilities, Mapping):
        yield from _named(capabilities, "extensions", "/capabilities", "uri")


def _named(owner: Mapping[str, Any], name: str, at: str, key: str) -> Iterator[_Item]:
    for place, one in listed(owner, name, at, "A6"):
        if isinstance(one, Mapping) and isinstance(one.get(key), str):
            yield place, one[key]


def _capabilities(card: Mapping[str, Any]) -> Iterator[_Item]:
    """The capabilities that are true: one that is turned off counts as removed."""
    capabilities = card.get("capabilities")
    if isinstance(capabilities, Mapping):
        yield from (
            (pointer(["capabilities", name]), name) for name, on in capabilities.items() if on is True
        )


def _security_schemes(card: Mapping[str, Any]) -> Iterator[_Item]:
    schemes = card.get("securitySchemes")
    if isinstance(schemes, Mapping):
        yield from ((pointer(["securitySchemes", name]), name) for name in schemes)


def _modes(card: Mapping[str, Any], name: str) -> Iterator[_Item]:
    modes = card.get(name)
    if isinstance(modes, list):
        yield from ((f"/{name}/{index}", mode) for index, mode in enumerate(modes) if isinstance(mode, str))


def _interfaces(card: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Pointer, URL, binding and protocol version of each interface, of cards of either version."""
    own = card.get("protocolVersion")
    if isinstance(card.get("url"), str):
        binding = card.get("preferredTransport", "JSONRPC")
        yield "/url", card["url"], binding if isinstance(binding, str) else "", _major_minor(own)
    for name, key in (("additionalInterfaces", "transport"), ("supportedInterfaces", "protocolBinding")):
        for at, one in listed(card, name, "", "A6"):
            if isinstance(one, Mapping) and isinstance(one.get("url"), str):
                version = one.get("protocolVersion") if name == "supportedInterfaces" else own
                binding = one.get(key)
                yield at, one["url"], binding if isinstance(binding, str) else "", _major_minor(version)


def _major_minor(version: object) -> str:
    """A protocol version without its patch, which changes nothing; empty if there is none."""
    return ".".join(version.split(".")[:2]) if isinstance(version, str) else ""
