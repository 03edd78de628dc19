"""The publisher: committed events to handlers in this process, in order for each manifest.

A wake-up, not a delivery: events missed by a dead process are in the log. Each committed event is handed on once,
after the commit and outside every lock of the store, so a handler may be slow, raise, or issue
commands itself. An exception is logged and has no effect on others.

Order: a manifest's events are handed on one at a time, in the order of their versions, to the handlers in the
order of their registration. If another thread is handing on events of the same manifest, a thread leaves its
event to it. If a handler writes to its own manifest, that event follows the present one.

The threads of this process that write to one manifest take turns, first come, first served: deciding on a state that another
thread is changing would be wasted. Other processes are detected at the version check.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registration.errors import LockTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.values.events import Event, StateSnapshot

_log = logging.getLogger("registration")

current_event: ContextVar[Event | None] = ContextVar("registration_current_event", default=None)
"""The event whose handler is running in this context: commands that it issues are its children."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """The argument of a handler: one committed event and the state after it."""

    event: Event
    _state: StateSnapshot

    @property
    def snapshot(self) -> StateSnapshot:
        """The state after the event: a new copy at each access, which may be kept and mutated."""
        return self._state.detached()

    @property
    def manifest_id(self) -> str:
        """The manifest's id."""
        return self.event.subject

    @property
    def from_state(self) -> str | None:
        """The state before; None for a creation."""
        return self.event.from_state

    @property
    def to_state(self) -> str:
        """The state after."""
        return self.event.to_state


Handler = Callable[[StateChange], object]


@dataclass(slots=True)
class _Lane:
    """The queues of one manifest while it is written or its events are handed on.

    taken: whether a thread has the turn. queue: the waiting threads, each with a lock that is released when its turn comes.
    """

    taken: bool = False
    queue: deque[threading.Lock] = field(default_factory=deque)
    waiting: deque[StateChange] = field(default_factory=deque)
    users: int = 0
    delivering: bool = False


class Publisher:
    """Handlers, and the lanes of the manifests that are being written. Safe to share between threads."""

    def __init__(self) -> None:
        self._handlers: dict[object, Handler] = {}  # replaced, never mutated
        self._lanes: dict[str, _Lane] = {}
        self._mutex = threading.Lock()

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """Add a handler. Returns a function that removes it; calling that twice is harmless."""
        key = object()  # the same handler may be added twice, and removed once
        with self._mutex:
            self._handlers = {**self._handlers, key: handler}

        def unsubscribe() -> None:
            with self._mutex:
                self._handlers = {known: other for known, other in self._handlers.items() if known is not key}

        return unsubscribe

    @contextmanager
    def turn(self, stream: str, timeout_s: float) -> Iterator[None]:
        """Exclude this process's other threads from writing to a manifest, then hand on the events that were put.

        Commit and `put` happen in one turn, so the order of events in the lane is that of the log. They are
        handed on after the turn.

        Raises:
            LockTimeout: when waiting for other threads timed out.
        """
        lane, _ = self.enter(stream, timeout_s)
        try:
            yield
        finally:
            self.leave(stream, lane)

    def enter(self, stream: str, timeout_s: float) -> tuple[_Lane, float]:
        """Take the turn, after earlier threads; returns the wait, in seconds. `leave` must follow.

        timeout_s: negative: without limit.

        Raises:
            LockTimeout: as `turn`.
        """
        with self._mutex:
            lane = self._lanes.get(stream)
            if lane is None:
                lane = self._lanes[stream] = _Lane()
            lane.users += 1
            if not lane.taken:
                lane.taken = True
                return lane, 0.0
            called = threading.Lock()
            called.acquire()
            lane.queue.append(called)
        start_s = time.monotonic()
        try:
            called_in_time = called.acquire(timeout=timeout_s)
        except BaseException:  # an interrupt: the next thread must not wait for us
            if not self._give_up(stream, lane, called):
                self.leave(stream, lane)
            raise
        if not called_in_time and self._give_up(stream, lane, called):
            raise LockTimeout(stream, timeout_s)
        return lane, time.monotonic() - start_s

    def _give_up(self, stream: str, lane: _Lane, called: threading.Lock) -> bool:
        """Stop waiting; False if this thread was given the turn at the last moment."""
        with self._mutex:
            if called not in lane.queue:
                return False
            lane.queue.remove(called)
            self._forget(stream, lane)
            return True

    def leave(self, stream: str, lane: _Lane) -> None:
        """Pass the turn to the next thread, and hand on the events that were put, unless another thread is doing so."""
        with self._mutex:
            if lane.queue:
                lane.queue.popleft().release()
            else:
                lane.taken = False
            if not lane.waiting or lane.delivering:
                self._forget(stream, lane)
                return
        try:
            self._deliver(lane)
        finally:
            with self._mutex:
                self._forget(stream, lane)

    def _forget(self, stream: str, lane: _Lane) -> None:
        lane.users -= 1
        if not lane.users and not lane.waiting:
            del self._lanes[stream]

    def put(self, stream: str, changes: list[StateChange]) -> None:
        """Queue the committed events, during the turn of their manifest."""
        if self._handlers:
            with self._mutex:
                self._lanes[stream].waiting.extend(changes)

    def announce(self, change: StateChange) -> None:
        """Queue an event of any origin after those waiting, and hand it on."""
        with self.turn(change.manifest_id, timeout_s=-1):
            self.put(change.manifest_id, [change])

    def _deliver(self, lane: _Lane) -> None:
        with self._mutex:
            if lane.delivering:
                return
            lane.delivering = True
        try:
            while True:
                with self._mutex:
                    if not lane.waiting:
                        lane.delivering = False
                        return
                    change = lane.waiting.popleft()
                self._hand_on(change)
        except BaseException:  # an interrupt: the next commit hands on the rest
            with self._mutex:
                lane.delivering = False
            raise

    def _hand_on(self, change: StateChange) -> None:
        token = current_event.set(change.event)
        try:
            for handler in self._handlers.values():
                try:
                    handler(change)
                except Exception:  # any exception is the handler's own
                    _log.exception(
                        "%s: a handler failed on version %d; the event is committed",
                        change.manifest_id,
                        change.event.version,
                    )
        finally:
            current_event.reset(token)
