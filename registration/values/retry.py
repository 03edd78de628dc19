"""Retry: how long to wait before deciding again after a version conflict.

Full jitter: each wait is drawn evenly between nothing and a ceiling that doubles (Marc Brooker, "Exponential
Backoff And Jitter", AWS Architecture Blog, 2015). Writers that collided once are unlikely to collide again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_TIMEOUT_S_MAX = 86_400
"""The longest lock timeout that is accepted: a day."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A bounded schedule of waits.

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
