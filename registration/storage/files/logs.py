"""Logs on plain files: one directory per stream, with its log and its snapshot. See `registration.storage.ports.Logs`.

`append` is the commit, top-down on one page. Every other change to a log happens under the same lock: the `flock` of the log
itself, not of the snapshot, since replacing a locked file would replace the locked inode. Nothing stays open between calls.

`Seen` identifies the end of a log without reading it: the log's path, and the signature of its `stat`. A log never becomes
shorter than its acknowledged part, so an equal signature means an equal log.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.errors import LockTimeout, StoreError
from registration.storage import layout
from registration.storage.disk import (
    DIRECTORY_MODE,
    Disk,
    ensure_directory,
    failure_named,
    failures_named,
    given_back,
    is_file,
    kept_in_child,
    let_go_by_children,
    let_go_in_child,
    opened_directory,
    overwrite_whole,
    read_span,
    read_whole,
    replace_atomic,
    write_synced,
    write_whole,
)
from registration.storage.ports import NOTHING_GIVEN, TAIL_BYTES, Doubtful, Key, Mark, Moved, Note
from registration.values.ids import id_of

if TYPE_CHECKING:
    from registration.storage.files.journal import Journal
    from registration.storage.files.records import FileRecords
    from registration.storage.files.syncs import Syncs

_REWRITTEN_BYTES = 1 << 20
"""How much of a log is rewritten at a time."""

_log = logging.getLogger("registration")

TEMPORARY_SNAPSHOT = layout.SNAPSHOT_FILE + layout.TEMPORARY_SUFFIX

Signature = tuple[int, int, int, int]


def signature(status: os.stat_result) -> Signature:
    """The signature of a file at one moment: device, inode, size, time of change."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Seen:
    """A log at the moment of its mark. directory: the absolute path of the stream's directory."""

    directory: str
    signature: Signature


_NO_LOG = Seen("", (0, 0, 0, 0))  # a directory without a log


