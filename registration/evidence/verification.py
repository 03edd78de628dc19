"""Verification: is a log what the rules in it allow, and every byte as written? Pure over the bytes; it changes nothing.

A log is read once, in pieces, from its first byte: the chain, the hash of each state, the documents against their digests, the
snapshot against the log at its position; and each event is decided again (`registration.evidence.redeciding`). Memory is bounded
whatever its length.

Kinds of findings. *Damage* can't result from a crash: something changed the files, or wrote what the rules refuse. *Finding*: odd, and
no proof of anything. *Unfinished* is the trace of a crash, or of a concurrent writer; the next read or `recover` settles it.
A *stray* belongs to no manifest. *Unchecked* can only be checked by the program that wrote it.

What no log can show is that it was not rewritten as a whole, with other words, by other people, at other times, as its rules allow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from registration.core.codec import BadSnapshot, decode_snapshot, encode_snapshot, proof_of
from registration.core.forms import is_proved, matches
from registration.errors import InvalidArgument, LockTimeout, NotFound, StoreError
from registration.evidence.redeciding import Redecider
from registration.storage import layout
from registration.storage.pieces import EventsInPieces
from registration.storage.recovery import last_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from registration.core.codec import Fault
    from registration.core.definition import Definition
    from registration.errors import RegistrationError
    from registration.evidence.kept_rules import KeptRules
    from registration.storage.ledger import Ledger
    from registration.storage.recovery import ReadSpan
    from registration.storage.reports import Files
    from registration.values.events import Event, StateSnapshot

FINDINGS_MAX = 1_000
"""The number of findings of one log that are listed: what is broken once is often broken in every line."""

_TRIES = 4
_Kind = Literal["damage", "finding", "unfinished", "stray", "unchecked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem in the files.

    path: the file, relative to the registry. line: from 1; 0 if no line can be named. offset_bytes: the start
    of that line. reason: the problem, without a full stop. group: the same words for all problems of its kind. count: the number of
    lines; above 1 only for what is `unchecked` for the same reason, of which the first line is named.
    """

    kind: _Kind
    path: str
    line: int
    offset_bytes: int
    reason: str
    group: str = field(default="", compare=False)
    count: int = 1


