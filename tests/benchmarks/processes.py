"""Processes: workers of the benchmark, begun together, and ended with whoever began them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import orjson

from registration.errors import StoreError

WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")


def run_workers(tasks: Sequence[tuple[str, ...]]) -> list[dict[str, Any]]:
    """Run a process for each task, and give what each told; see `worker.py`.

    Raises:
        StoreError: when one of them fails.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(_started(task)) for task in tasks]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()  # it is ready, or failed, which is seen below
        for worker in workers:
            with suppress(BrokenPipeError):
                assert worker.stdin is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
        return [_told(worker) for worker in workers]


def cpu_s(*command: str) -> float:
    """How much CPU time a fresh process takes for a command of the command line, in seconds.

    Raises:
        StoreError: when it fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(  # our own interpreter, our own module
        [sys.executable, "-m", "registration", *command], capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        raise StoreError(f"`registration {' '.join(command)}` failed: {run.stderr.strip()}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def _started(task: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    worker = subprocess.Popen(  # as above
        [sys.executable, WORKER, *task],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # an interrupt is for whoever measures, who ends it below
    )
    try:
        yield worker
    finally:
        if worker.poll() is None:
            worker.kill()
        worker.communicate()


def _told(worker: subprocess.Popen[str]) -> dict[str, Any]:
    assert worker.stdout is not None
    assert worker.stderr is not None
    line = worker.stdout.readline()
    if not line or worker.wait():
        last = worker.stderr.read().strip().rpartition("\n")[2]
        raise StoreError(f"A process of the benchmark failed: {last}")
    told: dict[str, Any] = orjson.loads(line)
    return told
