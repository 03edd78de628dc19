"""Sessions from two processes, in any order of acts, against a model that knows nothing of logs, records or charts."""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from registration import RegistrationPipeline
from registration.errors import RegistrationError
from registration.onboarding.sessions.session import Caller
from registration.onboarding.sessions.sessions import Sessions
from tests.kit.wizards import ANSWERS, party

ADA = Caller("ada", "guild")
MINUTE_NS = 60_000_000_000
TIME_TO_LIVE_MINUTES = 15
NONE = {"menu": "none", "drinks": []}
PROCESS = st.sampled_from([0, 1])
STEP = st.sampled_from(["START", "MENU", "PRICE", "REVIEW"])


class SetClock:
    now_ns = 0

    def __call__(self):
        return self.now_ns


def serve(root, pipe):
    """Act as one process: a method and its arguments come, with the time; what came of it goes back."""
    clock = SetClock()
    sessions = Sessions(root, wizards=(party(),), clock=clock)
    while (asked := pipe.recv()) is not None:
        clock.now_ns, method, arguments, options = asked
        try:
            pipe.send(("done", told(getattr(sessions, method)(*arguments, **options))))
        except RegistrationError as error:
            pipe.send(("refused", type(error).__name__))


def told(found):
    if hasattr(found, "expired"):
        return found.expired
    return (found.id, found.state, dict(found.answers), found.attempt) if found is not None else None


class Server:
    """A process that acts on request; started once, and given another registry each time."""

    def __init__(self, root):
        spawn = multiprocessing.get_context("fork")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(root, theirs), daemon=True)
        self.process.start()

    def __call__(self, now_ns, method, *arguments, **options):
        self.pipe.send((now_ns, method, arguments, options))
        return self.pipe.recv()

    def close(self):
        self.pipe.send(None)
        self.process.join()


@dataclass
class Naive:
    """A session as one would write it down on paper."""

    state: str = "START"
    answers: dict = field(default_factory=dict)
    attempt: int = 1
    until: int = 0

    def at(self, now):
        return "EXPIRED" if self.is_asking and now >= self.until else self.state

    @property
    def is_asking(self):
        return self.state in ("START", "MENU", "PRICE", "REVIEW")

    @property
    def asked(self):
        skipped = self.answers.get("MENU") == NONE
        return ["START", "MENU", "REVIEW"] if skipped else ["START", "MENU", "PRICE", "REVIEW"]

    @property
    def is_whole(self):
        return all(step in self.answers for step in self.asked[:-1])


