"""Events, one line of a log each; and snapshots, the state after them.

Each line is a complete CloudEvents 1.0 event in the JSON format
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md). `registration.core.codec`
alone knows the bytes; this is their shape in Python.

A snapshot is the state of one manifest at one version, as the fold of its log. It proves nothing: it is a cache that can always be
rebuilt from the log, and names the log that it is the fold of.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

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
    line: the exact bytes, including the final line feed. statehash: the hash of the state after it, with the number of its form
    (`registration.core.forms`); None in logs of release 0.1.
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
    statehash: str | None = None

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
        """The reason and comment, its origin, and its effect on other events: approvals that it ends, the version that it undoes. For people."""
        data = self.data
        told = [str(data[name]) for name in ("reason", "comment") if name in data]
        if "tags" in data:
            signs = [
                sign + tag for word, sign in (("added", "+"), ("removed", "-")) for tag in data.get(word, ())
            ]
            told.insert(0, " ".join(signs))
        if "imported" in data:
            told.append(_imported(data["imported"], self.actor))
        if "lost" in data:
            told.append(lost_in(data["lost"], self.version))
            if "released" in data:
                told.append(f"releases {data['released']}, which another manifest holds")
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
    registry: the `version` and `hash` of the registry's own log under which the last event was decided; None before there was one.
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
    registry: Mapping[str, Any] | None = None
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
    def repairs(self) -> tuple[Mapping[str, Any], ...]:
        """The repairs of its log, in order, but for those by release 0.1: `version`, `time`, `actor`, `size_bytes`, `last_version`, `lapsed`."""
        return tuple(self.facts.get("repairs", ()))

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


def _imported(origin: Mapping[str, Any], actor: str | None) -> str:
    """The origin of an imported document, and the importer if that is another actor."""
    by, source, line = (origin.get(name) for name in ("by", "source", "line"))
    importer = f" by {by or 'an unnamed actor'}" if by != actor else ""
    place = "standard input" if source == "-" else source
    return f"imported{importer} from {place}" + (f", line {line}" if line else "")


def lost_in(lost: Mapping[str, Any], version: int) -> str:
    """What a repair lost, from its event or from `StateSnapshot.repairs`; version: that of the event. For people."""
    size, last = lost.get("size_bytes"), lost.get("last_version")
    told = f"{size:,} bytes lost" if type(size) is int else "bytes lost"
    if type(last) is not int or last < version:
        return told
    return f"{told}, with version {last}" if last == version else f"{told}, with versions {version} to {last}"
