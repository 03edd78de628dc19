"""The lifecycle of a manifest: DRAFT → REVIEWED → APPROVED → REGISTERED, with a way back.

=====================  ====================  ==============================
from                   action                to
=====================  ====================  ==============================
(none)                 create                DRAFT
DRAFT                  revise                DRAFT (with another document)
DRAFT                  submit_for_review     REVIEWED
REVIEWED               approve               APPROVED
REVIEWED, APPROVED     reject                DRAFT (a reason is required)
APPROVED               register              REGISTERED (final)
=====================  ====================  ==============================

REVIEWED and APPROVED are children of IN_REVIEW, which owns `reject`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from registration.core.chart import Action, Chart, State, Transition
from registration.core.definition import Definition, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.values.commands import Command
    from registration.values.events import Event
    from registration.values.snapshots import StateSnapshot


class LifecycleState(StrEnum):
    """The states that a manifest can stand in. Each is its own name as text."""

    DRAFT = "DRAFT"
    REVIEWED = "REVIEWED"
    APPROVED = "APPROVED"
    REGISTERED = "REGISTERED"


CHART = Chart(
    name="registration",
    states=(
        State("DRAFT"),
        State("IN_REVIEW", initial="REVIEWED"),
        State("REVIEWED", parent="IN_REVIEW"),
        State("APPROVED", parent="IN_REVIEW"),
        State("REGISTERED", final=True),
    ),
    actions=(
        Action("create", past="created", document=True),
        Action("revise", past="revised", document=True),
        Action("submit_for_review", past="submitted_for_review"),
        Action("approve", past="approved"),
        Action("reject", past="rejected"),
        Action("register", past="registered"),
    ),
    transitions=(
        Transition("create", source=None, target="DRAFT"),
        Transition("revise", source="DRAFT", target="DRAFT"),
        Transition("submit_for_review", source="DRAFT", target="IN_REVIEW"),
        Transition("approve", source="REVIEWED", target="APPROVED"),
        Transition("reject", source="IN_REVIEW", target="DRAFT", guards=("reason_given",)),
        Transition("register", source="APPROVED", target="REGISTERED"),
    ),
)


def reason_given(_state: StateSnapshot | None, command: Command) -> Verdict:
    """The command says why."""
    if command.reason:
        return Verdict(agrees=True, reason="a reason is given", evidence={"reason": command.reason})
    return Verdict(
        agrees=False,
        reason="a reason is required, and none was given",
        remedy="Say why: `--reason TEXT`, or `reason=` in Python.",
    )


def keep_approvals(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """Keep who approved the document as it stands; whatever changes it, or sends it back, lapses them."""
    if event.type == "registration.approved.v1":
        approval = {
            "actor": event.actor,
            "time": event.time,
            "version": event.version,
            "digest": event.data.get("digest"),
        }
        return {**facts, "approvals": [*facts.get("approvals", ()), approval]}
    if "document" in event.data or event.to_state == "DRAFT":
        return {**facts, "approvals": []}
    return facts


REGISTRATION = Definition(chart=CHART, guards={"reason_given": reason_given}, evolve=keep_approvals)
