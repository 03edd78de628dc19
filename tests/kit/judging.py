"""What the tests of guards share: states and commands to judge, verdicts to look into, and real documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registration.values.documents import check_document
from registration.values.events import StateSnapshot
from tests.kit.builders import SOURCE, STREAM, asked, weather

MANIFESTS = Path(__file__).resolve().parents[3] / "shared" / "manifests"
needs_manifests = pytest.mark.skipif(
    not MANIFESTS.is_dir(), reason="the collection of real manifests is not beside this clone"
)


def standing(document=None, **facts):
    """A state in which a document stands."""
    kept = weather() if document is None else check_document(document)
    return StateSnapshot(
        stream=STREAM,
        source=SOURCE,
        definition="registration",
        state="DRAFT",
        version=3,
        created_at="2026-01-01T00:00:00.000000Z",
        updated_at="2026-01-01T00:00:00.000000Z",
        document=kept.value,
        digest=kept.digest,
        facts=facts,
    )


def bringing(document, **said):
    """A command that creates a manifest from a document."""
    return asked("create", document=check_document(document), **said)


def places(verdict):
    """Where the problems are, and which rules they break."""
    return [(problem["at"], problem["rule"]) for problem in verdict.evidence["problems"]]


def real(*folders):
    """Real documents: those below some folders that are JSON, with their paths."""
    for path in sorted(path for folder in folders for path in MANIFESTS.glob(f"{folder}/*.json")):
        try:
            yield path, json.loads(path.read_bytes())
        except json.JSONDecodeError:
            continue
