"""The upkeep of sessions, deployments and leases: every byte is looked at, what a crash left is settled, nothing else changes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from registration import RegistrationPipeline, open_memory
from registration.engine.leases.leases import open_leases
from registration.errors import LockTimeout
from registration.onboarding.community.deploying import JsonTarget, open_deployments
from registration.onboarding.sessions.session import Caller
from registration.onboarding.sessions.sessions import Sessions
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.ledger import Ledger
from tests.kit.policies import put_in_force
from tests.kit.typed import run
from tests.kit.wizards import party
from tests.onboarding.test_deploying import ID, SHORT

ADA = Caller("ada", "guild-7")
SOURCE = "urn:uuid:01a1fcdf-67de-7635-b5e5-5a6d9d430ded"
OLD = Path(__file__).parents[2] / "fixtures" / "registries" / "format-1"
BESIDE = ("sessions", "deployments", "leases")
NEVER_BEGUN = "wiz_20261121093000123_0a1b2c3d4e5f6g7h"


@pytest.fixture
def place(tmp_path):
    """A registry with a session, a deployment and a lease."""
    root = tmp_path / "registry"
    RegistrationPipeline(root).close()
    with Sessions(root) as sessions:
        session = sessions.start("mcp-server", ADA).id
    deployments = open_deployments(root)
    deployments.start(ID, SHORT)
    deployments.run(ID, JsonTarget(tmp_path / "target"))
    deployments.close()
    open_leases(root).acquire("manifests/m1", holder="bea", ttl_s=60)
    root.joinpath("session").write_text(session)
    return tmp_path


def verified(root):
    """All that verifying gives of sessions, deployments and leases."""
    with RegistrationPipeline(root) as pipeline:
        return [one for one in pipeline.upkeep.verify_all() if one.area in BESIDE]


def recovered(root, *, dry_run=False):
    """The same of recovering."""
    with RegistrationPipeline(root) as pipeline:
        return [one for one in pipeline.upkeep.recover_all(dry_run=dry_run) if one.area in BESIDE]


def found(place):
    told = {area: [0, []] for area in BESIDE}
    for one in verified(place / "registry"):
        told[one.area][0] += one.looked_at
        told[one.area][1] += [(finding.kind, finding.path) for finding in one.findings]
    return {area: tuple(both) for area, both in told.items()}


def logs(place):
    session = (place / "registry" / "session").read_text()
    return {
        "sessions": place / "registry" / "sessions" / session / "events.jsonl",
        "deployments": place / "registry" / "deployments" / ID / "events.jsonl",
    }


def relative(place, path):
    return str(path.relative_to(place / "registry"))


def test_a_registry_without_any_has_nothing_to_look_at(tmp_path):
    """Areas that there are not are passed over."""
    RegistrationPipeline(tmp_path).close()

    assert verified(tmp_path) == []
    assert recovered(tmp_path) == []


def test_all_of_them_are_looked_at(place):
    """Each area is told with its number; leases by their files."""
    assert found(place) == {"sessions": (1, []), "deployments": (1, []), "leases": (1, [])}


@pytest.mark.parametrize("area", ["sessions", "deployments"])
def test_a_changed_byte_is_damage_and_recovery_leaves_it(place, area):
    """The finding names the log; the message tells what to do, and nothing is changed."""
    log = logs(place)[area]
    changed = log.read_bytes().replace(b'"part"', b'"pArt"', 1).replace(b'"action"', b'"aktion"', 1)
    log.write_bytes(changed)

    kinds = found(place)[area][1]
    (settled,) = (one for one in recovered(place / "registry") if one.problem)

    assert ("damage", relative(place, log)) in kinds
    assert (settled.area, settled.problem.details["path"]) == (area, relative(place, log))
    operations = [step.operation for step in settled.problem.next]
    assert operations == ["verify", "repair", *(["sessions.delete"] if area == "sessions" else [])]
    assert settled.problem.next[1].id == f"{area}/{settled.id}"
    assert log.read_bytes() == changed


@pytest.mark.parametrize("area", ["sessions", "deployments"])
def test_a_torn_line_is_unfinished_and_recovery_sets_it_aside(place, area):
    """A dry run only says so; afterwards the log is as before, and the bytes are in quarantine."""
    log = logs(place)[area]
    before = log.read_bytes()
    log.write_bytes(before + b'{"torn')

    assert found(place)[area][1] == [("unfinished", relative(place, log))]
    (dry,) = (one for one in recovered(place / "registry", dry_run=True) if one.steps)
    assert (dry.area, log.read_bytes()) == (area, before + b'{"torn')
    (settled,) = (one for one in recovered(place / "registry") if one.steps)

    assert log.read_bytes() == before
    assert (place / "registry" / settled.steps[0].kept_as).read_bytes() == b'{"torn'
    assert found(place)[area][1] == []


def test_a_session_that_was_never_begun_is_settled_as_well(place):
    """Nothing says which wizard it was to be of, and nothing needs to."""
    directory = place / "registry" / "sessions" / NEVER_BEGUN
    directory.mkdir()
    (directory / "events.jsonl").write_bytes(b'{"x')

    assert found(place)["sessions"] == (2, [("unfinished", f"sessions/{NEVER_BEGUN}/events.jsonl")])
    (settled,) = (one for one in recovered(place / "registry") if one.steps)

    assert (settled.id, (directory / "events.jsonl").read_bytes()) == (NEVER_BEGUN, b"")
    assert found(place)["sessions"][1] == []


def test_what_has_no_session_id_is_a_stray(place):
    """It is no damage, and recovery passes it over."""
    (place / "registry" / "sessions" / "notes").mkdir()

    assert found(place)["sessions"] == (1, [("stray", "sessions/notes")])
    assert not any(one.steps or one.problem for one in recovered(place / "registry"))


def test_a_session_of_a_wizard_that_is_not_here_is_unchecked(place):
    """Only the program that has its wizard can fold it; that is no damage."""
    with Sessions(place / "registry", wizards=(party(),)) as sessions:
        id = sessions.start("party", Caller("bea", "guild-8")).id

    assert found(place)["sessions"] == (1, [("unchecked", f"sessions/{id}/events.jsonl")])
    assert not any(one.steps or one.problem for one in recovered(place / "registry"))


def test_a_session_without_a_wizard_in_its_first_line_is_damage(place):
    """Its first line can't be read."""
    log = logs(place)["sessions"]
    log.write_bytes(b"{}\n")

    assert found(place)["sessions"] == (0, [("damage", relative(place, log))])


