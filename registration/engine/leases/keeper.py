"""`LeaseKeeper`: exclusive locks that expire.

A lease expires, so a dead process blocks others only until then. The downside: a holder
may be paused, or asleep, and continue after its lease has expired and another holder has acquired it. Two safeguards:

- the *token*: only with it a lease is renewed and released, so a late holder takes nothing away from others;
- the *number*: it grows with each lease on a key, forever. A write that carries it is refused once a write under a later
  one was seen (`fence=` of the pipeline's commands; Martin Kleppmann, "How to do distributed locking", 2016).

`registration.engine.leases.leases` stores them in records, of a registry or in memory. `registration.testing.LeaseContract` tests
the guarantees.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.values.leases import EndedLease, Lease

TTL_S_MAX = 366 * 86_400
"""The longest lease time that is accepted: a year."""


class LeaseKeeper(Protocol):
    """The leases of one store. Safe to share between threads.

    Every call can raise: `InvalidArgument` for an invalid key, holder or time; `LockTimeout` when waiting for another
    change of the same lease timed out; `CorruptRegistry` when its record is damaged; and
    `StoreError` when the store fails: then the outcome is unknown, and a lease that was acquired expires by itself.
    """

    def acquire(self, key: str, *, holder: str, ttl_s: float, above: int = 0) -> Lease:
        """Acquire the lease on a key, for `ttl_s` seconds.

        above: a number that was seen elsewhere, such as in a log that is written under this lease; the new one is greater, even
        if the record here was lost, or restored from a backup.

        When it returns, its number is never issued again on that key, despite any crash.

        Raises:
            LeaseHeld: when it is held, even by the same holder, who may be running another program.
        """

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend the lease until `ttl_s` seconds from now. An expired one is renewed as well, if it was not acquired since.

        Raises:
            LeaseLost: when it was acquired by another holder, released or broken.
        """

    def release(self, lease: Lease) -> bool:
        """Release a lease. Returns False if it is no longer the caller's, which is harmless.

        If another holder has it now, that is logged as a warning: the caller worked without a lease.
        """

    def find(self, key: str) -> Lease | None:
        """The lease that holds on a key at this moment; None if it is free."""

    def list(self, area: str | None = None) -> Iterator[Lease]:
        """The current leases, sorted by key; area: only those on its keys.

        Raises (while iterating):
            CorruptRegistry: after all others, when the record of one is damaged.
        """

    def break_lease(self, key: str, *, by: str, reason: str, number: int | None = None) -> Lease:
        """Break a lease, and return it. Its number is used up, and the next one as well.

        by, reason: stored in the key's history. number: only break the lease of that number.

        Raises:
            NotFound: when it is free, or no longer has that number.
        """

    def history(self, key: str) -> tuple[EndedLease, ...]:
        """How the latest leases on a key ended, in order; see `registration.engine.leases.record.HISTORY_MAX`."""

    def close(self) -> None:
        """Release resources; leases stay. Closing twice is harmless."""


@contextmanager
def leased(keeper: LeaseKeeper, key: str, *, holder: str, ttl_s: float, above: int = 0) -> Iterator[Lease]:
    """Hold a lease during the block, but no longer than `ttl_s` seconds.

    Raises:
        LeaseHeld: as `LeaseKeeper.acquire`.
    """
    lease = keeper.acquire(key, holder=holder, ttl_s=ttl_s, above=above)
    try:
        yield lease
    finally:
        keeper.release(lease)
