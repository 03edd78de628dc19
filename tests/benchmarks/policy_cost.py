"""What a full policy costs: one transition with it against one without, paired, on what reached the disk.

    python tests/benchmarks/policy_cost.py [DIR]

Two registries side by side in DIR (a temporary directory, as usual), the same walk through the lifecycle in turns: create,
submit, approve twice, register, each a durable transition of a new manifest whose document was never seen before. The
policy has a JSON Schema, the rules for MCP servers, names and versions, roles, four eyes and a quorum. Prints medians over
all transitions and over each action, and their ratios.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from registration import RegistrationPipeline

SERVER = Path(__file__).resolve().parents[2] / "fixtures" / "manifests" / "mcp-server.json"
POLICY = Path(__file__).resolve().parents[2] / "fixtures" / "policies" / "full" / "policy.toml"
ROUNDS = 300


def walk(pipeline: RegistrationPipeline, number: int, took: dict[str, list[float]]) -> None:
    """One manifest from its creation to its registration; every step is timed."""
    document = {**json.loads(SERVER.read_bytes()), "version": f"1.{number}.0"}
    id = f"{document['name']}@1.{number}.0"
    for action, actor in (
        ("create", "ada"), ("submit_for_review", "ada"), ("approve", "bea"), ("approve", "cyd"), ("register", "dot"),
    ):  # fmt: skip
        start = time.perf_counter()
        pipeline.act(id, action, actor=actor, document=document if action == "create" else None)
        took[action].append(time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        plain = RegistrationPipeline(Path(folder) / "without")
        ruled = RegistrationPipeline(Path(folder) / "with")
        for file in POLICY.parent.iterdir():
            (Path(folder) / "with" / file.name).write_bytes(file.read_bytes())
        without: dict[str, list[float]] = defaultdict(list)
        with_policy: dict[str, list[float]] = defaultdict(list)
        for number in range(ROUNDS):
            # In turns, so that whatever else the machine does meets both; the first ones only warm up.
            for pipeline, took in ((plain, without), (ruled, with_policy))[:: 1 if number % 2 else -1]:
                walk(pipeline, number, took if number >= 20 else defaultdict(list))
    print(f"{'':<20}{'without':>10}{'with':>10}{'ratio':>8}")
    for action in [*without, "all"]:
        pair = [
            [one for times in took.values() for one in times] if action == "all" else took[action]
            for took in (without, with_policy)
        ]
        a, b = (statistics.median(times) * 1e6 for times in pair)
        print(f"{action:<20}{a:>7.0f} µs{b:>7.0f} µs{b / a:>8.2f}")


if __name__ == "__main__":
    main()
