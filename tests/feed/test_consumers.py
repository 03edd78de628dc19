"""Named consumers: their place is kept, one works under a name, and an entry that keeps failing stops the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from registration import RegistrationPipeline, open_memory
from registration.errors import (
    ConsumerBlocked,
    ConsumerBusy,
    CorruptLog,
    InvalidArgument,
    LockTimeout,
    NotFound,
    StoreError,
)
from registration.feed.consumers import SKIPPED_MAX, Consumer
from registration.rules.lifecycles.registration import REGISTRATION
from registration.testing import FakeClock
from registration.values.times import RetryPolicy
from tests.kit.builders import SOURCE

AT_ONCE = RetryPolicy(attempts_max=3, base_s=0, cap_s=0)


@pytest.fixture(params=["files", "memory"])
def pipeline(request, root):
    if request.param == "memory":
        pipeline = RegistrationPipeline(store=open_memory(SOURCE, REGISTRATION), actor="ada")
    else:
        pipeline = RegistrationPipeline(root, actor="ada")
    with pipeline:
        yield pipeline


@pytest.fixture
def fed(pipeline):
    """With five events of two manifests."""
    for id in ("a", "b"):
        pipeline.create(id, {"n": 0})
    for number in range(3):
        pipeline.revise("a", {"n": number})
    return pipeline


@pytest.fixture
def on_files(root):
    with RegistrationPipeline(root, actor="ada") as pipeline:
        for id in ("a", "b"):
            pipeline.create(id, {"n": 0})
        yield pipeline


def handled_by(consumer, **options):
    """What a run to the end hands on, as manifests and versions."""
    seen = []
    consumer.run(lambda entry: seen.append((entry.event.subject, entry.event.version)), once=True, **options)
    return seen


ALL = [("registry", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 3), ("a", 4)]


def test_a_consumer_goes_on_where_it_was(fed):
    """Each event once, in order, over as many runs as there are."""
    assert handled_by(fed.feed.consumer("index")) == ALL
    assert handled_by(fed.feed.consumer("index")) == []
    fed.create("c", {})

    assert handled_by(fed.feed.consumer("index")) == [("c", 1)]
    assert handled_by(fed.feed.consumer("other")) == [*ALL, ("c", 1)]


def test_what_was_not_committed_comes_again(fed):
    """At least once: the cursor moves with `commit`, and with nothing else."""
    with fed.feed.consumer("index") as consumer:
        entries = list(consumer)
        consumer.commit(entries[1])
        assert list(consumer) == entries[2:]

    with fed.feed.consumer("index") as consumer:
        assert list(consumer) == entries[2:]
        consumer.commit(entries[2].cursor)
        assert consumer.cursor == entries[2].cursor
    assert handled_by(fed.feed.consumer("index")) == ALL[3:]


def test_a_new_consumer_begins_where_it_is_told(fed):
    """At the start, at the end, or at a cursor; an old one where it was."""
    third = list(fed.feed.read())[3]

    assert handled_by(fed.feed.consumer("now", start="now")) == []
    assert handled_by(fed.feed.consumer("third", start=third.cursor)) == ALL[4:]
    assert handled_by(fed.feed.consumer("now", start="start")) == []
    with pytest.raises(InvalidArgument, match="not a cursor"):
        fed.feed.consumer("index", start="yesterday")


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "-a", "a/b", "../a", "a\n", "hook:", "a:b", "é", "a" * 65, None, 7]
)
def test_what_is_no_name_is_refused(pipeline, name):
    """Before a path is built from it."""
    with pytest.raises(InvalidArgument, match="Invalid consumer name"):
        pipeline.feed.consumer(name)


def test_one_works_under_a_name_and_the_second_is_told_who(fed):
    """Also for what people do; other names are free."""
    with fed.feed.consumer("index"):
        second = fed.feed.consumer("index")
        for call in (second.__enter__, second.retry, second.delete, lambda: second.reset("now")):
            with pytest.raises((ConsumerBusy, InvalidArgument)) as caught:
                call()
            assert isinstance(caught.value, LockTimeout)
            assert caught.value.details["holder"]["pid"] == os.getpid()
        assert second.status().state == "running"
        assert handled_by(fed.feed.consumer("other")) == ALL
    assert second.status().state == "idle"
    assert handled_by(second) == ALL


def test_another_process_is_told_who_works(root, on_files):
    """By its number, its host, and since when; once it is killed, the name is free."""
    program = (
        "import sys\n"
        "from registration import RegistrationPipeline\n"
        "with RegistrationPipeline(sys.argv[1]) as p, p.feed.consumer('index') as consumer:\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"

    with pytest.raises(ConsumerBusy, match=f"in use by process {process.pid} on ") as caught:
        on_files.feed.consumer("index").__enter__()
    assert on_files.feed.consumer("index").status().holder == caught.value.details["holder"]

    process.kill()
    process.communicate()
    assert on_files.feed.consumer("index").status().state == "idle"
    assert handled_by(on_files.feed.consumer("index")) == ALL[:3]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12 warns of forks beside threads
def test_a_forked_child_does_not_keep_the_name(on_files):
    """A child that lives on has no copy of the lock."""
    told, tell = os.pipe()
    with on_files.feed.consumer("index"):
        child = os.fork()
        if child == 0:
            os.close(tell)
            os.read(told, 1)
            os._exit(0)
    try:
        assert handled_by(on_files.feed.consumer("index")) == ALL[:3]
    finally:
        os.close(tell)
        os.close(told)
        os.waitpid(child, 0)


def test_a_handler_that_fails_is_asked_again(fed):
    """The same entry, before any other; what went well is not done again."""
    seen, failures = [], [True, True]

    def handler(entry):
        seen.append((entry.event.subject, entry.event.version))
        if entry.event.version == 2 and failures and failures.pop():
            raise ValueError("not now")

    fed.feed.consumer("index").run(handler, once=True, retry=AT_ONCE)

    assert seen == [*ALL[:3], ("a", 2), ("a", 2), ("a", 2), *ALL[4:]]
    assert fed.feed.consumer("index").status().failing is None


def test_an_entry_that_keeps_failing_blocks(fed):
    """Nothing comes out of order: the consumer stops there, in every run, until a person retries or skips it."""
    broken = [True]

    def handler(entry):
        if broken[0] and entry.event.version == 2:
            raise ValueError("too large")

    with pytest.raises(
        ConsumerBlocked, match=r"a version 2 \(revise\) after 3 attempts: ValueError: too large"
    ):
        fed.feed.consumer("index").run(handler, once=True, retry=AT_ONCE)
    with pytest.raises(ConsumerBlocked):
        handled_by(fed.feed.consumer("index"))
    status = fed.feed.consumer("index").status()
    assert (status.state, status.lag_events, status.failing.attempts) == ("blocked", 3, 3)

    assert fed.feed.consumer("index").retry().what == "a version 2 (revise)"
    with pytest.raises(ConsumerBlocked) as caught:
        fed.feed.consumer("index").run(handler, once=True, retry=AT_ONCE)
    assert caught.value.details["tried"] == 3
    broken[0] = False
    fed.feed.consumer("index").retry()

    assert handled_by(fed.feed.consumer("index")) == ALL[3:]


def test_a_skipped_entry_is_remembered(fed):
    """With the reason, the error and the event's id; the next one comes."""

    def handler(entry):
        if entry.event.version == 2:
            raise ValueError("too large")

    with pytest.raises(ConsumerBlocked):
        fed.feed.consumer("index").run(handler, once=True, retry=AT_ONCE)
    for reason in ("", "  ", None):
        with pytest.raises(InvalidArgument, match="reason is required"):
            fed.feed.consumer("index").skip(reason)

    skipped = fed.feed.consumer("index").skip("not for the index")

    assert skipped.event_id == list(fed.feed.read())[3].event.id
    assert fed.feed.consumer("index").status().skipped == (skipped,)
    assert (skipped.reason, skipped.error) == ("not for the index", "ValueError: too large")
    assert handled_by(fed.feed.consumer("index")) == ALL[4:]


