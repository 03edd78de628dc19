"""Selecting: filters and orders in SQL, over one open catalog. Their meaning is defined in `registration.catalog.filters`.

A page is read through an index that begins with the place, once for each place that may contain matches, and the
results are merged. So the first twenty of a million cost the same as twenty, in any order.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from registration.catalog.file import read_meta
from registration.catalog.filters import Filters, Key, Order, SortKey, stands
from registration.catalog.projection import columns, row_from
from registration.catalog.words import has_words, match_words, words_in, words_of
from registration.values.people import person

if TYPE_CHECKING:
    from registration.catalog.rows import Row

_Condition = tuple[str, Mapping[str, Any]]
"""The rest of a WHERE clause, and its values."""

_COLUMN: Mapping[Key, str] = {"id": "id", "state": "id", "updated": "updated_at", "created": "created_at"}
"""The column that determines the order inside one place."""

_LAST_CHARACTER = 0x10FFFF

_SPELLINGS = (
    "WITH RECURSIVE spelled (actor) AS (SELECT min(actor) FROM events UNION ALL "
    "SELECT (SELECT min(actor) FROM events WHERE actor > spelled.actor) FROM spelled WHERE spelled.actor IS NOT NULL) "
    "SELECT actor FROM spelled WHERE actor IS NOT NULL AND person(actor) = :person"
)
"""The names in the events that spell one person."""


def select_page(
    db: sqlite3.Connection,
    places: Mapping[str, frozenset[str]],
    filters: Filters,
    order: Order,
    *,
    after: SortKey | None,
    limit: int,
) -> list[Row]:
    """The first matching rows after a sort key.

    places: those in which manifests are, each with the states that are active in it.
    """
    condition = _condition(db, filters)
    ways = [
        _way(db, place, condition, order, after, limit)
        for place in _wanted(places, filters)
        if _is_behind(place, order, after)
    ]
    merged = heapq.merge(*ways, key=order.sort_key, reverse=order.descending)
    return list(islice(merged, limit))


def count(db: sqlite3.Connection, places: Mapping[str, frozenset[str]], filters: Filters) -> int:
    """The number of manifests that match the filters."""
    condition, values = _condition(db, filters)
    found = 0
    for place in _wanted(places, filters):
        query = f"SELECT count(*) FROM manifests AS m WHERE m.state = :place{condition}"
        found += db.execute(query, {"place": place, **values}).fetchone()[0]
    return found


def unreadable(db: sqlite3.Connection) -> list[str]:
    """The ids of the manifests that could not be read."""
    return [id for (id,) in db.execute("SELECT id FROM unreadable ORDER BY id")]


def _wanted(places: Mapping[str, frozenset[str]], filters: Filters) -> list[str]:
    return [place for place, active in places.items() if filters.state is None or filters.state in active]


def _is_behind(place: str, order: Order, after: SortKey | None) -> bool:
    """Whether a place can contain rows after `after`: depends on its name if that is the key."""
    if after is None or order.key != "state":
        return True
    return place <= after[0] if order.descending else place >= after[0]


def _way(
    db: sqlite3.Connection, place: str, condition: _Condition, order: Order, after: SortKey | None, limit: int
) -> Iterator[Row]:
    """The rows in one place, in order."""
    sql, values = condition
    column, sign, turn = _COLUMN[order.key], ">", ""
    if order.descending:
        sign, turn = "<", " DESC"
    if after is not None and column != "id":
        sql += f" AND (m.{column}, m.id) {sign} (:after_key, :after_id)"
    elif after is not None and (order.key == "id" or after[0] == place):
        sql += f" AND m.id {sign} :after_id"
    by = f"m.id{turn}" if column == "id" else f"m.{column}{turn}, m.id{turn}"
    query = (
        f"SELECT {columns('m')} FROM manifests AS m WHERE m.state = :place{sql} ORDER BY {by} LIMIT :limit"
    )
    key, id = after or ("", "")
    bound = {"place": place, "limit": limit, "after_key": key, "after_id": id, **values}
    return map(row_from, db.execute(query, bound))


def _condition(db: sqlite3.Connection, filters: Filters) -> _Condition:
    """All filters except the state. Once for a page: a function can't be registered while a select runs."""
    said: list[str] = []
    values: dict[str, Any] = {}
    if filters.kind is not None:
        said.append("m.kind > '' AND m.kind = :kind")
        values["kind"] = filters.kind
    if filters.actor is not None:
        # The index of actors is read by leaps, from one name to the next: there are few, in many events.
        db.create_function("person", 1, person, deterministic=True)
        said.append(f"m.number IN (SELECT manifest FROM events WHERE actor IN ({_SPELLINGS}))")
        values["person"] = person(filters.actor)
    if filters.tag is not None:
        said.append("m.number IN (SELECT manifest FROM tags WHERE tag = :tag)")
        values["tag"] = filters.tag
    for name in ("created_since", "created_until", "updated_since", "updated_until"):
        if (time := getattr(filters, name)) is not None:
            column, _, end = name.partition("_")
            said.append(f"m.{column}_at {'>=' if end == 'since' else '<='} :{name}")
            values[name] = time
    if filters.name_prefix:
        said.append("m.name >= :name")
        values["name"] = filters.name_prefix
        if (name_end := _next_after(filters.name_prefix)) is not None:
            said.append("m.name < :name_end")
            values["name_end"] = name_end
    said += _document_condition(db, filters, values)
    return "".join(f" AND {one}" for one in said), values


def _document_condition(db: sqlite3.Connection, filters: Filters, values: dict[str, Any]) -> Iterator[str]:
    """The conditions on documents: the index of words leaves few of them to be read."""
    document = "(SELECT document FROM documents WHERE manifest = m.number)"
    indexed = read_meta(db)["words"] == "yes"
    matches = match_words(filters.words) if filters.words and indexed else ""
    if indexed:
        matches += " " + match_words(_words_at(filters), whole=True)
    if matches.strip():
        yield "m.number IN (SELECT rowid FROM words WHERE words MATCH :words)"
        values["words"] = matches.strip()
    if filters.words and not indexed:
        db.create_function("says", 3, _says, deterministic=True)
        yield f"says(m.id, {document}, :said)"
        values["said"] = " ".join(filters.words)
    if filters.where:
        db.create_function("stands", 3, _stands, deterministic=True)
    for number, (pointer, wanted) in enumerate(filters.where):
        yield f"stands({document}, :pointer{number}, :wanted{number})"
        values |= {f"pointer{number}": pointer, f"wanted{number}": wanted}


def _words_at(filters: Filters) -> dict[str, None]:
    """The words that a document must contain to match the values at its pointers."""
    texts = [text for _, wanted in filters.where if isinstance(text := orjson.loads(wanted), str)]
    return words_in("\n".join(texts))


def _stands(document: str | None, pointer: str, wanted: str) -> bool:
    return document is not None and stands(orjson.loads(document), pointer, wanted)


def _says(id: str, document: str | None, wanted: str) -> bool:
    return has_words(wanted.split(), words_of(id, orjson.loads(document) if document else None))


def _next_after(prefix: str) -> str | None:
    """The first text after all that begin with `prefix`, in code point order; None if there is none."""
    while prefix:
        code = ord(prefix[-1]) + 1
        if code <= _LAST_CHARACTER:
            return prefix[:-1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)
        prefix = prefix[:-1]
    return None
