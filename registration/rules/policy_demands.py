"""Demands of a policy that nobody can meet: too few people with a role, four eyes of one person, approvals that never add up. Pure.

A policy that is valid can still shut the gate for good. Whoever may act is computed from the roster, under the lifecycle's guards and
the policy's: where no role limits an action, anyone may take it. Only the built-in guards are understood; others are passed over, so
a policy without findings can still refuse everyone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from registration.core.bounds import APPROVALS_MAX
from registration.core.facts import ALIAS_ACTIONS, GOVERNED, OF_ALIASES, TAGGING
from registration.core.interpreter import Spot, explore
from registration.core.policy import CHANGES
from registration.values.people import person

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registration.core.chart import Chart, GuardUse
    from registration.core.interpreter import Step
    from registration.core.policy import Policy

COUNTED_MAX = 20
"""Up to this number, approvals are counted along the ways through a lifecycle."""

_NAMES_MAX = 5
_LOGIN = re.compile(r"[^\s:/]+")
"""What a login name can be, on any system: a local one, one of a domain, an address."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A demand that can't be met. of: the action, or ``governance.CHANGE``. problem: why, as a clause.

    never: by no one, for no document; otherwise it can't be met for the documents of some authors.
    """

    of: str
    problem: str
    never: bool

    def __str__(self) -> str:
        return f"{self.of}: {self.problem}"


def unmet_demands(policy: Policy, chart: Chart) -> tuple[Demand, ...]:
    """The demands of a policy that nobody, or nobody for some documents, can meet; in the order of the lifecycle's actions."""
    return tuple(_Gate(policy, chart).demands())


@dataclass(frozen=True, slots=True)
class _People:
    """Those who may do something, by the key of each person; None: anyone. own: of them, those who may do it for their own documents."""

    keys: frozenset[str] | None
    own: frozenset[str] | None

    def __or__(self, other: _People) -> _People:
        return _People(_either(self.keys, other.keys), _either(self.own, other.own))


_NO_ONE = _People(frozenset(), frozenset())


