"""What was written stays readable: the logs in fixtures/ are replayed to the byte, and never edited."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from registration import RegistrationPipeline
from registration.core.codec import decode_snapshot, encode_snapshot, scan
from registration.core.decider import fold
from registration.errors import InvalidDocument
from registration.lifecycles.registration import REGISTRATION
from registration.values.documents import parse_document
from registration.values.ids import id_from_document, id_of
from registration.values.snapshots import Position

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
LOGS = sorted(FIXTURES.glob("registries/*/manifests/*/events.jsonl"))
SOURCE = "urn:uuid:019b76da-a800-75b1-a522-4a58b791f1d8"


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.parent.name)
def test_a_kept_log_folds_to_the_kept_snapshot_to_the_byte(log: Path) -> None:
    """A log of any format that ever landed gives the same bytes today."""
    raw = log.read_bytes()
    stream = id_of(log.parent.name)
    assert stream is not None

    found = scan(raw, stream=stream, source=SOURCE, after=Position())
    state = fold(REGISTRATION, None, found.events)

    assert found.fault is None
    assert state is not None
    assert encode_snapshot(state) == (log.parent / "state.json").read_bytes()


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.parent.name)
def test_a_kept_snapshot_is_read_and_written_back_to_the_byte(log: Path) -> None:
    """A snapshot survives being read and written."""
    raw = (log.parent / "state.json").read_bytes()
    stream = id_of(log.parent.name)
    assert stream is not None

    snapshot = decode_snapshot(raw, stream=stream, source=SOURCE, definition="registration")

    assert encode_snapshot(snapshot) == raw


def test_a_kept_registry_opens_lists_and_verifies(tmp_path: Path) -> None:
    """A registry that an earlier release made is a registry today, in every state that it can be in."""
    root = tmp_path / "registry"
    shutil.copytree(FIXTURES / "registries" / "format-1", root)

    with RegistrationPipeline(root, create=False) as pipeline:
        states = {summary.manifest_id: summary.state for summary in pipeline.list()}
        findings = [pipeline.verify(manifest_id).findings for manifest_id in states]
        events = list(pipeline.history("io.github.acme/weather@1.2.0"))
        pipeline.approve("ledger-notes@0.3.1", actor="bea")
        after = pipeline.load_state("ledger-notes@0.3.1")

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
