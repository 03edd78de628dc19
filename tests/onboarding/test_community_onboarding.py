"""The wizard `community-onboarding`, from its start to a DRAFT and a community: failures and kills at each step of DEPLOY."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from registration import RegistrationPipeline
from registration.cli.app import app
from registration.errors import AlreadyExists, InvalidArgument, Rejected, WorkFailed, WorkStuck
from registration.onboarding.community import COMMUNITY
from registration.onboarding.community.deployer import CommunityDeployer
from registration.onboarding.community.deploying import JsonTarget, PlannedFailure, open_deployments, plan_for
from registration.onboarding.community.proposals import proposed_roles
from registration.onboarding.sessions.session import Caller
from registration.onboarding.sessions.sessions import Sessions
from registration.onboarding.wizards.statechart import chart_of
from tests.conftest import check_store
from tests.kit.choice import sampled
from tests.kit.communities import ANSWERS, answers_with

ADA = Caller("ada")
SHORT = answers_with("CHANNEL_STRUCTURE", "/template", "plain") | {
    "ELIGIBILITY_RULES": ANSWERS["ELIGIBILITY_RULES"] | {"template": "holders", "also": []},
    "ROLE_MAPPING": {"roles": proposed_roles({"template": "holders"})},
}
"""A community of one tier: a role, a category with three channels, three permissions."""

STEPS = plan_for(COMMUNITY.document(SHORT)).steps
ALL = range(len(STEPS))


class KilledTarget(JsonTarget):
    """Kills its own process by `kill -9` at one of the calls that make something, before or after it has its effect."""

    def __init__(self, directory, number, after, **options):
        super().__init__(directory, **options)
        self._left = number
        self._after = after

    def _do(self, *call):
        if self._after:
            made = super()._do(*call)
            self._count()
            return made
        self._count()
        return super()._do(*call)

    def _undo(self, *call):
        if self._after:
            came_to = super()._undo(*call)
            self._count()
            return came_to
        self._count()
        return super()._undo(*call)

    def _count(self):
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


class Registry(RegistrationPipeline):
    """One that knows where it is."""

    def __init__(self, root):
        super().__init__(root)
        self.root = root


@pytest.fixture
def place(tmp_path):
    """A target where others have been before."""
    place = tmp_path / "target"
    JsonTarget(place).create_role("others", name="Mods", colour="#000000", permissions=[])
    return place


@pytest.fixture
def registry(root, place):
    """A registry. Its sessions and deployments are verified afterwards."""
    with Registry(root) as registry:
        yield registry
        with opened(registry, place) as sessions:
            assert sessions.health().findings == ()
    if (root / "deployments").exists():
        check_store(open_deployments(root).store)


def opened(registry, place, open_target=JsonTarget):
    deployer = CommunityDeployer(registry.root, place=place, open_target=open_target)
    return Sessions(registry.root, registry=registry, workers={"DEPLOY": deployer})


def failing(*failures):
    return lambda directory: JsonTarget(directory, failures=failures)


def planned(step, **how):
    operation = STEPS[step].operation
    return PlannedFailure(operation, nth=sum(one.operation == operation for one in STEPS[: step + 1]), **how)


def at_deploy(sessions, answers=SHORT, id=None):
    """A session that stands at DEPLOY."""
    session = sessions.start("community-onboarding", ADA, session=id)
    for step in answers:
        session = sessions.process(session.id, answers[step], ADA, step=step)
    session = sessions.process(session.id, {}, ADA, step="REVIEW")
    assert session.state == "DEPLOY"
    return session


def check_complete(registry, place, session):
    """Fail unless the community is there, once and whole, and its manifest is a DRAFT."""
    content = JsonTarget(place).content()
    assert session.state == "COMPLETE"
    assert sorted(role["name"] for role in content["roles"].values()) == ["Holder", "Mods"]
    assert len(content["channels"]) == 4
    assert sum(len(roles) for roles in content["permissions"].values()) == 3
    assert registry.load_state("honey-jar@1.0.0").state == "DRAFT"
    assert session.manifest["id"] == "honey-jar@1.0.0"
    assert [event.action for event in registry.history("honey-jar@1.0.0")] == ["create"]


# -- without the extra -------------------------------------------------------------------------------------------

WITHOUT = """
import json, sys
sys.modules["eth_hash"] = None  # as where the extra is not installed
from click.testing import CliRunner
from registration.cli.app import app
for words in json.load(sys.stdin):
    done = CliRunner().invoke(app, words, prog_name="registration")
    print(json.dumps([done.exit_code, done.stderr]))
