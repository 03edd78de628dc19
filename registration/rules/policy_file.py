"""Reading `policy.toml`: the rules of a registry in addition to those of its lifecycle.

::

    name = "acme"

    [roles]
    reviewer = ["bea", "cyd"]

    [[kinds]]
    name = "mcp-server"
    match = { "/$schema" = "https://static.modelcontextprotocol.io/schemas/*" }
    schema = "schemas/mcp-server.schema.json"      # relative to this file; "…#/definitions/X" for a part of it

    [[guards]]
    guard = "approvals"
    actions = ["register"]
    count = 2

    [refusals]
    log = true

    [claims]
    exclusive = ["approve", "reject"]              # the actions that a lock reserves for its holder; default: all

Every problem is reported at once, with its path in the file. The resulting policy contains the digests of the schemas
instead of their file names, so its own digest covers everything that it demands.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registration.core.chart import GuardUse
from registration.core.chart_problems import in_one_line
from registration.core.decider import nearest
from registration.core.facts import TAGGING
from registration.core.policy import Guard, Kind, Policy
from registration.errors import InvalidDocument, InvalidPolicy
from registration.rules.guards.registry import BUILTIN, guard_of, problems_of_use
from registration.rules.lifecycles.file_syntax import path_of, shown
from registration.values.documents import Document, check_document, parse_document

if TYPE_CHECKING:
    from registration.core.chart import Chart

POLICY_BYTES_MAX = 256 * 1024
SCHEMA_BYTES_MAX = 4 * 1024 * 1024
PROBLEMS_MAX = 100

DOTS_MAX = 500
"""The maximum number of dots in a line. A dotted key costs `tomllib` quadratic time and memory in its parts."""

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")

ReadBeside = Callable[[str], bytes]
"""The bytes of a file in the policy's directory, by its relative path. Raises OSError."""

_Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Kind(_Strict):
    name: _Name
    match: dict[str, Any] = Field(min_length=1)
    schema_file: str | None = Field(default=None, alias="schema")


