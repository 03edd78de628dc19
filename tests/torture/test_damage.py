"""Damage never turns into a wrong answer: every byte, every line, every length of the files of one manifest.

After each change, whatever is said is the state that was acknowledged, or an error that names the place; and `verify`
finds it. Where the snapshot is damaged, it is made again from the log, to the byte.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from registration import CorruptLog, RegistrationPipeline, StateSnapshot
from registration.core.policy import NO_POLICY, Policy
from registration.errors import InvalidArgument, RegistrationError
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile
from registration.storage.layout import directory_of
from registration.testing import FakeClock
from registration.testing.simulated_disk import SimulatedDisk
from tests.kit.totals import counter

REGISTRY = RegistryFile("019b76da-a800-75b1-a522-4a58b791f1d8", "2026-01-01T00:00:00.000000Z", "registration")
ID, OTHER = "acme/weather@1.0", "acme/tides@1.0"
DIRECTORY = f"/registry/manifests/{directory_of(ID)}"
LOG, SNAPSHOT = f"{DIRECTORY}/events.jsonl", f"{DIRECTORY}/state.json"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


_opened = itertools.count(1)


def open_pipeline(disk: SimulatedDisk) -> RegistrationPipeline:
    """A pipeline of its own: an hour later than the one before, and with other ids."""
    store = open_files("/registry", REGISTRATION, wanted=REGISTRY, disk=disk)
    number = next(_opened)
    clock = FakeClock(1_767_225_600_000_000_000 + number * 3_600_000_000_000)
    return RegistrationPipeline(store=store, clock=clock, random=random.Random(number), actor="ada")


@pytest.fixture(scope="module")
def disk() -> SimulatedDisk:
    """Two manifests with the same history, so that lines can be carried over."""
    disk = SimulatedDisk()
    with open_pipeline(disk) as pipeline:
        for id in (ID, OTHER):
            pipeline.create(id, {"name": "é会", "notes": "n" * 40}, idempotency_key="k")
            pipeline.submit_for_review(id, comment="read")
            pipeline.reject(id, reason="no licence")
            pipeline.submit_for_review(id)
            pipeline.approve(id, actor="bea")
    return disk


@pytest.fixture(scope="module")
def truth(disk: SimulatedDisk) -> StateSnapshot:
    return open_pipeline(disk.killed()).load_state(ID)


def findings(disk: SimulatedDisk) -> list[tuple[str, str, int, int]]:
    """All but what can't be checked, such as what a repair cut off."""
    found = open_pipeline(disk.killed()).evidence.verify(ID).findings
    return [
        (finding.kind, finding.path, finding.line, finding.offset_bytes)
        for finding in found
        if finding.kind != "unchecked"
    ]


def check_never_wrong(disk: SimulatedDisk, truth: StateSnapshot) -> CorruptLog | None:
    """What is read, replayed and written on top is the truth, or damage that is named; gives the damage."""
    named = None
    for answer in (
        lambda pipeline: pipeline.load_state(ID),
        lambda pipeline: pipeline.recover_from_events(ID),
        lambda pipeline: list(pipeline.history(ID)) and pipeline.load_state(ID),
    ):
        with open_pipeline(disk.killed()) as pipeline:
            try:
                state = answer(pipeline)
            except CorruptLog as damage:
                named = damage
            else:
                assert state == truth
    return named


def changed(disk: SimulatedDisk, path: str, content: bytes | None) -> SimulatedDisk:
    other = disk.killed()
    other.tamper(path, content)
    return other


def test_each_flipped_byte_of_a_log_is_named(
    disk: SimulatedDisk, truth: StateSnapshot, request: pytest.FixtureRequest
) -> None:
    """`verify` and every full read say which line it is in, and where that line begins."""
    log = disk.tree()[LOG]
    for place in range(len(log)):
        flipped = bytearray(log)
        flipped[place] ^= 1 << place % 8
        line = log[:place].count(b"\n") + 1
        offset = log.rfind(b"\n", 0, place) + 1
        broken = changed(disk, LOG, bytes(flipped))

        damage = check_never_wrong(broken, truth)

        assert damage is not None
        assert (damage.details["line"], damage.details["offset_bytes"]) == (line, offset)
        assert ("damage", LOG.removeprefix("/registry/"), line, offset) in findings(broken)
    counter(request.config, "changed bytes, lengths and lines tried")(len(log))


