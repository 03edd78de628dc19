"""Reading commands: show, log, graph. They load neither pydantic, portalocker nor SQLite."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from registration.cli.context import Context, examples, id_argument, lifecycle_said, shared_options
from registration.cli.output import echo, echo_document, echo_json, event_row, outlook_lines, table, when
from registration.errors import RegistrationError
from registration.pipeline.wire import manifests, rules
from registration.storage import layout
from registration.values.events import lost_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from registration.core.outlook import Outlook


@click.command(
    "show",
    epilog=examples(
        "registration show io.github.acme/weather@1.2.0",
        "registration show --document io.github.acme/weather@1.2.0 > server.json",
        "registration show --at 2026-11-01T00:00:00Z io.github.acme/weather@1.2.0",
    ),
)
@id_argument
@click.option("--document", "only_document", is_flag=True, help="Print the document only.")
@click.option("--version", metavar="N", type=click.IntRange(1), help="The state after version N.")
@click.option("--at", "time", metavar="TIME", help="The state at TIME, such as 2026-11-01T00:00:00Z.")
@shared_options
@click.pass_obj
def show_command(
    context: Context, id: str, only_document: bool, version: int | None, time: str | None
) -> None:
    """Show the state of a manifest, now or in the past."""
    if version is not None and time is not None:
        raise click.UsageError("Use either --version or --at.")
    with context.open() as pipeline:
        claim = None
        ahead: tuple[Outlook, ...] = ()
        if version is None and time is None:
            snapshot = pipeline.load_state(id)
            claim = pipeline.work.claim_of(id)
            with suppress(RegistrationError):  # the state can be shown while the rules can't be read
                ahead = pipeline.outlook(id)
        else:
            snapshot = pipeline.evidence.at(id, version=version, time=time)
        # Aliases are current: earlier ones are in `alias log`.
        aliases = pipeline.names.aliases_of(snapshot) if version is None and time is None else []
    if only_document:
        echo_document(snapshot.document, as_json=context.as_json)
        return
    if context.as_json:
        echo_json(manifests.manifest(snapshot, aliases, claim, ahead))
        return
    echo(snapshot.manifest_id)
    called = f"{snapshot.name} ({', '.join(aliases)})" if aliases else snapshot.name
    rows = [
        ("  state", snapshot.state),
        ("  version", str(snapshot.version)),
        *([("  name", called)] if called else []),
        *([("  tags", ", ".join(snapshot.tags))] if snapshot.tags else []),
        ("  digest", snapshot.digest or "no document"),
        ("  created", when(snapshot.created_at)),
        ("  updated", when(snapshot.updated_at)),
        *(
            (
                "  approved",
                f"by {one['actor'] or 'an unnamed actor'}, {when(one['time'])}, at version {one['version']}",
            )
            for one in snapshot.approvals
        ),
        *(("  repaired", _repair(one)) for one in snapshot.repairs),
        *(("  approvals", told) for told in outlook_lines(ahead)),
        *(("  due", f"{name}, {when(at)}") for name, at in sorted(snapshot.facts.get("due", {}).items())),
        *(
            (("  locked", f"by {claim.holder} on {claim.host}, until {when(claim.until)}"),)
            if claim is not None
            else ()
        ),
        ("  log", layout.log_path(id)),
        ("  head", snapshot.position.head),
    ]
    table(rows)


@click.command(
    "log",
    short_help="Show the history of a manifest.",
    epilog=examples(
        "registration log io.github.acme/weather@1.2.0",
        "registration log --json io.github.acme/weather@1.2.0 | jq .data.reason",
        "registration log --graph io.github.acme/weather@1.2.0",
    ),
)
@id_argument
@click.option("--graph", "drawn", is_flag=True, help="Draw the path through the states.")
@shared_options
@click.pass_obj
def log_command(context: Context, id: str, drawn: bool) -> None:
    """Show the history of a manifest, oldest first, verifying the hash chain.

    With --json, the events as in the log: one CloudEvents 1.0 event per line.
    """
    with context.open() as pipeline:
        events = pipeline.history(id)
        if context.as_json:
            for event in events:
                echo_json(manifests.event(event))
            return
        if drawn:
            from registration.evidence.timetravel import graph  # noqa: PLC0415  # for this option alone

            for line in graph(pipeline.lifecycle, events, ascii=not _speaks_utf8()):
                echo(line)
            return
        rows: list[tuple[str, ...]] = []
        try:
            rows.extend(event_row(event) for event in events)
        finally:
            table(rows)  # if the log is damaged, the events before the damage


@click.command(
    "graph",
    short_help="Draw the lifecycle as a text diagram.",
    epilog=examples(
        "registration graph",
        "registration graph registration-upkeep",
        "registration lifecycle graph lifecycle.toml",
        "registration graph --format dot | dot -Tsvg > lifecycle.svg",
    ),
)
@click.option("--format", "form", type=click.Choice(["mermaid", "dot"]), default="mermaid", show_default=True)
@click.argument("file", required=False)
@shared_options
@click.pass_obj
def graph_command(context: Context, form: str, file: str | None) -> None:
    """Print the registry's lifecycle as a Mermaid or Graphviz diagram; outside of a registry, the default one.

    FILE: another lifecycle, in a file, or a shipped one by name.
    """
    from registration.core import diagram  # noqa: PLC0415  # for this command alone

    chart = lifecycle_said(context, file).chart
    text = diagram.mermaid(chart) if form == "mermaid" else diagram.dot(chart)
    if context.as_json:
        echo_json(rules.graph(chart.name, form, text))
    else:
        sys.stdout.write(text)


def _repair(one: Mapping[str, Any]) -> str:
    given_again = "; approvals had to be given again" if one["lapsed"] else ""
    return f"at version {one['version']}: {lost_in(one, one['version'])}{given_again}"


def _speaks_utf8() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
