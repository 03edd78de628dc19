"""Catalogs for tests: a feed in memory, registries with histories that hypothesis draws, and what is known of them, naively."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from hypothesis import strategies as st

from registration.core.decider import fold
from registration.core.definition import Definition
from registration.core.interpreter import steps
from registration.core.policy import Kind, Policy
from registration.errors import GuardRefused, InvalidArgument, NotFound, StoreError
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.reports import Backlog
from registration.testing import FakeClock
from registration.values.documents import check_document
from registration.values.events import Event, StateSnapshot
from tests.kit.builders import Log

IDS = ("a/x", "a-x", "b", "b:1", "c@1.0", "zürich".replace("ü", "u"))
ACTORS = ("ana", "ben", "cem", "Zoë")
DOCUMENTS: tuple[dict[str, Any], ...] = (
    {},
    {"name": "io.github.acme/weather", "version": "1.0.0", "title": "Wetter für Zürich"},
    {"name": "io.github.acme/weather", "version": "1.10.0", "tags": ["weather", "METEO-1"], "port": 8080},
    {"name": "Weather Agent", "skills": [{"id": "s", "on": True}], "port": 8080.0, "weather": None},
    {"name": "\U0010ffff", "a/b": {"~": [0, False, ""]}, "title": "straße 天気 ☂ \x00 x" + "y" * 100},
    {"name": 7, "version": 1, "text": "The Weather, tomorrow"},
)
POLICY = Policy(
    kinds=(
        Kind("server", {"/name": "io.github.*"}),
        Kind("agent", {"/skills": True}),
    )
)


@dataclass
class Entry:
    """One event of a feed in memory."""

    cursor: str
    area: str
    event: Event


@dataclass
class ListFeed:
    """A feed in memory. events: everything in it; `open_to`: how much of it can be read by now."""

    events: list[Event] = field(default_factory=list)
    name: str = "1"
    reconciled: int = 0
    elsewhere: frozenset[int] = frozenset()

    def entries(
        self, cursor: str | None, limit: int | None, areas: Collection[str] | None = None
    ) -> Iterator[Entry]:
        start = 0
        if cursor is not None:
            name, _, offset = cursor.partition(":")
            if name != self.name:
                raise InvalidArgument("another feed")
            start = int(offset)
        told = (
            Entry(f"{self.name}:{index}", "aliases" if index - 1 in self.elsewhere else "manifests", event)
            for index, event in enumerate(self.events[start:], start + 1)
        )
        yield from islice((entry for entry in told if areas is None or entry.area in areas), limit)

    def end(self) -> str:
        return f"{self.name}:{len(self.events)}"


class Registry:
    """Logs in memory, with what a catalog wants of a store. told: all their events, in the order of their commits: its feed."""

    def __init__(self, definition: Definition = REGISTRATION) -> None:
        self.definition = definition
        self.source = "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057"
        self.logs: dict[str, Log] = {}
        self.told = ListFeed()
        self.dark: set[str] = set()
        self.clock = FakeClock()

    def do(self, id: str, action: str, **said: Any) -> Event:
        """Carry out a command, and put its event into the feed."""
        log = self.logs.get(id)
        if log is None:
            log = self.logs[id] = Log(stream=id, definition=self.definition)
            log.clock = self.clock
        log.do(action, **said)
        self.told.events.append(log.events[-1])
        return log.events[-1]

    def streams(self) -> Iterator[str]:
        return iter(sorted(self.logs))

    def load(self, stream: str) -> StateSnapshot | None:
        self._look(stream)
        log = self.logs.get(stream)
        return fold(self.definition, None, log.events) if log is not None else None

    def read(self, stream: str) -> Iterator[Event]:
        self._look(stream)
        if stream not in self.logs:
            raise NotFound("gone")
        return iter(list(self.logs[stream].events))

    def feed(
        self, after: str | None = None, *, limit: int | None = None, areas: Collection[str] | None = None
    ) -> Iterator[Entry]:
        return self.told.entries(after, limit, areas)

    def feed_end(self) -> str:
        return self.told.end()

    def feed_backlog(self, after: str | None = None) -> Backlog:
        return Backlog(len(list(self.told.entries(after, None))), None)

    def reconcile_feed(self) -> int:
        self.told.reconciled += 1
        return 0

    def _look(self, stream: str) -> None:
        if stream in self.dark:
            raise StoreError(f"{stream} can't be read.")


@st.composite
def registries(draw: st.DrawFn, *, steps_max: int = 30) -> Registry:
    """Registries of some manifests, each somewhere on the way of the usual lifecycle."""
    registry = Registry()
    for _ in range(draw(st.integers(0, steps_max))):
        id = draw(st.sampled_from(IDS))
        state = registry.load(id)
        offered = sorted(steps(registry.definition.chart, state.state if state else None))
        if not offered:
            continue
        action = draw(st.sampled_from(offered))
        said: dict[str, Any] = {"actor": draw(st.sampled_from(ACTORS)), "reason": "so"}
        if registry.definition.chart.action(action).document:
            said["document"] = check_document(draw(st.sampled_from(DOCUMENTS)))
        with suppress(GuardRefused):  # a second approval by the same person
            registry.do(id, action, **said)
    return registry


def facts(events: Sequence[Event]) -> dict[str, Any]:
    """What a catalog has to know of a manifest, worked out from its whole log at once."""
    states = [event.data["to"] for event in events]
    documents = [event.data["document"] for event in events if "document" in event.data]
    document = documents[-1] if documents else {}
    since = len(states) - 1
    while since and states[since - 1] == states[-1]:
        since -= 1
    name, version = document.get("name"), document.get("version")
    return {
        "id": events[0].subject,
        "state": states[-1],
        "version": len(events),
        "digest": events[-1].data["digest"],
        "name": name if isinstance(name, str) else events[0].subject,
        "document_version": version if isinstance(version, str) else None,
        "creator": events[0].data["actor"],
        "actor": events[-1].data["actor"],
        "created_at": events[0].time,
        "updated_at": events[-1].time,
        "entered_at": events[since].time,
        "size_bytes": sum(len(event.line) for event in events),
        "head": events[-1].hash,
    }


def stays(events: Sequence[Event]) -> list[tuple[str, float]]:
    """Each place that a manifest left, with the seconds that it had been there."""
    found = []
    entered = events[0]
    for event in events[1:]:
        if event.data["to"] != entered.data["to"]:
            seconds = datetime.fromisoformat(event.time) - datetime.fromisoformat(entered.time)
            found.append((entered.data["to"], seconds.total_seconds()))
            entered = event
    return found


def document_of(events: Sequence[Event]) -> Mapping[str, Any]:
    """The document after all events."""
    found: Mapping[str, Any] = [event.data["document"] for event in events if "document" in event.data][-1]
    return found
