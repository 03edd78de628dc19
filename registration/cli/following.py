"""Commands that follow a registry: follow, wait, consumers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from registration.cli.context import Context, Subcommands, examples, id_argument, shared_options, state_name
from registration.cli.exits import FAILURE
from registration.cli.output import (
    counted,
    echo,
    echo_json,
    event_row,
    printable,
    say,
    say_next,
    table,
    when,
)
from registration.cli.words import SHELL, line, told_of
from registration.errors import InvalidArgument, Next
from registration.pipeline.wire import followers, manifests
from registration.values.times import duration_s

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from registration.feed.consumers import Consumer, ConsumerStatus
    from registration.pipeline.pipeline import RegistrationPipeline
    from registration.storage.reports import FeedEntry

_COMMIT_EVERY = 100


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set: following ends between two entries. A second Ctrl-C ends at once."""
    stop = threading.Event()

    def end(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    before: dict[int, Any] = {
        number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command(
    "follow",
    short_help="Show events of the registry as they happen.",
    epilog=examples(
        "registration follow",
        "registration follow --from start --once",
        "registration follow --json --consumer search-index | ./index",
    ),
)
@click.option(
    "--from",
    "after",
    metavar="CURSOR",
    help="`start`, `now`, or an earlier cursor.  [default: now; with --once, start]",
)
@click.option(
    "--consumer", "name", metavar="NAME", help="Continue at this consumer's position, and store it."
)
@click.option("--once", is_flag=True, help="Stop at the current end instead of waiting for more.")
@shared_options
@click.pass_obj
def follow_command(context: Context, after: str | None, name: str | None, once: bool) -> None:
    """Show every committed event of the registry, in commit order, and then new ones as they happen.

    Ctrl-C ends it and prints the cursor to continue from. With --json, one object per line: the cursor after the event, the
    area, and the event itself, a CloudEvents 1.0 event.

    With --consumer, the position is stored under a name, after the lines were written: a program that is killed gets the
    last ones again, with the same event ids. A new consumer begins at `start`, or at --from.
    """
    shown = _Shown(context)
    with context.open() as pipeline, stopped_by_signals() as stop:
        if name is not None:
            consumer = pipeline.feed.consumer(name, start=after or "start")
            if after is not None and name in pipeline.feed.consumer_names():
                raise InvalidArgument(
                    f"The consumer {name!r} already has a position.",
                    "Leave out --from, or move it.",
                    Next(operation="consumers.reset", id=name, given={"to": after}),
                )
            with consumer:
                _follow_as(consumer, pipeline, shown, stop, once=once)
            return
        if once:
            shown.all(pipeline.feed.read(after or "start"), stop)
        else:
            shown.cursor = pipeline.feed.end() if after in (None, "now") else after
            shown.all(pipeline.feed.follow(shown.cursor, stop=stop), stop)
    if shown.cursor is not None:
        say(f"Continue with: {line(Next(operation='follow', given={'from': shown.cursor}))}")


class _Shown:
    """Prints entries, and remembers the cursor after the last one."""

    def __init__(self, context: Context) -> None:
        self._as_json = context.as_json
        self.cursor: str | None = None

    def one(self, entry: FeedEntry) -> None:
        """Print an entry, and flush it."""
        if self._as_json:
            echo_json(manifests.feed_entry(entry))
        else:
            version, time, actor, action, move, said = event_row(entry.event)
            cells = (time, entry.event.subject, version, actor, action, move, said)
            echo("  ".join(printable(cell) for cell in cells if cell))
        self.cursor = entry.cursor

    def all(self, entries: Iterator[FeedEntry], stop: threading.Event) -> None:
        """Print entries until there are no more, or it is stopped."""
        for entry in entries:
            self.one(entry)
            if stop.is_set():
                return


def _follow_as(
    consumer: Consumer, pipeline: RegistrationPipeline, shown: _Shown, stop: threading.Event, *, once: bool
) -> None:
    """Print the entries after a named consumer's cursor, and new ones; the cursor moves when the lines are written."""
    watch = pipeline.feed.watch(stop=stop)
    while not stop.is_set():
        end = pipeline.feed.end()
        for number, entry in enumerate(consumer, 1):
            shown.one(entry)
            if stop.is_set() or number % _COMMIT_EVERY == 0:
                consumer.commit(entry)
            if stop.is_set():
                return
        if shown.cursor not in (None, consumer.cursor):
            consumer.commit(shown.cursor or end)
        if once:
            return
        watch.wait(end)


@click.command(
    "wait",
    short_help="Wait until a manifest is in a state.",
    epilog=examples(
        "registration wait io.github.acme/weather@1.2.0 --for REGISTERED --timeout 10m",
        "registration wait io.github.acme/weather@1.2.0 --for APPROVED && ./deploy",
    ),
)
@id_argument
@click.option(
    "--for", "state", metavar="STATE", required=True, help="A state; IN_REVIEW includes its children."
)
@click.option("--timeout", "timeout", metavar="TIME", help="Such as 30s, 10m, 2h.  [default: no limit]")
@shared_options
@click.pass_obj
def wait_command(context: Context, id: str, state: str, timeout: str | None) -> None:
    """Wait until a manifest is in STATE; return at once if it is.

    Exits with 8 on timeout, and with 4 as soon as the lifecycle has no path there any more. A state that the manifest
    only passed through counts.
    """
    timeout_s = None if timeout is None else duration_s(timeout)
    if timeout is not None and timeout_s is None:
        raise InvalidArgument(f"{timeout!r} is not a time.", "Write 30s, 45m or 36h.")
    with context.open() as pipeline:
        snapshot = pipeline.feed.wait(id, state_name(pipeline.lifecycle, state), timeout_s)
    if context.as_json:
        echo_json(manifests.state(snapshot))
    else:
        echo(printable(f"{snapshot.manifest_id}  {snapshot.state}  (version {snapshot.version})"))


def _names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem | str]:
    from registration.errors import RegistrationError  # noqa: PLC0415  # for a shell's completion alone

    try:
        names = context.ensure_object(Context).open().feed.consumer_names()
    except RegistrationError:
        return []
    return [name for name in names if name.startswith(incomplete)]


_name = click.argument("name", shell_complete=_names)
_optional_name = click.argument("name", required=False, shell_complete=_names)


class _Consumers(Subcommands):
    """Lists commands in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    "consumers",
    cls=_Consumers,
    short_help="Show, retry, skip or reset feed consumers.",
    epilog=examples(
        "registration consumers status",
        "registration consumers retry search-index",
        "registration consumers skip search-index --reason 'its document is too large for the index'",
    ),
)
def consumers_command() -> None:
    """Named consumers of the feed: those of `follow --consumer`, of programs, and of hooks. Each has a stored position.

    An entry that keeps failing blocks its consumer, so that the order is kept: `retry` tries it again, `skip` skips it.
    """


@consumers_command.command(
    "status",
    short_help="Show the lag and failures of consumers.",
    epilog=examples("registration consumers status", "registration consumers status --json search-index"),
)
@_optional_name
@shared_options
@click.pass_obj
def status_command(context: Context, name: str | None) -> None:
    """Show the lag of each consumer, in events and in seconds, and its failed entry.

    Exits with 1 if one is blocked or unreadable.
    """
    with context.open() as pipeline:
        found = (
            [pipeline.feed.consumer(name).status()] if name is not None else list(pipeline.feed.consumers())
        )
    if context.as_json:
        for status in found:
            echo_json(followers.consumer(status, SHELL))
    elif found:
        table([_status_row(status) for status in found])
        for status in found:
            _tell_trouble(status)
    else:
        say("There are no consumers yet: `registration follow --consumer NAME` creates one.")
    if any(status.state == "blocked" or status.problem for status in found):
        click.get_current_context().exit(FAILURE)


def _status_row(status: ConsumerStatus) -> tuple[str, ...]:
    lag = (
        f"{counted(status.lag_events, 'event')} behind, {status.lag_s:,.0f} s"
        if status.lag_events
        else "up to date"
    )
    done = f"last {when(status.committed_at)}" if status.committed_at else "nothing done yet"
    return (status.name, status.state, lag, done)


def _tell_trouble(status: ConsumerStatus) -> None:
    failing = status.failing
    if failing is not None:
        tries = counted(failing.attempts, "attempt")
        say(
            printable(f"{status.name}: {failing.what}: {failing.error} ({tries} since {when(failing.since)})")
        )
    if failing is not None and failing.blocked:
        say_next(Next(operation="consumers.retry", id=status.name))
    if status.problem is not None:
        say(printable(f"{status.name}: {status.problem.problem} {told_of(status.problem)}"))


@consumers_command.command(
    "retry",
    short_help="Retry the failed entry.",
    epilog=examples("registration consumers retry search-index"),
)
@_name
@shared_options
@click.pass_obj
def retry_command(context: Context, name: str) -> None:
    """Retry the failed entry when the consumer runs next, with its attempts reset."""
    with context.open() as pipeline:
        failing = pipeline.feed.consumer(name).retry()
    if context.as_json:
        echo_json(followers.retried(name, failing))
    else:
        echo(printable(f"{name} will retry {failing.what}."))


@consumers_command.command(
    "skip",
    short_help="Skip the failed entry.",
    epilog=examples("registration consumers skip search-index --reason 'too large for the index'"),
)
@_name
@click.option("--reason", metavar="TEXT", required=True, help="The reason; it is recorded.")
@shared_options
@click.pass_obj
def skip_command(context: Context, name: str, reason: str) -> None:
    """Skip the failed entry: this consumer never gets it. The entry and the reason are recorded."""
    with context.open() as pipeline:
        skipped = pipeline.feed.consumer(name).skip(reason)
    if context.as_json:
        echo_json(followers.skipped(name, skipped))
    else:
        echo(printable(f"{name} passes {skipped.what}."))


@consumers_command.command(
    "reset",
    short_help="Move a consumer to the start, the end, or a cursor.",
    epilog=examples("registration consumers reset search-index --to start"),
)
@_name
@click.option("--to", metavar="CURSOR", required=True, help="`start`, `now`, or a cursor.")
@shared_options
@click.pass_obj
def reset_command(context: Context, name: str, to: str) -> None:
    """Move a consumer: from `start`, it gets everything again. A new consumer is created there."""
    with context.open() as pipeline:
        cursor = pipeline.feed.consumer(name).reset(to)
    if context.as_json:
        echo_json(followers.reset(name, cursor))
    else:
        echo(printable(f"{name} is at {cursor}."))


@consumers_command.command(
    "delete", short_help="Delete a consumer.", epilog=examples("registration consumers delete search-index")
)
@_name
@shared_options
@click.pass_obj
def delete_command(context: Context, name: str) -> None:
    """Delete a consumer and its position: a new one of that name begins from scratch."""
    with context.open() as pipeline:
        pipeline.feed.consumer(name).delete()
    if context.as_json:
        echo_json(followers.deleted(name))
    else:
        echo(printable(f"{name} was deleted."))
