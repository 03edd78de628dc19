"""Measuring: contenders in turn, samples, and how they compare. No file and no registry here."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Work = Callable[[], object]
"""One operation."""


@dataclass(frozen=True, slots=True)
class Samples:
    """How long an operation took each time, in seconds, in the order of the rounds."""

    seconds: tuple[float, ...]

    def percentile(self, percent: float) -> float:
        """The time that so many percent of the operations did not exceed, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    @property
    def median(self) -> float:
        """In seconds."""
        return statistics.median(self.seconds)

    def ratio_to(self, floor: Samples) -> float:
        """The median as a multiple of the floor's."""
        return self.median / floor.median

    def paired_ratio_to(self, floor: Samples) -> float:
        """The median of the ratios, round by round: what disturbed both of a round cancels out."""
        return statistics.median(a / b for a, b in zip(self.seconds, floor.seconds, strict=True))


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, and the floor that it was measured beside.

    median, p95, p99: in `unit`; a rate has a median alone, over the rounds. floor: the measure that it is compared with. ratio: of
    the medians; of times how many times as long, of rates how many times as many. paired_ratio: the median of the ratios,
    round by round.
    """

    group: str
    measure: str
    unit: str
    median: float
    p95: float | None = None
    p99: float | None = None
    floor: str | None = None
    ratio: float | None = None
    paired_ratio: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The figure as one JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


def in_turn(
    contenders: Mapping[str, Work], *, rounds: int, warm_up: int = 5, step: Work | None = None
) -> dict[str, Samples]:
    """Time one operation of each contender in each round.

    The order is turned round every time, so that none always follows on the same one. step: called after each operation, and
    not timed. The first `warm_up` rounds are dropped.
    """
    took: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders.items())
    for number in range(warm_up + rounds):
        for name, work in order if number % 2 else reversed(order):
            began = time.perf_counter()
            work()
            ended = time.perf_counter()
            if number >= warm_up:
                took[name].append(ended - began)
            if step is not None:
                step()
    return {name: Samples(tuple(times)) for name, times in took.items()}


def at_once(works: Sequence[Work], *, times: int) -> float:
    """Do each work so many times, each in a thread of its own; how many were done a second, all together.

    Raises whatever one of them raised.
    """
    ready = threading.Barrier(len(works) + 1)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def run(work: Work) -> None:
        ready.wait()
        try:
            for _ in range(times):
                if stopped.is_set():
                    return
                work()
        except BaseException as failure:  # raised below, in the thread of whoever measures
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        ended = time.perf_counter()
    finally:
        stopped.set()  # an interrupt: what they write to is about to be removed
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return len(works) * times / (ended - began)


def timed_rows(
    group: str, samples: Mapping[str, Samples], floors: Mapping[str, str], *, unit: str = "µs"
) -> list[Row]:
    """A row for each of the samples. floors: by measure, the name of its floor, which is one of the samples."""
    scale = {"µs": 1e6, "ms": 1e3}[unit]
    rows = []
    for name, taken in samples.items():
        floor = floors.get(name)
        rows.append(
            Row(
                group, name, unit, taken.median * scale, taken.percentile(95) * scale, taken.percentile(99) * scale,
                floor,
                taken.ratio_to(samples[floor]) if floor else None,
                taken.paired_ratio_to(samples[floor]) if floor else None,
            )
        )  # fmt: skip
    return rows


def rate_rows(
    group: str, rates: Mapping[str, Sequence[float]], floors: Mapping[str, str], *, unit: str = "/s"
) -> list[Row]:
    """A row for each series of rates, one a round."""
    rows = []
    for name, found in rates.items():
        floor, median = floors.get(name), statistics.median(found)
        beside = rates[floor] if floor else None
        rows.append(
            Row(
                group, name, unit, median,
                floor=floor,
                ratio=median / statistics.median(beside) if beside else None,
                paired_ratio=statistics.median(a / b for a, b in zip(found, beside, strict=True)) if beside else None,
            )
        )  # fmt: skip
    return rows
