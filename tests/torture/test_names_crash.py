"""Names through power cuts, kills and failing disks: at every system call, in every legal aftermath, one holder at most.

As `tests.torture.test_crash_states`, with two manifests that want the same name. Whatever is found afterwards must tell one of two
stories, the name must be free in the one and held in the other, and whoever takes it then must be its only holder.
"""

from __future__ import annotations

import errno
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from registration.core.definition import Definition
from registration.engine.names.reservations import decode_reservation
from registration.errors import LockTimeout, NameTaken, NotFound, StoreError
from registration.pipeline.pipeline import RegistrationPipeline
from registration.rules.lifecycles.loading import definition_of, shipped
from registration.storage import layout
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile
from registration.storage.ledger import Ledger
from registration.testing import FakeClock
from registration.testing.simulated_disk import Fault, PowerCut, SimulatedDisk
from tests.kit.builders import is_thorough
from tests.kit.disks import faults_in
from tests.torture.test_crash_states import ERRORS, OLD_REGISTRY, ROOT, chosen, explored  # noqa: F401  # a fixture

UPKEEP: Definition = definition_of(shipped("registration-upkeep"))
REGISTRY: RegistryFile = replace(OLD_REGISTRY, definition=UPKEEP.name, lifecycle=UPKEEP.identity)
NAME, VERSION = "acme/weather", "1.0.0"
FULL = f"{NAME}@{VERSION}"
PATH = "/".join(layout.name_record(FULL))
OLDER = f"{NAME}@0.9.0"
STATES_MAX = 5 if is_thorough() else 3


def open_pipeline(disk: SimulatedDisk, *, make: bool = False, kept: bool = True) -> RegistrationPipeline:
    wanted = REGISTRY if make else None
    store = open_files(ROOT, UPKEEP, wanted=wanted, lifecycle=UPKEEP.data, disk=disk)
    pipeline = RegistrationPipeline(store=store, clock=FakeClock(), random=random.Random(1), actor="ada")
    if kept:
        pipeline._registry.engine._kept.add(UPKEEP.identity["digest"])
        pipeline._registry.names.logs.engine._kept.add(
            pipeline._registry.names.logs.store.definition.identity["digest"]
        )
    return pipeline


def approved(pipeline: RegistrationPipeline, id: str, version: str = VERSION) -> None:
    pipeline.create(id, {"name": NAME, "version": version, "notes": "n" * 150})
    pipeline.submit_for_review(id)
    pipeline.approve(id)


@dataclass(frozen=True)
class Operation:
    """before: what was done, by a process that is gone. run: what is interrupted. holds: whether `a` then holds the name.

    cold: nothing of names was ever written there, and the rules of the aliases are not kept yet.
    """

    name: str
    before: Callable[[RegistrationPipeline], None]
    run: Callable[[RegistrationPipeline], object]
    holds: bool
    cold: bool = False


def two_approved(pipeline: RegistrationPipeline) -> None:
    approved(pipeline, "a")
    approved(pipeline, "b")


def an_older_one(pipeline: RegistrationPipeline) -> None:
    two_approved(pipeline)
    approved(pipeline, "older", "0.9.0")
    pipeline.register("older")


def registered(pipeline: RegistrationPipeline) -> None:
    an_older_one(pipeline)
    pipeline.register("a")


def left_by_the_dead(pipeline: RegistrationPipeline) -> None:
    """A reservation of somebody who died before the event."""
    an_older_one(pipeline)
    store: Ledger = pipeline._registry.store  # type: ignore[assignment]
    state = store.load("b")
    assert state is not None
    with (
        pytest.raises(KeyboardInterrupt),
        pipeline._registry.names.reservations.reserved(FULL, "b", state.position, "2026"),
    ):
        raise KeyboardInterrupt


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("first", two_approved, lambda p: p.register("a"), holds=True, cold=True),
        Operation("next", an_older_one, lambda p: p.register("a"), holds=True),
        Operation("taken over", left_by_the_dead, lambda p: p.register("a"), holds=True),
        Operation("withdrawn", registered, lambda p: p.act("a", "withdraw", reason="a hole"), holds=False),
    )
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What is healed is logged, many thousand times here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def prepared(operation: Operation) -> SimulatedDisk:
    disk = SimulatedDisk()
    with open_pipeline(disk, make=True, kept=False) as pipeline:
        operation.before(pipeline)
    return disk.killed()


def attempt(disk: SimulatedDisk, operation: Operation) -> bool:
    """Whether the operation was acknowledged."""
    try:
        with open_pipeline(disk, kept=not operation.cold) as pipeline:
            operation.run(pipeline)
    except (PowerCut, StoreError, LockTimeout):
        return False
    return True


def holders(pipeline: RegistrationPipeline) -> list[str]:
    """Who holds the name, as the logs say it."""
    found = []
    for id in pipeline.upkeep.manifest_ids():
        name = None
        for event in pipeline.history(id):
            name = event.data.get("claimed", None if "released" in event.data else name)
        if name == FULL:
            found.append(id)
        assert pipeline.load_state(id).name == name
    return found


