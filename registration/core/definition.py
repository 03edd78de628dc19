"""A definition: everything the engine needs to know about one lifecycle.

The engine knows no lifecycle. The registration of manifests is one definition, guided onboarding another; each is a chart,
guards, and the facts it keeps in a snapshot in addition to state and document. `ask` asks its guards, and the policy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from registration.core.actors import says_actor
from registration.core.bounds import given_already, says_limits, says_once
from registration.core.chart import Chart
from registration.core.chart_data import as_data
from registration.core.facts import REPAIR, TAGGING, action_of
from registration.core.interpreter import Action, GuardUse, Step
from registration.core.outlook import Outlook, outlooks
from registration.core.policy import NO_LIMITS, Answer, Guard, Policy, Verdict
from registration.errors import InvalidDefinition
from registration.values.commands import Command
from registration.values.documents import digest_of
from registration.values.events import Event, StateSnapshot
from registration.values.leases import Lease

SAID_CHARACTERS_MAX = 500
"""The maximum length of a guard's error, or a caller's text, that is repeated in messages."""

Evolve = Callable[[Mapping[str, Any], Event], Mapping[str, Any]]
"""From the previous facts and the next event to the facts after it. Pure and total; mutates neither.

It copies what it keeps of an event: callers receive events, and may mutate them.
"""

Governed = Callable[[Policy, str, Command], tuple[GuardUse, ...]]
"""From a policy, an action and the command that takes it, to the guards that the policy asks. Pure."""

Upcaster = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""From an event's data in one schema to the next schema. Pure and total; mutates nothing."""


Shape = Callable[[str, Mapping[str, Any]], str | None]
"""From an action, and the members that the program gave its event (`Command.members`): what is wrong with them; None if nothing."""


def of_form(number: int) -> Callable[[Evolve], Evolve]:
    """Declare the form of the facts that an `Evolve` makes, for the hash of each state (`registration.core.forms`).

    Only for one that never changes: with other facts, it has another number. It uses neither `hash` nor `line` of an event, which
    are unknown when the state is hashed.
    """

    def declared(evolve: Evolve) -> Evolve:
        evolve.form = number  # type: ignore[attr-defined]  # functions have attributes; `Callable` says nothing of them
        return evolve

    return declared


@of_form(1)
def keep_nothing(facts: Mapping[str, Any], _event: Event) -> Mapping[str, Any]:
    """The `Evolve` of a definition that keeps no facts."""
    return facts


def by_action(policy: Policy, action: str, _command: Command) -> tuple[GuardUse, ...]:
    """The `Governed` of a definition whose actions a policy names as they are: those of manifests."""
    return policy.uses.get(action, ())


def any_shape(_action: str, _members: Mapping[str, Any]) -> str | None:
    """The `Shape` of a definition whose events have no such members, or any."""
    return None


