"""The records of named consumers: their positions, and their holders.

``feed/consumers/<name>.json`` is the state of a consumer, replaced atomically. ``<name>.lock`` is held while a process uses the
name, and names that process; its content has no effect, and it is removed afterwards. Both are held during the whole block: so a
consumer whose lock expired while it was suspended can't overwrite its successor's state.
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
"""How often, and at which interval, a lock is retried: `holder` takes it for a moment, to check whether it is free."""


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
        """The state of a consumer; None if it has none."""
        return self._records.read(_key(name, _STATE))

    @contextmanager
    def opened(self, name: str, by: Mapping[str, Any]) -> Iterator[Cell]:
        """Use a name, with the record of its state. by: the holder, for the error of others.

        Raises:
            ConsumerBusy: at once, when it is held.
            StoreError: on disk errors.
        """
        with self.at_work(name, by), made_as(name, self._records, _key(name, _STATE)) as cell:
            yield cell

    @contextmanager
    def at_work(self, name: str, by: Mapping[str, Any]) -> Iterator[None]:
        """Lock a name; see `opened`."""
        with ExitStack() as held:
            cell = self._taken(held, name)
            cell.write(orjson.dumps(by))
            held.callback(cell.remove)
            yield

    def holder(self, name: str) -> Mapping[str, Any] | None:
        """The current holder of a name; None if it is free."""
        lock = _key(name, _LOCK)
        try:
            with self._records.held(lock, create=False, timeout_s=0):
                return None
        except LockTimeout:
            return _who(self._records.read(lock))

    def _taken(self, held: ExitStack, name: str) -> Cell:
        lock = _key(name, _LOCK)
        # Not by waiting for the lock: an abandoned wait takes it for a moment once it is free.
        for tries_left in reversed(range(_TRIES)):
            try:
                return held.enter_context(made_as(name, self._records, lock, timeout_s=0))
            except LockTimeout:
                if not tries_left:
                    raise ConsumerBusy(name, _who(self._records.read(lock))) from None
                time.sleep(_TRY_S)
        raise AssertionError("the last try returns or raises")


def _key(name: str, suffix: str) -> Key:
    # The colon of `hook:` is the only character of a consumer's name that is escaped.
    return (layout.FEED, layout.CONSUMERS, name.replace(":", "%3A") + suffix)


def _who(data: bytes | None) -> dict[str, Any] | None:
    try:
        found = orjson.loads(data or b"")
    except orjson.JSONDecodeError:
        return None  # just acquired, and not written yet
    return found if type(found) is dict else None
