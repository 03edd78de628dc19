"""Layout: the files of a registry. Pure functions from ids to names; no path is built anywhere else.

::

    <root>/registry.json
    <root>/registry/events.jsonl, …          the registry's own log; two files, as for a manifest
    <root>/manifests/<name>/events.jsonl     the truth
    <root>/manifests/<name>/state.json       a snapshot of its fold
    <root>/policy.toml                       the policy, if there is one
    <root>/rules/<kind>/<sha256>.json        lifecycles, policies and schemas that were in force, by digest
    <root>/refusals.jsonl                    refused commands, if the policy asks for them
    <root>/feed/<number>.jsonl               the commits, in order; see `registration.storage.files.journal`
    <root>/catalog.sqlite                    a projection of all logs, for lists: disposable
    <root>/feed/consumers/<name>.json        the position of a named consumer of the feed; `<name>.lock` names its holder
    <root>/leases/<area>/<name>.json         leases: the holder, and the time until which it is held
    <root>/limits/<two hex digits>.json      how much actors did today, if the policy limits it
    <root>/names/<name>/<version>.json       a reservation: the manifest that holds the document's name
    <root>/aliases/<name>/events.jsonl, …    the aliases of a name; two files, as for a manifest
    <root>/quarantine/<name>/<offset>-<hash>.bytes
    <root>/sessions/<name>/…                 guided sessions, the same two files
    <root>/sessions.toml                     their lifetimes and limits, if configured
    <root>/active/<sha256>/session.json      the active session of a scope, or of a user in it
    <root>/deployments/<name>/…              the steps carried out at targets, the same two files
    <root>/communities/<name>/actual.json    a deployed community, if no other target was named
    <root>/clients.key                       the key for hashing the clients that sessions are bound to

`<name>` is the id with ``:`` and ``/`` percent-encoded (`registration.values.ids.name_of`), one component of
at most 240 bytes. Ids are checked by the callers, and again here, so a path can't leave the root.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from registration.errors import InvalidArgument
from registration.values.ids import check_id, id_of, name_of
from registration.values.names import Name, split_name

FORMAT = 1
REGISTRY_FILE = "registry.json"
REGISTRY_RECORD = (REGISTRY_FILE,)
"""The key of the record `registry.json`."""
MANIFESTS = "manifests"
ALIASES = "aliases"
REGISTRY = "registry"
NAMES = "names"
QUARANTINE = "quarantine"
LOG_FILE = "events.jsonl"
SNAPSHOT_FILE = "state.json"
TEMPORARY_SUFFIX = ".tmp"
POLICY_FILE = "policy.toml"
REFUSALS_FILE = "refusals.jsonl"
CATALOG_FILE = "catalog.sqlite"
RULES = "rules"
LEASES = "leases"
LIMITS = "limits"
FEED = "feed"
CONSUMERS = "consumers"
DEAD_LETTERS = "dead-letters"
HOOKS_FILE = "hooks.toml"
RULE_KINDS = ("lifecycles", "policies", "rosters", "schemas", "wizards")
SESSIONS = "sessions"
SESSION_SETTINGS_FILE = "sessions.toml"
DEPLOYMENTS = "deployments"
COMMUNITIES = "communities"
ACTIVE = "active"
ACTIVE_FILE = "session.json"
CLIENT_KEY_FILE = "clients.key"

_NAMES_KEPT = 4096
"""How many lease keys are cached: each command reads the lease on its manifest."""

_AREA = re.compile(r"[a-z]{1,32}")
_KEY = re.compile(r"([a-z]{1,32})/(.+)", re.DOTALL)
_RESERVATION_SUFFIX = ".json"
_NO_VERSION = "-"  # no version begins with it

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SEGMENT = re.compile(r"([0-9]{6,9})\.jsonl", re.ASCII)

LOG_AREAS = (REGISTRY, MANIFESTS, ALIASES, SESSIONS, DEPLOYMENTS)
"""The areas that have logs: each is a directory with one directory per stream, which has a log and its snapshot.

`REGISTRY` has one stream alone, of the same name. Its directory is directly below the root.
"""

OF_A_MANIFEST = frozenset({LOG_FILE, SNAPSHOT_FILE})
"""The files of a manifest's directory; while the snapshot is being replaced, there is a temporary file as well."""


def directory_of(id: str) -> str:
    """The name of a manifest's directory below `manifests/`.

    Raises:
        InvalidArgument: when `id` is not an id.
    """
    return name_of(check_id(id))


def stream_path(id: str, area: str = MANIFESTS) -> str:
    """The path of a stream's directory, relative to the root."""
    return directory_of(id) if area == REGISTRY else f"{area}/{directory_of(id)}"


