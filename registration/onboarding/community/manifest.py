"""The manifest of a community: the document that the wizard produces, and that becomes a DRAFT in the registry.

It is self-contained: templates are resolved, addresses are canonical, amounts have no needless zeros. The same answers
give the same document, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints

from registration.errors import InvalidDocument
from registration.onboarding.community.addresses import canonical
from registration.onboarding.community.amounts import shortest
from registration.onboarding.community.chains import BY_KEY
from registration.onboarding.community.checks import (
    asset_problems,
    category_problems,
    chain_problems,
    eligibility_problems,
    role_problems,
)
from registration.onboarding.community.forms import (
    ASSETS_MAX,
    CATEGORIES_MAX,
    TIERS_MAX,
    Category,
    ChainKey,
    Community,
    Form,
    Key,
    Measure,
    NftCollection,
    Role,
    Tier,
    Token,
)
from registration.onboarding.community.proposals import categories_of
from registration.onboarding.community.tiers import asset_of, decimals_of, measure_of, spans_of, tiers_of
from registration.onboarding.wizards.forms import ModelForm
from registration.onboarding.wizards.wizard import Problem
from registration.values.documents import DOCUMENT_BYTES_MAX


class ManifestChain(Form):
    """A chain, and its id by CAIP-2."""

    key: ChainKey
    id: Annotated[str, StringConstraints(max_length=80)]


class Eligibility(Form):
    """The members of the community: see `registration.onboarding.community.forms.Tiers`."""

    asset: Key
    also: Annotated[list[Key], Field(max_length=ASSETS_MAX)]
    measure: Measure
    tiers: Annotated[list[Tier], Field(min_length=1, max_length=TIERS_MAX)]


class CommunityManifest(Community):
    """A community as a document, identified by `kind` and `format`.

    Build one by `from_answers` or `from_document`: both check its consistency.
    """

    kind: Literal["community"] = "community"
    format: Literal[1] = 1
    chains: Annotated[list[ManifestChain], Field(min_length=1, max_length=len(BY_KEY))]
    assets: Annotated[
        list[Annotated[Token | NftCollection, Field(discriminator="kind")]],
        Field(min_length=1, max_length=ASSETS_MAX),
    ]
    eligibility: Eligibility
    roles: Annotated[list[Role], Field(min_length=1, max_length=TIERS_MAX)]
    categories: Annotated[list[Category], Field(min_length=1, max_length=CATEGORIES_MAX)]

    @classmethod
    def from_answers(cls, answers: Mapping[str, Mapping[str, Any]]) -> Self:
        """The manifest of the answers of a whole session. answers: by step.

        Raises:
            InvalidDocument: when an answer is missing or inconsistent; every problem is listed.
        """
        try:
            document = _assembled(answers)
        except (LookupError, ValueError):
            # Not reachable through a session: each of its steps was checked against those before it.
            raise InvalidDocument("The community", ["its answers are incomplete or inconsistent"]) from None
        return cls.from_document(document, source="The community")

    @classmethod
    def from_document(cls, document: Mapping[str, Any], *, source: str = "The community's manifest") -> Self:
        """The manifest in a document.

        Raises:
            InvalidDocument: when it is invalid; every problem is listed, with its JSON Pointer.
        """
        if problems := document_problems(document):
            raise InvalidDocument(source, [str(problem) for problem in problems])
        return cls.model_validate(document)

    def as_document(self) -> dict[str, Any]:
        """The JSON object, in reading order."""
        document = self.model_dump(mode="json", exclude_none=True)
        first = ("kind", "format", "name", "version", "title", "description")
        return {name: document[name] for name in (*first, *(name for name in document if name not in first))}


def document_problems(document: Mapping[str, Any]) -> list[Problem]:
    """The problems of a document as a community's manifest; problems of form hide all others."""
    value, problems = ModelForm(CommunityManifest, size_bytes_max=DOCUMENT_BYTES_MAX).check(document)
    if problems:
        return problems
    eligibility = {**value["eligibility"], "template": "free"}
    tiers = [tier["name"] for tier in eligibility["tiers"]]
    keys = [chain["key"] for chain in value["chains"]]
    problems = [
        *(Problem(f"{one.at}/key", one.problem) for one in chain_problems({"chains": keys})),
        *(
            Problem(
                f"/chains/{at}/id", f"{chain['id']!r} is not the id of {chain['key']}, which is {right!r}"
            )
            for at, chain in enumerate(value["chains"])
            if chain["id"] != (right := BY_KEY[chain["key"]].caip2)
        ),
        *(assets := list(asset_problems(value, keys))),
    ]
    if not assets:  # tiers depend on them
        found = eligibility_problems(eligibility, value["assets"])
        problems += [Problem(f"/eligibility{one.at}", one.problem) for one in found]
    return [*problems, *role_problems(value, tiers), *category_problems(value["categories"], tiers)]


def _assembled(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    assets = [_asset(asset) for asset in answers["ASSET_CONFIG"]["assets"]]
    eligibility = answers["ELIGIBILITY_RULES"]
    asset = asset_of(eligibility["asset"], assets)
    if asset is None:
        raise LookupError(eligibility["asset"])
    measure, tiers = measure_of(eligibility), tiers_of(eligibility, asset)
    if measure == "amount":
        decimals = decimals_of(asset)
        tiers = [
            {**tier, **{end: shortest(tier[end], decimals) for end in ("at_least", "below") if end in tier}}
            for tier in tiers
        ]
    return {
        **answers["INIT"],
        "chains": [{"key": key, "id": BY_KEY[key].caip2} for key in answers["CHAIN_SELECT"]["chains"]],
        "assets": assets,
        "eligibility": {
            "asset": eligibility["asset"],
            "also": list(eligibility.get("also", ())),
            "measure": measure,
            "tiers": tiers,
        },
        "roles": list(answers["ROLE_MAPPING"]["roles"]),
        "categories": categories_of(answers["CHANNEL_STRUCTURE"], eligibility),
    }


def _asset(asset: Mapping[str, Any]) -> dict[str, Any]:
    chain = BY_KEY[asset["chain"]]
    minimum = shortest(asset.get("minimum", "1"), decimals_of(asset))
    return {**asset, "address": canonical(chain, asset["address"]), "minimum": minimum}


def remarks(document: Mapping[str, Any]) -> list[str]:
    """Warnings: allowed, but perhaps unintended: gaps between tiers, channels that no tier sees, and the like."""
    eligibility, found = document["eligibility"], []
    asset = asset_of(eligibility["asset"], document["assets"])
    assert asset is not None
    tiers: Sequence[Mapping[str, Any]] = eligibility["tiers"]
    for (before, low), (after, high) in pairwise(
        zip(tiers, spans_of(tiers, eligibility["measure"], asset), strict=True)
    ):
        if low.high != high.low:
            found.append(
                f"Between {before['name']} and {after['name']} is a gap: no tier from {before['below']} to below "
                f"{after['at_least']}."
            )
    used = {one["chain"] for one in document["assets"]}
    unused = [BY_KEY[chain["key"]].title for chain in document["chains"] if chain["key"] not in used]
    found += [f"{chain} is chosen, but no asset is on it." for chain in unused]
    seen: set[str] = set()
    for category in document["categories"]:
        for channel in category["channels"]:
            readers = {tier for tier, access in channel["access"].items() if access != "none"}
            seen |= readers
            if not readers:
                found.append(f"No tier can see {channel['name']!r} in {category['name']!r}.")
    found += [f"{tier['name']} can't see any channel." for tier in tiers if tier["name"] not in seen]
    return found
