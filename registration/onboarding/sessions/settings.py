"""The session settings of a registry, in `sessions.toml`, written by people: time to live, and active sessions.

::

    time_to_live = "24h"          # how long a session may be idle; default: that of its wizard, or 15m
    active = "user"               # one active session for each "user" of a scope, or one for each "scope"

    [wizards.mcp-server]
    time_to_live = "2h"

It is read when a registry's sessions are opened. A changed time to live applies to a session from its next
event on; `active` applies to sessions that are started from then on.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from registration.errors import InvalidArgument
from registration.storage import layout
from registration.storage.disk import Disk, failures_named, given_back, read_span
from registration.values.times import DURATION_FORM, duration_s

_BYTES_MAX = 64 * 1024

Active = Literal["user", "scope"]


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """time_to_live: overrides the wizards' own. active: the scope of the one active session. by_wizard: as `time_to_live`.

    Raises:
        InvalidArgument: when a duration or `active` is invalid.
    """

    time_to_live: str | None = None
    active: Active = "user"
    by_wizard: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        times = {"time_to_live": self.time_to_live}
        times |= {f"wizards.{name}.time_to_live": said for name, said in self.by_wizard.items()}
        problems = [
            f"{path}: invalid duration {said!r}; {DURATION_FORM}"
            for path, said in times.items()
            if said is not None and (not isinstance(said, str) or duration_s(said) is None)
        ]
        if self.active not in ("user", "scope"):
            problems.append(f"active: {self.active!r} is neither 'user' nor 'scope'")
        if problems:
            raise _wrong(problems)

    def time_for(self, wizard: str) -> str | None:
        """The time to live of a wizard's sessions; None: its own."""
        return self.by_wizard.get(wizard, self.time_to_live)


def read_settings(disk: Disk, root: str) -> SessionSettings:
    """The settings of the registry at `root`.

    Raises:
        InvalidArgument: when they are invalid; every problem is listed.
        StoreError: when they can't be read.
    """
    path = f"{root}/{layout.SESSION_SETTINGS_FILE}"
    try:
        with given_back(disk, disk.open(path, os.O_RDONLY)) as fd:
            raw = read_span(disk, fd, 0, _BYTES_MAX)
    except FileNotFoundError:
        return SessionSettings()
    except OSError:
        with failures_named("reading", layout.SESSION_SETTINGS_FILE):
            raise
    try:
        said = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _wrong([f"it is not TOML: {error}"]) from None
    return _meant(said)


def _meant(said: Mapping[str, Any]) -> SessionSettings:
    wizards = said.get("wizards", {})
    problems = [f"{name}: unknown member" for name in said.keys() - {"time_to_live", "active", "wizards"}]
    if not isinstance(wizards, Mapping) or not all(isinstance(one, Mapping) for one in wizards.values()):
        problems, wizards = [*problems, "wizards: expected a table for each wizard"], {}
    for name, one in wizards.items():
        problems += [f"wizards.{name}.{other}: unknown member" for other in one.keys() - {"time_to_live"}]
    if problems:
        raise _wrong(sorted(problems))
    times = {name: one["time_to_live"] for name, one in wizards.items() if "time_to_live" in one}
    return SessionSettings(said.get("time_to_live"), said.get("active", "user"), times)


def _wrong(problems: list[str]) -> InvalidArgument:
    return InvalidArgument(
        f"Invalid session settings: {'; '.join(problems)}.",
        f"Fix {layout.SESSION_SETTINGS_FILE}.",
        problems=problems,
    )
