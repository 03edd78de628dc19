"""Decide and fold: from a command to events, and from events to the state.

- `decide(definition, state, command)` → the events to write, or a refusal with the guard that refused and its reason.
- `fold(definition, state, events)` → the state after them. It never refuses: events in a log have happened.

Both are pure: the time and the ids are arguments. The form is Jérémie Chassaing's Decider ("Functional Event
Sourcing Decider", 2021). Read `registration.engine.engine` next, which runs them.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from registration import __version__
from registration.core.actors import says_actor
from registration.core.codec import seal
from registration.core.definition import Definition, ask
from registration.core.explanation import Explanation, explained
from registration.core.facts import (
    FENCE,
    LABELS,
    SEEN,
    TAGGING,
    action_of,
    check_fence,
    fence_of,
    keep_labels,
    said_of_name,
    said_of_tags,
    same_tags,
    seen_by,
    tagging_step,
    with_fence,
)
from registration.core.forms import hash_of_state
from registration.core.interpreter import Step, entered, step, steps, time_out
from registration.core.outlook import GUARD
from registration.core.policy import NO_POLICY, Answer, Policy
from registration.core.repairing import Lost, step_of_repair
from registration.errors import (
    AlreadyExists,
    GuardRefused,
    IllegalTransition,
    InvalidArgument,
    Next,
    NotFound,
    PinMismatch,
    UnknownEvent,
)
from registration.values.commands import Command
from registration.values.documents import digest_of
from registration.values.events import Event, NewEvent, Position, StateSnapshot
from registration.values.people import same_person
from registration.values.times import duration_s, later

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from registration.core.chart import Chart, Timeout
    from registration.values.leases import Lease

BREAK = "break_claim"
"""The action of the event that records a broken lock. No chart has it."""

UNFOLDABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What an `evolve` raises over events that no program wrote."""

KEYS_KEPT_MAX = 64
"""The number of idempotency keys that a snapshot of one manifest holds: the most recent ones."""


def decide(
    definition: Definition,
    state: StateSnapshot | None,
    command: Command,
    *,
    time: str,
    event_id: str,
    policy: Policy = NO_POLICY,
) -> list[NewEvent]:
    """The events of a command in a state (None: the manifest does not exist yet).

    time: the writer's clock; if it is before the manifest's last event, that event's time is used.
    policy: the rules in force, besides those of the lifecycle.

    Raises:
        NotFound: when the manifest does not exist and the command is not a creation.
        AlreadyExists: when the manifest to create exists.
        Rejected: when tagging would change nothing.
        InvalidArgument: when the chart has no such action or state, or a document is missing or misplaced.
        PinMismatch: when the document or the log differs from what the caller pinned.
        StaleFence: when the lease it was issued under has ended, according to the log or the current lease.
        IllegalTransition: when the chart has no such transition from the state.
        GuardRefused: when a guard disagrees; every guard of the transition is asked.
        LeaseHeld: when another actor's lock is the only obstacle.
    """
    if state is not None:
        _check_pins(state, command)
        check_fence(state, command)
    taken = _step(definition.chart, state, command)
    _check_document(definition.chart, taken, command)
    answers = ask(definition, policy, state, command, taken)
    refusing = [answer for answer in answers if not answer.verdict.agrees]
    if command.claim is not None and [answer.origin for answer in refusing] == ["claim"]:
        raise command.claim.refusal()
    if refusing:
        raise _refused(explained(definition, policy, state, command, taken, answers))
    at = max(time, state.updated_at) if state else time
    return [
        NewEvent(
            id=event_id,
            type=definition.event_type(taken.label),
            time=at,
            data=_told(definition, policy, state, command, taken, at, answers),
            correlation_id=command.correlation_id or event_id,
            causation_id=command.causation_id,
            idempotency_key=command.idempotency_key,
            traceparent=command.traceparent,
        )
    ]


