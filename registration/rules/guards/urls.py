"""URLs in documents: their syntax and host. Nothing is resolved, nothing is fetched."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

# `urlsplit` drops line breaks and treats a backslash as a letter, and browsers do neither: readers would
# disagree about the host.
_IN_NO_URL = re.compile(r"[\s\x00-\x1f\x7f\\]")


def host_of(url: object, schemes: tuple[str, ...] = ("http", "https")) -> str | None:
    """The host of an absolute URL, in lower case and without a trailing dot; None if it is not a URL of these schemes."""
    if not isinstance(url, str) or _IN_NO_URL.search(url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is not a number
    except ValueError:
        return None
    return (parts.hostname or "").removesuffix(".") or None if parts.scheme in schemes else None


def is_local(host: str) -> bool:
    """Whether a host is the machine itself: ``localhost`` and below, loopback, or no address at all (0.0.0.0)."""
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return host == "localhost" or host.endswith(".localhost")


def is_public(host: str) -> bool:
    """Whether a host could be reached from everywhere: any name but localhost; no private or special address."""
    address = _address(host)
    if address is not None:
        return address.is_global and not address.is_multicast
    return not is_local(host)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
