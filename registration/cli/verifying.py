"""The command `verify`: is every log what its rules allow, and every byte as written? It loads neither pydantic, portalocker nor SQLite."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from registration.cli.context import Context, examples, optional_id_argument, shared_options
from registration.cli.exits import DAMAGE, worst
from registration.cli.output import (
    Progress,
    counted,
    echo,
    echo_json,
    finding_line,
    listed,
    printable,
    say,
    show_error,
)
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
    short_help="Verify every byte and decision of one manifest, or of all.",
    epilog=examples("registration verify", "registration verify io.github.acme/weather@1.2.0"),
)
@optional_id_argument
@click.option("--quick", is_flag=True, help="Check snapshots, sizes and last lines only.")
@shared_options
@click.pass_obj
def verify_command(context: Context, id: str | None, quick: bool) -> None:
    """Check every byte of a manifest's files, or of the whole registry, and decide every event again. Changes nothing.

    The whole registry is its manifests and rules, names and aliases, sessions, deployments and locks.

    Each event is decided again under the lifecycle, the policy and the roster that it names: what they refuse is damage. The installed
    guards are run. What can't be asked here, such as a guard that is not installed, is unchecked.

    Unfinished writes of a crash are reported, but are not damage: the next read settles them. Nor are unexpected files, and what
    is only odd.
    """
    found = _Found()
    with context.open() as pipeline, Progress("checked", shown=not context.as_json) as progress:
        for one in pipeline.upkeep.verify_all(quick=quick) if id is None else _one(pipeline, id, quick=quick):
            progress.step()
            found.add(one, alone=id is not None)
            if one.problem is not None:  # such as a long-running writer: continue with the others
                progress.clear()
                show_error(one.problem, as_json=context.as_json)
            elif one.area == layout.MANIFESTS:
                _show(context, progress, one, quick=quick, alone=id is not None)
        progress.clear()
    if context.as_json:
        if found.rest:
            echo_json(upkeep.verification(None, None, found.rest))
    else:
        for finding in found.rest:
            if finding.kind != "unchecked":
                echo(finding_line(finding))
        found.sum_up(quick=quick)
    if found.damaged or found.problems:
        click.get_current_context().exit(DAMAGE if found.damaged else worst(found.problems))


@dataclass(slots=True)
class _Found:
    """What was found so far.

    counts: of streams by area, and of manifests that are `damaged` or `unfinished`. rest: the findings outside the manifests. unchecked: the
    number of events by reason. head: of the only manifest, or of the registry's own log.
    """

    counts: Counter[str] = field(default_factory=Counter)
    rest: list[Finding] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)
    problems: list[RegistrationError] = field(default_factory=list)
    head: str | None = None

    @property
    def damaged(self) -> bool:
        """Whether anything is damaged."""
        return bool(self.counts["damaged"]) or any(one.kind == "damage" for one in self.rest)

    def add(self, one: Verified, *, alone: bool) -> None:
        """Add the result of one stream. alone: it is the only one."""
        self.counts[one.area] += one.looked_at
        if one.problem is not None:
            self.problems.append(one.problem)
        kinds = {finding.kind for finding in one.findings}
        if one.area == layout.MANIFESTS:
            self.counts["damaged"] += one.damaged
            self.counts["unfinished"] += "unfinished" in kinds and not one.damaged
        else:
            self.counts["unfinished"] += sum(finding.kind == "unfinished" for finding in one.findings)
            self.rest += one.findings
        for finding in one.findings:
            if finding.kind == "unchecked":
                # Without a line it is about files, such as a feed that is missing, and no number of events.
                self.unchecked[finding.group or finding.reason] += finding.count if finding.line else 0
        if alone or one.area == layout.REGISTRY:
            self.head = one.head

    def sum_up(self, *, quick: bool) -> None:
        """Say what it comes to."""
        for reason, count in sorted(self.unchecked.items()):
            events = f"{counted(count, 'event')}: " if count else ""
            say(printable(f"unchecked: {events}{reason}"))
        damaged, unfinished = self.counts["damaged"], self.counts["unfinished"]
        others = (layout.SESSIONS, layout.DEPLOYMENTS, layout.LEASES)
        what = listed(
            [
                counted(self.counts[layout.MANIFESTS], "manifest"),
                *(counted(self.counts[area], area.removesuffix("s")) for area in others if self.counts[area]),
            ]
        )
        left = f"{unfinished} unfinished, which the next read settles; " if unfinished else ""
        if self.damaged:
            said = f"{damaged} damaged" if damaged else "damage outside the manifests"
        else:
            said = "no damage" if unfinished or quick else upkeep.verdict((), self.head)
        say(f"{what} checked: {left}{said}.")


def _one(pipeline: RegistrationPipeline, id: str, *, quick: bool) -> Iterator[Verified]:
    try:
        found = pipeline.evidence.verify(id, quick=quick)
    except LockTimeout as error:
        yield Verified(layout.MANIFESTS, id, problem=error, looked_at=False)
    else:
        yield Verified(layout.MANIFESTS, id, found.findings, found.sound_version, head=found.head)


def _show(context: Context, progress: Progress, one: Verified, *, quick: bool, alone: bool) -> None:
    if context.as_json:
        echo_json(upkeep.verification(one.id, one.sound_version, one.findings, one.head))
        return
    for finding in one.findings:
        if finding.kind == "unchecked" and not alone:  # counted at the end
            continue
        progress.clear()
        more = f" ({finding.count - 1:,} more)" if finding.count > 1 else ""
        valid = "" if quick or finding.kind == "unchecked" else f"; valid up to version {one.sound_version}"
        echo(finding_line(finding) + more + valid)