class _Gate:
    """A policy over a lifecycle, looked at as a whole."""

    def __init__(self, policy: Policy, chart: Chart) -> None:
        self._policy = policy
        self._chart = chart
        named = {person(name): name for people in policy.roles.values() for name in reversed(people)}
        self._barred = {
            key: name for key, name in named.items() if policy.sources and not _LOGIN.fullmatch(name)
        }
        self._names = named
        self._roles = {
            role: frozenset(map(person, people)) - self._barred.keys()
            for role, people in policy.roles.items()
        }
        documents = [action.name for action in chart.actions if action.document]
        self._authors = reduce(_People.__or__, map(self._people, documents), _NO_ONE).keys
        approving = [action.name for action in chart.actions if action.approval]
        self._approvers = reduce(_People.__or__, map(self._people, approving), _NO_ONE)

    def demands(self) -> Iterator[Demand]:
        for name in self._barred.values():
            yield Demand("roles", f"{name!r} is no login name, which [actors] source requires", never=False)
        others = [
            name
            for name in (*TAGGING, *GOVERNED)
            if name in self._policy.uses and not self._chart.has_action(name)
        ]
        reach = _Reach(self._policy, self._chart)
        for action in (*(one.name for one in self._chart.actions), *others):
            yield from self._of(action)
            yield from reach.demands(action)
        for change in CHANGES:
            yield from self._of_change(f"governance.{change}", self._policy.governance.get(change, ()))

    def _of(self, action: str) -> Iterator[Demand]:
        """The demands of one action."""
        uses = uses_of(self._policy, self._chart, action)
        if action in ALIAS_ACTIONS.values():
            yield from self._of_aliases(action, uses)
            return
        doing = self._people(action)
        if doing.keys is not None and not doing.keys:
            yield Demand(action, self._nobody(uses), never=True)
        elif any(use.name == "not_the_author" for use in uses):
            yield from self._four_eyes(action, doing)
        for use in uses:
            if use.name == "schema" and use.parameters.get("required") and not self._policy.schemas:
                problem = "it takes a document with a JSON Schema, and no kind in [[kinds]] has a `schema`"
                yield Demand(action, problem, never=True)
            if use.name == "approvals":
                yield from self._approvals(action, use.parameters)

    def _of_aliases(self, action: str, uses: Iterable[GuardUse]) -> Iterator[Demand]:
        """The demands of an action on aliases: on all of them, or on those that a use names."""
        named = {alias for use in uses for alias in use.parameters.get(OF_ALIASES, ())}
        general = [use for use in uses if OF_ALIASES not in use.parameters]
        found = self._limited(general)
        if found is not None and not found:
            yield Demand(action, self._nobody(general), never=True)
            return
        for alias in sorted(named):
            asked = [use for use in uses if alias in use.parameters.get(OF_ALIASES, (alias,))]
            found = self._limited(asked)
            if found is not None and not found:
                yield Demand(action, f"for {alias!r}, {self._nobody(asked)}", never=True)

    def _four_eyes(self, action: str, doing: _People) -> Iterator[Demand]:
        if self._chart.has_action(action) and self._chart.action(action).document:
            problem = "not_the_author: it brings the document, so its actor is the author"
            yield Demand(action, problem, never=True)
            return
        alone, never = self._failing(doing, 1)
        if alone:
            only = self._listed(alone)
            whose = (
                f"only {only} may submit documents" if never else f"not for documents that {only} submitted"
            )
            yield Demand(action, f"only {only} may do it, and {whose}", never=never)

    def _approvals(self, action: str, asked: Mapping[str, Any]) -> Iterator[Demand]:
        """The demands of one use of the guard `approvals`: in all, and by role."""
        approvers = self._approvers
        if approvers.keys is not None and not approvers.keys:
            return  # reported of the actions that approve
        most = self._policy.limits.people
        wanted = [(asked.get("count", 1), "", approvers)]
        for role, count in asked.get("roles", {}).items():
            those = self._roles.get(role, frozenset())
            people = _People(_both(approvers.keys, those), _both(approvers.own, those))
            if (count, people) != (wanted[0][0], approvers):  # otherwise it is the demand in all
                wanted.append((count, f" by {role}", people))
        for count, by, people in wanted:
            takes = f"it takes {count} {'approval' if count == 1 else 'approvals'}{by}"
            if count > (APPROVALS_MAX if most is None else most):
                limit = f"a document has at most {APPROVALS_MAX}, unless `people` in [limits] is more"
                bound = limit if most is None else f"`people` in [limits] is {most}"
                yield Demand(action, f"{takes}, and {bound}", never=True)
            elif not (count == 1 and not by):  # a single one is reported of the actions that approve
                yield from self._too_few(action, takes, people, count)

    def _too_few(self, action: str, takes: str, people: _People, count: int) -> Iterator[Demand]:
        failing, never = self._failing(people, count)
        keys = people.keys or frozenset()
        could = f"only {self._listed(keys)} may approve" if keys else "no one who has it may approve"
        if never and len(keys) < count:
            yield Demand(action, f"{takes}, and {could}", never=True)
        elif never:
            yield Demand(action, f"{takes}, and {could}, not their own documents", never=True)
        elif failing:
            whose = f"documents that {self._listed(failing, 'or')} submitted can't get"
            what = "it" if count == 1 else "them"
            yield Demand(action, f"{takes}; {whose} {what}: {could}, not their own", never=False)

    def _failing(self, people: _People, count: int) -> tuple[frozenset[str], bool]:
        """The authors for whose documents there are not `count` of these people, and whether that is so for every author."""
        if people.keys is None or len(people.keys) > count:
            return frozenset(), False
        if len(people.keys) < count:
            return people.keys, True
        failing = people.keys - (people.keys if people.own is None else people.own)
        failing = failing if self._authors is None else failing & self._authors
        return failing, self._authors is not None and bool(failing) and failing >= self._authors

    def _of_change(self, of: str, uses: Iterable[GuardUse]) -> Iterator[Demand]:
        found = self._limited(uses)
        if found is not None and not found:
            yield Demand(of, self._nobody(uses), never=True)
        elif found is not None and len(found) == 1 and any(use.name == "not_the_author" for use in uses):
            only = self._listed(found)
            yield Demand(of, f"only {only} may do it, and not what {only} proposed", never=False)

    def _people(self, action: str) -> _People:
        """Those who may take an action, at any time and of any document."""
        uses = uses_of(self._policy, self._chart, action)
        keys = self._limited(uses)
        four_eyes = any(use.name == "not_the_author" for use in uses)
        return _People(keys, frozenset() if four_eyes else keys)

    def _limited(self, uses: Iterable[GuardUse]) -> frozenset[str] | None:
        """Those whom the guards `role` allow; None: anyone."""
        found: frozenset[str] | None = None
        for use in uses:
            if use.name == "role":
                roles = (self._roles.get(role, frozenset()) for role in use.parameters["any"])
                found = _both(found, frozenset().union(*roles))
        return found

    def _nobody(self, uses: Iterable[GuardUse]) -> str:
        asked = [" or ".join(sorted(use.parameters["any"])) for use in uses if use.name == "role"]
        return f"it takes {' and '.join(dict.fromkeys(asked))}, and no one is"

    def _listed(self, keys: Iterable[str], last: str = "and") -> str:
        names = sorted(repr(self._names[key]) for key in keys)
        more = f" and {len(names) - _NAMES_MAX} others" if len(names) > _NAMES_MAX else ""
        if more or len(names) == 1:
            return ", ".join(names[:_NAMES_MAX]) + more
        return f"{', '.join(names[:-1])} {last} {names[-1]}"


