"""Tiers: half-open intervals of an amount or a rank, in ascending order, no two of which overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from registration.onboarding.community.amounts import amount_problem, amount_text, units
from registration.onboarding.community.chains import BY_KEY

RANK_MAX = 1_000_000

Asset = Mapping[str, Any]
Tier = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """A tier in whole units: from `low` up to but not including `high`; None: unbounded."""

    name: str
    low: int
    high: int | None

    def overlaps(self, other: Span) -> bool:
        """Whether the two overlap."""
        return (self.high is None or other.low < self.high) and (other.high is None or self.low < other.high)


def measure_of(eligibility: Mapping[str, Any]) -> str:
    """The measure of an answer: ``amount`` or ``rank``."""
    if eligibility["template"] == "free":
        return str(eligibility["measure"])
    return "rank" if eligibility["template"] == "ranks" else "amount"


def tier_names(eligibility: Mapping[str, Any]) -> list[str]:
    """The names of an answer's tiers, in ascending order of the measure."""
    template = eligibility["template"]
    if template == "free":
        return [tier["name"] for tier in eligibility["tiers"]]
    return {
        "holders": ["Holder"],
        "steps": ["Bronze", "Silver", "Gold"],
        "ranks": ["Top 10", "Top 50", "Top 100"],
    }[template]


def tiers_of(eligibility: Mapping[str, Any], asset: Asset) -> list[dict[str, Any]]:
    """The tiers of an answer, or of its template. asset: the one that is measured."""
    template, names = eligibility["template"], tier_names(eligibility)
    if template == "free":
        return [
            {name: value for name, value in tier.items() if value is not None}
            for tier in eligibility["tiers"]
        ]
    if template == "ranks":
        bounds: list[str | None] = ["1", "11", "51", "101"]
    else:
        decimals = decimals_of(asset)
        first = units(asset["minimum"], decimals)
        bounds = [*(amount_text(first * 10**power, decimals) for power in range(len(names))), None]
    return [
        {"name": name, "at_least": low} if high is None else {"name": name, "at_least": low, "below": high}
        for name, (low, high) in zip(names, pairwise(bounds), strict=True)
    ]


def asset_of(key: str, assets: Sequence[Asset]) -> Asset | None:
    """The asset of that key; None if there is none."""
    return next((asset for asset in assets if asset["key"] == key), None)


def decimals_of(asset: Asset) -> int:
    """The decimals of an asset's amounts: 0 for NFTs."""
    return int(asset.get("decimals", 0))


def bound_problem(text: str, measure: str, asset: Asset) -> str | None:
    """The problem of one bound of a tier; None if it is valid."""
    if measure == "amount":
        chain = BY_KEY[asset["chain"]]
        return amount_problem(text, decimals=decimals_of(asset), chain=chain, of=asset["key"])
    if text.isascii() and text.isdecimal() and text[0] != "0" and len(text) <= 7 and int(text) <= RANK_MAX:
        return None
    return f"{text[:60]!r} is not a rank; ranks go from 1, the largest holder, to {RANK_MAX:,}"


def span_of(tier: Tier, measure: str, asset: Asset) -> Span:
    """A tier with valid bounds, in whole units."""
    decimals = decimals_of(asset) if measure == "amount" else 0
    high = tier.get("below")
    return Span(
        tier["name"], units(tier["at_least"], decimals), None if high is None else units(high, decimals)
    )


def spans_of(tiers: Sequence[Tier], measure: str, asset: Asset) -> list[Span]:
    """Tiers with valid bounds, in whole units."""
    return [span_of(tier, measure, asset) for tier in tiers]


def spoken(tier: Tier, measure: str, asset_key: str) -> str:
    """The interval in words: ``10 to below 100 HONEY``, ``ranks 1 to 10``."""
    low, high = tier["at_least"], tier.get("below")
    if measure == "amount":
        return f"{low} {asset_key} and more" if high is None else f"{low} to below {high} {asset_key}"
    if high is None:
        return f"rank {low} and all after it"
    return f"rank {low}" if int(high) == int(low) + 1 else f"ranks {low} to {int(high) - 1}"


def highest_first(eligibility: Mapping[str, Any]) -> list[str]:
    """The names of tiers, hardest to reach first: the largest amount, or the first ranks."""
    names = tier_names(eligibility)
    return names if measure_of(eligibility) == "rank" else names[::-1]
