"""The context of every command: registry, actor, output format, and the opening of a pipeline."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from registration.core.decider import nearest
from registration.errors import Next, NotFound, RegistrationError
from registration.storage import layout
from registration.values.times import LOCK_TIMEOUT_S_MAX

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from registration.core.chart import Chart
    from registration.core.definition import Definition
    from registration.pipeline.pipeline import RegistrationPipeline

COMPLETIONS_MAX = 500
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

F = TypeVar("F", bound=Callable[..., Any])


class Subcommands(click.Group):
    """A group that suggests the closest command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            ctx.fail(f"Unknown command {args[0]!r}.{nearest(args[0], known)}")
        return super().resolve_command(ctx, args)


@dataclass(slots=True)
class Context:
    """The shared options, given before or after the command's name; the later one counts."""

    registry: str | None = None
    actor: str | None = None
    lock_timeout_s: float = 10.0
    as_json: bool = False
    warned: bool = False

    def root(self) -> str:
        """The registry's directory: `--registry`, else REGISTRATION_ROOT, else the nearest one above.

        Raises:
            NotFound: when none of them names one.
        """
        named = self.registry or os.environ.get("REGISTRATION_ROOT")
        if named:
            return named
        here = os.getcwd()
        while True:
            # Other tools have a registry.json, too; ours is next to manifests/.
            if os.path.lexists(os.path.join(here, layout.REGISTRY_FILE)) and os.path.isdir(
                os.path.join(here, layout.MANIFESTS)
            ):
                return here
            above = os.path.dirname(here)
            if above == here:
                raise NotFound(
                    "There is no registry here, nor in any parent directory.",
                    "Create one with `registration init`, or name one: `--registry DIR`, or REGISTRATION_ROOT.",
                )
            here = above

    def acting(self) -> str:
        """The actor: `--actor`, else REGISTRATION_ACTOR, else the login name."""
        return self.actor if self.actor is not None else os.environ.get("REGISTRATION_ACTOR") or _login_name()

    def open(self, *, quiet: bool = False) -> RegistrationPipeline:
        """The pipeline of the registry, which must exist. quiet: say nothing if `policy.toml` is not what is in force."""
        from registration.cli.warning import warn_of_policy  # noqa: PLC0415  # `--help` needs no pipeline
        from registration.pipeline.pipeline import RegistrationPipeline  # noqa: PLC0415  # as above

        pipeline = RegistrationPipeline(
            self.root(),
            create=False,
            actor=self.acting(),
            leases=os.environ.get("REGISTRATION_LEASES") or None,
            lock_timeout_s=self.lock_timeout_s,
            traceparent=_traceparent,
        )
        if not (quiet or self.warned):
            self.warned = True
            warn_of_policy(pipeline, as_json=self.as_json)
        return pipeline


def _login_name() -> str:
    """The login of the user who runs this, from the system; only one whom the system doesn't know may say it in the environment."""
    from registration.engine.origin import came_in  # noqa: PLC0415  # only if no actor was given

    login = came_in()["login"]
    if login is None:
        login = next((found for name in ("LOGNAME", "USER") if (found := os.environ.get(name))), None)
    return login or f"uid:{os.getuid()}"


def _traceparent() -> str | None:
    """The W3C trace context of this process, as propagated by OpenTelemetry's tools, if it is well-formed."""
    found = os.environ.get("TRACEPARENT", "")
    return found if _TRACEPARENT.fullmatch(found) else None


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Store an option in the shared context, if it was given."""
    if value is not None and value is not False:
        setattr(context.ensure_object(Context), str(parameter.name), value)


_REGISTRY = click.option(
    "--registry",
    metavar="DIR",
    expose_value=False,
    callback=_remember,
    type=click.Path(file_okay=False),
    help="The registry's directory.  [default: REGISTRATION_ROOT, else the nearest parent]",
)
_JSON = click.option(
    "--json", "as_json", is_flag=True, expose_value=False, callback=_remember, help="Print JSON."
)
actor_option = click.option(
    "--actor",
    metavar="NAME",
    expose_value=False,
    callback=_remember,
    help="The actor.  [default: REGISTRATION_ACTOR, else the login name]",
)
lock_timeout_option = click.option(
    "--lock-timeout",
    "lock_timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(0, LOCK_TIMEOUT_S_MAX),
    expose_value=False,
    callback=_remember,
    help="How long to wait for a lock.  [default: 10]",
)


dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done without doing it.")


def shared_options(function: F) -> F:
    """`--registry` and `--json`."""
    return _REGISTRY(_JSON(function))


def writing_options(function: F) -> F:
    """The options of every command that writes an event, in addition to the shared ones."""
    for option in (
        click.option(
            "--idempotency-key", metavar="KEY", help="Return the first result if the call is repeated."
        ),
        click.option("--correlation-id", metavar="ID", help="Correlate events of one request."),
        click.option(
            "--context", metavar="JSON", help="Further data to store with the event: a JSON object."
        ),
        click.option("--comment", metavar="TEXT", help="A remark to store with the event."),
        dry_run_option,
        lock_timeout_option,
        actor_option,
    ):
        function = option(function)
    return shared_options(function)


def group_options(function: F) -> F:
    """The options that may also precede the command's name."""
    return shared_options(actor_option(function))


def _ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem | str]:
    """Shell completion of ids. Silent without a registry: completion must not print messages."""
    try:
        ids = context.ensure_object(Context).open(quiet=True).upkeep.manifest_ids()
        return list(islice((id for id in ids if id.startswith(incomplete)), COMPLETIONS_MAX))
    except RegistrationError:
        return []


def _states(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem | str]:
    try:
        chart = lifecycle_said(context.ensure_object(Context), None).chart
    except RegistrationError:
        return []
    return [state.name for state in chart.states if state.name.casefold().startswith(incomplete.casefold())]


id_argument = click.argument("id", shell_complete=_ids)
optional_id_argument = click.argument("id", required=False, shell_complete=_ids)
key_argument = click.argument("key", shell_complete=_ids)
state_argument = click.argument("state", shell_complete=_states)
state_option = click.option(
    "--state",
    metavar="STATE",
    shell_complete=_states,
    help="Only manifests in this state; IN_REVIEW includes its children.",
)


def state_name(chart: Chart, text: str) -> str:
    """The state that was typed, in any case; an unknown one is unchanged, to be refused later."""
    return next((state.name for state in chart.states if state.name.casefold() == text.casefold()), text)


CREATE = Next(operation="act", action="create", missing=("document",))
"""The step that creates a manifest from a document."""


def creating_steps(chart: Chart) -> list[Next]:
    """The steps that create a manifest in a lifecycle; only `create`, from a document, if that suffices."""
    found = [action for action in chart.actions if action.name in chart.own_transitions(None)]
    usual = [action for action in found if action.name == "create"] or found
    if len(usual) == 1 and usual[0].document:
        return [CREATE]
    return [
        Next(operation="act", action=action.name, missing=("id", "document") if action.document else ("id",))
        for action in found
    ]


def lifecycle_said(context: Context, file: str | None) -> Definition:
    """The lifecycle of a file, or a shipped one; without a name the registry's own, or the default."""
    if file is not None:
        from registration.engine.opening import lifecycle_from  # noqa: PLC0415  # `--help` needs none of it

        return lifecycle_from(file)
    try:
        context.root()
    except NotFound:
        from registration.rules.lifecycles.registration import REGISTRATION  # noqa: PLC0415  # as above

        return REGISTRATION
    with context.open(quiet=True) as pipeline:
        return pipeline.definition


def examples(*lines: str) -> str:
    """The end of a command's help: examples."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
