"""One session as it stands, who acts on it, and its id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from registration.errors import InvalidArgument, Next
from registration.onboarding.wizards.progress import Progress, display_name, progress_of
from registration.onboarding.wizards.wizard import ENDED, EXPIRED, FAILED

if TYPE_CHECKING:
    from registration.onboarding.wizards.wizard import Wizard
    from registration.values.snapshots import StateSnapshot

_ID = re.compile(r"wiz_[0-9]{17}_[0-9a-v]{16}", re.ASCII)
_DIGITS = "0123456789abcdefghijklmnopqrstuv"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who acts. user: the one that sessions belong to. scope: what they belong to besides, such as a community's server.

    client: an address or a fingerprint; only a keyed hash of it is ever kept.
    """

    user: str
    scope: str = "default"
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it stood after `version` events, and as of the time of the call: past `expires_at` it is EXPIRED.

    wizard: the one that it runs. scope, user, community, created_at: never change. attempt: which run through the steps it
    is, from 1. answers: by step. draft: by step, what was answered of it so far. expires_at: RFC 3339; None where it doesn't expire. client: the keyed hash of the one that it is bound to.
    stopped: where it failed or expired (`at`), and why (`reason`). work: what was last recorded of each thing that is done
    outside, by key, in order. manifest: `id`, `version` and `digest` of the one that it ended in.
    """

    id: str
    wizard: Wizard = field(repr=False)
    scope: str
    user: str
    community: str | None
    state: str
    version: int
    created_at: str
    updated_at: str
    attempt: int = 1
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    draft: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    expires_at: str | None = None
    client: str | None = field(default=None, repr=False)
    stopped: Mapping[str, Any] | None = None
    work: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    manifest: Mapping[str, Any] | None = None

    @property
    def is_active(self) -> bool:
        """Whether it can go on: it isn't complete, failed, expired or cancelled."""
        return self.state not in ENDED

    @property
    def bound(self) -> bool:
        """Whether it is bound to a client."""
        return self.client is not None

    @property
    def can_restart(self) -> bool:
        """Whether it can be started again."""
        return self.state in (FAILED, EXPIRED)

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return progress_of(self.wizard, self.state, self.answers, (self.stopped or {}).get("at"))

    @property
    def title(self) -> str:
        """How people call where it is."""
        return display_name(self.wizard, self.state)


def session_of(wizard: Wizard, state: StateSnapshot, now: str) -> Session:
    """The session that a stream's state says. now: RFC 3339; what is due by then counts as recorded."""
    facts = state.detached().facts
    owner = facts.get("owner") or {}
    expires_at = facts.get("due", {}).get("expire")
    expired = expires_at is not None and expires_at <= now
    return Session(
        id=state.stream,
        wizard=wizard,
        scope=owner.get("scope", ""),
        user=owner.get("user", ""),
        community=facts.get("community"),
        state=EXPIRED if expired else state.state,
        version=state.version,
        created_at=state.created_at,
        updated_at=state.updated_at,
        attempt=facts.get("attempt", 1),
        answers=facts.get("answers", {}),
        draft=facts.get("draft", {}),
        expires_at=expires_at,
        client=facts.get("client"),
        stopped={"at": state.state, "reason": ""} if expired else facts.get("stopped"),
        work=facts.get("work", {}),
        manifest=facts.get("manifest"),
    )


def new_session_id(unix_ns: int, randomness: bytes) -> str:
    """A new id: ``wiz_20261121093000123_`` and 16 letters and digits. Sorted as text they are sorted by time.

    randomness: 10 bytes.
    """
    moment = datetime.fromtimestamp(unix_ns // 1_000_000_000, UTC)
    ms = unix_ns // 1_000_000 % 1000
    number = int.from_bytes(randomness, "big")
    letters = "".join(_DIGITS[number >> 5 * place & 31] for place in reversed(range(16)))
    return f"wiz_{moment:%Y%m%d%H%M%S}{ms:03d}_{letters}"


def check_session_id(text: object) -> str:
    """Give `text` back where it is a session's id.

    Raises:
        InvalidArgument: when it isn't.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise InvalidArgument(
            f"{text if isinstance(text, str) and len(text) < 80 else type(text).__name__!r} is not a session's id.",
            "It looks like wiz_20261121093000123_0a1b2c3d4e5f6g7h. List those that there are.",
            Next(operation="sessions.list"),
        )
    return text
