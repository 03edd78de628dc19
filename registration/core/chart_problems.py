"""The validation of charts: all problems at once, each with its path in the data form.

A path is the position in a lifecycle file: ``states.DRAFT.parent``, ``actions.approve.from``,
``timeouts.expire.after``. The size of a chart is bounded, so that a hostile one is refused quickly.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import chain, islice

from registration.core.interpreter import (
    PLACES_MAX,
    EndlessStep,
    Spot,
    State,
    Statechart,
    Step,
    explore,
    is_end,
)
from registration.values.times import DURATION_FORM, duration_s

STATES_MAX = 500
ACTIONS_MAX = 500
TRANSITIONS_MAX = 5_000
GUARDS_MAX = 5_000
TIMEOUTS_MAX = 500
NESTING_MAX = 20
PROBLEMS_MAX = 100

RESERVED = {
    "repaired": "a repair",
    "claim_broken": "a broken lock",
    "tagged": "a tag",
    "untagged": "the removal of a tag",
}
"""Event words that are reserved: no action of a lifecycle may use them."""

_CHARACTERS_MAX = 600

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
"""The form of the names of lifecycles, states, actions and events."""

_REQUIRED = re.compile(r"actor|reason|comment|context\.[^\x00-\x1f\x7f]{1,200}")


def problems_of(chart: Statechart) -> list[str]:
    """All problems of a chart; checks that depend on a part that is already invalid are skipped."""
    found = _some(_beyond_bounds(chart))
    if not found:
        found = _some(chain(_malformed(chart), _events(chart)))
        broken = _some(chain(_given_twice(chart), _unknown(chart))) or _some(_own_ancestors(chart))
        found += broken or _some(_structure(chart))
    if not found:
        found = _some(_reach(chart))
    if len(found) > PROBLEMS_MAX:
        found[PROBLEMS_MAX:] = ["and more"]
    return list(dict.fromkeys(in_one_line(problem) for problem in found))


def _some(problems: Iterator[str]) -> list[str]:
    return list(islice(problems, PROBLEMS_MAX + 1))


def in_one_line(text: str) -> str:
    """The text, truncated, with unprintable characters escaped."""
    cut = text if len(text) <= _CHARACTERS_MAX else text[:_CHARACTERS_MAX] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


def _beyond_bounds(chart: Statechart) -> Iterator[str]:
    guards = sum(len(move.guards) for move in chart.transitions)
    for what, found, at_most in (
        ("states: there are {}", len(chart.states), STATES_MAX),
        ("actions: there are {}", len(chart.actions), ACTIONS_MAX),
        ("actions: there are {} transitions", len(chart.transitions), TRANSITIONS_MAX),
        ("actions: there are {} uses of guards", guards, GUARDS_MAX),
        ("timeouts: there are {}", len(chart.timeouts), TIMEOUTS_MAX),
    ):
        if found > at_most:
            yield f"{what.format(f'{found:,}')}; at most {at_most:,} are allowed"


def _malformed(chart: Statechart) -> Iterator[str]:
    yield from _not_names([("name", chart.name)])
    yield from _not_names((f"states.{_cut(state.name)}", state.name) for state in chart.states)
    yield from _not_names((f"actions.{_cut(action.name)}", action.name) for action in chart.actions)
    yield from _not_names((f"timeouts.{_cut(timeout.name)}", timeout.name) for timeout in chart.timeouts)
    yield from _not_names(_words(chart))
    for action in chart.actions:
        for wanted in action.required:
            if not _REQUIRED.fullmatch(wanted):
                yield (
                    f"actions.{action.name}.required: {_cut(wanted)!r} is not one of actor, reason, comment and "
                    "context.NAME"
                )
        if action.claims_name and action.releases_name:
            yield f"actions.{action.name}.claims: it also releases the name; set `releases = false`, or don't claim it"
    for timeout in chart.timeouts:
        if duration_s(timeout.after) is None:
            yield f"timeouts.{timeout.name}.after: invalid duration {_cut(timeout.after)!r}; {DURATION_FORM}"


def _events(chart: Statechart) -> Iterator[str]:
    taken = Counter(word for _, word in _words(chart))
    # An event that several actions share on purpose is one event: it has one schema and belongs to no time-out.
    shared = Counter((one.past, one.schema) for one in chart.actions if one.shared)
    on_purpose = {word for (word, _), times in shared.items() if times == taken[word]}
    for path, word in _words(chart):
        if taken[word] > 1 and word not in on_purpose:
            yield f"{path}: the event {_cut(word)!r} is given {taken[word]} times"
        if word in RESERVED:
            yield f"{path}: {word!r} is the event of {RESERVED[word]}; choose another word"


def _given_twice(chart: Statechart) -> Iterator[str]:
    doings = [action.name for action in chart.actions] + [timeout.name for timeout in chart.timeouts]
    for name in ("tag", "untag"):
        if name in doings:
            yield f"actions.{name}: this name is reserved for tags in every lifecycle; choose another name"
    for what, names in (("states", [state.name for state in chart.states]), ("actions", doings)):
        for name, times in Counter(names).items():
            if times > 1:
                yield f"{what}.{_cut(name)}: the name is given {times} times"


def _words(chart: Statechart) -> list[tuple[str, str]]:
    """The words of all events, each with its path."""
    return [(f"actions.{_cut(one.name)}.past", one.past) for one in chart.actions] + [
        (f"timeouts.{_cut(one.name)}.past", one.past) for one in chart.timeouts
    ]


def _not_names(named: Iterable[tuple[str, str]]) -> Iterator[str]:
    for path, name in named:
        if not NAME.fullmatch(name):
            yield f"{path}: {_cut(name)!r} is not a letter followed by up to 63 letters, digits, _ or -"


def _unknown(chart: Statechart) -> Iterator[str]:
    known = {state.name for state in chart.states}

    def state(path: str, name: str | None) -> Iterator[str]:
        if name is not None and name not in known:
            yield f"{path}: there is no state {_cut(name)!r}{_nearest(name, known)}"

    for one in chart.states:
        yield from state(f"states.{one.name}.parent", one.parent)
        yield from state(f"states.{one.name}.initial", one.initial)
        yield from state(f"states.{one.name}.done", one.done)
    for move in chart.transitions:
        if not chart.has_action(move.action):
            yield f"actions: a transition names the unknown action {_cut(move.action)!r}"
        yield from state(f"actions.{move.action}.from", move.source)
        yield from state(f"actions.{move.action}.to", move.target)
    for timeout in chart.timeouts:
        yield from state(f"timeouts.{timeout.name}.state", timeout.state)
        yield from state(f"timeouts.{timeout.name}.to", timeout.target)
    for action in chart.actions:
        if action.undone_by is not None and not chart.has_action(action.undone_by):
            near = _nearest(action.undone_by, {one.name for one in chart.actions})
            yield f"actions.{action.name}.undone_by: there is no action {_cut(action.undone_by)!r}{near}"


def _nearest(wanted: str, known: set[str]) -> str:
    # Only valid names: comparing long texts takes quadratic time.
    names = [name for name in sorted(known) if NAME.fullmatch(name)]
    close = get_close_matches(wanted, names, n=1) if NAME.fullmatch(wanted) else []
    return f"; did you mean {close[0]!r}?" if close else ""


def _own_ancestors(chart: Statechart) -> Iterator[str]:
    for state in chart.states:
        above, parent = {state.name}, state.parent
        while parent is not None and parent not in above:
            above.add(parent)
            parent = chart.state(parent).parent
        if parent == state.name:
            yield f"states.{state.name}.parent: it is its own ancestor"
        elif parent is None and len(above) > NESTING_MAX:
            yield f"states.{state.name}.parent: it is nested {len(above)} deep; at most {NESTING_MAX} are allowed"


def _structure(chart: Statechart) -> Iterator[str]:
    for state in chart.states:
        if state.history:
            yield from _history(chart, state)
        else:
            yield from _state(chart, state)
    yield from _moves(chart)
    yield from _ways_out(chart)


def _moves(chart: Statechart) -> Iterator[str]:
    moves = Counter((move.action, move.source) for move in chart.transitions)
    for (action, source), times in moves.items():
        if times > 1:
            yield f"actions.{action}.from: it is ambiguous: {times} transitions leave {source or 'creation'}"
    if not any(move.source is None for move in chart.transitions):
        yield "actions: nothing creates a manifest: no action without `from`"
    used = {move.action for move in chart.transitions}
    for one in chart.actions:
        if one.name not in used:
            yield f"actions.{one.name}: it is never used"


def _ways_out(chart: Statechart) -> Iterator[str]:
    """Transitions and time-outs whose source can't be left."""
    ends: dict[str, list[str]] = {}  # by a state that can't be left, the final states that are the reason
    for state in chart.states:
        if state.final:
            for held in chart.lineage(state.name) if chart.is_end(state.name) else (state.name,):
                ends.setdefault(held, []).append(state.name)
    leaving = [(f"actions.{move.action}.from", move.action, move.source) for move in chart.transitions]
    leaving += [(f"timeouts.{one.name}.state", one.name, one.state) for one in chart.timeouts]
    for path, name, source in leaving:
        if source is None:
            continue
        if chart.state(source).history:
            yield f"{path}: {source!r} is a history state: nothing leaves it"
        for end in ends.get(source, ()):
            how = f", inherited from {source!r}" if source != end else ""
            yield f"{path}: the final state {end!r} is left by {name!r}{how}"


