"""The statechart: what leads where, what is wrong with a chart that contradicts itself, and its diagrams."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.chart import Action, Chart, State, Transition
from registration.core.definition import Definition, Verdict
from registration.core.diagram import dot, mermaid
from registration.errors import InvalidDefinition
from registration.lifecycles import registration as lifecycle
from registration.lifecycles.registration import CHART, REGISTRATION, LifecycleState
from tests.builders import tries

TABLE = {
    (None, "create"): "DRAFT",
    ("DRAFT", "revise"): "DRAFT",
    ("DRAFT", "submit_for_review"): "REVIEWED",
    ("REVIEWED", "approve"): "APPROVED",
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
    move = CHART.transitions_from(state).get(action)

    assert (CHART.entered(move.target) if move else None) == TABLE.get((state, action))


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
    assert CHART.entered("IN_REVIEW") == "REVIEWED"
    assert CHART.has_state("IN_REVIEW")
    assert CHART.state("REGISTERED").final


def test_rejecting_is_inherited_from_the_review():
    """`reject` is a transition of IN_REVIEW that both of its children have, guard and all."""
    for state in ("REVIEWED", "APPROVED"):
        move = CHART.transitions_from(state)["reject"]

        assert move.source == "IN_REVIEW"
        assert move.guards == ("reason_given",)


def test_event_types_are_in_the_past_tense_of_their_actions():
    """The names that stand in logs for ever."""
    assert REGISTRATION.event_types == {
        "registration.created.v1",
        "registration.revised.v1",
        "registration.submitted_for_review.v1",
        "registration.approved.v1",
        "registration.rejected.v1",
        "registration.registered.v1",
        "registration.repaired.v1",  # no action leads to it
    }


@pytest.mark.parametrize("name", ["IN_REVIEW", "UNKNOWN", ""])
def test_a_state_that_the_chart_does_not_know_has_no_way_out(name):
    """A log of an older lifecycle may stand in such a state: nothing can happen there, and nothing breaks."""
    assert CHART.transitions_from(name) == {}
    assert CHART.lineage("UNKNOWN") == ("UNKNOWN",)


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
):
    """A chart in few words: moves are (action, source, target); actions follow from them."""
    transitions = [Transition("open", None, creates)] if creates else []
    transitions += [move if isinstance(move, Transition) else Transition(*move) for move in moves]
    if actions is None:
        actions = [Action(a, past=a + "_past") for a in dict.fromkeys(move.action for move in transitions)]
    return Chart(name, tuple(states), tuple(actions), tuple(transitions))


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

    assert found.entered("OUTER") == found.entered("MIDDLE") == found.entered("INNER") == "INNER"
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

    assert {a: m.target for a, m in found.transitions_from("INNER").items()} == {
        "end": "BESIDE",
        "kill": "DONE",
    }
    assert {a: m.target for a, m in found.transitions_from("BESIDE").items()} == {
        "end": "DONE",
        "kill": "DONE",
    }


def test_a_final_state_may_stand_inside_a_compound_one():
    """Final states end the whole chart wherever they stand, as long as nothing leads out of what is around."""
    states = (State("OPEN"), State("END", initial="WELL"), State("WELL", parent="END", final=True),
              State("ILL", parent="END", final=True))  # fmt: skip

    found = chart(states, moves=[("finish", "OPEN", "END"), ("fail", "OPEN", "ILL")])

    assert found.entered("END") == "WELL"
    assert found.transitions_from("WELL") == {}


def test_a_chart_without_an_end_is_sound():
    """Where there is no final state, going round for ever is no trap."""
    states = (State("ON"), State("OFF"))

    found = chart(states, creates="ON", moves=[("turn_off", "ON", "OFF"), ("turn_on", "OFF", "ON")])

    assert set(found.transitions_from("OFF")) == {"turn_on"}


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
        ({"states": (OPEN, OPEN, DONE)}, "the state 'OPEN' is given 2 times"),
        (
            {"actions": [Action("open", "a"), Action("finish", "b"), Action("finish", "c")]},
            "the action 'finish' is given 2 times",
        ),
        (
            {"actions": [Action("open", "done"), Action("finish", "done")]},
            "the event 'done' is given 2 times",
        ),
        ({"states": (OPEN, DONE, State("no good", parent="OPEN"))}, f"state name 'no good' {NOT_A_NAME}"),
        ({"states": (OPEN, DONE, State("S" * 65, parent="OPEN"))}, f"state name '{'S' * 65}' {NOT_A_NAME}"),
        ({"states": (OPEN, DONE, State("", parent="OPEN"))}, f"state name '' {NOT_A_NAME}"),
        ({"states": (OPEN, DONE, State("ÖFFEN", parent="OPEN"))}, f"state name 'ÖFFEN' {NOT_A_NAME}"),
        (
            {"actions": [Action("open", "opened"), Action("finish", "finished!")]},
            f"event name 'finished!' {NOT_A_NAME}",
        ),
        ({"moves": [FINISH, ("7up", "OPEN", "DONE")]}, f"action name '7up' {NOT_A_NAME}"),
        ({"states": (OPEN, DONE, State("X", parent="NO"))}, "state 'X' names the unknown parent 'NO'"),
        (
            {"states": (OPEN, DONE, State("X", initial="NO"))},
            "state 'X' names the unknown initial child 'NO'",
        ),
        ({"moves": [FINISH, ("go", "NO", "DONE")]}, "action 'go' names the unknown source 'NO'"),
        ({"moves": [FINISH, ("go", "OPEN", "NO")]}, "action 'go' names the unknown target 'NO'"),
        (
            {"actions": [Action("open", "opened")]},
            "a transition names the unknown action 'finish'",
        ),
        ({"creates": "NO"}, "action 'open' names the unknown target 'NO'"),
        (
            {"states": (OPEN, DONE, State("X", parent="OPEN"))},
            "state 'OPEN' has children, but no initial one",
        ),
        (
            {"states": (OPEN, State("X", initial="DONE"), DONE)},
            "state 'DONE' is the initial child of 'X', but not its child",
        ),
        (
            {"states": (State("OPEN", initial="OPEN"), DONE)},
            "state 'OPEN' is the initial child of 'OPEN', but not its child",
        ),
        (
            {"states": (OPEN, State("DONE", initial="X", final=True), State("X", parent="DONE"))},
            "state 'DONE' is final, but has children",
        ),
        (
            {"moves": [FINISH, ("finish", "OPEN", "OPEN")]},
            "action 'finish' is ambiguous: 2 transitions leave OPEN",
        ),
        (
            {"moves": [FINISH, ("open", None, "DONE")]},
            "action 'open' is ambiguous: 2 transitions leave creation",
        ),
        ({"creates": None}, "nothing creates a manifest: no transition without a source"),
        (
            {"actions": [Action("open", "a"), Action("finish", "b"), Action("sleep", "c")]},
            "action 'sleep' is never used",
        ),
        ({"moves": [FINISH, ("reopen", "DONE", "OPEN")]}, "final state 'DONE' is left by 'reopen'"),
        (
            {
                "states": (OPEN, State("END", initial="DONE"), State("DONE", parent="END", final=True)),
                "moves": [FINISH, ("reopen", "END", "OPEN")],
            },
            "final state 'DONE' is left by 'reopen', inherited from 'END'",
        ),
        ({"states": (OPEN, DONE, State("LOST"))}, "state 'LOST' can't be reached"),
        (
            {
                "states": (OPEN, DONE, State("LOST", initial="CHILD"), State("CHILD", parent="LOST")),
                "moves": [FINISH, ("end", "LOST", "DONE")],
            },
            "state 'LOST' can't be reached",
        ),
        (
            {"states": (OPEN, DONE, State("PIT")), "moves": [FINISH, ("fall", "OPEN", "PIT")]},
            "state 'PIT' is a trap: it is not final, and nothing leads out of it",
        ),
        (
            {
                "states": (OPEN, DONE, State("PIT")),
                "moves": [FINISH, ("fall", "OPEN", "PIT"), ("dig", "PIT", "PIT")],
            },
            "state 'PIT' is a trap: it is not final, and nothing leads out of it",
        ),
        (
            {
                "states": (OPEN, DONE, State("A"), State("B")),
                "moves": [FINISH, ("fall", "OPEN", "A"), ("turn", "A", "B"), ("return", "B", "A")],
            },
            "state 'A' is a trap: no final state can be reached from it",
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
        f"state name 'A B' {NOT_A_NAME}",
        "state 'X' names the unknown parent 'NO'",
        "state 'X' names the unknown initial child 'NONE'",
        "action 'finish' names the unknown target 'NOWHERE'",
        "action 'finish' names the unknown source 'NEVER'",
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
        "state 'DONE' is the initial child of 'OPEN', but not its child",
        "action 'finish' is ambiguous: 2 transitions leave OPEN",
        "nothing creates a manifest: no transition without a source",
        "action 'sleep' is never used",
        "final state 'DONE' is left by 'finish'",
    ]


def test_all_mistakes_of_reach_are_reported_at_once():
    """Every state that can't be reached and every trap is in one error."""
    assert problems_of(
        states=(OPEN, DONE, State("LOST"), State("GONE"), State("PIT"), State("HOLE")),
        moves=[FINISH, ("fall", "OPEN", "PIT"), ("slip", "OPEN", "HOLE")],
    ) == [
        "state 'LOST' can't be reached",
        "state 'GONE' can't be reached",
        "state 'PIT' is a trap: it is not final, and nothing leads out of it",
        "state 'HOLE' is a trap: it is not final, and nothing leads out of it",
    ]


