"""The upkeep of names: what a crash left of claims and aliases is told, and finished or taken back.

Nothing here is needed for a right answer: whoever wants a name, or resolves it, looks at the logs. It leaves nothing lying
about, and makes claims again that were lost.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from registration.engine.names.claims import decode_claim
from registration.errors import NotFound
from registration.evidence.verification import Finding, verify_stream
from registration.storage import layout
from registration.storage.reports import RecoveryStep
from registration.values.names import LATEST, split_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.engine.names.registry import Names
    from registration.values.events import StateSnapshot


def mend(names: Names, state: StateSnapshot, *, dry_run: bool = False) -> Iterator[RecoveryStep]:
    """See to it that the claim for the name that a manifest holds is there, and `latest` where it belongs."""
    full = state.name
    if full is None:
        return
    claim = decode_claim(names.claims.place.read(full) or b"", full)
    if claim is None or claim.manifest_id != state.stream:
        other = None if dry_run else names.claims.make_again(state)
        if other is not None:
            found = f"the name {full!r} is held by {other.stream!r} as well"
            yield RecoveryStep(found, "unchanged: one of them must release it")
            return
        yield RecoveryStep(f"the claim to its name {full!r} was missing", "made again")
        if dry_run:
            return  # where `latest` belongs can't be told without the claim
    yield from _mend_latest(names, split_name(full).name, dry_run=dry_run)


def recover(names: Names, name: str, *, dry_run: bool = False) -> tuple[RecoveryStep, ...]:
    """Finish or take back what a crash left of a name's claims and aliases; of manifests that hold names, see `mend`.

    Raises:
        CorruptLog: when the log of the aliases, or of a manifest that has a claim, is damaged.
        LockTimeout, StoreError: as `Ledger.recover`.
    """
    steps = list(names.logs.store.recover(name, dry_run=dry_run).steps)
    for full in sorted(names.claims.place.claims_of(name)):
        if names.claims.holder(full) is None and (dry_run or names.claims.settle(full)):
            found = f"there was a claim to {full!r}, but its manifest does not hold the name"
            steps.append(RecoveryStep(found, "removed"))
    return (*steps, *_mend_latest(names, name, dry_run=dry_run))


def findings_of(names: Names, state: StateSnapshot) -> Iterator[Finding]:
    """What is wrong with the claim of the name that a manifest holds, which is sound itself; changes nothing."""
    full = state.name
    if full is None:
        return
    path = layout.claim_path(full)
    claim = decode_claim(names.claims.place.read(full) or b"", full)
    if claim is None or claim.manifest_id == state.stream:
        if claim is None:
            reason = f"the claim to {full!r} is missing, although {state.stream!r} holds it"
            yield Finding("unfinished", path, 0, 0, reason)
        return
    other = names.claims.holder(full)
    if other is None:
        reason = f"it does not belong to {state.stream!r}, which holds {full!r}"
        yield Finding("unfinished", path, 0, 0, reason)
    else:
        reason = f"the name {full!r} is held by {other.stream!r} and by {state.stream!r}"
        yield Finding("damage", path, 0, 0, reason)


def verify(names: Names, name: str) -> Iterator[Finding]:
    """What is wrong with the claims and the aliases of a name; changes nothing.

    Raises:
        CorruptLog: when the log of a manifest that has a claim is damaged: that is named by its own verification.
        LockTimeout, StoreError: as `Ledger.inspect`.
    """
    aliases = names.logs.store
    with suppress(NotFound):
        yield from verify_stream(aliases, name, area=layout.ALIASES).findings
    for full in sorted(names.claims.place.claims_of(name)):
        if names.claims.holder(full) is None and names.claims.place.read(full) is not None:
            reason = f"a claim to {full!r} whose manifest does not hold the name: a writer died, or is still running"
            yield Finding("unfinished", layout.claim_path(full), 0, 0, reason)
    if names.move_latest(name, dry_run=True):
        reason = f"`{LATEST}` of {name!r} does not point at its latest version"
        yield Finding("unfinished", layout.log_path(name, layout.ALIASES), 0, 0, reason)


def _mend_latest(names: Names, name: str, *, dry_run: bool) -> Iterator[RecoveryStep]:
    if names.catch_up(name, dry_run=dry_run):
        yield RecoveryStep(f"`{LATEST}` of {name!r} did not point at its latest version", "moved")
