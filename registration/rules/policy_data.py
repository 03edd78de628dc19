"""Policies as they are stored by digest: from their data back to a `Policy`. Without pydantic, for programs that only verify.

Format 2 is the rules alone; the roster has a file of its own. Format 1 is that of release 0.1: rules and roles in one document.
The data itself is made by `registration.core.policy.Policy.data`; `registration.rules.policy_file` reads `policy.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from registration.core.chart import GuardUse
from registration.core.facts import ALIAS_ACTIONS, OF_ALIASES
from registration.core.policy import Guard, Kind, Limits, Policy
from registration.errors import StoreError
from registration.rules.guards.registry import BUILTIN, guard_of

FORMATS = (1, 2)
"""The formats that this release reads. It writes the last one."""

NO_RULES: Mapping[str, Any] = {"format": 2, "name": "", "log_refusals": False, "kinds": [], "guards": {}}
"""The data that a policy without rules would have."""


def policy_from(
    data: Mapping[str, Any] | None,
    schema: Callable[[str], Any],
    guards: Mapping[str, Guard] | None = None,
    *,
    roster: Mapping[str, Any] | None = None,
    rules_of: Callable[[str], str | None] = lambda _: None,
) -> Policy:
    """The policy that was stored as `Policy.data`, of either format; None: one without rules.

    schema: returns a JSON Schema by its digest. guards: the program's own, by name. roster: as `Policy.roster_data`; format 1
    contains its own. rules_of: as in `Policy`.

    Raises:
        StoreError: when the data or the roster is not of a known format.
        InvalidArgument: when a guard is not installed here.
    """
    policy = _rules(data, roster)
    return replace(
        policy,
        schemas={kind.schema: schema(kind.schema) for kind in policy.kinds if kind.schema is not None},
        guards={name: guard_of(name, guards) for name in sorted(_guards(policy))},
        rules_of=rules_of,
    )


def rules_digest(data: Mapping[str, Any] | None) -> str:
    """The digest that these rules have in format 2, whatever format they are stored in; empty if there is nothing but roles.

    Raises:
        StoreError: when the data is not of a known format.
    """
    policy = _rules(data, None)
    if policy.format == 1:
        policy = replace(policy, format=2, uses=canonical(policy.uses))
    return policy.digest or ""


def canonical(uses: Mapping[str, tuple[GuardUse, ...]]) -> dict[str, tuple[GuardUse, ...]]:
    """The same uses of guards with each parameter that is a set sorted, so that the order in a file changes no digest."""
    return {of: tuple(_canonical(of, use) for use in found) for of, found in uses.items()}


def _canonical(of: str, use: GuardUse) -> GuardUse:
    known = BUILTIN[use.name].parameters if use.name in BUILTIN else {}
    sets = {name for name, parameter in known.items() if parameter.type == "texts"}
    if of in ALIAS_ACTIONS.values():
        sets.add(OF_ALIASES)
    return GuardUse(
        use.name,
        {
            name: sorted(set(value)) if name in sets and _is_texts(value) else value
            for name, value in use.parameters.items()
        },
    )


def _is_texts(value: object) -> bool:
    """Whether it is a list of texts; stored rules that were tampered with can have anything."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _guards(policy: Policy) -> set[str]:
    """The names of the guards that a policy asks: for actions, and for changes of the registry."""
    return {use.name for uses in (*policy.uses.values(), *policy.governance.values()) for use in uses}


def _rules(data: Mapping[str, Any] | None, roster: Mapping[str, Any] | None) -> Policy:
    """The policy without schemas and guards. What comes out has the same data as went in, or it is not of a known format."""
    try:
        policy = _read(NO_RULES if data is None else data, roster)
        if policy.data == data and (policy.format == 1 or policy.roster_data == roster) and _typed(policy):
            return policy
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    found = data.get("format") if isinstance(data, Mapping) else None
    if type(found) is int and found > FORMATS[-1]:
        raise StoreError(
            f"The stored policy has format {found}; expected 1 or 2.",
            "A later release wrote it. Upgrade this program.",
            format=found,
        )
    raise StoreError(
        "The stored policy, or its roster, is not a document of format 1 or 2.",
        "Restore `rules/` from a backup.",
        format=found,
    )


def _read(data: Mapping[str, Any], roster: Mapping[str, Any] | None) -> Policy:
    roles = data["roles"] if data["format"] == 1 else ({} if roster is None else roster["roles"])
    actors = data.get("actors", {"source": [], "one_script": False})
    return Policy(
        format=data["format"],
        name=data["name"],
        roles={role: tuple(people) for role, people in roles.items()},
        kinds=tuple(Kind(one["name"], one["match"], one["schema"], one["pointer"]) for one in data["kinds"]),
        uses=_uses(data["guards"]),
        log_refusals=data["log_refusals"],
        exclusive=tuple(data["claims"]["exclusive"]) if "claims" in data else None,
        sources=tuple(actors["source"]),
        one_script=actors["one_script"],
        limits=Limits(**data.get("limits", {})),
        governance=_uses(data.get("governance", {})),
    )


def _typed(policy: Policy) -> bool:
    """Whether the values are of the types that a `Policy` promises. Parameters are the guards' own concern."""
    texts = [policy.name, *policy.uses, *policy.governance, *policy.roles, *policy.sources]
    texts += [
        *(policy.exclusive or ()),
        *_guards(policy),
        *(one for kind in policy.kinds for one in kind.match),
    ]
    texts += [person for people in policy.roles.values() for person in people]
    for kind in policy.kinds:
        texts += [kind.name, kind.schema or "", kind.schema_pointer]
    numbers = [policy.format, *(number for number in asdict(policy.limits).values() if number is not None)]
    flags = [policy.log_refusals, policy.one_script]
    return (
        policy.format in FORMATS
        and all(isinstance(text, str) for text in texts)
        and all(type(number) is int and number > 0 for number in numbers)
        and all(type(flag) is bool for flag in flags)
    )


def _uses(said: Mapping[str, Any]) -> dict[str, tuple[GuardUse, ...]]:
    return {
        of: tuple(
            GuardUse(use["guard"], {name: value for name, value in use.items() if name != "guard"})
            for use in uses
        )
        for of, uses in said.items()
    }
