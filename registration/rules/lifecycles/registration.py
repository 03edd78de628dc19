"""The lifecycle of a manifest: DRAFT → REVIEWED → APPROVED → REGISTERED, with a way back.

=====================  ====================  ==============================
from                   action                to
=====================  ====================  ==============================
(none)                 create                DRAFT
DRAFT                  revise                DRAFT (with another document)
DRAFT                  submit_for_review     REVIEWED
REVIEWED, APPROVED     approve               APPROVED
REVIEWED, APPROVED     reject                DRAFT (a reason is required)
APPROVED               register              REGISTERED (final)
=====================  ====================  ==============================

REVIEWED and APPROVED are children of IN_REVIEW, which owns `reject`. An APPROVED manifest can be approved by others
as well; `register` requires approvals of the current document, under the policy in force.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from registration.core.chart import Action, Chart, GuardUse, State, Transition
from registration.core.definition import Definition
from registration.rules.guards.builtin import approvals, reason_given
from registration.rules.lifecycles.facts import EVOLVES_ON, keep_facts

if TYPE_CHECKING:
    from collections.abc import Mapping


class LifecycleState(StrEnum):
    """The states of a manifest. The value of each is its name."""

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
        Action("revise", past="revised", document=True, undone_by="revise"),
        Action("submit_for_review", past="submitted_for_review", undone_by="reject"),
        Action("approve", past="approved", approval=True, schema=2),
        Action("reject", past="rejected", lapses=True, schema=2),
        Action("register", past="registered"),
    ),
    transitions=(
        Transition("create", source=None, target="DRAFT"),
        Transition("revise", source="DRAFT", target="DRAFT"),
        Transition("submit_for_review", source="DRAFT", target="IN_REVIEW"),
        Transition("approve", source="REVIEWED", target="APPROVED"),
        Transition("approve", source="APPROVED", target="APPROVED"),
        Transition("reject", source="IN_REVIEW", target="DRAFT", guards=(GuardUse("reason_given"),)),
        Transition("register", source="APPROVED", target="REGISTERED", guards=(GuardUse("approvals"),)),
    ),
)


def _approved_v2(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Version 1 recorded only which document an approval was of.

    A lifecycle written by people calls its events version 1 and has all members: those stay.
    """
    return {"approval": {"digest": data.get("digest")}, **data}


def _rejected_v2(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """In version 1, that a rejection lapses all approvals was implicit."""
    return {"lapsed": [], **data}


REGISTRATION = Definition(
    chart=CHART,
    guards={"reason_given": reason_given, "approvals": approvals},
    evolve=keep_facts,
    evolves_on=EVOLVES_ON,
    upcasters={
        "registration.approved.v1": _approved_v2,
        "registration.rejected.v1": _rejected_v2,
    },
)
