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
    from registration.values.events import StateSnapshot


class FeedPart(Part[M]):
    """The feed of commits: reading, following, waiting, named consumers, hooks."""

    @iterate
    def read(self, after: str | None = None, *, limit: int | None = None) -> Iterator[FeedEntry]:
        """The committed events of the whole registry after a cursor, as of now: each once, in order for each manifest.

        after: the cursor of an entry, to continue after it; None or ``start``: from the first event; ``now``: none.
        limit: the maximum number. After a power cut, events that were read before it may come again, with the same ids.

        Raises (while iterating):
            InvalidArgument: when the cursor is invalid, or belongs to another feed.
            CorruptLog: when an event was damaged; `details["cursor"]` is the position after it.
            LockTimeout: when waiting for a writer timed out.
        """
        return self._registry.store.feed(after, limit=limit)

    @follow
    def follow(self, after: str | None = None, *, stop: threading.Event | None = None) -> Iterator[FeedEntry]:
        """As `read`, and then every new commit as it happens; ends when `stop` is set.

        Polls every 50 ms, less often when little happens; with watchfiles (extra `watch`), it is notified.
        """
        from registration.feed.watching import follow  # noqa: PLC0415  # most programs don't wait

        return follow(self._registry.store, after, self._watch(stop))

    @watch
    def watch(self, *, stop: threading.Event | None = None) -> Watch:
        """Waits until the end of the feed has moved; see `Watch.wait`."""
        return self._watch(stop)

    @call
    def end(self) -> str:
        """The cursor after the last event: every commit acknowledged before this call is before it.

        It moves with every commit, so comparing it detects new events.
        """
        return self._registry.store.feed_end()

    @consumer
    def consumer(self, name: str, *, start: str = "start") -> Consumer:
        """A named consumer of the feed, which resumes where it stopped and gets each event at least once; see `Consumer`.

        start: where a new consumer begins: ``start``, ``now`` or a cursor.

        Raises:
            InvalidArgument: when the name or the start is invalid.
        """
        return self._consumer(name, start)

    @iterate
    def consumers(self) -> Iterator[ConsumerStatus]:
        """The status of each named consumer, including hooks, sorted by name."""
        for name in self._names():
            yield self._consumer(name, "start").status()

    @call
    def consumer_names(self) -> list[str]:
        """The names of all consumers, sorted; those of hooks begin with ``hook:``."""
        return self._names()

    @call
    def hooks(self, *, tell: Tell = lambda _: None) -> Hooks:
        """The hooks of `hooks.toml`, to run, test or retry; see `Hooks`.

        tell: called with the result of each delivery, from the hooks' threads.

        Raises:
            NotFound: when there is no such file.
            InvalidHooks: when it is invalid; every problem is listed.
        """
        from registration.feed.hooks.hooks import Hooks  # noqa: PLC0415  # few programs run them

        return Hooks(self._registry.store, tell=tell)

    @call
    def dead_letters(self) -> DeadLetters:
        """The events that hooks failed to deliver."""
        from registration.feed.hooks.dead_letters import DeadLetters  # noqa: PLC0415  # as above

        return DeadLetters(self._registry.store.records)

    @call
    def reconcile(self) -> int:
        """Find events that are missing from the feed and append them; returns their number.

        Only needed if they got there in another way: an earlier release that wrote in the meantime, a log that was copied in.
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
        """Wait until a manifest is in a state, and return it as it was then; returns at once if it is.

        state: a parent state, such as IN_REVIEW, includes its children. A state that the manifest only passed through during
        the wait counts. timeout_s: None waits forever. stop: ends the wait when it is set.

        Raises:
            NotFound: when there is no such manifest.
            InvalidArgument: when there is no such state.
            Rejected: as soon as the lifecycle has no path there any more.
            WaitTimeout: when it timed out, or `stop` was set.
        """
        from registration.feed.waiting import wait_for  # noqa: PLC0415  # as above

        now = self._registry.state(manifest_id).detached()
        return wait_for(self._registry.store, now, state, timeout_s=timeout_s, stop=stop)

    def _watch(self, stop: threading.Event | None) -> Watch:
        from registration.feed.watching import Watch  # noqa: PLC0415  # as above

        return Watch(self._registry.store, stop=stop)

    def _names(self) -> list[str]:
        from registration.feed.consumer_records import ConsumerRecords  # noqa: PLC0415  # as above

        return ConsumerRecords(self._registry.store.records).names()

    def _consumer(self, name: str, start: str) -> Consumer:
        from registration.feed.consumers import Consumer  # noqa: PLC0415  # as above

        return Consumer(self._registry.store, name, start=start)
