"""What a chart does, held against SCXML's own algorithm; and every lifecycle walked to every place, by commands.

`tests.kit.naive` is the algorithm of the specification, written from its text. Here both take the same steps, in the
lifecycles that come with the package, in the examples, and in charts that are thrown together.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from registration.core.chart import Action, Chart, State, Timeout, Transition
from registration.core.chart_data import from_data
from registration.core.decider import fold
from registration.core.interpreter import enabled, shortest_paths, step, steps, time_out
from registration.core.policy import Policy
from registration.errors import GuardRefused, InvalidDefinition
from registration.rules.lifecycles.files import parse_lifecycle
from registration.rules.lifecycles.loading import SHIPPED, definition_of, shipped
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.times import later
from tests.kit.builders import Log, tries, weather
from tests.kit.naive import Naive
from tests.kit.thrown import thrown_lifecycles

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "lifecycles"


def example(name):
    path = EXAMPLES / f"{name}.toml"
    return parse_lifecycle(path.read_bytes(), source=str(path), form="toml")


LIFECYCLES = {name: shipped(name) for name in SHIPPED} | {
    name: example(name) for name in ("agent-upkeep", "parallel-reviews", "publishing")
}
"""The data form of every lifecycle that is there."""

DEFINITIONS = {name: definition_of(data) for name, data in LIFECYCLES.items()}

# -- what SCXML says, step by step -----------------------------------------------------------------------


def chart_of(states, *moves):
    """A chart of few words: moves are (action, source, target), and the first state is entered first."""
    transitions = (Transition("create", None, states[0].name), *(Transition(*move) for move in moves))
    actions = dict.fromkeys(move.action for move in transitions)
    return Chart("steps", tuple(states), tuple(Action(name, f"{name}_past") for name in actions), transitions)


def compound(name, *children, finals=(), **said):
    """A compound state and its children, the first of which is its initial one."""
    inside = [State(child, parent=name) for child in children]
    ends = [State(child, parent=name, final=True) for child in finals]
    return [State(name, initial=(*children, *finals)[0], **said), *inside, *ends]


TWO = [
    State("START"),
    State("BOTH", parallel=True, done="END"),
    *compound("L", "L1", "L2", finals=["L3"], parent="BOTH"),
    *compound("R", "R1", "R2", finals=["R3"], parent="BOTH"),
    State("END"),
    State("ELSE"),
]
"""Two regions, as the tests below like to have them."""

SOUND = [
    ("enter", "START", "BOTH"),
    *(("end_l", source, "L3") for source in ("L1", "L2")),
    *(("end_r", source, "R3") for source in ("R1", "R2")),
    ("go", "END", "ELSE"),
    ("leave", "ELSE", "START"),
    ("next", "L1", "L2"),
    ("turn", "R1", "R2"),
]
"""What makes them sound: nothing is out of reach, and nothing is a trap."""


def test_all_regions_are_entered_and_left_together():
    """A parallel state is entered in all its regions, also on the way to a state inside of one of them."""
    chart = chart_of(TWO, *SOUND, ("dive", "START", "R2"), ("stop", "BOTH", "ELSE"))

    assert step(chart, "START", "enter").place == "L1+R1"
    assert step(chart, "START", "dive").place == "L1+R2"
    out = step(chart, "L2+R1", "stop")
    assert (out.place, out.left) == ("ELSE", {"BOTH", "L", "L2", "R", "R1"})


def test_a_transition_inside_a_region_leaves_the_others_alone():
    """What is left is told, since time-outs of what stays run on."""
    taken = step(chart_of(TWO, *SOUND), "L1+R1", "next")

    assert (taken.place, taken.left) == ("L2+R1", {"L1"})


def test_a_transition_between_regions_leaves_them_all():
    """The innermost state that holds both ends and is not parallel is above them all, so all are entered again."""
    taken = step(chart_of(TWO, *SOUND, ("cross", "L2", "R2")), "L2+R1", "cross")

    assert (taken.place, taken.left) == ("L1+R2", {"BOTH", "L", "L2", "R", "R1"})


def test_regions_take_an_action_at_once():
    """Where regions have transitions of their own for one action, all are taken, and all are asked for their guards."""
    chart = chart_of(TWO, *SOUND, ("both", "L1", "L2"), ("both", "R1", "R2"))
    taken = step(chart, "L1+R1", "both")

    assert (taken.place, taken.left) == ("L2+R2", {"L1", "R1"})
    assert [move.source for move in taken.transitions] == ["L1", "R1"]
    assert [move.source for move in enabled(chart, "L1+R2", "both")] == ["L1"]


def test_of_transitions_that_leave_the_same_the_first_region_s_is_taken():
    """SCXML's removeConflictingTransitions, where neither source is inside the other."""
    chart = chart_of(TWO, *SOUND, ("out", "R1", "END"), ("out", "L1", "ELSE"), ("out", "L2", "L1"))

    assert step(chart, "L1+R1", "out").place == "ELSE"
    # The one of L2 leaves nothing that the one of R1 would leave alone: it is first, and wins.
    assert step(chart, "L2+R1", "out").place == "L1+R1"


