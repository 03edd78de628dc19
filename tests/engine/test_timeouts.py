"""Time-outs: due when the events say so, fired once, at the time that they were due, by whoever comes first.

The lifecycle is `tests.kit.builders.WATCH`. Times are hours after the creation's midnight.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration import RegistrationPipeline, open_memory
from registration.core.chart import GuardUse
from registration.core.codec import encode_snapshot
from registration.core.decider import decide_timeout, due_timeout, fold
from registration.core.policy import Policy
from registration.engine.engine import Engine
from registration.errors import IllegalTransition, NotFound, RegistrationError, VersionConflict
from registration.evidence.verification import verify_files
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile
from registration.storage.ledger import Ledger
from registration.storage.memory import MemoryBackend
from registration.testing import FakeClock
from registration.values.commands import Command
from registration.values.times import duration_s, later, rfc3339
from tests.conftest import check_store
from tests.kit.builders import SOURCE, WATCH, Log, tries, weather

MIDNIGHT_NS = 1_767_225_600_000_000_000
DUE = WATCH.chart.timeouts


def at(hours):
    """A time, so many hours after midnight."""
    return rfc3339(MIDNIGHT_NS + round(hours * 3_600) * 1_000_000_000)


class Watch(Log):
    """A log of `WATCH` whose commands are carried out at a given hour."""

    def __init__(self, **said):
        super().__init__(**{"definition": WATCH, **said})

    def do_at(self, hours, action, **said):
        self.clock.now_ns = MIDNIGHT_NS + round(hours * 3_600) * 1_000_000_000
        return self.do(action, **said)


def waiting():
    """A manifest that was created at midnight and asked at one."""
    log = Watch()
    log.do_at(0, "create", document=weather())
    log.do_at(1, "ask")
    return log


def due(log):
    return dict(log.state.facts.get("due", {}))


# -- when they are due -----------------------------------------------------------------------------------


def test_an_event_says_when_the_time_outs_of_its_place_are_due():
    """Of each state that is active after it, ancestors included, and of no other; the facts say the same."""
    log = waiting()

    said = [event.data["due"] for event in log.events]

    assert said == [{"expire": at(24)}, {"nudge": at(2), "close": at(5), "abandon": at(4)}]
    assert due(log) == said[-1]


def test_a_time_out_runs_on_while_its_state_is_not_left():
    """A note restarts what is counted from entering WAITING, and what slides; OPEN is not left, so `close` runs on."""
    log = waiting()

    log.do_at(1.5, "note")

    assert due(log) == {"nudge": at(2.5), "close": at(5), "abandon": at(4.5)}


def test_what_is_left_is_not_due_any_more_and_starts_anew_when_it_is_entered_again():
    """Whoever goes back to DRAFT and asks again has all the time again."""
    log = waiting()

    log.do_at(2, "retract")
    back = due(log)
    log.do_at(3, "ask")

    assert back == {"expire": at(26)}
    assert due(log) == {"nudge": at(4), "close": at(7), "abandon": at(6)}


def test_a_state_that_is_entered_again_at_once_starts_anew():
    """A revision leaves DRAFT and enters it again."""
    log = Watch()
    log.do_at(0, "create", document=weather())

    log.do_at(5, "revise", document=weather(title="other"))

    assert due(log) == {"expire": at(29)}


def test_the_end_has_no_time_outs():
    """Nothing is due where nothing leads on."""
    log = waiting()

    log.do_at(2, "answer")

    assert "due" not in log.events[-1].data
    assert "due" not in log.state.facts


def test_a_clock_that_went_back_does_not_make_anything_due_earlier():
    """Times are counted from the time of the event, which never goes back."""
    log = waiting()

    log.do_at(-10, "note")

    assert log.events[-1].time == at(1)
    assert due(log)["nudge"] == at(2)


def test_a_lifecycle_without_time_outs_says_nothing_of_them():
    """The events of the built-in lifecycle have no such word."""
    log = Log()
    log.do("create")

    assert "due" not in log.events[0].data


def test_a_time_out_that_came_with_a_later_version_starts_with_the_next_event():
    """What was entered before the lifecycle had it is counted from the first event under it."""
    log = waiting()
    log.definition = replace(
        WATCH,
        version=2,
        chart=replace(WATCH.chart, timeouts=(*DUE, replace(DUE[3], name="end", past="ended"))),
    )

    log.do_at(1.5, "note")

    assert due(log)["end"] == at(5.5)
    assert due(log)["close"] == at(5)


# -- firing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "name"),
    [(0, None), (1.999, None), (2, "nudge"), (2.5, "nudge"), (4.5, "nudge"), (100, "nudge")],
)
def test_what_is_due_first_is_due_first(hours, name):
    """From the very moment on, not before; of several, the one that was due earliest."""
    timeout = due_timeout(WATCH, waiting().state, at(hours))

    assert (timeout.name if timeout else None) == name


def test_of_two_at_the_same_moment_the_first_by_name():
    """The order is the same in every run: nothing depends on where in the lifecycle they stand."""
    log = waiting()
    same = replace(log.state, facts={"due": {"close": at(3), "abandon": at(3), "nudge": at(3)}})

    assert due_timeout(WATCH, same, at(3)).name == "abandon"


def test_the_event_of_a_time_out():
    """It has the time at which it was due, says which state timed out and when it was noticed, and is nobody's doing."""
    log = waiting()
    log.do_at(1.5, "note", correlation_id="request", idempotency_key="k")

    log.fire(at(9))

    event = log.events[-1]
    assert event.type == "watch.nudged.v1"
    assert event.time == at(2.5)
    assert (event.actor, event.action) == (None, "nudge")
    assert (event.from_state, event.to_state) == ("WAITING", "LATE")
    assert event.data["timeout"] == {"state": "WAITING", "after": "1h", "due": at(2.5), "fired": at(9)}
    assert (event.data["lifecycle"], event.data["digest"]) == (WATCH.identity, weather().digest)
    assert (event.correlation_id, event.causation_id, event.idempotency_key) == (event.id, None, None)
    assert list(event.data) == [
        "action",
        "from",
        "to",
        "actor",
        "timeout",
        "lifecycle",
        "release",
        "due",
        "digest",
    ]


