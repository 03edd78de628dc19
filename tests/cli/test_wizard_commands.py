"""The commands about sessions without a terminal: answers from files and options, what is refused, and what is shown."""

from __future__ import annotations

import json
import shlex
import time

import pytest

from registration import RegistrationPipeline
from tests.kit.typed import run
from tests.kit.wizards import SURVEY
from tests.onboarding.test_shipped_wizards import SERVER

WHOLE = SURVEY + '\n[result]\nname = { answer = "/FIRST/one" }\n'


@pytest.fixture
def place(tmp_path):
    RegistrationPipeline(tmp_path / "registry").close()
    (tmp_path / "survey.toml").write_text(WHOLE)
    (tmp_path / "server.json").write_text(json.dumps(SERVER))
    return tmp_path


def ok(place, *words):
    done = run(place, "wizard", *words)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def refused(place, code, *words):
    done = run(place, "wizard", *words)
    assert done.exit_code == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def begun(place, *words):
    return json.loads(ok(place, "start", "./survey.toml", "--json", *words))


def test_answers_of_a_file_lead_to_a_draft_and_can_be_written_again(place):
    """One JSON result; what `answers` writes begins another one, changed by `--set`."""
    done = json.loads(ok(place, "start", "mcp-server", "--answers", "server.json", "--json"))
    written = ok(place, "answers", done["session"])
    (place / "again.json").write_text(written)
    again = json.loads(
        ok(
            place,
            "start",
            "mcp-server",
            "--answers",
            "again.json",
            "--set",
            "/IDENTITY/version=1.3.0",
            "--json",
        )
    )

    assert (done["state"], done["manifest"]["id"]) == ("COMPLETE", "io.github.acme/weather@1.2.0")
    assert again["manifest"]["id"] == "io.github.acme/weather@1.3.0"
    assert run(place, "show", "io.github.acme/weather@1.3.0").exit_code == 0


def test_answers_reach_as_far_as_they_do(place):
    """A session waits where they end, and what is next is said."""
    done = run(
        place, "wizard", "start", "./survey.toml", "--set", "/FIRST/one=a word", "--set", "/FIRST/two=7"
    )

    assert "SECOND" in done.stdout
    assert "Next: registration wizard resume wiz_" in done.stderr
    ended = json.loads(ok(place, "resume", "--set", "/SECOND/three=blue", "--json"))
    assert (ended["state"], ended["answers"]["FIRST"]) == ("COMPLETE", {"one": "a word", "two": 7})


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["start", "mcp-servr"], 3, "Did you mean 'mcp-server'?"),
        (["start", "./nowhere.toml"], 3, "There is no file ./nowhere.toml"),
        (["start", "./survey.toml", "--session", "mine"], 2, "'mine' is an invalid session id"),
        (["start", "./survey.toml", "--bind"], 2, "Pass one: `--client TEXT`"),
        (["start", "./survey.toml", "--answers", "survey.toml"], 4, "it is not JSON"),
        (["start", "./survey.toml", "--set", "FIRST/one=x"], 2, "Expected --set /STEP/field=VALUE"),
        (["start", "./survey.toml", "--set", "/FIRST=x"], 2, "Expected --set /STEP/field=VALUE"),
        (["start", "./survey.toml", "--set", "/FIRST/one/-=x", "--set", "/FIRST/one/5=x"], 2, "there is nothing at '5'"),
        (["resume"], 3, "start one: `registration wizard start NAME`"),
        (["show", "wiz_20261121093000123_0a1b2c3d4e5f6g7h"], 3, "There is no session"),
        (["list", "--older-than", "soon"], 2, "'soon' is not a duration"),
        (["matrix", "nothing"], 3, "There is no wizard 'nothing'"),
    ],
)  # fmt: skip
def test_what_can_not_be_meant_is_refused_before_anything_is_begun(place, words, code, said):
    """Each with what to type instead."""
    told = refused(place, code, *words)

    assert said in told
    assert ok(place, "list", "--all") == ""


def test_what_is_refused_in_a_session_leaves_it_as_it_was(place):
    """Somebody else's, a second one, a wrong type, an unknown field, no way back: said once each, with the next step."""
    session = begun(place)["session"]

    for words, code, said in (
        (["start", "./survey.toml"], 4, f"registration wizard resume {session}"),
        (["resume", session, "--actor", "eve"], 4, "belongs to 'ada'"),
        (["resume", session, "--scope", "other"], 4, "belongs to 'ada' in the scope 'default'"),
        (["resume", "--set", "/FIRST/one=7"], 4, "FIRST/one: 7 is not of type 'string'"),
        (["resume", "--set", "/FIRST/one=a", "--set", "/FIRST/two=1", "--set", "/FIRST/x=1"], 4, "'x' was unexpected"),
        (["back"], 4, "is at FIRST, and can't go back from there"),
        (["goto"], 4, "SECOND: it is not answered yet"),
        (["goto", "--step", "thrid"], 2, "has no step 'thrid'"),
        (["fail", "--reason", " "], 2, "Give the reason"),
        (["restart"], 4, "is active: it is at FIRST"),
        (["delete", session], 2, "Confirm with --yes"),
    ):  # fmt: skip
        told = refused(place, code, *words)
        assert said in told
        assert told.count("belongs to") <= 1

    shown = json.loads(ok(place, "show", "--json"))
    assert (shown["state"], shown["answers"], shown["draft"]) == ("FIRST", {}, {})


