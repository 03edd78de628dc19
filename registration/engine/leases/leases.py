"""Leases over records: ``leases/<area>/<name>.json``, one for each key. The guarantees are in `registration.engine.leases.keeper`.

A record is never removed: the number in it is the last one that was issued. It is durable before the lease is returned. The
result of `find` may not be durable yet: a power cut may revert that lease, together with the answer to its holder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from registration.core.decider import nearest
from registration.engine.leases.encoding import decode_record, encode_record
from registration.engine.leases.record import LeaseRecord, broken, granted, released, renewed
from registration.errors import CorruptRegistry, InvalidArgument, Next, NotFound
from registration.storage import layout
from registration.storage.records import held_as
from registration.values.times import Clock, rfc3339, system_clock

if TYPE_CHECKING:
    from registration.storage.ports import Records
    from registration.values.leases import EndedLease, Lease

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_SCHEMES = ("file", "memory")


class Leases:
    """The `LeaseKeeper` of one registry.

    records: where they are stored. clock: the time that leases are measured by; processes that share leases share it. host: the
    name of this machine; by default, the system's. randbytes: the source of tokens.
    """

    def __init__(
        self,
        records: Records,
        *,
        clock: Clock = system_clock,
        host: str | None = None,
        randbytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._records = records
        self._clock = clock
        self._host = host or os.uname().nodename or "an unnamed host"
        self._randbytes = randbytes

    def acquire(self, key: str, *, holder: str, ttl_s: float, above: int = 0) -> Lease:
        """See `LeaseKeeper.acquire`."""
        token = self._randbytes(16).hex()

        def grant(record: LeaseRecord) -> LeaseRecord:
            return granted(
                record, holder=holder, host=self._host, token=token, now_ns=self._clock(), ttl_s=ttl_s, above=above
            )  # fmt: skip

        _, after = self._change(key, grant, create=True)
        assert after.lease is not None
        return after.lease

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """See `LeaseKeeper.renew`."""
        _, after = self._change(
            lease.key, lambda record: renewed(record, lease, now_ns=self._clock(), ttl_s=ttl_s)
        )
        assert after.lease is not None
        return after.lease

    def release(self, lease: Lease) -> bool:
        """See `LeaseKeeper.release`."""
        before, _ = self._change(lease.key, lambda record: released(record, lease, now_ns=self._clock()))
        return before.owns(lease)

    def find(self, key: str) -> Lease | None:
        """See `LeaseKeeper.find`."""
        raw = self._records.read(layout.lease_record(key))
        if raw is None:  # the usual case, on every command
            return None
        return decode_record(raw, key=key).held(rfc3339(self._clock()))

    def keys(self, area: str | None = None) -> Iterator[str]:
        """The keys that have, or had, a lease, sorted. area: only those of that area."""
        areas = self._records.names(layout.LEASES) if area is None else [layout.check_area(area)]
        found = (
            layout.lease_key_of(one, name)
            for one in areas
            for name in self._records.names(layout.LEASES, one)
        )
        return iter(sorted(key for key in found if key is not None))

    def list(self, area: str | None = None) -> Iterator[Lease]:
        """See `LeaseKeeper.list`."""
        damage: CorruptRegistry | None = None
        for key in self.keys(area):
            try:
                found = self.find(key)
            except CorruptRegistry as error:  # the others come first
                damage = damage or error
                continue
            if found is not None:
                yield found
        if damage is not None:
            raise damage

    def break_lease(self, key: str, *, by: str, reason: str, number: int | None = None) -> Lease:
        """See `LeaseKeeper.break_lease`."""
        before, _ = self._change(
            key, lambda record: broken(record, by=by, reason=reason, number=number, now_ns=self._clock())
        )
        assert before.lease is not None
        return before.lease

    def history(self, key: str) -> tuple[EndedLease, ...]:
        """See `LeaseKeeper.history`."""
        return self._read(key).history

    def number(self, key: str) -> int | None:
        """The last fencing number given for a key; None if there is no record of any.

        Raises:
            CorruptRegistry, StoreError: as `find`.
        """
        return self._read(key).number or None

    def close(self) -> None:
        """See `LeaseKeeper.close`: nothing is open between calls."""

    def _read(self, key: str) -> LeaseRecord:
        return decode_record(self._records.read(layout.lease_record(key)) or b"", key=key)

    def _change(
        self, key: str, change: Callable[[LeaseRecord], LeaseRecord], *, create: bool = False
    ) -> tuple[LeaseRecord, LeaseRecord]:
        """Replace the record of a key; returns it before and after. An exception in `change` leaves it unchanged."""
        with held_as(key, self._records, layout.lease_record(key), create=create) as cell:
            before = decode_record(b"" if cell is None else cell.read(), key=key)
            after = change(before)
            if after != before:
                assert cell is not None, "a key without a lease has nothing to change"
                cell.write(encode_record(after))
            return before, after


def open_leases(url: str | os.PathLike[str], *, clock: Clock = system_clock) -> Leases:
    """The leases of a URL: ``file:///srv/registry`` or its path for those of a registry, ``memory:`` for new ones.

    Leases in memory end with the process, and their numbers restart: nothing durable may depend on them.

    Raises:
        InvalidArgument: when the URL is invalid, or its scheme unknown.
        NotFound: when there is no such directory.
    """
    text = os.fspath(url)
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found is not None else "file"
    if scheme not in _SCHEMES:
        # URLs of other services carry secrets before the `@`.
        shown = re.sub(r"//[^/@]*@", "//…@", text)
        raise InvalidArgument(
            f"Invalid lease store {shown!r}: unknown scheme {scheme!r}.{nearest(scheme, _SCHEMES)}",
            f"Known schemes are {', '.join(f'`{one}:`' for one in _SCHEMES)}, and the path of a registry.",
            scheme=scheme,
            known=list(_SCHEMES),
        )
    if scheme == "memory":
        from registration.storage.memory import MemoryRecords  # noqa: PLC0415  # each kind loads what it needs alone

        if text.partition(":")[2].strip("/"):
            raise InvalidArgument(f"{text!r} is invalid: `memory:` takes no path.", "Write `memory:`.")
        return Leases(MemoryRecords(), clock=clock)
    from registration.storage.disk import PosixDisk  # noqa: PLC0415  # as above
    from registration.storage.files.records import FileRecords  # noqa: PLC0415  # as above

    root = os.path.realpath(text if found is None else _path_in(text))
    if not os.path.isdir(root):
        raise NotFound(
            f"There is no directory {root} to store leases in.",
            "Make a registry.",
            Next(operation="init", id=root),
        )
    return Leases(FileRecords(PosixDisk(), root), clock=clock)


def _path_in(url: str) -> str:
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415  # few programs use one

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not parts.path:
        raise InvalidArgument(
            f"{url!r} is not a directory on this machine.", "Write it as `file:///srv/registry`."
        )
    return unquote(parts.path)
