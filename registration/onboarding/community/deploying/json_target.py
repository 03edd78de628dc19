"""A target on plain files: a community as one JSON document, `actual.json`, in its own directory.

For trying deployments without a server, and a reference for the guarantees of targets. Community and ledger (the calls
done, by key) are one record, replaced atomically under its lock, so neither is ever there without the other. ::

    {
      "format": 1,
      "roles":       {"r1": {"name": "Gold", "colour": "#F1C40F", "permissions": ["speak"]}},
      "channels":    {"c2": {"name": "general", "kind": "text", "category": null}},
      "permissions": {"c2": {"r1": {"access": "write", "set_by": "wiz_1.1:2"}}},
      "ledger":      {"made": 2, "keys": {"wiz_1.1:0": {"did": "create_role", ...}}}
    }

Failures can be injected: by call, before or after it takes effect, refused or without an answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from registration.errors import IdempotencyMismatch, StoreError, TargetRefused, TargetUnavailable
from registration.onboarding.community.deploying.target import Done, Operation, Undoing
from registration.storage.disk import Disk, PosixDisk
from registration.storage.files.records import FileRecords
from registration.storage.ports import Cell
from registration.storage.records import made_as
from registration.values.documents import digest_of

FORMAT = 1
ACTUAL_FILE = "actual.json"

Community = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedFailure:
    """One injected failure.

    operation: the name of a method. nth: which call of it, from 1, counted in one `JsonTarget`; times: how many from there.
    when: before the call takes effect, or after it, with only the answer lost. refused: whether the target refuses, which
    is only possible before; otherwise the outcome is unknown to the caller.
    """

    operation: str
    nth: int = 1
    when: Literal["before", "after"] = "before"
    refused: bool = False
    times: int = 1


class JsonTarget:
    """A `Target` that stores a community as `actual.json` in `directory`, which is created if it is missing.

    Safe to share between threads and processes. failures: the injected failures. lock_timeout_s: how long to wait for the lock.

    All calls can raise, in addition to those of `Target`:
        LockTimeout: when waiting for the lock timed out. Nothing was done.
        StoreError: when `actual.json` is corrupt.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        failures: Sequence[PlannedFailure] = (),
        lock_timeout_s: float = 10.0,
        disk: Disk | None = None,
    ) -> None:
        self.directory = os.path.realpath(directory)
        above, name = os.path.split(self.directory)
        self._records = FileRecords(disk or PosixDisk(), above, lock_timeout_s=lock_timeout_s)
        self._record = (name, ACTUAL_FILE)
        self._failures = failures
        self._calls: dict[str, int] = {}

    def content(self) -> Community:
        """The community as it is, without the ledger."""
        community = self._decoded(self._records.read(self._record) or b"")
        return {name: community[name] for name in ("roles", "channels", "permissions")}

    def find(self, key: str) -> Done | None:
        with self._planned("find"), self._held() as actual:
            community = self._decoded(actual.read())
            entry = community["ledger"]["keys"].get(key)
            if entry is None:
                return None
            actual.write(_encoded(community))  # durable before it is reported
            return Done(entry["did"], entry["id"], entry["undone"])

    # -- roles -----------------------------------------------------------------------------------------------

    def create_role(self, key: str, *, name: str, colour: str, permissions: Sequence[str]) -> str:
        def make(community: Community) -> tuple[str, Any]:
            _refuse_twin(community["roles"], name, "role", lambda _: True)
            id = _next_id(community, "r")
            community["roles"][id] = {"name": name, "colour": colour, "permissions": list(permissions)}
            return id, None

        said = {"name": name, "colour": colour, "permissions": list(permissions)}
        return self._do(key, "create_role", said, make)

    def delete_role(self, key: str) -> Undoing:
        def take(community: Community, entry: Mapping[str, Any]) -> Undoing:
            if community["roles"].pop(entry["id"], None) is None:
                return "nothing"
            for channel in list(community["permissions"]):
                _forget(community, channel, entry["id"])
            return "undone"

        return self._undo(key, "delete_role", take)

    # -- channels --------------------------------------------------------------------------------------------

    def create_channel(self, key: str, *, name: str, kind: str, category: str | None) -> str:
        def make(community: Community) -> tuple[str, Any]:
            channels = community["channels"]
            if category is not None and channels.get(category, {}).get("kind") != "category":
                raise TargetRefused(
                    f"There is no category {category!r}.", "Create it first.", category=category
                )
            _refuse_twin(channels, name, "channel", lambda one: one["category"] == category)
            id = _next_id(community, "c")
            channels[id] = {"name": name, "kind": kind, "category": category}
            return id, None

        return self._do(key, "create_channel", {"name": name, "kind": kind, "category": category}, make)

    def delete_channel(self, key: str) -> Undoing:
        def take(community: Community, entry: Mapping[str, Any]) -> Undoing:
            id, channels = entry["id"], community["channels"]
            if id not in channels:
                return "nothing"
            if inside := [one["name"] for one in channels.values() if one["category"] == id]:
                raise TargetRefused(
                    f"The category {channels[id]['name']!r} has channels created by others: {', '.join(inside)}.",
                    "Move them to another category.",
                    channels=inside,
                )
            del channels[id]
            community["permissions"].pop(id, None)
            return "undone"

        return self._undo(key, "delete_channel", take)

    # -- permissions -----------------------------------------------------------------------------------------

    def set_permission(self, key: str, *, channel: str, role: str, access: str) -> str:
        def make(community: Community) -> tuple[str, Any]:
            for what, id in (("channel", channel), ("role", role)):
                if id not in community[what + "s"]:
                    raise TargetRefused(f"There is no {what} {id!r}.", "Create it first.", id=id)
            given = community["permissions"].setdefault(channel, {})
            before = given.get(role)
            given[role] = {"access": access, "set_by": key}
            return f"{channel}/{role}", before

        return self._do(key, "set_permission", {"channel": channel, "role": role, "access": access}, make)

    def restore_permission(self, key: str) -> Undoing:
        def take(community: Community, entry: Mapping[str, Any]) -> Undoing:
            channel, role = entry["id"].split("/")
            stands = community["permissions"].get(channel, {}).get(role)
            if stands is None:
                return "nothing"
            if stands["set_by"] != key:
                return "left"
            if entry["before"] is None:
                _forget(community, channel, role)
            else:
                community["permissions"][channel][role] = entry["before"]
            return "undone"

        return self._undo(key, "restore_permission", take)

    # -- inside ----------------------------------------------------------------------------------------------

    def _do(
        self,
        key: str,
        operation: Operation,
        said: Mapping[str, Any],
        make: Callable[[Community], tuple[str, Any]],
    ) -> str:
        """Do something once for a key. make: changes the community; returns the new id, and the previous value."""
        with self._planned(operation), self._held() as actual:
            community = self._decoded(actual.read())
            keys = community["ledger"]["keys"]
            entry, digest = keys.get(key), digest_of({"did": operation, "with": said})
            if entry is None:
                id, before = make(community)
                keys[key] = {"did": operation, "asked": digest, "id": id, "before": before, "undone": False}
            elif entry["undone"]:
                raise TargetRefused(f"{key!r} was rolled back and is closed.", "Use a new key.", key=key)
            elif entry["asked"] != digest:
                raise IdempotencyMismatch(
                    f"The key {key!r} was used for another request: {entry['did']}.",
                    "Use a new key.",
                    key=key,
                )
            else:
                id = entry["id"]
            actual.write(_encoded(community))  # even if it was done before: see `find`
            return str(id)

    def _undo(
        self, key: str, operation: str, take: Callable[[Community, Mapping[str, Any]], Undoing]
    ) -> Undoing:
        """Undo the call of a key, if there was one, and close the key in any case."""
        with self._planned(operation), self._held() as actual:
            community = self._decoded(actual.read())
            keys = community["ledger"]["keys"]
            entry = keys.setdefault(
                key, {"did": None, "asked": None, "id": None, "before": None, "undone": False}
            )
            came_to: Undoing = "nothing"
            if entry["did"] is not None and not entry["undone"]:
                came_to = take(community, entry)
            entry["undone"] = True
            actual.write(_encoded(community))
            return came_to

    @contextmanager
    def _planned(self, operation: str) -> Iterator[None]:
        """Raise an injected failure, if there is one."""
        number = self._calls[operation] = self._calls.get(operation, 0) + 1
        due = {
            one.when: one
            for one in self._failures
            if one.operation == operation and one.nth <= number < one.nth + one.times
        }
        if (failure := due.get("before")) is not None:
            if failure.refused:
                raise TargetRefused(f"{operation} is refused, as planned.", "Plan no failure.")
            raise TargetUnavailable(f"{operation} got no answer, as planned.", "Plan no failure.")
        yield
        if "after" in due:
            raise TargetUnavailable(f"The answer to {operation} was lost, as planned.", "Plan no failure.")

    def _held(self) -> AbstractContextManager[Cell]:
        return made_as(self.directory, self._records, self._record)

    def _decoded(self, data: bytes) -> Community:
        if not data:
            return _nobody()
        try:
            community = orjson.loads(data)
            sound = community["format"] == FORMAT and all(
                type(community[name]) is dict for name in _nobody() if name != "format"
            )
        except (orjson.JSONDecodeError, LookupError, TypeError):
            sound = False
        if not sound:
            path = f"{self.directory}/{ACTUAL_FILE}"
            raise StoreError(
                f"{path} is not a community of format {FORMAT}: another program changed it.",
                "Restore it from a backup.",
                path=path,
            )
        return dict(community)


def _encoded(community: Community) -> bytes:
    return orjson.dumps(community, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _nobody() -> Community:
    """An empty community."""
    return {
        "format": FORMAT,
        "roles": {},
        "channels": {},
        "permissions": {},
        "ledger": {"made": 0, "keys": {}},
    }


def _next_id(community: Community, letter: str) -> str:
    community["ledger"]["made"] += 1
    return f"{letter}{community['ledger']['made']}"


def _refuse_twin(
    those: Mapping[str, Mapping[str, Any]], name: str, what: str, beside: Callable[[Mapping[str, Any]], bool]
) -> None:
    """Refuse a duplicate name, ignoring case, among siblings."""
    if any(one["name"].casefold() == name.casefold() and beside(one) for one in those.values()):
        raise TargetRefused(
            f"There is a {what} {name!r} already.", "Rename that one, or choose another name.", name=name
        )


def _forget(community: Community, channel: str, role: str) -> None:
    """Remove a role's own permission in a channel."""
    given = community["permissions"].get(channel, {})
    given.pop(role, None)
    if not given:
        community["permissions"].pop(channel, None)
