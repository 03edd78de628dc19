"""Replaced files: let go of in the background, never many of them, and by nobody for long."""

from __future__ import annotations

import os
import threading
import time

import pytest

from registration.storage.disk import PosixDisk, opened_directory, replace_atomic
from registration.storage.freeing import HELD_MAX, Freeing


def deleted(directory):
    """The descriptors of this process whose file in `directory` has lost its name."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith(str(directory)) and target.endswith(" (deleted)"):
            found.append(int(fd))
    return found


def until(done):
    """Wait for it, for a minute at most."""
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def replace(directory, times):
    disk = PosixDisk()
    with opened_directory(disk, str(directory)) as fd:
        for number in range(times):
            replace_atomic(disk, fd, "name", "name.tmp", b"%d" % number)


def test_what_was_replaced_is_let_go_of_before_long(tmp_path):
    """Whoever replaces it doesn't wait; a little later nothing is held."""
    replace(tmp_path, 5)

    until(lambda: deleted(tmp_path) == [])
    assert (tmp_path / "name").read_bytes() == b"4"
    assert list(tmp_path.iterdir()) == [tmp_path / "name"]


def test_never_more_than_a_few_are_held(tmp_path, monkeypatch):
    """Also where the thread gets no turn."""
    mine = Freeing(pause_s=3_600.0)
    monkeypatch.setattr("registration.storage.disk.FREEING", mine)
    replace(tmp_path, HELD_MAX + 50)

    assert len(deleted(tmp_path)) == HELD_MAX
    mine.flush()
    assert deleted(tmp_path) == []


def test_a_file_that_could_not_be_replaced_is_let_go_of_as_well(tmp_path):
    """The rename fails, and nothing stays open."""
    (tmp_path / "name").write_bytes(b"old")
    with opened_directory(PosixDisk(), str(tmp_path)) as fd, pytest.raises(FileNotFoundError):
        PosixDisk().rename("missing", "name", dir_fd=fd)

    until(lambda: not any(is_open_at(fd, tmp_path / "name") for fd in os.listdir("/proc/self/fd")))
    assert (tmp_path / "name").read_bytes() == b"old"


def is_open_at(fd, path):
    """Whether a descriptor of this process is of that file; what another thread closes meanwhile is not."""
    try:
        return os.path.samestat(os.fstat(int(fd)), path.stat())
    except OSError:
        return False


def test_the_thread_ends_when_there_is_nothing_to_do_and_comes_again(tmp_path):
    """One for each time that something happens."""
    mine = Freeing(pause_s=0.001, idle_s=0.01)
    for _ in range(2):
        (tmp_path / "file").write_bytes(b"")
        mine.add(os.open(tmp_path / "file", os.O_RDONLY))
        (tmp_path / "file").unlink()
        until(lambda: deleted(tmp_path) == [] and mine._thread is None)


def test_where_no_thread_can_be_had_it_is_done_at_once(tmp_path, monkeypatch):
    """At the end of a process, say."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    mine = Freeing()
    (tmp_path / "file").write_bytes(b"")
    mine.add(os.open(tmp_path / "file", os.O_RDONLY))
    (tmp_path / "file").unlink()

    assert deleted(tmp_path) == []


def test_a_forked_child_lets_go_of_its_own(tmp_path, monkeypatch):
    """It has no thread, and a descriptor of each."""
    mine = Freeing(pause_s=3_600.0)
    monkeypatch.setattr("registration.storage.disk.FREEING", mine)
    replace(tmp_path, 4)
    held = len(deleted(tmp_path))
    mine._changing.acquire()
    child = os.fork()
    if child == 0:
        mine.forget()
        left = len(deleted(tmp_path))
        replace(tmp_path, 1)
        os._exit(left)
    mine._changing.release()

    assert (held, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) == (3, 0)
    assert len(deleted(tmp_path)) == 3
    mine.flush()
