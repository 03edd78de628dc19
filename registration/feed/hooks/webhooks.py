"""Webhooks: a signed POST of one event, to a validated address.

Signed as in Standard Webhooks 1.0.0 (https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md):
HMAC-SHA256 over ``id.timestamp.body``, in base64, after ``v1,``; one signature for each secret, separated by blanks. The body is
the event in CloudEvents' structured mode, byte for byte as in the log.

The name is resolved once, the address is checked, and that same address is used: DNS rebinding has no
effect. Redirects are not followed. The timeout is for the attempt as a whole.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import ipaddress
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from registration.feed.hooks.hook_file import Hook

CONTENT_TYPE = "application/cloudevents+json"
SECRET_PREFIX = "whsec_"  # noqa: S105  # how every secret begins, and none by itself
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64
RETRY_AFTER_S_MAX = 86_400.0
_EXCERPT_BYTES = 300
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str, int], list[str]]
"""From a host's name and a port to its addresses."""


class Undeliverable(
    Exception
):  # as elsewhere: named for what happened; its text becomes the error of a Delivery
    """An attempt that can't be made: a missing secret, a refused address."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of one delivery attempt. error: why it failed; empty when it was delivered.

    retry_after_s: the delay that the receiver asked for. gone: the receiver accepts no more events (410).
    """

    error: str = ""
    retry_after_s: float | None = None
    gone: bool = False

    @property
    def done(self) -> bool:
        """Whether it was delivered."""
        return not self.error


def sign(secrets: list[bytes], id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature for each secret."""
    signed = f"{id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        for secret in secrets
    )


def read_secret(where: str, root: str) -> bytes:
    """The bytes of a secret: ``env:NAME``, or ``file:PATH`` of a file that is private to its owner.

    Raises:
        Undeliverable: when it is missing, readable by others, or not a ``whsec_…`` of 24 to 64 bytes.
    """
    kind, _, name = where.partition(":")
    text = os.environ.get(name) if kind == "env" else _text_of(os.path.join(root, name))
    if text is None:
        raise Undeliverable(f"the environment variable {name} for the secret is not set")
    try:
        secret = base64.b64decode(text.strip().removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not (text.strip().startswith(SECRET_PREFIX) and SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX):
        raise Undeliverable(
            f"the secret in {where} is not `{SECRET_PREFIX}` and {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes in base64"
        )
    return secret


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise Undeliverable(f"the secret in {path} is readable by others: chmod 600 {path}")
            return file.read(1024)
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise Undeliverable(f"the secret in {path} can't be read: {said}") from None


def why_refused(text: str) -> str | None:
    """The reason that an address needs `allow_private`; None if it is public."""
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        # An IPv4 address embedded in IPv6 counts as that address.
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return why_refused(str(inner))
    for kind in ("unspecified", "loopback", "link_local", "multicast", "private"):
        if getattr(address, f"is_{kind}"):
            return f"is {kind.replace('_', '-')}"
    return None if address.is_global else "is not a public address"


def look_up(host: str, port: int) -> list[str]:
    """All addresses of a name, as the system resolves them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def post(
    hook: Hook,
    id: str,
    body: bytes,
    *,
    root: str,
    now_s: Callable[[], float] = time.time,
    lookup: Lookup = look_up,
) -> Delivery:
    """One attempt to deliver an event. Never raises for failures of the receiver.

    id: `webhook-id`, the same in every attempt for one event. root: the base of relative secret paths.
    """
    try:
        secrets = [read_secret(where, root) for where in hook.secrets]
        timestamp = int(now_s())
        headers = {
            "Content-Type": CONTENT_TYPE,
            "User-Agent": "registration",
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(secrets, id, timestamp, body),
        }
        return _exchange(hook, body, headers, lookup, now_s)
    except Undeliverable as error:
        return Delivery(str(error))
    except TimeoutError:
        return Delivery(f"timed out after {hook.timeout_s:g} s")
    except ssl.SSLCertVerificationError as error:
        return Delivery(f"its certificate is not trusted: {error.verify_message}")
    except (OSError, http.client.HTTPException) as error:
        return Delivery(f"{type(error).__name__}: {error}".rstrip(": "))


def _exchange(
    hook: Hook, body: bytes, headers: dict[str, str], lookup: Lookup, now_s: Callable[[], float]
) -> Delivery:
    parts = urlsplit(hook.url)
    deadline_s = time.monotonic() + hook.timeout_s
    connected = _connected(parts, _allowed(parts, hook, lookup), deadline_s)
    with _cut_off(connected, deadline_s) as is_late:
        try:
            return _spoken(hook, parts, connected, body, headers, now_s)
        except (OSError, http.client.HTTPException):
            if is_late():
                raise TimeoutError from None
            raise


def _spoken(
    hook: Hook,
    parts: SplitResult,
    connected: socket.socket,
    body: bytes,
    headers: dict[str, str],
    now_s: Callable[[], float],
) -> Delivery:
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=hook.ca_file)
        connection = http.client.HTTPSConnection(host, port, context=context)
        connection.sock = context.wrap_socket(connected, server_hostname=host)
    else:
        connection = http.client.HTTPConnection(host, port)
        connection.sock = connected
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        if 200 <= response.status < 300:
            return Delivery()
        return _refused(response, now_s)
    finally:
        connection.close()


