"""The statechart: what leads where, what is wrong with a chart that contradicts itself, and its diagrams."""

from __future__ import annotations

import subprocess
import textwrap
import time
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.chart import Action, Chart, GuardUse, State, Timeout, Transition
from registration.core.chart_data import as_data, from_data
from registration.core.definition import Definition
from registration.core.diagram import dot, mermaid
from registration.core.interpreter import enabled, entered, is_end, shortest_paths, step, steps
from registration.core.policy import Verdict
from registration.errors import InvalidDefinition
from registration.rules.lifecycles import registration as lifecycle
from registration.rules.lifecycles.loading import definition_of, shipped
from registration.rules.lifecycles.registration import CHART, REGISTRATION, LifecycleState
from tests.kit.builders import tries
from tests.kit.programs import needs_program

TABLE = {
    (None, "create"): "DRAFT",
    ("DRAFT", "revise"): "DRAFT",
    ("DRAFT", "submit_for_review"): "REVIEWED",
    ("REVIEWED", "approve"): "APPROVED",
    ("APPROVED", "approve"): "APPROVED",
    ("REVIEWED", "reject"): "DRAFT",
    ("APPROVED", "reject"): "DRAFT",
    ("APPROVED", "register"): "REGISTERED",
}
"""The whole registration lifecycle: where each action leads from each state."""

# -- the registration lifecycle --------------------------------------------------------------------------


@pytest.mark.parametrize("state", [None, "DRAFT", "REVIEWED", "APPROVED", "REGISTERED"])
@pytest.mark.parametrize("action", ["create", "revise", "submit_for_review", "approve", "reject", "register"])
def test_every_action_in_every_state(state, action):
    """An action leads where the table says, from where the table says, and nowhere else."""
    taken = step(CHART, state, action)

    assert (taken.place if taken else None) == TABLE.get((state, action))


def test_the_documented_table_is_the_table():
    """The table in the lifecycle's docstring tells the whole truth."""
    rule = "=" * 21 + "  " + "=" * 20 + "  " + "=" * 30 + "\n"
    _, _heading, rows, _ = (lifecycle.__doc__ or "").split(rule)
    told = {}
    for row in rows.splitlines():
        sources, action, target = row[:23].strip(), row[23:45].strip(), row[45:].split()[0]
        for source in sources.split(", "):
            told[None if source == "(none)" else source, action] = target

    assert told == TABLE


def test_the_states_that_a_manifest_can_stand_in():
    """The four states are those of `LifecycleState`, each its own name as text; a compound one is no place."""
    assert CHART.leaves == tuple(LifecycleState) == ("DRAFT", "REVIEWED", "APPROVED", "REGISTERED")
    assert CHART.lineage("REVIEWED") == ("REVIEWED", "IN_REVIEW")
    assert CHART.lineage("DRAFT") == ("DRAFT",)
    assert entered(CHART, "IN_REVIEW") == "REVIEWED"
    assert CHART.active("REVIEWED") == {"REVIEWED", "IN_REVIEW"}
    assert CHART.has_state("IN_REVIEW")
    assert CHART.state("REGISTERED").final
    assert is_end(CHART, "REGISTERED")
    assert not is_end(CHART, "APPROVED")


def test_rejecting_is_inherited_from_the_review():
    """`reject` is a transition of IN_REVIEW that both of its children have, guard and all."""
    for state in ("REVIEWED", "APPROVED"):
        (move,) = enabled(CHART, state, "reject")

        assert move.source == "IN_REVIEW"
        assert move.guards == (GuardUse("reason_given"),)


def test_event_types_are_in_the_past_tense_of_their_actions():
    """The names that stand in logs for ever."""
    assert REGISTRATION.event_types == {
        "registration.created.v1",
        "registration.revised.v1",
        "registration.submitted_for_review.v1",
        "registration.approved.v1",  # and .v2, which is written today
        "registration.approved.v2",
        "registration.rejected.v1",
        "registration.rejected.v2",
        "registration.registered.v1",
        "registration.repaired.v1",  # no action leads to it
        "registration.claim_broken.v1",  # nor to this one
        "registration.tagged.v1",  # what can be done in any lifecycle
        "registration.untagged.v1",
    }


@pytest.mark.parametrize("name", ["UNKNOWN", "", "UNKNOWN+GONE"])
def test_a_state_that_the_chart_does_not_know_has_no_way_out(name):
    """A log of an older lifecycle may stand in such a state: nothing can happen there, and nothing breaks."""
    assert steps(CHART, name) == {}
    assert CHART.lineage("UNKNOWN") == ("UNKNOWN",)
    assert not is_end(CHART, name)


def test_a_compound_state_that_was_none_can_be_left():
    """A log of an older lifecycle may stand in what has children today: what leads out of it still does."""
    assert {action: taken.place for action, taken in steps(CHART, "IN_REVIEW").items()} == {"reject": "DRAFT"}


def test_a_state_with_a_history_that_had_none_can_be_left():
    """Under an older lifecycle ON had no children, so there is none to remember when it is left."""
    states = (State("ON", initial="LOW"), State("LOW", parent="ON"), State("HIGH", parent="ON"),
              State("BACK", parent="ON", history=True, initial="HIGH"), State("OFF"))  # fmt: skip
    found = chart(states, creates="ON", moves=[("raise", "LOW", "HIGH"), ("turn_off", "ON", "OFF"),
                                               ("turn_on", "OFF", "BACK")])  # fmt: skip

    assert step(found, "ON", "turn_off").history == {}
    assert step(found, "OFF", "turn_on").place == "HIGH"
    assert step(found, "LOW", "turn_off").history == {"ON": "LOW"}
    # Nor is what was remembered under an older lifecycle entered where it is elsewhere now, or gone.
    assert step(found, "OFF", "turn_on", {"ON": "OFF"}).place == "HIGH"
    assert step(found, "OFF", "turn_on", {"ON": "MIDDLE"}).place == "HIGH"
    assert step(found, "OFF", "turn_on", {"ON": "LOW"}).place == "LOW"


