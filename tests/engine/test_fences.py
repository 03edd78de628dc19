"""Fences and claims: what is done under a lease that has ended is refused, and others keep off what somebody claimed."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration import RegistrationPipeline, open_memory
from registration.core.codec import scan
from registration.core.decider import fold
from registration.core.definition import Definition, keep_nothing
from registration.core.facts import seen_again
from registration.core.policy import Policy
from registration.core.replay import replay
from registration.engine.leases.leases import Leases
from registration.errors import (
    CorruptRegistry,
    GuardRefused,
    InvalidArgument,
    LeaseHeld,
    Next,
    NotFound,
    StaleFence,
    StoreError,
)
from registration.rules.lifecycles.registration import CHART, REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.files.records import FileRecords
from registration.testing import FakeClock
from registration.values.events import Position
from tests.kit.builders import WATCH

ID = "acme/weather@1.0"
KEY = f"manifests/{ID}"


@pytest.fixture
def clock():
    return FakeClock(tick_ns=0)


@pytest.fixture(params=["files", "memory"])
def pipeline(request, root, clock, restless_threads):
    """A registry with one REVIEWED manifest, that ada brought; its leases in files, or in memory."""
    if request.param == "files":
        made = RegistrationPipeline(root, actor="ada", clock=clock)
    else:
        store = open_memory("urn:uuid:019b76da-a800-7000-8000-000000000001", REGISTRATION)
        made = RegistrationPipeline(store=store, actor="ada", clock=clock)
    with made as pipeline:
        pipeline.create(ID, {"name": "weather"})
        pipeline.submit_for_review(ID)
        yield pipeline


def versions(pipeline):
    return pipeline.load_state(ID).version


# -- fences ------------------------------------------------------------------------------------------------------


def test_an_event_keeps_the_number_that_it_was_made_under(pipeline):
    """And the state the highest that was seen, with who first wrote under it at which version."""
    pipeline.approve(ID, fence=3)
    pipeline.reject(ID, reason="why", fence=3, actor="bea")
    pipeline.revise(ID, {"name": "w"})

    assert [event.data.get("fence") for event in pipeline.history(ID)] == [None, None, 3, 3, None]
    assert pipeline.load_state(ID).fence == {"number": 3, "actor": "ada", "version": 3}


def test_a_write_under_an_earlier_number_is_refused(pipeline):
    """It names the later one and who wrote under it; nothing is written. Without a number, and with the same, one may."""
    pipeline.approve(ID, fence=3, actor="bea")

    with pytest.raises(StaleFence) as refused:
        pipeline.reject(ID, reason="why", fence=2)

    assert refused.value.details == {
        "manifest_id": ID,
        "version": 3,
        "fence": 2,
        "seen": {"number": 3, "actor": "bea", "version": 3},
    }
    assert "number 3 was seen at version 3, by 'bea'" in refused.value.problem
    assert versions(pipeline) == 3
    pipeline.approve(ID, actor="cyd")
    pipeline.approve(ID, actor="dan", fence=3)
    assert versions(pipeline) == 5


def test_a_write_whose_lease_was_taken_by_somebody_is_refused_before_that_one_writes(pipeline, clock):
    """The lease that holds now tells as well, and the refusal says who has it."""
    stale = pipeline.work.leases.acquire(KEY, holder="bea", ttl_s=1)
    clock.advance(1)
    taken = pipeline.work.leases.acquire(KEY, holder="cyd", ttl_s=90)

    with pytest.raises(StaleFence) as refused:
        pipeline.approve(ID, actor="bea", fence=stale.number)

    assert refused.value.details["holder"] == taken.as_json()
    assert "'cyd' has it until" in refused.value.problem
    assert versions(pipeline) == 2


def test_the_same_request_once_more_gets_its_answer_whatever_number_was_seen(pipeline):
    """What was acknowledged under a lease stays acknowledged after it."""
    first = pipeline.approve(ID, fence=2, idempotency_key="k")
    pipeline.approve(ID, fence=9, actor="bea")

    again = pipeline.approve(ID, fence=2, idempotency_key="k")

    assert again.replayed
    assert again.event == first.event


def test_a_number_that_cannot_be_meant_is_refused(pipeline):
    """Nothing is converted."""
    for number in (0, -1, 2**53, True, "3", 1.0):
        with pytest.raises(InvalidArgument, match="fence"):
            pipeline.approve(ID, fence=number)


def test_undoing_carries_a_number_as_well(pipeline):
    """Every command that can be done under a lease can say so."""
    pipeline.undo(ID, reason="too early", fence=4)

    with pytest.raises(StaleFence):
        pipeline.submit_for_review(ID, fence=3)


@given(st.lists(st.none() | st.integers(1, 6), max_size=12), st.integers(0, 12))
def test_the_highest_number_is_what_a_replay_finds(numbers, cut):
    """Folded event by event, from any place on, and straight from the bytes: always the naive maximum."""
    store = open_memory("urn:uuid:019b76da-a800-7000-8000-000000000001", REGISTRATION)
    highest = 0
    with RegistrationPipeline(store=store, actor="ada", clock=FakeClock()) as pipeline:
        pipeline.create(ID, {})
        for number in numbers:
            try:
                pipeline.revise(ID, {}, **({} if number is None else {"context": {"n": number}}))
                pipeline.act(ID, "revise", document={}, fence=number)
            except StaleFence:
                assert number is not None
                assert number < highest
                continue
            assert number is None or number >= highest
            highest = max(highest, number or 0)
    log = store.inspect(ID).log
    events = scan(log, stream=ID, source=store.source, after=Position()).events
    # A definition that keeps nothing keeps this all the same, whatever its own fold says it looks at.
    forgetful = Definition(
        chart=CHART,
        guards=REGISTRATION.guards,
        evolve=lambda _facts, _event: {},
        upcasters=REGISTRATION.upcasters,
    )
    quiet = replace(forgetful, evolve=keep_nothing, evolves_on=frozenset())

    for definition in (REGISTRATION, forgetful, quiet):
        folded = fold(definition, fold(definition, None, events[:cut]), events[cut:])
        straight = replay(definition, None, log, stream=ID, source=store.source)

        assert folded == straight
        assert (folded.fence or {"number": 0})["number"] == highest


# -- claims ------------------------------------------------------------------------------------------------------


def test_a_claim_keeps_others_off(pipeline):
    """They are told who has it and until when; nothing is written, reading is free, and the holder goes on."""
    claim = pipeline.work.claim(ID, actor="bea", for_s=600)

    for act in (
        lambda: pipeline.approve(ID, actor="cyd"),
        lambda: pipeline.reject(ID, actor="cyd", reason="why"),
        lambda: pipeline.transition_state(ID, "DRAFT", {"reason": "why"}, actor="cyd"),
    ):
        with pytest.raises(LeaseHeld) as refused:
            act()
        assert refused.value.details == claim.as_json()
    assert versions(pipeline) == 2

    assert pipeline.approve(ID, actor="bea").event.data["fence"] == claim.number


def test_a_claim_ends_with_what_it_was_for(pipeline):
    """Once its holder has moved the manifest on, or approved it, others needn't wait."""
    pipeline.work.claim(ID, actor="bea")
    pipeline.approve(ID, actor="bea")
    assert pipeline.work.claim_of(ID) is None

    pipeline.work.claim(ID, actor="cyd")
    pipeline.approve(ID, actor="cyd")  # APPROVED before and after
    assert pipeline.work.claim_of(ID) is None

    pipeline.work.claim(ID, actor="dan")
    pipeline.reject(ID, actor="dan", reason="why")
    assert pipeline.work.claim_of(ID) is None


