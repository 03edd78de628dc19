"""Putting a later version of a lifecycle in force: what it means beforehand, what it changes, and what stays for ever."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from registration import RegistrationPipeline
from registration.core.policy import Verdict
from registration.engine.governance import Governance
from registration.engine.opening import lifecycle_from, migrate
from registration.errors import (
    GuardRefused,
    InvalidArgument,
    InvalidDefinition,
    InvalidPolicy,
    NotFound,
    RegistrationError,
    Rejected,
    StoreError,
    UnknownEvent,
)
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import read_registry
from tests.conftest import check_store
from tests.kit.builders import forge
from tests.kit.disks import LOG, SNAPSHOT, tree
from tests.kit.policies import put_in_force

FORMAT_1 = Path(__file__).resolve().parents[2] / "fixtures" / "registries" / "format-1"


def lifecycle(version, *, states=(), without=(), **actions):
    """A lifecycle for articles, as data: DRAFT, REVIEW, LIVE, and an action between them; others come and go.

    actions: more of them, by name, as (past, from, to).
    """
    every = {
        "create": ("created", None, "DRAFT"),
        "revise": ("revised", "DRAFT", "DRAFT"),
        "submit": ("submitted", "DRAFT", "REVIEW"),
        "publish": ("published", "REVIEW", "LIVE"),
        "retract": ("retracted", "LIVE", "DRAFT"),
        **actions,
    }
    names = [name for name in ("DRAFT", "REVIEW", "LIVE", *states) if name not in without]
    return {
        "name": "articles",
        "version": version,
        "states": {name: {} for name in names},
        "actions": {
            name: {"past": past, "to": to}
            | ({"from": source} if source else {})
            | ({"document": True} if name in ("create", "revise") else {})
            for name, (past, source, to) in every.items()
            if name not in without
        },
    }


V1 = lifecycle(1)
V2 = lifecycle(
    2, states=["PRINT"], without=["REVIEW", "submit", "publish"],
    typeset=("typeset", "DRAFT", "PRINT"), issue=("issued", "PRINT", "LIVE"),
)  # fmt: skip
"""No review any more: articles are typeset and issued."""


def proposed(data, **options):
    """A lifecycle as `lifecycle migrate` gets it: read, checked, and made a definition."""
    return lifecycle_from(_checked(data), **options)


def _checked(data):
    from registration.rules.lifecycles.files import check_lifecycle

    return check_lifecycle(data, source="lifecycle.json")


@pytest.fixture
def articles(open_pipeline):
    """A registry with three articles: a DRAFT, one in REVIEW, one that is LIVE."""
    pipeline = open_pipeline(lifecycle=_checked(V1))
    for id, actions in (("a", []), ("b", ["submit"]), ("c", ["submit", "publish"])):
        pipeline.create(id, {"title": id})
        for action in actions:
            pipeline.act(id, action)
    return pipeline


def registry_file(root):
    return json.loads((root / "registry.json").read_bytes())


# -- beforehand ----------------------------------------------------------------------------------------------


def test_what_a_migration_means_can_be_asked_beforehand(articles, root):
    """Who would be stranded, and where; nothing is changed."""
    before = tree(root)

    found = migrate(root, proposed(V2))

    assert (found.current["version"], found.proposed["version"], found.looked_at) == (1, 2, 3)
    assert (found.stranded, found.unreadable, found.done) == ((("b", "REVIEW"),), (), False)
    assert tree(root) == before
    assert articles.act("b", "publish").snapshot.state == "LIVE"


@pytest.mark.damaged
def test_what_can_not_be_read_stands_in_the_way(articles, root):
    """Nobody knows where it stands."""
    articles.act("b", "publish")
    log = root / "manifests" / "c" / LOG
    log.write_bytes(log.read_bytes().replace(b'"create"', b'"creatE"'))
    (log.parent / SNAPSHOT).unlink()
    before = tree(root)

    found = migrate(root, proposed(V2))
    with pytest.raises(Rejected, match="c can't be read") as caught:
        migrate(root, proposed(V2), dry_run=False)

    assert (found.stranded, found.unreadable, found.looked_at) == ((), ("c",), 2)
    assert caught.value.details == {"stranded": [], "unreadable": ["c"]}
    assert tree(root) == before


def test_who_would_be_stranded_stands_in_the_way(articles, root):
    """Refused whole, naming them; whoever has the registry open goes on."""
    before = tree(root)

    with pytest.raises(
        Rejected, match="1 manifest prevents the migration to 'articles' version 2: b is REVIEW"
    ) as caught:
        migrate(root, proposed(V2), dry_run=False)

    assert caught.value.details["stranded"] == [["b", "REVIEW"]]
    assert "Nothing was changed" in caught.value.next_step
    assert tree(root) == before
    assert articles.act("b", "publish").snapshot.state == "LIVE"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({**V2, "name": "posts"}, "'posts' version 2 is not a later version of it"),
        ({**V2, "version": 1}, "'articles' version 1 is not a later version of it"),
        (V1, "The registry has 'articles' version 1, but 'articles' version 1"),
    ],
)
def test_only_a_later_version_of_the_same_can_follow(articles, root, data, said):
    """The name stands in every event, so it stays; a version that is there already is in force as it is."""
    before = tree(root)

    for dry_run in (True, False):
        with pytest.raises(InvalidArgument, match=said):
            migrate(root, proposed(data), dry_run=dry_run)

    assert tree(root) == before


def test_a_version_may_be_skipped_but_not_taken_back(articles, root):
    """Numbers only have to rise."""
    articles.act("b", "publish")

    migrate(root, proposed({**V2, "version": 7}), dry_run=False)

    with pytest.raises(InvalidArgument, match="has 'articles' version 7"):
        migrate(root, proposed({**V1, "version": 3}), dry_run=False)


def test_a_place_is_more_than_its_states(open_pipeline, root):
    """Where a later version has the same states in parallel, a manifest in one of them alone would be nowhere."""
    together = lifecycle(2)
    together["states"] |= {
        "BOTH": {"parallel": True},
        "ONE": {"parent": "BOTH", "initial": "LIVE"},
        "TWO": {"parent": "BOTH", "initial": "SEEN"},
        "LIVE": {"parent": "ONE"},
        "SEEN": {"parent": "TWO"},
    }
    pipeline = open_pipeline(lifecycle=_checked(V1))
    pipeline.create("a", {})
    for action in ("submit", "publish"):
        pipeline.act("a", action)

    found = migrate(root, proposed(together))

    assert found.stranded == (("a", "LIVE"),)


def test_there_has_to_be_a_registry(tmp_path):
    """Migrating makes none."""
    with pytest.raises(NotFound):
        migrate(tmp_path / "nowhere", proposed(V2), dry_run=False)

    assert not (tmp_path / "nowhere").exists()


# -- done ----------------------------------------------------------------------------------------------------


@pytest.fixture
def migrated(articles, root):
    """The same registry, some time later: the second version is in force."""
    articles.act("b", "publish")
    assert migrate(root, proposed(V2), dry_run=False).done
    return articles


def test_a_later_version_is_in_force(migrated, open_pipeline, root):
    """Whoever opens the registry gets it: its actions, its states, its name in every new event."""
    said = registry_file(root)

    pipeline = open_pipeline()
    issued = [pipeline.act("a", action) for action in ("typeset", "issue")][-1]

    assert pipeline.definition.identity == proposed(V2).identity == said["lifecycle"]
    assert said["earlier"] == [proposed(V1).identity]
    assert said["id"] == migrated.registry_id == pipeline.registry_id
    assert issued.event.data["lifecycle"] == said["lifecycle"]
    assert issued.event.type == "articles.issued.v1"
    with pytest.raises(InvalidArgument, match="has no action 'submit'"):
        pipeline.act("a", "submit")


def test_both_versions_are_kept(migrated, open_pipeline):
    """What an old event was decided under can be read as long as the registry lasts."""
    pipeline = open_pipeline()
    first = next(pipeline.history("a"))

    assert pipeline.evidence.rule("lifecycles", first.data["lifecycle"]["digest"]) == _checked(V1)
    assert pipeline.evidence.rule("lifecycles", pipeline.definition.identity["digest"]) == _checked(V2)


def test_who_had_it_open_has_to_open_it_again(migrated, open_pipeline, root):
    """A decision under the rules of yesterday is never written; that it must be opened again is said."""
    before = tree(root)

    for write in (
        lambda: migrated.create("d", {}),
        lambda: migrated.revise("a", {"title": "A"}),
        lambda: migrated.act("c", "retract"),
        lambda: migrated.transition_state("c", "DRAFT"),
    ):
        with pytest.raises(StoreError, match="The registry's lifecycle was replaced") as caught:
            write()
        assert caught.value.next_step == "Open the registry again."
        assert "nothing was written" in caught.value.problem
    assert tree(root) == before

    assert open_pipeline().act("c", "retract").snapshot.state == "DRAFT"


def test_who_had_it_open_can_still_read(migrated, open_pipeline):
    """What is there, and what others write meanwhile."""
    open_pipeline().act("a", "typeset")

    assert migrated.load_state("a").state == "PRINT"
    assert [one.state for one in migrated.list()] == ["PRINT", "LIVE", "LIVE"]
    assert [event.action for event in migrated.history("a")] == ["create", "typeset"]


def test_who_had_it_open_is_not_told_of_damage(migrated, open_pipeline):
    """Nothing is damaged, and no upgrade would help: the registry must be opened again."""
    open_pipeline().act("a", "typeset")

    assert not migrated.evidence.verify("a").damaged


def test_old_logs_fold_and_verify(migrated, open_pipeline):
    """From the first byte, to the same states, at every version; though the actions that led there are gone."""
    pipeline = open_pipeline()

    states = [pipeline.evidence.at("c", version=version).state for version in (1, 2, 3)]

    assert states == ["DRAFT", "REVIEW", "LIVE"]
    assert pipeline.recover_from_events("c") == migrated.load_state("c")
    assert all(pipeline.evidence.verify(id).findings == () for id in "abc")
    assert [event.type for event in pipeline.history("c")][1:] == [
        "articles.submitted.v1",
        "articles.published.v1",
    ]


def test_event_types_of_all_earlier_versions_stay_known(migrated, open_pipeline, root):
    """Also of the one before the one before; and an earlier name may be used again."""
    open_pipeline().act("a", "typeset")
    third = lifecycle(
        3,
        states=["PRINT"],
        submit=("handed_in", "DRAFT", "REVIEW"),
        lay=("laid_out", "REVIEW", "PRINT"),
        bind=("typeset", "PRINT", "LIVE"),
    )
    migrate(root, proposed(third), dry_run=False)

    pipeline = open_pipeline()
    bound = pipeline.act("a", "bind")

    assert [one["version"] for one in registry_file(root)["earlier"]] == [1, 2]
    assert bound.event.type == "articles.typeset.v1"
    assert [pipeline.recover_from_events(id).state for id in "abc"] == ["LIVE", "LIVE", "LIVE"]
    found = [one for id in "abc" for one in pipeline.evidence.verify(id).findings]
    assert {one.kind for one in found} <= {
        "finding"
    }  # this test's clock stands still beside the one of migrations


def test_who_names_the_lifecycle_names_the_one_in_force(migrated, open_pipeline):
    """The earlier one is refused; the later one can be given, and old logs fold under it as well."""
    with pytest.raises(
        InvalidArgument, match="has the lifecycle 'articles' version 2, not 'articles' version 1"
    ):
        open_pipeline(lifecycle=_checked(V1))

    pipeline = open_pipeline(lifecycle=_checked(V2))

    assert pipeline.recover_from_events("c").state == "LIVE"
    assert pipeline.act("a", "typeset").snapshot.state == "PRINT"


def test_a_receipt_outlives_the_lifecycle(open_pipeline, root):
    """It holds the rules of its time, and is checked against them."""
    pipeline = open_pipeline()
    for action in ("submit_for_review", "approve", "register"):
        if action == "submit_for_review":
            pipeline.create("a", {"title": "a"})
        pipeline.act("a", action, actor="bea")
    receipt = pipeline.evidence.receipt("a")
    migrate(root, proposed({**REGISTRATION.data, "version": 2}), dry_run=False)

    later = open_pipeline()

    assert later.definition.version == 2
    assert later.evidence.check_receipt(receipt).state == "REGISTERED"
    assert later.evidence.receipt("a") == receipt


def test_an_approval_counts_under_a_later_version_as_its_guard_says(open_pipeline, root):
    """Approvals are bound to document and policy; that the lifecycle was another is in the event for whoever asks."""
    pipeline = open_pipeline()
    pipeline.create("a", {})
    pipeline.submit_for_review("a")
    pipeline.approve("a", actor="bea")
    migrate(root, proposed({**REGISTRATION.data, "version": 2}), dry_run=False)

    registered = open_pipeline().register("a")

    (approval,) = registered.snapshot.approvals
    assert approval["lifecycle"] == REGISTRATION.identity["digest"]
    assert registered.event.data["lifecycle"]["digest"] != approval["lifecycle"]


def test_a_time_out_that_is_no_more_never_fires(open_pipeline, clock, root):
    """One that was due under an earlier version comes to nothing."""
    waiting = lifecycle(1)
    waiting["timeouts"] = {"forget": {"past": "forgotten", "state": "DRAFT", "after": "1d", "to": "LIVE"}}
    pipeline = open_pipeline(lifecycle=_checked(waiting))
    pipeline.create("a", {})
    migrate(root, proposed(lifecycle(2)), dry_run=False)
    clock.advance(100_000)

    later = open_pipeline()

    assert later.upkeep.tick("a") == ()
    assert later.revise("a", {"title": "A"}).snapshot.version == 2


def test_a_policy_is_read_for_the_version_in_force(migrated, open_pipeline, root):
    """One that names an action which is gone is not put in force, and it says which."""
    pipeline = open_pipeline()
    with pytest.raises(InvalidPolicy, match="the lifecycle 'articles' has no action 'submit'"):
        put_in_force(pipeline, '[[guards]]\nguard = "reason_given"\nactions = ["submit"]\n')

    put_in_force(pipeline, '[[guards]]\nguard = "reason_given"\nactions = ["typeset"]\n')

    with pytest.raises(GuardRefused):
        pipeline.act("a", "typeset")
    assert pipeline.act("a", "typeset", reason="ready").snapshot.state == "PRINT"


def test_a_guard_of_the_program_is_needed_to_open_it(articles, open_pipeline, root):
    """A lifecycle that asks for one is only opened by who has it: it is never left out."""

    def lucky(_state, _command, _policy):
        return Verdict(agrees=False, reason="bad luck")

    articles.act("b", "publish")
    guarded = lifecycle(2)
    guarded["actions"]["submit"]["guards"] = ["lucky"]
    from registration.rules.lifecycles.files import check_lifecycle

    data = check_lifecycle(guarded, source="lifecycle.json", guards={"lucky": lucky})
    migrate(root, lifecycle_from(data, {"lucky": lucky}), guards={"lucky": lucky}, dry_run=False)

    with pytest.raises(InvalidDefinition, match="There is no guard 'lucky'"):
        open_pipeline()
    with pytest.raises(GuardRefused, match="bad luck"):
        open_pipeline(guards={"lucky": lucky}).act("a", "submit")
    migrate(root, proposed({**V1, "version": 3}), guards={"lucky": lucky}, dry_run=False)
    assert open_pipeline().act("a", "submit").snapshot.state == "REVIEW"


# -- events that nobody here knows -----------------------------------------------------------------------------


@pytest.mark.damaged
def test_an_event_of_a_later_release_names_that_release(pipeline, root):
    """Nothing is guessed, and nothing is written behind it; who is to upgrade is told to what."""
    pipeline.create("a", {})
    pipeline.submit_for_review("a")
    log = root / "manifests" / "a" / LOG
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    lines[1]["type"] = "registration.teleported.v1"
    lines[1]["data"]["release"] = "9.9.9"
    log.write_bytes(forge(lines))
    (log.parent / SNAPSHOT).unlink()
    before = log.read_bytes()

    for ask in (
        lambda: pipeline.load_state("a"),
        lambda: pipeline.approve("a"),
        lambda: pipeline.recover_from_events("a"),
    ):
        with pytest.raises(
            UnknownEvent, match=r"Version 2 of 'a' is a 'registration\.teleported\.v1'"
        ) as caught:
            ask()
        assert (
            "It was written by release 9.9.9: upgrade to that release or a later one"
            in caught.value.next_step
        )
        assert (caught.value.details["release"], caught.value.details["version"]) == ("9.9.9", 2)

    assert log.read_bytes() == before


# -- at the same time ------------------------------------------------------------------------------------------


def test_of_several_migrations_at_once_one_is_done(articles, open_pipeline, root):
    """The others are told that somebody was first, or that theirs is no later version."""
    articles.act("b", "publish")
    versions = [
        proposed({**V2, "version": 2}),
        *(proposed({**V2, "version": 2, "title": f"t{n}"}) for n in range(5)),
    ]
    start, done, refused = threading.Barrier(len(versions)), [], []

    def run(version):
        start.wait()
        try:
            done.append(migrate(root, version, dry_run=False))
        except (StoreError, InvalidArgument) as error:
            refused.append(error)

    threads = [threading.Thread(target=run, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(done), len(refused)) == (1, len(versions) - 1)
    assert registry_file(root)["lifecycle"] == done[0].proposed
    assert registry_file(root)["earlier"] == [proposed(V1).identity]
    words = ("meanwhile", "no later version")
    assert [str(error) for error in refused if not any(word in str(error) for word in words)] == []
    assert open_pipeline().act("a", "typeset").snapshot.state == "PRINT"


def test_writers_meet_one_version_or_the_other(articles, open_pipeline, root, restless_threads):
    """While it is put in force, each write is whole, under the one that was in force when it was opened, or refused."""
    articles.act("b", "publish")
    stop, written, surprises = threading.Event(), [], []

    def keep_writing(number):
        pipeline = open_pipeline(actor=f"actor {number}")
        while not stop.is_set():
            try:
                written.append(pipeline.revise("a", {"by": number, "n": len(written)}).event)
            except StoreError as error:
                if "Open the registry again" not in str(error):
                    surprises.append(error)
                pipeline = open_pipeline(actor=f"actor {number}")
            except RegistrationError as error:
                surprises.append(error)

    threads = [threading.Thread(target=keep_writing, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for version in (2, 3, 4):
            reached = len(written) + 5
            while len(written) < reached and not surprises:
                pass
            migrate(root, proposed({**V2, "version": version}), dry_run=False)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert surprises == []
    events = list(open_pipeline().history("a"))[1:]
    assert [event.id for event in events] == [
        event.id for event in sorted(written, key=lambda event: event.version)
    ]
    versions = [event.data["lifecycle"]["version"] for event in events]
    assert set(versions) >= {1, 2, 3}


@pytest.fixture
def in_between(monkeypatch):
    """Do something right before, and right after, a lifecycle is put in force for the first time."""
    real = Governance.record

    def do(before, after=lambda: None):
        waiting = [(before, after)]

        def record(*args, **said):
            first, then = waiting.pop() if waiting else (lambda: None, lambda: None)
            first()
            real(*args, **said)
            then()

        monkeypatch.setattr(Governance, "record", record)

    return do


def test_nobody_is_stranded_by_a_write_in_between(articles, open_pipeline, root, in_between):
    """Who gets to where there is no way out, after the manifests were looked at, is found: the earlier version is back."""
    articles.act("b", "publish")
    in_between(lambda: open_pipeline().act("a", "submit"))

    with pytest.raises(Rejected, match=r"1 manifest prevents the migration .* a is REVIEW"):
        migrate(root, proposed(V2), dry_run=False)

    assert registry_file(root)["lifecycle"] == proposed(V1).identity
    assert articles.act("a", "publish").snapshot.state == "LIVE"
    assert migrate(root, proposed(V2), dry_run=False).done


def test_what_was_written_under_a_version_that_was_taken_back_stays_known(
    articles, open_pipeline, root, in_between
):
    """Somebody may have opened the registry at just that moment; the log folds, and goes on with the next try."""
    articles.act("b", "publish")
    in_between(
        lambda: open_pipeline().act("a", "submit"),
        lambda: [open_pipeline().create("d", {}), open_pipeline().act("d", "typeset")],
    )

    with pytest.raises(Rejected):
        migrate(root, proposed(V2), dry_run=False)

    assert open_pipeline().recover_from_events("d").state == "PRINT"
    open_pipeline().act("a", "publish")
    assert migrate(root, proposed(V2), dry_run=False).done
    assert open_pipeline().act("d", "issue").snapshot.state == "LIVE"


# -- registries of before lifecycles were kept -----------------------------------------------------------------


@pytest.fixture
def old(tmp_path):
    """A registry that an earlier release made, as it is kept in fixtures/."""
    root = tmp_path / "old"
    shutil.copytree(FORMAT_1, root)
    yield root
    with RegistrationPipeline(root, create=False) as pipeline:
        check_store(open_files(root, pipeline.definition))


WEATHER, NOTES, PILOT = "io.github.acme/weather@1.2.0", "ledger-notes@0.3.1", "Harbour-Pilot@2.1.0"


def test_an_old_registry_is_opened_and_written_to(old):
    """It has the usual lifecycle, as it always had; of its own file, nothing else changes than that there is a log now."""
    before = read_registry(PosixDisk(), str(old))

    with RegistrationPipeline(old, create=False, actor="bea") as pipeline:
        approved = pipeline.approve(NOTES)
        registered = pipeline.register(NOTES)
        revised = pipeline.revise(PILOT, {"name": "Harbour Pilot"})

    assert [one.state for one in (approved.snapshot, registered.snapshot, revised.snapshot)] == [
        "APPROVED", "REGISTERED", "DRAFT",
    ]  # fmt: skip
    assert approved.event.data["lifecycle"] == REGISTRATION.identity
    after = read_registry(PosixDisk(), str(old))
    assert after == replace(before, log={"version": 1, "head": approved.event.data["registry"]["hash"]})


def test_an_old_registry_is_migrated(old):
    """From then on it names its lifecycle, and the built-in one as the earlier; the logs are what they were."""
    logs = {path: content for path, content in tree(old).items() if path.endswith(LOG)}
    second = proposed({**REGISTRATION.data, "version": 2})

    found = migrate(old, second, dry_run=False)
    with RegistrationPipeline(old, create=False, actor="bea") as pipeline:
        approved = pipeline.approve(NOTES)
        folded = pipeline.recover_from_events(WEATHER)

    assert (found.current, found.looked_at) == (REGISTRATION.identity, 3)
    assert registry_file(old)["earlier"] == [REGISTRATION.identity]
    assert registry_file(old)["lifecycle"] == second.identity == approved.event.data["lifecycle"]
    assert [one["actor"] for one in folded.approvals] == ["bea"]
    assert {path: content for path, content in tree(old).items() if path in logs} == {
        **logs,
        next(path for path in logs if NOTES in path): (old / "manifests" / NOTES / LOG).read_bytes(),
    }


@pytest.mark.parametrize("schema", ["events of schema 2", "events of schema 1"])
def test_an_old_log_folds_though_its_actions_are_gone(open_pipeline, root, tmp_path, schema):
    """Whoever renames `reject` and `approve` can still read what was approved and rejected by any earlier release."""
    place = root
    if schema == "events of schema 1":
        place = tmp_path / "old"
        shutil.copytree(FORMAT_1, place)
        with RegistrationPipeline(place, create=False) as pipeline:
            pipeline.load_state(WEATHER)
    else:
        pipeline = open_pipeline()
        pipeline.create(WEATHER, {})
        pipeline.submit_for_review(WEATHER)
        pipeline.reject(WEATHER, reason="no")
        pipeline.submit_for_review(WEATHER)
        pipeline.approve(WEATHER, actor="bea")
        pipeline.register(WEATHER)
    renamed = json.loads(
        json.dumps(REGISTRATION.data)
        .replace('"reject"', '"send_back"').replace('"rejected", "lapses": true, "schema": 2', '"sent_back", "lapses": true')
        .replace('"approve"', '"agree"').replace('"approved", "approval": true, "schema": 2', '"agreed", "approval": true')
    )  # fmt: skip
    migrate(place, proposed({**renamed, "version": 2}), dry_run=False)

    with RegistrationPipeline(place, create=False, actor="bea") as pipeline:
        folded = pipeline.recover_from_events(WEATHER)

        assert folded.state == "REGISTERED"
        assert [one["actor"] for one in folded.approvals] == ["bea"]
        assert pipeline.evidence.verify(WEATHER).findings == ()