def test_a_time_out_moves_what_slides_and_leaves_what_runs():
    """It is an event like any other: `abandon` counts from it, `close` runs on, LATE begins."""
    log = waiting()

    log.fire(at(9))

    assert due(log) == {"drop": at(3), "close": at(5), "abandon": at(5)}


def test_time_outs_follow_on_each_other():
    """What one leads to may be due as well: each is recorded, each at its own time."""
    log = waiting()

    while log.fire(at(1_000)):
        pass

    assert [(event.action, event.time, event.to_state) for event in log.events[2:]] == [
        ("nudge", at(2), "LATE"),
        ("drop", at(3), "DRAFT"),
        ("expire", at(27), "GONE"),
    ]


def test_no_guard_is_asked():
    """Nobody is there to be asked: what the policy demands of actions says nothing of time."""

    def never(_state, _command, _policy):
        raise AssertionError

    uses = {name: (GuardUse("never"),) for name in ("nudge", "drop", "expire", "answer")}
    log = waiting()
    log.policy = Policy(uses=uses, guards={"never": never})

    log.fire(at(2))

    assert log.state.state == "LATE"
    assert log.events[-1].data["policy"] == log.policy.digest


def test_a_time_out_is_never_before_the_last_event():
    """Where an event was recorded after it was due, as by a release that knew no time-outs, history does not go back."""
    log = waiting()
    log.add([log.new("note", time=at(3), data={"action": "note", "from": "WAITING", "to": "WAITING", "actor": None,
                                               "due": {"nudge": at(2)}})])  # fmt: skip

    log.fire(at(4))

    assert log.events[-1].time == at(3)
    assert log.events[-1].data["timeout"]["due"] == at(2)
    assert due(log)["drop"] == at(4)


def test_a_time_out_that_the_lifecycle_has_no_more_comes_to_nothing():
    """The log names it, the lifecycle in force doesn't: it never fires."""
    log = waiting()
    without = replace(WATCH, chart=replace(WATCH.chart, timeouts=DUE[:1]))

    assert due_timeout(without, log.state, at(1_000)) is None