def test_what_can_be_done_is_told_in_the_order_of_the_chart():
    """The order is that of the actions, not of the alphabet: whoever wrote the lifecycle has it read as it is written."""
    upkeep = definition_of(shipped("registration-upkeep")).chart

    assert list(steps(upkeep, "REVIEWED")) == ["recall", "approve", "request_changes", "reject"]
    assert list(steps(upkeep, None)) == ["create"]


def test_unknown_names_are_key_errors():
    """Asking a chart for a state or an action by a wrong name is the caller's mistake."""
    with pytest.raises(KeyError):
        CHART.state("NOWHERE")
    with pytest.raises(KeyError):
        CHART.action("teleport")

    assert not CHART.has_state("NOWHERE")
    assert not CHART.has_action("teleport")
    assert CHART.action("revise").document


# -- how charts are read ---------------------------------------------------------------------------------


OPEN, DONE = State("OPEN"), State("DONE", final=True)


def chart(
    states=(OPEN, DONE),
    actions=None,
    moves=(),
    name="ticket",
    *,
    creates="OPEN",
    timeouts=(),
):
    """A chart in few words: moves are (action, source, target); actions follow from them."""
    transitions = [Transition("open", None, creates)] if creates else []
    transitions += [move if isinstance(move, Transition) else Transition(*move) for move in moves]
    if actions is None:
        actions = [Action(a, past=a + "_past") for a in dict.fromkeys(move.action for move in transitions)]
    return Chart(name, tuple(states), tuple(actions), tuple(transitions), tuple(timeouts))


FINISH = ("finish", "OPEN", "DONE")

NESTED = (
    State("OPEN"),
    State("OUTER", initial="MIDDLE"),
    State("MIDDLE", parent="OUTER", initial="INNER"),
    State("INNER", parent="MIDDLE"),
    State("BESIDE", parent="MIDDLE"),
    State("DONE", final=True),
    State("GONE", final=True),
)


def test_entry_follows_the_initial_children_down():
    """Entering a compound state ends in the innermost initial one."""
    found = chart(NESTED, moves=[("enter", "OPEN", "OUTER"), ("end", "OUTER", "DONE"), ("kill", "OPEN", "GONE"),
                                 ("move", "INNER", "BESIDE")])  # fmt: skip

    assert entered(found, "OUTER") == entered(found, "MIDDLE") == entered(found, "INNER") == "INNER"
    assert found.leaves == ("OPEN", "INNER", "BESIDE", "DONE", "GONE")
    assert found.lineage("BESIDE") == ("BESIDE", "MIDDLE", "OUTER")


def test_descendants_override_their_ancestors():
    """The innermost state that has a transition for an action decides where it leads."""
    found = chart(
        NESTED,
        moves=[
            ("enter", "OPEN", "OUTER"),
            ("end", "OUTER", "DONE"),
            ("end", "INNER", "BESIDE"),
            ("kill", "OUTER", "GONE"),
            ("kill", "MIDDLE", "DONE"),
            ("vanish", "OPEN", "GONE"),
        ],
    )

    assert {action: taken.place for action, taken in steps(found, "INNER").items()} == {
        "end": "BESIDE",
        "kill": "DONE",
    }
    assert {action: taken.place for action, taken in steps(found, "BESIDE").items()} == {
        "end": "DONE",
        "kill": "DONE",
    }


def test_a_final_state_may_stand_inside_a_compound_one():
    """Final states end the whole chart wherever they stand, as long as nothing leads out of what is around."""
    states = (State("OPEN"), State("END", initial="WELL"), State("WELL", parent="END", final=True),
              State("ILL", parent="END", final=True))  # fmt: skip

    found = chart(states, moves=[("finish", "OPEN", "END"), ("fail", "OPEN", "ILL")])

    assert entered(found, "END") == "WELL"
    assert steps(found, "WELL") == {}
    assert is_end(found, "WELL")


def test_a_chart_without_an_end_is_sound():
    """Where there is no final state, going round for ever is no trap."""
    states = (State("ON"), State("OFF"))

    found = chart(states, creates="ON", moves=[("turn_off", "ON", "OFF"), ("turn_on", "OFF", "ON")])

    assert set(steps(found, "OFF")) == {"turn_on"}


def test_actions_share_an_event_where_all_of_them_say_so():
    """What happened has one word, however it came about; in the data form as well."""
    actions = [Action("open", "moved", shared=True), Action("finish", "moved", shared=True)]

    found = chart(actions=actions, moves=[FINISH])

    assert [action.past for action in from_data(as_data(found, 1)).actions] == ["moved", "moved"]
    assert from_data(as_data(found, 1)) == found


def test_charts_are_values():
    """Two charts that say the same are equal, and can be keys."""
    assert chart(moves=[FINISH]) == chart(moves=[FINISH])
    assert len({chart(moves=[FINISH]), chart(moves=[FINISH])}) == 1


# -- charts that contradict themselves -------------------------------------------------------------------


def problems_of(**given_chart):
    """What a chart is refused for."""
    with pytest.raises(InvalidDefinition) as caught:
        chart(**given_chart)
    return caught.value.details["problems"]


