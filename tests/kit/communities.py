"""A community that the tests bring in: good answers to every step, and ways to change one thing in them."""

from __future__ import annotations

import copy

from registration.onboarding.community import COMMUNITY
from registration.onboarding.community.proposals import proposed_roles

HONEY = {
    "kind": "token",
    "key": "HONEY",
    "chain": "berachain",
    "address": "0xFCBD14DC51f0A4d49d5E53C2E0950e0bC26d0Dce",
    "decimals": 18,
    "minimum": "100",
}
BEARS = {
    "kind": "nft",
    "key": "Bears",
    "chain": "solana",
    "address": "So11111111111111111111111111111111111111112",
    "minimum": "1",
}

ANSWERS = {
    "INIT": {"name": "honey-jar", "version": "1.0.0", "title": "The Honey Jar", "description": ""},
    "CHAIN_SELECT": {"chains": ["berachain", "solana"]},
    "ASSET_CONFIG": {"assets": [HONEY, BEARS]},
    "ELIGIBILITY_RULES": {
        "template": "steps",
        "asset": "HONEY",
        "also": ["Bears"],
        "measure": "amount",
        "tiers": [],
    },
    "ROLE_MAPPING": {"roles": proposed_roles({"template": "steps"})},
    "CHANNEL_STRUCTURE": {"template": "by-tier", "categories": []},
}


def answers_with(step, at, value, answers=ANSWERS):
    """The answers with another value at a JSON Pointer of one step; an empty one is the whole answer."""
    changed = copy.deepcopy(answers)
    *above, last = [step, *at.split("/")[1:]]
    inside = changed
    for name in above:
        inside = inside[int(name) if isinstance(inside, list) else name]
    inside[int(last) if isinstance(inside, list) else last] = value
    return changed


def problems_with(step, at, value):
    """What is wrong with a step's answer when one thing in it is changed."""
    return COMMUNITY.check(step, answers_with(step, at, value)[step], ANSWERS)[1]
