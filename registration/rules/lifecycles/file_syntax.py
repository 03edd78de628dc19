"""The bytes of a lifecycle file as JSON values, and the form of its problems. The meaning of the values is in `files`.

Reading ends quickly, whatever the bytes are: their number is bounded before anything is parsed, and so is
the nesting depth.
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
"""The maximum number of dots in a line of TOML. A dotted key costs `tomllib` quadratic time in its parts."""

_VALUES_BYTES_MAX = 4 * FILE_BYTES_MAX
"""A bound on the JSON form, which is longer than the TOML: no file within its own bounds exceeds it."""


def read_json(raw: bytes, source: str) -> object:
    """The values of a JSON file.

    Raises:
        InvalidDefinition: when it is too large or not JSON; a duplicate key is a problem as well.
    """
    _check_size(raw, source)
    try:
        return parse_document(raw, source=source, size_bytes_max=FILE_BYTES_MAX).value
    except InvalidDocument as error:
        raise _not_taken(source, error) from None


def read_toml(raw: bytes, source: str) -> object:
    """The values of a TOML file.

    Raises:
        InvalidDefinition: when it is too large or not TOML.
    """
    _check_size(raw, source)
    if raw.startswith(b"\xef\xbb\xbf"):
        raise refused(source, ["it begins with a byte order mark; save it as UTF-8 without a BOM"])
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
    except ValueError:  # Python refuses to convert integers of thousands of digits
        problem = "it has a number of thousands of digits"
    raise refused(source, [problem])


def taken(value: object, source: str) -> dict[str, Any]:
    """The values, validated: JSON values in a table. TOML also has dates and infinities.

    Raises:
        InvalidDefinition: listing every other value.
    """
    try:
        return check_document(value, source=source, size_bytes_max=_VALUES_BYTES_MAX).value
    except InvalidDocument as error:
        raise _not_taken(source, error) from None


def path_of(steps: Iterable[int | str]) -> str:
    """A position in a file: ``actions.approve.guards[0].count``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def shown(value: object) -> str:
    """A found value, as a file would contain it; shortened."""
    if value is True or value is False:
        return str(value).lower()
    text = {dict: "a table", list: "a list", type(None): "null"}.get(type(value)) or repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


def refused(source: str, problems: list[str]) -> InvalidDefinition:
    """The error with the problems of a file; a very long list is cut."""
    told = [in_one_line(problem) for problem in problems[:PROBLEMS_MAX]]
    return InvalidDefinition(source, told + ["and more"] * (len(problems) > PROBLEMS_MAX))


def _check_size(raw: bytes, source: str) -> None:
    if len(raw) > FILE_BYTES_MAX:
        raise refused(source, [f"it has more than {FILE_BYTES_MAX:,} bytes"])


def _not_taken(source: str, error: InvalidDocument) -> InvalidDefinition:
    problems = [_with_path(problem) for problem in error.details["problems"]]
    return refused(source, problems + ["and more"] * error.problem.endswith("; and more."))


def _with_path(problem: str) -> str:
    """A problem that begins with a JSON Pointer, with the pointer replaced by a path of this format."""
    where, found, what = problem.partition(": ")
    if not found or not where.startswith("at /"):
        return problem
    steps = [step.replace("~1", "/").replace("~0", "~") for step in where.removeprefix("at /").split("/")]
    return f"{path_of(int(step) if step.isdecimal() else step for step in steps)}: {what}"
