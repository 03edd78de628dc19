"""Rules on the disk: kept by digest before anything names them, and the policy in force, read again when it changes.

And `registry.json`, which names the lifecycle: made with it, replaced by another version, refused where it is neither.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import threading
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest

from registration.core.policy import NO_POLICY, Policy
from registration.engine.engine import Engine
from registration.engine.policy_on_disk import PolicyOnDisk, read_policy
from registration.errors import (
    CorruptRegistry,
    InvalidArgument,
    InvalidPolicy,
    LockTimeout,
    NotFound,
    StoreError,
)
from registration.rules.lifecycles.registration import CHART, REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import (
    RegistryFile,
    make_registry,
    read_registry,
)
from registration.storage.layout import RULE_KINDS
from registration.testing import FakeClock
from registration.values.commands import Command
from registration.values.documents import check_document, digest_of
from tests.kit.disks import Killed, ScriptedDisk, tree
from tests.kit.registry_files import put_in_force, without_log

OLD = RegistryFile(
    "019b76da-a800-7000-8000-000000000001", "2026-01-01T00:00:00.000000Z", "registration", 4_096
)
"""A registry of before lifecycles were kept."""
WANTED = replace(OLD, lifecycle=REGISTRATION.identity)
LATER = replace(REGISTRATION, version=2)
"""The same lifecycle with another number, and so another digest."""
MIGRATED = replace(WANTED, lifecycle=LATER.identity, earlier=(REGISTRATION.identity,))

VALUE = {"name": "acme", "numbers": [1, 2.5, 1e30], "ü": {"b": None, "a": True}}
DIGEST = digest_of(VALUE)
FILE = f"rules/policies/{DIGEST[7:]}.json"
NOWHERE = "sha256:" + "0" * 64


@pytest.fixture
def store(root):
    return open_files(root, REGISTRATION, wanted=WANTED, lifecycle=REGISTRATION.data)


def files(root):
    """The files below the root, by their relative paths."""
    return {path: content for path, content in tree(root).items() if isinstance(content, bytes)}


# -- what is kept ----------------------------------------------------------------------------------------


def test_a_rule_is_kept_under_its_own_digest(store, root):
    """The file's name is the SHA-256 of its bytes, which are the rule in its RFC 8785 form."""
    store.keep("policies", DIGEST, VALUE)

    raw = (root / FILE).read_bytes()
    assert "sha256:" + hashlib.sha256(raw).hexdigest() == DIGEST
    assert raw == '{"name":"acme","numbers":[1,2.5,1e+30],"ü":{"a":true,"b":null}}'.encode()
    assert store.kept("policies", DIGEST) == VALUE
    assert (os.stat(root / FILE).st_mode & 0o777, os.stat(root / "rules").st_mode & 0o777) == (0o600, 0o700)


def test_a_rule_that_is_kept_is_not_written_again(store, root):
    """Once it is there it stays as it is; it is only put on the disk again, since its writer may have died."""
    store.keep("policies", DIGEST, VALUE)
    disk = ScriptedDisk()

    open_files(root, REGISTRATION, disk=disk).keep("policies", DIGEST, VALUE)

    operations = [operation for operation, _ in disk.calls]
    assert "write" not in operations
    assert [name for operation, name in disk.calls if operation == "sync"] == [
        "policies",
        "rules",
        "registry",
    ]


@pytest.mark.parametrize("kind", RULE_KINDS)
def test_what_was_never_kept_is_not_found(store, kind):
    """Whether there are other rules of the kind or none at all."""
    with pytest.raises(NotFound, match=f"rules/{kind} has no file with the digest {NOWHERE}"):
        store.kept(kind, NOWHERE)


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:" + "0" * 63, "sha256:" + "A" * 64, "../../registry"]
)
def test_what_is_no_digest_leads_nowhere(store, digest):
    """A path can't be made of it."""
    with pytest.raises(InvalidArgument, match="is not a digest"):
        store.kept("policies", digest)


