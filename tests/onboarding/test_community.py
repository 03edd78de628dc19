"""The community wizard without any session: answers that fit, answers that don't, and the manifest they come to."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration import RegistrationPipeline
from registration.errors import InvalidDocument
from registration.onboarding.community import COMMUNITY, CommunityManifest
from registration.onboarding.community.checks import category_problems, tier_problems
from registration.onboarding.community.forms import (
    ACCESS,
    ACCESS_MAX,
    CHANNEL_TEMPLATES,
    ELIGIBILITY_TEMPLATES,
    PERMISSIONS,
)
from registration.onboarding.community.manifest import document_problems
from registration.onboarding.community.proposals import categories_of, proposed_roles
from registration.onboarding.community.tiers import highest_first, measure_of, spans_of, tier_names, tiers_of
from registration.onboarding.wizards.statechart import chart_of
from tests.kit.builders import tries
from tests.kit.communities import ANSWERS, BEARS, HONEY, answers_with, problems_with

# -- the whole way -----------------------------------------------------------------------------------------------


def test_the_states_are_these_ten_and_the_ends_of_every_wizard():
    """The order is that in which they are gone through."""
    assert [step.name for step in COMMUNITY.steps] == [
        "INIT",
        "CHAIN_SELECT",
        "ASSET_CONFIG",
        "ELIGIBILITY_RULES",
        "ROLE_MAPPING",
        "CHANNEL_STRUCTURE",
        "REVIEW",
        "DEPLOY",
    ]
    assert set(chart_of(COMMUNITY, "15m").leaves) == {
        *(step.name for step in COMMUNITY.steps),
        "COMPLETE",
        "FAILED",
        "EXPIRED",
        "CANCELLED",
    }


def moves_of(action):
    """From where to where an action leads, its sources taken down to the states that one can stand in."""
    chart = chart_of(COMMUNITY, "15m")
    return {
        (leaf, move.target)
        for move in chart.transitions
        if move.action == action and move.source is not None
        for leaf in chart.leaves
        if move.source in chart.lineage(leaf)
    }


def test_back_leads_one_step_back_but_not_from_the_first_the_deployment_or_an_end():
    """Six states have a way back, each to the one before."""
    names = [step.name for step in COMMUNITY.steps]

    assert moves_of("back") == set(zip(names[1:-1], names[:-2], strict=True))


def test_anything_can_fail_and_what_failed_starts_again():
    """FAILED is reached from every state that is not an end, and left to the first step."""
    assert {source for source, target in moves_of("fail") if target == "FAILED"} == {
        step.name for step in COMMUNITY.steps
    }
    assert ("FAILED", "IN_PROGRESS") in moves_of("restart")


def test_good_answers_come_to_a_manifest_that_becomes_a_draft(root):
    """Nothing is wrong with them; the document stands by itself, and its id is its name and version."""
    assert COMMUNITY.problems(ANSWERS) == {}

    document = COMMUNITY.document(ANSWERS)

    assert document_problems(document) == []
    with RegistrationPipeline(root, actor="ada") as pipeline:
        draft = pipeline.create(None, document)
    assert (draft.manifest_id, draft.state) == ("honey-jar@1.0.0", "DRAFT")
    assert draft.document == document


def test_the_same_answers_give_the_same_document():
    """Byte for byte, whatever order their members came in."""
    turned = {step: dict(reversed(answer.items())) for step, answer in reversed(ANSWERS.items())}

    assert json.dumps(COMMUNITY.document(turned), sort_keys=True) == json.dumps(
        COMMUNITY.document(ANSWERS), sort_keys=True
    )


def test_a_manifest_has_one_form_of_everything():
    """An address gets its checksum, an amount loses needless zeros, a template becomes what it stands for."""
    answers = answers_with("ASSET_CONFIG", "/assets/0/address", HONEY["address"].lower())
    answers = answers_with("ASSET_CONFIG", "/assets/0/minimum", "100.500", answers)

    document = COMMUNITY.document(answers)

    assert document["assets"][0]["address"] == HONEY["address"]
    assert document["assets"][0]["minimum"] == "100.5"
    assert document["eligibility"]["tiers"] == [
        {"name": "Bronze", "at_least": "100.5", "below": "1005"},
        {"name": "Silver", "at_least": "1005", "below": "10050"},
        {"name": "Gold", "at_least": "10050"},
    ]
    assert document["chains"] == [
        {"key": "berachain", "id": "eip155:80094"},
        {"key": "solana", "id": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"},
    ]
    assert "template" not in json.dumps(document)


def test_what_is_left_out_has_a_default():
    """Version, description, the minimum of a collection, kinds of channels."""
    kept, problems = COMMUNITY.check("INIT", {"name": "a", "title": "A"}, {})
    assets, more = COMMUNITY.check(
        "ASSET_CONFIG", {"assets": [{k: v for k, v in BEARS.items() if k != "minimum"}]}, ANSWERS
    )

    assert problems == more == []
    assert kept == {"name": "a", "version": "1.0.0", "title": "A", "description": ""}
    assert assets["assets"][0]["minimum"] == "1"


@pytest.mark.parametrize("channels", [name for name in CHANNEL_TEMPLATES if name != "free"])
@pytest.mark.parametrize("eligibility", [name for name in ELIGIBILITY_TEMPLATES if name != "free"])
@pytest.mark.parametrize("asset", ["HONEY", "Bears"])
def test_every_template_goes_with_every_other(eligibility, channels, asset):
    """What is proposed is taken, whatever was chosen, and nobody has to look again."""
    answers = copy.deepcopy(ANSWERS)
    answers["ELIGIBILITY_RULES"] = {
        "template": eligibility,
        "asset": asset,
        "also": [],
        "measure": "amount",
        "tiers": [],
    }
    answers["ROLE_MAPPING"] = {"roles": proposed_roles(answers["ELIGIBILITY_RULES"])}
    answers["CHANNEL_STRUCTURE"] = {"template": channels, "categories": []}

    assert COMMUNITY.problems(answers) == {}
    assert "Warnings" not in dict(COMMUNITY.summary(answers))
    assert document_problems(COMMUNITY.document(answers)) == []


def test_what_is_suggested_is_taken():
    """Each step that has a suggestion takes it, given the answers before."""
    for name in ("ELIGIBILITY_RULES", "ROLE_MAPPING", "CHANNEL_STRUCTURE"):
        step = COMMUNITY.step(name)
        assert step.suggest is not None
        suggested = step.suggest(COMMUNITY.seen_by(name, ANSWERS))

        assert COMMUNITY.check(name, suggested, ANSWERS)[1] == [], name


def test_higher_tiers_see_the_channels_of_lower_ones():
    """By amount the last tier is the highest, by rank the first."""
    by_amount = {"template": "steps"}
    by_rank = {"template": "ranks"}

    def own(eligibility):
        categories = categories_of({"template": "by-tier"}, eligibility)
        return {channel["name"]: list(channel["access"]) for channel in categories[-1]["channels"]}

    assert own(by_amount)["Bronze"] == ["Gold", "Silver", "Bronze"]
    assert own(by_amount)["Gold"] == ["Gold"]
    assert own(by_rank)["Top 100"] == ["Top 10", "Top 50", "Top 100"]
    assert highest_first(by_rank)[0] == "Top 10"


def test_the_review_tells_all_of_it_in_words():
    """Names, chains, addresses in full, intervals as people say them, who may what."""
    told = "\n".join(f"{title}\n{text}" for title, text in COMMUNITY.summary(ANSWERS))

    for words in (
        "The Honey Jar (honey-jar@1.0.0)",
        "Berachain",
        HONEY["address"],
        "Silver: 1000 to below 10000 HONEY",
        "Gold: 10000 HONEY and more",
        "Every member also holds the minimum of Bears",
        "Bronze is 'Bronze', #CD7F32; may view_channels",
        "announcements (announcement) read: Gold, Silver, Bronze",
    ):
        assert words in told


def test_the_review_says_what_may_not_be_meant():
    """A gap between tiers, a channel without readers, a tier without channels, a chain without assets."""
    answers = answers_with(
        "ELIGIBILITY_RULES", "",
        {"template": "free", "asset": "HONEY", "also": [], "measure": "rank",
         "tiers": [{"name": "A", "at_least": "1", "below": "2"}, {"name": "B", "at_least": "5", "below": None}]},
    )  # fmt: skip
    answers["ROLE_MAPPING"] = {"roles": proposed_roles(answers["ELIGIBILITY_RULES"])}
    answers["CHANNEL_STRUCTURE"] = {
        "template": "free",
        "categories": [
            {
                "name": "C",
                "channels": [
                    {"name": "c", "kind": "text", "access": {"A": "write"}},
                    {"name": "d", "kind": "text", "access": {"A": "none"}},
                ],
            }
        ],
    }
    answers["ASSET_CONFIG"] = {"assets": [HONEY]}
    assert COMMUNITY.problems(answers) == {}

    told = dict(COMMUNITY.summary(answers))

    assert (
        told["Tiers"] == "A: rank 1 among holders of HONEY\nB: rank 5 and all after it among holders of HONEY"
    )
    assert told["Warnings"].splitlines() == [
        "Between A and B is a gap: no tier from 2 to below 5.",
        "Solana is chosen, but no asset is on it.",
        "No tier can see 'd' in 'C'.",
        "B can't see any channel.",
    ]


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "at", "value", "where", "told"),
    [
        ("INIT", "/name", "Honey Jar", "/name", "a community's name has lower-case letters"),
        ("INIT", "/name", "a/" * 60 + "a", "/name", "at most 100 characters"),
        ("INIT", "/version", "1.0", "/version", "a version is three numbers, such as 1.0.0"),
        ("INIT", "/title", "a\nb", "/title", "it has a line break"),
        ("INIT", "/title", " a", "/title", "it begins or ends with a space"),
        ("CHAIN_SELECT", "/chains/0", "etherium", "/chains/0", "it is an unknown chain; did you mean 'ethereum'? There are"),
        ("CHAIN_SELECT", "/chains", [], "/chains", "at least 1 item"),
        ("CHAIN_SELECT", "/chains", ["base", "base"], "/chains/1", "Base is chosen twice; remove one"),
        ("ASSET_CONFIG", "/assets/0/address", HONEY["address"].swapcase().replace("0X", "0x"), "/assets/0/address", f"write {HONEY['address']}"),
        ("ASSET_CONFIG", "/assets/0/decimals", 81, "/assets/0/decimals", "81 decimals are invalid on Berachain: allowed are 0 to 77"),
        ("ASSET_CONFIG", "/assets/0/decimals", -1, "/assets/0/decimals", "-1 decimals are invalid"),
        ("ASSET_CONFIG", "/assets/0/decimals", "18", "/assets/0/decimals", "valid integer"),
        ("ASSET_CONFIG", "/assets/0/minimum", 100, "/assets/0/minimum", 'an amount is text, so that no digit is lost: write "100"'),
        ("ASSET_CONFIG", "/assets/0/minimum", "0", "/assets/0/minimum", "everyone holds an amount of 0"),
        ("ASSET_CONFIG", "/assets/1/minimum", "0.5", "/assets/1/minimum", "is not a whole number"),
        ("ASSET_CONFIG", "/assets/1/decimals", 0, "/assets/1/decimals", "unknown field"),
        ("ASSET_CONFIG", "/assets/1/key", "honey", "/assets/1/key", "duplicate asset 'honey'"),
        ("ASSET_CONFIG", "/assets/1/chain", "base", "/assets/1/chain", "invalid choice 'base'; choose from berachain, solana"),
        ("ASSET_CONFIG", "/assets/0/kind", "coin", "/assets/0", "'token', 'nft'"),
        ("ELIGIBILITY_RULES", "/asset", "HONNEY", "/asset", "invalid choice 'HONNEY'; choose from HONEY, Bears"),
        ("ELIGIBILITY_RULES", "/also", ["HONEY"], "/also/0", "'HONEY' is already required"),
        ("ELIGIBILITY_RULES", "/template", "free", "/tiers", "the template 'free' needs tiers of your own"),
        ("ELIGIBILITY_RULES", "/tiers", [{"name": "x", "at_least": "100"}], "/tiers", "the template 'steps' has its own tiers"),
        ("ROLE_MAPPING", "/roles/2/tier", "Bronze", "/roles/2/tier", "'Bronze' has two roles, 'Bronze' and 'Gold'"),
        ("ROLE_MAPPING", "/roles/2/tier", "Bronze", "/roles", "'Gold' has no role; give it one"),
        ("ROLE_MAPPING", "/roles/2/name", "bronze", "/roles/2/name", "duplicate role 'bronze'"),
        ("ROLE_MAPPING", "/roles/0/colour", "red", "/roles/0/colour", "a colour is # and six hex digits"),
        ("ROLE_MAPPING", "/roles/0/permissions/0", "send_mesages", "/roles/0/permissions/0", "did you mean 'send_messages'?"),
        ("ROLE_MAPPING", "/roles/0/permissions", ["speak", "speak"], "/roles/0/permissions/1", "duplicate permission 'speak'"),
        ("CHANNEL_STRUCTURE", "/template", "free", "/categories", "the template 'free' needs categories of your own"),
        ("CHANNEL_STRUCTURE", "/template", "fancy", "/template", "it is an unknown template; there are plain, by-tier, full, free"),
    ],
)  # fmt: skip
def test_an_answer_that_is_wrong_is_told_where_and_why(step, at, value, where, told):
    """One thing is changed in good answers, and the problem names its place, what was found, and what to do."""
    problems = problems_with(step, at, value)

    assert [p for p in problems if p.at == where and told in p.problem], [str(p) for p in problems]


@pytest.mark.parametrize(
    ("categories", "where", "told"),
    [
        ([("A", ["x"]), ("a", ["x"])], "/categories/1/name", "duplicate category 'a'"),
        ([("A", ["x", "X"])], "/categories/0/channels/1/name", "duplicate channel 'X' in 'A'"),
    ],
)
def test_names_of_channels_are_told_apart(categories, where, told):
    """Upper and lower case make no difference, since people wouldn't hear any."""
    given = [
        {"name": name, "channels": [{"name": c, "kind": "text", "access": {}} for c in channels]}
        for name, channels in categories
    ]

    problems = list(category_problems(given, ["Gold"]))

    assert [(p.at, p.problem.startswith(told)) for p in problems] == [(where, True)]


