"""The saga: failures and kills at every step, and the target ends complete or as it was, with nothing done twice."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration import RegistrationPipeline
from registration.core.interpreter import steps as steps_from
from registration.engine.engine import Engine
from registration.errors import (
    GuardRefused,
    IdempotencyMismatch,
    InvalidArgument,
    InvalidDocument,
    NotFound,
    RegistrationError,
)
from registration.onboarding.community import COMMUNITY
from registration.onboarding.community.deploying import (
    Deployment,
    DeploymentPlan,
    DeploymentStep,
    JsonTarget,
    PlannedFailure,
    open_deployments,
    plan_for,
)
from registration.onboarding.community.deploying.lifecycle import CHART, DEPLOYMENT
from registration.onboarding.community.deploying.plans import plan_from
from registration.onboarding.community.deploying.saga import AREA, Deployments, next_move
from registration.onboarding.community.deploying.target import UNDO_OF
from registration.onboarding.community.proposals import proposed_roles
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile
from registration.storage.memory import open_memory
from registration.testing import FakeClock, SimulatedDisk
from registration.testing.simulated_disk import Fault, PowerCut
from registration.values.commands import Command
from tests.conftest import check_store
from tests.kit.builders import SOURCE, is_thorough, tries
from tests.kit.communities import ANSWERS, answers_with
from tests.kit.totals import counter

ID = "wiz_1.1"
MANIFEST = COMMUNITY.document(ANSWERS)
PLAN = plan_for(MANIFEST)
SHORT = plan_for(
    COMMUNITY.document(
        answers_with("CHANNEL_STRUCTURE", "/template", "plain")
        | {
            "ELIGIBILITY_RULES": {
                "template": "holders",
                "asset": "HONEY",
                "also": [],
                "measure": "amount",
                "tiers": [],
            },
            "ROLE_MAPPING": {"roles": proposed_roles({"template": "holders"})},
        }
    )
)
"""A community of one tier: a role, a category with three channels, three permissions."""

SMALL = DeploymentPlan(
    "small@1.0.0",
    (
        DeploymentStep("create_role", "create the role 'Gold'", {"name": "Gold", "colour": "#F1C40F", "permissions": ["speak"]}),
        DeploymentStep("create_channel", "create the category 'C'", {"name": "C", "kind": "category"}, {"category": None}),
        DeploymentStep("create_channel", "create the channel 'c'", {"name": "c", "kind": "text"}, {"category": 1}),
        DeploymentStep("set_permission", "let 'Gold' write in 'c'", {"access": "write"}, {"channel": 2, "role": 0}),
    ),
)  # fmt: skip
DOOMED = DeploymentPlan(
    "doomed@1.0.0",
    (*SMALL.steps, DeploymentStep("create_role", "create the role 'Mods'", {"name": "Mods", "colour": "#000000", "permissions": []})),
)  # fmt: skip
"""Its last step is refused for ever: there is such a role already."""

FULL = {
    "roles": {"r2": {"name": "Gold", "colour": "#F1C40F", "permissions": ["speak"]}},
    "channels": {
        "c3": {"name": "C", "kind": "category", "category": None},
        "c4": {"name": "c", "kind": "text", "category": "c3"},
    },
    "permissions": {"c4": {"r2": {"access": "write", "set_by": f"{ID}:3"}}},
}
"""What `SMALL` makes beside what was there before."""


def before_it(directory, disk=None):
    """Somebody has been here before: a role of others. The community as it is then."""
    target = JsonTarget(directory, disk=disk)
    target.create_role("others", name="Mods", colour="#000000", permissions=["manage_messages"])
    return target.content()


def with_small(before):
    return {name: {**before[name], **FULL[name]} for name in before}


@pytest.fixture
def place(root, tmp_path):
    """A registry, and where the target's file goes. Whatever was deployed is verified to the byte afterwards."""
    RegistrationPipeline(root).close()
    yield tmp_path / "community"
    if (root / AREA).exists():
        check_store(open_deployments(root).store)


def failing(step, plan=SHORT, **how):
    """The failure of that step's own call."""
    operation = plan.steps[step].operation
    nth = sum(one.operation == operation for one in plan.steps[: step + 1])
    return PlannedFailure(operation, nth=nth, **how)


