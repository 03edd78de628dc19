"""Whatever happens to a registry, short of tampering, its files agree; and an older copy of a log is found among them.

A machine that registers, withdraws, moves aliases and claims, kills writers after their note, repairs, removes the feed, and reads it. Beside
every log it keeps the sizes at which it ended, and at the end puts one back.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from registration import NameTaken, NotFound, RegistrationPipeline, Rejected
from registration.errors import RegistrationError
from registration.storage.notes import encode_commit
from registration.testing import FakeClock
from registration.values.ids import name_of
from tests.kit.builders import tries

pytestmark = pytest.mark.torture

IDS = ("a", "b", "c")
FULL_NAMES = [("v", "1.0.0"), ("v", "2.0.0"), ("w", "1.0.0")]


class Registry(RuleBasedStateMachine):
    """One registry on files, and what is done to it."""

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed):
        self.place = Path(tempfile.mkdtemp(prefix="witnesses"))
        self.root = self.place / "registry"
        self.clock, self.random = FakeClock(), random.Random(seed)
        self.pipeline = self.opened()
        self.has_feed = True
        self.repaired = set()

    def opened(self):
        return RegistrationPipeline(
            self.root, lifecycle="registration-upkeep", actor="ada", clock=self.clock, random=self.random
        )

    def log(self, id):
        return self.root / "manifests" / name_of(id) / "events.jsonl"

    def tried(self, call, *args, **words):
        try:
            call(*args, **words)
        except (NotFound, Rejected, NameTaken, RegistrationError):
            return

    @rule(id=st.sampled_from(IDS), name=st.sampled_from(FULL_NAMES))
    def draft(self, id, name):
        document = {"name": name[0], "version": name[1]}
        self.tried(self.pipeline.create, id, document)
        self.tried(self.pipeline.revise, id, document)

    @rule(id=st.sampled_from(IDS))
    def register(self, id):
        for step in (self.pipeline.submit_for_review, self.pipeline.approve, self.pipeline.register):
            self.tried(step, id)

    @rule(id=st.sampled_from(IDS), action=st.sampled_from(["withdraw", "reinstate", "deprecate"]))
    def act(self, id, action):
        self.tried(self.pipeline.act, id, action, reason="so")

    @rule(name=st.sampled_from(FULL_NAMES), alias=st.sampled_from(["stable", "next"]))
    def move(self, name, alias):
        self.tried(self.pipeline.names.set_alias, name[0], alias, name[1])

    @rule(name=st.sampled_from(["v", "w"]))
    def remove(self, name):
        self.tried(self.pipeline.names.remove_alias, name, "stable")

    @rule(id=st.sampled_from(IDS))
    def claim(self, id):
        self.tried(self.pipeline.work.claim, id)

    @rule(id=st.sampled_from(IDS), times=st.integers(1, 3))
    def die_after_the_note(self, id, times):
        """A writer that was killed between its note and its commit, and others that were after it."""
        state = self.pipeline.find_state(id)
        feed = sorted(self.root.glob("feed/*.jsonl"))
        if state is None or not feed:
            return
        with feed[-1].open("ab") as opened:
            for number in range(times):
                begin = state.position.size_bytes
                head = f"{self.random.getrandbits(256):064x}"
                size = begin + 100 + number
                opened.write(
                    encode_commit("manifests", id, state.version + 1, 1, begin, size, head, state.updated_at)
                )

    @rule(id=st.sampled_from(IDS), line=st.integers(0, 5))
    def repair(self, id, line):
        if not self.log(id).exists():
            return
        lines = self.log(id).read_bytes().splitlines(keepends=True)
        if line >= len(lines):
            return
        lines[line] = lines[line].replace(b'"actor":"ada"', b'"actor":"eve"')
        if b"".join(lines) == self.log(id).read_bytes():
            return
        self.log(id).write_bytes(b"".join(lines))
        self.pipeline.close()
        self.pipeline = self.opened()
        self.pipeline.upkeep.repair(id, accept_loss=True, reason="a test")
        self.repaired.add(id)

    @rule()
    def remove_the_feed(self):
        self.pipeline.close()
        shutil.rmtree(self.root / "feed", ignore_errors=True)
        self.pipeline = self.opened()

    @rule()
    def read_the_feed(self):
        list(self.pipeline.feed.read())

    @invariant()
    def nothing_speaks_against_it(self):
        found = [finding for one in self.pipeline.upkeep.verify_all() for finding in one.findings]
        damage = [one for one in found if one.kind == "damage"]
        assert damage == []

    @precondition(lambda self: not self.repaired)
    @rule(id=st.sampled_from(IDS), cut=st.integers(2, 4))
    def put_back(self, id, cut):
        """An older copy is found, as long as there is a feed since before; afterwards the log is as it was."""
        if not self.log(id).exists():
            return
        whole = self.log(id).read_bytes()
        lines = whole.splitlines(keepends=True)
        noted = sum(
            f'"s":"{id}"'.encode() in line and b'"a":' not in line
            for segment in self.root.glob("feed/*.jsonl")
            for line in segment.read_bytes().splitlines()
        )
        if len(lines) <= cut or noted < len(lines):
            return
        snapshot = (self.log(id).parent / "state.json").read_bytes()
        self.pipeline.close()
        self.log(id).write_bytes(b"".join(lines[:-cut]))
        (self.log(id).parent / "state.json").unlink()
        self.pipeline = self.opened()
        assert self.pipeline.evidence.verify(id).damaged
        self.pipeline.close()
        self.log(id).write_bytes(whole)
        (self.log(id).parent / "state.json").write_bytes(snapshot)
        self.pipeline = self.opened()

    def teardown(self):
        if hasattr(self, "pipeline"):
            self.pipeline.close()
            shutil.rmtree(self.place)


Registry.TestCase.settings = tries(200)
TestRegistry = Registry.TestCase
