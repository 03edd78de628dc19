"""A wizard as data: steps in order, each with a form, choices, checks, and its dependencies on earlier ones.

A session of a wizard is a stream of events under the lifecycle that `registration.onboarding.wizards.statechart` makes of it: a step
is a state, and answering it leads to the next one that is not skipped. Three kinds of steps:

- ``form``: asks. Its answer is a JSON object that its form accepts, with values among its options, and in which `validate`
  finds no problem.
- ``review``: shows all answers, and allows jumps back to any step. There is one, after all forms.
- ``work``: acts outside of the session, such as a deployment; after the review. There is no way back from it.

All functions of a wizard are pure: the same answers give the same result, forever. They get the answers of the steps
that are named in `needs` and no others, so the dependencies of an answer are data. None of them is called with missing
answers: `needs` names earlier steps.

A wizard never contains a secret; see `registration.onboarding.wizards.forms`, which makes forms of pydantic models and of JSON
Schemas.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from registration.core.chart_problems import NAME
from registration.errors import InvalidWizard, Rejected
from registration.values.documents import digest_of
from registration.values.pointers import pointer
from registration.values.times import DURATION_FORM, duration_s

COMPLETE, FAILED, EXPIRED, CANCELLED = "COMPLETE", "FAILED", "EXPIRED", "CANCELLED"
ENDED = frozenset({COMPLETE, FAILED, EXPIRED, CANCELLED})
"""The end states. From FAILED and EXPIRED a session can be restarted."""

IN_PROGRESS = "IN_PROGRESS"
"""The parent of all forms and the review: the steps that can expire and be cancelled."""

STEPS_MAX = 60

Answer = Mapping[str, Any]
Answers = Mapping[str, Mapping[str, Any]]
"""The answers, by step."""

_STEP_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,40}", re.ASCII)
_OWN_NAMES = ENDED | {IN_PROGRESS}


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in an answer. at: a JSON Pointer into it. problem: expected and found values, as a clause."""

    at: str
    problem: str

    def __str__(self) -> str:
        return f"at {self.at}: {self.problem}" if self.at else self.problem


@dataclass(frozen=True, slots=True)
class Option:
    """One choice. value: a JSON value. title: its name for people. help: its meaning."""

    value: Any
    title: str = ""
    help: str = ""


Options = Mapping[str, Sequence[Option]]
"""By position in the answer, its choices. A position is a JSON Pointer in which ``*`` matches any item: ``/chain``,
``/tiers/*/role``. A value there must be one of them; None is always allowed."""


