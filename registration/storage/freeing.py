"""Freeing: the blocks of a file that was replaced are given back to the file system in the background.

Taking away the last name of a file frees its blocks then and there, which can take longer than everything else that replacing
it takes, where the file system tells the disk which blocks are free (``discard``) above all: a transition takes a quarter to a
half longer without this. An open file keeps its blocks: so a file is opened before it is replaced, and a thread closes it a
moment later. Nothing depends on it: when a process ends, its files are closed.

Descriptors are scarce, so few are held: a place is reserved before a file is opened, and without one the file is replaced
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
"""Of how many descriptors that a process may have, one may be a replaced file's."""

PAUSE_S = 0.02
"""How often the thread looks, in seconds: commits never have to wake it."""

IDLE_S = 1.0
"""For how long the thread stays when there is nothing to do, in seconds."""


class Freeing:
    """The replaced files of one process. Safe to share between threads. pause_s, idle_s: as `PAUSE_S` and `IDLE_S`."""

    def __init__(self, *, pause_s: float = PAUSE_S, idle_s: float = IDLE_S) -> None:
        self._pause_s = pause_s
        self._idle_s = idle_s
        self._held: deque[int] = deque()
        self._taken = 0  # places: of those that are held, and of those that are about to be opened or closed
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def take_place(self) -> bool:
        """Reserve a place for one more file; False if there is none. `add` or `give_back` returns it."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = HELD_MAX if limit == resource.RLIM_INFINITY else min(HELD_MAX, limit // SHARE)
        with self._changing:
            if self._taken >= most:
                return False
            self._taken += 1
        return True

    def give_back(self) -> None:
        """Give a place back without a file."""
        with self._changing:
            self._taken -= 1

    def add(self, fd: int) -> None:
        """Close that descriptor, which has a place, before long."""
        with self._changing:
            self._held.append(fd)
            working = self._thread is not None or self._start()
        if not working:
            self.flush()

    def _start(self) -> bool:
        self._thread = threading.Thread(target=self._run, name="registration-freeing", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the process ends, or has too many threads
            self._thread = None
            return False
        return True

    def flush(self) -> bool:
        """Close all that is held now; whether there was something."""
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
        """In a forked child: it has no thread, and the lock may be held by one; what is open is its own to close."""
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
"""The one of this process."""

os.register_at_fork(after_in_child=FREEING.forget)
