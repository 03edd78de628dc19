"""A registry in numbers, as JSON values: counts, statistics, rows of queries, the catalog."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from registration.catalog.checking import Checked
    from registration.catalog.queries import Answer
    from registration.catalog.statistics import Statistics
    from registration.catalog.status import Status


def count(found: int) -> dict[str, Any]:
    """A count of manifests."""
    return {"count": found}


def statistics(found: Statistics, *, by_week: bool = False) -> dict[str, Any]:
    """A registry in numbers. by_week: activity by week, under `weeks`, instead of by day, under `days`."""
    done = weekly(found.days) if by_week else found.days
    return {
        "time": found.time,
        "manifests": found.manifests,
        "events": found.events,
        "unreadable": found.unreadable,
        "states": [
            {
                "state": one.state,
                "count": one.count,
                "oldest_entered_at": one.oldest,
                "median_entered_at": one.median,
                "stays": asdict(one.stays) if one.stays is not None else None,
            }
            for one in found.states
        ],
        "weeks" if by_week else "days": {day: dict(counts) for day, counts in done.items()},
    }


def weekly(days: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
    """The daily activity summed by week, keyed by its Monday."""
    weeks: dict[str, Counter[str]] = {}
    for day, counts in days.items():
        try:
            there = date.fromisoformat(day)
        except ValueError:  # in a log that another program wrote
            monday = day
        else:
            monday = date.fromordinal(there.toordinal() - there.weekday()).isoformat()
        weeks.setdefault(monday, Counter()).update(counts)
    return dict(weeks)


def rows(answer: Answer) -> Iterator[dict[str, Any]]:
    """The rows of an answer by column name; a repeated column name gets a number."""
    names: list[str] = []
    for number, column in enumerate(answer.columns, 1):
        names.append(column if column not in names else f"{column}:{number}")
    return (dict(zip(names, row, strict=True)) for row in answer.rows)


def tables(text: str) -> dict[str, Any]:
    """The tables for queries, as SQL."""
    return {"schema": text}


def catalog(found: Status) -> dict[str, Any]:
    """The status of the catalog."""
    return {
        "path": found.path,
        "state": found.state,
        "reason": found.reason or None,
        "lag": found.lag,
        "manifests": found.manifests,
        "events": found.events,
        "cursor": found.cursor,
        "size_bytes": found.size_bytes,
    }


def comparison(found: Checked) -> dict[str, Any]:
    """The result of comparing the catalog with the logs."""
    return {
        "caught_up": found.caught_up,
        "compared": found.manifests,
        "differed": list(found.mended),
        "gone": list(found.gone),
        "unreadable": list(found.unreadable),
    }
