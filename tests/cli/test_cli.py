"""The command line, as somebody at a terminal or a script meets it."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from registration import RegistrationPipeline
from registration.cli.app import COMMANDS, app
from registration.cli.exits import EXIT_CODES, exit_code
from registration.cli.output import Progress, printable
from registration.engine import origin
from registration.errors import (
    AlreadyExists,
    CorruptLog,
    GuardRefused,
    InvalidArgument,
    LockTimeout,
    NotFound,
    StoreError,
    VersionConflict,
)
from registration.storage.disk import PosixDisk
from registration.storage.layout import directory_of
from tests.kit.policies import put_in_force

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SERVER = str(FIXTURES / "manifests" / "mcp-server.json")
ID = "io.github.acme/weather@1.2.0"


class Terminal:
    """A registry, and somebody who types commands at it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def type(self, *words: str, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(
            app,
            words,
            input=input,
            prog_name="registration",
            env={"REGISTRATION_ROOT": str(self.root), "REGISTRATION_ACTOR": "ada"},
        )

    def ok(self, *words: str, input: str | bytes | None = None) -> str:
        result = self.type(*words, input=input)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *words: str) -> dict[str, object]:
        found = json.loads(self.ok(*words, "--json"))
        assert isinstance(found, dict)
        return found

    def fails(self, code: int, *words: str, input: str | bytes | None = None) -> str:
        result = self.type(*words, input=input)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        assert "should not happen" not in result.output
        assert result.stdout == ""
        return result.stderr


@pytest.fixture
def terminal(root: Path) -> Terminal:
    terminal = Terminal(root)
    terminal.ok("init")
    return terminal


@pytest.fixture
def drafted(terminal: Terminal) -> Terminal:
    terminal.ok("create", SERVER)
    return terminal


# -- the main job ------------------------------------------------------------------------------------------


def test_a_manifest_goes_from_draft_to_registered(terminal: Terminal) -> None:
    """The whole lifecycle, one command a step, and the log tells it all."""
    terminal.ok("create", SERVER)
    terminal.ok("submit", ID)
    terminal.ok("reject", ID, "--reason", "no licence", "--actor", "bea")
    terminal.ok("revise", ID, SERVER, "--comment", "licence added")
    terminal.ok("transition", ID, "reviewed")
    terminal.ok("approve", ID, "--actor", "bea", "--context", '{"ticket": "SEC-12"}')
    terminal.ok("register", ID)

    rows = [line.split() for line in terminal.ok("log", ID).splitlines()]
    assert [row[3:5] for row in rows] == [
        ["ada", "create"],
        ["ada", "submit_for_review"],
        ["bea", "reject"],
        ["ada", "revise"],
        ["ada", "submit_for_review"],
        ["bea", "approve"],
        ["ada", "register"],
    ]
    assert terminal.json("show", ID)["state"] == "REGISTERED"


def test_what_is_next_is_said_on_stderr_only(terminal: Terminal) -> None:
    """Data goes to stdout, talk to stderr, so a pipe gets data."""
    result = terminal.type("create", SERVER)

    assert result.stdout == f"{ID}  DRAFT  (version 1)\n"
    assert result.stderr == f"Next: registration submit {ID}\n"


def test_a_document_can_come_from_standard_input(terminal: Terminal) -> None:
    """`-` reads standard input, as in a pipe from curl."""
    terminal.ok("create", "--id", "piped", "-", input=b'{"name": "x"}')

    assert json.loads(terminal.ok("show", "--document", "piped")) == {"name": "x"}


def test_the_document_comes_back_as_it_was_given(drafted: Terminal) -> None:
    """`show --document` prints it, member for member, in the order given."""
    printed = drafted.ok("show", "--document", ID)

    assert list(json.loads(printed).items()) == list(json.loads(Path(SERVER).read_text("utf-8")).items())
    assert len(drafted.ok("show", "--document", "--json", ID).splitlines()) == 1


def test_show_tells_who_approved_what(drafted: Terminal) -> None:
    """The evidence of an approval is on one screen."""
    drafted.ok("submit", ID)
    drafted.ok("approve", ID, "--actor", "bea")

    shown = drafted.ok("show", ID)

    assert "state     APPROVED" in shown
    assert "approved  by bea, " in shown
    assert "sha256:30c02911669b1fba609bdae3191792dfe86a38859da0ce8ca88b1bc260db4bce" in shown


def test_list_filters_by_state_and_by_parent_state(drafted: Terminal) -> None:
    """A parent state stands for its children, in whatever case it is typed."""
    drafted.ok("create", "--id", "other", SERVER)
    drafted.ok("submit", "other")

    assert [line.split()[0] for line in drafted.ok("list").splitlines()] == [ID, "other"]
    assert drafted.ok("list", "--state", "draft").split()[0] == ID
    assert drafted.ok("list", "--state", "In_Review").split()[0] == "other"


