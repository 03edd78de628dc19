"""Commands about all manifests: list, count, stats, query, and catalog, their search index."""

from __future__ import annotations

import csv
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson

from registration.cli.context import (
    Context,
    Subcommands,
    creating_steps,
    examples,
    shared_options,
    state_name,
    state_option,
)
from registration.cli.exits import DAMAGE, worst
from registration.cli.output import Progress, echo, echo_json, say, say_next, show_error, table, when
from registration.cli.words import SHELL
from registration.pipeline.wire import figures, manifests
from registration.values.times import duration_s, rfc3339

if TYPE_CHECKING:
    from registration.catalog.checking import Checked
    from registration.catalog.queries import Answer
    from registration.catalog.statistics import InState
    from registration.errors import Next, RegistrationError
    from registration.pipeline.pipeline import RegistrationPipeline
    from registration.pipeline.results import Summary

DAYS_SHOWN = 14
WEEKS_SHOWN = 12
CELL_CHARACTERS_MAX = 80

F = TypeVar("F", bound=Callable[..., Any])

_POINTER_EQUALS = re.compile(r"((?:/[^=]*)?)=(.*)", re.DOTALL)


def _time(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """A typed time; ``7d`` means seven days ago."""
    seconds = duration_s(text) if text is not None else None
    if seconds is None:
        return text
    return rfc3339(max(0, time.time_ns() - seconds * 1_000_000_000))


def _where(
    _context: click.Context, _parameter: click.Parameter, said: tuple[str, ...]
) -> dict[str, Any] | None:
    """``/version=1.2.0``: parsed as JSON if valid, else text; ``/version="8080"`` is text that looks like a number."""
    found: dict[str, Any] = {}
    for one in said:
        parts = _POINTER_EQUALS.fullmatch(one)
        if parts is None:
            raise click.BadParameter(f"invalid {one!r}: expected /POINTER=VALUE, such as /version=1.2.0.")
        pointer, text = parts.groups()
        if pointer in found:
            raise click.BadParameter(f"{pointer!r} is given twice.")
        try:
            found[pointer] = orjson.loads(text)
        except orjson.JSONDecodeError:
            found[pointer] = text
    return found or None


_TIMES = "TIME"
_FILTERS: tuple[Callable[[Any], Any], ...] = (
    state_option,
    click.option("--kind", metavar="KIND", help="Only documents of this kind, by the policy in force."),
    click.option("--acted-by", "actor", metavar="NAME", help="Only manifests that NAME acted on, at any time."),
    click.option("--created-since", metavar=_TIMES, callback=_time, help="Created at or after: 2026-01-31, or with a time; or 7d (ago)."),
    click.option("--created-until", metavar=_TIMES, callback=_time, help="Created at or before."),
    click.option("--updated-since", metavar=_TIMES, callback=_time, help="Last event at or after."),
    click.option("--updated-until", metavar=_TIMES, callback=_time, help="Last event at or before."),
    click.option("--name", "name_prefix", metavar="PREFIX", help="Only documents whose name has this prefix."),
    click.option("--where", metavar="/POINTER=VALUE", multiple=True, callback=_where,
                 help="Only documents with VALUE there, as JSON or text; may be repeated."),
    click.option("--text", metavar="WORDS", help="Only manifests with these words, or prefixes, in id or document."),
    click.option("--tag", metavar="TAG", help="Only manifests with this tag."),
)  # fmt: skip


def filter_options(function: F) -> F:
    """The filter options."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


@click.command(
    "list",
    short_help="List or search manifests.",
    epilog=examples(
        "registration list",
        "registration list --state REVIEWED --sort updated --limit 20",
        "registration list --where /version=1.2.0 --text weather",
        "registration list --updated-since 7d --acted-by bea --json",
    ),
)
@filter_options
@click.option(
    "--sort",
    metavar="KEY",
    default="id",
    show_default=True,
    help="id, updated, created or state; -updated: latest first.",
)
@click.option("--limit", metavar="N", type=click.IntRange(1), help="A page of N.  [default: all]")
@click.option("--after", metavar="CURSOR", help="Continue after the previous page.")
@shared_options
@click.pass_obj
def list_command(context: Context, /, sort: str, limit: int | None, after: str | None, **said: Any) -> None:
    """List the manifests that match all filters.

    After a page, the command for the next one is printed; with --json, a last line with `next_page`. Concurrent writes
    don't move manifests between pages.
    """
    shown = 0
    problems: list[RegistrationError] = []
    rows: list[tuple[str, ...]] = []
    with context.open() as pipeline:
        filters = _meant(pipeline, said)
        creating = creating_steps(pipeline.lifecycle)[0]
        listing = pipeline.list(**filters, sort=sort, limit=limit, after=after)
        for summary in listing:
            shown += 1
            if summary.problem is not None:
                problems.append(summary.problem)
            _list_one(context, summary, rows)
    if rows:
        table(rows)
    elif not shown and not context.as_json:
        _tell_nothing(filters, creating) if after is None else say("There are no more manifests.")
    if listing.next_page is not None:
        if context.as_json:
            echo_json(manifests.next_page(listing.next_page))
        else:
            say(f"More: {_again(context, said, sort, limit)} --after {listing.next_page}")
    if problems:
        click.get_current_context().exit(worst(problems))


def _list_one(context: Context, summary: Summary, rows: list[tuple[str, ...]]) -> None:
    if context.as_json:
        echo_json(manifests.summary(summary, SHELL))
    elif summary.problem is not None:
        show_error(summary.problem, as_json=False)
    else:
        rows.append((summary.manifest_id, summary.state, str(summary.version), when(summary.updated_at)))


def _meant(pipeline: RegistrationPipeline, said: Mapping[str, Any]) -> dict[str, Any]:
    """The typed filters, with the state in its proper spelling."""
    filters = {name: value for name, value in said.items() if value is not None}
    if "state" in filters:
        filters["state"] = state_name(pipeline.lifecycle, filters["state"])
    return filters


def _tell_nothing(filters: Mapping[str, Any], creating: Next) -> None:
    if not filters:
        say("There is no manifest yet.")
        say_next(creating)
    elif filters.keys() == {"state"}:
        say(f"No manifest is in {filters['state']}.")
    else:
        say("No manifest matches.")


_OPTIONS = {"actor": "--acted-by", "name_prefix": "--name"}


def _again(context: Context, said: Mapping[str, Any], sort: str, limit: int | None) -> str:
    """The command line, for typing it again."""
    words = ["registration", "list"]
    if context.registry is not None:
        words += ["--registry", context.registry]
    for name, value in said.items():
        option = _OPTIONS.get(name, "--" + name.replace("_", "-"))
        if name == "where":
            for pointer, wanted in (value or {}).items():
                words += [option, f"{pointer}={orjson.dumps(wanted).decode()}"]
        elif value is not None:
            words += [option, value]
    words += ["--sort", sort] if sort != "id" else []
    return shlex.join([*words, "--limit", str(limit)])


@click.command(
    "count",
    short_help="Count manifests.",
    epilog=examples("registration count", "registration count --state REVIEWED --updated-until 14d"),
)
@filter_options
@shared_options
@click.pass_obj
def count_command(context: Context, /, **said: Any) -> None:
    """Count the manifests that match all filters. Unreadable ones are not counted: see `list`."""
    with context.open() as pipeline:
        found = pipeline.find.count(**_meant(pipeline, said))
    if context.as_json:
        echo_json(figures.count(found))
    else:
        echo(str(found))


# -- statistics --------------------------------------------------------------------------------------------------------


@click.command(
    "stats",
    short_help="Show statistics of the registry.",
    epilog=examples("registration stats", "registration stats --since 90d --weeks"),
)
@click.option("--since", metavar="TIME", callback=_time, help="Count actions since TIME; 7d: seven days ago.")
@click.option("--weeks", is_flag=True, help="Actions per week, from Mondays, instead of per day.")
@shared_options
@click.pass_obj
def stats_command(context: Context, since: str | None, weeks: bool) -> None:
    """Show the number of manifests in each state, their ages, the times spent there, and the actions per day.

    Days are those of UTC. Percentiles are exact.
    """
    with context.open() as pipeline:
        found = pipeline.find.stats(since=since)
    if context.as_json:
        echo_json(figures.statistics(found, by_week=weeks))
        return
    done = figures.weekly(found.days) if weeks else found.days
    echo(f"{_counted(found.manifests, 'manifest')}, {_counted(found.events, 'event')}")
    if found.unreadable:
        say(f"{_counted(found.unreadable, 'manifest')} can't be read: see `registration list`.")
    if found.states:
        echo()
        heads = ("state", "now", "oldest", "median", "left", "stayed p50", "p95", "longest")
        table([heads, *(_state_row(found.time, one) for one in found.states)])
    if done:
        echo()
        shown = WEEKS_SHOWN if weeks else DAYS_SHOWN
        _throughput(dict(list(done.items())[-shown:]), "week of" if weeks else "day")
        if len(done) > shown:
            say(
                f"The last {shown} {'weeks' if weeks else 'days'} with events are shown; --json has all {len(done)}."
            )


def _state_row(now: str, one: InState) -> tuple[str, ...]:
    stays = one.stays
    return (
        one.state,
        str(one.count),
        _age(one.oldest, now),
        _age(one.median, now),
        str(stays.count) if stays else "-",
        *(_length(one) for one in ((stays.p50_s, stays.p95_s, stays.max_s) if stays else (None, None, None))),
    )


def _throughput(done: Mapping[str, Mapping[str, int]], head: str) -> None:
    actions = sorted({action for counts in done.values() for action in counts})
    table(
        [
            (head, *actions),
            *((day, *(str(counts.get(action, "-")) for action in actions)) for day, counts in done.items()),
        ]
    )


def _age(since: str | None, now: str) -> str:
    if since is None:
        return "-"
    try:
        seconds = (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()
    except (ValueError, TypeError):  # as above
        return "?"
    return _length(max(0.0, seconds))


def _length(seconds: float | None) -> str:
    """A duration for people: its two largest units."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1_000:.0f}ms"
    left = round(seconds)
    parts: list[str] = []
    for name, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if left >= size or parts:
            parts.append(f"{left // size}{name}")
            left %= size
    return " ".join(one for one in parts[:2] if not one.startswith("0"))


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# -- queries -----------------------------------------------------------------------------------------------------------


@click.command(
    "query",
    short_help="Query the search index in SQL.",
    epilog=examples(
        "registration query --schema",
        'registration query "select state, count(*) from manifests group by state"',
        "registration query \"select actor, count(*) from history where action = 'approve' group by actor\"",
        "registration query --csv \"select id, json_extract(document, '$.title') from manifests join documents "
        'on manifest = number"',
    ),
)
@click.argument("sql", required=False)
@click.option("--schema", "only_schema", is_flag=True, help="Show the tables and their columns.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with a header line.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), default=10_000, show_default=True, help="At most N rows."
)
@click.option(
    "--time-limit", metavar="SECONDS", type=click.FloatRange(0, 3_600), default=10.0, show_default=True,
    help="Time limit of the query.",
)  # fmt: skip
@shared_options
@click.pass_obj
def query_command(
    context: Context, sql: str | None, only_schema: bool, as_csv: bool, limit: int, time_limit: float
) -> None:
    """Run one SELECT over the search index: the manifests and their events, as SQLite tables. SQL of `-` is read from stdin.

    Read-only: any other statement is refused. Prints a table; with --json one object per row. Don't base decisions on
    it: the index is a copy, while `show`, `log` and `verify` read the files themselves.
    """
    if only_schema:
        from registration.catalog.schema import TABLES  # noqa: PLC0415  # for this option alone

        if context.as_json:
            echo_json(figures.tables(TABLES))
        else:
            click.echo(TABLES, nl=False)
        return
    if sql is None:
        raise click.UsageError("Pass a SELECT, or --schema.")
    if as_csv and context.as_json:
        raise click.UsageError("Use either --csv or --json.")
    if sql == "-":
        sql = sys.stdin.read()
    with context.open() as pipeline:
        answer = pipeline.find.query(sql, rows_max=limit, time_limit_s=time_limit)
    _tell_answer(context, answer, as_csv=as_csv)
    if answer.more:
        say(f"There are more than {limit} rows: raise --limit.")


def _tell_answer(context: Context, answer: Answer, *, as_csv: bool) -> None:
    if context.as_json:
        for row in figures.rows(answer):
            echo_json(row)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows(answer.rows)
    elif answer.rows:
        table([answer.columns, *(tuple(map(_cell, row)) for row in answer.rows)])
    else:
        say("No rows.")


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= CELL_CHARACTERS_MAX else text[:CELL_CHARACTERS_MAX] + "…"


# -- the catalog -------------------------------------------------------------------------------------------------------


@click.group(
    "catalog",
    cls=Subcommands,
    short_help="Inspect or rebuild the search index.",
    epilog=examples("registration catalog status", "registration catalog refresh"),
)
def catalog_command() -> None:
    """The search index, `catalog.sqlite`: a copy of all manifests for list, count, stats and query.

    It updates itself before each answer. It is derived from the logs: if deleted, the next list rebuilds it.
    """


@catalog_command.command("status", epilog=examples("registration catalog status"))
@shared_options
@click.pass_obj
def status_command(context: Context) -> None:
    """Show the status of the search index. Changes nothing."""
    with context.open() as pipeline:
        found = pipeline.find.catalog_status()
    if context.as_json:
        echo_json(figures.catalog(found))
        return
    echo(found.path)
    rows = [("  state", found.state + (f": {found.reason}" if found.reason else ""))]
    if found.state == "behind":
        rows.append(("  behind by", _counted(found.lag, "event")))
    if found.state in ("current", "behind"):
        rows += [
            ("  manifests", f"{found.manifests:,}"),
            ("  events", f"{found.events:,}"),
            ("  cursor", found.cursor or "-"),
        ]
    if found.state != "missing":
        rows.append(("  size", f"{found.size_bytes:,} bytes"))
    table(rows)
    if found.state != "current":
        say("The next list fixes that, if possible.")


@catalog_command.command(
    "refresh", epilog=examples("registration catalog refresh", "registration catalog refresh --quick")
)
@click.option("--quick", is_flag=True, help="Compare sizes and hashes only, not every row.")
@shared_options
@click.pass_obj
def refresh_command(context: Context, quick: bool) -> None:
    """Update the index, compare it with every log, and fix differences.

    This also finds changes that bypassed the feed: logs that were copied in or restored, and manifests that are gone.
    """
    _refresh(context, quick=quick, anew=False)


@catalog_command.command("rebuild", epilog=examples("registration catalog rebuild"))
@shared_options
@click.pass_obj
def rebuild_command(context: Context) -> None:
    """Rebuild the index from every log."""
    _refresh(context, quick=True, anew=True)


def _refresh(context: Context, *, quick: bool, anew: bool) -> None:
    with context.open() as pipeline, Progress("compared", shown=not context.as_json) as progress:
        found = pipeline.find.refresh_catalog(quick=quick, anew=anew, step=progress.step)
        progress.clear()
    if context.as_json:
        echo_json(figures.comparison(found))
    else:
        _tell_checked(found, anew=anew)
    if found.unreadable:
        click.get_current_context().exit(DAMAGE)


def _tell_checked(found: Checked, *, anew: bool) -> None:
    for word, ids in (("differed", found.mended), ("gone", found.gone), ("unreadable", found.unreadable)):
        for id in ids:
            echo(f"{word}: {id}")
    folded = f"{_counted(found.caught_up, 'event')} {'folded' if anew else 'added'}"
    differing = len(found.mended) + len(found.gone)
    said = (
        f"{differing} differed and {'was' if differing == 1 else 'were'} fixed"
        if differing
        else "no differences"
    )
    dark = f", {len(found.unreadable)} can't be read: see `registration verify`" if found.unreadable else ""
    say(f"{folded}; {_counted(found.manifests, 'log')} compared: {said}{dark}.")
