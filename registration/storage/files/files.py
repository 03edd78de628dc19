"""The store on plain files: one directory a manifest, its log and its snapshot.

`append` is the commit, top-down on one page. `load` is a read without a lock as long as the snapshot covers the whole
log; otherwise somebody is writing or has died, and `registration.storage.files.settling` finishes or sets aside what was left,
under the lock. Both keep to one rule: nothing is reported before it is on the disk.

With snapshots `each`, `state.json` is current when `append` returns. With `idle` it follows in the background
(`registration.storage.files.behind`); nothing is less durable, and whoever reads meanwhile folds the end of the log.

The primitives are in `registration.storage.disk`, the bytes in `registration.core.codec`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from registration.core.codec import BadLine, Fault, decode_line, encode_snapshot
from registration.core.definition import Definition
from registration.core.store import Files, Loss, Record, Recovered, Stray
from registration.errors import (
    CorruptRegistry,
    LockTimeout,
    Next,
    NotFound,
    RegistrationError,
    StoreError,
    VersionConflict,
)
from registration.storage import layout
from registration.storage.disk import (
    Disk,
    PosixDisk,
    failure_named,
    failures_named,
    given_back,
    is_file,
    opened_directory,
    read_span,
    write_whole,
)
from registration.storage.files.areas import Areas
from registration.storage.files.behind import SnapshotsBehind
from registration.storage.files.claims import FileClaims
from registration.storage.files.feed.journal import Journal
from registration.storage.files.feed.segments import Segments
from registration.storage.files.hot import Hot, HotStates, signature
from registration.storage.files.place import TEMPORARY_SNAPSHOT, Held, Place, let_go_by_children
from registration.storage.files.registry_file import RegistryFile, make_registry, read_registry
from registration.storage.files.rules import read_rule, stray_rules, sync_rule, write_rule
from registration.storage.files.settling import (
    keep_prepared,
    keep_snapshot,
    plan_for,
    prepare_snapshot,
    refuse_orphan,
    repair,
    settle,
    witness_of,
)
from registration.storage.files.syncs import Syncs
from registration.storage.recovery import Witness, corrupt, plan_repair, witness
from registration.values.ids import id_of
from registration.values.snapshots import Position, StateSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registration.core.store import Backlog, ConsumerKeeper, FeedEntry
    from registration.storage.files.feed.reading import Feed, Logs
    from registration.values.events import Event

_log = logging.getLogger("registration")

Resolve = Callable[[RegistryFile, Callable[[str, str], Any]], Definition]
"""From a registry's own file, and a way to read what it keeps by kind and digest, to its lifecycle."""

Snapshots = Literal["each", "idle"]
"""When `state.json` is written: within each commit, or in the background after it."""

QUEUE_TIMEOUT_S = 0.5
"""How long a writer that met a conflict lets others go first, at most."""

_READ_BYTES = 1 << 16
_LEFT = "a temporary file: a writer died, or is at work"


