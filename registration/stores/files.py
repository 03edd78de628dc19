"""The store on plain files: one directory a manifest, its log and its snapshot.

`append` is the commit, top-down on one page. `load` is a read without a lock as long as the snapshot covers
the whole log; otherwise somebody is writing or has died, and `_settle` finishes or sets aside what was left,
under the lock. Both keep to one rule: nothing is reported before it is on the disk.

The lock is on the log, not on the snapshot: replacing a locked file would swap the locked inode away.
The primitives are in `registration.disk`, the bytes in `registration.core.codec`.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration import layout
from registration.core.codec import (
    TAIL_BYTES,
    BadLine,
    BadSnapshot,
    Fault,
    decode_line,
    decode_snapshot,
    encode_snapshot,
    head_of_tail,
    scan,
)
from registration.core.decider import fold
from registration.core.store import Files, Recovered
from registration.disk import (
    Disk,
    PosixDisk,
    ensure_directory,
    failures_named,
    is_file,
    opened_directory,
    read_span,
    read_whole,
    replace_atomic,
    write_whole,
)
from registration.errors import (
    CorruptLog,
    CorruptRegistry,
    LockTimeout,
    NotFound,
    StoreError,
    VersionConflict,
)
from registration.stores.registry_file import RegistryFile, make_registry, read_registry
from registration.values.ids import id_of
from registration.values.snapshots import Position, StateSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registration.core.definition import Definition
    from registration.values.events import Event

_log = logging.getLogger("registration")

_TEMPORARY = layout.SNAPSHOT_FILE + layout.TEMPORARY_SUFFIX
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class _Held:
    """One manifest under its lock: the open directory and the open log."""

    stream: str
    directory: int
    log: int


class FileStore:
    """The logs of one registry on plain files.

    root: the registry's directory. wanted: what to make there where there is no registry yet; None: it must
    be there; `made` says which it was. lock_timeout_s: how long to wait for somebody else's lock.

    Raises:
        NotFound: when there is no registry and none is wanted.
        CorruptRegistry: when `registry.json` is damaged or names another lifecycle.
        StoreError: when the disk refuses.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        definition: Definition,
        *,
        wanted: RegistryFile | None = None,
        lock_timeout_s: float = 10.0,
        disk: Disk | None = None,
    ) -> None:
        self.root = os.path.realpath(root)  # the root itself may be a link; below it none is followed
        self._disk = disk or PosixDisk()
        self._definition = definition
        self._lock_timeout_s = lock_timeout_s
        self.made = wanted is not None and make_registry(self._disk, self.root, wanted)
        self._root_synced = self.made
        self.registry = read_registry(self._disk, self.root)
        if self.registry.definition != definition.name:
            raise CorruptRegistry(
                f"The registry at {self.root} is for the lifecycle {self.registry.definition!r}, not "
                f"{definition.name!r}.",
                "Open it with its own lifecycle.",
                definition=self.registry.definition,
            )
        self._manifests = os.path.join(self.root, layout.MANIFESTS)

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

    def load(self, stream: str) -> StateSnapshot | None:
        """See `Store.load`. Without a lock where the snapshot covers the log: four system calls and a read."""
        with failures_named("reading", layout.log_path(stream)):
            try:
                with opened_directory(self._disk, self._directory(stream)) as directory:
                    snapshot, _ = self._kept(directory, stream)
                    log = self._disk.status_at(layout.LOG_FILE, dir_fd=directory)
            except FileNotFoundError:
                self._refuse_orphan(stream)
                return None
            if snapshot is not None and snapshot.position.size_bytes == log.st_size and is_file(log):
                return snapshot
            if snapshot is None and log.st_size == 0:
                self._refuse_orphan(stream)
                return None
            with self._locked(stream) as held:
                return self._settle(held).state

    def append(self, stream: str, after: Position, events: Sequence[Event], snapshot: StateSnapshot) -> None:
        """See `Store.append`. When it returns, the events are on the disk and `state.json` is of them."""
        lines = b"".join(event.line for event in events)
        with failures_named("writing", layout.log_path(stream)):
            if after.version == 0:
                self._make_place(stream)
            with self._locked(stream, create=after.version == 0) as held:
                if not self._ends_at(held.log, after):
                    raise VersionConflict(stream, after.version)
                try:
                    write_whole(self._disk, held.log, lines)
                    self._disk.sync_data(held.log)
                    if after.version == 0:
                        self._sync_place(held.directory)
                except OSError:
                    # Never synced again as if nothing had happened: the kernel may have dropped the pages.
                    self._cut(held, after.size_bytes)
                    raise
                # Committed. Nothing from here on may say that it isn't.
                self._keep(held, snapshot)

    def read(self, stream: str) -> Iterator[Event]:
        """See `Store.read`. Holds one line in memory at a time, and no lock."""
        state = self.load(stream)
        if state is None:
            raise _not_found(stream)
        place = Position()
        with failures_named("reading", layout.log_path(stream)):
            directory = self._disk.open(self._directory(stream), os.O_RDONLY | os.O_DIRECTORY)
            try:
                log = self._disk.open(layout.LOG_FILE, os.O_RDONLY, dir_fd=directory)
            finally:
                self._disk.close(directory)
        try:
            for line in self._lines(log, state.position.size_bytes, stream):
                try:
                    event = decode_line(line, stream=stream, source=self.source, after=place)
                except BadLine as error:
                    fault = Fault(place.version + 1, place.size_bytes, str(error), torn=False)
                    raise _corrupt(stream, fault, place.version) from None
                place = Position(event.version, place.size_bytes + len(line), event.hash)
                yield event
        finally:
            self._disk.close(log)
        if place != state.position:
            reason = f"it ends at version {place.version}, and its snapshot says {state.version}"
            raise _corrupt(stream, Fault(place.version, place.size_bytes, reason, torn=False), place.version)

    def save(self, stream: str, snapshot: StateSnapshot) -> None:
        """See `Store.save`."""
        with failures_named("writing", layout.snapshot_path(stream)), self._locked(stream) as held:
            kept = self._settle(held).state
            if kept is None:
                raise _not_found(stream)
            if kept.version <= snapshot.version:
                self._replace_snapshot(held, snapshot)

    def inspect(self, stream: str) -> Files:
        """See `Store.inspect`. Takes the lock only where the snapshot does not cover the log."""
        with failures_named("reading", layout.log_path(stream)):
            try:
                with opened_directory(self._disk, self._directory(stream)) as directory:
                    files = self._files(directory)
                    kept, _ = self._kept(directory, stream)
                    if kept is not None and kept.position.size_bytes == len(files.log):
                        return files
                with self._locked(stream, writing=False) as held:
                    return self._files(held.directory)
            except FileNotFoundError:
                with (
                    suppress(FileNotFoundError),
                    opened_directory(self._disk, self._directory(stream)) as directory,
                ):
                    return Files(b"", self._bytes(directory, layout.SNAPSHOT_FILE))
                raise _not_found(stream) from None

    def recover(self, stream: str) -> Recovered:
        """See `Store.recover`."""
        with failures_named("recovering", layout.log_path(stream)):
            try:
                with self._locked(stream) as held:
                    return self._settle(held, from_first_byte=True)
            except FileNotFoundError:
                self._refuse_orphan(stream)
                return Recovered(None)

    def streams(self) -> Iterator[str]:
        """See `Store.streams`. Names that no id has are passed over."""
        with (
            failures_named("listing", self._manifests),
            opened_directory(self._disk, self._manifests) as manifests,
        ):
            names = sorted(self._disk.names(manifests))
        return (id for name in names if (id := id_of(name)) is not None)

    def close(self) -> None:
        """See `Store.close`. Nothing is held open between calls."""

    # -- settling what a writer left -------------------------------------------------------------------

    def _settle(self, held: _Held, *, from_first_byte: bool = False) -> Recovered:  # noqa: C901  # the recovery table, row by row
        """Under the lock: believe what can be believed, set the rest aside, keep the snapshot.

        Either ends with log and snapshot in agreement and on the disk, or changes nothing and raises. Killed
        at any point, it does the same again the next time.
        """
        stream, disk = held.stream, self._disk
        kept, unreadable = self._kept(held.directory, stream)
        size = disk.status(held.log).st_size
        covered = kept.position if kept else Position()
        if covered.size_bytes == size and kept and not from_first_byte:
            return Recovered(kept)
        if covered.size_bytes > size:
            reason = f"it has {size} bytes, and its snapshot (version {covered.version}) covers {covered.size_bytes}"
            raise _corrupt(stream, Fault(0, size, reason, torn=False), 0)
        base = None if from_first_byte else kept
        start = base.position if base else Position()
        data = read_whole(disk, held.log, start.size_bytes)
        found = scan(data, stream=stream, source=self.source, after=start)
        if found.fault and (not found.fault.torn or found.position.size_bytes < covered.size_bytes):
            raise _corrupt(stream, found.fault, found.position.version)
        state = fold(self._definition, base, found.events)
        if state is None and unreadable is not None:
            reason = "it holds no event, and yet a snapshot of it stands beside it"
            raise _corrupt(stream, Fault(0, 0, reason, torn=False), 0)
        done = []
        whole = found.position.size_bytes
        if whole > covered.size_bytes:
            self._make_durable(
                held, data[covered.size_bytes - start.size_bytes : whole - start.size_bytes], covered
            )
            versions = f"version {found.position.version}"
            done.append(f"{versions} was in the log and not in the snapshot; it is written and synced")
        if found.fault:
            done.append(self._set_aside(held, data[whole - start.size_bytes :], whole, found.fault))
        if unreadable:
            done.append(f"the snapshot was unusable ({unreadable}) and is made anew")
        elif state is not None and kept is not None and from_first_byte and not _agrees(kept, state):
            done.append(
                f"the snapshot of version {kept.version} was not what the log folds to; it is made anew"
            )
        if state is not None:
            self._keep(held, state)
        with suppress(FileNotFoundError):
            disk.unlink(_TEMPORARY, dir_fd=held.directory)
            done.append("an interrupted snapshot was removed")
        for what in done:
            _log.info("%s: %s", stream, what)
        return Recovered(state, tuple(done))

    def _make_durable(self, held: _Held, tail: bytes, covered: Position) -> None:
        """Write a tail that no snapshot covers once more in place, and sync it.

        A killed writer leaves lines that only the page cache has; one whose sync failed leaves lines that the
        cache calls clean and the disk never got. The same bytes again make the pages dirty again.
        """
        # Through a descriptor of its own: on one opened with O_APPEND, a write at an offset appends.
        fd = self._disk.open(layout.LOG_FILE, os.O_WRONLY, dir_fd=held.directory)
        try:
            offset = covered.size_bytes
            while tail:
                taken = self._disk.write_at(fd, tail, offset)
                tail, offset = tail[taken:], offset + taken
            self._disk.sync_data(fd)
        finally:
            self._disk.close(fd)
        if covered.version == 0:
            self._sync_root()
            self._sync_place(held.directory)

    def _set_aside(self, held: _Held, torn: bytes, offset_bytes: int, fault: Fault) -> str:
        """Keep the remains of an unacknowledged command in `quarantine/`, then cut them off the log."""
        name = layout.quarantine_file(offset_bytes, torn)
        own = layout.directory_of(held.stream)
        with opened_directory(self._disk, self.root) as root:
            ensure_directory(self._disk, layout.QUARANTINE, dir_fd=root)
            with opened_directory(self._disk, layout.QUARANTINE, dir_fd=root) as quarantine:
                ensure_directory(self._disk, own, dir_fd=quarantine)
                with opened_directory(self._disk, own, dir_fd=quarantine) as place:
                    replace_atomic(self._disk, place, name, name + layout.TEMPORARY_SUFFIX, torn)
                    self._disk.sync(place)
        self._disk.truncate(held.log, offset_bytes)
        self._disk.sync(held.log)
        path = f"{layout.QUARANTINE}/{own}/{name}"
        _log.warning(
            "%s: %d bytes at byte %d were the remains of a write that was never acknowledged (%s); kept as %s",
            held.stream, len(torn), offset_bytes, fault.reason, path,
        )  # fmt: skip
        return f"{len(torn)} bytes of an unfinished write, from byte {offset_bytes}, were moved to {path}"

    def _refuse_orphan(self, stream: str) -> None:
        """Where there is no log there is no manifest, unless a snapshot tells of one: that is damage."""
        with suppress(FileNotFoundError), opened_directory(self._disk, self._directory(stream)) as directory:
            if layout.SNAPSHOT_FILE in self._disk.names(directory):
                with suppress(FileNotFoundError):
                    if self._disk.status_at(layout.LOG_FILE, dir_fd=directory).st_size:
                        return
                reason = "the log is missing or empty, and yet a snapshot of it stands beside it"
                raise _corrupt(stream, Fault(0, 0, reason, torn=False), 0)

    # -- the pieces --------------------------------------------------------------------------------------

    def _directory(self, stream: str) -> str:
        return f"{self._manifests}/{layout.directory_of(stream)}"

    @contextmanager
    def _locked(self, stream: str, *, create: bool = False, writing: bool = True) -> Iterator[_Held]:
        """Hold a manifest's lock. Raises FileNotFoundError where there is no log and none is to be created."""
        disk = self._disk
        flags = (os.O_RDWR | os.O_APPEND if writing else os.O_RDONLY) | (os.O_CREAT if create else 0)
        with opened_directory(disk, self._directory(stream)) as directory:
            while True:
                log = disk.open(layout.LOG_FILE, flags, dir_fd=directory)
                try:
                    if not disk.lock(log, self._lock_timeout_s):
                        raise LockTimeout(stream, self._lock_timeout_s)
                    mine, there = disk.status(log), disk.status_at(layout.LOG_FILE, dir_fd=directory)
                    if not is_file(mine):
                        raise StoreError(f"{layout.log_path(stream)} is not a plain file.", "Move it away.")
                    # A copy tool may have put another file there while we waited: that one is the log.
                    if (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev):
                        yield _Held(stream, directory, log)
                        return
                finally:
                    with suppress(OSError):  # after a good sync, an error here is not a failed commit
                        disk.close(log)

    def _kept(self, directory: int, stream: str) -> tuple[StateSnapshot | None, str | None]:
        """The snapshot, or why the one that stands there is of no use."""
        raw = self._bytes(directory, layout.SNAPSHOT_FILE)
        if raw is None:
            return None, None
        try:
            return decode_snapshot(
                raw, stream=stream, source=self.source, definition=self._definition.name
            ), None
        except BadSnapshot as error:
            return None, str(error)

    def _bytes(self, directory: int, name: str) -> bytes | None:
        try:
            fd = self._disk.open(name, os.O_RDONLY, dir_fd=directory)
        except FileNotFoundError:
            return None
        try:
            return read_whole(self._disk, fd)
        finally:
            self._disk.close(fd)

    def _files(self, directory: int) -> Files:
        snapshot = self._bytes(directory, layout.SNAPSHOT_FILE)  # first: the log never ends before it does
        return Files(self._bytes(directory, layout.LOG_FILE) or b"", snapshot)

    def _lines(self, log: int, size_bytes: int, stream: str) -> Iterator[bytes]:
        rest, offset = b"", 0
        while offset < size_bytes:
            with failures_named("reading", layout.log_path(stream)):
                piece = read_span(self._disk, log, offset, min(offset + _READ_BYTES, size_bytes))
            if not piece:
                break
            offset += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line + b"\n"
        if rest:
            yield rest

    def _ends_at(self, log: int, after: Position) -> bool:
        """Whether the log is the very one that a decision was made on: its size, and the hash it ends in."""
        if self._disk.status(log).st_size != after.size_bytes:
            return False
        tail = self._disk.read(log, TAIL_BYTES, max(0, after.size_bytes - TAIL_BYTES))
        return head_of_tail(tail) == after.head

    def _cut(self, held: _Held, size_bytes: int) -> None:
        """Take back a write that failed. Where that fails too, the next `load` finds and settles it."""
        try:
            self._disk.truncate(held.log, size_bytes)
            self._disk.sync(held.log)
        except OSError as error:
            _log.error(
                "%s: a failed write could not be taken back: %s", held.stream, error
            )  # the first error is the one that is raised

    def _keep(self, held: _Held, snapshot: StateSnapshot) -> None:
        """Replace `state.json`. It is a cache: where that fails, the next `load` makes it again."""
        try:
            self._replace_snapshot(held, snapshot)
        except OSError as error:
            _log.warning("%s: the snapshot could not be written, and will be: %s", held.stream, error)

    def _replace_snapshot(self, held: _Held, snapshot: StateSnapshot) -> None:
        replace_atomic(
            self._disk, held.directory, layout.SNAPSHOT_FILE, _TEMPORARY, encode_snapshot(snapshot)
        )

    def _make_place(self, stream: str) -> None:
        """A directory for a new manifest; synced by `_sync_place`, once its log is in it."""
        self._sync_root()
        with suppress(FileExistsError), opened_directory(self._disk, self._manifests) as manifests:
            self._disk.make_directory(layout.directory_of(stream), 0o700, dir_fd=manifests)

    def _sync_place(self, directory: int) -> None:
        self._disk.sync(directory)
        with opened_directory(self._disk, self._manifests) as manifests:
            self._disk.sync(manifests)

    def _sync_root(self) -> None:
        """Once: whoever made the registry may have died before its name was on the disk."""
        if not self._root_synced:
            with opened_directory(self._disk, self.root) as root:
                self._disk.sync(root)
            self._root_synced = True


def _agrees(kept: StateSnapshot, state: StateSnapshot) -> bool:
    """Whether a kept snapshot can be of the log that folds to `state`: it is, or it is behind."""
    return kept == state or kept.version < state.version


def _not_found(stream: str) -> NotFound:
    return NotFound(f"There is no manifest {stream!r}.", "Create it first.", manifest_id=stream)


def _corrupt(stream: str, fault: Fault, sound_version: int) -> CorruptLog:
    return CorruptLog(
        layout.log_path(stream),
        line=fault.line,
        offset_bytes=fault.offset_bytes,
        reason=fault.reason,
        sound_version=sound_version,
        stream=stream,
    )
