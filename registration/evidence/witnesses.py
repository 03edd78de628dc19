"""Witnesses: what one file of a registry says of another. A log by itself can't show that its end is missing, or all of it.

- The feed notes each commit: the version, the bytes and the hash at its end. A log that ends before a version that a later commit began
  at, or has another hash there, was put back or rewritten.
- The event that moves an alias names the version of a manifest, and the hash of its log, at which the name was held (`seen.holder`).
- Of one name there is one holder at a time, and an alias points at what was held.
- No fencing number is higher than the last one that was given.

A note is written before its commit, and never synced: one that nothing follows may be of a commit that was never made; one may be
missing after a power cut; and the feed may be removed, which is no damage. So a note proves that a version was there only if a later one
begins at it, and that its line is missing among the notes only if the machine has run since. After a repair, a log has other lines than
were noted.

Everything is kept in a temporary database, so that memory is bounded whatever the number of logs. Nothing is changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from registration.errors import InvalidArgument, StoreError
from registration.evidence.verification import Finding
from registration.storage import layout
from registration.values.ids import check_id
from registration.values.names import Name

if TYPE_CHECKING:
    from registration.core.codec import Fault
    from registration.storage.notes import Noted
    from registration.values.events import Event

CACHE_KB = 16 * 1024

_RECENT = 64
"""How many versions back the start of a noted commit is looked for: no command has more events."""

_LASTING = (layout.MANIFESTS, layout.ALIASES, layout.REGISTRY)
"""The areas whose logs nothing removes; of a registry's own log there is one."""

_NUMBER_MAX = 2**63 - 1

_TABLES = """
CREATE TABLE noted (area TEXT, stream TEXT, version INTEGER, before INTEGER, start INTEGER, size INTEGER, head TEXT,
    segment INTEGER, live INTEGER, place INTEGER);
CREATE TABLE pinned (stream TEXT, version INTEGER, hash TEXT, said TEXT);
CREATE INDEX pinned_of ON pinned (stream, version);
CREATE TABLE targets (log TEXT, line INTEGER, start INTEGER, alias TEXT, name TEXT, stream TEXT, digest TEXT, version INTEGER);
CREATE TABLE looked_at (area TEXT, stream TEXT, intact INTEGER, repaired INTEGER, PRIMARY KEY (area, stream)) WITHOUT ROWID;
CREATE TABLE held (name TEXT, stream TEXT, version INTEGER, line_start INTEGER, time TEXT, hash TEXT, digest TEXT,
    until_version INTEGER, until_time TEXT, until_hash TEXT);
CREATE INDEX held_by ON held (stream);
"""


class _Note(NamedTuple):
    """A commit as the feed noted it, without the name of its log. See `registration.storage.notes.Noted`."""

    version: int
    before: int
    start: int
    size: int
    head: str
    segment: int
    live: bool


@dataclass(slots=True)
class _Line:
    """A line of the log that is looked at. notes: of commits that end with it. followed: a later commit began there."""

    version: int
    start: int
    end: int
    hash: str
    notes: tuple[_Note, ...] = ()
    followed: bool = False

    @property
    def is_noted(self) -> bool:
        """Whether a note is of exactly this line."""
        return any(note.head == self.hash for note in self.notes)


class _Holding(NamedTuple):
    """A time in which a manifest held a name: from its line `version` on, until another (None: to the end of its log)."""

    name: str
    stream: str
    version: int
    line_start: int
    time: str
    hash: str
    until_time: str | None
    until_hash: str | None


