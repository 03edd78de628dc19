"""Records under the names used in messages. `registration.storage.ports` defines a record."""

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
    """Hold a record. what: its name in a `LockTimeout`, such as that of a lease, instead of its path."""
    with ExitStack() as held:
        try:
            cell = held.enter_context(records.held(key, create=create, timeout_s=timeout_s))
        except LockTimeout as error:
            raise LockTimeout(what, error.details["timeout_s"]) from None
        yield cell


@contextmanager
def made_as(what: str, records: Records, key: Key, *, timeout_s: float | None = None) -> Iterator[Cell]:
    """Hold a record, created if it is missing; see `held_as`."""
    with held_as(what, records, key, timeout_s=timeout_s) as cell:
        assert cell is not None
        yield cell
