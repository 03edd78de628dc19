"""The commands list, count, stats, query and catalog, as somebody types them."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest

from registration.cli.finding import _age, _length, catalog_command
from registration.pipeline.wire.figures import weekly
from registration.storage.layout import directory_of
from tests.cli.test_cli import SERVER, Terminal, drafted, terminal  # noqa: F401  # fixtures

CARD = str(Path(SERVER).with_name("agent-card.json"))


@pytest.fixture
def stocked(terminal: Terminal) -> Terminal:  # noqa: F811  # the fixture
    """Four manifests: two drafts, one in review, one approved."""
    for id, file in (("d1", SERVER), ("d2", CARD), ("r", SERVER), ("a", SERVER)):
        terminal.ok("create", "--id", id, file)
    terminal.ok("submit", "r", "--actor", "cyd")
    terminal.ok("submit", "a")
    terminal.ok("approve", "a", "--actor", "bea")
    return terminal


def ids(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()]


# -- list and count ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ["a", "d1", "d2", "r"]),
        (("--state", "in_review"), ["a", "r"]),
        (("--acted-by", "cyd"), ["r"]),
        (("--where", "/version=1.2.0"), ["a", "d1", "r"]),
        (("--where", '/version="1.2.0"', "--where", "/name=io.github.acme/weather"), ["a", "d1", "r"]),
        (("--where", "/name=7"), []),
        (("--text", "FORECAST"), ["a", "d1", "r"]),
        (("--name", "io.github."), ["a", "d1", "r"]),
        (("--updated-since", "1h"), ["a", "d1", "d2", "r"]),
        (("--updated-until", "1h"), []),
        (("--created-since", "2026-01-01", "--sort", "-id"), ["r", "d2", "d1", "a"]),
        (("--sort", "-updated", "--limit", "1"), ["a"]),
        (("--tag", "x"), []),
    ],
)
def test_a_list_is_of_what_was_typed(stocked: Terminal, words: tuple[str, ...], expected: list[str]) -> None:
    """As lines for people and as JSON lines; what is not there is said on stderr."""
    listed, as_json = stocked.type("list", *words), stocked.type("list", "--json", *words)

    assert (listed.exit_code, as_json.exit_code) == (0, 0)
    assert ids(listed.stdout) == expected
    objects = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert [one["manifest_id"] for one in objects if "manifest_id" in one] == expected
    assert bool(expected) or listed.stderr == "No manifest matches.\n"


def test_the_next_page_is_said_as_a_command(stocked: Terminal) -> None:
    """It can be typed as it stands, whatever was asked for, until there is nothing more."""
    words = [
        "list",
        "--where",
        "/version=1.2.0",
        "--text",
        "forecasts for",
        "--updated-since",
        "30d",
        "--sort",
        "-id",
    ]
    pages = []
    while words:
        result = stocked.type(*words, "--limit", "1") if "--limit" not in words else stocked.type(*words)
        assert result.exit_code == 0, result.output
        pages.append(ids(result.stdout))
        said = result.stderr.removeprefix("More: registration ") if result.stderr else ""
        words = shlex.split(said)

    assert pages == [["r"], ["d1"], ["a"]]


def test_the_next_page_names_the_registry_that_was_named(stocked: Terminal, tmp_path: Path) -> None:
    """Otherwise it would be another one's."""
    said = stocked.type("list", "--limit", "1", "--registry", str(stocked.root)).stderr

    assert f"--registry {stocked.root} " in said


def test_with_json_the_next_page_is_the_last_line(stocked: Terminal) -> None:
    """A program finds it where it reads."""
    first = [json.loads(line) for line in stocked.ok("list", "--json", "--limit", "3").splitlines()]
    rest = [
        json.loads(line)
        for line in stocked.ok(
            "list", "--json", "--limit", "3", "--after", first[-1]["next_page"]
        ).splitlines()
    ]

    assert [one.get("manifest_id") for one in first] == ["a", "d1", "d2", None]
    assert [one.get("manifest_id") for one in rest] == ["r"]


def test_behind_the_last_page_is_nothing(stocked: Terminal) -> None:
    """That is said, and not that there is no manifest at all."""
    page = stocked.ok("list", "--json", "--limit", "3").splitlines()[-1]
    (stocked.root / "manifests" / "r").rename(stocked.root.parent / "r")

    result = stocked.type("list", "--limit", "3", "--after", json.loads(page)["next_page"])

    assert (result.stdout, result.stderr) == ("", "There are no more manifests.\n")