def test_a_claim_outlasts_what_moves_nothing(pipeline):
    """Whoever revises a draft that they have claimed is not done with it."""
    pipeline.reject(ID, reason="why")
    claim = pipeline.work.claim(ID, actor="ada")

    pipeline.revise(ID, {"name": "w"})

    assert pipeline.work.claim_of(ID) == claim


def test_a_program_that_names_its_lease_keeps_it(pipeline):
    """It holds the lease for as long as it means to, under whatever name it acts."""
    lease = pipeline.work.leases.acquire(KEY, holder="publisher-7", ttl_s=600)

    pipeline.approve(ID, actor="bea", fence=lease.number)
    pipeline.register(ID, actor="cyd", fence=lease.number)

    assert pipeline.work.claim_of(ID) == lease


def test_claiming_again_begins_the_time_anew(pipeline, clock):
    """It stays the same claim; somebody else's is refused."""
    claim = pipeline.work.claim(ID, actor="bea", for_s=60)
    clock.advance(30)

    again = pipeline.work.claim(ID, actor="bea", for_s=60)

    assert again == replace(claim, until=again.until)
    assert again.until > claim.until
    with pytest.raises(LeaseHeld):
        pipeline.work.claim(ID, actor="cyd")
    assert list(pipeline.work.claims()) == [again]


