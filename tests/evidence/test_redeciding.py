"""Deciding again: what the rules refuse is found at its line, what can't be asked is counted, and what is sound is left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from registration.core.definition import Definition
from registration.core.policy import Policy, Verdict
from registration.engine.names.aliases import ALIASES
from registration.errors import NotFound
from registration.evidence.kept_rules import InForce, KeptRules
from registration.evidence.redeciding import Doubt, redecide
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.documents import digest_of
from registration.values.ids import uuid7
from registration.values.times import rfc3339
from tests.kit.builders import Log, forge, members_of
from tests.kit.tampering import refitted


class Rules:
    """Rules that are kept in a dictionary, by kind and digest."""

    def __init__(self, **kept: Any) -> None:
        self.kept = {("policies", digest_of(value)): value for value in kept.values()}

    def __call__(self, kind: str, digest: str) -> Any:
        try:
            return self.kept[kind, digest]
        except KeyError:
            raise NotFound(f"rules/{kind} has no {digest}.") from None


class OwnLog:
    """A registry's own log: the rules in force by version, one a day from the first of January."""

    begun = "2026-01-01T00:00:00.000000Z"

    def __init__(self, *policies: str | None) -> None:
        self._versions = {
            number: InForce(number, f"{number:064}", f"2026-01-0{number}T00:00:00.000000Z", policy, None)
            for number, policy in enumerate(policies, start=1)
        }

    def at(self, version: int) -> InForce | None:
        return self._versions.get(version)


def walked(*steps: str, definition: Definition = REGISTRATION) -> Log:
    """A log of these actions. Approvals are bea's."""
    log = Log(definition=definition)
    for action in steps:
        said = {"actor": "bea"} if action == "approve" else {}
        log.do(action, **said, **({"reason": "no"} if action == "reject" else {}))
    return log


def doubts(log: Log, raw: bytes, rules: KeptRules | None = None) -> list[Doubt]:
    """What is said against a log of these bytes."""
    found = rules or KeptRules(log.definition, Rules())
    return list(redecide(log.definition, found, log.scan(raw).events))


def tampered(
    log: Log, line: int, change: Callable[[dict[str, Any]], None], rules: KeptRules | None = None
) -> list[tuple[str, int]]:
    """The kinds and lines of what is said after one line was changed and everything was fitted again."""
    members = members_of(log)
    change(members[line - 1])
    return [(one.kind, one.version) for one in doubts(log, refitted(log.definition, members), rules)]


WALK = ("create", "submit_for_review", "approve", "reject", "submit_for_review", "approve", "register")


def test_nothing_is_said_against_what_was_decided() -> None:
    """Each event of a walk through the whole lifecycle is what its rules make of it."""
    log = walked(*WALK)

    assert doubts(log, log.raw) == []


def test_a_registration_that_no_rule_allowed_is_found_by_its_line() -> None:
    """The line follows on DRAFT, with every hash in order."""
    log = walked("create", "submit_for_review", "approve", "register")
    members = members_of(log)
    del members[1:3]
    members[1]["data"]["from"] = "DRAFT"

    found = doubts(log, refitted(REGISTRATION, members))

    assert [(one.kind, one.version) for one in found] == [("damage", 2)]
    assert (
        "the rules refuse it: 'io.github.acme/weather@1.2.0' is DRAFT and can't do 'register'"
        in found[0].reason
    )


def test_an_invented_state_is_found() -> None:
    """NOWHERE is in no lifecycle."""
    assert tampered(walked("create"), 1, lambda line: line["data"].update(to="NOWHERE")) == [("damage", 1)]


def test_a_rule_that_is_named_and_not_kept_is_damage() -> None:
    """Of an approval under rules that nobody can read, nobody can say that it was given under them."""
    log = walked("create", "submit_for_review", "approve")

    found = tampered(log, 3, lambda line: line["data"].update(policy="sha256:" + "0" * 64))

    assert found[0] == ("damage", 3)


def test_a_guard_that_is_not_installed_here_is_unchecked() -> None:
    """The policy is kept, and names a guard of another program."""
    kept = {**Policy(name="own").data, "guards": {"approve": [{"guard": "their_own"}]}}  # type: ignore[dict-item]
    rules = KeptRules(REGISTRATION, Rules(policy=kept))
    log = walked("create", "submit_for_review", "approve")

    found = tampered(log, 3, lambda line: line["data"].update(policy=digest_of(kept)), rules)

    assert found == [("unchecked", 3)]


