"""Rules of the MCP registry for the packages of a server, and for URLs with variables. See `registration.rules.guards.mcp`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from registration.rules.guards.findings import Finding, listed, shortened, shown, text_problems
from registration.rules.guards.names import version_problems
from registration.rules.guards.urls import host_of, is_local, is_public
from registration.values.pointers import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

TYPES = ("npm", "pypi", "nuget", "cargo", "go", "oci", "mcpb")
"""The types of packages. Their allowed hosts are set by the policy: parameter `hosts`."""

# Every character of these matches in one way only, so that matching is linear.
_IMAGE_PATH = re.compile(r"[a-z0-9_./-]{2,255}")
_IMAGE_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IMAGE_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VARIABLE = re.compile(r"\{([^{}]+)\}")
_RELEASES = {
    "github.com": re.compile(r"/[^/]+/[^/]+/releases/download/[^/]+/[^/]+"),
    "gitlab.com": re.compile(
        r"(/[^/]+){2,}/-/(releases/[^/]+/downloads/[^/]+|package_files/[0-9]+/download)"
    ),
}


def package_problems(document: Mapping[str, Any], hosts: Sequence[str] | None = None) -> Iterator[Finding]:
    """The problems of the packages of a server (M4, M12, M13, M15).

    hosts: the allowed hosts of packages; a leading dot matches all subdomains. None: any.
    """
    for at, package in listed(document, "packages", "", "M13"):
        if isinstance(package, Finding):
            yield package
        else:
            yield from _package_problems(package, at, hosts)


def url_problems(
    owner: Mapping[str, Any], at: str, declared: set[str], *, remote: bool, publish: bool = False
) -> Iterator[Finding]:
    """The problems of the member `url` of a transport (M15). declared: the variables that it may use."""
    url, place = owner.get("url", ABSENT), f"{at}/url"
    host = host_of(_filled(url))
    if host is None or not isinstance(url, str):
        yield Finding(place, "M15", f"`url` must be an http or https URL, not {shown(url)}")
        return
    if remote and is_local(host):
        yield Finding(place, "M15", f"`url` must lead to another machine, not to {shown(url)}")
    elif publish and not (is_public(host) and host_of(_filled(url), ("https",))):
        yield Finding(place, "M15", f"`url` must lead to a public address by https, not to {shown(url)}")
    for name in dict.fromkeys(_VARIABLE.findall(url)):
        if name not in declared:
            yield Finding(
                place, "M15", f"`url` has the variable {{{shortened(name)}}}, which is not declared"
            )


def _package_problems(package: Mapping[str, Any], at: str, hosts: Sequence[str] | None) -> Iterator[Finding]:
    type = package.get("registryType", ABSENT)
    yield from text_problems(package, "identifier", at, "M13")
    if not isinstance(type, str) or type not in TYPES:
        problem = f"`registryType` must be one of {', '.join(TYPES)}, not {shown(type)}"
        yield Finding(f"{at}/registryType", "M13", problem)
    elif type == "oci":
        yield from _image_problems(package, at, hosts)
    elif type == "mcpb":
        yield from _bundle_problems(package, at)
    else:
        yield from _registry_problems(package, at, type, hosts)
    yield from _transport_problems(package, at)


def _registry_problems(
    package: Mapping[str, Any], at: str, type: str, hosts: Sequence[str] | None
) -> Iterator[Finding]:
    base = package.get("registryBaseUrl")
    if base:
        host, place = host_of(base, ("https",)), f"{at}/registryBaseUrl"
        if host is None:
            problem = f"`registryBaseUrl` must be an https URL, not {shown(base)}"
            yield Finding(place, "M13", problem)
        else:
            yield from _foreign(host, hosts, place)
    yield from version_problems(package, at)
    yield from _unexpected(package, at, "fileSha256", f"a package of the type {type}")


def _image_problems(package: Mapping[str, Any], at: str, hosts: Sequence[str] | None) -> Iterator[Finding]:
    for name in ("registryBaseUrl", "version", "fileSha256"):
        yield from _unexpected(package, at, name, "a package of the type oci, whose `identifier` says it all")
    identifier = package.get("identifier")
    if not isinstance(identifier, str) or not identifier.strip():
        return
    place = f"{at}/identifier"
    host, path, tag, digest = _image(identifier)
    good = (
        all(path.split("/"))
        and _IMAGE_PATH.fullmatch(path)
        and (tag is None or _IMAGE_TAG.fullmatch(tag))
        and (digest is None or _IMAGE_DIGEST.fullmatch(digest))
    )
    if not good:
        problem = (
            f"`identifier` must be an image, such as docker.io/owner/image:1.0.0, not {shown(identifier)}"
        )
        yield Finding(place, "M13", problem)
        return
    yield from _foreign(host, hosts, place)
    if tag is None and digest is None:
        problem = f"`identifier` must carry the version of an image (:TAG or @sha256:DIGEST), and {shown(identifier)} doesn't"
        yield Finding(place, "M13", problem)


def _foreign(host: str, hosts: Sequence[str] | None, place: str) -> Iterator[Finding]:
    """A host that the policy does not allow, or that is the local machine."""
    if is_local(host.partition(":")[0]):
        yield Finding(place, "M13", f"packages come from another machine, not from {shown(host)}")
    elif hosts is not None and not any(
        host == one or (one.startswith(".") and host.endswith(one)) for one in hosts
    ):
        problem = f"packages may come from {', '.join(hosts)}, not from {shown(host)}"
        yield Finding(place, "M13", problem)


def _image(identifier: str) -> tuple[str, str, str | None, str | None]:
    """Host, path, tag and digest of ``host/path:tag@digest``; the default host is Docker's."""
    named, at_sign, digest = identifier.partition("@")
    first, slash, rest = named.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        host, path = first.lower(), rest
    else:
        host, path = "docker.io", named
    path, colon, tag = path.partition(":")
    return host, path, tag if colon else None, digest if at_sign else None


