"""What is asked: the form of each step, as pydantic models.

They say which members there are, of which type and within which bounds. What belongs together across members and steps is
checked in `registration.wizards.community.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from registration.core.decider import nearest
from registration.errors import InvalidArgument
from registration.values.ids import check_id
from registration.wizards.community.chains import CHAINS

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

    name: Annotated[str, StringConstraints(max_length=100), AfterValidator(_community_name)]
    version: Annotated[str, AfterValidator(_version)] = "1.0.0"
    title: Line
    description: Annotated[str, StringConstraints(max_length=1000)] = ""


class ChosenChains(Form):
    """The chains that its assets are on."""

    chains: Annotated[list[ChainKey], Field(min_length=1, max_length=len(CHAINS))]


class Token(Form):
    """A fungible token. key: what the other answers call it. minimum: how much counts as holding it, as decimal text."""

    kind: Literal["token"]
    key: Key
    chain: ChainKey
    address: Address
    decimals: int
    minimum: Amount


class NftCollection(Form):
    """A collection of NFTs. minimum: how many count as holding it, as text."""

    kind: Literal["nft"]
    key: Key
    chain: ChainKey
    address: Address
    minimum: Amount = "1"


class Assets(Form):
    """What members hold."""

    assets: Annotated[
        list[Annotated[Token | NftCollection, Field(discriminator="kind")]],
        Field(min_length=1, max_length=ASSETS_MAX),
    ]


class Tier(Form):
    """A tier: from `at_least`, up to but not including `below`; without `below`, upwards without an end."""

    name: Key
    at_least: Amount
    below: Amount | None = None


class Tiers(Form):
    """Who belongs to the community, and where in it.

    asset: the one that is measured, by its key. measure: the amount that somebody holds, or the rank among all holders,
    1 being the largest. also: other assets of which every member has to hold the minimum. tiers: for the template `free`,
    in ascending order.
    """

    template: EligibilityTemplate
    asset: Key
    also: Annotated[list[Key], Field(max_length=ASSETS_MAX)] = []
    measure: Measure = "amount"
    tiers: Annotated[list[Tier], Field(max_length=TIERS_MAX)] = []


class Role(Form):
    """The role that a tier gives. colour: ``#RRGGBB``."""

    tier: Key
    name: Line
    colour: Annotated[str, AfterValidator(_colour)]
    permissions: Annotated[list[Permission], Field(max_length=len(PERMISSIONS))]


class Roles(Form):
    """One role for each tier."""

    roles: Annotated[list[Role], Field(min_length=1, max_length=TIERS_MAX)]


class Channel(Form):
    """A channel. access: by tier; a tier that is not named can't see it."""

    name: Line
    kind: ChannelKind = "text"
    access: dict[Key, Access]


class Category(Form):
    """Channels that stand together."""

    name: Line
    channels: Annotated[list[Channel], Field(min_length=1, max_length=CHANNELS_MAX)]


class Channels(Form):
    """Where people talk. categories: for the template `free`."""

    template: ChannelTemplate
    categories: Annotated[list[Category], Field(max_length=CATEGORIES_MAX)] = []
