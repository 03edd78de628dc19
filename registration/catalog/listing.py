"""Listing: pages joined to one long list, with unreadable manifests in their positions."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registration.catalog.catalog import Page
    from registration.catalog.filters import Order, SortKey
    from registration.catalog.rows import Row, Unreadable

ROWS_AT_ONCE = 500
"""The number of rows fetched at once; concurrent writes show up in the next page."""


def found_rows(
    page_behind: Callable[[SortKey | None, int, bool], Page],
    order: Order,
    *,
    after: SortKey | None,
    limit: int | None,
) -> Iterator[Row | Unreadable]:
    """The rows after a sort key, unreadable manifests among them; one row more than the limit.

    page_behind: a page of at most that many rows after a key, and whether it goes on from another.
    """
    left = sys.maxsize if limit is None else limit + 1
    dark: tuple[Unreadable, ...] | None = None
    while left:
        size = min(left, ROWS_AT_ONCE)
        page = page_behind(after, size, dark is not None)
        if dark is None:
            dark = tuple(one for one in page.unreadable if _belongs(one, order, after))
        left -= size
        after = order.sort_key(page.rows[-1]) if len(page.rows) == size else None
        now = [one for one in dark if after is None or order.key != "id" or not _is_behind(one, after, order)]
        dark = tuple(one for one in dark if one not in now)
        yield from _together(page.rows, now, order)
        if after is None:
            return


def _together(
    rows: Iterable[Row | Unreadable], dark: Iterable[Row | Unreadable], order: Order
) -> Iterator[Row | Unreadable]:
    if order.key != "id":
        return chain(dark, rows)
    return heapq.merge(rows, dark, key=lambda one: one.id, reverse=order.descending)


def _belongs(one: Unreadable, order: Order, after: SortKey | None) -> bool:
    """Whether an unreadable manifest belongs in a list that begins after `after`."""
    return after is None or (order.key == "id" and _is_behind(one, after, order))


def _is_behind(one: Unreadable, key: SortKey, order: Order) -> bool:
    return one.id < key[1] if order.descending else one.id > key[1]
