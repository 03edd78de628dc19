"""Documents: JSON objects that every reader parses to the same value.

A document is validated once, at intake, against I-JSON (RFC 7493): UTF-8 without lone surrogates, no duplicate
keys, no NaN or infinity, no integer beyond ±2**53. Its size and depth are bounded. All problems are reported at
once, each with its JSON Pointer (RFC 6901).

The document is stored as given, member for member and in its order; numbers are IEEE 754 doubles or
integers. The digest is SHA-256 over the RFC 8785 form (JCS), so it is independent of white space and of the order of
members, and can be recomputed in any language.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson

from registration.errors import InvalidDocument

DOCUMENT_BYTES_MAX = 1024 * 1024
DOCUMENT_BYTES_MIN = 2
DEPTH_MAX = 100
INTEGER_MAX = 2**53
PROBLEMS_MAX = 20


@dataclass(frozen=True, slots=True)
class Document:
    """A validated document.

    value: the JSON object; a private copy. digest: ``sha256:`` and 64 hex digits.
    size_bytes: the size of its compact UTF-8 form.
    """

    value: dict[str, Any]
    digest: str
    size_bytes: int


def parse_document(
    raw: bytes, *, source: str = "The document", size_bytes_max: int = DOCUMENT_BYTES_MAX, first_line: int = 1
) -> Document:
    """Read a document from JSON text in UTF-8; a byte order mark is rejected, as RFC 8259 requires.

    source: its name in errors, such as a file name. first_line: the line of that file on which it begins, from 1.

    Raises:
        InvalidDocument: when it is not I-JSON, not an object, too large or too deep.
    """
    if len(raw) > size_bytes_max:
        raise InvalidDocument(source, [f"it has {len(raw):,} bytes; at most {size_bytes_max:,} are allowed"])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidDocument(source, [f"byte {error.start} is not UTF-8 ({error.reason})"]) from None
    twice: dict[int, _Twice] = {}

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counted = Counter(name for name, _ in pairs)
            names = [name for name, count in counted.items() if count > 1]
            hidden = [(name, item) for name, item in pairs if counted[name] > 1 and item is not found[name]]
            twice[id(found)] = _Twice(found, names, hidden)
        return found

    try:
        value = json.loads(text, object_pairs_hook=members, parse_constant=float, parse_int=_integer)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno + first_line - 1}, column {error.colno}"
        raise InvalidDocument(source, [f"it is not JSON: {error.msg} at {where}"]) from None
    except RecursionError:
        raise InvalidDocument(source, [f"it is nested deeper than {DEPTH_MAX} levels"]) from None
    return _checked(value, source, size_bytes_max, twice)


def check_document(
    value: object, *, source: str = "The document", size_bytes_max: int = DOCUMENT_BYTES_MAX
) -> Document:
    """Make a document of Python values: dict, list, tuple, str, int, float, bool and None, nothing else.

    Raises:
        InvalidDocument: when it is not I-JSON, not a dict, too large or too deep (or contains itself).
    """
    return _checked(value, source, size_bytes_max, {})


def digest_of(value: object) -> str:
    """``sha256:`` and the SHA-256, in hex, of the RFC 8785 form of a validated JSON value."""
    return digest_of_bytes(canonical(value))


def digest_of_bytes(data: bytes) -> str:
    """``sha256:`` and the SHA-256, in hex, of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    """The RFC 8785 form (JCS) of a validated JSON value."""
    survey = _Survey({}, sys.maxsize)
    survey.visit(value, None, 1)
    return _canonical(value, survey)


@dataclass(frozen=True, slots=True)
class _Twice:
    """An object with duplicate keys. `owner` is held so that its identity stays valid until the walk is done.

    hidden: the members that a later one of the same name hides.
    """

    owner: dict[str, Any]
    names: list[str]
    hidden: list[tuple[str, Any]]


class _TooMany(Exception):
    """More values than bytes: Python objects that are shared, or contain themselves, stand for more than they hold."""


def _integer(digits: str) -> int:
    """An integer; one that is out of range anyway is not converted: conversion takes quadratic time."""
    if len(digits) > 20:
        return -INTEGER_MAX - 1 if digits.startswith("-") else INTEGER_MAX + 1
    return int(digits)


_Parent = tuple[Any, "str | int"] | None
"""The position of the walk: the parent's position and the last step. A pointer is only built for a problem: building one for
every value would take quadratic time on a hostile document."""


