"""The seam: the duties of a backend, which stores one registry. Bytes only: no event, no lifecycle, no name.

The only caller of `Logs`, `Blobs`, `Order` and `Lines` is `registration.storage.ledger`, which makes events of the bytes, folds
them, keeps hot states and plans recovery, once for all backends. `Records` serve every small value that changes under a lock.
`registration.testing.BackendContract` tests every sentence below.

Everything here is safe to share between threads. `Moved` and `LockTimeout` mean that nothing was written; `StoreError` means that
the outcome is unknown: wholly present or wholly absent. Retry, or read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Event
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from registration.errors import StoreError

if TYPE_CHECKING:
    from registration.storage.notes import Noted
    from registration.storage.reports import Stray
    from registration.values.events import Position

TAIL_BYTES = 67
"""How many last bytes distinguish a log from every other of its size: the hash at the end of its last line, and the closing characters."""

Key = tuple[str, ...]
"""The key of a record: directories, and a name, made of checked ids by `registration.storage.layout`. At least two components,
except for the few records at the root of a registry."""

NOTHING_GIVEN: Mapping[Key, bytes | None] = MappingProxyType({})


class Moved(Exception):
    """The log does not end at the given mark, or a given record has changed. Nothing was written."""


class Doubtful(StoreError):
    """A write failed, and undoing it failed as well (files only).

    The ledger reads the whole log, and rewrites it, before the next command.
    """


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a log: after `size_bytes` bytes, the last of which (at most TAIL_BYTES) are `tail`. `Mark()`: no log yet.

    Invariant: two marks of one id are equal if and only if all bytes before them are equal, since the tail holds the hash of the
    chain. A mark follows from a `Position`, and from the bytes alone: no backend stores it.

    seen: how a backend detects sooner that nothing changed (files: the path, and the signature of `stat`). Never compared or stored.
    """

    size_bytes: int = 0
    tail: bytes = b""
    seen: object = field(default=None, compare=False, repr=False)


def mark_of(position: Position) -> Mark:
    """The mark of a position in a log."""
    return Mark(position.size_bytes, f'{position.head}"}}\n'.encode()) if position.head else Mark()


@dataclass(frozen=True, slots=True)
class Note:
    """The entry of one commit in the order. line: the ledger's own bytes, opaque to backends. events: their number, at least 1."""

    line: bytes
    events: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit in the order.

    line: as in its `Note`. ends: a cursor after each of its events. skipped: how many of its events are before the cursor at which the
    reading began. before, data: the tail of the log before the commit, and the bytes at the commit's position in the log, which
    differ or are missing if the log was cut or removed since; None if the order is a hint (`Order.is_proof`), or if
    data was not asked for.
    """

    line: bytes
    ends: Sequence[str]
    skipped: int = 0
    before: bytes | None = None
    data: bytes | None = None


class Logs(Protocol):
    """Logs, each with a snapshot, by area and id. A power cut never undoes anything that was read."""

    def ids(self, area: str) -> Iterator[str]:
        """All ids of an area, sorted by their file names (`registration.values.ids.name_of`)."""

    def found(self, area: str, id: str) -> tuple[bytes | None, Mark]:
        """The snapshot and the end of the log: from one moment, or the snapshot from an earlier one. One round trip.

        If there is nothing at all: `Mark()` without `seen`. On files, an empty log, and a directory without one, have a `seen`.
        """

    def unmoved(self, area: str, id: str, mark: Mark) -> bool:
        """Whether the log still ends at a mark: one `stat`, or one row by its key."""

    def read(self, area: str, id: str, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`; fewer if the log ends earlier, none if there is no log."""

    def append(
        self,
        area: str,
        id: str,
        after: Mark,
        data: bytes,
        note: Note,
        *,
        snapshot: bytes | None = None,
        given: Mapping[Key, bytes | None] = NOTHING_GIVEN,
        again: bool = False,
    ) -> tuple[Mark, float]:
        """The commit: `data` after the log and `note` after the order, both atomically. Durable on return.

        It happens only if, at that very moment, the log ends at `after` and each record in `given` holds those bytes (None: no
        bytes): the basis of the decision, such as the reservation of a name or the lifecycle in force. A lock that can expire while
        its holder is suspended proves nothing. Files trust the records that this process holds locked, and read the others.

        snapshot: replaces the old one (None: leaves it). A cache: failing to write it is logged and does not fail the commit.
        again: the answer to this very call was lost. If the log has `data` right after `after`, whatever follows, that is then a success,
        and nothing is written. Never for a first call: of two writers with equal bytes (seeded ids), one has to fail. No client
        library and no proxy may repeat this call. Files lose no answer: with `mending`, it is never requested.

        Returns the mark after `data`, and the wait for other writers, in seconds.

        Raises:
            Moved, LockTimeout: nothing was written.
            StoreError, Doubtful: the outcome is unknown.
        """

    def put_snapshot(self, area: str, id: str, snapshot: bytes, at: Mark) -> bool:
        """Replace the snapshot if there is a log, and it ends at `at`; returns whether it did."""

    def cut(
        self, area: str, id: str, at: Mark, size_bytes: int, *, then: tuple[bytes, Note, bytes] | None = None
    ) -> None:
        """Repair: shorten a log that ends at `at` to `size_bytes`, durably; the part cut off is in the blobs by then.

        then: the bytes of the repair's own event, its note, and the snapshot after it, committed with the cut. None: there is no
        event to append; the snapshot is removed. If that can't be one transaction (files), the old snapshot is replaced last: it
        witnesses the loss until the event does.

        Raises:
            Moved: the log ends elsewhere; nothing was changed.
        """

    def remove(self, area: str, id: str) -> bool:
        """Remove a log and its snapshot for good; False if there is none. Sessions only. Its entries stay in the order."""

    def turn(self, area: str, id: str, timeout_s: float) -> AbstractContextManager[float]:
        """A turn in the queue of writers that met a conflict; yields the wait, in seconds.

        A courtesy: it may do nothing, correctness does not depend on it, and it never raises.
        """


