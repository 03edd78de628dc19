"""`pipeline.upkeep`: verification, recovery and repair of a whole registry, and recording of time-outs.

A stream is identified by its area and its id, as its directory is: ``manifests/ID``, ``aliases/NAME``, ``sessions/ID``,
``deployments/ID``; an id alone is that of a manifest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from registration.core.facts import REPAIR
from registration.errors import (
    CorruptLog,
    CorruptRegistry,
    GuardRefused,
    InvalidArgument,
    LockTimeout,
    Next,
    NotFound,
    RegistrationError,
    StoreError,
)
from registration.pipeline.part import M, Part, call, iterate
from registration.storage import layout
from registration.values.ids import check_id
from registration.values.names import check_name

if TYPE_CHECKING:
    import os

    from registration.core.policy import Policy
    from registration.engine.policy_status import PolicyStatus
    from registration.engine.registry import OpenRegistry
    from registration.evidence.kept_rules import KeptRules
    from registration.evidence.verification import Finding, Verification, Watcher
    from registration.evidence.witnesses import Witnesses
    from registration.pipeline.governing import Applied
    from registration.pipeline.recoveries import Recovery
    from registration.storage.ledger import Ledger
    from registration.storage.reports import Loss, Recovered, RecoveryStep
    from registration.values.events import Event, StateSnapshot

_log = logging.getLogger("registration")

AREAS = (layout.MANIFESTS, layout.ALIASES, layout.REGISTRY, layout.SESSIONS, layout.DEPLOYMENTS)
"""The areas that have logs, in the order in which they are checked."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of verifying one stream: a manifest, the names and aliases of one name, a session, a deployment, or a lease.

    area: its directory, such as `manifests`; empty for the registry's own files. id: None for those.
    sound_version: the last version up to which its log is valid; None if not applicable. problem: why it could not
    be verified. looked_at: whether there was anything. head: the hash of the last valid line of its log; None if not applicable.
    """

    area: str
    id: str | None
    findings: tuple[Finding, ...] = ()
    sound_version: int | None = None
    problem: RegistrationError | None = None
    looked_at: bool = True
    head: str | None = None

    @property
    def damaged(self) -> bool:
        """Whether there is a finding that no crash explains."""
        return any(finding.kind == "damage" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of recovering one stream. steps: in order; none if all was well. problem: why it failed.

    state: the fold of a manifest's log.
    """

    area: str
    id: str
    steps: tuple[RecoveryStep, ...] = ()
    problem: RegistrationError | None = None
    state: StateSnapshot | None = None


@dataclass(frozen=True, slots=True)
class Repaired:
    """The loss of repairing one damaged stream, planned or actual. problem: why it failed."""

    area: str
    id: str
    loss: Loss | None = None
    problem: RegistrationError | None = None


