"""The JSON of the command line: every command's objects, their members and the types of these, held against a table.

`json_shapes.json` is the promise to whoever reads the output with a program. Members may be added, and the table with them;
none is renamed or removed, and none changes its type. In the table a member whose name ends in `?` may be missing, `a|b` is
either, `@name` a shape that has a name, a list has items of one shape, and `object` and `any` are not looked into.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from registration import ConsumerBlocked, RegistrationPipeline, RetryPolicy, cli
from registration.cli.app import app
from registration.pipeline import wire
from registration.storage.layout import directory_of
from registration.testing import FakeClock
from tests.cli.test_cli import FIXTURES, SERVER, Terminal
from tests.kit.policies import put_in_force
from tests.terminal.test_wizard_terminal import SURVEY

TABLE = json.loads((Path(__file__).parent / "json_shapes.json").read_text(encoding="utf-8"))
ID = "io.github.acme/weather@1.2.0"
NAME = "io.github.acme/weather"
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),), "object": (dict,),
    "any": (object,),
}  # fmt: skip


def differences(value: Any, shape: Any, at: str = "") -> list[str]:
    """Where a value is not of a shape."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{at}: {value!r} is no list"]
        return [
            each for number, one in enumerate(value) for each in differences(one, shape[0], f"{at}/{number}")
        ]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is no object"]
        known = {name.rstrip("?"): one for name, one in shape.items()}
        missing = [f"{at}/{name}: is missing" for name in shape if name[-1] != "?" and name not in value]
        found = [
            each
            for name, one in value.items()
            for each in (
                differences(one, known[name], f"{at}/{name}") if name in known else [f"{at}/{name}: is new"]
            )
        ]
        return missing + found
    tried = [
        differences(value, TABLE["shapes"][one[1:]], at) if one[0] == "@" else _wrong_type(value, one, at)
        for one in shape.split("|")
    ]
    return min(tried, key=len)


def _wrong_type(value: Any, name: str, at: str) -> list[str]:
    wrong = not isinstance(value, TYPES[name]) or (isinstance(value, bool) and name in ("integer", "number"))
    return [f"{at}: {value!r} is no {name}"] if wrong else []


class Shapes:
    """A terminal whose every command prints JSON, which is held against the table."""

    def __init__(self, root: Path) -> None:
        self.terminal = Terminal(root)
        self.root = root

    def see(self, command: str, *words: str, code: int = 0, input: str | None = None) -> list[Any]:
        """The objects that a command prints, one at least, each of the shape in the table. words: what follows its name."""
        result = self.terminal.type(*command.split(), *words, "--json", input=input)

        assert result.exit_code == code, result.output
        found = [json.loads(line) for line in result.stdout.splitlines()]
        assert found, command
        for one in found:
            assert differences(one, TABLE["commands"][command]) == []
        return found

    def refused(self, code: int, *words: str) -> dict[str, Any]:
        """The error that a command prints to stderr."""
        result = self.terminal.type(*words, "--json")

        assert (result.exit_code, result.stdout) == (code, "")
        error: dict[str, Any] = json.loads(result.stderr)
        assert differences(error, "@error") == []
        return error


@pytest.fixture
def shapes(root: Path) -> Shapes:
    shapes = Shapes(root)
    shapes.see("init")
    return shapes


def of_version(version: str) -> str:
    return json.dumps({"name": NAME, "version": version})


