"""A transition behind many earlier events, in turn with one behind few: hot, and by a pipeline that was just opened.

    python tests/benchmarks/long_log.py [--events N] [--rounds N] [--json] [DIR]

Everything happens in a temporary directory in DIR, which is removed afterwards. Both manifests are in one registry, and hold the
same document. 100,000 events take about a minute to write, and 150 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from typing import Any

from measuring import in_turn
from subject import Walker, modes, open_subject

FEW = 10


class Reopened:
    """One transition of a manifest, by a pipeline that knows nothing of it yet."""

    def __init__(self, root: str, mode: str, id: str) -> None:
        self._root, self._mode, self._id = root, mode, id

    def __call__(self) -> None:
        with open_subject(self._root, self._mode) as pipeline:
            if pipeline.load_state(self._id).state == "DRAFT":
                pipeline.submit_for_review(self._id)
            else:
                pipeline.reject(self._id, reason="once more")


def grown(root: str, ids: dict[str, int]) -> None:
    """Make manifests with so many events."""
    with open_subject(root, modes()[-1]) as pipeline:
        for id, events in ids.items():
            walker = Walker(pipeline, id)
            while walker.last.snapshot.version < events:
                walker.step()


def measure(root: str, events: int, rounds: int) -> dict[str, Any]:
    """The medians, in microseconds, and how they compare."""
    ids = {"few": FEW, "many": events}
    began = time.perf_counter()
    grown(root, ids)
    told: dict[str, Any] = {
        "events": events,
        "grown_s": time.perf_counter() - began,
        "log_mib": os.path.getsize(f"{root}/manifests/many/events.jsonl") / 2**20,
    }
    for mode in modes():
        with open_subject(root, mode) as pipeline:

            def step(id: str) -> None:
                if pipeline.load_state(id).state == "DRAFT":
                    pipeline.submit_for_review(id)
                else:
                    pipeline.reject(id, reason="once more")

            told[f"{mode}, hot"] = compared(
                {"few": lambda: step("few"), "many": lambda: step("many")}, rounds
            )
        opened = {name: Reopened(root, mode, name) for name in ids}
        told[f"{mode}, just opened"] = compared(opened, max(20, rounds // 10))
    return told


def compared(works: Any, rounds: int) -> dict[str, float]:
    """Both in turn."""
    taken = in_turn(works, rounds=rounds)
    return {
        "few_us": taken["few"].median * 1e6,
        "many_us": taken["many"].median * 1e6,
        "ratio": taken["many"].ratio_to(taken["few"]),
        "paired_ratio": taken["many"].paired_ratio_to(taken["few"]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", help="where; a temporary directory, as usual")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="long-log-", dir=said.directory) as folder:
        told = measure(f"{folder}/registry", said.events, said.rounds)
    if said.json:
        print(json.dumps(told))
        return
    print(
        f"{told['events']:,} events, {told['log_mib']:.0f} MiB, written in {told['grown_s']:.0f} s; {FEW} events beside them"
    )
    for name, row in told.items():
        if isinstance(row, dict):
            print(
                f"{name:<20}{row['few_us']:>9,.0f} µs{row['many_us']:>9,.0f} µs  {row['ratio']:.3f}  paired {row['paired_ratio']:.3f}"
            )


if __name__ == "__main__":
    main()
