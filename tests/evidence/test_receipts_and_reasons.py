"""Evidence: why something can be done, what a refusal leaves behind, receipts, pins, undoing, and policies tried out.

All of it on real files, through the pipeline, and where a command is promised, typed at the command line.
"""

from __future__ import annotations

import copy
import json
import shlex
import shutil
from dataclasses import astuple
from pathlib import Path

import pytest

from registration import RegistrationPipeline
from registration.cli.words import line
from registration.core.explanation import Who
from registration.core.interpreter import shortest_paths
from registration.engine.origin import came_in
from registration.errors import (
    CorruptLog,
    GuardRefused,
    IllegalTransition,
    InvalidArgument,
    Next,
    NotFound,
    PinMismatch,
    ReceiptMismatch,
    RegistrationError,
    Rejected,
    VersionConflict,
)
from registration.evidence.kept_rules import KeptRules
from registration.evidence.receipts import check_receipt, make_receipt
from registration.rules.lifecycles.registration import REGISTRATION
from registration.testing import FakeClock
from registration.values.documents import digest_of
from registration.values.times import system_clock
from tests.cli.test_cli import Terminal
from tests.kit.builders import Log, forge, members_of
from tests.kit.disks import LOG, SNAPSHOT, tree
from tests.kit.policies import put_in_force
from tests.kit.tampering import refitted

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
EXAMPLES = FIXTURES.parent / "examples" / "lifecycles"
FULL = FIXTURES / "policies" / "full"
FILE = FIXTURES / "manifests" / "mcp-server.json"
SERVER = json.loads(FILE.read_bytes())
ID = "io.github.acme/weather@1.2.0"
OTHER = {**SERVER, "description": "Forecasts for a place and a day"}

STEPS = [
    ("submit_for_review", "ada"),
    ("approve", "bea"),
    ("approve", "cyd"),
    ("register", "dot"),
]
"""The way of the sample server from DRAFT to REGISTERED under the full policy."""


@pytest.fixture
def governed(open_pipeline, root):
    """A registry under the full policy."""
    pipeline = open_pipeline()
    put_in_force(pipeline, FULL / "policy.toml")
    return pipeline


def go(pipeline, steps=4, id=ID, document=SERVER):
    """Bring the sample server along: so many steps after its creation."""
    pipeline.create(id, document)
    for action, actor in STEPS[:steps]:
        pipeline.act(id, action, actor=actor)
    return pipeline.load_state(id)


def at_every_step(pipeline):
    """The same pipeline again and again, with the sample server one step further."""
    pipeline.create(ID, SERVER)
    yield pipeline
    for action, actor in STEPS:
        pipeline.act(ID, action, actor=actor)
        yield pipeline


def copied(root, to, clock=None):
    """A pipeline over a copy of a registry; unless a clock is given, long after what is in it."""
    shutil.copytree(root, to)
    return RegistrationPipeline(
        to, create=False, actor="ada", clock=clock or FakeClock(1_800_000_000_000_000_000)
    )


def policy(registry, *guards, roles=""):
    """Put a policy in force: each guard as its name, the actions, and its parameters. registry: a pipeline, or its directory."""
    put_in_force(registry, _text(guards, roles))


def _text(guards, roles):
    uses = [f'[[guards]]\nguard = "{guard}"\nactions = {actions}\n{more}' for guard, actions, more in guards]
    return "\n".join([f"[roles]\n{roles}", *uses])


def log_of(root, id):
    return root / "manifests" / id.replace("/", "%2F") / LOG


# -- why ---------------------------------------------------------------------------------------------------


def test_everything_that_can_be_done_from_here_is_explained(governed):
    """Without an action: each that the lifecycle offers, in its order, with where it leads."""
    found = [[(one.action, one.to) for one in pipeline.explain(ID)] for pipeline in at_every_step(governed)]

    reviewed = [("approve", "APPROVED"), ("reject", "DRAFT")]
    approved = [*reviewed, ("register", "REGISTERED")]
    assert found == [
        [("revise", "DRAFT"), ("submit_for_review", "REVIEWED")],
        reviewed,
        approved,
        approved,
        [],
    ]


@pytest.mark.parametrize("actor", ["ada", "bea", "dot", "eve"])
def test_what_is_explained_is_what_happens(governed, root, tmp_path, actor):
    """For every state, action, actor and word: allowed is carried out, and a refusal says what was explained."""
    number = allowed = refused = illegal = 0
    for pipeline in at_every_step(governed):
        version = pipeline.load_state(ID).version
        for action in pipeline.lifecycle.actions:
            for reason in (None, "because"):
                document = OTHER if action.document else None
                said = {"actor": actor, "reason": reason, "document": document}
                (why,) = pipeline.explain(ID, action.name, **said)
                if why.allowed:
                    number, allowed = number + 1, allowed + 1
                    with copied(root, tmp_path / str(number)) as other:
                        result = other.act(ID, action.name, **said)
                    assert (result.snapshot.state, result.snapshot.version) == (why.to, version + 1)
                elif why.to is None:
                    illegal += 1
                    with pytest.raises(RegistrationError) as caught:
                        pipeline.act(ID, action.name, **said)
                    assert not isinstance(caught.value, GuardRefused)
                else:
                    refused += 1
                    with pytest.raises(GuardRefused) as caught:
                        pipeline.act(ID, action.name, **said)
                    assert caught.value.details == why.as_json()
        assert pipeline.load_state(ID).version == version

    assert illegal > 5
    assert allowed + refused > 5


def test_who_could_act_is_who_may(governed):
    """Asked for everybody in turn, with all else in order, it is those who are named, and nobody else."""
    people = ["ada", "bea", "cyd", "dot", "eve"]
    asked = 0
    for pipeline in at_every_step(governed):
        for one in pipeline.explain(ID, reason="because"):
            may = [
                actor
                for actor in people
                if pipeline.explain(ID, one.action, actor=actor, reason="because")[0].allowed
            ]
            if not may:  # something else stands against it, whoever asks
                continue
            asked += 1
            named = set(people) - set(one.who.excluded) if one.who.anybody else set(one.who.actors)
            assert sorted(named & set(people)) == may, one

    assert asked >= 8


def test_who_could_act_is_told_where_something_else_is_missing(governed):
    """Nobody may register before there are two approvals; who may then is known already."""
    go(governed, 2)

    (why,) = governed.explain(ID, "register", actor="dot")

    assert why.who == Who(anybody=False, actors=("dot",))
    assert not why.allowed
    assert why.next == Next(operation="act", id=ID, action="approve", actor="cyd")


def test_explaining_writes_nothing(governed, root):
    """Neither an event nor a note of a refusal; not even the rules that are asked."""
    go(governed, 1)
    before = tree(root)

    for action in (None, "approve", "register", "create"):
        governed.explain(ID, action, actor="ada")

    assert tree(root) == before


