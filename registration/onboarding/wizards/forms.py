"""Forms: the schema of an answer, as a pydantic model or a JSON Schema. All problems are reported at once, each with its pointer.

- Nothing is converted: a number is not accepted as text, nor text as a number.
- Unknown fields are rejected, at every level. A model must declare that itself (``extra="forbid"``); in a schema an object
  that lists its properties accepts no others, unless it sets `additionalProperties`.
- A missing field with a default is stored with the default.
- No secrets: a field that is marked as one (`writeOnly`, the format ``password``, pydantic's `SecretStr`, or ``secret: true``)
  is rejected when the form is defined. With ``secret: "reference"`` it accepts a reference to the secret, never the secret:
  ``env:WEATHER_API_KEY``, ``vault:kv/weather#key``.

This module imports pydantic; JSON Schemas need the extra ``schema``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from registration.errors import InvalidDocument
from registration.onboarding.wizards.wizard import Answer, Form, Problem, values_at
from registration.rules.guards.findings import shown
from registration.rules.guards.schema import check_schema, schema_problems
from registration.values.documents import check_document
from registration.values.pointers import pointer

ANSWER_BYTES_MAX = 64 * 1024
"""The maximum size of the answer of one step, as JSON."""

REFERENCE_SCHEMES = ("env", "file", "keyring", "kms", "op", "vault")
"""The schemes of references to secrets: the part before the colon."""

_REFERENCE = re.compile(rf"(?:{'|'.join(REFERENCE_SCHEMES)}):[!-~]{{1,500}}", re.ASCII)
_NOT_CLOSED_IN = ("allOf", "if", "then", "else", "not", "dependentSchemas")
_DEPTH_MAX = 20


def form_of(given: type[BaseModel] | Mapping[str, Any]) -> Form:
    """A form from a pydantic model or a JSON Schema."""
    return SchemaForm(given) if isinstance(given, Mapping) else ModelForm(given)


class ModelForm:
    """A form from a pydantic model. size_bytes_max: the maximum size of an answer, as JSON."""

    def __init__(self, model: type[BaseModel], *, size_bytes_max: int = ANSWER_BYTES_MAX) -> None:
        self.model = model
        self._size_bytes_max = size_bytes_max

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """See `Form.schema`."""
        return self.model.model_json_schema(by_alias=True)

    @cached_property
    def _references(self) -> list[str]:
        return [place for place, secret in secrets_of(self.schema) if secret == "reference"]  # noqa: S105  # it is none

    def check(self, answer: Answer) -> tuple[dict[str, Any], list[Problem]]:
        """See `Form.check`."""
        taken, problems = as_json(answer, self._size_bytes_max)
        if problems:
            return taken, problems
        try:
            # As JSON, in which strict mode accepts text for a choice or a date, but not for a number.
            read = self.model.model_validate_json(orjson.dumps(taken), strict=True)
        except ValidationError as error:
            return taken, [_told(taken, wrong) for wrong in error.errors(include_url=False)]
        kept: dict[str, Any] = read.model_dump(mode="json", by_alias=True)
        return kept, list(self.leaks(kept))

    def leaks(self, answer: Answer) -> Iterator[Problem]:
        """See `Form.leaks`."""
        return _no_references(answer, self._references)

    def flaws(self) -> Iterator[str]:
        """See `Form.flaws`."""
        yield from _secret_flaws(self.schema)
        for place, one in _objects(self.schema):
            if one.get("properties") and one.get("additionalProperties", True) is True:
                yield f'{place}: it accepts unknown fields; set `extra="forbid"` on the model'


class SchemaForm:
    """A form from a JSON Schema of an object."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.given = schema
        self.schema: Mapping[str, Any] = _closed(schema)

    @cached_property
    def _references(self) -> list[str]:
        return [place for place, secret in secrets_of(self.schema) if secret == "reference"]  # noqa: S105  # it is none

    def check(self, answer: Answer) -> tuple[dict[str, Any], list[Problem]]:
        """See `Form.check`."""
        taken, problems = as_json(answer)
        if problems:
            return taken, problems
        kept = _with_defaults(taken, self.schema)
        problems = [Problem(one.at, one.problem) for one in schema_problems(kept, self.schema)]
        return kept, problems or list(self.leaks(kept))

    def leaks(self, answer: Answer) -> Iterator[Problem]:
        """See `Form.leaks`."""
        return _no_references(answer, self._references)

    def flaws(self) -> Iterator[str]:
        """See `Form.flaws`."""
        if self.given.get("type") != "object":
            yield '.type: an answer is an object, so its schema must have `type` "object"'
        found = [f": {flaw}" for flaw in check_schema(dict(self.schema))]
        yield from found
        if not found:
            yield from _secret_flaws(self.schema)


