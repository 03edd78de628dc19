"""The registry's own log: which rules are in force, since when and by whom; what is damage; and that no writer gets past a change."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from registration import RegistrationPipeline, open_memory
from registration.engine.governance import Governance
from registration.errors import (
    CorruptLog,
    CorruptRegistry,
    GuardRefused,
    InvalidArgument,
    InvalidPolicy,
    Rejected,
    StoreError,
)
from registration.rules.lifecycles.registration import REGISTRATION
from registration.testing import FakeClock
from tests.kit.builders import SOURCE
from tests.kit.disks import tree
from tests.kit.policies import put_in_force

FORMAT_1 = Path(__file__).resolve().parents[2] / "fixtures" / "registries" / "format-1"
FOUR_EYES = '[[guards]]\nguard = "not_the_author"\nactions = ["approve"]\n'
REASONS = '[[guards]]\nguard = "reason_given"\nactions = ["revise"]\n'
GOVERNED = (
    '[roles]\nboss = ["bea", "cyd"]\n[governance]\npolicy = { roles = ["boss"], four_eyes = true }\n'
    'roster = { roles = ["boss"] }\n'
)


def own_log(root):
    return root / "registry" / "events.jsonl"


def said(root):
    return [json.loads(line) for line in own_log(root).read_bytes().splitlines()]


def record(root):
    return json.loads((root / "registry.json").read_bytes())


# -- what is recorded ----------------------------------------------------------------------------------------


def test_a_registry_begins_with_the_event_of_its_making(open_pipeline, root):
    """With the lifecycle, by whom, and the rules that lie there; `registry.json` names the end of the log."""
    root.mkdir()
    (root / "policy.toml").write_text(REASONS)
    pipeline = open_pipeline(actor="eve")

    (made,) = said(root)
    assert (made["type"], made["data"]["actor"]) == ("registry.made.v1", "eve")
    assert made["data"]["in_force"]["lifecycle"] == REGISTRATION.identity
    assert made["data"]["in_force"]["policy"] == pipeline.policy.digest is not None
    assert record(root)["log"] == {"version": 1, "head": made["hash"]}
    assert pipeline.upkeep.policy_status().file == "same"


def test_each_event_names_the_version_that_it_was_decided_under(pipeline, root):
    """Its number, and the hash of its line."""
    pipeline.create("a", {})
    put_in_force(pipeline, REASONS)
    pipeline.revise("a", {"v": 2}, reason="r")

    made, applied = said(root)
    assert [event.data["registry"] for event in pipeline.history("a")] == [
        {"version": 1, "hash": made["hash"]},
        {"version": 2, "hash": applied["hash"]},
    ]
    assert (applied["data"]["actor"], applied["data"]["reason"]) == ("owner", "for this test")
    assert [event.id for event in pipeline.upkeep.policy_history()] == [made["id"], applied["id"]]


def test_people_are_not_rules(pipeline, root):
    """A change of them alone is an event of its own kind; the same again writes nothing."""
    put_in_force(pipeline, '[roles]\nr = ["bea"]\n' + REASONS)
    rules = pipeline.policy.digest
    put_in_force(pipeline, '[roles]\nr = ["bea", "cyd"]\n' + REASONS)
    before = own_log(root).read_bytes()

    again = pipeline.upkeep.apply_policy(reason="once more")

    assert [one["data"]["action"] for one in said(root)] == ["make", "apply_policy", "change_roster"]
    assert pipeline.policy.digest == rules
    assert (again.event, own_log(root).read_bytes()) == (None, before)


def test_a_file_from_elsewhere_becomes_the_policy_of_the_registry(pipeline, root, tmp_path):
    """With the schemas that it names; a dry run says what would change and writes nothing."""
    place = tmp_path / "proposed"
    (place / "schemas").mkdir(parents=True)
    (place / "schemas" / "any.json").write_text("{}")
    text = '[[kinds]]\nname = "any"\nmatch = { "" = true }\nschema = "schemas/any.json"\n'
    (place / "mine.toml").write_text(text)
    before = tree(root)

    tried = pipeline.upkeep.apply_policy(place / "mine.toml", dry_run=True)
    unchanged = tree(root) == before
    applied = pipeline.upkeep.apply_policy(place / "mine.toml")

    assert unchanged
    assert (tried.dry_run, tried.event.data["in_force"]) == (True, applied.event.data["in_force"])
    assert any(sign == "+" and '"any"' in line for sign, line in tried.changes)
    assert applied.files == ("schemas/any.json", "policy.toml")
    assert (root / "policy.toml").read_text() == text
    assert pipeline.upkeep.policy_status().file == "same"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda path: path.write_text(FOUR_EYES), "differs"),
        (lambda path: path.write_text("no TOML ["), "invalid"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(b""), "missing"),
        (lambda path: path.write_text("# by ana\n" + REASONS), "same"),
    ],
)
def test_the_file_alone_changes_nothing_and_its_state_is_told(pipeline, root, change, state):
    """Edited, damaged, removed or emptied by a full disk: the rules in force continue."""
    put_in_force(pipeline, REASONS)
    pipeline.create("a", {})
    change(root / "policy.toml")

    assert pipeline.upkeep.policy_status().file == state
    with pytest.raises(GuardRefused):
        pipeline.revise("a", {"v": 2})
    with RegistrationPipeline(root) as other, pytest.raises(GuardRefused):
        other.revise("a", {"v": 2})


# -- rules that govern their own change -------------------------------------------------------------------------


def test_rules_guard_their_own_change(pipeline, root):
    """By those who have the role, and another one than who proposed exactly this change."""
    put_in_force(pipeline, GOVERNED)
    (root / "policy.toml").write_text(GOVERNED + REASONS)
    for actor in ("ada", "bea"):
        with pytest.raises(GuardRefused, match="another person has to propose exactly this change first"):
            pipeline.upkeep.apply_policy(actor=actor)
    pipeline.upkeep.propose_policy(actor="bea")
    with pytest.raises(GuardRefused, match="'bea' proposed this change; another person must put it in force"):
        pipeline.upkeep.apply_policy(actor="bea")
    with pytest.raises(GuardRefused, match="'ada' is not boss"):
        pipeline.upkeep.apply_policy(actor="ada")
    (root / "policy.toml").write_text(GOVERNED + FOUR_EYES)
    with pytest.raises(GuardRefused, match="another person has to propose exactly this change first"):
        pipeline.upkeep.apply_policy(actor="cyd")
    (root / "policy.toml").write_text(GOVERNED + REASONS)

    applied = pipeline.upkeep.apply_policy(actor="cyd", reason="as agreed")

    assert applied.event.data["action"] == "apply_policy"
    assert [one["data"]["action"] for one in said(root)] == [
        "make", "apply_policy", "propose", "apply_policy",
    ]  # fmt: skip
    # What was proposed is done: it serves no second change.
    (root / "policy.toml").write_text(GOVERNED)
    with pytest.raises(GuardRefused, match="propose exactly this change first"):
        pipeline.upkeep.apply_policy(actor="cyd")


def test_the_owner_of_the_directory_can_force_a_change_on_record(pipeline, root):
    """Only with a reason; without need, it is a change as any other."""
    put_in_force(pipeline, GOVERNED)
    (root / "policy.toml").write_text(REASONS)
    with pytest.raises(InvalidArgument, match="needs a reason"):
        pipeline.upkeep.apply_policy(actor="ada", as_owner=True)

    pipeline.upkeep.apply_policy(actor="ada", as_owner=True, reason="bea and cyd have left")
    (root / "policy.toml").write_text("")
    pipeline.upkeep.apply_policy(actor="ada", as_owner=True, reason="no need")

    assert [one["data"].get("forced") for one in said(root)] == [None, None, True, None]
    forced = pipeline.upkeep.policy_status().forced
    assert (forced["count"], forced["version"], forced["reason"]) == (1, 3, "bea and cyd have left")


# -- damage -----------------------------------------------------------------------------------------------------


@pytest.fixture
def changed(pipeline, root):
    """A registry whose rules changed twice, with a copy of its log before the second change."""
    pipeline.create("a", {})
    put_in_force(pipeline, REASONS)
    shutil.copytree(root / "registry", root.parent / "older")
    put_in_force(pipeline, FOUR_EYES)
    pipeline.submit_for_review("a")
    return root


def put_back(root):
    shutil.rmtree(root / "registry")
    shutil.copytree(root.parent / "older", root / "registry")


def edited(root):
    log = own_log(root)
    log.write_bytes(log.read_bytes().replace(b'"owner"', b'"other"'))
    (root / "registry" / "state.json").unlink()


DAMAGES = {
    "removed": lambda root: shutil.rmtree(root / "registry"),
    "emptied": lambda root: (own_log(root).write_bytes(b""), (root / "registry" / "state.json").unlink()),
    "its log removed": lambda root: own_log(root).unlink(),
    "put back": put_back,
    "shorter": lambda root: (
        own_log(root).write_bytes(b"".join(own_log(root).read_bytes().splitlines(keepends=True)[:2])),
        (root / "registry" / "state.json").unlink(),
    ),
    "edited": edited,
}


@pytest.mark.damaged
@pytest.mark.parametrize("opened_before", [True, False], ids=["open", "opened later"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_registry_log_that_is_not_what_it_was_is_damage(changed, pipeline, damage, opened_before):
    """Never an earlier release: nothing is written, and the rules can't be asked; manifests can be read."""
    damage(changed)
    before = tree(changed / "manifests"), record(changed)
    with RegistrationPipeline(changed, create=False, actor="bea") as later:
        opened = pipeline if opened_before else later
        for write in (
            lambda: opened.approve("a", actor="bea"),
            lambda: opened.create("b", {}),
            lambda: opened.upkeep.apply_policy(as_owner=True, reason="x", actor="ada"),
        ):
            with pytest.raises((CorruptRegistry, CorruptLog)):
                write()
        with pytest.raises((CorruptRegistry, CorruptLog)):
            opened.upkeep.policy_status()
        assert opened.load_state("a").version == 2

    assert (tree(changed / "manifests"), record(changed)) == before


