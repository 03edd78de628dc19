"""Wizards as data: steps and their ways, what is wrong with answers, and what is wrong with a wizard."""

from __future__ import annotations

import pytest

from registration.core.interpreter import steps
from registration.errors import InvalidWizard
from registration.wizards.forms import form_of
from registration.wizards.progress import display_name, next_steps, progress_of
from registration.wizards.statechart import chart_of, definition_of
from registration.wizards.wizard import Problem, Wizard, WizardStep
from tests.wizards import ANSWERS, Named, party


def test_the_chart_has_every_way_of_the_wizard_and_no_other():
    """Each state's actions and where they lead: forward and back, past what may be skipped, and back to all from review."""
    chart = chart_of(party(), "15m")

    table = {
        place: {name: taken.place for name, taken in steps(chart, place).items()} for place in chart.leaves
    }

    stays = ("update", "extend", "bind")
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
            Problem("/name", "it is required, and isn't there"), Problem("/nme", "nothing of this name is asked"),
        ]),
        ("MENU", {"menu": "meat"}, [Problem("/menu", "'meat' can't be chosen; there is buffet, fish, none")]),
        ("MENU", {"menu": "fish", "drinks": ["wine", "gin"]}, [
            Problem("/drinks/1", "it should be 'water' or 'wine' (found 'gin')")
        ]),
        ("PRICE", {"per_guest": 200}, [Problem("/per_guest", "it comes to more than 1,000")]),
        ("REVIEW", {"yes": True}, [Problem("", "nothing is asked here")]),
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
        ({"time_to_live": "soon"}, "time_to_live: 'soon' is no time"),
        ({"steps": (REVIEW, STEP)}, "steps: there has to be a form or more, then one review, then work, if any"),
        ({"steps": (STEP,)}, "steps: there has to be a form or more"),
        ({"steps": ()}, "steps: there has to be a form or more"),
        ({"steps": (STEP, STEP, REVIEW)}, "steps.A.name: another step has it"),
        ({"steps": (WizardStep("COMPLETE", "x", form=STEP.form), REVIEW)}, "steps.COMPLETE.name: every wizard has"),
        ({"steps": (WizardStep("a", "x", form=STEP.form), REVIEW)}, "steps.a.name: it is not a capital letter"),
        ({"steps": (WizardStep("A", "x"), REVIEW)}, "steps.A.form: a form step has one"),
        ({"steps": (WizardStep("A", "x", form=STEP.form, needs=("B",)), REVIEW)}, "steps.A.needs: 'B' is no form before it"),
        ({"steps": (WizardStep("A", "x", form=STEP.form, skip_if=bool), REVIEW)}, "steps.A.skip_if: only a form is skipped"),
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
