"""`FeedReader`: what a pipeline can be asked of the feed. `registration.reader` is made of it.

Every committed event once, in commit order for each manifest, with cursors over the whole registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.core.store import FeedEntry, Store


class FeedReader:
    """The half of a reader that follows a registry."""

    def _open(self) -> Store:
        raise NotImplementedError  # the reader that is made of it knows its store

    def feed(self, after: str | None = None, *, limit: int | None = None) -> Iterator[FeedEntry]:
        """The committed events of the whole registry behind a cursor, as of now: each once, a manifest's in order.

        after: the cursor of an entry, for going on behind it; None or ``start``: from the first event; ``now``: none.
        limit: at most so many. After a power cut, events that were read before it may come again, with the same ids.

        Raises (while iterating):
            InvalidArgument: when the cursor is none, or is not of this feed.
            CorruptLog: when an event was damaged; `details["cursor"]` is the place behind it.
            LockTimeout: when a writer was waited for in vain.
        """
        return self._open().feed(after, limit=limit)

    def feed_end(self) -> str:
        """The cursor behind the last event: every commit that was acknowledged before this call is before it.

        It moves whenever something is committed, so whoever waits for something new compares it.
        """
        return self._open().feed_end()

    def reconcile_feed(self) -> int:
        """Look for events that the feed doesn't have, and add them at its end; how many there were.

        Needed only where somebody else put them there: an earlier release that wrote meanwhile, a log that was copied in.
        """
        return self._open().reconcile_feed()
