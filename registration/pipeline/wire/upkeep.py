"""The upkeep of a registry, as JSON values: verification, recovery, repair, the checks of its directory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from registration.pipeline.wire.reasons import problem
from registration.storage import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registration.evidence.verification import Finding
    from registration.pipeline.upkeep import Settled
    from registration.pipeline.wire.reasons import Wording
    from registration.storage.doctor import Check
    from registration.storage.reports import Loss, RecoveryStep


def finding(one: Finding) -> dict[str, Any]:
    """One finding."""
    return {
        "kind": one.kind,
        "path": one.path,
        "line": one.line,
        "offset_bytes": one.offset_bytes,
        "reason": one.reason,
        "count": one.count,
    }


NOT_PROVED = "nothing here proves that it was not rewritten"
"""The end of every verdict on a log without signatures."""


def verdict(findings: Sequence[Finding], head: str | None) -> str:
    """What a verification comes to. head: the hash of the last line, to be compared with one that was noted elsewhere."""
    kinds = {one.kind for one in findings}
    for kind, said in (("damage", "damaged"), ("unfinished", "unfinished")):
        if kind in kinds:
            return said
    return f"sound; head {head}; {NOT_PROVED}" if head else f"sound; {NOT_PROVED}"


def verification(
    id: str | None, sound_version: int | None, findings: Sequence[Finding], head: str | None = None
) -> dict[str, Any]:
    """The findings of one manifest; without an id, those of the registry itself.

    unchecked: the number of events that could not be decided again, by reason.
    """
    unchecked: Counter[str] = Counter()
    for one in findings:
        if one.kind == "unchecked":
            unchecked[one.group or one.reason] += one.count
    return {
        "manifest_id": id,
        "sound_version": sound_version,
        "damaged": any(one.kind == "damage" for one in findings),
        "findings": [finding(one) for one in findings],
        "unchecked": dict(unchecked),
        "head": head or None,
        "verdict": verdict(findings, head),
    }


def settled(one: Settled, wording: Wording, *, dry_run: bool) -> dict[str, Any]:
    """The findings of one stream, the corrections, the bytes set aside; for a manifest, the last intact version."""
    told: dict[str, Any] = {
        "dry_run": dry_run,
        "steps": [_step(step) for step in one.steps],
        "problem": problem(one.problem, wording),
    }
    if one.area == layout.ALIASES:
        return {"name": one.id, **told}
    if one.area != layout.MANIFESTS:
        return {"area": one.area, "id": one.id, **told}
    sound = one.state.version if one.state else 0
    return {
        "manifest_id": one.id,
        "state": one.state.state if one.state else None,
        "sound_version": one.problem.details.get("sound_version", 0) if one.problem else sound,
        **told,
    }


def _step(one: RecoveryStep) -> dict[str, Any]:
    return {"found": one.found, "done": one.done, "kept_as": one.kept_as}


def repair(area: str, id: str, loss: Loss | None, wording: Wording, *, accepted: bool) -> dict[str, Any]:
    """The loss in a repair, planned or done; without a loss: that nothing is damaged."""
    named = {"manifest_id": id} if area == layout.MANIFESTS else {"area": area, "id": id}
    if loss is None:
        return {**named, "damaged": False, "repaired": False}
    return {
        **named,
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
        "to": loss.place,
        "lapsed": list(loss.lapsed),
        "released": loss.released,
        "problem": problem(loss.refusal, wording),
    }


def check(one: Check, wording: Wording) -> dict[str, Any]:
    """The result of one check of a directory for a registry."""
    steps = [] if one.next is None else [one.next]
    told = {
        "check": one.name,
        "verdict": one.verdict,
        "found": one.found,
        "advice": wording.advice(one.advice, steps),
        "next_actions": [step.as_json() for step in steps],
    }
    return told if one.figures is None else {**told, "figures": dict(one.figures)}
