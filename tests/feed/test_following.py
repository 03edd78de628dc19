"""Following a registry as it goes, and waiting for a manifest to come into a state."""

from __future__ import annotations

import builtins
import threading
import time

import pytest

from registration import RegistrationPipeline, open_memory
from registration.errors import InvalidArgument, NotFound, Rejected, StoreError, WaitTimeout
from registration.feed.watching import Watch
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.files import order
from registration.values.times import seconds_between
from tests.kit.builders import SOURCE, WATCH


@pytest.fixture(params=["files", "memory"])
def pipeline(request, root):
    if request.param == "memory":
        pipeline = RegistrationPipeline(store=open_memory(SOURCE, REGISTRATION), actor="ada")
    else:
        pipeline = RegistrationPipeline(root, actor="ada")
    with pipeline:
        yield pipeline


class Stop(threading.Event):
    """Stops a wait, and tells as soon as it has looked, found nothing, and waits to look again."""

    def __init__(self):
        super().__init__()
        self.waits = threading.Event()

    def wait(self, timeout=None):
        self.waits.set()
        return super().wait(timeout)


def in_thread(work):
    """Start it, and give what waits for its end and for what it returned."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()

    def result():
        thread.join(60)
        assert not thread.is_alive()
        return found[0]

    return result


def test_following_goes_on_as_more_comes(pipeline):
    """What is there, then what is committed, until it is stopped."""
    stop, seen = threading.Event(), []
    pipeline.create("a", {"n": 1})

    def follow():
        for entry in pipeline.feed.follow(stop=stop):
            seen.append((entry.event.subject, entry.event.version))
            if len(seen) == 4:
                stop.set()

    result = in_thread(follow)
    while not seen:
        time.sleep(0.01)
    pipeline.create("b", {"n": 1})
    pipeline.revise("a", {"n": 2})
    result()

    assert seen == [("registry", 1), ("a", 1), ("b", 1), ("a", 2)]


def test_following_from_now_gives_what_comes(pipeline):
    """And nothing of before; a cursor goes on behind its event."""
    stop, seen, begun = threading.Event(), [], threading.Event()
    pipeline.create("a", {"n": 1})
    end = pipeline.feed.end()

    def follow():
        begun.set()
        for entry in pipeline.feed.follow(end, stop=stop):
            seen.append(entry.event.version)
            stop.set()

    result = in_thread(follow)
    assert begun.wait(60)
    pipeline.revise("a", {"n": 2})
    result()

    assert seen == [2]
    assert list(pipeline.feed.follow("now", stop=stop)) == []  # stopped already


@pytest.mark.parametrize("told", [False, True])
def test_a_watch_wakes_for_a_commit_of_another_program(root, told, monkeypatch):
    """Whether it looks by itself, or is told by the system."""
    watchers = []
    real = order._watcher

    def watcher(folder):
        watchers.append(real(folder) if told else None)
        return watchers[-1]

    monkeypatch.setattr(order, "_watcher", watcher)
    waits = threading.Event()
    pause = order.FileOrder._told

    def told_or_not(self, timeout_s, stop):
        waits.set()
        return pause(self, timeout_s, stop)

    monkeypatch.setattr(order.FileOrder, "_told", told_or_not)
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("a", {})
        end = pipeline.feed.end()
        watch = Watch(pipeline._registry.store)
        result = in_thread(lambda: watch.wait(end))
        assert waits.wait(60)
        with RegistrationPipeline(root, actor="bea") as other:
            other.submit_for_review("a")

        assert result() is True
        assert [one is not None for one in watchers] == [told]


def test_a_watch_ends_when_its_time_is_up_or_it_is_stopped(pipeline):
    """And says that nothing new came."""
    stop = threading.Event()
    end = pipeline.feed.end()

    assert pipeline.feed.watch().wait(end, timeout_s=0.1) is False
    result = in_thread(lambda: pipeline.feed.watch(stop=stop).wait(end))
    stop.set()
    assert result() is False
    assert pipeline.feed.watch().wait("another", timeout_s=0) is True


def test_without_watchfiles_a_watch_looks_by_itself(root, monkeypatch):
    """The extra is not needed."""
    real = builtins.__import__

    def without(name, *args, **options):
        if name == "watchfiles":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with RegistrationPipeline(root, actor="ada") as pipeline:
        end = pipeline.feed.end()
        result = in_thread(lambda: pipeline.feed.watch().wait(end))
        pipeline.create("a", {})

        assert result() is True


def test_waiting_ends_at_once_where_it_is_there(pipeline):
    """The state as it is, also for no time at all."""
    pipeline.create("a", {})

    assert pipeline.feed.wait("a", "DRAFT", 0) == pipeline.load_state("a")
    assert pipeline.feed.wait("a", "DRAFT").version == 1


def test_waiting_ends_when_it_comes_there(pipeline):
    """By somebody else, and through other states."""
    pipeline.create("a", {})
    stop = Stop()
    result = in_thread(lambda: pipeline.feed.wait("a", "APPROVED", 60, stop=stop))
    assert stop.waits.wait(60)
    pipeline.submit_for_review("a")
    pipeline.approve("a", actor="bea")

    assert result().state == "APPROVED"


def test_a_state_that_it_only_came_through_counts(pipeline):
    """The manifest is given as it was then."""
    pipeline.create("a", {})
    stop = Stop()
    result = in_thread(lambda: pipeline.feed.wait("a", "REVIEWED", 60, stop=stop))
    assert stop.waits.wait(60)
    pipeline.submit_for_review("a")
    pipeline.reject("a", reason="no licence")
    found = result()

    assert (found.state, found.version) == ("REVIEWED", 2)


def test_what_was_before_the_waiting_does_not_count(pipeline):
    """It has to come there again."""
    pipeline.create("a", {})
    pipeline.submit_for_review("a")
    pipeline.reject("a", reason="no licence")

    with pytest.raises(
        WaitTimeout, match=r"'a' did not reach REVIEWED in 0.1 s: it is DRAFT, at version 3"
    ) as caught:
        pipeline.feed.wait("a", "REVIEWED", 0.1)

    assert caught.value.details["wanted"] == "REVIEWED"


def test_waiting_for_a_state_without_a_way_ends_at_once(pipeline):
    """As soon as the lifecycle can't lead there any more, and not before."""
    pipeline.create("a", {})
    result = in_thread(lambda: _error(lambda: pipeline.feed.wait("a", "DRAFT", 60)))
    assert result() is None
    pipeline.submit_for_review("a")
    pipeline.approve("a", actor="bea")
    stop = Stop()
    result = in_thread(lambda: _error(lambda: pipeline.feed.wait("a", "REVIEWED", 60, stop=stop)))
    assert stop.waits.wait(60)
    pipeline.register("a")

    assert isinstance(result(), Rejected)
    with pytest.raises(Rejected, match="no path from there to APPROVED"):
        pipeline.feed.wait("a", "APPROVED")


