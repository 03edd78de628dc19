"""Builders: commands, logs, snapshots and JSON values for tests, in as few words as a test has patience for.

`Log` is a manifest's log in memory: it decides, seals and folds with the real thing and touches no disk.
`forge` chains lines of its own with nothing but `hashlib` and `json`, and so is a second opinion on the bytes
as well as the forger's tool.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from registration.core.chart import Action, Chart, State, Timeout, Transition
from registration.core.codec import Scan, scan
from registration.core.decider import decide, decide_repair, decide_timeout, due_timeout, sealed
from registration.core.definition import Definition
from registration.core.policy import NO_POLICY, Policy
from registration.core.repairing import Lost
from registration.rules.lifecycles.facts import keep_facts
from registration.rules.lifecycles.registration import REGISTRATION
from registration.testing import FakeClock
from registration.values.commands import Command
from registration.values.documents import INTEGER_MAX, Document, check_document
from registration.values.events import Event, NewEvent, Position, StateSnapshot
from registration.values.ids import uuid7
from registration.values.times import rfc3339

STREAM = "io.github.acme/weather@1.2.0"
SOURCE = "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057"
ELSEWHERE = "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8058"
WEATHER = {"name": "io.github.acme/weather", "version": "1.2.0", "title": "Wetter für Zürich ☂"}
FIRST_TIME = "2026-01-01T00:00:00.000000Z"
"""What a new `FakeClock` shows first."""


def is_thorough() -> bool:
    """Whether this run has the time to try everything: `HYPOTHESIS_PROFILE=thorough`."""
    return settings.get_current_profile_name() == "thorough"


def tries(examples: int) -> settings:
    """Settings of a property test: so many examples in a steady run, a share of them as usual.

    As many as a thorough run wants, and however slow.
    """
    profile_examples = settings().max_examples
    return settings(
        max_examples=profile_examples if is_thorough() else max(1, examples * profile_examples // 100),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def weather(**members: Any) -> Document:
    """A small checked document; `members` go over its own."""
    return check_document({**WEATHER, **members})


def asked(action: str | None, **said: Any) -> Command:
    """A command for `STREAM`; `create` and `revise` bring the weather where nothing else is said."""
    if action in ("create", "revise"):
        said.setdefault("document", weather())
    return Command(**{"stream": STREAM, "action": action, "actor": "ana", **said})


class Log:
    """A log that grows: `do` carries out a command, `fire` what is due, `add` seals events as they are.

    state: the fold of everything so far. events: all of them. raw: the bytes of the file. policy: the rules in force,
    which a test may change on the way.
    """

    def __init__(
        self,
        stream: str = STREAM,
        source: str = SOURCE,
        definition: Definition = REGISTRATION,
        policy: Policy = NO_POLICY,
    ) -> None:
        self.stream, self.source, self.definition, self.policy = stream, source, definition, policy
        self.state: StateSnapshot | None = None
        self.events: list[Event] = []
        self.clock = FakeClock()
        self._number = 0

    @property
    def raw(self) -> bytes:
        return b"".join(self.lines)

    @property
    def lines(self) -> list[bytes]:
        return [event.line for event in self.events]

    @property
    def position(self) -> Position:
        return self.state.position if self.state else Position()

    def do(self, action: str | None, **said: Any) -> StateSnapshot:
        """Carry out one command, as the engine would."""
        command = asked(action, stream=self.stream, **said)
        now = rfc3339(self.clock())
        return self.add(
            decide(self.definition, self.state, command, time=now, event_id=self._id(now), policy=self.policy)
        )

    def _id(self, time: str) -> str:
        """An id of that moment, as the engine makes them."""
        randomness = self._number.to_bytes(10, "big")
        self._number += 1
        return uuid7(int(datetime.fromisoformat(time).timestamp() * 1000), randomness)

    def fire(self, time: str) -> StateSnapshot | None:
        """Record the time-out that is due first, if any is; no command waits for it here."""
        assert self.state is not None
        timeout = due_timeout(self.definition, self.state, time)
        if timeout is None:
            return None
        return self.add(
            decide_timeout(
                self.definition,
                self.state,
                timeout,
                time=time,
                event_id=self._id(time),
                policy=self.policy,
            )
        )

    def repair(
        self, *, actor: str | None = "ana", reason: str | None = None, time: str | None = None
    ) -> StateSnapshot:
        """Record a repair, as the engine would after the loss of 90 bytes and one version."""
        assert self.state is not None
        command = Command(stream=self.stream, action="repair", actor=actor, reason=reason)
        lost = Lost(90, self.state.version + 1, ("quarantine/x",), "the hash does not match")
        now = time or rfc3339(self.clock())
        return self.add(
            [
                decide_repair(
                    self.definition,
                    self.state,
                    command,
                    lost,
                    time=now,
                    event_id=self._id(now),
                    policy=self.policy,
                )
            ]
        )

    def add(self, new: Iterable[NewEvent]) -> StateSnapshot:
        """Seal the events of one command and fold them."""
        events, states = sealed(
            self.definition, self.state, list(new), stream=self.stream, source=self.source
        )
        self.events += events
        self.state = states[-1]
        return self.state

    def new(self, action: str = "revise", **members: Any) -> NewEvent:
        """An event that was decided on by nobody; `members` go over those of a plain one."""
        now = rfc3339(self.clock())
        id = self._id(now)
        data = {"action": action, "from": "DRAFT", "to": "DRAFT", "actor": "ana"}
        plain = {
            "id": id,
            "type": self.definition.event_type(action),
            "time": now,
            "data": data,
            "correlation_id": id,
        }
        return NewEvent(**{**plain, **members})

    def scan(self, raw: bytes | None = None) -> Scan:
        """Read `raw` (or the log's own bytes) as this log, from the first byte."""
        data = self.raw if raw is None else raw
        return scan(data, stream=self.stream, source=self.source, after=Position())


WATCH = Definition(
    Chart(
        "watch",
        states=(
            State("DRAFT"),
            State("OPEN", initial="WAITING"),
            State("WAITING", parent="OPEN"),
            State("LATE", parent="OPEN"),
            State("ANSWERED", final=True),
            State("GONE", final=True),
        ),
        actions=(
            Action("create", "created", document=True),
            Action("revise", "revised", document=True),
            Action("ask", "asked"),
            Action("note", "noted"),
            Action("hurry", "hurried"),
            Action("delete", "deleted"),
            Action("retract", "retracted"),
            Action("answer", "answered"),
        ),
        transitions=(
            Transition("create", None, "DRAFT"),
            Transition("revise", "DRAFT", "DRAFT"),
            Transition("ask", "DRAFT", "OPEN"),
            Transition("note", "WAITING", "WAITING"),
            Transition("hurry", "WAITING", "LATE"),
            Transition("delete", "DRAFT", "GONE"),
            Transition("retract", "OPEN", "DRAFT"),
            Transition("answer", "OPEN", "ANSWERED"),
        ),
        timeouts=(
            Timeout("expire", "expired", "DRAFT", "1d", "GONE"),
            Timeout("nudge", "nudged", "WAITING", "1h", "LATE"),
            Timeout("drop", "dropped", "LATE", "60m", "DRAFT"),
            Timeout("close", "closed", "OPEN", "4h", "GONE"),
            Timeout("abandon", "abandoned", "OPEN", "3h", "GONE", sliding=True),
        ),
    ),
    evolve=keep_facts,
)
"""A lifecycle that is all about time. `note` leaves WAITING and enters it again, and stays in OPEN all the while."""


def registered(**where: Any) -> Log:
    """A log with the whole way of a manifest in it, back step and second document included: 8 events."""
    log = Log(**where)
    log.do("create", idempotency_key="k-1", correlation_id="req-1")
    log.do("submit_for_review")
    log.do("approve", actor="ben", comment="gut — 良い")
    log.do("reject", actor="cem", reason="the title is wrong")
    log.do("revise", document=weather(title="Weather"), traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    log.do("submit_for_review", causation_id="cause-1")
    log.do("approve", actor="ben", context={"ticket": 7})
    log.do("register")
    return log


def with_batches() -> Log:
    """A log of a creation, a command of three events, a single one, and a last command of three."""
    log = Log()
    log.do("create")
    log.add([log.new() for _ in range(3)])
    log.add([log.new()])
    log.add([log.new() for _ in range(3)])
    return log


def forge(members: Iterable[Mapping[str, Any]], *, heads: bool = True, statehashes: bool = True) -> bytes:
    """A log whose hashes and chain check out, whatever its lines say; nothing of the codec is used.

    A line's `version`, `prevhash` and `hash` are made here; a `version` that is given is kept, and so is a `statehash`. heads: so is the head of
    the log that an approval was given on. statehashes: False leaves them out, as release 0.1 did.
    """
    lines, head = [], ""
    for number, given in enumerate(members, start=1):
        line = {**given, "version": given.get("version", number)}
        approval = line["data"].get("approval") if isinstance(line.get("data"), dict) else None
        if heads and approval:
            line["data"] = {**line["data"], "approval": {**approval, "head": head}}
        told = line.pop("statehash", None)
        for name in ("prevhash", "hash"):
            line.pop(name, None)
        if head:
            line["prevhash"] = head
        if told is not None and statehashes:
            line["statehash"] = told
        covered = json.dumps(line, ensure_ascii=False, separators=(",", ":"))[:-1]
        head = hashlib.sha256(covered.encode()).hexdigest()
        lines.append(f'{covered},"hash":"{head}"}}\n'.encode())
    return b"".join(lines)


def members_of(log: Log) -> list[dict[str, Any]]:
    """The members of each line, for `forge` to build on."""
    return [json.loads(line) for line in log.lines]


TRICKY = '\x00\x1f\x7f\u2028"\\/é€\ud7ff\ue000\uffff\U00010000\U0001f600'
"""Characters that encoders differ on: controls, escapes, and both sides of the surrogates."""


def texts(characters_max: int = 12) -> st.SearchStrategy[str]:
    """Text without lone surrogates, rich in what encoders differ on."""
    alphabet = st.one_of(st.sampled_from(TRICKY), st.characters(codec="utf-8"))
    return st.text(alphabet, max_size=characters_max)


def i_json(*, floats: bool = True) -> st.SearchStrategy[Any]:
    """Values of I-JSON (RFC 7493), the bounds of its integers included."""
    integers = st.one_of(st.integers(-INTEGER_MAX, INTEGER_MAX), st.sampled_from([INTEGER_MAX, -INTEGER_MAX]))
    numbers = [st.floats(allow_nan=False, allow_infinity=False), st.just(-0.0)] if floats else []
    scalars = st.one_of(st.none(), st.booleans(), integers, texts(), *numbers)
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts(), inner, max_size=4)),
        max_leaves=12,
    )


def i_json_objects(*, floats: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of I-JSON: what a document can be."""
    return st.dictionaries(texts(), i_json(floats=floats), max_size=5)
