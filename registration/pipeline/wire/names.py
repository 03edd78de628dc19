"""Names and aliases, as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.pipeline.wire.marks import dry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registration.engine.names.answers import AliasedVersion, NameStatus, Resolution


def resolution(found: Resolution) -> dict[str, Any]:
    """What a name stands for."""
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
    """One name in full, and who holds it."""
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
    """What an alias of a name points at."""
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
    """What an alias points at now, and whether it did not before."""
    return {**alias(name, word, target), "moved": moved, **dry(dry_run)}


def alias_removed(name: str, word: str, *, dry_run: bool = False) -> dict[str, Any]:
    """An alias that there is no more."""
    return {"name": name, "alias": word, "removed": True, **dry(dry_run)}
