"""What is kept of one key: the last number, the lease, how earlier ones ended. Pure, and the same for every keeper.

A record only ever grows in its number. That a lease has ended by its time is not recorded when it happens, since nobody may
be there: it is seen by whoever looks next.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from registration.engine.leases.keeper import TTL_S_MAX
from registration.errors import InvalidArgument, LeaseLost, Next, NotFound
from registration.values.leases import EndedLease, Lease
from registration.values.times import rfc3339

if TYPE_CHECKING:
    from registration.errors import RegistrationError

_log = logging.getLogger("registration")

HISTORY_MAX = 16
"""How many ended leases of one key are remembered: the latest."""

HOLDER_CHARACTERS_MAX = 200
REASON_CHARACTERS_MAX = 10_000
NUMBER_MAX = 2**53 - 1


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """One key. number: the last one that was given out or used up; 0: none. lease: the last one, until it is ended.

    history: how the latest ones ended, in order.
    """

    key: str
    number: int = 0
    lease: Lease | None = None
    history: tuple[EndedLease, ...] = ()

    def held(self, now: str) -> Lease | None:
        """The lease, where it holds at that time."""
        return self.lease if self.lease is not None and self.lease.holds(now) else None

    def owns(self, lease: Lease) -> bool:
        """Whether the last lease is that very one."""
        return self.lease is not None and (self.lease.token, self.lease.number) == (lease.token, lease.number)


def granted(
    record: LeaseRecord, *, holder: str, host: str, token: str, now_ns: int, ttl_s: float, above: int
) -> LeaseRecord:
    """The record with a new lease.

    Raises:
        LeaseHeld: when somebody holds it.
        InvalidArgument: when the holder, the time or the number can't be meant.
    """
    _check_name("holder", holder)
    if type(above) is not int or not 0 <= above < NUMBER_MAX:
        raise InvalidArgument(f"`above` is {above!r}; a number from 0 is expected.", "Leave it out.")
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
    """The record with the lease's time beginning anew.

    Raises:
        LeaseLost: when the lease is not the last one, or was ended.
    """
    until = _until(now_ns, ttl_s)
    if not record.owns(lease):
        raise _lost(record, lease, rfc3339(now_ns))
    assert record.lease is not None
    return replace(record, lease=replace(record.lease, until=until))


def released(record: LeaseRecord, lease: Lease, *, now_ns: int) -> LeaseRecord:
    """The record without the lease; as it is where the lease is not the last one, or was ended."""
    now = rfc3339(now_ns)
    if record.owns(lease):
        return _ended(record, "released", now)
    if (other := record.held(now)) is not None:
        _log.warning(
            "%s: the lease number %d of %r had ended before it was released, and %r on %s holds number %d since %s",
            lease.key, lease.number, lease.holder, other.holder, other.host, other.number, other.since,
        )  # fmt: skip
    return record


def broken(record: LeaseRecord, *, by: str, reason: str, number: int | None, now_ns: int) -> LeaseRecord:
    """The record without its lease, and with one more number used up: the breaker's.

    Raises:
        NotFound: when nobody has it, or not under that number any more.
    """
    _check_name("by", by)
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= REASON_CHARACTERS_MAX:
        raise InvalidArgument(
            f"Breaking the lease on {record.key!r} needs a reason of 1 to {REASON_CHARACTERS_MAX:,} characters.",
            "Say why: its holder will want to know.",
        )
    now = rfc3339(now_ns)
    held = record.held(now)
    if held is None or number not in (None, held.number):
        raise not_held(record.key)
    ended = _ended(record, "broken", now, by=by, reason=reason.strip())
    return replace(ended, number=record.number + 1)


def not_held(key: str) -> NotFound:
    """Nobody has the lease."""
    return NotFound(
        f"Nobody has a lease on {key!r}.", "List those that there are.", Next(operation="locks.list"), key=key
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
        why = f"{other.holder!r} on {other.host} has it since {other.since}, until {other.until}"
    elif end is not None and end.how == "broken":
        why = f"{end.by!r} broke it at {end.time}: {end.reason}"
    else:
        why = "it was released, or somebody else had it since"
    facts = {} if other is None else {**other.as_json(), "held_number": other.number}
    return LeaseLost(
        f"The lease number {lease.number} on {lease.key!r} is not yours any more: {why}.",
        "Look at what changed, then get a new lease.",
        **{**facts, "key": lease.key, "number": lease.number},
    )


def _until(now_ns: int, ttl_s: float) -> str:
    if type(ttl_s) not in (int, float) or not 0 < ttl_s <= TTL_S_MAX:
        raise InvalidArgument(
            f"A lease for {ttl_s!r} seconds can't be meant; more than 0, and at most {TTL_S_MAX:,} are taken.",
            "Say for how long it is.",
        )
    return rfc3339(now_ns + max(1_000, int(ttl_s * 1_000_000_000)))


def _check_name(what: str, name: object) -> None:
    good = (
        isinstance(name, str)
        and 0 < len(name) <= HOLDER_CHARACTERS_MAX
        and name.isprintable()
        and name == name.strip()
    )
    if not good:
        raise InvalidArgument(
            f"`{what}` is {name!r}; 1 to {HOLDER_CHARACTERS_MAX} printable characters are expected.",
            "Say who it is.",
        )
