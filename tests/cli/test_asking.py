"""What is typed at the questions of a form, and what becomes of it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from registration.cli.asking import Asker, WentBack
from registration.onboarding.wizards.forms import SchemaForm
from registration.onboarding.wizards.shapes import shape_of, with_order
from registration.onboarding.wizards.wizard import Option, Problem


def asked(schema, *lines, known=None, options=None, check=lambda _: []):
    """The answer that comes of these lines, what was kept on the way, and what was shown."""
    kept = []
    shape = shape_of(
        SchemaForm(with_order({"type": "object", "properties": schema, "required": list(schema)})).schema,
        options or {},
    )
    with CliRunner().isolation("".join(line + "\n" for line in lines)) as (out, err, *_):
        answer = Asker(check, kept.append).ask(shape, known or {})
        shown = out.getvalue().decode() + err.getvalue().decode()
    return answer, kept, shown


WORDS = {"args": {"type": "array", "items": {"type": "string"}}}
NUMBERS = {"ports": {"type": "array", "minItems": 1, "items": {"type": "integer"}}}
TABLE = {"access": {"type": "object", "additionalProperties": {"type": "string"}}}
PEOPLE = {
    "people": {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "by": WORDS["args"]},
        },
    }
}


def test_words_on_one_line_come_as_they_were_typed():
    """Twice the same is twice; a dash leaves all out."""
    assert asked(WORDS, "-v, x , -v")[0] == {"args": ["-v", "x", "-v"]}
    assert asked(WORDS, "-", known={"args": ["a"]})[0] == {"args": []}
    assert asked(WORDS, "", known={"args": ["a", "b"]})[0] == {"args": ["a", "b"]}


def test_each_word_that_is_none_is_named():
    """And nothing is taken until all are."""
    answer, _, shown = asked(NUMBERS, "", "80, http, x", "?", "80,443")

    assert answer == {"ports": [80, 443]}
    assert "! at least 1 is required; ? explains" in shown
    assert "! 'http' is not a whole number" in shown
    assert "! 'x' is not a whole number" in shown
    assert "Expected: several values, one after the other." in shown


def test_a_table_is_kept_entry_by_entry():
    """Added, changed, removed; each entry is looked at by itself."""
    wrong = Problem("/access/bee", "it is no access")
    answer, kept, shown = asked(
        TABLE, "bee", "fly", "read", "bear", "write", "-bee", "bear", "none", "",
        check=lambda found: [wrong] if found["access"].get("bee") == "fly" else [],
    )  # fmt: skip

    assert answer == {"access": {"bear": "none"}}
    assert "! at /access/bee: it is no access" in shown
    assert {"access": {"bear": "write"}} in kept


def test_a_list_is_kept_as_it_grows_and_shrinks():
    """Field by field, and what is not right any more is asked first."""
    answer, kept, shown = asked(
        PEOPLE,
        "ada",
        "",
        "add",
        "bea",
        "x,y",
        "remove 1",
        "add",
        "cyd",
        "",
        "remove 2",
        "change 7",
        "change 1",
        "",
        "-",
        "",
    )

    assert answer == {"people": [{"name": "bea"}]}
    assert kept[0] == {"people": [{"name": "ada"}]}
    assert {"people": [{"name": "ada"}, {"name": "bea", "by": ["x", "y"]}]} in kept
    assert {"people": [{"name": "bea", "by": ["x", "y"]}, {"name": "cyd"}]} in kept
    assert kept[-1] == answer
    assert "type `add`, `change 1`, `remove 1` or `done`" in shown


def test_changing_an_item_keeps_the_rest_of_it_until_it_is_said_anew():
    """Whoever is killed in the middle of a change has lost nothing."""
    known = {"people": [{"name": "ada", "by": ["x"]}]}
    _, kept, _ = asked(PEOPLE, "change 1", "eve", "", "", known=known)

    assert kept[0] == {"people": [{"name": "eve", "by": ["x"]}]}


def test_options_are_meant_by_number_value_or_title():
    """Of a list, with commas."""
    options = {"/args/*": (Option("eth", "Ethereum"), Option("sol", "Solana"))}

    assert asked(WORDS, "2, ethereum,eth", options=options)[0] == {"args": ["sol", "eth", "eth"]}


def test_going_back_leaves_the_question():
    """From anywhere in an answer."""
    with pytest.raises(WentBack):
        asked(PEOPLE, "ada", "<")
