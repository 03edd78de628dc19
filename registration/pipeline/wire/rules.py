"""Lifecycles and policies, as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from registration.pipeline.wire.reasons import explanation
from registration.rules import policy_data
from registration.rules.guards.registry import expected

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from registration.core.definition import Definition
    from registration.core.policy import Policy
    from registration.engine.opening import Migration
    from registration.evidence.policy_replay import Decision
    from registration.evidence.uncounting import Uncounted
    from registration.pipeline.governing import Applied
    from registration.pipeline.wire.reasons import Wording
    from registration.rules.guards.explaining import Explained


def lifecycle(found: Definition) -> dict[str, Any]:
    """A checked, valid lifecycle."""
    return {"sound": True, **found.identity}


def graph(name: str, form: str, text: str) -> dict[str, Any]:
    """A lifecycle, drawn as text. form: the language of the drawing."""
    return {"lifecycle": name, "format": form, "text": text}


def way(place: str, steps: Sequence[str]) -> dict[str, Any]:
    """A shortest path from creation to a state."""
    return {"place": place, "steps": list(steps)}


def migration(found: Migration) -> dict[str, Any]:
    """The effect of setting another version of the lifecycle in force, planned or done."""
    return {
        "current": dict(found.current),
        "proposed": dict(found.proposed),
        "looked_at": found.looked_at,
        "stranded": [{"manifest_id": id, "state": place} for id, place in found.stranded],
        "unreadable": list(found.unreadable),
        "done": found.done,
    }


def policy(
    found: Policy,
    warnings: Sequence[str] = (),
    uncounted: Iterable[Uncounted] = (),
    *,
    in_force: bool | None = None,
) -> dict[str, Any]:
    """A checked, valid policy. roster: the digest of the people who have roles.

    warnings: demands that can't be met for some. uncounted: the pending approvals that would no longer count under it. in_force: whether
    rules and roster are those in force; None without a registry.
    """
    return {
        "sound": True,
        "digest": found.digest,
        "roster": found.roster,
        "warnings": list(warnings),
        "uncounted": _uncounted(uncounted),
        "in_force": in_force,
    }


def applied(
    found: Applied, uncounted: Iterable[Uncounted], differing: Iterable[Decision], wording: Wording
) -> dict[str, Any]:
    """A policy that was put in force, or would be.

    uncounted: the pending approvals that would no longer count; differing: the past decisions that would come out differently.
    """
    return {
        "event": None if found.event is None else orjson.loads(found.event.line),
        "policy": found.policy,
        "roster": found.roster,
        "before": {"policy": found.before[0], "roster": found.before[1]},
        "changes": [f"{sign}{text}" for sign, text in found.changes],
        "files": list(found.files),
        "uncounted": _uncounted(uncounted),
        "differing": [decision(one, wording) for one in differing],
        "dry_run": found.dry_run,
    }


def _uncounted(found: Iterable[Uncounted]) -> list[dict[str, Any]]:
    return [
        {"manifest_id": one.manifest_id, "version": one.version, "actor": one.actor, "why": one.why}
        for one in found
    ]


def policy_in_full(found: Policy) -> dict[str, Any] | None:
    """The rules in force, and the people who have `roles`; None if there are neither. Without `roles`, it is the form that is stored by digest."""
    if found.data is None and found.roster_data is None:
        return None
    rules = found.data or policy_data.NO_RULES
    return {**rules, "roles": {role: sorted(actors) for role, actors in found.roles.items()}}


def policy_template(name: str, text: bytes) -> dict[str, Any]:
    """A policy to begin with, as the text of a `policy.toml`."""
    return {"policy": name, "text": text.decode()}


def guard(name: str, summary: str, parameters: Sequence[str]) -> dict[str, Any]:
    """A guard that a policy can name."""
    return {"guard": name, "summary": summary, "parameters": list(parameters)}


def guard_explained(found: Explained) -> dict[str, Any]:
    """A guard with its parameters, and an example for `policy.toml`."""
    return {
        "guard": found.guard,
        "summary": found.summary,
        "parameters": [
            {
                "name": name,
                "type": one.type,
                "expected": expected(one),
                "required": one.required,
                "default": one.default,
                "choices": list(one.choices),
                "about": one.about,
            }
            for name, one in found.parameters.items()
        ],
        "example": found.example,
    }


def decision(one: Decision, wording: Wording) -> dict[str, Any]:
    """A past decision replayed under a proposed policy."""
    return {
        "manifest_id": one.manifest_id,
        "area": one.area,
        "version": one.version,
        "time": one.time,
        "was": one.was,
        "would_be": one.would_be,
        "why": explanation(one.why, wording) if one.why is not None else None,
    }
