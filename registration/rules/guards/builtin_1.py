"""The guards `role`, `not_the_author` and `approvals` as they were understood under format 1 of policies (release 0.1). Never edited.

What was decided under format 1 is decided again by these. Their facts are those that `keep_facts` keeps of the events of that release.
`registration.rules.guards.builtin` has today's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.policy import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.core.policy import Policy
    from registration.values.commands import Command
    from registration.values.events import StateSnapshot


def role(_state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """The actor has one of the roles in the parameter `any`."""
    wanted = sorted(policy.parameters["any"])
    has = sorted(name for name, actors in policy.roles.items() if command.actor in actors)
    evidence = {"actor": command.actor, "roles": has, "any": wanted}
    listed = " or ".join(wanted)
    if set(wanted) & set(has):
        return Verdict(agrees=True, reason=f"{command.actor!r} is {listed}", evidence=evidence)
    actors = sorted({actor for one in wanted for actor in policy.roles.get(one, ())})
    who = f"It takes one of {', '.join(actors)}" if actors else f"No {listed} is assigned yet: assign one"
    return Verdict(
        agrees=False,
        reason=f"{_named(command.actor)} is not {listed}",
        evidence=evidence,
        remedy=f"{who} (`[roles]` in the policy).",
        needs={"actor": actors[0]} if actors else {},
    )


def not_the_author(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """Four eyes: the actor did not submit the document.

    Parameter `scope`: ``document`` (default) compares with the author of the current one; ``manifest`` with everyone who
    ever submitted one. The actor of a command with a document is its author as well, so no one can do that alone.
    """
    authors: list[str | None] = list(state.facts.get("authors", ())) if state else []
    if command.document is not None and command.actor is not None:
        authors.append(command.actor)
    whole = policy.parameters.get("scope") == "manifest"
    looked_at = authors if whole else authors[-1:]
    evidence = {"actor": command.actor, "authors": looked_at}
    if command.actor is None or not authors or None in looked_at:
        missing = "its author is unknown" if command.actor is not None else "the actor is unknown"
        return Verdict(
            agrees=False,
            reason=f"can't rule out that the actor is the author: {missing}",
            evidence=evidence,
            remedy="Name the actor, also when the document is submitted; `revise` submits it again.",
            needs={"actor": "NAME"} if command.actor is None else {},
        )
    if command.actor not in looked_at:
        return Verdict(agrees=True, reason=f"{command.actor!r} is not the author", evidence=evidence)
    return Verdict(
        agrees=False,
        reason=f"{command.actor!r} submitted this document; another person must {command.action} it",
        evidence=evidence,
        remedy="Ask another person to do it.",
        needs={"actor": "NAME"},
    )


def approvals(state: StateSnapshot | None, _command: Command, policy: Policy) -> Verdict:
    """The current document is approved by enough people, under the rules in force.

    Parameters: `count`, how many (default 1); `roles`, by role how many approvers had it when they approved; `action`, the
    approving action, for the advice (default ``approve``). Each person counts once. An approval counts if it
    is of this document, and was given under the policy that is in force now.
    """
    count = policy.parameters.get("count", 1)
    by_role: Mapping[str, int] = policy.parameters.get("roles", {})
    given: list[dict[str, Any]] = list(state.facts.get("approvals", ())) if state else []
    digest = state.digest if state else None
    counted: dict[Any, dict[str, Any]] = {}
    not_counted = []
    for one in given:
        if one.get("digest") != digest:
            not_counted.append({"actor": one["actor"], "version": one["version"], "why": "another document"})
        elif one.get("policy") != policy.digest:
            not_counted.append({"actor": one["actor"], "version": one["version"], "why": "another policy"})
        else:
            counted[one["actor"]] = one
    missing = (
        [f"{len(counted)} of {count} {'approval' if count == 1 else 'approvals'}"]
        if len(counted) < count
        else []
    )
    for name, wanted in sorted(by_role.items()):
        found = sum(name in one.get("roles", ()) for one in counted.values())
        if found < wanted:
            missing.append(f"{found} of {wanted} by {name}")
    evidence = {
        "digest": digest,
        "policy": policy.digest,
        "counted": [{"actor": one["actor"], "version": one["version"]} for one in counted.values()],
        "not_counted": not_counted,
        "count": count,
        "roles": dict(by_role),
    }
    if not missing:
        return Verdict(agrees=True, reason=f"{len(counted)} approved this document", evidence=evidence)
    passed_over = f" ({len(not_counted)} not counted: {not_counted[0]['why']})" if not_counted else ""
    return Verdict(
        agrees=False,
        reason=f"this document has {' and '.join(missing)}{passed_over}",
        evidence=evidence,
        remedy="Get the missing approvals.",
        needs={"action": str(policy.parameters.get("action", "approve"))},
    )


def _named(actor: str | None) -> str:
    return "the unnamed actor" if actor is None else repr(actor)
