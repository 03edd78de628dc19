"""Threads: how a blocking call is awaited, and what a cancellation of the task does to it.

A limiter bounds the number of threads. A call that is cancelled while waiting for a thread never starts. One that has started is
completed before the cancellation takes effect, however it was cancelled: by a scope of anyio or trio, by `asyncio.timeout`, or
by `Task.cancel`. So after a cancelled command nothing of it is in progress: it is wholly done or not at all. Calls that wait for
other processes (`stopped`) are told to stop instead, and soon end.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from functools import partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import anyio
import anyio.to_thread

P = ParamSpec("P")
T = TypeVar("T")
X = TypeVar("X")
X_co = TypeVar("X_co", covariant=True)

PULLED_MAX = 100
PULLED_S = 0.005
"""How much one batch in a thread takes from an iterator: at most so many values, for so many seconds."""


class Threaded(ABC, Generic[X_co]):
    """An object with the methods of an `X`, each called in a thread."""

    @abstractmethod
    async def _opened(self) -> X_co:
        """The target of the calls."""

    @abstractmethod
    def _now(self) -> X_co:
        """The same if it is open already, without waiting."""

    @abstractmethod
    def _limited_by(self) -> anyio.CapacityLimiter:
        """The maximal number of concurrent calls."""

    async def _run(self, do: Callable[[], T]) -> T:
        """Run it in a thread, once one is free. If the task is cancelled meanwhile, complete it first."""
        limiter, call = self._limited_by(), _Call(do)
        await limiter.acquire_on_behalf_of(call)
        try:
            return await anyio.to_thread.run_sync(call.run, limiter=_unlimited())
        except anyio.get_cancelled_exc_class():
            # Cancelled by asyncio itself: a scope of anyio or trio does not get here.
            if not call.revoke():
                await _finish(call)
            raise
        finally:
            limiter.release_on_behalf_of(call)

    async def _wait(self, do: Callable[[], T], stop: threading.Event) -> T:
        """Run it in its own thread, outside the limit, since its duration depends on other processes.

        If the task is cancelled, set `stop`, and wait for the thread.
        """
        call = _Call(do)
        try:
            return await anyio.to_thread.run_sync(call.run, limiter=_unlimited(), abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            stop.set()
            if not call.revoke():
                await _finish(call)
            raise


def awaited(
    method: Callable[Concatenate[X, P], T],
) -> Callable[Concatenate[Threaded[X], P], Coroutine[Any, Any, T]]:
    """The same call, in a thread."""

    @wraps(method)
    async def call(self: Threaded[X], /, *args: P.args, **kwargs: P.kwargs) -> T:
        subject = await self._opened()
        return await self._run(partial(method, subject, *args, **kwargs))

    return call


def iterated(
    method: Callable[Concatenate[X, P], Iterator[T]],
) -> Callable[Concatenate[Threaded[X], P], AsyncGenerator[T, None]]:
    """The same iterator, read in threads; the call itself is made on the first value."""

    @wraps(method)
    async def iterate(self: Threaded[X], /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        subject = await self._opened()
        values = await self._run(partial(method, subject, *args, **kwargs))
        async with aclosing(each_of(self, values)) as each:
            async for value in each:
                yield value

    return iterate


async def each_of(threaded: Threaded[Any], values: Iterator[T]) -> AsyncGenerator[T, None]:
    """The values of an iterator, read in threads."""
    complete = False
    while not complete:
        pulled: list[T] = []
        failure: list[Exception] = []
        complete = await threaded._run(partial(pull, values, pulled, failure))  # noqa: SLF001  # one of its own
        for value in pulled:
            yield value
        if failure:
            raise failure[0]


def stopped(
    method: Callable[Concatenate[X, P], T],
) -> Callable[Concatenate[Threaded[X], P], Coroutine[Any, Any, T]]:
    """The same call, of a method that takes `stop` and waits for other processes. If the task is cancelled, `stop` is set."""

    @wraps(method)
    async def call(self: Threaded[X], /, *args: P.args, **kwargs: P.kwargs) -> T:
        subject = await self._opened()
        stop = cast("threading.Event | None", kwargs.get("stop")) or threading.Event()
        kwargs["stop"] = stop
        return await self._wait(partial(method, subject, *args, **kwargs), stop)

    return call


def pull(values: Iterator[T], pulled: list[T], failure: list[Exception], count_max: int = PULLED_MAX) -> bool:
    """Take some values, and whether those were the last ones. An error is reported after the values before it."""
    until_s = time.monotonic() + PULLED_S
    try:
        for value in values:
            pulled.append(value)
            if len(pulled) >= count_max or time.monotonic() >= until_s:
                return False
    except Exception as error:  # any error is reported after the values before it
        failure.append(error)
    return True


class _Call(Generic[T]):
    """One call on its way to a thread: it is started, or revoked, never both."""

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._turn = threading.Lock()  # the first to take it decides
        self.finished = threading.Event()

    def run(self) -> T:
        """Run it, unless it was revoked: then the answer is not needed."""
        if not self._turn.acquire(blocking=False):
            return cast("T", None)
        try:
            return self._do()
        finally:
            self.finished.set()

    def revoke(self) -> bool:
        """Prevent it from starting; False if it has started already."""
        return self._turn.acquire(blocking=False)


async def _finish(call: _Call[Any]) -> None:
    """Wait until a thread has completed a call, even if the task is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):
        while not call.finished.is_set():
            with suppress(anyio.get_cancelled_exc_class()):
                await anyio.to_thread.run_sync(call.finished.wait, limiter=_unlimited())


def _unlimited() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(math.inf)
