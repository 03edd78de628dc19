"""Which keeper of leases a setting names, so that programs needn't know: ``file:///srv/registry``, a path, or ``memory:``.

One more kind (Redis, say) is one more row in `OPENERS`; nobody who calls `open_leases` has to change.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from registration.core.decider import nearest
from registration.errors import InvalidArgument
from registration.values.times import Clock, system_clock

if TYPE_CHECKING:
    from registration.engine.leases.keeper import LeaseKeeper

Opener = Callable[[str, Clock], "LeaseKeeper"]
"""From a URL, and the clock that leases are measured by, to their keeper."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def open_leases(url: str | os.PathLike[str], *, clock: Clock = system_clock) -> LeaseKeeper:
    """The keeper that a URL, or the path of a registry, names.

    Raises:
        InvalidArgument: when no keeper is known for the URL's scheme, or the rest of it can't be meant.
        NotFound: when there is no such directory.
    """
    text = os.fspath(url)
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found is not None else "file"
    opener = OPENERS.get(scheme)
    if opener is None:
        raise InvalidArgument(
            f"Leases can't be kept at {_without_password(text)!r}: {scheme!r} is not known.{nearest(scheme, OPENERS)}",
            f"Known are {', '.join(f'`{one}:`' for one in OPENERS)}, and the path of a registry.",
            scheme=scheme,
            known=list(OPENERS),
        )
    return opener(text, clock)


def _open_file(url: str, clock: Clock) -> LeaseKeeper:
    from registration.engine.leases.files import FileLeases  # noqa: PLC0415  # each kind loads what it needs alone

    path = url
    if _SCHEME.match(url):
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not parts.path:
            raise InvalidArgument(
                f"{url!r} names no directory of this machine.", "Write it as `file:///srv/registry`."
            )
        path = unquote(parts.path)
    return FileLeases(path, clock=clock)


def _open_memory(url: str, clock: Clock) -> LeaseKeeper:
    from registration.engine.leases.memory import MemoryLeases  # noqa: PLC0415  # as above

    if url.partition(":")[2].strip("/"):
        raise InvalidArgument(f"{url!r} can't be meant: memory has no places.", "Write `memory:`.")
    return MemoryLeases(clock=clock)


OPENERS: Mapping[str, Opener] = {"file": _open_file, "memory": _open_memory}
"""By scheme, what opens the keeper."""


def _without_password(url: str) -> str:
    """The URL as it may be shown: others than ours carry secrets before the `@`."""
    return re.sub(r"//[^/@]*@", "//…@", url)