@pytest.mark.damaged
@pytest.mark.parametrize("content", [b"", b"{}", b'{"name":"evil"}', b"not JSON"])
def test_a_rule_that_was_changed_is_never_believed(store, root, content):
    """Whoever reads it is told, and `strays` names it as damage; what else is there is fine."""
    store.keep("policies", DIGEST, VALUE)
    (root / FILE).write_bytes(content)

    with pytest.raises(CorruptRegistry, match="its SHA-256 differs from its name") as caught:
        store.kept("policies", DIGEST)

    assert caught.value.details["path"] == FILE
    assert [(stray.path, stray.damaged, stray.unfinished) for stray in store.strays()] == [
        (FILE, True, False)
    ]


def test_what_belongs_to_nobody_is_named(store, root):
    """A temporary file is what a crash left; another name is nobody's; both are said, neither is damage."""
    store.keep("policies", DIGEST, VALUE)
    (root / "rules" / "policies" / f"{DIGEST[7:]}.json.tmp").write_bytes(b"ha")
    (root / "rules" / "lifecycles" / "notes.txt").write_bytes(b"mine")

    found = [(stray.path, stray.unfinished, stray.damaged) for stray in store.strays()]

    assert found == [
        ("rules/lifecycles/notes.txt", False, False),
        (f"{FILE}.tmp", True, False),
    ]


@pytest.mark.damaged
def test_a_link_in_place_of_rules_is_not_followed(store, root, tmp_path):
    """Rules are read from the registry and from nowhere else."""
    store.keep("policies", DIGEST, VALUE)
    (root / "rules" / "policies").rename(tmp_path / "elsewhere")
    (root / "rules" / "policies").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StoreError):
        store.kept("policies", DIGEST)
    with pytest.raises(StoreError):
        store.keep("policies", DIGEST, VALUE)


def test_whoever_waits_too_long_for_the_rules_gives_up(root, store):
    """The root is the lock: while somebody else keeps a rule, the wait has an end."""
    impatient = open_files(root, REGISTRATION, lock_timeout_s=0)
    disk = PosixDisk()
    fd = disk.open(str(root), os.O_RDONLY | os.O_DIRECTORY)

    try:
        assert disk.lock(fd, 0)
        with pytest.raises(LockTimeout):
            impatient.keep("policies", DIGEST, VALUE)
    finally:
        disk.close(fd)

    impatient.keep("policies", DIGEST, VALUE)
    assert store.kept("policies", DIGEST) == VALUE


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12 warns of forks beside threads
def test_a_forked_child_does_not_keep_others_from_keeping(root, store):
    """A child that lives on has a copy of the root's descriptor, and with it of the lock: it is closed in it."""
    syncing, go_on = threading.Event(), threading.Event()
    disk = ScriptedDisk()
    disk.before("sync", lambda: (syncing.set(), go_on.wait(60)), name="policies")
    slow = open_files(root, REGISTRATION, disk=disk)
    writer = threading.Thread(target=slow.keep, args=["policies", DIGEST, VALUE])
    writer.start()
    assert syncing.wait(60)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        os.read(told, 1)  # lives on until the parent is done
        os._exit(0)
    try:
        go_on.set()
        writer.join()

        open_files(root, REGISTRATION, lock_timeout_s=2).keep("policies", digest_of({}), {})
    finally:
        os.close(tell)
        os.close(told)
        os.waitpid(child, 0)

    assert store.kept("policies", DIGEST) == VALUE
    assert store.kept("policies", digest_of({})) == {}


def test_threads_that_keep_the_same_rules_at_once_all_find_them(root, store):
    """However many keep however many rules: each is there, whole."""
    values = [{"number": number} for number in range(8)]
    failures = []

    def work(seed):
        mine = open_files(root, REGISTRATION)
        for value in random.Random(seed).sample(values, len(values)):
            try:
                mine.keep("schemas", digest_of(value), value)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert [store.kept("schemas", digest_of(value)) for value in values] == values
    assert list(store.strays()) == []


