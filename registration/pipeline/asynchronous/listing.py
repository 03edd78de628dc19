"""Lists for asyncio and trio: `AsyncListing`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

from registration.pipeline.asynchronous.threads import Threaded, each_of
from registration.pipeline.results import Listing, Summary

P = ParamSpec("P")
X = TypeVar("X")


class AsyncListing(AsyncIterator[Summary]):
    """See `registration.pipeline.results.Listing`. Started on the first manifest, and not shared between tasks."""

    def __init__(self, threaded: Threaded[X], begin: Callable[[X], Listing]) -> None:
        self.next_page: str | None = None
        self._found = self._go(threaded, begin)

    async def __anext__(self) -> Summary:
        return await anext(self._found)

    async def aclose(self) -> None:
        """Leave it early."""
        await self._found.aclose()

    async def _go(
        self, threaded: Threaded[X], begin: Callable[[X], Listing]
    ) -> AsyncGenerator[Summary, None]:
        opened = await threaded._opened()  # noqa: SLF001  # the two are one
        listing = await threaded._run(partial(begin, opened))  # noqa: SLF001  # as above
        async with aclosing(each_of(threaded, listing)) as each:
            async for summary in each:
                yield summary
        self.next_page = listing.next_page


def listed(
    method: Callable[Concatenate[X, P], Listing],
) -> Callable[Concatenate[Threaded[X], P], AsyncListing]:
    """The same list, read in threads."""

    @wraps(method)
    def call(self: Threaded[X], /, *args: P.args, **kwargs: P.kwargs) -> AsyncListing:
        def begin(subject: X) -> Listing:
            return method(subject, *args, **kwargs)

        return AsyncListing(self, begin)

    return call
