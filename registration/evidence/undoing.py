"""Undoing: the action that reverts the last event. Pure. Nothing is removed: undoing is an event as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registration.core.decider import fold
from registration.core.interpreter import step
from registration.errors import Next, Rejected
from registration.values.documents import Document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registration.core.definition import Definition
    from registration.values.events import Event


def plan_undo(
    definition: Definition, events: Sequence[Event], key: str | None = None
) -> tuple[str, Document | None, int]:
    """The action that reverts the last event, the document that it restores (if any), and that event's version.

    key: if an undo was recorded under this idempotency key, its plan is returned: the engine then
    returns the first answer.

    Raises:
        Rejected: when the lifecycle names no action for it, or the action would not lead back.
    """
    events = _asked_of(events, key)
    last, chart = events[-1], definition.chart
    state = fold(definition, None, events)
    assert state is not None

    def refused(why: str) -> Rejected:
        return Rejected(
            f"Version {last.version} of {last.subject!r} ({last.action}) can't be undone: {why}.",
            "See what can be done from here.",
            Next(operation="why", id=last.subject),
            manifest_id=last.subject,
            version=last.version,
            action=last.action,
        )

    if last.from_state is None:
        raise refused("it created the manifest")
    if "undoes" in last.data:
        raise refused(f"it is itself the undoing of version {last.data['undoes']}")
    if not chart.has_action(last.action):
        raise refused("no action of the lifecycle led to it")
    back = chart.action(last.action).undone_by
    if back is None:
        raise refused(f"the lifecycle {chart.name!r} has no action that undoes it")
    taken = step(chart, state.state, back, state.facts.get("history"))
    if taken is None or taken.place != last.from_state:
        where = (
            "can't be done from here"
            if taken is None
            else f"leads to {taken.place}, not to {last.from_state}"
        )
        raise refused(f"{back!r}, which undoes it, {where}")
    if not chart.action(back).document:
        return back, None, last.version
    before = fold(definition, None, events[:-1])
    assert before is not None
    if before.document is None or before.digest is None:
        raise refused("there was no document before it")
    return back, Document(dict(before.document), before.digest, 0), last.version


def _asked_of(events: Sequence[Event], key: str | None) -> Sequence[Event]:
    """The events to undo from: those before the event recorded under the key, if there is one."""
    first = next((event for event in reversed(events) if event.idempotency_key == key), None)
    return (
        events[: first.version - 1]
        if key is not None and first is not None and "undoes" in first.data
        else events
    )