def test_the_life_of_a_manifest(shapes: Shapes, tmp_path: Path) -> None:
    """What is done to one, and what can be asked about it."""
    shapes.see("create", SERVER)
    shapes.see("submit", ID)
    put_in_force(shapes.root, '[[guards]]\nguard = "not_the_author"\nactions = ["approve"]\n')
    shapes.see("why", ID)
    shapes.see("next", "--as", "bea")
    error = shapes.refused(4, "approve", ID)
    assert differences(error["details"], "@explanation") == []
    shapes.refused(3, "approve", "no-such")
    shapes.refused(2, "transition", ID, "NOWHERE")
    shapes.refused(5, "approve", ID, "--actor", "bea", "--expected-version", "1")
    shapes.see("claim", ID, "--actor", "bea")
    shapes.see("next", "--as", "bea")
    shapes.refused(6, "claim", ID, "--actor", "cyd")
    shapes.see("show", ID)
    shapes.see("locks list")
    shapes.see("release", ID, "--actor", "bea")
    shapes.see("claim", ID, "--actor", "bea")
    shapes.see("locks break", ID, "--reason", "on holiday")
    shapes.see("locks history", ID)
    shapes.see("approve", ID, "--actor", "bea")
    shapes.see("reject", ID, "--reason", "no licence")
    changed = json.loads(Path(SERVER).read_text(encoding="utf-8")) | {"title": "Weather"}
    shapes.see("revise", ID, "-", input=json.dumps(changed))
    shapes.see("transition", ID, "REVIEWED")
    shapes.see("approve", ID, "--actor", "bea")
    shapes.see("register", ID)
    shapes.see("show", ID)
    at = shapes.see("log", ID)[0]["time"]
    shapes.see("diff", ID)
    shapes.see("blame", ID)
    (tmp_path / "receipt.json").write_text(json.dumps(shapes.see("receipt", ID)[0]), encoding="utf-8")
    shapes.see("verify-receipt", str(tmp_path / "receipt.json"))
    shapes.see("wait", ID, "--for", "REGISTERED")
    assert shapes.see("show --at", at, ID)[0]["version"] == 1
    shapes.see("show --document", ID)


def test_lifecycles_and_what_is_due(root: Path, tmp_path: Path) -> None:
    """A lifecycle of one's own, its time-outs, and a later version of it."""
    lifecycle = FIXTURES.parent / "examples" / "lifecycles" / "agent-upkeep.toml"
    clock = FakeClock(978_307_200_000_000_000)
    with RegistrationPipeline(root, lifecycle=lifecycle, actor="ada", clock=clock) as pipeline:
        pipeline.create("a", {"title": "a"})
    shapes = Shapes(root)
    shapes.see("tick", "--dry-run")
    shapes.see("act", "b", "create", SERVER)
    shapes.see("lifecycle check", str(lifecycle))
    said = shapes.see("lifecycle show", str(lifecycle))[0]
    shapes.see("lifecycle paths")
    shapes.see("lifecycle graph")
    shapes.see("graph", "--format", "dot")
    (tmp_path / "next.json").write_text(json.dumps(said | {"version": said["version"] + 1}), encoding="utf-8")
    shapes.see("lifecycle migrate", "--dry-run", str(tmp_path / "next.json"))
    (tmp_path / "bad.toml").write_text('name = "bad"\n', encoding="utf-8")
    shapes.refused(2, "lifecycle", "check", str(tmp_path / "bad.toml"))


def test_policies(shapes: Shapes, tmp_path: Path) -> None:
    """The one in force, and one that is proposed."""
    shapes.see("create", SERVER)
    shapes.see("policy check")
    (shapes.root / "policy.toml").write_text("[claims]\nexclusive = []\n", encoding="utf-8")
    shapes.see("policy apply", "--dry-run")
    shapes.see("policy propose")
    shapes.see("policy approve", "--actor", "bea")
    shapes.see("policy apply", "--reason", "a test")
    shapes.see("policy log")
    shapes.see("policy show")
    shapes.see("policy check")
    shapes.see("policy guards")
    shapes.see("policy explain", "approvals")
    shapes.see("policy schema")
    shapes.see("lifecycle schema")
    shapes.see("hooks schema")
    shapes.see("policy template", "four-eyes")
    strict = tmp_path / "strict.toml"
    strict.write_text('[[guards]]\nguard = "reason_given"\nactions = ["create"]\n', encoding="utf-8")
    shapes.see("policy replay", str(strict))


def test_names_aliases_and_tags(shapes: Shapes) -> None:
    """What stands for a manifest, and what is stuck on it."""
    for version in ("1.0.0", "1.1.0"):
        shapes.see("create", "-", input=of_version(version))
        for action in ("submit", "approve", "register"):
            shapes.see(action, f"{NAME}@{version}")
    shapes.see("resolve", NAME)
    shapes.see("alias set", NAME, "stable", "1.0.0", "--reason", "a week in use")
    shapes.see("alias list", NAME)
    shapes.see("alias log", NAME)
    shapes.see("resolve", f"{NAME}@stable")
    shapes.see("names list")
    shapes.see("names status", f"{NAME}@1.0.0")
    shapes.see("names status", f"{NAME}@9")
    shapes.see("alias remove", NAME, "stable")
    shapes.refused(3, "resolve", f"{NAME}@9")
    shapes.see("tag add", f"{NAME}@1.0.0", "x", "y")
    shapes.see("tag remove", f"{NAME}@1.0.0", "x")
    shapes.see("tag list", f"{NAME}@1.0.0")
    shapes.see("create", "--id", "c", "-", input=of_version("2.0.0"))
    shapes.see("submit", "c")
    shapes.see("undo", "c", "--reason", "too early")