class _Reach:
    """The approvals that a document can have along the ways through a lifecycle, before each action."""

    def __init__(self, policy: Policy, chart: Chart) -> None:
        self._chart = chart
        self._policy = policy
        self._wanted = {action.name: self._before(action.name) for action in chart.actions}
        most = min(max(self._wanted.values(), default=0), COUNTED_MAX)
        spots = explore(chart) if most else None
        self._most = {} if spots is None else self._walk(spots, most)

    def demands(self, action: str) -> Iterator[Demand]:
        wanted, most = self._wanted.get(action, 0), self._most.get(action)
        if most is None or most >= min(wanted, COUNTED_MAX):
            return
        known = self._chart.action(action)
        takes = f"it takes {wanted} {'approval' if wanted == 1 else 'approvals'} before it"
        if not any(one.approval for one in self._chart.actions):
            problem = f"{takes}, and the lifecycle {self._chart.name!r} has no action that approves"
        elif known.approval and most == 0:
            problem = f"{takes}, and it is what approves: name an action after it"
        else:
            problem = f"{takes}, and the lifecycle {self._chart.name!r} allows {most} by then"
        yield Demand(action, problem, never=True)

    def _before(self, action: str) -> int:
        """The approvals that must come before an action."""
        uses = uses_of(self._policy, self._chart, action)
        asked = [use.parameters for use in uses if use.name == "approvals"]
        return max((max([one.get("count", 1), *one.get("roles", {}).values()]) for one in asked), default=0)

    def _walk(self, spots: Mapping[Spot, list[tuple[Step, Spot]]], most: int) -> dict[str, int]:
        """By action, the approvals that there can be where it is possible, at most `most`."""
        found: dict[str, int] = {}
        waiting = [(Spot(None), 0)]
        seen = set(waiting)
        for spot, given in waiting:  # it grows during the iteration
            for taken, target in spots[spot]:
                found[taken.label] = max(found.get(taken.label, 0), given)
                if given < min(self._wanted.get(taken.label, 0), most):
                    continue
                then = (target, min(self._after(taken, given), most))
                if then not in seen:
                    seen.add(then)
                    waiting.append(then)
        return found

    def _after(self, taken: Step, given: int) -> int:
        if not self._chart.has_action(taken.label):
            return given
        action = self._chart.action(taken.label)
        return 0 if action.document or action.lapses else given + action.approval


def uses_of(policy: Policy, chart: Chart, action: str) -> list[GuardUse]:
    """The guards that an action is always asked for: those of the policy, and those of every transition in the lifecycle."""
    uses = list(policy.uses.get(action, ()))
    if action in TAGGING or not chart.has_action(action):
        return uses
    moves = [move.guards for move in chart.transitions if move.action == action]
    return uses + [use for use in moves[0] if all(use in others for others in moves[1:])] if moves else uses


def _either(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return None if one is None or other is None else one | other


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
