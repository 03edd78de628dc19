"""The store on plain files: one directory a manifest, its log and its snapshot.

`append` is the commit, top-down on one page. `load` is a read without a lock as long as the snapshot covers the whole
log; otherwise somebody is writing or has died, and `registration.stores.settling` finishes or sets aside what was left,
under the lock. Both keep to one rule: nothing is reported before it is on the disk.

The primitives are in `registration.disk`, the bytes in `registration.core.codec`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from registration import layout
from registration.core.codec import BadLine, Fault, decode_line, encode_snapshot
from registration.core.definition import Definition
from registration.core.store import Files, Loss, Record, Recovered, Stray
from registration.disk import (
    Disk,
    PosixDisk,
    failures_named,
    given_back,
    is_file,
    opened_directory,
    read_span,
    write_whole,
)
from registration.errors import (
    CorruptRegistry,
    LockTimeout,
    NotFound,
    RegistrationError,
    StoreError,
    VersionConflict,
)
from registration.recovery import Witness, corrupt, plan_repair, witness
from registration.stores.claims import FileClaims
from registration.stores.place import TEMPORARY_SNAPSHOT, Held, Place, let_go_by_children
from registration.stores.registry_file import RegistryFile, make_registry, read_registry
from registration.stores.rules import read_rule, stray_rules, sync_rule, write_rule
from registration.stores.settling import keep_snapshot, plan_for, refuse_orphan, repair, settle, witness_of
from registration.values.ids import id_of
from registration.values.snapshots import Position, StateSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registration.values.events import Event

_log = logging.getLogger("registration")

Resolve = Callable[[RegistryFile, Callable[[str, str], Any]], Definition]
"""From a registry's own file, and a way to read what it keeps by kind and digest, to its lifecycle."""

_READ_BYTES = 1 << 16
_LEFT = "a temporary file: a writer died, or is at work"


