"""Clients that sessions are bound to, as keyed hashes: what an address or a fingerprint was can't be read from a log.

The key is in `clients.key` of the registry, 64 hex digits, readable by its owner only. Without it a bound session can't be
acted on any more; it can still be read.
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
    """What a log says of a client. The session is in it: the same client of two sessions can't be told from others."""
    return "hmac-sha256:" + hmac.new(key, f"{session}\0{client}".encode(), hashlib.sha256).hexdigest()


def client_key(records: Records, randbytes: Callable[[int], bytes]) -> bytes:
    """The registry's key; it is made where there is none.

    Raises:
        LockTimeout: when another process was making it all the time.
        StoreError: when it isn't a key, or the disk refuses.
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
