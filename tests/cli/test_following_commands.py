"""The commands that follow a registry, as somebody at a terminal or a script meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from registration.cli.app import app
from registration.feed import waiting

ID = "io.github.acme/weather@1.2.0"


class Terminal:
    """A registry, and somebody who types commands at it."""

    def __init__(self, root):
        self.root = root

    def type(self, *words, input=None):
        environment = {"REGISTRATION_ROOT": str(self.root), "REGISTRATION_ACTOR": "ada"}
        return CliRunner().invoke(app, words, input=input, prog_name="registration", env=environment)

    def ok(self, *words, input=None):
        result = self.type(*words, input=input)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, code, *words):
        result = self.type(*words)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        assert "should not happen" not in result.output
        return result.stderr

    def start(self, *words):
        """The command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "registration", *words],
            env={**os.environ, "REGISTRATION_ROOT": str(self.root), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def terminal(root):
    terminal = Terminal(root)
    terminal.ok("init")
    terminal.ok("create", "-", input=json.dumps({"name": "io.github.acme/weather", "version": "1.2.0"}))
    terminal.ok("submit", ID)
    return terminal


def until_it_watches(process):
    """Wait until a process has the system tell it of changes: it has looked where the feed ends by then."""
    while process.poll() is None:
        descriptors = Path(f"/proc/{process.pid}/fd")
        for name in os.listdir(descriptors):
            with suppress(FileNotFoundError):  # it is closed meanwhile
                if os.readlink(descriptors / name) == "anon_inode:inotify":
                    return
        time.sleep(0.01)
    pytest.fail(f"it ended: {process.communicate()}")


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_follow_once_shows_what_there_is(terminal):
    """A line for each event, and how to go on."""
    result = terminal.type("follow", "--once")

    lines = result.stdout.splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == [
        "registry  1  ada  make  IN_FORCE",
        f"{ID}  1  ada  create  DRAFT",
        f"{ID}  2  ada  submit_for_review  DRAFT -> REVIEWED",
    ]
    assert result.stderr.startswith("Continue with: registration follow --from 1-")


def test_follow_as_json_gives_the_event_and_the_cursor_beside(terminal):
    """The event as it stands in the log; the cursor goes on behind it."""
    made, *found = json_lines(terminal.ok("follow", "--once", "--json", "--from", "start"))
    log = json_lines(terminal.ok("log", "--json", ID))
    rest = json_lines(terminal.ok("follow", "--once", "--json", "--from", found[0]["cursor"]))

    assert [one["event"] for one in found] == log
    assert {one["area"] for one in found} == {"manifests"}
    assert (made["area"], made["event"]["type"]) == ("registry", "registry.made.v1")
    assert rest == found[1:]
    assert terminal.ok("follow", "--once", "--from", "now") == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_follow_goes_on_until_it_is_ended(terminal, number):
    """Cleanly, with the cursor to go on with; the next one begins there."""
    process = terminal.start("follow", "--json", "--from", "start")
    seen = [json.loads(process.stdout.readline()) for _ in range(3)]
    terminal.ok("approve", ID)
    seen.append(json.loads(process.stdout.readline()))
    process.send_signal(number)
    output, said = process.communicate(timeout=60)

    assert (process.returncode, output) == (0, "")
    assert said == f"Continue with: registration follow --from {seen[3]['cursor']}\n"
    assert [one["event"]["version"] for one in seen] == [1, 1, 2, 3]
    assert terminal.ok("follow", "--once", "--from", seen[3]["cursor"]) == ""


def test_follow_from_now_says_where_it_is(terminal):
    """Also where nothing came."""
    process = terminal.start("follow")
    until_it_watches(process)
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=60)

    assert (process.returncode, output) == (0, "")
    cursor = said.split()[-1]
    assert terminal.ok("follow", "--once", "--from", cursor) == ""


def test_a_reader_that_goes_away_ends_it_without_a_word(terminal):
    """As with every other tool in a pipe."""
    process = terminal.start("follow", "--from", "start")
    process.stdout.readline()
    process.stdout.close()
    terminal.ok("approve", ID)
    terminal.ok("reject", "--reason", "x", ID)

    assert process.wait(60) in (0, 1)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_follow_as_a_consumer_goes_on_where_it_was(terminal):
    """The place is kept under its name; it can be put elsewhere, and forgotten."""
    assert len(terminal.ok("follow", "--once", "--consumer", "index").splitlines()) == 3
    assert terminal.ok("follow", "--once", "--consumer", "index") == ""
    terminal.ok("approve", ID)
    assert len(terminal.ok("follow", "--once", "--consumer", "index").splitlines()) == 1
    assert terminal.ok("follow", "--once", "--consumer", "new", "--from", "now") == ""

    assert "already has a position" in terminal.fails(
        2, "follow", "--once", "--consumer", "index", "--from", "start"
    )
    assert terminal.ok("consumers", "reset", "index", "--to", "start") == "index is at start.\n"
    assert len(terminal.ok("follow", "--once", "--consumer", "index").splitlines()) == 4
    assert terminal.ok("consumers", "delete", "index") == "index was deleted.\n"
    assert "no consumer 'index'" in terminal.fails(3, "consumers", "status", "index")


