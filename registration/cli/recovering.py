"""Commands for bad days: recover, repair, doctor."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

import click

from registration.cli.context import (
    Context,
    actor_option,
    examples,
    id_argument,
    lock_timeout_option,
    optional_id_argument,
    shared_options,
)
from registration.cli.exits import DAMAGE, FAILURE, exit_code, worst
from registration.cli.output import (
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
from registration.cli.words import SHELL
from registration.core.store import Loss, Step
from registration.errors import LockTimeout, NotFound, RegistrationError, StoreError, VersionConflict
from registration.pipeline.wire import upkeep

if TYPE_CHECKING:
    from registration.pipeline.pipeline import RegistrationPipeline
    from registration.storage.doctor import Check


@click.command(
    "recover",
    short_help="Settle what a crash left.",
    epilog=examples(
        "registration recover --dry-run",
        "registration recover",
        "registration recover io.github.acme/weather@1.2.0",
    ),
)
@optional_id_argument
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@lock_timeout_option
@shared_options
@click.pass_obj
def recover_command(context: Context, id: str | None, dry_run: bool) -> None:
    """Settle what a crash left: replay each log from its first byte, and write its snapshot anew.

    Bytes of a write that was never acknowledged are moved to quarantine/. Damage is named and left alone: see
    `registration repair`. Claims to names that are worth nothing are taken back, those that are missing made again.
    Sessions and deployments are settled as well. Others may go on writing meanwhile.
    """
    healed = seen = mended = beside = 0
    problems: list[RegistrationError] = []
    others: list[RegistrationError] = []
    with told_here(), context.open() as pipeline, Progress("replayed", shown=not context.as_json) as progress:
        for one in [id] if id is not None else pipeline.upkeep.manifest_ids():
            seen += 1
            progress.step()
            healed += _recover_manifest(context, pipeline, one, progress, problems, dry_run=dry_run)
        progress.clear()
        if id is None:
            mended = _recover_names(context, pipeline, problems, dry_run=dry_run)
            beside, others = _recover_beside(context, dry_run=dry_run)
        elif not healed and not problems:
            pipeline.load_state(id)  # says that there is no such manifest, and which one may be meant
    if not context.as_json:
        done = "to set right" if dry_run else "set right"
        say(f"{counted(seen, 'manifest')} replayed: {_came_to(healed, problems, done)}.")
        if mended:
            say(f"{counted(mended, 'name')} {done}.")
        if beside or others:
            say(f"Sessions and deployments: {_came_to(beside, others, done)}.")
        if dry_run:
            say("This was a dry run: nothing was changed.")
    if problems or others:
        click.get_current_context().exit(worst(problems + others))


def _recover_manifest(
    context: Context,
    pipeline: RegistrationPipeline,
    id: str,
    progress: Progress,
    problems: list[RegistrationError],
    *,
    dry_run: bool,
) -> bool:
    """Settle what a crash left of a manifest, and tell it; gives whether anything was left."""
    recovered, problem = None, None
    try:
        recovered = pipeline.upkeep.recover(id, dry_run=dry_run)
    except (StoreError, LockTimeout) as error:
        problem = error
        problems.append(error)
    if context.as_json:
        echo_json(upkeep.recovered(id, recovered, problem, SHELL, dry_run=dry_run))
    else:
        progress.clear()
        for step in recovered.steps if recovered else ():
            echo(f"{id}: {_told(step)}")
        if problem is not None:
            show_error(problem, as_json=False)
    return recovered is not None and bool(recovered.steps)


def _came_to(settled: int, problems: list[RegistrationError], done: str) -> str:
    """How many were settled, how many are damaged, and how many could not be reached, where any."""
    damaged = sum(exit_code(problem) == DAMAGE for problem in problems)
    failed = f", {len(problems) - damaged} not reached" if len(problems) > damaged else ""
    return f"{settled} {done}, {damaged} damaged{failed}"


def _recover_names(
    context: Context, pipeline: RegistrationPipeline, problems: list[RegistrationError], *, dry_run: bool
) -> int:
    """Settle what a crash left of names, and tell it; gives of how many."""
    mended = 0
    for name in pipeline.names.known():
        steps: tuple[Step, ...] = ()
        problem: RegistrationError | None = None
        try:
            steps = pipeline.upkeep.recover_name(name, dry_run=dry_run)
        except (StoreError, LockTimeout, VersionConflict) as error:
            problem = error
            problems.append(error)
        mended += bool(steps)
        if context.as_json and (steps or problem is not None):
            echo_json(upkeep.recovered_name(name, steps, problem, SHELL, dry_run=dry_run))
        elif not context.as_json:
            for step in steps:
                echo(f"{name}: {_told(step)}")
            if problem is not None:
                show_error(problem, as_json=False)
    return mended


def _recover_beside(context: Context, *, dry_run: bool) -> tuple[int, list[RegistrationError]]:
    """Settle what a crash left of sessions and deployments, and tell it; gives of how many, and why not of some."""
    from registration.pipeline.upkeep import recover_beside  # noqa: PLC0415  # for this command alone

    settled = 0
    problems: list[RegistrationError] = []
    for one in recover_beside(context.root(), dry_run=dry_run):
        settled += bool(one.steps)
        if one.problem is not None:
            problems.append(one.problem)
        if context.as_json and (one.steps or one.problem):
            echo_json(upkeep.recovered_in(one.area, one.id, one.steps, one.problem, SHELL, dry_run=dry_run))
        elif not context.as_json:
            for step in one.steps:
                echo(f"{one.id}: {_told(step)}")
            if one.problem is not None:
                show_error(one.problem, as_json=False)
    return settled, problems


def _told(step: Step) -> str:
    kept = f", kept as {step.kept_as}" if step.kept_as else ""
    return printable(f"{step.found}: {step.done}{kept}")


@click.command(
    "repair",
    short_help="Give up what is damaged, keep what is sound.",
    epilog=examples(
        "registration repair io.github.acme/weather@1.2.0",
        "registration repair --accept-loss --actor ada io.github.acme/weather@1.2.0",
    ),
)
@id_argument
@click.option("--accept-loss", is_flag=True, help="Do it: events behind the damage are lost to the log.")
@actor_option
@lock_timeout_option
@shared_options
@click.pass_obj
def repair_command(context: Context, id: str, accept_loss: bool) -> None:
    """Cut a damaged log back to the events that check out.

    Without --accept-loss, only shows what would be kept and what set aside. With it, everything from the damage on goes
    to quarantine/, with the snapshot, and the log says in an event of its own what was lost and who accepted it. Look for
    a backup first.
    """
    with told_here(), context.open() as pipeline:
        loss = pipeline.upkeep.repair(id, accept_loss=accept_loss)
    if context.as_json:
        echo_json(upkeep.repair(id, loss, accepted=accept_loss))
    elif loss is None:
        echo(f"{id} is not damaged. What a crash left is settled by `registration recover`.")
    else:
        _tell_loss(id, loss, accepted=accept_loss)
    if loss is not None and not accept_loss:
        click.get_current_context().exit(DAMAGE)


def _tell_loss(id: str, loss: Loss, *, accepted: bool) -> None:
    where = f"line {loss.line}, byte {loss.offset_bytes}" if loss.line else "the log as a whole"
    version = loss.state.version if loss.state else 0
    lost = f"{loss.lost_bytes} bytes of the log"
    if loss.lost_version > version:
        lost += f", {_versions(version + 1, loss.lost_version)}"
    if loss.state is None:
        kept = "nothing: not even the first event checks out, and the id is free again"
    else:
        kept = f"{_versions(1, version)}, so it is {loss.state.state}"
    table(
        [
            (id, ""),
            ("  damage", f"{where}: {loss.reason}"),
            ("  kept", kept),
            ("  set aside", lost + ", and the snapshot"),
            *(("  kept as", path) for path in loss.kept_as),
        ]
    )
    if loss.repaired is not None:
        echo(f"Repaired: version {loss.repaired.version} says what was lost.")
    elif not accepted:
        say("Nothing was changed. Look for a backup; where there is none, add --accept-loss.")


def _versions(first: int, last: int) -> str:
    return f"version {first}" if first == last else f"versions {first} to {last}"


@click.command(
    "doctor",
    short_help="Is this a good place for a registry?",
    epilog=examples("registration doctor", "registration doctor /srv"),
)
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(file_okay=False))
@shared_options
@click.pass_obj
def doctor_command(context: Context, directory: str | None) -> None:
    """Look at DIR, the registry's directory by default: file system, syncs, renames, locks, space, clock, versions.

    Each is tried, in a temporary directory that is removed again. Ends with 1 where something fails. Where nothing does, it
    measures: a transition, a durable write, an append with its sync, attempts under contention, recovery of 100 events.
    """
    place = directory
    if place is None:
        try:
            place = context.root()
        except NotFound:
            place = os.getcwd()
    if not os.path.isdir(place):
        raise NotFound(f"There is no directory {place}.", "Name one that exists.")
    failed = False
    rows: list[tuple[str, ...]] = []
    with closing(_checks(os.path.realpath(place))) as checks:  # so that an interrupt removes what they made
        for check in checks:
            failed |= check.verdict == "fail"
            if context.as_json:
                echo_json(upkeep.check(check))
            else:
                rows.append((check.verdict, check.name, check.found))
                if check.advice:
                    rows.append(("", "", check.advice))
    if rows:
        table(rows)
    if failed:
        click.get_current_context().exit(FAILURE)


def _checks(place: str) -> Generator[Check, None, None]:
    """All checks, and then the figures; those only where a registry could be kept."""
    from registration.storage.doctor import examine  # noqa: PLC0415  # for this command alone

    failed = False
    for check in examine(place):
        failed |= check.verdict == "fail"
        yield check
    if not failed:
        from registration.pipeline.figures import figures  # noqa: PLC0415  # as above

        yield from figures(place)