class Form(Protocol):
    """The form of a step; see `registration.onboarding.wizards.forms`."""

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of an answer, from which a terminal derives its questions."""

    def check(self, answer: Answer) -> tuple[dict[str, Any], list[Problem]]:
        """The normalized answer, with defaults filled in; and all its problems."""

    def leaks(self, answer: Answer) -> Iterator[Problem]:
        """Possible secrets in a possibly incomplete answer; reported without the value."""

    def flaws(self) -> Iterator[str]:
        """The problems of the form itself."""


@dataclass(frozen=True)
class WizardStep:
    """One step.

    name: that of its state, in capitals. title: its name for people. help: its purpose. form: None for a
    review or work. options: the choices, or a function of earlier answers. suggest: the suggested answer if there is
    none yet. validate: the problems of an answer that the form accepts. needs: the earlier steps whose answers
    `options`, `suggest`, `validate` and `skip_if` receive, as the last argument; a review, and work, receive all.
    skip_if: whether there is nothing to ask. by_field: whether `validate` accepts incomplete answers, so
    that a terminal can report problems after each field.
    """

    name: str
    title: str
    help: str = ""
    kind: Literal["form", "review", "work"] = "form"
    form: Form | None = None
    options: Options | Callable[[Answers], Options] | None = None
    suggest: Callable[[Answers], Answer] | None = None
    validate: Callable[[Answer, Answers], Iterable[Problem]] | None = None
    needs: tuple[str, ...] = ()
    skip_if: Callable[[Answers], bool] | None = None
    by_field: bool = False


@dataclass(frozen=True)
class Wizard:
    """A whole wizard.

    name: that of its lifecycle, the first part of its event types. steps: in order, forms first, then one review, then work.
    version: from 1. time_to_live: how long a session may be idle, as text (``15m``). result: from the answers, without
    skipped steps, to the resulting manifest; None: a session ends with its answers. summary: for the review,
    titled texts; None: all answers. data: the source data of a wizard from data. missing: a sentence that names a required
    library that is not installed; None if all are. extra: the extra of this package that installs it.

    Raises:
        InvalidWizard: when it contradicts itself; all problems are listed.
    """

    name: str
    title: str
    steps: tuple[WizardStep, ...]
    help: str = ""
    version: int = 1
    time_to_live: str = "15m"
    result: Callable[[Answers], Mapping[str, Any]] | None = None
    summary: Callable[[Answers], Iterable[tuple[str, str]]] | None = None
    data: Mapping[str, Any] | None = None
    extra: str | None = None
    missing: Callable[[], str | None] | None = None
    _places: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {step.name: place for place, step in enumerate(self.steps)}
        object.__setattr__(self, "_places", places)
        if problems := list(_problems_of(self)):
            raise InvalidWizard(self.name, problems)

    def step(self, name: str) -> WizardStep:
        """The step of that name. Raises KeyError when there is none."""
        return self.steps[self._places[name]]

    def has_step(self, name: str) -> bool:
        """Whether there is a step of that name."""
        return name in self._places

    def place(self, name: str) -> int:
        """The index of a step, from 0. Raises KeyError when there is none."""
        return self._places[name]

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The wizard as sessions name it: its name and version, and the digest of its data."""
        said: dict[str, Any] = {"name": self.name, "version": self.version}
        return said if self.data is None else said | {"digest": digest_of(self.data)}

    @property
    def is_installed(self) -> bool:
        """Whether everything is there that its checks need. Without it, sessions can be read, and nothing else."""
        return self.missing is None or self.missing() is None

    def require_installed(self) -> None:
        """Fail unless everything is installed that its checks need: before the first question, not in the middle.

        Raises:
            Rejected: when something is missing; the next step is the line that installs it.
        """
        problem = self.missing() if self.missing is not None else None
        if problem is not None:
            remedy = f"Install it: `pip install '.[{self.extra}]'`." if self.extra else "Install it."
            raise Rejected(problem, remedy, wizard=self.name)

    @property
    def review(self) -> WizardStep:
        """The step that shows all answers."""
        return next(step for step in self.steps if step.kind == "review")

    # -- ways ----------------------------------------------------------------------------------------------

    def is_skipped(self, name: str, answers: Answers) -> bool:
        """Whether a step is skipped, given these answers. Only once all that it needs is answered or skipped."""
        step = self.step(name)
        if step.skip_if is None:
            return False
        if any(one not in answers and not self.is_skipped(one, answers) for one in step.needs):
            return False
        return bool(step.skip_if(self.seen_by(name, answers)))

    def onward(self, name: str, answers: Answers) -> str | None:
        """The next step that is not skipped; None after the last."""
        following = self.steps[self.place(name) + 1 :]
        return next((step.name for step in following if not self.is_skipped(step.name, answers)), None)

    def backward(self, name: str, answers: Answers) -> str | None:
        """The previous step that is not skipped; None for the first, and for work."""
        if self.step(name).kind == "work":
            return None
        before = self.steps[: self.place(name)]
        return next((step.name for step in reversed(before) if not self.is_skipped(step.name, answers)), None)

    # -- answers -------------------------------------------------------------------------------------------

    def seen_by(self, name: str, answers: Answers) -> Answers:
        """The answers that a step's functions receive."""
        step = self.step(name)
        if step.kind != "form":
            return self.counted(answers)
        return {
            one: answers[one] for one in step.needs if one in answers and not self.is_skipped(one, answers)
        }

    def counted_steps(self, answers: Answers) -> list[str]:
        """The forms that are not skipped, in order."""
        return [
            step.name
            for step in self.steps
            if step.kind == "form" and not self.is_skipped(step.name, answers)
        ]

    def counted(self, answers: Answers) -> Answers:
        """The answers in the order of the steps, without those of skipped steps."""
        return {name: answers[name] for name in self.counted_steps(answers) if name in answers}

    def options_at(self, name: str, answers: Answers) -> Options:
        """By position in a step's answer, the choices."""
        options = self.step(name).options
        if callable(options):
            return options(self.seen_by(name, answers))
        return options or {}

    def check(self, name: str, answer: Answer, answers: Answers) -> tuple[dict[str, Any], list[Problem]]:
        """A step's normalized answer, and all its problems, given those of the other steps."""
        step = self.step(name)
        if step.form is None:
            kept, problems = dict(answer), [Problem("", "this step has no form")] if answer else []
        else:
            kept, problems = step.form.check(answer)
        if not problems:
            problems = list(_not_offered(kept, self.options_at(name, answers)))
        if not problems and step.validate is not None:
            problems = list(step.validate(kept, self.seen_by(name, answers)))
        return kept, problems

    def check_so_far(self, name: str, answer: Answer, answers: Answers) -> list[Problem]:
        """The problems of an incomplete answer: of its fields, and the missing ones."""
        step = self.step(name)
        problems = self.check(name, answer, answers)[1]
        if problems and step.by_field and step.validate is not None:
            problems += [
                one for one in step.validate(answer, self.seen_by(name, answers)) if one not in problems
            ]
        return problems

    def problems(self, answers: Answers) -> dict[str, list[Problem]]:
        """By step, in order, everything that prevents completion: missing answers, and those that have become invalid.

        A review's own `validate` is only called if there is no other problem.
        """
        found: dict[str, list[Problem]] = {}
        for step in self.steps:
            if step.kind == "form" and not self.is_skipped(step.name, answers):
                answer = answers.get(step.name)
                if answer is None:
                    found[step.name] = [Problem("", "it is not answered yet")]
                elif problems := self.check(step.name, answer, answers)[1]:
                    found[step.name] = problems
        review = self.review
        if not found and review.validate is not None:
            problems = list(review.validate({}, self.seen_by(review.name, answers)))
            found |= {review.name: problems} if problems else {}
        return found

    def document(self, answers: Answers) -> Mapping[str, Any]:
        """The manifest of these answers. Only for answers without `problems`."""
        counted = self.counted(answers)
        return self.result(counted) if self.result is not None else counted


