"""The store on files, on real ones: the layout, the recovery table of the format, and disks that fail.

The events are those of `registration.testing.contract`, which is enough for a store. What is damaged on
purpose is put right again in each test, or marked.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from itertools import count

import pytest

from registration import RegistrationPipeline
from registration.core.chart import Action, Chart, State, Transition
from registration.core.codec import encode_snapshot
from registration.core.decider import fold
from registration.core.definition import Definition
from registration.errors import (
    CorruptLog,
    CorruptRegistry,
    LockTimeout,
    NotFound,
    RegistrationError,
    StoreError,
    VersionConflict,
)
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile
from registration.storage.freeing import FREEING
from registration.storage.ledger import Ledger
from registration.storage.reports import Files, Recovered
from registration.testing.contract import append
from tests.kit.disks import LOG, SNAPSHOT, TEMPORARY, Killed, ScriptedDisk, tree

WANTED = RegistryFile(
    "019b76da-a800-7000-8000-000000000001", "2026-01-01T00:00:00.000000Z", REGISTRATION.name
)


ANOTHER = RegistryFile(
    "019b76da-a800-7000-8000-000000000002", "2026-02-02T00:00:00.000000Z", REGISTRATION.name, 1_000
)


@pytest.fixture
def open_store(root):
    """Open the registry at `root`, on a disk of one's own where one is given."""

    def open_store(disk=None, **options):
        return open_files(root, REGISTRATION, wanted=WANTED, disk=disk, **options)

    return open_store


@pytest.fixture
def store(open_store):
    """A registry whose manifest `a` has three events, as another process finds it: nothing of it is hot."""
    store = open_store()
    for _ in range(3):
        append(store, "a")
    return open_store()


@pytest.fixture
def place(root):
    """The directory of the manifest `a`."""
    return root / "manifests" / "a"


def snapshot_at(store, version, stream="a"):
    """The snapshot as it was at a version, from the log."""
    return fold(REGISTRATION, None, list(store.read(stream))[:version])


def lines_of(place):
    return (place / LOG).read_bytes().splitlines(keepends=True)


def quarantined(root):
    """The bytes set aside of the manifest `a`, by name."""
    return {path.name: path.read_bytes() for path in (root / "quarantine" / "a").glob("*")}


# -- the layout ----------------------------------------------------------------------------------------


def test_the_layout_is_that_of_the_format(open_store, root):
    """A registry is `registry.json`, two files a manifest, under its encoded id, and the feed; nothing temporary stays."""
    append(open_store(), "io.github.acme/weather:x@1.0")

    directory = "manifests/io.github.acme%2Fweather%3Ax@1.0"
    assert set(tree(root)) == {
        "registry.json",
        "manifests",
        directory,
        f"{directory}/{LOG}",
        f"{directory}/{SNAPSHOT}",
        "feed",
        "feed/000001.jsonl",
    }


def test_nobody_else_can_read_it(open_store, root, place):
    """Directories are made 0700 and files 0600, however generous the umask."""
    umask = os.umask(0)
    try:
        store = open_store()
        append(store, "a")
        (place / SNAPSHOT).unlink()
        with (place / LOG).open("ab") as log:
            log.write(b"torn")
        store.recover("a")
    finally:
        os.umask(umask)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    assert len(quarantined(root)) == 1
    assert modes == {path: 0o700 if path.is_dir() else 0o600 for path in modes}


def test_a_name_that_no_id_has_is_passed_over(store, root):
    """What people leave in `manifests/` is no stream."""
    for name in (".hidden", "white space", "%41", "a%2f", "lost+found%"):
        (root / "manifests" / name).mkdir()

    assert list(store.streams()) == ["a"]


def test_a_log_larger_than_one_read_comes_back_whole(open_pipeline):
    """Events that straddle the pieces in which a log is read are given as they were written."""
    with open_pipeline() as pipeline:
        pipeline.create("a", {"text": "x" * 100_000})
        for size in (70_000, 1, 200_000):
            pipeline.revise("a", {"text": "y" * size})

        texts = [event.data["document"]["text"] for event in pipeline.history("a")]

    assert [len(text) for text in texts] == [100_000, 70_000, 1, 200_000]


# -- links, pipes and directories where a file belongs ---------------------------------------------------


def test_the_root_itself_may_be_a_link(store, root, tmp_path):
    """A registry can be opened through a symbolic link to its root."""
    (tmp_path / "link").symlink_to(root)

    linked = open_files(tmp_path / "link", REGISTRATION)

    assert linked.load("a") == store.load("a")


@pytest.mark.damaged
@pytest.mark.parametrize(
    "name", ["manifests", "manifests/a", f"manifests/a/{LOG}", f"manifests/a/{SNAPSHOT}"]
)
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.load("a"),
        lambda store: append(store, "a"),
        lambda store: list(store.read("a")),
        lambda store: store.recover("a"),
        lambda store: store.inspect("a"),
    ],
    ids=["load", "append", "read", "recover", "inspect"],
)
def test_a_link_below_the_root_is_never_followed(store, root, tmp_path, name, call):
    """A symbolic link in the place of a directory or a file is an error, and what it leads to stays as it is."""
    outside = tmp_path / "outside"
    shutil.move(root / name, outside)
    (root / name).symlink_to(outside)
    before = tree(tmp_path)

    with pytest.raises(StoreError, match="symbolic link"):
        call(store)

    assert tree(tmp_path) == before


@pytest.mark.damaged
def test_a_creation_does_not_follow_a_link_out_of_the_root(store, root, tmp_path):
    """Where `manifests` is a link, no manifest is made behind it."""
    outside = tmp_path / "outside"
    shutil.move(root / "manifests", outside)
    (root / "manifests").symlink_to(outside)

    with pytest.raises(StoreError, match="symbolic link"):
        append(store, "b")

    assert not (outside / "b").exists()


