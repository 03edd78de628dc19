"""The lifecycle of a deployment, as a statechart: forward a step at a time, and back in reverse.

=========  ===========  =========  ==============================================
from       action       to
=========  ===========  =========  ==============================================
(none)     plan         READY      the document is the plan
READY      begin        DOING      a step is going to be done
DOING      finish       READY      it was done, and this is its id
DOING      fail         RETURNING  it was not, or nobody knows: all goes back
READY      give_up      RETURNING  somebody doesn't want it any more
DOING      give_up      RETURNING  the same; the step that was begun goes back as well
DEPLOYED   give_up      RETURNING  the same, though every step was done
RETURNING  begin_undo   UNDOING    a step is going to be taken back
UNDOING    finish_undo  RETURNING  it was taken back
UNDOING    fail_undo    STUCK      it could not be; somebody has to look
STUCK      retry        RETURNING  and on from where it was
READY      complete     DEPLOYED   every step was done
RETURNING  close        UNDONE     no step is left
=========  ===========  =========  ==============================================

What is recorded before and after each call at the target is which step it is, in `context`: ``step``, its number, and
``key``. So whoever comes after a crash knows which call may have been on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registration.core.chart import Action, Chart, GuardUse, State, Transition
from registration.core.definition import Definition
from registration.core.policy import Verdict
from registration.rules.guards.builtin import reason_given

if TYPE_CHECKING:
    from registration.core.policy import Policy
    from registration.values.commands import Command
    from registration.values.events import Event
    from registration.values.snapshots import StateSnapshot

_TURN, _WHY = GuardUse("in_turn"), GuardUse("reason_given")

CHART = Chart(
    name="deployment",
    title="A deployment",
    states=(
        State("READY", title="ready for the next step"),
        State("DOING", title="doing a step"),
        State("RETURNING", title="going back"),
        State("UNDOING", title="taking a step back"),
        State("STUCK", title="stuck on the way back"),
        State("DEPLOYED", title="deployed"),
        State("UNDONE", final=True, title="taken back"),
    ),
    actions=(
        Action("plan", "planned", document=True),
        Action("begin", "begun"),
        Action("finish", "finished"),
        Action("fail", "failed"),
        Action("give_up", "given_up"),
        Action("begin_undo", "undo_begun"),
        Action("finish_undo", "undo_finished"),
        Action("fail_undo", "undo_failed"),
        Action("retry", "retried"),
        Action("complete", "completed"),
        Action("close", "closed"),
    ),
    transitions=(
        Transition("plan", None, "READY"),
        Transition("begin", "READY", "DOING", (_TURN,)),
        Transition("finish", "DOING", "READY", (_TURN,)),
        Transition("fail", "DOING", "RETURNING", (_TURN, _WHY)),
        Transition("give_up", "READY", "RETURNING", (_WHY,)),
        Transition("give_up", "DOING", "RETURNING", (_WHY,)),
        Transition("give_up", "DEPLOYED", "RETURNING", (_WHY,)),
        Transition("begin_undo", "RETURNING", "UNDOING", (_TURN,)),
        Transition("finish_undo", "UNDOING", "RETURNING", (_TURN,)),
        Transition("fail_undo", "UNDOING", "STUCK", (_TURN, _WHY)),
        Transition("retry", "STUCK", "RETURNING"),
        Transition("complete", "READY", "DEPLOYED", (_TURN,)),
        Transition("close", "RETURNING", "UNDONE", (_TURN,)),
    ),
)


def keep_progress(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """The facts after an event.

    ids: what the target calls what each finished step made, in order. back: on the way back, how many steps are left to
    take back. failure: why it goes back: `step` (None where somebody gave up) and `reason`. stuck: which undo failed last:
    `step` and `reason`; gone when that step was taken back. left: the steps whose work stays, since somebody else has
    changed it.
    """
    data = event.data
    if "lost" in data:  # a repair: nothing was decided
        return facts
    kept = dict(facts)
    said = data.get("context", {})
    match event.action:
        case "finish":
            kept["ids"] = [*facts.get("ids", ()), said["id"]]
        case "fail":
            kept["back"] = said["step"] + 1  # what failed may have been done all the same
            kept["failure"] = {"step": said["step"], "reason": data["reason"]}
        case "give_up":
            begun = event.from_state == "DOING"  # it may have been done all the same
            kept["back"] = len(facts.get("ids", ())) + begun
            kept["failure"] = {"step": None, "reason": data["reason"]}
        case "finish_undo":
            kept["back"] = said["step"]
            kept.pop("stuck", None)
            if said["came_to"] == "left":
                kept["left"] = [*facts.get("left", ()), said["step"]]
        case "fail_undo":
            kept["stuck"] = {"step": said["step"], "reason": data["reason"]}
    return kept


def turn_of(state: StateSnapshot) -> int | None:
    """The step whose turn it is: forward the next one, on the way back the last one that is left; None where none is."""
    assert state.document is not None
    if "back" in state.facts:
        back: int = state.facts["back"]
        return back - 1 if back else None
    done = len(state.facts.get("ids", ()))
    return done if done < len(state.document["steps"]) else None


def in_turn(state: StateSnapshot | None, command: Command, _policy: Policy) -> Verdict:
    """The step that is spoken of is the one whose turn it is; an end is spoken of where there is none."""
    assert state is not None
    expected, found = turn_of(state), (command.context or {}).get("step")
    evidence = {"expected": expected, "found": found}
    if expected == found:
        return Verdict(agrees=True, reason="it is its turn", evidence=evidence)
    told = "no step is left" if expected is None else f"it is the turn of step {expected}"
    return Verdict(
        agrees=False,
        reason=f"{told}, and {'an end' if found is None else f'step {found}'} was spoken of",
        evidence=evidence,
    )


DEPLOYMENT = Definition(
    chart=CHART, guards={"in_turn": in_turn, "reason_given": reason_given}, evolve=keep_progress
)
