"""How an actor came in: what the system says of the process, whatever its environment says."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys

import pytest

from registration.engine.origin import came_in

TELL = "import json; from registration.engine.origin import came_in; tell = lambda: print(json.dumps(came_in()), flush=True)"


def told(program, **environment):
    """What a process prints, a JSON value a line."""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_it_is_the_user_of_the_process_and_the_host():
    """User id, login and host; the caller may do with it as they like."""
    found = came_in()
    found["login"] = "mallory"

    assert came_in() == {
        "uid": os.getuid(),
        "login": pwd.getpwuid(os.getuid()).pw_name,
        "host": os.uname().nodename,
    }


def test_the_environment_has_no_say():
    """None of the variables that other programs believe."""
    pretended = dict.fromkeys(("LOGNAME", "USER", "USERNAME", "SUDO_USER", "HOSTNAME", "HOST"), "mallory")

    assert told(f"{TELL}; tell()", **pretended) == [came_in()]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_process_that_becomes_another_user_comes_in_as_that_one():
    """A forked child as well; a user without a login has none."""
    program = (
        f"{TELL}; import os; tell(); child = os.fork()\n"
        "if child == 0:\n    os.setuid(65534); tell(); os._exit(0)\n"
        "os.waitpid(child, 0); tell(); os.setuid(54321); tell()"
    )

    found = told(program)

    assert [one["uid"] for one in found] == [0, 65534, 0, 54321]
    assert [one["login"] for one in found] == ["root", pwd.getpwuid(65534).pw_name, "root", None]
