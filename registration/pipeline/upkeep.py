"""`pipeline.upkeep`: what a crash left is settled, damage is repaired, and what falls due is recorded."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from registration.core.store import Recovered
from registration.errors import (
    CorruptRegistry,
    InvalidArgument,
    LockTimeout,
    NotFound,
    RegistrationError,
    StoreError,
    VersionConflict,
)
from registration.pipeline.part import M, Part, call, iterate
from registration.storage import layout
from registration.values.ids import check_id
from registration.values.names import check_name

if TYPE_CHECKING:
    from registration.core.store import Loss, Step, Store
    from registration.evidence.verification import AreaVerification, Finding
    from registration.values.events import Event
    from registration.values.snapshots import StateSnapshot

_log = logging.getLogger("registration")


class UpkeepPart(Part[M]):
    """The upkeep of one registry."""

    @iterate
    def manifest_ids(self) -> Iterator[str]:
        """The ids of all manifests' directories, sorted; some may hold nothing that was acknowledged."""
        return self._registry.store.streams()

    @call
    def tick(self, manifest_id: str, *, dry_run: bool = False) -> tuple[Event, ...]:
        """Record the time-outs of a manifest that are due, each at the time that it was due, and give their events.

        The next write to the manifest would do the same first. dry_run: only say what would be recorded.
        """
        self._registry.check_open()
        result = self._registry.engine.tick(check_id(manifest_id), dry_run=dry_run)
        return result.events if result is not None else ()

    @call
    def recover(self, manifest_id: str, *, dry_run: bool = False) -> Recovered:
        """Replay the whole log, checking the chain from the first byte, and write the snapshot anew, saying what was set right.

        Without a state where nothing was acknowledged. The claim of the name that the manifest holds is made again where it is
        missing. dry_run: change nothing, and say what would be done.

        Raises:
            CorruptLog: when the log is damaged. Nothing was changed.
        """
        found = self._registry.store.recover(check_id(manifest_id), dry_run=dry_run)
        if found.state is None or found.state.name is None:
            return found
        steps = self._mend(found.state, dry_run=dry_run)
        return Recovered(found.state, (*found.steps, *steps)) if steps else found

    @call
    def repair(self, manifest_id: str, *, accept_loss: bool = False, actor: str | None = None) -> Loss | None:
        """What keeping only the events before the damage would lose; None where nothing is damaged.

        accept_loss: do it. The bytes that are lost to the log, and the snapshot, go to `quarantine/`, and an event of
        type ``registration.repaired.v1`` becomes the log's last: it names the loss and `actor`. Where not even
        the first event checks out, nothing is kept, and the id is free again.

        Raises:
            NotFound: when there is no such manifest.
        """
        self._registry.check_open()
        who = self._registry.command(manifest_id, {"actor": actor}).actor
        try:
            return self._registry.engine.repair(manifest_id, actor=who, accept_loss=accept_loss)
        except NotFound:
            raise self._registry.unknown(manifest_id) from None

    @call
    def recover_name(self, name: str, *, dry_run: bool = False) -> tuple[Step, ...]:
        """Finish or take back what a crash left of the claims and aliases of a name, saying what was done.

        Whoever wants the name, or resolves it, does the same. dry_run: change nothing, and say what would be done.
        """
        from registration.engine.names.upkeep import recover  # noqa: PLC0415  # most programs never need it

        return recover(self._registry.names, check_name(name).name, dry_run=dry_run)

    @call
    def verify_name(self, name: str) -> tuple[Finding, ...]:
        """Check the claims of a name, and every byte of the log of its aliases, changing nothing."""
        from registration.engine.names.upkeep import verify  # noqa: PLC0415  # as above

        return tuple(verify(self._registry.names, check_name(name).name))

    @iterate
    def strays(self) -> Iterator[Finding]:
        """What stands in the registry and belongs to no manifest, was left there by a crash, or is a changed rule."""
        from registration.evidence.verification import Finding  # noqa: PLC0415  # as above

        for stray in chain(self._registry.store.strays(), self._registry.names.strays()):
            if stray.damaged:
                yield Finding("damage", stray.path, 0, 0, stray.reason)
            else:
                yield Finding("unfinished" if stray.unfinished else "stray", stray.path, 0, 0, stray.reason)

    def _mend(self, state: StateSnapshot, *, dry_run: bool) -> tuple[Step, ...]:
        """The claim of a manifest that was recovered; where that can't be had, the manifest is recovered all the same."""
        from registration.engine.names.upkeep import mend  # noqa: PLC0415  # as above

        try:
            return tuple(mend(self._registry.names, state, dry_run=dry_run))
        except (StoreError, LockTimeout, VersionConflict) as error:
            _log.warning("%s: its name %r could not be looked after: %s", state.stream, state.name, error)
            return ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What recovering one stream came to. steps: in order; none where all was well. problem: why it could not be done."""

    area: str
    id: str
    steps: tuple[Step, ...] = ()
    problem: RegistrationError | None = None


def verify_beside(root: str | os.PathLike[str]) -> Iterator[AreaVerification]:
    """Check every byte of the sessions, deployments and leases of the registry at `root`, changing nothing.

    Gives those areas that there are, in that order.

    Raises:
        NotFound: when there is no registry.
    """
    from registration.evidence.verification import verify_area  # noqa: PLC0415  # for this call alone

    with ExitStack() as opened:
        for area, ids, store_of in _logs(root, opened):
            yield verify_area(area, ids, store_of)
    if _is_there(root, layout.LEASES):
        yield _verified_leases(root)


def recover_beside(
    root: str | os.PathLike[str], *, dry_run: bool = False, lock_timeout_s: float = 10.0
) -> Iterator[Settled]:
    """Settle what a crash left of the sessions and deployments of the registry at `root`, one after the other.

    Whoever reads one of them does the same for it. dry_run: change nothing, and say what would be done.

    Raises:
        NotFound: when there is no registry.
    """
    with ExitStack() as opened:
        for area, ids, store_of in _logs(root, opened, lock_timeout_s=lock_timeout_s):
            for id in ids:
                try:
                    yield Settled(area, id, store_of(id).recover(id, dry_run=dry_run).steps)
                except (InvalidArgument, NotFound):  # none of ours, or its program's; `verify_beside` tells
                    continue
                except RegistrationError as error:
                    yield Settled(area, id, problem=error)


def _logs(
    root: str | os.PathLike[str], opened: ExitStack, *, lock_timeout_s: float = 10.0
) -> Iterator[tuple[str, Iterable[str], Callable[[str], Store]]]:
    """Each area of logs: its name, its streams, and the store of each."""
    if _is_there(root, layout.SESSIONS):
        from registration.onboarding.sessions.sessions import Sessions  # noqa: PLC0415  # most registries have none

        sessions = opened.enter_context(Sessions(root, lock_timeout_s=lock_timeout_s))
        yield layout.SESSIONS, sessions.backing.ids(), sessions.store_of
    if _is_there(root, layout.DEPLOYMENTS):
        from registration.onboarding.community.deploying.saga import open_deployments  # noqa: PLC0415  # as above

        store = opened.enter_context(closing(open_deployments(root, lock_timeout_s=lock_timeout_s))).store
        yield layout.DEPLOYMENTS, store.streams(), lambda _: store


def _is_there(root: str | os.PathLike[str], area: str) -> bool:
    return os.path.lexists(os.path.join(root, area))


def _verified_leases(root: str | os.PathLike[str]) -> AreaVerification:
    from registration.engine.leases.leases import open_leases  # noqa: PLC0415  # as above
    from registration.evidence.verification import AreaVerification, Finding  # noqa: PLC0415  # as above

    leases, findings = open_leases(root), []
    keys = list(leases.keys())
    for key in keys:
        try:
            leases.history(key)
        except CorruptRegistry as error:
            findings.append(Finding("damage", error.details["path"], 0, 0, error.details["reason"]))
    return AreaVerification(layout.LEASES, len(keys), tuple(findings))