NOT_A_NAME = "is not a letter followed by up to 63 letters, digits, _ or -"


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"states": (OPEN, OPEN, DONE)}, "states.OPEN: the name is given 2 times"),
        (
            {"actions": [Action("open", "a"), Action("finish", "b"), Action("finish", "c")]},
            "actions.finish: the name is given 2 times",
        ),
        (
            {"actions": [Action("open", "done"), Action("finish", "done")]},
            "actions.finish.past: the event 'done' is given 2 times",
        ),
        (
            {"actions": [Action("open", "done", shared=True), Action("finish", "done")]},
            "actions.finish.past: the event 'done' is given 2 times",
        ),
        (
            {
                "actions": [
                    Action("open", "done", shared=True),
                    Action("finish", "done", shared=True, schema=2),
                ]
            },
            "actions.finish.past: the event 'done' is given 2 times",
        ),
        (
            {"states": (OPEN, DONE, State("no good", parent="OPEN"))},
            f"states.no good: 'no good' {NOT_A_NAME}",
        ),
        (
            {"states": (OPEN, DONE, State("S" * 65, parent="OPEN"))},
            f"states.{'S' * 65}: '{'S' * 65}' {NOT_A_NAME}",
        ),
        ({"states": (OPEN, DONE, State("", parent="OPEN"))}, f"states.: '' {NOT_A_NAME}"),
        ({"states": (OPEN, DONE, State("ÖFFEN", parent="OPEN"))}, f"states.ÖFFEN: 'ÖFFEN' {NOT_A_NAME}"),
        (
            {"actions": [Action("open", "opened"), Action("finish", "finished!")]},
            f"actions.finish.past: 'finished!' {NOT_A_NAME}",
        ),
        ({"moves": [FINISH, ("7up", "OPEN", "DONE")]}, f"actions.7up: '7up' {NOT_A_NAME}"),
        ({"states": (OPEN, DONE, State("X", parent="NO"))}, "states.X.parent: there is no state 'NO'"),
        (
            {"states": (OPEN, DONE, State("X", initial="NO"))},
            "states.X.initial: there is no state 'NO'",
        ),
        ({"moves": [FINISH, ("go", "NO", "DONE")]}, "actions.go.from: there is no state 'NO'"),
        ({"moves": [FINISH, ("go", "OPEN", "NO")]}, "actions.go.to: there is no state 'NO'"),
        (
            {"actions": [Action("open", "opened")]},
            "actions: a transition names the unknown action 'finish'",
        ),
        ({"creates": "NO"}, "actions.open.to: there is no state 'NO'"),
        (
            {"states": (OPEN, DONE, State("X", parent="OPEN"))},
            "states.OPEN.initial: it has children, but no initial one",
        ),
        (
            {"states": (OPEN, State("X", initial="DONE"), DONE)},
            "states.X.initial: 'DONE' is not its child",
        ),
        (
            {"states": (State("OPEN", initial="OPEN"), DONE)},
            "states.OPEN.initial: 'OPEN' is not its child",
        ),
        (
            {"states": (OPEN, State("DONE", initial="X", final=True), State("X", parent="DONE"))},
            "states.DONE.final: it is final, but has children",
        ),
        (
            {"moves": [FINISH, ("finish", "OPEN", "OPEN")]},
            "actions.finish.from: it is ambiguous: 2 transitions leave OPEN",
        ),
        (
            {"moves": [FINISH, ("open", None, "DONE")]},
            "actions.open.from: it is ambiguous: 2 transitions leave creation",
        ),
        ({"creates": None}, "actions: nothing creates a manifest: no action without `from`"),
        (
            {"actions": [Action("open", "a"), Action("finish", "b"), Action("sleep", "c")]},
            "actions.sleep: it is never used",
        ),
        (
            {"moves": [FINISH, ("reopen", "DONE", "OPEN")]},
            "actions.reopen.from: the final state 'DONE' is left by 'reopen'",
        ),
        (
            {
                "states": (OPEN, State("END", initial="DONE"), State("DONE", parent="END", final=True)),
                "moves": [FINISH, ("reopen", "END", "OPEN")],
            },
            "actions.reopen.from: the final state 'DONE' is left by 'reopen', inherited from 'END'",
        ),
        ({"states": (OPEN, DONE, State("LOST"))}, "states.LOST: it is unreachable"),
        (
            {
                "states": (OPEN, DONE, State("LOST", initial="CHILD"), State("CHILD", parent="LOST")),
                "moves": [FINISH, ("end", "LOST", "DONE")],
            },
            "states.LOST: it is unreachable",
        ),
        (
            {"states": (OPEN, DONE, State("PIT")), "moves": [FINISH, ("fall", "OPEN", "PIT")]},
            "states.PIT: it is a trap: it is not final, and nothing leads out of it",
        ),
        (
            {
                "states": (OPEN, DONE, State("PIT")),
                "moves": [FINISH, ("fall", "OPEN", "PIT"), ("dig", "PIT", "PIT")],
            },
            "states.PIT: it is a trap: it is not final, and nothing leads out of it",
        ),
        (
            {
                "states": (OPEN, DONE, State("A"), State("B")),
                "moves": [FINISH, ("fall", "OPEN", "A"), ("turn", "A", "B"), ("return", "B", "A")],
            },
            "states.A: it is a trap: no final state can be reached from it",
        ),
    ],
)
def test_each_kind_of_mistake_is_reported(wrong, problem):
    """A chart that contradicts itself can't be built, and the error names what is wrong."""
    assert problem in problems_of(**{"moves": [FINISH], **wrong})


def test_all_mistakes_are_reported_at_once():
    """Whoever draws a chart mends it in one go: the error lists everything, and counts it."""
    with pytest.raises(InvalidDefinition) as caught:
        chart(
            (OPEN, DONE, State("A B"), State("X", parent="NO", initial="NONE")),
            moves=[("finish", "OPEN", "NOWHERE"), ("finish", "NEVER", "DONE")],
        )

    assert caught.value.details["problems"] == [
        f"states.A B: 'A B' {NOT_A_NAME}",
        "states.X.parent: there is no state 'NO'",
        "states.X.initial: there is no state 'NONE'; did you mean 'DONE'?",
        "actions.finish.to: there is no state 'NOWHERE'",
        "actions.finish.from: there is no state 'NEVER'",
    ]
    assert str(caught.value).startswith("The lifecycle 'ticket' has 5 problems: ")
    assert caught.value.details["name"] == "ticket"


