"""Findings of guards about documents: the document that is checked, and the verdict that lists every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from registration.core.policy import Verdict
from registration.values.pointers import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from registration.core.policy import Policy
    from registration.values.commands import Command
    from registration.values.events import StateSnapshot

PROBLEMS_MAX = 100
"""The maximum number of problems listed for one document. A hostile one can have one per byte."""
SHOWN_CHARACTERS_MAX = 80


@dataclass(frozen=True, slots=True)
class Finding:
    """at: a JSON Pointer into the document. rule: the id of the violated rule. problem: expected and found values."""

    at: str
    rule: str
    problem: str

    def __str__(self) -> str:
        return f"at {self.at}: {self.problem} ({self.rule})" if self.at else f"{self.problem} ({self.rule})"


def looked_at(state: StateSnapshot | None, command: Command) -> tuple[Mapping[str, Any] | None, str | None]:
    """The document that a guard checks, and its digest: the command's, or the current one."""
    if command.document is not None:
        return command.document.value, command.document.digest
    return (state.document, state.digest) if state is not None else (None, None)


def excused(policy: Policy, document: Mapping[str, Any] | None) -> Verdict | None:
    """The verdict on a document to which a guard does not apply: of none of the kinds in the parameter `kinds`."""
    kinds = policy.parameters.get("kinds")
    if kinds is None:
        return None
    kind = policy.kind_of(document)
    name = kind.name if kind is not None else None
    if name in kinds:
        return None
    return Verdict(
        agrees=True,
        reason=f"not applicable: the document is of {'no kind' if name is None else f'the kind {name!r}'}",
        evidence={"kind": name, "kinds": list(kinds)},
    )


def no_document() -> Verdict:
    """The verdict if there is no document."""
    return Verdict(
        agrees=False,
        reason="there is no document to check",
        remedy="Submit one, with an action that takes a document.",
    )


def judged(
    problems: Iterable[Finding],
    command: Command,
    *,
    rules: str,
    evidence: Mapping[str, Any],
    remedy: str | None = None,
    ids: bool = True,
) -> Verdict:
    """The verdict on a list of findings. rules: the name of the rule set, as in ``rules for MCP servers``.

    remedy: advice, if there is better advice than correcting the document. ids: whether the rule ids are shown in the
    reason, not only their number.

    At most `PROBLEMS_MAX` problems are listed; if there are more, the evidence has `more`.
    """
    found = list(islice(problems, PROBLEMS_MAX + 1))
    if not found:
        return Verdict(agrees=True, reason=f"the document complies with the {rules}", evidence=evidence)
    listed = found[:PROBLEMS_MAX]
    more = len(found) > PROBLEMS_MAX
    reason = (
        f"the document violates the {rules} in {f'more than {PROBLEMS_MAX}' if more else len(found)} places"
    )
    if ids:
        reason += f" ({', '.join(sorted({problem.rule for problem in listed}, key=_in_order))})"
    return Verdict(
        agrees=False,
        reason=str(found[0]) if len(found) == 1 else reason,
        evidence={**evidence, "problems": [asdict(problem) for problem in listed]}
        | ({"more": True} if more else {}),
        remedy=remedy or "Correct every problem listed, and submit the document again.",
        # A command with a document is repeated with a corrected one; otherwise another document must be submitted first.
        needs={} if command.document is not None else {"action": "revise"},
    )


def text_problems(owner: Mapping[str, Any], name: str, at: str, rule: str) -> Iterator[Finding]:
    """A problem unless a member is present and is text that is not blank. at: the pointer of its parent."""
    value = owner.get(name)
    if name not in owner:
        yield Finding(f"{at}/{name}", rule, f"`{name}` is required but missing")
    elif not isinstance(value, str):
        yield Finding(f"{at}/{name}", rule, f"`{name}` must be text, not {shown(value)}")
    elif not value.strip():
        yield Finding(f"{at}/{name}", rule, f"`{name}` must not be blank, but is {shown(value)}")


def listed(
    owner: Mapping[str, Any], name: str, at: str, rule: str
) -> Iterator[tuple[str, Mapping[str, Any] | Finding]]:
    """The objects in an array, each with its pointer; a problem in the place of anything else.

    A missing array has no objects. name: the member's, a plain word.
    """
    if name not in owner:
        return
    value = owner[name]
    if not isinstance(value, list):
        yield (
            f"{at}/{name}",
            Finding(f"{at}/{name}", rule, f"`{name}` must be an array, not {shown(value)}"),
        )
        return
    for index, item in enumerate(value):
        place = f"{at}/{name}/{index}"
        good = isinstance(item, Mapping)
        yield place, item if good else Finding(place, rule, f"it must be an object, not {shown(item)}")


def shown(value: Any) -> str:
    """A JSON value, or `ABSENT`, for use in a sentence: short, on one line."""
    if value is ABSENT:
        return "nothing"
    if isinstance(value, str):
        return repr(shortened(value))
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def shortened(text: str, characters_max: int = SHOWN_CHARACTERS_MAX) -> str:
    """Text of bounded length; a `…` marks a cut."""
    return text if len(text) <= characters_max else text[:characters_max] + "…"


def _in_order(rule: str) -> tuple[str, int, str]:
    """M4 before M10."""
    letters = rule.rstrip("0123456789")
    return letters, int(rule[len(letters) :] or 0), rule
