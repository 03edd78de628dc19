"""People: their names as typed everywhere, and one person whatever the spelling."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace

import pytest

from registration import RegistrationPipeline
from registration.core.chart import GuardUse
from registration.core.policy import Limits, Policy
from registration.engine.origin import came_in
from registration.errors import GuardRefused, InvalidArgument, LeaseHeld, Rejected
from registration.onboarding.community.deploying.plans import DeploymentPlan, DeploymentStep
from registration.onboarding.community.deploying.saga import open_deployments
from registration.onboarding.sessions.backing import FileBacking, MemoryBacking
from registration.onboarding.sessions.session import Caller
from registration.onboarding.sessions.sessions import Sessions
from registration.pipeline.importing import Offer
from registration.rules.guards.builtin import role
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.documents import check_document
from tests.catalog.test_finder import FIXTURES
from tests.kit.policies import put_in_force
from tests.kit.tampering import refitted
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


# -- how they came in ----------------------------------------------------------------------------------------

ADA = {"uid": 1001, "login": "ada", "host": "build"}


def came_in_of(events):
    """By action, how the actor came in; None if the event doesn't say."""
    return {event.action: event.data.get("via") for event in events}


def test_every_event_of_an_actor_says_how_they_came_in(root):
    """Of a manifest, its repair, a broken claim and an alias; a time-out has no actor, and `latest` moves by itself."""
    with RegistrationPipeline(root, actor="ada", policy=Policy(log_refusals=True)) as pipeline:
        pipeline.create("card@1", {"name": "card", "version": "1"})
        pipeline.submit_for_review("card@1")
        pipeline.work.claim("card@1", actor="bea")
        pipeline.work.break_claim("card@1", reason="away")
        pipeline.approve("card@1")
        pipeline.register("card@1")
        pipeline.names.set_alias("card", "stable", "1")
        found = came_in_of(pipeline.history("card@1"))
        aliases = {
            event.data["alias"]: event.data.get("via") for event in pipeline.names.alias_history("card")
        }

    assert found == dict.fromkeys(
        ("create", "submit_for_review", "break_claim", "approve", "register"), came_in()
    )
    assert aliases == {"latest": None, "stable": came_in()}


@pytest.mark.damaged
def test_a_repair_says_how_the_actor_came_in(root):
    """As every event of an actor."""
    with RegistrationPipeline(root, actor="ada", via=lambda: ADA) as pipeline:
        pipeline.create("card", {"name": "card"})
        pipeline.tag("card", "seen")
        log = root / "manifests" / "card" / "events.jsonl"
        log.write_bytes(log.read_bytes()[:-20] + b"0" * 19 + b"\n")
        pipeline.upkeep.repair("card", accept_loss=True)

        assert came_in_of(pipeline.history("card")) == {"create": ADA, "repair": ADA}


def test_sessions_and_deployments_say_how_the_actor_came_in(root):
    """Whatever the area."""
    RegistrationPipeline(root).close()
    sessions = Sessions(FileBacking(root), wizards=(party(),))
    begun = sessions.start("party", Caller("bea"))
    plan = DeploymentPlan(
        "one", (DeploymentStep("create_role", "a role", {"colour": 1, "name": "one", "permissions": []}),)
    )
    deployments = open_deployments(root)
    deployments.start("one", plan)

    assert came_in_of(sessions.history(begun.id)) == {"start": came_in()}
    assert came_in_of(deployments.store.read("one")) == {"plan": came_in()}


# -- the login as the actor ----------------------------------------------------------------------------------

BOUND = Policy(sources=("login",))


@pytest.fixture
def bound(root):
    """Open the same registry for the user who is logged in; its policy binds actors to logins."""
    with ExitStack() as opened:

        def bound(login, **options):
            options = {"policy": BOUND, "via": lambda: {"uid": 1001, "login": login, "host": "h"}} | options
            return opened.enter_context(RegistrationPipeline(root, **options))

        yield bound


def test_the_login_is_the_actor_where_the_policy_binds_them(bound, root):
    """In any spelling, and by default."""
    pipeline = bound("ada")
    pipeline.create("card", {"name": "card"})
    pipeline.submit_for_review("card", actor="Ada")

    assert [event.actor for event in pipeline.history("card")] == ["ada", "Ada"]
    put_in_force(root, "")
    assert [event.actor for event in bound("bea", policy=None).approve("card").events] == [None]


