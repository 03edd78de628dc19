"""Differences: the changes from one document to another, for programs and for people, and their authors.

Two JSON values are equal here if they are the same JSON text, regardless of the order of members: ``true``, ``1``
and ``1.0`` are three values, though Python calls them equal, and a digest (RFC 8785) does not distinguish ``1`` from ``1.0``.

Pure, as is `registration.evidence.timetravel`. `patch` takes a second or less for hand-written documents, but minutes for two arrays of
a hundred thousand unrelated items.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Literal

import orjson

from registration.errors import InvalidArgument, NotFound
from registration.evidence.timetravel import Revision, no_version, printable, revision
from registration.values.pointers import ABSENT, at_pointer
from registration.values.pointers import pointer as pointer_of

if TYPE_CHECKING:
    from registration.core.definition import Definition
    from registration.values.events import Event

Line = tuple[Literal[" ", "-", "+", "@"], str]
"""The first character of a line of a unified diff, and the rest of it."""

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")

STEPS_MAX = 2_000_000
"""How many lines `difflib` may compare, repetitions included: some tenths of a second."""

SUGGESTED_FROM_MAX = 5_000
"""The number of pointers of a document among which the closest to an unknown one is searched: the first ones."""


def patch(before: Any, after: Any) -> list[dict[str, Any]]:
    """The JSON Patch (RFC 6902) that turns `before` into `after`; empty if they are equal.

    The same two values give the same patch in every process. The order of members is not part of it.
    """
    import jsonpatch  # noqa: PLC0415  # for this alone: no other command is to load it

    return list(jsonpatch.make_patch(before, after))


def lines(before: Any, after: Any) -> Iterator[Line]:
    """A unified diff of the two values as indented JSON, members in the order they are kept in.

    Each line is its sign and the rest; ``@`` begins a hunk, with 3 lines of context. There is no line feed at the end,
    and no control character: those are JSON escapes, so the text still means the same.
    """
    old, new = _text(before), _text(after)
    for group in _Bounded(old, new).get_grouped_opcodes(3):
        _, old_from, _, new_from, _ = group[0]
        _, _, old_to, _, new_to = group[-1]
        yield "@", f"@ -{old_from + 1},{old_to - old_from} +{new_from + 1},{new_to - new_from} @@"
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from ((" ", line) for line in old[i1:i2])
            else:
                yield from (("-", line) for line in old[i1:i2])
                yield from (("+", line) for line in new[j1:j2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """From one document of a manifest to another.

    before_version, after_version: the compared versions; each document is the current one of its version. patch: see `patch`.
    lines: see `lines`; if only the order of members changed, they show it, and `patch` is empty. only_one: there is
    nothing to compare, since the manifest has had only one document.
    """

    before_version: int
    before_digest: str
    after_version: int
    after_digest: str
    patch: tuple[Mapping[str, Any], ...] = ()
    lines: tuple[Line, ...] = ()
    only_one: bool = False


def difference(
    definition: Definition, events: Iterable[Event], a: int | None = None, b: int | None = None
) -> Difference:
    """The changes from the document at version `a` to the one at version `b`.

    Without `b`: to the document after the last event. Without both: the last change, between the
    versions that introduced the two documents; a revision with the same document is no change.

    Raises:
        InvalidArgument: when there is no such version, or `b` is given without `a`.
        NotFound: when there was no document at one of them.
    """
    log = map(definition.upcast, events)
    if a is None:
        if b is not None:
            raise InvalidArgument("The second version was given without the first.", "Give both.")
        before, after = _last_change(log)
        return _compared((before.version, before), (after.version, after), only_one=before is after)
    first, second = _standing_at(log, a, b)
    return _compared(first, second)


def is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same JSON text, whatever the order of members. `ABSENT` only equals itself."""
    if one is ABSENT or other is ABSENT:
        return one is other
    sorted_keys = orjson.OPT_SORT_KEYS
    return orjson.dumps(one, option=sorted_keys) == orjson.dumps(other, option=sorted_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An event that changed the value at a pointer.

    value: the value from then on. removed: it was removed, and `value` is None.
    """

    version: int
    time: str
    actor: str | None
    action: str
    event_id: str
    value: Any
    removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame(Change):
    """The last change of the value at a pointer: the origin of the current value. earlier: the changes before, newest first."""

    pointer: str
    earlier: tuple[Change, ...] = ()


def blame(events: Iterable[Event], pointer: str | None = None) -> list[Blame]:
    """The event that set the value at a JSON Pointer (RFC 6901) of the current document, or removed it.

    Without a pointer: for every scalar and empty container, in document order: text, numbers, true, false, null,
    and empty objects and arrays. A pointer is a position: inserting an array item changes the positions of those
    after it, and so counts as a change of them.

    Raises:
        InvalidArgument: when it is not a JSON Pointer.
        NotFound: when there never was a value; the closest pointers are suggested. Or when there is no document.
    """
    if pointer is not None and _POINTER.fullmatch(pointer) is None:
        raise InvalidArgument(
            f"{pointer!r} is not a JSON Pointer.",
            "Write it as '/packages/0/version', with ~1 for a / in a name and ~0 for a ~.",
            pointer=pointer,
        )
    brought = [event for event in events if "document" in event.data]
    if not brought:
        raise NotFound("There is no document.")
    values = [event.data["document"] for event in brought]
    if pointer is None:
        return [_blamed(place, brought, stood) for place, stood in _leaves("", values)]
    stood = [at_pointer(value, pointer) for value in values]
    if all(value is ABSENT for value in stood):
        raise _never_stood(pointer, brought[-1])
    return [_blamed(pointer, brought, stood)]


def _text(value: Any) -> list[str]:
    return [printable(line) for line in json.dumps(value, ensure_ascii=False, indent=2).split("\n")]


class _Bounded(difflib.SequenceMatcher[str]):
    """`difflib`, bounded to `STEPS_MAX`; the rest is compared line by line.

    Unbounded, it takes minutes if each of ten thousand items changed a little: it scans the whole rest for each of them.
    It stops where both texts share a line, so items that changed in place are still shown as such.
    """

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, old, new)
        self._old, self._new = old, new
        where: dict[str, list[int]] = vars(self)["b2j"]  # documented, but missing in its type stubs
        self._steps = [0, *accumulate(1 + len(where.get(line, ())) for line in old)]
        self._left = STEPS_MAX

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        """Overridden: blocks and hunks are built from its results. Beyond the bound, the first lines that match in place."""
        old, new = self._old, self._new
        i_end, j_end = len(old) if ahi is None else ahi, len(new) if bhi is None else bhi
        self._left -= self._steps[i_end] - self._steps[alo]
        if self._left >= 0:
            return super().find_longest_match(alo, i_end, blo, j_end)
        i, j, size = alo, blo, 0
        while i < i_end and j < j_end and old[i] != new[j]:
            i, j = i + 1, j + 1
        while i + size < i_end and j + size < j_end and old[i + size] == new[j + size]:
            size += 1
        return difflib.Match(i, j, size)


def _last_change(events: Iterable[Event]) -> tuple[Revision, Revision]:
    """The documents before and after the last change; the only one twice if there was no change."""
    former = latest = None
    for brought in filter(None, map(revision, events)):
        if latest is None or not is_same(latest.document, brought.document):
            former, latest = latest, brought
    if latest is None:
        raise NotFound("There is no document to compare.")
    return former or latest, latest


def _standing_at(events: Iterable[Event], a: int, b: int | None) -> list[tuple[int, Revision]]:
    """Each version with its document; None is the last version."""
    found: dict[int | None, tuple[int, Revision | None]] = {}
    standing: Revision | None = None
    stream, last = "", 0
    for event in events:
        stream, last = event.subject, event.version
        standing = revision(event) or standing
        found[None] = (last, standing)
        if last in (a, b):
            found[last] = (last, standing)
        if b is not None and {a, b} <= found.keys():
            break
    if not last:
        raise NotFound("There are no events, so there is nothing to compare.")
    stood = []
    for wanted in (a, b):
        if wanted not in found:
            assert wanted is not None
            raise no_version(stream, wanted, last)
        version, document = found[wanted]
        if document is None:
            raise NotFound(
                f"{stream!r} had no document yet at version {version}.", manifest_id=stream, version=version
            )
        stood.append((version, document))
    return stood


def _compared(
    before: tuple[int, Revision], after: tuple[int, Revision], *, only_one: bool = False
) -> Difference:
    old, new = before[1], after[1]
    return Difference(
        before_version=before[0],
        before_digest=old.digest,
        after_version=after[0],
        after_digest=new.digest,
        patch=tuple(patch(old.document, new.document)),
        lines=tuple(lines(old.document, new.document)),
        only_one=only_one,
    )


def _blamed(pointer: str, brought: Sequence[Event], stood: Sequence[Any]) -> Blame:
    """stood: the value at the pointer after each event."""
    before = [ABSENT, *stood]
    changes: list[dict[str, Any]] = [
        {
            "version": event.version,
            "time": event.time,
            "actor": event.actor,
            "action": event.action,
            "event_id": event.id,
            "value": None if value is ABSENT else value,
            "removed": value is ABSENT,
        }
        for event, value, previous in zip(brought, stood, before, strict=False)
        if not is_same(previous, value)
    ]
    *earlier, latest = changes
    return Blame(pointer=pointer, **latest, earlier=tuple(Change(**change) for change in reversed(earlier)))


def _children(value: Any) -> Iterable[str | int]:
    if isinstance(value, Mapping):
        return value.keys()
    return range(len(value)) if isinstance(value, list | tuple) else ()


def _leaves(place: str, stood: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    """The pointers of the leaves of the last document, each with its value in every document."""
    steps = _children(stood[-1])
    if not steps:
        yield place, stood
    for step in steps:
        below = pointer_of([step])
        yield from _leaves(place + below, [at_pointer(value, below) for value in stood])


def _pointers(value: Any, place: str = "") -> Iterator[str]:
    """The pointers of everything inside a value, from the top down."""
    for step in _children(value):
        below = pointer_of([step])
        yield place + below
        yield from _pointers(at_pointer(value, below), place + below)


def _never_stood(pointer: str, latest: Event) -> NotFound:
    known = islice(_pointers(latest.data["document"]), SUGGESTED_FROM_MAX)
    near = difflib.get_close_matches(pointer, known, n=3)
    return NotFound(
        f"There is no value at {pointer!r} in {latest.subject!r}, and there never was."
        + (f" Did you mean {' or '.join(map(repr, near))}?" if near else ""),
        "Omit the pointer to list every value.",
        manifest_id=latest.subject,
        pointer=pointer,
        nearest=near,
    )
