"""The ledger: logs of events over any backend. Codec, fold, hot states and recovery, once for all backends and all areas.

A `Ledger` is the logs of one area of a registry (`manifests`, `aliases`, …) under one definition; `Ledger.area` returns the others.
Its promises:

- `append` returned: the whole batch survives a power cut, and every later `load` shows it;
- `append` raised `VersionConflict`: nothing was written;
- `append` raised anything else: the outcome is unknown, the batch is wholly present or wholly absent; load again to see;
- `load` never shows events that a power cut could still undo.

With snapshots `each`, a commit replaces the snapshot as well; with `idle` it follows in the background
(`registration.storage.behind`). Nothing is less durable: a snapshot is a cache.

A backend stores the bytes (`registration.storage.ports`); `registration.storage.settling` completes what a crash interrupted.
"""

from __future__ import annotations

import errno
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import orjson

from registration.core.codec import BadLine, Fault, decode_line, encode_snapshot
from registration.errors import CorruptRegistry, NotFound, StoreError, VersionConflict
from registration.storage import layout
from registration.storage.hot import HotStates
from registration.storage.notes import encode_commit
from registration.storage.ports import NOTHING_GIVEN, Doubtful, Mark, Moved, Note, mark_of
from registration.storage.recovery import Witness, corrupt, folded_in_pieces, is_proved_by, witness
from registration.values.documents import DOCUMENT_BYTES_MAX, canonical, digest_of_bytes
from registration.values.events import Position

if TYPE_CHECKING:
    from collections.abc import Collection

    from registration.core.definition import Definition
    from registration.storage.behind import SnapshotsBehind
    from registration.storage.feed import AreaLogs, Feed
    from registration.storage.ports import Backend, Key, Records
    from registration.storage.reports import (
        Backlog,
        FeedEntry,
        Files,
        Loss,
        Recovered,
        RepairEvent,
        Stray,
    )
    from registration.storage.settling import Settling
    from registration.values.events import Event, StateSnapshot

Snapshots = Literal["each", "idle"]
"""When a snapshot is replaced: in each commit, or in the background after it."""

QUEUE_TIMEOUT_S = 0.5
"""How long a writer lets others go first after a conflict, at most, in seconds."""

_PIECE_BYTES = 1 << 18
_REFUSALS = "refusals"
_READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_IN_FORCE: Key = layout.REGISTRY_RECORD


Areas = Mapping[str, Callable[["Ledger"], "AreaLogs"]]
"""Opens the logs of areas for the feed, by their names, if they were not opened here yet."""


class RulesReplaced(VersionConflict):
    """The registry's rules changed between a decision and its commit. Nothing was written: decide again, under the new ones."""


class _Opened:
    """The state shared by the ledgers of one registry: each other, and the feed."""

    def __init__(self, first: Ledger, others: Areas) -> None:
        # Weak, so that a registry that is dropped without being closed closes its files at once.
        self._first = weakref.ref(first)
        self._first_name = first.name
        self.others = others
        self.areas: dict[str, AreaLogs] = {}
        self.lock = threading.Lock()
        self.feed: Feed | None = None

    def logs_of(self, area: str) -> AreaLogs | None:
        """The logs of an area as the feed reads them; None if its definition is unknown here."""
        if area == self._first_name:
            return self.first
        found = self.areas.get(area)
        if found is None and area in self.others:
            # Outside the lock: opening one may open another. Two threads may create one each: either will do.
            found = self.areas.setdefault(area, self.others[area](self.first))
        return found

    @property
    def first(self) -> Ledger:
        """The main ledger, which the others hold."""
        first = self._first()
        assert first is not None
        return first

    def names(self) -> list[str]:
        """The names of all known areas."""
        return list(dict.fromkeys((self._first_name, *self.areas, *self.others)))

    def acknowledged(self, area: str, stream: str) -> int:
        """The number of acknowledged bytes of a log; 0 if its definition is unknown here."""
        logs = self.logs_of(area)
        state = logs.load(stream) if logs is not None else None
        return state.position.size_bytes if state is not None else 0


