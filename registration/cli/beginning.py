"""Beginning: init, with or without rules, and policy template."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from registration.cli.context import (
    Context,
    creating_steps,
    dry_run_option,
    examples,
    lifecycle_said,
    shared_options,
)
from registration.cli.output import DRY_RUN, echo, echo_json, printable, say, say_next
from registration.core.decider import nearest
from registration.core.policy import NO_POLICY
from registration.errors import AlreadyExists, InvalidArgument, InvalidPolicy, StoreError
from registration.pipeline.wire import manifests, rules
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage import layout
from registration.values.documents import DOCUMENT_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registration.core.chart import Chart
    from registration.core.policy import Policy
    from registration.rules.gate import Demanded

_MEMBER = click.option(
    "--member",
    "members",
    metavar="ROLE=NAME",
    multiple=True,
    help="Give a role of the policy to a person. Repeatable.",
)


@click.command(
    "init",
    epilog=examples(
        "registration init",
        "registration init --policy four-eyes /srv/registry",
        "registration init --policy team --member reviewer=bea --member reviewer=cyd --member owner=ana",
        "registration init --lifecycle registration-upkeep /srv/registry",
        "registration init --lifecycle lifecycle.toml --document-bytes-max 65536 /srv/registry",
    ),
)
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(file_okay=False))
@click.option(
    "--document-bytes-max",
    metavar="N",
    type=click.IntRange(2),
    help="Maximum size of a document.  [default: 1048576]",
)
@click.option(
    "--lifecycle",
    metavar="FILE",
    help="Its lifecycle: a TOML or JSON file, or a shipped one by name.  [default: registration]",
)
@click.option(
    "--policy",
    metavar="NAME",
    help="Begin with rules: four-eyes, team or mcp.  [default: the lifecycle's rules only]",
)
@_MEMBER
@dry_run_option
@shared_options
@click.pass_obj
def init_command(
    context: Context,
    directory: str | None,
    document_bytes_max: int | None,
    lifecycle: str | None,
    policy: str | None,
    members: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Create a registry in DIR (default: the current directory).

    An existing registry is left unchanged. Two lifecycles are included: `registration`, with four states, and
    `registration-upkeep`, with ways back from them; `registration lifecycle show NAME` prints one as a starting point.

    Without rules, anyone may approve and register anything. Three policies are included: `four-eyes` (another person than the
    author approves), `team` (reviewers approve, owners register and change the rules) and `mcp` (a team whose documents are MCP
    servers). They become the registry's `policy.toml`; a `policy.toml` that is in DIR already is used as it is.
    """
    from registration.pipeline.pipeline import RegistrationPipeline  # noqa: PLC0415  # `--help` needs no pipeline
    from registration.rules.gate import gate_of  # noqa: PLC0415  # as above

    root = os.path.realpath(directory or context.registry or os.environ.get("REGISTRATION_ROOT") or ".")
    size = document_bytes_max or DOCUMENT_BYTES_MAX
    exists = _is_registry(root, lifecycle)
    text = _template(policy, members)
    definition = lifecycle_said(context, lifecycle) if lifecycle is not None else REGISTRATION
    if text is not None:
        assert policy is not None
        begun_with = _checked(root, policy, text, definition.chart, exists=exists)
    else:
        begun_with = NO_POLICY
    if dry_run and not exists:
        found = text is None and os.path.lexists(os.path.join(root, layout.POLICY_FILE))
        gate = () if found else gate_of(begun_with, definition.chart)
        if context.as_json:
            echo_json(manifests.registry(root, None, definition, made=True, gate=gate, dry_run=True))
            return
        echo(f"{printable(root)} would be a registry with the lifecycle {printable(definition.name)}.")
        _say_gate(gate, begun_with)
        say(DRY_RUN)
        return
    if text is not None:
        _write(root, text)
    try:
        pipeline = RegistrationPipeline(
            root, lifecycle=lifecycle, document_bytes_max=size, actor=context.acting()
        )
    except BaseException:
        # Without a registry, the command can be typed again. With one, these are its rules: its first write puts them in force.
        if text is not None and not os.path.lexists(os.path.join(root, layout.REGISTRY_FILE)):
            with suppress(OSError):
                os.unlink(os.path.join(root, layout.POLICY_FILE))
        raise
    with pipeline:
        gate = gate_of(pipeline.policy, pipeline.lifecycle)
        if context.as_json:
            definition, made = pipeline.definition, pipeline.made
            echo_json(manifests.registry(root, pipeline.registry_id, definition, made=made, gate=gate))
        elif pipeline.made:
            echo(f"{printable(root)} is now a registry ({pipeline.registry_id}).")
            _say_gate(gate, pipeline.policy)
            say_next(creating_steps(pipeline.lifecycle)[0])
        else:
            echo(f"{printable(root)} is already a registry ({pipeline.registry_id}); nothing was changed.")


@click.command(
    "template",
    short_help="Print a policy to begin with.",
    epilog=examples(
        "registration policy template four-eyes > policy.toml",
        "registration policy template team --member reviewer=bea --member owner=ana > policy.toml",
    ),
)
@click.argument("name")
@_MEMBER
@shared_options
@click.pass_obj
def template_command(context: Context, name: str, members: tuple[str, ...]) -> None:
    """Print a policy to begin with: four-eyes, team or mcp.

    four-eyes: another person than the author approves. team: reviewers approve, not their own documents, and owners register and
    change the rules. mcp: a team whose documents are MCP servers, valid for the MCP registry.

    Edit it, and put it in force with `registration policy apply FILE`.
    """
    text = _template(name, members)
    assert text is not None
    if context.as_json:
        echo_json(rules.policy_template(name, text))
        return
    click.echo(text.decode(), nl=False)


