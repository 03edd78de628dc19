"""Records through power cuts, kills and failing disks: the old bytes or the new ones, whole, and acknowledged ones for good.

On the simulated disk every change is interrupted at every system call, and each disk that may be found afterwards is opened.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator

import pytest

from registration.errors import LockTimeout, StoreError
from registration.storage.files.records import FileRecords
from registration.testing import Fault, PowerCut, SimulatedDisk
from tests.kit.totals import counter

ROOT = "/registry"
KEY = ("names", "acme%2Fweather", "1.0.json")
OLD, NEW, NEXT = b"old" * 60, b"new" * 100, b"next" * 30  # of more than one block, so that they can be torn
STATES_MAX = 80

Change = Callable[[FileRecords], None]


def write(records: FileRecords) -> None:
    with records.held(KEY) as cell:
        assert cell is not None
        cell.write(NEW)


def write_for_now(records: FileRecords) -> None:
    with records.held(KEY) as cell:
        assert cell is not None
        cell.write(NEW, durable=False)


def remove(records: FileRecords) -> None:
    with records.held(KEY) as cell:
        assert cell is not None
        cell.remove()


def remove_and_write(records: FileRecords) -> None:
    with records.held(KEY) as cell:
        assert cell is not None
        cell.remove()
        cell.write(NEW)


def write_twice(records: FileRecords) -> None:
    with records.held(KEY) as cell:
        assert cell is not None
        cell.write(OLD)
        cell.write(NEW)


CASES: dict[str, tuple[bytes | None, Change, bytes | None]] = {
    "the first write": (None, write, NEW),
    "a replacement": (OLD, write, NEW),
    "a replacement for now": (OLD, write_for_now, NEW),
    "a removal": (OLD, remove, None),
    "a removal and a write": (OLD, remove_and_write, NEW),
    "two writes": (None, write_twice, NEW),
}
"""What it held before, what is interrupted, and what it holds when that was acknowledged."""


@pytest.fixture
def explored(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Call it for each disk that is opened; the sum is printed at the end of the run."""
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    yield one_more
    counter(request.config, "simulated crash and fault states of records explored")(count)


def prepared(before: bytes | None) -> SimulatedDisk:
    """A disk that holds those bytes, durably."""
    disk = SimulatedDisk()
    disk.make_directory(ROOT, 0o700)
    disk.sync(disk.open("/", 0))
    if before is not None:
        with FileRecords(disk, ROOT).held(KEY) as cell:
            assert cell is not None
            cell.write(before)
    return disk.killed()


def attempt(disk: SimulatedDisk, change: Change) -> bool:
    """Whether the change was acknowledged."""
    try:
        change(FileRecords(disk, ROOT, lock_timeout_s=0))
    except (PowerCut, StoreError):
        return False
    return True


def cuts(name: str) -> Iterator[tuple[SimulatedDisk, bool]]:
    """The change with the power cut instead of each of its changing system calls, and after the last."""
    before, change, _ = CASES[name]
    base = prepared(before)
    counted = base.killed()
    assert attempt(counted, change)
    for number in range(1, counted.operations + 1):
        disk = base.killed()
        disk.cut_at = number
        yield disk, attempt(disk, change)
    yield counted, True


def check(disk: SimulatedDisk, name: str, *, acknowledged: bool) -> None:
    """The old bytes or the new; those that were acknowledged, but for what need not last; and the next writer goes on."""
    before, change, after = CASES[name]
    records = FileRecords(disk, ROOT)
    found = records.read(KEY)
    legal = (
        {before, after}
        | ({OLD} if change is write_twice else set())
        | ({None} if change is remove_and_write else set())
    )
    lasts = acknowledged and change not in (remove, write_for_now)
    assert found in ({after} if lasts else legal)
    assert records.names(*KEY[:-1]) == ([KEY[-1]] if found else [])
    with records.held(KEY, timeout_s=0) as cell:
        assert cell is not None
        assert cell.read() == (found or b"")
        cell.write(NEXT)
    assert [path for path in disk.tree() if path.startswith(ROOT)] == ["/".join((ROOT, *KEY))]
    for later in disk.after_power_cut(random.Random(1), 8):
        assert FileRecords(later, ROOT).read(KEY) == NEXT


@pytest.mark.parametrize("name", CASES)
def test_a_power_cut_at_any_instruction_leaves_old_or_new(name: str, explored: Callable[[], None]) -> None:
    """Whatever part of the unsynced bytes and names made it to the disk; and after a kill, where all of it did."""
    for disk, acknowledged in cuts(name):
        explored()
        check(disk.killed(), name, acknowledged=acknowledged)
        for found in disk.after_power_cut(random.Random(1), STATES_MAX):
            explored()

            check(found, name, acknowledged=acknowledged)


FAULTS = [
    Fault(operation, nth, number, forever=forever, evict=evict)
    for operation in (
        "open", "write", "sync", "rename", "make_directory", "read", "status", "status_at", "lock", "truncate", "unlink", "close",
    )
    for nth in (1, 2, 3, 4, 5, 6)
    for number in ((None, errno.ENOSPC) if operation == "write" else (errno.EIO,))
    for forever in (False, True)
    for evict in ((False, True) if operation == "sync" else (False,))
]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_disk_that_fails_leaves_old_or_new(name: str, explored: Callable[[], None]) -> None:
    """Whatever system call fails, once or from then on; in the process that met it, in the next, and after a power cut."""
    before, change, _ = CASES[name]
    base = prepared(before)
    for fault in FAULTS:
        disk = base.killed()
        disk.fault = fault
        try:
            acknowledged = attempt(disk, change)
        except LockTimeout:  # what `lock` says in vain is no error, and nothing was done
            acknowledged = False
        disk.fault = None
        explored()
        for found in disk.after_power_cut(random.Random(1), 12):
            explored()

            check(found, name, acknowledged=acknowledged)
        check(disk.killed(), name, acknowledged=acknowledged)
        check(disk, name, acknowledged=acknowledged)
