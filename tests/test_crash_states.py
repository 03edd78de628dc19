"""Power cuts, kills and failing disks, all of them: every operation, at every system call, in every legal aftermath.

A simulated disk (`registration.testing.simulated_disk`) keeps what programs see apart from what has been synced. Here
every operation of the registry is run on it, and interrupted everywhere; each disk that may be found afterwards is
opened, and must tell one of two stories: the operation happened, or it didn't. Where it was acknowledged, it happened.

How many states were explored is printed at the end of the test run.
"""

from __future__ import annotations

import errno
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from registration.core.codec import encode_snapshot, seal
from registration.core.decider import fold
from registration.engine import Engine
from registration.errors import CorruptLog, LockTimeout, NotFound, RegistrationError, StoreError
from registration.layout import directory_of
from registration.lifecycles.registration import REGISTRATION
from registration.pipeline import RegistrationPipeline
from registration.stores.files import FileStore
from registration.stores.registry_file import RegistryFile
from registration.testing import FakeClock
from registration.testing.simulated_disk import Fault, PowerCut, SimulatedDisk
from registration.values.events import NewEvent
from registration.values.snapshots import Position, StateSnapshot
from registration.verification import verify_files
from tests.totals import counter

ROOT = "/registry"
REGISTRY = RegistryFile("019b76da-a800-75b1-a522-4a58b791f1d8", "2026-01-01T00:00:00.000000Z", "registration")
ID = "acme/weather@1.0"
DOCUMENT = {"name": "acme/weather", "version": "1.0", "notes": "n" * 300}
REVISED = {"name": "acme/weather", "version": "1.0", "notes": "r" * 700}

STATES_MAX = 40
"""How many of the disks that one interruption may leave are looked at, where there are more."""


def open_pipeline(disk: SimulatedDisk, *, make: bool = True) -> RegistrationPipeline:
    store = FileStore(ROOT, REGISTRATION, wanted=REGISTRY if make else None, disk=disk)
    return RegistrationPipeline(store=store, clock=FakeClock(), random=random.Random(1), actor="ada")


def append_batch(pipeline: RegistrationPipeline) -> None:
    """Three events of one command, as a definition with compound commands would write them."""
    store: FileStore = pipeline._store  # type: ignore[assignment]
    before = store.load(ID)
    moves = [
        ("submit_for_review", "DRAFT", "REVIEWED"),
        ("reject", "REVIEWED", "DRAFT"),
        ("revise", "DRAFT", "DRAFT"),
    ]
    new = [
        NewEvent(
            id=f"00000000-0000-7000-8000-00000000000{number}",
            type=REGISTRATION.event_type(action),
            time="2027-01-01T00:00:00.000000Z",
            data={"action": action, "from": source, "to": target, "actor": "ada", "comment": "c" * 200},
            correlation_id="batch",
        )
        for number, (action, source, target) in enumerate(moves)
    ]
    after = before.position if before else Position()
    events = seal(new, stream=ID, source=store.source, after=after)
    state = fold(REGISTRATION, before, events)
    assert state is not None
    store.append(ID, after, events, state)


