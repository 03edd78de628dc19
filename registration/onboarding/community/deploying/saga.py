"""The saga: a plan that is executed at a target step by step, to its end or rolled back.

The guarantees, whatever fails and whenever the process dies:

- Before each call at the target an event records the intent, and after it another one the result. Both are
  on the disk before anything else is done.
- If a step fails, all steps are undone in reverse, the failed one first, since its outcome may be unknown.
- If undoing fails, that is recorded with its reason, reported, and retried by the next `run`. Nothing is skipped.
- `run` continues from wherever an earlier one stopped, in this process or another. Each call carries a key made of the
  deployment's id and the step's number, so that the target does nothing twice; see `registration.onboarding.community.deploying.target`.
- Concurrent runs of one deployment are harmless: each event is written on the version that it was decided on, and
  a call that arrives too late finds its key closed.

A deployment is its own stream, in the area `deployments/` of a registry, on the engine and under the statechart of
`registration.onboarding.community.deploying.lifecycle`. Source: Garcia-Molina and Salem, "Sagas", SIGMOD 1987.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from registration.engine.engine import Engine
from registration.engine.origin import came_in
from registration.errors import InvalidArgument, NotFound, RegistrationError, Rejected, VersionConflict
from registration.onboarding.community.deploying.lifecycle import DEPLOYMENT, turn_of
from registration.onboarding.community.deploying.plans import DeploymentPlan, DeploymentStep, plan_from
from registration.onboarding.community.deploying.target import UNDO_OF, Done, Target
from registration.storage import layout
from registration.storage.files.backend import FileBackend
from registration.storage.ledger import Ledger
from registration.values.commands import Command, check_actor
from registration.values.documents import check_document
from registration.values.ids import check_id

if TYPE_CHECKING:
    import os

    from registration.storage.disk import Disk
    from registration.storage.ledger import Ledger
    from registration.values.events import StateSnapshot

_log = logging.getLogger("registration")

AREA = layout.DEPLOYMENTS
REASON_CHARACTERS_MAX = 1000

Told = Callable[["Deployment"], None]
"""Called with the deployment after each event that a run records."""


@dataclass(frozen=True, slots=True)
class Move:
    """The next move: an action to record, and whether a call at the target comes before it.

    step: the number of its step; None for an end.
    """

    kind: Literal["record", "do", "undo"]
    action: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """The current state of a deployment; a view of its snapshot."""

    snapshot: StateSnapshot

    @property
    def id(self) -> str:
        """The id of its stream."""
        return self.snapshot.stream

    @property
    def state(self) -> str:
        """One of the states of `registration.onboarding.community.deploying.lifecycle`."""
        return self.snapshot.state

    @property
    def plan(self) -> DeploymentPlan:
        """The plan that it executes."""
        assert self.snapshot.document is not None
        return plan_from(self.snapshot.document)

    @property
    def is_deployed(self) -> bool:
        """Whether every step was done."""
        return self.state == "DEPLOYED"

    @property
    def is_undone(self) -> bool:
        """Whether it was rolled back."""
        return self.state == "UNDONE"

    @property
    def has_ended(self) -> bool:
        """Whether a run would do nothing more."""
        return self.is_deployed or self.is_undone

    @property
    def failure(self) -> Mapping[str, Any] | None:
        """The reason for its rollback: `step` (from 0; None if it was abandoned) and `reason`; None if there is none."""
        found: Mapping[str, Any] | None = self.snapshot.facts.get("failure")
        return found

    @property
    def stuck(self) -> Mapping[str, Any] | None:
        """The undo that failed last: `step` and `reason`; None if none is pending."""
        found: Mapping[str, Any] | None = self.snapshot.facts.get("stuck")
        return found

    @property
    def left(self) -> tuple[str, ...]:
        """The titles of steps whose effects stay after a rollback, because others have changed them."""
        steps = self.plan.steps
        return tuple(steps[number].title for number in self.snapshot.facts.get("left", ()))

    def describe(self) -> str:
        """Its status for people: progress, failures, and the next step."""
        steps = self.plan.steps
        total, facts = len(steps), self.snapshot.facts
        done, failure, stuck = len(facts.get("ids", ())), self.failure, self.stuck
        if self.is_deployed:
            return f"{self.plan.name} is deployed: {total} steps done."
        if failure is None:
            turn = turn_of(self.snapshot)
            doing = f"; next: {steps[turn].title}" if turn is not None else ""
            return f"{self.plan.name} is being deployed: {done} of {total} steps done{doing}."
        what = "it was abandoned" if failure["step"] is None else f"{steps[failure['step']].title} failed"
        why = f"{what}: {failure['reason'].rstrip('.')}."
        if self.is_undone:
            stays = (
                f" Changed by others since, and left in place: {'; '.join(self.left)}." if self.left else ""
            )
            return f"{self.plan.name} is not deployed; all completed steps were rolled back: {why}{stays}"
        back = f"{self.plan.name} is not deployed: {why} {facts['back']} of {total} steps left to roll back"
        if stuck is None:
            return f"{back}."
        return (
            f"{back}; the rollback of this step failed: {steps[stuck['step']].title}: {stuck['reason'].rstrip('.')}. "
            "Fix that, then run the deployment again: it continues from there."
        )


def next_move(state: StateSnapshot) -> Move | None:
    """The next move of a deployment; None if it has ended. Pure."""
    turn = turn_of(state)
    match state.state:
        case "READY":
            return Move("record", "complete") if turn is None else Move("record", "begin", turn)
        case "DOING":
            return Move("do", "finish", turn)
        case "RETURNING":
            return Move("record", "close") if turn is None else Move("record", "begin_undo", turn)
        case "UNDOING":
            return Move("undo", "finish_undo", turn)
        case "STUCK":
            return Move("record", "retry")
    return None


def key_of(deployment: str, step: int) -> str:
    """The idempotency key of a step's calls at the target."""
    return f"{deployment}:{step}"