def test_what_is_explained_is_what_happens_when_a_time_out_is_due(open_pipeline, clock):
    """The next write records it first; so whoever asks is told what can be done from there."""
    pipeline = open_pipeline(lifecycle=EXAMPLES / "agent-upkeep.toml")
    pipeline.create("a", {})
    clock.advance(90 * 86_400)

    (why,) = pipeline.explain("a", "submit_for_review")

    with pytest.raises(IllegalTransition, match="'a' is EXPIRED"):
        pipeline.submit_for_review("a")
    assert not why.allowed


def test_a_creation_can_be_explained_before_it(governed, root):
    """Whoever is to bring a document learns what would be said of it, as creating it would say it."""
    before = tree(root)
    bare, sound = (
        governed.explain(ID, "create", document=document)[0] for document in ({"name": "x"}, SERVER)
    )
    unchanged = tree(root) == before
    with pytest.raises(GuardRefused) as caught:
        governed.create(ID, {"name": "x"})

    assert unchanged
    assert caught.value.details == bare.as_json()
    assert (sound.allowed, sound.state, sound.version, sound.to) == (True, None, 0, "DRAFT")
    with pytest.raises(NotFound):
        governed.explain(ID, "approve")


def test_what_does_not_exist_can_not_be_explained(governed):
    """Neither a manifest nor an action; the nearest of those there are is suggested."""
    go(governed, 0)

    with pytest.raises(NotFound, match=f"Did you mean '{ID}'"):
        governed.explain("io.github.acme/wether@1.2.0")
    with pytest.raises(InvalidArgument, match="Did you mean 'approve'"):
        governed.explain(ID, "aprove")


def test_a_document_that_would_be_brought_can_be_asked_about(governed):
    """The guards look at it, as JSON text or as values; without one, at the one that stands."""
    go(governed, 0)

    (bare,) = governed.explain(ID, "revise", document=b'{"name": "x"}')
    (sound,) = governed.explain(ID, "revise", document=OTHER)

    assert {answer.guard for answer in bare.answers if not answer.verdict.agrees} == {
        "schema", "mcp_server", "name", "version",
    }  # fmt: skip
    assert bare.digest == digest_of({"name": "x"})
    assert (sound.allowed, sound.digest) == (True, digest_of(OTHER))


# -- what to type next -------------------------------------------------------------------------------------

STANDS_FOR = {
    "FILE": str(FILE),
    "TEXT": "because",
    "NAME": "zoe",
    "JSON": '{"ticket": 7}',
}
"""What somebody types for what a line leaves open."""


def typed(terminal, line):
    """Type a line as it was given, filling in what it leaves open."""
    command, *words = shlex.split(line)
    assert command == "registration"
    return terminal.type(*(STANDS_FOR.get(word, word) for word in words))


def line_of(why):
    """The line that the command line gives for the next step; empty where there is none."""
    return line(why.next) if why.next is not None else ""


def said_next(output):
    """The line that somebody at a terminal was told to type next."""
    lines = [line.removeprefix("Next: ") for line in output.splitlines() if line.startswith("Next: ")]
    assert len(lines) <= 1
    return lines[0] if lines else ""


def test_whoever_types_what_is_said_next_gets_there(governed, root):
    """From a file to REGISTERED under the full policy, by nothing but the line that each command ends with."""
    terminal, line, lines = Terminal(root), "registration create FILE", []
    while line:
        result = typed(terminal, line)
        assert result.exit_code == 0, (line, result.output)
        lines.append(line.replace(ID, "ID"))
        line = said_next(result.stderr) if "REGISTERED" not in result.stdout else ""
        assert len(lines) < 10

    assert lines == [
        "registration create FILE",
        "registration submit ID",
        "registration approve ID --actor bea",
        "registration approve ID --actor cyd",
        "registration register ID --actor dot",
    ]
    assert governed.load_state(ID).state == "REGISTERED"


def follow(terminal, pipeline, id, action, actor, lines_max=12):
    """Type what `why` says is next until the action is done, and after a refusal what that said; the lines typed.

    None where it is said at some point that nothing can be typed.
    """
    lines = []
    while len(lines) < lines_max:
        before = pipeline.load_state(id).version
        line = line_of(pipeline.explain(id, action, actor=actor)[0])
        while line:
            lines.append(line)
            result = typed(terminal, line)
            assert result.exit_code in (0, 4), (line, result.output)
            if result.exit_code == 0:
                break
            line = said_next(result.stderr)
            assert line not in lines[-2:], "it is told to do again what was refused"
        else:
            return None
        events = list(pipeline.history(id))
        assert len(events) == before + 1
        if events[-1].action == action:
            return lines
    raise AssertionError(f"{action} is not reached: {lines}")


@pytest.mark.slow
def test_from_everywhere_the_line_that_is_said_leads_to_what_was_asked_for(governed, root, tmp_path):
    """Whatever somebody wants to do, from wherever the manifest stands: typing what is said does it in the end."""
    number = reached = 0
    for pipeline in at_every_step(governed):
        state = pipeline.load_state(ID)
        everyone_approved = {one["actor"] for one in state.facts.get("approvals", ())} == {"bea", "cyd"}
        for action in ("revise", "submit_for_review", "approve", "reject", "register"):
            # Nobody approves the same document twice, so no reviewer is left.
            ends = state.state == "REGISTERED" or (action == "approve" and everyone_approved)
            for actor in ("ada", "bea"):
                number += 1
                with copied(root, tmp_path / str(number)) as other:
                    lines = follow(Terminal(tmp_path / str(number)), other, ID, action, actor)
                reached += lines is not None
                assert (lines is None) == ends, (state.version, action, actor)

    assert reached == 38


@pytest.mark.parametrize("action", ["revise", "submit_for_review", "approve", "reject", "register"])
def test_no_line_that_is_said_is_refused(governed, root, tmp_path, action):
    """What is said to be next can be done as it is said, by whom it is said."""
    refused, number = [], 0
    for pipeline in at_every_step(governed):
        for actor in ("ada", "bea"):
            line = line_of(pipeline.explain(ID, action, actor=actor)[0])
            if line:
                number += 1
                shutil.copytree(root, tmp_path / str(number))
                result = typed(Terminal(tmp_path / str(number)), line)
                refused += [(pipeline.load_state(ID).state, action, line)] * (result.exit_code != 0)

    assert refused == []


@pytest.mark.parametrize(
    "lifecycle", ["registration-upkeep", "agent-upkeep.toml", "publishing.toml", "parallel-reviews.toml"]
)
def test_in_every_lifecycle_that_comes_along_the_lines_lead_on(root, tmp_path, lifecycle):
    """From a new manifest to every action that the lifecycle has, by typing what is said."""
    given = EXAMPLES / lifecycle if lifecycle.endswith("toml") else lifecycle
    pipeline = RegistrationPipeline(root, lifecycle=given, actor="ada")
    policy(root, roles='security = ["sam", "sue"]\nlegal = ["lea"]')
    pipeline.create("a", SERVER)
    ways = shortest_paths(pipeline.lifecycle)
    actions = {
        step.label for way in ways.values() for step in way if pipeline.lifecycle.has_action(step.label)
    }

    for action in sorted(actions - {"create"}):
        # By the clock that the terminal goes by: under another one, other time-outs would be due.
        with copied(root, tmp_path / action, system_clock) as other:
            lines = follow(Terminal(tmp_path / action), other, "a", action, "ada")

        assert lines is not None, action


