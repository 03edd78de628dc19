"""Decide and fold: from a command to events, and from events to the state.

- `decide(definition, state, command)` → the events to write, or a refusal that says who said no and why.
- `fold(definition, state, events)` → the state after them. It never refuses: what is in a log has happened.

Both are pure: the time and the ids are arguments. The form is Jérémie Chassaing's Decider ("Functional Event
Sourcing Decider", 2021). Read `registration.engine` next, which puts them to work.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from registration.errors import (
    AlreadyExists,
    GuardRefused,
    IllegalTransition,
    InvalidArgument,
    NotFound,
    UnknownEvent,
)
from registration.values.documents import digest_of
from registration.values.events import Event, NewEvent
from registration.values.snapshots import Position, StateSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registration.core.chart import Chart, Transition
    from registration.core.definition import Definition
    from registration.values.commands import Command

KEYS_KEPT_MAX = 64
"""How many idempotency keys of one manifest a snapshot remembers: the ones used last."""


def decide(
    definition: Definition, state: StateSnapshot | None, command: Command, *, time: str, event_id: str
) -> list[NewEvent]:
    """What a command leads to from a state (None: there is no such manifest yet).

    time: the writer's clock; where it is before the manifest's last event, that event's time is taken.

    Raises:
        NotFound: when a command other than creation meets no manifest.
        AlreadyExists: when creation meets one.
        InvalidArgument: when the chart has no such action or state, or a document is missing or misplaced.
        IllegalTransition: when the chart has no such move from the state.
        GuardRefused: when a guard says no; every guard of the move is asked.
    """
    move = _move(definition.chart, state, command)
    _check_document(definition.chart, move, command)
    _ask_guards(definition, move, state, command)
    digest = command.document.digest if command.document else (state.digest if state else None)
    data: dict[str, Any] = {
        "action": move.action,
        "from": state.state if state else None,
        "to": definition.chart.entered(move.target),
        "actor": command.actor,
        **command.payload(),
    }
    if digest is not None:
        data["digest"] = digest
    if command.document is not None:
        data["document"] = command.document.value
    return [
        NewEvent(
            id=event_id,
            type=definition.event_type(move.action),
            time=max(time, state.updated_at) if state else time,
            data=data,
            correlation_id=command.correlation_id or event_id,
            causation_id=command.causation_id,
            idempotency_key=command.idempotency_key,
            traceparent=command.traceparent,
        )
    ]


def fold(
    definition: Definition, state: StateSnapshot | None, events: Iterable[Event]
) -> StateSnapshot | None:
    """The state after `events`, which follow on `state` without a gap; `state` itself where there are none.

    The chart isn't asked: a log that was written under an older lifecycle folds for ever. Events say where
    they led (`to`), and bring the document where it changed.

    Raises:
        UnknownEvent: when an event's type is none of the definition's, as in a log of a later release.
    """
    known, evolve = definition.event_types, definition.evolve
    event: Event | None = None
    created_at = state.created_at if state else ""
    document = state.document if state else None
    digest = state.digest if state else None
    facts = state.facts if state else {}
    keys = list(state.keys) if state else []
    size = state.position.size_bytes if state else 0
    for event in events:  # the last one is read below
        if event.type not in known:
            raise _unknown(definition, event)
        data = event.data
        if "document" in data:
            document = data["document"]
        digest = data.get("digest", digest)
        facts = evolve(facts, event)
        if event.idempotency_key is not None:
            keys.append((event.idempotency_key, event.version))
        created_at = created_at or event.time
        size += len(event.line)
    if event is None:
        return state
    return StateSnapshot(
        stream=event.subject,
        source=event.source,
        definition=definition.name,
        state=event.to_state,
        version=event.version,
        created_at=created_at,
        updated_at=event.time,
        document=document,
        digest=digest,
        facts=facts,
        keys=tuple(keys[-KEYS_KEPT_MAX:]),
        position=Position(event.version, size, event.hash),
    )


def is_same_request(definition: Definition, command: Command, event: Event) -> bool:
    """Whether `event` is what `command` would have recorded: the same action or target, and the same words."""
    chart, data = definition.chart, event.data
    if command.action is not None:
        led_here = data["action"] == command.action
    else:
        target = command.target or ""
        led_here = (
            data["from"] != data["to"] and chart.has_state(target) and data["to"] == chart.entered(target)
        )
    said = {name: data[name] for name in ("reason", "comment", "context") if name in data}
    given = command.document.digest if command.document else None
    brought = data.get("digest") if "document" in data else None
    # By their digests, since Python calls True and 1 equal.
    same_words = digest_of(said) == digest_of(command.payload())
    return led_here and data["actor"] == command.actor and same_words and given == brought


def nearest(wanted: str, known: Iterable[str]) -> str:
    """`` Did you mean 'this'?`` for the nearest of the known words, or nothing."""
    by_folded = {word.casefold(): word for word in known}
    close = difflib.get_close_matches(wanted.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""


def check_state(chart: Chart, name: object) -> str:
    """The state's name where the chart has it.

    Raises:
        InvalidArgument: when it hasn't; the nearest is suggested.
    """
    if not isinstance(name, str) or not chart.has_state(name):
        raise InvalidArgument(
            f"The lifecycle {chart.name!r} has no state {name!r}."
            + nearest(str(name), (state.name for state in chart.states)),
            f"Its states are {', '.join(chart.leaves)}.",
            state=name,
            states=list(chart.leaves),
        )
    return name


def check_action(chart: Chart, name: object) -> str:
    """The action's name where the chart has it.

    Raises:
        InvalidArgument: when it hasn't; the nearest is suggested.
    """
    if not isinstance(name, str) or not chart.has_action(name):
        known = [action.name for action in chart.actions]
        raise InvalidArgument(
            f"The lifecycle {chart.name!r} has no action {name!r}.{nearest(str(name), known)}",
            f"Its actions are {', '.join(known)}.",
            action=name,
            actions=known,
        )
    return name


def _move(chart: Chart, state: StateSnapshot | None, command: Command) -> Transition:
    """The transition that the command asks for."""
    if command.action is not None:
        check_action(chart, command.action)
    else:
        check_state(chart, command.target)
    moves = chart.transitions_from(state.state if state else None)
    if command.action is not None:
        found = [moves[command.action]] if command.action in moves else []
    else:
        # A move that stays where it is, such as `revise`, is never meant by naming a state to go to.
        goal = chart.entered(command.target or "")
        found = [
            m
            for m in moves.values()
            if chart.entered(m.target) == goal and (not state or state.state != goal)
        ]
    if state is None and (command.target is not None or not found):
        raise NotFound(
            f"There is no manifest {command.stream!r}.", "Create it first.", manifest_id=command.stream
        )
    if len(found) == 1:
        return found[0]
    assert state is not None
    if command.action in chart.transitions_from(None):
        raise AlreadyExists(
            f"{command.stream!r} exists already: it is {state.state}, at version {state.version}.",
            "Choose another id, or `revise` it while it is a draft.",
            manifest_id=command.stream,
            state=state.state,
            version=state.version,
        )
    raise _illegal(chart, state, command, found)


def _illegal(
    chart: Chart, state: StateSnapshot, command: Command, found: list[Transition]
) -> IllegalTransition:
    allowed = {
        action: chart.entered(move.target) for action, move in chart.transitions_from(state.state).items()
    }
    wanted = f"do {command.action!r}" if command.action else f"go to {command.target}"
    if found:
        why = f"both {' and '.join(repr(move.action) for move in found)} lead there"
        next_step = "Say which of the actions is meant."
    else:
        there = command.target in chart.lineage(state.state)
        why = "it is there already" if there else "the lifecycle has no such move"
        listed = ", ".join(f"{action} (to {target})" for action, target in allowed.items())
        end = "is final" if chart.has_state(state.state) else f"is no state of the lifecycle {chart.name!r}"
        next_step = f"From {state.state} it can: {listed}." if allowed else f"{state.state} {end}."
    return IllegalTransition(
        f"{state.stream!r} is {state.state} and can't {wanted} from there: {why}.",
        next_step,
        manifest_id=state.stream,
        state=state.state,
        version=state.version,
        action=command.action,
        target=command.target,
        allowed=allowed,
    )


def _check_document(chart: Chart, move: Transition, command: Command) -> None:
    wanted = chart.action(move.action).document
    if wanted is not (command.document is not None):
        raise InvalidArgument(
            f"{move.action!r} {'needs a document, and none was given' if wanted else 'takes no document'}.",
            action=move.action,
        )


def _ask_guards(
    definition: Definition, move: Transition, state: StateSnapshot | None, command: Command
) -> None:
    verdicts = [(name, definition.guards[name](state, command)) for name in move.guards]
    refusals = [verdict for _, verdict in verdicts if not verdict.agrees]
    if refusals:
        raise GuardRefused(
            f"{move.action!r} of {command.stream!r} is refused: {'; '.join(v.reason for v in refusals)}.",
            " ".join(v.remedy for v in refusals if v.remedy),
            manifest_id=command.stream,
            action=move.action,
            verdicts=[
                {"guard": name, "agrees": v.agrees, "reason": v.reason, "evidence": dict(v.evidence)}
                for name, v in verdicts
            ],
        )


def _unknown(definition: Definition, event: Event) -> UnknownEvent:
    return UnknownEvent(
        f"Version {event.version} of {event.subject!r} is a {event.type!r}, which this release of the lifecycle "
        f"{definition.name!r} does not know.",
        "It was written by a later release, or under another lifecycle: upgrade, and read it again.",
        manifest_id=event.subject,
        version=event.version,
        type=event.type,
    )
