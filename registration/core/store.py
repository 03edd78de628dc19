"""The store: where the logs are. A protocol of some twenty methods; whoever keeps it can be put under the engine.

Its contract in code is `registration.testing.StoreContract`, which every store passes. In words:

- `append` returned: the whole batch survives a power cut, and every later `load` shows it.
- `append` raised `VersionConflict`: nothing was written.
- `append` raised anything else: the outcome is unknown, wholly there or wholly absent; load again and look.
- `load` never shows what a power cut could still take back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from registration.core.definition import Definition
    from registration.values.events import Event, NewEvent
    from registration.values.snapshots import Position, StateSnapshot


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that recovery set right, or would.

    found: what was not as it should be. done: what is done about it; both without a full stop. kept_as: where bytes that
    were set aside are, relative to the root.
    """

    found: str
    done: str
    kept_as: str | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a full replay came to.

    state: None where no event was ever acknowledged. steps: in order; none where all was well.
    """

    state: StateSnapshot | None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Loss:
    """What repairing a damaged manifest gives up, or gave up.

    line, offset_bytes, reason: the damage. state: what is kept, as a fold of the events before it; None where nothing is.
    lost_bytes: how much of the log is set aside. lost_version: the last version that is known to have been, by the
    snapshot or by what stands behind the damage. kept_as: where the set-aside bytes are, once it is done.
    event, repaired: the repair's own event and the state after it, once it is done and where there is a log to record
    it in.
    """

    line: int
    offset_bytes: int
    reason: str
    state: StateSnapshot | None
    lost_bytes: int
    lost_version: int
    kept_as: tuple[str, ...] = ()
    event: Event | None = None
    repaired: StateSnapshot | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """The bytes of one manifest at one moment: its log, and its snapshot where there is one.

    unread_bytes: how much of the log was left unread, in a quick look; `log` is then empty.
    """

    log: bytes
    snapshot: bytes | None
    unread_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Stray:
    """Something that no manifest has: a name that is no id's, a file that isn't ours, what a crash left.

    path: relative to the root. unfinished: a crash left it, or a writer is at work. damaged: it is not what was written.
    """

    path: str
    reason: str
    unfinished: bool
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One committed event in the feed of a registry.

    cursor: the place after it, for going on there. area: what kind of stream it is of; `manifests` for manifests.
    """

    cursor: str
    area: str
    event: Event


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the feed holds behind a cursor.

    events: how many; of a long one, with those that were announced and never committed. since: the time of the first commit
    among them, RFC 3339; None where there is none.
    """

    events: int
    since: str | None


Record = Callable[["Loss", "StateSnapshot"], "NewEvent"]
"""From a loss, and the state that is kept, to the event that records the repair."""


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


class Slot(Protocol):
    """The place of one claim, under its lock: nobody else makes, changes or removes that claim meanwhile."""

    def read(self) -> bytes:
        """What is there; empty where nothing is."""

    def write(self, data: bytes) -> None:
        """Put a claim into the empty place; it is on the disk when this returns. Not atomic: see `FileClaims`."""

    def remove(self) -> None:
        """Remove it. Not on the disk when this returns: a power cut may bring it back."""


class ClaimPlace(Protocol):
    """Where the claims to names are kept: for each name in full, one place that one claim can be in.

    Bytes only: what they say, and what they are worth, is for `registration.engine.names.claims`. Safe to share between threads.
    All raise StoreError when the disk fails.
    """

    def read(self, full: str) -> bytes | None:
        """What is in a place, without a lock: it may be half written. None where nothing is."""

    def locked(
        self, full: str, *, create: bool, timeout_s: float | None = None
    ) -> AbstractContextManager[Slot | None]:
        """Hold a place's lock. create: make the place where there is none; otherwise None stands for it.

        timeout_s: how long to wait for somebody else; None: as long as for a manifest's lock.

        Raises:
            LockTimeout: when somebody else held it all the time.
        """

    def claims_of(self, name: str) -> list[str]:
        """The names in full, versions of `name`, that have something in their place. In no order."""

    def claimed_names(self) -> Iterator[str]:
        """The names (without versions) that have, or had, claims, sorted by their file names."""


class Reservations(Protocol):
    """What has to be held while events are committed, such as the name that one of them claims."""

    def held_for(self, stream: str, after: Position, events: Sequence[Event]) -> AbstractContextManager[None]:
        """Hold it for the block, in which the events are appended to a log that ends at `after`.

        Raises (on entering):
            NameTaken: when somebody else has it. Nothing was written.
            LockTimeout, StoreError, CorruptLog: as `Store`. Nothing was written to the log.
        """


class Store(Protocol):
    """The logs and snapshots of one registry, under one definition. Safe to share between threads."""

    @property
    def source(self) -> str:
        """``urn:uuid:`` and the registry's id."""

    @property
    def definition(self) -> Definition:
        """What the logs are folded with."""

    @property
    def document_bytes_max(self) -> int:
        """How large a document this registry takes."""

    @property
    def consumers(self) -> ConsumerKeeper:
        """Where the named consumers of its feed are kept."""

    def load(self, stream: str) -> StateSnapshot | None:
        """The state after the last acknowledged event; None where there is none.

        Raises:
            CorruptLog: when what is there can't be what was written.
            LockTimeout: when a writer had to be waited for and held the lock for too long.
            StoreError: when the files can't be read.
        """

    def append(self, stream: str, after: Position, events: Sequence[Event], snapshot: StateSnapshot) -> float:
        """Commit one command's events as one atomic batch, then keep the snapshot.

        after: the place that the decision was made on. snapshot: the fold of the log with `events`. It is a
        cache: failing to keep it is logged and does not fail the commit.

        Returns how long it waited for somebody else's lock, in seconds.

        Raises:
            VersionConflict: when the log does not end at `after`. Nothing was written.
            LockTimeout: when somebody else held the lock for too long. Nothing was written.
            StoreError: when the disk failed: unknown, load again and look.
        """

    def queue(self, stream: str) -> AbstractContextManager[float]:
        """Wait behind the other writers that met a conflict, and stay in front for as long as the block lasts.

        A courtesy, so that whoever decides again is not overtaken for ever: nothing rests on it, and the wait is short and
        bounded. Gives how long it was, in seconds.
        """

    def read(self, stream: str) -> Iterator[Event]:
        """All acknowledged events of one log as of now, in order, each checked against the chain.

        Raises (while iterating):
            NotFound: when there is no such log.
            CorruptLog: at the first line that is not what was written; those before it have been given.
        """

    def save(self, stream: str, snapshot: StateSnapshot) -> None:
        """Keep a snapshot of what the log folds to, unless a later one is kept already.

        Raises:
            NotFound, CorruptLog, LockTimeout, StoreError: as above.
        """

    def inspect(self, stream: str, *, quick: bool = False) -> Files:
        """The bytes as they stand, changing nothing and believing nothing.

        quick: the log's size only.

        Where the snapshot is not of this very log, one of them is damaged, or a writer died.

        Raises:
            NotFound: when there is nothing at all.
            LockTimeout, StoreError: as above.
        """

    def recover(self, stream: str, *, dry_run: bool = False) -> Recovered:
        """Fold the whole log from its first byte, checking the chain, and keep the snapshot anew.

        What a crash left unfinished is finished or set aside. Run twice, it ends in the same bytes.
        dry_run: only say what would be done.

        Raises:
            CorruptLog, LockTimeout, StoreError: as above.
        """

    def repair(self, stream: str, record: Record | None) -> Loss | None:
        """Cut a damaged log back to the events that check out, keeping the rest aside; None where nothing is damaged.

        record: makes the event that tells of it, which becomes the log's last; None: only say what would be lost.

        Raises:
            NotFound: when there is nothing at all.
            LockTimeout, StoreError: as above.
        """

    def streams(self) -> Iterator[str]:
        """The ids of all logs, sorted by their file names; some may hold no acknowledged event."""

    def strays(self) -> Iterator[Stray]:
        """What stands in the registry and belongs to no manifest, and rules that are not what was kept."""

    def keep(self, kind: str, digest: str, value: Any) -> None:
        """Keep a rule by its digest, on the disk, for as long as the registry lasts. Keeping it twice is harmless.

        kind: one of `registration.storage.layout.RULE_KINDS`. value: what it says, as JSON values.

        Raises:
            LockTimeout, StoreError: as above.
        """

    def kept(self, kind: str, digest: str) -> Any:
        """What was kept under a digest.

        Raises:
            NotFound: when nothing was.
            CorruptRegistry: when it is not what was kept.
        """

    def log_refusal(self, line: bytes) -> None:
        """Note that something was refused: one line of JSON. Not synced: nothing was promised.

        Raises:
            StoreError: as above.
        """

    def refusals(self) -> Iterator[bytes]:
        """The lines that were noted, in order; one that was cut short is left out."""

    def feed(
        self, after: str | None = None, *, limit: int | None = None, areas: Collection[str] | None = None
    ) -> Iterator[FeedEntry]:
        """The committed events of all streams behind a cursor, as of now: each once, in commit order for each stream.

        after: a cursor that the feed gave; None or ``start``: from the first event; ``now``: none. limit: at most so many.
        areas: events of other ones are passed over, and not looked up. After a power cut, events that were read before it may
        come again, with the same ids.

        Raises (while iterating):
            InvalidArgument: when the cursor is none, or is of another feed.
            CorruptLog, UnknownEvent: when an event can't be read; the `cursor` in `details` is the place behind it.
            LockTimeout, StoreError: as above. Where it is one stream that can't be read, `details` has in any case its `area`,
                the `stream`, and the place `behind` what can't be read.
        """

    def feed_end(self) -> str:
        """The cursor behind the last event: every commit that was acknowledged before is before it.

        Raises:
            LockTimeout, StoreError: as above.
        """

    def feed_backlog(self, after: str | None = None) -> Backlog:
        """How much the feed holds behind a cursor. Where it is much, that is counted without reading the logs.

        Raises:
            InvalidArgument, LockTimeout, StoreError: as `feed`.
        """

    def reconcile_feed(self) -> int:
        """Look for events that the feed doesn't have, and add them at its end; how many there were.

        They were put there by somebody else: by an earlier release, by copying a log. What a power cut took is looked for
        by whoever reads first.

        Raises:
            LockTimeout, StoreError: as above.
        """

    def beside(self, area: str, definition: Definition) -> Store:
        """Other logs of the same registry, under a definition of their own: the same place whenever it is asked for.

        area: what they are called, such as ``aliases``: a name for a directory.
        """

    @property
    def claims(self) -> ClaimPlace:
        """Where the registry's claims to names are."""

    def close(self) -> None:
        """Let go of everything. Closing twice is harmless."""
