"""Ids, UUIDs, layout, times and retries: the small values that everything else is named and ordered by."""

from __future__ import annotations

import random
import string
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.errors import InvalidArgument, InvalidDocument
from registration.storage import layout
from registration.values.ids import (
    ID_CHARACTERS_MAX,
    NAME_BYTES_MAX,
    check_id,
    id_from_document,
    id_of,
    name_of,
    uuid7,
)
from registration.values.times import RetryPolicy, rfc3339, system_clock
from tests.kit.builders import tries

ID_ALPHABET = string.ascii_letters + string.digits + "._~:/@+-"


def ids() -> st.SearchStrategy[str]:
    """Everything that an id can be, within the bound on its file name."""
    first = st.sampled_from(string.ascii_letters + string.digits)
    rest = st.text(ID_ALPHABET, max_size=ID_CHARACTERS_MAX - 1)
    return st.builds(str.__add__, first, rest).filter(lambda text: len(name_of(text)) <= NAME_BYTES_MAX)


# -- what an id is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id",
    [
        "a",
        "7",
        "io.github.acme/weather@1.2.0",
        "urn:air:acme.com:agent:weather",
        "https://example.com/agent.json",
        "Weather-Agent@1.0",
        "a..b",
        "a/../b",
        "a//",
        "x" * 200,
        "x" * 180 + ":" * 20,
        "x" * 180 + "/" * 20,
    ],
)
def test_an_id_is_given_back_as_it_is(id):
    """Every id of the documented form is taken, and comes back unchanged."""
    assert check_id(id) == id


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        (".", "it begins with '.'"),
        ("..", "it begins with '.'"),
        ("../../etc/passwd", "it begins with '.'"),
        ("/etc/passwd", "it begins with '/'"),
        ("-rf", "it begins with '-'"),
        ("~root", "it begins with '~'"),
        ("@scope/name", "it begins with '@'"),
        ("..%2f..%2fetc", "it has '%'"),
        ("a%2e%2e", "it has '%'"),
        ("a\\..\\b", "it has '\\\\'"),
        ("a b", "it has ' '"),
        (" a", "it has ' '"),
        ("a\n", "it has '\\n'"),
        ("\na", "it has '\\n'"),
        ("a\x00b", "it has '\\x00'"),
        ("a\x1b[2Jb", "it has '\\x1b'"),
        ("naïve", "it has 'ï'"),
        ("天気", "it has '天'"),
        ("a\u0661", "it has '\u0661'"),  # a digit, but none of ours
        ("\uff41", "it has '\uff41'"),  # a letter, but none of ours
        ("a\ud800", "it has '\\ud800'"),
        ("a*?", "it has '*'"),
        ("x" * 201, "it has 201 characters"),
        ("x" * 179 + ":" * 21, "as a file name it has more than 240 bytes"),
        (None, "it is a NoneType, not text"),
        (7, "it is a int, not text"),
        (b"weather", "it is a bytes, not text"),
    ],
)
def test_everything_else_is_refused(text, problem):
    """What is no id is refused, and the error names what is wrong with it and what an id looks like."""
    with pytest.raises(InvalidArgument, match="is an invalid manifest id") as caught:
        check_id(text)

    assert caught.value.details["problem"] == problem
    assert problem in str(caught.value)
    assert "1 to 200 characters" in caught.value.next_step


def test_a_refused_id_of_a_megabyte_is_not_repeated_whole():
    """An error about an absurdly long id shows how it begins, and is short."""
    with pytest.raises(InvalidArgument) as caught:
        check_id("x" * 1_000_000)

    assert len(str(caught.value)) < 400
    assert caught.value.details["manifest_id"].startswith("xxxx")


@given(ids())
@tries(300)
def test_every_id_is_taken(id):
    """An id may be made of any of its characters in any order."""
    assert check_id(id) == id


# -- ids and file names ----------------------------------------------------------------------------------


def test_the_file_name_is_readable():
    """Only what can't stand in a path's component is encoded, so `ls` shows the ids."""
    assert name_of("io.github.acme/weather@1.2.0") == "io.github.acme%2Fweather@1.2.0"
    assert name_of("urn:air:a~b+c_d") == "urn%3Aair%3Aa~b+c_d"


