"""What this disk and this registry do, measured side by side: one transition, threads, processes, contention, replay, listing.

    python tests/benchmarks/suite.py [--quick] [--json] [DIR]

What is measured on a machine means little by itself, so beside each figure stands its floor, done with bare system calls on the
same bytes in the same loop, in turn with it: what else the machine does meets both. Everything happens in a temporary directory
in DIR, by default this one, which is removed again.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any

import orjson
from contention import Contention, contend_in_processes, contend_in_threads
from floors import APPEND, BARE_REPLAY, TWO_FILES, BareFiles, read_lines
from measuring import Row, Samples, at_once, in_turn, rate_rows, timed_rows
from processes import cpu_s, run_workers
from subject import DOCUMENT, Walker, modes, open_subject

from registration.pipeline.many import CreateItem
from registration.storage import layout


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured. Times: how many operations; rounds: how often a rate is taken."""

    rounds: int
    rate_rounds: int
    times: int
    writers_times: int
    events: int
    manifests: int
    processes_started: int


FULL = Effort(
    rounds=2_000,
    rate_rounds=7,
    times=150,
    writers_times=100,
    events=5_000,
    manifests=2_000,
    processes_started=7,
)
QUICK = Effort(
    rounds=200, rate_rounds=3, times=30, writers_times=20, events=500, manifests=200, processes_started=3
)

Measured = Row | Contention


@dataclass(frozen=True, slots=True)
class Group:
    """Some figures that belong together. measure: does it, below a directory that is there."""

    name: str
    measure: Callable[[str, Effort], Iterator[Measured]]


def _snapshots(mode: str) -> str:
    return f"transition, snapshots {mode}"


_FLOOR_OF = {"each": TWO_FILES, "idle": APPEND}


def _one_transition(root: str, effort: Effort) -> Iterator[Row]:
    """Latency of one durable transition, for each way of keeping snapshots, beside both floors."""
    with ExitStack() as stack:
        bare = stack.enter_context(BareFiles(f"{root}/bare"))
        walkers = {
            _snapshots(mode): Walker(stack.enter_context(open_subject(f"{root}/{mode}", mode)), "walked")
            for mode in modes()
        }
        first = walkers[_snapshots("each")]
        first.lend(bare)
        works: dict[str, Callable[[], object]] = {APPEND: bare.append, TWO_FILES: bare.write_both}
        works |= {name: walker.step for name, walker in walkers.items()}
        taken = in_turn(works, rounds=effort.rounds, step=lambda: first.lend(bare))
    floors = {_snapshots(mode): _FLOOR_OF[mode] for mode in modes()}
    yield from timed_rows("one transition", taken, floors)


def _threads(root: str, effort: Effort) -> Iterator[Row]:
    """Transitions a second by threads with a manifest each, beside as many threads that write bare files."""
    for threads in (1, 8):
        group = f"{threads} thread{'s' if threads > 1 else ''}, a manifest each"
        with ExitStack() as stack:
            bare = [
                stack.enter_context(BareFiles(f"{root}/{threads}-bare-{number}")) for number in range(threads)
            ]
            works: dict[str, list[Callable[[], object]]] = {
                APPEND: [one.append for one in bare],
                TWO_FILES: [one.write_both for one in bare],
            }
            for mode in modes():
                pipeline = stack.enter_context(open_subject(f"{root}/{threads}-{mode}", mode))
                walkers = [Walker(pipeline, f"m{number}") for number in range(threads)]
                for walker, one in zip(walkers, bare, strict=True):
                    walker.lend(one)
                works[_snapshots(mode)] = [walker.step for walker in walkers]
            rates: dict[str, list[float]] = {name: [] for name in works}
            for _ in range(effort.rate_rounds):
                for name, at_work in works.items():
                    rates[name].append(at_once(at_work, times=effort.times))
        yield from rate_rows(group, rates, {_snapshots(mode): _FLOOR_OF[mode] for mode in modes()})


def _processes(root: str, effort: Effort) -> Iterator[Row]:
    """The same with processes: one for each CPU, two at least."""
    workers = max(2, os.cpu_count() or 1)
    rates: dict[str, list[float]] = {name: [] for name in (TWO_FILES, *map(_snapshots, modes()))}
    named = count()
    for _ in range(effort.rate_rounds):
        for name, found in rates.items():
            mode = "each" if name == TWO_FILES else name.rpartition(" ")[2]
            task = "bare" if name == TWO_FILES else "own"
            told = run_workers(
                [(f"{root}/{mode}", mode, task, f"p{next(named)}", str(effort.times)) for _ in range(workers)]
            )
            took_s = max(one["ended_s"] for one in told) - min(one["began_s"] for one in told)
            found.append(workers * effort.times / took_s)
    floors = {_snapshots(mode): TWO_FILES for mode in modes()}
    yield from rate_rows(f"{workers} processes, a manifest each", rates, floors)


def _contended(root: str, effort: Effort) -> Iterator[Contention]:
    """Eight writers on one manifest."""
    for mode in modes():
        times = effort.writers_times
        yield contend_in_threads(f"{root}/threads-{mode}", mode, writers=8, times=times)
        yield contend_in_processes(f"{root}/processes-{mode}", mode, writers=8, times=times)


