"""Comparing the files of a registry with each other, for verification; see `registration.evidence.witnesses`. Changes nothing."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from registration.engine.leases.leases import Leases
from registration.errors import LockTimeout, NotFound, StoreError
from registration.evidence.witnesses import Witnesses
from registration.storage import layout
from registration.storage.notes import Noted, decode_commit
from registration.storage.pieces import EventsInPieces
from registration.values.ids import own_name
from registration.values.names import split_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.engine.registry import OpenRegistry
    from registration.storage.ledger import Ledger
    from registration.values.events import Event


@contextmanager
def witnesses_of(registry: OpenRegistry, manifest_id: str | None = None) -> Iterator[Witnesses]:
    """The witnesses in a registry, during the block. manifest_id: only those of this manifest.

    Raises:
        StoreError: when the feed can't be read, or there is no space for temporary files.
    """
    store = registry.store
    leases = Leases(store.records)

    def holds(stream: str, name: str) -> bool:
        held: object = None
        with suppress(StoreError, LockTimeout):
            for event in _events(store, stream):
                held = event.data.get("claimed", None if "released" in event.data else held)
        return held == name

    def grown(area: str, stream: str, size_bytes: int) -> bool:
        mending = store.backend.mending
        if mending is None:
            return False
        try:
            with mending.held(area, stream, writing=False) as held:
                return held.found()[1].size_bytes > size_bytes
        except (FileNotFoundError, LockTimeout, StoreError):
            return True  # nothing is known of it

    def set_aside(area: str, stream: str) -> list[str]:
        mending = store.backend.mending
        with suppress(StoreError):
            return [] if mending is None else mending.set_aside(area, stream)
        return []

    def fence(stream: str) -> int | None:
        with suppress(StoreError, LockTimeout):  # reported with the leases
            return leases.number(layout.lease_key(stream))
        return None

    with Witnesses(holds=holds, grown=grown, set_aside=set_aside, fence=fence) as found:
        found.add_notes(
            note
            for note in _noted(store, manifest_id)
            if manifest_id is None
            or (note.commit.stream == manifest_id and note.commit.area == layout.MANIFESTS)
        )
        aliases = registry.names.logs.store
        for name in aliases.streams() if manifest_id is None else _names_of(store, manifest_id):
            found.add_targets(name, _events(aliases, name))
        yield found


def _noted(store: Ledger, stream: str | None) -> Iterator[Noted]:
    """The commits as recorded in the order of the registry. stream: those of others may be left out."""
    backend = store.backend
    if backend.mending is not None:
        yield from backend.mending.noted(stream)
        return
    for entry in backend.order.entries(None, data=False):
        commit = decode_commit(entry.line)
        if commit is not None:
            yield Noted(commit)


def _names_of(store: Ledger, manifest_id: str) -> list[str]:
    """The names that a manifest has, or had, without their versions: their aliases may name it, even if its log says no longer why."""
    names = set()
    for event in _events(store, manifest_id):
        document = event.data.get("document")
        own = own_name(document) if isinstance(document, dict) else None
        names |= {name for name in (own, event.data.get("claimed")) if isinstance(name, str)}
    return sorted({split_name(name).name for name in names})


def _events(store: Ledger, stream: str) -> Iterator[Event]:
    """The events of a log up to its damage, which is reported with the log, in bounded memory. Nothing is settled."""
    with suppress(StoreError, LockTimeout, NotFound):
        size_bytes = store.inspect(stream, quick=True).unread_bytes
        read = partial(store.span, stream)
        yield from EventsInPieces(read, size_bytes, stream=stream, source=store.source)
