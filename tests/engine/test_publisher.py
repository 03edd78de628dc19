"""The publisher: each committed event once, after the commit, in order for each manifest, and nobody harmed."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from functools import partial

import pytest

from registration import RegistrationPipeline, RetryPolicy, StateChange, open_memory
from registration.errors import IdempotencyMismatch, IllegalTransition, InvalidArgument, StoreError
from registration.rules.lifecycles.registration import REGISTRATION
from registration.testing import FakeClock
from tests.conftest import check_store

SOURCE = "urn:uuid:019b76da-a800-7000-8000-000000000001"


@pytest.fixture
def store():
    store = open_memory(SOURCE, REGISTRATION)
    yield store
    check_store(store)


@pytest.fixture
def pipeline(store):
    """A registry in memory, that must have no lane left over afterwards."""
    patient = RetryPolicy(attempts_max=10_000, base_s=0.0001, cap_s=0.001)
    pipeline = RegistrationPipeline(
        store=store, actor="ada", clock=FakeClock(), random=random.Random(1), retry=patient
    )
    yield pipeline
    assert lanes(pipeline) == {}


def lanes(pipeline):
    return pipeline._registry.engine.publisher._lanes


def run_threads(works):
    """Run them at once and wait for all; what one raises fails the test."""
    failures = []

    def run(work):
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_handler_gets_the_event_and_the_state_after_it(pipeline):
    """Each change brings what happened and where it led."""
    changes = []
    pipeline.on("state_change", changes.append)
    created = pipeline.create("a", {})

    submitted = pipeline.submit_for_review("a")

    assert changes == [
        StateChange(next(pipeline.history("a")), created),
        StateChange(submitted.event, submitted.snapshot),
    ]
    assert [(c.manifest_id, c.from_state, c.to_state) for c in changes] == [
        ("a", None, "DRAFT"),
        ("a", "DRAFT", "REVIEWED"),
    ]


def test_only_a_state_change_can_be_listened_to(pipeline):
    """Another name of an event is refused, rather than never heard."""
    with pytest.raises(InvalidArgument, match="'state_changed'"):
        pipeline.on("state_changed", print)


def test_an_event_is_committed_before_anybody_is_told(open_pipeline):
    """A handler that looks finds the event on the disk, as does every other process."""
    pipeline, seen = open_pipeline(), []

    def handler(change):
        with open_pipeline() as another:
            seen.append(another.load_state(change.manifest_id) == change.snapshot)

    pipeline.on("state_change", handler)

    pipeline.create("a", {})
    pipeline.submit_for_review("a")

    assert seen == [True, True]


def test_an_append_that_fails_tells_nobody(pipeline, store, monkeypatch):
    """What was not committed is not announced."""
    changes = []
    pipeline.create("a", {})
    pipeline.on("state_change", changes.append)

    def fail(*_args, **_given):
        assert changes == []
        raise StoreError("The disk is full.")

    monkeypatch.setattr(store, "append", fail)

    with pytest.raises(StoreError):
        pipeline.submit_for_review("a")

    assert changes == []


def test_refusals_and_replays_tell_nobody(pipeline):
    """Only what is written is announced: no refused command, and no answer given again."""
    pipeline.create("a", {}, idempotency_key="k")
    changes = []
    pipeline.on("state_change", changes.append)

    with pytest.raises(IllegalTransition):
        pipeline.approve("a")
    pipeline.create("a", {}, idempotency_key="k")
    with pytest.raises(IdempotencyMismatch):
        pipeline.create("a", {"other": True}, idempotency_key="k")

    assert changes == []


def test_handlers_are_called_in_the_order_of_their_registration(pipeline):
    """Each event goes to all handlers, the first registered first, before the next event."""
    calls = []
    for name in ("first", "second", "third"):
        pipeline.on("state_change", lambda change, name=name: calls.append((change.event.version, name)))

    pipeline.create("a", {})
    pipeline.submit_for_review("a")

    assert calls == [(version, name) for version in (1, 2) for name in ("first", "second", "third")]


def test_a_handler_can_be_taken_away(pipeline):
    """After it was taken away a handler hears nothing more; taking it away twice is harmless."""
    changes = []
    off = pipeline.on("state_change", changes.append)
    pipeline.create("a", {})

    off()
    off()
    pipeline.submit_for_review("a")

    assert len(changes) == 1


def test_a_handler_that_was_given_twice_is_called_twice(pipeline):
    """Each registration is one of its own, and is taken away alone."""
    changes = []
    off = pipeline.on("state_change", changes.append)
    pipeline.on("state_change", changes.append)
    pipeline.create("a", {})

    off()
    pipeline.submit_for_review("a")

    assert [change.event.version for change in changes] == [1, 1, 2]


def test_a_handler_may_take_itself_away(pipeline):
    """A handler that has heard enough leaves without disturbing the others."""
    calls = []

    def once(change):
        calls.append("once")
        off()

    off = pipeline.on("state_change", once)
    pipeline.on("state_change", lambda _change: calls.append("always"))

    pipeline.create("a", {})
    pipeline.submit_for_review("a")

    assert calls == ["once", "always", "always"]


def test_a_handler_that_raises_harms_nobody(pipeline, caplog):
    """The commit stands, the call returns, the other handlers are called, and the log names manifest and version."""
    changes = []

    def broken(change):
        raise RuntimeError("the handler's own")

    pipeline.on("state_change", broken)
    pipeline.on("state_change", changes.append)

    created = pipeline.create("a", {})

    assert pipeline.load_state("a") == created
    assert len(changes) == 1
    (record,) = [record for record in caplog.records if record.name == "registration"]
    assert record.levelname == "ERROR"
    assert "a: a handler failed on version 1" in record.getMessage()
    assert "the handler's own" in str(record.exc_info[1])


def test_a_handler_may_write_to_the_same_manifest(pipeline):
    """What a handler commits to its own manifest is handed on after the present event, to every handler."""
    calls = []

    def follow_up(change):
        calls.append(("follow up begins", change.event.version))
        if change.to_state == "DRAFT":
            pipeline.submit_for_review(change.manifest_id)
        calls.append(("follow up ends", change.event.version))

    pipeline.on("state_change", follow_up)
    pipeline.on("state_change", lambda change: calls.append(("heard", change.event.version)))

    pipeline.create("a", {})

    assert calls == [
        ("follow up begins", 1),
        ("follow up ends", 1),
        ("heard", 1),
        ("follow up begins", 2),
        ("follow up ends", 2),
        ("heard", 2),
    ]


def test_a_handler_may_write_to_another_manifest(pipeline):
    """What a handler commits elsewhere has been handed on when its call returns."""
    calls = []

    def handler(change):
        calls.append(change.manifest_id)
        if change.manifest_id == "a":
            pipeline.create("b", {})
            calls.append("created")

    pipeline.on("state_change", handler)

    pipeline.create("a", {})

    assert calls == ["a", "b", "created"]


def test_two_manifests_whose_handlers_write_to_each_other_do_not_block(pipeline):
    """Nothing is locked while handlers run, so threads whose handlers cross each other's way both come through."""
    pipeline.create("a", {})
    pipeline.create("b", {})
    both = threading.Barrier(2, timeout=60)  # seconds, after which something hangs

    def handler(change):
        if change.event.data.get("comment") == "first":
            both.wait()
            pipeline.revise("b" if change.manifest_id == "a" else "a", {}, comment="second")

    pipeline.on("state_change", handler)

    run_threads([partial(pipeline.revise, id, {}, comment="first") for id in ("a", "b")])

    assert [pipeline.load_state(id).version for id in ("a", "b")] == [3, 3]


