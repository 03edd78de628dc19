"""Time travel: states as they were, what changed between documents, who changed it, and a log as a drawing."""

from __future__ import annotations

import copy
import difflib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.chart import Action, Chart, State, Transition
from registration.core.decider import fold
from registration.core.definition import Definition
from registration.errors import InvalidArgument, NotFound, StoreError, UnknownEvent
from registration.evidence import differences
from registration.evidence.differences import blame, difference, lines, patch
from registration.evidence.timetravel import at_time, graph, printable, revision, state_at
from registration.rules.lifecycles.registration import CHART, REGISTRATION
from registration.values.documents import check_document, digest_of
from registration.values.times import rfc3339
from tests.kit.builders import (
    FIRST_TIME,
    STREAM,
    Log,
    i_json,
    i_json_objects,
    registered,
    texts,
    tries,
    weather,
    with_batches,
)


def same(one, other):
    """Equality that tells True from 1, 1 from 1.0 and 0.0 from -0.0: not that of the code under test."""
    if type(one) is not type(other):
        return False
    if type(one) is dict:
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if type(one) is list:
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


def alike():
    """JSON values of few keys and few scalars, equal ones for Python among them, so that two of them have much in common."""
    scalars = st.sampled_from([None, True, False, 0, 1, 1.0, 0.0, -0.0, "", "a", "1"])
    keys = st.sampled_from(["", "a", "b", "0", "1", "-", "~", "/", "~1", "a/b", "\x1b", "é"])
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(keys, inner, max_size=5)),
        max_leaves=20,
    )


def alike_objects():
    return st.dictionaries(st.sampled_from(["", "a", "b", "0", "~", "/"]), alike(), max_size=4)


@st.composite
def logs(draw):
    """A log of some documents, with other events between them, some at the very same time."""
    log = Log()
    log.clock.tick_ns = draw(st.sampled_from([0, 1_000, 1_000_000_000]))
    log.do("create", document=check_document(draw(alike_objects())))
    for step in draw(st.lists(st.one_of(alike_objects(), st.just("move"), st.just("wait")), max_size=8)):
        if step == "wait":
            log.clock.advance(60)
        elif step == "move":
            log.do("submit_for_review")
            log.do("reject", actor="ben", reason="not yet")
        else:
            log.do("revise", actor=draw(st.sampled_from(["ana", "ben"])), document=check_document(step))
    return log


def with_documents(*values):
    """A log whose every event brings a document: version 1 the first, version 2 the second."""
    log = Log()
    for number, value in enumerate(values):
        actor = ("ana", "ben", "cem")[number % 3]
        log.do("revise" if number else "create", actor=actor, document=check_document(value))
    return log


def read_to(events, count):
    """An iterator over the first events, that fails where more are read."""
    yield from events[:count]
    assert len(events) <= count, f"more than {count} events were read"


# -- the state as it was ---------------------------------------------------------------------------------


@tries(60)
@given(logs())
def test_the_state_at_a_version_is_the_fold_up_to_it(log):
    """At every version, the state is the fold of so many events, and of no more."""
    for version in range(1, len(log.events) + 1):
        state = state_at(REGISTRATION, read_to(log.events, version), version=version)

        assert state == fold(REGISTRATION, None, log.events[:version])


@tries(60)
@given(logs())
def test_the_state_at_a_time_is_the_fold_of_what_had_happened(log):
    """At every time, between events and at them, the state is the fold of those that aren't later."""
    moments = [datetime.fromisoformat(event.time) for event in log.events]
    microsecond = timedelta(microseconds=1)
    for moment in {one + by for one in moments for by in (-microsecond, microsecond * 0, microsecond)}:
        time = moment.isoformat(timespec="microseconds")
        count = sum(one <= moment for one in moments)
        if count == 0:
            with pytest.raises(NotFound):
                state_at(REGISTRATION, log.events, time=time)
            continue

        state = state_at(REGISTRATION, read_to(log.events, count + 1), time=time)

        assert state == fold(REGISTRATION, None, log.events[:count])


def test_without_a_version_or_a_time_the_state_is_that_of_today():
    """All events count where nothing is said."""
    log = registered()

    assert state_at(REGISTRATION, iter(log.events)) == log.state


def test_a_version_inside_a_command_of_several_events():
    """A command is written as one, but each of its events is a version."""
    log = with_batches()
    assert log.events[2].remaining == 1

    state = state_at(REGISTRATION, log.events, version=3)

    assert (state.version, state.position.head) == (3, log.events[2].hash)


@pytest.mark.parametrize("version", [9, 10_000, 0, -1])
def test_a_version_that_there_is_not(version):
    """The error names the versions that there are, wherever the wrong one lies."""
    with pytest.raises(InvalidArgument) as caught:
        state_at(REGISTRATION, iter(registered().events), version=version)

    assert str(caught.value) == f"{STREAM!r} has no version {version}: it has versions 1 to 8."
    assert caught.value.details == {"manifest_id": STREAM, "version": version, "last_version": 8}


def test_a_version_of_a_log_of_one_event():
    """One version is spoken of as one."""
    with pytest.raises(InvalidArgument, match=r"has no version 2: it has version 1 only\.$"):
        state_at(REGISTRATION, with_documents({}).events, version=2)


def test_a_time_before_the_first_event():
    """Before its creation there was no manifest; the error says since when there is one, after reading one event."""
    log = registered()

    with pytest.raises(NotFound) as caught:
        state_at(REGISTRATION, read_to(log.events, 1), time="2025-12-31")

    assert str(caught.value) == (
        f"{STREAM!r} did not exist yet at 2025-12-31: it was created at {FIRST_TIME}. Ask for that time, or a later one."
    )
    assert caught.value.details == {
        "manifest_id": STREAM,
        "time": "2025-12-31T23:59:59.999999Z",
        "created_at": FIRST_TIME,
    }


