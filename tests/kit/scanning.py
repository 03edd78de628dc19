"""A second opinion on lists: what filters mean, over every manifest by itself, without SQL and without an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registration.catalog.filters import Filters, Order, stands
from registration.catalog.rows import Row, Unreadable, advance, tags_of
from registration.catalog.words import has_words, words_of
from registration.errors import LockTimeout, NotFound, StoreError

if TYPE_CHECKING:
    from registration.core.chart import Chart
    from registration.core.policy import Policy
    from registration.storage.ledger import Ledger
    from registration.values.events import StateSnapshot


@dataclass(frozen=True, slots=True)
class Known:
    """One manifest with all that filters ask for."""

    row: Row
    document: Mapping[str, Any] | None
    kind: str | None
    actors: AbstractSet[str]
    tags: AbstractSet[str]


def scan(
    store: Ledger,
    filters: Filters,
    order: Order,
    *,
    policy: Callable[[], Policy],
    after: tuple[str, str] | None = None,
) -> Iterator[Row | Unreadable]:
    """The rows behind a place in the order that the filters let through, and every manifest that can't be read.

    policy: gives the one in force; asked where a kind is looked for. Those that can't be read come where their ids belong
    in an order by id, and first in any other.
    """
    found = _found(store, filters, policy() if filters.kind is not None else None, order)
    if order.key == "id":
        yield from (one for one in found if after is None or _is_after((one.id, one.id), after, order))
        return
    rows: list[Row] = []
    for one in found:
        if isinstance(one, Unreadable):
            if after is None:
                yield one
        elif after is None or _is_after(order.sort_key(one), after, order):
            rows.append(one)
    yield from sorted(rows, key=order.sort_key, reverse=order.descending)


def _found(
    store: Ledger, filters: Filters, policy: Policy | None, order: Order
) -> Iterator[Row | Unreadable]:
    chart = store.definition.chart
    for id in sorted(store.streams(), reverse=order.key == "id" and order.descending):
        try:
            state = store.load(id)
            known = None if state is None else _known(store, policy, state)
        except (StoreError, LockTimeout) as problem:
            yield Unreadable(id, problem)
            continue
        if known is not None and holds(filters, known, chart):
            yield known.row


def _known(store: Ledger, policy: Policy | None, state: StateSnapshot) -> Known | None:
    kind = policy.kind_of(state.document) if policy is not None else None
    name = kind.name if kind is not None else None
    row: Row | None = None
    actors: set[str] = set()
    tags: tuple[str, ...] = ()
    try:
        for event in store.read(state.stream):
            row = advance(row, store.definition.upcast(event))
            actors |= {row.actor} if row.actor is not None else set()
            said = tags_of(event)
            tags = tags if said is None else said
    except NotFound:  # it has been removed
        return None
    return None if row is None else Known(row, state.document, name, actors, frozenset(tags))


def holds(filters: Filters, known: Known, chart: Chart) -> bool:
    """Whether a manifest is one of those that are looked for."""
    row = known.row
    return (
        (filters.state is None or filters.state in chart.active(row.state))
        and (filters.kind is None or filters.kind == known.kind)
        and (filters.actor is None or filters.actor in known.actors)
        and (filters.tag is None or filters.tag in known.tags)
        and (filters.created_since is None or row.created_at >= filters.created_since)
        and (filters.created_until is None or row.created_at <= filters.created_until)
        and (filters.updated_since is None or row.updated_at >= filters.updated_since)
        and (filters.updated_until is None or row.updated_at <= filters.updated_until)
        and (filters.name_prefix is None or row.name.startswith(filters.name_prefix))
        and all(
            known.document is not None and stands(known.document, pointer, wanted)
            for pointer, wanted in filters.where
        )
        and (filters.text is None or has_words(filters.words, words_of(row.id, known.document)))
    )


def _is_after(place: tuple[str, str], after: tuple[str, str], order: Order) -> bool:
    return place < after if order.descending else place > after
