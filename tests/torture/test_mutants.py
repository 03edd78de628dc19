"""Tests that would fail: some broken promises, each caught. `tests/torture/mutants.py` runs all of them, by hand."""

from __future__ import annotations

import pytest

from tests.torture.mutants import MUTANTS, copied, failures, mutated

RUN = ("no fdatasync", "given is not looked at", "doubt is forgotten")


@pytest.mark.sample
@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutant_can_be_made(mutant):
    """The text that it replaces is there."""
    assert mutated(mutant)


def test_a_mutant_is_caught():
    """All of its tests pass without it, and some of them fail with it."""
    mutants = [mutant for mutant in MUTANTS if mutant.name in RUN]
    with copied() as root:
        assert failures(root, None, [test for mutant in mutants for test in mutant.tests]) == []
        survived = [mutant.name for mutant in mutants if not failures(root, mutant, mutant.tests)]

    assert survived == []
