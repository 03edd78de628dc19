"""A lifecycle as JSON values and back: the form that is stored by digest, and that lifecycle files have.

::

    {"format": 1, "name": "registration", "version": 1,
     "states": [{"name": "DRAFT"}, {"name": "IN_REVIEW", "initial": "REVIEWED"}, …],
     "actions": [{"name": "approve", "past": "approved", "approval": true,
                  "moves": [{"from": "REVIEWED", "to": "APPROVED", "guards": ["reason_given"]}]}, …],
     "timeouts": [{"name": "expire", "past": "expired", "state": "DRAFT", "after": "14d", "to": "EXPIRED"}]}

Defaults (false, empty, none) are left out, so that one lifecycle has one form and one digest. A guard is its
name, or, with parameters, an object that has its name as ``guard``. `claims` and `releases` are only
present if they differ from the default for the word of the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registration.core.chart import CLAIMING, RELEASING, Action, Chart, GuardUse, State, Timeout, Transition

FORMAT = 1


def as_data(chart: Chart, version: int) -> dict[str, Any]:
    """A chart as JSON values, without defaults."""
    data: dict[str, Any] = {"format": FORMAT, "name": chart.name, "version": version}
    if chart.title:
        data["title"] = chart.title
    data["states"] = [{"name": state.name, **_without_usual(_STATE, state)} for state in chart.states]
    data["actions"] = [
        {
            "name": action.name,
            **_without_usual(_ACTION, action),
            **_names(action),
            "moves": [_move(move) for move in chart.transitions if move.action == action.name],
        }
        for action in chart.actions
    ]
    if chart.timeouts:
        data["timeouts"] = [
            {"name": one.name, "past": one.past, "state": one.state, "after": one.after, "to": one.target}
            | ({"sliding": True} if one.sliding else {})
            | _names(one)
            for one in chart.timeouts
        ]
    return data


def from_data(data: Mapping[str, Any]) -> Chart:
    """The chart of JSON values in the form that `as_data` gives.

    The form is not validated again: it was when the lifecycle was loaded.

    Raises:
        InvalidDefinition: when the chart contradicts itself.
    """
    return Chart(
        name=data["name"],
        title=data.get("title", ""),
        states=tuple(State(**state) for state in data["states"]),
        actions=tuple(_action(action) for action in data["actions"]),
        transitions=tuple(
            Transition(
                action["name"],
                move.get("from"),
                move["to"],
                tuple(_guard(guard) for guard in move.get("guards", ())),
            )
            for action in data["actions"]
            for move in action["moves"]
        ),
        timeouts=tuple(
            Timeout(
                one["name"],
                one["past"],
                one["state"],
                one["after"],
                one["to"],
                one.get("sliding", False),
                one.get("releases"),
            )
            for one in data.get("timeouts", ())
        ),
    )


_STATE = {
    "parent": None, "initial": None, "final": False, "parallel": False, "done": None, "history": False, "title": "",
}  # fmt: skip
_ACTION = {
    "past": None, "document": False, "approval": False, "lapses": False, "required": (), "undone_by": None,
    "title": "", "schema": 1, "shared": False,
}  # fmt: skip


def _without_usual(usual: Mapping[str, Any], of: State | Action) -> dict[str, Any]:
    said = {name: getattr(of, name) for name in usual}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in said.items()
        if value != usual[name]
    }


def _names(of: Action | Timeout) -> dict[str, Any]:
    """`claims` and `releases`, if they are not the default for an event of that word."""
    said: dict[str, Any] = {}
    if isinstance(of, Action) and of.claims_name != (of.past == CLAIMING):
        said["claims"] = of.claims_name
    if of.releases_name != (of.past == RELEASING):
        said["releases"] = of.releases_name
    return said


def _move(move: Transition) -> dict[str, Any]:
    said: dict[str, Any] = {"to": move.target}
    if move.source is not None:
        said = {"from": move.source, **said}
    if move.guards:
        said["guards"] = [
            {"guard": use.name, **use.parameters} if use.parameters else use.name for use in move.guards
        ]
    return said


def _action(said: Mapping[str, Any]) -> Action:
    rest = {member: value for member, value in said.items() if member not in ("moves", "required")}
    return Action(required=tuple(said.get("required", ())), **rest)


def _guard(said: str | Mapping[str, Any]) -> GuardUse:
    if isinstance(said, str):
        return GuardUse(said)
    return GuardUse(said["guard"], {name: value for name, value in said.items() if name != "guard"})
