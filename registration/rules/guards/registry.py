"""The guards by name: built-in guards, guards passed by a program, and installed guards.

An installed guard is an entry point of the group ``registration.guards``. Nothing is loaded before it is needed, neither
a guard's module nor the list of installed packages.

A guard of either kind may have an attribute `parameters`, a `Parameter` by name, and each use of it is
validated against that. A guard without one accepts any parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, assert_never, cast

from registration.core.decider import nearest
from registration.core.facts import OF_ALIASES
from registration.errors import InvalidArgument
from registration.rules.guards.findings import shortened
from registration.values.names import LATEST, is_alias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registration.core.policy import Guard

ENTRY_POINTS = "registration.guards"


@dataclass(frozen=True, slots=True)
class Parameter:
    """The type of a parameter.

    type: ``flag`` is true or false; ``count`` an integer from `least`; ``text`` is not empty; ``pattern`` is a Python
    regular expression; ``texts`` is a list of texts, at least one; ``counts`` is a table from text to integers from
    `least`. choices: the allowed texts, if restricted. default: the value if it is not given. about: what it is for, in a clause.
    """

    type: Literal["flag", "count", "text", "pattern", "texts", "counts"]
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int = 1
    default: Any = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class GuardKind:
    """A built-in guard. guard: ``module:function``, loaded on demand. summary: one line for people."""

    guard: str
    summary: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict, hash=False)


_KINDS = {
    "kinds": Parameter("texts", about="the kinds of documents that are checked, of [[kinds]]; default: all")
}

BUILTIN: Mapping[str, GuardKind] = {
    "reason_given": GuardKind("registration.rules.guards.builtin:reason_given", "a reason is given"),
    "role": GuardKind(
        "registration.rules.guards.builtin:role",
        "the actor has one of the roles in `any`",
        {
            "any": Parameter(
                "texts", required=True, about="the roles of which the actor needs one, of [roles]"
            )
        },
    ),
    "not_the_author": GuardKind(
        "registration.rules.guards.builtin:not_the_author",
        "the actor did not submit the document, or any document of the manifest",
        {
            "scope": Parameter(
                "text",
                choices=("document", "manifest"),
                default="document",
                about="whose author counts: of the current document, or of any document of the manifest",
            )
        },
    ),
    "approvals": GuardKind(
        "registration.rules.guards.builtin:approvals",
        "enough people approved this document, in total and by role",
        {
            "count": Parameter("count", default=1, about="how many people have approved this document"),
            "roles": Parameter("counts", about="by role, how many of them have it"),
            "held": Parameter(
                "text",
                choices=("now", "then"),
                default="now",
                about="when an approver has the role: today, or when approving",
            ),
            "action": Parameter("text", default="approve", about="the action that approves, for the advice"),
        },
    ),
    "schema": GuardKind(
        "registration.rules.guards.schema:document_valid",
        "the document is valid against the JSON Schema of its kind",
        {
            "required": Parameter(
                "flag", default=False, about="refuse documents of no kind, and of kinds without a JSON Schema"
            )
        },
    ),
    "name": GuardKind(
        "registration.rules.guards.names:name_well_formed",
        "the document has a name, and it matches the manifest's id",
        {
            "pattern": Parameter("pattern", about="what the whole name must match"),
            "characters_min": Parameter("count", default=1, about="the shortest name"),
            "characters_max": Parameter("count", default=200, about="the longest name"),
            **_KINDS,
        },
    ),
    "version": GuardKind(
        "registration.rules.guards.names:version_well_formed",
        "the document has one version: neither a range nor `latest`",
        {
            "semver": Parameter("flag", default=False, about="the version must be Semantic Versioning 2.0.0"),
            **_KINDS,
        },
    ),
    "mcp_server": GuardKind(
        "registration.rules.guards.mcp:mcp_server",
        "the document is an MCP server that the MCP registry accepts",
        {
            "publish": Parameter(
                "flag", default=False, about="the rules of the public MCP registry apply as well"
            ),
            "hosts": Parameter(
                "texts", about="the hosts of packages and images; .example.org is all below it; default: any"
            ),
            **_KINDS,
        },
    ),
    "a2a_agent_card": GuardKind(
        "registration.rules.guards.a2a:a2a_agent_card",
        "the document is an A2A agent card, of v1.0 or v0.3",
        _KINDS,
    ),
    "a2a_card_compatible": GuardKind(
        "registration.rules.guards.a2a:a2a_card_compatible",
        "a revised A2A agent card removes nothing",
        _KINDS,
    ),
}


OF_AN_ALIAS = ("reason_given", "role")
"""The built-in guards that say something about a change of an alias: the others are about a manifest's document."""