def test_a_bound_session_is_refused_from_elsewhere(place):
    """The client is named as an option; another one, and none, is told so."""
    session = begun(place, "--bind", "--client", "198.51.100.7")["session"]

    assert "bound to another client" in refused(place, 4, "resume", "--client", "203.0.113.9")
    assert "bound to another client" in refused(place, 4, "back", session)
    assert json.loads(ok(place, "resume", "--client", "198.51.100.7", "--json"))["bound"]


def test_after_its_time_a_session_says_so_and_can_be_started_again(place):
    """Also where it isn't named: the last one of its owner is meant."""
    (place / "registry" / "sessions.toml").write_text('time_to_live = "1s"\n')
    session = begun(place, "--set", "/FIRST/one=a", "--set", "/FIRST/two=1")["session"]
    while "EXPIRED" not in ok(place, "show"):
        time.sleep(0.05)

    assert f"registration wizard restart {session}" in refused(place, 4, "resume")
    (place / "registry" / "sessions.toml").unlink()
    again = json.loads(ok(place, "restart", "--json"))
    assert (again["state"], again["attempt"], again["answers"]) == (
        "FIRST",
        2,
        {"FIRST": {"one": "a", "two": 1}},
    )


def test_a_keeper_lists_counts_cleans_up_and_checks(place):
    """Active ones as usual, all on request; damage is found, and ends in its exit code."""
    one = begun(place)["session"]
    two = begun(place, "--actor", "bea")["session"]
    ok(place, "cancel", "--actor", "bea")

    assert one in ok(place, "list")
    assert two not in ok(place, "list")
    assert [json.loads(line)["session"] for line in ok(place, "list", "--all", "--json").splitlines()] == [
        one,
        two,
    ]
    assert two in ok(place, "list", "--state", "cancelled", "--user", "bea")
    assert json.loads(ok(place, "stats", "--json"))["by_state"] == {"FIRST": 1, "CANCELLED": 1}
    assert "2 sessions, 1 active" in ok(place, "stats")
    assert ok(place, "cleanup") == "2 checked, 0 expired, 0 deleted\n"
    assert ok(place, "delete", two, "--yes", "--actor", "bea") == f"{two}  removed\n"
    assert "1 session checked: every byte is as written." in ok(place, "health")
    log = place / "registry" / "sessions" / one / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"ada"', b'"eve"', 1))
    damaged = run(place, "wizard", "health")
    assert (damaged.exit_code, f"sessions/{one}/events.jsonl, line 1" in damaged.stdout) == (7, True)


def test_a_session_is_shown_with_its_log(place):
    """Where it is, what was answered, where it can go, and what happened."""
    begun(place, "--community", "guild-7", "--set", "/FIRST/one=a", "--set", "/FIRST/two=1")

    shown = ok(place, "show", "--log")

    for text in ("guild-7", "one: a", "not answered yet", "next steps", "FIRST -> SECOND"):
        assert text in shown
    assert [json.loads(ok(place, "show", "--log", "--json"))["log"][n]["type"] for n in (0, 1)] == [
        "survey.session_created.v1", "survey.step_completed.v1",
    ]  # fmt: skip


def test_a_file_may_not_take_the_name_of_a_wizard_that_comes_along(place):
    """Its sessions would be taken for those of the other."""
    (place / "survey.toml").write_text(WHOLE.replace('"survey"', '"mcp-server"'))

    assert "is the name of a shipped wizard; choose another" in refused(place, 2, "start", "./survey.toml")


def test_the_matrix_is_printed(place):
    """As Markdown, and a line of JSON for each state."""
    assert ok(place, "matrix", "./survey.toml").splitlines()[2].startswith("| (none) | FIRST |")
    rows = [json.loads(line) for line in ok(place, "matrix", "agent-card", "--json").splitlines()]
    assert rows[1]["state"] == "IDENTITY"


def test_the_command_that_goes_on_is_whole(place):
    """What is printed can be typed as it is: a session that is named brings its scope, and the actor is said again."""
    owner = ("--scope", "guild-7", "--actor", "bea@x")
    done = run(place, "wizard", "start", "./survey.toml", *owner)
    session = done.stdout.split()[0]
    line = f"Next: registration wizard resume {session} --actor bea@x"
    answers = ("--set", "/FIRST/one=a", "--set", "/FIRST/two=1")

    assert line in done.stderr.splitlines()
    gone_on = run(place, *shlex.split(line)[2:], *answers, "--json")
    assert (gone_on.exit_code, json.loads(gone_on.stdout)["state"]) == (0, "SECOND")
    assert "belongs to 'bea@x' in the scope 'guild-7'" in refused(
        place, 4, "back", session, "--actor", "bea@x", "--scope", "guild-8"
    )


def test_a_session_that_can_not_be_read_makes_room(place):
    """Whose it is can't be told, so whoever keeps the registry may remove it, and says so; another one can be begun."""
    session = begun(place)["session"]
    for file in ("events.jsonl", "state.json"):
        path = place / "registry" / "sessions" / session / file
        path.write_bytes(path.read_bytes().replace(b"ada", b"eve"))

    said = refused(place, 7, "start", "./survey.toml")
    assert f"registration wizard delete {session}" in said
    assert "--yes" in refused(place, 2, "delete", session)
    done = run(place, "wizard", "delete", session, "--yes")

    assert (done.exit_code, done.stdout) == (0, f"{session}  removed\n")
    assert "Its owner is unknown." in done.stderr
    assert begun(place)["state"] == "FIRST"
