"""The import command: manifests in bulk, from a directory or from lines of JSON, each created once."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, BinaryIO

import click

from registration.cli.context import Context, actor_option, examples, lock_timeout_option, shared_options
from registration.cli.exits import worst
from registration.cli.output import (
    DRY_RUN,
    Progress,
    Unbroken,
    counted,
    echo,
    echo_json,
    printable,
    say,
    show_error,
)
from registration.cli.words import SHELL
from registration.errors import AlreadyExists, RegistrationError
from registration.pipeline.wire import manifests

if TYPE_CHECKING:
    from registration.pipeline.importing import Imported, Offer
    from registration.pipeline.many import ItemResult

OUTCOMES = ("created", "unchanged", "different", "refused")


@click.command(
    "import",
    short_help="Create manifests in bulk; existing ones are skipped.",
    epilog=examples(
        "registration import servers/",
        "registration import --dry-run servers.jsonl",
        "registration import --submit --actor ada servers.jsonl",
        "registration import --trust-lines old-registry.jsonl",
        "curl -s https://example.com/export.jsonl | registration import -",
    ),
)
@click.argument("source", metavar="DIR|FILE|-", type=click.Path(allow_dash=True))
@click.option("--submit", is_flag=True, help="Submit each for review.")
@click.option("--trust-lines", is_flag=True, help="Lines may name id, actor and submission.")
@click.option("--dry-run", is_flag=True, help="Show what would be done without doing it.")
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="The number of concurrent writes.",
)
@click.option(
    "--continue-from",
    metavar="PLACE",
    help="Skip everything before this line (of a .jsonl file) or file (of a directory).",
)
@actor_option
@lock_timeout_option
@shared_options
@click.pass_obj
def import_command(
    context: Context,
    source: str,
    submit: bool,
    trust_lines: bool,
    dry_run: bool,
    workers: int,
    continue_from: str | None,
) -> None:
    """Create a manifest from each document in a directory, in a file, or on standard input (-).

    In a directory, these are all .json files, recursively; in a .jsonl file, its lines. A line is a document, or
    an object with more: {"id": "…", "document": {…}, "actor": "…", "comment": "…", "submit": true}.

    The actor of each import is --actor, and its event names the source and the line. A line that names an id, an actor or a submission
    is refused, unless you trust the source: with --trust-lines it decides these itself, and the event names the importer besides.

    Each result is printed: created; unchanged, if it exists with the same document; different, if it exists with another
    document, which stays; or refused. A failure does not stop the others. To continue an import that was interrupted or
    killed, run the same line again: existing manifests are skipped.
    """
    from registration.pipeline.import_sources import open_source  # noqa: PLC0415  # `--help` needs none of it

    problems: list[RegistrationError] = []
    counts: Counter[str] = Counter()
    interrupted = False
    with context.open() as pipeline:
        shown = not context.as_json
        found = open_source(
            source,
            stdin=_stdin,
            document_bytes_max=pipeline.document_bytes_max,
            continue_from=continue_from,
            counted=shown and sys.stderr.isatty(),
        )
        with (
            Progress(
                "checked" if dry_run else "imported", shown=shown, rated=True, total=found.total
            ) as progress,
            pipeline.import_many(
                found.offers, submit=submit, trust_lines=trust_lines, workers=workers, dry_run=dry_run
            ) as results,
            Unbroken() as unbroken,
        ):

            def take(one: ItemResult[Offer, Imported]) -> None:
                with unbroken.telling():
                    progress.step()
                    counts[_outcome(one)] += 1
                    counts["submitted"] += one.result is not None and one.result.submitted
                    if (problem := _problem(one)) is not None:
                        problems.append(problem)
                    _tell(context, progress, one)

            try:
                for one in results:
                    take(one)
            except KeyboardInterrupt:
                interrupted = True
                for one in (
                    results.close()
                ):  # interrupted between two results: the started ones are reported as well
                    take(one)
    if not context.as_json:
        _sum_up(counts, dry_run=dry_run)
    if interrupted:
        say("Interrupted. Run it again: existing manifests are skipped.")
        raise click.Abort
    if problems:
        click.get_current_context().exit(worst(problems))


def _stdin() -> BinaryIO:
    if sys.stdin.isatty():
        say("Type or paste JSON objects, one per line, then Ctrl-D.")
    return sys.stdin.buffer


def _problem(one: ItemResult[Offer, Imported]) -> RegistrationError | None:
    return one.error if one.result is None else one.result.problem


def _outcome(one: ItemResult[Offer, Imported]) -> str:
    if one.result is not None:
        return one.result.outcome
    return "different" if isinstance(one.error, AlreadyExists) else "refused"


def _tell(context: Context, progress: Progress, one: ItemResult[Offer, Imported]) -> None:
    outcome, problem, offer = _outcome(one), _problem(one), one.item
    state = one.result.state if one.result is not None else None
    if context.as_json:
        echo_json(manifests.imported(offer, outcome, one.result, problem, SHELL))
        return
    progress.clear()
    told = f"{state.manifest_id}  {state.state}  ({offer.place})" if state is not None else offer.place
    echo(printable(f"{outcome:<9}  {told}"))
    if problem is not None:
        show_error(problem, as_json=False)


def _sum_up(counts: Counter[str], *, dry_run: bool) -> None:
    total = counts.total() - counts["submitted"]
    told = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in OUTCOMES if counts[outcome])
    handed_in = f"; {counts['submitted']:,} submitted for review" if counts["submitted"] else ""
    say(f"{counted(total, 'document')}: {told}{handed_in}." if told else "There were no documents.")
    if dry_run:
        say(DRY_RUN)
