"""A program that embeds the package, as `mypy --strict` sees it. Checked, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any, assert_type

from registration import (
    AsyncRegistrationPipeline,
    Chart,
    Command,
    CreateItem,
    Definition,
    Event,
    Explanation,
    ItemResult,
    LifecycleState,
    Listing,
    Policy,
    RegistrationError,
    RegistrationPipeline,
    Resolution,
    StateChange,
    StateSnapshot,
    Statistics,
    Summary,
    TransitionItem,
    TransitionResult,
    Verdict,
)
from registration.errors import Next


def tell(change: StateChange) -> None:
    print(change.manifest_id, change.from_state, change.to_state, change.event.actor, change.snapshot.version)


def office_hours(_state: StateSnapshot | None, command: Command, policy: Policy) -> Verdict:
    """A guard of a program's own."""
    return Verdict(command.actor in policy.parameters["staff"], "they are of the staff")


def own_lifecycle(root: Path, chart: Chart) -> None:
    definition = Definition(chart, guards={"office_hours": office_hours}, version=2)
    with RegistrationPipeline(root, lifecycle=definition, guards={"office_hours": office_hours}) as pipeline:
        assert_type(pipeline.definition, Definition)


def use(root: Path) -> None:
    with RegistrationPipeline(root, actor="ada") as pipeline:
        assert_type(pipeline, RegistrationPipeline)
        snapshot = pipeline.create("acme/weather", {"name": "weather"}, actor="ada", idempotency_key="k")
        assert_type(snapshot, StateSnapshot)
        assert_type(snapshot.manifest_id, str)
        assert_type(snapshot.digest, str | None)
        assert_type(pipeline.revise("acme/weather", b"{}"), TransitionResult)
        assert_type(pipeline.submit_for_review("acme/weather"), TransitionResult)
        assert_type(pipeline.approve("acme/weather", actor="bea"), TransitionResult)
        assert_type(pipeline.reject("acme/weather", reason="no licence"), TransitionResult)
        assert_type(pipeline.register("acme/weather"), TransitionResult)
        pipeline.approve("acme/weather", actr="bea")  # type: ignore[call-arg]  # a slip that the type checker sees
        pipeline.reject("acme/weather")  # type: ignore[call-arg]  # it needs a reason
        result = pipeline.transition_state("acme/weather", LifecycleState.REVIEWED, {"comment": "read"})
        assert_type(result.from_state, str | None)
        assert_type(result.to_state, str)
        assert_type(result.attempts, int)
        assert_type(result.replayed, bool)
        assert_type(pipeline.load_state("acme/weather"), StateSnapshot)
        assert_type(pipeline.recover_from_events("acme/weather"), StateSnapshot)
        assert_type(pipeline.history("acme/weather"), Iterator[Event])
        assert_type(pipeline.list("DRAFT", sort="-updated", limit=20), Listing)
        assert_type(next(pipeline.list(where={"/version": "1.0.0"}, text="weather")), Summary)
        assert_type(pipeline.list().next_page, str | None)
        assert_type(pipeline.find.count("DRAFT", actor="bea"), int)
        assert_type(pipeline.find.stats(since="2026-01-01"), Statistics)
        assert_type(pipeline.find.query("select 1").rows, tuple[tuple[Any, ...], ...])
        unsubscribe = pipeline.on("state_change", tell)
        assert_type(unsubscribe, Callable[[], None])
        pinned = pipeline.approve("acme/weather", expected_digest=snapshot.digest, expected_head="0" * 64)
        assert_type(pinned, TransitionResult)
        assert_type(pipeline.act("acme/weather", "suspend", reason="gone"), TransitionResult)
        assert_type(pipeline.explain("acme/weather", "approve"), tuple[Explanation, ...])
        assert_type(pipeline.upkeep.tick("acme/weather"), tuple[Event, ...])
        assert_type(pipeline.undo("acme/weather", reason="too early"), TransitionResult)
        assert_type(pipeline.evidence.at("acme/weather", version=1), StateSnapshot)
        assert_type(pipeline.evidence.receipt("acme/weather"), dict[str, Any])
        assert_type(pipeline.policy, Policy)
        try:
            pipeline.persist_state("acme/weather", snapshot)
        except RegistrationError as error:
            assert_type(error.next_step, str)
            assert_type(error.next, tuple[Next, ...])


