"""The codec: what the bytes of a log are, that nothing else is believed, and the same for snapshots.

The heart of it is one promise, tried from every side: whatever happens to the bytes of a log, `scan` gives
the events that were written, up to some point, or none; never others. And it calls a tail torn, which may be
cut off, only where no more than the last command can have been lost.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime

import orjson
import pytest
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from registration import __version__
from registration.core.codec import (
    TAIL_BYTES,
    BadLine,
    BadSnapshot,
    decode_line,
    decode_snapshot,
    encode_snapshot,
    head_of_tail,
    open_line,
    scan,
    seal,
)
from registration.core.decider import fold
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.events import NewEvent, Position, StateSnapshot
from tests.kit.builders import (
    ELSEWHERE,
    SOURCE,
    STREAM,
    Log,
    forge,
    i_json_objects,
    members_of,
    registered,
    texts,
    tries,
    with_batches,
)

START = Position()
OTHER = "io.github.acme/other"

# -- one line --------------------------------------------------------------------------------------------

FIRST_LINE = (
    '{"specversion":"1.0","id":"019b76da-a800-7000-8000-000000000000",'
    '"source":"urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057","type":"registration.created.v1",'
    '"subject":"io.github.acme/weather@1.2.0","time":"2026-01-01T00:00:00.000000Z","version":1,'
    '"correlationid":"req-1","idempotencykey":"k-1",'
    '"data":{"action":"create","from":null,"to":"DRAFT","actor":"ana",'
    f'"lifecycle":{{"name":"registration","version":1,"digest":"{REGISTRATION.identity["digest"]}"}},'
    f'"release":"{__version__}",'
    '"digest":"sha256:352e1f19171c899837aeb65668786e1c4a70a1a22d6d3ec1f9dc2f0cc65f5560",'
    '"document":{"name":"io.github.acme/weather","version":"1.2.0","title":"Wetter für Zürich ☂"}}'
)


def test_the_bytes_of_a_line():
    """A line is what the documented format says, byte for byte, in this release and in every later one."""
    line = registered().lines[0]
    covered = f'{FIRST_LINE},"statehash":"{first_statehash()}"'.encode()

    assert line == covered + b',"hash":"' + hashlib.sha256(covered).hexdigest().encode() + b'"}\n'


def first_statehash():
    """Form 1 of the state after the first line, by the standard library alone."""

    def sha256(value):
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    state = fold(REGISTRATION, None, registered().events[:1])
    facts = [[name, sha256(state.facts[name])] for name in sorted(state.facts)]
    said = [
        1,
        SOURCE,
        STREAM,
        "registration",
        "DRAFT",
        1,
        state.created_at,
        state.updated_at,
        state.digest,
        None,
        [["k-1", 1]],
        facts,
    ]
    return f"1:{sha256(said)}"


def test_members_stand_in_the_order_of_the_format():
    """A line with everything in it has the members of the format in their order, the hash last."""
    log = Log()
    log.do("create")
    everything = {"causation_id": "cause", "idempotency_key": "key", "traceparent": "trace"}
    log.add([log.new(**everything), log.new()])

    assert list(json.loads(log.lines[1])) == [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "version",
        "remaining",
        "correlationid",
        "causationid",
        "idempotencykey",
        "traceparent",
        "data",
        "prevhash",
        "statehash",
        "hash",
    ]
    assert list(json.loads(log.lines[0])) == [
        "specversion", "id", "source", "type", "subject", "time", "version", "correlationid", "data", "statehash", "hash",
    ]  # fmt: skip


def test_a_batch_counts_down():
    """Each event of a command but the last says how many are still to come, and versions have no gap."""
    log = with_batches()

    assert [event.version for event in log.events] == list(range(1, 9))
    assert [event.remaining for event in log.events] == [0, 2, 1, 0, 0, 2, 1, 0]
    assert [event.prev_hash for event in log.events] == ["", *(event.hash for event in log.events[:-1])]
    assert '"remaining":0' not in log.raw.decode()


@given(
    st.lists(
        st.tuples(i_json_objects(), st.none() | texts(), st.none() | texts(), st.none() | texts(), texts()),
        min_size=1,
        max_size=3,
    )
)
@tries(100)
def test_what_is_sealed_is_read_back(commands):
    """Whatever an event says, it is one line, and the line gives the event back."""
    log = Log()
    plain = {"action": "revise", "from": None, "to": "DRAFT", "actor": None}
    new = [
        log.new(
            data={**said, **plain},
            idempotency_key=key,
            causation_id=cause,
            traceparent=trace,
            correlation_id=c,
        )
        for said, key, cause, trace, c in commands
    ]

    events = seal(new, stream=STREAM, source=SOURCE, after=START)

    place = START
    for event in events:
        assert event.line.endswith(b"\n")
        assert event.line.count(b"\n") == 1
        assert decode_line(event.line, stream=STREAM, source=SOURCE, after=place) == event
        place = Position(event.version, place.size_bytes + len(event.line), event.hash)
    assert scan(b"".join(e.line for e in events), stream=STREAM, source=SOURCE, after=START).events == events


def test_cloudevents_consumers_read_every_line():
    """Each line is a CloudEvents 1.0 event to the official SDK, with the same attributes and data."""
    for log in (registered(), with_batches()):
        for line in log.lines:
            event = JSONFormat().read(None, line)
            members = json.loads(line)
            data, time = members.pop("data"), members.pop("time")
            attributes = dict(event.get_attributes())

            assert attributes.pop("time") == datetime.fromisoformat(time)
            assert attributes == members
            assert event.get_data() == data
            assert event.get_specversion() == "1.0"
            assert all(len(name) <= 20 for name in attributes)  # as the specification advises


INDEPENDENT = """\
import hashlib, json, sys
version, head = 0, None
for line in open(sys.argv[1], "rb"):
    covered, _, rest = line.rpartition(b',"hash":"')
    event = json.loads(line)
    assert hashlib.sha256(covered).hexdigest() == event["hash"] == rest.decode()[:-3], "hash"
    assert event["version"] == version + 1, "version"
    assert event.get("prevhash") == head, "prevhash"
    version, head = event["version"], event["hash"]