def test_of_transitions_that_leave_the_same_the_inner_one_is_taken():
    """An inner source goes before an outer one, wherever they stand. Both have to be of the same leaf's ancestors."""
    chart = chart_of(TWO, *SOUND, ("out", "BOTH", "ELSE"), ("out", "R1", "R2"))
    taken = step(chart, "L1+R1", "out")

    # L1 inherits the one of BOTH, which comes first; R1's own is inside BOTH and takes its place.
    assert taken.place == "L1+R2"
    assert step(chart, "L1+R2", "out").place == "ELSE"


def test_a_transition_to_itself_leaves_a_state_and_enters_it_again():
    """SCXML's external transitions: what is inside begins anew."""
    chart = chart_of(TWO, *SOUND, ("restart", "BOTH", "BOTH"), ("again", "L2", "L2"))

    assert step(chart, "L2+R2", "restart").place == "L1+R1"
    assert step(chart, "L2+R2", "again").left == {"L2"}


def test_a_transition_of_a_region_itself_leaves_all_regions():
    """What holds a region is parallel and can't stay without it: so it is left, and all regions begin anew."""
    chart = chart_of(TWO, *SOUND, ("again", "L", "L1"))
    taken = step(chart, "L2+R2", "again")

    assert (taken.place, taken.left) == ("L1+R1", {"BOTH", "L", "L2", "R", "R2"})


def test_a_parallel_state_is_done_when_all_its_regions_are():
    """SCXML's done.state.ID of a parallel state: the last region to end takes it along."""
    chart = chart_of(TWO, *SOUND)
    one = step(chart, "L1+R2", "end_l")
    other = step(chart, one.place, "end_r")

    assert (one.place, one.joined) == ("L3+R2", ())
    assert (other.place, other.joined) == ("END", ("BOTH",))
    assert other.left == {"BOTH", "L", "L3", "R", "R2", "R3"}


def test_done_goes_in_the_order_of_the_events():
    """This went wrong: with two regions that end at once, the state around them was taken for the inner one.

    SCXML tells of what is done by final states, in the order of the document; L has nowhere to go, R has. Since R is left
    for END together with everything around it, BOTH, which would be next, does not go.
    """
    states = [State("START"), State("BOTH", parallel=True, done="ELSE"), State("L", parent="BOTH", initial="L1"),
              State("L1", parent="L"), State("L2", parent="L", final=True),
              State("R", parent="BOTH", initial="R1", done="END"), State("R1", parent="R"),
              State("R2", parent="R", final=True), State("END"), State("ELSE")]  # fmt: skip
    chart = chart_of(
        states, ("enter", "START", "BOTH"), ("end", "L1", "L2"), ("end", "R1", "R2"), ("go", "END", "ELSE"),
        ("leave", "ELSE", "START"),
    )  # fmt: skip
    taken = step(chart, "L1+R1", "end")

    assert (taken.place, taken.joined) == ("END", ("R",))


