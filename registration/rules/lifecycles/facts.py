"""What a lifecycle keeps in a snapshot besides state and document: approvals, authors, history, time-outs.

The fold of every lifecycle that is given as data. It reads events only, never a chart, so a log folds for ever,
whatever became of the lifecycle that it was written under. What it keeps it shares with no event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.values.events import Event

AUTHORS_KEPT_MAX = 64
"""How many of those who brought a document are remembered: the latest."""

APPROVALS_KEPT_MAX = 256
"""How many approvals of one document are remembered: the latest."""


EVOLVES_ON = frozenset({"document", "lapsed", "approval", "history", "due"})
"""Where neither an event nor the facts have one of these, `keep_facts` changes nothing."""


def keep_facts(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """The facts after an event.

    approvals: of the document as it stands, in order: `actor`, `time`, `version`, `digest`, and where it was recorded
    `policy`, `lifecycle`, `head` and `roles`. Another document lapses them, and every action that says so.
    authors: who brought documents, the latest last; None for somebody who wasn't named. history: see `registration.core.interpreter`. due: by time-out, when.
    """
    data = event.data
    if "lost" in data:  # a repair: nothing was decided
        return facts
    kept = dict(facts)
    if "document" in data or "lapsed" in data:
        kept["approvals"] = []
    if "approval" in data:
        said = {name: list(one) if type(one) is list else one for name, one in data["approval"].items()}
        approval = {"actor": event.actor, "time": event.time, "version": event.version, **said}
        kept["approvals"] = [*kept.get("approvals", ()), approval][-APPROVALS_KEPT_MAX:]
    if "document" in data and "lifecycle" in data:
        others = [actor for actor in facts.get("authors", ()) if actor != event.actor]
        kept["authors"] = [*others, event.actor][-AUTHORS_KEPT_MAX:]
    for name in ("history", "due"):
        kept.pop(name, None)
        if name in data:
            kept[name] = dict(data[name])
    return kept
