"""A target: the platform on which a community is created. The protocol of a deployment, and its requirements.

Each call that changes something carries a *key*. The target remembers the result of each key, and deployments
rely on that:

- The same key again changes nothing, and returns the first result again.
- Undoing is by the key of the call. Undoing twice changes nothing.
- A key that was undone is closed forever, even if nothing had been done for it: a delayed call that arrives after its
  undo is refused, and leaves nothing behind.
- The effect of a call and its record under the key are atomic, also across a crash.

`registration.testing.TargetContract` tries all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Operation = Literal["create_role", "create_channel", "set_permission"]

UNDO_OF: Mapping[Operation, str] = {
    "create_role": "delete_role",
    "create_channel": "delete_channel",
    "set_permission": "restore_permission",
}
"""By operation, its undo."""

Undoing = Literal["undone", "nothing", "left"]
"""The result of an undo: it was undone; there was nothing to undo; or others have changed it since, and it stays."""


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a key.

    operation: None if nothing was done before the key was closed. id: the target's id of the created object.
    undone: whether it was undone.
    """

    operation: Operation | None
    id: str | None
    undone: bool


class Target(Protocol):
    """One community on some platform.

    All calls can raise:
        TargetRefused: when the target refuses. Nothing was done, and the same call will be refused again.
        TargetUnavailable: when the outcome is unknown: ask `find`.
    Any other error counts as the latter.
    """

    def find(self, key: str) -> Done | None:
        """The result of a key; None if it was neither used nor closed."""

    def create_role(self, key: str, *, name: str, colour: str, permissions: Sequence[str]) -> str:
        """Create a role; returns its id. Refused if the name is taken."""

    def delete_role(self, key: str) -> Undoing:
        """Undo `create_role`, together with all permissions of the role."""

    def create_channel(self, key: str, *, name: str, kind: str, category: str | None) -> str:
        """Create a channel, or a category, which is a channel of the kind ``category``; returns its id.

        category: the id of its category. Refused if that already has a channel of this name.
        """

    def delete_channel(self, key: str) -> Undoing:
        """Undo `create_channel`. Refused for a category that has channels."""

    def set_permission(self, key: str, *, channel: str, role: str, access: str) -> str:
        """Set the access of a role to a channel, both by id, replacing the previous access; returns an id of the pair."""

    def restore_permission(self, key: str) -> Undoing:
        """Undo `set_permission`: the previous access of the role to the channel is restored."""
