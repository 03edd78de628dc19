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
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import orjson
import pytest

from registration.core.codec import encode_snapshot
from registration.core.decider import sealed
from registration.core.policy import NO_POLICY, Kind, Policy
from registration.engine.engine import Engine
from registration.errors import CorruptLog, LockTimeout, NotFound, RegistrationError, StoreError
from registration.evidence.verification import verify_files
from registration.pipeline.pipeline import RegistrationPipeline
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile
from registration.storage.layout import directory_of
from registration.storage.ledger import Ledger, Snapshots
from registration.testing import FakeClock
from registration.testing.simulated_disk import Fault, PowerCut, SimulatedDisk
from registration.values.documents import digest_of
from registration.values.events import NewEvent, Position, StateSnapshot
from tests.conftest import check_rules, rules_named
from tests.kit.builders import WATCH, is_thorough
from tests.kit.choice import sampled
from tests.kit.registry_files import put_in_force, without_log
from tests.kit.totals import counter

ROOT = "/registry"
OLD_REGISTRY = RegistryFile(
    "019b76da-a800-75b1-a522-4a58b791f1d8", "2026-01-01T00:00:00.000000Z", "registration"
)
"""A registry of before lifecycles were kept: its file names none."""
REGISTRY = replace(OLD_REGISTRY, lifecycle=REGISTRATION.identity)
WATCHED = replace(OLD_REGISTRY, definition="watch", lifecycle=WATCH.identity)
SCHEMA = {"type": "object", "title": "t" * 200}
RULED = Policy(
    name="acme",
    roles={"reviewer": ("ada", "bea")},
    kinds=(Kind("any", {"": True}, digest_of(SCHEMA)),),
    schemas={digest_of(SCHEMA): SCHEMA},
)

T = TypeVar("T")
ID = "acme/weather@1.0"
DOCUMENT = {"name": "acme/weather", "version": "1.0", "notes": "n" * 300}
REVISED = {"name": "acme/weather", "version": "1.0", "notes": "r" * 700}

STATES_MAX = 40 if is_thorough() else 20
AFTER_A_FAULT_MAX = 6 if is_thorough() else 3
"""How many of the disks that one interruption may leave are looked at, where there are more."""


def open_pipeline(
    disk: SimulatedDisk,
    *,
    make: bool = True,
    registry: RegistryFile = REGISTRY,
    policy: Policy = NO_POLICY,
    later_s: float = 0,
    snapshots: Snapshots = "each",
    slow: bool = False,
) -> RegistrationPipeline:
    definition = WATCH if registry is WATCHED else REGISTRATION
    wanted = registry if make else None
    store = open_files(
        ROOT, definition, wanted=wanted, lifecycle=definition.data, snapshots=snapshots, disk=disk
    )
    if store._behind is not None:
        store._behind._start = lambda: None  # type: ignore[method-assign]  # this disk is for one thread
    if slow:
        store.backend.syncs._usual_s = 3_600.0
        store.backend.syncs._threads = Afterwards  # type: ignore[method-assign,assignment]
    clock = FakeClock()
    clock.advance(later_s)
    return RegistrationPipeline(store=store, policy=policy, clock=clock, random=random.Random(1), actor="ada")


class Afterwards:
    """In the place of threads: what they are to sync is synced when it is waited for, after all that is done beside."""

    def submit(self, sync: Callable[..., None], *args: object) -> Afterwards:
        begun = Afterwards()
        begun._run = lambda: sync(*args)  # type: ignore[attr-defined]
        return begun

    def exception(self) -> Exception | None:
        try:
            self._run()  # type: ignore[attr-defined]
        except OSError as error:
            return error
        return None


def append_batch(pipeline: RegistrationPipeline) -> None:
    """Three events of one command, as a definition with compound commands would write them."""
    store: Ledger = pipeline._registry.store  # type: ignore[assignment]
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
    events, states = sealed(REGISTRATION, before, new, stream=ID, source=store.source)
    store.append(ID, after, events, states[-1])


def walk(pipeline: RegistrationPipeline) -> None:
    """Three commands, one after the other."""
    pipeline.submit_for_review(ID)
    pipeline.approve(ID)
    pipeline.reject(ID, reason="no licence")


