"""`AsyncRegistrationPipeline`: a registry for programs on asyncio or trio (extra `async`).

The same names with the same arguments as `RegistrationPipeline`; each is made of that one, so that they can't say different
things. What is called there is awaited here, what is iterated there is iterated with `async for` here.

Files block, so calls run in threads; a limiter bounds how many. A call that is cancelled while it waits for a thread never
begins. One that has begun is finished before the cancellation goes on, however it was cancelled: by a scope of anyio or trio, by
`asyncio.timeout`, or by `Task.cancel`. So after a cancelled command nothing of it is under way any more: it is wholly done or
not at all, and `load_state`, or the same idempotency key again, tells which.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar

try:
    import anyio
    import anyio.to_thread
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "AsyncRegistrationPipeline needs anyio. Install it: pip install 'registration[async]'", name="anyio"
    ) from missing

from registration.errors import InvalidArgument, LockTimeout, StoreError
from registration.feed.watching import LOOK_S, LOOK_S_MAX
from registration.many import ItemResult, Results, mention
from registration.pipeline import C, RegistrationPipeline, S
from registration.values.documents import DOCUMENT_BYTES_MAX
from registration.values.times import Clock, system_clock

if TYPE_CHECKING:
    from types import TracebackType

    from registration.core.chart import Chart
    from registration.core.definition import Definition
    from registration.core.policy import Guard, Policy
    from registration.core.store import FeedEntry, Store
    from registration.engine import Random
    from registration.publisher import Handler
    from registration.results import TransitionResult
    from registration.retry import RetryPolicy
    from registration.values.snapshots import StateSnapshot

P = ParamSpec("P")
T = TypeVar("T")

PULLED_MAX = 100
PULLED_S = 0.005
"""How much one turn in a thread takes from an iterator: so many, or for so long."""


def _awaited(
    method: Callable[Concatenate[RegistrationPipeline, P], T],
) -> Callable[Concatenate[AsyncRegistrationPipeline, P], Coroutine[Any, Any, T]]:
    """The same call, in a thread."""

    @wraps(method)
    async def call(self: AsyncRegistrationPipeline, /, *args: P.args, **kwargs: P.kwargs) -> T:
        pipeline = await self._opened()
        return await self._run(partial(method, pipeline, *args, **kwargs))

    return call


def _iterated(
    method: Callable[Concatenate[RegistrationPipeline, P], Iterator[T]],
) -> Callable[Concatenate[AsyncRegistrationPipeline, P], AsyncGenerator[T, None]]:
    """The same iterator, gone through in threads; the call itself is made when the first value is asked for."""

    @wraps(method)
    async def iterate(
        self: AsyncRegistrationPipeline, /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[T, None]:
        pipeline = await self._opened()
        values = await self._run(partial(method, pipeline, *args, **kwargs))
        complete = False
        while not complete:
            pulled: list[T] = []
            failure: list[Exception] = []
            complete = await self._run(partial(_pull, values, pulled, failure))
            for value in pulled:
                yield value
            if failure:
                raise failure[0]

    return iterate


class AsyncRegistrationPipeline:
    """One registry, for asyncio and trio. Safe to share between the tasks of one event loop.

    threads: how many calls may be carried out at once. The rest is what `RegistrationPipeline` takes, with the same meaning.
    The registry is opened by `async with`, or by the first call; until then there are no properties to read, and no
    handlers to add. Iterators that are left early are best closed (`contextlib.aclosing`).

    Handlers are plain functions, as with `RegistrationPipeline`, and run in the thread of a writer;
    `anyio.from_thread.run` leads back to the loop.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
        create: bool = True,
        lifecycle: Definition | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        policy: Policy | None = None,
        guards: Mapping[str, Guard] | None = None,
        actor: str | None = None,
        document_bytes_max: int = DOCUMENT_BYTES_MAX,
        snapshots: Literal["each", "idle"] = "each",
        lock_timeout_s: float = 10.0,
        retry: RetryPolicy | None = None,
        traceparent: Callable[[], str | None] | None = None,
        clock: Clock = system_clock,
        random: Random | None = None,
        threads: int = 16,
    ) -> None:
        if type(threads) is not int or threads < 1:
            raise InvalidArgument(
                f"`threads` is {threads!r}; a number of threads, 1 or more, is expected.",
                "16 do for most programs.",
            )
        self._make = partial(
            RegistrationPipeline, root, store=store, create=create, lifecycle=lifecycle, policy=policy, guards=guards,
            actor=actor, document_bytes_max=document_bytes_max, snapshots=snapshots, lock_timeout_s=lock_timeout_s,
            retry=retry, traceparent=traceparent, clock=clock, random=random,
        )  # fmt: skip
        self._threads = threads
        self._limiter: anyio.CapacityLimiter | None = None  # made in the loop that it is for
        self._opening: anyio.Lock | None = None
        self._pipeline: RegistrationPipeline | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of everything, also where the task is being cancelled; later calls are refused. Twice is harmless."""
        self._closed = True
        if self._pipeline is not None:
            with anyio.CancelScope(shield=True):
                await self._run(self._pipeline.close)

    # -- commands ------------------------------------------------------------------------------------------

    create = _awaited(RegistrationPipeline.create)
    create_with_result = _awaited(RegistrationPipeline.create_with_result)
    revise = _awaited(RegistrationPipeline.revise)
    submit_for_review = _awaited(RegistrationPipeline.submit_for_review)
    approve = _awaited(RegistrationPipeline.approve)
    reject = _awaited(RegistrationPipeline.reject)
    register = _awaited(RegistrationPipeline.register)
    act = _awaited(RegistrationPipeline.act)
    transition_state = _awaited(RegistrationPipeline.transition_state)
    undo = _awaited(RegistrationPipeline.undo)
    tick = _awaited(RegistrationPipeline.tick)

    def create_many(
        self, items: Iterable[C], *, workers: int = 8
    ) -> AsyncGenerator[ItemResult[C, TransitionResult], None]:
        """See `RegistrationPipeline.create_many`. The items are taken in a thread; the workers are besides `threads`."""
        return self._many(lambda pipeline: pipeline.create_many(items, workers=workers))

    def transition_many(
        self, items: Iterable[S], *, workers: int = 8
    ) -> AsyncGenerator[ItemResult[S, TransitionResult], None]:
        """See `RegistrationPipeline.transition_many`, and `create_many`."""
        return self._many(lambda pipeline: pipeline.transition_many(items, workers=workers))

    # -- states, now and earlier ------------------------------------------------------------------------------

    load_state = _awaited(RegistrationPipeline.load_state)
    find_state = _awaited(RegistrationPipeline.find_state)
    history = _iterated(RegistrationPipeline.history)
    list = _iterated(RegistrationPipeline.list)
    state_at = _awaited(RegistrationPipeline.state_at)
    diff = _awaited(RegistrationPipeline.diff)
    blame = _awaited(RegistrationPipeline.blame)
    explain = _awaited(RegistrationPipeline.explain)
    rule = _awaited(RegistrationPipeline.rule)
    replay_policy = _iterated(RegistrationPipeline.replay_policy)
    read_policy = _awaited(RegistrationPipeline.read_policy)
    receipt = _awaited(RegistrationPipeline.receipt)
    verify_receipt = _awaited(RegistrationPipeline.verify_receipt)
    read_document = _awaited(RegistrationPipeline.read_document)

    # -- the feed --------------------------------------------------------------------------------------------

    feed = _iterated(RegistrationPipeline.feed)
    feed_end = _awaited(RegistrationPipeline.feed_end)
    reconcile_feed = _awaited(RegistrationPipeline.reconcile_feed)
    consumers = _iterated(RegistrationPipeline.consumers)
    consumer_names = _awaited(RegistrationPipeline.consumer_names)
    # What these give blocks when it is used: hand it to a thread.
    hooks = _awaited(RegistrationPipeline.hooks)
    dead_letters = _awaited(RegistrationPipeline.dead_letters)
    consumer = _awaited(RegistrationPipeline.consumer)
    watch = _awaited(RegistrationPipeline.watch)
    waiting = _awaited(RegistrationPipeline.waiting)

    async def follow(
        self, after: str | None = None, *, stop: threading.Event | None = None
    ) -> AsyncGenerator[FeedEntry, None]:
        """See `RegistrationPipeline.follow`. It waits in the loop, so a task that is cancelled needn't wait for an event."""
        cursor = await self.feed_end() if after == "now" else after
        pause_s = LOOK_S
        while stop is None or not stop.is_set():
            before = cursor
            with suppress(LockTimeout):
                async with aclosing(self.feed(cursor)) as entries:
                    async for entry in entries:
                        yield entry
                        cursor = entry.cursor
                        if stop is not None and stop.is_set():
                            return
            pause_s = LOOK_S if cursor != before else min(pause_s * 1.5, LOOK_S_MAX)
            await anyio.sleep(pause_s)

    async def wait(self, manifest_id: str, state: str, timeout_s: float | None = None) -> StateSnapshot:
        """See `RegistrationPipeline.wait`. It waits in the loop, as `follow` does."""
        pipeline = await self._opened()
        waiting = await self._run(partial(pipeline.waiting, manifest_id, state, timeout_s))
        while (found := await self._run(waiting.look)) is None:  # noqa: ASYNC110  # nobody tells of another process's commits
            await anyio.sleep(waiting.pause_s)
        return found

    # -- the files -------------------------------------------------------------------------------------------

    persist_state = _awaited(RegistrationPipeline.persist_state)
    recover_from_events = _awaited(RegistrationPipeline.recover_from_events)
    recover = _awaited(RegistrationPipeline.recover)
    repair = _awaited(RegistrationPipeline.repair)
    verify = _awaited(RegistrationPipeline.verify)
    strays = _iterated(RegistrationPipeline.strays)
    manifest_ids = _iterated(RegistrationPipeline.manifest_ids)

    # -- handlers --------------------------------------------------------------------------------------------

    def on(self, event: Literal["state_change"], handler: Handler) -> Callable[[], None]:
        """See `RegistrationPipeline.on`: handlers are called in the thread of a writer."""
        return self._open().on(event, handler)

    emit_state_change = _awaited(RegistrationPipeline.emit_state_change)

    # -- what is known without asking the disk -----------------------------------------------------------------

    @property
    def made(self) -> bool:
        """Whether opening it made the registry."""
        return self._open().made

    @property
    def registry_id(self) -> str:
        """See `RegistrationPipeline.registry_id`."""
        return self._open().registry_id

    @property
    def document_bytes_max(self) -> int:
        """See `RegistrationPipeline.document_bytes_max`."""
        return self._open().document_bytes_max

    @property
    def lifecycle(self) -> Chart:
        """See `RegistrationPipeline.lifecycle`."""
        return self._open().lifecycle

    @property
    def definition(self) -> Definition:
        """See `RegistrationPipeline.definition`."""
        return self._open().definition

    @property
    def policy(self) -> Policy:
        """See `RegistrationPipeline.policy`. It costs the loop a `stat`, and reading where `policy.toml` was changed."""
        return self._open().policy

    # -- inside ----------------------------------------------------------------------------------------------

    def _open(self) -> RegistrationPipeline:
        if self._pipeline is None:
            raise StoreError("The pipeline is not open yet.", "Open it: `async with pipeline: …`.")
        return self._pipeline

    async def _opened(self) -> RegistrationPipeline:
        if self._pipeline is None:
            if self._closed:
                raise StoreError("The pipeline is closed.", "Make a new one.")
            self._opening = self._opening or anyio.Lock()
            async with self._opening:
                if self._pipeline is None:
                    await self._run(self._keep)
        return self._open()

    def _keep(self) -> None:
        self._pipeline = self._make()  # kept here, in the thread: a cancelled task would forget it

    async def _run(self, do: Callable[[], T]) -> T:
        """Do it in a thread, once one is free. Where the task is cancelled meanwhile, finish it first."""
        self._limiter = limiter = self._limiter or anyio.CapacityLimiter(self._threads)
        call = _Call(do)
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

    async def _many(
        self, begin: Callable[[RegistrationPipeline], Results[Any, TransitionResult]]
    ) -> AsyncGenerator[ItemResult[Any, TransitionResult], None]:
        """Results one by one; left early, what was begun is waited for, and what nobody took is mentioned."""
        pipeline = await self._opened()
        results = begin(pipeline)
        pulled: list[ItemResult[Any, TransitionResult]] = []
        try:
            while True:
                failure: list[Exception] = []
                complete = await self._run(partial(_pull, results, pulled, failure, 1))
                while pulled:
                    yield pulled.pop()
                if failure:
                    raise failure[0]
                if complete:
                    return
        finally:
            with anyio.CancelScope(shield=True):
                mention([*pulled, *await self._run(results.close)])


class _Call(Generic[T]):
    """One call on its way to a thread: it is begun, or revoked, never both."""

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._turn = threading.Lock()  # whoever takes it decides
        self.finished = threading.Event()

    def run(self) -> T:
        begun = self._turn.acquire(blocking=False)
        assert begun, "a revoked call is not run"
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


def _pull(
    values: Iterator[T], pulled: list[T], failure: list[Exception], count_max: int = PULLED_MAX
) -> bool:
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
