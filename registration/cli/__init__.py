"""The command line: parse, call the pipeline, print. Start at `registration.cli.app`.

Data goes to stdout, messages to stderr. Exit codes are defined in `registration.cli.exits`, and nowhere else.
"""

from __future__ import annotations

import sys
from typing import Any


def main() -> None:
    """The console script. Ends the process with one of the documented exit codes."""
    # portalocker imports redis-py if it is installed, for a lock that is never used here.
    modules: dict[str, Any] = sys.modules
    modules.setdefault("portalocker.redis", None)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character gets its escape, not a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
    from registration.cli.app import app  # noqa: PLC0415  # after the lines above

    app(prog_name="registration")
