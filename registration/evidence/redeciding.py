"""Deciding again: each event of a log, in the state before it, under the rules that it names. Pure, one event at a time.

The command that led to an event is made again from the event's data, and decided by `registration.core.decider` under the
lifecycle, the policy, the schemas and the roster that the event names by digest. Then the *whole* line is compared with the one that
this decision would have written: what the rules refuse, and what they would have recorded otherwise, is damage. Nobody but the
holder of a key could make a log that passes, and is not one that the rules in it allow; a log without signatures proves no more.

Events are judged by the rules as they were understood when they were written. An event of release 0.1 may lack members that later
releases write; one of this release (it has a `statehash`, names the registry's own log, or says so) lacks none.

Kinds: *damage*; *finding*, odd, and no proof of anything; *unchecked*, what can't be asked again here: a guard or a wizard of a
program that isn't installed, a guard that failed, a broken claim. Memory: three states and one event, however long the log.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import orjson

from registration import __version__
from registration.core.codec import covered_line
from registration.core.decider import (
    UNFOLDABLE,
    decide,
    decide_claim_broken,
    decide_repair,
    decide_timeout,
    due_timeout,
    fold,
)
from registration.core.facts import SEEN, seen_again
from registration.core.forms import hash_of_state, matches
from registration.core.repairing import asked_in
from registration.errors import GuardRefused, InvalidDocument, RegistrationError, UnknownEvent
from registration.evidence.identifiers import Identifiers, moment_of, ms_of_time
from registration.evidence.kept_rules import NotHere, NotKept
from registration.values.commands import Command
from registration.values.documents import Document, check_document
from registration.values.events import NewEvent
from registration.values.leases import Lease
from registration.values.people import spellings
from registration.values.times import seconds_between

if TYPE_CHECKING:
    from registration.core.definition import Definition
    from registration.core.policy import Policy
    from registration.evidence.kept_rules import InForce, KeptRules
    from registration.values.events import Event, StateSnapshot

Kind = Literal["damage", "finding", "unchecked"]

SKEW_S = 60
"""How far the clocks of two hosts may be apart before the times of two logs are odd."""

WRITTEN_LATER = frozenset(
    (
        "claimed",
        "released",
        "due",
        "history",
        "lapsed",
        "joined",
        "policy",
        "lifecycle",
        "release",
        "approval",
    )
)
"""Members of an event's data that one release after the other began to write, before each event had the hash of its state."""

_VIA = {"uid": int, "login": (str, type(None)), "host": str}
_IMPORTED = {"by": (str, type(None)), "source": str, "line": int}
_WORDS = ("via", "imported")
_COMMAND = frozenset(one.name for one in fields(Command))
_HEX = re.compile("[0-9a-f]{64}")
_RELEASE = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})(?:\.[0-9]{1,6})?\S{0,40}")
_FIRST_WITH_HASHES = (0, 2)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What deciding again says against one event.

    version: of the event. reason: the problem, without a full stop. group: the same words for all problems of its kind, for counts.
    """

    kind: Kind
    version: int
    reason: str
    group: str


def redecide(definition: Definition, rules: KeptRules, events: Iterable[Event]) -> Iterator[Doubt]:
    """What the rules say against each event of one log, from its first. Ends at an event that can't be folded."""
    again = Redecider(definition, rules)
    for event in events:
        yield from again.step(event)
        if again.stopped:
            return


NO_DOUBTS: Sequence[Doubt] = ()

_ORDINARY = frozenset(
    (
        "action",
        "from",
        "to",
        "actor",
        "reason",
        "comment",
        "context",
        "lifecycle",
        "policy",
        "roster",
        "registry",
        "release",
    )
) | frozenset(
    ("joined", "history", "approval", "lapsed", "counted", "claimed", "released", "digest", "document", "via")
)
"""The members of the data of events that are checked in one go."""


