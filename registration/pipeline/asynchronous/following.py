"""Following a registry without a thread that waits: `AsyncWatch`, `following`, and named consumers as `AsyncConsumer`."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Self

import anyio

from registration.errors import LockTimeout
from registration.feed.consumers import Consumer, Failing
from registration.feed.watching import LOOK_S, LOOK_S_MAX
from registration.pipeline.asynchronous.threads import Threaded, awaited, iterated, stopped
from registration.storage.reports import FeedEntry

if TYPE_CHECKING:
    from types import TracebackType


class AsyncWatch:
    """Waits for one reader of a feed. stop: ends every wait, within 0.4 s, when it is set."""

    def __init__(
        self, feed_end: Callable[[], Coroutine[Any, Any, str]], *, stop: threading.Event | None = None
    ) -> None:
        self.stop = stop or threading.Event()
        self._feed_end = feed_end

    async def wait(self, seen: str, *, timeout_s: float | None = None) -> bool:
        """Wait until the feed's end differs from `seen`; False on timeout or if the watch was stopped.

        Polls every 50 ms, backing off while nothing happens. It may be cancelled, and called again.

        Raises:
            StoreError, LockTimeout: as `FeedPart.end`.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = LOOK_S
        while not self.stop.is_set():
            if await self._feed_end() != seen:
                return True
            left_s = pause_s if deadline_s is None else min(pause_s, deadline_s - time.monotonic())
            if left_s <= 0:
                return False
            await anyio.sleep(left_s)
            pause_s = min(pause_s * 1.5, LOOK_S_MAX)
        return False


async def following(
    read: Callable[[str | None], AsyncGenerator[FeedEntry, None]],
    feed_end: Callable[[], Coroutine[Any, Any, str]],
    after: str | None,
    watch: AsyncWatch,
) -> AsyncGenerator[FeedEntry, None]:
    """The entries after a cursor, and then every new commit, until the watch is stopped.

    Keeps waiting if a writer holds its lock for too long; other errors are raised.
    """
    cursor = await feed_end() if after == "now" else after
    while not watch.stop.is_set():
        end = await feed_end()
        with suppress(LockTimeout):
            async with aclosing(read(cursor)) as entries:
                async for entry in entries:
                    yield entry
                    cursor = entry.cursor
                    if watch.stop.is_set():
                        return
            await watch.wait(end)


class AsyncConsumer(Threaded[Consumer]):
    """A `registration.feed.consumers.Consumer`, awaited; for one task at a time.

    ::

        async with pipeline.feed.consumer("search-index") as consumer:
            async for entry in consumer:
                await index(entry.event)
                await consumer.commit(entry)

    `run` calls a plain function, in a thread; if its task is cancelled, `stop` is set, and the current entry is
    finished.
    """

    def __init__(self, consumer: Consumer, limiter: anyio.CapacityLimiter) -> None:
        self._consumer = consumer
        self._limiter = limiter

    async def __aenter__(self) -> Self:
        await self._run(self._consumer.__enter__)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._run(lambda: self._consumer.__exit__(None, None, None))

    @property
    def name(self) -> str:
        """Its name."""
        return self._consumer.name

    @property
    def cursor(self) -> str:
        """See `Consumer.cursor`."""
        return self._consumer.cursor

    @property
    def failing(self) -> Failing | None:
        """See `Consumer.failing`."""
        return self._consumer.failing

    __aiter__ = iterated(Consumer.__iter__)
    commit = awaited(Consumer.commit)
    note_failure = awaited(Consumer.note_failure)
    note_unreadable = awaited(Consumer.note_unreadable)
    refuse_blocked = awaited(Consumer.refuse_blocked)
    run = stopped(Consumer.run)
    status = awaited(Consumer.status)
    retry = awaited(Consumer.retry)
    skip = awaited(Consumer.skip)
    reset = awaited(Consumer.reset)
    delete = awaited(Consumer.delete)

    async def _opened(self) -> Consumer:
        return self._consumer

    def _now(self) -> Consumer:
        return self._consumer

    def _limited_by(self) -> anyio.CapacityLimiter:
        return self._limiter