class Cell(Protocol):
    """One record, held. Not re-entrant. `write` and `remove` raise StoreError if the lock was lost: checked in the write."""

    def read(self) -> bytes:
        """The record's bytes; empty if there are none."""

    def write(self, data: bytes, *, durable: bool = True) -> None:
        """Replace them, atomically and durably. With no bytes: as `remove`.

        durable: False if the old bytes, whole, are acceptable after a power cut; it saves files a sync.
        """

    def append(self, data: bytes) -> None:
        """Append to the record's bytes, durably. Not atomic: a reader, or a power cut, may get a part of `data`."""

    def remove(self) -> None:
        """Remove the bytes. A power cut may bring the last ones back."""


class Records(Protocol):
    """Small values that are replaced as a whole: names, leases, consumers, dead letters, active sessions, targets, `registry.json`."""

    def read(self, key: Key) -> bytes | None:
        """The record's bytes, old or new but whole, without its lock; None if there are none."""

    def held(
        self, key: Key, *, create: bool = True, timeout_s: float | None = None
    ) -> AbstractContextManager[Cell | None]:
        """Hold a record's lock. create: even if it has no bytes; otherwise yields None for that.

        The lock ends with its process, at the latest some seconds later. It excludes others as a courtesy; decisive are
        `Cell.write`, and `given` in `Logs.append`.

        timeout_s: how long to wait; None: the backend's own timeout.

        Raises:
            LockTimeout: another holder kept it all the time.
        """

    def names(self, *place: str) -> list[str]:
        """The next component of each key with bytes below a prefix: once each, sorted.

        A prefix below which every record was removed may still be included.
        """


class Blobs(Protocol):
    """Immutable values: rules, and bytes that recovery sets aside. The ledger checks contents against their digests."""

    def put(self, key: Key, data: bytes) -> None:
        """Store it, durably. Repeating it is harmless."""

    def get(self, key: Key) -> bytes | None:
        """The bytes; None if there are none."""


