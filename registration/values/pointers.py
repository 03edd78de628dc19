"""JSON Pointers (RFC 6901): one place in a JSON value, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final


class Absent:
    """The type of `ABSENT`."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
"""Marks a missing value; `None` would be a null."""


def pointer(steps: Sequence[str | int]) -> str:
    """The pointer of a path: member names and indices from the top."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def at_pointer(value: Any, pointer: str) -> Any:
    """The value at a pointer; `ABSENT` if there is none, or the pointer is invalid."""
    if not pointer:
        return value
    if not pointer.startswith("/"):
        return ABSENT
    for raw in pointer[1:].split("/"):
        step = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(step, ABSENT)
        elif isinstance(value, list | tuple) and step.isascii() and step.isdecimal():
            index = int(step) if len(step) < 10 and (step == "0" or step[0] != "0") else len(value)
            value = value[index] if index < len(value) else ABSENT
        else:
            return ABSENT
        if value is ABSENT:
            return ABSENT
    return value
