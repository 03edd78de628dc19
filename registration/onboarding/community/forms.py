"""The form of each step, as pydantic models.

They define the members, their types and bounds. Consistency across members and steps is
checked in `registration.onboarding.community.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from registration.core.decider import nearest
from registration.errors import InvalidArgument
from registration.onboarding.community.chains import CHAINS
from registration.values.ids import check_id

ASSETS_MAX = 20
TIERS_MAX = 25
CATEGORIES_MAX = 20
CHANNELS_MAX = 50
"""The maximum number of channels in one category."""
ACCESS_MAX = 1_000
"""The maximum number of permissions: tiers times channels."""

PERMISSIONS = {
    "view_channels": "see the channels that the tier can access",
    "read_history": "read what was written before",
    "send_messages": "write",
    "create_threads": "open threads",
    "add_reactions": "react with emoji",
    "embed_links": "show previews of links",
    "attach_files": "attach files",
    "connect": "join voice channels",
    "speak": "speak in voice channels",
    "mention_everyone": "notify everyone at once",
    "manage_messages": "remove and pin messages of others",
}
"""The permissions of roles. None of them lets a tier change roles or channels."""

ELIGIBILITY_TEMPLATES = {
    "holders": "One tier: holders of at least the minimum.",
    "steps": "Three tiers: at 1, 10 and 100 times the minimum.",
    "ranks": "Three tiers: the 10, 50 and 100 largest holders.",
    "free": "Your own tiers.",
}

CHANNEL_TEMPLATES = {
    "plain": "One category with announcements, a general channel and a voice channel.",
    "by-tier": "The same, plus one channel for each tier; higher tiers see those of lower ones.",
    "full": "Information, community, support, and one channel for each tier.",
    "free": "Your own categories and channels.",
}

CHANNEL_KINDS = ("text", "voice", "announcement", "forum")
ACCESS = {"none": "hidden", "read": "read only", "write": "read and write"}

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*(?:/[a-z0-9][a-z0-9.-]*)*")
_VERSION = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def absence(what: str, name: str, known: Sequence[str]) -> str:
    """The problem of an unknown name, with the closest and all known ones; a clause."""
    return f"there is no {what} {name!r}{_there(name, known)}"


def _there(name: str, known: Sequence[str]) -> str:
    guess = nearest(name[:60], known).replace(" Did", "; did", 1)
    return (
        f"{guess + ' There' if guess else '; there'} {'is' if len(known) == 1 else 'are'} {', '.join(known)}"
    )


def _known(what: str, names: Iterable[str]) -> Callable[[str], str]:
    known = tuple(names)

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"it is an unknown {what}{_there(name, known)}")
        return name

    return check


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(
            "it has a line break or another character that can't be shown in one line; remove it"
        )
    if text != text.strip():
        raise ValueError("it begins or ends with a space; remove it")
    return text


def _text_not_number(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'an amount is text, so that no digit is lost: write "{value}"')  # noqa: TRY004  # pydantic lets a TypeError through
    return value


def _community_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a community's name has lower-case letters, digits, - and ., in parts joined by /: "
            "honey-jar, or io.github.acme/honey-jar"
        )
    try:
        return check_id(name)
    except InvalidArgument as error:
        raise ValueError(str(error)) from None


def _version(version: str) -> str:
    if not _VERSION.fullmatch(version):
        raise ValueError("a version is three numbers, such as 1.0.0")
    return version


def _colour(colour: str) -> str:
    if not _COLOUR.fullmatch(colour):
        raise ValueError("a colour is # and six hex digits, such as #F1C40F")
    return colour.upper()


Line = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_one_line)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(_one_line)]
Amount = Annotated[str, StringConstraints(max_length=200), BeforeValidator(_text_not_number)]
Address = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ChainKey = Annotated[str, AfterValidator(_known("chain", [chain.key for chain in CHAINS]))]
AssetKey = Annotated[Key, Field(description="A short name for the other steps, such as HONEY.")]
AssetChain = Annotated[ChainKey, Field(description="One of the chosen chains.")]
AssetAddress = Annotated[
    Address,
    Field(
        description="The address of the contract (on Solana: of the mint) or collection; copy it exactly, including upper and lower case."
    ),
]
Permission = Annotated[str, AfterValidator(_known("permission", PERMISSIONS))]
EligibilityTemplate = Annotated[str, AfterValidator(_known("template", ELIGIBILITY_TEMPLATES))]
ChannelTemplate = Annotated[str, AfterValidator(_known("template", CHANNEL_TEMPLATES))]
ChannelKind = Annotated[str, AfterValidator(_known("kind of channel", CHANNEL_KINDS))]
Access = Annotated[str, AfterValidator(_known("access", ACCESS))]
Measure = Literal["amount", "rank"]


class Form(BaseModel):
    """The base of all forms: no unknown members, no conversion, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Community(Form):
    """The community's names. name, version: those of its manifest."""

    name: Annotated[
        str,
        StringConstraints(max_length=100),
        AfterValidator(_community_name),
        Field(
            description="Lower-case letters, digits, - and ., in parts joined by /: honey-jar, or io.github.acme/honey-jar."
        ),
    ]
    version: Annotated[str, AfterValidator(_version), Field(description="Three numbers, such as 1.0.0.")] = (
        "1.0.0"
    )
    title: Annotated[Line, Field(description="The title for people, in one line.")]
    description: Annotated[
        str, StringConstraints(max_length=1000), Field(description="The purpose of the community.")
    ] = ""


