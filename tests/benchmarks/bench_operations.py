"""Single operations of each contender under pytest-benchmark: for a look at one, or at one before and after a change.

    pip install -e '.[test,bench]'
    pytest tests/benchmarks/bench_operations.py [--benchmark-compare]

Each is measured by itself, after the other; what compares them fairly is `compare.py`. Not collected with the tests.
"""

from __future__ import annotations

from itertools import count

import pytest
from contenders import BY_HAND, EVENTSOURCING, ByHand, WithEventsourcing, registration
from subject import DOCUMENT, Walker, modes, open_subject

SUBJECTS = [BY_HAND, EVENTSOURCING, *map(registration, modes())]
EVENTS = 200


class WithRegistration:
    """The registry with the methods of the other contenders."""

    def __init__(self, root, mode):
        self._pipeline = open_subject(root, mode)
        self._walkers = {}

    def create(self, id):
        self._pipeline.create(id, DOCUMENT)

    def step(self, id):
        if id not in self._walkers:
            self._walkers[id] = Walker(self._pipeline, id + "-walked")
        self._walkers[id].step()

    def load(self, id):
        return self._pipeline.load_state(id)

    def replay(self, id):
        return self._pipeline.upkeep.recover(self._walkers[id].id, dry_run=True)

    def close(self):
        self._pipeline.close()


@pytest.fixture(params=SUBJECTS)
def subject(request, tmp_path):
    """A contender with one manifest."""
    path = str(tmp_path / "subject")
    if request.param == BY_HAND:
        subject = ByHand(path)
    elif request.param == EVENTSOURCING:
        subject = WithEventsourcing(path)
    else:
        subject = WithRegistration(path, request.param.rpartition(" ")[2])
    subject.create("m")
    yield subject
    subject.close()


@pytest.mark.benchmark(group="create")
def test_create(benchmark, subject):
    """A new manifest."""
    names = (f"n{number}" for number in count())

    benchmark(lambda: subject.create(next(names)))


@pytest.mark.benchmark(group="transition")
def test_transition(benchmark, subject):
    """One durable transition."""
    subject.step("m")

    benchmark(subject.step, "m")


@pytest.mark.benchmark(group="load")
def test_load(benchmark, subject):
    """The state of one manifest."""
    benchmark(subject.load, "m")


@pytest.mark.benchmark(group="replay of 200 events")
def test_replay(benchmark, subject):
    """All events of one manifest; here alone with every hash checked."""
    for _ in range(EVENTS):
        subject.step("m")

    benchmark(subject.replay, "m")
