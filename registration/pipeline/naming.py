"""`NamingPipeline`: the names of a registry, their aliases, and tags, as programs use them.

A manifest that is registered holds the name that its document gives itself; `resolve` leads from the name to the manifest.
Half of `registration.pipeline.pipeline`, kept by itself so that each can be read in one sitting.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Unpack

from registration.errors import LockTimeout, StoreError, VersionConflict
from registration.pipeline.reader import RegistryReader, as_dict
from registration.values.names import check_alias, check_name, check_tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from registration.core.store import Step
    from registration.engine.names.answers import AliasedVersion, NameStatus, Resolution
    from registration.evidence.verification import Finding
    from registration.pipeline.results import TransitionResult, WordsWithReason
    from registration.values.events import Event
    from registration.values.snapshots import StateSnapshot

_log = logging.getLogger("registration")


class NamingPipeline(RegistryReader):
    """Names, aliases and tags over one store. Safe to share between threads."""

    # -- names ---------------------------------------------------------------------------------------------

    def resolve(self, name: str) -> Resolution:
        """The manifest that holds a name: ``NAME@VERSION``, ``NAME@ALIAS``, or ``NAME`` for its latest version.

        Costs the same among however many manifests.

        Raises:
            NotFound: when nobody holds it; what was probably meant is suggested.
        """
        self._open()
        return self._names.resolve(name)

    def names(self, name: str | None = None) -> Iterator[NameStatus]:
        """Every name that is held, or those of one name without its version, each name's versions in their order."""
        self._open()
        return self._names.held(name)

    def name_status(self, full_name: str) -> NameStatus:
        """Who holds this very name, or that it is free; no alias is followed."""
        self._open()
        return self._names.status(full_name)

    # -- aliases -------------------------------------------------------------------------------------------

    def aliases(self, name: str) -> Mapping[str, AliasedVersion]:
        """By alias, which version of a name it points at. `latest` moves by itself."""
        self._open()
        return self._names.aliases(name)

    def aliases_of(self, state: StateSnapshot) -> list[str]:
        """The aliases that point at what a manifest is registered as, sorted; none where it holds no name."""
        self._open()
        return self._names.pointing_at(state)

    def alias_history(self, name: str) -> Iterator[Event]:
        """What happened to the aliases of a name, in order: ``data.alias``, and ``data.target`` where it was moved."""
        self._open()
        return self._names.alias_events(name)

    def set_alias(
        self,
        name: str,
        alias: str,
        version: str,
        *,
        actor: str | None = None,
        reason: str | None = None,
        comment: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
    ) -> AliasedVersion:
        """Have an alias of a name point at a version, or at the one that another alias points at.

        It points at these very bytes: where another document, or another manifest, holds that version later, the alias
        resolves no more until it is set anew. Where it points there already, nothing is written.

        Raises:
            NotFound: when nobody holds that version.
            InvalidArgument: when it is no alias, or is `latest`.
        """
        said = {"actor": actor, "reason": reason, "comment": comment, "context": as_dict(context)}
        words = self._words(name, correlation_id=correlation_id, **said)
        return self._names.set_alias(name, check_alias(alias), version, **words)

    def remove_alias(
        self,
        name: str,
        alias: str,
        *,
        actor: str | None = None,
        reason: str | None = None,
        comment: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """Take an alias away.

        Raises:
            NotFound: when the name has no such alias.
            InvalidArgument: as `set_alias`.
        """
        said = {"actor": actor, "reason": reason, "comment": comment, "context": as_dict(context)}
        words = self._words(name, correlation_id=correlation_id, **said)
        self._names.remove_alias(name, check_alias(alias), **words)

    # -- tags ----------------------------------------------------------------------------------------------

    def tag(
        self, manifest_id: str, tags: Iterable[str] | str, **said: Unpack[WordsWithReason]
    ) -> TransitionResult:
        """Give a manifest tags, whatever its state. Approvals stay. Takes what `act` takes.

        tags: one, or several; those that it has already are passed over.

        Raises:
            Rejected: when it has all of them already, or would have too many.
            GuardRefused: when the policy says no: it may name the action `tag`.
            InvalidArgument: when one of them can't be a tag.
        """
        return self._transition(manifest_id, action="tag", tags=_checked(tags), **said)

    def untag(
        self, manifest_id: str, tags: Iterable[str] | str, **said: Unpack[WordsWithReason]
    ) -> TransitionResult:
        """Take tags away from a manifest. Otherwise as `tag`; the policy's name for it is `untag`.

        Raises:
            Rejected: when it has none of them.
        """
        return self._transition(manifest_id, action="untag", tags=_checked(tags), **said)

    # -- what a crash left -----------------------------------------------------------------------------------

    def known_names(self) -> Iterator[str]:
        """Every name, without versions, that has or had claims or aliases: what `recover_name` and `verify_name` take."""
        self._open()
        return self._names.known()

    def recover_name(self, name: str, *, dry_run: bool = False) -> tuple[Step, ...]:
        """Finish or take back what a crash left of the claims and aliases of a name, saying what was done.

        Whoever wants the name, or resolves it, does the same. dry_run: change nothing, and say what would be done.
        """
        from registration.engine.names.upkeep import recover  # noqa: PLC0415  # most programs never need it

        self._open()
        return recover(self._names, check_name(name).name, dry_run=dry_run)

    def verify_name(self, name: str) -> tuple[Finding, ...]:
        """Check the claims of a name, and every byte of the log of its aliases, changing nothing."""
        from registration.engine.names.upkeep import verify  # noqa: PLC0415  # as above

        self._open()
        return tuple(verify(self._names, check_name(name).name))

    # -- inside ----------------------------------------------------------------------------------------------

    @abstractmethod
    def _transition(self, manifest_id: str, **request: Any) -> TransitionResult:
        """Carry out a command: the pipeline's."""

    def _mend(self, state: StateSnapshot, *, dry_run: bool) -> tuple[Step, ...]:
        """The claim of a manifest that was recovered; where that can't be had, the manifest is recovered all the same."""
        from registration.engine.names.upkeep import mend  # noqa: PLC0415  # as above

        try:
            return tuple(mend(self._names, state, dry_run=dry_run))
        except (StoreError, LockTimeout, VersionConflict) as error:
            _log.warning("%s: its name %r could not be looked after: %s", state.stream, state.name, error)
            return ()

    def _words(self, name: str, **said: Any) -> dict[str, Any]:
        """What accompanies a change of an alias, checked."""
        from registration.values.requests import Request  # noqa: PLC0415  # pydantic: not for who only reads

        self._open()
        if said["actor"] is None:
            said["actor"] = self._actor
        request = Request.of(name, said)
        return {word: getattr(request, word) for word in said}


def _checked(tags: Iterable[str] | str) -> tuple[str, ...]:
    return check_tags([tags] if isinstance(tags, str) else list(tags))
