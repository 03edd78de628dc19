"""Commands that write events: init, create, revise, submit, approve, reject, register, transition."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from registration.cli.context import (
    Context,
    examples,
    id_argument,
    shared_options,
    state_argument,
    state_name,
    writing_options,
)
from registration.cli.output import echo, echo_json, printable, say, transition_json
from registration.errors import InvalidArgument, InvalidDocument, NotFound, StoreError
from registration.values.documents import DOCUMENT_BYTES_MAX, parse_document

if TYPE_CHECKING:
    from registration.pipeline import RegistrationPipeline
    from registration.results import TransitionResult
    from registration.values.documents import Document

_EXPECTED = click.option(
    "--expected-version",
    metavar="N",
    type=click.IntRange(0),
    help="Refuse unless the manifest is at this version.",
)
_REASON = click.option("--reason", metavar="TEXT", help="Why.")
_NEXT = {
    "DRAFT": "submit",
    "REVIEWED": "approve",
    "APPROVED": "register",
}


@click.command(
    "init",
    epilog=examples("registration init", "registration init --document-bytes-max 65536 /srv/registry"),
)
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(file_okay=False))
@click.option(
    "--document-bytes-max",
    metavar="N",
    type=click.IntRange(2),
    help="How large a document may be.  [default: 1048576]",
)
@shared_options
@click.pass_obj
def init_command(context: Context, directory: str | None, document_bytes_max: int | None) -> None:
    """Make a registry in DIR, or here.

    Where there is one already, nothing is changed.
    """
    from registration.pipeline import RegistrationPipeline  # noqa: PLC0415  # `--help` needs no pipeline

    root = os.path.realpath(directory or context.registry or os.environ.get("REGISTRATION_ROOT") or ".")
    with RegistrationPipeline(root, document_bytes_max=document_bytes_max or DOCUMENT_BYTES_MAX) as pipeline:
        if context.as_json:
            echo_json({"root": root, "registry_id": pipeline.registry_id, "made": pipeline.made})
        elif pipeline.made:
            echo(f"{printable(root)} is now a registry ({pipeline.registry_id}).")
            say("Next: registration create FILE")
        else:
            echo(f"{printable(root)} is a registry already ({pipeline.registry_id}); nothing was changed.")


@click.command(
    "create",
    short_help="Make a new manifest, a DRAFT, from a file.",
    epilog=examples(
        "registration create server.json",
        "registration create --id acme/weather card.json",
        "curl -s https://example.com/.well-known/agent-card.json | registration create -",
    ),
)
@click.argument("file", type=click.Path(allow_dash=True))
@click.option(
    "--id", "manifest_id", metavar="ID", help="Its id.  [default: what the document says: NAME@VERSION]"
)
@writing_options
@click.pass_obj
def create_command(context: Context, /, file: str, manifest_id: str | None, **said: Any) -> None:
    """Make a new manifest, a DRAFT, from FILE (- reads standard input)."""
    with context.open() as pipeline:
        document = _read(pipeline, file)
        result = pipeline.create_with_result(manifest_id, document, **_said(said))
        _show(context, result)


@click.command(
    "revise",
    short_help="Give a DRAFT another document.",
    epilog=examples(
        "registration revise io.github.acme/weather@1.2.0 server.json",
        "registration revise --comment 'licence added' io.github.acme/weather@1.2.0 server.json",
    ),
)
@id_argument
@click.argument("file", type=click.Path(allow_dash=True))
@_REASON
@_EXPECTED
@writing_options
@click.pass_obj
def revise_command(context: Context, /, id: str, file: str, **said: Any) -> None:
    """Give a DRAFT another document, from FILE (- reads standard input)."""
    with context.open() as pipeline:
        _show(context, pipeline.revise(id, _read(pipeline, file), **_said(said)))


def _action_command(name: str, action: str, help: str, *example: str) -> click.Command:
    """A command that does one thing to one manifest."""

    def run(context: Context, /, id: str, **said: Any) -> None:
        with context.open() as pipeline:
            _show(context, pipeline.act(id, action, **_said(said)))

    run.__doc__ = help
    function: Callable[..., None] = run
    for decorate in (click.pass_obj, writing_options, _EXPECTED, _REASON, id_argument):
        function = decorate(function)
    return click.command(name, epilog=examples(*example))(function)


submit_command = _action_command(
    "submit",
    "submit_for_review",
    "Hand a DRAFT in for review: it becomes REVIEWED.",
    "registration submit io.github.acme/weather@1.2.0",
)
approve_command = _action_command(
    "approve",
    "approve",
    "Approve a REVIEWED manifest, for the document as it stands.",
    "registration approve io.github.acme/weather@1.2.0 --actor bea",
    "registration approve io.github.acme/weather@1.2.0 --expected-version 4",
)
reject_command = _action_command(
    "reject",
    "reject",
    "Send a manifest back to DRAFT, saying why.\n\n    It must be REVIEWED or APPROVED, and a reason is required.",
    "registration reject io.github.acme/weather@1.2.0 --reason 'no licence'",
)
register_command = _action_command(
    "register",
    "register",
    "Register an APPROVED manifest, for good.",
    "registration register io.github.acme/weather@1.2.0",
)


@click.command(
    "transition",
    short_help="Bring a manifest to a state, by whichever action leads there.",
    epilog=examples(
        "registration transition io.github.acme/weather@1.2.0 REVIEWED",
        "registration transition io.github.acme/weather@1.2.0 DRAFT --reason 'no licence'",
    ),
)
@id_argument
@state_argument
@_REASON
@_EXPECTED
@writing_options
@click.pass_obj
def transition_command(context: Context, /, id: str, state: str, **said: Any) -> None:
    """Bring a manifest to STATE, by whichever action leads there from where it is."""
    with context.open() as pipeline:
        request = _said(said)
        words = {"reason": request.pop("reason"), "comment": request.pop("comment")}
        more = {**(request.pop("context") or {}), **words}
        _show(context, pipeline.transition_state(id, state_name(pipeline.lifecycle, state), more, **request))


def _read(pipeline: RegistrationPipeline, file: str) -> Document:
    """The document in a file, or on standard input. Reads no more than a document may have."""
    shown = "Standard input" if file == "-" else printable(file)
    limit = pipeline.document_bytes_max + 1
    try:
        if file == "-":
            if sys.stdin.isatty():
                say("Type or paste a JSON object, then Ctrl-D.")
            raw = sys.stdin.buffer.read(limit)
        else:
            with open(file, "rb") as opened:
                raw = opened.read(limit)
    except FileNotFoundError:
        raise NotFound(
            f"There is no file {shown}.", "Name the manifest's file, or - for standard input."
        ) from None
    except OSError as error:
        raise StoreError(
            f"{shown} can't be read: {error.strerror}.", "Name a file that can be read."
        ) from None
    return pipeline.read_document(raw, source=shown)


def _said(said: dict[str, Any]) -> dict[str, Any]:
    """What the options say, with `--context` read as JSON."""
    text = said.pop("context", None)
    if text is None:
        return {**said, "context": None}
    try:
        value = parse_document(os.fsencode(text), source="--context").value
    except InvalidDocument as error:
        raise InvalidArgument(
            error.problem, 'Give a JSON object: --context \'{"ticket": "SEC-12"}\'.'
        ) from None
    return {**said, "context": value}


def _show(context: Context, result: TransitionResult) -> None:
    if context.as_json:
        echo_json(transition_json(result))
        return
    event = result.event
    came = event.to_state if event.from_state is None else f"{event.from_state} -> {event.to_state}"
    echo(f"{result.manifest_id}  {came}  (version {event.version})")
    if result.replayed:
        say("This key was used before, for the same request: nothing was written.")
    elif event.to_state in _NEXT:
        say(f"Next: registration {_NEXT[event.to_state]} {result.manifest_id}")
