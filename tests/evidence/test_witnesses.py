"""One file of a registry says what another has to be: logs that were put back, cut or rewritten are found by what others say of them."""

from __future__ import annotations

import json
import random
import shutil
import threading

import pytest

from registration import RegistrationPipeline
from registration.core.policy import Policy
from registration.evidence.witnesses import Witnesses
from registration.pipeline.witnessing import _names_of
from registration.storage.notes import Commit, Noted
from registration.values.ids import name_of
from tests.kit.builders import forge

pytestmark = pytest.mark.damaged


@pytest.fixture
def pipeline(root, clock):
    """Three versions of a name are registered, `stable` points at the second, and one manifest goes on after that."""
    with RegistrationPipeline(
        root, lifecycle="registration-upkeep", actor="ada", clock=clock, random=random.Random(1)
    ) as pipeline:
        for number in range(3):
            registered(pipeline, f"m{number}", f"{number}.0.0")
        pipeline.names.set_alias("w", "stable", "1.0.0")
        for tag in "xyz":
            pipeline.tag("m0", [tag])
        yield pipeline


def registered(pipeline, id, version):
    pipeline.create(id, {"name": "w", "version": version})
    pipeline.submit_for_review(id)
    pipeline.approve(id)
    pipeline.register(id)


def edit(root, path, change, area="manifests"):
    """Change the events of a log and chain them anew, as somebody does who may write the files. The snapshot goes, too."""
    log = root / area / name_of(path) / "events.jsonl"
    log.write_bytes(forge(change([json.loads(line) for line in log.read_bytes().splitlines()])))
    (log.parent / "state.json").unlink(missing_ok=True)


def said(root, *kinds):
    """The findings of these kinds, by default all but what a removed snapshot leaves."""
    with RegistrationPipeline(root) as fresh:
        found = [finding for one in fresh.upkeep.verify_all() for finding in one.findings]
    return [
        (one.kind, one.path, one.line, one.reason)
        for one in found
        if (one.kind in kinds if kinds else one.kind != "unfinished")
    ]


def words(found):
    return "\n".join(f"{kind}: {path}, line {line}: {reason}" for kind, path, line, reason in found)


def test_an_intact_registry_has_no_findings(pipeline, root):
    """Names that went from one manifest to another included, and what was withdrawn."""
    pipeline.act("m1", "withdraw", reason="broken")
    pipeline.create("again", {"name": "w", "version": "1.0.0"})
    pipeline.submit_for_review("again")
    pipeline.approve("again")
    pipeline.register("again")

    assert said(root) == []


@pytest.mark.parametrize(("kept", "kind"), [(4, "damage"), (5, "damage"), (6, "finding")])
def test_an_older_copy_that_was_put_back_is_found(pipeline, root, kept, kind):
    """Its chain is sound, and it has its own old snapshot. Without its last commit alone, it looks like an interrupted write."""
    log = root / "manifests" / "m0"
    lines = (log / "events.jsonl").read_bytes().splitlines(keepends=True)
    (log / "events.jsonl").write_bytes(b"".join(lines[:kept]))
    (log / "state.json").unlink()
    pipeline.close()
    with RegistrationPipeline(root) as fresh:
        fresh.load_state("m0")  # makes a snapshot that agrees

    found = said(root)

    assert [one[:3] for one in found] == [(kind, "manifests/m0/events.jsonl", kept)]
    assert "an older copy was put back" in words(found)


def test_a_torn_line_hides_nothing_that_is_missing_before_it(pipeline, root):
    """Half a line behind an older copy is no excuse for what was there when later commits were noted."""
    log = root / "manifests" / "m0" / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:4]) + lines[4][:100])
    (log.parent / "state.json").unlink()

    assert [one[:3] for one in said(root)] == [("damage", "manifests/m0/events.jsonl", 4)]


def test_what_an_alias_saw_of_a_manifest_is_missing(pipeline, root):
    """Even without the feed: `latest` moved when version 4 was there."""
    shutil.rmtree(root / "feed")
    edit(root, "m2", lambda lines: lines[:3])

    damage = said(root, "damage")

    assert damage[0][1:3] == ("manifests/m2/events.jsonl", 3)
    assert "aliases/w/events.jsonl, line 3, names version 4" in damage[0][3]
    assert damage[1][1:3] == ("aliases/w/events.jsonl", 3)


def test_a_manifest_that_was_removed_is_missed(pipeline, root):
    """As long as anything speaks of it."""
    shutil.rmtree(root / "manifests" / "m2")

    found = words(said(root, "damage"))

    assert (
        "manifests/m2/events.jsonl, line 0: it is missing, and the feed noted commits after version 3"
        in found
    )
    assert "the alias 'latest' points at 'w@2.0.0' as held by 'm2'" in found


