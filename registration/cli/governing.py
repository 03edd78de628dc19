"""Commands about rules: why, lifecycle (check, show, graph, paths, migrate), policy (check, show, replay)."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from registration.cli.context import (
    Context,
    Subcommands,
    actor_option,
    examples,
    id_argument,
    lifecycle_said,
    shared_options,
)
from registration.cli.exits import REFUSED
from registration.cli.output import (
    Progress,
    echo,
    echo_document,
    echo_json,
    printable,
    say,
    show_verdicts,
    table,
)
from registration.cli.reading import graph_command
from registration.cli.words import SHELL, line
from registration.cli.writing import context_value
from registration.errors import InvalidArgument
from registration.pipeline.wire import reasons, rules
from registration.storage import layout

if TYPE_CHECKING:
    from registration.core.explanation import Explanation
    from registration.core.policy import Policy
    from registration.evidence.policy_replay import Decision


@click.command(
    "why",
    short_help="Why something can be done, or can't, and by whom.",
    epilog=examples(
        "registration why io.github.acme/weather@1.2.0",
        "registration why io.github.acme/weather@1.2.0 approve --actor bea",
    ),
)
@id_argument
@click.argument("action", required=False)
@click.option("--reason", metavar="TEXT", help="As if this was said.")
@click.option("--comment", metavar="TEXT", help="As if this was said.")
@click.option("--context", metavar="JSON", help="As if this was said.")
@actor_option
@shared_options
@click.pass_obj
def why_command(context: Context, /, id: str, action: str | None, **said: Any) -> None:
    """Why ACTION can be taken now, or can't: every rule's verdict, who could act, and what to type next.

    Without ACTION, everything that the lifecycle offers from where the manifest stands. Time-outs that are due count as
    recorded: the next write would do that first. Nothing is written.
    """
    with context.open() as pipeline:
        said["context"] = context_value(said["context"])
        found = pipeline.explain(id, action, **said)
        state = pipeline.load_state(id)
        due = pipeline.upkeep.tick(id, dry_run=True)
    if context.as_json:
        for one in found:
            echo_json(reasons.explanation(one, SHELL))
        return
    echo(f"{id} is {state.state}, at version {state.version}.")
    if due:
        echo(f"A time-out is due: the next write, or `registration tick`, makes it {due[-1].to_state} first.")
    if not found:
        echo("Nothing leads out of there: it is final.")
    for one in found:
        _tell_why(one)


def _tell_why(one: Explanation) -> None:
    echo()
    who = printable(one.actor) if one.actor is not None else "nobody named"
    if one.to is None:
        echo(f"{one.action}: the lifecycle has no such move from {one.state}")
    else:
        echo(f"{one.action} -> {one.to}: {'allowed' if one.allowed else 'refused'} for {who}")
    show_verdicts(answer.as_json() for answer in one.answers)
    if one.who is not None:
        could = "anybody" if one.who.anybody else ", ".join(one.who.actors) or "nobody"
        if one.who.excluded:
            could += f" but {', '.join(one.who.excluded)}"
        if not one.allowed and not one.next:
            could += ", once what else is refused is mended"
        echo(f"  who could: {printable(could)}")
    if one.next:
        echo(f"  next: {printable(line(one.next))}")


@click.group(
    "lifecycle",
    cls=Subcommands,
    short_help="Check, show, draw, walk or migrate lifecycles.",
    epilog=examples("registration lifecycle check lifecycle.toml", "registration lifecycle paths"),
)
def lifecycle_command() -> None:
    """Your own lifecycle: a TOML or JSON file with states, actions and time-outs.

    A registry is made with one: `registration init --lifecycle FILE`.
    """


lifecycle_command.add_command(graph_command)  # where people look for it, too


@lifecycle_command.command("check", epilog=examples("registration lifecycle check lifecycle.toml"))
@click.argument("file")
@shared_options
@click.pass_obj
def check_lifecycle(context: Context, file: str) -> None:
    """Check a lifecycle file, and name every problem with its path in the file."""
    found = lifecycle_said(context, file)
    chart = found.chart
    if context.as_json:
        echo_json(rules.lifecycle(found))
        return
    counted = {"state": len(chart.leaves), "action": len(chart.actions), "time-out": len(chart.timeouts)}
    counts = ", ".join(_count(number, noun) for noun, number in counted.items() if number)
    echo(f"{printable(file)} is sound: {chart.name} version {found.version}, {counts}.")
    echo(str(found.identity["digest"]))
    say(f"Next: registration init --lifecycle {printable(file)} DIR")


@lifecycle_command.command(
    "show", epilog=examples("registration lifecycle show", "registration lifecycle show registration-upkeep")
)
@click.argument("file", required=False)
@shared_options
@click.pass_obj
def show_lifecycle(context: Context, file: str | None) -> None:
    """Print a lifecycle as JSON: the registry's own, or that of a file, or one that comes with the package.

    What is printed can be edited and given to `registration init --lifecycle`.
    """
    found = lifecycle_said(context, file)
    echo_document(found.data, as_json=context.as_json)


@lifecycle_command.command(
    "paths", epilog=examples("registration lifecycle paths", "registration lifecycle paths lifecycle.toml")
)
@click.argument("file", required=False)
@shared_options
@click.pass_obj
def lifecycle_paths(context: Context, file: str | None) -> None:
    """List a shortest way from creation to each place that a manifest can stand in."""
    from registration.core.interpreter import shortest_paths  # noqa: PLC0415  # for this command alone

    found = lifecycle_said(context, file)
    rows = []
    for place, way in shortest_paths(found.chart).items():
        steps = [taken.label for taken in way]
        if context.as_json:
            echo_json(rules.way(place, steps))
        rows.append((place, ", ".join(steps)))
    if not context.as_json:
        table(rows)


@lifecycle_command.command(
    "migrate",
    epilog=examples(
        "registration lifecycle migrate --dry-run lifecycle.toml",
        "registration lifecycle migrate lifecycle.toml",
    ),
)
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Only say what it would mean.")
@shared_options
@click.pass_obj
def migrate_lifecycle(context: Context, file: str, dry_run: bool) -> None:
    """Put a later version of the registry's lifecycle in force.

    Logs are not touched: they fold for ever, under whatever version they were written. Refused where manifests would
    stand in a state that the new version doesn't have; --dry-run lists them, and ends with 4 where there are any.
    """
    from registration.engine.opening import migrate  # noqa: PLC0415  # for this command alone

    found = migrate(context.root(), lifecycle_said(context, file), dry_run=dry_run)
    if context.as_json:
        echo_json(rules.migration(found))
    else:
        for id, place in found.stranded:
            echo(f"{id} is {place}, which version {found.proposed['version']} doesn't have")
        for id in found.unreadable:
            echo(f"{id} can't be read: `registration verify {id}` tells why")
        name, version = found.proposed["name"], found.proposed["version"]
        said = "is in force now" if found.done else "would be put in force; nothing was changed"
        say(f"{_count(found.looked_at, 'manifest')} looked at. {name} version {version} {said}.")
    if found.stranded or found.unreadable:
        click.get_current_context().exit(REFUSED)


@click.group(
    "policy",
    cls=Subcommands,
    short_help="Check, show or try out the registry's rules.",
    epilog=examples("registration policy check", "registration policy replay proposed.toml"),
)
def policy_command() -> None:
    """The rules of a registry, in `policy.toml` beside its `registry.json`: roles, kinds of documents, guards."""


@policy_command.command(
    "check", epilog=examples("registration policy check", "registration policy check proposed.toml")
)
@click.argument("file", required=False)
@shared_options
@click.pass_obj
def check_policy(context: Context, file: str | None) -> None:
    """Check the registry's policy, or a FILE against the registry's lifecycle, and name every problem."""
    policy = _policy(context, file)
    if context.as_json:
        echo_json(rules.policy(policy))
    elif policy.digest is None and file is not None:
        echo(f"{printable(file)} is sound, and says nothing: only the lifecycle's own rules would hold.")
    elif policy.digest is None:
        echo("There is no policy: only the lifecycle's own rules hold.")
        say(_WRITE_ONE)
    else:
        asked = sum(len(uses) for uses in policy.uses.values())
        echo(f"The policy is sound: {_count(asked, 'rule')} for {_count(len(policy.uses), 'action')}.")
        echo(policy.digest)


@policy_command.command(
    "show", epilog=examples("registration policy show", "registration policy show sha256:…")
)
@click.argument("digest", required=False)
@shared_options
@click.pass_obj
def show_policy(context: Context, digest: str | None) -> None:
    """Print the policy in force as JSON, or the one that was in force under DIGEST, as events name it."""
    with context.open() as pipeline:
        data = pipeline.policy.data if digest is None else pipeline.evidence.rule("policies", digest)
    if data is None and not context.as_json:
        say(f"There is no policy: only the lifecycle's own rules hold. {_WRITE_ONE}")
        return
    echo_document(data, as_json=context.as_json)


@policy_command.command("guards", epilog=examples("registration policy guards"))
@shared_options
@click.pass_obj
def list_guards(context: Context) -> None:
    """List the guards that a policy, or a lifecycle, can name: those that are built in, then those that are installed."""
    from registration.rules.guards.registry import BUILTIN, kind_of, known_names  # noqa: PLC0415  # for this command alone

    rows = []
    for name in (*BUILTIN, *(name for name in known_names() if name not in BUILTIN)):
        try:
            kind = kind_of(name)
            parameters, summary = list(kind.parameters), kind.summary
        except InvalidArgument as error:
            parameters, summary = [], error.problem
        rows.append((name, ", ".join(parameters) or "-", summary))
        if context.as_json:
            echo_json(rules.guard(name, summary, parameters))
    if not context.as_json:
        table(rows)


@policy_command.command(
    "replay",
    epilog=examples(
        "registration policy replay proposed.toml",
        "registration policy replay proposed.toml --json | jq .why",
    ),
)
@click.argument("file")
@click.argument("id", required=False)
@shared_options
@click.pass_obj
def replay_policy(context: Context, file: str, id: str | None) -> None:
    """Run a proposed policy over all past logs, or one, and list the decisions that would fall out differently.

    As if it had been in force from the start. What was refused is asked again where the registry notes refusals.
    """
    asked = 0
    different: list[Decision] = []
    with context.open() as pipeline, Progress("decisions", shown=not context.as_json) as progress:
        proposed = pipeline.evidence.read_policy(file)
        for decision in pipeline.evidence.replay_policy(proposed, id):
            asked += 1
            progress.step()
            if decision.differs:
                different.append(decision)
                if context.as_json:
                    echo_json(rules.decision(decision, SHELL))
    if context.as_json:
        return
    reasons: Counter[str] = Counter()
    rows: list[tuple[str, ...]] = []
    for one in different:
        assert one.why is not None
        refusing = [answer for answer in one.why.answers if not answer.verdict.agrees]
        reasons.update({answer.guard for answer in refusing})
        why = "; ".join(answer.verdict.reason for answer in refusing) or "nothing speaks against it"
        rows.append(
            (one.manifest_id, str(one.version), one.why.actor or "-", one.why.action, one.would_be, why)
        )
    if rows:
        table(rows)
    say(f"{_count(asked, 'decision')} asked again: {len(different)} would fall out differently.")
    for guard, times in reasons.most_common():
        say(f"  {times} by {guard}")


_WRITE_ONE = (
    f"Write one: {layout.POLICY_FILE} beside {layout.REGISTRY_FILE}; `registration policy guards` lists what it can "
    "say."
)


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def _policy(context: Context, file: str | None) -> Policy:
    with context.open() as pipeline:
        return pipeline.policy if file is None else pipeline.evidence.read_policy(os.fspath(file))
