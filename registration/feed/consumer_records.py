"""The records of named consumers: how far each is, and who is at work under its name.

``feed/consumers/<name>.json`` is what is kept of a consumer, replaced whole. ``<name>.lock`` is held for as long as somebody works
under the name, and says who does; of no consequence, and gone afterwards. Both are held for the whole block: so a consumer whose
lock expired while it was stopped writes nothing over what its successor has kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from registration.errors import ConsumerBusy, LockTimeout
from registration.storage import layout
from registration.storage.records import made_as

if TYPE_CHECKING:
    from registration.storage.ports import Cell, Key, Records

_STATE, _LOCK = ".json", ".lock"
_TRIES, _TRY_S = 5, 0.02
"""How often, and how far apart, a lock is tried: `holder` takes it for a moment, to see whether it is free."""


class ConsumerRecords:
    """The consumers of one registry. Safe to share between threads."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def names(self) -> list[str]:
        """The names of all consumers, sorted."""
        names = self._records.names(layout.FEED, layout.CONSUMERS)
        return sorted(
            name.removesuffix(_STATE).replace("%3A", ":") for name in names if name.endswith(_STATE)
        )

    def read(self, name: str) -> bytes | None:
        """What is kept of a consumer; None where nothing is."""
        return self._records.read(_key(name, _STATE))

    @contextmanager
    def opened(self, name: str, by: Mapping[str, Any]) -> Iterator[Cell]:
        """Work under a name, with the record of what is kept of it. by: who does, for others to be told.

        Raises:
            ConsumerBusy: at once, when somebody else does.
            StoreError: when the disk refuses.
        """
        with self.at_work(name, by), made_as(name, self._records, _key(name, _STATE)) as cell:
            yield cell

    @contextmanager
    def at_work(self, name: str, by: Mapping[str, Any]) -> Iterator[None]:
        """Keep everybody else from working under a name; see `opened`."""
        with ExitStack() as held:
            cell = self._taken(held, name)
            cell.write(orjson.dumps(by))
            held.callback(cell.remove)
            yield

    def holder(self, name: str) -> Mapping[str, Any] | None:
        """Who is working under a name at this moment; None where nobody is."""
        lock = _key(name, _LOCK)
        try:
            with self._records.held(lock, create=False, timeout_s=0):
                return None
        except LockTimeout:
            return _who(self._records.read(lock))

    def _taken(self, held: ExitStack, name: str) -> Cell:
        lock = _key(name, _LOCK)
        # Not by waiting for the lock: a wait that is given up takes it for a moment once it is free.
        for tries_left in reversed(range(_TRIES)):
            try:
                return held.enter_context(made_as(name, self._records, lock, timeout_s=0))
            except LockTimeout:
                if not tries_left:
                    raise ConsumerBusy(name, _who(self._records.read(lock))) from None
                time.sleep(_TRY_S)
        raise AssertionError("the last try returns or raises")


def _key(name: str, suffix: str) -> Key:
    # The colon of `hook:` is the one character of a consumer's name that is not written as it is.
    return (layout.FEED, layout.CONSUMERS, name.replace(":", "%3A") + suffix)


def _who(data: bytes | None) -> dict[str, Any] | None:
    try:
        found = orjson.loads(data or b"")
    except orjson.JSONDecodeError:
        return None  # it was just taken, and is not said yet
    return found if type(found) is dict else None