def due_timeout(definition: Definition, state: StateSnapshot, time: str) -> Timeout | None:
    """The time-out that is due first at `time`; None if none is."""
    dues: Mapping[str, str] = state.facts.get("due", {})
    active = definition.chart.active(state.state)
    # A time-out of an older lifecycle that this one lacks, or has in another state, is ignored.
    due = [
        (dues[one.name], one.name, one)
        for one in definition.chart.timeouts
        if one.name in dues and one.state in active
    ]
    return min((one for one in due if one[0] <= time), default=(None, None, None))[2]


def decide_timeout(
    definition: Definition,
    state: StateSnapshot,
    timeout: Timeout,
    *,
    time: str,
    event_id: str,
    policy: Policy = NO_POLICY,
) -> list[NewEvent]:
    """The event of a time-out that is due. The event's time is the due time; `time` is stored in the data.

    No guard is asked, and there is no actor. Empty if its state is no longer active.
    """
    taken = time_out(definition.chart, state.state, timeout, state.facts.get("history", {}))
    if taken is None:
        return []
    due = str(state.facts["due"][timeout.name])
    at = max(due, state.updated_at)
    data = {
        **_moved(taken, state),
        "timeout": {"state": timeout.state, "after": timeout.after, "due": due, "fired": time},
        **_grounds(definition, policy),
        **_consequences(definition.chart, state, taken, at),
        **said_of_name(timeout, state, state.document),
    }
    if state.digest is not None:
        data["digest"] = state.digest
    return [
        NewEvent(
            id=event_id,
            type=f"{definition.name}.{timeout.past}.v1",
            time=at,
            data=data,
            correlation_id=event_id,
        )
    ]


def decide_claim_broken(
    definition: Definition,
    state: StateSnapshot,
    claim: Lease,
    *,
    actor: str | None,
    reason: str,
    time: str,
    event_id: str,
    policy: Policy = NO_POLICY,
    via: Mapping[str, Any] | None = None,
) -> list[NewEvent]:
    """The event that records a broken lock: the state stays, and the former holder's fencing number is stale from then on.

    History and due times are copied into the event, so that folds need not know about it. via: how the actor came in.

    Raises:
        GuardRefused: when the policy demands another actor (`[actors]`).
    """
    command = Command(stream=state.stream, action=BREAK, actor=actor, reason=reason, via=via)
    _check_actor(definition, policy, state, command)
    data = {
        **_moved(Step(BREAK, (), state.state), state, command),
        "reason": reason,
        "claim": {name: value for name, value in claim.as_json().items() if name != "key"},
        **_grounds(definition, policy),
        **{name: dict(state.facts[name]) for name in ("history", "due") if name in state.facts},
        FENCE: claim.number + 1,
    }
    if state.digest is not None:
        data["digest"] = state.digest
    return [
        NewEvent(
            id=event_id,
            type=definition.claim_broken,
            time=max(time, state.updated_at),
            data=data,
            correlation_id=event_id,
        )
    ]


def check_repair(
    definition: Definition, state: StateSnapshot | None, command: Command, policy: Policy = NO_POLICY
) -> Step:
    """The step of a repair, if the policy's guards of `repair` allow it; see `decide_repair`.

    state: what remains of the log; None if nothing does, and no event will record the repair.

    Raises:
        GuardRefused: when a guard disagrees.
    """
    taken = step_of_repair(definition.chart, policy, state)
    answers = ask(definition, policy, state, command, taken)
    if not all(answer.verdict.agrees for answer in answers):
        raise _refused(explained(definition, policy, state, command, taken, answers))
    return taken