def test_every_region_that_ends_is_told_of():
    """Where regions end at once, each of them may have somewhere to go, the first one as well."""
    states = [State("START"), State("BOTH", parallel=True, done="ELSE"),
              *compound("L", "L1", finals=["L2"], parent="BOTH", done="END"),
              *compound("R", "R1", finals=["R2"], parent="BOTH"), State("END"), State("ELSE")]  # fmt: skip
    chart = chart_of(
        states, ("enter", "START", "BOTH"), ("end", "L1", "L2"), ("end", "R1", "R2"), ("go", "END", "ELSE"),
        ("leave", "ELSE", "START"),
    )  # fmt: skip
    taken = step(chart, "L1+R1", "end")

    assert (taken.place, taken.joined) == ("END", ("L",))


def test_a_parallel_region_makes_what_is_around_it_done():
    """SCXML looks one level up only; here a parallel state that is a region counts like any other."""
    states = [State("START"), State("OUTER", parallel=True, done="END"),
              State("INNER", parent="OUTER", parallel=True),
              *compound("A", "A1", finals=["A2"], parent="INNER"), *compound("B", "B1", finals=["B2"], parent="INNER"),
              *compound("C", "C1", finals=["C2"], parent="OUTER"), State("END")]  # fmt: skip
    moves = [("enter", "START", "OUTER"), ("back", "END", "START")]
    chart = chart_of(states, *moves, *((f"end_{name}", f"{name}1", f"{name}2") for name in "ABC"))

    assert step(chart, "A1+B2+C2", "end_A").joined == ("OUTER",)
    assert step(chart, "A2+B2+C1", "end_C").place == "END"
    assert step(chart, "A1+B1+C2", "end_A").place == "A2+B1+C2"


def test_done_states_follow_on_each_other():
    """Where a state goes when it is done may end the one around it: all of it is one step."""
    states = [State("START"), State("OUTER", initial="INNER", done="END"),
              *compound("INNER", "WORK", finals=["WORKED"], parent="OUTER", done="OVER"),
              State("OVER", parent="OUTER", final=True), State("END")]  # fmt: skip
    taken = step(
        chart_of(states, ("go", "START", "OUTER"), ("work", "WORK", "WORKED"), ("back", "END", "START")),
        "WORK",
        "work",
    )

    assert (taken.place, taken.joined) == ("END", ("INNER", "OUTER"))
    assert taken.left == {"WORK", "WORKED", "INNER", "OVER", "OUTER"}


def test_history_is_shallow():
    """It remembers the child, not what was active inside of the child."""
    states = [State("START"), State("ON", initial="LOW"), State("LOW", parent="ON"),
              *compound("HIGH", "H1", "H2", parent="ON"),
              State("BACK", parent="ON", history=True, initial="LOW"), State("OFF")]  # fmt: skip
    chart = chart_of(states, ("on", "START", "ON"), ("up", "LOW", "HIGH"), ("more", "H1", "H2"), ("off", "ON", "OFF"),
                     ("resume", "OFF", "BACK"), ("restart", "OFF", "START"))  # fmt: skip
    out = step(chart, "H2", "off")

    assert out.history == {"ON": "HIGH"}
    assert step(chart, "OFF", "resume", out.history).place == "H1"
    assert step(chart, "OFF", "resume", {}).place == "LOW"
    assert step(chart, "OFF", "restart", out.history).history == {
        "ON": "HIGH"
    }  # it is kept until it is left again


