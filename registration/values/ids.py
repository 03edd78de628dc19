"""Ids: of manifests, as derived from documents, and UUID version 7.

An id has 1 to 200 characters of ``A-Z a-z 0-9 . _ ~ : / @ + -`` and begins with a letter or a digit. Its
form as a file name (see `registration.storage.layout`) has at most 240 bytes. Everything else is rejected here,
before a path is built from it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from registration.errors import InvalidArgument, InvalidDocument, Next

if TYPE_CHECKING:
    from collections.abc import Mapping

ID_CHARACTERS_MAX = 200
NAME_BYTES_MAX = 240

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:/@+-]*", re.ASCII)
_ESCAPED = re.compile(r"[:/]")
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9._~:/@+-]+", re.ASCII)


def check_id(text: object) -> str:
    """Return `text` if it is a valid id.

    Raises:
        InvalidArgument: when it is invalid; the message names the first problem.
    """
    problem = (
        _known_problem(text) if type(text) is str and len(text) <= ID_CHARACTERS_MAX else _id_problem(text)
    )
    if problem:
        shown = text if isinstance(text, str) and len(text) <= ID_CHARACTERS_MAX else _shorten(text)
        raise InvalidArgument(
            f"{shown!r} is an invalid manifest id: {problem}.",
            "An id has 1 to 200 characters of A-Z a-z 0-9 . _ ~ : / @ + - and begins with a letter or digit.",
            manifest_id=shown if isinstance(shown, str) else repr(shown),
            problem=problem,
        )
    assert isinstance(text, str)
    return text


def name_of(id: str) -> str:
    """The id as one component of a path: `:` and `/` percent-encoded, the rest unchanged.

    Injective, and never ``.``, ``..`` or hidden, since an id begins with a letter or a digit.
    """
    return id.replace(":", "%3A").replace("/", "%2F")


def id_of(name: str) -> str | None:
    """The id whose file name is `name`, or None if no id has that file name."""
    id = name.replace("%3A", ":").replace("%2F", "/")
    return id if _id_problem(id) is None and name_of(id) == name else None


def id_from_document(document: Mapping[str, Any]) -> str:
    """The id derived from a document: ``name@version``, or ``name`` if it has no version.

    An MCP ``server.json`` gives ``io.github.acme/weather@1.2.0``. Names meant for people, as in A2A agent
    cards, keep their letters, and characters that are not allowed in an id become hyphens: ``Weather Agent`` in version
    ``1.0`` gives ``Weather-Agent@1.0``.

    Raises:
        InvalidDocument: when the document has no name, or none that can become an id.
    """
    name, version = document.get("name"), document.get("version")
    parts = [_slug(name)] if isinstance(name, str) else []
    if parts and isinstance(version, str) and _slug(version):
        parts.append(_slug(version))
    id = "@".join(parts)
    problem = _id_problem(id)
    if problem:
        if isinstance(name, str):
            said = f"its name {_shorten(name)!r} is not usable as an id"
        else:
            said = "it has no `name`" if name is None else f"its name is {_shorten(name)}, not text"
        raise InvalidDocument(
            "Without an id, the document",
            [said],
            "Pass one.",
            Next(operation="act", action="create", missing=("document", "id")),
        )
    return id


def own_name(document: Mapping[str, Any]) -> str | None:
    """As `id_from_document`; None if the document has no usable name."""
    try:
        return id_from_document(document)
    except InvalidDocument:
        return None


def uuid7(unix_ms: int, randomness: bytes) -> str:
    """A UUID version 7 (RFC 9562, section 5.7) as text.

    unix_ms: milliseconds since 1970, below 2**48. randomness: 10 bytes, of which 74 bits are used.
    """
    tail = int.from_bytes(randomness, "big")
    value = (unix_ms & (2**48 - 1)) << 80
    value |= 0x7 << 76 | (tail >> 64 & 0xFFF) << 64
    value |= 0b10 << 62 | tail & (2**62 - 1)
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@lru_cache(maxsize=1024)
def _known_problem(text: str) -> str | None:
    """`_id_problem`, cached: a command checks its id several times."""
    return _id_problem(text)


def _id_problem(text: object) -> str | None:
    if not isinstance(text, str):
        return f"it is a {type(text).__name__}, not text"
    if not text:
        return "it is empty"
    if len(text) > ID_CHARACTERS_MAX:
        return f"it has {len(text)} characters"
    if not _ID.fullmatch(text):
        bad = next((c for c in text if not _ID.fullmatch("a" + c)), None)
        return f"it has {bad!r}" if bad is not None else f"it begins with {text[0]!r}"
    if len(text) + 2 * len(_ESCAPED.findall(text)) > NAME_BYTES_MAX:
        return f"as a file name it has more than {NAME_BYTES_MAX} bytes"
    return None


def _slug(text: str) -> str:
    return _NOT_IN_ID.sub("-", text.strip()).strip("-").lstrip("._~:/@+-")


def _shorten(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
