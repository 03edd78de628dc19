"""Guards explained: their parameters with types and defaults, and an example that can be pasted into `policy.toml`.

The table of the built-in guards is in `registration.rules.guards.registry`; nothing that decides imports this module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registration.core.facts import OF_ALIASES
from registration.rules.guards.registry import BUILTIN, OF_AN_ALIAS, Parameter, kind_of

if TYPE_CHECKING:
    from registration.core.policy import Guard

OF_SOME_ALIASES = Parameter(
    "texts", about="for `move_alias` and `remove_alias` only: the aliases that it is for; default: all"
)

_KIND = """[[kinds]]
name = "mcp-server"
match = { "/$schema" = "https://static.modelcontextprotocol.io/schemas/*" }
"""

_CARD = """[[kinds]]
name = "agent-card"
match = { "/skills" = true }
"""

EXAMPLES: Mapping[str, str] = {
    "reason_given": """[[guards]]
guard = "reason_given"
actions = ["reject", "repair"]
""",
    "role": """[roles]
reviewer = ["bea", "cyd"]

[[guards]]
guard = "role"
actions = ["approve", "reject"]
any = ["reviewer"]
""",
    "not_the_author": """[[guards]]
guard = "not_the_author"
actions = ["approve", "register"]
scope = "manifest"
""",
    "approvals": """[roles]
security = ["sam", "tom"]

[[guards]]
guard = "approvals"
actions = ["register"]
count = 2
roles = { security = 1 }
""",
    "schema": f"""{_KIND}schema = "schemas/server.schema.json"      # in the policy's directory

[[guards]]
guard = "schema"
actions = ["create", "revise"]
required = true
""",
    "name": """[[guards]]
guard = "name"
actions = ["create", "revise"]
pattern = 'io\\.github\\.acme/[a-z-]+'
""",
    "version": """[[guards]]
guard = "version"
actions = ["create", "revise"]
semver = true
""",
    "mcp_server": f"""{_KIND}
[[guards]]
guard = "mcp_server"
actions = ["create", "revise"]
publish = true
kinds = ["mcp-server"]
""",
    "a2a_agent_card": f"""{_CARD}
[[guards]]
guard = "a2a_agent_card"
actions = ["create", "revise"]
kinds = ["agent-card"]
""",
    "a2a_card_compatible": f"""{_CARD}
[[guards]]
guard = "a2a_card_compatible"
actions = ["revise"]
kinds = ["agent-card"]
""",
}
"""By built-in guard, a whole policy that uses it."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A guard explained. summary: one line. parameters: by name, in the order of the guard. example: a policy that uses it, as TOML."""

    guard: str
    summary: str
    parameters: Mapping[str, Parameter]
    example: str


CHECKS: Mapping[str, Explained] = {
    "once": Explained(
        "once",
        "each person approves a document once, under the same rules and in whatever spelling; always checked, and never named in a policy",
        {},
        "",
    ),
    "limits": Explained(
        "limits",
        "nothing goes beyond [limits] of the policy; without it, a document has at most 256 approvals, and a manifest 64 authors",
        {
            "people": Parameter(
                "count", about="how many people approve a document, and submit documents of a manifest"
            ),
            "revisions": Parameter("count", about="how many documents a manifest has, one after the other"),
            "bytes": Parameter("count", about="the size of a manifest's log from which on no event is added"),
            "drafts": Parameter("count", about="how many manifests an actor creates in a day (UTC)"),
            "refusals": Parameter("count", about="how many commands of an actor are refused in a day (UTC)"),
        },
        "[limits]\npeople = 20\nrevisions = 100\ndrafts = 50\n",
    ),
    "actor": Explained(
        "actor",
        "the name of the actor can be one of a new actor, and came in as [actors] of the policy demands",
        {
            "source": Parameter(
                "texts", choices=("login",), about="how an actor must be known; default: by any given name"
            ),
            "one_script": Parameter(
                "flag", default=False, about="whether a new name with letters of several scripts is refused"
            ),
        },
        '[actors]\nsource = ["login"]\n',
    ),
    "required": Explained(
        "required", "the arguments that the lifecycle requires for the action are given", {}, ""
    ),
    "unclaimed": Explained("unclaimed", "no other actor holds the lock on the manifest", {}, ""),
}
"""Checks besides the guards, which `why` names as it names guards. No policy names them."""


def explain_guard(name: str, extra: Mapping[str, Guard] | None = None) -> Explained:
    """A guard explained: a built-in one, one of `extra`, or an installed one; or a check that is always made.

    Raises:
        InvalidArgument: when there is none, with the closest name; when it can't be loaded.
    """
    if name in CHECKS and name not in (extra or {}):
        return CHECKS[name]
    kind = kind_of(name, extra)
    parameters = {said: one for said, one in kind.parameters.items() if isinstance(one, Parameter)}
    example = EXAMPLES[name] if name in BUILTIN else _example(name, parameters)
    if name in OF_AN_ALIAS or name not in BUILTIN:
        parameters.setdefault(OF_ALIASES, OF_SOME_ALIASES)
    return Explained(name, kind.summary.rstrip("."), parameters, example)


def _example(name: str, parameters: Mapping[str, Parameter]) -> str:
    """A use of a guard that brings no example: its parameters with the least that they take."""
    lines = ["[[guards]]", f"guard = {_toml(name)}", 'actions = ["create", "revise"]']
    lines += [f"{said} = {_toml(_least(one))}" for said, one in parameters.items()]
    return "".join(f"{line}\n" for line in lines)


def _least(parameter: Parameter) -> Any:
    if parameter.default is not None:
        return parameter.default
    text = parameter.choices[0] if parameter.choices else "text"
    return {
        "flag": True,
        "count": parameter.least,
        "text": text,
        "pattern": "[a-z]+",
        "texts": [text],
        "counts": {text: parameter.least},
    }[parameter.type]


def _toml(value: Any) -> str:
    """A value as TOML: basic strings are written as in JSON."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_toml(name)} = {_toml(one)}' for name, one in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