print(version, head)
"""


def test_ten_lines_of_python_check_the_chain(tmp_path):
    """Nothing of this package is needed to prove a log: `hashlib` and `json` are enough, and find what is wrong."""
    log = registered()
    sound, broken = tmp_path / "sound.jsonl", tmp_path / "broken.jsonl"
    sound.write_bytes(log.raw)
    broken.write_bytes(b"".join([*log.lines[:2], *log.lines[3:]]))

    proved, refuted = (
        subprocess.run(
            [sys.executable, "-I", "-c", INDEPENDENT, path], capture_output=True, text=True, check=False
        )
        for path in (sound, broken)
    )

    assert len(INDEPENDENT.splitlines()) == 10
    assert (proved.returncode, proved.stdout) == (0, f"8 {log.events[-1].hash}\n")
    assert refuted.returncode == 1
    assert "AssertionError: version" in refuted.stderr


def test_forging_with_the_standard_library_makes_the_same_bytes():
    """The tests' own second opinion on the bytes agrees with the codec."""
    for log in (registered(), with_batches()):
        assert forge(members_of(log)) == log.raw


def test_the_head_of_a_log_is_in_its_last_bytes():
    """The hash that a log ends in can be read from its tail alone; where there is none it is empty."""
    log = registered()

    assert head_of_tail(log.raw[-TAIL_BYTES:]) == log.events[-1].hash
    assert head_of_tail(b"") == ""
    assert head_of_tail(log.raw[-TAIL_BYTES:-1]) == ""
    assert head_of_tail(b"\0" * TAIL_BYTES) == ""


# -- lines that are not believed -------------------------------------------------------------------------


def bad(line, *, stream=STREAM, source=SOURCE, after=START):
    """Why a line is not believed."""
    with pytest.raises(BadLine) as caught:
        decode_line(line, stream=stream, source=source, after=after)
    return str(caught.value)


