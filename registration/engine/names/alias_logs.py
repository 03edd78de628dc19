"""The logs of aliases, one per name, in their own area."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from registration.core.facts import ALIAS_ACTIONS
from registration.core.policy import NO_POLICY
from registration.engine.engine import Engine, Governing, Random
from registration.engine.names.answers import AliasedVersion, aliased_versions
from registration.errors import GuardRefused, Next, VersionConflict
from registration.storage import layout
from registration.values.times import Clock, RetryPolicy, system_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registration.core.policy import Policy
    from registration.errors import Operation
    from registration.storage.ledger import Ledger
    from registration.values.commands import Command


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an alias. target: None if it is removed. seen: what `target` was read from; see `Command.seen`."""

    alias: str
    target: AliasedVersion | None = None
    seen: Mapping[str, Any] | None = None

    @property
    def action(self) -> str:
        """The action of the chart."""
        return "move" if self.target is not None else "remove"

    @property
    def members(self) -> dict[str, Any]:
        """The members of the event's data."""
        if self.target is None:
            return {"alias": self.alias}
        return {"alias": self.alias, "target": self.target.as_json()}


class AliasLogs:
    """The aliases of all names. Safe to share between threads. Opened on first use.

    policy: returns the rules in force; see `registration.engine.names.aliases` for the rules of an alias. governing: as for `Engine`.
    """

    def __init__(
        self,
        beside: Ledger,
        *,
        policy: Callable[[], Policy] = lambda: NO_POLICY,
        governing: Governing | None = None,
        clock: Clock = system_clock,
        random_source: Random | None = None,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        lock_timeout_s: float = 10.0,
    ) -> None:
        self._beside = beside
        self._policy = policy
        self._governing = governing
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
            policy=self._policy,
            governing=self._governing,
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
        wanted: Callable[[dict[str, AliasedVersion]], Change | None],
        *,
        dry_run: bool = False,
    ) -> None:
        """Record the change that `wanted` derives from the current aliases, and retry it on a conflict.

        command: the name, the actor and the reason. wanted: returns the change; None to record nothing. dry_run: decide, and write
        nothing.

        Raises:
            GuardRefused: when a guard of the policy disagrees.
            VersionConflict: when every attempt met a conflict.
        """
        waits = self._retry.waits_s(self._random.random)
        while True:
            state = self.store.load(command.stream)
            change = wanted(aliased_versions(state))
            if change is None:
                return
            version = state.version if state is not None else 0
            try:
                self.engine.execute(
                    replace(
                        command,
                        action=change.action,
                        members=change.members,
                        seen=change.seen,
                        expected_version=version,
                    ),
                    self.engine.trial() if dry_run else None,
                )
            except GuardRefused as refusal:
                raise _named(refusal, change) from None
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


def _named(refusal: GuardRefused, change: Change) -> GuardRefused:
    """The refusal in the words of a policy and of people: an alias has no lifecycle in which another action could come first."""
    said = refusal.details
    name, refused = said["manifest_id"], [one for one in said["verdicts"] if not one["agrees"]]
    operation: Operation = "alias.remove" if change.target is None else "alias.set"
    given: dict[str, Any] = {"alias": change.alias}
    if change.target is not None and change.target.version is not None:
        given["version"] = change.target.version
    steps = [
        Next(
            operation=operation,
            id=name,
            actor=step.actor,
            given=given | dict(step.given),
            missing=step.missing,
        )
        for step in refusal.next
    ]
    details = {
        **said,
        "action": ALIAS_ACTIONS[change.action],
        "alias": change.alias,
        "next": str(steps[0]) if steps else "",
        "next_actions": [step.as_json() for step in steps],
    }
    doing = "Moving" if change.target is not None else "Removing"
    return GuardRefused(
        f"{doing} the alias {change.alias!r} of {name!r} was refused: {'; '.join(one['reason'] for one in refused)}.",
        " ".join(dict.fromkeys(one["remedy"] for one in refused if one["remedy"])),
        *steps,
        **details,
    )