@dataclass(frozen=True)
class Operation:
    """name; what comes before it, in order; what it does; by how many versions it moves the manifest on.

    apart: each of its events is committed by itself. registry: where it is done. policy: under which rules. later_s: how
    long after what came before. cold: it is the first that its process writes, which sees to the rules before. snapshots: when
    `state.json` follows. slow: the syncs of a commit overlap, those of the log come last.
    """

    name: str
    before: tuple[str, ...]
    run: Callable[[RegistrationPipeline], object]
    moves: int = 1
    apart: bool = False
    registry: RegistryFile = REGISTRY
    policy: Policy = NO_POLICY
    later_s: float = 0
    cold: bool = False
    snapshots: Snapshots = "each"
    slow: bool = False

    def open(self, disk: SimulatedDisk, *, make: bool = False, later_s: float = 0) -> RegistrationPipeline:
        pipeline = open_pipeline(
            disk, make=make, registry=self.registry, policy=self.policy, later_s=self.later_s + later_s,
            snapshots=self.snapshots, slow=self.slow,
        )  # fmt: skip
        if not self.cold:
            pipeline._registry.engine._kept.add(pipeline.definition.identity["digest"])
        return pipeline


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation("create", (), lambda p: p.create(ID, DOCUMENT), cold=True),
        Operation("revise", ("create",), lambda p: p.revise(ID, REVISED)),
        Operation("submit", ("create",), lambda p: p.submit_for_review(ID)),
        Operation("approve", ("create", "submit"), lambda p: p.approve(ID)),
        Operation("reject", ("create", "submit"), lambda p: p.reject(ID, reason="no licence")),
        Operation("register", ("create", "submit", "approve"), lambda p: p.register(ID)),
        Operation("batch", ("create",), append_batch, moves=3),
        Operation("recover", ("create", "revise", "submit"), lambda p: p.recover_from_events(ID), moves=0),
        Operation("persist", ("create", "submit"), lambda p: p.persist_state(ID, p.load_state(ID)), moves=0),
        Operation("first", (), lambda p: p.create(ID, DOCUMENT), registry=OLD_REGISTRY, cold=True),
        Operation("ruled", ("create", "submit"), lambda p: p.approve(ID), policy=RULED, cold=True),
        Operation("watch", (), lambda p: p.create(ID, DOCUMENT), registry=WATCHED),
        # Asked at once, nudged an hour later; answered late.
        Operation("ask", ("watch",), lambda p: p.act(ID, "ask"), registry=WATCHED),
        Operation(
            "answer",
            ("watch", "ask"),
            lambda p: p.act(ID, "answer"),
            moves=2,
            apart=True,
            registry=WATCHED,
            later_s=5_400,
        ),
        Operation("create, idle", (), lambda p: p.create(ID, DOCUMENT), snapshots="idle"),
        Operation("revise, idle", ("create",), lambda p: p.revise(ID, REVISED), snapshots="idle"),
        Operation("walk, idle", ("create",), walk, moves=3, apart=True, snapshots="idle"),
        Operation("create, slow", (), lambda p: p.create(ID, DOCUMENT), slow=True),
        Operation("revise, slow", ("create",), lambda p: p.revise(ID, REVISED), slow=True),
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
    with open_pipeline(disk, registry=operation.registry, policy=operation.policy) as pipeline:
        for name in operation.before:
            OPERATIONS[name].run(pipeline)
    return disk.killed()


TRIED = [name for name in OPERATIONS if name not in ("watch", "ask")]
"""The operations that are interrupted; the others come before one of them."""
RECOVERED = [name for name in TRIED if name not in ("first", "ruled", "answer")]
"""Those whose recovery is interrupted; after the others it meets what it meets after these."""


def version_before(operation: Operation) -> int:
    return sum(OPERATIONS[name].moves for name in operation.before)


def attempt(disk: SimulatedDisk, operation: Operation, *, make: bool = False) -> bool:
    """Whether the operation was acknowledged; False where the power was cut, the disk failed, or there is nothing."""
    acknowledged = False
    try:
        with operation.open(disk, make=make) as pipeline:
            operation.run(pipeline)
            acknowledged = True  # whatever becomes of what is left to be done at the end
    except (PowerCut, StoreError, NotFound):
        pass
    return acknowledged


