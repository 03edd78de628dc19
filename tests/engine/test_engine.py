"""The engine: conflicts decided again, requests answered once, ancestry handed down.

The store is the one in memory, with somebody who may let another writer in just before an append.
"""

from __future__ import annotations

import json
import random
import threading
from collections import deque
from dataclasses import replace

import pytest

from registration import RetryPolicy, open_memory
from registration.core.chart import GuardUse
from registration.core.decider import KEYS_KEPT_MAX
from registration.core.policy import NO_POLICY, Kind, Policy, Verdict
from registration.engine.engine import Engine
from registration.errors import (
    AlreadyExists,
    GuardRefused,
    IdempotencyMismatch,
    IllegalTransition,
    LockTimeout,
    NotFound,
    PinMismatch,
    RegistrationError,
    Rejected,
    SnapshotMismatch,
    StoreError,
    VersionConflict,
)
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.ledger import Ledger
from registration.storage.memory import MemoryBackend
from registration.testing import FakeClock
from registration.values.commands import Command
from registration.values.documents import check_document, digest_of
from tests.conftest import check_store

SOURCE = "urn:uuid:019b76da-a800-7000-8000-000000000001"


class BusyStore(Ledger):
    """A store on which others are busy: before each append, the next of them is let in.

    others: what they do, each once; a None lets nobody in. appends: how often it was tried.
    """

    def __init__(self, definition=REGISTRATION):
        super().__init__(MemoryBackend(), SOURCE, definition)
        self.others = deque()
        self.appends = 0

    def append(self, stream, after, events, snapshot, **given):
        self.appends += 1
        others, self.others = self.others, deque()
        if others and (other := others.popleft()):
            other()
        self.others = others
        return super().append(stream, after, events, snapshot, **given)


class Sleeper:
    """Sleeps in no time. slept_s: every wait."""

    def __init__(self):
        self.slept_s = []

    def __call__(self, wait_s):
        self.slept_s.append(wait_s)


@pytest.fixture
def store():
    store = BusyStore()
    yield store
    check_store(store)


@pytest.fixture
def sleep():
    return Sleeper()


@pytest.fixture
def engine(store, sleep):
    return Engine(store, clock=FakeClock(), random_source=random.Random(1), sleep=sleep)


@pytest.fixture
def other(store):
    """Another writer on the same store: call it with what it does."""
    engine = Engine(store, clock=FakeClock(), random_source=random.Random(2))
    return lambda action, **said: lambda: engine.execute(asked(action, actor="other", **said))


def asked(action=None, stream="a", document=None, **said):
    """A command; a document is given as plain values."""
    if document is None and action in ("create", "revise"):
        document = {}
    checked = check_document(document) if document is not None else None
    return Command(**{"stream": stream, "action": action, "document": checked, "actor": "ada"} | said)


def actors(store, stream="a"):
    """Who wrote what is in the log, in order."""
    return [event.actor for event in store.read(stream)]


# -- conflicts -----------------------------------------------------------------------------------------


def test_a_conflict_is_decided_again(engine, store, other, sleep):
    """Where somebody else was faster, the command is carried out on the state that they left."""
    engine.execute(asked("create"))
    store.others.append(other("revise", document={"by": "other"}))

    outcome = engine.execute(asked("revise", document={"by": "ada"}))

    assert (outcome.attempts, outcome.state.version) == (2, 3)
    assert actors(store) == ["ada", "other", "ada"]
    assert len(sleep.slept_s) == 1


def test_deciding_again_may_come_to_a_refusal(engine, store, other):
    """What was possible before the conflict and isn't any more is refused for what it is now."""
    engine.execute(asked("create"))
    store.others.append(other("submit_for_review"))

    with pytest.raises(IllegalTransition, match="is REVIEWED"):
        engine.execute(asked("submit_for_review"))

    assert actors(store) == ["ada", "other"]