def _template(name: str | None, said: tuple[str, ...]) -> bytes | None:
    """A template with its members; None without a name.

    Raises:
        InvalidArgument: when there is no such template or role, or when members are missing or malformed.
    """
    from registration.rules.policies.templates import TEMPLATES, policy_template, template_roles  # noqa: PLC0415  # only with rules

    if name is None:
        if said:
            raise InvalidArgument("`--member` needs a policy to put people into.", "Add `--policy team`.")
        return None
    if name not in TEMPLATES and (name.endswith(".toml") or "/" in name):
        raise InvalidArgument(
            f"{name!r} is a file; expected {', '.join(TEMPLATES)}.",
            f"To begin with rules of your own, copy them to DIR/{layout.POLICY_FILE} first, and leave out `--policy`.",
        )
    roles = template_roles(name)
    members: dict[str, list[str]] = {role: [] for role in roles}
    for one in said:
        role, separator, person = one.partition("=")
        if not separator or not person:
            raise InvalidArgument(
                f"Invalid member {one!r}: expected ROLE=NAME.",
                f"For example: `--member {roles[0] if roles else 'owner'}=ana`.",
            )
        if "," in person:
            several = " ".join(f"--member {role}={each.strip()}" for each in person.split(","))
            raise InvalidArgument(
                f"Invalid member {one!r}: one person at a time.", f"Repeat it: `{several}`."
            )
        if role not in members:
            known = (
                f"Its roles are {', '.join(roles)}." if roles else "It has no roles: leave out `--member`."
            )
            raise InvalidArgument(f"The policy {name!r} has no role {role!r}.{nearest(role, roles)}", known)
        members[role].append(person)
    missing = [role for role, people in members.items() if not people]
    if missing:
        raise InvalidArgument(
            f"The policy {name!r} needs at least one person as {' and one as '.join(missing)}.",
            f"Name them: `{' '.join(f'--member {role}=NAME' for role in missing)}`.",
            missing=missing,
        )
    return policy_template(name, members)


def _checked(root: str, name: str, text: bytes, chart: Chart, *, exists: bool) -> Policy:
    """The policy of a template, for a new registry.

    Raises:
        AlreadyExists: when there is a registry, or a policy, already.
        InvalidPolicy: when it doesn't fit the lifecycle, or nobody could meet it.
    """
    from registration.rules.policy_demands import unmet_demands  # noqa: PLC0415  # only with rules
    from registration.rules.policy_file import parse_policy  # noqa: PLC0415  # pydantic

    path = os.path.join(root, layout.POLICY_FILE)
    if exists:
        raise AlreadyExists(
            f"{root} is already a registry: its rules are changed by applying other ones. Nothing was changed.",
            f"Print the policy, edit it, and put it in force: `registration policy template {name}`, `registration policy apply FILE`.",
        )
    if os.path.lexists(path):
        raise AlreadyExists(
            f"There is already a {path}. Nothing was changed.",
            "Leave out `--policy` to begin with that one, or move it away.",
        )
    try:
        policy = parse_policy(text, source=name, chart=chart, read=_nothing_beside)
    except InvalidPolicy as error:
        raise InvalidPolicy(
            f"{name!r}, for the lifecycle {chart.name!r},",
            error.details["problems"],
            next_step=f"Write a {layout.POLICY_FILE} of your own for it; `registration policy template {name}` prints this one.",
        ) from None
    unmet = unmet_demands(policy, chart)
    if never := [str(one) for one in unmet if one.never]:
        raise InvalidPolicy(
            repr(name), never, next_step="Nobody could meet that. Name more people with `--member`."
        )
    for one in unmet:
        say(f"Warning: {printable(str(one))}")
    return policy


def _nothing_beside(name: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", name)


def _write(root: str, text: bytes) -> None:
    """Put a new `policy.toml` into a directory, which is created if it is missing."""
    path = os.path.join(root, layout.POLICY_FILE)
    try:
        os.makedirs(root, exist_ok=True)
        with open(path, "xb") as file:
            file.write(text)
    except OSError as error:
        raise StoreError(
            f"{path} can't be written: {error.strerror}.", "Check the directory and its owner.", path=path
        ) from None


def _say_gate(gate: Iterable[Demanded], policy: Policy) -> None:
    """Say what the rules demand, by action; and that the author can approve or register alone, if so."""
    by_demand: dict[str, list[str]] = {}
    for one in gate if policy.uses else ():
        by_demand.setdefault(one.demand, []).append(one.action)
    for demand, actions in by_demand.items():
        say(printable(f"  {', '.join(actions)}: {demand}"))
    alone = [one.action for one in gate if one.alone]
    if alone:
        said = f"Anyone may {' and '.join(alone)}, also the author."
        say(printable(f"{said} For rules that demand more: registration policy template --help"))


def _is_registry(root: str, lifecycle: str | None) -> bool:
    """Whether there is a registry; it must have that lifecycle, as on opening."""
    from registration.pipeline.pipeline import RegistrationPipeline  # noqa: PLC0415  # as above

    if not os.path.lexists(os.path.join(root, layout.REGISTRY_FILE)):
        return False
    RegistrationPipeline(root, create=False, lifecycle=lifecycle).close()
    return True