class SessionMachine(RuleBasedStateMachine):
    """Every act is asked of the one or the other process, and what came of it looked at from the other one."""

    @initialize()
    def begin(self):
        self.root = tempfile.mkdtemp()
        RegistrationPipeline(self.root).close()
        self.servers = [Server(self.root), Server(self.root)]
        self.now = 1_800_000_000_000_000_000
        self.model = {}
        self.last = None

    def teardown(self):
        if not hasattr(self, "servers"):
            return
        for server in self.servers:
            server.close()
        assert Sessions(self.root, wizards=(party(),)).health().findings == ()
        shutil.rmtree(self.root)

    # -- what is expected ------------------------------------------------------------------------------------

    def active(self):
        found = [id for id, one in self.model.items() if one.is_asking and one.at(self.now) != "EXPIRED"]
        assert len(found) <= 1
        return found[0] if found else None

    def over(self):
        """Why nothing goes on in the session that was begun last; None where it does."""
        state = self.model[self.last].at(self.now)
        return (
            {"EXPIRED": "SessionExpired"}.get(state, "SessionEnded") if self.last != self.active() else None
        )

    def act(self, process, refused, method, *arguments, change=lambda _one: None):
        """Ask for it, and expect it to be refused with that, or else to change the model so."""
        refused = self.over() or refused
        how, what = self.servers[process](self.now, method, self.last, *arguments, ADA)
        if refused:
            assert (how, what) == ("refused", refused), (method, arguments)
        else:
            assert how == "done", (method, arguments, what)
            one = self.model[self.last]
            change(one)
            one.until = self.now + TIME_TO_LIVE_MINUTES * MINUTE_NS
        self.look(1 - process)

    def look(self, process):
        """From the other process all is as in the model."""
        for id, one in self.model.items():
            expected = (id, one.at(self.now), one.answers, one.attempt)
            assert self.servers[process](self.now, "get", id) == ("done", expected)
        _, active = self.servers[process](self.now, "get_active", ADA.scope, ADA.user)
        assert (active and active[0]) == self.active()

    # -- acts --------------------------------------------------------------------------------------------------

    @rule(process=PROCESS)
    def start(self, process):
        before = self.active()
        how, what = self.servers[process](self.now, "start", "party", ADA)
        if before:
            assert (how, what) == ("refused", "SessionActive")
        else:
            assert how == "done", what
            self.last = what[0]
            self.model[self.last] = Naive(until=self.now + TIME_TO_LIVE_MINUTES * MINUTE_NS)
        self.look(1 - process)

    @precondition(lambda self: self.last)
    @rule(process=PROCESS, feed=st.booleans(), wrong=st.sampled_from([False, False, False, True]))
    def process(self, process, feed, wrong):
        one = self.model[self.last]
        at = one.state
        answer = {} if at == "REVIEW" else ANSWERS.get(at, {})
        if at == "MENU" and not feed:
            answer = NONE
        refused = "InvalidAnswer" if wrong or (at == "REVIEW" and not one.is_whole) else None

        def change(one):
            if at == "REVIEW":
                one.state = "COMPLETE"
                return
            one.answers[at] = answer
            one.state = "REVIEW" if at == "PRICE" else one.asked[one.asked.index(at) + 1]

        said = {"nothing of this": 1} if wrong else answer
        self.act(process, refused, "process", said, change=change)

    @precondition(lambda self: self.last)
    @rule(process=PROCESS)
    def back(self, process):
        at = self.model[self.last].state

        def change(one):
            one.state = "MENU" if at == "PRICE" else one.asked[one.asked.index(at) - 1]

        self.act(process, "Rejected" if at == "START" else None, "back", change=change)

    @precondition(lambda self: self.last)
    @rule(process=PROCESS, step=STEP)
    def goto(self, process, step):
        one = self.model[self.last]
        refused = None
        if "REVIEW" not in (one.state, step) or one.state == step:
            refused = "Rejected"
        elif step == "REVIEW" and not one.is_whole:
            refused = "InvalidAnswer"
        elif step not in one.asked:
            refused = "Rejected"
        self.act(process, refused, "goto", step, change=lambda one: setattr(one, "state", step))

    @precondition(lambda self: self.last)
    @rule(process=PROCESS, feed=st.booleans())
    def correct_the_menu(self, process, feed):
        answer = ANSWERS["MENU"] if feed else NONE
        refused = None if "START" in self.model[self.last].answers else "InvalidAnswer"
        if refused is None:
            self.act(
                process, None, "update", "MENU", answer, change=lambda one: one.answers.update(MENU=answer)
            )

    @precondition(lambda self: self.last)
    @rule(process=PROCESS)
    def resume(self, process):
        self.act(process, None, "resume")

    @precondition(lambda self: self.last)
    @rule(process=PROCESS, method=st.sampled_from(["fail", "fail", "cancel"]))
    def end(self, process, method):
        state = {"fail": "FAILED", "cancel": "CANCELLED"}[method]
        said = ("no room",) if method == "fail" else ()
        self.act(process, None, method, *said, change=lambda one: setattr(one, "state", state))

    @rule(minutes=st.sampled_from([1, 7, 14, 15, 40]))
    def time_passes(self, minutes):
        self.now += minutes * MINUTE_NS

    @precondition(lambda self: self.model)
    @rule(process=PROCESS, data=st.data())
    def restart(self, process, data):
        id = data.draw(st.sampled_from(sorted(self.model)))
        one, active = self.model[id], self.active()
        how, what = self.servers[process](self.now, "restart", id, ADA)
        state = one.at(self.now)
        if state not in ("FAILED", "EXPIRED"):
            assert (how, what) == ("refused", "Rejected" if id == active else "SessionEnded")
        elif active is not None:
            assert (how, what) == ("refused", "SessionActive")
        else:
            assert how == "done", what
            one.state, one.attempt = "START", one.attempt + 1
            one.until = self.now + TIME_TO_LIVE_MINUTES * MINUTE_NS
            self.last = id
        self.look(1 - process)

    @rule(process=PROCESS)
    def clean_up(self, process):
        expired = {id for id, one in self.model.items() if one.at(self.now) == "EXPIRED"}
        _, recorded = self.servers[process](self.now, "cleanup_expired")
        assert set(recorded) <= expired
        assert self.servers[1 - process](self.now, "cleanup_expired") == ("done", ())
        self.look(1 - process)


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(
    max_examples=6,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
