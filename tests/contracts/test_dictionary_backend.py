"""A backend of a dictionary that can compare and set, and nothing else, keeps the contract of backends: the proof of the seam.

There are no torn commits, nothing tells of changes, and a lock expires, also under a holder that was only stopped. So it shows what
`given` is for: a name has one holder although two manifests had reserved it, one after the other.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
import time
from contextlib import contextmanager, nullcontext

import pytest

from registration import Ledger, NameTaken, RegistrationPipeline
from registration.errors import LockTimeout, StoreError
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.notes import Cursor, not_of_this_feed, parse_cursor
from registration.storage.ports import NOTHING_GIVEN, TAIL_BYTES, Entry, Mark, Moved
from registration.testing import BackendContract
from registration.testing.backend_contract import SOURCE, WAIT_S
from registration.values.ids import name_of

# -- the backend -------------------------------------------------------------------------------------------------


class Dictionary:
    """Values by key. `swap` is the only way to change them: all of `new` at once, if all of `old` is there (None: nothing)."""

    def __init__(self):
        self._values, self._mutex = {}, threading.Lock()

    def get(self, key, default=None):
        return self._values.get(key, default)

    def below(self, *prefix):
        """The keys that begin like this, without that beginning."""
        return [key[len(prefix) :] for key in list(self._values) if key[: len(prefix)] == prefix]

    def swap(self, old, new):
        with self._mutex:
            if any(self._values.get(key) != value for key, value in old.items()):
                return False
            self._values |= new
            for key in [key for key, value in new.items() if value is None]:
                del self._values[key]
            return True


class DictionaryBackend:
    """One registry in a dictionary that others may have open: its logs, their order, blobs and lines. lock_s: how long a lock lasts.

    The key of a commit in the order is the number of events before it.
    """

    mending = place = None
    is_proof = True

    def __init__(self, values, *, lock_s=WAIT_S):
        self._values, self.records = values, Records(values, lock_s)
        self.logs = self.order = self.blobs = self.lines = self
        values.swap({("epoch",): None}, {("epoch",): os.urandom(4).hex(), ("end",): 0})

    def close(self):
        pass

    def ids(self, area):
        return iter(sorted((id for (id,) in self._values.below("log", area)), key=name_of))

    def found(self, area, id):
        snapshot = self._values.get(("snapshot", area, id))  # first: it is never ahead of the log
        return snapshot, mark_of(self._log(area, id))

    def unmoved(self, area, id, mark):
        return mark_of(self._log(area, id)) == mark

    def read(self, area, id, start, end):
        return self._log(area, id)[start:end]

    def append(self, area, id, after, data, note, *, snapshot=None, given=NOTHING_GIVEN, again=False):
        records = {("record", *key): value for key, value in given.items()}
        mark = Mark(after.size_bytes + len(data), (after.tail + data)[-TAIL_BYTES:])
        while True:
            log = self._log(area, id)
            if again and log[after.size_bytes - len(after.tail) : mark.size_bytes] == after.tail + data:
                return mark, 0.0
            if mark_of(log) != after or any(self._values.get(key) != records[key] for key in records):
                raise Moved
            kept = {} if snapshot is None else {("snapshot", area, id): snapshot}
            if self._commit(area, id, log, log, data, note, records, kept):
                return mark, 0.0

    def put_snapshot(self, area, id, snapshot, at):
        log = self._log(area, id)
        wanted = log != b"" and mark_of(log) == at
        return wanted and self._values.swap({("log", area, id): log}, {("snapshot", area, id): snapshot})

    def cut(self, area, id, at, size_bytes, *, then=None):
        data, note, snapshot = then or (b"", None, None)
        kept = {("snapshot", area, id): snapshot}
        while mark_of(log := self._log(area, id)) == at:
            if self._commit(area, id, log, log[:size_bytes], data, note, {}, kept):
                return
        raise Moved

    def remove(self, area, id):
        keys = ("log", area, id), ("snapshot", area, id)
        while log := self._log(area, id):
            if self._values.swap({keys[0]: log}, dict.fromkeys(keys)):
                return True
        return False

    def turn(self, area, id, timeout_s):
        return nullcontext(0.0)

    def entries(self, after, *, limit=None, data=True):
        epoch, end = self._values.get(("epoch",)), self._values.get(("end",))
        cursor = parse_cursor(after) if after is not None else Cursor(1, epoch, 0)
        if cursor != Cursor(1, epoch, min(cursor.offset, end)):
            raise not_of_this_feed(after)
        at = 0
        while at < end:
            area, id, start, stop, before, note = self._values.get(("order", at))
            begin, at = at, at + note.events
            if at > cursor.offset:
                ends = [str(Cursor(1, epoch, place)) for place in range(begin + 1, at + 1)]
                found = (before, self.read(area, id, start, stop)) if data else ()
                yield Entry(note.line, ends, max(0, cursor.offset - begin), *found)

    def end(self):
        return str(Cursor(1, self._values.get(("epoch",)), self._values.get(("end",))))

    def wait(self, seen, timeout_s, *, stop=None):
        stop, end_s = stop or threading.Event(), time.monotonic() + timeout_s
        while self.end() == seen and not stop.is_set() and time.monotonic() < end_s:
            stop.wait(min(0.01, timeout_s))
        return self.end() != seen

    def put(self, key, data):
        self._values.swap({}, {("blob", *key): data})

    def get(self, key):
        return self._values.get(("blob", *key))

    def add(self, name, line):
        lines = None
        while not self._values.swap({("lines", name): lines}, {("lines", name): (*(lines or ()), line)}):
            lines = self._values.get(("lines", name))

    def all(self, name):
        return iter(self._values.get(("lines", name), ()))

    def _log(self, area, id):
        return self._values.get(("log", area, id), b"")

    def _commit(self, area, id, log, kept, data, note, records, snapshot):
        end, key = self._values.get(("end",)), ("log", area, id)
        new = {key: kept + data or None, **snapshot}
        if note is not None:
            place = (area, id, len(kept), len(kept) + len(data), kept[-TAIL_BYTES:], note)
            new |= {("end",): end + note.events, ("order", end): place}
        return self._values.swap({key: log or None, ("end",): end, **records}, new)


class Records:
    """Records under locks: a lock is a value that says until when, and it is nobody's guard. What counts is the swap."""

    def __init__(self, values, lock_s):
        self._values, self._lock_s = values, lock_s

    def read(self, key):
        return self._values.get(("record", *key))

    @contextmanager
    def held(self, key, *, create=True, timeout_s=None):
        wait_s = 10.0 if timeout_s is None else timeout_s
        end_s, lock = time.monotonic() + wait_s, ("lock", *key)
        while True:
            found = self._values.get(lock)
            mine = (os.urandom(8), time.monotonic() + self._lock_s)
            if (found is None or found[1] < time.monotonic()) and self._values.swap(
                {lock: found}, {lock: mine}
            ):
                break
            if time.monotonic() >= end_s:
                raise LockTimeout("/".join(key), wait_s)
            time.sleep(0.002)
        try:
            yield Cell(self._values, key, mine) if create or self.read(key) is not None else None
        finally:
            self._values.swap({lock: mine}, {lock: None})

    def names(self, *place):
        return sorted({rest[0] for rest in self._values.below("record", *place) if rest})


