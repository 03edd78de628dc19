"""Leases keep the contract on files and in memory; files, factory and damage; a machine against a naive model.

The contract itself is `registration.testing.lease_contract`.
"""

from __future__ import annotations

import json
import os
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from registration.engine.leases.keeper import LeaseKeeper
from registration.engine.leases.leases import Leases
from registration.engine.leases.leases import open_leases as open_by_url
from registration.errors import (
    CorruptRegistry,
    InvalidArgument,
    LeaseHeld,
    LeaseLost,
    LockTimeout,
    NotFound,
    StoreError,
)
from registration.storage import layout
from registration.storage.disk import PosixDisk
from registration.storage.files.records import FileRecords
from registration.storage.memory import MemoryRecords
from registration.testing import FakeClock, LeaseContract
from tests.kit.builders import tries
from tests.kit.disks import tree

KEY = "manifests/acme/weather@1.0"
FILE = "leases/manifests/acme%2Fweather@1.0.json"


def still():
    return FakeClock(tick_ns=0)


def on_files(root, *, lock_timeout_s=10.0, **options):
    records = FileRecords(PosixDisk(), str(root), lock_timeout_s=lock_timeout_s)
    return Leases(records, **options)


def in_memory(**options):
    return Leases(MemoryRecords(), **options)


class TestLeasesOnFiles(LeaseContract):
    @pytest.fixture
    def open_leases(self, tmp_path, restless_threads):
        return lambda clock: on_files(tmp_path, clock=clock)


class TestLeasesInMemory(LeaseContract):
    outlives_closing = False

    @pytest.fixture
    def open_leases(self, restless_threads):
        kept = []

        def open(clock):
            kept.append(kept[0] if kept else in_memory(clock=clock))
            return kept[0]

        return open


def test_leases_fill_in_the_protocol():
    """A type checker, and a reader, can take them for a `LeaseKeeper`."""
    promised = {name for name in vars(LeaseKeeper) if not name.startswith("_")}

    assert promised <= set(dir(Leases))


# -- the factory -------------------------------------------------------------------------------------------------


def test_a_setting_names_a_keeper(tmp_path):
    """A path and a `file:` URL name the same place; `memory:` is a place of its own each time."""
    (tmp_path / "my registry").mkdir()
    by_path = open_by_url(tmp_path / "my registry", clock=still())
    by_url = open_by_url(f"file://{tmp_path}/my%20registry", clock=still())
    memory = open_by_url("memory:", clock=still())

    lease = by_path.acquire(KEY, holder="bea", ttl_s=90)

    assert by_url.find(KEY) == lease
    assert memory.find(KEY) is None
    assert open_by_url("memory:").find(KEY) is None


def test_an_unknown_scheme_is_refused_with_those_that_are_known():
    """Somebody who sets another one learns what there is, and no password is printed on the way."""
    with pytest.raises(InvalidArgument) as refused:
        open_by_url("redis://:secret@cache:6379/0")

    assert "redis" in refused.value.problem
    assert "secret" not in str(refused.value)
    assert refused.value.details == {"scheme": "redis", "known": ["file", "memory"]}
    assert "`file:`, `memory:`" in refused.value.next_step


@pytest.mark.parametrize("url", ["file://elsewhere/srv", "file:", "file:///srv?x=1", "memory:here"])
def test_a_url_that_cannot_be_meant_is_refused(url):
    """Another machine's file, and a place in memory, are nothing that can be opened."""
    with pytest.raises(InvalidArgument):
        open_by_url(url)


def test_a_place_that_is_not_there_is_not_found(tmp_path):
    """Leases are kept in a registry; a typing mistake makes no new one."""
    with pytest.raises(NotFound, match="no directory"):
        open_by_url(tmp_path / "regsitry")

    assert list(tmp_path.iterdir()) == []


# -- the files ---------------------------------------------------------------------------------------------------


def test_a_lease_is_one_small_file_for_people_to_read(tmp_path):
    """Nothing else is left behind, and nobody but the owner may read it: the token is in it."""
    keeper = on_files(tmp_path, clock=still(), host="desk")

    lease = keeper.acquire(KEY, holder="bea", ttl_s=90)

    assert [name for name in tree(tmp_path) if name.endswith((".json", ".tmp"))] == [FILE]
    kept = json.loads((tmp_path / FILE).read_bytes())
    assert kept["lease"] == {**{k: v for k, v in lease.as_json().items() if k != "key"}, "token": lease.token}
    assert (kept["key"], kept["number"], lease.host) == (KEY, 1, "desk")
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "leases").stat().st_mode & 0o777 == 0o700


def test_looking_makes_nothing(tmp_path):
    """Neither does releasing, renewing or breaking what was never held there."""
    keeper = on_files(tmp_path, clock=still())
    foreign = in_memory(clock=still()).acquire(KEY, holder="bea", ttl_s=90)

    assert keeper.find(KEY) is None
    assert list(keeper.list()) == []
    assert not keeper.release(foreign)
    with pytest.raises(LeaseLost):
        keeper.renew(foreign, ttl_s=90)
    with pytest.raises(NotFound):
        keeper.break_lease(KEY, by="cyd", reason="why")

    assert tree(tmp_path) == {}