def test_access_of_a_tier_that_is_not_there_is_named():
    """The nearest one is suggested."""
    given = [{"name": "A", "channels": [{"name": "x", "kind": "text", "access": {"Glod": "read"}}]}]

    problems = list(category_problems(given, ["Gold", "Silver"]))

    assert [str(p) for p in problems] == [
        "at /categories/0/channels/0/access/Glod: there is no tier 'Glod'; did you mean 'Gold'? There are Gold, Silver"
    ]


def test_more_permissions_than_can_be_deployed_are_refused():
    """Each is a step of its own at the target."""
    tiers = [f"t{n}" for n in range(25)]
    channels = [{"name": f"c{n}", "kind": "text", "access": dict.fromkeys(tiers, "read")} for n in range(41)]

    problems = list(category_problems([{"name": "A", "channels": channels}], tiers))

    assert [p.problem for p in problems] == [
        f"1,025 permissions are required; at most {ACCESS_MAX:,} are allowed; remove some"
    ]


def test_one_asset_is_not_taken_twice():
    """The same contract in another case is the same contract; on another chain it is another."""
    again = {**HONEY, "key": "again", "address": HONEY["address"].lower()}

    problems = problems_with("ASSET_CONFIG", "/assets/1", again)

    assert [p.problem for p in problems] == ["this is also the address of 'HONEY'; remove one of them"]