class Order(Protocol):
    """The commits of a registry in one order, which agrees with each log's own and never changes.

    No gap: nothing ever appears before a cursor that was returned. A cursor is ``<epoch>-<8 hex digits>:<place>``; the digits are
    drawn when an order begins (a registry created, restored, or moved to another server), so that cursors of another order are refused.
    """

    @property
    def is_proof(self) -> bool:
        """Whether each entry is a commit.

        False (files): an entry is a hint, written before its commit. The ledger looks it up in the log, waits for its writer, and
        after a power cut adds the entries that are missing.
        """

    def entries(self, after: str | None, *, limit: int | None = None, data: bool = True) -> Iterator[Entry]:
        """The commits after a cursor (None: all), as of the first `next`; no more are fetched than `limit` events need.

        Raises:
            InvalidArgument: when it is not a cursor, or one of another order.
        """

    def end(self) -> str:
        """The cursor after every commit acknowledged before the call."""

    def wait(self, seen: str, timeout_s: float, *, stop: Event | None = None) -> bool:
        """Wait until the end differs from `seen`; False on timeout, or when `stop` is set meanwhile.

        It reads first, then waits to be woken: by a condition, inotify, LISTEN. A wake-up only means "read" and may be lost, so it
        polls every few seconds in any case.
        """


class Lines(Protocol):
    """Lines without a promise of durability (refusals): whole, in each writer's order."""

    def add(self, name: str, line: bytes) -> None:
        """Add one line, which ends in a line feed."""

    def all(self, name: str) -> Iterator[bytes]:
        """All whole lines, in order."""


class HeldLog(Protocol):
    """Files only: a log under the lock that commits take. The ledger plans; each of these steps may be the last before a kill."""

    def found(self) -> tuple[bytes | None, Mark]:
        """The snapshot and the end of the log."""

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`, torn or not, durable or not; fewer if the log ends earlier."""

    def settle(
        self, *, believe_from: int, believe_to: int, keep_bytes: int, torn: bytes, why: str, whole: bool
    ) -> str | None:
        """Rewrite the bytes from `believe_from` to `believe_to` as they are, and sync them; set `torn` aside, and cut the log to `keep_bytes`.

        whole: sync the log in any case. Returns where the torn bytes are, relative to the root; None if there were none.
        """

    def put_snapshot(self, snapshot: bytes | None) -> bool:
        """Replace the snapshot (None: leave it) and remove the remains of an interrupted replacement; returns whether there were any."""


class Mending(Protocol):
    """Files only: completes or sets aside half-written bytes after a crash, and adds entries that the order has lost."""

    def held(
        self, area: str, id: str, *, writing: bool = True, doing: str = "reading"
    ) -> AbstractContextManager[HeldLog]:
        """Hold a log's lock. doing: the operation that an error names.

        Raises:
            FileNotFoundError: when there is no log.
            LockTimeout, StoreError: as everywhere.
        """

    def acknowledge_by(
        self, areas: Callable[[], Iterable[str]], acknowledged: Callable[[str, str], int]
    ) -> None:
        """Set the basis of the comparison with the order: the possible areas, and the acknowledged size of a log by area and id."""

    def reconcile(self) -> int:
        """Compare the order with the logs, and add the missing commits at its end; returns the number of their events."""

    def noted(self, stream: str | None = None) -> Iterator[Noted]:
        """The recorded commits as they are, in order: lost ones are not restored, and nothing is changed.

        stream: those of other streams may be left out.
        """

    def set_aside(self, area: str, id: str) -> list[str]:
        """The names of the bytes of a log that were set aside by recovery and repair, sorted."""

    def strays(self, area: str) -> Iterator[Stray]:
        """Files in an area that belong to none of its logs; for the manifests, also unexpected files elsewhere in the registry."""


class Backend(Protocol):
    """The storage of one registry.

    mending: None if every commit is atomic: torn bytes are damage then. place: the directory of the registry, if it is one on this
    machine, for projections that are stored in it; None elsewhere.
    """

    @property
    def place(self) -> str | None:
        """See above."""

    @property
    def logs(self) -> Logs:
        """Logs and snapshots."""

    @property
    def records(self) -> Records:
        """Small values under locks."""

    @property
    def blobs(self) -> Blobs:
        """Immutable values."""

    @property
    def order(self) -> Order:
        """The order of all commits."""

    @property
    def lines(self) -> Lines:
        """Lines without a promise of durability."""

    @property
    def mending(self) -> Mending | None:
        """See above."""

    def close(self) -> None:
        """Release everything. Closing twice is harmless."""