def whole_story(disk: SimulatedDisk, operation: Operation) -> StateSnapshot | None:
    """What a fresh process says, having checked that every byte is what was written, and that it stays so.

    And that whatever its events name by digest can be read.
    """
    with operation.open(disk) as pipeline:
        try:
            state: StateSnapshot | None = pipeline.load_state(ID)
        except NotFound:
            state = None
        recovered = pipeline.upkeep.recover(ID)
        assert recovered.state == state
        tree = disk.tree()
        again = pipeline.upkeep.recover(ID)
        assert again.state == state
        assert again.steps == ()
        assert disk.tree() == tree
        if state is not None:
            store = pipeline._registry.store
            files = store.inspect(ID)
            found = verify_files(files, stream=ID, source=REGISTRY.source, definition=store.definition)
            assert found.findings == ()
            assert files.snapshot == encode_snapshot(state)
            events = [orjson.loads(line) for line in files.log.splitlines()]
            check_rules(store, {rule for event in events for rule in rules_named(event["data"])})
        else:
            check_lifecycle(pipeline)
    return state


def check_lifecycle(pipeline: RegistrationPipeline) -> None:
    """What the registry itself names can be read."""
    store: Ledger = pipeline._registry.store  # type: ignore[assignment]
    named = store.backend.registry.lifecycle
    check_rules(store, {("lifecycles", named["digest"])} if named else set())


def version_of(state: StateSnapshot | None) -> int:
    return state.version if state else 0


def check_promise(operation: Operation, state: StateSnapshot | None, *, acknowledged: bool) -> None:
    """The operation wholly happened, or not at all; where it was acknowledged, it happened."""
    old, new = version_before(operation), version_before(operation) + operation.moves
    partly = range(old, new) if operation.apart else (old,)
    assert version_of(state) in ({new} if acknowledged else {*partly, new})


def cuts(base: SimulatedDisk, operation: Operation) -> Iterator[tuple[SimulatedDisk, bool]]:
    """The operation with the power cut instead of each of its changing system calls, and after the last."""
    counted = base.killed()
    assert attempt(counted, operation)
    for number in range(1, counted.operations + 1):
        disk = base.killed()
        disk.cut_at = number
        yield disk, attempt(disk, operation)
    yield counted, True


@pytest.mark.parametrize("name", sampled(TRIED, "create", "revise", "approve", "batch", "revise, idle"))
def test_a_power_cut_at_any_instruction_leaves_all_or_nothing(
    name: str, explored: Callable[[], None]
) -> None:
    """Whatever part of the unsynced bytes and names made it to the disk."""
    operation = OPERATIONS[name]
    for disk, acknowledged in cuts(prepared(operation), operation):
        for found in disk.after_power_cut(random.Random(disk.operations), STATES_MAX):
            explored()

            check_promise(operation, whole_story(found, operation), acknowledged=acknowledged)


def chosen(every: Sequence[T], most: int) -> list[T]:
    """So many of them, the first and the last included, always the same; all where there are no more, and in a thorough run."""
    if len(every) <= most or is_thorough():
        return list(every)
    inner = random.Random(most).sample(range(1, len(every) - 1), most - 2)
    return [every[0], *(every[index] for index in sorted(inner)), every[-1]]


@pytest.mark.parametrize("name", RECOVERED)
def test_a_power_cut_during_the_recovery_changes_nothing(name: str, explored: Callable[[], None]) -> None:
    """Recovery that is itself interrupted, anywhere, is followed by another one that tells the same."""
    operation = OPERATIONS[name]
    for disk, acknowledged in cuts(prepared(operation), operation):
        for found in disk.after_power_cut(random.Random(1), 6 if is_thorough() else 4):
            told = whole_story(found.killed(), operation)
            counted = found.killed()
            with operation.open(counted) as pipeline:
                pipeline.upkeep.recover(ID)
            for number in chosen(range(1, counted.operations + 1), 12):
                interrupted = found.killed()
                interrupted.cut_at = number
                with pytest.raises(PowerCut), operation.open(interrupted) as pipeline:
                    pipeline.upkeep.recover(ID)
                for later in interrupted.after_power_cut(random.Random(number), 4 if is_thorough() else 3):
                    explored()
                    state = whole_story(later, operation)

                    check_promise(operation, state, acknowledged=acknowledged)
                    assert version_of(state) == version_of(told)


