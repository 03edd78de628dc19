"""Dead letters: events that a hook could not deliver, stored until they are redelivered or dropped.

``feed/dead-letters/<hook>.jsonl`` is one record per hook, one JSON object per line. A letter is durable before the hook continues
with the next event. It is appended: a hook whose receiver is down for a day fails many. A letter is deleted by replacing the record.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import orjson

from registration.storage import layout
from registration.storage.records import made_as

if TYPE_CHECKING:
    from collections.abc import Callable

    from registration.storage.ports import Cell, Key, Records

_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An undelivered event.

    event_id, manifest_id, version, action: identify it. time: when delivery was given up. attempts: the number of attempts, with
    the error of the last one. body: the event, as it is sent.
    """

    hook: str
    event_id: str
    manifest_id: str
    version: int
    action: str
    time: str
    attempts: int
    error: str
    body: str

    @property
    def what(self) -> str:
        """The event in words."""
        return f"{self.manifest_id} version {self.version} ({self.action})"


class DeadLetters:
    """The dead letters of a registry's hooks. Safe between threads and processes."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def hooks(self) -> list[str]:
        """The hooks that have dead letters, sorted."""
        names = self._records.names(layout.FEED, layout.DEAD_LETTERS)
        return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))

    def of(self, hook: str) -> list[DeadLetter]:
        """The letters of a hook, oldest first; an event that failed twice is listed once."""
        return list(_decoded(self._records.read(_key(hook)) or b"").values())

    def put(self, letter: DeadLetter) -> None:
        """Store a letter. When this returns, it is durable."""
        with self._held(letter.hook) as cell:
            # A partial line left by a kill is terminated, so that it does not corrupt the next.
            cell.append(b"\n" + _line(letter))

    def take_out(self, hook: str, event_id: str) -> None:
        """Delete a letter."""
        self._change(hook, lambda letters: letters.pop(event_id, None))

    def change(self, letter: DeadLetter) -> None:
        """Replace the letter of the same event."""
        self._change(letter.hook, lambda letters: letters.update({letter.event_id: letter}))

    def _change(self, hook: str, change: Callable[[dict[str, DeadLetter]], object]) -> None:
        with self._held(hook) as cell:
            letters = _decoded(cell.read())
            change(letters)
            cell.write(b"".join(_line(letter) for letter in letters.values()))

    def _held(self, hook: str) -> AbstractContextManager[Cell]:
        return made_as(f"the dead letters of {hook}", self._records, _key(hook))


def _key(hook: str) -> Key:
    return (layout.FEED, layout.DEAD_LETTERS, hook + _SUFFIX)


def _line(letter: DeadLetter) -> bytes:
    return orjson.dumps(asdict(letter)) + b"\n"


def _decoded(data: bytes) -> dict[str, DeadLetter]:
    letters = {}
    for line in data.splitlines():
        with suppress(orjson.JSONDecodeError, TypeError):  # an empty line, or a partial one left by a kill
            letter = DeadLetter(**orjson.loads(line))
            letters[letter.event_id] = letter
    return letters
