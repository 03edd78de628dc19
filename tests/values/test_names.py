"""Names, versions, aliases and tags: what they can be, and the order of versions, held against a second opinion."""

from __future__ import annotations

import functools
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.errors import InvalidArgument
from registration.storage import layout
from registration.values.ids import own_name
from registration.values.names import (
    TAGS_MAX,
    Name,
    check_alias,
    check_name,
    check_tags,
    is_alias,
    split_name,
    version_rank,
)
from tests.kit.builders import tries
from tests.values.test_ids import ids

# -- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("full", "name", "version"),
    [
        ("io.github.acme/weather@1.2.0", "io.github.acme/weather", "1.2.0"),
        ("weather", "weather", None),
        ("a@b@1", "a@b", "1"),
        ("a@", "a@", None),
        ("a@-", "a@-", None),
        ("a@:b", "a@:b", None),
        ("a@1@", "a@1@", None),
        ("a@@1", "a@", "1"),
    ],
)
def test_the_version_is_behind_the_last_at(full, name, version):
    """Where it begins with a letter or a digit; everything else is one name."""
    assert split_name(full) == Name(name, version)
    assert str(split_name(full)) == full


@tries(300)
@given(ids())
def test_a_name_comes_back_from_its_parts_and_from_its_file(full):
    """Taking a name apart loses nothing, and a reservation's file tells which name it is of."""
    area, directory, file = layout.name_record(full)

    assert str(split_name(full)) == full
    assert layout.reserved_by_file(split_name(full).name, file) == full
    assert area == layout.NAMES
    assert "/" not in directory + file
    assert len(file.encode()) <= 255


@tries(300)
@given(st.lists(ids(), min_size=2, max_size=2, unique=True))
def test_no_two_names_share_a_file(fulls):
    """A reservation is of one name only."""
    assert layout.name_record(fulls[0]) != layout.name_record(fulls[1])


@pytest.mark.parametrize(
    "file", ["x.txt", ".json", "1%2f0.json", "-1.json", "@.json", "1.json.tmp", "é.json", "-"]
)
def test_a_file_that_no_reservation_has_is_of_no_name(file):
    """What somebody put there is passed over."""
    assert layout.reserved_by_file("weather", file) is None


@pytest.mark.parametrize("text", ["", "Weather Agent", "../x", "@1", None, 7, "x" * 201])
def test_what_no_document_can_be_called_is_refused(text):
    """And where a document would be called something near, that is suggested."""
    with pytest.raises(InvalidArgument) as refused:
        check_name(text)

    assert ("Did you mean 'Weather-Agent'?" in str(refused.value)) is (text == "Weather Agent")


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ({"name": "weather", "version": "1"}, "weather@1"),
        ({"name": "weather"}, "weather"),
        ({"name": 7}, None),
        ({"name": "…"}, None),
        ({}, None),
    ],
)
def test_what_a_document_calls_itself(document, name):
    """A document without a usable name calls itself nothing."""
    assert own_name(document) == name


# -- versions --------------------------------------------------------------------------------------------

CHAIN = [
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
]
"""Section 11 of semver.org, in order."""


def test_the_example_of_semver_org_is_in_its_order():
    """Each of the chain is below the next."""
    ranks = [version_rank(version) for version in CHAIN]

    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)


def test_a_release_is_above_every_pre_release_and_those_above_all_else():
    """`latest` is no pre-release while there is a release, and no free text while there is either."""
    assert sorted(["2.0.0", "1.0.0", "3.0.0-rc.1", "2026-01-01"], key=version_rank) == [
        "2026-01-01",
        "3.0.0-rc.1",
        "1.0.0",
        "2.0.0",
    ]
    assert (
        version_rank(None) == version_rank("2026-01-01") == version_rank("v1.0.0") == version_rank("01.0.0")
    )


def test_build_metadata_makes_no_difference():
    """Section 10: of two that differ in nothing else, the later registration is above."""
    assert version_rank("1.0.0+a") == version_rank("1.0.0+b.7") == version_rank("1.0.0")


