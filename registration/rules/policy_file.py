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

    [actors]
    source = ["login"]                             # the actor is the operating-system user; default: any given name
    one_script = true                              # a new name has letters of one script only

    [limits]
    people = 20                                    # also revisions, bytes (of a manifest); drafts, refusals (of an actor a day)

    [governance]                                   # changes of the registry itself: policy, roster, lifecycle
    policy = { roles = ["reviewer"], four_eyes = true }

The guards' actions are those of the lifecycle, and `tag`, `untag`, `repair`, `move_alias` and `remove_alias`. A rule for the last two may
be of some aliases (`aliases = ["stable"]`); `latest` moves by itself, under no rule. `four_eyes` of a
change means that another person proposed exactly this change. A file of format 1 has the same meaning.

Every problem is reported at once, with its path in the file. The resulting policy contains the digests of the schemas
instead of their file names, so its own digest covers everything that it demands; the roster has a digest of its own. Neither
depends on the order of names in a set. The form of the file is in `registration.rules.policy_form`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from registration.core.chart import GuardUse
from registration.core.chart_problems import in_one_line
from registration.core.decider import nearest
from registration.core.facts import ALIAS_ACTIONS, GOVERNED, TAGGING
from registration.core.policy import CHANGES, Guard, Kind, Limits, Policy
from registration.errors import InvalidDocument, InvalidPolicy
from registration.rules.guards.registry import BUILTIN, guard_of, problems_of_alias_use, problems_of_use
from registration.rules.policy_data import canonical
from registration.rules.policy_form import (
    FORMAT,
    SOURCES,
    ChangeTable,
    KindTable,
    PolicyTable,
    UseTable,
    formed,
)
from registration.values.documents import Document, check_document, parse_document
from registration.values.people import name_problems, person, script_problem

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
    said = _tables(raw, source)
    problems = list(_name_problems(said))
    schemas: dict[str, Any] = {}
    kinds = tuple(
        _kind(f"kinds[{index}]", kind, read, schemas, problems) for index, kind in enumerate(said.kinds)
    )
    uses: dict[str, list[GuardUse]] = {}
    for index, use in enumerate(said.guards):
        path = f"guards[{index}]"
        problems += [f"{path}.{problem}" for problem in _problems_of(use, said, chart, guards)]
        for action in dict.fromkeys(use.actions):
            uses.setdefault(action, []).append(GuardUse(use.guard, dict(use.model_extra or {})))
    problems += _unknown("claims.exclusive", said.claims.exclusive or (), chart, TAGGING)
    problems += _source_problems(said.actors.source or ())
    governance: dict[str, tuple[GuardUse, ...]] = {}
    for change in CHANGES:
        demanded: ChangeTable | None = getattr(said.governance, change)
        if demanded is not None:
            problems += [f"governance.{change}{problem}" for problem in _change_problems(demanded, said)]
            governance[change] = _demanded(demanded)
    if problems:
        raise _refused(source, problems)
    asked = {use.guard for use in said.guards} | {use.name for found in governance.values() for use in found}
    return Policy(
        format=FORMAT,
        name=said.name,
        roles={role: tuple(sorted(one_each(people))) for role, people in said.roles.items()},
        kinds=kinds,
        schemas=schemas,
        uses=canonical({action: tuple(found) for action, found in uses.items()}),
        guards={name: guard_of(name, guards) for name in sorted(asked)},
        log_refusals=said.refusals.log,
        exclusive=None if said.claims.exclusive is None else tuple(sorted(set(said.claims.exclusive))),
        sources=tuple(sorted(set(said.actors.source or ()))),
        one_script=said.actors.one_script,
        limits=Limits(**said.limits.model_dump()),
        governance=canonical(governance),
    )


def _tables(raw: bytes, source: str) -> PolicyTable:
    try:
        # The form that is stored by digest is JSON; TOML also has times and dates.
        value = check_document(_toml(raw, source), source=source, size_bytes_max=POLICY_BYTES_MAX).value
    except InvalidDocument as error:
        raise _refused(source, error.details["problems"]) from None
    said, problems = formed(value)
    if said is None:
        raise _refused(source, problems)
    return said


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


