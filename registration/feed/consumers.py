"""Named consumers: readers of the feed with a durable cursor, so that they resume where they stopped.

Each event is delivered at least once, in commit order for each manifest: the cursor moves after the handler returned, so
a consumer that is killed in between receives the entry again, with the same event id. An entry that keeps failing blocks its
consumer until a person skips it and gives a reason (`skip`). Of several processes, one works under a name at a time.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import orjson

from registration.errors import (
    ConsumerBlocked,
    CorruptLog,
    InvalidArgument,
    LockTimeout,
    Next,
    NotFound,
    RegistrationError,
    StoreError,
    UnknownEvent,
)
from registration.feed.consumer_records import ConsumerRecords
from registration.feed.watching import Watch
from registration.storage.ledger import Ledger
from registration.storage.notes import NOW, START, parse_cursor
from registration.storage.reports import FeedEntry
from registration.values.times import Clock, RetryPolicy, rfc3339, seconds_between, system_clock

if TYPE_CHECKING:
    from types import TracebackType

    from registration.storage.ports import Cell

HANDLING = RetryPolicy(attempts_max=8, base_s=0.5, cap_s=60.0)
"""The number of attempts before an entry blocks its consumer, and the waits in between."""

SKIPPED_MAX = 100
"""The number of skipped entries that a consumer remembers."""

NAME_CHARACTERS_MAX = 64
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~@+-")
_ERROR_CHARACTERS_MAX = 500

Handler = Callable[[FeedEntry], object]


@dataclass(frozen=True, slots=True)
class Failing:
    """A failed entry, to be retried before all others.

    cursor: the position after it. what: the entry in words. event_id: None if it could not be read. attempts: the number
    of attempts. since: the time of the first failure; next_at: the time of the next retry. blocked: a person must act.
    """

    cursor: str
    what: str
    event_id: str | None
    attempts: int
    error: str
    since: str
    next_at: str | None = None
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry that was skipped, and the reason."""

    what: str
    event_id: str | None
    error: str
    reason: str
    time: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The stored record of a consumer.

    cursor: the position after the last completed entry. skipped: the last skipped entries, oldest first.
    """

    name: str
    cursor: str
    created_at: str
    committed_at: str | None = None
    failing: Failing | None = None
    skipped: tuple[Skipped, ...] = ()

    def encode(self) -> bytes:
        """The file's bytes: indented JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """The status of a consumer.

    state: `running` (a process is working under its name), `failing` (an entry failed and will be retried), `blocked`, or `idle`.
    lag_events: the number of pending events, including those that were announced but never committed. lag_s: the age of the
    first of them, in seconds; 0 if there is none.
    """

    name: str
    state: str
    cursor: str
    lag_events: int
    lag_s: float
    committed_at: str | None
    failing: Failing | None
    skipped: tuple[Skipped, ...]
    holder: dict[str, Any] | None = None
    problem: RegistrationError | None = field(default=None, compare=False)


class Consumer:
    """One named reader of a feed. Use it in a `with` block, which locks its name.

    ::

        with pipeline.consumer("search-index") as consumer:
            for entry in consumer:          # the entries after its cursor, as of now
                index(entry.event)
                consumer.commit(entry)      # from now on, it begins after this one

        pipeline.consumer("search-index").run(lambda entry: index(entry.event))     # and waits for more

    start: where a new consumer begins: ``start``, ``now`` or a cursor. Not thread-safe.

    Raises (by the `with` block):
        ConsumerBusy: when another process works under that name.
        InvalidArgument: when the name or the start is invalid.
    """

    def __init__(
        self,
        store: Ledger,
        name: str,
        *,
        start: str = START,
        clock: Clock = system_clock,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.name = check_name(name)
        if start not in (START, NOW):
            parse_cursor(start)
        self._store = store
        self._records = ConsumerRecords(store.records)
        self._start = start
        self._clock = clock
        self._draw = draw
        self._held: ExitStack | None = None
        self._cell: Cell | None = None
        self._kept: Kept | None = None
        self._done: FeedEntry | None = None  # handled, but its cursor is not stored yet

    def __enter__(self) -> Self:
        if self._held is not None:
            raise StoreError(f"The consumer {self.name!r} is already open.", "Use the open one.")
        with ExitStack() as stack:
            cell = stack.enter_context(self._records.opened(self.name, _who(self._now())))
            kept = decode_kept(cell.read(), self.name)
            if kept is None:
                kept = Kept(self.name, self._place(self._start), self._now())
                cell.write(kept.encode())
            self._cell, self._kept = cell, kept
            self._held = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        held, self._held, self._cell, self._kept = self._held, None, None, None
        if held is not None:
            held.close()

    def __iter__(self) -> Iterator[FeedEntry]:
        """The entries after its cursor, as of now. The cursor does not move until `commit`.

        Raises (while iterating): as `registration.storage.ledger.Ledger.feed`.
        """
        yield from self._store.feed(self._own().cursor)

    @property
    def cursor(self) -> str:
        """The position after the last completed entry."""
        return self._own().cursor

    @property
    def failing(self) -> Failing | None:
        """The failed entry, to be retried before all others; None if there is none."""
        return self._own().failing

    def commit(self, done: FeedEntry | str) -> None:
        """Mark everything up to an entry, or a cursor, as completed: it is not delivered again.

        Raises:
            StoreError: when that can't be stored; then it is delivered again.
        """
        cursor = done.cursor if isinstance(done, FeedEntry) else str(parse_cursor(done))
        self._done = None
        self._keep(replace(self._own(), cursor=cursor, committed_at=self._now(), failing=None))

    def note_failure(self, entry: FeedEntry, error: str, *, wait_s: float | None) -> Failing:
        """Record another failure of an entry. wait_s: the wait before the retry; None: block until a person acts.

        Returns the updated failure.
        """
        return self._note(entry.cursor, describe(entry), entry.event.id, error, wait_s)

    def note_unreadable(self, error: RegistrationError) -> Failing:
        """Record that the entry after its cursor can't be read: block until a person acts. Returns the updated failure.

        error: the feed's error, with the position after the entry in its details.
        """
        what = f"an unreadable event of {error.details.get('manifest_id', 'a manifest')}"
        return self._note(error.details["cursor"], what, None, error.problem, None)

    def refuse_blocked(self) -> None:
        """Refuse to continue while it is blocked.

        Raises:
            ConsumerBlocked: when an entry keeps failing.
        """
        failing = self._own().failing
        if failing is not None and failing.blocked:
            raise ConsumerBlocked(self.name, failing.what, failing.error, failing.attempts, failing.cursor)

    def run(
        self,
        handler: Handler,
        *,
        retry: RetryPolicy = HANDLING,
        once: bool = False,
        stop: threading.Event | None = None,
        commit_every: int = 1,
    ) -> int:
        """Deliver each entry to a handler, and commit it when the handler returned. Returns the number handled.

        Waits for more until `stop` is set; once: ends at the current end of the feed. A handler that raises is retried
        after full-jitter waits, as often as `retry` allows; then the consumer is blocked. commit_every: store the cursor
        only after that many entries, and before every wait.

        Raises:
            ConsumerBlocked: when an entry keeps failing; immediately if it is blocked already: `retry` or `skip` it first.
            ConsumerBusy: when another process works under that name.
        """
        if self._held is None:
            with self:
                return self.run(handler, retry=retry, once=once, stop=stop, commit_every=commit_every)
        self.refuse_blocked()
        watch = Watch(self._store, stop=stop)
        handled = 0
        while not watch.stop.is_set():
            end = self._store.feed_end()
            handled += self._run_to_end(handler, retry, watch.stop, commit_every)
            if once:
                break
            watch.wait(end)
        return handled

    # -- by people -----------------------------------------------------------------------------------------------

    def status(self) -> ConsumerStatus:
        """Its status. Needs no `with` block.

        Raises:
            NotFound: when there is no such consumer.
        """
        kept = self._there()
        holder = self._records.holder(self.name)
        problem: RegistrationError | None = None
        events, lag_s = 0, 0.0
        try:
            backlog = self._store.feed_backlog(kept.cursor)
            events = backlog.events
            lag_s = max(0.0, seconds_between(backlog.since, self._now())) if backlog.since else 0.0
        except RegistrationError as error:
            problem = error
        state = "idle" if holder is None else "running"
        if kept.failing is not None:
            state = "blocked" if kept.failing.blocked else "failing"
        return ConsumerStatus(
            self.name, state, kept.cursor, events, round(lag_s, 3), kept.committed_at, kept.failing, kept.skipped,
            None if holder is None else dict(holder), problem,
        )  # fmt: skip

    def retry(self) -> Failing:
        """Retry the failed entry, with its attempts reset. Returns it.

        Raises:
            NotFound: when there is no such consumer.
            InvalidArgument: when there is no failed entry.
            ConsumerBusy: when a process works under its name.
        """
        with self._for_a_moment() as kept:
            failing = _failing(kept)
            self._keep(replace(kept, failing=None))
            return failing

    def skip(self, reason: str) -> Skipped:
        """Skip the failed entry; it is recorded, with the reason.

        Raises: as `retry`.
        """
        if not isinstance(reason, str) or not reason.strip():
            raise InvalidArgument("A reason is required.", "Give the reason for skipping the entry.")
        with self._for_a_moment() as kept:
            failing = _failing(kept)
            skipped = Skipped(failing.what, failing.event_id, failing.error, reason, self._now())
            self._keep(
                replace(
                    kept, cursor=failing.cursor, failing=None, skipped=(*kept.skipped, skipped)[-SKIPPED_MAX:]
                )
            )
            return skipped

    def reset(self, to: str) -> str:
        """Move it to ``start``, ``now``, or a cursor; returns that cursor. It is created if it does not exist.

        Raises:
            InvalidArgument: when the cursor is invalid, or belongs to another feed.
            ConsumerBusy: when a process works under its name.
        """
        place = self._place(to)
        if to not in (START, NOW):
            self._store.feed_backlog(place)  # refuses an invalid position
        with self:
            self._keep(replace(self._own(), cursor=place, failing=None))
            return place

    def delete(self) -> None:
        """Delete it, with its position.

        Raises:
            NotFound: when there is no such consumer.
            ConsumerBusy: when a process works under its name.
        """
        with self._for_a_moment():
            self._own_cell().remove()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _run_to_end(
        self, handler: Handler, retry: RetryPolicy, stop: threading.Event, commit_every: int
    ) -> int:
        handled = 0
        try:
            for entry in self:
                if stop.is_set() or not self._handle(handler, entry, retry, stop):
                    break
                handled, self._done = handled + 1, entry
                if handled % commit_every == 0:
                    self._keep_done()
        except (CorruptLog, UnknownEvent) as error:
            self.note_unreadable(error)
            self.refuse_blocked()
        except LockTimeout:
            pass  # a slow writer: checked again soon
        finally:
            self._keep_done()
        return handled

    def _keep_done(self) -> None:
        if self._done is not None:
            self.commit(self._done)

    def _handle(self, handler: Handler, entry: FeedEntry, retry: RetryPolicy, stop: threading.Event) -> bool:
        """Deliver one entry, with retries; False if it was stopped before."""
        own = self._own()
        tried = own.failing.attempts if own.failing and own.failing.cursor == entry.cursor else 0
        waits = islice(retry.waits_s(self._draw), tried, None)
        while True:
            try:
                handler(entry)
            except Exception as error:
                wait_s = next(waits, None)
                self.note_failure(entry, f"{type(error).__name__}: {error}", wait_s=wait_s)
                if wait_s is None:
                    self.refuse_blocked()
                elif stop.wait(wait_s):
                    return False
            else:
                return True

    def _note(
        self, cursor: str, what: str, event_id: str | None, error: str, wait_s: float | None
    ) -> Failing:
        self._keep_done()
        own, now_ns = self._own(), self._clock()
        before = own.failing if own.failing and own.failing.cursor == cursor else None
        failing = Failing(
            cursor=cursor,
            what=what,
            event_id=event_id,
            attempts=before.attempts + 1 if before else 1,
            error=error[:_ERROR_CHARACTERS_MAX],
            since=before.since if before else rfc3339(now_ns),
            next_at=None if wait_s is None else rfc3339(now_ns + round(wait_s * 1e9)),
            blocked=wait_s is None,
        )
        self._keep(replace(own, failing=failing))
        return failing

    @contextmanager
    def _for_a_moment(self) -> Iterator[Kept]:
        self._there()
        with self:
            yield self._own()

    def _there(self) -> Kept:
        kept = decode_kept(self._records.read(self.name) or b"", self.name)
        if kept is None:
            raise NotFound(
                f"There is no consumer {self.name!r}.",
                "See the list of existing ones.",
                Next(operation="consumers.list"),
                consumer=self.name,
            )
        return kept

    def _own(self) -> Kept:
        if self._kept is None:
            raise self._not_open()
        return self._kept

    def _own_cell(self) -> Cell:
        if self._cell is None:
            raise self._not_open()
        return self._cell

    def _not_open(self) -> StoreError:
        return StoreError(
            f"The consumer {self.name!r} is not open.",
            "Use it in a block: `with pipeline.consumer(NAME) as …`.",
        )

    def _keep(self, kept: Kept) -> None:
        # After a power cut it may start further back, which "at least once" allows.
        self._own_cell().write(kept.encode(), durable=False)
        self._kept = kept

    def _place(self, said: str) -> str:
        if said == NOW:
            return self._store.feed_end()
        return said if said == START else str(parse_cursor(said))

    def _now(self) -> str:
        return rfc3339(self._clock())


def check_name(name: object) -> str:
    """Return the name if it is a valid consumer name: letters, digits and ``._~@+-``; after ``hook:``, a hook's.

    Raises:
        InvalidArgument: when it is invalid.
    """
    own = name.removeprefix("hook:") if isinstance(name, str) else ""
    if not (0 < len(own) <= NAME_CHARACTERS_MAX and own[0].isalnum() and set(own) <= _CHARACTERS):
        raise InvalidArgument(
            f"Invalid consumer name {name!r}: expected 1 to {NAME_CHARACTERS_MAX} letters, digits and `._~@+-`, beginning with a "
            "letter or digit.",
            "Choose another one.",
        )
    assert isinstance(name, str)
    return name


def describe(entry: FeedEntry) -> str:
    """An entry for messages: its manifest, version and action."""
    return f"{entry.event.subject} version {entry.event.version} ({entry.event.action})"


def _failing(kept: Kept) -> Failing:
    if kept.failing is None:
        raise InvalidArgument(
            f"The consumer {kept.name!r} has no failed entry.",
            "See how far it is.",
            Next(operation="consumers.status", id=kept.name),
        )
    return kept.failing


def _who(now: str) -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now}


def decode_kept(raw: bytes, name: str) -> Kept | None:
    """The state of a consumer; None without bytes.

    Raises:
        StoreError: when it is corrupt.
    """
    if not raw:
        return None
    try:
        members = orjson.loads(raw)
        failing = Failing(**members.pop("failing")) if members["failing"] else members.pop("failing")
        skipped = tuple(Skipped(**one) for one in members.pop("skipped"))
        kept = Kept(**members, failing=failing, skipped=skipped)
        if kept.cursor != START:
            parse_cursor(kept.cursor)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, InvalidArgument) as error:
        raise StoreError(
            f"The file of the consumer {name!r} is unreadable: {error}.",
            f"Delete feed/consumers/{name.replace(':', '%3A')}.json, and put it where it belongs.",
            Next(operation="consumers.reset", id=name, missing=("to",)),
        ) from None
    return kept
