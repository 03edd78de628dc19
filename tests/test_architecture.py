"""The map in ARCHITECTURE.md holds: levels, no cycles, light reading commands."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "registration"

LEVELS = {
    "errors": 0,
    "values": 1,
    "layout": 1,
    "retry": 1,
    "freeing": 1,
    "disk": 1,
    "core": 2,
    "guards": 3,
    "lifecycles": 3,
    "wizards": 3,
    "names": 4,
    "engine": 4,
    "publisher": 4,
    "stores": 4,
    "feed": 4,
    "catalog": 4,
    "recovery": 4,
    "verification": 4,
    "doctor": 4,
    "rules": 4,
    "policy_file": 4,
    "policy_replay": 4,
    "receipts": 4,
    "undoing": 4,
    "timetravel": 4,
    "differences": 4,
    "opening": 4,
    "deploying": 4,
    "leases": 4,
    "finder": 5,
    "reader": 5,
    "naming": 5,
    "pipeline": 5,
    "claims": 5,
    "waiting": 5,
    "results": 5,
    "many": 5,
    "asynchronous": 5,
    "importing": 5,
    "import_sources": 5,
    "bench": 5,
    "sessions": 5,
    "onboarding": 5,
    "testing": 5,
    "upkeep": 5,
    "areas": 5,
    "cli": 6,
    "__main__": 6,
}
"""Each room of the package and its level; a module imports from its own level or lower ones."""


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name, parsed."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


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


def imports_when_loaded(tree: ast.Module, known: set[str]) -> set[str]:
    """Those that loading the module loads: not those in functions, nor those for types only."""
    body = [
        node
        for node in tree.body
        if not (
            isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        )
        and not isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    return imports(ast.Module(body=body, type_ignores=[]), known)


def level_of(module: str) -> int:
    parts = module.split(".")
    return LEVELS[parts[1]] if len(parts) > 1 else 6


def test_every_room_is_on_the_map() -> None:
    """`ls` and the table of levels tell the same."""
    rooms = {
        path.stem
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path.is_dir() and path.name[0] != "_")
    }

    assert rooms - {"__init__"} == set(LEVELS)


def test_architecture_md_tells_the_same_levels() -> None:
    """The table in ARCHITECTURE.md names every room at its level."""
    rows = [
        line.split("|")[1:3]
        for line in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and line.split("|")[1].strip().isdigit()
    ]
    told = {level: "".join(rooms for found, rooms in rows if int(found) == level) for level in range(7)}

    for room, level in LEVELS.items():
        if room != "__main__":
            assert f"`{room}`" in told[level] or f"`{room}/`" in told[level], room


def test_a_module_imports_from_its_own_level_or_lower_ones() -> None:
    """Nobody reaches up, not even for a type."""
    parsed = modules()
    upward = [
        f"{name} -> {target}"
        for name, tree in parsed.items()
        if name != "registration"  # the package resolves its public names lazily, from wherever they live
        for target in imports(tree, set(parsed))
        if target != "registration" and level_of(target) > level_of(name)
    ]

    assert upward == []


def test_no_module_imports_itself_in_a_circle() -> None:
    """Loading any module first works, since no two need each other to be loaded."""
    parsed = modules()
    needs = {name: imports_when_loaded(tree, set(parsed)) - {name} for name, tree in parsed.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for target in sorted(needs.get(name, set())):
                visit(target, (*path, name))
            done.add(name)

    for name in sorted(needs):
        visit(name, ())

    assert done == set(needs)


def test_the_core_does_no_io_and_reads_no_clock() -> None:
    """What decides and folds imports nothing that could make the same log give other bytes."""
    forbidden = {"os", "io", "time", "random", "socket", "pathlib", "tempfile", "secrets", "threading"}
    parsed = modules()
    found = [
        f"{name} imports {alias.name}"
        for name, tree in parsed.items()
        if level_of(name) in (2, 3)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.split(".")[0] in forbidden
    ]

    assert found == []


def test_only_the_disk_syncs_renames_and_locks() -> None:
    """The system calls that durability rests on have one home."""
    calls = {"fsync", "fdatasync", "rename", "replace", "ftruncate", "flock", "lockf"}
    found = [
        f"{name}: os.{node.attr}"
        for name, tree in modules().items()
        if name != "registration.disk"
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
    heavy |= set() if arguments[0] == "list" else {"sqlite3"}
    assert loaded & heavy == set()


def test_importing_the_package_loads_none_of_it() -> None:
    """`import registration` costs nothing: names are resolved when they are used."""
    script = "import registration, sys; print([n for n in sys.modules if n.startswith('registration.')])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
