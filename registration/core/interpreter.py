"""What a chart does: entering states, taking actions and time-outs. Pure functions; the algorithm is SCXML's.

A *place* is where a manifest stands: the name of its active leaf, or of all of them, in the order of the chart,
joined by ``+`` where regions are active in parallel: ``SECURITY_OPEN+LEGAL_DONE``.

Source: W3C, "State Chart XML (SCXML)", 2015, appendix D (computeExitSet, addDescendantStatesToEnter,
removeConflictingTransitions). Where we differ is said in `registration.core.chart`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from registration.core.chart import Chart, Timeout, Transition

History = Mapping[str, str]
"""By state with a history: the child of it that was active when it was left last."""

PLACES_MAX = 10_000
"""How many places, each with its history, a chart may lead to."""

KNOWN_PLACES_MAX = 4_096
"""For how many places, or steps from them, a chart remembers what was worked out."""

STEPS_MAX = 100_000
"""How many steps between them are looked through; one counts once for each leaf that it ends in."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an action or a time-out leads to.

    label: its name. transitions: those that are taken at once, one unless regions have their own. place: where it
    ends. left: the states that were active and were left, also where they were entered again. joined: the states
    that were done on the way, in order. history: that of before, with what was left now.
    """

    label: str
    transitions: tuple[Transition, ...]
    place: str
    left: frozenset[str] = frozenset()
    joined: tuple[str, ...] = ()
    history: History = field(default_factory=dict, hash=False)


class EndlessStep(Exception):  # caught where a chart is checked; one that was built never raises it
    """States that are done at once lead round in a circle."""


def entered(chart: Chart, name: str) -> str:
    """The place that entering a state from nowhere leads to."""
    return _place(chart, _descend(chart, name, {}))


def enabled(
    chart: Chart, place: str | None, action: str, history: History | None = None
) -> tuple[Transition, ...]:
    """The transitions that an action takes in a place (None: creation); none where it can't be done there.

    A state that the chart doesn't know, as in a log of an older lifecycle, has none.
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


def step(chart: Chart, place: str | None, action: str, history: History | None = None) -> Step | None:
    """What an action leads to; None where it can't be done."""
    if history:
        return _step(chart, place, action, history)
    known = chart.known_steps
    if (place, action) not in known:
        if len(known) >= KNOWN_PLACES_MAX:
            return _step(chart, place, action, {})
        known[place, action] = _step(chart, place, action, {})
    found: Step | None = known[place, action]
    return found


def _step(chart: Chart, place: str | None, action: str, history: History) -> Step | None:
    moves = enabled(chart, place, action, history)
    return _take(chart, place, action, moves, history) if moves else None


def time_out(chart: Chart, place: str, timeout: Timeout, history: History | None = None) -> Step | None:
    """What a time-out leads to; None where its state is not active."""
    if timeout.state not in chart.active(place):
        return None
    return _take(chart, place, timeout.name, (timeout.transition,), history or {})


def steps(chart: Chart, place: str | None, history: History | None = None) -> dict[str, Step]:
    """By action, everything that can be done in a place, in the order of the chart's actions."""
    sources = (None,) if place is None else chart.active(place)
    possible = {name for source in sources for name in chart.own_transitions(source)}
    found = ((action, step(chart, place, action, history)) for action in chart.in_order(possible))
    return {name: taken for name, taken in found if taken is not None}


def is_end(chart: Chart, place: str) -> bool:
    """Whether a place ends the chart."""
    return any(chart.is_end(leaf) for leaf in place.split("+"))


@dataclass(frozen=True, slots=True)
class Spot:
    """A place with what is remembered there: what a search through a chart goes over."""

    place: str | None
    remembered: tuple[tuple[str, str], ...] = ()


def onward(chart: Chart, spot: Spot) -> Iterator[tuple[Step, Spot]]:
    """Every step from a spot, by actions in their order, then by time-outs, and the spot that it ends in."""
    history = dict(spot.remembered)
    taken: list[Step | None] = list(steps(chart, spot.place, history).values())
    if spot.place is not None:
        taken += [time_out(chart, spot.place, timeout, history) for timeout in chart.timeouts]
    for one in taken:
        if one is not None:
            yield one, Spot(one.place, tuple(sorted(one.history.items())))


def explore(chart: Chart, places_max: int = PLACES_MAX) -> dict[Spot, list[tuple[Step, Spot]]] | None:
    """Every spot that can be reached from creation, nearest first, with its steps; None where there are too many."""
    start = Spot(None)
    found: dict[Spot, list[tuple[Step, Spot]]] = {}
    waiting = [start]
    seen = {start}
    looked_at = 0
    for spot in waiting:  # it grows while it is gone through
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


