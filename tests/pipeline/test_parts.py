"""The parts of a pipeline, each made by itself over one open registry."""

from __future__ import annotations

import pytest

from registration import RegistrationPipeline, Sessions, StoreError, open_memory
from registration.engine.registry import OpenRegistry
from registration.onboarding.sessions.session import Caller
from registration.pipeline.evidence import EvidencePart
from registration.pipeline.feed import FeedPart
from registration.pipeline.find import FindPart
from registration.pipeline.names import NamesPart
from registration.pipeline.part import how_awaited
from registration.pipeline.upkeep import UpkeepPart
from registration.pipeline.work import WorkPart
from registration.rules.lifecycles.registration import REGISTRATION

SOURCE = "urn:uuid:01a1fcdf-67de-7635-b5e5-5a6d9d430ded"
PARTS = {
    "names": NamesPart, "work": WorkPart, "feed": FeedPart, "find": FindPart, "evidence": EvidencePart,
    "upkeep": UpkeepPart,
}  # fmt: skip


@pytest.fixture
def registry():
    """An open registry in memory, with one manifest; nothing but the store has to be given."""
    registry = OpenRegistry(open_memory(SOURCE, REGISTRATION), actor="ada")
    registry.carry_out("a", {}, action="create", document=registry.document({"name": "a"}))
    return registry


@pytest.mark.parametrize(
    ("part", "ask"),
    [
        (NamesPart, lambda names: names.status("a").holder is None),
        (WorkPart, lambda work: work.claim("a").holder == "ada"),
        (FeedPart, lambda feed: [entry.event.subject for entry in feed.read()] == ["a"]),
        (FindPart, lambda find: find.count("DRAFT") == 1),
        (EvidencePart, lambda evidence: evidence.at("a", version=1).document == {"name": "a"}),
        (UpkeepPart, lambda upkeep: list(upkeep.manifest_ids()) == ["a"]),
    ],
)
def test_a_part_needs_nothing_but_an_open_registry(registry, part, ask):
    """It answers without a pipeline."""
    assert ask(part(registry))


def test_a_pipeline_has_each_part_once(root):
    """They are what the classes say, and the same at each look."""
    with RegistrationPipeline(root) as pipeline:
        for name, part in PARTS.items():
            assert type(getattr(pipeline, name)) is part
            assert getattr(pipeline, name) is getattr(pipeline, name)
        assert isinstance(pipeline.sessions, Sessions)


@pytest.mark.parametrize("part", PARTS.values())
def test_every_method_of_a_part_says_how_it_is_awaited(part):
    """So that the async twin has it as well."""
    public = {name: member for name, member in vars(part).items() if not name.startswith("_")}

    assert {name for name, one in public.items() if how_awaited(one) is None} <= {"leases"}


def test_a_closed_pipeline_is_closed_in_all_its_parts(root):
    """A part that was got before refuses as well."""
    pipeline = RegistrationPipeline(root)
    calls = (
        lambda: pipeline.names.resolve("a"),
        lambda: pipeline.work.claim("a"),
        lambda: list(pipeline.feed.read()),
        pipeline.find.count,
        lambda: pipeline.evidence.verify("a"),
        lambda: list(pipeline.upkeep.verify_all()),
    )
    for name in PARTS:
        getattr(pipeline, name)

    pipeline.close()

    for call in calls:
        with pytest.raises(StoreError, match="closed"):
            call()


def test_sessions_of_a_pipeline_end_in_its_manifests(root):
    """With the wizards that come along, in the pipeline's own registry."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        by = Caller("ada", "guild-7")
        session = pipeline.sessions.start("mcp-server", by)

        assert pipeline.sessions.get(session.id).state == "IDENTITY"
    with RegistrationPipeline(root) as again:
        assert again.sessions.get_active("guild-7", "ada").id == session.id
