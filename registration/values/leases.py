"""Leases: exclusive locks that expire. Values only; `registration.engine.leases` stores them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from registration.errors import LeaseHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An exclusive lock on one key, held until it expires or is released.

    key: an area, a slash and an id, such as ``manifests/acme/weather@1.0`` (see `registration.storage.layout.lease_key`).
    holder: the actor; host: the machine. number: the fencing number, from 1, strictly increasing for each key, forever.
    since, until: RFC 3339; at `until` the lease has expired. token: identifies this lease; needed to renew or release it.
    """

    key: str
    holder: str
    host: str
    number: int
    since: str
    until: str
    token: str = field(repr=False)

    def holds(self, time: str) -> bool:
        """Whether it is still held at that time."""
        return time < self.until

    def as_json(self) -> dict[str, Any]:
        """The lease as one JSON object, without its token; the names are stable."""
        return {
            "key": self.key,
            "holder": self.holder,
            "host": self.host,
            "number": self.number,
            "since": self.since,
            "until": self.until,
        }

    def refusal(self) -> LeaseHeld:
        """The error that other actors get while it is held."""
        return LeaseHeld(**self.as_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedLease:
    """How a lease ended.

    how: ``released``, ``expired`` (detected when the next lease was acquired) or ``broken``. time: when that was recorded,
    RFC 3339. by, reason: the actor who broke it, and the reason given.
    """

    number: int
    holder: str
    host: str
    since: str
    until: str
    how: str
    time: str
    by: str | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The same as one JSON object; the names are stable."""
        return {
            "number": self.number,
            "holder": self.holder,
            "host": self.host,
            "since": self.since,
            "until": self.until,
            "how": self.how,
            "time": self.time,
            "by": self.by,
            "reason": self.reason,
        }