@pytest.mark.damaged
def test_quarantine_does_not_follow_a_link(store, root, place, tmp_path):
    """Where `quarantine` is a link, nothing is set aside, so nothing is cut."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "quarantine").symlink_to(outside)
    with (place / LOG).open("ab") as log:
        log.write(b"torn")
    before = tree(root)

    with pytest.raises(StoreError, match="symbolic link"):
        store.load("a")

    assert tree(root) == before
    assert tree(outside) == {}


def test_a_link_in_place_of_the_temporary_file_is_removed(store, open_store, place, tmp_path):
    """A snapshot is never written through a link that waits under its temporary name."""
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (place / TEMPORARY).symlink_to(outside)

    append(store, "a")
    open_store().load("a")  # clears it away
    loaded = store.load("a")

    assert loaded.version == 4
    assert not (place / TEMPORARY).is_symlink()
    assert outside.read_text() == "precious"


@pytest.mark.damaged
def test_a_link_in_place_of_the_registry_file_is_refused(store, root, tmp_path):
    """`registry.json` must be in the registry."""
    shutil.move(root / "registry.json", tmp_path / "outside")
    (root / "registry.json").symlink_to(tmp_path / "outside")

    with pytest.raises(StoreError, match="symbolic link"):
        open_files(root, REGISTRATION)


@pytest.mark.damaged
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
@pytest.mark.parametrize("with_snapshot", [True, False], ids=["snapshot", "no snapshot"])
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.load("a"),
        lambda store: append(store, "a"),
        lambda store: list(store.read("a")),
        lambda store: store.recover("a"),
        lambda store: store.inspect("a"),
    ],
    ids=["load", "append", "read", "recover", "inspect"],
)
def test_what_is_no_file_in_place_of_the_log_is_an_error(store, place, root, make, with_snapshot, call):
    """A pipe or a directory where the log belongs is named in an error; nobody waits for it."""
    (place / LOG).unlink()
    make(place / LOG)
    if not with_snapshot:
        (place / SNAPSHOT).unlink()
    before = tree(root)

    with pytest.raises(StoreError, match=r"manifests/a/events\.jsonl"):
        call(store)

    assert tree(root) == before


def test_a_pipe_in_place_of_the_snapshot_is_an_unreadable_snapshot(store, place):
    """A pipe where the snapshot belongs is replaced by a snapshot, without waiting for it."""
    expected = (place / SNAPSHOT).read_bytes()
    (place / SNAPSHOT).unlink()
    os.mkfifo(place / SNAPSHOT)

    assert store.load("a").version == 3
    assert (place / SNAPSHOT).read_bytes() == expected


@pytest.mark.damaged
def test_a_directory_in_place_of_the_snapshot_is_an_error(store, place):
    """A directory where the snapshot belongs is somebody's mistake, and not ours to remove."""
    (place / SNAPSHOT).unlink()
    (place / SNAPSHOT).mkdir()

    with pytest.raises(StoreError, match="directory"):
        store.load("a")


@pytest.mark.damaged
def test_a_file_in_place_of_a_manifests_directory_is_an_error(store, root):
    """A file in `manifests/` under a good name is an error for that manifest alone."""
    (root / "manifests" / "b").write_text("not a directory")

    with pytest.raises(StoreError, match="directory"):
        store.load("b")

    assert store.load("a").version == 3


# -- registry.json ---------------------------------------------------------------------------------------


def test_a_registry_that_is_not_there_is_not_found(tmp_path):
    """Opening a place without a registry says so, and makes nothing."""
    with pytest.raises(NotFound, match="There is no registry at"):
        open_files(tmp_path / "nowhere", REGISTRATION)

    assert list(tmp_path.iterdir()) == []


def test_a_registry_below_a_file_is_not_found(tmp_path):
    """A path that leads through a file holds no registry."""
    (tmp_path / "file").write_text("")

    with pytest.raises(NotFound):
        open_files(tmp_path / "file" / "registry", REGISTRATION)


@pytest.mark.damaged
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "no `format`"),
        (b"{}", "no `format`"),
        (b'{"format": 2}', "format 2"),
        (b'{"format": "1"}', "format '1'"),
        (b'{"format": 1}', "no `settings`"),
        (b'{"format": 1, "settings": {"document_bytes_max": "1"}}', "document_bytes_max"),
        (b'{"format": 1, "settings": {"document_bytes_max": true}}', "document_bytes_max"),
        (b'{"format": 1, "settings": {"document_bytes_max": 0}}', "document_bytes_max"),
        (b'{"format": 1, "settings": {}}', "`id`"),
        (b'{"format": 1, "settings": {}, "id": ""}', "`id`"),
        (b'{"format": 1, "settings": {}, "id": "x"}', "`created_at`"),
        (b'{"format": 1, "settings": {}, "id": "x", "created_at": "y"}', "`definition`"),
    ],
)
def test_a_registry_file_that_is_not_ours_is_refused(store, root, content, said):
    """A malformed `registry.json`, or one of a later format, is named and left as it is."""
    (root / "registry.json").write_bytes(content)
    before = tree(root)

    with pytest.raises(CorruptRegistry, match=said):
        open_files(root, REGISTRATION, wanted=WANTED)

    assert tree(root) == before


@pytest.mark.damaged
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_what_is_no_file_in_place_of_the_registry_file_is_an_error(store, root, make):
    """A pipe or a directory under the name `registry.json` is refused; nobody waits for it."""
    (root / "registry.json").unlink()
    make(root / "registry.json")

    with pytest.raises(StoreError):
        open_files(root, REGISTRATION, wanted=WANTED)


def test_a_registry_of_another_lifecycle_is_refused(store, root):
    """Logs are not folded with a lifecycle that they were not written under."""
    other = Definition(
        Chart(
            name="other",
            states=(State("OPEN"), State("SHUT", final=True)),
            actions=(Action("open", past="opened"), Action("shut", past="shut")),
            transitions=(
                Transition("open", source=None, target="OPEN"),
                Transition("shut", source="OPEN", target="SHUT"),
            ),
        )
    )

    with pytest.raises(CorruptRegistry, match="'registration', not for the given 'other' version 1"):
        open_files(root, other, wanted=WANTED)


@pytest.mark.damaged
def test_manifests_without_a_registry_file_are_not_adopted(store, root):
    """A lost `registry.json` is not made anew over manifests: their events name the old id."""
    (root / "registry.json").unlink()
    before = tree(root)

    with pytest.raises(CorruptRegistry, match="backup"):
        open_files(root, REGISTRATION, wanted=WANTED)

    assert tree(root) == before


def test_a_registry_is_made_with_the_directories_above_it(tmp_path):
    """Making a registry makes every missing directory on the way."""
    root = tmp_path / "a" / "b" / "c"

    store = open_files(root, REGISTRATION, wanted=WANTED)

    assert json.loads((root / "registry.json").read_bytes())["id"] == WANTED.id
    assert store.source == f"urn:uuid:{WANTED.id}"


def test_a_registry_that_is_there_is_opened_as_it_is(store, root):
    """Asking for a new registry where there is one gives the old one, with its own id and limits."""
    opened = open_files(root, REGISTRATION, wanted=ANOTHER)

    assert opened.backend.registry == WANTED


def test_a_file_in_the_way_of_a_registry_is_an_error(tmp_path):
    """A registry can't be made where a file stands, and the file stays."""
    (tmp_path / "file").write_text("precious")

    with pytest.raises(StoreError):
        open_files(tmp_path / "file", REGISTRATION, wanted=WANTED)

    assert (tmp_path / "file").read_text() == "precious"


