"""The same promise end to end: a real process on a real disk, its system calls made to fail, or the process killed.

`strace -e inject` makes them fail. Needs strace: on a machine without it these tests are skipped, in CI they fail.
How many faults were injected is printed at the end of the run.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registration import RegistrationPipeline
from tests.conftest import check_rules, rules_named
from tests.kit.disks import faults_in
from tests.kit.policies import put_in_force
from tests.kit.programs import needs_program
from tests.kit.totals import counter

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def _needs_strace() -> None:
    needs_program("strace")


KILLS, STEADY = 40, 2
WORKERS = ["ada", *(f"worker-{number}" for number in range(KILLS + STEADY))]

POLICY = f"""\
name = "acme"

[roles]
worker = {json.dumps(WORKERS)}

[[guards]]
guard = "role"
any = ["worker"]
actions = ["approve"]
"""


def make(root: Path) -> None:
    """A registry under a policy, so that every process has rules to keep before its first event."""
    RegistrationPipeline(root).close()
    put_in_force(root, POLICY)


class Worker:
    """A warm process that works on order, each time in a fresh child."""

    def __init__(self, warm_up: Path) -> None:
        self._channel, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.fault_driver", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._lines = self._channel.makefile("r")
        self._channel.sendall(f"{warm_up} 0 0\n".encode())
        while self._lines.readline() != "end\n":
            pass

    def close(self) -> None:
        self._channel.close()
        self._lines.close()
        self._process.wait()

    def work(
        self, root: Path, inject: list[str], trace: Path, *, manifests: int, steps: int
    ) -> tuple[list[str], int]:
        """What a child told while its system calls were tampered with, and its exit status."""
        self._channel.sendall(f"{root} {manifests} {steps}\n".encode())
        pid = self._lines.readline().split()[1]
        tracer = subprocess.Popen(
            [
                "strace",
                "-f",
                "-qq",
                "-o",
                str(trace),
                "-p",
                pid,
                *(word for i in inject for word in ("-e", f"inject={i}")),
            ],
            stderr=subprocess.PIPE,
        )
        try:
            self._wait_for_tracer(pid, tracer)
            self._channel.sendall(b"go\n")
            told = []
            for line in self._lines:
                told.append(line.strip())
                if line.startswith("exit "):
                    break
        finally:
            tracer.wait()
            assert tracer.stderr is not None
            tracer.stderr.close()
        return told, int(told[-1].split()[1])

    @staticmethod
    def _wait_for_tracer(pid: str, tracer: subprocess.Popen[bytes]) -> None:
        while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
            assert tracer.poll() is None, tracer.stderr and tracer.stderr.read()
            time.sleep(0.001)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    warm_up = tmp_path_factory.mktemp("warm") / "registry"
    make(warm_up)
    worker = Worker(warm_up)
    yield worker
    worker.close()


def check_promise(root: Path, told: list[str], *, killed: int = 1) -> None:
    """Every acknowledged event is in its log, where it was said to be; every byte is what was written; every rule is kept.

    killed: how many processes may have died between a commit and telling of it.
    """
    acknowledged = [line.split()[1:] for line in told if line.startswith("ack ")]
    with RegistrationPipeline(root, create=False) as pipeline:
        for id in pipeline.upkeep.manifest_ids():
            pipeline.upkeep.recover(id)
            assert faults_in(pipeline.evidence.verify(id).findings) == []
        logs = {
            summary.manifest_id: list(pipeline.history(summary.manifest_id)) for summary in pipeline.list()
        }
        check_rules(
            pipeline._registry.store,
            {rule for log in logs.values() for e in log for rule in rules_named(e.data)},
        )
    for id, version, event_id in acknowledged:
        assert logs[id][int(version) - 1].id == event_id
    events = sum(len(log) for log in logs.values())
    failed = sum(line.startswith("err ") for line in told)
    # What was not acknowledged is there or not; nothing else is.
    assert len(acknowledged) <= events <= len(acknowledged) + failed + killed


FAULTS = [
    ["write:error=ENOSPC:when=2+3"],
    ["write:error=EIO:when=1+4"],
    ["fdatasync:error=EIO:when=1+3"],
    ["fdatasync:error=ENOSPC:when=2+2"],
    ["fdatasync:error=EIO:when=1+3", "ftruncate:error=EIO:when=1+2"],
    ["fdatasync:error=EIO:when=1+3", "fsync:error=EIO:when=2+2"],
    ["fsync:error=EIO:when=1+3"],
    ["fsync:error=ENOSPC:when=2+4"],
    ["renameat,rename,renameat2:error=ENOSPC:when=1+2"],
    ["renameat,rename,renameat2:error=EIO:when=2+3"],
    ["openat:error=EMFILE:when=5+11"],
    ["openat:error=EROFS:when=3+13"],
    ["openat:error=ENOSPC:when=4+7"],
    ["mkdirat,mkdir:error=ENOSPC:when=1+2"],
    ["mkdirat,mkdir:error=EROFS:when=2+2"],
    ["write:error=ENOSPC:when=1+3", "pwrite64:error=EIO:when=1+2", "unlinkat:error=EIO:when=1+2"],
    ["flock:error=EIO:when=2+5"],
]


@pytest.mark.parametrize("inject", FAULTS, ids=" ".join)
def test_failing_system_calls_lose_nothing(
    worker: Worker, tmp_path: Path, inject: list[str], request: pytest.FixtureRequest
) -> None:
    """Each is an error for its caller, or none at all; what was acknowledged is there, and all can be gone on with."""
    root, trace = tmp_path / "registry", tmp_path / "trace"
    make(root)
    # Directories are made by creations only, so those are what the workload for `mkdir` consists of.
    manifests = 100 if "mkdir" in inject[0] else 6

    told, status = worker.work(root, inject, trace, manifests=manifests, steps=140)

    injected = trace.read_text(errors="replace").count("(INJECTED)")
    counter(request.config, "system-call faults injected on a real disk")(injected)
    assert status == 0
    assert injected > 10
    check_promise(root, told)


CALLS = [
    "write",
    "fdatasync",
    "fsync",
    "renameat,rename,renameat2",
    "openat",
    "mkdirat,mkdir",
    "flock",
    "pwrite64",
]


@pytest.mark.parametrize("call", CALLS)
def test_a_kill_at_any_system_call_loses_nothing(
    worker: Worker, tmp_path: Path, call: str, request: pytest.FixtureRequest
) -> None:
    """SIGKILL at the first, second, … call of each kind: what was acknowledged is there, the rest all or nothing."""
    kills = 0
    for number in range(1, 13):
        root, trace = tmp_path / str(number) / "registry", tmp_path / f"trace{number}"
        make(root)
        inject = [f"{call}:signal=SIGKILL:when={number}"]
        if call == "pwrite64":  # only recovery writes in place: give it something to do
            inject.append("fdatasync:error=EIO:when=2+2")
            inject.append("ftruncate:error=EIO:when=1+1")
        if call == "ftruncate":  # only a write that failed is cut back
            inject.append("fdatasync:error=EIO:when=2+2")

        told, status = worker.work(root, inject, trace, manifests=3, steps=25)

        killed = os.WIFSIGNALED(status)
        kills += killed
        assert not killed or os.WTERMSIG(status) == signal.SIGKILL
        check_promise(root, told)
    counter(request.config, "system-call faults injected on a real disk")(kills)
    assert kills >= 3


def test_kills_at_random_under_load_lose_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Several writers on the same manifests, one of them killed again and again."""
    root = tmp_path / "registry"
    make(root)
    told: list[str] = []
    workers = iter(WORKERS[1:])
    steady = [_started(root, 400, next(workers)) for _ in range(STEADY)]
    for number in range(KILLS):
        victim, channel = _started(root, 10_000, next(workers))
        lines = channel.makefile("r")
        told += [lines.readline().strip() for _ in range(1 + number % 7)]
        victim.kill()
        victim.wait()
        told += [line.strip() for line in lines]
        lines.close()
        channel.close()
    for process, channel in steady:
        lines = channel.makefile("r")
        told += [line.strip() for line in lines]
        process.wait()
        lines.close()
        channel.close()
    counter(request.config, "system-call faults injected on a real disk")(KILLS)

    assert told.count("end") == len(steady)
    assert sum(line.startswith("ack ") for line in told) > 200
    check_promise(root, told, killed=KILLS)
    assert not [
        line for line in told if re.match(r"err (?!VersionConflict|IllegalTransition|AlreadyExists)", line)
    ]


def _started(root: Path, steps: int, actor: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    mine, theirs = socket.socketpair()
    script = (
        "import socket, sys\n"
        "from tests.kit.fault_driver import work\n"
        "work(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], 4, int(sys.argv[3]), sys.argv[4])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(theirs.fileno()), str(root), str(steps), actor],
        cwd=ROOT,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    return process, mine
