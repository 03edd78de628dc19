"""Five figures of a disk: the expected performance of a registry on it.

An append with its sync, a durable write of two files with bare system calls, and a transition are measured in turn, in one loop: what
else the machine does affects all three equally. The transitions are those of one manifest, which is then recovered from its 100 events. Eight
writers revise another one at once. All of it takes some 700 syncs: a second on a local disk.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from registration.core.codec import encode_snapshot
from registration.pipeline.pipeline import RegistrationPipeline
from registration.storage.disk import PosixDisk, opened_directory, replace_atomic, write_whole
from registration.storage.doctor import Check

EVENTS = 100
WRITERS, WRITES_EACH = 8, 5
RECOVERIES = 10

DOCUMENT: dict[str, Any] = {
    "name": "io.github.acme/weather",
    "description": "Forecasts and warnings for a place and a day, from stations, satellites and models",
    "version": "1.2.0",
    "packages": [{"registryType": "oci", "identifier": f"ghcr.io/acme/weather-{n}:1.2.0"} for n in range(8)],
}
"""About 800 bytes: a typical manifest."""


def figures(directory: str) -> Iterator[Check]:
    """Measure, in a temporary directory there, which is always removed afterwards.

    Each is a check that is `ok`, with its numbers in `figures`; times are in milliseconds.

    Raises:
        OSError, RegistrationError: when the disk lacks something that a registry needs; the doctor's checks name it.
    """
    scratch = tempfile.mkdtemp(prefix=".registration-doctor-", dir=directory)
    try:
        root = os.path.join(scratch, "registry")
        with RegistrationPipeline(root, actor="doctor") as pipeline:
            yield from _writes(pipeline, scratch)
            pipeline.create("shared", DOCUMENT)
            yield _contention(root)
            yield _recovery(pipeline)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _writes(pipeline: RegistrationPipeline, scratch: str) -> Iterator[Check]:
    """A transition, a durable write and an append, in turn, with the same bytes."""
    disk = PosixDisk()
    taken: dict[str, list[float]] = {"transition": [], "durable write": [], "append and sync": []}
    pipeline.create("walked", DOCUMENT)
    last = pipeline.submit_for_review("walked")
    with opened_directory(disk, scratch) as bare:
        log = disk.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, dir_fd=bare)
        try:

            def step() -> None:
                nonlocal last
                if last.to_state == "DRAFT":
                    last = pipeline.submit_for_review("walked")
                else:
                    last = pipeline.reject("walked", reason="once more")

            def append() -> None:
                write_whole(disk, log, last.event.line)
                disk.sync_data(log)

            def write() -> None:
                append()
                replace_atomic(disk, bare, "snapshot", "snapshot.tmp", encode_snapshot(last.snapshot))

            for _ in range(EVENTS - 2):
                for name, work in zip(taken, (step, write, append), strict=True):
                    taken[name].append(_timed(work))
        finally:
            disk.close(log)
    floor = statistics.median(taken["durable write"])
    for name, seconds in taken.items():
        ratio = {"times_a_durable_write": round(statistics.median(seconds) / floor, 2)}
        yield _check(name, seconds, ratio if name == "transition" else {})


def _contention(root: str) -> Check:
    """The number of attempts that writes take while eight writers revise one manifest.

    Each opens the registry itself: writers of one pipeline would take turns and never conflict.
    """

    def write(writer: int) -> list[int]:
        with RegistrationPipeline(root, actor=f"doctor-{writer}", create=False) as pipeline:
            return [
                pipeline.revise("shared", {**DOCUMENT, "by": writer, "number": number}).attempts
                for number in range(WRITES_EACH)
            ]

    # Leaving waits for all threads, also on an interrupt: their directory is about to be removed.
    with ThreadPoolExecutor(WRITERS) as pool:
        attempts = Counter(count for counts in pool.map(write, range(WRITERS)) for count in counts)
    writes = sum(attempts.values())
    within_3 = sum(number for count, number in attempts.items() if count <= 3) / writes
    return Check(
        "attempts under contention",
        "ok",
        f"{WRITERS} writers, one manifest: {within_3:.0%} of {writes} writes took 3 attempts at most, the longest {max(attempts)}",
        figures={"writes": writes, "within_3": within_3, "attempts_max": max(attempts)},
    )


def _recovery(pipeline: RegistrationPipeline) -> Check:
    """The replay of a whole log: each line parsed, its chain verified, and folded."""
    seconds = [_timed(lambda: pipeline.recover_from_events("walked")) for _ in range(RECOVERIES)]
    return _check(f"recovery of {EVENTS} events", seconds, {"events": EVENTS})


def _check(name: str, seconds: list[float], more: dict[str, float]) -> Check:
    ordered = sorted(seconds)
    median_ms = statistics.median(ordered) * 1e3
    p95_ms = ordered[len(ordered) * 95 // 100] * 1e3
    said = f"{median_ms:.2f} ms (median of {len(ordered)}; p95 {p95_ms:.2f} ms)"
    if "times_a_durable_write" in more:
        said += f", {more['times_a_durable_write']} times a durable write"
    return Check(name, "ok", said, figures={"median_ms": median_ms, "p95_ms": p95_ms, **more})


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
