"""Consistency checks: across the members of an answer, and across steps.

Each takes well-formed answers, yields every problem, and changes nothing. The same checks apply to
the steps of the wizard and for a whole manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

from registration.onboarding.community.addresses import address_problem, canonical
from registration.onboarding.community.amounts import amount_problem
from registration.onboarding.community.chains import BY_KEY, DECIMALS_MAX, DECIMALS_USUAL
from registration.onboarding.community.forms import ACCESS_MAX, absence
from registration.onboarding.community.tiers import (
    Asset,
    Span,
    Tier,
    asset_of,
    bound_problem,
    decimals_of,
    measure_of,
    span_of,
    spoken,
    tiers_of,
)
from registration.onboarding.wizards.wizard import Problem
from registration.values.pointers import pointer

Answer = Mapping[str, Any]
Problems = Iterator[Problem]


def chain_problems(answer: Answer) -> Problems:
    """The chains are distinct."""
    for at, key in enumerate(answer["chains"]):
        if key in answer["chains"][:at]:
            yield _at(f"{BY_KEY[key].title} is chosen twice; remove one", "chains", at)


def asset_problems(answer: Answer, chains: Collection[str]) -> Problems:
    """Each asset is on a chosen chain, has a valid address, decimals and minimum there, and is unique."""
    seen: dict[tuple[str, str], str] = {}
    keys: set[str] = set()
    for at, asset in enumerate(answer["assets"]):
        chain = BY_KEY[asset["chain"]]
        if asset["key"].casefold() in keys:
            yield _at(f"duplicate asset {asset['key']!r}; rename one", "assets", at, "key")
        keys.add(asset["key"].casefold())
        if chain.key not in chains:
            chosen = ", ".join(BY_KEY[key].title for key in chains)
            yield _at(
                f"{chain.title} is not among the chosen chains ({chosen}); go back and choose it, or use one of those",
                "assets", at, "chain",
            )  # fmt: skip
        if problem := address_problem(chain, asset["address"]):
            yield _at(problem, "assets", at, "address")
        else:
            place = (chain.key, canonical(chain, asset["address"]))
            if place in seen:
                yield _at(
                    f"this is also the address of {seen[place]!r}; remove one of them",
                    "assets",
                    at,
                    "address",
                )
            seen.setdefault(place, asset["key"])
        yield from _number_problems(asset, at)


def _number_problems(asset: Asset, at: int) -> Problems:
    chain = BY_KEY[asset["chain"]]
    decimals, most = decimals_of(asset), DECIMALS_MAX[chain.family]
    if not 0 <= decimals <= most:
        yield _at(
            f"{decimals} decimals are invalid on {chain.title}: allowed are 0 to {most}; {DECIMALS_USUAL[chain.family]}; "
            "look them up in the token",
            "assets", at, "decimals",
        )  # fmt: skip
    elif problem := amount_problem(asset["minimum"], decimals=decimals, chain=chain, of=asset["key"]):
        yield _at(problem, "assets", at, "minimum")


def eligibility_problems(answer: Answer, assets: Sequence[Asset]) -> Problems:
    """The assets are known; custom tiers are given if the template needs them, in order and without overlap."""
    known = [asset["key"] for asset in assets]
    for place, key in [
        (("asset",), answer["asset"]),
        *((("also", at), key) for at, key in enumerate(answer["also"])),
    ]:
        if key not in known:
            yield _at(absence("asset", key, known), *place)
    for at, key in enumerate(answer["also"]):
        if key == answer["asset"] or key in answer["also"][:at]:
            yield _at(f"{key!r} is already required; remove it here", "also", at)
    free = answer["template"] == "free"
    if free and not answer["tiers"]:
        yield _at(
            "the template 'free' needs tiers of your own; give at least one, or choose another template",
            "tiers",
        )
    if not free and answer["tiers"]:
        yield _at(
            f"the template {answer['template']!r} has its own tiers; remove these, or choose the template 'free'",
            "tiers",
        )
    elif (asset := asset_of(answer["asset"], assets)) is not None:
        yield from tier_problems(tiers_of(answer, asset), measure_of(answer), asset)


def tier_problems(tiers: Sequence[Tier], measure: str, asset: Asset) -> Problems:
    """The tiers are not empty and have unique names; they are in ascending order, and no two overlap."""
    spans: dict[int, Span] = {}
    names: set[str] = set()
    for at, tier in enumerate(tiers):
        if tier["name"].casefold() in names:
            yield _at(f"duplicate tier {tier['name']!r}; rename one", "tiers", at, "name")
        names.add(tier["name"].casefold())
        found = [
            _at(problem, "tiers", at, end)
            for end in ("at_least", "below")
            if tier.get(end) is not None and (problem := bound_problem(tier[end], measure, asset))
        ]
        yield from found
        if found:
            continue
        span = span_of(tier, measure, asset)
        if span.high is not None and span.high <= span.low:
            yield _at(
                f"{tier['name']!r} begins at {tier['at_least']} and ends below {tier['below']}: it is empty; "
                "raise its end",
                "tiers", at, "below",
            )  # fmt: skip
            continue
        spans[at] = span
    yield from _lowest_problem(tiers, spans, measure, asset)
    yield from _order_problems(tiers, spans)
    for (first, one), (second, other) in combinations(spans.items(), 2):
        if one.overlaps(other):
            yield _overlap(tiers, (first, second), spans, measure, asset)


def _lowest_problem(tiers: Sequence[Tier], spans: Mapping[int, Span], measure: str, asset: Asset) -> Problems:
    if measure != "amount":
        return
    minimum = span_of({"name": "", "at_least": asset["minimum"]}, measure, asset).low
    for at, span in spans.items():
        if span.low < minimum:
            yield _at(
                f"{span.name!r} begins at {tiers[at]['at_least']}, but less than {asset['minimum']} {asset['key']} does not "
                f"count as holding it; begin at {asset['minimum']}, or lower the minimum of {asset['key']}",
                "tiers", at, "at_least",
            )  # fmt: skip


def _order_problems(tiers: Sequence[Tier], spans: Mapping[int, Span]) -> Problems:
    listed = list(spans.items())
    for (_, before), (at, span) in pairwise(listed):
        if span.low < before.low:
            right = ", ".join(one.name for one in sorted(spans.values(), key=lambda one: one.low))
            yield _at(
                f"{span.name!r} (from {tiers[at]['at_least']}) comes after {before.name!r}, which begins higher; "
                f"put them in ascending order: {right}",
                "tiers", at,
            )  # fmt: skip
            return


def _overlap(
    tiers: Sequence[Tier], pair: tuple[int, int], spans: Mapping[int, Span], measure: str, asset: Asset
) -> Problem:
    lower, upper = sorted(pair, key=lambda at: (spans[at].low, at))
    low, high = tiers[lower], tiers[upper]
    if spans[lower].low == spans[upper].low:
        remedy = "end one where the other begins"
    else:
        remedy = f"end {low['name']!r} below {high['at_least']}"
        remedy += f", or begin {high['name']!r} at {low['below']}" if low.get("below") is not None else ""
    return _at(
        f"{low['name']!r} ({spoken(low, measure, asset['key'])}) and {high['name']!r} "
        f"({spoken(high, measure, asset['key'])}) overlap: "
        f"{'a holder of' if measure == 'amount' else 'rank'} {high['at_least']} would be in both; {remedy}",
        "tiers", pair[1], "at_least",
    )  # fmt: skip


def role_problems(answer: Answer, tiers: Sequence[str]) -> Problems:
    """Each tier has one role, and the names of roles are unique."""
    given: dict[str, str] = {}
    names: set[str] = set()
    for at, role in enumerate(answer["roles"]):
        tier = role["tier"]
        if tier not in tiers:
            yield _at(absence("tier", tier, tiers), "roles", at, "tier")
        elif tier in given:
            yield _at(
                f"{tier!r} has two roles, {given[tier]!r} and {role['name']!r}; remove one",
                "roles",
                at,
                "tier",
            )
        given.setdefault(tier, role["name"])
        if role["name"].casefold() in names:
            yield _at(f"duplicate role {role['name']!r}; rename one", "roles", at, "name")
        names.add(role["name"].casefold())
        for place, permission in enumerate(role["permissions"]):
            if permission in role["permissions"][:place]:
                yield _at(
                    f"duplicate permission {permission!r}; remove one", "roles", at, "permissions", place
                )
    for tier in tiers:
        if tier not in given:
            yield _at(f"{tier!r} has no role; give it one", "roles")


def channel_problems(answer: Answer, tiers: Sequence[str]) -> Problems:
    """Custom categories are given if the template needs them; names are unique, and access refers to existing tiers."""
    categories, free = answer["categories"], answer["template"] == "free"
    if free and not categories:
        yield _at(
            "the template 'free' needs categories of your own; give at least one, or choose another template",
            "categories",
        )
    if not free and categories:
        yield _at(
            f"The template {answer['template']!r} has its own channels; remove these, or choose the template 'free'",
            "categories",
        )
        return
    yield from category_problems(categories, tiers)


def category_problems(categories: Sequence[Answer], tiers: Sequence[str]) -> Problems:
    """Names are unique, and access refers to existing tiers."""
    places = sum(
        access != "none" for one in categories for c in one["channels"] for access in c["access"].values()
    )
    if places > ACCESS_MAX:
        yield _at(
            f"{places:,} permissions are required; at most {ACCESS_MAX:,} are allowed; remove some",
            "categories",
        )
    seen: set[str] = set()
    for at, category in enumerate(categories):
        if category["name"].casefold() in seen:
            yield _at(
                f"duplicate category {category['name']!r}; rename one",
                "categories",
                at,
                "name",
            )
        seen.add(category["name"].casefold())
        channels: set[str] = set()
        for place, channel in enumerate(category["channels"]):
            where = ("categories", at, "channels", place)
            if channel["name"].casefold() in channels:
                yield _at(
                    f"duplicate channel {channel['name']!r} in {category['name']!r}; rename one",
                    *where,
                    "name",
                )
            channels.add(channel["name"].casefold())
            for tier in channel["access"]:
                if tier not in tiers:
                    yield _at(absence("tier", tier, tiers), *where, "access", tier)


def _at(message: str, *steps: str | int) -> Problem:
    return Problem(pointer(steps), message)
