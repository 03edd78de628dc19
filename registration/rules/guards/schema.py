"""The guard that checks a document against the JSON Schema of its kind, and the validation of a schema itself.

The library is jsonschema (https://python-jsonschema.readthedocs.io), of the extra ``schema``; it is loaded when the
guard is first asked. Nothing is ever fetched: a reference that leads out of the schema, other than to the meta-schemas of
JSON Schema itself, is rejected. `format` is an annotation and is not asserted, the default since 2019-09.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from registration.core.policy import Verdict
from registration.rules.guards.findings import PROBLEMS_MAX, Finding, judged, looked_at, shortened, shown
from registration.values.documents import digest_of
from registration.values.pointers import ABSENT, at_pointer, pointer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from registration.core.policy import Kind, Policy
    from registration.values.commands import Command
    from registration.values.events import StateSnapshot

VALIDATORS_MAX = 64
VERDICTS_MAX = 1024
"""The number of cached schemas, and of documents whose problems are cached."""

_WITHOUT_ID = "urn:registration:schema"
_NEARER_MAX = 5
_SAID_CHARACTERS_MAX = 240
_POINTER_CHARACTERS_MAX = 2000
_SAYS_ENOUGH = frozenset(
    {None, "type", "enum", "const", "pattern", "required", "additionalProperties", "not", "uniqueItems"}
)
"""Keywords whose message in the library names the expected value; a schema that is `false` has none."""


class _Unusable(Exception):
    """An unusable schema. The text is a clause with the reason."""


def document_valid(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """The document is valid against the JSON Schema of its kind.

    Parameter `required`: whether a document without a schema, because it has no kind or a kind without one, is refused
    (default false). In the evidence, a problem's `rule` is the path in the schema to the keyword, without references.
    """
    document, digest = looked_at(state, command)
    kind = policy.kind_of(document)
    if document is None or kind is None or kind.schema is None:
        return _unchecked(kind, digest, required=bool(policy.parameters.get("required", False)))
    assert digest is not None
    evidence = {"digest": digest, "kind": kind.name, "schema": kind.schema, "pointer": kind.schema_pointer}
    try:
        if kind.schema not in policy.schemas:
            raise _Unusable("it is missing")
        found = _remembered(digest, kind.schema, kind.schema_pointer)
        if not found:
            validator = _validator(policy.schemas[kind.schema], kind.schema, kind.schema_pointer)
            found.append(_problems_of(document, validator))
    except _Missing:
        return _not_installed(evidence)
    except _Unusable as error:
        return Verdict(
            agrees=False,
            reason=f"the JSON Schema of {kind.name} is invalid: {error}",
            evidence=evidence,
            remedy="Fix the schema that the policy names for this kind (`[kinds]`).",
        )
    return judged(found[0], command, rules=f"JSON Schema of {kind.name}", evidence=evidence, ids=False)


def check_schema(value: object, schema_pointer: str = "") -> list[str]:
    """The problems of a JSON Schema itself, and of the pointer to a definition in it; empty if it can be used.

    It must be valid against its meta-schema, of a known dialect; its references must resolve without
    fetching; its patterns must be Python regular expressions.
    """
    try:
        validator = _dialect(value)
    except _Missing:
        return ["the library jsonschema isn't installed: `pip install '.[schema]'`"]
    except _Unusable as error:
        return [str(error)]
    own = validator(validator.META_SCHEMA, registry=_registry())
    try:
        found = [str(_problem(error)) for error in islice(own.iter_errors(value), PROBLEMS_MAX)]
    except RecursionError:
        return ["it is nested too deep"]
    if found:
        return found
    missing = _no_definition(value, schema_pointer)
    ends = list(dict.fromkeys(_loose_ends(value, validator)))
    return ends if missing is None else [missing, *ends]


def schema_problems(value: Any, schema: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The problems of a JSON value under a schema; an unusable schema is a problem as well."""
    try:
        return _problems_of(value, _validator(dict(schema), digest_of(schema), ""))
    except _Missing:
        return (Finding("", "schema", "it can't be checked: `pip install '.[schema]'`"),)
    except _Unusable as error:
        return (Finding("", "schema", f"it can't be checked: {error}"),)


