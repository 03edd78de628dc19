"""Tampering: logs as a patient forger leaves them, with every hash, every head and every state's hash fitted again."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from registration.core.codec import event_of
from registration.core.decider import UNFOLDABLE, fold
from registration.core.definition import Definition
from registration.core.forms import hash_of_state
from registration.errors import UnknownEvent
from registration.values.documents import digest_of
from registration.values.events import StateSnapshot
from registration.values.ids import uuid7
from registration.values.times import rfc3339


def refitted(definition: Definition, members: Iterable[Mapping[str, Any]]) -> bytes:
    """A log of these lines in which everything that can be computed is right: versions, chain, heads of approvals, hashes of states.

    A line keeps its want of a `statehash`. One that can't be folded keeps the one that it has.
    """
    lines: list[bytes] = []
    head, state = "", None
    for number, given in enumerate(members, start=1):
        line = {**copy.deepcopy(dict(given)), "version": number}
        approval = line["data"].get("approval")
        if isinstance(approval, dict) and "head" in approval:
            approval["head"] = head
        told = line.pop("statehash", None)
        for name in ("prevhash", "hash"):
            line.pop(name, None)
        if head:
            line["prevhash"] = head
        state = _after(definition, state, line, head)
        if told is not None:
            line["statehash"] = hash_of_state(state) if state is not None else told
        covered = json.dumps(line, ensure_ascii=False, separators=(",", ":"))[:-1]
        head = hashlib.sha256(covered.encode()).hexdigest()
        lines.append(f'{covered},"hash":"{head}"}}\n'.encode())
    return b"".join(lines)


def _after(
    definition: Definition, state: StateSnapshot | None, line: dict[str, Any], head: str
) -> StateSnapshot | None:
    try:
        return fold(definition, state, (event_of(line, prev_hash=head, hash="", line=b""),))
    except (UnknownEvent, *UNFOLDABLE):
        return None


@dataclass(frozen=True)
class Tampering:
    """One way in which a log was changed. kind: the same for all of its kind. what: with the line and the words. members: the lines."""

    kind: str
    what: str
    members: list[dict[str, Any]]


PEOPLE = ("ada", "bea", "cyd", "dan", "eve", None)
DIGEST = "sha256:" + "0" * 64


class Forger:
    """Every way to change one log by one step, of which each hash is fitted again afterwards.

    others: digests of rules that are kept as well, by the member that names them. definition: of the log.
    """

    def __init__(
        self, definition: Definition, members: list[dict[str, Any]], others: Mapping[str, Iterable[str]]
    ) -> None:
        self._definition = definition
        self._members = members
        self._others = others

    def all(self, lines: Iterable[int] | None = None) -> Iterator[Tampering]:
        """All of them, in order. lines: only those that change these first, counted from 0."""
        for at in range(len(self._members)) if lines is None else lines:
            yield from (
                *self._gone(at),
                *self._again(at),
                *self._moved(at),
                *self._by_others(at),
                *self._at_other_times(at),
                *self._otherwise(at),
                *self._under_other_rules(at),
                *self._of_other_documents(at),
                *self._with_other_members(at),
                *self._in_other_words(at),
                *self._in_another_envelope(at),
            )

    def _with(self, at: int, change: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
        lines = copy.deepcopy(self._members)
        change(lines[at])
        return lines

    def _said(self, at: int, kind: str, name: str, value: Any) -> Tampering:
        """With another value of a member of the data."""

        def change(line: dict[str, Any]) -> None:
            if value is _GONE:
                line["data"].pop(name, None)
            else:
                line["data"][name] = copy.deepcopy(value)

        shown = "gone" if value is _GONE else repr(value)[:40]
        return Tampering(kind, f"line {at + 1}: {name} {shown}", self._with(at, change))

    def _joined(self, lines: list[dict[str, Any]], at: int) -> list[dict[str, Any]]:
        """The same, with the line at this place starting from where the one before it ends."""
        if 0 < at < len(lines):
            lines[at]["data"]["from"] = lines[at - 1]["data"]["to"]
        return lines

    # -- lines -------------------------------------------------------------------------------------------------

    def _gone(self, at: int) -> Iterator[Tampering]:
        lines = copy.deepcopy(self._members)
        del lines[at]
        if not lines:
            return
        last = at == len(lines)
        yield Tampering("cut off" if last else "dropped", f"line {at + 1}", lines)
        if not last:
            yield Tampering(
                "dropped, and joined", f"line {at + 1}", self._joined(copy.deepcopy(lines), max(at, 1))
            )
        if at > 1 and not last:
            yield Tampering("cut off", f"from line {at + 1} on", copy.deepcopy(self._members[:at]))

    def _again(self, at: int) -> Iterator[Tampering]:
        for to in {at + 1, len(self._members)}:
            for fresh in (False, True):
                lines = copy.deepcopy(self._members)
                one = copy.deepcopy(lines[at])
                if fresh:  # an id and a time of its own, right behind the line before it
                    _date(one, _ms(lines[to - 1]) + 1)
                    one["correlationid"] = one["id"]
                    one.pop("idempotencykey", None)
                lines.insert(to, one)
                kind = "added, with an id of its own" if fresh else "added again"
                yield Tampering(kind, f"line {at + 1} behind {to}", lines)
                yield Tampering(
                    kind, f"line {at + 1} behind {to}, joined", self._joined(copy.deepcopy(lines), to)
                )

    def _moved(self, at: int) -> Iterator[Tampering]:
        for to in {at + 1, len(self._members) - 1} - {at}:
            if to >= len(self._members):
                continue
            lines = copy.deepcopy(self._members)
            lines[at], lines[to] = lines[to], lines[at]
            yield Tampering("swapped", f"lines {at + 1} and {to + 1}", copy.deepcopy(lines))
            for name in ("id", "time", "correlationid"):
                lines[at][name], lines[to][name] = lines[to].get(name), lines[at].get(name)
            yield Tampering("swapped, times stay", f"lines {at + 1} and {to + 1}", copy.deepcopy(lines))
            for place in (at, to):
                self._joined(lines, place)
            yield Tampering("swapped, joined", f"lines {at + 1} and {to + 1}", lines)

    # -- who and when ------------------------------------------------------------------------------------------

    def _by_others(self, at: int) -> Iterator[Tampering]:
        data = self._members[at]["data"]
        for person in PEOPLE:
            if person == data["actor"]:
                continue
            yield self._said(at, "by another person", "actor", person)
            if "approval" in data:
                for roles in ([], ["approver"]):

                    def change(line: dict[str, Any], person: str | None = person, roles: Any = roles) -> None:
                        line["data"]["actor"] = person
                        line["data"]["approval"]["roles"] = roles

                    yield Tampering(
                        "by another person, roles fitted", f"line {at + 1}: {person}", self._with(at, change)
                    )

    def _at_other_times(self, at: int) -> Iterator[Tampering]:
        now = _ms(self._members[at])
        for by in (-86_400_000, -1_000, -1, 1, 1_000, 86_400_000):
            moved = self._with(at, lambda line, by=by: line.update(time=rfc3339((now + by) * 1_000_000)))
            yield Tampering("at another time", f"line {at + 1}: {by} ms", moved)
            fitted = self._with(at, lambda line, by=by: _date(line, now + by))
            yield Tampering("at another time, with an id of it", f"line {at + 1}: {by} ms", fitted)
        if at:
            same = self._members[at - 1]["id"]
            yield Tampering(
                "id of another line", f"line {at + 1}", self._with(at, lambda line: line.update(id=same))
            )
        other = self._with(at, lambda line: line.update(id=line["id"][:-1] + "0f"[line["id"][-1] == "0"]))
        yield Tampering("another id of the same moment", f"line {at + 1}", other)

    # -- what --------------------------------------------------------------------------------------------------

    def _otherwise(self, at: int) -> Iterator[Tampering]:
        chart, line = self._definition.chart, self._members[at]
        for type in sorted(self._definition.event_types - {line["type"]}):
            yield Tampering(
                "of another type",
                f"line {at + 1}: {type}",
                self._with(at, lambda one, other=type: one.update(type=other)),
            )
        for action in chart.actions:
            if action.name == line["data"]["action"]:
                continue
            yield self._said(at, "another action", "action", action.name)

            def change(one: dict[str, Any], action: Any = action) -> None:
                one["data"]["action"] = action.name
                one["type"] = self._definition.event_type(action.name)

            yield Tampering(
                "another action and type", f"line {at + 1}: {action.name}", self._with(at, change)
            )
        for state in (*chart.leaves, "NOWHERE"):
            if state != line["data"]["to"]:
                yield self._said(at, "led elsewhere", "to", state)
                lines = self._said(at, "", "to", state).members
                yield Tampering(
                    "led elsewhere, joined", f"line {at + 1}: {state}", self._joined(lines, at + 1)
                )
            if state != line["data"]["from"]:
                yield self._said(at, "from elsewhere", "from", state)

    def _under_other_rules(self, at: int) -> Iterator[Tampering]:
        data = self._members[at]["data"]
        for name in ("policy", "roster"):
            for digest in (DIGEST, _GONE, None, 5, *self._others.get(name, ())):
                if digest != data.get(name, _GONE):
                    yield self._said(at, f"another {name}", name, digest)
                    if "approval" in data and isinstance(digest, str):

                        def change(line: dict[str, Any], name: str = name, digest: Any = digest) -> None:
                            line["data"][name] = line["data"]["approval"][name] = digest

                        yield Tampering(
                            f"another {name}, approval fitted", f"line {at + 1}", self._with(at, change)
                        )
        identity = data.get("lifecycle", {})
        for value in (
            _GONE,
            None,
            {**identity, "digest": DIGEST},
            {**identity, "version": 7},
            {"name": "x"},
            "x",
        ):
            yield self._said(at, "another lifecycle", "lifecycle", value)
        for digest in self._others.get("lifecycle", ()):
            yield self._said(at, "another lifecycle", "lifecycle", {**identity, "digest": digest})

    def _of_other_documents(self, at: int) -> Iterator[Tampering]:
        data = self._members[at]["data"]
        evil = {"name": "io.github.acme/weather", "version": "6.6.6"}
        if "document" in data:
            yield self._said(at, "another document", "document", evil)

            def change(line: dict[str, Any]) -> None:
                line["data"] |= {"document": evil, "digest": digest_of(evil)}

            yield Tampering("another document, digest fitted", f"line {at + 1}", self._with(at, change))
            lines = self._with(at, change)
            for line in lines[at:]:
                if line is not lines[at] and "document" in line["data"]:
                    break
                line["data"]["digest"] = digest_of(evil)
                if "approval" in line["data"]:
                    line["data"]["approval"]["digest"] = digest_of(evil)
            yield Tampering("another document, digests fitted behind it", f"line {at + 1}", lines)
            yield self._said(at, "no document", "document", _GONE)
        else:
            yield self._said(at, "a document", "document", evil)
        for digest in (DIGEST, _GONE, None, 1):
            yield self._said(at, "another digest", "digest", digest)

    def _with_other_members(self, at: int) -> Iterator[Tampering]:
        data = self._members[at]["data"]
        for name, values in _VALUES.items():
            for value in values:
                if value != data.get(name, _GONE):
                    yield self._said(at, f"other {name}", name, value)
        for name, value in data.get("approval", {}).items():
            for other in ([], ["owner"], "x", None, 5):
                if other != value:

                    def change(line: dict[str, Any], name: str = name, other: Any = other) -> None:
                        line["data"]["approval"][name] = other

                    yield Tampering(
                        f"other approval.{name}", f"line {at + 1}: {other}", self._with(at, change)
                    )

    def _in_other_words(self, at: int) -> Iterator[Tampering]:
        for name in ("comment", "reason"):
            for value in ("other words", "", 5, _GONE):
                yield self._said(at, f"other {name}", name, value)
        for name, values in {
            "context": ({"other": 1}, {}, "x"),
            "release": ("0.2.7", "0.1.0", "9.0.0", 5, _GONE),
            "fence": (7, 0, "x"),
            "undoes": (1, 0, at, "x"),
            "seen": ({}, {"claim": {"holder": "eve", "number": 9}}, {"claim": 5}, 5),
        }.items():
            for value in values:
                yield self._said(at, f"other {name}", name, value)

    def _in_another_envelope(self, at: int) -> Iterator[Tampering]:
        for name, values in {
            "correlationid": ("other", _GONE),
            "causationid": ("other",),
            "idempotencykey": ("other", "same"),
            "traceparent": ("other",),
            "other": (1,),
            "part": (2,),
            "remaining": (1,),
            "statehash": (_GONE, "1:" + "0" * 64, "9:" + "0" * 64),
        }.items():
            for value in values:

                def change(line: dict[str, Any], name: str = name, value: Any = value) -> None:
                    if value is _GONE:
                        line.pop(name, None)
                    else:
                        line[name] = value

                yield Tampering(f"other {name}", f"line {at + 1}: {value}", self._with(at, change))


_GONE = object()

_VALUES: Mapping[str, tuple[Any, ...]] = {
    "counted": ([], [1], [2, 3], "x", _GONE),
    "lapsed": ([], [3], [99], "x", _GONE),
    "due": ({}, {"expire": "2030-01-01T00:00:00.000000Z"}, "x", _GONE),
    "history": ({}, {"X": "Y"}, _GONE),
    "joined": (["X"], _GONE),
    "tags": ([], ["stable"], _GONE),
    "added": (["stable"], "x", _GONE),
    "removed": (["stable"], _GONE),
    "claimed": ("other@1.0", 5, _GONE),
    "released": ("other@1.0", _GONE),
    "timeout": ({}, "x", _GONE),
    "claim": ({}, "x"),
    "lost": ({}, {"offset_bytes": 0}, "x"),
    "registry": ({"version": 1, "hash": "0" * 64}, {"version": 99, "hash": "0" * 64}, "x", None),
    "via": ({"uid": 0, "login": "root", "host": "evil"}, {"uid": "x"}, "x", _GONE),
    "imported": ({"by": "eve", "source": "x", "line": 1}, "x"),
    "surprise": (1,),
}


def _ms(line: Mapping[str, Any]) -> int:
    return int(line["id"][:8] + line["id"][9:13], 16)


def _date(line: dict[str, Any], ms: int) -> None:
    """Give a line another moment, in its time and in its id; what correlates with itself goes on doing so."""
    own = line.get("correlationid") == line["id"]
    line["time"] = rfc3339(ms * 1_000_000)
    line["id"] = uuid7(ms, bytes.fromhex(line["id"].replace("-", ""))[6:])
    if own:
        line["correlationid"] = line["id"]
