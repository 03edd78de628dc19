"""What was written stays readable: the logs in fixtures/ are replayed to the byte, and never edited."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from registration import RegistrationPipeline
from registration.core.codec import decode_snapshot, encode_snapshot, scan
from registration.core.decider import fold
from registration.engine.opening import open_registry
from registration.errors import InvalidDocument
from registration.onboarding.sessions.sessions import Sessions
from registration.rules.lifecycles.loading import SHIPPED, definition_of, shipped
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.ledger import Ledger
from registration.values.documents import parse_document
from registration.values.events import Position
from registration.values.ids import id_from_document, id_of

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
REGISTRIES = sorted(path.parent for path in FIXTURES.glob("registries/*/registry.json"))
LOGS = sorted(FIXTURES.glob("registries/*/manifests/*/events.jsonl"))

each_log = pytest.mark.parametrize("log", LOGS, ids=lambda path: f"{path.parts[-4]}/{path.parent.name}")
each_registry = pytest.mark.parametrize("registry", REGISTRIES, ids=lambda path: path.name)


def opened(log: Path) -> tuple[Ledger, str]:
    """The registry that a kept log is in, with its own lifecycle, and the log's id. Nothing is written by opening it."""
    stream = id_of(log.parent.name)
    assert stream is not None
    return open_registry(log.parents[2])[0], stream


@each_log
def test_a_kept_log_folds_to_the_kept_snapshot_to_the_byte(log: Path) -> None:
    """A log of any format, schema and lifecycle that ever landed gives the same bytes today."""
    store, stream = opened(log)

    found = scan(log.read_bytes(), stream=stream, source=store.source, after=Position())
    state = fold(store.definition, None, found.events)

    assert found.fault is None
    assert state is not None
    assert encode_snapshot(state) == (log.parent / "state.json").read_bytes()


@each_log
def test_a_kept_snapshot_is_read_and_written_back_to_the_byte(log: Path) -> None:
    """A snapshot survives being read and written."""
    store, stream = opened(log)
    raw = (log.parent / "state.json").read_bytes()

    snapshot = decode_snapshot(raw, stream=stream, source=store.source, definition=store.definition.name)

    assert encode_snapshot(snapshot) == raw


@each_registry
def test_a_kept_registry_verifies(registry: Path) -> None:
    """Every byte of every manifest and of every kept rule is what was written, and every event is what its rules allow."""
    with RegistrationPipeline(registry, create=False) as pipeline:
        ids = list(pipeline.upkeep.manifest_ids())
        findings = [finding for id in ids for finding in pipeline.evidence.verify(id).findings]

        assert ids
        # What was lost, and whether somebody had a lock, is in no log.
        assert {f.group for f in findings} <= {"what a repair cut off", "a broken lock"}
        assert list(pipeline.upkeep.strays()) == []


def test_a_kept_registry_with_a_log_of_its_own_is_sound_as_a_whole() -> None:
    """Rules that changed on the way, people who joined, a repair, an import, an alias that is governed: each event names what it was decided under."""
    registry = FIXTURES / "registries" / "format-1-governed"

    with RegistrationPipeline(registry, create=False) as pipeline:
        findings = [finding for one in pipeline.upkeep.verify_all() for finding in one.findings]
        actions = [event.action for event in pipeline.upkeep.policy_history()]

    # There is no feed in a kept registry, so nothing notes the commits; what was lost is in no log.
    assert {finding.kind for finding in findings} <= {"unchecked"}
    assert actions == ["make", "change_roster", "apply_policy"]


@each_registry
def test_what_kept_events_were_decided_under_can_be_read(registry: Path) -> None:
    """Each lifecycle, policy and schema that an event names by digest is there, also those that are not in force."""
    with RegistrationPipeline(registry, create=False) as pipeline:
        for id in pipeline.upkeep.manifest_ids():
            for event in pipeline.history(id):
                if "lifecycle" in event.data:
                    named = event.data["lifecycle"]
                    assert (
                        pipeline.evidence.rule("lifecycles", named["digest"])["version"] == named["version"]
                    )
                if "policy" in event.data:
                    kinds = pipeline.evidence.rule("policies", event.data["policy"])["kinds"]
                    assert all(pipeline.evidence.rule("schemas", kind["schema"]) for kind in kinds)


def test_every_schema_of_an_event_is_kept() -> None:
    """Whatever type of event the lifecycles that come along ever wrote, in every schema, is in a kept log."""
    written = {json.loads(line)["type"] for log in LOGS for line in log.read_bytes().splitlines()}
    known = {type for name in SHIPPED for type in definition_of(shipped(name)).event_types}
    repairs = {type for type in known if type.endswith(".repaired.v1")}  # alike in every lifecycle
    breaks = {type for type in known if type.endswith(".claim_broken.v1")}  # as well

    assert known - repairs - breaks <= written
    assert repairs & written
    assert breaks & written


def test_kept_time_outs_undoings_and_regions_fold_without_a_clock() -> None:
    """What the kept logs hold of each kind, so that none is lost unseen."""
    data = [json.loads(line)["data"] for log in LOGS for line in log.read_bytes().splitlines()]

    for member in (
        "timeout",
        "due",
        "history",
        "joined",
        "approval",
        "lapsed",
        "undoes",
        "policy",
        "release",
        "lost",
        "fence",
        "claim",
        "counted",
        "imported",
        "registry",
        "roster",
        "seen",
        "via",
    ):
        assert any(member in one for one in data), member
    assert any("+" in one["to"] for one in data)


