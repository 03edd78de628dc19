"""Policies to begin with: files that come with the package, with people put into their roles.

A template is a `policy.toml` with comments, for people to edit; its roles have no members, and a gate that nobody can pass is never
made of it: every role needs at least one person.
"""

from __future__ import annotations

import json
import pkgutil
import tomllib
from collections.abc import Mapping, Sequence

from registration.core.decider import nearest
from registration.errors import InvalidArgument
from registration.values.people import name_problems

TEMPLATES: Mapping[str, str] = {
    "four-eyes": "another person than the author approves",
    "team": "reviewers approve, owners register and change the rules",
    "mcp": "as team, for MCP servers: each document is valid for the MCP registry",
}
"""The templates by name, with a summary of one line."""


def template_roles(name: str) -> list[str]:
    """The roles of a template, in the order of the file: each needs at least one person.

    Raises:
        InvalidArgument: when there is no such template.
    """
    return list(tomllib.loads(_text(name)).get("roles", {}))


def policy_template(name: str, members: Mapping[str, Sequence[str]] | None = None) -> bytes:
    """A template as a `policy.toml`. members: people by role.

    Raises:
        InvalidArgument: when there is no such template or role, when a role has no members, or when a name is one that no actor may have.
    """
    text, roles, members = _text(name), template_roles(name), members or {}
    for role, people in members.items():
        if role not in roles:
            what = f"Its roles are {', '.join(roles)}." if roles else "It has no roles."
            raise InvalidArgument(
                f"The policy {name!r} has no role {role!r}.{nearest(role, roles)}",
                what,
                role=role,
                roles=roles,
            )
        for person in people:
            wrong = ("it is empty",) if not person else name_problems(person)
            if wrong:
                raise InvalidArgument(
                    f"{person!r} can't be an actor: {wrong[0]}.", "Correct the name.", role=role
                )
    missing = [role for role in roles if not members.get(role)]
    if missing:
        raise InvalidArgument(
            f"The policy {name!r} needs at least one person as {' and one as '.join(missing)}.",
            "Nobody could pass its gate otherwise.",
            missing=missing,
        )
    for role in roles:
        listed = json.dumps(list(dict.fromkeys(members[role])), ensure_ascii=False)
        text = text.replace(f"\n{role} = []\n", f"\n{role} = {listed}\n", 1)
    return text.encode()


def _text(name: str) -> str:
    if name not in TEMPLATES:
        raise InvalidArgument(
            f"No policy {name!r} comes with the package.{nearest(name, TEMPLATES)}",
            f"There are {', '.join(TEMPLATES)}.",
            policy=name,
            policies=list(TEMPLATES),
        )
    raw = pkgutil.get_data("registration.rules.policies", f"{name}.toml")
    assert raw is not None
    return raw.decode()