def test_an_empty_list_says_so_on_stderr(terminal: Terminal) -> None:
    """Nothing is printed as data where there is nothing."""
    everything, approved = terminal.type("list"), terminal.type("list", "--state", "approved")

    assert (everything.stdout, approved.stdout) == ("", "")
    assert "Next: registration create FILE" in everything.stderr
    assert approved.stderr == "No manifest is in APPROVED.\n"


def test_a_repeated_key_says_that_nothing_was_written(drafted: Terminal) -> None:
    """The first answer comes again, and the log doesn't grow."""
    first = drafted.ok("submit", ID, "--idempotency-key", "k")
    again = drafted.type("submit", ID, "--idempotency-key", "k")

    assert again.stdout == first
    assert "nothing was written" in again.stderr
    assert len(drafted.ok("log", ID).splitlines()) == 2


def test_init_twice_changes_nothing(terminal: Terminal) -> None:
    """A registry that is there stays as it is."""
    before = (terminal.root / "registry.json").read_bytes()

    said = terminal.ok("init", str(terminal.root), "--document-bytes-max", "10")

    assert "is already a registry" in said
    assert (terminal.root / "registry.json").read_bytes() == before


def test_init_sets_how_large_a_document_may_be(tmp_path: Path) -> None:
    """The limit holds for what is created later."""
    terminal = Terminal(tmp_path / "small")

    terminal.ok("init", "--document-bytes-max", "100")

    assert "at most 100 are allowed" in terminal.fails(4, "create", SERVER)


# -- which registry, which actor ---------------------------------------------------------------------------


