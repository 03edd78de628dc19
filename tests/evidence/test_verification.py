"""Verification: sound files have no finding; every kind of fault has one, at its very line and byte."""

from __future__ import annotations

import copy
import json
import tracemalloc
from dataclasses import replace
from functools import partial

import pytest

from registration.core.codec import encode_snapshot
from registration.core.decider import fold
from registration.core.policy import NO_POLICY, Policy
from registration.evidence.verification import Finding, Verification, verify_files
from registration.pipeline.wire import upkeep
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.reports import Files
from tests.kit import builders
from tests.kit.builders import (
    ELSEWHERE,
    SOURCE,
    STREAM,
    Log,
    members_of,
    registered,
    weather,
    with_batches,
)

# Without the hash of each state, which would find these as well: they are how logs of release 0.1 are checked.
forge = partial(builders.forge, statehashes=False)

LOG = "manifests/io.github.acme%2Fweather@1.2.0/events.jsonl"
SNAPSHOT = "manifests/io.github.acme%2Fweather@1.2.0/state.json"
OTHER = "io.github.acme/other"


def verify(raw, snapshot=None):
    """What is found in a log and a snapshot (bytes, a state, or None) of `STREAM`."""
    if snapshot is not None and not isinstance(snapshot, bytes):
        snapshot = encode_snapshot(snapshot)
    return verify_files(Files(raw, snapshot), stream=STREAM, source=SOURCE, definition=REGISTRATION)


def findings(raw, snapshot=None):
    """The findings, each as (kind, path, line, offset, reason)."""
    return [(f.kind, f.path, f.line, f.offset_bytes, f.reason) for f in verify(raw, snapshot).findings]


def state_at(log, version):
    return fold(REGISTRATION, None, log.events[:version])


def offset_of(raw, line):
    """Where a line, counted from 1, begins."""
    return sum(len(part) for part in raw.splitlines(keepends=True)[: line - 1])


# -- sound files -----------------------------------------------------------------------------------------


def test_sound_files_have_no_finding():
    """A log and its snapshot, as they are written, verify to the last version."""
    log = registered()

    found = verify(log.raw, log.state)

    assert found == Verification(STREAM, 8, ())
    assert not found.damaged


def test_every_version_of_a_sound_history_verifies():
    """After each command the files are as they should be, commands of several events included."""
    for log in (registered(), with_batches()):
        for event in log.events:
            if not event.remaining:
                raw = b"".join(log.lines[: event.version])

                assert verify(raw, state_at(log, event.version)) == Verification(STREAM, event.version, ())


def test_an_empty_log_is_a_creation_that_never_was():
    """A log without a byte and without a snapshot is nothing to worry about."""
    assert verify(b"") == Verification(STREAM, 0, ())


# -- what a crash leaves ---------------------------------------------------------------------------------


def test_a_missing_snapshot_is_unfinished():
    """Before the first snapshot, or after somebody deleted it: the next read makes it."""
    found = verify(registered().raw)

    assert [f.kind for f in found.findings] == ["unfinished"]
    assert found.findings[0] == Finding("unfinished", SNAPSHOT, 0, 0, "there is no snapshot yet")
    assert found.sound_version == 8
    assert not found.damaged


def test_a_snapshot_that_is_behind_is_unfinished():
    """A crash between the commit and the snapshot leaves an older snapshot."""
    log = registered()
    for version in range(1, 8):
        assert findings(log.raw, state_at(log, version)) == [
            (
                "unfinished",
                SNAPSHOT,
                0,
                0,
                f"the snapshot is of version {version}, but the log is at version 8",
            )
        ]


@pytest.mark.parametrize("cut", [1, 2, 70, 300])
def test_a_torn_tail_is_unfinished(cut):
    """A write that never finished is found at the line and byte where it began."""
    log = registered()
    start = offset_of(log.raw, 8)

    found = verify(log.raw[:-cut], state_at(log, 7))

    assert [(f.kind, f.path, f.line, f.offset_bytes) for f in found.findings] == [
        ("unfinished", LOG, 8, start)
    ]
    assert found.sound_version == 7


