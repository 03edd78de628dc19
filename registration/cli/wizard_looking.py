"""Commands that inspect and maintain sessions: list, show, answers, stats, cleanup, health, delete, matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from registration.cli.context import Context, examples, shared_options
from registration.cli.exits import DAMAGE, worst
from registration.cli.output import (
    counted,
    echo,
    echo_document,
    echo_json,
    event_row,
    finding_line,
    printable,
    say,
    show_error,
    table,
    when,
)
from registration.cli.wizard_files import named_wizard
from registration.cli.wizard_sessions import (
    is_terminal,
    opened_sessions,
    owner_options,
    session_argument,
    show_short,
)
from registration.cli.words import SHELL
from registration.errors import InvalidArgument, StoreError
from registration.pipeline.wire import sessions
from registration.values.times import DURATION_FORM, duration_s

if TYPE_CHECKING:
    from registration.onboarding.sessions.session import Caller


@click.command(
    "list",
    short_help="List sessions.",
    epilog=examples("registration wizard list", "registration wizard list --all --older-than 30d --json"),
)
@click.option("--all", "everything", is_flag=True, help="Include ended sessions.")
@click.option("--user", metavar="NAME", help="Only sessions of this user.")
@click.option("--scope", metavar="NAME", help="Only sessions of this scope.")
@click.option("--state", metavar="STATE", help="Only sessions in this state, including ended ones.")
@click.option("--wizard", metavar="NAME", help="Only sessions of this wizard.")
@click.option("--older-than", metavar="TIME", help="Only sessions idle for that long: 30m, 24h, 7d.")
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
    """List sessions in order of their start: active ones only, unless --all or --state is given."""
    problems: list[Any] = []
    rows = [("SESSION", "WIZARD", "SCOPE", "USER", "STATE", "STEP", "LAST")]
    with opened_sessions(context) as opened:
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
                echo_json(sessions.session(session))
            else:
                step = f"{session.progress.number}/{session.progress.of}"
                rows.append((session.id, session.wizard.name, session.scope, session.user, session.state, step, when(session.updated_at)))  # fmt: skip
    if not context.as_json:
        if len(rows) > 1:
            table(rows)
        else:
            say(
                "There are no such sessions."
                if everything or state
                else "There are no active sessions; --all includes ended ones."
            )
    for problem in problems:
        show_error(problem, as_json=context.as_json)
    if problems:
        click.get_current_context().exit(worst(problems))


@click.command(
    "show",
    short_help="Show a session: step, answers, next steps.",
    epilog=examples("registration wizard show", "registration wizard show --log"),
)
@session_argument
@click.option("--log", "with_log", is_flag=True, help="Include its events.")
@owner_options
@click.pass_obj
def show_wizard(
    context: Context, session: str | None, with_log: bool, scope: str | None, client: str | None
) -> None:
    """Show a session: the active one, unless another is named."""
    with opened_sessions(context, scope, client, session=session) as opened:
        found = opened.sessions.get(opened.id_of(session))
        events = list(opened.sessions.history(found.id)) if with_log else []
        lease = opened.keeper.find(f"sessions/{found.id}")
    if context.as_json:
        echo_json(sessions.at_work(found, lease, events if with_log else None))
        return
    from registration.cli.wizard_run import show_answers  # noqa: PLC0415  # as above
    from registration.onboarding.wizards.progress import next_steps  # noqa: PLC0415  # as above

    show_short(found)
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
        "locked by": f"{lease.holder} on {lease.host}, until {when(lease.until)}" if lease else "",
        "bound": "to a client" if found.bound else "",
        "next steps": ", ".join(dict.fromkeys(next_steps(found.wizard, found.state, found.answers).values())),
    }
    for name, text in told.items():
        if text:
            echo(f"  {name:<10}{printable(text)}")
    show_answers(found)
    if events:
        table(event_row(event) for event in events)


@click.command(
    "answers",
    short_help="Print a session's answers, to start another one with.",
    epilog=examples(
        "registration wizard answers > answers.json", "registration wizard start NAME --answers answers.json"
    ),
)
@session_argument
@owner_options
@click.pass_obj
def answers_wizard(context: Context, session: str | None, scope: str | None, client: str | None) -> None:
    """Print the answers of a session as JSON, for `--answers`."""
    with opened_sessions(context, scope, client, session=session) as opened:
        found = opened.sessions.get(opened.id_of(session))
    echo_document(sessions.answers(found), as_json=context.as_json)


@click.command(
    "stats", epilog=examples("registration wizard stats", "registration wizard stats --scope guild-7")
)
@click.option("--scope", metavar="NAME", help="Only this scope.")
@shared_options
@click.pass_obj
def stats_wizard(context: Context, scope: str | None) -> None:
    """Count the sessions, by state and by wizard."""
    with opened_sessions(context) as opened:
        found = opened.sessions.stats(scope)
    if context.as_json:
        echo_json(sessions.counts(found))
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
        echo(f"  {found.completed_percent:>5}%  of ended sessions are complete")
    if found.oldest_active:
        echo(f"  idle longest: since {when(found.oldest_active)}")
    if found.unreadable:
        say(f"{found.unreadable} can't be read: see `registration wizard health`.")


@click.command(
    "cleanup",
    short_help="Record expiries, and delete old ended sessions.",
    epilog=examples("registration wizard cleanup", "registration wizard cleanup --delete-after 30d"),
)
@click.option(
    "--delete-after",
    metavar="TIME",
    help="Delete sessions that ended that long ago, with their answers: 30d.",
)
@shared_options
@click.pass_obj
def cleanup_wizard(context: Context, delete_after: str | None) -> None:
    """Record the expiry of every session that has expired.

    Optional: an expired session counts as expired, recorded or not. Manifests are never deleted.
    """
    with opened_sessions(context) as opened:
        found = opened.sessions.cleanup_expired(delete_after_s=_seconds(delete_after))
    if context.as_json:
        echo_json(sessions.cleanup(found, SHELL))
    else:
        echo(f"{found.looked_at} checked, {len(found.expired)} expired, {len(found.deleted)} deleted")
        for problem in found.problems:
            show_error(problem, as_json=False)
    if found.problems:
        click.get_current_context().exit(worst(found.problems))


@click.command("health", epilog=examples("registration wizard health"))
@shared_options
@click.pass_obj
def health_wizard(context: Context) -> None:
    """Verify every byte of every session. Changes nothing."""
    with opened_sessions(context) as opened:
        found = opened.sessions.health()
    damaged = any(one.kind == "damage" for one in found.findings)
    if context.as_json:
        echo_json(sessions.health(found, SHELL))
    else:
        for one in found.findings:
            echo(finding_line(one))
        for problem in found.problems:
            show_error(problem, as_json=False)
        said = "damage was found" if damaged else "every byte is as written"
        echo(f"{counted(found.looked_at, 'session')} checked: {said}.")
    if damaged or found.problems:
        click.get_current_context().exit(DAMAGE if damaged else worst(found.problems))


@click.command(
    "delete",
    short_help="Delete a session, including its answers.",
    epilog=examples("registration wizard delete wiz_20261121093000123_0a1b2c3d4e5f6g7h --yes"),
)
@click.argument("session")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
@owner_options
@click.pass_obj
def delete_wizard(context: Context, session: str, yes: bool, scope: str | None, client: str | None) -> None:
    """Delete one of your own sessions, or a damaged one. Its manifest stays."""
    with opened_sessions(context, scope, client, session=session) as opened:
        by: Caller | None = opened.by
        try:
            opened.sessions.get(session)
        except StoreError as problem:
            say(printable(f"{problem.problem} Its owner is unknown."))
            by = None
        if not yes and is_terminal(context):
            click.confirm(f"Delete {session}, with all its answers?", abort=True, err=True)
        elif not yes:
            raise InvalidArgument("Deleting a session can't be undone.", "Confirm with --yes.")
        opened.sessions.delete(session, by)
    if context.as_json:
        echo_json(sessions.deleted(session))
    else:
        echo(f"{session}  removed")


@click.command(
    "matrix",
    short_help="Print the transition matrix of a wizard.",
    epilog=examples("registration wizard matrix mcp-server"),
)
@click.argument("name", metavar="NAME|FILE")
@shared_options
@click.pass_obj
def matrix_wizard(context: Context, name: str) -> None:
    """Print the targets of every kind of action from every state of a wizard, as a Markdown table."""
    from registration.onboarding.wizards.matrix import markdown_of, matrix_of  # noqa: PLC0415  # for this command alone

    wizard = named_wizard(None, name)
    if context.as_json:
        for state, row in matrix_of(wizard).items():
            echo_json(sessions.matrix_row(state, row))
    else:
        click.echo(markdown_of(wizard), nl=False)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = duration_s(text)
    if found is None:
        raise InvalidArgument(f"{text!r} is not a duration; {DURATION_FORM}.", "For example: 30d.")
    return found
