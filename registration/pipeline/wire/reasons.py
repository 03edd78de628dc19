"""Errors and explanations, as JSON values: what went wrong, why, and what to do next."""

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
    """How what to do next is worded. These are the library's own words; an interface has a subclass for its users."""

    def step(self, step: Next) -> str:
        """One step, as the users of the interface take it."""
        return str(step)

    def advice(self, sentence: str, _steps: Sequence[Next]) -> str:
        """What to do, as the library says it, with the steps that do it."""
        return sentence


NEUTRAL = Wording()
"""For where nothing is known of the interface."""


def error(found: RegistrationError, wording: Wording) -> dict[str, Any]:
    """What went wrong: a stable name, the problem, what to do about it as a text and as data, the facts."""
    told = found.as_json()
    if not isinstance(found, GuardRefused):
        return told | {"next_step": wording.advice(found.next_step, found.next)}
    # What guards advise is about the rules that refuse; the step that leads on stands in the explanation.
    step = wording.step(found.next[0]) if found.details.get("next") else ""
    return told | {"details": found.details | {"next": step}}


def problem(found: RegistrationError | None, wording: Wording) -> dict[str, Any] | None:
    """What is wrong with one thing in a list; None where nothing is."""
    return None if found is None else error(found, wording)


def explanation(why: Explanation, wording: Wording) -> dict[str, Any]:
    """Why an action can be taken, or can't."""
    return why.as_json() | {"next": wording.step(why.next) if why.next is not None else ""}


def waiting(one: Waiting, wording: Wording) -> dict[str, Any]:
    """One manifest that waits for somebody, and what they could do."""
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
