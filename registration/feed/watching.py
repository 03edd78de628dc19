"""Watching: waiting until something new is in the feed. What tells of it is the backend's: see `Order.wait`."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from registration.errors import LockTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.storage.ledger import Ledger
    from registration.storage.reports import FeedEntry

LOOK_S = 0.05
LOOK_S_MAX = 0.4
"""The interval of polling, in seconds: at first, and while nothing happens."""

_WAIT_S = 60.0


class Watch:
    """Waits for one reader of a feed. stop: ends every wait when it is set."""

    def __init__(self, store: Ledger, *, stop: threading.Event | None = None) -> None:
        self.stop = stop or threading.Event()
        self._order = store.backend.order

    def wait(self, seen: str, *, timeout_s: float | None = None) -> bool:
        """Wait until the feed's end differs from `seen`; False on timeout or if the watch was stopped.

        Raises:
            StoreError, LockTimeout: as `registration.storage.ledger.Ledger.feed_end`.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.stop.is_set():
            left_s = _WAIT_S if deadline_s is None else min(_WAIT_S, deadline_s - time.monotonic())
            if self._order.wait(seen, left_s, stop=self.stop):
                return True
            if deadline_s is not None and time.monotonic() >= deadline_s:
                return False
        return False


def follow(store: Ledger, after: str | None, watch: Watch) -> Iterator[FeedEntry]:
    """The entries after a cursor, and then every new commit, until the watch is stopped.

    Waits for a writer that holds its lock for too long; other errors are raised.
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
