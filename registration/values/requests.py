"""Requests: what a caller may pass to a command, checked once at the edge, all problems at once.

The only user of pydantic, imported by the first write and by no reading command.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from registration.errors import InvalidArgument, InvalidDocument
from registration.values.documents import check_document
from registration.values.ids import check_id

CONTEXT_BYTES_MAX = 64 * 1024
TEXT_CHARACTERS_MAX = 10_000
LABEL_CHARACTERS_MAX = 200


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("it has control characters, or white space at an end")
    return text


def _utf8(text: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("it has half of a surrogate pair, which is not a character")
    return text.strip()


def _digest(text: str) -> str:
    if not re.fullmatch("sha256:[0-9a-f]{64}", text):
        raise ValueError(
            "it has to be sha256: and 64 hex digits, all of them, as `registration show` tells it"
        )
    return text


def _head(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("it has to be 64 hex digits, all of them, as `registration show` tells it")
    return text


def _context(value: dict[str, Any]) -> dict[str, Any]:
    taken = {"reason", "comment", "document"} & value.keys()
    if taken:
        raise ValueError(f"{', '.join(sorted(taken))}: given twice, or not taken here")
    try:
        return check_document(value, source="it", size_bytes_max=CONTEXT_BYTES_MAX).value
    except InvalidDocument as error:
        raise ValueError("; ".join(error.details["problems"])) from None


Label = Annotated[str, Field(min_length=1, max_length=LABEL_CHARACTERS_MAX), AfterValidator(_printable)]
"""A name of a person or a key: 1 to 200 printable characters."""

Text = Annotated[str, Field(max_length=TEXT_CHARACTERS_MAX), AfterValidator(_utf8)]
"""What somebody says: up to 10,000 characters; white space at the ends is dropped."""


Digest = Annotated[str, AfterValidator(_digest)]
"""``sha256:`` and 64 hex digits."""

Head = Annotated[str, AfterValidator(_head)]
"""The hash that a log ends in: 64 hex digits."""


class Request(BaseModel):
    """What accompanies a command. Nothing is converted: a number is no text, and text is no number."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    actor: Label | None = None
    reason: Text | None = None
    comment: Text | None = None
    context: Annotated[dict[str, Any], AfterValidator(_context)] | None = None
    expected_version: Annotated[int, Field(ge=0)] | None = None
    expected_digest: Digest | None = None
    expected_head: Head | None = None
    fence: Annotated[int, Field(ge=1, lt=2**53)] | None = None
    idempotency_key: Label | None = None
    correlation_id: Label | None = None

    @classmethod
    def of(cls, manifest_id: str, said: dict[str, Any]) -> Self:
        """Check what a caller passed.

        Raises:
            InvalidArgument: naming every argument that is wrong, what was expected, and what was found.
        """
        check_id(manifest_id)
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            problems = [
                f"{'.'.join(str(step) for step in wrong['loc'])}: {wrong['msg'].removeprefix('Value error, ')}"
                f" (found {_shorten(wrong['input'])})"
                for wrong in error.errors(include_url=False)
            ]
        raise InvalidArgument(
            f"The request for {manifest_id!r} can't be meant: {'; '.join(problems)}.",
            "Correct it and ask again.",
            manifest_id=manifest_id,
            problems=problems,
        )


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
