"""Records on files and in memory keep one contract; what files do besides: links, forks, leftovers, waiting.

The contract itself is `registration.testing.records_contract`.
"""

from __future__ import annotations

import errno
import os
import threading

import pytest

from registration.errors import LockTimeout, StoreError
from registration.storage.disk import PosixDisk
from registration.storage.files.records import FileRecords
from registration.storage.memory import MemoryRecords
from registration.storage.ports import Records
from registration.testing import RecordsContract, SimulatedDisk
from tests.kit.disks import ScriptedDisk, tree

KEY = ("leases", "manifests", "a.json")
FILE = "leases/manifests/a.json"


class TestFileRecords(RecordsContract):
    @pytest.fixture
    def open_records(self, tmp_path, restless_threads):
        return lambda: FileRecords(PosixDisk(), str(tmp_path))


class TestMemoryRecords(RecordsContract):
    @pytest.fixture
    def open_records(self, restless_threads):
        records = MemoryRecords()
        return lambda: records


def put(records: Records, data: bytes, key=KEY) -> None:
    with records.held(key) as cell:
        cell.write(data)


def files_in(root):
    return {name: what for name, what in tree(root).items() if isinstance(what, bytes)}


def test_a_record_is_one_file_of_its_owner(tmp_path):
    """Those very bytes, under that very name, for nobody else to read; nothing beside it."""
    put(FileRecords(PosixDisk(), str(tmp_path)), b"bytes")

    assert files_in(tmp_path) == {FILE: b"bytes"}
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "leases").stat().st_mode & 0o777 == 0o700


def test_a_record_in_the_root_is_a_file_in_the_root(tmp_path):
    """Such as `registry.json`."""
    records = FileRecords(PosixDisk(), str(tmp_path))

    put(records, b"bytes", ("registry.json",))

    assert files_in(tmp_path) == {"registry.json": b"bytes"}
    assert records.names() == ["registry.json"]


def test_looking_leaves_no_trace(tmp_path):
    """Reading, listing and holding without `create` make neither a file nor a directory; holding for nothing leaves no file."""
    records = FileRecords(PosixDisk(), str(tmp_path))

    assert records.read(KEY) is None
    assert records.names("leases", "manifests") == []
    with records.held(KEY, create=False) as cell:
        assert cell is None
    assert tree(tmp_path) == {}
    with records.held(KEY) as cell:
        assert cell.read() == b""

    assert files_in(tmp_path) == {}


def test_what_a_kill_left_is_no_record(tmp_path):
    """An empty file and a temporary one: they hold nothing, are in nobody's way, and are gone after the next write."""
    records = FileRecords(PosixDisk(), str(tmp_path))
    (tmp_path / "leases" / "manifests").mkdir(parents=True)
    (tmp_path / FILE).touch()
    (tmp_path / (FILE + ".tmp")).write_bytes(b"half of a rec")

    assert records.read(KEY) is None
    assert records.names(*KEY[:-1]) == []
    with records.held(KEY, create=False) as cell:
        assert cell is None
    put(records, b"bytes")

    assert files_in(tmp_path) == {FILE: b"bytes"}


def test_links_are_not_followed(tmp_path):
    """Neither to a file nor to a directory, wherever they lead."""
    records = FileRecords(PosixDisk(), str(tmp_path))
    put(records, b"bytes")
    os.rename(tmp_path / FILE, tmp_path / "elsewhere.json")
    os.symlink(tmp_path / "elsewhere.json", tmp_path / FILE)

    with pytest.raises(StoreError, match="symbolic link"):
        records.read(KEY)
    with pytest.raises(StoreError, match="symbolic link"):
        put(records, b"other")

    os.rename(tmp_path / "leases" / "manifests", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "leases" / "manifests")
    with pytest.raises(StoreError, match="symbolic link"):
        records.names("leases", "manifests")
    assert (tmp_path / "elsewhere.json").read_bytes() == b"bytes"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_plain_file_is_refused(tmp_path, make):
    """A directory or a pipe under a record's name is an error that names it, and never a wait without an end."""
    (tmp_path / "leases" / "manifests").mkdir(parents=True)
    make(tmp_path / FILE)

    with pytest.raises(StoreError, match=FILE):
        put(FileRecords(PosixDisk(), str(tmp_path)), b"bytes")


@pytest.mark.parametrize("key", [("..", "a"), ("a", "b/c"), ("a", ""), (".",), ("a\0",)])
def test_no_key_leads_out_of_the_root(tmp_path, key):
    """Keys are made of checked ids; one that isn't is our own mistake."""
    records = FileRecords(PosixDisk(), str(tmp_path))

    with pytest.raises(AssertionError):
        records.read(key)
    with pytest.raises(AssertionError):
        put(records, b"bytes", key)