@given(ids())
@tries(300)
def test_an_id_comes_back_from_its_file_name(id):
    """The name of a directory says which id it belongs to, so no two ids share one."""
    name = name_of(id)

    assert id_of(name) == id
    assert "/" not in name
    assert name[0] not in ".-"
    assert len(name.encode()) <= NAME_BYTES_MAX


@given(st.text("aF23:/%.", max_size=9), st.text("aF23:/%.", max_size=9))
@tries(500)
def test_two_ids_never_share_a_file_name(one, other):
    """Ids that look like each other's encoded form still get directories of their own."""
    names = [name_of(id) for id in (one, other) if id_of(name_of(id)) == id]

    assert one == other or len(set(names)) == len(names)


@given(st.one_of(st.text(max_size=20), st.text("aF23%Af:/.", max_size=9)))
@tries(500)
def test_a_strange_file_name_has_no_id(name):
    """A name that no id has, such as one that somebody else's tool made, is passed over."""
    id = id_of(name)

    assert id is None or name_of(check_id(id)) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".git", "a%3ab", "a%2fb", "a%41", "a%", "a:b", "a/b", "a.tmp~%"]
)
def test_names_that_no_id_has(name):
    """Only the one encoding that is written is read back: no second spelling of the same id."""
    assert id_of(name) is None


# -- the id that a document gives itself -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "id"),
    [
        ({"name": "io.github.acme/weather", "version": "1.2.0"}, "io.github.acme/weather@1.2.0"),
        (
            {"name": "io.github.acme/weather", "version": "1.2.0-rc.1+b7"},
            "io.github.acme/weather@1.2.0-rc.1+b7",
        ),
        ({"name": "Weather Agent", "version": "1.0"}, "Weather-Agent@1.0"),
        ({"name": "  Weather   Agent!  "}, "Weather-Agent"),
        ({"name": "weather"}, "weather"),
        ({"name": "weather", "version": None}, "weather"),
        ({"name": "weather", "version": 2}, "weather"),
        ({"name": "weather", "version": ""}, "weather"),
        ({"name": "weather", "version": "天"}, "weather"),
        ({"name": "../../etc/passwd"}, "etc/passwd"),
        ({"name": "@scope/pkg", "version": "1.0.0"}, "scope/pkg@1.0.0"),
        ({"name": "Grüezi GmbH"}, "Gr-ezi-GmbH"),
        ({"name": "天気 Agent"}, "Agent"),
    ],
)
def test_a_document_names_itself(document, id):
    """An MCP server or an A2A card has an id without being given one, and it is a proper id."""
    found = id_from_document(document)

    assert found == id
    assert check_id(found) == found


def test_an_mcp_server_json_gives_its_name_and_version():
    """A whole `server.json` of the MCP registry is known by its name and version."""
    server = {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-09-29/server.schema.json",
        "name": "io.github.acme/weather",
        "description": "Weather forecasts",
        "version": "1.2.0",
        "packages": [{"registryType": "pypi", "identifier": "weather", "version": "9.9.9"}],
    }

    assert id_from_document(server) == "io.github.acme/weather@1.2.0"


def test_an_a2a_agent_card_gives_its_name_and_version():
    """An agent card, whose name is for people, is known by that name with hyphens in it."""
    card = {
        "protocolVersion": "0.3.0",
        "name": "GeoSpatial Route Planner Agent",
        "url": "https://georoute.example.com/a2a/v1",
        "version": "1.2.0",
        "skills": [{"id": "route", "name": "Route"}],
    }

    assert id_from_document(card) == "GeoSpatial-Route-Planner-Agent@1.2.0"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "it has no `name`"),
        ({"title": "Weather"}, "it has no `name`"),
        ({"name": None}, "it has no `name`"),
        ({"name": ""}, "its name '' is not usable as an id"),
        ({"name": "   "}, "its name '   ' is not usable as an id"),
        ({"name": 5}, "its name is 5, not text"),
        ({"name": ["weather"]}, "its name is ['weather'], not text"),
        ({"name": "天気"}, "its name '天気' is not usable as an id"),
        ({"name": "天気", "version": "1.0"}, "its name '天気' is not usable as an id"),
        ({"name": "Погода", "version": "1.0"}, "its name 'Погода' is not usable as an id"),
        ({"name": "..", "version": "1.0"}, "its name '..' is not usable as an id"),
        ({"name": "x" * 300}, "is not usable as an id"),
        ({"name": "x" * 150, "version": "1" * 100}, "is not usable as an id"),
    ],
)
def test_a_document_without_an_id_of_its_own(document, problem):
    """Where no id can be made from the document, the error says so and how to give one."""
    with pytest.raises(InvalidDocument) as caught:
        id_from_document(document)

    assert problem in caught.value.problem
    assert caught.value.next[0].missing == ("document", "id")
    assert len(str(caught.value)) < 400


