"""What the documents say is what happens: commands, output, exit codes, the ten-line check."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from registration import RegistrationPipeline
from registration.cli.app import app
from registration.cli.exits import EXIT_CODES
from registration.core.interpreter import steps
from registration.rules.lifecycles.registration import CHART

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
SERVER = ROOT / "fixtures" / "manifests" / "mcp-server.json"


def block(text: str, language: str, which: int = 0) -> str:
    """A block of code in that language; the first, as usual."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[which]


def steady(text: str) -> str:
    """The text without what differs from run to run: times, ids, the hashes of logs, the registry's place."""
    text = re.sub(r"(?m)^(  head +)[0-9a-f]{64}$", r"\1HASH", text)
    text = re.sub(r"; head [0-9a-f]{64};", "; head HASH;", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"--from \S+", "--from CURSOR", text)
    return re.sub(r"^/\S+ is now", "ROOT is now", text, flags=re.MULTILINE)


def at_a_shell(command: str, folder: Path) -> str:
    """What a command prints, by the console script of the interpreter that runs the tests, wherever that is installed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    ).stdout


def in_this_process(command: str, folder: Path) -> str:
    """The same without starting a process, where the command is ours alone."""
    name, *words = shlex.split(command)
    if name != "registration":
        return at_a_shell(command, folder)
    with contextlib.chdir(folder):
        return CliRunner().invoke(app, words, prog_name="registration").output


HOW = [in_this_process, pytest.param(at_a_shell, marks=pytest.mark.slow)]


def printed_by(session: str, folder: Path, how: Callable[[str, Path], str]) -> str:
    """What the commands of a session print, each behind its own line."""
    (folder / "server.json").write_bytes(SERVER.read_bytes())
    commands = re.findall(r"^\$ (.*)$", session, re.MULTILINE)
    return "".join(f"$ {command}\n{how(command, folder)}" for command in commands)


@pytest.mark.parametrize("how", HOW)
def test_the_readme_session_prints_what_it_says(tmp_path: Path, how: Callable[[str, Path], str]) -> None:
    """The sixty seconds in the README are real output."""
    session = block(README, "console")

    assert steady(printed_by(session, tmp_path, how)) == steady(session)


@pytest.mark.parametrize("how", HOW)
def test_the_readme_rules_refuse_as_it_says(tmp_path: Path, how: Callable[[str, Path], str]) -> None:
    """The policy in the README can be copied, and what it refuses is said as it is told there."""
    with RegistrationPipeline(tmp_path):
        pass
    schema = ROOT / "fixtures" / "policies" / "full" / "server.schema.json"
    (tmp_path / "server.schema.json").write_bytes(schema.read_bytes())
    (tmp_path / "policy.toml").write_text(block(README, "toml"), encoding="utf-8")
    session = block(README, "console", 1)

    assert steady(printed_by(session, tmp_path, how)) == steady(session)


@pytest.mark.parametrize("how", HOW)
def test_the_readme_session_on_finding_prints_what_it_says(
    tmp_path: Path, how: Callable[[str, Path], str]
) -> None:
    """Importing, listing, resolving, asking and following are real output, too."""
    session = block(README, "console", 2)

    assert steady(printed_by(session, tmp_path, how)) == steady(session)


def test_the_readme_hook_can_be_meant(tmp_path: Path) -> None:
    """The hook in the README can be copied."""
    with RegistrationPipeline(tmp_path):
        pass
    (tmp_path / "hooks.toml").write_text(block(README, "toml", 1), encoding="utf-8")
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()

    done = subprocess.run(
        [sys.executable, "-m", "registration", "hooks", "check"],
        cwd=tmp_path,
        env={**os.environ, "CI_HOOK_SECRET": secret},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_readme_program_runs(tmp_path: Path) -> None:
    """The Python in the README does what the text around it says."""
    program = block(README, "python").replace("/srv/registry", str(tmp_path / "registry"))
    (tmp_path / "server.json").write_bytes(SERVER.read_bytes())

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    lines = done.stdout.splitlines()
    assert lines[3] == "io.github.acme/weather@1.2.0 REGISTERED"
    assert [line.split()[-1] for line in lines[4:]] == ["create", "submit_for_review", "approve", "register"]


def test_the_readme_table_of_exit_codes_is_the_one_in_the_code() -> None:
    """One table, told twice."""
    told = re.findall(r"^\| (\d) \| (.*) \|$", README, re.MULTILINE)

    assert told == [(str(code), meaning) for code, meaning, _ in EXIT_CODES]


def test_the_readme_table_of_the_lifecycle_is_the_chart() -> None:
    """Each row is a transition, and each transition has a row."""
    rows = re.findall(r"^\| ([^|]+) \| `(\w+)`[^|]* \| ([A-Z]+)[^|]* \|$", README, re.MULTILINE)
    told = {(source, action, target) for sources, action, target in rows for source in sources.split(", ")}

    moves = {
        (leaf or "(none)", action, taken.place)
        for leaf in (None, *CHART.leaves)
        for action, taken in steps(CHART, leaf).items()
    }
    assert told == moves


def test_the_chain_is_checked_by_ten_lines_that_know_nothing_of_us(tmp_path: Path) -> None:
    """The script in ARCHITECTURE.md says yes to every kept log, and no to a changed one."""
    script = block(ARCHITECTURE, "python")
    logs = sorted((ROOT / "fixtures").glob("registries/*/manifests/*/events.jsonl"))
    changed = tmp_path / "events.jsonl"
    changed.write_bytes(logs[1].read_bytes().replace(b'"actor":"bea"', b'"actor":"eve"', 1))

    def check(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", script, str(path)], capture_output=True, text=True, check=False
        )

    assert len([line for line in script.splitlines() if line.strip()]) <= 11
    assert {
        name for line in script.splitlines() if line.startswith("import ") for name in line[7:].split(", ")
    } == {
        "hashlib",
        "json",
        "sys",
    }
    for log in logs:
        assert "sound, head" in check(log).stdout
    assert "line 3 was changed" in check(changed).stderr


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path) -> None:
    """DRAFT to REGISTERED with a crash and a recovery; and a tool that installs only what was registered."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    examples = ROOT / "examples"
    kept = ROOT / "fixtures" / "registries" / "format-1"

    def example(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
        )

    demo = example(str(examples / "registration_demo.py"))
    allowed = example(str(examples / "install_gate.py"), str(kept), str(SERVER))
    draft = example(str(examples / "install_gate.py"), str(kept), str(SERVER.with_name("agent-card.json")))
    altered = tmp_path / "altered.json"
    altered.write_text(
        SERVER.read_text(encoding="utf-8").replace("Forecasts", "Everything"), encoding="utf-8"
    )
    changed = example(str(examples / "install_gate.py"), str(kept), str(altered))
    missing = example(str(examples / "install_gate.py"), str(kept), "nowhere.json")

    assert demo.returncode == 0, demo.stderr
    assert "io.github.acme/weather@1.2.0 is REGISTERED." in demo.stdout
    assert (allowed.returncode, allowed.stdout) == (0, "may be installed\n")
    assert "is DRAFT, not REGISTERED" in draft.stdout
    assert "has changed since it was approved" in changed.stdout
    assert missing.returncode == 1
    assert "Traceback" not in missing.stderr


def test_the_documents_speak_of_this_project_only() -> None:
    """No path of one machine."""
    for path in (*ROOT.glob("*.md"), *ROOT.glob("registration/**/*.py"), *ROOT.glob("examples/*.py")):
        text = path.read_text(encoding="utf-8")
        assert "/home/" not in text, path