def check_names(
    pipeline: RegistrationPipeline, held_by: str | None, *, wholly: bool = False, removed: bool = False
) -> None:
    """What a name stands for, its reservation and `latest` agree with the logs; wholly: and nothing is left to be done.

    Whatever a crash left, nothing in the registry speaks against it; unless something was removed by hand.
    """
    if not removed:  # the ids of processes with one seed are the same
        seen = [one for found in pipeline.upkeep.verify_all() for one in found.findings]
        assert not [one for one in faults_in(seen) if one.kind == "damage"]
    assert holders(pipeline) == ([held_by] if held_by else [])
    if held_by is None:
        with pytest.raises(NotFound):
            pipeline.names.resolve(FULL)
    else:
        found = pipeline.names.resolve(FULL)
        assert (found.manifest_id, found.same_document) == (held_by, True)
        reservation = pipeline._registry.names.reservations.find(FULL)
        assert reservation is not None
        assert reservation.manifest_id == held_by
    older = "older" in set(pipeline.upkeep.manifest_ids())
    best = held_by or ("older" if older else None)
    if best is None:
        with pytest.raises(NotFound):
            pipeline.names.resolve(NAME)
        assert pipeline.names.aliases(NAME) == {}
    else:
        assert pipeline.names.resolve(NAME).manifest_id == best
        assert pipeline.names.aliases(NAME)["latest"].manifest_id == best
    if not wholly:
        return
    for name in pipeline.names.known():
        pipeline.upkeep.recover_name(name)
        assert pipeline.upkeep.recover_name(name) == ()
        assert faults_in(pipeline.upkeep.verify_name(name)) == []
    for id in pipeline.upkeep.manifest_ids():
        pipeline.upkeep.recover(id)
        assert pipeline.upkeep.recover(id).steps == ()
        assert faults_in(pipeline.evidence.verify(id).findings) == []


def go_on(disk: SimulatedDisk, operation: Operation, *, acknowledged: bool, wholly: bool = False) -> None:
    """What is found is one of the two stories; then the other manifest wants the name."""
    with open_pipeline(disk.killed(), kept=False) as pipeline:
        held = holders(pipeline) == ["a"]
        assert not acknowledged or held is operation.holds
        check_names(pipeline, "a" if held else None, wholly=wholly)
    disk = disk.killed()
    with open_pipeline(disk, kept=False) as pipeline:  # which settled nothing before
        if held:
            with pytest.raises(NameTaken) as refused:
                pipeline.register("b")
            assert refused.value.details["holder"] == "a"
            assert pipeline.load_state("b").state == "APPROVED"
        else:
            pipeline.register("b")
    for found in disk.after_power_cut(random.Random(1), 1 if held else 2):
        with open_pipeline(found, kept=False) as pipeline:
            check_names(pipeline, "a" if held else "b", wholly=wholly)
            if not held and pipeline.load_state("a").state == "APPROVED":
                with pytest.raises(NameTaken):
                    pipeline.register("a")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_power_cut_at_any_instruction_leaves_one_holder_at_most(
    name: str,
    explored: Callable[[], None],  # noqa: F811  # the fixture
) -> None:
    """Whatever part of the reservation, the event and the alias made it to the disk; and after a kill, where all of it did."""
    operation = OPERATIONS[name]
    base = prepared(operation)
    counted = base.killed()
    assert attempt(counted, operation)
    for number in range(1, counted.operations + 2):
        disk = base.killed()
        disk.cut_at = number
        acknowledged = attempt(disk, operation)
        explored()
        go_on(disk.killed(), operation, acknowledged=acknowledged, wholly=True)
        for found in disk.after_power_cut(random.Random(number), STATES_MAX):
            explored()
            go_on(found, operation, acknowledged=acknowledged)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_failing_disk_leaves_one_holder_at_most(
    name: str,
    explored: Callable[[], None],  # noqa: F811  # as above
) -> None:
    """After any error at any call, once or from then on; in the process that met it, and in others."""
    operation = OPERATIONS[name]
    base = prepared(operation)
    counted = base.killed()
    assert attempt(counted, operation)
    for call, times in counted.calls.items():
        for nth in chosen(range(1, times + 1), 11):
            for forever in (False, True) if nth < 3 or is_thorough() else (nth % 4 < 2,):
                number = ERRORS[call][nth % len(ERRORS[call])]
                disk = base.killed()
                disk.fault = Fault(call, nth, number, forever=forever, evict=nth % 2 == 0)
                pipeline = None
                try:
                    pipeline = open_pipeline(disk, kept=not operation.cold)
                    operation.run(pipeline)
                    acknowledged = True
                except (StoreError, LockTimeout):
                    acknowledged = False
                explored()
                go_on(disk.killed(), operation, acknowledged=acknowledged)
                for found in disk.after_power_cut(random.Random(nth), 1 + forever):
                    explored()
                    go_on(found, operation, acknowledged=acknowledged)
                disk.fault = None
                if pipeline is not None:
                    check_names_here(pipeline, operation, acknowledged=acknowledged)