def test_all_mistakes_of_structure_are_reported_at_once():
    """Where all names are right, everything that is wrong between them is in one error."""
    assert problems_of(
        states=(State("OPEN", initial="DONE"), DONE),
        creates=None,
        actions=[Action("finish", "finished"), Action("sleep", "slept")],
        moves=[FINISH, ("finish", "OPEN", "OPEN"), ("finish", "DONE", "OPEN")],
    ) == [
        "states.OPEN.initial: 'DONE' is not its child",
        "actions.finish.from: it is ambiguous: 2 transitions leave OPEN",
        "actions: nothing creates a manifest: no action without `from`",
        "actions.sleep: it is never used",
        "actions.finish.from: the final state 'DONE' is left by 'finish'",
    ]


def test_all_mistakes_of_reach_are_reported_at_once():
    """Every state that can't be reached and every trap is in one error."""
    assert problems_of(
        states=(OPEN, DONE, State("LOST"), State("GONE"), State("PIT"), State("HOLE")),
        moves=[FINISH, ("fall", "OPEN", "PIT"), ("slip", "OPEN", "HOLE")],
    ) == [
        "states.LOST: it is unreachable",
        "states.GONE: it is unreachable",
        "states.PIT: it is a trap: it is not final, and nothing leads out of it",
        "states.HOLE: it is a trap: it is not final, and nothing leads out of it",
    ]


def test_mistakes_of_different_kinds_are_reported_at_once():
    """A malformed name doesn't hide an ambiguous action that has nothing to do with it."""
    problems = problems_of(states=(OPEN, DONE, State("A B")), moves=[FINISH, ("finish", "OPEN", "OPEN")])

    assert f"states.A B: 'A B' {NOT_A_NAME}" in problems
    assert "actions.finish.from: it is ambiguous: 2 transitions leave OPEN" in problems


def test_states_that_are_their_own_ancestors_are_named():
    """A circle of parents is refused, and every state on it is named."""
    assert problems_of(
        states=(OPEN, DONE, State("A", parent="B"), State("B", parent="C"), State("C", parent="A")),
        moves=[FINISH],
    ) == [f"states.{name}.parent: it is its own ancestor" for name in "ABC"]
    assert problems_of(states=(OPEN, DONE, State("A", parent="A")), moves=[FINISH]) == [
        "states.A.parent: it is its own ancestor"
    ]


def test_a_child_of_a_circle_is_not_on_it():
    """A state whose parents go round in a circle is not blamed for it: only those on the circle are."""
    assert problems_of(
        states=(OPEN, DONE, State("CHILD", parent="A"), State("A", parent="B"), State("B", parent="A")),
        moves=[FINISH],
    ) == ["states.A.parent: it is its own ancestor", "states.B.parent: it is its own ancestor"]


PARALLEL = (
    State("OPEN"),
    State("BOTH", parallel=True, done="DONE"),
    State("LEFT", parent="BOTH", initial="LEFT_OPEN"),
    State("LEFT_OPEN", parent="LEFT"),
    State("LEFT_DONE", parent="LEFT", final=True),
    State("RIGHT", parent="BOTH", initial="RIGHT_OPEN"),
    State("RIGHT_OPEN", parent="RIGHT"),
    State("RIGHT_DONE", parent="RIGHT", final=True),
    State("DONE", final=True),
)
PARALLEL_MOVES = [
    ("begin", "OPEN", "BOTH"),
    ("end_left", "LEFT_OPEN", "LEFT_DONE"),
    ("end_right", "RIGHT_OPEN", "RIGHT_DONE"),
]


def but(*changed, without=()):
    """The parallel states with some of them replaced, added, or left out."""
    by_name = {state.name: state for state in (*PARALLEL, *changed)}
    return tuple(state for name, state in by_name.items() if name not in without)


