"""The bench command: what this disk and this registry do, measured side by side."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import click

from registration.cli.context import Context, examples, shared_options
from registration.cli.output import echo, echo_json, printable, table
from registration.errors import NotFound, StoreError

if TYPE_CHECKING:
    from registration.testing.bench.contention import Contention
    from registration.testing.bench.measuring import Row
    from registration.testing.bench.suite import Measured


@click.command(
    "bench",
    short_help="Measure this disk and this registry.",
    epilog=examples(
        "registration bench --quick", "registration bench /srv", "registration bench --json > figures.json"
    ),
)
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(file_okay=False))
@click.option("--quick", is_flag=True, help="Seconds instead of a minute or two; the figures are rougher.")
@shared_options
@click.pass_obj
def bench_command(context: Context, directory: str | None, quick: bool) -> None:
    """Measure what a registry does on the disk that DIR is on: the registry's directory by default, else this one.

    Beside each figure stands a floor, done with bare system calls and the same bytes, in turn with it. Everything happens in a
    temporary directory in DIR, which is removed again. No registry is touched.
    """
    from registration import __version__  # noqa: PLC0415  # `--help` needs none of it
    from registration.storage.doctor import file_system_type  # noqa: PLC0415  # as above
    from registration.testing.bench.suite import FULL, QUICK, measure  # noqa: PLC0415  # as above

    place = os.path.realpath(_place(context, directory))
    told: dict[str, Any] = {
        "directory": place,
        "file_system": file_system_type(place),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "release": __version__,
        "quick": quick,
    }
    if not context.as_json:
        file_system = told["file_system"] or "an unknown file system"
        echo(printable(f"{place} on {file_system}, {told['cpus']} CPUs, Python {told['python']}"))
    scratch = _scratch(place)
    figures: list[Measured] = []
    try:
        for name, measured in measure(scratch, QUICK if quick else FULL):
            _progress(name)
            found = list(measured)
            _progress("")
            figures += found
            if not context.as_json:
                _show(found)
    finally:
        _progress("")
        shutil.rmtree(scratch, ignore_errors=True)
    if context.as_json:
        echo_json({**told, **_as_json(figures)})


def _place(context: Context, directory: str | None) -> str:
    place = directory
    if place is None:
        try:
            place = context.root()
        except NotFound:
            place = os.getcwd()
    if not os.path.isdir(place):
        raise NotFound(f"There is no directory {place}.", "Name one that exists.")
    return place


def _scratch(place: str) -> str:
    try:
        return tempfile.mkdtemp(prefix=".registration-bench-", dir=place)
    except OSError as error:
        raise StoreError(
            f"Nothing can be made in {place}: {error.strerror}.", "Name another directory."
        ) from None


def _progress(name: str) -> None:
    """What is being measured, on a terminal; an empty name clears it."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{name and f'measuring: {name} …'}", err=True, nl=False)


def _show(figures: list[Measured]) -> None:
    """The figures of a group, as a table; contention, which is no row, as lines."""
    from registration.testing.bench.measuring import Row  # noqa: PLC0415  # as above

    groups: dict[str, list[Row]] = {}
    for one in figures:
        if isinstance(one, Row):
            groups.setdefault(one.group, []).append(one)
    for group, rows in groups.items():
        echo()
        timed = any(row.p99 is not None for row in rows)
        head = ("median", "p95", "p99") if timed else ("median",)
        beside = any(row.floor for row in rows)
        table(
            [
                (group, *head, *(("ratio", "paired", "to") if beside else ())),
                *(_cells(row, timed=timed, beside=beside) for row in rows),
            ]
        )
    for one in figures:
        if not isinstance(one, Row):
            _show_contention(one)


def _cells(row: Row, *, timed: bool, beside: bool) -> tuple[str, ...]:
    figures = [_figure(row.median, row.unit)]
    if timed:
        figures += ["" if one is None else _figure(one, row.unit) for one in (row.p95, row.p99)]
    if beside:
        ratios = ("" if one is None else f"{one:.2f}" for one in (row.ratio, row.paired_ratio))
        figures += [*ratios, row.floor or ""]
    return (f"  {row.measure}", *figures)


def _figure(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{number}{unit}" if unit.startswith("/") else f"{number} {unit}"


def _show_contention(one: Contention) -> None:
    counts = ", ".join(f"{writes} in {count}" for count, writes in one.attempts.items())
    echo()
    table(
        [
            (f"one manifest, {one.writers}, snapshots {one.mode}", ""),
            ("  writes", f"{one.writes:,} acknowledged, {one.refused:,} given up, {one.per_s:,.0f}/s"),
            ("  lost", f"{one.lost} of those that were acknowledged; {one.unclaimed} in the log that nobody was told of"),
            ("  attempts", f"{one.within_3:.1%} took three at most ({counts})"),
            ("  time", f"median {one.median_s * 1e3:.2f} ms, p99 {one.p99_s * 1e3:.2f} ms, slowest {one.slowest_s * 1e3:.2f} ms"),
        ]
    )  # fmt: skip


def _as_json(figures: list[Measured]) -> dict[str, Any]:
    from registration.testing.bench.measuring import Row  # noqa: PLC0415  # as above

    return {
        "rows": [one.as_json() for one in figures if isinstance(one, Row)],
        "contention": [one.as_json() for one in figures if not isinstance(one, Row)],
    }
