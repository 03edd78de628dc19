"""Hooks: delivery of events to commands and HTTP endpoints, each by a named consumer, ``hook:<name>``.

Each matching event is delivered at least once, in commit order for each manifest, with the same id in every attempt.
A failed delivery is retried after full-jitter waits, or after the delay that the receiver asked for, and later events wait;
the number of attempts is stored, so a restarted runner continues counting. After the last attempt the event becomes a dead
letter, and the hook continues. A receiver that answers 410 accepts no more events: its consumer is blocked until
``consumers retry``. Of several runners, one works for a hook at a time.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from registration.errors import (
    ConsumerBlocked,
    ConsumerBusy,
    CorruptLog,
    LockTimeout,
    NotFound,
    UnknownEvent,
)
from registration.feed.consumer_records import ConsumerRecords
from registration.feed.consumers import Consumer, Failing, describe
from registration.feed.hooks.dead_letters import DeadLetter, DeadLetters
from registration.feed.hooks.hook_commands import run_command
from registration.feed.hooks.hook_file import Hook, read_hooks
from registration.feed.hooks.webhooks import Delivery, Lookup, Undeliverable, look_up, post, read_secret
from registration.feed.watching import Watch
from registration.values.ids import uuid7
from registration.values.times import Clock, rfc3339, seconds_between, system_clock

if TYPE_CHECKING:
    from registration.storage.ledger import Ledger
    from registration.storage.reports import FeedEntry

_COMMIT_EVERY = 200
_BLOCKED_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """The result of a delivery, for display.

    what: `delivered`, `failed` (to be retried at `next_at`), `dead` (given up), `blocked` (a person must act) or
    `busy` (another process works for this hook). event_id, entry: the event; None and empty if there is none.
    """

    hook: str
    what: str
    entry: str = ""
    event_id: str | None = None
    attempts: int = 0
    error: str = ""
    next_at: str | None = None


Tell = Callable[[Told], object]


class Hooks:
    """The hooks of one registry.

    tell: called with the result of each delivery, from the hooks' threads. lookup: from names to addresses.

    Raises:
        NotFound, InvalidHooks, StoreError: as `registration.feed.hooks.hook_file.read_hooks`.
    """

    def __init__(
        self,
        store: Ledger,
        *,
        tell: Tell = lambda _: None,
        clock: Clock = system_clock,
        draw: Callable[[], float] = random.random,
        lookup: Lookup = look_up,
    ) -> None:
        root = store.backend.place
        self._root = os.getcwd() if root is None else root
        self.hooks = read_hooks(store, root, store.definition.chart)
        self.letters = DeadLetters(store.records)
        self._store = store
        self._tell = tell
        self._clock = clock
        self._draw = draw
        self._lookup = lookup

    def hook(self, name: str) -> Hook:
        """The hook of that name.

        Raises:
            NotFound: when there is none.
        """
        for hook in self.hooks:
            if hook.name == name:
                return hook
        names = ", ".join(hook.name for hook in self.hooks) or "none"
        raise NotFound(f"There is no hook {name!r}.", f"hooks.toml has {names}.", hook=name)

    def problems(self, hook: Hook) -> list[str]:
        """The problems that would keep a hook from working here, as far as they show without a delivery."""
        found = []
        for where in hook.secrets:
            try:
                read_secret(where, self._root)
            except Undeliverable as error:
                found.append(str(error))
        program = hook.command[0] if hook.command else ""
        if "/" in program and not os.access(os.path.join(self._root, program), os.X_OK):
            found.append(f"{program} can't be started: it is missing or not executable")
        if hook.ca_file is not None and not os.access(os.path.join(self._root, hook.ca_file), os.R_OK):
            found.append(f"{hook.ca_file} can't be read")
        return found

    def run(self, *, stop: threading.Event | None = None, once: bool = False) -> bool:
        """Deliver pending events, and then new ones, until `stop` is set. One thread for each hook.

        once: every event that is due is tried once, without waiting. Returns whether everything is delivered.

        An error that ends a hook's thread is raised when the others have ended.
        """
        stop = stop or threading.Event()
        runners = [_Runner(self, hook, stop, once=once) for hook in self.hooks]
        threads = [threading.Thread(target=runner.run, name=f"hook-{runner.hook.name}") for runner in runners]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # so that signals are handled in the meantime
        for runner in runners:
            if runner.failure is not None:
                raise runner.failure
        return all(runner.is_done for runner in runners)

    def test(self, name: str) -> Delivery:
        """Send a hook an event of the type ``registration.hook_tested.v1``, once; it is in no log."""
        hook, now_ns = self.hook(name), self._clock()
        id = uuid7(now_ns // 1_000_000, os.urandom(10))
        event = {
            "specversion": "1.0",
            "id": id,
            "source": self._store.source,
            "type": "registration.hook_tested.v1",
            "time": rfc3339(now_ns),
            "data": {"hook": name},
        }
        return self.attempt(hook, id, orjson.dumps(event), {"REGISTRATION_ACTION": "test"})

    def redeliver(self, name: str) -> Iterator[Told]:
        """Try every dead letter of a hook once, oldest first; delivered ones are removed.

        Raises (while iterating):
            ConsumerBusy: when another process works for the hook.
        """
        hook = self.hook(name)
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": rfc3339(self._clock())}
        with ConsumerRecords(self._store.records).at_work(f"redeliver:{name}", who):
            for letter in self.letters.of(name):
                event = orjson.loads(letter.body)
                delivery = self.attempt(hook, letter.event_id, letter.body.encode(), _environment(event))
                if delivery.done:
                    self.letters.take_out(name, letter.event_id)
                    yield Told(name, "delivered", letter.what, letter.event_id, letter.attempts + 1)
                    continue
                again = replace(
                    letter, attempts=letter.attempts + 1, error=delivery.error, time=rfc3339(self._clock())
                )
                self.letters.change(again)
                yield Told(name, "dead", letter.what, letter.event_id, again.attempts, delivery.error)

    def attempt(self, hook: Hook, id: str, body: bytes, told: dict[str, str]) -> Delivery:
        """One attempt to deliver one event."""
        if hook.command:
            own = {
                "REGISTRATION_HOOK": hook.name,
                "REGISTRATION_EVENT_ID": id,
                "REGISTRATION_ROOT": self._root,
            }
            return run_command(hook, body, {**told, **own}, root=self._root)
        return post(hook, id, body, root=self._root, now_s=lambda: self._clock() / 1e9, lookup=self._lookup)

    # -- for the runners -------------------------------------------------------------------------------------------

    def consumer(self, hook: Hook) -> Consumer:
        """The consumer of a hook."""
        return Consumer(self._store, hook.consumer, start=hook.start, clock=self._clock, draw=self._draw)

    def watch(self, stop: threading.Event) -> Watch:
        """Waits for more events."""
        return Watch(self._store, stop=stop)

    def end(self) -> str:
        """The end of the feed."""
        return self._store.feed_end()

    def tell(self, told: Told) -> None:
        """Report the result of a delivery."""
        self._tell(told)

    def left_s(self, time: str | None) -> float:
        """The seconds until a time; 0 if it is past, or None."""
        return max(0.0, seconds_between(rfc3339(self._clock()), time)) if time else 0.0

    def wants(self, hook: Hook, entry: FeedEntry) -> bool:
        """Whether a hook receives an entry."""
        return hook.wants(entry, self._store.definition.chart)

    def wait_s(self, hook: Hook, attempts: int, delivery: Delivery) -> float | None:
        """The wait after that many attempts; None after the last."""
        wait_s = next(islice(hook.retry.waits_s(self._draw), attempts - 1, None), None)
        return None if wait_s is None else max(wait_s, delivery.retry_after_s or 0.0)

    def bury(self, hook: Hook, entry: FeedEntry, attempts: int, error: str) -> None:
        """Make an event a dead letter."""
        event = entry.event
        letter = DeadLetter(
            hook=hook.name,
            event_id=event.id,
            manifest_id=event.subject,
            version=event.version,
            action=event.action,
            time=rfc3339(self._clock()),
            attempts=attempts,
            error=error,
            body=event.line[:-1].decode(),
        )
        self.letters.put(letter)


class _Runner:
    """The thread of one hook. is_done: whether everything was delivered. failure: the error that ended it."""

    def __init__(self, hooks: Hooks, hook: Hook, stop: threading.Event, *, once: bool) -> None:
        self.hook = hook
        self.is_done = True
        self.failure: Exception | None = None
        self._hooks = hooks
        self._stop = stop
        self._once = once

    def run(self) -> None:
        """Work until stopped, or once."""
        try:
            while not self._stop.is_set():
                self._work()
                if self._once:
                    return
                # Blocked, or in use: the process that unblocks it needs its lock.
                self._stop.wait(_BLOCKED_LOOK_S)
        except Exception as error:  # raised in the thread that started this one
            self.is_done = False
            self.failure = error

    def _work(self) -> None:
        try:
            with self._hooks.consumer(self.hook) as consumer:
                self._refuse_blocked(consumer)
                watch = self._hooks.watch(self._stop)
                while not self._stop.is_set():
                    end = self._hooks.end()
                    wait_s = self._pass(consumer)
                    if self._once:
                        self.is_done = self.is_done and wait_s is None
                        return
                    if wait_s is None:
                        watch.wait(end)
                    else:
                        self._stop.wait(wait_s)
        except ConsumerBlocked as error:
            self._say_once(
                Told(self.hook.name, "blocked", error.details["entry"], error=error.details["error"])
            )
        except ConsumerBusy as error:
            self._say_once(Told(self.hook.name, "busy", error=error.problem))

    def _say_once(self, told: Told) -> None:
        if self.is_done:
            self._hooks.tell(told)
        self.is_done = False

    def _pass(self, consumer: Consumer) -> float | None:
        """Deliver the entries after the cursor. Returns the wait before the next attempt; None if none is needed."""
        passed: str | None = None
        try:
            for number, entry in enumerate(consumer, 1):
                if self._stop.is_set():
                    return None
                if not self._hooks.wants(self.hook, entry):
                    passed = entry.cursor
                    failed_before = consumer.failing is not None and consumer.failing.cursor == passed
                    if number % _COMMIT_EVERY == 0 or failed_before:
                        consumer.commit(passed)
                        passed = None
                    continue
                if (wait_s := self._deliver(consumer, entry)) is not None:
                    return wait_s
                passed = None
        except (CorruptLog, UnknownEvent) as error:
            consumer.note_unreadable(error)
            self._refuse_blocked(consumer)
        except LockTimeout:
            return 0.0  # a slow writer
        finally:
            if passed is not None and consumer.failing is None:
                consumer.commit(passed)
        return None

    def _deliver(self, consumer: Consumer, entry: FeedEntry) -> float | None:
        """Try one event once, if it is due. Returns the wait before the next attempt; None if it is completed."""
        before = consumer.failing
        if before is not None and before.cursor != entry.cursor:
            before = None
        if before is not None and (left_s := self._hooks.left_s(before.next_at)) > 0:
            return left_s
        event, attempts = entry.event, before.attempts + 1 if before else 1
        delivery = self._hooks.attempt(self.hook, event.id, event.line[:-1], _environment_of(entry))
        if delivery.done:
            consumer.commit(entry)
            self._hooks.tell(Told(self.hook.name, "delivered", describe(entry), event.id, attempts))
            return None
        if delivery.gone:
            consumer.note_failure(entry, delivery.error, wait_s=None)
            self._refuse_blocked(consumer)
        wait_s = self._hooks.wait_s(self.hook, attempts, delivery)
        if wait_s is None:
            self._hooks.bury(self.hook, entry, attempts, delivery.error)
            consumer.commit(entry)
            self._hooks.tell(
                Told(self.hook.name, "dead", describe(entry), event.id, attempts, delivery.error)
            )
            self.is_done = self.is_done and not self._once
            return None
        failing = consumer.note_failure(entry, delivery.error, wait_s=wait_s)
        self._hooks.tell(_failed(self.hook, failing))
        return wait_s

    def _refuse_blocked(self, consumer: Consumer) -> None:
        consumer.refuse_blocked()
        self.is_done = True


def _failed(hook: Hook, failing: Failing) -> Told:
    return Told(
        hook.name, "failed", failing.what, failing.event_id, failing.attempts, failing.error, failing.next_at
    )


def _environment_of(entry: FeedEntry) -> dict[str, str]:
    return {**_environment(orjson.loads(entry.event.line)), "REGISTRATION_CURSOR": entry.cursor}


def _environment(event: dict[str, Any]) -> dict[str, str]:
    """The environment variables for an event: ids and names, so that no shell has to parse the event."""
    data = event.get("data", {})
    told = {
        "REGISTRATION_MANIFEST_ID": event.get("subject"),
        "REGISTRATION_VERSION": event.get("version"),
        "REGISTRATION_TYPE": event.get("type"),
        "REGISTRATION_ACTION": data.get("action"),
        "REGISTRATION_FROM": data.get("from"),
        "REGISTRATION_TO": data.get("to"),
    }
    return {name: str(value) for name, value in told.items() if value is not None}
