"""What the registry says to programs: every JSON object that an interface gives, made here and nowhere else.

Pure functions from values to dicts that are ready for JSON. The shapes are stable: members may be added, none is renamed
or removed, and none changes its type. What somebody is to do next is data under `next_actions`; beside it stands a text
(`next_step` of an error, `next` of an explanation), which each interface words in its own way: see `Wording`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from registration.errors import GuardRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from registration.core.explanation import Explanation
    from registration.errors import Next, RegistrationError
    from registration.evidence.policy_replay import Decision
    from registration.feed.consumers import ConsumerStatus
    from registration.pipeline.waiting import Choice, Waiting

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wording:
    """How an interface words what to do next. step: one step, as its users would take it. advice: what to do about an error."""

    step: Callable[[Next], str]
    advice: Callable[[RegistrationError], str]


NEUTRAL = Wording(step=str, advice=lambda error: error.next_step)
"""The library's own words, for where nothing is known of the interface."""


def error(found: RegistrationError, wording: Wording) -> Json:
    """What went wrong: a stable name, the problem, what to do about it as a text and as data, the facts."""
    told = found.as_json() | {"next_step": wording.advice(found)}
    if isinstance(found, GuardRefused) and "next" in found.details:
        told["details"] = found.details | {
            "next": wording.step(found.next[0]) if found.details["next"] else ""
        }
    return told


def explanation(why: Explanation, wording: Wording) -> Json:
    """Why an action can be taken, or can't."""
    return why.as_json() | {"next": wording.step(why.next) if why.next is not None else ""}


def choice(one: Choice, wording: Wording) -> Json:
    """One thing that could be done to a manifest that waits."""
    return {
        "action": one.action,
        "to": one.to,
        "why": list(one.why),
        "next": wording.step(one.next) if one.next is not None else "",
        "next_actions": [one.next.as_json()] if one.next is not None else [],
    }


def waiting(one: Waiting, wording: Wording) -> Json:
    """One manifest that waits for somebody."""
    return {
        "manifest_id": one.manifest_id,
        "state": one.state,
        "version": one.version,
        "since": one.since,
        "choices": [choice(each, wording) for each in one.choices],
        "claim": one.claim.as_json() if one.claim is not None else None,
    }


def decision(one: Decision, wording: Wording) -> Json:
    """A decision that was asked again under a proposed policy."""
    return {
        "manifest_id": one.manifest_id,
        "version": one.version,
        "time": one.time,
        "was": one.was,
        "would_be": one.would_be,
        "why": explanation(one.why, wording) if one.why is not None else None,
    }


def consumer(status: ConsumerStatus, wording: Wording) -> Json:
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
        "problem": error(status.problem, wording) if status.problem is not None else None,
    }
