"""The disk: locks that exclude, names that appear whole, and nothing left behind by those who gave up."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from registration.errors import StoreError
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage import disk as disk_module
from registration.storage.disk import (
    PosixDisk,
    ensure_directory,
    failures_named,
    is_file,
    opened_directory,
    read_span,
    read_whole,
    replace_atomic,
    write_whole,
)
from registration.storage.files.backend import open_files
from registration.testing.contract import append
from tests.kit.disks import LOG, ScriptedDisk

DISK = PosixDisk()

# Takes the lock, says so, and holds it until it is told to let go.
HOLDER = """
import os, sys
from registration.storage.disk import PosixDisk
disk = PosixDisk()
fd = disk.open(sys.argv[1], os.O_RDWR)
assert disk.lock(fd, 60)
print("locked", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path):
    """A file to lock."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    return str(path)


@pytest.fixture
def directory(tmp_path):
    """A descriptor of an empty directory."""
    (tmp_path / "directory").mkdir()
    with opened_directory(DISK, str(tmp_path / "directory")) as fd:
        yield fd


@pytest.fixture
def opened(path):
    """Open the file to lock, as often as wanted."""
    fds = []

    def opened():
        fds.append(DISK.open(path, os.O_RDWR))
        return fds[-1]

    yield opened
    for fd in fds:
        DISK.close(fd)


def is_locked(path):
    """Whether anybody holds the lock of a file."""
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_for_waiters(count):
    """Until so many threads are waiting for a lock in the kernel."""
    while sum(thread.name == "registration-lock" for thread in threading.enumerate()) != count:
        time.sleep(0.001)


# -- locks -------------------------------------------------------------------------------------------


def test_a_free_lock_is_taken_at_once(path, opened):
    """A lock that nobody holds is had without a wait, and ends with its descriptor."""
    fd = DISK.open(path, os.O_RDWR)

    assert DISK.lock(fd, 0) is True
    assert is_locked(path)
    DISK.close(fd)
    assert not is_locked(path)


@pytest.mark.parametrize("timeout_s", [0, 0.01])
def test_a_lock_that_is_held_is_not_taken(path, opened, timeout_s):
    """Whoever can't have the lock in time gets False, and the holder keeps it."""
    holder, other = opened(), opened()
    DISK.lock(holder, 0)

    assert DISK.lock(other, timeout_s) is False
    assert is_locked(path)


def test_a_lock_excludes_threads(opened):
    """Of many threads that take turns under the lock, no two are ever inside at once."""
    inside, together, turns = [], [], []

    def work():
        for _ in range(20):
            fd = opened()
            assert DISK.lock(fd, 60)
            inside.append(fd)
            together.append(len(inside))
            time.sleep(0)
            inside.remove(fd)
            fcntl.flock(fd, fcntl.LOCK_UN)
            turns.append(fd)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(turns) == 160
    assert set(together) == {1}