def test_only_the_last_skipped_entries_are_remembered(pipeline):
    """What is kept of a consumer doesn't grow without end."""
    pipeline.create("a", {"n": 0})
    for number in range(SKIPPED_MAX + 1):
        pipeline.revise("a", {"n": number})

    def fail(_entry):
        raise ValueError("no")

    once = RetryPolicy(attempts_max=1)
    for _ in range(SKIPPED_MAX + 2):
        with pytest.raises(ConsumerBlocked):
            pipeline.feed.consumer("index").run(fail, once=True, retry=once)
        pipeline.feed.consumer("index").skip("x")

    skipped = pipeline.feed.consumer("index").status().skipped
    assert len(skipped) == SKIPPED_MAX
    assert skipped[-1].what == f"a version {SKIPPED_MAX + 1} (revise)"


def test_where_nothing_failed_nothing_is_retried_or_skipped(fed):
    """And where there is no such consumer, that is said."""
    with pytest.raises(NotFound, match="no consumer 'index'"):
        fed.feed.consumer("index").retry()
    handled_by(fed.feed.consumer("index"))

    with pytest.raises(InvalidArgument, match="no failed entry"):
        fed.feed.consumer("index").retry()
    with pytest.raises(InvalidArgument, match="no failed entry"):
        fed.feed.consumer("index").skip("x")
    with pytest.raises(NotFound):
        fed.feed.consumer("other").status()


