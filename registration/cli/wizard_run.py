"""A session at a terminal, step by step, with review and a way back. And the same from a file of answers.

The terminal holds the session's lease, and renews it with each answer; so of two terminals only one asks.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Self

import click

from registration.cli.asking import Asker, WentBack, tell
from registration.cli.output import echo, printable, say, say_next, when
from registration.cli.words import told_of
from registration.engine.leases.keeper import LeaseKeeper
from registration.errors import InvalidAnswer, LeaseHeld, Next, NotFound, RegistrationError, Rejected
from registration.onboarding.sessions.session import Caller, Session
from registration.onboarding.sessions.sessions import Sessions
from registration.onboarding.wizards.shapes import shape_of, summary_of
from registration.onboarding.wizards.wizard import COMPLETE, Problem
from registration.storage.layout import SESSIONS, lease_key
from registration.values.leases import Lease

LEASE_S = 300.0
"""The duration of a session's lease, in seconds; each answer renews it."""


_HOLDER = re.compile(r".*, process ([1-9][0-9]{0,9})", re.DOTALL | re.ASCII)


def holder_of(user: str) -> str:
    """The holder name of this process, working for a user."""
    return f"{user}, process {os.getpid()}"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process
        return True
    return True


class AtWork:
    """The lease on a session while it is in use.

    Raises (on entering):
        LeaseHeld: when another process holds it, and the user does not want to wait.
    """

    def __init__(
        self, keeper: LeaseKeeper, session: str, holder: str, *, wait: Callable[[LeaseHeld], bool]
    ) -> None:
        self._keeper = keeper
        self._key = lease_key(session, SESSIONS)
        self._holder = holder
        self._wait = wait
        self._lease: Lease | None = None

    def __enter__(self) -> Self:
        while self._lease is None:
            try:
                self._lease = self._keeper.acquire(self._key, holder=self._holder, ttl_s=LEASE_S)
            except LeaseHeld as held:
                if not self._freed() and not self._wait(held):
                    raise
        return self

    def _freed(self) -> bool:
        """Whether the holder was a process of this machine that no longer exists, and its lease was broken.

        If another process has reused its id, that only means a wait.
        """
        found = self._keeper.find(self._key)
        if found is None:
            return True
        process = _HOLDER.fullmatch(found.holder)
        if process is None or found.host != os.uname().nodename or _is_alive(int(process[1])):
            return False
        with suppress(NotFound):  # another process was first
            self._keeper.break_lease(
                self._key, by=self._holder, reason="its process has exited", number=found.number
            )
        return True

    def __exit__(self, *_: object) -> None:
        if self._lease is not None:
            with suppress(RegistrationError):  # it expires by itself
                self._keeper.release(self._lease)

    def renew(self) -> None:
        """Renew the lease.

        Raises:
            LeaseLost: when another process has taken over.
        """
        assert self._lease is not None
        self._lease = self._keeper.renew(self._lease, ttl_s=LEASE_S)


def offer_to_wait(held: LeaseHeld) -> bool:
    """Show the holder, and wait until the lease has ended, if the user wants that."""
    until = held.details["until"]
    say(
        f"{held.details['holder']} on {held.details['host']} has been working on it since {when(held.details['since'])}, and holds the lock"
    )
    say(f"until {when(until)}, unless it is renewed.")
    if not click.confirm("Wait, and then take over?", default=False, err=True):
        return False
    with suppress(ValueError):
        time.sleep(max(0.2, datetime.fromisoformat(until).timestamp() - time.time()))
    return True


