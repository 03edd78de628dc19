"""Why: every guard's verdict on an action, the actors who could take it, and the next step. Pure.

One `Explanation` is the answer to "why?", the details of a refusal, and a line in `refusals.jsonl`. What to do next is data
(`registration.errors.Next`): no line for a terminal is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from registration.core.actors import as_if
from registration.core.bounds import UNCOUNTED
from registration.core.definition import SAID_CHARACTERS_MAX, Definition, ask
from registration.core.facts import REPAIR, TAGGING, action_of, tagging_step
from registration.core.interpreter import Spot, Step, onward, step
from registration.core.policy import NO_POLICY, Answer, Policy, Verdict
from registration.core.repairing import step_of_repair
from registration.errors import Next
from registration.values.people import person, same_person

if TYPE_CHECKING:
    from registration.core.chart import Action, Chart
    from registration.values.commands import Command
    from registration.values.events import StateSnapshot

CANDIDATES_MAX = 100
"""The number of actors that are tried when looking for those who could act."""

_SOMEBODY = "(anyone else)"
_SEARCH_MAX = 1_000
_TO_FILL_IN = ("TEXT", "NAME", "JSON")
"""The placeholders in a guard's `needs` for arguments to supply; any other value is the argument itself."""


@dataclass(frozen=True, slots=True)
class Who:
    """The actors who could act. anybody: everyone except `excluded`; otherwise only `actors`, among those known."""

    anybody: bool
    actors: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def includes(self, actor: str) -> bool:
        """Whether they are among them."""
        if self.anybody:
            return not any(same_person(one, actor) for one in self.excluded)
        return any(same_person(one, actor) for one in self.actors)

    def as_json(self) -> dict[str, Any]:
        """The same as one JSON object."""
        return {"anybody": self.anybody, "actors": list(self.actors), "excluded": list(self.excluded)}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an action can be taken, or can't.

    state, version: the manifest's; None and 0 before creation. to: the target; None if the lifecycle has no such
    transition from there. allowed: whether it could be taken now, as requested. answers: of every
    guard, those of the lifecycle first. who: the actors whom the guards would allow; None if there is no such
    transition. next: the next step towards the action; None if there is none.
    """

    manifest_id: str
    action: str
    actor: str | None
    state: str | None
    version: int
    to: str | None
    allowed: bool
    answers: tuple[Answer, ...]
    who: Who | None
    next: Next | None
    digest: str | None
    policy: str | None
    lifecycle: Mapping[str, Any] = field(hash=False)

    @property
    def refusals(self) -> tuple[Verdict, ...]:
        """The verdicts that disagree."""
        return tuple(answer.verdict for answer in self.answers if not answer.verdict.agrees)

    def as_json(self) -> dict[str, Any]:
        """The explanation as one JSON object; the names are stable. `next` is the library's wording, empty if there is no step."""
        return {
            "manifest_id": self.manifest_id,
            "action": self.action,
            "actor": self.actor,
            "state": self.state,
            "version": self.version,
            "to": self.to,
            "allowed": self.allowed,
            "verdicts": [answer.as_json() for answer in self.answers],
            "who": None if self.who is None else self.who.as_json(),
            "next": str(self.next or ""),
            "next_actions": [self.next.as_json()] if self.next is not None else [],
            "digest": self.digest,
            "policy": self.policy,
            "lifecycle": dict(self.lifecycle),
        }


def explain(
    definition: Definition,
    state: StateSnapshot | None,
    command: Command,
    *,
    policy: Policy = NO_POLICY,
) -> Explanation:
    """Why a command that names an action could be executed, or couldn't."""
    assert command.action is not None
    taken = step_from(definition.chart, state, command.action, policy)
    answers = ask(definition, policy, state, command, taken) if taken is not None else ()
    return explained(definition, policy, state, command, taken, answers)


def explained(
    definition: Definition,
    policy: Policy,
    state: StateSnapshot | None,
    command: Command,
    taken: Step | None,
    answers: tuple[Answer, ...],
) -> Explanation:
    """The explanation of the guards' verdicts."""
    action = taken.label if taken is not None else command.action
    assert action is not None
    allowed = taken is not None and all(answer.verdict.agrees for answer in answers)
    found = _who(definition, policy, state, command, taken) if taken is not None else None
    return Explanation(
        manifest_id=command.stream,
        action=action,
        actor=command.actor,
        state=state.state if state else None,
        version=state.version if state else 0,
        to=(taken.place or None) if taken is not None else None,
        allowed=allowed,
        answers=answers,
        who=found[0] if found is not None else None,
        next=_next(definition, policy, state, command, action, known=(answers, found)),
        digest=command.document.digest if command.document else (state.digest if state else None),
        policy=policy.digest,
        lifecycle=definition.identity,
    )