def test_a_torn_creation_is_unfinished():
    """A creation that never finished leaves a line without its end, and nothing that is sound."""
    raw = registered().lines[0][:-30]

    assert findings(raw) == [("unfinished", LOG, 1, 0, "the line is incomplete")]
    assert verify(raw).sound_version == 0


def test_half_a_command_is_unfinished():
    """A command some of whose events are missing is found at its first line."""
    log = with_batches()
    raw = b"".join(log.lines[:7])

    found = verify(raw, state_at(log, 5))

    assert [(f.kind, f.path, f.line, f.offset_bytes) for f in found.findings] == [
        ("unfinished", LOG, 6, offset_of(raw, 6))
    ]
    assert found.sound_version == 5


# -- damage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", range(1, 8))
def test_a_changed_line_is_damage(line):
    """A line that is not what was written is found by its number and its byte; what stands before is sound."""
    log = registered()
    start = offset_of(log.raw, line)
    raw = bytearray(log.raw)
    raw[start + 100] ^= 1

    found = verify(bytes(raw), log.state)

    assert found.damaged
    assert found.findings[0] == Finding("damage", LOG, line, start, "its bytes do not match its hash")
    assert found.sound_version == line - 1


def test_a_bad_tail_that_the_snapshot_covers_is_damage():
    """A snapshot proves that its events were acknowledged: what is missing of them was not torn, but lost."""
    log = registered()
    raw = log.raw[:-10]

    found = verify(raw, log.state)

    assert [(f.kind, f.path, f.line, f.offset_bytes) for f in found.findings] == [
        ("damage", LOG, 8, offset_of(raw, 8)),
        ("damage", SNAPSHOT, 0, 0),
    ]
    assert found.findings[1].reason == "the snapshot is of version 8, but the log is valid up to version 7"


def test_a_log_that_ends_before_its_snapshot_is_damage():
    """A log cut between two lines looks sound by itself; the snapshot tells that events are gone."""
    log = registered()

    assert findings(b"".join(log.lines[:5]), log.state) == [
        ("damage", SNAPSHOT, 0, 0, "the snapshot is of version 8, but the log is valid up to version 5")
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: [*lines[:3], *lines[4:]], "it is version 5 where version 4 belongs"),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "it is version 3 where version 4 belongs"),
        (
            lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
            "it is version 5 where version 4 belongs",
        ),
        (
            lambda lines: [*lines[:3], registered(stream=OTHER).lines[3], *lines[4:]],
            f"it belongs to another manifest ({OTHER!r})",
        ),
        (
            lambda lines: [*lines[:3], registered(source=ELSEWHERE).lines[3], *lines[4:]],
            f"it belongs to another registry ({ELSEWHERE})",
        ),
    ],
    ids=["dropped", "doubled", "swapped", "of-another-manifest", "of-another-registry"],
)
def test_lines_that_were_moved_are_damage(change, reason):
    """A line dropped, doubled, swapped or carried over is found where it stands, in words that say what it is."""
    log = registered()
    raw = b"".join(change(log.lines))

    found = verify(raw, log.state)

    assert found.findings[0] == Finding("damage", LOG, 4, offset_of(raw, 4), reason)
    assert found.sound_version == 3
    assert found.damaged


def test_a_rewritten_line_breaks_the_chain():
    """Who writes a line anew, with a right hash, is found at the next one, which names the old."""
    log = registered()
    members = members_of(log)
    members[2]["data"]["actor"] = "eve"
    raw = b"".join([*forge(members).splitlines(keepends=True)[:3], *log.lines[3:]])

    found = verify(raw, log.state)

    assert found.findings[0] == Finding(
        "damage",
        LOG,
        4,
        offset_of(raw, 4),
        "the chain is broken: its `prevhash` is not the hash of the line before",
    )


def test_a_rewritten_history_is_not_what_the_snapshot_is_of():
    """Who writes the whole log anew is found by the snapshot, as long as that is left."""
    log = registered()
    members = members_of(log)
    members[2]["data"]["actor"] = "eve"

    assert findings(forge(members), log.state) == [
        ("damage", SNAPSHOT, 0, 0, "it does not match the log at version 8")
    ]


