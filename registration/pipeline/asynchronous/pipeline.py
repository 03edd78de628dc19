"""`AsyncRegistrationPipeline`: one registry for asyncio and trio, generated from `RegistrationPipeline`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from functools import cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import anyio

from registration.errors import InvalidArgument, StoreError
from registration.pipeline.asynchronous.listing import listed
from registration.pipeline.asynchronous.parts import AsyncPart, awaited_part
from registration.pipeline.asynchronous.threads import Threaded, awaited, iterated, pull
from registration.pipeline.evidence import EvidencePart
from registration.pipeline.feed import FeedPart
from registration.pipeline.find import FindPart
from registration.pipeline.many import ItemResult, R, Results, T, mention
from registration.pipeline.names import NamesPart
from registration.pipeline.pipeline import C, RegistrationPipeline, S
from registration.pipeline.upkeep import UpkeepPart
from registration.pipeline.work import WorkPart
from registration.values.documents import DOCUMENT_BYTES_MAX
from registration.values.times import Clock, system_clock

if TYPE_CHECKING:
    from types import TracebackType

    from registration.core.chart import Chart
    from registration.core.definition import Definition
    from registration.core.policy import Guard, Policy
    from registration.engine.engine import Random, TransitionResult
    from registration.engine.leases.keeper import LeaseKeeper
    from registration.engine.publisher import Handler
    from registration.onboarding.sessions.sessions import Sessions
    from registration.pipeline.importing import Imported, Offer
    from registration.pipeline.part import Awaited
    from registration.storage.ledger import Ledger
    from registration.values.commands import Via
    from registration.values.times import RetryPolicy


class AsyncRegistrationPipeline(Threaded[RegistrationPipeline]):
    """One registry, for asyncio and trio. Safe to share between the tasks of one event loop.

    threads: the maximal number of concurrent calls. The other arguments are those of `RegistrationPipeline`. The registry is
    opened by `async with`, or by the first call; before that, it has no properties to read, and takes no handlers. Close
    iterators that you leave early (`contextlib.aclosing`).

    Handlers are plain functions, as with `RegistrationPipeline`, and run in the thread of a writer;
    `anyio.from_thread.run` calls back into the loop.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        store: Ledger | None = None,
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
        via: Callable[[], Via] | None = None,
        clock: Clock = system_clock,
        random: Random | None = None,
        threads: int = 16,
    ) -> None:
        if type(threads) is not int or threads < 1:
            raise InvalidArgument(
                f"Invalid `threads` {threads!r}: expected 1 or more.",
                "16 are enough for most programs.",
            )
        self._make = partial(
            RegistrationPipeline, root, store=store, create=create, lifecycle=lifecycle, policy=policy, guards=guards,
            actor=actor, leases=leases, document_bytes_max=document_bytes_max, snapshots=snapshots, lock_timeout_s=lock_timeout_s, retry=retry,
            traceparent=traceparent, via=via, clock=clock, random=random,
        )  # fmt: skip
        self._threads = threads
        self._limiter: anyio.CapacityLimiter | None = None  # created in its own loop
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
        """Release everything, even while the task is being cancelled; later calls are refused. Closing twice is harmless."""
        self._closed = True
        if self._pipeline is not None:
            with anyio.CancelScope(shield=True):
                await self._run(self._pipeline.close)

    # -- the parts -----------------------------------------------------------------------------------------

    @cached_property
    def names(self) -> NamesPart[Awaited]:
        """See `RegistrationPipeline.names`."""
        return cast("NamesPart[Awaited]", self._part("names", NamesPart))

    @cached_property
    def work(self) -> WorkPart[Awaited]:
        """See `RegistrationPipeline.work`."""
        return cast("WorkPart[Awaited]", self._part("work", WorkPart))

    @cached_property
    def feed(self) -> FeedPart[Awaited]:
        """See `RegistrationPipeline.feed`. The objects from `hooks` and `dead_letters` block: use them in a thread.

        Following the feed occupies no thread; its end is polled every 50 to 400 ms.
        """
        return cast("FeedPart[Awaited]", self._part("feed", FeedPart))

    @cached_property
    def find(self) -> FindPart[Awaited]:
        """See `RegistrationPipeline.find`."""
        return cast("FindPart[Awaited]", self._part("find", FindPart))

    @cached_property
    def evidence(self) -> EvidencePart[Awaited]:
        """See `RegistrationPipeline.evidence`."""
        return cast("EvidencePart[Awaited]", self._part("evidence", EvidencePart))

    @cached_property
    def upkeep(self) -> UpkeepPart[Awaited]:
        """See `RegistrationPipeline.upkeep`."""
        return cast("UpkeepPart[Awaited]", self._part("upkeep", UpkeepPart))

    @property
    def sessions(self) -> Sessions:
        """See `RegistrationPipeline.sessions`. Its calls block on the disk: call them in a thread."""
        return self._now().sessions

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
    tag = awaited(RegistrationPipeline.tag)
    untag = awaited(RegistrationPipeline.untag)

    def create_many(
        self, items: Iterable[C], *, workers: int = 8, dry_run: bool = False
    ) -> AsyncGenerator[ItemResult[C, TransitionResult], None]:
        """See `RegistrationPipeline.create_many`. The items are read in a thread; the workers are not counted in `threads`."""
        return self._many(lambda pipeline: pipeline.create_many(items, workers=workers, dry_run=dry_run))

    def transition_many(
        self, items: Iterable[S], *, workers: int = 8, dry_run: bool = False
    ) -> AsyncGenerator[ItemResult[S, TransitionResult], None]:
        """See `RegistrationPipeline.transition_many`, and `create_many`."""
        return self._many(lambda pipeline: pipeline.transition_many(items, workers=workers, dry_run=dry_run))

    def import_many(
        self,
        offers: Iterable[Offer],
        *,
        submit: bool = False,
        trust_lines: bool = False,
        workers: int = 8,
        dry_run: bool = False,
    ) -> AsyncGenerator[ItemResult[Offer, Imported], None]:
        """See `RegistrationPipeline.import_many`, and `create_many`."""
        return self._many(
            lambda pipeline: pipeline.import_many(
                offers, submit=submit, trust_lines=trust_lines, workers=workers, dry_run=dry_run
            )
        )

    # -- states and logs -----------------------------------------------------------------------------------

    load_state = awaited(RegistrationPipeline.load_state)
    find_state = awaited(RegistrationPipeline.find_state)
    persist_state = awaited(RegistrationPipeline.persist_state)
    recover_from_events = awaited(RegistrationPipeline.recover_from_events)
    history = iterated(RegistrationPipeline.history)
    list = listed(RegistrationPipeline.list)
    explain = awaited(RegistrationPipeline.explain)
    outlook = awaited(RegistrationPipeline.outlook)
    read_document = awaited(RegistrationPipeline.read_document)

    # -- handlers --------------------------------------------------------------------------------------------

    def on(self, event: Literal["state_change"], handler: Handler) -> Callable[[], None]:
        """See `RegistrationPipeline.on`: handlers are called in the thread of a writer."""
        return self._now().on(event, handler)

    emit_state_change = awaited(RegistrationPipeline.emit_state_change)
    check_actor = awaited(RegistrationPipeline.check_actor)

    # -- properties that need no disk access -----------------------------------------------------------------

    @property
    def made(self) -> bool:
        """Whether opening it created the registry."""
        return self._now().made

    @property
    def registry_id(self) -> str:
        """See `RegistrationPipeline.registry_id`."""
        return self._now().registry_id

    @property
    def actor(self) -> str | None:
        """See `RegistrationPipeline.actor`."""
        return self._now().actor

    @property
    def document_bytes_max(self) -> int:
        """See `RegistrationPipeline.document_bytes_max`."""
        return self._now().document_bytes_max

    @property
    def lifecycle(self) -> Chart:
        """See `RegistrationPipeline.lifecycle`."""
        return self._now().lifecycle

    @property
    def definition(self) -> Definition:
        """See `RegistrationPipeline.definition`."""
        return self._now().definition

    @property
    def place(self) -> str | None:
        """See `RegistrationPipeline.place`."""
        return self._now().place

    @property
    def policy(self) -> Policy:
        """See `RegistrationPipeline.policy`. It costs the loop a `stat`, and a read if `policy.toml` has changed."""
        return self._now().policy

    # -- inside ----------------------------------------------------------------------------------------------

    def _part(self, name: str, kind: type) -> AsyncPart:
        return awaited_part(kind)(self, attrgetter(name))

    def _now(self) -> RegistrationPipeline:
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
        return self._now()

    def _keep(self) -> None:
        self._pipeline = self._make()  # set here, in the thread: a cancelled task would lose it

    def _limited_by(self) -> anyio.CapacityLimiter:
        self._limiter = self._limiter or anyio.CapacityLimiter(self._threads)
        return self._limiter

    async def _many(
        self, begin: Callable[[RegistrationPipeline], Results[T, R]]
    ) -> AsyncGenerator[ItemResult[T, R], None]:
        """Results one by one; if left early, running calls are awaited, and their unread results are logged."""
        pipeline = await self._opened()
        results = begin(pipeline)
        pulled: list[ItemResult[T, R]] = []
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
