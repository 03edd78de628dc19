"""Real manifests, as published, through the whole lifecycle. They lie beside the repository, not in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from registration import RegistrationPipeline
from registration.errors import InvalidDocument, NameTaken
from registration.storage.layout import directory_of
from registration.values.ids import id_from_document, own_name

MANIFESTS = Path(__file__).resolve().parents[3] / "shared" / "manifests"
FILES = sorted(MANIFESTS.glob("*/*.json"))

pytestmark = pytest.mark.skipif(not FILES, reason="the collection of real manifests is not beside this clone")


@pytest.mark.slow
def test_every_real_manifest_is_registered_and_replays_to_the_same_bytes(tmp_path: Path) -> None:
    """Whatever arrives in practice goes from DRAFT to REGISTERED, or is refused as no JSON document.

    Some call themselves the same as another; the first of them holds that name, and the others stay APPROVED.
    """
    root = tmp_path / "registry"
    refused = []
    held: set[str] = set()
    registered = taken = 0
    with RegistrationPipeline(root, actor="ada") as pipeline:
        for number, path in enumerate(FILES):
            manifest_id = f"{number}/{path.stem.replace('$', '-')}"[:200]
            try:
                created = pipeline.create(manifest_id, path.read_bytes())
            except InvalidDocument:
                refused.append(path.name)
                continue
            pipeline.submit_for_review(manifest_id)
            pipeline.reject(manifest_id, reason="look again")
            pipeline.revise(manifest_id, created.document or {})
            pipeline.submit_for_review(manifest_id)
            last = pipeline.approve(manifest_id, actor="bea").snapshot
            name = own_name(created.document or {})
            if name in held:
                with pytest.raises(NameTaken):
                    pipeline.register(manifest_id)
                taken += 1
            else:
                last = pipeline.register(manifest_id).snapshot
                held |= {name} if name is not None else set()
                registered += 1
            state_file = root / "manifests" / directory_of(manifest_id) / "state.json"
            written = state_file.read_bytes()
            state_file.unlink()

            replayed = pipeline.recover_from_events(manifest_id)

            assert replayed == last
            assert state_file.read_bytes() == written
            assert replayed.digest == created.digest
            assert pipeline.evidence.verify(manifest_id).findings == ()

    assert refused == [
        "apicurio__agentcard-invalid-json.json",
        "apicurio__asyncapi-invalid-syntax.json",
        "apicurio__openapi-invalid-syntax.json",
    ]
    assert registered + taken == len(FILES) - len(refused)
    assert 0 < taken < 20


def test_every_mcp_server_and_agent_card_says_its_own_id(tmp_path: Path) -> None:
    """The id need not be given for what has a name and a version."""
    with RegistrationPipeline(tmp_path / "registry") as pipeline:
        for path in FILES:
            if path.parent.name.startswith(("mcp-server", "a2a-agent-card")) and "invalid-" not in path.name:
                document = pipeline.read_document(path.read_bytes(), source=path.name)

                manifest_id = id_from_document(document.value)

                assert manifest_id.count("@") == 1
                assert manifest_id.endswith("@" + str(document.value["version"]))