def test_a_refused_change_writes_nothing(tmp_path):
    """Whoever is refused, and whoever releases what isn't theirs, leaves the file as it is, to its inode."""
    keeper = on_files(tmp_path, clock=still())
    lease = keeper.acquire(KEY, holder="bea", ttl_s=90)
    before = (tmp_path / FILE).stat()

    with pytest.raises(LeaseHeld):
        keeper.acquire(KEY, holder="cyd", ttl_s=90)
    keeper.release(in_memory().acquire(KEY, holder="bea", ttl_s=1))

    assert (tmp_path / FILE).stat() == before
    assert keeper.find(KEY) == lease


DAMAGE = {
    "a number was changed": lambda raw: raw.replace(b'"number": 1', b'"number": 7'),
    "it was cut": lambda raw: raw[:-20],
    "it is no JSON": lambda _: b"lease\n",
    "it is no object": lambda _: b"[]\n",
    "it has no checksum": lambda _: b"{}\n",
    "it is of another key": lambda raw: raw.replace(b"weather", b"whether"),
}


@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_and_changes_nothing(tmp_path, harm):
    """A number that can't be believed is not counted on from, and the others are still listed."""
    keeper = on_files(tmp_path, clock=still())
    keeper.acquire(KEY, holder="bea", ttl_s=90)
    other = keeper.acquire("manifests/other", holder="bea", ttl_s=90)
    (tmp_path / FILE).write_bytes(harm((tmp_path / FILE).read_bytes()))
    before = tree(tmp_path)

    for call in (
        lambda: keeper.acquire(KEY, holder="cyd", ttl_s=90),
        lambda: keeper.find(KEY),
        lambda: keeper.history(KEY),
        lambda: keeper.break_lease(KEY, by="cyd", reason="why"),
    ):
        with pytest.raises(CorruptRegistry, match="acme%2Fweather"):
            call()
    listing = keeper.list()

    assert next(listing) == other
    with pytest.raises(CorruptRegistry, match="acme%2Fweather"):
        next(listing)
    assert tree(tmp_path) == before


def test_every_changed_byte_is_noticed(tmp_path):
    """Whatever single byte is changed, the file is read as it was, or not at all."""
    keeper = on_files(tmp_path, clock=still())
    lease = keeper.acquire(KEY, holder="bea", ttl_s=90)
    raw = (tmp_path / FILE).read_bytes()

    for at in range(len(raw)):
        (tmp_path / FILE).write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        try:
            found = keeper.find(KEY)
        except CorruptRegistry:
            continue

        assert found == lease  # white space


def test_a_later_format_is_refused(tmp_path):
    """A file of a later release is not guessed at."""
    keeper = on_files(tmp_path, clock=still())
    keeper.acquire(KEY, holder="bea", ttl_s=90)
    kept = json.loads((tmp_path / FILE).read_bytes())
    (tmp_path / FILE).write_text(json.dumps({**kept, "format": 2}))

    with pytest.raises(CorruptRegistry, match="format 2"):
        keeper.find(KEY)


def test_links_are_not_followed(tmp_path):
    """Not to another file, nor to another directory."""
    keeper = on_files(tmp_path, clock=still())
    keeper.acquire(KEY, holder="bea", ttl_s=90)
    os.rename(tmp_path / "leases" / "manifests", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "leases" / "manifests")

    with pytest.raises(StoreError):
        keeper.find(KEY)
    with pytest.raises(StoreError):
        keeper.acquire(KEY, holder="cyd", ttl_s=90)

    os.remove(tmp_path / "leases" / "manifests")
    os.rename(tmp_path / "elsewhere", tmp_path / "leases" / "manifests")
    os.rename(tmp_path / FILE, tmp_path / "file.json")
    os.symlink(tmp_path / "file.json", tmp_path / FILE)
    with pytest.raises(StoreError, match="symbolic link"):
        keeper.acquire(KEY, holder="cyd", ttl_s=90)


def test_strays_beside_leases_are_passed_over(tmp_path):
    """What no key has as its file is no lease."""
    keeper = on_files(tmp_path, clock=still())
    lease = keeper.acquire(KEY, holder="bea", ttl_s=90)
    (tmp_path / "leases" / "README").write_text("hello")
    (tmp_path / "leases" / "manifests" / "x.json.tmp").write_text("torn")
    (tmp_path / "leases" / "manifests" / ".hidden.json").write_text("{}")

    assert list(keeper.list()) == [lease]