def test_a_creation_that_came_second_finds_the_first(engine, store, other):
    """Of two that create one id at once, the slower is told that it exists."""
    store.others.append(other("create"))

    with pytest.raises(AlreadyExists, match="version 1"):
        engine.execute(asked("create"))

    assert actors(store) == ["other"]


def test_the_waits_are_those_of_the_policy(store, other, sleep):
    """Each wait is drawn below a ceiling that doubles up to the cap, from the random source that was given."""
    policy = RetryPolicy(attempts_max=6, base_s=0.010, cap_s=0.040)
    engine = Engine(store, clock=FakeClock(), random_source=random.Random(7), retry=policy, sleep=sleep)
    engine.execute(asked("create"))
    store.others.extend(other("revise") for _ in range(5))

    outcome = engine.execute(asked("revise"))

    source = random.Random(7)
    source.randbytes(10)  # the id of the creation
    expected = []
    for ceiling_s in (0.010, 0.020, 0.040, 0.040, 0.040):
        source.randbytes(10)  # the id of an event that came to nothing
        expected.append(source.random() * ceiling_s)
    assert outcome.attempts == 6
    assert sleep.slept_s == expected


def test_a_command_without_a_conflict_does_not_wait(engine, sleep):
    """The first attempt is made at once, and is reported as one."""
    outcome = engine.execute(asked("create"))

    assert outcome.attempts == 1
    assert sleep.slept_s == []


@pytest.mark.parametrize("attempts_max", [1, 3])
def test_attempts_come_to_an_end(store, other, sleep, attempts_max):
    """Whoever loses every time gets a conflict that says where the manifest is, and after how many attempts."""
    policy = RetryPolicy(attempts_max=attempts_max)
    engine = Engine(store, clock=FakeClock(), random_source=random.Random(1), retry=policy, sleep=sleep)
    engine.execute(asked("create"))
    store.others.extend(other("revise") for _ in range(10))
    store.appends = 0

    with pytest.raises(VersionConflict, match=f"at version {attempts_max + 1}") as caught:
        engine.execute(asked("revise"))

    assert caught.value.details == {
        "manifest_id": "a",
        "expected": attempts_max,
        "found": attempts_max + 1,
        "attempts": attempts_max,
    }
    assert len(sleep.slept_s) == attempts_max - 1
    assert actors(store) == ["ada"] + ["other"] * attempts_max


def test_an_expected_version_that_is_another_is_a_conflict(engine, store, sleep):
    """A pinned version is compared before anything is written, and never tried again."""
    engine.execute(asked("create"))
    engine.execute(asked("revise"))
    store.appends = 0

    with pytest.raises(VersionConflict, match="expected at version 1, but it is at version 2") as caught:
        engine.execute(asked("revise", expected_version=1))

    assert caught.value.details["attempts"] == 1
    assert (store.appends, sleep.slept_s) == (0, [])


def test_an_expected_version_is_not_decided_again(engine, store, other, sleep):
    """Who pinned a version and was overtaken gets the conflict, saying where the manifest is now."""
    engine.execute(asked("create"))
    store.others.append(other("revise"))

    with pytest.raises(VersionConflict, match="expected at version 1, but it is at version 2"):
        engine.execute(asked("revise", expected_version=1))

    assert sleep.slept_s == []
    assert actors(store) == ["ada", "other"]


def test_an_expected_version_that_is_right_is_let_through(engine):
    """A pinned version that is the manifest's changes nothing else."""
    engine.execute(asked("create"))

    assert engine.execute(asked("revise", expected_version=1)).state.version == 2


def test_a_conflict_is_reported_though_the_store_fails(engine, store, monkeypatch):
    """Where nobody can say at which version the manifest is, the conflict is reported without it."""
    engine.execute(asked("create"))

    def gone(_stream):
        raise StoreError("The disk is gone.")

    def overtaken(stream, after, _events, _snapshot, **_given):
        monkeypatch.setattr(store, "load", gone)
        raise VersionConflict(stream, after.version)

    monkeypatch.setattr(store, "append", overtaken)

    with pytest.raises(VersionConflict, match="it has moved on"):
        engine.execute(asked("revise", expected_version=1))


