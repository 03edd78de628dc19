"""The fold of a session: owner, answers, attempt, external work. It reads events, never a wizard.

So a session folds forever, whatever became of its wizard. All facts come from the
`context` of events; see `registration.onboarding.wizards.statechart` for their origin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.definition import of_form
from registration.onboarding.wizards.wizard import EXPIRED, FAILED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.values.events import Event

CREATED = ("wizard", "owner", "community")
"""The facts that a session is created with, and that never change."""


@of_form(1)
def keep_session(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """The facts after an event.

    wizard: name, version and, for a wizard from data, its digest. owner: `scope` and `user`. community: an id or
    None. answers: by step; draft: by step, the incomplete answer. attempt: the number of times it was started, from 1.
    client: the keyed hash of the client that the
    session is bound to. work: by key, the last record, in order. manifest: `id`, `version` and `digest` of the
    resulting manifest. stopped: the step at which it failed or expired, and the reason. due: by time-out, its due time.
    """
    if (
        "lost" in event.data
    ):  # a repair, which changes nothing but a time-out that is counted from the last event
        return facts if "lapsed" not in event.data else _with_due(facts, event)
    said: Mapping[str, Any] = event.data.get("context", {})
    kept = _moved(facts, event, said)
    if said.get("forget"):
        kept |= {"answers": {}, "draft": {}}
    if "draft" in said:
        kept["draft"] = {**kept.get("draft", {}), **_copy(said["draft"])}
    if "answers" in said:
        kept["draft"] = {
            step: one for step, one in kept.get("draft", {}).items() if step not in said["answers"]
        }
        kept["answers"] = {**kept.get("answers", {}), **_copy(said["answers"])}
    if "work" in said:
        record = _copy(said["work"])
        kept["work"] = {**kept.get("work", {}), record.pop("key"): record}
    if event.action == "bind":  # other events only name the client that acted
        kept["client"] = said["client"]
    if "manifest" in said:
        kept["manifest"] = _copy(said["manifest"])
    return kept


def _moved(facts: Mapping[str, Any], event: Event, said: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that follow from the event's target: a start, another attempt, an end, and the expiry."""
    kept = dict(facts)
    if event.from_state is None:
        kept = {name: _copy(said.get(name)) for name in CREATED} | {"attempt": 1, "answers": {}}
    elif event.action == "restart":
        kept["attempt"] = kept.get("attempt", 1) + 1
        kept.pop("stopped", None)
        kept.pop("work", None)
    if event.to_state in (FAILED, EXPIRED):
        kept["stopped"] = {"at": event.from_state, "reason": event.data.get("reason", "")}
    return _with_due(kept, event)


def _with_due(facts: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """The facts with the time-outs that are due after an event."""
    kept = dict(facts)
    kept.pop("due", None)
    if "due" in event.data:
        kept["due"] = dict(event.data["due"])
    return kept


def _copy(value: Any) -> Any:
    """A deep copy of a JSON value: callers receive events, and may mutate them."""
    if type(value) is dict:
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if type(value) is list else value
