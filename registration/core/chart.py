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

What a chart does, and its parts, are in `registration.core.interpreter`. It is checked when it is built, and all its problems
are reported at once, each with its path in the chart's data form (`registration.core.chart_data`).
"""

from __future__ import annotations

from dataclasses import dataclass

from registration.core.chart_problems import in_one_line, problems_of
from registration.core.interpreter import CLAIMING as CLAIMING
from registration.core.interpreter import RELEASING as RELEASING
from registration.core.interpreter import Action as Action
from registration.core.interpreter import GuardUse as GuardUse
from registration.core.interpreter import State as State
from registration.core.interpreter import Statechart
from registration.core.interpreter import Timeout as Timeout
from registration.core.interpreter import Transition as Transition
from registration.errors import InvalidDefinition


@dataclass(frozen=True)
class Chart(Statechart):
    """A whole lifecycle.

    Raises:
        InvalidDefinition: when it is built with more than its bounds allow; names that are malformed, unknown or given
            twice; a parent that is its own ancestor; an initial child that isn't one; two transitions for one action
            from one state; a way out of a final state; a state that can't be reached; time-outs that lead round by
            themselves; or a trap, which is a place that can't be left, or from which no end can be reached though
            there are some.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if problems := problems_of(self):
            raise InvalidDefinition(in_one_line(self.name), problems)
