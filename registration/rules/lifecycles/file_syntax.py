"""The bytes of a lifecycle file as JSON values, and how its problems are told. What the values mean is in `files`.

Whatever the bytes are, reading them ends soon: their number is bounded before anything is parsed, and so is how deep
they are nested.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from registration.core.chart_problems import PROBLEMS_MAX, in_one_line
from registration.errors import InvalidDefinition, InvalidDocument
from registration.values.documents import check_document, parse_document

FILE_BYTES_MAX = 256 * 1024

DOTS_MAX = 32
"""How many dots a line of TOML may have. What a dotted key costs `tomllib` grows with the square of its parts."""

_VALUES_BYTES_MAX = 4 * FILE_BYTES_MAX
"""What TOML says is longer as JSON; this is more than a file within its bounds can come to."""


def read_json(raw: bytes, source: str) -> object:
    """The values of a JSON file.

    Raises:
        InvalidDefinition: when it is too large or no JSON; a key that stands there twice is a problem as well.
    """
    _check_size(raw, source)
    try:
        return parse_document(raw, source=source, size_bytes_max=FILE_BYTES_MAX).value
    except InvalidDocument as error:
        raise _not_taken(source, error) from None


def read_toml(raw: bytes, source: str) -> object:
    """The values of a TOML file.

    Raises:
        InvalidDefinition: when it is too large or no TOML.
    """
    _check_size(raw, source)
    if raw.startswith(b"\xef\xbb\xbf"):
        raise refused(source, ["it begins with a byte order mark; save it as UTF-8 without one"])
    try:
        text = raw.decode("utf-8")
        for number, line in enumerate(text.split("\n"), start=1):
            if line.count(".") > DOTS_MAX and not line.lstrip().startswith("#"):
                raise refused(source, [f"line {number} has more than {DOTS_MAX} dots"])
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8 ({error.reason})"
    except tomllib.TOMLDecodeError as error:
        problem = f"it is not TOML: {error}"
    except RecursionError:
        problem = "it is nested too deep"
    except InvalidDefinition:
        raise
    except ValueError:  # Python converts no integer of thousands of digits, since that takes too long
        problem = "it has a number of thousands of digits"
    raise refused(source, [problem])


def taken(value: object, source: str) -> dict[str, Any]:
    """The values, checked: they are what JSON can say, in a table. TOML has dates and infinities besides.

    Raises:
        InvalidDefinition: listing every value that isn't.
    """
    try:
        return check_document(value, source=source, size_bytes_max=_VALUES_BYTES_MAX).value
    except InvalidDocument as error:
        raise _not_taken(source, error) from None


def path_of(steps: Iterable[int | str]) -> str:
    """Where something stands in a file: ``actions.approve.guards[0].count``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def shown(value: object) -> str:
    """A value that was found, as a file says it; shortened."""
    if value is True or value is False:
        return str(value).lower()
    text = {dict: "a table", list: "a list", type(None): "null"}.get(type(value)) or repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


def refused(source: str, problems: list[str]) -> InvalidDefinition:
    """The error that tells the problems of a file, as far as anybody reads on."""
    told = [in_one_line(problem) for problem in problems[:PROBLEMS_MAX]]
    return InvalidDefinition(source, told + ["and more"] * (len(problems) > PROBLEMS_MAX))


def _check_size(raw: bytes, source: str) -> None:
    if len(raw) > FILE_BYTES_MAX:
        raise refused(source, [f"it has more than {FILE_BYTES_MAX:,} bytes"])


def _not_taken(source: str, error: InvalidDocument) -> InvalidDefinition:
    problems = [_with_path(problem) for problem in error.details["problems"]]
    return refused(source, problems + ["and more"] * error.problem.endswith("; and more."))


def _with_path(problem: str) -> str:
    """A problem that begins with a JSON Pointer, with a path of this format in its place."""
    where, found, what = problem.partition(": ")
    if not found or not where.startswith("at /"):
        return problem
    steps = [step.replace("~1", "/").replace("~0", "~") for step in where.removeprefix("at /").split("/")]
    return f"{path_of(int(step) if step.isdecimal() else step for step in steps)}: {what}"
