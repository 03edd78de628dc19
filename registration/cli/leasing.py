"""Locking commands: claim, release, next, locks (list, history, break)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from registration.cli.context import (
    Context,
    Subcommands,
    actor_option,
    dry_run_option,
    examples,
    id_argument,
    key_argument,
    shared_options,
    state_name,
    state_option,
)
from registration.cli.exits import worst
from registration.cli.output import (
    DRY_RUN,
    echo,
    echo_json,
    printable,
    say,
    say_next,
    show_error,
    table,
    when,
)
from registration.cli.words import SHELL, line
from registration.errors import InvalidArgument, Next
from registration.pipeline.wire import locks, reasons
from registration.storage import layout
from registration.values.times import DURATION_FORM, duration_s

if TYPE_CHECKING:
    from registration.pipeline.waiting import Choice, Waiting
    from registration.values.leases import Lease

_AREAS = (layout.MANIFESTS, "sessions")
"""The prefix that distinguishes a key from the id of a manifest."""


@click.command(
    "claim",
    short_help="Lock a manifest while you review it.",
    epilog=examples(
        "registration claim io.github.acme/weather@1.2.0",
        "registration claim io.github.acme/weather@1.2.0 --for 2h --actor bea",
    ),
)
@id_argument
@click.option("--for", "time", metavar="TIME", help="Duration: 45m, 2h, 1d.  [default: 30m]")
@dry_run_option
@actor_option
@shared_options
@click.pass_obj
def claim_command(context: Context, id: str, time: str | None, dry_run: bool) -> None:
    """Lock a manifest while you review it: others can't act on it.

    Claiming again extends the lock. It is released when your action moves the manifest on, or approves it; when
    it expires; and by `release`. Others can still read, and see the holder. The policy may limit the lock to some
    actions: `[claims]` with `exclusive = ["approve", "reject"]`; to none with `exclusive = []`.
    """
    from registration.pipeline.work import CLAIM_S  # noqa: PLC0415  # `--help` needs none of it

    for_s = CLAIM_S if time is None else duration_s(time)
    if for_s is None:
        raise InvalidArgument(f"{time!r} is not a duration; {DURATION_FORM}.", "For example: `--for 30m`.")
    with context.open() as pipeline:
        claim = pipeline.work.claim(id, for_s=for_s, dry_run=dry_run)
    if context.as_json:
        echo_json(locks.claim(id, claim, dry_run=dry_run))
        return
    echo(f"{id} is locked for you ({printable(claim.holder)}) until {when(claim.until)}.")
    if dry_run:
        say(DRY_RUN)
        return
    release = Next(operation="locks.release", id=id, actor=context.actor)
    say(f"When you are done: {printable(line(release))}")


@click.command(
    "release",
    short_help="Release your lock on a manifest.",
    epilog=examples("registration release io.github.acme/weather@1.2.0"),
)
@id_argument
@dry_run_option
@actor_option
@shared_options
@click.pass_obj
def release_command(context: Context, id: str, dry_run: bool) -> None:
    """Release your lock on a manifest. Does nothing if it is not locked."""
    with context.open() as pipeline:
        released = pipeline.work.release(id, dry_run=dry_run)
    if context.as_json:
        echo_json(locks.released(id, was_claimed=released, dry_run=dry_run))
    elif released:
        echo(f"{id} is released.")
        if dry_run:
            say(DRY_RUN)
    else:
        echo(f"{id} was not locked; nothing was changed.")


@click.command(
    "next",
    short_help="List manifests waiting for you, oldest first.",
    epilog=examples(
        "registration next --as bea",
        "registration next --as bea --state REVIEWED --limit 1 --json | jq -r .choices[0].next",
    ),
)
@click.option(
    "--as", "name", metavar="NAME", help="The reviewer.  [default: REGISTRATION_ACTOR, else the login name]"
)
@state_option
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Maximum number.",
)
@shared_options
@click.pass_obj
def next_command(context: Context, name: str | None, state: str | None, limit: int) -> None:
    """List the manifests that you can act on now, oldest first, with the reason and the command to type.

    Manifests that others have locked are skipped. Rules are evaluated until N are found.
    """
    usual = context.acting()
    who = name if name is not None else usual
    with context.open() as pipeline:
        wanted = None if state is None else state_name(pipeline.lifecycle, state)
        waiting = pipeline.work.next(who, state=wanted, limit=limit)
    for one in waiting.found:
        if context.as_json:
            echo_json(reasons.waiting(one, SHELL))
        else:
            _tell_waiting(one)
    for problem in waiting.unread:
        show_error(problem, as_json=context.as_json)
    if not context.as_json:
        if not waiting.found:
            say(f"Nothing is waiting for {printable(who)}.")
        if waiting.claimed:
            were = "1 is" if waiting.claimed == 1 else f"{waiting.claimed:,} are"
            say(f"{were} locked by others: see `registration locks list`.")
        if not waiting.complete and len(waiting.found) < limit:
            say(f"Only the {waiting.looked_at:,} oldest were checked; narrow it down with `--state STATE`.")
        unclaimed = next((one for one in waiting.found if one.claim is None), None)
        if unclaimed is not None:
            actor = None if who == usual else who
            say_next(Next(operation="locks.claim", id=unclaimed.manifest_id, actor=actor))
    if waiting.unread:
        click.get_current_context().exit(worst(waiting.unread))


def _tell_waiting(one: Waiting) -> None:
    claimed = f"  locked by you until {when(one.claim.until)}" if one.claim is not None else ""
    echo(f"{one.manifest_id}  {one.state}  since {when(one.since)}{claimed}")
    for choice in one.choices:
        echo(printable(f"  {choice.action} -> {choice.to}{_reasons(choice)}"))
        if choice.next:
            echo(printable(f"    {line(choice.next)}"))


def _reasons(choice: Choice) -> str:
    return f": {'; '.join(choice.why)}" if choice.why else ""


@click.group(
    "locks",
    cls=Subcommands,
    short_help="List or break locks.",
    epilog=examples(
        "registration locks list",
        "registration locks break io.github.acme/weather@1.2.0 --reason 'bea is on holiday'",
    ),
)
def locks_command() -> None:
    """Locks: on manifests (see `claim`), and other leases.

    A lock has a key: `manifests/ID` for a manifest, for which ID alone is enough.
    """


@locks_command.command("list", epilog=examples("registration locks list", "registration locks list --json"))
@shared_options
@click.pass_obj
def list_locks(context: Context) -> None:
    """List current locks. Columns: key, holder, host, since, until and fencing number."""
    rows: list[tuple[str, ...]] = []
    try:
        with context.open() as pipeline:
            for lease in pipeline.work.leases.list():
                if context.as_json:
                    echo_json(locks.lease(lease))
                rows.append(_row(lease))
    finally:
        if rows and not context.as_json:
            table(rows)  # the readable ones first, then the error of a damaged one
    if not rows and not context.as_json:
        say("No locks are held.")


def _row(lease: Lease) -> tuple[str, ...]:
    since, until = when(lease.since), when(lease.until)
    return (lease.key, lease.holder, lease.host, f"since {since}", f"until {until}", f"number {lease.number}")


@locks_command.command("history", epilog=examples("registration locks history io.github.acme/weather@1.2.0"))
@key_argument
@shared_options
@click.pass_obj
def lock_history(context: Context, key: str) -> None:
    """Show how past locks on KEY ended. Oldest first: released, expired or broken, by whom and why."""
    with context.open() as pipeline:
        ended = pipeline.work.leases.history(_key(key))
    if context.as_json:
        for one in ended:
            echo_json(locks.ended_lease(one))
        return
    if not ended:
        say(f"No lock on {printable(key)} has ended yet.")
        return
    table(
        (
            f"number {one.number}",
            one.holder,
            one.host,
            f"since {when(one.since)}",
            f"{one.how} {when(one.time)}" + (f" by {one.by}: {one.reason}" if one.by is not None else ""),
        )
        for one in ended
    )


@locks_command.command(
    "break",
    epilog=examples(
        "registration locks break io.github.acme/weather@1.2.0 --reason 'bea is on holiday'",
        "registration locks break sessions/wiz_01j… --reason 'the terminal is gone'",
    ),
)
@key_argument
@click.option("--reason", metavar="TEXT", required=True, help="The reason; the holder will want to know.")
@dry_run_option
@actor_option
@shared_options
@click.pass_obj
def break_lock(context: Context, key: str, reason: str, dry_run: bool) -> None:
    """Break the lock on KEY. Later writes under it are refused.

    For a manifest, that is recorded as an event in its log; for others, in `locks history`.
    """
    full = _key(key)
    with context.open() as pipeline:
        broken = pipeline.work.break_lease(full, reason=reason, dry_run=dry_run)
    if context.as_json:
        echo_json(locks.broken(broken, dry_run=dry_run))
        return
    echo(f"The lock of {printable(broken.holder)} ({printable(broken.host)}) on {full} was broken.")
    area, _, id = full.partition("/")
    if dry_run:
        say(DRY_RUN)
    elif area == layout.MANIFESTS:
        say_next(Next(operation="locks.claim", id=id))


def _key(text: str) -> str:
    """The typed key, or the key of the manifest with that id."""
    return text if text.startswith(tuple(f"{area}/" for area in _AREAS)) else layout.lease_key(text)
