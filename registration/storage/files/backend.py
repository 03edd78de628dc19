"""The backend on plain files. See `registration.storage.ports.Backend`.

`registration.storage.files.logs` has the commit, `order` the journal of commits, `records` the small values that change. This module
has the rest: blobs, lines, strays, and the creation of a registry in a directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from registration.core.definition import Definition
from registration.errors import CorruptRegistry, Next
from registration.storage import layout
from registration.storage.disk import (
    Disk,
    PosixDisk,
    failure_named,
    failures_named,
    given_back,
    opened_directory,
    read_whole,
    write_whole,
)
from registration.storage.files.blobs import FileBlobs
from registration.storage.files.journal import Journal
from registration.storage.files.logs import FileLogs
from registration.storage.files.order import FileOrder
from registration.storage.files.records import FileRecords
from registration.storage.files.registry_file import (
    RegistryFile,
    make_registry,
    parse_registry,
    registry_bytes,
)
from registration.storage.files.segments import Segments
from registration.storage.files.syncs import Syncs
from registration.storage.ledger import Ledger, kept_rule

if TYPE_CHECKING:
    from registration.storage.files.logs import Held
    from registration.storage.ledger import Areas, Snapshots
    from registration.storage.reports import Stray

Resolve = Callable[[RegistryFile, Callable[[str, str], Any]], Definition]
"""Returns the lifecycle of a registry, from its `registry.json` and a function that reads its rules by kind and digest."""


class FileBackend:
    """A registry on a disk that has a `registry.json`.

    root: its directory. made: whether it was just created, so that the names in the root are durable.

    Raises:
        NotFound, CorruptRegistry, StoreError: as `registration.storage.files.registry_file.read_registry`.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        disk: Disk | None = None,
        lock_timeout_s: float = 10.0,
        made: bool = False,
    ) -> None:
        self.root = os.path.realpath(root)  # the root itself may be a link; links below it are not followed
        self.disk: Disk = disk or PosixDisk()
        self.lock_timeout_s = lock_timeout_s
        self.made = made
        self.raw = registry_bytes(self.disk, self.root)
        self.registry = parse_registry(self.root, self.raw)
        self.segments = Segments(self.disk, self.root, self.registry.source, lock_timeout_s=lock_timeout_s)
        self.journal = Journal(self.segments)
        self.syncs = Syncs(self.disk)
        self.records = FileRecords(self.disk, self.root, lock_timeout_s=lock_timeout_s)
        self.logs = FileLogs(
            self.disk,
            self.root,
            journal=self.journal,
            records=self.records,
            syncs=self.syncs,
            lock_timeout_s=lock_timeout_s,
            root_synced=made,
        )
        self.order = FileOrder(self.segments, self.journal, self.logs)
        self.blobs = FileBlobs(self.disk, self.root, lock_timeout_s=lock_timeout_s)
        self.lines = FileLines(self.disk, self.root)
        self.mending = FileMending(self.logs, self.order)

    @property
    def place(self) -> str | None:
        """See `Backend.place`. A simulated disk can't store a database."""
        return self.root if isinstance(self.disk, PosixDisk) else None

    def close(self) -> None:
        """See `Backend.close`. Between calls, only the feed's segment is held open."""
        self.syncs.close()
        self.journal.close()


class FileMending:
    """See `registration.storage.ports.Mending`."""

    def __init__(self, logs: FileLogs, order: FileOrder) -> None:
        self._logs = logs
        self._order = order
        self.acknowledge_by = order.acknowledge_by
        self.reconcile = order.reconcile
        self.noted = order.noted

    @contextmanager
    def held(self, area: str, id: str, *, writing: bool = True, doing: str = "reading") -> Iterator[Held]:
        """See `Mending.held`. Only a missing log means absence; a file that goes missing later is an error."""
        path = layout.log_path(id, area)
        try:
            held = self._logs.hold(area, id, writing=writing)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise failure_named(doing, path, error) from error
        try:
            with failures_named(doing, path):
                yield held
        finally:
            held.release()

    def set_aside(self, area: str, id: str) -> list[str]:
        """See `Mending.set_aside`."""
        from registration.storage.files.strays import set_aside  # noqa: PLC0415  # for verification alone

        return set_aside(self._logs, area, id)

    def strays(self, area: str) -> Iterator[Stray]:
        """See `Mending.strays`."""
        from registration.storage.files.strays import strays_of  # noqa: PLC0415  # for verification alone

        return strays_of(self._logs, area)


