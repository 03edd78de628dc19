"""The guards by their names: those that are built in, those that a program gives, and those that are installed.

An installed guard is an entry point of the group ``registration.guards``. Nothing is loaded before it is asked for, neither
a guard's module nor the list of what is installed.

A guard of either kind may carry an attribute `parameters`, by name what each has to be (`Parameter`), and a use of it is
checked against that. One that carries none is used with any parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, assert_never, cast

from registration.core.decider import nearest
from registration.errors import InvalidArgument
from registration.rules.guards.findings import shortened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registration.core.policy import Guard

ENTRY_POINTS = "registration.guards"


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a parameter has to be.

    type: ``flag`` is true or false; ``count`` an integer from `least`; ``text`` isn't empty; ``pattern`` is a regular
    expression of Python; ``texts`` is a list of texts, at least one; ``counts`` is a table from text to integers from
    `least`. choices: the only texts there are, where there are any. default: what stands where nothing is said.
    """

    type: Literal["flag", "count", "text", "pattern", "texts", "counts"]
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int = 1
    default: Any = None


@dataclass(frozen=True, slots=True)
class GuardKind:
    """A guard that is built in. guard: ``module:function``, loaded when it is asked for. summary: one line for people."""

    guard: str
    summary: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict, hash=False)


_KINDS = {"kinds": Parameter("texts")}

BUILTIN: Mapping[str, GuardKind] = {
    "reason_given": GuardKind("registration.rules.guards.builtin:reason_given", "somebody says why"),
    "role": GuardKind(
        "registration.rules.guards.builtin:role",
        "the actor has one of the roles in `any`",
        {"any": Parameter("texts", required=True)},
    ),
    "not_the_author": GuardKind(
        "registration.rules.guards.builtin:not_the_author",
        "the actor is not who brought the document, or any document of the manifest",
        {"scope": Parameter("text", choices=("document", "manifest"), default="document")},
    ),
    "approvals": GuardKind(
        "registration.rules.guards.builtin:approvals",
        "enough people approved this very document, in all and by role",
        {
            "count": Parameter("count", default=1),
            "roles": Parameter("counts"),
            "action": Parameter("text", default="approve"),
        },
    ),
    "schema": GuardKind(
        "registration.rules.guards.schema:document_valid",
        "the document is valid against the JSON Schema of its kind",
        {"required": Parameter("flag", default=False)},
    ),
    "name": GuardKind(
        "registration.rules.guards.names:name_well_formed",
        "the document has a name, and gives itself the id that the manifest has",
        {
            "pattern": Parameter("pattern"),
            "characters_min": Parameter("count", default=1),
            "characters_max": Parameter("count", default=200),
            **_KINDS,
        },
    ),
    "version": GuardKind(
        "registration.rules.guards.names:version_well_formed",
        "the document has one version: neither a range nor `latest`",
        {"semver": Parameter("flag", default=False), **_KINDS},
    ),
    "mcp_server": GuardKind(
        "registration.rules.guards.mcp:mcp_server",
        "the document is an MCP server as the MCP registry takes one",
        {"publish": Parameter("flag", default=False), "hosts": Parameter("texts"), **_KINDS},
    ),
    "a2a_agent_card": GuardKind(
        "registration.rules.guards.a2a:a2a_agent_card",
        "the document is an A2A agent card, of v1.0 or v0.3",
        _KINDS,
    ),
    "a2a_card_compatible": GuardKind(
        "registration.rules.guards.a2a:a2a_card_compatible",
        "a revised A2A agent card takes nothing back",
        _KINDS,
    ),
}


def guard_of(name: str, extra: Mapping[str, Guard] | None = None) -> Guard:
    """The guard of a name: one that is built in, then one of `extra`, then one that is installed.

    Raises:
        InvalidArgument: when there is none, when it can't be loaded, or when two that are installed have this name.
    """
    if name in BUILTIN:
        module, _, function = BUILTIN[name].guard.partition(":")
        return cast("Guard", getattr(import_module(module), function))
    if extra and name in extra:
        return extra[name]
    return _installed(name, extra)


def known_names(extra: Mapping[str, Guard] | None = None) -> list[str]:
    """The names of all guards, sorted; this looks through what is installed, and takes as long."""
    from importlib.metadata import entry_points  # noqa: PLC0415  # what is installed is looked through on request only

    installed = {point.name for point in entry_points(group=ENTRY_POINTS)}
    return sorted({*BUILTIN, *(extra or {}), *installed})


def kind_of(name: str) -> GuardKind:
    """What there is to tell of a guard that is built in or installed; of the latter, what it says of itself.

    Raises:
        InvalidArgument: as `guard_of`.
    """
    if name in BUILTIN:
        return BUILTIN[name]
    guard = guard_of(name)
    told = (getattr(guard, "__doc__", None) or "it doesn't say what it does").strip().splitlines()[0]
    known = getattr(guard, "parameters", None)
    parameters = {str(said): one for said, one in known.items()} if isinstance(known, Mapping) else {}
    return GuardKind(f"{getattr(guard, '__module__', '')}:{name}", told, parameters)


def problems_of_use(
    name: str, parameters: Mapping[str, Any], extra: Mapping[str, Guard] | None = None
) -> list[str]:
    """What is wrong with a use of a guard, all of it; nothing where it can be asked with these parameters.

    Each begins with the place in the use: ``guard:``, or the name of a parameter.
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
            found.append(f"{said}: the guard {name!r} says what this has to be without a `Parameter`")
        elif said in parameters:
            found += _problems_of(said, parameters[said], parameter)
        elif parameter.required:
            found.append(f"{said}: it is required: {_expected(parameter)}")
    return found or _crossed(parameters, known)


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
            f"There is more than one guard {name!r} installed: {', '.join(sorted(points))}.",
            "Uninstall all but one.",
            guard=name,
            found=sorted(points),
        )
    ((value, point),) = points.items()
    try:
        guard = point.load()
    except Exception as error:  # whatever somebody else's module does when it is loaded
        raise InvalidArgument(
            f"The guard {name!r} can't be loaded from {value!r}: {type(error).__name__}: {error}.",
            "Mend the package that it is of, or install it again.",
            guard=name,
            found=value,
        ) from error
    if not callable(guard):
        raise InvalidArgument(f"The guard {name!r} is no function: {value!r}.", guard=name, found=value)
    return cast("Guard", guard)


def _those_there_are(known: Iterable[str]) -> str:
    listed = ", ".join(known)
    return f"It has {listed}." if listed else "It has none."


def _problems_of(name: str, value: Any, parameter: Parameter) -> list[str]:
    if not _is_of(value, parameter):
        return [f"{name}: it has to be {_expected(parameter)}, not {shortened(repr(value))}"]
    if parameter.type == "pattern":
        try:
            re.compile(value)
        except re.error as error:
            return [f"{name}: {shortened(repr(value))} is no regular expression of Python: {error}"]
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
    # True is an integer to Python, and nobody means 1 by it.
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _expected(parameter: Parameter) -> str:
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
    """Bounds that leave nothing: a parameter ``…_min`` above its ``…_max``, as given or as it is by default."""
    found = []
    for lower, bound in known.items():
        upper = lower.removesuffix("_min") + "_max"
        if lower.endswith("_min") and upper in known:
            fewest = parameters.get(lower, bound.default)
            most = parameters.get(upper, known[upper].default)
            if fewest is not None and most is not None and fewest > most:
                found.append(f"{lower}: it is {fewest}, above {upper}, which is {most}")
    return found
