"""The approvals that would no longer count under a proposed policy: what a change of rules, or of people, undoes. Pure.

The guards `approvals` of the lifecycle and of both policies are asked about a manifest as it is. Decisions of the past are another
question: see `registration.evidence.policy_replay`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from registration.core.interpreter import is_end
from registration.rules.guards.builtin import approvals
from registration.values.commands import Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from registration.core.chart import Chart
    from registration.core.policy import Policy
    from registration.values.events import StateSnapshot


@dataclass(frozen=True, slots=True)
class Uncounted:
    """An approval that counts now and would no longer. version: of its event. why: as the guard says, in a few words."""

    manifest_id: str
    version: int
    actor: str | None
    why: str


def uncounted(chart: Chart, policy: Policy, proposed: Policy, state: StateSnapshot) -> Iterator[Uncounted]:
    """The approvals of a manifest that count under `policy`, and would no longer count under `proposed`, in order.

    Nothing of a manifest whose lifecycle has ended: no approval of it is counted any more.
    """
    if not state.facts.get("approvals") or is_end(chart, state.state):
        return
    now, _ = _counted(chart, policy, state)
    then, without = _counted(chart, replace(proposed, rules_of=policy.rules_of), state)
    for version, actor in sorted(now.items()):
        if version not in then:
            yield Uncounted(state.manifest_id, version, actor, without.get(version, "no rule counts it"))


def _counted(
    chart: Chart, policy: Policy, state: StateSnapshot
) -> tuple[Mapping[int, str | None], Mapping[int, str]]:
    """The approvals that some rule of a policy counts, by version; and why the others count nowhere."""
    uses = [use for found in policy.uses.values() for use in found]
    uses += [use for move in chart.transitions for use in move.guards]
    counted: dict[int, str | None] = {}
    without: dict[int, str] = {}
    for use in uses:
        if use.name == "approvals":
            asked = Command(stream=state.stream)
            evidence: Mapping[str, Any] = approvals(state, asked, policy.asked_with(use.parameters)).evidence
            counted |= {one["version"]: one["actor"] for one in evidence["counted"]}
            without |= {one["version"]: one["why"] for one in evidence["not_counted"]}
    return counted, without
