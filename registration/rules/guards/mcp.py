"""The guard on MCP servers: the rules of the MCP registry, as far as a ``server.json`` alone can show compliance.

The ids are those of the rules of modelcontextprotocol/registry (``internal/validators/validators.go`` at 7c446e7 of
2026-04-24, ``docs/reference/server-json`` and ``docs/modelcontextprotocol-io/package-types.mdx``):

- M1: `name` is ``namespace/name``.
- M4: `version`, and that of each package, is one version.
- M10: `description`, `title`, `websiteUrl`, `icons`, `repository`.
- M11: `_meta`, and the size of publisher metadata.
- M12: a package of the type mcpb is a release asset on GitHub or GitLab, with its SHA-256.
- M13: the names of packages of each type, and their allowed hosts, if the parameter `hosts` lists them
  (`registration.rules.guards.mcp_packages`).
- M14: `$schema`.
- M15: remotes, and the variables in URLs.

Rules that a document alone can't show are not checked: ownership of the namespace (M2) needs a proof; a new version (M3) is
checked by the guard `name`; the latest version, the number of versions and remotes of other servers (M5, M6, M7) are known
to a whole registry only; status (M8) and edits (M9) belong to a lifecycle, not to a document;
and ownership of packages (the rest of M12) needs the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

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
from registration.rules.guards.mcp_packages import package_problems, url_problems
from registration.rules.guards.names import version_problems
from registration.rules.guards.urls import host_of
from registration.values.pointers import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.core.policy import Policy, Verdict
    from registration.values.commands import Command
    from registration.values.events import StateSnapshot

NAME_CHARACTERS = (3, 200)
TEXT_CHARACTERS_MAX = 100
PUBLISHER_BYTES_MAX = 4096
PUBLISHER_KEY = "io.modelcontextprotocol.registry/publisher-provided"
SCHEMAS_KNOWN = tuple(
    f"https://static.modelcontextprotocol.io/schemas/{date}/server.schema.json"
    for date in ("2025-07-09", "2025-09-16", "2025-09-29", "2025-10-11", "2025-10-17", "2025-12-11")
)
"""The schemas of ``server.json`` that were published, the current one last."""

_NAMESPACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]*[a-zA-Z0-9]")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*[a-zA-Z0-9]")
_DOMAIN_LABEL = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?")
_SUBFOLDER = re.compile(r"[a-zA-Z0-9._-]+(/[a-zA-Z0-9._-]+)*")
_REPOSITORIES = {
    "github": re.compile(r"https?://(www\.)?github\.com/[\w.-]+/[\w.-]+/?", re.ASCII),
    "gitlab": re.compile(r"https?://(www\.)?gitlab\.com/[\w.-]+(/[\w.-]+)+/?", re.ASCII),
}


def mcp_server(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """The document is an MCP server that the MCP registry accepts (see the table of this module).

    Parameters: `publish`, whether it must also comply with the rules of the public registry alone (default false): a known
    `$schema`, a namespace that could be proved (a reversed domain, such as ``com.example`` or ``io.github.user``), a
    repository on GitHub or GitLab, remotes by https at public addresses, and nothing in `_meta` that would be
    dropped; `hosts`, the allowed hosts of packages and images (default: any; a leading dot matches all subdomains);
    `kinds`, the kinds of document that are checked (default: all).
    """
    document, digest = looked_at(state, command)
    verdict = excused(policy, document)
    if verdict is not None:
        return verdict
    if document is None:
        return no_document()
    publish = bool(policy.parameters.get("publish", False))
    evidence: dict[str, Any] = {"digest": digest, "publish": publish}
    if document.get("$schema") in SCHEMAS_KNOWN[:-1]:
        evidence["warnings"] = [f"`$schema` is not the current one, {SCHEMAS_KNOWN[-1]}"]
    found = _problems(document, publish=publish, hosts=policy.parameters.get("hosts"))
    return judged(found, command, rules="rules for MCP servers", evidence=evidence)


def _problems(
    document: Mapping[str, Any], *, publish: bool, hosts: Sequence[str] | None
) -> Iterator[Finding]:
    yield from _name_problems(document, publish=publish)
    yield from version_problems(document)
    yield from _schema_problems(document, publish=publish)
    yield from _text_problems(document)
    yield from _link_problems(document)
    yield from _repository_problems(document, publish=publish)
    yield from _meta_problems(document, publish=publish)
    yield from package_problems(document, hosts)
    yield from _remote_problems(document, publish=publish)


def _name_problems(document: Mapping[str, Any], *, publish: bool) -> Iterator[Finding]:
    missing = list(text_problems(document, "name", "", "M1"))
    if missing:
        yield from missing
        return
    name = document["name"]
    fewest, most = NAME_CHARACTERS
    namespace, _, rest = name.partition("/")
    if not fewest <= len(name) <= most:
        yield Finding("/name", "M1", f"`name` has {fewest} to {most} characters, not {len(name):,}")
    elif name.count("/") != 1:
        problem = f"`name` must be namespace/name with one slash, not {shown(name)}"
        yield Finding("/name", "M1", problem)
    elif not _NAMESPACE.fullmatch(namespace):
        problem = f"the namespace must be two or more of A-Z a-z 0-9 . - and begin and end with a letter or digit, not {namespace!r}"
        yield Finding("/name", "M1", problem)
    elif not _NAME.fullmatch(rest):
        problem = f"the name after the slash must be two or more of A-Z a-z 0-9 . _ - and begin and end with a letter or digit, not {rest!r}"
        yield Finding("/name", "M1", problem)
    elif publish and not _is_domain(namespace):
        problem = f"the namespace must be a domain from its end, such as com.example or io.github.user, not {namespace!r}"
        yield Finding("/name", "M2", problem)


def _is_domain(namespace: str) -> bool:
    labels = namespace.split(".")
    return len(labels) > 1 and all(_DOMAIN_LABEL.fullmatch(label) for label in labels)


def _schema_problems(document: Mapping[str, Any], *, publish: bool) -> Iterator[Finding]:
    schema = document.get("$schema")
    if "$schema" not in document:
        if publish:
            yield Finding("/$schema", "M14", f"`$schema` is required, such as {SCHEMAS_KNOWN[-1]}")
    elif host_of(schema) is None:
        yield Finding("/$schema", "M14", f"`$schema` must be the URL of a schema, not {shown(schema)}")
    elif publish and schema not in SCHEMAS_KNOWN:
        problem = (
            f"`$schema` must be one that was published, such as {SCHEMAS_KNOWN[-1]}, not {shown(schema)}"
        )
        yield Finding("/$schema", "M14", problem)


def _text_problems(document: Mapping[str, Any]) -> Iterator[Finding]:
    for name in ("description", "title"):
        if name == "title" and name not in document:
            continue
        wrong = list(text_problems(document, name, "", "M10"))
        if not wrong and len(document[name]) > TEXT_CHARACTERS_MAX:
            problem = f"`{name}` has 1 to {TEXT_CHARACTERS_MAX} characters, not {len(document[name]):,}"
            wrong.append(Finding(f"/{name}", "M10", problem))
        yield from wrong


def _link_problems(document: Mapping[str, Any]) -> Iterator[Finding]:
    if "websiteUrl" in document:
        yield from _https_problems(document["websiteUrl"], "/websiteUrl", "websiteUrl")
    for at, icon in listed(document, "icons", "", "M10"):
        if isinstance(icon, Finding):
            yield icon
        else:
            yield from _https_problems(icon.get("src", ABSENT), f"{at}/src", "src")


def _https_problems(url: object, at: str, name: str) -> Iterator[Finding]:
    if host_of(url, ("https",)) is None:
        yield Finding(at, "M10", f"`{name}` must be an https URL, not {shown(url)}")


def _repository_problems(document: Mapping[str, Any], *, publish: bool) -> Iterator[Finding]:
    repository = document.get("repository")
    if repository is None:
        return
    if not isinstance(repository, Mapping):
        yield Finding("/repository", "M10", f"`repository` must be an object, not {shown(repository)}")
        return
    url, source, subfolder = (repository.get(name, ABSENT) for name in ("url", "source", "subfolder"))
    if subfolder not in (ABSENT, "") and not _is_clean(subfolder):
        problem = f"`subfolder` must be a path from the top of the repository without . and .., not {shown(subfolder)}"
        yield Finding("/repository/subfolder", "M10", problem)
    if url in (ABSENT, "") and source in (ABSENT, ""):
        return  # the registry treats an empty repository as none
    if not isinstance(source, str) or not source or (publish and source not in _REPOSITORIES):
        wanted = "github or gitlab" if publish else "named, such as github"
        problem = f"the source of a repository must be {wanted}, not {shown(source)}"
        yield Finding("/repository/source", "M10", problem)
    pattern = _REPOSITORIES.get(source) if isinstance(source, str) else None
    if pattern is not None and not (isinstance(url, str) and pattern.fullmatch(url)):
        problem = f"the URL of a repository on {source} must be https://{source}.com/OWNER/REPOSITORY, not {shown(url)}"
        yield Finding("/repository/url", "M10", problem)
    elif host_of(url) is None:
        yield Finding("/repository/url", "M10", f"the URL of a repository must be one, not {shown(url)}")


def _is_clean(path: object) -> bool:
    return (
        isinstance(path, str)
        and _SUBFOLDER.fullmatch(path) is not None
        and not {".", ".."} & set(path.split("/"))
    )


def _meta_problems(document: Mapping[str, Any], *, publish: bool) -> Iterator[Finding]:
    meta = document.get("_meta", {})
    if not isinstance(meta, Mapping):
        yield Finding("/_meta", "M11", f"`_meta` must be an object, not {shown(meta)}")
        return
    said = meta.get(PUBLISHER_KEY, {})
    at = "/_meta/" + PUBLISHER_KEY.replace("/", "~1")
    if not isinstance(said, Mapping):
        yield Finding(at, "M11", f"publisher-provided metadata must be an object, not {shown(said)}")
    elif (size_bytes := len(orjson.dumps(said))) > PUBLISHER_BYTES_MAX:
        problem = f"publisher-provided metadata has at most {PUBLISHER_BYTES_MAX:,} bytes as JSON, not {size_bytes:,}"
        yield Finding(at, "M11", problem)
    dropped = [name for name in meta if name != PUBLISHER_KEY]
    if publish and dropped:
        problem = f"the public registry keeps {PUBLISHER_KEY} only, and would drop {shown(dropped[0])}"
        yield Finding(
            "/_meta", "M11", problem + (f" and {len(dropped) - 1} more" if len(dropped) > 1 else "")
        )


def _remote_problems(document: Mapping[str, Any], *, publish: bool) -> Iterator[Finding]:
    for at, remote in listed(document, "remotes", "", "M15"):
        if isinstance(remote, Finding):
            yield remote
            continue
        type = remote.get("type", ABSENT)
        if type not in ("streamable-http", "sse"):
            problem = f"the type of a remote must be streamable-http or sse, not {shown(type)}"
            yield Finding(f"{at}/type", "M15", problem)
        variables = remote.get("variables")
        declared = set(variables) if isinstance(variables, Mapping) else set()
        yield from url_problems(remote, at, declared, remote=True, publish=publish)