def test_where_nobody_can_act_no_line_is_told(pipeline, root):
    """Where a role is asked for that nobody has, no actor helps: the policy must be changed."""
    go(pipeline, 1)
    policy(
        root,
        ("role", '["approve"]', 'any = ["reviewer"]'),
        ("not_the_author", '["approve"]', ""),
        roles="reviewer = []",
    )

    (why,) = pipeline.explain(ID, "approve", actor="zoe")

    assert (why.allowed, why.next) == (False, None)


def test_what_was_said_already_is_not_asked_for_again(open_pipeline, root):
    """Where a reason and a ticket are required, whoever gives one of them is told the line with both."""
    lifecycle = json.loads(json.dumps(open_pipeline().definition.data))
    lifecycle["name"] = "ticketed"
    submit = next(one for one in lifecycle["actions"] if one["name"] == "submit_for_review")
    submit["required"] = ["reason", "comment"]
    for action in lifecycle["actions"]:
        action.pop("schema", None)
    pipeline = RegistrationPipeline(root.parent / "ticketed", lifecycle=lifecycle, actor="ada")
    pipeline.create("a", {})

    (why,) = pipeline.explain("a", "submit_for_review", reason="because")

    assert typed(Terminal(root.parent / "ticketed"), line_of(why)).exit_code == 0


# -- refusals ----------------------------------------------------------------------------------------------


def test_a_refusal_is_noted_where_the_policy_asks_for_it(governed, root):
    """What was asked, by whom and when, and the whole answer: the error's details, which is what `why` says."""
    go(governed, 1)
    (why,) = governed.explain(ID, "approve", comment="mine", context={"ticket": 7})
    with pytest.raises(GuardRefused) as caught:
        governed.approve(ID, comment="mine", context={"ticket": 7})
    with pytest.raises(GuardRefused) as creation:
        governed.create("b", {"name": "b"}, actor="bea")

    noted = [json.loads(line) for line in (root / "refusals.jsonl").read_bytes().splitlines()]

    assert [line["refusal"] for line in noted] == [caught.value.details, creation.value.details]
    assert noted[0]["refusal"] == why.as_json()
    assert [line["source"] for line in noted] == [f"urn:uuid:{governed.registry_id}"] * 2
    assert noted[0]["command"] == {
        "actor": "ada",
        "document": None,
        "via": came_in(),
        "comment": "mine",
        "context": {"ticket": 7},
    }
    assert noted[1]["command"] == {"actor": "bea", "document": digest_of({"name": "b"}), "via": came_in()}
    assert noted[0]["time"] > list(governed.history(ID))[-1].time


def test_a_refusal_leaves_nothing_where_nobody_asked_for_it(pipeline, root):
    """Noting is the policy's choice; and what is no guard's refusal is never noted."""
    go(pipeline, 1)
    before = tree(root)

    for refused in (
        lambda: pipeline.reject(ID, reason=None),
        lambda: pipeline.register(ID),
        lambda: pipeline.create(ID, {}),
        lambda: pipeline.approve(ID, expected_digest="sha256:" + "0" * 64),
    ):
        with pytest.raises(RegistrationError):
            refused()

    assert tree(root) == before


def test_only_what_a_guard_refused_is_noted(governed, root):
    """An illegal move or a pin that has moved is no decision of a rule."""
    go(governed, 1)

    with pytest.raises(IllegalTransition):
        governed.register(ID, actor="dot")
    with pytest.raises(PinMismatch):
        governed.approve(ID, actor="bea", expected_head="0" * 64)

    assert not (root / "refusals.jsonl").exists()


# -- receipts ----------------------------------------------------------------------------------------------


def test_a_receipt_tells_who_approved_what_under_which_rules(governed):
    """One JSON document with the approvals, the events that made it so, and the rules in full."""
    state = go(governed)

    receipt = json.loads(json.dumps(governed.evidence.receipt(ID)))

    events = list(governed.history(ID))
    assert (receipt["manifest_id"], receipt["state"], receipt["version"]) == (ID, "REGISTERED", 5)
    assert (receipt["digest"], receipt["registry"]) == (digest_of(SERVER), state.source)
    assert receipt["log"] == {"size": sum(len(event.line) for event in events), "head": events[-1].hash}
    assert [(one["actor"], one["roles"]) for one in receipt["approvals"]] == [
        ("bea", ["reviewer"]),
        ("cyd", ["reviewer"]),
    ]
    assert [one["action"] for one in receipt["events"]] == ["create", "approve", "approve", "register"]
    assert {digest_of(rule) for rules in receipt["rules"].values() for rule in rules.values()} == {
        digest for rules in receipt["rules"].values() for digest in rules
    }
    assert receipt["rules"]["policies"] == {governed.policy.digest: governed.policy.data}
    assert receipt["rules"]["lifecycles"] == {
        governed.definition.identity["digest"]: governed.definition.data
    }


def test_a_receipt_holds_where_it_was_made(governed, open_pipeline):
    """For whoever opens the registry, as often as it is checked."""
    go(governed)
    receipt = json.loads(json.dumps(governed.evidence.receipt(ID)))

    checks = [pipeline.evidence.check_receipt(receipt) for pipeline in (governed, open_pipeline(), governed)]

    assert {astuple(check) for check in checks} == {
        (ID, 5, "REGISTERED", 5, "REGISTERED", True, (), (), (), (), 0)
    }
    assert governed.evidence.receipt(ID) == receipt


def places(value, place=()):
    """Every place in a JSON value, from the top down."""
    yield place
    steps = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for step in steps:
        yield from places(value[step], (*place, step))


def changed(value, place):
    """A copy in which the value at a place is another."""
    made = copy.deepcopy(value)
    above = made
    for step in place[:-1]:
        above = above[step]
    old = above[place[-1]]
    above[place[-1]] = (
        old + "x" if isinstance(old, str)
        else not old if isinstance(old, bool)
        else old + 1 if isinstance(old, int)
        else [*old, "x"] if isinstance(old, list)
        else {**old, "x": "x"} if isinstance(old, dict)
        else "x"
    )  # fmt: skip
    return made


def sealed(receipt):
    """A receipt with the checksum that it should have: a forger can do that."""
    members = {name: value for name, value in receipt.items() if name != "checksum"}
    return {**members, "checksum": digest_of(members)}


def refusal_of(pipeline, receipt):
    """What is said against a receipt."""
    with pytest.raises(ReceiptMismatch) as caught:
        pipeline.evidence.check_receipt(receipt)
    return caught.value.details["problems"]


def forced_rules(pipeline, *reasons):
    """Rules that nobody but `boss` may change; then changes of them that the owner of the directory forced."""
    governance = '[governance]\npolicy = { roles = ["boss"] }\n[roles]\nboss = ["bea"]\n'
    put_in_force(pipeline, governance)
    for number, reason in enumerate(reasons):
        Path(pipeline.place, "policy.toml").write_text(f'name = "{number}"\n{governance}')
        pipeline.upkeep.apply_policy(actor="ada", as_owner=True, reason=reason)