def timeout(**said):
    """A time-out that is sound; `said` goes over its own."""
    return Timeout(
        **{"name": "tire", "past": "tired", "state": "OPEN", "after": "1d", "target": "DONE", **said}
    )


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (
            {"states": but(without=("RIGHT", "RIGHT_OPEN", "RIGHT_DONE")), "moves": PARALLEL_MOVES[:2]},
            "states.BOTH.parallel: a parallel state has two children or more; this one has 1",
        ),
        (
            {"states": but(State("BOTH", parallel=True, initial="LEFT", done="DONE"))},
            "states.BOTH.initial: a parallel state enters all its children, so it has no initial one",
        ),
        (
            {"states": but(State("RIGHT", parent="BOTH", final=True), without=("RIGHT_OPEN", "RIGHT_DONE")),
             "moves": PARALLEL_MOVES[:2]},
            "states.RIGHT.final: a region can't be final itself; give it children, one of them final",
        ),
        (
            {"states": but(State("RIGHT_DONE", parent="RIGHT"))},
            "states.BOTH.done: it never completes: a region has no final child",
        ),
        ({"states": but(State("OPEN", done="DONE"))}, "states.OPEN.done: it never completes: none of its children is final"),
        ({"states": but(State("BOTH", parallel=True, done="NO"))}, "states.BOTH.done: there is no state 'NO'"),
        (
            {"moves": [*PARALLEL_MOVES, ("reopen", "LEFT_DONE", "LEFT_OPEN")]},
            "actions.reopen.from: the final state 'LEFT_DONE' is left by 'reopen'",
        ),
        (
            {"states": but(State("BOTH", parallel=True)), "moves": [*PARALLEL_MOVES, ("end", "OPEN", "DONE")]},
            "states.LEFT_DONE+RIGHT_DONE: it is a trap: it is not final, and nothing leads out of it",
        ),
        (
            {"states": but(State("LEFT", parent="BOTH", initial="LEFT_DONE"), State("BOTH", parallel=True, done="LEFT_DONE"),
                           State("RIGHT", parent="BOTH", initial="RIGHT_DONE"))},
            "states.BOTH.done: its immediate completions form a cycle",
        ),
        ({"states": but(State("H", history=True, initial="DONE"))},
         "states.H.history: its parent must be a state one of whose children is active"),
        ({"states": but(State("H", parent="BOTH", history=True, initial="LEFT"))},
         "states.H.history: its parent must be a state one of whose children is active"),
        ({"states": but(State("H", parent="LEFT", history=True))},
         "states.H.initial: it needs one, for when nothing is remembered"),
        ({"states": but(State("H", parent="LEFT", history=True, initial="RIGHT_OPEN"))},
         "states.H.initial: 'RIGHT_OPEN' is not a child of its parent"),
        ({"states": but(State("H", parent="LEFT", history=True, initial="H"))},
         "states.H.initial: 'H' is not a child of its parent"),
        ({"states": but(State("H", parent="LEFT", history=True, initial="LEFT_OPEN", final=True))},
         "states.H.history: a history state is not final, not parallel, and never done"),
        ({"states": but(State("H", parent="LEFT", history=True, initial="LEFT_OPEN"), State("X", parent="H"))},
         "states.X.parent: 'H' is a history state: it has no children"),
        ({"states": but(State("H", parent="LEFT", history=True, initial="LEFT_OPEN")),
          "moves": [*PARALLEL_MOVES, ("leave", "H", "OPEN")]},
         "actions.leave.from: 'H' is a history state: nothing leaves it"),
        ({"timeouts": [timeout(name="open")]}, "actions.open: the name is given 2 times"),
        ({"timeouts": [timeout(past="open_past")]}, "timeouts.tire.past: the event 'open_past' is given 2 times"),
        ({"timeouts": [timeout(past="repaired")]},
         "timeouts.tire.past: 'repaired' is the event of a repair; choose another word"),
        ({"timeouts": [timeout(after="two weeks")]},
         "timeouts.tire.after: invalid duration 'two weeks'; expected 30s, 45m, 36h, 14d or 2w, up to a hundred years"),
        ({"timeouts": [timeout(state="NO")]}, "timeouts.tire.state: there is no state 'NO'"),
        ({"timeouts": [timeout(target="NO")]}, "timeouts.tire.to: there is no state 'NO'"),
        ({"timeouts": [timeout(name="no good")]}, f"timeouts.no good: 'no good' {NOT_A_NAME}"),
        ({"timeouts": [timeout(state="DONE", target="OPEN")]},
         "timeouts.tire.state: the final state 'DONE' is left by 'tire'"),
        ({"timeouts": [timeout(target="OPEN")]},
         "timeouts.tire.to: time-outs alone form a cycle; an action must break it"),
        ({"timeouts": [timeout(target="BOTH"), timeout(name="wake", past="woken", state="LEFT", target="OPEN")]},
         "timeouts.wake.to: time-outs alone form a cycle; an action must break it"),
        ({"actions": [Action("open", "opened", required=("actor", "reason", "comment", "context.ticket", "mood"))]},
         "actions.open.required: 'mood' is not one of actor, reason, comment and context.NAME"),
        ({"actions": [Action("open", "opened", undone_by="close")]},
         "actions.open.undone_by: there is no action 'close'"),
        ({"actions": [Action("open", "repaired")]},
         "actions.open.past: 'repaired' is the event of a repair; choose another word"),
        ({"actions": [Action("open", "claim_broken")]},
         "actions.open.past: 'claim_broken' is the event of a broken lock; choose another word"),
    ],
)  # fmt: skip
def test_each_kind_of_mistake_with_regions_history_and_time_is_reported(wrong, problem):
    """Parallel states, what is done, history and time-outs can contradict themselves in ways of their own."""
    assert problem in problems_of(**{"states": PARALLEL, "moves": PARALLEL_MOVES, **wrong})


def test_those_that_are_sound_are_not_refused():
    """What the mistakes above are made from is sound itself, with a time-out and a history state as well."""
    states = but(State("H", parent="LEFT", history=True, initial="LEFT_OPEN"))

    found = chart(states, moves=PARALLEL_MOVES, timeouts=[timeout()])

    assert found.leaves == ("OPEN", "LEFT_OPEN", "LEFT_DONE", "RIGHT_OPEN", "RIGHT_DONE", "DONE")
    assert not found.has_state("H")
    assert found.has_history("LEFT")
    assert [state.name for state in found.children("LEFT")] == ["LEFT_OPEN", "LEFT_DONE"]


def test_time_outs_that_follow_on_each_other_are_sound():
    """Only those that lead round are refused: a chain of them comes to its end, whatever hangs on it."""
    states = tuple(State(name) for name in "ABCD")
    row = [timeout(name=f"to_{b}", past=f"p_{b}", state=a, target=b) for a, b in ("AB", "BC", "CD")]

    assert chart(states, creates="A", moves=[("again", "D", "A")], timeouts=row)
    # Neither what leads into the circle nor what leads out of it is a part of it.
    back = timeout(name="back", past="p_back", state="C", target="B")
    assert problems_of(
        states=states,
        creates="A",
        moves=[("again", "D", "A"), ("skip", "C", "D")],
        timeouts=[*row, back],
    ) == [
        f"timeouts.{name}.to: time-outs alone form a cycle; an action must break it"
        for name in ("to_C", "back")
    ]