def test_a_time_out_whose_state_is_elsewhere_holds_up_no_other():
    """It used to: due first, and nowhere to fire from, it kept every other one from firing as well.

    That is what a later version of a lifecycle makes of it when it moves a time-out to another state.
    """
    log = waiting()
    moved = replace(
        WATCH,
        chart=replace(WATCH.chart, timeouts=(DUE[0], replace(DUE[1], state="LATE", target="GONE"), *DUE[2:])),
    )

    assert due_timeout(WATCH, log.state, at(10)).name == "nudge"
    assert due_timeout(moved, log.state, at(10)).name == "abandon"
    assert decide_timeout(moved, log.state, moved.chart.timeouts[1], time=at(10), event_id="id") == []


def test_replay_needs_no_clock_and_no_lifecycle():
    """What was due stands in the events: the log folds to the same bytes under a lifecycle that has no time-outs."""
    log = waiting()
    while log.fire(at(1_000)):
        pass
    without = replace(WATCH, version=2, chart=replace(WATCH.chart, timeouts=()), earlier=WATCH.event_types)

    for version in range(1, len(log.events) + 1):
        here, there = (fold(lifecycle, None, log.events[:version]) for lifecycle in (WATCH, without))

        assert encode_snapshot(here) == encode_snapshot(there)
    assert verify_files(_files(log), stream=log.stream, source=SOURCE, definition=without).findings == ()


def _files(log):
    from registration.storage.reports import Files

    return Files(log.raw, encode_snapshot(log.state))


# -- through the engine ----------------------------------------------------------------------------------


class Clock(FakeClock):
    """A clock that stands still, at an hour."""

    def __init__(self, hours=0.0):
        super().__init__(MIDNIGHT_NS, tick_ns=0)
        self.set(hours)

    def set(self, hours):
        self.now_ns = MIDNIGHT_NS + round(hours * 3_600) * 1_000_000_000


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "files"])
def store(request, tmp_path):
    """Either store; every byte of it is verified afterwards."""
    if request.param == "memory":
        store = open_memory(SOURCE, WATCH)
    else:
        wanted = RegistryFile(SOURCE.removeprefix("urn:uuid:"), at(0), "watch", lifecycle=WATCH.identity)
        store = open_files(tmp_path / "registry", WATCH, wanted=wanted, lifecycle=WATCH.data)
    yield store
    check_store(store)


@pytest.fixture
def open_engine(store, clock):
    """Engines on one store, each with ids of its own."""
    seeds = iter(range(100))
    return lambda **said: Engine(
        store, clock=clock, random_source=random.Random(next(seeds)), sleep=lambda _: None, **said
    )


def on(action, stream="a", **said):
    if action in ("create", "revise"):
        said.setdefault("document", weather())
    return Command(**{"stream": stream, "action": action, "actor": "ana", **said})


@pytest.fixture
def engine(open_engine, clock):
    """An engine with a manifest that was created at midnight and asked at one."""
    engine = open_engine()
    engine.execute(on("create"))
    clock.set(1)
    engine.execute(on("ask"))
    return engine


def told(store, stream="a"):
    """What is in the log: the action and the time of each event."""
    return [(event.action, event.time) for event in store.read(stream)]


BEGUN = [("create", at(0)), ("ask", at(1))]


def test_a_tick_fires_what_is_due(engine, store, clock):
    """It gives the events and the state; the next one finds nothing to do."""
    clock.set(3.5)

    outcome = engine.tick("a")

    assert [event.action for event in outcome.events] == ["nudge", "drop"]
    assert (outcome.state, outcome.replayed, outcome.attempts) == (store.load("a"), False, 1)
    assert told(store) == [*BEGUN, ("nudge", at(2)), ("drop", at(3))]
    assert engine.tick("a") is None


@pytest.mark.parametrize("hours", [0.5, 1, 1.999])
def test_a_tick_before_anything_is_due_does_nothing(engine, store, clock, hours):
    """Not a byte is written."""
    before = store.inspect("a")
    clock.set(hours)

    assert engine.tick("a") is None
    assert store.inspect("a") == before


def test_a_tick_of_what_is_not_there_does_nothing(engine, store):
    """Nothing is due of an unknown manifest, and nothing is made."""
    assert engine.tick("b") is None
    assert list(store.streams()) == ["a"]


