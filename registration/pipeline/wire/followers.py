"""Those who follow a registry, as JSON values: consumers and hooks."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from registration.pipeline.wire.reasons import problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registration.feed.consumers import ConsumerStatus, Failing, Skipped
    from registration.feed.hooks.dead_letters import DeadLetter
    from registration.feed.hooks.hooks import Told
    from registration.feed.hooks.webhooks import Delivery
    from registration.pipeline.wire.reasons import Wording


def consumer(status: ConsumerStatus, wording: Wording) -> dict[str, Any]:
    """How a consumer of the feed stands."""
    return {
        "name": status.name,
        "state": status.state,
        "cursor": status.cursor,
        "lag_events": status.lag_events,
        "lag_s": status.lag_s,
        "committed_at": status.committed_at,
        "failing": asdict(status.failing) if status.failing is not None else None,
        "skipped": [asdict(one) for one in status.skipped],
        "holder": status.holder,
        "problem": problem(status.problem, wording),
    }


def retried(name: str, entry: Failing) -> dict[str, Any]:
    """The entry that a consumer tries again."""
    return {"consumer": name, "retried": entry.what, "event_id": entry.event_id}


def skipped(name: str, entry: Skipped) -> dict[str, Any]:
    """The entry that a consumer passes, and why."""
    return {"consumer": name, "skipped": entry.what, "event_id": entry.event_id, "reason": entry.reason}


def reset(name: str, cursor: str) -> dict[str, Any]:
    """Where a consumer was put."""
    return {"consumer": name, "cursor": cursor}


def deleted(name: str) -> dict[str, Any]:
    """A consumer that there is no more."""
    return {"consumer": name, "deleted": True}


def hook(name: str, to: str, problems: Sequence[str]) -> dict[str, Any]:
    """A hook, where it delivers to, and what it lacks."""
    return {"hook": name, "to": to, "problems": list(problems)}


def tested(name: str, done: Delivery) -> dict[str, Any]:
    """What delivering a test event came to."""
    return {"hook": name, "delivered": done.done, "error": done.error or None}


def delivery(told: Told) -> dict[str, Any]:
    """What a hook came to with one event."""
    return {
        "hook": told.hook,
        "outcome": told.what,
        "entry": told.entry or None,
        "event_id": told.event_id,
        "attempts": told.attempts,
        "error": told.error or None,
        "next_at": told.next_at,
    }


def dead_letter(one: DeadLetter) -> dict[str, Any]:
    """An event that a hook gave up, with the event itself: as it is sent, and as JSON."""
    return {
        "hook": one.hook,
        "event_id": one.event_id,
        "manifest_id": one.manifest_id,
        "version": one.version,
        "action": one.action,
        "time": one.time,
        "attempts": one.attempts,
        "error": one.error,
        "body": one.body,
        "event": orjson.loads(one.body),
    }
