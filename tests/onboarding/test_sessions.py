"""Sessions: begun, answered, left, expired, resumed and ended; by their owners only; on files and in memory alike."""

from __future__ import annotations

import logging
import multiprocessing
import os
import stat
import threading

import pytest

from registration import RegistrationPipeline
from registration.errors import (
    AlreadyExists,
    InvalidAnswer,
    InvalidArgument,
    Next,
    NotFound,
    NotYours,
    Rejected,
    SessionActive,
    SessionEnded,
    SessionExpired,
    VersionConflict,
    WorkFailed,
)
from registration.onboarding.sessions.backing import FileBacking, MemoryBacking
from registration.onboarding.sessions.session import Caller, check_session_id, new_session_id
from registration.onboarding.sessions.sessions import Sessions
from registration.onboarding.sessions.settings import SessionSettings
from registration.onboarding.wizards.wizard import WizardStep
from tests.kit.wizards import ANSWERS, party

ADA, BEA = Caller("ada", "guild"), Caller("bea", "guild")
MINUTE_NS = 60_000_000_000


class Clock:
    """A clock that only goes when it is told to."""

    def __init__(self):
        self.now_ns = 1_800_000_000_000_000_000

    def __call__(self):
        return self.now_ns

    def sleep_minutes(self, minutes):
        self.now_ns += int(minutes * MINUTE_NS)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["files", "memory"])
def open_sessions(request, root, clock):
    """Make sessions over the same backing, as often as wanted."""
    kept = {}

    def open_sessions(settings=None, wizards=None, **options):
        if request.param == "files":
            RegistrationPipeline(root).close()
            backing = FileBacking(root, settings=settings)
        else:
            backing = kept.setdefault("memory", MemoryBacking(settings=settings))
        return Sessions(backing, wizards=wizards or (party(),), clock=clock, **options)

    yield open_sessions
    health = open_sessions().health()
    if request.node.get_closest_marker("damaged") is None:
        assert health.findings == ()


@pytest.fixture
def sessions(open_sessions):
    return open_sessions()


def answered(sessions, session, by=ADA, answers=ANSWERS, until="REVIEW"):
    """The session, with its steps answered until it stands there."""
    while session.state != until:
        session = sessions.process(session.id, answers[session.state], by)
    return session


# -- the way through -------------------------------------------------------------------------------------


def test_a_session_goes_from_step_to_step_to_its_end(sessions):
    """Each answer leads on, what was answered is kept with its defaults, and every event has its word."""
    session = sessions.start("party", ADA, community="guild-7")
    states = [session.state]
    while session.is_active:
        session = sessions.process(session.id, ANSWERS.get(session.state, {}), ADA, step=session.state)
        states.append(session.state)

    assert states == ["START", "MENU", "PRICE", "REVIEW", "COMPLETE"]
    assert session.answers == ANSWERS
    assert (session.scope, session.user, session.community) == ("guild", "ada", "guild-7")
    assert (session.progress.percent, session.expires_at) == (100, None)
    assert [event.type for event in sessions.history(session.id)] == [
        "party.session_created.v1", *["party.step_completed.v1"] * 3, "party.session_completed.v1",
    ]  # fmt: skip


def test_going_back_keeps_every_answer(sessions):
    """Back, back again, forward: what was answered is proposed again, and nothing is lost."""
    session = answered(sessions, sessions.start("party", ADA))

    back = sessions.back(session.id, ADA)
    first = sessions.back(sessions.back(session.id, ADA).id, ADA)

    assert (back.state, first.state, first.answers) == ("PRICE", "START", ANSWERS)
    with pytest.raises(Rejected, match="is at START, and can't go back from there"):
        sessions.back(session.id, ADA)


def test_a_step_that_has_nothing_to_ask_is_passed_over(sessions):
    """In both directions, by the answers of the moment."""
    session = sessions.process(sessions.start("party", ADA).id, ANSWERS["START"], ADA)

    review = sessions.process(session.id, {"menu": "none"}, ADA)

    assert review.state == "REVIEW"
    assert sessions.back(session.id, ADA).state == "MENU"
    assert sessions.process(session.id, ANSWERS["MENU"], ADA).state == "PRICE"


