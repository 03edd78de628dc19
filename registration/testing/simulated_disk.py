"""A disk in memory that loses power, fails and forgets, exactly as far as the file system's promises allow.

`SimulatedDisk` replaces `registration.storage.disk.PosixDisk`. It has two contents of everything: the *live* one, which programs
see, and the *durable* one, which has been synced. The difference is pending, and after a power cut any legal part of it may be
present:

- of a file's writes, any blocks; a block that was not written has the old bytes, or zeros beyond the file's old end; the file's
  size as after any of its pending changes;
- of a directory's entries, each creation, rename and removal or not; a rename wholly or not at all; of several changes to one
  name, the earlier ones first.

A sync makes its own target durable, and nothing else: that of a file not its name, that of a directory not the files in it, nor
its own name in the directory above. A failed sync leaves the bytes that it should have written *clean*:
a later sync does not write them either, and the page cache may have dropped them. This is what made PostgreSQL lose data
("fsyncgate", 2018); see Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.

Each run of the machine has an id, in ``/proc/sys/kernel/random/boot_id``, as on Linux: another one after a power cut.

Where this goes further than known file systems (ext4 syncs a new file's name with the file), it does so on purpose: POSIX
promises no more.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

BLOCK_BYTES = 128
_ROOT = 1
_BOOT_ID = ("proc", "sys", "kernel", "random", "boot_id")


class PowerCut(BaseException):
    """The power is cut. Not an Exception: no program can handle it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to inject.

    operation: the name of a method of `Disk`. nth: the number of the failing call, from 1; forever: and all later ones.
    errno: its error; None makes a write short instead, by half. evict: a failed sync also drops the unwritten bytes from the page
    cache. also: other operations, which always fail in the same way.
    """

    operation: str
    nth: int
    errno: int | None
    forever: bool = False
    evict: bool = False
    also: tuple[str, ...] = ()


@dataclass(slots=True)
class _Change:
    """One write or truncation that is not durable. clean: the cache considers it durable, after a failed sync."""

    offset: int
    data: bytes | None
    clean: bool = False

    def size_after(self, size: int) -> int:
        return self.offset if self.data is None else max(size, self.offset + len(self.data))

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            _resize(content, self.offset)
        else:
            _overwrite(content, self.offset, self.data)


@dataclass(slots=True)
class _File:
    live: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    pending: list[_Change] = field(default_factory=list)

    def change(self, change: _Change) -> None:
        change.apply(self.live)
        self.pending.append(change)

    def sync(self) -> None:
        content = bytearray(self.durable)
        size = len(self.durable)
        for change in self.pending:
            size = change.size_after(size)
            if not change.clean or change.data is None:
                change.apply(content)
        _resize(content, size)
        self.durable = bytes(content)
        # Bytes that the cache wrongly considers durable stay in doubt, as far as the file still reaches.
        self.pending = [
            replace(change, data=change.data[: max(0, size - change.offset)])
            for change in self.pending
            if change.clean and change.data is not None
        ]

    def fail_sync(self, *, evict: bool) -> None:
        for change in self.pending:
            change.clean = True
        if evict:
            size = len(self.live)
            self.live = bytearray(self.durable)
            _resize(self.live, size)

    def images(self) -> list[bytes]:
        """Every possible size of the file, each with a selection of the blocks that may have been written."""
        found = {self.durable: None}
        for count in range(1, len(self.pending) + 1):
            changes = self.pending[:count]
            blocks = [block for change in changes for block in _blocks(change)]
            for kept in _choices(len(blocks)):
                content = bytearray(self.durable)
                for index, block in enumerate(blocks):
                    if block.data is None or kept >> index & 1:
                        block.apply(content)
                    else:
                        _resize(content, block.size_after(len(content)))
                found[bytes(content)] = None
        return list(found)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One pending change of a directory: `name` now leads to `inode` (None: nowhere), `gone` no longer exists."""

    name: str
    inode: int | None
    gone: str | None = None

    def apply(self, entries: dict[str, int]) -> None:
        if self.gone is not None:
            entries.pop(self.gone, None)
        if self.inode is None:
            entries.pop(self.name, None)
        else:
            entries[self.name] = self.inode