@pytest.mark.damaged
def test_a_manifest_that_knows_of_a_later_version_is_not_decided_on(changed):
    """With `registry.json` put back as well, everything looks as it was: the manifests know better, and both are named."""
    own = record(changed)
    put_back(changed)
    last = said(changed)[-1]
    own["log"] = {"version": last["version"], "head": last["hash"]}
    (changed / "registry.json").write_text(json.dumps(own))

    with RegistrationPipeline(changed, actor="bea") as pipeline:
        with pytest.raises(
            CorruptRegistry, match=r"'a' was decided under version 3 of .*, but that log is at version 2"
        ):
            pipeline.approve("a")
        assert pipeline.create("b", {}).state == "DRAFT"


@pytest.mark.damaged
def test_a_registry_that_lost_its_log_and_its_record_of_it_is_no_earlier_release(changed):
    """Who removes both can't begin anew: the manifests name the log."""
    own = record(changed)
    del own["log"]
    (changed / "registry.json").write_text(json.dumps(own))
    shutil.rmtree(changed / "registry")

    with (
        RegistrationPipeline(changed) as pipeline,
        pytest.raises(CorruptRegistry, match="but that log has no event"),
    ):
        pipeline.create("b", {})


# -- between the log and registry.json ----------------------------------------------------------------------------


