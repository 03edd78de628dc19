"""Work: what a wizard does outside of its session, after the review; a deployment, say. Recorded step by step.

A worker records what it is about to do, and that it is done, in the session's own log. So whoever goes on after a crash
knows how far it came, and the keys it records things under keep anything from being done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from registration.onboarding.wizards.wizard import Answers


@dataclass(slots=True)
class Work:
    """What is to be done. session, step: where. attempt: which run through the session's steps it is, from 1.

    answers: those that count. document: what they come to. records: by key, in order, what was last recorded.
    """

    session: str
    step: str
    attempt: int
    answers: Answers
    document: Mapping[str, Any]
    records: dict[str, Mapping[str, Any]]
    _write: Callable[[str, Mapping[str, Any]], None]

    def record(self, key: str, **said: Any) -> None:
        """Record something under a key, on the disk: the last that was recorded under it is what `records` has.

        Raises:
            VersionConflict, StoreError: as any write to the session.
        """
        self._write(key, said)
        self.records[key] = said


class Worker(Protocol):
    """Who does the work of a step."""

    def do(self, work: Work) -> None:
        """Do all of it, going on from what is recorded; done twice, it is done once.

        Raises:
            WorkFailed: when it can't be done, and everything was undone.
            WorkStuck: when it can't be done, and something can't be undone now.
        """

    def undo(self, work: Work) -> None:
        """Undo all that is recorded as done, going on from where that was left.

        Raises:
            WorkStuck: when that can't be done now.
        """
