"""The output of commands: text for people, JSON for programs.

JSON shapes are stable: members may be added, none is renamed or removed. A command about one object prints one
JSON object; a command that lists prints one per line (JSON Lines). An error in JSON goes to stderr.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import click
import orjson

from registration.cli.words import SHELL, line, told_of
from registration.errors import GuardRefused
from registration.pipeline.wire import reasons

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from registration.core.outlook import Outlook
    from registration.errors import Next, RegistrationError
    from registration.evidence.verification import Finding
    from registration.values.events import Event


DRY_RUN = "This was a dry run: nothing was changed."


def printable(text: str) -> str:
    """The text with control characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def echo(text: str = "") -> None:
    """Print a line of data on stdout."""
    click.echo(text)


def say(text: str) -> None:
    """Print a message on stderr."""
    click.echo(text, err=True)


def echo_json(value: dict[str, Any] | bytes) -> None:
    """One JSON object that `registration.pipeline.wire` made, on one line of stdout; as bytes, to the byte."""
    click.echo(value if isinstance(value, bytes) else orjson.dumps(value))


def echo_document(value: Any, *, as_json: bool) -> None:
    """A document that has a format of its own: on one line of stdout, or indented for people."""
    click.echo(orjson.dumps(value, option=0 if as_json else orjson.OPT_INDENT_2))


def counted(number: int, noun: str) -> str:
    """A number with its noun, singular or plural."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(parts: list[str]) -> str:
    """A list in words: `a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def show_error(error: RegistrationError, *, as_json: bool) -> None:
    """Print an error on stderr: the problem, then the next step."""
    if as_json:
        click.echo(orjson.dumps(reasons.error(error, SHELL), default=str), err=True)
        return
    problems = error.details.get("problems", [])
    if len(problems) > 1:
        say(f"Error: {printable(error.problem.partition(problems[0])[0].rstrip())}")
        for problem in problems:
            say(f"  - {printable(problem)}")
    else:
        say(f"Error: {printable(error.problem)}")
    show_verdicts((v for v in error.details.get("verdicts", ()) if not v["agrees"]), err=True, bare=True)
    if advice := told_of(error):
        say(printable(advice))
    if isinstance(error, GuardRefused):
        say_next(*error.next)


def say_next(*steps: Next) -> None:
    """Print the commands to type next; any of several will do."""
    for number, step in enumerate(steps):
        say(f"{'or' if number else 'Next'}: {printable(line(step))}")


def outlook_lines(found: Sequence[Outlook]) -> list[str]:
    """The approvals that a manifest has and lacks, in words: ``1 of 2 approvals; missing: one of cyd, dan``.

    Empty where one approval by any actor is enough: the next step says it. With several actions, each line names its own.
    """
    told = [
        one
        for one in found
        if one.wanted > 1 or one.by_role or any(each.actors is not None for each in one.missing)
    ]
    return [printable(f"{one.action}: {one}" if len(told) > 1 else str(one)) for one in told]


def show_verdicts(verdicts: Iterable[Mapping[str, Any]], *, err: bool = False, bare: bool = False) -> None:
    """Print the verdicts of guards, one line each, with every problem below. bare: the problems only."""
    for one in verdicts:
        if not bare:
            said = f"  {'yes' if one['agrees'] else 'no':<4}{one['guard']} ({one['origin']}): {one['reason']}"
            click.echo(printable(said), err=err)
        problems = one["evidence"].get("problems", ())
        for problem in problems if isinstance(problems, list | tuple) else ():
            said = _problem(problem) if isinstance(problem, Mapping) else str(problem)
            click.echo(printable(f"  {'' if bare else '    '}- {said}"), err=err)


def _problem(problem: Mapping[str, Any]) -> str:
    """A problem found by a guard. A third-party guard may use another form of evidence under the same name."""
    if not {"at", "problem"} <= problem.keys():
        return str(dict(problem))
    rule = f" ({problem['rule']})" if problem.get("rule") else ""
    return f"at {problem['at'] or 'the top'}: {problem['problem']}{rule}"


@contextmanager
def told_here(of: str = "registration") -> Iterator[None]:
    """For commands that print themselves what the library would log as well. of: the name of the logger."""
    log = logging.getLogger(of)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


class Progress:
    """A counter on stderr during a long operation; nothing if stderr is not a terminal.

    done: the operation, as in ``1,200 replayed``. rated: also show the rate per second and, with `total`, the remaining
    time.
    """

    def __init__(self, done: str, *, shown: bool, rated: bool = False, total: int | None = None) -> None:
        self._done = done
        self._rated = rated
        self._total = total
        self._shown = shown and sys.stderr.isatty()
        self._count = 0
        self._begun_s = time.monotonic()
        self._next_s = self._begun_s + 0.5

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def step(self) -> None:
        """Count one more."""
        self._count += 1
        if self._shown and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + 0.1
            click.echo(f"\r{self._told()} …", err=True, nl=False)

    def clear(self) -> None:
        """Clear the line for other output."""
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)

    def _told(self) -> str:
        if not self._rated:
            return f"{self._count:,} {self._done}"
        per_s = self._count / max(time.monotonic() - self._begun_s, 1e-9)
        if self._total is None:
            return f"{self._count:,} {self._done}, {per_s:,.0f}/s\x1b[K"
        left_s = round((self._total - self._count) / per_s)
        return f"{self._count:,} of {self._total:,} {self._done}, {per_s:,.0f}/s, {left_s // 60}:{left_s % 60:02} left\x1b[K"


class Unbroken:
    """Defers an interrupt (Ctrl-C) during output until the output is complete."""

    def __init__(self) -> None:
        self._telling = False
        self._interrupted = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Raise KeyboardInterrupt after the block, not in it."""
        self._telling = True
        try:
            yield
        finally:
            self._telling = False
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    def _interrupt(self, _number: int, _frame: object) -> None:
        if not self._telling:
            raise KeyboardInterrupt
        self._interrupted = True


def table(rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows in columns, separated by two spaces. They are buffered until the widths are known."""
    kept = [tuple(printable(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*kept, strict=True)]
    for row in kept:
        echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def event_row(event: Event) -> tuple[str, ...]:
    """One event in a log for people: version, time, actor, action and remarks."""
    move = event.to_state if event.from_state is None else f"{event.from_state} -> {event.to_state}"
    return (str(event.version), when(event.time), event.actor or "-", event.action, move, event.remarks)


def finding_line(finding: Finding) -> str:
    """A finding as a line: kind, position, reason."""
    where = f", line {finding.line}, byte {finding.offset_bytes}" if finding.line else ""
    return printable(f"{finding.kind}: {finding.path}{where}: {finding.reason}")


def when(time: str) -> str:
    """An event's time to the second, for people."""
    return f"{time[:10]} {time[11:19]}Z"
