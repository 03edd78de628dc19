"""The registry for asyncio and trio: the same names, the same answers; a cancelled command is wholly done or not begun."""

from __future__ import annotations

import asyncio
import inspect
import random
import subprocess
import sys
import threading
from contextlib import aclosing
from functools import cached_property

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from registration import (
    AlreadyExists,
    AsyncRegistrationPipeline,
    CorruptLog,
    InvalidArgument,
    NotFound,
    RegistrationPipeline,
    StoreError,
)
from registration.errors import ConsumerBusy, WaitTimeout
from registration.feed.consumers import Consumer
from registration.feed.watching import Watch
from registration.pipeline.asynchronous.following import AsyncConsumer, AsyncWatch
from registration.pipeline.asynchronous.parts import awaited_part
from registration.pipeline.evidence import EvidencePart
from registration.pipeline.feed import FeedPart
from registration.pipeline.find import FindPart
from registration.pipeline.names import NamesPart
from registration.pipeline.upkeep import UpkeepPart
from registration.pipeline.work import WorkPart
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile

pytestmark = pytest.mark.anyio

WAITS_S = (0, 0.001, 0.003, 0.01, 0.03, 0.3)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    """Every test that is a coroutine runs under both."""
    return request.param


class HeldDisk(PosixDisk):
    """A disk whose syncs of logs wait, once it is told to, until it is told to go on."""

    def __init__(self):
        self.gate, self.reached = threading.Event(), threading.Event()
        self.gate.set()

    def hold(self):
        self.gate.clear()
        self.reached.clear()

    def sync_data(self, fd):
        self.reached.set()
        assert self.gate.wait(60)
        super().sync_data(fd)


@pytest.fixture
def disk():
    disk = HeldDisk()
    yield disk
    disk.gate.set()


@pytest.fixture
def held(root, disk):
    """A store on a disk that can be held."""
    made = RegistryFile("01a1fcdf-67de-7635-b5e5-5a6d9d430ded", "2026-01-01T00:00:00.000000Z", "", 1 << 20)
    wanted = RegistryFile(made.id, made.created_at, REGISTRATION.name, made.document_bytes_max)
    return open_files(root, REGISTRATION, wanted=wanted, disk=disk)


def public(kind):
    """The public names of a class."""
    return {name for name in dir(kind) if not name.startswith("_")}


PARTS = (NamesPart, WorkPart, FeedPart, FindPart, EvidencePart, UpkeepPart)


@pytest.mark.parametrize(
    ("plain", "awaited", "name"),
    [
        (plain, awaited, name)
        for plain, awaited in [
            (RegistrationPipeline, AsyncRegistrationPipeline),
            *((part, awaited_part(part)) for part in PARTS),
        ]
        for name in sorted(public(plain))
    ],
)
def test_the_same_names_with_the_same_arguments(plain, awaited, name):
    """Whatever a pipeline and its parts offer is here under its name, with the same parameters, awaited or iterated."""
    theirs, ours = inspect.getattr_static(plain, name), inspect.getattr_static(awaited, name)
    if isinstance(theirs, property | cached_property):
        assert isinstance(ours, property | cached_property)
        return

    plain, mine = inspect.signature(theirs), inspect.signature(ours)
    assert list(mine.parameters.values())[1:] == list(plain.parameters.values())[1:]
    returned = plain.return_annotation.partition("[")[0]
    if returned in ("Watch", "Consumer"):  # handed out at once; what they do is awaited
        assert mine.return_annotation == f"Async{returned}"
    elif returned in ("Iterator", "Results"):
        assert inspect.isasyncgenfunction(ours) or mine.return_annotation.startswith("AsyncGenerator[")
    elif returned == "Listing":
        assert mine.return_annotation == returned
    else:
        assert inspect.iscoroutinefunction(ours) or name == "on"


@pytest.mark.parametrize(("plain", "mine"), [(Consumer, AsyncConsumer), (Watch, AsyncWatch)])
def test_what_is_handed_out_has_the_same_names_too(plain, mine):
    """Consumers and watches: each method of theirs with its arguments, awaited; each property as it is."""
    assert public(plain) - {"stop"} == public(mine) - {"stop", "name"}
    for name in public(plain):
        theirs, ours = inspect.getattr_static(plain, name), inspect.getattr_static(mine, name)
        if not isinstance(theirs, property):
            assert inspect.iscoroutinefunction(ours)
            assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters


def test_no_other_names():
    """Nothing is offered here alone; `made` is an attribute there, and threads are an option here."""
    assert public(AsyncRegistrationPipeline) - public(RegistrationPipeline) == {"made"}
    theirs = inspect.signature(RegistrationPipeline).parameters
    mine = inspect.signature(AsyncRegistrationPipeline).parameters
    assert [p for name, p in mine.items() if name != "threads"] == list(theirs.values())


async def test_a_list_in_pages(root):
    """What it gives, and where the next page begins, is the same as without a loop; left early, nothing is left open."""
    async with AsyncRegistrationPipeline(root, actor="ada") as pipeline:
        for id in "abc":
            await pipeline.create(id, {})
        first = pipeline.list(limit=2)
        ids = [one.manifest_id async for one in first]
        rest = pipeline.list(limit=2, after=first.next_page)
        ids += [one.manifest_id async for one in rest]
        async with aclosing(pipeline.list()) as left_early:
            assert (await anext(left_early)).manifest_id == "a"

        assert ids == ["a", "b", "c"]
        assert rest.next_page is None
        assert await pipeline.find.count("DRAFT") == 3
        assert (await pipeline.find.stats()).manifests == 3
        assert (await pipeline.find.query("select count(*) from events")).rows == ((3,),)
        with pytest.raises(InvalidArgument):
            await anext(pipeline.list("NONE"))


async def test_a_manifest_from_its_draft_to_its_registration(root):
    """The way through the lifecycle, with what each step gives; the log reads as if it was written by the other."""
    changes = []
    async with AsyncRegistrationPipeline(root, actor="ada") as pipeline:
        assert pipeline.made
        pipeline.on("state_change", changes.append)
        draft = await pipeline.create("a", {"name": "a"}, idempotency_key="k")
        again = await pipeline.create_with_result("a", {"name": "a"}, idempotency_key="k")
        await pipeline.submit_for_review("a")
        await pipeline.approve("a", actor="bea", expected_digest=draft.digest)
        result = await pipeline.transition_state("a", "REGISTERED", {"comment": "done"})
        history = [event async for event in pipeline.history("a")]
        listed = [one.manifest_id async for one in pipeline.list("REGISTERED")]
        found = await pipeline.evidence.verify("a")
        assert (await pipeline.load_state("a")).state == "REGISTERED"
        assert (await pipeline.explain("a")) == ()

    with RegistrationPipeline(root) as plain:
        assert list(plain.history("a")) == history
        assert plain.registry_id == pipeline.registry_id
        assert plain.lifecycle == pipeline.lifecycle
    assert again.replayed
    assert (result.to_state, result.event.data["comment"]) == ("REGISTERED", "done")
    assert [change.to_state for change in changes] == ["DRAFT", "REVIEWED", "APPROVED", "REGISTERED"]
    assert (listed, found.findings) == (["a"], ())


async def test_errors_are_the_same(root):
    """What the other raises is raised here: by the call, or by the first step of an iteration."""
    async with AsyncRegistrationPipeline(root) as pipeline:
        await pipeline.create("a", {})
        with pytest.raises(AlreadyExists):
            await pipeline.create("a", {})
        with pytest.raises(NotFound):
            await anext(pipeline.history("b"))
        with pytest.raises(InvalidArgument):
            await anext(pipeline.list("NOWHERE"))
        with pytest.raises(InvalidArgument):
            await anext(pipeline.create_many([], workers=0))


async def test_it_opens_itself_and_stays_closed(root):
    """The first call opens the registry; before it there are no properties, after `close` no calls."""
    pipeline = AsyncRegistrationPipeline(root)
    with pytest.raises(StoreError, match="not open yet"):
        _ = pipeline.registry_id
    with pytest.raises(StoreError, match="not open yet"):
        pipeline.on("state_change", print)

    await pipeline.create("a", {})
    await pipeline.close()
    await pipeline.close()

    with pytest.raises(StoreError, match="closed"):
        await pipeline.load_state("a")
    unopened = AsyncRegistrationPipeline(root)
    await unopened.close()
    with pytest.raises(StoreError, match="closed"):
        await unopened.load_state("a")


async def test_what_opening_refuses_is_told_by_the_first_call(tmp_path):
    """A missing registry is an error of `async with`; the next attempt opens what is there by then."""
    pipeline = AsyncRegistrationPipeline(tmp_path / "nowhere", create=False)
    with pytest.raises(NotFound):
        await pipeline.load_state("a")

    RegistrationPipeline(tmp_path / "nowhere").create("a", {})

    assert (await pipeline.load_state("a")).state == "DRAFT"