class Redecider:
    """The deciding again of one log, event by event.

    definition: that of the log's area, which folds it. rules: None: nothing is decided again, and only what an event says about the one
    before it is checked. after: a state that is believed, to begin in the middle of a log. state: after the last event; None before the
    first one. stopped: whether an event could not be folded: those after it are not decided again.
    """

    def __init__(
        self, definition: Definition, rules: KeptRules | None, *, after: StateSnapshot | None = None
    ) -> None:
        self.state = after
        self.stopped = False
        self.identifiers = Identifiers()
        self._definition = definition
        self._rules = rules
        self._before: StateSnapshot | None = None
        self._last: Event | None = None
        self._told = Told(after)
        self._hashes = False
        self._adrift = False
        self._sound = True
        self._commands: dict[tuple[object, ...], Command] = {}
        self._names: set[str | None] = {None}
        self._version_checked: tuple[Mapping[str, Any], InForce, InForce | None] | None = None
        self._people: dict[str, str] = {}
        # The lifecycle that the last ordinary event named, and what it is.
        self._under: tuple[Mapping[str, Any] | None, Definition] = (None, definition)

    def step(self, event: Event) -> Sequence[Doubt]:
        """What is wrong with the next event. Its line, and its place in the chain, were checked before."""
        state = self.state
        if self._rules is not None and self._is_as_decided(event, self._rules):
            return NO_DOUBTS
        found = list(self._told.against(event))
        doubts = [Doubt("damage", event.version, reason, group) for reason, group in found]
        if self.stopped:
            return doubts
        after = self._folded(event, doubts)
        if after is None:
            return doubts
        if self._rules is not None:
            doubts += self._identified(event)
            already = _SAME_AS.keys() & {group for _, group in found}
            covered = {group for one in already for group in _SAME_AS[one]}
            doubts += [one for one in self._asked(event, self._rules) if one.group not in covered]
            doubts += self._spelling(event)
        known = any(one.kind == "damage" for one in doubts)
        self._sound = self._sound and not known
        doubts += self._hash(event, after, known=known)
        self._before, self._last, self.state = state, event, after
        return doubts

    def _is_as_decided(self, event: Event, rules: KeptRules) -> bool:
        """Whether nothing is wrong with an event that has nothing special about it: the checks below, in one go.

        If the line is the one that would be written now, its times, its digest and the states in it are right as well. False says
        nothing: then each check is made by itself, and named.
        """
        data, state = event.data, self.state
        digest = self._told.digest
        try:
            if state is None or not self._is_ordinary(event, rules, state):
                return False
            if "document" in data:
                digest = digest_in_log(data["document"])
            if data["lifecycle"] != self._under[0]:
                self._under = (data["lifecycle"], self._lifecycle(event, rules, strict=True))
            definition = self._under[1]
            policy = rules.policy(data.get("policy"), data.get("roster"), state.registry, 2)
            command = self._command_of(event, definition, digest)
            (made,) = decide(definition, state, command, time=event.time, event_id=event.id, policy=policy)
            made.data["release"] = data["release"]  # type: ignore[index]  # it was made a moment ago, and nobody else has it
            if not event.line.startswith(covered_line(event, made)):
                return False
            after = fold(self._definition, state, (event,))
        except (NotKept, NotHere, RegistrationError, AssertionError, *UNFOLDABLE):
            return False
        if after is None or hash_of_state(after) != event.statehash:
            return False
        self.identifiers.add(event)
        self._told.follow(event, digest)
        self._hashes, self._adrift = True, False
        self._before, self._last, self.state = state, event, after
        return True

    def _command_of(self, event: Event, definition: Definition, digest: str) -> Command:
        """The command that led to an ordinary event: the same object for the same words, since most commands have few."""
        data = event.data
        if (
            event.correlation_id != event.id  # which is what an event without another one has
            or event.causation_id is not None
            or event.traceparent is not None
            or "document" in data
            or "context" in data
        ):
            return command_of(event, definition, digest)
        key = (data["action"], data["actor"], data.get("reason"), data.get("comment"))
        known = self._commands.get(key)
        if known is not None and known.via == data.get("via"):
            return known
        if len(self._commands) >= COMMANDS_KEPT_MAX:
            self._commands.clear()
        made = self._commands[key] = replace(command_of(event, definition, digest), correlation_id=None)
        return made

    def _is_ordinary(self, event: Event, rules: KeptRules, state: StateSnapshot) -> bool:
        """Whether an event comes at a later moment than all before it, under known rules, and has no member that needs more."""
        data = event.data
        return (
            self._sound
            and event.statehash is not None
            and event.idempotency_key is None
            and "due" not in state.facts
            and data.keys() <= _ORDINARY
            and data["actor"] in self._names
            and type(data.get("release")) is str
            and data.get("registry") == state.registry
            and (rules.log is None if state.registry is None else self._still_in_force(event, rules))
            and self.identifiers.is_next(event)
            and type(named := data.get("lifecycle")) is dict
            and (named == self._under[0] or rules.is_known(named["digest"]))
        )

    def _still_in_force(self, event: Event, rules: KeptRules) -> bool:
        """Whether the version of the registry's own log that an event names, as the one before it did, was the last one at its time."""
        data = event.data
        named, checked = data["registry"], self._version_checked
        if checked is None or checked[0] != named:
            found = rules.log.at(named["version"]) if rules.log is not None else None
            if found is None or rules.log is None or found.hash != named["hash"]:
                return False
            following = rules.log.at(named["version"] + 1)
            checked = self._version_checked = (named, found, following)
        _, found, following = checked
        return (
            data.get("policy") == found.policy
            and data.get("roster") == found.roster
            and found.lifecycle in (None, data.get("lifecycle", {}).get("digest"))
            and event.time >= found.time
            and (following is None or event.time <= following.time)
        )

    def _folded(self, event: Event, doubts: list[Doubt]) -> StateSnapshot | None:
        """The state after an event; None if it can't be folded."""
        try:
            return fold(self._definition, self.state, (event,))
        except UnknownEvent as error:
            if self._definition.is_behind(event):
                reason = error.problem.rstrip(".")
                doubts.append(Doubt("unchecked", event.version, reason, "a later version of the lifecycle"))
            else:
                reason = f"this release does not know its type {event.type!r}"
                doubts.append(Doubt("damage", event.version, reason, "unknown type"))
        except UNFOLDABLE as error:
            reason = f"it can't be folded ({type(error).__name__}: {error})"
            doubts.append(Doubt("damage", event.version, reason, "unfoldable"))
        self.stopped, self._sound = True, False
        return None

    def _identified(self, event: Event) -> Iterator[Doubt]:
        """Whether its id, and its idempotency key, are its own."""
        for reason, group, kind in self.identifiers.against(event, self.state):
            yield Doubt(kind, event.version, reason, group)
        if event.idempotency_key is not None and self.state is not None:
            used = next((one for key, one in self.state.keys if key == event.idempotency_key), None)
            if used is not None:
                reason = f"its idempotency key was used by version {used} already"
                yield Doubt("damage", event.version, reason, "key twice")

    def _asked(self, event: Event, rules: KeptRules) -> Sequence[Doubt]:
        """What deciding an event again says against it, or why it can't be asked."""
        doubts: list[Doubt] = []
        kind: Kind = "damage"
        try:
            doubts.extend(self._decided_again(event, rules))  # those before an error stay
        except NotKept as error:
            reason, group = str(error), "rule not kept"
        except NotHere as error:
            reason, group, kind = (
                str(error),
                "a guard, or a format, that this program does not have",
                "unchecked",
            )
        except RegistrationError as error:
            reason, group = f"the rules refuse it: {error.problem.rstrip('.')}", type(error).__name__
        except (*UNFOLDABLE, AssertionError) as error:
            reason, group = f"it is malformed ({type(error).__name__}: {error})", "malformed"
        else:
            return doubts
        doubts.append(Doubt(kind, event.version, reason, group))
        return doubts

    # -- one event -------------------------------------------------------------------------------------

    def _decided_again(self, event: Event, rules: KeptRules) -> Iterator[Doubt]:
        data, state = event.data, self.state
        strict = is_of_this_release(event)
        definition = self._lifecycle(event, rules, strict=strict)
        digest = data.get("lifecycle", {}).get("digest")
        if digest is not None and not rules.is_known(digest):
            reason = "it was decided under a lifecycle that this release doesn't have"
            yield Doubt("unchecked", event.version, reason, "a lifecycle that this release does not have")
        yield from self._registry(event, rules)
        policy = rules.policy(
            _text_or_none(data, "policy"),
            _text_or_none(data, "roster"),
            data.get("registry"),
            2 if strict else 1,
        )
        if "lost" in data:
            yield from self._repair(definition, policy, event, strict=strict)
            return
        if state is not None and "due" in state.facts and "timeout" not in data:
            due = due_timeout(definition, state, moment_of(event))
            if due is not None:
                reason = f"the time-out {due.name!r} was due before it, and is not recorded"
                yield Doubt("damage", event.version, reason, "time-out passed over")
        if "timeout" in data:
            made = _timeout(definition, state, event, policy)
        elif "claim" in data:
            yield from self._claim_broken(definition, policy, event, strict=strict)
            return
        else:
            yield from self._acted(definition, policy, event, strict=strict)
            return
        yield from _compared(event, made, strict=strict)

    def _acted(
        self, definition: Definition, policy: Policy, event: Event, *, strict: bool
    ) -> Iterator[Doubt]:
        """An event of a command: all but time-outs, broken locks and repairs."""
        command = command_of(event, definition, self._told.digest)
        try:
            (made,) = decide(
                definition, self._met(event), command, time=event.time, event_id=event.id, policy=policy
            )
        except GuardRefused as refusal:
            yield from _refused(event, refusal)
            return
        if "undoes" in event.data:
            yield from self._undo(definition, event)
        yield from _compared(event, made, strict=strict)

    def _met(self, _event: Event) -> StateSnapshot | None:
        """The state in which the command of an event was decided."""
        return self.state

    def _lifecycle(self, event: Event, rules: KeptRules, *, strict: bool) -> Definition:
        """The lifecycle that an event was decided under: the one that it names, or that of the area."""
        named = event.data.get("lifecycle")
        if named is not None:
            if type(named) is not dict or type(named.get("digest")) is not str:
                raise NotKept("its `lifecycle` is malformed")
            return rules.definition(named["digest"])
        if strict and "lost" not in event.data:
            raise NotKept("it names no lifecycle")
        return rules.first()

    def _registry(self, event: Event, rules: KeptRules) -> Iterator[Doubt]:
        """Whether an event names the registry's own log as it is, and the rules that were in force."""
        data, version = event.data, event.version
        named, log = data.get("registry"), rules.log
        before = self.state.registry if self.state is not None else None
        if named is None:
            if log is not None and "lost" not in data and (before is not None or event.time >= log.begun):
                by_earlier = _release(event) < _FIRST_WITH_HASHES
                kind: Kind = "finding" if by_earlier else "damage"
                reason = "it doesn't name the registry's own log, under which it was decided"
                yield Doubt(kind, version, reason, "registry left out")
            return
        if (
            type(named) is not dict
            or named.keys() != {"version", "hash"}
            or type(named["version"]) is not int
            or named["version"] < 1
            or type(named["hash"]) is not str
            or not _HEX.fullmatch(named["hash"])
        ):
            raise NotKept("its `registry` is malformed")
        if before is not None and named["version"] < before["version"]:
            reason = (
                f"it was decided under version {named['version']} of the registry's own log, and the event before "
                f"it under version {before['version']}"
            )
            yield Doubt("damage", version, reason, "registry going back")
        if log is None:
            yield Doubt(
                "damage", version, "it names the registry's own log, which is missing", "registry log"
            )
            return
        found = log.at(named["version"])
        if found is None or found.hash != named["hash"]:
            what = "has no such version" if found is None else "has another line there"
            reason = f"it names version {named['version']} of the registry's own log, which {what}"
            yield Doubt("damage", version, reason, "registry log")
            return
        yield from self._in_force(event, found, log.at(named["version"] + 1))

    def _in_force(self, event: Event, found: InForce, following: InForce | None) -> Iterator[Doubt]:
        data, version = event.data, event.version
        lifecycle = data.get("lifecycle", {}).get("digest")
        if "lost" not in data:
            for what, said, right in (
                ("policy", data.get("policy"), found.policy),
                ("roster", data.get("roster"), found.roster),
                ("lifecycle", lifecycle, found.lifecycle if found.lifecycle is not None else lifecycle),
            ):
                if said != right:
                    has = f"names the {what} {said}" if said is not None else f"names no {what}"
                    was = right if right is not None else "none"
                    reason = (
                        f"it {has}; in force at version {found.version} of the registry's own log was {was}"
                    )
                    yield Doubt("damage", version, reason, f"{what} not in force")
        moment = moment_of(event)
        if seconds_between(moment, found.time) > SKEW_S:
            reason = f"it is of {moment}, and names rules that were put in force at {found.time}"
            yield Doubt("finding", version, reason, "rules of later")
        if following is not None and seconds_between(following.time, moment) > SKEW_S:
            reason = f"it is of {moment}, and names rules that others had replaced at {following.time}"
            yield Doubt("finding", version, reason, "rules of before")

    def _repair(
        self, definition: Definition, policy: Policy, event: Event, *, strict: bool
    ) -> Iterator[Doubt]:
        """A repair: what was cut off can't be asked again, what stayed can. In release 0.1 it was not decided, and lapsed nothing."""
        data, state = event.data, self.state
        yield Doubt(
            "unchecked",
            event.version,
            "what a repair cut off can't be decided again",
            "what a repair cut off",
        )
        if state is None:
            yield Doubt("damage", event.version, "it repairs a log without an event", "repair")
        elif strict or "lapsed" in data:
            _check_words(data)
            command, lost = asked_in(event)
            try:
                made = decide_repair(
                    definition, state, command, lost, time=event.time, event_id=event.id, policy=policy
                )
            except GuardRefused as refusal:
                yield from _refused(event, refusal)
            else:
                yield from _compared(event, made, strict=strict)
        elif not (
            event.type == self._definition.repaired
            and data["action"] == "repair"
            and data["from"] == data["to"] == state.state
            and data.get("digest") == state.digest
            and data["lost"]["offset_bytes"] == state.position.size_bytes
            and not data.keys() & {"document", "approval", "claimed"}
        ):
            yield Doubt("damage", event.version, "the repair is of another log, place or document", "repair")

    def _claim_broken(
        self, definition: Definition, policy: Policy, event: Event, *, strict: bool
    ) -> Iterator[Doubt]:
        """A broken lock: that it was held can't be asked again."""
        reason = "whether the lock was held that it breaks is not in the log"
        yield Doubt("unchecked", event.version, reason, "a broken lock")
        try:
            made = _claim_broken(definition, self.state, event, policy)
        except GuardRefused as refusal:
            yield from _refused(event, refusal)
        else:
            yield from _compared(event, made, strict=strict)

    def _undo(self, definition: Definition, event: Event) -> Iterator[Doubt]:
        """Whether an undo takes back the event before it: see `registration.evidence.undoing`."""
        chart, last, before = definition.chart, self._last, self._before
        if last is None and self.state is not None:  # begun in the middle of a log
            yield Doubt("unchecked", event.version, "what it takes back was not read", "an undo")
            return
        right = (
            last is not None
            and event.data["undoes"] == last.version
            and "undoes" not in last.data
            and chart.has_action(last.action)
            and chart.action(last.action).undone_by == event.action
            and event.to_state == last.from_state
            and (
                not chart.action(event.action).document
                or (before is not None and before.digest == event.data.get("digest"))
            )
        )
        if not right:
            reason = f"it does not take back version {event.data['undoes']}"
            yield Doubt("damage", event.version, reason, "undo")

    def _hash(self, event: Event, after: StateSnapshot, *, known: bool) -> Iterator[Doubt]:
        """Whether the line says to which state its event led. known: damage of this line was found already, which explains it.

        Lines behind one that leads elsewhere usually do as well: they are not listed until one agrees again.
        """
        if event.statehash is not None:
            self._hashes = True
            if self._definition.form is None:
                reason = "the hash of its state can't be checked: the facts of this lifecycle have no declared form"
                yield Doubt("unchecked", event.version, reason, "a state whose facts have no declared form")
                return
            same = matches(event.statehash, after)
            if same is None:
                reason = f"the hash of its state has a form that this release does not know ({event.statehash[:12]})"
                yield Doubt("unchecked", event.version, reason, "the hash of a state in a later form")
            elif same:
                self._adrift = False
            elif known or self._adrift:
                self._adrift = True
            else:
                self._adrift = True
                reason = "the log leads to another state than its `statehash` says"
                yield Doubt("damage", event.version, reason, "statehash")
        elif self._hashes and self._definition.form is not None:
            by_earlier = _release(event) < _FIRST_WITH_HASHES
            reason = (
                "it lacks the hash of its state, which lines before it have"
                if not by_earlier
                else "an earlier release wrote it after this one, without the hash of its state"
            )
            yield Doubt("finding" if by_earlier else "damage", event.version, reason, "statehash gone")

    def _spelling(self, event: Event) -> Iterator[Doubt]:
        """One person under two names."""
        actor = event.data.get("actor")
        if type(actor) is not str or actor in self._names or len(self._names) >= NAMES_KEPT_MAX:
            return
        self._names.add(actor)
        first = spellings(self._people, actor)
        if first is not None:
            reason = f"{actor!r} and {first!r}, earlier in this log, are one person in two spellings"
            yield Doubt("finding", event.version, reason, "two spellings")


