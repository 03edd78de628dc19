"""Aliases: words for versions of a name (`latest`, `stable`) that move, as a definition of their own on the engine.

The aliases of one name are one log, in the area `aliases/` of the registry: each move and removal is an event, so where an
alias pointed at any time can be told, and who moved it and why. What an alias points at is a version, the manifest that
held it then, and the digest of its document: these very bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.chart import Action, Chart, State, Transition
from registration.core.definition import Definition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.values.events import Event


def _keep_targets(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """By alias, what it points at."""
    data = event.data
    if "alias" not in data:  # a repair: nothing was decided
        return facts
    kept = dict(facts.get("aliases", {}))
    kept.pop(data["alias"], None)
    if event.action == "move":
        kept[data["alias"]] = data["target"]
    return {"aliases": kept}


ALIASES = Definition(
    Chart(
        "aliases",
        title="The aliases of a name",
        states=(State("MOVED"), State("REMOVED")),
        actions=(Action("move", past="moved"), Action("remove", past="removed")),
        transitions=(
            Transition("move", None, "MOVED"),
            Transition("move", "MOVED", "MOVED"),
            Transition("move", "REMOVED", "MOVED"),
            Transition("remove", "MOVED", "REMOVED"),
            Transition("remove", "REMOVED", "REMOVED"),
        ),
    ),
    evolve=_keep_targets,
)
"""The state is what was done last; all else that can be said of aliases is in what they point at."""
