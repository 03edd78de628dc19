"""`registry.json`: the file that makes a directory a registry, and identifies it.

Created once, and last of all: if it exists, the directories around it are durable.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from registration.errors import CorruptRegistry, LockTimeout, Next, NotFound
from registration.storage import layout
from registration.storage.disk import (
    Disk,
    ensure_directory,
    failures_named,
    given_back,
    opened_directory,
    read_whole,
    replace_atomic,
)
from registration.storage.files.blobs import write_blob
from registration.values.documents import DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MIN, canonical, digest_of_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.storage.ports import Key


@dataclass(frozen=True, slots=True)
class RegistryFile:
    """id: UUID version 7. definition: the lifecycle's name. document_bytes_max: the maximal size of a document.

    lifecycle: the name, version and digest of the lifecycle in force, which is stored in `rules/`; None in a registry of an earlier
    release, which uses the lifecycle of the package. earlier: those that were in force before.
    log: the `version` of the registry's own log, and the hash (`head`) of its line; None before there is one, as in a registry of
    an earlier release. The log may be ahead of it: it is replaced after each change.
    """

    id: str
    created_at: str
    definition: str
    document_bytes_max: int = DOCUMENT_BYTES_MAX
    lifecycle: Mapping[str, Any] | None = None
    earlier: tuple[Mapping[str, Any], ...] = ()
    log: Mapping[str, Any] | None = None

    @property
    def source(self) -> str:
        """The registry's name in events."""
        return f"urn:uuid:{self.id}"

    def encode(self) -> bytes:
        """The file's bytes: indented JSON."""
        members: dict[str, Any] = {
            "format": layout.FORMAT,
            "id": self.id,
            "created_at": self.created_at,
            "definition": self.definition,
        }
        if self.lifecycle is not None:
            members["lifecycle"] = self.lifecycle
        if self.earlier:
            members["earlier"] = list(self.earlier)
        if self.log is not None:
            members["log"] = self.log
        members["settings"] = {"document_bytes_max": self.document_bytes_max}
        return orjson.dumps(members, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def make_registry(
    disk: Disk,
    root: str,
    wanted: RegistryFile,
    *,
    lifecycle: Any = None,
    lock_timeout_s: float = 10.0,
) -> bool:
    """Create a registry in `root`, with missing directories above it.

    lifecycle: the data of `wanted.lifecycle`, to be stored by its digest.

    Returns whether this call created it; False if there was one, which is left unchanged. Of several concurrent processes, one
    creates it: the lock is on the root itself. On return, the registry is durable; after a kill, the next call completes it.

    Raises:
        CorruptRegistry: when manifests are there without a `registry.json`.
        LockTimeout: when another process held the lock all the time, creating it.
        StoreError: on disk errors.
    """
    with failures_named("creating the registry", root):
        _make_path(disk, root)
        with opened_directory(disk, root) as directory:
            if layout.REGISTRY_FILE in disk.names(directory):
                return False
            if not disk.lock(directory, lock_timeout_s):
                raise LockTimeout(root, lock_timeout_s)
            names = disk.names(directory)
            if layout.REGISTRY_FILE in names:
                return False
            if layout.MANIFESTS in names:
                _refuse_orphans(disk, root, directory)
            ensure_directory(disk, layout.MANIFESTS, dir_fd=directory)
            if wanted.lifecycle is not None:
                write_blob(disk, directory, *_blob_of(wanted.lifecycle, lifecycle))
            temporary = layout.REGISTRY_FILE + layout.TEMPORARY_SUFFIX
            replace_atomic(disk, directory, layout.REGISTRY_FILE, temporary, wanted.encode())
            disk.sync(directory)
            return True


def _blob_of(named: Mapping[str, Any], lifecycle: Any) -> tuple[Key, bytes]:
    data = canonical(lifecycle)
    assert digest_of_bytes(data) == named["digest"]
    return (layout.RULES, "lifecycles", layout.rule_file(named["digest"])), data


def registry_bytes(disk: Disk, root: str) -> bytes:
    """The bytes of `registry.json`.

    Raises:
        NotFound: when there is none.
        StoreError: when it can't be read.
    """
    path = os.path.join(root, layout.REGISTRY_FILE)
    try:
        with failures_named("reading", path), given_back(disk, disk.open(path, os.O_RDONLY)) as fd:
            return read_whole(disk, fd)
    except Exception as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            raise NotFound(
                f"There is no registry at {root}.", "Make one.", Next(operation="init", id=root), root=root
            ) from None
        raise


def read_registry(disk: Disk, root: str) -> RegistryFile:
    """Read `registry.json`.

    Raises:
        NotFound, StoreError: as `registry_bytes`.
        CorruptRegistry: as `parse_registry`.
    """
    return parse_registry(root, registry_bytes(disk, root))


def parse_registry(root: str, raw: bytes) -> RegistryFile:
    """Parse `registry.json`.

    Raises:
        CorruptRegistry: when it isn't a registry file, or has a later format.
    """
    path = os.path.join(root, layout.REGISTRY_FILE)
    try:
        members = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _corrupt(path, f"it is not JSON ({error})") from None
    return _parse(path, members)


def _parse(path: str, members: Any) -> RegistryFile:
    if type(members) is not dict or "format" not in members:
        raise _corrupt(path, "it has no `format`")
    if members["format"] != layout.FORMAT:
        raise CorruptRegistry(
            f"{path} has format {members['format']!r}; this release reads format {layout.FORMAT}.",
            "Upgrade to the release that created it.",
            path=path,
        )
    settings = members.get("settings")
    if type(settings) is not dict:
        raise _corrupt(path, "it has no `settings`")
    limit = settings.get("document_bytes_max", DOCUMENT_BYTES_MAX)
    if type(limit) is not int or limit < DOCUMENT_BYTES_MIN:
        raise _corrupt(path, f"`document_bytes_max` is {limit!r}; a number of bytes, 2 or more, is expected")
    return RegistryFile(
        id=_text(path, members, "id"),
        created_at=_text(path, members, "created_at"),
        definition=_text(path, members, "definition"),
        document_bytes_max=limit,
        lifecycle=_identity(path, "lifecycle", members["lifecycle"]) if "lifecycle" in members else None,
        earlier=_earlier(path, members.get("earlier", [])),
        log=_log(path, members["log"]) if "log" in members else None,
    )


def _log(path: str, value: Any) -> Mapping[str, Any]:
    shape = {"version": int, "head": str}
    if type(value) is not dict or {member: type(found) for member, found in value.items()} != shape:
        raise _corrupt(path, f"`log` is {value!r}; a version and the hash of a line are expected")
    if value["version"] < 1:
        raise _corrupt(path, f"`log` has version {value['version']}; 1 or more is expected")
    return value


def _earlier(path: str, value: Any) -> tuple[Mapping[str, Any], ...]:
    if type(value) is not list:
        raise _corrupt(path, f"`earlier` is {value!r}; a list is expected")
    return tuple(_identity(path, "earlier", one) for one in value)


def _identity(path: str, name: str, value: Any) -> Mapping[str, Any]:
    shape = {"name": str, "version": int, "digest": str}
    if type(value) is not dict or {member: type(found) for member, found in value.items()} != shape:
        raise _corrupt(path, f"`{name}` is {value!r}; a name, a version and a digest are expected")
    return value


def _text(path: str, members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise _corrupt(path, f"`{name}` is {value!r}; text is expected")
    return value


def _corrupt(path: str, reason: str) -> CorruptRegistry:
    return CorruptRegistry(
        f"{path} is not a valid registry file: {reason}.",
        "Nothing was changed. Restore the file from a backup, or choose another directory.",
        path=path,
        reason=reason,
    )


def _make_path(disk: Disk, root: str) -> None:
    """Create a directory durably, with missing directories above it."""
    above, name = os.path.split(root)
    try:
        disk.status_at(root)
    except FileNotFoundError:
        _make_path(disk, above)
        with opened_directory(disk, above) as parent:
            ensure_directory(disk, name, dir_fd=parent)
    else:
        # Its creator may not have synced it; if its parent can't be opened, that is left to the creator.
        with suppress(PermissionError), opened_directory(disk, above) as parent:
            disk.sync(parent)


def _refuse_orphans(disk: Disk, root: str, directory: int) -> None:
    # With a new id, every existing log would seem to come from another registry.
    with opened_directory(disk, layout.MANIFESTS, dir_fd=directory) as manifests:
        if disk.names(manifests):
            path = os.path.join(root, layout.REGISTRY_FILE)
            raise CorruptRegistry(
                f"{os.path.join(root, layout.MANIFESTS)} holds manifests, but {path} is missing.",
                "Restore it from a backup: each event has the registry's id as its `source`.",
                path=path,
            )