def test_a_disk_that_fails_at_any_call_is_an_error_that_names_it(root, store):
    """Keeping a rule says that it failed, or it is kept; the next try keeps it in any case."""
    for number in count(1):
        value = {"number": number}
        disk = ScriptedDisk()
        failing = open_files(root, REGISTRATION, disk=disk)
        begun = len(disk.calls)
        disk.fail_call(begun + number, errno.EIO)
        try:
            failing.keep("policies", digest_of(value), value)
        except StoreError as error:
            assert error.details["path"].startswith("rules/policies")  # noqa: PT017  # closing may fail, and says nothing
        if len(disk.calls) < begun + number:
            break

        store.keep("policies", digest_of(value), value)
        assert store.kept("policies", digest_of(value)) == value
    assert number > 15


def test_a_rule_whose_writer_was_killed_anywhere_can_be_kept(root, store):
    """Whatever a killed writer left, the next one ends in the same file, and nothing is taken for damage."""
    for number in count(1):
        value = {"number": number}
        disk = ScriptedDisk()
        dying = open_files(root, REGISTRATION, disk=disk)
        disk.kill(len(disk.calls) + number, torn_bytes=3)
        try:
            dying.keep("policies", digest_of(value), value)
        except Killed:
            assert not any(stray.damaged for stray in store.strays())
            store.keep("policies", digest_of(value), value)
        else:
            break

        assert store.kept("policies", digest_of(value)) == value
    assert number > 15
    assert list(store.strays()) == []


# -- refusals --------------------------------------------------------------------------------------------


def test_a_refusal_that_was_cut_short_is_left_out(store, root):
    """They are noted without a sync: a crash may cut the last one, and the next begins behind the rest of it."""
    store.log_refusal(b'{"n":1}\n')
    with open(root / "refusals.jsonl", "ab") as file:
        file.write(b'{"n":')

    assert list(store.refusals()) == [b'{"n":1}\n']
    assert list(store.strays()) == []


def test_a_refusal_on_a_full_disk_is_an_error_of_the_store(root, store):
    """The engine decides what becomes of it; the store says what happened."""
    disk = ScriptedDisk()
    disk.fail("write", errno.ENOSPC, name="refusals.jsonl")

    with pytest.raises(StoreError, match=r"refusals\.jsonl"):
        open_files(root, REGISTRATION, disk=disk).log_refusal(b"{}\n")


# -- the engine keeps them first -------------------------------------------------------------------------

RULED = Policy(
    name="acme",
    roles={"reviewer": ("bea",)},
    schemas={digest_of({"type": "object"}): {"type": "object"}},
)


def run(store, action, *, policy=NO_POLICY, engine=None, **said):
    engine = engine or Engine(
        store, policy=lambda: policy, clock=FakeClock(), random_source=random.Random(action)
    )
    document = check_document({}) if action == "create" else None
    return engine.execute(
        Command(**{"stream": "a", "action": action, "actor": "ada", "document": document, **said})
    )


def test_what_an_event_names_is_there_before_the_event(root):
    """Lifecycle, schemas and policy are synced, each with its name, before the log is opened for writing."""
    disk = ScriptedDisk()
    store = open_files(root, REGISTRATION, wanted=OLD, disk=disk)
    begun = len(disk.calls)

    run(store, "create", policy=RULED)

    calls = disk.calls[begun:]
    renamed = [n for n, (operation, name) in enumerate(calls) if operation == "rename" and "json.tmp" in name]
    names = [calls[n][1].removesuffix(".json.tmp") for n in renamed]
    opened = next(n for n, (operation, name) in enumerate(calls) if name == "events.jsonl")
    wanted = [REGISTRATION.identity["digest"], *RULED.schemas, RULED.digest]
    assert names[:3] == [digest.removeprefix("sha256:") for digest in wanted]
    assert all(n < opened for n in renamed[:3])
    for n, directory in zip(renamed, ["lifecycles", "schemas", "policies"], strict=False):
        assert ("sync", directory) in calls[n:opened]
    for kind, digest in zip(["lifecycles", "schemas", "policies"], wanted, strict=True):
        assert store.kept(kind, digest)