def test_a_thread_that_waits_too_long_for_another_gives_up(store):
    """A commit that another thread of this process holds up for too long is a `LockTimeout`."""
    engine = Engine(store, clock=FakeClock(), random_source=random.Random(1), lock_timeout_s=0)
    engine.execute(asked("create"))
    entered, leave = threading.Event(), threading.Event()

    def dawdle():
        entered.set()
        leave.wait()

    store.others.append(dawdle)
    slow = threading.Thread(target=engine.execute, args=(asked("revise"),))
    slow.start()
    entered.wait()

    try:
        with pytest.raises(LockTimeout, match="'a'"):
            engine.execute(asked("revise", actor="hasty"))
        engine.execute(asked("create", stream="b"))
    finally:
        leave.set()
        slow.join()

    assert actors(store) == ["ada", "ada"]


# -- before the append ---------------------------------------------------------------------------------------


def test_a_fold_that_fails_leaves_no_event(sleep):
    """A mistake in a definition shows before an event of it is permanent."""

    def evolve(facts, event):
        if event.action == "submit_for_review":
            raise ZeroDivisionError
        return facts

    store = BusyStore(replace(REGISTRATION, evolve=evolve))
    engine = Engine(store, clock=FakeClock(), random_source=random.Random(1), sleep=sleep)
    engine.execute(asked("create"))

    with pytest.raises(ZeroDivisionError):
        engine.execute(asked("submit_for_review"))

    assert store.appends == 1
    assert store.load("a").state == "DRAFT"


def test_the_same_clock_and_randomness_give_the_same_bytes():
    """Time and ids come from what was given, and from nothing else."""
    logs = []
    for _ in range(2):
        store = open_memory(SOURCE, REGISTRATION)
        engine = Engine(store, clock=FakeClock(), random_source=random.Random(5))
        for action in ("create", "revise", "submit_for_review", "approve", "register"):
            engine.execute(asked(action))
        logs.append(store.inspect("a"))

    assert logs[0] == logs[1]


def test_nothing_can_be_done_to_what_is_not_there(engine, store):
    """A command on an unknown manifest is `NotFound`, whatever version is expected, and makes nothing."""
    for said in ({}, {"expected_version": 3}, {"idempotency_key": "k"}):
        with pytest.raises(NotFound):
            engine.execute(asked("approve", **said))

    assert store.appends == 0


# -- rules -------------------------------------------------------------------------------------------------


def ruled(name="acme", **members):
    """A policy that only bea may approve under, and that records refusals."""

    def only_bea(_state, command, _policy):
        return Verdict(agrees=command.actor == "bea", reason="it is bea's", evidence={"by": command.actor})

    guards = {"only_bea": only_bea}
    uses = {"approve": (GuardUse("only_bea"),)}
    return Policy(**{"name": name, "uses": uses, "guards": guards, "log_refusals": True} | members)


def under(store, policy, seed=1):
    """An engine whose policy is a value, or whatever a callable gives."""
    give = policy if callable(policy) else lambda: policy
    return Engine(
        store, policy=give, clock=FakeClock(), random_source=random.Random(seed), sleep=lambda _: None
    )


def noted(store):
    return [json.loads(line) for line in store.refusals()]


def test_what_an_event_names_is_kept_before_it_is_written(store):
    """At the moment of the append, lifecycle, policy and schemas can be read by everybody."""
    schema = {"type": "object"}
    policy = ruled(kinds=(Kind("any", {"": True}, digest_of(schema)),), schemas={digest_of(schema): schema})
    found = []

    def look():
        found.append(store.kept("lifecycles", REGISTRATION.identity["digest"]))
        found.append(store.kept("policies", policy.digest))
        found.append(store.kept("schemas", digest_of(schema)))

    store.others.append(look)

    under(store, policy).execute(asked("create"))

    assert found == [REGISTRATION.data, policy.data, schema]