def log_path(id: str, area: str = MANIFESTS) -> str:
    """The path of a log, relative to the root, as in messages. area: that of its stream."""
    return f"{stream_path(id, area)}/{LOG_FILE}"


def snapshot_path(id: str, area: str = MANIFESTS) -> str:
    """The path of a snapshot, relative to the root."""
    return f"{stream_path(id, area)}/{SNAPSHOT_FILE}"


def name_record(full: str) -> tuple[str, str, str]:
    """The key of the record that reserves a name in full: `names/`, a directory in it, and the name in that.

    Raises:
        InvalidArgument: when no document can have that name.
    """
    name, version = split_name(check_id(full))
    return NAMES, name_of(name), (_NO_VERSION if version is None else name_of(version)) + _RESERVATION_SUFFIX


def reserved_by_file(name: str, file: str) -> str | None:
    """The name in full that a file in the directory of `name` reserves; None if it is not a reservation's file."""
    if not file.endswith(_RESERVATION_SUFFIX):
        return None
    version = file[: -len(_RESERVATION_SUFFIX)]
    decoded = None if version == _NO_VERSION else version.replace("%3A", ":").replace("%2F", "/")
    full = str(Name(name, decoded))
    fits = id_of(name_of(full)) == full and split_name(full) == Name(name, decoded)
    return full if fits and name_record(full)[1:] == (name_of(name), file) else None


def rule_file(digest: str) -> str:
    """The name, in ``rules/<kind>/``, of the rule with that digest, which is the file's own SHA-256.

    Raises:
        InvalidArgument: when it is not a digest.
    """
    if not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"{digest!r} is not a digest.", "A digest is `sha256:` and 64 hex digits.")
    return digest.removeprefix("sha256:") + ".json"


def segment_file(number: int) -> str:
    """The name, in `feed/`, of the segment with that number."""
    return f"{number:06d}.jsonl"


def segment_number(name: str) -> int | None:
    """The number of the segment with that name; None if it is not a segment's."""
    found = _SEGMENT.fullmatch(name)
    return int(found[1]) if found and segment_file(int(found[1])) == name else None


def is_rule_file(name: str) -> bool:
    """Whether that is the file name of a rule."""
    return name.endswith(".json") and _DIGEST.fullmatch("sha256:" + name[: -len(".json")]) is not None


@lru_cache(maxsize=_NAMES_KEPT)
def lease_key(id: str, area: str = MANIFESTS) -> str:
    """The key of the lease on a stream: ``manifests/io.github.acme/weather@1.2.0``."""
    return f"{area}/{id}"


@lru_cache(maxsize=_NAMES_KEPT)
def lease_record(key: str) -> tuple[str, str, str]:
    """The key of the record of a lease: `leases/`, a directory in it, and the name in that.

    Raises:
        InvalidArgument: when it is not a key.
    """
    found = _KEY.fullmatch(key) if isinstance(key, str) else None
    if found is None:
        raise InvalidArgument(
            f"{key!r} is not a lease key.",
            "A key is an area in lower case, a slash and an id: `manifests/io.github.acme/weather@1.2.0`.",
            key=key if isinstance(key, str) else repr(key),
        )
    return LEASES, found[1], directory_of(found[2]) + ".json"


def quota_record(shard: str) -> tuple[str, str]:
    """The key of a record of quotas: `limits/`, and a name in it. shard: two hex digits."""
    return LIMITS, f"{shard}.json"


def check_area(area: str) -> str:
    """The area, if it can be one of a lease key.

    Raises:
        InvalidArgument: when it can't.
    """
    if not _AREA.fullmatch(area):
        raise InvalidArgument(
            f"{area!r} is not an area of leases.",
            "Areas are, for example, `manifests` and `sessions`.",
            area=area,
        )
    return area


def lease_key_of(area: str, name: str) -> str | None:
    """The key whose file has that name; None if no key has it."""
    id = id_of(name.removesuffix(".json"))
    return lease_key(id, area) if id is not None and name.endswith(".json") else None


def quarantine_directory(id: str, area: str = MANIFESTS) -> str:
    """The name, in `quarantine/`, of the directory for the bytes set aside from a stream."""
    # No id has a comma, so the streams of two areas never meet there.
    return directory_of(id) if area == MANIFESTS else f"{area},{directory_of(id)}"


def quarantine_snapshot(data: bytes) -> str:
    """The name, in a manifest's quarantine directory, of a snapshot that was set aside."""
    return f"state-{hashlib.sha256(data).hexdigest()[:16]}.json"


def quarantine_file(offset_bytes: int, data: bytes) -> str:
    """The name, in a manifest's quarantine directory, of bytes set aside from `offset_bytes` of its log.

    It depends on the bytes only, so setting the same bytes aside again ends in the same file.
    """
    return f"{offset_bytes}-{hashlib.sha256(data).hexdigest()[:16]}.bytes"
