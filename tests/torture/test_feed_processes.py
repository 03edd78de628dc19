"""Real processes that write, read and deliver, killed with SIGKILL at any moment: nobody's feed misses anything.

How many were killed, and how many events each consumer was handed, is printed at the end of the run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter

import pytest

from registration import RegistrationPipeline
from tests.kit.totals import counter

# Revises everybody's manifests and makes some of its own until it is killed; what was acknowledged is told with one write.
WRITER = """
import os, random, sys, time
from registration import RegistrationPipeline, VersionConflict

root, name, file = sys.argv[1:]
out = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
number = 0
with RegistrationPipeline(root, actor=name) as pipeline:
    while True:
        number += 1
        try:
            if random.random() < 0.1:
                result = pipeline.create_with_result(f"{name}-{os.getpid()}-{number}", {"by": name})
            else:
                result = pipeline.revise(random.choice("abc"), {"by": name, "number": number})
        except VersionConflict:
            continue
        os.write(out, f"{result.event.id}\\n".encode())
        time.sleep(0.002)  # three readers have to keep up
"""

# A named consumer: what it was handed is told, with one write, before the cursor moves.
READER = """
import os, sys
from registration import ConsumerBusy, RegistrationPipeline

root, name, file = sys.argv[1:]
out = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def handle(entry):
    os.write(out, f"{entry.event.subject} {entry.event.version} {entry.event.id}\\n".encode())
with RegistrationPipeline(root) as pipeline:
    pipeline.feed.consumer(name).run(handle)
"""

# A consumer that keeps its cursor itself, in the file of what it was handed.
OWN = """
import os, sys
from registration import RegistrationPipeline

root, name, file = sys.argv[1:]
out = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT)
lines = [line.split() for line in open(file).read().splitlines()]
with RegistrationPipeline(root) as pipeline:
    for entry in pipeline.feed.follow(lines[-1][3] if lines else None):
        os.write(out, f"{entry.event.subject} {entry.event.version} {entry.event.id} {entry.cursor}\\n".encode())
"""

# Tells with one write as well; what is tried here is the runner.
HOOK = """#!/bin/sh
printf '%s %s %s\\n' "$REGISTRATION_MANIFEST_ID" "$REGISTRATION_VERSION" "$REGISTRATION_EVENT_ID" >> ../told
"""


class Victim:
    """A program that is started again whenever it was killed. file: what it writes to when it is at work."""

    def __init__(self, file, *command):
        self._file = file
        self._command = [sys.executable, *map(str, command)]
        self.kills = 0
        self._start()

    def _start(self):
        self._size = self._written()
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def _written(self):
        return self._file.stat().st_size if self._file.exists() else 0

    def kill_at_work(self, after_s):
        """Wait until it is at work, and a little, and kill it."""
        while self._written() == self._size:
            assert self._process.poll() is None, self._process.stderr.read()
            time.sleep(0.002)
        time.sleep(after_s)
        self._process.kill()
        self._process.communicate()
        self.kills += 1

    def kill_and_start(self, after_s):
        self.kill_at_work(after_s)
        self._start()

    @property
    def has_ended(self):
        return self._process.poll() is not None

    def end(self):
        if not self.has_ended:
            self._process.kill()
            self._process.communicate()


def told_in(path):
    """What somebody was handed, in order: manifest, version, event id."""
    return [tuple(line.split()[:3]) for line in path.read_text().splitlines()] if path.exists() else []


def check_feed(told, logs):
    """Every event at least once, none that is not in a log, and each manifest's for the first time in order."""
    seen = []
    known = set()
    for subject, version, event_id in told:
        if event_id not in known:
            known.add(event_id)
            seen.append((subject, int(version), event_id))
    for id, events in logs.items():
        own = [(version, event_id) for subject, version, event_id in seen if subject == id]
        assert own == [(event.version, event.id) for event in events], id
    assert len(seen) == sum(len(events) for events in logs.values())


