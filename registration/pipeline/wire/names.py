"""Names and aliases, as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.pipeline.wire.marks import dry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registration.engine.names.answers import AliasedVersion, NameStatus, Resolution


def resolution(found: Resolution) -> dict[str, Any]:
    """The resolution of a name."""
    return {
        "full_name": found.full_name,
        "name": found.name,
        "version": found.version,
        "alias": found.alias,
        "manifest_id": found.manifest_id,
        "state": found.state,
        "manifest_version": found.manifest_version,
        "digest": found.digest,
        "same_document": found.same_document,
        "time": found.time,
    }


def name(found: NameStatus) -> dict[str, Any]:
    """One full name, and its holder."""
    return {
        "full_name": found.full_name,
        "held": found.holder is not None,
        "unfinished": found.unfinished,
        "holder": resolution(found.holder) if found.holder is not None else None,
    }


def name_and_aliases(found: NameStatus, aliases: Sequence[str]) -> dict[str, Any]:
    """The same, and the aliases that point at its holder."""
    return {**name(found), "aliases": list(aliases)}


def alias(name: str, word: str, target: AliasedVersion) -> dict[str, Any]:
    """The target of an alias."""
    return {
        "name": name,
        "alias": word,
        "version": target.version,
        "manifest_id": target.manifest_id,
        "digest": target.digest,
    }


def alias_set(
    name: str, word: str, target: AliasedVersion, *, moved: bool, dry_run: bool = False
) -> dict[str, Any]:
    """The target of an alias, and whether it has changed."""
    return {**alias(name, word, target), "moved": moved, **dry(dry_run)}


def alias_removed(name: str, word: str, *, dry_run: bool = False) -> dict[str, Any]:
    """A removed alias."""
    return {"name": name, "alias": word, "removed": True, **dry(dry_run)}
