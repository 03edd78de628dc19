"""Leases through power cuts, failing disks and kills: a number that somebody was told is never given out again.

On the simulated disk every change is interrupted at every system call, and each disk that may be found afterwards is opened.
Real processes race for one lease on a real disk, and are killed in the middle of it.
"""

from __future__ import annotations

import errno
import json
import logging
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from registration.engine.leases.leases import Leases, open_leases
from registration.errors import LeaseHeld, StaleFence, StoreError
from registration.pipeline.pipeline import RegistrationPipeline
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.files.backend import open_files
from registration.storage.files.records import FileRecords
from registration.storage.files.registry_file import RegistryFile
from registration.testing import FakeClock, Fault, PowerCut, SimulatedDisk
from registration.values.leases import Lease
from tests.kit.totals import counter

ROOT = "/registry"
KEY = "manifests/acme/weather@1.0"
STATES_MAX = 60
A_DAY_S = 86_400


@dataclass
class World:
    """One machine. told: the numbers that somebody was told; lease: the one that was told last."""

    disk: SimulatedDisk
    clock: FakeClock = field(default_factory=lambda: FakeClock(tick_ns=0))
    told: list[int] = field(default_factory=list)
    lease: Lease | None = None
    tokens: random.Random = field(default_factory=lambda: random.Random(1))

    def keeper(self) -> Leases:
        records = FileRecords(self.disk, ROOT)
        return Leases(records, clock=self.clock, host="h", randbytes=self.tokens.randbytes)

    def on(self, disk: SimulatedDisk) -> World:
        """The same people, another disk."""
        return World(disk, FakeClock(self.clock.now_ns, 0), list(self.told), self.lease, random.Random(2))

    def acquire(self) -> None:
        self.lease = self.keeper().acquire(KEY, holder="bea", ttl_s=60)
        self.told.append(self.lease.number)

    def renew(self) -> None:
        assert self.lease is not None
        self.lease = self.keeper().renew(self.lease, ttl_s=3_600)

    def release(self) -> None:
        assert self.lease is not None
        assert self.keeper().release(self.lease)

    def expire(self) -> None:
        self.clock.advance(60)

    def break_it(self) -> None:
        lease = self.keeper().break_lease(KEY, by="cyd", reason="gone home")
        self.told.append(lease.number + 1)  # the breaker's


CHANGES: dict[str, tuple[str, ...]] = {
    "the first acquire": ("acquire",),
    "acquire after a release": ("acquire", "release", "acquire"),
    "acquire after an expiry": ("acquire", "expire", "acquire"),
    "acquire after a break": ("acquire", "break_it", "acquire"),
    "renew": ("acquire", "renew"),
    "release": ("acquire", "release"),
    "break": ("acquire", "break_it"),
}
"""What is interrupted is the last of each."""


