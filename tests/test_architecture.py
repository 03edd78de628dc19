"""The map in ARCHITECTURE.md holds: levels, no cycles, light reading commands."""

from __future__ import annotations

import ast
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "registration"

ROOMS = (
    ("errors",),
    ("values",),
    ("core",),
    ("rules", "storage"),
    ("evidence",),
    ("engine", "feed", "catalog"),
    ("onboarding",),
    ("pipeline",),
    ("testing",),
    ("cli", "__main__"),
)
"""The rooms of the package in their order: a room imports from those before it, never from one of its own rank."""

RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}

STILL = {
    "registration.__main__ -> registration.cli",
}
"""Imports that still go the other way. It only ever gets shorter."""


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name, parsed."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module", autouse=True)
def _parsed() -> None:
    modules()


def imports(tree: ast.Module, known: set[str]) -> set[str]:
    """The package's own modules that a module imports, anywhere in it, for types as well."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in known else node.module
                for alias in node.names
            }
    return {name for name in found if name.split(".")[0] == "registration"}


def room_of(module: str) -> str:
    return module.split(".")[1]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of nodes that reach each other, each sorted (Tarjan 1972), those of one node left out."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            part, stack[at:] = stack[at:], []
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def test_every_room_is_on_the_map() -> None:
    """`ls registration` and the order of rooms name the same."""
    rooms = {
        path.stem
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path.is_dir() and path.name[0] != "_")
    }

    assert rooms - {"__init__"} == set(RANK)


def test_architecture_md_gives_the_same_order() -> None:
    """The line of rooms in ARCHITECTURE.md is the order that the imports are held to."""
    order = " < ".join(", ".join(room for room in rooms if room != "__main__") for rooms in ROOMS)

    assert order in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_a_room_imports_only_from_rooms_before_it() -> None:
    """All imports count: those inside functions and those for types as well."""
    parsed = modules()
    wrong = {
        f"{name} -> {target}"
        for name, tree in parsed.items()
        if name != "registration"  # the package resolves its public names lazily, from wherever they live
        for target in imports(tree, set(parsed)) - {"registration"}
        if room_of(target) != room_of(name) and RANK[room_of(target)] >= RANK[room_of(name)]
    }

    assert wrong == STILL


CIRCLES_STILL = 0
"""How many circles of files there still are. It only ever gets smaller."""


def test_no_files_import_each_other_in_a_circle() -> None:
    """All imports count, wherever they stand: any file can be read with only those that it names."""
    parsed = modules()
    graph = {
        name: imports(tree, set(parsed)) - {name, "registration"}
        for name, tree in parsed.items()
        if name != "registration"
    }

    assert len(circles(graph)) == CIRCLES_STILL, circles(graph)


def modules_named(tree: ast.Module) -> set[str]:
    """The first names of all modules that a module imports, in whichever way."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_the_core_does_no_io_and_reads_no_clock() -> None:
    """What decides and folds imports nothing that could make the same log give other bytes."""
    forbidden = {"os", "io", "time", "random", "socket", "pathlib", "tempfile", "secrets", "threading"}
    found = {
        name: bad
        for name, tree in modules().items()
        if name.startswith(("registration.core", "registration.values", "registration.rules"))
        if (bad := modules_named(tree) & forbidden)
    }

    assert found == {"registration.values.times": {"time"}}  # the system clock, handed on as an argument


def test_only_the_disk_syncs_renames_and_locks() -> None:
    """The system calls that durability rests on have one home."""
    calls = {"fsync", "fdatasync", "rename", "replace", "ftruncate", "flock", "lockf"}
    found = [
        f"{name}: os.{node.attr}"
        for name, tree in modules().items()
        if name != "registration.storage.disk"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in {"os", "fcntl", "portalocker"}
        and node.attr in calls
    ]

    assert found == []


def loaded_by(arguments: list[str]) -> set[str]:
    """The modules that a fresh process has loaded after a command."""
    script = (
        "import sys, json, atexit\n"
        "from registration.cli import main\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.__stderr__))\n"
        f"sys.argv = {['registration', *arguments]!r}\n"
        "main()\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # Less what an interpreter loads by itself: one that measures coverage brings much along.
    bare = "import sys, json; print(json.dumps(sorted(sys.modules)))"
    without = subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True, check=True)
    return set(json.loads(run.stderr.splitlines()[-1])) - set(json.loads(without.stdout))


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "io.github.acme/weather@1.2.0"],
        ["show", "--json", "ledger-notes@0.3.1"],
        ["log", "io.github.acme/weather@1.2.0"],
        ["log", "--json", "io.github.acme/weather@1.2.0"],
        ["list"],
        ["list", "--state", "REVIEWED", "--json"],
        ["verify", "io.github.acme/weather@1.2.0"],
        ["graph"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_reading_commands_load_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    """A command that only reads pays neither for pydantic nor for portalocker; SQLite is for who asks the catalog."""
    registry = tmp_path / "registry"
    shutil.copytree(ROOT / "fixtures" / "registries" / "format-1", registry)
    if arguments[0] == "list":  # the first one makes the feed and the catalog
        loaded_by(["--registry", str(registry), "list"])

    loaded = loaded_by(["--registry", str(registry), *arguments])

    heavy = {"pydantic", "portalocker", "asyncio", "redis", "importlib.metadata", "email", "http"}
    heavy |= set() if arguments[0] in ("list", "verify") else {"sqlite3"}
    assert loaded & heavy == set()


def test_importing_the_package_loads_none_of_it() -> None:
    """`import registration` costs nothing: names are resolved when they are used."""
    script = "import registration, sys; print([n for n in sys.modules if n.startswith('registration.')])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


def test_the_pipelines_package_gives_its_name_and_loads_no_more_than_that() -> None:
    """`from registration.pipeline import RegistrationPipeline` works; importing the package alone loads nothing of it."""
    script = (
        "import registration.pipeline, sys\n"
        "print([n for n in sys.modules if n.startswith('registration.') and n != 'registration.pipeline'])\n"
        "from registration.pipeline import RegistrationPipeline\n"
        "print(RegistrationPipeline.__module__)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.split("\n")[:2] == ["[]", "registration.pipeline.pipeline"]


def test_a_first_write_loads_no_pydantic(tmp_path: Path) -> None:
    """Its words are checked by hand: pydantic is for what is read from files."""
    script = (
        "import sys\n"
        "from registration import RegistrationPipeline\n"
        "with RegistrationPipeline(sys.argv[1], actor='ada') as pipeline:\n"
        "    pipeline.create('a', {'name': 'a'})\n"
        "    pipeline.submit_for_review('a')\n"
        "    pipeline.approve('a', actor='bea')\n"
        "print('pydantic' in sys.modules)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "registry")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)

    assert run.stdout == "False\n"