@pytest.mark.parametrize(
    ("beyond", "problem"),
    [
        (
            {"states": (*PARALLEL, *(State(f"S{n}") for n in range(492)))},
            "states: there are 501; at most 500 are allowed",
        ),
        (
            {"actions": [Action(f"a{n}", f"p{n}") for n in range(501)]},
            "actions: there are 501; at most 500 are allowed",
        ),
        (
            {"moves": [Transition("go", "OPEN", "DONE")] * 5_000},
            "actions: there are 5,001 transitions; at most 5,000 are allowed",
        ),
        (
            {"moves": [Transition("go", "OPEN", "DONE", (GuardUse("g"),) * 5_001)]},
            "actions: there are 5,001 uses of guards; at most 5,000 are allowed",
        ),
        (
            {"timeouts": [timeout(name=f"t{n}", past=f"p{n}") for n in range(501)]},
            "timeouts: there are 501; at most 500 are allowed",
        ),
        (
            {"states": (*PARALLEL, *(State(f"S{n}", parent=f"S{n + 1}") for n in range(20)), State("S20"))},
            "states.S0.parent: it is nested 21 deep; at most 20 are allowed",
        ),
    ],
)
def test_what_a_chart_may_hold_is_bounded(beyond, problem):
    """A chart beyond its bounds is refused for that, whatever else is wrong with it."""
    assert problem in problems_of(**{"states": PARALLEL, "moves": PARALLEL_MOVES, **beyond})


def regions(count, states_each=2):
    """A parallel state of so many regions, each of which goes round on its own: the places multiply."""
    inside = [
        [State(f"R{r}", parent="ALL", initial=f"R{r}_0")]
        + [State(f"R{r}_{n}", parent=f"R{r}") for n in range(states_each)]
        for r in range(count)
    ]
    moves = [
        (f"turn_{r}", f"R{r}_{n}", f"R{r}_{(n + 1) % states_each}")
        for r in range(count)
        for n in range(states_each)
    ]
    return {
        "states": (State("ALL", parallel=True), *chain.from_iterable(inside)),
        "creates": "ALL",
        "moves": moves,
    }


@pytest.fixture(scope="module")
def large_chart_s():
    """The processor time that a chart of 512 places takes."""
    began = time.process_time()
    chart(**regions(9))
    return time.process_time() - began


@pytest.mark.parametrize(
    "hostile",
    [
        regions(14),
        regions(160),
        pytest.param(regions(2, 101), marks=pytest.mark.slow),
        pytest.param(regions(3, 60), marks=pytest.mark.slow),
        pytest.param(
            {
                **regions(2, 40),
                "moves": [*regions(2, 40)["moves"], *((f"x{n}", "ALL", "ALL") for n in range(400))],
            },
            marks=pytest.mark.slow,
        ),
    ],
    ids=["14 regions", "160 regions", "101 by 101", "60 by 60 by 60", "400 loops"],
)
def test_a_chart_with_too_many_places_is_refused_soon(hostile, large_chart_s):
    """Regions multiply: a small chart can lead to more places than there are atoms. It costs some that are taken, at most."""
    began = time.process_time()

    assert problems_of(**hostile) == [
        "states: they have more than 10,000 combinations, or too many steps between them; use fewer parallel regions"
    ]
    assert time.process_time() - began < 40 * large_chart_s


def test_a_chart_of_many_places_is_sound():
    """What regions are for is within the bounds: eight of them, each with two states."""
    assert len(shortest_paths(chart(**regions(8)))) == 256


def test_problems_are_bounded_and_can_be_printed():
    """However many there are, a hundred are told; and no name moves anybody's cursor."""
    many = problems_of(states=(OPEN, DONE, *(State(f"S {n}") for n in range(300))), moves=[FINISH])
    evil = problems_of(states=(OPEN, DONE, State("\x1b[31m\u202e" + "A" * 100_000)), moves=[FINISH])

    assert len(many) == 101
    assert many[-1] == "and more"
    assert evil[0].startswith(r"states.\x1b[31m\u202eAAAA")
    assert all(problem.isprintable() and len(problem) < 3_000 for problem in evil)
    with pytest.raises(InvalidDefinition) as caught:
        chart(name="\x1b" * 100_000, moves=[FINISH])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 10_000


def test_a_final_state_that_is_left_at_once_can_be_reached():
    """This was refused: what is done at once is no place to stand in, and so it was taken for out of reach."""
    states = (State("OPEN", initial="WORK", done="CLOSED"), State("WORK", parent="OPEN"),
              State("WORKED", parent="OPEN", final=True), State("CLOSED", final=True))  # fmt: skip

    found = chart(states, moves=[("work", "WORK", "WORKED"), ("cancel", "OPEN", "CLOSED")])

    assert not found.is_end("WORKED")
    assert found.is_end("CLOSED")
    taken = step(found, "WORK", "work")
    assert (taken.place, taken.joined) == ("CLOSED", ("OPEN",))
    assert taken.left == {"OPEN", "WORK", "WORKED"}


@pytest.mark.parametrize("name", ["", "no good", "ticket\n"])
def test_the_charts_own_name_is_checked(name):
    """A chart's name is the first part of its event types and stands in logs for ever: it is a name as well."""
    with pytest.raises(InvalidDefinition):
        chart(moves=[FINISH], name=name)


