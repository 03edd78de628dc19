"""Lifecycle files: what they say, what is wrong with them, and what hostile ones end in."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registration.core.chart import Action, GuardUse, State, Timeout, Transition
from registration.core.chart_data import as_data, from_data
from registration.core.decider import fold
from registration.core.policy import Verdict
from registration.errors import InvalidArgument, InvalidDefinition
from registration.rules.guards.builtin import approvals
from registration.rules.lifecycles import file_syntax, files
from registration.rules.lifecycles.files import check_lifecycle, parse_lifecycle
from registration.rules.lifecycles.loading import SHIPPED, definition_of, shipped
from registration.rules.lifecycles.registration import CHART, REGISTRATION
from tests.kit.builders import Log, tries
from tests.kit.thrown import thrown_lifecycles

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples" / "lifecycles").glob("*.toml"))

TICKETS = """\
name = "tickets"

[states.OPEN]
[states.DONE]
final = true

[actions.open]
past = "opened"
document = true
to = "OPEN"

[actions.finish]
past = "finished"
from = "OPEN"
to = "DONE"
"""
"""A small lifecycle that is sound; what is wrong with others is added to it."""


def read(text, form="toml", **more):
    return parse_lifecycle(text.encode(), source="tickets.toml", form=form, **more)


def problems_of(text, form="toml", **more):
    """What a file is refused for."""
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(InvalidDefinition) as caught:
        parse_lifecycle(raw, source="tickets.toml", form=form, **more)
    assert str(caught.value).startswith("The lifecycle 'tickets.toml' has ")
    return caught.value.details["problems"]


# -- the format ------------------------------------------------------------------------------------------

EVERYTHING = """\
format = 1
name = "parallel-reviews"
version = 3
title = "Zwei Prüfungen ☂"

[states.DRAFT]
title = "Draft"
[states.IN_REVIEW]
parallel = true
done = "ACTIVE"
[states.SECURITY]
parent = "IN_REVIEW"
initial = "SECURITY_OPEN"
[states.SECURITY_OPEN]
parent = "SECURITY"
[states.SECURITY_DONE]
parent = "SECURITY"
final = true
[states.LEGAL]
parent = "IN_REVIEW"
initial = "LEGAL_OPEN"
[states.LEGAL_OPEN]
parent = "LEGAL"
[states.LEGAL_DONE]
parent = "LEGAL"
final = true
[states.ACTIVE]
initial = "REGISTERED"
[states.REGISTERED]
parent = "ACTIVE"
[states.OLD]
parent = "ACTIVE"
[states.LAST]
parent = "ACTIVE"
history = true
initial = "REGISTERED"
[states.EXPIRED]
[states.GONE]
final = true

[actions.create]
past = "created"
document = true
to = "DRAFT"
[actions.submit]
past = "submitted"
from = "DRAFT"
to = "IN_REVIEW"
undone_by = "reject"
[actions.approve]
title = "Approve"
past = "approved"
approval = true
moves = [
    { from = "SECURITY_OPEN", to = "SECURITY_DONE", guards = ["not_the_author", { guard = "role", any = ["sec"] }] },
    { from = "LEGAL_OPEN", to = "LEGAL_DONE" },
]
[actions.reject]
past = "rejected"
from = ["IN_REVIEW", "ACTIVE"]
to = "DRAFT"
guards = ["reason_given"]
required = ["reason", "context.ticket"]
lapses = true
[actions.age]
past = "aged"
from = "REGISTERED"
to = "OLD"
[actions.revive]
past = "revived"
from = "EXPIRED"
to = "LAST"
[actions.drop]
past = "dropped"
from = "EXPIRED"
to = "GONE"

