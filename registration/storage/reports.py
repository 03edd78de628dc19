"""Reports: what the ledger answers besides states and events. Frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registration.values.events import Event, NewEvent, StateSnapshot


@dataclass(frozen=True, slots=True)
class RecoveryStep:
    """One thing that recovery set right, or would.

    found: what was not as it should be. done: what is done about it; both without a full stop. kept_as: where bytes that
    were set aside are, relative to the root.
    """

    found: str
    done: str
    kept_as: str | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a full replay came to.

    state: None where no event was ever acknowledged. steps: in order; none where all was well.
    """

    state: StateSnapshot | None
    steps: tuple[RecoveryStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Loss:
    """What repairing a damaged manifest gives up, or gave up.

    line, offset_bytes, reason: the damage. state: what is kept, as a fold of the events before it; None where nothing is.
    lost_bytes: how much of the log is set aside. lost_version: the last version that is known to have been, by the
    snapshot or by what stands behind the damage. kept_as: where the set-aside bytes are, once it is done.
    event, repaired: the repair's own event and the state after it, once it is done and where there is a log to record
    it in.
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


@dataclass(frozen=True, slots=True)
class Files:
    """The bytes of one manifest at one moment: its log, and its snapshot where there is one.

    unread_bytes: how much of the log was left unread, in a quick look; `log` is then empty.
    """

    log: bytes
    snapshot: bytes | None
    unread_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Stray:
    """Something that no manifest has: a name that is no id's, a file that isn't ours, what a crash left.

    path: relative to the root. unfinished: a crash left it, or a writer is at work. damaged: it is not what was written.
    """

    path: str
    reason: str
    unfinished: bool
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One committed event in the feed of a registry.

    cursor: the place after it, for going on there. area: what kind of stream it is of; `manifests` for manifests.
    """

    cursor: str
    area: str
    event: Event


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the feed holds behind a cursor.

    events: how many; of a long one, with those that were announced and never committed. since: the time of the first commit
    among them, RFC 3339; None where there is none.
    """

    events: int
    since: str | None


RepairEvent = Callable[["Loss", "StateSnapshot"], "NewEvent"]
"""From a loss, and the state that is left, to the event that records the repair."""
