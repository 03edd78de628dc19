"""Commands for hooks: check, schema, run, test, dead-letters, redeliver."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import click

from registration.cli.context import Context, Subcommands, examples, shared_options
from registration.cli.exits import FAILURE
from registration.cli.following import stopped_by_signals
from registration.cli.output import (
    counted,
    echo,
    echo_document,
    echo_json,
    printable,
    say,
    say_next,
    table,
    when,
)
from registration.cli.words import line
from registration.errors import Next
from registration.pipeline.wire import followers

if TYPE_CHECKING:
    from registration.feed.hooks.hook_file import Hook
    from registration.feed.hooks.hooks import Hooks, Told
    from registration.pipeline.pipeline import RegistrationPipeline


class _Hooks(Subcommands):
    """Lists commands in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    "hooks",
    cls=_Hooks,
    short_help="Run commands and webhooks on events.",
    epilog=examples(
        "registration hooks check",
        "registration hooks test ci",
        "registration hooks run",
    ),
)
def hooks_command() -> None:
    """Commands and webhooks that receive events, as configured in `hooks.toml` next to `registry.json`.

    Each event is delivered at least once, in order for each manifest, with the same id in every attempt. For the
    status of a hook, see `registration consumers status`: its consumer is named hook:NAME.
    """


@hooks_command.command(
    "check", short_help="Check hooks.toml and its references.", epilog=examples("registration hooks check")
)
@shared_options
@click.pass_obj
def check_command(context: Context) -> None:
    """Check hooks.toml: report every problem, and missing secrets and programs. Nothing is delivered.

    Exits with 2 if the file is invalid, and with 1 if something that it names is missing.
    """
    missing = False
    with context.open() as pipeline:
        hooks = pipeline.feed.hooks()
        for hook in hooks.hooks:
            problems = hooks.problems(hook)
            missing |= bool(problems)
            if context.as_json:
                echo_json(followers.hook(hook.name, _to(hook), problems))
                continue
            echo(printable(f"{hook.name}  {_to(hook)}  {_filters(hook)}"))
            for problem in problems:
                say(printable(f"  - {problem}"))
    if not hooks.hooks and not context.as_json:
        say("There are no hooks in hooks.toml: add a [[hooks]] table.")
    if missing:
        click.get_current_context().exit(FAILURE)


def _to(hook: Hook) -> str:
    return hook.url or " ".join(hook.command)


def _filters(hook: Hook) -> str:
    from registration.feed.hooks.hook_file import USUAL_AREAS  # noqa: PLC0415  # only needed for hooks

    said = [
        f"{name} {', '.join(values)}"
        for name, values in (
            ("states", hook.states), ("actions", hook.actions), ("types", hook.types),
            ("areas", () if hook.areas == USUAL_AREAS else hook.areas),
        )
        if values
    ]  # fmt: skip
    return "; ".join(said) or "every event"


@hooks_command.command(
    "schema",
    short_help="Print the JSON Schema of hooks.toml.",
    epilog=examples(
        "registration hooks schema > hooks.schema.json",
        "# Many editors find it by the first line of the file: #:schema ./hooks.schema.json",
    ),
)
@shared_options
@click.pass_obj
def schema_command(context: Context) -> None:
    """Print the JSON Schema of hooks.toml, for editors that complete and check TOML files."""
    from registration.feed.hooks.hook_schema import hooks_schema  # noqa: PLC0415  # for this command alone

    echo_document(hooks_schema(), as_json=context.as_json)


@hooks_command.command(
    "run",
    short_help="Deliver events to hooks as they happen.",
    epilog=examples("registration hooks run", "registration hooks run --once"),
)
@click.option("--once", is_flag=True, help="Try each due delivery once, without waiting: for timers.")
@shared_options
@click.pass_obj
def run_command(context: Context, once: bool) -> None:
    """Deliver all pending events to hooks, and then new ones; Ctrl-C ends it between two deliveries.

    A new hook begins with new events, unless it has `start = "start"`. hooks.toml is read once, at the
    beginning. With --once, exits with 1 if a delivery failed.
    """
    turn = threading.Lock()

    def tell(told: Told) -> None:
        with turn:
            _tell(told, as_json=context.as_json)

    with context.open() as pipeline, stopped_by_signals() as stop:
        hooks = pipeline.feed.hooks(tell=tell)
        if not hooks.hooks:
            say("There are no hooks in hooks.toml: add a [[hooks]] table.")
        done = hooks.run(stop=stop, once=once)
    if once and not done:
        click.get_current_context().exit(FAILURE)


