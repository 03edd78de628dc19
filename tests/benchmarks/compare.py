"""This registry against SQLite by hand, `eventsourcing` and bare files: equally durable, paired in one run.

    pip install -e '.[bench]'
    python tests/benchmarks/compare.py [--quick] [--json] [DIR]

Why a script, and not pytest-benchmark: what is compared must be measured in turn, A B A B, since a disk is at times twice as
slow as a second before; pytest-benchmark measures all of A, then all of B (`bench_operations.py` does, for a look at one).

Four groups: one thread; eight threads with a manifest each; and both again in a process whose every sync takes 2 ms more
(`slow_disk.py`; left out where there is no compiler). Each row says how it compares: the ratio of the medians, and the median of
the ratios, round by round. Of times smaller is better, of rates larger.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from contenders import BY_HAND, LOG_ONLY, TWO_FILES, contenders, registration
from measuring import Row, at_once, in_turn, rate_rows, timed_rows
from slow_disk import slow_environment
from subject import modes

SLOWER_US = 2_000


def one_thread(folder: str, group: str, *, rounds: int, floors: dict[str, str]) -> list[Row]:
    """One transition of each contender in each round."""
    with contenders(folder, writers=1) as works:
        taken = in_turn({name: work for name, (work,) in works.items()}, rounds=rounds)
    return timed_rows(group, taken, {name: floor for name, floor in floors.items() if name in taken})


def many_threads(folder: str, group: str, *, rounds: int, times: int, floors: dict[str, str]) -> list[Row]:
    """Transitions a second of eight threads, each with a manifest of its own."""
    with contenders(folder, writers=8) as works:
        rates: dict[str, list[float]] = {name: [] for name in works}
        for number in range(rounds + 1):
            for name, at_work in list(works.items())[:: 1 if number % 2 else -1]:
                rate = at_once(at_work, times=times)
                if number:  # the first round only warms up
                    rates[name].append(rate)
    return rate_rows(group, rates, {name: floor for name, floor in floors.items() if name in rates})


def measure(folder: str, *, slow: bool, quick: bool) -> list[Row]:
    """Both groups of one disk. What each is compared with is what the rows of the README say."""
    disk = "every sync 2 ms slower" if slow else "this disk"
    each, idle = registration("each"), registration("idle")
    latency = (
        {each: LOG_ONLY, idle: LOG_ONLY, BY_HAND: LOG_ONLY} if slow else {each: TWO_FILES, idle: BY_HAND}
    )
    rounds = (60 if quick else 400) if slow else (200 if quick else 3_000)
    rates = 3 if quick else 9
    return [
        *one_thread(f"{folder}/one", f"{disk}, one thread", rounds=rounds, floors=latency),
        *many_threads(
            f"{folder}/many", f"{disk}, 8 threads", rounds=rates, times=10 if slow or quick else 100,
            floors={registration(mode): BY_HAND for mode in modes()},
        ),
    ]  # fmt: skip


def measure_slowly(folder: str, *, quick: bool) -> list[Row]:
    """The same in a process whose syncs are slower."""
    environment = slow_environment(folder, SLOWER_US)
    if environment is None:
        print("There is no C compiler (cc): the slower disk is left out.", file=sys.stderr)
        return []
    command = [sys.executable, __file__, "--slow", "--json", *(["--quick"] if quick else []), folder]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [Row(**row) for row in json.loads(run.stdout)]


def check_slow(folder: str) -> None:
    """Fail unless a sync takes as long here as it is meant to."""
    with open(f"{folder}/probe", "wb") as probe:
        began = time.perf_counter()
        os.fdatasync(probe.fileno())
    assert time.perf_counter() - began >= SLOWER_US / 1e6, "the syncs are not slower: was LD_PRELOAD ignored?"


def show(rows: list[Row]) -> None:
    """A table for each group."""
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            print(f"\n{group:<42}{'median':>12}{'p95':>10}{'ratio':>8}{'paired':>8}  to")
        unit = " " + row.unit if row.unit != "/s" else row.unit
        p95 = f"{row.p95:,.0f}" if row.p95 is not None else ""
        beside = f"{row.ratio:>8.2f}{row.paired_ratio:>8.2f}  {row.floor}" if row.floor else ""
        print(f"  {row.measure:<40}{row.median:>9,.0f}{unit:<3}{p95:>10}{beside}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", help="where to measure; a temporary directory, as usual")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="one JSON array")
    parser.add_argument("--slow", action="store_true", help=argparse.SUPPRESS)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=said.directory) as folder:
        if said.slow:
            check_slow(folder)
            rows = measure(folder, slow=True, quick=said.quick)
        else:
            rows = [*measure(folder, slow=False, quick=said.quick), *measure_slowly(folder, quick=said.quick)]
    if said.json:
        print(json.dumps([row.as_json() for row in rows]))
    else:
        show(rows)


if __name__ == "__main__":
    main()
