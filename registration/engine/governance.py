"""Governance: the rules in force, and the registry's own log, which says who put them in force, when and why.

`Governance` is called before each decision and returns the `Policy` in force. The log decides: `policy.toml` is what people edit, and
takes effect by `change` only. While it differs or is missing, the rules in force continue.

**A change** holds the record `registry.json`, asks the guards that the rules in force have for it (`[governance]`), appends an event to
the log, and then replaces `registry.json`, which names the version and the hash of the log. Each commit of an event is made only while
`registry.json` is as it was at the decision (`given`), so once a change is acknowledged, no event is committed under older rules. A crash
in between leaves the log one event ahead: the log decides, and the next write completes `registry.json`.

**Damage** is a log that is missing, shorter than `registry.json` says, or has another line at that version. Then nothing is written.
So it is if a rule in force is not in `rules/`, or a manifest was decided under a later version of the log than there is.

**A registry of release 0.1** has no such log. Its first write begins it, and adopts its `policy.toml`. Reading never writes.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from registration.core.codec import scan
from registration.core.decider import decide, sealed
from registration.core.policy import NO_POLICY, Policy
from registration.engine.origin import came_in
from registration.engine.policy_on_disk import NOTHING_FOUND, FoundPolicy
from registration.errors import (
    CorruptRegistry,
    GuardRefused,
    InvalidArgument,
    InvalidPolicy,
    Next,
    NotFound,
    Rejected,
    StoreError,
)
from registration.rules.lifecycles.registry import REGISTRY, as_asked, governing, proposal_of
from registration.storage import layout
from registration.storage.ledger import RulesReplaced, lifecycle_replaced, missing_record
from registration.values.commands import Command
from registration.values.documents import check_document
from registration.values.events import Position
from registration.values.ids import uuid7
from registration.values.times import Clock, rfc3339, system_clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from registration.core.policy import Guard
    from registration.engine.engine import Random
    from registration.engine.policy_on_disk import PolicyOnDisk
    from registration.evidence.kept_rules import InForce
    from registration.storage.ledger import Ledger
    from registration.storage.ports import Cell, Key
    from registration.storage.reports import Loss
    from registration.values.events import Event, StateSnapshot

ID = layout.REGISTRY
"""The id of the registry's own stream."""