def test_every_event_is_handed_on_once_and_in_order(pipeline, restless_threads):
    """Eight threads commit to three manifests; each handler gets the versions of each without gap or repetition."""
    ids = ("a", "b", "c")
    for id in ids:
        pipeline.create(id, {})
    heard = [defaultdict(list), defaultdict(list)]
    for versions in heard:
        pipeline.on(
            "state_change",
            lambda change, versions=versions: versions[change.manifest_id].append(change.event.version),
        )

    def work(seed):
        choices = random.Random(seed)
        for number in range(50):
            pipeline.revise(choices.choice(ids), {"by": seed, "number": number})

    run_threads([lambda seed=seed: work(seed) for seed in range(8)])

    last = {id: pipeline.load_state(id).version for id in ids}
    assert sum(last.values()) == 3 + 8 * 50
    for versions in heard:
        assert versions == {id: list(range(2, last[id] + 1)) for id in ids}


def test_an_event_left_to_another_thread_is_handed_on_by_it(pipeline):
    """A writer that finds another thread at the handlers leaves its event to that one, and returns."""
    pipeline.create("a", {})
    entered, leave, threads = threading.Event(), threading.Event(), {}

    def slow(change):
        threads[change.event.version] = threading.current_thread().name
        if change.event.version == 2:
            entered.set()
            leave.wait()

    pipeline.on("state_change", slow)
    first = threading.Thread(target=pipeline.revise, args=("a", {}), name="first")
    first.start()
    entered.wait()

    result = pipeline.revise("a", {})
    told_by_then = set(threads)
    leave.set()
    first.join()

    assert result.snapshot.version == 3
    assert told_by_then == {2}
    assert threads == {2: "first", 3: "first"}


def test_an_interrupt_in_a_handler_loses_nothing_that_waits(pipeline):
    """Ctrl-C in a handler reaches the caller; what was still waiting is handed on with the next commit."""
    heard = []

    def handler(change):
        heard.append(change.event.version)
        if change.event.version == 1:
            pipeline.revise("a", {})
            raise KeyboardInterrupt

    pipeline.on("state_change", handler)

    with pytest.raises(KeyboardInterrupt):
        pipeline.create("a", {})
    pipeline.revise("a", {})

    assert pipeline.load_state("a").version == 3
    assert heard == [1, 2, 3]


def test_a_change_of_any_origin_can_be_announced(pipeline):
    """`emit_state_change` hands on what it is given, as often as it is given, and writes nothing."""
    created = pipeline.create("a", {})
    changes = []
    pipeline.on("state_change", changes.append)
    change = StateChange(next(pipeline.history("a")), created)

    pipeline.emit_state_change(change)
    pipeline.emit_state_change(change)

    assert changes == [change, change]
    assert pipeline.load_state("a") == created


def test_what_a_handler_announces_follows_after_the_present_event(pipeline):
    """A change that a handler announces for its own manifest waits until all have heard the present one."""
    calls = []

    def handler(change):
        calls.append(("first", change.event.version))
        if len(calls) == 1:
            pipeline.emit_state_change(change)

    pipeline.on("state_change", handler)
    pipeline.on("state_change", lambda change: calls.append(("second", change.event.version)))

    pipeline.create("a", {})

    assert calls == [("first", 1), ("second", 1)] * 2


def test_no_lane_is_left_after_refusals(pipeline):
    """What belonged to a manifest while it was written to is given back, also where the command came to nothing."""
    pipeline.create("a", {})
    with pytest.raises(IllegalTransition):
        pipeline.approve("a")

    assert lanes(pipeline) == {}
