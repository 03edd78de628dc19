"""Many at once: a result for each item, in order; one manifest in its order; bounded; ended cleanly, whatever ends it."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration import (
    AlreadyExists,
    CreateItem,
    GuardRefused,
    IdempotencyMismatch,
    IllegalTransition,
    InvalidArgument,
    ItemResult,
    NotFound,
    PinMismatch,
    RegistrationError,
    RegistrationPipeline,
    StoreError,
    TransitionItem,
    VersionConflict,
    open_memory,
)
from registration.pipeline.many import IN_FLIGHT_PER_WORKER, WORKERS_MAX, carry_out
from tests.kit.builders import tries
from tests.kit.choice import sampled

# Makes manifests without an end, and tells of each as soon as it is told. Ctrl-C ends it.
INTERRUPTED = """
import itertools, sys
from registration import RegistrationPipeline

told = set()
with RegistrationPipeline(sys.argv[1]) as pipeline:
    items = ({"manifest_id": f"m{n}", "document": {"n": n}} for n in itertools.count())
    try:
        for one in pipeline.create_many(items, workers=4):
            told.add(one.value().manifest_id)
            if len(told) == 20:
                print("at work", flush=True)
    except KeyboardInterrupt:
        print(*sorted(told), flush=True)
"""


def ids(results):
    """The manifests that were written, in the order of the results."""
    return [one.result.manifest_id if one.result else type(one.error).__name__ for one in results]


@pytest.fixture
def slow(monkeypatch):
    """Work that waits to be let go: `begun` are the names that are at it, `go(name)` lets one go."""

    class Slow:
        def __init__(self):
            self.begun, self.most = [], 0
            self._at_work, self._gates, self._mutex = 0, {}, threading.Lock()

        def gate(self, name):
            with self._mutex:
                return self._gates.setdefault(name, threading.Event())

        def go(self, *names):
            for name in names:
                self.gate(name).set()

        def work(self, stream, name):
            def do():
                with self._mutex:
                    self.begun.append(name)
                    self._at_work += 1
                    self.most = max(self.most, self._at_work)
                assert self.gate(name).wait(60)
                with self._mutex:
                    self._at_work -= 1
                return name

            return stream, do

    return Slow()


def until(condition):
    """Wait for something that threads bring about."""
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.001)


def test_one_result_for_each_item_in_the_order_given(pipeline):
    """Whatever threads do, results come in the order of the items, each with its index and the very item."""
    items = [CreateItem(manifest_id=f"m{n}", document={"n": n}, actor="bea") for n in range(50)]

    results = list(pipeline.create_many(items))

    assert [one.index for one in results] == list(range(50))
    assert all(one.item is item for one, item in zip(results, items, strict=True))
    assert ids(results) == [f"m{n}" for n in range(50)]
    assert all(one.value().event.actor == "bea" and one.error is None for one in results)
    assert [summary.manifest_id for summary in pipeline.list("DRAFT")] == sorted(f"m{n}" for n in range(50))


def test_mappings_and_what_documents_say(pipeline):
    """A mapping does for an item, JSON text for a document, and the id may be what the document says."""
    items = [
        {"document": b'{"name": "a", "version": "1"}'},
        {"document": {"name": "b"}, "comment": "by hand"},
    ]

    first, second = pipeline.create_many(items, workers=1)

    assert (first.value().manifest_id, second.value().manifest_id) == ("a@1", "b")
    assert second.value().event.data["comment"] == "by hand"
    assert second.item is items[1]


def test_an_error_stops_no_other(pipeline):
    """Each item that can't be carried out is told with its error, and all others are done."""
    pipeline.create("taken", {})
    items = [
        {"manifest_id": "one", "document": {}},
        {"manifest_id": "taken", "document": {}},
        {"manifest_id": "no id", "document": {}},
        {"manifest_id": "x", "document": b"{"},
        {"document": {}},
        {"manifest_id": "y"},
        {"manifest_id": "y", "document": {}, "actr": "ada"},
        "y",
        {"manifest_id": ["y"], "document": {}},
        {"manifest_id": "y", "document": {}, "actor": ""},
        {"manifest_id": "two", "document": {}},
    ]

    results = list(pipeline.create_many(items))

    assert ids(results) == [
        "one", "AlreadyExists", "InvalidArgument", "InvalidDocument", "InvalidDocument", "InvalidArgument",
        "InvalidArgument", "InvalidArgument", "InvalidArgument", "InvalidArgument", "two",
    ]  # fmt: skip
    assert "'document' is missing" in str(results[5].error)
    assert "'actr' is an unknown member (Did you mean 'actor'?)" in str(results[6].error)
    assert "found str" in str(results[7].error)
    with pytest.raises(AlreadyExists):
        results[1].value()


