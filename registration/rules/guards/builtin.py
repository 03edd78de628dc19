"""The guards that every registry has: reasons, roles, four eyes, approvals.

As they are understood under format 2 of policies. Under format 1, `role`, `not_the_author` and `approvals` are those of
`registration.rules.guards.builtin_1`. Format 2 compares people, not spellings (`registration.values.people`).
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from registration.core.outlook import Missing, words_of
from registration.core.policy import Verdict
from registration.values.people import person

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping

    from registration.core.policy import Policy
    from registration.values.commands import Command
    from registration.values.events import StateSnapshot

AUTHORS_KEPT_1 = 64
"""The number of authors that release 0.1 kept: with so many, there may have been more."""


def reason_given(_state: StateSnapshot | None, command: Command, _policy: Policy) -> Verdict:
    """The command gives a reason."""
    if command.reason:
        return Verdict(agrees=True, reason="a reason is given", evidence={"reason": command.reason})
    return Verdict(
        agrees=False,
        reason="a reason is required but missing",
        remedy="Give a reason.",
        needs={"reason": "TEXT"},
    )


def role(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """The actor has one of the roles in the parameter `any`."""
    if policy.format == 1:
        from registration.rules.guards import builtin_1  # noqa: PLC0415  # for events of release 0.1 alone

        return builtin_1.role(state, command, policy)
    wanted = sorted(policy.parameters["any"])
    has = policy.roles_of(command.actor)
    evidence = {"actor": command.actor, "roles": has, "any": wanted}
    listed = " or ".join(wanted)
    if set(wanted) & set(has):
        return Verdict(agrees=True, reason=f"{command.actor!r} is {listed}", evidence=evidence)
    actors = _with_a_role(policy, wanted)
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
    if policy.format == 1:
        from registration.rules.guards import builtin_1  # noqa: PLC0415  # for events of release 0.1 alone

        return builtin_1.not_the_author(state, command, policy)
    whole = policy.parameters.get("scope") == "manifest"
    authors = _authors(state)
    if command.document is not None and command.actor is not None:
        authors = [*authors, command.actor]
    looked_at = authors if whole else authors[-1:]
    evidence = {"actor": command.actor, "authors": looked_at}
    missing = ""
    if command.actor is None:
        missing = "the actor is unknown"
    elif not authors or None in looked_at:
        missing = "its author is unknown"
    author = None if command.actor is None else _spelled(command.actor, looked_at)
    if not missing and author is not None:
        return Verdict(
            agrees=False,
            reason=f"{_also(command.actor, author)} submitted this document; another person must {command.action} it",
            evidence=evidence,
            remedy="Ask another person to do it.",
            needs={"actor": "NAME"},
        )
    if not missing and whole and _has_lost_authors(state):
        missing = f"release 0.1 kept only the last {AUTHORS_KEPT_1} authors of a manifest"
    if missing:
        return Verdict(
            agrees=False,
            reason=f"can't rule out that the actor is the author: {missing}",
            evidence=evidence,
            remedy="Name the actor, also when the document is submitted; `revise` submits it again.",
            needs={"actor": "NAME"} if command.actor is None else {},
        )
    return Verdict(agrees=True, reason=f"{command.actor!r} is not the author", evidence=evidence)


def approvals(state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """The current document is approved by enough people, under the rules in force.

    Parameters: `count`, how many (default 1); `roles`, by role how many approvers had it; `held`: ``now`` (default) counts
    an approver with roles only while still having one of them, ``then`` counts the roles at the time of the approval; `action`, the
    approving action (default ``approve``).

    An approval counts if it is of this document, and was given under the rules in force; who has which role is not part of them.
    Each person counts once, however often and in whatever spelling: by the approval with most of the demanded roles, and of those the
    latest. An unnamed approver may be any of the others, and counts only if there are none.
    """
    if policy.format == 1:
        from registration.rules.guards import builtin_1  # noqa: PLC0415  # for events of release 0.1 alone

        return builtin_1.approvals(state, command, policy)
    parameters = policy.parameters
    count: int = parameters.get("count", 1)
    by_role: Mapping[str, int] = parameters.get("roles", {})
    action = str(parameters.get("action", "approve"))
    have, not_counted = _count(state, policy, by_role, now=parameters.get("held", "now") == "now")
    found = {name: sum(name in roles for _, _, roles in have.values()) for name in sorted(by_role)}
    missing: list[Missing] = []
    if len(have) < count or (found and any(found[name] < wanted for name, wanted in by_role.items())):
        lacking = {name: by_role[name] - found[name] for name in found}
        missing = _missing(state, policy, action, have, count, lacking)
    counted = list(have.values())
    if not_counted:  # a person's later approval is in the place of the first
        counted.sort(key=itemgetter(1))
    evidence = {
        "digest": state.digest if state else None,
        "policy": policy.digest,
        "counted": [{"actor": actor, "version": version} for actor, version, _ in counted],
        "not_counted": not_counted,
        "count": count,
        "roles": dict(by_role),
        "by_role": found,
        "action": action,
        "missing": [one.as_json() for one in missing],
    }
    if not missing:
        return Verdict(agrees=True, reason=f"{len(have)} approved this document", evidence=evidence)
    lacks = [f"{len(have)} of {count} {'approval' if count == 1 else 'approvals'}"] * (len(have) < count)
    lacks += [f"{found[name]} of {by_role[name]} by {name}" for name in found if found[name] < by_role[name]]
    without = f" ({len(not_counted)} not counted: {not_counted[0]['why']})" if not_counted else ""
    return Verdict(
        agrees=False,
        reason=f"this document has {' and '.join(lacks)}{without}",
        evidence=evidence,
        remedy=f"Get the missing approvals: {words_of(missing)}.",
        needs={"action": action},
    )


_Counted = tuple[str | None, int, "Collection[str]"]
"""An approval that counts: its actor, its version, and the roles with which it counts."""


def _count(
    state: StateSnapshot | None, policy: Policy, demanded: Container[str], *, now: bool
) -> tuple[dict[str | None, _Counted], list[dict[str, Any]]]:
    """The approvals that count, by person (None: unnamed), and those that don't, in order, each with the reason.

    now: whether an approver must still have a role.
    """
    counted: dict[str | None, _Counted] = {}
    without: list[tuple[str | None, int, str]] = []
    digest = state.digest if state else None
    for given in state.facts.get("approvals", ()) if state else ():
        actor, version, roles = given["actor"], given["version"], given.get("roles", ())
        had = roles
        if now and had:
            has = policy.roles_of(actor)
            roles = [role for role in had if role in has]
        if given.get("digest") != digest:
            without.append((actor, version, "another document"))
        elif not policy.counts(given.get("policy")):
            without.append((actor, version, "another policy"))
        elif had and not roles:
            without.append((actor, version, f"no longer {' or '.join(sorted(had))}"))
        else:
            key = None if actor is None else person(actor)
            one: _Counted = (actor, version, roles)
            if key in counted:
                one, other = _better(one, counted[key], demanded)
                why = f"the same person as {_named(one[0])}, version {one[1]}"
                without.append((other[0], other[1], why))
            counted[key] = one
    if None in counted and len(counted) > 1:
        without.append((None, counted.pop(None)[1], "the unnamed actor may be one of the others"))
    if len(without) > 1:
        without.sort(key=itemgetter(1))
    return counted, [{"actor": actor, "version": version, "why": why} for actor, version, why in without]


def _better(one: _Counted, other: _Counted, demanded: Container[str]) -> tuple[_Counted, _Counted]:
    """Of two approvals by one person, the one that counts, and the other: that with more of the demanded roles, or the later one."""
    fewer = sum(role in demanded for role in one[2]) < sum(role in demanded for role in other[2])
    return (other, one) if fewer else (one, other)


def _missing(
    state: StateSnapshot | None,
    policy: Policy,
    action: str,
    have: Mapping[str | None, _Counted],
    count: int,
    lacking: Mapping[str, int],
) -> list[Missing]:
    """What is missing, and the actors who could give it, as far as the policy's own guards of the approving action tell.

    have: the approvals that count, by person. count: how many are needed. lacking: by role, how many more are needed.
    """
    uses = policy.uses.get(action, ())
    demanded = [use.parameters["any"] for use in uses if use.name == "role"]
    authors: dict[str, str] = {}
    for use in uses:
        if use.name == "not_the_author":
            known = _authors(state) if use.parameters.get("scope") == "manifest" else _authors(state)[-1:]
            authors |= {person(author): author for author in known if author is not None}
    found = []
    # Those by role are in the total as well.
    total = count - len(have) - sum(number for number in lacking.values() if number > 0)
    for name, number in ((None, total), *lacking.items()):
        if number <= 0:
            continue
        without = authors | {
            key: str(actor)
            for key, (actor, _, roles) in have.items()
            if key is not None and (name is None or name in roles)
        }
        groups = demanded if name is None else [*demanded, [name]]
        if not groups:
            found.append(Missing(number, name, None, tuple(sorted(without.values()))))
            continue
        able = [{person(actor): actor for actor in _with_a_role(policy, group)} for group in groups]
        keys = set(able[0]).intersection(*able[1:]) - without.keys()
        found.append(Missing(number, name, tuple(sorted(able[0][key] for key in keys))))
    return found


def _with_a_role(policy: Policy, wanted: Iterable[str]) -> list[str]:
    """The actors with one of some roles, sorted."""
    return sorted({actor for one in wanted for actor in policy.roles.get(one, ())})


def _authors(state: StateSnapshot | None) -> list[str | None]:
    return list(state.facts.get("authors", ())) if state else []


def _has_lost_authors(state: StateSnapshot | None) -> bool:
    """Whether release 0.1 may have dropped authors of this manifest: it kept the last ones."""
    if state is None:
        return False
    return "authors_lost" in state.facts or (
        "revisions" not in state.facts and len(state.facts.get("authors", ())) >= AUTHORS_KEPT_1
    )


def _spelled(actor: str, names: Iterable[str | None]) -> str | None:
    """The spelling in `names` of the person whom `actor` names; None if there is none."""
    key = person(actor)
    return next((name for name in names if name is not None and person(name) == key), None)


def _also(actor: str | None, name: str) -> str:
    """An actor, and the other spelling in which the rules know the same person."""
    return repr(name) if actor == name else f"{actor!r} is {name!r}, who"


def _named(actor: str | None) -> str:
    return "the unnamed actor" if actor is None else repr(actor)
