"""Reservations: at most one manifest holds a name, through any crash and among all processes.

Which manifest holds a name is said by logs: the last event of a manifest that speaks of names says `claimed` or `released`, and
`registration.core.facts` keeps that as the fact `name`. A reservation is what makes it one manifest only: a record for each name
in full, ``names/<name>/<version>.json``. To register is a saga of two steps, under the lock of that record:

1. the reservation is written, durably;
2. the event that says `claimed` is committed, if the record still holds those bytes at that moment.

Killed in between, the reservation stands there without its event. The next manifest that wants the name gets the record's lock,
since its maker is dead; loads the manifest that it names, which settles what the maker left in the log; and finds that it doesn't
hold the name: the reservation is replaced. So a reservation alone is worth nothing, and a log alone, where the reservation is there,
everything. A lock that expired while its holder was stopped is harmless: the bytes are another's by then, and the commit fails.

To let go of a name, the event that says `released` comes first; then the reservation is removed, by the same command or by the
next one that meets it.

The log's lock is not held while the reservation is made, and is taken inside the record's; nothing takes them the other way round.
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
    """Which manifest wants a name, or holds it, since which place of its log, and when.

    name: in full. after: the version and the head of the log that the claiming event was to follow on. time: that event's.
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
    """The reservation of `full` in `raw`; None where it isn't one, or not a whole one."""
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
    """What reservations are checked against: the logs of a registry, as they are or as they would be."""

    @property
    def records(self) -> Records:
        """The records of the registry."""

    def load(self, stream: str) -> StateSnapshot | None:
        """The state of a manifest; None where there is none."""

    def streams(self) -> Iterator[str]:
        """The ids of all manifests."""


class NameReservations:
    """The reservations of one registry. Safe to share between threads."""

    def __init__(self, store: Logs) -> None:
        self._store = store
        self._records = store.records

    def exists(self, full: str) -> bool:
        """Whether a name is reserved, whatever that is worth."""
        return self._records.read(layout.name_record(full)) is not None

    def find(self, full: str) -> Reservation | None:
        """The reservation of a name, whatever it is worth; None where there is none, or a damaged one."""
        return decode_reservation(self._records.read(layout.name_record(full)) or b"", full)

    def versions(self, name: str) -> list[str]:
        """The names in full, versions of `name`, that are reserved. In no order."""
        files = self._records.names(layout.NAMES, name_of(name))
        return [full for file in files if (full := layout.reserved_by_file(name, file)) is not None]

    def names(self) -> Iterator[str]:
        """The names, without versions, that are or were reserved, sorted by their file names."""
        return (name for encoded in self._records.names(layout.NAMES) if (name := id_of(encoded)) is not None)

    def holder(self, full: str) -> StateSnapshot | None:
        """The manifest that holds a name; None where none does. Takes no lock of the reservation.

        Raises:
            CorruptLog, LockTimeout, StoreError: as `registration.storage.ledger.Ledger.load`.
        """
        return self._behind(self._records.read(layout.name_record(full)), full)

    def check_free(self, full: str, stream: str, expected: str | None = None) -> None:
        """Refuse what `reserved` would refuse, and write nothing. expected: the manifest that would hold the name by then.

        Raises: as `reserved`.
        """
        held = self._holding(expected, full) if expected is not None else self.holder(full)
        if held is None and stream != full:
            held = self._holding(full, full)
        if held is not None and held.stream != stream:
            raise _taken(full, held, stream)

    @contextmanager
    def reserved(self, full: str, stream: str, after: Position, time: str) -> Iterator[tuple[Key, bytes]]:
        """Hold the reservation of a name for `stream` during the block, in which the event that claims it is committed.

        Yields its record, and the bytes that this has to hold at the commit.

        Where nothing was committed because of a version conflict, the reservation is removed. After any other error it stays. The
        next command that meets it finds it worth nothing; or worth everything, where the event is there after all.

        Raises (on entering):
            NameTaken: when another manifest holds the name.
            CorruptLog, LockTimeout, StoreError: when that can't be told, or the reservation can't be made.
        """
        with made_as(full, self._records, layout.name_record(full)) as cell:
            data = cell.read()
            held = self._behind(data, full)
            if held is None and stream != full and (held := self._holding(full, full)) is not None:
                # The holder's reservation is lost; where manifests are called what their documents are, that is seen in time.
                cell.remove()
            if held is not None and held.stream != stream:
                raise _taken(full, held, stream)
            if held is None:
                data = Reservation(full, stream, after.version, after.head, time).encode()
                cell.write(data)
            try:
                yield layout.name_record(full), data
            except VersionConflict:
                with suppress(StoreError, LockTimeout):  # left for others
                    if self._behind(cell.read(), full) is None:
                        cell.remove()
                raise

    def settle(self, full: str, *, timeout_s: float | None = None) -> bool:
        """Remove a reservation whose manifest does not hold the name. Whether there was one.

        timeout_s: how long to wait for a registration that is going on; None: as long as for a manifest.

        Raises:
            CorruptLog, LockTimeout, StoreError: when that can't be told or done.
        """
        record = layout.name_record(full)
        with held_as(full, self._records, record, create=False, timeout_s=timeout_s) as cell:
            if cell is None or self._behind(cell.read(), full) is not None:
                return False
            cell.remove()
            return True

    def make_again(self, state: StateSnapshot) -> StateSnapshot | None:
        """Make the reservation of the name that a manifest holds by its log, where it is missing or damaged.

        Returns another manifest where that one holds the name, too: then nothing is changed, and one of the two logs was not
        written by this package, or the reservation was removed by hand.
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
        """The manifest that holds a name, as far as its reservation leads there; None where that is worth nothing."""
        if not raw:
            return None
        reservation = decode_reservation(raw, full)
        if reservation is not None:
            return self._holding(reservation.manifest_id, full)
        # Damaged, or cut short by an earlier release: which manifest it named can't be told, and the logs tell which holds the name.
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