def test_a_registry_that_may_not_be_made_says_why(tmp_path):
    """Where the directory above is not ours to write to, the error is about permission."""
    disk = ScriptedDisk()
    disk.fail("make_directory", errno.EACCES, name="registry")

    with pytest.raises(StoreError) as caught:
        open_files(tmp_path / "registry", REGISTRATION, wanted=WANTED, disk=disk)

    assert caught.value.details["errno"] == errno.EACCES


@pytest.mark.torture
def test_of_several_processes_that_make_a_registry_one_does(root, tmp_path):
    """Processes that make the same registry at once all open the same one."""
    program = (
        "import sys, time, os\n"
        "from registration.pipeline.pipeline import RegistrationPipeline\n"
        "import registration.storage.files.backend\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "with RegistrationPipeline(sys.argv[1]) as pipeline:\n"
        "    print(pipeline.create(sys.argv[2], {}).source)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, root, f"m{index}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"

    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    sources = [process.communicate()[0].strip() for process in processes]

    opened = open_files(root, REGISTRATION)
    assert set(sources) == {opened.source}
    assert list(opened.streams()) == ["m0", "m1", "m2", "m3"]
    expected = {"registry.json", "registry", "manifests", "rules", "feed"}
    assert {path.name for path in root.iterdir()} == expected


def test_a_registry_whose_making_was_killed_anywhere_can_be_made(tmp_path):
    """However far the making of a registry came, making it again finishes it."""
    for number in count(1):
        root = tmp_path / str(number) / "above" / "registry"
        disk = ScriptedDisk()
        disk.kill(number)
        try:
            open_files(root, REGISTRATION, wanted=WANTED, disk=disk)
        except Killed:
            append(open_files(root, REGISTRATION, wanted=ANOTHER), "a")
        else:
            break

    assert number > 15  # it was killed at each of so many calls


# -- recovery: the snapshot --------------------------------------------------------------------------------


def _other_format(store, place):
    members = json.loads((place / SNAPSHOT).read_bytes())
    covered = json.dumps(members | {"format": 2}, indent=2).encode().rsplit(b',\n  "checksum"', 1)[0]
    return b'%s,\n  "checksum": "%s"\n}\n' % (covered, hashlib.sha256(covered).hexdigest().encode())


def _of_another_manifest(store, place):
    for _ in range(3):
        append(store, "b")
    return (place.parent / "b" / SNAPSHOT).read_bytes()


def _of_another_registry(store, place):
    raw = encode_snapshot(store.load("a")).replace(
        WANTED.id.encode(), b"019b76da-a800-7000-8000-000000000009"
    )
    covered = raw.rsplit(b',\n  "checksum"', 1)[0]
    return b'%s,\n  "checksum": "%s"\n}\n' % (covered, hashlib.sha256(covered).hexdigest().encode())


SNAPSHOTS = {
    "missing": lambda _store, _place: None,
    "empty": lambda _store, _place: b"",
    "zeros": lambda _store, _place: bytes(600),
    "garbage": lambda _store, _place: b"\xff\x00garbage",
    "torn": lambda _store, place: (place / SNAPSHOT).read_bytes()[:-1],
    "one letter": lambda _store, place: (place / SNAPSHOT).read_bytes().replace(b"DRAFT", b"DRAFU"),
    "another format": _other_format,
    "of another manifest": _of_another_manifest,
    "of another registry": _of_another_registry,
    "behind by one": lambda store, _place: encode_snapshot(snapshot_at(store, 2)),
    "behind by two": lambda store, _place: encode_snapshot(snapshot_at(store, 1)),
}


@pytest.mark.parametrize("settle", [Ledger.load, Ledger.recover], ids=["load", "recover"])
@pytest.mark.parametrize("kind", SNAPSHOTS)
def test_a_snapshot_of_no_use_is_made_anew(store, open_store, place, root, kind, settle):
    """A snapshot that is missing, unreadable, of something else or behind is folded from the log again."""
    state, raw = store.load("a"), SNAPSHOTS[kind](store, place)
    before = tree(root)
    if raw is None:
        (place / SNAPSHOT).unlink()
    else:
        (place / SNAPSHOT).write_bytes(raw)

    settle(open_store(), "a")

    assert tree(root) == before
    assert store.load("a") == state


def test_recovery_says_what_it_set_right(store, place):
    """`recover` gives a sentence for each thing that was not as it should be."""
    (place / SNAPSHOT).write_bytes(b"garbage")
    with (place / LOG).open("ab") as log:
        log.write(b"torn")

    first, second = store.recover("a"), store.recover("a")

    said = " / ".join(f"{step.found}: {step.done}" for step in first.steps)
    for what in ("written again and synced", "4 bytes from byte", "an unfinished write", "unusable"):
        assert what in said
    assert second.steps == ()
    assert first.state == second.state


def test_recovery_does_not_believe_a_snapshot_that_says_otherwise(store, place):
    """`recover` folds from the first byte, so a snapshot with a right checksum and a wrong state is made anew."""
    right = (place / SNAPSHOT).read_bytes()
    covered = right.replace(b"DRAFT", b"REGISTERED").rsplit(b',\n  "checksum"', 1)[0]
    forged = b'%s,\n  "checksum": "%s"\n}\n' % (covered, hashlib.sha256(covered).hexdigest().encode())
    (place / SNAPSHOT).write_bytes(forged)

    recovered = store.recover("a")

    assert "differs from the replayed log" in recovered.steps[0].found
    assert recovered.state.state == "DRAFT"
    assert (place / SNAPSHOT).read_bytes() == right


def test_a_snapshot_of_another_history_never_cuts_the_log(open_pipeline, root, place, tmp_path):
    """A sound snapshot from a copy of the registry that went another way costs this log no event.

    The copy's second event was shorter, so its snapshot ends in the middle of a line here; what follows
    that place looks like a torn line, and is half of an acknowledged one.
    """
    pipeline = open_pipeline()
    pipeline.create("a", {})
    shutil.copytree(root, tmp_path / "copy")
    pipeline.revise("a", {"text": "a long document"})
    with RegistrationPipeline(tmp_path / "copy") as copy:
        copy.revise("a", {})
    acknowledged = (place / LOG).read_bytes()
    shutil.copy(tmp_path / "copy" / "manifests" / "a" / SNAPSHOT, place / SNAPSHOT)

    with suppress(CorruptLog):  # to refuse it is as good as to see through it
        open_pipeline().load_state("a")

    assert (place / LOG).read_bytes() == acknowledged
    (place / SNAPSHOT).unlink()
    assert open_pipeline().load_state("a").document == {"text": "a long document"}


@pytest.mark.damaged
def test_a_snapshot_of_another_history_of_the_same_length_is_not_believed(
    open_pipeline, root, place, tmp_path
):
    """Where only the last hash tells two histories apart, it does: the log answers, and the snapshot is made anew."""
    pipeline = open_pipeline()
    pipeline.create("a", {})
    shutil.copytree(root, tmp_path / "copy")
    pipeline.revise("a", {"n": 1})
    with RegistrationPipeline(tmp_path / "copy", actor="ada") as copy:
        copy.revise("a", {"n": 2})
    shutil.copy(tmp_path / "copy" / "manifests" / "a" / SNAPSHOT, place / SNAPSHOT)

    assert open_pipeline().load_state("a").document == {"n": 1}
    assert [event.data["document"] for event in open_pipeline().history("a")] == [{}, {"n": 1}]
    assert pipeline.evidence.verify("a").findings == ()


# -- recovery: the end of the log --------------------------------------------------------------------------


def truncations(store, place):
    """Every way in which the last line can be cut short."""
    *_, last = lines_of(place)
    return [last[:size] for size in range(1, len(last))]


def oddities(store, place):
    """What file systems and stray programs leave behind a log, and in place of its last line."""
    *_, last = lines_of(place)
    return [
        b"\0",
        b"\0" * 4096,
        bytes(len(last)),
        last[:100] + bytes(len(last) - 100),
        bytes(100) + last[100:],
        last.replace(b"2026", b"2027", 1),
        last[:-2] + b"\n",
        b"\n",
        b"{}\n",
        b"garbage",
        b"garbage\n",
        b"\xff\xfe\n\xff",
        b"\n\n\n",
    ]


@pytest.mark.parametrize("tails", [pytest.param(truncations, marks=pytest.mark.torture), oddities])
@pytest.mark.parametrize("with_snapshot", [True, False], ids=["snapshot", "no snapshot"])
def test_a_torn_tail_is_set_aside(store, root, place, tails, with_snapshot):
    """Whatever part of an unacknowledged event is at the end, it goes to quarantine and the log is cut."""
    sound, snapshot = b"".join(lines_of(place)[:2]), snapshot_at(store, 2)
    for tail in tails(store, place):
        (place / LOG).write_bytes(sound + tail)
        if with_snapshot:
            (place / SNAPSHOT).write_bytes(encode_snapshot(snapshot))
        else:
            (place / SNAPSHOT).unlink()

        loaded = store.load("a")

        assert loaded == snapshot
        assert (place / LOG).read_bytes() == sound
        assert (place / SNAPSHOT).read_bytes() == encode_snapshot(snapshot)
        assert list(quarantined(root).values()) == [tail]
        shutil.rmtree(root / "quarantine")


def test_a_tail_that_is_set_aside_twice_is_one_file(store, root, place):
    """The same bytes torn off at the same place again make no second file in quarantine."""
    for _ in range(2):
        with (place / LOG).open("ab") as log:
            log.write(b"torn")
        store.load("a")

    (name,) = quarantined(root)
    assert name.startswith(f"{(place / LOG).stat().st_size}-")


def test_the_next_event_follows_on_the_sound_end(store, place):
    """After a torn tail was set aside, the next event stands where it began."""
    with (place / LOG).open("ab") as log:
        log.write(b'{"specversion":"1.0","id":')

    append(store, "a")

    assert [event.version for event in store.read("a")] == [1, 2, 3, 4]


def test_half_a_command_is_set_aside_whole(open_store, root, place):
    """Of a batch whose last events are missing nothing is kept, wherever it was cut."""
    store = open_store()
    append(store, "a")
    append(store, "a", count=3)
    lines, snapshot = lines_of(place), snapshot_at(store, 1)
    batch = b"".join(lines[1:])
    for size in range(1, len(batch), 7):
        (place / LOG).write_bytes(lines[0] + batch[:size])
        (place / SNAPSHOT).write_bytes(encode_snapshot(snapshot))

        assert store.load("a") == snapshot
        assert (place / LOG).read_bytes() == lines[0]
        assert list(quarantined(root).values()) == [batch[:size]]
        shutil.rmtree(root / "quarantine")


def test_a_hole_in_the_last_command_is_set_aside_whole(open_store, root, place):
    """A power cut that lost the first page of a batch and kept the last costs that batch only."""
    store = open_store()
    append(store, "a")
    append(store, "a", count=3)
    lines, snapshot = lines_of(place), snapshot_at(store, 1)
    torn = lines[1] + bytes(len(lines[2])) + lines[3]
    (place / LOG).write_bytes(lines[0] + torn)
    (place / SNAPSHOT).write_bytes(encode_snapshot(snapshot))

    assert store.load("a") == snapshot
    assert (place / LOG).read_bytes() == lines[0]
    assert list(quarantined(root).values()) == [torn]


# -- recovery: damage ----------------------------------------------------------------------------------------


def _flipped(line):
    return line.replace(b'"actor"', b'"actoR"')


def _rechained(line):
    """The line as somebody would write it who knows how hashes are made: sound by itself."""
    members = json.loads(line)
    del members["hash"]
    members["prevhash"] = "0" * 64
    covered = json.dumps(members, separators=(",", ":")).encode()[:-1]
    return b'%s,"hash":"%s"}\n' % (covered, hashlib.sha256(covered).hexdigest().encode())


DAMAGE = {
    "first line": (lambda a, _b: [_flipped(a[0]), *a[1:]], 1),
    "middle line": (lambda a, _b: [a[0], _flipped(a[1]), *a[2:]], 2),
    "zeros in the middle": (lambda a, _b: [a[0], bytes(len(a[1])), *a[2:]], 2),
    "an empty line in the middle": (lambda a, _b: [a[0], b"\n", *a[1:]], 2),
    "two lines run into one": (lambda a, _b: [a[0], a[1][:-1], *a[2:]], 2),
    "a gap": (lambda a, _b: [a[0], *a[2:]], 2),
    "the beginning is gone": (lambda a, _b: a[1:], 1),
    "a line repeated": (lambda a, _b: [*a[:2], a[1], *a[2:]], 3),
    "the last line repeated": (lambda a, _b: [*a, a[-1]], 5),
    "two lines exchanged": (lambda a, _b: [a[0], a[2], a[1], a[3]], 2),
    "a broken chain": (lambda a, _b: [a[0], _rechained(a[1]), *a[2:]], 2),
    "a broken chain at the end": (lambda a, _b: [*a[:3], _rechained(a[3])], 4),
    "a line of another manifest": (lambda a, b: [a[0], b[1], *a[2:]], 2),
    "a line of another manifest at the end": (lambda a, b: [*a, b[1]], 5),
}


@pytest.mark.damaged
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.load("a"),
        lambda store: append(store, "a"),
        lambda store: list(store.read("a")),
        lambda store: store.recover("a"),
    ],
    ids=["load", "append", "read", "recover"],
)
@pytest.mark.parametrize(
    ("kind", "with_snapshot"),
    [
        pytest.param(kind, with_snapshot, id=f"{kind}, {'snapshot of 1' if with_snapshot else 'no snapshot'}")
        for kind, (_, line) in DAMAGE.items()
        for with_snapshot in (True, False)
        if line > 1 or not with_snapshot  # a snapshot that covers the damage is a case of its own
    ],
)
def test_damage_is_reported_and_nothing_is_changed(store, root, place, kind, with_snapshot, call):
    """What no crash can leave fails with the file, the line and the offset, and every byte stays."""
    damage, line = DAMAGE[kind]
    append(store, "a")
    for _ in range(4):
        append(store, "b")
    own, other = lines_of(place), lines_of(root / "manifests" / "b")
    snapshot = snapshot_at(store, 1)
    damaged = damage(own, other)
    (place / LOG).write_bytes(b"".join(damaged))
    if with_snapshot:
        (place / SNAPSHOT).write_bytes(encode_snapshot(snapshot))
    else:
        (place / SNAPSHOT).unlink()
    before = tree(root)

    with pytest.raises(CorruptLog) as caught:
        call(store)

    details = caught.value.details
    assert details["path"] == "manifests/a/events.jsonl"
    assert details["line"] == line
    assert details["offset_bytes"] == len(b"".join(own[: line - 1]))
    assert details["sound_version"] == line - 1
    assert f"line {line}, byte {details['offset_bytes']}" in str(caught.value)
    assert tree(root) == before


