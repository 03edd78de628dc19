"""Name commands: resolve, names, alias, tag."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from registration.cli.context import (
    COMPLETIONS_MAX,
    Context,
    Subcommands,
    actor_option,
    dry_run_option,
    examples,
    id_argument,
    lock_timeout_option,
    shared_options,
    writing_options,
)
from registration.cli.output import DRY_RUN, echo, echo_json, printable, say, table, when
from registration.errors import InvalidArgument, NotFound, RegistrationError
from registration.pipeline.wire import manifests, names
from registration.values.names import check_name

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from registration.engine.engine import TransitionResult
    from registration.values.events import Event


def _names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem | str]:
    """Shell completion of names. Silent without a registry: completion must not print messages."""
    try:
        with context.ensure_object(Context).open() as pipeline:
            known = (name for name in pipeline.names.known() if name.startswith(incomplete))
            return list(islice(known, COMPLETIONS_MAX))
    except RegistrationError:
        return []


_NAME = click.argument("name", shell_complete=_names)
_REASON = click.option("--reason", metavar="TEXT", help="The reason.")
_COMMENT = click.option("--comment", metavar="TEXT", help="A remark to store with the event.")


@click.command(
    "resolve",
    short_help="Find the manifest of a name.",
    epilog=examples(
        "registration resolve io.github.acme/weather",
        "registration resolve io.github.acme/weather@1.2.0",
        "registration resolve --json io.github.acme/weather@stable | jq -r .digest",
    ),
)
@click.argument("name", metavar="NAME[@VERSION|@ALIAS]", shell_complete=_names)
@shared_options
@click.pass_obj
def resolve_command(context: Context, name: str) -> None:
    """Print the id of the manifest that holds a name: that of a version, of an alias, or of the latest version.

    The latest is the highest release by Semantic Versioning; without releases, the highest pre-release; without
    either, the last one registered.
    """
    with context.open() as pipeline:
        found = pipeline.names.resolve(name)
    if context.as_json:
        echo_json(names.resolution(found))
        return
    echo(found.manifest_id)
    if found.alias is not None:
        say(printable(f"{found.alias} is {found.version or 'without a version'}: {found.state}."))


# -- names -----------------------------------------------------------------------------------------------------


@click.group(
    "names",
    cls=Subcommands,
    short_help="List held names, or show the holder of one.",
    epilog=examples("registration names list", "registration names status io.github.acme/weather@1.2.0"),
)
def names_command() -> None:
    """The names of documents: NAME@VERSION. A registered manifest holds its name exclusively."""


@names_command.command(
    "list",
    epilog=examples("registration names list", "registration names list io.github.acme/weather --json"),
)
@click.argument("name", required=False, shell_complete=_names)
@shared_options
@click.pass_obj
def list_names(context: Context, name: str | None) -> None:
    """List held names, or the versions of NAME, with their manifests."""
    rows: list[tuple[str, ...]] = []
    with context.open() as pipeline:
        for found in pipeline.names.held(name):
            if found.holder is None:
                continue
            if context.as_json:
                echo_json(names.name(found))
            holder = found.holder
            rows.append((found.full_name, holder.manifest_id, holder.state, when(holder.time)))
    if context.as_json:
        return
    if rows:
        table(rows)
    elif name is None:
        say("No names are held yet: a manifest holds the name of its document once it is registered.")
    else:
        say(printable(f"No version of {name} is held."))


@names_command.command("status", epilog=examples("registration names status io.github.acme/weather@1.2.0"))
@click.argument("name", metavar="NAME@VERSION", shell_complete=_names)
@shared_options
@click.pass_obj
def name_status(context: Context, name: str) -> None:
    """Show the manifest that holds this exact name, or that it is free. Aliases are not followed."""
    with context.open() as pipeline:
        found = pipeline.names.status(name)
        holder = found.holder
        aliases = [] if holder is None else pipeline.names.aliases_of(pipeline.load_state(holder.manifest_id))
    if context.as_json:
        echo_json(names.name_and_aliases(found, aliases))
    elif holder is None:
        echo(f"{found.full_name} is free.")
        if found.unfinished:
            say(
                "It is reserved: a registration is in progress, or crashed. `registration recover` settles it."
            )
    else:
        echo(found.full_name)
        rows = [
            ("  held by", holder.manifest_id),
            ("  state", holder.state),
            ("  since", when(holder.time)),
            (
                "  digest",
                (holder.digest or "-") + ("" if holder.same_document else " (its document has changed)"),
            ),
        ]
        table([*rows, *([("  aliases", ", ".join(aliases))] if aliases else [])])


# -- aliases ---------------------------------------------------------------------------------------------------


@click.group(
    "alias",
    cls=Subcommands,
    short_help="Point stable, or another alias, at a version.",
    epilog=examples(
        "registration alias set io.github.acme/weather stable 1.2.0 --reason 'a week in use'",
        "registration resolve io.github.acme/weather@stable",
    ),
)
def alias_command() -> None:
    """Aliases for versions of a name. `latest` moves automatically with each registration; the others are set by people."""


@alias_command.command(
    "set",
    epilog=examples(
        "registration alias set io.github.acme/weather stable 1.2.0 --reason 'a week in use'",
        "registration alias set io.github.acme/weather stable latest",
    ),
)
@_NAME
@click.argument("alias")
@click.argument("version")
@_REASON
@_COMMENT
@dry_run_option
@actor_option
@lock_timeout_option
@shared_options
@click.pass_obj
def set_alias(context: Context, /, name: str, alias: str, version: str, dry_run: bool, **said: Any) -> None:
    """Point ALIAS of NAME at VERSION. It must be held; another alias is resolved."""
    with context.open() as pipeline:
        before = pipeline.names.aliases(_without_version(name)).get(alias)
        target = pipeline.names.set_alias(name, alias, version, dry_run=dry_run, **said)
    if context.as_json:
        echo_json(names.alias_set(name, alias, target, moved=target != before, dry_run=dry_run))
        return
    echo(printable(f"{name}@{alias} is {target.version}{' now' if target != before else ''}."))
    if target == before:
        say("No change: nothing was written.")
    elif dry_run:
        say(DRY_RUN)


@alias_command.command("list", epilog=examples("registration alias list io.github.acme/weather"))
@_NAME
@shared_options
@click.pass_obj
def list_aliases(context: Context, name: str) -> None:
    """List the aliases of NAME, with their versions."""
    with context.open() as pipeline:
        found = pipeline.names.aliases(_without_version(name))
    rows = []
    for alias, target in sorted(found.items()):
        if context.as_json:
            echo_json(names.alias(name, alias, target))
        rows.append((alias, target.version or "-", target.manifest_id))
    if rows and not context.as_json:
        table(rows)
    elif not rows and not context.as_json:
        say(printable(f"{name} has no aliases."))


@alias_command.command(
    "remove", epilog=examples("registration alias remove io.github.acme/weather stable --reason 'withdrawn'")
)
@_NAME
@click.argument("alias")
@_REASON
@_COMMENT
@dry_run_option
@actor_option
@lock_timeout_option
@shared_options
@click.pass_obj
def remove_alias(context: Context, /, name: str, alias: str, dry_run: bool, **said: Any) -> None:
    """Remove ALIAS of NAME."""
    with context.open() as pipeline:
        pipeline.names.remove_alias(name, alias, dry_run=dry_run, **said)
    if context.as_json:
        echo_json(names.alias_removed(name, alias, dry_run=dry_run))
        return
    echo(printable(f"{name} no longer has the alias {alias}."))
    if dry_run:
        say(DRY_RUN)


@alias_command.command("log", epilog=examples("registration alias log io.github.acme/weather"))
@_NAME
@shared_options
@click.pass_obj
def alias_log(context: Context, name: str) -> None:
    """Show the history of the aliases of NAME, oldest first. With --json, the events as in the log."""
    rows: list[tuple[str, ...]] = []
    with context.open() as pipeline:
        for event in pipeline.names.alias_history(_without_version(name)):
            rows.append(_alias_row(event))
            if context.as_json:
                echo_json(manifests.event(event))
    if not rows:
        raise NotFound(f"{name!r} never had an alias.", "`registration names list` shows the held names.")
    if not context.as_json:
        table(rows)


def _alias_row(event: Event) -> tuple[str, ...]:
    target = event.data.get("target")
    moved = (
        f"{event.data.get('alias', '-')} -> {target['version'] or '-'}"
        if target
        else f"{event.data.get('alias', '-')} removed"
    )
    said = "; ".join(str(event.data[word]) for word in ("reason", "comment") if word in event.data)
    return (str(event.version), when(event.time), event.actor or "-", moved, said)


def _without_version(name: str) -> str:
    found = check_name(name)
    if found.version is not None:
        raise InvalidArgument(
            f"{name!r} includes a version; aliases belong to a name.", f"Use {found.name!r}."
        )
    return found.name


# -- tags ------------------------------------------------------------------------------------------------------


@click.group(
    "tag",
    cls=Subcommands,
    short_help="Add, remove or list tags of a manifest.",
    epilog=examples(
        "registration tag add io.github.acme/weather@1.2.0 team/maps reviewed-2026",
        "registration tag list io.github.acme/weather@1.2.0",
    ),
)
def tag_command() -> None:
    """Tags on manifests, in any state. They don't affect approvals; the policy may restrict who sets them.

    A tag has 1 to 64 characters of A-Z a-z 0-9 . _ ~ : / + - and begins with a letter or digit.
    """


@tag_command.command(
    "add", epilog=examples("registration tag add io.github.acme/weather@1.2.0 team/maps reviewed-2026")
)
@id_argument
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@_REASON
@writing_options
@click.pass_obj
def add_tags(context: Context, /, id: str, tags: tuple[str, ...], **said: Any) -> None:
    """Add tags to a manifest; existing ones are ignored."""
    with context.open() as pipeline:
        _show(context, pipeline.tag(id, tags, **_said(said)))


@tag_command.command(
    "remove", epilog=examples("registration tag remove io.github.acme/weather@1.2.0 team/maps")
)
@id_argument
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@_REASON
@writing_options
@click.pass_obj
def remove_tags(context: Context, /, id: str, tags: tuple[str, ...], **said: Any) -> None:
    """Remove tags from a manifest; missing ones are ignored."""
    with context.open() as pipeline:
        _show(context, pipeline.untag(id, tags, **_said(said)))


@tag_command.command("list", epilog=examples("registration tag list io.github.acme/weather@1.2.0"))
@id_argument
@shared_options
@click.pass_obj
def list_tags(context: Context, id: str) -> None:
    """List the tags of a manifest, one per line."""
    with context.open() as pipeline:
        tags = pipeline.load_state(id).tags
    if context.as_json:
        echo_json(manifests.tags(id, tags))
        return
    for tag in tags:
        echo(tag)
    if not tags:
        say("It has no tags.")


def _said(said: dict[str, Any]) -> dict[str, Any]:
    from registration.cli.writing import context_value  # noqa: PLC0415  # for the two commands that write

    return {**said, "context": context_value(said.get("context"))}


def _show(context: Context, result: TransitionResult) -> None:
    tags = list(result.snapshot.tags)
    if context.as_json:
        echo_json(manifests.tagging(result))
        return
    echo(f"{result.manifest_id}  {', '.join(tags) or 'no tags'}  (version {result.event.version})")
    if result.replayed:
        say("This idempotency key was used before, for the same request: nothing was written.")
    elif result.dry_run:
        say(DRY_RUN)