"""


def without_the_extra(registry, *lines):
    """The exit code of each command line, and what it said on stderr; all are typed in one process."""
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env={
            **os.environ,
            "REGISTRATION_ROOT": str(registry.root),
            "REGISTRATION_ACTOR": ADA.user,
            "REGISTRATION_SCOPE": ADA.scope,
        },
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_without_the_extra_a_line_to_install_it_comes_before_the_first_question(registry, place):
    """Nothing is begun, asked or gone on with; the line is the next step. A wizard that needs no extra begins."""
    with opened(registry, place) as sessions:
        session = sessions.start("community-onboarding", ADA)

    *refused, cancelled, begun = without_the_extra(
        registry,
        ["wizard", "start", "community-onboarding", "--session", str(session.id)[:-1] + "Z"],
        ["wizard", "resume", session.id],
        ["wizard", "cancel", session.id],
        ["wizard", "start", "mcp-server", "--json"],
    )

    for code, said in refused:
        assert code == 4, said
        assert "eth-hash" in said
        assert "pip install '.[community]'" in said
    assert (cancelled[0], begun[0]) == (0, 0)


@pytest.mark.slow
def test_what_is_written_is_read_and_verified_without_the_extra(registry, place):
    """A community's session, manifest and deployment, from their logs: the extra is for new answers alone."""
    with opened(registry, place) as sessions:
        session = at_deploy(sessions)
        session = sessions.process(session.id, {}, ADA)
        going_on = sessions.start("community-onboarding", ADA)
        for step in ("INIT", "CHAIN_SELECT", "ASSET_CONFIG"):
            going_on = sessions.process(going_on.id, SHORT[step], ADA)
    (registry.root / "manifests" / "honey-jar@1.0.0" / "state.json").unlink()  # so that its log is replayed

    lines = (
        ["show", "honey-jar@1.0.0"],
        ["log", "honey-jar@1.0.0"],
        ["show", "honey-jar@1.0.0", "--version", "1"],
        ["list"],
        ["verify"],
        ["recover"],
        ["wizard", "show", session.id],
        ["wizard", "show", going_on.id],
        ["wizard", "show", going_on.id, "--json"],
        ["wizard", "answers", session.id],
        ["wizard", "list"],
        ["wizard", "health"],
        ["wizard", "matrix", "community-onboarding"],
    )
    for words, (code, said) in zip(lines, without_the_extra(registry, *lines), strict=True):
        assert code == 0, (words, said)


# -- the ways ----------------------------------------------------------------------------------------------------


def test_the_wizard_has_these_states_and_ways():
    """Ten states besides those of every wizard; back from all that ask but the first; from everywhere to FAILED."""
    chart = chart_of(COMMUNITY, "15m")
    asking = [step.name for step in COMMUNITY.steps if step.kind != "work"]
    back = {one.source: one.target for one in chart.transitions if one.action == "back"}

    assert asking == ["INIT", "CHAIN_SELECT", "ASSET_CONFIG", "ELIGIBILITY_RULES", "ROLE_MAPPING", "CHANNEL_STRUCTURE", "REVIEW"]  # fmt: skip
    assert set(chart.leaves) == {*asking, "DEPLOY", "COMPLETE", "FAILED", "EXPIRED", "CANCELLED"}
    assert back == dict(zip(asking[1:], asking, strict=False))
    assert {one.source for one in chart.transitions if one.action == "fail"} == {"IN_PROGRESS", "DEPLOY"}
    jumps = {one.target for one in chart.transitions if one.source == "REVIEW" and "goto" in one.action}
    assert jumps == set(asking) - {"REVIEW"}
    assert [(one.action, one.target) for one in chart.transitions if one.source == "DEPLOY"] == [
        ("complete", "COMPLETE"),
        ("record", "DEPLOY"),
        ("fail", "FAILED"),
    ]


def test_a_session_ends_in_a_community_and_a_draft(registry, place):
    """All answers, a deployment, a manifest."""
    sessions = opened(registry, place)

    done = sessions.process(at_deploy(sessions).id, {}, ADA)

    check_complete(registry, place, done)
    assert registry.load_state("honey-jar@1.0.0").document == COMMUNITY.document(SHORT)