@pytest.mark.parametrize("name", sampled(TRIED, "create", "approve"))
def test_what_was_read_after_a_kill_survives_a_power_cut(name: str, explored: Callable[[], None]) -> None:
    """A killed writer's line may be in the page cache only: whoever reports it has put it on the disk first."""
    operation = OPERATIONS[name]
    base = prepared(operation)
    for disk, acknowledged in cuts(base, operation):
        survivor = disk.killed()
        with operation.open(survivor) as pipeline:
            try:
                told = pipeline.load_state(ID).version
            except NotFound:
                told = 0
        for found in survivor.after_power_cut(random.Random(disk.operations), STATES_MAX):
            explored()
            state = whole_story(found, operation)

            check_promise(operation, state, acknowledged=acknowledged)
            assert version_of(state) == told


@pytest.mark.parametrize("name", ["revise", "approve", "batch", "ruled"])
def test_what_was_written_after_a_kill_survives_a_power_cut(name: str, explored: Callable[[], None]) -> None:
    """The next writer stands on what it found, and both survive."""
    operation = OPERATIONS[name]
    for disk, _ in cuts(prepared(operation), operation):
        survivor = disk.killed()
        with operation.open(survivor) as pipeline:
            before = pipeline.load_state(ID)
            target = {"DRAFT": "REVIEWED", "REVIEWED": "APPROVED", "APPROVED": "REGISTERED"}[before.state]
            written = pipeline.transition_state(ID, target).snapshot
        for found in survivor.after_power_cut(random.Random(disk.operations), STATES_MAX):
            explored()

            assert whole_story(found, operation) == written


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
                    check_lifecycle(pipeline)
                    recovered = pipeline.upkeep.recover(ID)

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

            check_promise(create, whole_story(found, create), acknowledged=True)


def test_a_time_out_is_recorded_before_the_command_that_waited_for_it(explored: Callable[[], None]) -> None:
    """Wherever the power is cut, the log is a beginning of the whole story, and what timed out has its own time."""
    answer = OPERATIONS["answer"]
    for disk, _ in cuts(prepared(answer), answer):
        for found in disk.after_power_cut(random.Random(disk.operations), 6):
            explored()
            with answer.open(found) as pipeline:
                events = list(pipeline.history(ID))

            actions = [event.action for event in events]
            assert actions == ["create", "ask", "nudge", "answer"][: len(actions)]
            assert [e.time for e in events[2:3]] in ([], [events[1].data["due"]["nudge"]])


# -- the feed ------------------------------------------------------------------------------------------------


def fed(disk: SimulatedDisk, operation: Operation) -> list[str]:
    """The hashes of what a fresh process reads in the feed, having checked that it is the log: each event once, in order."""
    with operation.open(disk) as pipeline:
        entries = list(pipeline.feed.read())
        events = [entry.event for entry in entries if entry.area == "manifests"]
        own = [entry.event for entry in entries if entry.area == "registry"]
        assert own == list(pipeline.upkeep.policy_history())
        try:
            history = list(pipeline.history(ID))
        except NotFound:
            history = []
        assert events == history
        assert list(pipeline.feed.read(pipeline.feed.end())) == []
        return [event.hash for event in events]


@pytest.mark.parametrize("name", TRIED)
def test_after_a_power_cut_the_feed_has_each_event_once(name: str, explored: Callable[[], None]) -> None:
    """Whatever part of its lines the power cut took, and also where only the process was killed."""
    operation = OPERATIONS[name]
    for disk, acknowledged in cuts(prepared(operation), operation):
        for found in (disk.killed(), *disk.after_power_cut(random.Random(disk.operations), 8)):
            explored()
            events = fed(found, operation)

            assert not acknowledged or len(events) == version_before(operation) + operation.moves
            assert fed(found.killed(), operation) == events
            with operation.open(found, later_s=86_400) as pipeline:
                more = pipeline.create("another", DOCUMENT)
                read = [one.event.hash for one in pipeline.feed.read() if one.area == "manifests"]
                assert read == [*events, more.position.head]


