"""The refusals of sessions: the problem, and the next command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registration.core.decider import nearest
from registration.errors import (
    GuardRefused,
    InvalidAnswer,
    InvalidArgument,
    Next,
    NotFound,
    NotYours,
    RegistrationError,
    Rejected,
    SessionActive,
    SessionEnded,
    SessionExpired,
)
from registration.onboarding.wizards.wizard import EXPIRED, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.onboarding.sessions.session import Caller, Session
    from registration.onboarding.sessions.settings import Active
    from registration.onboarding.wizards.wizard import Wizard


def not_yours(session: Session, by: Caller) -> NotYours:
    """The error for an actor who is not the owner."""
    return NotYours(
        f"{session.id} belongs to {session.user!r} in the scope {session.scope!r}, not to {by.user!r} in {by.scope!r}.",
        "Only its owner may act on it. Start your own.",
        Next(operation="sessions.start", missing=("wizard",)),
        session=session.id,
    )


def wrong_client(session: Session) -> NotYours:
    """The error for another client than the one that the session is bound to."""
    return NotYours(
        f"{session.id} is bound to another client.",
        "Continue from the client that it is bound to.",
        Next(operation="sessions.resume", id=session.id, missing=("client",)),
        session=session.id,
    )


def active_already(other: Session, active: Active) -> SessionActive:
    """The error that another session is active."""
    if active == "user":
        problem = f"{other.user!r} already has an active session in the scope {other.scope!r}: {other.id}, at {other.state}."
    else:
        problem = f"The scope {other.scope!r} already has an active session: {other.id}, of {other.user!r}, at {other.state}."
    return SessionActive(
        problem,
        "Continue it, or end it.",
        Next(operation="sessions.resume", id=other.id),
        Next(operation="sessions.cancel", id=other.id),
        session=other.id,
    )


def no_way(session: Session, what: str) -> Rejected:
    """The error that the wizard has no such transition from the session's step."""
    return Rejected(
        f"{session.id} is at {session.state}, and can't {what} from there.",
        "See the possible steps.",
        Next(operation="sessions.show", id=session.id),
        session=session.id,
        state=session.state,
    )


def no_jump(session: Session, step: str, review: str) -> Rejected:
    """The error that the session can't jump from its step."""
    return Rejected(
        f"{session.id} is at {session.state}, and can't jump to {step} from there.",
        f"If everything is answered, jump to {review} first; otherwise go back and forward step by step.",
        session=session.id,
        state=session.state,
    )


def in_words(refusal: GuardRefused, session: str, at: str | None = None) -> RegistrationError:
    """Translate the refusal of a guard. at: the session's step."""
    wrong = {one["guard"]: one for one in refusal.details["verdicts"] if not one["agrees"]}
    for guard in ("owner", "client"):
        if guard in wrong:
            one = wrong[guard]
            return NotYours(f"{session}: {one['reason']}.", one["remedy"], session=session)
    found: dict[str, list[Problem]] = {}
    for one in wrong.values():
        for problem in one["evidence"].get("problems", ()):
            found.setdefault(problem["step"], []).append(Problem(problem["at"], problem["problem"]))
    if found:
        return invalid(session, found, at)
    first = next(iter(wrong.values()))
    return Rejected(f"{session}: {first['reason']}.", first["remedy"], session=session)


def check_step(wizard: Wizard, name: str) -> None:
    """Raises InvalidArgument unless the wizard has a step of that name; the closest one is suggested."""
    if not wizard.has_step(name):
        known = [step.name for step in wizard.steps]
        raise InvalidArgument(
            f"The wizard {wizard.name!r} has no step {name!r}.{nearest(name, known)}",
            f"Its steps are {', '.join(known)}.",
            step=name,
            steps=known,
        )


def invalid(session: str, found: Mapping[str, list[Problem]], at: str | None = None) -> InvalidAnswer:
    """The error that lists all problems of answers. at: the session's step."""
    listed = [f"{step}{one.at}: {one.problem}" for step, problems in found.items() for one in problems]
    return InvalidAnswer(
        f"Invalid answer for {session}: {'; '.join(listed)}.",
        "Correct it and answer again." if at is None or at in found else "Go back there and answer again.",
        session=session,
        problems=listed,
        found=[
            {"step": step, "at": one.at, "problem": one.problem}
            for step, problems in found.items()
            for one in problems
        ],
    )


def ended(session: Session) -> SessionEnded:
    """The error that a session has ended, with the remedy."""
    kind = SessionExpired if session.state == EXPIRED else SessionEnded
    stopped = session.stopped or {}
    if session.state == EXPIRED:
        how = f"has expired: it was idle at {stopped.get('at')} until {session.expires_at or session.updated_at}"
    else:
        how = f"has ended: it is {session.state}" + (
            f" ({stopped['reason']})" if stopped.get("reason") else ""
        )
    next_step, step = "Start another one.", Next(operation="sessions.start", missing=("wizard",))
    if session.can_restart:
        next_step, step = (
            "Restart it, with its answers.",
            Next(operation="sessions.restart", id=session.id),
        )
    facts = {"session": session.id, "state": session.state, "stopped": dict(stopped)}
    return kind(f"{session.id} {how}.", next_step, step, **facts)


def elsewhere(session: Session, step: str) -> InvalidAnswer:
    """The error that the answer is for another step than the session's."""
    return InvalidAnswer(
        f"{session.id} is at {session.state}, but the answer is for {step}.",
        "It was continued elsewhere. See its current step.",
        Next(operation="sessions.show", id=session.id),
        session=session.id,
        problems=[f"{step}: the session is at {session.state}"],
    )


def not_found(id: str) -> NotFound:
    """The error that there is no such session."""
    return NotFound(
        f"There is no session {id!r}.",
        "See the list of existing ones.",
        Next(operation="sessions.list"),
        session=id,
    )
