"""Wizards as data: steps and their ways, what is wrong with answers, and what is wrong with a wizard."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from registration.core.interpreter import steps
from registration.errors import InvalidWizard
from registration.onboarding.wizards.files import parse_wizard
from registration.onboarding.wizards.forms import form_of
from registration.onboarding.wizards.matrix import markdown_of, matrix_of
from registration.onboarding.wizards.progress import display_name, next_steps, progress_of
from registration.onboarding.wizards.shipped import SHIPPED, shipped
from registration.onboarding.wizards.statechart import chart_of, definition_of
from registration.onboarding.wizards.wizard import Problem, Wizard, WizardStep
from tests.kit.wizards import ANSWERS, Named, party


def test_the_chart_has_every_way_of_the_wizard_and_no_other():
    """Each state's actions and where they lead: forward and back, past what may be skipped, and back to all from review."""
    chart = chart_of(party(), "15m")

    table = {
        place: {name: taken.place for name, taken in steps(chart, place).items()} for place in chart.leaves
    }

    stays = ("update", "draft", "extend", "bind")
    ends = {"fail": "FAILED", "cancel": "CANCELLED"}
    assert table == {
        "START": {"process": "MENU", "goto_REVIEW": "REVIEW", **dict.fromkeys(stays, "START"), **ends},
        "MENU": {"process": "PRICE", "process_to_REVIEW": "REVIEW", "goto_REVIEW": "REVIEW", "back": "START"}
        | dict.fromkeys(stays, "MENU") | ends,
        "PRICE": {"process": "REVIEW", "goto_REVIEW": "REVIEW", "back": "MENU", **dict.fromkeys(stays, "PRICE"), **ends},
        "REVIEW": {"complete": "COMPLETE", "back": "PRICE", "back_to_MENU": "MENU"}
        | {f"goto_{name}": name for name in ("START", "MENU", "PRICE")}
        | dict.fromkeys(stays, "REVIEW") | ends,
        "COMPLETE": {}, "CANCELLED": {},
        "FAILED": {"restart": "START"}, "EXPIRED": {"restart": "START"},
    }  # fmt: skip


def test_what_is_skipped_is_told_by_the_answers():
    """A step whose condition holds is passed over in both directions, and its answer doesn't count."""
    wizard = party()
    without = {**ANSWERS, "MENU": {"menu": "none", "drinks": []}}

    assert (wizard.onward("MENU", ANSWERS), wizard.backward("REVIEW", ANSWERS)) == ("PRICE", "PRICE")
    assert (wizard.onward("MENU", without), wizard.backward("REVIEW", without)) == ("REVIEW", "MENU")
    assert list(wizard.document(without)) == ["name", "version", "START", "MENU"]
    assert wizard.problems(without) == {}


