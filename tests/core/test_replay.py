"""Replay: the same answer as reading and folding one after the other, or none at all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.codec import scan
from registration.core.decider import fold
from registration.core.policy import Policy
from registration.core.replay import replay
from registration.engine.opening import open_registry
from registration.errors import GuardRefused, UnknownEvent
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.events import Position
from tests.kit.builders import (
    SOURCE,
    STREAM,
    WATCH,
    Log,
    forge,
    members_of,
    registered,
    tries,
    weather,
    with_batches,
)

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "registries"


def slowly(definition, data, *, base=None, stream=STREAM, source=SOURCE):
    """What `scan` and `fold` say: the state where all is well, otherwise None."""
    after = base.position if base else Position()
    found = scan(data, stream=stream, source=source, after=after)
    if found.fault is not None:
        return None
    try:
        return fold(definition, base, found.events)
    except UnknownEvent:
        return None


def quickly(definition, data, *, base=None, stream=STREAM, source=SOURCE):
    return replay(definition, base, data, stream=stream, source=source)


WAYS = {
    "create": (), "revise": ("DRAFT",), "submit_for_review": ("DRAFT",), "approve": ("REVIEWED", "APPROVED"),
    "reject": ("REVIEWED", "APPROVED"), "register": ("APPROVED",),
}  # fmt: skip


RELEASES = (Policy(format=1), Policy(), Policy(registry={"version": 1, "hash": "0" * 64}))


@st.composite
def logs(draw):
    """A log of the usual lifecycle, any way through it, by release 0.1 or by this one, or by one after the other."""
    log = Log()
    log.do("create", idempotency_key=draw(st.sampled_from([None, "k"])))
    for _ in range(draw(st.integers(0, 12))):
        possible = [action for action, froms in WAYS.items() if log.state.state in froms]
        if not possible:
            break
        log.policy = draw(st.sampled_from(RELEASES))
        action = draw(st.sampled_from(possible))
        said = {"reason": "no"} if action == "reject" else {}
        if action == "revise":
            said["document"] = weather(n=draw(st.integers(0, 3)))
        with suppress(GuardRefused):  # a second approval by the same person
            log.do(action, actor=draw(st.sampled_from(["ana", "ben", None])), **said)
    return log


@tries(150)
@given(logs(), st.data())
def test_a_sound_log_gives_the_state_that_reading_and_folding_give(log, data):
    """Whatever happened, from the beginning or from any version on."""
    begun = data.draw(st.integers(0, len(log.events) - 1))
    base = fold(REGISTRATION, None, log.events[:begun])
    rest = b"".join(log.lines[begun:])

    assert quickly(REGISTRATION, rest, base=base) == log.state
    assert slowly(REGISTRATION, rest, base=base) == log.state


def test_time_outs_and_what_is_remembered_are_folded_too():
    """A lifecycle whose facts change with every event."""
    log = Log(definition=WATCH)
    log.do("create")
    log.do("ask")
    log.do("note")
    log.fire("2099-01-01T00:00:00.000000Z")
    log.fire("2099-01-01T00:00:00.000000Z")

    assert quickly(WATCH, log.raw) == log.state


@pytest.mark.parametrize("kept", sorted(path.name for path in FIXTURES.iterdir()))
def test_every_log_that_is_kept_replays_to_the_same(kept):
    """Logs of every event schema, those that are brought to the schema of today among them."""
    store, *_ = open_registry(FIXTURES / kept)
    replayed = 0
    for stream in store.streams():
        log = store.inspect(stream).log
        where = {"stream": stream, "source": store.source}

        found = quickly(store.definition, log, **where)

        assert found == slowly(store.definition, log, **where)
        replayed += found is not None
    assert replayed


@tries(300)
@given(st.data())
def test_a_changed_log_gives_no_answer(data):
    """A byte that is not what was written is never folded over."""
    raw = bytearray(registered().raw)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))

    assert quickly(REGISTRATION, bytes(raw)) is None


@pytest.mark.parametrize("cut", [1, 2, 75, 76, 300])
def test_a_torn_log_gives_no_answer(cut):
    """What is not whole is for recovery to look at."""
    assert quickly(REGISTRATION, registered().raw[:-cut]) is None


def test_an_empty_log_and_one_with_batches_give_no_answer():
    """They are in order, and not ordinary: the slow way takes them."""
    assert quickly(REGISTRATION, b"") is None
    assert quickly(REGISTRATION, with_batches().raw) is None
    assert slowly(REGISTRATION, with_batches().raw) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"id": 1}, {"source": "urn:uuid:other"}, {"type": "registration.rewound.v1"}, {"type": 1}, {"type": []},
        {"subject": "other"}, {"time": None}, {"version": 7}, {"version": True}, {"version": "1"}, {"remaining": 1},
        {"part": 2}, {"correlationid": 1}, {"causationid": []}, {"idempotencykey": {}}, {"traceparent": 1},
        {"data": None}, {"data": {}}, {"data": {"to": "DRAFT"}}, {"data": {"action": "create", "from": None, "to": 1, "actor": None}},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("line", [0, 3])
def test_forged_lines_give_no_answer(change, line):
    """Lines whose hashes are right and which nobody of ours wrote: what is no event is not folded."""
    members = members_of(registered())
    members[line] = {**members[line], **change}
    raw = forge(members)

    if change != {"version": True} or line:  # which JSON readers in Python take for 1
        assert slowly(REGISTRATION, raw) is None
    assert quickly(REGISTRATION, raw) is None


def test_a_log_of_another_place_gives_no_answer():
    """Neither of another manifest, nor of another registry, nor from the middle."""
    log = registered()

    assert quickly(REGISTRATION, log.raw, stream="other") is None
    assert quickly(REGISTRATION, log.raw, source="urn:uuid:other") is None
    assert quickly(REGISTRATION, b"".join(log.lines[1:])) is None
