"""Freeing: the blocks of a file that was replaced are given back to the file system in the background.

Taking away the last name of a file frees its blocks then and there, which can take longer than everything else that replacing
it takes, where the file system tells the disk which blocks are free (``discard``) above all. A file that is still open keeps them:
so whoever replaces one opens it before, and a thread closes it a moment later. Nothing depends on it: when a process ends,
however it does, its files are closed.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque

HELD_MAX = 32
"""How many replaced files a process keeps open, at most: whoever replaces one more closes the first of them."""

PAUSE_S = 0.02
"""How often the thread looks, in seconds: it costs whoever commits nothing to have it woken."""

IDLE_S = 1.0
"""For how long the thread stays when there is nothing to do, in seconds."""


class Freeing:
    """The replaced files of one process. Safe to share between threads. pause_s, idle_s: as `PAUSE_S` and `IDLE_S`."""

    def __init__(self, *, pause_s: float = PAUSE_S, idle_s: float = IDLE_S) -> None:
        self._pause_s = pause_s
        self._idle_s = idle_s
        self._held: deque[int] = deque()
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, fd: int) -> None:
        """Close that descriptor before long."""
        with self._changing:
            self._held.append(fd)
            first = self._held.popleft() if len(self._held) > HELD_MAX else None
            working = self._thread is not None or self._start()
        if first is not None:
            os.close(first)
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

    def flush(self) -> None:
        """Close all that is held now."""
        while True:
            try:
                fd = self._held.popleft()
            except IndexError:
                return
            os.close(fd)

    def forget(self) -> None:
        """In a forked child: it has no thread, and the lock may be held by one; what is open is its own to close."""
        self._changing = threading.Lock()
        self._thread = None
        self.flush()

    def _run(self) -> None:
        busy_s = time.monotonic()
        while True:
            time.sleep(self._pause_s)
            if self._held:
                self.flush()
                busy_s = time.monotonic()
            elif time.monotonic() - busy_s > self._idle_s:
                with self._changing:
                    if not self._held:
                        self._thread = None
                        return


FREEING = Freeing()
"""The one of this process."""

os.register_at_fork(after_in_child=FREEING.forget)
