"""The syncs of one commit: one after the other on a fast disk, all at once on a slow one.

A commit of a log and its snapshot needs two syncs, a creation four. Handing one to another thread costs some 50 µs, more than
a sync on a fast disk; with syncs of milliseconds, overlapping them halves the wait. So the disk's speed is measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from registration.storage.disk import Disk

Sync = Callable[[int], None]
"""One of `Disk.sync` and `Disk.sync_data`."""

SLOW_S = 0.001
"""The duration of a sync, in seconds, from which overlapping pays."""

THREADS_MAX = 32


class Syncs:
    """The syncs of one store. Safe to share between threads."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._usual_s = 0.0
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0

    def all(
        self, first: tuple[Sync, int], *others: tuple[Sync, int], beside: Callable[[], bool] | None = None
    ) -> bool:
        """Run all syncs, each of a descriptor, and `beside`; returns the result of `beside`, or False without it.

        The first sync is measured. On a slow disk, `beside` may run before the syncs have finished, and in any case all have
        finished on return or raise; on a fast one, it runs after them, if none failed.

        Raises:
            OSError: when a sync failed.
        """
        if self._usual_s >= SLOW_S and (beside is not None or others):
            return self._at_once(first, others, beside)
        self._measured(*first)
        for sync, fd in others:
            sync(fd)
        return beside() if beside is not None else False

    def _at_once(
        self, first: tuple[Sync, int], others: Sequence[tuple[Sync, int]], beside: Callable[[], bool] | None
    ) -> bool:
        pool = self._threads()
        begun: list[Future[None]] = [pool.submit(self._measured, *first)]
        begun += [pool.submit(sync, fd) for sync, fd in others]
        result, failure = False, None
        try:
            result = beside() if beside is not None else False
        finally:
            # No descriptor may be closed, and the commit not be reported, while a sync is running.
            for future in begun:
                failure = future.exception() or failure
        if failure is not None:
            raise failure
        return result

    def _measured(self, sync: Sync, fd: int) -> None:
        start_s = time.perf_counter()
        sync(fd)
        # A moving average: one slow sync on a fast disk changes little.
        self._usual_s += (time.perf_counter() - start_s - self._usual_s) / 8

    def _threads(self) -> ThreadPoolExecutor:
        pool = self._pool
        if pool is None or self._pid != os.getpid():  # a forked child has none of the threads
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # only where the disk is slow

            pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="registration-sync")
            self._pool, self._pid = pool, os.getpid()
        return pool

    def close(self) -> None:
        """End the threads. They are started again on demand."""
        pool, self._pool = self._pool, None
        if pool is not None and self._pid == os.getpid():
            pool.shutdown(wait=False)