def test_a_guard_that_fails_is_unchecked_and_one_that_refuses_is_damage() -> None:
    """A bug in a guard says nothing about the log."""

    def failing(*_: object) -> Verdict:
        raise OSError("no network")

    def refusing(*_: object) -> Verdict:
        return Verdict(agrees=False, reason="never")

    log = walked("create", "submit_for_review")
    kept = {**Policy(name="own").data, "guards": {"submit_for_review": [{"guard": "own"}]}}  # type: ignore[dict-item]

    for guard, kind in ((failing, "unchecked"), (refusing, "damage")):
        rules = KeptRules(REGISTRATION, Rules(policy=kept), guards={"own": guard})
        found = tampered(log, 2, lambda line: line["data"].update(policy=digest_of(kept)), rules)
        assert found == [(kind, 2)]


def test_a_lifecycle_that_was_never_in_force_is_damage() -> None:
    """It may be kept, and still be nobody's."""
    log = walked("create")

    rules = KeptRules(REGISTRATION, Rules(), lifecycles=["sha256:" + "1" * 64])

    assert [(one.kind, one.group) for one in doubts(log, log.raw, rules)] == [("damage", "rule not kept")]


def test_an_id_is_a_clock() -> None:
    """Whoever changes a time forgets the id, by a millisecond or by a year."""
    log = walked("create", "submit_for_review", "approve")

    for time in ("2026-01-01T00:00:02.001000Z", "2027-01-01T00:00:00.000000Z"):
        found = tampered(log, 3, lambda line, time=time: line.update(time=time))  # type: ignore[misc]
        assert ("damage", 3) in found


def test_the_time_of_a_clock_that_was_set_back_is_that_of_the_event_before() -> None:
    """The engine takes it then, and the id tells what the clock said: no damage, and the order of ids is odd."""
    log = walked("create", "submit_for_review")
    members = members_of(log)
    earlier = uuid7(1_767_225_500_000, b"0123456789")
    members[1] |= {"time": members[0]["time"], "id": earlier, "correlationid": earlier}

    found = doubts(log, refitted(REGISTRATION, members))

    assert [(one.kind, one.group) for one in found] == [("finding", "id order")]


def test_one_id_is_not_of_two_lines() -> None:
    """Nor is an idempotency key that the manifest remembers."""
    log = walked("create", "submit_for_review", "reject")
    twice = members_of(log)[1]

    assert ("damage", 3) in tampered(
        log, 3, lambda line: line.update(id=twice["id"], time=twice["time"], correlationid=twice["id"])
    )
    members = members_of(log)
    for line in members[1:]:
        line["idempotencykey"] = "k"
    found = doubts(log, refitted(REGISTRATION, members))
    assert [(one.kind, one.version, one.group) for one in found] == [("damage", 3, "key twice")]


def test_an_alias_event_without_its_alias_is_damage_and_no_crash() -> None:
    """Once `verify` ended in a KeyError on it."""
    log = Log("weather", definition=ALIASES)
    target = {"version": "1.0", "manifest_id": "a", "digest": "sha256:" + "0" * 64}
    log.do("move", members={"alias": "stable", "target": target})
    assert doubts(log, log.raw) == []

    for gone in ("alias", "target"):
        assert ("damage", 1) in tampered(log, 1, lambda line, gone=gone: line["data"].pop(gone))  # type: ignore[misc]
    assert ("damage", 1) in tampered(log, 1, lambda line: line["data"].update(target={"version": 5}))


def test_what_a_program_folds_otherwise_is_unchecked_and_not_damage() -> None:
    """Facts without a declared form have no hash; a line that has one all the same can't be checked."""

    def evolve(facts: Any, _event: Any) -> Any:
        return facts

    own = replace(REGISTRATION, evolve=evolve)
    log = walked("create")
    raw = log.raw

    found = list(redecide(own, KeptRules(own, Rules()), log.scan(raw).events))

    assert [(one.kind, one.version) for one in found] == [("unchecked", 1)]


def test_a_changed_fact_is_found_by_the_hash_of_the_state() -> None:
    """The line says to which state it led; without its hash, where lines before it have one, it says too little."""
    log = walked("create", "submit_for_review")

    members = members_of(log)
    members[1]["statehash"] = "1:" + "0" * 64
    assert [one.group for one in doubts(log, forge(members))] == ["statehash"]
    del members[1]["statehash"]
    assert [(one.kind, one.group) for one in doubts(log, forge(members))] == [("damage", "statehash gone")]
    members[1]["data"]["release"] = "0.1.0"
    assert [(one.kind, one.group) for one in doubts(log, forge(members))] == [("finding", "statehash gone")]