@pytest.mark.parametrize("line", range(7))
def test_a_line_that_was_rewritten_is_found(pipeline, root, line):
    """Of the same length, and with all hashes made anew: the feed noted what they were."""

    def change(lines):
        lines[line]["data"]["actor"] = "eve"
        return lines

    edit(root, "m0", change)

    assert ("damage", "manifests/m0/events.jsonl", line + 1) in [one[:3] for one in said(root)]


def test_two_manifests_that_hold_a_name_are_found(pipeline, root):
    """Made by hand, the feed removed."""
    shutil.rmtree(root / "feed")

    def change(lines):
        lines[3]["data"]["claimed"] = "w@0.0.0"
        return lines

    edit(root, "m2", change)

    assert ("damage: manifests/m2/events.jsonl, line 4: the name 'w@0.0.0' is held by 'm0' (since ") in words(
        said(root)
    )


def test_an_alias_of_what_never_held_is_found(pipeline, root):
    """Each event that says so, with its line; whichever file was changed."""
    shutil.rmtree(root / "feed")

    def change(lines):
        lines[3]["data"]["target"]["digest"] = "sha256:" + "0" * 64
        del lines[3]["data"]["seen"]  # as in an event of an earlier release
        return lines

    edit(root, "w", change, area="aliases")

    assert (
        "damage: aliases/w/events.jsonl, line 4: the alias 'stable' points at 'w@1.0.0' as held by 'm1', with the document sha256:0000"
    ) in words(said(root, "damage"))


def test_an_alias_that_names_no_version_of_the_holder_is_found(pipeline, root):
    """The event of a move says what it saw, so that it can be checked; one that says nothing was changed."""
    shutil.rmtree(root / "feed")

    def change(lines):
        del lines[3]["data"]["seen"]
        return lines

    edit(root, "w", change, area="aliases")

    assert "damage: aliases/w/events.jsonl, line 4: it does not say at which version" in words(said(root))


def test_a_fence_that_was_never_given_is_odd(pipeline, root):
    """It is no damage: a program may have its own numbers."""
    pipeline.work.claim("m1")
    pipeline.tag("m1", ["q"])
    shutil.rmtree(root / "feed")

    def change(lines):
        lines[-1]["data"]["fence"] = 99
        return lines

    edit(root, "m1", change)

    assert (
        "finding: manifests/m1/events.jsonl, line 5: its fencing number is 99; the last one that was given is 1"
    ) in words(said(root))


def test_without_a_feed_there_are_fewer_witnesses(pipeline, root):
    """That is said, and is no damage: the feed may be removed at any time."""
    shutil.rmtree(root / "feed")

    assert said(root) == [("unchecked", "feed", 0, "there is no feed to compare the logs with")]


def test_a_feed_that_can_not_be_read_is_said(pipeline, root):
    """The logs are verified all the same."""
    shutil.rmtree(root / "feed")
    (root / "feed").write_text("")

    (found,) = said(root)
    assert found[0] == "unchecked"
    assert "the logs were not compared with the feed" in found[3]


def test_one_manifest_is_compared_as_well(pipeline, root):
    """With its own notes, and the aliases of its names."""
    shutil.rmtree(root / "feed")
    edit(root, "m2", lambda lines: lines[:3])

    with RegistrationPipeline(root) as fresh:
        assert not fresh.evidence.verify("m1").damaged
        assert fresh.evidence.verify("m2").damaged
    edit(root, "m0", lambda lines: lines[:2])
    with RegistrationPipeline(root) as fresh:
        assert "names version 4" in fresh.evidence.verify("m0").findings[-1].reason


@pytest.mark.parametrize("piece_bytes", [64, 1 << 18])
def test_the_names_of_one_manifest_are_those_that_its_log_says(pipeline, root, monkeypatch, piece_bytes):
    """Of every document and claim, wherever pieces end, and in any spelling of JSON."""
    monkeypatch.setattr("registration.pipeline.witnessing.PIECE_BYTES", piece_bytes)
    pipeline.create("a", {"name": "acme/weather", "version": "1"})
    pipeline.revise("a", {"name": "acme/climate", "version": "1"})
    log = root / "manifests" / "a" / "events.jsonl"
    lines = log.read_bytes()
    spelled = lines.replace(b'"document":{"name":"acme/w', b'"docum\\u0065nt":{"name":"acme/\\u0077')
    assert spelled != lines
    log.write_bytes(spelled)

    assert _names_of(pipeline._registry.store, "a") == ["acme/climate", "acme/weather"]