class FileStore:
    """The logs of one registry on plain files.

    root: the registry's directory. definition: the lifecycle, or how to get the one that the registry names. wanted: what
    to make there where there is no registry yet, with the lifecycle that it names; None: it must be there; `made` says
    which it was. area: the directory that the streams are in. snapshots: `each` or `idle`. lock_timeout_s: how long to wait
    for somebody else's lock. others: by the areas that nobody has to have opened here, how the feed comes to their logs.

    Raises:
        NotFound: when there is no registry and none is wanted.
        CorruptRegistry: when `registry.json` is damaged or names another lifecycle.
        StoreError: when the disk refuses.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        definition: Definition | Resolve,
        *,
        wanted: RegistryFile | None = None,
        lifecycle: Any = None,
        area: str = layout.MANIFESTS,
        snapshots: Snapshots = "each",
        lock_timeout_s: float = 10.0,
        disk: Disk | None = None,
        others: Mapping[str, Callable[[FileStore], Logs]] | None = None,
    ) -> None:
        self.root = os.path.realpath(root)  # the root itself may be a link; below it none is followed
        self.disk: Disk = disk or PosixDisk()
        self.made = wanted is not None and make_registry(self.disk, self.root, wanted, lifecycle=lifecycle)
        self.registry = read_registry(self.disk, self.root)
        self._definition = (
            definition if isinstance(definition, Definition) else definition(self.registry, self.kept)
        )
        if area == layout.MANIFESTS:
            _check_lifecycle(self.root, self.registry, self._definition)
        self._seen: tuple[int, ...] = ()  # not yet: it may have been replaced since it was read
        self._registry_path = f"{self.root}/{layout.REGISTRY_FILE}"
        self._place = Place(
            self.disk, self.root, area=area, lock_timeout_s=lock_timeout_s, root_synced=self.made
        )
        self._claims = FileClaims(self.disk, self.root, lock_timeout_s=lock_timeout_s)
        self._lock_timeout_s = lock_timeout_s
        self._doubtful: set[str] = set()
        self._hot = HotStates()
        self._syncs = Syncs(self.disk)
        self._behind = SnapshotsBehind(self._write_behind) if snapshots == "idle" else None
        self.segments = Segments(self.disk, self.root, self.registry.source, lock_timeout_s=lock_timeout_s)
        self.journal = Journal(self.segments)
        self._beside = threading.Lock()
        self.areas: dict[str, FileStore] = {}
        """The stores of this registry's other areas, by the names that their commits are announced with."""
        self._others = others or {}
        self._followed: dict[str, Logs] = {}  # those of other areas that the feed has told of

    @property
    def source(self) -> str:
        """``urn:uuid:`` and the registry's id."""
        return self.registry.source

    @property
    def definition(self) -> Definition:
        """What the logs are folded with."""
        return self._definition

    @property
    def consumers(self) -> ConsumerKeeper:
        """See `Store.consumers`."""
        from registration.storage.files.feed.keeping import ConsumerFiles  # noqa: PLC0415  # as for `_feed`

        return ConsumerFiles(self.segments, self.root)

    @property
    def document_bytes_max(self) -> int:
        """How large a document this registry takes."""
        return self.registry.document_bytes_max

    def load(self, stream: str, *, waiting: bool = False) -> StateSnapshot | None:
        """See `Store.load`. One `stat` for a stream used lately; no lock where the snapshot covers the log.

        waiting: wait for whoever is writing at this moment.
        """
        known = self._hot.get(stream)
        try:
            if known is not None and not waiting and stream not in self._doubtful:
                with_log = f"{known.directory}/{layout.LOG_FILE}"
                if signature(self.disk.status_at(with_log)) == known.signature:
                    return known.state
        except OSError:
            pass  # whatever it is, the long way meets it again, and names it
        try:
            return self._load(stream, waiting=waiting)
        except OSError as error:
            raise failure_named("reading", self._place.log_path(stream), error) from error

    def _load(self, stream: str, *, waiting: bool) -> StateSnapshot | None:
        place = self._place
        try:
            with place.opened(stream) as directory:
                found = self._witness(directory, stream)
                log = self.disk.status_at(layout.LOG_FILE, dir_fd=directory)
        except FileNotFoundError:
            refuse_orphan(place, stream)
            return None
        covered = found.state is not None and found.covered.size_bytes == log.st_size and is_file(log)
        if covered and not waiting and stream not in self._doubtful:
            assert found.state is not None
            self._hot.put(stream, found.state, place.directory_path(stream), signature(log))
            return found.state
        # An empty log is settled as well: that it was cut back may not be on the disk yet.
        with place.locked(stream) as held:
            state = self._settle(held, from_first_byte=stream in self._doubtful).state
            if state is not None:
                now = self.disk.status(held.log)
                self._hot.put(stream, state, place.directory_path(stream), signature(now))
            return state

    def append(self, stream: str, after: Position, events: Sequence[Event], snapshot: StateSnapshot) -> float:
        """See `Store.append`. When it returns, the events are on the disk."""
        try:
            return self._append(stream, after, events, snapshot)
        except OSError as error:
            raise failure_named("writing", self._place.log_path(stream), error) from error

    def _append(
        self, stream: str, after: Position, events: Sequence[Event], snapshot: StateSnapshot
    ) -> float:
        lines = b"".join([event.line for event in events])
        creating = after.version == 0
        known = None if creating else self._hot.get(stream)
        held = self._hold(stream, after, known)
        try:
            if stream in self._doubtful:
                raise StoreError(
                    f"An earlier write to {stream!r} failed.", "Load it again before writing to it."
                )
            self._check_in_force()
            unmoved = (
                known is not None
                and signature(held.status) == known.signature
                and known.state.position == after
            )
            if not unmoved and not self._place.ends_at(held.log, after):
                raise VersionConflict(stream, after.version)
            self._announce(stream, after, events)
            try:
                write_whole(self.disk, held.log, lines)
                prepared = self._sync(held, snapshot, creating=creating)
            except OSError:
                self._take_back(held, after.size_bytes)
                raise
            # Committed. Nothing from here on may say that it isn't.
            if prepared:
                keep_prepared(self._place, held)
            directory = known.directory if known is not None else self._place.directory_path(stream)
            self._hot.put(stream, snapshot, directory, signature(self.disk.status(held.log)), before=known)
            if self._behind is not None:
                self._behind.add(stream, snapshot)
        except BaseException:
            self._hot.drop(stream)
            raise
        else:
            return held.waited_s
        finally:
            held.release()

    def _hold(self, stream: str, after: Position, known: Hot | None) -> Held:
        """The lock of the log that is to be written, made where it is the first event of its stream."""
        if after.version == 0:
            self._check_in_force()  # and once more under the lock: nothing is made for who comes too late
            self._place.make(stream)
            return self._place.hold(stream, create=True)
        try:
            held = None
            if known is not None:
                held = self._place.hold_known(known, with_directory=self._behind is None)
            return held or self._place.hold(stream)
        except FileNotFoundError:
            raise VersionConflict(stream, after.version, 0) from None

    def _sync(self, held: Held, snapshot: StateSnapshot, *, creating: bool) -> bool:
        """Bring what was written to the disk. This is the commit; whether a new snapshot is prepared beside the old one.

        Where the disk's syncs are slow, they overlap. The snapshot gets its name after the log is on the disk, never before.
        """
        prepare = None if self._behind is not None else partial(prepare_snapshot, self._place, held, snapshot)
        log = (self.disk.sync_data, held.log)
        if not creating:
            return self._syncs.all(log, beside=prepare)
        with self._place.opened_area() as area:
            sync = self.disk.sync
            return self._syncs.all(log, (sync, held.directory), (sync, area), beside=prepare)

    def _write_behind(self, stream: str, snapshot: StateSnapshot) -> None:
        """Keep the snapshot of a commit that was acknowledged before, unless the log has gone on since."""
        with suppress(FileNotFoundError), self._place.locked(stream) as held:
            if self._place.ends_at(held.log, snapshot.position):
                keep_snapshot(self._place, held, snapshot)

    def queue(self, stream: str) -> AbstractContextManager[float]:
        """See `Store.queue`."""
        return self._place.queued(stream, min(QUEUE_TIMEOUT_S, self._lock_timeout_s))

    def read(self, stream: str) -> Iterator[Event]:
        """See `Store.read`. Holds one line in memory at a time, and no lock."""
        state = self.load(stream)
        if state is None:
            raise _not_found(stream)
        place = Position()
        with failures_named("reading", self._place.log_path(stream)), self._place.opened(stream) as directory:
            log = self.disk.open(layout.LOG_FILE, os.O_RDONLY, dir_fd=directory)
        with given_back(self.disk, log):
            for line in self._lines(log, state.position.size_bytes, stream):
                try:
                    event = decode_line(line, stream=stream, source=self.source, after=place)
                except BadLine as error:
                    fault = Fault(place.version + 1, place.size_bytes, str(error), torn=False)
                    raise corrupt(stream, fault, place.version, self._place.area) from None
                place = Position(event.version, place.size_bytes + len(line), event.hash)
                yield event
        if place != state.position:
            reason = f"it ends at version {place.version}, and its snapshot says {state.version}"
            fault = Fault(place.version, place.size_bytes, reason, torn=False)
            raise corrupt(stream, fault, place.version, self._place.area)

    def save(self, stream: str, snapshot: StateSnapshot) -> None:
        """See `Store.save`."""
        with (
            failures_named("writing", layout.snapshot_path(stream, self._place.area)),
            _absence_as(_not_found(stream)),
            self._place.locked(stream) as held,
        ):
            self._hot.drop(stream)
            kept = self._settle(held, from_first_byte=False).state
            if kept is None:
                raise _not_found(stream)
            if kept.version <= snapshot.version:
                self._place.replace_snapshot(held, encode_snapshot(snapshot))

    def inspect(self, stream: str, *, quick: bool = False) -> Files:
        """See `Store.inspect`. Takes the lock only where the snapshot does not cover the log."""
        with failures_named("reading", self._place.log_path(stream)):
            try:
                with self._place.opened(stream) as directory:
                    files = self._files(directory, quick=quick)
                # As of what was read, not of what stands there by now: a writer may have been here meanwhile.
                found = witness(
                    files.snapshot, stream=stream, source=self.source, definition=self._definition
                )
                size = len(files.log) + files.unread_bytes
                if found.state is not None and found.covered.size_bytes == size:
                    return files
                with self._place.locked(stream, writing=False) as held:
                    return self._files(held.directory, quick=quick)
            except FileNotFoundError:
                with suppress(FileNotFoundError), self._place.opened(stream) as directory:
                    return Files(b"", self._place.bytes_of(directory, layout.SNAPSHOT_FILE))
                raise _not_found(stream) from None

    def recover(self, stream: str, *, dry_run: bool = False) -> Recovered:
        """See `Store.recover`."""
        with failures_named("recovering", self._place.log_path(stream)):
            try:
                with self._place.locked(stream, writing=not dry_run) as held:
                    if dry_run:
                        found = self._witness(held.directory, stream)
                        plan = plan_for(
                            self._place, held, found,
                            source=self.source, definition=self._definition, from_first_byte=True,
                        )  # fmt: skip
                        return Recovered(plan.state, tuple(plan.steps()))
                    self._hot.drop(stream)
                    return self._settle(held, from_first_byte=True)
            except FileNotFoundError:
                refuse_orphan(self._place, stream)
                return Recovered(None)

    def repair(self, stream: str, record: Record | None) -> Loss | None:
        """See `Store.repair`."""
        with failures_named("repairing", self._place.log_path(stream)):
            with suppress(FileNotFoundError), self._place.opened(stream) as directory:
                # A log that is missing beside its snapshot is damage as well; an empty one can be locked.
                snapshot = self._place.bytes_of(directory, layout.SNAPSHOT_FILE)
                create = snapshot is not None and record is not None
                with self._place.locked(stream, create=create, writing=record is not None) as held:
                    self._hot.drop(stream)
                    loss = repair(
                        self._place,
                        held,
                        record,
                        source=self.source,
                        definition=self._definition,
                        announce=self._announce,
                    )
                    self._doubtful.discard(stream)
                    return loss
            files = self.inspect(stream)
            return plan_repair(files, stream=stream, source=self.source, definition=self._definition)

    def delete(self, stream: str) -> bool:
        """Remove a stream for good, its log included; False where there is none.

        Nothing of a manifest is ever removed, and no command does so. Sessions hold what people said about themselves.

        Raises:
            LockTimeout: when somebody else held the lock for too long. Nothing was removed.
            StoreError: when the disk failed: try again, what is half removed goes on.
        """
        with failures_named("removing", self._place.log_path(stream)):
            try:
                with self._place.locked(stream) as held:
                    self._hot.drop(stream)
                    self._place.remove(held)
            except FileNotFoundError:
                return False
            return True

    def streams(self) -> Iterator[str]:
        """See `Store.streams`. Names that no id has are passed over."""
        with failures_named("listing", self._place.area):
            try:
                with self._place.opened_area() as manifests:
                    names = sorted(self.disk.names(manifests))
            except FileNotFoundError:
                if self._place.area == layout.MANIFESTS:
                    raise
                names = []
        return (id for name in names if (id := id_of(name)) is not None)

    def strays(self) -> Iterator[Stray]:
        """See `Store.strays`."""
        with failures_named("listing", self.root):
            temporary = layout.REGISTRY_FILE + layout.TEMPORARY_SUFFIX
            with opened_directory(self.disk, self.root) as root:
                if temporary in self.disk.names(root) and self._place.area == layout.MANIFESTS:
                    yield Stray(temporary, _LEFT, unfinished=True)
            with suppress(FileNotFoundError), self._place.opened_area() as manifests:
                names = sorted(self.disk.names(manifests))
                for name in names:
                    path = f"{self._place.area}/{name}"
                    if id_of(name) is None:
                        yield Stray(path, "no id has this file name", unfinished=False)
                        continue
                    # What is not a directory is named by whoever reads that manifest.
                    with (
                        suppress(NotADirectoryError),
                        opened_directory(self.disk, name, dir_fd=manifests) as directory,
                    ):
                        yield from _of_nobody(self.disk.names(directory), path + "/")
            if self._place.area == layout.MANIFESTS:
                yield from stray_rules(self.disk, self.root)
                yield from self._claims.strays()

    def feed(
        self, after: str | None = None, *, limit: int | None = None, areas: Collection[str] | None = None
    ) -> Iterator[FeedEntry]:
        """See `Store.feed`."""
        return self._feed().entries(after, limit=limit, areas=areas)

    def feed_end(self) -> str:
        """See `Store.feed_end`."""
        return self._feed().end()

    def feed_backlog(self, after: str | None = None) -> Backlog:
        """See `Store.feed_backlog`."""
        return self._feed().backlog(after)

    def reconcile_feed(self) -> int:
        """See `Store.reconcile_feed`."""
        return self._feed().reconcile()

    def log_bytes(self, stream: str, start: int, end: int) -> bytes:
        """A log's bytes from `start` to `end`, as they stand; fewer where it ends before, none where there is none."""
        with failures_named("reading", self._place.log_path(stream)), suppress(FileNotFoundError):
            with self._place.opened(stream) as directory:
                log = self.disk.open(layout.LOG_FILE, os.O_RDONLY, dir_fd=directory)
            with given_back(self.disk, log):
                return read_span(self.disk, log, start, end)
        return b""

    def log_sizes(self) -> Iterator[tuple[str, int]]:
        """The ids of all logs, each with its size as it stands, in no order. Holds none of them in memory."""
        with failures_named("listing", self._place.area), self._place.opened_area() as manifests:
            for name in self.disk.each_name(manifests):
                if (id := id_of(name)) is not None:
                    with suppress(FileNotFoundError, NotADirectoryError):
                        log = self.disk.status_at(f"{name}/{layout.LOG_FILE}", dir_fd=manifests)
                        yield id, log.st_size

    def keep(self, kind: str, digest: str, value: Any) -> None:
        """See `Store.keep`."""
        with failures_named("keeping the rules in", self.root):
            if sync_rule(self.disk, self.root, kind, digest):
                return
            with opened_directory(self.disk, self.root) as root, let_go_by_children(self.disk, root):
                if not self.disk.lock(root, self._lock_timeout_s):
                    raise LockTimeout(self.root, self._lock_timeout_s)
                write_rule(self.disk, root, kind, digest, value)

    def kept(self, kind: str, digest: str) -> Any:
        """See `Store.kept`."""
        with failures_named("reading the rules in", self.root):
            return read_rule(self.disk, self.root, kind, digest)

    def log_refusal(self, line: bytes) -> None:
        """See `Store.log_refusal`."""
        with failures_named("writing", layout.REFUSALS_FILE), opened_directory(self.disk, self.root) as root:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with given_back(self.disk, self.disk.open(layout.REFUSALS_FILE, flags, dir_fd=root)) as fd:
                write_whole(self.disk, fd, line)

    def refusals(self) -> Iterator[bytes]:
        """See `Store.refusals`."""
        with failures_named("reading", layout.REFUSALS_FILE), opened_directory(self.disk, self.root) as root:
            raw = self._place.bytes_of(root, layout.REFUSALS_FILE) or b""
        return (line for line in raw.splitlines(keepends=True) if line.endswith(b"}\n"))

    def beside(self, area: str, definition: Definition) -> FileStore:
        """See `Store.beside`. They announce their commits in the same feed."""
        with self._beside:
            if area not in self.areas:
                store = FileStore(
                    self.root, definition, area=area, lock_timeout_s=self._lock_timeout_s, disk=self.disk
                )
                store.segments, store.journal = self.segments, self.journal
                self.areas[area] = store
            return self.areas[area]

    @property
    def claims(self) -> FileClaims:
        """See `Store.claims`."""
        return self._claims

    def close(self) -> None:
        """See `Store.close`. Snapshots that are behind are written. Between calls, only the feed's segment is held open."""
        if self._behind is not None:
            self._behind.close()
        for store in self.areas.values():
            store.close()
        self._syncs.close()
        self.journal.close()

    def _settle(self, held: Held, *, from_first_byte: bool) -> Recovered:
        recovered = settle(
            self._place,
            held,
            source=self.source,
            definition=self._definition,
            from_first_byte=from_first_byte,
        )
        self._doubtful.discard(held.stream)
        return recovered

    def _signature(self) -> tuple[int, ...]:
        try:
            found = self.disk.status_at(self._registry_path)
        except OSError as error:
            raise failure_named("reading", layout.REGISTRY_FILE, error) from error
        return (found.st_ino, found.st_size, found.st_mtime_ns)

    def _check_in_force(self) -> None:
        """Whoever decided under a lifecycle that is not in force any more, since it was migrated, has to open again."""
        if self._place.area != layout.MANIFESTS:
            return
        if (now := self._signature()) != self._seen:
            if read_registry(self.disk, self.root).lifecycle != self.registry.lifecycle:
                raise StoreError(
                    "Another version of the registry's lifecycle was put in force meanwhile; nothing was written.",
                    "Open the registry again.",
                )
            self._seen = now

    def _feed(self) -> Feed:
        from registration.storage.files.feed.reading import Feed  # noqa: PLC0415  # most programs don't follow what they write

        self._followed |= self.areas
        areas = Areas(self._place.area, self, self._others, opened=self._followed)
        return Feed(self.segments, areas, self.journal)

    def _announce(self, stream: str, after: Position, events: Sequence[Event]) -> None:
        """Tell the feed of a commit that is about to be written. Where that fails, nothing was written."""
        last = events[-1]
        self.journal.note(
            self._place.area,
            stream,
            version=last.version,
            count=len(events),
            start_bytes=after.size_bytes,
            size_bytes=after.size_bytes + sum(len(event.line) for event in events),
            head=last.hash,
            time=last.time,
        )

    def _witness(self, directory: int, stream: str) -> Witness:
        return witness_of(self._place, directory, stream, source=self.source, definition=self._definition)

    def _files(self, directory: int, *, quick: bool) -> Files:
        # The snapshot first: the log never ends before it does.
        snapshot = self._place.bytes_of(directory, layout.SNAPSHOT_FILE)
        if quick:
            return Files(b"", snapshot, self.disk.status_at(layout.LOG_FILE, dir_fd=directory).st_size)
        return Files(self._place.bytes_of(directory, layout.LOG_FILE) or b"", snapshot)

    def _take_back(self, held: Held, size_bytes: int) -> None:
        """Undo a write or a sync that failed.

        The sync is not tried again as if nothing had happened: the kernel may have dropped the pages and call the rest
        clean. The log is cut back, and the cut synced. Where that fails as well, nobody knows what the disk
        has: this store refuses writes until the manifest was read afresh, and the snapshot is removed, so that every
        other reader looks at the log, and writes it once more, before believing it.
        """
        try:
            self._place.cut(held, size_bytes)
        except OSError as error:
            self._doubtful.add(held.stream)
            _log.warning("%s: a failed write could not be taken back: %s", held.stream, error)
            with suppress(OSError):
                self.disk.unlink(layout.SNAPSHOT_FILE, dir_fd=held.directory)

    def _lines(self, log: int, size_bytes: int, stream: str) -> Iterator[bytes]:
        rest, offset = b"", 0
        while offset < size_bytes:
            with failures_named("reading", self._place.log_path(stream)):
                piece = read_span(self.disk, log, offset, min(offset + _READ_BYTES, size_bytes))
            if not piece:
                break
            offset += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line + b"\n"
        if rest:
            yield rest


