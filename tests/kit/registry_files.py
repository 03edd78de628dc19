"""`registry.json`, changed as a migration does, on any disk."""

from __future__ import annotations

from typing import Any

from registration.storage.disk import Disk
from registration.storage.files.blobs import FileBlobs
from registration.storage.files.records import FileRecords
from registration.storage.files.registry_file import RegistryFile, replace_registry


def put_in_force(disk: Disk, root: str, expected: RegistryFile, new: RegistryFile, lifecycle: Any) -> None:
    """Put another lifecycle in force, in a process of its own."""
    blobs = FileBlobs(disk, root, lock_timeout_s=10.0)
    replace_registry(FileRecords(disk, root), blobs, root, expected, new, lifecycle)
