"""Rules commands: why, lifecycle (check, show, schema, graph, paths, migrate), policy (check, show, guards, explain, schema, replay)."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from registration.cli import policies
from registration.cli.beginning import template_command
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
from registration.core.policy import CHANGES
from registration.errors import InvalidArgument, InvalidPolicy, NotFound
from registration.pipeline.wire import reasons, rules
from registration.storage import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registration.core.explanation import Explanation
    from registration.core.policy import Policy
    from registration.evidence.policy_replay import Decision
    from registration.evidence.uncounting import Uncounted
    from registration.pipeline.pipeline import RegistrationPipeline
    from registration.rules.policy_demands import Demand


@click.command(
    "why",
    short_help="Explain whether an action is possible, and for whom.",
    epilog=examples(
        "registration why io.github.acme/weather@1.2.0",
        "registration why io.github.acme/weather@1.2.0 approve --actor bea",
    ),
)
@id_argument
@click.argument("action", required=False)
@click.option("--reason", metavar="TEXT", help="Assume this reason.")
@click.option("--comment", metavar="TEXT", help="Assume this comment.")
@click.option("--context", metavar="JSON", help="Assume this context.")
@actor_option
@shared_options
@click.pass_obj
def why_command(context: Context, /, id: str, action: str | None, **said: Any) -> None:
    """Explain whether ACTION is possible now: every rule's verdict, the actors who could act, and the next command.

    Without ACTION, explain all actions of the lifecycle in the manifest's state. Due time-outs count as
    recorded: the next write would record them first. Nothing is written.
    """
    with context.open() as pipeline:
        said["context"] = context_value(said["context"])
        found = pipeline.explain(id, action, **said)
        repairing = action == "repair"  # of a log that may be damaged; no time-out is recorded before
        state = found[0] if repairing else pipeline.load_state(id)
        due = () if repairing else pipeline.upkeep.tick(id, dry_run=True)
    if context.as_json:
        for one in found:
            echo_json(reasons.explanation(one, SHELL))
        return
    if state.state is None:
        echo(f"{id} is damaged: nothing of it would remain.")
    else:
        echo(f"{id} is {state.state}, at version {state.version}.")
    if due:
        echo(
            f"A time-out is due: the next write, or `registration tick`, first moves it to {due[-1].to_state}."
        )
    if not found:
        echo("The state is final.")
    for one in found:
        _tell_why(one)


def _tell_why(one: Explanation) -> None:
    echo()
    who = printable(one.actor) if one.actor is not None else "an unnamed actor"
    if one.who is None:
        echo(f"{one.action}: the lifecycle has no such transition from {one.state}")
    else:
        leads = "" if one.to is None else f" -> {one.to}"
        echo(f"{one.action}{leads}: {'allowed' if one.allowed else 'refused'} for {who}")
    show_verdicts(answer.as_json() for answer in one.answers)
    if one.who is not None:
        could = "anyone" if one.who.anybody else ", ".join(one.who.actors) or "no one"
        if one.who.excluded:
            could += f" but {', '.join(one.who.excluded)}"
        if not one.allowed and not one.next:
            could += ", once the other refusals are resolved"
        echo(f"  possible for: {printable(could)}")
    if one.next:
        echo(f"  next: {printable(line(one.next))}")


@click.group(
    "lifecycle",
    cls=Subcommands,
    short_help="Check, show, draw or migrate lifecycles.",
    epilog=examples("registration lifecycle check lifecycle.toml", "registration lifecycle paths"),
)
def lifecycle_command() -> None:
    """Lifecycles: TOML or JSON files with states, actions and time-outs.

    Use one with `registration init --lifecycle FILE`.
    """


lifecycle_command.add_command(graph_command)  # people look for it here, too


@lifecycle_command.command("check", epilog=examples("registration lifecycle check lifecycle.toml"))
@click.argument("file")
@shared_options
@click.pass_obj
def check_lifecycle(context: Context, file: str) -> None:
    """Check a lifecycle file. Every problem is reported with its path in the file."""
    found = lifecycle_said(context, file)
    chart = found.chart
    if context.as_json:
        echo_json(rules.lifecycle(found))
        return
    counted = {"state": len(chart.leaves), "action": len(chart.actions), "time-out": len(chart.timeouts)}
    counts = ", ".join(_count(number, noun) for noun, number in counted.items() if number)
    echo(f"{printable(file)} is valid: {chart.name} version {found.version}, {counts}.")
    echo(str(found.identity["digest"]))
    say(f"Next: registration init --lifecycle {printable(file)} DIR")


@lifecycle_command.command(
    "show", epilog=examples("registration lifecycle show", "registration lifecycle show registration-upkeep")
)
@click.argument("file", required=False)
@shared_options
@click.pass_obj
def show_lifecycle(context: Context, file: str | None) -> None:
    """Print a lifecycle as JSON. The registry's own, that of a file, or a shipped one.

    The output can be edited and passed to `registration init --lifecycle`.
    """
    found = lifecycle_said(context, file)
    echo_document(found.data, as_json=context.as_json)


@lifecycle_command.command(
    "schema",
    epilog=examples(
        "registration lifecycle schema > lifecycle.schema.json",
        "# Many editors find it by the first line of the file: #:schema ./lifecycle.schema.json",
    ),
)
@shared_options
@click.pass_obj
def lifecycle_schema_command(context: Context) -> None:
    """Print the JSON Schema of lifecycle files, for editors that complete and check TOML and JSON files."""
    from registration.rules.schemas import lifecycle_schema  # noqa: PLC0415  # for this command alone

    echo_document(lifecycle_schema(), as_json=context.as_json)


@lifecycle_command.command(
    "paths", epilog=examples("registration lifecycle paths", "registration lifecycle paths lifecycle.toml")
)
@click.argument("file", required=False)
@shared_options
@click.pass_obj
def lifecycle_paths(context: Context, file: str | None) -> None:
    """List a shortest path from creation to each reachable state."""
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
@click.option("--dry-run", is_flag=True, help="Show the effect without changing anything.")
@click.option("--reason", metavar="TEXT", help="The reason.")
@actor_option
@shared_options
@click.pass_obj
def migrate_lifecycle(context: Context, file: str, dry_run: bool, reason: str | None) -> None:
    """Put a later version of the registry's lifecycle in force.

    Logs are not changed: they fold forever, under whatever version they were written. Refused if manifests are
    in states that the new version lacks; --dry-run lists them, and exits with 4 if there are any.
    """
    from registration.engine.opening import migrate  # noqa: PLC0415  # for this command alone

    found = migrate(
        context.root(),
        lifecycle_said(context, file),
        actor=context.acting(),
        reason=reason,
        dry_run=dry_run,
    )
    if context.as_json:
        echo_json(rules.migration(found))
    else:
        for id, place in found.stranded:
            echo(f"{id} is {place}, which version {found.proposed['version']} lacks")
        for id in found.unreadable:
            echo(f"{id} can't be read: `registration verify {id}` shows why")
        name, version = found.proposed["name"], found.proposed["version"]
        said = "is in force now" if found.done else "would be put in force; nothing was changed"
        say(f"{_count(found.looked_at, 'manifest')} checked. {name} version {version} {said}.")
    if found.stranded or found.unreadable:
        click.get_current_context().exit(REFUSED)


@click.group(
    "policy",
    cls=Subcommands,
    short_help="Check, apply, show or replay the registry's policy.",
    epilog=examples(
        "registration policy check", "registration policy apply --dry-run", "registration policy log"
    ),
)
def policy_command() -> None:
    """The rules of a registry: roles, kinds of documents, guards.

    They are written in `policy.toml` next to its `registry.json`, and take effect by `registration policy apply`.
    """


policy_command.add_command(template_command)
for _command in policies.COMMANDS:
    policy_command.add_command(_command)


@policy_command.command(
    "check", epilog=examples("registration policy check", "registration policy check proposed.toml")
)
@click.argument("file", required=False)
@shared_options
@click.pass_obj
def check_policy(context: Context, file: str | None) -> None:
    """Check the registry's `policy.toml`, or a proposed FILE. Every problem is reported. Nothing is put in force.

    Demands that nobody can meet are problems as well, such as two approvals by a role that one person has. Those that can't be
    met for the documents of some people are warnings. The pending approvals that would no longer count are listed.

    Without a registry, FILE is checked for the default lifecycle.
    """
    policy, unmet, ended, in_force = _checked(context, file)
    if never := [str(one) for one in unmet if one.never]:
        raise InvalidPolicy(
            file or layout.POLICY_FILE,
            never,
            next_step="Nobody can meet that. Give roles to more people, or demand less.",
        )
    warnings = [str(one) for one in unmet]
    if context.as_json:
        echo_json(rules.policy(policy, warnings, ended, in_force=in_force))
        return
    if policy.digest is None and policy.roster is not None:
        echo(f"The policy is valid: {_count(len(policy.roles), 'role')} and no rules.")
    elif policy.digest is None and (file is not None or in_force is False):
        name = printable(file or layout.POLICY_FILE)
        echo(f"{name} is valid but empty: only the lifecycle's own rules would apply.")
    elif policy.digest is None:
        echo("There is no policy: only the lifecycle's own rules apply.")
        say(_WRITE_ONE)
    else:
        asked = sum(len(uses) for uses in policy.uses.values())
        changes = [change for change in CHANGES if change in policy.governance]
        governed = f", changes of {', '.join(changes)} governed" if changes else ""
        echo(
            f"The policy is valid: {_count(asked, 'rule')} for {_count(len(policy.uses), 'action')}{governed}."
        )
        echo(policy.digest)
    for warning in warnings:
        say(f"Warning: {printable(warning)}")
    policies.say_uncounted(ended)
    if in_force is False:
        words = f" {printable(file)}" if file is not None else ""
        say(f"It is not in force. Next: registration policy apply --dry-run{words}")


def _checked(
    context: Context, file: str | None
) -> tuple[Policy, Sequence[Demand], Sequence[Uncounted], bool | None]:
    """The policy to check, the demands that can't be met, the approvals that it would end, and whether it is in force.

    The last is None without a registry.
    """
    from registration.rules.policy_demands import unmet_demands  # noqa: PLC0415  # for this command alone

    try:
        context.root()
    except NotFound:
        if file is None:
            raise
        from registration.engine.policy_on_disk import read_policy  # noqa: PLC0415  # as above
        from registration.rules.lifecycles.registration import CHART  # noqa: PLC0415  # as above

        policy = read_policy(file, CHART).policy
        return policy, unmet_demands(policy, CHART), (), None
    with context.open(quiet=True) as pipeline:
        own = os.path.join(pipeline.place or "", layout.POLICY_FILE)
        path = own if file is None and os.path.lexists(own) else file
        now = pipeline.policy
        if path is None and now.digest is not None:
            say(f"There is no {layout.POLICY_FILE}: these are the rules in force.")
        policy = now if path is None else pipeline.evidence.read_policy(os.fspath(path))
        ended = list(pipeline.evidence.uncounted_approvals(policy))
        in_force = (policy.digest, policy.roster) == (now.digest, now.roster)
        return policy, unmet_demands(policy, pipeline.definition.chart), ended, in_force


@policy_command.command(
    "show", epilog=examples("registration policy show", "registration policy show sha256:…")
)
@click.argument("digest", required=False)
@shared_options
@click.pass_obj
def show_policy(context: Context, digest: str | None) -> None:
    """Print the policy in force as JSON. DIGEST, as in events, selects an earlier one."""
    with context.open() as pipeline:
        data = rules.policy_in_full(pipeline.policy) if digest is None else _kept(pipeline, digest)
    if data is None and not context.as_json:
        say(f"There is no policy: only the lifecycle's own rules apply. {_WRITE_ONE}")
        return
    echo_document(data, as_json=context.as_json)


@policy_command.command("guards", epilog=examples("registration policy guards"))
@shared_options
@click.pass_obj
def list_guards(context: Context) -> None:
    """List the guards for policies and lifecycles. Built-in ones first, then installed ones.

    `registration policy explain GUARD` shows the parameters of one, with an example.
    """
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
    "explain",
    short_help="Explain a guard, with an example.",
    epilog=examples("registration policy explain approvals", "registration policy explain role --json"),
)
@click.argument("guard")
@shared_options
@click.pass_obj
def explain_guard_command(context: Context, guard: str) -> None:
    """Explain a guard: its parameters with types and defaults, and an example for `policy.toml`."""
    from registration.rules.guards.explaining import explain_guard  # noqa: PLC0415  # for this command alone
    from registration.rules.guards.registry import expected  # noqa: PLC0415  # as above

    found = explain_guard(guard)
    if context.as_json:
        echo_json(rules.guard_explained(found))
        return
    echo(printable(f"{found.guard}: {found.summary}"))
    echo()
    rows = []
    for name, one in found.parameters.items():
        taken = f"{expected(one)}{'; required' if one.required else ''}"
        if one.default is not None:
            taken += f"; default {str(one.default).lower() if one.type == 'flag' else one.default}"
        rows.append((f"  {name}", taken, one.about))
    if rows:
        table(rows)
    else:
        echo("  It has no parameters.")
    if not found.example:
        return
    echo()
    echo("An example for policy.toml:")
    echo()
    for text in found.example.splitlines():
        echo(f"  {printable(text)}".rstrip())


@policy_command.command(
    "schema",
    short_help="Print the JSON Schema of policy.toml.",
    epilog=examples(
        "registration policy schema > policy.schema.json",
        "# Many editors find it by the first line of the file: #:schema ./policy.schema.json",
    ),
)
@shared_options
@click.pass_obj
def policy_schema_command(context: Context) -> None:
    """Print the JSON Schema of policy.toml, for editors that complete and check TOML files."""
    from registration.rules.schemas import policy_schema  # noqa: PLC0415  # for this command alone

    echo_document(policy_schema(), as_json=context.as_json)


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
    """Replay past decisions under a proposed policy. Those that would change are listed.

    The policy is applied as if it had been in force from the start. Recorded refusals are replayed as well.
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
        why = "; ".join(answer.verdict.reason for answer in refusing) or "no rule refuses it"
        of = one.manifest_id if one.area == layout.MANIFESTS else f"{one.area}/{one.manifest_id}"
        rows.append((of, str(one.version), one.why.actor or "-", one.why.action, one.would_be, why))
    if rows:
        table(rows)
    say(f"{_count(asked, 'decision')} replayed: {len(different)} would change.")
    for guard, times in reasons.most_common():
        say(f"  {times} by {guard}")


_WRITE_ONE = (
    f"Write {layout.POLICY_FILE} next to {layout.REGISTRY_FILE}, and apply it; `registration policy guards` lists the "
    "guards for it."
)


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def _kept(pipeline: RegistrationPipeline, digest: str) -> Any:
    """The rules with a digest, or the roster with it."""
    try:
        return pipeline.evidence.rule("policies", digest)
    except NotFound:
        with suppress(NotFound):
            return pipeline.evidence.rule("rosters", digest)
        raise
