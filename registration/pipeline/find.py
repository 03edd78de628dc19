"""`pipeline.find`: lists, counts, statistics and queries over a whole registry, from its catalog.

Every answer comes from `catalog.sqlite`, updated first; if it can't be stored, from a catalog in memory,
built from the same feed or logs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from registration.core.policy import NO_POLICY
from registration.errors import InvalidArgument, RegistrationError, StoreError
from registration.pipeline.part import M, Part, call, listing
from registration.pipeline.results import Listing, Summary
from registration.values.times import rfc3339

if TYPE_CHECKING:
    from registration.catalog.catalog import Catalog, Page
    from registration.catalog.checking import Checked
    from registration.catalog.filters import Filters, FilterWords, Order, SortKey
    from registration.catalog.queries import Answer, Parameters
    from registration.catalog.rows import Row
    from registration.catalog.statistics import Statistics
    from registration.catalog.status import Status
    from registration.core.policy import Policy

T = TypeVar("T")

_log = logging.getLogger("registration")


class FindPart(Part[M]):
    """Queries over all manifests."""

    @listing
    def list(
        self,
        state: str | None = None,
        *,
        sort: str = "id",
        limit: int | None = None,
        after: str | None = None,
        **filters: Unpack[FilterWords],
    ) -> Listing:
        """The manifests that match all filters, sorted.

        state: a parent state, such as IN_REVIEW, includes its children. filters: see `registration.catalog.filters.Filters`.
        sort: ``id``, ``updated``, ``created`` or ``state``, with a leading hyphen to reverse; ties by id.
        limit: the maximum number. after: the `next_page` of an earlier list with the same filters and sort: continues
        after the last one, regardless of concurrent writes.

        An unreadable manifest is included with its `problem`, regardless of filters and limit, and stops
        nothing: in a list by id in its position, in any other first.

        Raises:
            InvalidArgument: when there is no such state, or a filter is invalid.
        """
        from registration.catalog.cursors import cursor_of, place_of  # noqa: PLC0415  # not for who reads one manifest
        from registration.catalog.filters import Order, check_filters  # noqa: PLC0415  # as above

        store = self._registry.store
        wanted = check_filters(store.definition.chart, state=state, **filters)
        order = Order.of(sort)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InvalidArgument(
                f"Invalid `limit` {limit!r}: expected 1 or more.", "Pass the maximum number."
            )
        place = None if after is None else place_of(after, source=store.source, filters=wanted, order=order)
        return Listing(
            self._summaries(wanted, order, place, limit),
            limit,
            lambda last: cursor_of(last, source=store.source, filters=wanted, order=order),
        )

    @call
    def count(self, state: str | None = None, **filters: Unpack[FilterWords]) -> int:
        """The number of manifests that `list` would return, without unreadable ones."""
        from registration.catalog.filters import check_filters  # noqa: PLC0415  # as above

        wanted = check_filters(self._registry.store.definition.chart, state=state, **filters)
        return self._ask(lambda catalog: catalog.count(wanted, policy=self._registry.policy))

    @call
    def stats(self, *, since: str | None = None) -> Statistics:
        """Statistics: manifests per state, their ages, the times spent in each state, and the actions per day.

        since: count actions from this time on, in the form of `state_at`. All numbers are exact.
        """
        self._registry.check_open()
        if since is not None:
            from registration.evidence.timetravel import at_time  # noqa: PLC0415  # for this option alone

            since = at_time(since, earliest=True)
        time = rfc3339(self._registry.clock())
        return self._ask(lambda catalog: catalog.statistics(time=time, since=since))

    @call
    def query(
        self,
        sql: str,
        parameters: Parameters = (),
        *,
        rows_max: int = 10_000,
        time_limit_s: float = 10.0,
    ) -> Answer:
        """Run a read-only SQL query over the catalog; the tables are in `registration.catalog.schema`.

        parameters: for ``?``, or by name for ``:name``. rows_max: further rows are cut off, and `Answer.more`
        is set. time_limit_s: the time limit.

        Raises:
            InvalidArgument: when it is invalid SQL, or names an unknown table or column.
            Rejected: when it would do anything but read, or times out.
        """
        self._registry.check_open()
        return self._ask(
            lambda catalog: catalog.query(
                sql, parameters, policy=self._kinds, rows_max=rows_max, time_limit_s=time_limit_s
            )
        )

    @call
    def catalog_status(self) -> Status:
        """The status of the catalog; changes nothing."""
        self._registry.check_open()
        return (self._kept() or self._in_memory).status()

    @call
    def refresh_catalog(
        self, *, quick: bool = False, anew: bool = False, step: Callable[[], None] = lambda: None
    ) -> Checked:
        """Update the catalog, compare it with every log, and fix differences.

        quick: compare the heads of the logs, instead of folding them all again. anew: rebuild from scratch. step: called
        after each manifest.

        Raises:
            StoreError: when the catalog can't be stored.
        """
        store, catalog = self._registry.store, self._kept() or self._in_memory
        from registration.catalog.file import Unusable  # noqa: PLC0415  # as above

        try:
            return catalog.refresh(store.streams(), quick=quick, anew=anew, step=step)
        except Unusable as why:
            raise StoreError(
                f"The search index can't be stored: {why}.", "Lists come from one in memory meanwhile."
            ) from None

    @call
    def catch_up_catalog(self) -> int:
        """Update the registry's catalog, so that the next list is fast; returns the number of events."""
        self._registry.check_open()
        catalog = self._kept()
        if catalog is None:
            return 0
        from registration.catalog.file import Unusable  # noqa: PLC0415  # as above

        try:
            return catalog.catch_up()
        except Unusable as why:
            _log.info("The catalog can't be kept: %s.", why)
            return 0

    # -- inside --------------------------------------------------------------------------------------------

    def _summaries(
        self, filters: Filters, order: Order, after: SortKey | None, limit: int | None
    ) -> Iterator[tuple[SortKey | None, Summary]]:
        from registration.catalog.listing import found_rows  # noqa: PLC0415  # as above
        from registration.catalog.rows import Unreadable  # noqa: PLC0415  # as above

        def page_behind(key: SortKey | None, size: int, goes_on: bool) -> Page:
            return self._ask(
                lambda catalog: catalog.page(
                    filters, order, policy=self._registry.policy, after=key, limit=size, goes_on=goes_on
                )
            )

        for row in found_rows(page_behind, order, after=after, limit=limit):
            if isinstance(row, Unreadable):
                yield None, Summary(row.id, problem=row.problem)
            else:
                yield order.sort_key(row), _summary(row)

    def _ask(self, question: Callable[[Catalog], T]) -> T:
        """The answer of the registry's catalog, or, if it can't be stored, of one in memory."""
        catalog = self._kept()
        from registration.catalog.file import Unusable  # noqa: PLC0415  # SQLite: not for who only reads states

        try:
            if catalog is not None:
                return question(catalog)
        except Unusable as why:
            _log.info("The catalog can't be kept: %s. One in memory answers instead.", why)
        try:
            return question(self._in_memory)
        except Unusable as why:
            raise StoreError(f"No catalog can be had: {why}.", "Free memory, and try again.") from None

    def _kept(self) -> Catalog | None:
        """The catalog among the registry's files; None for a registry that is not on files."""
        from registration.storage.disk import PosixDisk  # noqa: PLC0415  # a registry in memory needs none

        place = self._registry.store.backend.place
        if place is None:
            return None
        return self._catalog(disk=PosixDisk(), root=place, busy_timeout_s=self._registry.lock_timeout_s)

    @cached_property
    def _in_memory(self) -> Catalog:
        """A catalog in memory; created for the first query that needs it, and updated by later ones."""
        from registration.storage.disk import PosixDisk  # noqa: PLC0415  # as above

        place = self._registry.store.backend.place
        if place is None:
            return self._catalog()
        return self._catalog(disk=PosixDisk(), root=place, in_memory=True)

    def _catalog(self, **where: Any) -> Catalog:
        try:
            from registration.catalog.catalog import Catalog  # noqa: PLC0415  # SQLite, as above
        except ImportError:
            raise StoreError("This Python has no SQLite.", "Use one that has its module sqlite3.") from None
        return Catalog(self._registry.store, **where)

    def _kinds(self) -> Policy:
        """The policy in force, for its kinds; the empty one if it is invalid."""
        try:
            return self._registry.policy()
        except RegistrationError as error:
            _log.warning("Kinds can't be determined: %s", error)
            return NO_POLICY


def _summary(row: Row) -> Summary:
    return Summary(row.id, row.state, row.version, row.digest, row.created_at, row.updated_at)
