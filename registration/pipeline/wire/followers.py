"""Followers of a registry, as JSON values: consumers and hooks."""

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
    """The status of a consumer of the feed."""
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
    """The entry that a consumer retries."""
    return {"consumer": name, "retried": entry.what, "event_id": entry.event_id}


def skipped(name: str, entry: Skipped) -> dict[str, Any]:
    """The entry that a consumer skips, and why."""
    return {"consumer": name, "skipped": entry.what, "event_id": entry.event_id, "reason": entry.reason}


def reset(name: str, cursor: str) -> dict[str, Any]:
    """The new position of a consumer."""
    return {"consumer": name, "cursor": cursor}


def deleted(name: str) -> dict[str, Any]:
    """A removed consumer."""
    return {"consumer": name, "deleted": True}


def hook(name: str, to: str, problems: Sequence[str]) -> dict[str, Any]:
    """A hook, its destination, and its missing prerequisites."""
    return {"hook": name, "to": to, "problems": list(problems)}


def tested(name: str, done: Delivery) -> dict[str, Any]:
    """The result of delivering a test event."""
    return {"hook": name, "delivered": done.done, "error": done.error or None}


def delivery(told: Told) -> dict[str, Any]:
    """The result of a hook for one event."""
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
    """A dead letter, with the event itself: as it is sent, and as JSON."""
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
