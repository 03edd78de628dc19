"""The place of a registry on a disk: its directories opened, made, synced; a stream's files held under their lock.

Nothing here knows what the bytes mean. `registration.storage.files.files` reads and commits with it,
`registration.storage.files.settling` recovers and repairs.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from registration.core.codec import TAIL_BYTES, head_of_tail
from registration.errors import LockTimeout, StoreError
from registration.storage import layout
from registration.storage.disk import (
    DIRECTORY_MODE,
    Disk,
    ensure_directory,
    given_back,
    is_file,
    opened_directory,
    overwrite_whole,
    read_span,
    read_whole,
    replace_atomic,
    write_synced,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.storage.files.hot import Hot
    from registration.values.snapshots import Position

TEMPORARY_SNAPSHOT = layout.SNAPSHOT_FILE + layout.TEMPORARY_SUFFIX


class Held:
    """One stream under its lock: the open log and, opened when it is asked for, the directory that it is in.

    status: what the log was when it was locked. waited_s: how long that took, where somebody else had it, in seconds.
    """

    __slots__ = ("_directory", "_place", "log", "status", "stream", "waited_s")

    def __init__(
        self,
        place: Place,
        stream: str,
        directory: int | None,
        log: int,
        status: os.stat_result,
        waited_s: float,
    ) -> None:
        self._place = place
        self._directory = directory
        self.stream = stream
        self.log = log
        self.status = status
        self.waited_s = waited_s

    @property
    def directory(self) -> int:
        """The descriptor of the stream's directory."""
        if self._directory is None:
            self._directory = self._place.open_directory(self.stream)
        return self._directory

    def release(self) -> None:
        """Let go: the lock ends with its descriptor, whatever `close` says."""
        disk = self._place.disk
        _locked_now.discard((disk, self.log))
        try:
            disk.close(self.log)
        except OSError:  # what had to be on the disk was synced before
            pass
        finally:
            if self._directory is not None:
                with suppress(OSError):
                    disk.close(self._directory)


