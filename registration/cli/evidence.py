"""Evidence commands: receipt, verify-receipt, diff, blame."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click
import orjson

from registration.cli.context import Context, examples, id_argument, shared_options
from registration.cli.files import bytes_of, shown_file
from registration.cli.output import counted, echo, echo_document, echo_json, printable, say, table, when
from registration.errors import InvalidDocument
from registration.evidence.receipts import RECEIPT_BYTES_MAX
from registration.pipeline.wire import evidence
from registration.values.documents import parse_document
from registration.values.events import lost_in

if TYPE_CHECKING:
    from registration.evidence.differences import Blame, Change


@click.command(
    "receipt",
    short_help="Print a portable proof of a manifest's approvals.",
    epilog=examples("registration receipt io.github.acme/weather@1.2.0 > receipt.json"),
)
@id_argument
@shared_options
@click.pass_obj
def receipt_command(context: Context, id: str) -> None:
    """Print the evidence for a manifest's state as one JSON document: approvals, rules, and the position in the log.

    `registration verify-receipt` checks it against the log.
    """
    with context.open() as pipeline:
        receipt = pipeline.evidence.receipt(id)
    echo_document(receipt, as_json=context.as_json)


@click.command(
    "verify-receipt",
    short_help="Verify a receipt against the log.",
    epilog=examples("registration verify-receipt receipt.json"),
)
@click.argument("file", type=click.Path(allow_dash=True))
@shared_options
@click.pass_obj
def verify_receipt_command(context: Context, file: str) -> None:
    """Check every statement of a receipt against the log, from its first byte. Nothing else is needed.

    The receipt is valid for its version; if the manifest has changed since, that is reported. FILE may be - .
    """
    try:
        receipt = parse_document(
            bytes_of(file, RECEIPT_BYTES_MAX, next_step="Pass the receipt's file, or -."),
            source=shown_file(file),
            size_bytes_max=RECEIPT_BYTES_MAX,
        ).value
    except InvalidDocument as error:
        raise InvalidDocument(
            error.details["source"],
            error.details["problems"],
            "Pass the unchanged output of `registration receipt`.",
        ) from None
    with context.open() as pipeline:
        found = pipeline.evidence.check_receipt(receipt)
    if context.as_json:
        echo_json(evidence.receipt_check(found))
        return
    echo(f"The receipt is valid: {found.manifest_id} was {found.state} at version {found.version}.")
    for one in found.repairs:
        by = one["actor"] or "an unnamed actor"
        echo(
            printable(
                f"Its log was repaired at version {one['version']}, by {by}: {lost_in(one['lost'], one['version'])}."
            )
        )
    for one in found.imports:
        by = one["by"] or "an unnamed actor"
        place = f"line {one['line']} of {one['source']}" if one["line"] else one["source"]
        echo(printable(f"Version {one['version']} was imported by {by}, from {place}."))
    for one in found.forced:
        by = one["actor"] or "an unnamed actor"
        echo(printable(f"The rules were changed by force at {one['time']}, by {by}: {one['reason']}."))
    if found.forced_count > len(found.forced):
        echo(
            f"{counted(found.forced_count - len(found.forced), 'earlier forced change')} of the rules not shown."
        )
    for reason, count in found.unchecked:
        echo(printable(f"Not decided again here: {counted(count, 'event')}: {reason}."))
    if found.current_version == found.version:
        echo("It still is.")
    else:
        same = "the document is still the same" if found.same_document else "with another document"
        echo(f"It is {found.current_state} now, at version {found.current_version}; {same}.")


@click.command(
    "diff",
    short_help="Show changes of the document.",
    epilog=examples(
        "registration diff io.github.acme/weather@1.2.0",
        "registration diff io.github.acme/weather@1.2.0 1 4",
        "registration diff --json io.github.acme/weather@1.2.0 | jq .patch",
    ),
)
@id_argument
@click.argument("a", required=False, type=click.IntRange(1))
@click.argument("b", required=False, type=click.IntRange(1))
@shared_options
@click.pass_obj
def diff_command(context: Context, id: str, a: int | None, b: int | None) -> None:
    """Show the changes of the document from version A to version B (default: now), or its last change.

    With --json, as a JSON Patch (RFC 6902).
    """
    with context.open() as pipeline:
        found = pipeline.evidence.diff(id, a, b)
    if context.as_json:
        echo_json(evidence.difference(id, found))
        return
    coloured = _coloured()
    styles = {"-": "red", "+": "green", "@": "cyan"}
    shown = False
    for mark, text in found.lines:
        shown = True
        line = mark + text
        styled = click.style(line, fg=styles[mark]) if mark in styles else line
        click.echo(styled if coloured else line, color=coloured)
    if found.only_one:
        say(f"There is only one document, that of version {found.after_version}.")
    elif not shown:
        say(f"The document is the same at versions {found.before_version} and {found.after_version}.")


def _coloured() -> bool:
    """Whether to use colours: on a terminal, unless NO_COLOR or FORCE_COLOR is set."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


@click.command(
    "blame",
    short_help="Show the origin of each value in the document.",
    epilog=examples(
        "registration blame io.github.acme/weather@1.2.0",
        "registration blame io.github.acme/weather@1.2.0 /packages/0/identifier",
    ),
)
@id_argument
@click.argument("pointer", required=False)
@shared_options
@click.pass_obj
def blame_command(context: Context, id: str, pointer: str | None) -> None:
    """Show the event that set the value at POINTER, a JSON Pointer (RFC 6901), or every value."""
    with context.open() as pipeline:
        found = pipeline.evidence.blame(id, pointer)
    if context.as_json:
        for one in found:
            echo_json(evidence.blame(one))
        return
    table([_row(one) for one in found])
    if pointer is not None:
        for one in found:
            for before in one.earlier:
                who = printable(before.actor or "an unnamed actor")
                echo(f"  before, by {who} at version {before.version}: {_value(before)}")


def _row(one: Blame) -> tuple[str, ...]:
    return (
        str(one.version),
        when(one.time),
        one.actor or "-",
        one.action,
        one.pointer or "(everything)",
        _value(one),
    )


def _value(change: Change) -> str:
    if change.removed:
        return "(removed)"
    text = printable(orjson.dumps(change.value).decode())
    return text if len(text) <= 60 else text[:60] + "…"
