"""What announcing a commit to the feed costs, beside the bare write of as many bytes; and how fast the feed is read.

    python tests/benchmarks/journal_cost.py [DIR]

In DIR (a temporary directory, as usual). Prints the best and the median of several rounds, in turns, so that whatever else
the machine does meets both.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from registration import RegistrationPipeline
from registration.storage.layout import MANIFESTS
from registration.storage.notes import encode_commit

ROUNDS, TIMES, MANIFESTS_READ = 15, 5_000, 1_000
SAID = ("io.github.acme/weather@1.2.0", "f" * 64, "2026-01-01T00:00:00.000000Z")


def note(pipeline: RegistrationPipeline) -> float:
    """Microseconds for one line of the journal."""
    journal = pipeline._registry.store.backend.journal
    stream, head, at = SAID
    start = time.perf_counter()
    for number in range(1, TIMES + 1):
        start_bytes = number * 300
        journal.add(encode_commit(MANIFESTS, stream, number, 1, start_bytes, start_bytes + 300, head, at))
    return (time.perf_counter() - start) / TIMES * 1e6


def bare(file: int) -> float:
    """Microseconds for one append of as many bytes."""
    stream, head, at = SAID
    line = encode_commit(MANIFESTS, stream, TIMES, 1, TIMES * 300, TIMES * 300 + 300, head, at)
    start = time.perf_counter()
    for _ in range(TIMES):
        os.write(file, line)
    return (time.perf_counter() - start) / TIMES * 1e6


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        with RegistrationPipeline(Path(folder) / "announced") as pipeline:
            file = os.open(Path(folder) / "bare", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            rounds = [(note(pipeline), bare(file)) for _ in range(ROUNDS)]
            os.close(file)
        for name, times in zip(("journal.add", "bare write"), zip(*rounds, strict=True), strict=True):
            print(f"{name:<14}{min(times):>7.2f} µs at best{statistics.median(times):>7.2f} µs median")
        with RegistrationPipeline(Path(folder) / "read", actor="ada") as pipeline:
            for number in range(MANIFESTS_READ):
                pipeline.create(f"m{number}", {"number": number})
            start = time.perf_counter()
            events = sum(1 for _ in pipeline.feed.read())
            print(f"{events / (time.perf_counter() - start):>7,.0f} events/s read, each looked up in its log")


if __name__ == "__main__":
    main()