@pytest.mark.damaged
@pytest.mark.parametrize("settle", [Ledger.load, Ledger.recover], ids=["load", "recover"])
@pytest.mark.parametrize("cut", [1, 100, "line", "all"])
def test_a_log_shorter_than_its_snapshot_is_damage(store, root, place, settle, cut):
    """The snapshot is a second witness of the log's length: what it covers can't have been torn off."""
    lines = lines_of(place)
    whole = b"".join(lines)
    size = (
        {"line": len(whole) - len(lines[-1]), "all": 0}.get(cut) if isinstance(cut, str) else len(whole) - cut
    )
    (place / LOG).write_bytes(whole[:size])
    before = tree(root)

    with pytest.raises(CorruptLog):
        settle(store, "a")

    assert tree(root) == before


@pytest.mark.damaged
def test_damage_under_a_snapshot_that_covers_it_is_met_by_a_full_read(store, root, place):
    """With the size unchanged a state is still answered; a full read gives the sound events, then fails."""
    state, lines = store.load("a"), lines_of(place)
    (place / LOG).write_bytes(lines[0] + _flipped(lines[1]) + lines[2])
    before = tree(root)

    assert store.load("a") == state
    reading = store.read("a")
    assert next(reading).version == 1
    with pytest.raises(CorruptLog, match="line 2"):
        next(reading)
    with pytest.raises(CorruptLog, match="line 2"):
        store.recover("a")
    assert tree(root) == before