@pytest.mark.parametrize("name", ["create", "approve", "batch"])
def test_a_power_cut_while_the_feed_is_made_up_loses_nothing_of_it(
    name: str, explored: Callable[[], None]
) -> None:
    """Looking for what it lost is itself interrupted anywhere, and by a kill as well; then the next one finds it."""
    operation = OPERATIONS[name]
    for disk, _ in cuts(prepared(operation), operation):
        for found in disk.after_power_cut(random.Random(3), 2):
            counted = found.killed()
            told = fed(counted, operation)
            for number in range(1, counted.operations + 1):
                interrupted = found.killed()
                interrupted.cut_at = number
                with suppress(PowerCut):
                    fed(interrupted, operation)
                for later in (interrupted.killed(), *interrupted.after_power_cut(random.Random(number), 3)):
                    explored()

                    assert fed(later, operation) == told


@pytest.mark.parametrize("name", ["create", "approve", "batch"])
def test_a_disk_that_fails_while_the_feed_is_read_tells_no_lies(
    name: str, explored: Callable[[], None]
) -> None:
    """Any error at any call, once or from then on: it says so, or gives what there is; the next one gives all of it."""
    operation = OPERATIONS[name]
    base = prepared(operation)
    assert attempt(base, operation)
    for found in base.after_power_cut(random.Random(4), 2):
        counted = found.killed()
        told = fed(counted, operation)
        for call, times in counted.calls.items():
            for nth in range(1, times + 1):
                failing = found.killed()
                # Who may not be told which run of the machine it is goes on in the last one's segment.
                numbers = [number for number in ERRORS[call] if number != errno.EACCES]
                failing.fault = Fault(call, nth, numbers[nth % len(numbers)], forever=nth % 2 == 0)
                with suppress(StoreError, LockTimeout):
                    fed(failing, operation)
                failing.fault = None
                for later in failing.after_power_cut(random.Random(nth), 2):
                    explored()

                    assert fed(later, operation) == told


def test_a_feed_that_was_read_before_a_power_cut_goes_on_behind_its_cursor(
    explored: Callable[[], None],
) -> None:
    """A reader that keeps its cursor misses nothing; what it gets again has the same id and comes in the same order."""
    base = prepared(OPERATIONS["approve"])
    with open_pipeline(base, make=False) as pipeline:
        entries = [entry for entry in pipeline.feed.read() if entry.area == "manifests"]
        pipeline.approve(ID, actor="bea")
    for found in base.after_power_cut(random.Random(5), 200):
        explored()
        with open_pipeline(found, make=False) as pipeline:
            history = [event.id for event in pipeline.history(ID)]
            for number, entry in enumerate(entries, 1):
                after = pipeline.feed.read(entry.cursor)
                rest = [later.event.id for later in after if later.area == "manifests"]

                assert rest == history[-len(rest) :]
                assert len(rest) >= len(history) - number


# -- another lifecycle in force ------------------------------------------------------------------------------

LATER = replace(REGISTRATION, version=2)
MIGRATED = replace(REGISTRY, lifecycle=LATER.identity, earlier=(REGISTRATION.identity,))


def migrate(disk: SimulatedDisk) -> bool:
    """Whether it was acknowledged that the later lifecycle is in force."""
    try:
        put_in_force(disk, ROOT, REGISTRY, MIGRATED, LATER.data)
    except (PowerCut, StoreError):
        return False
    return True


def lifecycle_in_force(disk: SimulatedDisk) -> int:
    """Its version, having checked that the registry is the old one or the new one, whole, and goes on under it.

    If the registry's own log is ahead of `registry.json`, the first writer completes that and opens the registry again.
    """
    try:
        return _goes_on(disk)
    except StoreError as error:
        assert "Open the registry again." in str(error)  # noqa: PT017  # it is then as the log says
        return _goes_on(disk)


def _goes_on(disk: SimulatedDisk) -> int:
    registry = without_log(disk, ROOT)
    assert registry in (REGISTRY, MIGRATED)
    definition = REGISTRATION if registry == REGISTRY else LATER
    store = open_files(ROOT, definition, disk=disk)
    with RegistrationPipeline(store=store, clock=FakeClock(), random=random.Random(2)) as pipeline:
        check_lifecycle(pipeline)
        before = pipeline.load_state(ID)
        assert pipeline.approve(ID, actor="bea").snapshot.version == before.version + 1
        assert not any(stray.damaged for stray in store.strays())
    return definition.version


