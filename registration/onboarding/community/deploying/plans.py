"""Plans: the steps of a deployment, in order, as data.

A step names an operation of a target and its arguments; an argument that an earlier step creates is given by that step's
number, since its id is not known before. A plan is a JSON document, and the same manifest gives the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from registration.errors import InvalidDocument
from registration.onboarding.community.deploying.target import Operation

FORMAT = 1
_ARGUMENTS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "create_role": (frozenset({"name", "colour", "permissions"}), frozenset()),
    "create_channel": (frozenset({"name", "kind"}), frozenset({"category"})),
    "set_permission": (frozenset({"access"}), frozenset({"channel", "role"})),
}
"""By operation, its arguments, and those that are ids from earlier steps."""


@dataclass(frozen=True, slots=True)
class DeploymentStep:
    """One call at the target.

    title: its name for people. arguments: JSON values. refers: by argument, the number of the earlier
    step that provides the id, from 0; None: no id.
    """

    operation: Operation
    title: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    refers: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """Steps in order. name: of the community that is deployed."""

    name: str
    steps: tuple[DeploymentStep, ...]

    def as_document(self) -> dict[str, Any]:
        """The plan as a JSON object."""
        return {
            "kind": "deployment",
            "format": FORMAT,
            "name": self.name,
            "steps": [
                {
                    "do": step.operation,
                    "title": step.title,
                    "with": dict(step.arguments),
                    "refers": dict(step.refers),
                }
                for step in self.steps
            ],
        }


def plan_from(document: Mapping[str, Any]) -> DeploymentPlan:
    """The plan in a document.

    Raises:
        InvalidDocument: when it is invalid, or a step refers to one that is not before it.
    """
    if document.get("kind") != "deployment" or document.get("format") != FORMAT:
        raise InvalidDocument("The plan", [f"it is not a deployment of format {FORMAT}"])
    try:
        steps = tuple(
            DeploymentStep(one["do"], one["title"], one["with"], one["refers"]) for one in document["steps"]
        )
        plan = DeploymentPlan(document["name"], steps)
        problems = [
            f"at /steps/{at}: {problem}" for at, step in enumerate(steps) if (problem := _problem(step, at))
        ]
    except (LookupError, TypeError, AttributeError):
        raise InvalidDocument("The plan", ["a step lacks members"]) from None
    if problems:
        raise InvalidDocument("The plan", problems)
    return plan


def _problem(step: DeploymentStep, at: int) -> str | None:
    if step.operation not in get_args(Operation):
        return f"unknown operation {step.operation!r}"
    arguments, references = _ARGUMENTS[step.operation]
    if step.arguments.keys() != arguments or step.refers.keys() != references:
        return f"{step.operation} takes {', '.join(sorted(arguments | references))}"
    beyond = [number for number in step.refers.values() if number is not None and not 0 <= number < at]
    return f"it refers to step {beyond[0]}, which is not before it" if beyond else None


def plan_for(manifest: Mapping[str, Any]) -> DeploymentPlan:
    """The plan for a manifest: its roles, then its categories and their channels, then the permissions there.

    A tier that can't see a channel needs no step: channels are hidden by default.
    """
    steps: list[DeploymentStep] = []
    roles: dict[str, int] = {}
    for role in manifest["roles"]:
        roles[role["tier"]] = len(steps)
        arguments = {name: role[name] for name in ("name", "colour", "permissions")}
        steps.append(DeploymentStep("create_role", f"create the role {role['name']!r}", arguments))
    permissions: list[DeploymentStep] = []
    for category in manifest["categories"]:
        above = len(steps)
        named = f"create the category {category['name']!r}"
        arguments = {"name": category["name"], "kind": "category"}
        steps.append(DeploymentStep("create_channel", named, arguments, {"category": None}))
        for channel in category["channels"]:
            place = len(steps)
            named = f"create the channel {channel['name']!r} in {category['name']!r}"
            arguments = {"name": channel["name"], "kind": channel["kind"]}
            steps.append(DeploymentStep("create_channel", named, arguments, {"category": above}))
            permissions += [
                DeploymentStep(
                    "set_permission",
                    f"let {tier!r} {access} in {channel['name']!r}",
                    {"access": access},
                    {"channel": place, "role": roles[tier]},
                )
                for tier, access in channel["access"].items()
                if access != "none"
            ]
    return DeploymentPlan(f"{manifest['name']}@{manifest['version']}", (*steps, *permissions))