@given(st.text(max_size=30), st.text(max_size=30))
@tries(300)
def test_a_document_gives_a_proper_id_or_none(name, version):
    """Whatever a document is called, the id made from it is one, or it is refused."""
    try:
        id = id_from_document({"name": name, "version": version})
    except InvalidDocument:
        return

    assert check_id(id) == id


# -- UUID version 7 --------------------------------------------------------------------------------------


def test_uuid7_is_that_of_the_rfc():
    """The example of RFC 9562, appendix A.6, comes out bit for bit."""
    randomness = (0xCC3 << 64 | 0x18C4DC0C0C07398F).to_bytes(10, "big")

    assert uuid7(0x017F22E279B0, randomness) == "017F22E2-79B0-7CC3-98C4-DC0C0C07398F".lower()


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
@tries(300)
def test_uuid7_has_its_version_variant_and_time(unix_ms, randomness):
    """Every id says that it is a version 7 of RFC 9562, and when it was made."""
    id = uuid.UUID(uuid7(unix_ms, randomness))

    assert id.version == 7
    assert id.variant == uuid.RFC_4122
    assert id.int >> 80 == unix_ms


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
@tries(200)
def test_uuid7_sorts_by_time(unix_ms, one, other):
    """As text, an id of a later millisecond sorts behind one of an earlier, whatever was drawn."""
    assert uuid7(unix_ms, one) < uuid7(unix_ms + 1, other)


def test_uuid7_uses_74_random_bits():
    """All 74 bits that the RFC leaves to chance are taken from what was drawn, and no more."""
    none, every = uuid.UUID(uuid7(0, bytes(10))), uuid.UUID(uuid7(0, b"\xff" * 10))

    assert (none.int ^ every.int).bit_count() == 74


# -- layout ----------------------------------------------------------------------------------------------


def test_the_layout_of_a_manifest():
    """A manifest's files are where the documented format says."""
    id = "io.github.acme/weather@1.2.0"

    assert layout.directory_of(id) == "io.github.acme%2Fweather@1.2.0"
    assert layout.log_path(id) == "manifests/io.github.acme%2Fweather@1.2.0/events.jsonl"
    assert layout.snapshot_path(id) == "manifests/io.github.acme%2Fweather@1.2.0/state.json"


@pytest.mark.parametrize("id", ["..", ".", "", "/etc", "../x", "a\x00", "a\\b", "%2e%2e", "x" * 201, None])
@pytest.mark.parametrize("path_of", [layout.directory_of, layout.log_path, layout.snapshot_path])
def test_no_path_is_built_from_what_is_no_id(path_of, id):
    """A path can't leave the registry: what is no id never becomes part of one."""
    with pytest.raises(InvalidArgument):
        path_of(id)


@given(ids())
@tries(200)
def test_a_path_has_three_components(id):
    """Whatever the id, its files are in one directory right below `manifests`."""
    place, name, file = layout.log_path(id).split("/")

    assert (place, file) == ("manifests", "events.jsonl")
    assert name not in {"", ".", ".."}


def test_a_quarantine_file_is_named_for_its_bytes():
    """Setting the same bytes aside again ends in the same file; other bytes, or another place, in another."""
    name = layout.quarantine_file(120, b"torn")

    assert name == layout.quarantine_file(120, b"torn")
    assert name.startswith("120-")
    assert name.endswith(".bytes")
    assert len({name, layout.quarantine_file(121, b"torn"), layout.quarantine_file(120, b"tor")}) == 3


