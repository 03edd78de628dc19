"""Locks, as JSON values: their holders, and how the latest ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.pipeline.wire.marks import dry

if TYPE_CHECKING:
    from registration.values.leases import EndedLease, Lease


def lease(one: Lease) -> dict[str, Any]:
    """A lock: its holder and host, since and until when, and its number."""
    return {
        "key": one.key,
        "holder": one.holder,
        "host": one.host,
        "number": one.number,
        "since": one.since,
        "until": one.until,
    }


def lease_or_none(one: Lease | None) -> dict[str, Any] | None:
    """The lock on a key, if there is one."""
    return None if one is None else lease(one)


def claim(id: str, one: Lease, *, dry_run: bool = False) -> dict[str, Any]:
    """The lock on a manifest."""
    return {"manifest_id": id, **lease(one), **dry(dry_run)}


def released(id: str, *, was_claimed: bool, dry_run: bool = False) -> dict[str, Any]:
    """A manifest without a lock, and whether it was locked before."""
    return {"manifest_id": id, "released": was_claimed, **dry(dry_run)}


def broken(one: Lease, *, dry_run: bool = False) -> dict[str, Any]:
    """A broken lock, as it was before."""
    return {**lease(one), "broken": True, **dry(dry_run)}


def ended_lease(one: EndedLease) -> dict[str, Any]:
    """How a lock ended."""
    return {
        "number": one.number,
        "holder": one.holder,
        "host": one.host,
        "since": one.since,
        "until": one.until,
        "how": one.how,
        "time": one.time,
        "by": one.by,
        "reason": one.reason,
    }
