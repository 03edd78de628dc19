"""The progress of a session, from its state and its answers: next steps, step number, percentage, titles, a text bar."""

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
    """The progress of a session. number: of the step, from 1; of: the number of steps, without skipped ones.

    percent: from 0 to 100; 100 only when everything is done.
    """

    number: int
    of: int
    percent: int

    def bar(self, width: int = 20) -> str:
        """The same as text: ``[########------------] 3/8``. width: the number of characters between the brackets."""
        done = width * self.percent // 100
        return f"[{'#' * done}{'-' * (width - done)}] {self.number}/{self.of}"


def progress_of(wizard: Wizard, state: str, answers: Answers, stopped_at: str | None = None) -> Progress:
    """The progress of a session. stopped_at: the step at which it failed or expired."""
    asked = [step.name for step in wizard.steps if not wizard.is_skipped(step.name, answers)]
    if state == COMPLETE:
        return Progress(len(asked), len(asked), 100)
    at = state if wizard.has_step(state) else stopped_at
    if at is None or not wizard.has_step(at):
        return Progress(1, len(asked), 0)
    # A step that has become skipped counts as the one after it.
    before = sum(1 for name in asked if wizard.place(name) < wizard.place(at))
    return Progress(min(before + 1, len(asked)), len(asked), 100 * before // len(asked))


def display_name(wizard: Wizard, state: str) -> str:
    """The title of a state."""
    return wizard.step(state).title if wizard.has_step(state) else _TITLES.get(state, state)


def next_steps(wizard: Wizard, state: str, answers: Answers) -> dict[str, str]:
    """By action, the targets to continue or go back to, given the session's answers.

    `process` uses the current answer of this step, if any. Failing, cancelling and actions that stay are left out.
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
