"""Suggested answers: a role for each tier, and the channels of each template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registration.onboarding.community.tiers import highest_first, tier_names

COLOURS = ("#F1C40F", "#95A5A6", "#CD7F32", "#3498DB", "#2ECC71", "#9B59B6", "#E67E22", "#1ABC9C")
"""From the highest tier down; repeated if there are more."""

_USUAL = [
    "view_channels",
    "read_history",
    "send_messages",
    "add_reactions",
    "embed_links",
    "connect",
    "speak",
]


def proposed_roles(eligibility: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A role for each tier, with its name; the highest may also attach files and open threads."""
    ranking = highest_first(eligibility)
    roles = []
    for name in tier_names(eligibility):
        place = ranking.index(name)
        more = ["attach_files", "create_threads"] if place == 0 else []
        roles.append(
            {
                "tier": name,
                "name": name,
                "colour": COLOURS[place % len(COLOURS)],
                "permissions": [*_USUAL, *more],
            }
        )
    return roles


def categories_of(channels: Mapping[str, Any], eligibility: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The categories of an answer, or of its template."""
    if channels["template"] == "free":
        return [dict(category) for category in channels["categories"]]
    ranking = highest_first(eligibility)
    everybody = dict.fromkeys(ranking, "write")
    readers = dict.fromkeys(ranking, "read")
    shared = [
        _channel("general", "text", everybody),
        _channel("lounge", "voice", everybody),
    ]
    announcements = _channel("announcements", "announcement", readers)
    own = {
        "name": "Tiers",
        "channels": [
            _channel(name, "text", dict.fromkeys(ranking[: place + 1], "write"))
            for place, name in enumerate(ranking)
        ],
    }
    if channels["template"] == "plain":
        return [{"name": "Community", "channels": [announcements, *shared]}]
    if channels["template"] == "by-tier":
        return [{"name": "Community", "channels": [announcements, *shared]}, own]
    return [
        {
            "name": "Information",
            "channels": [
                _channel("welcome", "text", readers),
                _channel("rules", "text", readers),
                announcements,
            ],
        },
        {"name": "Community", "channels": [*shared, _channel("ideas", "forum", everybody)]},
        own,
        {"name": "Support", "channels": [_channel("help", "forum", everybody)]},
    ]


def _channel(name: str, kind: str, access: Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, "kind": kind, "access": dict(access)}
