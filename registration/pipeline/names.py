"""`pipeline.names`: who holds which name, and where the aliases of a name point.

A manifest that is registered holds the name that its document gives itself; `resolve` leads from the name to the manifest.
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
    """What may accompany a change of an alias; `registration.values.commands` says what each is."""

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

        Costs the same among however many manifests.

        Raises:
            NotFound: when nobody holds it; what was probably meant is suggested.
        """
        return self._registry.names.resolve(name)

    @iterate
    def held(self, name: str | None = None) -> Iterator[NameStatus]:
        """Every name that is held, or those of one name without its version, each name's versions in their order."""
        return self._registry.names.held(name)

    @iterate
    def known(self) -> Iterator[str]:
        """Every name, without versions, that has or had a holder or aliases, sorted by their file names."""
        return self._registry.names.known()

    @call
    def status(self, full_name: str) -> NameStatus:
        """Who holds this very name, or that it is free; no alias is followed."""
        return self._registry.names.status(full_name)

    @call
    def aliases(self, name: str) -> Mapping[str, AliasedVersion]:
        """By alias, which version of a name it points at. `latest` moves by itself."""
        return self._registry.names.aliases(name)

    @call
    def aliases_of(self, state: StateSnapshot) -> list[str]:
        """The aliases that point at what a manifest is registered as, sorted; none where it holds no name."""
        return self._registry.names.pointing_at(state)

    @iterate
    def alias_history(self, name: str) -> Iterator[Event]:
        """What happened to the aliases of a name, in order: ``data.alias``, and ``data.target`` where it was moved."""
        return self._registry.names.alias_events(name)

    @call
    def set_alias(self, name: str, alias: str, version: str, **words: Unpack[AliasWords]) -> AliasedVersion:
        """Have an alias of a name point at a version, or at the one that another alias points at.

        It points at these very bytes: where another document, or another manifest, holds that version later, the alias
        resolves no more until it is set anew. Where it points there already, nothing is written.

        Raises:
            NotFound: when nobody holds that version.
            InvalidArgument: when it is no alias, or is `latest`.
        """
        command = self._registry.command(name, words)
        return self._registry.names.set_alias(
            check_alias(alias), version, command, dry_run=words.get("dry_run", False)
        )

    @call
    def remove_alias(self, name: str, alias: str, **words: Unpack[AliasWords]) -> None:
        """Take an alias away.

        Raises:
            NotFound: when the name has no such alias.
            InvalidArgument: as `set_alias`.
        """
        command = self._registry.command(name, words)
        self._registry.names.remove_alias(check_alias(alias), command, dry_run=words.get("dry_run", False))
