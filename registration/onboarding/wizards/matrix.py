"""The whole transition matrix of a wizard, from its chart: the targets of every kind of action from every state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registration.core.interpreter import steps, time_out
from registration.onboarding.wizards.statechart import chart_of

if TYPE_CHECKING:
    from registration.onboarding.wizards.wizard import Wizard

COLUMNS = ("on", "back", "goto", "stays", "fail", "cancel", "expire", "restart")
"""The kinds of actions. on: answering the step; stays: correcting, drafting, extending, binding, recording."""

_KIND = {"process": "on", "complete": "on", "start": "on"}


def matrix_of(wizard: Wizard) -> dict[str, dict[str, tuple[str, ...]]]:
    """By state (``(none)``: before the start), and by kind of action, the possible targets; empty if there are none.

    If there are several targets, the answers decide: steps without questions are skipped.
    """
    chart = chart_of(wizard, wizard.time_to_live)
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for place in (None, *chart.leaves):
        row: dict[str, list[str]] = {column: [] for column in COLUMNS}
        for action, taken in steps(chart, place).items():
            family = action.partition("_")[0]
            kind = _KIND.get(family, family if family in COLUMNS else "stays")
            if kind == "stays":
                row[kind].append(action)
            elif taken.place not in row[kind]:
                row[kind].append(taken.place)
        if place is not None:
            fired = (time_out(chart, place, timeout) for timeout in chart.timeouts)
            row["expire"] = [one.place for one in fired if one is not None]
        found[place or "(none)"] = {column: tuple(ends) for column, ends in row.items()}
    return found


def markdown_of(wizard: Wizard) -> str:
    """The same as a table in Markdown. Ends in a line feed."""
    lines = [f"| from | {' | '.join(COLUMNS)} |", f"| --- |{' --- |' * len(COLUMNS)}"]
    for state, row in matrix_of(wizard).items():
        cells = [", ".join(row[column]) or "-" for column in COLUMNS]
        lines.append(f"| {state} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