def test_transitions_of_all_kinds(pipeline):
    """An action or a state to reach, with all that can be said; pins and reasons count as they do one by one."""
    for id in "abcdefg":
        pipeline.create(id, {"id": id})
    digest = pipeline.load_state("e").digest

    results = list(
        pipeline.transition_many(
            [
                TransitionItem(manifest_id="a", action="submit_for_review", comment="done", context={"k": 1}),
                {"manifest_id": "b", "target_state": "REVIEWED", "comment": "done", "context": {"k": 1}},
                {"manifest_id": "c", "action": "revise", "document": {"id": "C"}, "reason": "typo"},
                {"manifest_id": "d", "action": "register"},
                {"manifest_id": "e", "action": "submit_for_review", "expected_digest": digest},
                {"manifest_id": "f", "action": "submit_for_review", "expected_digest": digest},
                {"manifest_id": "g", "target_state": "REVIEWED", "expected_version": 7},
                {"manifest_id": "nobody", "target_state": "REVIEWED"},
                {"manifest_id": "a", "action": "reject"},
            ]
        )
    )

    assert [type(one.error) for one in results] == [
        type(None), type(None), type(None), IllegalTransition, type(None), PinMismatch, VersionConflict, NotFound,
        GuardRefused,
    ]  # fmt: skip
    for one in results[:2]:
        assert one.value().to_state == "REVIEWED"
        assert (one.value().event.data["comment"], one.value().event.data["context"]) == ("done", {"k": 1})
    assert results[2].value().snapshot.document == {"id": "C"}
    assert results[2].value().event.data["reason"] == "typo"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"manifest_id": "a"}, "neither action nor target_state"),
        ({"manifest_id": "a", "action": "approve", "target_state": "APPROVED"}, "action and target_state"),
        ({"manifest_id": "a", "action": 7}, "exactly one of the two"),
        ({"action": "approve"}, "'manifest_id' is missing"),
        ({"manifest_id": "a", "target_state": "APPROVED", "document": {}}, "target_state and document"),
        ({"manifest_id": "a", "target_state": "APPROVED", "context": "why"}, "expected a mapping"),
        ({"manifest_id": "a", "action": "approve", "context": ["why"]}, "expected a mapping"),
    ],
)
def test_steps_that_cannot_be_meant(pipeline, item, said):
    """An item that says too little, too much, or something of the wrong type is told what is expected."""
    (one,) = pipeline.transition_many([item])

    assert type(one.error) is InvalidArgument
    assert said in str(one.error)


@pytest.mark.parametrize("workers", [0, -1, WORKERS_MAX + 1, True, 2.0, "8", None])
def test_workers_that_cannot_be_meant(pipeline, workers):
    """How many threads there may be is said when the call is made, before any item is taken."""
    with pytest.raises(InvalidArgument, match="Invalid `workers`"):
        pipeline.create_many(iter([1 / 1]), workers=workers)


