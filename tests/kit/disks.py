"""Disks that obey a script, and the bytes of a whole tree.

`ScriptedDisk` is the real disk with somebody in front of it who knows when to fail. Operations are those of
`registration.storage.disk.Disk`; files are called by their last name: `events.jsonl`, or that of a directory.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Any

from registration.storage.disk import PosixDisk

LOG = "events.jsonl"
SNAPSHOT = "state.json"
TEMPORARY = "state.json.tmp"


class Killed(BaseException):
    """The process is gone at this very moment: nothing that it still tries reaches the disk."""


@dataclass
class _Plan:
    """What to do instead of the `number`-th call of an operation on a file, counting from 1."""

    operation: str
    name: str | None
    number: int
    times: int
    act: Any
    seen: int = 0

    def takes(self, operation, name):
        if operation != self.operation or self.name not in (None, name):
            return False
        self.seen += 1
        return self.number <= self.seen < self.number + self.times


class ScriptedDisk:
    """The real disk, but for what the script says.

    calls: the operation and the file of each call made so far.
    """

    def __init__(self):
        self.calls = []
        self._real = PosixDisk()
        self._names = {}
        self._plans = []
        self._kill_at = self._fail_at = None

    def fail(self, operation, errno, *, name=None, number=1, times=1):
        """Raise OSError instead of doing it; only `close` is done all the same, as on Linux."""

        def act(real, *args, **_options):
            if operation == "close":
                real(*args)
            raise OSError(errno, os.strerror(errno))

        self._plans.append(_Plan(operation, name, number, times, act))

    def shorten(self, operation, bytes_max, *, name=None, number=1, times=1):
        """Let a write take, or a read give, fewer bytes than it was asked to."""

        def act(real, fd, what, *place):
            short = min(what, bytes_max) if operation == "read" else what[:bytes_max]
            return real(fd, short, *place)

        self._plans.append(_Plan(operation, name, number, times, act))

    def before(self, operation, act, *, name=None, number=1):
        """Call `act` first, then do it."""

        def act_first(real, *args, **options):
            act()
            return real(*args, **options)

        self._plans.append(_Plan(operation, name, number, 1, act_first))

    def after(self, operation, act, *, name=None, number=1):
        """Do it, then call `act`."""

        def act_last(real, *args, **options):
            result = real(*args, **options)
            act()
            return result

        self._plans.append(_Plan(operation, name, number, 1, act_last))

    def fail_call(self, number, errno):
        """Raise OSError in place of call `number`, from 1, whatever it is; only `close` is done all the same."""
        self._fail_at, self._errno = number, errno

    def kill(self, number, *, torn_bytes=None):
        """End the process in place of call `number`, from 1; a write may have got some bytes out by then."""
        self._kill_at, self._torn_bytes = number, torn_bytes

    def __getattr__(self, operation):
        real = getattr(self._real, operation)

        def call(*args, **options):
            name = os.path.basename(args[0]) if isinstance(args[0], str) else self._names.get(args[0], "")
            self.calls.append((operation, name))
            if self._kill_at is not None and len(self.calls) >= self._kill_at:
                self._die(operation, real, args)
            if len(self.calls) == self._fail_at:
                if operation == "close":
                    real(*args)
                raise OSError(self._errno, os.strerror(self._errno))
            plan = next((plan for plan in self._plans if plan.takes(operation, name)), None)
            result = plan.act(real, *args, **options) if plan else real(*args, **options)
            if operation == "open":
                self._names[result] = name
            return result

        return call

    def _die(self, operation, real, args):
        if operation == "close":
            real(*args)  # the system does that much for a dead process
        elif operation in ("write", "write_at") and len(self.calls) == self._kill_at and self._torn_bytes:
            real(args[0], args[1][: self._torn_bytes], *args[2:])
        raise Killed


def tree(root):
    """Every name below `root`, with the bytes of files, the targets of links and the kind of the rest."""
    found = {}
    for above, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(above, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                what = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    what = file.read()
            else:
                what = stat.S_IFMT(status.st_mode)
            found[os.path.relpath(path, root)] = what
    return found


def faults_in(findings):
    """The findings but what is odd and no fault: an interrupted write that was noted, or a clock that began again."""
    return [one for one in findings if one.kind != "finding" and one.group != "id twice"]