def test_the_next_write_fires_what_is_due_first(engine, store, clock):
    """The command is decided on what the time-out led to, after it, at its own time."""
    clock.set(2.5)

    outcome = engine.execute(on("answer"))

    assert told(store) == [*BEGUN, ("nudge", at(2)), ("answer", at(2.5))]
    assert [event.action for event in outcome.events] == ["answer"]
    assert outcome.events[0].from_state == "LATE"


def test_a_command_that_time_has_overtaken_is_refused_for_what_is_by_then(engine, store, clock):
    """The time-out stays recorded: it had happened, whatever came of the command."""
    clock.set(3)

    with pytest.raises(IllegalTransition, match="is DRAFT and can't do 'answer'"):
        engine.execute(on("answer"))

    assert told(store) == [*BEGUN, ("nudge", at(2)), ("drop", at(3))]


def test_a_command_that_is_refused_in_any_case_leaves_the_time_out_too(engine, store, clock):
    """A mistake of the caller changes nothing about the time."""
    clock.set(2)

    with pytest.raises(RegistrationError, match="no action 'answr'"):
        engine.execute(on("answr"))

    assert told(store) == [*BEGUN, ("nudge", at(2))]


@pytest.mark.parametrize("expected", [1, 2, 3, 4, 5])
def test_an_expected_version_is_the_one_after_the_time_outs(engine, store, clock, expected):
    """Whoever looked before them is told where it is now; whoever knows of them may pin what they lead to."""
    clock.set(3)

    if expected == 4:
        outcome = engine.execute(on("ask", expected_version=expected))

        assert outcome.state.version == 5
    else:
        with pytest.raises(VersionConflict, match="it is at version 4") as caught:
            engine.execute(on("ask", expected_version=expected))

        assert caught.value.details["found"] == 4
        assert store.load("a").version == 4


def test_a_key_is_answered_before_anything_fires(engine, store, clock):
    """The same request gets the first answer, and nothing is written: not even what is due."""
    clock.set(1.5)
    first = engine.execute(on("note", idempotency_key="k"))
    before = store.inspect("a")
    clock.set(50)

    again = engine.execute(on("note", idempotency_key="k"))

    assert again == replace(first, replayed=True)
    assert store.inspect("a") == before
    assert [event.action for event in engine.tick("a").events] == ["nudge", "drop", "expire"]


def test_a_dry_run_says_what_would_be_and_does_nothing(engine, store, clock, open_engine):
    """The events, chained as they would be, are in no log; handlers hear nothing; the real run records the same."""
    clock.set(3.5)
    before, heard = store.inspect("a"), []
    engine.publisher.subscribe(heard.append)

    shown = engine.tick("a", dry_run=True)

    assert [event.action for event in shown.events] == ["nudge", "drop"]
    assert (shown.state.state, shown.state.version) == ("DRAFT", 4)
    assert (store.inspect("a"), heard) == (before, [])
    done = engine.tick("a")
    assert [(e.type, e.time, e.data) for e in done.events] == [(e.type, e.time, e.data) for e in shown.events]
    assert [change.event for change in heard] == list(done.events)


def test_a_dry_run_keeps_no_rules(store, clock, open_engine):
    """What nothing was decided under need not be kept."""
    policy = Policy(name="acme", roles={"r": ("bea",)})
    open_engine().execute(on("create"))
    clock.set(30)

    assert open_engine(policy=lambda: policy).tick("a", dry_run=True).events

    with pytest.raises(NotFound):
        store.kept("policies", policy.digest)
    open_engine(policy=lambda: policy).tick("a")
    assert store.kept("policies", policy.digest) == policy.data


def test_handlers_are_told_in_order(engine, clock):
    """Of the time-out first, then of the command that waited for it."""
    heard = []
    engine.publisher.subscribe(lambda change: heard.append((change.event.action, change.snapshot.state)))
    clock.set(2)

    engine.execute(on("answer"))

    assert heard == [("nudge", "LATE"), ("answer", "ANSWERED")]