@pytest.mark.damaged
def test_the_last_line_is_not_cut_where_the_snapshot_covers_it(store, root, place):
    """A last line that a snapshot proves to have been acknowledged is damaged, not torn."""
    lines = lines_of(place)
    (place / LOG).write_bytes(b"".join(lines[:2]) + _flipped(lines[2]))
    before = tree(root)

    with pytest.raises(CorruptLog, match="line 3"):
        store.recover("a")

    assert tree(root) == before


@pytest.mark.damaged
@pytest.mark.parametrize("content", ["sound", "garbage"])
@pytest.mark.parametrize("log", ["missing", "empty"])
@pytest.mark.parametrize(
    "call",
    [
        lambda pipeline: pipeline.load_state("a"),
        lambda pipeline: pipeline.create("a", {}),
        lambda pipeline: pipeline.revise("a", {}),
        lambda pipeline: list(pipeline.history("a")),
        lambda pipeline: pipeline.upkeep.recover("a"),
    ],
    ids=["load", "create", "revise", "history", "recover"],
)
def test_a_snapshot_without_its_log_is_damage(pipeline, root, place, content, log, call):
    """A log that is missing or empty beside a snapshot was lost; nothing takes its place."""
    pipeline.create("a", {})
    if log == "missing":
        (place / LOG).unlink()
    else:
        (place / LOG).write_bytes(b"")
    if content == "garbage":
        (place / SNAPSHOT).write_bytes(b"garbage")
    before = tree(root)

    with pytest.raises(CorruptLog, match="snapshot"):
        call(pipeline)

    assert tree(root) == before


# -- recovery: what was never created --------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["directory", "empty log", "torn line", "zeros"])
def test_a_creation_that_was_never_acknowledged_is_as_if_absent(pipeline, root, place, left):
    """A directory without a complete first event holds no manifest, and the next creation takes it over."""
    pipeline.create("b", {})
    place.mkdir(mode=0o700)
    line = lines_of(root / "manifests" / "b")[0]
    remains = {"empty log": b"", "torn line": line[:-1], "zeros": bytes(500)}
    if left in remains:
        (place / LOG).write_bytes(remains[left])

    with pytest.raises(NotFound):
        pipeline.load_state("a")
    with pytest.raises(NotFound):
        pipeline.recover_from_events("a")
    assert [summary.manifest_id for summary in pipeline.list()] == ["b"]
    created = pipeline.create("a", {"taken": "over"})

    assert created.version == 1
    assert pipeline.load_state("a") == created
    assert [event.version for event in pipeline.history("a")] == [1]


@pytest.mark.parametrize("with_log", [True, False], ids=["empty log", "no log"])
def test_a_place_without_events_is_inspected_as_it_is(store, root, place, with_log):
    """What was never acknowledged has no bytes to show, no snapshot to keep, and nothing wrong with it."""
    (root / "manifests" / "b").mkdir()
    if with_log:
        (root / "manifests" / "b" / LOG).touch()
    snapshot = store.load("a")

    assert store.inspect("b") == Files(b"", None)
    assert store.recover("b") == Recovered(None)
    with pytest.raises(NotFound):
        store.save("b", snapshot)


@pytest.mark.damaged
@pytest.mark.parametrize("with_log", [True, False], ids=["empty log", "no log"])
def test_a_snapshot_without_its_log_is_inspected_as_it_is(store, place, with_log):
    """`inspect` believes nothing: it gives the bytes of a snapshot whose log was lost."""
    (place / LOG).unlink()
    if with_log:
        (place / LOG).touch()

    assert store.inspect("a") == Files(b"", (place / SNAPSHOT).read_bytes())


