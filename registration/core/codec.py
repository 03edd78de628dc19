"""The codec: events and snapshots to bytes and back, and the hash chain. No other module knows the bytes.

A line of a log is compact JSON whose last member is ``hash``: SHA-256, in hex, of the line's bytes before
``,"hash":``. So the chain can be checked without re-encoding anything, in any language: cut the line at
its last ``,"hash":"`` and hash the bytes before. Each line but the first names the hash of the one before
it (``prevhash``), and the hash covers the position of the line (``source``, ``subject``, ``version``): a line
can't be changed, moved, dropped, repeated or copied to another log without detection.

A snapshot is indented JSON, readable by people, and ends in a ``checksum`` computed in the same way.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from registration.values.events import Event, NewEvent, Position, StateSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SNAPSHOT_FORMAT = 1

_HASH = b',"hash":"'
_HASH_END = b'"}\n'
_HEX_DIGITS = 64
_HASH_BYTES = len(_HASH) + _HEX_DIGITS + len(_HASH_END)
_SEAL = re.compile(rb',"hash":"([0-9a-f]{64})"}')
_CHECKSUM = b',\n  "checksum": "'
_CHECKSUM_END = b'"\n}\n'
_CHECKSUM_BYTES = len(_CHECKSUM) + _HEX_DIGITS + len(_CHECKSUM_END)

# The last member before the hash. Inside a string, its quotes would be escaped, so nothing else ends a line's members like this.
_STATEHASH = re.compile(rb',"statehash":"([0-9]{1,9}:[0-9a-f]{64})"$')
_STATEHASH_BYTES_MAX = 100

SEAL_BEGIN, SEAL_END = _HASH, b'"}'
SEAL_BYTES = len(SEAL_BEGIN) + _HEX_DIGITS + len(SEAL_END)
"""The end of a line, without its line feed: the part that holds the hash and that the hash does not cover."""

TAIL_BYTES = len(_HASH_END) + _HEX_DIGITS
"""The number of bytes at the end of a log that contain its head: see `head_of_tail`."""


class BadLine(Exception):  # a reason on its way to a CorruptLog, never seen by a caller
    """A line that is corrupt, or out of place."""


class BadSnapshot(Exception):  # as above: the log is folded instead
    """A snapshot that is of no use here. covered: the position in the log that it is of, if at least its checksum is sound."""

    def __init__(self, reason: str, covered: Position | None = None) -> None:
        super().__init__(reason)
        self.covered = covered


def seal(
    new: Sequence[NewEvent],
    *,
    stream: str,
    source: str,
    after: Position,
    statehash: Callable[[Event], str] | None = None,
) -> list[Event]:
    """The events of one command with their versions, hashes and lines.

    statehash: returns the hash of the state after each event, which it is given without `hash` and `line`. None: the lines have
    none, as those of release 0.1.
    """
    events = []
    version, head = after.version, after.head
    for index, event in enumerate(new):
        version += 1
        remaining = len(new) - 1 - index
        members = _members(event, stream, source, version, index + 1, remaining, head)
        sealed = Event(
            id=event.id,
            source=source,
            type=event.type,
            subject=stream,
            time=event.time,
            version=version,
            part=index + 1,
            remaining=remaining,
            correlation_id=event.correlation_id,
            causation_id=event.causation_id,
            idempotency_key=event.idempotency_key,
            traceparent=event.traceparent,
            data=event.data,
            prev_hash=head,
            hash="",
            line=b"",
        )
        complete = object.__setattr__  # nobody has it yet: making a second one would cost as much as its hash
        if statehash is not None:
            members["statehash"] = told = statehash(sealed)
            complete(sealed, "statehash", told)
        covered = orjson.dumps(members)[:-1]
        head = hashlib.sha256(covered).hexdigest()
        complete(sealed, "hash", head)
        complete(sealed, "line", b"".join((covered, _HASH, head.encode(), _HASH_END)))
        events.append(sealed)
    return events


def _members(
    event: NewEvent, stream: str, source: str, version: int, part: int, remaining: int, head: str
) -> dict[str, Any]:
    """The members of a line in the order of the format, up to the hash of the state after it."""
    members: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": event.type,
        "subject": stream,
        "time": event.time,
        "version": version,
    }
    if part > 1:
        members["part"] = part
    if remaining:
        members["remaining"] = remaining
    members["correlationid"] = event.correlation_id
    if event.causation_id is not None:
        members["causationid"] = event.causation_id
    if event.idempotency_key is not None:
        members["idempotencykey"] = event.idempotency_key
    if event.traceparent is not None:
        members["traceparent"] = event.traceparent
    members["data"] = event.data
    if head:
        members["prevhash"] = head
    return members


def covered_line(event: Event, again: NewEvent) -> bytes:
    """The line of an event up to its hash, as it would be written if it had been decided as `again`: by itself, in its place."""
    members = _members(again, event.subject, event.source, event.version, 1, 0, event.prev_hash)
    if event.statehash is not None:
        members["statehash"] = event.statehash
    return b"".join((orjson.dumps(members)[:-1], _HASH))


def decode_line(line: bytes, *, stream: str, source: str, after: Position) -> Event:
    """The event of one line, checked against its own hash and its position in the chain.

    after: the position before it; its `version` and `head` are compared.

    Raises:
        BadLine: when the line is corrupt, or belongs elsewhere.
    """
    members, digest = open_line(line)
    try:
        event = event_of(members, prev_hash=members.get("prevhash", ""), hash=digest, line=line)
        data = event.data
        if not (isinstance(data["to"], str) and "from" in data and "action" in data and "actor" in data):
            raise BadLine("its `data` is malformed")
    except (KeyError, TypeError) as error:
        raise BadLine(f"the member {error} is missing or malformed") from None
    if event.source != source:
        raise BadLine(f"it belongs to another registry ({event.source})")
    if event.subject != stream:
        raise BadLine(f"it belongs to another manifest ({event.subject!r})")
    if event.version != after.version + 1:
        raise BadLine(f"it is version {event.version} where version {after.version + 1} belongs")
    if event.prev_hash != after.head:
        raise BadLine("the chain is broken: its `prevhash` is not the hash of the line before")
    return event


def open_line(line: bytes) -> tuple[dict[str, Any], str]:
    """The members of a line and its hash; its position is not checked.

    Raises:
        BadLine: when the line is incomplete, or its hash does not match.
    """
    if not line.endswith(b"\n"):
        raise BadLine("the line is incomplete")
    covered, digest = line[:-_HASH_BYTES], line[-_HASH_BYTES + len(_HASH) : -len(_HASH_END)]
    if not (line.endswith(_HASH_END) and line[-_HASH_BYTES:].startswith(_HASH)):
        raise BadLine("the line does not end in its hash")
    computed = hashlib.sha256(covered).hexdigest()
    if computed.encode() != digest:
        raise BadLine("its bytes do not match its hash")
    try:
        members = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadLine(f"it is not JSON: {error}") from None
    if type(members) is not dict:
        raise BadLine("it is not a JSON object")
    return members, computed


def proof_of(line: bytes) -> tuple[str, str | None] | None:
    """The hash of a whole line, and its `statehash` if it has one, without parsing it; None if its bytes do not match its hash."""
    covered, digest = line[:-_HASH_BYTES], line[-_HASH_BYTES + len(_HASH) : -len(_HASH_END)]
    if not line.endswith(_HASH_END) or hashlib.sha256(covered).hexdigest().encode() != digest:
        return None
    found = _STATEHASH.search(covered[-_STATEHASH_BYTES_MAX:])
    return digest.decode(), found[1].decode() if found else None


def head_of_tail(tail: bytes) -> str:
    """The head hash of a log that ends in `tail` (its last `TAIL_BYTES` bytes); empty if there is none."""
    return tail[: -len(_HASH_END)].decode("ascii", "replace") if tail.endswith(_HASH_END) else ""


_TEXTS = (
    "id",
    "source",
    "type",
    "subject",
    "time",
    "correlationid",
    "causationid",
    "idempotencykey",
    "traceparent",
    "statehash",
)


def event_of(members: dict[str, Any], *, prev_hash: str, hash: str, line: bytes) -> Event:
    """The event with the members of a line.

    Raises:
        KeyError, TypeError: when one is missing or has the wrong type.
    """
    version, part, remaining = members["version"], members.get("part", 1), members.get("remaining", 0)
    correlation, causation = members.get("correlationid", ""), members.get("causationid", "")
    key, trace, told = (
        members.get("idempotencykey", ""),
        members.get("traceparent", ""),
        members.get("statehash", ""),
    )
    if not (  # at once, since it is asked of each line of a log
        type(members["id"])
        is type(members["source"])
        is type(members["type"])
        is type(members["subject"])
        is type(members["time"])
        is type(correlation)
        is type(causation)
        is type(key)
        is type(trace)
        is type(told)
        is str
    ):
        raise TypeError(next(name for name in _TEXTS if type(members.get(name, "")) is not str))
    if (
        type(version) is not int
        or type(part) is not int
        or type(remaining) is not int
        or remaining < 0
        or part < 1
    ):
        raise TypeError("version, part or remaining")
    return Event(
        id=members["id"],
        source=members["source"],
        type=members["type"],
        subject=members["subject"],
        time=members["time"],
        version=version,
        part=part,
        remaining=remaining,
        correlation_id=members.get("correlationid"),
        causation_id=members.get("causationid"),
        idempotency_key=members.get("idempotencykey"),
        traceparent=members.get("traceparent"),
        data=members["data"],
        prev_hash=prev_hash,
        hash=hash,
        line=line,
        statehash=members.get("statehash"),
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """Why reading stopped.

    line: from 1. offset_bytes: where that line begins in the log.
    torn: the rest can be the remains of one command that was never acknowledged, so it may be cut.
    """

    line: int
    offset_bytes: int
    reason: str
    torn: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """The contents of a log, or of the end of one.

    events: those of complete commands. position: the position after them. fault: why reading stopped early, if it did.
    """

    events: list[Event]
    position: Position
    fault: Fault | None


def scan(data: bytes, *, stream: str, source: str, after: Position) -> Scan:
    """Read the bytes of a log that follow `after`, up to their end or the first fault."""
    events: list[Event] = []
    place = whole = after
    fault: Fault | None = None
    promised = 0  # the events of the current command that are still missing
    for line in _lines(data):
        try:
            event = decode_line(line, stream=stream, source=source, after=place)
            if promised and event.remaining != promised - 1:
                raise BadLine(f"{promised} more events of the same command are missing here")
            if event.version - event.part != whole.version:
                raise BadLine("its command does not begin where the previous one ends")
        except BadLine as error:
            rest = data[place.size_bytes - after.size_bytes :]
            torn = not _written_on_purpose(rest, stream=stream, source=source, begun=whole.version)
            fault = Fault(place.version + 1, place.size_bytes, str(error), torn)
            break
        events.append(event)
        place = Position(event.version, place.size_bytes + len(line), event.hash)
        promised = event.remaining
        if not promised:
            whole = place
    if promised and (fault is None or fault.torn):
        reason = f"a command's last events are missing ({fault.reason if fault else 'the log ends'})"
        fault = Fault(whole.version + 1, whole.size_bytes, reason, torn=True)
    return Scan(events[: whole.version - after.version], whole, fault)


def plain_events(data: bytes, *, stream: str, source: str, after: Position) -> tuple[list[Event], Position]:
    """The first events of `data` that are commands of one event, checked as `scan` does, and the position after them.

    Faster than `scan`; it stops, without saying why, at the first line that is anything else: an incomplete one, a fault, or a
    command of several events.
    """
    events: list[Event] = []
    version, head, size_bytes = after.version, after.head, after.size_bytes
    sha256, loads = hashlib.sha256, orjson.loads
    start = 0
    while end := data.find(b"\n", start) + 1:
        line = data[start:end]
        digest = sha256(line[:-_HASH_BYTES]).hexdigest()
        if line[-_HASH_BYTES:] != b"".join((_HASH, digest.encode(), _HASH_END)):
            break
        try:
            members = loads(line)
            event = event_of(members, prev_hash=members.get("prevhash", ""), hash=digest, line=line)
            said = event.data
            in_place = (
                event.version == version + 1
                and event.prev_hash == head
                and event.subject == stream
                and event.source == source
                and event.part == 1
                and not event.remaining
                and isinstance(said["to"], str)
                and "from" in said
                and "action" in said
                and "actor" in said
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            break
        if not in_place:
            break
        events.append(event)
        version, head, size_bytes, start = event.version, digest, size_bytes + len(line), end
    return events, Position(version, size_bytes, head) if events else after


def sound_versions(data: bytes, *, stream: str, source: str) -> list[int]:
    """The versions of all lines of this log in `data` whose own hash is valid, at any position."""
    found = []
    for _, line, _ in _sound_lines(data):
        members, _ = open_line(line)
        version = members.get("version")
        if type(version) is int and (members.get("subject"), members.get("source")) == (stream, source):
            found.append(version)
    return found


def _lines(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


def _written_on_purpose(data: bytes, *, stream: str, source: str, begun: int) -> bool:
    """Whether unverified bytes hold a line that one torn append can't have left there.

    A line with a valid hash was written on purpose, so out of place it means damage. Only the other lines
    of the torn command itself, the one that began after version `begun`, may follow a hole in it.
    """
    for offset, line, whole in _sound_lines(data):
        members, _ = open_line(line)
        version, part = members.get("version"), members.get("part", 1)
        torn_too = (
            (members.get("subject"), members.get("source")) == (stream, source)
            and type(version) is int
            and type(part) is int
            and version - part == begun
        )
        # The first one is where reading stopped: complete, it is out of place; without its line feed, it is torn.
        if whole if offset == 0 else not torn_too:
            return True
    return False


def _sound_lines(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Every line in unverified bytes whose hash is valid: its offset, the line, and whether it ends in a line feed.

    Lines that were joined by a corrupted line feed are separated by their hashes. Each byte is hashed once.
    """
    at = 0
    for physical in _lines(data):
        start = done = 0
        hasher = hashlib.sha256()
        for seal in _SEAL.finditer(physical):
            hasher.update(physical[done : seal.start()])
            done = seal.start()
            if hasher.hexdigest().encode() == seal[1]:
                line = physical[start : seal.end()] + b"\n"
                try:
                    open_line(line)
                except BadLine:  # a valid hash, but no JSON object: not a line of ours
                    continue
                yield at + start, line, physical[seal.end() : seal.end() + 1] == b"\n"
                start = done = seal.end() + 1
                hasher = hashlib.sha256()
        at += len(physical)