def test_each_later_receipt_shows_the_changes_of_the_rules_that_the_owner_forced(open_pipeline):
    """By whom, how they came in, when and why; the receipts from before stay valid and show none."""
    pipeline = open_pipeline()
    pipeline.create("a", {})
    pipeline.submit_for_review("a", actor="ada")
    pipeline.approve("a", actor="bea")
    before = pipeline.evidence.receipt("a")
    forced_rules(pipeline, "bea is ill")
    after = json.loads(json.dumps(pipeline.evidence.receipt("a")))

    applied = list(pipeline.upkeep.policy_history())[-1]
    assert "forced" not in before
    assert after["forced"] == {
        "count": 1,
        "events": [
            {
                "version": 3, "time": applied.time, "actor": "ada", "via": came_in(), "reason": "bea is ill",
                "hash": applied.hash,
            }
        ],
    }  # fmt: skip
    checked = pipeline.evidence.check_receipt(after)
    assert (checked.forced, checked.forced_count) == (tuple(after["forced"]["events"]), 1)
    assert pipeline.evidence.check_receipt(before).forced == ()

    for bad in ({"count": 2, "events": after["forced"]["events"]}, {"count": 0, "events": []}, None, []):
        assert refusal_of(pipeline, sealed({**after, "forced": bad})) == [
            "/forced: it does not match the log"
        ]
    for place in places(after["forced"]):
        bad = changed(after, ("forced", *place))
        assert refusal_of(pipeline, sealed(bad)) == ["/forced: it does not match the log"], place


def test_a_receipt_cannot_leave_out_the_force_that_its_manifest_was_decided_after(open_pipeline):
    """The latest of many are shown, and all are counted."""
    pipeline = open_pipeline()
    forced_rules(pipeline, *(f"reason {number}" for number in range(18)))
    pipeline.create("a", {})
    pipeline.submit_for_review("a", actor="ada")
    pipeline.approve("a", actor="bea")
    receipt = json.loads(json.dumps(pipeline.evidence.receipt("a")))

    assert receipt["forced"]["count"] == 18
    assert [one["reason"] for one in receipt["forced"]["events"]] == [f"reason {n}" for n in range(2, 18)]
    assert pipeline.evidence.check_receipt(receipt).forced_count == 18
    without = {name: value for name, value in receipt.items() if name != "forced"}
    shorter = {"count": 17, "events": receipt["forced"]["events"][:-1]}
    assert refusal_of(pipeline, sealed(without)) == ["/forced: it does not match the log"]
    assert refusal_of(pipeline, sealed({**receipt, "forced": shorter})) == [
        "/forced: it does not match the log"
    ]


@pytest.mark.slow
def test_a_receipt_in_which_anything_was_changed_does_not_hold(governed):
    """Every member at every depth: the checksum tells, and where that was mended, the member is named."""
    go(governed)
    receipt = json.loads(json.dumps(governed.evidence.receipt(ID)))
    tried = 0
    for place in places(receipt):
        if not place or place == ("checksum",):
            continue
        tried += 1
        bad = changed(receipt, place)

        first = refusal_of(governed, bad)[0]
        assert first.startswith(("/checksum: ", f"/{place[0]}: ")), (place, first)
        if place == ("manifest_id",):
            with pytest.raises(NotFound):
                governed.evidence.check_receipt(sealed(bad))
        else:
            assert f"/{place[0]}" in {said.partition(":")[0] for said in refusal_of(governed, sealed(bad))}, (
                place
            )

    assert tried > 150


def test_a_receipt_from_which_something_was_taken_does_not_hold(governed):
    """Nor one with anything added, or that is something else."""
    go(governed)
    receipt = governed.evidence.receipt(ID)

    for name in receipt:
        rest = {member: value for member, value in receipt.items() if member != name}
        assert refusal_of(governed, rest)[0].startswith(("/checksum: ", f"/{name}: "))
        if name != "checksum":
            assert refusal_of(governed, sealed(rest))[0].startswith(f"/{name}: ")
    assert refusal_of(governed, sealed({**receipt, "note": "fine"})) == ["/note: unknown member"]
    assert refusal_of(governed, {}) == ["/kind: it is None, not 'registration-receipt'"]
    assert refusal_of(governed, sealed({**receipt, "version": True})) == ["/version: it is True"]
    assert refusal_of(governed, sealed({**receipt, "version": 0})) == [
        "/version: it is 0, but the log ends at version 5"
    ]


def test_a_receipt_is_not_carried_to_another_registry(governed, tmp_path):
    """Nor does it hold there when it is made to say so, for a manifest that went the same way."""
    go(governed)
    receipt = governed.evidence.receipt(ID)
    with RegistrationPipeline(tmp_path / "other", actor="ada", clock=FakeClock()) as other:
        shutil.copytree(FULL, tmp_path / "other", dirs_exist_ok=True)
        go(other)

        (moved,) = refusal_of(other, receipt)
        forged = refusal_of(other, sealed({**receipt, "registry": f"urn:uuid:{other.registry_id}"}))

    assert moved.startswith("/registry: it is of urn:uuid:")
    assert {"/log", "/approvals", "/events"} <= {said.partition(":")[0] for said in forged}


def test_a_receipt_is_not_carried_to_another_manifest(governed):
    """Though it has the same document, and went the same way through the same hands."""
    go(governed, document={**SERVER, "version": "1.2.0"})
    second = {**SERVER, "version": "1.3.0"}
    go(governed, id="io.github.acme/weather@1.3.0", document=second)
    receipt = governed.evidence.receipt(ID)

    problems = refusal_of(governed, sealed({**receipt, "manifest_id": "io.github.acme/weather@1.3.0"}))

    assert {"/digest", "/log", "/approvals", "/events"} <= {said.partition(":")[0] for said in problems}


@pytest.mark.parametrize(
    ("word", "other", "named"),
    [
        (b'"actor":"bea"', b'"actor":"eve"', {"/approvals", "/events", "/log"}),
        (b'"comment":"fine"', b'"comment":"FINE"', {"/events", "/log"}),
        (b'"comment":"first"', b'"comment":"other"', {"/approvals", "/events", "/log"}),
    ],
)
def test_a_receipt_shows_that_a_log_was_rewritten(pipeline, root, tmp_path, word, other, named):
    """Somebody who may write the files can rewrite all of a copy; then the receipt doesn't hold for it."""
    pipeline.create("a", {})
    pipeline.submit_for_review("a", comment="first")
    pipeline.approve("a", actor="bea", comment="fine")
    pipeline.register("a")
    receipt = pipeline.evidence.receipt("a")
    copy_of_it = copied(root, tmp_path / "copy")
    log = log_of(tmp_path / "copy", "a")
    raw = log.read_bytes()
    assert copy_of_it.evidence.check_receipt(receipt).same_document

    assert raw.count(word) == 1
    lines = [json.loads(line) for line in raw.replace(word, other).splitlines()]
    log.write_bytes(refitted(REGISTRATION, lines))
    (log.parent / SNAPSHOT).unlink()

    assert copy_of_it.evidence.verify("a").damaged  # the feed noted the hashes of the lines
    shutil.rmtree(tmp_path / "copy" / "feed")
    assert copy_of_it.evidence.verify("a").damaged is False
    assert {said.partition(":")[0] for said in refusal_of(copy_of_it, receipt)} == named
    assert pipeline.evidence.check_receipt(receipt).same_document


