"""Why an action can be taken from where a manifest stands, or can't: what `pipeline.explain` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.decider import check_action
from registration.core.explanation import Explanation, explain
from registration.core.facts import TAGGING, action_of
from registration.core.interpreter import steps
from registration.values.ids import check_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.engine.registry import OpenRegistry
    from registration.values.documents import Document


def explained(
    registry: OpenRegistry,
    manifest_id: str,
    action: str | None,
    words: Mapping[str, Any],
    document: Mapping[str, Any] | bytes | Document | None = None,
) -> tuple[Explanation, ...]:
    """See `registration.pipeline.pipeline.RegistrationPipeline.explain`."""
    definition = registry.definition
    tagging = isinstance(action, str) and action in TAGGING
    asked = action if action is None or tagging else check_action(definition.chart, action)
    state = registry.store.load(check_id(manifest_id))
    if state is not None:
        state = registry.as_of_now(state)
    elif asked is None or asked not in definition.chart.own_transitions(None):
        raise registry.unknown(manifest_id)
    policy = registry.policy()
    claim = registry.lease_on(manifest_id) if state is not None else None
    offered = steps(definition.chart, state.state, state.facts.get("history")) if state else {}
    brought = None if document is None else registry.document(document)
    standing = state.document if state is not None else None
    looked_at = standing if brought is None else brought.value
    found = []
    for name in offered if asked is None else [asked]:
        carried = brought if action_of(definition.chart, name).document else None
        command = registry.command(manifest_id, words, action=name, claim=claim, document=carried)
        why = explain(definition, state, command, policy=policy)
        found.append(registry.names.explained(why, definition, looked_at))
    return tuple(found)
