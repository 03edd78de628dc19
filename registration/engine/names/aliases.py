"""Aliases: words for versions of a name (`latest`, `stable`) that move, as a definition on the engine.

The aliases of one name are one log, in the area `aliases/` of the registry: each move and removal is an event, so the target
of an alias at any time is known, with the actor and the reason. The target of an alias is a version, the manifest that held it
at that time, and the digest of its document: exactly these bytes. `seen` in the event names the version of that manifest, and the
head of its log, at which it held the name: whatever moves an alias is a witness of another log.

Moving an alias is governed as an action on a manifest is: a policy asks guards for `move_alias` and `remove_alias`, of all aliases
or of those in `aliases`. `latest` moves by itself, as a consequence of a registration, which was governed: no rule is asked again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from registration.core.chart import Action, Chart, GuardUse, State, Transition
from registration.core.definition import Definition, of_form
from registration.core.facts import ALIAS_ACTIONS, OF_ALIASES
from registration.values.names import LATEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.core.policy import Policy
    from registration.values.commands import Command
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


def _governed(policy: Policy, action: str, command: Command) -> tuple[GuardUse, ...]:
    """The guards of a policy for a change of an alias, each without the parameter that says of which aliases."""
    alias = (command.members or {}).get("alias")
    if alias == LATEST:
        return ()
    return tuple(
        replace(use, parameters={name: value for name, value in use.parameters.items() if name != OF_ALIASES})
        for use in policy.uses.get(ALIAS_ACTIONS.get(action, action), ())
        if alias in use.parameters.get(OF_ALIASES, (alias,))
    )


def _wrong_with(action: str, members: Mapping[str, Any]) -> str | None:
    """What is wrong with the alias of an event, or with its target."""
    alias, target = members.get("alias"), members.get("target")
    if not isinstance(alias, str) or not alias:
        return f"it names no alias, but {alias!r}"
    if action != "move":
        return None if "target" not in members else "an alias that is removed has no target"
    if not isinstance(target, dict) or target.keys() != {"version", "manifest_id", "digest"}:
        return f"the target of the alias {alias!r} is malformed"
    version, digest = target["version"], target["digest"]
    right = isinstance(target["manifest_id"], str) and isinstance(version, str | None)
    return (
        None
        if right and isinstance(digest, str | None)
        else f"the target of the alias {alias!r} is malformed"
    )


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
    governed=_governed,
    members=frozenset(("alias", "target")),
    shape=_wrong_with,
)
"""The state is the last action; everything else about aliases is in their targets."""
