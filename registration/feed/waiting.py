"""Waiting for a manifest to come into a state."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from registration.core.decider import check_state, fold
from registration.core.interpreter import Spot, onward
from registration.errors import InvalidArgument, Next, Rejected, WaitTimeout
from registration.feed.watching import LOOK_S, LOOK_S_MAX

if TYPE_CHECKING:
    from registration.core.chart import Chart
    from registration.storage.ledger import Ledger
    from registration.values.events import StateSnapshot

SPOTS_MAX = 10_000
"""The number of places that are searched for a path; beyond that, a path is assumed."""


def wait_for(
    store: Ledger,
    begun: StateSnapshot,
    state: str,
    *,
    timeout_s: float | None = None,
    stop: threading.Event | None = None,
) -> StateSnapshot:
    """Wait until a manifest is in a state, and return it as it was then, even if it has moved on since.

    begun: its current state. state: a parent state is reached with any of its children. timeout_s: None waits forever.

    Raises:
        InvalidArgument: when the lifecycle has no such state.
        Rejected: as soon as the lifecycle has no path there any more.
        WaitTimeout: when it timed out, or `stop` was set.
    """
    chart = store.definition.chart
    check_state(chart, state)
    if timeout_s is not None and not timeout_s >= 0:  # so that NaN is rejected
        raise InvalidArgument(
            f"Invalid `timeout_s` {timeout_s!r}: expected seconds, 0 or more.", "Pass the time to wait."
        )
    stop = stop or threading.Event()
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    now, looked_at, pause_s = begun, 0, LOOK_S
    while True:
        if now.version != looked_at:
            if state in chart.active(now.state):
                return now
            if (passed := _passed(store, now.stream, looked_at, state)) is not None:
                return passed
            _refuse_without_way(chart, now, state)
            looked_at, pause_s = now.version, LOOK_S
        left_s = pause_s if deadline_s is None else min(pause_s, deadline_s - time.monotonic())
        if left_s <= 0 or stop.wait(left_s):
            raise _in_vain(now, state, timeout_s)
        pause_s = min(pause_s * 1.5, LOOK_S_MAX)
        now = store.load(now.stream) or now


def _passed(store: Ledger, stream: str, looked_at: int, state: str) -> StateSnapshot | None:
    """The manifest as it was when it passed through the state since the last check; None if it did not."""
    if not looked_at:
        return None  # events before the wait began don't count
    chart, events = store.definition.chart, []
    for event in store.read(stream):
        events.append(event)
        if event.version > looked_at and state in chart.active(event.to_state):
            return fold(store.definition, None, events)
    return None


def _refuse_without_way(chart: Chart, now: StateSnapshot, state: str) -> None:
    begin = Spot(now.state, tuple(sorted(now.facts.get("history", {}).items())))
    seen, waiting = {begin}, [begin]
    for spot in waiting:  # it grows during the iteration
        for _, target in onward(chart, spot):
            if state in chart.active(target.place or "") or len(seen) > SPOTS_MAX:
                return
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    raise Rejected(
        f"{now.stream!r} is {now.state}, at version {now.version}, and the lifecycle has no path from there to {state}.",
        "Don't wait for it. See the ways that there are.",
        Next(operation="lifecycle.graph"),
        manifest_id=now.stream,
        state=now.state,
        version=now.version,
        wanted=state,
    )


def _in_vain(now: StateSnapshot, state: str, timeout_s: float | None) -> WaitTimeout:
    waited = "" if timeout_s is None else f" in {timeout_s:g} s"
    return WaitTimeout(
        f"{now.stream!r} did not reach {state}{waited}: it is {now.state}, at version {now.version}.",
        "Try again with a longer timeout.",
        manifest_id=now.stream,
        state=now.state,
        version=now.version,
        wanted=state,
        timeout_s=timeout_s,
    )