class _Missing(Exception):
    """The library is not installed."""


def _unchecked(kind: Kind | None, digest: str | None, *, required: bool) -> Verdict:
    lacks = "it is of no kind" if kind is None else f"the kind {kind.name!r} has none"
    return Verdict(
        agrees=not required,
        reason=f"the document isn't checked against a JSON Schema: {lacks}",
        evidence={"digest": digest, "kind": kind.name if kind is not None else None, "required": required},
        remedy="Bring a document of a kind that has a schema (`[kinds]` in the policy)." if required else "",
    )


def _not_installed(evidence: Mapping[str, Any]) -> Verdict:
    return Verdict(
        agrees=False,
        reason="the document can't be checked against its JSON Schema: the library jsonschema isn't installed",
        evidence=evidence,
        remedy="Install it: `pip install '.[schema]'`.",
    )


@lru_cache(maxsize=VERDICTS_MAX)
def _remembered(_document: str, _schema: str, _pointer: str) -> list[tuple[Finding, ...]]:
    """The cache of a document's problems, by digests; empty until they are known."""
    # Arguments of a cached function would be kept alive as long as their result.
    return []


@lru_cache(maxsize=VALIDATORS_MAX)
def _compiled(_schema: str, _pointer: str) -> list[Any]:
    """The cache of a schema's validator; empty until there is one."""
    return []


def _validator(schema: Any, digest: str, schema_pointer: str) -> Any:
    kept = _compiled(digest, schema_pointer)
    if not kept:
        kept.append(_compile(schema, schema_pointer))
    return kept[0]


def _compile(schema: Any, schema_pointer: str) -> Any:
    """The validator of a schema, or of the definition at a pointer of it, which may refer to all of the schema."""
    validator = _dialect(schema)
    if not schema_pointer:
        return validator(schema, registry=_registry())
    missing = _no_definition(schema, schema_pointer)
    if missing is not None:
        raise _Unusable(missing)
    resource = _resource(schema, validator)
    id = resource.id() or _WITHOUT_ID
    reference = f"{id}#{quote(schema_pointer, safe='/~')}"
    return validator({"$ref": reference}, registry=_registry().with_resource(id, resource))


def _dialect(schema: object) -> Any:
    """The validator class of a schema's `$schema`; that of 2020-12 by default."""
    validators = _module("jsonschema.validators")
    if not isinstance(schema, dict | bool):
        raise _Unusable(f"a JSON Schema is an object, true or false, not {shown(schema)}")
    if isinstance(schema, bool) or "$schema" not in schema:
        return validators.Draft202012Validator
    said = schema["$schema"]
    found = validators.validator_for(schema, default=None) if isinstance(said, str) else None
    if found is None:
        raise _Unusable(f"its `$schema` {shown(said)} is an unknown dialect")
    return found


def _no_definition(schema: object, schema_pointer: str) -> str | None:
    """The problem of a pointer that does not lead to a schema; None if it does."""
    definition = at_pointer(schema, schema_pointer)
    if isinstance(definition, Mapping | bool):
        return None
    return f"at {schema_pointer}: expected a schema, found {shown(definition)}"


def _registry() -> Any:
    """The meta-schemas only: this registry fetches nothing, unlike the library's default."""
    return _module("jsonschema_specifications").REGISTRY


def _resource(schema: Any, validator: Any) -> Any:
    specification = _module("referencing.jsonschema").specification_with(
        validator.ID_OF(validator.META_SCHEMA)
    )
    return specification.create_resource(schema)


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise _Missing(name) from error


