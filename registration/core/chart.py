"""The statechart as data: states, actions, transitions and time-outs, guards by name.

The terms are those of SCXML (https://www.w3.org/TR/scxml/). A *compound* state has children and enters its
*initial* one. A *parallel* state has its children, the *regions*, active at once. A *final* state ends its parent;
a parent that is done takes its `done` transition (SCXML: a transition on ``done.state.ID``), and a parallel state is
done when all its regions are. A *history* state stands for the most recently active child of its parent (shallow).
A transition of an ancestor applies to all its descendants, unless a descendant has one of its own for the same
action. A transition whose target is its source leaves and re-enters it (SCXML: external); a transition of a
region leaves all the regions, since their parallel parent can't be active without one.

Differences from SCXML: an action has at most one transition for each source state, so document order only
decides between regions whose transitions would exit each other's states; a guard that disagrees refuses the action,
where SCXML would look for another transition; creation is a transition from nothing; time-outs belong to a state and
are named; a final state that is neither in a parallel state nor in one that has a `done` ends the whole chart,
so it may have no outgoing transitions. A parallel state that is itself a region completes its parent, too; a state
that is no longer done when its turn comes, because another transition came first, does not fire; and none fires twice
in one step.

The behaviour of a chart, and its parts, are in `registration.core.interpreter`. A chart is validated when it is built, and all
problems are reported at once, each with its path in the data form (`registration.core.chart_data`).
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
        InvalidDefinition: when it exceeds its bounds; has names that are malformed, unknown or duplicated; a parent
            that is its own ancestor; an initial child that isn't one; two transitions for one action from one
            state; a transition out of a final state; an unreachable state; a cycle of time-outs alone; or a trap:
            a place that can't be left, or from which no final state can be reached although there are some.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if problems := problems_of(self):
            raise InvalidDefinition(in_one_line(self.name), problems)
