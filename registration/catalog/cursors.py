"""Page cursors: where a list goes on, as opaque text.

A cursor names the place in the order that was reached, not a number of rows to skip: what is written meanwhile moves
nothing. It is bound to the registry, the filters and the order that it was given under.
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
    """The cursor that goes on behind a place in an order."""
    said = orjson.dumps([_mark(source, filters, order), *place])
    return base64.urlsafe_b64encode(said).rstrip(b"=").decode()


def place_of(cursor: str, *, source: str, filters: Filters, order: Order) -> tuple[str, str]:
    """The place behind which a cursor goes on.

    Raises:
        InvalidArgument: when it is no cursor, or was given under other filters or another order.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        mark, key, id = orjson.loads(base64.b64decode(padded.encode("ascii"), b"-_", validate=True))
        if not all(type(one) is str for one in (mark, key, id)):
            raise ValueError("something else stands in it")
    except (AttributeError, TypeError, ValueError, binascii.Error):
        raise InvalidArgument(
            f"{cursor!r} is no page cursor.", "Give the one that came with the page before, as it stands."
        ) from None
    if mark != _mark(source, filters, order):
        raise InvalidArgument(
            "The page cursor belongs to other filters, another order or another registry.",
            "Go on with the very filters and the order of the first page, or begin anew without a cursor.",
            cursor=cursor,
        )
    return key, id


def _mark(source: str, filters: Filters, order: Order) -> str:
    said = orjson.dumps([source, filters.said(), order.text], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(said).hexdigest()[:_MARK_CHARACTERS]