@pytest.mark.parametrize(
    "call",
    [
        lambda one: one.create("other", {"name": "other"}, actor="bea"),
        lambda one: one.approve("card", actor="bea"),
        lambda one: one.approve("card", actor="bea", dry_run=True),
        lambda one: one.tag("card", "seen", actor="bea"),
        lambda one: one.names.set_alias("done", "stable", "1", actor="bea"),
        lambda one: one.work.break_claim("card", reason="away", actor="bea"),
    ],
)
def test_another_name_than_the_login_is_refused(bound, root, call):
    """Whatever is asked for; the refusal says which login was found, and what to do. Nothing is written."""
    pipeline = bound("ada")
    pipeline.create("done", {"name": "done", "version": "1"})
    pipeline.submit_for_review("done")
    pipeline.approve("done")
    pipeline.register("done")
    pipeline.create("card", {"name": "card"})
    pipeline.submit_for_review("card")
    bound("cyd").work.claim("card")
    before = [event.version for event in pipeline.history("card")]

    with pytest.raises(GuardRefused) as caught:
        call(pipeline)

    refused = [one for one in caught.value.details["verdicts"] if not one["agrees"]]
    (one,) = [one for one in refused if one["guard"] == "actor"]
    assert one["origin"] == "policy"
    assert "the login is 'ada' (user 1001 on h), and 'bea' is another name" in str(caught.value)
    assert one["evidence"]["via"] == {"uid": 1001, "login": "ada", "host": "h"}
    assert [event.version for event in pipeline.history("card")] == before


def test_a_claim_under_another_name_than_the_login_is_refused(bound):
    """It would keep others away; and so would its release let them in."""
    pipeline = bound("ada")
    pipeline.create("card", {"name": "card"})
    bound("bea").work.claim("card")

    for call in (pipeline.work.claim, pipeline.work.release):
        with pytest.raises(Rejected) as caught:
            call("card", actor="bea")
        assert "the login is 'ada'" in str(caught.value)
    assert bound("bea").work.release("card")


def test_refusals_under_another_name_are_counted_against_the_login(bound):
    """A false name does not use up what its owner may do in a day."""
    limited = replace(BOUND, limits=Limits(refusals=2))
    ada, bea = bound("ada", policy=limited), bound("bea", policy=limited)
    for _ in range(3):
        with pytest.raises(GuardRefused):
            ada.create("card", {"name": "card"}, actor="bea")

    with pytest.raises(GuardRefused, match="refused"):
        ada.create("card", {"name": "card"})
    assert bea.create("card", {"name": "card"}).state == "DRAFT"


def test_a_session_under_another_name_than_the_login_is_refused(bound, root):
    """What somebody types into another's session, that one would submit."""
    ada, bea = bound("ada"), bound("bea")
    own = Sessions(FileBacking(root), registry=bea, wizards=(party(),))
    other = Sessions(FileBacking(root), registry=ada, wizards=(party(),))
    begun = own.start("party", Caller("bea"))

    for call in (
        lambda: other.start("party", Caller("bea", "more")),
        lambda: other.resume(begun.id, Caller("bea")),
        lambda: other.draft(begun.id, {}, Caller("bea")),
        lambda: other.delete(begun.id, Caller("bea")),
        lambda: ada.check_actor("bea"),
    ):
        with pytest.raises(Rejected) as caught:
            call()
        assert "the login is 'ada'" in str(caught.value)

    assert own.resume(begun.id, Caller("Bea")).id == begun.id


def test_a_user_without_a_login_is_refused(bound):
    """A name can't be told from another one without it."""
    with pytest.raises(GuardRefused) as caught:
        bound(None).create("card", {"name": "card"}, actor="ada")

    assert "user 1001 on h has no login name" in str(caught.value)


def test_why_says_who_could_act_if_they_logged_in(bound):
    """The binding refuses this login alone; who could act is a matter of the other rules, and of who comes next."""
    governed = replace(
        BOUND,
        uses={"approve": (GuardUse("role", {"any": ["reviewer"]}),)},
        guards={"role": role},
        roles={"reviewer": ("bea", "cyd")},
    )
    pipeline = bound("bea", policy=governed)
    pipeline.create("card", {"name": "card"})
    pipeline.submit_for_review("card")

    (own,) = pipeline.explain("card", "approve")
    (other,) = pipeline.explain("card", "approve", actor="cyd")

    assert (own.allowed, own.actor) == (True, "bea")
    assert not other.allowed
    assert other.who is not None
    assert other.who.actors == ("bea", "cyd")
    assert other.next is not None
    assert other.next.actor == "bea"
    assert [one.action for one in pipeline.work.next("cyd").found[0].choices] == ["approve", "reject"]