def test_a_lease_that_is_not_what_was_kept_is_damage(place):
    """By its checksum."""
    path = place / "registry" / "leases" / "manifests" / "m1.json"
    path.write_text(path.read_text().replace('"number": 1', '"number": 2'))

    assert found(place)["leases"] == (1, [("damage", "leases/manifests/m1.json")])


def test_a_locked_log_is_told_and_the_others_are_looked_at(place, monkeypatch):
    """Whoever holds the lock for too long is waited for in vain."""
    real = Ledger.inspect

    def inspect(store, stream, **how):
        if stream == ID:
            raise LockTimeout(stream, 0.1)
        return real(store, stream, **how)

    monkeypatch.setattr(Ledger, "inspect", inspect)
    of = {one.area: one for one in verified(place / "registry")}

    assert not of["deployments"].looked_at
    assert isinstance(of["deployments"].problem, LockTimeout)
    assert of["sessions"].looked_at


def test_at_a_terminal_they_are_checked_and_settled_with_the_manifests(place):
    """`verify` counts them and ends with 7 for damage; `recover` sets right what it can, and says what it can't."""
    log = logs(place)["deployments"]
    checked = run(place, "verify")
    assert "0 manifests, 1 session, 1 deployment and 1 lease checked: sound; " in checked.stderr
    assert checked.stderr.endswith("nothing here proves that it was not rewritten.\n")
    sound = log.read_bytes()
    log.write_bytes(sound + b"torn")
    unfinished = run(place, "verify")
    assert (unfinished.exit_code, "1 unfinished" in unfinished.stderr) == (0, True)
    dry = run(place, "recover", "--dry-run")
    assert "Sessions and deployments: 1 to recover, 0 damaged." in dry.stderr
    told = json.loads(run(place, "recover", "--json").stdout.splitlines()[-1])
    assert (told["area"], told["id"], told["problem"]) == ("deployments", ID, None)
    log.write_bytes(sound.replace(b'"action"', b'"aktion"', 1))
    damaged = run(place, "verify")
    assert (damaged.exit_code, "damage outside the manifests" in damaged.stderr) == (7, True)
    assert relative(place, log) in damaged.stdout
    left = run(place, "recover")
    assert (left.exit_code, "Sessions and deployments: 0 recovered, 1 damaged." in left.stderr) == (7, True)
    assert run(place, "recover", "--json").exit_code == 7


# -- repair, in every area ------------------------------------------------------------------------------------


@pytest.fixture
def with_alias(place):
    """The same registry, with a manifest that is registered and an alias that was moved twice."""
    with RegistrationPipeline(place / "registry", actor="ada") as pipeline:
        for version in ("1.0.0", "2.0.0"):
            id = pipeline.create(None, {"name": "weather", "version": version}).manifest_id
            pipeline.submit_for_review(id)
            pipeline.approve(id, actor="bea")
            pipeline.register(id)
            pipeline.names.set_alias("weather", "stable", version)
    return place


