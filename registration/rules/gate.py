"""What the gate demands, in short: who may approve and register, and whether the author may do it alone. Pure.

For people who begin with a registry, or look at one: the rules of the lifecycle and of the policy, by action. What is decided is
in `registration.core.definition.ask`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registration.core.facts import GOVERNED, OF_ALIASES, TAGGING
from registration.rules.policy_demands import uses_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registration.core.chart import Chart, GuardUse
    from registration.core.policy import Policy

_NAMES_MAX = 5


@dataclass(frozen=True, slots=True)
class Demanded:
    """What an action demands. demand: in words. alone: whether it approves or registers, and the author can bring that about alone."""

    action: str
    demand: str
    alone: bool

    def as_json(self) -> dict[str, Any]:
        """The demand as one JSON object."""
        return {"action": self.action, "demand": self.demand, "alone": self.alone}


def gate_of(policy: Policy, chart: Chart) -> tuple[Demanded, ...]:
    """What the actions that approve, or register under a name, demand; and those that the policy guards. In chart order."""
    known = [one.name for one in chart.actions if one.approval or one.claims_name or one.name in policy.uses]
    others = [name for name in (*TAGGING, *GOVERNED) if name in policy.uses and name not in known]
    uses = {action: uses_of(policy, chart, action) for action in (*known, *others)}
    approving = [one.name for one in chart.actions if one.approval]
    unchecked = {name for name in approving if _for_anyone(uses[name])}
    return tuple(
        Demanded(name, _demand(policy, found, alone=alone), alone)
        for name, found in uses.items()
        for alone in [_is_alone(chart, name, found, approved=bool(unchecked))]
    )


def _for_anyone(uses: Iterable[GuardUse]) -> bool:
    """Whether neither a role nor another person than the author is demanded."""
    return not any(use.name in ("role", "not_the_author") for use in uses)


def _is_alone(chart: Chart, name: str, uses: Iterable[GuardUse], *, approved: bool) -> bool:
    """Whether the author can approve, or register, alone. approved: whether anyone may approve, the author included."""
    if not chart.has_action(name) or not _for_anyone(uses):
        return False
    action = chart.action(name)
    if action.document or not (action.approval or action.claims_name):
        return False
    wanted = [use.parameters for use in uses if use.name == "approvals"]
    return all(approved and one.get("count", 1) == 1 and not one.get("roles") for one in wanted)


def _demand(policy: Policy, uses: Iterable[GuardUse], *, alone: bool) -> str:
    by_name: dict[str, list[GuardUse]] = {}
    for use in uses:
        by_name.setdefault(use.name, []).append(use)
    roles = [_roles(policy, use) for use in by_name.pop("role", ())]
    about_authors = by_name.pop("not_the_author", ())
    said = [" and ".join(dict.fromkeys(roles)) or "anyone"]
    if any(use.parameters.get("scope") == "manifest" for use in about_authors):
        said.append("not an author of any document of the manifest")
    elif about_authors:
        said.append("not the author")
    elif alone:
        said.append("also the author")
    said += _approvals(by_name.pop("approvals", ()))
    if by_name.pop("reason_given", ()):
        said.append("with a reason")
    if by_name:
        said.append(f"checked by {', '.join(by_name)}")
    return ", ".join(said)


def _roles(policy: Policy, use: GuardUse) -> str:
    who = " or ".join(f"{role} ({_listed(policy.roles.get(role, ()))})" for role in use.parameters["any"])
    aliases = use.parameters.get(OF_ALIASES, ())
    return f"{who} for {', '.join(aliases)}" if aliases else who


def _listed(people: Iterable[str]) -> str:
    names = list(people)
    more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
    return f"{', '.join(names[:_NAMES_MAX])}{more}" or "nobody"


def _approvals(uses: Iterable[GuardUse]) -> list[str]:
    """The approvals that are demanded; one demand that another one implies is left out."""
    asked = [(use.parameters.get("count", 1), use.parameters.get("roles", {})) for use in uses]
    most = max((count for count, _ in asked), default=0)
    found = {}
    for count, roles in asked:
        by_role = ", ".join(f"{number} by {role}" for role, number in sorted(roles.items()))
        said = f"after {count} {'approval' if count == 1 else 'approvals'}" + (
            f" ({by_role})" if by_role else ""
        )
        found[said] = bool(roles) or (
            count == most and not any(count == most and roles for count, roles in asked)
        )
    return [said for said, counts in found.items() if counts]
