"""The saga: a plan carried out at a target a step at a time, to its end or back to where it began.

What is promised, whatever fails and whenever the process dies:

- Before each call at the target an event says that it is going to be made, and after it one says what it came to. Both are
  on the disk before anything else is done.
- Where a step fails, all that was done is taken back in reverse, the failed step first, since nobody may know whether it
  was done.
- Where taking back fails, that is recorded with its reason, told, and tried again by the next `run`. Nothing is skipped.
- `run` goes on from wherever an earlier one was, in this process or another. Each call carries a key made of the
  deployment's id and the step's number, so that the target does nothing twice; see `registration.onboarding.community.deploying.target`.
- Several that run the same deployment at once do no harm: each event is written on the version that it was decided on, and
  a call that comes too late meets a key that is closed.

A deployment is a stream of its own, in the area `deployments/` of a registry, on the engine and under the statechart of
`registration.onboarding.community.deploying.lifecycle`. A saga is by Garcia-Molina and Salem ("Sagas", SIGMOD 1987).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from registration.engine.engine import Engine
from registration.errors import InvalidArgument, NotFound, RegistrationError, Rejected, VersionConflict
from registration.onboarding.community.deploying.lifecycle import DEPLOYMENT, turn_of
from registration.onboarding.community.deploying.plans import DeploymentPlan, DeploymentStep, plan_from
from registration.onboarding.community.deploying.target import UNDO_OF, Done, Target
from registration.storage import layout
from registration.storage.files.backend import FileBackend
from registration.storage.ledger import Ledger
from registration.values.commands import Command
from registration.values.documents import check_document
from registration.values.ids import check_id

if TYPE_CHECKING:
    import os

    from registration.storage.disk import Disk
    from registration.storage.ledger import Ledger
    from registration.values.snapshots import StateSnapshot

_log = logging.getLogger("registration")

AREA = layout.DEPLOYMENTS
REASON_CHARACTERS_MAX = 1000

Told = Callable[["Deployment"], None]
"""Told of a deployment after each event that a run records."""


@dataclass(frozen=True, slots=True)
class Move:
    """What comes next: an action to record, and whether a call at the target comes before it.

    step: the number of the step that it is about; None for an end.
    """

    kind: Literal["record", "do", "undo"]
    action: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment as it stands; a view of its snapshot."""

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
        """What it carries out."""
        assert self.snapshot.document is not None
        return plan_from(self.snapshot.document)

    @property
    def is_deployed(self) -> bool:
        """Whether every step was done."""
        return self.state == "DEPLOYED"

    @property
    def is_undone(self) -> bool:
        """Whether it was taken back."""
        return self.state == "UNDONE"

    @property
    def has_ended(self) -> bool:
        """Whether a run would do nothing more."""
        return self.is_deployed or self.is_undone

    @property
    def failure(self) -> Mapping[str, Any] | None:
        """Why it goes or went back: `step` (from 0; None where somebody gave up) and `reason`; None where it doesn't."""
        found: Mapping[str, Any] | None = self.snapshot.facts.get("failure")
        return found

    @property
    def stuck(self) -> Mapping[str, Any] | None:
        """Which undo failed last, and why: `step` and `reason`; None where none is left that did."""
        found: Mapping[str, Any] | None = self.snapshot.facts.get("stuck")
        return found

    @property
    def left(self) -> tuple[str, ...]:
        """The titles of steps whose work stays though all was taken back: somebody else has changed it since."""
        steps = self.plan.steps
        return tuple(steps[number].title for number in self.snapshot.facts.get("left", ()))

    def describe(self) -> str:
        """Where it stands, for people: what was done, what failed, and what to do next."""
        steps = self.plan.steps
        total, facts = len(steps), self.snapshot.facts
        done, failure, stuck = len(facts.get("ids", ())), self.failure, self.stuck
        if self.is_deployed:
            return f"{self.plan.name} is deployed: {total} steps were done."
        if failure is None:
            turn = turn_of(self.snapshot)
            doing = f"; next: {steps[turn].title}" if turn is not None else ""
            return f"{self.plan.name} is being deployed: {done} of {total} steps were done{doing}."
        what = "it was given up" if failure["step"] is None else f"{steps[failure['step']].title} failed"
        why = f"{what}: {failure['reason'].rstrip('.')}."
        if self.is_undone:
            stays = (
                f" Somebody else has changed this since, and it stays: {'; '.join(self.left)}."
                if self.left
                else ""
            )
            return f"{self.plan.name} is not deployed, and what was done was taken back: {why}{stays}"
        back = (
            f"{self.plan.name} is not deployed: {why} {facts['back']} of {total} steps are left to take back"
        )
        if stuck is None:
            return f"{back}."
        return (
            f"{back}, and taking back this one failed: {steps[stuck['step']].title}: {stuck['reason'].rstrip('.')}. "
            "See to that, then run the deployment again: it goes on from there."
        )


