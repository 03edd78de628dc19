"""Documents at intake: what is refused and why, what is kept, and what the digest is of."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import hashlib
import json
import sys

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from registration.errors import InvalidDocument
from registration.values.documents import (
    DEPTH_MAX,
    DOCUMENT_BYTES_MAX,
    INTEGER_MAX,
    check_document,
    digest_of,
    parse_document,
)
from tests.kit.builders import i_json, i_json_objects, texts, tries

NOT_FINITE = "it is not a finite number (NaN, or beyond ±1.8e308)"
BEYOND = "the integer is beyond ±2^53; write it as text"
HALF = "a lone surrogate, which is not a character"


def problems_of(given_document):
    """The problems that a document, as text or as Python values, is refused for."""
    take = parse_document if isinstance(given_document, bytes) else check_document
    with pytest.raises(InvalidDocument) as caught:
        take(given_document)
    str(caught.value).encode()  # an error can always be printed
    return caught.value.details["problems"]


def nested(levels):
    """A dict of that many levels, as Python values."""
    value = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


# -- text that is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "it is not JSON: Expecting value at line 1, column 1"),
        (b"{", "it is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        (b'{"a":1}\n{}', "it is not JSON: Extra data at line 2, column 1"),
        (b"{'a':1}", "it is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        (b'{"a":01}', "it is not JSON: Expecting ',' delimiter at line 1, column 7"),
        (b'{"a":"\n"}', "it is not JSON: Invalid control character at at line 1, column 7"),
        (b'\xff{"a":1}', "byte 0 is not UTF-8 (invalid start byte)"),
        (b'{"a":"\xc3"}', "byte 6 is not UTF-8 (invalid continuation byte)"),
        (b'{"a":"\xed\xa0\x80"}', "byte 6 is not UTF-8 (invalid continuation byte)"),  # an encoded surrogate
        (b'{"a":"\xc0\x80"}', "byte 6 is not UTF-8 (invalid start byte)"),  # an overlong zero
        (b"[]", "it is an array; expected a JSON object"),
        (b'"text"', "it is text; expected a JSON object"),
        (b"null", "it is null; expected a JSON object"),
        (b"5", "it is int; expected a JSON object"),
        (b"1.5", "it is float; expected a JSON object"),
        (b"true", "it is bool; expected a JSON object"),
        (b'{"a":' + b"[" * 100_000, "it is nested deeper than 100 levels"),
        (b"[" * 500_000, "it is nested deeper than 100 levels"),
        (b'{"a":' * 50_000, "it is nested deeper than 100 levels"),
    ],
)
def test_text_that_is_no_document(raw, problem):
    """Bytes that aren't JSON in UTF-8, or no object, are refused with the place where reading stopped."""
    assert problems_of(raw) == [problem]


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"{\x00}\x00"])
def test_other_encodings_are_refused(raw):
    """A byte order mark and UTF-16 are refused, as RFC 8259 asks: nobody guesses an encoding."""
    assert len(problems_of(raw)) == 1


@pytest.mark.parametrize(
    ("raw", "problems"),
    [
        (b'{"a":NaN}', [f"at /a: {NOT_FINITE}"]),
        (b'{"a":[Infinity,-Infinity]}', [f"at /a/0: {NOT_FINITE}", f"at /a/1: {NOT_FINITE}"]),
        (b'{"a":1e400,"b":-1e400}', [f"at /a: {NOT_FINITE}", f"at /b: {NOT_FINITE}"]),
        (b'{"a":9007199254740993}', [f"at /a: {BEYOND}"]),
        (b'{"a":{"b":[-9007199254740993]}}', [f"at /a/b/0: {BEYOND}"]),
        (b'{"a":1,"a":2}', ["at the top: duplicate key 'a'"]),
        (b'{"a":[{"b":{"c":1,"c":1}}]}', ["at /a/0/b: duplicate key 'c'"]),
        (b'{"a":1,"\\u0061":2}', ["at the top: duplicate key 'a'"]),
        (b'{"a":"\\ud800"}', [f"at /a: it has {HALF}"]),
        (b'{"a":["x\\udfffy"]}', [f"at /a/0: it has {HALF}"]),
        (b'{"\\udc00\\ud800":1}', [f"at the top: a key has {HALF}"]),
        (b'{"\\ud800":NaN}', [f"at the top: a key has {HALF}", f"at /\\ud800: {NOT_FINITE}"]),
        (b'{"a/b":{"m~n":{"":NaN}}}', [f"at /a~1b/m~0n/: {NOT_FINITE}"]),
    ],
)
def test_each_problem_is_named_by_its_json_pointer(raw, problems):
    """JSON that doesn't mean the same to everyone is refused, each place by its RFC 6901 pointer."""
    assert problems_of(raw) == problems