def _replay(root: str, effort: Effort) -> Iterator[Row]:
    """A whole log read, its chain checked and folded, beside parsing and hashing its lines."""
    with open_subject(f"{root}/each", "each") as pipeline:
        walker = Walker(pipeline, "long")
        for _ in range(effort.events - 2):
            walker.step()
        with open(f"{root}/each/{layout.log_path(walker.id)}", "rb") as opened:
            raw = opened.read()
        works: dict[str, Callable[[], object]] = {
            BARE_REPLAY: lambda: read_lines(raw),
            "replay": lambda: pipeline.upkeep.recover(walker.id, dry_run=True),
            "history": lambda: sum(1 for _ in pipeline.history(walker.id)),
        }
        taken = in_turn(works, rounds=effort.rate_rounds * 3, warm_up=1)
        rates = {
            name: [effort.events / seconds for seconds in samples.seconds] for name, samples in taken.items()
        }
        yield from rate_rows(
            "reading a log", rates, {"replay": BARE_REPLAY, "history": BARE_REPLAY}, unit="events/s"
        )

        short = Walker(pipeline, "short")
        for _ in range(98):
            short.step()
        recovered = in_turn(
            {"recover_from_events, 100 events": lambda: pipeline.recover_from_events(short.id)},
            rounds=50,
        )
        yield from timed_rows("reading a log", recovered, {}, unit="ms")


def _finding(root: str, effort: Effort) -> Iterator[Row]:
    """Making, listing and loading many manifests; and what a fresh process costs."""
    directory = f"{root}/each"
    with open_subject(directory, "each") as pipeline:
        items = [
            CreateItem(manifest_id=f"m{number}", document=DOCUMENT) for number in range(effort.manifests)
        ]
        began = time.perf_counter()
        for one in pipeline.create_many(items):
            one.value()
        rate = effort.manifests / (time.perf_counter() - began)
        yield Row("many manifests", "create_many, 8 workers", "/s", rate)
        for number in range(0, effort.manifests, 10):
            pipeline.submit_for_review(f"m{number}")
        group = f"among {effort.manifests:,} manifests"
        path = f"{directory}/{layout.snapshot_path('m1')}"
        works: dict[str, Callable[[], object]] = {
            "open, read, orjson": lambda: _read_json(path),
            "load one state": lambda: pipeline.load_state("m1"),
        }
        taken = in_turn(works, rounds=effort.rounds)
        yield from timed_rows(group, taken, {"load one state": "open, read, orjson"})
        pages: dict[str, Callable[[], object]] = {
            "list one state, first 20": lambda: list(pipeline.list("REVIEWED", limit=20)),
            "list one state, all": lambda: sum(1 for _ in pipeline.list("REVIEWED")),
        }
        yield from timed_rows(group, in_turn(pages, rounds=9, warm_up=1), {}, unit="ms")
    told: dict[str, list[float]] = {"`registration show ID`": [], "`registration submit ID`": []}
    for number in range(effort.processes_started):
        for name, found in told.items():
            id = "m1" if "show" in name else f"m{number * 10 + 5}"
            found.append(cpu_s("--registry", directory, name.split()[1], id))
    fresh = {name: Samples(tuple(found)) for name, found in told.items()}
    yield from timed_rows("CPU of a fresh process", fresh, {}, unit="ms")


def _cpu(root: str, effort: Effort) -> Iterator[Row]:
    """CPU time of this process, all its threads, for a thousand transitions."""
    for mode in modes():
        with open_subject(f"{root}/{mode}", mode) as pipeline:
            walker = Walker(pipeline, "walked")
            walker.step()
            began = time.process_time()
            for _ in range(effort.rounds):
                walker.step()
        spent_s = time.process_time() - began
        yield Row("CPU for 1,000 transitions", _snapshots(mode), "s", spent_s / effort.rounds * 1_000)


def _read_json(path: str) -> Any:
    with open(path, "rb") as opened:
        return orjson.loads(opened.read())


GROUPS = (
    Group("one transition", _one_transition),
    Group("threads", _threads),
    Group("processes", _processes),
    Group("contention", _contended),
    Group("CPU", _cpu),
    Group("replay", _replay),
    Group("listing and loading", _finding),
)


def measure(directory: str, effort: Effort) -> Iterator[tuple[str, Iterator[Measured]]]:
    """Each group's name, when it begins, with its figures, which are measured as they are asked for.

    directory: an empty one, that the caller removes.
    """
    for number, group in enumerate(GROUPS):
        root = f"{directory}/{number}"
        os.mkdir(root)
        yield group.name, group.measure(root, effort)


def show(figures: list[Measured]) -> None:
    """The figures of a group, each on a line of its own."""
    for one in figures:
        if isinstance(one, Contention):
            counts = ", ".join(f"{writes} in {count}" for count, writes in one.attempts.items())
            print(
                f"{one.writers}, snapshots {one.mode}: {one.writes} acknowledged, {one.lost} lost, attempts {counts}"
            )
            continue
        beside = f"  {one.ratio:.2f} (paired {one.paired_ratio:.2f}) x {one.floor}" if one.floor else ""
        print(f"{one.group}: {one.measure:40} {one.median:12,.2f} {one.unit}{beside}")


def main() -> None:
    """Measure, and print: a line for each figure, or one JSON object."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("directory", nargs="?", default=".", metavar="DIR")
    arguments.add_argument("--quick", action="store_true", help="Seconds instead of a minute or two.")
    arguments.add_argument("--json", action="store_true", dest="as_json")
    said = arguments.parse_args()
    everything: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix=".registration-suite-", dir=said.directory) as scratch:
        for _, measured in measure(scratch, QUICK if said.quick else FULL):
            found = list(measured)
            everything += found
            if not said.as_json:
                show(found)
    if said.as_json:
        rows = [one.as_json() for one in everything if isinstance(one, Row)]
        print(
            json.dumps(
                {"rows": rows, "contention": [o.as_json() for o in everything if isinstance(o, Contention)]}
            )
        )


if __name__ == "__main__":
    main()