def every_log(place):
    """By path, the file of one log of every area."""
    manifest = place / "registry" / "manifests" / "weather@1.0.0" / "events.jsonl"
    alias = place / "registry" / "aliases" / "weather" / "events.jsonl"
    session, deployment = logs(place).values()
    return {
        "weather@1.0.0": manifest,
        "aliases/weather": alias,
        f"sessions/{session.parent.name}": session,
        f"deployments/{ID}": deployment,
    }


def damage(log, line):
    """Change a byte in that line of a log, and gives the lines before it."""
    lines = log.read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b'"action"', b'"aktion"', 1)
    log.write_bytes(b"".join(lines))
    return lines[: line - 1]


@pytest.mark.parametrize("area", ["manifests", "aliases", "deployments"])
def test_what_is_damaged_in_any_area_can_be_repaired(with_alias, area):
    """What is sound stays, the rest is set aside, and the log says who accepted the loss, and why; then all is well again."""
    path, log = next(
        (path, log) for path, log in every_log(with_alias).items() if log.parent.parent.name == area
    )
    kept = damage(log, 3)
    with RegistrationPipeline(with_alias / "registry", actor="ada") as pipeline:
        planned = pipeline.upkeep.repair(path)
        assert (planned.line, planned.state.version, planned.event) == (3, 2, None)

        loss = pipeline.upkeep.repair(path, accept_loss=True, reason="no backup")

        assert pipeline.upkeep.repair(path) is None
        list(pipeline.upkeep.recover_all())  # what follows from it, such as where `latest` points
        assert not any(one.damaged or one.problem for one in pipeline.upkeep.verify_all())
    lines = log.read_bytes().splitlines(keepends=True)
    told = json.loads(lines[2])
    assert lines[:2] == kept
    assert told["type"].endswith(".repaired.v1")
    assert (told["data"]["actor"], told["data"]["reason"]) == ("ada", "no backup")
    assert told["data"]["lost"]["damage"] == planned.reason
    assert all((with_alias / "registry" / one).exists() for one in loss.kept_as)


@pytest.mark.parametrize("first_line", [b"{}\n", b"no JSON\n"])
def test_a_session_of_which_nothing_is_sound_makes_room(with_alias, first_line):
    """Whichever wizard it was of: nothing of it can be kept, and its bytes are set aside."""
    path, log = list(every_log(with_alias).items())[2]
    log.write_bytes(first_line)
    with RegistrationPipeline(with_alias / "registry", actor="ada") as pipeline:
        assert pipeline.upkeep.repair(path).state is None

        loss = pipeline.upkeep.repair(path, accept_loss=True)

        assert any((with_alias / "registry" / one).read_bytes() == first_line for one in loss.kept_as)
        assert not any(one.damaged or one.problem for one in pipeline.upkeep.verify_all())


def test_all_that_is_damaged_is_named_and_repaired_at_once(with_alias):
    """Not the first only: a dry look names each, and accepting the loss repairs each."""
    damaged = every_log(with_alias)
    for log in damaged.values():
        damage(log, 1)

    dry = run(with_alias, "repair", "--all", "--json")
    said = [json.loads(line) for line in dry.stdout.splitlines()]
    at_a_terminal = run(with_alias, "repair", "--all")
    done = run(with_alias, "repair", "--all", "--accept-loss", "--reason", "a new disk", "--json")

    assert dry.exit_code == at_a_terminal.exit_code == 7
    named = [one.get("manifest_id") or f"{one['area']}/{one['id']}" for one in said]
    assert named == list(damaged)
    assert all(path in at_a_terminal.stdout for path in damaged)
    assert {json.loads(line)["repaired"] for line in done.stdout.splitlines()} == {True}
    assert done.exit_code == 0
    assert run(with_alias, "verify").exit_code == 0
    assert "Nothing is damaged" in run(with_alias, "repair", "--all").stdout


def test_what_is_no_log_cannot_be_repaired(with_alias):
    """Whichever area it is in; and the command wants to know which one."""
    for path in ("nothing", "aliases/nothing", f"sessions/{NEVER_BEGUN}", "deployments/nothing"):
        assert run(with_alias, "repair", path).exit_code == 3
    assert run(with_alias, "repair").exit_code == 2
    assert run(with_alias, "repair", "--all", "weather@1.0.0").exit_code == 2


def test_the_whole_registry_can_be_looked_at_in_memory():
    """A registry in memory has what it has: manifests, aliases, and a log of its own."""
    with RegistrationPipeline(store=open_memory(SOURCE, REGISTRATION), actor="ada") as pipeline:
        pipeline.create("a", {})

        assert [(one.area, one.id) for one in pipeline.upkeep.verify_all()] == [
            ("manifests", "a"),
            ("", None),
            ("registry", "registry"),
        ]
        assert [(one.area, one.id) for one in pipeline.upkeep.recover_all()] == [
            ("manifests", "a"),
            ("registry", "registry"),
        ]
        assert list(pipeline.upkeep.repair_all()) == []