def test_a_consumer_that_is_ended_keeps_its_place(terminal):
    """And while it is at work, nobody else is under its name."""
    process = terminal.start("follow", "--consumer", "index")
    for _ in range(3):
        process.stdout.readline()
    assert f"in use by process {process.pid}" in terminal.fails(6, "follow", "--once", "--consumer", "index")
    (status,) = json_lines(terminal.ok("consumers", "status", "--json"))
    assert (status["state"], status["holder"]["pid"]) == ("running", process.pid)
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=60)

    assert (process.returncode, output, said) == (0, "", "")
    assert terminal.ok("follow", "--once", "--consumer", "index") == ""


def test_the_status_of_consumers_is_a_table(terminal):
    """How far behind each is; none is no error."""
    assert "There are no consumers yet" in terminal.type("consumers", "status").stderr
    terminal.ok("follow", "--once", "--consumer", "index")
    terminal.ok("consumers", "reset", "late", "--to", "start")

    rows = [line.split("  ") for line in terminal.ok("consumers", "status").splitlines()]

    assert [row[0] for row in rows] == ["index", "late"]
    assert "up to date" in rows[0]
    assert any("3 events behind" in cell for cell in rows[1])


def test_what_failed_is_shown_and_helped_on(terminal, root):
    """The entry, the error, and what to type next; a reason is asked for."""
    from registration import ConsumerBlocked, RegistrationPipeline, RetryPolicy

    def fail(_entry):
        raise ValueError("too \x1b[31mlarge")

    def block():
        with RegistrationPipeline(root) as pipeline, pytest.raises(ConsumerBlocked):
            pipeline.feed.consumer("index").run(fail, once=True, retry=RetryPolicy(attempts_max=1))

    (made, *_) = json_lines(terminal.ok("follow", "--once", "--json", "--from", "start"))
    terminal.ok("consumers", "reset", "index", "--to", made["cursor"])
    block()
    said = terminal.fails(1, "consumers", "status")
    assert f"index: {ID} version 1 (create): ValueError: too \\x1b[31mlarge (1 attempt since " in said
    assert "Next: registration consumers retry index" in said
    assert terminal.ok("consumers", "retry", "index") == f"index will retry {ID} version 1 (create).\n"
    assert "no failed entry" in terminal.fails(2, "consumers", "skip", "index", "--reason", "x")
    block()
    assert "--reason" in terminal.fails(2, "consumers", "skip", "index")
    assert (
        terminal.ok("consumers", "skip", "index", "--reason", "large")
        == f"index passes {ID} version 1 (create).\n"
    )
    (status,) = json_lines(terminal.ok("consumers", "status", "--json", "index"))
    assert status["skipped"][0]["reason"] == "large"
    for command in (("retry",), ("skip", "--reason", "x")):
        block()
        found = json.loads(terminal.ok("consumers", command[0], "index", *command[1:], "--json"))
        assert found["consumer"] == "index"
    assert (
        json.loads(terminal.ok("consumers", "reset", "--json", "index", "--to", "start"))["cursor"] == "start"
    )
    assert json.loads(terminal.ok("consumers", "delete", "--json", "index")) == {
        "consumer": "index",
        "deleted": True,
    }


def test_mistakes_that_people_make(terminal):
    """Each says what to do."""
    assert "is not a cursor" in terminal.fails(2, "follow", "--once", "--from", "17")
    assert "belongs to another feed" in terminal.fails(2, "follow", "--once", "--from", "9-00000000:17")
    assert "Invalid consumer name" in terminal.fails(2, "follow", "--once", "--consumer", "a b")
    assert "'10' is not a time" in terminal.fails(2, "wait", ID, "--for", "DRAFT", "--timeout", "10")
    assert "Did you mean" in terminal.fails(3, "wait", ID[:-1], "--for", "DRAFT")
    assert "has no state 'GONE'" in terminal.fails(2, "wait", ID, "--for", "GONE")
    assert "Unknown command 'list'" in terminal.fails(2, "consumers", "list")
    assert "There is no " in terminal.fails(3, "hooks", "run", "--once")


def test_wait_tells_by_its_exit_code(terminal):
    """0 where it is there, 8 where it did not come in time, 4 where it never can."""
    assert terminal.ok("wait", ID, "--for", "reviewed") == f"{ID}  REVIEWED  (version 2)\n"
    assert json.loads(terminal.ok("wait", ID, "--for", "REVIEWED", "--json"))["version"] == 2
    assert "did not reach APPROVED in 1 s" in terminal.fails(
        8, "wait", ID, "--for", "approved", "--timeout", "1s"
    )
    terminal.ok("approve", ID)
    terminal.ok("register", ID)
    assert "no path from there to DRAFT" in terminal.fails(4, "wait", ID, "--for", "DRAFT")