def failing_undo(step, failed_at, plan=SHORT, **how):
    """The failure of that step's undo, where everything from the failed step backwards is taken back."""
    operation = plan.steps[step].operation
    nth = sum(one.operation == operation for one in plan.steps[step : failed_at + 1])
    return PlannedFailure(UNDO_OF[operation], nth=nth, **how)


def actions(deployments, id=ID):
    return [event.action for event in deployments.store.read(id)]


# -- plans -------------------------------------------------------------------------------------------------------


def test_a_plan_makes_roles_then_channels_then_permissions():
    """Each refers to what was made before it, and nothing that a tier can't see has a step."""
    operations = [step.operation for step in PLAN.steps]

    assert operations == ["create_role"] * 3 + ["create_channel"] * 8 + ["set_permission"] * 15
    assert plan_from(json.loads(json.dumps(PLAN.as_document()))) == PLAN
    assert plan_for(MANIFEST) == PLAN


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(kind="community"), "it is not a deployment of format 1"),
        (lambda d: d.update(format=2), "it is not a deployment of format 1"),
        (lambda d: d["steps"][0].pop("title"), "a step lacks members"),
        (lambda d: d.update(steps=[1]), "a step lacks members"),
        (lambda d: d["steps"][0].update(do="drop"), "at /steps/0: unknown operation 'drop'"),
        (lambda d: d["steps"][0]["with"].pop("name"), "create_role takes colour, name, permissions"),
        (lambda d: d["steps"][2].update(refers={"category": 2}), "at /steps/2: it refers to step 2, which is not before it"),
        (lambda d: d["steps"][2].update(refers={"category": -1}), "it refers to step -1"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_carried_out_is_refused(change, told):
    """Before anything is done at a target."""
    document = json.loads(json.dumps(SMALL.as_document()))
    change(document)

    with pytest.raises(InvalidDocument) as refused:
        plan_from(document)

    assert told in str(refused.value)


# -- forward -----------------------------------------------------------------------------------------------------


def test_a_deployment_makes_the_community_of_the_manifest(root, place):
    """Every role, channel and permission of it; before and after each call stands an event."""
    deployments = open_deployments(root, actor="ada")
    deployments.start(ID, PLAN)

    done = deployments.run(ID, target := JsonTarget(place))

    content = target.content()
    assert done.is_deployed
    assert [role["name"] for role in content["roles"].values()] == ["Bronze", "Silver", "Gold"]
    assert {
        (content["channels"][channel]["name"], content["roles"][role]["name"], given["access"])
        for channel, roles in content["permissions"].items()
        for role, given in roles.items()
    } == {
        (channel["name"], tier, access)
        for category in MANIFEST["categories"]
        for channel in category["channels"]
        for tier, access in channel["access"].items()
    }
    assert actions(deployments) == ["plan", *["begin", "finish"] * len(PLAN.steps), "complete"]
    assert done.describe() == "honey-jar@1.0.0 is deployed: 26 steps done."


def test_each_step_is_told(root, place):
    """Whoever waits sees how far it is."""
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    told = []

    deployments.run(ID, JsonTarget(place), told=lambda one: told.append(one.describe()))

    assert told[0] == "small@1.0.0 is being deployed: 0 of 4 steps done; next: create the role 'Gold'."
    assert told[-2] == "small@1.0.0 is being deployed: 4 of 4 steps done."
    assert told[-1] == "small@1.0.0 is deployed: 4 steps done."


def test_a_deployment_that_is_over_is_left_alone(root, place):
    """Running it again does nothing, also where the target has changed since."""
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    deployments.run(ID, JsonTarget(place))
    events = actions(deployments)

    done = deployments.run(ID, JsonTarget(place.with_name("another")))

    assert done.is_deployed
    assert actions(deployments) == events
    assert not place.with_name("another").exists()


# -- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "no answer"])
@pytest.mark.parametrize("step", range(len(SHORT.steps)))
def test_a_step_that_fails_takes_everything_back(root, place, step, refused):
    """Whichever it is, the community ends as it was, and why is told."""
    before = before_it(place)
    deployments = open_deployments(root)
    deployments.start(ID, SHORT)

    done = deployments.run(ID, target := JsonTarget(place, failures=[failing(step, refused=refused)]))

    assert done.is_undone
    assert target.content() == before
    assert done.failure["step"] == step
    assert f"{SHORT.steps[step].title} failed: {SHORT.steps[step].operation}" in done.describe()
    undone = [e.data["context"]["step"] for e in deployments.store.read(ID) if e.action == "finish_undo"]
    assert undone == list(range(step, -1, -1))


@pytest.mark.parametrize("step", range(len(SHORT.steps)))
def test_an_answer_that_got_lost_is_asked_for(root, place, step):
    """What was done is found by its key: nothing is done twice, and nothing is taken back for it."""
    deployments = open_deployments(root)
    deployments.start(ID, SHORT)
    reference = JsonTarget(place.with_name("reference"))
    deployments.start("wiz_2", SHORT)
    deployments.run("wiz_2", reference)

    done = deployments.run(ID, target := JsonTarget(place, failures=[failing(step, when="after")]))

    assert done.is_deployed
    assert json.dumps(target.content()).replace(ID, "wiz_2") == json.dumps(reference.content())


@pytest.mark.parametrize("step", range(len(SMALL.steps)))
def test_where_nobody_can_tell_whether_it_was_done_it_is_taken_back(root, place, step):
    """The call had its effect, its answer got lost, and asking fails as well."""
    before = before_it(place)
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    lost = [failing(step, SMALL, when="after"), PlannedFailure("find")]

    done = deployments.run(ID, target := JsonTarget(place, failures=lost))

    assert done.is_undone
    assert target.content() == before


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", range(len(SHORT.steps)))
def test_an_undo_that_fails_is_recorded_told_and_tried_again(root, place, step, when):
    """The way back stops there, says what to see to, and the next run goes on from there."""
    before = before_it(place)
    last = len(SHORT.steps) - 1
    deployments = open_deployments(root)
    deployments.start(ID, SHORT)
    failures = [failing(last, refused=True), failing_undo(step, last, when=when)]

    stuck = deployments.run(ID, target := JsonTarget(place, failures=failures))

    assert stuck.state == "STUCK"
    assert not stuck.has_ended
    assert stuck.stuck["step"] == step
    assert (
        f"{step + 1} of 8 steps left to roll back; the rollback of this step failed: {SHORT.steps[step].title}"
        in stuck.describe()
    )
    assert stuck.describe().endswith("Fix that, then run the deployment again: it continues from there.")
    done = open_deployments(root).run(ID, target)
    assert done.is_undone
    assert done.stuck is None
    assert target.content() == before
    assert actions(deployments).count("fail_undo") == actions(deployments).count("retry") == 1


def test_an_undo_that_keeps_failing_is_tried_once_a_run(root, place):
    """A run always ends; each attempt is recorded."""
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    target = JsonTarget(
        place,
        failures=[failing(3, SMALL, refused=True), PlannedFailure("delete_role", times=3, refused=True)],
    )

    for attempt in (1, 2, 3):
        assert deployments.run(ID, target).state == "STUCK"
        assert actions(deployments).count("fail_undo") == attempt

    assert deployments.run(ID, target).is_undone
    assert target.content()["roles"] == {}


def test_what_others_did_meanwhile_is_not_undone(root, place):
    """Somebody made the permission theirs while the deployment was stuck: it stays, and is told."""
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    deployments.run(ID, JsonTarget(place, failures=[failing(3, SMALL, when="after"), PlannedFailure("find"), PlannedFailure("restore_permission")]))  # fmt: skip
    target = JsonTarget(place)
    target.set_permission("theirs", channel="c3", role="r1", access="read")

    done = deployments.run(ID, target)

    assert done.is_undone
    assert done.left == ("let 'Gold' write in 'c'",)
    assert done.describe().endswith("Changed by others since, and left in place: let 'Gold' write in 'c'.")


class Overtaken(JsonTarget):
    """What it makes is taken back before its answer gets lost: somebody closed the key meanwhile."""

    def create_channel(self, key, **said):
        super().create_channel(key, **said)
        self.delete_channel(key)
        raise ConnectionResetError


def test_what_was_taken_back_meanwhile_is_not_counted_as_done(root, place):
    """Found by its key, but closed: the step failed, and all goes back."""
    before = before_it(place)
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)

    done = deployments.run(ID, target := Overtaken(place))

    assert done.is_undone
    assert done.failure["step"] == 1
    assert target.content() == before


