"""Answers and wizard files on the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson

from registration.cli.files import bytes_of, shown_file
from registration.cli.output import printable
from registration.errors import InvalidAnswer, InvalidArgument

if TYPE_CHECKING:
    from registration.onboarding.sessions.sessions import Sessions
    from registration.onboarding.wizards.wizard import Wizard

ANSWERS_BYTES_MAX = 4 * 1024 * 1024
_ANSWERS = "Pass a file, or - for standard input."

F = TypeVar("F", bound=Callable[..., Any])


def answer_options(function: F) -> F:
    """Answers without a terminal."""
    for option in (
        click.option(
            "--set",
            "said",
            metavar="POINTER=VALUE",
            multiple=True,
            help="One answer: /STEP/field=VALUE, as JSON or text; may be repeated.",
        ),
        click.option(
            "--answers",
            "file",
            metavar="FILE",
            type=click.Path(allow_dash=True),
            help="Answers by step, as JSON (- reads standard input); `wizard answers` writes them.",
        ),
    ):
        function = option(function)
    return function


def named_wizard(sessions: Sessions | None, name: str) -> Wizard:
    """A wizard by name, or in a file.

    Raises:
        NotFound: when there is none.
        InvalidWizard: when the file is invalid, or its wizard has the name of a shipped one.
    """
    from registration.errors import InvalidWizard  # noqa: PLC0415  # as above
    from registration.onboarding.wizards.files import parse_wizard  # noqa: PLC0415  # as above
    from registration.onboarding.wizards.shipped import SHIPPED, shipped  # noqa: PLC0415  # as above

    if not name.endswith((".toml", ".json")) and os.sep not in name:
        return sessions.wizard(name) if sessions is not None else shipped(name)
    raw = bytes_of(name, ANSWERS_BYTES_MAX, next_step="Pass a file, or a shipped wizard.")
    wizard = parse_wizard(raw, source=printable(name), form="json" if name.endswith(".json") else "toml")
    if wizard.name in SHIPPED:
        raise InvalidWizard(
            printable(name), [f"name: {wizard.name!r} is the name of a shipped wizard; choose another"]
        )
    return wizard


def given_answers(file: str | None, said: tuple[str, ...]) -> dict[str, Any] | None:
    """The answers on the command line; None if there are none.

    Raises:
        InvalidDocument: when the file is not a JSON object.
        InvalidArgument: when an answer is invalid.
    """
    from registration.values.documents import parse_document  # noqa: PLC0415  # as above

    if file is None and not said:
        return None
    found: dict[str, Any] = {}
    if file is not None:
        source, raw = shown_file(file), bytes_of(file, ANSWERS_BYTES_MAX, next_step=_ANSWERS)
        found = parse_document(raw, source=source, size_bytes_max=ANSWERS_BYTES_MAX).value
        if "answers" in found and isinstance(found["answers"], dict):  # as `wizard answers` writes them
            found = found["answers"]
        for step, answer in found.items():
            if not isinstance(answer, dict):
                raise InvalidAnswer(f"{source} has no answers by step: {step!r} is not an object.", 'Write {"STEP": {"field": …}}.')  # fmt: skip
    for one in said:
        _put(found, one)
    return found


def _put(answers: dict[str, Any], said: str) -> None:
    """Set one position in the answers, creating objects on the way; an index, or ``-``, requires an existing list."""
    place, equals, text = said.partition("=")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in place.split("/")[1:]]
    if not equals or not place.startswith("/") or len(steps) < 2:
        raise InvalidArgument(f"Invalid --set {said!r}.", "Expected --set /STEP/field=VALUE.")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    at: Any = answers
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        new: Any = value if following is None else [] if following == "-" else {}
        at = _set(at, step, new, said, last=following is None)


def _set(at: Any, step: str, new: Any, said: str, *, last: bool) -> Any:
    if isinstance(at, dict):
        at[step] = new if last else at.get(step, new)
        return at[step]
    if isinstance(at, list) and step == "-":
        at.append(new)
        return new
    if isinstance(at, list) and step.isascii() and step.isdecimal() and int(step) < len(at):
        at[int(step)] = new if last else at[int(step)]
        return at[int(step)]
    raise InvalidArgument(f"Invalid --set {said!r}: there is nothing at {step!r}.", "Use an existing position, or - to append.")  # fmt: skip
