"""The statechart: its parts as data, and its semantics. Pure functions; the algorithm is SCXML's.

A *place* is the active configuration of a manifest: the name of its active leaf, or of all of them, in the order of the chart,
joined by ``+`` if regions are active in parallel: ``SECURITY_OPEN+LEGAL_DONE``.

Source: W3C, "State Chart XML (SCXML)", 2015, appendix D (computeExitSet, addDescendantStatesToEnter,
removeConflictingTransitions). The words, and where we differ, are explained in `registration.core.chart`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

History = Mapping[str, str]
"""By state with a history: its most recently active child."""

PLACES_MAX = 10_000
"""The maximum number of reachable places, each with its history."""

KNOWN_PLACES_MAX = 4_096
"""The maximum number of cached places, and of steps from them."""

STEPS_MAX = 100_000
"""The maximum number of steps that are explored; one counts once for each leaf that it ends in."""


CLAIMING, RELEASING = "registered", "withdrawn"
"""By default, the events that claim a document's name and release it."""


@dataclass(frozen=True, slots=True)
class State:
    """A state. parent: the state that contains it. initial: the child that is entered by default.

    parallel: all its children are entered at once. final: it ends its parent, or the chart. done: the target once
    this state's active child is final, or all its regions are. history: a history state, which stands for the most
    recently active child of `parent`, or `initial` before any was active. title: its name for people.
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
    """An action that people can take. name: imperative. past: the word of its event. document: whether it takes one.

    approval: its event is an approval of the current document. lapses: it ends all open approvals, as
    a new document always does. required: the arguments that a request must have: `actor`, `reason`, `comment`, or
    ``context.NAME``. undone_by: the action that undoes it. schema: the schema of its event's data, from 1.
    shared: other actions lead to the same event, and each of them declares it: the event has one word, whatever led to it.
    claims: it claims the document's name; None: only if its event is ``registered``.
    releases: it releases the name; None: only if its event is ``withdrawn``.
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
        """Whether its event releases the name that the manifest holds."""
        return self.past == RELEASING if self.releases is None else self.releases


@dataclass(frozen=True, slots=True)
class GuardUse:
    """A guard by its name, with its parameters: JSON values."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Transition:
    """A transition of an action. source: None for creation. guards: all must agree; they are asked in order."""

    action: str
    source: str | None
    target: str
    guards: tuple[GuardUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeout:
    """A transition that a state takes by itself. name: imperative. past: the word of its event.

    after: the time since the state was entered, as text: ``30s``, ``45m``, ``36h``, ``14d`` or ``2w``.
    sliding: counted from the last event instead. releases: as for an action. It can't claim: a claim can be refused.
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
        """Whether its event releases the name that the manifest holds."""
        return self.past == RELEASING if self.releases is None else self.releases

    @property
    def transition(self) -> Transition:
        """The time-out as a transition."""
        return Transition(self.name, self.state, self.target)


