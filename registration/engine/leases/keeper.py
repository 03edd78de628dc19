"""`LeaseKeeper`: who works on what alone, and until when.

A lease is for a time, so a process that died keeps nobody out for longer than that. The other side of it: whoever holds one
may be stopped, or sleep, and go on when it has ended and somebody else has taken it. Two things are there for that:

- the *token*: only with it a lease is renewed and released, so whoever comes too late takes nothing away from others;
- the *number*: it grows with each lease on a key, for ever. A write that carries it is refused where a write under a later
  one was seen (`fence=` of the pipeline's commands; Martin Kleppmann, "How to do distributed locking", 2016).

`registration.engine.leases.leases` keeps them in records, of a registry or in memory. `registration.testing.LeaseContract` tries
the promises.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.values.leases import EndedLease, Lease

TTL_S_MAX = 366 * 86_400
"""The longest time that a lease may be asked for: a year. Nobody means to work alone for longer."""


class LeaseKeeper(Protocol):
    """The leases of one place. Safe to share between threads.

    What every call can raise: `InvalidArgument` for a key, a holder or a time that can't be meant; `LockTimeout` when
    somebody else was changing the same lease all the time; `CorruptRegistry` when what is kept of one is damaged; and
    `StoreError` when the place fails: after that the outcome is unknown, and a lease that was made ends by its time.
    """

    def acquire(self, key: str, *, holder: str, ttl_s: float, above: int = 0) -> Lease:
        """Get the lease on a key, for `ttl_s` seconds.

        above: a number that was seen elsewhere, as in a log that writes under this lease; the new one is greater, also
        where whatever is kept here was lost, or put back from a backup.

        When it returns, its number is never given out again on that key, whatever crashes.

        Raises:
            LeaseHeld: when somebody holds it, also where that is the same holder: another program of theirs may be at work.
        """

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """The same lease, until `ttl_s` seconds from now. One that has ended, and that nobody took since, is renewed as well.

        Raises:
            LeaseLost: when somebody else has taken it since, or it was released or broken.
        """

    def release(self, lease: Lease) -> bool:
        """End a lease. Whether that was so: False where it isn't the caller's any more, which is harmless.

        Where somebody else holds it by now, that is logged as a warning: the caller worked on without a lease.
        """

    def find(self, key: str) -> Lease | None:
        """The lease that holds on a key at this moment; None where nobody has it."""

    def list(self, area: str | None = None) -> Iterator[Lease]:
        """The leases that hold at this moment, sorted by key; area: only those on its keys.

        Raises (while iterating):
            CorruptRegistry: after all others were given, when what is kept of one is damaged.
        """

    def break_lease(self, key: str, *, by: str, reason: str, number: int | None = None) -> Lease:
        """Take a lease away from its holder, and give what it was. Its number is used up, and the next one as well.

        by: who does it; reason: why: both are kept in the key's history. number: only the lease of that number.

        Raises:
            NotFound: when nobody has it, or not under that number any more.
        """

    def history(self, key: str) -> tuple[EndedLease, ...]:
        """How the latest leases on a key ended, in order; see `registration.engine.leases.record.HISTORY_MAX`."""

    def close(self) -> None:
        """Let go of everything; leases stay. Closing twice is harmless."""


@contextmanager
def leased(keeper: LeaseKeeper, key: str, *, holder: str, ttl_s: float, above: int = 0) -> Iterator[Lease]:
    """Hold a lease for as long as the block lasts, and no longer than `ttl_s` seconds.

    Raises:
        LeaseHeld: as `LeaseKeeper.acquire`.
    """
    lease = keeper.acquire(key, holder=holder, ttl_s=ttl_s, above=above)
    try:
        yield lease
    finally:
        keeper.release(lease)
