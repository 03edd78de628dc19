"""Next steps in the words of the command line: every step is a line that can be typed."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from hypothesis import given

import registration
from registration.cli.app import app
from registration.cli.words import SHELL, line, told_of
from registration.errors import (
    ConsumerBlocked,
    CorruptLog,
    GuardRefused,
    LeaseHeld,
    Next,
    NotFound,
    Operation,
)
from registration.pipeline.wire import reasons
from tests.kit.builders import texts, tries

OPERATIONS = get_args(Operation)
PACKAGE = Path(registration.__file__).parent
WORDS = {
    "act": {"action": "approve"},
    "alias.set": {"given": {"alias": "stable"}, "missing": ("version",)},
    "consumers.reset": {"missing": ("to",)},
    "consumers.skip": {"missing": ("reason",)},
    "lifecycle.migrate": {"missing": ("file",)},
    "query": {"missing": ("sql", "time_limit")},
    "locks.break": {"missing": ("reason",)},
    "sessions.start": {"missing": ("wizard",)},
}
"""What the steps of an operation carry besides an id."""
ABOUT_ALL = {
    "consumers.list", "follow", "lifecycle.graph", "lifecycle.migrate", "lifecycle.show", "list", "locks.list", "query", "query.schema",
    "sessions.list", "sessions.start",
}  # fmt: skip
"""The operations that are about no single thing."""


def parsed(words: list[str]) -> click.Context:
    """The context of the command that a line names, its options and arguments read; click refuses what it doesn't know."""
    assert words.pop(0) == "registration"
    context = click.Context(app, info_name="registration")
    command: click.Command = app
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, words
        command = found
        context = command.make_context(words.pop(0), [] if isinstance(found, click.Group) else words, context, resilient_parsing=isinstance(found, click.Group))  # fmt: skip
    return context


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_a_command(operation: Operation) -> None:
    """A step of any kind is worded as a line that the command line takes: no command, option or argument is missing."""
    more: dict[str, Any] = WORDS.get(operation, {})
    step = Next(operation=operation, id=None if operation in ABOUT_ALL else "x", **more)

    context = parsed(["10" if word == "SECONDS" else word for word in shlex.split(line(step))])

    assert context.command is not None


@pytest.mark.parametrize(
    ("step", "typed"),
    [
        ({"action": "create", "missing": ("document",)}, "registration create FILE"),
        ({"action": "create", "missing": ("document", "id")}, "registration create FILE --id ID"),
        ({"action": "create"}, "registration act a create"),
        ({"action": "open", "id": None, "missing": ("id", "document")}, "registration act ID open FILE"),
        ({"action": "revise", "missing": ("document",)}, "registration revise a FILE"),
        ({"action": "submit_for_review"}, "registration submit a"),
        ({"action": "approve", "actor": "bea"}, "registration approve a --actor bea"),
        ({"action": "approve", "missing": ("actor",)}, "registration approve a --actor NAME"),
        ({"action": "reject", "missing": ("reason",)}, "registration reject a --reason TEXT"),
        ({"action": "deprecate"}, "registration act a deprecate"),
        ({"action": "amend", "missing": ("document",)}, "registration act a amend FILE"),
        (
            {"action": "close", "missing": ("reason", "context", "actor"), "given": {"comment": "it is"}},
            "registration act a close --reason TEXT --context JSON --actor NAME --comment 'it is'",
        ),
        (
            {"action": "close", "given": {"context": {"ticket": 7}}},
            """registration act a close --context '{"ticket":7}'""",
        ),
        (
            {"action": "tag", "given": {"tags": ["x", "y"]}, "actor": "dan"},
            "registration tag add a x y --actor dan",
        ),
        ({"action": "untag", "missing": ("tags", "actor")}, "registration tag remove a TAG --actor NAME"),
    ],
)
def test_the_actions_of_the_command_line(step: dict[str, Any], typed: str) -> None:
    """The actions of the built-in lifecycle have commands of their own, all others are `act`; what is missing is in capitals."""
    said = line(Next(**{"operation": "act", "id": "a", **step}))

    assert said == typed
    parsed(shlex.split(said))


@given(texts(), texts())
@tries(200)
def test_the_line_can_be_typed_as_it_is(actor: str, reason: str) -> None:
    """A name is data: whatever quotes and semicolons it has, the shell takes it as one word."""
    said = line(Next(operation="act", id="a", action="approve", actor=actor, given={"reason": reason}))

    assert shlex.split(said) == ["registration", "approve", "a", "--actor", actor, "--reason", reason]


def test_an_error_says_what_to_type() -> None:
    """The library's sentence, and behind it every line that does what it says."""
    assert told_of(NotFound("There is none.", "Make one.", Next(operation="init", id="/a b"))) == (
        "Make one: `registration init '/a b'`."
    )
    assert told_of(LeaseHeld("manifests/a", holder="b", host="h", since="S", until="U", number=3)) == (
        "Wait until then, ask its holder to release it, or break the lock: `registration locks break manifests/a --reason TEXT`."
    )
    assert told_of(ConsumerBlocked("index", "a version 2 (approve)", "OSError: no", 8, "1-0123abcd:400")) == (
        "Retry the entry, or skip it: `registration consumers retry index`, "
        "`registration consumers skip index --reason TEXT`."
    )
    assert told_of(NotFound("There is none.", "Look elsewhere.")) == "Look elsewhere."


@pytest.mark.parametrize(
    ("area", "lines"),
    [
        ("manifests", "`registration verify a`, `registration repair a`"),
        (
            "sessions",
            "`registration verify`, `registration repair sessions/a`, `registration wizard delete a`",
        ),
        ("aliases", "`registration verify`, `registration repair aliases/a`"),
    ],
)
def test_a_damaged_log_names_the_commands_for_its_area(area: str, lines: str) -> None:
    """What can be typed about damage depends on whose log it is."""
    error = CorruptLog(
        f"{area}/a/events.jsonl", line=3, offset_bytes=9, reason="r", sound_version=2, stream="a"
    )

    assert told_of(error).endswith(f": {lines}.")
    assert "`" not in error.next_step


def test_what_a_guard_advises_stays_as_it_is() -> None:
    """Its remedy is about the rule that refuses; the line that leads on is a member of its own."""
    step = Next(operation="act", id="a", action="approve", actor="bea")
    error = GuardRefused("It is refused.", "Ask bea.", step, next=str(step), verdicts=[])

    told = reasons.error(error, SHELL)

    assert told["next_step"] == "Ask bea."
    assert told["details"]["next"] == "registration approve a --actor bea"
    assert told["next_actions"] == [step.as_json()]
    assert error.details["next"] == "approve 'a' as 'bea'"
    assert reasons.error(error, reasons.NEUTRAL)["details"]["next"] == "approve 'a' as 'bea'"


def test_the_library_names_no_command() -> None:
    """Its texts hold for a program and for a service as well: no line for a shell, and no option of the command line."""
    said = [
        f"{path.relative_to(PACKAGE)}, line {node.lineno}: {node.value.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in ("cli", "testing")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if "`registration " in node.value or "`--" in node.value
    ]

    assert said == []