def test_an_ended_claim_is_in_nobodys_way(pipeline, clock):
    """Others act, and claim it themselves, as soon as its time is over."""
    pipeline.work.claim(ID, actor="bea", for_s=60)
    clock.advance(60)

    assert pipeline.approve(ID, actor="cyd").snapshot.state == "APPROVED"

    assert pipeline.work.claim(ID, actor="cyd").number == 2


def test_releasing_is_for_the_own_claim(pipeline):
    """Somebody else's is refused, and nobody's is no harm."""
    pipeline.work.claim(ID, actor="bea")

    with pytest.raises(LeaseHeld):
        pipeline.work.release(ID, actor="cyd")
    assert pipeline.work.release(ID, actor="bea")
    assert not pipeline.work.release(ID, actor="bea")


def test_a_claim_that_is_taken_away_is_an_event(pipeline):
    """It says whose it was, who took it away and why; nothing moves, and its holder writes no more under it."""
    before = pipeline.load_state(ID)
    claim = pipeline.work.claim(ID, actor="bea")
    told = []
    pipeline.on("state_change", told.append)

    assert pipeline.work.break_claim(ID, actor="cyd", reason=" on holiday ") == claim

    (*_, event) = pipeline.history(ID)
    after = pipeline.load_state(ID)
    assert event.type == "registration.claim_broken.v1"
    assert (event.action, event.from_state, event.to_state) == ("break_claim", "REVIEWED", "REVIEWED")
    assert (event.actor, event.data["reason"]) == ("cyd", "on holiday")
    assert event.data["claim"] == {k: v for k, v in claim.as_json().items() if k != "key"}
    assert (after.state, after.document, after.approvals) == (before.state, before.document, before.approvals)
    assert [change.event for change in told] == [event]
    assert pipeline.work.claim_of(ID) is None
    assert pipeline.work.leases.history(KEY)[-1].how == "broken"
    with pytest.raises(StaleFence):
        pipeline.approve(ID, actor="bea", fence=claim.number)
    assert pipeline.work.claim(ID, actor="bea").number > claim.number + 1


def test_taking_a_claim_away_needs_one_and_a_reason(pipeline):
    """Nothing is written where there is none."""
    with pytest.raises(NotFound, match="There is no lock"):
        pipeline.work.break_claim(ID, actor="cyd", reason="why")
    pipeline.work.claim(ID, actor="bea")
    for reason in ("", " \n"):
        with pytest.raises(InvalidArgument, match="reason"):
            pipeline.work.break_claim(ID, actor="cyd", reason=reason)

    assert versions(pipeline) == 2


def test_claiming_what_is_not_there_suggests_what_is(pipeline):
    """A typing mistake claims nothing."""
    for call in (pipeline.work.claim, pipeline.work.release):
        with pytest.raises(NotFound, match=r"Did you mean 'acme/weather@1\.0'"):
            call("acme/whether@1.0")

    assert list(pipeline.work.claims()) == []


def test_nobody_named_can_claim_nothing(clock):
    """A claim is somebody's."""
    store = open_memory("urn:uuid:019b76da-a800-7000-8000-000000000001", REGISTRATION)
    with RegistrationPipeline(store=store, clock=clock) as pipeline:
        pipeline.create(ID, {})

        with pytest.raises(InvalidArgument, match="requires an actor"):
            pipeline.work.claim(ID)


