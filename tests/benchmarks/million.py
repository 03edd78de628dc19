"""A million manifests, once: created, listed, followed, verified, loaded, and a transition among them.

    python tests/benchmarks/million.py [--manifests N] [--processes P] [--json] [--keep] [DIR]

Everything happens in a temporary directory in DIR, which is removed afterwards; `--keep` leaves it. A million needs about 15 GB and
3,000,000 inodes. Each step runs in processes of its own, so that its peak memory is its own. Each checks what it found, and the
script fails where that is not everything. Transitions among them are measured in turn with those of a registry that holds
nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from typing import Any

from measuring import in_turn
from subject import DOCUMENT, Walker, modes, open_subject

from registration import RegistrationPipeline
from registration.pipeline.many import CreateItem

SAMPLE_MAX = 1_000
PAGE = 20


def name_of(number: int) -> str:
    """The id of a manifest: names of many publishers, none of them in the order of its making."""
    return f"io.github.pub{number % 997}/server-{number}@1.0.0"


def number_of(manifest_id: str) -> int:
    """The number in a name."""
    return int(manifest_id.rpartition("@")[0].rpartition("-")[2])


def create(root: str, first: int, last: int) -> dict[str, Any]:
    """Make a share of the manifests; every tenth is handed in for review."""
    items = (
        CreateItem(manifest_id=name_of(number), document={**DOCUMENT, "name": name_of(number)})
        for number in range(first, last)
    )
    with open_subject(root, modes()[-1]) as pipeline:
        made = sum(1 for one in pipeline.create_many(items) if one.value().to_state == "DRAFT")
        steps = (
            {"manifest_id": name_of(number), "action": "submit_for_review"}
            for number in range(first, last)
            if number % 10 == 0
        )
        submitted = sum(1 for one in pipeline.transition_many(steps) if one.value().to_state == "REVIEWED")
    return {"made": made, "submitted": submitted}


def first_page(root: str, *_: int) -> dict[str, Any]:
    """The first 20 of one state: as this fresh process finds them, and once more."""
    with RegistrationPipeline(root, create=False) as pipeline:
        took = []
        for _ in range(6):
            began = time.perf_counter()
            found = list(pipeline.list("REVIEWED", limit=PAGE))
            took.append(time.perf_counter() - began)
    assert {summary.state for summary in found} == {"REVIEWED"}
    return {"found": len(found), "fresh_ms": took[0] * 1e3, "warm_ms": statistics.median(took[1:]) * 1e3}


def list_all(root: str, *_: int) -> dict[str, Any]:
    """All of them, counted by state."""
    states: dict[str, int] = {}
    with RegistrationPipeline(root, create=False) as pipeline:
        for summary in pipeline.list():
            states[summary.state] = states.get(summary.state, 0) + 1
    return {"states": states}


def follow(root: str, *_: int) -> dict[str, Any]:
    """Every event of the feed once, and of each manifest in order."""
    versions = bytearray(SAMPLE_MAX)  # by the number in a name: the memory that is measured is not to be this
    events = 0
    with RegistrationPipeline(root, create=False) as pipeline:
        for entry in pipeline.feed.read():
            if entry.area != "manifests":  # the registry's own log is told of as well
                continue
            number = number_of(entry.event.subject)
            if number >= len(versions):
                versions.extend(bytes(number))
            if entry.event.version != versions[number] + 1:
                raise AssertionError(f"{entry.event.subject}: version {entry.event.version} is out of order")
            versions[number] += 1
            events += 1
    return {"events": events, "streams": len(versions) - versions.count(0)}


def verify(root: str, first: int, last: int) -> dict[str, Any]:
    """Every byte of a share of the manifests."""
    with RegistrationPipeline(root, create=False) as pipeline:
        sound = sum(not pipeline.evidence.verify(name_of(number)).findings for number in range(first, last))
    return {"sound": sound}


def load(root: str, first: int, last: int) -> dict[str, Any]:
    """States of manifests here and there: first seen, and once more."""
    ids = [name_of(number) for number in range(first, last, max(1, (last - first) // SAMPLE_MAX))]
    with RegistrationPipeline(root, create=False) as pipeline:
        cold, warm = [], []
        for id in ids:
            for took in (cold, warm):
                began = time.perf_counter()
                pipeline.load_state(id)
                took.append(time.perf_counter() - began)
    return {
        "loaded": len(ids),
        "first_us": statistics.median(cold) * 1e6,
        "again_us": statistics.median(warm) * 1e6,
    }


def transition(root: str, first: int, last: int) -> dict[str, Any]:
    """A transition among them, in turn with the same in a registry that holds nothing else, for each kind of snapshots."""
    told: dict[str, Any] = {}
    for mode in modes():
        with open_subject(root, mode) as full, open_subject(f"{root}-alone", mode) as empty:
            among, alone = Walker(full, f"among-{mode}"), Walker(empty, f"alone-{mode}")
            taken = in_turn(
                {"among": among.step, "alone": alone.step},
                rounds=min(SAMPLE_MAX, max(20, (last - first) // 100)),
            )
        told |= {
            f"{mode}_among_us": taken["among"].median * 1e6,
            f"{mode}_alone_us": taken["alone"].median * 1e6,
            f"{mode}_ratio": taken["among"].ratio_to(taken["alone"]),
            f"{mode}_paired_ratio": taken["among"].paired_ratio_to(taken["alone"]),
        }
    return told


STEPS = {
    "create": create, "list one state, first page": first_page, "list all": list_all, "follow": follow,
    "verify": verify, "load": load, "transition": transition,
}  # fmt: skip
SHARED_OUT = ("create", "verify")


def run_step(name: str, root: str, manifests: int, processes: int) -> dict[str, Any]:
    """One step, in one process, or in several that share the manifests out; what they told, summed up."""
    shares = processes if name in SHARED_OUT else 1
    bounds = [manifests * share // shares for share in range(shares + 1)]
    began = time.perf_counter()
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--step", name, root, str(first), str(last)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for first, last in pairwise(bounds)
    ]
    told = [json.loads(process.communicate()[0] or "null") for process in started]
    took_s = time.perf_counter() - began
    if None in told:
        raise SystemExit(f"{name}: a process failed")
    memory = max(one.pop("memory_mib") for one in told)
    found = told[0] if shares == 1 else {key: sum(one[key] for one in told) for key in told[0]}
    return {"step": name, "took_s": took_s, "per_s": manifests / took_s, "memory_mib": memory, **found}


def measure_step(name: str, root: str, first: int, last: int) -> None:
    """What a process of a step does: it prints one JSON object."""
    found = STEPS[name](root, first, last)
    print(json.dumps({**found, "memory_mib": memory_mib()}))


def memory_mib() -> float:
    """The most that this process had in memory. What its parent had before, as `getrusage` counts it in, is not in it."""
    with open("/proc/self/status", encoding="ascii") as status:
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def size_of(root: str) -> dict[str, Any]:
    """What the registry takes on the disk, by what the file system says of each entry."""
    used_bytes = inodes = 0
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                used_bytes += found.st_blocks * 512
                inodes += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return {"disk_mib": used_bytes / 2**20, "inodes": inodes}


def check(done: dict[str, dict[str, Any]], manifests: int) -> None:
    """Fail unless every step found everything."""
    submitted = -(-manifests // 10)
    assert done["create"]["made"] == manifests
    assert done["create"]["submitted"] == submitted
    assert done["list one state, first page"]["found"] == min(PAGE, submitted)
    assert done["list all"]["states"] == {"DRAFT": manifests - submitted, "REVIEWED": submitted}
    assert (done["follow"]["events"], done["follow"]["streams"]) == (manifests + submitted, manifests)
    assert done["verify"]["sound"] == manifests


def show(one: dict[str, Any]) -> None:
    """A line for a step, as soon as it is done."""
    rest = {key: value for key, value in one.items() if key not in ("step", "took_s", "per_s", "memory_mib")}
    figures = ", ".join(
        f"{key} {value:,.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in rest.items()
    )
    print(f"{one['step']:<28}{one['took_s']:>9,.1f} s{one['per_s']:>10,.0f}/s{one['memory_mib']:>8,.0f} MiB  {figures}", flush=True)  # fmt: skip


def main() -> None:
    """Go through the steps."""
    if sys.argv[1:2] == ["--step"]:
        name, root, first, last = sys.argv[2:]
        measure_step(name, root, int(first), int(last))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", help="where; a temporary directory, as usual")
    parser.add_argument("--manifests", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--json", action="store_true", help="one JSON object at the end")
    parser.add_argument("--keep", action="store_true", help="leave the registry there")
    said = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="million-", dir=said.directory)
    root = f"{folder}/registry"
    try:
        with RegistrationPipeline(root):
            pass
        done: dict[str, dict[str, Any]] = {}
        for name in STEPS:
            done[name] = run_step(name, root, said.manifests, said.processes)
            if name == "create":
                done[name] |= size_of(root)
            if not said.json:
                show(done[name])
        check(done, said.manifests)
        if said.json:
            print(
                json.dumps(
                    {"manifests": said.manifests, "processes": said.processes, "steps": list(done.values())}
                )
            )
    finally:
        if said.keep:
            print(f"It is left in {folder}.", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
