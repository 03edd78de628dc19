"""Names, tags and fences in the core: their members in events, and the facts about them, in every lifecycle. Pure.

An action that claims (`registration.core.chart.Action.claims`) claims the document's name, and its event has
`claimed`; if the manifest held another name, it releases that one, and the event has `released`. An action
that releases has `released`. Whether a name is free is decided outside the core: see `registration.engine.names`.

`tag` and `untag` are available for a manifest of any lifecycle, in any state: their events change no
state, lapse nothing and leave time-outs alone, except sliding ones, which are counted from the last event.
They contain all tags after them (`tags`), and those `added` or `removed`.

What a decision saw outside its log is in `data.seen`, by subject: the claim on the manifest at that moment (`claim`: its `holder` and
`number`), and what a rule looked at (`Command.seen`). So it can be decided again as it was (`seen_again`).

A write under a lease is refused once a write under a later lease was seen: the log stores the fencing number of each
event that was made under a lease, as `data.fence`, and the facts the highest, so that a replay knows it as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.chart import Action
from registration.core.interpreter import Step
from registration.errors import Next, Rejected, StaleFence
from registration.values.ids import own_name
from registration.values.leases import Lease
from registration.values.names import TAGS_MAX
from registration.values.people import same_person

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.core.chart import Chart, Timeout
    from registration.values.commands import Command
    from registration.values.events import Event, StateSnapshot

TAGGING: Mapping[str, Action] = {
    "tag": Action("tag", past="tagged"),
    "untag": Action("untag", past="untagged"),
}
"""The actions of every lifecycle, by name."""

ALIAS_ACTIONS: Mapping[str, str] = {"move": "move_alias", "remove": "remove_alias"}
"""The names by which a policy knows the actions of an alias."""

OF_ALIASES = "aliases"
"""The parameter of a guard's use that restricts it to these aliases, for the actions of an alias; without it, it is for all."""

GOVERNED = ("repair", *ALIAS_ACTIONS.values())
"""What a policy may guard as well, in every lifecycle, although it is no action of a chart."""

REPAIR = Action("repair", past="repaired", lapses=True)
"""The repair of a damaged log. No command can take it: see `registration.core.repairing`."""


def action_of(chart: Chart, name: str) -> Action:
    """The action of that name, of this chart or of every chart. Raises KeyError when there is none."""
    if name == REPAIR.name and not chart.has_action(name):
        return REPAIR
    return TAGGING[name] if name in TAGGING else chart.action(name)


def tagging_step(state: StateSnapshot | None, action: str) -> Step | None:
    """The step of tagging: from a place to itself, exiting nothing. None if there is no manifest."""
    if state is None:
        return None
    return Step(action, (), state.state, history=state.facts.get("history", {}))