def _tell(told: Told, *, as_json: bool) -> None:
    if as_json:
        echo_json(followers.delivery(told))
        return
    words = {
        "delivered": "delivered",
        "failed": f"failed, retry at {when(told.next_at)}" if told.next_at else "failed",
        "dead": "given up, moved to the dead letters",
        "blocked": f"blocked ({line(Next(operation='consumers.retry', id=f'hook:{told.hook}'))})",
        "busy": "in use by another process",
    }
    said = (
        f"{told.hook}  {told.entry}  {words[told.what]}" if told.entry else f"{told.hook}  {words[told.what]}"
    )
    text = printable(said + (f": {told.error}" if told.error else ""))
    echo(text) if told.what == "delivered" else say(text)


@hooks_command.command(
    "test", short_help="Send a hook a test event.", epilog=examples("registration hooks test ci")
)
@click.argument("name")
@shared_options
@click.pass_obj
def test_command(context: Context, name: str) -> None:
    """Send a hook one event of the type registration.hook_tested.v1, which is in no log. Exits with 1 on failure."""
    with context.open() as pipeline:
        outcome = pipeline.feed.hooks().test(name)
    if context.as_json:
        echo_json(followers.tested(name, outcome))
    elif outcome.done:
        echo(f"Delivered to {name}.")
    else:
        say(printable(f"Error: delivery to {name} failed: {outcome.error}"))
    if not outcome.done:
        click.get_current_context().exit(FAILURE)


@hooks_command.command(
    "dead-letters",
    short_help="Show undelivered events.",
    epilog=examples("registration hooks dead-letters", "registration hooks dead-letters --json ci"),
)
@click.argument("name", required=False)
@shared_options
@click.pass_obj
def dead_letters_command(context: Context, name: str | None) -> None:
    """Show undelivered events of a hook, or of all, with the errors. With --json, each includes the event."""
    rows: list[tuple[str, ...]] = []
    with context.open() as pipeline:
        for letter in _letters(pipeline, name):
            if context.as_json:
                echo_json(followers.dead_letter(letter))
            else:
                tries = counted(letter.attempts, "attempt")
                rows.append((letter.hook, when(letter.time), letter.what, tries, letter.error))
    if rows:
        table(rows)
        say_next(Next(operation="hooks.redeliver", id=rows[0][0]))
    elif not context.as_json:
        say("There are no dead letters.")


def _letters(pipeline: RegistrationPipeline, name: str | None) -> list[Any]:
    letters = pipeline.feed.dead_letters()
    return [
        letter for hook in ([name] if name is not None else letters.hooks()) for letter in letters.of(hook)
    ]


@hooks_command.command(
    "redeliver",
    short_help="Retry dead letters.",
    epilog=examples("registration hooks redeliver ci", "registration hooks redeliver"),
)
@click.argument("name", required=False)
@shared_options
@click.pass_obj
def redeliver_command(context: Context, name: str | None) -> None:
    """Retry every dead letter of a hook, or of all; delivered ones are removed.

    They are delivered out of order. Exits with 1 if one fails again.
    """
    failed = tried = 0
    with context.open() as pipeline:
        hooks = pipeline.feed.hooks()
        for one in [name] if name is not None else _with_letters(hooks):
            for told in hooks.redeliver(one):
                tried += 1
                failed += told.what != "delivered"
                _tell(told, as_json=context.as_json)
    if not tried and not context.as_json:
        say("There are no dead letters.")
    if failed:
        click.get_current_context().exit(FAILURE)


def _with_letters(hooks: Hooks) -> list[str]:
    return [hook.name for hook in hooks.hooks if hooks.letters.of(hook.name)]
