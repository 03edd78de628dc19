"""Page cursors: the position at which a list continues, as opaque text.

A cursor names a position in the order, not a number of rows to skip: concurrent writes shift
nothing. It is bound to the registry, the filters and the order of its query.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

import orjson

from registration.catalog.filters import Filters, Order
from registration.errors import InvalidArgument

_MARK_CHARACTERS = 16


def cursor_of(place: tuple[str, str], *, source: str, filters: Filters, order: Order) -> str:
    """The cursor of a position in an order."""
    said = orjson.dumps([_mark(source, filters, order), *place])
    return base64.urlsafe_b64encode(said).rstrip(b"=").decode()


def place_of(cursor: str, *, source: str, filters: Filters, order: Order) -> tuple[str, str]:
    """The position after which a cursor continues.

    Raises:
        InvalidArgument: when it is invalid, or belongs to other filters or another order.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        mark, key, id = orjson.loads(base64.b64decode(padded.encode("ascii"), b"-_", validate=True))
        if not all(type(one) is str for one in (mark, key, id)):
            raise ValueError("unexpected content")
    except (AttributeError, TypeError, ValueError, binascii.Error):
        raise InvalidArgument(
            f"{cursor!r} is an invalid page cursor.", "Pass the cursor of the previous page unchanged."
        ) from None
    if mark != _mark(source, filters, order):
        raise InvalidArgument(
            "The page cursor belongs to a query with other filters, another order or another registry.",
            "Use the filters and the order of the first page, or start again without a cursor.",
            cursor=cursor,
        )
    return key, id


def _mark(source: str, filters: Filters, order: Order) -> str:
    said = orjson.dumps([source, filters.said(), order.text], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(said).hexdigest()[:_MARK_CHARACTERS]