def test_mistakes_of_different_kinds_are_reported_at_once():
    """A malformed name doesn't hide an ambiguous action that has nothing to do with it."""
    problems = problems_of(states=(OPEN, DONE, State("A B")), moves=[FINISH, ("finish", "OPEN", "OPEN")])

    assert f"state name 'A B' {NOT_A_NAME}" in problems
    assert "action 'finish' is ambiguous: 2 transitions leave OPEN" in problems


def test_states_that_are_their_own_ancestors_are_named():
    """A circle of parents is refused, and every state on it is named."""
    assert problems_of(
        states=(OPEN, DONE, State("A", parent="B"), State("B", parent="C"), State("C", parent="A")),
        moves=[FINISH],
    ) == [f"state {name!r} is its own ancestor" for name in "ABC"]
    assert problems_of(states=(OPEN, DONE, State("A", parent="A")), moves=[FINISH]) == [
        "state 'A' is its own ancestor"
    ]


def test_a_child_of_a_circle_is_not_on_it():
    """A state whose parents go round in a circle is not blamed for it: only those on the circle are."""
    assert problems_of(
        states=(OPEN, DONE, State("CHILD", parent="A"), State("A", parent="B"), State("B", parent="A")),
        moves=[FINISH],
    ) == ["state 'A' is its own ancestor", "state 'B' is its own ancestor"]