_RECORD: Key = layout.REGISTRY_RECORD
_NOWHERE = Position()
_LOOKED_AT = 100
_PUT_BACK = "Restore the registry's own log from a backup, or from where it was moved to."


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read at one moment. state: of the registry's log. raw: the record's bytes. given: the condition of each commit under it.

    behind: whether the record is older than the log, after a crash.
    """

    state: StateSnapshot
    raw: bytes | None
    policy: Policy
    given: Mapping[Key, bytes | None]
    behind: bool


class RulesLog:
    """The registry's log, for deciding the events of an area again; see `registration.evidence.kept_rules.RegistryLog`.

    events: all of the log. of_manifests: whether it is the area of manifests, the only one whose lifecycle the log has.
    """

    def __init__(self, events: list[Event], *, of_manifests: bool) -> None:
        from registration.evidence.kept_rules import InForce  # noqa: PLC0415  # for evidence alone

        self.begun = events[0].time
        self.forced = [_forced(event) for event in events if event.data.get("forced") is True]
        self._versions: list[InForce] = []
        said: Mapping[str, Any] = {}
        for event in events:
            said = event.data.get("in_force", said)
            lifecycle = said["lifecycle"]["digest"] if of_manifests else None
            self._versions.append(
                InForce(event.version, event.hash, event.time, said["policy"], said["roster"], lifecycle)
            )

    def at(self, version: int) -> InForce | None:
        """See `registration.evidence.kept_rules.RegistryLog`."""
        return self._versions[version - 1] if 0 < version <= len(self._versions) else None


class Governance:
    """The rules in force in one registry. Safe to share between threads.

    store: its manifests. guards: the program's own, by name. file: its `policy.toml`, which is in force before there is a log; None
    without files. brought: the program's rules: they are put in force where the log begins without others, and have to be those in force
    from then on.
    actor: by whom the log is begun, if nothing else says. clock, random_source: the sources of times and ids.
    """

    def __init__(
        self,
        store: Ledger,
        *,
        guards: Mapping[str, Guard] | None = None,
        file: PolicyOnDisk | None = None,
        brought: Policy | None = None,
        actor: str | None = None,
        clock: Clock = system_clock,
        random_source: Random | None = None,
    ) -> None:
        self._store = store
        self.log = store.area(layout.REGISTRY, REGISTRY)
        self.file = file
        self._guards = guards
        self._brought = brought
        self._actor = actor
        self._clock = clock
        self._random = random_source or random.SystemRandom()
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._rules: dict[str, str | None] = {}

    # -- the rules in force --------------------------------------------------------------------------------------

    def __call__(self) -> Policy:
        """The rules in force: one `stat` if nothing has changed. Before there is a log, those of `policy.toml`.

        Raises:
            CorruptRegistry, CorruptLog: when the registry's log is damaged, or a rule in force is missing or damaged.
            InvalidArgument: when a guard of the rules is not installed here, or the program brought other rules.
            InvalidPolicy: before there is a log, when `policy.toml` is invalid.
            StoreError: when any of it can't be read, or another lifecycle was put in force meanwhile.
        """
        state = self.log.load(ID)
        known = self._known
        if known is not None and known.state is state and known.raw is self._store.in_force:
            return known.policy
        return self._read()

    def given(self, policy: Policy) -> Mapping[Key, bytes | None]:
        """What has to be unchanged for an event to be committed that was decided under these rules; see `Logs.append`.

        It begins the log if there is none, and completes a change that a crash interrupted.

        Raises:
            RulesReplaced: when these rules are no longer in force. Decide again.
            InvalidPolicy, Rejected: when there is no log yet, and `policy.toml` is invalid or missing; see `begin`.
        """
        known = self._known
        if known is None or policy is not known.policy:
            if known is None and policy.registry is None:
                self.begin()
            raise RulesReplaced(ID, known.state.version if known is not None else 0)
        if known.behind:
            with self._held():
                self._known = None
            raise RulesReplaced(ID, known.state.version)
        return known.given

    def check(self, state: StateSnapshot, policy: Policy) -> None:
        """Refuse to decide in a state that was decided under rules of which the registry's log knows nothing.

        Raises:
            CorruptRegistry: when the state was decided under a later version of the log than the one in force, or under another line.
        """
        under, now = state.registry, policy.registry
        if under is None or under == now:
            return
        version = under["version"]
        if now is not None and version < now["version"]:
            return
        known = self._known
        lost = known.state.facts.get("lost", ()) if known is not None else ()
        if any(first <= version <= last for first, last in lost):  # a repair, with its loss accepted
            return
        found = (
            "has no event" if now is None else f"is at version {now['version']}, with the hash {now['hash']}"
        )
        raise CorruptRegistry(
            f"{state.stream!r} was decided under version {version} of the registry's own log, with the hash "
            f"{under['hash']}, but that log {found}.",
            f"Nothing was written. {_PUT_BACK}",
            Next(operation="verify"),
            path=layout.log_path(ID, layout.REGISTRY),
            manifest_id=state.stream,
            expected=dict(under),
            found=None if now is None else dict(now),
        )

    def found(self) -> FoundPolicy:
        """What `policy.toml` says now. Raises: as `PolicyOnDisk`."""
        return NOTHING_FOUND if self.file is None else self.file()

    @property
    def state(self) -> StateSnapshot | None:
        """The state of the registry's log, checked against `registry.json`; None before there is one.

        Raises:
            CorruptRegistry, CorruptLog, StoreError: as a call.
        """
        return self._checked()[0]

    def rules_log(self, area: str) -> RulesLog | None:
        """What each version of the log put in force for an area, as of now; None before there is one.

        Raises:
            LockTimeout, StoreError: when it can't be read.
        """
        # What is intact before damage is believed: `verify` names the damage itself.
        try:
            raw = self.log.inspect(ID).log
        except NotFound:
            return None
        events = scan(raw, stream=ID, source=self._store.source, after=_NOWHERE).events
        return RulesLog(events, of_manifests=area == layout.MANIFESTS) if events else None

    def history(self) -> Iterator[Event]:
        """All events of the registry's log, in order; none before there is one.

        Raises (while iterating):
            CorruptRegistry, CorruptLog, StoreError: as a call.
        """
        if self.state is not None:
            yield from self.log.read(ID)

    def _read(self) -> Policy:
        with self._lock:
            state, raw, behind = self._checked()
            if state is None:
                self._known = None
                return self._brought if self._brought is not None else self.found().policy
            self._check_lifecycle(state, raw, behind=behind)
            if raw is not None:
                self._store.follow(raw)
                raw = self._store.in_force
            policy = self._policy(state)
            self._known = _Known(state, raw, policy, MappingProxyType({_RECORD: raw}), behind)
            return policy

    def _policy(self, state: StateSnapshot) -> Policy:
        """The rules that a state of the log names, with its version and hash."""
        registry = {"version": state.version, "hash": state.position.head}
        facts = state.facts
        digest, roster = facts["policy"], facts["roster"]
        if self._brought is not None:
            if (self._brought.digest, self._brought.roster) != (digest, roster):
                raise _others_in_force(digest, self._brought)
            return self._brought.variant(registry=registry, rules_of=self._rules_of)
        if digest is None and roster is None:
            return NO_POLICY.variant(registry=registry, rules_of=self._rules_of)
        from registration.rules.policy_data import policy_from  # noqa: PLC0415  # for registries that have rules

        policy = policy_from(
            None if digest is None else self._kept("policies", digest),
            partial(self._kept, "schemas"),
            self._guards,
            roster=None if roster is None else self._kept("rosters", roster),
            rules_of=self._rules_of,
        )
        return policy.variant(registry=registry)

    def _kept(self, kind: str, digest: str) -> Any:
        """A rule in force. Without it, nothing can be decided."""
        try:
            return self._store.kept(kind, digest)
        except NotFound:
            path = f"{layout.RULES}/{kind}/{layout.rule_file(digest)}"
            raise CorruptRegistry(
                f"{path} is missing, and it is in force: version {self._version()} of the registry's own log names it.",
                "Nothing can be decided without it. Restore the file from a backup.",
                Next(operation="verify"),
                path=path,
                digest=digest,
            ) from None

    def _version(self) -> int:
        state = self.log.load(ID)
        return state.version if state is not None else 0

    def _rules_of(self, digest: str) -> str | None:
        """See `Policy.rules_of`."""
        if digest not in self._rules:
            try:
                from registration.rules.policy_data import rules_digest  # noqa: PLC0415  # for approvals of release 0.1

                self._rules[digest] = rules_digest(self._store.kept("policies", digest))
            except (NotFound, StoreError):
                return None
        return self._rules[digest]

    def _checked(self) -> tuple[StateSnapshot | None, bytes | None, bool]:
        """The state of the log and the record's bytes, and whether the record is behind, which a crash explains.

        The record first: it never names a version that the log does not have yet.
        """
        raw = self._store.records.read(_RECORD)
        if raw is None and self._store.in_force is not None:
            raise missing_record()
        told = _log_of(raw)
        state = self.log.load(ID)
        if told is None:
            return state, raw, state is not None
        version, head = told["version"], told["head"]
        if state is None or state.version < version:
            has = "is missing or empty" if state is None else f"ends at version {state.version}"
            raise _damaged(f"it {has}, but {layout.REGISTRY_FILE} says that it has {version}")
        if state.version == version:
            found = state.position.head
        else:
            found = next((one.hash for one in self.log.read(ID) if one.version == version), "")
        if found != head:
            raise _damaged(f"version {version} has the hash {found}, but {layout.REGISTRY_FILE} says {head}")
        return state, raw, state.version > version

    def _check_lifecycle(self, state: StateSnapshot, raw: bytes | None, *, behind: bool) -> None:
        """A lifecycle that was put in force just before a crash is in force: `registry.json` is completed, and this program starts again."""
        named = state.facts["lifecycle"]
        if named == self._store.definition.identity:
            return
        if behind:
            with self._held():
                self._known = None
        raise lifecycle_replaced()

    # -- changes --------------------------------------------------------------------------------------------------

    def begin(self, adopting: FoundPolicy | None = None, command: Command | None = None) -> Event | None:
        """Begin the log, if there is none: `make` in a registry without manifests, otherwise `adopt`. `policy.toml` is put in force.

        adopting: rules to put in force instead. command: by whom and why.

        Raises:
            InvalidPolicy: when `policy.toml` is invalid.
            Rejected: when it is missing or empty, although there were rules before. Nothing was written.
            CorruptRegistry: when there was a log.
        """
        with self._held() as (cell, state):
            if state is not None:
                return None
            found = adopting or self._to_begin_with()
            action = "make" if next(self._store.streams(), None) is None else "adopt"
            if action == "adopt":
                self._check_never_begun()
                if adopting is None:
                    self._check_not_lost(found.policy)
            beginning = replace(
                command or Command(stream=ID, actor=self._actor, via=came_in()), action=action
            )
            return self._append(cell, None, beginning, found.policy, found.sums)

    def _to_begin_with(self) -> FoundPolicy:
        found = self.found()
        ruled = found.policy.digest is not None or found.policy.roster is not None
        return found if ruled or self._brought is None else FoundPolicy(self._brought)

    def _check_never_begun(self) -> None:
        """Whether a manifest was decided under a log that is gone. Of many manifests, some are looked at: each write looks at its own."""
        for _, stream in zip(range(_LOOKED_AT), self._store.streams(), strict=False):
            state = self._store.load(stream)
            if state is not None:
                self.check(state, NO_POLICY)

    def _check_not_lost(self, policy: Policy) -> None:
        """Refuse to go on without rules in a registry of release 0.1 that had some: the file may have been lost."""
        if policy.data is not None or policy.roster is not None:
            return
        # Rules are kept as files below the root, as records are.
        kept = self._store.records.names(layout.RULES, "policies")
        if kept:
            raise Rejected(
                f"{layout.POLICY_FILE} is missing or empty, but this registry had a policy: {layout.RULES}/policies/ has {len(kept)}.",
                "Nothing was written. Restore the file, or apply the policy that is to be in force from now on.",
                Next(operation="policy.apply", missing=("file",)),
                kept=[f"sha256:{name.removesuffix('.json')}" for name in kept],
            )

    def apply(
        self, found: FoundPolicy, command: Command, *, as_owner: bool = False, dry_run: bool = False
    ) -> Event | None:
        """Put rules and a roster in force; None if they are already. From then on, every decision is made under them.

        command: the actor and the reason. as_owner: without the consent that the rules in force demand; the caller has made sure that
        the actor owns the registry's directory. In a registry of release 0.1 whose own `policy.toml` is lost, they are adopted.

        Raises:
            GuardRefused: when the rules in force refuse the change. Nothing was written.
            InvalidPolicy, CorruptRegistry, CorruptLog, LockTimeout, StoreError: nothing was written.
        """
        if dry_run:
            return self._applied(None, self.state, found, command, as_owner=as_owner)
        if self.state is None:
            begun = self.begin(None if self._has_own() else found, command)
            if begun is not None and _says(begun, found.policy):
                return begun
        with self._held() as (cell, state):
            return self._applied(cell, state, found, command, as_owner=as_owner)

    def _has_own(self) -> bool:
        """Whether there are valid rules to begin with."""
        try:
            policy = self._to_begin_with().policy
        except InvalidPolicy:
            return False
        return policy.digest is not None or policy.roster is not None

    def _applied(
        self,
        cell: Cell | None,
        state: StateSnapshot | None,
        found: FoundPolicy,
        command: Command,
        *,
        as_owner: bool,
    ) -> Event | None:
        policy = found.policy
        if state is None:
            action = "adopt"
        elif (policy.digest, policy.roster) == (state.facts["policy"], state.facts["roster"]):
            return None
        else:
            action = "apply_policy" if policy.digest != state.facts["policy"] else "change_roster"
        command = replace(command, action=action)
        try:
            return self._append(cell, state, command, policy, found.sums)
        except GuardRefused as refusal:
            if as_owner:
                return self._append(cell, state, command, policy, found.sums, forced=True)
            raise _refused(refusal, action) from None

    def propose(self, found: FoundPolicy, command: Command, *, dry_run: bool = False) -> Event:
        """Propose rules and a roster, for others to approve. The proposal before it, and its approvals, lapse.

        Raises: as `apply`.
        """
        policy = found.policy
        proposed = proposal_of(self._in_force(self.state, policy, None, None))
        command = replace(command, action="propose", document=check_document(proposed))
        if not dry_run:
            self.begin()
            self._keep(policy)
        return self.record(command, dry_run=dry_run)

    def record(
        self,
        command: Command,
        *,
        lifecycle: Mapping[str, Any] | None = None,
        instead_of: Mapping[str, Any] | None = None,
        as_owner: bool = False,
        dry_run: bool = False,
    ) -> Event:
        """Record another event of the registry. lifecycle: the identity of the one in force from then on, instead of that one.

        Raises: as `apply`, and StoreError when another lifecycle is in force.
        """
        if not dry_run:
            self.begin()
        with nullcontext((None, self.state)) if dry_run else self._held() as (cell, state):
            if instead_of is not None and (state is None or state.facts["lifecycle"] != instead_of):
                raise StoreError(
                    "The registry was changed by another process meanwhile; nothing was written.",
                    "Open it again.",
                )
            try:
                return self._append(cell, state, command, lifecycle=lifecycle)
            except GuardRefused as refusal:
                if as_owner:
                    return self._append(cell, state, command, lifecycle=lifecycle, forced=True)
                raise _refused(refusal, command.action or "") from None

    def repair(self, command: Command, *, accept_loss: bool) -> Loss | None:
        """Truncate a damaged log to its intact events; see `Ledger.repair`. The rules of the last of them are in force then.

        Manifests that were decided under an event that is lost are decided on all the same. No rule is asked: they can't be read. The
        caller has made sure that the actor owns the registry's directory.

        Raises:
            Rejected: when not one event is intact: only a backup helps.
            LockTimeout, StoreError: as everywhere.
        """
        from registration.engine.engine import Engine  # noqa: PLC0415  # for this call alone

        engine = Engine(self.log, clock=self._clock, random_source=self._random)
        planned = engine.repair(command, accept_loss=False)
        if planned is None or not accept_loss:
            return planned
        if planned.state is None:
            raise Rejected(
                f"Nothing of the registry's own log, {layout.log_path(ID, layout.REGISTRY)}, is intact.",
                f"Nothing was changed. {_PUT_BACK}",
            )
        with self._store.records.held(_RECORD, create=self._store.in_force is None) as cell:
            if cell is None:
                raise missing_record()
            loss = engine.repair(command, accept_loss=True)
            state = self.log.load(ID)
            assert state is not None
            cell.write(self._record(cell.read(), state))
            self._known = None
        return loss

    @contextmanager
    def _held(self) -> Iterator[tuple[Cell, StateSnapshot | None]]:
        """Hold the record, completed; yields it and the state of the log."""
        # Files are a registry by this record: it is never created here.
        with self._store.records.held(_RECORD, create=self._store.in_force is None) as cell:
            if cell is None:
                raise missing_record()
            state, raw, behind = self._checked()
            if state is not None and behind:
                cell.write(self._record(raw, state))
            yield cell, state

    def _append(
        self,
        cell: Cell | None,
        state: StateSnapshot | None,
        command: Command,
        policy: Policy | None = None,
        files: Mapping[str, str] | None = None,
        *,
        lifecycle: Mapping[str, Any] | None = None,
        forced: bool = False,
    ) -> Event:
        """Append the event, durably, and then replace the record. cell: the record, held; None: write nothing."""
        event, after = self._sealed(state, command, policy, files, lifecycle=lifecycle, forced=forced)
        if cell is None:
            return event
        raw = cell.read()
        if policy is not None:
            self._keep(policy)
        for definition in (REGISTRY, self._store.definition):
            self._store.keep("lifecycles", definition.identity["digest"], definition.data)
        before = state.position if state is not None else _NOWHERE
        self.log.append(ID, before, [event], after, given={_RECORD: raw or None})
        cell.write(self._record(raw, after))
        return event

    def _record(self, raw: bytes | None, state: StateSnapshot) -> bytes:
        """The record after a change: the end of the log, and the lifecycle that it names."""
        store = self._store
        members: dict[str, Any] = orjson.loads(raw) if raw else _new_record(store, state)
        settings = {name: members.pop(name) for name in ("settings",) if name in members}
        before, now = members.get("lifecycle") or store.definition.identity, state.facts["lifecycle"]
        if now != before:
            earlier = [one for one in [*members.pop("earlier", []), before] if one != now]
            members |= {"lifecycle": now, "earlier": earlier}
        members["log"] = {"version": state.version, "head": state.position.head}
        members |= settings
        return orjson.dumps(members, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def _sealed(
        self,
        state: StateSnapshot | None,
        command: Command,
        policy: Policy | None,
        files: Mapping[str, str] | None,
        *,
        lifecycle: Mapping[str, Any] | None,
        forced: bool,
    ) -> tuple[Event, StateSnapshot]:
        now_ns = self._clock()
        asked = NO_POLICY if state is None else governing(self._policy(state), forced=forced)
        members = dict(command.members or {})
        if policy is not None or lifecycle is not None:
            members["in_force"] = self._in_force(state, policy, files, lifecycle)
        if forced:
            members["forced"] = True
        met = as_asked(state, command.action or "", members.get("in_force"))
        decided = decide(
            REGISTRY, met, replace(command, members=members or None), time=rfc3339(now_ns),
            event_id=uuid7(now_ns // 1_000_000, self._random.randbytes(10)), policy=asked,
        )  # fmt: skip
        (event,), (after,) = sealed(REGISTRY, state, decided, stream=ID, source=self._store.source)
        return event, after

    def _in_force(
        self,
        state: StateSnapshot | None,
        policy: Policy | None,
        files: Mapping[str, str] | None,
        lifecycle: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        facts = state.facts if state is not None else {}
        return {
            "lifecycle": lifecycle or facts.get("lifecycle") or self._store.definition.identity,
            "policy": facts.get("policy") if policy is None else policy.digest,
            "roster": facts.get("roster") if policy is None else policy.roster,
            "files": dict(facts.get("files", {}) if policy is None else (files or {})),
        }

    def _keep(self, policy: Policy) -> None:
        """Store rules by digest, durably, before the event that names them."""
        for digest, schema in policy.schemas.items():
            self._store.keep("schemas", digest, schema)
        if policy.digest is not None:
            self._store.keep("policies", policy.digest, policy.data)
        if policy.roster is not None:
            self._store.keep("rosters", policy.roster, policy.roster_data)


def _new_record(store: Ledger, state: StateSnapshot) -> dict[str, Any]:
    """The record of a registry that is not made of files, which have it from the start; see `RegistryFile`."""
    return {
        "format": layout.FORMAT,
        "id": store.source.removeprefix("urn:uuid:"),
        "created_at": state.created_at,
        "definition": store.definition.name,
        "lifecycle": store.definition.identity,
        "settings": {"document_bytes_max": store.document_bytes_max},
    }


def _forced(event: Event) -> dict[str, Any]:
    """A change that the owner of the directory forced, as receipts show it."""
    data = event.data
    return {
        "version": event.version,
        "time": event.time,
        "actor": event.actor,
        "via": data.get("via"),
        "reason": data.get("reason"),
        "hash": event.hash,
    }


def _says(event: Event, policy: Policy) -> bool:
    in_force = event.data["in_force"]
    return bool((in_force["policy"], in_force["roster"]) == (policy.digest, policy.roster))


def _others_in_force(digest: str | None, brought: Policy) -> InvalidArgument:
    return InvalidArgument(
        f"The rules in force in this registry are {digest or 'none'}, not the given ones, {brought.digest or 'none'}.",
        "Open it without rules of the program, or put these in force.",
        Next(operation="policy.apply", missing=("file",)),
        expected=digest,
        given=brought.digest,
    )


def _log_of(raw: bytes | None) -> Mapping[str, Any] | None:
    """The end of the log as the record has it: `version` and `head`; None if it names none."""
    if not raw:
        return None
    try:
        found = orjson.loads(raw).get("log")
        if found is None or (type(found["version"]) is int and type(found["head"]) is str):
            return found  # type: ignore[no-any-return]  # JSON
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        pass
    raise CorruptRegistry(
        f"{layout.REGISTRY_FILE} is not a valid registry file; nothing was written.",
        "Restore it from a backup.",
        path=layout.REGISTRY_FILE,
    )


def _damaged(reason: str) -> CorruptRegistry:
    path = layout.log_path(ID, layout.REGISTRY)
    return CorruptRegistry(
        f"The registry's own log, {path}, is damaged: {reason}.",
        f"Nothing can be decided, and nothing was written. {_PUT_BACK}",
        Next(operation="verify"),
        path=path,
        reason=reason,
    )


def _refused(refusal: GuardRefused, action: str) -> GuardRefused:
    """The refusal of a change, in words that fit a registry."""
    if action not in _CHANGED:
        return refusal
    verdicts = [_worded(one) for one in refusal.details["verdicts"]]
    reasons = [one["reason"] for one in verdicts if not one["agrees"]]
    alone = [one["guard"] for one in verdicts if not one["agrees"]] == ["not_the_author"]
    proposed = alone and any(one["evidence"].get("authors") for one in verdicts)
    details = {**refusal.details, "verdicts": verdicts}
    what = f"The rules in force refuse this change of the {_CHANGED[action]}: {'; '.join(reasons)}."
    if proposed:
        return GuardRefused(what, "Ask another person to do it.", **details)
    return GuardRefused(
        what,
        "Where others have to agree, propose the change, have it approved, and apply it then.",
        Next(operation="policy.propose", missing=("file",)),
        **details,
    )


_CHANGED = {"apply_policy": "rules", "change_roster": "roster", "migrate_lifecycle": "lifecycle"}


def _worded(verdict: dict[str, Any]) -> dict[str, Any]:
    if verdict["guard"] != "not_the_author" or verdict["agrees"]:
        return verdict
    proposed, actor = verdict["evidence"].get("authors"), verdict["evidence"].get("actor")
    said = (
        f"{actor!r} proposed this change; another person must put it in force"
        if proposed and actor is not None
        else "another person has to propose exactly this change first"
        if not proposed
        else "the actor is unknown"
    )
    return {**verdict, "reason": said}
