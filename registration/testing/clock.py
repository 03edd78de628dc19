"""A fake clock."""

from __future__ import annotations

import threading


class FakeClock:
    """Nanoseconds since 1970, advancing one tick at each reading. Safe to share between threads.

    now_ns: the first reading. tick_ns: the advance of each reading; may be 0 or negative.
    """

    def __init__(self, now_ns: int = 1_767_225_600_000_000_000, tick_ns: int = 1_000_000_000) -> None:
        self.now_ns = now_ns
        self.tick_ns = tick_ns
        self._mutex = threading.Lock()

    def __call__(self) -> int:
        with self._mutex:
            now_ns = self.now_ns
            self.now_ns += self.tick_ns
        return now_ns

    def advance(self, seconds: float) -> None:
        """Jump, backwards if `seconds` is negative."""
        with self._mutex:
            self.now_ns += int(seconds * 1e9)
