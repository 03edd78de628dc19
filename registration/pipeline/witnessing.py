"""Comparing the files of a registry with each other, for verification; see `registration.evidence.witnesses`. Changes nothing."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import orjson

from registration.engine.leases.leases import Leases
from registration.errors import LockTimeout, NotFound, StoreError
from registration.evidence.witnesses import Witnesses
from registration.storage import layout
from registration.storage.notes import Noted, decode_commit
from registration.storage.pieces import PIECE_BYTES, TORN_BYTES_MAX, EventsInPieces
from registration.values.ids import own_name
from registration.values.names import split_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.engine.registry import OpenRegistry
    from registration.storage.ledger import Ledger
    from registration.values.events import Event


_NAMING = (b'"document"', b'"claimed"')
"""What a line has in it that may say a name."""

_SPELLED = b"\\u"
"""What a line has in it instead, if these words are spelled in another way."""


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
    """The names that a manifest has, or had, without their versions: their aliases may name it, even if its log says no longer why.

    Read before the log is verified: so the log is never older than what the aliases say of it. Only lines that may say a name are decoded,
    and nothing is checked: a name too many costs a look at its aliases.
    """
    names: set[str] = set()
    for line in _naming(store, manifest_id):
        with suppress(orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            data = orjson.loads(line)["data"]
            document = data.get("document")
            own = own_name(document) if isinstance(document, dict) else None
            names |= {name for name in (own, data.get("claimed")) if isinstance(name, str)}
    return sorted({split_name(name).name for name in names})


def _naming(store: Ledger, stream: str) -> Iterator[bytes]:
    """The lines of a log that may say a name, unchecked, in bounded memory. Nothing is settled."""
    with suppress(StoreError, LockTimeout, NotFound):
        size_bytes = store.inspect(stream, quick=True).unread_bytes
        rest, offset = b"", 0
        while offset < size_bytes:
            piece = store.span(stream, offset, min(offset + max(PIECE_BYTES, len(rest)), size_bytes))
            offset = offset + len(piece) if piece else size_bytes
            data = rest + piece
            end = data.rfind(b"\n") + 1
            rest = data[end:] if len(data) - end <= TORN_BYTES_MAX else b""
            starts: set[int] = set()
            for word in _NAMING if b"\\" not in data else (*_NAMING, _SPELLED):
                at = data.find(word, 0, end)
                while at >= 0:
                    starts.add(data.rfind(b"\n", 0, at) + 1)
                    at = data.find(word, data.index(b"\n", at), end)
            for start in starts:
                yield data[start : data.index(b"\n", start)]


def _events(store: Ledger, stream: str) -> Iterator[Event]:
    """The events of a log up to its damage, which is reported with the log, in bounded memory. Nothing is settled."""
    with suppress(StoreError, LockTimeout, NotFound):
        size_bytes = store.inspect(stream, quick=True).unread_bytes
        read = partial(store.span, stream)
        yield from EventsInPieces(read, size_bytes, stream=stream, source=store.source)