def test_a_closed_pipeline_takes_no_items(pipeline):
    """As any other call."""
    pipeline.close()

    with pytest.raises(StoreError, match="closed"):
        pipeline.transition_many([])


def test_steps_of_one_manifest_are_taken_in_the_order_given(pipeline):
    """Create, revise, submit, approve and register of fifty manifests, all in flight at once: each in its order."""
    steps = [
        {"action": "create", "document": {"v": 1}}, {"action": "revise", "document": {"v": 2}},
        {"action": "submit_for_review"}, {"action": "approve", "actor": "bea"}, {"action": "register"},
    ]  # fmt: skip
    items = [{"manifest_id": f"m{n}", **step} for n in range(50) for step in steps]

    results = list(pipeline.transition_many(items))

    assert {one.error for one in results} == {None}
    assert [one.value().event.version for one in results] == [1, 2, 3, 4, 5] * 50
    assert all(one.value().attempts == 1 for one in results)


def test_never_two_of_one_manifest_at_once_and_others_meanwhile(slow):
    """While the first step of a manifest takes its time, its second waits, and another manifest's goes ahead."""
    names = ["a1", "a2", "b1", "a3", "c1"]
    results = carry_out(names, lambda name: slow.work(name[0], name), workers=3)
    thread = threading.Thread(target=lambda: told.extend(results))
    told = []

    thread.start()
    until(lambda: len(slow.begun) == 3)
    assert sorted(slow.begun) == ["a1", "b1", "c1"]
    slow.go("b1", "c1")
    assert told == []
    slow.go(*names)
    thread.join()

    assert [one.result for one in told] == names
    assert [name for name in slow.begun if name[0] == "a"] == ["a1", "a2", "a3"]


def test_no_more_threads_than_workers_and_no_more_items_than_the_window(slow):
    """Of items without an end, as many are taken as the window holds, and as many are at work as there are workers."""
    taken = []

    def endless():
        for n in itertools.count():
            taken.append(n)
            slow.go(n)
            yield n

    results = carry_out(endless(), lambda n: slow.work(str(n), n), workers=3)
    for count in range(1, 200):
        assert next(results).result == count - 1
        assert len(taken) <= count + 3 * IN_FLIGHT_PER_WORKER
    results.close()

    assert slow.most <= 3
    assert len(taken) < 200 + 3 * IN_FLIGHT_PER_WORKER


def test_a_result_that_is_there_waits_for_one_item_at_most(slow):
    """Where items come slowly, the results of earlier ones aren't kept back until the window is full."""
    taken = []

    def items():
        for n in range(10):
            yield n
            until(lambda: len(slow.begun) == len(taken) + 1)
            taken.append(n)

    slow.go(*range(10))
    results = carry_out(items(), lambda n: slow.work("one", n), workers=1)
    for count in range(1, 6):
        next(results)
        assert len(taken) <= count + 2
    results.close()


def test_leaving_early_begins_nothing_more_and_waits_for_what_was_begun(slow):
    """`close` gives what was carried out and not told; what waited is never begun."""
    results = carry_out(range(6), lambda n: slow.work(str(n % 2), n), workers=2)
    then((lambda: sorted(slow.begun) == [0, 1], lambda: slow.go(0)))
    assert next(results).result == 0
    until(lambda: sorted(slow.begun) == [0, 1, 2])

    then((lambda: all(job.settled.is_set() for job in list(results._window)[2:]), lambda: slow.go(1, 2)))
    untold = results.close()

    assert sorted(one.result for one in untold) == [1, 2]
    assert sorted(slow.begun) == [0, 1, 2]
    assert results.close() == ()
    assert list(results) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("registration-many")]