# -- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "no answer"])
@pytest.mark.parametrize("step", sampled(ALL, 0, 4))
def test_a_failure_at_any_step_undoes_all_and_a_restart_ends_it(registry, place, step, refused):
    """The session is FAILED and says why; started again with its answers, it comes to its end."""
    before = JsonTarget(place).content()
    sessions = opened(registry, place, failing(planned(step, refused=refused)))
    session = at_deploy(sessions)

    with pytest.raises(WorkFailed, match="Restart it"):
        sessions.process(session.id, {}, ADA)

    failed = sessions.get(session.id)
    assert (failed.state, failed.stopped["at"]) == ("FAILED", "DEPLOY")
    assert f"{STEPS[step].title} failed" in failed.stopped["reason"]
    assert JsonTarget(place).content() == before
    assert registry.find_state("honey-jar@1.0.0") is None
    again = opened(registry, place)
    again.restart(session.id, ADA)
    again.goto(session.id, "REVIEW", ADA)
    again.process(session.id, {}, ADA)
    check_complete(registry, place, again.process(session.id, {}, ADA))


def test_what_cannot_be_undone_now_keeps_the_session_where_it_is(registry, place):
    """It says what to see to; going on goes on with undoing, and then the session is FAILED."""
    before = JsonTarget(place).content()
    failures = (planned(7, refused=True), PlannedFailure("delete_role"))
    sessions = opened(registry, place, failing(*failures))
    session = at_deploy(sessions)

    with pytest.raises(WorkStuck, match="resume the session"):
        sessions.process(session.id, {}, ADA)

    assert sessions.resume(session.id, ADA).state == "DEPLOY"
    again = opened(registry, place)
    with pytest.raises(WorkFailed):
        again.process(session.id, {}, ADA)
    assert again.get(session.id).state == "FAILED"
    assert JsonTarget(place).content() == before


def test_a_taken_id_is_told_before_anything_is_deployed(registry, place):
    """At the review, where one can still go back."""
    before = JsonTarget(place).content()
    registry.create("honey-jar@1.0.0", COMMUNITY.document(SHORT), actor="bea")

    with pytest.raises(AlreadyExists, match="go back"):
        at_deploy(sessions := opened(registry, place))

    assert sessions.get_active("default", "ada").state == "REVIEW"
    assert JsonTarget(place).content() == before


def test_an_id_that_is_taken_meanwhile_undoes_the_deployment(registry, place):
    """Somebody was faster: all goes back, and the session is FAILED."""
    before = JsonTarget(place).content()
    sessions = opened(registry, place)
    session = at_deploy(sessions)
    registry.create("honey-jar@1.0.0", COMMUNITY.document(SHORT), actor="bea")

    with pytest.raises(WorkFailed, match=r"honey-jar@1\.0\.0"):
        sessions.process(session.id, {}, ADA)

    assert sessions.get(session.id).state == "FAILED"
    assert JsonTarget(place).content() == before


# -- kills -------------------------------------------------------------------------------------------------------


def deploy_killed(root, place, session, number, after, failures):
    def open_target(directory):
        return KilledTarget(directory, number, after, failures=failures)

    with Registry(root) as registry:
        opened(registry, place, open_target).process(session, {}, ADA)