class Told:
    """What each event says about the one before it: checked without any rule. digest: of the last document, as computed."""

    def __init__(self, after: StateSnapshot | None) -> None:
        self.digest = ""
        self._place = None if after is None else after.state
        self._time = "" if after is None else after.updated_at
        self._known: set[Any] = {None if after is None else after.digest}  # the valid digests of the document

    def follow(self, event: Event, digest: str) -> None:
        """An event with nothing wrong. digest: of its document, as computed; or of the last one."""
        self.digest = digest
        if "document" in event.data:
            self._known = {digest}
        self._place, self._time = event.to_state, event.time

    def against(self, event: Event) -> Iterator[tuple[str, str]]:
        """What is wrong with the next event, each with its group."""
        data = event.data
        claimed = data.get("digest")
        if "document" in data:
            self.digest = digest_in_log(data["document"])
            self._known = {claimed, self.digest} if isinstance(claimed, str | None) else {self.digest}
            if claimed != self.digest:
                yield "the document does not match its digest", "document digest"
        elif "digest" in data and (not isinstance(claimed, str | None) or claimed not in self._known):
            yield "its digest is not that of the current document", "digest"
        approval = data.get("approval")
        if isinstance(approval, dict):
            if approval.get("digest") != claimed:
                yield "its approval is of another document", "approval digest"
            if event.part == 1 and approval.get("head") != event.prev_hash:
                yield "its approval was given on another log", "approval head"
        if data["from"] != self._place:
            yield f"it starts from {data['from']}, but the line before ended in {self._place}", "from"
        if event.time < self._time:
            reason = f"its time ({event.time}) is before that of the line before ({self._time})"
            yield reason, "time going back"
        self._place, self._time = event.to_state, event.time


