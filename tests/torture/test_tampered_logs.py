"""Logs that a patient forger changed, with every hash fitted again: each is found, or is one that the rules in it allow.

Five logs, of a policy, of no rules, of a lifecycle with upkeep, of time-outs and of parallel regions; each changed in every way of
`tests.kit.tampering.Forger`. What is not found is legal: nothing but a signature, or a copy elsewhere, tells such a log from the
real one. Each kind of those is listed here with the reason, and with the logs in which it can be: a log that is not found for another
reason fails.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from registration import RegistrationPipeline
from registration.evidence.kept_rules import KeptRules
from registration.evidence.redeciding import Redecider
from registration.evidence.verification import Finding, verify_files
from registration.storage.pieces import EventsInPieces
from registration.storage.reports import Files
from registration.testing import FakeClock
from registration.values.events import Event
from tests.kit import policies
from tests.kit.tampering import Forger, Tampering, refitted
from tests.kit.totals import counter

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

POLICY = """
name = "two approvals"
[roles]
approver = ["bea", "cyd", "dan"]
owner = ["ada"]
[[guards]]
guard = "role"
actions = ["approve"]
any = ["approver"]
[[guards]]
guard = "not_the_author"
actions = ["approve"]
[[guards]]
guard = "approvals"
actions = ["register"]
count = 2
"""
OTHER_POLICY = POLICY.replace("count = 2", "count = 1")

TIMED = {
    "format": 1,
    "name": "timed",
    "version": 1,
    "states": [{"name": "OPEN"}, {"name": "CHECKED"}, {"name": "DONE", "final": True}, {"name": "STALE"}],
    "actions": [
        {
            "name": "open",
            "past": "opened",
            "document": True,
            "moves": [{"to": "OPEN"}],
        },
        {"name": "change", "past": "changed", "document": True, "moves": [{"from": "OPEN", "to": "OPEN"}]},
        {"name": "check", "past": "checked", "approval": True, "moves": [{"from": "OPEN", "to": "CHECKED"}]},
        {"name": "close", "past": "closed", "moves": [{"from": "CHECKED", "to": "DONE"}]},
        {"name": "reopen", "past": "reopened", "moves": [{"from": "STALE", "to": "OPEN"}]},
    ],
    "timeouts": [{"name": "stale", "past": "expired", "state": "OPEN", "after": "1h", "to": "STALE"}],
}

WORDS = "words that no rule asks for"
WHO = "who did it, where nothing demands anybody else"
WHEN = "when, with an id of the same moment"
HISTORY = "another history that the rules allow"
OLD = "an event without a hash where no line before it has one: as of an earlier release"

LEGAL: Mapping[str, str] = {
    "cut off": HISTORY,
    "dropped": HISTORY,
    "dropped, and joined": HISTORY,
    "added again": HISTORY,
    "added, with an id of its own": HISTORY,
    "swapped": HISTORY,
    "swapped, times stay": HISTORY,
    "swapped, joined": HISTORY,
    "another document, digest fitted": HISTORY,
    "another document, digests fitted behind it": HISTORY,
    "another action and type": HISTORY,
    "by another person": WHO,
    "by another person, roles fitted": WHO,
    "at another time": WHEN,
    "at another time, with an id of it": WHEN,
    "another id of the same moment": WHEN,
    "other comment": WORDS,
    "other reason": WORDS,
    "other context": WORDS,
    "other release": WORDS,
    "other fence": WORDS,
    "other seen": WORDS,
    "other undoes": WORDS,
    "other via": WORDS,
    "other imported": WORDS,
    "other correlationid": WORDS,
    "other causationid": WORDS,
    "other idempotencykey": WORDS,
    "other traceparent": WORDS,
    "another policy": "rules that are kept and would have allowed it as well",
    "another policy, approval fitted": "rules that are kept and would have allowed it as well",
    "another roster": "a roster that is kept and would have allowed it as well",
    "another roster, approval fitted": "a roster that is kept and would have allowed it as well",
    "other added": "other tags, which no rule asks for",
    "other tags": "other tags, which no rule asks for",
    "other statehash": OLD,
}
"""Why a tampering of some kinds can't be told without a signature, where the rules allow what it leads to."""