def test_an_interrupted_snapshot_is_removed(store, place, root):
    """Recovery clears a temporary file away, whatever is in it."""
    before = tree(root)
    (place / TEMPORARY).write_bytes(b"half a snapsh")

    store.recover("a")

    assert tree(root) == before


# -- recovery, twice or killed -----------------------------------------------------------------------------------


def _leave_unsynced_event(place, lines, old):
    (place / SNAPSHOT).write_bytes(old)


def _leave_torn_event(place, lines, old):
    (place / LOG).write_bytes(b"".join(lines[:2]) + lines[2][:50])
    (place / SNAPSHOT).write_bytes(old)


def _leave_everything(place, lines, old):
    (place / LOG).write_bytes(b"".join(lines) + b"torn")
    (place / SNAPSHOT).write_bytes(b"garbage")
    (place / TEMPORARY).write_bytes(old[:20])


def _leave_torn_creation(place, lines, old):
    (place / LOG).write_bytes(lines[0][:50])
    (place / SNAPSHOT).unlink()


LEFTOVERS = [_leave_unsynced_event, _leave_torn_event, _leave_everything, _leave_torn_creation]


@pytest.mark.parametrize("leave", LEFTOVERS)
def test_recovery_twice_ends_in_the_same_bytes(store, root, place, leave):
    """A second recovery finds nothing to do."""
    leave(place, lines_of(place), encode_snapshot(snapshot_at(store, 2)))
    store.recover("a")
    once = tree(root)

    again = store.recover("a")

    assert again.steps == ()
    assert tree(root) == once


@pytest.mark.torture
@pytest.mark.parametrize("settle", [Ledger.load, Ledger.recover], ids=["load", "recover"])
@pytest.mark.parametrize("leave", LEFTOVERS)
def test_recovery_killed_anywhere_and_run_again_ends_in_the_same_bytes(
    store, open_store, root, place, tmp_path, leave, settle
):
    """However far a recovery came before the process died, the next one ends where it would have ended."""
    leave(place, lines_of(place), encode_snapshot(snapshot_at(store, 2)))
    shutil.copytree(root, tmp_path / "found")
    store.recover("a")
    expected = tree(root)
    for number in count(1):
        shutil.rmtree(root)
        shutil.copytree(tmp_path / "found", root)
        disk = ScriptedDisk()
        store = open_store(disk)
        disk.kill(len(disk.calls) + number, torn_bytes=10)
        try:
            settle(store, "a")
        except Killed:
            open_store().recover("a")
            assert tree(root) == expected
        else:
            break

    assert number > 10  # it was killed at each of so many calls


@pytest.mark.parametrize("events", [0, 2], ids=["creation", "change"])
@pytest.mark.parametrize("torn_bytes", [None, 1, 100])
def test_a_writer_killed_anywhere_leaves_the_old_state_or_the_new(open_store, root, events, torn_bytes):
    """However far a commit came, what is found is the state before it or after it, and every byte checks out."""
    outcomes = set()
    for number in count(1):
        stream, disk = f"m{number}", ScriptedDisk()
        for _ in range(events):
            append(open_store(), stream)
        store = open_store(disk)
        disk.kill(len(disk.calls) + number, torn_bytes=torn_bytes)
        try:
            append(store, stream)
        except Killed:
            state = open_store().load(stream)
            outcomes.add(state.version if state else 0)
            append(open_store(), stream)
        else:
            break

    assert number > 15  # it was killed at each of so many calls
    assert outcomes == {events, events + 1}


# -- the order of things --------------------------------------------------------------------------------------------


def orders(calls, *wanted):
    """Where each of the calls comes, in the order asked for, or a complaint about the first that doesn't."""
    place = -1
    for call in wanted:
        assert call in calls[place + 1 :], f"{call} does not follow in {calls}"
        place = calls.index(call, place + 1)
    return True


def test_an_event_is_synced_before_the_snapshot_is_touched(store, open_store):
    """The log is written once and synced; only then is a snapshot written, synced and put in place."""
    disk = ScriptedDisk()
    watched = open_store(disk)

    append(watched, "a")

    assert orders(
        disk.calls,
        ("lock", LOG),
        ("status_at", LOG),
        ("write", LOG),
        ("sync_data", LOG),
        ("open", TEMPORARY),
        ("write", TEMPORARY),
        ("sync", TEMPORARY),
        ("rename", TEMPORARY),
    )
    assert disk.calls.count(("write", LOG)) == 1


def test_a_creation_is_synced_with_the_directories_above_it(open_store):
    """A new manifest's directory and the one above are synced before its snapshot, and so before anybody is told."""
    disk = ScriptedDisk()
    watched = open_store(disk)

    append(watched, "a")

    assert orders(
        disk.calls,
        ("make_directory", "a"),
        ("write", LOG),
        ("sync_data", LOG),
        ("sync", "a"),
        ("sync", "manifests"),
        ("open", TEMPORARY),
    )


@pytest.mark.parametrize("settle", [Ledger.load, Ledger.recover], ids=["load", "recover"])
def test_an_event_that_no_snapshot_covers_is_written_again_and_synced(store, open_store, place, settle):
    """What a dead writer left may be in the page cache only: the same bytes go out again before they are believed."""
    (place / SNAPSHOT).write_bytes(encode_snapshot(snapshot_at(store, 2)))
    before, disk = (place / LOG).read_bytes(), ScriptedDisk()
    watched = open_store(disk)

    settle(watched, "a")

    assert orders(
        disk.calls,
        ("lock", LOG),
        ("write_at", LOG),
        ("sync_data", LOG),
        ("sync", TEMPORARY),
        ("rename", TEMPORARY),
    )
    assert (place / LOG).read_bytes() == before


def test_a_creation_that_no_snapshot_covers_is_synced_with_its_directories(store, open_store, place, root):
    """A dead creator's directories may never have reached the disk: they are synced before the event is believed."""
    (place / SNAPSHOT).unlink()
    disk = ScriptedDisk()
    watched = open_store(disk)

    watched.load("a")

    assert orders(
        disk.calls,
        ("write_at", LOG),
        ("sync_data", LOG),
        ("sync", root.name),
        ("sync", "a"),
        ("sync", "manifests"),
    )


