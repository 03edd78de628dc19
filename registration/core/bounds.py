"""Checks that the core makes besides the guards: an approval by a person who gave it already, and limits. Pure.

Each returns the verdict of a refusal, or None; so what they look at is in an `Answer`, and in `why`, only where it matters. They apply
under policies of format 2 and later: release 0.1 made neither.

What a state keeps is bounded, and a reached bound refuses the next command; nothing that a rule counts is ever dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registration.core.outlook import Outlook, words_of
from registration.core.policy import NO_LIMITS, Verdict
from registration.values.people import person

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registration.core.interpreter import Action
    from registration.core.policy import Limits, Policy
    from registration.values.commands import Command
    from registration.values.events import StateSnapshot

APPROVALS_MAX = 256
"""The number of approvals of one document, unless `[limits]` allows more `people`."""

AUTHORS_MAX = 64
"""The number of authors of one manifest, unless `[limits]` allows more `people`."""

UNCOUNTED: Mapping[str, int] = {"drafts": 0, "refusals": 0}
"""What is seen of an actor who has done nothing today, or of whom nothing is known."""


def given_already(
    state: StateSnapshot | None, command: Command, action: Action, policy: Policy
) -> Mapping[str, Any] | None:
    """The approval to which another one by the same actor, of this document and under these rules, would add nothing; None if there is none.

    An approval in another spelling of the name is by the same person. A second one adds something if the first no longer counts, since
    its roles are gone, or if the approver has a role now that the first one lacks.
    """
    if state is None or command.document is not None or action.lapses:
        return None
    actor = command.actor
    key = None if actor is None else person(actor)
    for one in state.facts.get("approvals", ()):
        approver = one["actor"]
        if approver == actor or (approver is not None and person(approver) == key):
            has, had = set(policy.roles_of(actor)), set(one.get("roles", ()))
            if _is_same(one, state, policy) and has <= had and (has or not had):
                found: Mapping[str, Any] = one
                return found
    return None


def _is_same(one: Mapping[str, Any], state: StateSnapshot, policy: Policy) -> bool:
    """Whether another approval would be of the same: the document, the rules. Approvals record no other evidence."""
    return one.get("digest") == state.digest and policy.counts(one.get("policy"))


def says_once(
    state: StateSnapshot, command: Command, one: Mapping[str, Any], outlooks: Sequence[Outlook]
) -> Verdict:
    """The refusal of an approval that was given already: `one`. outlooks: those of the actions that it leads to."""
    actor, approver = command.actor, one["actor"]
    if actor is None:
        who = "an unnamed actor"
    else:
        who = repr(actor) if actor == approver else f"{actor!r} is {approver!r}, who"
    missing = [each for outlook in outlooks for each in outlook.missing]
    evidence = {
        "actor": actor,
        "approved": {"actor": approver, "version": one["version"], "time": one.get("time")},
        "digest": state.digest,
        "policy": one.get("policy"),
        "missing": [each.as_json() for each in missing],
    }
    reason = f"{who} approved this document already, at version {one['version']}"
    if missing or not outlooks:
        still = f"Missing: {words_of(missing)}." if missing else "Each person approves once."
        return Verdict(agrees=False, reason=reason, evidence=evidence, remedy=still, needs={"actor": "NAME"})
    onward = outlooks[0].action
    return Verdict(
        agrees=False,
        reason=reason,
        evidence=evidence,
        remedy=f"No approval is missing for {onward!r}.",
        needs={"action": onward},
    )


def says_limits(
    state: StateSnapshot | None, command: Command, action: Action, limits: Limits, *, keeps_all: bool
) -> Verdict | None:
    """A refusal if the command would go beyond a limit of the policy, or a built-in one.

    keeps_all: whether the facts after it keep every name, and count documents: those of an event that names the registry's log do.
    Others keep as many names as release 0.1, whatever the policy allows, and a limit of revisions can't be kept.

    Those of an actor and a day are compared with `Command.seen`, which the caller counted: without it, they can't be kept.
    """
    if limits is NO_LIMITS and not action.approval and command.document is None:
        return None  # most commands
    sizes = _says_sizes(state, command, action, limits, keeps_all=keeps_all)
    return sizes or _says_today(state, command, limits)


def _says_sizes(
    state: StateSnapshot | None, command: Command, action: Action, limits: Limits, *, keeps_all: bool
) -> Verdict | None:
    """Of what one manifest has: approvals, authors, documents, bytes."""
    if state is None:
        return None
    facts, verdict = state.facts, None
    people, given = limits.people, facts.get("approvals", ())
    if given and action.approval and not action.lapses and command.document is None:
        names = [one["actor"] for one in given] if people is not None or len(given) >= APPROVALS_MAX else []
        most = _most(people, APPROVALS_MAX, keeps_all=keeps_all)
        if (found := _too_many(names, command.actor, people, most, grows=True)) is not None:
            what = "this document has {}; it can have at most {}"
            verdict = _beyond("people", *found, "approval", what, "Take the next action, or reject it")
    if command.document is not None:
        authors, revisions = facts.get("authors", ()), facts.get("revisions", 0)
        grows = command.actor not in authors
        most = _most(people, AUTHORS_MAX, keeps_all=keeps_all)
        if (found := _too_many(authors, command.actor, people, most, grows=grows)) is not None:
            what = "this manifest has {}; it can have at most {}"
            verdict = _beyond("people", *found, "author", what, "One of them can submit the document")
        elif limits.revisions is not None and not keeps_all:
            verdict = Verdict(
                agrees=False,
                reason="`revisions` in [limits] can't be kept: this registry has no log of its own",
                evidence={"limit": "revisions", "most": limits.revisions, "found": None},
            )
        elif limits.revisions is not None and revisions >= limits.revisions:
            what = "this manifest has had {}; it can have at most {}"
            verdict = _beyond(
                "revisions", revisions, limits.revisions, "document", what, "Create another manifest"
            )
    if verdict is None and limits.bytes is not None and state.position.size_bytes >= limits.bytes:
        what = "the log of this manifest has {}, and no event is added from {} on"
        verdict = _beyond(
            "bytes", state.position.size_bytes, limits.bytes, "byte", what, "Create another manifest"
        )
    return verdict


def _says_today(state: StateSnapshot | None, command: Command, limits: Limits) -> Verdict | None:
    """Of what one actor has done today: drafts, refusals."""
    actor = repr(command.actor) if command.actor is not None else "the unnamed actor"
    actor = actor.replace("{", "{{").replace("}", "}}")  # it becomes part of a template
    verdict = None
    if limits.drafts is not None and state is None:
        what = f"{actor} has created {{}} today; at most {{}} a day are allowed"
        verdict = _of_today("drafts", command, limits.drafts, "manifest", what)
    if verdict is None and limits.refusals is not None:
        what = f"{actor} has been refused {{}} today; at most {{}} a day are allowed"
        verdict = _of_today("refusals", command, limits.refusals, "time", what)
    return verdict


def _most(people: int | None, kept: int, *, keeps_all: bool) -> int:
    """The number of names that a state keeps. kept: at least."""
    return max(kept, people) if people is not None and keeps_all else kept


def _too_many(
    names: Sequence[str | None], actor: str | None, people: int | None, most: int, *, grows: bool
) -> tuple[int, int] | None:
    """What was reached: the number of names, or of people, and the bound. None if the actor can be added.

    most: the number of names that a state keeps. grows: whether the actor's name would be one more.
    """
    if grows and len(names) >= most:
        return len(names), most
    if people is None or len(names) < people:
        return None
    known = {name if name is None else person(name) for name in names}
    is_known = (actor if actor is None else person(actor)) in known
    return (len(known), people) if not is_known and len(known) >= people else None


def _of_today(what: str, command: Command, most: int, noun: str, reason: str) -> Verdict | None:
    found = (command.seen or {}).get(what)
    if type(found) is not int:
        return Verdict(
            agrees=False,
            reason=f"`{what}` in [limits] can't be kept: the actor's number of today is unknown",
            evidence={"limit": what, "most": most, "found": None},
        )
    return _beyond(what, found, most, noun, reason, "Continue tomorrow (UTC)") if found >= most else None


def _beyond(limit: str, found: int, most: int, noun: str, reason: str, instead: str) -> Verdict:
    return Verdict(
        agrees=False,
        reason=reason.format(f"{found:,} {noun}{'' if found == 1 else 's'}", f"{most:,}"),
        evidence={"limit": limit, "most": most, "found": found},
        remedy=f"{instead}, or raise `{limit}` in [limits] of the policy.",
    )
