"""Claims: at most one manifest holds a name, through any crash and among all processes.

Who holds a name is said by logs: the last event of a manifest that speaks of names says `claimed` or `released`, and
`registration.core.facts` keeps that as the fact `name`. A claim is what makes it one manifest only. To register is a saga of
two steps, under the lock of the claim:

1. the claim is written, and is on the disk;
2. the event that says `claimed` is committed.

Killed in between, the claim stands there without its event. Whoever wants the name next gets the claim's lock, since its
maker is dead; loads the manifest that it names, which settles what the maker left in the log; and finds that it doesn't hold
the name: the claim is removed. So a claim alone is worth nothing, and a log alone, where the claim is there, everything.

To let go of a name, the event that says `released` comes first, and then the claim is removed, or will be by whoever meets it.

The log's lock is not held while the claim is made, and is taken inside the claim's; nobody takes them the other way round.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from registration.errors import LockTimeout, NameTaken, StoreError, VersionConflict
from registration.storage.claims_over import claim_key
from registration.values.documents import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.storage.claims_over import ClaimPlace
    from registration.storage.ledger import Ledger
    from registration.storage.ports import Cell, Key
    from registration.values.events import Position, StateSnapshot

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim says: which manifest claimed a name, on which place of its log, and when.

    name: in full. after: the version and the head of the log that the claiming event was to follow on. time: that event's.
    """

    name: str
    manifest_id: str
    after_version: int
    after_head: str
    time: str

    def encode(self) -> bytes:
        """The claim as indented JSON, with a checksum of itself."""
        members: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "manifest_id": self.manifest_id,
            "after": {"version": self.after_version, "head": self.after_head},
            "time": self.time,
        }
        option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps({**members, "checksum": digest_of(members)}, option=option)


def decode_claim(raw: bytes, full: str) -> Claim | None:
    """The claim to `full` in `raw`; None where it isn't one, or not a whole one."""
    try:
        members = orjson.loads(raw)
        checksum = members.pop("checksum")
        if members["format"] != FORMAT or members["name"] != full or checksum != digest_of(members):
            return None
        after = members["after"]
        return Claim(full, members["manifest_id"], after["version"], after["head"], members["time"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None


class Claims:
    """The claims of one registry over its store. Safe to share between threads."""

    def __init__(self, store: Ledger) -> None:
        self._store = store

    @property
    def place(self) -> ClaimPlace:
        """The store of the deployments."""
        return self._store.claims

    def holder(self, full: str) -> StateSnapshot | None:
        """The manifest that holds a name; None where none does. Takes no lock of the claim.

        Raises:
            CorruptLog, LockTimeout, StoreError: as `registration.storage.ledger.Ledger.load`.
        """
        return self._behind(self.place.read(full), full)

    @contextmanager
    def taken(self, full: str, stream: str, after: Position, time: str) -> Iterator[tuple[Key, bytes]]:
        """Hold a name's claim for `stream` during the block, in which the event that claims it is committed.

        Yields the record of the claim and its bytes, on which the commit depends.

        Where nothing was committed because of a version conflict, the claim is taken back. After any other error it
        stays, and is found to be worth nothing by whoever meets it, or worth all, where the event is there after all.

        Raises (on entering):
            NameTaken: when another manifest holds the name.
            CorruptLog, LockTimeout, StoreError: when that can't be told, or the claim can't be made.
        """
        claim = Claim(full, stream, after.version, after.head, time)
        while True:
            with self.place.locked(full, create=True) as slot:
                assert slot is not None
                held = self._behind(slot.read(), full)
                if held is not None and held.stream != stream:
                    raise _taken(full, held, stream)
                if held is None and slot.read():
                    # Removed: what is written into the file now, nobody would find again.
                    slot.remove()
                    continue
                if held is None and stream != full and (held := self._holding(full, full)) is not None:
                    # Its claim is lost; where manifests are called what their documents are, that is seen in time.
                    slot.remove()
                    raise _taken(full, held, stream)
                if held is None:
                    slot.write(claim.encode())
                try:
                    yield claim_key(full), slot.read()
                except VersionConflict:
                    self._take_back(slot, full)
                    raise
                return

    def settle(self, full: str, *, timeout_s: float | None = None) -> bool:
        """Take a claim back that its manifest does not hold the name for. Whether there was one.

        timeout_s: how long to wait for somebody who is registering it; None: as long as for a manifest.

        Raises:
            CorruptLog, LockTimeout, StoreError: when that can't be told or done.
        """
        with self.place.locked(full, create=False, timeout_s=timeout_s) as slot:
            if slot is None or self._behind(slot.read(), full) is not None:
                return False
            slot.remove()
            return True

    def make_again(self, state: StateSnapshot) -> StateSnapshot | None:
        """Make the claim for the name that a manifest holds by its log, where it is missing.

        Gives another manifest where that one holds the name, too: then nothing is changed, and one of the two logs was
        not written by this package, or the claim was removed behind its back.
        """
        full, named = state.name, state.facts["named"]
        assert full is not None
        claim = Claim(full, state.stream, named["version"] - 1, "", named["time"])
        while True:
            with self.place.locked(full, create=True) as slot:
                assert slot is not None
                held = self._behind(slot.read(), full)
                if held is not None and held.stream != state.stream:
                    return held
                found = decode_claim(slot.read(), full)
                if found is not None and held is not None:
                    return None
                if slot.read():
                    slot.remove()
                    continue
                if self._holding(state.stream, full) is not None:
                    slot.write(claim.encode())
                else:
                    slot.remove()
                return None

    def _take_back(self, slot: Cell, full: str) -> None:
        """Take a claim back whose event was not committed, unless another one was. Left for others where that fails."""
        with suppress(StoreError, LockTimeout):
            if self._behind(slot.read(), full) is None:
                slot.remove()

    def _behind(self, raw: bytes | None, full: str) -> StateSnapshot | None:
        """The manifest that holds a name, as far as its claim leads there; None where the claim is worth nothing."""
        if not raw:
            return None
        claim = decode_claim(raw, full)
        if claim is not None:
            return self._holding(claim.manifest_id, full)
        # Cut short by a crash, or damaged: which manifest it named can't be told, and the logs tell who holds the name.
        for stream in self._store.streams():
            if (held := self._holding(stream, full)) is not None:
                return held
        return None

    def _holding(self, stream: str, full: str) -> StateSnapshot | None:
        state = self._store.load(stream)
        return state if state is not None and state.name == full else None


def _taken(full: str, held: StateSnapshot, stream: str) -> NameTaken:
    since = held.facts["named"]["time"]
    return NameTaken(
        f"The document of {stream!r} has the name {full!r}, which is held by {held.stream!r} "
        f"({held.state}) since {since}.",
        "Nothing was written. Give the document another name or version; a name is free again once its holder releases it.",
        manifest_id=stream,
        name=full,
        holder=held.stream,
        state=held.state,
        since=since,
    )