def test_rules_are_kept_once_for_each_engine(store):
    """The second decision under the same rules looks no more; the first under others does."""
    kept, keep = [], store.keep
    store.keep = lambda kind, digest, value: (kept.append((kind, digest)), keep(kind, digest, value))
    policies = iter([NO_POLICY, RULED, RULED, replace(RULED, name="other"), NO_POLICY])
    engine = Engine(store, policy=lambda: next(policies), clock=FakeClock(), random_source=random.Random(1))

    for action in ("create", "submit_for_review", "approve", "approve", "approve"):
        run(store, action, engine=engine)

    assert kept == [
        ("lifecycles", REGISTRATION.identity["digest"]),
        *(("schemas", digest) for digest in RULED.schemas),
        ("policies", RULED.digest),
        ("rosters", RULED.roster),
        *(("schemas", digest) for digest in RULED.schemas),
        ("policies", replace(RULED, name="other").digest),
    ]


@pytest.mark.parametrize("number", [1, 2, 3], ids=["lifecycle", "schema", "policy"])
def test_where_the_rules_can_not_be_kept_nothing_is_written(root, number):
    """An event that names what nobody could read is worse than none; the next try begins anew."""
    disk = ScriptedDisk()
    store = open_files(root, REGISTRATION, wanted=OLD, disk=disk)
    disk.fail("rename", errno.ENOSPC, number=number)
    engine = Engine(store, policy=lambda: RULED, clock=FakeClock(), random_source=random.Random(1))

    with pytest.raises(StoreError):
        run(store, "create", engine=engine)
    nothing = store.load("a")
    run(store, "create", engine=engine)

    assert nothing is None
    assert store.kept("policies", RULED.digest) == RULED.data
    assert [store.kept("schemas", digest) for digest in RULED.schemas] == list(RULED.schemas.values())
    assert store.kept("lifecycles", REGISTRATION.identity["digest"]) == REGISTRATION.data


def test_a_refusal_keeps_no_rules(root):
    """Only what an event names has to last."""
    store = open_files(root, REGISTRATION, wanted=OLD)

    with pytest.raises(NotFound):
        run(store, "approve", policy=RULED)

    assert not (root / "rules").exists()


# -- what policy.toml says -------------------------------------------------------------------------------

FOUR_EYES = 'name = "four eyes"\n[[guards]]\nguard = "not_the_author"\nactions = ["approve"]\n'
WITH_SCHEMA = (
    'name = "with a schema"\n[[kinds]]\nname = "any"\nmatch = { "" = true }\nschema = "schemas/any.json"\n'
)


@pytest.fixture
def in_force(store, root):
    on_disk = PolicyOnDisk(store.backend.disk, str(root), CHART)
    return lambda: on_disk().policy