class Place:
    """One area of a registry on one disk: a directory of streams. Holds nothing open between calls.

    root_synced: whether the root's own entries are known to be on the disk, as they are after making it. area: which of
    its directories the logs are in.
    """

    def __init__(
        self,
        disk: Disk,
        root: str,
        *,
        area: str = layout.MANIFESTS,
        lock_timeout_s: float,
        root_synced: bool,
    ) -> None:
        self.disk = disk
        self.root = root
        self.area = area
        self.path = f"{root}/{area}"
        self._lock_timeout_s = lock_timeout_s
        self._root_synced = root_synced
        self.area = area

    def directory_path(self, stream: str) -> str:
        """The absolute path of a stream's directory."""
        return f"{self.path}/{layout.directory_of(stream)}"

    def log_path(self, stream: str) -> str:
        """What messages call a stream's log."""
        return layout.log_path(stream, self.area)

    @contextmanager
    def opened_area(self) -> Iterator[int]:
        """The directory of all streams. Opened anew each time: a kept one could be of a registry that is gone."""
        with opened_directory(self.disk, self.path) as area:
            yield area

    @contextmanager
    def opened(self, stream: str) -> Iterator[int]:
        """A stream's directory. Raises FileNotFoundError where there is none."""
        with given_back(self.disk, self.open_directory(stream)) as directory:
            yield directory

    def open_directory(self, stream: str) -> int:
        """A descriptor of a stream's directory, for the caller to close. Step by step: no link is followed."""
        disk, name = self.disk, layout.directory_of(stream)
        area = disk.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return disk.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=area)
        finally:
            with suppress(OSError):
                disk.close(area)

    @contextmanager
    def locked(self, stream: str, *, create: bool = False, writing: bool = True) -> Iterator[Held]:
        """Hold a stream's lock for as long as the block lasts; see `hold`."""
        held = self.hold(stream, create=create, writing=writing)
        try:
            yield held
        finally:
            held.release()

    def hold(self, stream: str, *, create: bool = False, writing: bool = True) -> Held:
        """Take a stream's lock. The caller releases it.

        The lock is on the log, not on the snapshot: replacing a locked file would swap the locked inode away.

        Raises:
            FileNotFoundError: where there is no log and none is to be created.
            LockTimeout: when somebody else held it all the time.
        """
        disk = self.disk
        flags = (os.O_RDWR | os.O_APPEND if writing else os.O_RDONLY) | (os.O_CREAT if create else 0)
        directory = self.open_directory(stream)
        try:
            while True:
                log = disk.open(layout.LOG_FILE, flags, dir_fd=directory)
                held = self._hold(stream, directory, log, layout.LOG_FILE, directory)
                if held is not None:
                    directory = -1  # the holder's from here on
                    if not is_file(held.status):
                        held.release()
                        raise StoreError(f"{self.log_path(stream)} is not a plain file.", "Move it away.")
                    return held
        finally:
            if directory >= 0:
                with suppress(OSError):
                    disk.close(directory)

    def hold_known(self, known: Hot, *, with_directory: bool) -> Held | None:
        """Take the lock of a log that was seen before, by its whole path; None where another file stands there now.

        Links on the way are no danger: it has to be the very file that was reached without any.

        with_directory: open the directory as well, and all else through it.
        """
        disk, stream = self.disk, known.state.stream
        directory = log = None
        path = f"{known.directory}/{layout.LOG_FILE}"
        try:
            if with_directory:
                directory = disk.open(known.directory, os.O_RDONLY | os.O_DIRECTORY)
                path = layout.LOG_FILE
            log = disk.open(path, os.O_RDWR | os.O_APPEND, dir_fd=directory)
            _locked_now.add((disk, log))
            waited_s = self._lock(stream, log)
            # What stands there now is what stood there before it was opened, so it is what was opened.
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
        held = Held(self, stream, directory, log, there, waited_s)
        if (there.st_dev, there.st_ino) != known.signature[:2]:
            held.release()
            return None
        return held

    def _hold(
        self, stream: str, directory: int | None, log: int, path: str, dir_fd: int | None
    ) -> Held | None:
        """Lock an open log; None, and closed, where by then another file stands under its name.

        A copy tool may have put one there while we waited: that one is the log.
        """
        disk = self.disk
        entry = (disk, log)
        _locked_now.add(entry)
        try:
            waited_s = self._lock(stream, log)
            mine, there = disk.status(log), disk.status_at(path, dir_fd=dir_fd)
            if (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev):
                return Held(self, stream, directory, log, mine, waited_s)
        except BaseException:
            self._let_go(log)
            raise
        self._let_go(log)
        return None

    def _let_go(self, log: int) -> None:
        _locked_now.discard((self.disk, log))
        with suppress(OSError):
            self.disk.close(log)

    def _lock(self, stream: str, fd: int) -> float:
        """Lock an open file, and how long that took where somebody else had it."""
        if self.disk.lock(fd, 0.0):
            return 0.0
        start_s = time.monotonic()
        if not self.disk.lock(fd, self._lock_timeout_s):
            raise LockTimeout(stream, self._lock_timeout_s)
        return time.monotonic() - start_s

    @contextmanager
    def queued(self, stream: str, timeout_s: float) -> Iterator[float]:
        """Wait in the queue of a stream's writers, and stay in front of it for as long as the block lasts.

        It is the lock of the stream's directory, and a courtesy: whoever has waited for `timeout_s`, or finds no directory,
        goes on without. Only the lock of the log, and the version check under it, keep writers apart.

        Yields how long it took, in seconds.
        """
        disk = self.disk
        start_s = time.monotonic()
        with ExitStack() as opened:
            with suppress(OSError):
                directory = opened.enter_context(self.opened(stream))
                opened.enter_context(let_go_by_children(disk, directory))
                if not disk.lock(directory, 0.0):
                    disk.lock(directory, timeout_s)
            yield time.monotonic() - start_s

    def bytes_of(self, directory: int, name: str) -> bytes | None:
        """A file's bytes; None where there is none."""
        try:
            fd = self.disk.open(name, os.O_RDONLY, dir_fd=directory)
        except FileNotFoundError:
            return None
        with given_back(self.disk, fd):
            return read_whole(self.disk, fd)

    def log_bytes(self, held: Held, start: int) -> bytes:
        """The log's bytes from `start` to its end."""
        return read_whole(self.disk, held.log, start)

    def ends_at(self, log: int, after: Position) -> bool:
        """Whether a log is the very one that a decision was made on: its size, and the hash it ends in."""
        return self.disk.status(log).st_size == after.size_bytes and self.goes_through(log, after)

    def goes_through(self, log: int, position: Position) -> bool:
        """Whether what a log holds up to a place ends in the hash that belongs there."""
        end = position.size_bytes
        return head_of_tail(read_span(self.disk, log, max(0, end - TAIL_BYTES), end)) == position.head

    def cut(self, held: Held, size_bytes: int) -> None:
        """Cut a log, on the disk as well."""
        self.disk.truncate(held.log, size_bytes)
        self.disk.sync(held.log)

    def rewrite(self, held: Held, data: bytes, offset_bytes: int) -> None:
        """Write bytes once more where they stand already, and sync them.

        A killed writer leaves lines that only the page cache has; one whose sync failed leaves lines that the
        cache calls clean and the disk never got. The same bytes again make the pages dirty again.
        """
        # Through a descriptor of its own: on one opened with O_APPEND, a write at an offset appends.
        with given_back(self.disk, self.disk.open(layout.LOG_FILE, os.O_WRONLY, dir_fd=held.directory)) as fd:
            overwrite_whole(self.disk, fd, data, offset_bytes)
            self.disk.sync_data(fd)

    def replace_snapshot(self, held: Held, data: bytes) -> None:
        """Put a new `state.json` in the place of the old one; see `replace_atomic`."""
        replace_atomic(self.disk, held.directory, layout.SNAPSHOT_FILE, TEMPORARY_SNAPSHOT, data)

    def prepare_snapshot(self, held: Held, data: bytes) -> None:
        """The first half of that: the new file is on the disk, under its temporary name."""
        write_synced(self.disk, held.directory, TEMPORARY_SNAPSHOT, data)

    def name_snapshot(self, held: Held) -> None:
        """The second half: it takes the old one's place."""
        self.disk.rename(TEMPORARY_SNAPSHOT, layout.SNAPSHOT_FILE, dir_fd=held.directory)

    def set_aside(self, held: Held, name: str, data: bytes) -> str:
        """Keep bytes in `quarantine/`, on the disk; gives their path, relative to the root.

        The same bytes under the same name end in the same file, however often this is begun.
        """
        disk, own = self.disk, layout.quarantine_directory(held.stream, self.area)
        with opened_directory(disk, self.root) as root:
            ensure_directory(disk, layout.QUARANTINE, dir_fd=root)
            with opened_directory(disk, layout.QUARANTINE, dir_fd=root) as quarantine:
                ensure_directory(disk, own, dir_fd=quarantine)
                with opened_directory(disk, own, dir_fd=quarantine) as directory:
                    replace_atomic(disk, directory, name, name + layout.TEMPORARY_SUFFIX, data)
                    disk.sync(directory)
        return f"{layout.QUARANTINE}/{own}/{name}"

    def make(self, stream: str) -> None:
        """A directory for a new manifest. Synced by `sync`, once its log is in it."""
        if self.area != layout.MANIFESTS:  # which is there since the registry is
            with opened_directory(self.disk, self.root) as root:
                ensure_directory(self.disk, self.area, dir_fd=root)
        self.sync_root()
        try:
            self._make_in_area(stream)
        except FileNotFoundError:  # the first stream of its area
            with opened_directory(self.disk, self.root) as root:
                ensure_directory(self.disk, self.area, dir_fd=root)
            self._make_in_area(stream)

    def _make_in_area(self, stream: str) -> None:
        with self.opened_area() as area, suppress(FileExistsError):
            self.disk.make_directory(layout.directory_of(stream), DIRECTORY_MODE, dir_fd=area)

    def remove(self, held: Held) -> None:
        """Remove a stream's files for good, and its directory where nothing else is in it. On the disk when it returns.

        The snapshot goes first: one without a log would be damage, a log without one is not. Who waits for the lock
        meanwhile finds that the file under the log's name is gone.
        """
        disk = self.disk
        for name in (layout.SNAPSHOT_FILE, TEMPORARY_SNAPSHOT):
            with suppress(FileNotFoundError):
                disk.unlink(name, dir_fd=held.directory)
        disk.sync(held.directory)
        disk.unlink(layout.LOG_FILE, dir_fd=held.directory)
        disk.sync(held.directory)
        with self.opened_area() as area:
            with suppress(OSError):  # something of nobody's is in it: it stays, as an empty stream
                disk.remove_directory(layout.directory_of(held.stream), dir_fd=area)
            disk.sync(area)

    def sync(self, held: Held) -> None:
        """See to it that a stream's directory, and the log in it, are found after a power cut."""
        self.disk.sync(held.directory)
        with self.opened_area() as area:
            self.disk.sync(area)

    def sync_root(self) -> None:
        """Once: whoever made the registry may have died before its name was on the disk."""
        if not self._root_synced:
            with opened_directory(self.disk, self.root) as root:
                self.disk.sync(root)
            self._root_synced = True


_locked_now: set[tuple[Disk, int]] = set()
"""The descriptors that hold a lock. One `add` or `discard` is atomic, and a forked child has one thread."""


@contextmanager
def let_go_by_children(disk: Disk, fd: int) -> Iterator[None]:
    """Have a descriptor closed in every child that is forked during the block."""
    entry = (disk, fd)
    _locked_now.add(entry)
    try:
        yield
    finally:
        _locked_now.discard(entry)


def _let_go_in_child() -> None:
    """A fork inherits the lock: without this, a child that lives on would keep everybody out of the manifest."""
    for disk, fd in _locked_now:
        with suppress(OSError):
            disk.close(fd)
    _locked_now.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
