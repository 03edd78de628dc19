"""The seam: what a backend, a place that keeps one registry, has to do. Bytes only: no event, no lifecycle, no name.

The only caller of `Logs`, `Blobs`, `Order` and `Lines` is `registration.storage.ledger`, which makes events of the bytes, folds
them, keeps hot states and plans recovery, once for all backends. `Records` serve every small thing that changes under a lock.
`registration.testing.BackendContract` tries every sentence below.

Everything here is safe to share between threads. `Moved` and `LockTimeout` mean that nothing was written; `StoreError` means that
the outcome is unknown: wholly there or wholly absent. Ask again, or look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Event
from types import MappingProxyType
from typing import Protocol

from registration.errors import StoreError
from registration.storage.reports import Stray

TAIL_BYTES = 67
"""How many of its last bytes tell a log from every other of its size: the hash that its last line ends in, and what closes it."""

Key = tuple[str, ...]
"""Where a record is: directories, and a name, as `registration.storage.layout` makes them of checked ids. At least two components,
but for the few records at the root of a registry."""

NOTHING_GIVEN: Mapping[Key, bytes | None] = MappingProxyType({})


class Moved(Exception):
    """The log does not end at the given mark, or a given record has changed. Nothing was written."""


class Doubtful(StoreError):
    """A write failed, and taking it back failed as well (files only).

    The ledger reads the whole log, and writes it once more, before the next command.
    """


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a log: after `size_bytes` bytes, the last of which (at most TAIL_BYTES) are `tail`. `Mark()`: no log yet.

    Invariant: two marks of one id are equal if and only if all bytes before them are equal, since the tail holds the hash of the
    chain. A mark follows from a `Position`, and from the bytes alone: no backend stores it.

    seen: how a backend tells sooner that nothing moved (files: the path, and the signature of `stat`). Never compared or stored.
    """

    size_bytes: int = 0
    tail: bytes = b""
    seen: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Note:
    """The entry of one commit in the order. line: the ledger's own bytes, opaque to backends. events: how many, at least 1."""

    line: bytes
    events: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit in the order.

    line: as in its `Note`. ends: a cursor after each of its events. skipped: how many of its events are before the cursor that the
    reading began at. before, data: the tail of the log before the commit, and what is in the commit's place in the log, which is
    something else or nothing where the log was cut or removed since; None where the order is a hint (`Order.is_proof`), or where
    data was not asked for.
    """

    line: bytes
    ends: Sequence[str]
    skipped: int = 0
    before: bytes | None = None
    data: bytes | None = None


class Logs(Protocol):
    """Logs, each with a snapshot, by area and id. Nothing that was read is ever taken back by a power cut."""

    def ids(self, area: str) -> Iterator[str]:
        """All ids of an area, sorted by their file names (`registration.values.ids.name_of`)."""

    def found(self, area: str, id: str) -> tuple[bytes | None, Mark]:
        """The snapshot and the end of the log: of one moment, or the snapshot of an earlier moment. One round trip.

        Nothing at all: `Mark()` with nothing `seen`. On files, an empty log, and a directory without one, have something `seen`.
        """

    def unmoved(self, area: str, id: str, mark: Mark) -> bool:
        """Whether the log still ends at a mark: one `stat`, or one row by its key."""

    def read(self, area: str, id: str, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`; fewer where the log ends before, none where there is no log."""

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
        """The commit: `data` after the log and `note` after the order, both at one moment or never. Durable when it returns.

        It happens only where, at that very moment, the log ends at `after` and each record in `given` holds those bytes (None: no
        bytes): what the decision rested on, such as the reservation of a name or the lifecycle in force. A lock that can expire while its
        holder is stopped proves nothing. Files trust the records that this process holds locked, and read the others.

        snapshot: replaces the old one (None: leaves it). A cache: failing to write it is logged and does not fail the commit.
        again: the answer to this very call was lost. A log that has `data` right after `after`, whatever follows, is then a success,
        and nothing is written. Never for a first call: of two writers with equal bytes (seeded ids), one has to fail. No client
        library and no proxy may repeat this call. Files lose no answer: where there is `mending`, it is never asked for.

        Returns the mark after `data`, and how long it waited for other writers, in seconds.

        Raises:
            Moved, LockTimeout: nothing was written.
            StoreError, Doubtful: the outcome is unknown.
        """

    def put_snapshot(self, area: str, id: str, snapshot: bytes, at: Mark) -> bool:
        """Replace the snapshot if there is a log, and it ends at `at`; whether it did."""

    def cut(
        self, area: str, id: str, at: Mark, size_bytes: int, *, then: tuple[bytes, Note, bytes] | None = None
    ) -> None:
        """Repair: shorten a log that ends at `at` to `size_bytes`, durably; what is cut off is in the blobs by then.

        then: the bytes of the repair's own event, its note, and the snapshot after it, committed with the cut. None: no event is
        left to follow on; the snapshot is removed. Where that can't be one transaction (files), the old snapshot goes last: it is
        the witness of the loss until the event is.

        Raises:
            Moved: the log ends elsewhere; nothing was changed.
        """

    def remove(self, area: str, id: str) -> bool:
        """Remove a log and its snapshot for good; False where there is none. Sessions only. Its entries stay in the order."""

    def turn(self, area: str, id: str, timeout_s: float) -> AbstractContextManager[float]:
        """A turn in the queue of writers that met a conflict; yields how long that took, in seconds.

        A courtesy: it may do nothing, nothing rests on it, and it never raises.
        """


