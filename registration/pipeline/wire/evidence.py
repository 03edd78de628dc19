"""What a log proves, as JSON values: receipts that were checked, differences, who set what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registration.evidence.differences import Blame, Change, Difference
    from registration.evidence.receipts import ReceiptCheck


def receipt_check(found: ReceiptCheck) -> dict[str, Any]:
    """A receipt that says what the log says, and where the manifest stands now."""
    return {
        "manifest_id": found.manifest_id,
        "version": found.version,
        "state": found.state,
        "current_version": found.current_version,
        "current_state": found.current_state,
        "same_document": found.same_document,
    }


def difference(id: str, found: Difference) -> dict[str, Any]:
    """What changed in a document between two versions, as a JSON Patch (RFC 6902)."""
    return {
        "manifest_id": id,
        "before": {"version": found.before_version, "digest": found.before_digest},
        "after": {"version": found.after_version, "digest": found.after_digest},
        "patch": list(found.patch),
    }


def blame(one: Blame) -> dict[str, Any]:
    """Which event set what stands at a place of the document, and what stood there before, latest first."""
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
