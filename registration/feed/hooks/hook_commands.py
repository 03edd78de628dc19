"""Commands as hooks: a program that is started for one event, reads it on stdin, and exits with 0 on success.

No shell. Started in the registry's directory, in its own session, so that it can be killed together with its children
on timeout. Its stdout is discarded; the end of its stderr is stored if it fails.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from registration.feed.hooks.webhooks import Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.feed.hooks.hook_file import Hook

_SAID_BYTES_MAX = 2_000


def run_command(hook: Hook, body: bytes, told: Mapping[str, str], *, root: str) -> Delivery:
    """One attempt. told: additional environment variables. root: the working directory."""
    program = hook.command[0]
    # A path is relative to the registry; a bare name is searched in PATH.
    argv = [os.path.join(root, program) if "/" in program else program, *hook.command[1:]]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(  # noqa: S603  # the registry's owner wrote which program; there is no shell
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                cwd=root,
                env={**os.environ, **told},
                start_new_session=True,
            )
        except OSError as error:
            return Delivery(f"{program} can't be started: {error.strerror}")
        try:
            process.communicate(body, timeout=hook.timeout_s)
        except subprocess.TimeoutExpired:
            return Delivery(f"{program} timed out after {hook.timeout_s:g} s")
        finally:
            _end(process)
        if process.returncode == 0:
            return Delivery()
        return Delivery(_failure(program, process.returncode, _last_of(said.fileno())))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and its children, if they still run."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _failure(program: str, code: int, said: str) -> str:
    ended = f"{program} exited with {code}" if code > 0 else f"{program} was killed by signal {-code}"
    return f"{ended}: {said}" if said else ended


def _last_of(fd: int) -> str:
    size = os.fstat(fd).st_size
    said = os.pread(fd, _SAID_BYTES_MAX, max(0, size - _SAID_BYTES_MAX)).decode("utf-8", "replace")
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
