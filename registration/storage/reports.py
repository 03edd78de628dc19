"""Reports: the answers of the ledger besides states and events. Frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registration.errors import RegistrationError
    from registration.values.events import Event, NewEvent, StateSnapshot


@dataclass(frozen=True, slots=True)
class RecoveryStep:
    """One step of a recovery, done or planned.

    found: the fault. done: its correction; both without a full stop. kept_as: the path of bytes that were set aside, relative to the
    root.
    """

    found: str
    done: str
    kept_as: str | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """The result of a full replay.

    state: None if no event was ever acknowledged. steps: in order; empty if nothing was wrong.
    """

    state: StateSnapshot | None
    steps: tuple[RecoveryStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss in a repair of a damaged manifest, done or planned.

    line, offset_bytes, reason: the damage. state: the remaining state, a fold of the events before the damage; None if none is
    left. lost_bytes: the size of the part set aside. lost_version: the last version known to have existed, by the snapshot or by
    the lines behind the damage. kept_as: the paths of the bytes set aside, once it is done. event, repaired: the repair's own
    event and the state after it, once it is done and if there is a log to record it in. place, lapsed: where the log continues, and
    the versions of the approvals that lapse; None and empty if nothing is left. released: the name that it held, if another manifest
    holds it by now. refusal: why this repair would be refused.
    """

    line: int
    offset_bytes: int
    reason: str
    state: StateSnapshot | None
    lost_bytes: int
    lost_version: int
    kept_as: tuple[str, ...] = ()
    event: Event | None = None
    repaired: StateSnapshot | None = None
    place: str | None = None
    lapsed: tuple[int, ...] = ()
    released: str | None = None
    refusal: RegistrationError | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """The bytes of one manifest at one moment: its log, and its snapshot if there is one.

    unread_bytes: the size of the log if it was left unread, in a quick inspection; `log` is then empty.
    """

    log: bytes
    snapshot: bytes | None
    unread_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Stray:
    """A file that belongs to no manifest: an invalid name, an unexpected file, or the remains of a crash.

    path: relative to the root. unfinished: left by a crash, or a writer is running. damaged: its content has changed.
    """

    path: str
    reason: str
    unfinished: bool
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One committed event in the feed of a registry.

    cursor: the position after it, for continuing there. area: the area of its stream; `manifests` for manifests.
    """

    cursor: str
    area: str
    event: Event


@dataclass(frozen=True, slots=True)
class Backlog:
    """The part of the feed after a cursor.

    events: their number; if large, it includes commits that were noted but never made. since: the time of the first commit among
    them, RFC 3339; None if there is none.
    """

    events: int
    since: str | None


RepairEvent = Callable[["Loss"], "NewEvent | None"]
"""Returns the event that records a repair; None if nothing is left to record it in. Called before anything is changed: it may refuse."""
