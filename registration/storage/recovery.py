"""Recovery as a decision: from the bytes found to the steps needed. Pure.

This is the recovery table of ARCHITECTURE.md, row by row. `registration.storage.settling` carries a plan out, under the
lock; a dry run only shows it. Damage is not part of a plan: it is raised, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registration.core.codec import (
    BadSnapshot,
    Fault,
    decode_snapshot,
    encode_snapshot,
    proof_of,
    scan,
    sound_versions,
)
from registration.core.decider import UNFOLDABLE, fold
from registration.core.forms import is_proved
from registration.core.replay import replay
from registration.errors import CorruptLog, UnknownEvent
from registration.storage import layout
from registration.values.events import Position, StateSnapshot

if TYPE_CHECKING:
    from registration.core.definition import Definition
    from registration.storage.reports import Files, Loss, RecoveryStep
    from registration.values.events import Event


LINE_GUESS_BYTES = 4096
"""How much of a log is read at first to find its last line; four times as much each time that is too little."""

PIECE_BYTES = 1 << 20
"""How much of a log is in memory at a time while it is folded."""

SET_ASIDE = "set aside and cut off"


@dataclass(frozen=True, slots=True)
class Witness:
    """The evidence of a snapshot file: the state if it is intact; otherwise why it is unusable, if it exists.

    It is the second witness of the log's length: a log that is shorter than an intact snapshot covers has lost bytes.
    """

    state: StateSnapshot | None = None
    unusable: str | None = None
    elsewhere: Position | None = None

    @property
    def covered(self) -> Position:
        """The part of the log that is known to be durable; of a snapshot of another format as well, if its checksum is sound."""
        return self.state.position if self.state else (self.elsewhere or Position())

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
        return Witness(unusable=str(error), elsewhere=error.covered)


ReadSpan = Callable[[int, int], bytes]
"""The bytes of a log from an offset to another; fewer if it ends earlier."""


def last_line(read: ReadSpan, end: int) -> bytes | None:
    """The line that ends at an offset of a log, as it is; None if the log ends before it."""
    length = LINE_GUESS_BYTES
    while True:
        start = max(0, end - length)
        piece = read(start, end)
        if len(piece) != end - start:
            return None
        begin = piece.rfind(b"\n", 0, len(piece) - 1) + 1
        if begin or not start:
            return piece[begin:]
        length *= 4


def is_proved_by(read: ReadSpan, state: StateSnapshot) -> bool:
    """Whether the line at which a snapshot ends says that this is the state after it. Reads that line alone.

    A line of release 0.1 says nothing of its state, and proves nothing.
    """
    line = last_line(read, state.position.size_bytes)
    found = proof_of(line) if line is not None else None
    return found is not None and found[0] == state.position.head and is_proved(state, found[1])


def folded_in_pieces(
    definition: Definition, read: ReadSpan, size_bytes: int, *, stream: str, source: str
) -> StateSnapshot | None:
    """The fold of the first `size_bytes` bytes of a log; None if there is anything wrong with them. Memory does not grow with the log."""
    state = folded_ahead(definition, read, size_bytes, stream=stream, source=source)
    return state if state is not None and state.position.size_bytes == size_bytes else None


def folded_ahead(
    definition: Definition, read: ReadSpan, size_bytes: int, *, stream: str, source: str
) -> StateSnapshot | None:
    """The fold of the first bytes of a log, as far as nothing is wrong with them; None if that is nowhere.

    Up to `size_bytes` if there is nothing wrong. If there is, it may end some events before. Memory does not grow with the log.
    """
    state: StateSnapshot | None = None
    rest, offset = b"", 0
    while offset < size_bytes:
        piece = read(offset, min(offset + PIECE_BYTES, size_bytes))
        if not piece:
            return state
        offset += len(piece)
        data = rest + piece
        cut = data.rfind(b"\n") + 1
        whole, rest = data[:cut], data[cut:]
        if not whole:
            continue
        after = state.position if state is not None else Position()
        found = replay(definition, state, whole, stream=stream, source=source)
        if found is None:
            seen = scan(whole, stream=stream, source=source, after=after)
            try:
                found = fold(definition, state, seen.events)
            except (UnknownEvent, *UNFOLDABLE):
                return state
            # A command of several events may go on in the next piece.
            rest = whole[seen.position.size_bytes - after.size_bytes :] + rest
            if seen.fault is not None and (not seen.fault.torn or len(rest) > PIECE_BYTES):
                return found
        state = found
    return state


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """The recovery of one manifest.

    state: the folded state; None if nothing was ever acknowledged. believe_from, believe_to: the lines that no snapshot covers, to be
    rewritten and synced; none if they are equal. torn: the remains of an unacknowledged command after them, to be set aside and cut off at
    `keep_bytes`; why: their fault. snapshot: why the snapshot has to be rebuilt; empty if it has not.
    """

    state: StateSnapshot | None
    believe_from: int = 0
    believe_to: int = 0
    keep_bytes: int = 0
    torn: bytes = b""
    why: str = ""
    snapshot: str | None = None

    def steps(self) -> list[RecoveryStep]:
        """The steps, in order; empty if nothing is wrong."""
        from registration.storage.reports import RecoveryStep  # noqa: PLC0415  # only where there is something to recover

        steps = []
        if self.believe_to > self.believe_from:
            version = self.state.version if self.state else 0
            size = self.believe_to - self.believe_from
            found = f"{size} bytes from byte {self.believe_from} of the log, up to version {version}, are in no snapshot"
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
        state = _folded(definition, base, seen.events, stream, area)
    if state is None and found.exists:
        raise corrupt_without_log(stream, area)
    return RecoveryPlan(
        state=state,
        believe_from=covered.size_bytes,
        believe_to=max(keep, covered.size_bytes),
        keep_bytes=keep,
        torn=tail[keep - start.size_bytes :],
        why=fault.reason if fault else "",
        snapshot=_what_is_wrong(found, state),
    )


def _folded(
    definition: Definition, base: StateSnapshot | None, events: list[Event], stream: str, area: str
) -> StateSnapshot | None:
    """The fold of events. One that no program wrote, although the hashes fit, is damage.

    Raises:
        CorruptLog: naming its line.
    """
    state = base
    for event in events:
        before = state.position if state is not None else Position()
        try:
            state = fold(definition, state, (event,))
        except UNFOLDABLE as error:
            reason = f"it can't be folded ({type(error).__name__}: {error})"
            fault = Fault(event.version, before.size_bytes, reason, torn=False)
            raise corrupt(stream, fault, before.version, area) from None
    return state


def _what_is_wrong(found: Witness, state: StateSnapshot | None) -> str | None:
    if found.unusable:
        return f"the snapshot is unusable ({found.unusable})"
    # By their bytes, since Python calls True and 1 equal.
    same = (
        found.state is not None
        and state is not None
        and encode_snapshot(found.state) == encode_snapshot(state)
    )
    if state is None or same:
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
        sound = seen.events
        if damage.details["line"] and damage.details["line"] <= len(
            sound
        ):  # it is sound, and can't be folded
            sound = sound[: damage.details["line"] - 1]
        kept = fold(definition, None, sound)
        keep_bytes = kept.position.size_bytes if kept else 0
        later = sound_versions(files.log[keep_bytes:], stream=stream, source=source)
        return Loss(
            line=damage.details["line"],
            offset_bytes=damage.details["offset_bytes"],
            reason=damage.details["reason"],
            state=kept,
            lost_bytes=len(files.log) - keep_bytes,
            lost_version=max([found.covered.version, *later], default=0),
        )
    return None
