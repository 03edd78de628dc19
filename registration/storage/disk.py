"""The disk: the only module that uses fsync, rename and locks.

Two layers. `Disk` is the interface: a dozen operations, each one system call, which a simulated disk can replace. The
functions below it are for the rest of the package; each states what is atomic, what is synced and what is left to the
caller.

Assumed of the file system (true of ext4, XFS, btrfs and APFS; not necessarily of NFS, CIFS and FUSE):

- after `fsync` or `fdatasync` has returned, the file's bytes and size survive a power cut;
- after `fsync` of a directory has returned, the entries created and renamed in it do;
- `rename` within one directory replaces the old file atomically, for readers and for a power cut;
- `flock` excludes other processes, and ends with its holder.

Anything unsynced may be present in part or not at all after a power cut, in any order.

Symbolic links are never followed: every `open` here uses O_NOFOLLOW.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from registration.errors import StoreError
from registration.storage.freeing import FREEING

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
_READ_BYTES = 1 << 20


class Disk(Protocol):
    """The system calls on files that this package uses. Errors are `OSError`, as from `os`.

    dir_fd: the open directory that `path` is relative to; None: the working directory.
    """

    def open(self, path: str, flags: int, mode: int = FILE_MODE, *, dir_fd: int | None = None) -> int:
        """A descriptor, closed on exec."""

    def close(self, fd: int) -> None:
        """Close the descriptor, and release every lock taken through it."""

    def read(self, fd: int, size_bytes: int, offset_bytes: int) -> bytes:
        """Up to `size_bytes` bytes from an offset; possibly fewer, not only at the end of the file."""

    def write(self, fd: int, data: bytes) -> int:
        """Append if opened with O_APPEND. Returns the number of bytes written, which can be fewer than given."""

    def write_at(self, fd: int, data: bytes, offset_bytes: int) -> int:
        """Overwrite from an offset. Only through a descriptor opened without O_APPEND, which would append."""

    def truncate(self, fd: int, size_bytes: int) -> None:
        """Truncate the file. Not synced."""

    def sync_data(self, fd: int) -> None:
        """fdatasync: the bytes, and the size if it changed."""

    def sync(self, fd: int) -> None:
        """fsync: a whole file, or a directory's entries."""

    def status(self, fd: int) -> os.stat_result:
        """Fstat."""

    def status_at(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        """lstat: of a link itself, never of its target."""

    def make_directory(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        """Mkdir. Not synced."""

    def rename(self, source: str, target: str, *, dir_fd: int) -> None:
        """Replace `target` by `source`, both in one directory. Atomic; not synced."""

    def unlink(self, path: str, *, dir_fd: int) -> None:
        """Remove a name. Not synced."""

    def remove_directory(self, path: str, *, dir_fd: int) -> None:
        """Rmdir, of an empty directory. Not synced."""

    def names(self, fd: int) -> list[str]:
        """The names in an open directory, unordered."""

    def each_name(self, fd: int) -> Iterator[str]:
        """The same, one by one: a directory may have a million. Entries created meanwhile may be included."""

    def lock(self, fd: int, timeout_s: float) -> bool:
        """Take the exclusive `flock` of an open file; False on timeout."""


class PosixDisk:
    """The real disk: `os`, and `flock` through portalocker."""

    def open(self, path: str, flags: int, mode: int = FILE_MODE, *, dir_fd: int | None = None) -> int:
        # O_NONBLOCK: a pipe in place of a file is an error, not an endless wait.
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            return os.open(path, flags, mode, dir_fd=dir_fd)
        except OSError as error:
            # A process at its limit needs the descriptors of replaced files that are still open.
            if error.errno != errno.EMFILE or not FREEING.flush():
                raise
            return os.open(path, flags, mode, dir_fd=dir_fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def read(self, fd: int, size_bytes: int, offset_bytes: int) -> bytes:
        return os.pread(fd, size_bytes, offset_bytes)

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def write_at(self, fd: int, data: bytes, offset_bytes: int) -> int:
        return os.pwrite(fd, data, offset_bytes)

    def truncate(self, fd: int, size_bytes: int) -> None:
        os.ftruncate(fd, size_bytes)

    def sync_data(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync(self, fd: int) -> None:
        os.fsync(fd)

    def status(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def status_at(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def make_directory(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        os.mkdir(path, mode, dir_fd=dir_fd)

    def rename(self, source: str, target: str, *, dir_fd: int) -> None:
        # Freeing the replaced file's blocks takes longer than the rename: it is postponed.
        replaced = None
        if FREEING.take_place():
            try:
                replaced = self.open(target, os.O_RDONLY, dir_fd=dir_fd)
            except OSError:  # missing, or not openable: it is replaced all the same
                FREEING.give_back()
        try:
            os.rename(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        finally:
            if replaced is not None:
                FREEING.add(replaced)

    def unlink(self, path: str, *, dir_fd: int) -> None:
        os.unlink(path, dir_fd=dir_fd)

    def remove_directory(self, path: str, *, dir_fd: int) -> None:
        os.rmdir(path, dir_fd=dir_fd)

    def names(self, fd: int) -> list[str]:
        return os.listdir(fd)

    def each_name(self, fd: int) -> Iterator[str]:
        with os.scandir(fd) as found:
            for entry in found:
                yield entry.name

    def lock(self, fd: int, timeout_s: float) -> bool:
        # Nearly always the lock is free: one system call, where portalocker's overhead is ten times that.
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Polling starves under contention, so waiting happens in the kernel, which is fair.
            return timeout_s > 0 and _lock_in_kernel(fd, timeout_s)
        except OSError as error:
            raise OSError(errno.ENOLCK, f"the lock cannot be acquired: {error}") from error
        return True


def _lock_in_kernel(fd: int, timeout_s: float) -> bool:
    """Wait for a `flock` in a thread that blocks in the kernel; the caller waits for the thread with a deadline.

    The thread works on a copy of the descriptor, which shares the lock with the caller's. If the caller has given up meanwhile (a
    deadline, or an interrupt), the thread releases the lock as soon as it gets it.
    """
    import portalocker  # noqa: PLC0415  # only needed for waiting

    copy = os.dup(fd)
    settled = threading.Lock()
    done = threading.Event()
    locked = given_up = False
    failure: Exception | None = None

    def wait() -> None:
        nonlocal locked, failure
        try:
            portalocker.lock(copy, portalocker.LockFlags.EXCLUSIVE)
            with settled:
                locked = not given_up
                if given_up:
                    fcntl.flock(copy, fcntl.LOCK_UN)  # not every portalocker unlocks a bare descriptor
        except (OSError, portalocker.LockException) as error:
            failure = error
        finally:
            os.close(copy)
            done.set()

    threading.Thread(target=wait, name="registration-lock", daemon=True).start()
    try:
        done.wait(timeout_s)
    finally:
        with settled:
            given_up = not locked
    if failure is not None:
        raise OSError(errno.ENOLCK, f"the lock cannot be acquired: {failure}") from failure
    return locked


def write_whole(disk: Disk, fd: int, data: bytes) -> None:
    """Write all of `data`, continuing after partial writes. Not synced, and not atomic."""
    while data:
        data = data[_taken(disk.write(fd, data)) :]


def overwrite_whole(disk: Disk, fd: int, data: bytes, offset_bytes: int) -> None:
    """Write all of `data` at an offset, as `write_whole` does. Not through a descriptor opened with O_APPEND."""
    while data:
        taken = _taken(disk.write_at(fd, data, offset_bytes))
        data, offset_bytes = data[taken:], offset_bytes + taken


def _taken(size_bytes: int) -> int:
    if not size_bytes:
        raise OSError(errno.EIO, "a write wrote 0 bytes")
    return size_bytes


def read_whole(disk: Disk, fd: int, start: int = 0) -> bytes:
    """The bytes of an open file from `start` to its end as of now."""
    return read_span(disk, fd, start, disk.status(fd).st_size)


def read_span(disk: Disk, fd: int, start: int, end: int) -> bytes:
    """The bytes from `start` to `end`; fewer when the file ends before."""
    pieces = []
    while start < end and (piece := disk.read(fd, min(end - start, _READ_BYTES), start)):
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces) if len(pieces) != 1 else pieces[0]


@contextmanager
def given_back(disk: Disk, fd: int) -> Iterator[int]:
    """Close a descriptor at the end of the block.

    Errors of `close` are ignored: everything that must be durable was synced before, and everything read has been read.
    """
    try:
        yield fd
    finally:
        with suppress(OSError):
            disk.close(fd)


def replace_atomic(disk: Disk, directory: int, name: str, temporary: str, data: bytes) -> None:
    """Replace the content of `name`: readers, and a power cut, see the old file or the new one, whole.

    The file is synced before the rename, the name is not: after a power cut the old file may be back. The caller excludes
    other users of the same temporary name. A failure leaves `name` unchanged, and may leave the temporary file.
    """
    write_synced(disk, directory, temporary, data)
    disk.rename(temporary, name, dir_fd=directory)


def write_synced(disk: Disk, directory: int, name: str, data: bytes) -> None:
    """Write `data` to a file, created or truncated first, and sync it. Not atomic, and the name is not synced.

    A failure removes the file if possible: after a failed sync, the cache may consider pages clean that the disk lacks.
    """
    fd = disk.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=directory)
    try:
        write_whole(disk, fd, data)
        disk.sync(fd)
    except OSError:
        with suppress(OSError):
            disk.unlink(name, dir_fd=directory)
        raise
    finally:
        with suppress(OSError):  # as for `given_back`
            disk.close(fd)


@contextmanager
def opened_directory(disk: Disk, path: str, *, dir_fd: int | None = None) -> Iterator[int]:
    """A descriptor of a directory that is not a link, open during the block."""
    with given_back(disk, disk.open(path, os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd)) as fd:
        yield fd


def ensure_directory(disk: Disk, name: str, *, dir_fd: int) -> None:
    """Create a directory durably; an existing one is synced too, whatever created it."""
    with suppress(FileExistsError):
        disk.make_directory(name, DIRECTORY_MODE, dir_fd=dir_fd)
    disk.sync(dir_fd)


def is_file(status: os.stat_result) -> bool:
    """Whether it is a regular file: not a link, a directory or a device."""
    return stat.S_ISREG(status.st_mode)


@contextmanager
def failures_named(doing: str, path: str) -> Iterator[None]:
    """Translate system errors into a `StoreError` that names the operation and the file."""
    try:
        yield
    except OSError as error:
        raise failure_named(doing, path, error) from error


def failure_named(doing: str, path: str, error: OSError) -> StoreError:
    """A system error as a `StoreError` that names the operation and the file."""
    return StoreError(
        f"{doing} {path} failed: {error.strerror or error}.",
        _advice(error.errno),
        path=path,
        errno=error.errno,
    )


def _advice(number: int | None) -> str:
    return {
        errno.ENOSPC: "The disk is full: free some space, then retry.",
        errno.EDQUOT: "The disk quota is exceeded: free some space, then retry.",
        errno.EROFS: "The file system is mounted read-only.",
        errno.EACCES: "Check the owner and mode of the registry's files, and the user of this process.",
        errno.EPERM: "Check the owner and mode of the registry's files, and the user of this process.",
        errno.EMFILE: "This process has too many open files.",
        errno.ELOOP: "The path is a symbolic link, and links below the registry's root are not followed.",
        errno.ENOTDIR: "A directory is expected there; symbolic links are not followed.",
        errno.EIO: "The disk reported an I/O error: see the system log, and load again to read the current state.",
    }.get(number or 0, "Load again to read the current state.")


def lock_span(fd: int, start: int, size_bytes: int) -> bool:
    """Take an exclusive lock on bytes of an open file, without waiting; closing the descriptor releases it.

    Unlike `flock`, it excludes the POSIX locks of every process, this one included. Beware: closing any descriptor of a file
    releases all POSIX locks that this process has on it.
    """
    # struct flock: type, whence, start, length, and a process id, which must be 0 for a descriptor's lock.
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, size_bytes, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


_locked_now: set[tuple[Disk, int]] = set()
"""The descriptors that hold a lock. One `add` or `discard` is atomic, and a forked child has one thread."""


@contextmanager
def let_go_by_children(disk: Disk, fd: int) -> Iterator[None]:
    """Close a descriptor in every child forked during the block."""
    let_go_in_child(disk, fd)
    try:
        yield
    finally:
        kept_in_child(disk, fd)


def let_go_in_child(disk: Disk, fd: int) -> None:
    """Close a descriptor in every child forked from now on, until `kept_in_child`."""
    _locked_now.add((disk, fd))


def kept_in_child(disk: Disk, fd: int) -> None:
    """Note that a descriptor no longer holds a lock."""
    _locked_now.discard((disk, fd))


def _let_go_in_child() -> None:
    """A fork inherits the lock: without this, a surviving child would lock others out of the manifest."""
    for disk, fd in _locked_now:
        with suppress(BaseException):  # one simulated disk that raises must not leave another's lock held
            disk.close(fd)
    _locked_now.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