class FileStore:
    """The logs of one registry on plain files.

    root: the registry's directory. definition: the lifecycle, or how to get the one that the registry names. wanted: what
    to make there where there is no registry yet, with the lifecycle that it names; None: it must be there; `made` says
    which it was. lock_timeout_s: how long to wait for somebody else's lock. area: which directory of the registry the logs
    are in; the registry names the lifecycle of its manifests only.

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
        lock_timeout_s: float = 10.0,
        disk: Disk | None = None,
        area: str = layout.MANIFESTS,
    ) -> None:
        self.root = os.path.realpath(root)  # the root itself may be a link; below it none is followed
        self.disk: Disk = disk or PosixDisk()
        self.made = wanted is not None and make_registry(self.disk, self.root, wanted, lifecycle=lifecycle)
        self.registry = read_registry(self.disk, self.root)
        self._definition = (
            definition if isinstance(definition, Definition) else definition(self.registry, self.kept)
        )
        self._area = area
        if area == layout.MANIFESTS:
            _check_lifecycle(self.root, self.registry, self._definition)
        self._seen: tuple[int, ...] = ()  # not yet: it may have been replaced since it was read
        self._place = Place(
            self.disk, self.root, lock_timeout_s=lock_timeout_s, root_synced=self.made, area=area
        )
        self._claims = FileClaims(self.disk, self.root, lock_timeout_s=lock_timeout_s)
        self._lock_timeout_s = lock_timeout_s
        self._doubtful: set[str] = set()

    @property
    def source(self) -> str:
        """``urn:uuid:`` and the registry's id."""
        return self.registry.source

    @property
    def definition(self) -> Definition:
        """What the logs are folded with."""
        return self._definition

    @property
    def document_bytes_max(self) -> int:
        """How large a document this registry takes."""
        return self.registry.document_bytes_max

    def load(self, stream: str, *, waiting: bool = False) -> StateSnapshot | None:
        """See `Store.load`. Without a lock, and without opening the log, where the snapshot covers it.

        waiting: wait for whoever is writing at this moment.
        """
        with failures_named("reading", layout.log_path(stream)):
            try:
                with self._place.opened(stream) as directory:
                    found = self._witness(directory, stream)
                    log = self.disk.status_at(layout.LOG_FILE, dir_fd=directory)
            except FileNotFoundError:
                refuse_orphan(self._place, stream)
                return None
            covered = found.state is not None and found.covered.size_bytes == log.st_size and is_file(log)
            if covered and not waiting and stream not in self._doubtful:
                return found.state
            # An empty log is settled as well: that it was cut back may not be on the disk yet.
            with self._place.locked(stream) as held:
                state = settle(
                    self._place,
                    held,
                    source=self.source,
                    definition=self._definition,
                    from_first_byte=stream in self._doubtful,
                ).state
                self._doubtful.discard(stream)
                return state

    def append(self, stream: str, after: Position, events: Sequence[Event], snapshot: StateSnapshot) -> None:
        """See `Store.append`. When it returns, the events are on the disk and `state.json` is of them."""
        lines = b"".join(event.line for event in events)
        creating = after.version == 0
        with failures_named("writing", layout.log_path(stream)):
            if creating:
                self._check_in_force()  # and once more under the lock: nothing is made for who comes too late
                self._place.make(stream)
            absent = VersionConflict(stream, after.version, 0)
            with _absence_as(absent), self._place.locked(stream, create=creating) as held:
                if stream in self._doubtful:
                    raise StoreError(
                        f"An earlier write to {stream!r} failed.", "Load it again before writing to it."
                    )
                self._check_in_force()
                if not self._place.ends_at(held.log, after):
                    raise VersionConflict(stream, after.version)
                try:
                    write_whole(self.disk, held.log, lines)
                    self.disk.sync_data(held.log)
                    if creating:
                        self._place.sync(held)
                except OSError:
                    self._take_back(held, after.size_bytes)
                    raise
                # Committed. Nothing from here on may say that it isn't.
                keep_snapshot(self._place, held, snapshot)

    def read(self, stream: str) -> Iterator[Event]:
        """See `Store.read`. Holds one line in memory at a time, and no lock."""
        state = self.load(stream)
        if state is None:
            raise _not_found(stream)
        place = Position()
        with failures_named("reading", layout.log_path(stream)), self._place.opened(stream) as directory:
            log = self.disk.open(layout.LOG_FILE, os.O_RDONLY, dir_fd=directory)
        with given_back(self.disk, log):
            for line in self._lines(log, state.position.size_bytes, stream):
                try:
                    event = decode_line(line, stream=stream, source=self.source, after=place)
                except BadLine as error:
                    fault = Fault(place.version + 1, place.size_bytes, str(error), torn=False)
                    raise corrupt(stream, fault, place.version) from None
                place = Position(event.version, place.size_bytes + len(line), event.hash)
                yield event
        if place != state.position:
            reason = f"it ends at version {place.version}, and its snapshot says {state.version}"
            raise corrupt(stream, Fault(place.version, place.size_bytes, reason, torn=False), place.version)

    def save(self, stream: str, snapshot: StateSnapshot) -> None:
        """See `Store.save`."""
        with (
            failures_named("writing", layout.snapshot_path(stream)),
            _absence_as(_not_found(stream)),
            self._place.locked(stream) as held,
        ):
            kept = settle(self._place, held, source=self.source, definition=self._definition).state
            if kept is None:
                raise _not_found(stream)
            if kept.version <= snapshot.version:
                self._place.replace_snapshot(held, encode_snapshot(snapshot))

    def inspect(self, stream: str, *, quick: bool = False) -> Files:
        """See `Store.inspect`. Takes the lock only where the snapshot does not cover the log."""
        with failures_named("reading", layout.log_path(stream)):
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
        with failures_named("recovering", layout.log_path(stream)):
            try:
                with self._place.locked(stream, writing=not dry_run) as held:
                    if dry_run:
                        found = self._witness(held.directory, stream)
                        plan = plan_for(
                            self._place, held, found,
                            source=self.source, definition=self._definition, from_first_byte=True,
                        )  # fmt: skip
                        return Recovered(plan.state, tuple(plan.steps()))
                    recovered = settle(
                        self._place,
                        held,
                        source=self.source,
                        definition=self._definition,
                        from_first_byte=True,
                    )
                    self._doubtful.discard(stream)
                    return recovered
            except FileNotFoundError:
                refuse_orphan(self._place, stream)
                return Recovered(None)

    def repair(self, stream: str, record: Record | None) -> Loss | None:
        """See `Store.repair`."""
        with failures_named("repairing", layout.log_path(stream)):
            with suppress(FileNotFoundError), self._place.opened(stream) as directory:
                # A log that is missing beside its snapshot is damage as well; an empty one can be locked.
                snapshot = self._place.bytes_of(directory, layout.SNAPSHOT_FILE)
                create = snapshot is not None and record is not None
                with self._place.locked(stream, create=create, writing=record is not None) as held:
                    loss = repair(self._place, held, record, source=self.source, definition=self._definition)
                    self._doubtful.discard(stream)
                    return loss
            files = self.inspect(stream)
            return plan_repair(files, stream=stream, source=self.source, definition=self._definition)

    def streams(self) -> Iterator[str]:
        """See `Store.streams`. Names that no id has are passed over."""
        with failures_named("listing", self._area):
            try:
                with self._place.opened_manifests() as manifests:
                    names = sorted(self.disk.names(manifests))
            except FileNotFoundError:
                if self._area == layout.MANIFESTS:
                    raise
                names = []
        return (id for name in names if (id := id_of(name)) is not None)

    def strays(self) -> Iterator[Stray]:
        """See `Store.strays`."""
        with failures_named("listing", self.root):
            temporary = layout.REGISTRY_FILE + layout.TEMPORARY_SUFFIX
            with opened_directory(self.disk, self.root) as root:
                if temporary in self.disk.names(root) and self._area == layout.MANIFESTS:
                    yield Stray(temporary, _LEFT, unfinished=True)
            with suppress(FileNotFoundError), self._place.opened_manifests() as manifests:
                names = sorted(self.disk.names(manifests))
                for name in names:
                    path = f"{self._area}/{name}"
                    if id_of(name) is None:
                        yield Stray(path, "no id has this file name", unfinished=False)
                        continue
                    # What is not a directory is named by whoever reads that manifest.
                    with (
                        suppress(NotADirectoryError),
                        opened_directory(self.disk, name, dir_fd=manifests) as directory,
                    ):
                        yield from _of_nobody(self.disk.names(directory), path + "/")
            if self._area == layout.MANIFESTS:
                yield from stray_rules(self.disk, self.root)
                yield from self._claims.strays()

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
        """See `Store.beside`."""
        return FileStore(
            self.root, definition, lock_timeout_s=self._lock_timeout_s, disk=self.disk, area=area
        )

    @property
    def claims(self) -> FileClaims:
        """See `Store.claims`."""
        return self._claims

    def close(self) -> None:
        """See `Store.close`. Nothing is held open between calls."""

    def _signature(self) -> tuple[int, ...]:
        with failures_named("reading", layout.REGISTRY_FILE):
            found = self.disk.status_at(f"{self.root}/{layout.REGISTRY_FILE}")
        return (found.st_ino, found.st_size, found.st_mtime_ns)

    def _check_in_force(self) -> None:
        """Whoever decided under a lifecycle that is not in force any more, since it was migrated, has to open again."""
        if self._area != layout.MANIFESTS:
            return
        if (now := self._signature()) != self._seen:
            if read_registry(self.disk, self.root).lifecycle != self.registry.lifecycle:
                raise StoreError(
                    "Another version of the registry's lifecycle was put in force meanwhile; nothing was written.",
                    "Open the registry again.",
                )
            self._seen = now

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
            with failures_named("reading", layout.log_path(stream)):
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
            "Open it with its own lifecycle; `registration lifecycle migrate` puts another version in force.",
            definition=registry.definition,
        )