def test_the_registry_is_found_in_a_directory_above(
    drafted: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with git, a command works anywhere below the root."""
    below = drafted.root / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.delenv("REGISTRATION_ROOT", raising=False)

    result = CliRunner().invoke(app, ["list"])

    assert result.stdout.split()[0] == ID


def test_a_registry_json_of_another_tool_is_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one that has manifests beside it is ours."""
    (tmp_path / "registry.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGISTRATION_ROOT", raising=False)

    result = CliRunner().invoke(app, ["list"])

    assert result.exit_code == 3
    assert "registration init" in result.stderr


def test_the_option_wins_over_the_environment(drafted: Terminal, tmp_path: Path) -> None:
    """`--registry` counts before or after the command, and the later one more."""
    elsewhere = str(tmp_path / "elsewhere")
    drafted.ok("init", elsewhere)

    assert drafted.ok("--registry", elsewhere, "list") == ""
    assert drafted.ok("list", "--registry", elsewhere) == ""
    assert drafted.ok("--registry", elsewhere, "list", "--registry", str(drafted.root)) != ""


def test_the_actor_is_the_option_then_the_environment_then_the_login(
    drafted: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody always acts; and the login is the system's, whatever the environment says of it."""
    monkeypatch.setenv("LOGNAME", "dan")
    drafted.ok("submit", ID, "--actor", "bea")
    drafted.ok("reject", ID, "--reason", "no")
    environment = {"REGISTRATION_ROOT": str(drafted.root), "REGISTRATION_ACTOR": None}
    CliRunner().invoke(app, ["submit", ID], env=environment)

    actors = [event.actor for event in RegistrationPipeline(drafted.root).history(ID)]

    assert actors == ["ada", "bea", "ada", pwd.getpwuid(os.getuid()).pw_name]


def test_the_login_acts_where_the_policy_says_so(drafted: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name from an option or the environment is refused, saying which login was found; without one, the login acts."""
    login = pwd.getpwuid(os.getuid()).pw_name
    put_in_force(drafted.root, '[actors]\nsource = ["login"]\n')
    monkeypatch.setenv("LOGNAME", "dan")
    environment = {"REGISTRATION_ROOT": str(drafted.root)}

    refused = [
        CliRunner().invoke(app, words, env={**environment, "REGISTRATION_ACTOR": named})
        for words, named in ((["submit", ID], "dan"), (["submit", ID, "--actor", "dan"], None))
    ]
    why = CliRunner().invoke(
        app, ["why", ID, "submit_for_review"], env={**environment, "REGISTRATION_ACTOR": "dan"}
    )
    taken = CliRunner().invoke(app, ["submit", ID], env={**environment, "REGISTRATION_ACTOR": None})

    assert [result.exit_code for result in refused] == [4, 4]
    assert all(
        f"the login is {login!r} (user {os.getuid()} on {os.uname().nodename}), and 'dan' is another name"
        in result.stderr
        for result in refused
    )
    assert f"the login is {login!r}" in why.stdout
    assert taken.exit_code == 0
    assert [event.actor for event in RegistrationPipeline(drafted.root).history(ID)] == ["ada", login]


def test_where_nobody_has_a_name_the_environment_or_the_user_id_acts(
    drafted: Terminal, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A container without a passwd entry is no reason to fail; its events say that the login is unknown."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    origin._of.cache_clear()
    request.addfinalizer(origin._of.cache_clear)
    environment = {"REGISTRATION_ROOT": str(drafted.root), "REGISTRATION_ACTOR": ""}
    CliRunner().invoke(app, ["submit", ID], env=environment)
    CliRunner().invoke(app, ["reject", "--reason", "no", ID], env={**environment, "LOGNAME": "dan"})

    events = list(RegistrationPipeline(drafted.root).history(ID))

    assert [event.actor for event in events] == ["ada", f"uid:{os.getuid()}", "dan"]
    assert [event.data["via"]["login"] for event in events[1:]] == [None, None]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736", False),
    ],
)
def test_a_trace_context_is_handed_on(
    drafted: Terminal, monkeypatch: pytest.MonkeyPatch, given: str, kept: bool
) -> None:
    """TRACEPARENT goes into the event, where it is well-formed."""
    monkeypatch.setenv("TRACEPARENT", given)
    drafted.ok("submit", ID)

    *_, event = RegistrationPipeline(drafted.root).history(ID)

    assert event.traceparent == (given if kept else None)


# -- JSON --------------------------------------------------------------------------------------------------


def test_json_may_be_asked_for_before_or_after_the_command(drafted: Terminal) -> None:
    """Both print the same."""
    assert drafted.ok("--json", "list") == drafted.ok("list", "--json")
    assert json.loads(drafted.ok("--json", "list"))["manifest_id"] == ID


def test_log_json_is_the_log_as_it_stands(drafted: Terminal) -> None:
    """What is printed can be fed to any CloudEvents consumer, and its chain checked."""
    drafted.ok("submit", ID)

    log = drafted.root / "manifests" / directory_of(ID) / "events.jsonl"

    assert drafted.ok("log", "--json", ID).encode() == log.read_bytes()


def test_an_error_in_json_goes_to_stderr(drafted: Terminal) -> None:
    """A program gets the error's name, its message, the next step and the facts."""
    error = json.loads(drafted.fails(4, "approve", ID, "--json"))

    assert error["error"] == "illegal_transition"
    assert error["details"]["allowed"] == {"revise": "DRAFT", "submit_for_review": "REVIEWED"}
    assert error["next_step"].startswith("From DRAFT it can:")


# -- mistakes that people make -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (2, ("aprove", ID), "Unknown command 'aprove'. Did you mean 'approve'?"),
        (2, ("submit",), "Missing argument 'ID'"),
        (2, ("transition", ID, "REVEIWED"), "no state 'REVEIWED'. Did you mean 'REVIEWED'?"),
        (2, ("list", "--state", "none"), "Its states are DRAFT, REVIEWED, APPROVED, REGISTERED."),
        (2, ("show", "../../etc/passwd"), "it begins with '.'"),
        (2, ("create", "--id", "a b", SERVER), "it has ' '"),
        (2, ("submit", ID, "--context", "{"), "Pass a JSON object: --context"),
        (2, ("submit", ID, "--context", '{"reason": "x"}'), "reason: given twice, or not accepted here"),
        (2, ("submit", ID, "--actor", ""), "actor: expected 1 to 200 characters"),
        (2, ("submit", ID, "--expected-version", "-1"), "Invalid value for '--expected-version'"),
        (3, ("show", "io.github.acme/wether@1.2.0"), f"Did you mean '{ID}'?"),
        (3, ("submit", "nothing-like-it"), "See the list of existing ones: `registration list`."),
        (3, ("verify", "nothing-like-it"), "There is no manifest 'nothing-like-it'."),
        (3, ("recover", "nothing-like-it"), "There is no manifest 'nothing-like-it'."),
        (3, ("create", "nowhere.json"), "There is no file nowhere.json."),
        (3, ("list", "--registry", "/nowhere"), "Make one: `registration init /nowhere`."),
        (4, ("create", SERVER), "exists already: it is DRAFT, at version 1."),
        (4, ("register", ID), "From DRAFT it can: revise (to DRAFT), submit_for_review (to REVIEWED)."),
        (4, ("transition", ID, "DRAFT"), "it is there already"),
        (5, ("submit", ID, "--expected-version", "7"), "expected at version 7, but it is at version 1."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_named_and_the_next_step_told(
    drafted: Terminal, code: int, words: tuple[str, ...], said: str
) -> None:
    """Each has its exit code, says what is wrong and what to do, and writes nothing."""
    message = drafted.fails(code, *words)

    assert said in " ".join(message.split())
    assert len(drafted.ok("log", ID).splitlines()) == 1


def test_a_rejection_needs_a_reason(drafted: Terminal) -> None:
    """By its own command or by naming the state, with blanks or without."""
    drafted.ok("submit", ID)

    for words in (("reject", ID), ("reject", ID, "--reason", "  "), ("transition", ID, "DRAFT")):
        assert "a reason is required" in drafted.fails(4, *words)
    assert "Next: registration reject" in drafted.fails(4, "reject", ID)


@pytest.mark.parametrize("file", sorted((FIXTURES / "invalid").iterdir()), ids=lambda path: path.name)
def test_a_bad_document_is_refused_with_its_name(terminal: Terminal, file: Path) -> None:
    """The message says which file, where in it, and what is wrong."""
    message = terminal.fails(4, "create", str(file))

    assert file.name in message or "Without an id" in message
    assert terminal.ok("list") == ""


def test_many_problems_are_listed_one_a_line(terminal: Terminal) -> None:
    """All at once, so that they can be mended at once."""
    message = terminal.fails(4, "create", str(FIXTURES / "invalid" / "not-finite.json"))

    assert [line[:13] for line in message.splitlines() if line.startswith("  - ")] == [
        "  - at /weigh",
        "  - at /share",
        "  - at /size:",
    ]


def test_a_file_that_can_not_be_read_is_named(terminal: Terminal, tmp_path: Path) -> None:
    """A directory is no document."""
    assert "Is a directory" in terminal.fails(1, "create", str(tmp_path))


def test_no_registry_anywhere_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing that a newcomer meets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGISTRATION_ROOT", raising=False)

    result = CliRunner().invoke(app, ["list"])

    assert result.exit_code == 3
    assert "Create one with `registration init`, or name one: `--registry DIR`" in result.stderr


def test_whoever_holds_the_lock_is_waited_for_and_then_reported(drafted: Terminal) -> None:
    """A lock that isn't given up ends in its own exit code, and nothing is written."""
    disk = PosixDisk()
    log = os.open(drafted.root / "manifests" / directory_of(ID) / "events.jsonl", os.O_RDWR)
    assert disk.lock(log, 0)

    try:
        message = drafted.fails(6, "submit", ID, "--lock-timeout", "0.05")
    finally:
        os.close(log)

    assert "Timed out after 0.05 s waiting for the lock" in message


def test_control_characters_are_shown_and_not_obeyed(drafted: Terminal) -> None:
    """A comment can't paint the terminal of whoever reads the log."""
    drafted.ok("submit", ID, "--comment", "ok \x1b[31mred\n\x07")

    shown = drafted.ok("log", ID)

    assert "ok \\x1b[31mred\\n\\x07" in shown or "ok \\x1b[31mred" in shown
    assert "\x1b" not in shown
    assert printable("é 会 \x00") == "é 会 \\x00"


def test_a_defect_of_ours_is_no_traceback(drafted: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever meets one is told how to report it, and gets the traceback on request."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(RegistrationPipeline, "load_state", broken)
    quiet = drafted.type("show", ID)
    monkeypatch.setenv("REGISTRATION_TRACEBACK", "1")
    loud = drafted.type("show", ID)

    assert (quiet.exit_code, loud.exit_code) == (1, 1)
    assert "unexpected failure: ZeroDivisionError: oops" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


# -- damage ------------------------------------------------------------------------------------------------


def damage(terminal: Terminal) -> Path:
    """Change one word in the second of three lines."""
    terminal.ok("submit", ID)
    terminal.ok("approve", ID)
    log = terminal.root / "manifests" / directory_of(ID) / "events.jsonl"
    raw = log.read_bytes()
    log.write_bytes(raw.replace(b"submit_for_review", b"submit_for_REVIEW", 1))
    return log


@pytest.mark.damaged
def test_damage_ends_in_its_own_exit_code_and_changes_nothing(drafted: Terminal) -> None:
    """log, verify and recover name the line and the byte, and what is still sound."""
    log = damage(drafted)
    before = log.read_bytes()

    printed = {name: drafted.type(name, ID) for name in ("log", "verify", "recover")}

    assert {name: result.exit_code for name, result in printed.items()} == dict.fromkeys(printed, 7)
    offset = before.index(b"\n") + 1
    for result in printed.values():
        assert f"line 2, byte {offset}" in result.output
    assert "Version 1 is valid." in printed["recover"].stderr
    assert len(printed["log"].stdout.splitlines()) == 1
    assert log.read_bytes() == before


@pytest.mark.damaged
def test_one_damaged_manifest_does_not_hide_the_others(drafted: Terminal) -> None:
    """list, verify and recover go on, and say at the end that there is damage."""
    damage(drafted)
    (drafted.root / "manifests" / directory_of(ID) / "state.json").unlink()
    drafted.ok("create", "--id", "zebra", SERVER)

    listed, verified, recovered = (drafted.type(name) for name in ("list", "verify", "recover"))
    as_json = drafted.type("list", "--json")
    recovered_json = drafted.type("recover", "--json")

    assert listed.exit_code == verified.exit_code == recovered.exit_code == as_json.exit_code == 7
    assert listed.stdout.split()[0] == "zebra"
    assert "is damaged at" in listed.stderr
    assert "2 manifests checked: 1 damaged." in verified.stderr
    assert "2 manifests replayed: 0 recovered, 1 damaged." in recovered.stderr
    problems = [json.loads(line)["problem"] for line in as_json.stdout.splitlines()]
    assert [problem and problem["error"] for problem in problems] == ["corrupt_log", None]
    assert [json.loads(line)["sound_version"] for line in recovered_json.stdout.splitlines()] == [1, 1]


def test_recover_settles_what_a_crash_left(drafted: Terminal) -> None:
    """Half a line goes to quarantine, and the report says where."""
    log = drafted.root / "manifests" / directory_of(ID) / "events.jsonl"
    with log.open("ab") as opened:
        opened.write(b'{"specversion":"1.0","id":"half')

    found = drafted.type("verify")
    recovered = drafted.type("recover")

    assert found.exit_code == 0
    assert found.stdout.startswith("unfinished: ")
    assert found.stderr == "1 manifest checked: 1 unfinished, which the next read settles; no damage.\n"
    assert "31 bytes from byte" in recovered.stdout
    assert recovered.output.count("kept as") == 1  # the library's own log would say it once more
    assert "1 manifest replayed: 1 recovered, 0 damaged." in recovered.stderr
    assert [path.read_bytes() for path in (drafted.root / "quarantine").rglob("*.bytes")] == [
        b'{"specversion":"1.0","id":"half'
    ]


def test_a_manifest_that_was_never_acknowledged_is_not_found(terminal: Terminal) -> None:
    """A directory without a complete first event is as if it weren't there."""
    (terminal.root / "manifests" / "begun").mkdir(mode=0o700)

    assert "There is no manifest 'begun'." in terminal.fails(3, "show", "begun")
    assert terminal.ok("list") == ""
    assert terminal.ok("recover") == ""
    assert terminal.json("verify", "begun")["findings"] == []


def test_a_dry_run_shows_what_recovery_would_do(drafted: Terminal) -> None:
    """And does nothing of it."""
    log = drafted.root / "manifests" / directory_of(ID) / "events.jsonl"
    with log.open("ab") as opened:
        opened.write(b"half")

    dry = drafted.type("recover", "--dry-run")
    as_json = json.loads(drafted.ok("recover", "--dry-run", "--json"))

    assert "set aside and cut off" in dry.stdout
    assert "1 manifest replayed: 1 to recover, 0 damaged." in dry.stderr
    assert "nothing was changed" in dry.stderr
    assert as_json["dry_run"] is True
    assert as_json["steps"][0]["kept_as"] is None
    assert log.read_bytes().endswith(b"half")
    drafted.ok("recover")


@pytest.mark.damaged
def test_repair_shows_its_plan_and_does_it_on_request(drafted: Terminal) -> None:
    """What is kept, what is set aside, where; then the log says who accepted the loss."""
    damage(drafted)

    plan = drafted.type("repair", ID)
    plan_json = json.loads(drafted.type("repair", ID, "--json").stdout)
    done = drafted.type("repair", ID, "--accept-loss", "--actor", "cyd")
    again = drafted.type("repair", ID, "--accept-loss")

    assert plan.exit_code == 7
    assert "version 1, so it is DRAFT" in plan.stdout
    assert "versions 2 to 3, and the snapshot" in plan.stdout
    assert "add --accept-loss" in plan.stderr
    assert (plan_json["kept_version"], plan_json["lost_version"], plan_json["repaired"]) == (1, 3, False)
    assert done.exit_code == 0
    assert "kept as" in done.stdout
    assert "Repaired: version 2 records the loss." in done.stdout
    assert again.stdout.startswith(f"{ID} is not damaged.")
    assert drafted.ok("log", ID).splitlines()[-1].split()[3:5] == ["cyd", "repair"]
    unchecked, verdict = drafted.type("verify").stderr.splitlines()
    assert unchecked == "unchecked: 1 event: what a repair cut off"
    assert verdict.startswith("1 manifest checked: sound; head ")
    assert verdict.endswith("; nothing here proves that it was not rewritten.")


@pytest.mark.damaged
def test_repair_of_a_manifest_of_which_nothing_is_sound_frees_the_id(drafted: Terminal) -> None:
    """There is nothing to keep, and it says so."""
    log = drafted.root / "manifests" / directory_of(ID) / "events.jsonl"
    log.write_bytes(b"garbage\n")

    done = drafted.ok("repair", ID, "--accept-loss")

    assert "nothing: not even the first event is valid" in done
    assert drafted.ok("list") == ""
    drafted.ok("create", SERVER)


def test_strays_are_named_and_no_damage(drafted: Terminal) -> None:
    """What belongs to no manifest is for somebody to look at."""
    (drafted.root / "notes.txt").touch()  # beside the registry, anybody may keep what they like
    (drafted.root / "manifests" / "a b").mkdir()
    (drafted.root / "manifests" / directory_of(ID) / "state.json.tmp").touch()
    (drafted.root / "manifests" / directory_of(ID) / "copy of state.json").touch()

    found = drafted.type("verify")
    last = json.loads(drafted.ok("verify", "--json").splitlines()[-1])

    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        "stray: manifests/a b: not the file name of an id",
        f"stray: manifests/{directory_of(ID)}/copy of state.json: unexpected file",
        f"unfinished: manifests/{directory_of(ID)}/state.json.tmp: a temporary file: a writer was interrupted or is still running",
    ]
    assert last["manifest_id"] is None
    assert len(last["findings"]) == 3


@pytest.mark.damaged
def test_a_quick_look_sees_snapshots_and_sizes(drafted: Terminal) -> None:
    """It is not told that every byte was read, and it misses what only reading them finds."""
    log = damage(drafted)

    missed = drafted.type("verify", "--quick")
    log.write_bytes(log.read_bytes()[:-1])
    seen = drafted.type("verify", "--quick")

    assert (missed.exit_code, missed.stderr) == (0, "1 manifest checked: no damage.\n")
    assert seen.exit_code == 7
    assert "but its snapshot (version 3) covers" in seen.stdout


@pytest.mark.damaged
def test_a_file_where_a_manifest_belongs_is_named(drafted: Terminal) -> None:
    """It does not hide the others. A list has it once the catalog was compared with what there is."""
    (drafted.root / "manifests" / "aaa").touch()
    assert drafted.type("catalog", "refresh").exit_code == 7

    verified, recovered, listed = (drafted.type(name) for name in ("verify", "recover", "list"))

    assert [result.exit_code for result in (verified, recovered, listed)] == [7, 1, 1]
    assert "manifests/aaa/events.jsonl" in verified.stdout
    assert "2 manifests checked: 1 damaged." in verified.stderr
    assert ID in listed.stdout


def test_a_terminal_sees_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A long run counts on stderr, and clears the line before it says anything else."""
    seconds = iter(range(100))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))

    with Progress("checked", shown=True) as progress:
        progress.step()
        progress.step()

    assert capsys.readouterr().err == "\r1 checked …\r2 checked …\r\x1b[K"


# -- doctor ------------------------------------------------------------------------------------------------


def test_the_doctor_finds_a_local_disk_in_order(drafted: Terminal) -> None:
    """Every check is made, nothing fails, and nothing is left behind."""
    checks = [json.loads(line) for line in drafted.ok("doctor", "--json").splitlines()]
    shown = drafted.ok("doctor", str(drafted.root.parent))

    assert [check["check"] for check in checks] == [
        "file system", "space", "sync", "atomic rename", "lock between processes", "clock", "registry", "leftovers",
        "versions", "transition", "durable write", "append and sync", "attempts under contention", "recovery of 100 events",
    ]  # fmt: skip
    assert {check["verdict"] for check in checks} <= {"ok", "warn"}
    assert "excludes another process; released on close" in shown
    left = sorted(path.name for path in drafted.root.iterdir())
    assert left == ["feed", "manifests", "registry", "registry.json", "rules"]


def test_the_doctor_says_what_will_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system, a full disk, a clock that went back, a place that can't be written."""
    terminal = Terminal(tmp_path / "registry")
    terminal.ok("init")
    (terminal.root / "registry.json.tmp").touch()
    (terminal.root / "quarantine" / "x").mkdir(parents=True)
    (terminal.root / "quarantine" / "x" / "0-1.bytes").touch()
    monkeypatch.setattr("registration.storage.doctor.file_system_type", lambda _: "nfs4")
    monkeypatch.setattr("registration.storage.doctor.FREE_BYTES_MIN", 2**70)
    monkeypatch.setattr("registration.storage.doctor.system_clock", lambda: 0)

    shown = terminal.ok("doctor")
    unwritable = terminal.type("doctor", "/proc")

    assert shown.split()[:4] == ["warn", "file", "system", "nfs4:"]
    assert "free some space" in shown
    assert "differs by" in shown
    assert "1 temporary, 1 in quarantine/" in shown
    assert unwritable.exit_code == 1
    assert "fail  writing" in unwritable.stdout


def test_the_doctor_knows_the_clock_from_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that is before the registry's creation is named."""
    from registration.storage import doctor

    with RegistrationPipeline(tmp_path / "registry", clock=lambda: time.time_ns() + 10**18):
        pass

    clock = next(check for check in doctor.examine(str(tmp_path / "registry")) if check.name == "clock")

    assert clock.verdict == "warn"
    assert "is before the registry's creation" in clock.found


@pytest.mark.parametrize(("kind", "verdict"), [("tmpfs", "warn"), ("ext4", "ok"), (None, "warn")])
def test_the_doctor_judges_file_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None, verdict: str
) -> None:
    """By their type, where it can be told."""
    from registration.storage import doctor

    monkeypatch.setattr(doctor, "file_system_type", lambda _: kind)

    assert next(doctor.examine(str(tmp_path))).verdict == verdict


def test_the_doctor_tells_a_bad_disk_from_a_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that don't exclude, renames that tear and syncs that fail are failures, and none raises."""
    from registration.storage import doctor

    class BadDisk(PosixDisk):
        def lock(self, fd: int, timeout_s: float) -> bool:
            return True

        def read(self, fd: int, size_bytes: int, offset_bytes: int) -> bytes:
            return b"new"

        def sync_data(self, fd: int) -> None:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(doctor, "PosixDisk", BadDisk)

    verdicts = {check.name: check.verdict for check in doctor.examine(str(tmp_path))}

    assert verdicts["lock between processes"] == "fail"
    assert verdicts["atomic rename"] == "fail"
    assert verdicts["sync"] == "fail"


def test_the_doctor_needs_a_directory(terminal: Terminal) -> None:
    """One that isn't there is not found."""
    assert "There is no directory" in terminal.fails(3, "doctor", "/nowhere/at/all")


# -- around it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    """`--help` says what the command does and shows a line that can be typed."""
    result = CliRunner().invoke(app, [name, "--help"], prog_name="registration")

    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"registration {name}" in result.output


def test_the_help_lists_every_command_and_exit_code() -> None:
    """Nobody has to guess."""
    printed = CliRunner().invoke(app, ["--help"]).output

    assert all(f"  {name} " in printed for name in COMMANDS)
    assert all(f"{code}  {meaning}" in printed for code, meaning, _ in EXIT_CODES)


def test_every_error_has_an_exit_code() -> None:
    """The most derived class decides."""
    errors = {
        InvalidArgument("x"): 2,
        NotFound("x"): 3,
        GuardRefused("x"): 4,
        AlreadyExists("x"): 4,
        VersionConflict("x", 1): 5,
        LockTimeout("x", 1.0): 6,
        CorruptLog("p", line=1, offset_bytes=0, reason="r", sound_version=0, stream="x"): 7,
        StoreError("x"): 1,
    }

    assert {error: exit_code(error) for error in errors} == errors


def test_demo_walks_the_whole_lifecycle_and_leaves_a_registry_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rejection, one revision, REGISTERED; then the log, and where the files are."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    shown = CliRunner().invoke(app, ["demo"]).stdout
    last = json.loads(CliRunner().invoke(app, ["demo", "--json"]).stdout.splitlines()[-1])

    assert "bea rejects it, with a reason" in shown
    assert "APPROVED -> REGISTERED" in shown
    files = [Path(line.strip()) for line in shown.splitlines() if line.startswith("  /")]
    assert [path.name for path in files] == ["events.jsonl", "state.json"]
    assert all(path.is_file() for path in files)
    assert last["state"] == "REGISTERED"
    assert Terminal(Path(last["root"])).type("verify").exit_code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    """For each of the shells that click knows."""
    printed = CliRunner().invoke(app, ["completion", shell]).stdout

    assert "_REGISTRATION_COMPLETE" in printed


def complete(words: str, root: Path) -> list[str]:
    """What bash would offer after these words; the last one is being typed."""
    environment = {
        "_REGISTRATION_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "REGISTRATION_ROOT": str(root),
    }
    result = CliRunner().invoke(app, [], prog_name="registration", env=environment)
    assert result.exit_code == 0, result.output
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


def test_commands_ids_and_states_are_completed(drafted: Terminal, tmp_path: Path) -> None:
    """And where there is no registry, silence."""
    assert complete("registration re", drafted.root) == [
        "revise", "reject", "register", "resolve", "release", "receipt", "recover", "repair",
    ]  # fmt: skip
    assert complete("registration show io", drafted.root) == [ID]
    assert complete(f"registration transition {ID} re", drafted.root) == ["REVIEWED", "REGISTERED"]
    assert complete("registration show io", tmp_path / "nowhere") == []


# -- as a process ------------------------------------------------------------------------------------------


def run(*words: str, root: Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "REGISTRATION_ROOT": str(root), **options.pop("env", {})}  # type: ignore[dict-item]
    return subprocess.run(
        [sys.executable, "-m", "registration", *words],
        env=environment,
        capture_output=True,
        check=False,
        **options,
    )  # type: ignore[call-overload]


def test_a_process_ends_in_the_documented_codes(drafted: Terminal) -> None:
    """As a shell sees it."""
    assert run("show", ID, root=drafted.root).returncode == 0
    assert run("approve", ID, root=drafted.root).returncode == 4


def test_a_terminal_without_unicode_gets_escapes(drafted: Terminal) -> None:
    """A name that can't be shown is no reason to fail."""
    drafted.ok("submit", ID, "--comment", "gut geprüft 会")

    shown = run("log", ID, root=drafted.root, env={"PYTHONIOENCODING": "latin-1"})

    assert shown.returncode == 0
    assert b"gepr\xfcft \\u4f1a" in shown.stdout


def test_a_closed_pipe_is_no_traceback(drafted: Terminal) -> None:
    """`registration log ID | head -1` ends quietly."""
    shell = f"{sys.executable} -m registration log --json {ID} | true"
    done = subprocess.run(
        shell,
        shell=True,
        env={**os.environ, "REGISTRATION_ROOT": str(drafted.root)},
        capture_output=True,
        check=False,
    )

    assert b"Traceback" not in done.stderr


def test_an_interrupt_ends_quietly(terminal: Terminal) -> None:
    """Ctrl-C while a document is awaited writes nothing and shows no traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "registration", "create", "-"],
        env={**os.environ, "REGISTRATION_ROOT": str(terminal.root)},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"{")
    process.stdin.flush()
    # It reads until the end of its input: it is at it as soon as it has taken what there is.
    while unread_bytes(process.stdin.fileno()):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()

    assert process.returncode == 1
    assert said.strip() == b"Aborted!"
    assert terminal.ok("list") == ""


def unread_bytes(pipe: int) -> int:
    """How much of what was written to a pipe is still in it."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_click_is_not_asked_for_what_it_can_not_do() -> None:
    """Every option is declared once on a command, so that the help shows it once."""
    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        assert command is not None
        options = [option for parameter in command.params for option in parameter.opts]
        assert len(options) == len(set(options)), name


def test_a_busy_manifest_does_not_hide_the_others(drafted: Terminal) -> None:
    """recover goes on with the rest, says which one it could not reach, and ends in the code of a lock time-out."""
    drafted.ok("create", "--id", "zebra", SERVER)
    log = os.open(drafted.root / "manifests" / directory_of(ID) / "events.jsonl", os.O_RDWR)
    assert PosixDisk().lock(log, 0)

    try:
        recovered = drafted.type("recover", "--lock-timeout", "0.05")
        as_json = drafted.type("recover", "--lock-timeout", "0.05", "--json")
    finally:
        os.close(log)

    assert recovered.exit_code == as_json.exit_code == 6
    assert "2 manifests replayed: 0 recovered, 0 damaged, 1 unreachable." in recovered.stderr
    problems = [json.loads(line)["problem"] for line in as_json.stdout.splitlines()]
    assert [problem and problem["error"] for problem in problems] == ["lock_timeout", None]


def test_a_manifest_that_is_being_written_all_the_time_is_said_to_be(drafted: Terminal) -> None:
    """verify and list can't say more of it than that."""
    directory = drafted.root / "manifests" / directory_of(ID)
    (directory / "state.json").unlink()
    log = os.open(directory / "events.jsonl", os.O_RDWR)
    assert PosixDisk().lock(log, 0)

    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(PosixDisk, "lock", lambda *_: False)
            verified, listed = (drafted.type(name) for name in ("verify", "list"))
    finally:
        os.close(log)

    assert (verified.exit_code, listed.exit_code) == (6, 6)
    assert "another process is writing" in verified.stderr
    assert "another process is writing" in listed.stderr
    drafted.ok("list")
