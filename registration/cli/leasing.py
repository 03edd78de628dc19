"""Commands for working alone: claim, release, next, locks (list, history, break)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from registration.cli.context import (
    Context,
    Subcommands,
    actor_option,
    examples,
    id_argument,
    key_argument,
    shared_options,
    state_name,
    state_option,
)
from registration.cli.exits import worst
from registration.cli.output import echo, echo_json, printable, say, say_next, show_error, table, when
from registration.cli.words import SHELL, line
from registration.errors import InvalidArgument, Next
from registration.pipeline.wire import locks, reasons
from registration.storage import layout
from registration.values.times import DURATION_FORM, duration_s

if TYPE_CHECKING:
    from registration.pipeline.pipeline import RegistrationPipeline
    from registration.pipeline.waiting import Choice, Waiting
    from registration.values.leases import Lease

_AREAS = (layout.MANIFESTS, "sessions")
"""What a key begins with, so that it is told from the id of a manifest."""


@click.command(
    "claim",
    short_help="Keep a manifest for yourself while you look at it.",
    epilog=examples(
        "registration claim io.github.acme/weather@1.2.0",
        "registration claim io.github.acme/weather@1.2.0 --for 2h --actor bea",
    ),
)
@id_argument
@click.option("--for", "time", metavar="TIME", help="For how long: 45m, 2h, 1d.  [default: 30m]")
@actor_option
@shared_options
@click.pass_obj
def claim_command(context: Context, id: str, time: str | None) -> None:
    """Keep a manifest for yourself: until then, nobody else acts on it.

    Claiming again begins the time anew. It ends by itself once you have moved the manifest on, or approved it; by its time;
    and with `release`. Others read on, and see who has it. The policy may say that a claim keeps others from some actions
    only: `[claims]` with `exclusive = ["approve", "reject"]`; from none with `exclusive = []`.
    """
    from registration.pipeline.work import CLAIM_S  # noqa: PLC0415  # `--help` needs none of it

    for_s = CLAIM_S if time is None else duration_s(time)
    if for_s is None:
        raise InvalidArgument(f"{time!r} is no time; {DURATION_FORM}.", "Say `--for 30m`.")
    with context.open() as pipeline:
        claim = pipeline.work.claim(id, for_s=for_s)
    if context.as_json:
        echo_json(locks.claim(id, claim))
        return
    echo(f"{id} is yours ({printable(claim.holder)}) until {when(claim.until)}.")
    release = Next(operation="locks.release", id=id, actor=context.actor)
    say(f"When you are done: {printable(line(release))}")


@click.command(
    "release",
    short_help="Let others have what you have claimed.",
    epilog=examples("registration release io.github.acme/weather@1.2.0"),
)
@id_argument
@actor_option
@shared_options
@click.pass_obj
def release_command(context: Context, id: str) -> None:
    """End your claim on a manifest. Where nobody has claimed it, nothing is done."""
    with context.open() as pipeline:
        released = pipeline.work.release(id)
    if context.as_json:
        echo_json(locks.released(id, was_claimed=released))
    elif released:
        echo(f"{id} is free.")
    else:
        echo(f"{id} was not claimed; nothing was changed.")


@click.command(
    "next",
    short_help="What waits for you, longest first, and why.",
    epilog=examples(
        "registration next --as bea",
        "registration next --as bea --state REVIEWED --limit 1 --json | jq -r .choices[0].next",
    ),
)
@click.option(
    "--as", "name", metavar="NAME", help="For whom.  [default: REGISTRATION_ACTOR, else the login name]"
)
@state_option
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="How many, at most.",
)
@shared_options
@click.pass_obj
def next_command(context: Context, name: str | None, state: str | None, limit: int) -> None:
    """List the manifests on which you could act now, those that wait longest first: why, and what to type.

    What others have claimed is passed over. The rules are asked about as many as it takes to find N.
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
            say(f"Nothing waits for {printable(who)}.")
        if waiting.claimed:
            were = "1 is" if waiting.claimed == 1 else f"{waiting.claimed:,} are"
            say(f"{were} claimed by others: `registration locks list` shows by whom.")
        if not waiting.complete and len(waiting.found) < limit:
            say(
                f"Only the {waiting.looked_at:,} that wait longest were looked at; `--state STATE` narrows it down."
            )
        unclaimed = next((one for one in waiting.found if one.claim is None), None)
        if unclaimed is not None:
            actor = None if who == usual else who
            say_next(Next(operation="locks.claim", id=unclaimed.manifest_id, actor=actor))
    if waiting.unread:
        click.get_current_context().exit(worst(waiting.unread))


