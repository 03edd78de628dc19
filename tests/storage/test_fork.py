"""A process that forks while it writes: the child keeps nobody out."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from registration import RegistrationPipeline
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.files.backend import open_files


class PausingDisk(PosixDisk):
    """A disk whose sync waits until it is told to go on, so that somebody can fork meanwhile."""

    def __init__(self) -> None:
        self.syncing = threading.Event()
        self.go_on = threading.Event()

    def sync_data(self, fd: int) -> None:
        self.syncing.set()
        assert self.go_on.wait(60)
        super().sync_data(fd)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12 warns of forks beside threads
def test_a_forked_child_does_not_keep_the_lock(root: Path) -> None:
    """A child that lives on has a copy of every descriptor; those that hold a lock are closed in it."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("a", {"name": "a"})
    disk = PausingDisk()
    slow = RegistrationPipeline(store=open_files(root, REGISTRATION, disk=disk), actor="ada")
    writer = threading.Thread(target=slow.submit_for_review, args=["a"])
    writer.start()
    assert disk.syncing.wait(60)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        os.read(told, 1)  # lives on until the parent is done
        os._exit(0)
    try:
        disk.go_on.set()
        writer.join()

        approved = RegistrationPipeline(root, actor="bea", lock_timeout_s=5).approve("a")
    finally:
        os.close(tell)
        os.close(told)
        os.waitpid(child, 0)

    assert approved.snapshot.version == 3
