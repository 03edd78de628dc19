"""Where named consumers of the feed are kept."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConsumerKeeper(Protocol):
    """Where named consumers of the feed are kept: one small piece of bytes for each, and a lock. Safe between threads.

    folder: the directory whose files change whenever something is announced; None where there is none.
    """

    @property
    def folder(self) -> str | None:
        """See above."""

    def names(self) -> list[str]:
        """The names that something is kept under, sorted."""

    def read(self, name: str) -> bytes | None:
        """What is kept under a name; None where nothing is."""

    def write(self, name: str, data: bytes) -> None:
        """Keep it in the place of what is kept: after a kill or a power cut, it is the old or the new one, whole."""

    def remove(self, name: str) -> None:
        """Keep nothing any more under that name; harmless where nothing is. The caller holds it."""

    def held(self, name: str, by: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Keep everybody else from working under that name for as long as the block lasts.

        by: who does, for the others to be told.

        Raises:
            ConsumerBusy: when somebody else is at it, at once.
            StoreError: when the disk refuses.
        """

    def holder(self, name: str) -> Mapping[str, Any] | None:
        """Who is working under that name at this moment; None where nobody is."""