def test_the_hash_of_a_later_form_is_unchecked() -> None:
    """A later release keeps more in a state; this one can't compute it."""
    log = walked("create")
    members = members_of(log)
    members[0]["statehash"] = "2:" + "0" * 64

    assert [(one.kind, one.version) for one in doubts(log, forge(members))] == [("unchecked", 1)]


def test_two_spellings_of_one_person_are_a_finding() -> None:
    """Old logs may have them; nobody is accused of anything."""
    log = Log()
    log.do("create", actor="bea")
    log.do("submit_for_review", actor="Bea")

    found = doubts(log, log.raw)

    assert [(one.kind, one.version) for one in found] == [("finding", 2)]
    assert found[0].reason == "'Bea' and 'bea', earlier in this log, are one person in two spellings"


# -- the registry's own log --------------------------------------------------------------------------------


def under(log: Log, *versions: int | None, own: OwnLog) -> list[tuple[str, int, str]]:
    """What is said against a log whose events name these versions of the registry's own log."""
    members = members_of(log)
    for day, (line, version) in enumerate(zip(members, versions, strict=True), start=1):
        at = 1_767_225_600_000 + (day - 1) * 86_400_000 + 3_600_000
        line["time"], line["id"] = rfc3339(at * 1_000_000), uuid7(at, day.to_bytes(10, "big"))
        line["correlationid"] = line["id"]
        if version is not None:
            release = line["data"].pop("release")
            line["data"] = {
                name: value for name, value in line["data"].items() if name not in ("digest", "document")
            } | {
                "registry": {"version": version, "hash": f"{version:064}"}, "release": release,
                **{name: line["data"][name] for name in ("digest", "document") if name in line["data"]},
            }  # fmt: skip
    rules = KeptRules(REGISTRATION, Rules(), log=own)
    return [(one.kind, one.version, one.group) for one in doubts(log, refitted(REGISTRATION, members), rules)]


def test_each_event_is_under_the_rules_of_the_version_that_it_names() -> None:
    """Day by day another version; each event names that of its day."""
    log = walked("create", "submit_for_review", "reject")

    assert under(log, 1, 2, 3, own=OwnLog(None, None, None)) == []
    assert under(log, 1, 1, 1, own=OwnLog(None)) == []


def test_an_event_names_no_older_version_than_the_one_before_it() -> None:
    """Rules don't come back by themselves."""
    log = walked("create", "submit_for_review", "reject")

    assert ("damage", 3, "registry going back") in under(log, 1, 2, 1, own=OwnLog(None, None))


def test_a_version_that_the_log_does_not_have_or_has_otherwise_is_damage() -> None:
    """Removed, emptied, put back or rewritten: it is not the log that the event was decided under."""
    log = walked("create")

    assert under(log, 2, own=OwnLog(None)) == [("damage", 1, "registry log")]


def test_rules_that_were_not_in_force_are_damage() -> None:
    """The policy was left out of the event, and was in force."""
    log = walked("create")

    assert under(log, 1, own=OwnLog("sha256:" + "0" * 64)) == [("damage", 1, "policy not in force")]


def test_an_event_that_names_no_version_is_damage_once_there_is_a_log() -> None:
    """From its first moment on."""
    log = walked("create", "submit_for_review")

    assert under(log, 1, None, own=OwnLog(None)) == [("damage", 2, "registry left out")]


def test_rules_of_a_day_ago_are_a_finding() -> None:
    """They were replaced before the event was decided, by the clocks of two hosts."""
    log = walked("create", "submit_for_review", "reject")

    assert under(log, 1, 1, 1, own=OwnLog(None, None)) == [
        ("finding", 2, "rules of before"),
        ("finding", 3, "rules of before"),
    ]


@pytest.mark.parametrize("line", [1, 2, 3])
def test_an_event_of_release_0_1_may_lack_what_it_did_not_write(line: int) -> None:
    """Its members are a subset of those of today; what it has is compared all the same."""
    log = walked("create", "submit_for_review", "approve")
    members = members_of(log)
    for one in members:
        one["data"]["release"] = "0.1.0"
        for name in ("counted", "via", "lapsed"):
            one["data"].pop(name, None)

    assert doubts(log, forge(members, statehashes=False)) == []
    members[line - 1]["data"]["to"] = "REGISTERED"
    found = doubts(log, forge(members, statehashes=False))
    assert found[0].kind == "damage"
    assert found[0].version == line
