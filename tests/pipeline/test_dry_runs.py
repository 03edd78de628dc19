"""Dry runs: what a command would come to, decided as it would be decided, with not a byte written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registration import (
    AlreadyExists,
    GuardRefused,
    IdempotencyMismatch,
    IllegalTransition,
    InvalidArgument,
    InvalidDocument,
    LeaseHeld,
    NameTaken,
    NotFound,
    PinMismatch,
    RegistrationPipeline,
    Rejected,
    VersionConflict,
    open_memory,
)
from registration.engine.registry import OpenRegistry
from registration.engine.spilled import Spilled
from registration.engine.trial import Trial
from registration.errors import Next
from registration.rules.lifecycles.registration import REGISTRATION
from registration.testing import FakeClock
from tests.kit.policies import put_in_force
from tests.kit.typed import run

WEATHER = {"name": "weather", "version": "1.0.0"}
SOURCE = "urn:uuid:01a1fcdf-67de-7635-b5e5-5a6d9d430ded"
POLICY = '[refusals]\nlog = true\n\n[[guards]]\nguard = "not_the_author"\nactions = ["approve"]\n'


def tree(root):
    """Every file below a directory, with its bytes and when it was changed."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(root.rglob("*"))
    }


@pytest.fixture
def pipeline(root):
    """A registry with a policy, in which `draft` waits to be submitted, `read` to be approved, and `done` holds a name."""
    with RegistrationPipeline(root, actor="ada", lifecycle="registration-upkeep") as pipeline:
        put_in_force(pipeline, POLICY)
        pipeline.create("draft", WEATHER)
        pipeline.create("read", {"name": "other", "version": "1.0.0"}, idempotency_key="first")
        pipeline.submit_for_review("read")
        pipeline.create("done", WEATHER)
        pipeline.submit_for_review("done")
        pipeline.approve("done", actor="bea")
        pipeline.register("done")
        pipeline.names.set_alias("weather", "stable", "1.0.0")
        pipeline.create("taken", WEATHER)
        pipeline.submit_for_review("taken")
        pipeline.approve("taken", actor="bea")
        list(pipeline.list())
        yield pipeline


