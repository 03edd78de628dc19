"""The parts of a pipeline, awaited: each is generated from the part itself, by the marks on its methods."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from registration.pipeline.asynchronous.following import AsyncConsumer, AsyncWatch, following
from registration.pipeline.asynchronous.listing import listed
from registration.pipeline.asynchronous.threads import Threaded, awaited, iterated, stopped
from registration.pipeline.part import Direct, How, Part, how_awaited

if TYPE_CHECKING:
    import threading

    import anyio

    from registration.storage.reports import FeedEntry

Method = Callable[..., Any]


class AsyncPart(Threaded[Any]):
    """A part whose calls run in threads. Safe to share between the tasks of one event loop.

    whole: opens the pipeline, and limits its calls. part: returns the part of a pipeline.
    """

    def __init__(self, whole: Threaded[Any], part: Callable[[Any], Part[Direct]]) -> None:
        self._whole = whole
        self._part = part

    async def _opened(self) -> Any:
        return self._part(await self._whole._opened())  # noqa: SLF001  # one of its own

    def _now(self) -> Any:
        return self._part(self._whole._now())  # noqa: SLF001  # as above

    def _limited_by(self) -> anyio.CapacityLimiter:
        return self._whole._limited_by()  # noqa: SLF001  # as above


@lru_cache
def awaited_part(kind: type) -> type[AsyncPart]:
    """The same part for asyncio and trio: its methods by their marks, its properties as they are."""
    members: dict[str, Any] = {"__doc__": kind.__doc__}
    for name, member in vars(kind).items():
        how = how_awaited(member)
        if how is not None:
            members[name] = _WAYS[how](cast("Method", member))
        elif isinstance(member, property) and not name.startswith("_"):
            members[name] = _as_it_is(name, member)
    return type(kind.__name__, (AsyncPart,), members)


def _as_it_is(name: str, member: property) -> property:
    return property(lambda self: getattr(self._now(), name), doc=member.__doc__)


def _consumer(_: Method) -> Method:
    def consumer(self: AsyncPart, name: str, *, start: str = "start") -> AsyncConsumer:
        return AsyncConsumer(self._now().consumer(name, start=start), self._limited_by())

    return consumer


def _watch(_: Method) -> Method:
    def watch(self: Any, *, stop: threading.Event | None = None) -> AsyncWatch:
        return AsyncWatch(self.end, stop=stop)

    return watch


def _follow(_: Method) -> Method:
    def follow(
        self: Any, after: str | None = None, *, stop: threading.Event | None = None
    ) -> AsyncGenerator[FeedEntry, None]:
        return following(self.read, self.end, after, AsyncWatch(self.end, stop=stop))

    return follow


_WAYS: Mapping[How, Callable[[Method], Method]] = {
    "call": awaited,
    "iterate": iterated,
    "interruptible": stopped,
    "listing": listed,
    "consumer": _consumer,
    "watch": _watch,
    "follow": _follow,
}
"""The conversion of a method, by its mark."""
