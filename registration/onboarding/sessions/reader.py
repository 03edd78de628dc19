"""The read operations of `Sessions`: by id, by owner, by filter; histories and wizards."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from registration.engine.engine import Engine, Random
from registration.errors import NotFound, RegistrationError, StoreError
from registration.evidence.verification import AreaVerification, verify_area
from registration.onboarding.sessions.active import owners_of
from registration.onboarding.sessions.backing import FileBacking, LedgerBacking
from registration.onboarding.sessions.refusals import not_found
from registration.onboarding.sessions.session import Session, check_session_id, session_of
from registration.onboarding.sessions.upkeep import Stats, stats_of
from registration.onboarding.wizards.shipped import shipped
from registration.onboarding.wizards.statechart import definition_of
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage import layout
from registration.values.people import same_person
from registration.values.times import Clock, rfc3339, system_clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.engine.publisher import Handler
    from registration.onboarding.wizards.wizard import Wizard
    from registration.storage.ledger import Ledger
    from registration.values.events import Event


@dataclass(frozen=True, slots=True)
class Run:
    """An open wizard: the engine and store of its sessions."""

    wizard: Wizard
    engine: Engine
    store: Ledger


class SessionReader:
    """The read operations on the sessions of one registry. See `registration.onboarding.sessions.sessions.Sessions` for the arguments."""

    def __init__(
        self,
        where: str | os.PathLike[str] | LedgerBacking,
        *,
        wizards: Iterable[Wizard] = (),
        clock: Clock = system_clock,
        random: Random | None = None,
        lock_timeout_s: float = 10.0,
    ) -> None:
        self.backing: LedgerBacking = (
            FileBacking(where, lock_timeout_s=lock_timeout_s)
            if isinstance(where, str | os.PathLike)
            else where
        )
        self._wizards = {wizard.name: wizard for wizard in wizards}
        self._clock = clock
        self._random = random
        self._lock_timeout_s = lock_timeout_s
        self._mutex = threading.Lock()
        self._runs: dict[tuple[str, str | None], Run] = {}
        self._handlers: list[Handler] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release everything. Closing twice is harmless."""
        for run in self._runs.values():
            run.store.close()

    def get(self, id: str) -> Session:
        """A session as of now. Does not renew it.

        Raises:
            NotFound: when there is none.
        """
        return self._look(self._known(id), id)

    def get_active(self, scope: str, user: str) -> Session | None:
        """The active session of an owner (or of a scope, if there is one for each); None if there is none.

        The cost does not grow with the number of sessions.
        """
        return self._active(self.backing.active.of(*owners_of(self.backing.settings.active, scope, user)))

    def get_last(self, scope: str, user: str) -> Session | None:
        """The session that an owner started or restarted last, whether active or ended; None if there is none.

        Costs as much as `get_active`.
        """
        id = self.backing.active.of(*owners_of(self.backing.settings.active, scope, user))
        run = self.run_of(id) if id is not None else None
        if run is None or id is None:
            return None
        with suppress(NotFound):  # it was deleted
            return self._look(run, id)
        return None

    def exists(self, id: str) -> bool:
        """Whether there is a session of that id."""
        return self.run_of(check_session_id(id)) is not None

    def history(self, id: str) -> Iterator[Event]:
        """All events of a session, in order, each checked against the chain. Raises: as `RegistrationPipeline.history`."""
        return self._known(id).store.read(id)

    def query(
        self,
        *,
        scope: str | None = None,
        user: str | None = None,
        state: str | None = None,
        wizard: str | None = None,
        active: bool | None = None,
        older_than_s: float | None = None,
        problems: list[RegistrationError] | None = None,
    ) -> Iterator[Session]:
        """The sessions that match all of these, in the order of their start.

        older_than_s: since their last event. problems: collects the errors of unreadable sessions; None: they are raised.
        """
        for id in self.backing.ids():
            try:
                run = self.run_of(id)
                session = None if run is None else self._look(run, id)
            except (RegistrationError, LookupError) as problem:
                if problems is None or not isinstance(problem, RegistrationError):
                    raise
                problems.append(problem)
                continue
            if (
                session is not None
                and scope in (None, session.scope)
                and (user is None or same_person(user, session.user))
                and state in (None, session.state)
                and wizard in (None, session.wizard.name)
                and active in (None, session.is_active)
                and (older_than_s is None or self.is_older(session, older_than_s))
            ):
                yield session

    def stats(self, scope: str | None = None) -> Stats:
        """The number of sessions by state and by wizard, and the share of ended ones that are complete."""
        problems: list[RegistrationError] = []
        return stats_of(self.query(scope=scope, problems=problems), problems)

    def health(self) -> AreaVerification:
        """Verify the files of all sessions: every byte, chains, snapshots, states."""
        return verify_area(layout.SESSIONS, self.backing.ids(), self.store_of)

    def wizard(self, name: str) -> Wizard:
        """The wizard of that name: one of the program, or a shipped one.

        Raises:
            NotFound: when there is none; the closest one is suggested.
        """
        return self._wizards.get(name) or shipped(name)

    def expire(self, id: str) -> bool:
        """Record that a session has expired, if it has; returns whether this call did."""
        run = self.run_of(check_session_id(id))
        return run is not None and self._tick(run, id)

    def on(self, handler: Handler) -> None:
        """Call `handler` with a `StateChange` for each event that is committed through this object, after the commit."""
        with self._mutex:
            self._handlers.append(handler)
            for run in self._runs.values():
                run.engine.publisher.subscribe(handler)

    # -- inside ------------------------------------------------------------------------------------------

    def _now(self) -> str:
        return rfc3339(self._clock())

    def is_older(self, session: Session, seconds: float) -> bool:
        """Whether a session has been idle for that long."""
        return session.updated_at <= self._ago(seconds)

    def _ago(self, seconds: float) -> str:
        return rfc3339(max(0, self._clock() - int(seconds * 1e9)))

    def _run(self, wizard: Wizard) -> Run:
        """The open wizard; opened once."""
        key = (wizard.name, wizard.identity.get("digest"))
        with self._mutex:
            known = self._runs.get(key)
            if known is not None:
                return known
            definition = definition_of(wizard, self.backing.settings.time_for(wizard.name))
            store = self.backing.store(definition)
            engine = Engine(
                store, clock=self._clock, random_source=self._random, lock_timeout_s=self._lock_timeout_s
            )
            for handler in self._handlers:
                engine.publisher.subscribe(handler)
            self._runs[key] = run = Run(wizard, engine, store)
            return run

    def run_of(self, id: str) -> Run | None:
        """The open wizard of a session; None if the session was never started."""
        begun = self.backing.begun_with(id)
        if begun is None:
            return None
        return self._begun_run(id, begun)

    def store_of(self, id: str, *, repairing: bool = False) -> Ledger:
        """The store of a session's files, for upkeep. A session that was never started has no wizard, and any store will do.

        repairing: so it will for one whose first line is damaged, of which nothing can be kept.

        Raises:
            InvalidArgument: when no session has that id.
            NotFound: when its wizard isn't here.
            StoreError: when its files can't be read.
        """
        try:
            run = self.run_of(check_session_id(id))
        except StoreError:
            if not repairing:
                raise
            run = None
        return run.store if run is not None else self.backing.store(REGISTRATION)

    def _begun_run(self, id: str, begun: Mapping[str, Any]) -> Run:
        name, digest = begun["name"], begun.get("digest")
        if (known := self._runs.get((name, digest))) is not None:
            return known
        if digest is not None:
            from registration.onboarding.wizards.files import wizard_of  # noqa: PLC0415  # most wizards are no files

            return self._run(wizard_of(self.backing.kept_wizard(digest), source=f"the wizard of {id}"))
        try:
            return self._run(self.wizard(name))
        except NotFound:
            raise NotFound(
                f"{id} is a session of the wizard {name!r}, which is not available here.",
                "Open it with the program that has that wizard: `Sessions(…, wizards=…)`.",
            ) from None

    def _known(self, id: str) -> Run:
        run = self.run_of(check_session_id(id))
        if run is None:
            raise not_found(id)
        return run

    def _look(self, run: Run, id: str) -> Session:
        state = run.store.load(id)
        if state is None:
            raise not_found(id)
        return session_of(run.wizard, state, self._now())

    def _tick(self, run: Run, id: str) -> bool:
        return run.engine.tick(id) is not None

    def _active(self, id: str | None) -> Session | None:
        run = self.run_of(id) if id is not None else None
        if run is None or id is None:
            return None
        with suppress(NotFound):
            session = self._look(run, id)
            return session if session.is_active else None
        return None
