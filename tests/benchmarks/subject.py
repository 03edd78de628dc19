"""The subject: a registry of its own to measure, and the transitions that are measured."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from registration.core.codec import encode_snapshot
from registration.pipeline.pipeline import RegistrationPipeline

if TYPE_CHECKING:
    from floors import BareFiles

    from registration.engine.engine import TransitionResult

DOCUMENT: dict[str, Any] = {
    "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
    "name": "io.github.acme/weather",
    "description": "Forecasts and warnings for a place and a day, from stations, satellites and models",
    "repository": {"url": "https://github.com/acme/weather", "source": "github"},
    "version": "1.2.0",
    "packages": [
        {
            "registryType": "oci",
            "identifier": "ghcr.io/acme/weather:1.2.0",
            "transport": {"type": "stdio"},
            "environmentVariables": [
                {"name": "WEATHER_API_KEY", "description": "Key of the service", "isRequired": True, "isSecret": True},
                {"name": "WEATHER_UNITS", "description": "metric or imperial", "default": "metric"},
            ],
        }
    ],
}  # fmt: skip
"""About 800 bytes: a usual manifest."""


def modes() -> list[str]:
    """How this release can keep snapshots: `each`, and `idle` where there is that."""
    offered = "snapshots" in inspect.signature(RegistrationPipeline).parameters
    return ["each", "idle"] if offered else ["each"]


def open_subject(root: str, mode: str) -> RegistrationPipeline:
    """A registry whose snapshots are kept that way. It is made where it is missing."""
    options: dict[str, Any] = {"snapshots": mode} if mode != "each" else {}
    return RegistrationPipeline(root, actor="bench", **options)


class Walker:
    """One manifest that is handed in and sent back, again and again: each step is one durable transition."""

    def __init__(self, pipeline: RegistrationPipeline, id: str) -> None:
        self._pipeline = pipeline
        self.id = id
        pipeline.create(id, DOCUMENT)
        self.last: TransitionResult = self.step()

    def step(self) -> TransitionResult:
        """One transition."""
        pipeline, id = self._pipeline, self.id
        if getattr(self, "last", None) is None or self.last.to_state == "DRAFT":
            self.last = pipeline.submit_for_review(id)
        else:
            self.last = pipeline.reject(id, reason="once more")
        return self.last

    def lend(self, floor: BareFiles) -> None:
        """Have a floor write what the last step wrote."""
        floor.line, floor.snapshot = self.last.event.line, encode_snapshot(self.last.snapshot)