class Cell(Protocol):
    """One record, held. Not re-entrant. `write` and `remove` raise StoreError where the lock was lost: checked in the write."""

    def read(self) -> bytes:
        """The record's bytes; empty where there are none."""

    def write(self, data: bytes, *, durable: bool = True) -> None:
        """Replace them, whole and durably. With no bytes: as `remove`.

        durable: False where the old bytes, whole, will do after a power cut; it saves files a sync.
        """

    def append(self, data: bytes) -> None:
        """Write after the record's bytes, durably. Not whole: a reader, or a power cut, may get a part of `data`."""

    def remove(self) -> None:
        """Hold no bytes any more. A power cut may bring the last ones back."""


class Records(Protocol):
    """Small values that are replaced: names, leases, consumers, dead letters, active sessions, targets, `registry.json`."""

    def read(self, key: Key) -> bytes | None:
        """The record's bytes, old or new but whole, without its lock; None where there are none."""

    def held(
        self, key: Key, *, create: bool = True, timeout_s: float | None = None
    ) -> AbstractContextManager[Cell | None]:
        """Hold a record's lock. create: also where it holds no bytes; otherwise None stands for it.

        The lock ends with its process, at the latest some seconds later. It keeps others out as a courtesy; what counts is
        `Cell.write`, and `given` in `Logs.append`.

        timeout_s: how long to wait; None: the backend's own timeout.

        Raises:
            LockTimeout: another holder had it all the time.
        """

    def names(self, *place: str) -> list[str]:
        """The next component of each key below a place that holds bytes: once each, sorted.

        A place below which every record was removed may still be among them.
        """


class Blobs(Protocol):
    """What never changes: rules, and bytes that recovery sets aside. The ledger checks contents against their digests."""

    def put(self, key: Key, data: bytes) -> None:
        """Store it, durably. The same again is harmless."""

    def get(self, key: Key) -> bytes | None:
        """The bytes; None where there are none."""


class Order(Protocol):
    """The commits of a registry in one order, which agrees with each log's own and never changes.

    No gap: nothing ever appears before a cursor that was given out. A cursor is ``<epoch>-<8 hex digits>:<place>``; the digits are
    drawn when an order begins (a registry made, restored, or moved to another server), so that cursors of another are refused.
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
            InvalidArgument: when it is no cursor, or a cursor of another order.
        """

    def end(self) -> str:
        """The cursor after every commit that was acknowledged before the call."""

    def wait(self, seen: str, timeout_s: float, *, stop: Event | None = None) -> bool:
        """Wait until the end is another than `seen`; False when the time is up, or when `stop` is set meanwhile.

        It looks first, and is woken then: by a condition, inotify, LISTEN. A wake-up says no more than "look" and may be lost, so it
        looks every few seconds in any case.
        """


class Lines(Protocol):
    """Lines without a promise (refusals): whole, in each writer's order, not durable."""

    def add(self, name: str, line: bytes) -> None:
        """Add one line, which ends in a line feed."""

    def all(self, name: str) -> Iterator[bytes]:
        """All whole lines, in order."""


class HeldLog(Protocol):
    """Files only: a log under the lock that commits take. The ledger plans; each of these steps may be the last before a kill."""

    def found(self) -> tuple[bytes | None, Mark]:
        """The snapshot and the end of the log."""

    def read(self, start: int) -> bytes:
        """All bytes from `start` on, torn or not, on the disk or not."""

    def settle(
        self, *, believe_from: int, believe: bytes, keep_bytes: int, torn: bytes, why: str, whole: bool
    ) -> str | None:
        """Write `believe` once more at `believe_from` and sync it; set `torn` aside, and cut the log to `keep_bytes`.

        whole: sync the log in any case. Returns where the torn bytes are, relative to the root; None where there were none.
        """

    def put_snapshot(self, snapshot: bytes | None) -> bool:
        """Replace the snapshot (None: leave it) and remove what an interrupted replacement left: whether there was something."""


class Mending(Protocol):
    """Files only: what a crash left half-written is finished or set aside, and what the order lost is added."""

    def held(
        self, area: str, id: str, *, writing: bool = True, doing: str = "reading"
    ) -> AbstractContextManager[HeldLog]:
        """Hold a log's lock. doing: what an error names as having failed.

        Raises:
            FileNotFoundError: when there is no log.
            LockTimeout, StoreError: as everywhere.
        """

    def acknowledge_by(
        self, areas: Callable[[], Iterable[str]], acknowledged: Callable[[str, str], int]
    ) -> None:
        """Set what the order is compared with: the areas there may be, and how many bytes of a log, by area and id, are acknowledged."""

    def reconcile(self) -> int:
        """Compare the order with the logs, and add the missing commits at its end; how many events those have."""

    def strays(self, area: str) -> Iterator[Stray]:
        """What stands in an area and belongs to no log of it; with the manifests, also what stands elsewhere in the registry."""


class Backend(Protocol):
    """The place of one registry.

    mending: None where a commit is there or is not, and nothing between: torn bytes are damage then. place: the directory of the
    registry where it is one on this machine, for projections that live beside it; None elsewhere.
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
        """What never changes."""

    @property
    def order(self) -> Order:
        """The order of all commits."""

    @property
    def lines(self) -> Lines:
        """Lines without a promise."""

    @property
    def mending(self) -> Mending | None:
        """See above."""

    def close(self) -> None:
        """Release everything. Closing twice is harmless."""