def test_each_flipped_byte_of_a_snapshot_is_healed_from_the_log(
    disk: SimulatedDisk, truth: StateSnapshot, request: pytest.FixtureRequest
) -> None:
    """The log is the truth: the same snapshot is made again, to the byte; until then `verify` names it."""
    snapshot = disk.tree()[SNAPSHOT]
    for place in range(len(snapshot)):
        flipped = bytearray(snapshot)
        flipped[place] ^= 1 << place % 8
        broken = changed(disk, SNAPSHOT, bytes(flipped))

        assert ("damage", SNAPSHOT.removeprefix("/registry/"), 0, 0) in findings(broken)
        assert check_never_wrong(broken, truth) is None
        with open_pipeline(broken) as pipeline:
            assert pipeline.load_state(ID) == truth
        assert broken.tree() == disk.tree()
    counter(request.config, "changed bytes, lengths and lines tried")(len(snapshot))


def test_each_truncation_of_a_log_is_named(
    disk: SimulatedDisk, truth: StateSnapshot, request: pytest.FixtureRequest
) -> None:
    """The snapshot is a witness of how long the log was, so that lost events are missed."""
    log = disk.tree()[LOG]
    for size in range(len(log)):
        broken = changed(disk, LOG, log[:size])

        assert check_never_wrong(broken, truth) is not None
        assert any(kind == "damage" for kind, *_ in findings(broken))
    assert check_never_wrong(changed(disk, LOG, None), truth) is not None
    counter(request.config, "changed bytes, lengths and lines tried")(len(log))


def test_each_truncation_of_a_snapshot_is_healed_from_the_log(
    disk: SimulatedDisk, truth: StateSnapshot, request: pytest.FixtureRequest
) -> None:
    """Also where nothing of it is left."""
    snapshot = disk.tree()[SNAPSHOT]
    for size in (None, *range(len(snapshot))):
        broken = changed(disk, SNAPSHOT, None if size is None else snapshot[:size])

        assert check_never_wrong(broken, truth) is None
    counter(request.config, "changed bytes, lengths and lines tried")(len(snapshot))


def altered_logs(log: bytes, other: bytes) -> Iterator[tuple[str, bytes]]:
    """Each line dropped, doubled, swapped with each other one, or carried over from another manifest."""
    lines, foreign = log.splitlines(keepends=True), other.splitlines(keepends=True)
    for index, line in enumerate(lines):
        yield f"{index} dropped", b"".join(lines[:index] + lines[index + 1 :])
        yield f"{index} doubled", b"".join([*lines[:index], line, *lines[index:]])
        yield f"{index} again at the end", log + line
        yield f"{index} carried over", b"".join([*lines[:index], foreign[index], *lines[index + 1 :]])
        yield f"{index} carried over to the end", log + foreign[index]
        for second in range(index + 1, len(lines)):
            swapped = list(lines)
            swapped[index], swapped[second] = swapped[second], swapped[index]
            yield f"{index} and {second} swapped", b"".join(swapped)
    yield "all carried over", other


def test_lines_that_were_moved_are_named(
    disk: SimulatedDisk, truth: StateSnapshot, request: pytest.FixtureRequest
) -> None:
    """Whatever is done to whole lines, which are sound by themselves, with the snapshot or without."""
    tree = disk.tree()
    other = tree[LOG.replace(directory_of(ID), directory_of(OTHER))]
    tried = 0
    for what, log in altered_logs(tree[LOG], other):
        broken = changed(disk, LOG, log)
        tried += 2

        assert check_never_wrong(broken, truth) is not None, what
        assert any(kind == "damage" for kind, *_ in findings(broken)), what
        # Without the witness, a log that merely ends earlier is a log that ends earlier. Nothing else passes.
        broken.tamper(SNAPSHOT, None)
        if what != f"{tree[LOG].count(bytes([10])) - 1} dropped":
            assert check_never_wrong(broken, truth) is not None, what
    counter(request.config, "changed bytes, lengths and lines tried")(tried)


def _approved(id: str, *, registry: RegistryFile = REGISTRY, policy: Policy = NO_POLICY) -> SimulatedDisk:
    """A registry in which one manifest is approved, and `ID` waits for it; at the same times, by the same people."""
    disk = SimulatedDisk()
    store = open_files("/registry", REGISTRATION, wanted=registry, disk=disk)
    clock = FakeClock()
    with RegistrationPipeline(
        store=store, policy=policy, clock=clock, random=random.Random(1), actor="ada"
    ) as pipeline:
        for each in {id: 1, ID: 1}:
            clock.now_ns = FakeClock().now_ns
            pipeline.create(each, {"name": "é会"})
            pipeline.submit_for_review(each)
        pipeline.approve(id, actor="bea")
    return disk


