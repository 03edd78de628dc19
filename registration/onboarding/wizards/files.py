"""Wizard files: a wizard as TOML or JSON, written by people, validated once; all problems are reported at once.

::

    name = "survey"
    title = "A survey"

    [[steps]]
    name = "START"
    title = "Who are you"
    form = { type = "object", required = ["name"], properties = { name = { type = "string" }, kind = { type = "string" } } }
    options = { "/kind" = ["person", { value = "bot", title = "A program" }] }

    [[steps]]
    name = "OWNERS"
    title = "Who looks after it"
    needs = ["START"]
    skip_if = { "/START/kind" = "person" }          # by pointer into the answers; all must match
    options_from = { "/first" = "/START/names/*" }  # the values at a pointer into earlier answers
    form = { type = "object", properties = { first = { type = "string" } } }

    [[steps]]
    name = "REVIEW"
    title = "All of it"
    kind = "review"

    [result]                                        # without it, a session ends with its answers
    name = { answer = "/START/name" }               # the value at a pointer into the answers; omitted if missing
    version = "1.0.0"

A form is a JSON Schema of an object; people are asked in the order of the file. The other members are documented in
`registration.onboarding.wizards.wizard`. A session stores the digest of the wizard that it was started with, so a file may
change, or be deleted, in the meantime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registration.core.policy import Kind
from registration.errors import InvalidDefinition, InvalidWizard
from registration.onboarding.wizards.forms import SchemaForm
from registration.onboarding.wizards.shapes import with_order
from registration.onboarding.wizards.wizard import Answers, Option, Options, Wizard, WizardStep, values_at
from registration.rules.lifecycles.file_syntax import path_of, read_json, read_toml, shown, taken
from registration.values.pointers import ABSENT, at_pointer

_POINTER = r"^(/.*)?$"
_Pointer = Annotated[str, Field(pattern=_POINTER)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Option(_Strict):
    value: Any
    title: str = ""
    help: str = ""


class _StepTable(_Strict):
    name: str
    title: str
    help: str = ""
    kind: Literal["form", "review"] = "form"
    form: dict[str, Any] | None = None
    options: dict[_Pointer, list[_Option | str | int | float | bool]] = Field(default_factory=dict)
    options_from: dict[_Pointer, _Pointer] = Field(default_factory=dict)
    needs: list[str] = Field(default_factory=list)
    skip_if: dict[_Pointer, Any] | None = None


class _File(_Strict):
    name: str
    title: str
    help: str = ""
    version: int = 1
    time_to_live: str = "15m"
    steps: list[_StepTable]
    result: dict[str, Any] | None = None


def parse_wizard(raw: bytes, *, source: str, form: Literal["toml", "json"]) -> Wizard:
    """The wizard in a file. source: the file's name in errors.

    Raises:
        InvalidWizard: listing every problem, each with its path in the file.
    """
    read = read_json if form == "json" else read_toml
    try:
        value = taken(read(raw, source), source)
    except InvalidDefinition as error:
        raise InvalidWizard(source, error.details["problems"]) from None
    return wizard_of(_in_order(value), source=source)


def wizard_of(value: Mapping[str, Any], *, source: str) -> Wizard:
    """As `parse_wizard`, of values that were read already.

    Raises:
        InvalidWizard: as `parse_wizard`.
    """
    try:
        said = _File.model_validate(dict(value))
    except ValidationError as error:
        raise InvalidWizard(source, [_told(wrong) for wrong in error.errors(include_url=False)]) from None
    problems = [
        f"steps[{index}].{member}: {place!r} belongs to no step in `needs`"
        for index, step in enumerate(said.steps)
        for member, places in (("skip_if", step.skip_if or {}), ("options_from", step.options_from.values()))
        for place in places
        if place.split("/")[1:2] != [] and place.split("/")[1] not in step.needs
    ]
    if problems:
        raise InvalidWizard(source, problems)
    return Wizard(
        name=said.name,
        title=said.title,
        help=said.help,
        version=said.version,
        time_to_live=said.time_to_live,
        steps=tuple(_step(step) for step in said.steps),
        result=None if said.result is None else _result(said.result),
        data=dict(value),
    )


def _in_order(value: Any) -> Any:
    """The same, with the order of each form's fields."""
    steps = value.get("steps")
    if not isinstance(steps, list):
        return value
    return {
        **value,
        "steps": [
            {**step, "form": with_order(step["form"])} if isinstance(step, dict) and "form" in step else step
            for step in steps
        ],
    }


def _step(said: _StepTable) -> WizardStep:
    return WizardStep(
        said.name,
        said.title,
        said.help,
        kind=said.kind,
        form=None if said.form is None else SchemaForm(said.form),
        options=_options(said),
        needs=tuple(said.needs),
        skip_if=None if said.skip_if is None else Kind("skipped", said.skip_if).holds,
    )


def _options(said: _StepTable) -> Callable[[Answers], Options]:
    fixed = {
        place: [
            Option(one.value, one.title, one.help) if isinstance(one, _Option) else Option(one)
            for one in listed
        ]
        for place, listed in said.options.items()
    }

    def options(answers: Answers) -> Options:
        found = {
            place: [Option(value) for _, value in values_at(answers, source)]
            for place, source in said.options_from.items()
        }
        return {**fixed, **found}

    return options


def _result(template: Mapping[str, Any]) -> Callable[[Answers], Mapping[str, Any]]:
    def result(answers: Answers) -> Mapping[str, Any]:
        filled: Mapping[str, Any] = _filled(template, answers)
        return filled

    return result


def _filled(template: Any, answers: Answers) -> Any:
    """A template with each ``{"answer": "/…"}`` replaced by the value in the answers."""
    if isinstance(template, Mapping):
        if template.keys() == {"answer"} and isinstance(template["answer"], str):
            return at_pointer(answers, template["answer"])
        filled = ((name, _filled(one, answers)) for name, one in template.items())
        return {name: one for name, one in filled if one is not ABSENT}
    if isinstance(template, list | tuple):
        return [one for item in template if (one := _filled(item, answers)) is not ABSENT]
    return template


def _told(wrong: Any) -> str:
    path = path_of(wrong["loc"])
    if wrong["type"] == "missing":
        return f"{path}: it is missing"
    if wrong["type"] == "extra_forbidden":
        return f"{path}: unknown member"
    said = wrong["msg"].removeprefix("Input ")
    return f"{path}: it {said} (found {shown(wrong['input'])})"
