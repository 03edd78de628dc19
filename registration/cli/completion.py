"""The completion command."""

from __future__ import annotations

import click

from registration.cli.context import examples

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    short_help="Print the shell completion script.",
    epilog=examples(
        'eval "$(registration completion bash)"',
        "registration completion fish > ~/.config/fish/completions/registration.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion_command(shell: str) -> None:
    """Print the script that makes a shell complete commands, options, ids and states."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415  # for this command alone

    from registration.cli.app import app  # noqa: PLC0415  # the group is complete only now

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(app, {}, "registration", "_REGISTRATION_COMPLETE").source())
