"""Settling: what a crash left is finished or set aside, and damage is repaired where somebody accepts the loss.

`settle` carries out a plan of `registration.storage.recovery`, `repair` one of its own. Both hold the manifest's lock, change
nothing before they know all that they will do, and do the same again when they were killed half-way.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from registration.core.codec import encode_snapshot, seal
from registration.core.decider import fold
from registration.core.store import Files, Loss, Record, Recovered, Step
from registration.errors import CorruptLog
from registration.storage import layout
from registration.storage.disk import write_whole
from registration.storage.files.place import TEMPORARY_SNAPSHOT
from registration.storage.recovery import (
    SET_ASIDE,
    Plan,
    Witness,
    corrupt_without_log,
    plan_recovery,
    plan_repair,
    witness,
)
from registration.values.snapshots import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from registration.core.definition import Definition
    from registration.storage.files.place import Held, Place
    from registration.values.events import Event
    from registration.values.snapshots import StateSnapshot

_log = logging.getLogger("registration")


def settle(
    place: Place, held: Held, *, source: str, definition: Definition, from_first_byte: bool = False
) -> Recovered:
    """Believe what can be believed, set the rest aside, keep the snapshot.

    from_first_byte: read the whole log, also where the snapshot covers it, and make the snapshot anew.

    Either ends with log and snapshot in agreement and on the disk, or changes nothing and raises.

    Raises:
        CorruptLog, UnknownEvent: as `plan_recovery`.
    """
    found = witness_of(place, held.directory, held.stream, source=source, definition=definition)
    size = place.disk.status(held.log).st_size
    if found.state is not None and found.covered.size_bytes == size and not from_first_byte:
        return Recovered(found.state)
    plan = plan_for(place, held, found, source=source, definition=definition, from_first_byte=from_first_byte)
    steps = plan.steps()
    if plan.believe:
        place.rewrite(held, plan.believe, plan.believe_from)
    if plan.believe_from == 0:
        # No snapshot tells that the creation was ever acknowledged, or that the directories were synced.
        place.sync_root()
        place.sync(held)
    if plan.believe_from == 0 or from_first_byte:
        place.disk.sync(held.log)  # that it was cut back may not be on the disk yet
    if plan.torn:
        kept_as = place.set_aside(held, layout.quarantine_file(plan.keep_bytes, plan.torn), plan.torn)
        place.cut(held, plan.keep_bytes)
        steps = [replace(step, kept_as=kept_as) if step.done == SET_ASIDE else step for step in steps]
        _log.warning(
            "%s: %d bytes at byte %d were the remains of a write that was never acknowledged (%s); kept as %s",
            held.stream, len(plan.torn), plan.keep_bytes, plan.why, kept_as,
        )  # fmt: skip
    if plan.state is not None and (plan.snapshot or plan.believe or from_first_byte):
        keep_snapshot(place, held, plan.state)
    if remove_temporary(place, held):
        steps.append(Step("a temporary file of an interrupted snapshot stood there", "removed"))
    for step in steps:
        _log.info("%s: %s: %s", held.stream, step.found, step.done)
    return Recovered(plan.state, tuple(steps))


def repair(
    place: Place,
    held: Held,
    record: Record | None,
    *,
    source: str,
    definition: Definition,
    announce: Callable[[str, Position, Sequence[Event]], None],
) -> Loss | None:
    """Cut a damaged log back to what checks out, and record that as its next event. See `Store.repair`.

    announce: tells the feed of that event before it is written.

    Killed at any point, the damage is named again or the repair is done: the old snapshot, which tells of more than the
    log then has, goes last. Where nothing checks out there is no log to record it in, and the manifest is gone.
    """
    snapshot = place.bytes_of(held.directory, layout.SNAPSHOT_FILE)
    files = Files(place.log_bytes(held, 0), snapshot)
    loss = plan_repair(files, stream=held.stream, source=source, definition=definition)
    if loss is None or record is None:
        return loss
    kept = loss.state.position if loss.state else Position()
    lost = files.log[kept.size_bytes :]
    kept_as = []
    if lost:
        kept_as.append(place.set_aside(held, layout.quarantine_file(kept.size_bytes, lost), lost))
    if snapshot is not None:
        kept_as.append(place.set_aside(held, layout.quarantine_snapshot(snapshot), snapshot))
    loss = replace(loss, kept_as=tuple(kept_as))
    # The snapshot tells of the loss until the log does: its name may not be on the disk yet.
    place.disk.sync(held.directory)
    place.cut(held, kept.size_bytes)
    if loss.state is None:
        with suppress(FileNotFoundError):
            place.disk.unlink(layout.SNAPSHOT_FILE, dir_fd=held.directory)
        place.disk.sync(held.directory)
    else:
        event = record(loss, loss.state)
        sealed = seal([event], stream=held.stream, source=source, after=kept)
        told = witness(snapshot, stream=held.stream, source=source, definition=definition).covered
        if told.size_bytes == kept.size_bytes + len(sealed[0].line):
            # A kill before the old snapshot is replaced must not leave one that seems to cover this very log.
            place.disk.unlink(layout.SNAPSHOT_FILE, dir_fd=held.directory)
            place.disk.sync(held.directory)
        announce(held.stream, kept, sealed)
        write_whole(place.disk, held.log, sealed[0].line)
        place.disk.sync_data(held.log)
        repaired = fold(definition, loss.state, sealed)
        assert repaired is not None
        loss = replace(loss, event=sealed[0], repaired=repaired)
        keep_snapshot(place, held, repaired)
    _log.warning("%s: repaired, with loss, at byte %d: %s", held.stream, kept.size_bytes, ", ".join(kept_as))
    return loss


def plan_for(
    place: Place, held: Held, found: Witness, *, source: str, definition: Definition, from_first_byte: bool
) -> Plan:
    """What settling a manifest would do. Reads only what the snapshot does not cover, unless that is doubtful."""
    # A snapshot that the log does not go through is not stood on: what follows its place would look torn.
    base = found.state if not from_first_byte and place.goes_through(held.log, found.covered) else None

    def plan(base: StateSnapshot | None) -> Plan:
        tail = place.log_bytes(held, base.position.size_bytes if base else 0)
        return plan_recovery(
            tail,
            base=base,
            found=found,
            stream=held.stream,
            source=source,
            definition=definition,
            area=place.area,
        )

    if base is None:
        return plan(None)
    try:
        return plan(base)
    except CorruptLog:
        # Either the snapshot is not of this log, or the log is damaged: the whole of it tells which, and where.
        return plan(None)


def witness_of(place: Place, directory: int, stream: str, *, source: str, definition: Definition) -> Witness:
    """What the snapshot beside a log tells."""
    raw = place.bytes_of(directory, layout.SNAPSHOT_FILE)
    return witness(raw, stream=stream, source=source, definition=definition)


def keep_snapshot(place: Place, held: Held, snapshot: StateSnapshot) -> None:
    """Replace `state.json`. It is a cache: where that fails, it is logged, and the next `load` makes it again."""
    try:
        place.replace_snapshot(held, encode_snapshot(snapshot))
    except OSError as error:
        _log.warning("%s: the snapshot could not be written, and will be: %s", held.stream, error)


def prepare_snapshot(place: Place, held: Held, snapshot: StateSnapshot) -> bool:
    """Write and sync a new snapshot beside the old one, without giving it its name; see `keep_snapshot` where that fails."""
    try:
        place.prepare_snapshot(held, encode_snapshot(snapshot))
    except OSError as error:
        _log.warning("%s: the snapshot could not be written, and will be: %s", held.stream, error)
        return False
    return True


def keep_prepared(place: Place, held: Held) -> None:
    """Give a prepared snapshot its name."""
    try:
        place.name_snapshot(held)
    except OSError as error:
        _log.warning("%s: the snapshot could not be written, and will be: %s", held.stream, error)


def remove_temporary(place: Place, held: Held) -> bool:
    """Remove what an interrupted snapshot left. Only under the lock, which whoever writes one holds."""
    try:
        place.disk.unlink(TEMPORARY_SNAPSHOT, dir_fd=held.directory)
    except OSError:  # there is none; or it stays, and does no harm
        return False
    return True


def refuse_orphan(place: Place, stream: str) -> None:
    """Where there is no log there is no manifest, unless a snapshot tells of one: that is damage.

    Raises:
        CorruptLog: when a snapshot stands there without a log.
    """
    with suppress(FileNotFoundError), place.opened(stream) as directory:
        if layout.SNAPSHOT_FILE not in place.disk.names(directory):
            return
        with suppress(FileNotFoundError):
            if place.disk.status_at(layout.LOG_FILE, dir_fd=directory).st_size:
                return  # somebody was creating it at this very moment
        raise corrupt_without_log(stream, place.area)
