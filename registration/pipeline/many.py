"""Bulk commands: a window of work in flight over a bounded pool of threads, so that the syncs of a disk overlap.

`carry_out` is the loop, and knows no command; `creation` and `transition` turn items into its work. The guarantees:

- one result for each item, in the order of the items: the value, or the error;
- an error of one item stops no other. There is no all-or-nothing mode: completed items are permanent;
- items of one manifest are executed in the order given, never two at once;
- memory is bounded: items are taken in the caller's thread as room becomes free, and may be infinite;
- an interrupt starts nothing more, reports the items in progress, and is then raised.

Used by `RegistrationPipeline.create_many` and `transition_many`, and by the command `import`.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, cast

from registration.core.decider import nearest
from registration.errors import InvalidArgument, RegistrationError
from registration.values.commands import CreateWords, Words
from registration.values.documents import Document
from registration.values.ids import check_id, id_from_document

if TYPE_CHECKING:
    from types import TracebackType

    from registration.engine.engine import TransitionResult
    from registration.engine.registry import OpenRegistry
    from registration.engine.trial import Trial

WORKERS_MAX = 64
"""The maximum number of threads: more would only wait for each other."""

IN_FLIGHT_PER_WORKER = 8
"""The number of items in flight for each thread: enough that none waits while the first one is slow."""

_LOOK_S = 0.5
"""The length of one wait: an interrupt just before the system call blocks is only noticed when it returns."""

_log = logging.getLogger("registration")

T = TypeVar("T")
R = TypeVar("R")
I = TypeVar("I", "CreateItem", "TransitionItem")  # noqa: E741  # an item

Work = tuple[str, Callable[[], R]]
"""The manifest of an item, and its work."""


@dataclass(frozen=True, slots=True, init=False)
class CreateItem:
    """One manifest to create: the arguments of `RegistrationPipeline.create`. Without an id, that of the document."""

    document: Mapping[str, Any] | bytes | Document
    manifest_id: str | None
    words: CreateWords

    def __init__(
        self,
        *,
        document: Mapping[str, Any] | bytes | Document,
        manifest_id: str | None = None,
        **words: Unpack[CreateWords],
    ) -> None:
        _set(self, document=document, manifest_id=manifest_id, words=words)


@dataclass(frozen=True, slots=True, init=False)
class TransitionItem:
    """One transition of one manifest: an action, as for `RegistrationPipeline.act`, or the target state.

    document: with an action only.
    """

    manifest_id: str
    action: str | None
    target_state: str | None
    document: Mapping[str, Any] | bytes | Document | None
    words: Words

    def __init__(
        self,
        *,
        manifest_id: str,
        action: str | None = None,
        target_state: str | None = None,
        document: Mapping[str, Any] | bytes | Document | None = None,
        **words: Unpack[Words],
    ) -> None:
        _set(
            self, manifest_id=manifest_id, action=action, target_state=target_state, document=document, words=words
        )  # fmt: skip


def _set(item: CreateItem | TransitionItem, **members: Any) -> None:
    for name, value in members.items():
        object.__setattr__(item, name, value)


@dataclass(frozen=True, slots=True)
class ItemResult(Generic[T, R]):
    """The result of one item. Exactly one of `result` and `error` is set.

    index: from 0, in the order given. item: as it was given.
    """

    index: int
    item: T
    result: R | None
    error: RegistrationError | None

    def value(self) -> R:
        """The result.

        Raises:
            RegistrationError: the error, if there is one.
        """
        if self.error is not None:
            raise self.error
        return cast("R", self.result)


class Results(Iterator[ItemResult[T, R]]):
    """The results of many items, one after the other, in their order. For one thread at a time.

    An interrupt (Ctrl-C) during the wait for a result, an exception of the items' own iterator, and a bug
    end it: nothing more is started, the results of items in progress are returned, then it is raised. Leaving it early, by
    `close`, by the end of a `with` block or by dropping it, starts nothing more and waits for items in progress.
    """

    def __init__(self, items: Iterable[T], prepare: Callable[[T], Work[R]], *, workers: int) -> None:
        self._items = iter(items)
        self._prepare = prepare
        self._in_flight_max = workers * IN_FLIGHT_PER_WORKER
        self._lanes = _Lanes(workers)
        self._window: deque[_Job[T, R]] = deque()
        self._taken = 0
        self._complete = False
        self._failure: BaseException | None = None

    def __next__(self) -> ItemResult[T, R]:
        while True:
            try:
                self._fill()
                job = self._first()
            except BaseException as failure:
                if self._failure is not None:  # a second interrupt: don't wait for the rest
                    raise
                self._end(failure)
                continue
            if job is None:
                self._lanes.shut()
                failure_then, self._failure = self._failure, None
                raise failure_then or StopIteration
            if job.defect is None:
                return job.told()
            self._end(job.defect)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not sys.is_finalizing() and hasattr(self, "_failure"):
            mention(self.close())

    def close(self) -> tuple[ItemResult[T, R], ...]:
        """Start nothing more, wait for items in progress, and return the unread results. Calling it twice is harmless."""
        self._complete, self._failure = True, None
        self._lanes.drop(self._window)
        self._lanes.shut()
        untold = tuple(job.told() for job in self._window if job.begun and job.defect is None)
        self._window.clear()
        return untold

    def _fill(self) -> None:
        """Take items while there is room; only one if the first result is ready, so that it does not wait."""
        while not self._complete and len(self._window) < self._in_flight_max:
            self._take()
            if self._window and self._window[0].settled.is_set():
                return

    def _take(self) -> None:
        try:
            item = next(self._items)
        except StopIteration:
            self._complete = True
            return
        job: _Job[T, R] = _Job(self._taken, item)
        self._taken += 1
        self._window.append(job)  # before it can start, so that every started item is reported
        try:
            stream, job.do = self._prepare(item)
        except RegistrationError as error:
            job.refuse(error)
        else:
            self._lanes.add(stream, job)

    def _first(self) -> _Job[T, R] | None:
        """The first job, once it is settled; None if there are none left."""
        while self._window:
            while not self._window[0].settled.wait(_LOOK_S):
                pass
            job = self._window.popleft()
            if job.begun:
                return job
        return None

    def _end(self, failure: BaseException) -> None:
        self._complete = True
        self._failure = self._failure or failure
        self._lanes.drop(self._window)


def carry_out(items: Iterable[T], prepare: Callable[[T], Work[R]], *, workers: int) -> Results[T, R]:
    """Execute work for each of many items; see `Results`.

    prepare: from an item to its manifest and the work, called in the caller's thread, in order; a `RegistrationError` that it
    raises is the item's result. The work runs in one of `workers` threads, 1 to 64.

    Raises:
        InvalidArgument: when `workers` is invalid.
    """
    if type(workers) is not int or not 1 <= workers <= WORKERS_MAX:
        raise InvalidArgument(
            f"Invalid `workers` {workers!r}: expected 1 to {WORKERS_MAX}.",
            "8 are enough for most disks.",
        )
    return Results(items, prepare, workers=workers)


def mention(untold: Iterable[ItemResult[Any, Any]]) -> None:
    """Log the items that were executed although their results were not read."""
    done = [str(one.index) for one in untold if one.error is None]
    if done:
        _log.warning("items were executed but their results not read; by index: %s", ", ".join(done))


def creation(
    registry: OpenRegistry, trial: Trial | None, given: CreateItem | Mapping[str, Any]
) -> Work[TransitionResult]:
    """The work for one item of `create_many`. trial: only decide it, in this one.

    Raises:
        InvalidArgument, InvalidDocument: when the item is invalid.
    """
    item = _checked(CreateItem, given)
    document = registry.document(item.document)
    id = check_id(id_from_document(document.value) if item.manifest_id is None else item.manifest_id)
    return id, lambda: registry.carry_out(
        id, item.words, trial=trial, action=registry.creating, document=document
    )


def transition(
    registry: OpenRegistry, trial: Trial | None, given: TransitionItem | Mapping[str, Any]
) -> Work[TransitionResult]:
    """The work for one item of `transition_many`. trial: only decide it, in this one.

    Raises:
        InvalidArgument, InvalidDocument: when the item is invalid.
    """
    item = _checked(TransitionItem, given)
    id = check_id(item.manifest_id)
    named = [name for name in ("action", "target_state") if getattr(item, name) is not None]
    if len(named) != 1 or type(getattr(item, named[0])) is not str:
        raise InvalidArgument(
            f"The item for {id!r} has {' and '.join(named) or 'neither action nor target_state'}; expected "
            "exactly one of the two.",
            "Pass an action, or a target state.",
            manifest_id=id,
        )
    if item.document is not None and item.action is None:
        raise InvalidArgument(
            f"The item for {id!r} says target_state and document.", "Name the action for it.", manifest_id=id
        )
    if (target := item.target_state) is not None:
        words: dict[str, Any] = {**item.words}
        context = words.pop("context", None)
        return id, lambda: registry.reach(id, target, context, words, trial=trial)
    document = None if item.document is None else registry.document(item.document)
    return id, lambda: registry.carry_out(id, item.words, trial=trial, action=item.action, document=document)


def _checked(kind: type[I], given: I | Mapping[str, Any]) -> I:
    """An item, or one built from a mapping."""
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise InvalidArgument(
            f"Expected a {kind.__name__}, or a mapping with its members; found {type(given).__name__}.",
            "See `registration.pipeline.many`.",
        )
    needed = ["document"] if kind is CreateItem else ["manifest_id"]
    known = [one.name for one in fields(kind) if one.name != "words"]
    known += (CreateWords if kind is CreateItem else Words).__annotations__
    problems = [_unknown(str(name), known) for name in given if name not in known]
    problems += [f"{name!r} is missing" for name in needed if name not in given]
    if problems:
        raise InvalidArgument(
            f"Invalid {kind.__name__}: {'; '.join(problems)}.",
            "Correct it and try again.",
            problems=problems,
        )
    return kind(**given)


def _unknown(name: str, known: list[str]) -> str:
    meant = nearest(name, known).strip()
    return f"{name!r} is an unknown member" + (f" ({meant})" if meant else "")


@dataclass(slots=True, eq=False)
class _Job(Generic[T, R]):
    """One item in flight. Written by one thread at a time: the taker's until it is in a lane, then a worker's.

    begun: it was started, or refused before; an item that has not begun when `settled` is set never will.
    """

    index: int
    item: T
    do: Callable[[], R] | None = None
    context: Context = field(default_factory=copy_context)  # commands issued by a handler belong to its event
    settled: threading.Event = field(default_factory=threading.Event)
    begun: bool = False
    result: R | None = None
    error: RegistrationError | None = None
    defect: BaseException | None = None

    def refuse(self, error: RegistrationError) -> None:
        self.begun, self.error = True, error
        self.settled.set()

    def run(self) -> None:
        assert self.do is not None
        try:
            self.result = self.context.run(self.do)
        except RegistrationError as error:
            self.error = error
        except BaseException as defect:  # raised when its result is read
            self.defect = defect
        finally:
            self.do = None
            self.settled.set()

    def told(self) -> ItemResult[T, R]:
        return ItemResult(self.index, self.item, self.result, self.error)


class _Lanes:
    """The pool, and each manifest's jobs: one at a time, in the order of their addition."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="registration-many")
        self._mutex = threading.Lock()
        self._waiting: dict[
            str, deque[_Job[Any, Any]]
        ] = {}  # of the manifests that a thread is working on, or will be

    def add(self, stream: str, job: _Job[Any, Any]) -> None:
        with self._mutex:
            lane = self._waiting.get(stream)
            if lane is not None:  # the thread working on that manifest continues with this
                lane.append(job)
                return
            self._waiting[stream] = deque([job])
        self._pool.submit(self._walk, stream)

    def drop(self, jobs: Iterable[_Job[Any, Any]]) -> None:
        """Settle the jobs that have not begun, so that they never will."""
        with self._mutex:
            for job in jobs:
                if not job.begun:
                    job.settled.set()

    def shut(self) -> None:
        """Wait for the threads to be done."""
        self._pool.shutdown(wait=True)

    def _walk(self, stream: str) -> None:
        while (job := self._next(stream)) is not None:
            job.run()

    def _next(self, stream: str) -> _Job[Any, Any] | None:
        with self._mutex:
            lane = self._waiting[stream]
            while lane:
                job = lane.popleft()
                if not job.settled.is_set():
                    job.begun = True
                    return job
            del self._waiting[stream]
            return None