def test_a_line_belongs_to_one_place():
    """A sound line is believed at its own place of its own log, and nowhere else; the reason says what is off."""
    log = registered()
    first, second = log.lines[:2]
    after = Position(1, len(first), log.events[0].hash)

    assert decode_line(second, stream=STREAM, source=SOURCE, after=after) == log.events[1]
    assert bad(second) == "it is version 2 where version 1 belongs"
    assert bad(second, after=replace(after, version=2)) == "it is version 2 where version 3 belongs"
    assert bad(second, after=replace(after, head="0" * 64)).startswith("the chain is broken")
    assert bad(second, after=replace(after, head="")).startswith("the chain is broken")
    assert bad(first, after=Position(0, 0, "0" * 64)).startswith("the chain is broken")
    assert bad(second, stream=OTHER, after=after) == f"it belongs to another manifest ({STREAM!r})"
    assert bad(second, source=ELSEWHERE, after=after) == f"it belongs to another registry ({SOURCE})"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "the line is incomplete"),
        (b"{}", "the line is incomplete"),
        (b"\n", "the line does not end in its hash"),
        (b"{}\n", "the line does not end in its hash"),
        (b"\0" * 200 + b"\n", "the line does not end in its hash"),
        (b'{"a":1,"hash":"' + b"0" * 64 + b'"}\n', "its bytes do not match its hash"),
    ],
)
def test_a_line_that_is_not_whole(line, reason):
    """What isn't a line of a log is told from one that has been changed."""
    with pytest.raises(BadLine, match=reason):
        open_line(line)


def hashed(covered):
    return covered + b',"hash":"' + hashlib.sha256(covered).hexdigest().encode() + b'"}\n'


@pytest.mark.parametrize(
    ("covered", "reason"),
    [
        (b"", "it is not JSON"),
        (b'{"a":', "it is not JSON"),
        (b"[1", "it is not JSON"),
        (b'{"a":"\xff"', "it is not JSON"),
    ],
)
def test_a_line_with_a_right_hash_of_no_json(covered, reason):
    """A hash proves nothing about what it covers: no JSON is no line."""
    with pytest.raises(BadLine, match=reason):
        open_line(hashed(covered))


@pytest.mark.parametrize("name", ["id", "source", "type", "subject", "time", "version", "data"])
def test_a_line_without_a_member_is_refused(name):
    """A line that lacks a member of the format is refused with its name, though its hash is right."""
    (members,) = members_of(registered())[:1]
    members["version"] = 1
    del members[name]
    members.pop("hash")

    assert f"'{name}' is missing" in bad(hashed(json.dumps(members).encode()[:-1]))


@pytest.mark.parametrize("name", ["action", "from", "to", "actor"])
def test_a_line_without_a_part_of_its_data_is_refused(name):
    """What every event says, every line has."""
    (members,) = members_of(registered())[:1]
    del members["data"][name]

    assert bad(forge([members])).startswith(("its `data` is malformed", f"the member '{name}' is missing"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", "1"),
        ("version", 1.0),
        ("version", True),
        ("version", None),
        ("remaining", "1"),
        ("remaining", True),
        ("remaining", -1),
        ("data", None),
        ("data", []),
        ("data", "text"),
        ("data", {"action": "create", "from": None, "to": 5, "actor": None}),
        ("id", 5),
        ("type", None),
        ("type", ["registration.created.v1"]),
        ("time", 1767225600),
        ("time", None),
        ("idempotencykey", ["k"]),
        ("correlationid", {}),
    ],
)
def test_a_line_with_a_malformed_member_is_refused(name, value):
    """Whoever forged a line with a right hash is stopped here, not by a TypeError in the fold."""
    (members,) = members_of(registered())[:1]

    assert bad(forge([{**members, name: value}]))


# -- a log that is sound, or ends too early --------------------------------------------------------------


def whole(log, count):
    """How many of the first `count` events belong to commands that are whole."""
    return max((n for n in range(count + 1) if n == 0 or not log.events[n - 1].remaining), default=0)


