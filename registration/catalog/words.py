"""Words: the units of full-text search. Pure.

Text is split into runs of letters and digits, ignoring case and accents: ``Zürich`` is found by ``zurich``, and by
``zür``. A word is compared by its first `WORD_CHARACTERS_MAX` characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

WORD_CHARACTERS_MAX = 64

_WORD = re.compile(r"[^\W_]+")


def words_in(text: str) -> dict[str, None]:
    """The distinct words of a text, in order of their first appearance."""
    folded = text.casefold()
    if not folded.isascii():
        parts = unicodedata.normalize("NFKD", folded)
        folded = "".join(c for c in parts if not unicodedata.combining(c)).casefold()
    found = _WORD.findall(folded)
    if len(folded) > WORD_CHARACTERS_MAX:
        return dict.fromkeys(word[:WORD_CHARACTERS_MAX] for word in found)
    return dict.fromkeys(found)


def words_of(id: str, document: Mapping[str, Any] | None) -> dict[str, None]:
    """The words of a manifest: those of its id, and of every text in its document; member names are not included."""
    texts = [id]
    _collect(document, texts)
    return words_in("\n".join(texts))


def has_words(wanted: Iterable[str], words: Iterable[str]) -> bool:
    """Whether each wanted word is a prefix of one of the words."""
    return all(any(word.startswith(one) for word in words) for one in wanted)


def match_words(wanted: Iterable[str], *, whole: bool = False) -> str:
    """The same query for FTS5, whose tokenizer `ascii` accepts our words, joined by spaces, unchanged.

    whole: each wanted word must match exactly.
    """
    return " ".join(f'"{word}"' if whole else f'"{word}"*' for word in wanted)


def _collect(value: Any, texts: list[str]) -> None:
    kind = type(value)
    if kind is str:
        texts.append(value)
    elif kind is dict:
        for item in value.values():
            _collect(item, texts)
    elif kind is list or kind is tuple:
        for item in value:
            _collect(item, texts)
