"""What goes into a call of the pipeline besides the manifest, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from registration.engine.publisher import StateChange
from registration.errors import RegistrationError

if TYPE_CHECKING:
    from registration.catalog.filters import SortKey


class Words(TypedDict, total=False):
    """What may accompany any command; `RegistrationPipeline.transition_state` says what each is."""

    actor: str | None
    comment: str | None
    context: Mapping[str, Any] | None
    expected_version: int | None
    idempotency_key: str | None
    correlation_id: str | None


class WordsWithReason(Words, total=False):
    """The same, and why; what was looked at: its document's digest, and the hash that its log ended in; under which lease."""

    reason: str | None
    expected_digest: str | None
    expected_head: str | None
    fence: int | None


@dataclass(frozen=True, slots=True)
class TransitionResult(StateChange):
    """What a command came to: the event that was recorded, and the state after it.

    attempts: how many decisions it took, from 1; more than one where somebody else was writing. replayed: the first
    answer to an earlier call with the same idempotency key, given again; nothing was written. waited_s: how long it waited for
    others who were writing to the manifest, in all.
    """

    attempts: int
    replayed: bool
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of a list. problem: why the manifest can't be read, where it can't; the rest is then empty."""

    manifest_id: str
    state: str = ""
    version: int = 0
    digest: str | None = None
    created_at: str = ""
    updated_at: str = ""
    problem: RegistrationError | None = None


class Listing(Iterator[Summary]):
    """Manifests in a list, one after the other. Not to be shared between threads.

    Once it was gone through, `next_page` says where the next page begins; None where that was all.
    """

    def __init__(
        self,
        found: Iterator[tuple[SortKey | None, Summary]],
        limit: int | None,
        cursor_of: Callable[[SortKey], str],
    ) -> None:
        self._found = found
        self._left = limit
        self._cursor_of = cursor_of
        self._last: SortKey | None = None
        self.next_page: str | None = None

    def __next__(self) -> Summary:
        """The next manifest; those that can't be read don't count for the limit."""
        key, summary = next(self._found)
        if self._left == 0 and self._last is not None:
            self.next_page = self._cursor_of(self._last)
            self._found = iter(())
            raise StopIteration
        if key is not None:
            self._last = key
            self._left = None if self._left is None else self._left - 1
        return summary
