"""People: their names as typed everywhere, and one person whatever the spelling."""

from __future__ import annotations

import pytest

from registration import RegistrationPipeline
from registration.errors import InvalidArgument, LeaseHeld
from registration.onboarding.community.deploying.plans import DeploymentPlan, DeploymentStep
from registration.onboarding.community.deploying.saga import open_deployments
from registration.onboarding.sessions.backing import FileBacking, MemoryBacking
from registration.onboarding.sessions.session import Caller
from registration.onboarding.sessions.sessions import Sessions
from tests.kit.wizards import party

SPELLINGS = ("bea lee", "Bea Lee", "BEA LEE", "\uff22ea Lee")
UNSEEN = "be\u200ba"


@pytest.fixture
def pipeline(root):
    """A registry with the manifest `card`, a draft by ada."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("card", {"name": "card"})
        yield pipeline


def refusal(call):
    """The message of the refusal of an invalid name."""
    with pytest.raises(InvalidArgument) as caught:
        call()
    return str(caught.value)


# -- the entrances -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda one: one.create("other", {"name": "other"}, actor=UNSEEN),
        lambda one: one.submit_for_review("card", actor=UNSEEN),
        lambda one: one.transition_state("card", "REVIEWED", actor=UNSEEN),
        lambda one: one.names.set_alias("card", "stable", "1", actor=UNSEEN),
        lambda one: one.work.claim("card", actor=UNSEEN),
        lambda one: one.work.release("card", actor=UNSEEN),
        lambda one: one.work.break_claim("card", reason="away", actor=UNSEEN),
        lambda one: one.work.break_lease("other/key", reason="away", actor=UNSEEN),
        lambda one: one.work.leases.acquire("other/key", holder=UNSEEN, ttl_s=1),
        lambda one: one.work.next(UNSEEN),
        lambda one: one.upkeep.repair("card", accept_loss=True, actor=UNSEEN),
        lambda one: one.explain("card", "approve", actor=UNSEEN),
    ],
)
def test_no_entrance_takes_a_name_with_an_invisible_character(pipeline, call):
    """The character is named: it can't be seen. Nothing is written."""
    before = [event.version for event in pipeline.history("card")]

    said = refusal(lambda: call(pipeline))

    assert "U+200B ZERO WIDTH SPACE, which is invisible; leave it out" in said
    assert [event.version for event in pipeline.history("card")] == before
    assert list(pipeline.upkeep.manifest_ids()) == ["card"]


def test_a_default_actor_is_checked_as_well(root):
    """With the first command that it is the actor of."""
    with RegistrationPipeline(root, actor="bea\u3164") as pipeline:
        said = refusal(lambda: pipeline.create("card", {"name": "card"}))

    assert "U+3164 HANGUL FILLER" in said


def test_sessions_and_deployments_take_no_such_name(root):
    """Neither to start nor to go on."""
    RegistrationPipeline(root).close()
    sessions = Sessions(FileBacking(root), wizards=(party(),))
    begun = sessions.start("party", Caller("bea"))
    plan = DeploymentPlan(
        "one", (DeploymentStep("create_role", "a role", {"colour": 1, "name": "one", "permissions": []}),)
    )
    deployments = open_deployments(root)

    said = [
        refusal(lambda: sessions.start("party", Caller(UNSEEN, "other"))),
        refusal(lambda: sessions.resume(begun.id, Caller(UNSEEN))),
        refusal(lambda: open_deployments(root, actor=UNSEEN)),
        refusal(lambda: deployments.start("one", plan, actor=UNSEEN)),
    ]

    assert all("U+200B ZERO WIDTH SPACE" in one for one in said)
    assert sessions.get_active("other", UNSEEN) is None
    assert deployments.get("one") is None


# -- one person ----------------------------------------------------------------------------------------------


def test_a_name_is_stored_as_typed(pipeline):
    """Only comparisons know of spellings."""
    for name in SPELLINGS:
        pipeline.tag("card", name.encode().hex(), actor=name)

    assert [event.actor for event in pipeline.history("card")][1:] == list(SPELLINGS)


def test_a_claim_is_its_holders_in_every_spelling(pipeline):
    """They extend it, act under it and release it."""
    first = pipeline.work.claim("card", actor="bea lee")

    again = pipeline.work.claim("card", actor="Bea Lee")
    pipeline.tag("card", "seen", actor="BEA LEE")

    assert again.number == first.number
    assert [event.data.get("fence") for event in pipeline.history("card")] == [None, first.number]
    with pytest.raises(LeaseHeld):
        pipeline.tag("card", "too", actor="bea")
    with pytest.raises(LeaseHeld):
        pipeline.work.release("card", actor="bea")
    assert pipeline.work.next("bea lEE").found[0].claim is not None
    assert pipeline.work.release("card", actor="\uff22ea Lee")


def test_who_waits_is_one_person_in_every_spelling(pipeline):
    """An approval that counts already isn't asked for again."""
    pipeline.submit_for_review("card")
    pipeline.approve("card", actor="bea")

    assert [one.action for one in pipeline.work.next("Bea").found[0].choices] == [
        one.action for one in pipeline.work.next("bea").found[0].choices
    ]
    assert "approve" not in [one.action for one in pipeline.work.next("Bea").found[0].choices]
    assert "approve" in [one.action for one in pipeline.work.next("cyd").found[0].choices]


def test_the_same_request_in_another_spelling_is_answered_again(pipeline):
    """A retry by the same person writes nothing."""
    first = pipeline.tag("card", "seen", actor="Bea", idempotency_key="k")
    again = pipeline.tag("card", "seen", actor="bea", idempotency_key="k")

    assert again.replayed
    assert again.event.hash == first.event.hash


def test_a_list_by_actor_finds_every_spelling(pipeline):
    """And nobody else, also where a name sorts between them."""
    for number, name in enumerate(("Bea", "bea", "BEA", "Bdd", "be", "beaa", "b\u00e9a")):
        pipeline.create(f"by{number}", {"name": f"by{number}"}, actor=name)

    found = [one.manifest_id for one in pipeline.find.list(actor="bEa")]

    assert found == ["by0", "by1", "by2"]
    assert pipeline.find.count(actor="B\u00c9A") == 1
    assert pipeline.find.count(actor="nobody") == 0


@pytest.mark.parametrize("made", ["files", "memory"])
def test_a_session_is_its_owners_in_every_spelling(root, made):
    """They have one active session between them."""
    RegistrationPipeline(root).close()
    sessions = Sessions(FileBacking(root) if made == "files" else MemoryBacking(), wizards=(party(),))
    begun = sessions.start("party", Caller("Bea"))

    active = sessions.get_active("default", "bea")
    found = list(sessions.query(user="BEA"))

    assert active is not None
    assert sessions.start("party", Caller("bea"), session=begun.id).id == begun.id
    assert sessions.resume(begun.id, Caller("bea")).user == "Bea"
    assert active.id == begun.id == sessions.resume_active(Caller("BEA")).id
    assert [one.id for one in found] == [begun.id]


def test_an_active_session_of_an_earlier_release_is_found(root):
    """Its record is under the name as typed."""
    RegistrationPipeline(root).close()
    sessions = Sessions(FileBacking(root), wizards=(party(),))
    begun = sessions.start("party", Caller("Bea"))
    with sessions.backing.active.held(("default", "Bea")) as as_typed:
        as_typed.replace(begun.id)
    with sessions.backing.active.held(("default", "bea")) as today:
        today.replace("")

    found = sessions.get_active("default", "Bea")

    assert found is not None
    assert found.id == begun.id