def test_answers_that_no_longer_fit_are_found_at_the_end():
    """Going back and taking an asset away leaves tiers without a measure: the step that has to change is named."""
    answers = copy.deepcopy(ANSWERS)
    answers["ASSET_CONFIG"] = {"assets": [BEARS]}

    problems = COMMUNITY.problems(answers)

    assert list(problems) == ["ELIGIBILITY_RULES"]
    with pytest.raises(InvalidDocument, match="incomplete or inconsistent"):
        CommunityManifest.from_answers(answers)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.pop("roles"), "at /roles: it is required but missing"),
        (lambda d: d.update(owner="ada"), "at /owner: unknown field"),
        (lambda d: d.update(kind="server"), "at /kind: it should be 'community'"),
        (lambda d: d["chains"][0].update(id="eip155:1"), "at /chains/0/id: 'eip155:1' is not the id of berachain, which is 'eip155:80094'"),
        (lambda d: d["chains"].append(d["chains"][0]), "at /chains/2/key: Berachain is chosen twice"),
        (lambda d: d["assets"][0].update(address="0x1"), "at /assets/0/address: '0x1' has 1 hex digit after 0x"),
        (lambda d: d["eligibility"]["tiers"][0].update(below="5000"), "at /eligibility/tiers/1/at_least: 'Bronze' (100 to below 5000 HONEY) and 'Silver'"),
        (lambda d: d["roles"].pop(), "at /roles: 'Gold' has no role"),
        (lambda d: d["categories"][0]["channels"][0]["access"].update(Nobody="read"), "there is no tier 'Nobody'"),
    ],
)  # fmt: skip
def test_a_manifest_that_was_changed_by_hand_is_checked_as_a_whole(change, told):
    """What the steps would refuse is refused in the document, each with its place there."""
    document = copy.deepcopy(COMMUNITY.document(ANSWERS))
    change(document)

    with pytest.raises(InvalidDocument) as refused:
        CommunityManifest.from_document(document)

    assert any(told in problem for problem in refused.value.details["problems"]), refused.value