def _state(chart: Statechart, state: State) -> Iterator[str]:
    path, children = f"states.{state.name}", chart.children(state.name)
    parent = chart.state(state.parent) if state.parent is not None else None
    if parent is not None and parent.history:
        yield f"{path}.parent: {parent.name!r} is a history state: it has no children"
    if state.parallel and len(children) < 2:
        yield f"{path}.parallel: a parallel state has two children or more; this one has {len(children)}"
    yield from _initial(chart, state)
    if state.final and children:
        yield f"{path}.final: it is final, but has children"
    if state.final and parent is not None and parent.parallel:
        yield f"{path}.final: a region can't be final itself; give it children, one of them final"
    if state.done is not None and not _can_be_done(chart, state.name):
        yield f"{path}.done: it never completes: " + (
            "a region has no final child" if state.parallel else "none of its children is final"
        )


def _initial(chart: Statechart, state: State) -> Iterator[str]:
    path = f"states.{state.name}.initial"
    if state.initial is None:
        if chart.children(state.name) and not state.parallel:
            yield f"{path}: it has children, but no initial one"
    elif state.parallel:
        yield f"{path}: a parallel state enters all its children, so it has no initial one"
    elif chart.state(state.initial).parent != state.name:
        yield f"{path}: {state.initial!r} is not its child"