class Ledger:
    """The logs of one area of a registry, under one definition. Safe to share between threads.

    backend: where the registry is. source: ``urn:uuid:`` and the registry's id. area: the name of the area, as `name`. document_bytes_max: the
    largest document of this registry. snapshots: `each` or
    `idle`. in_force: the bytes of `registry.json` that the definition was chosen by; every commit is made only while they hold, or
    name the same lifecycle (`same_lifecycle` of the old and the new bytes). others: see `Areas`.
    """

    def __init__(
        self,
        backend: Backend,
        source: str,
        definition: Definition,
        *,
        area: str = layout.MANIFESTS,
        document_bytes_max: int = DOCUMENT_BYTES_MAX,
        snapshots: Snapshots = "each",
        in_force: bytes | None = None,
        same_lifecycle: Callable[[bytes, bytes], bool] | None = None,
        others: Areas | None = None,
        opened: _Opened | None = None,
    ) -> None:
        self.backend = backend
        self.name = area
        self.source = source
        self.definition = definition
        self.document_bytes_max = document_bytes_max
        self.in_force = in_force
        self._same_lifecycle = same_lifecycle or _same_lifecycle
        self._logs = backend.logs
        self._hot = HotStates()
        self._doubtful: set[str] = set()
        self._behind: SnapshotsBehind | None = None
        if snapshots == "idle":
            from registration.storage.behind import SnapshotsBehind  # noqa: PLC0415  # a thread and its queue: for `idle` alone

            self._behind = SnapshotsBehind(self._write_behind)
        self._opened = opened or _Opened(self, others or {})
        self._first = None if opened is None else opened.first
        if opened is None and backend.mending is not None:
            backend.mending.acknowledge_by(self._opened.names, self._opened.acknowledged)

    @cached_property
    def _settling(self) -> Settling:
        from registration.storage.settling import Settling  # noqa: PLC0415  # most reads find nothing to settle

        return Settling(self.backend, self.source, self.definition, self.name)

    @property
    def records(self) -> Records:
        """The registry's records."""
        return self.backend.records

    def load(self, stream: str, *, waiting: bool = False) -> StateSnapshot | None:
        """The state after the last acknowledged event; None if there is none.

        One request to the backend (a `stat`) for a recently used state; no lock if the snapshot covers the log.

        waiting: wait for a writer in progress.

        Raises:
            CorruptLog: when the bytes are corrupt.
            LockTimeout: when another writer held the lock for too long.
            StoreError: when the bytes can't be read.
        """
        hot = self._hot.get(stream)
        if (
            hot is not None
            and not waiting
            and stream not in self._doubtful
            and self._logs.unmoved(self.name, stream, hot.mark)
        ):
            return hot.state
        return self._load(stream, waiting=waiting)

    def _load(self, stream: str, *, waiting: bool) -> StateSnapshot | None:
        layout.directory_of(stream)  # refuses invalid ids
        doubtful = stream in self._doubtful
        raw, mark = self._logs.found(self.name, stream)
        if raw is None and not mark.size_bytes and mark.seen is None:
            return None
        found = self._witness(raw, stream)
        folded: StateSnapshot | None = None
        if found.state is not None and not waiting and not doubtful and mark_of(found.covered) == mark:
            proved, folded = self._proved(stream, found.state)
            if proved:
                self._hot.put(stream, found.state, mark)
                return found.state
        try:
            recovered, mark = self._settling.settled(stream, whole=doubtful)
        except StoreError as error:
            # A snapshot that can't be healed here, since nothing may be written here: the log answers.
            cause = error.__cause__
            if folded is not None and isinstance(cause, OSError) and cause.errno in _READ_ONLY:
                return folded
            raise
        self._doubtful.discard(stream)
        if recovered.state is not None:
            self._hot.put(stream, recovered.state, mark)
        return recovered.state

    def _proved(self, stream: str, state: StateSnapshot) -> tuple[bool, StateSnapshot | None]:
        """Whether the log proves a snapshot that covers all of it; and the fold of the log, if that had to tell. Takes no lock.

        A snapshot of release 0.1, whose events do not have the hash of their state, is proved by the whole log.
        """

        def span(start: int, end: int) -> bytes:
            return self._logs.read(self.name, stream, start, end)

        if is_proved_by(span, state):
            return True, None
        folded = folded_in_pieces(
            self.definition, span, state.position.size_bytes, stream=stream, source=self.source
        )
        return folded is not None and encode_snapshot(folded) == encode_snapshot(state), folded

    def append(
        self,
        stream: str,
        after: Position,
        events: Sequence[Event],
        snapshot: StateSnapshot,
        *,
        given: Mapping[Key, bytes | None] = NOTHING_GIVEN,
    ) -> float:
        """Commit one command's events as one atomic batch, then store the snapshot.

        after: the position on which the decision is based. snapshot: the fold of the log with `events`. given: records that must still
        hold these bytes at the commit; see `Logs.append`.

        Returns the wait for other writers, in seconds.

        Raises:
            VersionConflict: when the log does not end at `after`, or a given record has changed. Nothing was written.
            RulesReplaced: when the registry's own record has changed, but not the lifecycle. Nothing was written.
            LockTimeout: when another writer held the lock for too long. Nothing was written.
            StoreError: on a disk error: the outcome is unknown, so load again. Also when another lifecycle was set in force, or an
                earlier write is in doubt; then nothing was written.
        """
        known = self._hot.get(stream) if after.version else None
        if known is None:
            layout.directory_of(stream)
        if stream in self._doubtful:
            raise StoreError(f"An earlier write to {stream!r} failed.", "Load it again before writing to it.")
        at = known.mark if known is not None and known.state.position == after else mark_of(after)
        data = b"".join([event.line for event in events])
        last = events[-1]
        size_bytes = after.size_bytes + len(data)
        line = encode_commit(
            self.name, stream, last.version, len(events), after.size_bytes, size_bytes, last.hash, last.time
        )
        note = Note(line, len(events))
        kept = None if self._behind is not None else encode_snapshot(snapshot)
        if self.in_force is not None and _IN_FORCE not in given:
            given = {_IN_FORCE: self.in_force, **given}
        try:
            mark, waited_s = self._commit(stream, at, data, note, kept, given)
        except Moved:
            self._hot.drop(stream)
            self._check_in_force(stream, after.version, given.get(_IN_FORCE))
            raise VersionConflict(stream, after.version) from None
        except BaseException as error:
            self._hot.drop(stream)
            if isinstance(error, Doubtful):
                self._doubtful.add(stream)
            raise
        self._hot.put(stream, snapshot, mark, before=known)
        if self._behind is not None:
            self._behind.add(stream, snapshot)
        return waited_s

    def _commit(
        self,
        stream: str,
        at: Mark,
        data: bytes,
        note: Note,
        snapshot: bytes | None,
        given: Mapping[Key, bytes | None],
    ) -> tuple[Mark, float]:
        """Append, and retry if the answer was lost: the backend knows by the bytes whether the first call succeeded."""
        append, area = self._logs.append, self.name
        try:
            return append(area, stream, at, data, note, snapshot=snapshot, given=given)
        except StoreError:
            if self.backend.mending is not None:  # a failed disk is not retried
                raise
            return append(area, stream, at, data, note, snapshot=snapshot, given=given, again=True)

    def _check_in_force(self, stream: str, version: int, decided_under: bytes | None) -> None:
        """Say so if a decision failed since the registry's own record has changed.

        A decision under a lifecycle that is no longer in force, because it was migrated, must not be retried; one under other rules is
        made again.
        """
        if decided_under is None:
            return
        found = self.records.read(_IN_FORCE)
        if found == decided_under:
            return
        if found is None:
            raise missing_record()
        if not self.follow(found):
            raise lifecycle_replaced()
        raise RulesReplaced(stream, version)

    def follow(self, found: bytes) -> bool:
        """Make later commits while the registry's own record has these bytes; False if they name another lifecycle, which is not followed."""
        if found != self.in_force:
            if self.in_force is not None and not self._same_lifecycle(self.in_force, found):
                return False
            self.in_force = found
        return True

    def _write_behind(self, stream: str, snapshot: StateSnapshot) -> None:
        """Store the snapshot of an earlier commit, unless the log has grown since."""
        self._logs.put_snapshot(self.name, stream, encode_snapshot(snapshot), mark_of(snapshot.position))

    def queue(self, stream: str) -> AbstractContextManager[float]:
        """Queue behind other writers that met a conflict, and stay in front during the block.

        A courtesy, so that a retried decision is not overtaken forever: correctness does not depend on it, and the wait is short and
        bounded. Yields the wait in seconds.
        """
        return self._logs.turn(self.name, stream, QUEUE_TIMEOUT_S)

    def read(self, stream: str) -> Iterator[Event]:
        """All acknowledged events of one log as of now, in order, each checked against the chain.

        Reads one piece of the log at a time, without a lock.

        Raises (while iterating):
            NotFound: when there is no such log.
            CorruptLog: at the first corrupt line; those before it have been yielded.
        """
        state = self.load(stream)
        if state is None:
            raise not_found(stream)
        place = Position()
        for line in self._lines(stream, state.position.size_bytes):
            try:
                event = decode_line(line, stream=stream, source=self.source, after=place)
            except BadLine as error:
                fault = Fault(place.version + 1, place.size_bytes, str(error), torn=False)
                raise corrupt(stream, fault, place.version, self.name) from None
            place = Position(event.version, place.size_bytes + len(line), event.hash)
            yield event
        if place != state.position:
            reason = f"it ends at version {place.version}, and its snapshot says {state.version}"
            fault = Fault(place.version, place.size_bytes, reason, torn=False)
            raise corrupt(stream, fault, place.version, self.name)

    def _lines(self, stream: str, size_bytes: int) -> Iterator[bytes]:
        rest, offset = b"", 0
        while offset < size_bytes:
            piece = self._logs.read(self.name, stream, offset, min(offset + _PIECE_BYTES, size_bytes))
            if not piece:
                break
            offset += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line + b"\n"
        if rest:
            yield rest

    def save(self, stream: str, snapshot: StateSnapshot) -> None:
        """Store a snapshot of the folded log, unless there is a later one.

        Raises:
            NotFound, CorruptLog, LockTimeout, StoreError: as above.
        """
        self._hot.drop(stream)
        if self._load(stream, waiting=False) is None:
            raise not_found(stream)
        # An earlier state is not stored: the log does not end there.
        self._logs.put_snapshot(self.name, stream, encode_snapshot(snapshot), mark_of(snapshot.position))

    def inspect(self, stream: str, *, quick: bool = False) -> Files:
        """The bytes as they are, unchanged and unchecked.

        Takes a lock only if the snapshot does not belong to this log: one is damaged, or a writer was interrupted or is running.

        quick: the log's size only.

        Raises:
            NotFound: when there is nothing at all.
            LockTimeout, StoreError: as above.
        """
        layout.directory_of(stream)
        return self._settling.inspect(stream, quick=quick)

    def span(self, stream: str, start: int, end: int) -> bytes:
        """The bytes of a log from an offset to another, unchecked; fewer if it ends earlier. Takes no lock.

        Raises:
            StoreError: when they can't be read.
        """
        return self._logs.read(self.name, stream, start, end)

    def recover(self, stream: str, *, dry_run: bool = False) -> Recovered:
        """Fold the whole log from its first byte, checking the chain, and rebuild the snapshot.

        Completes or sets aside what a crash interrupted. Idempotent: a second run ends in the same bytes.
        dry_run: only report the steps.

        Raises:
            CorruptLog, LockTimeout, StoreError: as above.
        """
        layout.directory_of(stream)
        if not dry_run:
            self._hot.drop(stream)
        recovered, _ = self._settling.settled(stream, whole=True, dry_run=dry_run, doing="recovering")
        if not dry_run:
            self._doubtful.discard(stream)
        return recovered

    def repair(self, stream: str, event: RepairEvent | None) -> Loss | None:
        """Truncate a damaged log to its intact events, setting the rest aside; None if nothing is damaged.

        event: returns the event that records the repair, which becomes the log's last; None: only report the loss. If it raises,
        nothing was changed.

        Raises:
            NotFound: when there is nothing at all.
            LockTimeout, StoreError: as above.
        """
        layout.directory_of(stream)
        loss = self._settling.repair(stream, event)
        if event is not None:
            self._hot.drop(stream)
            self._doubtful.discard(stream)
        return loss

    def delete(self, stream: str) -> bool:
        """Remove a stream with its log, irrevocably; False if there is none.

        No command ever removes anything of a manifest. Sessions hold personal data.

        Raises:
            LockTimeout: when another writer held the lock for too long. Nothing was removed.
            StoreError: on disk errors: retry, a half-done removal continues.
        """
        layout.directory_of(stream)
        self._hot.drop(stream)
        return self._logs.remove(self.name, stream)

    def streams(self) -> Iterator[str]:
        """The ids of all logs, sorted by their file names; some may hold no acknowledged event."""
        return self._logs.ids(self.name)

    def strays(self) -> Iterator[Stray]:
        """Files in the area that belong to none of its logs; for the manifests, also changed rules and the like."""
        return self.backend.mending.strays(self.name) if self.backend.mending is not None else iter(())

    # -- the registry of the area ----------------------------------------------------------------------

    def area(self, name: str, definition: Definition) -> Ledger:
        """The logs of another area of the same registry, under its own definition: the same object at every call.

        name: a directory name, such as ``aliases``.
        """
        opened = self._opened
        if name == opened.first.name:
            return opened.first
        with opened.lock:
            found = opened.areas.get(name)
            if not isinstance(found, Ledger):
                found = opened.areas[name] = self.under(definition, area=name)
            return found

    def under(self, definition: Definition, *, area: str | None = None) -> Ledger:
        """The logs of an area under a definition, as a private object: for areas whose streams have several definitions."""
        return Ledger(
            self.backend,
            self.source,
            definition,
            area=area or self.name,
            document_bytes_max=self.document_bytes_max,
            opened=self._opened,
        )

    def keep(self, kind: str, digest: str, value: Any) -> None:
        """Store a rule by its digest, durably and for good. Storing it twice is harmless.

        kind: one of `registration.storage.layout.RULE_KINDS`. value: its content, as JSON values.

        Raises:
            LockTimeout, StoreError: as above.
        """
        data = canonical(value)
        assert digest_of_bytes(data) == digest
        self.backend.blobs.put((layout.RULES, kind, layout.rule_file(digest)), data)

    def kept(self, kind: str, digest: str) -> Any:
        """The rule with that digest.

        Raises:
            NotFound: when there is none.
            CorruptRegistry: when its bytes have another digest.
        """
        return kept_rule(self.backend, kind, digest)

    def log_refusal(self, line: bytes) -> None:
        """Note a refusal: one line of JSON. Not synced: nothing was promised.

        Raises:
            StoreError: as above.
        """
        self.backend.lines.add(_REFUSALS, line)

    def refusals(self) -> Iterator[bytes]:
        """The noted lines, in order, without truncated ones."""
        return (line for line in self.backend.lines.all(_REFUSALS) if line.endswith(b"}\n"))

    def feed(
        self, after: str | None = None, *, limit: int | None = None, areas: Collection[str] | None = None
    ) -> Iterator[FeedEntry]:
        """The committed events of all streams after a cursor, as of now: each once, in commit order per stream.

        after: a cursor from the feed; None or ``start``: from the first event; ``now``: none. limit: at most so many. areas:
        events of other areas are skipped, and not looked up. After a power cut, events read before may come again, with the
        same ids.

        Raises (while iterating):
            InvalidArgument: when the cursor is invalid, or belongs to another feed.
            CorruptLog, UnknownEvent: when an event can't be read; the `cursor` in `details` is the position after it.
            LockTimeout, StoreError: as above. If one stream is unreadable, `details` always has its `area`, the `stream`, and the
                position `behind` the unreadable event.
        """
        yield from self._feed().entries(after, limit=limit, areas=areas)  # which keeps the ledger, besides

    def feed_end(self) -> str:
        """The cursor after the last event: every commit acknowledged so far is before it.

        Raises:
            LockTimeout, StoreError: as above.
        """
        return self.backend.order.end()

    def feed_backlog(self, after: str | None = None) -> Backlog:
        """The number of events after a cursor. A large number is counted without reading the logs.

        Raises:
            InvalidArgument, LockTimeout, StoreError: as `feed`.
        """
        return self._feed().backlog(after)

    def reconcile_feed(self) -> int:
        """Find events that the feed lacks, and add them at its end; returns their number.

        They come from an earlier release, or from a copied log. Events lost in a power cut are found by the first
        reader afterwards.

        Raises:
            LockTimeout, StoreError: as above.
        """
        return self.backend.mending.reconcile() if self.backend.mending is not None else 0

    def close(self) -> None:
        """Release everything, after writing the snapshots that are behind. Closing twice is harmless."""
        if self._behind is not None:
            self._behind.close()
        if self._first is None:
            for one in list(self._opened.areas.values()):
                if isinstance(one, Ledger):
                    one.close()
            self.backend.close()

    def _feed(self) -> Feed:
        opened = self._opened
        if opened.feed is None:
            from registration.storage.feed import Feed  # noqa: PLC0415  # most programs don't follow what they write

            opened.feed = Feed(self.backend, self.source, opened.logs_of)
        return opened.feed

    def _witness(self, raw: bytes | None, stream: str) -> Witness:
        return witness(raw, stream=stream, source=self.source, definition=self.definition)


