"""The form of `policy.toml`: its tables and members, and the problems of a file that has another form.

What the members mean, and whether they fit together, is in `registration.rules.policy_file`. This module imports pydantic.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registration.core.decider import nearest
from registration.rules.lifecycles.file_syntax import path_of, shown

FORMAT = 2
"""The format that is compiled to, whatever the file says."""

SOURCES = ("login",)
"""How an actor can be known, for `[actors] source`."""

Name = Annotated[str, Field(min_length=1, max_length=200)]
_Limit = Annotated[int, Field(ge=1)] | None


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class KindTable(_Strict):
    """A kind of document, such as MCP servers. The first kind that matches counts."""

    name: Name = Field(description="Its name, for the parameter `kinds` of guards.")
    match: dict[str, Any] = Field(
        min_length=1,
        description="By JSON Pointer, the value that the document must have: a value, text with * for any characters, or true for any value.",
    )
    schema_file: str | None = Field(
        default=None,
        alias="schema",
        description="A JSON Schema in the policy's directory; with #/$defs/name, one of its definitions. The guard `schema` checks it.",
    )


class UseTable(BaseModel):
    """A guard that is asked before an action; further members are its parameters."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    guard: Name = Field(
        description="The guard; `policy guards` lists them, and `policy explain` explains one."
    )
    actions: list[Name] = Field(
        min_length=1,
        description="The actions before which it is asked: those of the lifecycle, tag, untag, repair, move_alias, remove_alias.",
    )


class RefusalsTable(_Strict):
    """Refused commands."""

    log: bool = Field(default=False, description="Whether they are recorded in refusals.jsonl.")


class ClaimsTable(_Strict):
    """Locks on manifests."""

    exclusive: list[Name] | None = Field(
        default=None, description="The actions that a lock reserves for its holder; without this, all."
    )


class ActorsTable(_Strict):
    """Who counts as the actor of a command."""

    source: list[Name] | None = Field(
        default=None,
        min_length=1,
        description='How an actor must be known. ["login"]: the actor is the operating-system user. Without this, any given name counts.',
    )
    one_script: bool = Field(
        default=False, description="Whether a new name with letters of several scripts is refused."
    )


class LimitsTable(_Strict):
    """The most that a manifest, or an actor on one day (UTC), may have; the next command is refused."""

    people: _Limit = Field(default=None, description="Approvers of a manifest, and authors of it.")
    revisions: _Limit = Field(default=None, description="Documents of a manifest.")
    bytes: _Limit = Field(default=None, description="The size of a manifest's log, in bytes.")
    drafts: _Limit = Field(default=None, description="Manifests that an actor creates in a day.")
    refusals: _Limit = Field(default=None, description="Refused commands of an actor in a day.")


class ChangeTable(_Strict):
    """What a change of the registry demands."""

    roles: list[Name] | None = Field(
        default=None, min_length=1, description="The actor has one of these roles."
    )
    four_eyes: bool = Field(
        default=False, description="Another person than the actor proposed the change (`policy propose`)."
    )


class GovernanceTable(_Strict):
    """What changes of the registry itself demand."""

    policy: ChangeTable | None = Field(
        default=None, description="Other rules are put in force (`policy apply`)."
    )
    roster: ChangeTable | None = Field(
        default=None, description="Other people get the roles of [roles] (`policy apply`)."
    )
    lifecycle: ChangeTable | None = Field(
        default=None, description="Another version of the lifecycle is put in force (`lifecycle migrate`)."
    )


class PolicyTable(_Strict):
    """The rules of a registry in addition to those of its lifecycle. They take effect when they are applied (`policy apply`)."""

    format: Annotated[int, Field(ge=1, le=FORMAT)] = Field(
        default=FORMAT, description="The format of the file: 1 or 2. All members are allowed in both."
    )
    name: str = Field(default="", description="The name of the policy.")
    roles: dict[Name, list[Name]] = Field(
        default_factory=dict, description="By role, the people who have it."
    )
    kinds: list[KindTable] = Field(default_factory=list, description="Kinds of documents, in order.")
    guards: list[UseTable] = Field(
        default_factory=list, description="Guards, in the order in which they are asked."
    )
    actors: ActorsTable = ActorsTable()
    limits: LimitsTable = LimitsTable()
    refusals: RefusalsTable = RefusalsTable()
    claims: ClaimsTable = ClaimsTable()
    governance: GovernanceTable = GovernanceTable()


def formed(value: object) -> tuple[PolicyTable | None, list[str]]:
    """The tables of a file; or every problem of its form, with its path."""
    try:
        return PolicyTable.model_validate(value), []
    except ValidationError as error:
        return None, [_wrong(wrong) for wrong in error.errors(include_url=False)]


_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "an integer",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}


def _wrong(wrong: Any) -> str:
    """A problem of the form, in our words, with its path."""
    kind, steps, found = wrong["type"], wrong["loc"], wrong["input"]
    if steps[-1] == "[key]":
        return f"{path_of(steps[:-2])}: {shown(found)} is an invalid name; one has 1 to 200 characters"
    if kind == "extra_forbidden":
        known = members(steps)
        what = f"unknown member.{nearest(str(steps[-1]), known)} It takes {', '.join(known)}"
    elif kind == "missing":
        what = "it is missing"
    elif kind in ("string_too_short", "string_too_long"):
        what = f"it must have 1 to 200 characters, not {len(found):,}"
    elif kind == "too_short":
        what = "it is empty"
    elif steps[0] == "format" and kind != "int_type":
        what = f"it must be 1 or 2, not {shown(found)}"
    elif steps[0] == "limits" and len(steps) > 1:
        what = f"it must be an integer from 1, not {shown(found)}"
    else:
        what = f"it must be {_EXPECTED[kind]}, not {shown(found)}"
    return f"{path_of(steps)}: {what}"


def members(steps: tuple[int | str, ...]) -> list[str]:
    """The members of the table that contains the member at that path."""
    model: type[BaseModel] = PolicyTable
    for step in steps[:-1]:
        if isinstance(step, str):
            model = _table(model.model_fields[step].annotation) or model
    return [info.alias or name for name, info in model.model_fields.items()]


def _table(annotation: Any) -> type[BaseModel] | None:
    """The table in an annotation: itself, that of its list, or that which may be absent."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None
