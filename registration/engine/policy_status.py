"""How a registry's `policy.toml` compares with the rules in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from registration.errors import InvalidPolicy
from registration.storage import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.engine.governance import Governance

FileState = Literal["same", "differs", "missing", "invalid", "none"]


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """The rules in force, and the state of `policy.toml`.

    version, hash: of the registry's own log; 0 and empty before there is one, as in a registry of release 0.1 until its first write: then
    `policy.toml` itself is in force. policy, roster: the digests in force; None: none. action, time, actor, reason: of the event that put
    them in force. forced: the last change that the owner of the directory forced, if there was one: `count`, `version`, `time`, `actor`,
    `reason`. file: `same` as the rules in force; `differs`; `missing` (or empty), although rules are in force; `invalid`; `none`: neither
    a file nor rules. problem: why it is invalid.
    """

    version: int
    hash: str
    policy: str | None
    roster: str | None
    action: str | None
    time: str | None
    actor: str | None
    reason: str | None
    forced: Mapping[str, Any] | None
    file: FileState
    problem: str = ""


def policy_status(governance: Governance) -> PolicyStatus:
    """See `PolicyStatus`. The file is parsed only if it, or a schema that it names, is not as it was when it was applied.

    Raises:
        CorruptRegistry, CorruptLog, StoreError: as `Governance`.
    """
    state = governance.state
    if state is None:
        try:
            found = governance.found().policy
        except InvalidPolicy as error:
            return PolicyStatus(0, "", None, None, None, None, None, None, None, "invalid", error.problem)
        nothing = found.digest is None and found.roster is None
        file: FileState = "none" if nothing else "same"
        return PolicyStatus(0, "", found.digest, found.roster, None, None, None, None, None, file)
    facts = state.facts
    file, problem = _compared(governance, facts)
    since = facts["since"]
    return PolicyStatus(
        state.version,
        state.position.head,
        facts["policy"],
        facts["roster"],
        since["action"],
        since["time"],
        since["actor"],
        since["reason"],
        facts.get("forced"),
        file,
        problem,
    )


def _compared(governance: Governance, facts: Mapping[str, Any]) -> tuple[FileState, str]:
    if governance.file is None:
        return "none", ""
    ruled = facts["policy"] is not None or facts["roster"] is not None
    sums = governance.file.sums(facts["files"])
    if sums[layout.POLICY_FILE] in (None, _EMPTY):
        return ("missing" if ruled else "none"), ""
    if sums == facts["files"]:
        return "same", ""
    try:
        found = governance.found().policy
    except InvalidPolicy as error:
        return "invalid", error.problem
    same = (found.digest, found.roster) == (facts["policy"], facts["roster"])
    return ("same" if same else "differs"), ""


_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The SHA-256 of no bytes: of a file that a full disk left empty."""