def test_integers_up_to_two_to_the_53_are_taken():
    """±2^53 are the last integers that every reader of JSON keeps; one beyond is refused."""
    bounds = {"most": INTEGER_MAX, "least": -INTEGER_MAX}

    assert check_document(bounds).value == bounds
    assert parse_document(json.dumps(bounds).encode()).value == bounds
    assert problems_of({"a": INTEGER_MAX + 1, "b": -INTEGER_MAX - 1}) == [
        f"at /a: {BEYOND}",
        f"at /b: {BEYOND}",
    ]


def test_a_number_of_very_many_digits_is_refused():
    """An integer of more digits than Python converts is refused like any other that is too large."""
    (problem,) = problems_of(b'{"a":' + b"7" * 5000 + b"}")

    assert "number" in problem or "integer" in problem
    assert "7" * 100 not in problem


def test_a_number_of_very_many_digits_is_one_problem_among_others():
    """It has its pointer too, and doesn't keep the other problems from being reported."""
    assert problems_of(b'{"a":' + b"7" * 5000 + b',"b":NaN}') == [f"at /a: {BEYOND}", f"at /b: {NOT_FINITE}"]


def test_a_number_of_four_thousand_digits_is_beyond():
    """Below Python's limit of digits an integer is read, and refused for its size."""
    assert problems_of(b'{"a":' + b"7" * 4000 + b"}") == [f"at /a: {BEYOND}"]


# -- Python values that are refused ----------------------------------------------------------------------


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({1, 2}, "set"),
        (b"bytes", "bytes"),
        (dt.date(2026, 1, 1), "date"),
        (decimal.Decimal("1.5"), "Decimal"),
        (1 + 2j, "complex"),
        (object(), "object"),
        (Colour.RED, "Colour"),
        (collections.OrderedDict(), "OrderedDict"),
        (range(3), "range"),
        (len, "builtin_function_or_method"),
    ],
)
def test_a_value_that_json_does_not_have_is_refused(value, kind):
    """Python values without one meaning in JSON are refused, never converted by guess."""
    assert problems_of({"a": [value]}) == [f"at /a/0: a {kind} is not a JSON value"]


@pytest.mark.parametrize(
    ("key", "shown"),
    [(1, "1"), (None, "None"), (True, "True"), (1.5, "1.5"), ((1, 2), "(1, 2)"), (b"a", "b'a'")],
)
def test_a_key_that_is_not_text_is_refused(key, shown):
    """A key that isn't text is refused: JSON would make text of it, and not everybody the same."""
    assert problems_of({"a": {key: 1}}) == [f"at /a: the key {shown} is not a string"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ([], "an array"),
        ("text", "text"),
        (None, "null"),
        (5, "int"),
        (collections.OrderedDict(a=1), "OrderedDict"),
        ((), "tuple"),
    ],
)
def test_a_document_is_a_dict(value, found):
    """A document is a JSON object, and nothing else at its top."""
    assert problems_of(value) == [f"it is {found}; expected a JSON object"]


def test_python_values_have_the_same_problems_as_text():
    """What is refused in text is refused in Python values, in the same words."""
    value = {"a": float("nan"), "b": [float("inf")], "c": 2**60, "\ud800": "\udfff"}

    assert problems_of(value) == [
        f"at /a: {NOT_FINITE}",
        f"at /b/0: {NOT_FINITE}",
        f"at /c: {BEYOND}",
        f"at the top: a key has {HALF}",
        f"at /\\ud800: it has {HALF}",
    ]


# -- bounds ----------------------------------------------------------------------------------------------


def test_a_hundred_levels_are_taken():
    """The documented depth is taken, as text and as Python values; the document itself is level 1."""
    value = nested(DEPTH_MAX)

    assert check_document(value).value == value
    assert parse_document(json.dumps(value).encode()).value == value


def test_a_hundred_and_one_levels_are_refused():
    """One level more is refused, with the place, however the document comes."""
    value = nested(DEPTH_MAX + 1)
    place = "/a" * 60 + "…"

    assert problems_of(value) == [f"at {place}: it is nested deeper than 100 levels"]
    assert problems_of(json.dumps(value).encode()) == problems_of(value)


