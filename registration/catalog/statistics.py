"""Statistics: manifests per state, their age there, the time spent in each state, and actions per day."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_US = 1e6


@dataclass(frozen=True, slots=True)
class Stays:
    """How long manifests stayed in a place before they left it, in seconds. p50_s, p95_s: exact, by nearest rank."""

    count: int
    mean_s: float
    min_s: float
    p50_s: float
    p95_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class InState:
    """The manifests that are in one place now, and those that were.

    count: how many are. oldest, median: the time at which the first and the median one entered; None if there are
    none. stays: of those that left; None if none has.
    """

    state: str
    count: int
    oldest: str | None
    median: str | None
    stays: Stays | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """A registry in numbers, as of `time`.

    states: by name. days: by day (UTC), the number of times each action was taken, from `since` on if given.
    unreadable: the number of manifests that can't be read, and are not counted.
    """

    time: str
    manifests: int
    events: int
    unreadable: int
    states: tuple[InState, ...]
    days: Mapping[str, Mapping[str, int]]


def statistics(db: sqlite3.Connection, *, time: str, since: str | None) -> Statistics:
    """The statistics of an open catalog. since: a time in the form of events."""
    now = dict(db.execute("SELECT state, count(*) FROM manifests GROUP BY state"))
    left = dict(db.execute("SELECT source, count(*) FROM events WHERE stayed_us IS NOT NULL GROUP BY source"))
    states = tuple(
        InState(place, now.get(place, 0), *_since(db, place, now.get(place, 0)), _stays(db, place, left))
        for place in sorted(now.keys() | left.keys())
    )
    days: dict[str, dict[str, int]] = {}
    for day, action, count in db.execute(
        "SELECT substr(time, 1, 10), action, count(*) FROM events WHERE time >= ? GROUP BY 1, 2 ORDER BY 1, 2",
        (since or "",),
    ):
        days.setdefault(day, {})[action] = count
    return Statistics(
        time=time,
        manifests=sum(now.values()),
        events=_number(db, "SELECT count(*) FROM events"),
        unreadable=_number(db, "SELECT count(*) FROM unreadable"),
        states=states,
        days=days,
    )


def _since(db: sqlite3.Connection, place: str, count: int) -> tuple[str | None, str | None]:
    if not count:
        return None, None
    oldest, median = (
        db.execute(
            "SELECT entered_at FROM manifests WHERE state = ? ORDER BY entered_at LIMIT 1 OFFSET ?",
            (place, offset),
        ).fetchone()[0]
        for offset in (0, (count - 1) // 2)
    )
    return oldest, median


def _stays(db: sqlite3.Connection, place: str, left: Mapping[str, int]) -> Stays | None:
    count = left.get(place, 0)
    if not count:
        return None
    there = "FROM events WHERE source = ? AND stayed_us IS NOT NULL"
    total, least, most = db.execute(
        f"SELECT sum(stayed_us), min(stayed_us), max(stayed_us) {there}",
        (place,),
    ).fetchone()
    p50, p95 = (
        _number(db, f"SELECT stayed_us {there} ORDER BY stayed_us LIMIT 1 OFFSET ?", place, rank)
        for rank in ((count * percent + 99) // 100 - 1 for percent in (50, 95))
    )
    return Stays(count, total / count / _US, least / _US, p50 / _US, p95 / _US, most / _US)


def _number(db: sqlite3.Connection, query: str, *values: Any) -> int:
    found: int = db.execute(query, values).fetchone()[0]
    return found