def put(path, text):
    """Write a file as an editor does: another one takes its place."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def test_without_a_policy_file_there_are_no_rules(in_force):
    """A registry has a policy when somebody writes one."""
    assert in_force() is NO_POLICY


def test_what_a_policy_file_says_is_read_as_soon_as_it_is_there(in_force, root):
    """Also by a program that has had the registry open all the while; and it ends when the file goes."""
    before = in_force()
    put(root / "policy.toml", FOUR_EYES)
    during = in_force()
    put(root / "policy.toml", FOUR_EYES.replace("four", "six"))
    changed = in_force()
    (root / "policy.toml").unlink()
    after = in_force()

    assert (before, during.name, changed.name, after) == (NO_POLICY, "four eyes", "six eyes", NO_POLICY)
    assert during.digest != changed.digest


def test_a_policy_is_read_when_it_changes_and_not_before(root, store):
    """One look at the status of each file is all that asking again costs."""
    disk = ScriptedDisk()
    in_force = PolicyOnDisk(disk, str(root), CHART)
    put(root / "policy.toml", WITH_SCHEMA)
    put(root / "schemas" / "any.json", "{}")
    first = in_force()
    disk.calls.clear()

    second = in_force()

    assert second is first
    assert disk.calls == [
        ("status_at", "policy.toml"),
        ("status_at", "policy.toml"),
        ("status_at", "any.json"),
    ]


def test_a_schema_that_changes_changes_the_policy(in_force, root):
    """The policy stands for all that it demands, so another schema makes another digest; without it there is no policy."""
    put(root / "policy.toml", WITH_SCHEMA)
    put(root / "schemas" / "any.json", "{}")
    first = in_force()
    put(root / "schemas" / "any.json", '{"type": "object"}')
    second = in_force()
    (root / "schemas" / "any.json").unlink()

    assert first.digest != second.digest
    assert second.schemas == {digest_of({"type": "object"}): {"type": "object"}}
    with pytest.raises(InvalidPolicy, match="can't be read"):
        in_force()


def test_a_policy_that_was_overwritten_in_place_is_read_again(in_force, root):
    """The same file of the same size with other bytes is another policy: its times tell."""
    path = root / "policy.toml"
    path.write_text(FOUR_EYES)
    os.utime(path, ns=(1, 1))
    first = in_force()

    path.write_text(FOUR_EYES.replace("four", "f0ur"))
    os.utime(path, ns=(1, 2))

    assert (first.name, in_force().name) == ("four eyes", "f0ur eyes")


@pytest.mark.parametrize("operation", ["status_at", "open", "read"])
def test_a_policy_that_can_not_be_read_is_not_taken_for_none(root, store, operation):
    """A disk that fails says nothing of the rules."""
    disk = ScriptedDisk()
    in_force = PolicyOnDisk(disk, str(root), CHART)
    put(root / "policy.toml", FOUR_EYES)
    disk.fail(operation, errno.EIO, name="policy.toml", number=1)

    with pytest.raises(StoreError, match=r"policy\.toml"):
        in_force()
    assert in_force().policy.name == "four eyes"


def test_a_link_in_place_of_the_policy_is_not_taken_for_none(in_force, root, tmp_path):
    """Wherever it points to, or nowhere: it is refused, not followed."""
    for target in (tmp_path / "nowhere", tmp_path / "policy.toml"):
        (tmp_path / "policy.toml").write_text(FOUR_EYES)
        (root / "policy.toml").symlink_to(target)

        with pytest.raises(StoreError, match="symbolic link"):
            in_force()
        (root / "policy.toml").unlink()


def test_threads_see_one_policy_or_the_other(in_force, root):
    """While it is being replaced again and again, whoever asks gets one of them, whole."""
    names = ["four eyes", "six eyes"]
    put(root / "policy.toml", FOUR_EYES)
    done, seen, failures = threading.Event(), [], []

    def ask():
        try:
            while not done.is_set():
                policy = in_force()
                seen.append((policy.name, policy.digest))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(40):
        put(root / "policy.toml", FOUR_EYES.replace("four eyes", names[number % 2]))
    done.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert {name for name, _ in seen} <= set(names)
    assert len(set(seen)) == len({name for name, _ in seen})


def test_a_policy_anywhere_can_be_read(tmp_path):
    """As a proposal: it is in force nowhere; its schemas stand beside it."""
    path = tmp_path / "proposed.toml"
    put(path, WITH_SCHEMA)
    put(tmp_path / "schemas" / "any.json", "{}")

    found = read_policy(str(path), CHART)

    assert found.policy.name == "with a schema"
    assert list(found.policy.schemas.values()) == [{}]
    assert found.files == {"policy.toml": WITH_SCHEMA.encode(), "schemas/any.json": b"{}"}
    with pytest.raises(NotFound, match="nobody"):
        read_policy(str(tmp_path / "nobody.toml"), CHART)
    with pytest.raises(StoreError):
        read_policy(str(tmp_path), CHART)


# -- registry.json ---------------------------------------------------------------------------------------


def test_a_registry_is_made_with_its_lifecycle(store, root):
    """The file names it by name, version and digest, and it is kept under that digest."""
    said = json.loads((root / "registry.json").read_bytes())

    assert list(said) == ["format", "id", "created_at", "definition", "lifecycle", "settings"]
    assert said["lifecycle"] == REGISTRATION.identity
    assert store.kept("lifecycles", REGISTRATION.identity["digest"]) == REGISTRATION.data
    assert list(store.strays()) == []


def test_a_registry_of_before_lifecycles_were_kept_stays_as_it_is(root):
    """Its file has no such member, and none is added by opening it or by writing to it."""
    store = open_files(root, REGISTRATION, wanted=OLD)
    before = (root / "registry.json").read_bytes()

    run(open_files(root, REGISTRATION), "create")

    assert "lifecycle" not in json.loads(before)
    assert (root / "registry.json").read_bytes() == before
    assert (store.backend.registry.lifecycle, store.backend.registry.earlier) == (None, ())


@pytest.mark.parametrize("registry", [OLD, WANTED, MIGRATED], ids=["old", "made", "migrated"])
def test_what_was_encoded_is_read_back(tmp_path, registry):
    """Whatever a registry's file says, it says the same when it is read."""
    (tmp_path / "registry.json").write_bytes(registry.encode())

    assert read_registry(PosixDisk(), str(tmp_path)) == registry


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("lifecycle", None),
        ("lifecycle", "registration"),
        ("lifecycle", {}),
        ("lifecycle", {**REGISTRATION.identity, "version": "1"}),
        ("lifecycle", {**REGISTRATION.identity, "version": True}),
        ("lifecycle", {**REGISTRATION.identity, "more": 1}),
        ("lifecycle", {"name": "registration", "version": 1}),
        ("earlier", 5),
        ("earlier", None),
        ("earlier", {"name": "registration"}),
        ("earlier", ["registration"]),
        ("earlier", [REGISTRATION.identity, None]),
    ],
)
def test_a_registry_file_with_a_malformed_lifecycle_is_refused(tmp_path, member, value):
    """It names the member; nothing is guessed, and nothing else than the package's own error is raised."""
    said = {**json.loads(MIGRATED.encode()), member: value}
    (tmp_path / "registry.json").write_text(json.dumps(said))

    with pytest.raises(CorruptRegistry, match=f"`{member}`"):
        read_registry(PosixDisk(), str(tmp_path))


