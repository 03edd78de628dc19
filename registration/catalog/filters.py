"""Filters and sort orders of lists. Validated once; `registration.catalog.selecting` translates them to SQL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

import orjson

from registration.catalog.words import words_in
from registration.core.decider import check_state, nearest
from registration.errors import InvalidArgument
from registration.values.pointers import ABSENT, at_pointer

if TYPE_CHECKING:
    from registration.catalog.rows import Row
    from registration.core.chart import Chart

Key = Literal["id", "updated", "created", "state"]
"""The sort keys of a list."""

KEYS: tuple[Key, ...] = get_args(Key)

SortKey = tuple[str, str]
"""The position of a manifest in an order: the value that the list is sorted by, and the id."""


class FilterWords(TypedDict, total=False):
    """The filters of a caller besides the state; `Filters` documents each, and `check_filters` its form.

    Times are those of `registration.evidence.timetravel.at_time`: both ends are included, and a date is the whole day. where: JSON
    Pointers, each with its value.
    """

    kind: str | None
    actor: str | None
    created_since: str | None
    created_until: str | None
    updated_since: str | None
    updated_until: str | None
    name_prefix: str | None
    where: Mapping[str, Any] | None
    text: str | None
    tag: str | None


@dataclass(frozen=True)
class Filters:
    """The filters of a query; all that are set must match.

    state: a parent state includes its children. kind: by the policy in force. actor: acted on it, at any time, in any spelling.
    created_since, created_until, updated_since, updated_until: times in the form of events, both ends included.
    name_prefix: a prefix of the document's name, or of the id if it has none. where: JSON Pointers, each with the JSON text of
    the required value; numbers are compared by value. text: words, each the prefix of a word in the id or in a text of the
    document. tag: one of its tags.
    """

    state: str | None = None
    kind: str | None = None
    actor: str | None = None
    created_since: str | None = None
    created_until: str | None = None
    updated_since: str | None = None
    updated_until: str | None = None
    name_prefix: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    tag: str | None = None

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of `text`."""
        return tuple(words_in(self.text)) if self.text is not None else ()

    def said(self) -> dict[str, Any]:
        """The filters that are set, as JSON values."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in found.items() if value not in (None, ())}


@dataclass(frozen=True, slots=True)
class Order:
    """The order of manifests: by a key, then by id; `descending` reverses both."""

    key: Key = "id"
    descending: bool = False

    @classmethod
    def of(cls, text: str) -> Order:
        """The order of a text: ``updated``, or ``-updated`` for the latest first.

        Raises:
            InvalidArgument: when there is no such key.
        """
        name = text.removeprefix("-") if isinstance(text, str) else text
        if name not in KEYS:
            raise InvalidArgument(
                f"Lists can't be sorted by {text!r}.{nearest(str(name), KEYS)}",
                f"Sort by one of {', '.join(KEYS)}; a leading hyphen reverses the order.",
                sort=text,
            )
        return cls(name, text.startswith("-"))

    def sort_key(self, row: Row) -> SortKey:
        """The position of a row in this order."""
        values = {"id": row.id, "updated": row.updated_at, "created": row.created_at, "state": row.state}
        return values[self.key], row.id

    @property
    def text(self) -> str:
        """The order as text, in the form that `of` takes."""
        return ("-" if self.descending else "") + self.key


def check_filters(chart: Chart, **said: Any) -> Filters:
    """The filters of a call; times as `registration.evidence.timetravel.at_time` takes them, `where` as a mapping.

    Raises:
        InvalidArgument: when one of them is invalid.
    """
    if (state := said.get("state")) is not None:
        check_state(chart, state)
    for name in ("kind", "actor", "name_prefix", "text", "tag"):
        _check_text(name, said.get(name))
    for name in ("created_since", "created_until", "updated_since", "updated_until"):
        if (time := said.get(name)) is not None:
            from registration.evidence.timetravel import at_time  # noqa: PLC0415  # most lists ask for no time

            _check_text(name, time)
            said[name] = at_time(time, earliest=name.endswith("since"))
    said["where"] = _check_where(said.get("where"))
    found = Filters(**said)
    if found.text is not None and not found.words:
        raise InvalidArgument(
            f"The text {found.text!r} contains no words.", "Words are made of letters and digits."
        )
    return found


def stands(document: Any, pointer: str, wanted: str) -> bool:
    """Whether the value at a pointer of a document equals a JSON text."""
    found = ABSENT if document is None else at_pointer(document, pointer)
    return found is not ABSENT and is_equal(found, orjson.loads(wanted))


def is_equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: numbers by value, and true is not a number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_equal(item, other[key]) for key, item in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_equal, one, other))
    return type(one) is type(other) and bool(one == other)


def _check_text(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or any("\ud800" <= c <= "\udfff" for c in value):
        raise InvalidArgument(f"Invalid `{name}` {value!r}: expected text.", "Pass it as text.")


def _check_where(where: object) -> tuple[tuple[str, str], ...]:
    if where is None:
        return ()
    if not isinstance(where, Mapping):
        raise InvalidArgument(
            f"Invalid `where` {where!r}: expected JSON Pointers, each with a value.",
            "Write {'/version': '1.2.0'}.",
        )
    return tuple(sorted((_check_pointer(one), _json_text(one, value)) for one, value in where.items()))


def _check_pointer(text: object) -> str:
    _check_text("where", text)
    if isinstance(text, str) and (not text or text.startswith("/")):
        return text
    raise InvalidArgument(
        f"{text!r} is not a JSON Pointer.", "Write `/` before each member: /packages/0/name."
    )


def _json_text(pointer: str, value: Any) -> str:
    try:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("it is not a finite number")
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"The value for {pointer!r} is not a JSON value: {error}.", "Pass text, a number, or the like."
        ) from None
