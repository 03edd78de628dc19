"""People: which spellings are one person, and which names a new actor may have."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registration.values.people import (
    name_problems,
    person,
    same_person,
    script_problem,
    scripts_of,
    spellings,
)
from tests.kit.builders import tries

texts = st.text(max_size=30)
ascii_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)

# -- one person ------------------------------------------------------------------------------------------


@tries(300)
@given(texts)
def test_a_key_is_its_own_key(name):
    """Keys can be compared with names, and kept in place of them."""
    assert person(person(name)) == person(name)


@tries(300)
@given(texts, st.sampled_from(["NFC", "NFD"]))
def test_composed_and_decomposed_names_are_one_person(name, form):
    """`é` is one character or two, as the keyboard has it."""
    assert same_person(name, unicodedata.normalize(form, name))


@tries(300)
@given(texts)
def test_lower_case_is_the_same_person(name):
    """And so is upper case, where it leads back."""
    assert same_person(name, name.lower())

    assume(name.upper().lower() == name)
    assert same_person(name, name.upper())


@tries(200)
@given(ascii_texts)
def test_fullwidth_letters_are_the_same_person(name):
    """As an East Asian keyboard writes them."""
    wide = "".join("\u3000" if c == " " else chr(ord(c) + 0xFEE0) for c in name)

    assert same_person(name, wide)


@tries(200)
@given(texts, st.data())
def test_an_invisible_character_makes_nobody_of_its_own(name, data):
    """Earlier releases accepted them."""
    invisible = data.draw(st.sampled_from(["\u200b", "\u00ad", "\u3164", "\ufe0f", "\u2060", "\U000e0041"]))
    at = data.draw(st.integers(0, len(name)))
    assume(not any(unicodedata.combining(c) for c in name))

    assert same_person(name, name[:at] + invisible + name[at:])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bea", "Bea"),
        ("bea lee", "Bea  Lee"),
        ("Jos\u00e9", "JOSE\u0301"),
        (
            "\u03a3\u03c9\u03ba\u03c1\u03ac\u03c4\u03b7\u03c2",
            "\u03a3\u03a9\u039a\u03a1\u0386\u03a4\u0397\u03a3",
        ),
        ("\u03bf\u03b4\u03bf\u03c3", "\u039f\u0394\u039f\u03a3"),
        ("\uff76\uff9e\uff72", "\u30ac\u30a4"),
        ("\u212aim", "kim"),
    ],
)
def test_spellings_of_one_person(one, other):
    """Case, spaces, accents, the final sigma, halfwidth katakana, the Kelvin sign."""
    assert same_person(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bea", "be"),
        ("bea", "be a"),
        ("ada", "\u0430d\u0430"),
        ("Stra\u00dfe", "Strasse"),
        ("Jose", "Jos\u00e9"),
        ("\u0131lk", "ilk"),
    ],
)
def test_different_people(one, other):
    """What the profile does not catch is different: above all, letters of other scripts that look the same."""
    assert not same_person(one, other)


def test_an_unnamed_actor_is_nobody():
    """Not even the same as another unnamed actor."""
    assert not same_person(None, None)
    assert not same_person(None, "bea")
    assert not same_person("bea", None)


def test_another_spelling_is_told_with_the_first_one():
    """The first spelling is the one to compare with, however many follow."""
    seen: dict[str, str] = {}

    told = [spellings(seen, name) for name in ("bea", "ada", "Bea", "bea", "BEA", "Ada")]

    assert told == [None, None, "bea", None, "bea", "ada"]


# -- names of new actors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "bea",
        "Bea Lee",
        "bea@example.org",
        "svc:builds/nightly",
        "O\u2019Brien",
        "Jos\u00e9",
        "Jose\u0301",
        "\uff22\uff25\uff21",
        "\u7530\u4e2d \u3072\u308d\u3057",
        "\u0e19\u0e49\u0e33",
        "\u05d3\u05e0\u05d4",
        "\U0001f916 builds",
    ],
)
def test_names_as_people_have_them(name):
    """Of any script, with punctuation and symbols."""
    assert name_problems(name) == ()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("be\u200ba", "it contains U+200B ZERO WIDTH SPACE, which is invisible; leave it out"),
        ("bea\u3164", "it contains U+3164 HANGUL FILLER, which is invisible; leave it out"),
        ("bea\uffa0", "it contains U+FFA0 HALFWIDTH HANGUL FILLER, which is invisible; leave it out"),
        ("be\ufe0fa", "it contains U+FE0F VARIATION SELECTOR-16, which is invisible; leave it out"),
        ("be\u034fa", "it contains U+034F COMBINING GRAPHEME JOINER, which is invisible; leave it out"),
        ("\u202eaeb", "it contains U+202E RIGHT-TO-LEFT OVERRIDE, which is invisible; leave it out"),
        ("be\U000e0061a", "it contains U+E0061 TAG LATIN SMALL LETTER A, which is invisible; leave it out"),
        ("be\ue000a", "it contains U+E000 PRIVATE USE, which is invisible; leave it out"),
        ("b\tea", "it contains U+0009 TAB; leave it out"),
        ("b\x00ea", "it contains U+0000 CONTROL CHARACTER; leave it out"),
        (
            "b\u00a0ea",
            "it contains U+00A0 NO-BREAK SPACE, which is blank; use a single ordinary space, or none",
        ),
        (
            "\u2800",
            "it contains U+2800 BRAILLE PATTERN BLANK, which is blank; use a single ordinary space, or none",
        ),
        (
            "\ufb01ona",
            "it contains U+FB01 LATIN SMALL LIGATURE FI, a variant of other characters; use 'fi' instead",
        ),
        (
            "\U0001d41bea",
            "it contains U+1D41B MATHEMATICAL BOLD SMALL B, a variant of other characters; use 'b' instead",
        ),
        (
            "b  ea",
            "it begins or ends with a space, or has several in a row; leave single spaces between words",
        ),
        (
            " bea",
            "it begins or ends with a space, or has several in a row; leave single spaces between words",
        ),
        (
            "bea \u0301x",
            "a word begins with U+0301 COMBINING ACUTE ACCENT, which belongs on a letter; leave it out",
        ),
    ],
)
def test_a_name_problem_tells_the_character_and_what_to_do(name, problem):
    """By code point and name, since it can't be seen."""
    assert name_problems(name) == (problem,)


