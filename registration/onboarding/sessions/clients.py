"""Clients that sessions are bound to, as keyed hashes: what an address or a fingerprint was can't be read from a log.

The key is in `clients.key` of the registry, 64 hex digits, readable by its owner only. Without it a bound session can't be
acted on any more; it can still be read.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable

from registration.errors import LockTimeout, StoreError
from registration.storage import layout
from registration.storage.disk import (
    Disk,
    failures_named,
    given_back,
    let_go_by_children,
    opened_directory,
    read_span,
    replace_atomic,
)

_KEY = re.compile(rb"[0-9a-f]{64}\n")


def client_hash(key: bytes, session: str, client: str) -> str:
    """What a log says of a client. The session is in it: the same client of two sessions can't be told from others."""
    return "hmac-sha256:" + hmac.new(key, f"{session}\0{client}".encode(), hashlib.sha256).hexdigest()


def client_key(
    disk: Disk, root: str, randbytes: Callable[[int], bytes], *, lock_timeout_s: float = 10.0
) -> bytes:
    """The registry's key; it is made where there is none.

    Raises:
        LockTimeout: when somebody else was writing in the root all the time.
        StoreError: when it isn't a key, or the disk refuses.
    """
    with failures_named("reading", layout.CLIENT_KEY_FILE), opened_directory(disk, root) as directory:
        if (found := _read(disk, directory)) is not None:
            return found
        with let_go_by_children(disk, directory):
            if not disk.lock(directory, lock_timeout_s):
                raise LockTimeout(root, lock_timeout_s)
            if (found := _read(disk, directory)) is not None:
                return found
            key = randbytes(32).hex().encode()
            temporary = layout.CLIENT_KEY_FILE + layout.TEMPORARY_SUFFIX
            replace_atomic(disk, directory, layout.CLIENT_KEY_FILE, temporary, key + b"\n")
            disk.sync(directory)
            return key


def _read(disk: Disk, directory: int) -> bytes | None:
    try:
        with given_back(disk, disk.open(layout.CLIENT_KEY_FILE, os.O_RDONLY, dir_fd=directory)) as fd:
            raw = read_span(disk, fd, 0, 128)
    except FileNotFoundError:
        return None
    if not _KEY.fullmatch(raw):
        raise StoreError(
            f"{layout.CLIENT_KEY_FILE} is not a key: expected 64 hex digits and a line feed.",
            "Restore it from a backup: sessions that are bound to a client can't continue without it.",
        )
    return raw[:-1]
