"""The doctor checks whether a directory suits a registry. Each check tries the operation itself, in a temporary directory there.

It changes nothing in the registry, and removes its own files.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from registration.errors import Next, RegistrationError
from registration.storage import layout
from registration.storage.disk import PosixDisk, opened_directory, replace_atomic, write_whole
from registration.storage.files.registry_file import read_registry
from registration.values.times import rfc3339, system_clock

DEPENDENCIES = ("click", "orjson", "portalocker", "pydantic", "rfc8785")
FREE_BYTES_MIN = 100 * 1024 * 1024
FREE_INODES_MIN = 10_000

_NETWORK = ("nfs", "cifs", "smb", "fuse", "9p", "vboxsf", "afs", "ceph", "gluster", "lustre", "prl_fs")
_VOLATILE = ("tmpfs", "ramfs")
_SYNCS = 20

_TRY_LOCK = """
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(3)
"""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    verdict: `fail` if a registry would break its promises here, `warn` if an operator should know. found: the observation.
    advice: what to do about it; empty if nothing is needed. next: the same as data, if the registry has an operation for it.
    figures: measurements, for programs, if there are any.
    """

    name: str
    verdict: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""
    next: Next | None = None
    figures: Mapping[str, float] | None = None


def examine(directory: str) -> Iterator[Check]:
    """Check a directory that is a registry, or could become one; it must exist.

    Yields one `Check` after the other. A check that can't run yields a failure; none raises.
    """
    place = os.path.realpath(directory)
    yield _guarded("file system", lambda: _file_system(place))
    yield _guarded("space", lambda: _space(place))
    try:
        scratch = tempfile.mkdtemp(prefix=".registration-doctor-", dir=place)
    except OSError as error:
        yield Check(
            "writing",
            "fail",
            f"{place} is not writable: {error.strerror}",
            "Check its owner and mode.",
        )
    else:
        try:
            yield _guarded("sync", lambda: _sync(scratch))
            yield _guarded("atomic rename", lambda: _rename(scratch))
            yield _guarded("lock between processes", lambda: _lock(scratch))
            yield _guarded("clock", lambda: _clock(place, scratch))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    yield _guarded("registry", lambda: _registry(place))
    yield _guarded("leftovers", lambda: _leftovers(place))
    yield _guarded("versions", _versions)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except (OSError, RegistrationError, metadata.PackageNotFoundError) as error:
        return Check(name, "fail", f"the check failed: {error}", "Fix that first.")


def _file_system(place: str) -> Check:
    kind = file_system_type(place)
    if kind is None:
        return Check(
            "file system",
            "warn",
            "its type cannot be determined on this system",
            "Make sure that it is local.",
        )
    if kind.startswith(_NETWORK):
        return Check(
            "file system",
            "warn",
            f"{kind}: a network or user-space file system",
            "Locks and syncs are unreliable there. Use a local ext4, XFS or btrfs.",
        )
    if kind in _VOLATILE:
        return Check(
            "file system", "warn", f"{kind}: its content is lost on a restart", "Use a disk for data to keep."
        )
    return Check("file system", "ok", kind)


def file_system_type(path: str) -> str | None:
    """The type of the file system that holds a path, from /proc/self/mountinfo; None if that file is missing."""
    best: tuple[int, str] | None = None
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                before, _, after = line.partition(" - ")
                point = before.split(" ")[4].encode().decode("unicode_escape")
                inside = path == point or path.startswith(point.rstrip("/") + "/")
                if inside and (best is None or len(point) >= best[0]):
                    best = (len(point), after.split(" ")[0])
    except OSError:
        return None
    return best[1] if best else None


def _space(place: str) -> Check:
    found = os.statvfs(place)
    free_bytes, free_inodes = found.f_bavail * found.f_frsize, found.f_favail
    said = f"{free_bytes / 2**30:.1f} GiB and {free_inodes:,} inodes free"
    if free_bytes < FREE_BYTES_MIN or (found.f_files and free_inodes < FREE_INODES_MIN):
        return Check(
            "space", "warn", said, "Each manifest takes 3 inodes and at least 12 KiB: free some space."
        )
    return Check("space", "ok", said)


def _sync(scratch: str) -> Check:
    disk, times_ms = PosixDisk(), []
    with opened_directory(disk, scratch) as directory:
        fd = disk.open("sync", os.O_WRONLY | os.O_CREAT | os.O_APPEND, dir_fd=directory)
        try:
            disk.sync(directory)
            for _ in range(_SYNCS):
                write_whole(disk, fd, b"x" * 600)
                started = time.perf_counter()
                disk.sync_data(fd)
                times_ms.append((time.perf_counter() - started) * 1e3)
            disk.sync(fd)
        finally:
            disk.close(fd)
    return Check(
        "sync",
        "ok",
        f"fsync and fdatasync work; {sorted(times_ms)[_SYNCS // 2]:.2f} ms each (median of {_SYNCS})",
    )


