"""What is asked: the form of each step, as pydantic models.

They say which members there are, of which type and within which bounds. What belongs together across members and steps is
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
"""In one category."""
ACCESS_MAX = 1_000
"""How many tiers in how many channels, in all."""

PERMISSIONS = {
    "view_channels": "see the channels that the tier has access to",
    "read_history": "read what was written before",
    "send_messages": "write",
    "create_threads": "open threads",
    "add_reactions": "react with emoji",
    "embed_links": "show previews of links",
    "attach_files": "attach files",
    "connect": "join voice channels",
    "speak": "speak in voice channels",
    "mention_everyone": "call everybody at once",
    "manage_messages": "remove and pin what others wrote",
}
"""What a role may allow. Nothing that would let a tier change roles or channels."""

ELIGIBILITY_TEMPLATES = {
    "holders": "One tier: whoever holds at least the minimum.",
    "steps": "Three tiers: at 1, 10 and 100 times the minimum.",
    "ranks": "Three tiers: the 10, 50 and 100 largest holders.",
    "free": "Your own tiers.",
}

CHANNEL_TEMPLATES = {
    "plain": "One category with announcements, a general channel and a voice channel.",
    "by-tier": "The same, and a channel of its own for each tier; higher tiers see those of lower ones.",
    "full": "Information, community, support, and a channel of its own for each tier.",
    "free": "Your own categories and channels.",
}

CHANNEL_KINDS = ("text", "voice", "announcement", "forum")
ACCESS = {"none": "it can't be seen", "read": "it can be read", "write": "it can be written in"}

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*(?:/[a-z0-9][a-z0-9.-]*)*")
_VERSION = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def absence(what: str, name: str, known: Sequence[str]) -> str:
    """That there is nothing of that name, which is nearest, and what there is; a clause."""
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
            raise ValueError(f"it is no {what}{_there(name, known)}")
        return name

    return check


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(
            "it has a line break or another character that can't be shown in one line; leave it out"
        )
    if text != text.strip():
        raise ValueError("it begins or ends with a space; leave that out")
    return text


def _text_not_number(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'an amount is text, so that no digit gets lost: write "{value}"')  # noqa: TRY004  # pydantic lets a TypeError through
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
AssetChain = Annotated[ChainKey, Field(description="One of those that were chosen.")]
AssetAddress = Annotated[
    Address,
    Field(
        description="Of the contract, on Solana of the mint, or of the collection: copy it, with its upper and lower case."
    ),
]
Permission = Annotated[str, AfterValidator(_known("permission", PERMISSIONS))]
EligibilityTemplate = Annotated[str, AfterValidator(_known("template", ELIGIBILITY_TEMPLATES))]
ChannelTemplate = Annotated[str, AfterValidator(_known("template", CHANNEL_TEMPLATES))]
ChannelKind = Annotated[str, AfterValidator(_known("kind of channel", CHANNEL_KINDS))]
Access = Annotated[str, AfterValidator(_known("access", ACCESS))]
Measure = Literal["amount", "rank"]


class Form(BaseModel):
    """The ground of all forms: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Community(Form):
    """What the community is called. name, version: what its manifest is registered under."""

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
    title: Annotated[Line, Field(description="What people read, in one line.")]
    description: Annotated[
        str, StringConstraints(max_length=1000), Field(description="What the community is for.")
    ] = ""


class ChosenChains(Form):
    """The chains that its assets are on."""

    chains: Annotated[
        list[ChainKey],
        Field(min_length=1, max_length=len(CHAINS), description="One or more, by number or by name."),
    ]


class Token(Form):
    """A fungible token. key: what the other answers call it. minimum: how much counts as holding it, as decimal text."""

    kind: Literal["token"]
    key: AssetKey
    chain: AssetChain
    address: AssetAddress
    decimals: Annotated[
        int,
        Field(
            description="Digits behind the point, as the contract or the mint says: mostly 18, or 9 on Solana."
        ),
    ]
    minimum: Annotated[Amount, Field(description="How much counts as holding it: 100, or 0.5.")]


class NftCollection(Form):
    """A collection of NFTs. minimum: how many count as holding it, as text."""

    kind: Literal["nft"]
    key: AssetKey
    chain: AssetChain
    address: AssetAddress
    minimum: Annotated[Amount, Field(description="How many count as holding it.")] = "1"


class Assets(Form):
    """What members hold."""

    assets: Annotated[
        list[Annotated[Token | NftCollection, Field(discriminator="kind")]],
        Field(min_length=1, max_length=ASSETS_MAX),
    ]


class Tier(Form):
    """A tier: from `at_least`, up to but not including `below`; without `below`, upwards without an end."""

    name: Annotated[Key, Field(description="What its members are called.")]
    at_least: Annotated[
        Amount, Field(description="From this amount on, or from this rank on, 1 being the largest holder.")
    ]
    below: Annotated[
        Amount | None, Field(description="Up to, but not including this; without it, upwards without an end.")
    ] = None


class Tiers(Form):
    """Who belongs to the community, and where in it.

    asset: the one that is measured, by its key. measure: the amount that somebody holds, or the rank among all holders,
    1 being the largest. also: other assets of which every member has to hold the minimum. tiers: for the template `free`,
    in ascending order.
    """

    template: Annotated[EligibilityTemplate, Field(description="How the tiers are made.")]
    asset: Annotated[Key, Field(description="The one that is measured.")]
    also: Annotated[
        list[Key],
        Field(max_length=ASSETS_MAX, description="Others of which every member has to hold the minimum."),
    ] = []
    measure: Annotated[
        Measure,
        Field(
            description="The amount that somebody holds, or the rank among all holders, 1 being the largest."
        ),
    ] = "amount"
    tiers: Annotated[
        list[Tier],
        Field(
            max_length=TIERS_MAX, description="For the template `free`: in ascending order, without overlap."
        ),
    ] = []


class Role(Form):
    """The role that a tier gives. colour: ``#RRGGBB``."""

    tier: Annotated[Key, Field(description="Whose role it is: one for each tier.")]
    name: Annotated[Line, Field(description="What it is called where people see it.")]
    colour: Annotated[
        str, AfterValidator(_colour), Field(description="# and six hex digits, such as #F1C40F.")
    ]
    permissions: Annotated[
        list[Permission], Field(max_length=len(PERMISSIONS), description="What it allows; none with -.")
    ]


class Roles(Form):
    """One role for each tier."""

    roles: Annotated[list[Role], Field(min_length=1, max_length=TIERS_MAX)]


class Channel(Form):
    """A channel. access: by tier; a tier that is not named can't see it."""

    name: Annotated[Line, Field(description="What it is called.")]
    kind: Annotated[ChannelKind, Field(description="What it is for.")] = "text"
    access: Annotated[
        dict[Key, Access],
        Field(description="What each tier may: none, read or write; who isn't named can't see it."),
    ]


class Category(Form):
    """Channels that stand together."""

    name: Annotated[Line, Field(description="What stands above its channels.")]
    channels: Annotated[list[Channel], Field(min_length=1, max_length=CHANNELS_MAX)]


class Channels(Form):
    """Where people talk. categories: for the template `free`."""

    template: Annotated[ChannelTemplate, Field(description="How the channels are made.")]
    categories: Annotated[
        list[Category], Field(max_length=CATEGORIES_MAX, description="For the template `free`: your own.")
    ] = []