def test_torn_bytes_are_kept_before_they_are_cut(store, open_store, place):
    """The file in quarantine and its directory are synced before the log is truncated, and the cut is synced."""
    with (place / LOG).open("ab") as log:
        log.write(b"torn")
    disk = ScriptedDisk()
    watched = open_store(disk)

    watched.load("a")

    cut = disk.calls.index(("truncate", LOG))
    renamed = max(i for i, (operation, _) in enumerate(disk.calls[:cut]) if operation == "rename")
    assert ("sync", "a") in disk.calls[renamed:cut]
    assert ("sync", LOG) in disk.calls[cut:]


def test_a_settled_read_takes_no_lock_and_writes_nothing(store, open_store):
    """As long as the snapshot covers the log, `load` reads the snapshot and the log's last line, and that is all."""
    disk = ScriptedDisk()
    watched = open_store(disk)
    opening = len(disk.calls)

    watched.load("a")

    calls = disk.calls[opening:]
    assert {operation for operation, _ in calls} <= {"open", "close", "read", "status", "status_at"}
    assert {path for operation, path in calls if operation == "read"} == {LOG, SNAPSHOT}


# -- locks --------------------------------------------------------------------------------------------------------------


def test_a_lock_held_by_somebody_else_is_a_timeout(store, open_store, root, place):
    """A writer that can't get the lock says so and writes nothing; readers don't need it."""
    impatient, before = open_store(lock_timeout_s=0), tree(root)
    with (place / LOG).open() as log:
        fcntl.flock(log, fcntl.LOCK_EX)

        with pytest.raises(LockTimeout, match="'a'"):
            append(impatient, "a")

        assert impatient.load("a").version == 3
        assert len(list(impatient.read("a"))) == 3
        assert impatient.inspect("a").log == (place / LOG).read_bytes()
    assert tree(root) == before


def test_a_log_that_was_replaced_while_its_lock_was_waited_for_is_opened_again(store, open_store, place):
    """Where a copy tool puts another file under the name of the log meanwhile, the event goes to that one."""
    disk = ScriptedDisk()

    def swap():
        shutil.copy(place / LOG, place / "copy")
        (place / "copy").rename(place / LOG)

    disk.before("lock", swap, name=LOG)
    watched = open_store(disk)
    before = (place / LOG).read_bytes()

    with (place / LOG).open("rb") as old:
        append(watched, "a")

        assert old.read() == before
    assert disk.calls.count(("lock", LOG)) == 2
    assert [event.version for event in store.read("a")] == [1, 2, 3, 4]


def test_a_writer_that_was_overtaken_while_waiting_meets_a_conflict(store, open_store):
    """The position is compared under the lock: who lost the race for it writes nothing."""
    disk = ScriptedDisk()
    disk.before("lock", lambda: append(store, "a"), name=LOG)

    with pytest.raises(VersionConflict):
        append(open_store(disk), "a")

    assert [event.version for event in store.read("a")] == [1, 2, 3, 4]


@pytest.mark.parametrize("number", [1, 2])
def test_an_inspection_shows_one_moment_however_the_writer_is_timed(store, open_store, number):
    """A commit between the looks at the snapshot and at the log doesn't make either look unfinished."""
    disk = ScriptedDisk()
    disk.before("open", lambda: append(store, "a"), name=LOG, number=number)
    watched = open_store(disk)

    files = watched.inspect("a")

    version = len(files.log.splitlines())
    assert files.snapshot == encode_snapshot(snapshot_at(store, version))


def test_a_read_between_write_and_sync_waits_for_the_commit(store, open_store, place):
    """A reader that finds an event that is not yet committed gets no answer from it before its writer is done."""
    disk = ScriptedDisk()
    reader, seen = open_store(lock_timeout_s=0), []

    def look():
        with pytest.raises(LockTimeout):
            reader.load("a")
        seen.append((place / LOG).stat().st_size)

    disk.before("sync_data", look, name=LOG)

    append(open_store(disk), "a")

    assert seen == [(place / LOG).stat().st_size]
    assert reader.load("a").version == 4


# -- disks that fail ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bytes_max", [1, 7, 100])
def test_short_writes_are_completed(store, open_store, place, bytes_max):
    """Where the system takes fewer bytes than it was given, the rest follows."""
    disk = ScriptedDisk()
    for name in (LOG, TEMPORARY):
        disk.shorten("write", bytes_max, name=name, times=20)

    append(open_store(disk), "a")

    assert disk.calls.count(("write", LOG)) > 1
    assert [event.version for event in store.read("a")] == [1, 2, 3, 4]


def test_short_writes_in_recovery_are_completed(store, open_store, place):
    """A doubtful tail is written again to its last byte, however few the system takes at a time."""
    (place / SNAPSHOT).unlink()
    before, disk = (place / LOG).read_bytes(), ScriptedDisk()
    disk.shorten("write_at", 10, times=1_000)

    assert open_store(disk).load("a").version == 3
    assert (place / LOG).read_bytes() == before
    assert disk.calls.count(("write_at", LOG)) >= len(before) / 10


def test_a_disk_that_takes_nothing_is_an_error(store, open_store, place):
    """A write that takes no byte at all, in a commit or in a recovery, is not tried for ever."""
    disk = ScriptedDisk()
    disk.shorten("write", 0, name=LOG)
    disk.shorten("write_at", 0, name=LOG, times=1_000)

    with pytest.raises(StoreError):
        append(open_store(disk), "a")
    (place / SNAPSHOT).unlink()
    with pytest.raises(StoreError):
        open_store(disk).load("a")

    assert store.load("a").version == 3


@pytest.mark.parametrize("bytes_max", [1, 7, 100])
def test_short_reads_are_completed(store, open_store, place, bytes_max):
    """Where the system gives fewer bytes than it was asked for, the rest is read as well."""
    disk = ScriptedDisk()
    disk.shorten("read", bytes_max, times=10_000)
    watched = open_store(disk)

    append(watched, "a")

    assert watched.load("a") == store.load("a")
    assert len(list(watched.read("a"))) == 4


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize(("operation", "call"), [("write", 1), ("write", 2), ("sync_data", 1)])
@pytest.mark.parametrize("events", [0, 3], ids=["creation", "change"])
def test_a_failed_write_is_taken_back(open_store, root, place, operation, call, number, events):
    """A full or failing disk is a `StoreError`; the log is as it was, and the next call works."""
    store, disk = open_store(), ScriptedDisk()
    for _ in range(events):
        append(store, "a")
    before = (place / LOG).read_bytes() if events else b""
    if call == 2:
        disk.shorten("write", 10, name=LOG)
    disk.fail(operation, number, name=LOG, number=1)
    watched = open_store(disk)

    with pytest.raises(StoreError) as caught:
        append(watched, "a")

    assert caught.value.details == {"path": "manifests/a/events.jsonl", "errno": number}
    assert (place / LOG).read_bytes() == before
    assert orders(disk.calls, ("truncate", LOG), ("sync", LOG))
    assert (watched.load("a").version if events else watched.load("a")) == (events or None)
    append(watched, "a")
    assert [event.version for event in store.read("a")] == list(range(1, events + 2))