def test_what_falls_due_while_a_command_is_decided_is_not_passed_over(open_engine, store):
    """The clock was read twice: what fell due in between was neither fired nor there when the event was dated.

    So a note at two seconds past the hour stood in a log in which nobody had been nudged at the hour.
    """
    clock = FakeClock(MIDNIGHT_NS, tick_ns=0)
    engine = Engine(store, clock=clock, random_source=random.Random(1))
    engine.execute(on("create"))
    engine.execute(on("ask"))
    clock.advance(3_599)
    clock.tick_ns = 2_000_000_000

    engine.execute(on("note"))

    for before, event in itertools.pairwise(store.read("a")):
        assert event.time <= min(before.data["due"].values())


def test_a_manifest_that_was_ticked_meanwhile_is_left_alone(clock):
    """Of two that find the same time-out due, one records it; the other looks again and has nothing to do."""
    store = Overtaken()
    first, other = (
        Engine(store, clock=clock, random_source=random.Random(n), sleep=lambda _: None) for n in (1, 2)
    )
    first.execute(on("create"))
    clock.set(24)
    store.before_append = lambda: other.tick("a")

    assert first.tick("a") is None
    assert told(store) == [("create", at(0)), ("expire", at(24))]


def test_a_command_whose_time_out_was_fired_meanwhile_goes_on_from_there(clock):
    """The conflict is the engine's own: it decides again, once, and fires nothing twice."""
    store = Overtaken()
    first, other = (
        Engine(store, clock=clock, random_source=random.Random(n), sleep=lambda _: None) for n in (1, 2)
    )
    first.execute(on("create"))
    clock.set(1)
    first.execute(on("ask"))
    clock.set(2)
    store.before_append = lambda: other.tick("a")

    outcome = first.execute(on("answer"))

    assert outcome.attempts == 2
    assert told(store) == [*BEGUN, ("nudge", at(2)), ("answer", at(2))]
    check_store(store)


class Overtaken(Ledger):
    """A store on which somebody else gets in before an append, once. before_append: what he does."""

    def __init__(self):
        super().__init__(MemoryBackend(), SOURCE, WATCH)
        self.before_append = None

    def append(self, stream, after, events, snapshot, **given):
        act, self.before_append = self.before_append, None
        if act:
            act()
        return super().append(stream, after, events, snapshot, **given)