def guard_of(name: str, extra: Mapping[str, Guard] | None = None) -> Guard:
    """The guard of a name: a built-in one, then one of `extra`, then an installed one.

    Raises:
        InvalidArgument: when there is none, when it can't be loaded, or when two installed guards have this name.
    """
    if name in BUILTIN:
        module, _, function = BUILTIN[name].guard.partition(":")
        return cast("Guard", getattr(import_module(module), function))
    if extra and name in extra:
        return extra[name]
    return _installed(name, extra)


def known_names(extra: Mapping[str, Guard] | None = None) -> list[str]:
    """The names of all guards, sorted; this scans all installed packages, which is slow."""
    from importlib.metadata import entry_points  # noqa: PLC0415  # what is installed is looked through on request only

    installed = {point.name for point in entry_points(group=ENTRY_POINTS)}
    return sorted({*BUILTIN, *(extra or {}), *installed})


def kind_of(name: str, extra: Mapping[str, Guard] | None = None) -> GuardKind:
    """The description of a guard: a built-in one, one of `extra`, or an installed one; of the latter two, their docstrings.

    Raises:
        InvalidArgument: as `guard_of`.
    """
    if name in BUILTIN:
        return BUILTIN[name]
    guard = guard_of(name, extra)
    told = (getattr(guard, "__doc__", None) or "no description").strip().splitlines()[0]
    known = getattr(guard, "parameters", None)
    parameters = {str(said): one for said, one in known.items()} if isinstance(known, Mapping) else {}
    return GuardKind(f"{getattr(guard, '__module__', '')}:{name}", told, parameters)


def problems_of_use(
    name: str, parameters: Mapping[str, Any], extra: Mapping[str, Guard] | None = None
) -> list[str]:
    """All problems of a use of a guard; empty if it can be asked with these parameters.

    Each begins with its position in the use: ``guard:``, or the name of a parameter.
    """
    if name in BUILTIN:
        known: object = BUILTIN[name].parameters
    else:
        try:
            known = getattr(guard_of(name, extra), "parameters", None)
        except InvalidArgument as error:
            return [f"guard: {error}"]
    if not isinstance(known, Mapping):
        return []
    found = [
        f"{said}: the guard {name!r} has no such parameter.{nearest(said, known)} {_those_there_are(known)}"
        for said in parameters
        if said not in known
    ]
    for said, parameter in known.items():
        if not isinstance(parameter, Parameter):
            found.append(f"{said}: the guard {name!r} declares this without a `Parameter`")
        elif said in parameters:
            found += _problems_of(said, parameters[said], parameter)
        elif parameter.required:
            found.append(f"{said}: it is required: {expected(parameter)}")
    return found or _crossed(parameters, known)


def problems_of_alias_use(
    name: str, parameters: Mapping[str, Any], extra: Mapping[str, Guard] | None = None
) -> list[str]:
    """All problems of a use of a guard for the actions of an alias, as `problems_of_use`; its parameters may name the aliases."""
    found = []
    if name in BUILTIN and name not in OF_AN_ALIAS:
        found.append(
            f"guard: {name!r} is about the document of a manifest, and an alias has none. "
            f"For an alias there are {' and '.join(map(repr, OF_AN_ALIAS))}"
        )
    rest = dict(parameters)
    if OF_ALIASES in rest:
        aliases = rest.pop(OF_ALIASES)
        if not _is_of(aliases, Parameter("texts")):
            found.append(f"{OF_ALIASES}: it must be a list of aliases, such as ['stable']")
        else:
            found += [
                f"{OF_ALIASES}: `{LATEST}` moves by itself, with each registration: guard `register`"
                if alias == LATEST
                else f"{OF_ALIASES}: {shortened(repr(alias))} is an invalid alias"
                for alias in aliases
                if alias == LATEST or not is_alias(alias)
            ]
    return found + problems_of_use(name, rest, extra)


