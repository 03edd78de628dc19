"""Lifecycles from their data form: those that a registry stores, and those shipped with the package.

Every opening of a registry needs this, so it is light: no pydantic. The form is not validated again; files by people
are validated by `registration.rules.lifecycles.files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from registration.core.chart_data import from_data
from registration.core.decider import nearest
from registration.core.definition import Definition
from registration.errors import InvalidArgument, InvalidDefinition
from registration.rules.guards.registry import guard_of
from registration.rules.lifecycles.facts import EVOLVES_ON, keep_facts
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.documents import digest_of

if TYPE_CHECKING:
    from registration.core.chart import Chart
    from registration.core.definition import Upcaster
    from registration.core.policy import Guard

SHIPPED: Mapping[str, str] = {
    "registration": "draft, review, approve, register; REGISTERED is final",
    "registration-upkeep": "the same, and then deprecate, suspend, withdraw, and back again",
}
"""The shipped lifecycles, by name, with a summary of one line."""


def shipped(name: str) -> dict[str, Any]:
    """The data form of a shipped lifecycle.

    Raises:
        InvalidArgument: when there is none of that name.
    """
    if name == REGISTRATION.name:
        return dict(REGISTRATION.data)
    if name not in SHIPPED:
        raise InvalidArgument(
            f"No lifecycle {name!r} comes with the package.{nearest(name, SHIPPED)}",
            f"There are {', '.join(SHIPPED)}.",
            lifecycle=name,
            shipped=list(SHIPPED),
        )
    import pkgutil  # noqa: PLC0415  # when a registry is made with this one, and then no more

    from registration.rules.lifecycles.files import parse_lifecycle  # noqa: PLC0415  # pydantic

    raw = pkgutil.get_data("registration.rules.lifecycles", f"{name}.toml")
    assert raw is not None
    return parse_lifecycle(raw, source=f"{name}.toml", form="toml")


def definition_of(
    data: Mapping[str, Any],
    *,
    guards: Mapping[str, Guard] | None = None,
    earlier: frozenset[str] = frozenset(),
) -> Definition:
    """The definition of a lifecycle in its data form; for the built-in one, the shared definition.

    guards: those of the program, by name, besides the built-in and the installed ones. earlier: event types that were
    written under earlier versions.

    Raises:
        InvalidDefinition: when the chart contradicts itself, or one of its guards is unknown.
    """
    if digest_of(data) == REGISTRATION.identity["digest"]:
        return REGISTRATION if earlier <= REGISTRATION.event_types else replace(REGISTRATION, earlier=earlier)
    chart = from_data(data)
    found: dict[str, Guard] = {}
    problems = []
    for move in chart.transitions:
        for use in move.guards:
            try:
                found[use.name] = guard_of(use.name, guards)
            except InvalidArgument as error:
                problems.append(f"actions.{move.action}.guards: {error}")
    if problems:
        raise InvalidDefinition(chart.name, list(dict.fromkeys(problems)))
    return Definition(
        chart=chart,
        guards=found,
        evolve=keep_facts,
        evolves_on=EVOLVES_ON,
        version=data["version"],
        upcasters=_upcasters(chart, earlier),
        earlier=earlier,
    )


def _upcasters(chart: Chart, earlier: frozenset[str]) -> Mapping[str, Upcaster]:
    """The upcasters of the built-in lifecycle, for another version of it, as far as it has the events."""
    if chart.name != REGISTRATION.name:
        return {}
    written = {f"{chart.name}.{action.past}.v{action.schema}" for action in chart.actions} | earlier
    last: dict[str, int] = {}
    for base, _, schema in (type.rpartition(".v") for type in written):
        last[base] = max(int(schema), last.get(base, 1))
    known = ((type.rpartition(".v"), upcaster) for type, upcaster in REGISTRATION.upcasters.items())
    return {
        f"{base}.v{schema}": upcaster
        for (base, _, schema), upcaster in known
        if int(schema) < last.get(base, 1)
    }