def step_from(
    chart: Chart, state: StateSnapshot | None, action: str, policy: Policy = NO_POLICY
) -> Step | None:
    """The step of an action from a state, tagging and repair included; None if it is not possible."""
    if action in TAGGING:
        return tagging_step(state, action)
    if action == REPAIR.name and not chart.has_action(action):
        return step_of_repair(chart, policy, state)
    return step(chart, state.state if state else None, action, _history(state))


def _who(
    definition: Definition,
    policy: Policy,
    state: StateSnapshot | None,
    command: Command,
    taken: Step,
) -> tuple[Who, bool]:
    """The actors whom the guards would allow, and whether only that, and arguments that a command can give, is missing.

    A guard that refuses everyone does not depend on the actor, and is left out; if it needs nothing that a command can
    give, no command helps.
    """
    known = _people(policy, state, command)
    refused: dict[str, set[_Place]] = {}  # by actor, the guards that refuse
    needing: set[_Place] = set()  # those that arguments of a command can satisfy
    for actor in (*known, _SOMEBODY):
        seen = command.seen if actor == command.actor else {**(command.seen or {}), **UNCOUNTED}
        asked = replace(command, actor=actor, seen=seen, via=as_if(actor))
        refusing = _refusing(ask(definition, policy, state, asked, taken))
        refused[actor] = set(refusing)
        needing |= {place for place, verdict in refusing.items() if verdict.needs.keys() - {"actor"}}
    by_all = set.intersection(*refused.values())
    useful = by_all <= needing
    could = {actor for actor, guards in refused.items() if guards <= by_all}
    if _SOMEBODY in could:
        return Who(anybody=True, excluded=tuple(actor for actor in known if actor not in could)), useful
    return Who(anybody=False, actors=tuple(actor for actor in known if actor in could)), useful


_Place = tuple[str, str, int]
"""A guard among the answers: its origin, its name, and which use of it. Some are among them only if they refuse."""


def _refusing(answers: tuple[Answer, ...]) -> dict[_Place, Verdict]:
    uses: dict[tuple[str, str], int] = {}
    found: dict[_Place, Verdict] = {}
    for answer in answers:
        of = (answer.origin, answer.guard)
        uses[of] = uses.get(of, -1) + 1
        if not answer.verdict.agrees:
            found[*of, uses[of]] = answer.verdict
    return found


def _people(policy: Policy, state: StateSnapshot | None, command: Command) -> list[str]:
    facts = state.facts if state else {}
    named: list[str | None] = [command.actor, command.claim.holder if command.claim else None]
    named += [one["actor"] for one in facts.get("approvals", ())]
    named += facts.get("authors", ())
    # One of each role before the rest: a role of which no actor is tried would seem to be held by anyone.
    named += [actors[0] for actors in policy.roles.values() if actors]
    named += [actor for actors in policy.roles.values() for actor in actors]
    known: dict[str, str] = {}
    for actor in named:
        if actor is not None:
            known.setdefault(actor if policy.format == 1 else person(actor), actor)
    return sorted(list(known.values())[:CANDIDATES_MAX])


