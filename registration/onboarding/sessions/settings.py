"""What a registry says of its sessions, in `sessions.toml`, written by people: how long they live, how many may be active.

::

    time_to_live = "24h"          # how long a session may be left alone; 15m, or what its wizard says, where it isn't said
    active = "user"               # one active session for each "user" of a scope, or one for each "scope"

    [wizards.mcp-server]
    time_to_live = "2h"

It is read when a registry's sessions are opened. A session that goes on under another time to live has it from its next
event on; `active` counts for what is begun from then on.
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
    """time_to_live: instead of the wizards' own. active: whose one active session there is. by_wizard: as `time_to_live`.

    Raises:
        InvalidArgument: when a time is none, or `active` is another word.
    """

    time_to_live: str | None = None
    active: Active = "user"
    by_wizard: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        times = {"time_to_live": self.time_to_live}
        times |= {f"wizards.{name}.time_to_live": said for name, said in self.by_wizard.items()}
        problems = [
            f"{path}: {said!r} is no time; {DURATION_FORM}"
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
    """What the registry at `root` says.

    Raises:
        InvalidArgument: when it can't be meant; every problem is named.
        StoreError: when it can't be read.
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
    problems = [
        f"{name}: there is no such member" for name in said.keys() - {"time_to_live", "active", "wizards"}
    ]
    if not isinstance(wizards, Mapping) or not all(isinstance(one, Mapping) for one in wizards.values()):
        problems, wizards = [*problems, "wizards: a table for each wizard is expected"], {}
    for name, one in wizards.items():
        problems += [
            f"wizards.{name}.{other}: there is no such member" for other in one.keys() - {"time_to_live"}
        ]
    if problems:
        raise _wrong(sorted(problems))
    times = {name: one["time_to_live"] for name, one in wizards.items() if "time_to_live" in one}
    return SessionSettings(said.get("time_to_live"), said.get("active", "user"), times)


def _wrong(problems: list[str]) -> InvalidArgument:
    return InvalidArgument(
        f"The settings of sessions can't be meant: {'; '.join(problems)}.",
        f"Mend {layout.SESSION_SETTINGS_FILE}.",
        problems=problems,
    )
