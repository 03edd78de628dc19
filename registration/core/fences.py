"""Fences: a write that carries the number of a lease is refused where a write under a later one was seen. Pure.

The log keeps the number of each event that was made under one, as `data.fence`, and the fold keeps the highest, so that a
replay knows it as well. It is kept for every lifecycle, whatever its own fold keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.errors import StaleFence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.values.commands import Command
    from registration.values.events import Event
    from registration.values.snapshots import StateSnapshot

FENCE = "fence"


def with_fence(before: Mapping[str, Any], after: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """The facts after an event, with the highest number seen: `number`, and who first wrote under it at which `version`."""
    seen, number = before.get(FENCE), event.data.get(FENCE)
    if type(number) is int and (seen is None or number > seen["number"]):
        seen = {"number": number, "actor": event.actor, "version": event.version}
    return after if seen is None else {**after, FENCE: seen}


def check_fence(state: StateSnapshot, command: Command) -> None:
    """Refuse a command whose lease has ended, as far as the log or the lease that holds now tell.

    Raises:
        StaleFence: naming the later number, and whose it is.
    """
    number = command.fence
    if number is None:
        return
    seen, claim = state.fence, command.claim
    if seen is not None and seen["number"] > number:
        by = repr(seen["actor"]) if seen["actor"] is not None else "nobody named"
        later = f"number {seen['number']} was seen at version {seen['version']}, by {by}"
        facts = dict(seen)
    elif claim is not None and claim.number > number:
        later = f"number {claim.number} was given to {claim.holder!r} on {claim.host} at {claim.since}"
        facts = {"number": claim.number, "actor": claim.holder, "version": None}
    else:
        return
    held = {} if claim is None else {"holder": claim.as_json()}
    now = f", and {claim.holder!r} has it until {claim.until}" if claim is not None else ""
    raise StaleFence(
        f"{state.stream!r} was to be written under the lease number {number}, but {later}{now}.",
        "Your lease has ended. Look at what changed, get a new one, and decide again.",
        manifest_id=state.stream,
        version=state.version,
        fence=number,
        seen=facts,
        **held,
    )


def fence_of(command: Command) -> int | None:
    """The number that an event is made under: the one that was given, or that of the actor's own claim."""
    claim = command.claim
    if command.fence is None and claim is not None and claim.holder == command.actor:
        return claim.number
    return command.fence
