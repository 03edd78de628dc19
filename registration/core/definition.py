"""A definition: all that the engine needs to know of one kind of lifecycle.

The engine knows no lifecycle. The registration of manifests is one definition, guided onboarding another;
each is a chart, guards, and what it keeps in a snapshot besides the state and the document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from registration.core.chart import Chart
from registration.errors import InvalidDefinition
from registration.values.commands import Command
from registration.values.events import Event
from registration.values.snapshots import StateSnapshot


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guard says.

    reason: a sentence without its full stop. evidence: JSON values it rests on. remedy: where it disagrees,
    what would change its mind, as a whole sentence.
    """

    agrees: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""


Guard = Callable[[StateSnapshot | None, Command], Verdict]
"""A pure function of the state (None before creation) and the command."""

Evolve = Callable[[Mapping[str, Any], Event], Mapping[str, Any]]
"""From the facts kept so far and the next event to the facts after it. Pure and total; changes neither."""


def keep_facts(facts: Mapping[str, Any], _event: Event) -> Mapping[str, Any]:
    """The `Evolve` of a definition that keeps nothing besides the state and the document."""
    return facts


@dataclass(frozen=True)
class Definition:
    """A chart with its guards and its fold.

    The chart's name is the first part of its event types: ``registration.approved.v1``.

    Raises:
        InvalidDefinition: when the chart names a guard that isn't given.
    """

    chart: Chart
    guards: Mapping[str, Guard] = field(default_factory=dict)
    evolve: Evolve = keep_facts
    event_types: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        unknown = {
            f"action {move.action!r} names the unknown guard {guard!r}"
            for move in self.chart.transitions
            for guard in move.guards
            if guard not in self.guards
        }
        if unknown:
            raise InvalidDefinition(self.chart.name, sorted(unknown))
        types = {self.event_type(action.name) for action in self.chart.actions}
        object.__setattr__(self, "event_types", frozenset({*types, self.repaired}))

    @property
    def name(self) -> str:
        """The chart's name."""
        return self.chart.name

    @property
    def repaired(self) -> str:
        """The type of the event that tells of a repair. No action leads to it: it is what the store has to say."""
        return f"{self.name}.repaired.v1"

    def event_type(self, action: str) -> str:
        """The type of the event that an action leads to, in the schema that is written today."""
        return f"{self.name}.{self.chart.action(action).past}.v1"