def test_an_import_is_by_the_login(bound):
    """Where no actor was given, of the events and of where they come from."""
    pipeline = bound("ada")

    list(pipeline.import_many([Offer(source="card.json", document=check_document({"name": "card"}))]))

    (event,) = pipeline.history("card")
    assert (event.actor, event.data["imported"]["by"]) == ("ada", "ada")


@pytest.mark.damaged
def test_a_repair_without_an_actor_is_planned_where_the_rules_are_unreadable(root):
    """Who would do it is asked when it is done."""
    with RegistrationPipeline(root) as pipeline:
        pipeline.create("card", {"name": "card"})
        pipeline.tag("card", "seen")
        put_in_force(pipeline, BOUND)
    log = root / "manifests" / "card" / "events.jsonl"
    log.write_bytes(log.read_bytes()[:-20] + b"0" * 19 + b"\n")
    for kept in (root / "rules" / "policies").iterdir():
        kept.write_bytes(b"{}")

    with RegistrationPipeline(root, create=False) as pipeline:
        loss = pipeline.upkeep.repair("card")

    assert loss is not None
    assert loss.refusal is not None


def test_names_in_one_script_may_be_demanded(bound):
    """The refusal tells the letters apart: they may look the same."""
    pipeline = bound("ada", policy=Policy(one_script=True))
    pipeline.create("card", {"name": "card"}, actor="\u0430\u043d\u043d\u0430")

    with pytest.raises(GuardRefused) as caught:
        pipeline.submit_for_review("card", actor="\u0430da")

    assert "it mixes Cyrillic and Latin: '\u0430' (U+0430 CYRILLIC SMALL LETTER A)" in str(caught.value)


def test_letters_are_told_apart_before_logins(bound):
    """Two names that look the same would make no sense in a refusal."""
    pipeline = bound("ada", policy=Policy(sources=("login",), one_script=True))

    with pytest.raises(GuardRefused) as caught:
        pipeline.create("card", {"name": "card"}, actor="\u0430da")

    assert "U+0430 CYRILLIC SMALL LETTER A" in str(caught.value)


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("tampered", "found"),
    [
        (lambda data: data["via"].update(login="bea"), "'ada' is another name"),
        (lambda data: data.update(actor="bea"), "'bea' is another name"),
        (lambda data: data.pop("via"), "the operating-system user"),
        (lambda data: data["via"].pop("host"), "malformed"),
        (lambda data: data["via"].update(login=None), "has no login name"),
    ],
)
def test_verify_asks_again_how_an_actor_came_in(root, tampered, found):
    """An event of another actor, or one who came in otherwise, is damage, however well its hashes fit."""
    said = {"uid": 1001, "login": "ada", "host": "h"}
    with RegistrationPipeline(root, policy=BOUND, via=lambda: said) as pipeline:
        pipeline.create("card", {"name": "card"})
        pipeline.tag("card", "seen")
    log = root / "manifests" / "card" / "events.jsonl"
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    tampered(lines[1]["data"])
    log.write_bytes(refitted(REGISTRATION, lines))
    (log.parent / "state.json").unlink()

    with RegistrationPipeline(root, create=False) as pipeline:
        findings = pipeline.evidence.verify("card").findings

    assert [one.line for one in findings if one.kind == "damage" and found in one.reason] == [2]


def test_a_program_that_says_nonsense_of_its_user_is_told_so(root):
    """Before anything is written: an event without the three members would be damage."""
    with (
        RegistrationPipeline(root, via=lambda: {"uid": "1001", "login": "ada", "host": "h"}) as pipeline,
        pytest.raises(InvalidArgument, match="Invalid `via`"),
    ):
        pipeline.create("card", {"name": "card"})

    assert not list((root / "manifests").iterdir())


def test_a_replay_asks_how_actors_came_in_where_that_was_recorded(root):
    """Release 0.1 didn't record it, so a demand for it refuses none of its events, but for one without an actor."""
    shutil.copytree(FIXTURES / "registries" / "format-1", root)
    with RegistrationPipeline(root, via=lambda: ADA) as pipeline:
        before = list(pipeline.evidence.replay_policy(BOUND))
        pipeline.create("new/card", {"name": "card"}, actor="bea")
        after = list(pipeline.evidence.replay_policy(BOUND))

    assert sum(one.was == one.would_be == "accepted" for one in before) > 5
    (unnamed,) = [one.why for one in before if one.was != one.would_be]
    assert unnamed is not None
    assert unnamed.refusals[0].reason.endswith("and no actor is named")
    assert [one.manifest_id for one in after if one not in before and one.was != one.would_be] == ["new/card"]
