"""A slow disk: the real one, whose every sync takes some milliseconds more; for a process that is started with it.

A library of a dozen lines stands before the system's `fsync` and `fdatasync` (LD_PRELOAD), calls them, and then sleeps. So whatever
syncs in that process, Python or SQLite, meets the same disk. It is compiled with `cc` into a temporary directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

static int slowly(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(fd), found = errno;
    struct timespec wait = {0, strtol(getenv("SLOW_SYNC_US"), NULL, 10) * 1000L};
    nanosleep(&wait, NULL);
    errno = found;
    return result;
}
int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
"""


def slow_environment(folder: str, wait_us: int) -> dict[str, str] | None:
    """The environment of a process whose syncs take so many microseconds more, below 1,000,000; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source, library = os.path.join(folder, "slow.c"), os.path.join(folder, "slow.so")
    with open(source, "w", encoding="utf-8") as opened:
        opened.write(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    return {**os.environ, "LD_PRELOAD": library, "SLOW_SYNC_US": str(wait_us)}