class FileLines:
    """See `registration.storage.ports.Lines`: `<name>.jsonl` in the root."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root

    def add(self, name: str, line: bytes) -> None:
        """See `Lines.add`."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with (
            failures_named("writing", file := f"{name}.jsonl"),
            opened_directory(self._disk, self._root) as root,
            given_back(self._disk, self._disk.open(file, flags, dir_fd=root)) as fd,
        ):
            write_whole(self._disk, fd, line)

    def all(self, name: str) -> Iterator[bytes]:
        """See `Lines.all`."""
        raw = b""
        with (
            failures_named("reading", file := f"{name}.jsonl"),
            suppress(FileNotFoundError),
            opened_directory(self._disk, self._root) as root,
            given_back(self._disk, self._disk.open(file, os.O_RDONLY, dir_fd=root)) as fd,
        ):
            raw = read_whole(self._disk, fd)
        return (line for line in raw.splitlines(keepends=True) if line.endswith(b"\n"))


def open_files(
    root: str | os.PathLike[str],
    definition: Definition | Resolve,
    *,
    wanted: RegistryFile | None = None,
    lifecycle: Any = None,
    snapshots: Snapshots = "each",
    lock_timeout_s: float = 10.0,
    disk: Disk | None = None,
    others: Areas | None = None,
) -> Ledger:
    """The manifests of a registry on plain files.

    root: the registry's directory. definition: the lifecycle, or a function that returns the one that the registry names. wanted: the
    registry to create if there is none, with the lifecycle that it names (`lifecycle` is its data), or None if it must exist;
    `backend.made` tells which was the case. lock_timeout_s: how long to wait for another writer's lock. others: see
    `registration.storage.ledger.Areas`.

    Raises:
        NotFound: when there is no registry and none is wanted.
        CorruptRegistry: when `registry.json` is damaged or names another lifecycle.
        StoreError: on disk errors.
    """
    disk = disk or PosixDisk()
    root = os.path.realpath(root)
    made = wanted is not None and make_registry(disk, root, wanted, lifecycle=lifecycle)
    backend = FileBackend(root, disk=disk, lock_timeout_s=lock_timeout_s, made=made)
    registry = backend.registry
    if not isinstance(definition, Definition):
        definition = definition(registry, lambda kind, digest: kept_rule(backend, kind, digest))
    _check_lifecycle(root, registry, definition)
    return Ledger(
        backend,
        registry.source,
        definition,
        document_bytes_max=registry.document_bytes_max,
        snapshots=snapshots,
        in_force=backend.raw,
        same_lifecycle=_same_lifecycle,
        others=others,
    )


def _same_lifecycle(before: bytes, after: bytes) -> bool:
    return parse_registry("", before).lifecycle == parse_registry("", after).lifecycle


def _check_lifecycle(root: str, registry: RegistryFile, definition: Definition) -> None:
    named = registry.lifecycle
    if registry.definition != definition.name or (
        named is not None and named["digest"] != definition.identity["digest"]
    ):
        version = f" version {named['version']}" if named is not None else ""
        raise CorruptRegistry(
            f"The registry at {root} is for the lifecycle {registry.definition!r}{version}, not for "
            f"the given {definition.name!r} version {definition.version}.",
            "Open it with its own lifecycle, or set another version in force.",
            Next(operation="lifecycle.migrate", missing=("file",)),
            definition=registry.definition,
        )
