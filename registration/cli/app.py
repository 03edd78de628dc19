"""The `registration` command: its subcommands, each loaded on demand, and the display of errors."""

from __future__ import annotations

import os
import traceback
from importlib import import_module
from typing import Any

import click

from registration.cli.context import Context, Subcommands, examples, group_options
from registration.cli.exits import EXIT_CODES, FAILURE, exit_code
from registration.cli.output import printable, say, show_error
from registration.errors import RegistrationError

COMMANDS = {
    "init": "beginning",
    "create": "writing",
    "import": "importing",
    "wizard": "wizard",
    "revise": "writing",
    "submit": "writing",
    "approve": "writing",
    "reject": "writing",
    "register": "writing",
    "act": "writing",
    "transition": "writing",
    "undo": "writing",
    "tick": "writing",
    "resolve": "naming",
    "names": "naming",
    "alias": "naming",
    "tag": "naming",
    "why": "governing",
    "next": "leasing",
    "claim": "leasing",
    "release": "leasing",
    "locks": "leasing",
    "show": "reading",
    "log": "reading",
    "diff": "evidence",
    "blame": "evidence",
    "list": "finding",
    "count": "finding",
    "stats": "finding",
    "query": "finding",
    "receipt": "evidence",
    "verify-receipt": "evidence",
    "follow": "following",
    "wait": "following",
    "consumers": "following",
    "hooks": "hooking",
    "verify": "verifying",
    "recover": "recovering",
    "repair": "recovering",
    "doctor": "recovering",
    "catalog": "finding",
    "lifecycle": "governing",
    "policy": "governing",
    "graph": "reading",
    "demo": "demo",
    "completion": "completion",
}
"""Each command and its module, in the order of the help."""


class _Commands(Subcommands):
    """Loads a command's module when the command is called, and turns every error into its exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"registration.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        as_json = ctx.ensure_object(Context)
        try:
            return super().invoke(ctx)
        except RegistrationError as error:
            show_error(error, as_json=as_json.as_json)
            ctx.exit(exit_code(error))
        except click.UsageError as error:
            # It repeats what was typed, or what a shell expanded from a `*`.
            said = "\n".join(printable(line) for line in error.message.split("\n"))
            raise (error if said == error.message else click.UsageError(said, error.ctx)) from None
        except click.ClickException:
            raise
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:  # a bug of ours: users should not have to read a traceback
            if os.environ.get("REGISTRATION_TRACEBACK"):
                traceback.print_exc()
            say(f"Error: unexpected failure: {type(error).__name__}: {error}")
            say("Set REGISTRATION_TRACEBACK=1, run it again, and report the output.")
            ctx.exit(FAILURE)


_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code}  {meaning}" for code, meaning, _ in EXIT_CODES)


@click.group(
    cls=_Commands,
    epilog="\n\n".join(
        [
            examples(
                "registration demo",
                "registration init && registration create server.json",
                "registration log io.github.acme/weather@1.2.0",
            ),
            _CODES,
        ]
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="registration", message="%(prog)s %(version)s")
@group_options
def app() -> None:
    """Review, approve and register JSON manifests on plain files.

    A manifest goes from DRAFT to REVIEWED, APPROVED and REGISTERED. Every change is an event with its actor, time and
    reason, in a log that can be read with `cat` and verified with `registration verify`.
    """