def test_a_manifest_read_back_is_the_same():
    """From the document to the model and back."""
    document = COMMUNITY.document(ANSWERS)

    assert CommunityManifest.from_document(document).as_document() == document


# -- tiers -------------------------------------------------------------------------------------------------------


def tier(name, low, high=None):
    return {"name": name, "at_least": low} | ({} if high is None else {"below": high})


@pytest.mark.parametrize(
    ("tiers", "measure", "told"),
    [
        (
            [tier("silver", "100", "500"), tier("gold", "400")],
            "amount",
            ["at /tiers/1/at_least: 'silver' (100 to below 500 HONEY) and 'gold' (400 HONEY and more) overlap: a holder of 400 would be in both; end 'silver' below 400, or begin 'gold' at 500"],
        ),
        (
            [tier("silver", "100"), tier("gold", "400")],
            "amount",
            ["at /tiers/1/at_least: 'silver' (100 HONEY and more) and 'gold' (400 HONEY and more) overlap: a holder of 400 would be in both; end 'silver' below 400"],
        ),
        (
            [tier("a", "100", "200"), tier("b", "100", "200")],
            "amount",
            ["at /tiers/1/at_least: 'a' (100 to below 200 HONEY) and 'b' (100 to below 200 HONEY) overlap: a holder of 100 would be in both; end one where the other begins"],
        ),
        (
            [tier("top", "1", "11"), tier("next", "10", "51")],
            "rank",
            ["at /tiers/1/at_least: 'top' (ranks 1 to 10) and 'next' (ranks 10 to 50) overlap: rank 10 would be in both; end 'top' below 10, or begin 'next' at 11"],
        ),
        (
            [tier("gold", "1000"), tier("bronze", "100", "1000")],
            "amount",
            ["at /tiers/1: 'bronze' (from 100) comes after 'gold', which begins higher; put them in ascending order: bronze, gold"],
        ),
        ([tier("a", "200", "200")], "amount", ["at /tiers/0/below: 'a' begins at 200 and ends below 200: it is empty; raise its end"]),
        ([tier("a", "5")], "amount", ["at /tiers/0/at_least: 'a' begins at 5, but less than 100 HONEY does not count as holding it; begin at 100, or lower the minimum of HONEY"]),
        ([tier("a", "100", "200"), tier("A", "200")], "amount", ["at /tiers/1/name: duplicate tier 'A'; rename one"]),
        ([tier("a", "0")], "rank", ["at /tiers/0/at_least: '0' is not a rank; ranks go from 1, the largest holder, to 1,000,000"]),
        ([tier("a", "1.5")], "rank", ["at /tiers/0/at_least: '1.5' is not a rank; ranks go from 1, the largest holder, to 1,000,000"]),
        ([tier("a", "100", "1,000")], "amount", ["at /tiers/0/below: '1,000' is an invalid amount; leave the commas out: 1000"]),
    ],
)  # fmt: skip
def test_tiers_that_cannot_be_meant_are_named(tiers, measure, told):
    """The two that overlap, the order that they belong in, the one that nobody can be in."""
    assert [str(problem) for problem in tier_problems(tiers, measure, HONEY)] == told


