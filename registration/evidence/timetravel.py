"""Time travel: the state of a manifest at any version or time, from its log alone.

Pure: every function takes the events and returns a value. Events are read one by one, only as far as needed,
so a generator that verifies a log (`registration.pipeline.pipeline`) verifies only the part that is read.
Changes between documents, and their authors, are in `registration.evidence.differences`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any

from registration.core.decider import fold
from registration.errors import InvalidArgument, NotFound, RegistrationError
from registration.values.documents import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.core.chart import Chart
    from registration.core.definition import Definition
    from registration.values.events import Event, StateSnapshot

_TIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<minute>[0-9]{2}:[0-9]{2})(?:(?P<second>:[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)


def at_time(text: str, *, earliest: bool = False) -> str:
    """A time as people write it, converted to the form of `registration.values.times`, as in events.

    It is RFC 3339, with any offset, or shortened: ``2026-01-31T09:30:00.25+02:00``,
    ``2026-01-31 09:30Z``, ``2026-01-31``. Missing digits are filled in as late as possible: a date is the end of that
    day in UTC, a second its last microsecond. So a displayed time, truncated to the second, includes its event.
    earliest: as early as possible instead: for lower bounds.

    Raises:
        InvalidArgument: when it is invalid, or lacks a time zone.
    """
    found = _TIME.fullmatch(text)
    if found is not None and found["minute"] and not found["zone"]:
        raise InvalidArgument(
            f"The time {text!r} has no time zone.",
            f"Write {text}Z, or an offset such as {text}+02:00.",
            time=text,
        )
    try:
        if found is None:
            raise ValueError(text)
        minute, second, digit = ("00:00", ":00", "0") if earliest else ("23:59", ":59", "9")
        fraction = (found["fraction"] or "").ljust(6, digit)  # further digits are dropped
        zone = (found["zone"] or "Z").upper().replace("Z", "+00:00")
        exactly = f"{found['date']}T{found['minute'] or minute}{found['second'] or second}.{fraction}{zone}"
        moment = datetime.fromisoformat(exactly).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"Invalid time {text!r}.",
            "Write 2026-01-31T09:30:00Z, with any offset and precision, or a date: 2026-01-31.",
            time=text,
        ) from None
    return moment.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def state_at(
    definition: Definition, events: Iterable[Event], *, version: int | None = None, time: str | None = None
) -> StateSnapshot:
    """A past state: the fold of a log's first events. Without version and time: of all of them.

    version: from 1; a version inside a command of several events is allowed. Nothing after it is read.
    time: as `at_time` takes it, inclusive. One event after it is read.

    Raises:
        InvalidArgument: when there is no such version, `time` is invalid, or both are given.
        NotFound: when there was nothing yet at that time, or there are no events.
        UnknownEvent: when an event's type is unknown to the definition.
    """
    if version is not None and time is not None:
        raise InvalidArgument("Both a version and a time were given.", "Give only one.")
    latest = None if time is None else at_time(time)
    following = iter(events)
    first = next(following, None)
    if first is None:
        raise NotFound("There are no events, so there is no state.")
    if latest is not None and first.time > latest:
        raise NotFound(
            f"{first.subject!r} did not exist yet at {time}: it was created at {first.time}.",
            "Ask for that time, or a later one.",
            manifest_id=first.subject,
            time=latest,
            created_at=first.time,
        )
    log: Iterable[Event] = chain([first], following)
    if latest is not None:
        log = takewhile(lambda event: event.time <= latest, log)
    elif version is not None:
        log = islice(log, version) if version > 0 else log
    state = fold(definition, None, log)
    assert state is not None
    if version is not None and version != state.version:
        raise no_version(state.stream, version, state.version)
    return state


def no_version(stream: str, wanted: int, last: int) -> InvalidArgument:
    """The error of a version beyond the log. last: the version of its last event."""
    there = "it has version 1 only" if last == 1 else f"it has versions 1 to {last}"
    return InvalidArgument(
        f"{stream!r} has no version {wanted}: {there}.", manifest_id=stream, version=wanted, last_version=last
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A document, and the event that introduced it. digest: ``sha256:`` over the document's RFC 8785 form."""

    version: int
    time: str
    actor: str | None
    digest: str
    document: Mapping[str, Any]


def revision(event: Event) -> Revision | None:
    """The document of an event; None if it has none."""
    if "document" not in event.data:
        return None
    document = event.data["document"]
    return Revision(
        version=event.version,
        time=event.time,
        actor=event.actor,
        digest=event.data.get("digest") or digest_of(document),
        document=document,
    )