def test_the_policy_is_asked_for_before_each_decision(store, other):
    """What is in force when it is decided counts: also when it is decided again."""
    policies = [ruled("first"), ruled("second"), ruled("third")]
    left = deque(policies)
    engine = under(store, left.popleft)
    engine.execute(asked("create"))
    store.others.append(other("revise"))

    outcome = engine.execute(asked("revise"))

    assert outcome.attempts == 2
    assert [event.data.get("policy") for event in store.read("a")] == [
        policies[0].digest,
        None,
        policies[2].digest,
    ]
    assert not left


def test_where_the_policy_can_not_be_read_nothing_is_written(store):
    """A gate whose rules can't be read stays shut; the same request with a key was answered before."""

    def broken():
        raise StoreError("The policy can't be read.")

    under(store, NO_POLICY).execute(asked("create", idempotency_key="k"))
    before = store.inspect("a")
    engine = under(store, broken)

    with pytest.raises(StoreError, match="policy"):
        engine.execute(asked("revise"))

    assert store.inspect("a") == before
    assert engine.execute(asked("create", idempotency_key="k")).replayed


def test_a_refusal_is_noted_where_the_policy_asks_for_it(store):
    """One line of JSON: when, where, what was asked by whom, and the whole explanation that was given."""
    engine = under(store, ruled())
    engine.execute(asked("create"))
    engine.execute(asked("submit_for_review"))
    before = store.inspect("a")

    with pytest.raises(GuardRefused) as caught:
        engine.execute(asked("approve", comment="fine", context={"n": 1}))

    assert noted(store) == [
        {
            "time": "2026-01-01T00:00:02.000000Z",
            "source": SOURCE,
            "command": {"actor": "ada", "document": None, "comment": "fine", "context": {"n": 1}},
            "refusal": caught.value.details,
        }
    ]
    assert store.inspect("a") == before


def test_the_document_of_a_refused_request_is_noted_by_its_digest(store):
    """What was refused may be anything of any size: its digest says which document it was."""
    engine = under(store, ruled(uses={"create": (GuardUse("only_bea"),)}))

    with pytest.raises(GuardRefused):
        engine.execute(asked("create", document={"n": 1}))

    assert noted(store)[0]["command"]["document"] == digest_of({"n": 1})
    assert noted(store)[0]["refusal"]["digest"] == digest_of({"n": 1})


def test_only_what_a_guard_refused_is_noted(store):
    """A move that isn't there, a pin that doesn't hold and a mistake are nobody's judgement; nor is a policy that is silent."""
    engine = under(store, ruled())
    engine.execute(asked("create"))
    for command in (
        asked("approve"),
        asked("dance"),
        asked("revise", expected_digest="sha256:" + "0" * 64),
        asked("revise", expected_version=7),
    ):
        with pytest.raises(RegistrationError):
            engine.execute(command)
    engine.execute(asked("submit_for_review"))

    with pytest.raises(GuardRefused):
        under(store, ruled(log_refusals=False)).execute(asked("approve"))

    assert noted(store) == []


@pytest.mark.parametrize("failure", [StoreError("The disk is full."), None], ids=["disk", "evidence"])
def test_a_refusal_that_can_not_be_noted_is_a_refusal_all_the_same(store, caplog, failure):
    """The answer is no in any case; that it is missing from the record is logged.

    A guard of the program whose evidence is no JSON value used to end in a TypeError in the place of its refusal.
    """

    def odd(_state, _command, _policy):
        return Verdict(agrees=False, reason="no", evidence={} if failure else {"at": {1, 2}})

    engine = under(store, ruled(guards={"only_bea": odd}))
    engine.execute(asked("create"))
    engine.execute(asked("submit_for_review"))
    if failure:

        def full(_line):
            raise failure

        store.log_refusal = full

    with pytest.raises(GuardRefused, match="was refused: no"):
        engine.execute(asked("approve"))

    assert list(store.refusals()) == []
    assert "a refusal could not be recorded" in caplog.text


