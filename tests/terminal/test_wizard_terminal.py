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
from tests.kit.typed import process_environment, run
from tests.kit.wizards import SURVEY

ASKED = [("one", "a word"), ("two", "7"), ("three", "red"), ("Enter completes it", "")]
"""What is asked in turn, and what is typed."""

ANSWERS = {"FIRST": {"one": "a word", "two": 7}, "SECOND": {"three": "red"}}


class AtTerminal:
    """A `registration` whose input and output are a terminal."""

    def __init__(self, place, *words):
        self.fd, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "registration", *words],
            cwd=place,
            env=process_environment(place),
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
        while "Continue with" not in self.shown[self._read :] and self.process.poll() is None:
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


@pytest.fixture
def place(tmp_path):
    RegistrationPipeline(tmp_path / "registry").close()
    (tmp_path / "survey.toml").write_text(SURVEY)
    return tmp_path


@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9"])
@pytest.mark.slow
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
        assert f"Continue with: registration wizard resume {done['session']}" in first.shown


def kept(asked):
    """By step, what was answered before that question."""
    return [{}, {"FIRST": {"one": "a word"}}, {"FIRST": ANSWERS["FIRST"]}, ANSWERS][asked]


@pytest.mark.slow
def test_of_two_terminals_one_asks(place):
    """The other is told who is at it, and may wait; declining changes nothing."""
    first = AtTerminal(place, "wizard", "start", "./survey.toml")
    first.wait_for("one")
    second = AtTerminal(place, "wizard", "resume")
    second.wait_for("has been working on it since")
    second.wait_for("then take over?")
    second.type("n\n")

    refused = second.end()
    first.interrupt()
    first.end()

    assert refused == 6
    assert "ada, process" in second.shown
    assert run(place, "wizard", "resume", "--set", "/FIRST/one=x", "--set", "/FIRST/two=1").exit_code == 0


GUESTS = """
name = "guests"
title = "Guests"

[[steps]]
name = "GUESTS"
title = "Guests"

[steps.form]
type = "object"
required = ["guests"]

[steps.form.properties.guests]
type = "array"
minItems = 1
items = { type = "object", required = ["name", "age"], properties = { name = { type = "string", pattern = "^[a-z]+$" }, age = { type = "integer" } } }

[[steps]]
name = "REVIEW"
title = "All of it"
kind = "review"
"""

LISTED = [
    ("1. name", "ada"),
    ("1. age", "36"),
    ("[done]", "add"),
    ("2. name", "bea"),
    ("2. age", "9"),
    ("[done]", ""),
]


@pytest.mark.slow
@pytest.mark.parametrize("asked", range(len(LISTED)))
def test_a_list_that_is_left_half_way_keeps_what_was_said_of_each_item(place, asked):
    """A kill at every question; whoever goes on is asked for what is missing, with the rest proposed."""
    (place / "guests.toml").write_text(GUESTS)
    first = AtTerminal(place, "wizard", "start", "./guests.toml")
    for question, typed in LISTED[:asked]:
        first.wait_for(question)
        first.type(typed + "\n")
    first.wait_for(LISTED[asked][0])
    first.process.send_signal(signal.SIGKILL)
    first.end()
    drafted = json.loads(run(place, "wizard", "show", "--json").stdout)["draft"]

    again = AtTerminal(place, "wizard", "resume")
    for question, typed in {
        0: LISTED,
        1: [("1. name [ada]", ""), *LISTED[1:]],
        2: LISTED[2:],
        3: LISTED[2:],
        4: [("2. name [bea]", ""), *LISTED[4:]],
        5: LISTED[5:],
    }[asked]:
        again.wait_for(question)
        again.type(typed + "\n")
    again.wait_for("Enter completes it")
    again.type("\n")

    guests = [{"name": "ada", "age": 36}, {"name": "bea", "age": 9}]
    said = [[], [{"name": "ada"}], guests[:1], guests[:1], [guests[0], {"name": "bea"}], guests][asked]
    assert drafted == ({"GUESTS": {"guests": said}} if said else {})
    assert again.end() == 0, again.shown
    assert json.loads(run(place, "wizard", "list", "--all", "--json").stdout)["answers"] == {
        "GUESTS": {"guests": guests}
    }


def test_an_item_is_looked_at_as_soon_as_it_is_said(place):
    """Each member for itself; what has no help says what it wants."""
    (place / "guests.toml").write_text(GUESTS)
    terminal = AtTerminal(place, "wizard", "start", "./guests.toml")
    terminal.wait_for("1. name")
    terminal.type("Ada\n")
    terminal.wait_for("! at /guests/0/name")
    terminal.wait_for("1. name")
    terminal.type("ada\n")
    terminal.wait_for("1. age")
    terminal.type("?\n")
    terminal.wait_for("Expected: a whole number.")
    terminal.wait_for("1. age")
    terminal.type("old\n")
    terminal.wait_for("'old' is not a whole number")
    terminal.interrupt()
    terminal.end()