def _log_of(id: str) -> str:
    return LOG.replace(directory_of(ID), directory_of(id))


@pytest.mark.parametrize(
    ("source", "id", "said"),
    [
        (_approved(OTHER), OTHER, f"another manifest ('{OTHER}')"),
        (_approved(ID, registry=replace(REGISTRY, id=REGISTRY.id[:-1] + "9")), ID, "another registry"),
        (_approved(ID, policy=Policy(name="lax")), ID, "the chain is broken"),
    ],
    ids=["of-another-manifest", "of-another-registry", "under-another-policy"],
)
@pytest.mark.parametrize("witnessed", [True, False], ids=["with-snapshot", "without"])
def test_an_approval_is_not_carried(source: SimulatedDisk, id: str, said: str, witnessed: bool) -> None:
    """The line of somebody's approval, copied behind a log that waits for one, approves nothing: `verify` names it.

    The documents, the people and the times are the same; nothing is read from such a log, and nothing is written to it.
    """
    waiting = _approved(OTHER)
    log = waiting.tree()[LOG]
    approval = source.tree()[_log_of(id)].splitlines(keepends=True)[2]
    broken = changed(waiting, LOG, log + approval)
    if not witnessed:
        broken.tamper(SNAPSHOT, None)
    before = broken.tree()

    found = open_pipeline(broken.killed()).evidence.verify(ID)

    assert b'"action":"approve"' in approval
    assert ("damage", 3, len(log)) in [(f.kind, f.line, f.offset_bytes) for f in found.findings]
    assert said in found.findings[0].reason
    for do in (lambda p: p.load_state(ID), lambda p: p.register(ID), lambda p: p.upkeep.recover(ID)):
        with open_pipeline(broken) as pipeline, pytest.raises(CorruptLog) as named:
            do(pipeline)
        assert (named.value.details["line"], named.value.details["offset_bytes"]) == (3, len(log))
    assert broken.tree() == before


def test_bytes_behind_the_last_line_are_set_aside_or_named(disk: SimulatedDisk, truth: StateSnapshot) -> None:
    """Zeros, garbage, half a character, half a line: nothing was acknowledged there, and nothing is thrown away."""
    log = disk.tree()[LOG]
    for tail in (
        bytes(1),
        bytes(4096),
        b"\xc3",
        b'{"specversion"',
        b"\n",
        b"\n\n",
        bytes(100) + b"\n",
        random.Random(1).randbytes(500),
    ):
        torn = changed(disk, LOG, log + tail)
        with open_pipeline(torn) as pipeline:
            assert pipeline.load_state(ID) == truth

        tree = torn.tree()
        assert tree[LOG] == log
        assert [content for path, content in tree.items() if "/quarantine/" in path] == [tail]


def test_damage_is_left_alone_by_writers(disk: SimulatedDisk) -> None:
    """A write that meets damage changes nothing."""
    log = disk.tree()[LOG]
    broken = changed(disk, LOG, log[:-200])
    before = broken.tree()

    with open_pipeline(broken) as pipeline, pytest.raises(RegistrationError):
        pipeline.register(ID)

    assert broken.tree() == before


# -- repair --------------------------------------------------------------------------------------------------


def test_repair_keeps_what_checks_out_and_says_what_was_lost(disk: SimulatedDisk) -> None:
    """The log ends in an event that tells of the loss; the bytes are in quarantine, and all is sound again."""
    log, snapshot = disk.tree()[LOG], disk.tree()[SNAPSHOT]
    third = len(b"".join(log.splitlines(keepends=True)[:2]))
    broken = changed(disk, LOG, log.replace(b"no licence", b"no License", 1))
    before = broken.tree()

    with open_pipeline(broken) as pipeline:
        shown = pipeline.upkeep.repair(ID)
        untouched = broken.tree()
        done = pipeline.upkeep.repair(ID, accept_loss=True, actor="cyd")
        state = pipeline.load_state(ID)
        *_, last = pipeline.history(ID)
        again = pipeline.upkeep.repair(ID)

    assert untouched == before
    assert shown is not None
    assert done is not None
    assert (shown.line, shown.offset_bytes, shown.lost_bytes, shown.lost_version) == (
        3,
        third,
        len(log) - third,
        5,
    )
    assert shown.kept_as == ()
    assert (state.state, state.version) == ("REVIEWED", 3)
    assert last.type == "registration.repaired.v1"
    assert last.actor == "cyd"
    assert last.data["lost"]["kept_as"] == list(done.kept_as)
    kept = [broken.tree()[f"/registry/{path}"] for path in done.kept_as]
    assert kept == [log[third:].replace(b"no licence", b"no License"), snapshot]
    assert broken.tree()[LOG].startswith(log[:third])
    assert findings(broken) == []
    assert again is None