class ChosenChains(Form):
    """The chains that its assets are on."""

    chains: Annotated[
        list[ChainKey],
        Field(min_length=1, max_length=len(CHAINS), description="One or more, by number or by name."),
    ]


class Token(Form):
    """A fungible token. key: its name in other answers. minimum: the amount that counts as holding it, as decimal text."""

    kind: Literal["token"]
    key: AssetKey
    chain: AssetChain
    address: AssetAddress
    decimals: Annotated[
        int,
        Field(description="The number of decimals of the contract or mint: usually 18, or 9 on Solana."),
    ]
    minimum: Annotated[
        Amount, Field(description="The minimum amount that counts as holding it: 100, or 0.5.")
    ]


class NftCollection(Form):
    """A collection of NFTs. minimum: the number that counts as holding it, as text."""

    kind: Literal["nft"]
    key: AssetKey
    chain: AssetChain
    address: AssetAddress
    minimum: Annotated[Amount, Field(description="The minimum number that counts as holding it.")] = "1"


class Assets(Form):
    """The assets that members hold."""

    assets: Annotated[
        list[Annotated[Token | NftCollection, Field(discriminator="kind")]],
        Field(min_length=1, max_length=ASSETS_MAX),
    ]


class Tier(Form):
    """A tier: from `at_least`, up to but not including `below`; without `below`, unbounded."""

    name: Annotated[Key, Field(description="The name of its members.")]
    at_least: Annotated[
        Amount, Field(description="From this amount on, or from this rank on, 1 being the largest holder.")
    ]
    below: Annotated[
        Amount | None, Field(description="The exclusive upper bound; without it, unbounded.")
    ] = None


class Tiers(Form):
    """The members of the community, and their tiers.

    asset: the asset that is measured, by its key. measure: the amount held, or the rank among all holders,
    1 being the largest. also: other assets of which every member must hold the minimum. tiers: for the template `free`,
    in ascending order.
    """

    template: Annotated[EligibilityTemplate, Field(description="How the tiers are made.")]
    asset: Annotated[Key, Field(description="The asset that is measured.")]
    also: Annotated[
        list[Key],
        Field(max_length=ASSETS_MAX, description="Other assets of which every member must hold the minimum."),
    ] = []
    measure: Annotated[
        Measure,
        Field(description="The amount held, or the rank among all holders, 1 being the largest."),
    ] = "amount"
    tiers: Annotated[
        list[Tier],
        Field(
            max_length=TIERS_MAX, description="For the template `free`: in ascending order, without overlap."
        ),
    ] = []


class Role(Form):
    """The role of a tier. colour: ``#RRGGBB``."""

    tier: Annotated[Key, Field(description="The tier of this role: one role for each tier.")]
    name: Annotated[Line, Field(description="The displayed name.")]
    colour: Annotated[
        str, AfterValidator(_colour), Field(description="# and six hex digits, such as #F1C40F.")
    ]
    permissions: Annotated[
        list[Permission],
        Field(max_length=len(PERMISSIONS), description="The permissions that it grants; - for none."),
    ]


class Roles(Form):
    """One role for each tier."""

    roles: Annotated[list[Role], Field(min_length=1, max_length=TIERS_MAX)]


class Channel(Form):
    """A channel. access: by tier; other tiers can't see it."""

    name: Annotated[Line, Field(description="The name.")]
    kind: Annotated[ChannelKind, Field(description="The purpose.")] = "text"
    access: Annotated[
        dict[Key, Access],
        Field(description="The access of each tier: none, read or write; other tiers can't see it."),
    ]


class Category(Form):
    """A group of channels."""

    name: Annotated[Line, Field(description="The heading above its channels.")]
    channels: Annotated[list[Channel], Field(min_length=1, max_length=CHANNELS_MAX)]


class Channels(Form):
    """The channels. categories: for the template `free`."""

    template: Annotated[ChannelTemplate, Field(description="How the channels are made.")]
    categories: Annotated[
        list[Category], Field(max_length=CATEGORIES_MAX, description="For the template `free`: your own.")
    ] = []
