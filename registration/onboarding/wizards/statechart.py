"""From a wizard to the lifecycle of its sessions: the chart, its guards and its fold.

=========================  ===============================  =====================  ========================
from                       action                           to                     event
=========================  ===============================  =====================  ========================
(none)                     ``start``                        the first step         ``session_created``
a step                     ``process``, ``process_to_X``    the next, or X         ``step_completed``
the last step              ``complete``                     COMPLETE               ``session_completed``
a form, the review         ``back``, ``back_to_X``          the one before, or X   ``state_changed``
the review; a form         ``goto_X``; ``goto_REVIEW``      X; the review          ``state_changed``
FAILED, EXPIRED            ``restart``                      the first step         ``state_changed``
a form, the review         ``update``, ``draft``            (stays)                ``answers_updated``, …
a form, the review         ``extend``, ``bind``             (stays)                ``session_extended``, …
work                       ``record``                       (stays)                ``work_recorded``
every step                 ``fail`` (a reason is required)  FAILED                 ``session_failed``
a form, the review         ``cancel``                       CANCELLED              ``session_cancelled``
a form, the review         (idle for too long)              EXPIRED                ``session_expired``
=========================  ===============================  =====================  ========================

An action of a statechart has one target from each state, so skipping optional steps needs separate actions
(``process_to_X``, ``back_to_X``), and guards check that the answers lead there. All transitions are in the chart, so its
table is complete.

Work doesn't expire, and can't be cancelled: external actions are finished, or undone and failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registration.core.chart import Action, Chart, GuardUse, State, Timeout, Transition
from registration.core.definition import Definition
from registration.onboarding.wizards.facts import keep_session
from registration.onboarding.wizards.guards import guards_of
from registration.onboarding.wizards.wizard import CANCELLED, COMPLETE, EXPIRED, FAILED, IN_PROGRESS

if TYPE_CHECKING:
    from registration.onboarding.wizards.wizard import Wizard, WizardStep

EXPIRE, EXPIRED_PAST = "expire", "session_expired"
"""The time-out, and the word of its event."""

_PAST = {
    "start": "session_created",
    "process": "step_completed",
    "complete": "session_completed",
    "back": "state_changed",
    "goto": "state_changed",
    "restart": "state_changed",
    "update": "answers_updated",
    "draft": "answers_drafted",
    "extend": "session_extended",
    "bind": "client_bound",
    "record": "work_recorded",
    "fail": "session_failed",
    "cancel": "session_cancelled",
}
"""By action, without its ``_to_X``, the word of its event."""

_SHARED = frozenset({"step_completed", "state_changed"})
_OWN = (GuardUse("owner"), GuardUse("client"))


def definition_of(wizard: Wizard, time_to_live: str | None = None) -> Definition:
    """The lifecycle of a wizard's sessions. time_to_live: overrides the wizard's own, as text such as ``24h``.

    Raises:
        InvalidDefinition: when that is not a duration.
    """
    return Definition(
        chart=chart_of(wizard, time_to_live or wizard.time_to_live),
        guards=guards_of(wizard),
        evolve=keep_session,
        version=wizard.version,
        # Another version of the wizard may have steps of another kind.
        earlier=frozenset(f"{wizard.name}.{past}.v1" for past in (*_PAST.values(), EXPIRED_PAST)),
    )


def chart_of(wizard: Wizard, time_to_live: str) -> Chart:
    """The chart of a wizard's sessions."""
    built = _Built()
    asking = [step for step in wizard.steps if step.kind != "work"]
    first = wizard.steps[0].name
    built.move("start", None, IN_PROGRESS, GuardUse("owner"), GuardUse("drafted"))
    for step in wizard.steps:
        _ways_on(built, wizard, step)
    for step in asking:
        _ways_back(built, wizard, step)
        built.move("update", step.name, step.name, *_OWN, GuardUse("corrected"))
        built.move("draft", step.name, step.name, *_OWN, GuardUse("drafted"))
        built.move("extend", step.name, step.name, *_OWN)
        built.move("bind", step.name, step.name, *_OWN, GuardUse("unbound"))
    work = [step.name for step in wizard.steps if step.kind == "work"]
    for name in work:
        built.move("record", name, name, *_OWN)
    for source in (IN_PROGRESS, *work):
        built.move("fail", source, FAILED, *_OWN, GuardUse("reason_given"))
    built.move("cancel", IN_PROGRESS, CANCELLED, *_OWN)
    for source in (FAILED, EXPIRED):
        built.move("restart", source, IN_PROGRESS, *_OWN)
    return Chart(
        name=wizard.name,
        title=wizard.title,
        states=(
            State(IN_PROGRESS, initial=first),
            *(State(step.name, parent=IN_PROGRESS, title=step.title) for step in asking),
            *(State(step.name, title=step.title) for step in wizard.steps if step.kind == "work"),
            State(COMPLETE, final=True),
            State(FAILED),
            State(EXPIRED),
            State(CANCELLED, final=True),
        ),
        actions=tuple(built.actions.values()),
        transitions=tuple(built.transitions),
        timeouts=(Timeout(EXPIRE, EXPIRED_PAST, IN_PROGRESS, time_to_live, EXPIRED, sliding=True),),
    )


