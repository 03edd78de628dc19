"""Freeing: the blocks of a replaced file are freed in the background.

Removing the last name of a file frees its blocks at once, which can take longer than the rest of the replacement, above all if
the file system passes free blocks on to the disk (``discard``): a transition takes a quarter to a half longer without this
module. An open file keeps its blocks: so a file is opened before it is replaced, and a thread closes it a moment later.
Nothing depends on it: the end of a process closes its files.

Descriptors are scarce, so few are held: a slot is reserved before a file is opened, and without a slot the file is replaced
as usual.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import deque

HELD_MAX = 32
"""How many replaced files a process keeps open, at most."""

SHARE = 32
"""One in so many of a process's descriptors may belong to a replaced file."""

PAUSE_S = 0.02
"""The thread's polling interval, in seconds: commits never have to wake it."""

IDLE_S = 1.0
"""How long the idle thread stays, in seconds."""


class Freeing:
    """The replaced files of one process. Safe to share between threads. pause_s, idle_s: as `PAUSE_S` and `IDLE_S`."""

    def __init__(self, *, pause_s: float = PAUSE_S, idle_s: float = IDLE_S) -> None:
        self._pause_s = pause_s
        self._idle_s = idle_s
        self._held: deque[int] = deque()
        self._taken = 0  # slots: of files held, about to be opened, or being closed
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def take_place(self) -> bool:
        """Reserve a slot for one more file; False if there is none. `add` or `give_back` returns it."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = HELD_MAX if limit == resource.RLIM_INFINITY else min(HELD_MAX, limit // SHARE)
        with self._changing:
            if self._taken >= most:
                return False
            self._taken += 1
        return True

    def give_back(self) -> None:
        """Return a slot without a file."""
        with self._changing:
            self._taken -= 1

    def add(self, fd: int) -> None:
        """Close a descriptor, which has a slot, soon."""
        with self._changing:
            self._held.append(fd)
            working = self._thread is not None or self._start()
        if not working:
            self.flush()

    def _start(self) -> bool:
        self._thread = threading.Thread(target=self._run, name="registration-freeing", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the process is ending, or has too many threads
            self._thread = None
            return False
        return True

    def flush(self) -> bool:
        """Close all files held; returns whether there were any."""
        found = False
        while True:
            try:
                fd = self._held.popleft()
            except IndexError:
                return found
            found = True
            os.close(fd)
            self.give_back()

    def forget(self) -> None:
        """In a forked child: it has no thread, and the lock may be held by one of the parent's; open files are closed here too."""
        self._changing = threading.Lock()
        self._thread = None
        self._taken = len(self._held)
        self.flush()

    def _run(self) -> None:
        busy_s = time.monotonic()
        while True:
            time.sleep(self._pause_s)
            if self.flush():
                busy_s = time.monotonic()
            elif time.monotonic() - busy_s > self._idle_s:
                with self._changing:
                    if not self._held:
                        self._thread = None
                        return


FREEING = Freeing()
"""The instance of this process."""

os.register_at_fork(after_in_child=FREEING.forget)
