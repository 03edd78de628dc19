"""Commands about guided sessions: start, resume, back, goto, cancel, fail, restart, list, show, stats, cleanup, and others."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson

from registration.cli.context import (
    Context,
    Subcommands,
    actor_option,
    examples,
    lock_timeout_option,
    shared_options,
)
from registration.cli.exits import DAMAGE, FAILURE, worst
from registration.cli.output import (
    counted,
    echo,
    echo_json,
    event_row,
    finding_line,
    printable,
    say,
    show_error,
    table,
    told_here,
    when,
)
from registration.errors import (
    InvalidAnswer,
    InvalidArgument,
    NotFound,
    RegistrationError,
    SessionExpired,
    StoreError,
)
from registration.values.times import DURATION_FORM, duration_s

if TYPE_CHECKING:
    from registration.errors import LeaseHeld
    from registration.leases.keeper import LeaseKeeper
    from registration.sessions.session import Caller, Session
    from registration.sessions.sessions import Sessions
    from registration.wizards.wizard import Wizard

ANSWERS_BYTES_MAX = 4 * 1024 * 1024

F = TypeVar("F", bound=Callable[..., Any])


@click.group(
    "wizard",
    cls=Subcommands,
    short_help="Be led to a manifest, step by step: start, resume, back, list, …",
    epilog=examples(
        "registration wizard start mcp-server",
        "registration wizard resume",
        "registration wizard start mcp-server --answers answers.json --json",
    ),
)
def wizard_command() -> None:
    """Be led to a manifest, step by step.

    A session is kept in the registry with every answer: leave it when you like (Ctrl-C), and go on with `resume`. It expires
    when it is left alone for too long (15 minutes as usual), and can be started again with its answers.
    """


# -- options ---------------------------------------------------------------------------------------------


def _owner_options(function: F) -> F:
    """Whose sessions, on top of the shared options."""
    for option in (
        click.option(
            "--client",
            metavar="TEXT",
            envvar="REGISTRATION_CLIENT",
            help="Where from: an address or a fingerprint, for bound sessions.",
        ),
        click.option(
            "--scope",
            metavar="NAME",
            envvar="REGISTRATION_SCOPE",
            help="What sessions belong to besides their user.  "
            "[default: that of the session, or `default`; env: REGISTRATION_SCOPE]",
        ),
        lock_timeout_option,
        actor_option,
    ):
        function = option(function)
    return shared_options(function)


def _answer_options(function: F) -> F:
    for option in (
        click.option(
            "--set",
            "said",
            metavar="POINTER=VALUE",
            multiple=True,
            help="One answer: /STEP/field=VALUE, as JSON or text. May be given several times.",
        ),
        click.option(
            "--answers",
            "file",
            metavar="FILE",
            type=click.Path(allow_dash=True),
            help="Answers by step, as JSON (- reads standard input); `wizard answers` writes them.",
        ),
    ):
        function = option(function)
    return function


_target_option = click.option(
    "--target",
    metavar="DIR",
    type=click.Path(file_okay=False),
    envvar="REGISTRATION_TARGET",
    help="Where a community is deployed: `actual.json` in there; remembered from then on.  "
    "[default: communities/NAME in the registry; env: REGISTRATION_TARGET]",
)
_session_argument = click.argument("session", required=False)


@dataclass(frozen=True, slots=True)
class _Open:
    """What a command works with. by: who it is."""

    sessions: Sessions
    by: Caller
    keeper: LeaseKeeper

    def id_of(self, session: str | None) -> str:
        """The session that was named; else the active one of whoever it is, or the last one, where it can be started again.

        Raises:
            NotFound: when there is none.
        """
        if session is not None:
            return session
        found = self.sessions.get_last(self.by.scope, self.by.user)
        if found is None or not (found.is_active or found.can_restart):
            raise NotFound(
                f"{self.by.user!r} has no active session in the scope {self.by.scope!r}.",
                "Name one (`registration wizard list` shows them), or begin one: `registration wizard start NAME`.",
            )
        return found.id


@contextmanager
def _opened(
    context: Context,
    scope: str | None = None,
    client: str | None = None,
    target: str | None = None,
    *,
    session: str | None = None,
) -> Iterator[_Open]:
    """What a command works with. scope: None for that of the session that was named, or the usual one."""
    from registration.leases.opening import open_leases  # noqa: PLC0415  # `--help` needs none of it
    from registration.onboarding import STEP, CommunityDeployer  # noqa: PLC0415  # as above
    from registration.sessions.session import Caller  # noqa: PLC0415  # as above
    from registration.sessions.sessions import Sessions  # noqa: PLC0415  # as above

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
                    with suppress(RegistrationError):  # whatever it is, the command meets it again
                        scope = sessions.get(session).scope
                yield _Open(sessions, Caller(context.acting(), scope or "default", client), keeper)
            finally:
                keeper.close()


def _tell(line: str) -> None:
    say(f"  {printable(line)}")


# -- going through ---------------------------------------------------------------------------------------


@wizard_command.command(
    "start",
    short_help="Begin a session.",
    epilog=examples(
        "registration wizard start mcp-server",
        "registration wizard start ./survey.toml --community guild-7",
        "registration wizard start mcp-server --answers answers.json --set /IDENTITY/version=1.0.1 --json",
    ),
)
@click.argument("name", metavar="NAME|FILE")
@click.option(
    "--session", "id", metavar="ID", help="The session's id; begun again with it, it is the same one."
)
@click.option("--community", metavar="ID", help="What it is about.")
@click.option("--bind", is_flag=True, help="Bind it to the client for good.")
@_target_option
@_answer_options
@_owner_options
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
    """Begin a session of the wizard NAME, or of one in a TOML or JSON file.

    At a terminal it asks. With --answers or --set it answers as far as they reach, and prints where the session is then.
    """
    given = _given(file, said)
    if bind and not client:
        raise InvalidArgument(
            "There is no client to bind the session to.", "Name one: `--client TEXT`, or REGISTRATION_CLIENT."
        )
    with _opened(context, scope, client, target) as opened:
        wizard = _wizard(opened.sessions, name)
        session = opened.sessions.start(wizard, opened.by, session=id, community=community)
        if bind and not session.bound:
            session = opened.sessions.bind(session.id, opened.by)
        _go_on(context, opened, session, given)


@wizard_command.command(
    "resume",
    short_help="Go on with a session.",
    epilog=examples(
        "registration wizard resume",
        "registration wizard resume wiz_20261121093000123_0a1b2c3d4e5f6g7h --set /IDENTITY/title=Weather",
    ),
)
@_session_argument
@_target_option
@_answer_options
@_owner_options
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
    """Go on with a session where it is: the active one, unless another is named."""
    given = _given(file, said)
    with _opened(context, scope, client, target, session=session) as opened:
        id = opened.id_of(session)
        try:
            found = opened.sessions.resume(id, opened.by)
        except SessionExpired as expired:
            if given is not None or not _is_terminal(context):
                raise
            say(printable(expired.problem))
            if not click.confirm("Start it again, with its answers?", default=True, err=True):
                raise
            found = opened.sessions.restart(id, opened.by)
        _go_on(context, opened, found, given)


def _go_on(context: Context, opened: _Open, session: Session, given: dict[str, Any] | None) -> None:
    """Ask at a terminal; otherwise answer as far as what is given reaches."""
    from registration.cli.wizard_run import AtWork, Run, fill, holder_of, offer_to_wait, show_end  # noqa: PLC0415  # as above

    asking = given is None and _is_terminal(context)
    holder = holder_of(opened.by.user)
    wait = offer_to_wait if asking else _no_wait
    try:
        with AtWork(opened.keeper, session.id, holder, wait=wait) as at_work:
            session = opened.sessions.get(session.id)  # somebody may have gone on with it while we waited
            if asking:
                say(f"Session {session.id}; ? explains, < goes back, Ctrl-C leaves and keeps everything.")
                session = Run(opened.sessions, session, opened.by, at_work).through()
            else:
                session = fill(opened.sessions, session, opened.by, given or {})
    except (click.Abort, KeyboardInterrupt):
        say("")
        say("Everything that was answered is kept.")
        say(f"Go on with: {_command(context, opened, 'resume', session)}")
        click.get_current_context().exit(FAILURE)
    if context.as_json:
        echo_json(session.as_json())
    elif session.is_active:
        _show_short(session)
        say(f"Next: {_command(context, opened, 'resume', session)}")
    else:
        show_end(session)
        _offer_restart(context, opened, session)


def _command(context: Context, opened: _Open, name: str, session: Session) -> str:
    """What to type for the same caller to act on a session."""
    words = ["registration", "wizard", name, session.id]
    if context.actor is not None:
        words += ["--actor", context.actor]
    if session.bound and opened.by.client and opened.by.client != os.environ.get("REGISTRATION_CLIENT"):
        words += ["--client", opened.by.client]
    return printable(shlex.join(words))


def _offer_restart(context: Context, opened: _Open, session: Session) -> None:
    if session.can_restart:
        say(f"Next: {_command(context, opened, 'restart', session)}")


def _act(
    name: str, help: str, *example: str, extra: tuple[Callable[[Any], Any], ...] = ()
) -> Callable[[Callable[..., Session]], click.Command]:
    """A command that does one thing to one session, and shows where it is then."""

    def made(act: Callable[..., Session]) -> click.Command:
        def run(
            context: Context, session: str | None, scope: str | None, client: str | None, **more: Any
        ) -> None:
            from registration.cli.wizard_run import AtWork, holder_of  # noqa: PLC0415  # as above

            with _opened(context, scope, client, session=session) as opened:
                id = opened.id_of(session)
                holder = holder_of(opened.by.user)
                with AtWork(opened.keeper, id, holder, wait=_no_wait):
                    found = act(opened, id, **more)
            if context.as_json:
                echo_json(found.as_json())
                return
            _show_short(found)
            if found.is_active:
                say(f"Next: {_command(context, opened, 'resume', found)}")
            else:
                _offer_restart(context, opened, found)

        run.__doc__ = help
        function: Any = run
        decorators: tuple[Callable[[Any], Any], ...] = (
            click.pass_obj,
            _owner_options,
            *extra,
            _session_argument,
        )
        for decorate in decorators:
            function = decorate(function)
        command: click.Command = wizard_command.command(name, epilog=examples(*example))(function)
        return command

    return made


@_act("back", "Go back to the step before; every answer is kept.", "registration wizard back")
def back_wizard(opened: _Open, id: str) -> Session:
    """See the command."""
    return opened.sessions.back(id, opened.by)


@_act(
    "goto",
    "Jump from the review to a step (--step), or to the review once all is answered.",
    "registration wizard goto --step IDENTITY",
    extra=(click.option("--step", metavar="STEP", help="Where to.  [default: the review]"),),
)
def goto_wizard(opened: _Open, id: str, step: str | None) -> Session:
    """See the command."""
    wizard = opened.sessions.get(id).wizard
    known = {one.name.casefold(): one.name for one in wizard.steps}
    wanted = wizard.review.name if step is None else known.get(step.casefold(), step)
    return opened.sessions.goto(id, wanted, opened.by)


@_act("cancel", "End a session for good.", "registration wizard cancel")
def cancel_wizard(opened: _Open, id: str) -> Session:
    """See the command."""
    return opened.sessions.cancel(id, opened.by)


@_act(
    "fail",
    "Give a session up, saying why. It can be started again.",
    "registration wizard fail --reason 'no token yet'",
    extra=(click.option("--reason", metavar="TEXT", required=True, help="Why."),),
)
def fail_wizard(opened: _Open, id: str, reason: str) -> Session:
    """See the command."""
    return opened.sessions.fail(id, reason, opened.by)


@_act(
    "restart",
    "Start a session that failed or expired again, at its first step, with its answers.",
    "registration wizard restart wiz_20261121093000123_0a1b2c3d4e5f6g7h",
    extra=(click.option("--forget", is_flag=True, help="Without its answers."),),
)
def restart_wizard(opened: _Open, id: str, forget: bool) -> Session:
    """See the command."""
    return opened.sessions.restart(id, opened.by, keep_answers=not forget)


# -- looking ---------------------------------------------------------------------------------------------


@wizard_command.command(
    "list",
    short_help="List sessions.",
    epilog=examples("registration wizard list", "registration wizard list --all --older-than 30d --json"),
)
@click.option("--all", "everything", is_flag=True, help="Also those that have ended.")
@click.option("--user", metavar="NAME", help="Only theirs.")
@click.option("--scope", metavar="NAME", help="Only those of it.")
@click.option("--state", metavar="STATE", help="Only those in it; ended ones as well.")
@click.option("--wizard", metavar="NAME", help="Only those of it.")
@click.option(
    "--older-than", metavar="TIME", help="Only those in which nothing happened for that long: 30m, 24h, 7d."
)
@shared_options
@click.pass_obj
def list_wizard(
    context: Context,
    everything: bool,
    user: str | None,
    scope: str | None,
    state: str | None,
    wizard: str | None,
    older_than: str | None,
) -> None:
    """List sessions in the order in which they were begun: the active ones, unless --all or --state says otherwise."""
    problems: list[Any] = []
    rows = [("SESSION", "WIZARD", "SCOPE", "USER", "STATE", "STEP", "LAST")]
    with _opened(context) as opened:
        for session in opened.sessions.query(
            scope=scope,
            user=user,
            state=state.upper() if state else None,
            wizard=wizard,
            active=None if everything or state else True,
            older_than_s=_seconds(older_than),
            problems=problems,
        ):
            if context.as_json:
                echo_json(session.as_json())
            else:
                step = f"{session.progress.number}/{session.progress.of}"
                rows.append((session.id, session.wizard.name, session.scope, session.user, session.state, step, when(session.updated_at)))  # fmt: skip
    if not context.as_json:
        if len(rows) > 1:
            table(rows)
        else:
            say(
                "There are none."
                if everything or state
                else "There is no active session; --all shows those that ended."
            )
    for problem in problems:
        show_error(problem, as_json=context.as_json)
    if problems:
        click.get_current_context().exit(worst(problems))


@wizard_command.command(
    "show",
    short_help="Show a session: where it is, its answers, where it can go.",
    epilog=examples("registration wizard show", "registration wizard show --log"),
)
@_session_argument
@click.option("--log", "with_log", is_flag=True, help="Its events as well.")
@_owner_options
@click.pass_obj
def show_wizard(
    context: Context, session: str | None, with_log: bool, scope: str | None, client: str | None
) -> None:
    """Show a session: the active one, unless another is named. Shows nothing that a secret is kept in, since none is."""
    with _opened(context, scope, client, session=session) as opened:
        found = opened.sessions.get(opened.id_of(session))
        events = list(opened.sessions.history(found.id)) if with_log else []
        lease = opened.keeper.find(f"sessions/{found.id}")
    if context.as_json:
        log = [orjson.loads(event.line) for event in events]
        echo_json(
            found.as_json()
            | {"at_work": lease.as_json() if lease else None}
            | ({"log": log} if with_log else {})
        )
        return
    from registration.cli.wizard_run import show_answers  # noqa: PLC0415  # as above
    from registration.wizards.progress import next_steps  # noqa: PLC0415  # as above

    _show_short(found)
    told = {
        "wizard": f"{found.wizard.title} ({found.wizard.name})",
        "owner": f"{found.user} in {found.scope}",
        "community": found.community or "",
        "begun": when(found.created_at),
        "last": when(found.updated_at),
        "expires": when(found.expires_at) if found.expires_at and found.is_active else "",
        "attempt": str(found.attempt) if found.attempt > 1 else "",
        "stopped": f"at {found.stopped['at']} {found.stopped['reason']}".rstrip() if found.stopped else "",
        "manifest": str((found.manifest or {}).get("id", "")),
        "at work": f"{lease.holder} on {lease.host}, until {when(lease.until)}" if lease else "",
        "bound": "to a client" if found.bound else "",
        "can go": ", ".join(dict.fromkeys(next_steps(found.wizard, found.state, found.answers).values())),
    }
    for name, text in told.items():
        if text:
            echo(f"  {name:<10}{printable(text)}")
    show_answers(found)
    if events:
        table(event_row(event) for event in events)


@wizard_command.command(
    "answers",
    short_help="Write a session's answers, to begin another one with.",
    epilog=examples(
        "registration wizard answers > answers.json", "registration wizard start NAME --answers answers.json"
    ),
)
@_session_argument
@_owner_options
@click.pass_obj
def answers_wizard(context: Context, session: str | None, scope: str | None, client: str | None) -> None:
    """Write the answers of a session as JSON, for `--answers`."""
    with _opened(context, scope, client, session=session) as opened:
        found = opened.sessions.get(opened.id_of(session))
    option = 0 if context.as_json else orjson.OPT_INDENT_2
    click.echo(orjson.dumps({**found.wizard.identity, "answers": found.answers}, option=option))


@wizard_command.command(
    "stats", epilog=examples("registration wizard stats", "registration wizard stats --scope guild-7")
)
@click.option("--scope", metavar="NAME", help="Only of it.")
@shared_options
@click.pass_obj
def stats_wizard(context: Context, scope: str | None) -> None:
    """Count the sessions, by state and by wizard."""
    with _opened(context) as opened:
        found = opened.sessions.stats(scope)
    if context.as_json:
        echo_json(found.as_json())
        return
    echo(
        f"{found.total} sessions, {found.active} active"
        if found.total != 1
        else f"1 session, {found.active} active"
    )
    for state, count in found.by_state.items():
        echo(f"  {count:>6}  {state}")
    for name, count in found.by_wizard.items():
        echo(f"  {count:>6}  of {name}")
    if found.completed_percent is not None:
        echo(f"  {found.completed_percent:>5}%  of those that ended are complete")
    if found.oldest_active:
        echo(f"  left alone for longest: since {when(found.oldest_active)}")
    if found.unreadable:
        say(f"{found.unreadable} can't be read: `registration wizard health` tells which.")


# -- upkeep ----------------------------------------------------------------------------------------------


@wizard_command.command(
    "cleanup",
    short_help="Record what has expired, and remove what ended long ago.",
    epilog=examples("registration wizard cleanup", "registration wizard cleanup --delete-after 30d"),
)
@click.option(
    "--delete-after",
    metavar="TIME",
    help="Remove sessions that ended that long ago, with their answers: 30d.",
)
@shared_options
@click.pass_obj
def cleanup_wizard(context: Context, delete_after: str | None) -> None:
    """Record the expiry of every session that has expired.

    Nothing depends on it: what has expired counts as expired, recorded or not. Manifests are never removed.
    """
    with _opened(context) as opened:
        found = opened.sessions.cleanup_expired(delete_after_s=_seconds(delete_after))
    if context.as_json:
        echo_json({"looked_at": found.looked_at, "expired": found.expired, "deleted": found.deleted, "problems": [one.as_json() for one in found.problems]})  # fmt: skip
    else:
        echo(f"{found.looked_at} looked at, {len(found.expired)} expired, {len(found.deleted)} removed")
        for problem in found.problems:
            show_error(problem, as_json=False)
    if found.problems:
        click.get_current_context().exit(worst(found.problems))


@wizard_command.command("health", epilog=examples("registration wizard health"))
@shared_options
@click.pass_obj
def health_wizard(context: Context) -> None:
    """Check every byte of every session, as `registration verify` does for manifests. Changes nothing."""
    with _opened(context) as opened:
        found = opened.sessions.health()
    damaged = any(one.kind == "damage" for one in found.findings)
    if context.as_json:
        echo_json(
            {
                "looked_at": found.looked_at,
                "sound": not damaged,
                "findings": [one.as_json() for one in found.findings],
                "problems": [one.as_json() for one in found.problems],
            }
        )
    else:
        for one in found.findings:
            echo(finding_line(one))
        for problem in found.problems:
            show_error(problem, as_json=False)
        said = "damage was found" if damaged else "every byte is what was written"
        echo(f"{counted(found.looked_at, 'session')} checked: {said}.")
    if damaged or found.problems:
        click.get_current_context().exit(DAMAGE if damaged else worst(found.problems))


@wizard_command.command(
    "delete",
    short_help="Remove a session for good, its answers included.",
    epilog=examples("registration wizard delete wiz_20261121093000123_0a1b2c3d4e5f6g7h --yes"),
)
@click.argument("session")
@click.option("--yes", is_flag=True, help="Don't ask.")
@_owner_options
@click.pass_obj
def delete_wizard(context: Context, session: str, yes: bool, scope: str | None, client: str | None) -> None:
    """Remove a session of one's own for good, or one that is damaged. The manifest that it ended in stays."""
    with _opened(context, scope, client, session=session) as opened:
        by: Caller | None = opened.by
        try:
            opened.sessions.get(session)
        except StoreError as problem:
            say(printable(f"{problem.problem} Whose it is can't be told."))
            by = None
        if not yes and _is_terminal(context):
            click.confirm(f"Remove {session}, with all its answers?", abort=True, err=True)
        elif not yes:
            raise InvalidArgument("Removing a session can't be undone.", "Say that you mean it: --yes.")
        opened.sessions.delete(session, by)
    if context.as_json:
        echo_json({"session": session, "deleted": True})
    else:
        echo(f"{session}  removed")


