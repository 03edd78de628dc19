"""Writing commands: init, create, revise, submit, approve, reject, register, act, transition, undo, tick."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from registration.cli.context import (
    CREATE,
    Context,
    creating_steps,
    examples,
    id_argument,
    lock_timeout_option,
    optional_id_argument,
    shared_options,
    state_argument,
    state_name,
    writing_options,
)
from registration.cli.exits import worst
from registration.cli.files import bytes_of, shown_file
from registration.cli.output import (
    DRY_RUN,
    Progress,
    echo,
    echo_json,
    outlook_lines,
    say,
    say_next,
    show_error,
    when,
)
from registration.errors import (
    InvalidArgument,
    InvalidDocument,
    LockTimeout,
    Next,
    RegistrationError,
    StoreError,
    VersionConflict,
)
from registration.pipeline.wire import manifests
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.documents import parse_document

if TYPE_CHECKING:
    from registration.engine.engine import TransitionResult
    from registration.pipeline.pipeline import RegistrationPipeline
    from registration.values.documents import Document

_EXPECTED = click.option(
    "--expected-version",
    metavar="N",
    type=click.IntRange(0),
    help="Refuse unless the manifest is at this version.",
)
_REASON = click.option("--reason", metavar="TEXT", help="The reason.")
_DIGEST = click.option(
    "--digest",
    "expected_digest",
    metavar="SHA256",
    help="Refuse unless the document has this digest, as shown by `show`.",
)
_HEAD = click.option(
    "--head",
    "expected_head",
    metavar="HASH",
    help="Refuse unless the log ends in this hash, shown as `head` by `show`.",
)
_FENCE = click.option(
    "--fence",
    metavar="N",
    type=click.IntRange(1),
    help="The fencing number of your lock (see `claim --json`): refuse if a later one is known.",
)
_NEXT = {
    "DRAFT": "submit_for_review",
    "REVIEWED": "approve",
    "APPROVED": "register",
}


@click.command(
    "create",
    short_help="Create a manifest from a file, as a DRAFT.",
    epilog=examples(
        "registration create server.json",
        "registration create --id acme/weather card.json",
        "curl -s https://example.com/.well-known/agent-card.json | registration create -",
    ),
)
@click.argument("file", type=click.Path(allow_dash=True))
@click.option(
    "--id", "manifest_id", metavar="ID", help="The manifest's id.  [default: NAME@VERSION of the document]"
)
@writing_options
@click.pass_obj
def create_command(context: Context, /, file: str, manifest_id: str | None, **said: Any) -> None:
    """Create a manifest, a DRAFT, from FILE (- reads standard input)."""
    with context.open() as pipeline:
        steps = creating_steps(pipeline.lifecycle)
        if CREATE not in steps:
            raise InvalidArgument(
                f"In the lifecycle {pipeline.lifecycle.name!r}, `create` does not create a manifest from a document.",
                "Make one in another way.",
                *steps,
            )
        document = _read(pipeline, file)
        result = pipeline.create_with_result(manifest_id, document, **_said(said))
        _show(context, result)


@click.command(
    "revise",
    short_help="Replace the document of a DRAFT.",
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
    """Replace the document of a DRAFT with FILE (- reads standard input)."""
    with context.open() as pipeline:
        _show(context, pipeline.revise(id, _read(pipeline, file), **_said(said)))


def _action_command(name: str, action: str, help: str, *example: str) -> click.Command:
    """A command that takes one action on one manifest."""

    def run(context: Context, /, id: str, **said: Any) -> None:
        with context.open() as pipeline:
            _show(context, pipeline.act(id, action, **_said(said)))

    run.__doc__ = help
    function: Callable[..., None] = run
    for decorate in (
        click.pass_obj,
        writing_options,
        _FENCE,
        _HEAD,
        _DIGEST,
        _EXPECTED,
        _REASON,
        id_argument,
    ):
        function = decorate(function)
    return click.command(name, epilog=examples(*example))(function)


submit_command = _action_command(
    "submit",
    "submit_for_review",
    "Submit a DRAFT for review: it becomes REVIEWED.",
    "registration submit io.github.acme/weather@1.2.0",
)
approve_command = _action_command(
    "approve",
    "approve",
    "Approve the current document of a manifest.",
    "registration approve io.github.acme/weather@1.2.0 --actor bea",
    "registration approve io.github.acme/weather@1.2.0 --digest sha256:30c02911…",
)
reject_command = _action_command(
    "reject",
    "reject",
    "Send a manifest back to DRAFT, with a reason.\n\n    It must be REVIEWED or APPROVED, and a reason is required.",
    "registration reject io.github.acme/weather@1.2.0 --reason 'no licence'",
)
register_command = _action_command(
    "register",
    "register",
    "Register an APPROVED manifest, permanently.",
    "registration register io.github.acme/weather@1.2.0",
)


@click.command(
    "act",
    short_help="Take any action of the lifecycle.",
    epilog=examples(
        "registration act io.github.acme/weather@1.2.0 suspend --reason 'the endpoint is gone'",
        "registration act io.github.acme/weather@1.2.0 correct article.json",
    ),
)
@id_argument
@click.argument("action")
@click.argument("file", required=False, type=click.Path(allow_dash=True))
@_REASON
@_EXPECTED
@_DIGEST
@_HEAD
@_FENCE
@writing_options
@click.pass_obj
def act_command(context: Context, /, id: str, action: str, file: str | None, **said: Any) -> None:
    """Take ACTION, as named in the registry's lifecycle; FILE is for actions that need a document.

    `registration why ID` lists the actions that are possible in the manifest's state.
    """
    with context.open() as pipeline:
        document = None if file is None else _read(pipeline, file)
        _show(context, pipeline.act(id, action, document=document, **_said(said)))


@click.command(
    "undo",
    short_help="Undo the last event, if the lifecycle allows it.",
    epilog=examples("registration undo io.github.acme/weather@1.2.0 --reason 'too early'"),
)
@id_argument
@_REASON
@_EXPECTED
@writing_options
@click.pass_obj
def undo_command(context: Context, /, id: str, **said: Any) -> None:
    """Undo the last event, by the action that the lifecycle names for it.

    Nothing is removed: undoing is an event as well, and names the version that it undoes.
    """
    with context.open() as pipeline:
        request = {name: value for name, value in _said(said).items() if value is not None}
        _show(context, pipeline.undo(id, **request))


@click.command(
    "tick",
    short_help="Record due time-outs.",
    epilog=examples("registration tick", "registration tick --dry-run"),
)
@optional_id_argument
@click.option("--dry-run", is_flag=True, help="Show what would be recorded without recording it.")
@lock_timeout_option
@shared_options
@click.pass_obj
def tick_command(context: Context, id: str | None, dry_run: bool) -> None:
    """Record due time-outs, of one manifest or of all, each with the time that it was due.

    The next write to a manifest does this automatically; run it regularly (from cron) for manifests without writes.
    """
    fired = 0
    problems: list[RegistrationError] = []
    with context.open() as pipeline, Progress("checked", shown=not context.as_json) as progress:
        if id is not None:
            pipeline.load_state(id)
        for one in [id] if id is not None else pipeline.upkeep.manifest_ids():
            try:
                events = pipeline.upkeep.tick(one, dry_run=dry_run)
            except (
                StoreError,
                LockTimeout,
                VersionConflict,
            ) as error:  # reported, and the others are checked
                problems.append(error)
                progress.clear()
                show_error(error, as_json=context.as_json)
                continue
            progress.step()
            fired += len(events)
            for event in events:
                if context.as_json:
                    echo_json(manifests.event(event))
                else:
                    progress.clear()
                    echo(
                        f"{one}  {event.from_state} -> {event.to_state}  ({event.action}, due {when(event.time)})"
                    )
    if not context.as_json:
        what = "1 time-out" if fired == 1 else f"{fired} time-outs"
        say(f"{what} {'would be recorded; nothing was changed' if dry_run else 'recorded'}.")
    if problems:
        click.get_current_context().exit(worst(problems))


@click.command(
    "transition",
    short_help="Move a manifest to a state.",
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
    """Move a manifest to STATE, by whichever action leads there from its state."""
    with context.open() as pipeline:
        request = _said(said)
        words = {"reason": request.pop("reason"), "comment": request.pop("comment")}
        more = {**(request.pop("context") or {}), **words}
        _show(
            context,
            pipeline.transition_state(id, state_name(pipeline.lifecycle, state), more, **request),
        )


def _read(pipeline: RegistrationPipeline, file: str) -> Document:
    """The document in a file, or on standard input. Reads no more than the maximum size."""
    raw = bytes_of(
        file, pipeline.document_bytes_max, next_step="Pass the manifest's file, or - for standard input."
    )
    return pipeline.read_document(raw, source=shown_file(file))


def _said(said: dict[str, Any]) -> dict[str, Any]:
    """The options of a command, with `--context` parsed as JSON."""
    return {**said, "context": context_value(said.get("context"))}


def context_value(text: str | None) -> dict[str, Any] | None:
    """The value of `--context`, parsed as JSON."""
    if text is None:
        return None
    try:
        return parse_document(os.fsencode(text), source="--context").value
    except InvalidDocument as error:
        raise InvalidArgument(
            error.problem, 'Pass a JSON object: --context \'{"ticket": "SEC-12"}\'.'
        ) from None


def _show(context: Context, result: TransitionResult) -> None:
    if context.as_json:
        echo_json(manifests.transition(result))
        return
    event = result.event
    came = event.to_state if event.from_state is None else f"{event.from_state} -> {event.to_state}"
    echo(f"{result.manifest_id}  {came}  (version {event.version})")
    for told in outlook_lines(result.outlook()):
        say(f"{told}.")
    if result.replayed:
        say("This idempotency key was used before, for the same request: nothing was written.")
    elif result.dry_run:
        say(DRY_RUN)
    elif (following := _next(result)) is not None:
        say_next(following)


def _next(result: TransitionResult) -> Next | None:
    """The usual next step; in a custom lifecycle, the one that lists the possible actions."""
    if result.state.definition != REGISTRATION.name:
        return Next(operation="why", id=result.manifest_id)
    usual = _NEXT.get(result.to_state)
    return next(iter(result.next_steps(usual)), None) if usual is not None else None