def test_a_key_that_was_used_for_something_else_is_no_answer(root, place):
    """As where a registry was put back from a copy: what its keys did before is not taken for what is asked now."""
    JsonTarget(place).create_role(f"{ID}:0", name="Another", colour="#000000", permissions=[])
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)

    done = deployments.run(ID, JsonTarget(place))

    assert done.is_undone
    assert "was used for another request" in done.describe()


class Foreign(JsonTarget):
    """Code of somebody else, which raises what it likes."""

    def create_channel(self, key, **said):
        raise ConnectionResetError(104, "Connection reset by peer")


def test_whatever_a_target_raises_takes_everything_back(root, place):
    """Its own errors, those of the network, anything that is an error at all."""
    before = before_it(place)
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)

    done = deployments.run(ID, target := Foreign(place))

    assert done.is_undone
    assert target.content() == before
    assert "ConnectionResetError: [Errno 104] Connection reset by peer" in done.describe()


class Interrupted(JsonTarget):
    """Somebody presses Ctrl-C while a call is on its way, before or after its effect."""

    after = False

    def create_channel(self, key, **said):
        if self.after:
            super().create_channel(key, **said)
        raise KeyboardInterrupt


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupted_run_is_gone_on_with(root, place, after):
    """Ctrl-C is no failure: nothing is taken back, and nothing is done twice."""
    before = before_it(place)
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    target = Interrupted(place)
    target.after = after
    with pytest.raises(KeyboardInterrupt):
        deployments.run(ID, target)
    assert deployments.get(ID).state == "DOING"

    done = deployments.run(ID, target := JsonTarget(place))

    assert done.is_deployed
    assert target.content() == with_small(before)


