"""How far a session is, from its state and its answers: next steps, step number, share done, names, a bar as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.onboarding.wizards.statechart import action_to
from registration.onboarding.wizards.wizard import CANCELLED, COMPLETE, EXPIRED, FAILED

if TYPE_CHECKING:
    from registration.onboarding.wizards.wizard import Answers, Wizard

_TITLES = {COMPLETE: "Complete", FAILED: "Failed", EXPIRED: "Expired", CANCELLED: "Cancelled"}


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a session is. number: of the step, from 1; of: how many there are, those that are skipped left out.

    percent: how much is done, from 0 to 100; 100 only when all is.
    """

    number: int
    of: int
    percent: int

    def bar(self, width: int = 20) -> str:
        """The same as text: ``[########------------] 3/8``. width: how many characters are between the brackets."""
        done = width * self.percent // 100
        return f"[{'#' * done}{'-' * (width - done)}] {self.number}/{self.of}"


def progress_of(wizard: Wizard, state: str, answers: Answers, stopped_at: str | None = None) -> Progress:
    """How far a session is. stopped_at: where it was when it failed or expired."""
    asked = [step.name for step in wizard.steps if not wizard.is_skipped(step.name, answers)]
    if state == COMPLETE:
        return Progress(len(asked), len(asked), 100)
    at = state if wizard.has_step(state) else stopped_at
    if at is None or not wizard.has_step(at):
        return Progress(1, len(asked), 0)
    # One that is skipped by now counts as the one that comes after it.
    before = sum(1 for name in asked if wizard.place(name) < wizard.place(at))
    return Progress(min(before + 1, len(asked)), len(asked), 100 * before // len(asked))


def display_name(wizard: Wizard, state: str) -> str:
    """How people call a state."""
    return wizard.step(state).title if wizard.has_step(state) else _TITLES.get(state, state)


def next_steps(wizard: Wizard, state: str, answers: Answers) -> dict[str, str]:
    """By action, where a session can go on or back from here, by the answers that it has.

    `process` counts the answer of this step as it stands, or as not given. Failing, cancelling and what stays are left out.
    """
    if not wizard.has_step(state):
        return {"restart": wizard.steps[0].name} if state in (FAILED, EXPIRED) else {}
    step, found = wizard.step(state), {}
    onward = wizard.onward(state, answers)
    found[action_to(wizard, state, "process", onward)] = onward or COMPLETE
    if (back := wizard.backward(state, answers)) is not None:
        found[action_to(wizard, state, "back", back)] = back
    if step.kind == "review":
        found |= {f"goto_{name}": name for name in wizard.counted_steps(answers)}
    elif step.kind == "form" and wizard.is_installed and not wizard.problems(answers):
        found[f"goto_{wizard.review.name}"] = wizard.review.name
    return found