def test_what_is_too_deep_does_not_hide_what_else_is_wrong():
    """A branch that is too deep is one problem among the others."""
    problems = problems_of({"deep": nested(DEPTH_MAX), "number": float("nan")})

    assert len(problems) == 2
    assert problems[1] == f"at /number: {NOT_FINITE}"


def test_a_document_that_contains_itself_is_refused():
    """A dict or list inside itself has no end, and is refused as too deep."""
    inside = {"a": 1}
    inside["self"] = inside
    array = []
    array += [array, array]

    assert problems_of(inside) == ["at " + "/self" * 24 + "…: it is nested deeper than 100 levels"]
    assert all("it is nested deeper than 100 levels" in problem for problem in problems_of({"a": array}))


def test_a_document_of_a_mebibyte_is_taken():
    """Size is counted in bytes of UTF-8, and the bound itself is inside."""
    raw = b'{"a":"' + b"x" * (DOCUMENT_BYTES_MAX - 8) + b'"}'

    assert len(raw) == DOCUMENT_BYTES_MAX
    assert parse_document(raw).size_bytes == DOCUMENT_BYTES_MAX
    assert problems_of(raw + b" ") == ["it has 1,048,577 bytes; at most 1,048,576 are allowed"]


def test_python_values_are_measured_in_their_compact_form():
    """Values are as large as their compact UTF-8, not as they look in Python."""
    assert check_document({"a": "é" * 10}, size_bytes_max=28).size_bytes == 28
    with pytest.raises(InvalidDocument, match="it has 28 bytes; at most 27 are allowed"):
        check_document({"a": "é" * 10}, size_bytes_max=27)


def test_the_bound_is_the_registrys():
    """A registry may take larger or smaller documents than the default."""
    with pytest.raises(InvalidDocument, match="it has 12 bytes; at most 10 are allowed"):
        parse_document(b'{"a": "bcd"}', size_bytes_max=10)


# -- how problems are reported ---------------------------------------------------------------------------


def test_all_problems_are_reported_at_once():
    """Nobody mends a document one error at a time: every problem is in the first answer, in reading order."""
    raw = (
        b'{"name":"\\ud800","list":[1,9007199254740993,{"x":1,"x":2}],"number":-Infinity,'
        b'"list2":[[],[NaN]],"name2":1,"name2":2}'
    )

    assert problems_of(raw) == [
        "at the top: duplicate key 'name2'",
        f"at /name: it has {HALF}",
        f"at /list/1: {BEYOND}",
        "at /list/2: duplicate key 'x'",
        f"at /number: {NOT_FINITE}",
        f"at /list2/1/0: {NOT_FINITE}",
    ]


def test_problems_inside_a_member_that_is_given_twice_are_reported():
    """Of a member that is given twice, what is wrong inside the first is reported as well."""
    assert problems_of(b'{"a":{"x":1,"x":2},"a":3}') == [
        "at the top: duplicate key 'a'",
        "at /a: duplicate key 'x'",
    ]


@pytest.mark.parametrize(("wrong", "more"), [(19, False), (20, False), (21, True), (5000, True)])
def test_at_most_twenty_problems_are_listed(wrong, more):
    """Twenty problems are listed; the message says whether there are more."""
    with pytest.raises(InvalidDocument) as caught:
        check_document({"a": [float("nan")] * wrong})

    assert len(caught.value.details["problems"]) == min(wrong, 20)
    assert caught.value.details["problems"][0] == f"at /a/0: {NOT_FINITE}"
    assert caught.value.problem.endswith("; and more.") == more


@pytest.mark.parametrize(
    "document",
    [
        dict.fromkeys(range(100_000), 1),
        b"{" + b",".join(b'"%d":1,"%d":1' % (n, n) for n in range(50_000)) + b"}",
        {f"{n}\ud800": n for n in range(100_000)},
        {"a": [[float("nan")] * 300] * 300},
    ],
    ids=["keys-of-no-text", "keys-twice", "keys-of-surrogates", "values"],
)
def test_a_hundred_thousand_problems_make_a_short_message(document):
    """A document that is wrong everywhere is refused with twenty problems, in a message one can read."""
    assert len(problems_of(document)) == 20
    assert all(len(problem) < 250 for problem in problems_of(document))


