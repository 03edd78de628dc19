"""Lifecycle files: a chart as TOML or JSON, written by people, validated once; all problems are reported at once.

::

    name = "tickets"

    [states.OPEN]
    [states.DONE]
    final = true

    [actions.open]
    past = "opened"
    document = true
    to = "OPEN"                        # no `from`: it creates

    [actions.finish]
    past = "finished"
    from = "OPEN"                      # or a list of states
    to = "DONE"
    guards = ["reason_given", { guard = "approvals", count = 2 }]

    [timeouts.forget]
    past = "forgotten"
    state = "OPEN"
    after = "14d"
    to = "DONE"

An action that leads to several states has ``moves = [{ from = …, to = …, guards = … }, …]`` instead of `from`, `to`
and `guards`. Arrays of tables with a `name` each are accepted as well, so the output of
`registration.core.chart_data.as_data` can be read again. The members are documented in `registration.core.chart`.

Every problem has its path in the file. There are four layers of checks, each applied if the previous one passes: the
syntax, JSON values, the form, and then the chart with its guards. A hostile file is refused quickly. This module imports
pydantic; nothing that only reads a registry imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from registration.core.chart import Action, Chart, GuardUse, State, Timeout, Transition
from registration.core.chart_data import FORMAT, as_data
from registration.core.chart_problems import GUARDS_MAX, PROBLEMS_MAX
from registration.core.decider import nearest
from registration.errors import InvalidDefinition
from registration.rules.guards.registry import problems_of_use
from registration.rules.lifecycles.file_syntax import path_of, read_json, read_toml, refused, shown, taken
from registration.rules.lifecycles.registration import CHART

if TYPE_CHECKING:
    from registration.core.policy import Guard

TITLE_CHARACTERS_MAX = 200


def parse_lifecycle(
    raw: bytes,
    *,
    source: str,
    form: Literal["toml", "json"],
    guards: Mapping[str, Guard] | None = None,
) -> dict[str, Any]:
    """The lifecycle in a file, in the data form of `registration.core.chart_data`.

    source: the file's name in errors. guards: those of the program, by name, besides the built-in and the installed ones.

    Raises:
        InvalidDefinition: listing every problem, each with its path in the file.
    """
    read = read_json if form == "json" else read_toml
    return check_lifecycle(read(raw, source), source=source, guards=guards)


def check_lifecycle(
    value: object, *, source: str, guards: Mapping[str, Guard] | None = None
) -> dict[str, Any]:
    """As `parse_lifecycle`, of values that were read already: dicts, lists, text, numbers and booleans.

    Raises:
        InvalidDefinition: as for `parse_lifecycle`.
    """
    said, problems = _formed(taken(value, source))
    if said is None:
        raise refused(source, problems)
    moves = {name: list(_moves(f"actions.{name}", action)) for name, action in said.actions.items()}
    problems = list(islice(_guard_problems(moves, guards), PROBLEMS_MAX + 1))
    try:
        chart = _chart(said, moves)
    except InvalidDefinition as error:
        problems = [*error.details["problems"], *problems]
    if problems:
        raise refused(source, problems)
    return as_data(chart, said.version)


# -- the form --------------------------------------------------------------------------------------------


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it has characters that can't be printed")
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_use(value: object) -> object:
    return {"guard": value} if isinstance(value, str) else value


_Title = Annotated[
    str,
    Field(max_length=TITLE_CHARACTERS_MAX, description="The name for people."),
    AfterValidator(_printable),
]
_Sources = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(_listed, json_schema_input_type=str | Annotated[list[str], Field(min_length=1)]),
]
_FROM = "The states that it leads from; without this, it creates."
_GUARDS = "The guards that must all agree, asked in order: names, or tables with parameters."


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _State(_Strict):
    """A state."""

    parent: str | None = Field(default=None, description="The state that contains it.")
    initial: str | None = Field(default=None, description="The child that is entered by default.")
    final: bool = Field(default=False, description="It ends its parent, or the lifecycle.")
    parallel: bool = Field(default=False, description="All its children, the regions, are active at once.")
    done: str | None = Field(
        default=None,
        description="Where it leads by itself once its child is final, or all its regions are done.",
    )
    history: bool = Field(
        default=False, description="It stands for the most recently active child of its parent."
    )
    title: _Title = ""


class _Use(_Strict, extra="allow"):
    """A guard; further members are its parameters."""

    guard: str = Field(
        description="The guard; `policy guards` lists them, and `policy explain` explains one."
    )


_Uses = list[Annotated[_Use, BeforeValidator(_as_use, json_schema_input_type=str | _Use)]]


class _Move(_Strict):
    """One of several transitions of an action."""

    sources: _Sources | None = Field(default=None, alias="from", description=_FROM)
    to: str = Field(description="The state that it leads to.")
    guards: _Uses = Field(default_factory=list, description=_GUARDS)


class _Action(_Strict):
    """An action that people can take."""

    past: str = Field(description="The word of its event, in the past tense.")
    document: bool = Field(default=False, description="It takes a document.")
    approval: bool = Field(default=False, description="Its event is an approval of the current document.")
    lapses: bool = Field(default=False, description="It ends all approvals, as a new document always does.")
    required: list[str] = Field(
        default_factory=list,
        description="What a request must have: actor, reason, comment, or context.NAME.",
    )
    undone_by: str | None = Field(default=None, description="The action that undoes it.")
    title: _Title = ""
    sources: _Sources | None = Field(default=None, alias="from", description=_FROM)
    to: str | None = Field(default=None, description="The state that it leads to.")
    guards: _Uses | None = Field(default=None, description=_GUARDS)
    moves: list[_Move] | None = Field(
        default=None, description="Several transitions, instead of `from`, `to` and `guards`."
    )
    shared: bool = Field(
        default=False, description="Other actions have the same event, and declare it as well."
    )
    claims: bool | None = Field(
        default=None, description="It claims the document's name; by default, if its event is `registered`."
    )
    releases: bool | None = Field(
        default=None, description="It releases the name; by default, if its event is `withdrawn`."
    )
    number: Any = Field(
        default=None, alias="schema", description="In printed lifecycles only: the schema of its event."
    )


class _Timeout(_Strict):
    """A transition that a state takes by itself."""

    past: str = Field(description="The word of its event, in the past tense.")
    state: str = Field(description="The state that it leads from.")
    after: str = Field(description="The time since the state was entered: 30s, 45m, 36h, 14d or 2w.")
    to: str = Field(description="The state that it leads to.")
    sliding: bool = Field(default=False, description="The time is counted from the last event instead.")
    releases: bool | None = Field(
        default=None, description="It releases the name; by default, if its event is `withdrawn`."
    )


class _File(_Strict):
    """A lifecycle: states, the actions and time-outs that lead from one to another, and the guards that must agree."""

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = Field(
        default=FORMAT, description="The format of the file."
    )
    name: str = Field(description="The first part of the type of every event.")
    version: Annotated[int, Field(ge=1)] = Field(
        default=1, description="A later version of the same name replaces an earlier one."
    )
    title: _Title = ""
    states: dict[str, _State] = Field(description="The states, by name.")
    actions: dict[str, _Action] = Field(description="The actions, by name.")
    timeouts: dict[str, _Timeout] = Field(default_factory=dict, description="The time-outs, by name.")


LIFECYCLE_TABLE: type[BaseModel] = _File
"""The form of a lifecycle file, for its JSON Schema. Arrays of tables with a `name` each are accepted as well."""


_TABLES: dict[str, type[_Strict]] = {"states": _State, "actions": _Action, "timeouts": _Timeout}


def _formed(value: dict[str, Any]) -> tuple[_File | None, list[str]]:
    """The validated file, or all problems of its form."""
    problems: list[str] = []
    tables = {what: _by_name(what, value[what], problems) for what in _TABLES if what in value}
    problems += _ambiguities(value.get("name"), tables.get("actions"))
    try:
        said = _File.model_validate({**value, **tables})
    except ValidationError as error:
        wrongs = error.errors(include_url=False)
        return None, problems + [f"{path_of(wrong['loc'])}: {_what(wrong)}" for wrong in wrongs]
    return (None if problems else said), problems


def _by_name(what: str, value: object, problems: list[str]) -> object:
    """An array of tables with a `name` each as a table of tables; anything else unchanged."""
    if not isinstance(value, list):
        return value
    found: dict[str, Any] = {}
    for index, item in enumerate(value):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(item, dict):
            problems.append(f"{what}[{index}]: it must be a table, not {shown(item)}")
        elif not isinstance(name, str):
            problems.append(f"{what}[{index}].name: it must be text")
        elif name in found:
            problems.append(f"{what}.{name}: duplicate name")
        else:
            found[name] = {member: said for member, said in item.items() if member != "name"}
    return found


def _ambiguities(lifecycle: object, actions: object) -> Iterator[str]:
    """Members of an action that are given in two forms, or in none."""
    for name, action in actions.items() if isinstance(actions, dict) else ():
        if not isinstance(action, dict):
            continue
        path, besides = (
            f"actions.{name}",
            [f"`{member}`" for member in ("from", "to", "guards") if member in action],
        )
        if "moves" in action and besides:
            yield f"{path}.moves: there is {' and '.join(besides)} as well; use one form only"
        if "moves" not in action and "to" not in action:
            yield f"{path}.to: it is missing; give the target state, or `moves`"
        # The printed form contains it if it is above 1, and can be read again.
        if "schema" in action and action["schema"] != _schema(lifecycle, action.get("past")):
            yield f"{path}.schema: it is not allowed in files; leave it out"


_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "an integer",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "greater_than_equal version": "1 or more",
    "greater_than_equal format": "1",
    "less_than_equal format": "1",
}


def _what(wrong: Any) -> str:
    """A problem that pydantic found, in our words."""
    kind, found = wrong["type"], shown(wrong["input"])
    if kind == "extra_forbidden":
        known = _members(wrong["loc"])
        return f"unknown member.{nearest(str(wrong['loc'][-1]), known)} There are {', '.join(known)}"
    if kind == "missing":
        return "it is missing"
    if kind == "too_short":
        return "it is an empty list; leave it out where the action creates"
    if kind == "string_too_long":
        return f"it has more than {TITLE_CHARACTERS_MAX} characters"
    expected = _EXPECTED.get(kind) or _EXPECTED.get(f"{kind} {wrong['loc'][-1]}")
    if expected is not None:
        return f"it must be {expected}, not {found}"
    return f"{wrong['msg'].removeprefix('Value error, ')} (found {found})"


def _members(loc: tuple[int | str, ...]) -> list[str]:
    """The members that a table may have, as named in a file."""
    model: type[_Strict] = _File
    if len(loc) > 2:
        model = _Move if len(loc) > 3 else _TABLES[str(loc[0])]
    called = [info.alias or name for name, info in model.model_fields.items()]
    return [name for name in called if name != "schema"]


# -- the chart and its guards ----------------------------------------------------------------------------


def _moves(path: str, action: _Action) -> Iterator[tuple[str, _Move]]:
    """The moves of an action, each with its path: those of `moves`, or the one of `from`, `to` and `guards`."""
    if action.moves is not None:
        for index, move in enumerate(action.moves):
            yield f"{path}.moves[{index}]", move
    elif action.to is not None:
        yield path, _Move.model_construct(sources=action.sources, to=action.to, guards=action.guards or [])


_Moves = Mapping[str, list[tuple[str, _Move]]]
"""The transitions by action, each with its path in the file."""


def _guard_problems(moves: _Moves, guards: Mapping[str, Guard] | None) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    placed = [one for those in moves.values() for one in those]
    if sum(len(move.guards) for _, move in placed) > GUARDS_MAX:
        return  # reported when the chart is built
    for path, move in placed:
        for index, use in enumerate(move.guards):
            # An unknown name is looked up among all installed packages, which is slow: once is enough.
            asked = repr((use.guard, use.model_extra))
            if asked not in found:
                found[asked] = problems_of_use(use.guard, dict(use.model_extra or {}), guards)
            yield from (f"{path}.guards[{index}].{problem}" for problem in found[asked])


def _schema(lifecycle: object, past: object) -> int:
    """The schema of an event: one that has a name of the package's own events has their current schema."""
    own = {action.past: action.schema for action in CHART.actions} if lifecycle == CHART.name else {}
    return own.get(str(past), 1)


_AS_IT_IS = {"past", "document", "approval", "lapses", "undone_by", "title", "shared", "claims", "releases"}


def _chart(said: _File, moves: _Moves) -> Chart:
    return Chart(
        name=said.name,
        title=said.title,
        states=tuple(State(name, **state.model_dump()) for name, state in said.states.items()),
        actions=tuple(
            Action(
                name,
                required=tuple(action.required),
                schema=_schema(said.name, action.past),
                **action.model_dump(include=_AS_IT_IS),
            )
            for name, action in said.actions.items()
        ),
        transitions=tuple(
            Transition(name, source, move.to, tuple(_use(use) for use in move.guards))
            for name, found in moves.items()
            for _, move in found
            for source in move.sources or (None,)
        ),
        timeouts=tuple(
            Timeout(name, one.past, one.state, one.after, one.to, one.sliding, one.releases)
            for name, one in said.timeouts.items()
        ),
    )


def _use(said: _Use) -> GuardUse:
    return GuardUse(said.guard, dict(said.model_extra or {}))
