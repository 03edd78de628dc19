"""The facts of a lifecycle in a snapshot, in addition to state and document: approvals, authors, history, time-outs.

This is the fold of every lifecycle that is given as data. It reads events only, never a chart, so a log folds forever,
whatever became of the lifecycle it was written under. It shares nothing with the events: it copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.definition import of_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.values.events import Event

AUTHORS_KEPT_MAX = 64
"""The number of authors that release 0.1 kept: the latest ones."""

APPROVALS_KEPT_MAX = 256
"""The number of approvals of one document that release 0.1 kept: the latest ones."""

REPAIRS_KEPT_MAX = 16
"""The number of repairs that are kept: the latest ones. The log has all of them."""


EVOLVES_ON = frozenset({"document", "lapsed", "approval", "history", "due"})
"""If neither an event nor the facts have one of these, `keep_facts` changes nothing."""


@of_form(1)
def keep_facts(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """The facts after an event.

    approvals: of the current document, in order: `actor`, `time`, `version`, `digest`, and if recorded
    `policy`, `lifecycle`, `head` and `roles`. A new document lapses them, and so does every action with `lapses`.
    authors: who submitted documents, the latest last; None for an unnamed actor. history: see `registration.core.interpreter`. due: by time-out, its due time.
    repairs: of the log, in order: `actor`, `time`, `version`, the `size_bytes` and the `last_version` that were lost, and the versions
    of the approvals that `lapsed`.
    revisions: the number of documents since release 0.2, whose events name the registry's log.
    authors_lost: True if release 0.1 may have dropped authors before.

    Events of release 0.1 push out what they pushed out then. Later ones push nothing out: limits refuse the command instead
    (`registration.core.bounds`). Names are compared as they are written: a profile by which people are compared may change, this can't.
    """
    data = event.data
    if "lost" in data and "lapsed" not in data:  # a repair by release 0.1, which decided nothing
        return facts
    keeps_all = "registry" in data
    kept = dict(facts)
    if "lost" in data:
        repair = {
            "actor": event.actor,
            "time": event.time,
            "version": event.version,
            "size_bytes": data["lost"].get("size_bytes"),
            "last_version": data["lost"].get("last_version"),
            "lapsed": list(data["lapsed"]),
        }
        kept["repairs"] = [*facts.get("repairs", ()), repair][-REPAIRS_KEPT_MAX:]
    if "document" in data or "lapsed" in data:
        kept["approvals"] = []
    if "approval" in data:
        said = {name: list(one) if type(one) is list else one for name, one in data["approval"].items()}
        approval = {"actor": event.actor, "time": event.time, "version": event.version, **said}
        approvals = [*kept.get("approvals", ()), approval]
        kept["approvals"] = approvals if keeps_all else approvals[-APPROVALS_KEPT_MAX:]
    if "document" in data and "lifecycle" in data:
        before = facts.get("authors", ())
        authors = [*(actor for actor in before if actor != event.actor), event.actor]
        kept["authors"] = authors if keeps_all else authors[-AUTHORS_KEPT_MAX:]
        if keeps_all:
            if "revisions" not in facts and len(before) >= AUTHORS_KEPT_MAX:
                kept["authors_lost"] = True
            kept["revisions"] = facts.get("revisions", 0) + 1
    for name in ("history", "due"):
        kept.pop(name, None)
        if name in data:
            kept[name] = dict(data[name])
    return kept
