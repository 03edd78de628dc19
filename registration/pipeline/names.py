"""`pipeline.names`: the holders of names, and the aliases of names.

A registered manifest holds the name of its document; `resolve` returns the manifest of a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from registration.pipeline.part import M, Part, call, iterate
from registration.values.names import check_alias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from registration.engine.names.answers import AliasedVersion, NameStatus, Resolution
    from registration.values.events import Event, StateSnapshot


class AliasWords(TypedDict, total=False):
    """The arguments of a change of an alias; see `registration.values.commands`."""

    actor: str | None
    reason: str | None
    comment: str | None
    context: Mapping[str, Any] | None
    correlation_id: str | None
    dry_run: bool


class NamesPart(Part[M]):
    """The names of a registry and their aliases."""

    @call
    def resolve(self, name: str) -> Resolution:
        """The manifest that holds a name: ``NAME@VERSION``, ``NAME@ALIAS``, or ``NAME`` for its latest version.

        The cost is independent of the number of manifests.

        Raises:
            NotFound: when it is not held; the closest name is suggested.
        """
        return self._registry.names.resolve(name)

    @iterate
    def held(self, name: str | None = None) -> Iterator[NameStatus]:
        """Every held name, or the versions of one name, in version order."""
        return self._registry.names.held(name)

    @iterate
    def known(self) -> Iterator[str]:
        """Every name, without versions, that has, or had, a holder or aliases, sorted by file name."""
        return self._registry.names.known()

    @call
    def status(self, full_name: str) -> NameStatus:
        """The holder of exactly this name, or that it is free; aliases are not followed."""
        return self._registry.names.status(full_name)

    @call
    def aliases(self, name: str) -> Mapping[str, AliasedVersion]:
        """The aliases of a name, with their versions. `latest` moves automatically."""
        return self._registry.names.aliases(name)

    @call
    def aliases_of(self, state: StateSnapshot) -> list[str]:
        """The aliases that point at a manifest's name, sorted; none if it holds no name."""
        return self._registry.names.pointing_at(state)

    @iterate
    def alias_history(self, name: str) -> Iterator[Event]:
        """The events of the aliases of a name, in order: ``data.alias``, and ``data.target`` if it was moved."""
        return self._registry.names.alias_events(name)

    @call
    def set_alias(self, name: str, alias: str, version: str, **words: Unpack[AliasWords]) -> AliasedVersion:
        """Point an alias of a name at a version, or at the version of another alias.

        It points at exactly these bytes: if another document, or another manifest, holds that version later, the alias
        no longer resolves until it is set again. If it already points there, nothing is written.

        Raises:
            NotFound: when that version is not held.
            InvalidArgument: when the alias is invalid, or is `latest`.
            GuardRefused: when a guard of the policy for `move_alias` disagrees.
        """
        command = self._registry.command(name, words)
        return self._registry.names.set_alias(
            check_alias(alias), version, command, dry_run=words.get("dry_run", False)
        )

    @call
    def remove_alias(self, name: str, alias: str, **words: Unpack[AliasWords]) -> None:
        """Remove an alias.

        Raises:
            NotFound: when the name has no such alias.
            InvalidArgument: as `set_alias`.
            GuardRefused: when a guard of the policy for `remove_alias` disagrees.
        """
        command = self._registry.command(name, words)
        self._registry.names.remove_alias(check_alias(alias), command, dry_run=words.get("dry_run", False))
