"""The line on stderr with which every command says that `policy.toml` is not what is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import orjson

from registration.cli.output import printable, say
from registration.errors import RegistrationError

if TYPE_CHECKING:
    from registration.engine.policy_status import FileState
    from registration.pipeline.pipeline import RegistrationPipeline

_SAID: dict[FileState, str] = {
    "differs": "policy.toml differs from the rules in force, which continue. `registration policy apply` puts it in force; "
    "--dry-run shows what would change.",
    "missing": "policy.toml is missing or empty; the rules in force continue. Restore it, or apply another one: "
    "`registration policy apply FILE`.",
    "invalid": "policy.toml is invalid; the rules in force continue. `registration policy check` lists its problems.",
}


def warn_of_policy(pipeline: RegistrationPipeline, *, as_json: bool) -> None:
    """Print one line on stderr if the file differs from the rules in force, or if the registry's own log is damaged."""
    try:
        status = pipeline.upkeep.policy_status()
    except RegistrationError as error:
        state, text = "damaged", f"{error.problem} Nothing can be written."
    else:
        if status.version == 0 or status.file not in _SAID:
            return
        state, text = status.file, _SAID[status.file]
    if as_json:
        click.echo(orjson.dumps({"warning": "policy", "state": state, "message": text}), err=True)
    else:
        say(printable(f"Warning: {text}"))
