"""Errors and explanations, as JSON values: the problem, the reason, and the next steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.errors import GuardRefused
from registration.pipeline.wire.locks import lease_or_none

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registration.core.explanation import Explanation
    from registration.errors import Next, RegistrationError
    from registration.pipeline.waiting import Choice, Waiting


class Wording:
    """The wording of next steps. These are the library's own words; each interface has a subclass for its users."""

    def step(self, step: Next) -> str:
        """One step, worded for the users of the interface."""
        return str(step)

    def advice(self, sentence: str, _steps: Sequence[Next]) -> str:
        """The library's advice, with the steps that carry it out."""
        return sentence


NEUTRAL = Wording()
"""The wording for an unknown interface."""


def error(found: RegistrationError, wording: Wording) -> dict[str, Any]:
    """An error: a stable name, the problem, the next step as text and as data, the details."""
    told = found.as_json()
    if not isinstance(found, GuardRefused):
        return told | {"next_step": wording.advice(found.next_step, found.next)}
    # Guards advise on the refusing rules; the next step is in the explanation.
    step = wording.step(found.next[0]) if found.details.get("next") else ""
    return told | {"details": found.details | {"next": step}}


def problem(found: RegistrationError | None, wording: Wording) -> dict[str, Any] | None:
    """The error of one item in a list; None if there is none."""
    return None if found is None else error(found, wording)


def explanation(why: Explanation, wording: Wording) -> dict[str, Any]:
    """Why an action is possible, or not."""
    return why.as_json() | {"next": wording.step(why.next) if why.next is not None else ""}


def waiting(one: Waiting, wording: Wording) -> dict[str, Any]:
    """One manifest that waits for the actor, and the possible actions."""
    return {
        "manifest_id": one.manifest_id,
        "state": one.state,
        "version": one.version,
        "since": one.since,
        "choices": [_choice(each, wording) for each in one.choices],
        "claim": lease_or_none(one.claim),
    }


def _choice(one: Choice, wording: Wording) -> dict[str, Any]:
    return {
        "action": one.action,
        "to": one.to,
        "why": list(one.why),
        "next": wording.step(one.next) if one.next is not None else "",
        "next_actions": [one.next.as_json()] if one.next is not None else [],
    }