def test_somebody_who_is_told_may_stop_the_run(root, place):
    """What the callback raises ends the run; the next one goes on."""
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)

    def stop(deployment):
        if deployment.state == "DOING":
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        deployments.run(ID, JsonTarget(place), told=stop)

    assert deployments.run(ID, JsonTarget(place)).is_deployed


def test_a_call_that_comes_too_late_finds_its_key_closed(root, place):
    """A runner that was suspended in the middle of a call wakes up when others have taken everything back."""
    before = before_it(place)
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    others = open_deployments(root)

    class Suspended(JsonTarget):
        def create_channel(self, key, **said):
            others.run(ID, JsonTarget(place, failures=[PlannedFailure("create_channel", refused=True)]))
            return super().create_channel(key, **said)

    done = deployments.run(ID, Suspended(place))

    assert done.is_undone
    assert JsonTarget(place).content() == before


def test_a_failure_is_recorded_and_told_and_says_nothing_else(root, place, caplog):
    """It stands in the log of the deployment and in what `run` gives: a warning beside it would tell people twice."""
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    failures = [failing(3, SMALL, refused=True), PlannedFailure("delete_role")]

    deployments.run(ID, JsonTarget(place, failures=failures))

    assert [record for record in caplog.records if record.levelname != "INFO"] == []


# -- giving up ---------------------------------------------------------------------------------------------------


def test_a_deployment_that_was_given_up_is_taken_back(root, place):
    """Between two steps, with a reason; then it goes back like after a failure."""
    before = before_it(place)
    deployments = open_deployments(root, actor="ada")
    deployments.start(ID, SMALL)

    def stop(deployment):
        if deployment.state == "READY" and len(deployment.snapshot.facts.get("ids", ())) == 2:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        deployments.run(ID, JsonTarget(place), told=stop)

    assert deployments.give_up(ID, "the wrong community").state == "RETURNING"
    done = deployments.run(ID, target := JsonTarget(place))

    assert done.is_undone
    assert target.content() == before
    assert "it was abandoned: the wrong community." in done.describe()
    assert deployments.give_up(ID, "again").snapshot == done.snapshot