def test_the_error_calls_the_document_what_the_caller_calls_it():
    """An error about a file names the file, and says what to do."""
    with pytest.raises(InvalidDocument) as caught:
        parse_document(b"[]", source="card.json")

    assert str(caught.value) == (
        "card.json is invalid: it is an array; expected a JSON object. Correct the document and try again."
    )
    assert caught.value.details["source"] == "card.json"


def test_long_names_are_cut_in_messages():
    """A key or a path that fills a screen is shown by its beginning."""
    key = "k" * 1000
    problems = problems_of(json.dumps({key: {"deep": float("nan")}, "x": 1}).encode())

    assert problems == ["at /" + "k" * 119 + "…: " + NOT_FINITE]
    assert problems_of(b'{"%s":1,"%s":2}' % (key.encode(), key.encode())) == [
        "at the top: duplicate key '" + "k" * 60 + "…'"
    ]


# -- hostile documents -----------------------------------------------------------------------------------


class TooMuchWork(Exception):
    """More function calls than a document of that size can be worth."""


def within(calls_max, call):
    """The result of `call`, which may take so many steps: a bound on work that no slow machine can miss."""
    steps = 0

    def count(*_):
        nonlocal steps
        steps += 1
        if steps > calls_max:
            raise TooMuchWork

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        return call()
    finally:
        sys.setprofile(before)


def test_a_megabyte_key_above_many_children():
    """Paths are made for problems only: a huge key above 100,000 values is read in the memory of its size."""
    key = b"k" * 700_000
    sound = b'{"%s":[%s]}' % (key, b",".join([b"1"] * 100_000))
    wrong = b'{"%s":[%s,NaN]}' % (key, b",".join([b"1"] * 100_000))

    assert parse_document(sound).size_bytes == len(sound)
    assert problems_of(wrong) == ["at /" + "k" * 119 + "…: " + NOT_FINITE]


def test_a_megabyte_key_above_many_problems():
    """Nor do 100,000 problems below a huge key take its size each."""
    problems = problems_of(b'{"%s":[%s]}' % (b"k" * 500_000, b",".join([b"NaN"] * 100_000)))

    assert problems == ["at /" + "k" * 119 + "…: " + NOT_FINITE] * 20


def test_values_shared_many_times_over_take_no_more_work_than_they_may_have_bytes():
    """A few Python lists that share each other stand for 2^40 values: too large, found without counting them."""
    shared = []
    for _ in range(40):
        shared = [shared, shared]

    with pytest.raises(InvalidDocument, match="more values than 10,000 bytes can hold"):
        within(1_000_000, lambda: check_document({"a": shared}, size_bytes_max=10_000))


# -- what is kept ----------------------------------------------------------------------------------------


def test_a_document_is_kept_as_it_is_given():
    """Members keep their order, text its characters, numbers their kind: nothing is normalised."""
    raw = '{"z":1,"a":1.0,"m":{"y":[],"b":{}},"é":"e\u0301","n":-0.0,"t":true,"0":null}'.encode()

    document = parse_document(raw)

    assert orjson.dumps(document.value) == raw
    assert list(document.value) == ["z", "a", "m", "é", "n", "t", "0"]
    assert document.size_bytes == len(raw)


@given(i_json_objects())
@tries(200)
def test_every_i_json_object_is_kept_as_it_is_given(value):
    """Whatever I-JSON comes in, as text or as values, the same comes out, in the same order."""
    from_text = parse_document(json.dumps(value).encode())
    from_values = check_document(value)

    assert from_text == from_values
    assert repr(from_values.value) == repr(value)
    assert from_values.size_bytes == len(orjson.dumps(value))


def test_changing_what_was_given_changes_nothing():
    """The document is a copy: what the caller does afterwards with its dict does not reach it."""
    inner = [1, 2]
    given_value = {"a": inner, "b": {"c": "d"}}
    document = check_document(given_value)

    inner.append(3)
    given_value["b"]["c"] = "changed"
    given_value["new"] = 1

    assert document.value == {"a": [1, 2], "b": {"c": "d"}}
    assert document.digest == digest_of({"a": [1, 2], "b": {"c": "d"}})


def test_tuples_are_arrays():
    """A tuple is the same document as a list."""
    assert check_document({"a": (1, (2, 3))}) == check_document({"a": [1, [2, 3]]})


# -- the digest ------------------------------------------------------------------------------------------


