"""A second opinion on statecharts: the algorithm of SCXML, as it is written in its appendix D, and as slow.

Source: W3C, "State Chart XML (SCXML): State Machine Notation for Control Abstraction", 2015, appendix D. It works on a
lifecycle's data form and keeps the whole configuration: every active state, ancestors included. Nothing of the package
is used, so where both agree, they agree with the specification and not with each other's mistakes.

Where a lifecycle differs from SCXML on purpose, the line says DIFFERS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

ROOT = ""
"""The <scxml> element itself, the parent of the topmost states."""


class Edge(NamedTuple):
    """A transition. source is `ROOT` for the one that creates."""

    source: str
    target: str


class Endless(Exception):
    """States that are done lead round in a circle."""


class Naive:
    """One manifest in its lifecycle.

    configuration: the active states; empty before creation. history_value: by history state, what was active.
    exited, joined: of the last step: what was left, and what was done on the way.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.states = {state["name"]: state for state in data["states"]}
        self.order = {name: n for n, name in enumerate(self.states)}
        self.actions: dict[str, list[Edge]] = {
            action["name"]: [Edge(move.get("from", ROOT), move["to"]) for move in action["moves"]]
            for action in data["actions"]
        }
        self.timeouts = {one["name"]: Edge(one["state"], one["to"]) for one in data.get("timeouts", ())}
        self.configuration: set[str] = set()
        self.history_value: dict[str, set[str]] = {}
        self.internal_queue: list[str] = []
        self.exited: set[str] = set()
        self.joined: list[str] = []

    # -- what the tests ask ------------------------------------------------------------------------------

    @property
    def place(self) -> str | None:
        """The active atomic states in document order; None before creation."""
        return "+".join(self.in_order(filter(self.is_atomic, self.configuration))) or None

    @property
    def remembered(self) -> dict[str, str]:
        """By the parent of a history state, the one child that is remembered."""
        return {self.parent(h): child for h, (child,) in self.history_value.items()}

    def can(self, action: str) -> bool:
        """Whether an action leads anywhere from here."""
        return bool(self.select_transitions(action))

    def do(self, action: str) -> bool:
        """Take an action; False, and nothing happens, where it can't be taken."""
        return self.macrostep(self.select_transitions(action))

    def time_out(self, name: str) -> bool:
        """Let a time-out happen; False, and nothing happens, where its state is not active."""
        edge = self.timeouts[name]
        return self.macrostep([edge] if edge.source in self.configuration else [])

    # -- the procedures of appendix D, by their names ----------------------------------------------------

    def macrostep(self, enabled: list[Edge]) -> bool:
        """mainEventLoop: the transitions of one external event, then all internal events that follow."""
        self.exited, self.joined, self.internal_queue = set(), [], []
        if not enabled:
            return False
        self.microstep(enabled)
        while self.internal_queue:
            done = self.internal_queue.pop(0)
            # DIFFERS: one that is not done any more, since another was before it, does not go.
            if done not in self.configuration or not self.is_in_final_state(done):
                continue
            if done in self.joined:
                raise Endless(done)
            self.joined.append(done)
            self.microstep([Edge(done, self.states[done]["done"])])
        return True

    def select_transitions(self, event: str) -> list[Edge]:
        if not self.configuration:
            return [edge for edge in self.actions[event] if edge.source == ROOT]
        enabled: list[Edge] = []
        for state in self.in_order(filter(self.is_atomic, self.configuration)):
            for source in [state, *self.proper_ancestors(state)]:
                found = [edge for edge in self.actions[event] if edge.source == source != ROOT]
                if found:
                    if found[0] not in enabled:
                        enabled.append(found[0])
                    break
        return self.remove_conflicting_transitions(enabled)

    def remove_conflicting_transitions(self, enabled: list[Edge]) -> list[Edge]:
        filtered: list[Edge] = []
        for t1 in enabled:
            preempted, to_remove = False, []
            for t2 in filtered:
                if self.compute_exit_set([t1]) & self.compute_exit_set([t2]):
                    if self.is_descendant(t1.source, t2.source):
                        to_remove.append(t2)
                    else:
                        preempted = True
                        break
            if not preempted:
                filtered = [t for t in filtered if t not in to_remove] + [t1]
        return filtered

    def microstep(self, transitions: list[Edge]) -> None:
        self.exit_states(transitions)
        self.enter_states(transitions)

    def exit_states(self, transitions: list[Edge]) -> None:
        to_exit = self.compute_exit_set(transitions)
        for state in to_exit:
            for history in self.history_children(state):
                self.history_value[history] = {s for s in self.configuration if self.parent(s) == state}
        self.configuration -= to_exit
        self.exited |= to_exit

    def compute_exit_set(self, transitions: list[Edge]) -> set[str]:
        return {
            state
            for edge in transitions
            for state in self.configuration
            if self.is_descendant(state, self.transition_domain(edge))
        }

    def enter_states(self, transitions: list[Edge]) -> None:
        to_enter: set[str] = set()
        for edge in transitions:
            self.add_descendants(edge.target, to_enter)
            for state in self.effective_target_states(edge.target):
                self.add_ancestors(state, self.transition_domain(edge), to_enter)
        for state in sorted(to_enter, key=lambda s: (not self.children(s), self.order[s])):
            self.configuration.add(state)
            if self.states[state].get("final"):
                self.enqueue_done(self.parent(state))

    def enqueue_done(self, parent: str) -> None:
        """`done.state.ID`, of the parent of a final state, and of a parallel one all of whose regions are final.

        DIFFERS: a parallel state that is a region itself makes the one around it done, too.
        """
        while parent != ROOT and self.is_in_final_state(parent):
            if "done" in self.states[parent]:
                self.internal_queue.append(parent)
            parent = self.parent(parent)

    def add_descendants(self, state: str, to_enter: set[str]) -> None:
        if self.is_history(state):
            remembered = self.history_value.get(state) or {self.states[state]["initial"]}
            for s in remembered:
                self.add_descendants(s, to_enter)
                self.add_ancestors(s, self.parent(state), to_enter)
            return
        to_enter.add(state)
        if self.states[state].get("parallel"):
            self.add_regions(state, to_enter)
        elif self.children(state):
            initial = self.states[state]["initial"]
            self.add_descendants(initial, to_enter)
            for s in self.effective_target_states(initial):
                self.add_ancestors(s, state, to_enter)

    def add_ancestors(self, state: str, ancestor: str, to_enter: set[str]) -> None:
        for above in self.proper_ancestors(state):
            if above == ancestor:
                return
            to_enter.add(above)
            if self.states[above].get("parallel"):
                self.add_regions(above, to_enter)

    def add_regions(self, parallel: str, to_enter: set[str]) -> None:
        for child in self.children(parallel):
            if not any(s == child or self.is_descendant(s, child) for s in to_enter):
                self.add_descendants(child, to_enter)

    def effective_target_states(self, target: str) -> set[str]:
        if not self.is_history(target):
            return {target}
        return self.history_value.get(target) or {self.states[target]["initial"]}

    def transition_domain(self, edge: Edge) -> str:
        if edge.source == ROOT:
            return ROOT
        targets = self.effective_target_states(edge.target)
        for ancestor in [*self.proper_ancestors(edge.source), ROOT]:
            is_compound = ancestor == ROOT or not self.states[ancestor].get("parallel")
            if is_compound and all(self.is_descendant(s, ancestor) for s in targets):
                return ancestor
        raise AssertionError("everything is below the root")

    def is_in_final_state(self, state: str) -> bool:
        if self.states[state].get("parallel"):
            return all(self.is_in_final_state(region) for region in self.children(state))
        return any(self.states[s].get("final") and s in self.configuration for s in self.children(state))

    # -- the tree ----------------------------------------------------------------------------------------

    def in_order(self, states: Iterable[str]) -> list[str]:
        return sorted(states, key=self.order.__getitem__)

    def parent(self, state: str) -> str:
        return str(self.states[state].get("parent", ROOT))

    def children(self, state: str) -> list[str]:
        return [s for s in self.states if self.parent(s) == state and not self.is_history(s)]

    def history_children(self, state: str) -> list[str]:
        return [s for s in self.states if self.parent(s) == state and self.is_history(s)]

    def is_history(self, state: str) -> bool:
        return bool(self.states[state].get("history"))

    def is_atomic(self, state: str) -> bool:
        return not self.children(state)

    def proper_ancestors(self, state: str) -> list[str]:
        """The ancestors, innermost first; the root is left out."""
        found = []
        while (state := self.parent(state)) != ROOT:
            found.append(state)
        return found

    def is_descendant(self, state: str, of: str) -> bool:
        return of == ROOT or of in self.proper_ancestors(state)