def _history(chart: Statechart, state: State) -> Iterator[str]:
    path = f"states.{state.name}"
    parent = chart.state(state.parent) if state.parent is not None else None
    if state.final or state.parallel or state.done is not None:
        yield f"{path}.history: a history state is not final, not parallel, and never done"
    if parent is None or parent.parallel:
        yield f"{path}.history: its parent must be a state one of whose children is active"
    if state.initial is None:
        yield f"{path}.initial: it needs one, for when nothing is remembered"
    elif chart.state(state.initial).parent != state.parent or chart.state(state.initial).history:
        yield f"{path}.initial: {state.initial!r} is not a child of its parent"


def _can_be_done(chart: Statechart, name: str) -> bool:
    if chart.state(name).parallel:
        return all(_can_be_done(chart, region.name) for region in chart.children(name))
    return any(child.final for child in chart.children(name))


def _reach(chart: Statechart) -> Iterator[str]:
    try:
        found = explore(chart)
    except EndlessStep as endless:
        yield f"states.{endless}.done: its immediate completions form a cycle"
        return
    if found is None:
        yield f"states: they have more than {PLACES_MAX:,} combinations, or too many steps between them; use fewer parallel regions"
        return
    places = [spot.place for spot in found if spot.place is not None]
    active = {name for place in places for name in chart.active(place)}
    # A state that completes immediately is part of no place.
    active |= {name for leading in found.values() for step, _ in leading for name in step.left}
    for state in chart.states:
        if not state.history and state.name not in active:
            yield f"states.{state.name}: it is unreachable"
    yield from _round_by_timeouts(chart, found)
    yield from _traps(chart, found)


def _round_by_timeouts(chart: Statechart, found: dict[Spot, list[tuple[Step, Spot]]]) -> Iterator[str]:
    """A cycle of time-outs alone would fire forever."""
    names = {timeout.name for timeout in chart.timeouts}
    by_itself = {
        (spot, step.label, target)
        for spot, leading in found.items()
        for step, target in leading
        if step.label in names
    }
    # A node without incoming or outgoing edges is in no cycle.
    round_trips = _without_beginnings(by_itself)
    round_trips = {(b, name, a) for a, name, b in _without_beginnings({(b, n, a) for a, n, b in round_trips})}
    for timeout in chart.timeouts:
        if any(label == timeout.name for _, label, _ in round_trips):
            yield f"timeouts.{timeout.name}.to: time-outs alone form a cycle; an action must break it"


def _without_beginnings(edges: set[tuple[Spot, str, Spot]]) -> set[tuple[Spot, str, Spot]]:
    """The edges, with those from nodes without incoming edges removed repeatedly."""
    leading_from: dict[Spot, list[tuple[Spot, str, Spot]]] = {}
    leading_to: Counter[Spot] = Counter()
    for edge in edges:
        leading_from.setdefault(edge[0], []).append(edge)
        leading_to[edge[2]] += 1
    left = set(edges)
    waiting = [spot for spot in leading_from if not leading_to[spot]]
    while waiting:
        for edge in leading_from.get(waiting.pop(), ()):
            left.discard(edge)
            leading_to[edge[2]] -= 1
            if not leading_to[edge[2]]:
                waiting.append(edge[2])
    return left


def _traps(chart: Statechart, found: dict[Spot, list[tuple[Step, Spot]]]) -> Iterator[str]:
    onward = {spot: {target for _, target in leading} for spot, leading in found.items()}
    ends = {spot for spot in found if spot.place is not None and is_end(chart, spot.place)}
    to_an_end = _reaching(onward, ends)
    told = set()
    for spot in found:
        place = spot.place
        if place is None or spot in ends or place in told:
            continue
        path = f"states.{place}"
        if all(target.place == place for target in onward[spot]):
            told.add(place)
            yield f"{path}: it is a trap: it is not final, and nothing leads out of it"
        elif ends and spot not in to_an_end:
            told.add(place)
            yield f"{path}: it is a trap: no final state can be reached from it"


def _reaching(onward: dict[Spot, set[Spot]], ends: set[Spot]) -> set[Spot]:
    """The spots from which one of `ends` can be reached."""
    backward: dict[Spot, set[Spot]] = {}
    for spot, targets in onward.items():
        for target in targets:
            backward.setdefault(target, set()).add(spot)
    seen = set(ends)
    waiting = list(ends)
    while waiting:
        for spot in backward.get(waiting.pop(), ()):
            if spot not in seen:
                seen.add(spot)
                waiting.append(spot)
    return seen


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "…"
