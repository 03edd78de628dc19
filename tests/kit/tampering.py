"""Tampering: logs as a patient forger leaves them, with every hash, every head and every state's hash fitted again."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from registration.core.codec import event_of
from registration.core.decider import UNFOLDABLE, fold
from registration.core.definition import Definition
from registration.core.forms import hash_of_state
from registration.errors import UnknownEvent
from registration.values.events import StateSnapshot


def refitted(definition: Definition, members: Iterable[Mapping[str, Any]]) -> bytes:
    """A log of these lines in which everything that can be computed is right: versions, chain, heads of approvals, hashes of states.

    A line keeps its want of a `statehash`. One that can't be folded keeps the one that it has.
    """
    lines: list[bytes] = []
    head, state = "", None
    for number, given in enumerate(members, start=1):
        line = {**copy.deepcopy(dict(given)), "version": number}
        approval = line["data"].get("approval")
        if isinstance(approval, dict) and "head" in approval:
            approval["head"] = head
        told = line.pop("statehash", None)
        for name in ("prevhash", "hash"):
            line.pop(name, None)
        if head:
            line["prevhash"] = head
        state = _after(definition, state, line, head)
        if told is not None:
            line["statehash"] = hash_of_state(state) if state is not None else told
        covered = json.dumps(line, ensure_ascii=False, separators=(",", ":"))[:-1]
        head = hashlib.sha256(covered.encode()).hexdigest()
        lines.append(f'{covered},"hash":"{head}"}}\n'.encode())
    return b"".join(lines)


def _after(
    definition: Definition, state: StateSnapshot | None, line: dict[str, Any], head: str
) -> StateSnapshot | None:
    try:
        return fold(definition, state, (event_of(line, prev_hash=head, hash="", line=b""),))
    except (UnknownEvent, *UNFOLDABLE):
        return None