def test_a_receipt_is_of_its_version(governed):
    """The manifest may move on; the receipt holds for what it was, and it is said where that stands now."""
    go(governed, 2)
    approved = governed.evidence.receipt(ID)
    governed.approve(ID, actor="cyd")
    moved_on = governed.evidence.check_receipt(approved)
    governed.reject(ID, reason="unclear")
    governed.revise(ID, OTHER)
    revised = governed.evidence.check_receipt(approved)

    assert (moved_on.version, moved_on.current_version, moved_on.same_document) == (3, 4, True)
    assert (revised.state, revised.current_state, revised.same_document) == ("APPROVED", "DRAFT", False)
    assert approved["events"][0]["action"] == "create"


def test_without_an_approval_there_is_no_receipt(governed):
    """Neither before one, nor after it lapsed: there is nothing to show."""
    go(governed, 1)

    for turn in (lambda: None, lambda: (governed.approve(ID, actor="bea"), governed.reject(ID, reason="no"))):
        turn()
        with pytest.raises(Rejected, match="its document has no approval") as caught:
            governed.evidence.receipt(ID)

    assert caught.value.details == {"manifest_id": ID, "state": "DRAFT", "version": 4}


def test_a_receipt_is_made_of_the_document_that_was_approved_last(pipeline):
    """After another round it shows the revision, and the approvals of that alone."""
    go(pipeline, 2)
    pipeline.reject(ID, reason="unclear")
    pipeline.revise(ID, OTHER, actor="eve")
    pipeline.submit_for_review(ID)
    pipeline.approve(ID, actor="cyd")

    receipt = pipeline.evidence.receipt(ID)

    assert receipt["digest"] == digest_of(OTHER)
    assert [one["actor"] for one in receipt["approvals"]] == ["cyd"]
    assert [(one["version"], one["action"]) for one in receipt["events"]] == [(5, "revise"), (7, "approve")]


def test_logs_of_before_rules_were_kept_have_receipts(tmp_path):
    """What was approved by an earlier release can be shown as well; it named no rules."""
    with copied(FIXTURES / "registries" / "format-1", tmp_path / "old") as pipeline:
        receipt = pipeline.evidence.receipt(ID)
        check = pipeline.evidence.check_receipt(receipt)

    assert (check.state, check.version) == ("REGISTERED", 7)
    assert [one["actor"] for one in receipt["approvals"]] == ["bea"]
    assert receipt["rules"] == {"lifecycles": {}, "policies": {}}


TICKETS = """
name = "tickets"
[states.OPEN]
[states.DONE]
final = true
[actions.open]
past = "opened"
to = "OPEN"
[actions.sign]
past = "signed"
approval = true
from = "OPEN"
to = "DONE"
"""


def test_what_has_no_document_has_a_receipt_of_its_approval(open_pipeline, tmp_path):
    """In a lifecycle without documents, an approval is of the manifest itself."""
    (tmp_path / "tickets.toml").write_text(TICKETS)
    pipeline = open_pipeline(lifecycle=tmp_path / "tickets.toml")
    pipeline.act("T-1", "open")
    pipeline.act("T-1", "sign", actor="bea")

    receipt = json.loads(json.dumps(pipeline.evidence.receipt("T-1")))

    assert (receipt["digest"], [one["actor"] for one in receipt["approvals"]]) == (None, ["bea"])
    assert pipeline.evidence.check_receipt(receipt).state == "DONE"
    assert refusal_of(pipeline, sealed({**receipt, "digest": "sha256:" + "0" * 64})) == [
        "/digest: it does not match the log"
    ]


def test_a_receipt_of_before_repairs_were_named_holds():
    """Release 0.1 repaired logs without lapsing anything, and its receipts say nothing of that; those of today name it, as None."""
    log = Log()
    log.do("create")
    log.do("submit_for_review")
    log.do("approve", actor="bea")
    members = members_of(log)
    for one in members:
        one["data"]["release"] = "0.1.0"
    kept = len(forge(members, statehashes=False))
    repair = log.new(
        type=REGISTRATION.repaired,
        data={
            "action": "repair",
            "from": "APPROVED",
            "to": "APPROVED",
            "actor": "ada",
            "reason": "a bad disk",
            "lost": {"offset_bytes": kept, "size_bytes": 9},
            "digest": log.state.digest,
        },
    )
    log.add([repair])
    members.append(members_of(log)[-1])
    events = log.scan(forge(members, statehashes=False)).events

    def read(kind, digest):
        raise NotFound(f"no {kind}")

    rules = KeptRules(REGISTRATION, read)
    receipt = make_receipt(REGISTRATION, events, lambda _, __: {}, rules)
    earlier = sealed({name: one for name, one in receipt.items() if name != "repairs"})

    assert [(one["version"], one["actor"], one["lapsed"]) for one in receipt["repairs"]] == [(4, "ada", None)]
    for one in (receipt, earlier):
        check = check_receipt(one, REGISTRATION, events, lambda _, __: {}, rules)
        assert [repair["version"] for repair in check.repairs] == [4]


def test_a_receipt_that_was_made_can_be_checked_however_large_it_is(pipeline, root):
    """It holds every policy that its events were decided under, in full."""
    pipeline.create("a", {})
    pipeline.submit_for_review("a")
    for number in range(6):
        policy(root, roles=f"r = {[f'{number}{n:0190}' for n in range(1_000)]}")
        pipeline.approve("a", actor=f"actor {number}")

    receipt = pipeline.evidence.receipt("a")

    assert len(json.dumps(receipt)) > 1024 * 1024
    assert pipeline.evidence.check_receipt(receipt).version == 8


# -- an approval is of these bytes, under these rules, here ----------------------------------------------------

OPEN_LIFECYCLE = """
name = "open"
[states.DRAFT]
[states.APPROVED]
[states.DONE]
final = true
[actions.create]
past = "created"
document = true
to = "DRAFT"
[actions.approve]
past = "approved"
approval = true
from = ["DRAFT", "APPROVED"]
to = "APPROVED"
[actions.revise]
past = "revised"
document = true
from = "APPROVED"
to = "APPROVED"
[actions.register]
past = "registered"
from = "APPROVED"
to = "DONE"
guards = ["approvals"]
"""
"""A careless lifecycle: what is approved can be revised, and stays APPROVED."""