def kept_rule(backend: Backend, kind: str, digest: str) -> Any:
    """See `Ledger.kept`: for reading a rule before there is a ledger."""
    file = layout.rule_file(digest)
    data = backend.blobs.get((layout.RULES, kind, file))
    if data is None:
        raise NotFound(
            f"{layout.RULES}/{kind} has no file with the digest {digest}.",
            "It belongs to another registry, or its file is missing: restore it from a backup.",
            digest=digest,
        )
    if digest_of_bytes(data) != digest:
        path = f"{layout.RULES}/{kind}/{file}"
        raise CorruptRegistry(
            f"{path} is damaged: its SHA-256 differs from its name.",
            "Restore the file from a backup.",
            path=path,
        )
    return orjson.loads(data)


def missing_record() -> CorruptRegistry:
    """The error of a registry whose own record has been removed."""
    return CorruptRegistry(
        f"{layout.REGISTRY_FILE} is missing; nothing was written.",
        "Restore it from a backup: each event has the registry's id as its `source`.",
        path=layout.REGISTRY_FILE,
    )


def _same_lifecycle(before: bytes, after: bytes) -> bool:
    return bool(orjson.loads(before).get("lifecycle") == orjson.loads(after).get("lifecycle"))


def lifecycle_replaced() -> StoreError:
    """The error of a decision under a lifecycle that is no longer in force."""
    return StoreError(
        "The registry's lifecycle was replaced meanwhile; nothing was written.", "Open the registry again."
    )


def not_found(stream: str) -> NotFound:
    """The error of a missing stream."""
    return NotFound(f"There is no manifest {stream!r}.", "Create it first.", manifest_id=stream)