def test_due_time_outs_run_in_spite_of_a_claim_and_are_kept_over_a_broken_one(clock):
    """A broken claim moves no deadline, not even a sliding one; what is due first is recorded first."""
    store = open_memory("urn:uuid:019b76da-a800-7000-8000-000000000001", WATCH)
    with RegistrationPipeline(store=store, clock=clock, actor="ada") as pipeline:
        pipeline.create(ID, {})
        pipeline.act(ID, "ask")
        due = pipeline.load_state(ID).facts["due"]
        pipeline.work.claim(ID, actor="bea", for_s=86_400)
        clock.advance(60)

        pipeline.work.break_claim(ID, actor="cyd", reason="why")

        assert pipeline.load_state(ID).facts["due"] == due
        pipeline.work.claim(ID, actor="bea", for_s=86_400)
        clock.advance(5_400)
        assert pipeline.upkeep.tick(ID) != ()


def test_why_tells_of_a_claim(pipeline):
    """Its holder could act, and nobody else; for the holder it is in nobody's way."""
    pipeline.work.claim(ID, actor="bea")

    (refused,) = pipeline.explain(ID, "approve", actor="cyd")
    (allowed,) = pipeline.explain(ID, "approve", actor="bea")

    assert (refused.allowed, allowed.allowed) == (False, True)
    assert refused.answers[-1].guard == "unclaimed"
    assert "'bea'" in refused.refusals[0].reason
    assert refused.who.actors == ("bea",)
    assert refused.next == doing("approve", actor="bea")


def test_where_a_rule_says_no_as_well_it_is_a_refusal_by_the_rules(pipeline):
    """Waiting for the claim to end would not help, so that is not all that is said."""
    pipeline.work.claim(ID, actor="bea")

    with pytest.raises(GuardRefused) as refused:
        pipeline.reject(ID, actor="cyd", reason=None)

    assert [one["guard"] for one in refused.value.details["verdicts"] if not one["agrees"]] == [
        "reason_given",
        "unclaimed",
    ]


@pytest.mark.parametrize(
    ("exclusive", "stopped"), [(None, {"approve", "reject"}), (("approve",), {"approve"}), ((), set())]
)
def test_the_policy_says_what_a_claim_keeps_others_from(root, clock, exclusive, stopped):
    """All that is done, some of it, or nothing: then it only says that somebody is at it."""
    policy = Policy(name="acme", exclusive=exclusive)
    with RegistrationPipeline(root, actor="ada", clock=clock, policy=policy) as pipeline:
        pipeline.create(ID, {})
        pipeline.submit_for_review(ID)
        pipeline.work.claim(ID, actor="bea")
        kept_off = set()

        for action in ("approve", "reject"):
            try:
                pipeline.act(ID, action, actor="cyd", reason="why")
            except LeaseHeld:
                kept_off.add(action)

    assert kept_off == stopped


def test_a_write_meets_a_damaged_claim_and_is_refused(root, clock):
    """Who has it can't be told, so nobody gets past it; the file is named, and removing it is enough."""
    with RegistrationPipeline(root, actor="ada", clock=clock) as pipeline:
        pipeline.create(ID, {})
        claim = pipeline.work.claim(ID)
        pipeline.act(ID, "submit_for_review", fence=claim.number)
        file = root / "leases" / "manifests" / "acme%2Fweather@1.0.json"
        file.write_bytes(b"{}")

        with pytest.raises(CorruptRegistry, match="remove it"):
            pipeline.approve(ID)
        file.unlink()

        assert pipeline.work.claim(ID).number == claim.number + 1
        pipeline.approve(ID)


def test_a_claim_that_cannot_be_ended_is_logged_and_the_command_is_done(root, clock, caplog):
    """The event is committed: failing afterwards must not say otherwise."""

    class Stuck(Leases):
        def release(self, lease):
            raise StoreError("The disk is full.")

    stuck = Stuck(FileRecords(PosixDisk(), str(root)), clock=clock)
    with RegistrationPipeline(root) as pipeline:
        pipeline.create(ID, {})
    with RegistrationPipeline(root, actor="ada", clock=clock, leases=stuck) as pipeline:
        pipeline.work.claim(ID)
        with caplog.at_level(logging.WARNING, "registration"):
            assert pipeline.submit_for_review(ID).snapshot.state == "REVIEWED"

    assert "could not be released: The disk is full." in caplog.text


