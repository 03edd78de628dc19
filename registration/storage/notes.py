"""Notes: the lines for commits in a registry's order, and the cursors between them. Pure: bytes to values and back.

On files, a segment of the order begins with a header, then has one short line for each commit::

    {"segment":1,"id":"5f3c9a20","boot":"ba65674f-…","source":"urn:uuid:…"}
    {"s":"acme/weather@1.0","v":7,"n":1,"o":2384,"z":2690,"h":"<hash of the last line>","t":"<time of the last event>"}

`s` is the stream, `v` its version after the commit, `n` the number of its events, ``o..z`` their bytes in the log, `h` the head
of the log after it; `a` is the area, unless it is `manifests`; ``"r":1`` marks a line that was written later
than the commit.

Such a line is a hint to be looked up in the log, never the truth. If a writer died inside its line, the next line
follows without a line feed: a line has one brace, so it is parsed from the last brace.

A cursor is ``<segment>-<id>:<offset>``: after the line that ends there; with ``+<k>``, after k events of the line that begins
there. The id tells whether the segment is still the one of the cursor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

from registration.errors import InvalidArgument
from registration.storage.layout import MANIFESTS

START, NOW = "start", "now"
"""The words for a cursor: the start of the feed, and its end."""

_CURSOR = re.compile(r"([0-9]{1,9})-([0-9a-f]{8}):([0-9]{1,15})(?:\+([0-9]{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Header:
    """segment: its number. id: 8 random hex digits. boot: the run of the machine; empty if unknown."""

    segment: int
    id: str
    boot: str
    source: str

    def encode(self) -> bytes:
        """The first line of the segment."""
        members = {"segment": self.segment, "id": self.id, "boot": self.boot, "source": self.source}
        return orjson.dumps(members, option=orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit as recorded in the order: see the module docstring."""

    area: str
    stream: str
    version: int
    count: int
    start_bytes: int
    size_bytes: int
    head: str
    time: str

    def encode(self, *, late: bool = False) -> bytes:
        """The line. late: it is written later than the commit."""
        return encode_commit(
            self.area, self.stream, self.version, self.count, self.start_bytes, self.size_bytes, self.head,
            self.time, late=late,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Noted:
    """A commit as recorded, for comparison with its log. segment: its segment. live: that of this run of the machine: nothing in it is lost.

    in_order: what comes before it in the order was committed before it; not for lines that were written later.
    """

    commit: Commit
    segment: int = 0
    live: bool = True
    in_order: bool = True


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position between two events of the feed. taken: how many events of the line that begins at `offset` are before it."""

    segment: int
    id: str
    offset: int
    taken: int = 0

    def __str__(self) -> str:
        taken = f"+{self.taken}" if self.taken else ""
        return f"{self.segment}-{self.id}:{self.offset}{taken}"


def encode_commit(
    area: str,
    stream: str,
    version: int,
    count: int,
    start_bytes: int,
    size_bytes: int,
    head: str,
    time: str,
    *,
    late: bool = False,
) -> bytes:
    """The line of one commit."""
    members: dict[str, object] = {} if area == MANIFESTS else {"a": area}
    members["s"] = stream
    members["v"] = version
    members["n"] = count
    members["o"] = start_bytes
    members["z"] = size_bytes
    members["h"] = head
    members["t"] = time
    if late:
        members["r"] = 1
    return orjson.dumps(members, option=orjson.OPT_APPEND_NEWLINE)


def decode_commit(line: bytes) -> Commit | None:
    """The commit of a line; None if it holds none: a header, or a truncated line."""
    try:
        members = orjson.loads(line[max(0, line.rfind(b"{")) :])
        commit = Commit(
            members.get("a", MANIFESTS), members["s"], members["v"], members["n"], members["o"], members["z"],
            members["h"], members["t"],
        )  # fmt: skip
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    texts = (commit.area, commit.stream, commit.head, commit.time)
    numbers = (commit.version, commit.count, commit.start_bytes, commit.size_bytes)
    sound = all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)
    return (
        commit
        if sound and 0 < commit.count <= commit.version and 0 <= commit.start_bytes < commit.size_bytes
        else None
    )


def is_late(line: bytes) -> bool:
    """Whether a line was written later than its commit."""
    return line.rstrip().endswith(b',"r":1}')


def decode_header(line: bytes) -> Header | None:
    """The header of a segment, from its first line; None if that is invalid."""
    try:
        members = orjson.loads(line)
        found = Header(members["segment"], members["id"], members["boot"], members["source"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    texts = (found.id, found.boot, found.source)
    return found if type(found.segment) is int and all(type(text) is str for text in texts) else None


def parse_cursor(text: str) -> Cursor:
    """Parse a cursor.

    Raises:
        InvalidArgument: when it is invalid.
    """
    found = _CURSOR.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidArgument(
            f"{text!r} is not a cursor.", "Pass a cursor from the feed, `start` or `now`.", cursor=str(text)
        )
    segment, id, offset, taken = found.groups()
    return Cursor(int(segment), id, int(offset), int(taken or 0))


def not_of_this_feed(text: str) -> InvalidArgument:
    """The error of a cursor of another feed."""
    return InvalidArgument(
        f"The cursor {text!r} belongs to another feed: the feed was rebuilt, or an older copy was restored.",
        "Begin at `start` and skip events whose ids are known, or begin at `now`.",
        cursor=text,
    )


def check_limit(limit: int | None) -> None:
    """Refuse an invalid limit.

    Raises:
        InvalidArgument: when it is invalid.
    """
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InvalidArgument(f"`limit` is {limit!r}; a number of 0 or more is expected.", "Omit it for all.")