def _next(
    definition: Definition,
    policy: Policy,
    state: StateSnapshot | None,
    command: Command,
    action: str,
    done: frozenset[str] = frozenset(),
    steps_max: int = 3,
    *,
    helpful: frozenset[str] = frozenset(),
    known: tuple[tuple[Answer, ...], tuple[Who, bool] | None] | None = None,
) -> Next | None:
    """The step to take next, to get to an action: it may be another one that has to come first.

    done: the actors whose part is done. helpful: those who could give what is missing, if known. steps_max: how many actions may be looked back for. known: the guards'
    answers and the result of `_who`, if already known.
    """
    chart = definition.chart
    taken = step_from(chart, state, action, policy)
    if taken is None:
        first = _first_towards(definition, state, action) if steps_max else None
        if first is None:
            return None
        return _next(definition, policy, state, command, first, frozenset(), steps_max - 1)
    asked = command if command.action == action else _plain(command, action)
    needs: dict[str, str] = {}
    answers, found = known or (ask(definition, policy, state, asked, taken), None)
    for answer in answers:
        if answer.verdict.agrees:
            continue
        before = answer.verdict.needs.get("action", action)
        if before != action and chart.has_action(before) and steps_max:
            counted = answer.verdict.evidence.get("counted", ())
            did = frozenset(str(one["actor"]) for one in counted if one.get("actor") is not None)
            useful_to = _helpful(answer.verdict)
            return _next(definition, policy, state, command, before, did, steps_max - 1, helpful=useful_to)
        helpful |= _helpful(answer.verdict)
        needs |= {name: value for name, value in answer.verdict.needs.items() if name != "action"}
    who, useful = found or _who(definition, policy, state, asked, taken)
    if not useful and not action_of(chart, action).document:
        return None
    if who.anybody:
        who = replace(who, excluded=tuple(sorted({*who.excluded, *done})))
    else:
        finished, useful_ones = (
            Who(anybody=False, actors=tuple(done)),
            Who(anybody=False, actors=tuple(helpful)),
        )
        actors = [actor for actor in who.actors if not finished.includes(actor)]
        who = replace(who, actors=tuple([actor for actor in actors if useful_ones.includes(actor)] or actors))
        if not who.actors:
            return None
    needs |= _actor(who, command.actor, needs.pop("actor", None))
    return _step(action_of(chart, action), asked, needs)


def _helpful(verdict: Verdict) -> frozenset[str]:
    """The actors who could give the approvals that are missing according to a verdict."""
    missing = [one for one in verdict.evidence.get("missing", ()) if isinstance(one, Mapping)]
    return frozenset(actor for one in missing for actor in one.get("actors") or ())


def _step(action: Action, command: Command, needs: dict[str, str]) -> Next:
    """An action as the next step: with the given arguments, and those that guards need."""
    missing = ["document"] if action.document else []
    given: dict[str, Any] = {}
    if action.name in TAGGING:
        if command.tags:
            given["tags"] = list(command.tags)
        else:
            missing.append("tags")
    missing += [name for name, value in needs.items() if value in _TO_FILL_IN]
    given |= {name: value for name, value in needs.items() if value not in _TO_FILL_IN and name != "actor"}
    given |= {name: value for name, value in _said(command).items() if name not in needs}
    actor = needs.get("actor")
    repairing = action is REPAIR
    return Next(
        operation="repair" if repairing else "act",
        id=command.stream,
        action=None if repairing else action.name,
        actor=actor if actor not in _TO_FILL_IN else None,
        given=given,
        missing=tuple(missing),
    )


def _plain(command: Command, action: str) -> Command:
    """Another action by the same actor, without the arguments of the first."""
    return replace(command, action=action, reason=None, comment=None, context=None, document=None)


def _said(command: Command) -> dict[str, Any]:
    """The given arguments, which the next step repeats."""
    said = {"reason": command.reason, "comment": command.comment, "context": dict(command.context or {})}
    return {name: value for name, value in said.items() if value and len(str(value)) <= SAID_CHARACTERS_MAX}


def _actor(who: Who, actor: str | None, needed: str | None) -> dict[str, str]:
    """The actor of a step; empty if it makes no difference. needed: a guard's requirement."""
    if needed is not None and needed not in _TO_FILL_IN and actor != needed and who.includes(needed):
        return {"actor": needed}
    if who.anybody:
        if who.excluded:
            return {"actor": actor if actor is not None and who.includes(actor) else "NAME"}
        return {"actor": needed} if needed is not None and actor is None else {}
    return {"actor": actor if actor is not None and who.includes(actor) else who.actors[0]}


def _first_towards(definition: Definition, state: StateSnapshot | None, action: str) -> str | None:
    """The first action on a shortest way from here to where `action` can be taken."""
    chart = definition.chart
    start = Spot(state.state if state else None, tuple(sorted(_history(state).items())))
    waiting: list[tuple[Spot, str | None]] = [(start, None)]
    seen = {start}
    for spot, first in waiting:  # it grows during the iteration
        for taken, target in onward(chart, spot):
            if not chart.has_action(taken.label):
                continue
            if taken.label == action and first is not None:
                return first
            if target not in seen and len(seen) < _SEARCH_MAX:
                seen.add(target)
                waiting.append((target, first or taken.label))
    return None


def _history(state: StateSnapshot | None) -> Mapping[str, str]:
    return state.facts.get("history", {}) if state else {}
