"""The command `verify`: is every byte as written? It loads neither pydantic, portalocker nor SQLite."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from registration.cli.context import Context, examples, optional_id_argument, shared_options
from registration.cli.exits import DAMAGE, worst
from registration.cli.output import Progress, counted, echo, echo_json, finding_line, listed, say, show_error
from registration.errors import LockTimeout, RegistrationError
from registration.pipeline.upkeep import Verified
from registration.pipeline.wire import upkeep
from registration.storage import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.evidence.verification import Finding
    from registration.pipeline.pipeline import RegistrationPipeline


@click.command(
    "verify",
    short_help="Verify every byte of one manifest, or of all.",
    epilog=examples("registration verify", "registration verify io.github.acme/weather@1.2.0"),
)
@optional_id_argument
@click.option("--quick", is_flag=True, help="Check snapshots and sizes only.")
@shared_options
@click.pass_obj
def verify_command(context: Context, id: str | None, quick: bool) -> None:
    """Check every byte of a manifest's files, or of the whole registry. Changes nothing.

    The whole registry is its manifests and rules, names and aliases, sessions, deployments and locks.

    Unfinished writes of a crash are reported, but are not damage: the next read settles them. Nor are unexpected files.
    """
    counts: Counter[str] = Counter()
    rest: list[Finding] = []
    problems: list[RegistrationError] = []
    with context.open() as pipeline, Progress("checked", shown=not context.as_json) as progress:
        for one in pipeline.upkeep.verify_all(quick=quick) if id is None else _one(pipeline, id, quick=quick):
            progress.step()
            counts[one.area] += one.looked_at
            if one.problem is not None:  # such as a long-running writer: continue with the others
                problems.append(one.problem)
                progress.clear()
                show_error(one.problem, as_json=context.as_json)
            elif one.area != layout.MANIFESTS:
                rest += one.findings
            else:
                counts["damaged"] += one.damaged
                counts["unfinished"] += bool(one.findings) and not one.damaged
                _show(context, progress, one, quick=quick)
        progress.clear()
    counts["unfinished"] += sum(finding.kind == "unfinished" for finding in rest)
    changed = any(finding.kind == "damage" for finding in rest)
    if not context.as_json:
        for finding in rest:
            echo(finding_line(finding))
        _sum_up(counts, changed=changed, quick=quick)
    elif rest:
        echo_json(upkeep.verification(None, None, rest))
    if counts["damaged"] or changed or problems:
        click.get_current_context().exit(DAMAGE if counts["damaged"] or changed else worst(problems))


def _one(pipeline: RegistrationPipeline, id: str, *, quick: bool) -> Iterator[Verified]:
    try:
        found = pipeline.evidence.verify(id, quick=quick)
    except LockTimeout as error:
        yield Verified(layout.MANIFESTS, id, problem=error, looked_at=False)
    else:
        yield Verified(layout.MANIFESTS, id, found.findings, found.sound_version)


def _show(context: Context, progress: Progress, one: Verified, *, quick: bool) -> None:
    if context.as_json:
        echo_json(upkeep.verification(one.id, one.sound_version, one.findings))
        return
    for finding in one.findings:
        progress.clear()
        echo(finding_line(finding) + ("" if quick else f"; valid up to version {one.sound_version}"))


def _sum_up(counts: Counter[str], *, changed: bool, quick: bool) -> None:
    damaged, unfinished = counts["damaged"], counts["unfinished"]
    others = (layout.SESSIONS, layout.DEPLOYMENTS, layout.LEASES)
    what = listed(
        [
            counted(counts[layout.MANIFESTS], "manifest"),
            *(counted(counts[area], area.removesuffix("s")) for area in others if counts[area]),
        ]
    )
    left = f"{unfinished} unfinished, which the next read settles; " if unfinished else ""
    sound = "every byte is as written." if not unfinished and not quick else "no damage."
    said = f"{damaged} damaged." if damaged else "damage outside the manifests." if changed else sound
    say(f"{what} checked: {left}{said}")