@pytest.mark.parametrize(
    ("step", "answer", "problems"),
    [
        ("START", {"name": "a", "guests": "8"}, [Problem("/guests", "it should be a valid integer (found '8')")]),
        ("START", {"nme": "a"}, [
            Problem("/name", "it is required but missing"), Problem("/nme", "unknown field"),
        ]),
        ("MENU", {"menu": "meat"}, [Problem("/menu", "invalid choice 'meat'; choose from buffet, fish, none")]),
        ("MENU", {"menu": "fish", "drinks": ["wine", "gin"]}, [
            Problem("/drinks/1", "it should be 'water' or 'wine' (found 'gin')")
        ]),
        ("PRICE", {"per_guest": 200}, [Problem("/per_guest", "it comes to more than 1,000")]),
        ("REVIEW", {"yes": True}, [Problem("", "this step has no form")]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_with_an_answer_is_told_at_once(step, answer, problems):
    """Types, unknown fields, choices and checks across steps, each with its JSON Pointer."""
    assert party().check(step, answer, ANSWERS)[1] == problems


def test_an_answer_is_kept_with_its_defaults():
    """What was left out is there afterwards, and checking it again changes nothing."""
    kept, problems = party().check("START", {"name": "a"}, {})

    assert (kept, problems) == ({"name": "a", "guests": 2}, [])
    assert party().check("START", kept, {}) == (kept, [])


def test_an_earlier_answer_that_changes_makes_later_ones_wrong():
    """Before the end everything is looked at again, by the answers as they are."""
    crowd = {**ANSWERS, "START": {"name": "midsummer", "guests": 300}}

    assert {step: [one.at for one in found] for step, found in party().problems(crowd).items()} == {
        "MENU": ["/menu"],
        "PRICE": ["/per_guest"],
    }


STEP = WizardStep("A", "First", form=form_of(Named))
REVIEW = WizardStep("REVIEW", "All", kind="review")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "no good"}, "name: 'no good' is not a letter"),
        ({"time_to_live": "soon"}, "time_to_live: 'soon' is not a duration"),
        ({"steps": (REVIEW, STEP)}, "steps: expected one form or more, then one review, then optional work"),
        ({"steps": (STEP,)}, "steps: expected one form or more"),
        ({"steps": ()}, "steps: expected one form or more"),
        ({"steps": (STEP, STEP, REVIEW)}, "steps.A.name: duplicate name"),
        ({"steps": (WizardStep("COMPLETE", "x", form=STEP.form), REVIEW)}, "steps.COMPLETE.name: the name is reserved"),
        ({"steps": (WizardStep("a", "x", form=STEP.form), REVIEW)}, "steps.a.name: it is not a capital letter"),
        ({"steps": (WizardStep("A", "x"), REVIEW)}, "steps.A.form: only a form step has a form"),
        ({"steps": (WizardStep("A", "x", form=STEP.form, needs=("B",)), REVIEW)}, "steps.A.needs: 'B' is not an earlier form"),
        ({"steps": (WizardStep("A", "x", form=STEP.form, skip_if=bool), REVIEW)}, "steps.A.skip_if: only a form can be skipped"),
    ],
)  # fmt: skip
def test_a_wizard_that_contradicts_itself_is_refused(changes, problem):
    """Every problem is named with its place in the wizard."""
    with pytest.raises(InvalidWizard) as caught:
        Wizard(**{"name": "w", "title": "W", "steps": (STEP, REVIEW)} | changes)

    assert any(found.startswith(problem) for found in caught.value.details["problems"])


def test_a_definition_says_how_long_a_session_may_be_left_alone():
    """The wizard's own time, or the one that is set."""
    assert definition_of(party()).chart.timeouts[0].after == "15m"
    assert definition_of(party(), "24h").chart.timeouts[0].after == "24h"


# -- how far it is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "answers", "stopped", "number", "percent"),
    [
        ("START", {}, None, "1/4", 0),
        ("MENU", ANSWERS, None, "2/4", 25),
        ("REVIEW", ANSWERS, None, "4/4", 75),
        ("REVIEW", {**ANSWERS, "MENU": {"menu": "none"}}, None, "3/3", 66),
        ("COMPLETE", ANSWERS, None, "4/4", 100),
        ("EXPIRED", ANSWERS, "PRICE", "3/4", 50),
        ("CANCELLED", {}, None, "1/4", 0),
    ],
)
def test_how_far_a_session_is(state, answers, stopped, number, percent):
    """Skipped steps don't count, and only what is complete is done."""
    found = progress_of(party(), state, answers, stopped)

    assert (f"{found.number}/{found.of}", found.percent) == (number, percent)
    assert found.bar(8) == f"[{'#' * (8 * percent // 100)}{'-' * (8 - 8 * percent // 100)}] {number}"


def test_where_it_goes_on_from_a_step():
    """The same ways that the chart has, as far as the answers lead there."""
    wizard = party()
    without = {**ANSWERS, "MENU": {"menu": "none"}}

    assert next_steps(wizard, "START", {}) == {"process": "MENU"}
    assert next_steps(wizard, "MENU", without) == {
        "process_to_REVIEW": "REVIEW",
        "back": "START",
        "goto_REVIEW": "REVIEW",
    }
    assert next_steps(wizard, "REVIEW", without) == {
        "complete": "COMPLETE", "back_to_MENU": "MENU", "goto_START": "START", "goto_MENU": "MENU",
    }  # fmt: skip
    assert (next_steps(wizard, "FAILED", ANSWERS), next_steps(wizard, "COMPLETE", ANSWERS)) == (
        {"restart": "START"},
        {},
    )
    assert [display_name(wizard, state) for state in ("MENU", "EXPIRED")] == ["What there is", "Expired"]


# -- files -----------------------------------------------------------------------------------------------

