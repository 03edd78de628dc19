"""Upkeep of what stands beside the manifests and their names: guided sessions, deployments, leases.

What `verify` and `recover` of a pipeline do for a manifest, for each of these. Areas that a registry has not are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.errors import CorruptRegistry, InvalidArgument, NotFound, RegistrationError
from registration.evidence.verification import AreaVerification, Finding, verify_area
from registration.storage import layout

if TYPE_CHECKING:
    from registration.core.store import Step, Store


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

    leases, findings = open_leases(root), []
    keys = list(leases.keys())
    for key in keys:
        try:
            leases.history(key)
        except CorruptRegistry as error:
            findings.append(Finding("damage", error.details["path"], 0, 0, error.details["reason"]))
    return AreaVerification(layout.LEASES, len(keys), tuple(findings))
