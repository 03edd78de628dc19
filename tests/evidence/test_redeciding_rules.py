"""The registry's own log decided again: who changed the rules, under the rules that were in force before each change."""

from __future__ import annotations

import copy
import json

import pytest

from registration import RegistrationPipeline
from registration.evidence.verification import verify_files
from registration.rules.lifecycles.registry import REGISTRY
from registration.storage.reports import Files
from registration.testing import FakeClock
from tests.cli.test_cli import Terminal
from tests.kit.tampering import Forger, refitted

REASONS = '[[guards]]\nguard = "reason_given"\nactions = ["revise"]\n'
BOSSES = '[roles]\nboss = ["bea", "cyd"]\n'
GOVERNED = (
    BOSSES + '[governance]\npolicy = { roles = ["boss"], four_eyes = true }\nroster = { roles = ["boss"] }\n'
)
LARGER = GOVERNED.replace('"cyd"', '"cyd", "dan"')

MADE, APPLIED, PROPOSED, AGREED, PEOPLE, FORCED = range(6)
"""The lines of the log, counted from 0."""


@pytest.fixture
def root(root):
    """A registry whose rules were applied, changed by two people, got other people, and were changed by force."""
    clock = FakeClock()
    with RegistrationPipeline(root, clock=clock, actor="ada") as pipeline:

        def put(text, call, **words):
            (root / "policy.toml").write_text(text)
            clock.advance(60)
            call(**words)

        pipeline.create("a", {})
        put(GOVERNED, pipeline.upkeep.apply_policy)
        put(GOVERNED + REASONS, pipeline.upkeep.propose_policy, actor="bea")
        put(GOVERNED + REASONS, pipeline.upkeep.apply_policy, actor="cyd", reason="as agreed")
        put(LARGER + REASONS, pipeline.upkeep.apply_policy, actor="bea")
        put(BOSSES, pipeline.upkeep.apply_policy, as_owner=True, reason="nobody answers")
    return root


def lines_of(root):
    return [json.loads(line) for line in (root / "registry" / "events.jsonl").read_bytes().splitlines()]


def fitted(lines):
    """The log of these lines, in which each names the line before it, and every hash is right: a forger can do that."""
    lines = copy.deepcopy(lines)
    for number in range(1, len(lines)):
        if type(lines[number]["data"].get("registry")) is dict:
            before = json.loads(refitted(REGISTRY, lines[:number]).splitlines()[-1])
            lines[number]["data"]["registry"] = {"version": number, "hash": before["hash"]}
    return refitted(REGISTRY, lines)


def damage_in(root, raw):
    """What `verify` says against the registry's own log, if these were its bytes."""
    with RegistrationPipeline(root, create=False) as pipeline:
        registry = pipeline._registry
        rules = registry.kept_rules(registry.governance.log)
        found = verify_files(
            Files(raw, None), stream="registry", source=registry.source, definition=REGISTRY, area="registry",
            rules=rules,
        )  # fmt: skip
    return [one.reason for one in found.findings if one.kind == "damage"]


def test_a_log_of_changes_that_the_rules_allowed_or_the_owner_forced_is_sound(root):
    """As it was written, and as a forger would fit it again."""
    lines = lines_of(root)
    assert [line["data"]["action"] for line in lines] == [
        "make", "apply_policy", "propose", "apply_policy", "change_roster", "apply_policy",
    ]  # fmt: skip
    assert lines[FORCED]["data"]["forced"] is True
    assert fitted(lines) == (root / "registry" / "events.jsonl").read_bytes()
    assert damage_in(root, fitted(lines)) == []


def said(at, name, value):
    def change(lines):
        lines[at]["data"][name] = value

    return change


def of(at, name, value):
    def change(lines):
        lines[at]["data"]["in_force"][name] = value

    return change


def swapped(lines):
    lines[PROPOSED], lines[AGREED] = lines[AGREED], lines[PROPOSED]


def unforced_again(lines):
    """The forced change once more, as if it had been allowed."""
    lines.insert(FORCED, copy.deepcopy(lines[FORCED]))
    del lines[FORCED]["data"]["forced"]


def back_to(lines):
    lines[AGREED]["data"]["in_force"] |= {"policy": lines[APPLIED]["data"]["in_force"]["policy"]}