# -- an approval can't be carried ------------------------------------------------------------------------


def approved(*, stream=STREAM, source=SOURCE, policy=NO_POLICY):
    """The log of a manifest that was approved: wherever it is, the same document at the same times by the same people."""
    log = Log(stream=stream, source=source, policy=policy)
    log.do("create")
    log.do("submit_for_review")
    log.do("approve", actor="bea")
    return log


def waiting():
    log = Log()
    log.do("create")
    log.do("submit_for_review")
    return log


@pytest.mark.parametrize(
    ("elsewhere", "reason"),
    [
        ({"stream": OTHER}, f"it belongs to another manifest ({OTHER!r})"),
        ({"source": ELSEWHERE}, f"it belongs to another registry ({ELSEWHERE})"),
        (
            {"policy": Policy(name="lax")},
            "the chain is broken: its `prevhash` is not the hash of the line before",
        ),
    ],
    ids=["of-another-manifest", "of-another-registry", "under-another-policy"],
)
@pytest.mark.parametrize("witnessed", [True, False])
def test_an_approval_that_was_copied_is_damage(elsewhere, reason, witnessed):
    """The very line of an approval, behind a log that waits for one: it is found where it stands, and why."""
    log, line = waiting(), approved(**elsewhere).lines[2]
    raw = log.raw + line

    found = verify(raw, log.state if witnessed else None)

    assert found.findings[0] == Finding("damage", LOG, 3, len(log.raw), reason)
    assert found.sound_version == 2


def test_an_approval_that_was_copied_within_its_log_is_damage():
    """The approval of an earlier document, once more behind the next one: it is out of place."""
    log = approved()
    log.do("reject", reason="title")
    log.do("revise", document=weather(title="other"))
    log.do("submit_for_review")

    found = verify(log.raw + log.lines[2], log.state)

    assert found.findings[0] == Finding(
        "damage", LOG, 7, len(log.raw), "it is version 3 where version 7 belongs"
    )


@pytest.mark.parametrize(
    "elsewhere", [{"stream": OTHER}, {"source": ELSEWHERE}, {"policy": Policy(name="lax")}]
)
def test_an_approval_that_was_written_anew_was_given_on_another_log(elsewhere):
    """Who makes a line of his own around the copied approval, with right hashes, forgets what it was given on."""
    log = waiting()
    line = {**members_of(log)[0], **copied(approved(**elsewhere)), "version": 3}
    raw = forge([*members_of(log), line], heads=False)

    assert findings(raw, fold(REGISTRATION, None, Log().scan(raw).events)) == [
        ("damage", LOG, 3, offset_of(raw, 3), "its approval was given on another log")
    ]


def copied(log):
    """What a forger takes over of an approval's line: all but where it stands."""
    return {name: members_of(log)[2][name] for name in ("id", "type", "time", "data")}


def test_an_approval_of_another_document_is_damage():
    """An approval's own digest must be that of the document as it stands, as the event says."""
    log = approved()
    members = members_of(log)
    members[2]["data"]["approval"]["digest"] = weather(title="other").digest
    raw = forge(members)

    assert findings(raw, fold(REGISTRATION, None, Log().scan(raw).events)) == [
        ("damage", LOG, 3, offset_of(raw, 3), "its approval is of another document")
    ]


# -- what the chain can't tell ---------------------------------------------------------------------------


def forged(version, change):
    """A log whose hashes check out, of which one line was changed before they were made; and its snapshot."""
    log = registered()
    members = copy.deepcopy(members_of(log))
    change(members[version - 1])
    raw = forge(members)
    read = Log().scan(raw)
    assert read.fault is None
    return raw, fold(REGISTRATION, None, read.events)


def set_in_data(name, value):
    def change(members):
        members["data"][name] = value

    return change


