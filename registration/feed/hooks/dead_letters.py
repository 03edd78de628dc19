"""Dead letters: events that a hook could not deliver, stored until they are redelivered or dropped.

``feed/dead-letters/<hook>.jsonl``, one JSON object per line, on the disk before the hook continues with the next event. Changed
under the lock of its directory, and replaced atomically when a letter is removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import orjson

from registration.errors import LockTimeout
from registration.storage import layout
from registration.storage.disk import (
    ensure_directory,
    failures_named,
    given_back,
    let_go_by_children,
    opened_directory,
    read_whole,
    replace_atomic,
    write_whole,
)

if TYPE_CHECKING:
    from registration.storage.files.segments import Segments

_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An undelivered event.

    event_id, manifest_id, version, action: identify it. time: when delivery was given up. attempts: the number of attempts, with
    the error of the last one. body: the event, as it is sent.
    """

    hook: str
    event_id: str
    manifest_id: str
    version: int
    action: str
    time: str
    attempts: int
    error: str
    body: str

    @property
    def what(self) -> str:
        """The event in words."""
        return f"{self.manifest_id} version {self.version} ({self.action})"


class DeadLetters:
    """The dead letters of a registry's hooks. Safe between threads and processes."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._disk = segments.disk

    def hooks(self) -> list[str]:
        """The hooks that have, or had, dead letters, sorted."""
        with _named("listing"), suppress(FileNotFoundError), self._opened() as directory:
            names = self._disk.names(directory)
            return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
        return []

    def of(self, hook: str) -> list[DeadLetter]:
        """The letters of a hook, oldest first; an event that failed twice is listed once."""
        with _named("reading"), suppress(FileNotFoundError), self._opened() as directory:
            return list(self._read(directory, hook).values())
        return []

    def put(self, letter: DeadLetter) -> None:
        """Store a letter. When this returns, it is on the disk."""
        with _named("writing"), self._locked() as directory:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            name = letter.hook + _SUFFIX
            with given_back(self._disk, self._disk.open(name, flags, dir_fd=directory)) as fd:
                # A partial line left by a kill is terminated, so that it does not corrupt the next.
                write_whole(self._disk, fd, b"\n" + orjson.dumps(asdict(letter)) + b"\n")
                self._disk.sync(fd)
            self._disk.sync(directory)

    def take_out(self, hook: str, event_id: str) -> None:
        """Delete a letter."""
        self._change(hook, lambda letters: letters.pop(event_id, None))

    def change(self, letter: DeadLetter) -> None:
        """Replace the letter of the same event."""
        self._change(letter.hook, lambda letters: letters.update({letter.event_id: letter}))

    def _change(self, hook: str, change: Callable[[dict[str, DeadLetter]], object]) -> None:
        with _named("writing"), self._locked() as directory:
            letters = self._read(directory, hook)
            change(letters)
            data = b"".join(orjson.dumps(asdict(one)) + b"\n" for one in letters.values())
            name = hook + _SUFFIX
            replace_atomic(self._disk, directory, name, name + layout.TEMPORARY_SUFFIX, data)
            self._disk.sync(directory)

    def _read(self, directory: int, hook: str) -> dict[str, DeadLetter]:
        try:
            fd = self._disk.open(hook + _SUFFIX, os.O_RDONLY, dir_fd=directory)
        except FileNotFoundError:
            return {}
        with given_back(self._disk, fd):
            lines = read_whole(self._disk, fd).splitlines()
        letters = {}
        for line in lines:
            with suppress(
                orjson.JSONDecodeError, TypeError
            ):  # an empty line, or a partial one left by a kill
                letter = DeadLetter(**orjson.loads(line))
                letters[letter.event_id] = letter
        return letters

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with (
            self._segments.opened() as feed,
            opened_directory(self._disk, layout.DEAD_LETTERS, dir_fd=feed) as directory,
        ):
            yield directory

    @contextmanager
    def _locked(self) -> Iterator[int]:
        disk = self._disk
        with self._segments.made() as feed:
            ensure_directory(disk, layout.DEAD_LETTERS, dir_fd=feed)
            with (
                opened_directory(disk, layout.DEAD_LETTERS, dir_fd=feed) as directory,
                let_go_by_children(disk, directory),
            ):
                if not disk.lock(directory, self._segments.lock_timeout_s):
                    raise LockTimeout(f"{layout.FEED}/{layout.DEAD_LETTERS}", self._segments.lock_timeout_s)
                yield directory


@contextmanager
def _named(doing: str) -> Iterator[None]:
    with failures_named(doing, f"{layout.FEED}/{layout.DEAD_LETTERS}"):
        yield