def test_a_step_that_was_begun_goes_back_too(root, place):
    """Nobody knows what became of it, so it is taken back as if it had been done."""
    before = before_it(place)
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    target = Interrupted(place)
    with pytest.raises(KeyboardInterrupt):
        deployments.run(ID, target)

    deployments.give_up(ID, "enough")

    assert deployments.run(ID, JsonTarget(place)).is_undone
    assert JsonTarget(place).content() == before


def test_what_is_deployed_can_be_given_up(root, place):
    """All of it goes back, and why is told."""
    before = before_it(place)
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    assert deployments.run(ID, JsonTarget(place)).is_deployed

    deployments.give_up(ID, "nobody came")

    done = deployments.run(ID, JsonTarget(place))
    assert done.describe().endswith("all completed steps were rolled back: it was abandoned: nobody came.")
    assert JsonTarget(place).content() == before


# -- starting ----------------------------------------------------------------------------------------------------


def test_starting_again_gives_what_there_is(root, place):
    """The same id with the same plan is the same deployment, however far it is; with another it is a mistake."""
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)
    done = deployments.run(ID, JsonTarget(place))

    assert deployments.start(ID, SMALL).snapshot == done.snapshot
    with pytest.raises(IdempotencyMismatch):
        deployments.start(ID, PLAN)


def test_what_cannot_be_started_is_refused(root, place):
    """An empty plan, one that refers forward, an id that is none, a deployment that isn't there."""
    deployments = open_deployments(root)

    with pytest.raises(InvalidArgument, match="has no steps"):
        deployments.start(ID, DeploymentPlan("empty", ()))
    with pytest.raises(InvalidDocument, match="not before it"):
        deployments.start(
            ID,
            DeploymentPlan(
                "x", (DeploymentStep("create_channel", "t", {"name": "c", "kind": "text"}, {"category": 0}),)
            ),
        )
    with pytest.raises(InvalidArgument, match="invalid manifest id"):
        deployments.start("a b", SMALL)
    with pytest.raises(NotFound, match="There is no deployment 'nothing'"):
        deployments.run("nothing", JsonTarget(place))
    assert deployments.get(ID) is None


def test_without_a_registry_there_is_no_deployment(tmp_path):
    """It is refused, and nothing is made."""
    with pytest.raises(NotFound):
        open_deployments(tmp_path / "nowhere")


# -- the lifecycle -----------------------------------------------------------------------------------------------


def test_the_table_in_the_lifecycle_is_the_chart():
    """Each row is a transition, and each transition has a row."""
    from registration.onboarding.community.deploying import lifecycle

    rows = [
        line.split()[:3]
        for line in lifecycle.__doc__.splitlines()
        if "  " in line and not line.startswith("from")
    ]
    told = {
        (None if source == "(none)" else source, action, target)
        for source, action, target in rows
        if "=" not in source
    }

    assert told == {(one.source, one.action, one.target) for one in CHART.transitions}


def test_only_the_step_whose_turn_it_is_can_be_spoken_of(root, place):
    """An event of another step, or an end that is none yet, is refused before it is written."""
    deployments = open_deployments(root)
    deployments.start(ID, SMALL)

    for action, context in (("begin", {"step": 1}), ("complete", None), ("begin", None)):
        with pytest.raises(GuardRefused, match="step 0 is next"):
            deployments._engine.execute(Command(stream=ID, action=action, context=context))

    assert actions(deployments) == ["plan"]


def test_every_state_but_an_end_has_a_next_move():
    """Whatever is loaded after a crash, it is known what to do."""
    deployments = Deployments(
        Engine(open_memory(SOURCE, DEPLOYMENT), clock=FakeClock(), random_source=random.Random(1))
    )
    deployments.start(ID, SMALL)
    seen = {}

    def note(deployment: Deployment):
        seen[deployment.state] = next_move(deployment.snapshot)

    target = ForgetfulTarget([failing(3, SMALL, refused=True), PlannedFailure("delete_role", refused=True)])
    deployments.run(ID, target, told=note)
    deployments.run(ID, target, told=note)
    assert seen.keys() == set(CHART.leaves) - {"READY", "DEPLOYED"} | {"READY"}
    assert {state: move.action if move else None for state, move in seen.items()} == {
        "READY": "begin",
        "DOING": "finish",
        "RETURNING": "close",
        "UNDOING": "finish_undo",
        "STUCK": "retry",
        "UNDONE": None,
    }
    for state, move in seen.items():
        assert move is None or move.action in steps_from(CHART, state)


