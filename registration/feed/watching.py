"""Watching: waiting until something new is in the feed.

Whoever waits looks at the feed's end every 50 ms, and ever more seldom, up to 0.4 s, while nothing happens. Where watchfiles
is installed (extra `watch`), the system tells of a change at once, and the end is looked at twice a second besides.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from registration.errors import LockTimeout

if TYPE_CHECKING:
    from registration.core.store import FeedEntry, Store

LOOK_S = 0.05
LOOK_S_MAX = 0.4
_TOLD_S = 0.5


class Watch:
    """Waits for one reader of a feed. stop: ends every wait when it is set.

    look_s: how long to wait before looking again, at first. told: whether to have the system tell, where it can.
    """

    def __init__(
        self,
        store: Store,
        *,
        stop: threading.Event | None = None,
        look_s: float = LOOK_S,
        told: bool = True,
    ) -> None:
        self.stop = stop or threading.Event()
        self._store = store
        self._look_s = look_s
        self._changes: Iterator[Any] | None = None
        self._told = told and store.consumers.folder is not None

    def wait(self, seen: str, *, timeout_s: float | None = None) -> bool:
        """Wait until the feed's end is another than `seen`; False where the time was up or the watch was stopped.

        Raises:
            StoreError, LockTimeout: as `registration.core.store.Store.feed_end`.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = self._look_s
        while not self.stop.is_set():
            if self._store.feed_end() != seen:
                return True
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return False
            self._pause(pause_s if left_s is None else min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, max(self._look_s, LOOK_S_MAX))
        return False

    def _pause(self, seconds: float) -> None:
        changes = self._told_changes()
        if changes is None:
            self.stop.wait(seconds)
        else:
            next(changes, None)

    def _told_changes(self) -> Iterator[Any] | None:
        """What tells of changes, begun at the first wait; None where nothing does."""
        if self._told and self._changes is None:
            self._changes = _changes_in(self._store.consumers.folder, self.stop)
            self._told = self._changes is not None
        return self._changes


def _changes_in(folder: str | None, stop: threading.Event) -> Iterator[Any] | None:
    try:
        from watchfiles import watch  # noqa: PLC0415  # an extra, and only for who waits
    except ImportError:
        return None
    assert folder is not None
    changes: Iterator[Any] = watch(
        folder,
        recursive=False,
        watch_filter=None,
        debounce=20,
        step=10,
        rust_timeout=round(_TOLD_S * 1000),
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=True,
    )
    return changes


def follow(store: Store, after: str | None, watch: Watch) -> Iterator[FeedEntry]:
    """The entries behind a cursor, and then whatever is committed, until the watch is stopped.

    A writer that holds its lock for too long is waited for; whatever else goes wrong is raised.
    """
    cursor = store.feed_end() if after == "now" else after
    while not watch.stop.is_set():
        end = store.feed_end()
        with suppress(LockTimeout):
            for entry in store.feed(cursor):
                yield entry
                cursor = entry.cursor
                if watch.stop.is_set():
                    return
            watch.wait(end)
