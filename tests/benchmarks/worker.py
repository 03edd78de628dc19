"""A process of the benchmark: it opens the registry, says that it is ready, is told to begin, and says what it came to.

    python tests/benchmarks/worker.py ROOT MODE TASK NAME TIMES

TASK: `own` takes steps with a manifest of its own; `shared` revises the manifest `shared`; `bare` writes two bare files. The answer
is one JSON object: when it began and ended (of the system's monotonic clock, in seconds), and of each revision its version, the
id of its event, how many attempts it took, and for how long.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import Any

import orjson
from floors import BareFiles
from subject import DOCUMENT, Walker, open_subject


def revise(pipeline: Any, number: int, name: str) -> dict[str, Any]:
    """One revision of the manifest that everybody revises."""
    began_s = time.monotonic()
    result = pipeline.revise("shared", {**DOCUMENT, "by": name, "number": number})
    ended_s = time.monotonic()
    return {
        "version": result.event.version,
        "event": result.event.id,
        "attempts": result.attempts,
        "took_s": ended_s - began_s,
        "ended_s": ended_s,
    }


def main() -> None:
    """Run one task; see above."""
    root, mode, task, name, times = sys.argv[1:]
    with ExitStack() as stack:
        pipeline = stack.enter_context(open_subject(root, mode))
        if task == "bare":
            work: Any = stack.enter_context(BareFiles(os.path.join(root, "bare", name))).write_both
        elif task == "own":
            work = Walker(pipeline, name).step
        else:
            Walker(pipeline, f"warm-{name}")  # whatever a first write loads is no part of who waits for whom
            pipeline.load_state("shared")
            work = None
        _say(b"ready")
        if not sys.stdin.readline():  # whoever started it is gone
            return
        began_s, done = time.monotonic(), []
        for number in range(int(times)):
            if work is not None:
                work()
            else:
                done.append(revise(pipeline, number, name))
        ended_s = time.monotonic()
    _say(orjson.dumps({"began_s": began_s, "ended_s": ended_s, "done": done}))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