def test_a_count_is_a_number(stocked: Terminal) -> None:
    """By the same filters."""
    assert stocked.ok("count") == "4\n"
    assert stocked.ok("count", "--state", "DRAFT", "--text", "forecast") == "1\n"
    assert stocked.json("count", "--acted-by", "bea") == {"count": 1}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("list", "--state", "DRAFTS"), 2, "Did you mean 'DRAFT'?"),
        (("list", "--sort", "update"), 2, "Did you mean 'updated'?"),
        (("list", "--limit", "0"), 2, "0 is not in the range"),
        (("list", "--after", "x"), 2, "invalid page cursor"),
        (("list", "--where", "version=1"), 2, "expected /POINTER=VALUE"),
        (("list", "--where", "/version"), 2, "expected /POINTER=VALUE"),
        (("list", "--where", "/a=1", "--where", "/a=2"), 2, "given twice"),
        (("list", "--updated-since", "yesterday"), 2, "Invalid time"),
        (("list", "--updated-since", "2026-01-01 10:00"), 2, "time zone"),
        (("list", "--text", "?"), 2, "contains no words"),
        (("count", "--state", "NONE"), 2, "Its states are"),
        (("stats", "--since", "soon"), 2, "Invalid time"),
        (("query",), 2, "Pass a SELECT, or --schema."),
        (("query", "--csv", "--json", "select 1"), 2, "either --csv or --json"),
        (("query", "selec 1"), 2, "syntax error"),
        (("query", "delete from manifests"), 4, "queries may only read"),
        (("query", "--time-limit", "0", "with recursive c(x) as (select 1 union all select x from c) select sum(x) from c"), 4, "timed out after 0 s"),
        (("catalog", "refersh"), 2, "Did you mean 'refresh'?"),
    ],
)  # fmt: skip
def test_mistakes_are_said_with_what_to_do(
    stocked: Terminal, words: tuple[str, ...], code: int, said: str
) -> None:
    """No traceback, nothing on stdout."""
    assert said in stocked.fails(code, *words)


def test_a_cursor_of_another_list_is_refused(stocked: Terminal) -> None:
    """It would skip or repeat manifests without a word."""
    page = json.loads(stocked.ok("list", "--json", "--limit", "1").splitlines()[-1])["next_page"]

    assert "with other filters" in stocked.fails(2, "list", "--state", "DRAFT", "--after", page)


# -- stats -------------------------------------------------------------------------------------------------------------


def test_stats_are_two_tables(stocked: Terminal) -> None:
    """Where manifests stand and for how long; what was done by day, or by week."""
    lines = stocked.ok("stats").splitlines()
    weeks = stocked.ok("stats", "--weeks")

    assert lines[0] == "4 manifests, 7 events"
    assert lines[2].split() == ["state", "now", "oldest", "median", "left", "stayed", "p50", "p95", "longest"]
    assert [line.split()[:2] for line in lines[3:6]] == [["APPROVED", "1"], ["DRAFT", "2"], ["REVIEWED", "1"]]
    assert lines[7].split() == ["day", "approve", "create", "submit_for_review"]
    assert lines[8].split()[1:] == ["1", "4", "2"]
    assert "week of" in weeks
    assert stocked.ok("stats", "--since", "2100-01-01").splitlines()[-1].startswith("REVIEWED")


def test_stats_as_json(stocked: Terminal) -> None:
    """One object, whose members are named with their units."""
    found = stocked.json("stats")
    weekly = stocked.json("stats", "--weeks")

    assert found.keys() == {"time", "manifests", "events", "unreadable", "states", "days"}
    states = found["states"]
    assert isinstance(states, list)
    assert states[0].keys() == {"state", "count", "oldest_entered_at", "median_entered_at", "stays"}
    assert states[1]["stays"].keys() == {"count", "mean_s", "min_s", "p50_s", "p95_s", "max_s"}
    assert states[0]["stays"] is None
    assert weekly.keys() == {"time", "manifests", "events", "unreadable", "states", "weeks"}


def test_stats_of_nothing(terminal: Terminal) -> None:  # noqa: F811  # the fixture
    """One line."""
    assert terminal.ok("stats") == "0 manifests, 0 events\n"