def test_a_guard_that_is_not_given_is_reported():
    """A definition with a chart that names unknown guards can't be built; all of them are named."""
    guarded = chart(
        moves=[
            Transition("finish", "OPEN", "DONE", guards=(GuardUse("paid"), GuardUse("signed"))),
            Transition("wait", "OPEN", "OPEN", guards=(GuardUse("patient"),)),
        ]
    )

    with pytest.raises(InvalidDefinition) as caught:
        Definition(guarded, guards={"paid": lambda *_asked: Verdict(agrees=True, reason="it is paid")})

    assert caught.value.details["problems"] == [
        "actions.finish.guards: there is no guard 'signed'; there are paid",
        "actions.wait.guards: there is no guard 'patient'; there are paid",
    ]


@given(st.data())
@tries(300)
def test_any_chart_is_sound_or_refused(data):
    """However states and transitions are thrown together, building ends in a chart or in a list of problems."""
    names = ["A", "B", "C", "D", "E"]
    maybe = st.one_of(st.none(), st.sampled_from(names))
    rarely = st.integers(0, 5).map(lambda n: n == 0)
    states = [
        State(
            n,
            parent=data.draw(maybe),
            initial=data.draw(maybe),
            final=data.draw(rarely),
            parallel=data.draw(rarely),
            done=data.draw(maybe) if data.draw(rarely) else None,
            history=data.draw(rarely),
        )
        for n in names
    ]
    moves = data.draw(st.lists(st.tuples(st.sampled_from("xyz"), maybe, st.sampled_from(names)), max_size=8))
    timeouts = [
        Timeout("t", "t_past", data.draw(st.sampled_from(names)), "1d", data.draw(st.sampled_from(names)))
    ]

    try:
        found = chart(states, moves=moves, creates="A", timeouts=timeouts if data.draw(rarely) else ())
    except InvalidDefinition as error:
        assert error.details["problems"]  # noqa: PT017  # either outcome is right; both are looked at
        return

    paths = shortest_paths(found)
    for place in paths:
        assert all(leaf in found.leaves for leaf in place.split("+"))
        for taken in steps(found, place).values():
            assert taken.place in paths
            assert not is_end(found, place)


# -- diagrams --------------------------------------------------------------------------------------------

MERMAID = """\
stateDiagram-v2
    DRAFT
    state IN_REVIEW {
        [*] --> REVIEWED
        REVIEWED
        APPROVED
    }
    REGISTERED
    [*] --> DRAFT : create
    DRAFT --> DRAFT : revise
    DRAFT --> IN_REVIEW : submit_for_review
    REVIEWED --> APPROVED : approve
    APPROVED --> APPROVED : approve
    IN_REVIEW --> DRAFT : reject
    APPROVED --> REGISTERED : register
    REGISTERED --> [*]
"""

DOT = """\
digraph "registration" {
  compound=true;
  node [shape=box, style=rounded];
  "" [shape=point];
  "DRAFT";
  subgraph "cluster_IN_REVIEW" {
    label="IN_REVIEW";
    "REVIEWED";
    "APPROVED";
  }
  "REGISTERED" [peripheries=2];
  "" -> "DRAFT" [label="create"];
  "DRAFT" -> "DRAFT" [label="revise"];
  "DRAFT" -> "REVIEWED" [label="submit_for_review", lhead="cluster_IN_REVIEW"];
  "REVIEWED" -> "APPROVED" [label="approve"];
  "APPROVED" -> "APPROVED" [label="approve"];
  "REVIEWED" -> "DRAFT" [label="reject", ltail="cluster_IN_REVIEW"];
  "APPROVED" -> "REGISTERED" [label="register"];
}
"""


def test_the_mermaid_diagram_of_the_lifecycle():
    """The lifecycle as Mermaid draws it: compound states as boxes, transitions by their actions."""
    assert mermaid(CHART) == MERMAID


def test_the_dot_diagram_of_the_lifecycle():
    """The lifecycle as Graphviz draws it: a transition of a compound state leaves from its border."""
    assert dot(CHART) == DOT


def test_diagrams_of_nested_states():
    """Compound states are drawn inside each other, as deep as they are."""
    found = chart(NESTED, moves=[("enter", "OPEN", "OUTER"), ("end", "OUTER", "DONE"), ("kill", "OPEN", "GONE"),
                                 ("move", "INNER", "BESIDE")])  # fmt: skip
    boxes = """\
        state OUTER {
            [*] --> MIDDLE
            state MIDDLE {
                [*] --> INNER
                INNER
                BESIDE
            }
        }
    """

    assert textwrap.indent(textwrap.dedent(boxes), "    ").rstrip() in mermaid(found)
    assert '  "INNER" -> "DONE" [label="end", ltail="cluster_OUTER"];' in dot(found)


EVIL = '"Open" <b>\\N</b>; 50% & more #1\n\x1b[31m --> [*]'
FULL = Chart(
    "ticket",
    (
        State("OPEN", title="Open"),
        State("BOTH", parallel=True, done="DONE", title="Two reviews"),
        State("LEFT", parent="BOTH", initial="LEFT_OPEN"),
        State("LEFT_OPEN", parent="LEFT"),
        State("LEFT_DONE", parent="LEFT", final=True),
        State("LEFT_LAST", parent="LEFT", history=True, initial="LEFT_OPEN"),
        State("RIGHT", parent="BOTH", initial="right-open"),
        State("right-open", parent="RIGHT"),
        State("RIGHT_DONE", parent="RIGHT", final=True, title="Agreed"),
        State("PAUSED", parallel=True),
        State("note", parent="PAUSED"),
        State("watch", parent="PAUSED"),
        State("DONE", title="Closed", final=True),
    ),
    tuple(
        Action(name, f"{name}_past") for name in ("open", "begin", "again", "end", "pause", "resume", "widen")
    ),
    (
        Transition("open", None, "OPEN"),
        Transition("begin", "OPEN", "BOTH"),
        Transition("again", "BOTH", "LEFT"),
        Transition("end", "LEFT_OPEN", "LEFT_DONE"),
        Transition("end", "right-open", "RIGHT_DONE"),
        Transition("pause", "BOTH", "PAUSED"),
        Transition("resume", "PAUSED", "LEFT_LAST"),
        Transition("widen", "LEFT", "BOTH"),
    ),
    (Timeout("tire", "tired", "BOTH", "14d", "OPEN"),),
    title="Tickets",
)


