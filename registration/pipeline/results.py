"""The results of a list: `Listing` and its lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.errors import RegistrationError

if TYPE_CHECKING:
    from registration.catalog.filters import SortKey


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of a list. problem: the error if the manifest is unreadable; the rest is then empty."""

    manifest_id: str
    state: str = ""
    version: int = 0
    digest: str | None = None
    created_at: str = ""
    updated_at: str = ""
    problem: RegistrationError | None = None


class Listing(Iterator[Summary]):
    """Manifests in a list, one after the other. Not to be shared between threads.

    After the iteration, `next_page` is the cursor of the next page; None if there are no more.
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
        """The next manifest; unreadable ones don't count for the limit."""
        key, summary = next(self._found)
        if self._left == 0 and self._last is not None:
            self.next_page = self._cursor_of(self._last)
            self._found = iter(())
            raise StopIteration
        if key is not None:
            self._last = key
            self._left = None if self._left is None else self._left - 1
        return summary