def _bundle_problems(package: Mapping[str, Any], at: str) -> Iterator[Finding]:
    yield from _unexpected(package, at, "registryBaseUrl", "a package of the type mcpb")
    if package.get("version"):  # since 2025-10-17 it may have one
        yield from version_problems(package, at)
    checksum = package.get("fileSha256", ABSENT)
    if not isinstance(checksum, str) or not _SHA256.fullmatch(checksum):
        problem = f"`fileSha256` of a package of the type mcpb must be 64 hex digits, not {shown(checksum)}"
        yield Finding(f"{at}/fileSha256", "M12", problem)
    identifier = package.get("identifier")
    if not isinstance(identifier, str) or not identifier.strip():
        return
    host = (host_of(identifier, ("https",)) or "").removeprefix("www.")
    asset = _RELEASES.get(host)
    if asset is None or not asset.fullmatch(urlsplit(identifier).path):
        problem = (
            f"`identifier` must be a release asset on GitHub or GitLab, by https, not {shown(identifier)}"
        )
        yield Finding(f"{at}/identifier", "M12", problem)
    elif "mcp" not in identifier.lower():
        problem = f"`identifier` must have mcp in it, and {shown(identifier)} hasn't"
        yield Finding(f"{at}/identifier", "M12", problem)


def _transport_problems(package: Mapping[str, Any], at: str) -> Iterator[Finding]:
    transport, place = package.get("transport", ABSENT), f"{at}/transport"
    if not isinstance(transport, Mapping):
        yield Finding(place, "M15", f"`transport` must be an object, not {shown(transport)}")
        return
    type = transport.get("type", ABSENT)
    if type == "stdio":
        yield from _unexpected(transport, place, "url", "a transport of the type stdio", "M15")
    elif type in ("streamable-http", "sse"):
        yield from url_problems(transport, place, _declared(package), remote=False)
    else:
        problem = f"the type of a transport must be stdio, streamable-http or sse, not {shown(type)}"
        yield Finding(f"{place}/type", "M15", problem)


def _declared(package: Mapping[str, Any]) -> set[str]:
    """The variables of a package's URLs: environment variables, and arguments by name and hint."""
    found = set()
    for member in ("environmentVariables", "runtimeArguments", "packageArguments"):
        for _, one in listed(package, member, "", "M15"):
            if isinstance(one, Mapping):
                found |= {one[name] for name in ("name", "valueHint") if isinstance(one.get(name), str)}
    return found


def _unexpected(
    owner: Mapping[str, Any], at: str, name: str, what: str, rule: str = "M13"
) -> Iterator[Finding]:
    if owner.get(name):
        yield Finding(f"{at}/{name}", rule, f"`{name}` is not allowed in {what}")


def _filled(url: object) -> object:
    """A URL with a placeholder for each variable, so that it can be parsed."""
    if not isinstance(url, str):
        return url
    return _VARIABLE.sub(lambda found: "http" if found[1] in ("scheme", "protocol") else "1", url)