class _Survey:
    """One walk over a value: all problems, and the facts that the canonical form depends on."""

    def __init__(self, twice: dict[int, _Twice], values_max: int) -> None:
        self.problems: list[str] = []
        self.has_float = False
        self.has_key_beyond_bmp = False
        self._twice = twice
        self._values_left = values_max

    def visit(self, value: Any, place: _Parent, depth: int) -> None:  # noqa: C901, PLR0912  # one branch a JSON type
        if len(self.problems) > PROBLEMS_MAX:
            return
        self._values_left -= 1
        if self._values_left < 0:
            raise _TooMany
        kind = type(value)
        if kind is str:
            self._text(value, place, "it has")
        elif kind is dict or kind is list or kind is tuple:
            if depth > DEPTH_MAX:
                self._problem(place, f"it is nested deeper than {DEPTH_MAX} levels")
            elif kind is dict:
                self._object(value, place, depth)
            else:
                for index, item in enumerate(value):
                    self.visit(item, (place, index), depth + 1)
        elif kind is int:
            if not -INTEGER_MAX <= value <= INTEGER_MAX:
                self._problem(place, "the integer is beyond ±2^53; write it as text")
        elif kind is float:
            self.has_float = True
            if not math.isfinite(value):
                self._problem(place, "it is not a finite number (NaN, or beyond ±1.8e308)")
        elif value is not None and kind is not bool:
            self._problem(place, f"a {kind.__name__} is not a JSON value")

    def _object(self, value: dict[Any, Any], place: _Parent, depth: int) -> None:
        twice = self._twice.get(id(value))
        if twice is not None:
            for name in twice.names:
                self._problem(place, f"duplicate key {_cut(name)!r}")
            for name, item in twice.hidden:
                self.visit(item, (place, name), depth + 1)
        for key, item in value.items():
            if type(key) is not str:
                self._problem(place, f"the key {_cut(repr(key))} is not a string")
                continue
            self._text(key, place, "a key has")
            if not key.isascii() and max(key) > "\uffff":
                self.has_key_beyond_bmp = True
            self.visit(item, (place, key), depth + 1)

    def _text(self, text: str, place: _Parent, what: str) -> None:
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            self._problem(place, f"{what} a lone surrogate, which is not a character")

    def _problem(self, place: _Parent, what: str) -> None:
        where = _cut(_pointer(place).encode("utf-8", "backslashreplace").decode(), 120)
        self.problems.append(f"at {where or 'the top'}: {what}")


def _pointer(place: _Parent) -> str:
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append("/" + str(step)[:121].replace("~", "~0").replace("/", "~1"))
    return "".join(reversed(steps))


def _checked(value: object, source: str, size_bytes_max: int, twice: dict[int, _Twice]) -> Document:
    if type(value) is not dict:
        found = {list: "an array", str: "text", type(None): "null"}.get(type(value), type(value).__name__)
        raise InvalidDocument(source, [f"it is {found}; expected a JSON object"])
    survey = _Survey(twice, size_bytes_max)
    try:
        survey.visit(value, None, 1)
    except _TooMany:
        reason = f"it has more values than {size_bytes_max:,} bytes can hold"
        raise InvalidDocument(source, [reason]) from None
    if survey.problems:
        raise InvalidDocument(
            source, survey.problems[:PROBLEMS_MAX], more=len(survey.problems) > PROBLEMS_MAX
        )
    compact = orjson.dumps(value)
    if len(compact) > size_bytes_max:
        raise InvalidDocument(
            source, [f"it has {len(compact):,} bytes; at most {size_bytes_max:,} are allowed"]
        )
    # Read back: a copy that the caller can't change, of exactly the bytes that the log will hold.
    return Document(orjson.loads(compact), digest_of_bytes(_canonical(value, survey)), len(compact))


def _canonical(value: object, survey: _Survey) -> bytes:
    if survey.has_float or survey.has_key_beyond_bmp:
        import rfc8785  # noqa: PLC0415  # few documents need it, and reading commands never do

        return rfc8785.dumps(_within_doubles(value))
    # Without floats and with keys inside the BMP, sorting by code point is sorting by UTF-16 unit,
    # and orjson escapes as ECMAScript does: the bytes are the RFC 8785 form.
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _within_doubles(value: Any) -> Any:
    """The same JSON value for `rfc8785`, which rejects ±2**53 as an integer and accepts it as a double."""
    if type(value) is dict:
        return {key: _within_doubles(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_within_doubles(item) for item in value]
    return float(value) if type(value) is int and abs(value) == INTEGER_MAX else value


def _cut(text: str, characters_max: int = 60) -> str:
    return text if len(text) <= characters_max else text[:characters_max] + "…"
