"""The guards of sessions: the identity of the caller, and whether the answers allow the transition.

Pure functions of the session's state and the command, as all guards are. So concurrent processes can't get
past them: a decision that is repeated after a conflict asks them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.policy import Guard, Policy, Verdict
from registration.rules.guards.builtin import reason_given
from registration.values.people import same_person

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registration.onboarding.wizards.wizard import Problem, Wizard
    from registration.values.commands import Command
    from registration.values.events import StateSnapshot

PROBLEMS_MAX = 100


def guards_of(wizard: Wizard) -> Mapping[str, Guard]:
    """The guards of a wizard's lifecycle, by name."""
    fixed = {"owner": owner, "client": client, "unbound": unbound, "reason_given": reason_given}
    return {**fixed, **_about_answers(wizard), **_about_others(wizard), **_about_ways(wizard)}


def _about_answers(wizard: Wizard) -> dict[str, Guard]:
    def answered(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
        """The command contains a valid answer to the current step."""
        step = policy.parameters["step"]
        answer = _said(command).get("answers", {}).get(step)
        if answer is None:
            if wizard.step(step).kind == "form":
                return _no(f"it does not answer {step}", "Answer it.")
            answer = {}
        kept, problems = wizard.check(step, answer, _answers(state))
        if not problems and kept != answer:
            return _no(
                f"the answer to {step} is not in normal form", "Pass it as returned by `Wizard.check`."
            )
        return _judged({step: problems} if problems else {}, f"the answer to {step}")

    def all_answered(state: StateSnapshot | None, _command: Command, _policy: Policy) -> Verdict:
        """The answers are complete, and all are still valid."""
        return _judged(wizard.problems(_answers(state)), "the answers")

    return {"answered": answered, "all_answered": all_answered}


def _about_others(wizard: Wizard) -> dict[str, Guard]:
    def corrected(state: StateSnapshot | None, command: Command, _policy: Policy) -> Verdict:
        """The command corrects answers of forms, with valid ones."""
        said = _said(command).get("answers", {})
        forms = {name for name in said if wizard.has_step(name) and wizard.step(name).kind == "form"}
        if not said or forms != said.keys():
            return _no("it corrects no answer, or a step without a form", "Name a step with a form.")
        checked = {name: wizard.check(name, one, {**_answers(state), **said}) for name, one in said.items()}
        found = {name: problems for name, (_, problems) in checked.items() if problems}
        if not found and any(kept != said[name] for name, (kept, _) in checked.items()):
            return _no("an answer is not in normal form", "Pass it as returned by `Wizard.check`.")
        return _judged(found, "the answers")

    def drafted(_state: StateSnapshot | None, command: Command, _policy: Policy) -> Verdict:
        """The command's suggestions or drafts belong to forms, and contain no secret."""
        said = {**_said(command).get("draft", {}), **_said(command).get("answers", {})}
        found = {}
        for name, one in said.items():
            form = wizard.step(name).form if wizard.has_step(name) else None
            if form is None:
                return _no(f"{name} has no form", "Name a step with a form.")
            if leaks := list(form.leaks(one)):
                found[name] = leaks
        return _judged(found, "the draft")

    return {"corrected": corrected, "drafted": drafted}


def _about_ways(wizard: Wizard) -> dict[str, Guard]:
    def onward(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
        """The target is the next step that is not skipped."""
        step, to = policy.parameters["step"], policy.parameters["to"]
        answers = {**_answers(state), **_said(command).get("answers", {})}
        return _is_it(to, wizard.onward(step, answers))

    def backward(state: StateSnapshot | None, _command: Command, policy: Policy) -> Verdict:
        """The target is the previous step that is not skipped."""
        step, to = policy.parameters["step"], policy.parameters["to"]
        return _is_it(to, wizard.backward(step, _answers(state)))

    def asked_for(state: StateSnapshot | None, _command: Command, policy: Policy) -> Verdict:
        """The target is not skipped."""
        to = policy.parameters["to"]
        if wizard.is_skipped(to, _answers(state)):
            return _no(f"{to} is skipped, given the answers so far", "Go to another step.")
        return Verdict(agrees=True, reason=f"{to} is needed")

    return {"onward": onward, "backward": backward, "asked_for": asked_for}


def owner(state: StateSnapshot | None, command: Command, _policy: Policy) -> Verdict:
    """The actor is the owner of the session."""
    whose = state.facts["owner"]["user"] if state else _said(command).get("owner", {}).get("user")
    if same_person(command.actor, whose):
        return Verdict(agrees=True, reason=f"it belongs to {whose!r}")
    who = "an unnamed actor" if command.actor is None else repr(command.actor)
    return _no(f"it belongs to {whose!r}, not to {who}", "Only its owner may act on it: start your own.")


def client(state: StateSnapshot | None, command: Command, _policy: Policy) -> Verdict:
    """The session is bound to no client, or to this one."""
    bound = state.facts.get("client") if state else None
    if bound is None or bound == _said(command).get("client"):
        return Verdict(agrees=True, reason="the client matches, or it is bound to none")
    return _no("it is bound to another client", "Continue from the client that it is bound to.")


def unbound(state: StateSnapshot | None, _command: Command, _policy: Policy) -> Verdict:
    """The session was never bound to a client."""
    if state is None or state.facts.get("client") is None:
        return Verdict(agrees=True, reason="it is bound to no client")
    return _no("it is already bound to a client, permanently", "Start another session to use another client.")


def _answers(state: StateSnapshot | None) -> Mapping[str, Mapping[str, Any]]:
    return state.facts.get("answers", {}) if state else {}


def _said(command: Command) -> Mapping[str, Any]:
    return command.context or {}


def _no(reason: str, remedy: str) -> Verdict:
    return Verdict(agrees=False, reason=reason, remedy=remedy)


def _is_it(wanted: str, found: str | None) -> Verdict:
    if wanted == found:
        return Verdict(agrees=True, reason=f"{wanted} is next, given the answers")
    return _no(
        f"{found or 'the end'} is next, given the answers, not {wanted}",
        "Check it again, and continue from there.",
    )


def _judged(problems: Mapping[str, Sequence[Problem]], what: str) -> Verdict:
    listed: list[dict[str, Any]] = [
        {"step": step, "at": one.at, "problem": one.problem}
        for step, found in problems.items()
        for one in found
    ]
    if not listed:
        return Verdict(agrees=True, reason=f"{what}: no problems")
    count = "1 problem" if len(listed) == 1 else f"{len(listed)} problems"
    return Verdict(
        agrees=False,
        reason=f"{what} {'has' if len(problems) == 1 and what != 'the answers' else 'have'} {count}",
        evidence={"problems": listed[:PROBLEMS_MAX]},
        remedy="Correct the listed problems.",
    )
