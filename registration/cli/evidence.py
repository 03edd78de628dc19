"""Commands about evidence: receipt, verify-receipt, diff, blame."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click
import orjson

from registration.cli.context import Context, examples, id_argument, shared_options
from registration.cli.files import bytes_of, shown_file
from registration.cli.output import echo, echo_document, echo_json, printable, say, table, when
from registration.errors import InvalidDocument
from registration.evidence.receipts import RECEIPT_BYTES_MAX
from registration.pipeline.wire import evidence
from registration.values.documents import parse_document

if TYPE_CHECKING:
    from registration.evidence.differences import Blame, Change


@click.command(
    "receipt",
    short_help="Print the evidence for what a manifest is, to carry away.",
    epilog=examples("registration receipt io.github.acme/weather@1.2.0 > receipt.json"),
)
@id_argument
@shared_options
@click.pass_obj
def receipt_command(context: Context, id: str) -> None:
    """Print who approved which document under which rules, at which place of which log, as one JSON document.

    `registration verify-receipt` checks it against the log again.
    """
    with context.open() as pipeline:
        receipt = pipeline.evidence.receipt(id)
    echo_document(receipt, as_json=context.as_json)


@click.command(
    "verify-receipt",
    short_help="Check a receipt against the log.",
    epilog=examples("registration verify-receipt receipt.json"),
)
@click.argument("file", type=click.Path(allow_dash=True))
@shared_options
@click.pass_obj
def verify_receipt_command(context: Context, file: str) -> None:
    """Check that everything a receipt says is what the log says, from the log's first byte. Nothing else is needed.

    It holds for the version that it is of; where the manifest has moved on since, that is said. FILE may be - .
    """
    try:
        receipt = parse_document(
            bytes_of(file, RECEIPT_BYTES_MAX, next_step="Name the receipt's file, or -."),
            source=shown_file(file),
            size_bytes_max=RECEIPT_BYTES_MAX,
        ).value
    except InvalidDocument as error:
        raise InvalidDocument(
            error.details["source"],
            error.details["problems"],
            "Name the file that `registration receipt` printed, as it was printed.",
        ) from None
    with context.open() as pipeline:
        found = pipeline.evidence.check_receipt(receipt)
    if context.as_json:
        echo_json(evidence.receipt_check(found))
        return
    echo(f"The receipt holds: {found.manifest_id} was {found.state} at version {found.version}.")
    if found.current_version == found.version:
        echo("It still is.")
    else:
        same = "the document is still the same" if found.same_document else "with another document"
        echo(f"It is {found.current_state} now, at version {found.current_version}; {same}.")


@click.command(
    "diff",
    short_help="Show what changed in the document.",
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
    """Show what changed in the document from version A to version B (now, as usual), or by its last change.

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
        say(f"There is one document only: that of version {found.after_version}.")
    elif not shown:
        say(
            f"The document is the same at version {found.before_version} and at version {found.after_version}."
        )


def _coloured() -> bool:
    """Whether colours are wanted: on a terminal, unless NO_COLOR says no or FORCE_COLOR yes."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


@click.command(
    "blame",
    short_help="Show which event set what in the document.",
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
    """Show which event set what stands at POINTER, a JSON Pointer (RFC 6901); without it, for every field."""
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
                who = printable(before.actor or "nobody named")
                echo(f"  before, by {who} at version {before.version}: {_value(before)}")


def _row(one: Blame) -> tuple[str, ...]:
    return (
        str(one.version),
        when(one.time),
        one.actor or "-",
        one.action,
        one.pointer or "(all of it)",
        _value(one),
    )


def _value(change: Change) -> str:
    if change.removed:
        return "(removed)"
    text = printable(orjson.dumps(change.value).decode())
    return text if len(text) <= 60 else text[:60] + "…"