_SAME_AS = {
    "document digest": ("data.digest",),
    "digest": ("data.digest",),
    "approval digest": ("data.approval",),
    "approval head": ("data.approval",),
    "from": ("data.from",),
    "time going back": ("time",),
}
"""What deciding again says of a problem that was found without any rule: nothing new."""


def digest_in_log(document: object) -> str:
    """The digest of a document in a log; for one that intake would have refused, a value that no event has."""
    try:
        return check_document(document, size_bytes_max=sys.maxsize).digest
    except InvalidDocument:
        return "refused"


COMMANDS_KEPT_MAX = 256
"""The number of commands that are remembered, in each log."""

NAMES_KEPT_MAX = 20_000
"""The number of names that are remembered for spellings, in each log."""


def is_of_this_release(event: Event) -> bool:
    """Whether an event was written by a release that gives each event the hash of its state, or says that it was."""
    return event.statehash is not None or "registry" in event.data or _release(event) >= _FIRST_WITH_HASHES


def _release(event: Event) -> tuple[int, int]:
    """The release that an event says it was written by; (0, 0) where it says none, as before 0.1."""
    found = event.data.get("release")
    parts = _RELEASE.fullmatch(found) if type(found) is str else None
    return (int(parts[1]), int(parts[2])) if parts is not None else (0, 0)


