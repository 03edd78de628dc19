"""The store on files behaves like the store in memory, whatever is done to both, byte for byte.

Hypothesis drives two pipelines with the same commands, the same clock and the same randomness. One is on
files, is closed and opened again at any moment and loses its snapshots; the other, in memory, is the model. Both are
under no rules, under a policy, or in a lifecycle of time-outs.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from registration import RegistrationError, RegistrationPipeline, open_memory
from registration.core.chart import GuardUse
from registration.core.codec import encode_snapshot
from registration.core.decider import fold
from registration.core.policy import NO_POLICY, Policy
from registration.rules.guards.builtin import approvals, not_the_author, role
from registration.rules.lifecycles.registration import REGISTRATION
from registration.testing import FakeClock
from tests.conftest import check_store
from tests.kit.builders import WATCH
from tests.kit.disks import LOG, SNAPSHOT

IDS = st.sampled_from(["a", "io.github.acme/weather", "A"])
POLICY = Policy(
    name="four eyes",
    roles={"reviewer": ("bea", "cem", "ada")},
    uses={
        "approve": (GuardUse("role", {"any": ["reviewer"]}), GuardUse("not_the_author")),
        "register": (GuardUse("approvals", {"count": 2}),),
    },
    guards={"role": role, "not_the_author": not_the_author, "approvals": approvals},
    log_refusals=True,
)
WORLDS = st.sampled_from([(REGISTRATION, NO_POLICY), (REGISTRATION, POLICY), (WATCH, NO_POLICY)])
STATES = {
    "registration": st.sampled_from(["DRAFT", "REVIEWED", "APPROVED", "REGISTERED", "IN_REVIEW", "NOWHERE"]),
    "watch": st.sampled_from(["DRAFT", "OPEN", "LATE", "ANSWERED", "GONE", "NOWHERE"]),
}
ACTIONS = {
    "registration": st.sampled_from(
        ["submit_for_review", "approve", "approve", "register", "reject", "revise", "create", "dance"]
    ),
    "watch": st.sampled_from(["ask", "note", "hurry", "retract", "answer", "dance"]),
}
ONWARD = {
    "DRAFT": ("submit_for_review", "ada"),
    "REVIEWED": ("approve", "bea"),
    "APPROVED": ("register", "ada"),
    "WAITING": ("hurry", "ada"),
    "LATE": ("answer", "ada"),
}
"""By state, the next step of the whole way, and who takes it."""
DOCUMENTS = st.sampled_from(
    [{}, {"name": "weather"}, {"name": "wetter", "tags": ["ü", 1.5]}, {"n": float("nan")}]
)
KEYS = st.none() | st.sampled_from(["k1", "k2", "k3"])
REASONS = st.none() | st.sampled_from(["", "unclear"])
ACTORS = st.sampled_from([None, "bea", "cem", " padded"])
VERSIONS = st.none() | st.integers(0, 6)


def _load(manifest_id, pipeline):
    return pipeline.load_state(manifest_id)


def _load(manifest_id, pipeline):
    return pipeline.load_state(manifest_id)


class FilesAndMemory(RuleBasedStateMachine):
    """The same commands to a pipeline on files and to one in memory."""

    @initialize(seed=st.integers(0, 2**32), world=WORLDS)
    def open(self, seed, world):
        self.definition, self.policy = world
        self.place = tempfile.mkdtemp(prefix="registration-model-")
        self.root = os.path.join(self.place, "registry")
        self.seed = seed
        self.clocks = FakeClock(), FakeClock()
        self.randoms = random.Random(seed), random.Random(seed)
        self.unsettled = False
        self.files = self.open_files()
        self.memory_store = open_memory(f"urn:uuid:{self.files.registry_id}", self.definition)
        self.memory = self.open_memory()

    def open_files(self, snapshots="each"):
        return RegistrationPipeline(
            self.root,
            lifecycle=self.definition,
            policy=self.policy,
            actor="ada",
            clock=self.clocks[0],
            random=self.randoms[0],
            snapshots=snapshots,
        )

    def open_memory(self):
        """A pipeline in memory, after the look at the clock and the draw that opening one on files takes."""
        self.clocks[1]()
        self.randoms[1].randbytes(10)
        return RegistrationPipeline(
            store=self.memory_store,
            policy=self.policy,
            actor="ada",
            clock=self.clocks[1],
            random=self.randoms[1],
        )

    def both(self, call):
        """Do it to both, and hold what comes of it side by side."""
        outcomes = []
        for pipeline in (self.files, self.memory):
            try:
                outcomes.append(call(pipeline))
            except RegistrationError as error:
                outcomes.append((type(error), error.as_json()))
        on_files, in_memory = outcomes
        assert on_files == in_memory
        return on_files

    # -- commands --------------------------------------------------------------------------------------

    @rule(id=IDS, document=DOCUMENTS, key=KEYS, actor=ACTORS)
    def create(self, id, document, key, actor):
        self.both(lambda p: p.create(id, document, idempotency_key=key, actor=actor))

    @rule(id=IDS, document=DOCUMENTS, key=KEYS, reason=REASONS, version=VERSIONS)
    def revise(self, id, document, key, reason, version):
        self.both(
            lambda p: p.revise(id, document, idempotency_key=key, reason=reason, expected_version=version)
        )

    @rule(id=IDS, data=st.data(), key=KEYS, reason=REASONS, version=VERSIONS, actor=ACTORS)
    def act(self, id, data, key, reason, version, actor):
        action = data.draw(ACTIONS[self.definition.name])
        said = {"idempotency_key": key, "reason": reason, "expected_version": version, "actor": actor}
        self.both(lambda p: p.act(id, action, **said))

    @rule(id=IDS, data=st.data(), key=KEYS, reason=REASONS, version=VERSIONS)
    def transition(self, id, data, key, reason, version):
        state = data.draw(STATES[self.definition.name])
        context = {"reason": reason, "ticket": 7} if reason is not None else None
        self.both(
            lambda p: p.transition_state(id, state, context, idempotency_key=key, expected_version=version)
        )

    @rule(id=IDS, steps=st.integers(1, 5))
    def go_on(self, id, steps):
        """Take the next steps of the whole way, from the creation on, so that it is walked now and then."""
        for _ in range(steps):
            self.both(partial(self.step, id))

    def step(self, id, pipeline):
        if id not in pipeline.upkeep.manifest_ids():
            return pipeline.create(id, {"name": id})
        state = pipeline.load_state(id)
        approved = len(state.approvals)
        action, actor = ONWARD.get(state.state, ("revise", "ada"))
        if self.definition.name == "watch" and state.state == "DRAFT":
            action = "ask"
        if state.state == "APPROVED" and approved < 2:
            action, actor = "approve", ["bea", "cem"][approved]
        return pipeline.act(id, action, actor=actor)

    @rule(id=IDS, dry_run=st.booleans())
    def tick(self, id, dry_run):
        self.both(lambda p: p.upkeep.tick(id, dry_run=dry_run))

    @rule(id=IDS, reason=REASONS)
    def undo(self, id, reason):
        self.both(lambda p: p.undo(id, reason=reason))

    @rule(id=IDS, actor=ACTORS, reason=REASONS)
    def why(self, id, actor, reason):
        self.both(lambda p: [told.as_json() for told in p.explain(id, actor=actor, reason=reason)])

    # -- what happens to a registry ----------------------------------------------------------------------

    def _reopen(self, snapshots):
        self.files.close()
        self.files, self.memory = self.open_files(snapshots), self.open_memory()

    @rule(snapshots=st.sampled_from(["each", "idle"]))
    def reopen(self, snapshots):
        self._reopen(snapshots)

    @rule(seconds=st.integers(-100_000, 100_000))
    def set_clocks(self, seconds):
        for clock in self.clocks:
            clock.advance(seconds)

    @rule(id=IDS)
    def recover(self, id):
        # Of the logs alone: in memory there is nothing to recover, so the registry's own log would not say that there was.
        self.both(lambda p: p._registry.store.recover(id).state)

    @rule(id=IDS)
    def lose_snapshot(self, id):
        path = self.path(id, SNAPSHOT)
        if os.path.exists(path):
            os.unlink(path)
            self.unsettled = True

    @rule(id=IDS, version=st.integers(1, 6))
    def snapshot_falls_behind(self, id, version):
        if os.path.exists(self.path(id, LOG)):
            older = fold(self.definition, None, list(self.memory.history(id))[:version])
            with open(self.path(id, SNAPSHOT), "wb") as file:
                file.write(encode_snapshot(older))
            self.unsettled = True

    @rule(id=IDS, size=st.integers(1, 40))
    def writer_dies(self, id, size):
        """A writer is killed in the middle of its append: half a line is left."""
        if os.path.exists(self.path(id, LOG)):
            with open(self.path(id, LOG), "ab") as file:
                file.write(b'{"specversion":"1.0","id":"019b76da-a800-7000'[:size])
            self.unsettled = True

    @rule(id=IDS)
    def keep_own_snapshot(self, id):
        self.both(lambda p: p.persist_state(id, p.load_state(id)))

    def path(self, id, name):
        return os.path.join(self.root, "manifests", id.replace("/", "%2F"), name)

    # -- what must hold after every step -------------------------------------------------------------------

    @invariant()
    def nobody_can_tell_them_apart(self):
        if self.unsettled:  # looking would settle it, and the next command shall meet it as it is
            self.unsettled = False
            return
        for stream in self.both(lambda p: list(p.upkeep.manifest_ids())):
            self.both(partial(_load, stream))  # settles what was left before the bytes are compared
            with open(self.path(stream, LOG), "rb") as file:
                assert file.read() == self.memory_store.inspect(stream).log
        self.both(lambda p: list(p.list(next(iter(self.definition.chart.states)).name)))
        self.both(lambda p: list(p._registry.store.refusals()))

    def teardown(self):
        if not hasattr(self, "files"):
            return
        self._reopen("each")  # what a hot state hides is settled by whoever comes after
        try:
            for pipeline in (self.files, self.memory):
                for id in pipeline.upkeep.manifest_ids():
                    assert [e.version for e in pipeline.history(id)] == list(
                        range(1, pipeline.load_state(id).version + 1)
                    )
                check_store(pipeline._registry.store)
            self.files.close()
        finally:
            shutil.rmtree(self.place)


TestFilesAndMemory = FilesAndMemory.TestCase
TestFilesAndMemory.settings = settings(max_examples=100, stateful_step_count=50)
