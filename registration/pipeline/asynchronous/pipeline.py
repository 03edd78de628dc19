"""`AsyncRegistrationPipeline`: one registry for asyncio and trio, made of `RegistrationPipeline`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

import anyio

from registration.errors import InvalidArgument, StoreError
from registration.pipeline.asynchronous.following import AsyncConsumer, AsyncWatch, follow
from registration.pipeline.asynchronous.listing import listed
from registration.pipeline.asynchronous.threads import Threaded, awaited, iterated, pull, stopped
from registration.pipeline.many import ItemResult, Results, mention
from registration.pipeline.pipeline import C, RegistrationPipeline, S
from registration.values.documents import DOCUMENT_BYTES_MAX
from registration.values.times import Clock, system_clock

if TYPE_CHECKING:
    import threading
    from types import TracebackType

    from registration.core.chart import Chart
    from registration.core.definition import Definition
    from registration.core.policy import Guard, Policy
    from registration.core.store import FeedEntry, Store
    from registration.engine.engine import Random
    from registration.engine.leases.keeper import LeaseKeeper
    from registration.engine.publisher import Handler
    from registration.pipeline.results import TransitionResult
    from registration.values.retry import RetryPolicy


class AsyncRegistrationPipeline(Threaded[RegistrationPipeline]):
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
        leases: LeaseKeeper | str | os.PathLike[str] | None = None,
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
            actor=actor, leases=leases, document_bytes_max=document_bytes_max, snapshots=snapshots, lock_timeout_s=lock_timeout_s, retry=retry,
            traceparent=traceparent, clock=clock, random=random,
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

    create = awaited(RegistrationPipeline.create)
    create_with_result = awaited(RegistrationPipeline.create_with_result)
    revise = awaited(RegistrationPipeline.revise)
    submit_for_review = awaited(RegistrationPipeline.submit_for_review)
    approve = awaited(RegistrationPipeline.approve)
    reject = awaited(RegistrationPipeline.reject)
    register = awaited(RegistrationPipeline.register)
    act = awaited(RegistrationPipeline.act)
    transition_state = awaited(RegistrationPipeline.transition_state)
    undo = awaited(RegistrationPipeline.undo)
    tick = awaited(RegistrationPipeline.tick)

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

    load_state = awaited(RegistrationPipeline.load_state)
    find_state = awaited(RegistrationPipeline.find_state)
    history = iterated(RegistrationPipeline.history)
    state_at = awaited(RegistrationPipeline.state_at)
    diff = awaited(RegistrationPipeline.diff)
    blame = awaited(RegistrationPipeline.blame)
    wait = stopped(RegistrationPipeline.wait)
    explain = awaited(RegistrationPipeline.explain)
    rule = awaited(RegistrationPipeline.rule)
    replay_policy = iterated(RegistrationPipeline.replay_policy)
    read_policy = awaited(RegistrationPipeline.read_policy)
    receipt = awaited(RegistrationPipeline.receipt)
    verify_receipt = awaited(RegistrationPipeline.verify_receipt)
    read_document = awaited(RegistrationPipeline.read_document)

    # -- all manifests at once ---------------------------------------------------------------------------------

    list = listed(RegistrationPipeline.list)
    count = awaited(RegistrationPipeline.count)
    stats = awaited(RegistrationPipeline.stats)
    query = awaited(RegistrationPipeline.query)
    catalog_status = awaited(RegistrationPipeline.catalog_status)
    catch_up_catalog = awaited(RegistrationPipeline.catch_up_catalog)
    refresh_catalog = awaited(RegistrationPipeline.refresh_catalog)

    # -- names and tags --------------------------------------------------------------------------------------

    resolve = awaited(RegistrationPipeline.resolve)
    names = iterated(RegistrationPipeline.names)
    name_status = awaited(RegistrationPipeline.name_status)
    known_names = iterated(RegistrationPipeline.known_names)
    recover_name = awaited(RegistrationPipeline.recover_name)
    verify_name = awaited(RegistrationPipeline.verify_name)
    aliases = awaited(RegistrationPipeline.aliases)
    aliases_of = awaited(RegistrationPipeline.aliases_of)
    alias_history = iterated(RegistrationPipeline.alias_history)
    set_alias = awaited(RegistrationPipeline.set_alias)
    remove_alias = awaited(RegistrationPipeline.remove_alias)
    tag = awaited(RegistrationPipeline.tag)
    untag = awaited(RegistrationPipeline.untag)

    # -- claims ----------------------------------------------------------------------------------------------

    claim = awaited(RegistrationPipeline.claim)
    release_claim = awaited(RegistrationPipeline.release_claim)
    break_claim = awaited(RegistrationPipeline.break_claim)
    claim_of = awaited(RegistrationPipeline.claim_of)
    claims = iterated(RegistrationPipeline.claims)
    waiting_for = awaited(RegistrationPipeline.waiting_for)

    @property
    def leases(self) -> LeaseKeeper:
        """See `RegistrationPipeline.leases`. Its calls wait for the disk: make them in a thread."""
        return self._open().leases

    # -- the files -------------------------------------------------------------------------------------------

    persist_state = awaited(RegistrationPipeline.persist_state)
    recover_from_events = awaited(RegistrationPipeline.recover_from_events)
    recover = awaited(RegistrationPipeline.recover)
    repair = awaited(RegistrationPipeline.repair)
    verify = awaited(RegistrationPipeline.verify)
    strays = iterated(RegistrationPipeline.strays)
    manifest_ids = iterated(RegistrationPipeline.manifest_ids)

    # -- the feed --------------------------------------------------------------------------------------------

    feed = iterated(RegistrationPipeline.feed)
    feed_end = awaited(RegistrationPipeline.feed_end)
    consumers = iterated(RegistrationPipeline.consumers)
    consumer_names = awaited(RegistrationPipeline.consumer_names)
    reconcile_feed = awaited(RegistrationPipeline.reconcile_feed)

    def follow(
        self, after: str | None = None, *, stop: threading.Event | None = None
    ) -> AsyncGenerator[FeedEntry, None]:
        """See `RegistrationPipeline.follow`. No thread waits meanwhile; the end is looked at every 50 to 400 ms."""
        return follow(self, after, self.watch(stop=stop))

    # What these two give blocks when it is used: hand it to a thread.
    hooks = awaited(RegistrationPipeline.hooks)
    dead_letters = awaited(RegistrationPipeline.dead_letters)

    def watch(self, *, stop: threading.Event | None = None) -> AsyncWatch:
        """See `RegistrationPipeline.watch`."""
        return AsyncWatch(self.feed_end, stop=stop)

    def consumer(self, name: str, *, start: str = "start") -> AsyncConsumer:
        """See `RegistrationPipeline.consumer`."""
        return AsyncConsumer(self._open().consumer(name, start=start), self._limited_by())

    # -- handlers --------------------------------------------------------------------------------------------

    def on(self, event: Literal["state_change"], handler: Handler) -> Callable[[], None]:
        """See `RegistrationPipeline.on`: handlers are called in the thread of a writer."""
        return self._open().on(event, handler)

    emit_state_change = awaited(RegistrationPipeline.emit_state_change)

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
    def actor(self) -> str | None:
        """See `RegistrationPipeline.actor`."""
        return self._open().actor

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

    def _limited_by(self) -> anyio.CapacityLimiter:
        self._limiter = self._limiter or anyio.CapacityLimiter(self._threads)
        return self._limiter

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
                complete = await self._run(partial(pull, results, pulled, failure, 1))
                while pulled:
                    yield pulled.pop()
                if failure:
                    raise failure[0]
                if complete:
                    return
        finally:
            with anyio.CancelScope(shield=True):
                mention([*pulled, *await self._run(results.close)])
