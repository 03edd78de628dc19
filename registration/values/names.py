"""Names: what documents call themselves, the versions of a name in their order, aliases and tags. Pure.

A *name* in full is what a document calls itself (`registration.values.ids.id_from_document`): ``acme/weather@1.2.0``. What
stands behind its last ``@`` is the version, where that begins with a letter or a digit; everything else is one name.

Versions are ordered as package registries order them, and the order is total: releases by Semantic Versioning 2.0.0
(https://semver.org, section 11) are above its pre-releases, and those above every other text. Among what is equal so
far, the later registration is above. So `latest` is a pre-release only where there is no release, and a version that is no
Semantic Versioning only where there is nothing else.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from registration.errors import InvalidArgument
from registration.values.ids import check_id, own_name

LATEST = "latest"
"""The alias that moves by itself."""

TAGS_MAX = 64
"""How many tags a manifest may have."""

# The regular expression that semver.org gives.
SEMVER = re.compile(
    r"(?P<major>0|[1-9]\d*)\.(?P<minor>0|[1-9]\d*)\.(?P<patch>0|[1-9]\d*)"
    r"(?:-(?P<pre>(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)
"""A version by Semantic Versioning 2.0.0, to be matched as a whole."""

_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_NUMBERED = re.compile(r"[vV][0-9].*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:/+-]{0,63}", re.ASCII)


class Name(NamedTuple):
    """A name in full, taken apart. version: None where the document has none."""

    name: str
    version: str | None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def split_name(full: str) -> Name:
    """Take a name in full apart; `str` of what comes of it is the same text again."""
    name, at, version = full.rpartition("@")
    if at and version[:1].isalnum():
        return Name(name, version)
    return Name(full, None)


def check_name(text: object) -> Name:
    """The name that somebody wrote, taken apart.

    Raises:
        InvalidArgument: when no document can be called that.
    """
    try:
        return split_name(check_id(text))
    except InvalidArgument as error:
        meant = own_name({"name": text}) if isinstance(text, str) else None
        raise InvalidArgument(
            f"{_shown(text)} is not a name that a manifest can hold: {error.details['problem']}."
            + (f" Did you mean {meant!r}?" if meant is not None else ""),
            "A name is what an id can be; in what documents call themselves, all else becomes a hyphen.",
            name=_shown(text),
        ) from None


Rank = tuple[int, tuple[int, int, int], tuple[tuple[int, int, str], ...]]


def version_rank(version: str | None) -> Rank:
    """Where a version stands by what it says; those that stand equal are ordered by when they were registered."""
    found = SEMVER.fullmatch(version or "")
    if found is None:
        return (0, (0, 0, 0), ())
    core = (int(found["major"]), int(found["minor"]), int(found["patch"]))
    if found["pre"] is None:
        return (2, core, ())
    # Numbers are below words; of two where one is the beginning of the other, the longer is above.
    parts = ((0, int(p), "") if p.isdigit() else (1, 0, p) for p in found["pre"].split("."))
    return (1, core, tuple(parts))


def check_alias(text: object) -> str:
    """Give `text` back where it can be an alias.

    Raises:
        InvalidArgument: when it can't; what looks like a version is none.
    """
    if isinstance(text, str) and _ALIAS.fullmatch(text) and not _NUMBERED.fullmatch(text):
        return text
    raise InvalidArgument(
        f"{_shown(text)} is not an alias.",
        "An alias has 1 to 64 letters, digits, _ and -, begins with a letter, and doesn't look like a version (v1).",
        alias=_shown(text),
    )


def is_alias(text: str) -> bool:
    """Whether that can be an alias."""
    return _ALIAS.fullmatch(text) is not None and _NUMBERED.fullmatch(text) is None


def check_tags(tags: object) -> tuple[str, ...]:
    """Tags, each once, sorted.

    Raises:
        InvalidArgument: when there are none, too many, or one of them can't be a tag.
    """
    given = list(tags) if isinstance(tags, tuple | list | set | frozenset) else [tags]
    good = {tag for tag in given if isinstance(tag, str) and _TAG.fullmatch(tag)}
    wrong = [_shown(tag) for tag in given if not (isinstance(tag, str) and tag in good)]
    if wrong or not given:
        raise InvalidArgument(
            f"{wrong[0]} is not a tag." if wrong else "No tag was given.",
            "A tag has 1 to 64 characters of A-Z a-z 0-9 . _ ~ : / + - and begins with a letter or digit.",
            tags=wrong,
        )
    found = tuple(sorted(good))
    if len(found) > TAGS_MAX:
        raise InvalidArgument(
            f"There are {len(found)} tags; a manifest has at most {TAGS_MAX}.",
            "Give fewer.",
            tags=list(found),
        )
    return found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"
