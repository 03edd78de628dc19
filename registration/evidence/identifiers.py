"""The ids of events as a second clock, and as what no two events share. Pure.

An id is a UUID version 7: it begins with the milliseconds of the clock that the event's time was taken from. So an event with
another time and the same id, or with the same time and another id, is found. Within a millisecond, ids come in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from registration.values.times import rfc3339

if TYPE_CHECKING:
    from registration.values.events import Event, StateSnapshot

IDS_KEPT_MAX = 65_536
"""The number of ids of one millisecond, and of those of earlier moments, that are remembered."""

_MOMENT = 13
"""The characters of an id that hold its milliseconds."""

_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TIME = re.compile(
    "[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{6}Z", re.ASCII
)


class Identifiers:
    """The ids of one log so far. late: those of a moment before an earlier line's; one of them may be used twice."""

    def __init__(self) -> None:
        self.late: set[str] = set()
        self._highest = ""
        self._recent: set[str] = set()

    def is_next(self, event: Event) -> bool:
        """Whether nothing is wrong with the id of an event that comes next, at a later moment than all before it."""
        id, time = event.id, event.time
        if id[:_MOMENT] <= self._highest or not _ID.fullmatch(id) or not _TIME.fullmatch(time):
            return False
        second = _second(time[:19])
        return second is not None and second + int(time[20:23]) == int(id[:8] + id[9:_MOMENT], 16)

    def add(self, event: Event) -> None:
        """Add an id of which `is_next` is true."""
        self._highest, self._recent = event.id[:_MOMENT], {event.id}

    def against(
        self, event: Event, state: StateSnapshot | None
    ) -> Iterator[tuple[str, str, Literal["damage", "finding"]]]:
        """What the id of the next event says against it: the reason, its group and its kind."""
        id = event.id
        ms = ms_of_id(id)
        if ms is None:
            yield "its id is no UUID of version 7", "id form", "damage"
            return
        moment = id[:_MOMENT]
        if moment > self._highest:
            self._highest = moment
            self._recent = {id}
        elif moment < self._highest:
            if id in self.late:
                yield "its id is that of another line", "id twice", "damage"
            elif len(self.late) < IDS_KEPT_MAX:
                self.late.add(id)
            yield "its id is of an earlier moment than that of a line before it", "id order", "finding"
        elif id in self._recent:
            yield "its id is that of another line", "id twice", "damage"
        elif len(self._recent) < IDS_KEPT_MAX:
            self._recent.add(id)
        yield from _clock(event, state, ms)


def ms_of_id(id: str) -> int | None:
    """The milliseconds since 1970 in an id; None if it is no UUID of version 7 as the engine makes them."""
    return int(id[:8] + id[9:13], 16) if _ID.fullmatch(id) else None


def ms_of_time(time: object) -> int | None:
    """The milliseconds since 1970 of a time; None if it is not in the form of `registration.values.times`."""
    if type(time) is not str or not _TIME.fullmatch(time):
        return None
    second = _second(time[:19])
    return None if second is None else second + int(time[20:23])


def moment_of(event: Event) -> str:
    """What the clock said when an event was decided: its time is never before that of the event before it."""
    ms = ms_of_id(event.id)
    if ms is None or ms_of_time(event.time) == ms:
        return event.time
    try:
        return min(event.time, rfc3339(ms * 1_000_000))
    except OverflowError:
        return event.time


def _clock(
    event: Event, state: StateSnapshot | None, ms: int
) -> Iterator[tuple[str, str, Literal["damage", "finding"]]]:
    timeout = event.data.get("timeout")
    said = event.time if type(timeout) is not dict else timeout.get("fired")
    at = ms_of_time(said)
    if at is None:
        yield f"its time is malformed ({said!r})", "time form", "damage"
    elif at == ms:
        return
    elif said is event.time and state is not None and event.time == state.updated_at and ms < at:
        return  # the clock was set back, so the time of the event before it was taken
    else:
        yield f"its time ({said}) is not that of its id", "time against id", "damage"


def _second(text: str) -> int | None:
    """The milliseconds since 1970 of a time without its fraction."""
    begun = _day(text[:10])
    if begun is None:
        return None
    return (begun + int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])) * 1000


@lru_cache(maxsize=256)
def _day(text: str) -> int | None:
    """The seconds since 1970 at the start of a day."""
    try:
        return (date.fromisoformat(text).toordinal() - 719_163) * 86_400
    except ValueError:
        return None
