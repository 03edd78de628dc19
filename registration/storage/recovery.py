"""Recovery as a decision: from the bytes found to the steps needed. Pure.

This is the recovery table of ARCHITECTURE.md, row by row. `registration.storage.settling` carries a plan out, under the
lock; a dry run only shows it. Damage is not part of a plan: it is raised, and nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.core.codec import BadSnapshot, Fault, decode_snapshot, scan, sound_versions
from registration.core.decider import fold
from registration.core.replay import replay
from registration.errors import CorruptLog
from registration.storage import layout
from registration.values.events import Position, StateSnapshot

if TYPE_CHECKING:
    from registration.core.definition import Definition
    from registration.storage.reports import Files, Loss, RecoveryStep


SET_ASIDE = "set aside and cut off"


@dataclass(frozen=True, slots=True)
class Witness:
    """The evidence of a snapshot file: the state if it is intact; otherwise why it is unusable, if it exists.

    It is the second witness of the log's length: a log that is shorter than an intact snapshot covers has lost bytes.
    """

    state: StateSnapshot | None = None
    unusable: str | None = None

    @property
    def covered(self) -> Position:
        """The size of the log that is known to be durable."""
        return self.state.position if self.state else Position()

    @property
    def exists(self) -> bool:
        """Whether there is a snapshot file."""
        return self.state is not None or self.unusable is not None


def witness(raw: bytes | None, *, stream: str, source: str, definition: Definition) -> Witness:
    """Read a snapshot file; None if there is none."""
    if raw is None:
        return Witness()
    try:
        return Witness(decode_snapshot(raw, stream=stream, source=source, definition=definition.name))
    except BadSnapshot as error:
        return Witness(unusable=str(error))


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """The recovery of one manifest.

    state: the folded state; None if nothing was ever acknowledged. believe: the lines that no snapshot covers, to be rewritten and
    synced from `believe_from`. torn: the remains of an unacknowledged command after them, to be set aside and cut off at
    `keep_bytes`; why: their fault. snapshot: why the snapshot has to be rebuilt; empty if it has not.
    """

    state: StateSnapshot | None
    believe_from: int = 0
    believe: bytes = b""
    keep_bytes: int = 0
    torn: bytes = b""
    why: str = ""
    snapshot: str | None = None

    def steps(self) -> list[RecoveryStep]:
        """The steps, in order; empty if nothing is wrong."""
        from registration.storage.reports import RecoveryStep  # noqa: PLC0415  # only where there is something to recover

        steps = []
        if self.believe:
            version = self.state.version if self.state else 0
            found = f"{len(self.believe)} bytes from byte {self.believe_from} of the log, up to version {version}, are in no snapshot"
            steps.append(RecoveryStep(found, "written again and synced"))
        if self.torn:
            found = f"{len(self.torn)} bytes from byte {self.keep_bytes} of the log belong to an unfinished write ({self.why})"
            steps.append(RecoveryStep(found, SET_ASIDE))
        if self.snapshot:
            steps.append(RecoveryStep(self.snapshot, "rebuilt"))
        return steps


def plan_recovery(
    tail: bytes,
    *,
    base: StateSnapshot | None,
    found: Witness,
    stream: str,
    source: str,
    definition: Definition,
    area: str = layout.MANIFESTS,
    atomic: bool = False,
) -> RecoveryPlan:
    """Decide the recovery of a log and its snapshot.

    tail: the log's bytes after `base` (all of them if it is None). found: the log's snapshot. area: the directory of both, for
    messages about damage. atomic: every commit is atomic, so that a torn one is damage.

    Raises:
        CorruptLog: when a crash can't explain the bytes.
        UnknownEvent: when a later release wrote it.
    """
    start = base.position if base else Position()
    size = start.size_bytes + len(tail)
    covered = found.covered
    if covered.size_bytes > size:
        reason = (
            f"it has {size} bytes, and its snapshot (version {covered.version}) covers {covered.size_bytes}"
        )
        sound = scan(tail, stream=stream, source=source, after=start).position.version
        raise corrupt(stream, Fault(0, size, reason, torn=False), sound, area)
    fault: Fault | None = None
    state = replay(definition, base, tail, stream=stream, source=source)
    if state is not None:
        keep = state.position.size_bytes
    else:
        seen = scan(tail, stream=stream, source=source, after=start)
        keep, fault = seen.position.size_bytes, seen.fault
        if fault and (atomic or not fault.torn or keep < covered.size_bytes):
            raise corrupt(stream, fault, seen.position.version, area)
        state = fold(definition, base, seen.events)
    if state is None and found.exists:
        raise corrupt_without_log(stream, area)
    return RecoveryPlan(
        state=state,
        believe_from=covered.size_bytes,
        believe=tail[covered.size_bytes - start.size_bytes : keep - start.size_bytes]
        if keep > covered.size_bytes
        else b"",
        keep_bytes=keep,
        torn=tail[keep - start.size_bytes :],
        why=fault.reason if fault else "",
        snapshot=_what_is_wrong(found, state),
    )


def _what_is_wrong(found: Witness, state: StateSnapshot | None) -> str | None:
    if found.unusable:
        return f"the snapshot is unusable ({found.unusable})"
    if state is None or found.state == state:
        return None
    if found.state is None:
        return "there is no snapshot"
    if found.state.version < state.version:
        return f"the snapshot has version {found.state.version}, the log has version {state.version}"
    return "the snapshot differs from the replayed log"


def corrupt(stream: str, fault: Fault, sound_version: int, area: str) -> CorruptLog:
    """The error of a damaged log: the file, the line, the offset, and the last intact version."""
    return CorruptLog(
        layout.log_path(stream, area),
        line=fault.line,
        offset_bytes=fault.offset_bytes,
        reason=fault.reason,
        sound_version=sound_version,
        stream=stream,
    )


def corrupt_without_log(stream: str, area: str) -> CorruptLog:
    """The error of a snapshot without a log: a snapshot is never written before its log."""
    reason = "the log is missing or empty, but its snapshot exists"
    return corrupt(stream, Fault(0, 0, reason, torn=False), 0, area)


def plan_repair(
    files: Files, *, stream: str, source: str, definition: Definition, atomic: bool = False
) -> Loss | None:
    """The loss in keeping only the intact events; None if recovery needs no consent.

    Only the events before the damage are kept. A snapshot of later events is evidence that they existed, but not of their
    content. atomic: as `plan_recovery`.
    """
    from registration.storage.reports import Loss  # noqa: PLC0415  # for damage alone

    found = witness(files.snapshot, stream=stream, source=source, definition=definition)
    try:
        plan_recovery(
            files.log,
            base=None,
            found=found,
            stream=stream,
            source=source,
            definition=definition,
            atomic=atomic,
        )
    except CorruptLog as damage:
        seen = scan(files.log, stream=stream, source=source, after=Position())
        later = sound_versions(files.log[seen.position.size_bytes :], stream=stream, source=source)
        return Loss(
            line=damage.details["line"],
            offset_bytes=damage.details["offset_bytes"],
            reason=damage.details["reason"],
            state=fold(definition, None, seen.events),
            lost_bytes=len(files.log) - seen.position.size_bytes,
            lost_version=max([found.covered.version, *later], default=0),
        )
    return None
