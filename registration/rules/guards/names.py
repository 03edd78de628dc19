"""Guards on the name and version of a document.

The rule for versions is M4 of real registries (modelcontextprotocol/registry,
``internal/validators``); Semantic Versioning 2.0.0 is at https://semver.org.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registration.core.policy import Verdict
from registration.errors import InvalidDocument
from registration.rules.guards.findings import (
    Finding,
    excused,
    judged,
    looked_at,
    no_document,
    shortened,
    shown,
    text_problems,
)
from registration.values.ids import id_from_document
from registration.values.names import SEMVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.core.policy import Policy
    from registration.values.commands import Command
    from registration.values.events import StateSnapshot

CHARACTERS_MIN = 1
CHARACTERS_MAX = 200
VERSION_CHARACTERS_MAX = 255
"""As in the JSON Schema of MCP servers."""

_COMPARED = re.compile(r"(^|[\s,|])([~^<>=]|!=)")
_FROM_TO = re.compile(r"^v?\d\S*\s+-\s+v?\d", re.IGNORECASE)
_NUMBER = re.compile(r"v?\d+", re.ASCII | re.IGNORECASE)


def name_well_formed(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """The document has a name, and the manifest's id is the one derived from the document.

    An id can only be taken once, so a name and a version can only be registered once, too (M3).

    Parameters: `pattern`, a regular expression that the whole name must match; `characters_min` (1) and
    `characters_max` (200); `kinds`, the kinds of document that are checked (default: all).
    """
    document, digest = looked_at(state, command)
    verdict = excused(policy, document)
    if verdict is not None:
        return verdict
    if document is None:
        return no_document()
    said, id_problems = _own_id(document, command.stream)
    found = [*_name_problems(document, policy.parameters), *id_problems]
    evidence = {
        "digest": digest,
        "name": _evident(document, "name"),
        "manifest_id": command.stream,
        "own_id": said,
    }
    remedy = f"Create it as {said!r}, or correct its name and version." if said and id_problems else None
    return judged(found, command, rules="rules for names", evidence=evidence, remedy=remedy)


def version_well_formed(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """The document has one version: neither `latest` nor a range (M4).

    Parameters: `semver`, whether it must be Semantic Versioning 2.0.0 as well (default false); `kinds`, the kinds of
    document that are checked (default: all).
    """
    document, digest = looked_at(state, command)
    verdict = excused(policy, document)
    if verdict is not None:
        return verdict
    if document is None:
        return no_document()
    found = version_problems(document, semver=bool(policy.parameters.get("semver", False)))
    evidence = {"digest": digest, "version": _evident(document, "version")}
    return judged(found, command, rules="rules for versions", evidence=evidence)


def version_problems(owner: Mapping[str, Any], at: str = "", *, semver: bool = False) -> Iterator[Finding]:
    """The problems of the member `version` of a document, or of a part of it. at: the pointer of that part."""
    missing = list(text_problems(owner, "version", at, "M4"))
    if missing:
        yield from missing
        return
    version, place = owner["version"], f"{at}/version"
    if len(version) > VERSION_CHARACTERS_MAX:
        problem = f"`version` has at most {VERSION_CHARACTERS_MAX} characters, not {len(version):,}"
        yield Finding(place, "M4", problem)
    elif version.strip().casefold() == "latest":
        yield Finding(
            place, "M4", f"`version` must name one version, and {version!r} names whichever is last"
        )
    elif (range_of := _range_in(version.strip())) is not None:
        problem = f"`version` must name one version, and {shown(version)} is a range ({range_of})"
        yield Finding(place, "M4", problem)
    elif semver and not SEMVER.fullmatch(version):
        problem = f"`version` must be Semantic Versioning 2.0.0, such as '1.0.2', not {shown(version)}"
        yield Finding(place, "semver", problem)


def _range_in(version: str) -> str | None:
    """The reason that a version is a range; None if it is not."""
    if "||" in version:
        return "it has `||`"
    if _COMPARED.search(version):
        return "it compares"
    if _FROM_TO.match(version):
        return "it goes from one version to another"
    # `1.2.3-x.7` is a pre-release named x.7: only the part before it can contain a wildcard.
    core = re.split(r"[-+]", version, maxsplit=1)[0].split(".")
    stands_for_any = "*" in version or (
        any(part in ("x", "X") for part in core) and (core[0] in ("x", "X") or _NUMBER.fullmatch(core[0]))
    )
    return "it has a wildcard" if stands_for_any else None


def _name_problems(document: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[Finding]:
    missing = list(text_problems(document, "name", "", "name"))
    if missing:
        yield from missing
        return
    name, pattern = document["name"], asked.get("pattern")
    fewest, most = asked.get("characters_min", CHARACTERS_MIN), asked.get("characters_max", CHARACTERS_MAX)
    if not fewest <= len(name) <= most:
        problem = f"`name` has {fewest} to {most} characters, not {len(name):,}: {shown(name)}"
        yield Finding("/name", "name", problem)
    # The pattern comes last: over a text without bounds it could take long.
    elif pattern is not None and not re.fullmatch(pattern, name):
        problem = f"`name` must match {shortened(pattern)} as a whole, and {shown(name)} doesn't"
        yield Finding("/name", "name", problem)


def _own_id(document: Mapping[str, Any], manifest_id: str) -> tuple[str | None, list[Finding]]:
    """The id derived from a document, None if there is none; and its problems."""
    name = document.get("name")
    if not isinstance(name, str) or not name.strip():
        return None, []  # reported as a problem of the name
    try:
        said = id_from_document(document)
    except InvalidDocument as error:
        return None, [Finding("/name", "M3", error.details["problems"][0])]
    if said == manifest_id:
        return said, []
    problem = f"the document calls itself {said!r}, and the manifest is called {manifest_id!r}"
    return said, [Finding("/name", "M3", problem)]


def _evident(document: Mapping[str, Any], name: str) -> Any:
    """A member for the evidence: text, truncated if it is long, and nothing else."""
    value = document.get(name)
    return shortened(value) if isinstance(value, str) else None