def test_one_jumps_back_from_the_review_and_to_it_once_all_is_answered(sessions):
    """From the review to any step that asks; to the review when nothing is missing; from nowhere else."""
    session = sessions.start("party", ADA)
    with pytest.raises(InvalidAnswer, match="MENU: it is not answered yet; PRICE: it is not answered yet"):
        sessions.goto(sessions.process(session.id, ANSWERS["START"], ADA).id, "REVIEW", ADA)
    answered(sessions, sessions.get(session.id))

    jumped = sessions.goto(session.id, "START", ADA)

    assert jumped.state == "START"
    assert sessions.goto(session.id, "REVIEW", ADA).state == "REVIEW"
    sessions.goto(session.id, "MENU", ADA)
    with pytest.raises(Rejected, match="can't jump to PRICE from there"):
        sessions.goto(session.id, "PRICE", ADA)
    with pytest.raises(InvalidArgument, match="Did you mean 'PRICE'"):
        sessions.goto(session.id, "PRIZE", ADA)


def test_an_answer_that_made_a_later_one_wrong_is_found_at_the_end(sessions):
    """The review takes nothing that doesn't hold by the answers as they are; correcting it is enough."""
    session = answered(sessions, sessions.start("party", ADA))
    sessions.update(session.id, "START", {"name": "midsummer", "guests": 40}, ADA)

    with pytest.raises(InvalidAnswer) as caught:
        sessions.process(session.id, {}, ADA)

    assert caught.value.details["problems"] == ["MENU/menu: invalid choice 'fish'; choose from buffet"]
    sessions.update(session.id, "MENU", {"menu": "buffet"}, ADA)
    assert sessions.process(session.id, {}, ADA).state == "COMPLETE"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"name": 7}, "START/name: it should be a valid string (found 7)"),
        ({"name": "a", "colour": "red"}, "START/colour: unknown field"),
        ({}, "START/name: it is required but missing"),
        ([], "START: it is an array; expected a JSON object"),
        ({"name": float("nan")}, "START/name: it is not a finite number (NaN, or beyond ±1.8e308)"),
    ],
)
def test_a_wrong_answer_is_refused_and_nothing_is_written(sessions, answer, problem):
    """The type, unknown fields, what is missing: all named, and the session stays where it is."""
    session = sessions.start("party", ADA)

    with pytest.raises(InvalidAnswer) as caught:
        sessions.process(session.id, answer, ADA)

    assert caught.value.details["problems"] == [problem]
    assert sessions.get(session.id) == session


def test_an_answer_to_another_step_is_refused(sessions):
    """Who answers what somebody else has answered meanwhile is told where the session stands."""
    session = answered(sessions, sessions.start("party", ADA), until="MENU")

    with pytest.raises(InvalidAnswer, match="is at MENU, but the answer is for START"):
        sessions.process(session.id, ANSWERS["START"], ADA, step="START")
    with pytest.raises(VersionConflict):
        sessions.process(session.id, ANSWERS["MENU"], ADA, expected_version=1)


# -- ends ------------------------------------------------------------------------------------------------


def test_a_session_ends_in_a_draft(open_sessions, root):
    """Its manifest is in the registry before the session says so, made by its owner, in its name."""
    with RegistrationPipeline(root) as registry:
        sessions = open_sessions(registry=registry)
        session = answered(sessions, sessions.start("party", ADA))

        done = sessions.process(session.id, {}, ADA)

        state = registry.load_state("midsummer@1.0.0")
        assert done.manifest == {"id": "midsummer@1.0.0", "version": 1, "digest": state.digest}
        assert (state.state, state.document["MENU"]) == ("DRAFT", ANSWERS["MENU"])
        assert [event.actor for event in registry.history("midsummer@1.0.0")] == ["ada"]
        assert [event.correlation_id for event in registry.history("midsummer@1.0.0")] == [session.id]


def test_an_id_that_is_taken_leaves_the_session_at_its_review(open_sessions, root):
    """Somebody else's manifest stays as it is, and another name ends the session."""
    with RegistrationPipeline(root, actor="eve") as registry:
        sessions = open_sessions(registry=registry)
        registry.create("midsummer@1.0.0", {"by": "eve"})
        session = answered(sessions, sessions.start("party", ADA))

        with pytest.raises(AlreadyExists, match="go back, then forward again"):
            sessions.process(session.id, {}, ADA)

        assert sessions.get(session.id).state == "REVIEW"
        sessions.update(session.id, "START", {"name": "solstice"}, ADA)
        assert sessions.process(session.id, {}, ADA).manifest["id"] == "solstice@1.0.0"