class Dialog:
    """One session at a terminal. by: its owner. at_work: the lease."""

    def __init__(self, sessions: Sessions, session: Session, by: Caller, at_work: AtWork) -> None:
        self._sessions = sessions
        self._by = by
        self._at_work = at_work
        self.session = session
        self._from_review = False

    def through(self) -> Session:
        """Ask until the session has ended.

        Raises:
            click.Abort: when the user typed Ctrl-C, or the input ends. All answers are kept.
            LeaseLost, SessionExpired, …: when it was continued elsewhere, or was idle for too long.
        """
        while self.session.is_active:
            step = self.session.wizard.step(self.session.state)
            self._head()
            {"form": self._form, "review": self._review, "work": self._work}[step.kind]()
        return self.session

    def _head(self) -> None:
        session, progress = self.session, self.session.progress
        step = session.wizard.step(session.state)
        echo()
        click.secho(f"{progress.bar()}  {printable(step.title)}", bold=True)
        if step.help:
            echo(printable(step.help))

    # -- forms ---------------------------------------------------------------------------------------------

    def _form(self) -> None:
        session, wizard, name = self.session, self.session.wizard, self.session.state
        step = wizard.step(name)
        assert step.form is not None
        options = wizard.options_at(name, session.answers)
        shape = shape_of(step.form.schema, options)
        suggested = step.suggest(wizard.seen_by(name, session.answers)) if step.suggest else {}
        known: dict[str, Any] = {**suggested, **session.answers.get(name, {}), **session.draft.get(name, {})}
        asker = Asker(lambda answer: wizard.check_so_far(name, answer, session.answers), self._keep)
        only: frozenset[str] | None = None
        while True:
            try:
                known = asker.ask(shape, known, only)
                self._at_work.renew()
                self.session = self._sessions.process(session.id, known, self._by, step=name)
            except WentBack:
                return self._back()
            except InvalidAnswer as error:
                found = [Problem(one["at"], one["problem"]) for one in error.details.get("found", ())]
                if not found:
                    raise
                for problem in found:
                    tell(problem)
                fields = frozenset(one.at.split("/")[1] for one in found if one.at)
                only = fields & (shape.members or {}).keys() or None
            else:
                return self._answered(name)

    def _keep(self, answer: dict[str, Any]) -> None:
        self._at_work.renew()
        self.session = self._sessions.draft(self.session.id, answer, self._by)

    def _answered(self, name: str) -> None:
        step = self.session.wizard.step(name)
        click.secho(
            f"  {printable(step.title)}: {printable(summary_of(self.session.answers[name]))}", dim=True
        )
        review = self.session.wizard.review.name
        if self._from_review and self.session.is_active and self.session.state != review:
            with suppress(InvalidAnswer):  # a later answer is no longer valid: it is asked next
                self.session = self._sessions.goto(self.session.id, review, self._by)

    def _back(self) -> None:
        try:
            self.session = self._sessions.back(self.session.id, self._by)
        except Rejected:
            tell(Problem("", "this is the first step"))

    # -- the review, and work ------------------------------------------------------------------------------

    def _review(self) -> None:
        names = self.session.wizard.counted_steps(self.session.answers)
        show_answers(self.session)
        self._from_review = True
        typed = str(
            click.prompt(
                "Enter completes it, a number changes that step, cancel ends it permanently",
                default="",
                show_default=False,
            )
        ).strip()
        try:
            if typed == "cancel":
                self.session = self._sessions.cancel(self.session.id, self._by)
            elif typed == "<":
                self._back()
            elif typed.isascii() and typed.isdecimal() and 0 < int(typed) <= len(names):
                self.session = self._sessions.goto(self.session.id, names[int(typed) - 1], self._by)
            elif typed in names:
                self.session = self._sessions.goto(self.session.id, typed, self._by)
            elif typed:
                tell(Problem("", f"type a number from 1 to {len(names)}, `cancel`, or press Enter"))
            else:
                self._at_work.renew()
                self.session = self._sessions.process(self.session.id, {}, self._by, step=self.session.state)
        except (InvalidAnswer, RegistrationError) as error:
            if (
                not isinstance(error, InvalidAnswer)
                and error.code != "already_exists"
                and error.code not in _MENDED
            ):
                raise
            for problem in error.details.get("problems") or [error.problem]:
                tell(Problem("", str(problem)))
            say(printable(told_of(error)))

    def _work(self) -> None:
        self._at_work.renew()
        self.session = self._sessions.process(self.session.id, {}, self._by, step=self.session.state)


_MENDED = ("invalid_document", "guard_refused")
"""Refusals of the registry that other answers may fix."""


def fill(
    sessions: Sessions, session: Session, by: Caller, answers: Mapping[str, Mapping[str, Any]]
) -> Session:
    """Apply the given answers step by step, as far as possible; the review, and work, need none.

    Raises:
        InvalidAnswer: when one is invalid; those before it are kept.
    """
    given = dict(answers)
    while session.is_active:
        step = session.wizard.step(session.state)
        answer = given.pop(session.state, None) if step.kind == "form" else {}
        if answer is None:
            break
        session = sessions.process(session.id, answer, by, step=session.state)
    return session


def show_answers(session: Session) -> None:
    """Print a numbered table of the answers, with the wizard's summary if it has one."""
    wizard = session.wizard
    if wizard.summary is not None and wizard.is_installed and not wizard.problems(session.answers):
        for title, text in wizard.summary(wizard.counted(session.answers)):
            lines = text.splitlines() or [""]
            echo(f"      {printable(title)}: {printable(lines[0])}")
            for line in lines[1:]:
                echo(f"        {printable(line)}")
    for number, name in enumerate(wizard.counted_steps(session.answers), 1):
        answer = session.answers.get(name)
        echo(f"  {number:>2}  {printable(wizard.step(name).title)}")
        for field, value in (answer or {"": "not answered yet"}).items():
            if value is not None:
                _show_field(field.replace("_", " "), value)


def _show_field(name: str, value: Any) -> None:
    """Print the answer of one field on a line; for a list of objects, one line each."""
    listed = isinstance(value, list) and any(isinstance(one, Mapping) for one in value)
    echo(
        f"        {printable(name)}{':' if name else ''} {'' if listed else printable(summary_of(value, 90))}".rstrip()
    )
    for one in value if listed else ():
        echo(f"          - {printable(summary_of(one, 90))}")


def show_end(session: Session) -> None:
    """Print the result of a session."""
    if session.state == COMPLETE and session.manifest is not None:
        manifest = session.manifest
        echo(f"{session.id}  COMPLETE: {manifest['id']} is a DRAFT now (version {manifest['version']})")
        say_next(Next(operation="act", action="submit_for_review", id=str(manifest["id"])))
    else:
        echo(f"{session.id}  {session.state}")