# -- times -----------------------------------------------------------------------------------------------

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
LATEST = (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("unix_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (999, "1970-01-01T00:00:00.000000Z"),
        (1_000, "1970-01-01T00:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_769_851_800_123_456_789, "2026-01-31T09:30:00.123456Z"),
        (EARLIEST * 1000, "0001-01-01T00:00:00.000000Z"),
        (LATEST * 1000 + 999, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_written_in_one_form(unix_ns, text):
    """A time is RFC 3339 in UTC with six digits of microseconds, cut and never rounded up."""
    assert rfc3339(unix_ns) == text


@given(st.integers(EARLIEST, LATEST), st.integers(0, 999))
@tries(300)
def test_a_time_reads_back_as_what_it_was(unix_us, ns):
    """Any reader of RFC 3339 gets the very microsecond back."""
    read = datetime.fromisoformat(rfc3339(unix_us * 1000 + ns))

    assert (read - EPOCH) // timedelta(microseconds=1) == unix_us


@given(st.integers(EARLIEST, LATEST), st.integers(EARLIEST, LATEST))
@tries(300)
def test_times_sort_as_text(one, other):
    """Comparing two times as text is comparing the times."""
    assert (rfc3339(one * 1000) < rfc3339(other * 1000)) == (one < other)


@pytest.mark.parametrize("unix_us", [EARLIEST - 1, LATEST + 1, 10**30, -(10**30)])
def test_a_time_beyond_the_calendar_is_refused(unix_us):
    """A clock outside the years 1 to 9999 is an error, never a malformed text."""
    with pytest.raises(OverflowError):
        rfc3339(unix_us * 1000)


def test_the_system_clock_reads_nanoseconds_of_our_age():
    """The machine's clock is read in nanoseconds since 1970."""
    assert rfc3339(system_clock()) > "2024"


# -- retry -----------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.floats(0, 1), st.floats(0, 1), st.integers())
@tries(200)
def test_waits_are_one_fewer_than_tries_and_bounded(attempts_max, base_s, cap_s, seed):
    """There is a wait between any two tries; each is below a ceiling that doubles up to the cap."""
    policy = RetryPolicy(attempts_max=attempts_max, base_s=base_s, cap_s=cap_s)

    waits_s = list(policy.waits_s(random.Random(seed).random))

    assert len(waits_s) == attempts_max - 1
    assert all(0 <= wait_s <= min(base_s * 2**n, cap_s) for n, wait_s in enumerate(waits_s))


def test_waits_fill_their_range():
    """The whole range is used: a draw of nearly 1 waits nearly up to the ceiling, a draw of 0 not at all."""
    policy = RetryPolicy(attempts_max=6, base_s=1.0, cap_s=5.0)

    assert list(policy.waits_s(lambda: 0.5)) == [0.5, 1.0, 2.0, 2.5, 2.5]
    assert list(policy.waits_s(lambda: 0.0)) == [0.0] * 5


def test_the_same_draws_give_the_same_waits():
    """A schedule depends on its random source and nothing else."""
    policy = RetryPolicy()

    one = list(policy.waits_s(random.Random(7).random))

    assert one == list(policy.waits_s(random.Random(7).random))
    assert one != list(policy.waits_s(random.Random(8).random))
    assert max(one) <= 0.1


def test_ten_thousand_tries_end_in_the_cap():
    """A schedule of any length keeps to its cap: the doubling never overflows."""
    policy = RetryPolicy(attempts_max=10_000, base_s=0.001, cap_s=0.1)

    assert max(policy.waits_s(lambda: 0.999)) == pytest.approx(0.0999)


def test_one_try_waits_for_nothing():
    """Who tries once has no wait."""
    assert list(RetryPolicy(attempts_max=1).waits_s(lambda: 0.5)) == []


@pytest.mark.parametrize(
    "wrong", [{"attempts_max": 0}, {"attempts_max": -1}, {"base_s": -0.001}, {"cap_s": -1.0}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    """A policy without a try, or with a negative wait, can't be made."""
    with pytest.raises(ValueError, match="attempts_max ≥ 1 and waits ≥ 0"):
        RetryPolicy(**wrong)


@pytest.mark.parametrize("wrong", [{"base_s": float("nan")}, {"cap_s": float("nan")}])
def test_a_policy_that_waits_for_no_number_is_refused(wrong):
    """NaN is no wait ≥ 0: the error comes when the policy is made, not from the sleep after a conflict."""
    with pytest.raises(ValueError, match="waits ≥ 0"):
        RetryPolicy(**wrong)