def one_each(names: Iterable[str]) -> list[str]:
    """One spelling of each person: the first in the order of characters, whatever the order of the names."""
    found: dict[str, str] = {}
    for name in sorted(names):
        found.setdefault(person(name), name)
    return list(found.values())


def _name_problems(said: PolicyTable) -> Iterator[str]:
    """The people in [roles] whose names no actor may have."""
    for role, people in said.roles.items():
        for index, name in enumerate(people):
            wrong = [*name_problems(name)]
            if said.actors.one_script and (mixed := script_problem(name)) is not None:
                wrong.append(mixed)
            yield from (f"roles.{role}[{index}]: {name!r}: {problem}" for problem in wrong)


def _problems_of(
    use: UseTable, said: PolicyTable, chart: Chart, guards: Mapping[str, Guard] | None
) -> Iterator[str]:
    """The problems of one use of a guard, each with the rest of its path."""
    parameters = dict(use.model_extra or {})
    of_aliases = set(ALIAS_ACTIONS.values()) & set(use.actions)
    if of_aliases:
        yield from problems_of_alias_use(use.guard, parameters, guards)
    if len(of_aliases) < len(set(use.actions)):
        yield from problems_of_use(use.guard, parameters, guards)
    yield from _unknown("actions", use.actions, chart, (*TAGGING, *GOVERNED))
    where = "any" if use.guard == "role" else "roles"
    yield from (f"{where}: {problem}" for problem in _unknown_roles(_named(parameters, where), said))
    if use.guard in BUILTIN and "kinds" in BUILTIN[use.guard].parameters:
        # A guard only applies to documents of these kinds: with an unknown kind, never.
        kinds = [kind.name for kind in said.kinds]
        for kind in _named(parameters, "kinds"):
            if kind not in kinds:
                yield f"kinds: [[kinds]] has no {kind!r}{_meant(kind, kinds)}"


def _unknown(path: str, actions: Iterable[str], chart: Chart, besides: Iterable[str]) -> Iterator[str]:
    """The actions that neither the lifecycle has nor every lifecycle has besides."""
    known = [*(action.name for action in chart.actions), *besides]
    for action in actions:
        if action not in known:
            yield f"{path}: the lifecycle {chart.name!r} has no action {action!r}{_meant(action, known)}"


def _unknown_roles(roles: Iterable[str], said: PolicyTable) -> Iterator[str]:
    for role in roles:
        if role not in said.roles:
            yield f"[roles] has no {role!r}{_meant(role, said.roles)}"


def _source_problems(sources: Iterable[str]) -> Iterator[str]:
    for index, source in enumerate(sources):
        if source not in SOURCES:
            meant = nearest(source, SOURCES)
            yield f"actors.source[{index}]: unknown source {source!r}.{meant} There is {', '.join(SOURCES)}"


def _change_problems(said: ChangeTable, policy: PolicyTable) -> Iterator[str]:
    """The problems of what a change of the registry demands, each with the rest of its path."""
    if said.roles is None and not said.four_eyes:
        yield ": it demands nothing; give `roles` or `four_eyes = true`, or leave it out"
    yield from (f".roles: {problem}" for problem in _unknown_roles(said.roles or (), policy))


def _demanded(said: ChangeTable) -> tuple[GuardUse, ...]:
    """The guards that a change of the registry asks."""
    roles = (GuardUse("role", {"any": list(said.roles)}),) if said.roles else ()
    return (*roles, GuardUse("not_the_author")) if said.four_eyes else roles


def _meant(wanted: str, known: Iterable[str]) -> str:
    """The closest known word, as a sentence that ends the one before; or an empty string."""
    found = nearest(wanted, known)
    return f".{found}" if found else ""


def _named(parameters: Mapping[str, Any], parameter: str) -> Iterable[str]:
    """The names in a parameter that is a list or a table of them."""
    found = parameters.get(parameter)
    return [name for name in found if isinstance(name, str)] if isinstance(found, list | dict) else []


def _kind(path: str, said: KindTable, read: ReadBeside, schemas: dict[str, Any], problems: list[str]) -> Kind:
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