def test_wait_ends_when_somebody_else_is_done(terminal, monkeypatch):
    """In another process, between two looks."""
    looked, approved = waiting._refuse_without_way, []

    def look(*asked):
        looked(*asked)
        process = terminal.start("approve", ID, "--actor", "bea")
        process.communicate()
        approved.append(process.returncode)

    monkeypatch.setattr(waiting, "_refuse_without_way", look)
    result = terminal.type("wait", ID, "--for", "APPROVED", "--timeout", "60s")

    assert approved == [0]
    assert (result.exit_code, result.output) == (0, f"{ID}  APPROVED  (version 3)\n")


HOOKS = """
[[hooks]]
name = "index"
command = ["./index.sh"]
states = ["REVIEWED"]
start = "start"
attempts_max = 2
wait_s = 0.001
"""


@pytest.fixture
def hooked(terminal, root):
    (root / "hooks.toml").write_text(HOOKS)
    _script(root, "cat >> got; echo >> got")
    return terminal


def _script(root, text):
    path = root / "index.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)


def test_hooks_are_checked_tried_and_run(hooked, root):
    """From the file to the first delivery."""
    assert hooked.ok("hooks", "check") == "index  ./index.sh  states REVIEWED\n"
    assert json.loads(hooked.ok("hooks", "check", "--json"))["problems"] == []
    assert hooked.ok("hooks", "test", "index") == "Delivered to index.\n"
    assert json.loads(hooked.ok("hooks", "test", "--json", "index"))["delivered"] is True
    assert hooked.ok("hooks", "run", "--once") == f"index  {ID} version 2 (submit_for_review)  delivered\n"
    assert hooked.ok("hooks", "run", "--once") == ""
    assert [status["name"] for status in json_lines(hooked.ok("consumers", "status", "--json"))] == [
        "hook:index"
    ]

    types = [event["type"] for event in json_lines((root / "got").read_text())]
    assert types == ["registration.hook_tested.v1"] * 2 + ["registration.submitted_for_review.v1"]


def test_a_hook_that_fails_is_shown_and_its_dead_letters_are_delivered(hooked, root):
    """By exit codes as well: what could not be delivered is a 1."""
    _script(root, "echo 'no index' >&2; exit 3")

    said = hooked.fails(1, "hooks", "run", "--once")
    assert f"index  {ID} version 2 (submit_for_review)  failed, retry at " in said
    assert "./index.sh exited with 3: no index" in said
    assert "Error: delivery to index failed: ./index.sh exited with 3" in hooked.fails(
        1, "hooks", "test", "index"
    )
    while "given up" not in (said := hooked.type("hooks", "run", "--once").stderr):
        assert said == "" or "failed" in said
    letters = json_lines(hooked.ok("hooks", "dead-letters", "--json"))
    assert [letter["event"]["version"] for letter in letters] == [2]
    assert "2 attempts  ./index.sh exited with 3" in hooked.ok("hooks", "dead-letters", "index")
    assert "given up" in hooked.fails(1, "hooks", "redeliver")
    _script(root, "exit 0")

    assert hooked.ok("hooks", "redeliver", "index").endswith("delivered\n")
    for words in (("dead-letters",), ("redeliver",)):
        assert "There are no dead letters" in hooked.type("hooks", *words).stderr
    assert hooked.ok("hooks", "run", "--once") == ""


def test_a_file_of_hooks_that_can_not_be_meant_is_named(hooked, root):
    """Every problem, and nothing is run; what is only missing is a 1."""
    (root / "index.sh").unlink()
    result = hooked.type("hooks", "check")
    assert (result.exit_code, result.stderr) == (
        1,
        "  - ./index.sh can't be started: it is missing or not executable\n",
    )
    (root / "hooks.toml").write_text(HOOKS.replace("REVIEWED", "GONE") + 'colour = "red"\n')
    for command in ("check", "run"):
        said = hooked.fails(2, "hooks", command)
        assert "  - hooks[0].states: 'GONE' is not a state of the lifecycle" in said
        assert "  - hooks[0].colour: unknown member" in said
    (root / "hooks.toml").write_text("")
    for words in (("check",), ("run", "--once")):
        assert "There are no hooks in hooks.toml" in hooked.type("hooks", *words).stderr


def test_hooks_run_until_they_are_ended(hooked, root):
    """Delivering what comes; JSON for programs."""
    process = hooked.start("hooks", "run", "--json")
    first = json.loads(process.stdout.readline())
    hooked.ok("reject", "--reason", "x", ID)
    hooked.ok("submit", ID)
    second = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=60)

    assert (process.returncode, output, said) == (0, "", "")
    assert [one["outcome"] for one in (first, second)] == ["delivered", "delivered"]
    assert second["entry"] == f"{ID} version 4 (submit_for_review)"