def test_many_invalid_characters_make_a_short_message():
    """The first ones are told by name."""
    problems = name_problems("".join(map(chr, range(0x200B, 0x2010))) + "bea\u00ad\u034f")

    assert len(problems) == 6
    assert problems[-1] == "2 more of its characters are invalid"


@tries(300)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_two_accepted_names_of_one_person_look_alike(name):
    """A name without problems shows everything that is in it: nothing of it is skipped when people are compared."""
    assume(not name_problems(name))

    assert name.isprintable()
    assert len(unicodedata.normalize("NFD", person(name))) >= len(name.split(" "))
    assert person(name).count(" ") == name.count(" ")


# -- scripts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scripts"),
    [
        ("bea 42!", {"Latin"}),
        ("\uff22\uff45\uff41", {"Latin"}),
        ("b\u0435a", {"Cyrillic", "Latin"}),
        ("\u03b2ea", {"Greek", "Latin"}),
        ("\u7530\u4e2d\u3072\u308d\u3057\u30fc", {"Han", "Hiragana", "Katakana"}),
        ("42", set()),
    ],
)
def test_the_scripts_of_letters(name, scripts):
    """Digits, punctuation and accents are of no script."""
    assert scripts_of(name) == scripts


@pytest.mark.parametrize(
    "name",
    [
        "bea",
        "Jos\u00e9",
        "\u0410\u043d\u043d\u0430 1",
        "\u7530\u4e2d\u3072\u308d\u3057",
        "\u91d1\uae40",
        "\u7530\u3105",
        "42",
    ],
)
def test_names_of_one_script(name):
    """Japanese, Korean and Chinese are written with several, and are one each."""
    assert script_problem(name) is None


def test_a_name_that_mixes_scripts_is_told_by_its_letters():
    """One of each script, by code point: they may look the same."""
    assert script_problem("b\u0435a") == (
        "it mixes Cyrillic and Latin: 'b' (U+0062 LATIN SMALL LETTER B), '\u0435' (U+0435 CYRILLIC SMALL LETTER IE)"
    )
    assert script_problem("\u7530 Taro") is not None
    assert script_problem("\u3072\uae40") is not None
