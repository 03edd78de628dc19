"""`registry.json`, changed as a migration does, on any disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from registration.engine.governance import Governance
from registration.rules.lifecycles.loading import definition_of
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage import layout
from registration.storage.disk import Disk
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile, read_registry
from registration.values.commands import command


def put_in_force(disk: Disk, root: str, expected: RegistryFile, new: RegistryFile, lifecycle: Any) -> None:
    """Put another lifecycle in force, in a process of its own."""

    def resolve(registry: RegistryFile, kept: Any) -> Any:
        if registry.lifecycle is None:
            return REGISTRATION
        return definition_of(kept("lifecycles", registry.lifecycle["digest"]))

    store = open_files(root, resolve, disk=disk)
    assert new.lifecycle is not None
    store.keep("lifecycles", new.lifecycle["digest"], lifecycle)
    migrating = command(layout.REGISTRY, {}, action="migrate_lifecycle")
    Governance(store).record(migrating, lifecycle=new.lifecycle, instead_of=expected.lifecycle)
    store.close()


def without_log(disk: Disk, root: str) -> RegistryFile:
    """What `registry.json` says, but for the registry's own log."""
    return replace(read_registry(disk, root), log=None)