@dataclass(frozen=True, slots=True)
class Step:
    """The result of an action or a time-out.

    label: its name. transitions: those taken together, one unless regions have their own. place: the new
    place. left: the states that were exited, even if they were entered again. joined: the parallel states
    that completed on the way, in order. history: the previous one, updated by the states that were left.
    """

    label: str
    transitions: tuple[Transition, ...]
    place: str
    left: frozenset[str] = frozenset()
    joined: tuple[str, ...] = ()
    history: History = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Statechart:
    """A whole lifecycle, unchecked: building a `registration.core.chart.Chart` reports its problems.

    If it is invalid, the functions here can fail, or find a place twice; nothing else happens.
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
    known_steps: dict[tuple[str | None, str], Step | None] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    """The cache of `step`: a chart never changes."""

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

    def state(self, name: str) -> State:
        """The state of that name. Raises KeyError when there is none."""
        return self._states[name]

    def action(self, name: str) -> Action:
        """The action of that name. Raises KeyError when there is none."""
        return self._actions[name]

    def has_state(self, name: str) -> bool:
        """Whether there is a state of that name that can be active, compound states included."""
        return name in self._states and not self._states[name].history

    def has_action(self, name: str) -> bool:
        """Whether there is an action of that name."""
        return name in self._actions

    def children(self, name: str | None) -> tuple[State, ...]:
        """The children of a state (None: the topmost states), without history states."""
        return self._children.get(name, ())

    def has_history(self, name: str) -> bool:
        """Whether the most recently active child of this state is remembered."""
        return name in self._remembering

    def own_transitions(self, name: str | None) -> Mapping[str, Transition]:
        """By action, the transitions whose source is exactly this state; None: those of creation."""
        return self._own.get(name, {})

    def in_order(self, actions: Container[str]) -> tuple[str, ...]:
        """The names of actions, in chart order."""
        return tuple(name for name in self._actions if name in actions)

    @property
    def leaves(self) -> tuple[str, ...]:
        """The states without children, in chart order: a manifest is in one of them, or in several in parallel."""
        return tuple(
            state.name for state in self.states if not state.history and state.name not in self._children
        )

    def lineage(self, name: str) -> tuple[str, ...]:
        """The state and its ancestors, innermost first; only the name itself if the state is unknown."""
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
        """All states that are active in a place, ancestors included."""
        known = self._actives.get(place)
        if known is None:
            known = frozenset(name for leaf in place.split("+") for name in self.lineage(leaf))
            if len(self._actives) < KNOWN_PLACES_MAX:
                self._actives[place] = known
        return known

    def is_end(self, name: str) -> bool:
        """Whether a final state ends the whole chart: it is in no region, and in no state that has a `done`."""
        state = self._states.get(name)
        if state is None or not state.final:
            return False
        above = [self._states[ancestor] for ancestor in self.lineage(name)[1:]]
        return not any(ancestor.parallel or ancestor.done for ancestor in above)


class EndlessStep(Exception):  # caught when a chart is validated; one that was built never raises it
    """Immediate completions form a cycle."""


def entered(chart: Statechart, name: str) -> str:
    """The place after entering a state from nothing."""
    return _place(chart, _descend(chart, name, {}))


def enabled(
    chart: Statechart, place: str | None, action: str, history: History | None = None
) -> tuple[Transition, ...]:
    """The transitions that an action takes in a place (None: creation); empty if it is not possible there.

    A state that is unknown to the chart, as in a log of an older lifecycle, has none.
    """
    if place is None:
        move = chart.own_transitions(None).get(action)
        return (move,) if move else ()
    found: list[Transition] = []
    for leaf in place.split("+"):
        for state in chart.lineage(leaf) if chart.has_state(leaf) else ():
            if (move := chart.own_transitions(state).get(action)) is not None:
                if move not in found:
                    found.append(move)
                break
    return tuple(_without_conflicts(chart, place, found, history or {})) if len(found) > 1 else tuple(found)


def step(chart: Statechart, place: str | None, action: str, history: History | None = None) -> Step | None:
    """The step of an action; None if it is not possible."""
    if history:
        return _step(chart, place, action, history)
    known = chart.known_steps
    if (place, action) not in known:
        if len(known) >= KNOWN_PLACES_MAX:
            return _step(chart, place, action, {})
        known[place, action] = _step(chart, place, action, {})
    return known[place, action]


def _step(chart: Statechart, place: str | None, action: str, history: History) -> Step | None:
    moves = enabled(chart, place, action, history)
    return _take(chart, place, action, moves, history) if moves else None


def time_out(chart: Statechart, place: str, timeout: Timeout, history: History | None = None) -> Step | None:
    """The step of a time-out; None if its state is not active."""
    if timeout.state not in chart.active(place):
        return None
    return _take(chart, place, timeout.name, (timeout.transition,), history or {})


def steps(chart: Statechart, place: str | None, history: History | None = None) -> dict[str, Step]:
    """By action, every step that is possible in a place, in chart order."""
    sources = (None,) if place is None else chart.active(place)
    possible = {name for source in sources for name in chart.own_transitions(source)}
    found = ((action, step(chart, place, action, history)) for action in chart.in_order(possible))
    return {name: taken for name, taken in found if taken is not None}


def is_end(chart: Statechart, place: str) -> bool:
    """Whether a place ends the chart."""
    return any(chart.is_end(leaf) for leaf in place.split("+"))


@dataclass(frozen=True, slots=True)
class Spot:
    """A place with its history: a node in a search through a chart."""

    place: str | None
    remembered: tuple[tuple[str, str], ...] = ()


def onward(chart: Statechart, spot: Spot) -> Iterator[tuple[Step, Spot]]:
    """Every step from a spot, by actions in their order, then by time-outs, and the spot that it ends in."""
    history = dict(spot.remembered)
    taken: list[Step | None] = list(steps(chart, spot.place, history).values())
    if spot.place is not None:
        taken += [time_out(chart, spot.place, timeout, history) for timeout in chart.timeouts]
    for one in taken:
        if one is not None:
            yield one, Spot(one.place, tuple(sorted(one.history.items())))


def explore(chart: Statechart, places_max: int = PLACES_MAX) -> dict[Spot, list[tuple[Step, Spot]]] | None:
    """Every spot that can be reached from creation, nearest first, with its steps; None if there are too many."""
    start = Spot(None)
    found: dict[Spot, list[tuple[Step, Spot]]] = {}
    waiting = [start]
    seen = {start}
    looked_at = 0
    for spot in waiting:  # it grows during the iteration
        found[spot] = []
        for taken, target in onward(chart, spot):
            looked_at += (1 + taken.place.count("+")) * (1 + len(taken.joined))
            if looked_at > STEPS_MAX:
                return None
            found[spot].append((taken, target))
            if target not in seen:
                if len(seen) > places_max:
                    return None
                seen.add(target)
                waiting.append(target)
    return found


def shortest_paths(chart: Statechart) -> dict[str, tuple[Step, ...]]:
    """For each reachable place, a shortest path to it from creation: the steps in order."""
    ways: dict[Spot, tuple[Step, ...]] = {Spot(None): ()}
    paths: dict[str, tuple[Step, ...]] = {}
    for spot, leading in (
        explore(chart) or {}
    ).items():  # nearest first, so the first path found is a shortest
        for taken, target in leading:
            if target not in ways:
                ways[target] = (*ways[spot], taken)
                paths.setdefault(taken.place, ways[target])
    return paths


def _take(
    chart: Statechart, place: str | None, label: str, moves: tuple[Transition, ...], history: History
) -> Step:
    leaves = set(place.split("+")) if place is not None else set()
    history = dict(history)
    left: set[str] = set()
    entered: set[str] = set()
    for move in moves:
        entered |= _move(chart, leaves, move.source, move.target, history, left)
    waiting = list(_done_by(chart, leaves, entered))  # SCXML's internal queue
    joined: list[str] = []
    while waiting:
        done = waiting.pop(0)
        if not _is_done(chart, done, leaves):
            continue
        if done in joined:
            raise EndlessStep(done)
        joined.append(done)
        target = chart.state(done).done
        assert target is not None
        entered = _move(chart, leaves, done, target, history, left)
        waiting += _done_by(chart, leaves, entered)
    return Step(label, moves, _place(chart, leaves), frozenset(left), tuple(joined), history)


def _move(
    chart: Statechart,
    leaves: set[str],
    source: str | None,
    target: str,
    history: dict[str, str],
    left: set[str],
) -> set[str]:
    """Take one transition and return the leaves that it enters; `leaves`, `history` and `left` are mutated."""
    domain = _domain(chart, source, _effective(chart, target, history))
    before = {name for leaf in leaves for name in chart.lineage(leaf)}
    leaving = {name for name in before if _is_below(chart, name, domain)} if source is not None else set()
    for name in leaving:
        if chart.has_history(name):
            active = next((child.name for child in chart.children(name) if child.name in leaving), None)
            # None if the place is of an older lifecycle, in which this state had no children.
            if active is not None:
                history[name] = active
    left |= leaving
    entered = _enter(chart, _effective(chart, target, history), domain, history)
    leaves -= leaving
    leaves |= entered
    return entered


def _enter(chart: Statechart, target: str, domain: str | None, history: History) -> set[str]:
    """Enter `target` from `domain` down: sibling regions are entered at their initial states."""
    leaves = _descend(chart, target, history)
    inner = target
    while (outer := chart.state(inner).parent) != domain and outer is not None:
        if chart.state(outer).parallel:
            for region in chart.children(outer):
                if region.name != inner:
                    leaves |= _descend(chart, region.name, history)
        inner = outer
    return leaves


def _descend(chart: Statechart, name: str, history: History) -> set[str]:
    state = chart.state(name)
    if state.history:
        return _descend(chart, _effective(chart, name, history), history)
    if state.parallel:
        return {
            leaf for region in chart.children(name) for leaf in _descend(chart, region.name, history)
        } or {name}
    return _descend(chart, state.initial, history) if state.initial is not None else {name}


def _effective(chart: Statechart, target: str, history: History) -> str:
    """The state that a target resolves to: itself, or for a history state the remembered child."""
    state = chart.state(target)
    if not state.history:
        return target
    assert state.parent is not None
    assert state.initial is not None
    remembered = history.get(state.parent, state.initial)
    # A child that was remembered under an older lifecycle may be gone, or elsewhere.
    is_child = chart.has_state(remembered) and chart.state(remembered).parent == state.parent
    return remembered if is_child else state.initial


def _domain(chart: Statechart, source: str | None, target: str) -> str | None:
    """The innermost compound state that contains both and stays active (SCXML: the LCCA); None: the chart itself."""
    if source is None:
        return None
    above = chart.lineage(target)[1:]
    for ancestor in chart.lineage(source)[1:]:
        if ancestor in above and not chart.state(ancestor).parallel:
            return ancestor
    return None


def _is_below(chart: Statechart, name: str, domain: str | None) -> bool:
    return domain is None or domain in chart.lineage(name)[1:]


def _done_by(chart: Statechart, leaves: set[str], entered: set[str]) -> Iterator[str]:
    """The states with a `done` that completed because of `entered`, in the order of SCXML's events."""
    there = leaves - entered
    for leaf in _place(chart, entered).split("+"):
        there.add(leaf)
        for name in chart.lineage(leaf)[1:]:
            if not _is_done(chart, name, there):
                break
            if chart.state(name).done is not None:
                yield name


