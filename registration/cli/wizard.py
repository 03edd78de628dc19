"""Commands that run a guided session: start, resume, back, goto, cancel, fail, restart; and their group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from registration.cli.context import Context, Subcommands, examples
from registration.cli.exits import FAILURE
from registration.cli.output import echo_json, printable, say, say_next
from registration.cli.wizard_files import answer_options, given_answers, named_wizard
from registration.cli.wizard_looking import (
    answers_wizard,
    cleanup_wizard,
    delete_wizard,
    health_wizard,
    list_wizard,
    matrix_wizard,
    show_wizard,
    stats_wizard,
)
from registration.cli.wizard_sessions import (
    Opened,
    is_terminal,
    opened_sessions,
    owner_options,
    resuming,
    session_argument,
    show_short,
)
from registration.cli.words import line
from registration.errors import InvalidArgument, SessionExpired
from registration.pipeline.wire import sessions

if TYPE_CHECKING:
    from registration.errors import LeaseHeld
    from registration.onboarding.sessions.session import Session

F = TypeVar("F", bound=Callable[..., Any])


@click.group(
    "wizard",
    cls=Subcommands,
    short_help="Create a manifest interactively.",
    epilog=examples(
        "registration wizard start mcp-server",
        "registration wizard resume",
        "registration wizard start mcp-server --answers answers.json --json",
    ),
)
def wizard_command() -> None:
    """Create a manifest interactively, step by step.

    A session is stored in the registry with every answer: leave at any time (Ctrl-C), and continue with `resume`. It expires
    when it is idle for too long (15 minutes by default), and can be restarted with its answers.
    """


_target_option = click.option(
    "--target",
    metavar="DIR",
    type=click.Path(file_okay=False),
    envvar="REGISTRATION_TARGET",
    help="The directory to deploy a community to, as `actual.json`; stored in the session.  "
    "[default: communities/NAME in the registry; env: REGISTRATION_TARGET]",
)


@wizard_command.command(
    "start",
    short_help="Start a session.",
    epilog=examples(
        "registration wizard start mcp-server",
        "registration wizard start ./survey.toml --community guild-7",
        "registration wizard start mcp-server --answers answers.json --set /IDENTITY/version=1.0.1 --json",
    ),
)
@click.argument("name", metavar="NAME|FILE")
@click.option(
    "--session", "id", metavar="ID", help="The session's id; starting it again returns the same session."
)
@click.option("--community", metavar="ID", help="The id of the community that it is about.")
@click.option("--bind", is_flag=True, help="Bind it to the client permanently.")
@_target_option
@answer_options
@owner_options
@click.pass_obj
def start_wizard(
    context: Context,
    name: str,
    id: str | None,
    community: str | None,
    bind: bool,
    file: str | None,
    said: tuple[str, ...],
    target: str | None,
    scope: str | None,
    client: str | None,
) -> None:
    """Start a session of the wizard NAME, or of one in a TOML or JSON file.

    At a terminal it is interactive. With --answers or --set it applies these, and prints the session's state.
    """
    given = given_answers(file, said)
    if bind and not client:
        raise InvalidArgument(
            "No client was given to bind the session to.",
            "Pass one: `--client TEXT`, or REGISTRATION_CLIENT.",
        )
    with opened_sessions(context, scope, client, target) as opened:
        wizard = named_wizard(opened.sessions, name)
        session = opened.sessions.start(wizard, opened.by, session=id, community=community)
        if bind and not session.bound:
            session = opened.sessions.bind(session.id, opened.by)
        _go_on(context, opened, session, given)


@wizard_command.command(
    "resume",
    short_help="Continue a session.",
    epilog=examples(
        "registration wizard resume",
        "registration wizard resume wiz_20261121093000123_0a1b2c3d4e5f6g7h --set /IDENTITY/title=Weather",
    ),
)
@session_argument
@_target_option
@answer_options
@owner_options
@click.pass_obj
def resume_wizard(
    context: Context,
    session: str | None,
    file: str | None,
    said: tuple[str, ...],
    target: str | None,
    scope: str | None,
    client: str | None,
) -> None:
    """Continue a session: the active one, unless another is named."""
    given = given_answers(file, said)
    with opened_sessions(context, scope, client, target, session=session) as opened:
        id = opened.id_of(session)
        try:
            found = opened.sessions.resume(id, opened.by)
        except SessionExpired as expired:
            if given is not None or not is_terminal(context):
                raise
            say(printable(expired.problem))
            if not click.confirm("Restart it, with its answers?", default=True, err=True):
                raise
            found = opened.sessions.restart(id, opened.by)
        _go_on(context, opened, found, given)


def _go_on(context: Context, opened: Opened, session: Session, given: dict[str, Any] | None) -> None:
    """Ask at a terminal; otherwise apply the given answers."""
    from registration.cli.wizard_run import AtWork, Dialog, fill, holder_of, offer_to_wait, show_end  # noqa: PLC0415  # as above

    asking = given is None and is_terminal(context)
    holder = holder_of(opened.by.user)
    wait = offer_to_wait if asking else _no_wait
    try:
        with AtWork(opened.keeper, session.id, holder, wait=wait) as at_work:
            session = opened.sessions.get(session.id)  # it may have been continued elsewhere while we waited
            if asking:
                say(f"Session {session.id}; ? explains, < goes back, Ctrl-C leaves and keeps everything.")
                session = Dialog(opened.sessions, session, opened.by, at_work).through()
            else:
                session = fill(opened.sessions, session, opened.by, given or {})
    except (click.Abort, KeyboardInterrupt):
        say("")
        say("All answers are kept.")
        say(f"Continue with: {printable(line(resuming(context, opened, session)))}")
        click.get_current_context().exit(FAILURE)
    if context.as_json:
        echo_json(sessions.session(session))
    elif session.is_active:
        show_short(session)
        say_next(resuming(context, opened, session))
    else:
        show_end(session)
        _offer_restart(context, opened, session)


def _offer_restart(context: Context, opened: Opened, session: Session) -> None:
    if session.can_restart:
        say_next(resuming(context, opened, session))


def _act(
    name: str, help: str, *example: str, extra: tuple[Callable[[Any], Any], ...] = ()
) -> Callable[[Callable[..., Session]], click.Command]:
    """A command that acts on one session, and prints its new state."""

    def made(act: Callable[..., Session]) -> click.Command:
        def run(
            context: Context, session: str | None, scope: str | None, client: str | None, **more: Any
        ) -> None:
            from registration.cli.wizard_run import AtWork, holder_of  # noqa: PLC0415  # as above

            with opened_sessions(context, scope, client, session=session) as opened:
                id = opened.id_of(session)
                holder = holder_of(opened.by.user)
                with AtWork(opened.keeper, id, holder, wait=_no_wait):
                    found = act(opened, id, **more)
            if context.as_json:
                echo_json(sessions.session(found))
                return
            show_short(found)
            if found.is_active:
                say_next(resuming(context, opened, found))
            else:
                _offer_restart(context, opened, found)

        run.__doc__ = help
        function: Any = run
        decorators: tuple[Callable[[Any], Any], ...] = (
            click.pass_obj,
            owner_options,
            *extra,
            session_argument,
        )
        for decorate in decorators:
            function = decorate(function)
        command: click.Command = wizard_command.command(name, epilog=examples(*example))(function)
        return command

    return made


@_act("back", "Go back to the previous step; answers are kept.", "registration wizard back")
def back_wizard(opened: Opened, id: str) -> Session:
    """See the command."""
    return opened.sessions.back(id, opened.by)


@_act(
    "goto",
    "Jump from the review to a step (--step), or to the review.",
    "registration wizard goto --step IDENTITY",
    extra=(click.option("--step", metavar="STEP", help="The step.  [default: the review]"),),
)
def goto_wizard(opened: Opened, id: str, step: str | None) -> Session:
    """See the command."""
    wizard = opened.sessions.get(id).wizard
    known = {one.name.casefold(): one.name for one in wizard.steps}
    wanted = wizard.review.name if step is None else known.get(step.casefold(), step)
    return opened.sessions.goto(id, wanted, opened.by)


@_act("cancel", "End a session permanently.", "registration wizard cancel")
def cancel_wizard(opened: Opened, id: str) -> Session:
    """See the command."""
    return opened.sessions.cancel(id, opened.by)


@_act(
    "fail",
    "Mark a session as failed; it can be restarted.",
    "registration wizard fail --reason 'no token yet'",
    extra=(click.option("--reason", metavar="TEXT", required=True, help="The reason."),),
)
def fail_wizard(opened: Opened, id: str, reason: str) -> Session:
    """See the command."""
    return opened.sessions.fail(id, reason, opened.by)


@_act(
    "restart",
    "Restart a failed or expired session, with its answers.",
    "registration wizard restart wiz_20261121093000123_0a1b2c3d4e5f6g7h",
    extra=(click.option("--forget", is_flag=True, help="Drop its answers."),),
)
def restart_wizard(opened: Opened, id: str, forget: bool) -> Session:
    """See the command."""
    return opened.sessions.restart(id, opened.by, keep_answers=not forget)


def _no_wait(_held: LeaseHeld) -> bool:
    return False


for _command in (
    list_wizard, show_wizard, answers_wizard, stats_wizard, cleanup_wizard, health_wizard, delete_wizard, matrix_wizard,
):  # fmt: skip
    wizard_command.add_command(_command)
