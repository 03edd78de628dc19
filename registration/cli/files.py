"""Files on the command line; - is standard input."""

from __future__ import annotations

import sys

from registration.cli.output import printable, say
from registration.errors import NotFound, StoreError


def shown_file(file: str) -> str:
    """The file's name in messages."""
    return "Standard input" if file == "-" else printable(file)


def bytes_of(file: str, size_bytes_max: int, *, next_step: str) -> bytes:
    """The contents of a file, at most one byte more than is allowed. next_step: of the error if it is missing.

    Raises:
        NotFound, StoreError: when it is missing or can't be read.
    """
    try:
        if file == "-":
            if sys.stdin.isatty():
                say("Type or paste a JSON object, then Ctrl-D.")
            return sys.stdin.buffer.read(size_bytes_max + 1)
        with open(file, "rb") as opened:
            return opened.read(size_bytes_max + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no file {shown_file(file)}.", next_step) from None
    except OSError as error:
        raise StoreError(
            f"{shown_file(file)} can't be read: {error.strerror}.", "Pass a readable file."
        ) from None
