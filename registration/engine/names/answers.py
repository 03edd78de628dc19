"""What is said of names: what one stands for, who holds it, what an alias points at."""

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

    version: of the name; None where the document has none. manifest_id: which held it. digest: of the document that
    it was registered with.
    """

    version: str | None
    manifest_id: str
    digest: str | None

    def as_json(self) -> dict[str, Any]:
        """The target as one JSON object."""
        return {"version": self.version, "manifest_id": self.manifest_id, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a name stands for.

    name, version: taken apart; version: None where the document has none. alias: the one that was followed. manifest_id,
    state, manifest_version: who holds it, and where that stands. digest: of the document that the name was claimed for.
    same_document: whether the manifest's document is still that one. time: since when it holds the name.
    """

    name: str
    version: str | None
    alias: str | None
    manifest_id: str
    state: str
    manifest_version: int
    digest: str | None
    same_document: bool
    time: str

    @property
    def full_name(self) -> str:
        """The name with its version."""
        return str(Name(self.name, self.version))


@dataclass(frozen=True, slots=True)
class NameStatus:
    """One name in full. holder: None where it is free.

    unfinished: there is a reservation that is worth nothing: a registration is going on at this moment, or was cut short.
    """

    full_name: str
    holder: Resolution | None
    unfinished: bool


def resolution_of(held: StateSnapshot, alias: str | None = None) -> Resolution:
    """What a manifest that holds a name stands for."""
    assert held.name is not None
    name, named = split_name(held.name), held.facts["named"]
    return Resolution(
        name=name.name,
        version=name.version,
        alias=alias,
        manifest_id=held.stream,
        state=held.state,
        manifest_version=held.version,
        digest=named["digest"],
        same_document=named["digest"] == held.digest,
        time=named["time"],
    )


def aliased_version(found: Resolution) -> AliasedVersion:
    """What an alias points at that is to lead to the same."""
    return AliasedVersion(found.version, found.manifest_id, found.digest)


def aliased_versions(state: StateSnapshot | None) -> dict[str, AliasedVersion]:
    """By alias, what it points at; none where the name never had any."""
    found: Mapping[str, Any] = state.facts.get("aliases", {}) if state is not None else {}
    return {
        alias: AliasedVersion(target["version"], target["manifest_id"], target["digest"])
        for alias, target in found.items()
    }


def status_order(status: NameStatus) -> tuple[Rank, str, str]:
    """Versions in their order; what is equal in that, by time."""
    time = status.holder.time if status.holder is not None else ""
    return (version_rank(split_name(status.full_name).version), time, status.full_name)
