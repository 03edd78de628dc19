"""Replaced files: let go of in the background, never many of them, and by nobody for long."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import suppress

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
        assert mine.take_place()
        mine.add(os.open(tmp_path / "file", os.O_RDONLY))
        (tmp_path / "file").unlink()
        until(lambda: deleted(tmp_path) == [] and mine._thread is None)


def test_where_no_thread_can_be_had_it_is_done_at_once(tmp_path, monkeypatch):
    """At the end of a process, say."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    mine = Freeing()
    assert mine.take_place()
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


AT_ITS_LIMIT = """
import os, resource, sys, threading
from registration import RegistrationPipeline

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
failed = []

def work(pipeline, thread):
    for number in range(12):
        id = f"m{thread}-{number}"
        try:
            pipeline.create(id, {"name": id})
            pipeline.submit_for_review(id)
        except Exception as error:
            failed.append(str(error))

with RegistrationPipeline(sys.argv[1], actor="ada") as pipeline:
    threads = [threading.Thread(target=work, args=(pipeline, number)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(len(failed), failed[:3])
"""


def test_sixteen_threads_have_enough_of_sixty_four_descriptors(tmp_path):
    """Replaced files once took so many of them that a tenth of the commands failed. A snapshot may have to wait."""
    run = subprocess.run(
        [sys.executable, "-c", AT_ITS_LIMIT, str(tmp_path / "registry")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert run.stdout == "0 []\n"
    assert all("writing the snapshot failed and is retried later" in line for line in run.stderr.splitlines())


def test_a_process_at_its_limit_gets_the_descriptors_of_replaced_files(tmp_path, monkeypatch):
    """Where none is left, those are closed at once, and the file is opened after all."""
    mine = Freeing(pause_s=3_600.0)
    monkeypatch.setattr("registration.storage.disk.FREEING", mine)
    replace(tmp_path, 4)
    held = deleted(tmp_path)
    limit, taken = resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, limit[1]))

    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        opened = PosixDisk().open(str(tmp_path / "name"), os.O_RDONLY)
        taken.append(opened)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        for fd in taken:
            os.close(fd)

    assert len(held) == 3
    assert opened in held
    assert deleted(tmp_path) == []


def test_replaced_files_have_a_share_of_the_descriptors(tmp_path, monkeypatch):
    """Two of sixty-four, none of thirty; a file that gets no place is replaced all the same."""
    mine = Freeing(pause_s=3_600.0)
    monkeypatch.setattr("registration.storage.disk.FREEING", mine)
    for limit, held in ((30, 0), (64, 2), (1 << 20, HELD_MAX)):
        monkeypatch.setattr("resource.getrlimit", lambda _, limit=limit: (limit, limit))
        replace(tmp_path, HELD_MAX + 5)

        assert len(deleted(tmp_path)) == held
        assert (tmp_path / "name").read_bytes() == b"%d" % (HELD_MAX + 4)
        mine.flush()