def ends(log):
    """Where each line ends, as offsets; the first is 0."""
    found = [0]
    for line in log.lines:
        found.append(found[-1] + len(line))
    return found


def assert_prefix(found, log):
    """The promise of `scan`: events as they were written, whole commands, and the place after them."""
    count = len(found.events)
    assert found.events == log.events[:count]
    assert [event.line for event in found.events] == log.lines[:count]
    assert count == whole(log, count)
    head = log.events[count - 1].hash if count else ""
    assert found.position == Position(count, ends(log)[count], head)


@pytest.mark.parametrize("log", [registered(), with_batches()], ids=["singles", "batches"])
def test_a_sound_log_is_read_whole(log):
    """Every event of a sound log is given, and nothing is wrong with it."""
    found = log.scan()

    assert found.events == log.events
    assert found.fault is None
    assert found.position == log.position


def test_an_empty_log_holds_nothing():
    """A log without a byte is sound and empty."""
    found = Log().scan()

    assert (found.events, found.position, found.fault) == ([], START, None)


@pytest.mark.parametrize("log", [registered(), with_batches()], ids=["singles", "batches"])
def test_the_end_of_a_log_is_read_as_well_as_all_of_it(log):
    """Reading may begin after any whole command, and counts lines and bytes from the log's beginning."""
    for count in range(len(log.events) + 1):
        if whole(log, count) != count:
            continue
        state = fold(REGISTRATION, None, log.events[:count])
        after = state.position if state else START
        rest = log.raw[after.size_bytes :]

        found = scan(rest, stream=STREAM, source=SOURCE, after=after)
        torn = scan(rest + b"torn", stream=STREAM, source=SOURCE, after=after)

        assert (found.events, found.position, found.fault) == (log.events[count:], log.position, None)
        assert (torn.fault.line, torn.fault.offset_bytes) == (len(log.events) + 1, len(log.raw))


@pytest.mark.parametrize("log", [registered(), with_batches()], ids=["singles", "batches"])
def test_a_log_cut_at_any_byte_ends_with_a_whole_command(log):
    """However little of the last write reached the disk, what is left is torn, and all before it is there."""
    offsets = ends(log)
    for size in range(len(log.raw) + 1):
        found = log.scan(log.raw[:size])
        lines = sum(1 for offset in offsets[1:] if offset <= size)

        assert_prefix(found, log)
        assert len(found.events) == whole(log, lines)
        assert (found.fault is None) == (size == found.position.size_bytes)
        if found.fault is not None:
            assert found.fault.torn
            assert (found.fault.line, found.fault.offset_bytes) == (
                len(found.events) + 1,
                found.position.size_bytes,
            )


def test_a_torn_character_is_a_torn_tail():
    """A write that ended inside a character of several bytes is torn like any other."""
    log = registered()
    umbrella = log.raw.index("☂".encode())

    for size in (umbrella + 1, umbrella + 2):
        found = log.scan(log.raw[:size])

        assert (found.events, found.fault.torn) == ([], True)


@pytest.mark.parametrize("log", [registered(), with_batches()], ids=["singles", "batches"])
@pytest.mark.parametrize("zeros", [1, 2, 511, 4096, 100_000])
def test_zero_bytes_at_the_end_are_torn(log, zeros):
    """A file that grew without its data, as after a power cut, is sound up to the zeros."""
    found = log.scan(log.raw + bytes(zeros))

    assert found.events == log.events
    assert found.fault.torn
    assert found.fault.offset_bytes == len(log.raw)
    assert log.scan(bytes(zeros)).fault.torn


def test_zero_bytes_within_the_last_write_are_torn():
    """Pages of the last line that never reached the disk leave zeros in it: torn, wherever they are."""
    log = registered()
    start = ends(log)[-2]
    for begin in range(start, len(log.raw), 37):
        for end in range(begin + 1, len(log.raw) + 1, 53):
            found = log.scan(log.raw[:begin] + bytes(end - begin) + log.raw[end:])

            assert found.events == log.events[:-1]
            assert found.fault.torn