def test_handlers_are_told_of_a_repair(disk: SimulatedDisk) -> None:
    """It is a committed event like any other; the actor is checked like any other's."""
    broken = changed(disk, LOG, disk.tree()[LOG].replace(b'"bea"', b'"eve"', 1))
    told = []

    with open_pipeline(broken) as pipeline:
        pipeline.on("state_change", told.append)
        with pytest.raises(InvalidArgument, match="ESCAPE"):
            pipeline.upkeep.repair(ID, accept_loss=True, actor="c\x1byd")
        loss = pipeline.upkeep.repair(ID, accept_loss=True, actor="cyd")

    assert loss is not None
    assert [(change.event, change.snapshot) for change in told] == [(loss.event, loss.repaired)]


def test_a_repaired_manifest_goes_on(disk: SimulatedDisk) -> None:
    """What was lost can be done again."""
    broken = changed(disk, LOG, disk.tree()[LOG].replace(b'"bea"', b'"eve"', 1))

    with open_pipeline(broken) as pipeline:
        pipeline.upkeep.repair(ID, accept_loss=True)
        pipeline.approve(ID, actor="bea")
        pipeline.register(ID)

        assert pipeline.load_state(ID).state == "REGISTERED"
    assert findings(broken) == []


def test_a_log_that_lost_its_end_is_repaired_by_saying_so(disk: SimulatedDisk) -> None:
    """Nothing is left to set aside but the snapshot, which knew of more."""
    log = disk.tree()[LOG]
    broken = changed(disk, LOG, b"".join(log.splitlines(keepends=True)[:4]))

    with open_pipeline(broken) as pipeline:
        loss = pipeline.upkeep.repair(ID, accept_loss=True)
        state = pipeline.load_state(ID)

    assert loss is not None
    assert (loss.lost_bytes, loss.lost_version) == (0, 5)
    assert (state.state, state.version) == ("REVIEWED", 5)
    assert len(loss.kept_as) == 1


@pytest.mark.parametrize("log", [b"", None, b"garbage"])
def test_where_nothing_checks_out_the_id_is_free_again(disk: SimulatedDisk, log: bytes | None) -> None:
    """There is no log left to record the repair in; what there was is in quarantine."""
    broken = changed(disk, LOG, log)

    with open_pipeline(broken) as pipeline:
        loss = pipeline.upkeep.repair(ID, accept_loss=True)
        created = pipeline.create(ID, {"name": "again"})

    assert loss is not None
    assert loss.state is None
    assert loss.kept_as
    assert created.version == 1
    # The feed remembers what was there; what was set aside explains it.
    assert all(kind == "finding" for kind, *_ in findings(broken))


def test_a_sound_manifest_needs_no_repair(disk: SimulatedDisk) -> None:
    """Nor does one that a crash left unfinished: recovery sees to that."""
    torn = changed(disk, LOG, disk.tree()[LOG] + b"half")
    before = torn.tree()

    with open_pipeline(torn) as pipeline:
        assert pipeline.upkeep.repair(ID, accept_loss=True) is None
        with pytest.raises(RegistrationError, match="There is no manifest 'nobody'"):
            pipeline.upkeep.repair("nobody")

    assert torn.tree() == before


def test_a_repair_that_is_killed_is_done_again_or_done(disk: SimulatedDisk) -> None:
    """At every system call: afterwards the damage is still named, or the log says that it was repaired."""
    from registration.testing.simulated_disk import PowerCut

    broken = changed(disk, LOG, disk.tree()[LOG].replace(b"no licence", b"no License", 1))
    counted = broken.killed()
    with open_pipeline(counted) as pipeline:
        pipeline.upkeep.repair(ID, accept_loss=True)
    for number in range(1, counted.operations + 1):
        interrupted = broken.killed()
        interrupted.cut_at = number
        with pytest.raises(PowerCut), open_pipeline(interrupted) as pipeline:
            pipeline.upkeep.repair(ID, accept_loss=True)
        for found in interrupted.after_power_cut(random.Random(number), 10):
            with open_pipeline(found) as pipeline:
                pipeline.upkeep.repair(ID, accept_loss=True)
                events = [event.action for event in pipeline.history(ID)]

            assert events[:2] == ["create", "submit_for_review"]
            assert set(events[2:]) == {"repair"}
            assert findings(found) == []
