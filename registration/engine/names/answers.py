"""Answers about names: their resolution, their holders, the targets of aliases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registration.values.names import Name, Rank, split_name, version_rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.values.events import StateSnapshot


@dataclass(frozen=True, slots=True)
class AliasedVersion:
    """The version of a name that an alias points at.

    version: of the name; None if the document has none. manifest_id: the manifest that held it. digest: of the document with which
    it was registered.
    """

    version: str | None
    manifest_id: str
    digest: str | None

    def as_json(self) -> dict[str, Any]:
        """The target as one JSON object."""
        return {"version": self.version, "manifest_id": self.manifest_id, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class Resolution:
    """The resolution of a name.

    name, version: the parts of the name; version: None if the document has none. alias: the alias that was followed. manifest_id,
    state, manifest_version, head: the holder, its state, and the hash at the end of its log. digest: of the document for which the name was claimed. same_document:
    whether the manifest still has that document. time: when it was claimed.
    """

    name: str
    version: str | None
    alias: str | None
    manifest_id: str
    state: str
    manifest_version: int
    head: str
    digest: str | None
    same_document: bool
    time: str

    @property
    def full_name(self) -> str:
        """The name with its version."""
        return str(Name(self.name, self.version))


@dataclass(frozen=True, slots=True)
class NameStatus:
    """One name in full. holder: None if it is free.

    unfinished: the reservation has no effect: a registration is in progress, or was interrupted.
    """

    full_name: str
    holder: Resolution | None
    unfinished: bool


def resolution_of(held: StateSnapshot, alias: str | None = None) -> Resolution:
    """The resolution of a name, from the manifest that holds it."""
    assert held.name is not None
    name, named = split_name(held.name), held.facts["named"]
    return Resolution(
        name=name.name,
        version=name.version,
        alias=alias,
        manifest_id=held.stream,
        state=held.state,
        manifest_version=held.version,
        head=held.position.head,
        digest=named["digest"],
        same_document=named["digest"] == held.digest,
        time=named["time"],
    )


def aliased_version(found: Resolution) -> AliasedVersion:
    """The target of an alias with the same resolution."""
    return AliasedVersion(found.version, found.manifest_id, found.digest)


def seen_of(found: Resolution) -> dict[str, Any]:
    """What a decision on that resolution saw: `holder`, the version of the manifest and the hash of its log (`Command.seen`)."""
    return {"holder": {"version": found.manifest_version, "hash": found.head}}


def aliased_versions(state: StateSnapshot | None) -> dict[str, AliasedVersion]:
    """The targets by alias; empty if the name never had any."""
    found: Mapping[str, Any] = state.facts.get("aliases", {}) if state is not None else {}
    return {
        alias: AliasedVersion(target["version"], target["manifest_id"], target["digest"])
        for alias, target in found.items()
    }


def status_order(status: NameStatus) -> tuple[Rank, str, str]:
    """Versions in their order; equal ones by time."""
    time = status.holder.time if status.holder is not None else ""
    return (version_rank(split_name(status.full_name).version), time, status.full_name)