# -- what was looked at --------------------------------------------------------------------------------------


def test_a_pin_is_compared_with_what_is_there_at_each_attempt(engine, store, other):
    """Who pinned the document and was overtaken by another one is refused; where only the log went on, he is not."""
    created = engine.execute(asked("create")).state
    store.others.append(other("revise"))
    engine.execute(asked("revise", expected_digest=created.digest))
    store.others.append(other("revise", document={"by": "other"}))

    with pytest.raises(PinMismatch) as caught:
        engine.execute(asked("revise", expected_digest=created.digest))

    assert caught.value.details["found"] == digest_of({"by": "other"})
    assert actors(store) == ["ada", "other", "ada", "other"]


def test_a_pinned_log_is_not_decided_again_on_another(engine, store, other):
    """Whoever pinned the head of the log has seen all of it, and nothing may come in between."""
    head = engine.execute(asked("create")).state.position.head
    store.others.append(other("revise"))

    with pytest.raises(PinMismatch):
        engine.execute(asked("revise", expected_head=head))

    assert actors(store) == ["ada", "other"]


# -- idempotency -------------------------------------------------------------------------------------------------


def test_the_same_request_gets_the_first_answer(engine, store):
    """A key that was used for the same request gives the first snapshot and event, though others followed."""
    engine.execute(asked("create"))
    first = engine.execute(asked("revise", document={"n": 1}, idempotency_key="k"))
    engine.execute(asked("revise", document={"n": 2}))
    engine.execute(asked("submit_for_review"))
    before, appends = store.inspect("a"), store.appends

    again = engine.execute(asked("revise", document={"n": 1}, idempotency_key="k"))

    assert again == replace(first, replayed=True)
    assert (first.replayed, again.state.version, again.state.document) == (False, 2, {"n": 1})
    assert store.inspect("a") == before
    assert store.appends == appends


def test_a_creation_is_answered_again_too(engine):
    """The same creation with the same key gives the first answer; with another document it is refused."""
    first = engine.execute(asked("create", document={"n": 1}, idempotency_key="k"))
    engine.execute(asked("submit_for_review"))

    assert engine.execute(asked("create", document={"n": 1}, idempotency_key="k")).state == first.state
    with pytest.raises(IdempotencyMismatch):
        engine.execute(asked("create", document={"n": 2}, idempotency_key="k"))
    with pytest.raises(AlreadyExists):
        engine.execute(asked("create", document={"n": 1}, idempotency_key="another"))


REJECTION = {
    "action": "reject",
    "reason": "unclear",
    "comment": "see line 3",
    "context": {"ticket": 7},
    "idempotency_key": "k",
}


@pytest.mark.parametrize(
    "different",
    [
        {"action": "approve"},
        {"action": "revise", "document": {}},
        {"action": None, "target": "APPROVED"},
        {"actor": "bea"},
        {"actor": None},
        {"reason": "wrong"},
        {"comment": "see line 4"},
        {"comment": None},
        {"context": {"ticket": 8}},
        {"context": {"ticket": 7, "more": True}},
        {"context": None},
    ],
)
def test_another_request_with_the_same_key_is_refused(engine, store, different):
    """A key stands for one request: an answer to another one is never given, and nothing is written."""
    engine.execute(asked("create"))
    engine.execute(asked("submit_for_review"))
    engine.execute(asked(**REJECTION))
    before = store.inspect("a")

    with pytest.raises(IdempotencyMismatch, match="'reject' of 'a', version 3") as caught:
        engine.execute(asked(**REJECTION | different))

    assert caught.value.details["version"] == 3
    assert isinstance(caught.value, Rejected)
    assert store.inspect("a") == before