def _rename(scratch: str) -> Check:
    disk = PosixDisk()
    with opened_directory(disk, scratch) as directory:
        replace_atomic(disk, directory, "name", "name.tmp", b"old")
        reader = disk.open("name", os.O_RDONLY, dir_fd=directory)
        try:
            replace_atomic(disk, directory, "name", "name.tmp", b"new")
            old = disk.read(reader, 10, 0)
        finally:
            disk.close(reader)
        fresh = disk.open("name", os.O_RDONLY, dir_fd=directory)
        try:
            new = disk.read(fresh, 10, 0)
        finally:
            disk.close(fresh)
    if (old, new) == (b"old", b"new"):
        return Check(
            "atomic rename", "ok", "an open file keeps the old content; the name leads to the new file"
        )
    return Check("atomic rename", "fail", f"a reader saw {old!r}, then {new!r}", "Use another file system.")


def _lock(scratch: str) -> Check:
    path = os.path.join(scratch, "lock")
    disk = PosixDisk()
    fd = disk.open(path, os.O_RDWR | os.O_CREAT)
    try:
        if not disk.lock(fd, 0):
            return Check(
                "lock between processes", "fail", "a new file is already locked", "Use another file system."
            )
        held = _other_process_gets(path)
    finally:
        disk.close(fd)
    free = _other_process_gets(path)
    if not held and free:
        return Check("lock between processes", "ok", "excludes another process; released on close")
    return Check(
        "lock between processes",
        "fail",
        "another process acquired a held lock" if held else "the lock was not released on close",
        "`flock` does not work here: use another file system.",
    )


def _other_process_gets(path: str) -> bool:
    run = subprocess.run(  # noqa: S603  # our own interpreter, our own script
        [sys.executable, "-c", _TRY_LOCK, path], check=False, timeout=60
    )
    return run.returncode == 0


def _clock(place: str, scratch: str) -> Check:
    now_ns = system_clock()
    with open(os.path.join(scratch, "now"), "wb"):
        pass
    apart_s = abs(os.stat(os.path.join(scratch, "now")).st_mtime_ns - now_ns) / 1e9
    said = f"{rfc3339(now_ns)}"
    if apart_s > 5:
        return Check(
            "clock",
            "warn",
            f"{said}, and the file system's differs by {apart_s:.0f} s",
            "Synchronize both by NTP.",
        )
    try:
        made = read_registry(PosixDisk(), place).created_at
    except RegistrationError:
        made = ""
    if rfc3339(now_ns) < made:
        return Check(
            "clock",
            "warn",
            f"{said} is before the registry's creation ({made})",
            "Set the clock: events never go back in time, so all get the time of the last one until the clock has caught up.",
        )
    return Check("clock", "ok", said)


def _registry(place: str) -> Check:
    if not os.path.lexists(os.path.join(place, layout.REGISTRY_FILE)):
        return Check("registry", "ok", "there is none here", "Make one.", Next(operation="init", id=place))
    found = read_registry(PosixDisk(), place)
    return Check("registry", "ok", f"{found.id}, format {layout.FORMAT}, lifecycle {found.definition!r}")


def _leftovers(place: str) -> Check:
    temporary = kept = 0
    for below in (*layout.LOG_AREAS, layout.QUARANTINE):
        for _, _, files in os.walk(os.path.join(place, below)):
            left = sum(name.endswith(layout.TEMPORARY_SUFFIX) for name in files)
            temporary += left
            kept += (len(files) - left) if below == layout.QUARANTINE else 0
    temporary += os.path.lexists(os.path.join(place, layout.REGISTRY_FILE + layout.TEMPORARY_SUFFIX))
    said = f"{temporary} temporary, {kept} in {layout.QUARANTINE}/"
    if temporary:
        return Check(
            "leftovers",
            "warn",
            said,
            "A writer was interrupted or is still running. Recover the registry.",
            Next(operation="recover"),
        )
    if kept:
        return Check("leftovers", "ok", said, "Remove its content once it is no longer needed.")
    return Check("leftovers", "ok", "none")


def _versions() -> Check:
    packages = [f"{name} {metadata.version(name)}" for name in ("registration", *DEPENDENCIES)]
    return Check("versions", "ok", ", ".join([f"Python {platform.python_version()}", *packages]))
