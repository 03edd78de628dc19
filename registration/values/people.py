"""People: when two spellings name one person, and which names new actors may have. Pure.

Names are stored and shown as typed, and compared by `person`. Its profile is *UsernameCaseMapped* of RFC 8265, section 3.3
(https://www.rfc-editor.org/rfc/rfc8265#section-3.3), on top of the IdentifierClass of RFC 8264, with the words of a name
separated by single spaces (section 3.5):

1. width: fullwidth and halfwidth characters are replaced by their ordinary forms;
2. case: lower case, whatever the language and the position in a word: the Greek final sigma is a sigma;
3. normalization: NFC, so that an accent may be part of its letter or a character of its own.

Differences from the RFC: punctuation and symbols of any script are accepted, as in earlier releases, and the direction of text is not
checked (section 3.3.2, rule 5). In names of earlier releases, which could have them, invisible characters are skipped, and a run of
white space is one space.

What it does not catch: characters that look the same. `script_problem` finds a name that mixes scripts, such as one Cyrillic letter
among Latin ones (https://www.unicode.org/reports/tr39/, section 5.1). A name that is written as a whole in another script (*whole-script
confusables* in the same report), look-alikes within one script (``l`` and ``I``, ``rn`` and ``m``), and words that a language holds to
be the same (``ss`` and ``ß``) are different people.

The data is that of Python's `unicodedata`: characters that were assigned after its version of Unicode are refused in new names.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_TOLD_MAX = 5
"""The number of invalid characters of a name that are told by name."""

_KEPT = 4_096
"""The number of names whose keys are remembered."""

# Default_Ignorable_Code_Point of Unicode, which `unicodedata` doesn't have; and three that show nothing, without that property.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\ufffc\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_BRAILLE_BLANK = "\u2800"
_FINAL_SIGMA, _SIGMA = "\u03c2", "\u03c3"
_CONTROLS = {"\t": "TAB", "\n": "LINE FEED", "\r": "CARRIAGE RETURN", "\x1b": "ESCAPE", "\x7f": "DELETE"}
"""Control characters, to which Unicode gives no names."""
_UNNAMED = {"Cc": "CONTROL CHARACTER", "Cs": "SURROGATE", "Co": "PRIVATE USE", "Cn": "NOT ASSIGNED"}
_COMPOUND = frozenset({"Thai", "Lao"})
"""Scripts with letters that NFKC takes apart, though everyone writes them as one."""

_NO_SCRIPT = frozenset({"MODIFIER", "CARON", "VERTICAL", "MASU", "VEDIC"})
_TWO_WORDS = frozenset({"OLD", "NEW", "TAI", "LINEAR", "MEROITIC", "INSCRIPTIONAL", "IMPERIAL"})
_SCRIPTS = {
    "CJK": "Han",
    "IDEOGRAPHIC": "Han",
    "HENTAIGANA": "Hiragana",
    "KATAKANA-HIRAGANA": "Katakana",
    "ROMAN": "Latin",
    "TURNED": "Latin",
}
"""Scripts by the first word of a letter's name, where that is not the script's name."""
_TOGETHER = (
    frozenset({"Han", "Hiragana", "Katakana"}),
    frozenset({"Han", "Hangul"}),
    frozenset({"Han", "Bopomofo"}),
)
"""Scripts that are written together: Japanese, Korean, Chinese."""


@lru_cache(_KEPT)
def person(name: str) -> str:
    """The key of the person whom a name spells: two spellings name one person iff their keys are equal.

    A key is its own key. It is for comparing, not for showing.
    """
    if name.isascii():
        return " ".join(name.lower().split())
    while (key := _mapped(name)) != name:  # a mapping can give rise to another one, twice at most
        name = key
    return key


def same_person(one: str | None, other: str | None) -> bool:
    """Whether two names spell one person. None, an unnamed actor, is nobody's spelling, not even of None."""
    if one is None or other is None:
        return False
    return one == other or person(one) == person(other)


def spellings(seen: dict[str, str], name: str) -> str | None:
    """The first spelling of the same person among those passed before, if `name` differs from it; otherwise None.

    seen: the first spellings by key; `name` is added to it.
    """
    first = seen.setdefault(person(name), name)
    return first if first != name else None


