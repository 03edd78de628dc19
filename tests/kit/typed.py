"""Commands as they are typed in a directory, in this process: the same code as `python -m registration`, without its start.

A process of its own takes a quarter of a second before it does anything. Tests of what only a process has, such as signals
and a terminal, start one; all others type here.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from click.testing import CliRunner, Result

from registration.cli.app import app


def environment(place: Path) -> dict[str, str]:
    """What a command finds about its registry, its actor and its colours."""
    return {
        "REGISTRATION_ROOT": str(place / "registry"),
        "REGISTRATION_ACTOR": "ada",
        "NO_COLOR": "1",
    }


def run(place: Path, *words: str) -> Result:
    """What `registration` says when it is called in `place`, with nothing on its input."""
    with contextlib.chdir(place):
        result = CliRunner().invoke(app, words, input="", prog_name="registration", env=environment(place))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def process_environment(place: Path) -> dict[str, str]:
    """The same for a process."""
    return {**os.environ, **environment(place)}