def test_an_approval_is_not_carried_to_another_document(open_pipeline, root, tmp_path):
    """Even where the lifecycle leaves the state alone, the new document has no approval; nor does the old one again."""
    (tmp_path / "open.toml").write_text(OPEN_LIFECYCLE)
    pipeline = open_pipeline(lifecycle=tmp_path / "open.toml")
    pipeline.create("a", {"v": 1})
    pipeline.approve("a", actor="bea")

    for document in ({"v": 2}, {"v": 1}):
        revised = pipeline.revise("a", document)
        with pytest.raises(GuardRefused, match="this document has 0 of 1 approval"):
            pipeline.register("a")
        assert (revised.snapshot.state, revised.snapshot.approvals) == ("APPROVED", ())

    pipeline.approve("a", actor="bea")
    assert pipeline.register("a").snapshot.state == "DONE"


def test_an_approval_is_not_carried_to_another_policy(pipeline, root):
    """Whoever changes the rules in between has it approved again; under the old rules it would count."""
    policy(root, ("approvals", '["register"]', "count = 1"))
    go(pipeline, 2)
    before = (root / "policy.toml").read_text()

    policy(root, ("approvals", '["register"]', "count = 1"), ("reason_given", '["reject"]', ""))
    with pytest.raises(GuardRefused, match=r"0 of 1 approval \(1 not counted: another policy\)") as caught:
        pipeline.register(ID)
    evidence = caught.value.details["verdicts"][0]["evidence"]
    put_in_force(pipeline, before)
    (again,) = pipeline.explain(ID, "register")

    assert evidence["not_counted"] == [{"actor": "bea", "version": 3, "why": "another policy"}]
    assert evidence["policy"] != list(pipeline.history(ID))[2].data["approval"]["policy"]
    assert again.allowed


def test_an_approval_under_no_policy_is_not_one_under_a_policy(pipeline, root):
    """Nor the other way round: that there are rules is a rule."""
    go(pipeline, 2)
    policy(root, ("reason_given", '["reject"]', ""))
    with pytest.raises(GuardRefused, match="another policy"):
        pipeline.register(ID)
    pipeline.approve(ID, actor="bea")
    put_in_force(pipeline, "")

    (why,) = pipeline.explain(ID, "register")

    counted = why.answers[0].verdict.evidence
    assert [(one["actor"], one["version"]) for one in counted["counted"]] == [("bea", 3)]
    assert [(one["version"], one["why"]) for one in counted["not_counted"]] == [(4, "another policy")]


def test_nobody_makes_a_quorum_alone(governed):
    """Approving twice is refused."""
    go(governed, 2)
    with pytest.raises(GuardRefused, match="'bea' approved this document already, at version 3") as again:
        governed.approve(ID, actor="bea")

    assert again.value.next == (Next(operation="act", id=ID, action="approve", actor="cyd"),)
    with pytest.raises(GuardRefused, match="1 of 2 approvals and 1 of 2 by reviewer") as caught:
        governed.register(ID, actor="dot")

    assert caught.value.next == (Next(operation="act", id=ID, action="approve", actor="cyd"),)


@pytest.mark.damaged
def test_an_approval_is_not_carried_to_another_manifest(pipeline, root):
    """Files copied to another name, and an event copied into another log, are damage."""
    go(pipeline, 2)
    pipeline.create("b", SERVER)
    pipeline.submit_for_review("b")
    approved = log_of(root, ID).read_bytes().splitlines(keepends=True)[2]

    shutil.copytree(log_of(root, ID).parent, root / "manifests" / "c")
    log_of(root, "b").write_bytes(log_of(root, "b").read_bytes() + approved)

    with pytest.raises(CorruptLog):
        pipeline.load_state("c")
    with pytest.raises(CorruptLog, match="it belongs to another manifest"):
        pipeline.register("b")


@pytest.mark.damaged
def test_an_approval_is_not_carried_to_another_registry(pipeline, root, tmp_path):
    """A manifest's files that are put into another registry are damage there: each event names its own."""
    go(pipeline, 2)
    with RegistrationPipeline(tmp_path / "other", actor="ada") as other:
        shutil.copytree(log_of(root, ID).parent, log_of(tmp_path / "other", ID).parent)

        with pytest.raises(CorruptLog):
            other.load_state(ID)
        with pytest.raises(CorruptLog):
            other.register(ID)


@pytest.mark.damaged
def test_a_forged_approval_of_another_document_is_not_counted(pipeline, root):
    """Whoever rewrites a log to hold an approval of something else has not got it approved; `verify` names it."""
    go(pipeline, 2)
    log = log_of(root, ID)
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    lines[2]["data"]["approval"]["digest"] = digest_of(OTHER)
    log.write_bytes(forge(lines))
    (log.parent / SNAPSHOT).unlink()

    with pytest.raises(GuardRefused, match="another document"):
        pipeline.register(ID)
    with pytest.raises(
        Rejected, match="line 3 of its log is not what the rules allow: its approval is of another document"
    ):
        pipeline.evidence.receipt(ID)
    shutil.rmtree(root / "feed")  # which noted what the line was
    assert [one.reason for one in pipeline.evidence.verify(ID).findings] == [
        "its approval is of another document"
    ]


# -- pins --------------------------------------------------------------------------------------------------


def test_what_was_looked_at_is_what_is_approved(pipeline):
    """With the digest and the head that somebody saw, it is done; the event says both."""
    state = go(pipeline, 1)

    approved = pipeline.approve(ID, expected_digest=state.digest, expected_head=state.position.head)

    approval = approved.event.data["approval"]
    assert (approval["digest"], approval["head"]) == (state.digest, state.position.head)


@pytest.mark.parametrize("pinned", ["expected_digest", "expected_head"])
def test_what_has_moved_is_not_approved(pipeline, pinned):
    """A revision in between moves both, whoever made it; nothing is written, and what was found is told."""
    seen = go(pipeline, 1)
    pins = {"expected_digest": seen.digest, "expected_head": seen.position.head}
    pipeline.reject(ID, reason="unclear", actor="eve")
    pipeline.revise(ID, OTHER, actor="eve")
    moved = pipeline.submit_for_review(ID).snapshot

    with pytest.raises(PinMismatch, match="It changed since it was reviewed") as caught:
        pipeline.approve(ID, **{pinned: pins[pinned]})

    found = {"expected_digest": moved.digest, "expected_head": moved.position.head}
    assert caught.value.details == {
        "manifest_id": ID,
        "version": moved.version,
        "pinned": pinned.removeprefix("expected_"),
        "expected": pins[pinned],
        "found": found[pinned],
    }
    assert pipeline.load_state(ID) == moved


def test_a_remark_moves_the_log_and_not_the_document(pipeline):
    """Who pins the digest lets others approve meanwhile; who pins the head doesn't."""
    go(pipeline, 1)
    seen = pipeline.load_state(ID)
    pipeline.approve(ID, actor="bea")

    with pytest.raises(PinMismatch, match="log"):
        pipeline.approve(ID, actor="cyd", expected_head=seen.position.head)

    assert pipeline.approve(ID, actor="cyd", expected_digest=seen.digest).snapshot.version == 4


@pytest.mark.parametrize(
    "pin",
    [
        {"expected_digest": "30c0"},
        {"expected_digest": "sha256:" + "G" * 64},
        {"expected_head": "sha256:" + "0" * 64},
        {"expected_head": 7},
    ],
)
def test_a_pin_that_can_not_be_meant_is_refused(pipeline, pin):
    """A digest in another form would never be found: that is a mistake, and not a mismatch."""
    go(pipeline, 1)

    with pytest.raises(InvalidArgument, match=next(iter(pin))):
        pipeline.approve(ID, **pin)


