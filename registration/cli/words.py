"""The command line's wording of next steps: each step, which the library returns as data, as a line to type.

It imports only the errors, so that every command can show the lines to type.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from registration.errors import GuardRefused
from registration.pipeline.wire.reasons import Wording

if TYPE_CHECKING:
    from registration.errors import Next, Operation, RegistrationError

_LINES: Mapping[Operation, tuple[str, ...]] = {
    "list": ("list",),
    "show": ("show", "<id>"),
    "why": ("why", "<id>"),
    "verify": ("verify", "<id>"),
    "recover": ("recover", "<id>"),
    "repair": ("repair", "<id>"),
    "receipt": ("receipt", "<id>"),
    "init": ("init", "<id>"),
    "import": ("import", "<source>"),
    "alias.list": ("alias", "list", "<id>"),
    "alias.set": ("alias", "set", "<id>", "<alias>", "<version>"),
    "alias.remove": ("alias", "remove", "<id>", "<alias>"),
    "names.list": ("names", "list", "<id>"),
    "query": ("query", "<sql>"),
    "query.schema": ("query", "--schema"),
    "consumers.list": ("consumers", "status"),
    "consumers.status": ("consumers", "status", "<id>"),
    "consumers.reset": ("consumers", "reset", "<id>"),
    "consumers.retry": ("consumers", "retry", "<id>"),
    "consumers.skip": ("consumers", "skip", "<id>"),
    "follow": ("follow",),
    "hooks.redeliver": ("hooks", "redeliver", "<id>"),
    "lifecycle.graph": ("graph",),
    "lifecycle.migrate": ("lifecycle", "migrate", "<file>"),
    "lifecycle.show": ("lifecycle", "show"),
    "policy.apply": ("policy", "apply", "<file>"),
    "policy.approve": ("policy", "approve"),
    "policy.propose": ("policy", "propose", "<file>"),
    "locks.break": ("locks", "break", "<id>"),
    "locks.claim": ("claim", "<id>"),
    "locks.list": ("locks", "list"),
    "locks.release": ("release", "<id>"),
    "sessions.cancel": ("wizard", "cancel", "<id>"),
    "sessions.delete": ("wizard", "delete", "<id>"),
    "sessions.list": ("wizard", "list"),
    "sessions.restart": ("wizard", "restart", "<id>"),
    "sessions.resume": ("wizard", "resume", "<id>"),
    "sessions.show": ("wizard", "show", "<id>"),
    "sessions.start": ("wizard", "start", "<wizard>"),
}
"""The command for each operation. A word in angle brackets is filled in: the step's id, or one of its words."""

_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "create": ("create",),
    "revise": ("revise", "<id>"),
    "submit_for_review": ("submit", "<id>"),
    "approve": ("approve", "<id>"),
    "reject": ("reject", "<id>"),
    "register": ("register", "<id>"),
    "tag": ("tag", "add", "<id>", "<tags>"),
    "untag": ("tag", "remove", "<id>", "<tags>"),
}
"""The actions that have a command of their own; all others are done by `registration act`."""

_WITH_DOCUMENT = ("create", "revise")
"""Actions whose command takes a document; without one in a lifecycle, `registration act` runs them."""

_FORMS: Mapping[str, str] = {
    "actor": "NAME",
    "alias": "ALIAS",
    "context": "JSON",
    "document": "FILE",
    "file": "FILE",
    "id": "ID",
    "source": "FILE",
    "sql": "SQL",
    "tags": "TAG",
    "time_limit": "SECONDS",
    "to": "CURSOR",
    "version": "VERSION",
    "wizard": "NAME",
}
"""The placeholder of a missing argument in a line; TEXT for all others."""


def line(step: Next) -> str:
    """The line that takes a step at a terminal; words in capitals are to be filled in."""
    known: dict[str, Any] = {**step.given, **dict.fromkeys(step.missing)}
    if step.actor is not None:
        known["actor"] = step.actor
    words = ["registration"]
    for word in _words(step):
        name = word[1:-1] if word[0] == "<" else ""
        if name == "id" and step.id is not None:
            words.append(step.id)
        elif name == "id" and name not in known:
            continue
        elif name:
            words += _values(name, known.pop(name, None))
        else:
            words.append(word)
    for name in dict.fromkeys((*step.missing, "actor", *step.given)):
        if name in known:
            flag = f"--{name.replace('_', '-')}"
            words += [flag] if known[name] is True else [flag, *_values(name, known[name])]
    return shlex.join(words)


def _words(step: Next) -> tuple[str, ...]:
    if step.operation != "act":
        return _LINES[step.operation]
    assert step.action is not None
    words = ("act", "<id>", step.action)
    if "document" in step.missing:
        return (*_ACTIONS.get(step.action, words), "<document>")
    return words if step.action in _WITH_DOCUMENT else _ACTIONS.get(step.action, words)


def _values(name: str, value: Any) -> list[str]:
    """An argument as typed; None: a placeholder."""
    if value is None:
        return [_FORMS.get(name, "TEXT")]
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return [value if isinstance(value, str) else orjson.dumps(value).decode()]


def advice(sentence: str, steps: Sequence[Next]) -> str:
    """The advice, with the lines that carry it out, as in "Make one: `registration init`."."""
    if not steps:
        return sentence
    lines = ", ".join(f"`{line(step)}`" for step in steps)
    return f"{sentence.removesuffix('.')}: {lines}."


def told_of(error: RegistrationError) -> str:
    """The advice of an error. A guard's remedy is unchanged: its lines are listed separately."""
    return error.next_step if isinstance(error, GuardRefused) else advice(error.next_step, error.next)


class Shell(Wording):
    """Next steps as lines for a shell."""

    def step(self, step: Next) -> str:
        """See `line`."""
        return line(step)

    def advice(self, sentence: str, steps: Sequence[Next]) -> str:
        """See `advice`."""
        return advice(sentence, steps)


SHELL = Shell()
"""How everything that the command line prints is worded, JSON included."""