def test_a_registry_that_was_migrated_names_what_was_before(store, root):
    """Another version is put in force whole: the file names both, both are kept, and the id stays."""
    put_in_force(PosixDisk(), str(root), WANTED, MIGRATED, LATER.data)

    opened = open_files(root, LATER)
    assert without_log(PosixDisk(), str(root)) == MIGRATED
    assert opened.source == store.source
    assert opened.kept("lifecycles", LATER.identity["digest"]) == LATER.data
    assert opened.kept("lifecycles", REGISTRATION.identity["digest"]) == REGISTRATION.data
    assert list(opened.strays()) == []
    with pytest.raises(CorruptRegistry, match="version 2"):
        open_files(root, REGISTRATION)


def test_whoever_has_the_registry_open_does_not_write_under_the_old_lifecycle(store, root):
    """What was decided under a lifecycle that is not in force any more is refused; reading goes on, and so does a new start."""
    run(store, "create")
    put_in_force(PosixDisk(), str(root), WANTED, MIGRATED, LATER.data)
    before = files(root / "manifests")

    for stream in ("a", "b"):
        with pytest.raises(StoreError, match="The registry's lifecycle was replaced"):
            run(store, "submit_for_review" if stream == "a" else "create", stream=stream)

    assert files(root / "manifests") == before
    assert store.load("a").version == 1
    assert run(open_files(root, LATER), "submit_for_review").state.version == 2


