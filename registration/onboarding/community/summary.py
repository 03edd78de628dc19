"""The review: the whole community in words, with warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from registration.onboarding.community.chains import BY_KEY
from registration.onboarding.community.manifest import remarks
from registration.onboarding.community.tiers import spoken

Section = tuple[str, Sequence[str]]


def summary_of(document: Mapping[str, Any]) -> list[Section]:
    """A community's manifest as titled lines, in the order of the steps; warnings last, if any."""
    sections: list[Section] = [
        ("Community", [f"{document['title']} ({document['name']}@{document['version']})"]),
        ("Chains", [BY_KEY[chain["key"]].title for chain in document["chains"]]),
        ("Assets", [_asset(asset) for asset in document["assets"]]),
        ("Tiers", _tiers(document["eligibility"])),
        ("Roles", [_role(role) for role in document["roles"]]),
        ("Channels", [line for category in document["categories"] for line in _category(category)]),
    ]
    if found := remarks(document):
        sections.append(("Warnings", found))
    return sections


def _asset(asset: Mapping[str, Any]) -> str:
    chain = BY_KEY[asset["chain"]].title
    what = f"token, {asset['decimals']} decimals" if asset["kind"] == "token" else "NFT collection"
    return f"{asset['key']}: {what}, on {chain} at {asset['address']}; at least {asset['minimum']}"


def _tiers(eligibility: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{tier['name']}: {spoken(tier, eligibility['measure'], eligibility['asset'])}"
        + (f" among holders of {eligibility['asset']}" if eligibility["measure"] == "rank" else "")
        for tier in eligibility["tiers"]
    ]
    if eligibility["also"]:
        lines.append(f"Every member also holds the minimum of {', '.join(eligibility['also'])}")
    return lines


def _role(role: Mapping[str, Any]) -> str:
    may = ", ".join(role["permissions"]) or "nothing"
    return f"{role['tier']} is {role['name']!r}, {role['colour']}; may {may}"


def _category(category: Mapping[str, Any]) -> list[str]:
    lines = [category["name"]]
    for channel in category["channels"]:
        by_access = {
            access: [tier for tier, given in channel["access"].items() if given == access]
            for access in ("write", "read")
        }
        told = [f"{access}: {', '.join(tiers)}" for access, tiers in by_access.items() if tiers]
        lines.append(f"  {channel['name']} ({channel['kind']}) {'; '.join(told) or 'hidden from everyone'}")
    return lines