def _of_nobody(names: list[str], above: str) -> Iterator[Stray]:
    for name in sorted(names):
        if name == TEMPORARY_SNAPSHOT:
            yield Stray(above + name, _LEFT, unfinished=True)
        elif name not in layout.OF_A_MANIFEST:
            yield Stray(above + name, "it is none of the registry's files", unfinished=False)


@contextmanager
def _absence_as(error: RegistrationError) -> Iterator[None]:
    """What it means that a manifest's directory or log is not there."""
    try:
        yield
    except FileNotFoundError:
        raise error from None


def _not_found(stream: str) -> NotFound:
    return NotFound(f"There is no manifest {stream!r}.", "Create it first.", manifest_id=stream)


def _check_lifecycle(root: str, registry: RegistryFile, definition: Definition) -> None:
    named = registry.lifecycle
    if registry.definition != definition.name or (
        named is not None and named["digest"] != definition.identity["digest"]
    ):
        version = f" version {named['version']}" if named is not None else ""
        raise CorruptRegistry(
            f"The registry at {root} is for the lifecycle {registry.definition!r}{version}, not for "
            f"{definition.name!r} version {definition.version} as it was given.",
            "Open it with its own lifecycle, or put another version in force.",
            Next(operation="lifecycle.migrate", missing=("file",)),
            definition=registry.definition,
        )
