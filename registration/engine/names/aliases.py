"""Aliases: words for versions of a name (`latest`, `stable`) that move, as a definition on the engine.

The aliases of one name are one log, in the area `aliases/` of the registry: each move and removal is an event, so the target
of an alias at any time is known, with the actor and the reason. The target of an alias is a version, the manifest that held it
at that time, and the digest of its document: exactly these bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.chart import Action, Chart, State, Transition
from registration.core.definition import Definition, of_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.values.events import Event


@of_form(1)
def _keep_targets(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """The targets, by alias."""
    data = event.data
    if "alias" not in data:  # a repair, which decides nothing
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
"""The state is the last action; everything else about aliases is in their targets."""