def test_a_consumer_can_be_put_elsewhere_and_forgotten(fed):
    """At the start, at the end, at a cursor of this feed."""
    consumer = fed.feed.consumer("index")
    third = list(fed.feed.read())[3].cursor

    consumer.reset("start")
    assert handled_by(consumer) == ALL
    consumer.reset(third)
    assert handled_by(consumer) == ALL[4:]
    consumer.reset("start")
    consumer.reset("now")
    assert handled_by(consumer) == []
    for nowhere in ("9-00000000:0", "yesterday"):
        with pytest.raises(InvalidArgument):
            consumer.reset(nowhere)
    consumer.delete()

    assert fed.feed.consumer_names() == []
    with pytest.raises(NotFound):
        consumer.delete()
    assert handled_by(consumer) == ALL


def test_the_status_says_how_far_behind(fed):
    """In events and in seconds, by the clock that is given."""
    store, clock = fed._registry.store, FakeClock()
    consumer = Consumer(store, "index", clock=clock)
    with consumer:
        entries = list(consumer)
        consumer.commit(entries[0])
    status = consumer.status()

    assert (status.name, status.state, status.lag_events) == ("index", "idle", 5)
    assert status.problem is None
    now = Consumer(store, "index").status()
    assert 0 <= now.lag_s < 3_600
    assert [one.name for one in fed.feed.consumers()] == ["index"]
    with consumer:
        consumer.commit(entries[-1])
    assert (consumer.status().lag_events, consumer.status().lag_s) == (0, 0.0)


def test_a_run_goes_on_as_more_comes(fed):
    """Until it is stopped, between two entries."""
    stop, seen, first = threading.Event(), [], threading.Event()

    def handler(entry):
        seen.append(entry.event.subject)
        first.set()
        if entry.event.subject == "c":
            stop.set()

    thread = threading.Thread(target=lambda: fed.feed.consumer("index").run(handler, stop=stop))
    thread.start()
    assert first.wait(60)
    fed.create("c", {})
    thread.join(60)

    assert seen == ["registry", "a", "b", "a", "a", "a", "c"]
    assert handled_by(fed.feed.consumer("index")) == []


def test_stopping_ends_the_waits_between_attempts(fed):
    """What failed is tried again by the next run, which goes on counting."""
    stop = threading.Event()

    def handler(_entry):
        stop.set()
        raise ValueError("no")

    slow = RetryPolicy(attempts_max=3, base_s=3_600, cap_s=3_600)
    assert fed.feed.consumer("index").run(handler, retry=slow, stop=stop) == 0
    status = fed.feed.consumer("index").status()
    assert (status.state, status.failing.attempts) == ("failing", 1)
    assert status.failing.next_at is not None

    def fail(_entry):
        raise ValueError("still no")

    with pytest.raises(ConsumerBlocked) as caught:
        fed.feed.consumer("index").run(fail, once=True, retry=AT_ONCE)
    assert caught.value.details["tried"] == 3


def test_keeping_the_cursor_seldom_hands_on_more_again(fed):
    """`commit_every`: after an end of any kind, what was handled is kept; only a kill loses the last few."""
    kept = []

    def look(entry):
        kept.append(
            json.loads(fed._registry.store.records.read(("feed", "consumers", "index.json")))["cursor"]
        )
        seen.append((entry.event.subject, entry.event.version))

    seen = []
    fed.feed.consumer("index").run(look, once=True, commit_every=2)
    assert seen == ALL
    assert len(set(kept)) == 3

    def interrupted(entry):
        if entry.event.version == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fed.feed.consumer("other").run(interrupted, once=True, commit_every=100)
    assert handled_by(fed.feed.consumer("other")) == ALL[4:]

    def failing(entry):
        if entry.event.version == 3:
            raise ValueError("no")

    with pytest.raises(ConsumerBlocked):
        fed.feed.consumer("third").run(failing, once=True, retry=AT_ONCE, commit_every=100)
    assert fed.feed.consumer("third").status().failing.attempts == 3
    with pytest.raises(ConsumerBlocked):
        handled_by(fed.feed.consumer("third"))
    fed.feed.consumer("third").retry()
    assert handled_by(fed.feed.consumer("third")) == ALL[4:]


