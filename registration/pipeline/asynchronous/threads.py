"""Threads: how a call that blocks is awaited, and what becomes of it when the task that awaits it is cancelled.

A limiter bounds how many threads there are. A call that is cancelled while it waits for one never begins. One that has begun is
finished before the cancellation goes on, however it was cancelled: by a scope of anyio or trio, by `asyncio.timeout`, or by
`Task.cancel`. So after a cancelled command nothing of it is under way any more: it is wholly done or not at all. Calls that wait for
others (`stopped`) are told to stop instead, and soon end.
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
"""How much one turn in a thread takes from an iterator: so many, or for so long."""


class Threaded(ABC, Generic[X_co]):
    """Something whose methods are those of an `X`, each called in a thread."""

    @abstractmethod
    async def _opened(self) -> X_co:
        """What the calls are made on."""

    @abstractmethod
    def _now(self) -> X_co:
        """The same, where it is there already, without a wait."""

    @abstractmethod
    def _limited_by(self) -> anyio.CapacityLimiter:
        """How many calls there may be at once."""

    async def _run(self, do: Callable[[], T]) -> T:
        """Do it in a thread, once one is free. Where the task is cancelled meanwhile, finish it first."""
        limiter, call = self._limited_by(), _Call(do)
        await limiter.acquire_on_behalf_of(call)
        try:
            return await anyio.to_thread.run_sync(call.run, limiter=_unlimited())
        except anyio.get_cancelled_exc_class():
            # A scope of anyio or trio does not come through here; asyncio's own cancelling does.
            if not call.revoke():
                await _finish(call)
            raise
        finally:
            limiter.release_on_behalf_of(call)

    async def _wait(self, do: Callable[[], T], stop: threading.Event) -> T:
        """Do it in a thread of its own, besides the limit, since it takes as long as others please.

        Where the task is cancelled, set `stop`, and wait for the thread.
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
    """The same iterator, gone through in threads; the call itself is made when the first value is asked for."""

    @wraps(method)
    async def iterate(self: Threaded[X], /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        subject = await self._opened()
        values = await self._run(partial(method, subject, *args, **kwargs))
        async with aclosing(each_of(self, values)) as each:
            async for value in each:
                yield value

    return iterate


async def each_of(threaded: Threaded[Any], values: Iterator[T]) -> AsyncGenerator[T, None]:
    """What an iterator gives, pulled in threads."""
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
    """The same call, of a method that takes `stop` and waits for others. Where the task is cancelled, `stop` is set."""

    @wraps(method)
    async def call(self: Threaded[X], /, *args: P.args, **kwargs: P.kwargs) -> T:
        subject = await self._opened()
        stop = cast("threading.Event | None", kwargs.get("stop")) or threading.Event()
        kwargs["stop"] = stop
        return await self._wait(partial(method, subject, *args, **kwargs), stop)

    return call


def pull(values: Iterator[T], pulled: list[T], failure: list[Exception], count_max: int = PULLED_MAX) -> bool:
    """Take some values; whether that were the last ones. What fails is told after those before it."""
    until_s = time.monotonic() + PULLED_S
    try:
        for value in values:
            pulled.append(value)
            if len(pulled) >= count_max or time.monotonic() >= until_s:
                return False
    except Exception as error:  # whatever it is, it belongs behind the values that came before it
        failure.append(error)
    return True


class _Call(Generic[T]):
    """One call on its way to a thread: it is begun, or revoked, never both."""

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._turn = threading.Lock()  # whoever takes it decides
        self.finished = threading.Event()

    def run(self) -> T:
        """Carry it out, unless it was revoked: then nobody asks for the answer."""
        if not self._turn.acquire(blocking=False):
            return cast("T", None)
        try:
            return self._do()
        finally:
            self.finished.set()

    def revoke(self) -> bool:
        """See to it that it is never begun; False where it has begun already."""
        return self._turn.acquire(blocking=False)


async def _finish(call: _Call[Any]) -> None:
    """Wait until a thread is done with a call, whoever cancels the task meanwhile."""
    with anyio.CancelScope(shield=True):
        while not call.finished.is_set():
            with suppress(anyio.get_cancelled_exc_class()):
                await anyio.to_thread.run_sync(call.finished.wait, limiter=_unlimited())


def _unlimited() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(math.inf)
