"""Verification: is every byte of a manifest as written? Pure over the bytes; it changes nothing.

Kinds of findings. *Damage* can't result from a crash: something changed the files. *Unfinished* is the trace of a
crash, or of a concurrent writer; the next read or `recover` settles it. A *stray* belongs to no
manifest. *Unchecked* can only be checked by the program that wrote it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from registration.core.codec import BadSnapshot, decode_snapshot, encode_snapshot, scan
from registration.core.decider import fold
from registration.errors import (
    InvalidArgument,
    InvalidDocument,
    LockTimeout,
    NotFound,
    StoreError,
    UnknownEvent,
)
from registration.storage import layout
from registration.values.documents import check_document
from registration.values.events import Position, StateSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from registration.core.definition import Definition
    from registration.errors import RegistrationError
    from registration.storage.ledger import Ledger
    from registration.storage.reports import Files
    from registration.values.events import Event


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem in the files.

    path: the file, relative to the registry. line: from 1; 0 if no line can be named. offset_bytes: the start
    of that line. reason: the problem, without a full stop.
    """

    kind: Literal["damage", "finding", "unfinished", "stray", "unchecked"]
    path: str
    line: int
    offset_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The findings. sound_version: the last version up to which the log is valid; 0 if unknown."""

    manifest_id: str
    sound_version: int
    findings: tuple[Finding, ...]

    @property
    def damaged(self) -> bool:
        """Whether there is a finding that no crash explains."""
        return any(finding.kind == "damage" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class AreaVerification:
    """The findings in one of a registry's areas, such as `sessions`.

    looked_at: the number of streams. problems: why some could not be checked; the others were.
    """

    area: str
    looked_at: int
    findings: tuple[Finding, ...]
    problems: tuple[RegistrationError, ...] = ()


def verify_area(area: str, ids: Iterable[str], store_of: Callable[[str], Ledger]) -> AreaVerification:
    """Check the files of each of these streams.

    store_of: returns the store of a stream; raises InvalidArgument when no stream has such an id, NotFound when its
    definition is missing.
    """
    findings: list[Finding] = []
    problems: list[RegistrationError] = []
    looked_at = 0
    for id in ids:
        try:
            store = store_of(id)
        except InvalidArgument:
            findings.append(Finding("stray", f"{area}/{id}", 0, 0, "nothing has this id"))
            continue
        except (NotFound, StoreError) as error:
            kind: Literal["unchecked", "damage"] = "unchecked" if isinstance(error, NotFound) else "damage"
            findings.append(Finding(kind, layout.log_path(id, area), 0, 0, error.problem.rstrip(".")))
            continue
        try:
            findings += verify_stream(store, id, area=area).findings
        except NotFound:  # nothing was ever written there, or it has been removed
            continue
        except LockTimeout as error:
            problems.append(error)
            continue
        looked_at += 1
    return AreaVerification(area, looked_at, tuple(findings), tuple(problems))


def verify_stream(
    store: Ledger, stream: str, *, area: str = layout.MANIFESTS, quick: bool = False
) -> Verification:
    """Check the files of a stream as `verify_files` does; unreadable files are a finding as well.

    quick: only the snapshot, and the size of the log. area: the directory of its store.

    Raises:
        NotFound: when there are no files for that id.
        LockTimeout: when waiting for a writer timed out.
    """
    try:
        files = store.inspect(stream, quick=quick)
    except StoreError as error:
        path = layout.log_path(stream, area)
        return Verification(stream, 0, (Finding("damage", path, 0, 0, error.problem.rstrip(".")),))
    return verify_files(files, stream=stream, source=store.source, definition=store.definition, area=area)


def verify_files(
    files: Files, *, stream: str, source: str, definition: Definition, area: str = layout.MANIFESTS
) -> Verification:
    """Check a log from its first byte, and a snapshot against it. area: their directory."""
    if files.unread_bytes:
        return _quick(files, stream=stream, source=source, definition=definition, area=area)
    log_path, snapshot_path = layout.log_path(stream, area), layout.snapshot_path(stream, area)
    found = scan(files.log, stream=stream, source=source, after=Position())
    findings = list(_events(found.events, definition, log_path))
    kept: StateSnapshot | None = None
    if files.snapshot is not None:
        try:
            kept = decode_snapshot(files.snapshot, stream=stream, source=source, definition=definition.name)
        except BadSnapshot as error:
            findings.append(Finding("damage", snapshot_path, 0, 0, f"the snapshot is unusable: {error}"))
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
        findings.append(Finding("damage", log_path, 0, 0, "there is a snapshot, but the log has no events"))
    return Verification(stream, found.position.version, tuple(findings))


def _quick(files: Files, *, stream: str, source: str, definition: Definition, area: str) -> Verification:
    """Check the snapshot and the log's size only."""
    log_path, snapshot_path = layout.log_path(stream, area), layout.snapshot_path(stream, area)
    if files.snapshot is None:
        return Verification(
            stream, 0, (Finding("unfinished", snapshot_path, 0, 0, "there is no snapshot yet"),)
        )
    try:
        kept = decode_snapshot(files.snapshot, stream=stream, source=source, definition=definition.name)
    except BadSnapshot as error:
        finding = Finding("damage", snapshot_path, 0, 0, f"the snapshot is unusable: {error}")
        return Verification(stream, 0, (finding,))
    covered, size = kept.position.size_bytes, files.unread_bytes
    if covered == size:
        return Verification(stream, kept.version, ())
    kind: Literal["damage", "unfinished"] = "unfinished" if covered < size else "damage"
    reason = f"it has {size} bytes, but its snapshot (version {kept.version}) covers {covered}"
    return Verification(stream, 0, (Finding(kind, log_path, 0, 0, reason),))