def test_dropping_the_results_ends_them_and_says_what_was_done(pipeline, caplog):
    """A loop that is left by `break` leaves no thread behind, and nothing that was acknowledged goes unmentioned."""
    documents = ({"manifest_id": f"m{n}", "document": {"n": n}} for n in itertools.count())
    told = 0

    with caplog.at_level(logging.WARNING, "registration"):
        for one in pipeline.create_many(documents, workers=2):
            told += 1
            assert one.error is None
            if told == 3:
                break
        del one
        gc.collect()

    made = {summary.manifest_id for summary in pipeline.list()}
    mentioned = {
        f"m{index}"
        for record in caplog.records
        for index in record.getMessage().partition("index: ")[2].split(", ")
        if index.isdigit()
    }
    assert made == {"m0", "m1", "m2"} | mentioned
    assert not [t for t in threading.enumerate() if t.name.startswith("registration-many")]


def test_a_with_block_ends_them(slow):
    """Where it ends, nothing more is begun, and the threads are gone."""
    slow.go(*range(100))

    with carry_out(range(100), lambda n: slow.work(str(n), n), workers=1) as results:
        next(results)

    assert len(slow.begun) < 100


def test_items_that_fail_to_come_are_an_error_after_what_was_begun(pipeline):
    """An exception of the items' own iterator is raised once everything before it was told."""

    def items():
        for n in range(5):
            yield {"manifest_id": f"m{n}", "document": {}}
        raise OSError("the file ends here")

    told = []
    with pytest.raises(OSError, match="the file ends here"):
        told.extend(one.index for one in pipeline.create_many(items()))

    made = [summary.manifest_id for summary in pipeline.list()]
    assert made == [f"m{n}" for n in range(len(made))]
    assert told == list(range(len(made)))


def test_a_defect_is_raised_after_what_was_begun_is_told():
    """What is no RegistrationError is nobody's result: it ends the work, and hides nothing that was done."""

    def prepare(n):
        return str(n), lambda: 1 // (n - 3)

    told, results = [], carry_out(range(1_000), prepare, workers=2)
    with pytest.raises(ZeroDivisionError):
        told.extend(one.index for one in results)

    assert 3 not in told
    assert told == sorted(told)
    assert len(told) < 1_000
    assert list(results) == []


@pytest.mark.parametrize("wait_s", sampled([0.0, 0.005, 0.02, 0.05], 0.005))
def test_an_interrupt_begins_nothing_more_and_tells_what_was_begun(tmp_path, wait_s):
    """Ctrl-C, at any moment, in a real process: what was told is exactly what is in the registry, and it ends."""
    place = tmp_path / "registry"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, place],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "at work\n"
    time.sleep(wait_s)
    process.send_signal(signal.SIGINT)
    output, complaints = process.communicate()

    told = set(output.split())
    with RegistrationPipeline(place) as pipeline:
        made = {summary.manifest_id for summary in pipeline.list()}
    # The interrupt may meet the program outside of the loop's waiting: then its log says the rest, but for the one
    # result that it may just have been handed.
    mentioned = complaints.partition("index: ")[2].replace(",", " ").split()
    accounted = told | {f"m{index}" for index in mentioned if index.isdigit()}
    assert process.returncode == 0, complaints
    assert accounted <= made
    assert len(made - accounted) <= 1