def _problems_of(document: Mapping[str, Any], validator: Any) -> tuple[Finding, ...]:
    unresolvable = _module("referencing.exceptions").Unresolvable
    try:
        errors = list(islice(validator.iter_errors(document), PROBLEMS_MAX + 1))
    except RecursionError:
        # The depth limit depends on how much of the stack is in use, so this is not cached.
        raise _Unusable(
            "it, or the document, is nested too deep, or it refers to itself without end"
        ) from None
    except unresolvable as error:
        anchor = f"#{error.anchor}" if hasattr(error, "anchor") else ""
        raise _Unusable(
            f"its reference {shown(error.ref + anchor)} does not resolve, and nothing is fetched"
        ) from None
    except Exception as error:  # an invalid schema can raise anything in the library
        raise _Unusable(shortened(f"{type(error).__name__}: {error}")) from error
    return tuple(_problem(error) for error in sorted(errors, key=_place))


def _place(error: Any) -> tuple[list[tuple[int, int, str]], list[str]]:
    """The position of an error, for sorting: indices by number, members by name."""
    steps = [(0, step, "") if isinstance(step, int) else (1, 0, step) for step in error.absolute_path]
    return steps, [str(step) for step in error.absolute_schema_path]


def _problem(error: Any) -> Finding:
    return Finding(
        _at(error.absolute_path),
        _at(error.absolute_schema_path) or "schema",
        _said(error, _NEARER_MAX),
    )


def _at(path: Iterable[str | int]) -> str:
    """The pointer of a path. A member's name can be as long as a document, and there can be many problems below it."""
    return shortened(pointer(list(path)), _POINTER_CHARACTERS_MAX)


def _said(error: Any, nearer_max: int) -> str:
    """The expected and the found value, in a bounded number of characters."""
    said = error.message
    if len(said) > _SAID_CHARACTERS_MAX // 2:
        found = repr(error.instance)
        said = shortened(found) + said.removeprefix(found) if said.startswith(found) else said
        said = shortened(said, _SAID_CHARACTERS_MAX)
    if error.validator not in _SAYS_ENOUGH and not isinstance(error.validator_value, dict | list):
        said += f" (`{error.validator}` is {shown(error.validator_value)})"
    nearest = _nearest(error)
    if nearest is None or nearer_max == 0:
        return str(said)
    return f"{said}; nearest, at {_at(nearest.absolute_path) or 'the top'}: {_said(nearest, nearer_max - 1)}"


def _nearest(error: Any) -> Any:
    """Of the alternatives of an `anyOf` or `oneOf`, the first error of the most likely one."""
    branches: dict[Any, list[Any]] = {}
    for one in error.context or ():
        branches.setdefault(one.relative_schema_path[0], []).append(one)
    if not branches:
        return None

    def strangeness(errors: list[Any]) -> tuple[int, int]:
        """A value of another type, or another word in an enumeration, was most likely meant for another alternative."""
        return sum(one.validator in ("type", "const", "enum") for one in errors), len(errors)

    return min(branches.values(), key=strangeness)[0]


def _loose_ends(schema: Any, validator: Any) -> Iterator[str]:
    """Unresolved references and invalid patterns, anywhere in a schema and in the schemas that it refers to."""
    root = _resource(schema, validator)
    unresolvable = _module("referencing.exceptions").Unresolvable
    waiting = [(root, _registry().resolver_with_root(root))]
    seen: set[int] = set()
    for resource, resolver in waiting:  # it grows during the iteration
        contents = resource.contents
        if id(contents) in seen or not isinstance(contents, Mapping):
            continue
        seen.add(id(contents))
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            reference = contents.get(keyword, ABSENT)
            if not isinstance(reference, str):
                continue
            try:
                led = resolver.lookup(reference)
            except unresolvable:
                yield f"the reference {shown(reference)} does not resolve, and nothing is fetched"
            else:
                waiting.append((_resource(led.contents, validator), led.resolver))
        yield from _bad_patterns(contents)
        waiting += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]


def _bad_patterns(contents: Mapping[str, Any]) -> Iterator[str]:
    named = contents.get("patternProperties")
    for pattern in (contents.get("pattern"), *(named if isinstance(named, Mapping) else ())):
        if isinstance(pattern, str):
            try:
                re.compile(pattern)
            except re.error as error:
                yield f"the pattern {shown(pattern)} is not a valid Python regular expression: {error}"
