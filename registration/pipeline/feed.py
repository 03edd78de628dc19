"""`pipeline.feed`: following a registry.

Every committed event once, in commit order for each manifest, with cursors over the whole registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registration.pipeline.part import M, Part, call, consumer, follow, interruptible, iterate, watch

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from registration.feed.consumers import Consumer, ConsumerStatus
    from registration.feed.hooks.dead_letters import DeadLetters
    from registration.feed.hooks.hooks import Hooks, Tell
    from registration.feed.watching import Watch
    from registration.storage.reports import FeedEntry
    from registration.values.snapshots import StateSnapshot


class FeedPart(Part[M]):
    """Every commit as it comes: read, followed, waited for, consumed under a name, handed to hooks."""

    @iterate
    def read(self, after: str | None = None, *, limit: int | None = None) -> Iterator[FeedEntry]:
        """The committed events of the whole registry behind a cursor, as of now: each once, a manifest's in order.

        after: the cursor of an entry, for going on behind it; None or ``start``: from the first event; ``now``: none.
        limit: at most so many. After a power cut, events that were read before it may come again, with the same ids.

        Raises (while iterating):
            InvalidArgument: when the cursor is none, or is not of this feed.
            CorruptLog: when an event was damaged; `details["cursor"]` is the place behind it.
            LockTimeout: when a writer was waited for in vain.
        """
        return self._registry.store.feed(after, limit=limit)

    @follow
    def follow(self, after: str | None = None, *, stop: threading.Event | None = None) -> Iterator[FeedEntry]:
        """As `read`, and then whatever is committed, by anybody, as it comes; it ends when `stop` is set.

        Looks every 50 ms, more seldom where little happens; where watchfiles is installed (extra `watch`), it is told.
        """
        from registration.feed.watching import follow  # noqa: PLC0415  # most programs don't wait

        return follow(self._registry.store, after, self._watch(stop))

    @watch
    def watch(self, *, stop: threading.Event | None = None) -> Watch:
        """What waits until the feed's end is another one than before; see `Watch.wait`."""
        return self._watch(stop)

    @call
    def end(self) -> str:
        """The cursor behind the last event: every commit that was acknowledged before this call is before it.

        It moves whenever something is committed, so whoever waits for something new compares it.
        """
        return self._registry.store.feed_end()

    @consumer
    def consumer(self, name: str, *, start: str = "start") -> Consumer:
        """A named consumer of the feed, which goes on where it was, at least once for each event; see `Consumer`.

        start: where one begins that is new: ``start``, ``now`` or a cursor.

        Raises:
            InvalidArgument: when the name or the start can't be meant.
        """
        return self._consumer(name, start)

    @iterate
    def consumers(self) -> Iterator[ConsumerStatus]:
        """How each named consumer stands, hooks among them, sorted by their names."""
        store = self._registry.store
        for name in store.consumers.names():
            yield self._consumer(name, "start").status()

    @call
    def consumer_names(self) -> list[str]:
        """The names of all consumers, sorted; those of hooks begin with ``hook:``."""
        return self._registry.store.consumers.names()

    @call
    def hooks(self, *, tell: Tell = lambda _: None) -> Hooks:
        """The hooks of `hooks.toml`, to be run, tried, or helped on; see `Hooks`.

        tell: is called for whatever becomes of an event, from the hooks' threads.

        Raises:
            NotFound: when there is no such file.
            InvalidHooks: when it can't be meant; every problem is named.
        """
        from registration.feed.hooks.hooks import Hooks  # noqa: PLC0415  # few programs run them

        return Hooks(self._registry.store, tell=tell)

    @call
    def dead_letters(self) -> DeadLetters:
        """The events that hooks gave up."""
        from registration.feed.hooks.hooks import dead_letters_of  # noqa: PLC0415  # as above

        return dead_letters_of(self._registry.store)

    @call
    def reconcile(self) -> int:
        """Look for events that the feed doesn't have, and add them at its end; how many there were.

        Needed only where somebody else put them there: an earlier release that wrote meanwhile, a log that was copied in.
        """
        return self._registry.store.reconcile_feed()

    @interruptible
    def wait(
        self,
        manifest_id: str,
        state: str,
        timeout_s: float | None = None,
        *,
        stop: threading.Event | None = None,
    ) -> StateSnapshot:
        """Wait until a manifest is in a state, and give it as it was then; at once where it is there.

        state: a parent state, such as IN_REVIEW, is there where a child of it is. A state that it only came through while
        this waited counts. timeout_s: None waits for ever. stop: ends the waiting when it is set.

        Raises:
            NotFound: when there is no such manifest.
            InvalidArgument: when there is no such state.
            Rejected: as soon as the lifecycle has no way there any more.
            WaitTimeout: when it didn't come there in time, or `stop` was set.
        """
        from registration.feed.waiting import wait_for  # noqa: PLC0415  # as above

        now = self._registry.state(manifest_id).detached()
        return wait_for(self._registry.store, now, state, timeout_s=timeout_s, stop=stop)

    def _watch(self, stop: threading.Event | None) -> Watch:
        from registration.feed.watching import Watch  # noqa: PLC0415  # as above

        return Watch(self._registry.store, stop=stop)

    def _consumer(self, name: str, start: str) -> Consumer:
        from registration.feed.consumers import Consumer  # noqa: PLC0415  # as above

        return Consumer(self._registry.store, name, start=start)
