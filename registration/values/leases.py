"""Leases: the right to work on something alone for a time. Values; `registration.engine.leases` keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from registration.errors import LeaseHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Somebody's exclusive work on one key, for a time.

    key: an area, a slash and an id, such as ``manifests/acme/weather@1.0`` (see `registration.storage.layout.lease_key`).
    holder: who; host: on which machine. number: the fencing number, from 1: each lease on a key has a greater one than all
    before it, for ever. since, until: RFC 3339; at `until` it has ended. token: tells this very lease from any other;
    whoever has it may renew and release it.
    """

    key: str
    holder: str
    host: str
    number: int
    since: str
    until: str
    token: str = field(repr=False)

    def holds(self, time: str) -> bool:
        """Whether it has not ended by then."""
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
        """What somebody else is told who wants the same."""
        return LeaseHeld(**self.as_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedLease:
    """How a lease ended.

    how: ``released``, ``expired`` (found by whoever took it next) or ``broken``. time: when that was recorded, RFC 3339.
    by, reason: who broke it, and why.
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