def test_a_time_as_a_log_shows_it_includes_its_event():
    """People copy what they are shown, which is cut to the second: the event of that second has happened then."""
    log = with_documents({"n": 1})
    log.clock.advance(0.25)
    log.do("submit_for_review")
    assert log.events[1].time == "2026-01-01T00:00:01.250000Z"

    assert state_at(REGISTRATION, log.events, time="2026-01-01 00:00:01Z").version == 2
    assert state_at(REGISTRATION, log.events, time="2026-01-01T00:00:01.249999Z").version == 1


def test_a_version_and_a_time_are_too_much():
    """One question at a time."""
    with pytest.raises(InvalidArgument, match="Both a version and a time were given"):
        state_at(REGISTRATION, registered().events, version=1, time="2026-01-01")


@pytest.mark.parametrize("asked", [{}, {"version": 1}, {"time": "2026-01-01"}])
def test_no_events_have_no_state(asked):
    """An empty log is nothing to go back in."""
    with pytest.raises(NotFound, match="There are no events"):
        state_at(REGISTRATION, [], **asked)


def test_an_event_of_a_later_release_is_not_passed_over():
    """What can't be understood up to the version isn't guessed; after it, nobody looks."""
    log = registered()
    log.events[3] = replace(log.events[3], type="registration.teleported.v1")

    assert state_at(REGISTRATION, log.events, version=3).state == "APPROVED"
    with pytest.raises(UnknownEvent, match=r"teleported"):
        state_at(REGISTRATION, log.events, version=4)


# -- times as people write them --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T09:30:00.000001Z", "2026-01-31T09:30:00.000001Z"),
        ("2026-01-31T09:30:00.000000Z", "2026-01-31T09:30:00.000000Z"),
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00.999999Z"),
        ("2026-01-31t09:30:00z", "2026-01-31T09:30:00.999999Z"),
        ("2026-01-31 09:30:00Z", "2026-01-31T09:30:00.999999Z"),
        ("2026-01-31T09:30Z", "2026-01-31T09:30:59.999999Z"),
        ("2026-01-31T09:30:00.5Z", "2026-01-31T09:30:00.599999Z"),
        ("2026-01-31T09:30:00.1234569Z", "2026-01-31T09:30:00.123456Z"),
        ("2026-01-31T00:30:00.000000+02:00", "2026-01-30T22:30:00.000000Z"),
        ("2026-12-31T23:30:00.000000-05:30", "2027-01-01T05:00:00.000000Z"),
        ("2026-01-31T09:30:00.000000-00:00", "2026-01-31T09:30:00.000000Z"),
        ("2026-01-31", "2026-01-31T23:59:59.999999Z"),
        ("2024-02-29", "2024-02-29T23:59:59.999999Z"),
        ("0001-01-01", "0001-01-01T23:59:59.999999Z"),
        ("9999-12-31", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_is_taken_as_late_as_it_can_be(text, expected):
    """Any offset, any exactness; what is not said is the end of what is."""
    assert at_time(text) == expected


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
def test_a_time_of_an_event_means_itself(seconds, nanoseconds):
    """The form that is written is read as it is."""
    time = rfc3339(seconds * 1_000_000_000 + nanoseconds)

    assert at_time(time) == time


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001  # the zone comes next
    st.integers(-1439, 1439),
)
def test_an_offset_moves_nothing(moment, minutes):
    """The same moment in any time zone is the same time."""
    there = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    found = at_time(there.isoformat(timespec="microseconds"))

    assert datetime.fromisoformat(found) == there
    assert datetime.fromisoformat(found).tzinfo == UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026",
        "2026-01",
        "2026-02-30",
        "2026-13-01",
        "2026-1-1",
        "20260131",
        "2026-W05-6",
        "2026-01-31T",
        "2026-01-31Z",
        "2026-01-31T09Z",
        "2026-01-31T09:30:Z",
        "2026-01-31T09:30.5Z",
        "2026-01-31T09:30:00,5Z",
        "2026-01-31T09:30:00.Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T09:61:00Z",
        "2026-01-31T09:30:61Z",
        "2026-01-31T09:30:00+0200",
        "2026-01-31T09:30:00+25:00",
        "2026-01-31T09:30:00Z ",
        "2026-01-31T09:30:00Z\n",
        "\uff12026-01-31",
        "0000-01-01",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_what_is_no_time(text):
    """The error repeats what was given, and shows what is taken."""
    with pytest.raises(InvalidArgument) as caught:
        at_time(text)

    assert caught.value.problem == f"Invalid time {text!r}."
    assert "2026-01-31T09:30:00Z" in caught.value.next_step
    assert caught.value.details == {"time": text}


@pytest.mark.parametrize("text", ["2026-01-31T09:30", "2026-01-31 09:30:00", "2026-01-31T09:30:00.5"])
def test_a_time_of_no_time_zone(text):
    """Nobody's time zone is guessed, not even the reader's own."""
    with pytest.raises(InvalidArgument) as caught:
        at_time(text)

    assert str(caught.value) == (
        f"The time {text!r} has no time zone. Write {text}Z, or an offset such as {text}+02:00."
    )


# -- documents -------------------------------------------------------------------------------------------


def test_the_documents_that_there_were():
    """Creation and every revision, in order, with who brought each and its digest; other events bring none."""
    found = list(filter(None, map(revision, registered().events)))

    assert [(one.version, one.time, one.actor, one.digest, one.document) for one in found] == [
        (1, "2026-01-01T00:00:00.000000Z", "ana", weather().digest, weather().value),
        (
            5,
            "2026-01-01T00:00:04.000000Z",
            "ana",
            weather(title="Weather").digest,
            weather(title="Weather").value,
        ),
    ]


def test_a_document_without_a_digest_beside_it_gets_its_own():
    """An event that was made by hand may not say the digest."""
    log = Log()
    log.add(
        [
            log.new(
                "create",
                data={"action": "create", "from": None, "to": "DRAFT", "actor": None, "document": {}},
            )
        ]
    )

    (found,) = filter(None, map(revision, log.events))

    assert (found.digest, found.actor) == (digest_of({}), None)


