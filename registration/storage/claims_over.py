"""The claims to names over records: ``names/<name>/<version>.json``, one record for each name in full.

Bytes only: what they say, and what they are worth, is for `registration.engine.names.claims`.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from registration.errors import LockTimeout
from registration.storage import layout
from registration.values.ids import id_of, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.storage.ports import Cell, Key, Records


class ClaimPlace:
    """For each name in full, one record that one claim can be in."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def read(self, full: str) -> bytes | None:
        """The claim to a name, without its lock; None where there is none."""
        return self._records.read(claim_key(full))

    @contextmanager
    def locked(self, full: str, *, create: bool, timeout_s: float | None = None) -> Iterator[Cell | None]:
        """Hold the record of a claim; see `Records.held`."""
        with ExitStack() as held:
            try:
                cell = held.enter_context(
                    self._records.held(claim_key(full), create=create, timeout_s=timeout_s)
                )
            except LockTimeout as error:
                raise LockTimeout(full, error.details["timeout_s"]) from None
            yield cell

    def claims_of(self, name: str) -> list[str]:
        """The names in full, versions of `name`, that have a claim. In no order."""
        files = self._records.names(layout.NAMES, name_of(name))
        return [full for file in files if (full := layout.claimed_by_file(name, file)) is not None]

    def claimed_names(self) -> Iterator[str]:
        """The names (without versions) that have, or had, claims, sorted by their file names."""
        return (name for encoded in self._records.names(layout.NAMES) if (name := id_of(encoded)) is not None)


def claim_key(full: str) -> Key:
    """The record of the claim to a name in full."""
    return (layout.NAMES, *layout.claim_parts(full))