def test_a_consumer_that_is_not_open_says_so(fed):
    """A mistake in a program is named, not guessed at."""
    consumer = fed.feed.consumer("index")

    for call in (lambda: list(consumer), lambda: consumer.commit("1-00000000:0"), lambda: consumer.cursor):
        with pytest.raises(StoreError, match="is not open"):
            call()
    with consumer, pytest.raises(StoreError, match="already open"):
        consumer.__enter__()


@pytest.mark.damaged
def test_damage_blocks_a_consumer_until_it_is_passed(root, on_files):
    """An event that can't be read is nobody's to leave out silently."""
    on_files.revise("a", {"n": 1})
    log = root / "manifests" / "a" / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"n":0', b'"n":9'))
    (root / "manifests" / "a" / "state.json").unlink()

    seen = []
    for _ in range(2):
        with pytest.raises(ConsumerBlocked, match="an unreadable event of a"):
            on_files.feed.consumer("index").run(lambda entry: seen.append(entry.event.subject), once=True)
        on_files.feed.consumer("index").skip("damaged")
        if seen == ["registry"]:
            assert on_files.feed.consumer("index").status().lag_events == 2
    assert handled_by(on_files.feed.consumer("index")) == []
    assert seen == ["registry", "b"]
    with pytest.raises(CorruptLog):
        list(on_files.feed.read())


def test_what_can_not_be_read_of_a_consumer_is_named(root, on_files):
    """A file that somebody changed is an error with a way out, and no reason to begin anew."""
    handled_by(on_files.feed.consumer("index"))
    path = root / "feed" / "consumers" / "index.json"
    sound = json.loads(path.read_text())
    for broken in (
        "{",
        "[]",
        "{}",
        json.dumps({**sound, "cursor": "x"}),
        json.dumps({**sound, "more": 1}),
    ):
        path.write_text(broken)

        with pytest.raises(StoreError, match="The file of the consumer 'index' is unreadable"):
            handled_by(on_files.feed.consumer("index"))
    path.unlink()
    on_files.feed.consumer("index").reset("now")
    assert handled_by(on_files.feed.consumer("index")) == []


def test_a_cursor_of_a_feed_that_was_deleted_is_named(root, on_files):
    """The consumer says so, in its status as well, and is put elsewhere by a person."""
    handled_by(on_files.feed.consumer("index"))
    kept = (root / "feed" / "consumers" / "index.json").read_bytes()
    for path in (root / "feed").glob("*.jsonl"):
        path.unlink()
    (root / "feed" / "consumers" / "index.json").write_bytes(kept)
    on_files.create("c", {})

    with pytest.raises(InvalidArgument, match="belongs to another feed"):
        handled_by(on_files.feed.consumer("index"))
    status = on_files.feed.consumer("index").status()
    assert isinstance(status.problem, InvalidArgument)
    on_files.feed.consumer("index").reset("start")
    assert sorted(handled_by(on_files.feed.consumer("index"))) == [
        ("a", 1),
        ("b", 1),
        ("c", 1),
        ("registry", 1),
    ]


def test_who_is_at_work_stands_in_a_file(root, on_files):
    """For as long as somebody is; one that a kill left names nobody, and is in nobody's way."""
    lock = root / "feed" / "consumers" / "index.lock"
    with on_files.feed.consumer("index") as consumer:
        assert json.loads(lock.read_text())["pid"] == os.getpid()
        assert on_files.feed.consumer("index").status().state == "running"
        with pytest.raises(ConsumerBusy) as busy:
            handled_by(on_files.feed.consumer("index"))
        assert busy.value.details["holder"]["pid"] == os.getpid()
        assert consumer.cursor == "start"
    assert not lock.exists()

    lock.write_text('{"pid": 1, "host": "h", "since": "2026"}')

    assert on_files.feed.consumer("index").status().state == "idle"
    assert handled_by(on_files.feed.consumer("index")) == ALL[:3]


def test_hooks_have_consumers_with_names_of_their_own(root, on_files):
    """The colon is written in a form that every file system takes."""
    handled_by(on_files.feed.consumer("hook:ci"))

    assert (root / "feed" / "consumers" / "hook%3Aci.json").exists()
    assert on_files.feed.consumer_names() == ["hook:ci"]
