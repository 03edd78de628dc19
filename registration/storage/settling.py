"""Settling: complete or set aside interrupted writes after a crash, and repair damage if the loss is accepted.

`registration.storage.recovery` decides the steps, purely; this carries them out over a backend. On files (`ports.Mending`) that
happens under the log's lock, nothing is changed before the whole plan is known, and a second run completes a killed one.
Elsewhere every commit is atomic, and torn bytes are damage.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from registration.core.codec import encode_snapshot
from registration.core.decider import sealed
from registration.errors import CorruptLog, NotFound
from registration.storage import layout
from registration.storage.notes import encode_commit
from registration.storage.ports import TAIL_BYTES, Mark, Moved, Note, mark_of
from registration.storage.recovery import (
    SET_ASIDE,
    ReadSpan,
    RecoveryPlan,
    Witness,
    corrupt_without_log,
    folded_ahead,
    is_proved_by,
    plan_recovery,
    plan_repair,
    witness,
)
from registration.storage.reports import Files, Loss, Recovered, RecoveryStep
from registration.values.events import Position

if TYPE_CHECKING:
    from registration.core.definition import Definition
    from registration.storage.ports import Backend, HeldLog
    from registration.storage.reports import RepairEvent
    from registration.values.events import StateSnapshot

_log = logging.getLogger("registration")


class Settling:
    """The recovery of one area's logs, under one definition."""

    def __init__(self, backend: Backend, source: str, definition: Definition, area: str) -> None:
        self._backend = backend
        self._source = source
        self._definition = definition
        self._area = area

    def settled(
        self, stream: str, *, whole: bool, dry_run: bool = False, doing: str = "reading"
    ) -> tuple[Recovered, Mark]:
        """Accept the intact lines, set the rest aside, store the snapshot; returns the new end of the log.

        whole: read the whole log, even if the snapshot covers it, and rebuild the snapshot. Ends with log and snapshot in
        agreement and durable, or changes nothing and raises.

        Raises:
            CorruptLog, UnknownEvent: as `plan_recovery`.
            LockTimeout, StoreError: as `Ledger.load`.
        """
        if self._backend.mending is None:
            return self._replayed(stream, whole=whole, dry_run=dry_run)
        try:
            with self._backend.mending.held(self._area, stream, writing=not dry_run, doing=doing) as held:
                raw, mark = held.found()
                found = self._witness(raw, stream)
                proved = found.state is not None and not whole and self._is_proved(stream, found.state)
                if proved and mark_of(found.covered) == mark:
                    return Recovered(found.state), mark
                plan = self._plan(
                    stream, found, held.read, mark.size_bytes, base=found.state if proved else None
                )
                if dry_run:
                    return Recovered(plan.state, tuple(plan.steps())), mark
                steps = self._carry_out(held, plan, stream, whole=whole)
                return Recovered(plan.state, tuple(steps)), held.found()[1]
        except FileNotFoundError:
            raw, mark = self._backend.logs.found(self._area, stream)
            if raw is not None and not mark.size_bytes:
                raise corrupt_without_log(stream, self._area) from None
            return Recovered(None), Mark()

    def _carry_out(
        self, held: HeldLog, plan: RecoveryPlan, stream: str, *, whole: bool
    ) -> list[RecoveryStep]:
        kept_as = held.settle(
            believe_from=plan.believe_from,
            believe_to=plan.believe_to,
            keep_bytes=plan.keep_bytes,
            torn=plan.torn,
            why=plan.why,
            whole=whole,
        )
        steps = [replace(step, kept_as=kept_as) if step.done == SET_ASIDE else step for step in plan.steps()]
        due = plan.state is not None and (plan.snapshot or plan.believe_to > plan.believe_from or whole)
        if held.put_snapshot(encode_snapshot(plan.state) if due and plan.state is not None else None):
            steps.append(RecoveryStep("a temporary file of an interrupted snapshot was left over", "removed"))
        for step in steps:
            _log.info("%s: %s: %s", stream, step.found, step.done)
        return steps

    def _replayed(self, stream: str, *, whole: bool, dry_run: bool) -> tuple[Recovered, Mark]:
        """With atomic commits: fold the events after the snapshot; everything else is damage."""
        logs, area = self._backend.logs, self._area
        raw, mark = logs.found(area, stream)
        found = self._witness(raw, stream)
        proved = found.state is not None and not whole and self._is_proved(stream, found.state)
        plan = self._plan(
            stream,
            found,
            lambda start, end: logs.read(area, stream, start, end),
            mark.size_bytes,
            base=found.state if proved else None,
        )
        steps = tuple(step for step in plan.steps() if step.found == plan.snapshot)
        if plan.state is not None and not dry_run and (plan.snapshot or whole):
            logs.put_snapshot(area, stream, encode_snapshot(plan.state), mark)
        return Recovered(plan.state, steps), mark

    def _is_proved(self, stream: str, state: StateSnapshot) -> bool:
        """Whether the log proves a snapshot, at the position where it ends."""
        return is_proved_by(lambda start, end: self._backend.logs.read(self._area, stream, start, end), state)

    def _plan(
        self,
        stream: str,
        found: Witness,
        read: ReadSpan,
        size_bytes: int,
        *,
        base: StateSnapshot | None,
    ) -> RecoveryPlan:
        """Read only the events after `base`, a snapshot that the log proves; without one, all, in pieces."""

        def plan(base: StateSnapshot | None, tail: bytes) -> RecoveryPlan:
            return plan_recovery(
                tail,
                base=base,
                found=found,
                stream=stream,
                source=self._source,
                definition=self._definition,
                area=self._area,
                atomic=self._backend.mending is None,
            )

        if base is not None:
            # The snapshot is sound, so the damage is behind it; reading all of the log tells where.
            with suppress(CorruptLog):
                return plan(base, read(base.position.size_bytes, size_bytes))
        ahead = folded_ahead(self._definition, read, size_bytes, stream=stream, source=self._source)
        return plan(ahead, read(ahead.position.size_bytes if ahead is not None else 0, size_bytes))

    def inspect(self, stream: str, *, quick: bool = False) -> Files:
        """See `Ledger.inspect`."""
        logs, mending, area = self._backend.logs, self._backend.mending, self._area
        raw, mark = logs.found(area, stream)
        if raw is None and not mark.size_bytes and mark.seen is None:
            raise NotFound(f"There is no manifest {stream!r}.", "Create it first.", manifest_id=stream)
        if mending is not None and mark_of(self._witness(raw, stream).covered) != mark:
            # For the bytes read, not the present ones: another writer may have committed meanwhile.
            with suppress(FileNotFoundError), mending.held(area, stream, writing=False) as held:
                raw, mark = held.found()
                return (
                    Files(b"", raw, mark.size_bytes) if quick else Files(held.read(0, mark.size_bytes), raw)
                )
        if quick:
            return Files(b"", raw, mark.size_bytes)
        return Files(logs.read(area, stream, 0, mark.size_bytes), raw)

    def repair(self, stream: str, event: RepairEvent | None) -> Loss | None:
        """Truncate a damaged log to its intact events, and record that as its next event. See `Ledger.repair`.

        After a kill at any point, the damage is reported again or the repair is complete. If no event is intact, there is no log to
        record it in, and the manifest is gone.
        """
        while True:
            files = self.inspect(stream)
            loss = plan_repair(
                files,
                stream=stream,
                source=self._source,
                definition=self._definition,
                atomic=self._backend.mending is None,
            )
            if loss is None or event is None:
                return loss
            with suppress(Moved):  # another writer committed meanwhile: retry
                return self._cut(stream, files, loss, event)

    def _cut(self, stream: str, files: Files, loss: Loss, event: RepairEvent) -> Loss:
        kept = loss.state.position if loss.state else Position()
        lost = files.log[kept.size_bytes :]
        own = layout.quarantine_directory(stream, self._area)
        aside = {}
        if lost:
            aside[layout.quarantine_file(kept.size_bytes, lost)] = lost
        if files.snapshot is not None:
            aside[layout.quarantine_snapshot(files.snapshot)] = files.snapshot
        loss = replace(loss, kept_as=tuple(f"{layout.QUARANTINE}/{own}/{name}" for name in aside))
        decided = event(loss)
        for name, data in aside.items():
            self._backend.blobs.put((layout.QUARANTINE, own, name), data)
        then = None
        if decided is not None:
            assert loss.state is not None
            (made,), (repaired,) = sealed(
                self._definition, loss.state, [decided], stream=stream, source=self._source
            )
            line = encode_commit(
                self._area, stream, made.version, 1, kept.size_bytes, repaired.position.size_bytes,
                made.hash, made.time,
            )  # fmt: skip
            then = (made.line, Note(line, 1), encode_snapshot(repaired))
            loss = replace(loss, event=made, repaired=repaired)
        at = Mark(len(files.log), files.log[-TAIL_BYTES:])
        self._backend.logs.cut(self._area, stream, at, kept.size_bytes, then=then)
        _log.warning(
            "%s: repaired at byte %d, with data loss: %s", stream, kept.size_bytes, ", ".join(loss.kept_as)
        )
        return loss

    def _witness(self, raw: bytes | None, stream: str) -> Witness:
        return witness(raw, stream=stream, source=self._source, definition=self._definition)
