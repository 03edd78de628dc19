"""Guards on documents, applied to answers: the same rules, before there is a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.policy import NO_POLICY, Guard
from registration.errors import InvalidDocument
from registration.onboarding.wizards.wizard import Problem
from registration.values.commands import Command
from registration.values.documents import check_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def problems_by(guard: Guard, document: Mapping[str, Any], *below: str) -> Iterator[Problem]:
    """The problems that a guard finds in a document: all, or only those below these JSON Pointers."""
    try:
        brought = check_document(dict(document))
    except InvalidDocument as error:
        yield from (Problem("", problem) for problem in error.details["problems"])
        return
    verdict = guard(None, Command(stream="draft", action="create", document=brought), NO_POLICY)
    if verdict.agrees:
        return
    for one in verdict.evidence.get("problems", ()):
        if not below or any(one["at"] == place or one["at"].startswith(f"{place}/") for place in below):
            yield Problem(one["at"], f"{one['problem']} ({one['rule']})")
    if not below and not verdict.evidence.get("problems"):
        yield Problem("", verdict.reason)


def without_empty(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members without null, empty lists and empty objects."""
    return {name: value for name, value in members.items() if value is not None and value not in ([], {})}