@pytest.mark.parametrize(
    ("version", "change", "reason"),
    [
        (5, set_in_data("document", {"name": "evil"}), "the document does not match its digest"),
        (5, set_in_data("digest", "sha256:" + "0" * 64), "the document does not match its digest"),
        (5, lambda members: members["data"].pop("digest"), "the document does not match its digest"),
        (3, set_in_data("from", "DRAFT"), "it starts from DRAFT, but the line before ended in REVIEWED"),
        (1, set_in_data("from", "APPROVED"), "it starts from APPROVED, but the line before ended in None"),
        (
            6,
            lambda members: members.update(time="2025-01-01T00:00:00.000000Z"),
            "its time (2025-01-01T00:00:00.000000Z) is before that of the line before (2026-01-01T00:00:04.000000Z)",
        ),
    ],
)
def test_what_the_chain_can_not_tell(version, change, reason):
    """With every hash in order, documents, states and times are still held against each other."""
    raw, state = forged(version, change)

    assert findings(raw, state) == [("damage", LOG, version, offset_of(raw, version), reason)]


def test_all_that_is_wrong_is_found_at_once():
    """One report has every finding, each at its own line, and the snapshot's besides."""
    log = registered()
    members = members_of(log)
    members[0]["data"]["document"] = {"name": "evil"}
    members[4]["data"]["from"] = "APPROVED"
    members[4]["data"]["digest"] = "sha256:0"
    raw = forge(members) + b"torn"

    assert [(kind, path, line, offset) for kind, path, line, offset, _ in findings(raw, b"{}")] == [
        ("damage", LOG, 1, 0),
        ("damage", LOG, 5, offset_of(raw, 5)),
        ("damage", LOG, 5, offset_of(raw, 5)),
        ("damage", SNAPSHOT, 0, 0),
        ("unfinished", LOG, 9, offset_of(raw, 9)),
    ]


@pytest.mark.parametrize(
    "document",
    [{"a": 2**60, "b": 1.5}, {"a": 2**63, "\U0001f600": 1}, [1], "text", 5],
    ids=["integer-and-float", "integer-and-key-beyond-the-bmp", "array", "text", "number"],
)
def test_a_document_that_is_no_document_is_a_finding(document):
    """A forged log may hold what intake would have refused: it is reported, and verification goes on."""
    raw, state = forged(5, set_in_data("document", document))

    assert ("damage", LOG, 5, offset_of(raw, 5), "the document does not match its digest") in findings(
        raw, state
    )


def test_a_document_of_any_depth_is_a_finding():
    """Nor does a forged document that is nested too deep stop the verification."""
    deep = []
    for _ in range(300):
        deep = [deep]
    members = members_of(registered())
    members[4]["data"]["document"] = {"deep": deep}
    raw = forge(members)

    assert findings(raw)[0][:4] == ("damage", LOG, 5, offset_of(raw, 5))


@pytest.mark.parametrize(
    ("name", "value"), [("time", 5), ("time", None), ("type", ["registration.revised.v1"])]
)
def test_a_malformed_member_is_a_finding(name, value):
    """Verification is total: a forged line whose members are of the wrong kind is reported at its place."""
    log = registered()
    members = members_of(log)
    members[4][name] = value
    raw = forge(members)

    found = verify(raw, log.state)

    assert found.damaged
    assert (found.findings[0].path, found.findings[0].line) == (LOG, 5)