SURVEY = """
name = "survey"
title = "A survey"

[[steps]]
name = "START"
title = "Who are you"
options = { "/kind" = ["person", { value = "bot", title = "A program" }] }
[steps.form]
type = "object"
required = ["name", "kind"]
[steps.form.properties]
name = { type = "string", minLength = 1 }
kind = { type = "string", default = "person" }
owners = { type = "array", items = { type = "string" }, default = [] }

[[steps]]
name = "OWNER"
title = "Who looks after it"
needs = ["START"]
skip_if = { "/START/kind" = "person" }
options_from = { "/first" = "/START/owners/*" }
form = { type = "object", properties = { first = { type = "string" } }, required = ["first"] }

[[steps]]
name = "REVIEW"
title = "All of it"
kind = "review"

[result]
name = { answer = "/START/name" }
version = "1.0.0"
first = { answer = "/OWNER/first" }
"""


def test_a_wizard_is_read_from_a_file():
    """Forms as JSON Schemas, choices, conditions and the manifest as data; the same as JSON."""
    wizard = parse_wizard(SURVEY.encode(), source="survey.toml", form="toml")
    as_json = parse_wizard(json.dumps(wizard.data).encode(), source="survey.json", form="json")
    bot = {"START": {"name": "r2", "kind": "bot", "owners": ["ada", "bea"]}}

    assert wizard.identity == as_json.identity
    assert wizard.check("START", {"name": "a"}, {})[0] == {"name": "a", "kind": "person", "owners": []}
    assert wizard.check("START", {"name": "", "kind": "cat"}, {})[1][0].at == "/name"
    assert wizard.onward("START", {"START": {"name": "a", "kind": "person"}}) == "REVIEW"
    assert wizard.check("OWNER", {"first": "cyd"}, bot)[1] == [
        Problem("/first", "invalid choice 'cyd'; choose from ada, bea")
    ]
    assert wizard.document({**bot, "OWNER": {"first": "bea"}}) == {
        "name": "r2",
        "version": "1.0.0",
        "first": "bea",
    }
    assert wizard.document({"START": {"name": "a", "kind": "person"}}) == {"name": "a", "version": "1.0.0"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name = "survey"', 'nme = "survey"', "name: it is missing"),
        ('name = "survey"', 'nme = "survey"', "nme: unknown member"),
        ('kind = "review"', 'kind = "work"', "steps[2].kind: it should be 'form' or 'review' (found 'work')"),
        ('"/kind" = [', '"kind" = [', "steps[0].options.kind.[key]"),
        ('needs = ["START"]', "needs = []", "steps[1].skip_if: '/START/kind' belongs to no step in `needs`"),
        (
            'type = "object"\nrequired',
            'type = "objet"\nrequired',
            "steps.START.form.type: an answer is an object",
        ),
        ("minLength = 1", "minLength = -1", "steps.START.form: at /properties/name/minLength"),
        ("minLength = 1", "writeOnly = true", "steps.START.form/name: it asks for a secret"),
        ('title = "A survey"', "title = ", "it is not TOML"),
        ('title = "A survey"', "title = 7", "title: it should be a valid string (found 7)"),
    ],
)
def test_a_wizard_file_that_can_not_be_meant_is_refused(old, new, problem):
    """Every problem with its path in the file."""
    assert SURVEY.count(old) == 1

    with pytest.raises(InvalidWizard) as caught:
        parse_wizard(SURVEY.replace(old, new).encode(), source="survey.toml", form="toml")

    assert any(found.startswith(problem) for found in caught.value.details["problems"]), caught.value.details


# -- forms -----------------------------------------------------------------------------------------------


class Open(BaseModel):
    anything: str


class Key(BaseModel, extra="forbid"):
    key: SecretStr


class Marked(BaseModel, extra="forbid"):
    key: Annotated[str, Field(json_schema_extra={"secret": True})]


class Deep(BaseModel, extra="forbid"):
    inner: list[Open]