def _not_offered(answer: Answer, options: Options) -> Iterator[Problem]:
    """A problem for every value that is not one of its choices."""
    for place, offered in options.items():
        for at, value in values_at(answer, place):
            # By type as well: in Python 1 and True are equal.
            if value is not None and not any(
                type(one.value) is type(value) and one.value == value for one in offered
            ):
                listed = ", ".join(str(one.value) for one in offered) or "nothing"
                yield Problem(at, f"invalid choice {value!r}; choose from {listed}")


def values_at(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The values at a position, each with its JSON Pointer; ``*`` matches any item or member."""
    found: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    for raw in place.split("/")[1:]:
        name = raw.replace("~1", "/").replace("~0", "~")
        found = [((*path, step), inner) for path, one in found for step, inner in _below(one, name)]
    return ((pointer(path), one) for path, one in found)


def _below(value: Any, name: str) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, list | tuple):
        yield from ((index, item) for index, item in enumerate(value) if name in ("*", str(index)))
    elif isinstance(value, Mapping):
        yield from ((member, item) for member, item in value.items() if name in ("*", member))


def _problems_of(wizard: Wizard) -> Iterator[str]:
    if not NAME.fullmatch(wizard.name):
        yield f"name: {wizard.name[:80]!r} is not a letter followed by up to 63 letters, digits, _ or -"
    if type(wizard.version) is not int or wizard.version < 1:
        yield f"version: {wizard.version!r} is not a number from 1"
    if duration_s(wizard.time_to_live) is None:
        yield f"time_to_live: {wizard.time_to_live[:80]!r} is not a duration; {DURATION_FORM}"
    if len(wizard.steps) > STEPS_MAX:
        yield f"steps: there are {len(wizard.steps)}; at most {STEPS_MAX} are allowed"
        return
    kinds = [step.kind for step in wizard.steps]
    order = sorted(kinds, key=("form", "review", "work").index)
    if kinds != order or kinds.count("review") != 1 or kinds[0] != "form":
        yield "steps: expected one form or more, then one review, then optional work"
    for index, step in enumerate(wizard.steps):
        yield from _step_problems(step, wizard.steps[:index])


def _step_problems(step: WizardStep, before: Sequence[WizardStep]) -> Iterator[str]:
    path = f"steps.{step.name[:80]}"
    if not _STEP_NAME.fullmatch(step.name):
        yield f"{path}.name: it is not a capital letter followed by up to 40 of A-Z, 0-9 and _"
    if step.name in _OWN_NAMES:
        yield f"{path}.name: the name is reserved"
    if any(other.name == step.name for other in before):
        yield f"{path}.name: duplicate name"
    if (step.form is None) is (step.kind == "form"):
        yield f"{path}.form: only a form step has a form, and must have one"
    if step.form is not None:
        yield from (f"{path}.form{flaw}" for flaw in step.form.flaws())
    for needed in step.needs:
        if not any(other.name == needed and other.kind == "form" for other in before):
            yield f"{path}.needs: {needed!r} is not an earlier form"
    if step.skip_if is not None and (step.kind != "form" or not step.needs):
        yield f"{path}.skip_if: only a form can be skipped, depending on the steps in `needs`"