def decide_repair(
    definition: Definition,
    state: StateSnapshot,
    command: Command,
    lost: Lost,
    *,
    time: str,
    event_id: str,
    policy: Policy = NO_POLICY,
) -> NewEvent:
    """The event of a repair, which follows the last intact event of a damaged log.

    All approvals lapse (`lapsed`, always present), and it leads to a place from which they must be given again:
    `registration.core.repairing.step_of_repair`. Due time-outs are not recorded before: nothing can be written before a repair.
    state: what remains of the log. command: `repair`, with the actor and perhaps a reason; without one, the damage is the reason. If
    `command.seen` has another `holder` of the manifest's name, the lost events released it, and so does the repair.

    Raises:
        GuardRefused: when a guard of `repair` disagrees.
    """
    taken = check_repair(definition, state, command, policy)
    at = max(time, state.updated_at)
    data = {
        **_moved(taken, state, command),
        "reason": command.reason or lost.damage,
        "lost": lost.as_json(state.position.size_bytes, given=bool(command.reason)),
        **_grounds(definition, policy),
        **_consequences(definition.chart, state, taken, at),
        "lapsed": [one["version"] for one in state.facts.get("approvals", ())],
        **_said_besides(command),
    }
    if "holder" in data.get(SEEN, {}) and state.name is not None:
        data["released"] = state.name
    if state.digest is not None:
        data["digest"] = state.digest
    return NewEvent(id=event_id, type=definition.repaired, time=at, data=data, correlation_id=event_id)


def fold(
    definition: Definition, state: StateSnapshot | None, events: Iterable[Event]
) -> StateSnapshot | None:
    """The state after `events`, which follow `state` without a gap; `state` itself if there are none.

    The chart isn't consulted: a log that was written under an older lifecycle folds forever. Events contain the
    state that they led to (`to`), and the document if it changed.

    Raises:
        UnknownEvent: when an event's type is unknown to the definition, as in a log of a later release.
    """
    known, evolve, upcasters = definition.event_types, definition.evolve, definition.upcasters
    event: Event | None = None
    created_at = state.created_at if state else ""
    document = state.document if state else None
    digest = state.digest if state else None
    registry = state.registry if state else None
    facts = state.facts if state else {}
    keys: list[tuple[str, int]] | None = None  # those of `state`, until one is added
    size = state.position.size_bytes if state else 0
    for event in events:  # the last one is handled below
        if event.type not in known:
            raise _unknown(definition, event)
        if event.type in upcasters:
            event = definition.upcast(event)  # noqa: PLW2901  # the same event, in the schema of today
        data = event.data
        if "document" in data:
            document = data["document"]
        digest = data.get("digest", digest)
        registry = data.get("registry", registry)
        facts = with_fence(facts, evolve(facts, event), event)
        if not LABELS.isdisjoint(data):
            facts = keep_labels(facts, event)
        if event.idempotency_key is not None:
            keys = list(state.keys if state else ()) if keys is None else keys
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
        keys=tuple(keys[-KEYS_KEPT_MAX:]) if keys is not None else (state.keys if state else ()),
        registry=registry,
        position=Position(event.version, size, event.hash),
    )


def sealed(
    definition: Definition,
    before: StateSnapshot | None,
    decided: Sequence[NewEvent],
    *,
    stream: str,
    source: str,
) -> tuple[list[Event], list[StateSnapshot]]:
    """The events of one decision as they go into the log, each with the hash of the state after it, and those states.

    A definition that declares no form of its facts (`Definition.form`) has no hashes: its states are always folded.
    """
    states: list[StateSnapshot] = []

    def statehash(event: Event) -> str:
        after = fold(definition, states[-1] if states else before, (event,))
        assert after is not None
        states.append(after)
        return hash_of_state(after)

    after = before.position if before else Position()
    if definition.form is None:
        events = seal(decided, stream=stream, source=source, after=after)
        state = before
        for event in events:
            state = fold(definition, state, (event,))
            assert state is not None
            states.append(state)
        return events, states
    events = seal(decided, stream=stream, source=source, after=after, statehash=statehash)
    size = after.size_bytes
    for event, state in zip(events, states, strict=True):
        size += len(event.line)
        # As above: it was folded before its line was known.
        object.__setattr__(state, "position", Position(event.version, size, event.hash))
    return events, states