def torn(root, id):
    """Leave half a line at the end of a manifest's log, as a crash does."""
    with (root / "manifests" / id / "events.jsonl").open("ab") as log:
        log.write(b'{"half')


def own_log(root):
    with RegistrationPipeline(root, create=False) as pipeline:
        return list(pipeline.upkeep.policy_history())


@pytest.fixture
def several(tmp_path):
    root = tmp_path / "registry"
    with RegistrationPipeline(root, actor="ada") as pipeline:
        for id in "abc":
            pipeline.create(id, {})
    return root


def test_a_recovery_is_in_the_registrys_own_log(several):
    """One event: by whom, of which logs, and what was done; none for a dry run, or if nothing was changed."""
    torn(several, "a")
    torn(several, "c")
    with RegistrationPipeline(several, actor="bea") as pipeline:
        before = len(own_log(several))
        list(pipeline.upkeep.recover_all(dry_run=True))
        pipeline.upkeep.recover("a", dry_run=True)
        assert len(own_log(several)) == before

        done = {f"{one.area}/{one.id}": one.steps for one in pipeline.upkeep.recover_all() if one.steps}
        list(pipeline.upkeep.recover_all())
        pipeline.upkeep.recover("a")

    (event,) = own_log(several)[before:]
    assert (event.action, event.actor, event.data["via"]["uid"]) == ("recover", "bea", os.getuid())
    assert event.data["recovered"]["count"] == len(done) == 2
    told = {
        one["path"]: [(step["found"], step["done"], step["kept_as"]) for step in one["steps"]]
        for one in event.data["recovered"]["logs"]
    }
    assert told == {
        path: [(step.found, step.done, step.kept_as) for step in steps] for path, steps in done.items()
    }
    with RegistrationPipeline(several) as fresh:
        assert not [one for one in fresh.upkeep.verify_all() if one.findings]


def test_a_recovery_that_is_given_up_says_what_it_did(several):
    """So does the recovery of one manifest."""
    for id in "abc":
        torn(several, id)
    with RegistrationPipeline(several, actor="bea") as pipeline:
        recovering = pipeline.upkeep.recover_all()
        next(recovering)
        recovering.close()
        pipeline.upkeep.recover("c")

    told = [event.data["recovered"] for event in own_log(several) if event.action == "recover"]
    assert [[one["path"] for one in said["logs"]] for said in told] == [["manifests/a"], ["manifests/c"]]


def test_a_recovery_lists_no_more_logs_than_it_may(several, monkeypatch):
    """And counts all of them."""
    monkeypatch.setattr("registration.pipeline.recoveries.LISTED_MAX", 2)
    for id in "abc":
        torn(several, id)
    with RegistrationPipeline(several) as pipeline:
        list(pipeline.upkeep.recover_all())

    said = own_log(several)[-1].data["recovered"]
    assert (said["count"], [one["path"] for one in said["logs"]]) == (3, ["manifests/a", "manifests/b"])


def test_a_recovery_that_can_not_be_recorded_is_done_all_the_same(several, caplog):
    """The rules may refuse the actor, and the registry's own log may be damaged."""
    put_in_force(several, '[actors]\nsource = ["login"]\n')
    torn(several, "a")
    with RegistrationPipeline(several, actor="somebody-else") as pipeline:
        assert pipeline.upkeep.recover("a").steps
        assert not pipeline.upkeep.recover("a", dry_run=True).steps
    assert "the registry's own log doesn't say so" in caplog.text
    assert own_log(several)[-1].action == "apply_policy"

    caplog.clear()
    torn(several, "b")
    log = several / "registry" / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"action":"make"', b'"action":"mAke"'))
    (several / "registry" / "state.json").unlink()
    with RegistrationPipeline(several, actor="somebody-else") as pipeline:
        assert [one.id for one in pipeline.upkeep.recover_all() if one.steps] == ["b"]
    assert "the registry's own log doesn't say so" in caplog.text


def test_a_recovery_begins_no_log_of_the_registry(tmp_path):
    """A registry of release 0.1 has none until its first write."""
    root = tmp_path / "registry"
    shutil.copytree(OLD, root)
    manifests = sorted(path.name for path in (root / "manifests").iterdir())
    (root / "manifests" / manifests[0] / "state.json").unlink()
    with RegistrationPipeline(root, create=False) as pipeline:
        assert any(one.steps for one in pipeline.upkeep.recover_all())

    assert not (root / "registry").exists()
