"""The recover command."""

from __future__ import annotations

import click

from registration.cli.context import (
    Context,
    examples,
    lock_timeout_option,
    optional_id_argument,
    shared_options,
)
from registration.cli.exits import DAMAGE
from registration.cli.output import echo, echo_json, printable, say, show_error
from registration.errors import StoreError


@click.command(
    "recover",
    short_help="Settle what a crash left.",
    epilog=examples("registration recover", "registration recover io.github.acme/weather@1.2.0"),
)
@optional_id_argument
@lock_timeout_option
@shared_options
@click.pass_obj
def recover_command(context: Context, id: str | None) -> None:
    """Settle what a crash left: replay each log from its first byte, and write its snapshot anew.

    Bytes of a write that was never acknowledged are moved to quarantine/. Damage is named and left alone.
    """
    damaged = healed = seen = 0
    with context.open() as pipeline:
        for one in [id] if id is not None else pipeline.manifest_ids():
            seen += 1
            try:
                recovered = pipeline.recover(one)
            except StoreError as error:
                damaged += 1
                if context.as_json:
                    echo_json({"manifest_id": one, "version": None, "done": [], "problem": error.as_json()})
                else:
                    show_error(error, as_json=False)
                continue
            if id is not None and recovered.state is None and not recovered.done:
                pipeline.load_state(id)  # says that there is no such manifest, and which one may be meant
            healed += bool(recovered.done)
            if context.as_json:
                version = recovered.state.version if recovered.state else 0
                echo_json(
                    {"manifest_id": one, "version": version, "done": list(recovered.done), "problem": None}
                )
            else:
                for done in recovered.done:
                    echo(f"{one}: {printable(done)}")
    if not context.as_json:
        manifests = "1 manifest" if seen == 1 else f"{seen} manifests"
        say(f"{manifests} replayed: {healed} set right, {damaged} damaged.")
    if damaged:
        click.get_current_context().exit(DAMAGE)