def test_verification_writes_nothing(pipeline, root):
    """Not even what the next read would settle."""
    pipeline.create("m3", {"name": "w", "version": "3.0.0"})
    with (root / "manifests" / "m3" / "events.jsonl").open("ab") as opened:
        opened.write(b'{"specversion":"1.0","id":"half')
    before = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    said(root)
    with RegistrationPipeline(root) as fresh:
        fresh.evidence.verify("m3")

    assert {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()} == before


def test_writers_at_work_are_no_damage(pipeline, root):
    """Whatever is committed between reading a witness and reading the log that it speaks of."""
    stop, seen = threading.Event(), []

    def work():
        number = 10
        while not stop.is_set():
            registered(pipeline, f"m{number}", f"{number}.0.0")
            pipeline.names.set_alias("w", "stable", f"{number}.0.0")
            if number % 2:
                pipeline.act(f"m{number}", "withdraw", reason="odd")
            number += 1

    writer = threading.Thread(target=work)
    writer.start()
    try:
        for _ in range(2):
            seen += said(root, "damage", "finding")
    finally:
        stop.set()
        writer.join()

    assert seen == []


def test_a_repaired_log_has_other_lines(pipeline, root):
    """What was noted of the lines that were lost is no damage afterwards; what was noted before them still is."""
    log = root / "manifests" / "m0" / "events.jsonl"
    raw = log.read_bytes()
    lines = raw.splitlines(keepends=True)
    lines[5] = lines[5].replace(b'"actor":"ada"', b'"actor":"eve"')
    log.write_bytes(b"".join(lines))
    pipeline.close()
    with RegistrationPipeline(root, actor="ada") as fresh:
        fresh.upkeep.repair("m0", accept_loss=True, reason="a test")
        fresh.tag("m0", ["after"])

    assert said(root, "damage") == []

    edit(
        root,
        "m0",
        lambda lines: [*lines[:1], {**lines[1], "data": {**lines[1]["data"], "actor": "eve"}}, *lines[2:]],
    )
    assert ("damage", "manifests/m0/events.jsonl", 2) in [one[:3] for one in said(root, "damage")]


def test_a_repair_that_leaves_nothing_is_no_damage(pipeline, root):
    """The id is free again, and may have another log by now; what was set aside explains it."""
    for id in ("m0", "m1"):
        log = root / "manifests" / id / "events.jsonl"
        log.write_bytes(b"x" + log.read_bytes())
    pipeline.close()
    with RegistrationPipeline(root, lifecycle="registration-upkeep", actor="ada") as fresh:
        for id in ("m0", "m1"):
            fresh.upkeep.repair(id, accept_loss=True, reason="a test")
        fresh.create("m1", {"name": "other"})
        fresh.submit_for_review("m1")

    assert said(root, "damage") == []
    assert "a repair of that manifest left nothing" in words(said(root, "finding"))


# -- what was noted and never made -------------------------------------------------------------------------------


def noted(version, head, start, size, **rest):
    return Noted(
        Commit("manifests", "a", version, 1, start, size, head, "2026-01-01T00:00:00.000000Z"), **rest
    )


class Line:
    """As much of an event as is compared."""

    def __init__(self, version, hash, size):
        self.version, self.hash, self.line, self.data = version, hash, b"x" * size, {}
        self.time, self.id = "2026-01-01T00:00:00.000000Z", str(version)


def compare(notes, lines):
    with Witnesses() as witnesses:
        witnesses.add_notes(notes)
        watch = witnesses.watch("manifests", "a")
        for line in lines:
            watch.saw(line)
        return [(one.kind, one.line) for one in watch.ended()]


LOG = [Line(1, "h1", 10), Line(2, "h2", 10), Line(3, "h3", 10)]
NOTES = [noted(1, "h1", 0, 10), noted(2, "h2", 10, 20), noted(3, "h3", 20, 30)]