def test_a_region_may_begin_where_it_was():
    """An initial state may be a history state, also where the region is entered beside another."""
    states = [State("START"), State("BOTH", parallel=True),
              State("L", parent="BOTH", initial="L1"), State("L1", parent="L"), State("L2", parent="L"),
              State("R", parent="BOTH", initial="R_LAST"), State("R1", parent="R"), State("R2", parent="R"),
              State("R_LAST", parent="R", history=True, initial="R1")]  # fmt: skip
    chart = chart_of(states, ("enter", "START", "BOTH"), ("dive", "START", "L2"), ("turn", "R1", "R2"),
                     ("leave", "BOTH", "START"))  # fmt: skip
    left = step(chart, "L1+R2", "leave")

    assert left.history == {"R": "R2"}
    assert step(chart, "START", "enter", left.history).place == "L1+R2"
    assert step(chart, "START", "dive", left.history).place == "L2+R2"
    assert step(chart, "START", "dive").place == "L2+R1"


def test_a_time_out_of_what_is_not_active_leads_nowhere():
    """It may be due in a log and not there any more, after a lifecycle was replaced."""
    timeout = Timeout("tire", "tired", "L", "1d", "END")
    chart = chart_of(TWO, *SOUND)

    assert time_out(chart, "START", timeout) is None
    assert time_out(chart, "L1+R2", timeout).place == "END"


# -- every lifecycle against the specification -----------------------------------------------------------


class Both:
    """The same manifest twice: as the package has it, and as the specification's algorithm has it."""

    def __init__(self, data):
        self.chart, self.naive = from_data(data), Naive(data)
        self.place, self.history = None, {}

    def do(self, action):
        """Try an action in both; the step, or None where neither can take it."""
        return self._same(step(self.chart, self.place, action, self.history), self.naive.do(action))

    def time_out(self, timeout):
        """Let a time-out happen in both; the step, or None where its state is not active."""
        return self._same(
            time_out(self.chart, self.place, timeout, self.history), self.naive.time_out(timeout.name)
        )

    def _same(self, taken, happened):
        assert (taken is not None) is happened
        if taken is not None:
            assert taken.place == self.naive.place
            assert taken.left == self.naive.exited
            assert list(taken.joined) == self.naive.joined
            assert taken.history == self.naive.remembered
            self.place, self.history = taken.place, taken.history
        return taken

    def check_what_can_be_done(self):
        """Both can do the same, and the configuration is one that SCXML allows."""
        able = {action.name for action in self.chart.actions if self.naive.can(action.name)}
        assert set(steps(self.chart, self.place, self.history)) == able
        if self.place is not None:
            assert self.chart.active(self.place) == self.naive.configuration
            assert_legal(self.naive)


def assert_legal(naive):
    """Exactly one child of each active compound state, and all of each parallel one, is active (SCXML, 3.11)."""
    for name in naive.configuration:
        active = [child for child in naive.children(name) if child in naive.configuration]
        if naive.states[name].get("parallel"):
            assert active == naive.children(name)
        elif naive.children(name):
            assert len(active) == 1
    assert len([name for name in naive.configuration if naive.parent(name) == ""]) == 1


@given(thrown_lifecycles(), st.randoms(use_true_random=False))
@tries(60)
def test_any_chart_does_what_scxml_does(data, random):
    """Nested, parallel, with history and done: every step of a chart is that of the specification's algorithm."""
    try:
        both = Both(data)
    except InvalidDefinition:
        assume(False)  # a circle of states that are done, or more places than are taken
    both.do("create")
    every = [action.name for action in both.chart.actions]
    local = every[1:4]
    for n in range(30):
        if n % 6 == 0:
            both.check_what_can_be_done()
        if both.chart.timeouts and random.random() < 0.1:
            both.time_out(random.choice(both.chart.timeouts))
        else:
            both.do(random.choice(local if random.random() < 0.6 else every))


