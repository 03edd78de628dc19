"""The rules in force: a registry's `policy.toml`, read again when it changes.

A `stat` of it, and of each schema that it names, detects changes, so a policy takes effect in open programs with their next write.
While the file is invalid, every write is refused: a gate without readable rules stays shut.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from registration.core.policy import NO_POLICY, Guard, Policy
from registration.errors import NotFound, StoreError
from registration.storage import layout
from registration.storage.disk import failure_named, failures_named, given_back, opened_directory, read_span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.core.chart import Chart
    from registration.storage.disk import Disk


class PolicyInForce:
    """The policy of one registry on a disk. Safe to share between threads.

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
        self._policy = NO_POLICY

    def __call__(self) -> Policy:
        """The current policy on the disk; `NO_POLICY` if there is none.

        Raises:
            InvalidPolicy: when it is invalid.
            StoreError: when it can't be read.
        """
        try:
            now = self._signature(layout.POLICY_FILE)
        except FileNotFoundError:
            return NO_POLICY
        except OSError as error:
            raise failure_named("reading", layout.POLICY_FILE, error) from error
        with self._lock, failures_named("reading", layout.POLICY_FILE):
            if self._seen.get(layout.POLICY_FILE) != now or self._beside_changed():
                self._seen = {}
                self._policy = self._read()
            return self._policy

    def _signature(self, path: str) -> tuple[int, ...]:
        found = self._disk.status_at(f"{self._root}/{path}")
        return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _beside_changed(self) -> bool:
        try:
            return any(self._signature(path) != seen for path, seen in self._seen.items())
        except FileNotFoundError:
            return True

    def _read(self) -> Policy:
        from registration.rules.policy_file import POLICY_BYTES_MAX, parse_policy  # noqa: PLC0415  # pydantic

        seen: dict[str, tuple[int, ...]] = {}

        def read(path: str, size_bytes_max: int = 1 << 26) -> bytes:
            # The stat comes before the read: after a concurrent change, it is read again next time.
            seen[path] = self._signature(path)
            return self._beside(path, size_bytes_max)

        raw = read(layout.POLICY_FILE, POLICY_BYTES_MAX)
        source = os.path.join(self._root, layout.POLICY_FILE)
        policy = parse_policy(raw, source=source, chart=self._chart, read=read, guards=self._guards)
        self._seen = seen
        return policy

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


def read_policy(path: str, chart: Chart, guards: Mapping[str, Guard] | None = None) -> Policy:
    """A policy from any file, with its schemas in the same directory.

    Raises:
        NotFound: when there is no such file.
        InvalidPolicy: when it is invalid.
        StoreError: when it can't be read.
    """
    from registration.rules.policy_file import POLICY_BYTES_MAX, parse_policy  # noqa: PLC0415  # as above

    def read(name: str, size_bytes_max: int = 1 << 26) -> bytes:
        with open(os.path.join(os.path.dirname(path), name), "rb") as opened:
            return opened.read(size_bytes_max + 1)

    try:
        with failures_named("reading", path):
            raw = read(os.path.basename(path), POLICY_BYTES_MAX)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise NotFound(f"There is no file {path}.", "Pass the policy's file.") from None
        raise
    return parse_policy(raw, source=path, chart=chart, read=read, guards=guards)