def test_zero_bytes_within_an_earlier_line_are_damage():
    """Zeros with a sound later line behind them are no torn write: what follows was acknowledged."""
    log = registered()
    offsets = ends(log)
    for line in range(len(log.lines) - 1):
        begin, end = offsets[line], offsets[line + 1] - 1
        found = log.scan(log.raw[:begin] + bytes(end - begin) + log.raw[end:])

        assert found.events == log.events[:line]
        assert not found.fault.torn
        assert (found.fault.line, found.fault.offset_bytes) == (line + 1, begin)


# -- commands of several events --------------------------------------------------------------------------


def test_half_a_command_is_none():
    """Where the last lines of a command are missing, its first ones are not given either."""
    log = with_batches()
    for kept in (6, 7):
        found = log.scan(b"".join(log.lines[:kept]))

        assert found.events == log.events[:5]
        assert found.fault.torn
        assert (found.fault.line, found.fault.offset_bytes) == (6, ends(log)[5])
        assert "a command's last events are missing" in found.fault.reason


def test_a_hole_in_the_middle_of_the_last_command_is_torn():
    """Pages reach the disk in any order: the last line of a torn command may be there and the middle one not."""
    log = with_batches()
    offsets = ends(log)
    begin, end = offsets[6], offsets[7]
    for hole in (bytes(end - begin), b"x" * (end - begin - 1) + b"\n", log.raw[begin : end - 2] + b"??"):
        found = log.scan(log.raw[:begin] + hole + log.raw[end:])

        assert found.events == log.events[:5]
        assert found.fault.torn
        assert (found.fault.line, found.fault.offset_bytes) == (6, offsets[5])


def test_a_hole_in_an_earlier_command_is_damage():
    """The same hole in a command that others follow can't be a torn write: it was acknowledged."""
    log = with_batches()
    offsets = ends(log)
    for line in (1, 2, 3):
        begin, end = offsets[line], offsets[line + 1]
        found = log.scan(log.raw[:begin] + b"x" * (end - begin - 1) + b"\n" + log.raw[end:])

        assert found.events == log.events[:1]
        assert not found.fault.torn
        assert (found.fault.line, found.fault.offset_bytes) == (line + 1, begin)


def test_a_command_that_another_interrupts_is_damage():
    """A line that promises more is followed by those it promised: a forged count is no torn write."""
    log = with_batches()
    members = members_of(log)
    members[3]["remaining"] = 1

    found = log.scan(forge(members))

    assert len(found.events) == 1
    assert not found.fault.torn
    assert "1 more events of the same command are missing here" in found.fault.reason


# -- bytes that changed ----------------------------------------------------------------------------------


def last_command(log):
    """The offset at which the last command begins."""
    return ends(log)[whole(log, len(log.events) - 1)]