class _Use(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    guard: _Name
    actions: list[_Name] = Field(min_length=1)


class _Refusals(_Strict):
    log: bool = False


class _Claims(_Strict):
    exclusive: list[_Name] | None = None


class _File(_Strict):
    format: Annotated[int, Field(ge=1, le=1)] = 1
    name: str = ""
    roles: dict[_Name, list[_Name]] = Field(default_factory=dict)
    kinds: list[_Kind] = Field(default_factory=list)
    guards: list[_Use] = Field(default_factory=list)
    refusals: _Refusals = _Refusals()
    claims: _Claims = _Claims()


def parse_policy(
    raw: bytes,
    *,
    source: str,
    chart: Chart,
    read: ReadBeside,
    guards: Mapping[str, Guard] | None = None,
) -> Policy:
    """The policy in a file.

    source: the file's name in errors. chart: the lifecycle whose actions it names. read: reads the schemas in the policy's
    directory. guards: those of the program, by name, besides the built-in ones and the installed ones.

    Raises:
        InvalidPolicy: listing every problem, with its path in the file.
    """
    said = _File_of(raw, source)
    problems: list[str] = []
    schemas: dict[str, Any] = {}
    kinds = tuple(
        _kind(f"kinds[{index}]", kind, read, schemas, problems) for index, kind in enumerate(said.kinds)
    )
    uses: dict[str, list[GuardUse]] = {}
    for index, use in enumerate(said.guards):
        path = f"guards[{index}]"
        problems += [f"{path}.{problem}" for problem in _problems_of(use, said, chart, guards)]
        for action in use.actions:
            uses.setdefault(action, []).append(GuardUse(use.guard, dict(use.model_extra or {})))
    problems += _unknown_actions("claims.exclusive", said.claims.exclusive or (), chart)
    if problems:
        raise _refused(source, problems)
    return Policy(
        name=said.name,
        roles={role: tuple(actors) for role, actors in said.roles.items()},
        kinds=kinds,
        schemas=schemas,
        uses={action: tuple(found) for action, found in uses.items()},
        guards={use.guard: guard_of(use.guard, guards) for use in said.guards},
        log_refusals=said.refusals.log,
        exclusive=None if said.claims.exclusive is None else tuple(dict.fromkeys(said.claims.exclusive)),
    )


def policy_from(
    data: Mapping[str, Any],
    schema: Callable[[str], Any],
    guards: Mapping[str, Guard] | None = None,
    *,
    roster: Mapping[str, Any] | None = None,
) -> Policy:
    """The policy that was stored as `Policy.data`. schema: returns the schemas by digest. roster: as `Policy.roster_data`; format 1 has its own."""
    roles = data["roles"] if data["format"] == 1 else (roster or {}).get("roles", {})
    return Policy(
        format=data["format"],
        name=data["name"],
        roles={role: tuple(actors) for role, actors in roles.items()},
        kinds=tuple(Kind(one["name"], one["match"], one["schema"], one["pointer"]) for one in data["kinds"]),
        schemas={one["schema"]: schema(one["schema"]) for one in data["kinds"] if one["schema"] is not None},
        uses={
            action: tuple(
                GuardUse(use["guard"], {name: value for name, value in use.items() if name != "guard"})
                for use in uses
            )
            for action, uses in data["guards"].items()
        },
        guards={
            use["guard"]: guard_of(use["guard"], guards) for uses in data["guards"].values() for use in uses
        },
        log_refusals=data["log_refusals"],
        exclusive=tuple(data["claims"]["exclusive"]) if "claims" in data else None,
    )


def _File_of(raw: bytes, source: str) -> _File:  # noqa: N802  # what it gives is a _File
    try:
        # The form that is stored by digest is JSON; TOML also has times and dates.
        value = check_document(_toml(raw, source), source=source, size_bytes_max=POLICY_BYTES_MAX).value
        return _File.model_validate(value)
    except InvalidDocument as error:
        problems = error.details["problems"]
    except ValidationError as error:
        problems = [_wrong(wrong) for wrong in error.errors(include_url=False)]
    raise _refused(source, problems) from None


def _toml(raw: bytes, source: str) -> dict[str, Any]:
    if len(raw) > POLICY_BYTES_MAX:
        raise _refused(source, [f"it has more than {POLICY_BYTES_MAX:,} bytes"])
    if raw.startswith(b"\xef\xbb\xbf"):
        raise _refused(source, ["it begins with a byte order mark; save it as UTF-8 without a BOM"])
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if line.count(b".") > DOTS_MAX:
            raise _refused(source, [f"line {number} has more than {DOTS_MAX} dots; break it up"])
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8 ({error.reason})"
    except tomllib.TOMLDecodeError as error:
        problem = f"it is not TOML: {error}"
    except RecursionError:
        problem = "it is nested too deep"
    except ValueError:  # Python refuses to convert integers of thousands of digits
        problem = "it has a number of thousands of digits"
    raise _refused(source, [problem])


def _refused(source: str, problems: list[str]) -> InvalidPolicy:
    told = [in_one_line(problem) for problem in problems[:PROBLEMS_MAX]]
    return InvalidPolicy(source, told + ["and more"] * (len(problems) > PROBLEMS_MAX))


def _problems_of(use: _Use, said: _File, chart: Chart, guards: Mapping[str, Guard] | None) -> Iterator[str]:
    """The problems of one use of a guard, each with the rest of its path."""
    parameters = dict(use.model_extra or {})
    yield from problems_of_use(use.guard, parameters, guards)
    yield from _unknown_actions("actions", use.actions, chart)
    for role in _named(parameters, "any" if use.guard == "role" else "roles"):
        if role not in said.roles:
            where = "any" if use.guard == "role" else "roles"
            yield f"{where}: [roles] has no {role!r}{_meant(role, said.roles)}"
    if use.guard in BUILTIN and "kinds" in BUILTIN[use.guard].parameters:
        # A guard only applies to documents of these kinds: with an unknown kind, never.
        kinds = [kind.name for kind in said.kinds]
        for kind in _named(parameters, "kinds"):
            if kind not in kinds:
                yield f"kinds: [[kinds]] has no {kind!r}{_meant(kind, kinds)}"


def _unknown_actions(path: str, actions: Iterable[str], chart: Chart) -> Iterator[str]:
    known = [*(action.name for action in chart.actions), *TAGGING]
    for action in actions:
        if action not in known:
            yield f"{path}: the lifecycle {chart.name!r} has no action {action!r}{_meant(action, known)}"


def _meant(wanted: str, known: Iterable[str]) -> str:
    """The closest known word, as a sentence that ends the one before; or an empty string."""
    found = nearest(wanted, known)
    return f".{found}" if found else ""


def _named(parameters: Mapping[str, Any], parameter: str) -> Iterable[str]:
    """The names in a parameter that is a list or a table of them."""
    found = parameters.get(parameter)
    return [name for name in found if isinstance(name, str)] if isinstance(found, list | dict) else []


def _kind(path: str, said: _Kind, read: ReadBeside, schemas: dict[str, Any], problems: list[str]) -> Kind:
    for wanted in said.match:
        if not _POINTER.fullmatch(wanted):
            right = "a ~ is ~0 and a / in a name ~1" if wanted.startswith("/") else f"write it as '/{wanted}'"
            problems.append(f"{path}.match: {wanted!r} is not a JSON Pointer; {right}")
    if said.schema_file is None:
        return Kind(said.name, said.match)
    name, _, below = said.schema_file.partition("#")
    found, wrong = _schema(name, below, read)
    problems += [f"{path}.schema: {problem}" for problem in wrong]
    if found is None:
        return Kind(said.name, said.match)
    schemas[found.digest] = found.value
    return Kind(said.name, said.match, found.digest, below)


def _schema(name: str, below: str, read: ReadBeside) -> tuple[Document | None, list[str]]:
    """The JSON Schema in a file of the policy's directory, and its problems. below: the pointer to a definition in it."""
    from registration.rules.guards.schema import check_schema  # noqa: PLC0415  # only where there are schemas

    if not name or not name.isprintable():
        return None, [f"{name!r} is not a file name"]
    if name.startswith("/") or ".." in name.split("/"):
        return None, [f"{name!r} is not in the policy's directory; put the file there"]
    if not _POINTER.fullmatch(below):
        return None, [f"{below!r} is not a JSON Pointer; put one after the #, as in '#/$defs/name'"]
    try:
        document = parse_document(read(name), source=name, size_bytes_max=SCHEMA_BYTES_MAX)
    except OSError as error:
        return None, [f"{name!r} can't be read: {error.strerror or error}"]
    except InvalidDocument as error:
        return None, [error.problem.rstrip(".")]
    return document, check_schema(document.value, below)


_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "an integer",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "greater_than_equal": "1",
    "less_than_equal": "1",
}


def _wrong(wrong: Any) -> str:
    """A problem of the form, in our words, with its path."""
    kind, steps, found = wrong["type"], wrong["loc"], wrong["input"]
    if steps[-1] == "[key]":
        return f"{path_of(steps[:-2])}: {shown(found)} is an invalid name; one has 1 to 200 characters"
    if kind == "extra_forbidden":
        known = _members(steps)
        what = f"unknown member.{nearest(str(steps[-1]), known)} It takes {', '.join(known)}"
    elif kind == "missing":
        what = "it is missing"
    elif kind in ("string_too_short", "string_too_long"):
        what = f"it must have 1 to 200 characters, not {len(found):,}"
    elif kind == "too_short":
        what = "it is empty"
    else:
        what = f"it must be {_EXPECTED[kind]}, not {shown(found)}"
    return f"{path_of(steps)}: {what}"


def _members(steps: tuple[int | str, ...]) -> list[str]:
    """The members of the table that contains the member at that path."""
    tables: dict[int | str, type[_Strict]] = {"refusals": _Refusals, "claims": _Claims}
    model = _File if len(steps) == 1 else tables.get(steps[0], _Kind)
    return [info.alias or name for name, info in model.model_fields.items()]