def _error(work):
    try:
        work()
    except Exception as error:
        return error
    return None


def test_a_parent_state_is_there_where_a_child_is():
    """And time-outs are ways as well."""
    with RegistrationPipeline(store=open_memory(SOURCE, WATCH), actor="ada") as pipeline:
        pipeline.create("a", {})
        pipeline.act("a", "ask")

        assert pipeline.feed.wait("a", "OPEN", 0).state == "WAITING"
        with pytest.raises(WaitTimeout):
            pipeline.feed.wait("a", "LATE", 0)  # it may come there by a time-out


def test_what_can_not_be_waited_for_is_refused(pipeline):
    """An unknown manifest, an unknown state, a time that is none."""
    pipeline.create("a", {})

    with pytest.raises(NotFound, match="Did you mean 'a'"):
        pipeline.feed.wait("A", "DRAFT")
    with pytest.raises(InvalidArgument, match="has no state 'GONE'"):
        pipeline.feed.wait("a", "GONE")
    for timeout_s in (-1, float("nan")):
        with pytest.raises(InvalidArgument, match="expected seconds, 0 or more"):
            pipeline.feed.wait("a", "REVIEWED", timeout_s)


def test_a_closed_pipeline_follows_nothing(pipeline):
    """As with everything else."""
    pipeline.close()

    for call in (
        pipeline.feed.read,
        pipeline.feed.end,
        pipeline.feed.watch,
        pipeline.feed.reconcile,
        pipeline.feed.consumer_names,
    ):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_seconds_between_times():
    """Of two texts, to the microsecond."""
    assert seconds_between("2026-01-01T00:00:00.000000Z", "2026-01-01T00:01:00.500000Z") == 60.5
    assert seconds_between("2026-01-01T00:00:01.000000Z", "2026-01-01T00:00:00.000000Z") == -1
