"""Lists for asyncio and trio: `AsyncListing`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from registration.pipeline.asynchronous.threads import Threaded, each_of
from registration.pipeline.pipeline import RegistrationPipeline
from registration.pipeline.results import Listing, Summary

if TYPE_CHECKING:
    from registration.pipeline.asynchronous.pipeline import AsyncRegistrationPipeline

P = ParamSpec("P")


class AsyncListing(AsyncIterator[Summary]):
    """See `registration.pipeline.results.Listing`. Begun when the first manifest is asked for, and not shared between tasks."""

    def __init__(
        self, pipeline: Threaded[RegistrationPipeline], begin: Callable[[RegistrationPipeline], Listing]
    ) -> None:
        self.next_page: str | None = None
        self._found = self._go(pipeline, begin)

    async def __anext__(self) -> Summary:
        return await anext(self._found)

    async def aclose(self) -> None:
        """Leave it early."""
        await self._found.aclose()

    async def _go(
        self, pipeline: Threaded[RegistrationPipeline], begin: Callable[[RegistrationPipeline], Listing]
    ) -> AsyncGenerator[Summary, None]:
        opened = await pipeline._opened()  # noqa: SLF001  # the two are one
        listing = await pipeline._run(partial(begin, opened))  # noqa: SLF001  # as above
        async with aclosing(each_of(pipeline, listing)) as each:
            async for summary in each:
                yield summary
        self.next_page = listing.next_page


def listed(
    method: Callable[Concatenate[RegistrationPipeline, P], Listing],
) -> Callable[Concatenate[AsyncRegistrationPipeline, P], AsyncListing]:
    """The same list, gone through in threads."""

    @wraps(method)
    def call(self: AsyncRegistrationPipeline, /, *args: P.args, **kwargs: P.kwargs) -> AsyncListing:
        return AsyncListing(self, lambda pipeline: method(pipeline, *args, **kwargs))

    return call
