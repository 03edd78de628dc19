"""Parts: what a pipeline is made of, each a small object over one open registry.

A part is written once, for callers that block. Each of its public methods has a mark (`call`, `iterate`, …) that says what becomes
of it where calls are awaited, and `registration.pipeline.asynchronous.parts` makes the same part for asyncio and trio from them.
When the program runs, a mark changes nothing. To a type checker, the methods of `NamesPart[Direct]` give a `T` or an `Iterator[T]`,
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
"""How the calls of a part are made."""


class Part(Generic[M]):
    """What can be asked of, or done to, one open registry. Safe to share between threads.

    What every call can raise: `InvalidArgument` for an invalid argument, `NotFound`, `CorruptLog` where damage is met, and
    `StoreError` when the disk fails or the pipeline is closed.
    """

    def __init__(self, registry: OpenRegistry) -> None:
        self._registry = registry


How = Literal["call", "iterate", "interruptible", "listing", "consumer", "watch", "follow"]


def how_awaited(method: object) -> How | None:
    """The mark of a part's method; None where it has none, since it is not for callers or waits for nothing."""
    return getattr(method, "_how", None)


if TYPE_CHECKING:

    class _Marked(Generic[P, T, A]):
        """A method that gives a T directly, and an A where calls are awaited."""

        @overload
        def __get__(self, part: Part[Direct], owner: type) -> Callable[P, T]: ...
        @overload
        def __get__(self, part: Part[Awaited], owner: type) -> Callable[P, A]: ...
        def __get__(self, part: Any, owner: type) -> Any: ...

    def call(method: Callable[Concatenate[S, P], T]) -> _Marked[P, T, Coroutine[Any, Any, T]]:
        """It gives its answer at once."""

    def iterate(
        method: Callable[Concatenate[S, P], Iterator[T]],
    ) -> _Marked[P, Iterator[T], AsyncGenerator[T, None]]:
        """It gives one thing after the other."""

    def interruptible(method: Callable[Concatenate[S, P], T]) -> _Marked[P, T, Coroutine[Any, Any, T]]:
        """It waits for others, and takes `stop`, an event that ends the waiting."""

    def listing(method: Callable[Concatenate[S, P], Listing]) -> _Marked[P, Listing, AsyncListing]:
        """It gives a list in pages."""

    def consumer(method: Callable[Concatenate[S, P], Consumer]) -> _Marked[P, Consumer, AsyncConsumer]:
        """It gives a consumer of the feed, whose calls are awaited in turn."""

    def watch(method: Callable[Concatenate[S, P], Watch]) -> _Marked[P, Watch, AsyncWatch]:
        """It gives what waits for the feed to grow."""

    def follow(
        method: Callable[Concatenate[S, P], Iterator[T]],
    ) -> _Marked[P, Iterator[T], AsyncGenerator[T, None]]:
        """It follows the feed for as long as its caller likes, and takes `stop` as well."""

else:

    def _mark(how: How) -> Callable[[T], T]:
        def mark(method: T) -> T:
            method._how = how  # noqa: SLF001  # read by `how_awaited`
            return method

        return mark

    call, iterate, interruptible, listing, consumer, watch, follow = map(_mark, get_args(How))
