"""Changing the rules: policy apply, propose, approve and log; and the line with which every command says how `policy.toml` compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from registration.cli.context import (
    Context,
    actor_option,
    dry_run_option,
    examples,
    lock_timeout_option,
    shared_options,
)
from registration.cli.output import (
    DRY_RUN,
    counted,
    echo,
    echo_json,
    event_row,
    printable,
    say,
    table,
)
from registration.cli.words import SHELL
from registration.pipeline.wire import manifests, rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from registration.evidence.policy_replay import Decision
    from registration.evidence.uncounting import Uncounted

_REASON = click.option("--reason", metavar="TEXT", help="The reason.")
_FILE = click.argument("file", required=False, type=click.Path(dir_okay=False))
_OWNER = click.option(
    "--as-owner",
    is_flag=True,
    help="Without the consent that the rules demand, as the owner of the directory; every later receipt shows it.",
)


def _changing(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        _REASON,
        actor_option,
        dry_run_option,
        lock_timeout_option,
        shared_options,
        click.pass_obj,
    ):
        function = option(function)
    return function


@click.command(
    "apply",
    epilog=examples(
        "registration policy apply --dry-run",
        "registration policy apply --reason 'two reviewers from now on'",
        "registration policy apply proposed.toml",
    ),
)
@_FILE
@_OWNER
@_changing
def apply_command(context: Context, file: str | None, dry_run: bool, **said: Any) -> None:
    """Put the registry's `policy.toml` in force, or FILE: from then on, every decision is made under it, in every program.

    The registry's own log records who did it, when and why. FILE becomes the registry's `policy.toml`, with its schemas. If the
    rules in force govern their own change (`[governance]`), they are asked.

    --dry-run shows what would change: the rules, the people, the pending approvals that would no longer count, and the past
    decisions that would come out differently.
    """
    with context.open(quiet=True) as pipeline:
        applied = pipeline.upkeep.apply_policy(file, dry_run=dry_run, **said)
        ended = list(pipeline.evidence.uncounted_approvals(applied.found)) if dry_run else []
        differing = (
            [one for one in pipeline.evidence.replay_policy(applied.found) if one.differs] if dry_run else []
        )
    if context.as_json:
        echo_json(rules.applied(applied, ended, differing, SHELL))
        return
    if applied.event is None:
        echo("These rules are in force already; nothing was written.")
        return
    what = "rules" if applied.event.action == "apply_policy" else "people"
    said_of = f"version {applied.event.version} of the registry's log"
    if dry_run:
        for sign, text in applied.changes:
            echo(printable(f"{sign}{text}"))
        _say_effects(ended, differing)
        say(f"The {what} would be put in force by {said_of}. {DRY_RUN}")
        return
    echo(f"The {what} are in force, by {said_of}.")
    if applied.event.data.get("forced"):
        say("They were put in force by the owner of the directory: every later receipt shows it.")
    if applied.files:
        say(f"Replaced in the registry: {printable(', '.join(applied.files))}.")


def say_uncounted(found: Sequence[Uncounted]) -> None:
    """Say which pending approvals would no longer count under a proposed policy."""
    if not found:
        return
    say(f"{counted(len(found), 'pending approval')} would no longer count under it:")
    for one in found:
        who = "an unnamed actor" if one.actor is None else one.actor
        say(printable(f"  {one.manifest_id}, version {one.version}, by {who}: {one.why}"))


def _say_effects(ended: Sequence[Uncounted], differing: Sequence[Decision]) -> None:
    say_uncounted(ended)
    if differing:
        say(
            f"{counted(len(differing), 'past decision')} would come out differently; `registration policy replay FILE` lists them."
        )


@click.command(
    "propose", epilog=examples("registration policy propose --reason 'two reviewers' proposed.toml")
)
@_FILE
@_changing
def propose_command(context: Context, file: str | None, dry_run: bool, **said: Any) -> None:
    """Propose the registry's `policy.toml`, or FILE, for others to approve or apply; it replaces an earlier proposal.

    Needed only where the rules in force demand that another person proposed a change, or approvals of it.
    """
    with context.open(quiet=True) as pipeline:
        event = pipeline.upkeep.propose_policy(file, dry_run=dry_run, **said)
    if context.as_json:
        echo_json(manifests.event(event))
        return
    document = event.data["document"]
    echo(f"Proposed: rules {document['policy'] or 'none'}, people {document['roster'] or 'none'}.")
    say(DRY_RUN if dry_run else "Another person can put it in force with `registration policy apply`.")


@click.command("approve", epilog=examples("registration policy approve --actor bea"))
@_changing
def approve_command(context: Context, dry_run: bool, **said: Any) -> None:
    """Approve the proposed change of the rules."""
    with context.open(quiet=True) as pipeline:
        event = pipeline.upkeep.approve_policy(dry_run=dry_run, **said)
    if context.as_json:
        echo_json(manifests.event(event))
        return
    echo(f"Approved, by version {event.version} of the registry's log.")
    if dry_run:
        say(DRY_RUN)


@click.command(
    "log", epilog=examples("registration policy log", "registration policy log --json | jq .data.in_force")
)
@shared_options
@click.pass_obj
def log_command(context: Context) -> None:
    """List the registry's own log: who put which rules, people and lifecycles in force, when and why."""
    with context.open() as pipeline:
        rows: list[tuple[str, ...]] = []
        try:
            for event in pipeline.upkeep.policy_history():
                if context.as_json:
                    echo_json(manifests.event(event))
                    continue
                version, time, actor, action, _, remarks = event_row(event)
                in_force = event.data.get("in_force") or {}
                rules_of = (in_force.get("policy") or "no rules") if in_force else "-"
                forced = "as the owner of the directory" if event.data.get("forced") else ""
                rows.append(
                    (
                        version,
                        time,
                        actor,
                        action,
                        _short(rules_of),
                        "; ".join(filter(None, (forced, remarks))),
                    )
                )
        finally:
            table(rows)
    if not rows and not context.as_json:
        say("There is no log yet: the next write begins it, and puts `policy.toml` in force.")


def _short(digest: str) -> str:
    return digest[:19] if digest.startswith("sha256:") else digest


COMMANDS: Iterable[click.Command] = (apply_command, propose_command, approve_command, log_command)