numbers = st.integers(100, 130)
some_tiers = st.lists(st.tuples(numbers, st.one_of(st.none(), numbers)), min_size=1, max_size=5)


@tries(300)
@given(some_tiers)
def test_tiers_pass_exactly_when_nobody_is_in_two_of_them(bounds):
    """Against a naive judge that asks every amount: in order, each with room, and no amount in two."""
    tiers = [
        tier(f"t{n}", str(low), None if high is None else str(high)) for n, (low, high) in enumerate(bounds)
    ]
    members = [
        {x for x in range(100, 200) if low <= x and (high is None or x < high)} for low, high in bounds
    ]
    lows = [low for low, _ in bounds]
    sound = (
        all(members)
        and lows == sorted(lows)
        and all(not (a & b) for n, a in enumerate(members) for b in members[:n])
    )

    problems = list(tier_problems(tiers, "amount", HONEY))

    assert (problems == []) is sound
    if sound:
        spans = spans_of(tiers, "amount", HONEY)
        for amount in range(100, 200):
            expected = [tiers[n]["name"] for n, inside in enumerate(members) if amount in inside]
            at = amount * 10**18
            assert [
                one.name for one in spans if one.low <= at and (one.high is None or at < one.high)
            ] == expected


@tries(200)
@given(some_tiers)
def test_every_pair_that_overlaps_is_named(bounds):
    """No pair is left out, and none is named that doesn't."""
    tiers = [
        tier(f"t{n}", str(low), None if high is None else str(high)) for n, (low, high) in enumerate(bounds)
    ]
    members = [
        {x for x in range(100, 200) if low <= x and (high is None or x < high)} for low, high in bounds
    ]
    overlapping = {
        frozenset((f"t{a}", f"t{b}")) for a in range(len(bounds)) for b in range(a) if members[a] & members[b]
    }

    named = set()
    for problem in tier_problems(tiers, "amount", HONEY):
        if " overlap: " in problem.problem:
            named.add(frozenset(problem.problem.split("'")[1:4:2]))

    assert named == overlapping


@pytest.mark.parametrize("template", ["holders", "steps", "ranks"])
def test_the_names_of_a_template_are_those_of_its_tiers(template):
    """Roles and channels ask for names only, and get the same ones."""
    answer = {"template": template, "asset": "HONEY"}

    assert [one["name"] for one in tiers_of(answer, HONEY)] == tier_names(answer)
    assert list(tier_problems(tiers_of(answer, HONEY), measure_of(answer), HONEY)) == []


def test_permissions_and_access_are_explained():
    """Each has a line for people, who are asked to choose."""
    assert all(PERMISSIONS.values())
    assert list(ACCESS) == ["none", "read", "write"]
