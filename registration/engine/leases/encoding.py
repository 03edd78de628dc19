"""A lease record as bytes: indented JSON for people to read, with a checksum of itself."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from registration.engine.leases.record import NUMBER_MAX, LeaseRecord
from registration.errors import CorruptRegistry
from registration.storage import layout
from registration.values.leases import EndedLease, Lease

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1

_LEASE = {"holder": str, "host": str, "number": int, "since": str, "until": str, "token": str}
_ENDED = {"number": int, "holder": str, "host": str, "since": str, "until": str, "how": str, "time": str}


def encode_record(record: LeaseRecord) -> bytes:
    """The bytes of a record."""
    members: dict[str, Any] = {
        "format": FORMAT,
        "key": record.key,
        "number": record.number,
        "lease": None if record.lease is None else _lease_members(record.lease),
        "history": [one.as_json() for one in record.history],
    }
    members["checksum"] = _checksum(members)
    return orjson.dumps(members, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def decode_record(raw: bytes, *, key: str) -> LeaseRecord:
    """The record of a key; without bytes, one without a lease.

    Raises:
        CorruptRegistry: when it is corrupt, or of another key.
    """
    if not raw:
        return LeaseRecord(key)
    path = "/".join(layout.lease_record(key))
    try:
        members = orjson.loads(raw)
        checksum = members.pop("checksum")
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise _corrupt(path, key, "it is not JSON with a checksum") from None
    if members.get("format") != FORMAT:
        raise _corrupt(
            path, key, f"it is of format {members.get('format')!r}, and this release reads {FORMAT}"
        )
    if checksum != _checksum(members):
        raise _corrupt(path, key, "its checksum is not that of its content")
    if members.get("key") != key:
        raise _corrupt(path, key, f"it is of {members.get('key')!r}")
    lease, number, history = members.get("lease"), members.get("number"), members.get("history")
    if not (
        type(number) is int
        and 0 <= number <= NUMBER_MAX
        and (lease is None or _has(lease, _LEASE))
        and type(history) is list
        and all(_has(one, _ENDED) for one in history)
    ):
        raise _corrupt(path, key, "its members are not those of a lease")
    return LeaseRecord(
        key=key,
        number=number,
        lease=None if lease is None else Lease(key=key, **{name: lease[name] for name in _LEASE}),
        history=tuple(
            EndedLease(**{name: one[name] for name in _ENDED}, by=one.get("by"), reason=one.get("reason"))
            for one in history
        ),
    )


def _lease_members(lease: Lease) -> dict[str, Any]:
    return {name: getattr(lease, name) for name in _LEASE}


def _has(members: Any, shape: Mapping[str, type]) -> bool:
    return type(members) is dict and all(type(members.get(name)) is kind for name, kind in shape.items())


def _checksum(members: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _corrupt(path: str, key: str, reason: str) -> CorruptRegistry:
    return CorruptRegistry(
        f"{path} is not a valid record of the lock on {key!r}: {reason}.",
        "Nothing was changed. Restore it from a backup. Without one, and if no one is working on it, remove it: the next "
        "lease then has a greater number than the log has seen.",
        path=path,
        key=key,
        reason=reason,
    )
