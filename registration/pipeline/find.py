"""`pipeline.find`: lists, counts, statistics and queries over a whole registry, from its catalog.

Every answer comes from `catalog.sqlite` where that can be had, caught up before it answers; otherwise from a catalog in memory,
made of the same feed or logs.
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
    """What can be asked of all manifests at once."""

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
        """All manifests that everything said holds of, sorted.

        state: a parent state, such as IN_REVIEW, stands for its children. filters: see `registration.catalog.filters.Filters`.
        sort: ``id``, ``updated``, ``created`` or ``state``, with a hyphen before it the other way round; the same by id.
        limit: how many, at most. after: the `next_page` of an earlier list with the same filters and sort: it goes on
        behind the last that was given, whatever was written meanwhile.

        A manifest that can't be read is given with its `problem`, whatever the filters, besides the limit, and ends
        nothing: in a list by id in its place, in any other first.

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
        """How many manifests `list` would give, less those that can't be read."""
        from registration.catalog.filters import check_filters  # noqa: PLC0415  # as above

        wanted = check_filters(self._registry.store.definition.chart, state=state, **filters)
        return self._ask(lambda catalog: catalog.count(wanted, policy=self._registry.policy))

    @call
    def stats(self, *, since: str | None = None) -> Statistics:
        """The registry in numbers: how many are where, since when, how long they stay, and what is done each day.

        since: from when on to count what was done, as `state_at` takes times. Whatever is counted is exact.
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
        """Ask the catalog in SQL, reading only; `registration.catalog.schema` has the tables.

        parameters: for ``?`` in it, or by name for ``:name``. rows_max: rows beyond that are left out, and `Answer.more`
        says so. time_limit_s: when to end it.

        Raises:
            InvalidArgument: when it is no SQL, or asks for what there is not.
            Rejected: when it would do anything but read, or takes too long.
        """
        self._registry.check_open()
        return self._ask(
            lambda catalog: catalog.query(
                sql, parameters, policy=self._kinds, rows_max=rows_max, time_limit_s=time_limit_s
            )
        )

    @call
    def catalog_status(self) -> Status:
        """How the catalog stands, changing nothing."""
        self._registry.check_open()
        return (self._kept() or self._in_memory).status()

    @call
    def refresh_catalog(
        self, *, quick: bool = False, anew: bool = False, step: Callable[[], None] = lambda: None
    ) -> Checked:
        """Bring the catalog up to date, compare it with every log, and set right what differs.

        quick: compare the heads of the logs, instead of folding them all again. anew: make it from nothing. step: called
        after each manifest.

        Raises:
            StoreError: when no catalog can be kept there.
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
        """Bring the registry's catalog up to date, so that the next list doesn't have to; how many events that were."""
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
        """What the registry's catalog answers, or where that can't be kept, one in memory."""
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
        """The catalog among the registry's files; None where it isn't kept in plain files."""
        from registration.storage.disk import PosixDisk  # noqa: PLC0415  # a registry in memory needs none

        place = self._registry.store.backend.place
        if place is None:
            return None
        return self._catalog(disk=PosixDisk(), root=place, busy_timeout_s=self._registry.lock_timeout_s)

    @cached_property
    def _in_memory(self) -> Catalog:
        """One that is kept nowhere; made for the first question that needs it, and caught up by the next."""
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