def interrupt():
    """What Ctrl-C does, to the main thread of this process."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def then(*steps):
    """In another thread: wait for a condition, do something, wait for the next one, …"""

    def run():
        for condition, action in steps:
            until(condition)
            action()

    threading.Thread(target=run, daemon=True).start()


def test_an_interrupt_while_waiting_is_raised_last(slow):
    """What was begun is told between the interrupt and its raising."""
    results = carry_out(range(100), lambda n: slow.work(str(n), n), workers=2)
    then(
        (lambda: len(slow.begun) == 2, interrupt),
        (lambda: results._failure is not None, lambda: slow.go(0, 1)),
    )

    told = []
    with pytest.raises(KeyboardInterrupt):
        told.extend(one.result for one in results)

    assert told == [0, 1]
    assert sorted(slow.begun) == [0, 1]


def test_a_second_interrupt_waits_for_nothing(slow):
    """Whoever presses Ctrl-C twice gets out, and can still close the results and learn what was done."""
    results = carry_out(range(100), lambda n: slow.work(str(n), n), workers=2)
    then((lambda: len(slow.begun) == 2, interrupt), (lambda: results._failure is not None, interrupt))

    with pytest.raises(KeyboardInterrupt):
        next(results)
    at_work = sorted(slow.begun)
    slow.go(0, 1)

    assert at_work == [0, 1]
    assert [one.result for one in results.close()] == [0, 1]


def test_keys_of_items_count_as_those_of_calls(pipeline):
    """The same items again give the first answers again; a key that was used for something else is refused."""
    items = [
        {
            "manifest_id": f"m{n}",
            "document": {"n": n},
            "idempotency_key": f"import-{n}",
            "correlation_id": "c",
        }
        for n in range(10)
    ]
    first = list(pipeline.create_many(items))
    other = {**items[0], "document": {"n": "other"}}

    again = list(pipeline.create_many([*items, other]))

    assert [one.value().event.id for one in again[:-1]] == [one.value().event.id for one in first]
    assert {one.value().replayed for one in again[:-1]} == {True}
    assert {one.value().event.correlation_id for one in again[:-1]} == {"c"}
    assert type(again[-1].error) is IdempotencyMismatch


def test_what_a_handler_does_to_many_belongs_to_its_event(pipeline):
    """Commands that a handler issues through the pool inherit the correlation id and name the event as their cause."""
    made = []

    def follow(change):
        if change.manifest_id == "first":
            made.extend(pipeline.create_many([{"manifest_id": "second", "document": {}}]))

    pipeline.on("state_change", follow)
    first = pipeline.create_with_result("first", {}, correlation_id="batch")

    event = made[0].value().event
    assert (event.correlation_id, event.causation_id) == ("batch", first.event.id)


def test_the_same_in_memory():
    """The loop knows no files."""
    from registration.rules.lifecycles.registration import REGISTRATION

    with RegistrationPipeline(store=open_memory("urn:uuid:0190", REGISTRATION)) as pipeline:
        results = list(pipeline.create_many({"manifest_id": f"m{n % 7}", "document": {}} for n in range(21)))

    assert Counter(type(one.error) for one in results) == {type(None): 7, AlreadyExists: 14}


@given(
    steps=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["ok", "no"])), max_size=60),
    workers=st.integers(1, 5),
    taken=st.integers(0, 60),
)
@tries(150)
def test_any_items_with_any_workers(steps, workers, taken):
    """For all items, workers and places to stop: results in order, lanes in order, errors where they belong."""
    done = {name: [] for name in "abcd"}

    def prepare(step):
        name, answer = step[1]

        def do():
            done[name].append(step[0])
            if answer == "no":
                raise RegistrationError("no")
            return step[0]

        return name, do

    results = carry_out(list(enumerate(steps)), prepare, workers=workers)
    told = list(itertools.islice(results, taken))
    told += results.close()

    assert [one.index for one in told] == sorted({one.index for one in told})
    assert [one.index for one in told][:taken] == list(range(min(taken, len(steps))))
    for one in told:
        answer = one.item[1][1]
        assert (one.result, type(one.error)) == (
            (one.index, type(None)) if answer == "ok" else (None, RegistrationError)
        )
    for name, indices in done.items():
        assert indices == [n for n, (other, _) in enumerate(steps) if other == name][: len(indices)]
    assert sorted(itertools.chain(*done.values())) == [one.index for one in told]


def test_results_are_plain_values():
    """A result can be compared, and shows what it holds."""
    one = ItemResult(0, {"a": 1}, None, NotFound("gone."))

    assert one == ItemResult(0, {"a": 1}, None, one.error)
    assert "gone" in repr(one)
    assert json.dumps(one.item) == '{"a": 1}'