class Witnesses:
    """What the logs of a registry are compared with, and the comparison of one with another.

    First everything that can be a witness (`add_notes`, `add_targets`), then the logs (`watch`), then `findings`: so a log is never
    older than what is said of it, even if there are writers.

    holds: whether a manifest holds a name at this moment. grown: whether a log has more bytes than these by now, after a writer in
    progress. set_aside: the names of the bytes of a log that repairs set aside. fence: the last fencing number given for a
    manifest; None if there is no record of any.

    Raises:
        StoreError: when there is no space for it.
    """

    def __init__(
        self,
        *,
        holds: Callable[[str, str], bool] = lambda _stream, _name: True,
        grown: Callable[[str, str, int], bool] = lambda _area, _stream, _size_bytes: False,
        set_aside: Callable[[str, str], list[str]] = lambda _area, _stream: [],
        fence: Callable[[str], int | None] = lambda _stream: None,
    ) -> None:
        self.holds = holds
        self.grown = grown
        self.set_aside = set_aside
        self.fence = fence
        self.problem: str | None = None
        """Why the feed could not be read."""
        self.failure: str | None = None
        """Why the comparison ended: such as no space for it. A log is not damaged by that."""
        self.db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        with failures_named():
            for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KB}"):
                self.db.execute(f"PRAGMA {pragma}")
            self.db.executescript(_TABLES)
            self.db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    def add_notes(self, notes: Iterable[Noted]) -> None:
        """Add what the feed noted, in its order. If it can't be read, `problem` says so: there are fewer witnesses."""
        with failures_named():
            self.db.executemany(
                "INSERT INTO noted VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        one.area, one.stream, one.version, one.version - one.count, one.start_bytes, one.size_bytes,
                        one.head, note.segment, note.live, place if note.in_order else None,
                    )
                    for place, note in enumerate(self._readable(notes))
                    if max((one := note.commit).size_bytes, one.version) <= _NUMBER_MAX
                ),
            )  # fmt: skip
            self.db.execute("CREATE INDEX noted_of ON noted (area, stream, version)")

    def add_targets(self, name: str, events: Iterable[Event]) -> None:
        """Add what the log of the aliases of a name says of manifests. Lines of other forms are skipped: they are damage by themselves."""
        start = 0
        with failures_named():
            for event in events:
                row = _target(name, event, start)
                start += len(event.line)
                if row is None:
                    continue
                self.db.execute("INSERT INTO targets VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
                head = _head_seen(event)
                if head is not None:
                    said = f"{layout.log_path(name, layout.ALIASES)}, line {event.version},"
                    self.db.execute("INSERT INTO pinned VALUES (?, ?, ?, ?)", (row[5], row[7], head, said))

    def _readable(self, notes: Iterable[Noted]) -> Iterator[Noted]:
        try:
            yield from notes
        except StoreError as error:
            self.problem = error.problem.rstrip(".")

    def skip(self, area: str, stream: str) -> None:
        """A log could not be read now: nothing is said of it."""
        with failures_named():
            self.db.execute("INSERT OR REPLACE INTO looked_at VALUES (?, ?, 0, NULL)", (area, stream))

    def watch(self, area: str, stream: str) -> Watch:
        """The comparison of one log with what is said of it."""
        return Watch(self, area, stream)

    def findings(self) -> Iterator[Finding]:
        """What is wrong between logs, after all of them were watched."""
        if self.failure is not None:
            reason = f"the logs were not all compared with each other: {self.failure}"
            yield Finding("unchecked", layout.FEED, 0, 0, reason)
            return
        if self.problem is not None:
            yield Finding(
                "unchecked", layout.FEED, 0, 0, f"the logs were not compared with the feed: {self.problem}"
            )
        elif not any(self._rows("SELECT 1 FROM noted LIMIT 1")) and any(
            self._rows("SELECT 1 FROM looked_at LIMIT 1")
        ):
            yield Finding("unchecked", layout.FEED, 0, 0, "there is no feed to compare the logs with")
        yield from self._missing()
        yield from self._held_twice()
        yield from self._stray_targets()

    # -- missing logs ------------------------------------------------------------------------------------------

    def _missing(self) -> Iterator[Finding]:
        # Sessions may be deleted, since they hold personal data; nothing else may.
        rows = self._rows(
            "SELECT area, stream, max(before) FROM noted WHERE area IN (?, ?, ?) AND NOT EXISTS "
            "(SELECT 1 FROM looked_at WHERE area = noted.area AND stream = noted.stream) "
            "GROUP BY area, stream HAVING max(before) > 0",
            _LASTING,
        )
        for area, stream, version in rows:
            with suppress(InvalidArgument):  # not an id: the line in the feed was not written by this package
                check_id(stream)
                reason = f"it is missing, and the feed noted commits after version {version}"
                yield self.lost(area, stream, 0, 0, reason)

    def lost(
        self, area: str, stream: str, line: int, start: int, reason: str, *, repaired: bool = False
    ) -> Finding:
        """The finding of a log that is not what it was: no damage if a repair may have left nothing of it.

        repaired: the log itself says of a repair, which set its snapshot aside.
        """
        path = layout.log_path(stream, area)
        if self._left_nothing(area, stream, repaired=repaired):
            why = f"{reason}; a repair set its first bytes aside, which explains it"
            return Finding("finding", path, line, start, why)
        return Finding("damage", path, line, start, reason)

    def _left_nothing(self, area: str, stream: str, *, repaired: bool) -> bool:
        """Whether a repair set aside bytes from the first one on; or, of a log without any, its snapshot alone."""
        names = ("0-",) if repaired else ("0-", "state-")
        return any(name.startswith(names) for name in self.set_aside(area, stream))

    # -- names -------------------------------------------------------------------------------------------------

    def _held_twice(self) -> Iterator[Finding]:
        """Two holders of a name at a time. Of each name, the holdings come by time; only the one that ends last is compared."""
        last: _Holding | None = None
        rows = self._rows(
            "SELECT name, stream, version, line_start, time, hash, until_time, until_hash FROM held ORDER BY name, time, stream"
        )
        for row in rows:
            one = _Holding(*row)
            if last is None or last.name != one.name:
                last = one
                continue
            overlaps = last.until_time is None or one.time < last.until_time
            if overlaps and last.stream != one.stream and (found := self._held_by_both(last, one)):
                yield found
            if last.until_time is not None and (one.until_time is None or one.until_time > last.until_time):
                last = one

    def _held_by_both(self, first: _Holding, second: _Holding) -> Finding | None:
        """Two holdings that overlap by the clocks of their writers, which prove nothing; the order of commits does."""
        path = layout.log_path(second.stream)
        reason = f"the name {second.name!r} was claimed at {second.time}, while {first.stream!r} held it since {first.time}"
        for one in (first, second):
            # It may have been released since its log was read.
            if one.until_time is None and not self.holds(one.stream, one.name):
                return None
        if first.until_time is None and second.until_time is None:
            both = f"the name {second.name!r} is held by {first.stream!r} (since {first.time}) as well"
            return Finding("damage", path, second.version, second.line_start, both)
        ends = [
            self._place(one.stream, one.until_hash) if one.until_hash else _NUMBER_MAX
            for one in (first, second)
        ]
        begins = [self._place(one.stream, one.hash) for one in (first, second)]
        if begins[1] is None or ends[0] is None or begins[0] is None or ends[1] is None:
            why = f"{reason}; without their order in the feed, clocks that differ can't be ruled out"
            return Finding("finding", path, second.version, second.line_start, why)
        if begins[1] > ends[0] or begins[0] > ends[1]:
            return None
        return Finding("damage", path, second.version, second.line_start, reason)

    def _place(self, stream: str, hash: str) -> int | None:
        """The place of a commit in the order of all; None if it is unknown."""
        rows = self._rows(
            "SELECT max(place) FROM noted WHERE area = ? AND stream = ? AND head = ?",
            (layout.MANIFESTS, stream, hash),
        )
        place: int | None = next(rows)[0]
        return place

    # -- aliases -----------------------------------------------------------------------------------------------

    def _stray_targets(self) -> Iterator[Finding]:
        rows = self._rows(
            "SELECT log, line, start, alias, name, targets.stream, digest, version, repaired FROM targets "
            "LEFT JOIN looked_at ON area = ?1 AND looked_at.stream = targets.stream "
            "WHERE coalesce(intact, 1) AND NOT EXISTS (SELECT 1 FROM held WHERE held.stream = targets.stream "
            "AND held.name = targets.name AND held.digest IS targets.digest AND (targets.version IS NULL OR "
            "(targets.version >= held.version AND targets.version < coalesce(until_version, ?2))))",
            (layout.MANIFESTS, _NUMBER_MAX),
        )
        for log, line, start, alias, name, stream, digest, version, repaired in rows:
            path = layout.log_path(log, layout.ALIASES)
            at = f" at version {version}" if version is not None else ""
            reason = f"the alias {alias!r} points at {name!r} as held by {stream!r}{at}, with the document {digest}, which its log doesn't say"
            if repaired is not None and (version is None or version >= repaired):
                why = f"{reason}; its repair at version {repaired} explains it"
                yield Finding("finding", path, line, start, why)
            elif self._left_nothing(layout.MANIFESTS, stream, repaired=repaired is not None):
                why = f"{reason}; a repair of that manifest left nothing, which explains it"
                yield Finding("finding", path, line, start, why)
            else:
                yield Finding("damage", path, line, start, reason)

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        with failures_named():
            yield from self.db.execute(query, values)


class Watch:
    """The comparison of one log with its witnesses, as it is read. `begin`, `saw` for each event in order, then `ended`."""

    def __init__(self, witnesses: Witnesses, area: str, stream: str) -> None:
        self._of = witnesses
        self._area = area
        self._stream = stream
        self._path = layout.log_path(stream, area)
        self.begin()

    def begin(self) -> None:
        """Begin again: the log is read from its first byte."""
        db, self._end, self._version = self._of.db, 0, 0
        self._repaired: int | None = None
        self._lines: dict[int, _Line] = {0: _Line(0, 0, 0, "")}
        self._found: list[Finding] = []
        self._wrong: tuple[int, int, str] | None = None  # the first line that is: all that follow are, too
        self._holding: tuple[Any, ...] | None = None
        self._last: Event | None = None
        self._fences: dict[bool, tuple[int, int, int]] = {}
        with self._going_on():
            if self._area == layout.MANIFESTS:
                db.execute("DELETE FROM held WHERE stream = ?", (self._stream,))
            self._notes = db.execute(
                "SELECT version, before, start, size, head, segment, live FROM noted WHERE area = ? AND stream = ? "
                "ORDER BY version",
                (self._area, self._stream),
            )
            self._pins = db.execute(
                "SELECT version, hash, said FROM pinned WHERE stream = ? AND ? ORDER BY version",
                (self._stream, self._area == layout.MANIFESTS),
            )
            self._note, self._pin = self._next_note(), self._pins.fetchone()

    def saw(self, event: Event) -> None:
        """Compare the next event."""
        data, start = event.data, self._end
        version = event.version
        line = _Line(version, start, start + len(event.line), event.hash)
        self._end, self._version = line.end, version
        if self._repaired is None and "lost" in data:
            self._repaired = version
        try:  # not `_going_on`: this is done for every line
            if self._of.failure is not None:
                return
            self._compare(line)
            if self._area == layout.MANIFESTS:
                if "claimed" in data or "released" in data:
                    self._named(event, start)
                if "fence" in data:
                    self._fenced(event, start)
            elif self._area == layout.ALIASES and "target" in data:
                self._pointed(event, start)
        except sqlite3.Error as error:
            self._failed(error)
        self._last = event

    def ended(self, fault: Fault | None = None) -> list[Finding]:
        """The findings. fault: why reading stopped early; what comes behind damage is unknown."""
        intact = fault is None or fault.torn
        with self._going_on():
            if self._of.failure is not None:
                return []
            self._of.db.execute(
                "INSERT OR REPLACE INTO looked_at VALUES (?, ?, ?, ?)",
                (self._area, self._stream, intact, self._repaired),
            )
            self._hold(None, None, None)
            if intact:
                self._beyond(torn=fault is not None)
            for line in self._lines.values():
                self._leave(line)
        if self._of.failure is not None:
            return []
        if self._wrong is not None:
            repaired = self._repaired is not None
            self._found.append(self._of.lost(self._area, self._stream, *self._wrong, repaired=repaired))
        for broken, (number, version, start) in self._fences.items():
            given = self._of.fence(self._stream)
            # The event of a broken claim has the number that its breaker gets next.
            if given is not None and number > given + broken:
                reason = f"its fencing number is {number}; the last one that was given is {given}"
                self._found.append(Finding("finding", self._path, version, start, reason))
        return self._found

    def skipped(self) -> None:
        """The log can't be read: nothing is said of it."""
        self._of.skip(self._area, self._stream)

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """A failure of the temporary database ends the comparison, and nothing else: the log is verified all the same."""
        try:
            yield
        except sqlite3.Error as error:
            self._failed(error)

    def _failed(self, error: sqlite3.Error) -> None:
        self._of.failure = f"{error}; free some space for temporary files (TMPDIR, else /tmp)"

    # -- notes and pins ----------------------------------------------------------------------------------------

    def _compare(self, line: _Line) -> None:
        """A line with what others say of its version."""
        while self._note is not None and self._note.version <= line.version:
            if self._note.version == line.version:
                line.notes = (*line.notes, self._note)
                self._follow(self._note)
            self._note = self._next_note()
        while self._pin is not None and self._pin[0] <= line.version:
            if self._pin[0] == line.version and self._pin[1] != line.hash:
                self._differs(
                    line,
                    f"its hash is not {self._pin[1]}, as {self._pin[2]} says: one of the two was changed",
                )
            self._pin = self._pins.fetchone()
        self._lines[line.version] = line
        if line.version >= _RECENT:
            left = self._lines.pop(line.version - _RECENT)
            if left.notes:
                self._leave(left)

    def _next_note(self) -> _Note | None:
        row = self._notes.fetchone()
        return None if row is None else _Note(*row)

    def _follow(self, note: _Note) -> None:
        """A commit began at a version of this log: that version was there, as its writer saw it."""
        line = self._lines.get(note.before)
        if line is None:
            return
        line.followed = True
        if line.end != note.start:
            self._changed(
                line, f"the feed noted a commit after it at byte {note.start}, and it ends at byte {line.end}"
            )
            return
        if line.notes and not line.is_noted:
            # The note of this line is not lost if one before it and one after it were made in the same run of the machine.
            self._otherwise(line, sure=any(one.segment == note.segment for one in line.notes))

    def _leave(self, line: _Line) -> None:
        """The last word on a line: it was noted, or not at all, or otherwise."""
        if line.notes and not line.followed and not line.is_noted:
            self._otherwise(line, sure=any(one.live for one in line.notes))

    def _otherwise(self, line: _Line, *, sure: bool) -> None:
        said = f"the feed noted the hash {line.notes[-1].head} of it"
        if sure:
            self._changed(line, said)
        elif self._wrong is None and not self._found and not self._excused(line.version):
            # A write may have failed after its note, and the note of the next one may be lost in a power cut.
            reason = f"it may not be the line that was written: {said}"
            self._found.append(Finding("finding", self._path, line.version, line.start, reason))

    def _beyond(self, *, torn: bool) -> None:
        """What is said of versions after the last one. torn: the remains of an interrupted write are there, and reported."""
        last = self._lines[self._version]
        highest = began = 0
        while self._note is not None:
            note = self._note
            self._follow(note)
            began, highest = max(began, note.before), max(highest, note.version)
            self._note = self._next_note()
        if began > self._version:
            self._ends(began, "the feed noted commits after version")
        elif highest and last.version and not torn and not self._excused(highest) and not self._has_grown():
            reason = (
                f"the feed noted version {highest}, and it ends at version {self._version}: "
                "a write was interrupted, or an older copy was put back"
            )
            self._found.append(Finding("finding", self._path, self._version, last.start, reason))
        while self._pin is not None:
            self._ends(self._pin[0], f"{self._pin[2]} names version")
            self._pin = self._pins.fetchone()

    def _has_grown(self) -> bool:
        return self._of.grown(self._area, self._stream, self._end)

    def _excused(self, version: int) -> bool:
        return self._repaired is not None and version >= self._repaired

    def _ends(self, version: int, said: str) -> None:
        reason = f"it ends at version {self._version}, but {said} {version}: an older copy was put back, or lines were cut off"
        if self._wrong is None and not self._excused(version):
            self._wrong = (self._version, self._lines[self._version].start, reason)

    def _changed(self, line: _Line, said: str) -> None:
        self._differs(line, f"it is not the line that was written: {said}")

    def _differs(self, line: _Line, reason: str) -> None:
        if self._wrong is None and not self._excused(line.version):
            self._wrong = (line.version, line.start, reason)

    # -- names and fences --------------------------------------------------------------------------------------

    def _named(self, event: Event, start: int) -> None:
        """A name was claimed or released. A new claim ends the one before it.

        A repair releases a name that the lost events had released: at the latest then, and not before the last line that is left.
        """
        last = self._last
        if "lost" in event.data and last is not None:
            self._hold(event.version, last.time, last.hash)
        else:
            self._hold(event.version, event.time, event.hash)
        claimed = event.data.get("claimed")
        if isinstance(claimed, str):
            digest = event.data.get("digest")
            held = (claimed, self._stream, event.version, start, event.time, event.hash)
            self._holding = (*held, digest if isinstance(digest, str) else None)

    def _hold(self, version: int | None, time: str | None, hash: str | None) -> None:
        """Store the holding that ends there; None: with the log."""
        if self._holding is not None:
            row = (*self._holding, version, time, hash)
            self._of.db.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._holding = None

    def _pointed(self, event: Event, start: int) -> None:
        """An alias was moved: in this release, the event says at which version the holder was seen."""
        if event.statehash is None or self._found:
            return
        if _head_seen(event) is None or _version_seen(event) is None:
            reason = "it does not say at which version the manifest was seen to hold the name (`seen.holder`)"
            self._found.append(Finding("damage", self._path, event.version, start, reason))

    def _fenced(self, event: Event, start: int) -> None:
        number, broken = event.data["fence"], "claim" in event.data
        if type(number) is int and number > self._fences.get(broken, (0,))[0]:
            self._fences[broken] = (number, event.version, start)


def _target(name: str, event: Event, start: int) -> tuple[Any, ...] | None:
    """What an event of an alias says of a manifest: a row of `targets`."""
    target, alias = event.data.get("target"), event.data.get("alias")
    if not isinstance(target, dict) or not isinstance(alias, str):
        return None
    version, stream, digest = (target.get(word) for word in ("version", "manifest_id", "digest"))
    if not isinstance(stream, str) or not all(
        one is None or isinstance(one, str) for one in (version, digest)
    ):
        return None
    at = _version_seen(event)
    return name, event.version, start, alias, str(Name(name, version)), stream, digest, at


def _version_seen(event: Event) -> int | None:
    """The version of the holder that an event of an alias names."""
    try:
        at = event.data["seen"]["holder"]["version"]
    except (KeyError, TypeError):
        return None
    return at if type(at) is int and 0 < at <= _NUMBER_MAX else None


def _head_seen(event: Event) -> str | None:
    """The hash of the holder's log that an event of an alias names beside a version."""
    try:
        head = event.data["seen"]["holder"]["hash"]
    except (KeyError, TypeError):
        return None
    return head if isinstance(head, str) else None


@contextmanager
def failures_named() -> Iterator[None]:
    """Name the failure of the temporary database."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"Comparing the logs with each other failed: {error}.",
            "Free some space for temporary files (TMPDIR, else /tmp), then retry.",
        ) from error
