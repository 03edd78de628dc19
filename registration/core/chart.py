"""The statechart as data: states with parents, actions, transitions, guards by name.

The words are those of SCXML (https://www.w3.org/TR/scxml/): a *compound* state has children and enters its
*initial* one; a transition of an ancestor applies to all its descendants, unless a descendant has one of its
own for the same action; nothing leaves a *final* state. Where we differ: an action has at most one transition
for each source state, so document order never decides; creation is a transition from nothing; and final
states end the whole chart, wherever they stand.

A chart is checked when it is built, and all its problems are reported at once.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from registration.errors import InvalidDefinition

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class State:
    """A state. parent: the compound state that it is a child of. initial: the child that entry leads to."""

    name: str
    parent: str | None = None
    initial: str | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody can do. name: imperative. past: the word of its event. document: whether it brings one."""

    name: str
    past: str
    document: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """Where an action leads. source: None is creation. guards: names, all of which must agree, in order."""

    action: str
    source: str | None
    target: str
    guards: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A whole lifecycle.

    Raises:
        InvalidDefinition: when it is built with names that are malformed, unknown or given twice; a parent that
            is its own ancestor; an initial child that isn't one; two transitions for one action from one
            state; a way out of a final state; a state that can't be reached; or a trap, which is a state that
            can't be left, or from which no final state can be reached though there are some.
    """

    name: str
    states: tuple[State, ...]
    actions: tuple[Action, ...]
    transitions: tuple[Transition, ...]
    _states: dict[str, State] = field(init=False, repr=False, compare=False)
    _actions: dict[str, Action] = field(init=False, repr=False, compare=False)
    _resolved: dict[str | None, dict[str, Transition]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_states", {state.name: state for state in self.states})
        object.__setattr__(self, "_actions", {action.name: action for action in self.actions})
        unknown = _unknown_names(self)
        problems = _malformed_names(self) + (unknown or _problems_of_structure(self))
        if not problems:
            object.__setattr__(self, "_resolved", _resolve(self))
            problems = _problems_of_reach(self)
        if problems:
            raise InvalidDefinition(self.name, problems)

    def state(self, name: str) -> State:
        """The state of that name. Raises KeyError when there is none."""
        return self._states[name]

    def action(self, name: str) -> Action:
        """The action of that name. Raises KeyError when there is none."""
        return self._actions[name]

    def has_state(self, name: str) -> bool:
        """Whether there is a state of that name, compound ones included."""
        return name in self._states

    def has_action(self, name: str) -> bool:
        """Whether there is an action of that name."""
        return name in self._actions

    @property
    def leaves(self) -> tuple[str, ...]:
        """The states that a manifest can stand in, in the order given."""
        return tuple(state.name for state in self.states if state.initial is None)

    def lineage(self, name: str) -> tuple[str, ...]:
        """The state and its ancestors, innermost first; just the name itself where no such state is."""
        found = [name]
        while (state := self._states.get(found[-1])) is not None and state.parent is not None:
            found.append(state.parent)
        return tuple(found)

    def entered(self, name: str) -> str:
        """The state in which entry into `name` ends: follow the initial children down."""
        while (initial := self._states[name].initial) is not None:
            name = initial
        return name

    def transitions_from(self, state: str | None) -> dict[str, Transition]:
        """By action, what can happen in a state (None: before creation), inherited transitions included.

        A state that the chart doesn't know, as in a log of an older lifecycle, has none.
        """
        return self._resolved.get(state, {})


def _malformed_names(chart: Chart) -> list[str]:
    problems = []
    for what, names in (
        ("lifecycle", [chart.name]),
        ("state", [state.name for state in chart.states]),
        ("action", [action.name for action in chart.actions]),
        ("event", [action.past for action in chart.actions]),
    ):
        problems += [
            f"the {what} {name!r} is given {times} times"
            for name, times in Counter(names).items()
            if times > 1
        ]
        problems += [
            f"{what} name {name!r} is not a letter followed by up to 63 letters, digits, _ or -"
            for name in names
            if not _NAME.fullmatch(name)
        ]
    return problems


def _unknown_names(chart: Chart) -> list[str]:
    problems = []
    for state in chart.states:
        for role, other in (("parent", state.parent), ("initial child", state.initial)):
            if other is not None and not chart.has_state(other):
                problems.append(f"state {state.name!r} names the unknown {role} {other!r}")
    for move in chart.transitions:
        problems += [
            f"action {move.action!r} names the unknown {role} {name!r}"
            for role, name in (("source", move.source), ("target", move.target))
            if name is not None and not chart.has_state(name)
        ]
        if not chart.has_action(move.action):
            problems.append(f"a transition names the unknown action {move.action!r}")
    return problems


def _problems_of_structure(chart: Chart) -> list[str]:
    cyclic = [state.name for state in chart.states if _is_own_ancestor(chart, state)]
    if cyclic:
        return [f"state {name!r} is its own ancestor" for name in cyclic]
    problems = []
    parents = {state.parent for state in chart.states}
    for state in chart.states:
        if state.initial is None and state.name in parents:
            problems.append(f"state {state.name!r} has children, but no initial one")
        if state.initial is not None and chart.state(state.initial).parent != state.name:
            problems.append(
                f"state {state.initial!r} is the initial child of {state.name!r}, but not its child"
            )
        if state.final and state.name in parents:
            problems.append(f"state {state.name!r} is final, but has children")
    moves = Counter((move.action, move.source) for move in chart.transitions)
    problems += [
        f"action {action!r} is ambiguous: {times} transitions leave {source or 'creation'}"
        for (action, source), times in moves.items()
        if times > 1
    ]
    if not any(move.source is None for move in chart.transitions):
        problems.append("nothing creates a manifest: no transition without a source")
    used = {move.action for move in chart.transitions}
    problems += [
        f"action {action.name!r} is never used" for action in chart.actions if action.name not in used
    ]
    for state in chart.states:
        if state.final:
            lineage = set(chart.lineage(state.name))
            problems += [
                f"final state {state.name!r} is left by {move.action!r}"
                + (f", inherited from {move.source!r}" if move.source != state.name else "")
                for move in chart.transitions
                if move.source in lineage
            ]
    return problems


def _is_own_ancestor(chart: Chart, state: State) -> bool:
    ancestors = [state.name]
    while (parent := chart.state(ancestors[-1]).parent) is not None and parent not in ancestors:
        ancestors.append(parent)
    return parent == state.name


def _resolve(chart: Chart) -> dict[str | None, dict[str, Transition]]:
    """For creation and each leaf, the transition of every action: the innermost state's own comes first."""
    own: dict[str | None, dict[str, Transition]] = {}
    for move in chart.transitions:
        own.setdefault(move.source, {})[move.action] = move
    resolved: dict[str | None, dict[str, Transition]] = {None: own.get(None, {})}
    for leaf in chart.leaves:
        found: dict[str, Transition] = {}
        for state in chart.lineage(leaf):
            for action, move in own.get(state, {}).items():
                found.setdefault(action, move)
        resolved[leaf] = found
    return resolved


def _problems_of_reach(chart: Chart) -> list[str]:
    onward = {
        leaf: {chart.entered(move.target) for move in chart.transitions_from(leaf).values()}
        for leaf in (None, *chart.leaves)
    }
    reached = _reachable(onward, None)
    problems = [
        f"state {state.name!r} can't be reached"
        for state in chart.states
        if not any(state.name in chart.lineage(leaf) for leaf in reached if leaf is not None)
    ]
    finals = {leaf for leaf in chart.leaves if chart.state(leaf).final}
    for leaf in chart.leaves:
        if leaf in reached and leaf not in finals:
            beyond = _reachable(onward, leaf)
            if not beyond - {leaf}:
                problems.append(f"state {leaf!r} is a trap: it is not final, and nothing leads out of it")
            elif finals and not beyond & finals:
                problems.append(f"state {leaf!r} is a trap: no final state can be reached from it")
    return problems


def _reachable(onward: dict[str | None, set[str]], start: str | None) -> set[str]:
    seen: set[str] = set()
    waiting = list(onward[start])
    while waiting:
        leaf = waiting.pop()
        if leaf not in seen:
            seen.add(leaf)
            waiting.extend(onward[leaf])
    return seen
