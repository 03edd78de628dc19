"""Work: the external actions of a wizard after the review, such as a deployment. Recorded step by step.

A worker records each action before and after it, in the session's own log. So after a crash it is
known how far it got, and the keys of the records keep anything from being done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from registration.onboarding.wizards.wizard import Answers


@dataclass(slots=True)
class Work:
    """The work to do. session, step: its origin. attempt: the session's attempt, from 1.

    answers: without skipped steps. document: the resulting manifest. records: by key, in order, the last record.
    """

    session: str
    step: str
    attempt: int
    answers: Answers
    document: Mapping[str, Any]
    records: dict[str, Mapping[str, Any]]
    _write: Callable[[str, Mapping[str, Any]], None]

    def record(self, key: str, **said: Any) -> None:
        """Record something under a key, durably: `records` has the last record of each key.

        Raises:
            VersionConflict, StoreError: as any write to the session.
        """
        self._write(key, said)
        self.records[key] = said


class Worker(Protocol):
    """Does the work of a step."""

    def do(self, work: Work) -> None:
        """Do all of it, continuing from the records; idempotent.

        Raises:
            WorkFailed: when it can't be done, and everything was undone.
            WorkStuck: when it can't be done, and something can't be undone now.
        """

    def undo(self, work: Work) -> None:
        """Undo everything that is recorded as done, continuing where an earlier call stopped.

        Raises:
            WorkStuck: when that can't be done now.
        """