@pytest.fixture
def victims(root, tmp_path):
    """Two writers, a named reader, one with a cursor of its own, and a runner of a hook; whatever happens, they are ended."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        for id in ("a", "b", "c"):
            pipeline.create(id, {})
    hook = root / "hook.sh"
    hook.write_text(HOOK)
    hook.chmod(0o700)
    (root / "hooks.toml").write_text(
        '[[hooks]]\nname = "told"\ncommand = ["./hook.sh"]\nactions = ["create"]\nstart = "start"\nattempts_max = 50\n'
    )
    writers = [
        Victim(tmp_path / f"acknowledged {n}", "-c", WRITER, root, f"w{n}", tmp_path / f"acknowledged {n}")
        for n in range(2)
    ]
    readers = [
        Victim(tmp_path / "named", "-c", READER, root, "named", tmp_path / "named"),
        Victim(tmp_path / "own", "-c", OWN, root, "own", tmp_path / "own"),
        Victim(tmp_path / "told", "-m", "registration", "--registry", root, "hooks", "run"),
    ]
    yield writers, readers
    for victim in (*writers, *readers):
        victim.end()


def test_whoever_is_killed_no_feed_misses_anything(root, tmp_path, request, victims):
    """Writers, named readers, readers with their own cursor and a hook's runner: complete, in order, each once by its id."""
    moments = random.Random(1)
    writers, readers = victims
    for _ in range(5):
        for victim in (*readers, *writers):
            victim.kill_and_start(moments.uniform(0, 0.1))
    for writer in writers:
        writer.kill_at_work(moments.uniform(0, 0.1))

    with RegistrationPipeline(root) as pipeline:
        before = [entry.event.id for entry in pipeline.feed.read()]
        logs = {
            id: list(pipeline.history(id))
            for id in pipeline.upkeep.manifest_ids()
            if pipeline.upkeep.recover(id).state
        }
        created = {id: log[:1] for id, log in logs.items()}
        logs["registry"] = list(pipeline._registry.governance.history())  # which the feed tells of as well
        entries = [entry.event for entry in pipeline.feed.read()]  # and those of the recoveries
        assert [event.id for event in entries][: len(before)] == before
        assert {event.action for event in entries[len(before) :]} <= {"recover"}
        events = {event.id for log in logs.values() for event in log}
        acknowledged = [
            line for n in range(2) for line in (tmp_path / f"acknowledged {n}").read_text().split()
        ]
        while (
            pipeline.feed.consumer("named").status().lag_events
            or len({one[2] for one in told_in(tmp_path / "own")}) < len(events)
            or len({one[2] for one in told_in(tmp_path / "told")}) < len(created)
        ):
            assert not any(reader.has_ended for reader in readers)
            time.sleep(0.05)

    assert set(acknowledged) <= events
    assert Counter(event.id for event in entries) == Counter(events)
    check_feed([(event.subject, event.version, event.id) for event in entries], logs)
    check_feed(told_in(tmp_path / "named"), logs)
    check_feed(told_in(tmp_path / "own"), logs)
    check_feed(told_in(tmp_path / "told"), created)
    kills = sum(one.kills for one in (*writers, *readers))
    counter(request.config, "writers, readers and runners of hooks killed while following")(kills)
    counter(request.config, "events handed to each of three consumers that were killed")(len(events))
    assert len(events) > 12  # each writer was killed at work, six times


def test_of_two_readers_with_one_name_one_is_handed_each_event(root, tmp_path):
    """The other is refused, takes over when the first is killed, and nothing is handed on twice but the last one."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        for number in range(30):
            pipeline.create(f"m{number}", {})
        files = [tmp_path / "one", tmp_path / "two"]
        first = subprocess.Popen([sys.executable, "-c", READER, root, "named", files[0]])
        while len(told_in(files[0])) < 31:
            assert first.poll() is None
            time.sleep(0.01)
        second = subprocess.run(
            [sys.executable, "-c", READER, root, "named", files[1]],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert f"ConsumerBusy: The consumer 'named' is in use by process {first.pid}" in second.stderr
        first.kill()
        first.wait()
        third = Victim(files[1], "-c", READER, root, "named", files[1])
        pipeline.create("last", {})
        while "last" not in {one[0] for one in told_in(files[1])}:
            time.sleep(0.01)
        third.end()

    told = told_in(files[0]) + told_in(files[1])
    assert len({one[2] for one in told}) == 32  # with the first event of the registry's own log
    assert len(told) <= 33


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that forks")
def test_followers_see_the_commits_of_forked_writers(root):
    """Children that write through the pipeline that they were forked with announce their commits for themselves."""
    with RegistrationPipeline(root, actor="ada") as pipeline:
        pipeline.create("a", {})
        children = []
        for number in range(4):
            child = os.fork()
            if child == 0:
                for version in range(10):
                    pipeline.create(f"c{number}-{version}", {})
                os._exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0

        subjects = [entry.event.subject for entry in pipeline.feed.read() if entry.area == "manifests"]
        assert len(subjects) == len(set(subjects)) == 41
        log = (root / "feed" / "000001.jsonl").read_text().splitlines()
        assert all(json.loads(line) for line in log)
