"""Names, aliases and tags at a terminal: `resolve`, `names`, `alias`, `tag`, and what other commands say of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from registration import RegistrationPipeline
from tests.cli.test_cli import Terminal, complete
from tests.storage.test_fixtures import FIXTURES
from tests.test_architecture import loaded_by

NAME = "acme/weather"


@pytest.fixture
def terminal(root: Path) -> Terminal:
    terminal = Terminal(root)
    terminal.ok("init", "--lifecycle", "registration-upkeep")
    return terminal


def approved(terminal: Terminal, id: str, version: str = "1.0.0") -> None:
    document = json.dumps({"name": NAME, "version": version})
    terminal.ok("create", "--id", id, "-", input=document)
    terminal.ok("submit", id)
    terminal.ok("approve", id, "--actor", "bea")


def registered(terminal: Terminal, id: str, version: str = "1.0.0") -> None:
    approved(terminal, id, version)
    terminal.ok("register", id)


def test_a_name_leads_to_its_manifest(terminal: Terminal) -> None:
    """The id on stdout and nothing else, so that a script can go on with it."""
    registered(terminal, "a")
    registered(terminal, "b", "1.1.0")

    exact, latest = terminal.type("resolve", f"{NAME}@1.0.0"), terminal.type("resolve", NAME)

    assert (exact.stdout, exact.stderr) == ("a\n", "")
    assert (latest.stdout, latest.stderr) == ("b\n", "latest is 1.1.0: REGISTERED.\n")
    assert terminal.json("resolve", NAME) == {
        "full_name": f"{NAME}@1.1.0",
        "name": NAME,
        "version": "1.1.0",
        "alias": "latest",
        "manifest_id": "b",
        "state": "REGISTERED",
        "manifest_version": 4,
        "digest": terminal.json("show", "b")["digest"],
        "same_document": True,
        "time": terminal.json("show", "b")["updated_at"],
    }


def test_a_taken_name_is_refused_with_4(terminal: Terminal) -> None:
    """The error says who holds it; `approve` gives no advice that would be refused, and `why` says why."""
    registered(terminal, "a")
    document = json.dumps({"name": NAME, "version": "1.0.0"})
    terminal.ok("create", "--id", "b", "-", input=document)
    terminal.ok("submit", "b")

    terminal.ok("approve", "b", "--actor", "bea")
    said = terminal.fails(4, "register", "b")
    told = json.loads(terminal.fails(4, "register", "b", "--json"))

    assert "which is held by 'a' (REGISTERED) since 20" in said
    assert "Nothing was written. Give the document another name or version" in said
    assert (told["error"], told["details"]["holder"]) == ("name_taken", "a")
    assert (
        f"no  name_is_free (lifecycle): the name '{NAME}@1.0.0' is held by 'a'"
        in terminal.type("why", "b").stdout
    )


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (3, ("resolve", f"{NAME}@1.0.9"), "Did you mean '1.0.0'?"),
        (3, ("resolve", "acme/wether"), f"Did you mean '{NAME}'?"),
        (2, ("resolve", "Weather Agent"), "Did you mean 'Weather-Agent'?"),
        (2, ("resolve",), "Missing argument 'NAME[@VERSION|@ALIAS]'"),
        (3, ("alias", "set", NAME, "stable", "3.0.0"), f"'{NAME}@3.0.0' is not held."),
        (2, ("alias", "set", NAME, "latest", "1.0.0"), "`latest` moves by itself"),
        (2, ("alias", "set", NAME, "v1", "1.0.0"), "'v1' is an invalid alias."),
        (2, ("alias", "set", f"{NAME}@1.0.0", "stable", "1.0.0"), f"Use '{NAME}'."),
        (2, ("alias", "list", f"{NAME}@1.0.0"), f"Use '{NAME}'."),
        (3, ("alias", "remove", NAME, "stabel"), "Did you mean 'stable'?"),
        (2, ("alias", "remove", NAME, "latest"), "`latest` moves by itself"),
        (3, ("alias", "log", "acme/wether"), "'acme/wether' never had an alias."),
        (2, ("alias", "sett", NAME), "Unknown command 'sett'. Did you mean 'set'?"),
        (2, ("names", "status", "../x"), "is an invalid name: it begins with '.'"),
        (2, ("tag", "add", "a"), "Missing argument 'TAG...'"),
        (2, ("tag", "add", "a", "no tag"), "'no tag' is not a tag."),
        (2, ("tag", "add", "a", "x", "--context", "7"), "Pass a JSON object"),
        (4, ("tag", "add", "a", "old"), "'a' has 'old' already."),
        (4, ("tag", "remove", "a", "new"), "'a' doesn't have 'new'. "),
        (3, ("tag", "add", "ab", "x"), "There is no manifest 'ab'. Did you mean 'a'?"),
        (3, ("tag", "list", "ab"), "Did you mean 'a'?"),
        (2, ("why", "a", "tagg"), "has no action 'tagg'"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_what_was_meant(
    terminal: Terminal, code: int, words: tuple[str, ...], said: str
) -> None:
    """And nothing is printed that a script could take for an answer."""
    registered(terminal, "a")
    terminal.ok("alias", "set", NAME, "stable", "1.0.0")
    terminal.ok("tag", "add", "a", "old")

    assert said.rstrip() in " ".join(terminal.fails(code, *words).split())


def test_aliases_are_set_listed_and_taken_away(terminal: Terminal) -> None:
    """With who and why, and a log of their own."""
    registered(terminal, "a")
    registered(terminal, "b", "1.1.0")

    moved = terminal.type(
        "alias", "set", NAME, "stable", "1.0.0", "--actor", "bea", "--reason", "a week in use"
    )
    again = terminal.type("alias", "set", NAME, "stable", "1.0.0")
    followed = terminal.json("alias", "set", NAME, "next", "latest")

    assert moved.stdout == f"{NAME}@stable is 1.0.0 now.\n"
    assert again.stdout == f"{NAME}@stable is 1.0.0.\n"
    assert again.stderr == "No change: nothing was written.\n"
    assert (followed["version"], followed["manifest_id"], followed["moved"]) == ("1.1.0", "b", True)
    assert [line.split() for line in terminal.ok("alias", "list", NAME).splitlines()] == [
        ["latest", "1.1.0", "b"],
        ["next", "1.1.0", "b"],
        ["stable", "1.0.0", "a"],
    ]
    assert terminal.ok("resolve", f"{NAME}@stable") == "a\n"
    assert terminal.ok("alias", "remove", NAME, "next") == f"{NAME} no longer has the alias next.\n"
    assert terminal.json("alias", "remove", NAME, "stable")["removed"] is True
    rows = [
        line.split("  ")[0:1] + line.split()[3:] for line in terminal.ok("alias", "log", NAME).splitlines()
    ]
    assert rows == [
        ["1", "-", "latest", "->", "1.0.0"],
        ["2", "-", "latest", "->", "1.1.0"],
        ["3", "bea", "stable", "->", "1.0.0", "a", "week", "in", "use"],
        ["4", "ada", "next", "->", "1.1.0"],
        ["5", "ada", "next", "removed"],
        ["6", "ada", "stable", "removed"],
    ]
    events = [json.loads(line) for line in terminal.ok("alias", "log", NAME, "--json").splitlines()]
    assert [event["type"] for event in events] == ["aliases.moved.v1"] * 4 + ["aliases.removed.v1"] * 2
    assert [
        json.loads(line)["alias"] for line in terminal.ok("alias", "list", NAME, "--json").splitlines()
    ] == ["latest"]
    assert terminal.type("alias", "list", "nothing").stderr == "nothing has no aliases.\n"


def test_names_are_listed_and_asked_for(terminal: Terminal) -> None:
    """Who holds what, since when, and which aliases point there."""
    assert terminal.type("names", "list").stderr.startswith("No names are held yet")
    registered(terminal, "a")
    registered(terminal, "b", "1.1.0")

    rows = [line.split()[:3] for line in terminal.ok("names", "list", NAME).splitlines()]
    status = terminal.ok("names", "status", f"{NAME}@1.1.0")

    assert rows == [[f"{NAME}@1.0.0", "a", "REGISTERED"], [f"{NAME}@1.1.0", "b", "REGISTERED"]]
    assert [json.loads(line)["held"] for line in terminal.ok("names", "list", "--json").splitlines()] == [
        True
    ] * 2
    assert "held by  b" in status
    assert "aliases  latest" in status
    assert terminal.json("names", "status", f"{NAME}@1.1.0")["aliases"] == ["latest"]
    assert terminal.ok("names", "status", f"{NAME}@9") == f"{NAME}@9 is free.\n"
    assert terminal.json("names", "status", f"{NAME}@9")["held"] is False
    assert terminal.type("names", "list", "nothing").stderr == "No version of nothing is held.\n"


def test_withdrawing_lets_go_of_the_name(terminal: Terminal) -> None:
    """And what an alias that people set points at is said to be gone."""
    registered(terminal, "a")
    registered(terminal, "b", "1.1.0")
    terminal.ok("alias", "set", NAME, "stable", "1.1.0")

    terminal.ok("act", "b", "withdraw", "--reason", "a hole")

    assert terminal.ok("resolve", NAME) == "a\n"
    said = terminal.fails(3, "resolve", f"{NAME}@stable")
    assert f"points at '{NAME}@1.1.0', which is no longer held." in said
    assert f"registration alias set {NAME} stable VERSION" in said
    assert [
        json.loads(line)["full_name"] for line in terminal.ok("names", "list", "--json").splitlines()
    ] == [f"{NAME}@1.0.0"]


def test_tags_are_given_and_taken_away(terminal: Terminal) -> None:
    """In any state, with a key and a reason like every event; the log shows them."""
    registered(terminal, "a")

    assert (
        terminal.ok("tag", "add", "a", "team/maps", "x", "--reason", "r") == "a  team/maps, x  (version 5)\n"
    )
    first = terminal.json("tag", "add", "a", "y", "--idempotency-key", "k")
    again = terminal.type("tag", "add", "a", "y", "--idempotency-key", "k")
    assert first["tags"] == ["team/maps", "x", "y"]
    assert (
        again.stderr == "This idempotency key was used before, for the same request: nothing was written.\n"
    )
    assert terminal.ok("tag", "remove", "a", "x", "y") == "a  team/maps  (version 7)\n"
    assert terminal.ok("tag", "list", "a") == "team/maps\n"
    assert terminal.json("tag", "list", "a") == {"manifest_id": "a", "tags": ["team/maps"]}
    log = terminal.ok("log", "a").splitlines()
    assert log[4].endswith("REGISTERED -> REGISTERED  +team/maps +x; r")
    assert log[6].endswith("-x -y")
    assert terminal.ok("tag", "remove", "a", "team/maps") == "a  no tags  (version 8)\n"
    assert terminal.type("tag", "list", "a").stderr == "It has no tags.\n"


def test_show_tells_name_aliases_and_tags(terminal: Terminal) -> None:
    """As far as there are any; of the past, aliases are in their own log."""
    approved(terminal, "a")
    before = terminal.ok("show", "a")
    terminal.ok("register", "a")
    terminal.ok("alias", "set", NAME, "stable", "1.0.0")
    terminal.ok("tag", "add", "a", "x")

    shown, told = terminal.ok("show", "a"), terminal.json("show", "a")

    assert "  name" not in before
    assert "  tags" not in before
    assert f"  name      {NAME}@1.0.0 (latest, stable)\n" in shown
    assert "  tags      x\n" in shown
    assert (told["name"], told["aliases"], told["tags"]) == (f"{NAME}@1.0.0", ["latest", "stable"], ["x"])
    assert f"  name      {NAME}@1.0.0\n" in terminal.ok("show", "a", "--version", "4")


def test_what_a_crash_left_is_told_and_set_right(terminal: Terminal) -> None:
    """By `verify`, `recover --dry-run` and `recover`, also as JSON; then all is well."""
    registered(terminal, "a")
    approved(terminal, "b", "2.0.0")
    with RegistrationPipeline(terminal.root) as pipeline:
        position = pipeline.load_state("b").position
        with (
            pytest.raises(KeyboardInterrupt),
            pipeline._registry.names.reservations.reserved(f"{NAME}@2.0.0", "b", position, "2026"),
        ):
            raise KeyboardInterrupt
    shutil.rmtree(terminal.root / "aliases")

    status = terminal.type("names", "status", f"{NAME}@2.0.0")
    verified = terminal.type("verify")
    dry = terminal.type("recover", "--dry-run")
    told = [json.loads(line) for line in terminal.ok("recover", "--json", "--dry-run").splitlines()]
    done = terminal.type("recover")

    assert status.stdout == f"{NAME}@2.0.0 is free.\n"
    assert status.stderr.startswith("It is reserved")
    assert verified.exit_code == 0
    assert "unfinished: names/acme%2Fweather/2.0.0.json: a reservation of" in verified.stdout
    assert "unfinished: aliases/acme%2Fweather/events.jsonl: `latest`" in verified.stdout
    for result in (dry, done):
        assert f"there was a reservation of '{NAME}@2.0.0'" in result.stdout
        assert "`latest` of 'acme/weather' did not point at its latest version: moved" in result.stdout
    assert "1 name to recover." in dry.stderr
    assert "1 name recovered." in done.stderr
    assert (told[-1]["name"], told[-1]["dry_run"]) == (NAME, True)
    assert [step["done"] for step in told[-1]["steps"]] == ["removed", "moved"]
    assert terminal.type("verify").stderr.startswith("2 manifests checked: sound; ")
    assert terminal.type("recover").stderr == "2 manifests replayed: 0 recovered, 0 damaged.\n"


@pytest.mark.damaged
def test_damaged_aliases_are_damage(terminal: Terminal) -> None:
    """`verify` and `recover` end with 7, and name the file."""
    registered(terminal, "a")
    log = terminal.root / "aliases" / "acme%2Fweather" / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b"latest", b"lAtest", 1))

    verified, recovered = terminal.type("verify"), terminal.type("recover", "--json")

    assert verified.exit_code == recovered.exit_code == 7
    assert "damage: aliases/acme%2Fweather/events.jsonl, line 1, byte 0" in verified.stdout
    assert json.loads(recovered.stdout.splitlines()[-1])["problem"]["error"] == "corrupt_log"
    assert terminal.type("recover").exit_code == 7


def test_names_are_completed(terminal: Terminal, tmp_path: Path) -> None:
    """And where there is no registry, silence."""
    registered(terminal, "a")

    assert complete("registration resolve ac", terminal.root) == [NAME]
    assert complete("registration alias list ac", terminal.root) == [NAME]
    assert complete("registration resolve ac", tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["resolve", "io.github.acme/weather"],
        ["resolve", "--json", "io.github.acme/weather@1.2.0"],
        ["names", "list"],
        ["alias", "list", "io.github.acme/weather"],
        ["tag", "list", "weather-1.3"],
    ],
    ids=" ".join,
)
def test_reading_names_loads_nothing_heavy(arguments: list[str]) -> None:
    """Neither pydantic nor portalocker, as for the other commands that only read."""
    registry = FIXTURES / "registries" / "format-1-names"

    loaded = loaded_by(["--registry", str(registry), *arguments])

    assert loaded & {"pydantic", "portalocker", "sqlite3", "asyncio", "importlib.metadata", "http"} == set()
