"""A program that embeds the package, as `mypy --strict` sees it. Checked, never run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import assert_type

from registration import (
    Event,
    LifecycleState,
    RegistrationError,
    RegistrationPipeline,
    StateChange,
    StateSnapshot,
    Summary,
    TransitionResult,
)


def tell(change: StateChange) -> None:
    print(change.manifest_id, change.from_state, change.to_state, change.event.actor, change.snapshot.version)


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
        assert_type(pipeline.list("DRAFT"), Iterator[Summary])
        unsubscribe = pipeline.on("state_change", tell)
        assert_type(unsubscribe, Callable[[], None])
        try:
            pipeline.persist_state("acme/weather", snapshot)
        except RegistrationError as error:
            assert_type(error.next_step, str)
