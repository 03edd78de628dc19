"""The JSON Schema of `hooks.toml`, so that editors complete and check it while it is written.

A file that is read is valid under it. What no schema can tell, such as whether a secret is there or a state exists, is found by
`hooks check`. The meaning of each member is in `registration.feed.hooks.hook_file`.
"""

from __future__ import annotations

from typing import Any

from registration.feed.consumers import NAME_CHARACTERS_MAX
from registration.feed.hooks.hook_file import (
    ATTEMPTS_MAX,
    DELIVERING,
    TIMEOUT_S,
    TIMEOUT_S_MAX,
    USUAL_AREAS,
    WAIT_S_MAX,
)
from registration.storage import layout

_TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1}}


def _seconds(default: float, most: float, about: str) -> dict[str, Any]:
    return {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": most,
        "default": default,
        "description": about,
    }


_MEMBERS: dict[str, Any] = {
    "name": {
        "type": "string",
        "pattern": f"^[A-Za-z0-9][A-Za-z0-9._~@+-]{{0,{NAME_CHARACTERS_MAX - 1}}}$",
        "description": "Its name. Its consumer of the feed is hook:NAME.",
    },
    "command": {
        "type": "array",
        "prefixItems": [{"minLength": 1}],
        "items": {"type": "string"},
        "minItems": 1,
        "description": "The program and its arguments, without a shell. The event is on its standard input; exit code 0 means success.",
    },
    "url": {
        "type": "string",
        "format": "uri",
        "description": "The endpoint to which events are posted, signed.",
    },
    "secrets": {
        "type": "array",
        "items": {"type": "string", "pattern": "^(env|file):."},
        "minItems": 1,
        "description": "The secrets of the signatures: env:NAME or file:PATH. During a rotation, the new one first.",
    },
    "states": {
        **_TEXTS,
        "description": "Only events that lead to these states; a parent state includes its children.",
    },
    "actions": {**_TEXTS, "description": "Only events of these actions."},
    "types": {**_TEXTS, "description": "Only events of these types, with * and ? as in file names."},
    "areas": {
        "type": "array",
        "items": {"enum": list(layout.LOG_AREAS)},
        "default": list(USUAL_AREAS),
        "description": "The areas whose events it receives.",
    },
    "timeout_s": _seconds(TIMEOUT_S, TIMEOUT_S_MAX, "The seconds that one attempt may take."),
    "allow_private": {
        "type": "boolean",
        "default": False,
        "description": "Whether the endpoint may be in a private network, and use plain HTTP there.",
    },
    "ca_file": {
        "type": "string",
        "minLength": 1,
        "description": "Certificates to trust instead of those of the system.",
    },
    "attempts_max": {
        "type": "integer",
        "minimum": 1,
        "maximum": ATTEMPTS_MAX,
        "default": DELIVERING.attempts_max,
        "description": "The number of attempts before an event becomes a dead letter.",
    },
    "wait_s": _seconds(
        DELIVERING.base_s, WAIT_S_MAX, "The seconds before the second attempt; each wait is longer."
    ),
    "wait_s_max": _seconds(
        DELIVERING.cap_s, WAIT_S_MAX, "The longest wait between two attempts, in seconds."
    ),
    "start": {
        "enum": ["now", "start"],
        "default": "now",
        "description": "Where a new hook begins: with the next event, or with the first one of the registry.",
    },
}


def hooks_schema() -> dict[str, Any]:
    """The JSON Schema of `hooks.toml`."""
    of_a_url = dict.fromkeys(("url", "secrets", "allow_private", "ca_file"), False)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hooks.toml",
        "description": "Commands and webhooks that receive the events of a registry.",
        "type": "object",
        "properties": {
            "hooks": {
                "type": "array",
                "description": "The hooks. Each event is delivered at least once, in order for each manifest.",
                "items": {
                    "type": "object",
                    "properties": _MEMBERS,
                    "additionalProperties": False,
                    "required": ["name"],
                    "oneOf": [
                        {"required": ["command"], "properties": of_a_url},
                        {"required": ["url", "secrets"], "properties": {"command": False}},
                    ],
                },
            }
        },
        "additionalProperties": False,
    }