@dataclass(frozen=True)
class Operation:
    """name; what comes before it, in order; what it does; by how many versions it moves the manifest on."""

    name: str
    before: tuple[str, ...]
    run: Callable[[RegistrationPipeline], object]
    moves: int = 1


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("create", (), lambda p: p.create(ID, DOCUMENT)),
        Operation("revise", ("create",), lambda p: p.revise(ID, REVISED)),
        Operation("submit", ("create",), lambda p: p.submit_for_review(ID)),
        Operation("approve", ("create", "submit"), lambda p: p.approve(ID)),
        Operation("reject", ("create", "submit"), lambda p: p.reject(ID, reason="no licence")),
        Operation("register", ("create", "submit", "approve"), lambda p: p.register(ID)),
        Operation("batch", ("create",), append_batch, moves=3),
        Operation("recover", ("create", "revise", "submit"), lambda p: p.recover_from_events(ID), moves=0),
        Operation("persist", ("create", "submit"), lambda p: p.persist_state(ID, p.load_state(ID)), moves=0),
    )
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What is healed is logged, many thousand times here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def explored(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Call it for each disk that is opened; the sum is printed at the end of the run."""
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    yield one_more
    counter(request.config, "simulated crash and fault states explored")(count)


def prepared(operation: Operation) -> SimulatedDisk:
    """A disk on which all that comes before an operation was done, by a process that is gone."""
    disk = SimulatedDisk()
    with open_pipeline(disk) as pipeline:
        for name in operation.before:
            OPERATIONS[name].run(pipeline)
    return disk.killed()


def version_before(operation: Operation) -> int:
    return sum(OPERATIONS[name].moves for name in operation.before)


def attempt(disk: SimulatedDisk, operation: Operation, *, make: bool = False) -> bool:
    """Whether the operation was acknowledged; False where the power was cut, the disk failed, or there is nothing."""
    try:
        with open_pipeline(disk, make=make) as pipeline:
            operation.run(pipeline)
    except (PowerCut, StoreError, NotFound):
        return False
    return True


def whole_story(disk: SimulatedDisk) -> StateSnapshot | None:
    """What a fresh process says, having checked that every byte is what was written, and that it stays so."""
    with open_pipeline(disk, make=False) as pipeline:
        try:
            state: StateSnapshot | None = pipeline.load_state(ID)
        except NotFound:
            state = None
        recovered = pipeline.recover(ID)
        assert recovered.state == state
        tree = disk.tree()
        again = pipeline.recover(ID)
        assert again.state == state
        assert again.steps == ()
        assert disk.tree() == tree
        if state is not None:
            files = pipeline._store.inspect(ID)
            found = verify_files(files, stream=ID, source=REGISTRY.source, definition=REGISTRATION)
            assert found.findings == ()
            assert files.snapshot == encode_snapshot(state)
    return state


def version_of(state: StateSnapshot | None) -> int:
    return state.version if state else 0


def check_promise(operation: Operation, state: StateSnapshot | None, *, acknowledged: bool) -> None:
    """The operation wholly happened, or not at all; where it was acknowledged, it happened."""
    old, new = version_before(operation), version_before(operation) + operation.moves
    assert version_of(state) in ({new} if acknowledged else {old, new})


def cuts(base: SimulatedDisk, operation: Operation) -> Iterator[tuple[SimulatedDisk, bool]]:
    """The operation with the power cut instead of each of its changing system calls, and after the last."""
    counted = base.killed()
    assert attempt(counted, operation)
    for number in range(1, counted.operations + 1):
        disk = base.killed()
        disk.cut_at = number
        yield disk, attempt(disk, operation)
    yield counted, True


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_power_cut_at_any_instruction_leaves_all_or_nothing(
    name: str, explored: Callable[[], None]
) -> None:
    """Whatever part of the unsynced bytes and names made it to the disk."""
    operation = OPERATIONS[name]
    for disk, acknowledged in cuts(prepared(operation), operation):
        for found in disk.after_power_cut(random.Random(disk.operations), STATES_MAX):
            explored()

            check_promise(operation, whole_story(found), acknowledged=acknowledged)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_power_cut_during_the_recovery_changes_nothing(name: str, explored: Callable[[], None]) -> None:
    """Recovery that is itself interrupted, anywhere, is followed by another one that tells the same."""
    operation = OPERATIONS[name]
    for disk, acknowledged in cuts(prepared(operation), operation):
        for found in disk.after_power_cut(random.Random(1), 6):
            told = whole_story(found.killed())
            counted = found.killed()
            with open_pipeline(counted, make=False) as pipeline:
                pipeline.recover(ID)
            for number in range(1, counted.operations + 1):
                interrupted = found.killed()
                interrupted.cut_at = number
                with pytest.raises(PowerCut), open_pipeline(interrupted, make=False) as pipeline:
                    pipeline.recover(ID)
                for later in interrupted.after_power_cut(random.Random(number), 4):
                    explored()
                    state = whole_story(later)

                    check_promise(operation, state, acknowledged=acknowledged)
                    assert version_of(state) == version_of(told)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_was_read_after_a_kill_survives_a_power_cut(name: str, explored: Callable[[], None]) -> None:
    """A killed writer's line may be in the page cache only: whoever reports it has put it on the disk first."""
    operation = OPERATIONS[name]
    base = prepared(operation)
    for disk, acknowledged in cuts(base, operation):
        survivor = disk.killed()
        with open_pipeline(survivor, make=False) as pipeline:
            try:
                told = pipeline.load_state(ID).version
            except NotFound:
                told = 0
        for found in survivor.after_power_cut(random.Random(disk.operations), STATES_MAX):
            explored()
            state = whole_story(found)

            check_promise(operation, state, acknowledged=acknowledged)
            assert version_of(state) == told


@pytest.mark.parametrize("name", ["revise", "approve", "batch"])
def test_what_was_written_after_a_kill_survives_a_power_cut(name: str, explored: Callable[[], None]) -> None:
    """The next writer stands on what it found, and both survive."""
    operation = OPERATIONS[name]
    for disk, _ in cuts(prepared(operation), operation):
        survivor = disk.killed()
        with open_pipeline(survivor, make=False) as pipeline:
            before = pipeline.load_state(ID)
            target = {"DRAFT": "REVIEWED", "REVIEWED": "APPROVED", "APPROVED": "REGISTERED"}[before.state]
            written = pipeline.transition_state(ID, target).snapshot
        for found in survivor.after_power_cut(random.Random(disk.operations), STATES_MAX):
            explored()

            assert whole_story(found) == written


def test_making_a_registry_survives_a_power_cut_at_any_instruction(explored: Callable[[], None]) -> None:
    """There is a registry, whole, or there is none and it can be made; what was put into it is there."""
    create = OPERATIONS["create"]
    counted = SimulatedDisk()
    assert attempt(counted, create, make=True)
    for number in range(1, counted.operations + 2):
        disk = SimulatedDisk(cut_at=number)
        acknowledged = attempt(disk, create, make=True)
        survivor = disk.killed()
        for dead in (disk, survivor):
            if dead is survivor:
                acknowledged = attempt(
                    survivor, Operation("again", (), lambda p: p.load_state(ID)), make=True
                )
            for found in dead.after_power_cut(random.Random(number), STATES_MAX):
                explored()
                with open_pipeline(found) as pipeline:
                    recovered = pipeline.recover(ID)

                assert recovered.state is not None or not acknowledged
                assert attempt(found, Operation("more", (), lambda p: p.create("another", DOCUMENT)))


def test_a_registry_made_by_a_killed_process_is_put_on_the_disk_by_the_next(
    explored: Callable[[], None],
) -> None:
    """What is acknowledged in a registry whose maker died does not vanish with the registry."""
    create = OPERATIONS["create"]
    counted = SimulatedDisk()
    open_pipeline(counted).close()
    for number in range(1, counted.operations + 2):
        disk = SimulatedDisk(cut_at=number)
        attempt(disk, Operation("make", (), lambda _: None), make=True)
        survivor = disk.killed()
        assert attempt(survivor, create, make=True)
        for found in survivor.after_power_cut(random.Random(number), STATES_MAX):
            explored()

            check_promise(create, whole_story(found), acknowledged=True)


# -- a disk that fails ---------------------------------------------------------------------------------------

ERRORS = {
    "open": (errno.EMFILE, errno.EACCES, errno.EROFS, errno.ENOSPC),
    "close": (errno.EIO,),
    "read": (errno.EIO,),
    "write": (errno.ENOSPC, errno.EIO, None),
    "write_at": (errno.ENOSPC, errno.EIO, None),
    "truncate": (errno.EIO,),
    "sync_data": (errno.EIO, errno.ENOSPC),
    "sync": (errno.EIO, errno.ENOSPC),
    "status": (errno.EIO,),
    "status_at": (errno.EIO,),
    "make_directory": (errno.ENOSPC, errno.EROFS),
    "rename": (errno.EIO, errno.ENOSPC),
    "unlink": (errno.EIO,),
    "names": (errno.EIO,),
    "lock": (errno.ENOLCK,),
}
"""What each system call fails with; None is a short write."""


def faults(base: SimulatedDisk, operation: Operation) -> Iterator[Fault]:
    """Every call that the operation makes, failing once, or from then on, in every way."""
    counted = base.killed()
    assert attempt(counted, operation)
    for call, times in counted.calls.items():
        for nth in range(1, times + 1):
            for number in ERRORS[call]:
                for forever in (False, True):
                    yield Fault(call, nth, number, forever=forever)
                    if call.startswith("sync") and not forever:
                        yield Fault(call, nth, number, evict=True)
                        # The cut that should take the write back fails too.
    for number in (errno.EIO, errno.ENOSPC):
        yield Fault("sync", 1, number, forever=True, also=("sync_data",))
        yield Fault("truncate", 1, number, forever=True, also=("sync_data",))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_failing_disk_loses_nothing_and_tells_no_lies(name: str, explored: Callable[[], None]) -> None:
    """After any error: what is read next is one of the two stories, stays so over a power cut, and can be gone on with.

    In the process that met the error, and in another one; at once, and after the power was cut.
    """
    operation = OPERATIONS[name]
    base = prepared(operation)
    for fault in faults(base, operation):
        disk = base.killed()
        disk.fault = fault
        pipeline = None
        try:
            pipeline = open_pipeline(disk, make=False)
            operation.run(pipeline)
            acknowledged = True
        except (StoreError, LockTimeout):
            acknowledged = False
        for found in disk.after_power_cut(random.Random(fault.nth), 6):
            explored()
            check_promise(operation, whole_story(found), acknowledged=acknowledged)

        other = disk.killed()
        check_promise(operation, whole_story(other), acknowledged=acknowledged)

        disk.fault = None
        for reader in (open_pipeline(disk.killed(), make=False), pipeline):
            if reader is None:
                continue
            medium: SimulatedDisk = reader._store._disk  # type: ignore[attr-defined]
            state = reader.recover(ID).state if operation.moves == 0 else reader._store.load(ID)
            check_promise(operation, state, acknowledged=acknowledged)
            for found in medium.after_power_cut(random.Random(fault.nth), 6):
                explored()
                assert version_of(whole_story(found)) == version_of(state)


@pytest.mark.parametrize("name", ["create", "revise", "approve", "batch"])
def test_a_disk_that_fails_during_the_recovery_changes_nothing(
    name: str, explored: Callable[[], None]
) -> None:
    """Any error at any call of a recovery, once or from then on: it says so, or it did it; the next one tells the same."""
    operation = OPERATIONS[name]
    for disk, acknowledged in cuts(prepared(operation), operation):
        for found in disk.after_power_cut(random.Random(2), 3):
            told = version_of(whole_story(found.killed()))
            counted = found.killed()
            with open_pipeline(counted, make=False) as pipeline:
                pipeline.recover(ID)
            for call, times in counted.calls.items():
                for nth in range(1, times + 1):
                    failing = found.killed()
                    failing.fault = Fault(
                        call, nth, ERRORS[call][nth % len(ERRORS[call])], forever=nth % 2 == 0
                    )
                    try:
                        with open_pipeline(failing, make=False) as pipeline:
                            pipeline.recover(ID)
                    except StoreError:
                        pass
                    for later in failing.after_power_cut(random.Random(nth), 2):
                        explored()
                        state = whole_story(later)

                        check_promise(operation, state, acknowledged=acknowledged)
                        assert version_of(state) == told


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("evict", [False, True])
def test_a_retry_after_a_failed_sync_is_believed_only_when_it_is_on_the_disk(
    number: int, evict: bool, explored: Callable[[], None]
) -> None:
    """The second try writes again; it never takes the kernel's word for pages that the first one lost."""
    for cut_fails in (False, True):
        operation = OPERATIONS["approve"]
        disk = prepared(operation)
        pipeline = open_pipeline(disk, make=False)
        disk.fault = Fault("sync_data", 1, number, evict=evict, also=("truncate",) if cut_fails else ())
        with pytest.raises(StoreError):
            pipeline.approve(ID, idempotency_key="k")
        disk.fault = None

        done = pipeline.approve(ID, idempotency_key="k")

        for found in disk.after_power_cut(random.Random(1), STATES_MAX):
            explored()
            assert whole_story(found) == done.snapshot


@pytest.mark.parametrize("also", [("sync", "unlink"), ("truncate", "unlink")])
def test_what_is_read_after_a_write_that_could_not_be_taken_back_is_on_the_disk(
    also: tuple[str, ...], explored: Callable[[], None]
) -> None:
    """Even where nothing could be undone, the process that knows of it makes sure before it answers."""
    operation = OPERATIONS["approve"]
    disk = prepared(operation)
    pipeline = open_pipeline(disk, make=False)
    disk.fault = Fault("sync_data", 1, errno.EIO, also=also)
    with pytest.raises(StoreError):
        pipeline.approve(ID)
    disk.fault = None

    told = pipeline.load_state(ID)

    for found in disk.after_power_cut(random.Random(1), STATES_MAX):
        explored()
        assert whole_story(found) == told


def test_a_manifest_whose_write_could_not_be_taken_back_is_read_before_it_is_written() -> None:
    """The store refuses a writer who did not look at what the failed write left."""
    operation = OPERATIONS["approve"]
    disk = prepared(operation)
    pipeline = open_pipeline(disk, make=False)
    store: FileStore = pipeline._store  # type: ignore[assignment]
    before = store.load(ID)
    assert before is not None
    disk.fault = Fault("sync_data", 1, errno.EIO, also=("truncate",))
    with pytest.raises(StoreError):
        pipeline.approve(ID)
    disk.fault = None

    with pytest.raises(StoreError, match="Load it again before writing to it"):
        store.append(ID, before.position, [], before)

    assert pipeline.load_state(ID).version in {2, 3}
    Engine(store).store.load(ID)


def test_a_snapshot_that_can_not_be_written_fails_no_commit() -> None:
    """The event is on the disk; the next read makes the snapshot, and says so in the log."""
    operation = OPERATIONS["approve"]
    for call in ("rename", "sync", "open", "write"):
        disk = prepared(operation)
        counted = disk.killed()
        assert attempt(counted, operation)
        disk.fault = Fault(call, counted.calls[call], errno.ENOSPC)

        acknowledged = attempt(disk, operation)

        assert disk.failed
        assert acknowledged
        assert version_of(whole_story(disk.killed())) == 3


def test_damage_is_never_repaired_by_a_crash() -> None:
    """Bytes that were changed behind a witness are named after any power cut, too."""
    disk = prepared(OPERATIONS["register"])
    path = f"{ROOT}/manifests/{directory_of(ID)}/events.jsonl"
    log = disk.tree()[path]
    disk.tamper(path, log.replace(b"created", b"crEated", 1))

    with open_pipeline(disk, make=False) as pipeline, pytest.raises(CorruptLog) as named:
        pipeline.recover(ID)

    assert named.value.details["line"] == 1
    assert isinstance(named.value, RegistrationError)