@pytest.mark.parametrize("threads", [0, -1, "8", 1.5, True])
def test_threads_that_cannot_be_meant(threads):
    """How many threads there may be is checked at once."""
    with pytest.raises(InvalidArgument, match="Invalid `threads`"):
        AsyncRegistrationPipeline("registry", threads=threads)


async def test_tasks_that_open_it_at_once_open_it_once(root):
    """Ten first calls make one pipeline."""
    pipeline = AsyncRegistrationPipeline(root)
    opened = set()

    async def call(number):
        await pipeline.create(f"m{number}", {})
        opened.add(pipeline.registry_id)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(call, number)

    assert len(opened) == 1
    assert len([id async for id in pipeline.upkeep.manifest_ids()]) == 10
    await pipeline.close()


async def test_no_more_calls_at_once_than_threads(held, disk):
    """Twenty commands with three threads: never more than three are under way."""
    at_work, most, mutex = 0, 0, threading.Lock()
    inner = disk.sync_data

    def counted(fd):
        nonlocal at_work, most
        with mutex:
            at_work += 1
            most = max(most, at_work)
        inner(fd)
        with mutex:
            at_work -= 1

    disk.sync_data = counted
    async with (
        AsyncRegistrationPipeline(store=held, threads=3) as pipeline,
        anyio.create_task_group() as tasks,
    ):
        for number in range(20):
            tasks.start_soon(pipeline.create, f"m{number}", {})

    assert most <= 3


async def test_a_command_that_is_cancelled_after_it_began_is_wholly_done(held, disk):
    """The scope ends when the command has: the event is in the log by then, and nothing is under way any more."""
    async with AsyncRegistrationPipeline(store=held) as pipeline:
        await pipeline.create("a", {})
        disk.hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipeline.submit_for_review, "a")
            await anyio.to_thread.run_sync(disk.reached.wait)
            tasks.cancel_scope.cancel()
            threading.Timer(0.05, disk.gate.set).start()

        assert disk.gate.is_set()
        assert held.load("a").state == "REVIEWED"


async def test_a_command_that_is_cancelled_while_it_waits_for_a_thread_is_not_begun(held, disk):
    """With the only thread taken, a second command waits; cancelled, it leaves no trace."""
    async with AsyncRegistrationPipeline(store=held, threads=1) as pipeline:
        await pipeline.create("a", {})
        disk.hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipeline.submit_for_review, "a")
            await anyio.to_thread.run_sync(disk.reached.wait)
            with anyio.move_on_after(0.02) as scope:
                await pipeline.create("b", {})
            disk.gate.set()

        assert scope.cancelled_caught
        assert [one.manifest_id async for one in pipeline.list()] == ["a"]