def is_same_request(definition: Definition, command: Command, event: Event) -> bool:
    """Whether `command` would have recorded `event`: the same action or target, and the same arguments."""
    chart, data = definition.chart, event.data
    if command.action is not None:
        led_here = data["action"] == command.action
    else:
        led_here = chart.has_state(command.target or "") and _leads_there(
            chart, data["from"], data["to"], command.target or ""
        )
    said = {name: data[name] for name in ("reason", "comment", "context") if name in data}
    given = command.document.digest if command.document else None
    brought = data.get("digest") if "document" in data else None
    # By their digests, since Python calls True and 1 equal.
    same_words = digest_of(said) == digest_of(command.payload())
    same_actor = data["actor"] == command.actor or same_person(data["actor"], command.actor)
    return led_here and same_actor and same_words and given == brought and same_tags(command, data)


def nearest(wanted: str, known: Iterable[str]) -> str:
    """`` Did you mean 'this'?`` for the closest known word, or an empty string."""
    by_folded = {word.casefold(): word for word in known}
    close = difflib.get_close_matches(wanted.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""


def check_state(chart: Chart, name: object) -> str:
    """Return the state's name if the chart has it.

    Raises:
        InvalidArgument: when it does not; the closest one is suggested.
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


def _another_document(chart: Chart, state: StateSnapshot) -> str:
    """The hint to the action that gives an existing manifest a new document, if there is one in its state."""
    found = steps(chart, state.state, state.facts.get("history"))
    return next((f", or `{name}` it" for name in found if chart.action(name).document), "")


def check_action(chart: Chart, name: object) -> str:
    """Return the action's name if the chart has it.

    Raises:
        InvalidArgument: when it does not; the closest one is suggested.
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


def _step(chart: Chart, state: StateSnapshot | None, command: Command) -> Step:
    """The step that the command requests."""
    place = state.state if state else None
    history = state.facts.get("history", {}) if state else {}
    if isinstance(command.action, str) and command.action in TAGGING:
        taken = tagging_step(state, command.action)
        found = [] if taken is None else [taken]
    elif command.action is not None:
        check_action(chart, command.action)
        taken = step(chart, place, command.action, history)
        found = [] if taken is None else [taken]
    else:
        target = check_state(chart, command.target)
        found = [
            taken
            for taken in steps(chart, place, history).values()
            if _leads_there(chart, place, taken.place, target)
        ]
    if state is None and (command.target is not None or not found):
        raise NotFound(
            f"There is no manifest {command.stream!r}.", "Create it first.", manifest_id=command.stream
        )
    if len(found) == 1:
        return found[0]
    assert state is not None
    if command.action is not None and chart.own_transitions(None).get(command.action):
        raise AlreadyExists(
            f"{command.stream!r} exists already: it is {state.state}, at version {state.version}.",
            f"Choose another id{_another_document(chart, state)}.",
            manifest_id=command.stream,
            state=state.state,
            version=state.version,
        )
    raise _illegal(chart, state, command, found)


def _leads_there(chart: Chart, before: str | None, after: str, target: str) -> bool:
    """Whether a transition ends in `target` and did not begin there: naming a state never means `revise`."""
    goal = set(entered(chart, target).split("+"))
    return goal <= set(after.split("+")) and not goal <= set((before or "").split("+"))


def _illegal(chart: Chart, state: StateSnapshot, command: Command, found: list[Step]) -> IllegalTransition:
    history = state.facts.get("history", {})
    allowed = {action: taken.place for action, taken in steps(chart, state.state, history).items()}
    wanted = f"do {command.action!r}" if command.action else f"go to {command.target}"
    if found:
        why = f"both {' and '.join(repr(taken.label) for taken in found)} lead there"
        next_step = "Name one of the actions."
    else:
        there = command.target in chart.active(state.state)
        why = "it is there already" if there else "the lifecycle has no such transition"
        listed = ", ".join(f"{action} (to {place})" for action, place in allowed.items())
        known = all(chart.has_state(leaf) for leaf in state.state.split("+"))
        end = "is final" if known else f"is not a state of the lifecycle {chart.name!r}"
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


def _check_document(chart: Chart, taken: Step, command: Command) -> None:
    wanted = action_of(chart, taken.label).document
    if wanted and command.document is None:
        raise InvalidArgument(
            f"{taken.label!r} needs a document, but none was given.",
            "Pass one: its FILE, or `document=` in Python.",
            action=taken.label,
        )
    if not wanted and command.document is not None:
        raise InvalidArgument(f"{taken.label!r} takes no document.", "Omit it.", action=taken.label)


def _check_pins(state: StateSnapshot, command: Command) -> None:
    for what, expected, found in (
        ("digest", command.expected_digest, state.digest),
        ("head", command.expected_head, state.position.head),
    ):
        if expected is not None and expected != found:
            of = "document" if what == "digest" else "log"
            raise PinMismatch(
                f"The {of} of {state.stream!r} has the {what} {found}; expected {expected}.",
                "It changed since it was reviewed: review it again, then decide again.",
                manifest_id=state.stream,
                version=state.version,
                pinned=what,
                expected=expected,
                found=found,
            )


def _told(
    definition: Definition,
    policy: Policy,
    state: StateSnapshot | None,
    command: Command,
    taken: Step,
    time: str,
    answers: Iterable[Answer],
) -> dict[str, Any]:
    """The data of an event, in the order of the format; the document comes last."""
    action = action_of(definition.chart, taken.label)
    digest = command.document.digest if command.document else (state.digest if state else None)
    document = command.document.value if command.document else (state.document if state else None)
    data = _moved(taken, state, command)
    data |= command.payload()
    data |= _grounds(definition, policy)
    if taken.joined or taken.history or definition.chart.timeouts:
        data |= _consequences(definition.chart, state, taken, time)
    if action.approval:
        data["approval"] = {
            "digest": digest,
            "policy": policy.digest,
            **({} if policy.roster is None else {"roster": policy.roster}),
            "lifecycle": definition.identity["digest"],
            "head": state.position.head if state else "",
            "roles": policy.roles_of(command.actor),
        }
    if answers and policy.format > 1 and (counted := _counted(answers)) is not None:
        data["counted"] = counted
    approvals = state.facts.get("approvals", ()) if state else ()
    if action.lapses or (approvals and command.document is not None):
        data["lapsed"] = [one["version"] for one in approvals]
    data |= _said_besides(command)
    if action.claims_name or action.releases_name:
        data |= said_of_name(action, state, document)
    if action.name in TAGGING:
        data |= said_of_tags(state, command)
    if digest is not None:
        data["digest"] = digest
    if command.document is not None:
        data["document"] = command.document.value
    return data


def _said_besides(command: Command) -> dict[str, Any]:
    """The members of an event about its command, besides the payload."""
    said: dict[str, Any] = {}
    if command.undoes is not None:
        said["undoes"] = command.undoes
    if (fence := fence_of(command)) is not None:
        said[FENCE] = fence
    if command.imported is not None:
        said["imported"] = dict(command.imported)
    if (command.seen is not None or command.claim is not None) and (seen := seen_by(command)):
        said[SEEN] = seen
    return said


def _counted(answers: Iterable[Answer]) -> list[int] | None:
    """The versions of the approvals that guards counted, each once; None if no guard of today's counted approvals."""
    counted: set[int] | None = None
    for answer in answers:
        if answer.guard == GUARD and "by_role" in answer.verdict.evidence:
            counted = (counted or set()) | {one["version"] for one in answer.verdict.evidence["counted"]}
    return None if counted is None else sorted(counted)


def _moved(taken: Step, state: StateSnapshot | None, command: Command | None = None) -> dict[str, Any]:
    moved: dict[str, Any] = {
        "action": taken.label,
        "from": state.state if state else None,
        "to": taken.place,
        "actor": None if command is None else command.actor,
    }
    if command is not None and command.via is not None:
        moved["via"] = dict(command.via)
    return moved


def _grounds(definition: Definition, policy: Policy) -> dict[str, Any]:
    """The rules and release that an event was decided under."""
    grounds: dict[str, Any] = {"lifecycle": definition.identity}
    if policy.digest is not None:
        grounds["policy"] = policy.digest
    if policy.roster is not None:
        grounds["roster"] = policy.roster
    if policy.registry is not None:
        grounds["registry"] = policy.registry
    grounds["release"] = __version__
    return grounds


def _consequences(chart: Chart, state: StateSnapshot | None, taken: Step, time: str) -> dict[str, Any]:
    """The other consequences of a transition: joined regions, history, due time-outs."""
    said: dict[str, Any] = {}
    if taken.joined:
        said["joined"] = list(taken.joined)
    if taken.history:
        said["history"] = dict(taken.history)  # the step is shared: a chart remembers it
    if chart.timeouts and (due := _due(chart, state, taken, time)):
        said["due"] = due
    return said


def _due(chart: Chart, state: StateSnapshot | None, taken: Step, time: str) -> dict[str, str]:
    before = chart.active(state.state) - taken.left if state else frozenset()
    pending: Mapping[str, str] = state.facts.get("due", {}) if state else {}
    active = chart.active(taken.place)
    due = {}
    for timeout in chart.timeouts:
        if timeout.state in active:
            runs_on = timeout.state in before and not timeout.sliding and timeout.name in pending
            seconds = duration_s(timeout.after)
            assert seconds is not None
            due[timeout.name] = pending[timeout.name] if runs_on else later(time, seconds)
    return due


def _check_actor(definition: Definition, policy: Policy, state: StateSnapshot, command: Command) -> None:
    """The check of the actor, for an event whose other guards aren't asked."""
    refusal = says_actor(command, policy) if policy.format > 1 else None
    if refusal is None:
        return
    why = Explanation(
        manifest_id=state.stream,
        action=command.action or "",
        actor=command.actor,
        state=state.state,
        version=state.version,
        to=state.state,
        allowed=False,
        answers=(Answer("actor", "policy", refusal),),
        who=None,
        next=None,
        digest=state.digest,
        policy=policy.digest,
        lifecycle=definition.identity,
    )
    raise _refused(why)


def _refused(why: Explanation) -> GuardRefused:
    refusals = why.refusals
    remedies = " ".join(dict.fromkeys(verdict.remedy for verdict in refusals if verdict.remedy))
    steps = [] if why.next is None else [why.next]
    if any(answer.origin == "claim" and not answer.verdict.agrees for answer in why.answers):
        steps.append(Next(operation="locks.break", id=why.manifest_id, missing=("reason",)))
    return GuardRefused(
        f"{why.action!r} of {why.manifest_id!r} was refused: {'; '.join(verdict.reason for verdict in refusals)}.",
        remedies,
        *steps,
        **why.as_json(),
    )


def _unknown(definition: Definition, event: Event) -> UnknownEvent:
    release = event.data.get("release")
    by = f"by release {release}" if isinstance(release, str) else "by a later release"
    next_step = f"It was written {by}: upgrade to that release or a later one, and read it again."
    if definition.is_behind(event):
        version = event.data["lifecycle"]["version"]
        next_step = f"Version {version} of the lifecycle was put in force meanwhile: open the registry again."
    return UnknownEvent(
        f"Version {event.version} of {event.subject!r} is a {event.type!r}, which this release of the lifecycle "
        f"{definition.name!r} does not know.",
        next_step,
        manifest_id=event.subject,
        version=event.version,
        type=event.type,
        release=release,
    )
