"""The wizard: ten states, from nothing to a community that is created as a DRAFT and deployed.

INIT, CHAIN_SELECT, ASSET_CONFIG, ELIGIBILITY_RULES, ROLE_MAPPING and CHANNEL_STRUCTURE are forms, REVIEW is the review, DEPLOY is work;
COMPLETE and FAILED are ends. The work of DEPLOY is in `registration.onboarding.community.deployer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from registration.onboarding.community.addresses import missing_library
from registration.onboarding.community.chains import BY_KEY, CHAINS
from registration.onboarding.community.checks import (
    asset_problems,
    chain_problems,
    channel_problems,
    eligibility_problems,
    role_problems,
)
from registration.onboarding.community.forms import (
    ACCESS,
    CHANNEL_KINDS,
    CHANNEL_TEMPLATES,
    ELIGIBILITY_TEMPLATES,
    PERMISSIONS,
    Assets,
    Channels,
    ChosenChains,
    Community,
    Roles,
    Tiers,
)
from registration.onboarding.community.manifest import CommunityManifest
from registration.onboarding.community.proposals import proposed_roles
from registration.onboarding.community.summary import summary_of
from registration.onboarding.community.tiers import tier_names
from registration.onboarding.wizards.forms import ModelForm
from registration.onboarding.wizards.wizard import (
    Answer,
    Answers,
    Option,
    Options,
    Problem,
    Wizard,
    WizardStep,
)


def _chosen_chains(answers: Answers) -> list[str]:
    return list(answers["CHAIN_SELECT"]["chains"])


def _asset_options(answers: Answers) -> Options:
    return {"/assets/*/chain": [Option(key, BY_KEY[key].title) for key in _chosen_chains(answers)]}


def _assets_fit(answer: Answer, answers: Answers) -> Iterable[Problem]:
    return asset_problems(answer, _chosen_chains(answers))


def _eligibility_options(answers: Answers) -> Options:
    keys = [Option(asset["key"]) for asset in answers["ASSET_CONFIG"]["assets"]]
    return {"/template": _explained(ELIGIBILITY_TEMPLATES), "/asset": keys, "/also/*": keys}


def _eligibility_fits(answer: Answer, answers: Answers) -> Iterable[Problem]:
    return eligibility_problems(answer, answers["ASSET_CONFIG"]["assets"])


def _suggested_eligibility(answers: Answers) -> Answer:
    return {"template": "steps", "asset": answers["ASSET_CONFIG"]["assets"][0]["key"]}


def _role_options(answers: Answers) -> Options:
    tiers = [Option(name) for name in tier_names(answers["ELIGIBILITY_RULES"])]
    return {"/roles/*/tier": tiers, "/roles/*/permissions/*": _explained(PERMISSIONS)}


def _roles_fit(answer: Answer, answers: Answers) -> Iterable[Problem]:
    return role_problems(answer, tier_names(answers["ELIGIBILITY_RULES"]))


def _suggested_roles(answers: Answers) -> Answer:
    return {"roles": proposed_roles(answers["ELIGIBILITY_RULES"])}


def _channels_fit(answer: Answer, answers: Answers) -> Iterable[Problem]:
    return channel_problems(answer, tier_names(answers["ELIGIBILITY_RULES"]))


def _manifest(answers: Answers) -> Mapping[str, Any]:
    return CommunityManifest.from_answers(answers).as_document()


def _summary(answers: Answers) -> Iterator[tuple[str, str]]:
    return ((title, "\n".join(lines)) for title, lines in summary_of(_manifest(answers)))


def _explained(known: Mapping[str, str]) -> list[Option]:
    return [Option(value, help=meaning) for value, meaning in known.items()]


COMMUNITY = Wizard(
    name="community-onboarding",
    title="A community",
    help="Members, permissions and channels; then the community is created.",
    steps=(
        WizardStep(
            "INIT",
            "The community",
            "Its name is an id, such as honey-jar or io.github.acme/honey-jar: it is registered as NAME@VERSION. The title "
            "is what people read.",
            form=ModelForm(Community),
        ),
        WizardStep(
            "CHAIN_SELECT",
            "Chains",
            "The chains that its tokens and NFT collections are on.",
            form=ModelForm(ChosenChains),
            options={"/chains/*": [Option(chain.key, chain.title) for chain in CHAINS]},
            validate=lambda answer, _answers: chain_problems(answer),
        ),
        WizardStep(
            "ASSET_CONFIG",
            "Tokens and NFT collections",
            "What members hold. `key` is a short name for the other steps, such as HONEY. The address is that of the contract, "
            "on Solana of the mint, or of the collection; copy it, and keep its upper and lower case. `minimum` is how much "
            "counts as holding it, as text: 100, or 0.5.",
            form=ModelForm(Assets),
            options=_asset_options,
            validate=_assets_fit,
            needs=("CHAIN_SELECT",),
        ),
        WizardStep(
            "ELIGIBILITY_RULES",
            "Tiers",
            "The tiers of members. A tier begins at `at_least`, and ends before `below`; the last one may have no end. Give "
            "them in ascending order.",
            form=ModelForm(Tiers),
            options=_eligibility_options,
            suggest=_suggested_eligibility,
            validate=_eligibility_fits,
            needs=("ASSET_CONFIG",),
        ),
        WizardStep(
            "ROLE_MAPPING",
            "Roles",
            "One role for each tier. A colour is # and six hex digits.",
            form=ModelForm(Roles),
            options=_role_options,
            suggest=_suggested_roles,
            validate=_roles_fit,
            needs=("ELIGIBILITY_RULES",),
        ),
        WizardStep(
            "CHANNEL_STRUCTURE",
            "Channels",
            "Categories of channels, and which tier can read or write in each. Other tiers can't see it.",
            form=ModelForm(Channels),
            options={
                "/template": _explained(CHANNEL_TEMPLATES),
                "/categories/*/channels/*/kind": [Option(kind) for kind in CHANNEL_KINDS],
                "/categories/*/channels/*/access/*": _explained(ACCESS),
            },
            suggest=lambda _answers: {"template": "by-tier"},
            validate=_channels_fit,
            needs=("ELIGIBILITY_RULES",),
        ),
        WizardStep(
            "REVIEW", "Review", "Check everything: the next step creates it at the target.", kind="review"
        ),
        WizardStep(
            "DEPLOY",
            "Deployment",
            "Creates the roles, channels and permissions, all or none.",
            kind="work",
        ),
    ),
    result=_manifest,
    summary=_summary,
    extra="community",
    missing=missing_library,
)
