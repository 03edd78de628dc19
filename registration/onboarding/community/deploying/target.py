"""A target: where a community is made. The protocol that a deployment speaks, and what it asks of whoever implements it.

Each call that changes something carries a *key*. The target remembers what it did for which key, and that is what a
deployment rests on:

- The same key again changes nothing, and gives the first answer again.
- Taking back is by the key of what was done. Taking it back again changes nothing.
- A key that was taken back is closed for good, also where nothing had been done for it: a call that was on its way for a
  long time and arrives after it was taken back is refused, and leaves nothing behind.
- What a call did and that it was done for its key are there together, also after a crash, or neither is.

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
"""By operation, what takes it back."""

Undoing = Literal["undone", "nothing", "left"]
"""What taking back came to: it was undone; there was nothing to undo; or somebody else has changed it since, and it stays."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done for a key.

    operation: None where nothing was done before the key was closed. id: what the target calls what was made.
    undone: whether it was taken back.
    """

    operation: Operation | None
    id: str | None
    undone: bool


class Target(Protocol):
    """One community, somewhere.

    All calls can raise:
        TargetRefused: when the target says no. Nothing was done, and the same call will be refused again.
        TargetUnavailable: when it can't be told whether it was done: ask `find`.
    Any other error counts as the latter.
    """

    def find(self, key: str) -> Done | None:
        """What was done for a key; None where nothing was, nor was it taken back."""

    def create_role(self, key: str, *, name: str, colour: str, permissions: Sequence[str]) -> str:
        """Make a role; its id. Refused where there is one of that name."""

    def delete_role(self, key: str) -> Undoing:
        """Take back `create_role`; what the role could do anywhere goes with it."""

    def create_channel(self, key: str, *, name: str, kind: str, category: str | None) -> str:
        """Make a channel, or a category, which is a channel of the kind ``category``; its id.

        category: the id of the one that it is in. Refused where that has a channel of that name.
        """

    def delete_channel(self, key: str) -> Undoing:
        """Take back `create_channel`. Refused where it is a category that has channels."""

    def set_permission(self, key: str, *, channel: str, role: str, access: str) -> str:
        """Let a role read or write in a channel, both by id, in the place of what it could do there; an id of the two."""

    def restore_permission(self, key: str) -> Undoing:
        """Take back `set_permission`: what the role could do in the channel before holds again."""
