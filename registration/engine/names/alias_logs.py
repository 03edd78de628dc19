"""The logs of aliases, one per name, in their own area."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from registration.engine.engine import Engine, Random
from registration.engine.names.answers import AliasedVersion, aliased_versions
from registration.errors import VersionConflict
from registration.storage import layout
from registration.values.times import Clock, RetryPolicy, system_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from registration.storage.ledger import Ledger
    from registration.values.commands import Command


class AliasLogs:
    """The aliases of all names. Safe to share between threads. Opened on first use."""

    def __init__(
        self,
        beside: Ledger,
        *,
        clock: Clock = system_clock,
        random_source: Random | None = None,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        lock_timeout_s: float = 10.0,
    ) -> None:
        self._beside = beside
        self._clock = clock
        self._random = random_source or random.SystemRandom()
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._lock_timeout_s = lock_timeout_s

    @cached_property
    def store(self) -> Ledger:
        """The logs themselves."""
        from registration.engine.names.aliases import ALIASES  # noqa: PLC0415  # a chart is built: not for exact versions

        return self._beside.area(layout.ALIASES, ALIASES)

    @cached_property
    def engine(self) -> Engine:
        """The engine that runs their commands."""
        return Engine(
            self.store,
            clock=self._clock,
            random_source=self._random,
            sleep=self._sleep,
            lock_timeout_s=self._lock_timeout_s,
        )

    def targets(self, name: str) -> dict[str, AliasedVersion]:
        """The targets of a name's aliases, by alias; empty if it never had any."""
        return aliased_versions(self.store.load(name))

    def change(
        self,
        command: Command,
        wanted: Callable[[dict[str, AliasedVersion]], dict[str, Any] | None],
        *,
        dry_run: bool = False,
    ) -> None:
        """Record the change that `wanted` derives from the current aliases, and retry it on a conflict.

        command: the name, the actor and the reason. wanted: returns the data of the event: `alias`, and `target` if it is moved; None
        to record nothing. dry_run: decide, and write nothing.

        Raises:
            VersionConflict: when every attempt met a conflict.
        """
        waits = self._retry.waits_s(self._random.random)
        while True:
            state = self.store.load(command.stream)
            members = wanted(aliased_versions(state))
            if members is None:
                return
            doing = "move" if "target" in members else "remove"
            version = state.version if state is not None else 0
            try:
                self.engine.execute(
                    replace(command, action=doing, members=members, expected_version=version),
                    self.engine.trial() if dry_run else None,
                )
            except VersionConflict:
                wait_s = next(waits, None)
                if wait_s is None:
                    raise
                self._sleep(wait_s)
            else:
                return

    def close(self) -> None:
        """Release everything. Closing twice is harmless."""
        if "store" in self.__dict__:
            self.store.close()
