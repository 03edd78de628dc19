"""Events: what happened, as one line of a log.

Each line is a complete CloudEvents 1.0 event in the JSON format
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md). `registration.core.codec`
alone knows the bytes; this is their shape in Python.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event that was decided but is not in a log yet: it has no version and no position in the chain.

    id: UUID version 7. time: RFC 3339, UTC, microseconds. data: JSON values only, with `action`, `from`, `to`
    and `actor`.
    """

    id: str
    type: str
    time: str
    data: Mapping[str, Any]
    correlation_id: str
    causation_id: str | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a log.

    subject: the id of the manifest whose log this is. source: ``urn:uuid:`` and the registry's id.
    version: from 1, without a gap: the version of the state after this event.
    part: its index within its command, from 1. remaining: the number of events of the same command that follow.
    hash: SHA-256, in hex, of the line up to it; prev_hash: that of the line before, empty in line 1.
    line: the exact bytes, including the final line feed.
    """

    id: str
    source: str
    type: str
    subject: str
    time: str
    version: int
    part: int
    remaining: int
    correlation_id: str | None
    causation_id: str | None
    idempotency_key: str | None
    traceparent: str | None
    data: Mapping[str, Any]
    prev_hash: str
    hash: str
    line: bytes = field(repr=False)

    @property
    def action(self) -> str:
        """The action, in the imperative: ``approve``."""
        return str(self.data["action"])

    @property
    def from_state(self) -> str | None:
        """The state before; None for the event that created the manifest."""
        state: str | None = self.data["from"]
        return state

    @property
    def to_state(self) -> str:
        """The state after."""
        return str(self.data["to"])

    @property
    def actor(self) -> str | None:
        """The actor; None if none was named."""
        actor: str | None = self.data["actor"]
        return actor

    @property
    def remarks(self) -> str:
        """The reason and comment, and its effect on other events: approvals that it ends, the version that it undoes. For people."""
        data = self.data
        told = [str(data[name]) for name in ("reason", "comment") if name in data]
        if "tags" in data:
            signs = [
                sign + tag for word, sign in (("added", "+"), ("removed", "-")) for tag in data.get(word, ())
            ]
            told.insert(0, " ".join(signs))
        if lapsed := data.get("lapsed"):
            told.append(
                f"ends the approvals of versions {', '.join(map(str, lapsed))}"
                if len(lapsed) > 1
                else f"ends the approval of version {lapsed[0]}"
            )
        if "claim" in data:
            told.append(f"breaks {data['claim']['holder']}'s lock")
        if "undoes" in data:
            told.append(f"undoes version {data['undoes']}")
        if "timeout" in data:
            told.append(f"a time-out after {data['timeout']['after']}")
        return "; ".join(told)
