"""Wizards that the tests ask with: a short one with all there is, made of models, and one that only asks a name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from registration.onboarding.wizards.forms import form_of
from registration.onboarding.wizards.wizard import Option, Problem, Wizard, WizardStep


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Named(Form):
    name: Annotated[str, Field(min_length=1, max_length=20)]
    guests: Annotated[int, Field(ge=1)] = 2


class Fed(Form):
    menu: str
    drinks: list[Literal["water", "wine"]] = Field(default_factory=list)


class Paid(Form):
    per_guest: Annotated[int, Field(ge=0)]
    key: Annotated[str, Field(json_schema_extra={"secret": "reference"})] = "env:KEY"


def menus(answers):
    """A large party has no choice."""
    names = ["buffet"] if answers["START"]["guests"] > 10 else ["buffet", "fish", "none"]
    return {"/menu": [Option(name, name.title()) for name in names]}


def dear(answer, answers):
    """What nobody wants to pay."""
    if answer["per_guest"] * answers["START"]["guests"] > 1000:
        yield Problem("/per_guest", "it comes to more than 1,000")


def no_meal(answers):
    return answers["MENU"]["menu"] == "none"


def party(**changes):
    """A wizard with choices that depend on answers, a check across steps, and a step that may be skipped."""
    return Wizard(
        **{
            "name": "party",
            "title": "A party",
            "steps": (
                WizardStep("START", "Who comes", "How it is called, and how many come.", form=form_of(Named)),
                WizardStep("MENU", "What there is", form=form_of(Fed), options=menus, needs=("START",)),
                WizardStep(
                    "PRICE",
                    "What it costs",
                    form=form_of(Paid),
                    validate=dear,
                    needs=("START", "MENU"),
                    skip_if=no_meal,
                ),
                WizardStep("REVIEW", "All of it", kind="review"),
            ),
            "result": lambda answers: {"name": answers["START"]["name"], "version": "1.0.0", **answers},
        }
        | changes
    )


ANSWERS = {
    "START": {"name": "midsummer", "guests": 8},
    "MENU": {"menu": "fish", "drinks": ["wine"]},
    "PRICE": {"per_guest": 20, "key": "env:KEY"},
}


SURVEY = """
name = "survey"
title = "A survey"

[[steps]]
name = "FIRST"
title = "First"
form = { type = "object", required = ["one", "two"], properties = { one = { type = "string" }, two = { type = "integer" } } }

[[steps]]
name = "SECOND"
title = "Second"
form = { type = "object", required = ["three"], properties = { three = { enum = ["red", "blue"] } } }

[[steps]]
name = "REVIEW"
title = "All of it"
kind = "review"
"""
"""A wizard in a file: two steps with three fields, and a review."""