def said_of_name(
    doing: Action | Timeout, state: StateSnapshot | None, document: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The members of an event about the manifest's name. document: the one after the event."""
    held = state.name if state else None
    said: dict[str, Any] = {}
    if isinstance(doing, Action) and doing.claims_name:
        own = own_name(document) if document is not None else None
        if own is not None:
            said["claimed"] = own
        if held is not None and held != own:
            said["released"] = held
    elif doing.releases_name and held is not None:
        said["released"] = held
    return said


def said_of_tags(state: StateSnapshot | None, command: Command) -> dict[str, Any]:
    """The members of the event of a `tag` or `untag`.

    Raises:
        Rejected: when nothing would change, or there would be too many.
    """
    assert state is not None  # there is no step without a manifest
    before = set(state.tags)
    if command.action == "tag":
        changed, after, word = set(command.tags) - before, before | set(command.tags), "added"
    else:
        changed, after, word = before & set(command.tags), before - set(command.tags), "removed"
    if not changed:
        how = "has" if word == "added" else "doesn't have"
        raise Rejected(
            f"{command.stream!r} {how} {_listed(command.tags)} already."
            if word == "added"
            else f"{command.stream!r} {how} {_listed(command.tags)}.",
            f"It has {_listed(state.tags)}." if before else "It has no tags.",
            manifest_id=command.stream,
            tags=list(state.tags),
        )
    if len(after) > TAGS_MAX:
        raise Rejected(
            f"{command.stream!r} would have {len(after)} tags; a manifest has at most {TAGS_MAX}.",
            "Take some away first.",
            Next(operation="act", action="untag", id=command.stream, missing=("tags",)),
            manifest_id=command.stream,
            tags=list(state.tags),
        )
    return {word: sorted(changed), "tags": sorted(after)}


def same_tags(command: Command, data: Mapping[str, Any]) -> bool:
    """Whether an event made the change to the tags that a command requests; part of it may have been made before."""
    asked, after = set(command.tags), set(data.get("tags", ()))
    if "added" in data:
        return set(data["added"]) <= asked <= after
    if "removed" in data:
        return set(data["removed"]) <= asked and not asked & after
    return not asked


LABELS = frozenset({"claimed", "released", "tags"})
"""The members of an event's data about names or tags."""


def keep_labels(facts: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """The facts after an event about names or tags.

    name: the one that the manifest holds. named: the `version` and `time` of the event that claimed it, and
    the `digest` of the document that it was claimed for. tags: sorted.
    """
    data, kept = event.data, dict(facts)
    if "claimed" in data:
        kept["name"] = data["claimed"]
        kept["named"] = {"version": event.version, "time": event.time, "digest": data.get("digest")}
    elif "released" in data:
        kept.pop("name", None)
        kept.pop("named", None)
    if "tags" in data:
        kept.pop("tags", None)
        if data["tags"]:
            kept["tags"] = list(data["tags"])
    return kept


# -- fences ----------------------------------------------------------------------------------------------

FENCE = "fence"


def with_fence(before: Mapping[str, Any], after: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """The facts after an event, with the highest number seen: `number`, and the `actor` and `version` of the first event under it."""
    seen, number = before.get(FENCE), event.data.get(FENCE)
    if type(number) is int and (seen is None or number > seen["number"]):
        seen = {"number": number, "actor": event.actor, "version": event.version}
    return after if seen is None else {**after, FENCE: seen}


def check_fence(state: StateSnapshot, command: Command) -> None:
    """Refuse a command whose lease has ended, according to the log or the current lease.

    Raises:
        StaleFence: naming the later number and its holder.
    """
    number = command.fence
    if number is None:
        return
    seen, claim = state.fence, command.claim
    if seen is not None and seen["number"] > number:
        by = repr(seen["actor"]) if seen["actor"] is not None else "an unnamed actor"
        later = f"number {seen['number']} was seen at version {seen['version']}, by {by}"
        facts = dict(seen)
    elif claim is not None and claim.number > number:
        later = f"number {claim.number} was given to {claim.holder!r} on {claim.host} at {claim.since}"
        facts = {"number": claim.number, "actor": claim.holder, "version": None}
    else:
        return
    held = {} if claim is None else {"holder": claim.as_json()}
    now = f", and {claim.holder!r} has it until {claim.until}" if claim is not None else ""
    raise StaleFence(
        f"{state.stream!r} can't be written under lease number {number}: {later}{now}.",
        "Your lease has expired. Check what changed, acquire a new one, and decide again.",
        manifest_id=state.stream,
        version=state.version,
        fence=number,
        seen=facts,
        **held,
    )


def fence_of(command: Command) -> int | None:
    """The fencing number of an event: the one that was passed, or that of the actor's own lease."""
    claim = command.claim
    if command.fence is None and claim is not None and same_person(claim.holder, command.actor):
        return claim.number
    return command.fence


# -- what was seen -----------------------------------------------------------------------------------------

SEEN = "seen"


def seen_by(command: Command) -> dict[str, Any]:
    """What the decision on a command sees outside its log, by subject; empty if that is nothing."""
    seen = dict(command.seen or {})
    if command.claim is not None:
        seen["claim"] = {"holder": command.claim.holder, "number": command.claim.number}
    return seen


def seen_again(stream: str, data: Mapping[str, Any]) -> tuple[Lease | None, Mapping[str, Any] | None]:
    """`Command.claim` and `Command.seen` of the decision on an event, for deciding it again.

    Of the claim, only its holder and its number are known: nothing else about it has an effect on an event.

    Raises:
        KeyError, TypeError, AttributeError: when the member was not written by this package.
    """
    seen = dict(data.get(SEEN, {}))
    found = seen.pop("claim", None)
    if found is None:
        return None, seen or None
    if type(found["holder"]) is not str or type(found["number"]) is not int:
        raise TypeError("the `holder` of `seen.claim` is text, and its `number` an integer")
    claim = Lease(
        key=stream, holder=found["holder"], host="", number=found["number"], since="", until="", token=""
    )
    return claim, seen or None


def _listed(tags: tuple[str, ...]) -> str:
    return ", ".join(repr(tag) for tag in tags)
