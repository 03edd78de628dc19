"""Every event that any test commits is decided again at once, under the rules that it names: the cheapest guard against false damage.

A test that commits what its own rules do not allow, such as one whose guard changes its mind, says so:
`@pytest.mark.undecidable`. The count of all events is printed at the end of a run, with what could not be asked.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from registration.engine.engine import Engine
from registration.engine.governance import Governance
from registration.evidence.kept_rules import KeptRules
from registration.evidence.redeciding import Doubt, Redecider
from registration.evidence.redeciding_rules import RulesRedecider
from registration.rules.lifecycles.registry import REGISTRY
from registration.storage.disk import PosixDisk
from registration.values.events import StateSnapshot
from tests.kit.totals import counter


class DecidedAgain:
    """The plug-in. `REDECIDE=0` in the environment switches it off, for measuring."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._damage: list[str] = []
        self._lock = threading.Lock()
        self._last: dict[tuple[int, str], Redecider] = {}
        self._under: dict[tuple[int, str], Any] = {}
        if os.environ.get("REDECIDE") != "0":
            self._listen()

    def _listen(self) -> None:
        commit = Engine._commit

        def committed(
            engine: Engine, stream: str, before: StateSnapshot | None, decided: Any, policy: Any, so_far: Any
        ) -> Any:
            events, state = commit(engine, stream, before, decided, policy, so_far)
            disk = getattr(engine.store.backend, "disk", None)
            # A trial keeps no rules. A test's own disk counts the calls, and fails some of them.
            if so_far.trial is None and (disk is None or type(disk) is PosixDisk):
                self._decide_again(engine, stream, before, events, policy)
            return events, state

        Engine._commit = committed  # type: ignore[method-assign]
        append = Governance._append

        def appended(
            governance: Governance, cell: Any, state: StateSnapshot | None, *rest: Any, **more: Any
        ) -> Any:
            event = append(governance, cell, state, *rest, **more)
            store = governance._store
            if cell is not None and type(getattr(store.backend, "disk", None)) is PosixDisk:
                rules = KeptRules(REGISTRY, store.kept, guards=governance._guards)
                self._judge("registry", 1, RulesRedecider(REGISTRY, rules, after=state).step(event))
            return event

        Governance._append = appended  # type: ignore[method-assign]

    def _decide_again(
        self, engine: Engine, stream: str, before: StateSnapshot | None, events: Any, policy: Any
    ) -> None:
        definition = engine.store.definition
        key = (id(engine), stream)
        again = self._last.get(key)
        under = events[0].data.get("registry")
        if again is None or again.state != before or self._under.get(key) != under:
            self._under[key] = under
            governance = engine._governing
            log = governance.rules_log(engine.store.name) if isinstance(governance, Governance) else None
            rules = KeptRules(definition, engine.store.kept, guards=dict(policy.guards), log=log)
            again = Redecider(definition, rules, after=before)
        found = [doubt for event in events for doubt in again.step(event)]
        with self._lock:
            if len(self._last) > 256:
                self._last.clear()
            self._last[key] = again
        self._judge(stream, len(events), found)

    def _judge(self, stream: str, count: int, found: Sequence[Doubt]) -> None:
        with self._lock:
            counter(self._config, "events decided again")(count)
            for doubt in found:
                counter(self._config, f"events decided again: {doubt.kind}, {doubt.group}")(1)
                if doubt.kind == "damage":
                    self._damage.append(f"{stream}, version {doubt.version}: {doubt.reason}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Fail a test that committed an event that its rules do not allow."""
        self._damage.clear()
        self._last.clear()
        result = yield
        if self._damage and item.get_closest_marker("undecidable") is None:
            pytest.fail("decided again, it comes out differently: " + "; ".join(self._damage[:5]))
        return result