def next_move(state: StateSnapshot) -> Move | None:
    """What comes next for a deployment; None where it has ended. Pure."""
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

    engine: over a store whose definition is `DEPLOYMENT`.
    """

    def __init__(self, engine: Engine, *, actor: str | None = None) -> None:
        self._engine = engine
        self._actor = actor

    @property
    def store(self) -> Ledger:
        """Where they are kept."""
        return self._engine.store

    def close(self) -> None:
        """Let go of everything."""
        self._engine.store.close()

    def get(self, id: str) -> Deployment | None:
        """A deployment as it stands; None where there is none."""
        state = self._engine.store.load(check_id(id))
        return None if state is None else Deployment(state)

    def start(self, id: str, plan: DeploymentPlan, *, actor: str | None = None) -> Deployment:
        """Record what is to be done. Nothing is done yet; see `run`. The same id with the same plan gives what there is.

        Raises:
            InvalidArgument: when the plan is empty, or `id` is no id.
            InvalidDocument: when the plan can't be kept, such as when it is too large.
            IdempotencyMismatch: when the id was used for another plan.
        """
        if not plan.steps:
            raise InvalidArgument(f"The plan of {plan.name!r} has no steps.", "Give it something to do.")
        document = check_document(
            plan.as_document(), source="The plan", size_bytes_max=self.store.document_bytes_max
        )
        plan_from(document.value)
        command = Command(
            stream=check_id(id),
            action="plan",
            actor=actor or self._actor,
            document=document,
            idempotency_key=id,
        )
        self._engine.execute(command)
        found = self.get(id)
        assert found is not None
        return found

    def give_up(self, id: str, reason: str, *, actor: str | None = None) -> Deployment:
        """Don't go on: the next `run` takes back what was done, also where all of it was.

        A deployment that goes back already, or has gone back, stays as it is. A step that was begun goes back too: a call that is still on its way for it finds its key closed.

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
                    actor=actor or self._actor,
                    reason=_clipped(reason),
                    expected_version=state.version,
                )
                return Deployment(self._engine.execute(command).state)
            except VersionConflict:
                continue  # somebody runs it: the state that they left decides

    def run(self, id: str, target: Target, *, told: Told | None = None) -> Deployment:
        """Go on from wherever it is, to its end, or to an undo that fails. Gives where it stands then.

        A STUCK one is tried again once. told: called after each event, outside every lock; what it raises ends the run,
        and the next one goes on.

        Raises:
            NotFound: when there is no such deployment.
            LockTimeout, StoreError, CorruptLog: as `registration.engine.engine.Engine.execute`; run again to go on.
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
                        stream=id, action=action, actor=self._actor, expected_version=state.version, **said
                    )
                ).state
            except VersionConflict:
                # Somebody else runs it as well, and was first: on from what they left. No call is lost by that, since
                # what it did stands under its key.
                state = self._load(id)
                continue
            _log.info("%s: %s", id, action)
            if told is not None:
                told(Deployment(state))
        return Deployment(state)

    def _load(self, id: str) -> StateSnapshot:
        state = self._engine.store.load(check_id(id))
        if state is None:
            raise NotFound(f"There is no deployment {id!r}.", "Start it first.", deployment_id=id)
        return state

    def _carried_out(
        self, move: Move, state: StateSnapshot, plan: DeploymentPlan, target: Target
    ) -> tuple[str, dict[str, Any]]:
        """Make the call that a move stands for; the action to record then, and what to say of it."""
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
    """The deployments of the registry at `root`, which must be there. engine: what `Engine` takes, such as a clock.

    Raises:
        NotFound: when there is no registry.
    """
    backend = FileBackend(root, disk=disk, lock_timeout_s=lock_timeout_s)
    store = Ledger(backend, backend.registry.source, DEPLOYMENT, area=AREA)
    return Deployments(Engine(store, lock_timeout_s=lock_timeout_s, **engine), actor=actor)


def _arguments(step: DeploymentStep, ids: list[str]) -> dict[str, Any]:
    """What a step calls the target with: the ids of earlier steps in the place of their numbers."""
    referred = {name: None if number is None else ids[number] for name, number in step.refers.items()}
    return {**step.arguments, **referred}


def _do(
    step: DeploymentStep, context: dict[str, Any], arguments: dict[str, Any], target: Target
) -> tuple[str, dict[str, Any]]:
    key = context["key"]
    try:
        made: str = getattr(target, step.operation)(key, **arguments)
    except Exception as error:  # a target is foreign code over a network: whatever it raises, all goes back
        _log.info("%s: %s failed: %s", key, step.title, error)
        # No is no. Otherwise only the answer may have been lost: what was done is not taken back for that.
        done = None if isinstance(error, Rejected) else _found(target, key)
        if done is None or done.undone or done.id is None:
            return "fail", {"context": context, "reason": _told(error)}
        made = done.id
    return "finish", {"context": {**context, "id": made}}


def _found(target: Target, key: str) -> Done | None:
    """What a call came to whose answer got lost; None where that can't be had: taking it back is right in any case."""
    try:
        return target.find(key)
    except Exception as error:  # as above
        _log.info("%s: it can't be told whether it was done: %s", key, error)
        return None


def _undo(step: DeploymentStep, context: dict[str, Any], target: Target) -> tuple[str, dict[str, Any]]:
    try:
        came_to = getattr(target, UNDO_OF[step.operation])(context["key"])
    except Exception as error:  # as above; recorded, told, and tried again by the next run
        _log.info("%s: taking back failed (%s): %s", context["key"], step.title, error)
        return "fail_undo", {"context": context, "reason": _told(error)}
    return "finish_undo", {"context": {**context, "came_to": came_to}}


def _told(error: Exception) -> str:
    text = str(error) if isinstance(error, RegistrationError) else f"{type(error).__name__}: {error}"
    return _clipped(text)


def _clipped(text: str) -> str:
    return text if len(text) <= REASON_CHARACTERS_MAX else text[:REASON_CHARACTERS_MAX] + "…"
