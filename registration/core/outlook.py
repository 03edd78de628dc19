"""Outlook: the approvals that a manifest has, those that are missing, and the actors who could give them. Pure.

The guard `approvals` gives all of it as evidence. A result of a command, `show`, and the refusal of a second approval by the same person
say it in the words of `Outlook`: ``1 of 2 approvals; missing: one of cyd, dan``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registration.core.interpreter import step
from registration.values.commands import Command

if TYPE_CHECKING:
    from registration.core.chart import Chart, GuardUse
    from registration.core.policy import Guard, Policy
    from registration.values.events import StateSnapshot

GUARD = "approvals"
"""The name of the guard that counts approvals."""

NAMES_SHOWN_MAX = 5
"""How many actors a text names."""

_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class Missing:
    """Approvals that are missing.

    count: how many, at least 1. role: the role that their givers must have; None: any. actors: those who could give one, sorted; None if
    the rules name none: then any actor except `besides`.
    """

    count: int
    role: str | None = None
    actors: tuple[str, ...] | None = None
    besides: tuple[str, ...] = ()

    def __str__(self) -> str:
        of_role = f" ({self.role})" if self.role is not None else ""
        if self.actors is None:
            but = f" except {_listed(self.besides)}" if self.besides else ""
            return f"{_number(self.count)} by any actor{but}{of_role}"
        if not self.actors:
            return f"{_number(self.count)}{of_role}, which no actor with a role can give"
        if len(self.actors) < self.count:
            return f"{_number(self.count)}, but only {_listed(self.actors)} can give one{of_role}"
        if len(self.actors) == self.count:
            return f"{_listed(self.actors, 'and')}{of_role}"
        return f"{_number(self.count)} of {_listed(self.actors)}{of_role}"

    def as_json(self) -> dict[str, Any]:
        """The same as one JSON object."""
        return {
            "count": self.count,
            "role": self.role,
            "actors": None if self.actors is None else list(self.actors),
            "besides": list(self.besides),
        }


@dataclass(frozen=True, slots=True)
class Outlook:
    """How far a manifest is on the way to an action whose guard counts approvals.

    action: that action. approving: the action that gives approvals. given: the number of people whose approval counts; wanted: the number
    that the rules demand. by_role: by demanded role, the same two numbers. missing: empty if nothing is missing.
    """

    action: str
    approving: str
    given: int
    wanted: int
    by_role: Mapping[str, tuple[int, int]] = field(hash=False)
    missing: tuple[Missing, ...]

    def __str__(self) -> str:
        told = f"{self.given} of {self.wanted} {'approval' if self.wanted == 1 else 'approvals'}"
        if self.given > self.wanted:
            told = f"{self.given} approvals, {self.wanted} needed"
        lacking = [
            f"{found} of {wanted} by {role}"
            for role, (found, wanted) in self.by_role.items()
            if found < wanted
        ]
        told = ", ".join([told, *lacking])
        return f"{told}; missing: {words_of(self.missing)}" if self.missing else told

    def demands_more_than(self, other: Outlook) -> bool:
        """Whether what it demands includes another's demands, and more."""
        if self.approving != other.approving or self.wanted < other.wanted:
            return False
        mine, others = self.by_role, other.by_role
        includes = all(role in mine and mine[role][1] >= wanted for role, (_, wanted) in others.items())
        return includes and (self.wanted > other.wanted or len(mine) > len(others))

    def as_json(self) -> dict[str, Any]:
        """The same as one JSON object; `text` is for people."""
        return {
            "action": self.action,
            "approving": self.approving,
            "given": self.given,
            "wanted": self.wanted,
            "by_role": {
                role: {"given": found, "wanted": wanted} for role, (found, wanted) in self.by_role.items()
            },
            "missing": [one.as_json() for one in self.missing],
            "text": str(self),
        }


def words_of(missing: Iterable[Missing]) -> str:
    """The missing approvals in words: ``one of cyd, dan``."""
    return " and ".join(map(str, missing))


def outlooks(
    chart: Chart, guards: Mapping[str, Guard], policy: Policy, state: StateSnapshot | None
) -> tuple[Outlook, ...]:
    """The outlook on each action whose guards count approvals, if the action or the approving one can be taken from the state.

    guards: the lifecycle's, by name. An action that demands approvals twice, by lifecycle and policy, is in it once: by the demands that are
    not met, or else by the highest one. In the order of the lifecycle.
    """
    if state is None:
        return ()
    found = []
    for action in chart.actions:
        looked_at = [
            outlook
            for outlook in _of_action(chart, guards, policy, state, action.name)
            if _is_possible(chart, state, action.name) or _is_possible(chart, state, outlook.approving)
        ]
        lacking = [one for one in looked_at if one.missing]
        found += [
            one
            for one in lacking
            if not any(other.demands_more_than(one) for other in lacking if other is not one)
        ] or sorted(looked_at, key=lambda one: one.wanted)[-1:]
    return tuple(found)


def _of_action(
    chart: Chart, guards: Mapping[str, Guard], policy: Policy, state: StateSnapshot, action: str
) -> Iterator[Outlook]:
    uses: dict[str, tuple[Guard, GuardUse]] = {}
    for move in chart.transitions:
        if move.action == action:
            uses |= {repr(use): (guards[use.name], use) for use in move.guards if use.name == GUARD}
    uses |= {
        repr(use): (policy.guards[use.name], use) for use in policy.uses.get(action, ()) if use.name == GUARD
    }
    for guard, use in uses.values():
        verdict = guard(state, Command(stream=state.stream, action=action), policy.asked_with(use.parameters))
        if (outlook := outlook_of(action, verdict.evidence)) is not None:
            yield outlook


def outlook_of(action: str, evidence: Mapping[str, Any]) -> Outlook | None:
    """The outlook that the evidence of a guard `approvals` contains; None if it is not from one of format 2."""
    if "missing" not in evidence or "by_role" not in evidence:
        return None
    return Outlook(
        action,
        evidence["action"],
        len(evidence["counted"]),
        evidence["count"],
        {role: (evidence["by_role"][role], wanted) for role, wanted in evidence["roles"].items()},
        tuple(
            Missing(
                one["count"],
                one["role"],
                None if one["actors"] is None else tuple(one["actors"]),
                tuple(one["besides"]),
            )
            for one in evidence["missing"]
        ),
    )


def _is_possible(chart: Chart, state: StateSnapshot, action: str) -> bool:
    return (
        chart.has_action(action)
        and step(chart, state.state, action, state.facts.get("history", {})) is not None
    )


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"


def _listed(names: Iterable[str], last: str = "") -> str:
    shown = list(names)
    if len(shown) > NAMES_SHOWN_MAX:
        return f"{', '.join(shown[:NAMES_SHOWN_MAX])} and {len(shown) - NAMES_SHOWN_MAX:,} more"
    if last and len(shown) > 1:
        return f"{', '.join(shown[:-1])} {last} {shown[-1]}"
    return ", ".join(shown)