def _is_done(chart: Statechart, name: str, leaves: set[str]) -> bool:
    """Whether a state's active child is final, or all its regions are done; False for one that is not active."""
    if chart.state(name).parallel:
        return all(_is_done(chart, region.name, leaves) for region in chart.children(name))
    return any(child.final and child.name in leaves for child in chart.children(name))


def _without_conflicts(
    chart: Statechart, place: str, moves: list[Transition], history: History
) -> list[Transition]:
    """Of transitions that would leave the same states, the innermost; of those of two regions, the first."""
    kept: list[Transition] = []
    for move in moves:
        leaving = _would_leave(chart, place, move, history)
        beaten = []
        for other in kept:
            if leaving & _would_leave(chart, place, other, history):
                if move.source is not None and _is_below(chart, move.source, other.source):
                    beaten.append(other)
                else:
                    break
        else:
            kept = [other for other in kept if other not in beaten]
            kept.append(move)
    return kept


def _would_leave(chart: Statechart, place: str, move: Transition, history: History) -> set[str]:
    domain = _domain(chart, move.source, _effective(chart, move.target, history))
    return {name for name in chart.active(place) if _is_below(chart, name, domain)}


def _place(chart: Statechart, leaves: Iterable[str]) -> str:
    found = set(leaves)
    if len(found) == 1:
        return found.pop()
    return "+".join(state.name for state in chart.states if state.name in found)