@lru_cache(_KEPT)
def name_problems(name: str) -> tuple[str, ...]:
    """What is wrong with the name of a new actor, each with what to do: empty if nothing is. Its length is checked elsewhere.

    It has no control, invisible or blank characters, no ligatures, bold letters and other variants of characters (those that NFKC
    replaces), and only single spaces, between words.
    """
    if name.isascii() and name.isprintable() and name == " ".join(name.split()):
        return ()
    found = [problem for character in dict.fromkeys(name) if (problem := _problem(character))]
    problems = found[:_TOLD_MAX]
    if len(found) > _TOLD_MAX:
        problems.append(f"{len(found) - _TOLD_MAX} more of its characters are invalid")
    words = name.split(" ")
    if "" in words:
        problems.append(
            "it begins or ends with a space, or has several in a row; leave single spaces between words"
        )
    problems.extend(
        f"a word begins with {described(word[0])}, which belongs on a letter; leave it out"
        for word in words
        if word and unicodedata.category(word[0]).startswith("M")
    )
    return tuple(problems)


@lru_cache(_KEPT)
def scripts_of(name: str) -> frozenset[str]:
    """The scripts of the letters of a name (``Latin``, ``Cyrillic``, ``Han``). Other characters, such as digits, are of no script."""
    return frozenset(filter(None, map(_script, unicodedata.normalize("NFC", "".join(map(_widened, name))))))


def script_problem(name: str) -> str | None:
    """What is wrong with a name that mixes scripts; None if it doesn't. Japanese, Korean and Chinese are one script each."""
    scripts = scripts_of(name)
    if len(scripts) < 2 or any(scripts <= together for together in _TOGETHER):
        return None
    found: dict[str, str] = {}
    for letter in name:
        if script := _script(unicodedata.normalize("NFC", _widened(letter))[:1]):
            found.setdefault(script, letter)
    letters = ", ".join(f"{letter!r} ({described(letter)})" for letter in found.values())
    return f"it mixes {' and '.join(sorted(scripts))}: {letters}"


def described(character: str) -> str:
    """A character by code point and name: ``U+200B ZERO WIDTH SPACE``."""
    fallback = _CONTROLS.get(character) or _UNNAMED.get(unicodedata.category(character), "")
    return f"U+{ord(character):04X} {unicodedata.name(character, fallback)}".rstrip()


def _mapped(name: str) -> str:
    shown = " ".join(_INVISIBLE.sub("", name).replace(_BRAILLE_BLANK, " ").split())
    return unicodedata.normalize("NFC", "".join(map(_widened, shown)).lower().replace(_FINAL_SIGMA, _SIGMA))


def _widened(character: str) -> str:
    """A fullwidth or halfwidth character in its ordinary form."""
    form, _, ordinary = unicodedata.decomposition(character).partition(" ")
    return chr(int(ordinary, 16)) if form in ("<wide>", "<narrow>") else character


def _problem(character: str) -> str | None:
    if character == " ":
        return None
    category = unicodedata.category(character)
    if category == "Cc":
        return f"it contains {described(character)}; leave it out"
    if category[0] == "C" or _INVISIBLE.match(character):
        return f"it contains {described(character)}, which is invisible; leave it out"
    if category[0] == "Z" or character == _BRAILLE_BLANK:
        return f"it contains {described(character)}, which is blank; use a single ordinary space, or none"
    if unicodedata.decomposition(_widened(character)).startswith("<") and _script(character) not in _COMPOUND:
        ordinary = unicodedata.normalize("NFKC", character)
        instead = f"use {ordinary!r} instead" if ordinary.isalnum() else "leave it out"
        return f"it contains {described(character)}, a variant of other characters; {instead}"
    return None


def _script(character: str) -> str:
    """The script of a letter; empty for anything else, and for letters of several scripts."""
    if not unicodedata.category(character).startswith("L"):
        return ""
    words = unicodedata.name(character, "").split()
    if not words or words[0] in _NO_SCRIPT:
        return ""
    script = " ".join(words[:2]) if words[0] in _TWO_WORDS else words[0]
    return _SCRIPTS.get(script, script.capitalize())