def secrets_of(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every position that is marked as a secret, with its mark."""
    for place, one in _places(schema, schema, "", 0):
        if "secret" in one and one["secret"] is not False:
            yield place, one["secret"]
        elif one.get("writeOnly") is True or one.get("format") == "password":
            yield place, True


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with its `$ref` within `root` resolved; its own keywords take precedence."""
    for _ in range(_DEPTH_MAX):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        found: Any = root
        for raw in reference[1:].split("/")[1:]:
            found = (
                found.get(raw.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
            )
        schema = {**found, **{name: said for name, said in schema.items() if name != "$ref"}}
    return schema


def as_json(answer: Answer, size_bytes_max: int = ANSWER_BYTES_MAX) -> tuple[dict[str, Any], list[Problem]]:
    """An answer as a copy of JSON values, or empty with its problems if it is invalid."""
    try:
        given = dict(answer) if isinstance(answer, Mapping) else answer
        return check_document(given, source="The answer", size_bytes_max=size_bytes_max).value, []
    except InvalidDocument as error:
        return {}, [_split(problem) for problem in error.details["problems"]]


def _split(problem: str) -> Problem:
    where, found, what = problem.partition(": ")
    at_pointer = bool(found) and where.startswith("at ")
    return (
        Problem(where.removeprefix("at ").replace("the top", ""), what)
        if at_pointer
        else Problem("", problem)
    )


def _told(answer: Any, wrong: Any) -> Problem:
    """A problem that pydantic found, with a pointer into the answer, without the alternatives of unions that it adds."""
    path: list[str | int] = []
    steps = list(wrong["loc"])
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        if isinstance(answer, Mapping) and (step in answer or (last and wrong["type"] == "missing")):
            path.append(step)
            answer = answer.get(step)
        elif isinstance(answer, list) and isinstance(step, int) and step < len(answer):
            path.append(step)
            answer = answer[step]
    if wrong["type"] == "missing":
        return Problem(pointer(path), "it is required but missing")
    if wrong["type"] == "extra_forbidden":
        return Problem(pointer(path), "unknown field")
    said = wrong["msg"].removeprefix("Value error, ").removeprefix("Input ").removesuffix(".")
    return Problem(
        pointer(path),
        f"it {said} (found {shown(answer)})"
        if wrong["msg"].startswith("Input ")
        else f"{said} (found {shown(answer)})",
    )


def _no_references(answer: Answer, places: list[str]) -> Iterator[Problem]:
    for place in places:
        for at, value in values_at(answer, place):
            if value is not None and not (isinstance(value, str) and _REFERENCE.fullmatch(value)):
                # The value itself is not shown: it may be the secret.
                yield Problem(
                    at,
                    f"secrets are not stored here, only references to them: {', '.join(REFERENCE_SCHEMES)}, a colon, and its "
                    "name, such as env:API_KEY",
                )


def _secret_flaws(schema: Mapping[str, Any]) -> Iterator[str]:
    for place, secret in secrets_of(schema):
        if secret != "reference":  # noqa: S105  # it is none
            yield (
                f'{place}: it asks for a secret, and sessions store none; ask for a reference, with `secret` "reference"'
            )


def _objects(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((place, one) for place, one in _places(schema, schema, "", 0) if one.get("type") == "object")


def _places(
    schema: Mapping[str, Any], root: Mapping[str, Any], place: str, depth: int
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every position in a schema, with its subschema; ``*`` matches any item or member."""
    if depth > _DEPTH_MAX:
        return
    said = resolved(schema, root)
    yield place, said
    for word in ("anyOf", "oneOf", "allOf"):
        for one in said.get(word, ()):
            yield from _places(one, root, place, depth + 1)
    for name, one in said.get("properties", {}).items():
        yield from _places(one, root, f"{place}{pointer([name])}", depth + 1)
    for word in ("items", "additionalProperties"):
        if isinstance(said.get(word), Mapping):
            yield from _places(said[word], root, f"{place}/*", depth + 1)


def _closed(schema: Any) -> Any:
    """A schema whose objects accept only the properties that they list, unless they say otherwise."""
    if isinstance(schema, list | tuple):
        return [_closed(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {
        name: said if name in (*_NOT_CLOSED_IN, "default", "const", "enum", "examples") else _closed(said)
        for name, said in schema.items()
    }
    if isinstance(schema.get("properties"), Mapping) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def _with_defaults(answer: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(answer)
    for name, one in schema.get("properties", {}).items():
        if isinstance(one, Mapping):
            if name not in kept and "default" in one:
                kept[name] = one["default"]
            elif isinstance(kept.get(name), dict):
                kept[name] = _with_defaults(kept[name], one)
    return kept
