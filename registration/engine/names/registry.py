"""The names of one registry: resolving them, moving their aliases, and completing what a crash interrupted.

Answers rest on the logs: a reservation only says where to look, and the manifest's own log tells whether it holds the name. So
half-done changes are never visible, and completing them is an optional service, done if possible.

`latest` moves by itself, by an event caused by the one that claimed or released a version. The move is decided on the versions
held at that moment, and retried if another process moved an alias meanwhile: the last writer has seen all of them. A crash
between the two events is healed by the next resolution of the name.
"""

from __future__ import annotations

import heapq
import logging
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from registration.core.decider import nearest
from registration.core.explanation import Explanation
from registration.core.facts import action_of
from registration.core.policy import Answer, Verdict
from registration.engine.names.alias_logs import Change
from registration.engine.names.answers import (
    AliasedVersion,
    NameStatus,
    Resolution,
    aliased_version,
    resolution_of,
    seen_of,
    status_order,
)
from registration.engine.names.reservations import NameReservations
from registration.errors import (
    InvalidArgument,
    LockTimeout,
    Next,
    NotFound,
    RegistrationError,
    StoreError,
)
from registration.values.commands import Command
from registration.values.ids import name_of, own_name
from registration.values.names import (
    LATEST,
    Name,
    Rank,
    check_alias,
    check_name,
    is_alias,
    split_name,
    version_rank,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from registration.core.definition import Definition
    from registration.engine.names.alias_logs import AliasLogs
    from registration.engine.trial import Trial
    from registration.storage.ledger import Ledger
    from registration.storage.ports import Key
    from registration.storage.reports import Stray
    from registration.values.events import Event, Position, StateSnapshot

_log = logging.getLogger("registration")

SUGGESTIONS_MAX = 10_000
"""How many names are searched for a suggestion."""


class Names:
    """Names, reservations and aliases over one store. Safe to share between threads.

    The engine of the manifests holds it during commits: see `registration.engine.engine.Reservations`.
    """

    def __init__(self, store: Ledger, logs: AliasLogs) -> None:
        self.reservations = NameReservations(store)
        self.logs = logs
        self._store = store

    # -- while an event is committed -------------------------------------------------------------------------

    @contextmanager
    def held_for(
        self, stream: str, after: Position, events: Sequence[Event]
    ) -> Iterator[Mapping[Key, bytes | None]]:
        """See `Reservations.held_for`. The consequences of the events are applied before it ends, if possible."""
        claimed = {event.data["claimed"]: event for event in events if "claimed" in event.data}
        with ExitStack() as held:
            # In a fixed order, so that two writers of the same names don't deadlock.
            given = dict(
                held.enter_context(self.reservations.reserved(full, stream, after, claimed[full].time))
                for full in sorted(claimed)
            )
            yield given
        # Committed. Nothing below may report a failure.
        for event in events:
            self._follow(event)

    def check_free(self, stream: str, events: Sequence[Event], trial: Trial) -> None:
        """See `Reservations.check_free`."""
        reservations = NameReservations(trial)
        for event in events:
            if (full := event.data.get("claimed")) is not None:
                reservations.check_free(full, stream, trial.would_hold(full))

    def other_holder(self, full: str, stream: str) -> Mapping[str, Any] | None:
        """See `Reservations.other_holder`."""
        reservation = self.reservations.find(full)
        if reservation is None or reservation.manifest_id == stream:
            return None
        try:
            held = self._store.load(reservation.manifest_id)
        except RegistrationError as error:
            _log.info("%s: whether it holds %r is unknown: %s", reservation.manifest_id, full, error)
            return None
        if held is None or held.name != full:
            return None
        return {"manifest_id": held.stream, "version": held.version, "hash": held.position.head}

    def _follow(self, event: Event) -> None:
        """Remove the reservation that an event released, and move `latest`."""
        for word in ("released", "claimed"):
            full = event.data.get(word)
            if full is None:
                continue
            try:
                if word == "released":
                    self.reservations.settle(full)
                self.move_latest(split_name(full).name, cause=event)
            except RegistrationError as error:
                _log.warning(
                    "%s: the consequences of version %d are postponed: %s",
                    event.subject,
                    event.version,
                    error,
                )

    # -- questions -------------------------------------------------------------------------------------------

    def resolve(self, text: str, *, mending: bool = True) -> Resolution:
        """The manifest that holds a name: ``NAME@VERSION``, ``NAME@ALIAS``, or ``NAME`` for its latest version.

        The cost does not depend on the number of manifests; ``NAME`` and ``NAME@latest`` list the versions of that name.
        mending: complete what a crash interrupted on that name, if possible.

        Raises:
            NotFound: when no manifest holds it; the closest name is suggested.
            InvalidArgument: when no document can have that name.
            CorruptLog, LockTimeout, StoreError: as `Ledger.load`.
        """
        asked = check_name(text)
        if asked.version is None or asked.version == LATEST:
            return self._resolved_latest(asked.name, mending=mending)
        if is_alias(asked.version):
            target = self.aliases(asked.name).get(asked.version)
            if target is not None:
                return self._resolved_alias(asked, target)
        held = self.reservations.holder(text)
        if held is None:
            if mending:
                self._tidy(text)
            raise self._unknown(asked)
        return resolution_of(held)

    def status(self, text: str) -> NameStatus:
        """The holder of a full name, or that it is free."""
        full = str(check_name(text))
        held = self.reservations.holder(full)
        holder = None if held is None else resolution_of(held)
        return NameStatus(full, holder, held is None and self.reservations.exists(full))

    def held(self, name: str | None = None) -> Iterator[NameStatus]:
        """All full names that are held or reserved, or those of one name; versions in their order."""
        names: Iterable[str] = self.reservations.names() if name is None else (check_name(name).name,)
        for one in names:
            found = [self.status(full) for full in self.reservations.versions(one)]
            yield from sorted(found, key=status_order)

    def aliases(self, name: str) -> dict[str, AliasedVersion]:
        """The targets of a name's aliases, by alias, from their log."""
        return self.logs.targets(check_name(name).name)

    def pointing_at(self, state: StateSnapshot) -> list[str]:
        """The aliases that point at the name that a manifest holds, with its registered document, sorted."""
        if state.name is None:
            return []
        found = resolution_of(state)
        aliases = self.aliases(found.name)
        return sorted(alias for alias, target in aliases.items() if target == aliased_version(found))

    def alias_events(self, name: str) -> Iterator[Event]:
        """The events of a name's aliases, in order; empty if it never had any."""
        name = check_name(name).name
        if self.logs.store.load(name) is not None:
            yield from self.logs.store.read(name)

    # -- moving aliases --------------------------------------------------------------------------------------

    def set_alias(
        self, alias: str, version: str, command: Command, *, dry_run: bool = False
    ) -> AliasedVersion:
        """Point an alias at a version that is held now. If it already does, nothing is written.

        version: or another alias, for its target. command: the name, the actor and the reason. dry_run: decide, and write
        nothing.

        Raises:
            NotFound: when no manifest holds that version.
            InvalidArgument: when the alias is invalid, is `latest`, or equals a version.
            GuardRefused: when a guard of the policy, for `move_alias`, disagrees.
        """
        name = command.stream
        self._check_movable(name, alias)
        full = f"{name}@{version}"
        if check_name(full) != (name, version):
            bare = version.removeprefix(f"{name}@")
            remedy = (
                f"Pass it without the name: {bare!r}." if bare != version else "Pass a version that is held."
            )
            raise InvalidArgument(f"{version!r} is not a version.", remedy, version=version)
        if alias in {split_name(one).version for one in self.reservations.versions(name)}:
            raise InvalidArgument(
                f"{name!r} has a version named {alias!r}.", "Choose another alias.", alias=alias
            )
        target: AliasedVersion | None = None

        def wanted(pointing: dict[str, AliasedVersion]) -> Change | None:
            nonlocal target
            found = self.resolve(full, mending=not dry_run)
            target = aliased_version(found)
            return Change(alias, target, seen_of(found)) if pointing.get(alias) != target else None

        self.logs.change(command, wanted, dry_run=dry_run)
        assert target is not None
        return target

    def remove_alias(self, alias: str, command: Command, *, dry_run: bool = False) -> None:
        """Remove an alias. command, dry_run: as `set_alias`.

        Raises:
            NotFound: when the name has no such alias.
            InvalidArgument: when it is `latest`, or invalid.
            GuardRefused: when a guard of the policy, for `remove_alias`, disagrees.
        """
        name = command.stream
        self._check_movable(name, alias)

        def wanted(pointing: dict[str, AliasedVersion]) -> Change:
            if alias not in pointing:
                raise NotFound(
                    f"{name!r} has no alias {alias!r}.{nearest(alias, pointing)}",
                    "List the aliases that it has.",
                    Next(operation="alias.list", id=name),
                    name=name,
                    alias=alias,
                )
            return Change(alias)

        self.logs.change(command, wanted, dry_run=dry_run)

    def move_latest(self, name: str, *, cause: Event | None = None, dry_run: bool = False) -> bool:
        """Point `latest` at the best version held now; remove it if there is none.

        cause: the event that causes the move. Returns whether it had to be moved.
        """
        moved = False

        def wanted(pointing: dict[str, AliasedVersion]) -> Change | None:
            nonlocal moved
            best = self._best(name)
            found = None if best is None else resolution_of(best)
            target = None if found is None else aliased_version(found)
            moved = pointing.get(LATEST) != target
            if not moved or dry_run:
                return None
            return Change(LATEST) if found is None else Change(LATEST, target, seen_of(found))

        command = Command(stream=name)
        if cause is not None:
            command = replace(command, causation_id=cause.id, correlation_id=cause.correlation_id)
        self.logs.change(command, wanted)
        return moved

    def catch_up(self, name: str, *, dry_run: bool = False) -> bool:
        """Move `latest` if a crash prevented its move; the cause is looked up in the logs. Returns whether it had to be moved."""
        if not self.move_latest(name, dry_run=True):
            return False
        return dry_run or self.move_latest(name, cause=self._missed(name))

    # -- the rest ----------------------------------------------------------------------------------------------

    def known(self) -> Iterator[str]:
        """Every name, without versions, that has or had reservations or aliases, sorted by their file names."""
        both = heapq.merge(self.reservations.names(), self.logs.store.streams(), key=name_of)
        return (name for name, _ in groupby(both))

    def explained(
        self, why: Explanation, definition: Definition, document: Mapping[str, Any] | None
    ) -> Explanation:
        """The explanation of an action, with one more refusal if it would claim a name that another manifest holds.

        document: the document after the action.
        """
        claims = why.to is not None and action_of(definition.chart, why.action).claims_name
        own = own_name(document) if claims and document is not None else None
        held = None if own is None else self.reservations.holder(own)
        if held is None or held.stream == why.manifest_id:
            return why
        verdict = Verdict(
            agrees=False,
            reason=f"the name {own!r} is held by {held.stream!r}",
            evidence={"name": own, "holder": held.stream, "state": held.state},
            remedy="Give the document another name or version.",
        )
        answers = (*why.answers, Answer("name_is_free", "lifecycle", verdict))
        return replace(why, allowed=False, answers=answers, next=None)

    def strays(self) -> Iterator[Stray]:
        """Files among the logs of the aliases that belong to none."""
        return self.logs.store.strays()

    def close(self) -> None:
        """Release everything. Closing twice is harmless."""
        self.logs.close()

    # -- inside ----------------------------------------------------------------------------------------------

    def _best(self, name: str) -> StateSnapshot | None:
        """The holder of the best version of a name; see `registration.values.names` for the order."""
        ranked: dict[Rank, list[str]] = {}
        for full in self.reservations.versions(name):
            ranked.setdefault(version_rank(split_name(full).version), []).append(full)
        for rank in sorted(ranked, reverse=True):
            held = [state for full in ranked[rank] if (state := self.reservations.holder(full)) is not None]
            if held:
                return max(held, key=lambda state: (state.facts["named"]["time"], state.name))
        return None

    def _resolved_latest(self, name: str, *, mending: bool) -> Resolution:
        best = self._best(name)
        found = None if best is None else resolution_of(best, alias=LATEST)
        # The answer is known; the alias is corrected if possible: not while the policy is invalid, for example.
        with suppress(RegistrationError):
            if mending:
                self.catch_up(name)
        if found is None:
            raise self._unknown(Name(name, None))
        return found

    def _resolved_alias(self, asked: Name, target: AliasedVersion) -> Resolution:
        pointed = Name(asked.name, target.version)
        held = self.reservations.holder(str(pointed))
        if held is not None and aliased_version(resolution_of(held)) == target:
            return resolution_of(held, alias=asked.version)
        why = "which is no longer held"
        if held is not None:
            why = (
                f"which {held.stream!r} holds now"
                if held.stream != target.manifest_id
                else "whose document has changed"
            )
        raise NotFound(
            f"The alias {asked.version!r} of {asked.name!r} points at {str(pointed)!r}, {why}.",
            "Have it point elsewhere.",
            Next(operation="alias.set", id=asked.name, given={"alias": asked.version}, missing=("version",)),
            name=asked.name,
            alias=asked.version,
            target=target.as_json(),
        )

    def _missed(self, name: str) -> Event | None:
        """The event that `latest` missed: its version was released, or a better one was claimed."""
        best, pointed = self._best(name), self.aliases(name).get(LATEST)
        if pointed is not None:
            full = str(Name(name, pointed.version))
            held = self.reservations.holder(full)
            if held is None or held.stream != pointed.manifest_id:
                return self._last_event(pointed.manifest_id, "released", full)
        return None if best is None else self._last_event(best.stream, "claimed", best.name)

    def _last_event(self, stream: str, word: str, full: str | None) -> Event | None:
        found = None
        with suppress(NotFound):
            for event in self._store.read(stream):
                found = event if event.data.get(word) == full else found
        return found

    def _tidy(self, full: str) -> None:
        """Remove a reservation without effect, unless a registration is in progress."""
        with suppress(StoreError, LockTimeout):
            if self.reservations.exists(full):
                self.reservations.settle(full, timeout_s=0)

    def _check_movable(self, name: str, alias: str) -> None:
        if check_name(name).version is not None:
            raise InvalidArgument(
                f"{name!r} includes a version; aliases belong to a name.",
                f"Say {split_name(name).name!r}.",
                name=name,
            )
        if check_alias(alias) == LATEST:
            raise InvalidArgument(
                f"`{LATEST}` moves by itself, with each registration.",
                "Choose another alias, such as `stable`.",
                alias=alias,
            )

    def _unknown(self, asked: Name) -> NotFound:
        known = [
            str(split_name(full).version)
            for full in self.reservations.versions(asked.name)
            if self.reservations.holder(full) is not None
        ]
        if known and asked.version is not None:
            known += self.aliases(asked.name)
            return NotFound(
                f"{str(asked)!r} is not held.{nearest(asked.version, known)}",
                "List the versions that are held.",
                Next(operation="names.list", id=asked.name),
                name=asked.name,
                version=asked.version,
            )
        names = [name for name in islice(self.reservations.names(), SUGGESTIONS_MAX) if name != asked.name]
        return NotFound(
            f"No manifest holds the name {str(asked)!r}.{nearest(asked.name, names)}",
            "A manifest holds the name of its document once it is registered. List the names that are held.",
            Next(operation="names.list"),
            name=asked.name,
            version=asked.version,
        )
