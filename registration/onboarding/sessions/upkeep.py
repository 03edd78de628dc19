"""Maintenance of sessions: statistics, expiry, deletion and verification.

Each reads every session once. An unreadable session is reported, and does not stop the others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.errors import RegistrationError
from registration.onboarding.wizards.wizard import COMPLETE, ENDED, EXPIRED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from registration.onboarding.sessions.session import Session


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


def stats_of(sessions: Iterable[Session], problems: Sequence[RegistrationError]) -> Stats:
    """The counts of sessions. problems: after iterating, the errors of unreadable ones."""
    states: Counter[str] = Counter()
    wizards: Counter[str] = Counter()
    oldest: str | None = None
    for session in sessions:
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


def cleaned_up(
    sessions: Iterable[Session],
    problems: list[RegistrationError],
    *,
    expire: Callable[[str], bool],
    delete: Callable[[str], bool],
    is_due: Callable[[Session], bool],
) -> Cleanup:
    """Record the expiry of every expired session, and delete ended ones when due.

    Optional: a session expires by itself, whether that is recorded or not.
    """
    expired, deleted, looked_at = [], [], 0
    for session in sessions:
        looked_at += 1
        try:
            if session.state == EXPIRED and expire(session.id):
                expired.append(session.id)
            elif not session.is_active and is_due(session) and delete(session.id):
                deleted.append(session.id)
        except RegistrationError as problem:  # reported, and the others are checked
            problems.append(problem)
    return Cleanup(looked_at, tuple(expired), tuple(deleted), tuple(problems))
