"""Commands: the words that may come with one are declared once, and checked where the command is made."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

import pytest

from registration.errors import InvalidArgument
from registration.pipeline.names import AliasWords
from registration.pipeline.pipeline import AsIf
from registration.values import commands
from registration.values.commands import CreateWords, ReachWords, RejectWords, Words, command


class Who(StrEnum):
    ADA = "ada"


def test_each_declared_word_is_checked_and_no_other():
    """`dry_run` is no part of a command, and everything else that a method takes has its check and its member."""
    declared = set(Words.__annotations__) - {"dry_run"}

    assert set(commands._CHECKS) == declared
    assert declared <= set(command("a", {}).__dataclass_fields__)
    for less in (CreateWords, ReachWords, RejectWords, AliasWords, AsIf):
        assert set(less.__annotations__) <= set(Words.__annotations__)


@pytest.mark.parametrize(
    ("word", "value", "kept"),
    [
        ("actor", Who.ADA, "ada"),
        ("reason", " no licence\n", "no licence"),
        ("comment", "", ""),
        ("context", MappingProxyType({"ticket": 7}), {"ticket": 7}),
        ("expected_version", 0, 0),
        ("fence", 2**53 - 1, 2**53 - 1),
        ("expected_digest", "sha256:" + "0" * 64, "sha256:" + "0" * 64),
        ("actor", None, None),
    ],
)
def test_what_may_be_said_is_kept(word, value, kept):
    """Text loses the white space at its ends, mappings become dicts, and nothing is a word that was not said."""
    found = getattr(command("a", {word: value}), word)

    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("actor", ""),
        ("actor", " ada"),
        ("actor", "a\nb"),
        ("actor", b"ada"),
        ("actor", "x" * 201),
        ("actor", "be\u200ba"),
        ("actor", "be  a"),
        ("actor", "\u2800"),
        ("reason", 7),
        ("reason", "x" * 10_001),
        ("comment", "\ud800"),
        ("context", ["a"]),
        ("context", {"reason": "twice"}),
        ("context", {1: "number"}),
        ("context", {"n": float("nan")}),
        ("expected_version", True),
        ("expected_version", -1),
        ("expected_version", 1.0),
        ("fence", 0),
        ("fence", 2**53),
        ("expected_digest", "sha256:0"),
        ("expected_head", "A" * 64),
        ("idempotency_key", ""),
        ("correlation_id", "line\nfeed"),
    ],
)
def test_what_can_not_be_meant_is_named_with_what_was_found(word, value):
    """Nothing is converted, cut or guessed."""
    with pytest.raises(InvalidArgument) as caught:
        command("a", {word: value})

    (problem,) = caught.value.details["problems"]
    assert problem.startswith(f"{word}: ")
    assert "(found " in problem


def test_a_word_that_there_is_not_is_a_slip_of_the_program():
    """As for any function of Python."""
    with pytest.raises(TypeError, match="'actr'"):
        command("a", {"actr": "ada"})