@dataclass(frozen=True)
class Definition:
    """A chart with its guards and its fold.

    The chart's name is the first part of its event types: ``registration.approved.v1``.

    evolves_on: names such that `evolve` changes nothing if neither the event's data nor the facts have a member of one of
    them, so that a replay can skip it; None if there are no such names.
    version: of the lifecycle, from 1; a later one of the same name replaces it. upcasters: by event type, from that schema
    to the next; an event is brought to the current schema before it is folded. earlier: event types that were written
    under earlier versions of the lifecycle. governed: the guards that a policy asks for a command; by default, those that it names
    for the action. name: the chart's. form: that of the facts, as `evolve` declares it (`of_form`); None if
    it declares none: then no event has the hash of its state, and every state is folded from its log. members: the names of the
    members that the program gives its events (`Command.members`); shape: what is wrong with them.

    Raises:
        InvalidDefinition: when the chart names an unknown guard, when an upcaster is missing between two schemas,
            or when an upcaster matches no event.
    """

    chart: Chart
    guards: Mapping[str, Guard] = field(default_factory=dict)
    evolve: Evolve = keep_nothing
    evolves_on: frozenset[str] | None = None
    version: int = 1
    upcasters: Mapping[str, Upcaster] = field(default_factory=dict)
    earlier: frozenset[str] = frozenset()
    governed: Governed = by_action
    members: frozenset[str] = frozenset()
    shape: Shape = any_shape
    form: int | None = field(init=False)
    event_types: frozenset[str] = field(init=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.chart.name)
        object.__setattr__(self, "form", getattr(self.evolve, "form", None))
        unknown = {
            f"actions.{move.action}.guards: there is no guard {use.name!r}; there are {', '.join(sorted(self.guards))}"
            for move in self.chart.transitions
            for use in move.guards
            if use.name not in self.guards
        }
        written = {self.event_type(action.name) for action in self.chart.actions}
        written |= {f"{self.name}.{timeout.past}.v1" for timeout in self.chart.timeouts}
        older = {
            f"{base}.v{schema}"
            for base, _, last in (type.rpartition(".v") for type in written | self.earlier)
            for schema in range(1, int(last))
        }
        gaps = {
            f"the upcaster from {type} to the next schema is missing"
            for type in older - self.upcasters.keys()
        }
        stray = {f"the upcaster of {type} matches no event" for type in self.upcasters.keys() - older}
        if problems := [*sorted(unknown), *sorted(gaps), *sorted(stray)]:
            raise InvalidDefinition(self.chart.name, problems)
        tagged = {self.event_type(action) for action in TAGGING}
        known = {*written, *older, *self.earlier, self.repaired, self.claim_broken, *tagged}
        object.__setattr__(self, "event_types", frozenset(known))

    @property
    def repaired(self) -> str:
        """The type of the event that records a repair. No action leads to it: the store writes it."""
        return f"{self.name}.repaired.v1"

    @property
    def claim_broken(self) -> str:
        """The type of the event that records a broken lock. No action leads to it either."""
        return f"{self.name}.claim_broken.v1"

    @cached_property
    def has_documents(self) -> bool:
        """Whether an action takes a document: its streams are manifests."""
        return any(action.document for action in self.chart.actions)

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """The lifecycle as JSON values: the form that is stored by digest."""
        return as_data(self.chart, self.version)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The lifecycle as events name it: name, version and digest."""
        return {"name": self.name, "version": self.version, "digest": digest_of(self.data)}

    def event_type(self, action: str) -> str:
        """The type of an action's event, in the current schema."""
        found = action_of(self.chart, action)
        return f"{self.name}.{found.past}.v{found.schema}"

    def is_behind(self, event: Event) -> bool:
        """Whether an event was decided under a later version of this lifecycle, put in force in the meantime."""
        under = event.data.get("lifecycle")
        return (
            isinstance(under, dict)
            and under.get("name") == self.name
            and type(under.get("version")) is int
            and under["version"] > self.version
        )

    def upcast(self, event: Event) -> Event:
        """The event in the current schema. Its line stays as written."""
        while (upcaster := self.upcasters.get(event.type)) is not None:
            base, _, schema = event.type.rpartition(".v")
            event = replace(event, type=f"{base}.v{int(schema) + 1}", data=upcaster(event.data))
        return event


