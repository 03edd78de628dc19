"""The record of one key: the last number, the lease, and the ends of earlier ones. Pure, and the same for every keeper.

The number in a record only ever grows. The expiry of a lease is not recorded when it happens, since no process may
be running: the next call detects it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from registration.engine.leases.keeper import TTL_S_MAX
from registration.errors import InvalidArgument, LeaseLost, Next, NotFound
from registration.values.commands import check_actor
from registration.values.leases import EndedLease, Lease
from registration.values.times import rfc3339

if TYPE_CHECKING:
    from registration.errors import RegistrationError

_log = logging.getLogger("registration")

HISTORY_MAX = 16
"""The number of ended leases of one key that are kept: the latest ones."""

REASON_CHARACTERS_MAX = 10_000
NUMBER_MAX = 2**53 - 1


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """One key. number: the last one that was issued or used up; 0: none. lease: the last one, until it is ended.

    history: the ends of the latest ones, in order.
    """

    key: str
    number: int = 0
    lease: Lease | None = None
    history: tuple[EndedLease, ...] = ()

    def held(self, now: str) -> Lease | None:
        """The lease, if it is held at that time."""
        return self.lease if self.lease is not None and self.lease.holds(now) else None

    def owns(self, lease: Lease) -> bool:
        """Whether the last lease is this one."""
        return self.lease is not None and (self.lease.token, self.lease.number) == (lease.token, lease.number)


def granted(
    record: LeaseRecord, *, holder: str, host: str, token: str, now_ns: int, ttl_s: float, above: int
) -> LeaseRecord:
    """The record with a new lease.

    Raises:
        LeaseHeld: when it is held.
        InvalidArgument: when the holder, the time or the number is invalid.
    """
    check_actor(holder, "holder")
    if type(above) is not int or not 0 <= above < NUMBER_MAX:
        raise InvalidArgument(f"Invalid `above` {above!r}: expected 0 or more.", "Omit it.")
    now, until = rfc3339(now_ns), _until(now_ns, ttl_s)
    if (other := record.held(now)) is not None:
        raise other.refusal()
    ended = record if record.lease is None else _ended(record, "expired", now)
    number = max(record.number, above) + 1
    lease = Lease(
        key=record.key, holder=holder, host=host, number=number, since=now, until=until, token=token
    )
    return replace(ended, number=number, lease=lease)


def renewed(record: LeaseRecord, lease: Lease, *, now_ns: int, ttl_s: float) -> LeaseRecord:
    """The record with the lease extended.

    Raises:
        LeaseLost: when the lease is not the last one, or was ended.
    """
    until = _until(now_ns, ttl_s)
    if not record.owns(lease):
        raise _lost(record, lease, rfc3339(now_ns))
    assert record.lease is not None
    return replace(record, lease=replace(record.lease, until=until))


def released(record: LeaseRecord, lease: Lease, *, now_ns: int) -> LeaseRecord:
    """The record without the lease; unchanged if the lease is not the last one, or was ended."""
    now = rfc3339(now_ns)
    if record.owns(lease):
        return _ended(record, "released", now)
    if (other := record.held(now)) is not None:
        _log.warning(
            "%s: the lease number %d of %r had expired before it was released; %r on %s holds number %d since %s",
            lease.key, lease.number, lease.holder, other.holder, other.host, other.number, other.since,
        )  # fmt: skip
    return record


def broken(record: LeaseRecord, *, by: str, reason: str, number: int | None, now_ns: int) -> LeaseRecord:
    """The record without its lease, and with one more number used up: the breaker's.

    Raises:
        NotFound: when it is free, or no longer has that number.
    """
    check_actor(by, "by")
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= REASON_CHARACTERS_MAX:
        raise InvalidArgument(
            f"Breaking the lock on {record.key!r} requires a reason of 1 to {REASON_CHARACTERS_MAX:,} characters.",
            "Give one: its holder will want to know.",
        )
    now = rfc3339(now_ns)
    held = record.held(now)
    if held is None or number not in (None, held.number):
        raise not_held(record.key)
    ended = _ended(record, "broken", now, by=by, reason=reason.strip())
    return replace(ended, number=record.number + 1)


def not_held(key: str) -> NotFound:
    """The error that there is no lease."""
    return NotFound(
        f"There is no lock on {key!r}.",
        "See the list of existing ones.",
        Next(operation="locks.list"),
        key=key,
    )


def _ended(
    record: LeaseRecord, how: str, now: str, *, by: str | None = None, reason: str | None = None
) -> LeaseRecord:
    lease = record.lease
    assert lease is not None
    ended = EndedLease(
        number=lease.number, holder=lease.holder, host=lease.host, since=lease.since, until=lease.until,
        how=how, time=now, by=by, reason=reason,
    )  # fmt: skip
    return replace(record, lease=None, history=(*record.history, ended)[-HISTORY_MAX:])


def _lost(record: LeaseRecord, lease: Lease, now: str) -> RegistrationError:
    other = record.held(now)
    end = next((one for one in reversed(record.history) if one.number == lease.number), None)
    if other is not None:
        why = f"{other.holder!r} on {other.host} holds it since {other.since}, until {other.until}"
    elif end is not None and end.how == "broken":
        why = f"{end.by!r} broke it at {end.time}: {end.reason}"
    else:
        why = "it was released, or has had another holder since"
    facts = {} if other is None else {**other.as_json(), "held_number": other.number}
    return LeaseLost(
        f"The lease number {lease.number} on {lease.key!r} is no longer yours: {why}.",
        "Check what changed, then acquire a new lease.",
        **{**facts, "key": lease.key, "number": lease.number},
    )


def _until(now_ns: int, ttl_s: float) -> str:
    if type(ttl_s) not in (int, float) or not 0 < ttl_s <= TTL_S_MAX:
        raise InvalidArgument(
            f"Invalid lease time {ttl_s!r}: expected seconds, more than 0 and at most {TTL_S_MAX:,}.",
            "Pass a time in that range.",
        )
    return rfc3339(now_ns + max(1_000, int(ttl_s * 1_000_000_000)))