def _events(events: list[Event], definition: Definition, path: str) -> Iterator[Finding]:
    """Checks beyond the chain: documents against digests, and states, times and types against the event before."""
    state, time, offset = None, "", 0
    known: set[str | None] = {None}  # the valid digests of the document
    for event in events:
        reasons = []
        if event.type not in definition.event_types and not definition.is_behind(event):
            reasons.append(f"this release does not know its type {event.type!r}")
        claimed = event.data.get("digest")
        if "document" in event.data:
            known = {claimed, _digest(event.data["document"])}
            if len(known) > 1:
                reasons.append("the document does not match its digest")
        elif "digest" in event.data and claimed not in known:
            reasons.append("its digest is not that of the current document")
        reasons += _approval(event)
        if event.from_state != state:
            reasons.append(f"it starts from {event.from_state}, but the line before ended in {state}")
        if event.time < time:
            reasons.append(f"its time ({event.time}) is before that of the line before ({time})")
        for reason in reasons:
            yield Finding("damage", path, event.version, offset, reason)
        state, time, offset = event.to_state, event.time, offset + len(event.line)


def _approval(event: Event) -> Iterator[str]:
    """An approval must be of the current document, and given on the log as it was."""
    approval = event.data.get("approval")
    if isinstance(approval, dict):
        if approval.get("digest") != event.data.get("digest"):
            yield "its approval is of another document"
        if event.part == 1 and approval.get("head") != event.prev_hash:
            yield "its approval was given on another log"


def _digest(document: object) -> str:
    """The digest of a document in a log; for one that intake would have refused, a value that no event has."""
    try:
        return check_document(document, size_bytes_max=sys.maxsize).digest
    except InvalidDocument:
        return "refused"


def _snapshot(
    kept: StateSnapshot, events: list[Event], definition: Definition, path: str
) -> Iterator[Finding]:
    if kept.version > len(events):
        reason = (
            f"the snapshot is of version {kept.version}, but the log is valid up to version {len(events)}"
        )
        yield Finding("damage", path, 0, 0, reason)
        return
    try:
        folded = fold(definition, None, events[: kept.version])
    except UnknownEvent:  # already reported with its line
        return
    if folded is None or encode_snapshot(folded) != encode_snapshot(kept):
        yield Finding("damage", path, 0, 0, f"it does not match the log at version {kept.version}")
    elif kept.version < len(events):
        reason = f"the snapshot is of version {kept.version}, but the log is at version {len(events)}"
        yield Finding("unfinished", path, 0, 0, reason)
