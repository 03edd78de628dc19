"""The feed tells of the whole registry: whoever follows it need not have touched what it tells of."""

from __future__ import annotations

import json
import shutil

import pytest

from registration import RegistrationPipeline
from registration.onboarding.community.deploying import JsonTarget, open_deployments
from registration.onboarding.sessions.session import Caller
from registration.onboarding.sessions.sessions import Sessions
from tests.kit.typed import run
from tests.kit.wizards import party
from tests.onboarding.test_deploying import ID, SHORT

ADA = Caller("ada", "guild-7")
NAME = "io.github.acme/weather"
DOCUMENT = {"name": NAME, "version": "1.0.0"}


@pytest.fixture
def root(tmp_path):
    """A registry where each area has something to tell of."""
    root = tmp_path / "registry"
    with RegistrationPipeline(root) as pipeline:
        pipeline.create("m1", DOCUMENT)
        pipeline.submit_for_review("m1")
        pipeline.approve("m1", actor="bea")
        pipeline.register("m1")
    with Sessions(root) as sessions:
        sessions.start("mcp-server", ADA)
    deployments = open_deployments(root)
    deployments.start(ID, SHORT)
    deployments.close()
    return root


def told(root, after=None):
    with RegistrationPipeline(root, create=False) as reader:
        return [(entry.area, entry.event.action) for entry in reader.feed.read(after)]


WHOLE = [
    ("registry", "make"),
    ("manifests", "create"),
    ("manifests", "submit_for_review"),
    ("manifests", "approve"),
    ("manifests", "register"),
    ("aliases", "move"),
    ("sessions", "start"),
    ("deployments", "plan"),
]


def test_a_reader_that_knows_of_nothing_is_told_of_everything(root):
    """Aliases, sessions and deployments, in the order of the commits."""
    assert told(root) == WHOLE


def test_a_feed_that_was_deleted_comes_again_with_every_area(root):
    """What no line tells of is found in the logs of all areas."""
    shutil.rmtree(root / "feed")

    assert sorted(told(root)) == sorted(WHOLE)


def test_an_area_that_comes_to_be_later_is_told_of_as_well(tmp_path):
    """By a reader that was there before it."""
    with RegistrationPipeline(tmp_path) as reader:
        (made,) = reader.feed.read()
        with Sessions(tmp_path) as sessions:
            session = sessions.start("mcp-server", ADA)
        (entry,) = reader.feed.read(made.cursor)
        deployments = open_deployments(tmp_path)
        deployments.start(ID, SHORT)
        deployments.run(ID, JsonTarget(tmp_path / "target"))
        deployments.close()
        rest = list(reader.feed.read(entry.cursor))

    assert (entry.area, entry.event.subject) == ("sessions", session.id)
    assert {one.area for one in rest} == {"deployments"}
    assert [one.event.version for one in rest] == list(range(1, len(rest) + 1))


def test_sessions_of_wizards_that_are_not_here_are_passed_over(root):
    """Nobody here can read them; what comes behind them is told."""
    with Sessions(root, wizards=(party(),)) as sessions:
        sessions.start("party", Caller("bea", "guild-8"))
    with RegistrationPipeline(root) as pipeline:
        pipeline.create("m2", {})
        cursors = [entry.cursor for entry in pipeline.feed.read()]

    assert told(root) == [*WHOLE, ("manifests", "create")]
    assert told(root, cursors[-2]) == [("manifests", "create")]


def test_a_damaged_session_is_named_and_can_be_gone_past(root):
    """With its area, and the cursor behind it; the catalog does not care."""
    (directory,) = (root / "sessions").iterdir()
    log = directory / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"actor":"ada"', b'"actor":"eve"'))

    done = run(root.parent, "follow", "--once", "--json")

    assert [json.loads(line)["area"] for line in done.stdout.splitlines()] == [area for area, _ in WHOLE[:6]]
    assert (done.exit_code, f"sessions/{directory.name}/events.jsonl, line 1" in done.stderr) == (7, True)
    with RegistrationPipeline(root) as pipeline:
        assert [one.manifest_id for one in pipeline.list()] == ["m1"]


def test_hooks_are_told_of_manifests_and_aliases_unless_they_name_others(root, tmp_path):
    """What people said about themselves leaves the registry only where somebody said so."""
    out = tmp_path / "out"
    command = f'command = ["sh", "-c", "cat >> {out}; echo >> {out}"]\nstart = "start"\n'
    hooks = root / "hooks.toml"
    areas = {}
    for name, filters in (
        ("usual", ""),
        ("all", 'areas = ["registry", "manifests", "aliases", "sessions", "deployments"]'),
    ):
        hooks.write_text(f'[[hooks]]\nname = "{name}"\n{command}{filters}\n')
        assert run(tmp_path, "hooks", "run", "--once").exit_code == 0
        areas[name] = [json.loads(line)["data"]["action"] for line in out.read_text().splitlines() if line]
        out.unlink()

    assert areas == {"usual": [action for _, action in WHOLE[1:6]], "all": [action for _, action in WHOLE]}
    hooks.write_text(f'[[hooks]]\nname = "a"\n{command}areas = ["session"]\n')
    refused = run(tmp_path, "hooks", "check")
    assert (
        refused.exit_code,
        "'session' is not one of registry, manifests, aliases, sessions" in refused.stderr,
    ) == (
        2,
        True,
    )