def test_a_crash_before_registry_json_leaves_the_log_to_decide(changed, pipeline):
    """It is one ahead; the next write completes the record, and readers change nothing."""
    own = record(changed)
    middle = said(changed)[1]
    own["log"] = {"version": 2, "head": middle["hash"]}
    (changed / "registry.json").write_text(json.dumps(own))
    with RegistrationPipeline(changed, actor="ada") as opened:
        before = tree(changed)
        (why,) = opened.explain("a", "approve")
        read = tree(changed)

        opened.approve("a", actor="bea")

    assert (why.allowed, read) == (False, before)
    assert record(changed)["log"] == {"version": 3, "head": said(changed)[-1]["hash"]}
    assert pipeline.reject("a", reason="x").event.data["registry"]["version"] == 3


def test_a_decision_under_rules_that_were_replaced_is_made_again(open_pipeline, monkeypatch):
    """Also with a pinned version: what the caller expects of the manifest still holds, and nothing is written under the old rules."""
    pipeline, other = open_pipeline(), open_pipeline()
    pipeline.create("a", {})
    real, waiting = Governance.given, [lambda: put_in_force(other, REASONS)]

    def given(self, policy):
        found = real(self, policy)
        if self is pipeline._registry.governance and waiting:
            waiting.pop()()  # after the decision, before the commit
        return found

    monkeypatch.setattr(Governance, "given", given)

    with pytest.raises(GuardRefused, match="a reason is required"):
        pipeline.revise("a", {"v": 2}, expected_version=1)
    revised = pipeline.revise("a", {"v": 2}, expected_version=1, reason="r")

    assert (revised.event.version, revised.event.data["registry"]["version"]) == (2, 2)


