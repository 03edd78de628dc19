"""The promises of the ledger over any backend, as a test suite: the part of `registration.testing.BackendContract` above the port.

Any definition will do, since a ledger knows no lifecycle: the events here all create, repeatedly. They leave intact logs, so that a
fixture can end with a check of every byte.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from registration.core.codec import encode_snapshot
from registration.core.decider import sealed
from registration.core.definition import Definition
from registration.core.interpreter import entered
from registration.errors import InvalidArgument, NotFound, VersionConflict
from registration.evidence.verification import verify_files
from registration.storage.layout import MANIFESTS, RULE_KINDS
from registration.storage.ledger import Ledger
from registration.storage.reports import Backlog
from registration.values.documents import digest_of
from registration.values.events import Event, NewEvent, Position, StateSnapshot
from registration.values.ids import name_of, uuid7
from registration.values.times import rfc3339

OpenStore = Callable[[], Ledger]

NOT_IDS = (
    "",
    ".",
    "..",
    "../escape",
    "/absolute",
    "-option",
    "white space",
    "line\nfeed",
    "nul\0",
    "é",
    "a" * 201,
)
"""Invalid ids."""

NOT_DIGESTS = (
    "",
    "sha256:",
    "sha256:" + "0" * 63,
    "sha256:" + "A" * 64,
    "sha256:" + "0" * 64 + "\n",
    "../../registry",
    "0" * 64,
)
"""Invalid digests."""


class StoreContract:
    """The promises of `registration.storage.ledger.Ledger`, one test for each."""

    # -- appending and loading -------------------------------------------------------------------------

    def test_what_was_appended_is_loaded(self, open_store: OpenStore) -> None:
        """After `append`, `load` returns exactly its snapshot."""
        store = open_store()

        appended = [append(store, "a") for _ in range(3)]

        assert store.load("a") == appended[-1][1]

    def test_another_handle_sees_an_append_at_once(self, open_store: OpenStore) -> None:
        """After an append by one handle, every other handle loads it."""
        writing, reading = open_store(), open_store()

        _, snapshot = append(writing, "a")

        assert reading.load("a") == snapshot

    def test_an_unknown_stream_loads_as_none(self, open_store: OpenStore) -> None:
        """`load` of an unknown stream is None, and creates nothing."""
        store = open_store()

        assert store.load("a") is None
        assert list(store.streams()) == []

    def test_streams_do_not_touch_each_other(self, open_store: OpenStore) -> None:
        """Each stream has its own versions."""
        store = open_store()
        _, one = append(store, "one")
        append(store, "two")

        append(store, "two")

        assert store.load("one") == one
        assert _versions(store, "two") == [1, 2]

    def test_handles_agree_on_what_they_are(self, open_store: OpenStore) -> None:
        """Source, definition and limit are those of the registry, for every handle."""
        one, other = open_store(), open_store()

        assert one.source.startswith("urn:uuid:")
        assert one.source == other.source
        assert one.definition is other.definition
        assert one.document_bytes_max == other.document_bytes_max > 0

    # -- what is beside the logs -------------------------------------------------------------------------

    def test_other_logs_of_the_same_place_are_apart(self, open_store: OpenStore) -> None:
        """Areas share the source and the rules, and no stream; opened twice, an area is the same."""
        store = open_store()
        append(store, "a")

        _, snapshot = append(store.area("aliases", store.definition), "a", count=2)

        assert store.area("aliases", store.definition).load("a") == snapshot
        assert _versions(store, "a") == [1]
        assert list(store.area("aliases", store.definition).streams()) == ["a"]
        assert list(store.area("other", store.definition).streams()) == []
        assert store.area("other", store.definition).load("a") is None
        assert store.area("other", store.definition).source == store.source
        rule = {"a": "rule"}
        store.area("aliases", store.definition).keep("policies", digest_of(rule), rule)
        assert store.kept("policies", digest_of(rule)) == rule

    # -- batches ---------------------------------------------------------------------------------------

    def test_a_batch_comes_back_whole_and_in_order(self, open_store: OpenStore) -> None:
        """The events of one command are read as appended, each with the number of those that follow."""
        store = open_store()
        first, _ = append(store, "a")

        batch, snapshot = append(store, "a", count=4)

        assert list(store.read("a")) == [*first, *batch]
        assert [event.remaining for event in batch] == [3, 2, 1, 0]
        assert store.load("a") == snapshot

    def test_a_batch_is_refused_whole(self, open_store: OpenStore) -> None:
        """A batch that meets a conflict writes none of its events."""
        store = open_store()
        append(store, "a")
        late = batch(store, "a", count=3)
        append(store, "a")

        with _refused(VersionConflict):
            store.append("a", *late)

        assert _versions(store, "a") == [1, 2]

    # -- conflicts -------------------------------------------------------------------------------------

    def test_a_stale_position_is_a_conflict(self, open_store: OpenStore) -> None:
        """A decision on an earlier version gets `VersionConflict`, and nothing is written."""
        store = open_store()
        append(store, "a")
        stale = batch(store, "a")
        append(store, "a")
        before = store.inspect("a")

        with _refused(VersionConflict):
            store.append("a", *stale)

        assert store.inspect("a") == before

    def test_a_second_creation_is_a_conflict(self, open_store: OpenStore) -> None:
        """Of two creations of one stream, the later one gets `VersionConflict`."""
        store = open_store()
        late = batch(store, "a")
        append(store, "a")
        before = store.inspect("a")

        with _refused(VersionConflict):
            store.append("a", *late)

        assert store.inspect("a") == before

    def test_another_size_is_a_conflict(self, open_store: OpenStore) -> None:
        """A position with the right version and head but a wrong size is not the log's end."""
        store = open_store()
        append(store, "a")
        after, events, snapshot = batch(store, "a")
        before = store.inspect("a")

        for step in (-1, 1):
            with _refused(VersionConflict):
                store.append("a", replace(after, size_bytes=after.size_bytes + step), events, snapshot)

        assert store.inspect("a") == before

    def test_another_head_is_a_conflict(self, open_store: OpenStore) -> None:
        """A position with the right version and size but another hash belongs to another log."""
        store = open_store()
        append(store, "a")
        after, events, snapshot = batch(store, "a")
        before = store.inspect("a")

        with _refused(VersionConflict):
            store.append("a", replace(after, head="0" * 64), events, snapshot)

        assert store.inspect("a") == before

    def test_a_position_in_no_log_is_a_conflict(self, open_store: OpenStore) -> None:
        """Appending after missing events is a conflict, and creates no stream."""
        store = open_store()
        append(store, "elsewhere")
        after, events, snapshot = batch(store, "elsewhere")

        with _refused(VersionConflict):
            store.append("a", after, events, snapshot)

        assert store.load("a") is None
        assert list(store.streams()) == ["elsewhere"]

    def test_of_two_threads_on_one_position_one_wins(self, open_store: OpenStore) -> None:
        """Of two concurrent appends at one position, one succeeds, one gets `VersionConflict`."""
        stores = (open_store(), open_store())
        won: list[int] = []
        lost: list[int] = []

        def race(index: int, batch: _Batch, start: threading.Barrier) -> None:
            start.wait()
            try:
                stores[index].append("a", *batch)
            except VersionConflict:
                lost.append(index)
            else:
                won.append(index)

        for _ in range(10):
            batches = [batch(stores[0], "a"), batch(stores[0], "a")]
            start = threading.Barrier(2)
            run_threads([partial(race, index, batches[index], start) for index in (0, 1)])

        assert (len(won), len(lost)) == (10, 10)
        assert _versions(stores[1], "a") == list(range(1, 11))

    # -- reading ---------------------------------------------------------------------------------------

    def test_read_gives_every_event_in_order(self, open_store: OpenStore) -> None:
        """`read` yields the events as appended, each chained to the one before."""
        store = open_store()
        appended = [event for _ in range(5) for event in append(store, "a")[0]]

        read = list(store.read("a"))

        assert read == appended
        assert [event.version for event in read] == [1, 2, 3, 4, 5]
        assert [event.prev_hash for event in read] == ["", *(event.hash for event in read[:-1])]

    def test_read_is_as_of_its_beginning(self, open_store: OpenStore) -> None:
        """Events appended during a reading do not appear in it."""
        store = open_store()
        append(store, "a", count=3)
        reading = store.read("a")
        next(reading)

        append(store, "a")

        assert [event.version for event in reading] == [2, 3]

    def test_what_is_unknown_is_not_found(self, open_store: OpenStore) -> None:
        """`read`, `inspect` and `save` of an unknown stream raise `NotFound`; `recover` finds no state."""
        store = open_store()
        _, snapshot = append(store, "elsewhere")

        with _refused(NotFound):
            list(store.read("a"))
        with _refused(NotFound):
            store.inspect("a")
        with _refused(NotFound):
            store.save("a", snapshot)
        assert store.recover("a").state is None
        assert list(store.streams()) == ["elsewhere"]

    def test_streams_are_sorted_by_file_name(self, open_store: OpenStore) -> None:
        """`streams` yields every id once, in the order of file names."""
        store = open_store()
        ids = ["b", "a/x", "a@1", "a.b", "A", "a", "io.github.acme/weather@1.0", "urn:x:1"]

        for id in ids:
            append(store, id)

        assert list(store.streams()) == sorted(ids, key=name_of)

    def test_what_is_no_id_is_refused(self, open_store: OpenStore) -> None:
        """Every method with a stream refuses an invalid id before doing anything."""
        store = open_store()
        given = batch(store, "a")
        calls: tuple[Callable[[str], Any], ...] = (
            store.load,
            lambda stream: store.append(stream, *given),
            lambda stream: list(store.read(stream)),
            lambda stream: store.save(stream, given[2]),
            store.inspect,
            store.recover,
        )

        for call in calls:
            for not_id in NOT_IDS:
                with _refused(InvalidArgument):
                    call(not_id)

        assert list(store.streams()) == []

    # -- snapshots and bytes ---------------------------------------------------------------------------

    def test_an_older_snapshot_does_not_replace_a_later_one(self, open_store: OpenStore) -> None:
        """`save` of an earlier state leaves a later snapshot."""
        store = open_store()
        _, older = append(store, "a")
        _, later = append(store, "a")

        store.save("a", older)

        assert store.inspect("a").snapshot == encode_snapshot(later)  # looked at first: `load` would mend it
        assert store.load("a") == later

    def test_the_latest_snapshot_can_be_saved_again(self, open_store: OpenStore) -> None:
        """`save` of the folded state changes nothing."""
        store = open_store()
        _, snapshot = append(store, "a")
        before = store.inspect("a")

        store.save("a", snapshot)

        assert store.inspect("a") == before

    def test_inspect_gives_the_bytes_of_the_format(self, open_store: OpenStore) -> None:
        """The log is the lines of its events, and the snapshot the encoding of the state, byte for byte."""
        store = open_store()
        events = [*append(store, "a")[0], *append(store, "a", count=2)[0]]

        files = store.inspect("a")

        assert files.log == b"".join(event.line for event in events)
        assert files.snapshot == encode_snapshot(loaded(store, "a"))

    def test_inspect_shows_one_moment(self, open_store: OpenStore) -> None:
        """During concurrent appends, log and snapshot have the same version."""
        store, writing = open_store(), open_store()
        append(store, "a")
        done = threading.Event()
        found: list[object] = []

        def write() -> None:
            try:
                for _ in range(100):
                    append(writing, "a")
            finally:
                done.set()

        def look() -> None:
            while not done.is_set():
                found.extend(findings(store, "a"))

        run_threads([write, look])

        assert found == []

    def test_recovery_of_a_sound_stream_changes_nothing(self, open_store: OpenStore) -> None:
        """`recover`, once or twice, returns the state and leaves the same bytes."""
        store = open_store()
        append(store, "a")
        _, snapshot = append(store, "a", count=2)
        before = store.inspect("a")

        once, twice = store.recover("a"), store.recover("a")

        assert once.state == twice.state == snapshot
        assert (once.steps, twice.steps) == ((), ())
        assert store.inspect("a") == before

    # -- rules and refusals ----------------------------------------------------------------------------

    def test_a_rule_that_was_kept_is_there_for_every_handle(self, open_store: OpenStore) -> None:
        """A rule stored by its digest is read unchanged; storing it twice is harmless, and another digest is not found."""
        for kind in RULE_KINDS:
            value = {"kind": kind, "roles": ["bea"], "count": 2, "share": 0.1, "ü": {"b": None, "a": True}}
            digest = digest_of(value)

            for _ in range(2):
                open_store().keep(kind, digest, value)

            assert open_store().kept(kind, digest) == value
            with _refused(NotFound):
                open_store().kept(kind, "sha256:" + "0" * 64)

    def test_a_rule_is_of_one_kind(self, open_store: OpenStore) -> None:
        """A rule stored as one kind is not found as another."""
        store = open_store()
        value: dict[str, Any] = {}

        store.keep("schemas", digest_of(value), value)

        with _refused(NotFound):
            store.kept("policies", digest_of(value))

    def test_a_rule_is_nobodys_to_change(self, open_store: OpenStore) -> None:
        """Neither its writer nor its reader can change the stored rule."""
        store = open_store()
        given = {"roles": ["bea"]}
        digest = digest_of(given)
        store.keep("policies", digest, given)

        given["roles"].append("eve")
        store.kept("policies", digest)["roles"].append("eve")

        assert store.kept("policies", digest) == {"roles": ["bea"]}

    def test_what_is_no_digest_is_refused(self, open_store: OpenStore) -> None:
        """A digest is `sha256:` and 64 hex digits, nothing else."""
        store = open_store()

        for not_a_digest in NOT_DIGESTS:
            with _refused(InvalidArgument):
                store.kept("policies", not_a_digest)

    def test_rules_belong_to_the_store(self, open_store: OpenStore) -> None:
        """Rules and refusals are not strays."""
        store = open_store()
        append(store, "a")

        store.keep("lifecycles", digest_of({}), {})
        store.log_refusal(b"{}\n")

        assert list(store.strays()) == []
        assert list(store.streams()) == ["a"]

    def test_refusals_come_back_in_order(self, open_store: OpenStore) -> None:
        """Every noted line is there, whole and in order."""
        store = open_store()
        assert list(store.refusals()) == []

        store.log_refusal(b'{"n":1}\n')
        open_store().log_refusal(b'{"n":2}\n')

        assert list(store.refusals()) == [b'{"n":1}\n', b'{"n":2}\n']

    def test_refusals_of_several_threads_are_each_there_whole(self, open_store: OpenStore) -> None:
        """With concurrent writers, no line is lost or torn."""
        stores = [open_store() for _ in range(4)]

        def note(index: int) -> None:
            for number in range(25):
                stores[index].log_refusal(b'{"by":%d,"n":%d,"pad":"%s"}\n' % (index, number, b"x" * 500))

        run_threads([partial(note, index) for index in range(len(stores))])

        lines = list(open_store().refusals())
        assert len(lines) == len(set(lines)) == 100
        for index in range(len(stores)):
            mine = [line for line in lines if line.startswith(b'{"by":%d,' % index)]
            assert [int(line.split(b'"n":')[1].split(b",")[0]) for line in mine] == list(range(25))

    # -- the feed --------------------------------------------------------------------------------------

    def test_the_feed_has_every_event_once_in_order(self, open_store: OpenStore) -> None:
        """The events of every stream, appended by any handle, are in the feed once, in commit order."""
        stores = (open_store(), open_store())
        appended = [
            event
            for number, stream in enumerate(("b", "a", "b", "c/x", "a", "b"))
            for event in append(stores[number % 2], stream, count=1 + number % 3)[0]
        ]

        entries = list(open_store().feed())

        assert [entry.event for entry in entries] == appended
        assert {entry.area for entry in entries} == {MANIFESTS}
        assert len({entry.cursor for entry in entries}) == len(entries)

    def test_a_cursor_goes_on_behind_its_event(self, open_store: OpenStore) -> None:
        """After each cursor come the remaining events, also in the middle of a batch, and later ones."""
        store = open_store()
        for count in (1, 3, 2):
            append(store, "a", count=count)
        entries = list(store.feed())
        later, _ = append(store, "b")

        for number, entry in enumerate(entries, 1):
            rest = [found.event for found in open_store().feed(entry.cursor)]

            assert rest == [*(one.event for one in entries[number:]), *later]

    def test_the_feed_gives_no_more_than_was_asked_for(self, open_store: OpenStore) -> None:
        """`limit` bounds the entries; continuing after the last returns the next."""
        store = open_store()
        append(store, "a", count=4)
        every = [entry.event for entry in store.feed("start")]

        assert [entry.event for entry in store.feed(areas=("manifests", "other"))] == every
        assert list(store.feed(areas=("other",))) == []
        first = list(store.feed(limit=3))

        assert [entry.event for entry in first] == every[:3]
        assert [entry.event for entry in store.feed(first[-1].cursor, limit=3)] == every[3:]
        assert list(store.feed(limit=0)) == []
        with _refused(InvalidArgument):
            list(store.feed(limit=-1))

    def test_the_end_of_the_feed_is_behind_all_that_was_acknowledged(self, open_store: OpenStore) -> None:
        """After `feed_end` come later events, and nothing else; it moves with each commit."""
        store = open_store()
        ends = [store.feed_end()]
        append(store, "a")
        ends.append(store.feed_end())
        later, _ = append(store, "a", count=2)
        ends.append(open_store().feed_end())

        assert [entry.event for entry in store.feed(ends[1])] == later
        assert list(store.feed(ends[2])) == list(store.feed("now")) == []
        assert len(set(ends)) == 3
        assert len(list(store.feed(ends[0]))) == 3

    def test_what_was_refused_is_not_in_the_feed(self, open_store: OpenStore) -> None:
        """A conflict leaves no entry."""
        store = open_store()
        append(store, "a")
        late = batch(store, "a")
        append(store, "a")

        with _refused(VersionConflict):
            store.append("a", *late)

        assert [entry.event.version for entry in store.feed()] == [1, 2]

    def test_what_is_no_cursor_is_refused(self, open_store: OpenStore) -> None:
        """An invalid cursor is an error, never an empty answer."""
        store = open_store()
        append(store, "a")
        end = store.feed_end()
        segment, _, rest = end.partition("-")
        id, _, offset = rest.partition(":")
        other = "0" * 8 if id != "0" * 8 else "1" * 8
        given = ("", "0", "start ", "1:0", f"{segment}-{other}:{offset}", f"99{end}", f"{end}0", f"{end}\n")

        for cursor in given:
            with _refused(InvalidArgument):
                list(store.feed(cursor))
            with _refused(InvalidArgument):
                store.feed_backlog(cursor)

    def test_the_backlog_counts_what_is_behind_a_cursor(self, open_store: OpenStore) -> None:
        """The number of events, and the time of the first of them."""
        store = open_store()
        assert store.feed_backlog() == Backlog(0, None)
        events, _ = append(store, "a")
        append(store, "b", count=2)
        first = next(iter(store.feed()))

        assert store.feed_backlog() == Backlog(3, events[0].time)
        assert store.feed_backlog(first.cursor).events == 2
        assert store.feed_backlog(store.feed_end()) == store.feed_backlog("now") == Backlog(0, None)

    def test_a_feed_that_misses_nothing_is_left_alone(self, open_store: OpenStore) -> None:
        """`reconcile_feed` adds missing events, and there are none."""
        store = open_store()
        append(store, "a", count=3)
        before = list(store.feed())

        assert store.reconcile_feed() == 0
        assert list(store.feed()) == before

    def test_the_feed_of_several_threads_has_each_event_once(self, open_store: OpenStore) -> None:
        """With concurrent appends, each event is there once, and each stream's are in order."""
        stores = [open_store() for _ in range(4)]

        def work(index: int) -> None:
            for number in range(12):
                append(stores[index], f"s{index}" if number % 2 else f"t{index}", count=1 + number % 2)

        run_threads([partial(work, index) for index in range(len(stores))])

        events = [entry.event for entry in open_store().feed()]
        assert len(events) == len({event.hash for event in events}) == 4 * 18
        for stream in open_store().streams():
            assert [e for e in events if e.subject == stream] == list(open_store().read(stream))