class Case:
    """One log, with the rules that it names."""

    def __init__(self, name: str, root: Path, stream: str) -> None:
        self.name, self.stream = name, stream
        with RegistrationPipeline(root, create=False) as pipeline:
            registry = pipeline._registry
            self.source, self.definition = registry.source, registry.definition
            read, known = registry.store.kept, {}
            for kind in ("lifecycles", "policies", "rosters", "schemas"):
                for path in sorted((root / "rules" / kind).glob("*.json")):
                    digest = f"sha256:{path.stem.removeprefix('sha256-')}"
                    known[kind, digest] = read(kind, digest)
            self.others = {
                "policy": [digest for kind, digest in known if kind == "policies"],
                "roster": [digest for kind, digest in known if kind == "rosters"],
                "lifecycle": [digest for kind, digest in known if kind == "lifecycles"],
            }
            self.rules = registry.kept_rules()
            self.raw = b"".join(event.line for event in registry.store.read(stream))

    @property
    def members(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.raw.splitlines()]

    def findings(self, raw: bytes) -> tuple[Finding, ...]:
        return verify_files(
            Files(raw, None),
            stream=self.stream,
            source=self.source,
            definition=self.definition,
            rules=self.rules,
        ).findings

    def tampered(self, nth: int = 1) -> Iterator[tuple[Tampering, bytes]]:
        """Every n-th tampering; of a sample, of one line only."""
        lines = None if nth == 1 else [len(self.members) // 2]
        for number, one in enumerate(Forger(self.definition, self.members, self.others).all(lines)):
            if number % nth:
                continue
            raw = refitted(self.definition, one.members)
            if raw != self.raw:
                yield one, raw


def step(pipeline: RegistrationPipeline, id: str, action: str, actor: str, **said: Any) -> None:
    pipeline.act(id, action, actor=actor, **said)


def a_policy(root: Path, clock: FakeClock) -> str:
    """Two approvals by people with a role, after a rejection, a revision and a change of the rules."""
    with RegistrationPipeline(root, clock=clock, random=random.Random(1)) as pipeline:
        pipeline.create("other", {})
    for text in (OTHER_POLICY, POLICY):
        put_in_force(root, text, clock)
        with RegistrationPipeline(root, clock=clock, random=random.Random(text)) as pipeline:
            if text == OTHER_POLICY:
                pipeline.create("a", document("1"), actor="ada")
                step(pipeline, "a", "submit_for_review", "ada", comment="first")
                step(pipeline, "a", "approve", "bea")
                step(pipeline, "a", "reject", "cyd", reason="no")
                continue
            step(pipeline, "a", "revise", "ada", document=document("2"), idempotency_key="k1")
            step(pipeline, "a", "submit_for_review", "eve")
            step(pipeline, "a", "approve", "bea", context={"ticket": 7})
            pipeline.tag("a", ["fast"], actor="ada")
            step(pipeline, "a", "approve", "cyd")
            step(pipeline, "a", "approve", "dan")
            step(pipeline, "a", "register", "ada")
    return "a"


def no_rules(root: Path, clock: FakeClock) -> str:
    """The same walk without a policy."""
    with RegistrationPipeline(root, clock=clock, random=random.Random(2)) as pipeline:
        pipeline.create("a", document("1"), actor="ada")
        step(pipeline, "a", "submit_for_review", "ada")
        pipeline.undo("a", actor="ada", reason="too early")
        step(pipeline, "a", "revise", "ada", document=document("2"))
        step(pipeline, "a", "submit_for_review", "eve")
        step(pipeline, "a", "approve", "bea")
        step(pipeline, "a", "reject", "cyd", reason="no")
        step(pipeline, "a", "submit_for_review", "eve")
        step(pipeline, "a", "approve", "cyd")
        step(pipeline, "a", "register", "ada")
    return "a"


def upkeep(root: Path, clock: FakeClock) -> str:
    """A registered version that is deprecated, suspended and withdrawn, with a name, tags and a repair of its rights."""
    with RegistrationPipeline(
        root, clock=clock, random=random.Random(3), lifecycle="registration-upkeep"
    ) as pipeline:
        id = pipeline.create(None, document("1.0.0"), actor="ada").manifest_id
        step(pipeline, id, "submit_for_review", "ada")
        step(pipeline, id, "approve", "bea")
        step(pipeline, id, "register", "ada")
        pipeline.tag(id, ["stable", "fast"], actor="ada")
        for action in ("deprecate", "suspend", "withdraw"):
            step(pipeline, id, action, "ada", reason=f"we {action} it")
    return id


def timed(root: Path, clock: FakeClock) -> str:
    """Twice nobody did anything in time."""
    with RegistrationPipeline(root, clock=clock, random=random.Random(4), lifecycle=TIMED) as pipeline:
        step(pipeline, "a", "open", "ada", document=document("1"))
        clock.advance(4_000)
        step(pipeline, "a", "reopen", "ada")
        step(pipeline, "a", "change", "eve", document=document("2"))
        clock.advance(4_000)
        pipeline.upkeep.tick("a")
        step(pipeline, "a", "reopen", "bea")
        step(pipeline, "a", "check", "bea")
        step(pipeline, "a", "close", "ada")
    return "a"


def document(version: str) -> dict[str, Any]:
    return {"name": "io.github.acme/weather", "version": version}


def put_in_force(root: Path, text: str, clock: FakeClock) -> None:
    """Apply a policy, by the clock of the log that is tampered with."""
    with RegistrationPipeline(
        root, create=False, clock=clock, random=random.Random(f"policy {text}")
    ) as pipeline:
        policies.put_in_force(pipeline, text)


def parallel(root: Path, clock: FakeClock) -> str:
    """Two reviews at once, each by people with a role."""
    (kept,) = (FIXTURES / "registries" / "format-1-parallel" / "rules" / "lifecycles").glob("*.json")
    with RegistrationPipeline(
        root, clock=clock, random=random.Random(5), lifecycle=json.loads(kept.read_bytes())
    ) as pipeline:
        pipeline.create("other", {})
    put_in_force(root, '[roles]\nsecurity = ["sam"]\nlegal = ["lea"]\n', clock)
    with RegistrationPipeline(root, clock=clock, random=random.Random(6)) as pipeline:
        step(pipeline, "a", "create", "ada", document=document("1"))
        step(pipeline, "a", "submit_for_review", "ada")
        step(pipeline, "a", "approve_security", "sam")
        step(pipeline, "a", "reject", "lea", reason="no")
        step(pipeline, "a", "revise", "eve", document=document("2"))
        step(pipeline, "a", "submit_for_review", "eve")
        step(pipeline, "a", "approve_legal", "lea")
        step(pipeline, "a", "approve_security", "sam")
        step(pipeline, "a", "register", "ada")
    return "a"


MAKERS = {maker.__name__: maker for maker in (a_policy, no_rules, upkeep, timed, parallel)}


def case(name: str, folder: Path) -> Case:
    root = folder / name
    stream = MAKERS[name](root, FakeClock())
    return Case(name, root, stream)


def judged(one: Tampering, found: tuple[Finding, ...]) -> str | None:
    """`found` or `odd`; otherwise the reason why it can't be told; None where there is none."""
    # That there is no snapshot is how each log is given; a log that ends within a command is not.
    kinds = {one.kind for one in found if one.path.endswith("events.jsonl")} - {"unchecked"}
    if "damage" in kinds:
        return "found"
    return "odd" if kinds else LEGAL.get(one.kind)


def every(name: str, folder: Path, config: pytest.Config, *, nth: int = 1) -> Counter[str]:
    """Judge every n-th tampering of a log; fails at one that is neither found nor legal."""
    log, counts, wrong = case(name, folder), Counter[str](), []
    assert [
        finding for finding in log.findings(log.raw) if finding.kind not in ("unfinished", "unchecked")
    ] == []
    for one, raw in log.tampered(nth):
        verdict = judged(one, log.findings(raw))
        if verdict is None:
            wrong.append(f"{one.kind}: {one.what}")
            continue
        counts[verdict] += 1
        say = verdict if verdict in ("found", "odd") else f"not to be told: {verdict}"
        counter(config, f"tampered logs: {say}")(1)
    assert wrong == []
    return counts


@pytest.mark.torture
@pytest.mark.parametrize("name", MAKERS)
def test_a_tampered_log_is_found_or_legal(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Every way of the forger, in each line of each log. All five together are over 8,000."""
    counts = every(name, tmp_path, request.config)

    assert counts["found"] > 5 * (counts.total() - counts["found"])


class OneByOne(Redecider):
    """Makes every check of each event by itself."""

    def _is_as_decided(self, event: Event, rules: KeptRules) -> bool:
        return False


@pytest.mark.torture
@pytest.mark.parametrize("name", MAKERS)
def test_checks_in_one_go_let_nothing_pass_that_single_ones_find(name: str, tmp_path: Path) -> None:
    """Of every tampered log, both say the same of every line."""
    log = case(name, tmp_path)
    for one, raw in log.tampered():
        events = EventsInPieces(
            lambda start, end, raw=raw: raw[start:end], len(raw), stream=log.stream, source=log.source
        )
        at_once, singly = (kind(log.definition, log.rules) for kind in (Redecider, OneByOne))
        for event in events:
            assert list(at_once.step(event)) == list(singly.step(event)), f"{one.kind}: {one.what}"
            assert at_once.state == singly.state


@pytest.mark.sample
@pytest.mark.parametrize("name", MAKERS)
def test_a_sample_of_tampered_logs_is_found_or_legal(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Every seventh way of the forger, in one line of each log."""
    assert every(name, tmp_path, request.config, nth=7)["found"]