class ForgetfulTarget(JsonTarget):
    """A target in memory: the real one on a disk that is simulated."""

    def __init__(self, failures=()):
        self.disk = SimulatedDisk()
        super().__init__("/community", failures=failures, disk=self.disk)


some_failures = st.lists(
    st.builds(
        PlannedFailure,
        operation=st.sampled_from(["find", *UNDO_OF, *UNDO_OF.values()]),
        nth=st.integers(1, 6),
        when=st.sampled_from(["before", "after"]),
        refused=st.booleans(),
        times=st.integers(1, 3),
    ),
    max_size=4,
)


@tries(150)
@given(some_failures)
def test_whatever_fails_it_ends_complete_or_as_it_was(failures):
    """Any failures in any calls, `find` and undos included: with enough runs it ends, and in one of the two."""
    deployments = Deployments(
        Engine(open_memory(SOURCE, DEPLOYMENT), clock=FakeClock(), random_source=random.Random(1))
    )
    target = ForgetfulTarget(failures)
    before = before_it("/community", target.disk)
    deployments.start(ID, SMALL)

    for runs in count(1):
        done = deployments.run(ID, target)
        if done.has_ended:
            break
        assert runs < 30

    assert target.content() == (with_small(before) if done.is_deployed else before)


# -- kills -------------------------------------------------------------------------------------------------------


class KillingDisk(PosixDisk):
    """The real disk, until this very process is killed by `kill -9`, in place of the call of that number.

    Only those count that change something or sync: being killed before one that looks is being killed before the next.
    """

    def __init__(self, number):
        self._left = number

    def _count(self):
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, fd, data):
        self._count()
        return super().write(fd, data)

    def sync(self, fd):
        self._count()
        super().sync(fd)

    def sync_data(self, fd):
        self._count()
        super().sync_data(fd)

    def rename(self, source, target, *, dir_fd):
        self._count()
        super().rename(source, target, dir_fd=dir_fd)

    def make_directory(self, path, mode, *, dir_fd=None):
        self._count()
        super().make_directory(path, mode, dir_fd=dir_fd)

    def truncate(self, fd, size_bytes):
        self._count()
        super().truncate(fd, size_bytes)

    def unlink(self, path, *, dir_fd):
        self._count()
        super().unlink(path, dir_fd=dir_fd)


def deploy(root, community, plan, disk):
    deployments = open_deployments(root, disk=disk)
    deployments.start(ID, plan)
    deployments.run(ID, JsonTarget(community, disk=disk))


def killed_at(number, root, community, plan):
    deploy(root, community, plan, KillingDisk(number))


@pytest.mark.torture
@pytest.mark.parametrize("plan", [SMALL, DOOMED], ids=["to the end", "and back"])
def test_a_process_killed_at_any_system_call_is_gone_on_with(tmp_path, request, plan):
    """A real process, a real kill -9, in place of each system call in turn; another process goes on from there.

    The target ends complete, or as it was; each key was used for one thing, once.
    """
    killed = counter(request.config, "processes killed while deploying")
    context = multiprocessing.get_context("fork")
    for number in count(1):
        here = tmp_path / str(number)
        RegistrationPipeline(here / "registry").close()
        before = before_it(here / "community")
        process = context.Process(
            target=killed_at, args=(number, here / "registry", here / "community", plan)
        )
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        killed(1)

        deploy(here / "registry", here / "community", plan, None)

        check_ended(here / "registry", here / "community", plan, before)
    assert number > 70