def encode_snapshot(snapshot: StateSnapshot) -> bytes:
    """`state.json`: the same snapshot gives the same bytes, forever."""
    members: dict[str, Any] = {
        "format": SNAPSHOT_FORMAT,
        "subject": snapshot.stream,
        "source": snapshot.source,
        "definition": snapshot.definition,
        "state": snapshot.state,
        "version": snapshot.version,
        "created_at": snapshot.created_at,
        "updated_at": snapshot.updated_at,
        "digest": snapshot.digest,
        "facts": snapshot.facts,
        "keys": [{"key": key, "version": version} for key, version in snapshot.keys],
        **({"registry": snapshot.registry} if snapshot.registry is not None else {}),
        "document": snapshot.document,
        "log": {"size": snapshot.position.size_bytes, "head": snapshot.position.head},
    }
    covered = orjson.dumps(members, option=orjson.OPT_INDENT_2)[: -len(b"\n}")]
    checksum = hashlib.sha256(covered).hexdigest().encode()
    return b"".join((covered, _CHECKSUM, checksum, _CHECKSUM_END))


def decode_snapshot(raw: bytes, *, stream: str, source: str, definition: str) -> StateSnapshot:
    """The snapshot in `raw`, if it is valid and of this manifest.

    Raises:
        BadSnapshot: when it is damaged, of another format, or of another manifest, registry or lifecycle.
    """
    covered, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES + len(_CHECKSUM) : -len(_CHECKSUM_END)]
    framed = raw.endswith(_CHECKSUM_END) and raw[-_CHECKSUM_BYTES:].startswith(_CHECKSUM)
    if not framed or hashlib.sha256(covered).hexdigest().encode() != checksum:
        raise BadSnapshot("its bytes do not match its checksum")
    try:
        members = orjson.loads(raw)
        if members["format"] != SNAPSHOT_FORMAT:
            said = members["log"]
            at = Position(_count(members["version"]), _count(said["size"]), str(said["head"]))
            raise BadSnapshot(f"its format is {members['format']}, not {SNAPSHOT_FORMAT}", at)
        snapshot = StateSnapshot(
            stream=members["subject"],
            source=members["source"],
            definition=members["definition"],
            state=members["state"],
            version=members["version"],
            created_at=members["created_at"],
            updated_at=members["updated_at"],
            document=members["document"],
            digest=members["digest"],
            facts=members["facts"],
            keys=tuple((item["key"], item["version"]) for item in members["keys"]),
            registry=members.get("registry"),
            position=Position(
                _count(members["version"]), _count(members["log"]["size"]), str(members["log"]["head"])
            ),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadSnapshot(f"it is malformed ({error})") from None
    if (snapshot.stream, snapshot.source, snapshot.definition) != (stream, source, definition):
        raise BadSnapshot(f"it belongs to another manifest ({snapshot.stream!r} of {snapshot.source})")
    return snapshot


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is not a count")
    return value
