"""The statechart as data: states, actions, transitions and time-outs, guards by name.

The words are those of SCXML (https://www.w3.org/TR/scxml/). A *compound* state has children and enters its
*initial* one. A *parallel* state has its children, the *regions*, active at once. A *final* state ends its parent;
a parent that is done goes where its `done` says (SCXML: a transition on ``done.state.ID``), and a parallel state is
done when all its regions are. A *history* state stands for the child of its parent that was active last (shallow).
A transition of an ancestor applies to all its descendants, unless a descendant has one of its own for the same
action. A transition leaves its source and enters it again where that is its target too (SCXML: external); one of a
region itself leaves all the regions, since what holds them is parallel and can't be without one.

Where we differ from SCXML: an action has at most one transition for each source state, so the order of the states
decides only between regions that would leave each other's states; a guard that disagrees refuses the action, where in
SCXML another transition would be looked for; creation is a transition from nothing; time-outs belong to a state and
are named; a final state that is not inside a parallel state, nor inside one that has a `done`, ends the whole chart,
so nothing may lead out of it. A parallel state that is a region itself makes the one around it done, too; a state
that isn't done any more when its turn comes, since another's was before it, doesn't go; and none goes twice in one
step.

What a chart does is in `registration.core.interpreter`. It is checked when it is built, and all its problems
are reported at once, each with its path in the chart's data form (`registration.core.chart_data`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from registration.core.chart_problems import in_one_line, problems_of
from registration.core.interpreter import KNOWN_PLACES_MAX
from registration.errors import InvalidDefinition

CLAIMING, RELEASING = "registered", "withdrawn"
"""The events that claim a document's name, and let go of it, where a lifecycle says nothing else."""


@dataclass(frozen=True, slots=True)
class State:
    """A state. parent: the state that it is a child of. initial: the child that entry leads to.

    parallel: all its children are entered at once. final: it ends its parent, or the chart. done: where to go when
    this state's child is final, or all its regions are. history: not a place, but whichever child of `parent` was
    active last; `initial` is then the one where there was none. title: how people call it.
    """

    name: str
    parent: str | None = None
    initial: str | None = None
    final: bool = False
    parallel: bool = False
    done: str | None = None
    history: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody can do. name: imperative. past: the word of its event. document: whether it brings one.

    approval: its event is an approval of the document as it stands. lapses: it ends the approvals that there are, as
    another document always does. required: what a request has to say: `actor`, `reason`, `comment`, or
    ``context.NAME``. undone_by: the action that takes it back. schema: of its event's data, from 1.
    shared: other actions lead to the same event, and all of them say so: what happened has one word, however it came about.
    claims: it claims the name that the document gives itself; None: it does where its event is ``registered``.
    releases: it lets go of the name; None: it does where its event is ``withdrawn``.
    """

    name: str
    past: str
    document: bool = False
    approval: bool = False
    lapses: bool = False
    required: tuple[str, ...] = ()
    undone_by: str | None = None
    title: str = ""
    schema: int = 1
    shared: bool = False
    claims: bool | None = None
    releases: bool | None = None

    @property
    def claims_name(self) -> bool:
        """Whether its event claims the document's name."""
        return self.past == CLAIMING if self.claims is None else self.claims

    @property
    def releases_name(self) -> bool:
        """Whether its event lets go of the name that the manifest holds."""
        return self.past == RELEASING if self.releases is None else self.releases


