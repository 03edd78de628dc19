"""The logs of sessions for the feed: each is read with the wizard of its session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registration.errors import InvalidArgument, NotFound
from registration.onboarding.sessions.backing import LedgerBacking
from registration.onboarding.sessions.reader import SessionReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.storage.ledger import Ledger
    from registration.values.events import Event, StateSnapshot


class SessionLogs:
    """See `registration.storage.feed.AreaLogs`. Sessions of unknown wizards, of other programs, are passed over.

    store: the registry's.
    """

    def __init__(self, store: Ledger) -> None:
        self._reader = SessionReader(LedgerBacking(store))

    def load(self, stream: str, *, waiting: bool = False) -> StateSnapshot | None:
        """See `AreaLogs.load`."""
        store = self._store(stream)
        return None if store is None else store.load(stream, waiting=waiting)

    def read(self, stream: str) -> Iterator[Event]:
        """See `AreaLogs.read`."""
        store = self._store(stream)
        return iter(()) if store is None else store.read(stream)

    def _store(self, stream: str) -> Ledger | None:
        try:
            return self._reader.store_of(stream)
        except (InvalidArgument, NotFound):
            return None
