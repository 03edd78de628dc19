"""The hash of a state: the hashes of its facts are remembered, and what is remembered is bounded."""

from __future__ import annotations

from dataclasses import replace

from registration.core import forms
from registration.core.forms import hash_of_state, is_proved
from tests.kit.builders import registered


def test_a_fact_that_is_another_object_is_hashed_again() -> None:
    """Equal facts have equal hashes, other ones have others, whatever was hashed before."""
    state = registered().state
    assert state is not None
    twin = replace(
        state, facts={name: value.copy() for name, value in state.facts.items() if isinstance(value, list)}
    )
    other = replace(twin, facts={**twin.facts, "authors": ["eve"]})

    first = hash_of_state(twin)

    assert hash_of_state(replace(twin, facts={**twin.facts, "authors": list(twin.facts["authors"])})) == first
    assert hash_of_state(other) != first
    assert is_proved(other, hash_of_state(other))
    assert not is_proved(other, first)


def test_what_is_remembered_of_large_facts_is_bounded() -> None:
    """Long-lived processes that write many large facts keep a few megabytes of them."""
    state = registered().state
    assert state is not None

    for number in range(100):
        large = {"answers": {"text": f"{number}" + "x" * 500_000}}
        hash_of_state(replace(state, facts=large))
    hash_of_state(replace(state, facts={"answers": "x" * 5_000_000}))

    kept = [member for member, _ in forms._RECENT.entries.values()]
    assert sum(len(str(member)) for member in kept) <= 4 * 1024 * 1024
