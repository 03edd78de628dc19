"""A policy: the rules of one registry, in addition to those of its lifecycle. Data, and guards by name.

A *guard* is asked before an action is taken and gives a `Verdict`, with a reason and evidence. It is a pure function of
the state, the command and the policy, so the same question gets the same answer forever. A lifecycle names guards for its
transitions; a policy names them for actions, with parameters, and brings roles and kinds of documents.

`registration.rules.guards` has the built-in guards; `registration.rules.policy_file` reads `policy.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from registration.core.chart import GuardUse
from registration.values.commands import Command
from registration.values.documents import digest_of
from registration.values.events import StateSnapshot
from registration.values.people import person, same_person
from registration.values.pointers import ABSENT, at_pointer


@dataclass(frozen=True, slots=True)
class Verdict:
    """A guard's answer.

    reason: a sentence without its full stop. evidence: the JSON values it is based on. remedy: if it disagrees,
    how to satisfy it, as a whole sentence. needs: the same for programs: options of the command that would satisfy
    it (``{"reason": "TEXT"}``), or under ``action`` the action that must come first.
    """

    agrees: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One guard's verdict. origin: the lifecycle or the policy that asked for it."""

    guard: str
    origin: Literal["lifecycle", "policy", "claim"]
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """The answer as one JSON object."""
        said = self.verdict
        return {
            "guard": self.guard,
            "origin": self.origin,
            "agrees": said.agrees,
            "reason": said.reason,
            "evidence": dict(said.evidence),
            "remedy": said.remedy,
        }


CHANGES = ("policy", "roster", "lifecycle")
"""The changes of a registry that a policy may guard (`Policy.governance`)."""

Guard = Callable[[StateSnapshot | None, Command, "Policy"], Verdict]
"""A pure function of the state (None before creation), the command and the policy.

The command names its action, even if the caller only named a target state. `policy.parameters` are those of this
use of the guard. A guard that raises, or returns anything but a verdict, counts as one that disagrees.
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document, such as MCP servers.

    match: by JSON Pointer, the required value: a JSON value, text in which ``*`` matches any characters, or True for
    any value. A document is of the first kind all of whose matches hold. schema: the digest of its JSON Schema,
    and the JSON Pointer of the definition in it.
    """

    name: str
    match: Mapping[str, Any] = field(hash=False)
    schema: str | None = None
    schema_pointer: str = ""

    def holds(self, document: Mapping[str, Any]) -> bool:
        """Whether a document is of this kind."""
        return all(_stands(at_pointer(document, pointer), wanted) for pointer, wanted in self.match.items())