@pytest.mark.parametrize("name", ["a", "manifests"])
def test_a_creation_whose_directory_can_not_be_synced_is_taken_back(open_store, name):
    """A manifest whose place might be lost in a power cut was not created; the next creation works."""
    disk = ScriptedDisk()
    open_store()
    watched = open_store(disk)
    disk.fail("sync", errno.EIO, name=name)

    with pytest.raises(StoreError):
        append(watched, "a")

    assert watched.load("a") is None
    append(watched, "a")
    assert watched.load("a").version == 1


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("open", TEMPORARY),
        ("write", TEMPORARY),
        ("sync", TEMPORARY),
        ("rename", TEMPORARY),
    ],
)
def test_a_snapshot_that_can_not_be_written_fails_no_commit(
    store, open_store, place, caplog, operation, name
):
    """After the commit point the call succeeds and says so in the log of the program; the next load heals it."""
    disk = ScriptedDisk()
    disk.fail(operation, errno.ENOSPC, name=name)
    behind = (place / SNAPSHOT).read_bytes()

    _, snapshot = append(open_store(disk), "a")

    assert (place / SNAPSHOT).read_bytes() == behind
    (record,) = [record for record in caplog.records if record.name == "registration"]
    assert record.levelno == logging.WARNING
    assert "a: writing the snapshot failed" in record.getMessage()
    assert store.load("a") == snapshot
    assert (place / SNAPSHOT).read_bytes() == encode_snapshot(snapshot)
    assert not (place / TEMPORARY).exists()


@pytest.mark.parametrize("name", [LOG, "a"])
def test_a_failing_close_fails_no_commit(store, open_store, name):
    """An error from `close` after a good sync is not a failed commit."""
    disk = ScriptedDisk()
    watched = open_store(disk)
    after = watched.load("a").position
    disk.fail("close", errno.EIO, name=name, number=2 if name == "a" else 1)  # the first one is in `load`

    _, snapshot = append(watched, "a")

    assert snapshot.version == after.version + 1
    assert store.load("a") == snapshot


@pytest.mark.parametrize("operation", ["truncate", "sync"])
def test_a_failed_write_that_can_not_be_taken_back_is_settled_by_the_next_load(
    store, open_store, place, caplog, operation
):
    """Where even the cut fails, the error says that the outcome is unknown, and the next load makes it known."""
    disk = ScriptedDisk()
    disk.fail("sync_data", errno.EIO, name=LOG)
    disk.fail(operation, errno.EIO, name=LOG)
    watched = open_store(disk)

    with pytest.raises(StoreError, match="Input/output error"):
        append(watched, "a")

    assert any("could not be undone" in record.getMessage() for record in caplog.records)
    loaded = watched.load("a")
    assert loaded.version in (3, 4)
    assert len(lines_of(place)) == loaded.version
    if loaded.version == 4:  # it was believed only after it had gone out again
        assert orders(
            disk.calls, ("sync_data", LOG), ("write_at", LOG), ("sync_data", LOG), ("rename", TEMPORARY)
        )
    append(watched, "a")


def test_half_an_event_that_can_not_be_taken_back_is_set_aside_by_the_next_load(
    store, open_store, root, place
):
    """A short write, a full disk and a failing cut leave a torn line, which the next load moves to quarantine."""
    disk = ScriptedDisk()
    disk.shorten("write", 10, name=LOG)
    disk.fail("write", errno.ENOSPC, name=LOG)
    disk.fail("truncate", errno.EIO, name=LOG)
    watched, before = open_store(disk), (place / LOG).read_bytes()

    with pytest.raises(StoreError, match="No space left"):
        append(watched, "a")
    assert (place / LOG).stat().st_size == len(before) + 10

    assert watched.load("a").version == 3
    assert (place / LOG).read_bytes() == before
    assert [len(data) for data in quarantined(root).values()] == [10]


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("open", "a"),
        ("open", SNAPSHOT),
        ("read", SNAPSHOT),
        ("status_at", LOG),
        ("open", LOG),
        ("lock", LOG),
        ("status", LOG),
        ("read", LOG),
        ("write_at", LOG),
        ("sync_data", LOG),
        ("open", "quarantine"),
        ("truncate", LOG),
    ],
)
def test_an_error_in_a_recovery_is_an_error_and_never_absence(
    store, open_store, root, place, operation, name
):
    """Whatever call fails while a load settles what was left, it says so, loses nothing, and works the next time."""
    (place / SNAPSHOT).write_bytes(encode_snapshot(snapshot_at(store, 2)))
    whole = (place / LOG).read_bytes()
    with (place / LOG).open("ab") as log:
        log.write(b"torn")
    disk = ScriptedDisk()
    watched = open_store(disk)
    disk.fail(operation, errno.EIO, name=name)

    with pytest.raises(StoreError) as caught:
        watched.load("a")

    assert caught.value.details["errno"] == errno.EIO
    assert (place / LOG).read_bytes() in (whole, whole + b"torn")
    assert watched.load("a").version == 3
    assert (place / LOG).read_bytes() == whole
    assert list(quarantined(root).values()) == [b"torn"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "Check the owner"),
        (errno.EMFILE, "too many open files"),
        (errno.EIO, "I/O error"),
        (errno.EINVAL, "Load again"),
    ],
)
def test_an_error_of_the_disk_says_what_to_do(store, open_store, number, said):
    """The error names what was being done to which file, what the system said, and the next step."""
    disk = ScriptedDisk()
    disk.fail("write", number, name=LOG)

    with pytest.raises(StoreError, match=said) as caught:
        append(open_store(disk), "a")

    assert caught.value.problem == f"writing manifests/a/events.jsonl failed: {os.strerror(number)}."


def test_an_error_leaves_no_descriptor_open(store, open_store):
    """Whichever call of a commit fails, every descriptor is given back."""
    before = set(os.listdir("/proc/self/fd"))
    for number in count(1):
        disk = ScriptedDisk()
        watched = open_store(disk)
        made = len(disk.calls)
        disk.fail_call(made + number, errno.EIO)
        with suppress(RegistrationError, OSError):
            append(watched, "a")
        watched.close()
        if len(disk.calls) < made + number:
            break

    assert number > 15
    FREEING.flush()
    assert (
        set(os.listdir("/proc/self/fd")) <= before
    )  # stores of other tests may have been forgotten meanwhile
    assert store.load("a").version > 3
