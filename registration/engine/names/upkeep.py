"""The upkeep of names: report and complete, or undo, interrupted changes of reservations and aliases.

No answer depends on it: every claim and resolution reads the logs. It removes leftovers, and restores lost
reservations.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from registration.errors import NotFound
from registration.evidence.verification import Finding, verify_stream
from registration.storage import layout
from registration.storage.reports import RecoveryStep
from registration.values.names import LATEST, split_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.engine.names.registry import Names
    from registration.evidence.kept_rules import KeptRules
    from registration.evidence.verification import Watcher
    from registration.values.events import StateSnapshot


def mend(names: Names, state: StateSnapshot, *, dry_run: bool = False) -> Iterator[RecoveryStep]:
    """Restore the reservation of the name that a manifest holds, and the target of `latest`."""
    full = state.name
    if full is None:
        return
    reservation = names.reservations.find(full)
    if reservation is None or reservation.manifest_id != state.stream:
        other = None if dry_run else names.reservations.make_again(state)
        if other is not None:
            found = f"the name {full!r} is held by {other.stream!r} as well"
            yield RecoveryStep(found, "unchanged: one of them must release it")
            return
        yield RecoveryStep(f"the reservation of its name {full!r} was missing", "made again")
        if dry_run:
            return  # the target of `latest` is unknown without the reservation
    yield from _mend_latest(names, split_name(full).name, dry_run=dry_run)


def recover(names: Names, name: str, *, dry_run: bool = False) -> tuple[RecoveryStep, ...]:
    """Complete or undo interrupted changes of a name's reservations and aliases; for manifests that hold names, see `mend`.

    Raises:
        CorruptLog: when the log of the aliases, or of a manifest that has a reservation, is damaged.
        LockTimeout, StoreError: as `Ledger.recover`.
    """
    steps = list(names.logs.store.recover(name, dry_run=dry_run).steps)
    for full in sorted(names.reservations.versions(name)):
        if names.reservations.holder(full) is None and (dry_run or names.reservations.settle(full)):
            found = f"there was a reservation of {full!r}, but its manifest does not hold the name"
            steps.append(RecoveryStep(found, "removed"))
    return (*steps, *_mend_latest(names, name, dry_run=dry_run))


def findings_of(names: Names, state: StateSnapshot) -> Iterator[Finding]:
    """The faults in the reservation of the name that an intact manifest holds; read-only."""
    full = state.name
    if full is None:
        return
    path = "/".join(layout.name_record(full))
    reservation = names.reservations.find(full)
    if reservation is None or reservation.manifest_id == state.stream:
        if reservation is None:
            reason = f"the reservation of {full!r} is missing, although {state.stream!r} holds it"
            yield Finding("unfinished", path, 0, 0, reason)
        return
    other = names.reservations.holder(full)
    if other is None:
        reason = f"it does not belong to {state.stream!r}, which holds {full!r}"
        yield Finding("unfinished", path, 0, 0, reason)
    else:
        reason = f"the name {full!r} is held by {other.stream!r} and by {state.stream!r}"
        yield Finding("damage", path, 0, 0, reason)


def verify(
    names: Names, name: str, rules: KeptRules | None = None, watch: Watcher | None = None
) -> Iterator[Finding]:
    """The faults in the reservations and the aliases of a name; read-only. rules, watch: as for `verify_stream`.

    Raises:
        CorruptLog: when the log of a manifest with a reservation is damaged, which its own verification reports.
        LockTimeout, StoreError: as `Ledger.inspect`.
    """
    damaged = False
    with suppress(NotFound):
        found = verify_stream(names.logs.store, name, area=layout.ALIASES, rules=rules, watch=watch)
        yield from found.findings
        damaged = found.damaged
    for full in sorted(names.reservations.versions(name)):
        if names.reservations.holder(full) is None and names.reservations.exists(full):
            reason = f"a reservation of {full!r} whose manifest does not hold the name: a writer was interrupted or is still running"
            yield Finding("unfinished", "/".join(layout.name_record(full)), 0, 0, reason)
    if not damaged and names.move_latest(name, dry_run=True):
        reason = f"`{LATEST}` of {name!r} does not point at its latest version"
        yield Finding("unfinished", layout.log_path(name, layout.ALIASES), 0, 0, reason)


def _mend_latest(names: Names, name: str, *, dry_run: bool) -> Iterator[RecoveryStep]:
    if names.catch_up(name, dry_run=dry_run):
        yield RecoveryStep(f"`{LATEST}` of {name!r} did not point at its latest version", "moved")