@pytest.mark.parametrize("name", ["", "no good", "ticket\n"])
def test_the_charts_own_name_is_checked(name):
    """A chart's name is the first part of its event types and stands in logs for ever: it is a name as well."""
    with pytest.raises(InvalidDefinition):
        chart(moves=[FINISH], name=name)


def test_a_guard_that_is_not_given_is_reported():
    """A definition with a chart that names unknown guards can't be built; all of them are named."""
    guarded = chart(
        moves=[
            Transition("finish", "OPEN", "DONE", guards=("paid", "signed")),
            Transition("wait", "OPEN", "OPEN", guards=("patient",)),
        ]
    )

    with pytest.raises(InvalidDefinition) as caught:
        Definition(
            guarded, guards={"paid": lambda _state, _command: Verdict(agrees=True, reason="it is paid")}
        )

    assert caught.value.details["problems"] == [
        "action 'finish' names the unknown guard 'signed'",
        "action 'wait' names the unknown guard 'patient'",
    ]


@given(st.data())
@tries(200)
def test_any_chart_is_sound_or_refused(data):
    """However states and transitions are thrown together, building ends in a chart or in a list of problems."""
    names = ["A", "B", "C", "D"]
    maybe = st.one_of(st.none(), st.sampled_from(names))
    states = [State(n, data.draw(maybe), data.draw(maybe), data.draw(st.booleans())) for n in names]
    moves = data.draw(st.lists(st.tuples(st.sampled_from("xyz"), maybe, st.sampled_from(names)), max_size=6))

    try:
        found = chart(states, moves=moves, creates="A")
    except InvalidDefinition as error:
        assert error.details["problems"]  # noqa: PT017  # either outcome is right; both are looked at
        return

    for leaf in found.leaves:
        for move in found.transitions_from(leaf).values():
            assert found.entered(move.target) in found.leaves
            assert not found.state(leaf).final


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


def test_graphviz_reads_the_dot_diagrams():
    """What is written for Graphviz is what Graphviz reads, without a warning."""
    if shutil.which("dot") is None:
        assert os.environ.get("CI") != "true", "CI must have graphviz installed"
        pytest.skip("graphviz is not installed: `dot` can't try the diagrams")
    nested = chart(NESTED, moves=[("enter", "OPEN", "OUTER"), ("end", "OUTER", "DONE"), ("kill", "OPEN", "GONE"),
                                  ("move", "INNER", "BESIDE")])  # fmt: skip

    for text in (dot(CHART), dot(nested)):
        drawn = subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, check=False)

        assert (drawn.returncode, drawn.stderr) == (0, b"")
        assert b"<svg" in drawn.stdout