def _text_or_none(data: Mapping[str, Any], name: str) -> str | None:
    found = data.get(name)
    if found is not None and type(found) is not str:
        raise NotKept(f"its `{name}` is malformed")
    return found


def _timeout(
    definition: Definition, state: StateSnapshot | None, event: Event, policy: Policy
) -> NewEvent | None:
    """The event of the time-out that was due when this one says that it fired; None if there was none."""
    fired = event.data["timeout"]["fired"]
    if state is None or ms_of_time(fired) is None:
        return None
    due = due_timeout(definition, state, fired)
    if due is None:
        return None
    made = decide_timeout(definition, state, due, time=fired, event_id=event.id, policy=policy)
    return made[0] if made else None


def _claim_broken(
    definition: Definition, state: StateSnapshot | None, event: Event, policy: Policy
) -> NewEvent | None:
    data = event.data
    if state is None:
        return None
    _check_words(data)
    claim = Lease(key="", token="", **data["claim"])
    (made,) = decide_claim_broken(
        definition,
        state,
        claim,
        actor=data["actor"],
        reason=data["reason"],
        time=event.time,
        event_id=event.id,
        policy=policy,
        via=data.get("via"),
    )
    return made


def command_of(event: Event, definition: Definition, digest: str) -> Command:
    """The command that led to an event, from its data. digest: of its document, if it has one.

    Raises:
        TypeError, ValueError, KeyError: when no command has such words.
    """
    data = event.data
    document = None
    if "document" in data:
        document = Document(data["document"], digest, 0)
    _check_words(data)
    more: dict[str, Any] = {}
    members = {name: data[name] for name in definition.members if name in data} if definition.members else {}
    for name in _WORDS:
        if name in data:
            if name in _COMMAND:
                more[name] = data[name]
            else:
                members[name] = data[name]
    claim, fence = None, data.get("fence")
    if SEEN in data:
        claim, more[SEEN] = seen_again(event.subject, data)
        if claim is not None and claim.holder == data["actor"] and claim.number == fence:
            fence = None  # that of the actor's own lock: nobody named it
    if definition.members and (wrong := definition.shape(data["action"], members)) is not None:
        raise ValueError(wrong)
    return Command(
        stream=event.subject,
        action=data["action"],
        actor=data["actor"],
        document=document,
        reason=data.get("reason"),
        comment=data.get("comment"),
        context=data.get("context"),
        fence=fence,
        claim=claim,
        undoes=data.get("undoes"),
        tags=tuple(data.get("added", data.get("removed", ()))),
        idempotency_key=event.idempotency_key,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
        traceparent=event.traceparent,
        members=members or None,
        **more,
    )