@dataclass(slots=True)
class _Directory:
    live: dict[str, int] = field(default_factory=dict)
    durable: dict[str, int] = field(default_factory=dict)
    pending: list[_Entry] = field(default_factory=list)

    def change(self, entry: _Entry) -> None:
        entry.apply(self.live)
        self.pending.append(entry)

    def sync(self) -> None:
        self.durable = dict(self.live)
        self.pending = []

    def images(self) -> list[dict[str, int]]:
        """Every possible set of durable entries: of changes that share a name, the first few."""
        groups: list[list[_Entry]] = []
        for entry in self.pending:
            names = {entry.name, entry.gone}
            joined = [group for group in groups if any({e.name, e.gone} & names - {None} for e in group)]
            groups = [group for group in groups if group not in joined]
            groups.append([*itertools.chain.from_iterable(joined), entry])
        found = []
        for counts in itertools.product(*(range(len(group) + 1) for group in groups)):
            entries = dict(self.durable)
            for group, count in zip(groups, counts, strict=True):
                for entry in group[:count]:
                    entry.apply(entries)
            if entries not in found:
                found.append(entries)
        return found


@dataclass(slots=True)
class _Open:
    inode: int
    append: bool
    writable: bool


class SimulatedDisk:
    """A `Disk` in memory. Not for several threads.

    fault: the fault to inject. cut_at: the power is cut instead of the operation with that number, from 1; only operations that
    change something or sync are counted. `operations` is their number so far, `calls` the number for each name, `failed` whether
    the fault has occurred.
    """

    def __init__(self, *, fault: Fault | None = None, cut_at: int | None = None) -> None:
        self.fault = fault
        self.cut_at = cut_at
        self.operations = 0
        self.calls: dict[str, int] = {}
        self.failed = False
        self._inodes: dict[int, _File | _Directory] = {_ROOT: _Directory()}
        self._next_inode = _ROOT + 1
        self._open: dict[int, _Open] = {}
        self._next_fd = 3
        self._locks: dict[int, int] = {}
        self._boot()

    # -- crashes and power cuts ---------------------------------------------------------------------------

    def killed(self) -> SimulatedDisk:
        """The process is killed, the machine runs on: the next process sees its writes, synced or not."""
        return self._copy()

    def after_power_cut(self, random: Random, states_max: int) -> Iterator[SimulatedDisk]:
        """The possible disks after a power cut now: all if they are few, else a selection.

        First the one without any pending change, then the one with all of them.
        """
        reachable = {number: node.images() for number, node in self._inodes.items() if node.pending}
        numbers = list(reachable)
        total = 1
        for number in numbers:
            total *= len(reachable[number])
        if total <= states_max:
            picks: Iterator[tuple[int, ...]] = itertools.product(
                *(range(len(reachable[number])) for number in numbers)
            )
        else:
            picks = self._some_picks([len(reachable[number]) for number in numbers], random, states_max)
        for pick in picks:
            disk = self._copy()
            disk._boot(self._boots + 1)  # noqa: SLF001  # a copy of our own
            for number, index in zip(numbers, pick, strict=True):
                node = disk._inodes[number]  # noqa: SLF001  # as above
                if isinstance(node, _File):
                    image = reachable[number][index]
                    assert isinstance(image, bytes)
                    node.live, node.durable, node.pending = bytearray(image), image, []
                else:
                    entries = reachable[number][index]
                    assert isinstance(entries, dict)
                    node.live, node.durable, node.pending = dict(entries), dict(entries), []
            yield disk

    @staticmethod
    def _some_picks(counts: list[int], random: Random, states_max: int) -> Iterator[tuple[int, ...]]:
        picks = {tuple(0 for _ in counts): None, tuple(count - 1 for count in counts): None}
        while len(picks) < states_max:
            picks[tuple(random.randrange(count) for count in counts)] = None
        return iter(picks)

    def _copy(self) -> SimulatedDisk:
        disk = SimulatedDisk()
        disk._boots = self._boots
        disk._next_inode = self._next_inode
        for number, node in self._inodes.items():
            if isinstance(node, _File):
                pending = [replace(change) for change in node.pending]
                disk._inodes[number] = _File(bytearray(node.live), node.durable, pending)
            else:
                disk._inodes[number] = _Directory(dict(node.live), dict(node.durable), list(node.pending))
        return disk

    def tamper(self, path: str, content: bytes | None) -> None:
        """Corrupt a file durably, unnoticed by programs; None removes it."""
        directory, name = self._parent(path, None)
        if content is None:
            del directory.live[name]
            directory.sync()
            return
        node = self._inodes[directory.live[name]]
        assert isinstance(node, _File)
        node.live, node.durable, node.pending = bytearray(content), content, []

    def tree(self) -> dict[str, bytes]:
        """The live content of every file by its path, for comparison."""
        found: dict[str, bytes] = {}

        def visit(number: int, path: str) -> None:
            node = self._inodes[number]
            if isinstance(node, _File):
                found[path] = bytes(node.live)
            else:
                for name, child in node.live.items():
                    visit(child, f"{path}/{name}")

        visit(_ROOT, "")
        return found

    # -- the system calls ------------------------------------------------------------------------------------

    def open(self, path: str, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        creating = bool(flags & (os.O_CREAT | os.O_TRUNC))
        self._step("open", changes=creating)
        directory, name = self._parent(path, dir_fd)
        number = directory.live.get(name) if name else _ROOT
        if number is None:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            number = self._new(_File())
            directory.change(_Entry(name, number))
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        node = self._inodes[number]
        if flags & os.O_DIRECTORY and isinstance(node, _File):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)
        writable = bool(flags & (os.O_WRONLY | os.O_RDWR))
        if writable and isinstance(node, _Directory):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        if flags & os.O_TRUNC and isinstance(node, _File) and node.live:
            node.change(_Change(0, None))
        fd = self._next_fd
        self._next_fd += 1
        self._open[fd] = _Open(number, bool(flags & os.O_APPEND), writable)
        return fd

    def close(self, fd: int) -> None:
        opened = self._open.pop(fd)
        if self._locks.get(opened.inode) == fd:
            del self._locks[opened.inode]
        self._step("close", changes=False)

    def read(self, fd: int, size_bytes: int, offset_bytes: int) -> bytes:
        self._step("read", changes=False)
        return bytes(self._file(fd).live[offset_bytes : offset_bytes + size_bytes])

    def write(self, fd: int, data: bytes) -> int:
        file = self._file(fd)
        return self._write("write", file, data, len(file.live))

    def write_at(self, fd: int, data: bytes, offset_bytes: int) -> int:
        file = self._file(fd)
        # Linux appends on a descriptor opened with O_APPEND, whatever the offset says.
        offset = len(file.live) if self._open[fd].append else offset_bytes
        return self._write("write_at", file, data, offset)

    def truncate(self, fd: int, size_bytes: int) -> None:
        self._step("truncate")
        self._file(fd).change(_Change(size_bytes, None))

    def sync_data(self, fd: int) -> None:
        self._sync("sync_data", fd)

    def sync(self, fd: int) -> None:
        self._sync("sync", fd)

    def status(self, fd: int) -> os.stat_result:
        self._step("status", changes=False)
        return self._status(self._open[fd].inode)

    def status_at(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        self._step("status_at", changes=False)
        directory, name = self._parent(path, dir_fd)
        number = directory.live.get(name) if name else _ROOT
        if number is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self._status(number)

    def make_directory(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        self._step("make_directory")
        directory, name = self._parent(path, dir_fd)
        if name in directory.live:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        directory.change(_Entry(name, self._new(_Directory())))

    def rename(self, source: str, target: str, *, dir_fd: int) -> None:
        self._step("rename")
        directory = self._directory(dir_fd)
        if source not in directory.live:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", source)
        directory.change(_Entry(target, directory.live[source], gone=source))

    def unlink(self, path: str, *, dir_fd: int) -> None:
        self._step("unlink")
        directory = self._directory(dir_fd)
        if path not in directory.live:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        directory.change(_Entry(path, None))

    def remove_directory(self, path: str, *, dir_fd: int) -> None:
        self._step("remove_directory")
        directory = self._directory(dir_fd)
        node = self._inodes[directory.live[path]] if path in directory.live else None
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        if isinstance(node, _File):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)
        if node.live:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", path)
        directory.change(_Entry(path, None))

    def names(self, fd: int) -> list[str]:
        self._step("names", changes=False)
        return list(self._directory(fd).live)

    def each_name(self, fd: int) -> Iterator[str]:
        """See `Disk.each_name`."""
        return iter(self.names(fd))

    def lock(self, fd: int, timeout_s: float) -> bool:
        self._step("lock", changes=False)
        return self._locks.setdefault(self._open[fd].inode, fd) == fd

    # -- inside ----------------------------------------------------------------------------------------------

    def _boot(self, number: int = 1) -> None:
        """Start the machine: the file with the id of the run gets a new one."""
        self._boots = number
        above = self._inodes[_ROOT]
        for name in _BOOT_ID[:-1]:
            assert isinstance(above, _Directory)
            child = above.live.get(name) or self._new(_Directory())
            above.live[name] = above.durable[name] = child
            above = self._inodes[child]
        assert isinstance(above, _Directory)
        content = f"run-{number}\n".encode()
        file = above.live.get(_BOOT_ID[-1]) or self._new(_File())
        above.live[_BOOT_ID[-1]] = above.durable[_BOOT_ID[-1]] = file
        self._inodes[file] = _File(bytearray(content), content)

    def _step(self, operation: str, *, changes: bool = True) -> None:
        """Count an operation; cut the power or fail if that is due."""
        if changes:
            self.operations += 1
            if self.operations == self.cut_at:
                raise PowerCut
        self.calls[operation] = self.calls.get(operation, 0) + 1
        if self._is_due(operation) and self.fault and self.fault.errno is not None:
            raise OSError(self.fault.errno, os.strerror(self.fault.errno))

    def _is_due(self, operation: str) -> bool:
        fault, nth = self.fault, self.calls[operation]
        due = fault is not None and (
            operation in fault.also
            or (fault.operation == operation and (nth == fault.nth or (fault.forever and nth > fault.nth)))
        )
        self.failed |= due
        return due

    def _write(self, operation: str, file: _File, data: bytes, offset: int) -> int:
        self._step(operation)
        taken = len(data)
        if self._is_due(operation):  # without an errno, or it would have been raised: a short write
            taken = max(1, taken // 2)
        file.change(_Change(offset, bytes(data[:taken])))
        return taken

    def _sync(self, operation: str, fd: int) -> None:
        node = self._inodes[self._open[fd].inode]
        try:
            self._step(operation)
        except OSError:
            if isinstance(node, _File):
                assert self.fault is not None
                node.fail_sync(evict=self.fault.evict)
            raise
        node.sync()

    def _new(self, node: _File | _Directory) -> int:
        number = self._next_inode
        self._next_inode += 1
        self._inodes[number] = node
        return number

    def _parent(self, path: str, dir_fd: int | None) -> tuple[_Directory, str]:
        """The directory of a path, and the last name; no name for the root itself."""
        node = self._inodes[_ROOT] if dir_fd is None else self._directory(dir_fd)
        *above, name = path.strip("/").split("/")
        for step in above:
            assert isinstance(node, _Directory)
            if step not in node.live:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            node = self._inodes[node.live[step]]
        if not isinstance(node, _Directory):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)
        return node, name

    def _file(self, fd: int) -> _File:
        node = self._inodes[self._open[fd].inode]
        if not isinstance(node, _File):
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        return node

    def _directory(self, fd: int) -> _Directory:
        node = self._inodes[self._open[fd].inode]
        if not isinstance(node, _Directory):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
        return node

    def _status(self, number: int) -> os.stat_result:
        node = self._inodes[number]
        kind, size = (stat.S_IFREG, len(node.live)) if isinstance(node, _File) else (stat.S_IFDIR, 0)
        return os.stat_result((kind | 0o600, number, 1, 1, 0, 0, size, 0, 0, 0))


def _blocks(change: _Change) -> Iterator[_Change]:
    """A change split into the pieces that are written independently."""
    if change.data is None:
        yield change
        return
    start = change.offset
    end = change.offset + len(change.data)
    while start < end:
        stop = min(end, (start // BLOCK_BYTES + 1) * BLOCK_BYTES)
        yield _Change(start, change.data[start - change.offset : stop - change.offset])
        start = stop


def _choices(count: int) -> Iterator[int]:
    """Sets of `count` blocks as bits: all of them if they are few, else the typical ones."""
    everything = (1 << count) - 1
    if count <= 4:
        yield from range(1 << count)
        return
    yield 0
    yield everything
    for index in range(count):
        yield 1 << index  # only one was written
        yield everything ^ 1 << index  # only one is missing
        yield (1 << index) - 1  # the first few
        yield everything ^ (1 << index) - 1  # the last few


def _overwrite(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        _resize(content, offset)
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if len(content) > size:
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))
