"""Recovery commands: recover, repair, doctor."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from registration.cli.context import (
    Context,
    actor_option,
    examples,
    lock_timeout_option,
    optional_id_argument,
    shared_options,
)
from registration.cli.exits import DAMAGE, FAILURE, exit_code, worst
from registration.cli.output import (
    DRY_RUN,
    Progress,
    counted,
    echo,
    echo_json,
    printable,
    say,
    show_error,
    table,
    told_here,
)
from registration.cli.words import SHELL, advice
from registration.errors import InvalidArgument, LockTimeout, NotFound, StoreError
from registration.pipeline.upkeep import AREAS, Repaired, Settled, split_path
from registration.pipeline.wire import upkeep
from registration.storage import layout
from registration.storage.reports import Loss, RecoveryStep

if TYPE_CHECKING:
    from registration.pipeline.pipeline import RegistrationPipeline
    from registration.storage.doctor import Check


@click.command(
    "recover",
    short_help="Recover from a crash.",
    epilog=examples(
        "registration recover --dry-run",
        "registration recover",
        "registration recover io.github.acme/weather@1.2.0",
    ),
)
@optional_id_argument
@click.option("--dry-run", is_flag=True, help="Show what would be done without doing it.")
@lock_timeout_option
@shared_options
@click.pass_obj
def recover_command(context: Context, id: str | None, dry_run: bool) -> None:
    """Recover from a crash: replay each log from its first byte, and rewrite its snapshot.

    Bytes of a write that was never acknowledged are moved to quarantine/. Damage is reported and left alone: see
    `registration repair`. Stale reservations of names are removed, missing ones restored.
    Sessions and deployments are recovered as well. Other processes may keep writing.
    """
    manifests = 0
    settled: list[Settled] = []
    with told_here(), context.open() as pipeline, Progress("replayed", shown=not context.as_json) as progress:
        for one in (
            pipeline.upkeep.recover_all(dry_run=dry_run)
            if id is None
            else _one(pipeline, id, dry_run=dry_run)
        ):
            progress.step()
            manifests += one.area == layout.MANIFESTS
            if one.steps or one.problem:
                settled.append(replace(one, state=None))
            _show(context, progress, one, dry_run=dry_run)
        progress.clear()
        if id is not None and not settled:
            pipeline.load_state(id)  # raises NotFound with a suggestion
    if not context.as_json:
        _sum_up(manifests, settled, dry_run=dry_run)
    problems = [one.problem for one in settled if one.problem is not None]
    if problems:
        click.get_current_context().exit(worst(problems))


def _one(pipeline: RegistrationPipeline, id: str, *, dry_run: bool) -> Iterator[Settled]:
    try:
        found = pipeline.upkeep.recover(id, dry_run=dry_run)
    except (StoreError, LockTimeout) as error:
        yield Settled(layout.MANIFESTS, id, problem=error)
    else:
        yield Settled(layout.MANIFESTS, id, found.steps, state=found.state)


def _show(context: Context, progress: Progress, one: Settled, *, dry_run: bool) -> None:
    if context.as_json:
        if one.area == layout.MANIFESTS or one.steps or one.problem:
            echo_json(upkeep.settled(one, SHELL, dry_run=dry_run))
        return
    progress.clear()
    for step in one.steps:
        echo(f"{one.id}: {_told(step)}")
    if one.problem is not None:
        show_error(one.problem, as_json=False)


def _sum_up(manifests: int, settled: Sequence[Settled], *, dry_run: bool) -> None:
    done = "to recover" if dry_run else "recovered"
    of = {area: [one for one in settled if one.area == area] for area in AREAS}
    say(f"{counted(manifests, 'manifest')} replayed: {_came_to(of[layout.MANIFESTS], done)}.")
    mended = sum(bool(one.steps) for one in of[layout.ALIASES])
    if mended:
        say(f"{counted(mended, 'name')} {done}.")
    own = [one for one in of[layout.REGISTRY] if one.steps or one.problem]
    if own:
        say(f"The registry's own log: {_came_to(own, done)}.")
    others = of[layout.SESSIONS] + of[layout.DEPLOYMENTS]
    if others:
        say(f"Sessions and deployments: {_came_to(others, done)}.")
    if dry_run:
        say(DRY_RUN)


def _came_to(settled: Sequence[Settled], done: str) -> str:
    """The numbers of recovered, damaged and unreachable manifests, if any."""
    problems = [one.problem for one in settled if one.problem is not None]
    damaged = sum(exit_code(problem) == DAMAGE for problem in problems)
    failed = f", {len(problems) - damaged} unreachable" if len(problems) > damaged else ""
    return f"{sum(bool(one.steps) for one in settled)} {done}, {damaged} damaged{failed}"


def _told(step: RecoveryStep) -> str:
    kept = f", kept as {step.kept_as}" if step.kept_as else ""
    return printable(f"{step.found}: {step.done}{kept}")


@click.command(
    "repair",
    short_help="Truncate a damaged log to its valid part.",
    epilog=examples(
        "registration repair io.github.acme/weather@1.2.0",
        "registration repair --accept-loss --actor ada io.github.acme/weather@1.2.0",
        "registration repair --accept-loss --reason 'no backup' aliases/io.github.acme/weather",
        "registration repair --all",
    ),
)
@click.argument("path", metavar="[ID|AREA/ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="Repair every damaged log, in all areas.")
@click.option("--accept-loss", is_flag=True, help="Repair it: events after the damage are lost.")
@click.option(
    "--dry-run", is_flag=True, help="Show what would be done without doing it, even with --accept-loss."
)
@click.option("--reason", metavar="TEXT", help="The reason for accepting the loss.  [default: the damage]")
@actor_option
@lock_timeout_option
@shared_options
@click.pass_obj
def repair_command(
    context: Context, path: str | None, everything: bool, accept_loss: bool, dry_run: bool, reason: str | None
) -> None:
    """Truncate a damaged log to its valid part.

    Name a manifest by its id, any other log by its area: aliases/NAME, sessions/ID, deployments/ID; or use --all.

    Without --accept-loss, only shows what would be lost. With it, everything from the damage on is moved to quarantine/,
    with the snapshot, and an event records the loss and who accepted it. Look for a backup first.

    The lost events may have ended any approval, so all approvals lapse and must be given again. A policy may guard `repair`.
    """
    if (path is None) is not everything:
        raise InvalidArgument("Name one log, or use --all.", "`registration verify` lists what is damaged.")
    accept_loss &= not dry_run
    found: list[Repaired] = []
    with told_here(), context.open() as pipeline:
        if path is None:
            found += pipeline.upkeep.repair_all(accept_loss=accept_loss, reason=reason)
        else:
            loss = pipeline.upkeep.repair(path, accept_loss=accept_loss, reason=reason)
            found.append(Repaired(*split_path(path), loss))
    for one in found:
        _show_repaired(context, one, accepted=accept_loss)
    if not found and not context.as_json:
        echo("Nothing is damaged. What a crash left is settled by `registration recover`.")
    problems = [one.problem for one in found if one.problem is not None]
    if problems or (not accept_loss and any(one.loss for one in found)):
        click.get_current_context().exit(worst(problems) if problems else DAMAGE)


def _show_repaired(context: Context, one: Repaired, *, accepted: bool) -> None:
    named = one.id if one.area == layout.MANIFESTS else f"{one.area}/{one.id}"
    if one.problem is not None:
        show_error(one.problem, as_json=context.as_json)
    elif context.as_json:
        echo_json(upkeep.repair(one.area, one.id, one.loss, SHELL, accepted=accepted))
    elif one.loss is None:
        echo(f"{named} is not damaged. After a crash, use `registration recover`.")
    else:
        _tell_loss(named, one.loss, accepted=accepted)


def _tell_loss(id: str, loss: Loss, *, accepted: bool) -> None:
    where = f"line {loss.line}, byte {loss.offset_bytes}" if loss.line else "the whole log"
    version = loss.state.version if loss.state else 0
    lost = f"{loss.lost_bytes} bytes of the log"
    if loss.lost_version > version:
        lost += f", {_versions(version + 1, loss.lost_version)}"
    if loss.state is None:
        kept = "nothing: not even the first event is valid, and the id is free again"
    else:
        kept = f"{_versions(1, version)}, so it is {loss.state.state}"
    table(
        [
            (id, ""),
            ("  damage", f"{where}: {loss.reason}"),
            ("  kept", kept),
            *([("  leads to", _led_to(loss))] if loss.lapsed or loss.place != _kept_state(loss) else []),
            *([("  releases", f"{loss.released}: another manifest holds it now")] if loss.released else []),
            ("  set aside", lost + ", and the snapshot"),
            *(("  kept as", path) for path in loss.kept_as),
        ]
    )
    if loss.repaired is not None:
        echo(f"Repaired: version {loss.repaired.version} records the loss.")
    elif not accepted:
        say("Nothing was changed. Look for a backup; without one, add --accept-loss.")
        if loss.refusal is not None:
            say("It would be refused:")
            show_error(loss.refusal, as_json=False)


def _kept_state(loss: Loss) -> str | None:
    return loss.state.state if loss.state is not None else None


def _led_to(loss: Loss) -> str:
    """The state after the repair, and the approvals that lapse."""
    if not loss.lapsed:
        return str(loss.place)
    several = len(loss.lapsed) > 1
    which = f"approval{'s' if several else ''} of version{'s' if several else ''} {', '.join(map(str, loss.lapsed))}"
    return f"{loss.place}: the {which} {'lapse' if several else 'lapses'}, and must be given again"


def _versions(first: int, last: int) -> str:
    return f"version {first}" if first == last else f"versions {first} to {last}"


@click.command(
    "doctor",
    short_help="Check this disk and environment.",
    epilog=examples("registration doctor", "registration doctor /srv"),
)
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(file_okay=False))
@shared_options
@click.pass_obj
def doctor_command(context: Context, directory: str | None) -> None:
    """Check DIR, the registry's directory by default: file system, syncs, renames, locks, space, clock, versions.

    If no check fails, it also measures five figures: a transition, a durable write, an append with its sync, attempts under
    contention, and recovery of 100 events. Everything runs in a temporary directory, which is removed. Exits with 1 if a check
    fails.
    """
    place = directory
    if place is None:
        try:
            place = context.root()
        except NotFound:
            place = os.getcwd()
    if not os.path.isdir(place):
        raise NotFound(f"There is no directory {place}.", "Pass one that exists.")
    failed = False
    rows: list[tuple[str, ...]] = []
    with closing(_checks(os.path.realpath(place))) as checks:  # so that an interrupt removes their files
        for check in checks:
            failed |= check.verdict == "fail"
            if context.as_json:
                echo_json(upkeep.check(check, SHELL))
            else:
                rows.append((check.verdict, check.name, check.found))
                if check.advice:
                    rows.append(("", "", advice(check.advice, [] if check.next is None else [check.next])))
    if rows:
        table(rows)
    if failed:
        click.get_current_context().exit(FAILURE)


def _checks(place: str) -> Generator[Check, None, None]:
    """All checks, and then the figures, if a registry could be created there."""
    from registration.storage.doctor import examine  # noqa: PLC0415  # for this command alone

    failed = False
    for check in examine(place):
        failed |= check.verdict == "fail"
        yield check
    if not failed:
        from registration.pipeline.figures import figures  # noqa: PLC0415  # as above

        yield from figures(place)
