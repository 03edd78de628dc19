"""Deciding the registry's own log again: each change of the rules, under the rules that were in force before it. Pure.

As for every log (`registration.evidence.redeciding`), with three differences. An event names the rules that the state before it has in
force, and the line before it. Of them, `[governance]` is asked, in the state in which a change is decided: a proposal, and its approvals,
count for exactly that change. And a change that the owner of the directory forced asks no guard; but one of them has to have refused it,
so that nobody is said to have used force who did not need it.

What no log can show is who owned the directory: anybody who can write its files can write a forced change, and every later receipt shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.decider import decide
from registration.errors import GuardRefused
from registration.evidence.kept_rules import NotHere, NotKept
from registration.evidence.redeciding import Doubt, Redecider, command_of
from registration.rules.lifecycles.registry import as_asked, governing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from registration.core.definition import Definition
    from registration.core.policy import Policy
    from registration.evidence.kept_rules import KeptRules
    from registration.values.events import Event, StateSnapshot

_FORMAT = 2
"""The format of events without a policy: release 0.1 had no such log."""


class RulesRedecider(Redecider):
    """See `Redecider`. definition: that of the registry's own log. rules: as they were kept, of whatever area."""

    def _is_as_decided(self, _event: Event, _rules: KeptRules) -> bool:
        return False  # few events, each of them special

    def _met(self, event: Event) -> StateSnapshot | None:
        return as_asked(self.state, event.action, event.data.get("in_force"))

    def _registry(self, event: Event, rules: KeptRules) -> Iterator[Doubt]:
        """Whether an event names the rules in force before it and the line before it, and puts in force what its action can."""
        data, state = event.data, self.state
        right: dict[str, Any] = {}
        if state is not None and "lost" not in data:  # a repair asks no rule: they can't be read
            right = {"policy": state.facts["policy"], "roster": state.facts["roster"]}
            right["registry"] = {"version": state.version, "hash": state.position.head}
        for name in ("policy", "roster", "registry"):
            if data.get(name) != right.get(name):
                reason = f"it was decided under the {name} {right.get(name)}, and names {data.get(name)}"
                yield Doubt("damage", event.version, reason, f"{name} not in force")
        if "in_force" in data:
            yield from _changed(event, state)
            yield from _kept(event, data["in_force"], data["in_force"]["lifecycle"]["digest"], rules)
        elif isinstance(data.get("document"), dict):
            yield from _kept(event, data["document"], data["document"]["lifecycle"], rules)

    def _acted(
        self, definition: Definition, policy: Policy, event: Event, *, strict: bool
    ) -> Iterator[Doubt]:
        forced = event.data.get("forced") is True
        if forced and not self._is_refused(definition, governing(policy), event):
            reason = "it says that the owner of the directory forced it, and the rules did not refuse it"
            yield Doubt("damage", event.version, reason, "forced without need")
        if event.action == "propose":
            yield from self._proposed(event)
        yield from super()._acted(definition, governing(policy, forced=forced), event, strict=strict)

    def _is_refused(self, definition: Definition, policy: Policy, event: Event) -> bool:
        command = command_of(event, definition, self._told.digest)
        try:
            decide(definition, self._met(event), command, time=event.time, event_id=event.id, policy=policy)
        except GuardRefused:
            return True
        return False

    def _proposed(self, event: Event) -> Iterator[Doubt]:
        """A proposal is of rules and a roster: the lifecycle stays."""
        assert self.state is not None
        document, lifecycle = event.data["document"], self.state.facts["lifecycle"]["digest"]
        if document.keys() != {"lifecycle", "policy", "roster"} or document["lifecycle"] != lifecycle:
            reason = "what it proposes is not a change of the rules"
            yield Doubt("damage", event.version, reason, "proposal")


_SAME: Mapping[str, tuple[str, ...]] = {
    "apply_policy": ("lifecycle",),
    "change_roster": ("lifecycle", "policy"),
    "migrate_lifecycle": ("policy", "roster", "files"),
}
"""What a change leaves as it was, by its action."""

_OTHER: Mapping[str, str] = {
    "apply_policy": "policy",
    "change_roster": "roster",
    "migrate_lifecycle": "lifecycle",
}
"""What it puts in force instead."""


def _changed(event: Event, state: StateSnapshot | None) -> Iterator[Doubt]:
    """Whether a change is of what its action changes."""
    said = event.data["in_force"]
    if state is None or event.action not in _SAME:
        return
    for name in _SAME[event.action]:
        if said[name] != state.facts[name]:
            reason = f"{event.action!r} does not change the {name}, and it does"
            yield Doubt("damage", event.version, reason, f"in_force.{name}")
    other = _OTHER[event.action]
    if said[other] == state.facts[other]:
        reason = f"{event.action!r} changes the {other}, and it is the one before"
        yield Doubt("damage", event.version, reason, f"in_force.{other}")


def _kept(event: Event, named: Mapping[str, Any], lifecycle: str, rules: KeptRules) -> Iterator[Doubt]:
    """Whether the rules that it puts in force, or proposes, are kept."""
    under = {"version": event.version, "hash": event.hash}  # as the next event names them
    checks: tuple[Callable[[], object], ...] = (
        lambda: rules.policy(named["policy"], named["roster"], under, _FORMAT),
        lambda: rules.check_lifecycle(lifecycle),
    )
    for check in checks:
        try:
            check()
        except NotKept as error:
            yield Doubt("damage", event.version, str(error), "rule not kept")
        except NotHere:
            continue  # a guard that this program lacks: said of each event that would ask it