@dataclass(frozen=True, slots=True)
class GuardUse:
    """A guard by its name, and what it is asked with: JSON values."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Transition:
    """Where an action leads. source: None is creation. guards: all of them must agree; they are asked in order."""

    action: str
    source: str | None
    target: str
    guards: tuple[GuardUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeout:
    """Where a state leads by itself. name: imperative. past: the word of its event.

    after: how long after the state was entered, as text: ``30s``, ``45m``, ``36h``, ``14d`` or ``2w``.
    sliding: counted from the last event instead. releases: as for an action. None claims: it could be refused.
    """

    name: str
    past: str
    state: str
    after: str
    target: str
    sliding: bool = False
    releases: bool | None = None

    @property
    def releases_name(self) -> bool:
        """Whether its event lets go of the name that the manifest holds."""
        return self.past == RELEASING if self.releases is None else self.releases

    @property
    def transition(self) -> Transition:
        """The same as a transition."""
        return Transition(self.name, self.state, self.target)


@dataclass(frozen=True)
class Chart:
    """A whole lifecycle.

    Raises:
        InvalidDefinition: when it is built with more than its bounds allow; names that are malformed, unknown or given
            twice; a parent that is its own ancestor; an initial child that isn't one; two transitions for one action
            from one state; a way out of a final state; a state that can't be reached; time-outs that lead round by
            themselves; or a trap, which is a place that can't be left, or from which no end can be reached though
            there are some.
    """

    name: str
    states: tuple[State, ...]
    actions: tuple[Action, ...]
    transitions: tuple[Transition, ...]
    timeouts: tuple[Timeout, ...] = ()
    title: str = ""
    _states: dict[str, State] = field(init=False, repr=False, compare=False)
    _actions: dict[str, Action] = field(init=False, repr=False, compare=False)
    _children: dict[str | None, tuple[State, ...]] = field(init=False, repr=False, compare=False)
    _remembering: frozenset[str | None] = field(init=False, repr=False, compare=False)
    _own: dict[str | None, dict[str, Transition]] = field(init=False, repr=False, compare=False)
    _lineages: dict[str, tuple[str, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _actives: dict[str, frozenset[str]] = field(init=False, repr=False, compare=False, default_factory=dict)
    known_steps: dict[tuple[str | None, str], Any] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    """Where `registration.core.interpreter` remembers what it worked out: a chart never changes."""

    def __post_init__(self) -> None:
        children: dict[str | None, list[State]] = {}
        own: dict[str | None, dict[str, Transition]] = {}
        for state in self.states:
            if not state.history:
                children.setdefault(state.parent, []).append(state)
        for move in self.transitions:
            own.setdefault(move.source, {})[move.action] = move
        object.__setattr__(self, "_states", {state.name: state for state in self.states})
        object.__setattr__(self, "_actions", {action.name: action for action in self.actions})
        object.__setattr__(self, "_children", {name: tuple(found) for name, found in children.items()})
        object.__setattr__(self, "_remembering", frozenset(s.parent for s in self.states if s.history))
        object.__setattr__(self, "_own", own)
        if problems := problems_of(self):
            raise InvalidDefinition(in_one_line(self.name), problems)

    def state(self, name: str) -> State:
        """The state of that name. Raises KeyError when there is none."""
        return self._states[name]

    def action(self, name: str) -> Action:
        """The action of that name. Raises KeyError when there is none."""
        return self._actions[name]

    def has_state(self, name: str) -> bool:
        """Whether there is a state of that name in which a manifest can be, compound ones included."""
        return name in self._states and not self._states[name].history

    def has_action(self, name: str) -> bool:
        """Whether there is an action of that name."""
        return name in self._actions

    def children(self, name: str | None) -> tuple[State, ...]:
        """The children of a state (None: the topmost states), history states left out."""
        return self._children.get(name, ())

    def has_history(self, name: str) -> bool:
        """Whether it is remembered which child of this state was active last."""
        return name in self._remembering

    def own_transitions(self, name: str | None) -> Mapping[str, Transition]:
        """By action, the transitions whose source is this very state; None: those of creation."""
        return self._own.get(name, {})

    def in_order(self, actions: Container[str]) -> tuple[str, ...]:
        """The names of actions, in the order of the chart's."""
        return tuple(name for name in self._actions if name in actions)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The states without children, in the order given: a manifest stands in one of them, or several in parallel."""
        return tuple(
            state.name for state in self.states if not state.history and state.name not in self._children
        )

    def lineage(self, name: str) -> tuple[str, ...]:
        """The state and its ancestors, innermost first; just the name itself where no such state is."""
        known = self._lineages.get(name)
        if known is None:
            found = [name]
            while (state := self._states.get(found[-1])) is not None and state.parent is not None:
                found.append(state.parent)
            known = tuple(found)
            if name in self._states:
                self._lineages[name] = known
        return known

    def active(self, place: str) -> frozenset[str]:
        """All states that are active in a place (`registration.core.interpreter`), ancestors included."""
        known = self._actives.get(place)
        if known is None:
            known = frozenset(name for leaf in place.split("+") for name in self.lineage(leaf))
            if len(self._actives) < KNOWN_PLACES_MAX:
                self._actives[place] = known
        return known

    def is_end(self, name: str) -> bool:
        """Whether a final state ends the whole chart: it is in no region, and in nothing that goes on when done."""
        state = self._states.get(name)
        if state is None or not state.final:
            return False
        above = [self._states[ancestor] for ancestor in self.lineage(name)[1:]]
        return not any(ancestor.parallel or ancestor.done for ancestor in above)
