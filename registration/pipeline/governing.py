"""Changes of the rules of a registry: from a file to the registry's own log."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from registration.core.policy import Policy
from registration.engine.policy_on_disk import FoundPolicy, read_policy
from registration.errors import CorruptRegistry, InvalidArgument, Next, NotFound, Rejected
from registration.rules.guards.registry import guard_of
from registration.storage import layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from registration.engine.registry import OpenRegistry
    from registration.values.events import Event


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of applying a policy.

    event: what the registry's log says of it; None if these rules and this roster are in force already. found: the policy. policy,
    roster: its digests; before: those in force before it. changes: lines of a unified diff, of the rules and the roles as indented JSON:
    the sign of each, and the rest. files: the files in the registry that were replaced. dry_run: nothing was written.
    """

    event: Event | None
    found: Policy
    policy: str | None
    roster: str | None
    before: tuple[str | None, str | None]
    changes: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    dry_run: bool = False


def apply_policy(
    registry: OpenRegistry,
    policy: str | os.PathLike[str] | Policy | None,
    words: Mapping[str, Any],
    *,
    as_owner: bool = False,
    dry_run: bool = False,
) -> Applied:
    """See `registration.pipeline.upkeep.UpkeepPart.apply_policy`."""
    governance = registry.governing()
    found = read(registry, policy)
    command = registry.command(layout.REGISTRY, words)
    if as_owner:
        check_owner(registry, command.reason)
    state = governance.state
    before = (None, None) if state is None else (state.facts["policy"], state.facts["roster"])
    changes = tuple(_changes(_in_full(registry, before), _of(found.policy)))
    event = governance.apply(found, command, as_owner=as_owner, dry_run=dry_run)
    files: tuple[str, ...] = ()
    if governance.file is not None and found.files and not dry_run:
        files = governance.file.put(found.files)
    policy = found.policy
    return Applied(event, policy, policy.digest, policy.roster, before, changes, files, dry_run)


def propose_policy(
    registry: OpenRegistry,
    policy: str | os.PathLike[str] | Policy | None,
    words: Mapping[str, Any],
    *,
    dry_run: bool = False,
) -> Event:
    """See `registration.pipeline.upkeep.UpkeepPart.propose_policy`."""
    found = read(registry, policy)
    return registry.governing().propose(found, registry.command(layout.REGISTRY, words), dry_run=dry_run)


def _of(policy: Policy) -> dict[str, Any]:
    return {"rules": policy.data, "roles": (policy.roster_data or {"roles": {}})["roles"]}


def _in_full(registry: OpenRegistry, digests: tuple[str | None, str | None]) -> dict[str, Any]:
    """Rules and roles by their digests; those that are damaged count as none."""
    kept = registry.store.kept
    rules, roster = digests
    with suppress(NotFound, CorruptRegistry):
        roles = {} if roster is None else kept("rosters", roster)["roles"]
        return {"rules": None if rules is None else kept("policies", rules), "roles": roles}
    return {"rules": None, "roles": {}}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from registration.evidence.differences import lines  # noqa: PLC0415  # for this alone

    yield from lines(_sorted(before), _sorted(after))


def _sorted(value: Any) -> Any:
    """As it is kept: with members in alphabetical order."""
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def read(registry: OpenRegistry, policy: str | os.PathLike[str] | Policy | None) -> FoundPolicy:
    """The policy to put in force: of a file, as an object, or by default of the registry's own file.

    Raises:
        NotFound: when there is no such file.
        InvalidPolicy: when it is invalid.
        InvalidArgument: when one of its guards is not installed here.
    """
    if isinstance(policy, Policy):
        for name in policy.guards:
            guard_of(name, registry.guards)
        return FoundPolicy(policy)
    if policy is not None:
        return read_policy(os.fspath(policy), registry.definition.chart, registry.guards)
    found = registry.governing().found()
    if not found.files:
        raise NotFound(
            f"The registry has no {layout.POLICY_FILE}.",
            "Name a file.",
            Next(operation="policy.apply", missing=("file",)),
        )
    return found


def check_owner(registry: OpenRegistry, reason: str | None) -> None:
    """Refuse, unless this process runs as the owner of the registry's directory, or as root, and there is a reason.

    Raises:
        InvalidArgument: when there is no reason.
        Rejected: when it is another user.
    """
    if not reason:
        raise InvalidArgument(
            "A change without the consent that the rules demand needs a reason.",
            "Give one: every later receipt shows it.",
        )
    place = registry.store.backend.place
    if place is None:  # in memory: the program owns it
        return
    owner, user = os.stat(place).st_uid, os.geteuid()
    if user not in (owner, 0):
        raise Rejected(
            f"Only the owner of {place} (user id {owner}) can do this; this process has user id {user}.",
            "Ask the owner, or get the consent that the rules in force demand.",
            owner=owner,
            user=user,
        )
