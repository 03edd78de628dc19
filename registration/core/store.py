"""The store: where the logs are. A protocol of eight methods; whoever keeps it can be put under the engine.

Its contract in code is `registration.testing.StoreContract`, which every store passes. In words:

- `append` returned: the whole batch survives a power cut, and every later `load` shows it.
- `append` raised `VersionConflict`: nothing was written.
- `append` raised anything else: the outcome is unknown, wholly there or wholly absent; load again and look.
- `load` never shows what a power cut could still take back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from registration.core.definition import Definition
    from registration.values.events import Event
    from registration.values.snapshots import Position, StateSnapshot


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a full replay came to.

    state: None where no event was ever acknowledged. done: a sentence for each thing that was set right, in
    order; empty where all was well.
    """

    state: StateSnapshot | None
    done: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Files:
    """The bytes of one manifest at one moment: its log, and its snapshot where there is one."""

    log: bytes
    snapshot: bytes | None


class Store(Protocol):
    """The logs and snapshots of one registry, under one definition. Safe to share between threads."""

    @property
    def source(self) -> str:
        """``urn:uuid:`` and the registry's id."""

    @property
    def definition(self) -> Definition:
        """What the logs are folded with."""

    @property
    def document_bytes_max(self) -> int:
        """How large a document this registry takes."""

    def load(self, stream: str) -> StateSnapshot | None:
        """The state after the last acknowledged event; None where there is none.

        Raises:
            CorruptLog: when what is there can't be what was written.
            LockTimeout: when a writer had to be waited for and held the lock for too long.
            StoreError: when the files can't be read.
        """

    def append(self, stream: str, after: Position, events: Sequence[Event], snapshot: StateSnapshot) -> None:
        """Commit one command's events as one atomic batch, then keep the snapshot.

        after: the place that the decision was made on. snapshot: the fold of the log with `events`. It is a
        cache: failing to keep it is logged and does not fail the commit.

        Raises:
            VersionConflict: when the log does not end at `after`. Nothing was written.
            LockTimeout: when somebody else held the lock for too long. Nothing was written.
            StoreError: when the disk failed: unknown, load again and look.
        """

    def read(self, stream: str) -> Iterator[Event]:
        """All acknowledged events of one log as of now, in order, each checked against the chain.

        Raises (while iterating):
            NotFound: when there is no such log.
            CorruptLog: at the first line that is not what was written; those before it have been given.
        """

    def save(self, stream: str, snapshot: StateSnapshot) -> None:
        """Keep a snapshot of what the log folds to, unless a later one is kept already.

        Raises:
            NotFound, CorruptLog, LockTimeout, StoreError: as above.
        """

    def inspect(self, stream: str) -> Files:
        """The bytes as they stand, changing nothing and believing nothing.

        Where the snapshot is not of this very log, one of them is damaged, or a writer died.

        Raises:
            NotFound: when there is nothing at all.
            LockTimeout, StoreError: as above.
        """

    def recover(self, stream: str) -> Recovered:
        """Fold the whole log from its first byte, checking the chain, and keep the snapshot anew.

        What a crash left unfinished is finished or set aside. Run twice, it ends in the same bytes.

        Raises:
            CorruptLog, LockTimeout, StoreError: as above.
        """

    def streams(self) -> Iterator[str]:
        """The ids of all logs, sorted by their file names; some may hold no acknowledged event."""

    def close(self) -> None:
        """Let go of everything. Closing twice is harmless."""