# -- undoing -----------------------------------------------------------------------------------------------


def test_a_revision_is_undone_by_the_document_before_it(pipeline):
    """Nothing is removed: the document before it is brought again, and the event says what it undoes."""
    pipeline.create("a", {"v": 1})
    pipeline.revise("a", {"v": 2})
    pipeline.revise("a", {"v": 3})

    undone = pipeline.undo("a", comment="too early", actor="bea")

    assert undone.snapshot.document == {"v": 2}
    assert undone.snapshot.digest == digest_of({"v": 2})
    assert (undone.event.action, undone.event.actor, undone.event.data["undoes"]) == ("revise", "bea", 3)
    assert undone.event.data["comment"] == "too early"
    assert [event.data["document"]["v"] for event in pipeline.history("a")] == [1, 2, 3, 2]


def test_a_submission_is_undone_by_a_rejection(pipeline):
    """Which needs a reason, as a rejection does."""
    pipeline.create("a", {"v": 1})
    pipeline.submit_for_review("a")

    with pytest.raises(GuardRefused, match="a reason is required"):
        pipeline.undo("a")
    undone = pipeline.undo("a", reason="too early")

    assert (undone.event.action, undone.event.data["undoes"], undone.event.data["reason"]) == (
        "reject",
        2,
        "too early",
    )
    assert (undone.snapshot.state, undone.snapshot.document) == ("DRAFT", {"v": 1})


def can_not_be_undone(pipeline, id="a", **said):
    before = pipeline.load_state(id)
    with pytest.raises(Rejected, match=rf"Version {before.version} of '{id}' .* can't be undone: ") as caught:
        pipeline.undo(id, **said)
    assert pipeline.load_state(id) == before
    assert caught.value.details == {
        "manifest_id": id,
        "version": before.version,
        "action": list(pipeline.history(id))[-1].action,
    }
    return caught.value.problem.partition("undone: ")[2]


def test_what_can_not_be_undone_says_why(pipeline):
    """The beginning, an undoing, and what the lifecycle has no way back from."""
    pipeline.create("a", {"v": 1})
    beginning = can_not_be_undone(pipeline)
    pipeline.revise("a", {"v": 2})
    pipeline.undo("a")
    undoing = can_not_be_undone(pipeline)
    pipeline.submit_for_review("a")
    pipeline.approve("a")
    approval = can_not_be_undone(pipeline, reason="no")
    pipeline.register("a")
    registration = can_not_be_undone(pipeline, reason="no")

    assert beginning == "it created the manifest."
    assert undoing == "it is itself the undoing of version 2."
    assert approval == registration == "the lifecycle 'registration' has no action that undoes it."
    with pytest.raises(NotFound):
        pipeline.undo("nobody")


@pytest.mark.damaged
def test_a_repair_can_not_be_undone(pipeline, root):
    """No action of the lifecycle led to it."""
    pipeline.create("a", {"v": 1})
    pipeline.revise("a", {"v": 2})
    log = log_of(root, "a")
    log.write_bytes(log.read_bytes().replace(b'"revise"', b'"revisE"'))
    pipeline.upkeep.repair("a", accept_loss=True)

    assert can_not_be_undone(pipeline) == "no action of the lifecycle led to it."


def test_a_way_back_has_to_lead_back(open_pipeline):
    """Where the action that the lifecycle names would lead elsewhere, nothing is done; where it leads back, it is."""
    pipeline = open_pipeline(lifecycle="registration-upkeep")
    pipeline.create("a", {"v": 1})
    pipeline.submit_for_review("a")
    pipeline.act("a", "request_changes", reason="unclear")
    pipeline.revise("a", {"v": 2})
    elsewhere = can_not_be_undone(pipeline)
    for action in ("submit_for_review", "approve", "register"):
        pipeline.act("a", action, actor="bea")
    for action in ("deprecate", "suspend"):
        pipeline.act("a", action, reason="old")

    resumed = pipeline.undo("a")

    assert elsewhere == "'revise', which undoes it, leads to DRAFT, not to CHANGES_REQUESTED."
    assert (resumed.event.action, resumed.snapshot.state) == ("resume", "DEPRECATED")


def test_an_approval_that_is_undone_counts_no_more(open_pipeline):
    """The way back lapses it, as the lifecycle says."""
    pipeline = open_pipeline(lifecycle="registration-upkeep")
    pipeline.create("a", {"v": 1})
    pipeline.submit_for_review("a")
    pipeline.approve("a", actor="bea")

    undone = pipeline.undo("a", reason="not read")

    assert (undone.event.action, undone.event.data["lapsed"]) == ("retract_approval", [3])
    assert (undone.snapshot.state, undone.snapshot.approvals) == ("REVIEWED", ())


def test_the_rules_are_asked_before_something_is_undone(pipeline, root):
    """An undoing is a decision like any other: whoever may not revise may not undo a revision."""
    pipeline.create("a", {"v": 1})
    pipeline.revise("a", {"v": 2})
    policy(root, ("role", '["revise"]', 'any = ["author"]'), roles='author = ["bea"]')

    with pytest.raises(GuardRefused, match="'ada' is not author"):
        pipeline.undo("a")

    assert pipeline.undo("a", actor="bea").snapshot.document == {"v": 1}


def test_something_else_is_never_undone(pipeline):
    """Where the manifest is not at the version that was looked at, nothing is."""
    pipeline.create("a", {"v": 1})
    pipeline.revise("a", {"v": 2})

    with pytest.raises(VersionConflict):
        pipeline.undo("a", expected_version=1)

    assert pipeline.undo("a", expected_version=2).event.data["undoes"] == 2


def test_an_undoing_that_is_asked_for_again_is_answered_again(pipeline):
    """The same key with the same request gives the first answer, for this command as well."""
    pipeline.create("a", {"v": 1})
    pipeline.revise("a", {"v": 2})
    first = pipeline.undo("a", idempotency_key="k")

    again = pipeline.undo("a", idempotency_key="k")

    assert (again.event, again.replayed) == (first.event, True)


# -- a policy tried out --------------------------------------------------------------------------------------


def replayed(pipeline, path, id=None):
    """What would fall out differently: manifest, version, how it fell, how it would, and which guards are why."""
    return [
        (
            one.manifest_id,
            one.version,
            one.was,
            one.would_be,
            [answer.guard for answer in one.why.answers if not answer.verdict.agrees],
        )
        for one in pipeline.evidence.replay_policy(pipeline.evidence.read_policy(str(path)), id)
        if one.differs
    ]


@pytest.fixture
def proposed(tmp_path):
    """Write a policy that is in force nowhere, and give its path."""

    def propose(*guards, roles=""):
        place = tmp_path / "proposed"
        place.mkdir(exist_ok=True)
        (place / "policy.toml").write_text(_text(guards, roles))
        return place / "policy.toml"

    return propose


