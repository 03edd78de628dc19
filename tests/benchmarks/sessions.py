"""What sessions cost where there are many: one interaction, `get_active`, `stats`, `cleanup_expired`.

Run it by hand: `python tests/benchmarks/sessions.py [NUMBER] [DIRECTORY]`. The cost of one interaction is measured among ten
sessions and among NUMBER of them (10,000 where nothing else is said); it is to be the same.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from registration import RegistrationPipeline
from registration.onboarding.sessions.session import Caller
from registration.onboarding.sessions.sessions import Sessions
from tests.kit.wizards import ANSWERS, party

FEW = 10
TIMES = 200
MINUTE_NS = 60_000_000_000


class Clock:
    """A clock that is `ahead_ns` ahead of the real one."""

    ahead_ns = 0

    def __call__(self) -> int:
        """The time, in nanoseconds since 1970."""
        return time.time_ns() + self.ahead_ns


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call took, in seconds, and what it gave."""
    begun = time.perf_counter()
    found = call()
    return time.perf_counter() - begun, found


def fill(sessions: Sessions, first: int, last: int) -> float:
    """Begin sessions of as many users; how long that took, in seconds."""
    return timed(
        lambda: [sessions.start("party", Caller(f"user-{one}", "guild")) for one in range(first, last)]
    )[0]


def measure(sessions: Sessions, count: int) -> None:
    """Print what interactions cost among so many sessions: medians, in milliseconds."""
    looks, answers = [], []
    for turn in range(TIMES):
        user = f"user-{turn * 7919 % count}"
        took, active = timed(lambda user=user: sessions.get_active("guild", user))
        looks.append(took)
        by = Caller(user, "guild")
        took, _ = timed(lambda by=by, of=active.id: sessions.update(of, "START", ANSWERS["START"], by))
        answers.append(took)
    look, answer = (statistics.median(found) * 1000 for found in (looks, answers))
    print(f"among {count:>6}: get_active {look:7.3f} ms, one answer {answer:7.3f} ms (medians of {TIMES})")


def main(number: int, directory: str) -> None:
    """Measure among few, then among many, then the upkeep of all."""
    RegistrationPipeline(directory).close()
    clock = Clock()
    with Sessions(directory, wizards=(party(),), clock=clock) as sessions:
        fill(sessions, 0, FEW)
        measure(sessions, FEW)
        took = fill(sessions, FEW, number)
        print(f"beginning {number - FEW}: {took:.1f} s, {took / (number - FEW) * 1000:.3f} ms each")
        measure(sessions, number)
        took, stats = timed(sessions.stats)
        print(f"stats of {stats.total}: {took:.2f} s, {stats.active} active")
        clock.ahead_ns = 60 * MINUTE_NS
        took, found = timed(sessions.cleanup_expired)
        print(f"cleanup_expired, all expired: {took:.2f} s, {len(found.expired)} recorded")
        took, found = timed(sessions.cleanup_expired)
        print(f"cleanup_expired, none left:   {took:.2f} s, {len(found.expired)} recorded")


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    if len(sys.argv) > 2:
        main(wanted, sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as made:
            main(wanted, made)