FORGED = {
    "applied by a stranger": (said(AGREED, "actor", "eve"), "the rules refuse it: 'eve' is not boss"),
    "applied by nobody": (said(AGREED, "actor", None), "the rules refuse it"),
    "applied by its author": (said(AGREED, "actor", "bea"), "'bea' submitted this document"),
    "proposed by who applied it": (said(PROPOSED, "actor", "cyd"), "'cyd' submitted this document"),
    "people changed by a stranger": (said(PEOPLE, "actor", "eve"), "the rules refuse it: 'eve' is not boss"),
    "other rules than proposed": (of(AGREED, "policy", None), "the rules refuse it"),
    "rules of before": (back_to, "the policy, and it is the one before"),
    "rules that are not kept": (of(AGREED, "policy", "sha256:" + "0" * 64), "is not kept"),
    "people that are not kept": (of(PEOPLE, "roster", "sha256:" + "0" * 64), "is not kept"),
    "no such rules": (of(AGREED, "policy", 5), "malformed"),
    "other rules with other people": (of(PEOPLE, "policy", None), "does not change the policy"),
    "another lifecycle": (
        of(AGREED, "lifecycle", {"name": "x", "version": 1, "digest": "sha256:" + "0" * 64}),
        "does not change the lifecycle",
    ),
    "one more in force": (of(AGREED, "more", 1), "malformed"),
    "decided under no rules": (lambda lines: lines[AGREED]["data"].pop("policy"), "under the policy"),
    "decided under other people": (said(AGREED, "roster", None), "under the roster"),
    "naming no line": (lambda lines: lines[AGREED]["data"].pop("registry"), "under the registry"),
    "proposal dropped": (lambda lines: lines.pop(PROPOSED), "the rules refuse it"),
    "change dropped": (lambda lines: lines.pop(APPLIED), "under the policy"),
    "swapped": (swapped, "under the policy"),
    "allowed what was forced": (unforced_again, "the rules refuse it"),
    "dated back": (lambda lines: lines[AGREED].update(time=lines[MADE]["time"]), "before that of the line"),
    "not forced": (lambda lines: lines[FORCED]["data"].pop("forced"), "the rules refuse it"),
    "hardly forced": (said(FORCED, "forced", False), "`forced` is False"),
    "forced, though agreed": (said(AGREED, "forced", True), "the rules did not refuse it"),
    "forced, though free": (said(APPLIED, "forced", True), "the rules did not refuse it"),
    "forced proposal": (said(PROPOSED, "forced", True), "`forced` is True"),
}


@pytest.mark.parametrize(("forge", "reason"), FORGED.values(), ids=FORGED)
def test_a_change_that_the_rules_do_not_allow_is_damage(root, forge, reason):
    """Though every digest, hash and place in the chain is right."""
    lines = lines_of(root)
    forge(lines)
    found = damage_in(root, fitted(lines))
    assert any(reason in one for one in found), found


LEGAL = frozenset(
    (
        "cut off",
        "other remaining",  # an unfinished end, as a crash leaves it
        "another action and type",  # made, or adopted
        "added, with an id of its own",  # proposed twice
        "by another person",
        "at another time",
        "at another time, with an id of it",
        "another id of the same moment",
        "another document, digest fitted",
        "another document, digests fitted behind it",
        *(
            f"other {name}"
            for name in ("comment", "reason", "context", "release", "fence", "seen", "undoes", "via")
        ),
        *(f"other {name}" for name in ("imported", "correlationid", "causationid", "idempotencykey")),
        *(f"other {name}" for name in ("traceparent", "statehash")),
    )
)


@pytest.mark.slow
def test_whatever_a_forger_changes_is_found_or_allowed(root):
    """What is not found could have been said so: words, moments, who forced it, where no rule demands anybody else."""
    lines = lines_of(root)
    original, missed = fitted(lines), set()
    for one in Forger(REGISTRY, lines, {}).all():
        raw = fitted(one.members)
        if raw != original and not damage_in(root, raw):
            missed.add(one.kind)
            assert one.kind in LEGAL, (one.kind, one.what)
    assert "by another person" in missed


@pytest.mark.damaged
def test_verify_decides_the_registrys_own_log_again(root):
    """Also where `registry.json` and the snapshot were fitted; it names the line and what the rules say."""
    lines = lines_of(root)
    lines[FORCED]["data"].pop("forced")
    raw = fitted(lines)
    (root / "registry" / "events.jsonl").write_bytes(raw)
    (root / "registry" / "state.json").unlink()
    record = json.loads((root / "registry.json").read_bytes())
    record["log"]["head"] = json.loads(raw.splitlines()[-1])["hash"]
    (root / "registry.json").write_text(json.dumps(record))

    verified = Terminal(root).type("verify")
    assert verified.exit_code == 7
    assert "damage: registry/events.jsonl, line 6, " in verified.stdout
    assert "the rules refuse it: 'ada' is not boss" in verified.stdout


@pytest.mark.damaged
def test_a_log_that_was_repaired_goes_on_under_the_rules_that_it_kept(root):
    """A repair asks no rule, since they can't be read; the change after it is decided under those of the last intact line."""
    log = root / "registry" / "events.jsonl"
    log.write_bytes(log.read_bytes()[:-9] + b"broken!!\n")
    with RegistrationPipeline(root, create=False, actor="ada") as pipeline:
        pipeline.upkeep.repair("registry/registry", accept_loss=True, reason="a bad disk")
        (root / "policy.toml").write_text(BOSSES)
        pipeline.upkeep.apply_policy(as_owner=True, reason="still nobody answers")

    repaired, forced = lines_of(root)[-2:]
    assert ("lost" in repaired["data"], forced["data"]["forced"]) == (True, True)
    assert damage_in(root, log.read_bytes()) == []
