"""A wizard at a real terminal: asked, left by Ctrl-C or by `kill -9` at every step, and gone on with."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys

import pytest

from registration import RegistrationPipeline

SURVEY = """
name = "survey"
title = "A survey"

[[steps]]
name = "FIRST"
title = "First"
form = { type = "object", required = ["one", "two"], properties = { one = { type = "string" }, two = { type = "integer" } } }

[[steps]]
name = "SECOND"
title = "Second"
form = { type = "object", required = ["three"], properties = { three = { enum = ["red", "blue"] } } }

[[steps]]
name = "REVIEW"
title = "All of it"
kind = "review"
"""

ASKED = [("one", "a word"), ("two", "7"), ("three", "red"), ("Enter ends it", "")]
"""What is asked in turn, and what is typed."""

ANSWERS = {"FIRST": {"one": "a word", "two": 7}, "SECOND": {"three": "red"}}


class AtTerminal:
    """A `registration` whose input and output are a terminal."""

    def __init__(self, place, *words):
        self.fd, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "registration", *words],
            cwd=place,
            env=environment(place),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=take_terminal,  # noqa: PLW1509  # no thread runs beside it, and nothing else makes it a terminal
        )
        os.close(theirs)
        self.shown = ""
        self._read = 0

    def wait_for(self, text):
        """Read until that was shown after all that was waited for before."""
        while text not in self.shown[self._read :]:
            assert self._more(), f"{text!r} never came: {self.shown}"
        self._read = self.shown.index(text, self._read) + len(text)

    def type(self, text):
        os.write(self.fd, text.encode())

    def interrupt(self):
        """Type Ctrl-C, and again where it came between the question and the reading of an answer, as anybody would."""
        self.type("\x03")
        while "Go on with" not in self.shown[self._read :] and self.process.poll() is None:
            if select.select([self.fd], [], [], 2)[0]:
                if not self._more():
                    break
            else:
                self.type("\x03")

    def end(self):
        """Read all that is left; the exit code."""
        while self._more():
            pass
        os.close(self.fd)
        return self.process.wait()

    def _more(self):
        assert select.select([self.fd], [], [], 60)[0], f"nothing more comes: {self.shown}"
        try:
            found = os.read(self.fd, 65536)
        except OSError:  # nobody is at the other side any more
            return False
        self.shown += found.decode()
        return bool(found)


def take_terminal():
    """Let Ctrl-C, typed at its terminal, reach the process."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def environment(place):
    return {
        **os.environ,
        "REGISTRATION_ROOT": str(place / "registry"),
        "REGISTRATION_ACTOR": "ada",
        "NO_COLOR": "1",
    }


def run(place, *words):
    """The same without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "registration", *words],
        cwd=place, env=environment(place), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@pytest.fixture
def place(tmp_path):
    RegistrationPipeline(tmp_path / "registry").close()
    (tmp_path / "survey.toml").write_text(SURVEY)
    return tmp_path


@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9"])
@pytest.mark.parametrize("asked", range(len(ASKED)))
def test_a_session_that_is_left_goes_on_where_it_was_with_every_answer(place, asked, how):
    """At every question: all that was answered before is there, and what is left to ask leads to the end."""
    first = AtTerminal(place, "wizard", "start", "./survey.toml")
    for question, typed in ASKED[:asked]:
        first.wait_for(question)
        first.type(typed + "\n")
    first.wait_for(ASKED[asked][0])
    if how == "Ctrl-C":
        first.interrupt()
    else:
        first.process.send_signal(signal.SIGKILL)
    code = first.end()

    shown = json.loads(run(place, "wizard", "show", "--json").stdout)
    again = AtTerminal(place, "wizard", "resume")
    beginning = {0: 0, 1: 0, 2: 2, 3: 3}[
        asked
    ]  # a step is asked from its first field on, what was said is proposed
    for number, (question, typed) in enumerate(ASKED[beginning:], beginning):
        again.wait_for(question)
        again.type("\n" if number < asked else typed + "\n")
    ended = again.end()

    assert {**shown["answers"], **shown["draft"]} == kept(asked)
    assert ended == 0, again.shown
    (done,) = [
        json.loads(line) for line in run(place, "wizard", "list", "--all", "--json").stdout.splitlines()
    ]
    assert (done["state"], done["answers"]) == ("COMPLETE", ANSWERS)
    if how == "Ctrl-C":
        assert code == 1
        assert f"Go on with: registration wizard resume {done['session']}" in first.shown


def kept(asked):
    """By step, what was answered before that question."""
    return [{}, {"FIRST": {"one": "a word"}}, {"FIRST": ANSWERS["FIRST"]}, ANSWERS][asked]


def test_of_two_terminals_one_asks(place):
    """The other is told who is at it, and may wait; declining changes nothing."""
    first = AtTerminal(place, "wizard", "start", "./survey.toml")
    first.wait_for("one")
    second = AtTerminal(place, "wizard", "resume")
    second.wait_for("is at it since")
    second.wait_for("take over then?")
    second.type("n\n")

    refused = second.end()
    first.interrupt()
    first.end()

    assert refused == 6
    assert "ada, process" in second.shown
    assert run(place, "wizard", "resume", "--set", "/FIRST/one=x", "--set", "/FIRST/two=1").returncode == 0
