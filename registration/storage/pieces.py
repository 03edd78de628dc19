"""The events of a log, read in pieces: memory is bounded whatever the log's length, by a piece or by the longest command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from registration.core.codec import Fault, plain_events, scan
from registration.values.events import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registration.values.events import Event

PIECE_BYTES = 1 << 18
"""How much is read at a time."""

TORN_BYTES_MAX = 64 * 1024 * 1024
"""The most that an unfinished write is believed to have left at the end of a log: no command is as long."""


class EventsInPieces:
    """The events of the complete commands in a log, checked as `registration.core.codec.scan` does; iterated once.

    read: the bytes from an offset to another, fewer if the log ends earlier. size_bytes: how much of it is read; after: from where.
    position: after the last event, once the iteration ended. fault: why reading stopped early, once the iteration ended. short: whether the
    log ended before `size_bytes`: another process has cut it.
    """

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        size_bytes: int,
        *,
        stream: str,
        source: str,
        after: Position = Position(),  # noqa: B008  # frozen
    ) -> None:
        self.position = after
        self.fault: Fault | None = None
        self.short = False
        self._read = read
        self._size_bytes = size_bytes
        self._stream = stream
        self._source = source

    def __iter__(self) -> Iterator[Event]:
        """The events in order."""
        rest, offset = b"", self.position.size_bytes
        while offset < self._size_bytes:
            # As much again as could not be used: what is looked at twice stays less than what is looked at once.
            piece = self._read(offset, min(offset + max(PIECE_BYTES, len(rest)), self._size_bytes))
            self.short = not piece
            offset = offset + len(piece) if piece else self._size_bytes
            data = rest + piece
            end = offset >= self._size_bytes
            cut = len(data) if end else data.rfind(b"\n") + 1
            before = self.position.size_bytes
            events, place = plain_events(
                data[:cut], stream=self._stream, source=self._source, after=self.position
            )
            yield from events
            self.position = place
            used = place.size_bytes - before
            if used == cut:
                rest = data[cut:]
                continue
            seen = scan(data[used:cut], stream=self._stream, source=self._source, after=place)
            fault = seen.fault
            yield from seen.events
            self.position = seen.position
            rest = data[seen.position.size_bytes - before :]
            if fault is None:
                continue
            # Torn so far: the command may go on in the next piece, or a sound line behind it may tell that it is damage.
            if fault.torn and len(rest) > TORN_BYTES_MAX:
                fault = replace(fault, torn=False)
            if end or not fault.torn:
                self.fault = fault
                return
