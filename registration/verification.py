"""Verification: is every byte of a manifest what was written? Pure over the bytes; it changes nothing.

Two kinds of findings. *Damage* can't come from a crash: something changed the files. *Unfinished* is what a
crash, or a writer at this very moment, leaves; the next read or `recover` settles it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from registration import layout
from registration.core.codec import BadSnapshot, decode_snapshot, encode_snapshot, scan
from registration.core.decider import fold
from registration.errors import UnknownEvent
from registration.values.documents import digest_of
from registration.values.snapshots import Position, StateSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.core.definition import Definition
    from registration.core.store import Files
    from registration.values.events import Event


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    path: the file, relative to the registry. line: from 1; 0 where no line can be named. offset_bytes: where
    that line begins. reason: what is wrong, without a full stop.
    """

    kind: Literal["damage", "unfinished"]
    path: str
    line: int
    offset_bytes: int
    reason: str

    def as_json(self) -> dict[str, Any]:
        """The finding as one JSON object."""
        return {
            "kind": self.kind,
            "path": self.path,
            "line": self.line,
            "offset_bytes": self.offset_bytes,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found. sound_version: the last version up to which every byte of the log checks out."""

    manifest_id: str
    sound_version: int
    findings: tuple[Finding, ...]

    @property
    def damaged(self) -> bool:
        """Whether anything is there that a crash can't leave."""
        return any(finding.kind == "damage" for finding in self.findings)


def verify_files(files: Files, *, stream: str, source: str, definition: Definition) -> Verification:
    """Check a log from its first byte, and a snapshot against it."""
    log_path, snapshot_path = layout.log_path(stream), layout.snapshot_path(stream)
    found = scan(files.log, stream=stream, source=source, after=Position())
    findings = list(_events(found.events, log_path))
    kept: StateSnapshot | None = None
    if files.snapshot is not None:
        try:
            kept = decode_snapshot(files.snapshot, stream=stream, source=source, definition=definition.name)
        except BadSnapshot as error:
            findings.append(Finding("damage", snapshot_path, 0, 0, f"the snapshot is of no use: {error}"))
    if found.fault is not None:
        fault = found.fault
        uncovered = kept is None or kept.position.size_bytes <= found.position.size_bytes
        kind: Literal["damage", "unfinished"] = "unfinished" if fault.torn and uncovered else "damage"
        findings.append(Finding(kind, log_path, fault.line, fault.offset_bytes, fault.reason))
    if kept is not None:
        findings += _snapshot(kept, found.events, definition, snapshot_path)
    elif files.snapshot is None and found.events:
        findings.append(Finding("unfinished", snapshot_path, 0, 0, "there is no snapshot yet"))
    elif files.snapshot is not None and not found.events:
        findings.append(Finding("damage", log_path, 0, 0, "a snapshot stands beside a log without events"))
    return Verification(stream, found.position.version, tuple(findings))


def _events(events: list[Event], path: str) -> Iterator[Finding]:
    """What the chain can't tell: documents against their digests, states and times against those before."""
    state, time, offset = None, "", 0
    for event in events:
        document = event.data.get("document")
        if document is not None and digest_of(document) != event.data.get("digest"):
            yield Finding("damage", path, event.version, offset, "the document does not match its digest")
        if event.from_state != state:
            reason = f"it starts from {event.from_state}, and the line before ended in {state}"
            yield Finding("damage", path, event.version, offset, reason)
        if event.time < time:
            reason = f"its time ({event.time}) is before that of the line before ({time})"
            yield Finding("damage", path, event.version, offset, reason)
        state, time, offset = event.to_state, event.time, offset + len(event.line)


def _snapshot(
    kept: StateSnapshot, events: list[Event], definition: Definition, path: str
) -> Iterator[Finding]:
    if kept.version > len(events):
        reason = f"the snapshot is of version {kept.version}, and the log is sound to version {len(events)}"
        yield Finding("damage", path, 0, 0, reason)
        return
    try:
        folded = fold(definition, None, events[: kept.version])
    except UnknownEvent as error:
        yield Finding("damage", path, 0, 0, error.problem)
        return
    if folded is None or encode_snapshot(folded) != encode_snapshot(kept):
        yield Finding("damage", path, 0, 0, f"it is not what the log folds to at version {kept.version}")
    elif kept.version < len(events):
        reason = f"the snapshot is of version {kept.version}, and the log of version {len(events)}"
        yield Finding("unfinished", path, 0, 0, reason)
