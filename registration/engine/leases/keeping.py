"""What the keepers have in common: every call is one change, or one look, at the record of one key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from registration.engine.leases.record import LeaseRecord, broken, granted, released, renewed
from registration.errors import CorruptRegistry
from registration.storage import layout
from registration.values.times import Clock, rfc3339, system_clock

if TYPE_CHECKING:
    from registration.values.leases import EndedLease, Lease

Change = Callable[[LeaseRecord], LeaseRecord]
"""From what is kept of a key to what is to be kept. What it raises leaves all as it was."""


class Records(Protocol):
    """Where records are kept, one for each key. Safe to share between threads."""

    def change(self, key: str, change: Change, *, create: bool) -> tuple[LeaseRecord, LeaseRecord]:
        """Replace what is kept of a key, with nobody between the look and the change; gives it before and after.

        When it returns, the record survives whatever the place survives. create: make it where there is none.
        """

    def look(self, key: str) -> LeaseRecord:
        """What is kept of a key; an empty record where nothing is."""

    def keys(self, area: str | None) -> Iterator[str]:
        """The keys of which something is kept, sorted."""


class RecordLeases:
    """A `LeaseKeeper` over records.

    records: where they are. clock: the time that leases are measured by; processes that share leases share it. host: what
    this machine is called; the system's name for it as usual. randbytes: where tokens come from.
    """

    def __init__(
        self,
        records: Records,
        *,
        clock: Clock = system_clock,
        host: str | None = None,
        randbytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._records = records
        self._clock = clock
        self._host = host or os.uname().nodename or "an unnamed host"
        self._randbytes = randbytes

    def acquire(self, key: str, *, holder: str, ttl_s: float, above: int = 0) -> Lease:
        """See `LeaseKeeper.acquire`."""
        token = self._randbytes(16).hex()

        def grant(record: LeaseRecord) -> LeaseRecord:
            return granted(
                record, holder=holder, host=self._host, token=token, now_ns=self._clock(), ttl_s=ttl_s, above=above
            )  # fmt: skip

        _, after = self._records.change(key, grant, create=True)
        assert after.lease is not None
        return after.lease

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """See `LeaseKeeper.renew`."""
        _, after = self._records.change(
            lease.key, lambda record: renewed(record, lease, now_ns=self._clock(), ttl_s=ttl_s), create=False
        )
        assert after.lease is not None
        return after.lease

    def release(self, lease: Lease) -> bool:
        """See `LeaseKeeper.release`."""
        before, _ = self._records.change(
            lease.key, lambda record: released(record, lease, now_ns=self._clock()), create=False
        )
        return before.owns(lease)

    def find(self, key: str) -> Lease | None:
        """See `LeaseKeeper.find`."""
        record = self._records.look(key)
        return None if record.lease is None else record.held(rfc3339(self._clock()))

    def keys(self) -> Iterator[str]:
        """The keys of which something is kept, whether they are held or not, sorted."""
        return self._records.keys(None)

    def list(self, area: str | None = None) -> Iterator[Lease]:
        """See `LeaseKeeper.list`."""
        damage: CorruptRegistry | None = None
        for key in self._records.keys(area):
            try:
                found = self.find(key)
            except CorruptRegistry as error:  # the others are given first
                damage = damage or error
                continue
            if found is not None:
                yield found
        if damage is not None:
            raise damage

    def break_lease(self, key: str, *, by: str, reason: str, number: int | None = None) -> Lease:
        """See `LeaseKeeper.break_lease`."""
        before, _ = self._records.change(
            key,
            lambda record: broken(record, by=by, reason=reason, number=number, now_ns=self._clock()),
            create=False,
        )
        assert before.lease is not None
        return before.lease

    def history(self, key: str) -> tuple[EndedLease, ...]:
        """See `LeaseKeeper.history`."""
        return self._records.look(key).history

    def close(self) -> None:
        """See `LeaseKeeper.close`: nothing is held open between calls."""


def check_key(key: str) -> str:
    """The key, where it is one; raises InvalidArgument where it isn't."""
    layout.lease_place(key)
    return key
