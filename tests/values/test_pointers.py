"""JSON Pointers: the examples of RFC 6901, what is no pointer, and that a path and its pointer are one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.values.pointers import ABSENT, at_pointer, pointer
from tests.kit.builders import i_json, texts, tries

RFC = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}
"""The document of RFC 6901, section 5."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", RFC),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_the_examples_of_the_rfc(text, value):
    """Each pointer of RFC 6901, section 5, points to what it says there."""
    assert at_pointer(RFC, text) == value


@pytest.mark.parametrize(
    "text",
    [
        "foo",
        "/nothing",
        "/foo/2",
        "/foo/-",
        "/foo/-1",
        "/foo/+1",
        "/foo/00",
        "/foo/01",
        "/foo/1.0",
        "/foo/ 1",
        "/foo/²",
        "/foo/\N{ARABIC-INDIC DIGIT ONE}",
        "/foo/x",
        "/foo/",
        "/foo/0/b",
        "/foo/99999999999999999999",
        "/a/b",
        "/a~1b/x",
        "/m~n/x",
        "//",
    ],
)
def test_where_nothing_stands(text):
    """A missing member, an index beyond the end, and what is no pointer or no index: nothing, and no error."""
    assert at_pointer(RFC, text) is ABSENT


def test_a_null_is_something():
    """What stands there and is null is told from what isn't there."""
    assert at_pointer({"a": None}, "/a") is None
    assert at_pointer({"a": None}, "/b") is ABSENT
    assert repr(ABSENT) == "ABSENT"


@pytest.mark.parametrize(("text", "value"), [("/~01", "tilde one"), ("/~1", "slash"), ("/~00", "tilde zero")])
def test_escapes_are_read_in_order(text, value):
    """``~01`` is ``~1``, never ``/``: what was unescaped is not unescaped again."""
    assert at_pointer({"~1": "tilde one", "/": "slash", "~0": "tilde zero"}, text) == value


@given(st.lists(texts() | st.integers(0, 5), max_size=4), i_json())
@tries(200)
def test_what_is_put_at_a_path_stands_at_its_pointer(path, value):
    """Whatever characters the members' names have, a pointer made of a path leads to what stands there."""
    whole = value
    for step in reversed(path):
        whole = [None] * step + [whole] if isinstance(step, int) else {step: whole, step + "~": "another"}

    found = at_pointer(whole, pointer(path))

    assert found is value


@given(i_json(), texts())
@tries(200)
def test_any_text_is_answered(value, text):
    """Whatever is asked of whatever value, the answer is a part of it or nothing; never an error."""
    found = at_pointer(value, text)

    assert found is ABSENT or not text or text.startswith("/")


@given(st.lists(texts(), max_size=3), st.lists(texts(), max_size=3))
@tries(100)
def test_two_paths_never_have_one_pointer(one, other):
    """Pointers of different paths differ, whatever slashes and tildes the names have."""
    assert (pointer(one) == pointer(other)) is (one == other)
