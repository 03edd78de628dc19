"""The common part of the session commands: the owner, the context, the output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from registration.cli.context import Context, actor_option, lock_timeout_option, shared_options
from registration.cli.output import echo, printable, say, told_here
from registration.errors import Next, NotFound, RegistrationError

if TYPE_CHECKING:
    from registration.engine.leases.keeper import LeaseKeeper
    from registration.errors import Operation
    from registration.onboarding.sessions.session import Caller, Session
    from registration.onboarding.sessions.sessions import Sessions

F = TypeVar("F", bound=Callable[..., Any])


def owner_options(function: F) -> F:
    """The options for the owner of sessions, in addition to the shared ones."""
    for option in (
        click.option(
            "--client",
            metavar="TEXT",
            envvar="REGISTRATION_CLIENT",
            help="The client: an address or a fingerprint, for bound sessions.",
        ),
        click.option(
            "--scope",
            metavar="NAME",
            envvar="REGISTRATION_SCOPE",
            help="The group that sessions also belong to.  "
            "[default: that of the session, or `default`; env: REGISTRATION_SCOPE]",
        ),
        lock_timeout_option,
        actor_option,
    ):
        function = option(function)
    return shared_options(function)


session_argument = click.argument("session", required=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """The context of a session command. by: the caller."""

    sessions: Sessions
    by: Caller
    keeper: LeaseKeeper

    def id_of(self, session: str | None) -> str:
        """The named session; else the caller's active one, or the last one if it can be restarted.

        Raises:
            NotFound: when there is none.
        """
        if session is not None:
            return session
        found = self.sessions.get_last(self.by.scope, self.by.user)
        if found is None or not (found.is_active or found.can_restart):
            raise NotFound(
                f"{self.by.user!r} has no active session in the scope {self.by.scope!r}.",
                "Name one (`registration wizard list` shows them), or start one: `registration wizard start NAME`.",
            )
        return found.id


@contextmanager
def opened_sessions(
    context: Context,
    scope: str | None = None,
    client: str | None = None,
    target: str | None = None,
    *,
    session: str | None = None,
) -> Iterator[Opened]:
    """Open the context of a session command. scope: None for that of the named session, or the default."""
    from registration.engine.leases.leases import open_leases  # noqa: PLC0415  # `--help` needs none of it
    from registration.onboarding.community.deployer import STEP, CommunityDeployer  # noqa: PLC0415  # as above
    from registration.onboarding.sessions.session import Caller  # noqa: PLC0415  # as above
    from registration.onboarding.sessions.sessions import Sessions  # noqa: PLC0415  # as above

    with context.open() as registry, told_here("registration.sessions"):
        deployer = CommunityDeployer(
            context.root(),
            place=target,
            actor=context.acting(),
            told=None if context.as_json else _tell,
            lock_timeout_s=context.lock_timeout_s,
        )
        sessions = Sessions(
            context.root(),
            registry=registry,
            workers={STEP: deployer},
            lock_timeout_s=context.lock_timeout_s,
        )
        with sessions:
            keeper = open_leases(context.root())
            try:
                if scope is None and session is not None:
                    with suppress(RegistrationError):  # the command will raise it again
                        scope = sessions.get(session).scope
                yield Opened(sessions, Caller(context.acting(), scope or "default", client), keeper)
            finally:
                keeper.close()


def _tell(line: str) -> None:
    say(f"  {printable(line)}")


def resuming(context: Context, opened: Opened, session: Session) -> Next:
    """The step that continues a session, or restarts an ended one, by the same caller."""
    given = {}
    if session.bound and opened.by.client and opened.by.client != os.environ.get("REGISTRATION_CLIENT"):
        given["client"] = opened.by.client
    operation: Operation = "sessions.resume" if session.is_active else "sessions.restart"
    return Next(operation=operation, id=session.id, actor=context.actor, given=given)


def show_short(session: Session) -> None:
    """A session in one line."""
    progress = session.progress
    title = f"  {session.title}" if session.title != session.state.capitalize() else ""
    echo(printable(f"{session.id}  {session.state}{title}  {progress.bar(10)}"))


def is_terminal(context: Context) -> bool:
    """Whether there is a terminal for questions."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not context.as_json
