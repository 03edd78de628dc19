"""Import sources: the documents of a directory, of a file, or of lines of JSON, one after the other, in bounded memory.

A file contains one document. A line (JSON Lines: `.jsonl`, `.ndjson`, or standard input) contains one, or an object with more:
``{"id": …, "document": {…}, "actor": …, "comment": …, "submit": true}``, of which only `document` is required; so a line with
an object as its member `document` is read that way. Its id, actor and submission count only if the caller trusts the lines
(`registration.pipeline.importing`). An unreadable document is offered with its problem, and stops nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from registration.errors import InvalidArgument, InvalidDocument, NotFound, RegistrationError, StoreError
from registration.pipeline.importing import Offer, place_of, well_formed
from registration.storage import layout
from registration.values.documents import Document, check_document, parse_document

LINES = (".jsonl", ".ndjson")
WORDS_BYTES_MAX = 64 * 1024
"""The maximum size of a line in addition to its document."""

_WORDS: dict[str, type] = {"id": str, "actor": str, "comment": str, "submit": bool}


@dataclass(frozen=True, slots=True)
class Source:
    """A source of documents. offers: reads them, once. total: their number; None if unknown."""

    offers: Iterator[Offer]
    total: int | None


def open_source(
    place: str,
    *,
    stdin: Callable[[], BinaryIO],
    document_bytes_max: int,
    continue_from: str | None = None,
    counted: bool = False,
) -> Source:
    """The documents of a directory (its `.json` files, sorted, recursively), of a file, or of `-`.

    Directories that contain a registry, hidden ones, and links to directories are skipped. continue_from: skip everything before
    that line, or that file. counted: read everything once before, to count them.

    Raises:
        NotFound: when there is no such file or directory, or it is empty.
        InvalidArgument: when it is a registry itself, or has no such position to continue from.
    """
    if place != "-" and not os.path.exists(place):
        raise NotFound(f"There is no file or directory {place}.", "Pass one, or - for standard input.")
    if place != "-" and os.path.isdir(place):
        if _is_registry(place):
            raise InvalidArgument(f"{place} is a registry.", "Pass the directory of the documents.")
        if next(_files(place), None) is None:
            raise NotFound(f"There is no .json file in {place}.", "Pass the directory of the documents.")
        total = sum(1 for _ in _files(place)) if counted and continue_from is None else None
        files = _from_file(place, continue_from)
        return Source((_file(place, name, document_bytes_max) for name in files), total)
    if place != "-" and not place.endswith(LINES):
        if continue_from is not None:
            raise InvalidArgument(f"{place} is a single document: there is no position to continue from.")
        name = os.path.basename(place)
        return Source(iter([_file(os.path.dirname(place), name, document_bytes_max)]), 1)
    first = _first_line(place, continue_from)
    total = _count_lines(place) if counted and continue_from is None and os.path.isfile(place) else None
    return Source(_opened_lines(place, stdin, first, document_bytes_max), total)


def _files(directory: str) -> Iterator[str]:
    """The `.json` files below a directory, relative to it, sorted by name.

    A directory that can't be listed is returned itself, with a trailing slash.
    """
    try:
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        yield ""
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if not _is_registry(entry.path):
                yield from (f"{entry.name}/{name}" for name in _files(entry.path))
        elif entry.name.endswith(".json"):
            yield entry.name


def _is_registry(directory: str) -> bool:
    return os.path.lexists(os.path.join(directory, layout.REGISTRY_FILE)) and os.path.isdir(
        os.path.join(directory, layout.MANIFESTS)
    )


def _from_file(directory: str, first: str | None) -> Iterator[str]:
    reached = first is None
    for name in _files(directory):
        reached = reached or name == first
        if reached:
            yield name
    if not reached:
        raise InvalidArgument(
            f"There is no file {first} in {directory} to continue from.", "Pass it as reported."
        )


def _file(directory: str, name: str, bytes_max: int) -> Offer:
    """The document of one file."""
    path, name = os.path.join(directory, name), well_formed(name)
    if not name or name.endswith("/"):
        place = name or well_formed(directory)
        problem = StoreError(f"The directory {place} can't be read.", "Check its permissions.")
        return Offer(source=place, problem=problem)
    try:
        with open(path, "rb") as opened:
            raw = opened.read(bytes_max + 1)
        return Offer(source=name, document=parse_document(raw, source=name, size_bytes_max=bytes_max))
    except FileNotFoundError:
        return Offer(source=name, problem=NotFound(f"There is no file {name}.", "Pass one that exists."))
    except OSError as error:
        problem = StoreError(f"{name} can't be read: {error.strerror}.", "Pass a readable file.")
        return Offer(source=name, problem=problem)
    except RegistrationError as error:
        return Offer(source=name, problem=error)


def _first_line(place: str, continue_from: str | None) -> int:
    if continue_from is None:
        return 1
    if not continue_from.isascii() or not continue_from.isdigit() or int(continue_from) < 1:
        raise InvalidArgument(
            f"{continue_from!r} is not a line number of {place}.", "Pass the number of a line, from 1."
        )
    return int(continue_from)


def _count_lines(place: str) -> int:
    with open(place, "rb") as opened:
        return sum(piece.count(b"\n") for piece in iter(lambda: opened.read(1 << 20), b""))


def _opened_lines(place: str, stdin: Callable[[], BinaryIO], first: int, bytes_max: int) -> Iterator[Offer]:
    name = "-" if place == "-" else well_formed(os.path.basename(place))
    try:
        opened = stdin() if place == "-" else open(place, "rb")  # noqa: SIM115  # closed below; standard input is not
    except FileNotFoundError:
        raise NotFound(f"There is no file {place}.", "Pass one that exists.") from None
    except OSError as error:
        raise StoreError(f"{place} can't be read: {error.strerror}.", "Pass a readable file.") from None
    try:
        for number, raw in enumerate(_lines(opened, bytes_max + WORDS_BYTES_MAX), 1):
            if number >= first and raw.strip():
                yield _line(name, number, raw, bytes_max)
    finally:
        if place != "-":
            opened.close()


def _lines(opened: BinaryIO, bytes_max: int) -> Iterator[bytes]:
    """Lines; one that is too long is truncated just beyond the limit."""
    while raw := opened.readline(bytes_max + 2):
        rest = raw
        while not rest.endswith(b"\n") and (rest := opened.readline(bytes_max)):
            pass
        yield raw.removesuffix(b"\n")


def _line(name: str, number: int, raw: bytes, bytes_max: int) -> Offer:
    """The document of one line, with the line's other members."""
    place = place_of(name, number)
    try:
        read = parse_document(
            raw, source=place, size_bytes_max=bytes_max + WORDS_BYTES_MAX, first_line=number
        )
        if isinstance(read.value.get("document"), dict):
            words = {member: item for member, item in read.value.items() if member != "document"}
            _check_words(place, words)
            document = check_document(read.value["document"], source=place, size_bytes_max=bytes_max)
            return Offer(
                source=name, line=number, document=document, manifest_id=words.get("id"), actor=words.get("actor"),
                comment=words.get("comment"), submit=words.get("submit"),
            )  # fmt: skip
        return Offer(source=name, line=number, document=_bounded(read, place, bytes_max))
    except RegistrationError as error:
        return Offer(source=name, line=number, problem=error)


def _bounded(document: Document, place: str, bytes_max: int) -> Document:
    if document.size_bytes > bytes_max:
        raise InvalidDocument(
            place, [f"it has {document.size_bytes:,} bytes; at most {bytes_max:,} are allowed"]
        )
    return document


def _check_words(place: str, words: dict[str, Any]) -> None:
    """Validate the other members of a line."""
    problems = [f"{name!r} is not one of {', '.join(_WORDS)}" for name in words if name not in _WORDS]
    problems += [
        f"{name!r} is {item!r}; expected {'true or false' if kind is bool else 'text'}"
        for name, kind in _WORDS.items()
        if (item := words.get(name)) is not None and type(item) is not kind
    ]
    if problems:
        raise InvalidArgument(
            f"{place} has invalid members next to its `document`: {'; '.join(problems)}.",
            'Correct it. Wrap a document that itself has a member `document`: {"document": {…}}.',
            problems=problems,
        )
