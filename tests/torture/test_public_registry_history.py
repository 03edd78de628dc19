"""2,256 things that happened in three public registries, as commands under a lifecycle that fits them.

The material lies beside the repository; where it is missing, these tests skip.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from registration import RegistrationPipeline
from registration.errors import NotFound, Rejected
from registration.testing import FakeClock
from tests.kit.policies import put_in_force

ROOT = Path(__file__).resolve().parents[2]
HISTORY = ROOT.parent / "shared" / "history" / "registry-events.jsonl"
FIXTURES = ROOT / "fixtures"

pytestmark = pytest.mark.skipif(not HISTORY.exists(), reason=f"{HISTORY} is not here")


def happened():
    return [json.loads(line) for line in HISTORY.read_text(encoding="utf-8").splitlines()]


def replay(pipeline):
    """Each event as the command that it was. Gives what was accepted, by action, and the refusals."""
    proposed = defaultdict(set)  # the proposals that a manifest has seen
    accepted, refusals = Counter(), []
    for event in happened():
        id = f"{event['registry']}/{event['manifest']}"
        if event["event"] in ("SUBMITTED", "REVISED"):
            proposed[id].add(event["pr"])
            action = "submit" if event["event"] == "SUBMITTED" else "revise"
        elif event["event"] == "REMOVED":
            action = "remove"
        else:
            # What nobody had proposed was published by whoever could write to the repository.
            action = "accept" if event["pr"] in proposed[id] else "publish"
        document = None
        if action in ("submit", "revise", "publish"):
            document = {"name": event["manifest"], "commit": event["commit"]}
        try:
            pipeline.act(
                id,
                action,
                document=document,
                actor=event["actor"],
                context={"seq": event["seq"], "pr": event["pr"]},
            )
            accepted[action] += 1
        except (Rejected, NotFound) as refusal:
            refusals.append((action, refusal))
    return accepted, refusals


def reasons(refusals):
    """Why things were refused, by the data that `why` gives: action, then guard or missing move."""
    found = Counter()
    for action, refusal in refusals:
        if isinstance(refusal, NotFound):
            found[action, "it was never let in"] += 1
            continue
        guards = [one["guard"] for one in refusal.details.get("verdicts", ()) if not one["agrees"]]
        found[action, guards[0] if guards else f"no such move from {refusal.details['state']}"] += 1
    return found


@pytest.fixture
def registry(tmp_path):
    """A registry with the lifecycle of public ones."""
    lifecycle = FIXTURES / "lifecycles" / "public-registry.toml"
    root = tmp_path / "registry"
    with RegistrationPipeline(root, lifecycle=lifecycle, clock=FakeClock()):
        pass
    return root


def test_the_history_of_three_registries_can_be_replayed(registry):
    """Everything that happened is accepted where nothing but the lifecycle is asked."""
    with RegistrationPipeline(registry, clock=FakeClock()) as pipeline:
        accepted, refusals = replay(pipeline)

        assert accepted == {"submit": 1216, "publish": 375, "revise": 316, "accept": 205, "remove": 144}
        assert refusals == []
        assert all(not pipeline.evidence.verify(id).findings for id in pipeline.upkeep.manifest_ids())


def test_four_eyes_refuse_what_submitters_accepted_themselves(registry):
    """Switched on by a policy file, the rule finds every acceptance by whoever brought the document."""
    put_in_force(registry, (FIXTURES / "policies" / "four-eyes.toml").read_text())

    with RegistrationPipeline(registry, clock=FakeClock()) as pipeline:
        accepted, refusals = replay(pipeline)

        assert accepted == {"submit": 1216, "revise": 316, "accept": 158, "remove": 118}
        assert reasons(refusals) == {
            ("publish", "not_the_author"): 375,
            ("accept", "not_the_author"): 47,
            ("remove", "it was never let in"): 26,
        }
        for action, refusal in refusals:
            if isinstance(refusal, NotFound):
                continue
            verdict = next(one for one in refusal.details["verdicts"] if not one["agrees"])
            assert verdict["guard"] == "not_the_author"
            assert verdict["evidence"]["actor"] in verdict["evidence"]["authors"], action


def test_a_proposed_policy_is_tried_on_the_history_before_it_is_in_force(registry):
    """`policy replay` names the decisions that four eyes would have refused, and no others."""
    with RegistrationPipeline(registry, clock=FakeClock()) as pipeline:
        replay(pipeline)
        proposed = pipeline.evidence.read_policy(str(FIXTURES / "policies" / "four-eyes.toml"))

        different = [one for one in pipeline.evidence.replay_policy(proposed) if one.differs]

        assert Counter(one.why.action for one in different) == {"publish": 375, "accept": 47}
        assert {answer.guard for one in different for answer in one.why.answers} == {"not_the_author"}