@pytest.mark.parametrize(
    ("form", "flaw"),
    [
        (Open, ": it accepts unknown fields"),
        (Deep, "/inner/*: it accepts unknown fields"),
        (Key, "/key: it asks for a secret"),
        (Marked, "/key: it asks for a secret"),
        ({"type": "object", "properties": {"a": {"type": "object", "properties": {"k": {"format": "password"}}}}}, "/a/k: it asks"),
        ({"type": "object", "properties": {"a": {"items": {"writeOnly": True}}}}, "/a/*: it asks for a secret"),
        ({"type": "string"}, ".type: an answer is an object"),
        ({"type": "object", "$ref": "https://example.org/x"}, ": the reference"),
    ],
)  # fmt: skip
def test_a_form_that_asks_for_secrets_or_takes_anything_is_refused_when_it_is_defined(form, flaw):
    """However deep it stands; models have to say that they take nothing else."""
    with pytest.raises(InvalidWizard) as caught:
        Wizard("w", "W", (WizardStep("A", "x", form=form_of(form)), REVIEW))

    assert any(found.startswith(f"steps.A.form{flaw}") for found in caught.value.details["problems"])


@pytest.mark.parametrize("value", ["env:API_KEY", "vault:kv/weather#key"])
def test_a_reference_to_a_secret_is_taken(value):
    """Where a secret is kept, and never the secret itself."""
    assert party().check("PRICE", {"per_guest": 1, "key": value}, ANSWERS) == (
        {"per_guest": 1, "key": value},
        [],
    )


@pytest.mark.parametrize("value", ["hunter2", "sk-123456", "op:\t", "env:a b", "s3cret:x", "env:A\n"])
def test_a_secret_itself_is_refused_and_not_said_again(value):
    """What is refused may be the secret, so the message doesn't show it."""
    _, problems = party().check("PRICE", {"per_guest": 1, "key": value}, ANSWERS)

    assert [problem.at for problem in problems] == ["/key"]
    assert value not in problems[0].problem


def test_a_schema_takes_no_other_fields_than_it_names():
    """Also in objects inside, unless it says otherwise."""
    form = form_of(
        {
            "type": "object",
            "properties": {
                "closed": {"type": "object", "properties": {"a": {}}},
                "open": {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
            },
        }
    )

    _, problems = form.check({"closed": {"b": 1}, "open": {"b": 1}, "c": 1})

    assert [problem.at for problem in problems] == ["", "/closed"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_answered_is_taken_or_told_what_is_wrong(answer):
    """No JSON value makes a form fail, and what it takes it takes again as it is kept."""
    for step in ("START", "MENU", "PRICE"):
        kept, problems = party().check(step, answer, ANSWERS)
        assert problems or party().check(step, kept, ANSWERS) == (kept, [])


# -- the matrix ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_matrix_has_each_state_once_and_each_step_in_its_place(name):
    """What is printed is the machine: every step answered leads on, and the steps in order lead from the start to the end."""
    wizard = shipped(name)
    matrix = matrix_of(wizard)
    forms = [step.name for step in wizard.steps if step.kind == "form"]

    assert set(matrix) == {"(none)", *chart_of(wizard, wizard.time_to_live).leaves}
    assert matrix["(none)"]["on"] == (wizard.steps[0].name,)
    for step, following in pairwise([*(step.name for step in wizard.steps), "COMPLETE"]):
        assert following in matrix[step]["on"]
    assert set(matrix[wizard.review.name]["goto"]) == set(forms)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_the_printed_table_has_a_cell_for_each_way(name):
    """The Markdown says of each state what the matrix does; a dash stands where nothing leads."""
    lines = markdown_of(shipped(name)).splitlines()
    header, rows = lines[0], [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]

    assert header == "| from | on | back | goto | stays | fail | cancel | expire | restart |"
    assert {
        state: [tuple(cell.split(", ")) if cell != "-" else () for cell in cells] for state, *cells in rows
    } == {state: list(row.values()) for state, row in matrix_of(shipped(name)).items()}


def test_the_matrix_is_what_the_chart_does():
    """Every way of every state, and an end for a wizard that waits too long; nothing leads out of an end for good."""
    found = matrix_of(party())

    assert found["MENU"]["on"] == ("PRICE", "REVIEW")
    assert (found["MENU"]["back"], found["MENU"]["expire"]) == (("START",), ("EXPIRED",))
    assert found["REVIEW"]["goto"] == ("START", "MENU", "PRICE")
    assert not any(found["COMPLETE"].values())
    assert found["EXPIRED"]["restart"] == ("START",)
