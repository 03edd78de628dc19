"""The lifecycle of a registry itself: which lifecycle, rules and roster are in force, since when, and by whom.

Its log is the registry's own (`registry/events.jsonl`): one stream, on the same engine as a manifest. Each change is an event that
has all digests in force after it, as `in_force`, so the last one says everything. `registration.engine.governance` runs it.

======================  ==========================================================================
action                  when
======================  ==========================================================================
make                    the registry is created; a `policy.toml` that lies there is put in force
adopt                   the first write to a registry of release 0.1, which had no such log
propose, approve        a change is proposed, and approved, where the rules in force demand that
apply_policy            other rules are put in force, and perhaps another roster
change_roster           another roster alone is put in force
migrate_lifecycle       a later version of the lifecycle is put in force
recover                 logs were recovered after a crash, as `recovered` lists; the rules stay
copy                    the registry is a copy; the rules stay
======================  ==========================================================================
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from registration.core.chart import Action, Chart, State, Transition
from registration.core.definition import Definition, of_form
from registration.core.policy import NO_LIMITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.core.policy import Policy
    from registration.values.events import Event, StateSnapshot

IN_FORCE = "IN_FORCE"
PROPOSED = "PROPOSED"
_STATES = (IN_FORCE, PROPOSED)

CHANGES: Mapping[str, str] = {
    "apply_policy": "policy",
    "change_roster": "roster",
    "migrate_lifecycle": "lifecycle",
}
"""The actions that `[governance]` can guard, each with its name there."""

LOST_KEPT_MAX = 64
"""The number of repairs of the registry's own log whose lost versions are kept."""


_BEGINNINGS = ("make", "adopt")
_IN_FORCE = frozenset(("lifecycle", "policy", "roster", "files"))
_IDENTITY = {"name": str, "version": int, "digest": str}


def wrong_with(action: str, members: Mapping[str, Any]) -> str | None:
    """The `Shape` of the members that a change gives its event: `in_force` in each, and `forced` in those that the owner forced.

    A recovery has `recovered`.
    """
    changes = action in CHANGES
    if "forced" in members and (not changes or members["forced"] is not True):
        return f"`forced` is {members['forced']!r} in the event of {action!r}"
    if "recovered" in members and not (action == "recover" and type(members["recovered"]) is dict):
        return f"`recovered` is misplaced or malformed in the event of {action!r}"
    if ("in_force" in members) != (changes or action in _BEGINNINGS):
        return (
            f"`in_force` is {'misplaced' if 'in_force' in members else 'missing'} in the event of {action!r}"
        )
    if "in_force" not in members:
        return None
    said = members["in_force"]
    right = (
        type(said) is dict
        and said.keys() == _IN_FORCE
        and type(said["lifecycle"]) is dict
        and said["lifecycle"].keys() == _IDENTITY.keys()
        and all(type(said["lifecycle"][name]) is kind for name, kind in _IDENTITY.items())
        and all(type(said[name]) in (str, type(None)) for name in ("policy", "roster"))
        and type(said["files"]) is dict
        and all(type(one) is str for one in said["files"].values())
    )
    return None if right else "its `in_force` is malformed"


@of_form(1)
def keep_rules(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """The facts after an event.

    begun: the `action`, `time` and `version` of the first event. policy, roster, lifecycle: the digests in force (the lifecycle with its
    name and version); None: none. files: the SHA-256 of each file that the policy was read from, by its path. since: the `action`,
    `version`, `time`, `actor` and `reason` of the event that put them in force. changes: how many events changed any of them.
    forced: the last change that the owner of the directory forced, with `count`, `version`, `time`, `actor` and `reason`.
    authors, approvals: of the change that is proposed. lost: pairs of the versions that a repair took away: the first, and the last one
    known.
    """
    data = event.data
    kept = dict(facts)
    if "lost" in data:
        lost = [event.version, data["lost"]["last_version"]]
        kept["lost"] = [*facts.get("lost", ()), lost][-LOST_KEPT_MAX:]
        return kept
    if "document" in data:
        kept["authors"] = [event.actor]
        kept["approvals"] = []
    if "approval" in data:
        said = {name: list(one) if type(one) is list else one for name, one in data["approval"].items()}
        approval = {"actor": event.actor, "time": event.time, "version": event.version, **said}
        kept["approvals"] = [*kept.get("approvals", ()), approval]
    if "in_force" not in data:
        return kept
    who = {"version": event.version, "time": event.time, "actor": event.actor, "reason": data.get("reason")}
    in_force = data["in_force"]
    kept |= {name: in_force[name] for name in ("policy", "roster", "lifecycle")}
    kept["files"] = dict(in_force["files"])
    kept["since"] = {"action": event.action, **who}
    kept["authors"], kept["approvals"] = [], []
    if event.from_state is None:
        kept["begun"] = {"action": event.action, "time": event.time, "version": event.version}
        kept["changes"] = 0
        return kept
    kept["changes"] = facts["changes"] + 1
    if data.get("forced") is True:
        kept["forced"] = {"count": facts.get("forced", {"count": 0})["count"] + 1, **who}
    return kept


REGISTRY = Definition(
    Chart(
        "registry",
        title="The rules of a registry",
        states=(State(IN_FORCE), State(PROPOSED)),
        actions=(
            Action("make", past="made"),
            Action("adopt", past="adopted"),
            Action("propose", past="proposed", document=True),
            Action("approve", past="approved", approval=True),
            Action("apply_policy", past="policy_applied", lapses=True),
            Action("change_roster", past="roster_changed", lapses=True),
            Action("migrate_lifecycle", past="lifecycle_migrated", lapses=True),
            Action("recover", past="recovered"),
            Action("copy", past="copied"),
        ),
        transitions=(
            Transition("make", None, IN_FORCE),
            Transition("adopt", None, IN_FORCE),
            *(Transition("propose", state, PROPOSED) for state in _STATES),
            Transition("approve", PROPOSED, PROPOSED),
            *(Transition(action, state, IN_FORCE) for action in CHANGES for state in _STATES),
            *(Transition(action, state, state) for action in ("recover", "copy") for state in _STATES),
        ),
    ),
    evolve=keep_rules,
    members=frozenset(("in_force", "forced", "recovered")),
    shape=wrong_with,
)
"""The state only tells whether a change is proposed; everything else is in the facts."""


def proposal_of(in_force: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a proposed change: the digests that would be in force after it."""
    return {
        "lifecycle": in_force["lifecycle"]["digest"],
        "policy": in_force["policy"],
        "roster": in_force["roster"],
    }


def governing(policy: Policy, *, forced: bool = False) -> Policy:
    """The rules in force as they guard changes of the registry itself. forced: the owner of its directory asks none of them.

    `[limits]` is of manifests: a limit that is reached must not keep it from being raised.
    """
    guarded = {action: policy.governance[of] for action, of in CHANGES.items() if of in policy.governance}
    if forced:
        return policy.variant(uses={}, sources=(), one_script=False, limits=NO_LIMITS)
    return policy.variant(uses=guarded, limits=NO_LIMITS)


def as_asked(
    state: StateSnapshot | None, action: str, in_force: Mapping[str, Any] | None
) -> StateSnapshot | None:
    """The state in which a change is decided: author and approvals of a proposal count for exactly that change.

    in_force: as in the event.
    """
    if state is None or action not in CHANGES or in_force is None or state.document == proposal_of(in_force):
        return state
    return replace(state, document=None, digest=None, facts={**state.facts, "authors": [], "approvals": []})
