"""`Sessions`: guided sessions of a registry. Started, answered step by step, left, resumed, and completed with a manifest.

The façade. A session is a stream on the same engine as manifests, so history, recovery and conflict detection come for
free; the lifecycle of its wizard (`registration.onboarding.wizards.statechart`) decides what is allowed, on the state
in its log, even if two processes act at once.

Further guarantees:

- Only the owner acts on a session; if it is bound to a client, only from there.
- An owner has at most one active session (or a scope has, by the settings), even if several are started at once.
- A session that was idle for too long is EXPIRED, whether that was recorded or not. Every act of its owner renews
  its time. It can be restarted, with its answers.
- Answers are on the disk when a call returns.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from registration.engine.engine import Random, TransitionResult
from registration.engine.origin import came_in
from registration.errors import (
    AlreadyExists,
    GuardRefused,
    IllegalTransition,
    InvalidArgument,
    Next,
    NotFound,
    NotYours,
    RegistrationError,
    Rejected,
    StoreError,
    WorkFailed,
)
from registration.onboarding.sessions.active import owners_of
from registration.onboarding.sessions.backing import LedgerBacking
from registration.onboarding.sessions.clients import client_hash
from registration.onboarding.sessions.finishing import Manifests, check_free, finish
from registration.onboarding.sessions.reader import Run, SessionReader
from registration.onboarding.sessions.refusals import (
    active_already,
    check_step,
    elsewhere,
    ended,
    in_words,
    invalid,
    no_jump,
    no_way,
    not_yours,
    wrong_client,
)
from registration.onboarding.sessions.session import (
    Caller,
    Session,
    check_session_id,
    is_owner,
    new_session_id,
    session_of,
)
from registration.onboarding.sessions.upkeep import Cleanup, cleaned_up
from registration.onboarding.sessions.work import Work, Worker
from registration.onboarding.wizards.forms import as_json
from registration.onboarding.wizards.statechart import action_to
from registration.onboarding.wizards.wizard import EXPIRED, Answer, Answers, Wizard
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.commands import Command, check_actor
from registration.values.times import Clock, system_clock

_log = logging.getLogger("registration.sessions")


class Sessions(SessionReader):
    """The sessions of one registry. Safe to share between threads, and between processes through its files.

    where: the registry's directory, which must exist, or a `LedgerBacking` such as `MemoryBacking`. registry: where sessions end
    in manifests; None: they end in their answers. wizards: the program's own, besides the included ones. workers: by
    name of a step, the function for its work. clock, random: the sources of time and ids.

    What every call about one session can raise: `InvalidArgument` for an id that is none, `NotFound`, `CorruptLog`, `StoreError`.

    Raises:
        NotFound: when there is no registry.
        InvalidArgument: when its session settings are invalid.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | LedgerBacking,
        *,
        registry: Manifests | None = None,
        wizards: Iterable[Wizard] = (),
        workers: Mapping[str, Worker] | None = None,
        clock: Clock = system_clock,
        random: Random | None = None,
        lock_timeout_s: float = 10.0,
    ) -> None:
        super().__init__(where, wizards=wizards, clock=clock, random=random, lock_timeout_s=lock_timeout_s)
        self._registry = registry
        self._workers = dict(workers or {})

    # -- beginning and going on ------------------------------------------------------------------------------

    def start(
        self,
        wizard: str | Wizard,
        by: Caller,
        *,
        session: str | None = None,
        community: str | None = None,
        answers: Answers | None = None,
    ) -> Session:
        """Start a session. The same id again, with the same request, returns the same session.

        session: its id; None: a new one. community: its subject. answers: by step, suggested answers; each is validated
        when its step is answered.

        Raises:
            SessionActive: when there is an active one; `details["session"]` is its id.
            Rejected: when a library that the wizard needs is not installed; also from `resume` and `process`.
            AlreadyExists: when the id belongs to another session.
            NotFound: when there is no such wizard.
            LockTimeout: when waiting for another start timed out.
        """
        self._check_user(by)
        run = self._run(wizard if isinstance(wizard, Wizard) else self.wizard(wizard))
        run.wizard.require_installed()
        id = self._new_id() if session is None else check_session_id(session)
        begun = self.backing.begun_with(id)
        if begun is not None:
            return self._begun_again(run, id, by, begun, community, answers)
        with self.backing.active.held(*owners_of(self.backing.settings.active, by.scope, by.user)) as active:
            self._refuse_second(active.session, id)
            active.replace(id)
            if run.wizard.data is not None:
                run.store.keep("wizards", run.wizard.identity["digest"], run.wizard.data)
            return self._begin(run, id, by, community, answers)

    def resume(self, id: str, by: Caller) -> Session:
        """Continue one's own session; its time is renewed.

        Raises:
            NotYours: when it belongs to another user, or is bound to another client.
            SessionExpired, SessionEnded: when it has ended.
        """
        run, session = self._opened(id, by)
        run.wizard.require_installed()
        if run.wizard.step(session.state).kind == "work":
            return session
        return self._act(run, session, "extend", by)

    def resume_active(self, by: Caller) -> Session:
        """Continue the active session of an owner.

        Raises:
            NotFound: when there is none.
            NotYours: as `resume`.
        """
        found = self.get_active(by.scope, by.user)
        if found is None:
            raise NotFound(
                f"{by.user!r} has no active session in the scope {by.scope!r}.",
                "Start one.",
                Next(operation="sessions.start", missing=("wizard",)),
            )
        return self.resume(found.id, by)

    def process(
        self,
        id: str,
        answer: Answer,
        by: Caller,
        *,
        step: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        """Answer the current step of a session, and continue to the next one. The review, and work, are answered by ``{}``.

        step: the step of the answer; refused if the session is at another one. At the end, the answers become a
        manifest. At work, the work is done.

        Raises:
            InvalidAnswer: when the answer is invalid, or an earlier one has become so; all problems are listed.
            NotYours, SessionExpired, SessionEnded: as `resume`.
            VersionConflict: when it is not at the expected version.
            WorkFailed: when the work failed and was undone, or the registry refused the manifest after it; the session is FAILED.
            WorkStuck: when the work failed and can't be undone now; the session keeps its state.
            AlreadyExists, Rejected: when the registry refuses the manifest; the session keeps its state.
        """
        run, session = self._opened(id, by)
        run.wizard.require_installed()
        at, wizard = session.state, run.wizard
        if step is not None and step != at:
            raise elsewhere(session, step)
        if wizard.step(at).kind == "work":
            session = self._work(run, session, by)
        kept, problems = wizard.check(at, answer, session.answers)
        found = {at: problems} if problems else {}
        if not found and wizard.step(at).kind != "form":
            found = wizard.problems(session.answers)
        if found:
            raise invalid(id, found, at)
        context: dict[str, Any] = {"answers": {at: kept}} if wizard.step(at).kind == "form" else {}
        onward = wizard.onward(at, {**session.answers, **context.get("answers", {})})
        if onward is None:
            context |= self._manifest(run, session, by)
        elif wizard.step(at).kind == "review" and self._registry is not None and wizard.result is not None:
            check_free(self._registry, id, wizard.document(session.answers))  # before any work is done
        return self._act(
            run,
            session,
            action_to(wizard, at, "process", onward),
            by,
            context=context,
            expected_version=expected_version,
            idempotency_key=idempotency_key,
        )

    def back(self, id: str, by: Caller) -> Session:
        """Go back to the previous step; answers are kept.

        Raises:
            Rejected: when there is none.
            NotYours, SessionExpired, SessionEnded: as `resume`.
        """
        run, session = self._opened(id, by)
        target = run.wizard.backward(session.state, session.answers)
        if target is None:
            raise no_way(session, "go back")
        return self._act(run, session, action_to(run.wizard, session.state, "back", target), by)

    def goto(self, id: str, step: str, by: Caller) -> Session:
        """Jump from the review to any step; or from any step to the review, once everything is answered.

        Raises:
            InvalidArgument: when there is no such step.
            InvalidAnswer: when an answer is missing for the review, or has become invalid.
            Rejected: when there is no transition to it.
            NotYours, SessionExpired, SessionEnded: as `resume`.
        """
        run, session = self._opened(id, by)
        run.wizard.require_installed()
        wizard = run.wizard
        check_step(wizard, step)
        review = wizard.review.name
        asks = wizard.step(session.state).kind != "work" and step != session.state
        if not asks or review not in (step, session.state):
            raise no_jump(session, step, review)
        return self._act(run, session, f"goto_{step}", by)

    def update(self, id: str, step: str, answer: Answer, by: Caller) -> Session:
        """Correct the answer of any step, without moving the session.

        Raises:
            InvalidAnswer: when the answer is invalid.
            InvalidArgument, NotYours, SessionExpired, SessionEnded: as `goto`.
        """
        run, session = self._opened(id, by)
        run.wizard.require_installed()
        check_step(run.wizard, step)
        kept, problems = run.wizard.check(step, answer, session.answers)
        if problems:
            raise invalid(id, {step: problems}, session.state)
        return self._act(run, session, "update", by, context={"answers": {step: kept}})

    def draft(self, id: str, answer: Answer, by: Caller) -> Session:
        """Store an incomplete answer of a step. It is not validated, except for secrets.

        Raises:
            InvalidAnswer: when it is not a JSON object of at most 64 KiB, or may contain a secret.
            NotYours, SessionExpired, SessionEnded: as `resume`.
        """
        run, session = self._opened(id, by)
        kept, problems = as_json(answer)
        if problems:
            raise invalid(id, {session.state: problems}, session.state)
        return self._act(run, session, "draft", by, context={"draft": {session.state: kept}})

    def extend(self, id: str, by: Caller) -> Session:
        """Renew a session's time. Raises: as `resume`."""
        return self.resume(id, by)

    def bind(self, id: str, by: Caller) -> Session:
        """Bind a session to the caller's client, permanently.

        Raises:
            InvalidArgument: when the caller has no client.
            Rejected: when it is bound already.
            NotYours, SessionExpired, SessionEnded: as `resume`.
        """
        run, session = self._opened(id, by)
        if not by.client:
            raise InvalidArgument("No client was given to bind the session to.", "Give `Caller(client=…)`.")
        return self._act(run, session, "bind", by)

    # -- ending ----------------------------------------------------------------------------------------------

    def cancel(self, id: str, by: Caller) -> Session:
        """End a session permanently. Raises: as `resume`; and Rejected while work is being done."""
        run, session = self._opened(id, by)
        return self._act(run, session, "cancel", by)

    def fail(self, id: str, reason: str, by: Caller) -> Session:
        """Mark a session as failed, with a reason; it can be restarted. Completed work is undone first.

        Raises:
            InvalidArgument: when no reason is given.
            WorkStuck: when work can't be undone now; the session keeps its state.
            NotYours, SessionExpired, SessionEnded: as `resume`.
        """
        run, session = self._opened(id, by)
        if not reason.strip():
            raise InvalidArgument("Failing a session requires a reason.", "Give the reason.")
        if run.wizard.step(session.state).kind == "work":
            self._worker(session).undo(self._order(run, session, by))
            session = self._look(run, id)
        return self._act(run, session, "fail", by, reason=reason)

    def restart(self, id: str, by: Caller, *, keep_answers: bool = True) -> Session:
        """Restart a failed or expired session, at its first step.

        keep_answers: whether the answers become suggestions.

        Raises:
            SessionActive: when another one has become active.
            SessionEnded: when it is complete or cancelled. Rejected: when it is active.
            NotYours: as `resume`.
        """
        run, session = self._opened(id, by, over=True)
        run.wizard.require_installed()
        if session.is_active:
            raise Rejected(
                f"{id} is active: it is at {session.state}.",
                "Resume it.",
                Next(operation="sessions.resume", id=id),
            )
        if not session.can_restart:
            raise ended(session)
        with self.backing.active.held(*owners_of(self.backing.settings.active, by.scope, by.user)) as active:
            self._refuse_second(active.session, id)
            active.replace(id)
            context = {} if keep_answers else {"forget": True}
            return self._act(run, session, "restart", by, context=context)

    def delete(self, id: str, by: Caller | None = None) -> bool:
        """Delete a session, including its history; False if there is none. Its manifest stays.

        by: only the owner may; None: the operator of the registry, who may also delete an unreadable one.

        Raises:
            NotYours: as `resume`.
        """
        try:
            run = self.run_of(check_session_id(id))
        except StoreError:
            if by is not None:
                raise
            return self.backing.store(REGISTRATION).delete(id)
        if run is None:
            return False
        if by is not None:
            self._check_owner(self._look(run, id), by)
        return run.store.delete(id)

    def delete_scope(self, scope: str) -> int:
        """Delete all sessions of a scope, as its operator. Returns their number."""
        return sum(self.delete(session.id) for session in self.query(scope=scope))

    # -- upkeep ----------------------------------------------------------------------------------------------

    def cleanup_expired(self, *, delete_after_s: float | None = None) -> Cleanup:
        """Record all expiries, and delete sessions that ended that long ago; see `registration.onboarding.sessions.upkeep`."""
        problems: list[RegistrationError] = []
        return cleaned_up(
            self.query(problems=problems),
            problems,
            expire=self.expire,
            delete=self.delete,
            is_due=lambda session: delete_after_s is not None and self.is_older(session, delete_after_s),
        )

    # -- inside ----------------------------------------------------------------------------------------------

    def _new_id(self) -> str:
        randomness = self._random.randbytes(10) if self._random else os.urandom(10)
        return new_session_id(self._clock(), randomness)

    def _opened(self, id: str, by: Caller, *, over: bool = False) -> tuple[Run, Session]:
        """A session of the caller, to act on. over: even if it has ended. Due time-outs are recorded."""
        run = self._known(id)
        session = self._look(run, id)
        self._check_owner(session, by)
        if session.state == EXPIRED and self._tick(run, id):
            session = self._look(run, id)
        if not session.is_active and not over:
            raise ended(session)
        if session.is_active and not run.wizard.has_step(session.state):
            raise Rejected(
                f"{id} is at {session.state}, which its wizard {run.wizard.name!r} no longer has.",
                "Delete it, and start another.",
            )
        return run, session

    def _check_owner(self, session: Session, by: Caller) -> None:
        """Checked before anything about the session is revealed. The guards of its lifecycle decide finally, on its latest state."""
        self._check_user(by)
        if not is_owner(session, by):
            _log.warning("%s: refused to %r in scope %r: not the owner", session.id, by.user, by.scope)
            raise not_yours(session, by)
        if session.bound and session.client != self._client(session.id, by):
            _log.warning("%s: refused to %r: it is bound to another client", session.id, by.user)
            raise wrong_client(session)

    def _check_user(self, by: Caller) -> None:
        """A name that an actor may have; and if manifests are created, one that the registry takes: it may bind actors to logins."""
        user = check_actor(by.user, "user")
        if self._registry is not None:
            self._registry.check_actor(user)

    def _client(self, id: str, by: Caller) -> str | None:
        return None if by.client is None else client_hash(self.backing.client_key(), id, by.client)

    def _refuse_second(self, holder: str | None, id: str) -> None:
        """Under the lock of the record: no other session is started, and expiry is recorded, so that it is final."""
        if holder is None or holder == id:
            return
        self.expire(holder)
        other = self._active(holder)
        if other is not None:
            raise active_already(other, self.backing.settings.active)

    def _begin(
        self, run: Run, id: str, by: Caller, community: str | None, answers: Answers | None
    ) -> Session:
        context: dict[str, Any] = {
            "wizard": dict(run.wizard.identity),
            "owner": {"scope": by.scope, "user": by.user},
        }
        if community is not None:
            context["community"] = community
        if answers:
            for name in answers:
                check_step(run.wizard, name)
            context["answers"] = {name: _proposed(name, answer) for name, answer in answers.items()}
        command = self._command(id, "start", by, context, idempotency_key=id)
        try:
            return self._session(run, run.engine.execute(command))
        except GuardRefused as refusal:
            raise in_words(refusal, id) from None

    def _begun_again(
        self,
        run: Run,
        id: str,
        by: Caller,
        begun: Mapping[str, Any],
        community: str | None,
        answers: Answers | None,
    ) -> Session:
        session = self.get(id)
        if begun != run.wizard.identity or not is_owner(session, by):
            raise AlreadyExists(f"{id} already exists, for another wizard or owner.", "Choose another id.")
        first = replace(by, user=session.user)  # another spelling is the same request
        with suppress(AlreadyExists):  # its idempotency key has been dropped: it is the same session anyway
            self._begin(run, id, first, community, answers)
        return self.get(id)

    def _act(
        self,
        run: Run,
        session: Session,
        action: str,
        by: Caller,
        *,
        context: Mapping[str, Any] | None = None,
        reason: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Session:
        command = self._command(
            session.id,
            action,
            by,
            context,
            reason=reason,
            expected_version=expected_version,
            idempotency_key=idempotency_key,
        )
        try:
            return self._session(run, run.engine.execute(command))
        except GuardRefused as refusal:
            refused = in_words(refusal, session.id, session.state)
            if isinstance(refused, NotYours):
                _log.warning("%s: refused to %r: %s", session.id, by.user, refused.problem)
            raise refused from None
        except IllegalTransition:
            now = self._look(run, session.id)
            if not now.is_active and session.is_active:
                raise ended(now) from None  # it ended in the meantime
            raise no_way(now, action.partition("_")[0]) from None

    def _command(
        self, id: str, action: str, by: Caller, context: Mapping[str, Any] | None, **more: Any
    ) -> Command:
        said = dict(context or {})
        if (client := self._client(id, by)) is not None:
            said["client"] = client
        return Command(
            stream=id, action=action, actor=by.user, context=said, correlation_id=id, via=came_in(), **more
        )

    def _session(self, run: Run, result: TransitionResult) -> Session:
        return session_of(run.wizard, result.state, self._now())

    def _manifest(self, run: Run, session: Session, by: Caller) -> dict[str, Any]:
        """Create the manifest of a session. If the registry refuses it after work was done, that is undone, and the session fails."""
        if self._registry is None or run.wizard.result is None:
            return {}
        document = run.wizard.document(session.answers)
        try:
            return {"manifest": finish(self._registry, session.id, by.user, document)}
        except (AlreadyExists, Rejected) as refusal:
            if run.wizard.step(session.state).kind != "work":
                raise
            self._worker(session).undo(self._order(run, session, by))
            failure = WorkFailed(refusal.problem, **refusal.details)
            raise self._failed(run, session, by, failure) from None

    def _worker(self, session: Session) -> Worker:
        if session.state not in self._workers:
            raise Rejected(
                f"{session.id} is at {session.state}, and this program has no worker for it.",
                "Continue it with the program that has one: `Sessions(…, workers=…)`.",
                session=session.id,
            )
        return self._workers[session.state]

    def _order(self, run: Run, session: Session, by: Caller) -> Work:
        def write(key: str, said: Mapping[str, Any]) -> None:
            self._act(run, session, "record", by, context={"work": {"key": key, **said}})

        run.wizard.require_installed()
        answers = run.wizard.counted(session.answers)
        document = run.wizard.document(session.answers)
        return Work(session.id, session.state, session.attempt, answers, document, dict(session.work), write)

    def _work(self, run: Run, session: Session, by: Caller) -> Session:
        """Do the work of the current step of a session. If it fails, the session fails."""
        try:
            self._worker(session).do(self._order(run, session, by))
        except WorkFailed as failure:
            raise self._failed(run, session, by, failure) from None
        return self._look(run, session.id)

    def _failed(self, run: Run, session: Session, by: Caller, failure: WorkFailed) -> WorkFailed:
        """Fail a session for the reason of its work; returns the error, with the next step."""
        self._act(run, session, "fail", by, reason=failure.problem)
        failure.next_step = "Restart it, with its answers."
        failure.next = (Next(operation="sessions.restart", id=session.id),)
        return failure


def _proposed(step: str, answer: Answer) -> dict[str, Any]:
    kept, problems = as_json(answer)
    if problems:
        raise InvalidArgument(f"The draft for {step} can't be stored: {problems[0]}.", "Pass a JSON object.")
    return kept