WRITER = """
import sys
from registration import RegistrationPipeline
from registration.errors import GuardRefused
number = sys.argv[2]
with RegistrationPipeline(sys.argv[1], actor=f"w{number}") as pipeline:
    pipeline.create(f"m{number}", {"n": 0})
    print("ready", flush=True)
    for n in range(40):
        try:
            pipeline.revise(f"m{number}", {"n": n})
            pipeline.revise("shared", {"n": n, "by": number})
        except GuardRefused:
            pipeline.revise(f"m{number}", {"n": n}, reason="r")
            pipeline.revise("shared", {"n": n, "by": number}, reason="r")
"""


@pytest.mark.slow
def test_rules_applied_while_eight_processes_write_bind_each_event(root):
    """Each event is under one of the two, none under none; none is older than the event before it; and none is without its reason."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        put_in_force(pipeline, '[[guards]]\nguard = "reason_given"\nactions = ["submit_for_review"]\n')
        pipeline.create("shared", {"n": 0})
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(root), str(number)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(8)
        ]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n", writer.communicate()
        put_in_force(pipeline, REASONS)
        acknowledged = pipeline.upkeep.policy_status().version
        after = pipeline.create_with_result("after", {}).event
        for writer in writers:
            _, told = writer.communicate(timeout=300)
            assert writer.returncode == 0, told

        versions = {}
        for id in pipeline.upkeep.manifest_ids():
            under = [event.data["registry"]["version"] for event in pipeline.history(id)]
            assert under == sorted(under), id
            for event in pipeline.history(id):
                version = event.data["registry"]["version"]
                versions.setdefault(version, set()).add(event.data["policy"])
                if event.action == "revise":
                    assert (version == acknowledged) == ("reason" in event.data), (id, event.version)
            assert not [one for one in pipeline.evidence.verify(id).findings if one.kind == "damage"]

    assert after.data["registry"]["version"] == acknowledged == 3
    assert versions.keys() == {2, 3}
    assert all(len(policies) == 1 and None not in policies for policies in versions.values())


# -- registries of an earlier release --------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path):
    root = tmp_path / "old"
    shutil.copytree(FORMAT_1, root)
    return root


PILOT = "Harbour-Pilot@2.1.0"


def test_a_registry_of_release_0_1_adopts_its_policy_once_at_its_first_write(old):
    """Reading writes nothing; a refused command neither. From then on, the file changes nothing by itself."""
    (old / "policy.toml").write_text(REASONS)
    before = tree(old)
    with RegistrationPipeline(old, create=False, actor="ada") as pipeline:
        pipeline.load_state(PILOT)
        (why,) = pipeline.explain(PILOT, "revise", document={"v": 2})
        with pytest.raises(GuardRefused):
            pipeline.revise(PILOT, {"v": 2})
        read = tree(old)
        revised = pipeline.revise(PILOT, {"v": 2}, reason="r").event
        (old / "policy.toml").unlink()
        with pytest.raises(GuardRefused):
            pipeline.revise(PILOT, {"v": 3})

    assert (why.allowed, read) == (False, before)
    (adopted,) = said(old)
    assert (adopted["type"], adopted["data"]["actor"]) == ("registry.adopted.v1", "ada")
    assert adopted["data"]["in_force"]["policy"] == revised.data["policy"]
    assert revised.data["registry"] == {"version": 1, "hash": adopted["hash"]}


def test_a_registry_of_release_0_1_whose_policy_is_invalid_is_not_written_to(old):
    """As release 0.1 did; when it is mended, all goes on."""
    (old / "policy.toml").write_text("no TOML [")
    with RegistrationPipeline(old, create=False) as pipeline:
        with pytest.raises(InvalidPolicy):
            pipeline.revise(PILOT, {"v": 2})
        assert not (old / "registry").exists()
        (old / "policy.toml").write_text(REASONS)
        assert pipeline.revise(PILOT, {"v": 2}, reason="r").snapshot.version > 1


@pytest.mark.parametrize("lost", [lambda _: None, lambda path: path.write_bytes(b"")])
def test_a_registry_of_release_0_1_whose_policy_is_lost_asks_what_is_in_force(old, lost):
    """The rules that it had are kept: going on without any is refused until somebody says so, by applying a policy."""
    with RegistrationPipeline(old, create=False) as pipeline:
        policy = {"format": 1, "name": "x", "log_refusals": False, "roles": {}, "kinds": [], "guards": {}}
        from registration.values.documents import digest_of

        pipeline._registry.store.keep("policies", digest_of(policy), policy)
        lost(old / "policy.toml")
        with pytest.raises(
            Rejected, match=r"policy\.toml is missing or empty, but this registry had a policy"
        ) as refused:
            pipeline.revise(PILOT, {"v": 2})
        assert not (old / "registry").exists()
        (old.parent / "new.toml").write_text(FOUR_EYES)

        pipeline.upkeep.apply_policy(old.parent / "new.toml", actor="ana", reason="restored")

        assert refused.value.next[0].operation == "policy.apply"
        assert pipeline.revise(PILOT, {"v": 2}).event.data["policy"] == pipeline.policy.digest is not None
    assert [one["data"]["action"] for one in said(old)] == ["adopt"]
    assert said(old)[0]["data"]["reason"] == "restored"


# -- in memory -------------------------------------------------------------------------------------------------------


def test_a_registry_in_memory_has_the_same_log():
    """Rules are applied as objects; two programs over one store see one set of rules."""
    store = open_memory(SOURCE, REGISTRATION)
    one = RegistrationPipeline(store=store, actor="ada", clock=FakeClock(), random=random.Random(1))
    other = RegistrationPipeline(store=store, actor="bea", clock=FakeClock(), random=random.Random(2))
    one.create("a", {})
    one.submit_for_review("a")
    policy = RegistrationPipeline(
        store=open_memory(SOURCE, REGISTRATION), policy=other.policy
    ).policy  # none: a policy may be empty

    assert policy.digest is None
    applied = other.upkeep.apply_policy(_four_eyes(), reason="four eyes")
    with pytest.raises(GuardRefused):
        one.approve("a", actor="ada")
    approved = one.approve("a", actor="cyd").event

    assert approved.data["registry"] == {"version": 2, "hash": applied.event.hash}
    assert [entry.area for entry in one.feed.read()] == [
        "registry",
        "manifests",
        "manifests",
        "registry",
        "manifests",
    ]


def _four_eyes():
    from registration.core.chart import GuardUse
    from registration.core.policy import Policy
    from registration.rules.guards.builtin import not_the_author

    return Policy(uses={"approve": (GuardUse("not_the_author"),)}, guards={"not_the_author": not_the_author})


def test_a_registry_without_registry_json_writes_nothing(open_pipeline, root):
    """Removed under an open program: it is not made anew."""
    pipeline = open_pipeline()
    pipeline.create("a", {})
    kept = (root / "registry.json").read_bytes()
    (root / "registry.json").unlink()

    with pytest.raises(StoreError, match=r"registry\.json is missing"):
        pipeline.revise("a", {"v": 2})

    (root / "registry.json").write_bytes(kept)
    assert pipeline.revise("a", {"v": 2}).snapshot.version == 2