@dataclass(slots=True)
class _Built:
    """Collects a chart's actions and transitions."""

    actions: dict[str, Action] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)

    def move(self, action: str, source: str | None, target: str, *guards: GuardUse) -> None:
        family = action if action in _PAST else action.partition("_")[0]
        past = _PAST[family]
        self.actions.setdefault(action, Action(action, past, shared=past in _SHARED))
        self.transitions.append(Transition(action, source, target, guards))


def _ways_on(built: _Built, wizard: Wizard, step: WizardStep) -> None:
    """Answering a step: to the next one, to one after optional ones, or to the end."""
    answered = [*_OWN, GuardUse("answered", {"step": step.name})]
    if step.kind != "form":
        answered.append(GuardUse("all_answered"))
    following = wizard.steps[wizard.place(step.name) + 1 :]
    if not following:
        built.move("complete", step.name, COMPLETE, *answered)
    for index, target in enumerate(_as_far_as_asked(following)):
        action = "process" if not index else f"process_to_{target.name}"
        built.move(action, step.name, target.name, *answered, _leads("onward", step, target))
    if step.kind == "form":
        review = wizard.review.name
        built.move(f"goto_{review}", step.name, review, *_OWN, GuardUse("all_answered"))


def _ways_back(built: _Built, wizard: Wizard, step: WizardStep) -> None:
    before = wizard.steps[: wizard.place(step.name)]
    for index, target in enumerate(_as_far_as_asked(before[::-1])):
        action = "back" if not index else f"back_to_{target.name}"
        built.move(action, step.name, target.name, *_OWN, _leads("backward", step, target))
    if step.kind == "review":
        for target in before:
            built.move(f"goto_{target.name}", step.name, target.name, *_OWN, _asked_for(target))


def _as_far_as_asked(steps: tuple[WizardStep, ...]) -> Iterator[WizardStep]:
    """The steps that can be next: the optional ones, and the first that is not optional."""
    for step in steps:
        yield step
        if step.skip_if is None:
            return


def _leads(guard: str, step: WizardStep, target: WizardStep) -> GuardUse:
    return GuardUse(guard, {"step": step.name, "to": target.name})


def _asked_for(target: WizardStep) -> GuardUse:
    return GuardUse("asked_for", {"to": target.name})


def action_to(wizard: Wizard, step: str, family: str, target: str | None) -> str:
    """The action of a family (`process`, `back`) that leads from a step to another; None: to the end."""
    if target is None:
        return "complete"
    far = wizard.place(target) - wizard.place(step)
    return family if abs(far) == 1 else f"{family}_to_{target}"