async def turns(count=20):
    """Let the loop go round until whatever was cancelled has met it."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=False)
@pytest.mark.parametrize("how", ["timeout", "cancel", "cancel twice"])
async def test_asyncio_cancels_in_its_own_ways(held, disk, how, anyio_backend):
    """`asyncio.timeout` and `Task.cancel` know no scopes; a command that they cancel is finished all the same."""
    async with AsyncRegistrationPipeline(store=held, threads=1) as pipeline:
        await pipeline.create("a", {})
        disk.hold()

        async def time_out(limit):
            await asyncio.to_thread(disk.reached.wait)
            limit.reschedule(asyncio.get_running_loop().time())
            await turns()
            assert limit.expired()
            disk.gate.set()

        if how == "timeout":
            limit = asyncio.timeout(None)
            helper = asyncio.create_task(time_out(limit))
            with pytest.raises(TimeoutError):
                async with limit:
                    await pipeline.submit_for_review("a")
            await helper
        else:
            task = asyncio.create_task(pipeline.submit_for_review("a"))
            await asyncio.to_thread(disk.reached.wait)
            for _ in how.split():
                task.cancel()
                await turns()
            assert not task.done()
            disk.gate.set()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert held.load("a").state == "REVIEWED"
        await pipeline.approve("a")  # the thread is free again


@pytest.mark.parametrize("scoped", [True, False])
async def test_commands_cancelled_at_any_moment(root, scoped, anyio_backend):
    """Creations cancelled at random: after each, the manifest is there whole or not at all, and stays so.

    The first is never cancelled, the second before it begins.
    """
    if not scoped and anyio_backend == "trio":
        return  # trio has no other way
    moments = random.Random(1)
    seen = {}
    async with AsyncRegistrationPipeline(root, threads=2) as pipeline:

        async def create(number):
            wait_s = {0: None, 1: -1}.get(number, moments.choice(WAITS_S))
            if scoped:
                with anyio.move_on_after(wait_s):
                    await pipeline.create(f"m{number}", {"n": number})
            else:
                task = asyncio.ensure_future(pipeline.create(f"m{number}", {"n": number}))
                if wait_s is None:
                    await task
                elif wait_s >= 0:
                    await asyncio.sleep(wait_s)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            with RegistrationPipeline(root, create=False) as plain:
                seen[number] = number in {int(one.manifest_id[1:]) for one in plain.list()}

        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(create, number)
        there = {int(one.manifest_id[1:]) async for one in pipeline.list()}

    assert there == {number for number, done in seen.items() if done}
    assert 0 in there
    assert 1 not in there


async def test_closing_in_a_cancelled_task_closes(root):
    """`async with` lets go of everything also where it is left by cancellation."""
    with anyio.CancelScope() as scope:
        async with AsyncRegistrationPipeline(root) as pipeline:
            scope.cancel()
            await anyio.sleep(1)

    with pytest.raises(StoreError, match="closed"):
        await pipeline.load_state("a")


async def test_many_at_once(root):
    """Results one by one, in order, each with its item; errors stop nothing."""
    items = [{"manifest_id": f"m{n % 40}", "document": {"n": n}} for n in range(50)]
    async with AsyncRegistrationPipeline(root) as pipeline:
        created = [one async for one in pipeline.create_many(items)]
        steps = [{"manifest_id": f"m{n}", "action": "submit_for_review"} for n in range(40)]
        moved = [one.value().to_state async for one in pipeline.transition_many(steps, workers=3)]

    assert [one.index for one in created] == list(range(50))
    assert [type(one.error) for one in created] == [type(None)] * 40 + [AlreadyExists] * 10
    assert moved == ["REVIEWED"] * 40


async def test_many_that_are_left_early(root, caplog):
    """Closing waits for what was begun, and the log says what nobody took."""
    items = ({"manifest_id": f"m{n}", "document": {"n": n}} for n in range(10_000))
    async with AsyncRegistrationPipeline(root) as pipeline:
        async with aclosing(pipeline.create_many(items, workers=2)) as results:
            told = [(await anext(results)).value().manifest_id for _ in range(3)]
        there = {one.manifest_id async for one in pipeline.list()}

    mentioned = {
        f"m{index}" for record in caplog.records for index in record.getMessage().partition("index: ")[2].split(", ")
    }  # fmt: skip
    assert there == set(told) | (mentioned - {"m"})


async def keep_versions(events, kept):
    """Go through events, keeping the versions of those that came, also where an error ends it."""
    async for event in events:
        kept.append(event.version)  # a comprehension would lose them with the error


async def test_a_long_log_comes_in_pieces_and_damage_behind_what_is_sound(root):
    """An iteration gives everything, in order; an error comes after what stands before it."""
    with RegistrationPipeline(root) as plain:
        plain.create("a", {"n": 0})
        for n in range(1, 150):
            plain.revise("a", {"n": n})
    async with AsyncRegistrationPipeline(root) as pipeline:
        versions = [event.version async for event in pipeline.history("a")]
        log = root / "manifests" / "a" / "events.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        lines[119] = lines[119].replace(b'"n":119', b'"n":911')
        sound = log.read_bytes()
        log.write_bytes(b"".join(lines))
        before = []
        with pytest.raises(CorruptLog):
            await keep_versions(pipeline.history("a"), before)
        log.write_bytes(sound)

    assert versions == list(range(1, 151))
    assert before == list(range(1, 120))


async def test_an_iteration_that_is_left_early_lets_go(root):
    """A `break` in the middle of a history leaves nothing that keeps others from writing."""
    async with AsyncRegistrationPipeline(root) as pipeline:
        for id in "abc":
            await pipeline.create(id, {})
        async with aclosing(pipeline.list()) as listed:
            first = await anext(listed)
        await pipeline.submit_for_review(first.manifest_id)

    assert first.manifest_id == "a"


async def test_the_feed_is_followed_and_following_can_be_cancelled(root):
    """Entries come as they are committed, by anybody; a cancelled follower ends at once, and goes on at its cursor."""
    seen = []
    async with AsyncRegistrationPipeline(root) as pipeline:
        await pipeline.create("a", {})

        async def keep(after):
            async for entry in pipeline.feed.follow(after):
                seen.extend([(entry.event.subject, entry.cursor)])

        async def until(count):
            with anyio.fail_after(60):
                while len(seen) < count:  # noqa: ASYNC110  # it is what is waited for that is under test
                    await anyio.sleep(0.005)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep, None)
            await until(2)
            with RegistrationPipeline(root) as other:
                other.create("b", {})
            await until(3)
            tasks.cancel_scope.cancel()
        await pipeline.create("c", {})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep, seen[-1][1])
            await until(4)
            tasks.cancel_scope.cancel()
        stop = threading.Event()
        threading.Timer(0.1, stop.set).start()
        rest = [entry async for entry in pipeline.feed.follow("now", stop=stop)]
        limited = [entry.event.subject async for entry in pipeline.feed.read(limit=2)]

    assert [subject for subject, _ in seen] == ["registry", "a", "b", "c"]
    assert (rest, limited) == ([], ["registry", "a"])


async def test_a_watch_can_be_cancelled_and_asked_again(root):
    """A wait that is given up leaves the watch as it was."""
    async with AsyncRegistrationPipeline(root) as pipeline:
        await pipeline.create("a", {})
        watch, end = pipeline.feed.watch(), await pipeline.feed.end()
        with anyio.move_on_after(0.05) as scope:
            await watch.wait(end)
        in_time = await watch.wait(end, timeout_s=0.05)
        await pipeline.create("b", {})

        assert scope.cancelled_caught
        assert not in_time
        assert await watch.wait(end)


async def test_waiting_for_a_state_can_be_cancelled(root):
    """Whoever waits gets the state as soon as it is there; a wait that is cancelled ends, and holds nothing back."""
    async with AsyncRegistrationPipeline(root, threads=1) as pipeline:
        await pipeline.create("a", {})
        with anyio.move_on_after(0.05) as scope:
            await pipeline.feed.wait("a", "REVIEWED")
        with pytest.raises(WaitTimeout):
            await pipeline.feed.wait("a", "REVIEWED", timeout_s=0.01)
        found = []
        async with anyio.create_task_group() as tasks:

            async def wait():
                found.append(await pipeline.feed.wait("a", "REVIEWED"))

            tasks.start_soon(wait)
            await anyio.sleep(0.05)
            await pipeline.submit_for_review("a")  # the only thread is free while others wait

        assert scope.cancelled_caught
        assert [state.state for state in found] == ["REVIEWED"]


async def test_a_consumer_goes_on_where_it_was(root):
    """As a context, and by `run`, whose cancellation finishes the entry that is being handled."""
    async with AsyncRegistrationPipeline(root) as pipeline:
        for id in "abcd":
            await pipeline.create(id, {})
        async with pipeline.feed.consumer("index") as consumer:
            with pytest.raises(ConsumerBusy):
                await pipeline.feed.consumer("index").run(print, once=True)
            first, *_ = [entry async for entry in consumer]
            await consumer.commit(first)
        handled, begun = [], threading.Event()

        def handle(entry):
            begun.set()
            threading.Event().wait(0.05)
            handled.append(entry.event.subject)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipeline.feed.consumer("index").run, handle)
            await anyio.to_thread.run_sync(begun.wait)
            tasks.cancel_scope.cancel()
        at_cancel = list(handled)
        rest = await pipeline.feed.consumer("index").run(handle, once=True)
        (status,) = [one async for one in pipeline.feed.consumers()]

    assert first.event.subject == "registry"
    assert at_cancel == handled[: len(at_cancel)]
    assert at_cancel
    assert handled == ["a", "b", "c", "d"]
    assert (rest, status.name, status.lag_events) == (4 - len(at_cancel), "index", 0)


async def test_handlers_can_lead_back_to_the_loop(root):
    """A handler runs in the thread of a writer, from where `anyio.from_thread` calls the loop."""
    async with AsyncRegistrationPipeline(root) as pipeline:
        told = []

        async def tell(change):
            told.append((change.to_state, threading.current_thread() is threading.main_thread()))

        stop = pipeline.on("state_change", lambda change: anyio.from_thread.run(tell, change))
        await pipeline.create("a", {})
        stop()
        await pipeline.submit_for_review("a")

    assert told == [("DRAFT", True)]


def test_without_anyio_it_says_what_to_install(tmp_path):
    """The extra is named, and the rest of the package works without it."""
    script = (
        "import sys; sys.modules['anyio'] = None\n"
        "from registration import RegistrationPipeline\n"
        "RegistrationPipeline(sys.argv[1])\n"
        "from registration import AsyncRegistrationPipeline\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "r"], capture_output=True, text=True, check=False
    )

    assert run.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: AsyncRegistrationPipeline needs anyio. Install it: pip install '.[async]'"
    )