def _tell_waiting(one: Waiting) -> None:
    claimed = f"  claimed by you until {when(one.claim.until)}" if one.claim is not None else ""
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
    short_help="Who works on what alone; take it away from them.",
    epilog=examples(
        "registration locks list",
        "registration locks break io.github.acme/weather@1.2.0 --reason 'bea is on holiday'",
    ),
)
def locks_command() -> None:
    """Who works on what alone, and until when: claims on manifests, and whatever else has a lease.

    A lease has a key: `manifests/ID` for the claim on a manifest, where ID alone will do.
    """


@locks_command.command("list", epilog=examples("registration locks list", "registration locks list --json"))
@shared_options
@click.pass_obj
def list_locks(context: Context) -> None:
    """List who works on what alone at this moment, where, since and until when, and under which number."""
    rows: list[tuple[str, ...]] = []
    try:
        with context.open() as pipeline:
            for lease in pipeline.work.leases.list():
                if context.as_json:
                    echo_json(locks.lease(lease))
                rows.append(_row(lease))
    finally:
        if rows and not context.as_json:
            table(rows)  # where one is damaged, all others before that is said
    if not rows and not context.as_json:
        say("Nobody works on anything alone.")


def _row(lease: Lease) -> tuple[str, ...]:
    since, until = when(lease.since), when(lease.until)
    return (lease.key, lease.holder, lease.host, f"since {since}", f"until {until}", f"number {lease.number}")


@locks_command.command("history", epilog=examples("registration locks history io.github.acme/weather@1.2.0"))
@key_argument
@shared_options
@click.pass_obj
def lock_history(context: Context, key: str) -> None:
    """Show how the latest leases on KEY ended, first to last: released, expired or broken, by whom and why."""
    with context.open() as pipeline:
        ended = pipeline.work.leases.history(_key(key))
    if context.as_json:
        for one in ended:
            echo_json(locks.ended_lease(one))
        return
    if not ended:
        say(f"No lease on {printable(key)} has ended yet.")
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
@click.option("--reason", metavar="TEXT", required=True, help="Why; whoever had it will want to know.")
@actor_option
@shared_options
@click.pass_obj
def break_lock(context: Context, key: str, reason: str) -> None:
    """Take KEY away from whoever works on it alone. What they still try to write under it is refused.

    For the claim on a manifest that is an event in its log; for all others it stands in `locks history`.
    """
    full = _key(key)
    with context.open() as pipeline:
        broken = _break(pipeline, full, reason, context.acting())
    if context.as_json:
        echo_json(locks.broken(broken))
        return
    echo(f"{full} was taken away from {printable(broken.holder)} ({printable(broken.host)}).")
    area, _, id = full.partition("/")
    if area == layout.MANIFESTS:
        say_next(Next(operation="locks.claim", id=id))


def _break(pipeline: RegistrationPipeline, key: str, reason: str, actor: str) -> Lease:
    area, _, id = key.partition("/")
    if area == layout.MANIFESTS:
        return pipeline.work.break_claim(id, reason=reason, actor=actor)
    return pipeline.work.leases.break_lease(key, by=actor, reason=reason)


def _key(text: str) -> str:
    """The key that was typed, or that of the manifest whose id it is."""
    return text if text.startswith(tuple(f"{area}/" for area in _AREAS)) else layout.lease_key(text)