@pytest.mark.parametrize(
    "same",
    [
        {},
        {"action": None, "target": "DRAFT"},
        {"expected_version": 1},
        {"correlation_id": "another"},
        {"causation_id": "another"},
        {"traceparent": "another"},
    ],
)
def test_the_same_request_in_other_words_is_answered(engine, same):
    """The state instead of the action, another pinned version or another trace make no other request."""
    engine.execute(asked("create"))
    engine.execute(asked("submit_for_review"))
    first = engine.execute(asked(**REJECTION))

    again = engine.execute(asked(**REJECTION | same))

    assert (again.replayed, again.state, again.events) == (True, first.state, first.events)


def test_another_document_with_the_same_key_is_refused(engine):
    """What a request brings belongs to it; the order of its members doesn't."""
    engine.execute(asked("create"))
    engine.execute(asked("revise", document={"a": 1, "b": 2}, idempotency_key="k"))

    assert engine.execute(asked("revise", document={"b": 2, "a": 1}, idempotency_key="k")).replayed
    with pytest.raises(IdempotencyMismatch):
        engine.execute(asked("revise", document={"a": 1}, idempotency_key="k"))


def test_a_key_is_of_one_manifest(engine):
    """The same key on another manifest is another request."""
    engine.execute(asked("create", idempotency_key="k"))

    outcome = engine.execute(asked("create", stream="b", document={"other": True}, idempotency_key="k"))

    assert not outcome.replayed


def test_a_refused_request_does_not_use_up_its_key(engine):
    """A key counts from the first time that something was written under it."""
    engine.execute(asked("create"))
    with pytest.raises(IllegalTransition):
        engine.execute(asked("approve", idempotency_key="k"))
    engine.execute(asked("submit_for_review"))

    outcome = engine.execute(asked("approve", idempotency_key="k"))

    assert (outcome.replayed, outcome.state.state) == (False, "APPROVED")


@pytest.mark.parametrize(("later_keys", "replayed"), [(KEYS_KEPT_MAX - 1, True), (KEYS_KEPT_MAX, False)])
def test_a_manifest_remembers_its_latest_keys(engine, later_keys, replayed):
    """The 64 keys used last are known; requests without a key push none of them out."""
    engine.execute(asked("create"))
    engine.execute(asked("revise", idempotency_key="k"))
    for number in range(later_keys):
        engine.execute(asked("revise", idempotency_key=f"later {number}"))
        engine.execute(asked("revise"))

    outcome = engine.execute(asked("revise", idempotency_key="k"))

    assert KEYS_KEPT_MAX == 64
    assert outcome.replayed is replayed


def test_a_replay_does_not_use_a_place_in_the_window(engine):
    """Asking again and again leaves the window as it is."""
    engine.execute(asked("create"))
    first = engine.execute(asked("revise", idempotency_key="k"))
    for _ in range(KEYS_KEPT_MAX + 1):
        engine.execute(asked("revise", idempotency_key="k"))

    assert engine.store.load("a").keys == first.state.keys == (("k", 2),)


def test_a_request_that_was_overtaken_by_itself_is_answered(engine, store, other):
    """Where the same request with the same key arrives twice at once, one is written and both get its answer."""
    engine.execute(asked("create"))
    request = {"document": {"n": 1}, "idempotency_key": "k"}
    twin = Engine(store, clock=FakeClock(), random_source=random.Random(3))
    store.others.append(lambda: twin.execute(asked("revise", **request)))

    outcome = engine.execute(asked("revise", **request))

    assert (outcome.replayed, outcome.attempts, outcome.state.version) == (True, 2, 2)
    assert len(actors(store)) == 2


# -- ancestry -------------------------------------------------------------------------------------------------------


def test_a_command_of_its_own_starts_a_correlation(engine):
    """Without anything before it, an event is correlated with itself and caused by nothing."""
    (event,) = engine.execute(asked("create")).events

    assert (event.correlation_id, event.causation_id) == (event.id, None)