def naive_compare(a: str, b: str) -> int:
    """Section 11 of semver.org, sentence by sentence, on texts that are known to be versions."""

    def cut(text):
        core, _, pre = text.partition("+")[0].partition("-")
        return core.split("."), pre

    (core_a, pre_a), (core_b, pre_b) = cut(a), cut(b)
    for x, y in zip(core_a, core_b, strict=True):
        if int(x) != int(y):
            return -1 if int(x) < int(y) else 1
    if bool(pre_a) != bool(pre_b):
        return -1 if pre_a else 1
    fields_a, fields_b = pre_a.split("."), pre_b.split(".")
    for x, y in zip(fields_a, fields_b, strict=False):
        if x == y:
            continue
        numeric_x, numeric_y = x.isdigit(), y.isdigit()
        if numeric_x and numeric_y:
            return -1 if int(x) < int(y) else 1
        if numeric_x != numeric_y:
            return -1 if numeric_x else 1
        return -1 if x < y else 1
    return (len(fields_a) > len(fields_b)) - (len(fields_a) < len(fields_b))


numbers = st.integers(0, 12).map(str)
words = st.one_of(
    numbers,
    st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=3).filter(
        lambda w: not w.isdigit()
    ),
)
dotted = st.lists(words, min_size=1, max_size=3).map(".".join)
cores = st.builds(lambda *n: ".".join(n), numbers, numbers, numbers)
versions = st.builds(
    lambda core, pre, build: core + (f"-{pre}" if pre else "") + (f"+{build}" if build else ""),
    cores,
    st.one_of(st.none(), dotted),
    st.one_of(st.none(), dotted),
)


@tries(500)
@given(st.lists(versions, min_size=2, max_size=6))
def test_versions_of_one_sort_are_in_the_order_of_semver_org(found):
    """Releases among themselves and pre-releases among themselves, against the sentences of the specification."""
    for sort in (True, False):
        alike = [version for version in found if ("-" in version.partition("+")[0]) is sort]

        by_rank = sorted(alike, key=version_rank)
        by_the_book = sorted(alike, key=functools.cmp_to_key(naive_compare))
        assert by_rank == by_the_book


@tries(300)
@given(versions)
def test_what_the_grammar_gives_is_a_version(version):
    """None of them is taken for free text."""
    assert version_rank(version)[0] == (1 if "-" in version.partition("+")[0] else 2)


# -- aliases ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ["stable", "latest", "LTS", "next-major", "v", "version1", "a_b", "x" * 64])
def test_an_alias_is_a_word(alias):
    """Letters, digits, _ and -, beginning with a letter."""
    assert check_alias(alias) == alias
    assert is_alias(alias)


@pytest.mark.parametrize(
    "alias", ["", "1", "1.2.0", "v1", "V2.0", "v1beta", "a.b", "a b", "-x", "x" * 65, "é", None, 7]
)
def test_what_looks_like_a_version_is_no_alias(alias):
    """Nobody has to guess which of the two is meant."""
    with pytest.raises(InvalidArgument, match="is an invalid alias"):
        check_alias(alias)


# -- tags ------------------------------------------------------------------------------------------------


def test_tags_are_given_once_each_in_order():
    """However they come."""
    assert check_tags(["b", "a", "b"]) == ("a", "b")
    assert check_tags("team/maps") == ("team/maps",)


@pytest.mark.parametrize("tag", ["", "-x", "+x", "a b", "a@b", "a,b", "é", "x" * 65, None, 7, "a\n", ["a"]])
def test_what_can_be_no_tag_is_refused(tag):
    """It is named, with what a tag is."""
    with pytest.raises(InvalidArgument, match=re.escape(repr(tag)[:60]) + ".*is not a tag"):
        check_tags(["fine", tag])


def test_too_many_tags_are_refused():
    """A snapshot does not grow without bounds."""
    assert len(check_tags([f"t{n}" for n in range(TAGS_MAX)])) == TAGS_MAX

    with pytest.raises(InvalidArgument, match="at most 64"):
        check_tags([f"t{n}" for n in range(TAGS_MAX + 1)])
    with pytest.raises(InvalidArgument, match="No tag was given"):
        check_tags([])
