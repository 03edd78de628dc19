"""Times: RFC 3339 text in UTC with microseconds, the only form that is stored and compared; and the waits between retries.

The text sorts chronologically, needs no parsing, and is independent of the reader's time zone.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

Clock = Callable[[], int]
"""Nanoseconds since 1970-01-01T00:00:00Z."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def system_clock() -> int:
    """The machine's clock. It may jump; the engine ensures that the times of events never go back."""
    return time.time_ns()


def rfc3339(unix_ns: int) -> str:
    """`unix_ns` as ``2026-01-31T09:30:00.000000Z``, truncated to the microsecond.

    Raises:
        OverflowError: when the year is not between 1 and 9999.
    """
    unix_s, ns = divmod(unix_ns, 1_000_000_000)
    return f"{_to_the_second(unix_s)}.{ns // 1000:06d}Z"


@lru_cache(maxsize=16)  # a busy process asks for the same second again and again
def _to_the_second(unix_s: int) -> str:
    return (_EPOCH + timedelta(seconds=unix_s)).isoformat()[: -len("+00:00")]


_DURATION = re.compile(r"([1-9][0-9]{0,6})(s|m|h|d|w)")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION_S_MAX = 100 * 366 * 86_400

DURATION_FORM = "expected 30s, 45m, 36h, 14d or 2w, up to a hundred years"


def duration_s(text: str) -> int | None:
    """The seconds of a duration such as ``14d``; None if it is invalid. A day has 24 hours, a week 7 days."""
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    return seconds if 0 < seconds <= _DURATION_S_MAX else None


def later(time: str, seconds: int) -> str:
    """The time `seconds` after another, both as text; capped at the last representable time."""
    try:
        moment = datetime.fromisoformat(time) + timedelta(seconds=seconds)
    except OverflowError:
        return "9999-12-31T23:59:59.999999Z"
    return moment.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def seconds_between(earlier: str, later: str) -> float:
    """The seconds between two times, both as text; negative if the first is the later one."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


LOCK_TIMEOUT_S_MAX = 86_400
"""The longest lock timeout that is accepted: a day."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A bounded schedule of waits before retrying after a version conflict.

    Full jitter: each wait is drawn uniformly between 0 and a ceiling that doubles (Marc Brooker, "Exponential Backoff And Jitter",
    AWS Architecture Blog, 2015), so writers that collided once are unlikely to collide again.

    attempts_max: total number of attempts, ≥ 1. base_s: ceiling of the first wait. cap_s: ceiling of every wait.
    """

    attempts_max: int = 20
    base_s: float = 0.001
    cap_s: float = 0.100

    def __post_init__(self) -> None:
        if not (self.attempts_max >= 1 and self.base_s >= 0 and self.cap_s >= 0):  # so that NaN is rejected
            raise ValueError(f"a retry policy needs attempts_max ≥ 1 and waits ≥ 0, not {self}")

    def waits_s(self, random: Callable[[], float]) -> Iterator[float]:
        """The waits between the attempts, in seconds: one fewer than there are attempts.

        random: evenly distributed in [0, 1). The same draws give the same waits.
        """
        ceiling = self.base_s
        for _ in range(self.attempts_max - 1):
            yield random() * min(ceiling, self.cap_s)
            ceiling *= 2