@dataclass(frozen=True, slots=True)
class Limits:
    """What one manifest, and one actor on one day (UTC), may have; a command beyond a limit is refused. None: no limit of its own.

    people: approvers, and authors, of a manifest. revisions, bytes: the documents of a manifest, and the size of its log.
    drafts: manifests that an actor creates in a day. refusals: refused commands of an actor in a day.
    """

    people: int | None = None
    revisions: int | None = None
    bytes: int | None = None
    drafts: int | None = None
    refusals: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Policy:
    """The rules in force, and the roster: the people who have roles. `Policy()` has neither.

    uses: by action, the guards that are asked besides those of the lifecycle, in order; guards: the functions by name.
    roles: by role, its actors. kinds: in the order in which they are tried. schemas: by digest, the JSON Schemas of the
    kinds. log_refusals: whether refusals are recorded in `refusals.jsonl`. exclusive: the actions that a lock on a
    manifest reserves for its holder; None: all. sources: how an actor must be known (`login`); empty: a name that was given counts.
    one_script: whether a new name with letters of several scripts is refused. limits: see `Limits`. governance: by change of the
    registry (``policy``, ``roster``, ``lifecycle``), the guards that are asked.
    format: which meaning the built-in guards have: 1 is that of release 0.1, whose digest covers the roster as well.
    rules_of: returns the digest of the rules, without the roster, in a policy of format 1, by its digest; None if it isn't kept.
    registry: the `version` and `hash` of the registry's own log that put all this in force.
    parameters: those of the use that is being asked.
    """

    uses: Mapping[str, tuple[GuardUse, ...]] = field(default_factory=dict)
    guards: Mapping[str, Guard] = field(default_factory=dict)
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: tuple[Kind, ...] = ()
    schemas: Mapping[str, Any] = field(default_factory=dict)
    log_refusals: bool = False
    exclusive: tuple[str, ...] | None = None
    name: str = ""
    sources: tuple[str, ...] = ()
    one_script: bool = False
    limits: Limits = NO_LIMITS
    governance: Mapping[str, tuple[GuardUse, ...]] = field(default_factory=dict)
    format: int = 2
    rules_of: Callable[[str], str | None] = field(default=lambda _: None, compare=False)
    registry: Mapping[str, Any] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def data(self) -> dict[str, Any] | None:
        """The rules as JSON values: the form that is stored by digest. None if there are none. In format 1, with the roster."""
        said: tuple[object, ...] = (
            self.uses,
            self.kinds,
            self.name,
            self.log_refusals,
            self.sources,
            self.one_script,
        )
        said += (self.governance, self.limits != NO_LIMITS, self.exclusive is not None)
        if not any(said) and not (self.format == 1 and self.roles):
            return None
        more: dict[str, Any] = {}
        if self.exclusive is not None:
            more["claims"] = {"exclusive": sorted(self.exclusive)}
        if self.sources or self.one_script:
            more["actors"] = {"source": sorted(self.sources), "one_script": self.one_script}
        if self.limits != NO_LIMITS:
            more["limits"] = {name: value for name, value in asdict(self.limits).items() if value is not None}
        if self.governance:
            more["governance"] = _uses_as_data(self.governance)
        roles = {role: sorted(actors) for role, actors in self.roles.items()}
        return {
            "format": self.format,
            "name": self.name,
            "log_refusals": self.log_refusals,
            **({"roles": roles} if self.format == 1 else {}),
            "kinds": [
                {
                    "name": kind.name,
                    "match": dict(kind.match),
                    "schema": kind.schema,
                    "pointer": kind.schema_pointer,
                }
                for kind in self.kinds
            ],
            "guards": _uses_as_data(self.uses),
            **more,
        }

    @cached_property
    def digest(self) -> str | None:
        """``sha256:`` over the RFC 8785 form of `data`; None if there are no rules."""
        return None if self.data is None else digest_of(self.data)

    @cached_property
    def roster_data(self) -> dict[str, Any] | None:
        """The roster as JSON values: the form that is stored by digest. None without roles, and in format 1."""
        if self.format == 1 or not self.roles:
            return None
        return {"format": 1, "roles": {role: sorted(actors) for role, actors in self.roles.items()}}

    @cached_property
    def roster(self) -> str | None:
        """``sha256:`` over the RFC 8785 form of `roster_data`; None if there is none."""
        return None if self.roster_data is None else digest_of(self.roster_data)

    def counts(self, digest: str | None) -> bool:
        """Whether approvals that name these rules count: they are those in force, or a policy of format 1 with the same rules."""
        return digest == self.digest or (digest is not None and self.rules_of(digest) == (self.digest or ""))

    def asked_with(self, parameters: Mapping[str, Any]) -> Policy:
        """The same policy, with the parameters of one use of a guard."""
        known: dict[int, Policy] = self.__dict__.setdefault("_asked", {})
        found = known.get(id(parameters))
        if found is not None and found.parameters is parameters:
            return found
        if parameters == self.parameters:
            return self
        asked = self.variant(parameters=parameters)
        if len(known) >= USES_KEPT_MAX:
            known.clear()
        known[id(parameters)] = asked  # which holds them: nothing else gets their id
        return asked

    def variant(self, **changes: Any) -> Policy:
        """The same policy for another question: with other members, but with its own data and digests."""
        changed = replace(self, **changes)
        # Cached values are valid for the copy as well.
        changed.__dict__.update(
            data=self.data, digest=self.digest, roster_data=self.roster_data, roster=self.roster
        )
        if self.format > 1 and changed.roles is self.roles:
            changed.__dict__["_roles_by_person"] = self._roles_by_person
        return changed

    def is_exclusive(self, action: str) -> bool:
        """Whether a lock reserves an action for its holder."""
        return self.exclusive is None or action in self.exclusive

    def is_same(self, one: str | None, other: str | None) -> bool:
        """Whether two names are one person's. Under format 1, only in the same spelling. An unnamed actor (None) is the same as nobody."""
        return same_person(one, other) and (self.format > 1 or one == other)

    def roles_of(self, actor: str | None) -> list[str]:
        """The roles of an actor, sorted. Under format 1, of exactly this spelling of the name."""
        if self.format == 1:
            return sorted(role for role, actors in self.roles.items() if actor in actors)
        return [] if actor is None else list(self._roles_by_person.get(person(actor), ()))

    @cached_property
    def _roles_by_person(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for role in sorted(self.roles):
            for key in {person(actor) for actor in self.roles[role]}:
                found[key] = (*found.get(key, ()), role)
        return found

    def kind_of(self, document: Mapping[str, Any] | None) -> Kind | None:
        """The first kind that matches a document; None if none does."""
        if document is None:
            return None
        return next((kind for kind in self.kinds if kind.holds(document)), None)


USES_KEPT_MAX = 64
"""The number of uses of guards for which a policy is kept with their parameters."""

NO_POLICY = Policy()


def _uses_as_data(uses: Mapping[str, tuple[GuardUse, ...]]) -> dict[str, list[dict[str, Any]]]:
    return {of: [{"guard": use.name, **use.parameters} for use in found] for of, found in uses.items()}


def _stands(found: Any, wanted: Any) -> bool:
    if found is ABSENT:
        return False
    if wanted is True:
        return True
    if isinstance(wanted, str) and isinstance(found, str) and "*" in wanted:
        return _matches(wanted, found)
    return type(found) is type(wanted) and bool(found == wanted)


def _matches(wanted: str, found: str) -> bool:
    """Whether text matches a pattern. A regular expression could take hours on a hostile document."""
    first, *inner, last = wanted.split("*")
    if len(found) < len(first) + len(last) or not (found.startswith(first) and found.endswith(last)):
        return False
    at, end = len(first), len(found) - len(last)
    for part in inner:
        at = found.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