[timeouts.expire]
past = "expired"
state = "ACTIVE"
after = "14d"
to = "EXPIRED"
sliding = true
"""


def test_everything_that_a_file_can_say():
    """Each member of the format has its place in the chart; a list of states is a transition from each."""
    chart = from_data(read(EVERYTHING))

    assert (chart.name, chart.title) == ("parallel-reviews", "Zwei Prüfungen ☂")
    assert chart.states[:3] == (
        State("DRAFT", title="Draft"),
        State("IN_REVIEW", parallel=True, done="ACTIVE"),
        State("SECURITY", parent="IN_REVIEW", initial="SECURITY_OPEN"),
    )
    assert chart.state("SECURITY_DONE") == State("SECURITY_DONE", parent="SECURITY", final=True)
    assert chart.state("LAST") == State("LAST", parent="ACTIVE", history=True, initial="REGISTERED")
    assert chart.actions[:4] == (
        Action("create", "created", document=True),
        Action("submit", "submitted", undone_by="reject"),
        Action("approve", "approved", approval=True, title="Approve"),
        Action("reject", "rejected", lapses=True, required=("reason", "context.ticket")),
    )
    assert chart.transitions[:6] == (
        Transition("create", None, "DRAFT"),
        Transition("submit", "DRAFT", "IN_REVIEW"),
        Transition(
            "approve",
            "SECURITY_OPEN",
            "SECURITY_DONE",
            (GuardUse("not_the_author"), GuardUse("role", {"any": ["sec"]})),
        ),
        Transition("approve", "LEGAL_OPEN", "LEGAL_DONE"),
        Transition("reject", "IN_REVIEW", "DRAFT", (GuardUse("reason_given"),)),
        Transition("reject", "ACTIVE", "DRAFT", (GuardUse("reason_given"),)),
    )
    assert chart.transitions[2].guards[1].parameters == {"any": ["sec"]}
    assert chart.timeouts == (Timeout("expire", "expired", "ACTIVE", "14d", "EXPIRED", sliding=True),)


def test_what_is_left_out_is_as_usual():
    """Format and version are 1, and nothing else is said in the data form than what was said."""
    assert read(TICKETS) == {
        "format": 1,
        "name": "tickets",
        "version": 1,
        "states": [{"name": "OPEN"}, {"name": "DONE", "final": True}],
        "actions": [
            {"name": "open", "past": "opened", "document": True, "moves": [{"to": "OPEN"}]},
            {"name": "finish", "past": "finished", "moves": [{"from": "OPEN", "to": "DONE"}]},
        ],
    }
    assert read(EVERYTHING)["version"] == 3


def test_one_lifecycle_in_three_forms_is_the_same():
    """As TOML, as JSON with tables, and as what is printed: one data form, and so one digest."""
    as_tables = json.dumps(tomllib.loads(EVERYTHING))
    printed = read(EVERYTHING)

    assert read(as_tables, "json") == printed
    assert read(json.dumps(printed), "json") == printed
    assert read(toml_of(printed)) == printed
    assert check_lifecycle(tomllib.loads(EVERYTHING), source="a program") == printed


def toml_of(value):
    """JSON values as TOML, each member of the top in a line."""

    def inline(value):
        if isinstance(value, dict):
            return (
                "{"
                + ", ".join(
                    f"{json.dumps(name, ensure_ascii=False)} = {inline(item)}" for name, item in value.items()
                )
                + "}"
            )
        if isinstance(value, list):
            return "[" + ", ".join(map(inline, value)) + "]"
        return json.dumps(value, ensure_ascii=False)

    return "".join(f"{name} = {inline(item)}\n" for name, item in value.items())


@st.composite
def dressed_lifecycles(draw):
    """A lifecycle that was thrown together, with all that can be said besides where things lead."""
    data = draw(thrown_lifecycles())
    titles = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), max_size=10)
    names = [action["name"] for action in data["actions"]]
    uses = st.sampled_from([
        "reason_given", "not_the_author", {"guard": "not_the_author", "scope": "manifest"},
        {"guard": "approvals", "count": 2, "roles": {"legal": 1}}, {"guard": "role", "any": ["a", "ß"]},
    ])  # fmt: skip
    data |= {"version": draw(st.integers(1, 2**53)), "title": draw(titles)}
    for state in data["states"]:
        state["title"] = draw(titles)
    for action in data["actions"]:
        action["title"] = draw(titles)
        action["required"] = draw(st.lists(st.sampled_from(["actor", "reason", "context.x y"]), max_size=2))
        action.update({name: draw(st.booleans()) for name in ("document", "approval", "lapses")})
        action.update(draw(st.sampled_from([{}, {"undone_by": draw(st.sampled_from(names))}])))
        for move in action["moves"]:
            move["guards"] = draw(st.lists(uses, max_size=2))
    for timeout in data["timeouts"]:
        timeout["sliding"] = draw(st.booleans())
    return data


@given(dressed_lifecycles())
@tries(60)
def test_what_is_printed_can_be_read_again(data):
    """Any chart as data, written as JSON or TOML, is the same chart when it is read, and has the same digest."""
    try:
        chart = from_data(data)
    except InvalidDefinition:
        assume(False)  # those that are thrown together may have a circle of states that are done
    printed = as_data(chart, data["version"])

    again = read(json.dumps(printed), "json")

    assert again == printed
    assert from_data(again) == chart
    assert [move.guards for move in from_data(again).transitions] == [
        move.guards for move in chart.transitions
    ]
    assert read(toml_of(printed)) == printed


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_sound(path):
    """Each example can be used as it is, and is called what its file is called."""
    data = parse_lifecycle(path.read_bytes(), source=str(path), form="toml")

    assert data["name"] == path.stem
    assert definition_of(data).data == data


def test_the_example_in_the_documentation_is_sound():
    """What `registration.rules.lifecycles.files` shows is what it reads."""
    shown = (files.__doc__ or "").split("::\n\n", 1)[1].split("\nAn action that leads")[0]
    text = "\n".join(line.removeprefix("    ") for line in shown.splitlines())

    assert [state["name"] for state in read(text)["states"]] == ["OPEN", "DONE"]


# -- mistakes --------------------------------------------------------------------------------------------

OF_THE_FILE = "There are format, name, version, title, states, actions, timeouts"
OF_STATES = "There are parent, initial, final, parallel, done, history, title"
OF_ACTIONS = "There are past, document, approval, lapses, required, undone_by, title, from, to, guards, moves, shared, claims, releases"


def tickets(old, new):
    """The sound lifecycle with a mistake in it."""
    assert TICKETS.count(old) == 1
    return TICKETS.replace(old, new)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        # the syntax
        ("name = ", "it is not TOML: Invalid value (at end of document)"),
        ("[states\n", "it is not TOML: Expected ']' at the end of a table declaration (at line 1, column 8)"),
        (TICKETS + "[states.OPEN]\n", "it is not TOML: Cannot declare ('states', 'OPEN') twice (at line 16, column 13)"),
        (b"name = '\xff'", "byte 8 is not UTF-8 (invalid start byte)"),
        (b"\xef\xbb\xbfname = 'x'", "it begins with a byte order mark; save it as UTF-8 without a BOM"),
        # JSON values
        ("title = 2026-01-01\n" + TICKETS, "title: a date is not a JSON value"),
        ("version = inf\n" + TICKETS, "version: it is not a finite number (NaN, or beyond ±1.8e308)"),
        ("version = 9007199254740993\n" + TICKETS, "version: the integer is beyond ±2^53; write it as text"),
        (TICKETS + 'guards = [{ guard = "g", on = [2026-01-01] }]\n',
         "actions.finish.guards[0].on[0]: a date is not a JSON value"),
        # members
        (tickets("final = true", "finale = true"),
         f"states.DONE.finale: unknown member. Did you mean 'final'? {OF_STATES}"),
        (tickets('past = "finished"', "past = 'finished'\nauthor = 1"),
         f"actions.finish.author: unknown member. {OF_ACTIONS}"),
        (tickets('past = "finished"', "past = 'finished'\nform = 'OPEN'"),
         f"actions.finish.form: unknown member. Did you mean 'from'? {OF_ACTIONS}"),
        ("nmae = 'x'\n" + TICKETS, f"nmae: unknown member. Did you mean 'name'? {OF_THE_FILE}"),
        (TICKETS + "[timeouts.t]\nto = 'DONE'\nstate = 'OPEN'\npast = 'p'\nafter = '1d'\nslidng = true\n",
         "timeouts.t.slidng: unknown member. Did you mean 'sliding'? There are past, state, after, to, sliding"),
        (tickets('from = "OPEN"\nto = "DONE"', "moves = [{ from = 'OPEN', to = 'DONE', guard = 'role' }]"),
         "actions.finish.moves[0].guard: unknown member. Did you mean 'guards'? There are from, to, guards"),
        (TICKETS + "[states.DONE.schema]\n", f"states.DONE.schema: unknown member. {OF_STATES}"),
        # what is missing
        (tickets('name = "tickets"\n', ""), "name: it is missing"),
        ('name = "x"\n[actions]\n', "states: it is missing"),
        ('name = "x"\n[states]\n', "actions: it is missing"),
        (tickets('past = "finished"\n', ""), "actions.finish.past: it is missing"),
        (tickets('to = "DONE"\n', ""),
         "actions.finish.to: it is missing; give the target state, or `moves`"),
        (tickets('from = "OPEN"\nto = "DONE"', "moves = [{ from = 'OPEN' }]"), "actions.finish.moves[0].to: it is missing"),
        (TICKETS + "[timeouts.t]\nto = 'DONE'\nstate = 'OPEN'\npast = 'p'\n", "timeouts.t.after: it is missing"),
        (TICKETS + "guards = [{ count = 2 }]\n", "actions.finish.guards[0].guard: it is missing"),
        # types
        (tickets('name = "tickets"', "name = 7"), "name: it must be text, not 7"),
        ("version = 0\n" + TICKETS, "version: it must be 1 or more, not 0"),
        ("version = '1'\n" + TICKETS, "version: it must be an integer, not '1'"),
        ("version = true\n" + TICKETS, "version: it must be an integer, not true"),
        ("version = 1.0\n" + TICKETS, "version: it must be an integer, not 1.0"),
        ("format = 2\n" + TICKETS, "format: it must be 1, not 2"),
        ("title = ['x']\n" + TICKETS, "title: it must be text, not a list"),
        (f"title = '{'x' * 201}'\n" + TICKETS, "title: it has more than 200 characters"),
        ('title = "a\\u001b[31m"\n' + TICKETS, r"title: it has characters that can't be printed (found 'a\x1b[31m')"),
        (tickets("final = true", "final = 'yes'"), "states.DONE.final: it must be true or false, not 'yes'"),
        (tickets("final = true", "final = 1"), "states.DONE.final: it must be true or false, not 1"),
        (tickets("[states.OPEN]", "[states]\nOPEN = 1"), "states.OPEN: it must be a table, not 1"),
        ("name = 'x'\nstates = 5\n[actions]\n", "states: it must be a table, not 5"),
        (TICKETS + "required = 'reason'\n", "actions.finish.required: it must be a list, not 'reason'"),
        (TICKETS + "required = [1]\n", "actions.finish.required[0]: it must be text, not 1"),
        (tickets('from = "OPEN"', "from = []"), "actions.finish.from: it is an empty list; leave it out where the action creates"),
        (tickets('from = "OPEN"', "from = ['OPEN', 1]"), "actions.finish.from[1]: it must be text, not 1"),
        (TICKETS + "guards = 'reason_given'\n", "actions.finish.guards: it must be a list, not 'reason_given'"),
        (TICKETS + "guards = [1]\n", "actions.finish.guards[0]: it must be a table, not 1"),
        (TICKETS + "guards = [{ guard = 1 }]\n", "actions.finish.guards[0].guard: it must be text, not 1"),
        # arrays of tables with names
        ("name = 'x'\nactions = []\nstates = [{ name = 'A' }, { name = 'A' }]\n", "states.A: duplicate name"),
        ("name = 'x'\nactions = []\nstates = [{ title = 'A' }]\n", "states[0].name: it must be text"),
        ("name = 'x'\nactions = []\nstates = [{ name = 'A' }, 'B']\n", "states[1]: it must be a table, not 'B'"),
        # what contradicts itself
        (TICKETS + "moves = [{ from = 'OPEN', to = 'DONE' }]\nguards = ['reason_given']\n",
         "actions.finish.moves: there is `from` and `to` and `guards` as well; use one form only"),
        (TICKETS + "schema = 2\n", "actions.finish.schema: it is not allowed in files; leave it out"),
        # guards
        (TICKETS + "guards = ['approvls']\n",
         "actions.finish.guards[0].guard: There is no guard 'approvls'. Did you mean 'approvals'?"),
        (TICKETS + "guards = [{ guard = 'approvals', cuont = 2 }]\n",
         "actions.finish.guards[0].cuont: the guard 'approvals' has no such parameter. Did you mean 'count'?"),
        (TICKETS + "guards = ['reason_given', { guard = 'approvals', count = 'two' }]\n",
         "actions.finish.guards[1].count: it must be an integer from 1, not 'two'"),
        (TICKETS + "guards = ['role']\n", "actions.finish.guards[0].any: it is required: a list of texts, with at least one"),
        (tickets('from = "OPEN"\nto = "DONE"', "moves = [{ from = 'OPEN', to = 'DONE', guards = ['role'] }]"),
         "actions.finish.moves[0].guards[0].any: it is required: a list of texts, with at least one"),
        # the chart (all of its problems are in test_chart)
        (tickets("[states.OPEN]", "[states.OPEN]\nparent = 'NO'"), "states.OPEN.parent: there is no state 'NO'"),
        (tickets("[states.OPEN]", '[states."O PEN"]'),
         "states.O PEN: 'O PEN' is not a letter followed by up to 63 letters, digits, _ or -"),
        (tickets('"tickets"', '"my tickets"'),
         "name: 'my tickets' is not a letter followed by up to 63 letters, digits, _ or -"),
        (tickets('from = "OPEN"', "from = ['OPEN', 'OPEN']"),
         "actions.finish.from: it is ambiguous: 2 transitions leave OPEN"),
        (tickets('from = "OPEN"\nto = "DONE"', "moves = []"), "actions.finish: it is never used"),
        (TICKETS + "undone_by = 'open_'\n",
         "actions.finish.undone_by: there is no action 'open_'; did you mean 'open'?"),
        (TICKETS + "required = ['mood']\n",
         "actions.finish.required: 'mood' is not one of actor, reason, comment and context.NAME"),
        (TICKETS + "[timeouts.t]\nto = 'DONE'\nstate = 'OPEN'\npast = 'p'\nafter = 'soon'\n",
         "timeouts.t.after: invalid duration 'soon'; expected 30s, 45m, 36h, 14d or 2w, up to a hundred years"),
        (TICKETS + "[states.LOST]\n", "states.LOST: it is unreachable"),
    ],
)  # fmt: skip
def test_each_kind_of_mistake_is_told_with_its_path(text, problem):
    """The error says where the mistake is, what was expected, and what was found."""
    assert [told for told in problems_of(text) if told.startswith(problem)]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('{"name": }', ["it is not JSON: Expecting value at line 1, column 10"]),
        ('{"name": "x",\n "states": {}\n "actions": {}}',
         ["it is not JSON: Expecting ',' delimiter at line 3, column 2"]),
        ("[]", ["it is an array; expected a JSON object"]),
        ('{"states": {"A": {}, "A": {"final": true}}}', ["states: duplicate key 'A'"]),
        ('{"name": NaN, "states": {"a/b~": 1e999}}',
         ["name: it is not a finite number (NaN, or beyond ±1.8e308)",
          "states.a/b~: it is not a finite number (NaN, or beyond ±1.8e308)"]),
        ('{"name": "x", "states": [], "actions": [], "title": null}', ["title: it must be text, not null"]),
    ],
)  # fmt: skip
def test_mistakes_in_json(text, problems):
    """JSON has its own syntax, and the same form."""
    assert problems_of(text, "json") == problems


def test_all_mistakes_of_the_form_are_told_at_once():
    """Whoever wrote the file mends it in one go."""
    text = """
        version = 0
        colour = "red"
        states = [{ name = "A", parent = 1 }, { name = "A" }, {}]
        [actions.open]
        too = "A"
        guards = [{ count = 1 }, 2]
        schema = 3
        [actions.close]
        past = "closed"
        to = "A"
        moves = 1
        [timeouts]
        expire = 1
    """

    assert problems_of(text) == [
        "states.A: duplicate name",
        "states[2].name: it must be text",
        "actions.open.to: it is missing; give the target state, or `moves`",
        "actions.open.schema: it is not allowed in files; leave it out",
        "actions.close.moves: there is `to` as well; use one form only",
        "name: it is missing",
        "version: it must be 1 or more, not 0",
        "states.A.parent: it must be text, not 1",
        "actions.open.past: it is missing",
        "actions.open.guards[0].guard: it is missing",
        "actions.open.guards[1]: it must be a table, not 2",
        f"actions.open.too: unknown member. Did you mean 'to'? {OF_ACTIONS}",
        "actions.close.moves: it must be a list, not 1",
        "timeouts.expire: it must be a table, not 1",
        f"colour: unknown member. {OF_THE_FILE}",
    ]


def test_all_mistakes_of_the_chart_and_its_guards_are_told_at_once():
    """Where the form is right: the chart's problems, then those of the guards."""
    text = tickets('to = "OPEN"', 'to = "OPNE"') + (
        "guards = [{ guard = 'approvals', count = 0 }]\n"
        "[actions.go]\npast = 'finished'\n"
        "moves = [{ from = 'OPEN', to = 'DONE', guards = ['not_the_author', { guard = 'role', any = [] }] }]\n"
    )

    assert problems_of(text) == [
        "actions.finish.past: the event 'finished' is given 2 times",
        "actions.go.past: the event 'finished' is given 2 times",
        "actions.open.to: there is no state 'OPNE'; did you mean 'OPEN'?",
        "actions.finish.guards[0].count: it must be an integer from 1, not 0",
        "actions.go.moves[0].guards[1].any: it must be a list of texts, with at least one, not []",
    ]