def import_all(root: Path, documents: Iterator[bytes]) -> None:
    with RegistrationPipeline(root) as pipeline:
        with pipeline.create_many(CreateItem(document=raw) for raw in documents) as results:
            for one in results:
                assert_type(one, ItemResult[CreateItem, TransitionResult])
                assert_type(one.item, CreateItem)
                assert_type(one.error, RegistrationError | None)
                assert_type(one.value(), TransitionResult)
        steps = [TransitionItem(manifest_id="a", action="approve")]
        for step in pipeline.transition_many(steps, workers=2):
            assert_type(step.item.manifest_id, str)
        for given in pipeline.create_many([{"manifest_id": "a", "document": {"name": "a"}}]):
            assert_type(given.result, TransitionResult | None)
        CreateItem(document={}, actr="bea")  # type: ignore[call-arg]  # a slip that the type checker sees
        pipeline.transition_many([1])  # type: ignore[type-var]  # not an item


async def serve(root: Path) -> None:
    async with AsyncRegistrationPipeline(root, actor="ada", threads=4) as pipeline:
        assert_type(pipeline, AsyncRegistrationPipeline)
        assert_type(await pipeline.create("a", {"name": "a"}, idempotency_key="k"), StateSnapshot)
        assert_type(await pipeline.reject("a", reason="no licence", actor="bea"), TransitionResult)
        assert_type(await pipeline.load_state("a"), StateSnapshot)
        assert_type(pipeline.history("a"), AsyncGenerator[Event, None])
        async for summary in pipeline.list("DRAFT"):
            assert_type(summary, Summary)
        async for one in pipeline.create_many([CreateItem(document={})], workers=2):
            assert_type(one, ItemResult[CreateItem, TransitionResult])
        assert_type(pipeline.on("state_change", tell), Callable[[], None])
        assert_type(pipeline.policy, Policy)
        assert_type(await pipeline.feed.wait("a", "APPROVED", timeout_s=1), StateSnapshot)
        async for entry in pipeline.feed.follow():
            assert_type(entry.event, Event)
        async with pipeline.feed.consumer("index") as consumer:
            assert_type(await consumer.run(lambda entry: print(entry.cursor), once=True), int)
        await pipeline.approve("a", actr="bea")  # type: ignore[call-arg]  # a slip that the type checker sees
        await pipeline.reject("a")  # type: ignore[call-arg]  # it needs a reason
        await pipeline.load_state(7)  # type: ignore[arg-type]  # not an id
        assert_type(await pipeline.names.resolve("weather"), Resolution)
        assert_type(pipeline.upkeep.manifest_ids(), AsyncGenerator[str, None])
        assert_type(await pipeline.find.count("DRAFT", tag="team/maps"), int)
        assert_type(await pipeline.approve("a", dry_run=True), TransitionResult)
        await pipeline.names.resolve(7)  # type: ignore[arg-type]  # not a name
        await pipeline.names.set_alias("a", "b", "1", actr="c")  # type: ignore[call-arg]  # a slip, in a part


def use_parts(root: Path) -> None:
    with RegistrationPipeline(root) as pipeline:
        assert_type(pipeline.names.resolve("weather"), Resolution)
        assert_type(pipeline.upkeep.manifest_ids(), Iterator[str])
        assert_type(pipeline.approve("a", dry_run=True).next_steps("register"), tuple[Next, ...])
        pipeline.work.claim("a", hours=1)  # type: ignore[call-arg]  # a slip