_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "action": lambda value: type(value) is str,
    "actor": lambda value: value is None or type(value) is str,
    "reason": lambda value: type(value) is str,
    "comment": lambda value: type(value) is str,
    "context": lambda value: type(value) is dict,
    "seen": lambda value: type(value) is dict,
    "fence": lambda value: type(value) is int and value > 0,
    "undoes": lambda value: type(value) is int and value > 0,
    "via": lambda value: _has_shape(value, _VIA),
    "imported": lambda value: _has_shape(value, _IMPORTED),
}
"""The words of a command that no rule need ask for have at least their types."""


def _check_words(data: Mapping[str, Any]) -> None:
    for name in data.keys() & _SHAPES.keys():
        if not _SHAPES[name](data[name]):
            raise TypeError(f"`{name}` is {_shown(data[name])}")


def _has_shape(value: Any, shape: Mapping[str, Any]) -> bool:
    return (
        type(value) is dict
        and value.keys() == shape.keys()
        and all(
            isinstance(value[name], kind) and type(value[name]) is not bool for name, kind in shape.items()
        )
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


def _refused(event: Event, refusal: GuardRefused) -> Iterator[Doubt]:
    """Guards that refused: the rules do. Guards that failed say nothing."""
    against = [one for one in refusal.details["verdicts"] if not one["agrees"]]
    refused = [one for one in against if "failure" not in one["evidence"]]
    if refused:
        reason = f"the rules refuse it: {'; '.join(one['reason'] for one in refused)}"
        yield Doubt("damage", event.version, reason, f"guard {refused[0]['guard']}")
        return
    for one in against:
        yield Doubt("unchecked", event.version, one["reason"], f"the guard {one['guard']!r}, which failed")


# -- comparing ---------------------------------------------------------------------------------------------


def _compared(event: Event, made: NewEvent | None, *, strict: bool) -> Iterator[Doubt]:
    """Everything in a line with what the decision would have written: its bytes if they are the same, or else member by member."""
    version = event.version
    if made is None:
        yield Doubt("damage", version, "no time-out was due then, or it leads nowhere", "time-out")
        return
    data, again = event.data, made.data
    release = data.get("release")
    if type(release) is str and "release" in again:
        again["release"] = release  # type: ignore[index]  # it was made a moment ago, and nobody else has it
    if event.line.startswith(covered_line(event, made)):
        return
    yield from _envelope(event, made, strict=strict)
    yield from _types(event, made, strict=strict)
    for name in data:
        if name not in again:
            yield _more(event, name)
        elif not _same(data[name], again[name], lenient=not strict):
            reason = f"`{name}` is {_shown(data[name])}, and the rules make it {_shown(again[name])}"
            yield Doubt("damage", version, reason, f"data.{name}")
    for name, value in again.items():
        if name not in data and (strict or (name not in WRITTEN_LATER and value is not None)):
            yield Doubt("damage", version, f"`{name}` is missing", f"data.{name}")


def _types(event: Event, made: NewEvent, *, strict: bool) -> Iterator[Doubt]:
    """The type of an event, which an earlier release wrote in an earlier schema."""
    base, _, schema = event.type.rpartition(".v")
    base_again, _, schema_again = made.type.rpartition(".v")
    older = not strict and base == base_again and schema.isdecimal() and int(schema) < int(schema_again)
    if event.type != made.type and not older:
        reason = f"the rules make it a {made.type}, not a {event.type}"
        yield Doubt("damage", event.version, reason, "type")


def _more(event: Event, name: str) -> Doubt:
    """A member that the decision would not have written."""
    if _release(event) > _this_release() and name not in _KNOWN_MEMBERS:
        reason = f"`{name}` is a member of a later release ({event.data['release']})"
        return Doubt("unchecked", event.version, reason, "a member of a later release")
    return Doubt("damage", event.version, f"the rules do not give it `{name}`", f"data.{name}")


def _envelope(event: Event, made: NewEvent, *, strict: bool) -> Iterator[Doubt]:
    """The members of a line outside `data`."""
    for name, found, right in (
        ("time", event.time, made.time),
        ("correlationid", event.correlation_id, made.correlation_id),
        ("causationid", event.causation_id, made.causation_id),
        ("idempotencykey", event.idempotency_key, made.idempotency_key),
        ("traceparent", event.traceparent, made.traceparent),
        ("part", event.part, 1),
        ("remaining", event.remaining, 0),
    ):
        if found != right and not (name == "correlationid" and found is None and not strict):
            reason = f"its `{name}` is {_shown(found)}, and the rules make it {_shown(right)}"
            yield Doubt("damage", event.version, reason, name)
    unknown = sorted(orjson.loads(event.line).keys() - _ENVELOPE) if event.line else []
    later = _release(event) > _this_release()
    for name in unknown:
        yield Doubt(
            "unchecked" if later else "damage",
            event.version,
            f"its member `{name}` is unknown",
            "unknown member",
        )


_ENVELOPE = frozenset(
    (
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "version",
        "part",
        "remaining",
        "correlationid",
        "causationid",
    )
) | frozenset(("idempotencykey", "traceparent", "data", "prevhash", "statehash", "hash"))
_KNOWN_MEMBERS = _ORDINARY | frozenset(
    [
        "due",
        "undoes",
        "fence",
        "added",
        "removed",
        "tags",
        "document",
        "timeout",
        "claim",
        "lost",
        "imported",
        "seen",
    ]
)


def _this_release() -> tuple[int, int]:
    parts = _RELEASE.fullmatch(__version__)
    assert parts is not None
    return int(parts[1]), int(parts[2])


def _same(one: Any, other: Any, *, lenient: bool) -> bool:
    """Whether two JSON values are the same. lenient: members that an earlier release did not write may be missing in the first."""
    if lenient and isinstance(one, dict) and isinstance(other, dict):
        return all(name in other and _same(one[name], other[name], lenient=True) for name in one)
    option = orjson.OPT_SORT_KEYS
    return orjson.dumps(one, option=option) == orjson.dumps(other, option=option)