def interrupted(*_args, **_more):
    raise KeyboardInterrupt


def test_a_manifest_that_was_made_before_a_crash_is_found_again(open_sessions, root, monkeypatch):
    """Killed between the manifest and the session's end: ending it again makes no second one; changed answers revise it."""
    with RegistrationPipeline(root) as registry:
        sessions = open_sessions(registry=registry)
        session = answered(sessions, sessions.start("party", ADA))
        act = Sessions._act
        monkeypatch.setattr(Sessions, "_act", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sessions.process(session.id, {}, ADA)
        monkeypatch.setattr(Sessions, "_act", act)

        sessions.update(session.id, "MENU", {"menu": "buffet"}, ADA)
        done = sessions.process(session.id, {}, ADA)

        assert done.manifest["version"] == 2
        assert registry.load_state("midsummer@1.0.0").document["MENU"] == {"menu": "buffet", "drinks": []}


def test_a_cancelled_session_is_over(sessions):
    """Nothing goes on from there; another one can be begun."""
    session = sessions.start("party", ADA)
    sessions.cancel(session.id, ADA)

    for act in (sessions.back, sessions.cancel, sessions.resume, sessions.restart):
        with pytest.raises(SessionEnded, match="it is CANCELLED"):
            act(session.id, ADA)
    assert sessions.get_active("guild", "ada") is None
    assert sessions.start("party", ADA).is_active


def test_a_failed_session_says_why_and_can_be_started_again(sessions):
    """With its answers, or without them; its next run has the next number."""
    session = answered(sessions, sessions.start("party", ADA), until="PRICE")
    with pytest.raises(InvalidArgument, match="a reason"):
        sessions.fail(session.id, " ", ADA)
    failed = sessions.fail(session.id, "no room", ADA)
    with pytest.raises(SessionEnded, match=r"it is FAILED \(no room\)"):
        sessions.resume(session.id, ADA)

    again = sessions.restart(session.id, ADA)

    assert failed.stopped == {"at": "PRICE", "reason": "no room"}
    assert (again.state, again.attempt, again.stopped) == ("START", 2, None)
    assert again.answers == {name: ANSWERS[name] for name in ("START", "MENU")}
    with pytest.raises(Rejected, match="is active: it is at START"):
        sessions.restart(session.id, ADA)
    sessions.fail(session.id, "again", ADA)
    assert sessions.restart(session.id, ADA, keep_answers=False).answers == {}


# -- time ------------------------------------------------------------------------------------------------


def test_a_session_that_was_left_alone_has_expired_whoever_looks(sessions, clock):
    """Nobody has to clean up: it isn't active, nothing goes on in it, and the log says when it expired."""
    session = answered(sessions, sessions.start("party", ADA), until="MENU")
    clock.sleep_minutes(15)

    assert (sessions.get(session.id).state, sessions.get(session.id).version) == ("EXPIRED", 2)
    assert sessions.get_active("guild", "ada") is None
    with pytest.raises(SessionExpired, match="has expired: it was idle at MENU") as caught:
        sessions.process(session.id, ANSWERS["MENU"], ADA)
    assert caught.value.next == (Next(operation="sessions.restart", id=session.id),)
    last = list(sessions.history(session.id))[-1]
    assert (last.type, last.time) == ("party.session_expired.v1", session.expires_at)
    again = sessions.restart(session.id, ADA)
    assert (again.state, again.answers) == ("START", {"START": ANSWERS["START"]})


def test_every_act_renews_the_time(sessions, clock):
    """Answering, going back and resuming do; looking doesn't."""
    session = sessions.start("party", ADA)
    for act in (
        lambda: sessions.process(session.id, ANSWERS["START"], ADA),
        lambda: sessions.back(session.id, ADA),
        lambda: sessions.resume(session.id, ADA),
        lambda: sessions.update(session.id, "START", ANSWERS["START"], ADA),
    ):
        clock.sleep_minutes(14)
        act()
        sessions.get(session.id)
    clock.sleep_minutes(14)
    assert sessions.get(session.id).is_active

    clock.sleep_minutes(1)

    assert not sessions.get(session.id).is_active


def test_how_long_a_session_lives_is_a_setting(open_sessions, clock):
    """For all wizards, or for one of them."""
    sessions = open_sessions(SessionSettings(time_to_live="1m", by_wizard={"party": "24h"}))
    session = sessions.start("party", ADA)

    clock.sleep_minutes(24 * 60 - 1)
    alive = sessions.get(session.id)
    clock.sleep_minutes(1)

    assert (alive.is_active, sessions.get(session.id).is_active) == (True, False)


def test_cleaning_up_records_what_has_expired_and_removes_what_is_old(sessions, clock):
    """Once each; a session that goes on is left alone."""
    old = sessions.start("party", ADA)
    clock.sleep_minutes(10)
    young = sessions.start("party", BEA)
    clock.sleep_minutes(10)

    first, second = sessions.cleanup_expired(), sessions.cleanup_expired()
    removed = sessions.cleanup_expired(delete_after_s=60)

    assert (first.looked_at, first.expired, second.expired) == (2, (old.id,), ())
    assert (removed.deleted, sessions.exists(old.id), sessions.exists(young.id)) == ((old.id,), False, True)


# -- whose ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", [Caller("bea", "guild"), Caller("ada", "elsewhere")])
def test_nobody_acts_on_somebody_elses_session(sessions, stranger, caplog):
    """Neither another user, nor the same name in another scope; and it is told in the log of the program."""
    session = sessions.start("party", ADA)

    with caplog.at_level(logging.WARNING, logger="registration"):
        for act in (
            lambda: sessions.process(session.id, ANSWERS["START"], stranger),
            lambda: sessions.resume(session.id, stranger),
            lambda: sessions.cancel(session.id, stranger),
            lambda: sessions.bind(session.id, stranger),
            lambda: sessions.delete(session.id, stranger),
        ):
            with pytest.raises(NotYours, match="belongs to 'ada' in the scope 'guild'"):
                act()

    assert len(caplog.records) == 5
    assert sessions.get(session.id) == session


def test_a_session_is_bound_to_one_client_for_good(sessions, caplog):
    """From then on nobody acts from elsewhere; what the client is called is nowhere in the files."""
    home, away = Caller("ada", "guild", "198.51.100.7"), Caller("ada", "guild", "203.0.113.9")
    session = sessions.start("party", home)
    with pytest.raises(InvalidArgument, match="No client was given"):
        sessions.bind(session.id, ADA)
    assert sessions.bind(session.id, home).bound

    with pytest.raises(Rejected, match="already bound to a client, permanently"):
        sessions.bind(session.id, home)
    for caller in (away, ADA):
        with (
            caplog.at_level(logging.WARNING, logger="registration"),
            pytest.raises(NotYours, match="another client"),
        ):
            sessions.process(session.id, ANSWERS["START"], caller)
    assert sessions.process(session.id, ANSWERS["START"], home).state == "MENU"
    assert len(caplog.records) == 2
    assert not any(b"198.51.100.7" in event.line for event in sessions.history(session.id))


def test_the_key_of_clients_is_for_its_owner_only(root):
    """Made once, exclusively, 0600; a wrong one is refused."""
    RegistrationPipeline(root).close()
    first, second = FileBacking(root).client_key(), FileBacking(root).client_key()

    assert first == second
    assert stat.S_IMODE(os.stat(root / "clients.key").st_mode) == 0o600
    (root / "clients.key").write_text("secret\n")
    with pytest.raises(Exception, match=r"clients\.key is not a key"):
        FileBacking(root).client_key()


@pytest.mark.parametrize("active", ["user", "scope"])
def test_there_is_one_active_session_for_each_user_or_for_each_scope(open_sessions, active):
    """By the settings; the second is told which one is in the way."""
    sessions = open_sessions(SessionSettings(active=active))
    session = sessions.start("party", ADA)

    with pytest.raises(SessionActive, match=session.id) as caught:
        sessions.start("party", ADA)
    assert caught.value.details["session"] == session.id
    if active == "user":
        assert sessions.start("party", BEA).is_active
    else:
        with pytest.raises(SessionActive, match="of 'ada'"):
            sessions.start("party", BEA)
    assert sessions.start("party", Caller("ada", "other")).is_active
    assert sessions.get_active("guild", "ada").id == session.id
    assert sessions.resume_active(ADA).id == session.id
    with pytest.raises(NotFound, match="has no active session"):
        sessions.resume_active(Caller("cyd", "guild" if active == "user" else "nowhere"))


def test_a_session_can_not_be_started_again_beside_an_active_one(sessions):
    """The one that failed waits until the other has ended."""
    failed = sessions.start("party", ADA)
    sessions.fail(failed.id, "no room", ADA)
    other = sessions.start("party", ADA)

    with pytest.raises(SessionActive, match=other.id):
        sessions.restart(failed.id, ADA)

    sessions.cancel(other.id, ADA)
    assert sessions.restart(failed.id, ADA).is_active
    assert sessions.get_active("guild", "ada").id == failed.id


def test_beginning_is_idempotent_by_the_id(sessions, clock):
    """The same request gives the session as it is now; another owner's or wizard's doesn't."""
    id = new_session_id(clock(), b"0123456789")
    session = sessions.start("party", ADA, session=id)
    later = sessions.process(id, ANSWERS["START"], ADA)

    assert session.id == id
    assert sessions.start("party", ADA, session=id) == later
    assert len(list(sessions.history(id))) == 2
    with pytest.raises(AlreadyExists, match="for another wizard or owner"):
        sessions.start("party", BEA, session=id)
    with pytest.raises(InvalidArgument, match="is an invalid session id"):
        sessions.start("party", ADA, session="mine")
    with pytest.raises(NotFound, match="There is no wizard 'prty'"):
        sessions.start("prty", BEA)


def test_ids_sort_as_they_were_made():
    """By the millisecond; and what isn't one is told."""
    ids = [
        new_session_id(1_800_000_000_000_000_000 + ms * 1_000_000, bytes(10))
        for ms in (0, 1, 999, 1000, 60_000)
    ]

    assert ids == sorted(ids)
    assert len(set(ids)) == 5
    assert all(check_session_id(id) == id for id in ids)


def test_a_session_begun_with_answers_proposes_them(sessions):
    """They count once their step is answered, and may be wrong until then."""
    session = sessions.start("party", ADA, answers={"START": {"name": 7}})

    assert (session.state, session.answers) == ("START", {"START": {"name": 7}})
    with pytest.raises(InvalidArgument, match=r"has no step 'STRAT'\. Did you mean 'START'"):
        sessions.start("party", BEA, answers={"STRAT": {}})


# -- asking ----------------------------------------------------------------------------------------------


def test_sessions_are_asked_for_by_what_they_are(sessions, clock):
    """Scope, user, state, wizard, age; counted by state."""
    one = sessions.start("party", ADA)
    two = answered(sessions, sessions.start("party", BEA), BEA)
    three = sessions.start("party", Caller("cyd", "other"))
    sessions.cancel(three.id, Caller("cyd", "other"))
    clock.sleep_minutes(5)
    sessions.process(two.id, {}, BEA)

    def ids(**asked):
        return [session.id for session in sessions.query(**asked)]

    assert ids() == sorted([one.id, two.id, three.id])
    assert ids(scope="guild", user="ada") == [one.id]
    assert (ids(state="COMPLETE"), ids(active=True), ids(wizard="none")) == ([two.id], [one.id], [])
    assert sorted(ids(older_than_s=299)) == sorted([one.id, three.id])
    stats = sessions.stats()
    assert (stats.total, stats.active, stats.completed_percent) == (3, 1, 50)
    assert stats.by_state == {"START": 1, "COMPLETE": 1, "CANCELLED": 1}
    assert sessions.stats("other").by_state == {"CANCELLED": 1}


def test_a_scope_can_be_forgotten(sessions):
    """Its sessions and their histories are gone; those of others stay, and ids that are gone are not found."""
    gone, kept = sessions.start("party", ADA), sessions.start("party", Caller("ada", "other"))

    assert sessions.delete_scope("guild") == 1

    assert (sessions.exists(gone.id), sessions.exists(kept.id)) == (False, True)
    assert sessions.delete(gone.id) is False
    with pytest.raises(NotFound, match=f"There is no session '{gone.id}'"):
        sessions.get(gone.id)
    assert sessions.start("party", ADA).is_active


def test_handlers_are_told_of_every_event(sessions):
    """Also of those of wizards that come into use later."""
    told = []
    sessions.on(lambda change: told.append((change.event.action, change.to_state)))

    session = answered(sessions, sessions.start("party", ADA), until="PRICE")
    sessions.goto(sessions.process(session.id, ANSWERS["PRICE"], ADA).id, "MENU", ADA)

    assert told == [
        ("start", "START"),
        ("process", "MENU"),
        ("process", "PRICE"),
        ("process", "REVIEW"),
        ("goto_MENU", "MENU"),
    ]


# -- work ------------------------------------------------------------------------------------------------


class Oven:
    """A worker that bakes three cakes, and stops where it is told to."""

    def __init__(self):
        self.baked, self.stop_at, self.error = [], None, None

    def do(self, work):
        for cake in range(3):
            if f"cake-{cake}" not in work.records:
                if cake == self.stop_at:
                    self.undo(work)
                    raise self.error
                self.baked.append(cake)
                work.record(f"cake-{cake}", status="done")

    def undo(self, work):
        if not isinstance(self.error, WorkFailed | type(None)):
            return
        for key in reversed([key for key, said in work.records.items() if said["status"] == "done"]):
            self.baked.remove(int(key[-1]))
            work.record(key, status="undone")


def bakery():
    wizard = party()
    return party(steps=(*wizard.steps, WizardStep("BAKE", "Baking", kind="work")))


def test_work_is_recorded_and_gone_on_with_after_a_crash(open_sessions):
    """What was done before the crash is not done again; then the session is complete."""
    oven = Oven()
    sessions = open_sessions(wizards=(bakery(),), workers={"BAKE": oven})
    session = sessions.process(answered(sessions, sessions.start("party", ADA)).id, {}, ADA)
    oven.stop_at, oven.error = 2, KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        sessions.process(session.id, {}, ADA)
    assert (sessions.get(session.id).state, oven.baked) == ("BAKE", [0, 1])
    with pytest.raises(Rejected, match="can't go back"):
        sessions.back(session.id, ADA)
    with pytest.raises(Rejected, match="can't cancel"):
        sessions.cancel(session.id, ADA)

    oven.stop_at = None
    done = open_sessions(wizards=(bakery(),), workers={"BAKE": oven}).process(session.id, {}, ADA)

    assert (done.state, oven.baked) == ("COMPLETE", [0, 1, 2])
    assert list(done.work) == ["cake-0", "cake-1", "cake-2"]


def test_work_that_fails_is_undone_and_the_session_can_be_started_again(open_sessions, clock):
    """Nothing is left outside, the next run has records of its own, and work never expires."""
    oven = Oven()
    sessions = open_sessions(wizards=(bakery(),), workers={"BAKE": oven})
    session = sessions.process(answered(sessions, sessions.start("party", ADA)).id, {}, ADA)
    clock.sleep_minutes(60)
    oven.stop_at, oven.error = 1, WorkFailed("The oven is cold.")

    with pytest.raises(WorkFailed, match="Restart it"):
        sessions.process(session.id, {}, ADA)

    failed = sessions.get(session.id)
    assert (failed.state, failed.stopped, oven.baked) == (
        "FAILED",
        {"at": "BAKE", "reason": "The oven is cold."},
        [],
    )
    again = sessions.restart(session.id, ADA)
    assert (again.attempt, again.work, again.answers) == (2, {}, ANSWERS)
    oven.stop_at = None
    sessions.goto(session.id, "REVIEW", ADA)
    sessions.process(session.id, {}, ADA)
    assert sessions.process(session.id, {}, ADA).state == "COMPLETE"


def test_work_that_is_given_up_is_undone_first(open_sessions):
    """And who has no worker is told so."""
    oven = Oven()
    sessions = open_sessions(wizards=(bakery(),), workers={"BAKE": oven})
    session = sessions.process(answered(sessions, sessions.start("party", ADA)).id, {}, ADA)
    oven.stop_at, oven.error = 2, KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        sessions.process(session.id, {}, ADA)
    with pytest.raises(Rejected, match="this program has no worker for it"):
        open_sessions(wizards=(bakery(),)).process(session.id, {}, ADA)
    oven.error = None

    failed = sessions.fail(session.id, "no guests", ADA)

    assert (failed.state, oven.baked) == ("FAILED", [])


# -- at once ---------------------------------------------------------------------------------------------


def test_of_many_threads_that_begin_one_wins(sessions):
    """The others are told of its session."""
    results = []

    def begin():
        try:
            results.append(sessions.start("party", ADA))
        except SessionActive as error:
            results.append(error.details["session"])

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    begun = [one for one in results if not isinstance(one, str)]
    assert len(begun) == 1
    assert {one for one in results if isinstance(one, str)} == {begun[0].id}


def begin_in_a_process(root, gate, results):
    gate.wait()
    try:
        results.put(("begun", Sessions(root, wizards=(party(),)).start("party", ADA).id))
    except SessionActive as error:
        results.put(("told", error.details["session"]))


@pytest.mark.torture
def test_of_many_processes_that_begin_one_wins(root):
    """The record of the active session excludes processes as well."""
    RegistrationPipeline(root).close()
    spawn = multiprocessing.get_context("spawn")
    gate, results = spawn.Barrier(4), spawn.Queue()
    processes = [spawn.Process(target=begin_in_a_process, args=(root, gate, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()

    assert sorted(how for how, _ in found) == ["begun", "told", "told", "told"]
    assert len({id for _, id in found}) == 1


def test_an_active_session_that_was_never_begun_is_in_nobodys_way(open_sessions):
    """A process that was killed between the record and the session: the next one begins."""
    sessions = open_sessions()
    with sessions.backing.active.held(("guild", "ada")) as active:
        active.replace(new_session_id(1_800_000_000_000_000_000, bytes(10)))

    assert sessions.get_active("guild", "ada") is None
    assert sessions.start("party", ADA).is_active


# -- settings --------------------------------------------------------------------------------------------


def test_the_settings_of_a_registry_are_read_from_its_file(root):
    """How long sessions live, for one wizard another time, and how many are active."""
    RegistrationPipeline(root).close()
    assert FileBacking(root).settings == SessionSettings()
    (root / "sessions.toml").write_text(
        'time_to_live = "24h"\nactive = "scope"\n[wizards.party]\ntime_to_live = "2h"\n'
    )

    settings = FileBacking(root).settings

    assert settings == SessionSettings("24h", "scope", {"party": "2h"})
    assert (settings.time_for("party"), settings.time_for("other")) == ("2h", "24h")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("time_to_live = 5", "time_to_live: invalid duration 5"),
        ('active = "all"', "active: 'all' is neither 'user' nor 'scope'"),
        ("ttl = 1", "ttl: unknown member"),
        ("[wizards.party]\nttl = 1", "wizards.party.ttl: unknown member"),
        ("wizards = 1", "wizards: expected a table for each wizard"),
        ("= 1", "it is not TOML"),
    ],
)
def test_settings_that_can_not_be_meant_are_refused(root, text, problem):
    """With the place in the file."""
    RegistrationPipeline(root).close()
    (root / "sessions.toml").write_text(text)

    with pytest.raises(InvalidArgument) as caught:
        FileBacking(root)

    assert any(problem in found for found in caught.value.details["problems"])


# -- drafts ----------------------------------------------------------------------------------------------


def test_what_was_answered_of_a_step_so_far_is_kept(sessions, clock):
    """It needn't be whole, it renews the time, and it is gone once the step is answered."""
    session = sessions.start("party", ADA)
    clock.sleep_minutes(14)
    drafted = sessions.draft(session.id, {"guests": 3}, ADA)
    clock.sleep_minutes(14)

    resumed = sessions.resume(session.id, ADA)

    assert (drafted.state, resumed.draft, resumed.answers) == ("START", {"START": {"guests": 3}}, {})
    assert sessions.process(session.id, ANSWERS["START"], ADA).draft == {}


def test_no_secret_is_kept_however_it_is_brought(sessions):
    """Not in an answer, not in a draft, not in what a session is begun with; and it isn't shown in the refusal."""
    with pytest.raises(InvalidAnswer) as begun:
        sessions.start("party", ADA, answers={"PRICE": {"key": "hunter2"}})
    session = answered(sessions, sessions.start("party", ADA), until="PRICE")
    with pytest.raises(InvalidAnswer) as drafted:
        sessions.draft(session.id, {"key": "hunter2"}, ADA)
    with pytest.raises(InvalidAnswer) as given:
        sessions.process(session.id, {"per_guest": 1, "key": "hunter2"}, ADA)

    for caught in (begun, drafted, given):
        assert "PRICE/key: secrets are not stored here" in str(caught.value)
        assert "hunter2" not in str(caught.value.as_json())
    assert not any(b"hunter2" in event.line for event in sessions.history(session.id))
