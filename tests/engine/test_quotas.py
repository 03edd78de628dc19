"""Limits of one actor and day: manifests created, commands refused. Counted on the side, and in the events."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from registration import RegistrationPipeline, open_memory
from registration.core.chart import GuardUse
from registration.core.decider import decide
from registration.core.policy import Limits, Policy
from registration.errors import AlreadyExists, GuardRefused, RegistrationError, StoreError
from registration.rules.guards.builtin import reason_given, role
from registration.rules.lifecycles.registration import REGISTRATION
from registration.testing import FakeClock
from registration.values.commands import Command
from registration.values.documents import check_document
from tests.kit.policies import put_in_force

DAY_S = 24 * 60 * 60


def limited(**limits):
    """Rules that limit an actor; approving takes a role that no one has."""
    return Policy(
        limits=Limits(**limits),
        uses={"approve": (GuardUse("role", {"any": ["reviewer"]}),)},
        guards={"role": role, "reason_given": reason_given},
        log_refusals=True,
    )


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=["files", "memory"])
def opened(request, tmp_path, clock):
    """Opens a registry under a policy, again and again the same."""
    made = []
    store = open_memory("urn:uuid:1", REGISTRATION)

    def open_(policy):
        where = {"root": tmp_path / "r"} if request.param == "files" else {"store": store}
        made.append(RegistrationPipeline(**where, clock=clock))
        put_in_force(made[-1], policy)
        return made[-1]

    yield open_
    for pipeline in made:
        pipeline.close()


def guards_of(error):
    return [one["guard"] for one in error.value.details["verdicts"] if not one["agrees"]]


def test_drafts_of_an_actor_are_limited_each_day(opened, clock):
    """The third of two is refused; the next day begins anew, and other people are free. Spellings of one name are one actor."""
    pipeline = opened(limited(drafts=2))
    pipeline.create("a", {"v": 1}, actor="eve")
    pipeline.create("b", {"v": 1}, actor="Eve")
    with pytest.raises(
        GuardRefused, match="'eve' has created 2 manifests today; at most 2 a day are allowed"
    ) as error:
        pipeline.create("c", {"v": 1}, actor="eve")
    pipeline.create("d", {"v": 1}, actor="bea")
    clock.advance(DAY_S)
    pipeline.create("c", {"v": 1}, actor="eve")

    assert guards_of(error) == ["limits"]
    assert [next(iter(pipeline.history(id))).data["seen"] for id in "abdc"] == [
        {"drafts": 0},
        {"drafts": 1},
        {"drafts": 0},
        {"drafts": 0},
    ]


def test_a_limit_set_later_counts_from_then_on(opened):
    """Nothing is counted, and no event says anything, while there is no limit."""
    pipeline = opened(Policy())
    pipeline.create("a", {"v": 1}, actor="eve")
    limiting = opened(limited(drafts=1))
    limiting.create("b", {"v": 1}, actor="eve")

    with pytest.raises(GuardRefused):
        limiting.create("c", {"v": 1}, actor="eve")
    assert "seen" not in next(iter(pipeline.history("a"))).data


def test_what_was_not_created_is_not_counted(opened):
    """An id that is taken, a refusal by another rule, a dry run."""
    rules = limited(drafts=1)
    opened(Policy()).create("a", {"v": 1})
    pipeline = opened(replace(rules, uses={"create": (GuardUse("reason_given"),)}))
    with pytest.raises(GuardRefused, match="a reason is required"):
        pipeline.create("b", {"v": 1}, actor="eve")
    pipeline = opened(rules)
    with pytest.raises(AlreadyExists):
        pipeline.create("a", {"v": 1}, actor="eve")
    pipeline.create("b", {"v": 1}, actor="eve", dry_run=True)

    pipeline.create("b", {"v": 1}, actor="eve")

    (why,) = pipeline.explain("c", "create", actor="eve", document={"v": 1})
    assert [answer.guard for answer in why.answers] == ["limits"]
    assert why.who.excluded == ("eve",)


def test_a_dry_run_of_many_sees_its_own_drafts(opened):
    """What an import would do is what it then does."""
    pipeline = opened(limited(drafts=2))
    items = [{"manifest_id": id, "document": {"v": 1}, "actor": "eve"} for id in "abc"]

    tried = [one.error is None for one in pipeline.create_many(items, dry_run=True, workers=1)]
    done = [one.error is None for one in pipeline.create_many(items, workers=1)]

    assert tried == done == [True, True, False]


def test_refusals_of_an_actor_are_limited_each_day(opened, clock):
    """From then on every command of the actor is refused; the log of refusals grows no more."""
    pipeline = opened(limited(refusals=2))
    pipeline.create("a", {"v": 1}, actor="eve")
    pipeline.submit_for_review("a", actor="eve")
    for _ in range(2):
        with pytest.raises(GuardRefused, match="is not reviewer"):
            pipeline.approve("a", actor="eve")
    for _ in range(3):
        with pytest.raises(
            GuardRefused, match="'eve' has been refused 2 times today; at most 2 a day are allowed"
        ) as error:
            pipeline.reject("a", reason="so", actor="eve")
    noted = list(pipeline._registry.store.refusals())
    pipeline.reject("a", reason="so", actor="bea")
    clock.advance(DAY_S)
    pipeline.submit_for_review("a", actor="eve")

    assert guards_of(error) == ["limits"]
    assert len(noted) == 2
    assert [event.data["seen"] for event in pipeline.history("a")] == [{"refusals": 0}] * 4


def test_an_event_under_limits_is_decided_again_from_itself(opened):
    """Purely: what was counted is in the event. Another number there would have been refused."""
    policy = limited(drafts=2)
    pipeline = opened(policy)
    pipeline.create("a", {"v": 1}, actor="eve")
    pipeline.create("b", {"v": 1}, actor="eve")
    event = next(iter(pipeline.history("b")))
    document = check_document({"v": 1})

    def again(seen):
        command = Command(stream="b", action="create", actor="eve", document=document, seen=seen)
        return decide(REGISTRATION, None, command, time=event.time, event_id=event.id, policy=policy)

    assert again(event.data["seen"])[0].data == {
        name: said for name, said in event.data.items() if name not in ("via", "registry")
    }
    for seen in ({"drafts": 2}, {"drafts": 3}, None):
        with pytest.raises(GuardRefused):
            again(seen)


def test_the_records_are_few_and_forget_the_days_before(tmp_path, clock):
    """However many actors, manifests and days: at most 256, each of one day."""
    with RegistrationPipeline(tmp_path / "r", policy=limited(drafts=5), clock=clock) as pipeline:
        for number in range(40):
            pipeline.create(f"m{number}", {"v": 1}, actor=f"actor{number}")
        pipeline.create("x", {"v": 1}, actor="eve")
        clock.advance(DAY_S)
        pipeline.create("y", {"v": 1}, actor="eve")
    pages = [json.loads(path.read_text()) for path in (tmp_path / "r" / "limits").iterdir()]

    assert len(pages) <= 41
    assert sum(len(page["people"]) for page in pages if page["day"] == "2026-01-02") == 1


def test_a_damaged_record_lets_nothing_through(tmp_path, clock):
    """The message names it, and what to do. Commands that no limit concerns go on."""
    with RegistrationPipeline(tmp_path / "r", policy=limited(drafts=5), clock=clock) as pipeline:
        pipeline.create("a", {"v": 1}, actor="eve")
        (path,) = (tmp_path / "r" / "limits").iterdir()
        path.write_text("{")

        with pytest.raises(StoreError, match=rf"limits/{path.name} is not a record of quotas\. Remove it"):
            pipeline.create("b", {"v": 1}, actor="eve")
        assert pipeline.submit_for_review("a", actor="eve").to_state == "REVIEWED"


def test_eight_threads_of_one_actor_create_exactly_as_many_as_allowed(opened):
    """The number is held from the decision to the commit."""
    pipeline = opened(limited(drafts=5))
    outcomes = []

    def create(id):
        try:
            pipeline.create(id, {"v": 1}, actor="eve")
            outcomes.append("created")
        except RegistrationError as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=create, args=(f"m{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["GuardRefused"] * 3 + ["created"] * 5
    seen = sorted(
        next(iter(pipeline.history(id))).data["seen"]["drafts"] for id in pipeline.upkeep.manifest_ids()
    )
    assert seen == [0, 1, 2, 3, 4]