def test_a_power_cut_while_another_lifecycle_is_put_in_force_leaves_one_of_them(
    explored: Callable[[], None],
) -> None:
    """The old one or the new one, whole, with what it says; once acknowledged, the new one; the logs are as they were."""
    base = prepared(OPERATIONS["approve"])
    counted = base.killed()
    assert migrate(counted)
    for number in range(1, counted.operations + 2):
        disk = base.killed()
        disk.cut_at = number
        acknowledged = migrate(disk)
        assert acknowledged is (number > counted.operations)
        for found in disk.after_power_cut(random.Random(number), STATES_MAX):
            explored()

            assert lifecycle_in_force(found) in ({2} if acknowledged else {1, 2})


def test_a_disk_that_fails_while_another_lifecycle_is_put_in_force_leaves_one_of_them(
    explored: Callable[[], None],
) -> None:
    """After any error, in any aftermath; and whoever tries again, now that the disk is well, has it in force."""
    base = prepared(OPERATIONS["approve"])
    counted = base.killed()
    assert migrate(counted)
    for call, times in counted.calls.items():
        for nth in range(1, times + 1):
            for forever in (False, True):
                disk = base.killed()
                disk.fault = Fault(call, nth, ERRORS[call][nth % len(ERRORS[call])], forever=forever)
                acknowledged = migrate(disk)
                for found in disk.after_power_cut(random.Random(nth), 4):
                    explored()
                    assert lifecycle_in_force(found) in ({2} if acknowledged else {1, 2})
                disk.fault = None
                if without_log(disk, ROOT) == REGISTRY:
                    migrate(disk)  # the log may say so already: then it is completed
                assert lifecycle_in_force(disk.killed()) == 2


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
    """Every call that the operation makes, failing once, or from then on, in every way.

    Where only the rules come first, and all else is as in another operation, in one way after the other.
    """
    counted = base.killed()
    assert attempt(counted, operation)
    for call, times in counted.calls.items():
        for nth in range(1, times + 1):
            numbers = ERRORS[call]
            if operation.name in ("first", "ruled"):
                numbers = (numbers[nth % len(numbers)],)
            for number in numbers:
                for forever in (False, True):
                    yield Fault(call, nth, number, forever=forever)
                    if call.startswith("sync") and not forever:
                        yield Fault(call, nth, number, evict=True)
                        # The cut that should take the write back fails too.
    for number in (errno.EIO, errno.ENOSPC):
        yield Fault("sync", 1, number, forever=True, also=("sync_data",))
        yield Fault("truncate", 1, number, forever=True, also=("sync_data",))


@pytest.mark.undecidable  # the rules that are read to decide again are on the failing disk
@pytest.mark.parametrize("name", TRIED)
def test_a_failing_disk_loses_nothing_and_tells_no_lies(name: str, explored: Callable[[], None]) -> None:
    """After any error: what is read next is one of the two stories, stays so over a power cut, and can be gone on with.

    In the process that met the error, and in another one; at once, and after the power was cut.
    """
    operation = OPERATIONS[name]
    base = prepared(operation)
    for fault in chosen(list(faults(base, operation)), 120):
        disk = base.killed()
        disk.fault = fault
        pipeline = None
        try:
            pipeline = operation.open(disk)
            operation.run(pipeline)
            acknowledged = True
        except (StoreError, LockTimeout):
            acknowledged = False
        for found in disk.after_power_cut(random.Random(fault.nth), AFTER_A_FAULT_MAX):
            explored()
            check_promise(operation, whole_story(found, operation), acknowledged=acknowledged)

        other = disk.killed()
        check_promise(operation, whole_story(other, operation), acknowledged=acknowledged)

        disk.fault = None
        for reader in (operation.open(disk.killed()), pipeline):
            if reader is None:
                continue
            medium: SimulatedDisk = reader._registry.store.backend.disk  # type: ignore[attr-defined]
            state = (
                reader.upkeep.recover(ID).state if operation.moves == 0 else reader._registry.store.load(ID)
            )
            check_promise(operation, state, acknowledged=acknowledged)
            for found in medium.after_power_cut(random.Random(fault.nth), AFTER_A_FAULT_MAX):
                explored()
                assert version_of(whole_story(found, operation)) == version_of(state)


