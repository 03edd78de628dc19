"""Evidence, as JSON values: checked receipts, differences, blame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registration.evidence.differences import Blame, Change, Difference
    from registration.evidence.receipts import ReceiptCheck


def receipt_check(found: ReceiptCheck) -> dict[str, Any]:
    """A receipt that matches the log, and the manifest's current state."""
    return {
        "manifest_id": found.manifest_id,
        "version": found.version,
        "state": found.state,
        "current_version": found.current_version,
        "current_state": found.current_state,
        "same_document": found.same_document,
        "repairs": [dict(one) for one in found.repairs],
        "imports": [dict(one) for one in found.imports],
        "unchecked": dict(found.unchecked),
        "forced": {"count": found.forced_count, "events": [dict(one) for one in found.forced]},
    }


def difference(id: str, found: Difference) -> dict[str, Any]:
    """The difference between two versions of a document, as a JSON Patch (RFC 6902)."""
    return {
        "manifest_id": id,
        "before": {"version": found.before_version, "digest": found.before_digest},
        "after": {"version": found.after_version, "digest": found.after_digest},
        "patch": list(found.patch),
    }


def blame(one: Blame) -> dict[str, Any]:
    """The event that set the value at a pointer of the document, and the earlier values, latest first."""
    return {**_change(one), "pointer": one.pointer, "earlier": [_change(before) for before in one.earlier]}


def _change(one: Change) -> dict[str, Any]:
    return {
        "version": one.version,
        "time": one.time,
        "actor": one.actor,
        "action": one.action,
        "removed": one.removed,
        "value": None if one.removed else one.value,
    }