# -- patches ---------------------------------------------------------------------------------------------


def carry_out(operations, value):
    """RFC 6902 by its letter, as far as a patch of ours goes; any step that it doesn't allow fails."""
    top = {"": value}  # so that the pointer "" is a member as all others
    for operation in copy.deepcopy(list(operations)):
        top = copy.deepcopy(top)
        op, above, step = operation["op"], *place(top, operation["path"])
        if op == "move":
            assert not operation["path"].startswith(operation["from"] + "/")
            source, key = place(top, operation["from"])
            item = source.pop(key)
            above, step = place(top, operation["path"])
        else:
            assert op in ("add", "remove", "replace")
            item = operation.get("value")
        if op in ("remove", "replace"):
            above[step]  # it must be there
        if op == "remove":
            del above[step]
        elif op != "replace" and type(above) is list:
            assert step <= len(above)
            above.insert(step, item)
        else:
            above[step] = item
    return top[""]


def place(top, pointer):
    """What holds the last step of a pointer, and that step."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")]
    above, known = None, top
    for step in steps:
        above = known
        if type(above) is list:
            assert re.fullmatch("0|[1-9][0-9]*", step)
            key = int(step)
            known = above[key] if key < len(above) else None
        else:
            key = step
            known = above.get(key)
    return above, key


@tries(500)
@given(alike(), alike())
def test_a_patch_leads_from_the_one_to_the_other(before, after):
    """Carried out by the letter of the RFC, and by the library, a patch makes exactly the other value, types included."""
    kept = copy.deepcopy(before), copy.deepcopy(after)

    operations = patch(before, after)

    assert same(carry_out(operations, before), after)
    assert same(jsonpatch.apply_patch(copy.deepcopy(before), operations), after)
    assert same([before, after], [*kept])
    assert (operations == []) is same(before, after)
    assert same(json.loads(json.dumps(operations)), operations)


@tries(100)
@given(i_json_objects(), i_json_objects())
def test_a_patch_of_any_documents(before, after):
    """The same, for all that a document can hold."""
    assert same(carry_out(patch(before, after), before), after)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": True}, [{"op": "replace", "path": "/a", "value": True}]),
        ({"a": [0]}, {"a": [False]}, [{"op": "replace", "path": "/a/0", "value": False}]),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}, [{"op": "replace", "path": "/a/b", "value": 1.0}]),
        ({"": 1, "~/": 2}, {"": 2, "~/": 1}, None),
        ({"a": 1}, {}, [{"op": "remove", "path": "/a"}]),
        ({}, {"a/b~": None}, [{"op": "add", "path": "/a~1b~0", "value": None}]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": [1, 2, 3]}, {"a": [1, 3]}, [{"op": "remove", "path": "/a/1"}]),
    ],
)
def test_patches_as_they_look(before, after, expected):
    """What Python calls equal is told apart; names are escaped; the order of members is no difference."""
    operations = patch(before, after)

    assert same(carry_out(operations, before), after)
    if expected is not None:
        assert same(operations, expected)


def test_a_patch_as_deep_as_documents_go():
    """A hundred levels are no problem."""
    before, after = 1, True
    for _ in range(100):
        before, after = {"a": [before]}, {"a": [after]}

    assert same(patch(before, after), [{"op": "replace", "path": "/a/0" * 100, "value": True}])


def test_the_same_patch_in_every_process():
    """Nothing hangs on the order of a set, which changes from process to process."""
    script = (
        "from registration.evidence.differences import patch\n"
        "before = {letter: [letter, index, {'x': index}] for index, letter in enumerate('abcdefghij')}\n"
        "after = {letter * 2: [index, letter, {'x': letter}] for index, letter in enumerate('cdefghijkl')}\n"
        "print(patch(before, after), patch([*before.values()], [*after.values()]))\n"
    )

    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "0123"
    }

    assert len(told) == 1
    assert "'op'" in told.pop()


def test_the_library_is_loaded_by_a_patch_alone():
    """Commands that make no patch don't pay for what makes them."""
    script = (
        "import sys, registration.evidence.timetravel, registration.evidence.differences as d\n"
        "list(d.lines({}, {'a': 1}))\n"
        "print('jsonpatch' in sys.modules, d.patch({}, {'a': 1})[0]['op'], 'jsonpatch' in sys.modules)\n"
    )

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["False", "add", "True"]


# -- differences as text ---------------------------------------------------------------------------------


def text_of(before, after):
    return "".join(f"{sign}{rest}\n" for sign, rest in lines(before, after))


def carry_out_lines(found, old):
    """What a unified diff makes of a text, checking each hunk's places and every line that it names."""
    new, at, ends = [], 0, (0, 0)
    for sign, rest in found:
        if sign == "@":
            assert (at, len(new)) == ends
            old_from, old_count, new_from, new_count = map(
                int, re.fullmatch(r"@ -(\d+),(\d+) \+(\d+),(\d+) @@", rest).groups()
            )
            new += old[at : old_from - 1]
            at = old_from - 1
            assert len(new) == new_from - 1
            ends = at + old_count, len(new) + new_count
            continue
        if sign in " -":
            assert old[at] == rest
            at += 1
        if sign in " +":
            new.append(rest)
    assert (at, len(new)) == ends
    return new + old[at:]


def indented(value):
    return [printable(line) for line in json.dumps(value, indent=2, ensure_ascii=False).split("\n")]


