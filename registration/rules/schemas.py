"""JSON Schemas of `policy.toml` and of lifecycle files, so that editors complete and check them while they are written.

They are made of what reads the files: the tables of `registration.rules.policy_form` and `registration.rules.lifecycles.files`, and
the parameters of the built-in guards. A file that is read is valid under its schema; what no schema can tell, such as whether an
action exists or a role has members, is found by `policy check` and `lifecycle check`. This module imports pydantic.

The schema of `hooks.toml` is in `registration.feed.hooks.hook_schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from registration.core.chart_problems import NAME
from registration.core.facts import GOVERNED, OF_ALIASES, TAGGING
from registration.rules.guards.explaining import OF_SOME_ALIASES
from registration.rules.guards.registry import BUILTIN, OF_AN_ALIAS, GuardKind, Parameter
from registration.rules.lifecycles.files import LIFECYCLE_TABLE
from registration.rules.lifecycles.registration import CHART
from registration.rules.policy_form import SOURCES, PolicyTable

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT = {"type": "string", "pattern": "\\S"}
_NAME = f"^{NAME.pattern}$"
_DURATION = "^[0-9]+[smhdw]$"


class _Untitled(GenerateJsonSchema):
    """Without the titles that are made of the names of members: editors show those anyway."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # as it is declared there
        return False


def policy_schema() -> dict[str, Any]:
    """The JSON Schema of `policy.toml`. Guards that are not built in may have any parameters."""
    schema = _schema_of(PolicyTable, "policy.toml")
    tables = schema["$defs"]
    known = [*(action.name for action in CHART.actions), *TAGGING, *GOVERNED]
    action = {"anyOf": [{"enum": known}, {"type": "string", "minLength": 1, "maxLength": 200}]}
    tables["Actions"] = {**tables["UseTable"]["properties"]["actions"], "items": action}
    tables["UseTable"] = _use({"actions": {"$ref": "#/$defs/Actions"}}, aliases=True)
    tables["ActorsTable"]["properties"]["source"]["items"] = {"enum": list(SOURCES)}
    return schema


def lifecycle_schema() -> dict[str, Any]:
    """The JSON Schema of a lifecycle file, as TOML or JSON."""
    schema = _schema_of(LIFECYCLE_TABLE, "Lifecycle")
    tables = schema["$defs"]
    tables["Use"] = _use({}, aliases=False)
    tables["Action"] |= {
        "oneOf": [
            {"required": ["to"], "properties": {"moves": False}},
            {"required": ["moves"], "properties": {"to": False, "from": False, "guards": False}},
        ]
    }
    tables["Action"]["properties"]["schema"] |= {"type": "integer", "minimum": 1}
    tables["Timeout"]["properties"]["after"]["pattern"] = _DURATION
    schema["properties"]["name"]["pattern"] = _NAME
    for what, table in (("states", "State"), ("actions", "Action"), ("timeouts", "Timeout")):
        named = schema["properties"][what]
        # The array form, in which lifecycles are printed: the same table, with its name as a member.
        with_name = {
            **tables[table],
            "properties": {"name": {"type": "string", "pattern": _NAME}, **tables[table]["properties"]},
        }
        with_name["required"] = ["name", *tables[table].get("required", ())]
        schema["properties"][what] = {
            "description": named.pop("description"),
            "anyOf": [{**named, "propertyNames": {"pattern": _NAME}}, {"type": "array", "items": with_name}],
        }
    return schema


def _schema_of(table: type[BaseModel], title: str) -> dict[str, Any]:
    made = _without_null(table.model_json_schema(by_alias=True, schema_generator=_Untitled))
    for one in (made, *made["$defs"].values()):
        one.pop("title", None)
    # The tables of a module that nobody else needs have an underscore in Python.
    made["$defs"] = {name.removeprefix("_"): one for name, one in made["$defs"].items()}
    return {
        "$schema": DIALECT,
        "title": title,
        "description": made.pop("description"),
        **_with_references(made),
    }


def _with_references(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_references(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: one.replace("/_", "/") if name == "$ref" else _with_references(one)
        for name, one in value.items()
    }


def _without_null(value: Any) -> Any:
    """A schema without the alternative null, which members have in Python that may be left out."""
    if isinstance(value, list):
        return [_without_null(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _without_null(one) for name, one in value.items()}
    if "anyOf" in found:
        rest = [one for one in found.pop("anyOf") if one != {"type": "null"}]
        found = {**rest[0], **found} if len(rest) == 1 else {"anyOf": rest, **found}
        if found.get("default", 0) is None:
            del found["default"]
    return found


def _use(members: Mapping[str, Any], *, aliases: bool) -> dict[str, Any]:
    """A use of a guard: one of the built-in ones with its parameters, or another one with any."""
    other = {
        "type": "object",
        "description": "A guard of a program, or of an installed package.",
        "properties": {
            "guard": {"type": "string", "minLength": 1, "not": {"enum": list(BUILTIN)}},
            **members,
        },
        "required": ["guard", *members],
    }
    uses = [_use_of(name, kind, members, aliases=aliases) for name, kind in BUILTIN.items()]
    return {"anyOf": [*uses, other]}


def _use_of(name: str, kind: GuardKind, members: Mapping[str, Any], *, aliases: bool) -> dict[str, Any]:
    parameters = dict(kind.parameters)
    if aliases and name in OF_AN_ALIAS:
        parameters[OF_ALIASES] = OF_SOME_ALIASES
    return {
        "title": name,
        "type": "object",
        "description": f"{kind.summary[0].upper()}{kind.summary[1:]}.",
        "properties": {
            "guard": {"const": name},
            **members,
            **{said: _parameter(one) for said, one in parameters.items()},
        },
        "required": ["guard", *members, *(said for said, one in parameters.items() if one.required)],
        "additionalProperties": False,
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    """The JSON Schema of a parameter's values. Patterns are of Python, which no dialect has, so they are text here."""
    count = {"type": "integer", "minimum": parameter.least}
    text = {"enum": list(parameter.choices)} if parameter.choices else _TEXT
    schemas: dict[str, dict[str, Any]] = {
        "flag": {"type": "boolean"},
        "count": count,
        "text": text,
        "pattern": _TEXT,
        "texts": {"type": "array", "items": _TEXT, "minItems": 1},
        "counts": {"type": "object", "propertyNames": _TEXT, "additionalProperties": count},
    }
    about = f"{parameter.about[:1].upper()}{parameter.about[1:]}."
    more = {} if parameter.default is None else {"default": parameter.default}
    return {**schemas[parameter.type], "description": about, **more}