def test_a_use_of_a_guard_is_checked_once(monkeypatch):
    """What is installed is looked through for a guard that isn't built in: a file that names one often asks once."""
    asked = []
    monkeypatch.setattr(files, "problems_of_use", lambda *use: asked.append(use) or [])

    read(TICKETS + "guards = [" + "'role', " * 300 + "{ guard = 'role', any = ['x'] }]\n")

    assert asked == [("role", {}, None), ("role", {"any": ["x"]}, None)]


def test_problems_are_bounded():
    """A hundred are told, of any kind, and that there are more."""
    many = {
        "values": "a = [" + "inf, " * 300 + "]",
        "members": "".join(f"m{n} = 1\n" for n in range(300)),
        "guards": TICKETS + "guards = [" + "'role', " * 300 + "]\n",
    }

    told = {kind: problems_of(text) for kind, text in many.items()}

    assert {kind: len(problems) for kind, problems in told.items()} == {
        "values": 21,
        "members": 101,
        "guards": 101,
    }
    assert all(problems[-1] == "and more" for problems in told.values())


def test_guards_of_the_program_are_known():
    """A program may bring guards of its own; a file that names them is read with them, and not without."""
    text = TICKETS + "guards = ['paid']\n"

    def paid(*_asked):
        return Verdict(agrees=True, reason="it is paid")

    assert read(text, guards={"paid": paid})["actions"][1]["moves"][0]["guards"] == ["paid"]
    assert definition_of(read(text, guards={"paid": paid}), guards={"paid": paid}).guards == {"paid": paid}
    assert problems_of(text)[0].startswith("actions.finish.guards[0].guard: There is no guard 'paid'.")