def test_the_mermaid_diagram_of_regions_history_and_time():
    """Regions stand apart by `--`; names that Mermaid would take for its own words, or not at all, stand as labels."""
    assert mermaid(FULL) == textwrap.dedent("""\
        stateDiagram-v2
            state "Open" as OPEN
            state "Two reviews" as BOTH
            state BOTH {
                state LEFT {
                    [*] --> LEFT_OPEN
                    LEFT_OPEN
                    LEFT_DONE
                    LEFT_DONE --> [*]
                    state "[H]" as LEFT_LAST
                }
                --
                state RIGHT {
                    [*] --> _7_right_open_
                    state "right-open" as _7_right_open_
                    state "Agreed" as RIGHT_DONE
                    RIGHT_DONE --> [*]
                }
            }
            state PAUSED {
                state "note" as _10_note_
                --
                watch
            }
            state "Closed" as DONE
            [*] --> OPEN : open
            OPEN --> BOTH : begin
            BOTH --> LEFT : again
            LEFT_OPEN --> LEFT_DONE : end
            _7_right_open_ --> RIGHT_DONE : end
            BOTH --> PAUSED : pause
            PAUSED --> LEFT_LAST : resume
            LEFT --> BOTH : widen
            BOTH --> OPEN : after 14d
            BOTH --> DONE : done
            LEFT_LAST --> LEFT_OPEN
            DONE --> [*]
        """)


def test_the_dot_diagram_of_regions_history_and_time():
    """Regions have dashed lines. An arrow from a state to one inside it ends at no border: there is none between."""
    assert dot(FULL) == textwrap.dedent("""\
        digraph "ticket" {
          compound=true;
          label="Tickets";
          node [shape=box, style=rounded];
          "" [shape=point];
          "OPEN" [label="Open"];
          subgraph "cluster_BOTH" {
            label="Two reviews";
            subgraph "cluster_LEFT" {
              label="LEFT";
              style=dashed;
              "LEFT_OPEN";
              "LEFT_DONE" [peripheries=2];
              "LEFT_LAST" [label="[H]", shape=circle];
            }
            subgraph "cluster_RIGHT" {
              label="RIGHT";
              style=dashed;
              "right-open";
              "RIGHT_DONE" [label="Agreed", peripheries=2];
            }
          }
          subgraph "cluster_PAUSED" {
            label="PAUSED";
            "note" [style="rounded,dashed"];
            "watch" [style="rounded,dashed"];
          }
          "DONE" [label="Closed", peripheries=2];
          "" -> "OPEN" [label="open"];
          "OPEN" -> "LEFT_OPEN" [label="begin", lhead="cluster_BOTH"];
          "LEFT_OPEN" -> "LEFT_OPEN" [label="again"];
          "LEFT_OPEN" -> "LEFT_DONE" [label="end"];
          "right-open" -> "RIGHT_DONE" [label="end"];
          "LEFT_OPEN" -> "note" [label="pause", ltail="cluster_BOTH", lhead="cluster_PAUSED"];
          "note" -> "LEFT_LAST" [label="resume", ltail="cluster_PAUSED"];
          "LEFT_OPEN" -> "LEFT_OPEN" [label="widen"];
          "LEFT_OPEN" -> "OPEN" [label="after 14d", ltail="cluster_BOTH"];
          "LEFT_OPEN" -> "DONE" [label="done", ltail="cluster_BOTH"];
          "LEFT_LAST" -> "LEFT_OPEN";
        }
        """)


def evil():
    """A chart whose titles try to end the labels that they stand in."""
    states = (State("OPEN", title=EVIL), State("DONE", final=True, title='"'))
    return Chart("ticket", states, (Action("open", "a"), Action("end", "b")),
                 (Transition("open", None, "OPEN"), Transition("end", "OPEN", "DONE")), title=EVIL)  # fmt: skip


def test_titles_stay_in_their_labels():
    """Whatever a title is made of, no line begins in it, and no label ends before its time."""
    told = "#34;Open#34; #60;b#62;#92;N#60;/b#62;#59; 50#37; #38; more #35;1  [31m --#62; [#42;]"
    quoted = r'"\"Open\" <b>\\N</b>; 50% &amp; more #1  [31m --> [*]"'

    assert f'    state "{told}" as OPEN\n' in mermaid(evil())
    assert '    state "#34;" as DONE\n' in mermaid(evil())
    assert f'  "OPEN" [label={quoted}];\n' in dot(evil())
    assert '  "DONE" [label="\\"", peripheries=2];\n' in dot(evil())


def test_graphviz_reads_the_dot_diagrams():
    """What is written for Graphviz is what Graphviz reads, without a warning."""
    needs_program("dot")
    nested = chart(NESTED, moves=[("enter", "OPEN", "OUTER"), ("end", "OUTER", "DONE"), ("kill", "OPEN", "GONE"),
                                  ("move", "INNER", "BESIDE")])  # fmt: skip

    for text in (dot(CHART), dot(nested), dot(FULL), dot(evil())):
        drawn = subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, check=False)

        assert (drawn.returncode, drawn.stderr) == (0, b"")
        assert b"<svg" in drawn.stdout
    # The last one is the evil one: its label says what the title says.
    assert r"&quot;Open&quot; &lt;b&gt;\N&lt;/b&gt;; 50% &amp; more #1" in drawn.stdout.decode()