@pytest.mark.parametrize("name", ["create", "revise", "approve", "batch"])
def test_a_disk_that_fails_during_the_recovery_changes_nothing(
    name: str, explored: Callable[[], None]
) -> None:
    """Any error at any call of a recovery, once or from then on: it says so, or it did it; the next one tells the same."""
    operation = OPERATIONS[name]
    for disk, acknowledged in cuts(prepared(operation), operation):
        for found in disk.after_power_cut(random.Random(2), 3):
            told = version_of(whole_story(found.killed(), operation))
            counted = found.killed()
            with operation.open(counted) as pipeline:
                pipeline.upkeep.recover(ID)
            for call, times in counted.calls.items():
                for nth in range(1, times + 1):
                    failing = found.killed()
                    failing.fault = Fault(
                        call, nth, ERRORS[call][nth % len(ERRORS[call])], forever=nth % 2 == 0
                    )
                    try:
                        with operation.open(failing) as pipeline:
                            pipeline.upkeep.recover(ID)
                    except StoreError:
                        pass
                    for later in failing.after_power_cut(random.Random(nth), 2):
                        explored()
                        state = whole_story(later, operation)

                        check_promise(operation, state, acknowledged=acknowledged)
                        assert version_of(state) == told


@pytest.mark.sample
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
            assert whole_story(found, operation) == done.snapshot


@pytest.mark.sample
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
        assert whole_story(found, operation) == told


@pytest.mark.sample
def test_a_manifest_whose_write_could_not_be_taken_back_is_read_before_it_is_written() -> None:
    """The store refuses a writer who did not look at what the failed write left."""
    operation = OPERATIONS["approve"]
    disk = prepared(operation)
    pipeline = open_pipeline(disk, make=False)
    store: Ledger = pipeline._registry.store  # type: ignore[assignment]
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


@pytest.mark.sample
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
        assert version_of(whole_story(disk.killed(), operation)) == 3


@pytest.mark.sample
def test_damage_is_never_repaired_by_a_crash() -> None:
    """Bytes that were changed behind a witness are named after any power cut, too."""
    disk = prepared(OPERATIONS["register"])
    path = f"{ROOT}/manifests/{directory_of(ID)}/events.jsonl"
    log = disk.tree()[path]
    disk.tamper(path, log.replace(b"created", b"crEated", 1))

    with open_pipeline(disk, make=False) as pipeline, pytest.raises(CorruptLog) as named:
        pipeline.upkeep.recover(ID)

    assert named.value.details["line"] == 1
    assert isinstance(named.value, RegistrationError)


@pytest.mark.sample
def test_a_removal_that_is_interrupted_leaves_all_or_nothing(explored: Callable[[], None]) -> None:
    """A power cut at each call of it: the stream is there whole, or not at all, and removing it again ends it."""
    base = prepared(OPERATIONS["approve"])

    def there(disk: SimulatedDisk) -> StateSnapshot | None:
        with open_pipeline(disk, make=False) as pipeline:
            state = pipeline.find_state(ID)
            if state is not None:  # of one that is gone, the feed tells: no command removes a manifest
                assert not pipeline.evidence.verify(ID).damaged
            return state

    def removed(disk: SimulatedDisk) -> bool:
        return open_files(ROOT, REGISTRATION, disk=disk).delete(ID)

    counted = base.killed()
    assert removed(counted)
    assert there(counted) is None
    for number in range(1, counted.operations + 1):
        disk = base.killed()
        disk.cut_at = number
        with pytest.raises(PowerCut):
            removed(disk)
        for found in (*disk.after_power_cut(random.Random(number), STATES_MAX), disk.killed()):
            explored()
            assert version_of(there(found)) in (0, version_before(OPERATIONS["approve"]))
            removed(found)
            assert there(found) is None
    for found in counted.after_power_cut(random.Random(0), STATES_MAX):
        explored()
        assert there(found) is None
        assert removed(found) is False