@pytest.mark.parametrize(
    ("notes", "found"),
    [
        (NOTES, []),
        ([], []),
        (NOTES[:1], []),
        (NOTES[2:], []),
        ([*NOTES, *NOTES], []),
        # A write failed after its note, and was tried again: with the same size, or with another.
        ([NOTES[0], noted(2, "no", 10, 20), *NOTES[1:]], []),
        ([NOTES[0], noted(2, "no", 10, 25), *NOTES[1:]], []),
        # A power cut: the note of the second attempt is lost, in an earlier run of the machine.
        ([NOTES[0], noted(2, "no", 10, 20, live=False), noted(3, "h3", 20, 30, segment=3)], [("finding", 2)]),
        ([*NOTES[:2], noted(3, "no", 20, 30, live=False)], [("finding", 3)]),
        # Nothing is lost in this run of the machine.
        ([NOTES[0], noted(2, "no", 10, 20), NOTES[2]], [("damage", 2)]),
        ([*NOTES[:2], noted(3, "no", 20, 30)], [("damage", 3)]),
        # One commit that was not made, and two, of which the first was there when the second was noted.
        ([*NOTES, noted(4, "h4", 30, 40)], [("finding", 3)]),
        ([*NOTES, noted(4, "h4", 30, 40), noted(5, "h5", 40, 50)], [("damage", 3)]),
        ([*NOTES, noted(5, "h5", 40, 50)], [("damage", 3)]),
        # A commit began at another byte.
        ([NOTES[0], noted(3, "h3", 22, 32)], [("damage", 2)]),
    ],
)
def test_notes_prove_what_they_can(notes, found):
    """And no more: a note comes before its commit, and is not synced."""
    assert compare(notes, LOG) == found


# -- two holders, by their clocks and by the order of commits -------------------------------------------------------


def told(stream, version, hash, time, **data):
    line = Line(version, hash, 10)
    line.subject, line.time, line.data = stream, time, data
    return line


def holdings(first, second, order, *, still=True):
    """The findings of two manifests that claim one name: at (claimed, released) each. order: of the hashes in the feed."""
    logs = {"a": first, "b": second}
    with Witnesses(holds=lambda *_: still) as witnesses:
        places = {
            hash: Commit(
                "manifests", hash[0], int(hash[1]), 1, 10 * int(hash[1]) - 10, 10 * int(hash[1]), hash, ""
            )
            for hash in order
        }
        witnesses.add_notes(Noted(commit) for commit in places.values())
        for stream, (claimed, released) in logs.items():
            watch = witnesses.watch("manifests", stream)
            watch.saw(told(stream, 1, f"{stream}1", claimed, claimed="n"))
            if released is not None:
                watch.saw(told(stream, 2, f"{stream}2", released, released="n"))
            assert watch.ended() == []
        return [one.kind for one in witnesses.findings() if one.kind != "unchecked"]


@pytest.mark.parametrize(
    ("first", "second", "order", "found"),
    [
        # One after the other, however the clocks of the two writers differ.
        (("1", "3"), ("4", "5"), ["a1", "a2", "b1", "b2"], []),
        (("1", "3"), ("3", None), [], []),
        (("1", "3"), ("2", None), ["a1", "a2", "b1"], []),
        (("2", None), ("1", "3"), ["b1", "b2", "a1"], []),
        # At one time, by the order of commits; and where that is not known.
        (("1", "4"), ("2", "3"), ["a1", "b1", "b2", "a2"], ["damage"]),
        (("1", "3"), ("2", None), ["a1", "b1", "a2"], ["damage"]),
        (("1", "3"), ("2", None), ["a1", "a2"], ["finding"]),
        (("1", "3"), ("2", None), [], ["finding"]),
        # Both hold it now.
        (("1", None), ("2", None), [], ["damage"]),
    ],
)
def test_a_name_has_one_holder_at_a_time(first, second, order, found):
    """The clocks of two writers prove nothing; the order of their commits does, and so do two that hold it now."""
    assert holdings(first, second, order) == found


def test_what_was_released_since_is_no_second_holder():
    """Its log was read before the other claimed the name."""
    assert holdings(("1", None), ("2", None), [], still=False) == []


def test_no_space_for_the_comparison_damages_no_log():
    """It is said once; the logs are verified all the same."""
    with Witnesses() as witnesses:
        witnesses.add_notes(NOTES)
        watch = witnesses.watch("manifests", "a")
        witnesses.db.execute("PRAGMA max_page_count = 1")
        for line in [told("a", number, f"a{number}", "1", claimed="n" * 10_000) for number in range(1, 300)]:
            watch.saw(line)
        found = watch.ended()

        assert found == []
        assert witnesses.watch("manifests", "b").ended() == []
        (one,) = witnesses.findings()
    assert (one.kind, "not all compared" in one.reason) == ("unchecked", True)


def test_the_registrys_own_log_is_compared_as_well(pipeline, root):
    """It is verified with the others; its lines are noted like theirs."""
    (root / "policy.toml").write_text('[[guards]]\nguard = "reason_given"\nactions = ["move_alias"]\n')
    pipeline.upkeep.apply_policy(reason="a test")
    pipeline.upkeep.apply_policy(Policy(name="other"), reason="another")

    with RegistrationPipeline(root) as fresh:
        found = {one.area: one.findings for one in fresh.upkeep.verify_all()}

    assert found["registry"] == ()
    assert said(root, "damage", "finding") == []