def test_two_handles_on_one_registry_see_the_same_claims(root, clock):
    """Claims are in the registry's files, whichever process made them; a setting may put them elsewhere."""
    with (
        RegistrationPipeline(root, actor="ada", clock=clock) as one,
        RegistrationPipeline(root, actor="bea", clock=clock) as other,
        RegistrationPipeline(root, actor="cyd", clock=clock, leases="memory:") as apart,
    ):
        one.create(ID, {})
        claim = one.work.claim(ID)

        assert other.work.claim_of(ID) == claim
        assert apart.work.claim_of(ID) is None


# -- what waits ----------------------------------------------------------------------------------------------------


def doing(action, **more):
    """The step that takes an action on the manifest."""
    return Next(operation="act", id=ID, action=action, **more)


def waiting(pipeline, name, **said):
    return {
        one.manifest_id: [choice.action for choice in one.choices]
        for one in pipeline.work.next(name, **said).found
    }


def test_what_waits_for_somebody_is_what_they_could_do(pipeline):
    """Also where it lacks nothing but a word; each with the step that does it."""
    found = pipeline.work.next("bea").found

    assert [(one.manifest_id, one.state, one.version) for one in found] == [(ID, "REVIEWED", 2)]
    assert [(choice.action, choice.to, choice.next) for choice in found[0].choices] == [
        ("approve", "APPROVED", doing("approve", actor="bea")),
        ("reject", "DRAFT", doing("reject", actor="bea", missing=("reason",))),
    ]
    own = pipeline.work.next("ada").found[0]  # who acts there anyway
    assert own.choices[0].next == doing("approve")


def test_what_others_have_claimed_does_not_wait(pipeline):
    """It is counted; the own claim is shown."""
    claim = pipeline.work.claim(ID, actor="bea")

    others = pipeline.work.next("cyd")

    assert (others.found, others.claimed, others.complete) == ((), 1, True)
    assert pipeline.work.next("bea").found[0].claim == claim


def test_those_that_wait_longest_come_first_and_no_more_than_asked_for(pipeline, clock):
    """Whoever asks for two is told whether that was all."""
    for id in ("b", "a", "c"):
        clock.advance(1)
        pipeline.create(id, {})

    assert list(waiting(pipeline, "ada", limit=3)) == [ID, "b", "a"]
    assert not pipeline.work.next("ada", limit=3).complete
    assert pipeline.work.next("ada", limit=4).complete
    assert list(waiting(pipeline, "ada", state="DRAFT")) == ["b", "a", "c"]


def test_what_is_final_or_approved_by_them_already_does_not_wait(pipeline):
    """Nor another document for what somebody else brought."""
    pipeline.create("draft", {}, actor="bea")
    assert waiting(pipeline, "bea")["draft"] == ["revise", "submit_for_review"]
    assert waiting(pipeline, "cyd")["draft"] == ["submit_for_review"]

    pipeline.approve(ID, actor="bea")
    assert waiting(pipeline, "bea")[ID] == ["reject", "register"]
    assert waiting(pipeline, "cyd")[ID] == ["approve", "reject", "register"]

    pipeline.register(ID)
    assert ID not in waiting(pipeline, "cyd")


def test_an_event_tells_the_claim_that_was_seen(root, clock):
    """The actor's own, and another's that does not reserve the action; nothing without one. So it can be decided again."""
    with RegistrationPipeline(
        root, actor="ada", clock=clock, policy=Policy(name="open", exclusive=("approve",))
    ) as pipeline:
        pipeline.create("a", {"name": "w"})
        claim = pipeline.work.claim("a", actor="bea")
        other = pipeline.submit_for_review("a").event
        own = pipeline.approve("a", actor="bea").event
        created = next(iter(pipeline.history("a")))

    assert "seen" not in created.data
    seen = {"claim": {"holder": "bea", "number": claim.number}}
    assert (other.data["seen"], other.data.get("fence")) == (seen, None)
    assert (own.data["seen"], own.data["fence"]) == (seen, claim.number)
    again, rest = seen_again("a", own.data)
    assert again is not None
    assert (again.holder, again.number, rest) == ("bea", claim.number, None)
