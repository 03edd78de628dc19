"""Replay: a sound log folded straight from its bytes, every hash and every link of the chain checked.

The result is that of `registration.core.codec.scan` and `registration.core.decider.fold` together, several times as
fast, for a valid log. For any other log this returns nothing, and those two report the fault. A
property test compares the two.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from registration.core.codec import SEAL_BEGIN, SEAL_BYTES, SEAL_END
from registration.core.decider import KEYS_KEPT_MAX, UNFOLDABLE
from registration.core.facts import FENCE, LABELS, keep_labels, with_fence
from registration.values.events import Event, Position, StateSnapshot

if TYPE_CHECKING:
    from registration.core.definition import Definition


def replay(
    definition: Definition, base: StateSnapshot | None, data: bytes, *, stream: str, source: str
) -> StateSnapshot | None:
    """The state after the bytes of a log that follow `base`; None if any of them is out of the ordinary.

    Ordinary are valid lines, each of a command of one event, of types that the definition knows.
    """
    if not data.endswith(b"\n"):
        return None
    try:
        return _replay(definition, base, data, stream, source)
    except UNFOLDABLE:  # not in our form, although its hash is valid
        return None


def _replay(  # noqa: C901  # one loop: a call for each line would cost as much as the rest
    definition: Definition, base: StateSnapshot | None, data: bytes, stream: str, source: str
) -> StateSnapshot | None:
    known, upcasters = definition.event_types, definition.upcasters
    evolve = definition.evolve
    # Each event has a `to`.
    quiet = frozenset(("to",)) if definition.evolves_on is None else definition.evolves_on | {FENCE}
    telling = quiet | LABELS
    sha256, loads = hashlib.sha256, orjson.loads
    version, head, size = 0, "", 0
    created_at, document, digest, registry = "", None, None, None
    facts: Any = {}
    keys: list[tuple[str, int]] = []
    if base is not None:
        version, head, size = base.version, base.position.head, base.position.size_bytes
        created_at, document, digest, registry = base.created_at, base.document, base.digest, base.registry
        facts, keys = base.facts, list(base.keys)
    lines = data.split(b"\n")
    lines.pop()
    for line in lines:
        hash = sha256(line[:-SEAL_BYTES]).hexdigest()
        if line[-SEAL_BYTES:] != SEAL_BEGIN + hash.encode() + SEAL_END:
            return None
        members = loads(line)
        version += 1
        type_, time, said = members["type"], members["time"], members["data"]
        correlation, causation = members.get("correlationid", ""), members.get("causationid", "")
        key, trace = members.get("idempotencykey", ""), members.get("traceparent", "")
        if (
            members["version"] != version
            or members.get("prevhash", "") != head
            or members["subject"] != stream
            or members["source"] != source
            or type_ not in known
            or "remaining" in members
            or "part" in members
            or type(members["version"]) is not int
            or not type(members["id"])
            is type(time)
            is type(said["to"])
            is type(correlation)
            is type(causation)
            is str
            or not type(key) is type(trace) is str
            or not ("from" in said and "action" in said and "actor" in said)
        ):
            return None
        if type_ in upcasters or not telling.isdisjoint(said) or not quiet.isdisjoint(facts):
            event = Event(
                id=members["id"],
                source=source,
                type=type_,
                subject=stream,
                time=time,
                version=version,
                part=1,
                remaining=0,
                correlation_id=members.get("correlationid"),
                causation_id=members.get("causationid"),
                idempotency_key=members.get("idempotencykey"),
                traceparent=members.get("traceparent"),
                data=said,
                prev_hash=head,
                hash=hash,
                line=line + b"\n",
            )
            if type_ in upcasters:
                event = definition.upcast(event)
                said = event.data
            facts = with_fence(facts, evolve(facts, event), event)
            if not LABELS.isdisjoint(said):
                facts = keep_labels(facts, event)
        if "document" in said:
            document = said["document"]
        if "digest" in said:
            digest = said["digest"]
        if "registry" in said:
            registry = said["registry"]
        if "idempotencykey" in members:
            keys.append((key, version))
        created_at = created_at or time
        head = hash
    return StateSnapshot(
        stream=stream,
        source=source,
        definition=definition.name,
        state=said["to"],
        version=version,
        created_at=created_at,
        updated_at=time,
        document=document,
        digest=digest,
        facts=facts,
        keys=tuple(keys[-KEYS_KEPT_MAX:]),
        registry=registry,
        position=Position(version, size + len(data), head),
    )