def kill_at(registry, place, session, number, after, failures=()):
    """DEPLOY in a process of its own, killed by `kill -9` at the call of that number."""
    process = multiprocessing.get_context("fork").Process(
        target=deploy_killed, args=(registry.root, place, session, number, after, failures)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", sampled(ALL, 4))
def test_a_deploy_killed_at_any_step_is_gone_on_with(registry, place, step, after):
    """A real kill -9; then `process` comes to the end, with nothing done twice."""
    sessions = opened(registry, place)
    session = at_deploy(sessions)
    kill_at(registry, place, session.id, step, after)

    assert sessions.resume(session.id, ADA).state == "DEPLOY"

    check_complete(registry, place, sessions.process(session.id, {}, ADA))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("back", sampled(ALL, 4))
def test_a_deploy_killed_on_the_way_back_ends_undone(registry, place, back, after):
    """The last step fails, and the process dies while undoing; whoever goes on undoes the rest."""
    before = JsonTarget(place).content()
    sessions = opened(registry, place)
    session = at_deploy(sessions)
    last = len(STEPS) - 1
    counted = last if after else last + 1  # the call that fails has no "after"
    kill_at(registry, place, session.id, counted + back, after, (planned(last, refused=True),))

    with pytest.raises(WorkFailed):
        sessions.process(session.id, {}, ADA)

    assert sessions.get(session.id).state == "FAILED"
    assert JsonTarget(place).content() == before


@pytest.mark.parametrize("step", [0, 4, 7])
def test_a_killed_deploy_can_be_given_up(registry, place, step):
    """What was done, and what may have been, goes back."""
    before = JsonTarget(place).content()
    sessions = opened(registry, place)
    session = at_deploy(sessions)
    kill_at(registry, place, session.id, step, True)

    assert sessions.fail(session.id, "not now", ADA).state == "FAILED"

    assert JsonTarget(place).content() == before


def test_where_it_began_is_remembered(registry, place):
    """Another target is refused; without one, it goes on where it was."""
    session = at_deploy(opened(registry, place))
    kill_at(registry, place, session.id, 3, True)

    with pytest.raises(Rejected, match="stored in the session"):
        opened(registry, place.with_name("other")).process(session.id, {}, ADA)

    assert not place.with_name("other").exists()
    check_complete(registry, place, opened(registry, None).process(session.id, {}, ADA))


def test_a_target_in_no_directory_is_refused(root, tmp_path):
    """Before anybody is asked anything."""
    with pytest.raises(InvalidArgument, match="Create that directory"):
        CommunityDeployer(root, place=tmp_path / "nowhere" / "target")


# -- at a shell --------------------------------------------------------------------------------------------------


def shell(root, *words):
    environment = {"REGISTRATION_ROOT": str(root), "REGISTRATION_ACTOR": "ada"}
    return CliRunner().invoke(app, ["wizard", *words], env=environment)


def start_with(root, tmp_path, answers):
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(answers))
    return shell(root, "start", "community-onboarding", "--answers", str(file))


def test_a_file_of_answers_leads_to_a_draft(registry, tmp_path):
    """Told step by step; where no target is named, the community is kept in the registry."""
    done = start_with(registry.root, tmp_path, SHORT)

    assert done.exit_code == 0
    assert "COMPLETE: honey-jar@1.0.0 is a DRAFT now" in done.stdout
    assert f"8/8  {STEPS[-1].title}" in done.stderr
    assert len(JsonTarget(f"{registry.root}/communities/honey-jar").content()["channels"]) == 4


def test_a_killed_deploy_is_resumed_at_a_shell(registry, place):
    """`wizard resume` needs nothing besides."""
    session = at_deploy(opened(registry, place))
    kill_at(registry, place, session.id, 4, True)

    resumed = shell(registry.root, "resume")

    assert resumed.exit_code == 0, resumed.output
    check_complete(registry, place, opened(registry, place).get(session.id))


TIERS = [{"name": "Low", "at_least": "100", "below": "1000"}, {"name": "High", "at_least": "500"}]


@pytest.mark.parametrize(
    ("step", "at", "value", "told"),
    [
        ("ASSET_CONFIG", "/assets/0/address", "0xFCBD14DC51f0A4d49d5E53C2E0950e0bC26d0dce", "write 0xFCBD14DC51f0A4d49d5E53C2E0950e0bC26d0Dce"),
        ("ELIGIBILITY_RULES", "", ANSWERS["ELIGIBILITY_RULES"] | {"template": "free", "tiers": TIERS}, "overlap: a holder of 500 would be in both; end 'Low' below 500, or begin 'High' at 1000"),
        ("CHAIN_SELECT", "/chains/0", "berachian", "did you mean 'berachain'?"),
        ("INIT", "/colour", "red", "INIT/colour: unknown field"),
    ],
    ids=["checksum", "overlap", "chain", "unknown field"],
)  # fmt: skip
def test_a_wrong_answer_is_told_with_what_is_right(registry, tmp_path, step, at, value, told):
    """The session stands at that step, and everything before it is kept."""
    answers = SHORT | {step: value} if not at else answers_with(step, at, value, SHORT)

    refused = start_with(registry.root, tmp_path, answers)

    assert refused.exit_code == 4
    assert told in refused.stderr
    assert "Correct it and answer again." in refused.stderr
    with opened(registry, None) as sessions:
        assert sessions.get_active("default", "ada").state == step
