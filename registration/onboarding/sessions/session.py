"""One session, the caller who acts on it, and its id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from registration.errors import InvalidArgument, Next
from registration.onboarding.wizards.progress import Progress, display_name, progress_of
from registration.onboarding.wizards.wizard import ENDED, EXPIRED, FAILED
from registration.values.people import same_person

if TYPE_CHECKING:
    from registration.onboarding.wizards.wizard import Wizard
    from registration.values.events import StateSnapshot

_ID = re.compile(r"wiz_[0-9]{17}_[0-9a-v]{16}", re.ASCII)
_DIGITS = "0123456789abcdefghijklmnopqrstuv"


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller. user: the owner of sessions. scope: a group that they also belong to, such as a community's server.

    client: an address or a fingerprint; only a keyed hash of it is stored.
    """

    user: str
    scope: str = "default"
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A session after `version` events, as of the time of the call: past `expires_at` it is EXPIRED.

    wizard: its wizard. scope, user, community, created_at: never change. attempt: the number of times that it was started,
    from 1. answers: by step. draft: by step, the incomplete answer. expires_at: RFC 3339; None if it does not expire.
    client: the keyed hash of the client that it is bound to.
    stopped: the step at which it failed or expired (`at`), and the `reason`. work: by key, in order, the last record of each
    external action. manifest: `id`, `version` and `digest` of the resulting manifest.
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
        """Whether it can continue: it is not complete, failed, expired or cancelled."""
        return self.state not in ENDED

    @property
    def bound(self) -> bool:
        """Whether it is bound to a client."""
        return self.client is not None

    @property
    def can_restart(self) -> bool:
        """Whether it can be restarted."""
        return self.state in (FAILED, EXPIRED)

    @property
    def progress(self) -> Progress:
        """Its progress."""
        return progress_of(self.wizard, self.state, self.answers, (self.stopped or {}).get("at"))

    @property
    def title(self) -> str:
        """The title of its step."""
        return display_name(self.wizard, self.state)


def is_owner(session: Session, by: Caller) -> bool:
    """Whether a session is the caller's, in any spelling of the user."""
    return session.scope == by.scope and same_person(session.user, by.user)


def session_of(wizard: Wizard, state: StateSnapshot, now: str) -> Session:
    """The session of a stream's state. now: RFC 3339; time-outs due by then count as recorded."""
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
    """Return `text` if it is a valid session id.

    Raises:
        InvalidArgument: when it is invalid.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise InvalidArgument(
            f"{text if isinstance(text, str) and len(text) < 80 else type(text).__name__!r} is an invalid session id.",
            "It looks like wiz_20261121093000123_0a1b2c3d4e5f6g7h. See the list of existing ones.",
            Next(operation="sessions.list"),
        )
    return text