def shortest_paths(chart: Chart) -> dict[str, tuple[Step, ...]]:
    """For each place that can be reached, a shortest way to it from creation: the steps in order."""
    ways: dict[Spot, tuple[Step, ...]] = {Spot(None): ()}
    paths: dict[str, tuple[Step, ...]] = {}
    for spot, leading in (
        explore(chart) or {}
    ).items():  # nearest first, so the first way found is a shortest
        for taken, target in leading:
            if target not in ways:
                ways[target] = (*ways[spot], taken)
                paths.setdefault(taken.place, ways[target])
    return paths


def _take(
    chart: Chart, place: str | None, label: str, moves: tuple[Transition, ...], history: History
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
    chart: Chart, leaves: set[str], source: str | None, target: str, history: dict[str, str], left: set[str]
) -> set[str]:
    """Take one transition, and give the leaves that it enters; `leaves`, `history` and `left` are changed."""
    domain = _domain(chart, source, _effective(chart, target, history))
    before = {name for leaf in leaves for name in chart.lineage(leaf)}
    leaving = {name for name in before if _is_below(chart, name, domain)} if source is not None else set()
    for name in leaving:
        if chart.has_history(name):
            active = next((child.name for child in chart.children(name) if child.name in leaving), None)
            # None where the place is of an older lifecycle, in which this state had no children.
            if active is not None:
                history[name] = active
    left |= leaving
    entered = _enter(chart, _effective(chart, target, history), domain, history)
    leaves -= leaving
    leaves |= entered
    return entered


def _enter(chart: Chart, target: str, domain: str | None, history: History) -> set[str]:
    """Enter `target` from `domain` down: regions beside the way are entered at their initial states."""
    leaves = _descend(chart, target, history)
    inner = target
    while (outer := chart.state(inner).parent) != domain and outer is not None:
        if chart.state(outer).parallel:
            for region in chart.children(outer):
                if region.name != inner:
                    leaves |= _descend(chart, region.name, history)
        inner = outer
    return leaves


def _descend(chart: Chart, name: str, history: History) -> set[str]:
    state = chart.state(name)
    if state.history:
        return _descend(chart, _effective(chart, name, history), history)
    if state.parallel:
        return {
            leaf for region in chart.children(name) for leaf in _descend(chart, region.name, history)
        } or {name}
    return _descend(chart, state.initial, history) if state.initial is not None else {name}


def _effective(chart: Chart, target: str, history: History) -> str:
    """The state that a target stands for: itself, or for a history state what is remembered."""
    state = chart.state(target)
    if not state.history:
        return target
    assert state.parent is not None
    assert state.initial is not None
    remembered = history.get(state.parent, state.initial)
    # What was remembered under an older lifecycle may be gone, or elsewhere.
    is_child = chart.has_state(remembered) and chart.state(remembered).parent == state.parent
    return remembered if is_child else state.initial


def _domain(chart: Chart, source: str | None, target: str) -> str | None:
    """The innermost compound state that holds both and stays active (SCXML: the LCCA); None: the chart itself."""
    if source is None:
        return None
    above = chart.lineage(target)[1:]
    for ancestor in chart.lineage(source)[1:]:
        if ancestor in above and not chart.state(ancestor).parallel:
            return ancestor
    return None


def _is_below(chart: Chart, name: str, domain: str | None) -> bool:
    return domain is None or domain in chart.lineage(name)[1:]


def _done_by(chart: Chart, leaves: set[str], entered: set[str]) -> Iterator[str]:
    """The states that say where to go when they are done, and are since `entered`, in the order of SCXML's events."""
    there = leaves - entered
    for leaf in _place(chart, entered).split("+"):
        there.add(leaf)
        for name in chart.lineage(leaf)[1:]:
            if not _is_done(chart, name, there):
                break
            if chart.state(name).done is not None:
                yield name


def _is_done(chart: Chart, name: str, leaves: set[str]) -> bool:
    """Whether a state's active child is final, or all its regions are done; False for one that is not active."""
    if chart.state(name).parallel:
        return all(_is_done(chart, region.name, leaves) for region in chart.children(name))
    return any(child.final and child.name in leaves for child in chart.children(name))


def _without_conflicts(
    chart: Chart, place: str, moves: list[Transition], history: History
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


def _would_leave(chart: Chart, place: str, move: Transition, history: History) -> set[str]:
    domain = _domain(chart, move.source, _effective(chart, move.target, history))
    return {name for name in chart.active(place) if _is_below(chart, name, domain)}


def _place(chart: Chart, leaves: Iterable[str]) -> str:
    found = set(leaves)
    if len(found) == 1:
        return found.pop()
    return "+".join(state.name for state in chart.states if state.name in found)