class UpkeepPart(Part[M]):
    """The upkeep of one registry."""

    @iterate
    def manifest_ids(self) -> Iterator[str]:
        """The ids of all manifests' directories, sorted; some may contain no acknowledged event."""
        return self._registry.store.streams()

    @call
    def tick(self, manifest_id: str, *, dry_run: bool = False) -> tuple[Event, ...]:
        """Record the due time-outs of a manifest, each with the time that it was due, and return their events.

        The next write to the manifest would do the same first. dry_run: record nothing.
        """
        self._registry.check_open()
        result = self._registry.engine.tick(check_id(manifest_id), dry_run=dry_run)
        return result.events if result is not None else ()

    @call
    def policy_status(self) -> PolicyStatus:
        """The rules in force, by whom and when, and how `policy.toml` compares with them: it takes effect by `apply_policy` only.

        Raises:
            CorruptRegistry, CorruptLog: when the registry's own log is damaged.
        """
        from registration.engine.policy_status import policy_status  # noqa: PLC0415  # for this call alone

        return policy_status(self._registry.governing())

    @call
    def apply_policy(
        self,
        policy: str | os.PathLike[str] | Policy | None = None,
        *,
        actor: str | None = None,
        reason: str | None = None,
        as_owner: bool = False,
        dry_run: bool = False,
    ) -> Applied:
        """Put rules and a roster in force. Every decision from then on is made under them, in every program.

        policy: a file, with its schemas in the same directory, or a `Policy`; None: the registry's `policy.toml`. From another file, it
        becomes the registry's `policy.toml`, with its schemas. as_owner: without the consent that the rules in force demand, for the owner
        of the registry's directory, and with a reason; every later receipt shows it. dry_run: ask the rules in force, and write nothing.

        Raises:
            NotFound: when there is no such file.
            InvalidPolicy: when it is invalid; every problem is listed.
            GuardRefused: when the rules in force refuse the change.
            Rejected: when the caller is not the owner.
        """
        from registration.pipeline.governing import apply_policy  # noqa: PLC0415  # for this call alone

        return apply_policy(
            self._registry, policy, {"actor": actor, "reason": reason}, as_owner=as_owner, dry_run=dry_run
        )

    @call
    def propose_policy(
        self,
        policy: str | os.PathLike[str] | Policy | None = None,
        *,
        actor: str | None = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Event:
        """Propose rules and a roster, for others to approve and apply; the proposal before it lapses, with its approvals.

        Where the rules in force demand that another person proposed a change (`four_eyes` in `[governance]`). policy: as for `apply_policy`.

        Raises: as `apply_policy`.
        """
        from registration.pipeline.governing import propose_policy  # noqa: PLC0415  # as above

        return propose_policy(self._registry, policy, {"actor": actor, "reason": reason}, dry_run=dry_run)

    @call
    def approve_policy(
        self, *, actor: str | None = None, reason: str | None = None, dry_run: bool = False
    ) -> Event:
        """Approve the change that is proposed.

        Raises:
            IllegalTransition: when none is.
        """
        registry = self._registry
        command = registry.command(layout.REGISTRY, {"actor": actor, "reason": reason}, action="approve")
        return registry.governing().record(command, dry_run=dry_run)

    @iterate
    def policy_history(self) -> Iterator[Event]:
        """The registry's own log: each event that put rules, people or a lifecycle in force, by whom, when and why; in order.

        Raises (while iterating):
            CorruptRegistry, CorruptLog: when it is damaged.
        """
        return self._registry.governing().history()

    @call
    def recover(self, manifest_id: str, *, dry_run: bool = False) -> Recovered:
        """Replay the whole log, verifying the chain from the first byte, rewrite the snapshot, and report the steps.

        The state is missing if nothing was acknowledged. A missing reservation of the manifest's name is
        restored. If anything was changed, the registry's own log says so afterwards (`recover`). dry_run: change nothing, and report the
        planned steps.

        Raises:
            CorruptLog: when the log is damaged. Nothing was changed.
        """
        found = self._recovered(manifest_id, dry_run=dry_run)
        if found.steps and not dry_run:
            recovery = self._recovery()
            recovery.add(layout.MANIFESTS, manifest_id, found.steps)
            recovery.record()
        return found

    @iterate
    def recover_all(self, *, dry_run: bool = False) -> Iterator[Settled]:
        """Recover every manifest, name, session and deployment after a crash, one after the other.

        Reading one of them does the same for it. One that is damaged, or unreachable, is reported with its problem, and
        stops nothing. Other processes may keep writing. If anything was changed, the registry's own log has one event of it
        (`recover`), written after the last one, or when the iteration is given up. dry_run: change nothing, and report the planned steps.
        """
        if dry_run:
            yield from self._recovered_each(dry_run=True)
            return
        recovery = self._recovery()
        try:
            for one in self._recovered_each(dry_run=False):
                recovery.add(one.area, one.id, one.steps)
                yield one
        finally:
            recovery.record()

    def _recovery(self) -> Recovery:
        from registration.pipeline.recoveries import Recovery  # noqa: PLC0415  # for this call alone

        return Recovery(self._registry)

    def _recovered_each(self, *, dry_run: bool) -> Iterator[Settled]:
        registry = self._registry
        for id in registry.store.streams():
            try:
                found = self._recovered(id, dry_run=dry_run)
                yield Settled(layout.MANIFESTS, id, found.steps, state=found.state)
            except (StoreError, LockTimeout) as error:
                yield Settled(layout.MANIFESTS, id, problem=error)
        for name in registry.names.known():
            try:
                yield Settled(layout.ALIASES, name, self._recovered_name(name, dry_run=dry_run))
            except RegistrationError as error:
                yield Settled(layout.ALIASES, name, problem=error)
        with _others(registry) as others:
            for area, id, store_of in _each(others):
                try:
                    yield Settled(area, id, store_of(id, repairing=False).recover(id, dry_run=dry_run).steps)
                except (InvalidArgument, NotFound):  # unknown, or of another program; `verify_all` reports it
                    continue
                except RegistrationError as error:
                    yield Settled(area, id, problem=error)

    @iterate
    def verify_all(self, *, quick: bool = False) -> Iterator[Verified]:
        """Verify every byte of the registry. Changes nothing: manifests, rules, names, aliases, sessions, deployments and leases.

        The files are compared with each other as well, with bounded memory: see `registration.evidence.witnesses`.

        Yields one stream after the other, with or without findings. One that can't be checked is reported with its problem,
        and stops nothing. quick: only manifests, by their snapshots and the sizes of their logs.
        """
        if quick:
            return self._verified_each(None)
        return self._verified_and_compared()

    def _verified_and_compared(self) -> Iterator[Verified]:
        from registration.pipeline.witnessing import witnesses_of  # noqa: PLC0415  # SQLite: for this call alone

        with witnesses_of(self._registry) as found:
            yield from self._verified_each(found)

    def _verified_each(self, found: Witnesses | None) -> Iterator[Verified]:
        """One stream after the other. found: what they are compared with; None: only a quick look at the manifests."""
        registry = self._registry
        rules = None if found is None else registry.kept_rules()
        for id in registry.store.streams():
            try:
                watch = None if found is None else found.watch(layout.MANIFESTS, id)
                checked = verified(registry, id, quick=found is None, rules=rules, watch=watch)
                yield Verified(
                    layout.MANIFESTS, id, checked.findings, checked.sound_version, head=checked.head
                )
            except NotFound:  # it has been removed
                continue
            except LockTimeout as error:
                if found is not None:
                    found.skip(layout.MANIFESTS, id)
                yield Verified(layout.MANIFESTS, id, problem=error, looked_at=False)
        yield Verified("", None, tuple(self._strays()))
        if found is None:
            return
        of_aliases = registry.kept_rules(registry.names.logs.store)
        for name in registry.names.known():
            try:
                watch = found.watch(layout.ALIASES, name)
                yield Verified(layout.ALIASES, name, self._verified_name(name, of_aliases, watch))
            except (StoreError, LockTimeout) as error:
                found.skip(layout.ALIASES, name)
                yield Verified(layout.ALIASES, name, problem=error, looked_at=False)
        yield from _verified_governance(registry, found)
        for finding in found.findings():
            yield Verified("", None, (finding,))
        yield from self._verified_others(found)
        yield from _verified_leases(registry)

    def _verified_others(self, found: Witnesses) -> Iterator[Verified]:
        """Sessions and deployments."""
        from registration.evidence.verification import verify_area  # noqa: PLC0415  # as above

        registry = self._registry
        with _others(registry) as others:
            for area, id, store_of in _each([one for one in others if one.area != layout.REGISTRY]):
                checks = verify_area(
                    area, [id], partial(store_of, repairing=False), registry.kept_rules, found.watch
                )
                problem = next(iter(checks.problems), None)
                yield Verified(area, id, checks.findings, problem=problem, looked_at=bool(checks.looked_at))

    @call
    def repair(
        self, path: str, *, accept_loss: bool = False, reason: str | None = None, actor: str | None = None
    ) -> Loss | None:
        """The loss of keeping only the events before the damage; None if nothing is damaged.

        path: the area and the id of a stream, such as ``aliases/weather``, or the id of a manifest. accept_loss: do it. The
        lost bytes, and the snapshot, are moved to `quarantine/`, and an event of type
        ``<lifecycle>.repaired.v1`` becomes the log's last: it records the loss, `actor` and `reason`. If not even
        the first event is valid, nothing is kept, and the id is free again.

        The lost events may have ended any approval, so all approvals lapse, and a manifest continues in a state from which they must
        be given again (`Loss.place`, `Loss.lapsed`). The name that it holds stays held.

        Raises:
            NotFound: when there is no such stream.
            GuardRefused: when the policy guards `repair` and a guard disagrees. Nothing was changed.
        """
        return self._repaired(*split_path(path), accept_loss=accept_loss, reason=reason, actor=actor)

    @iterate
    def repair_all(
        self, *, accept_loss: bool = False, reason: str | None = None, actor: str | None = None
    ) -> Iterator[Repaired]:
        """Repair everything that is damaged, as `repair` does; yields the damaged streams only."""
        registry = self._registry
        with _others(registry) as others:
            found = [(area, id) for area, id, _ in _each(others)]
        for area, id in chain(
            ((layout.MANIFESTS, id) for id in registry.store.streams()),
            ((layout.ALIASES, id) for id in registry.names.logs.store.streams()),
            found,
        ):
            try:
                loss = self._repaired(area, id, accept_loss=accept_loss, reason=reason, actor=actor)
            except (NotFound, InvalidArgument):  # nothing was ever there, or it is unknown
                continue
            except RegistrationError as error:
                yield Repaired(area, id, problem=error)
                continue
            if loss is not None:
                yield Repaired(area, id, loss)

    @call
    def recover_name(self, name: str, *, dry_run: bool = False) -> tuple[RecoveryStep, ...]:
        """Finish or revert reservations and aliases of a name after a crash, and report the steps.

        Reserving or resolving the name does the same. dry_run: change nothing, and report the planned steps.
        """
        return self._recovered_name(name, dry_run=dry_run)

    @call
    def verify_name(self, name: str) -> tuple[Finding, ...]:
        """Verify the reservations of a name, and every byte of the log of its aliases. Changes nothing."""
        return self._verified_name(name, self._registry.kept_rules(self._registry.names.logs.store))

    @iterate
    def strays(self) -> Iterator[Finding]:
        """Unexpected files in the registry, leftovers of a crash, and changed rules."""
        return self._strays()

    def _recovered(self, manifest_id: str, *, dry_run: bool) -> Recovered:
        found = self._registry.store.recover(check_id(manifest_id), dry_run=dry_run)
        if found.state is None or found.state.name is None:
            return found
        steps = self._mend(found.state, dry_run=dry_run)
        return replace(found, steps=(*found.steps, *steps)) if steps else found

    def _recovered_name(self, name: str, *, dry_run: bool) -> tuple[RecoveryStep, ...]:
        from registration.engine.names.upkeep import recover  # noqa: PLC0415  # most programs never need it

        return recover(self._registry.names, check_name(name).name, dry_run=dry_run)

    def _verified_name(
        self, name: str, rules: KeptRules, watch: Watcher | None = None
    ) -> tuple[Finding, ...]:
        from registration.engine.names.upkeep import verify  # noqa: PLC0415  # as above

        return tuple(verify(self._registry.names, check_name(name).name, rules, watch))

    def _strays(self) -> Iterator[Finding]:
        from registration.evidence.verification import Finding  # noqa: PLC0415  # as above

        for stray in chain(self._registry.store.strays(), self._registry.names.strays()):
            if stray.damaged:
                yield Finding("damage", stray.path, 0, 0, stray.reason)
            else:
                yield Finding("unfinished" if stray.unfinished else "stray", stray.path, 0, 0, stray.reason)

    def _repaired(
        self, area: str, id: str, *, accept_loss: bool, reason: str | None, actor: str | None
    ) -> Loss | None:
        registry = self._registry
        registry.check_open()
        from registration.pipeline.governing import check_owner  # noqa: PLC0415  # as above

        asked = registry.command(id, {"actor": actor, "reason": reason}, action=REPAIR.name)
        if area == layout.REGISTRY and registry.governance is not None:
            if accept_loss:
                check_owner(registry, reason)
            return registry.governance.repair(asked, accept_loss=accept_loss)
        try:
            with _store_of(registry, area, id) as store:
                engine = registry.engine if area == layout.MANIFESTS else registry.engine_over(store)
                return engine.repair(asked, accept_loss=accept_loss)
        except NotFound:
            if area == layout.MANIFESTS:
                raise registry.unknown(id) from None
            raise
        except GuardRefused as refusal:
            if area != layout.MANIFESTS:  # a policy knows no areas
                path = f"{area}/{id}"
                refusal.next = tuple(
                    replace(one, id=path) if one.operation == "repair" else one for one in refusal.next
                )
                refusal.details["next_actions"] = [one.as_json() for one in refusal.next]
            raise

    def _mend(self, state: StateSnapshot, *, dry_run: bool) -> tuple[RecoveryStep, ...]:
        """Recover the reservation of a recovered manifest; if that fails, the manifest is recovered anyway."""
        from registration.engine.names.upkeep import mend  # noqa: PLC0415  # as above

        try:
            return tuple(mend(self._registry.names, state, dry_run=dry_run))
        except RegistrationError as error:
            _log.warning("%s: its name %r could not be recovered: %s", state.stream, state.name, error)
            return ()


def verified(
    registry: OpenRegistry,
    manifest_id: str,
    *,
    quick: bool = False,
    rules: KeptRules | None = None,
    watch: Watcher | None = None,
) -> Verification:
    """Verify the files of a manifest, decide its events again, and verify the reservation of its name.

    rules: those of the registry's manifests, if they were read before: `OpenRegistry.kept_rules`. watch: as for
    `registration.evidence.verification.verify_stream`.

    Raises:
        NotFound: when there are no files for that id.
        LockTimeout: when waiting for a writer timed out.
    """
    from registration.engine.names.upkeep import findings_of  # noqa: PLC0415  # most programs never verify
    from registration.evidence.verification import verify_stream  # noqa: PLC0415  # as above

    store = registry.store
    try:
        if rules is None and not quick:
            rules = registry.kept_rules()
        found = verify_stream(store, check_id(manifest_id), quick=quick, rules=rules, watch=watch)
    except NotFound:
        raise registry.unknown(manifest_id) from None
    # Reading a manifest would settle what a crash left.
    unsettled = any(one.kind in ("damage", "unfinished") for one in found.findings)
    if quick or unsettled or (state := store.load(manifest_id)) is None:
        return found
    return replace(found, findings=(*found.findings, *findings_of(registry.names, state)))


def verified_and_compared(registry: OpenRegistry, manifest_id: str) -> Verification:
    """The same, and compare it with what the feed, the aliases of its name and the leases say of it.

    Raises: as `verified`.
    """
    from registration.pipeline.witnessing import witnesses_of  # noqa: PLC0415  # as above

    with witnesses_of(registry, manifest_id) as found:
        return verified(registry, manifest_id, watch=found.watch(layout.MANIFESTS, manifest_id))


class _StoreOf(Protocol):
    def __call__(self, id: str, /, *, repairing: bool) -> Ledger: ...


class _Logs(NamedTuple):
    """The logs of an optional area.

    store_of: returns the store of one stream, optionally for repairing it.
    """

    area: str
    ids: Callable[[], Iterable[str]]
    store_of: _StoreOf


@contextmanager
def _others(registry: OpenRegistry) -> Iterator[list[_Logs]]:
    """The logs of a registry besides manifests and aliases, during the block."""
    found = []
    with ExitStack() as opened:
        if registry.governance is not None:
            own = registry.governance.log
            found.append(_Logs(layout.REGISTRY, own.streams, partial(_same, own)))
        if _is_there(registry, layout.SESSIONS):
            from registration.onboarding.sessions.backing import LedgerBacking  # noqa: PLC0415  # most registries have none
            from registration.onboarding.sessions.sessions import Sessions  # noqa: PLC0415  # as above

            sessions = opened.enter_context(Sessions(LedgerBacking(registry.store)))

            def session_store(id: str, *, repairing: bool) -> Ledger:
                return sessions.store_of(id, repairing=repairing)

            found.append(_Logs(layout.SESSIONS, sessions.backing.ids, session_store))
        if _is_there(registry, layout.DEPLOYMENTS):
            from registration.onboarding.community.deploying.lifecycle import DEPLOYMENT  # noqa: PLC0415  # as above

            store = registry.store.area(layout.DEPLOYMENTS, DEPLOYMENT)
            found.append(_Logs(layout.DEPLOYMENTS, store.streams, partial(_same, store)))
        yield found


def _same(store: Ledger, _id: str, *, repairing: bool) -> Ledger:  # noqa: ARG001  # the form of `_StoreOf`
    return store


def _each(others: list[_Logs]) -> Iterator[tuple[str, str, _StoreOf]]:
    for logs in others:
        for id in logs.ids():
            yield logs.area, id, logs.store_of


@contextmanager
def _store_of(registry: OpenRegistry, area: str, id: str) -> Iterator[Ledger]:
    """The store of one stream of any area.

    Raises:
        NotFound: when the registry has no such area, or the stream's definition is missing.
    """
    if area == layout.MANIFESTS:
        yield registry.store
        return
    if area == layout.ALIASES:
        yield registry.names.logs.store
        return
    with _others(registry) as others:
        for logs in others:
            if logs.area == area:
                yield logs.store_of(id, repairing=True)
                return
    raise NotFound(f"The registry has no {area}.", "Verify the registry.", Next(operation="verify"))


def split_path(path: str) -> tuple[str, str]:
    """The area and the id of a path."""
    area, slash, id = path.partition("/") if isinstance(path, str) else ("", "", "")
    return (area, id) if slash and area in AREAS else (layout.MANIFESTS, path)


def _is_there(registry: OpenRegistry, area: str) -> bool:
    """Whether a registry has an area of logs, even if it contains only unexpected files."""
    backend = registry.store.backend
    logs = any(True for _ in backend.logs.ids(area))
    return logs or (backend.mending is not None and any(True for _ in backend.mending.strays(area)))


def _verified_rules(registry: OpenRegistry) -> Iterator[Finding]:
    """What is wrong with the registry's own log beside `registry.json`, and with the rules that it puts in force."""
    from registration.evidence.verification import Finding  # noqa: PLC0415  # as above

    governance = registry.governance
    if governance is None:
        return
    for stray in governance.log.strays():
        kind: Literal["unfinished", "stray"] = "unfinished" if stray.unfinished else "stray"
        yield Finding(kind, stray.path, 0, 0, stray.reason)
    try:
        if governance.state is not None:
            governance()
    except CorruptRegistry as error:
        yield Finding("damage", error.details["path"], 0, 0, error.problem.rstrip("."))
    except (
        CorruptLog,
        InvalidArgument,
        LockTimeout,
    ):  # the log's own damage is found with it; a guard that isn't here is no damage
        return


def _verified_governance(registry: OpenRegistry, found: Witnesses) -> Iterator[Verified]:
    """The registry's own log: its bytes, its chain, its states, and each event decided again. An earlier release made none."""
    from registration.evidence.verification import verify_area  # noqa: PLC0415  # as above
    from registration.rules.lifecycles.registry import REGISTRY  # noqa: PLC0415  # as above

    area = id = layout.REGISTRY
    log = registry.store.area(area, REGISTRY)
    checks = verify_area(area, [id], lambda _: log, registry.kept_rules, found.watch)
    findings = (*checks.findings, *_verified_rules(registry))
    if checks.looked_at or checks.problems or findings:
        yield Verified(
            area,
            id,
            findings,
            problem=next(iter(checks.problems), None),
            looked_at=bool(checks.looked_at),
            head=checks.head or None,
        )


def _verified_leases(registry: OpenRegistry) -> Iterator[Verified]:
    from registration.engine.leases.leases import Leases  # noqa: PLC0415  # as above
    from registration.evidence.verification import Finding  # noqa: PLC0415  # as above

    leases = Leases(registry.store.records)
    for key in list(leases.keys()):
        try:
            leases.history(key)
        except CorruptRegistry as error:
            finding = Finding("damage", error.details["path"], 0, 0, error.details["reason"])
            yield Verified(layout.LEASES, key, (finding,))
        else:
            yield Verified(layout.LEASES, key)
