"""Approvals and limits in a registry on files, whose own log says which rules are in force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registration import RegistrationPipeline
from registration.errors import GuardRefused
from tests.kit.policies import put_in_force

RULES = """
[roles]
reviewer = {reviewers}

[[guards]]
guard = "role"
actions = ["approve"]
any = ["reviewer"]

[[guards]]
guard = "approvals"
actions = ["register"]
count = 2
"""
LIMITS = "\n[limits]\nrevisions = 2\nrefusals = 1\n"


def rules(*reviewers: str, limits: str = "") -> str:
    return RULES.format(reviewers=json.dumps(reviewers)) + limits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    RegistrationPipeline(tmp_path / "r").close()
    return tmp_path / "r"


def test_a_colleague_who_joins_voids_no_approval_and_one_who_leaves_takes_the_own_one_along(
    root: Path,
) -> None:
    """A change of the roster voided every pending approval: 27 manifests at once, when a colleague was added."""
    put_in_force(root, rules("bea", "cyd"))
    with RegistrationPipeline(root) as pipeline:
        for id in ("a", "b"):
            pipeline.create(id, {"name": id}, actor="ana")
            pipeline.submit_for_review(id, actor="ana")
            pipeline.approve(id, actor="bea")
            pipeline.approve(id, actor="cyd")

        put_in_force(pipeline, rules("bea", "cyd", "dan"))
        registered = pipeline.register("a", actor="ana")
        put_in_force(pipeline, rules("bea", "dan"))
        with pytest.raises(GuardRefused, match="no longer reviewer"):
            pipeline.register("b", actor="ana")
        (outlook,) = pipeline.outlook("b")

        assert registered.event.data["counted"] == [3, 4]
        assert str(outlook) == "1 of 2 approvals; missing: dan"
        assert not any(one.damaged for one in pipeline.upkeep.verify_all() if one.area == "manifests")


def test_limits_are_kept_by_the_log_of_the_registry_and_can_always_be_raised(root: Path) -> None:
    """Documents are counted; an actor who was refused too often can still change the rules."""
    put_in_force(root, rules("bea", limits=LIMITS))
    with RegistrationPipeline(root) as pipeline:
        pipeline.create("a", {"v": 1}, actor="ana")
        pipeline.revise("a", {"v": 2}, actor="ana")
        with pytest.raises(GuardRefused, match="this manifest has had 2 documents; it can have at most 2"):
            pipeline.revise("a", {"v": 3}, actor="ana")
        with pytest.raises(GuardRefused, match="'ana' has been refused 1 time today"):
            pipeline.submit_for_review("a", actor="ana")

        (root / "policy.toml").write_text(rules("bea"))
        pipeline.upkeep.apply_policy(actor="ana", reason="too tight")

        assert pipeline.revise("a", {"v": 3}, actor="ana").state.facts["revisions"] == 3