class FileLogs:
    """The logs of one registry. root: its directory, absolute. root_synced: whether the root's own entries are already durable."""

    def __init__(
        self,
        disk: Disk,
        root: str,
        *,
        journal: Journal,
        records: FileRecords,
        syncs: Syncs,
        lock_timeout_s: float,
        root_synced: bool,
    ) -> None:
        self.disk = disk
        self.root = root
        self.lock_timeout_s = lock_timeout_s
        self._journal = journal
        self._records = records
        self._syncs = syncs
        self._root_synced = root_synced
        self._given: dict[Key, tuple[Signature, bytes | None]] = {}

    # -- reading -----------------------------------------------------------------------------------------------

    def ids(self, area: str) -> Iterator[str]:
        """See `Logs.ids`. Names that are not ids are skipped."""
        if area == layout.REGISTRY:
            return iter(self._own())
        with failures_named("listing", area):
            try:
                with self.opened_area(area) as directory:
                    names = sorted(self.disk.names(directory))
            except FileNotFoundError:
                if area == layout.MANIFESTS:
                    raise
                names = []
        return (id for name in names if (id := id_of(name)) is not None)

    def _own(self) -> list[str]:
        """The stream of the registry itself, if it has one."""
        with failures_named("listing", layout.REGISTRY), suppress(FileNotFoundError):
            self.disk.status_at(f"{self.root}/{layout.REGISTRY}")
            return [layout.REGISTRY]
        return []

    def sizes(self, area: str) -> Iterator[tuple[str, int]]:
        """The ids of an area's logs with their current sizes, unordered. Constant memory."""
        with failures_named("listing", area), self.opened_area(area) as directory:
            for name in self._own() if area == layout.REGISTRY else self.disk.each_name(directory):
                if (id := id_of(name)) is not None:
                    with suppress(FileNotFoundError, NotADirectoryError):
                        log = self.disk.status_at(f"{name}/{layout.LOG_FILE}", dir_fd=directory)
                        yield id, log.st_size

    def found(self, area: str, id: str) -> tuple[bytes | None, Mark]:
        """See `Logs.found`."""
        disk = self.disk
        with failures_named("reading", layout.log_path(id, area)):
            try:
                directory = self._open_directory(area, id)
            except FileNotFoundError:
                return None, Mark()
            with given_back(disk, directory):
                raw = self._bytes_of(
                    directory, layout.SNAPSHOT_FILE
                )  # read first: the log is never shorter than its snapshot says
                try:
                    log = disk.open(layout.LOG_FILE, os.O_RDONLY, dir_fd=directory)
                except FileNotFoundError:
                    return raw, Mark(seen=_NO_LOG)
                with given_back(disk, log):
                    return raw, self._mark(area, id, log)

    def _mark(self, area: str, id: str, log: int) -> Mark:
        status = self.disk.status(log)
        if not is_file(status):
            raise _no_file(area, id)
        size = status.st_size
        tail = read_span(self.disk, log, max(0, size - TAIL_BYTES), size)
        return Mark(size, tail, Seen(self._directory_path(area, id), signature(status)))

    def unmoved(self, area: str, id: str, mark: Mark) -> bool:
        """See `Logs.unmoved`: one `stat`. Links in the path are harmless: the file must have the recorded identity."""
        seen = mark.seen
        if not isinstance(seen, Seen):
            return self.found(area, id)[1] == mark
        try:
            return signature(self.disk.status_at(f"{seen.directory}/{layout.LOG_FILE}")) == seen.signature
        except OSError:
            return False  # the full read meets the same error, and names it

    def read(self, area: str, id: str, start: int, end: int) -> bytes:
        """See `Logs.read`."""
        with failures_named("reading", layout.log_path(id, area)), suppress(FileNotFoundError):
            with self._opened(area, id) as directory:
                log = self.disk.open(layout.LOG_FILE, os.O_RDONLY, dir_fd=directory)
            with given_back(self.disk, log):
                return read_span(self.disk, log, start, end)
        return b""

    # -- the commit --------------------------------------------------------------------------------------------

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
        """See `Logs.append`. Answers are never lost here, so `again` is never requested."""
        try:
            return self._append(area, id, after, data, note, snapshot, given)
        except OSError as error:
            raise failure_named("writing", layout.log_path(id, area), error) from error

    def _append(
        self,
        area: str,
        id: str,
        after: Mark,
        data: bytes,
        note: Note,
        snapshot: bytes | None,
        given: Mapping[Key, bytes | None],
    ) -> tuple[Mark, float]:
        seen = after.seen if isinstance(after.seen, Seen) else None
        held = self._hold_end(area, id, after, seen, given, with_directory=snapshot is not None)
        try:
            self._check(given)
            if (seen is None or signature(held.status) != seen.signature) and held.mark() != after:
                raise Moved
            self._journal.add(note.line)
            try:
                write_whole(self.disk, held.log, data)
                prepared = self._sync(held, snapshot, creating=not after.size_bytes)
            except OSError as error:
                self._take_back(held, after.size_bytes, error)
                raise
            # Committed. Nothing below may report a failure.
            if prepared:
                held.name_snapshot()
            directory = seen.directory if seen is not None else self._directory_path(area, id)
            now = Seen(directory, signature(self.disk.status(held.log)))
            return Mark(after.size_bytes + len(data), (after.tail + data)[-TAIL_BYTES:], now), held.waited_s
        finally:
            held.release()

    def _hold_end(
        self,
        area: str,
        id: str,
        after: Mark,
        seen: Seen | None,
        given: Mapping[Key, bytes | None],
        *,
        with_directory: bool,
    ) -> Held:
        """Lock the log for writing; created on its first commit."""
        if not after.size_bytes:
            self._check(given)  # and again under the lock: a commit that comes too late creates nothing
            self._make(area, id)
            return self.hold(area, id, create=True)
        try:
            held = None if seen is None else self._hold_seen(area, id, seen, with_directory=with_directory)
            return held or self.hold(area, id)
        except FileNotFoundError:
            raise Moved from None

    def _check(self, given: Mapping[Key, bytes | None]) -> None:
        """Whether each record has its expected value. Records held by this thread are trusted; one `stat` for those seen before."""
        for key, data in given.items():
            if not self._records.holds(key) and self._record(key) != data:
                raise Moved

    def _record(self, key: Key) -> bytes | None:
        try:
            now = signature(self.disk.status_at(f"{self.root}/{'/'.join(key)}"))
        except FileNotFoundError:
            return None
        kept = self._given.get(key)
        if kept is None or kept[0] != now:
            # The signature is at most older than the bytes: then it differs the next time, and they are read again.
            kept = self._given[key] = (now, self._records.read(key))
        return kept[1]

    def _sync(self, held: Held, snapshot: bytes | None, *, creating: bool) -> bool:
        """Sync the written bytes. This is the commit; returns whether a new snapshot is prepared next to the old one.

        On a disk with slow syncs, they overlap. The snapshot is renamed after the log is durable, never before.
        """

        def prepare() -> bool:
            assert snapshot is not None
            return held.prepare_snapshot(snapshot)

        beside = None if snapshot is None else prepare
        log = (self.disk.sync_data, held.log)
        if not creating:
            return self._syncs.all(log, beside=beside)
        with self.opened_area(held.area) as area:
            sync = self.disk.sync
            return self._syncs.all(log, (sync, held.directory), (sync, area), beside=beside)

    def _take_back(self, held: Held, size_bytes: int, cause: OSError) -> None:
        """Undo a write or a sync that failed.

        The sync is not simply retried: the kernel may have dropped the pages and report the rest as clean. The log is truncated,
        and that is synced. If that fails as well, the content of the disk is unknown: the snapshot is removed, so that every
        other reader examines the log, and rewrites it, before trusting it.

        Raises:
            Doubtful: in that case.
        """
        try:
            held.cut(size_bytes)
        except OSError as error:
            _log.warning("%s: a failed write could not be undone: %s", held.id, error)
            with suppress(OSError):
                self.disk.unlink(layout.SNAPSHOT_FILE, dir_fd=held.directory)
            named = failure_named("writing", layout.log_path(held.id, held.area), cause)
            raise Doubtful(named.problem, named.next_step, **named.details) from cause

    def put_snapshot(self, area: str, id: str, snapshot: bytes, at: Mark) -> bool:
        """See `Logs.put_snapshot`."""
        with (
            failures_named("writing", layout.snapshot_path(id, area)),
            suppress(FileNotFoundError),
            self.locked(area, id) as held,
        ):
            if held.mark() == at:
                held.replace_snapshot(snapshot)
                return True
        return False

    def cut(
        self, area: str, id: str, at: Mark, size_bytes: int, *, then: tuple[bytes, Note, bytes] | None = None
    ) -> None:
        """See `Logs.cut`. The old snapshot covers more than the truncated log, so it reports the damage until it is replaced."""
        disk = self.disk
        # A snapshot without a log is damage as well; an empty log can be locked.
        with (
            failures_named("repairing", layout.log_path(id, area)),
            self.locked(area, id, create=True) as held,
        ):
            if held.mark() != at:
                raise Moved
            disk.sync(held.directory)  # the snapshot's name may not be durable yet
            held.cut(size_bytes)
            if then is None:
                with suppress(FileNotFoundError):
                    disk.unlink(layout.SNAPSHOT_FILE, dir_fd=held.directory)
                disk.sync(held.directory)
                return
            data, note, snapshot = then
            self._journal.add(note.line)
            write_whole(disk, held.log, data)
            disk.sync_data(held.log)
            held.put_snapshot(snapshot)

    def remove(self, area: str, id: str) -> bool:
        """See `Logs.remove`. Durable on return.

        The snapshot goes first: a snapshot without a log would be damage, a log without a snapshot is not. A waiter for the lock
        then finds that the log's name is gone.
        """
        disk = self.disk
        with failures_named("removing", layout.log_path(id, area)):
            try:
                with self.locked(area, id) as held:
                    for name in (layout.SNAPSHOT_FILE, TEMPORARY_SNAPSHOT):
                        with suppress(FileNotFoundError):
                            disk.unlink(name, dir_fd=held.directory)
                    disk.sync(held.directory)
                    disk.unlink(layout.LOG_FILE, dir_fd=held.directory)
                    disk.sync(held.directory)
                    with self.opened_area(area) as above:
                        with suppress(OSError):  # it contains another file: it stays, as an empty stream
                            disk.remove_directory(layout.directory_of(id), dir_fd=above)
                        disk.sync(above)
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def turn(self, area: str, id: str, timeout_s: float) -> Iterator[float]:
        """See `Logs.turn`: the lock of the stream's directory. Only the lock of the log, and the mark under it, keep writers apart."""
        disk, start_s = self.disk, time.monotonic()
        with ExitStack() as opened:
            with suppress(OSError):
                directory = opened.enter_context(self._opened(area, id))
                opened.enter_context(let_go_by_children(disk, directory))
                if not disk.lock(directory, 0.0):
                    disk.lock(directory, min(timeout_s, self.lock_timeout_s))
            yield time.monotonic() - start_s

    # -- directories and locks -----------------------------------------------------------------------------------

    def _directory_path(self, area: str, id: str) -> str:
        return f"{self.root}/{layout.stream_path(id, area)}"

    def _area_path(self, area: str) -> str:
        return self.root if area == layout.REGISTRY else f"{self.root}/{area}"

    @contextmanager
    def opened_area(self, area: str) -> Iterator[int]:
        """The directory of an area. Opened each time: an old descriptor could belong to a deleted registry."""
        with opened_directory(self.disk, self._area_path(area)) as directory:
            yield directory

    @contextmanager
    def _opened(self, area: str, id: str) -> Iterator[int]:
        with given_back(self.disk, self._open_directory(area, id)) as directory:
            yield directory

    def _open_directory(self, area: str, id: str) -> int:
        """A descriptor of a stream's directory, for the caller to close. Opened one by one, so that no link is followed."""
        disk, name = self.disk, layout.directory_of(id)
        above = disk.open(self._area_path(area), os.O_RDONLY | os.O_DIRECTORY)
        try:
            return disk.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=above)
        finally:
            with suppress(OSError):
                disk.close(above)

    def _bytes_of(self, directory: int, name: str) -> bytes | None:
        try:
            fd = self.disk.open(name, os.O_RDONLY, dir_fd=directory)
        except FileNotFoundError:
            return None
        with given_back(self.disk, fd):
            return read_whole(self.disk, fd)

    def _make(self, area: str, id: str) -> None:
        """A directory for a new stream. Synced with the commit, once it contains its log."""
        if area not in (layout.MANIFESTS, layout.REGISTRY):  # which exist as long as the registry
            self._make_area(area)
        self.sync_root()
        try:
            self._make_in(area, id)
        except FileNotFoundError:
            if area == layout.REGISTRY:
                raise
            self._make_area(area)
            self._make_in(area, id)

    def _make_area(self, area: str) -> None:
        with opened_directory(self.disk, self.root) as root:
            ensure_directory(self.disk, area, dir_fd=root)

    def _make_in(self, area: str, id: str) -> None:
        with self.opened_area(area) as directory, suppress(FileExistsError):
            self.disk.make_directory(layout.directory_of(id), DIRECTORY_MODE, dir_fd=directory)

    def sync_root(self) -> None:
        """Once: the creator of the registry may have died before its name was durable."""
        if not self._root_synced:
            with opened_directory(self.disk, self.root) as root:
                self.disk.sync(root)
            self._root_synced = True

    @contextmanager
    def locked(self, area: str, id: str, *, create: bool = False, writing: bool = True) -> Iterator[Held]:
        """Hold a log's lock during the block; see `hold`."""
        held = self.hold(area, id, create=create, writing=writing)
        try:
            yield held
        finally:
            held.release()

    def hold(self, area: str, id: str, *, create: bool = False, writing: bool = True) -> Held:
        """Take a log's lock. The caller releases it.

        Raises:
            FileNotFoundError: when there is no log and `create` is false.
            LockTimeout: when another process held it all the time.
        """
        disk = self.disk
        flags = (os.O_RDWR | os.O_APPEND if writing else os.O_RDONLY) | (os.O_CREAT if create else 0)
        directory = self._open_directory(area, id)
        try:
            while True:
                log = disk.open(layout.LOG_FILE, flags, dir_fd=directory)
                held = self._hold(area, id, directory, log)
                if held is not None:
                    directory = -1  # now owned by the holder
                    if not is_file(held.status):
                        held.release()
                        raise _no_file(area, id)
                    return held
        finally:
            if directory >= 0:
                with suppress(OSError):
                    disk.close(directory)

    def _hold(self, area: str, id: str, directory: int, log: int) -> Held | None:
        """Lock an open log; close it and return None if its name meanwhile leads to another file.

        A copy tool may have replaced it during the wait: the new file is the log.
        """
        disk = self.disk
        let_go_in_child(disk, log)
        try:
            waited_s = self._lock(id, log)
            mine, there = disk.status(log), disk.status_at(layout.LOG_FILE, dir_fd=directory)
            if (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev):
                return Held(self, area, id, directory, log, mine, waited_s)
        except BaseException:
            self._let_go(log)
            raise
        self._let_go(log)
        return None

    def _hold_seen(self, area: str, id: str, seen: Seen, *, with_directory: bool) -> Held | None:
        """Take the lock of a known log by its full path; None if another file is there now.

        with_directory: open the directory first, and the log through it.
        """
        disk, directory, log = self.disk, None, None
        path = f"{seen.directory}/{layout.LOG_FILE}"
        try:
            if with_directory:
                directory = disk.open(seen.directory, os.O_RDONLY | os.O_DIRECTORY)
                path = layout.LOG_FILE
            log = disk.open(path, os.O_RDWR | os.O_APPEND, dir_fd=directory)
            let_go_in_child(disk, log)
            waited_s = self._lock(id, log)
            # The path leads to the same file as before opening, so that file was opened.
            there = disk.status_at(path, dir_fd=directory)
        except BaseException as error:
            if log is not None:
                self._let_go(log)
            if directory is not None:
                with suppress(OSError):
                    disk.close(directory)
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                return None
            raise
        held = Held(self, area, id, directory, log, there, waited_s)
        if (there.st_dev, there.st_ino) != seen.signature[:2]:
            held.release()
            return None
        return held

    def _let_go(self, log: int) -> None:
        kept_in_child(self.disk, log)
        with suppress(OSError):
            self.disk.close(log)

    def _lock(self, id: str, fd: int) -> float:
        """Lock an open file; returns the wait in seconds if another process held it."""
        if self.disk.lock(fd, 0.0):
            return 0.0
        start_s = time.monotonic()
        if not self.disk.lock(fd, self.lock_timeout_s):
            raise LockTimeout(id, self.lock_timeout_s)
        return time.monotonic() - start_s


