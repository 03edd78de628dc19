"""Snapshots behind their logs: `state.json` is written in the background after commits.

One thread per store. A snapshot is written once its stream has been quiet for a moment, or has been behind for long enough;
`close` and the end of the process write the rest. A killed process leaves logs ahead of their snapshots, as a crash between
the commit and the snapshot does: the next read folds the rest.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakSet

from registration.errors import RegistrationError

if TYPE_CHECKING:
    from registration.values.events import StateSnapshot

QUIET_S = 0.25
"""How long a stream must be quiet before its snapshot is written, in seconds."""

BEHIND_S_MAX = 2.0
"""How long a snapshot may be behind while commits go on, in seconds."""

BEHIND_MAX = 1024
"""How many streams may be behind. A commit to one more writes the snapshot of the first."""

_log = logging.getLogger("registration")


@dataclass(slots=True)
class _Behind:
    """since_s, latest_s: the times of its first and its latest commit that no snapshot covers, by the monotonic clock."""

    snapshot: StateSnapshot
    since_s: float
    latest_s: float


class SnapshotsBehind:
    """The snapshots still to be written. Safe to share between threads.

    write: stores a stream's snapshot, under its lock, if it is still the latest. Its errors are logged: a snapshot is a cache.
    """

    def __init__(self, write: Callable[[str, StateSnapshot], None]) -> None:
        self._write = write
        self._behind: OrderedDict[str, _Behind] = OrderedDict()  # by their first commit
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._writing = 0
        self._closing = False
        _open.add(self)

    def add(self, stream: str, snapshot: StateSnapshot) -> None:
        """Note a commit to a stream, and its state after it."""
        now_s = time.monotonic()
        with self._changed:
            entry = self._behind.get(stream)
            if entry is None:
                self._behind[stream] = _Behind(snapshot, now_s, now_s)
                if len(self._behind) == 1:
                    self._changed.notify_all()  # the thread was waiting without a deadline
            else:
                entry.snapshot, entry.latest_s = snapshot, now_s
            if self._thread is None:
                self._start()
            first = self._behind.popitem(last=False) if len(self._behind) > BEHIND_MAX else None
        if first is not None:
            self._keep(first[0], first[1].snapshot)

    def flush(self) -> None:
        """Write all snapshots that are behind, and wait for writes in progress."""
        while True:
            with self._changed:
                if not self._behind:
                    self._changed.wait_for(lambda: not self._writing)
                    return
                stream, entry = self._behind.popitem(last=False)
                self._writing += 1
            self._keep_counted(stream, entry.snapshot)

    def close(self) -> None:
        """Write everything, and end the thread. A later commit starts it again."""
        self.flush()
        with self._changed:
            thread, self._thread = self._thread, None
            self._closing = True
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._closing = False

    def forget(self) -> None:
        """In a forked child: it has no thread, the lock may be held by one of the parent's, and the pending snapshots are the parent's."""
        self._behind.clear()
        self._changed = threading.Condition()
        self._thread, self._writing = None, 0

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="registration-snapshots", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(None if not self._behind else QUIET_S)
                if self._closing or self._thread is not threading.current_thread():
                    return
            while (due := self._next_due()) is not None:
                self._keep_counted(*due)

    def _next_due(self) -> tuple[str, StateSnapshot] | None:
        now_s = time.monotonic()
        with self._changed:
            for stream, entry in self._behind.items():
                if now_s - entry.latest_s >= QUIET_S or now_s - entry.since_s >= BEHIND_S_MAX:
                    del self._behind[stream]
                    self._writing += 1
                    return stream, entry.snapshot
        return None

    def _keep_counted(self, stream: str, snapshot: StateSnapshot) -> None:
        try:
            self._keep(stream, snapshot)
        finally:
            with self._changed:
                self._writing -= 1
                self._changed.notify_all()

    def _keep(self, stream: str, snapshot: StateSnapshot) -> None:
        try:
            self._write(stream, snapshot)
        except (OSError, RegistrationError) as error:
            _log.warning("%s: writing the snapshot failed and is retried later: %s", stream, error)


_open: WeakSet[SnapshotsBehind] = WeakSet()


def _flush_all() -> None:
    for one in list(_open):
        one.flush()


def _forget_all() -> None:
    for one in list(_open):
        one.forget()


atexit.register(_flush_all)
os.register_at_fork(after_in_child=_forget_all)
