"""The shape of a JSON Schema for an interactive form: text, a number, a choice, a list.

Not all schemas have a shape: others are asked for as JSON. In any case the form validates the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from registration.onboarding.wizards.forms import resolved
from registration.onboarding.wizards.wizard import Option, Options
from registration.values.pointers import ABSENT

Kind = Literal[
    "text", "integer", "number", "boolean", "choice", "list", "object", "table", "variants", "fixed", "json"
]


ORDER = "x-order"
_SCHEMAS_BY_NAME = frozenset({"properties", "$defs", "definitions"})
_SCHEMAS = frozenset({"items", "additionalProperties", "anyOf", "oneOf", "allOf"})


@dataclass(frozen=True, slots=True)
class Shape:
    """One question.

    name: its name; help: its description. required: whether it must be answered. default: the default value, or
    `ABSENT`. options: of a choice, or of the items of a list. members: of an object, by name. item: of a list, and of a table,
    which is an object with arbitrary names. variants: the alternatives. value: a constant. at_least: the minimum number of items.
    """

    kind: Kind
    name: str
    help: str = ""
    required: bool = True
    default: Any = ABSENT
    options: tuple[Option, ...] = ()
    members: Mapping[str, Shape] | None = None
    item: Shape | None = None
    variants: tuple[Shape, ...] = ()
    value: Any = None
    at_least: int = 0


def shape_of(schema: Mapping[str, Any], options: Options) -> Shape:
    """The shape of a whole answer."""
    return _Shaper(schema, options).shape(schema, "", "", required=True, depth=0)


class _Shaper:
    def __init__(self, root: Mapping[str, Any], options: Options) -> None:
        self._root = root
        self._options = options

    def shape(self, schema: Mapping[str, Any], place: str, name: str, *, required: bool, depth: int) -> Shape:
        said, nullable = self._plain(schema)
        kind = self._kind(said, place) if depth < 12 else "json"
        inner = depth + 1
        members = item = None
        variants: tuple[Shape, ...] = ()
        if kind == "object":
            wanted = said.get("required", ())
            members = {
                one: self.shape(inside, f"{place}/{_escaped(one)}", one, required=one in wanted, depth=inner)
                for one, inside in _in_order(said)
            }
        elif kind == "list":
            item = self.shape(said.get("items") or {}, f"{place}/*", name, required=True, depth=inner)
        elif kind == "table":
            item = self.shape(said["additionalProperties"], f"{place}/*", name, required=True, depth=inner)
        elif kind == "variants":
            variants = tuple(
                self.shape(one, place, _title(resolved(one, self._root), name), required=True, depth=inner)
                for one in said.get("oneOf") or said["anyOf"]
            )
        return Shape(
            kind=kind,
            name=name,
            help=_one_line(said.get("description", "")),
            required=required and not nullable,
            default=said.get("default", ABSENT),
            options=self._choices(said, place),
            members=members,
            item=item,
            variants=variants,
            value=said.get("const"),
            at_least=said.get("minItems", 0),
        )

    def _plain(self, schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        """A schema with its references resolved, and without null as an alternative."""
        said = resolved(schema, self._root)
        nullable = False
        for word in ("anyOf", "oneOf"):
            if word in said:
                others = [one for one in said[word] if resolved(one, self._root).get("type") != "null"]
                nullable = len(others) < len(said[word])
                beside = {name: one for name, one in said.items() if name != word}
                said = (
                    {**resolved(others[0], self._root), **beside}
                    if len(others) == 1
                    else {**beside, word: others}
                )
        if len(said.get("allOf", ())) == 1:
            beside = {name: one for name, one in said.items() if name != "allOf"}
            said = {**resolved(said["allOf"][0], self._root), **beside}
        return said, nullable

    def _kind(self, said: Mapping[str, Any], place: str) -> Kind:
        if "const" in said:
            return "fixed"
        if place in self._options or "enum" in said:
            return "choice"
        if "anyOf" in said or "oneOf" in said:
            return "variants"
        kinds: dict[Any, Kind] = {
            "string": "text", "integer": "integer", "number": "number", "boolean": "boolean", "array": "list",
        }  # fmt: skip
        if said.get("type") == "object":
            if said.get("properties"):
                return "object"
            return "table" if isinstance(said.get("additionalProperties"), Mapping) else "json"
        found = said.get("type")
        return kinds.get(found, "json") if isinstance(found, str) else "json"

    def _choices(self, said: Mapping[str, Any], place: str) -> tuple[Option, ...]:
        if place in self._options:
            return tuple(self._options[place])
        return tuple(Option(value) for value in said.get("enum", ()) if value is not None)


def summary_of(value: Any, characters_max: int = 60) -> str:
    """A JSON value in one short line, for a review."""
    if isinstance(value, Mapping):
        text = ", ".join(
            f"{name}: {summary_of(one, 60)}" for name, one in value.items() if one not in (None, [], {})
        )
    elif isinstance(value, list | tuple):
        text = ", ".join(summary_of(one, 60) for one in value)
    else:
        text = (
            {True: "yes", False: "no", None: "-"}.get(value, str(value))
            if not isinstance(value, str)
            else value
        )
    text = _one_line(text)
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def with_order(schema: Any) -> Any:
    """A schema that records the order of each object's members, under `ORDER`.

    Members have no order in JSON, nor in a stored wizard; but people are asked in the order of the file.
    """
    if not isinstance(schema, Mapping):
        return schema
    found = dict(schema)
    for word in _SCHEMAS_BY_NAME & found.keys():
        if isinstance(found[word], Mapping):
            found[word] = {name: with_order(one) for name, one in found[word].items()}
    for word in _SCHEMAS & found.keys():
        one = found[word]
        found[word] = [with_order(each) for each in one] if isinstance(one, list | tuple) else with_order(one)
    if isinstance(found.get("properties"), Mapping):
        found.setdefault(ORDER, list(found["properties"]))
    return found


def _in_order(schema: Mapping[str, Any]) -> list[tuple[str, Any]]:
    members = dict(schema["properties"])
    said = schema.get(ORDER)
    first = [name for name in said if name in members] if isinstance(said, list | tuple) else []
    return [(name, members[name]) for name in dict.fromkeys([*first, *members])]


def _title(said: Mapping[str, Any], otherwise: str) -> str:
    """The name of a variant: its discriminator, or its title."""
    for one in said.get("properties", {}).values():
        if isinstance(one, Mapping) and isinstance(one.get("const"), str):
            return str(one["const"])
    return str(said.get("title") or said.get("type") or otherwise)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def item_names(items: Sequence[Any]) -> list[str]:
    """Each item of a list as a short line."""
    return [summary_of(item) for item in items]