def _refused(response: http.client.HTTPResponse, now_s: Callable[[], float]) -> Delivery:
    error = f"HTTP {response.status} {response.reason}".rstrip()
    if 300 <= response.status < 400:
        error += ": redirects are not followed; use the new URL"
    else:
        with suppress(OSError, http.client.HTTPException):
            said = response.read(_EXCERPT_BYTES).decode("utf-8", "replace").strip()
            error += f": {' '.join(said.split())}" if said else ""
    return Delivery(
        error, _retry_after_s(response.getheader("Retry-After"), now_s), gone=response.status == 410
    )


def _retry_after_s(value: str | None, now_s: Callable[[], float]) -> float | None:
    """The delay that a receiver asked for: seconds, or a date (RFC 9110, 10.2.3); a day at most."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdecimal():
        return min(float(value.strip()[:9]), RETRY_AFTER_S_MAX)
    with suppress(ValueError, TypeError):
        return min(max(0.0, parsedate_to_datetime(value).timestamp() - now_s()), RETRY_AFTER_S_MAX)
    return None


def _allowed(parts: SplitResult, hook: Hook, lookup: Lookup) -> list[str]:
    host = parts.hostname or ""
    try:
        addresses = lookup(host, _port(parts))
    except (socket.gaierror, UnicodeError) as error:
        raise Undeliverable(f"{host} has no address: {error}") from None
    if hook.allow_private:
        return addresses
    refused = {address: why for address in addresses if (why := why_refused(address)) is not None}
    allowed = [address for address in addresses if address not in refused]
    if not allowed:
        said = ", ".join(f"{address} {why}" for address, why in refused.items()) or "no address"
        raise Undeliverable(f"the address of {host} is refused ({said}); `allow_private = true` allows it")
    return allowed


def _connected(parts: SplitResult, addresses: list[str], deadline_s: float) -> socket.socket:
    """A connection to the first address that accepts one."""
    failure: OSError = TimeoutError()
    for address in addresses:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            break
        try:
            return socket.create_connection((address, _port(parts)), left_s)
        except OSError as error:
            failure = error
    raise failure


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


@contextmanager
def _cut_off(connected: socket.socket, deadline_s: float) -> Iterator[Callable[[], bool]]:
    """End a connection at a deadline: with a timeout for each byte alone, it could last forever."""
    late = threading.Event()
    # A duplicate descriptor stays valid for this connection, whatever happens to the original.
    own = connected.dup()

    def cut() -> None:
        late.set()
        with suppress(OSError):
            own.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline_s - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield late.is_set
    finally:
        timer.cancel()
        timer.join()
        own.close()
        connected.close()
