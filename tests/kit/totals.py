"""Counts that a test run prints at its end: how much was tried, not only that it held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

TOTALS = pytest.StashKey[dict[str, int]]()


def counter(config: pytest.Config, what: str) -> Callable[[int], None]:
    """A function that adds to a count which is printed at the end of the run."""
    totals = config.stash.setdefault(TOTALS, {})

    def add(number: int) -> None:
        totals[what] = totals.get(what, 0) + number

    return add


def hand_over_totals(config: pytest.Config) -> None:
    """In a process that runs a part of the tests for another one: have it add our counts to its own."""
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["totals"] = config.stash.get(TOTALS, {})


def add_totals(config: pytest.Config, output: dict[str, Any]) -> None:
    """Add the counts of such a process."""
    for what, number in output.get("totals", {}).items():
        counter(config, what)(number)


def print_totals(config: pytest.Config, write_line: Callable[[str], None]) -> None:
    """One line for each count."""
    for what, number in sorted(config.stash.get(TOTALS, {}).items()):
        write_line(f"{number:,} {what}")