class Deployments:
    """The deployments of one registry. Safe to share between threads.

    engine: over a store whose definition is `DEPLOYMENT`. actor: the default actor.

    Raises:
        InvalidArgument: when the actor's name is invalid, from each call that names one as well.
    """

    def __init__(self, engine: Engine, *, actor: str | None = None) -> None:
        self._engine = engine
        self._actor = None if actor is None else check_actor(actor)

    @property
    def store(self) -> Ledger:
        """The store of the deployments."""
        return self._engine.store

    def close(self) -> None:
        """Release everything."""
        self._engine.store.close()

    def get(self, id: str) -> Deployment | None:
        """A deployment; None if there is none."""
        state = self._engine.store.load(check_id(id))
        return None if state is None else Deployment(state)

    def start(self, id: str, plan: DeploymentPlan, *, actor: str | None = None) -> Deployment:
        """Record a plan. Nothing is done yet; see `run`. The same id with the same plan returns the existing deployment.

        Raises:
            InvalidArgument: when the plan is empty, or `id` is invalid.
            InvalidDocument: when the plan can't be stored, for example because it is too large.
            IdempotencyMismatch: when the id was used for another plan.
        """
        if not plan.steps:
            raise InvalidArgument(f"The plan of {plan.name!r} has no steps.", "Add at least one step.")
        document = check_document(
            plan.as_document(), source="The plan", size_bytes_max=self.store.document_bytes_max
        )
        plan_from(document.value)
        command = Command(
            stream=check_id(id),
            action="plan",
            actor=self._named(actor),
            via=came_in(),
            document=document,
            idempotency_key=id,
        )
        self._engine.execute(command)
        found = self.get(id)
        assert found is not None
        return found

    def give_up(self, id: str, reason: str, *, actor: str | None = None) -> Deployment:
        """Abandon it: the next `run` undoes all steps, even after a completed deployment.

        A deployment that is or was rolled back stays as it is. A step in progress is undone, too: a call still in flight finds its key closed.

        Raises:
            NotFound: when there is no such deployment.
        """
        while True:
            state = self._load(id)
            if state.state not in ("READY", "DOING", "DEPLOYED"):
                return Deployment(state)
            try:
                command = Command(
                    stream=id,
                    action="give_up",
                    actor=self._named(actor),
                    via=came_in(),
                    reason=_clipped(reason),
                    expected_version=state.version,
                )
                return Deployment(self._engine.execute(command).state)
            except VersionConflict:
                continue  # another process runs it: decide on the new state

    def run(self, id: str, target: Target, *, told: Told | None = None) -> Deployment:
        """Continue to its end, or to a failing undo. Returns its state then.

        A STUCK one is retried once. told: called after each event, outside every lock; an exception from it ends the run,
        and the next one continues.

        Raises:
            NotFound: when there is no such deployment.
            LockTimeout, StoreError, CorruptLog: as `registration.engine.engine.Engine.execute`; run again to continue.
        """
        state = self._load(id)
        plan = Deployment(state).plan
        tried = False
        while (move := next_move(state)) is not None and not (move.action == "retry" and tried):
            action, said = self._carried_out(move, state, plan, target)
            tried = tried or action == "fail_undo"
            try:
                state = self._engine.execute(
                    Command(
                        stream=id,
                        action=action,
                        actor=self._actor,
                        via=came_in(),
                        expected_version=state.version,
                        **said,
                    )
                ).state
            except VersionConflict:
                # Another process runs it as well, and was first: continue from its state. No call is lost by that, since
                # its result is stored under its key.
                state = self._load(id)
                continue
            _log.info("%s: %s", id, action)
            if told is not None:
                told(Deployment(state))
        return Deployment(state)

    def _named(self, actor: str | None) -> str | None:
        return check_actor(actor) if actor else self._actor

    def _load(self, id: str) -> StateSnapshot:
        state = self._engine.store.load(check_id(id))
        if state is None:
            raise NotFound(f"There is no deployment {id!r}.", "Start it first.", deployment_id=id)
        return state

    def _carried_out(
        self, move: Move, state: StateSnapshot, plan: DeploymentPlan, target: Target
    ) -> tuple[str, dict[str, Any]]:
        """Make the call of a move; returns the action to record, and its context."""
        if move.step is None:
            return move.action, {}
        context: dict[str, Any] = {"step": move.step, "key": key_of(state.stream, move.step)}
        if move.kind == "record":
            return move.action, {"context": context}
        step = plan.steps[move.step]
        if move.kind == "undo":
            return _undo(step, context, target)
        return _do(step, context, _arguments(step, state.facts.get("ids", ())), target)


