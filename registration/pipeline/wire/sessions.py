"""Guided sessions, as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from registration.pipeline.wire.locks import lease_or_none
from registration.pipeline.wire.reasons import error
from registration.pipeline.wire.upkeep import finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registration.evidence.verification import AreaVerification
    from registration.onboarding.sessions.session import Session
    from registration.onboarding.sessions.upkeep import Cleanup, Stats
    from registration.pipeline.wire.reasons import Wording
    from registration.values.events import Event
    from registration.values.leases import Lease


def session(one: Session) -> dict[str, Any]:
    """A guided session."""
    progress = one.progress
    return {
        "session": one.id,
        "wizard": one.wizard.name,
        "scope": one.scope,
        "user": one.user,
        "community": one.community,
        "state": one.state,
        "title": one.title,
        "active": one.is_active,
        "version": one.version,
        "attempt": one.attempt,
        "step": progress.number,
        "steps": progress.of,
        "percent": progress.percent,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "expires_at": one.expires_at,
        "bound": one.bound,
        "stopped": one.stopped,
        "answers": one.answers,
        "draft": one.draft,
        "work": one.work,
        "manifest": one.manifest,
    }


def at_work(one: Session, at_work: Lease | None, log: Sequence[Event] | None = None) -> dict[str, Any]:
    """A guided session, its user and, if requested, its events."""
    told = {**session(one), "at_work": lease_or_none(at_work)}
    return told if log is None else {**told, "log": [orjson.loads(each.line) for each in log]}


def answers(one: Session) -> dict[str, Any]:
    """The answers of a session, and their wizard: the input for another session."""
    return {**one.wizard.identity, "answers": one.answers}


def counts(found: Stats) -> dict[str, Any]:
    """The number of sessions, by state and by wizard."""
    return {
        "total": found.total,
        "active": found.active,
        "by_state": dict(found.by_state),
        "by_wizard": dict(found.by_wizard),
        "completed_percent": found.completed_percent,
        "oldest_active": found.oldest_active,
        "unreadable": found.unreadable,
    }


def cleanup(found: Cleanup, wording: Wording) -> dict[str, Any]:
    """The sessions recorded as expired, and the removed ones."""
    return {
        "looked_at": found.looked_at,
        "expired": list(found.expired),
        "deleted": list(found.deleted),
        "problems": [error(one, wording) for one in found.problems],
    }


def health(found: AreaVerification, wording: Wording) -> dict[str, Any]:
    """The result of checking every byte of every session."""
    return {
        "looked_at": found.looked_at,
        "sound": all(one.kind != "damage" for one in found.findings),
        "findings": [finding(one) for one in found.findings],
        "problems": [error(one, wording) for one in found.problems],
    }


def deleted(id: str) -> dict[str, Any]:
    """A removed session."""
    return {"session": id, "deleted": True}


def matrix_row(state: str, row: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The targets of every kind of action from one state of a wizard."""
    return {"state": state, **{kind: list(ends) for kind, ends in row.items()}}
