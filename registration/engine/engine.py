"""The engine: load, decide, fold, append, publish; decide again after a conflict.

It knows no lifecycle and no file format. Its guarantees for every definition and every store:

- an event is on the disk before any handler is called with it;
- the fold is computed before the append, so a bug in it shows before anything is permanent;
- a version expected by the caller is checked once; any other conflict is decided again
  on the new state, after a jittered wait, within a bound;
- threads that write to one manifest take turns, first come, first served, and so do processes after a conflict;
- the same idempotency key with the same request returns the first result again and writes nothing;
- due time-outs are recorded before anything else is decided, with the time at which they were due;
- the lifecycle, the policy and the schemas that an event names by digest are stored before the event.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import orjson

from registration.core.actors import answerable
from registration.core.codec import encode_snapshot
from registration.core.decider import (
    check_repair,
    decide,
    decide_claim_broken,
    decide_repair,
    decide_timeout,
    due_timeout,
    fold,
    is_same_request,
    sealed,
)
from registration.core.policy import NO_POLICY, Policy
from registration.core.repairing import Lost
from registration.engine.publisher import Publisher, StateChange, current_event
from registration.errors import (
    GuardRefused,
    IdempotencyMismatch,
    LockTimeout,
    NotFound,
    RegistrationError,
    SnapshotMismatch,
    StoreError,
    VersionConflict,
)
from registration.storage import layout
from registration.storage.ledger import RulesReplaced
from registration.storage.ports import NOTHING_GIVEN
from registration.values.events import Event, NewEvent, Position, StateSnapshot
from registration.values.ids import uuid7
from registration.values.times import Clock, RetryPolicy, rfc3339, system_clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from registration.core.outlook import Outlook
    from registration.core.policy import Limits
    from registration.engine.quotas import Quotas
    from registration.engine.trial import Trial
    from registration.errors import Next
    from registration.storage.ledger import Ledger
    from registration.storage.ports import Key
    from registration.storage.reports import Loss
    from registration.values.commands import Command
    from registration.values.leases import Lease


_log = logging.getLogger("registration")

T = TypeVar("T")

REPLACED_MAX = 100
"""How often one command is decided again because the rules were replaced meanwhile."""

CONTENDED_S = 1.0
"""How long a manifest counts as contended after a conflict with another process, in seconds."""

CONTENDED_MAX = 1024
"""The number of manifests that are remembered as contended; forgetting one costs another conflict."""


NOTHING_COUNTED: AbstractContextManager[None] = nullcontext()


def seeing(command: Command, seen: Mapping[str, int]) -> Command:
    """The command with more that its decision sees outside its log."""
    return replace(command, seen={**(command.seen or {}), **seen}) if seen else command


class Random(Protocol):
    """The source of ids and waits: `random.SystemRandom()`, or `random.Random(seed)` for reproducible ones."""

    def random(self) -> float:
        """Evenly distributed in [0, 1)."""

    def randbytes(self, n: int) -> bytes:
        """That many bytes."""


class Reservations(Protocol):
    """What has to be held while events are committed, such as the name that one of them claims."""

    def held_for(
        self, stream: str, after: Position, events: Sequence[Event]
    ) -> AbstractContextManager[Mapping[Key, bytes | None]]:
        """Hold it during the block, which appends events about names to a log that ends at `after`.

        Yields the records that have to be unchanged at the commit; see `registration.storage.ports.Logs.append`.

        Raises (on entering):
            NameTaken: when another manifest has it. Nothing was written.
            LockTimeout, StoreError, CorruptLog: as `Ledger`. Nothing was written to the log.
        """

    def check_free(self, stream: str, events: Sequence[Event], trial: Trial) -> None:
        """Refuse like `held_for`, and hold nothing.

        Raises: as `held_for`.
        """

    def other_holder(self, full: str, stream: str) -> Mapping[str, Any] | None:
        """The manifest other than `stream` that holds a name by its reservation and its log: its `manifest_id`, `version` and `hash`.

        None if there is none, or if its log can't be read.
        """


class Governing(Protocol):
    """What guards that events are committed under the rules in force."""

    def given(self, policy: Policy) -> Mapping[Key, bytes | None]:
        """The records that have to be unchanged at the commit of an event that was decided under these rules.

        Raises:
            RulesReplaced: when they are no longer in force: decide again.
        """

    def check(self, state: StateSnapshot, policy: Policy) -> None:
        """Refuse to decide in a state that was decided under later rules than these.

        Raises:
            CorruptRegistry: when it was. Nothing was written.
        """


@dataclass(frozen=True, slots=True)
class TransitionResult(StateChange):
    """The result of a command: the recorded event, and the state after it.

    events: all recorded events, in order; `event` is the last. attempts: the number of decisions, from 1; more than one if
    another writer interfered. replayed: the repeated first answer to an earlier call with the same idempotency key; nothing
    was written. waited_s: the total wait for other writers to the manifest: for turns, for locks, and
    before retrying. dry_run: the result is only a decision; nothing was written.
    """

    events: tuple[Event, ...]
    attempts: int = 1
    replayed: bool = False
    waited_s: float = 0.0
    dry_run: bool = False
    _onward: Onward | None = field(default=None, repr=False, compare=False)
    _ahead: Ahead | None = field(default=None, repr=False, compare=False)

    def outlook(self) -> tuple[Outlook, ...]:
        """The approvals that the resulting state has and lacks, by action that demands them, and who could give them.

        Computed on demand, under the policy then in force; the manifest is not read again. Empty where no action demands approvals.
        """
        return () if self._ahead is None else self._ahead(self._state)

    def next_steps(self, action: str | None = None) -> tuple[Next, ...]:
        """The next steps from the resulting state, each with its actor and its missing arguments.

        action: only steps towards this action. They are computed on demand, under the policy then in force; the
        manifest is not read again.
        """
        return () if self._onward is None else self._onward(self._state, action, self.event.actor)

    @property
    def state(self) -> StateSnapshot:
        """The state after it, not to be changed; `snapshot` is a copy."""
        return self._state


Onward = Callable[["StateSnapshot", "str | None", "str | None"], "tuple[Next, ...]"]
"""Returns the next steps from a state, towards an action (None: every one that the lifecycle offers), for an actor."""


Ahead = Callable[["StateSnapshot"], "tuple[Outlook, ...]"]
"""Returns the outlook from a state."""


@dataclass(slots=True)
class _Try:
    """The progress of one command: the number of decisions, and the time spent waiting, in seconds.

    trial: receives the events instead of the log.
    """

    attempts: int = 1
    waited_s: float = 0.0
    trial: Trial | None = None


class Engine:
    """One store under one definition. Safe to share between threads.

    policy: returns the rules in force; called before each decision, after the state was read. governing: guards the commits under them;
    None: nothing does. claims: returns the current lease on a stream; called
    as well. clock, random, sleep: the sources of time, ids and waits. lock_timeout_s: for other threads of this process;
    the store has its own for other processes. reservations: locks that are held while events are committed.
    onward, ahead: compute the next steps and the outlook of results.
    """

    def __init__(
        self,
        store: Ledger,
        *,
        policy: Callable[[], Policy] = lambda: NO_POLICY,
        governing: Governing | None = None,
        claims: Callable[[str], Lease | None] = lambda _: None,
        clock: Clock = system_clock,
        random_source: Random | None = None,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        lock_timeout_s: float = 10.0,
        reservations: Reservations | None = None,
        onward: Onward | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self.store = store
        self._onward = onward
        self._ahead = ahead
        self.reservations = reservations
        self.publisher = Publisher()
        self.policy = policy
        self._governing = governing
        self._claims = claims
        self.committed = 0
        """The approximate number of events that this engine committed: concurrent increments may be lost."""
        self._kept: set[str] = set()
        self._contended: dict[str, float] = {}
        self._clock = clock
        self._random = random_source or random.SystemRandom()
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._lock_timeout_s = lock_timeout_s

    @cached_property
    def quotas(self) -> Quotas:
        """What actors did today, as far as policies limit it."""
        from registration.engine.quotas import Quotas  # noqa: PLC0415  # few policies limit it

        return Quotas(self.store.records)

    def quotas_seen(self, actor: str | None, policy: Policy, *, creating: bool) -> Mapping[str, int]:
        """What a decision on a command by that actor, at this moment, would see of what the actor did today."""
        limits = self._quota(policy)
        if limits is None:
            return {}
        return self.quotas.seen(actor, rfc3339(self._clock())[:10], limits, creating=creating)

    def trial(self) -> Trial:
        """A trial of one command, or of a few: it is in memory."""
        from registration.engine.trial import Trial  # noqa: PLC0415  # for dry runs alone

        return Trial(self.store)

    def execute(self, command: Command, trial: Trial | None = None) -> TransitionResult:
        """Carry out one command.

        trial: decide it after the trial's earlier commands, and record it there. Nothing is written, no lock is taken, and no
        handler is called.

        Raises:
            Rejected, AlreadyExists, NotFound, InvalidArgument: as `registration.core.decider.decide`.
            IdempotencyMismatch: when the key was used for another request.
            NameTaken: when another manifest holds the name.
            VersionConflict: when the manifest is not at the expected version, or every attempt met a
                conflict.
            LockTimeout, StoreError, CorruptLog: as `registration.storage.ledger.Ledger`.
        """
        if (parent := current_event.get()) is not None:
            # A command issued by a handler shares the correlation of its event, and is caused by it.
            command = replace(
                command,
                correlation_id=command.correlation_id or parent.correlation_id,
                causation_id=command.causation_id or parent.id,
            )
        attempt = partial(self._attempt, command)
        if trial is not None:
            return self._tried(trial, attempt)
        return self._retried(command.stream, attempt, pinned=command.expected_version is not None)

    def tick(self, stream: str, *, dry_run: bool = False) -> TransitionResult | None:
        """Fire the due time-outs of one manifest; None if none is due, or there is no such manifest.

        dry_run: only return the events that would be recorded; they are not in the log.

        Raises:
            VersionConflict, LockTimeout, StoreError, CorruptLog: as `execute`.
        """

        def attempt(so_far: _Try) -> TransitionResult | None:
            before = (so_far.trial or self.store).load(stream)
            events, after = self._fire(stream, before, self._clock(), so_far)
            if after is None or not events:
                return None
            return self._result(after, events, so_far)

        if dry_run:
            return self._tried(self.trial(), attempt)
        return self._retried(stream, attempt, pinned=False)

    def record_broken_claim(
        self, command: Command, claim: Lease, *, trial: Trial | None = None
    ) -> TransitionResult:
        """Record that a lock is broken; the caller breaks the lease afterwards.

        command: the manifest, the actor and the reason. trial: as for `execute`.

        Raises:
            NotFound: when there is no such manifest.
            GuardRefused: when the policy demands another actor.
            VersionConflict, LockTimeout, StoreError, CorruptLog: as `execute`.
        """
        stream = command.stream

        def attempt(so_far: _Try) -> TransitionResult:
            now_ns = self._clock()
            _, before = self._fire(stream, (so_far.trial or self.store).load(stream), now_ns, so_far)
            if before is None:
                raise NotFound(f"There is no manifest {stream!r}.", manifest_id=stream)
            time, event_id = self._stamp(now_ns)
            policy = self._rules(before)
            decided = decide_claim_broken(
                self.store.definition, before, claim, actor=command.actor, reason=command.reason or "", via=command.via,
                time=time, event_id=event_id, policy=policy,
            )  # fmt: skip
            events, state = self._commit(stream, before, decided, policy, so_far)
            return self._result(state, events, so_far)

        if trial is not None:
            return self._tried(trial, attempt)
        return self._retried(stream, attempt, pinned=False)

    def _tried(self, trial: Trial, attempt: Callable[[_Try], T]) -> T:
        """Decide once, into a trial."""
        try:
            return attempt(_Try(trial=trial))
        except VersionConflict as conflict:
            raise self._with_found(conflict, 1) from None

    def _retried(self, stream: str, attempt: Callable[[_Try], T], *, pinned: bool) -> T:
        """Decide, and decide again after a conflict unless a version is expected, within the bounds of the retry policy.

        This process's threads take turns at a manifest. After a conflict with another process, a command waits a moment, and then
        in the store's queue as well, as do this engine's next commands for the manifest, while it is contended.
        """
        so_far = _Try()
        waits: Iterator[float] | None = None
        replaced = 0
        while True:
            try:
                return self._in_turn(stream, attempt, so_far)
            except RulesReplaced as conflict:
                # What the caller expects of the manifest may still hold: pinned or not, it is decided again, at once.
                replaced += 1
                if replaced > REPLACED_MAX:
                    raise self._with_found(conflict, so_far.attempts) from None
                so_far.attempts += 1
                continue
            except VersionConflict as conflict:
                waits = waits or self._retry.waits_s(self._random.random)
                wait_s = None if pinned else next(waits, None)
                if wait_s is None:
                    raise self._with_found(conflict, so_far.attempts) from None
            if len(self._contended) >= CONTENDED_MAX:
                self._contended.clear()
            self._contended[stream] = time.monotonic() + CONTENDED_S
            self._sleep(wait_s)
            so_far.waited_s += wait_s
            so_far.attempts += 1

    def _in_turn(self, stream: str, attempt: Callable[[_Try], T], so_far: _Try) -> T:
        lane, waited_s = self.publisher.enter(stream, self._lock_timeout_s)
        so_far.waited_s += waited_s
        try:
            if stream in self._contended and self._is_contended(stream):
                with self.store.queue(stream) as queued_s:
                    so_far.waited_s += queued_s
                    return attempt(so_far)
            return attempt(so_far)
        finally:
            self.publisher.leave(stream, lane)

    def _is_contended(self, stream: str) -> bool:
        """Whether there was a recent conflict with another process on this manifest."""
        if self._contended.get(stream, 0.0) >= time.monotonic():
            return True
        self._contended.pop(stream, None)
        return False

    def persist(self, snapshot: StateSnapshot) -> None:
        """Store a snapshot, if it is exactly the fold of the log at its version.

        A snapshot of an earlier version is checked as well, and a later one that is stored already stays.

        Raises:
            SnapshotMismatch: when it differs from the fold of the log, or there is no such version.
        """
        store, stream = self.store, snapshot.stream
        events = []
        for event in store.read(stream):
            events.append(event)
            if event.version == snapshot.version:
                break
        folded = fold(store.definition, None, events)
        if folded is None or encode_snapshot(folded) != encode_snapshot(snapshot):
            raise SnapshotMismatch(
                f"The snapshot of {stream!r} at version {snapshot.version} does not match its log.",
                "Nothing was written. Load the state, or recover it from the events.",
                manifest_id=stream,
                version=snapshot.version,
            )
        store.save(stream, snapshot)

    def repair(self, command: Command, *, accept_loss: bool) -> Loss | None:
        """Truncate a damaged log to its intact events, and record who accepted the loss, and why; see `Ledger.repair`.

        command: `repair`, with the stream, the actor and perhaps a reason. accept_loss: False only returns the loss, and whether the
        repair would be refused.

        Raises:
            GuardRefused: when a guard of the policy disagrees. Nothing was changed.
            NotFound, LockTimeout, StoreError: as `Ledger.repair`.
        """
        stream = command.stream
        with self.publisher.turn(stream, self._lock_timeout_s):
            if not accept_loss:
                loss = self.store.repair(stream, None)
                return None if loss is None else self._planned(command, loss)
            loss = self.store.repair(stream, partial(self._decide_repair, command))
            if loss is None or loss.event is None or loss.repaired is None:
                return loss
            self.publisher.put(stream, [StateChange(loss.event, loss.repaired)])
            return _with_consequences(loss, loss.event.data)

    def _planned(self, command: Command, loss: Loss) -> Loss:
        """A loss, with what its repair would lead to, or why it would be refused."""
        try:
            decided = self._decide_repair(command, loss, planned=True)
        except RegistrationError as refusal:  # or the policy can't be read
            return replace(loss, refusal=refusal)
        if decided is None:
            return loss
        return _with_consequences(loss, decided.data)

    def _decide_repair(self, command: Command, loss: Loss, *, planned: bool = False) -> NewEvent | None:
        definition, policy = self.store.definition, self.policy()
        time, event_id = self._stamp(self._clock())
        try:
            if loss.state is None:
                check_repair(definition, None, command, policy)
                return None
            lost = Lost(loss.lost_bytes, loss.lost_version, loss.kept_as, loss.reason)
            if loss.state.name is not None and self.reservations is not None:
                holder = self.reservations.other_holder(loss.state.name, command.stream)
                command = replace(command, seen=None if holder is None else {"holder": dict(holder)})
            decided = decide_repair(
                definition, loss.state, command, lost, time=time, event_id=event_id, policy=policy
            )
        except GuardRefused as refusal:
            if policy.log_refusals and not planned:
                self._note(refusal, command, time)
            raise
        if not planned:
            self._keep_rules(policy)
        return decided

    def _attempt(self, command: Command, so_far: _Try) -> TransitionResult:
        store, stream, trial = self.store, command.stream, so_far.trial
        before = (trial or store).load(stream)
        if (
            command.idempotency_key is not None
            and before is not None
            and (replayed := self._answered(command, before, so_far)) is not None
        ):
            return replayed
        now_ns = self._clock()  # read once: no time-out becomes due between firing and deciding
        if before is not None and "due" in before.facts:
            _, before = self._fire(stream, before, now_ns, so_far)
        if before is not None and command.expected_version not in (None, before.version):
            raise VersionConflict(stream, command.expected_version or 0, before.version)
        policy = self._rules(before)
        claim = self._claims(stream) if before is not None else None
        if claim is not None and (trial is None or trial.lease(stream, claim) is not None):
            command = replace(command, claim=claim)
        time, event_id = self._stamp(now_ns)
        quota = self._quota(policy)
        try:
            if quota is None:
                events, state = self._taken(command, before, policy, (time, event_id), so_far)
            else:
                events, state = self._taken_within(quota, command, before, policy, (time, event_id), so_far)
        except GuardRefused as refusal:
            if trial is None:
                self._refused(quota, refusal, command, time, policy)
            raise
        return self._result(state, events, so_far)

    def _taken(
        self,
        command: Command,
        before: StateSnapshot | None,
        policy: Policy,
        stamp: tuple[str, str],
        so_far: _Try,
        counted: AbstractContextManager[None] = NOTHING_COUNTED,
    ) -> tuple[tuple[Event, ...], StateSnapshot]:
        """Decide and commit. stamp: the time and the id of the event. counted: entered for the commit."""
        time, event_id = stamp
        definition = self.store.definition
        decided = decide(definition, before, command, time=time, event_id=event_id, policy=policy)
        with counted:
            return self._commit(command.stream, before, decided, policy, so_far)

    def _taken_within(
        self,
        limits: Limits,
        command: Command,
        before: StateSnapshot | None,
        policy: Policy,
        stamp: tuple[str, str],
        so_far: _Try,
    ) -> tuple[tuple[Event, ...], StateSnapshot]:
        """The same, within the limits of one actor and day: what they are compared with is in the command, and in the event."""
        quotas, actor, day, trial = self.quotas, command.actor, stamp[0][:10], so_far.trial
        creating = before is None
        if creating and limits.drafts is not None and trial is None:
            with quotas.creating(actor, day) as draft:
                asked = seeing(command, draft.seen(limits))
                return self._taken(asked, before, policy, stamp, so_far, draft.counted())
        seen = quotas.seen(actor, day, limits, creating=creating)
        if trial is None or "drafts" not in seen:
            return self._taken(seeing(command, seen), before, policy, stamp, so_far)
        with trial.creating(actor) as earlier:
            asked = seeing(command, {**seen, "drafts": seen["drafts"] + earlier})
            return self._taken(asked, before, policy, stamp, so_far)

    def _quota(self, policy: Policy) -> Limits | None:
        """The limits of one actor and day, if the policy has any."""
        limits = policy.limits
        if limits.drafts is None and limits.refusals is None:
            return None
        return limits if self.store.definition.has_documents and policy.format > 1 else None

    def _refused(
        self, limits: Limits | None, refusal: GuardRefused, command: Command, time: str, policy: Policy
    ) -> None:
        """Count and record a refusal. Beyond the limit it is neither: the log of refusals is bounded as well."""
        log = policy.log_refusals
        if limits is not None and limits.refusals is not None:
            try:
                log = self.quotas.add_refusal(answerable(command, policy), time[:10], limits.refusals) and log
            except (StoreError, LockTimeout) as error:  # the command is refused in any case
                _log.warning("%s: a refusal could not be counted: %s", command.stream, error)
        if log:
            self._note(refusal, command, time)

    def _fire(
        self, stream: str, state: StateSnapshot | None, now_ns: int, so_far: _Try
    ) -> tuple[tuple[Event, ...], StateSnapshot | None]:
        """Record due time-outs, one after the other: one may make another due."""
        fired: list[Event] = []
        definition = self.store.definition
        while state is not None and "due" in state.facts:
            time, event_id = self._stamp(now_ns)
            timeout = due_timeout(definition, state, time)
            if timeout is None:
                break
            policy = self._rules(state)
            decided = decide_timeout(definition, state, timeout, time=time, event_id=event_id, policy=policy)
            if not decided:
                break
            events, state = self._commit(stream, state, decided, policy, so_far)
            fired += events
        return tuple(fired), state

    def _commit(
        self,
        stream: str,
        before: StateSnapshot | None,
        decided: list[NewEvent],
        policy: Policy,
        so_far: _Try,
    ) -> tuple[tuple[Event, ...], StateSnapshot]:
        """Seal, fold, append, publish: the events of one decision, and the state after them. In the manifest's turn."""
        store = self.store
        after = before.position if before else Position()
        events, states = sealed(store.definition, before, decided, stream=stream, source=store.source)
        state = states[-1]
        if so_far.trial is not None:
            so_far.trial.put(
                stream, after, events, state, partial(self._check_free, stream, events, so_far.trial)
            )
            return tuple(events), state
        in_force = NOTHING_GIVEN if self._governing is None else self._governing.given(policy)
        self._keep_rules(policy)
        reserved = (
            self.reservations.held_for(stream, after, events)
            if self.reservations and any("claimed" in one.data or "released" in one.data for one in events)
            else nullcontext(NOTHING_GIVEN)
        )
        with reserved as named:
            given = {**in_force, **named} if named else in_force
            so_far.waited_s += store.append(stream, after, events, state, given=given)
            self.publisher.put(stream, list(map(StateChange, events, states)))
        self.committed += len(events)
        return tuple(events), state

    def _rules(self, state: StateSnapshot | None) -> Policy:
        """The rules in force, for a decision in a state that was read before."""
        policy = self.policy()
        if self._governing is not None and state is not None:
            self._governing.check(state, policy)
        return policy

    def _check_free(self, stream: str, events: Sequence[Event], trial: Trial) -> None:
        if self.reservations is not None:
            self.reservations.check_free(stream, events, trial)

    def _keep_rules(self, policy: Policy) -> None:
        """Store what an event names by digest, durably, before the event. Once for each digest and engine."""
        definition = self.store.definition
        if (digest := definition.identity["digest"]) not in self._kept:
            self.store.keep("lifecycles", digest, definition.data)
            self._kept.add(digest)
        if policy.digest is not None and policy.digest not in self._kept:
            for schema, value in policy.schemas.items():
                self.store.keep("schemas", schema, value)
            self.store.keep("policies", policy.digest, policy.data)
            self._kept.add(policy.digest)
        if policy.roster is not None and policy.roster not in self._kept:
            self.store.keep("rosters", policy.roster, policy.roster_data)
            self._kept.add(policy.roster)

    def _note(self, refusal: GuardRefused, command: Command, time: str) -> None:
        """Record a refusal. A failure is logged: the command is refused in any case."""
        said: dict[str, object] = {
            "actor": command.actor,
            "document": command.document.digest if command.document else None,
        }
        if command.tags:
            said["tags"] = list(command.tags)
        if command.via is not None:
            said["via"] = dict(command.via)
        line = {
            "time": time,
            "source": self.store.source,
            "command": {**said, **command.payload()},
            "refusal": refusal.details,
            **({} if self.store.name == layout.MANIFESTS else {"area": self.store.name}),
        }
        try:
            self.store.log_refusal(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        except (StoreError, TypeError) as error:  # a guard of the program may return values that are not JSON
            _log.warning("%s: a refusal could not be recorded: %s", command.stream, error)

    def _stamp(self, now_ns: int) -> tuple[str, str]:
        """The time, and the id of an event decided at that time."""
        return rfc3339(now_ns), uuid7(now_ns // 1_000_000, self._random.randbytes(10))

    def _answered(self, command: Command, state: StateSnapshot, so_far: _Try) -> TransitionResult | None:
        """The result of an earlier call with the same key, if there was one."""
        version = dict(state.keys).get(command.idempotency_key or "")
        if version is None:
            return None
        store = self.store
        told = []
        for event in (so_far.trial or store).read(command.stream):
            told.append(event)
            if event.version >= version and not event.remaining:
                break
        # Of the latest command with the key: an earlier one may have used it before it was dropped.
        begun = told[-1].version - told[-1].part
        events = tuple(told[begun:])
        if not is_same_request(store.definition, command, events[0]):
            raise IdempotencyMismatch(
                f"The idempotency key {command.idempotency_key!r} was used for another request: "
                f"{events[0].action!r} of {command.stream!r}, version {version}.",
                "Use a new key for a new request.",
                manifest_id=command.stream,
                idempotency_key=command.idempotency_key,
                version=version,
            )
        first = fold(store.definition, None, told)
        assert first is not None
        return self._result(first, events, so_far, replayed=True)

    def _result(
        self, state: StateSnapshot, events: tuple[Event, ...], so_far: _Try, *, replayed: bool = False
    ) -> TransitionResult:
        return TransitionResult(
            events[-1], state, events, so_far.attempts, replayed, so_far.waited_s, so_far.trial is not None, self._onward,
            self._ahead,
        )  # fmt: skip

    def _with_found(self, conflict: VersionConflict, attempts: int) -> VersionConflict:
        """The same conflict with the manifest's current version, if it can be read."""
        stream = conflict.details["manifest_id"]
        found = conflict.details["found"]
        if found is None:
            try:
                state = self.store.load(stream)
                found = state.version if state else 0
            except RegistrationError:
                found = None
        error = VersionConflict(stream, conflict.details["expected"], found)
        error.details["attempts"] = attempts
        return error


def _with_consequences(loss: Loss, data: Mapping[str, Any]) -> Loss:
    """A loss with what the event of its repair leads to."""
    return replace(loss, place=data["to"], lapsed=tuple(data["lapsed"]), released=data.get("released"))
