"""Clients that sessions are bound to, as keyed hashes, so that addresses and fingerprints can't be read from a log.

The key is in `clients.key` of the registry, 64 hex digits, readable by its owner only. Without it a bound session can't be
continued; it can still be read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from registration.errors import StoreError
from registration.storage import layout
from registration.storage.records import made_as

if TYPE_CHECKING:
    from registration.storage.ports import Records

_RECORD = (layout.CLIENT_KEY_FILE,)
_KEY = re.compile(rb"[0-9a-f]{64}\n")


def client_hash(key: bytes, session: str, client: str) -> str:
    """The hash of a client in a log. It includes the session, so that a client of two sessions can't be recognized."""
    return "hmac-sha256:" + hmac.new(key, f"{session}\0{client}".encode(), hashlib.sha256).hexdigest()


def client_key(records: Records, randbytes: Callable[[int], bytes]) -> bytes:
    """The registry's key; created if it is missing.

    Raises:
        LockTimeout: when another process held its lock all the time.
        StoreError: when it is invalid, or on disk errors.
    """
    found = records.read(_RECORD)
    if not found:
        with made_as(layout.CLIENT_KEY_FILE, records, _RECORD) as cell:
            found = cell.read()
            if not found:
                found = randbytes(32).hex().encode() + b"\n"
                cell.write(found)
    if not _KEY.fullmatch(found):
        raise StoreError(
            f"{layout.CLIENT_KEY_FILE} is not a key: expected 64 hex digits and a line feed.",
            "Restore it from a backup: sessions that are bound to a client can't continue without it.",
        )
    return found[:-1]