def check_ended(root, community, plan, before, disk=None):
    """Fail unless the deployment ended, the target is complete or as it was, and nothing was done twice."""
    deployments = open_deployments(root, disk=disk)
    target = JsonTarget(community, disk=disk)
    done = deployments.get(ID)
    assert done is not None
    assert done.is_deployed if plan is SMALL else done.is_undone
    assert target.content() == (with_small(before) if plan is SMALL else before)
    finished = [e.data["context"]["step"] for e in deployments.store.read(ID) if e.action == "finish"]
    assert finished == [0, 1, 2, 3]
    check_store(deployments.store)


ROOT = "/registry"
REGISTRY = RegistryFile(
    "019b76da-a800-75b1-a522-4a58b791f1d8",
    "2026-01-01T00:00:00.000000Z",
    "registration",
    lifecycle=REGISTRATION.identity,
)


def made_simulated():
    disk = SimulatedDisk()
    open_files(ROOT, REGISTRATION, wanted=REGISTRY, lifecycle=REGISTRATION.data, disk=disk).close()
    return disk


def simulated(disk):
    clock = FakeClock()
    store = open_deployments(ROOT, disk=disk).store
    return Deployments(Engine(store, clock=clock, random_source=random.Random(1), sleep=lambda _: None))


def deploy_simulated(disk, plan):
    deployments = simulated(disk)
    deployments.start(ID, plan)
    return deployments.run(ID, JsonTarget("/community", disk=disk))


@pytest.mark.torture
@pytest.mark.parametrize("plan", [SMALL, DOOMED], ids=["to the end", "and back"])
def test_a_power_cut_anywhere_is_gone_on_with(request, plan):
    """Registry and target lose power together, at every system call; what is found is gone on with.

    Each legal aftermath, a choice of them where there are many: of the log, of the snapshot, and of the target's file.
    """
    looked_at = counter(request.config, "disks deployed on after a power cut")
    made = made_simulated()
    before = before_it("/community", made)
    for cut_at in count(1):
        disk = made.killed()
        disk.cut_at = cut_at
        try:
            deploy_simulated(disk, plan)
            break
        except PowerCut:
            pass
        for after in disk.after_power_cut(random.Random(cut_at), 6 if is_thorough() else 4):
            looked_at(1)

            done = deploy_simulated(after, plan)

            target = JsonTarget("/community", disk=after)
            assert done.is_deployed if plan is SMALL else done.is_undone
            assert target.content() == (with_small(before) if plan is SMALL else before)
    assert cut_at > 50


FAILING = (
    "open",
    "write",
    "sync",
    "sync_data",
    "rename",
    "read",
    "status",
    "status_at",
    "lock",
    "make_directory",
)


@pytest.mark.torture
@pytest.mark.parametrize("operation", FAILING)
@pytest.mark.parametrize("plan", [SMALL, DOOMED], ids=["to the end", "and back"])
def test_a_system_call_that_fails_anywhere_is_gone_on_with(request, plan, operation):
    """The disk fails once, wherever, of the registry or of the target: the run says so, or goes back; the next one ends it."""
    failed = counter(request.config, "failing system calls while deploying")
    made = made_simulated()
    before = before_it("/community", made)
    for nth in count(1):
        disk = made.killed()
        disk.fault = Fault(operation, nth, errno.EIO, evict=bool(nth % 2))
        with suppress(RegistrationError):
            deploy_simulated(disk, plan)
        if not disk.failed:
            break
        failed(1)
        disk.fault = None

        done = deploy_simulated(disk, plan)

        assert done.has_ended
        content = JsonTarget("/community", disk=disk).content()
        assert content == (with_small(before) if done.is_deployed else before)
    assert nth > 1


def run_it(root, community, plan, failures=()):
    deployments = open_deployments(root)
    deployments.start(ID, plan)
    deployments.run(ID, JsonTarget(community, failures=failures))


@pytest.mark.parametrize("plan", [SMALL, DOOMED], ids=["to the end", "and back"])
def test_several_processes_that_run_it_at_once_do_no_harm(root, place, plan):
    """Each event is written once, each call has its effect once, and all of them end."""
    before = before_it(place)
    context = multiprocessing.get_context("fork")
    runners = [context.Process(target=run_it, args=(root, place, plan)) for _ in range(4)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()

    assert [runner.exitcode for runner in runners] == [0] * 4
    check_ended(root, place, plan, before)
