"""Policies of tests, put in force."""

from __future__ import annotations

import os
from pathlib import Path

from registration import RegistrationPipeline
from registration.core.policy import Policy


def put_in_force(
    registry: RegistrationPipeline | str | os.PathLike[str], policy: str | Path | Policy
) -> Policy:
    """Put a policy in force, and return the rules in force from then on.

    registry: its directory, or a pipeline that has it open. policy: the text for its `policy.toml`, a file that is applied, or a policy.
    """
    if not isinstance(registry, RegistrationPipeline):
        with RegistrationPipeline(registry, create=False) as pipeline:
            return put_in_force(pipeline, policy)
    if isinstance(policy, str):
        place = registry.place
        assert place is not None
        Path(place, "policy.toml").write_text(policy, encoding="utf-8")
    registry.upkeep.apply_policy(
        None if isinstance(policy, str) else policy, actor="owner", reason="for this test", as_owner=True
    )
    return registry.policy
