"""Maintenance of sessions: statistics, expiry, deletion and verification.

Each reads every session once. An unreadable session is reported, and does not stop the others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.errors import RegistrationError
from registration.evidence.verification import AreaVerification, verify_area
from registration.onboarding.wizards.wizard import COMPLETE, ENDED, EXPIRED
from registration.storage import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.onboarding.sessions.reader import SessionReader
    from registration.onboarding.sessions.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts. by_state, by_wizard: most first. completed_percent: the share of ended sessions that are complete.

    oldest_active: the last activity of the longest idle session; RFC 3339. unreadable: the number of unreadable sessions.
    """

    total: int
    active: int
    by_state: Mapping[str, int]
    by_wizard: Mapping[str, int]
    completed_percent: int | None
    oldest_active: str | None
    unreadable: int


@dataclass(frozen=True, slots=True)
class Cleanup:
    """The result of a cleanup. expired: the ids of sessions whose expiry was recorded. deleted: of those that were deleted."""

    looked_at: int
    expired: tuple[str, ...]
    deleted: tuple[str, ...]
    problems: tuple[RegistrationError, ...]


def stats_of(sessions: SessionReader, scope: str | None = None) -> Stats:
    """The counts of all sessions, or of those of a scope."""
    states: Counter[str] = Counter()
    wizards: Counter[str] = Counter()
    problems: list[RegistrationError] = []
    oldest: str | None = None
    for session in sessions.query(scope=scope, problems=problems):
        states[session.state] += 1
        wizards[session.wizard.name] += 1
        if session.is_active:
            oldest = min(session.updated_at, oldest or session.updated_at)
    ended = sum(states[state] for state in ENDED)
    return Stats(
        total=states.total(),
        active=states.total() - ended,
        by_state=dict(states.most_common()),
        by_wizard=dict(wizards.most_common()),
        completed_percent=100 * states[COMPLETE] // ended if ended else None,
        oldest_active=oldest,
        unreadable=len(problems),
    )


def cleanup_expired(sessions: Sessions, *, delete_after_s: float | None = None) -> Cleanup:
    """Record the expiry of every expired session, and delete sessions that ended more than that many seconds ago.

    Optional: a session expires by itself, whether that is recorded or not.
    """
    problems: list[RegistrationError] = []
    expired, deleted, looked_at = [], [], 0
    for session in sessions.query(problems=problems):
        looked_at += 1
        try:
            if session.state == EXPIRED and sessions.expire(session.id):
                expired.append(session.id)
            elif (
                delete_after_s is not None
                and not session.is_active
                and sessions.is_older(session, delete_after_s)
                and sessions.delete(session.id)
            ):
                deleted.append(session.id)
        except RegistrationError as problem:  # reported, and the others are checked
            problems.append(problem)
    return Cleanup(looked_at, tuple(expired), tuple(deleted), tuple(problems))


def health_of(sessions: SessionReader) -> AreaVerification:
    """Check every byte of every session: chains, snapshots, states."""
    return verify_area(layout.SESSIONS, sessions.backing.ids(), sessions.store_of)
