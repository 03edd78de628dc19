"""Which areas of logs a registry has, as its feed asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registration.feed.reading import Logs
    from registration.stores.files import FileStore


class Areas(Mapping[str, "Logs"]):
    """The logs of each area: of those that are open, and of others as they are asked for, or are there."""

    def __init__(
        self,
        opened: dict[str, Logs],
        others: Mapping[str, Callable[[FileStore], Logs]],
        store: FileStore,
    ) -> None:
        self._opened = opened
        self._others = others
        self._store = store

    def __getitem__(self, area: str) -> Logs:
        if area not in self._opened:
            self._opened[area] = self._others[area](self._store)
        return self._opened[area]

    def __iter__(self) -> Iterator[str]:
        there = [area for area in self._others if area not in self._opened and self._is_there(area)]
        return iter([*self._opened, *there])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _is_there(self, area: str) -> bool:
        try:
            self._store.disk.status_at(f"{self._store.root}/{area}")
        except FileNotFoundError:
            return False
        return True
