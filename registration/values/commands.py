"""Commands: what somebody wants done to one manifest, already checked at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registration.values.documents import Document
    from registration.values.leases import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One request. Exactly one of `action` and `target` is given.

    stream: the id of the manifest. action: what to do; target: the state to reach by whichever action
    leads there. document: what `create` and `revise` carry. context: more JSON values to keep with the
    event. expected_version: refuse unless the manifest is at this version. expected_digest, expected_head: refuse
    unless these are its document's digest and the hash that its log ends in. idempotency_key: give the first
    answer again where this key was used before. fence: the number of the lease that this is done under; claim: the lease that
    somebody has on the manifest at this moment. undoes: the version of the event that this one takes back.
    tags: those to give or to take away. members: more that the event's data says, from the program and not from people.
    """

    stream: str
    action: str | None = None
    target: str | None = None
    actor: str | None = None
    document: Document | None = None
    reason: str | None = None
    comment: str | None = None
    context: Mapping[str, Any] | None = None
    expected_version: int | None = None
    expected_digest: str | None = None
    expected_head: str | None = None
    fence: int | None = None
    claim: Lease | None = None
    idempotency_key: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    undoes: int | None = None
    tags: tuple[str, ...] = ()
    members: Mapping[str, Any] | None = None

    def payload(self) -> dict[str, Any]:
        """What the event will say of the request besides its action, in the order of the format."""
        said = {"reason": self.reason, "comment": self.comment, "context": self.context}
        return {name: value for name, value in said.items() if value} | dict(self.members or {})
