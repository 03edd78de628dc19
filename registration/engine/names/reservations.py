"""Reservations: at most one manifest holds a name, through any crash and among all processes.

The logs tell which manifest holds a name: its last event about names has `claimed` or `released`, and
`registration.core.facts` stores that as the fact `name`. A reservation makes the holder unique: it is a record per full name,
``names/<name>/<version>.json``. Registering is a saga of two steps, under the lock of that record:

1. write the reservation, durably;
2. commit the event with `claimed`, if the record still holds those bytes at that moment.

After a kill in between, the reservation exists without its event. The next manifest that wants the name gets the record's
lock, since its creator is dead; loads the manifest in it, which settles the creator's log; finds that it doesn't hold the
name; and replaces the reservation. So a reservation alone has no effect, and with a reservation the log decides. A lock that
expired while its holder was suspended is harmless: the bytes belong to another writer by then, and the commit fails.

To release a name, the event with `released` is committed first; then the reservation is removed, by the same command or by the
next one that finds it.

The log's lock is not held while the reservation is written, and is taken inside the record's; no code takes them in reverse order.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from registration.errors import LockTimeout, NameTaken, StoreError, VersionConflict
from registration.storage import layout
from registration.storage.records import held_as, made_as
from registration.values.documents import digest_of
from registration.values.ids import id_of, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.storage.ports import Key, Records
    from registration.values.events import Position, StateSnapshot

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Reservation:
    """The manifest that wants or holds a name, with the position in its log, and the time.

    name: in full. after: the version and the head of the log before the claiming event. time: that event's.
    """

    name: str
    manifest_id: str
    after_version: int
    after_head: str
    time: str

    def encode(self) -> bytes:
        """The record's bytes: indented JSON, with a checksum of itself."""
        members: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "manifest_id": self.manifest_id,
            "after": {"version": self.after_version, "head": self.after_head},
            "time": self.time,
        }
        option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps({**members, "checksum": digest_of(members)}, option=option)


