"""Repair: from which place a log continues once the loss of its damaged part is accepted. Pure.

The lost events may have ended any approval: by a rejection, a new document, a withdrawal. So a repair lapses all approvals,
and leads to a place from which they must be given again (`step_of_repair`). `registration.core.decider.decide_repair`
makes its event; a repair is decided again from the event's own data (`asked_in`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from registration.core.facts import REPAIR, SEEN
from registration.core.interpreter import Spot, Step, onward
from registration.values.commands import Command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.core.chart import Chart
    from registration.core.policy import Policy
    from registration.values.events import Event, StateSnapshot

COUNTING = "approvals"
"""The guard that counts approvals: a transition that it guards can't be taken without them."""

CHARTS_KEPT_MAX = 64
"""The number of charts whose places are cached."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The part of a log that a repair gives up.

    size_bytes: of all bytes from the damage on. last_version: the last version known to have existed. kept_as: the paths of
    those bytes, and of the snapshot, relative to the root. damage: what is wrong, without a full stop.
    """

    size_bytes: int
    last_version: int
    kept_as: tuple[str, ...]
    damage: str

    def as_json(self, offset_bytes: int, *, given: bool) -> dict[str, Any]:
        """The member `lost` of the event. given: whether the event has a reason of its own; otherwise it is the damage."""
        return {
            "offset_bytes": offset_bytes,
            "size_bytes": self.size_bytes,
            "last_version": self.last_version,
            "kept_as": list(self.kept_as),
            **({"damage": self.damage} if given else {}),
        }


def asked_in(event: Event) -> tuple[Command, Lost]:
    """The request and the loss that led to the event of a repair: the arguments for deciding it again.

    Raises:
        KeyError, TypeError: when it is not the event of a repair, or was tampered with.
    """
    data, lost = event.data, event.data["lost"]
    given = "damage" in lost
    command = Command(
        stream=event.subject,
        action=REPAIR.name,
        actor=event.actor,
        reason=data["reason"] if given else None,
        seen=data.get(SEEN),
        via=data.get("via"),
    )
    damage = lost["damage"] if given else data["reason"]
    return command, Lost(lost["size_bytes"], lost["last_version"], tuple(lost["kept_as"]), damage)


def step_of_repair(chart: Chart, policy: Policy, state: StateSnapshot | None) -> Step:
    """Where a log continues whose intact events lead to `state`; None if none is left: the place is empty.

    It stays where it is if that place, with its history, can be reached without approvals. Otherwise it continues at the place
    nearest to creation from which an approval can be given, entered anew: its time-outs begin with the repair. A lifecycle without
    approvals always stays.
    """
    if state is None:
        return Step(REPAIR.name, (), "")
    history = state.facts.get("history", {})
    here = Spot(state.state, tuple(sorted(history.items())))
    counting = frozenset(
        action for action, uses in policy.uses.items() if any(use.name == COUNTING for use in uses)
    )
    there = _continued(chart, counting, here)
    left = frozenset() if there.place == here.place else chart.active(state.state)
    assert there.place is not None
    return Step(REPAIR.name, (), there.place, left, history=dict(there.remembered))


def _continued(chart: Chart, counting: frozenset[str], here: Spot) -> Spot:
    if not any(action.approval for action in chart.actions):
        return here
    open_to_all = _unapproved(chart, counting)
    if here in open_to_all:
        return here
    # The same place with another history: one that leads to no place that needs approvals.
    same = (spot for spot in open_to_all if spot.place == here.place)
    approving = (spot for spot, approvable in open_to_all.items() if approvable)
    return next(same, None) or next(approving, None) or next(iter(open_to_all), here)


@lru_cache(maxsize=CHARTS_KEPT_MAX)
def _unapproved(chart: Chart, counting: frozenset[str]) -> Mapping[Spot, bool]:
    """The places that can be reached without approvals, nearest to creation first; whether one can be given there.

    counting: the actions for which the policy counts approvals. Creation is never left out, even if it is itself an approval.
    """

    def needs_approvals(taken: Step) -> bool:
        label = taken.label
        if chart.has_action(label) and (chart.action(label).approval or label in counting):
            return True
        return any(use.name == COUNTING for move in taken.transitions for use in move.guards)

    found: dict[Spot, bool] = {}
    waiting = list(dict.fromkeys(target for _, target in onward(chart, Spot(None))))
    seen = set(waiting)
    for spot in waiting:  # it grows during the iteration
        found[spot] = False
        for taken, target in onward(chart, spot):
            found[spot] |= chart.has_action(taken.label) and chart.action(taken.label).approval
            if target not in seen and not needs_approvals(taken):
                seen.add(target)
                waiting.append(target)
    return found