def test_a_lock_excludes_processes(path, opened):
    """A lock held by another process is not had before that process lets go, or is gone."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "locked\n"

        assert DISK.lock(opened(), 0) is False
        assert DISK.lock(opened(), 0.01) is False
        holder.kill()
        assert DISK.lock(opened(), 60) is True


def test_whoever_waits_gets_the_lock_when_it_is_free(path, opened):
    """A waiter has the lock as soon as its holder lets go, through its own descriptor."""
    holder, waiter = DISK.open(path, os.O_RDWR), opened()
    DISK.lock(holder, 0)
    got = []
    thread = threading.Thread(target=lambda: got.append(DISK.lock(waiter, 60)))
    thread.start()
    wait_for_waiters(1)

    DISK.close(holder)
    thread.join()

    assert got == [True]
    assert is_locked(path)
    wait_for_waiters(0)
    assert is_locked(path)


def test_whoever_gave_up_leaves_no_lock_behind(path, opened):
    """The thread that still waits for somebody who gave up lets go of the lock as soon as it has it."""
    holder, waiter = DISK.open(path, os.O_RDWR), opened()
    DISK.lock(holder, 0)

    assert DISK.lock(waiter, 0.01) is False
    DISK.close(holder)

    wait_for_waiters(0)
    assert not is_locked(path)


def test_an_interrupted_wait_leaves_no_lock_behind(path, opened, monkeypatch):
    """Ctrl-C while waiting gives up like a timeout does."""
    holder, waiter = DISK.open(path, os.O_RDWR), opened()
    DISK.lock(holder, 0)

    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    stand_in = SimpleNamespace(Event=Interrupted, Lock=threading.Lock, Thread=threading.Thread)
    monkeypatch.setattr(disk_module, "threading", stand_in)
    with pytest.raises(KeyboardInterrupt):
        DISK.lock(waiter, 60)
    DISK.close(holder)

    wait_for_waiters(0)
    assert not is_locked(path)


@pytest.mark.parametrize("held", [False, True], ids=["at once", "while waiting"])
def test_a_lock_that_can_not_be_had_at_all_is_an_error(opened, monkeypatch, held):
    """Where the file system has no locks, that is an error and not a lock."""
    import portalocker

    def refuse(_fd, _flags):
        if held:
            raise BlockingIOError
        raise OSError(errno.EOPNOTSUPP, "no locks available")

    def refuse_to_wait(_fd, _flags):
        raise portalocker.LockException("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(portalocker, "lock", refuse_to_wait)

    with pytest.raises(OSError, match="no locks available") as caught:
        DISK.lock(opened(), 60)

    assert caught.value.errno == errno.ENOLCK


def test_a_waiter_follows_a_log_that_was_replaced(root):
    """A writer that waited for the lock of a log that a copy tool has replaced writes to the new file."""
    store = open_files(root, REGISTRATION, wanted=_wanted())
    append(store, "a")
    log = root / "manifests" / "a" / LOG
    holder = DISK.open(str(log), os.O_RDWR)
    DISK.lock(holder, 0)
    writer = threading.Thread(target=append, args=(store, "a"))
    writer.start()
    wait_for_waiters(1)

    shutil.copy(log, f"{log}.copy")
    os.rename(f"{log}.copy", log)
    DISK.close(holder)
    writer.join()

    assert len(log.read_bytes().splitlines()) == 2
    assert len(list(store.read("a"))) == 2


def _wanted():
    from registration.storage.files.registry_file import RegistryFile

    return RegistryFile(
        "019b76da-a800-7000-8000-000000000001", "2026-01-01T00:00:00.000000Z", REGISTRATION.name
    )


# -- opening -----------------------------------------------------------------------------------------------


def test_no_link_is_opened(tmp_path, path):
    """A symbolic link is refused where a file or a directory is opened."""
    (tmp_path / "to file").symlink_to(path)
    (tmp_path / "to directory").symlink_to(tmp_path)

    with pytest.raises(OSError, match="symbolic links"):
        DISK.open(str(tmp_path / "to file"), os.O_RDONLY)
    with pytest.raises(NotADirectoryError), opened_directory(DISK, str(tmp_path / "to directory")):
        pass
    assert not is_file(DISK.status_at(str(tmp_path / "to file")))


def test_a_pipe_does_not_keep_anybody_waiting(tmp_path):
    """Opening a pipe that nobody writes to returns at once, and it is no file."""
    os.mkfifo(tmp_path / "pipe")

    fd = DISK.open(str(tmp_path / "pipe"), os.O_RDONLY)

    assert not is_file(DISK.status(fd))
    assert read_whole(DISK, fd) == b""
    DISK.close(fd)


def test_descriptors_are_closed_on_exec(path, opened):
    """No child process inherits a descriptor, and with it a lock."""
    assert not os.get_inheritable(opened())


# -- writing and reading --------------------------------------------------------------------------------------


def test_what_is_written_whole_is_read_whole(path, opened):
    """All bytes go out and come back, from any offset."""
    fd, data = opened(), bytes(range(256)) * 10_000

    write_whole(DISK, fd, data)

    assert read_whole(DISK, fd) == data
    assert read_whole(DISK, fd, 1_000_000) == data[1_000_000:]
    assert read_span(DISK, fd, 10, 20) == data[10:20]
    assert read_span(DISK, fd, len(data) - 1, len(data) + 10) == data[-1:]
    assert read_span(DISK, fd, 5, 5) == b""


def test_a_write_that_takes_nothing_is_an_error(opened):
    """A disk that takes no byte, and raises nothing either, is not asked for ever."""
    disk = ScriptedDisk()
    disk.shorten("write", 0, times=1_000)

    with pytest.raises(OSError, match="wrote 0 bytes"):
        write_whole(disk, opened(), b"data")


def test_a_file_is_replaced_whole(directory):
    """After `replace_atomic` the name holds the new bytes, and the temporary name is gone."""
    replace_atomic(DISK, directory, "name", "name.tmp", b"old")

    replace_atomic(DISK, directory, "name", "name.tmp", b"new")

    assert os.listdir(directory) == ["name"]
    assert _content(directory, "name") == b"new"


def test_a_file_is_synced_before_it_gets_its_name(directory):
    """A power cut after the rename can't show an empty file."""
    disk = ScriptedDisk()

    replace_atomic(disk, directory, "name", "name.tmp", b"new")

    assert [operation for operation, _ in disk.calls] == ["open", "write", "sync", "close", "rename"]


