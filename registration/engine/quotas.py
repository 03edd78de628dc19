"""Quotas: how many manifests an actor created today, and how many commands of the actor were refused. Days are of UTC.

They are counted only while the policy's `[limits]` bound them. 256 small records hold the numbers, by the hash of the person's key, so
the cost depends neither on the number of manifests nor on that of days: each record has the numbers of one day, and forgets them with the
first write of the next. A number may be too high by one after a crash, never too low.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from registration.errors import RegistrationError, StoreError
from registration.storage.layout import quota_record
from registration.storage.records import made_as
from registration.values.people import person

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.core.policy import Limits
    from registration.storage.ports import Cell, Key, Records

_WHAT = "the quota of an actor"


@dataclass(slots=True)
class Numbers:
    """What one person did on one day. created, refused: how often."""

    created: int = 0
    refused: int = 0


class Quotas:
    """The quotas of one registry. Safe to share between threads."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def seen(self, actor: str | None, day: str, limits: Limits, *, creating: bool) -> dict[str, int]:
        """What a decision on a command has to see (`Command.seen`): the numbers that limits bound.

        creating: whether the command creates a manifest. Empty if nothing that concerns it is limited.

        Raises:
            StoreError: when a number can't be read.
        """
        if not _concerned(limits, creating=creating):
            return {}
        key, who = _place(actor)
        return _seen(_Page.decode(key, self._records.read(key), day).numbers(who), limits, creating=creating)

    @contextmanager
    def creating(self, actor: str | None, day: str) -> Iterator[Draft]:
        """Hold the number of manifests that an actor created, during the decision and the commit of one more.

        Raises:
            LockTimeout, StoreError: when it can't be locked, read or written. Nothing was written to a log.
        """
        key, who = _place(actor)
        with made_as(_WHAT, self._records, key) as cell:
            yield Draft(cell, _Page.decode(key, cell.read(), day), who)

    def add_refusal(self, actor: str | None, day: str, most: int) -> bool:
        """Count a refusal; False, and nothing is counted, if there are `most` already."""
        key, who = _place(actor)
        with made_as(_WHAT, self._records, key) as cell:
            page = _Page.decode(key, cell.read(), day)
            found = page.numbers(who)
            if found.refused >= most:
                return False
            page.put(who, Numbers(found.created, found.refused + 1))
            cell.write(page.encode(), durable=False)
            return True


class Draft:
    """The quota of an actor who creates a manifest, held."""

    def __init__(self, cell: Cell, page: _Page, who: str) -> None:
        self._cell = cell
        self._page = page
        self._who = who
        self._before = page.numbers(who)

    def seen(self, limits: Limits) -> dict[str, int]:
        """See `Quotas.seen`."""
        return _seen(self._before, limits, creating=True)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count it before it is committed. It counts, unless the commit certainly failed."""
        before = self._before
        self._write(Numbers(before.created + 1, before.refused))
        try:
            yield
        except StoreError:  # the outcome is unknown
            raise
        except RegistrationError:
            with suppress(StoreError):  # then it is too high by one
                self._write(before)
            raise

    def _write(self, numbers: Numbers) -> None:
        self._page.put(self._who, numbers)
        self._cell.write(self._page.encode(), durable=False)


class _Page:
    """The numbers in one record, of one day."""

    def __init__(self, day: str, people: dict[str, list[int]]) -> None:
        self._day = day
        self._people = people

    @classmethod
    def decode(cls, key: Key, raw: bytes | None, day: str) -> _Page:
        """The page of a day; an earlier day's page is forgotten, and a later one's is used: some other clock is ahead.

        Raises:
            StoreError: when it is damaged.
        """
        if not raw:
            return cls(day, {})
        try:
            said: Any = orjson.loads(raw)
            found, people = said["day"], said["people"]
            if not isinstance(found, str) or not all(
                len(one) == 2 and all(type(number) is int for number in one) for one in people.values()
            ):
                raise TypeError("not in our form")
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise StoreError(
                f"{'/'.join(key)} is not a record of quotas.",
                "Remove it: the numbers of today begin again.",
                path="/".join(key),
            ) from None
        return cls(found, people) if found >= day else cls(day, {})

    def numbers(self, who: str) -> Numbers:
        return Numbers(*self._people.get(who, (0, 0)))

    def put(self, who: str, numbers: Numbers) -> None:
        self._people[who] = [numbers.created, numbers.refused]

    def encode(self) -> bytes:
        return orjson.dumps({"day": self._day, "people": self._people})


def _concerned(limits: Limits, *, creating: bool) -> bool:
    return limits.refusals is not None or (creating and limits.drafts is not None)


def _seen(numbers: Numbers, limits: Limits, *, creating: bool) -> dict[str, int]:
    seen = {}
    if creating and limits.drafts is not None:
        seen["drafts"] = numbers.created
    if limits.refusals is not None:
        seen["refusals"] = numbers.refused
    return seen


def _place(actor: str | None) -> tuple[Key, str]:
    """The key of the record with an actor's numbers, and the actor's name in it. All unnamed actors are one."""
    digest = hashlib.sha256(b"" if actor is None else b"=" + person(actor).encode()).hexdigest()
    return quota_record(digest[:2]), digest[2:34]