def ask(
    definition: Definition,
    policy: Policy,
    state: StateSnapshot | None,
    command: Command,
    taken: Step,
) -> tuple[Answer, ...]:
    """Every guard's verdict on a command that takes `taken`: the lifecycle's, then the policy's. All are asked.

    An approval that was given already (``once``), an actor whom the policy doesn't take (``actor``), and a limit that is reached
    (``limits``), are in it only if they refuse. Another actor's lock on the manifest comes last.
    """
    action = action_of(definition.chart, taken.label)
    asked = command if command.action == action.name else replace(command, action=action.name, target=None)
    answers = []
    if action.required:
        answers.append(Answer("required", "lifecycle", _says_required(action, asked)))
    for move in taken.transitions:
        for use in move.guards:
            guard, rules = definition.guards[use.name], policy.asked_with(use.parameters)
            answers.append(Answer(use.name, "lifecycle", _verdict(use.name, guard, state, asked, rules)))
    is_bounded = policy.format > 1
    # One that moves the manifest is more than a repetition: of a region in which approvals are given one by one, for example.
    if is_bounded and action.approval and state is not None and taken.place == state.state:
        given = given_already(state, asked, action, policy)
        if given is not None:
            led_to = _led_to_by(definition, policy, state, action)
            answers.append(Answer("once", "lifecycle", says_once(state, asked, given, led_to)))
    for use in definition.governed(policy, action.name, asked) if policy.uses else ():
        guard, rules = policy.guards[use.name], policy.asked_with(use.parameters)
        answers.append(Answer(use.name, "policy", _verdict(use.name, guard, state, asked, rules)))
    is_bound = is_bounded and (policy.sources or policy.one_script)
    if is_bound and (refusal := says_actor(asked, policy)) is not None:
        answers.append(Answer("actor", "policy", refusal))
    limits = policy.limits if definition.has_documents else NO_LIMITS  # those of `[limits]` are of manifests
    is_limited = (
        is_bounded and action is not REPAIR
    )  # which makes a log shorter, and is needed before anything else
    if (
        is_limited
        and (refusal := says_limits(state, asked, action, limits, keeps_all=policy.registry is not None))
        is not None
    ):
        answers.append(Answer("limits", "policy", refusal))
    if command.claim is not None and policy.is_exclusive(action.name):
        answers.append(Answer("unclaimed", "claim", _says_claim(command.claim, command, policy)))
    return tuple(answers)


def _led_to_by(
    definition: Definition, policy: Policy, state: StateSnapshot | None, action: Action
) -> list[Outlook]:
    """The outlooks on the actions that approvals by this action lead to."""
    found = outlooks(definition.chart, definition.guards, policy, state)
    return [outlook for outlook in found if outlook.approving == action.name]


def _verdict(
    name: str, guard: Guard, state: StateSnapshot | None, command: Command, rules: Policy
) -> Verdict:
    """A guard's verdict. A guard that fails, or returns no verdict, counts as a refusal: a bug in it lets nothing pass."""
    try:
        said: object = guard(state, command, rules)
    except Exception as error:  # a guard is foreign code
        failure = f"{type(error).__name__}: {error}"
    else:
        if isinstance(said, Verdict):
            return said
        failure = f"it returned {said!r}, which is not a `Verdict`"
    failure = failure[:SAID_CHARACTERS_MAX]
    return Verdict(
        agrees=False,
        reason=f"the guard {name!r} failed: {failure}",
        evidence={"failure": failure},
        remedy="Report it to the author of the guard.",
    )


def _says_required(action: Action, command: Command) -> Verdict:
    said: dict[str, Any] = {"actor": command.actor, "reason": command.reason, "comment": command.comment}
    said |= {f"context.{name}": value for name, value in (command.context or {}).items()}
    missing = [name for name in action.required if said.get(name) in (None, "")]
    evidence = {"required": list(action.required), "missing": missing}
    if not missing:
        return Verdict(agrees=True, reason="everything required is given", evidence=evidence)
    return Verdict(
        agrees=False,
        reason=f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} required but missing",
        evidence=evidence,
        remedy=f"Give {' and '.join(missing)}.",
        needs={name: "TEXT" if name != "actor" else "NAME" for name in missing if "." not in name}
        | ({"context": "JSON"} if any("." in name for name in missing) else {}),
    )


def _says_claim(claim: Lease, command: Command, policy: Policy) -> Verdict:
    evidence = {"claim": claim.as_json()}
    if policy.is_same(claim.holder, command.actor) or claim.number == command.fence:
        return Verdict(agrees=True, reason="the lock is held by the actor", evidence=evidence)
    return Verdict(
        agrees=False,
        reason=f"{claim.holder!r} on {claim.host} holds its lock until {claim.until}",
        evidence=evidence,
        remedy="Wait until then, ask its holder to release it, or break the lock.",
    )