def check_names_here(pipeline: RegistrationPipeline, operation: Operation, *, acknowledged: bool) -> None:
    """The process that met the error goes on, now that the disk is well."""
    held = holders(pipeline) == ["a"]
    assert not acknowledged or held is operation.holds
    if held is not operation.holds:
        operation.run(pipeline)
    check_names(pipeline, "a" if operation.holds else None)


def test_a_reservation_that_was_cut_short_is_looked_up_in_the_logs(
    explored: Callable[[], None],  # noqa: F811  # as above
) -> None:
    """Whatever bytes stand in it: it is worth what the logs say, and is made again where somebody holds the name."""
    held = prepared(Operation("held", registered, lambda _: None, holds=True))
    free = prepared(Operation("free", an_older_one, lambda _: None, holds=False))
    path = f"{ROOT}/{PATH}"
    with open_pipeline(free.killed()) as pipeline:
        pipeline.register("a")
        raw = pipeline._registry.store.backend.disk.tree()[path]  # type: ignore[attr-defined]
        disk: SimulatedDisk = pipeline._registry.store.backend.disk  # type: ignore[attr-defined]
    assert decode_reservation(raw, FULL) is not None
    for torn in (raw[:-2], raw[:40], bytes(len(raw)), raw[:50] + bytes(30) + raw[80:], b"7", b"[]", b"{}"):
        explored()
        assert decode_reservation(torn, FULL) is None
        for kind in (held, free):
            disk = kind.killed()
            if kind is free:  # the reservation is there, and its event is not
                with open_pipeline(disk) as pipeline:
                    left_reservation(pipeline)
            disk.tamper(path, torn)

            with open_pipeline(disk.killed()) as pipeline:
                if kind is held:
                    assert pipeline.names.resolve(FULL).manifest_id == "a"
                    with pytest.raises(NameTaken):
                        pipeline.register("b")
                    assert [one.kind for one in pipeline.evidence.verify("a").findings] == ["unfinished"]
                    assert [step.done for step in pipeline.upkeep.recover("a").steps] == ["made again"]
                    check_names(pipeline, "a", wholly=True)
                else:
                    with pytest.raises(NotFound):
                        pipeline.names.resolve(FULL)
                    pipeline.register("b")
                    check_names(pipeline, "b", wholly=True)
            with open_pipeline(
                disk
            ) as pipeline:  # whose own holder, or the one that reserved it, goes on with it
                if kind is free:
                    pipeline.register("a")
                for id in ("a", "b"):
                    pipeline.upkeep.recover(id)
                check_names(pipeline, "a", wholly=True)


def left_reservation(pipeline: RegistrationPipeline) -> None:
    state = pipeline.load_state("a")
    with (
        pytest.raises(KeyboardInterrupt),
        pipeline._registry.names.reservations.reserved(FULL, "a", state.position, "2026"),
    ):
        raise KeyboardInterrupt


@pytest.mark.parametrize("missing", ["reservation", "alias"])
def test_what_was_lost_of_names_is_made_again_from_the_logs(missing: str) -> None:
    """A reservation, or the log of the aliases, that is gone behind everybody's back."""
    disk = prepared(Operation("held", registered, lambda _: None, holds=True))
    paths = [f"{ROOT}/{PATH}"]
    if missing == "alias":
        own = f"{ROOT}/{layout.ALIASES}/{layout.directory_of(NAME)}"
        paths = [f"{own}/{layout.SNAPSHOT_FILE}", f"{own}/{layout.LOG_FILE}"]
    for path in paths:
        disk.tamper(path, None)

    with open_pipeline(disk) as pipeline:
        if missing == "reservation":
            assert [one.kind for one in pipeline.evidence.verify("a").findings] == ["unfinished"]
            assert [step.done for step in pipeline.upkeep.recover("a", dry_run=True).steps] == ["made again"]
            assert not pipeline._registry.names.reservations.exists(FULL)
            assert [step.done for step in pipeline.upkeep.recover("a").steps] == ["made again"]
        else:
            assert [one.kind for one in pipeline.upkeep.verify_name(NAME)] == ["unfinished"]
            assert [step.done for step in pipeline.upkeep.recover_name(NAME, dry_run=True)] == ["moved"]
            assert [step.done for step in pipeline.upkeep.recover_name(NAME)] == ["moved"]
        check_names(pipeline, "a", removed=missing == "alias")


def test_an_error_of_the_lock_is_a_time_out() -> None:
    """Somebody is registering that very name all the time."""
    disk = prepared(OPERATIONS["next"])
    with open_pipeline(disk) as pipeline, pipeline._registry.store.records.held(layout.name_record(FULL)):
        with pytest.raises(LockTimeout, match=r"acme/weather@1\.0\.0"):
            pipeline.register("a")
        assert pipeline.load_state("a").state == "APPROVED"


def test_no_space_for_a_reservation_is_said_before_anything_is_written() -> None:
    """The log is as it was, and no part of a reservation is left."""
    disk = prepared(OPERATIONS["next"])
    before = disk.tree()
    disk.fault = Fault("write", 1, errno.ENOSPC, forever=True)

    with open_pipeline(disk) as pipeline, pytest.raises(StoreError, match=r"writing names/.*No space left"):
        pipeline.register("a")

    assert disk.tree() == before
