"""The demo command: the whole lifecycle in a second, in a new directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from registration.cli.context import Context, examples, shared_options
from registration.cli.output import echo, echo_json, event_row, table
from registration.pipeline.wire import manifests
from registration.storage import layout

if TYPE_CHECKING:
    from registration.engine.engine import TransitionResult

MANIFEST = {
    "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
    "name": "io.github.acme/weather",
    "description": "Forecasts and warnings for a place and a day",
    "version": "1.2.0",
    "packages": [
        {
            "registryType": "oci",
            "identifier": "ghcr.io/acme/weather:1.2.0",
            "transport": {"type": "stdio"},
        }
    ],
}


@click.command(
    "demo",
    short_help="Take a manifest through the lifecycle in a new directory.",
    epilog=examples("registration demo", "registration demo --json"),
)
@shared_options
@click.pass_obj
def demo_command(context: Context) -> None:
    """Take a manifest from DRAFT to REGISTERED in a new temporary directory, with one rejection on the way."""
    from registration.pipeline.pipeline import RegistrationPipeline  # noqa: PLC0415  # `--help` needs no pipeline

    root = os.path.join(tempfile.mkdtemp(prefix="registration-demo-"), "registry")
    with RegistrationPipeline(root) as pipeline:
        id = "io.github.acme/weather@1.2.0"
        steps: list[tuple[str, Callable[[], TransitionResult]]] = [
            ("ada creates a draft", lambda: pipeline.create_with_result(None, MANIFEST, actor="ada")),
            ("ada submits it for review", lambda: pipeline.submit_for_review(id, actor="ada")),
            (
                "bea rejects it, with a reason",
                lambda: pipeline.reject(id, reason="the source repository is not named", actor="bea"),
            ),
            (
                "ada revises it",
                lambda: pipeline.revise(
                    id,
                    {
                        **MANIFEST,
                        "repository": {"url": "https://github.com/acme/weather", "source": "github"},
                    },
                    actor="ada",
                ),
            ),
            ("ada submits it again", lambda: pipeline.submit_for_review(id, actor="ada")),
            ("bea approves this document", lambda: pipeline.approve(id, actor="bea")),
            ("cyd registers it", lambda: pipeline.register(id, actor="cyd")),
        ]
        if not context.as_json:
            echo(id)
        for told, step in steps:
            result = step()
            if context.as_json:
                echo_json(manifests.transition(result))
            else:
                echo(f"  {told:<34} {result.from_state or '(none)':>10} -> {result.to_state}")
        if context.as_json:
            echo_json(manifests.tour(root, pipeline.load_state(id)))
            return
        echo()
        echo("The log, with its hash chain verified:")
        table([event_row(event) for event in pipeline.history(id)])
    echo()
    echo("The files, readable with cat, and suitable for git:")
    echo(f"  {root}/{layout.log_path(id)}")
    echo(f"  {root}/{layout.snapshot_path(id)}")
    echo()
    echo(f"Explore: registration --registry {root} show {id}")
