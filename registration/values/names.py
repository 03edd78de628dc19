"""Names: of documents, the order of their versions, aliases and tags. Pure.

A *full name* is derived from a document (`registration.values.ids.id_from_document`): ``acme/weather@1.2.0``. The part after
its last ``@`` is the version, if it begins with a letter or a digit; otherwise all of it is the name.

Versions have a total order, as in package registries: releases by Semantic Versioning 2.0.0
(https://semver.org, section 11) are above pre-releases, and those above all other texts. Ties are broken by registration:
the later one is above. So `latest` is a pre-release only if there is no release, and a version that is not
Semantic Versioning only if there is nothing else.
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
    """A full name, split. version: None if the document has none."""

    name: str
    version: str | None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def split_name(full: str) -> Name:
    """Split a full name; `str` of the result is the original text."""
    name, at, version = full.rpartition("@")
    if at and version[:1].isalnum():
        return Name(name, version)
    return Name(full, None)


def check_name(text: object) -> Name:
    """Validate and split a full name.

    Raises:
        InvalidArgument: when it is invalid.
    """
    try:
        return split_name(check_id(text))
    except InvalidArgument as error:
        meant = own_name({"name": text}) if isinstance(text, str) else None
        raise InvalidArgument(
            f"{_shown(text)} is an invalid name: {error.details['problem']}."
            + (f" Did you mean {meant!r}?" if meant is not None else ""),
            "A name has the form of an id; other characters in a document's name become hyphens.",
            name=_shown(text),
        ) from None


Rank = tuple[int, tuple[int, int, int], tuple[tuple[int, int, str], ...]]


def version_rank(version: str | None) -> Rank:
    """The sort key of a version; equal keys are ordered by the time of registration."""
    found = SEMVER.fullmatch(version or "")
    if found is None:
        return (0, (0, 0, 0), ())
    core = (int(found["major"]), int(found["minor"]), int(found["patch"]))
    if found["pre"] is None:
        return (2, core, ())
    # Numbers are below words; if one is a prefix of the other, the longer is above.
    parts = ((0, int(p), "") if p.isdigit() else (1, 0, p) for p in found["pre"].split("."))
    return (1, core, tuple(parts))


def check_alias(text: object) -> str:
    """Return `text` if it is a valid alias.

    Raises:
        InvalidArgument: when it is invalid; a text that looks like a version is no alias.
    """
    if isinstance(text, str) and _ALIAS.fullmatch(text) and not _NUMBERED.fullmatch(text):
        return text
    raise InvalidArgument(
        f"{_shown(text)} is an invalid alias.",
        "An alias has 1 to 64 letters, digits, _ and -, begins with a letter, and doesn't look like a version (v1).",
        alias=_shown(text),
    )


def is_alias(text: str) -> bool:
    """Whether this is a valid alias."""
    return _ALIAS.fullmatch(text) is not None and _NUMBERED.fullmatch(text) is None


def check_tags(tags: object) -> tuple[str, ...]:
    """The tags, sorted, without duplicates.

    Raises:
        InvalidArgument: when there are none, too many, or one of them is invalid.
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