def test_many_manifests(shapes: Shapes, tmp_path: Path) -> None:
    """Imports, lists, figures and queries."""
    lines = [of_version("1.0.0"), of_version("2.0.0"), "[]"]
    (tmp_path / "many.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    shapes.see("import", "--submit", str(tmp_path / "many.jsonl"), code=4)
    (tmp_path / "one.json").write_text(of_version("1.0.0"), encoding="utf-8")
    shapes.see("import", str(tmp_path / "one.json"))
    shapes.see("list", "--limit", "1")
    shapes.see("count")
    shapes.see("stats")
    shapes.see("stats --weeks")
    shapes.see("query", "select * from manifests")
    shapes.see("query --schema")
    shapes.see("catalog status")
    shapes.see("catalog refresh")
    shapes.see("catalog rebuild")
    shapes.refused(2, "query", "select * from nowhere")


def test_followers(shapes: Shapes) -> None:
    """The feed, named consumers and hooks."""

    def fail(_entry: object) -> None:
        raise ValueError("too large")

    shapes.see("create", SERVER)
    shapes.see("follow", "--once")
    for _ in range(2):
        with RegistrationPipeline(shapes.root) as pipeline, pytest.raises(ConsumerBlocked):
            pipeline.feed.consumer("index").run(fail, once=True, retry=RetryPolicy(attempts_max=1))
        shapes.see("consumers status", code=1)
        shapes.see("consumers retry", "index")
    with RegistrationPipeline(shapes.root) as pipeline, pytest.raises(ConsumerBlocked):
        pipeline.feed.consumer("index").run(fail, once=True, retry=RetryPolicy(attempts_max=1))
    shapes.see("consumers skip", "index", "--reason", "too large")
    shapes.see("consumers status")
    shapes.see("consumers reset", "index", "--to", "start")
    shapes.see("consumers delete", "index")
    (shapes.root / "hooks.toml").write_text(
        '[[hooks]]\nname = "ci"\ncommand = ["./ci.sh"]\nstart = "start"\nattempts_max = 1\nwait_s = 0.001\n',
        encoding="utf-8",
    )
    shapes.see("hooks check", code=1)
    shapes.see("hooks test", "ci", code=1)
    (shapes.root / "ci.sh").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (shapes.root / "ci.sh").chmod(0o700)
    shapes.see("hooks run", "--once", code=1)
    shapes.see("hooks dead-letters")
    shapes.see("hooks redeliver", "ci", code=1)


@pytest.mark.damaged
def test_crashes_and_damage(shapes: Shapes) -> None:
    """What verification, recovery and repair report, of manifests, names and sessions, and an error about damage."""
    for id, document in (("a", of_version("1.0.0")), ("b", of_version("2.0.0"))):
        shapes.see("create", "--id", id, "-", input=document)
        for action in ("submit", "approve", "register"):
            shapes.see(action, id)
    shapes.see("verify")
    shapes.see("repair", "a")
    log = shapes.root / "manifests" / directory_of("a") / "events.jsonl"
    log.write_bytes(log.read_bytes() + b'{"torn')
    shutil.rmtree(shapes.root / "aliases")
    (shapes.root / "rules" / "stray").write_text("x", encoding="utf-8")
    shapes.see("verify", code=7)  # the feed noted what was in the logs that are gone
    shapes.see("recover")
    survey = shapes.root.parent / "survey.toml"
    survey.write_text(SURVEY, encoding="utf-8")
    session = shapes.see("wizard start", str(survey))[0]["session"]
    for directory in (
        f"manifests/{directory_of('b')}",
        f"aliases/{directory_of(NAME)}",
        f"sessions/{session}",
    ):
        log = shapes.root / directory / "events.jsonl"
        log.write_bytes(log.read_bytes().replace(b'"time":"2', b'"time":"3', 1))
    shapes.see("verify", code=7)
    told = shapes.see("recover", code=7)
    assert {next(iter(one)) for one in told} == {"manifest_id", "name", "area"}
    listed = shapes.see("list", code=7)
    assert any(one["problem"] for one in listed)
    shapes.see("repair", "b", code=7)
    shapes.see("repair", "b", "--accept-loss")
    shapes.see("wizard health", code=7)


def test_sessions(shapes: Shapes) -> None:
    """A guided session from its beginning to a manifest, and all that can be done with one on the way."""
    place = shapes.root.parent
    (place / "survey.toml").write_text(
        SURVEY + '\n[result]\nname = { answer = "/FIRST/one" }\n', encoding="utf-8"
    )
    first = ("--set", "/FIRST/one=a", "--set", "/FIRST/two=1")
    begun = shapes.see("wizard start", str(place / "survey.toml"), "--community", "guild-7", *first)[0]
    shapes.see("wizard show", "--log")
    shapes.see("wizard back")
    shapes.see("wizard fail", "--reason", "no token yet")
    shapes.see("wizard restart", begun["session"])
    shapes.see("wizard resume", "--set", "/SECOND/three=red")
    shapes.see("wizard list")
    shapes.see("wizard answers")
    shapes.see("wizard stats")
    shapes.refused(2, "wizard", "delete", begun["session"])
    shapes.see("wizard cancel")
    shapes.see("wizard delete", begun["session"], "--yes")
    shapes.see("wizard cleanup")
    shapes.see("wizard health")
    shapes.see("wizard matrix", "agent-card")
    all_of_it = (*first, "--set", "/SECOND/three=red")
    shapes.see("create", "--id", "a", SERVER)
    shapes.refused(4, "wizard", "start", str(place / "survey.toml"), *all_of_it)
    shapes.see("wizard goto", "--step", "SECOND")
    shapes.see("wizard cancel")
    done = shapes.see("wizard start", str(place / "survey.toml"), *all_of_it, "--set", "/FIRST/one=b")[0]
    assert done["manifest"] is not None


def test_the_place_itself(shapes: Shapes, tmp_path: Path) -> None:
    """What needs no registry."""
    shapes.see("doctor", str(tmp_path))
    shapes.see("demo")


def commands(group: click.Group, context: click.Context, *names: str) -> Iterator[str]:
    """The commands that print JSON, by their whole names."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, context, *names, name)
        elif any("--json" in parameter.opts for parameter in command.params):
            yield " ".join((*names, name))


def test_every_command_is_in_the_table() -> None:
    """Whatever takes `--json` has a shape that is promised; the table names nothing else."""
    named = {name.partition(" --")[0] for name in TABLE["commands"]}

    assert named == set(commands(app, click.Context(app)))


def test_every_shape_is_seen() -> None:
    """No line of the table goes untried: each command in it is run by a test of this file."""
    source = Path(__file__).read_text(encoding="utf-8")
    run = set(re.findall(r'shapes\.see\(\s*"([^"]+)"', source)) | set(LOOPED)

    assert run == set(TABLE["commands"])


LOOPED = ("submit", "approve", "register")
"""The commands that tests run in a loop."""


def test_the_command_line_makes_no_object_of_its_own() -> None:
    """What it prints comes from `registration.pipeline.wire`, so that a service says the same."""
    made = {path.stem for path in Path(wire.__path__[0]).glob("*.py")}
    wrong = [
        f"{path.name}, line {call.lineno}: {ast.unparse(call)}"
        for path in sorted(Path(cli.__path__[0]).glob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "echo_json"
        and not _is_made_by(call.args[0], made)
        and ast.unparse(call.args[0]) != "row"  # one of `figures.rows`
    ]

    assert wrong == []


def _is_made_by(value: ast.expr, modules: set[str]) -> bool:
    """Whether an expression is the call of a function of one of the modules."""
    return isinstance(value, ast.Call) and ast.unparse(value.func).partition(".")[0] in modules


@pytest.mark.parametrize(
    ("value", "shape", "wrong"),
    [
        ({"a": 1}, {"a": "integer"}, 0),
        ({"a": True}, {"a": "integer"}, 1),
        ({"a": None}, {"a": "integer"}, 1),
        ({"a": None}, {"a": "integer|null"}, 0),
        ({}, {"a": "integer"}, 1),
        ({}, {"a?": "integer"}, 0),
        ({"a": 1, "b": 2}, {"a": "integer"}, 1),
        ([1, "x"], ["integer"], 1),
        ({"page": "x"}, "@summary|@page", 2),
    ],
)
def test_a_difference_is_seen(value: Any, shape: Any, wrong: int) -> None:
    """The comparison itself: members that are missing, new, or of another type."""
    assert len(differences(value, shape)) == wrong