COMMANDS = {
    "create": lambda p, **dry: p.create_with_result("new", {"name": "new"}, comment="c", **dry),
    "revise": lambda p, **dry: p.revise("draft", {"name": "weather", "version": "1.0.1"}, **dry),
    "submit": lambda p, **dry: p.submit_for_review("draft", **dry),
    "approve": lambda p, **dry: p.approve("read", actor="bea", idempotency_key="k", **dry),
    "reject": lambda p, **dry: p.reject("read", reason="no licence", **dry),
    "act": lambda p, **dry: p.act("done", "suspend", reason="gone", **dry),
    "transition": lambda p, **dry: p.transition_state(
        "read", "APPROVED", {"reason": "read"}, actor="bea", **dry
    ),
    "undo": lambda p, **dry: p.undo("read", reason="too early", **dry),
    "tag": lambda p, **dry: p.tag("read", ["team/maps"], **dry),
    "again": lambda p, **dry: p.create_with_result(
        "read", {"name": "other", "version": "1.0.0"}, idempotency_key="first", **dry
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_dry_run_says_what_the_command_then_does(pipeline, root, name):
    """The same event but for its time and ids, the same state, the same answer to a repeated call; and nothing is written."""
    before = tree(root)

    tried = COMMANDS[name](pipeline, dry_run=True)

    assert tree(root) == before
    done = COMMANDS[name](pipeline)
    assert (tried.dry_run, done.dry_run) == (True, False)
    assert (tried.event.type, tried.event.version, tried.event.data) == (
        done.event.type,
        done.event.version,
        done.event.data,
    )
    assert (tried.snapshot.state, tried.snapshot.document, tried.replayed) == (
        done.snapshot.state,
        done.snapshot.document,
        done.replayed,
    )
    assert tried.next_steps() == done.next_steps()


REFUSED = {
    "unknown": (NotFound, lambda p, **dry: p.approve("nothing", **dry)),
    "its own author": (GuardRefused, lambda p, **dry: p.approve("read", **dry)),
    "no such move": (IllegalTransition, lambda p, **dry: p.register("draft", **dry)),
    "no reason": (GuardRefused, lambda p, **dry: p.reject("read", reason=None, **dry)),
    "name taken": (NameTaken, lambda p, **dry: p.register("taken", **dry)),
    "id taken": (AlreadyExists, lambda p, **dry: p.create("read", {"name": "x"}, **dry)),
    "another request": (
        IdempotencyMismatch,
        lambda p, **dry: p.create("read", {"name": "x"}, idempotency_key="first", **dry),
    ),
    "version": (VersionConflict, lambda p, **dry: p.submit_for_review("draft", expected_version=7, **dry)),
    "head": (PinMismatch, lambda p, **dry: p.submit_for_review("draft", expected_head="0" * 64, **dry)),
    "document": (InvalidDocument, lambda p, **dry: p.create("new", b"{", **dry)),
    "word": (InvalidArgument, lambda p, **dry: p.submit_for_review("draft", actor="", **dry)),
    "nothing to undo": (Rejected, lambda p, **dry: p.undo("draft", **dry)),
    "tag": (InvalidArgument, lambda p, **dry: p.tag("draft", "no tag", **dry)),
    "alias": (NotFound, lambda p, **dry: p.names.set_alias("weather", "lts", "9.9.9", **dry)),
    "no alias": (NotFound, lambda p, **dry: p.names.remove_alias("weather", "lts", **dry)),
    "nothing to break": (NotFound, lambda p, **dry: p.work.break_claim("draft", reason="r", **dry)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_dry_run_is_refused_as_the_command_is(pipeline, root, name):
    """With the same error, down to its details; and not even the refusal is noted."""
    kind, command = REFUSED[name]
    before = tree(root)

    with pytest.raises(kind) as tried:
        command(pipeline, dry_run=True)

    assert tree(root) == before
    with pytest.raises(kind) as done:
        command(pipeline)
    assert tried.value.as_json() == done.value.as_json()


def test_a_dry_run_of_an_alias_says_what_it_would_point_at(pipeline, root):
    """And a removal is only decided."""
    before = tree(root)

    target = pipeline.names.set_alias("weather", "lts", "stable", dry_run=True)
    pipeline.names.remove_alias("weather", "stable", dry_run=True)

    assert (target.manifest_id, tree(root)) == ("done", before)
    assert set(pipeline.names.aliases("weather")) == {"latest", "stable"}


def test_a_dry_run_finishes_nothing_that_a_crash_left(pipeline, root):
    """Whoever resolves the latest version moves the alias that a crash kept from moving; a dry run leaves that as well."""
    names = pipeline._registry.names
    whole, names.move_latest = names.move_latest, lambda *_, **__: False
    pipeline.create("later", {"name": "weather", "version": "2.0.0"})
    pipeline.submit_for_review("later")
    pipeline.approve("later", actor="bea")
    pipeline.register("later")
    names.move_latest = whole
    before = tree(root)

    target = pipeline.names.set_alias("weather", "lts", "latest", dry_run=True)

    assert (target.manifest_id, tree(root)) == ("later", before)
    assert pipeline.names.aliases("weather")["latest"].manifest_id == "done"


def test_claims_are_tried_as_well(pipeline, root):
    """Who has one extends it, everybody else is refused; breaking one is decided, and breaks nothing."""
    before = tree(root)
    would = pipeline.work.claim("draft", actor="bea", for_s=60, dry_run=True)
    assert (would.holder, would.number, would.token, tree(root)) == ("bea", 0, "", before)

    claim = pipeline.work.claim("draft", actor="bea", for_s=60)
    claimed = tree(root)
    with pytest.raises(LeaseHeld):
        pipeline.work.claim("draft", dry_run=True)
    with pytest.raises(LeaseHeld):
        pipeline.work.release("draft", dry_run=True)
    with pytest.raises(LeaseHeld):
        pipeline.submit_for_review("draft", dry_run=True)
    longer = pipeline.work.claim("draft", actor="bea", for_s=600, dry_run=True)
    assert longer.until > claim.until
    assert pipeline.work.release("draft", actor="bea", dry_run=True)
    assert pipeline.work.break_claim("draft", reason="on holiday", dry_run=True) == claim
    assert pipeline.work.break_lease("manifests/draft", reason="on holiday", dry_run=True) == claim
    assert pipeline.submit_for_review("draft", actor="bea", dry_run=True).event.data["fence"] == claim.number

    assert tree(root) == claimed
    assert pipeline.work.claim_of("draft") == claim


def test_time_outs_that_are_due_count_as_recorded(tmp_path):
    """As for the command itself, which records them first."""
    clock = FakeClock()
    lifecycle = Path(__file__).parents[2] / "examples" / "lifecycles" / "agent-upkeep.toml"
    with RegistrationPipeline(tmp_path / "r", lifecycle=lifecycle, clock=clock, actor="ada") as pipeline:
        pipeline.create("a", {"name": "a"})
        clock.advance(40 * 86_400)
        before = tree(tmp_path)

        with pytest.raises(IllegalTransition) as tried:
            pipeline.submit_for_review("a", dry_run=True)

        assert tree(tmp_path) == before
        assert tried.value.details["state"] == "EXPIRED"
        with pytest.raises(IllegalTransition) as done:
            pipeline.submit_for_review("a")
        assert tried.value.as_json() == done.value.as_json()


def test_many_are_tried_each_on_what_those_before_it_would_have_come_to(pipeline, root):
    """A whole way to the registration, a name that is taken on it, and an id that is: the same results as in earnest."""
    steps = [
        *({"manifest_id": "draft", "action": action} for action in ("submit_for_review", "register")),
        {"manifest_id": "draft", "action": "approve", "actor": "bea", "idempotency_key": "k"},
        {"manifest_id": "draft", "action": "approve", "actor": "bea", "idempotency_key": "k"},
        {"manifest_id": "draft", "action": "register"},
        {"manifest_id": "done", "action": "retire", "reason": "old"},
        {"manifest_id": "read", "target_state": "APPROVED", "actor": "bea"},
        {"manifest_id": "read", "action": "register"},
        {"manifest_id": "read", "action": "register"},
    ]
    made = [
        {"manifest_id": "new", "document": {"name": "n"}},
        {"manifest_id": "new", "document": {"name": "m"}},
    ]

    def told(results):
        return [
            (one.error.as_json() | {"next_step": ""} if one.error is not None else None)
            or (
                one.result.event.action,
                one.result.event.version,
                one.result.snapshot.state,
                one.result.replayed,
            )
            for one in results
        ]

    before = tree(root)
    tried = (
        told(pipeline.create_many(made, dry_run=True)),
        told(pipeline.transition_many(steps, dry_run=True)),
    )

    assert tree(root) == before
    done = told(pipeline.create_many(made)), told(pipeline.transition_many(steps))
    assert tried == done
    assert [type(one) for one in done[1]].count(dict) >= 3


def test_two_that_would_take_one_name_in_a_trial():
    """The second is told that the first would hold it, however many threads try them."""
    with RegistrationPipeline(store=open_memory(SOURCE, REGISTRATION), actor="ada") as pipeline:
        for id in ("a", "b"):
            pipeline.create(id, WEATHER)
            pipeline.submit_for_review(id)
            pipeline.approve(id, actor="bea")

        steps = [{"manifest_id": id, "action": "register"} for id in ("a", "b")]
        results = list(pipeline.transition_many(steps, workers=1, dry_run=True))

        assert results[0].value().dry_run
        assert isinstance(results[1].error, NameTaken)
        assert results[1].error.details["holder"] == "a"
        assert pipeline.load_state("a").state == "APPROVED"


def test_a_lease_that_a_step_would_end_keeps_nobody_from_the_next(pipeline):
    """As in earnest, where the holder's approval releases the claim."""
    pipeline.work.claim("read", actor="bea")
    steps = [
        {"manifest_id": "read", "action": "approve", "actor": "bea"},
        {"manifest_id": "read", "action": "register"},
    ]

    tried = [one.error for one in pipeline.transition_many(steps, dry_run=True)]

    assert tried == [None, None]
    assert [one.error for one in pipeline.transition_many(steps)] == [None, None]


def test_an_import_is_tried_by_the_engine_itself(pipeline, root, tmp_path):
    """A manifest that somebody has claimed is not handed in, and a dry run says so, as the import does."""
    pipeline.work.claim("draft", actor="bea")
    file = tmp_path / "manifests.jsonl"
    file.write_text(json.dumps({"id": "draft", "document": WEATHER}) + "\n")
    before = tree(root)

    tried = run(tmp_path, "import", "--trust-lines", "--submit", "--dry-run", "--json", str(file))

    assert tree(root) == before
    done = run(tmp_path, "import", "--trust-lines", "--submit", "--json", str(file))
    (said,), (did,) = ([json.loads(line) for line in one.stdout.splitlines()] for one in (tried, done))
    assert said["submitted"] is did["submitted"] is False
    assert said["problem"]["error"] == did["problem"]["error"] == "lease_held"
    assert (tried.exit_code, did["problem"]) == (done.exit_code, said["problem"])


def test_handlers_hear_nothing_of_a_dry_run(pipeline):
    """Nothing happened."""
    heard = []
    pipeline.on("state_change", heard.append)

    pipeline.approve("read", actor="bea", dry_run=True)

    assert heard == []


def test_next_steps_are_told_from_the_state_that_the_command_left(pipeline):
    """As data: what, by whom, and which words are missing; without another look at the manifest."""
    result = pipeline.submit_for_review("draft")
    pipeline.approve("draft", actor="bea")

    assert result.next_steps("approve") == (
        Next(operation="act", id="draft", action="approve", missing=("actor",)),
    )
    steps = {step.action: step.missing for step in result.next_steps()}
    assert (steps["approve"], steps["reject"]) == (("actor",), ("reason",))


TYPED = {
    "create": ("create", "--id", "new", "new.json"),
    "revise": ("revise", "draft", "new.json"),
    "submit": ("submit", "draft"),
    "approve": ("approve", "read", "--actor", "bea"),
    "reject": ("reject", "read", "--reason", "no licence"),
    "act": ("act", "done", "suspend", "--reason", "gone"),
    "transition": ("transition", "read", "APPROVED", "--actor", "bea"),
    "undo": ("undo", "read", "--reason", "too early"),
    "tag add": ("tag", "add", "read", "team/maps"),
    "alias set": ("alias", "set", "weather", "lts", "1.0.0"),
    "alias remove": ("alias", "remove", "weather", "stable"),
    "claim": ("claim", "draft"),
    "release": ("release", "claimed", "--actor", "bea"),
    "break": ("locks", "break", "claimed", "--reason", "on holiday"),
    "init": ("init", "elsewhere"),
}


@pytest.mark.parametrize("name", TYPED)
def test_every_command_that_writes_can_be_tried(pipeline, root, tmp_path, name):
    """It prints what it would print, says that it was a dry run, and leaves every file as it is."""
    (tmp_path / "new.json").write_text('{"name": "new"}')
    pipeline.create("claimed", {"name": "claimed"})
    pipeline.work.claim("claimed", actor="bea")
    before = tree(tmp_path)

    tried = run(tmp_path, *TYPED[name], "--dry-run")
    as_json = run(tmp_path, *TYPED[name], "--dry-run", "--json")

    assert tree(tmp_path) == before
    assert tried.stderr.endswith("This was a dry run: nothing was changed.\n")
    assert json.loads(as_json.stdout)["dry_run"] is True
    done = run(tmp_path, *TYPED[name])
    assert (tried.exit_code, as_json.exit_code, done.exit_code) == (0, 0, 0)
    if name not in ("init", "claim"):  # whose lines have a new id, and a time
        assert tried.stdout == done.stdout


# -- trials by themselves --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [dict, Spilled])
def test_a_trial_reads_on_what_was_put_into_it(kept):
    """States and logs as they would be, on those that there are; those are not touched."""
    registry = OpenRegistry(open_memory(SOURCE, REGISTRATION), actor="ada")
    registry.carry_out("a", {}, action="create", document=registry.document({"n": 1}))
    trial = Trial(registry.store, kept())

    registry.carry_out("a", {}, trial=trial, action="revise", document=registry.document({"n": 2}))
    registry.carry_out("a", {}, trial=trial, action="submit_for_review")
    registry.carry_out("b", {}, trial=trial, action="create", document=registry.document({}))

    assert [event.action for event in trial.read("a")] == ["create", "revise", "submit_for_review"]
    assert [event.version for event in trial.read("a")] == [1, 2, 3]
    assert (trial.load("a").state, trial.load("a").document) == ("REVIEWED", {"n": 2})
    assert trial.load("b").version == 1
    assert (registry.store.load("a").version, registry.store.load("b")) == (1, None)


def test_a_spilled_mapping_is_a_mapping():
    """What is put in comes out, and is taken away again."""
    spilled = Spilled()
    spilled["a"], spilled["b"] = b"1", b"2"
    spilled["a"] = b"3"

    assert (dict(spilled), len(spilled)) == ({"a": b"3", "b": b"2"}, 2)
    del spilled["a"]
    assert "a" not in spilled
    with pytest.raises(KeyError):
        spilled["a"]