_Batch = tuple[Position, list[Event], StateSnapshot]
"""The arguments of `append` after the stream."""


def append(
    store: Ledger, stream: str, *, count: int = 1, word: str = ""
) -> tuple[list[Event], StateSnapshot]:
    """Append one command of `count` events at the stream's end; returns the arguments.

    Raises: as `Ledger.append`.
    """
    after, events, snapshot = batch(store, stream, count=count, word=word)
    store.append(stream, after, events, snapshot)
    return events, snapshot


def batch(store: Ledger, stream: str, *, count: int = 1, word: str = "") -> _Batch:
    """The arguments of the next `append`, decided on the stream's current state."""
    definition, before = store.definition, store.load(stream)
    after = before.position if before else Position()
    versions = range(after.version + 1, after.version + 1 + count)
    new = [new_event(definition, stream, version, word=word) for version in versions]
    events, states = sealed(definition, before, new, stream=stream, source=store.source)
    return after, events, states[-1]


def new_event(definition: Definition, stream: str, version: int, *, word: str = "") -> NewEvent:
    """An event that creates, possibly again. word: a further value in its document."""
    creation = next(move for move in definition.chart.transitions if move.source is None)
    state = entered(definition.chart, creation.target)
    unix_ns = 1_767_225_600_000_000_000 + version * 1_000_000_000
    id = uuid7(unix_ns // 1_000_000, version.to_bytes(10, "big"))
    document = {"name": stream, "version": str(version)} | ({"word": word} if word else {})
    data: dict[str, Any] = {
        "action": creation.action,
        "from": state if version > 1 else None,
        "to": state,
        "actor": None,
        "digest": digest_of(document),
        "document": document,
    }
    type = definition.event_type(creation.action)
    return NewEvent(id=id, type=type, time=rfc3339(unix_ns), data=data, correlation_id=id)


def loaded(store: Ledger, stream: str) -> StateSnapshot:
    """The state of an existing stream."""
    snapshot = store.load(stream)
    assert snapshot is not None
    return snapshot


def _versions(store: Ledger, stream: str) -> list[int]:
    return [event.version for event in store.read(stream)]


def findings(store: Ledger, stream: str) -> tuple[object, ...]:
    """The findings of a check of every byte."""
    files = store.inspect(stream)
    return verify_files(files, stream=stream, source=store.source, definition=store.definition).findings


def run_threads(works: list[Callable[[], None]]) -> None:
    """Run them at once, wait for all, and raise the first one's exception."""
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # every exception belongs to the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _in_a_thread(do: Callable[[], None]) -> None:
    """Run it in another thread, and raise its exception here."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            do()
        except Exception as error:  # raised below
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in raised:
        raise error


@contextmanager
def _refused(kind: type[Exception]) -> Iterator[None]:
    """Fail unless the block raises `kind`."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected, and nothing was raised")