def test_a_difference_as_people_read_it():
    """Two hunks with three lines around each, the members in the order they are kept in."""
    before = {"name": "w", **{f"m{n}": n for n in range(12)}, "last": [1, 2]}
    after = {"name": "v", **{f"m{n}": n for n in range(12)}, "last": [1, True, 2]}

    assert text_of(before, after) == (
        "@@ -1,5 +1,5 @@\n"
        " {\n"
        '-  "name": "w",\n'
        '+  "name": "v",\n'
        '   "m0": 0,\n'
        '   "m1": 1,\n'
        '   "m2": 2,\n'
        "@@ -14,6 +14,7 @@\n"
        '   "m11": 11,\n'
        '   "last": [\n'
        "     1,\n"
        "+    true,\n"
        "     2\n"
        "   ]\n"
        " }\n"
    )


def test_the_same_document_has_no_lines():
    """Nothing changed, nothing shown."""
    assert text_of({"a": [1, {}]}, {"a": [1, {}]}) == ""


def test_members_in_another_order_are_shown():
    """A patch and a digest don't see the order of members; people do."""
    before, after = {"a": 1, "b": 2}, {"b": 2, "a": 1}

    assert patch(before, after) == []
    assert {sign for sign, _ in lines(before, after)} == {"@", " ", "-", "+"}


@pytest.mark.parametrize("steps_max", [differences.STEPS_MAX, 20, 0])
@tries(150)
@given(before=alike(), after=alike())
def test_lines_lead_from_the_one_to_the_other(steps_max, before, after):
    """Carried out, the lines make exactly the other text, wherever the search for what they share ends."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(differences, "STEPS_MAX", steps_max)
        found = list(lines(before, after))

    assert carry_out_lines(found, indented(before)) == indented(after)


@tries(150)
@given(i_json(), i_json())
def test_lines_of_any_documents(before, after):
    """The same for all that a document can hold; and no line holds what a terminal might obey."""
    found = list(lines(before, after))

    assert carry_out_lines(found, indented(before)) == indented(after)
    assert all(rest.isprintable() for _, rest in found)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=12), st.lists(st.sampled_from("abcdefgh"), max_size=12))
def test_runs_of_context_are_three_lines_at_most_around_a_change(before, after):
    """Hunks are as far apart as `difflib` would put them: six unchanged lines or less hold them together."""
    found = [sign for sign, _ in lines(before, after)]
    hunks = "".join(found).split("@")[1:]

    for hunk in hunks:
        assert "-" in hunk or "+" in hunk
        assert not hunk.startswith("    ")
        assert not hunk.endswith("    ")
        assert " " * 7 not in hunk


def test_beyond_the_bound_lines_are_compared_place_by_place(monkeypatch):
    """What would take too long isn't searched: lines that agree in their places stay, all others count as replaced."""
    before, after = ["A", *"xyxyz", "B"], ["A", *"yxyxz", "B"]

    def shown():
        return "".join(f"{sign}{rest.strip(' ,')}" for sign, rest in lines(before, after) if sign != "@")

    assert shown() == ' [ "A"+"y" "x" "y" "x"-"y" "z" "B" ]'

    monkeypatch.setattr(differences, "STEPS_MAX", 0)

    assert shown() == ' [ "A"-"x"-"y"-"x"-"y"+"y"+"x"+"y"+"x" "z" "B" ]'