def open_deployments(
    root: str | os.PathLike[str],
    *,
    actor: str | None = None,
    lock_timeout_s: float = 10.0,
    disk: Disk | None = None,
    **engine: Any,
) -> Deployments:
    """The deployments of the registry at `root`, which must exist. engine: arguments of `Engine`, such as a clock.

    Raises:
        NotFound: when there is no registry.
    """
    backend = FileBackend(root, disk=disk, lock_timeout_s=lock_timeout_s)
    store = Ledger(backend, backend.registry.source, DEPLOYMENT, area=AREA)
    return Deployments(Engine(store, lock_timeout_s=lock_timeout_s, **engine), actor=actor)


def _arguments(step: DeploymentStep, ids: list[str]) -> dict[str, Any]:
    """The arguments of a step's call, with the ids of earlier steps in place of their numbers."""
    referred = {name: None if number is None else ids[number] for name, number in step.refers.items()}
    return {**step.arguments, **referred}


def _do(
    step: DeploymentStep, context: dict[str, Any], arguments: dict[str, Any], target: Target
) -> tuple[str, dict[str, Any]]:
    key = context["key"]
    try:
        made: str = getattr(target, step.operation)(key, **arguments)
    except Exception as error:  # a target is foreign code over a network: any exception means rollback
        _log.info("%s: %s failed: %s", key, step.title, error)
        # A refusal is final. Otherwise only the answer may have been lost: that alone is no reason for a rollback.
        done = None if isinstance(error, Rejected) else _found(target, key)
        if done is None or done.undone or done.id is None:
            return "fail", {"context": context, "reason": _told(error)}
        made = done.id
    return "finish", {"context": {**context, "id": made}}


def _found(target: Target, key: str) -> Done | None:
    """The result of a call whose answer was lost; None if it is unknown: undoing is right in any case."""
    try:
        return target.find(key)
    except Exception as error:  # as above
        _log.info("%s: the outcome is unknown: %s", key, error)
        return None


def _undo(step: DeploymentStep, context: dict[str, Any], target: Target) -> tuple[str, dict[str, Any]]:
    try:
        came_to = getattr(target, UNDO_OF[step.operation])(context["key"])
    except Exception as error:  # as above; recorded, reported, and retried by the next run
        _log.info("%s: rolling back failed (%s): %s", context["key"], step.title, error)
        return "fail_undo", {"context": context, "reason": _told(error)}
    return "finish_undo", {"context": {**context, "came_to": came_to}}


def _told(error: Exception) -> str:
    text = str(error) if isinstance(error, RegistrationError) else f"{type(error).__name__}: {error}"
    return _clipped(text)


def _clipped(text: str) -> str:
    return text if len(text) <= REASON_CHARACTERS_MAX else text[:REASON_CHARACTERS_MAX] + "…"