def machine(data):
    """A state machine of hypothesis for one lifecycle: random actions and time-outs, in both at once."""

    class OneManifest(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.both = Both(data)

        @initialize()
        def create(self):
            assert self.both.do("create") is not None

        @rule(action=st.sampled_from([action["name"] for action in data["actions"]]))
        def act(self, action):
            self.both.do(action)

        @rule(choices=st.data())
        def go_on(self, choices):
            possible = [*steps(self.both.chart, self.both.place, self.both.history), None]
            if (action := choices.draw(st.sampled_from(possible))) is not None:
                assert self.both.do(action) is not None

        @rule(choices=st.data())
        def wait(self, choices):
            for timeout in self.both.chart.timeouts:
                if choices.draw(st.booleans()):
                    self.both.time_out(timeout)

        @invariant()
        def same(self):
            self.both.check_what_can_be_done()

    return OneManifest


@pytest.mark.parametrize("name", LIFECYCLES)
def test_every_lifecycle_does_what_scxml_does(name):
    """Whatever is done in whatever order, a manifest is where the specification's algorithm has it."""
    run_state_machine_as_test(machine(LIFECYCLES[name]), settings=tries(60))


# -- every lifecycle walked, by commands -----------------------------------------------------------------

PEOPLE = Policy(roles={"security": ("sam", "sue", "max"), "legal": ("lea", "max")})


class Walk(Log):
    """A log that is written under a policy, by whoever its guards let act."""

    def __init__(self, name):
        super().__init__(definition=DEFINITIONS[name], policy=PEOPLE)

    def act(self, action, actor, **said):
        """Carry out one command, with all that the lifecycles want to be told."""
        said = {"reason": "it is time", "context": {"evaluation": "https://example.com/7"}, **said}
        if self.definition.chart.action(action).document:
            said["document"] = weather(edition=len(self.events))
        return self.do(action, actor=actor, **said)

    def act_somehow(self, action):
        """The same by the first of all people who may."""
        refusals = []
        for actor in ("ana", "sam", "lea"):
            try:
                return self.act(action, actor)
            except GuardRefused as error:
                refusals.append(error)
        raise refusals[-1]

    def wait(self, seconds=0):
        """Let the time-out that is due first happen, so many seconds after it was."""
        return self.fire(later(min(self.state.facts["due"].values()), seconds))

    def way(self, *labels):
        """Go a way of actions and time-outs."""
        for label in labels:
            if self.definition.chart.has_action(label):
                self.act_somehow(label)
            else:
                self.wait()
        return self

    def check(self):
        """What is folded from the bytes of the log is what is there."""
        assert fold(self.definition, None, self.scan().events) == self.state


WAYS = [
    (name, place, way)
    for name, definition in DEFINITIONS.items()
    for place, way in shortest_paths(definition.chart).items()
]


@pytest.mark.parametrize(("name", "place", "way"), WAYS, ids=[f"{name}-{place}" for name, place, _ in WAYS])
def test_every_place_is_reached_by_commands(name, place, way):
    """Each shortest path is a way that people can go: no guard bars it, and it ends where the chart says."""
    log = Walk(name)

    for taken in way:
        log.way(taken.label)

        assert log.state.state == taken.place
        assert log.state.facts.get("history", {}) == taken.history
        assert tuple(log.events[-1].data.get("joined", ())) == taken.joined
    assert log.state.state == place
    log.check()


def test_every_place_of_every_lifecycle_is_among_them():
    """The ways above leave nothing out: every leaf of every lifecycle is walked to."""
    for name, definition in DEFINITIONS.items():
        walked = {leaf for n, place, _ in WAYS if n == name for leaf in place.split("+")}
        final = {state.name for state in definition.chart.states if state.final}

        assert walked | final >= set(definition.chart.leaves)
        assert len([place for n, place, _ in WAYS if n == name]) >= 4


@pytest.mark.parametrize("name", LIFECYCLES)
def test_what_undoes_an_action_leads_back(name):
    """`undone_by` is a promise: from some place at least, the one leads to where the other came from."""
    chart = DEFINITIONS[name].chart
    leads_back = set()
    for place in shortest_paths(chart):
        for action, taken in steps(chart, place).items():
            back = chart.action(action).undone_by
            again = back and step(chart, taken.place, back, taken.history)
            if again and again.place == place:
                leads_back.add(action)

    assert leads_back == {action.name for action in chart.actions if action.undone_by is not None}


# -- what the lifecycles promise -------------------------------------------------------------------------


def test_upkeep_means_the_same_by_the_same_words():
    """Every action of the built-in lifecycle leads to the same place in the one with upkeep."""
    chart, upkeep = REGISTRATION.chart, DEFINITIONS["registration-upkeep"].chart

    for place in (None, *chart.leaves):
        for action, taken in steps(chart, place).items():
            assert step(upkeep, place, action).place == taken.place
            assert upkeep.action(action).past == chart.action(action).past
            assert upkeep.action(action).document is chart.action(action).document
            assert upkeep.action(action).approval is chart.action(action).approval


def test_upkeep_has_no_state_that_can_not_be_left():
    """Irreversible states trap people: from everywhere, a manifest can come into force again."""
    chart = DEFINITIONS["registration-upkeep"].chart

    assert not any(state.final for state in chart.states)
    for place in shortest_paths(chart):
        assert "REGISTERED" in ways_on(chart, place)


def ways_on(chart, place):
    """The places that can be reached from one, by actions alone."""
    seen, waiting = {place}, [place]
    for here in waiting:
        for taken in steps(chart, here).values():
            if taken.place not in seen:
                seen.add(taken.place)
                waiting.append(taken.place)
    return seen


@pytest.mark.parametrize("action", ["request_changes", "suspend", "deprecate", "withdraw", "reject"])
def test_upkeep_wants_a_reason_where_something_is_taken_away(action):
    """Whoever takes something away says why."""
    log = Walk("registration-upkeep").way("create", "submit_for_review", "approve")
    if action in ("suspend", "deprecate", "withdraw"):
        log.way("register")

    with pytest.raises(GuardRefused, match="reason is required"):
        log.act(action, "ben", reason=None)
    log.act(action, "ben")


def test_what_is_resumed_is_what_it_was():
    """A deprecated manifest that was suspended is deprecated again, and a registered one registered."""
    up_to = ("create", "submit_for_review", "approve", "register")

    for more, place in (
        (("suspend", "resume"), "REGISTERED"),
        (("deprecate", "suspend", "resume"), "DEPRECATED"),
    ):
        log = Walk("registration-upkeep").way(*up_to, *more)

        assert log.state.state == place
        log.check()


@pytest.mark.parametrize("back", ["recall", "reject", "request_changes", "retract_approval"])
def test_approvals_end_where_upkeep_goes_back(back):
    """Whatever leads back in a review ends the approvals: they have to be given anew."""
    log = Walk("registration-upkeep").way("create", "submit_for_review", "approve", "approve")

    assert len(log.state.approvals) == 2
    assert log.way(back).state.approvals == ()


def test_an_agent_falls_out_of_force_when_nobody_certifies_it():
    """Half a year, then two weeks; and a suspension is no way around it."""
    log = Walk("agent-upkeep")
    log.way("create", "submit_for_review", "approve", "register")
    registered_at = log.state.updated_at

    assert log.wait(3_600).state == "RECERTIFICATION_DUE"
    assert log.state.updated_at == later(registered_at, 26 * 7 * 86_400)
    assert log.way("suspend", "resume").state.state == "RECERTIFICATION_DUE"
    assert log.wait().state == "SUSPENDED"
    assert log.state.updated_at == later(log.events[-2].time, 14 * 86_400)
    assert log.way("resume", "recertify").state.state == "REGISTERED"
    assert log.state.facts["due"] == {
        "call_for_recertification": later(log.state.updated_at, 26 * 7 * 86_400)
    }
    log.check()


def test_an_agent_is_certified_by_somebody_else_and_on_evidence():
    """The author can't, and the evaluation must be named."""
    log = Walk("agent-upkeep").way("create", "submit_for_review", "approve", "register")

    with pytest.raises(GuardRefused, match="another person"):
        log.act("recertify", "ana")
    with pytest.raises(GuardRefused, match=r"context\.evaluation is required"):
        log.act("recertify", "sam", context=None)


def test_a_draft_that_is_worked_on_does_not_expire():
    """The time-out slides: every revision starts it again."""
    log = Walk("agent-upkeep").way("create")
    first = log.state.facts["due"]["expire"]
    log.way("revise")

    assert log.state.facts["due"]["expire"] == later(log.state.updated_at, 30 * 86_400) > first
    assert log.wait().state == "EXPIRED"
    assert log.way("reopen").state.state == "DRAFT"


def test_reviews_in_parallel_are_joined_in_either_order():
    """The last of the two takes the manifest out of review."""
    for order in (("approve_security", "approve_legal"), ("approve_legal", "approve_security")):
        log = Walk("parallel-reviews").way("create", "submit_for_review", *order)

        assert log.state.state == "APPROVED"
        assert log.events[-1].data["joined"] == ["IN_REVIEW"]
        assert "joined" not in log.events[-2].data
        assert log.way("register").state.state == "REGISTERED"


def test_a_quorum_counts_people_and_not_approvals():
    """Somebody who is in both roles ends both reviews and counts once: it takes one more."""
    log = Walk("parallel-reviews").way("create", "submit_for_review")
    log.act("approve_security", "max")
    log.act("approve_legal", "max")

    with pytest.raises(GuardRefused, match="1 of 2 approvals"):
        log.act("register", "ana")
    log.act("approve", "ben")
    assert log.act("register", "ana").state == "REGISTERED"


def test_a_review_is_for_those_who_are_in_its_role():
    """Each region asks for its own role, and for somebody other than the author."""
    log = Walk("parallel-reviews")
    log.act("create", "sam")
    log.way("submit_for_review")

    with pytest.raises(GuardRefused, match="is not legal"):
        log.act("approve_legal", "sue")
    with pytest.raises(GuardRefused, match="another person"):
        log.act("approve_security", "sam")
    assert log.act("approve_security", "sue").state == "SECURITY_DONE+LEGAL_OPEN"
    assert log.act("reject", "lea").state == "DRAFT"
    assert log.state.approvals == ()


def test_an_embargo_ends_by_itself():
    """What is scheduled comes out two days later, and nobody must be there; or somebody publishes it before."""
    up_to = ("create", "submit", "request_fact_check", "clear", "schedule")
    log = Walk("publishing").way(*up_to)
    scheduled_at = log.state.updated_at

    assert log.wait(60).state == "PUBLISHED"
    assert log.state.updated_at == later(scheduled_at, 2 * 86_400)
    assert Walk("publishing").way(*up_to, "publish").state.state == "PUBLISHED"


def test_an_article_comes_back_as_it_was():
    """Corrected articles come back corrected, whichever way they went; a correction begins the two years anew."""
    log = Walk("publishing")
    log.way("create", "submit", "request_fact_check", "clear", "publish")
    first = log.state.facts["due"]["age"]
    log.way("correct")

    assert log.state.facts["due"]["age"] == later(log.state.updated_at, 104 * 7 * 86_400) > first
    for away, back in (("retract", "republish"), ("archive", "unarchive"), ("age", "unarchive")):
        assert log.way(away, back).state.state == "CORRECTED"
    log.check()


def test_what_is_edited_after_it_was_cleared_is_checked_again():
    """Another document ends the approval of the one before; and who wrote it can't clear it."""
    log = Walk("publishing")
    log.way("create", "submit", "request_fact_check", "clear")
    log.act("revise", "sam")

    assert (log.state.state, log.state.approvals) == ("EDITING", ())
    log.way("request_fact_check")
    with pytest.raises(GuardRefused, match="another person"):
        log.act("clear", "sam")
    assert log.act("clear", "lea").state == "CLEARED"
