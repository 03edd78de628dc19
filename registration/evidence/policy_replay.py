"""Replay of past decisions under a proposed policy: which would change. Pure.

Each event of a log is decided again as the command that led to it, in the state at the time, as if the proposed policy had
been in force from the start: approvals count as given under it, except those that it would have refused, and its own
roles apply. The refusals in `refusals.jsonl` are decided again as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import orjson

from registration.core.actors import as_if
from registration.core.bounds import UNCOUNTED
from registration.core.decider import fold
from registration.core.definition import ask
from registration.core.explanation import Explanation, explained, step_from
from registration.core.facts import SEEN
from registration.storage import layout
from registration.values.commands import Command
from registration.values.documents import Document
from registration.values.names import LATEST

if TYPE_CHECKING:
    from registration.core.definition import Definition
    from registration.core.policy import Policy
    from registration.values.events import Event, StateSnapshot


Fell = Literal["accepted", "refused"]
"""The result of a decision."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that was made again. manifest_id: the manifest; in the area `aliases`, the name whose alias was moved or removed.

    version: of the event it led to; for a refusal, the one it was made on.

    was, would_be: the original result, and the result under the proposed policy. time: when. why: the guards' answers;
    None if the result is the same.
    """

    manifest_id: str
    version: int
    time: str
    was: Fell
    would_be: Fell
    why: Explanation | None
    area: str = layout.MANIFESTS

    @property
    def differs(self) -> bool:
        """Whether the result would change."""
        return self.was != self.would_be


def replay_decisions(
    definition: Definition,
    policy: Policy,
    events: Iterable[Event],
    refusals: Iterable[Mapping[str, Any]] = (),
    area: str = layout.MANIFESTS,
) -> Iterator[Decision]:
    """Every decision of one log, and of the refusals noted for it, in order.

    area: of the log. Time-outs, repairs and broken locks are not decisions about the document, and `latest` moves by itself. Decisions of an older lifecycle by an action
    that this one lacks, and refusals of documents, which are not stored, can't be repeated and are skipped.
    """
    noted: dict[int, list[Mapping[str, Any]]] = {}
    for refusal in refusals:
        noted.setdefault(refusal["refusal"]["version"], []).append(refusal)
    state: StateSnapshot | None = None
    refused: set[int] = set()
    for event in events:
        if event.data.keys().isdisjoint(("timeout", "lost", "claim")) and event.data.get("alias") != LATEST:
            met = _as_if(state, policy, refused)
            asked = _asked(definition, policy, met, _command(event), event.version, event.time, "accepted")
            if asked is not None:
                if asked.would_be == "refused":
                    refused.add(event.version)
                yield replace(asked, area=area)
        state = fold(definition, state, (event,))
        assert state is not None
        for one in noted.get(state.version, ()):
            again = _refused_command(state, one)
            met = _as_if(state, policy, refused)
            if again is not None:
                asked = _asked(definition, policy, met, again, state.version, one["time"], "refused")
                if asked is not None:
                    yield replace(asked, area=area)


def read_refusals(lines: Iterable[bytes], area: str = layout.MANIFESTS) -> dict[str, list[Mapping[str, Any]]]:
    """The entries of `refusals.jsonl` about an area, by manifest. Unknown lines are skipped."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        try:
            noted = orjson.loads(line)
            if noted.get("area", layout.MANIFESTS) != area:
                continue
            refusal, said = noted["refusal"], noted["command"]
            named = (noted["time"], refusal["action"], refusal["manifest_id"])
            words = (said.get("actor"), said.get("reason"), said.get("comment"))
            if (
                type(refusal["version"]) is int
                and all(isinstance(name, str) for name in named)
                and all(word is None or isinstance(word, str) for word in words)
                and isinstance(said.get("context") or {}, dict)
                and isinstance(said.get("tags", []), list)
            ):
                found.setdefault(refusal["manifest_id"], []).append(noted)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            continue
    return found


def _asked(
    definition: Definition,
    policy: Policy,
    state: StateSnapshot | None,
    command: Command,
    version: int,
    time: str,
    was: Fell,
) -> Decision | None:
    """A decision made again; None if the lifecycle no longer has the transition."""
    taken = step_from(definition.chart, state, command.action or "", policy)
    if taken is None:
        return None
    answers = ask(definition, policy, state, command, taken)
    would_be: Fell = "accepted" if all(answer.verdict.agrees for answer in answers) else "refused"
    why = explained(definition, policy, state, command, taken, answers) if would_be != was else None
    return Decision(command.stream, version, time, was, would_be, why)


def _as_if(state: StateSnapshot | None, policy: Policy, refused: set[int]) -> StateSnapshot | None:
    """The state as it would be had the policy been in force: its approvals are under it, with its roles."""
    if state is None or not state.facts.get("approvals"):
        return state
    approvals = [
        {**one, "policy": policy.digest, "roles": policy.roles_of(one["actor"])}
        for one in state.facts["approvals"]
        if one["version"] not in refused
    ]
    return replace(state, facts={**state.facts, "approvals": approvals})


def _command(event: Event) -> Command:
    data = event.data
    document = None
    if "document" in data:
        document = Document(data["document"], str(data.get("digest")), 0)
    return Command(
        stream=event.subject,
        action=event.action,
        actor=event.actor,
        document=document,
        reason=data.get("reason"),
        comment=data.get("comment"),
        context=data.get("context"),
        via=_via(data),
        seen=_seen(data),
        tags=tuple(data.get("added", data.get("removed", ()))),
        members=_of_alias(data),
    )


def _refused_command(state: StateSnapshot, noted: Mapping[str, Any]) -> Command | None:
    said = noted["command"]
    if said.get("document") is not None:
        return None
    return Command(
        stream=state.stream,
        action=noted["refusal"]["action"],
        actor=said.get("actor"),
        reason=said.get("reason"),
        comment=said.get("comment"),
        context=said.get("context"),
        via=_via(said),
        seen=UNCOUNTED,
        tags=tuple(tag for tag in said.get("tags", ()) if isinstance(tag, str)),
        members=_of_alias(said),
    )


def _of_alias(said: Mapping[str, Any]) -> dict[str, Any] | None:
    """The members of a command about an alias."""
    return {"alias": said["alias"]} if isinstance(said.get("alias"), str) else None


def _seen(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the decision saw outside its log. What wasn't counted then refuses nothing now."""
    seen = data.get(SEEN)
    return {**UNCOUNTED, **seen} if isinstance(seen, dict) else UNCOUNTED


def _via(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the actor came in. Earlier releases didn't record it: a demand for it refuses none of their events."""
    via = said.get("via")
    return via if isinstance(via, dict) else as_if(said.get("actor"))