def test_a_lease_that_is_changed_all_the_time_is_waited_for_in_vain(tmp_path):
    """The wait for the moment of a change is bounded, and says what it waited for."""
    holder, waiting = on_files(tmp_path), on_files(tmp_path, lock_timeout_s=0.0)
    holder.release(holder.acquire(KEY, holder="ada", ttl_s=90))
    records = FileRecords(PosixDisk(), str(tmp_path))

    with records.held(layout.lease_record(KEY)), pytest.raises(LockTimeout, match="'manifests/acme/weather"):
        waiting.acquire(KEY, holder="bea", ttl_s=90)

    assert waiting.acquire(KEY, holder="bea", ttl_s=90).number == 2


# -- a machine against a model --------------------------------------------------------------------------------------

KEYS = ["manifests/a", "manifests/a/b", "sessions/a"]


class LeaseMachine(RuleBasedStateMachine):
    """Two handles on files and one in memory do what a dictionary does that knows nothing of files."""

    @initialize()
    def begin(self):
        self.place = tempfile.TemporaryDirectory()
        self.clock = still()
        self.files = [on_files(self.place.name, clock=self.clock, host="h") for _ in range(2)]
        self.memory = in_memory(clock=self.clock, host="h")
        self.model = {}  # key -> [holder, until_ns, number] of the last lease
        self.last = dict.fromkeys(KEYS, 0)
        self.given = []  # (key, number, lease of files, lease in memory)

    def teardown(self):
        if hasattr(self, "place"):
            self.place.cleanup()

    def holds(self, key):
        return key in self.model and self.clock.now_ns < self.model[key][1]

    def both(self, which, call):
        """What the files say, having seen that memory says the same."""
        answers = []
        for keeper in (self.files[which], self.memory):
            try:
                answers.append(call(keeper, keeper is self.memory))
            except (LeaseHeld, LeaseLost, NotFound) as error:
                answers.append((type(error), error.details))
        return answers

    @rule(which=st.integers(0, 1), key=st.sampled_from(KEYS), holder=st.sampled_from("xy"),
          ttl_s=st.integers(1, 20), above=st.integers(0, 6))  # fmt: skip
    def acquire(self, which, key, holder, ttl_s, above):
        on_disk, in_memory = self.both(
            which, lambda keeper, _: keeper.acquire(key, holder=holder, ttl_s=ttl_s, above=above)
        )
        if self.holds(key):
            assert on_disk == in_memory
            assert on_disk[0] is LeaseHeld
            assert on_disk[1]["holder"] == self.model[key][0]
            return
        number = max(self.last[key], above) + 1
        self.last[key] = number
        self.model[key] = [holder, self.clock.now_ns + ttl_s * 10**9, number]
        assert on_disk.as_json() == in_memory.as_json()
        assert on_disk.number == number
        self.given.append((key, number, on_disk, in_memory))

    @precondition(lambda self: self.given)
    @rule(which=st.integers(0, 1), data=st.data(), ttl_s=st.integers(1, 20))
    def renew(self, which, data, ttl_s):
        key, number, *leases = data.draw(st.sampled_from(self.given))
        on_disk, in_memory = self.both(which, lambda keeper, mem: keeper.renew(leases[mem], ttl_s=ttl_s))
        if key in self.model and self.model[key][2] == number:
            self.model[key][1] = self.clock.now_ns + ttl_s * 10**9
            assert on_disk.as_json() == in_memory.as_json()
            assert on_disk.number == number
        else:
            assert on_disk == in_memory
            assert on_disk[0] is LeaseLost

    @precondition(lambda self: self.given)
    @rule(which=st.integers(0, 1), data=st.data())
    def release(self, which, data):
        key, number, *leases = data.draw(st.sampled_from(self.given))
        own = key in self.model and self.model[key][2] == number

        answers = self.both(which, lambda keeper, mem: keeper.release(leases[mem]))

        assert answers == [own, own]
        if own:
            del self.model[key]

    @rule(which=st.integers(0, 1), key=st.sampled_from(KEYS))
    def break_it(self, which, key):
        on_disk, in_memory = self.both(which, lambda keeper, _: keeper.break_lease(key, by="z", reason="r"))
        if self.holds(key):
            del self.model[key]
            self.last[key] += 1
            assert on_disk.as_json() == in_memory.as_json()
        else:
            assert on_disk == in_memory
            assert on_disk[0] is NotFound

    @rule(seconds=st.integers(1, 10))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule(which=st.integers(0, 1))
    def die_and_begin_anew(self, which):
        self.files[which] = on_files(self.place.name, clock=self.clock, host="h")

    @invariant()
    def all_see_the_same(self):
        if not hasattr(self, "place"):
            return
        held = {key: self.model[key][2] for key in KEYS if self.holds(key)}
        for keeper in (*self.files, self.memory):
            assert {lease.key: lease.number for lease in keeper.list()} == held
        for key in KEYS:
            assert self.files[0].history(key) == self.memory.history(key)


LeaseMachine.TestCase.settings = settings(tries(60), stateful_step_count=40)
TestLeaseMachine = LeaseMachine.TestCase