@pytest.mark.damaged
def test_stats_say_what_they_leave_out(stocked: Terminal) -> None:
    """A manifest that can't be read is not counted, and that is said."""
    log = stocked.root / "manifests" / "a" / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b"create", b"cre@te"))
    (log.parent / "state.json").unlink()

    result = stocked.type("stats")

    assert result.stdout.startswith("3 manifests")
    assert "1 manifest can't be read" in result.stderr


def test_only_the_last_days_are_shown(stocked: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is said where there are more."""
    monkeypatch.setattr("registration.cli.finding.DAYS_SHOWN", 0)

    assert "The last 0 days with events are shown; --json has all 1." in stocked.type("stats").stderr


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (0.0, "0ms"),
        (0.25, "250ms"),
        (1, "1s"),
        (61, "1m 1s"),
        (3600, "1h"),
        (90_061, "1d 1h"),
        (86_400 * 9, "9d"),
    ],
)
def test_lengths_of_time_have_two_units(seconds: float | None, said: str) -> None:
    """The largest that there are."""
    assert _length(seconds) == said


def test_ages_of_what_is_no_time_are_unknown() -> None:
    """In a log that somebody else wrote; a clock that went back makes nothing negative."""
    assert _age("yesterday", "2026-01-01T00:00:00Z") == "?"
    assert _age("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z") == "0ms"


def test_weeks_begin_on_mondays() -> None:
    """2026-11-22 is a Sunday."""
    days = {
        "2026-11-16": {"a": 1},
        "2026-11-22": {"a": 2, "b": 1},
        "2026-11-23": {"a": 4},
        "nonsense": {"a": 8},
    }

    assert weekly(days) == {
        "2026-11-16": {"a": 3, "b": 1},
        "2026-11-23": {"a": 4},
        "nonsense": {"a": 8},
    }


# -- query -------------------------------------------------------------------------------------------------------------


def test_a_query_prints_a_table_csv_or_json(stocked: Terminal) -> None:
    """Of the same rows."""
    sql = "select state, count(*) as n, null as empty from manifests group by state"

    lines = stocked.ok("query", sql).splitlines()
    rows = list(csv.reader(io.StringIO(stocked.ok("query", "--csv", sql))))
    objects = [json.loads(line) for line in stocked.ok("query", "--json", sql).splitlines()]

    assert [line.split() for line in lines] == [
        ["state", "n", "empty"],
        ["APPROVED", "1"],
        ["DRAFT", "2"],
        ["REVIEWED", "1"],
    ]
    assert rows == [["state", "n", "empty"], ["APPROVED", "1", ""], ["DRAFT", "2", ""], ["REVIEWED", "1", ""]]
    assert objects[0] == {"state": "APPROVED", "n": 1, "empty": None}


def test_a_query_can_come_from_standard_input(stocked: Terminal) -> None:
    """For what is long."""
    assert stocked.ok("query", "--csv", "-", input="select 1 as one") == "one\n1\n"


def test_rows_that_are_left_out_are_said(stocked: Terminal) -> None:
    """And no row at all."""
    cut = stocked.type("query", "select id from manifests order by id", "--limit", "2")
    none = stocked.type("query", "select id from manifests where id = 'x'")

    assert cut.stdout == "id\na\nd1\n"
    assert "more than 2 rows" in cut.stderr
    assert (none.stdout, none.stderr) == ("", "No rows.\n")


def test_what_a_terminal_would_obey_is_shown_as_escapes(stocked: Terminal) -> None:
    """Long values are cut for people; columns of one name are told apart in JSON."""
    shown = stocked.ok("query", "select char(27) || '[31m' as a")
    long = stocked.ok("query", "select printf('%.200c', 'x') as a")
    twice = stocked.json("query", "select 1 as a, 2 as a")

    assert "\\x1b[31m" in shown
    assert "\x1b" not in shown
    assert "x" * 80 + "…" in long
    assert twice == {"a": 1, "a:2": 2}


def test_the_schema_is_what_the_catalog_has(stocked: Terminal) -> None:
    """Every table and column that it tells of can be asked for; and nobody needs a registry to read it."""
    told = stocked.ok("query", "--schema")
    stocked.ok("list")
    with sqlite3.connect(":memory:") as db:
        db.executescript(told)
        tables = {
            name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        }
    db.close()

    assert tables.keys() == {"manifests", "documents", "events", "tags", "places", "unreadable", "history"}
    for name, columns in tables.items():
        stocked.ok("query", f"select {', '.join(columns)} from {name}")
    assert stocked.json("query", "--schema") == {"schema": told}
    assert Terminal(stocked.root / "nowhere").ok("query", "--schema") == told


# -- the catalog -------------------------------------------------------------------------------------------------------


def test_the_status_tells_how_far_it_came(stocked: Terminal) -> None:
    """Missing, current, behind, unusable: and that the next list sees to it."""
    missing = stocked.type("catalog", "status")
    stocked.ok("list")
    current = stocked.type("catalog", "status")
    stocked.ok("submit", "d1")
    behind = stocked.type("catalog", "status")
    as_json = stocked.json("catalog", "status")
    (stocked.root / "catalog.sqlite").write_bytes(b"x" * 4096)
    unusable = stocked.type("catalog", "status")

    assert "missing" in missing.stdout
    assert missing.stderr == "The next list fixes that, if possible.\n"
    assert re.search(r"manifests +4\n +events +7\n", current.stdout)
    assert current.stderr == ""
    assert re.search(r"behind by +1 event\n", behind.stdout)
    assert as_json.keys() == {"path", "state", "reason", "lag", "manifests", "events", "cursor", "size_bytes"}
    assert (as_json["state"], as_json["lag"]) == ("behind", 1)
    assert "unusable: " in unusable.stdout
    assert unusable.exit_code == 0


def test_a_refresh_says_what_it_found(stocked: Terminal) -> None:
    """All agreed; or which manifests did not, and are right now."""
    agreed = stocked.type("catalog", "refresh")
    shutil.rmtree(stocked.root / "manifests" / "d1")
    with sqlite3.connect(stocked.root / "catalog.sqlite") as db:
        db.execute("UPDATE manifests SET state = 'REGISTERED' WHERE id = 'r'")
    db.close()
    quick = stocked.json("catalog", "refresh", "--quick")
    found = stocked.type("catalog", "refresh")

    assert (agreed.stdout, agreed.stderr) == ("", "7 events added; 4 logs compared: no differences.\n")
    assert quick == {"caught_up": 0, "compared": 3, "differed": [], "gone": ["d1"], "unreadable": []}
    assert found.stdout == "differed: r\n"
    assert found.stderr == "0 events added; 3 logs compared: 1 differed and was fixed.\n"
    assert stocked.json("query", "select state from manifests where id = 'r'") == {"state": "REVIEWED"}


def test_a_rebuild_begins_from_nothing(stocked: Terminal) -> None:
    """Whatever stood there."""
    (stocked.root / "catalog.sqlite").write_bytes(b"x" * 4096)

    assert stocked.type("catalog", "rebuild").stderr == "7 events folded; 4 logs compared: no differences.\n"


@pytest.mark.damaged
def test_damage_is_named_by_a_refresh(stocked: Terminal) -> None:
    """And ends in its exit code."""
    log = stocked.root / "manifests" / directory_of("a") / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b"create", b"cre@te"))
    (log.parent / "state.json").unlink()

    result = stocked.type("catalog", "refresh")

    assert result.exit_code == 7
    assert result.stdout == "unreadable: a\n"
    assert "1 can't be read: see `registration verify`" in result.stderr


def test_a_catalog_that_can_not_be_kept_is_said(stocked: Terminal) -> None:
    """Where it is asked for by name; a list does without."""
    (stocked.root / "catalog.sqlite").symlink_to(stocked.root / "elsewhere")

    assert "can't be stored" in stocked.fails(1, "catalog", "refresh")
    assert ids(stocked.ok("list", "--state", "DRAFT")) == ["d1", "d2"]
    assert stocked.ok("query", "--csv", "select count(*) as n from manifests") == "n\n4\n"
    assert not (stocked.root / "elsewhere").exists()
    assert "unusable" in stocked.ok("catalog", "status")


def test_every_command_of_the_catalog_has_an_example(terminal: Terminal) -> None:  # noqa: F811  # the fixture
    """The help shows what to type."""
    for name in catalog_command.commands:
        assert f"registration catalog {name}" in terminal.ok("catalog", name, "--help")