def test_nothing_that_is_told_moves_the_cursor():
    """Names may hold anything; what is printed of them holds no control characters, wherever they stand."""
    evil = "\x1b]0;gotcha\x07\u202e\x00"
    values = {
        evil: 1,
        "name": evil,
        "title": evil,
        "states": {evil: {"parent": evil, evil: 1}},
        "actions": {evil: {"past": evil, "to": evil, "required": [evil], "guards": [evil], evil: evil}},
        "timeouts": [{"name": evil, evil: 1}, {"name": evil}, evil],
    }
    sound_form = {
        "name": evil,
        "states": {evil: {"parent": evil + "x"}},
        "actions": {
            evil: {"past": evil, "to": evil, "required": [evil], "guards": [{"guard": "role", evil: 1}]}
        },
        "timeouts": {evil: {"past": evil, "state": evil, "after": evil, "to": evil}},
    }
    twice = json.dumps({"states": 1})[:-1] + f", {json.dumps(evil)}: 1, {json.dumps(evil)}: 2}}"
    texts = [(json.dumps(values), "json"), (json.dumps(sound_form), "json"), (twice, "json"),
             (f"{evil} = 1", "toml"), (f'["{evil}"', "toml")]  # fmt: skip

    for text, form in texts:
        problems = problems_of(text, form)

        assert problems
        assert all(problem.isprintable() for problem in problems)
    assert r"\x1b]0;gotcha\x07\u202e\x00" in problems_of(*texts[1])[1]


