"""Which areas of logs a registry has, as its feed asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registration.storage.files.feed.reading import Logs
    from registration.storage.files.files import FileStore


class Areas(Mapping[str, "Logs"]):
    """The logs of each area: of the store's own, and of others as they are asked for, or are there.

    own: the store's area. others: how those that nobody opened are come to. opened: those that are open; what is asked for is
    added to it, so that whoever keeps it opens each once.
    """

    def __init__(
        self,
        own: str,
        store: FileStore,
        others: Mapping[str, Callable[[FileStore], Logs]],
        *,
        opened: dict[str, Logs],
    ) -> None:
        self._own = own
        self._store = store
        self._others = others
        self._opened = opened

    def __getitem__(self, area: str) -> Logs:
        if area == self._own:
            return self._store
        if area not in self._opened:  # two threads make one each, over the same files: either will do
            self._opened[area] = self._others[area](self._store)
        return self._opened[area]

    def __iter__(self) -> Iterator[str]:
        there = [area for area in self._others if area not in self._opened and self._is_there(area)]
        return iter([self._own, *self._opened, *there])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _is_there(self, area: str) -> bool:
        try:
            self._store.disk.status_at(f"{self._store.root}/{area}")
        except FileNotFoundError:
            return False
        return True
