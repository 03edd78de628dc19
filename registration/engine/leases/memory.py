"""Leases in memory: for one process, for as long as it lasts, and the reference for all others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from registration.engine.leases.keeping import Change, RecordLeases, check_key
from registration.engine.leases.record import LeaseRecord
from registration.storage.layout import check_area
from registration.values.times import Clock, system_clock

if TYPE_CHECKING:
    from collections.abc import Iterator


class MemoryLeases(RecordLeases):
    """A `LeaseKeeper` that forgets all when the process ends: its numbers begin anew, so nothing that lasts may rest on them.

    clock, host: as `RecordLeases`.
    """

    def __init__(self, *, clock: Clock = system_clock, host: str | None = None) -> None:
        super().__init__(_Records(), clock=clock, host=host)


class _Records:
    def __init__(self) -> None:
        self._kept: dict[str, LeaseRecord] = {}
        self._mutex = threading.Lock()

    def change(self, key: str, change: Change, *, create: bool) -> tuple[LeaseRecord, LeaseRecord]:
        with self._mutex:
            before = self.look(key)
            after = change(before)
            if after != before:
                self._kept[key] = after
            return before, after

    def look(self, key: str) -> LeaseRecord:
        return self._kept.get(check_key(key)) or LeaseRecord(key)

    def keys(self, area: str | None) -> Iterator[str]:
        begin = "" if area is None else check_area(area) + "/"
        with self._mutex:
            keys = sorted(self._kept)
        return (key for key in keys if key.startswith(begin))
