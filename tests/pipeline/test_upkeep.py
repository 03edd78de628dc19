"""The upkeep of sessions, deployments and leases: every byte is looked at, what a crash left is settled, nothing else changes."""

from __future__ import annotations

import json

import pytest

from registration import RegistrationPipeline
from registration.engine.leases.leases import open_leases
from registration.errors import LockTimeout
from registration.onboarding.community.deploying import JsonTarget, open_deployments
from registration.onboarding.sessions.session import Caller
from registration.onboarding.sessions.sessions import Sessions
from registration.pipeline.upkeep import recover_beside, verify_beside
from registration.storage.files.files import FileStore
from tests.kit.typed import run
from tests.kit.wizards import party
from tests.onboarding.test_deploying import ID, SHORT

ADA = Caller("ada", "guild-7")
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


def found(place):
    return {
        area.area: (area.looked_at, [(one.kind, one.path) for one in area.findings])
        for area in verify_beside(place / "registry")
    }


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

    assert list(verify_beside(tmp_path)) == []
    assert list(recover_beside(tmp_path)) == []


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
    (settled,) = (one for one in recover_beside(place / "registry") if one.problem)

    assert ("damage", relative(place, log)) in kinds
    assert (settled.area, settled.problem.details["path"]) == (area, relative(place, log))
    assert "`registration verify` tells" in str(settled.problem)
    assert ("wizard delete" in str(settled.problem)) == (area == "sessions")
    assert "repair" not in str(settled.problem)
    assert log.read_bytes() == changed


@pytest.mark.parametrize("area", ["sessions", "deployments"])
def test_a_torn_line_is_unfinished_and_recovery_sets_it_aside(place, area):
    """A dry run only says so; afterwards the log is as before, and the bytes are in quarantine."""
    log = logs(place)[area]
    before = log.read_bytes()
    log.write_bytes(before + b'{"torn')

    assert found(place)[area][1] == [("unfinished", relative(place, log))]
    (dry,) = (one for one in recover_beside(place / "registry", dry_run=True) if one.steps)
    assert (dry.area, log.read_bytes()) == (area, before + b'{"torn')
    (settled,) = (one for one in recover_beside(place / "registry") if one.steps)

    assert log.read_bytes() == before
    assert (place / "registry" / settled.steps[0].kept_as).read_bytes() == b'{"torn'
    assert found(place)[area][1] == []


def test_a_session_that_was_never_begun_is_settled_as_well(place):
    """Nothing says which wizard it was to be of, and nothing needs to."""
    directory = place / "registry" / "sessions" / NEVER_BEGUN
    directory.mkdir()
    (directory / "events.jsonl").write_bytes(b'{"x')

    assert found(place)["sessions"] == (2, [("unfinished", f"sessions/{NEVER_BEGUN}/events.jsonl")])
    (settled,) = (one for one in recover_beside(place / "registry") if one.steps)

    assert (settled.id, (directory / "events.jsonl").read_bytes()) == (NEVER_BEGUN, b"")
    assert found(place)["sessions"][1] == []


def test_what_has_no_session_id_is_a_stray(place):
    """It is no damage, and recovery passes it over."""
    (place / "registry" / "sessions" / "notes").mkdir()

    assert found(place)["sessions"] == (1, [("stray", "sessions/notes")])
    assert not any(one.steps or one.problem for one in recover_beside(place / "registry"))


def test_a_session_of_a_wizard_that_is_not_here_is_unchecked(place):
    """Only the program that has its wizard can fold it; that is no damage."""
    with Sessions(place / "registry", wizards=(party(),)) as sessions:
        id = sessions.start("party", Caller("bea", "guild-8")).id

    assert found(place)["sessions"] == (1, [("unchecked", f"sessions/{id}/events.jsonl")])
    assert not any(one.steps or one.problem for one in recover_beside(place / "registry"))


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
    real = FileStore.inspect

    def inspect(store, stream, **how):
        if stream == ID:
            raise LockTimeout(stream, 0.1)
        return real(store, stream, **how)

    monkeypatch.setattr(FileStore, "inspect", inspect)
    areas = {area.area: area for area in verify_beside(place / "registry")}

    assert (areas["deployments"].looked_at, len(areas["deployments"].problems)) == (0, 1)
    assert areas["sessions"].looked_at == 1


def test_at_a_terminal_they_are_checked_and_settled_with_the_manifests(place):
    """`verify` counts them and ends with 7 for damage; `recover` sets right what it can, and says what it can't."""
    log = logs(place)["deployments"]
    checked = run(place, "verify")
    assert checked.stderr.endswith(
        "0 manifests, 1 session, 1 deployment and 1 lease checked: every byte is what was written.\n"
    )
    sound = log.read_bytes()
    log.write_bytes(sound + b"torn")
    unfinished = run(place, "verify")
    assert (unfinished.exit_code, "1 unfinished" in unfinished.stderr) == (0, True)
    dry = run(place, "recover", "--dry-run")
    assert "Sessions and deployments: 1 to set right, 0 damaged." in dry.stderr
    told = json.loads(run(place, "recover", "--json").stdout.splitlines()[-1])
    assert (told["area"], told["id"], told["problem"]) == ("deployments", ID, None)
    log.write_bytes(sound.replace(b'"action"', b'"aktion"', 1))
    damaged = run(place, "verify")
    assert (damaged.exit_code, "damage beside the manifests" in damaged.stderr) == (7, True)
    assert relative(place, log) in damaged.stdout
    left = run(place, "recover")
    assert (left.exit_code, "Sessions and deployments: 0 set right, 1 damaged." in left.stderr) == (7, True)
    assert run(place, "recover", "--json").exit_code == 7
