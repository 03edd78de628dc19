"""Waiting for a manifest to come into a state."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from registration.core.decider import check_state, fold
from registration.core.interpreter import Spot, onward
from registration.errors import InvalidArgument, Rejected, WaitTimeout
from registration.feed.watching import LOOK_S, LOOK_S_MAX

if TYPE_CHECKING:
    from registration.core.chart import Chart
    from registration.core.store import Store
    from registration.values.snapshots import StateSnapshot

SPOTS_MAX = 10_000
"""How many places are looked through for a way; where there are more, it is taken that there is one."""


def wait_for(
    store: Store,
    begun: StateSnapshot,
    state: str,
    *,
    timeout_s: float | None = None,
    stop: threading.Event | None = None,
) -> StateSnapshot:
    """Wait until a manifest is in a state, and give it as it was then, also where it has moved on meanwhile.

    begun: as it is now. state: a parent state is there where a child of it is. timeout_s: None waits for ever.

    Raises:
        InvalidArgument: when the lifecycle has no such state.
        Rejected: as soon as the lifecycle has no way there any more.
        WaitTimeout: when it didn't come there in time, or `stop` was set.
    """
    waiting = Waiting(store, begun, state, timeout_s)
    stop = stop or threading.Event()
    while (found := waiting.look()) is None:
        if stop.wait(waiting.pause_s):
            raise waiting.in_vain()
    return found


class Waiting:
    """One wait, look by look, for whoever waits between the looks in another way.

    pause_s: how long to wait before the next look.

    Raises:
        InvalidArgument: when the lifecycle has no such state, or the time-out is none.
    """

    def __init__(
        self, store: Store, begun: StateSnapshot, state: str, timeout_s: float | None = None
    ) -> None:
        check_state(store.definition.chart, state)
        if timeout_s is not None and not timeout_s >= 0:  # so that NaN is refused
            raise InvalidArgument(
                f"`timeout_s` is {timeout_s!r}; seconds from 0 on are expected.", "Say how long to wait."
            )
        self._store = store
        self._state = state
        self._timeout_s = timeout_s
        self._deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._now = begun
        self._looked_at = 0
        self._ceiling_s = LOOK_S
        self.pause_s = 0.0

    def look(self) -> StateSnapshot | None:
        """The manifest as it was when it was in the state; None where it wasn't yet.

        Raises:
            Rejected: when the lifecycle has no way there any more.
            WaitTimeout: when the time is up.
        """
        if self._looked_at:
            self._now = self._store.load(self._now.stream) or self._now
        chart, now = self._store.definition.chart, self._now
        if now.version != self._looked_at:
            if self._state in chart.active(now.state):
                return now.detached()
            if (passed := _passed(self._store, now.stream, self._looked_at, self._state)) is not None:
                return passed
            _refuse_without_way(chart, now, self._state)
            self._looked_at, self._ceiling_s = now.version, LOOK_S
        left_s = self._ceiling_s
        if self._deadline_s is not None:
            left_s = min(left_s, self._deadline_s - time.monotonic())
        if left_s <= 0:
            raise self.in_vain()
        self.pause_s, self._ceiling_s = left_s, min(self._ceiling_s * 1.5, LOOK_S_MAX)
        return None

    def in_vain(self) -> WaitTimeout:
        """What to say to whoever stops waiting."""
        return _in_vain(self._now, self._state, self._timeout_s)


def _passed(store: Store, stream: str, looked_at: int, state: str) -> StateSnapshot | None:
    """The manifest as it was when it came through the state since it was looked at; None where it didn't."""
    if not looked_at:
        return None  # what was before the waiting began doesn't count
    chart, events = store.definition.chart, []
    for event in store.read(stream):
        events.append(event)
        if event.version > looked_at and state in chart.active(event.to_state):
            return fold(store.definition, None, events)
    return None


def _refuse_without_way(chart: Chart, now: StateSnapshot, state: str) -> None:
    begin = Spot(now.state, tuple(sorted(now.facts.get("history", {}).items())))
    seen, waiting = {begin}, [begin]
    for spot in waiting:  # it grows while it is gone through
        for _, target in onward(chart, spot):
            if state in chart.active(target.place or "") or len(seen) > SPOTS_MAX:
                return
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    raise Rejected(
        f"{now.stream!r} is {now.state}, at version {now.version}, and the lifecycle has no way from there to {state}.",
        "Don't wait for it; `registration graph` draws the ways.",
        manifest_id=now.stream,
        state=now.state,
        version=now.version,
        wanted=state,
    )


def _in_vain(now: StateSnapshot, state: str, timeout_s: float | None) -> WaitTimeout:
    waited = "" if timeout_s is None else f" in {timeout_s:g} s"
    return WaitTimeout(
        f"{now.stream!r} did not come to {state}{waited}: it is {now.state}, at version {now.version}.",
        "Wait again, or longer.",
        manifest_id=now.stream,
        state=now.state,
        version=now.version,
        wanted=state,
        timeout_s=timeout_s,
    )
