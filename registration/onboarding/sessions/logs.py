"""The logs of sessions as the feed reads them: each with the wizard that its session was begun with."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from registration.errors import InvalidArgument, NotFound
from registration.onboarding.sessions.backing import FileBacking
from registration.onboarding.sessions.reader import SessionReader
from registration.rules.lifecycles.registration import REGISTRATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.core.store import Files
    from registration.storage.files.files import FileStore
    from registration.values.events import Event
    from registration.values.snapshots import StateSnapshot


class SessionLogs:
    """See `registration.storage.files.feed.reading.Logs`. Sessions of wizards that are not here, of other programs, are passed over.

    store: the registry's.
    """

    def __init__(self, store: FileStore) -> None:
        self.source = store.source
        backing = FileBacking(store.root, disk=store.disk)
        self._reader = SessionReader(backing)
        self._bytes = backing.store(REGISTRATION)  # what stands there as it stands, whatever it is of

    def load(self, stream: str, *, waiting: bool = False) -> StateSnapshot | None:
        """See `Logs.load`."""
        store = self._store(stream)
        return None if store is None else store.load(stream, waiting=waiting)

    def read(self, stream: str) -> Iterator[Event]:
        """See `Logs.read`."""
        store = self._store(stream)
        return iter(()) if store is None else store.read(stream)

    def inspect(self, stream: str) -> Files:
        """See `Logs.inspect`."""
        return self._bytes.inspect(stream)

    def log_bytes(self, stream: str, start: int, end: int) -> bytes:
        """See `Logs.log_bytes`."""
        return self._bytes.log_bytes(stream, start, end)

    def log_sizes(self) -> Iterator[tuple[str, int]]:
        """See `Logs.log_sizes`."""
        return self._bytes.log_sizes()

    def _store(self, stream: str) -> FileStore | None:
        try:
            return cast("FileStore", self._reader.store_of(stream))  # as the backing says
        except (InvalidArgument, NotFound):
            return None
