"""The tally of a feed: the same as in memory, whatever the lines say, and however many streams there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.errors import StoreError
from registration.storage.files.tally import Tally
from registration.storage.notes import Commit
from tests.kit.builders import tries

AREAS, STREAMS = ("manifests", "aliases"), ("a", "b", "ä\0c", "z" * 200)
sizes = st.integers(0, 3)


@st.composite
def records(draw):
    start = draw(sizes)
    return Commit(
        draw(st.sampled_from(AREAS)),
        draw(st.sampled_from(STREAMS)),
        1,
        1,
        start,
        start + draw(st.integers(1, 2)),
        draw(st.sampled_from("fg")) * 64,
        "2026-01-01T00:00:00.000000Z",
    )


def naively(lines, logs):
    """Which streams are doubtful: by the rule as it is said."""
    ends, broken = {}, set()
    for line in lines:
        key = (line.area, line.stream)
        if ends.get(key, 0) != line.start_bytes:
            broken.add(key)
        ends[key] = line.size_bytes
    return {key for key, size in logs.items() if key in broken or size != ends.get(key, 0)}


@tries(200)
@given(
    lines=st.lists(records(), max_size=12),
    logs=st.dictionaries(st.tuples(st.sampled_from(AREAS), st.sampled_from(STREAMS)), st.integers(0, 5)),
)
def test_it_says_what_the_rule_says(lines, logs):
    """Which streams are doubtful, sorted; how far each is sound; and which lines it has, the last of equal ones counting."""
    with Tally() as tally:
        tally.tell(lines)
        for area in AREAS:
            tally.doubt(area, [(stream, size) for (one, stream), size in logs.items() if one == area])
        for area in AREAS:
            for number, (stream, _) in enumerate(tally.doubtful(area)):
                tally.note_sound(area, stream, number)
        tally.note_lines(enumerate(lines))
        found = {(area, stream): sound for area in AREAS for stream, sound in tally.doubtful(area)}
        told = {key: tally.lines_of(*key) for key in found}

    expected = naively(lines, logs)
    assert set(found) == expected
    for area in AREAS:
        mine = [(stream, sound) for (one, stream), sound in found.items() if one == area]
        assert mine == [(stream, number) for number, (stream, _) in enumerate(sorted(mine))]
    assert told == {
        key: {
            (line.start_bytes, line.size_bytes, line.head): segment
            for segment, line in enumerate(lines)
            if (line.area, line.stream) == key
        }
        for key in expected
    }


def test_more_streams_than_are_looked_at_at_once():
    """Each comes once."""
    streams = [f"m{number:05d}" for number in range(1_777)]
    with Tally() as tally:
        tally.doubt("manifests", ((stream, 1) for stream in streams))

        assert [stream for stream, _ in tally.doubtful("manifests")] == streams


def test_a_line_that_says_more_than_any_file_has_is_nobodys():
    """It is passed over, and its stream looked at."""
    line = Commit("manifests", "a", 1, 1, 0, 2**64 - 1, "f" * 64, "2026-01-01T00:00:00.000000Z")
    with Tally() as tally:
        tally.tell([line])
        tally.doubt("manifests", [("a", 5), ("b", 0)])
        tally.note_lines([(1, line)])

        assert list(tally.doubtful("manifests")) == [("a", 0)]
        assert tally.lines_of("manifests", "a") == {}


def test_where_there_is_no_room_it_says_so():
    """With where the room is wanted."""
    tally = Tally()
    tally._db.execute("PRAGMA max_page_count = 5")

    with pytest.raises(StoreError, match="TMPDIR"):
        tally.doubt("manifests", ((f"m{number}" * 40, 1) for number in range(10_000)))
    tally._db.close()
