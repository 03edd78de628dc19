"""The command `verify`: is every byte what was written? It loads neither pydantic, portalocker nor SQLite."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from registration.cli.context import Context, examples, optional_id_argument, shared_options
from registration.cli.exits import DAMAGE, worst
from registration.cli.output import Progress, counted, echo, echo_json, finding_line, listed, say, show_error
from registration.errors import LockTimeout, RegistrationError, StoreError
from registration.pipeline.wire import upkeep

if TYPE_CHECKING:
    from registration.evidence.verification import Finding
    from registration.pipeline.pipeline import RegistrationPipeline


@click.command(
    "verify",
    short_help="Check every byte of one manifest, or of all.",
    epilog=examples("registration verify", "registration verify io.github.acme/weather@1.2.0"),
)
@optional_id_argument
@click.option("--quick", is_flag=True, help="Look at snapshots and sizes only.")
@shared_options
@click.pass_obj
def verify_command(context: Context, id: str | None, quick: bool) -> None:
    """Check every byte of a manifest's files, or of the whole registry, changing nothing.

    The whole registry is its manifests and rules, names and aliases, sessions, deployments and leases.

    What a crash left unfinished is named, and is no damage: the next read settles it. Nor is a stray file.
    """
    damaged = unfinished = checked = 0
    busy: list[RegistrationError] = []
    with context.open() as pipeline, Progress("checked", shown=not context.as_json) as progress:
        for one in [id] if id is not None else pipeline.upkeep.manifest_ids():
            try:
                found = pipeline.evidence.verify(one, quick=quick)
            except LockTimeout as error:  # a writer all the time: said, and the others are looked at
                busy.append(error)
                progress.clear()
                show_error(error, as_json=context.as_json)
                continue
            checked += 1
            damaged += found.damaged
            unfinished += bool(found.findings) and not found.damaged
            progress.step()
            if context.as_json:
                echo_json(upkeep.verification(one, found.sound_version, found.findings))
                continue
            for finding in found.findings:
                progress.clear()
                sound = "" if quick else f"; sound to version {found.sound_version}"
                echo(finding_line(finding) + sound)
        rest = _verified_rest(context, pipeline, quick=quick) if id is None else _Rest()
        busy += rest.problems
        unfinished += sum(finding.kind == "unfinished" for finding in rest.findings)
        for problem in rest.problems:
            show_error(problem, as_json=context.as_json)
        progress.clear()
    changed = any(finding.kind == "damage" for finding in rest.findings)
    if context.as_json:
        if rest.findings:
            echo_json(upkeep.verification(None, None, rest.findings))
    else:
        for finding in rest.findings:
            echo(finding_line(finding))
        what = listed([counted(checked, "manifest"), *rest.counts])
        left = f"{unfinished} unfinished, which the next read settles; " if unfinished else ""
        sound = "every byte is what was written." if not unfinished and not quick else "no damage."
        said = f"{damaged} damaged." if damaged else "damage beside the manifests." if changed else sound
        say(f"{what} checked: {left}{said}")
    if damaged or changed or busy:
        click.get_current_context().exit(DAMAGE if damaged or changed else worst(busy))


@dataclass
class _Rest:
    """What was found beside the manifests, why some of it could not be looked at, and how many there are of what."""

    findings: list[Finding] = field(default_factory=list)
    problems: list[RegistrationError] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)


def _verified_rest(context: Context, pipeline: RegistrationPipeline, *, quick: bool) -> _Rest:
    """Strays and rules; unless it has to be quick, names with their aliases, sessions, deployments and leases as well."""
    from registration.pipeline.upkeep import verify_beside  # noqa: PLC0415  # for this command alone

    rest = _Rest(findings=list(pipeline.upkeep.strays()))
    if quick:
        return rest
    for name in pipeline.names.known():
        try:
            rest.findings += pipeline.upkeep.verify_name(name)
        except (StoreError, LockTimeout) as error:
            rest.problems.append(error)
    for area in verify_beside(context.root()):
        rest.findings += area.findings
        rest.problems += area.problems
        if area.looked_at:
            rest.counts.append(counted(area.looked_at, area.area.removesuffix("s")))
    return rest