def test_the_policy_in_force_would_decide_as_it_did(governed, root):
    """Asked again, every decision and every refusal falls out the same, and nothing is written."""
    for pipeline in at_every_step(governed):
        for action in ("approve", "register", "reject"):
            if pipeline.explain(ID, action)[0].to is not None:
                with pytest.raises(GuardRefused):
                    pipeline.act(ID, action)
    before = tree(root)

    decisions = list(governed.evidence.replay_policy(governed.policy))

    assert [(one.version, one.was) for one in decisions] == [
        (1, "accepted"),
        (2, "accepted"), (2, "refused"), (2, "refused"),
        (3, "accepted"), (3, "refused"), (3, "refused"), (3, "refused"),
        (4, "accepted"), (4, "refused"), (4, "refused"), (4, "refused"),
        (5, "accepted"),
    ]  # fmt: skip
    assert not any(one.differs or one.why for one in decisions)
    assert tree(root) == before


def test_a_stricter_policy_names_what_it_would_have_refused(pipeline, proposed):
    """Approvals count as if they had been given under it, with the roles that it gives people."""
    go(pipeline)
    alone = {"io.github.acme/alone@1": ["bea"], "io.github.acme/both@1": ["bea", "cyd"]}
    for id, approvers in alone.items():
        pipeline.create(id, {})
        pipeline.submit_for_review(id)
        for actor in approvers:
            pipeline.approve(id, actor=actor)
        pipeline.register(id)

    two = proposed(("approvals", '["register"]', "count = 2"))
    assert replayed(pipeline, two) == [
        ("io.github.acme/alone@1", 4, "accepted", "refused", ["approvals"]),
    ]
    by_role = proposed(
        ("approvals", '["register"]', "roles = { reviewer = 1, boss = 1 }"),
        roles='reviewer = ["bea"]\nboss = ["cyd"]',
    )
    assert replayed(pipeline, by_role) == [
        ("io.github.acme/alone@1", 4, "accepted", "refused", ["approvals"]),
    ]
    assert replayed(pipeline, by_role, "io.github.acme/both@1") == []


def test_an_approval_that_would_have_been_refused_does_not_count(pipeline, proposed):
    """So what it led to would have been refused as well."""
    pipeline.create("a", {})
    pipeline.submit_for_review("a")
    pipeline.approve("a")
    pipeline.register("a")

    found = replayed(pipeline, proposed(("not_the_author", '["approve"]', "")))

    assert found == [
        ("a", 3, "accepted", "refused", ["not_the_author"]),
        ("a", 4, "accepted", "refused", ["approvals"]),
    ]


def test_what_was_refused_may_be_accepted(governed, proposed):
    """Refusals that were noted are asked again, each in the state that it met; those of documents can't be."""
    with pytest.raises(GuardRefused):
        governed.create(ID, {"name": "x"})
    go(governed, 2)
    with pytest.raises(GuardRefused):
        governed.register(ID, actor="dot")
    with pytest.raises(GuardRefused):
        governed.reject(ID, reason=None)
    governed.approve(ID, actor="cyd")
    governed.register(ID, actor="dot")

    found = replayed(governed, proposed())
    why = [
        one.why
        for one in governed.evidence.replay_policy(governed.evidence.read_policy(str(proposed())))
        if one.differs
    ]

    assert found == [(ID, 3, "refused", "accepted", [])]
    assert (why[0].action, why[0].actor, why[0].allowed) == ("register", "dot", True)


def test_a_refusal_under_one_role_is_asked_under_another(governed, proposed):
    """Roles are those of the proposed policy, for who acts and for who approved."""
    go(governed, 1)
    with pytest.raises(GuardRefused):
        governed.approve(ID, actor="eve")
    governed.approve(ID, actor="bea")

    found = replayed(
        governed, proposed(("role", '["approve"]', 'any = ["reviewer"]'), roles='reviewer = ["eve"]')
    )

    assert found == [(ID, 2, "refused", "accepted", []), (ID, 3, "accepted", "refused", ["role"])]


def test_lines_that_are_no_refusals_are_passed_over(governed, root, proposed):
    """The notes are not chained: whatever somebody did to them, the logs are still replayed."""
    go(governed, 1)
    with pytest.raises(GuardRefused):
        governed.approve(ID, actor="eve")
    (noted,) = (root / "refusals.jsonl").read_bytes().splitlines()
    sound = json.loads(noted)
    odd = [
        {**sound, "refusal": {**sound["refusal"], "version": "2"}},
        {**sound, "refusal": {**sound["refusal"], "action": None}},
        {**sound, "refusal": {**sound["refusal"], "action": "frobnicate"}},
        {**sound, "refusal": {**sound["refusal"], "manifest_id": ["a"]}},
        {**sound, "refusal": {**sound["refusal"], "manifest_id": "nobody"}},
        {**sound, "refusal": {**sound["refusal"], "version": 99}},
        {**sound, "command": {**sound["command"], "actor": ["eve"]}},
        {**sound, "command": {**sound["command"], "actor": 5}},
        {**sound, "command": {**sound["command"], "reason": 5}},
        {**sound, "command": {**sound["command"], "context": "x"}},
        {**sound, "command": []},
        {**sound, "time": 5},
        {},
        [],
        5,
    ]
    lines = [b"not json}", b"\xff}", *(json.dumps(line).encode() for line in odd), noted, noted[:50]]
    (root / "refusals.jsonl").write_bytes(b"\n".join(lines))

    assert replayed(governed, proposed()) == [(ID, 2, "refused", "accepted", [])]


def test_nobodys_decisions_are_not_asked_again(open_pipeline, clock, tmp_path, proposed):
    """A time-out is no decision; what came of it is the state that the next one meets."""
    (tmp_path / "waiting.toml").write_text(
        OPEN_LIFECYCLE.replace('"open"', '"waiting"').replace('from = ["DRAFT",', 'from = ["LATE",')
        + '[timeouts.remind]\npast = "reminded"\nstate = "DRAFT"\nafter = "1d"\nto = "LATE"\n[states.LATE]\n'
    )
    pipeline = open_pipeline(lifecycle=tmp_path / "waiting.toml")
    pipeline.create("a", {})
    clock.advance(90_000)
    assert len(pipeline.upkeep.tick("a")) == 1
    pipeline.approve("a")

    decisions = list(
        pipeline.evidence.replay_policy(
            pipeline.evidence.read_policy(str(proposed(("not_the_author", '["approve"]', ""))))
        )
    )

    assert [(one.version, one.would_be) for one in decisions] == [(1, "accepted"), (3, "refused")]
    assert decisions[1].why.state == "LATE"


def test_one_manifest_can_be_asked_about(pipeline, proposed):
    """By its id; one that isn't there is said not to be."""
    for id in ("a", "b"):
        pipeline.create(id, {})
    strict = proposed(("reason_given", '["create"]', ""))

    assert [one[0] for one in replayed(pipeline, strict)] == ["a", "b"]
    assert [one[0] for one in replayed(pipeline, strict, "b")] == ["b"]
    with pytest.raises(NotFound):
        replayed(pipeline, strict, "c")