def test_commands_of_handlers_inherit_from_their_event(engine, store):
    """What a handler issues has the correlation of its event and names it as the cause, down the whole line."""
    follow = {"create": "submit_for_review", "submit_for_review": "approve", "approve": "register"}

    def handler(change):
        if change.event.action in follow:
            engine.execute(asked(follow[change.event.action]))

    engine.publisher.subscribe(handler)

    engine.execute(asked("create", correlation_id="request 1"))

    events = list(store.read("a"))
    assert [event.correlation_id for event in events] == ["request 1"] * 4
    assert [event.causation_id for event in events] == [None, *(event.id for event in events[:3])]


def test_ancestry_reaches_other_manifests_and_yields_to_what_is_said(engine, store):
    """A handler's command on another manifest inherits as well, unless it says otherwise."""

    def handler(change):
        if change.manifest_id == "a":
            engine.execute(asked("create", stream="b"))
            engine.execute(asked("create", stream="c", correlation_id="own", causation_id="why"))

    engine.publisher.subscribe(handler)
    (a,) = engine.execute(asked("create")).events

    (b,), (c,) = store.read("b"), store.read("c")
    assert (b.correlation_id, b.causation_id) == (a.id, a.id)
    assert (c.correlation_id, c.causation_id) == ("own", "why")


def test_ancestry_ends_with_the_handler(engine, store):
    """After the handlers have run, also when one raised, the next command is nobody's child."""

    def handler(change):
        raise RuntimeError

    engine.publisher.subscribe(handler)
    engine.execute(asked("create"))

    (event,) = engine.execute(asked("create", stream="b")).events

    assert (event.correlation_id, event.causation_id) == (event.id, None)


# -- keeping snapshots ---------------------------------------------------------------------------------------------------


def test_a_snapshot_of_the_log_may_be_kept(engine, store):
    """What the log folds to, at its end or at an earlier version, is accepted; the latest stays."""
    first = engine.execute(asked("create")).state
    last = engine.execute(asked("revise", document={"n": 1}, idempotency_key="k")).state

    engine.persist(last)
    engine.persist(first)

    assert store.load("a") == last


@pytest.mark.parametrize(
    "change",
    [
        {"state": "REGISTERED"},
        {"version": 1},
        {"version": 3},
        {"version": 0},
        {"document": {"forged": True}},
        {"digest": "sha256:" + "0" * 64},
        {"facts": {"approvals": [{"actor": "eve"}]}},
        {"keys": (("k", 1),)},
        {"created_at": "2020-01-01T00:00:00.000000Z"},
        {"updated_at": "2030-01-01T00:00:00.000000Z"},
        {"source": "urn:uuid:019b76da-a800-7000-8000-000000000009"},
        {"definition": "another"},
    ],
)
def test_a_snapshot_of_anything_else_is_refused(engine, store, change):
    """Whatever in a snapshot is not what the log folds to, it is refused and the kept one stays."""
    engine.execute(asked("create"))
    last = engine.execute(asked("revise")).state
    before = store.inspect("a")

    with pytest.raises(SnapshotMismatch):
        engine.persist(replace(last, **change))

    assert store.inspect("a") == before


def test_a_key_that_was_forgotten_and_used_again_answers_for_its_latest_request(engine):
    """Once a key has left the window it is a new one; what it answers then is what it led to last."""
    engine.execute(asked("create"))
    engine.execute(asked("revise", idempotency_key="again", comment="first"))
    for number in range(KEYS_KEPT_MAX):
        engine.execute(asked("revise", idempotency_key=f"k{number}"))
    second = engine.execute(asked("revise", idempotency_key="again", comment="second"))

    answer = engine.execute(asked("revise", idempotency_key="again", comment="second"))

    assert answer.replayed
    assert answer.events == second.events
    assert answer.state == second.state
