"""The lifecycle of a deployment, as a statechart: forward step by step, and back in reverse.

=========  ===========  =========  ==============================================
from       action       to
=========  ===========  =========  ==============================================
(none)     plan         READY      the document is the plan
READY      begin        DOING      a step is about to be done
DOING      finish       READY      it was done; records its id
DOING      fail         RETURNING  it failed, or the outcome is unknown: roll back
READY      give_up      RETURNING  the deployment was abandoned
DOING      give_up      RETURNING  the same; the step in progress is rolled back, too
DEPLOYED   give_up      RETURNING  the same, after every step was done
RETURNING  begin_undo   UNDOING    a step is about to be undone
UNDOING    finish_undo  RETURNING  it was undone
UNDOING    fail_undo    STUCK      it could not be undone; a person must look
STUCK      retry        RETURNING  continue where it stopped
READY      complete     DEPLOYED   every step was done
RETURNING  close        UNDONE     no step is left
=========  ===========  =========  ==============================================

Before and after each call at the target, the step is recorded in `context`: ``step``, its number, and
``key``. So after a crash it is known which call may have been in progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registration.core.chart import Action, Chart, GuardUse, State, Transition
from registration.core.definition import Definition, of_form
from registration.core.policy import Verdict
from registration.rules.guards.builtin import reason_given

if TYPE_CHECKING:
    from registration.core.policy import Policy
    from registration.values.commands import Command
    from registration.values.events import Event, StateSnapshot

_TURN, _WHY = GuardUse("in_turn"), GuardUse("reason_given")

CHART = Chart(
    name="deployment",
    title="A deployment",
    states=(
        State("READY", title="ready for the next step"),
        State("DOING", title="doing a step"),
        State("RETURNING", title="rolling back"),
        State("UNDOING", title="rolling back a step"),
        State("STUCK", title="rollback failed"),
        State("DEPLOYED", title="deployed"),
        State("UNDONE", final=True, title="rolled back"),
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


@of_form(1)
def keep_progress(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """The facts after an event.

    ids: the target's id for each finished step, in order. back: during a rollback, the number of steps left to
    undo. failure: the reason for the rollback: `step` (None if it was abandoned) and `reason`. stuck: the undo that failed last:
    `step` and `reason`; absent once that step was undone. left: the steps whose effects stay, since others have
    changed them.
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
            kept["back"] = said["step"] + 1  # the failed call may have taken effect
            kept["failure"] = {"step": said["step"], "reason": data["reason"]}
        case "give_up":
            begun = event.from_state == "DOING"  # the call may have taken effect
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
    """The current step: forward the next one, during a rollback the last one left; None if there is none."""
    assert state.document is not None
    if "back" in state.facts:
        back: int = state.facts["back"]
        return back - 1 if back else None
    done = len(state.facts.get("ids", ()))
    return done if done < len(state.document["steps"]) else None


def in_turn(state: StateSnapshot | None, command: Command, _policy: Policy) -> Verdict:
    """The command names the current step, or an end if there is none."""
    assert state is not None
    expected, found = turn_of(state), (command.context or {}).get("step")
    evidence = {"expected": expected, "found": found}
    if expected == found:
        return Verdict(agrees=True, reason="it is its turn", evidence=evidence)
    told = "no step is left" if expected is None else f"step {expected} is next"
    return Verdict(
        agrees=False,
        reason=f"{told}, and {'an end' if found is None else f'step {found}'} was given",
        evidence=evidence,
    )


DEPLOYMENT = Definition(
    chart=CHART, guards={"in_turn": in_turn, "reason_given": reason_given}, evolve=keep_progress
)