def test_many_small_changes_show_as_that_and_end_in_time(monkeypatch):
    """A change in each of thousands of items took a minute: `difflib` took the square of them. Now it stops at the bound."""
    looked_at = []
    find = difflib.SequenceMatcher.find_longest_match

    def watched(self, alo=0, ahi=None, blo=0, bhi=None):
        looked_at.append(ahi - alo)
        return find(self, alo, ahi, blo, bhi)

    before = [{"key": f"k{n}", "value": n} for n in range(5_000)]
    after = [{"key": "new", "value": 0}, *({"key": f"k{n}", "value": -n} for n in range(5_000))]
    monkeypatch.setattr(difflib.SequenceMatcher, "find_longest_match", watched)

    signs = [sign for sign, _ in lines(before, after)]

    assert (signs.count("-"), signs.count("+")) == (4_999, 5_003)
    assert 0 < sum(looked_at) <= differences.STEPS_MAX


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain — 良い é", "plain — 良い é"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31m\x00\x7f", r"\u001b[31m\u0000\u007f"),
        ("\x9b31m", r"\u009b31m"),
        ("abc\u202etxt.exe", r"abc\u202etxt.exe"),
        ("\u2028\u200b\ufeff", r"\u2028\u200b\ufeff"),
        ("\U000e0041", r"\udb40\udc41"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_might_obey_is_escaped(text, shown):
    """Controls, marks that turn writing round, invisible characters: as JSON writes them; letters of any script stay."""
    assert printable(text) == shown


@given(texts())
def test_an_escaped_line_means_what_it_meant(text):
    """The escapes are those of JSON: read as JSON, a line is what it was."""
    (_, minus), *_ = [line for line in lines([text], [text + "!"]) if line[0] == "-"]

    assert json.loads(minus) == text


# -- what changed between two versions -------------------------------------------------------------------


def versions(found):
    return (found.before_version, found.after_version)


def test_the_last_change():
    """Without versions, the document before the last change is compared with the one that stands, whatever came after."""
    found = difference(REGISTRATION, iter(registered().events))

    assert versions(found) == (1, 5)
    assert (found.before_digest, found.after_digest) == (weather().digest, weather(title="Weather").digest)
    assert found.patch == ({"op": "replace", "path": "/title", "value": "Weather"},)
    assert [line for line in found.lines if line[0] in "+-"] == [
        ("-", '  "title": "Wetter für Zürich ☂"'),
        ("+", '  "title": "Weather"'),
    ]
    assert not found.only_one


def test_one_document_has_no_last_change():
    """Where there was one document only, the difference is empty and says so."""
    log = Log()
    log.do("create")
    log.do("submit_for_review")

    found = difference(REGISTRATION, log.events)

    assert (versions(found), found.patch, found.lines, found.only_one) == ((1, 1), (), (), True)
    assert found.before_digest == found.after_digest == weather().digest


def test_the_same_document_again_is_no_change():
    """The last change is the last event that changed something, not the last that brought something."""
    log = with_documents({"a": 1}, {"a": 1}, {"a": True}, {"a": True})

    found = difference(REGISTRATION, log.events)

    assert versions(found) == (1, 3)
    assert same(list(found.patch), [{"op": "replace", "path": "/a", "value": True}])
    assert difference(REGISTRATION, log.events[:2]).only_one


def test_a_change_that_a_digest_does_not_tell():
    """RFC 8785 writes 1.0 as 1, so the digests are the same; the documents are not, and so it was a change."""
    found = difference(REGISTRATION, with_documents({"a": 1}, {"a": 1.0}).events)

    assert (versions(found), found.only_one, len(found.patch)) == ((1, 2), False, 1)
    assert found.before_digest == found.after_digest


def test_a_version_against_the_last():
    """With one version, the document that stood there is compared with the one that stands now."""
    log = registered()

    found = difference(REGISTRATION, iter(log.events), 4)

    assert versions(found) == (4, 8)
    assert (found.before_digest, found.after_digest) == (weather().digest, weather(title="Weather").digest)
    assert len(found.patch) == 1


def test_two_versions_in_either_order():
    """The document at each is the one that stood there; backwards is the way back; nothing after both is read."""
    log = with_documents({"n": 1}, {"n": 2}, {"n": 3})

    for a, b in [(1, 2), (2, 1), (3, 1)]:
        found = difference(REGISTRATION, read_to(log.events, max(a, b)), a, b)
        assert versions(found) == (a, b)
        assert found.patch == ({"op": "replace", "path": "/n", "value": b},)
        assert (found.before_digest, found.after_digest) == (digest_of({"n": a}), digest_of({"n": b}))


def test_a_version_against_itself():
    """Empty, but not for want of another document."""
    found = difference(REGISTRATION, registered().events, 6, 6)

    assert (versions(found), found.patch, found.lines, found.only_one) == ((6, 6), (), (), False)


@tries(40)
@given(logs())
def test_between_any_versions_the_patch_leads_from_state_to_state(log):
    """For any two versions, the patch and the lines lead from the one state's document to the other's."""
    last = len(log.events)
    states = [fold(REGISTRATION, None, log.events[: n + 1]) for n in range(last)]
    for a, b in [(1, last), (last, 1), (max(1, last // 2), last), (last, last)]:
        found = difference(REGISTRATION, log.events, a, b)

        before, after = states[a - 1], states[b - 1]
        assert (found.before_digest, found.after_digest) == (before.digest, after.digest)
        assert same(carry_out(found.patch, before.document), after.document)
        assert carry_out_lines(found.lines, indented(before.document)) == indented(after.document)
        assert difference(REGISTRATION, log.events, a) == difference(REGISTRATION, log.events, a, last)


@pytest.mark.parametrize(("a", "b", "wrong"), [(9, None, 9), (0, 3, 0), (3, 9, 9), (-1, None, -1), (9, 2, 9)])
def test_a_difference_of_a_version_that_there_is_not(a, b, wrong):
    """The error names the version that is wrong, and those that there are."""
    with pytest.raises(InvalidArgument) as caught:
        difference(REGISTRATION, iter(registered().events), a, b)

    assert str(caught.value) == f"{STREAM!r} has no version {wrong}: it has versions 1 to 8."


def test_a_second_version_without_a_first():
    """There is no telling what it should be compared with."""
    with pytest.raises(InvalidArgument, match="given without the first"):
        difference(REGISTRATION, registered().events, None, 3)


def late():
    """A log whose second event brings its first document."""
    chart = Chart(
        name="late",
        states=(State("EMPTY"), State("FULL", final=True)),
        actions=(Action("open", past="opened"), Action("fill", past="filled", document=True)),
        transitions=(Transition("open", None, "EMPTY"), Transition("fill", "EMPTY", "FULL")),
    )
    log = Log(definition=Definition(chart))
    log.do("open")
    log.do("fill", document=weather())
    return log


def test_a_difference_where_no_document_stood():
    """A version without a document is named; so is a log without one."""
    log = late()

    with pytest.raises(NotFound, match=rf"'{STREAM}' had no document yet at version 1\.$"):
        difference(log.definition, log.events, 1)
    with pytest.raises(NotFound, match="There is no document"):
        difference(log.definition, log.events[:1])
    with pytest.raises(NotFound, match="There are no events"):
        difference(log.definition, [], 1)
    assert difference(log.definition, log.events).only_one


def test_documents_are_compared_in_the_schema_of_today():
    """An event of an older schema is brought to the schema of today first, as the fold does."""
    chart = replace(
        CHART, actions=tuple(replace(one, schema=2) if one.name == "create" else one for one in CHART.actions)
    )
    definition = replace(
        REGISTRATION,
        chart=chart,
        upcasters={
            **REGISTRATION.upcasters,
            "registration.created.v1": lambda data: {**data, "document": {**data["document"], "since": 1}},
        },
    )
    log = with_documents({"a": 1}, {"a": 2, "since": 1})

    assert difference(definition, log.events).patch == ({"op": "replace", "path": "/a", "value": 2},)
    assert len(difference(REGISTRATION, log.events).patch) == 2


# -- who changed it --------------------------------------------------------------------------------------


def look_up(value, pointer):
    """What stands at a pointer, in a tuple; an empty one where nothing does. Not the package's own."""
    for raw in pointer.split("/")[1:]:
        step = raw.replace("~1", "/").replace("~0", "~")
        if type(value) is dict and step in value:
            value = value[step]
        elif type(value) is list and re.fullmatch("0|[1-9][0-9]*", step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return ()
    return (value,)


def naive_changes(log, pointer):
    """By a search over all versions: each event after which another value stood there than before it."""
    found, before = [], ()
    for number, event in enumerate(log.events, start=1):
        now = look_up(fold(log.definition, None, log.events[:number]).document, pointer)
        if not same(list(before), list(now)):
            found.append((event.version, event.actor, event.action, event.id, event.time, now))
        before = now
    return found[::-1]


def told(blamed):
    return [
        (one.version, one.actor, one.action, one.event_id, one.time, () if one.removed else (one.value,))
        for one in (blamed, *blamed.earlier)
    ]


def pointers_in(value, place=""):
    """Each pointer into a value, with whether it is a leaf; not the package's own."""
    inside = (
        list(value.items()) if type(value) is dict else list(enumerate(value)) if type(value) is list else []
    )
    yield place, not inside
    for step, item in inside:
        yield from pointers_in(item, f"{place}/" + str(step).replace("~", "~0").replace("/", "~1"))


@tries(60)
@given(logs())
def test_blame_agrees_with_a_search_over_all_versions(log):
    """For whatever ever stood anywhere, blame tells what looking at every version would tell."""
    ever = dict.fromkeys(
        pointer for one in filter(None, map(revision, log.events)) for pointer, _ in pointers_in(one.document)
    )
    for pointer in ever:
        (found,) = blame(log.events, pointer)

        assert found.pointer == pointer
        assert all(map(same, map(list, told(found)), map(list, naive_changes(log, pointer))))
        assert len(told(found)) == len(naive_changes(log, pointer))


@tries(60)
@given(logs())
def test_blame_of_everything_is_the_blame_of_each_leaf(log):
    """Without a pointer, every value that holds no other has its blame, in the document's order."""
    leaves = [pointer for pointer, is_leaf in pointers_in(log.state.document) if is_leaf]

    found = blame(iter(log.events))

    assert [one.pointer for one in found] == leaves
    assert [told(one) for one in found] == [told(blame(log.events, pointer)[0]) for pointer in leaves]


def test_the_story_of_a_value():
    """Set, changed, removed, set again: the last change answers, the earlier ones follow, newest first."""
    log = with_documents({"a": 1}, {"a": 1, "b": 0}, {"a": True}, {}, {"a": 1})

    (found,) = blame(log.events, "/a")

    assert (found.version, found.actor, found.action, found.value, found.removed) == (
        5,
        "ben",
        "revise",
        1,
        False,
    )
    assert found.event_id == log.events[4].id
    assert [(one.version, one.actor, one.action, one.value, one.removed) for one in found.earlier] == [
        (4, "ana", "revise", None, True),
        (3, "cem", "revise", True, False),
        (1, "ana", "create", 1, False),
    ]


def test_what_was_removed_has_somebody_who_removed_it():
    """Nothing stands there now, but something did: that is an answer, not an error."""
    log = with_documents({"a": {"b": None}}, {"a": {}}, {"a": {}, "c": 1})

    (found,) = blame(log.events, "/a/b")

    assert (found.removed, found.value, found.version, found.actor) == (True, None, 2, "ben")
    assert [(one.version, one.value, one.removed) for one in found.earlier] == [(1, None, False)]


@pytest.mark.parametrize(
    ("before", "after"), [(1, True), (1, 1.0), (0, False), ([1], [True]), ({"a": 0.0}, {"a": 0})]
)
def test_what_python_calls_equal_was_changed(before, after):
    """A value that became another type of value was changed, though its digest may be the same."""
    (found,) = blame(with_documents({"x": before}, {"x": after}).events, "/x")

    assert found.version == 2
    assert same(found.value, after)


def test_members_in_another_order_were_not_changed():
    """Whoever only moved members about set nothing."""
    (found,) = blame(with_documents({"x": {"a": 1, "b": 2}}, {"x": {"b": 2, "a": 1}}).events, "/x")

    assert found.version == 1


def test_the_whole_document_and_everything_in_it():
    """The empty pointer is the document itself; the leaves are scalars, and what is empty."""
    log = with_documents(
        {"a": [], "b/": {}, "~": [None, {"": "x"}]}, {"a": [], "b/": {}, "~": [None, {"": "y"}]}
    )

    assert [(one.version, one.value) for one in blame(log.events, "")] == [(2, log.state.document)]
    assert [(one.pointer, one.version, one.value) for one in blame(log.events)] == [
        ("/a", 1, []),
        ("/b~1", 1, {}),
        ("/~0/0", 1, None),
        ("/~0/1/", 2, "y"),
    ]


def test_an_empty_document_is_a_leaf_itself():
    """Where there is nothing inside, the document is the one value there is."""
    (found,) = blame(with_documents({"a": 1}, {}).events)

    assert (found.pointer, found.version, found.value) == ("", 2, {})


def test_where_nothing_ever_stood():
    """The error suggests the pointers that are nearest to the one that was meant."""
    log = with_documents({"packages": [{"version": "1", "name": "w"}], "title": "W"})

    with pytest.raises(NotFound) as caught:
        blame(log.events, "/packages/0/verison")

    assert str(caught.value).startswith(
        f"There is no value at '/packages/0/verison' in {STREAM!r}, and there never was. Did you mean '/packages/0/version'"
    )
    assert caught.value.details["nearest"][0] == "/packages/0/version"
    assert caught.value.details["manifest_id"] == STREAM


def test_what_is_suggested_stands_there_now():
    """A pointer that led somewhere once is of no use to somebody who looks for what there is."""
    with pytest.raises(NotFound) as caught:
        blame(with_documents({"title": "W"}, {"tilde": "W"}).events, "/titlde")

    assert caught.value.details["nearest"] == ["/tilde"]


def test_where_nothing_like_it_ever_stood():
    """Where nothing is near, nothing is suggested."""
    with pytest.raises(NotFound) as caught:
        blame(with_documents({"title": "W"}).events, "/0123456789")

    assert str(caught.value) == (
        f"There is no value at '/0123456789' in {STREAM!r}, and there never was. Omit the pointer to list every value."
    )
    assert caught.value.details["nearest"] == []


def test_the_nearest_is_not_looked_for_for_ever(monkeypatch):
    """In a large document, the first pointers are looked at."""
    monkeypatch.setattr(differences, "SUGGESTED_FROM_MAX", 2)

    with pytest.raises(NotFound) as caught:
        blame(with_documents({"name1": 1, "name2": 2, "name3": 3}).events, "/name")

    assert sorted(caught.value.details["nearest"]) == ["/name1", "/name2"]


@pytest.mark.parametrize("pointer", ["/a/00", "/a/-", "/a/1", "/a/x", "/a/0/0", "/b", "/", "/a/"])
def test_pointers_to_nowhere(pointer):
    """Well-formed, but nothing can stand there: an item past the end, a leading zero, something inside a number."""
    with pytest.raises(NotFound):
        blame(with_documents({"a": [1]}).events, pointer)


@pytest.mark.parametrize("pointer", ["a", "a/b", "#/a", "$.a", "/a~", "/~2", "/a/~b", " /a"])
def test_what_is_no_pointer(pointer):
    """The error shows what a pointer looks like, before any event is read."""
    with pytest.raises(InvalidArgument) as caught:
        blame(read_to(registered().events, 0), pointer)

    assert caught.value.problem == f"{pointer!r} is not a JSON Pointer."
    assert "/packages/0/version" in caught.value.next_step


@pytest.mark.parametrize("pointer", [None, "", "/a"])
def test_blame_without_a_document(pointer):
    """Where no document came, nobody is to blame; whatever brings one, by any name, is."""
    with pytest.raises(NotFound, match="There is no document"):
        blame(late().events[:1], pointer)
    assert {one.action for one in blame(late().events, pointer if pointer != "/a" else "/name")} == {"fill"}


# -- a log as a drawing ----------------------------------------------------------------------------------


def drawn(chart, events, **options):
    return "\n".join(graph(chart, events, **options)) + "\n"


def test_a_log_as_a_drawing():
    """One lane a state, in the order of the chart, one line an event; a way back is a line to the left."""
    assert (
        drawn(CHART, iter(registered().events))
        == """\
DRAFT
┊ REVIEWED
┊ ┊ APPROVED
┊ ┊ ┊ REGISTERED
● ┊ ┊ ┊  1  2026-01-01 00:00:00Z  ana  create
╰─● ┊ ┊  2  2026-01-01 00:00:01Z  ana  submit_for_review
┊ ╰─● ┊  3  2026-01-01 00:00:02Z  ben  approve            gut — 良い
●───╯ ┊  4  2026-01-01 00:00:03Z  cem  reject             the title is wrong; ends the approval of version 3
● ┊ ┊ ┊  5  2026-01-01 00:00:04Z  ana  revise
╰─● ┊ ┊  6  2026-01-01 00:00:05Z  ana  submit_for_review
┊ ╰─● ┊  7  2026-01-01 00:00:06Z  ben  approve
┊ ┊ ╰─●  8  2026-01-01 00:00:07Z  ana  register
"""
    )


def test_the_same_in_ascii():
    """For terminals that know no other letters; only states that were visited have a lane."""
    assert (
        drawn(CHART, registered().events[:4], ascii=True)
        == """\
DRAFT
: REVIEWED
: : APPROVED
* : :  1  2026-01-01 00:00:00Z  ana  create
`-* :  2  2026-01-01 00:00:01Z  ana  submit_for_review
: `-*  3  2026-01-01 00:00:02Z  ben  approve            gut — 良い
*---'  4  2026-01-01 00:00:03Z  cem  reject             the title is wrong; ends the approval of version 3
"""
    )


REVIEW = Chart(
    name="audit",
    states=(
        State("DRAFT"),
        State("REVIEW", parallel=True, done="READY"),
        State("SECURITY", parent="REVIEW", initial="S_OPEN"),
        State("S_OPEN", parent="SECURITY"),
        State("S_DONE", parent="SECURITY", final=True),
        State("LEGAL", parent="REVIEW", initial="L_OPEN"),
        State("L_OPEN", parent="LEGAL"),
        State("L_DONE", parent="LEGAL", final=True),
        State("READY"),
        State("OUT", final=True),
    ),
    actions=(
        Action("create", past="created", document=True),
        Action("submit", past="submitted"),
        Action("clear_security", past="security_cleared"),
        Action("clear_legal", past="legal_cleared"),
        Action("doubt", past="doubted"),
        Action("note", past="noted"),
        Action("send_back", past="sent_back"),
        Action("publish", past="published"),
    ),
    transitions=(
        Transition("create", None, "DRAFT"),
        Transition("submit", "DRAFT", "REVIEW"),
        Transition("clear_security", "S_OPEN", "S_DONE"),
        Transition("clear_legal", "L_OPEN", "L_DONE"),
        Transition("note", "L_OPEN", "L_OPEN"),
        Transition("doubt", "REVIEW", "REVIEW"),
        Transition("send_back", "REVIEW", "DRAFT"),
        Transition("publish", "READY", "OUT"),
    ),
)
"""Two regions that are open at once, and a state that waits for both."""


def test_regions_in_parallel():
    """A fork, a move in one region while the other stays, one that moves nothing, a way back from both, and a join."""
    log = Log(definition=Definition(REVIEW))
    for action in ("create", "submit", "clear_security", "note", "send_back", "submit"):
        log.do(action)
    for action in ("clear_legal", "clear_security", "publish"):
        log.do(action)

    assert (
        drawn(REVIEW, log.events)
        == """\
DRAFT
┊ S_OPEN
┊ ┊ S_DONE
┊ ┊ ┊ L_OPEN
┊ ┊ ┊ ┊ L_DONE
┊ ┊ ┊ ┊ ┊ READY
┊ ┊ ┊ ┊ ┊ ┊ OUT
● ┊ ┊ ┊ ┊ ┊ ┊  1  2026-01-01 00:00:00Z  ana  create
╰─●───● ┊ ┊ ┊  2  2026-01-01 00:00:01Z  ana  submit
┊ ╰─● ○ ┊ ┊ ┊  3  2026-01-01 00:00:02Z  ana  clear_security
┊ ┊ ● ● ┊ ┊ ┊  4  2026-01-01 00:00:03Z  ana  note
●───┴─╯ ┊ ┊ ┊  5  2026-01-01 00:00:04Z  ana  send_back
╰─●───● ┊ ┊ ┊  6  2026-01-01 00:00:05Z  ana  submit
┊ ○ ┊ ╰─● ┊ ┊  7  2026-01-01 00:00:06Z  ana  clear_legal
┊ ╰─────┴─● ┊  8  2026-01-01 00:00:07Z  ana  clear_security
┊ ┊ ┊ ┊ ┊ ╰─●  9  2026-01-01 00:00:08Z  ana  publish
"""
    )


def placed(*places):
    """A log of a lifecycle of anybody's, that went through these places."""
    log = Log()
    for before, after in zip((None, *places), places, strict=False):
        log.add([log.new(data={"action": "go", "from": before, "to": after, "actor": None})])
    return log.events


def lanes(chart, *places, **options):
    """The drawing of a log that went through these places, without the names and the text."""
    rows = [line for line in graph(chart, placed(*places), **options) if "go" in line]
    return [row.partition("  ")[0] for row in rows]


def test_two_regions_that_move_at_once_are_two_moves():
    """What one action did in two regions has no line from the one to the other."""
    assert lanes(REVIEW, "S_OPEN+L_OPEN", "S_DONE+L_DONE") == ["● ┊ ● ┊", "╰─● ╰─●"]


def test_lines_that_cross_hide_nothing():
    """Where a chart lists its regions mixed, lines lie over lanes and each other; what was left, or stays, still shows."""
    names = "DRAFT REVIEW SECURITY LEGAL L_DONE S_DONE L_OPEN S_OPEN READY OUT"
    mixed = replace(REVIEW, states=tuple(REVIEW.state(name) for name in names.split()))

    assert lanes(mixed, "S_DONE+L_OPEN", "L_DONE+S_OPEN") == ["┊ ● ● ┊", "●─╰─╯─●"]
    assert lanes(mixed, "S_DONE+L_OPEN", "L_DONE+S_DONE") == ["┊ ● ●", "●─○─╯"]


def test_what_was_left_for_nothing_ends():
    """A leaf that an older lifecycle left without entering another ends where it was."""
    assert lanes(REVIEW, "S_OPEN+L_OPEN", "S_OPEN") == ["● ●", "○ ╵"]
    assert lanes(REVIEW, "S_OPEN+L_OPEN", "S_OPEN", ascii=True) == ["* *", "o '"]
    assert lanes(REVIEW, "S_OPEN", "S_OPEN+L_OPEN") == ["● ┊", "○ ●"]


def test_states_that_the_chart_has_no_longer_come_last():
    """The lanes are in the order of the chart; what is no leaf of it now comes after, in the order of the log."""
    found = graph(CHART, placed("WISH", "IN_REVIEW", "APPROVED", "IN_REVIEW", "DRAFT"))

    assert [next(found) for _ in range(4)] == ["DRAFT", "┊ APPROVED", "┊ ┊ WISH", "┊ ┊ ┊ IN_REVIEW"]
    assert [line.partition("  ")[0] for line in found] == [
        "┊ ┊ ● ┊",
        "┊ ┊ ╰─●",
        "┊ ●───╯",
        "┊ ╰───●",
        "●─────╯",
    ]


def test_a_part_of_a_log():
    """What a part begins with was somewhere before, and that has its lane."""
    assert list(graph(CHART, registered().events[3:5])) == [
        "DRAFT",
        "┊ APPROVED",
        "●─╯  4  2026-01-01 00:00:03Z  cem  reject  the title is wrong; ends the approval of version 3",
        "● ┊  5  2026-01-01 00:00:04Z  ana  revise",
    ]


def test_a_damaged_log_is_drawn_up_to_the_damage():
    """What stands before the damage is shown, as the log itself shows it; then the error comes."""

    def read():
        yield from registered().events[:2]
        raise StoreError("the third line is damaged")

    found = graph(CHART, read())

    assert [next(found)[:3] for _ in range(4)] == ["DRA", "┊ R", "● ┊", "╰─●"]
    with pytest.raises(StoreError, match="the third line is damaged"):
        next(found)


def test_versions_line_up():
    """Versions are aligned at their right, so that ten and more stand as they are read."""
    log = with_documents(*({"n": n} for n in range(10)))

    found = list(graph(CHART, log.events))

    assert found[1] == "●   1  2026-01-01 00:00:00Z  ana  create"
    assert found[10] == "●  10  2026-01-01 00:00:09Z  ana  revise"


def test_an_actor_that_nobody_named_and_two_things_said():
    """A dash stands for nobody; reason and comment are both told."""
    log = Log()
    log.do("create", actor=None, reason="new", comment="at last")

    assert drawn(CHART, log.events).splitlines()[1] == "●  1  2026-01-01 00:00:00Z  -  create  new; at last"


@given(texts(), texts(), texts())
def test_a_drawing_holds_nothing_that_a_terminal_might_obey(actor, reason, state):
    """Whatever was said, by whomever, about whichever state: one line an event, and every character can be seen."""
    log = Log()
    state = state.replace("+", "") or "X"
    log.add([log.new(data={"action": "go", "from": None, "to": state, "actor": actor, "reason": reason})])

    found = list(graph(CHART, log.events))

    assert len(found) == 2
    assert all(line.isprintable() for line in found)


def test_no_events_draw_nothing():
    """An empty log is no line, not even a heading."""
    assert list(graph(CHART, [])) == []