def _installed(name: str, extra: Mapping[str, Guard] | None) -> Guard:
    from importlib.metadata import entry_points  # noqa: PLC0415  # as above

    points = {point.value: point for point in entry_points(group=ENTRY_POINTS, name=name)}
    if not points:
        known = known_names(extra)
        raise InvalidArgument(
            f"There is no guard {name!r}.{nearest(name, known)}",
            f"The guards are {', '.join(known)}.",
            guard=name,
            guards=known,
        )
    if len(points) > 1:
        raise InvalidArgument(
            f"More than one guard {name!r} is installed: {', '.join(sorted(points))}.",
            "Uninstall all but one.",
            guard=name,
            found=sorted(points),
        )
    ((value, point),) = points.items()
    try:
        guard = point.load()
    except Exception as error:  # loading runs foreign code
        raise InvalidArgument(
            f"The guard {name!r} can't be loaded from {value!r}: {type(error).__name__}: {error}.",
            "Fix its package, or reinstall it.",
            guard=name,
            found=value,
        ) from error
    if not callable(guard):
        raise InvalidArgument(f"The guard {name!r} is not a function: {value!r}.", guard=name, found=value)
    return cast("Guard", guard)


def _those_there_are(known: Iterable[str]) -> str:
    listed = ", ".join(known)
    return f"It has {listed}." if listed else "It has none."


def _problems_of(name: str, value: Any, parameter: Parameter) -> list[str]:
    if not _is_of(value, parameter):
        return [f"{name}: it must be {expected(parameter)}, not {shortened(repr(value))}"]
    if parameter.type == "pattern":
        try:
            re.compile(value)
        except re.error as error:
            return [f"{name}: {shortened(repr(value))} is not a valid Python regular expression: {error}"]
    return []


def _is_of(value: Any, parameter: Parameter) -> bool:
    match parameter.type:
        case "flag":
            return isinstance(value, bool)
        case "count":
            return _is_count(value, parameter.least)
        case "text" | "pattern":
            return _is_text(value) and (not parameter.choices or value in parameter.choices)
        case "texts":
            return isinstance(value, list | tuple) and bool(value) and all(map(_is_text, value))
        case "counts":
            return isinstance(value, Mapping) and all(
                _is_text(key) and _is_count(number, parameter.least) for key, number in value.items()
            )
        case other:
            assert_never(other)


def _is_count(value: object, least: int) -> bool:
    # True is an integer to Python, but is never meant as 1.
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def expected(parameter: Parameter) -> str:
    """The values that a parameter takes, in words."""
    if parameter.choices:
        return " or ".join(map(repr, parameter.choices))
    return {
        "flag": "true or false",
        "count": f"an integer from {parameter.least}",
        "text": "text",
        "pattern": "a regular expression",
        "texts": "a list of texts, with at least one",
        "counts": f"a table from text to integers from {parameter.least}",
    }[parameter.type]


def _crossed(parameters: Mapping[str, Any], known: Mapping[str, Parameter]) -> list[str]:
    """Bounds that exclude everything: a parameter ``…_min`` above its ``…_max``, as given or by default."""
    found = []
    for lower, bound in known.items():
        upper = lower.removesuffix("_min") + "_max"
        if lower.endswith("_min") and upper in known:
            fewest = parameters.get(lower, bound.default)
            most = parameters.get(upper, known[upper].default)
            if fewest is not None and most is not None and fewest > most:
                found.append(f"{lower}: it is {fewest}, above {upper}, which is {most}")
    return found
