"""Policy files on a disk: a registry's `policy.toml`, which people edit, and files that are proposed.

`policy.toml` decides nothing: it takes effect by being applied (`registration.engine.governance`).
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registration.core.policy import NO_POLICY, Guard, Policy
from registration.errors import NotFound, StoreError
from registration.storage import layout
from registration.storage.disk import (
    ensure_directory,
    failure_named,
    failures_named,
    given_back,
    opened_directory,
    read_span,
    replace_atomic,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.core.chart import Chart
    from registration.storage.disk import Disk

_BYTES_MAX = 1 << 26


@dataclass(frozen=True, slots=True)
class FoundPolicy:
    """A policy as a file has it. files: by path, relative to the policy's directory, the bytes that it was read from; the schemas as well."""

    policy: Policy = NO_POLICY
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def sums(self) -> dict[str, str]:
        """The SHA-256 of each file, by its path."""
        return {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}


NOTHING_FOUND = FoundPolicy()


class PolicyOnDisk:
    """The `policy.toml` of one registry. Safe to share between threads.

    chart: the lifecycle whose actions it names. guards: those of the program, by name.
    """

    def __init__(
        self, disk: Disk, root: str, chart: Chart, guards: Mapping[str, Guard] | None = None
    ) -> None:
        self._disk = disk
        self._root = root
        self._chart = chart
        self._guards = guards
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[int, ...]] = {}
        self._found = NOTHING_FOUND

    def __call__(self) -> FoundPolicy:
        """What the file says now; `NOTHING_FOUND` if there is none. Read again only when it, or a schema that it names, has changed.

        Raises:
            InvalidPolicy: when it is invalid.
            StoreError: when it can't be read.
        """
        try:
            now = self._signature(layout.POLICY_FILE)
        except FileNotFoundError:
            return NOTHING_FOUND
        except OSError as error:
            raise failure_named("reading", layout.POLICY_FILE, error) from error
        with self._lock, failures_named("reading", layout.POLICY_FILE):
            if self._seen.get(layout.POLICY_FILE) != now or self._beside_changed():
                self._seen = {}
                self._found = self._read()
            return self._found

    def sums(self, paths: Mapping[str, str]) -> dict[str, str | None]:
        """The SHA-256 of each of these files now, and of `policy.toml`; None: there is none.

        Raises:
            StoreError: when one can't be read.
        """
        found: dict[str, str | None] = {}
        for path in dict.fromkeys((layout.POLICY_FILE, *paths)):
            try:
                found[path] = hashlib.sha256(self._beside(path, _BYTES_MAX)).hexdigest()
            except (FileNotFoundError, NotADirectoryError):
                found[path] = None
            except OSError as error:
                raise failure_named("reading", path, error) from error
        return found

    def put(self, files: Mapping[str, bytes]) -> tuple[str, ...]:
        """Replace the registry's files by these, each atomically, `policy.toml` last; returns the paths of those that had other bytes.

        Raises:
            StoreError: when one can't be written; those before it were.
        """
        now = self.sums(dict.fromkeys(files, ""))
        other = [path for path, data in files.items() if now[path] != hashlib.sha256(data).hexdigest()]
        other.sort(key=layout.POLICY_FILE.__eq__)
        for path in other:
            *above, name = path.split("/")
            with failures_named("writing", path), ExitStack() as opened:
                directory = opened.enter_context(opened_directory(self._disk, self._root))
                for step in above:
                    ensure_directory(self._disk, step, dir_fd=directory)
                    directory = opened.enter_context(opened_directory(self._disk, step, dir_fd=directory))
                replace_atomic(self._disk, directory, name, name + layout.TEMPORARY_SUFFIX, files[path])
                self._disk.sync(directory)
        return tuple(other)

    def _signature(self, path: str) -> tuple[int, ...]:
        found = self._disk.status_at(f"{self._root}/{path}")
        return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _beside_changed(self) -> bool:
        try:
            return any(self._signature(path) != seen for path, seen in self._seen.items())
        except FileNotFoundError:
            return True

    def _read(self) -> FoundPolicy:
        from registration.rules.policy_file import POLICY_BYTES_MAX, parse_policy  # noqa: PLC0415  # pydantic

        seen: dict[str, tuple[int, ...]] = {}
        files: dict[str, bytes] = {}

        def read(path: str, size_bytes_max: int = _BYTES_MAX) -> bytes:
            # The stat comes before the read: after a concurrent change, it is read again next time.
            seen[path] = self._signature(path)
            files[path] = self._beside(path, size_bytes_max)
            return files[path]

        raw = read(layout.POLICY_FILE, POLICY_BYTES_MAX)
        source = os.path.join(self._root, layout.POLICY_FILE)
        policy = parse_policy(raw, source=source, chart=self._chart, read=read, guards=self._guards)
        self._seen = seen
        return FoundPolicy(policy, files)

    def _beside(self, path: str, size_bytes_max: int) -> bytes:
        """A file below the root; at most one byte more than is allowed."""
        *above, name = path.split("/")
        with ExitStack() as opened:
            directory = opened.enter_context(opened_directory(self._disk, self._root))
            for step in above:  # one by one: O_NOFOLLOW only applies to the last component of a path
                directory = opened.enter_context(opened_directory(self._disk, step, dir_fd=directory))
            fd = opened.enter_context(
                given_back(self._disk, self._disk.open(name, os.O_RDONLY, dir_fd=directory))
            )
            return read_span(self._disk, fd, 0, size_bytes_max + 1)


def read_policy(path: str, chart: Chart, guards: Mapping[str, Guard] | None = None) -> FoundPolicy:
    """A policy from any file, with its schemas in the same directory.

    Raises:
        NotFound: when there is no such file.
        InvalidPolicy: when it is invalid.
        StoreError: when it can't be read.
    """
    from registration.rules.policy_file import POLICY_BYTES_MAX, parse_policy  # noqa: PLC0415  # as above

    files: dict[str, bytes] = {}

    def read(name: str, size_bytes_max: int = _BYTES_MAX) -> bytes:
        with open(os.path.join(os.path.dirname(path), name), "rb") as opened:
            files[name] = opened.read(size_bytes_max + 1)
        return files[name]

    own = os.path.basename(path)
    try:
        with failures_named("reading", path):
            raw = read(own, POLICY_BYTES_MAX)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise NotFound(f"There is no file {path}.", "Pass the policy's file.") from None
        raise
    policy = parse_policy(raw, source=path, chart=chart, read=read, guards=guards)
    return FoundPolicy(
        policy, {layout.POLICY_FILE if name == own else name: data for name, data in files.items()}
    )
