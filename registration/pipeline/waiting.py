"""The manifests waiting for an actor: those on which they could act now, oldest first, with the reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from registration.core.interpreter import steps
from registration.errors import Next, RegistrationError
from registration.pipeline.find import FindPart
from registration.values.commands import check_actor
from registration.values.people import same_person

if TYPE_CHECKING:
    from registration.core.explanation import Explanation
    from registration.engine.registry import OpenRegistry
    from registration.pipeline.part import Direct
    from registration.pipeline.results import Summary
    from registration.values.events import StateSnapshot
    from registration.values.leases import Lease

LOOKED_AT_MAX = 1_000
"""The maximum number of manifests for which rules are evaluated: the oldest ones."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One possible action. why: the verdicts. next: the step, with its missing arguments."""

    action: str
    to: str
    why: tuple[str, ...]
    next: Next | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """One waiting manifest. since: the time of its last event. claim: the actor's own, if there is one."""

    manifest_id: str
    state: str
    version: int
    since: str
    choices: tuple[Choice, ...]
    claim: Lease | None


@dataclass(frozen=True, slots=True)
class WaitingList:
    """found: the waiting manifests. claimed: the number skipped because others have claimed them. looked_at: the number evaluated.

    unread: the unreadable ones. complete: whether all were evaluated; otherwise there may be more.
    """

    found: tuple[Waiting, ...]
    claimed: int
    looked_at: int
    unread: tuple[RegistrationError, ...]
    complete: bool


def waiting_for(
    registry: OpenRegistry, name: str, *, state: str | None = None, limit: int = 10
) -> WaitingList:
    """The actions that `name` could take now, on at most `limit` manifests.

    Excluded are manifests claimed by others; new documents for a manifest of another author; and approvals by
    an actor whose approval of the current document counts already.

    Raises:
        InvalidArgument: when the name is invalid, or there is no such state.
    """
    check_actor(name, "name")
    chart = registry.definition.chart
    find: FindPart[Direct] = FindPart(registry)
    found: list[Waiting] = []
    unread: list[RegistrationError] = []
    claimed = looked_at = 0
    complete = True
    for summary in find.list(state, sort="updated"):
        if summary.problem is not None:
            unread.append(summary.problem)
            continue
        if not steps(chart, summary.state):
            continue
        if len(found) == limit or looked_at == LOOKED_AT_MAX:
            complete = False
            break
        looked_at += 1
        try:
            claim = registry.lease_on(summary.manifest_id)
            if claim is not None and not same_person(claim.holder, name):
                claimed += 1
                continue
            waiting = _waiting(registry, summary, name, claim)
        except RegistrationError as error:
            unread.append(error)
            continue
        if waiting is not None:
            found.append(waiting)
    return WaitingList(tuple(found), claimed, looked_at, tuple(unread), complete)


def _waiting(registry: OpenRegistry, summary: Summary, name: str, claim: Lease | None) -> Waiting | None:
    state = registry.state(summary.manifest_id)
    choices = tuple(
        Choice(
            one.action,
            one.to or "",
            tuple(
                answer.verdict.reason
                for answer in one.answers
                if answer.verdict.agrees and answer.origin != "claim"
            ),
            _by(one.next, None if same_person(name, registry.actor) else name),
        )
        for one in registry.explained_from(registry.as_of_now(state), None, {"actor": name}, in_person=True)
        if _could(one) and _concerns(registry, state, one, name)
    )
    if not choices:
        return None
    return Waiting(state.stream, state.state, state.version, state.updated_at, choices, claim)


def _by(step: Next | None, name: str | None) -> Next | None:
    """The step, with `name` as the actor if it has none."""
    if step is None or name is None or step.actor is not None or "actor" in step.missing:
        return step
    return replace(step, actor=name)


def _could(one: Explanation) -> bool:
    """Whether it is possible now, or only lacks arguments."""
    return all(
        verdict.needs and verdict.needs.keys().isdisjoint(("action", "actor")) for verdict in one.refusals
    )


def _concerns(registry: OpenRegistry, state: StateSnapshot, one: Explanation, name: str) -> bool:
    """Whether it is for them to do: a new document is its authors' task. An approval that was given already is refused anyway."""
    if not registry.definition.chart.action(one.action).document:
        return True
    return any(same_person(author, name) for author in state.facts.get("authors", ()))