@wizard_command.command(
    "matrix",
    short_help="Print a wizard's whole transition matrix.",
    epilog=examples("registration wizard matrix mcp-server"),
)
@click.argument("name", metavar="NAME|FILE")
@shared_options
@click.pass_obj
def matrix_wizard(context: Context, name: str) -> None:
    """Print, from every state of a wizard, where every kind of action leads: a table in Markdown."""
    from registration.wizards.matrix import markdown_of, matrix_of  # noqa: PLC0415  # for this command alone

    wizard = _wizard(None, name)
    if context.as_json:
        for state, row in matrix_of(wizard).items():
            echo_json({"state": state, **row})
    else:
        click.echo(markdown_of(wizard), nl=False)


# -- inside ----------------------------------------------------------------------------------------------


def _is_terminal(context: Context) -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty() and not context.as_json


def _no_wait(_held: LeaseHeld) -> bool:
    return False


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = duration_s(text)
    if found is None:
        raise InvalidArgument(f"{text!r} is no time; {DURATION_FORM}.", "Say it as 30d.")
    return found


def _show_short(session: Session) -> None:
    progress = session.progress
    title = f"  {session.title}" if session.title != session.state.capitalize() else ""
    echo(printable(f"{session.id}  {session.state}{title}  {progress.bar(10)}"))


