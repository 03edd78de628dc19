"""Records under the names that people know them by. `registration.storage.ports` says what a record is."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from registration.errors import LockTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.storage.ports import Cell, Key, Records


@contextmanager
def held_as(
    what: str, records: Records, key: Key, *, create: bool = True, timeout_s: float | None = None
) -> Iterator[Cell | None]:
    """Hold a record. what: how a `LockTimeout` calls it, such as the name of a lease, instead of where it is kept."""
    with ExitStack() as held:
        try:
            cell = held.enter_context(records.held(key, create=create, timeout_s=timeout_s))
        except LockTimeout as error:
            raise LockTimeout(what, error.details["timeout_s"]) from None
        yield cell


@contextmanager
def made_as(what: str, records: Records, key: Key, *, timeout_s: float | None = None) -> Iterator[Cell]:
    """Hold a record, which is made where there is none; see `held_as`."""
    with held_as(what, records, key, timeout_s=timeout_s) as cell:
        assert cell is not None
        yield cell
