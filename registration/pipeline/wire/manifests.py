"""Manifests, as JSON values: states, results of commands, events, lists, imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from registration.pipeline.wire.locks import lease_or_none
from registration.pipeline.wire.marks import dry
from registration.pipeline.wire.reasons import problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from registration.core.definition import Definition
    from registration.core.outlook import Outlook
    from registration.engine.engine import TransitionResult
    from registration.errors import RegistrationError
    from registration.pipeline.importing import Imported, Offer
    from registration.pipeline.results import Summary
    from registration.pipeline.wire.reasons import Wording
    from registration.rules.gate import Demanded
    from registration.storage.reports import FeedEntry
    from registration.values.events import Event, StateSnapshot
    from registration.values.leases import Lease


def registry(
    root: str,
    registry_id: str | None,
    definition: Definition,
    *,
    made: bool,
    gate: Iterable[Demanded] = (),
    dry_run: bool = False,
) -> dict[str, Any]:
    """A registry. made: whether it was just created, or would be, without an id yet. gate: what approving and registering demand."""
    return {
        "root": root,
        "registry_id": registry_id,
        "made": made,
        "lifecycle": dict(definition.identity),
        "gate": [one.as_json() for one in gate],
        **dry(dry_run),
    }


def state(snapshot: StateSnapshot) -> dict[str, Any]:
    """Print the state of one manifest."""
    return {
        "manifest_id": snapshot.manifest_id,
        "state": snapshot.state,
        "version": snapshot.version,
        "digest": snapshot.digest,
        "created_at": snapshot.created_at,
        "updated_at": snapshot.updated_at,
        "approvals": list(snapshot.approvals),
        "repairs": list(snapshot.repairs),
        "due": dict(snapshot.facts.get("due", {})),
        "name": snapshot.name,
        "tags": list(snapshot.tags),
        "log": {"size": snapshot.position.size_bytes, "head": snapshot.position.head},
        "document": snapshot.document,
    }


def manifest(
    snapshot: StateSnapshot, aliases: Sequence[str], claim: Lease | None, ahead: Sequence[Outlook] = ()
) -> dict[str, Any]:
    """The state of one manifest, the aliases that point at it, its lock, and the approvals that it has and lacks."""
    return {
        **state(snapshot),
        "aliases": list(aliases),
        "claim": lease_or_none(claim),
        "outlook": outlook(ahead),
    }


def outlook(found: Sequence[Outlook]) -> list[dict[str, Any]]:
    """The approvals that a manifest has and lacks, by action that demands them."""
    return [one.as_json() for one in found]


def transition(result: TransitionResult) -> dict[str, Any]:
    """The result of a command."""
    return {**_moved(result), "outlook": outlook(result.outlook())}


def _moved(result: TransitionResult) -> dict[str, Any]:
    event = result.event
    return {
        "manifest_id": result.manifest_id,
        "action": event.action,
        "from": event.from_state,
        "to": event.to_state,
        "version": event.version,
        "digest": result.snapshot.digest,
        "actor": event.actor,
        "time": event.time,
        "event_id": event.id,
        "attempts": result.attempts,
        "replayed": result.replayed,
        **dry(result.dry_run),
    }


def tagging(result: TransitionResult) -> dict[str, Any]:
    """The result of adding or removing tags."""
    return {**_moved(result), "tags": list(result.snapshot.tags)}


def tags(id: str, found: Sequence[str]) -> dict[str, Any]:
    """The tags of a manifest."""
    return {"manifest_id": id, "tags": list(found)}


def summary(one: Summary, wording: Wording) -> dict[str, Any]:
    """One manifest in a list."""
    return {
        "manifest_id": one.manifest_id,
        "state": one.state or None,
        "version": one.version,
        "digest": one.digest,
        "created_at": one.created_at or None,
        "updated_at": one.updated_at or None,
        "problem": problem(one.problem, wording),
    }


def next_page(cursor: str) -> dict[str, Any]:
    """The start of the next page of a list."""
    return {"next_page": cursor}


def event(one: Event) -> bytes:
    """An event exactly as in its log: the bytes of a CloudEvents 1.0 event."""
    return one.line.removesuffix(b"\n")


def feed_entry(entry: FeedEntry) -> bytes:
    """An event of the feed, with the cursor after it and its area; the event itself exactly as in its log."""
    head = orjson.dumps({"cursor": entry.cursor, "area": entry.area}).removesuffix(b"}")
    return head + b',"event":' + event(entry.event) + b"}"


def imported(
    offer: Offer, outcome: str, done: Imported | None, failure: RegistrationError | None, wording: Wording
) -> dict[str, Any]:
    """The result for one document of many. done: None if it was refused."""
    after = done.state if done is not None else None
    return {
        "source": offer.source,
        "line": offer.line or None,
        "outcome": outcome,
        "submitted": done is not None and done.submitted,
        "manifest_id": after.manifest_id if after is not None else offer.manifest_id,
        "state": after.state if after is not None else None,
        "version": after.version if after is not None else 0,
        "digest": offer.document.digest if offer.document is not None else None,
        "problem": problem(failure, wording),
    }


def tour(root: str, snapshot: StateSnapshot) -> dict[str, Any]:
    """The demonstration's registry, and the final state of its manifest."""
    return {"root": root, "manifest_id": snapshot.manifest_id, "state": snapshot.state}