class Cell:
    """One record, held for as long as its lock is `mine`."""

    def __init__(self, values, key, mine):
        self._values, self._key, self._mine = values, key, mine

    def read(self):
        return self._values.get(("record", *self._key), b"")

    def write(self, data, *, durable=True):
        if not self._values.swap({("lock", *self._key): self._mine}, {("record", *self._key): data or None}):
            raise StoreError(f"The lock of {'/'.join(self._key)} has expired.", "Lock it again.")

    def append(self, data):
        self.write(self.read() + data)

    def remove(self):
        self.write(b"")


def mark_of(log):
    return Mark(len(log), log[-TAIL_BYTES:])


# -- its tests ---------------------------------------------------------------------------------------------------


class TestDictionaryBackend(BackendContract):
    @pytest.fixture
    def open_backend(self, restless_threads):
        values = Dictionary()
        return lambda: DictionaryBackend(values)


def test_a_backend_is_small():
    """The seam asks for no more than 150 lines of code, the dictionary included."""
    source = inspect.getsource(sys.modules[__name__])
    backend = source[source.index("class Dictionary:") : source.index("# -- its tests")]

    assert len([line for line in backend.splitlines() if line.strip()]) <= 150


def test_a_record_is_not_written_after_its_lock_expired():
    """Neither while another has it, nor afterwards: what that one wrote stays."""
    values = Dictionary()
    stopped, other = DictionaryBackend(values, lock_s=0.01).records, DictionaryBackend(values).records
    key = ("names", "weather", "1.json")

    with stopped.held(key) as late:
        late.write(b"first")
        with other.held(key) as cell:  # waits until the lock has expired
            for do in (lambda: late.write(b"late"), late.remove, lambda: late.append(b"late")):
                with pytest.raises(StoreError, match="expired"):
                    do()
            cell.write(b"second")
        with pytest.raises(StoreError, match="expired"):
            late.write(b"late")

    assert other.read(key) == b"second"


class StoppedBackend(DictionaryBackend):
    """The backend of a process that is stopped, as by SIGSTOP, at its first commit that rests on a name, until its lock has expired.

    looks: whether it looks at `given` when it goes on.
    """

    def __init__(self, values, *, looks):
        super().__init__(values, lock_s=0.01)
        self.looks, self.stopped, self.go_on = looks, threading.Event(), threading.Event()

    def append(self, *log, given=NOTHING_GIVEN, **more):
        if any(key[0] == "names" for key in given) and not self.stopped.is_set():
            self.stopped.set()
            assert self.go_on.wait(WAIT_S)
        return super().append(*log, given=given if self.looks else NOTHING_GIVEN, **more)


@pytest.mark.parametrize(
    ("looks", "outcome", "holders"),
    [(True, NameTaken, ["b"]), (False, None, ["a", "b"])],
    ids=["given", "without"],
)
def test_a_holder_that_stands_still_loses_the_name(looks, outcome, holders):
    """Stopped between reservation and event until its lock has expired, it goes on when the name is another's, and is refused.

    A backend that doesn't look at `given` gives the name to both.
    """
    values = Dictionary()
    stopped, other = StoppedBackend(values, looks=looks), DictionaryBackend(values)
    one, two = (
        RegistrationPipeline(store=Ledger(backend, SOURCE, REGISTRATION), actor="ada")
        for backend in (stopped, other)
    )
    for id in ("a", "b"):
        two.create(id, {"name": "weather", "version": "1.0.0"})
        two.submit_for_review(id)
        two.approve(id, actor="bea")
    raised = []

    def register_late():
        try:
            one.register("a")
        except NameTaken as error:
            raised.append(type(error))

    late = threading.Thread(target=register_late)
    late.start()
    assert stopped.stopped.wait(WAIT_S)
    two.register("b")  # waits until the lock of the name has expired
    stopped.go_on.set()
    late.join(WAIT_S)

    assert raised == [outcome][: outcome is not None]
    assert [id for id in ("a", "b") if two.load_state(id).name == "weather@1.0.0"] == holders
    assert two.names.resolve("weather@1.0.0").manifest_id == "b"