@pytest.fixture
def explored(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Call it for each disk that is opened; the sum is printed at the end of the run."""
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    yield one_more
    counter(request.config, "simulated crash and fault states of leases explored")(count)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def prepared(change: str) -> World:
    """A machine on which all that comes before a change was done."""
    disk = SimulatedDisk()
    disk.make_directory(ROOT, 0o700)
    with_root = disk.open("/", 0)
    disk.sync(with_root)
    world = World(disk)
    for step in CHANGES[change][:-1]:
        getattr(world, step)()
    return world.on(world.disk.killed())


def attempt(world: World, change: str) -> bool:
    """Whether the change was acknowledged."""
    try:
        getattr(world, CHANGES[change][-1])()
    except (PowerCut, StoreError):
        return False
    return True


def cuts(change: str) -> Iterator[tuple[World, bool]]:
    """The change with the power cut instead of each of its changing system calls, and after the last."""
    base = prepared(change)
    counted = base.on(base.disk.killed())
    assert attempt(counted, change)
    for number in range(1, counted.disk.operations + 1):
        world = base.on(base.disk.killed())
        world.disk.cut_at = number
        yield world, attempt(world, change)
    yield counted, True


def check_promise(world: World, change: str, *, acknowledged: bool) -> None:
    """Whoever comes next finds the old lease or the new one, whole, and gets a number that nobody was told."""
    keeper = world.keeper()
    found = keeper.find(KEY)
    if acknowledged:
        holds = CHANGES[change][-1] in ("acquire", "renew")
        assert found == (world.lease if holds else None)
    assert [lease.key for lease in keeper.list()] == ([KEY] if found else [])
    world.clock.advance(A_DAY_S)  # whatever holds has ended by then
    following = keeper.acquire(KEY, holder="dan", ttl_s=60)
    assert following.number > max(world.told, default=0)


@pytest.mark.sample
@pytest.mark.parametrize("change", CHANGES)
def test_a_power_cut_at_any_instruction_gives_no_number_twice(
    change: str, explored: Callable[[], None]
) -> None:
    """Whatever part of the unsynced bytes and names made it to the disk."""
    for world, acknowledged in cuts(change):
        for disk in world.disk.after_power_cut(random.Random(1), STATES_MAX):
            explored()

            check_promise(world.on(disk), change, acknowledged=acknowledged)


@pytest.mark.sample
@pytest.mark.parametrize("change", CHANGES)
def test_a_number_that_was_told_after_a_kill_survives_a_power_cut(
    change: str, explored: Callable[[], None]
) -> None:
    """A killed process leaves what only the page cache has: whoever is told a number on top of it can rely on it."""
    for world, _ in cuts(change):
        survivor = world.on(world.disk.killed())
        survivor.clock.advance(A_DAY_S)
        survivor.acquire()
        for disk in survivor.disk.after_power_cut(random.Random(1), STATES_MAX):
            explored()

            check_promise(survivor.on(disk), "the first acquire", acknowledged=True)


FAULTS = [
    Fault(operation, nth, number, evict=evict)
    for operation in ("open", "write", "sync", "rename", "make_directory", "read", "status", "lock", "names")
    for nth in (1, 2, 3, 4, 5)
    for number in ((None,) if operation == "write" and nth == 1 else (errno.EIO,))
    for evict in ((False, True) if operation == "sync" else (False,))
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_disk_that_fails_gives_no_number_twice(change: str, explored: Callable[[], None]) -> None:
    """Whatever system call fails: what is told then or later is on the disk, and greater than all that was told."""
    for fault in FAULTS:
        base = prepared(change)
        world = base.on(base.disk.killed())
        world.disk.fault = fault
        acknowledged = attempt(world, change)
        world.disk.fault = None
        explored()
        survivor = world.on(world.disk.killed())
        check_promise(survivor, change, acknowledged=acknowledged)
        last = survivor.keeper().find(KEY)
        assert last is not None
        for disk in survivor.disk.after_power_cut(random.Random(1), STATES_MAX):
            explored()
            found = survivor.on(disk)
            found.told = [*survivor.told, last.number]

            found.clock.advance(2 * A_DAY_S)

            assert found.keeper().acquire(KEY, holder="eve", ttl_s=60).number > max(found.told)


# -- claims --------------------------------------------------------------------------------------------------------


def claimed() -> SimulatedDisk:
    """A registry with one manifest that bea has claimed, by a process that is gone."""
    disk = SimulatedDisk()
    with opened(disk) as pipeline:
        pipeline.create("a", {})
        pipeline.work.claim("a", actor="bea")
    return disk.killed()


def opened(disk: SimulatedDisk) -> RegistrationPipeline:
    """The pipeline of a process on that disk, one second after the one before."""
    wanted = RegistryFile(
        "019b76da-a800-75b1-a522-4a58b791f1d8", "2026-01-01T00:00:00.000000Z", REGISTRATION.name
    )
    store = open_files(ROOT, REGISTRATION, wanted=wanted, disk=disk)
    return RegistrationPipeline(
        store=store, clock=FakeClock(tick_ns=1_000), random=random.Random(disk.operations), actor="cyd"
    )


def take_away(disk: SimulatedDisk) -> bool:
    try:
        with opened(disk) as pipeline:
            pipeline.work.break_claim("a", reason="on holiday")
    except (PowerCut, StoreError):
        return False
    return True


def test_a_claim_is_never_taken_away_without_an_event(explored: Callable[[], None]) -> None:
    """Interrupted anywhere: the claim holds, or the log says who took it away; doing it again finishes it."""
    base = claimed()
    counted = base.killed()
    assert take_away(counted)
    for number in range(1, counted.operations + 2):
        disk = base.killed()
        disk.cut_at = number
        acknowledged = take_away(disk)
        for found in disk.after_power_cut(random.Random(number), STATES_MAX):
            explored()
            with opened(found) as pipeline:
                events = [event.action for event in pipeline.history("a")]
                held = pipeline.work.claim_of("a")

                assert held is not None or events[-1] == "break_claim"
                assert not acknowledged or held is None
                if held is not None:
                    pipeline.work.break_claim("a", reason="once more")
                state = pipeline.load_state("a")
                assert state.fence is not None
                assert pipeline.work.claim("a", actor="dan").number > state.fence["number"]
                with pytest.raises(StaleFence):
                    pipeline.submit_for_review("a", actor="bea", fence=1)
                assert pipeline.submit_for_review("a", actor="dan").snapshot.state == "REVIEWED"


# -- real processes ------------------------------------------------------------------------------------------------

# Takes the lease again and again. What it was given, and when it lets go, stands in its own file, each line by one write.
RACER = """
import os, sys, time
from registration.errors import LeaseHeld
from registration.engine.leases.leases import open_leases
from registration.values.times import rfc3339

root, name, path, rounds, ttl_s = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
keeper = open_leases(root)
said = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
print("ready", flush=True)
sys.stdin.readline()
while rounds:
    try:
        lease = keeper.acquire("manifests/a", holder=name, ttl_s=ttl_s)
    except LeaseHeld:
        continue
    os.write(said, f"got {lease.number} {lease.since}\\n".encode())
    rounds -= 1
    let_go = rfc3339(time.time_ns())
    if keeper.release(lease):
        os.write(said, f"gone {lease.number} {let_go}\\n".encode())
"""


def start(root, name, path, rounds, *, ttl_s):
    return subprocess.Popen(
        [sys.executable, "-c", RACER, str(root), name, str(path), str(rounds), str(ttl_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def go(racers):
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()


def said_in(directory):
    """What all racers said: by number, since when somebody had it, and until when its holder had it for sure."""
    told, until = [], {}
    for path in directory.glob("said *"):
        for line in path.read_text().splitlines():
            what, number, time = line.split()
            if what == "got":
                told.append((int(number), time))
            else:
                until[int(number)] = time
    return sorted(told), until


def test_processes_that_race_hold_it_one_at_a_time(tmp_path):
    """Of four processes one holds it, and nobody has a number before the one with the last number let go.

    However long the machine lets one of them wait: no lease ends by its time.
    """
    racers = [start(tmp_path, f"racer {n}", tmp_path / f"said {n}", 30, ttl_s=86_400) for n in range(4)]
    go(racers)
    for racer in racers:
        assert (racer.communicate()[1], racer.returncode) == ("", 0)

    told, until = said_in(tmp_path)

    numbers = [number for number, _ in told]
    assert numbers == list(range(1, 4 * 30 + 1))
    assert set(until) == set(numbers)
    assert all(until[number - 1] <= since for number, since in told if number > 1)
    assert open_leases(tmp_path).find("manifests/a") is None


def test_processes_that_are_killed_keep_nobody_out_and_no_number_comes_back(tmp_path):
    """Fifteen holders are killed at any moment: the lease ends by its time, and every number was told once."""
    moments = random.Random(1)
    for round in range(5):
        said = [tmp_path / f"said {round} {n}" for n in range(3)]
        racers = [start(tmp_path, f"r{n}", said[n], 10**6, ttl_s=0.5) for n in range(3)]
        go(racers)
        while not any(path.stat().st_size for path in said):  # each opened its own before it was ready
            time.sleep(0.001)
        for racer in racers:
            time.sleep(moments.uniform(0.01, 0.08))
            racer.kill()
            assert racer.wait() == -signal.SIGKILL
            racer.communicate()
    keeper = open_leases(tmp_path)

    last = None
    while last is None:
        with suppress(LeaseHeld):
            last = keeper.acquire("manifests/a", holder="dan", ttl_s=90)

    told, _ = said_in(tmp_path)
    numbers = [number for number, _ in told]
    assert len(numbers) >= 5
    assert len(set(numbers)) == len(numbers)
    assert last.number > max(numbers)
    assert [since for _, since in told] == sorted(since for _, since in told)  # later numbers came later
    assert json.loads((tmp_path / "leases" / "manifests" / "a.json").read_bytes())["number"] == last.number