@dataclass(frozen=True, slots=True)
class Verification:
    """The findings. sound_version: the last version up to which the log is valid; 0 if unknown. head: the hash of its last valid line."""

    manifest_id: str
    sound_version: int
    findings: tuple[Finding, ...]
    head: str = field(default="", compare=False)

    @property
    def damaged(self) -> bool:
        """Whether there is a finding that no crash explains."""
        return any(finding.kind == "damage" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class AreaVerification:
    """The findings in one of a registry's areas, such as `sessions`.

    looked_at: the number of streams. problems: why some could not be checked; the others were. head: the hash of the last valid line of the
    last of them.
    """

    area: str
    looked_at: int
    findings: tuple[Finding, ...]
    problems: tuple[RegistrationError, ...] = ()
    head: str = field(default="", compare=False)


class Watcher(Protocol):
    """Compares a log with what other files say of it, while it is verified: `registration.evidence.witnesses`."""

    def begin(self) -> None:
        """The log is read from its first byte, perhaps once more."""

    def saw(self, event: Event) -> None:
        """The next event."""

    def ended(self, fault: Fault | None = None) -> list[Finding]:
        """The findings, after the last event. fault: why reading stopped early."""

    def skipped(self) -> None:
        """The log can't be read."""


def verify_area(
    area: str,
    ids: Iterable[str],
    store_of: Callable[[str], Ledger],
    rules_of: Callable[[Ledger], KeptRules] | None = None,
    watch: Callable[[str, str], Watcher] | None = None,
) -> AreaVerification:
    """Check the files of each of these streams.

    store_of: returns the store of a stream; raises InvalidArgument when no stream has such an id, NotFound when its
    definition is missing. rules_of: returns the rules under which the events of a store are decided again; None: they are not.
    watch: by area and id, what is compared with other files; None: nothing.
    """
    findings: list[Finding] = []
    problems: list[RegistrationError] = []
    looked_at, head = 0, ""
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
            rules = rules_of(store) if rules_of is not None else None
            watcher = watch(area, id) if watch is not None else None
            checked = verify_stream(store, id, area=area, rules=rules, watch=watcher)
        except NotFound:  # nothing was ever written there, or it has been removed
            continue
        except LockTimeout as error:
            problems.append(error)
            continue
        findings += checked.findings
        looked_at, head = looked_at + 1, checked.head
    return AreaVerification(area, looked_at, tuple(findings), tuple(problems), head)


def verify_stream(
    store: Ledger,
    stream: str,
    *,
    area: str = layout.MANIFESTS,
    quick: bool = False,
    rules: KeptRules | None = None,
    watch: Watcher | None = None,
) -> Verification:
    """Check the files of a stream as `verify_files` does; unreadable files are a finding as well.

    The log is read without its lock, as far as it went at the start. quick: only the snapshot, the size of the log, and its last line.
    area: the directory of its store. rules: as for `verify_files`. watch: sees each event; its findings are added, unless `quick`.

    Raises:
        NotFound: when there are no files for that id.
        LockTimeout: when waiting for a writer timed out.
    """
    found: Verification | None = None
    try:
        for _ in range(_TRIES):
            files = store.inspect(stream, quick=True)
            check = _Check(store.source, store.definition, stream, area, rules, watch)
            found = check.run(
                lambda start, end: store.span(stream, start, end),
                files.unread_bytes,
                files.snapshot,
                quick=quick,
            )
            # What is found may be the trace of a writer, or of a repair, in the meantime: then it is looked at again.
            if not (check.short or found.damaged) or store.inspect(stream, quick=True) == files:
                break
    except StoreError as error:
        if watch is not None:
            watch.skipped()
        path = layout.log_path(stream, area)
        return Verification(stream, 0, (Finding("damage", path, 0, 0, error.problem.rstrip(".")),))
    assert found is not None
    if watch is None or quick:
        return found
    return replace(found, findings=(*found.findings, *watch.ended(check.fault)))


def verify_files(
    files: Files,
    *,
    stream: str,
    source: str,
    definition: Definition,
    area: str = layout.MANIFESTS,
    rules: KeptRules | None = None,
) -> Verification:
    """Check a log from its first byte, and a snapshot against it. area: their directory.

    rules: those under which each event is decided again; None: events are not, and only their bytes, documents and states are checked.
    """
    check = _Check(source, definition, stream, area, rules)
    return check.run(lambda start, end: files.log[start:end], len(files.log), files.snapshot)


class _Check:
    """The check of one log and its snapshot, once. short: whether the log ended before its size. fault: why reading it stopped early."""

    def __init__(
        self,
        source: str,
        definition: Definition,
        stream: str,
        area: str,
        rules: KeptRules | None,
        watch: Watcher | None = None,
    ) -> None:
        self.short = False
        self.fault: Fault | None = None
        self._watch = watch
        self._source = source
        self._definition = definition
        self._stream = stream
        self._rules = rules
        self._area = area
        self._log_path = layout.log_path(stream, area)
        self._snapshot_path = layout.snapshot_path(stream, area)
        self._findings: list[Finding] = []
        self._unusable: Finding | None = None
        self._more = 0
        self._unchecked: dict[str, Finding] = {}

    def run(
        self, read: ReadSpan, size_bytes: int, snapshot: bytes | None, *, quick: bool = False
    ) -> Verification:
        """The findings. read: the bytes of the log from an offset to another."""
        kept = self._decoded(snapshot)
        if quick and size_bytes:
            return self._quick(read, size_bytes, snapshot, kept)
        events = EventsInPieces(read, size_bytes, stream=self._stream, source=self._source)
        again = self._redecider()
        at = self._walked(events, again, kept)
        self.short = events.short
        if self._unusable is not None:
            self._add(self._unusable)
        if again.identifiers.late:
            self._twice(read, events.position.size_bytes, again)
        fault = self.fault = events.fault
        if fault is not None:
            uncovered = kept is None or kept.position.size_bytes <= events.position.size_bytes
            kind: _Kind = "unfinished" if fault.torn and uncovered else "damage"
            self._add(Finding(kind, self._log_path, fault.line, fault.offset_bytes, fault.reason))
        version = events.position.version
        if kept is not None:
            self._compared(kept, at, version, stopped=again.stopped)
        elif snapshot is None and version:
            self._add(Finding("unfinished", self._snapshot_path, 0, 0, "there is no snapshot yet"))
        elif snapshot is not None and not version:
            reason = "there is a snapshot, but the log has no events"
            self._add(Finding("damage", self._log_path, 0, 0, reason))
        return self._told(version, events.position.head)

    def _redecider(self) -> Redecider:
        if self._area != layout.REGISTRY:
            return Redecider(self._definition, self._rules)
        from registration.evidence.redeciding_rules import RulesRedecider  # noqa: PLC0415  # a chart is built: for one log alone

        return RulesRedecider(self._definition, self._rules)

    def _decoded(self, snapshot: bytes | None) -> StateSnapshot | None:
        if snapshot is None:
            return None
        try:
            return decode_snapshot(
                snapshot, stream=self._stream, source=self._source, definition=self._definition.name
            )
        except BadSnapshot as error:
            reason = f"the snapshot is unusable: {error}"
            self._unusable = Finding("damage", self._snapshot_path, 0, 0, reason)
            return None

    def _walked(
        self, events: EventsInPieces, again: Redecider, kept: StateSnapshot | None
    ) -> StateSnapshot | None:
        """Check each event; returns the fold at the version of the snapshot."""
        at: StateSnapshot | None = None
        offset = 0
        if self._watch is not None:
            self._watch.begin()
        for event in events:
            if self._watch is not None:
                self._watch.saw(event)
            for doubt in again.step(event):
                self._add(
                    Finding(doubt.kind, self._log_path, event.version, offset, doubt.reason, doubt.group)
                )
            offset += len(event.line)
            if kept is not None and event.version == kept.version:
                at = again.state
        return at

    def _compared(
        self, kept: StateSnapshot, at: StateSnapshot | None, version: int, *, stopped: bool
    ) -> None:
        """The snapshot with the fold of the log at its version."""
        path = self._snapshot_path
        if kept.version > version:
            reason = (
                f"the snapshot is of version {kept.version}, but the log is valid up to version {version}"
            )
            self._add(Finding("damage", path, 0, 0, reason))
        elif stopped and (at is None or at.version != kept.version):
            return  # reported with its line
        elif at is None or encode_snapshot(at) != encode_snapshot(kept):
            reason = f"it does not match the log at version {kept.version}"
            self._add(Finding("damage", path, 0, 0, reason))
        elif kept.version < version:
            reason = f"the snapshot is of version {kept.version}, but the log is at version {version}"
            self._add(Finding("unfinished", path, 0, 0, reason))

    def _twice(self, read: ReadSpan, size_bytes: int, again: Redecider) -> None:
        """Ids of earlier moments than those before them, which only a second look can tell from those of other lines."""
        late, seen, offset = again.identifiers.late, set(), 0
        for event in EventsInPieces(read, size_bytes, stream=self._stream, source=self._source):
            if event.id in late:
                if event.id in seen:
                    reason = "its id is that of another line"
                    self._add(Finding("damage", self._log_path, event.version, offset, reason, "id twice"))
                seen.add(event.id)
            offset += len(event.line)

    def _quick(
        self, read: ReadSpan, size_bytes: int, snapshot: bytes | None, kept: StateSnapshot | None
    ) -> Verification:
        """Check the snapshot, the log's size and its last line only."""
        if snapshot is None:
            self._add(Finding("unfinished", self._snapshot_path, 0, 0, "there is no snapshot yet"))
        if self._unusable is not None:
            self._add(self._unusable)
        if kept is None:
            return self._told(0, "")
        covered = kept.position.size_bytes
        if covered != size_bytes:
            kind: _Kind = "unfinished" if covered < size_bytes else "damage"
            reason = f"it has {size_bytes} bytes, but its snapshot (version {kept.version}) covers {covered}"
            self._add(Finding(kind, self._log_path, 0, 0, reason))
            return self._told(0, "")
        line = last_line(read, size_bytes)
        proof = proof_of(line) if line is not None else None
        self.short = line is None
        if proof is None:
            reason = "its last line does not match its hash"
            self._add(Finding("damage", self._log_path, 0, size_bytes - len(line or b""), reason))
        elif proof[0] != kept.position.head or not self._is_proved(kept, proof[1]):
            reason = f"it does not match the last line of the log (version {kept.version})"
            self._add(Finding("damage", self._snapshot_path, 0, 0, reason))
        return self._told(0 if self._findings else kept.version, kept.position.head)

    def _is_proved(self, kept: StateSnapshot, statehash: str | None) -> bool:
        """Whether the last line does not contradict a snapshot. That of an earlier release, or of a later form, says nothing."""
        if statehash is None or matches(statehash, kept) is None:
            return True
        return is_proved(kept, statehash)

    def _add(self, finding: Finding) -> None:
        if finding.kind == "unchecked":
            first = self._unchecked.setdefault(finding.group or finding.reason, finding)
            if first is not finding:
                self._unchecked[finding.group or finding.reason] = replace(first, count=first.count + 1)
        elif len(self._findings) < FINDINGS_MAX:
            self._findings.append(finding)
        else:
            self._more += 1
            if finding.kind == "damage" and all(one.kind != "damage" for one in self._findings):
                self._findings[-1] = finding  # never left out altogether

    def _told(self, version: int, head: str) -> Verification:
        findings = [*self._findings, *self._unchecked.values()]
        if self._more:
            kind: _Kind = "damage" if any(one.kind == "damage" for one in findings) else "finding"
            reason = f"{self._more:,} more findings are not listed"
            findings.append(Finding(kind, self._log_path, 0, 0, reason))
        return Verification(self._stream, version, tuple(findings), head)