# -- hostile files ---------------------------------------------------------------------------------------

SIZE = file_syntax.FILE_BYTES_MAX


def filled(unit, before="", after=""):
    """A file as large as is taken, of one thing again and again."""
    return before + unit * ((SIZE - len(before) - len(after)) // len(unit)) + after


def regions(count):
    """Parallel regions that go round on their own: 2^count places."""
    states = {"ALL": {"parallel": True}}
    actions = {"create": {"past": "created", "to": "ALL"}}
    for n in range(count):
        states |= {f"R{n}": {"parent": "ALL", "initial": f"A{n}"}, f"A{n}": {"parent": f"R{n}"}}
        states |= {f"B{n}": {"parent": f"R{n}"}}
        moves = [{"from": f"A{n}", "to": f"B{n}"}, {"from": f"B{n}", "to": f"A{n}"}]
        actions[f"turn{n}"] = {"past": f"turned{n}", "moves": moves}
    return {"name": "regions", "states": states, "actions": actions}


def one_action(**said):
    action = {"past": "p", "to": "A", **said}
    return json.dumps({"name": "x", "states": {"A": {}}, "actions": {"c": action}})


HOSTILE = {
    "1 MB of TOML": ("toml", "#" * 1_000_000, "it has more than 262,144 bytes"),
    "1 MB of JSON": ("json", " " * 1_000_000, "it has more than 262,144 bytes"),
    "a million states": (
        "json",
        '{"states": [' + '{"name":"A"},' * 1_000_000,
        "it has more than 262,144 bytes",
    ),
    "as many states as fit": (
        "json",
        json.dumps({"name": "x", "states": {f"S{n}": {} for n in range(18_000)}, "actions": {}}),
        "states: there are 18,000; at most 500 are allowed",
    ),
    "as many tables as fit": (
        "toml",
        "name = 'x'\n[actions]\n" + "".join(f"[states.S{n}]\n" for n in range(14_000)),
        "states: there are 14,000; at most 500 are allowed",
    ),
    "states in an array": (
        "json",
        json.dumps({"name": "x", "states": [{"name": f"S{n}"} for n in range(12_000)], "actions": []}),
        "states: there are 12,000; at most 500 are allowed",
    ),
    "the same state in an array": (
        "json",
        json.dumps({"name": "x", "states": [{"name": "S"}] * 12_000, "actions": []}),
        "states.S: duplicate name",
    ),
    "deep arrays of JSON": ("json", filled("["), "it is nested deeper than 100 levels"),
    "deep objects of JSON": ("json", filled('{"a":'), "it is nested deeper than 100 levels"),
    "JSON a little too deep": (
        "json",
        '{"a":' + "[" * 100 + "]" * 100 + "}",
        "a" + "[0]" * 58 + ".0…: it is nested deeper than 100 levels",
    ),
    "deep arrays of TOML": ("toml", filled("[", "a="), "it is nested too deep"),
    "deep tables of TOML": ("toml", filled("{a=", "a="), "it is nested too deep"),
    "TOML a little too deep": (
        "toml",
        "a=" + "[" * 100 + "]" * 100,
        "a" + "[0]" * 58 + ".0…: it is nested deeper than 100 levels",
    ),
    "a deep key": ("toml", filled("a.", after="a=1"), "line 1 has more than 32 dots"),
    "a deep table": ("toml", filled("a.", "\n\n[", after="a]"), "line 3 has more than 32 dots"),
    "many keys as deep as is taken": (
        "toml",
        "".join(f"[{'a.' * 31}b{n}]\n{'a.' * 31}b=1\n" for n in range(1_800)),
        "name: it is missing",
    ),
    "a long integer of TOML": ("toml", filled("9", "version="), "it has a number of thousands of digits"),
    "a long hexadecimal one": ("toml", filled("F", "version=0x"), "version: the integer is beyond ±2^53; write it as text"),
    "a long integer of JSON": ("json", filled("9", '{"version":', "}"), "version: the integer is beyond ±2^53; write it as text"),
    "a huge version": ("toml", "version = 9007199254740992\n", "name: it is missing"),
    "a long name": (
        "json",
        json.dumps({"name": "n" * 200_000, "states": {"A": {}}, "actions": {}}),
        f"name: '{'n' * 80}…' is not a letter followed by up to 63 letters, digits, _ or -",
    ),
    "a long member": (
        "json",
        json.dumps({"name": "x", "states": {"A": {"m" * 200_000: 1}}, "actions": {}}),
        f"states.A.{'m' * 591}…",
    ),
    "many unknown members": ("json", json.dumps({f"m{n}": 1 for n in range(17_000)}), "name: it is missing"),
    "many arrays of tables": ("toml", filled("[[a]]\n"), "name: it is missing"),
    "many sources": (
        "json",
        one_action(**{"from": ["A"] * 50_000}),
        "actions: there are 50,000 transitions; at most 5,000 are allowed",
    ),
    "many guards that there are": (
        "json",
        one_action(guards=["role"] * 25_000),
        "actions: there are 25,000 uses of guards; at most 5,000 are allowed",
    ),
    "many guards that there are not": (
        "json",
        one_action(guards=[f"g{n}" for n in range(20_000)]),
        "actions: there are 20,000 uses of guards; at most 5,000 are allowed",
    ),
    "guards that have to be looked for": (
        "json",
        one_action(guards=[f"g{n}" for n in range(5_000)]),
        "states.A: it is a trap: it is not final, and nothing leads out of it",
    ),
    "many regions": (
        "json",
        json.dumps(regions(160)),
        "states: they have more than 10,000 combinations, or too many steps between them; use fewer parallel regions",
    ),
    "500 regions": (
        "json",
        json.dumps(regions(500)),
        "states: there are 1,501; at most 500 are allowed",
    ),
    "499 regions of one state": (
        "json",
        json.dumps({
            "name": "x",
            "states": {"ALL": {"parallel": True}} | {f"R{n}": {"parent": "ALL"} for n in range(499)},
            "actions": {"c": {"past": "p", "to": "ALL"}}
            | {f"a{n}": {"past": f"p{n}", "from": f"R{n}", "to": f"R{n}"} for n in range(499)},
        }),
        "states: they have more than 10,000 combinations, or too many steps between them; use fewer parallel regions",
    ),
    "regions in regions in regions": (
        "json",
        json.dumps({
            "name": "x",
            "states": {"P0": {"parallel": True}}
            | {f"{side}{n}": {"parent": f"P{n - 1}", "parallel": side == "P"} for n in range(1, 250) for side in "PQ"},
            "actions": {"c": {"past": "p", "to": "P0"}},
        }),
        "states.P20.parent: it is nested 21 deep; at most 20 are allowed",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def large_file_s():
    """The processor time that one of the largest files takes that are taken."""
    began = time.process_time()
    read(json.dumps(a_row(500)), "json")
    return time.process_time() - began


SLOW = (
    "as many tables as fit",
    "many keys as deep as is taken",
    "499 regions of one state",
    "guards that have to be looked for",
)


@pytest.mark.parametrize(
    ("form", "text", "problem"),
    [
        pytest.param(*hostile, id=id, marks=pytest.mark.slow if id in SLOW else ())
        for id, hostile in HOSTILE.items()
    ],
)
def test_a_hostile_file_ends_in_a_clear_refusal_soon(form, text, problem, large_file_s):
    """However a file is made, it costs no more than some files that are taken, and its message is bounded."""
    began = time.process_time()
    problems = problems_of(text, form)

    assert time.process_time() - began < 80 * large_file_s
    assert problems[0] == problem
    assert len(problems) <= 101
    assert sum(map(len, problems)) < 70_000


def test_a_large_file_within_the_bounds_is_taken():
    """The bounds leave room: 500 states in a row, each with its guards."""
    assert len(read(json.dumps(a_row(500)), "json")["states"]) == 500


def a_row(count):
    """So many states in a row, and round again."""
    data = {
        "name": "row",
        "states": {f"S{n}": {"title": f"State {n}"} for n in range(count)},
        "actions": {"create": {"past": "created", "to": "S0"}}
        | {
            f"go{n}": {"past": f"went{n}", "from": f"S{n}", "to": f"S{(n + 1) % count}", "guards": ["reason_given"]}
            for n in range(count - 1)
        },
    }  # fmt: skip
    data["actions"]["go0"]["from"] = ["S0", f"S{count - 1}"]
    return data


# -- the lifecycles that come with the package, and those that a registry keeps ---------------------------


def test_the_lifecycles_that_come_with_the_package():
    """Each is called what it is listed as, and reads as it is printed."""
    for name in SHIPPED:
        data = shipped(name)

        assert data["name"] == name
        assert definition_of(data).data == data
        assert read(json.dumps(data), "json") == data
    assert shipped("registration") == REGISTRATION.data
    with pytest.raises(InvalidArgument, match="Did you mean 'registration-upkeep'"):
        shipped("registration-upkep")


def test_the_built_in_lifecycle_is_itself():
    """Its data gives the definition that is there already, with its upcasters and its fold."""
    assert definition_of(shipped("registration")) is REGISTRATION
    assert definition_of(json.loads(json.dumps(REGISTRATION.data))) is REGISTRATION
    assert definition_of(REGISTRATION.data, earlier=frozenset({"registration.approved.v1"})) is REGISTRATION
    earlier = definition_of(REGISTRATION.data, earlier=frozenset({"registration.blessed.v1"}))
    assert earlier.chart is CHART
    assert earlier.event_types == REGISTRATION.event_types | {"registration.blessed.v1"}


def test_another_version_of_the_built_in_lifecycle_reads_its_logs():
    """A file that takes the place of `registration` writes events of today's schemas, and folds those of before."""
    text = (ROOT / "registration/rules/lifecycles/registration-upkeep.toml").read_text()
    data = read(text.replace('"registration-upkeep"', '"registration"').replace("version = 1", "version = 2"))
    definition = definition_of(data, earlier=REGISTRATION.event_types)
    log = Log()
    log.do("create")
    log.do("submit_for_review")
    said = {
        "action": "approve",
        "from": "REVIEWED",
        "to": "APPROVED",
        "actor": "ben",
        "digest": log.state.digest,
    }
    log.add([log.new("approve", type="registration.approved.v1", data=said)])
    log.do("approve", actor="cem")

    assert {action["name"]: action["schema"] for action in data["actions"] if "schema" in action} == {
        "approve": 2,
        "reject": 2,
    }
    assert definition.upcasters == REGISTRATION.upcasters
    assert (definition.event_type("approve"), definition.version) == ("registration.approved.v2", 2)
    assert fold(definition, None, log.events) == log.state
    assert [approval["actor"] for approval in log.state.approvals] == ["ben", "cem"]
    assert definition.event_types > REGISTRATION.event_types


def test_another_version_without_an_action_keeps_the_upcasters_of_earlier_events():
    """What is gone from the lifecycle stays readable in every schema that it ever had; upcasters of nothing are left out."""
    data = read(tickets('"tickets"', '"registration"'))
    definition = definition_of(data, earlier=frozenset({"registration.approved.v2"}))

    assert set(definition.upcasters) == {"registration.approved.v1"}
    assert {"registration.approved.v1", "registration.approved.v2"} <= definition.event_types
    assert definition.identity == {
        "name": "registration",
        "version": 1,
        "digest": definition.identity["digest"],
    }
    assert definition is not REGISTRATION


def test_guards_are_looked_up_by_name():
    """A definition has the guards that its chart names, and no others; one that is gone is a problem of it."""
    definition = definition_of(shipped("registration-upkeep"))
    assert definition.guards == {"approvals": approvals}

    kept = read(TICKETS) | {"actions": read(TICKETS)["actions"]}
    kept["actions"][1]["moves"][0]["guards"] = ["paid", "paid", "signed"]
    with pytest.raises(InvalidDefinition) as caught:
        definition_of(kept)
    told = caught.value.details["problems"]
    assert len(told) == 2
    assert told[0].startswith("actions.finish.guards: There is no guard 'paid'.")
    assert told[1].startswith("actions.finish.guards: There is no guard 'signed'.")


def test_a_kept_lifecycle_is_read_without_pydantic():
    """Opening a registry with a lifecycle of its own costs no more than its chart."""
    script = (
        "import json, sys\n"
        "before = set(sys.modules)\n"  # an interpreter that measures coverage brings much along
        "from registration.rules.lifecycles.loading import definition_of\n"
        "definition_of(json.load(sys.stdin))\n"
        "print(sorted({'pydantic', 'tomllib', 'importlib.metadata'} & (set(sys.modules) - before)))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(shipped("registration-upkeep")), capture_output=True,
        text=True, check=True, cwd=ROOT,
    )  # fmt: skip

    assert run.stdout.strip() == "[]"