CHANGES = {
    "lowest bit": lambda byte: byte ^ 0x01,
    "case": lambda byte: byte ^ 0x20,
    "highest bit": lambda byte: byte ^ 0x80,
    "zero": lambda byte: 0 if byte else 1,
    "line feed": lambda byte: 0x0A if byte != 0x0A else 0x20,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("log", [registered(), with_batches()], ids=["singles", "batches"])
def test_no_byte_changes_unseen(log, change):
    """One byte, anywhere, made another: everything before its command is given, and nothing else."""
    offsets, last = ends(log), last_command(log)
    for offset in range(len(log.raw)):
        raw = bytearray(log.raw)
        raw[offset] = change(raw[offset])

        found = log.scan(bytes(raw))

        assert_prefix(found, log)
        line = next(n for n, end in enumerate(offsets[1:]) if offset < end)
        assert len(found.events) == whole(log, line)
        assert found.fault is not None
        lost_line_feed = offset == last - 1  # a story of its own, below
        assert offset >= last or lost_line_feed or not found.fault.torn
        assert offset < offsets[-2] or found.fault.torn


def test_a_lost_line_feed_before_the_last_line_is_damage():
    """A line feed that changed makes one bad line of two whole ones; neither may be cut off as torn.

    Both commands were acknowledged. Were the tail called torn, recovery without a snapshot, which may be
    deleted at any time, would take both for the remains of one write and set them aside.
    """
    for log in (registered(), with_batches()):
        for count in range(2, len(log.lines) + 1):
            if whole(log, count) != count:
                continue
            start = ends(log)[whole(log, count - 1)]
            if start == 0:
                continue
            raw = bytearray(log.raw[: ends(log)[count]])
            raw[start - 1] = 0x20

            assert not log.scan(bytes(raw)).fault.torn


def test_a_sound_earlier_line_behind_a_bad_one_is_damage():
    """Behind a hole only lines of the torn command itself may stand: a copy of an older one was put there."""
    log = registered()
    torn = log.lines[-1][:-10] + b"?????????\n"

    for copy in log.lines[:-1]:
        found = log.scan(b"".join([*log.lines[:-1], torn, copy]))

        assert found.events == log.events[:-1]
        assert not found.fault.torn


@given(st.data())
@tries(200)
def test_no_bytes_change_unseen(data):
    """Any number of bytes overwritten, cut out or put in: a prefix of whole commands, or the whole."""
    log = data.draw(st.sampled_from(LOGS))
    begin = data.draw(st.integers(0, len(log.raw)))
    end = data.draw(st.integers(begin, min(len(log.raw), begin + 700)))
    pieces = st.one_of(st.binary(max_size=60), st.sampled_from(log.lines), st.just(log.raw[begin:end][::-1]))

    raw = log.raw[:begin] + data.draw(pieces) + log.raw[end:]
    found = log.scan(raw)

    assert_prefix(found, log)
    assert found.fault is not None or raw == log.raw[: len(raw)]


LOGS = [registered(), with_batches()]


# -- lines that were moved -------------------------------------------------------------------------------


def assert_damaged(found, log, line):
    """Lines up to `line` (from 0) are given where their command is whole, and the fault is no torn write."""
    assert_prefix(found, log)
    assert len(found.events) == whole(log, line)
    assert not found.fault.torn


@pytest.mark.parametrize("log", LOGS, ids=["singles", "batches"])
def test_no_line_is_dropped_unseen(log):
    """A line that is missing is noticed at the next one. (That the last is missing, only a witness can tell.)"""
    for line in range(len(log.lines) - 1):
        found = log.scan(b"".join([*log.lines[:line], *log.lines[line + 1 :]]))

        assert_damaged(found, log, line)

    without_last = log.scan(b"".join(log.lines[:-1]))
    assert_prefix(without_last, log)
    assert without_last.fault is None or without_last.fault.torn


@pytest.mark.parametrize("log", LOGS, ids=["singles", "batches"])
def test_no_line_is_repeated_unseen(log):
    """A line that stands there once more, anywhere, is no part of the history, and no torn write either."""
    for place in range(1, len(log.lines) + 1):
        for line in log.lines[:place]:
            found = log.scan(b"".join([*log.lines[:place], line, *log.lines[place:]]))

            assert_damaged(found, log, place)


@pytest.mark.parametrize("log", LOGS, ids=["singles", "batches"])
def test_no_lines_change_places_unseen(log):
    """Any two lines exchanged are noticed at the first of them."""
    for one in range(len(log.lines)):
        for other in range(one + 1, len(log.lines)):
            lines = log.lines[:]
            lines[one], lines[other] = lines[other], lines[one]

            assert_damaged(log.scan(b"".join(lines)), log, one)


@pytest.mark.parametrize("where", [{"stream": OTHER}, {"source": ELSEWHERE}], ids=["manifest", "registry"])
def test_no_line_is_carried_over_unseen(where):
    """A line of another manifest, or of the same one in another registry, is believed nowhere in this log."""
    log, other = registered(), registered(**where)
    for place in range(len(log.lines) + 1):
        for line in other.lines:
            put_in = log.scan(b"".join([*log.lines[:place], line, *log.lines[place:]]))
            instead = log.scan(b"".join([*log.lines[:place], line, *log.lines[place + 1 :]]))

            assert_damaged(put_in, log, place)
            assert_damaged(instead, log, place)
    assert_damaged(log.scan(other.raw), log, 0)


def test_no_history_is_exchanged_unseen():
    """Lines of another history of the same manifest don't fit behind those of this one."""
    log, other = registered(), Log()
    other.do("create", actor="eve")
    for action in ("submit_for_review", "approve", "register"):
        other.do(action, actor="eve")

    for place in range(1, len(other.lines)):
        found = log.scan(b"".join([*log.lines[:place], *other.lines[place:]]))

        assert_damaged(found, log, place)
        assert "the chain is broken" in found.fault.reason


# -- snapshots -------------------------------------------------------------------------------------------

STATE_JSON = """\
{
  "format": 1,
  "subject": "io.github.acme/weather@1.2.0",
  "source": "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
  "definition": "registration",
  "state": "DRAFT",
  "version": 1,
  "created_at": "2026-01-01T00:00:00.000000Z",
  "updated_at": "2026-01-01T00:00:00.000000Z",
  "digest": "DIGEST",
  "facts": {
    "approvals": [],
    "authors": [
      "ana"
    ]
  },
  "keys": [
    {
      "key": "k-1",
      "version": 1
    }
  ],
  "document": {
    "name": "io.github.acme/weather",
    "version": "1.2.0",
    "title": "Wetter für Zürich ☂"
  },
  "log": {
    "size": SIZE,
    "head": "HEAD"
  }"""


def test_the_bytes_of_a_snapshot():
    """A snapshot is the indented JSON that the documented format says, and ends in a checksum of itself."""
    log = Log()
    state = log.do("create", idempotency_key="k-1")
    covered = STATE_JSON.replace("DIGEST", state.digest).replace("SIZE", str(len(log.raw)))
    covered = covered.replace("HEAD", log.events[0].hash).encode()
    checksum = hashlib.sha256(covered).hexdigest()

    assert encode_snapshot(state) == covered + f',\n  "checksum": "{checksum}"\n}}\n'.encode()


def read_snapshot(raw, **other):
    return decode_snapshot(raw, **{"stream": STREAM, "source": SOURCE, "definition": "registration", **other})


@st.composite
def snapshots(draw):
    """Any snapshot of this manifest."""
    version = draw(st.integers(1, 2**53))
    return StateSnapshot(
        stream=STREAM,
        source=SOURCE,
        definition="registration",
        state=draw(texts()),
        version=version,
        created_at=draw(texts()),
        updated_at=draw(texts()),
        document=draw(st.none() | i_json_objects()),
        digest=draw(st.none() | texts()),
        facts=draw(i_json_objects()),
        keys=tuple(draw(st.lists(st.tuples(texts(), st.integers(1, 2**53)), max_size=3))),
        position=Position(version, draw(st.integers(0, 2**53)), draw(texts())),
    )


@given(snapshots())
@tries(80)
def test_a_snapshot_is_read_back_as_it_was(snapshot):
    """Whatever a snapshot holds, its bytes give it back, and encoding it again gives the same bytes."""
    raw = encode_snapshot(snapshot)
    read = read_snapshot(raw)

    assert read == snapshot
    assert encode_snapshot(read) == raw
    assert json.loads(raw) == orjson.loads(raw)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_no_byte_of_a_snapshot_changes_unseen(change):
    """One byte made another, anywhere: the snapshot is of no use, never another one."""
    raw = encode_snapshot(registered().state)
    for offset in range(len(raw)):
        changed = bytearray(raw)
        changed[offset] = change(changed[offset])

        with pytest.raises(BadSnapshot):
            read_snapshot(bytes(changed))


def test_a_snapshot_that_is_cut_or_longer_is_of_no_use():
    """A snapshot is believed whole or not at all."""
    raw = encode_snapshot(registered().state)
    for size in range(len(raw)):
        with pytest.raises(BadSnapshot):
            read_snapshot(raw[:size])
    for more in (b"\n", b"\0", raw):
        with pytest.raises(BadSnapshot):
            read_snapshot(raw + more)


@pytest.mark.parametrize(
    "other",
    [{"stream": OTHER}, {"source": ELSEWHERE}, {"definition": "onboarding"}],
    ids=lambda other: next(iter(other)),
)
def test_a_snapshot_belongs_to_one_manifest(other):
    """A snapshot of another manifest, registry or lifecycle is refused, however sound."""
    raw = encode_snapshot(registered().state)

    assert read_snapshot(raw) == registered().state
    with pytest.raises(BadSnapshot, match="belongs to another"):
        read_snapshot(raw, **other)


def checksummed(covered):
    return covered + b',\n  "checksum": "' + hashlib.sha256(covered).hexdigest().encode() + b'"\n}\n'


def test_a_snapshot_of_another_format_is_refused():
    """A format that this release doesn't know is refused by its number, never read by guess."""
    covered = encode_snapshot(registered().state).rpartition(b',\n  "checksum"')[0]

    assert read_snapshot(checksummed(covered)) == registered().state
    for format in (b"2", b"0", b'"1"', b"null"):
        with pytest.raises(BadSnapshot, match=r"its format is .*, not 1"):
            read_snapshot(checksummed(covered.replace(b'"format": 1', b'"format": ' + format)))


@pytest.mark.parametrize(
    "covered",
    [
        b"",
        b"{",
        b"[1",
        b'{"format": 1',
        b'{"format": 1, "subject": 5',
        b"not json",
    ],
)
def test_a_right_checksum_of_no_snapshot_is_of_no_use(covered):
    """A checksum proves nothing about what it covers."""
    with pytest.raises(BadSnapshot):
        read_snapshot(checksummed(covered))


@pytest.mark.parametrize(
    "name",
    ["format", "subject", "source", "definition", "state", "version", "created_at", "updated_at", "digest", "facts",
     "keys", "document", "log"],
)  # fmt: skip
def test_a_snapshot_without_a_member_is_of_no_use(name):
    """A snapshot that lacks a member, or has null for one, is malformed, not half read."""
    members = orjson.loads(encode_snapshot(registered().state))
    del members["checksum"]
    without = {key: value for key, value in members.items() if key != name}

    with pytest.raises(BadSnapshot):
        read_snapshot(checksummed(orjson.dumps(without, option=orjson.OPT_INDENT_2)[:-2]))


REPLAY = """\
import sys
from registration.core.codec import encode_snapshot, scan
from registration.core.decider import fold
from registration.rules.lifecycles.registration import REGISTRATION
from registration.values.events import Position
stream, source = sys.argv[1:]
found = scan(sys.stdin.buffer.read(), stream=stream, source=source, after=Position())
sys.stdout.buffer.write(encode_snapshot(fold(REGISTRATION, None, found.events)))
"""


def test_every_process_replays_a_log_to_the_same_bytes():
    """The same log gives the same snapshot, byte for byte, whatever the hash seed, time zone and locale."""
    log = registered()
    outputs = set()
    for seed, zone, locale in [
        ("0", "UTC", "C"),
        ("1", "Asia/Kathmandu", "C.UTF-8"),
        ("4711", "America/St_Johns", ""),
    ]:
        changed = {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale}
        path = os.pathsep.join(filter(None, sys.path))
        replayed = subprocess.run(
            [sys.executable, "-c", REPLAY, STREAM, SOURCE],
            input=log.raw,
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONPATH": path, **changed},
        )
        outputs.add(replayed.stdout)

    assert outputs == {encode_snapshot(log.state)}


def test_sealing_twice_gives_the_same_bytes():
    """Time, ids and chance are arguments: the same events at the same place are the same line."""
    new = NewEvent(
        id="id",
        type="registration.revised.v1",
        time="t",
        data={"b": 1, "a": 2, "to": "X"},
        correlation_id="c",
    )

    one, other = (seal([new], stream=STREAM, source=SOURCE, after=Position(3, 90, "head")) for _ in range(2))

    assert one == other
    assert one[0].version == 4
    assert one[0].prev_hash == "head"
