"""Layout: which file holds what. Pure functions from ids to names; no path is built anywhere else.

::

    <root>/registry.json
    <root>/manifests/<name>/events.jsonl     the truth
    <root>/manifests/<name>/state.json       a snapshot of its fold
    <root>/quarantine/<name>/<offset>-<hash>.bytes

`<name>` is the id with ``:`` and ``/`` percent-encoded (`registration.values.ids.name_of`), one component of
at most 240 bytes. Ids are checked before they come here, and checked again, so a path can't leave the root.
"""

from __future__ import annotations

import hashlib

from registration.values.ids import check_id, name_of

FORMAT = 1
REGISTRY_FILE = "registry.json"
MANIFESTS = "manifests"
QUARANTINE = "quarantine"
LOG_FILE = "events.jsonl"
SNAPSHOT_FILE = "state.json"
TEMPORARY_SUFFIX = ".tmp"

OF_A_MANIFEST = frozenset({LOG_FILE, SNAPSHOT_FILE})
"""What belongs into a manifest's directory; besides, a temporary file while the snapshot is being replaced."""


def directory_of(id: str) -> str:
    """The name of a manifest's directory below `manifests/`.

    Raises:
        InvalidArgument: when `id` is not an id.
    """
    return name_of(check_id(id))


def log_path(id: str) -> str:
    """The path of a manifest's log, relative to the root: what messages call it."""
    return f"{MANIFESTS}/{directory_of(id)}/{LOG_FILE}"


def snapshot_path(id: str) -> str:
    """The path of a manifest's snapshot, relative to the root."""
    return f"{MANIFESTS}/{directory_of(id)}/{SNAPSHOT_FILE}"


def quarantine_snapshot(data: bytes) -> str:
    """The name, in a manifest's quarantine directory, of a snapshot that was set aside."""
    return f"state-{hashlib.sha256(data).hexdigest()[:16]}.json"


def quarantine_file(offset_bytes: int, data: bytes) -> str:
    """The name, in a manifest's quarantine directory, of bytes set aside from `offset_bytes` of its log.

    It follows from the bytes, so setting the same ones aside again ends in the same file.
    """
    return f"{offset_bytes}-{hashlib.sha256(data).hexdigest()[:16]}.bytes"
