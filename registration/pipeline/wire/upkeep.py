"""The upkeep of a registry, as JSON values: verification, recovery, repair, the place that it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.pipeline.wire.reasons import problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registration.core.store import Loss, Recovered, Step
    from registration.errors import RegistrationError
    from registration.evidence.verification import Finding
    from registration.pipeline.wire.reasons import Wording
    from registration.storage.doctor import Check


def finding(one: Finding) -> dict[str, Any]:
    """One thing that is not as it should be."""
    return {
        "kind": one.kind,
        "path": one.path,
        "line": one.line,
        "offset_bytes": one.offset_bytes,
        "reason": one.reason,
    }


def verification(id: str | None, sound_version: int | None, findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings of one manifest; without an id, those of the registry itself."""
    return {
        "manifest_id": id,
        "sound_version": sound_version,
        "damaged": any(one.kind == "damage" for one in findings),
        "findings": [finding(one) for one in findings],
    }


def recovered(
    id: str, found: Recovered | None, failure: RegistrationError | None, wording: Wording, *, dry_run: bool
) -> dict[str, Any]:
    """What was found of a manifest, what was done, which bytes were set aside, and up to which version all is sound."""
    after = found.state if found else None
    sound = failure.details.get("sound_version", 0) if failure else (after.version if after else 0)
    return {
        "manifest_id": id,
        "state": after.state if after else None,
        "sound_version": sound,
        "dry_run": dry_run,
        "steps": [_step(step) for step in (found.steps if found else ())],
        "problem": problem(failure, wording),
    }


def recovered_name(
    name: str, steps: Sequence[Step], failure: RegistrationError | None, wording: Wording, *, dry_run: bool
) -> dict[str, Any]:
    """What was found of a name and its aliases, and done."""
    return {"name": name, **_recovered(steps, failure, wording, dry_run=dry_run)}


def recovered_in(
    area: str,
    id: str,
    steps: Sequence[Step],
    failure: RegistrationError | None,
    wording: Wording,
    *,
    dry_run: bool,
) -> dict[str, Any]:
    """What was found of a log of another area than the manifests', and done."""
    return {"area": area, "id": id, **_recovered(steps, failure, wording, dry_run=dry_run)}


def _recovered(
    steps: Sequence[Step], failure: RegistrationError | None, wording: Wording, *, dry_run: bool
) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "steps": [_step(step) for step in steps],
        "problem": problem(failure, wording),
    }


def _step(one: Step) -> dict[str, Any]:
    return {"found": one.found, "done": one.done, "kept_as": one.kept_as}


def repair(id: str, loss: Loss | None, *, accepted: bool) -> dict[str, Any]:
    """What a repair gave up, or would give up; without a loss, that nothing is damaged."""
    if loss is None:
        return {"manifest_id": id, "damaged": False, "repaired": False}
    return {
        "manifest_id": id,
        "damaged": True,
        "repaired": accepted,
        "line": loss.line,
        "offset_bytes": loss.offset_bytes,
        "reason": loss.reason,
        "kept_version": loss.state.version if loss.state else 0,
        "kept_state": loss.state.state if loss.state else None,
        "lost_bytes": loss.lost_bytes,
        "lost_version": loss.lost_version,
        "kept_as": list(loss.kept_as),
    }


def check(one: Check) -> dict[str, Any]:
    """One thing that was looked at of a place for a registry."""
    found = {"check": one.name, "verdict": one.verdict, "found": one.found, "advice": one.advice}
    return found if one.figures is None else {**found, "figures": dict(one.figures)}