def _wizard(sessions: Sessions | None, name: str) -> Wizard:
    """The wizard of a name, or in a file.

    Raises:
        NotFound: when there is none.
        InvalidWizard: when the file can't be meant, or its wizard has the name of one that comes along.
    """
    from registration.errors import InvalidWizard  # noqa: PLC0415  # as above
    from registration.wizards.files import parse_wizard  # noqa: PLC0415  # as above
    from registration.wizards.shipped import SHIPPED, shipped  # noqa: PLC0415  # as above

    if not name.endswith((".toml", ".json")) and os.sep not in name:
        return sessions.wizard(name) if sessions is not None else shipped(name)
    raw = _bytes_of(name)
    wizard = parse_wizard(raw, source=printable(name), form="json" if name.endswith(".json") else "toml")
    if wizard.name in SHIPPED:
        raise InvalidWizard(
            printable(name), [f"name: a wizard {wizard.name!r} comes with the package; choose another"]
        )
    return wizard


def _bytes_of(file: str) -> bytes:
    shown = "Standard input" if file == "-" else printable(file)
    try:
        if file == "-":
            return sys.stdin.buffer.read(ANSWERS_BYTES_MAX + 1)
        with open(file, "rb") as opened:
            return opened.read(ANSWERS_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no file {shown}.", "Name a file, or - for standard input.") from None
    except OSError as error:
        raise StoreError(
            f"{shown} can't be read: {error.strerror}.", "Name a file that can be read."
        ) from None


def _given(file: str | None, said: tuple[str, ...]) -> dict[str, Any] | None:
    """The answers that a command line brings; None where it brings none.

    Raises:
        InvalidDocument: when the file is no JSON object.
        InvalidArgument: when an answer can't be meant.
    """
    from registration.values.documents import parse_document  # noqa: PLC0415  # as above

    if file is None and not said:
        return None
    found: dict[str, Any] = {}
    if file is not None:
        source = "Standard input" if file == "-" else printable(file)
        found = parse_document(_bytes_of(file), source=source, size_bytes_max=ANSWERS_BYTES_MAX).value
        if "answers" in found and isinstance(found["answers"], dict):  # as `wizard answers` writes them
            found = found["answers"]
        for step, answer in found.items():
            if not isinstance(answer, dict):
                raise InvalidAnswer(f"{source} has no answers by step: {step!r} is no object.", 'Write {"STEP": {"field": …}}.')  # fmt: skip
    for one in said:
        _put(found, one)
    return found


def _put(answers: dict[str, Any], said: str) -> None:
    """Set one place of the answers, making objects on the way; an index, or ``-``, is of a list that is there."""
    place, equals, text = said.partition("=")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in place.split("/")[1:]]
    if not equals or not place.startswith("/") or len(steps) < 2:
        raise InvalidArgument(f"--set {said!r} can't be meant.", "Write it as --set /STEP/field=VALUE.")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    at: Any = answers
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        new: Any = value if following is None else [] if following == "-" else {}
        at = _set(at, step, new, said, last=following is None)


def _set(at: Any, step: str, new: Any, said: str, *, last: bool) -> Any:
    if isinstance(at, dict):
        at[step] = new if last else at.get(step, new)
        return at[step]
    if isinstance(at, list) and step == "-":
        at.append(new)
        return new
    if isinstance(at, list) and step.isascii() and step.isdecimal() and int(step) < len(at):
        at[int(step)] = new if last else at[int(step)]
        return at[int(step)]
    raise InvalidArgument(f"--set {said!r} leads nowhere: there is nothing at {step!r}.", "Name a place that is there, or - for one more.")  # fmt: skip