@pytest.mark.parametrize("operation", ["open", "write", "sync", "rename"])
def test_a_replacement_that_fails_leaves_the_old_file(directory, operation):
    """Whichever step fails, the name holds the old bytes, and the next try works."""
    replace_atomic(DISK, directory, "name", "name.tmp", b"old")
    disk = ScriptedDisk()
    disk.fail(operation, errno.EIO)

    with pytest.raises(OSError, match="Input/output error"):
        replace_atomic(disk, directory, "name", "name.tmp", b"new, and longer")

    assert _content(directory, "name") == b"old"
    replace_atomic(disk, directory, "name", "name.tmp", b"new")
    assert _content(directory, "name") == b"new"
    assert os.listdir(directory) == ["name"]


def test_what_close_says_after_a_good_sync_is_no_failure(directory):
    """The bytes are on the disk by then, so the replacement stands."""
    disk = ScriptedDisk()
    disk.fail("close", errno.EIO)

    replace_atomic(disk, directory, "name", "name.tmp", b"new")

    assert _content(directory, "name") == b"new"


def test_readers_never_see_half_a_replacement(directory):
    """While a file is replaced again and again, whoever opens it finds one content or the other, whole."""
    contents = {b"a" * 5_000, b"b" * 9_000}
    replace_atomic(DISK, directory, "name", "name.tmp", b"a" * 5_000)
    done, seen = threading.Event(), set()

    def look():
        while not done.is_set():
            seen.add(_content(directory, "name"))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for _ in range(50):
            for content in contents:
                replace_atomic(DISK, directory, "name", "name.tmp", content)
    finally:
        done.set()
        reader.join()

    assert seen <= contents


def test_a_directory_is_synced_whoever_made_it(directory):
    """`ensure_directory` syncs the parent also where the directory was there: its maker may have died."""
    for _ in range(2):
        disk = ScriptedDisk()

        ensure_directory(disk, "child", dir_fd=directory)

        assert [operation for operation, _ in disk.calls] == ["make_directory", "sync"]


def test_failures_are_named():
    """What the system says becomes a `StoreError` with the file, the number and the next step; nothing else does."""
    with pytest.raises(StoreError) as caught, failures_named("writing", "manifests/a/events.jsonl"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(ValueError, match="ours"), failures_named("writing", "a file"):
        raise ValueError("ours")

    assert str(caught.value) == (
        "writing manifests/a/events.jsonl failed: No space left on device. "
        "The disk is full: free some space, then retry."
    )
    assert caught.value.details == {"path": "manifests/a/events.jsonl", "errno": errno.ENOSPC}
    assert isinstance(caught.value.__cause__, OSError)


def _content(directory, name):
    fd = DISK.open(name, os.O_RDONLY, dir_fd=directory)
    try:
        return read_whole(DISK, fd)
    finally:
        DISK.close(fd)