class Held:
    """One log under its lock: the open log and, opened on demand, its directory.

    See `registration.storage.ports.HeldLog`. status: the log's `stat` when it was locked. waited_s: how long locking took, in
    seconds, if another process held it.
    """

    __slots__ = ("_directory", "_logs", "area", "id", "log", "status", "waited_s")

    def __init__(
        self,
        logs: FileLogs,
        area: str,
        id: str,
        directory: int | None,
        log: int,
        status: os.stat_result,
        waited_s: float,
    ) -> None:
        self._logs = logs
        self._directory = directory
        self.area = area
        self.id = id
        self.log = log
        self.status = status
        self.waited_s = waited_s

    @property
    def directory(self) -> int:
        """The descriptor of the stream's directory."""
        if self._directory is None:
            self._directory = self._logs._open_directory(self.area, self.id)  # noqa: SLF001  # its maker
        return self._directory

    def release(self) -> None:
        """Release: the lock ends with its descriptor, even if `close` fails."""
        disk = self._logs.disk
        kept_in_child(disk, self.log)
        try:
            disk.close(self.log)
        except OSError:  # everything that must be durable was synced before
            pass
        finally:
            if self._directory is not None:
                with suppress(OSError):
                    disk.close(self._directory)

    def mark(self) -> Mark:
        """Where the log ends."""
        return self._logs._mark(self.area, self.id, self.log)  # noqa: SLF001  # as above

    def found(self) -> tuple[bytes | None, Mark]:
        """See `HeldLog.found`."""
        raw = self._logs._bytes_of(self.directory, layout.SNAPSHOT_FILE)  # noqa: SLF001  # as above
        return raw, self.mark()

    def read(self, start: int, end: int) -> bytes:
        """See `HeldLog.read`."""
        return read_span(self._logs.disk, self.log, start, end)

    def settle(
        self, *, believe_from: int, believe_to: int, keep_bytes: int, torn: bytes, why: str, whole: bool
    ) -> str | None:
        """See `HeldLog.settle`."""
        logs, disk, kept_as = self._logs, self._logs.disk, None
        if believe_to > believe_from:
            self._rewrite(believe_from, believe_to)
        if believe_from == 0:
            # Without a snapshot, the creation may be unacknowledged and the directories unsynced.
            logs.sync_root()
            disk.sync(self.directory)
            with logs.opened_area(self.area) as area:
                disk.sync(area)
        if believe_from == 0 or whole:
            disk.sync(self.log)  # its truncation may not be durable yet
        if torn:
            kept_as = self._set_aside(layout.quarantine_file(keep_bytes, torn), torn)
            self.cut(keep_bytes)
            _log.warning(
                "%s: %d bytes at byte %d belong to an unacknowledged write (%s); saved as %s",
                self.id, len(torn), keep_bytes, why, kept_as,
            )  # fmt: skip
        return kept_as

    def _rewrite(self, start: int, end: int) -> None:
        """Rewrite bytes in place as they are, a piece at a time, and sync them.

        A killed writer leaves lines that are only in the page cache; a failed sync leaves lines that the cache considers clean
        although the disk never received them. Rewriting the same bytes marks the pages dirty again.
        """
        # Through a separate descriptor: with O_APPEND, a write at an offset appends.
        disk = self._logs.disk
        with given_back(disk, disk.open(layout.LOG_FILE, os.O_WRONLY, dir_fd=self.directory)) as fd:
            while start < end:
                piece = read_span(disk, self.log, start, min(start + _REWRITTEN_BYTES, end))
                if not piece:
                    raise OSError(errno.EIO, "the log became shorter under its lock")
                overwrite_whole(disk, fd, piece, start)
                start += len(piece)
            disk.sync_data(fd)

    def _set_aside(self, name: str, data: bytes) -> str:
        """Save bytes in `quarantine/`, durably; returns their path, relative to the root.

        The same bytes under the same name end in the same file, however often this is repeated.
        """
        disk, own = self._logs.disk, layout.quarantine_directory(self.id, self.area)
        with opened_directory(disk, self._logs.root) as root:
            ensure_directory(disk, layout.QUARANTINE, dir_fd=root)
            with opened_directory(disk, layout.QUARANTINE, dir_fd=root) as quarantine:
                ensure_directory(disk, own, dir_fd=quarantine)
                with opened_directory(disk, own, dir_fd=quarantine) as directory:
                    replace_atomic(disk, directory, name, name + layout.TEMPORARY_SUFFIX, data)
                    disk.sync(directory)
        return f"{layout.QUARANTINE}/{own}/{name}"

    def cut(self, size_bytes: int) -> None:
        """Truncate the log, durably."""
        self._logs.disk.truncate(self.log, size_bytes)
        self._logs.disk.sync(self.log)

    def put_snapshot(self, snapshot: bytes | None) -> bool:
        """See `HeldLog.put_snapshot`. A snapshot is a cache: a failure is logged, and the next `load` rebuilds it."""
        if snapshot is not None:
            try:
                self.replace_snapshot(snapshot)
            except OSError as error:
                self._log_snapshot(error)
        try:
            self._logs.disk.unlink(TEMPORARY_SNAPSHOT, dir_fd=self.directory)
        except OSError:  # there is none, or it stays, which is harmless
            return False
        return True

    def replace_snapshot(self, data: bytes) -> None:
        """Replace `state.json`; see `replace_atomic`."""
        replace_atomic(self._logs.disk, self.directory, layout.SNAPSHOT_FILE, TEMPORARY_SNAPSHOT, data)

    def prepare_snapshot(self, data: bytes) -> bool:
        """The first half: write and sync the new file under its temporary name. On failure, log it and return False."""
        try:
            write_synced(self._logs.disk, self.directory, TEMPORARY_SNAPSHOT, data)
        except OSError as error:
            self._log_snapshot(error)
            return False
        return True

    def name_snapshot(self) -> None:
        """The second half: rename it over the old one."""
        try:
            self._logs.disk.rename(TEMPORARY_SNAPSHOT, layout.SNAPSHOT_FILE, dir_fd=self.directory)
        except OSError as error:
            self._log_snapshot(error)

    def _log_snapshot(self, error: OSError) -> None:
        _log.warning("%s: writing the snapshot failed and is retried later: %s", self.id, error)


def _no_file(area: str, id: str) -> StoreError:
    return StoreError(f"{layout.log_path(id, area)} is not a regular file.", "Move it elsewhere.")