# -- snapshots -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "its bytes do not match its checksum"),
        (b"{}", "its bytes do not match its checksum"),
        (encode_snapshot(registered().state)[:-1], "its bytes do not match its checksum"),
        (
            encode_snapshot(registered(stream=OTHER).state),
            f"it belongs to another manifest ({OTHER!r} of {SOURCE})",
        ),
        (
            encode_snapshot(registered(source=ELSEWHERE).state),
            f"it belongs to another manifest ({STREAM!r} of {ELSEWHERE})",
        ),
    ],
    ids=["empty", "no-snapshot", "cut", "of-another-manifest", "of-another-registry"],
)
def test_a_snapshot_of_no_use_is_damage(raw, reason):
    """Snapshots are written whole: one that can't be read, or is another's, was changed by somebody."""
    assert findings(registered().raw, raw) == [
        ("damage", SNAPSHOT, 0, 0, f"the snapshot is unusable: {reason}")
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"state": "DRAFT"},
        {"document": {"name": "evil"}},
        {"digest": "sha256:0"},
        {"facts": {"approvals": []}},
        {"keys": ()},
        {"created_at": "2026-01-01T00:00:01.000000Z"},
        {"updated_at": "2026-01-01T00:00:01.000000Z"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_snapshot_that_is_not_the_fold_is_damage(other):
    """A snapshot whose checksum is right and whose content isn't what the log adds up to was made by hand."""
    log = registered()

    assert findings(log.raw, replace(log.state, **other)) == [
        ("damage", SNAPSHOT, 0, 0, "it does not match the log at version 8")
    ]
    assert findings(log.raw, replace(state_at(log, 3), **other))[0][:2] == ("damage", SNAPSHOT)


@pytest.mark.parametrize("change", [{"size_bytes": 5}, {"head": "0" * 64}])
def test_a_snapshot_of_another_log_is_damage(change):
    """A snapshot says which log it is the fold of, to the byte."""
    log = registered()
    state = replace(log.state, position=replace(log.position, **change))

    assert findings(log.raw, state) == [("damage", SNAPSHOT, 0, 0, "it does not match the log at version 8")]


def test_a_snapshot_beside_an_empty_log_is_damage():
    """Where a snapshot stands, there was a log: an empty one has lost it."""
    sound, unreadable = findings(b"", registered().state), findings(b"", b"{}")

    assert [finding[:4] for finding in sound] == [("damage", SNAPSHOT, 0, 0)]
    assert unreadable[-1] == ("damage", LOG, 0, 0, "there is a snapshot, but the log has no events")


def test_an_event_of_a_later_release_is_a_finding():
    """A type of event that this release doesn't know can't be folded, and the finding says so."""
    log = registered()
    members = members_of(log)
    members[3]["type"] = "registration.returned.v1"

    raw = forge(members)

    (finding,) = verify(raw, log.state).findings

    assert (finding.kind, finding.path) == ("damage", LOG)
    assert (finding.line, finding.offset_bytes) == (4, offset_of(raw, 4))
    assert finding.reason == "this release does not know its type 'registration.returned.v1'"


def test_an_event_of_a_later_version_of_the_lifecycle_is_no_damage():
    """Another version of the lifecycle was put in force while this program had the registry open: nobody changed a byte."""
    log = registered()
    members = members_of(log)
    members[7]["type"] = "registration.published.v1"
    members[7]["data"]["lifecycle"] = {**REGISTRATION.identity, "version": 2}
    raw = forge(members)

    assert [f[:3] for f in findings(raw, log.state)] == [("unchecked", LOG, 8)]
    members[7]["data"]["lifecycle"]["version"] = 1
    assert [f[:3] for f in findings(forge(members), log.state)] == [("damage", LOG, 8)]


def test_reasons_have_no_full_stop():
    """Reasons are parts of sentences, so that whoever prints them decides how they end."""
    log = registered()
    members = members_of(log)
    members[3]["type"] = "registration.returned.v1"
    torn = log.raw[:-5]

    for files in [
        (forge(members), log.state),
        (torn, log.state),
        (torn, None),
        (log.raw, b"{}"),
        (b"", b"{}"),
    ]:
        for _, _, _, _, reason in findings(*files):
            assert not reason.endswith(".")


def test_a_finding_is_one_json_object():
    """Programs read findings as JSON with stable names."""
    (finding,) = verify(registered().raw).findings

    assert json.loads(json.dumps(upkeep.finding(finding))) == {
        "kind": "unfinished",
        "path": SNAPSHOT,
        "line": 0,
        "offset_bytes": 0,
        "reason": "there is no snapshot yet",
        "count": 1,
    }


# -- long logs -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_long_log_is_verified_in_little_memory():
    """A log is read in pieces: ten times as many events take no more memory."""
    log = Log()
    log.do("create")
    peaks = []
    for events in (300, 3_000):
        while log.state.version < events:
            log.do("revise", document=weather(title=f"{log.state.version:0>2000}"))
        raw, state = log.raw, log.state
        tracemalloc.start()
        assert verify(raw, state).findings == ()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 2 * peaks[0]