def canonical(value):
    """The RFC 8785 form by the reference library, which wants ±2^53 as doubles."""

    def doubles(item):
        if isinstance(item, dict):
            return {key: doubles(inner) for key, inner in item.items()}
        if isinstance(item, list):
            return [doubles(inner) for inner in item]
        return float(item) if type(item) is int and abs(item) == INTEGER_MAX else item

    return rfc8785.dumps(doubles(value))


def sha256(raw):
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def test_the_digest_is_that_of_the_rfcs_example():
    """The example of RFC 8785, section 3.2.2, has the digest of the canonical form that the RFC prints."""
    raw = rb"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"""
    printed = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )

    assert parse_document(raw).digest == sha256(printed.encode())


def test_keys_are_sorted_as_the_rfc_sorts_them():
    """The example of RFC 8785, section 3.2.3: keys are ordered by UTF-16 units, so 😀 is before U+FB33."""
    raw = rb"""{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
      "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"""
    printed = (
        '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis",'
        '"€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}'
    )

    assert parse_document(raw).digest == sha256(printed.encode())


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ({}, "{}"),
        ({"a": -0.0}, '{"a":0}'),
        ({"a": 1.0}, '{"a":1}'),
        ({"a": 1e21}, '{"a":1e+21}'),
        ({"a": 1e20}, '{"a":100000000000000000000}'),
        ({"a": 5e-324}, '{"a":5e-324}'),
        ({"a": 0.000001, "b": 1e-7}, '{"a":0.000001,"b":1e-7}'),
        ({"a": 2**53}, '{"a":9007199254740992}'),
        ({"a": -(2**53)}, '{"a":-9007199254740992}'),
        ({"a": 2**53, "b": 0.5}, '{"a":9007199254740992,"b":0.5}'),
        ({"a": 2**53, "\U0001f600": [-(2**53)]}, '{"a":9007199254740992,"😀":[-9007199254740992]}'),
        ({"a": "\x00\b\t\n\x0b\f\r\x1f\x7f"}, '{"a":"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\x7f"}'),
        ({"\x00": "\u2028</script>"}, '{"\\u0000":"\u2028</script>"}'),
        ({"\uffff": 1, "\ue000": 2, "\U00010000": 3}, '{"\U00010000":3,"\ue000":2,"\uffff":1}'),
        ({"\uffff": 1, "\ue000": 2}, '{"\ue000":2,"\uffff":1}'),
        ({"a": {"\U00010000": 1, "\ue000": 2}}, '{"a":{"\U00010000":1,"\ue000":2}}'),
        ({"b": [{"d": 1, "c": 2}], "a": (True, None)}, '{"a":[true,null],"b":[{"c":2,"d":1}]}'),
    ],
)
def test_the_digest_is_of_the_canonical_form(value, printed):
    """The digest is SHA-256 of the form that RFC 8785 gives the document, corner by corner."""
    assert check_document(value).digest == sha256(printed.encode())


@pytest.mark.parametrize("floats", [False, True])
def test_every_digest_is_that_of_the_reference(floats):
    """With floats and without, the digest is that of `rfc8785.dumps`, so anybody can compute it again."""

    @given(i_json_objects(floats=floats))
    @tries(300)
    def each(value):
        assert check_document(value).digest == sha256(canonical(value))

    each()


@given(i_json())
@tries(100)
def test_any_value_has_a_digest(value):
    """What is no object has a digest in the same way: that of its RFC 8785 form."""
    assert digest_of(value) == sha256(canonical(value))


@given(i_json_objects(), st.randoms(use_true_random=False))
@tries(200)
def test_order_and_white_space_do_not_change_the_digest(value, chance):
    """Two spellings of one document have one digest: only what it says counts."""

    def shuffled(item):
        if isinstance(item, dict):
            members = list(item.items())
            chance.shuffle(members)
            return {key: shuffled(inner) for key, inner in members}
        return [shuffled(inner) for inner in item] if isinstance(item, list) else item

    other = json.dumps(shuffled(value), indent=chance.choice([None, 1, "\t"])).encode()

    assert parse_document(b" \n" + other + b"\r\n").digest == check_document(value).digest


@given(st.dictionaries(texts(), i_json(floats=False), min_size=1, max_size=4))
@tries(100)
def test_another_document_has_another_digest(value):
    """Any change to what a document says changes its digest."""
    key = next(iter(value))

    assert check_document({**value, key: [value[key]]}).digest != check_document(value).digest
    assert check_document({**value, key + "x" * 20: None}).digest != check_document(value).digest
