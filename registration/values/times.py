"""Times: RFC 3339 text in UTC with microseconds, the one form that is written and compared.

Text sorts as the times do, costs nothing to read back, and means the same in every time zone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], int]
"""Nanoseconds since 1970-01-01T00:00:00Z."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def system_clock() -> int:
    """The machine's clock. It may jump; whoever writes events sees to it that they never go back."""
    return time.time_ns()


def rfc3339(unix_ns: int) -> str:
    """`unix_ns` as ``2026-01-31T09:30:00.000000Z``, cut to the microsecond.

    Raises:
        OverflowError: when the year isn't between 1 and 9999.
    """
    moment = _EPOCH + timedelta(microseconds=unix_ns // 1000)
    return moment.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"
