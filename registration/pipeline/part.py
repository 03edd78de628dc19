"""Parts: the components of a pipeline, each a small object over one open registry.

A part is written once, for blocking callers. Each of its public methods has a mark (`call`, `iterate`, …) that tells how it
is awaited, and `registration.pipeline.asynchronous.parts` builds the same part for asyncio and trio from the marks.
At run time, a mark changes nothing. To a type checker, the methods of `NamesPart[Direct]` return a `T` or an `Iterator[T]`,
and those of `NamesPart[Awaited]` a `Coroutine[…, T]` or an `AsyncGenerator[T, None]`, with the same arguments.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, get_args, overload

if TYPE_CHECKING:
    from registration.engine.registry import OpenRegistry
    from registration.feed.consumers import Consumer
    from registration.feed.watching import Watch
    from registration.pipeline.asynchronous.following import AsyncConsumer, AsyncWatch
    from registration.pipeline.asynchronous.listing import AsyncListing
    from registration.pipeline.results import Listing

A = TypeVar("A")
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class Direct:
    """Calls of such a part block."""


class Awaited:
    """Calls of such a part are awaited."""


M = TypeVar("M", bound=Direct | Awaited)
"""The way in which the calls of a part are made."""


class Part(Generic[M]):
    """Operations and queries on one open registry. Safe to share between threads.

    Every call can raise: `InvalidArgument` for an invalid argument, `NotFound`, `CorruptLog` if damage is detected, and
    `StoreError` when the disk fails or the pipeline is closed.
    """

    def __init__(self, registry: OpenRegistry) -> None:
        self._registry = registry


How = Literal["call", "iterate", "interruptible", "listing", "consumer", "watch", "follow"]


def how_awaited(method: object) -> How | None:
    """The mark of a part's method; None if it is not for callers, or waits for nothing."""
    return getattr(method, "_how", None)


if TYPE_CHECKING:

    class _Marked(Generic[P, T, A]):
        """A method that returns a T directly, and an A when awaited."""

        @overload
        def __get__(self, part: Part[Direct], owner: type) -> Callable[P, T]: ...
        @overload
        def __get__(self, part: Part[Awaited], owner: type) -> Callable[P, A]: ...
        def __get__(self, part: Any, owner: type) -> Any: ...

    def call(method: Callable[Concatenate[S, P], T]) -> _Marked[P, T, Coroutine[Any, Any, T]]:
        """It returns one value."""

    def iterate(
        method: Callable[Concatenate[S, P], Iterator[T]],
    ) -> _Marked[P, Iterator[T], AsyncGenerator[T, None]]:
        """It yields values."""

    def interruptible(method: Callable[Concatenate[S, P], T]) -> _Marked[P, T, Coroutine[Any, Any, T]]:
        """It waits for others, and takes `stop`, an event that ends the wait."""

    def listing(method: Callable[Concatenate[S, P], Listing]) -> _Marked[P, Listing, AsyncListing]:
        """It returns a list in pages."""

    def consumer(method: Callable[Concatenate[S, P], Consumer]) -> _Marked[P, Consumer, AsyncConsumer]:
        """It returns a consumer of the feed, whose calls are awaited in turn."""

    def watch(method: Callable[Concatenate[S, P], Watch]) -> _Marked[P, Watch, AsyncWatch]:
        """It returns an object that waits for the feed to grow."""

    def follow(
        method: Callable[Concatenate[S, P], Iterator[T]],
    ) -> _Marked[P, Iterator[T], AsyncGenerator[T, None]]:
        """It follows the feed indefinitely, and takes `stop` as well."""

else:

    def _mark(how: How) -> Callable[[T], T]:
        def mark(method: T) -> T:
            method._how = how  # noqa: SLF001  # read by `how_awaited`
            return method

        return mark

    call, iterate, interruptible, listing, consumer, watch, follow = map(_mark, get_args(How))
