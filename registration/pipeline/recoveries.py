"""What the registry's own log says of a recovery: by whom, of which logs, and what was done."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from registration.errors import RegistrationError
from registration.storage import layout

if TYPE_CHECKING:
    from registration.engine.registry import OpenRegistry
    from registration.storage.reports import RecoveryStep

_log = logging.getLogger("registration")

LISTED_MAX = 100
"""The number of logs that an event of a recovery lists."""

STEPS_MAX = 10
"""The number of steps that it has of each of them."""


class Recovery:
    """One recovery of a registry, in bounded memory whatever it changed."""

    def __init__(self, registry: OpenRegistry) -> None:
        self._registry = registry
        self._count = 0
        self._logs: list[dict[str, Any]] = []

    def add(self, area: str, id: str, steps: tuple[RecoveryStep, ...]) -> None:
        """What was done to one log. steps: none if nothing was."""
        if not steps:
            return
        self._count += 1
        if len(self._logs) < LISTED_MAX:
            told = [_told(step) for step in steps[:STEPS_MAX]]
            self._logs.append({"path": _text(f"{area}/{id}"), "steps": told})

    def record(self) -> None:
        """Record it, once, after all of it was done; nothing if nothing was, or the registry has no log of its own yet.

        A failure is logged: the recovery is done in any case.
        """
        registry, governance = self._registry, self._registry.governance
        if not self._count or governance is None:
            return
        count, self._count = self._count, 0
        try:
            if governance.state is None:
                return
            said = {"recovered": {"count": count, "logs": self._logs}}
            governance.record(registry.command(layout.REGISTRY, {}, action="recover", members=said))
        except RegistrationError as error:
            _log.error("The recovery is done, but the registry's own log doesn't say so: %s", error)


def _told(step: RecoveryStep) -> dict[str, str]:
    said = {"found": _text(step.found), "done": _text(step.done)}
    return said if step.kept_as is None else {**said, "kept_as": _text(step.kept_as)}


def _text(given: str) -> str:
    """As JSON can hold it: the name of a file may be any bytes."""
    return given.encode(errors="backslashreplace").decode()