def test_threads_that_tick_at_once_fire_once(store, open_engine, clock, restless_threads):
    """However many notice it, each time-out is recorded once, and each event is given to one of them."""
    setting_up = open_engine()
    ids = [f"m{n}" for n in range(5)]
    for id in ids:
        setting_up.execute(on("create", stream=id))
        setting_up.execute(on("ask", stream=id))
    clock.set(1_000)
    engines = [open_engine() for _ in range(4)]
    start = threading.Barrier(len(engines))
    given, failures = [], []

    def work(engine):
        start.wait()
        for id in ids:
            try:
                outcome = engine.tick(id)
            except RegistrationError as error:
                failures.append(error)
            else:
                given.extend(outcome.events if outcome else ())

    threads = [threading.Thread(target=work, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    for id in ids:
        assert [action for action, _ in told(store, id)] == ["create", "ask", "nudge", "drop", "expire"]
    assert len({event.id for event in given}) == len(given)
    assert {event.id for event in given} <= {event.id for id in ids for event in store.read(id)}


TICKER = """
import json, random, sys
from registration import RegistrationPipeline
import registration.pipeline.pipeline, portalocker

root, name = sys.argv[1:]
with RegistrationPipeline(root, create=False) as pipeline:
    ids = list(pipeline.upkeep.manifest_ids())
    random.Random(name).shuffle(ids)
    print("ready", flush=True)
    sys.stdin.readline()
    for id in ids:
        print(json.dumps([event.id for event in pipeline.upkeep.tick(id)]), flush=True)
"""


@pytest.mark.torture
def test_processes_that_tick_at_once_fire_once(tmp_path):
    """Several processes on one registry, by the machine's own clock: each time-out of years ago is recorded once."""
    root = tmp_path / "registry"
    with RegistrationPipeline(root, lifecycle=WATCH, clock=FakeClock(0, tick_ns=0)) as pipeline:
        ids = [f"m{n}" for n in range(8)]
        for id in ids:
            pipeline.create(id, {})
            pipeline.act(id, "ask")
    tickers = [
        subprocess.Popen(
            [sys.executable, "-c", TICKER, root, str(n)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for n in range(3)
    ]  # fmt: skip
    for ticker in tickers:
        assert ticker.stdout.readline() == "ready\n"

    for ticker in tickers:
        ticker.stdin.write("go\n")
        ticker.stdin.flush()
    given = []
    for ticker in tickers:
        output, complaints = ticker.communicate()
        assert (ticker.returncode, complaints) == (0, "")
        given += [event_id for line in output.splitlines() for event_id in json.loads(line)]

    with RegistrationPipeline(root, create=False) as pipeline:
        events = {id: list(pipeline.history(id)) for id in ids}
        findings = [pipeline.evidence.verify(id).findings for id in ids]
    for id in ids:
        assert [event.action for event in events[id]] == ["create", "ask", "nudge", "drop", "expire"]
    fired = {event.id for id in ids for event in events[id][2:]}
    assert len(given) == len(set(given))
    assert set(given) <= fired
    assert findings == [()] * len(ids)


# -- whoever comes first ---------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 600, 1_800, 3_600, 5_400, 14_400, 86_400]),
        st.sampled_from(["create", "revise", "ask", "note", "hurry", "retract", "answer"]),
    ),
    max_size=12,
)


def history(steps, *, every_s=None):
    """What is in the log after these steps; somebody ticks all the while, or nobody ever does."""
    clock = Clock()
    store = open_memory(SOURCE, WATCH)
    engine = Engine(store, clock=clock, random_source=random.Random(1))
    engine.execute(on("create"))
    for wait_s, action in (*steps, (10**6, None)):
        if every_s is not None:
            for _ in range(min(wait_s, 10**5) // every_s):
                clock.advance(every_s)
                engine.tick("a")
            clock.advance(wait_s - min(wait_s, 10**5) // every_s * every_s)
        else:
            clock.advance(wait_s)
        try:
            if action is not None:
                engine.execute(on(action))
        except RegistrationError:
            pass
    engine.tick("a")
    check_store(store)
    return list(store.read("a"))


@given(STEPS)
@tries(60)
def test_the_log_is_the_same_whoever_fires(steps):
    """A registry that is ticked every quarter of an hour and one that nobody ticks tell the same story.

    And in each, no event stands after a time at which something was due: it had fired.
    """
    eager, lazy = history(steps, every_s=900), history(steps)

    def story(events):
        return [(e.type, e.time, e.from_state, e.to_state, e.data.get("due")) for e in events]

    assert story(eager) == story(lazy)
    for before, event in itertools.pairwise(lazy):
        if "due" in before.data:
            assert event.time <= min(before.data["due"].values())
    for event in lazy:
        if "timeout" in event.data:
            assert event.time == event.data["timeout"]["due"] <= event.data["timeout"]["fired"]


# -- times as text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("30s", 30), ("45m", 2_700), ("36h", 129_600), ("14d", 1_209_600), ("2w", 1_209_600),
     ("9999999s", 9_999_999), ("5228w", 5_228 * 604_800)],
)  # fmt: skip
def test_a_time_as_people_write_it(text, seconds):
    """Seconds, minutes, hours, days and weeks; a day has 24 hours."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "0s", "00s", "01s", "-1s", "+1s", "1", "s", "1 s", "1S", "1d ", " 1d", "1d2h", "1.5h", "1y", "1month",
     "10000000s", "5229w", "٣d", "1d\n"],
)  # fmt: skip
def test_what_is_no_time(text):
    """Nothing, something else, nought, or more than a hundred years."""
    assert duration_s(text) is None


def test_later_is_later_up_to_the_last_time_there_is():
    """Text that sorts as the times do; beyond the year 9999 there is the end of it."""
    assert later(at(1), 60) == "2026-01-01T01:01:00.000000Z"
    assert later("2024-02-28T23:59:59.500000Z", 1) == "2024-02-29T00:00:00.500000Z"
    assert later("9999-12-31T23:59:59.000000Z", 3_600) == "9999-12-31T23:59:59.999999Z"


@given(st.integers(0, 10**10), st.integers(1, 3_200_000_000))
@tries(200)
def test_text_sorts_as_the_times_do(unix_s, seconds):
    """However far apart, the later one is the greater text, and of the same length."""
    before = rfc3339(unix_s * 1_000_000_000)

    after = later(before, seconds)

    assert after > before
    assert len(after) == len(before)
