"""Forms of a state: the hash of the state after an event, which the event itself contains. Pure.

A snapshot is believed only if the last line of its log has its hash, so that one line proves it, however long the log. A form is
frozen: its number is part of the hash, and a release that keeps more in a state writes a later form and can still compute this one.

Form 1: SHA-256 over the compact JSON, with sorted members, of the list ::

    [1, source, stream, definition, state, version, created_at, updated_at, digest, registry, keys, facts]

`keys` are pairs of key and version, in order. `facts` are pairs of name and SHA-256 in hex of the member's compact JSON with
sorted members, by name: the hash of a long member can be computed once and used again. The document is not hashed again: its
digest is in the list, and proves it. The size and the hash of the log are proved by the line itself.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

from registration.values.documents import digest_of, digest_of_bytes

if TYPE_CHECKING:
    from registration.values.events import StateSnapshot

FORM = 1
"""The form that is written."""

_SORTED = orjson.OPT_SORT_KEYS

_RECENT_MAX = 1024
_RECENT_BYTES_MAX = 4 * 1024 * 1024


class _Recent:
    """The hashes of recent members of facts, which folds share and never change. Bounded in number and in bytes of JSON.

    entries: by the `id` of a member, the member and its hash. An entry keeps its member, so that no other object has its `id`.
    """

    def __init__(self) -> None:
        self.entries: dict[int, tuple[object, str]] = {}
        self.size_bytes = 0

    def add(self, member: object) -> tuple[object, str]:
        """The entry of a member, which is made."""
        data = orjson.dumps(member, option=_SORTED)
        entry = (member, hashlib.sha256(data).hexdigest())
        if len(data) > _RECENT_BYTES_MAX:
            return entry
        self.size_bytes += len(data)
        if len(self.entries) >= _RECENT_MAX or self.size_bytes > _RECENT_BYTES_MAX:
            self.entries.clear()
            self.size_bytes = len(data)
        self.entries[id(member)] = entry
        return entry


_RECENT = _Recent()


def hash_of_state(state: StateSnapshot, form: int = FORM) -> str:
    """The `statehash` of an event that led to this state: the number of the form, a colon, and 64 hex digits.

    Raises:
        KeyError: when this release does not know the form.
    """
    if form != FORM:
        raise KeyError(form)
    dumps, sha256 = orjson.dumps, hashlib.sha256
    facts = state.facts
    entries, members = _RECENT.entries, []
    for name in sorted(facts):
        member = facts[name]
        known = entries.get(id(member))
        if known is None or known[0] is not member:
            known = _RECENT.add(member)
        members.append((name, known[1]))
    said = dumps(
        (
            1,
            state.source,
            state.stream,
            state.definition,
            state.state,
            state.version,
            state.created_at,
            state.updated_at,
            state.digest,
            state.registry,
            state.keys,
            members,
        ),
        option=_SORTED,
    )
    return f"1:{sha256(said).hexdigest()}"


def matches(statehash: str, state: StateSnapshot) -> bool | None:
    """Whether a `statehash` is that of a state; None if this release does not know its form."""
    number, _, _ = statehash.partition(":")
    try:
        return hash_of_state(state, int(number)) == statehash
    except (KeyError, ValueError):
        return None


def is_proved(state: StateSnapshot, statehash: str | None) -> bool:
    """Whether a snapshot is the state that an event led to, its document included.

    A hash of an earlier form proves nothing about the facts that were added since, and one of a later form can't be computed.
    """
    if statehash is None or hash_of_state(state) != statehash:
        return False
    document, digest = state.document, state.digest
    if document is None or digest is None:
        return document is None
    # Bytes with this hash are the RFC 8785 form, so the walk over the document is needed only for numbers and names that
    # orjson writes in another way.
    return digest_of_bytes(orjson.dumps(document, option=_SORTED)) == digest or digest_of(document) == digest