def test_a_directory_that_is_gone_is_made_again(tmp_path):
    """Also where this process has made it before."""
    records = FileRecords(PosixDisk(), str(tmp_path))
    put(records, b"bytes")
    os.rename(tmp_path / "leases", tmp_path / "elsewhere")

    assert records.read(KEY) is None
    put(records, b"again")

    assert records.read(KEY) == b"again"


def test_a_waiter_that_locked_a_replaced_file_queues_anew(tmp_path):
    """Between opening and locking, another process replaced the record: its bytes are seen, not overwritten."""
    other, disk = FileRecords(PosixDisk(), str(tmp_path)), ScriptedDisk()
    put(other, b"1")
    records = FileRecords(disk, str(tmp_path))
    disk.before("lock", lambda: put(other, b"2"))

    with records.held(KEY) as cell:
        assert cell.read() == b"2"

    assert [call for call in disk.calls if call[0] == "lock"] == [("lock", "a.json")] * 2


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_new_file_is_locked_before_it_has_the_name(tmp_path, moment):
    """At the moment of the rename, and right after it, nobody else gets in."""
    other, disk = FileRecords(PosixDisk(), str(tmp_path)), ScriptedDisk()
    refused = []

    def try_it():
        with pytest.raises(LockTimeout), other.held(KEY, timeout_s=0):
            pass
        refused.append(True)

    getattr(disk, moment)("rename", try_it)

    put(FileRecords(disk, str(tmp_path)), b"bytes")

    assert refused == [True]


def test_replacing_often_opens_nothing_more(tmp_path):
    """A consumer that holds its record for days keeps one file open, not one for each write."""
    disk = ScriptedDisk()
    records = FileRecords(disk, str(tmp_path))
    open_after = []

    with records.held(KEY) as cell:
        for number in range(5):
            cell.write(b"%d" % number)
            done = [operation for operation, _ in disk.calls]
            open_after.append(done.count("open") - done.count("close"))

    assert set(open_after) == {open_after[0]}


@pytest.mark.parametrize("operation", ["write", "sync", "rename"])
def test_a_write_that_fails_changes_nothing(tmp_path, operation):
    """The old bytes stay, the record is still held, and no temporary file is left."""
    disk = ScriptedDisk()
    records = FileRecords(disk, str(tmp_path))
    put(records, b"old")
    disk.fail(operation, errno.ENOSPC, number=1)

    with records.held(KEY) as cell:
        with pytest.raises(StoreError, match="disk is full"):
            cell.write(b"new")
        with pytest.raises(LockTimeout), records.held(KEY, timeout_s=0):
            pass

        assert cell.read() == b"old"

    assert files_in(tmp_path) == {FILE: b"old"}


def test_only_the_holding_thread_holds_it(tmp_path):
    """What a commit may trust without a look: a record that its own thread holds, for as long as it does."""
    records = FileRecords(PosixDisk(), str(tmp_path))
    seen = []
    assert not records.holds(KEY)

    with records.held(KEY):
        assert records.holds(KEY)
        assert not records.holds(("leases", "manifests", "b.json"))
        thread = threading.Thread(target=lambda: seen.append(records.holds(KEY)))
        thread.start()
        thread.join()

    assert seen == [False]
    assert not records.holds(KEY)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12 warns of forks beside threads
@pytest.mark.parametrize("replaced", [False, True])
def test_a_forked_child_does_not_keep_the_lock(tmp_path, replaced):
    """It has a copy of the descriptor, also of one that a write has put in the place of the first, and closes it."""
    records = FileRecords(PosixDisk(), str(tmp_path))
    told, tell = os.pipe()
    with records.held(KEY) as cell:
        if replaced:
            cell.write(b"bytes")
        child = os.fork()
        if child == 0:
            os.close(tell)
            os.read(told, 1)  # lives on until the parent is done
            os._exit(1 if records.holds(KEY) else 0)
    try:
        with records.held(KEY, timeout_s=10) as cell:
            cell.write(b"free again")
    finally:
        os.close(tell)
        os.close(told)
        _, status = os.waitpid(child, 0)
    assert status == 0


def test_the_simulated_disk_keeps_others_out_as_well():
    """So that crash tests try the same idiom."""
    disk = SimulatedDisk()
    one, other = FileRecords(disk, "/"), FileRecords(disk, "/")

    with one.held(KEY) as cell:
        cell.write(b"1")
        with pytest.raises(LockTimeout), other.held(KEY, timeout_s=0):
            pass

    put(other, b"2")
    assert one.read(KEY) == b"2"