@dataclass(frozen=True, slots=True)
class _Pen:
    """The characters of a graph."""

    entered: str
    stays: str
    lane: str
    across: str
    leaves_right: str
    leaves_left: str
    leaves_between: str
    ends: str


_UNICODE = _Pen("●", "○", "┊", "─", "╰", "╯", "┴", "╵")
_ASCII = _Pen("*", "o", ":", "-", "`", "'", "^", "'")


@dataclass(frozen=True, slots=True)
class _GraphLine:
    """The line of a graph for one event. before, after: the active leaves. cells: the text next to the drawing."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    cells: tuple[str, ...]


def graph(chart: Chart, events: Iterable[Event], *, ascii: bool = False) -> Iterator[str]:
    """A log as lines of text: one lane for each state that it has been in, one line for each event.

    The lanes are named at the top, in chart order, with states that are no longer in the chart (or no longer leaves) last.
    ``●`` marks the state that the event led to, ``○`` a state that stays active, and a line connects the states that were left.
    An event that changed no state has ``●`` in all its lanes. Version, time, actor, action and
    remarks follow. No line contains a control character.

    ascii: draw with ASCII only; the text may still contain any letters.

    Raises:
        RegistrationError: after the last line, if reading the events raised it; the events read until then are drawn.
    """
    pen = _ASCII if ascii else _UNICODE
    rows: list[_GraphLine] = []
    damage: RegistrationError | None = None
    try:
        rows.extend(map(_row, events))  # one by one, so that those before an error are kept
    except RegistrationError as error:
        damage = error
    lanes = _lanes(chart, rows)
    for index, state in enumerate(lanes):
        yield f"{pen.lane} " * index + printable(state)
    widths = [max(map(len, column)) for column in zip(*(row.cells for row in rows), strict=True)]
    for row in rows:
        version, *others = row.cells
        padded = [version.rjust(widths[0]), *map(str.ljust, others, widths[1:])]
        yield "  ".join([_drawing(chart, row, lanes, pen), *padded]).rstrip()
    if damage is not None:
        raise damage


def printable(text: str) -> str:
    r"""The text with every control character as a JSON escape: ``\n``, ``\u009b``."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    short = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(character)
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return short or "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _row(event: Event) -> _GraphLine:
    when = f"{event.time[:10]} {event.time[11:19]}Z"
    cells = (str(event.version), when, event.actor or "-", event.action, event.remarks)
    before = () if event.from_state is None else tuple(event.from_state.split("+"))
    return _GraphLine(before, tuple(event.to_state.split("+")), tuple(map(printable, cells)))


def _lanes(chart: Chart, rows: Sequence[_GraphLine]) -> list[str]:
    been = dict.fromkeys(state for row in rows for state in (*row.before, *row.after))
    known = [leaf for leaf in chart.leaves if leaf in been]
    return known + [state for state in been if state not in known]


def _drawing(chart: Chart, row: _GraphLine, lanes: Sequence[str], pen: _Pen) -> str:
    column = {state: 2 * index for index, state in enumerate(lanes)}
    drawn = list(" ".join(pen.lane * len(lanes)))
    left = [state for state in row.before if state not in row.after]
    entered = [state for state in row.after if state not in row.before]
    corners: dict[int, str] = {}
    for group in _groups(chart, (*left, *entered)):
        first, last = min(column[state] for state in group), max(column[state] for state in group)
        drawn[first:last] = pen.across * (last - first)
        corners |= {
            column[state]: _corner(pen, column[state], first, last) for state in group.intersection(left)
        }
    for at, corner in corners.items():  # over the lines of other groups
        drawn[at] = corner
    for state in row.after:
        stays = state not in entered and (left or entered)
        drawn[column[state]] = pen.stays if stays else pen.entered
    return "".join(drawn)


def _corner(pen: _Pen, at: int, first: int, last: int) -> str:
    """The character for a state that was left, on a line from `first` to `last`."""
    if first == last:
        return pen.ends
    return pen.leaves_right if at == first else pen.leaves_left if at == last else pen.leaves_between


def _groups(chart: Chart, states: Iterable[str]) -> list[set[str]]:
    """The states that one transition connects. Simultaneous transitions in two regions are two."""
    groups: list[set[str]] = []
    for state in states:
        near = [
            group for group in groups if not all(_are_regions_apart(chart, state, other) for other in group)
        ]
        groups = [group for group in groups if group not in near] + [{state}.union(*near)]
    return groups


def _are_regions_apart(chart: Chart, state: str, other: str) -> bool:
    above = chart.lineage(other)
    shared = next((name for name in chart.lineage(state) if name in above), None)
    return shared is not None and chart.state(shared).parallel
