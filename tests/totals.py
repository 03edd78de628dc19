"""Counts that a test run prints at its end: how much was tried, not only that it held."""

from __future__ import annotations

from collections.abc import Callable

import pytest

TOTALS = pytest.StashKey[dict[str, int]]()


def counter(config: pytest.Config, what: str) -> Callable[[int], None]:
    """A function that adds to a count which is printed at the end of the run."""
    totals = config.stash.setdefault(TOTALS, {})

    def add(number: int) -> None:
        totals[what] = totals.get(what, 0) + number

    return add


def print_totals(config: pytest.Config, write_line: Callable[[str], None]) -> None:
    """One line for each count."""
    for what, number in sorted(config.stash.get(TOTALS, {}).items()):
        write_line(f"{number:,} {what}")
