"""Commands for hooks: check, run, test, dead-letters, redeliver."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import click

from registration.cli.context import Context, Subcommands, examples, shared_options
from registration.cli.exits import FAILURE
from registration.cli.following import stopped_by_signals
from registration.cli.output import counted, echo, echo_json, printable, say, say_next, table, when
from registration.cli.words import line
from registration.errors import Next
from registration.pipeline.wire import followers

if TYPE_CHECKING:
    from registration.feed.hooks.hook_file import Hook
    from registration.feed.hooks.hooks import Hooks, Told
    from registration.pipeline.pipeline import RegistrationPipeline


class _Hooks(Subcommands):
    """In the order in which they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    "hooks",
    cls=_Hooks,
    short_help="Tell commands and HTTP endpoints of events.",
    epilog=examples(
        "registration hooks check",
        "registration hooks test ci",
        "registration hooks run",
    ),
)
def hooks_command() -> None:
    """Commands and HTTP endpoints that are told of events, as `hooks.toml` beside `registry.json` says.

    Each event is delivered at least once, in order for each manifest, with the same id in every attempt. How each hook
    stands is shown by `registration consumers status`: its consumer is called hook:NAME.
    """


@hooks_command.command(
    "check", short_help="Check hooks.toml, and what it names.", epilog=examples("registration hooks check")
)
@shared_options
@click.pass_obj
def check_command(context: Context) -> None:
    """Check hooks.toml: every problem is named, and secrets and programs are looked for. Nobody is called.

    Ends with 2 where the file can't be meant, and with 1 where something that it names is missing.
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
        say("There is no hook in hooks.toml: begin one with [[hooks]].")
    if missing:
        click.get_current_context().exit(FAILURE)


def _to(hook: Hook) -> str:
    return hook.url or " ".join(hook.command)


def _filters(hook: Hook) -> str:
    from registration.feed.hooks.hook_file import USUAL_AREAS  # noqa: PLC0415  # loaded by whoever has a hook

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
    "run",
    short_help="Deliver events, and go on as more come.",
    epilog=examples("registration hooks run", "registration hooks run --once"),
)
@click.option("--once", is_flag=True, help="Try what is due, once, and wait for nothing: for a timer.")
@shared_options
@click.pass_obj
def run_command(context: Context, once: bool) -> None:
    """Deliver every event that a hook wants, and go on as more come; Ctrl-C ends it between two deliveries.

    A hook that is new begins with what comes from now on, unless it says `start = "start"`. hooks.toml is read at the
    beginning. With --once, it ends with 1 where something could not be delivered.
    """
    turn = threading.Lock()

    def tell(told: Told) -> None:
        with turn:
            _tell(told, as_json=context.as_json)

    with context.open() as pipeline, stopped_by_signals() as stop:
        hooks = pipeline.feed.hooks(tell=tell)
        if not hooks.hooks:
            say("There is no hook in hooks.toml: begin one with [[hooks]].")
        done = hooks.run(stop=stop, once=once)
    if once and not done:
        click.get_current_context().exit(FAILURE)


def _tell(told: Told, *, as_json: bool) -> None:
    if as_json:
        echo_json(followers.delivery(told))
        return
    words = {
        "delivered": "delivered",
        "failed": f"failed, is tried again at {when(told.next_at)}" if told.next_at else "failed",
        "dead": "given up, and put to the dead letters",
        "blocked": f"blocked ({line(Next(operation='consumers.retry', id=f'hook:{told.hook}'))})",
        "busy": "not run here",
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
    """Send a hook an event of the type registration.hook_tested.v1, once. It is in no log. Ends with 1 where it fails."""
    with context.open() as pipeline:
        outcome = pipeline.feed.hooks().test(name)
    if context.as_json:
        echo_json(followers.tested(name, outcome))
    elif outcome.done:
        echo(f"{name} took it.")
    else:
        say(printable(f"Error: {name} did not take it: {outcome.error}"))
    if not outcome.done:
        click.get_current_context().exit(FAILURE)


@hooks_command.command(
    "dead-letters",
    short_help="Show what could not be delivered.",
    epilog=examples("registration hooks dead-letters", "registration hooks dead-letters --json ci"),
)
@click.argument("name", required=False)
@shared_options
@click.pass_obj
def dead_letters_command(context: Context, name: str | None) -> None:
    """Show the events that a hook, or any, gave up, and why. With --json, each with the event itself."""
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
    short_help="Try dead letters once more.",
    epilog=examples("registration hooks redeliver ci", "registration hooks redeliver"),
)
@click.argument("name", required=False)
@shared_options
@click.pass_obj
def redeliver_command(context: Context, name: str | None) -> None:
    """Try every dead letter of a hook, or of all, once more; those that get through are taken out.

    They come out of their order. Ends with 1 where one fails again.
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