def test_a_lifecycle_that_was_replaced_while_the_registry_was_opened_is_noticed(store, root):
    """The file was read, then looked at: what happened in between went unnoticed for as long as the store was open."""
    disk = ScriptedDisk()
    disk.after(
        "read",
        lambda: put_in_force(PosixDisk(), str(root), WANTED, MIGRATED, LATER.data),
        name="registry.json",
    )

    opened = open_files(root, REGISTRATION, disk=disk)

    with pytest.raises(StoreError, match="was replaced meanwhile"):
        run(opened, "create")
    assert list(opened.streams()) == []


def test_a_registry_file_that_was_written_again_as_it_was_stops_nobody(store, root):
    """As by a backup that is put back: the same lifecycle is in force."""
    run(store, "create")
    raw = (root / "registry.json").read_bytes()
    put(root / "registry.json", raw.decode())

    assert run(store, "submit_for_review").state.version == 2


def test_a_registry_that_somebody_else_changed_is_not_replaced(store, root):
    """Of two migrations that looked at the same registry, the second is told, and changes nothing."""
    put_in_force(PosixDisk(), str(root), WANTED, MIGRATED, LATER.data)
    other = replace(WANTED, lifecycle=replace(LATER, version=3).identity)
    before = files(root / "registry"), (root / "registry.json").read_bytes()

    with pytest.raises(StoreError, match="The registry was changed by another process"):
        put_in_force(PosixDisk(), str(root), WANTED, other, replace(LATER, version=3).data)

    assert (files(root / "registry"), (root / "registry.json").read_bytes()) == before


def test_of_several_migrations_at_once_one_is_done(store, root):
    """Each puts another version in force; the file is of one of them, and that lifecycle is kept."""
    versions = [replace(REGISTRATION, version=number) for number in range(2, 6)]
    start, done = threading.Barrier(len(versions)), []

    def migrate(version):
        changed = replace(WANTED, lifecycle=version.identity, earlier=(REGISTRATION.identity,))
        start.wait()
        try:
            put_in_force(PosixDisk(), str(root), WANTED, changed, version.data)
        except StoreError:
            return
        done.append(changed)

    threads = [threading.Thread(target=migrate, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = without_log(PosixDisk(), str(root))
    assert done == [found]
    assert store.kept("lifecycles", found.lifecycle["digest"])


def test_a_registry_that_is_being_changed_is_waited_for_in_vain(store, root):
    """While another process holds the record, it is not replaced."""
    disk = ScriptedDisk()
    disk.lock = lambda _fd, _timeout_s: False

    with pytest.raises(LockTimeout):
        put_in_force(disk, str(root), WANTED, MIGRATED, LATER.data)

    assert read_registry(PosixDisk(), str(root)) == WANTED


@pytest.mark.slow
def test_a_migration_that_was_killed_anywhere_is_done_or_not(tmp_path):
    """Whoever reads the registry afterwards finds the old lifecycle or the new one, and the one it names is kept."""
    for number in count(1):
        root = tmp_path / str(number)
        make_registry(PosixDisk(), str(root), WANTED, lifecycle=REGISTRATION.data)
        disk = ScriptedDisk()
        disk.kill(number, torn_bytes=5)
        try:
            put_in_force(disk, str(root), WANTED, MIGRATED, LATER.data)
        except Killed:
            pass
        else:
            break

        found = without_log(PosixDisk(), str(root))
        lifecycle = REGISTRATION if found == WANTED else LATER
        assert found in (WANTED, MIGRATED)
        assert open_files(root, lifecycle).kept("lifecycles", found.lifecycle["digest"]) == lifecycle.data
        if found == WANTED:
            with suppress(StoreError):  # the log may say so already: it decides, and the record is completed
                put_in_force(PosixDisk(), str(root), WANTED, MIGRATED, LATER.data)
        assert without_log(PosixDisk(), str(root)) == MIGRATED
    assert number > 15