def test_a_kept_registry_opens_lists_and_verifies(tmp_path: Path) -> None:
    """A registry that an earlier release made is a registry today, in every state that it can be in.

    It goes on where it was: its old lines stay as they are, its own file only names its new log, and what the new lines name is kept.
    """
    root = tmp_path / "registry"
    shutil.copytree(FIXTURES / "registries" / "format-1", root)

    with RegistrationPipeline(root, create=False) as pipeline:
        states = {summary.manifest_id: summary.state for summary in pipeline.list()}
        findings = [pipeline.evidence.verify(manifest_id).findings for manifest_id in states]
        events = list(pipeline.history("io.github.acme/weather@1.2.0"))
        approved = pipeline.approve("ledger-notes@0.3.1", actor="bea").event
        after = pipeline.load_state("ledger-notes@0.3.1")
        rule = pipeline.evidence.rule("lifecycles", approved.data["lifecycle"]["digest"])

    assert states == {
        "Harbour-Pilot@2.1.0": "DRAFT",
        "io.github.acme/weather@1.2.0": "REGISTERED",
        "ledger-notes@0.3.1": "REVIEWED",
    }
    assert findings == [(), (), ()]
    assert [event.action for event in events] == [
        "create", "submit_for_review", "reject", "revise", "submit_for_review", "approve", "register",
    ]  # fmt: skip
    assert events[3].traceparent == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert events[5].causation_id == events[4].id
    assert events[5].correlation_id == events[4].correlation_id
    assert (after.state, after.version) == ("APPROVED", 3)
    assert (approved.type, rule) == ("registration.approved.v2", REGISTRATION.data)
    kept = FIXTURES / "registries" / "format-1"
    before, now = (json.loads((place / "registry.json").read_bytes()) for place in (kept, root))
    assert now == {**before, "log": {"version": 1, "head": approved.data["registry"]["hash"]}}
    log = Path("manifests", "ledger-notes@0.3.1", "events.jsonl")
    assert (root / log).read_bytes() == (kept / log).read_bytes() + approved.line


@pytest.mark.parametrize(
    "log",
    [log for log in LOGS if log.parts[-4] == "format-1"],
    ids=lambda path: path.parent.name,
)
def test_a_log_of_before_policies_goes_on_to_the_end(tmp_path: Path, log: Path) -> None:
    """From wherever an old log stands, a manifest can be approved and registered; an old approval counts."""
    root = tmp_path / "registry"
    shutil.copytree(FIXTURES / "registries" / "format-1", root)
    stream = id_of(log.parent.name)
    assert stream is not None
    onward = {"DRAFT": "REVIEWED", "REVIEWED": "APPROVED", "APPROVED": "REGISTERED"}

    with RegistrationPipeline(root, create=False) as pipeline:
        while (state := pipeline.load_state(stream).state) in onward:
            pipeline.transition_state(stream, onward[state], actor="bea")
        findings = pipeline.evidence.verify(stream).findings

    assert state == "REGISTERED"
    assert findings == ()


@pytest.mark.parametrize("manifest", sorted(FIXTURES.glob("manifests/*.json")), ids=lambda path: path.name)
def test_the_sample_manifests_are_taken_as_they_are(manifest: Path) -> None:
    """Each has an id of its own and is kept with its members in their order."""
    document = parse_document(manifest.read_bytes())

    assert id_from_document(document.value) in {
        "io.github.acme/weather@1.2.0",
        "Harbour-Pilot@2.1.0",
        "ledger-notes@0.3.1",
    }


@pytest.mark.parametrize("manifest", sorted(FIXTURES.glob("invalid/*.json")), ids=lambda path: path.name)
def test_the_invalid_manifests_are_refused_with_a_reason(manifest: Path) -> None:
    """Each is refused as a document, or for want of an id, and says why."""
    with pytest.raises(InvalidDocument) as refused:
        id_from_document(parse_document(manifest.read_bytes(), source=manifest.name).value)

    assert refused.value.details["problems"]
    assert refused.value.next_step


# -- sessions ----------------------------------------------------------------------------------------------

SESSIONS = sorted(FIXTURES.glob("sessions/*/sessions/*/events.jsonl"))


@pytest.mark.parametrize("log", SESSIONS, ids=lambda path: path.parent.name)
def test_a_kept_session_folds_to_the_kept_snapshot_to_the_byte(log: Path) -> None:
    """Under the wizard that its registry kept, whatever became of its file: answers, drafts, ends and all."""
    with Sessions(log.parents[2]) as sessions:
        run = sessions.run_of(log.parent.name)
        assert run is not None

        found = scan(log.read_bytes(), stream=log.parent.name, source=run.store.source, after=Position())
        state = fold(run.store.definition, None, found.events)

        assert found.fault is None
        assert state is not None
        assert encode_snapshot(state) == (log.parent / "state.json").read_bytes()
        assert sessions.get(log.parent.name).state in ("COMPLETE", "FIRST", "CANCELLED", "EXPIRED")


def test_every_event_of_a_session_but_of_work_is_kept() -> None:
    """Whatever may stand in a session's log is in one of the kept ones."""
    kept = {
        json.loads(line)["type"].split(".")[1] for log in SESSIONS for line in log.read_bytes().splitlines()
    }

    assert kept == {
        "session_created", "state_changed", "step_completed", "session_completed", "session_failed", "session_expired",
        "session_cancelled", "session_extended", "answers_drafted", "answers_updated", "client_bound",
    }  # fmt: skip
