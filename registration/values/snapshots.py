"""Snapshots: the state of one manifest at one version, as the fold of its log.

A snapshot proves nothing by itself: it is a cache that can always be rebuilt from the log, and names the
position in the log that it is the fold of.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a log: after `version` events and `size_bytes` bytes, with `head` the hash of the last event.

    `Position()` is the position before the first event, in a log that may not exist.
    """

    version: int = 0
    size_bytes: int = 0
    head: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSnapshot:
    """One manifest after `version` events.

    stream: the manifest's id. source: ``urn:uuid:`` and the registry's id. definition: the lifecycle's name.
    state: the innermost active state. created_at, updated_at: times of the first and last event, RFC 3339.
    document, digest: the manifest itself and ``sha256:`` over its RFC 8785 form; None if the definition has
    no documents. facts: further values that the definition keeps, such as open approvals.
    keys: the most recent idempotency keys, oldest first, each with the version that it led to.
    position: the position in the log that this is the fold of.
    """

    stream: str
    source: str
    definition: str
    state: str
    version: int
    created_at: str
    updated_at: str
    document: Mapping[str, Any] | None
    digest: str | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[tuple[str, int], ...] = ()
    position: Position = Position()

    @property
    def manifest_id(self) -> str:
        """The manifest's id."""
        return self.stream

    @property
    def approvals(self) -> tuple[Mapping[str, Any], ...]:
        """The approvals of the current document, in order: `actor`, `time`, `version`, `digest`."""
        return tuple(self.facts.get("approvals", ()))

    @property
    def fence(self) -> Mapping[str, Any] | None:
        """The highest fencing number of any event: `number`, `actor`, `version`; None if no event has one."""
        seen: Mapping[str, Any] | None = self.facts.get("fence")
        return seen

    @property
    def name(self) -> str | None:
        """The name that the manifest holds, such as ``weather@1.2.0``; None if it holds none."""
        name: str | None = self.facts.get("name")
        return name

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags, sorted."""
        return tuple(self.facts.get("tags", ()))

    def detached(self) -> StateSnapshot:
        """A deep copy: stores cache hot states, which callers must not be able to change."""
        facts = orjson.loads(orjson.dumps(self.facts)) if self.facts else {}
        document = None if self.document is None else orjson.loads(orjson.dumps(self.document))
        return replace(self, document=document, facts=facts)