def decode_reservation(raw: bytes, full: str) -> Reservation | None:
    """The reservation of `full` in `raw`; None if it is invalid or truncated."""
    try:
        members = orjson.loads(raw)
        checksum = members.pop("checksum")
        if members["format"] != FORMAT or members["name"] != full or checksum != digest_of(members):
            return None
        after = members["after"]
        return Reservation(full, members["manifest_id"], after["version"], after["head"], members["time"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None


class Logs(Protocol):
    """The logs of a registry, actual or projected, against which reservations are checked."""

    @property
    def records(self) -> Records:
        """The records of the registry."""

    def load(self, stream: str) -> StateSnapshot | None:
        """The state of a manifest; None if there is none."""

    def streams(self) -> Iterator[str]:
        """The ids of all manifests."""


class NameReservations:
    """The reservations of one registry. Safe to share between threads."""

    def __init__(self, store: Logs) -> None:
        self._store = store
        self._records = store.records

    def exists(self, full: str) -> bool:
        """Whether a name is reserved, with or without effect."""
        return self._records.read(layout.name_record(full)) is not None

    def find(self, full: str) -> Reservation | None:
        """The reservation of a name, with or without effect; None if it is missing or damaged."""
        return decode_reservation(self._records.read(layout.name_record(full)) or b"", full)

    def versions(self, name: str) -> list[str]:
        """The reserved full names that are versions of `name`, unordered."""
        files = self._records.names(layout.NAMES, name_of(name))
        return [full for file in files if (full := layout.reserved_by_file(name, file)) is not None]

    def names(self) -> Iterator[str]:
        """The names, without versions, that are or were reserved, sorted by their file names."""
        return (name for encoded in self._records.names(layout.NAMES) if (name := id_of(encoded)) is not None)

    def holder(self, full: str) -> StateSnapshot | None:
        """The manifest that holds a name; None if none does. Does not lock the reservation.

        Raises:
            CorruptLog, LockTimeout, StoreError: as `registration.storage.ledger.Ledger.load`.
        """
        return self._behind(self._records.read(layout.name_record(full)), full)

    def check_free(self, full: str, stream: str, expected: str | None = None) -> None:
        """Refuse like `reserved`, and write nothing. expected: the manifest that would hold the name by then.

        Raises: as `reserved`.
        """
        held = self._holding(expected, full) if expected is not None else self.holder(full)
        if held is None and stream != full:
            held = self._holding(full, full)
        if held is not None and held.stream != stream:
            raise _taken(full, held, stream)

    @contextmanager
    def reserved(self, full: str, stream: str, after: Position, time: str) -> Iterator[tuple[Key, bytes]]:
        """Hold the reservation of a name for `stream` during the block, which commits the event that claims it.

        Yields its record, and the bytes that the record must have at the commit.

        After a version conflict, which commits nothing, the reservation is removed. After any other error it stays. The next command
        that finds it checks whether the event was committed after all.

        Raises (on entering):
            NameTaken: when another manifest holds the name.
            CorruptLog, LockTimeout, StoreError: when the holder can't be read, or the reservation can't be written.
        """
        with made_as(full, self._records, layout.name_record(full)) as cell:
            data = cell.read()
            held = self._behind(data, full)
            if held is None and stream != full and (held := self._holding(full, full)) is not None:
                # The holder's reservation is lost; if manifests have the names of their documents, that is noticed here.
                cell.remove()
            if held is not None and held.stream != stream:
                raise _taken(full, held, stream)
            if held is None:
                data = Reservation(full, stream, after.version, after.head, time).encode()
                cell.write(data)
            try:
                yield layout.name_record(full), data
            except VersionConflict:
                with suppress(StoreError, LockTimeout):  # left for the next command
                    if self._behind(cell.read(), full) is None:
                        cell.remove()
                raise

    def settle(self, full: str, *, timeout_s: float | None = None) -> bool:
        """Remove a reservation whose manifest does not hold the name. Returns whether there was one.

        timeout_s: how long to wait for a registration in progress; None: as long as for a manifest.

        Raises:
            CorruptLog, LockTimeout, StoreError: when the holder can't be read, or the removal fails.
        """
        record = layout.name_record(full)
        with held_as(full, self._records, record, create=False, timeout_s=timeout_s) as cell:
            if cell is None or self._behind(cell.read(), full) is not None:
                return False
            cell.remove()
            return True

    def make_again(self, state: StateSnapshot) -> StateSnapshot | None:
        """Restore the reservation of the name that a manifest holds by its log, if it is missing or damaged.

        Returns another manifest if that one holds the name as well: then nothing is changed; one of the two logs was not written by
        this package, or the reservation was removed by hand.
        """
        full, named = state.name, state.facts["named"]
        assert full is not None
        with made_as(full, self._records, layout.name_record(full)) as cell:
            held = self._behind(cell.read(), full)
            if held is not None and held.stream != state.stream:
                return held
            if held is not None and decode_reservation(cell.read(), full) is not None:
                return None
            if self._holding(state.stream, full) is not None:
                cell.write(Reservation(full, state.stream, named["version"] - 1, "", named["time"]).encode())
            else:
                cell.remove()
            return None

    def _behind(self, raw: bytes | None, full: str) -> StateSnapshot | None:
        """The manifest that holds a name, found by its reservation; None if that has no effect."""
        if not raw:
            return None
        reservation = decode_reservation(raw, full)
        if reservation is not None:
            return self._holding(reservation.manifest_id, full)
        # Damaged, or truncated by an earlier release: its manifest is unknown, so the logs are searched for the holder.
        for stream in self._store.streams():
            if (held := self._holding(stream, full)) is not None:
                return held
        return None

    def _holding(self, stream: str, full: str) -> StateSnapshot | None:
        state = self._store.load(stream)
        return state if state is not None and state.name == full else None


def _taken(full: str, held: StateSnapshot, stream: str) -> NameTaken:
    since = held.facts["named"]["time"]
    return NameTaken(
        f"The document of {stream!r} has the name {full!r}, which is held by {held.stream!r} "
        f"({held.state}) since {since}.",
        "Nothing was written. Give the document another name or version; a name is free again once its holder releases it.",
        manifest_id=stream,
        name=full,
        holder=held.stream,
        state=held.state,
        since=since,
    )
