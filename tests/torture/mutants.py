"""Mutants: the package with one promise broken, each of which some test has to catch.

Run by hand, from anywhere: ``python tests/torture/mutants.py [NAME…]``. Each mutant is made in a copy of the package in a temporary
folder, by replacing text of its source; where that text is gone, the script fails, and the mutant has to be written anew. The tests
that must catch it are run there, and once without any mutant: then all of them have to pass. The exit code is 1 where one survived.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
LOGS = "registration/storage/files/logs.py"
LEDGER = "registration/storage/ledger.py"
SETTLING = "registration/storage/settling.py"
FEED = "registration/storage/feed.py"
RECOVERY = "registration/storage/recovery.py"
REDECIDING = "registration/evidence/redeciding.py"
STORE_TESTS = "tests/storage/test_file_store.py::"
JOURNAL_TESTS = "tests/storage/test_journal.py::"
CRASH_TESTS = "tests/torture/test_crash_states.py::"
FORGED_TESTS = "tests/torture/test_forged_snapshots.py::"
REDECIDING_TESTS = "tests/evidence/test_redeciding.py::"
TIMEOUT_S = 300


@dataclass(frozen=True)
class Mutant:
    """One broken promise. edits: file, text, and what replaces it. tests: some of them must fail."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "believed lines are not written once more",
        (
            (
                LOGS,
                "        if believe_to > believe_from:\n            self._rewrite(believe_from, believe_to)\n",
                "",
            ),
        ),
        (
            f"{CRASH_TESTS}test_what_was_read_after_a_kill_survives_a_power_cut[approve]",
            f"{STORE_TESTS}test_an_event_that_no_snapshot_covers_is_written_again_and_synced",
        ),
    ),
    Mutant(
        "no fdatasync",
        ((LOGS, "log = (self.disk.sync_data, held.log)", "log = (lambda _: None, held.log)"),),
        (
            f"{CRASH_TESTS}test_a_power_cut_at_any_instruction_leaves_all_or_nothing[approve]",
            f"{STORE_TESTS}test_an_event_is_synced_before_the_snapshot_is_touched",
        ),
    ),
    Mutant(
        "files are treated as atomic",
        (
            (SETTLING, "        if self._backend.mending is None:\n", "        if True:\n"),
            (
                SETTLING,
                "atomic=self._backend.mending is None,\n            )\n\n",
                "atomic=True,\n            )\n\n",
            ),
        ),
        (f"{STORE_TESTS}test_a_torn_tail_is_set_aside",),
    ),
    Mutant(
        "the snapshot is named before the log is synced",
        (
            (
                LOGS,
                "                prepared = self._sync(held, snapshot, ",
                (
                    "                if snapshot is not None:\n                    held.replace_snapshot(snapshot)\n"
                    "                prepared = self._sync(held, None, "
                ),
            ),
        ),
        (f"{STORE_TESTS}test_an_event_is_synced_before_the_snapshot_is_touched",),
    ),
    Mutant(
        "given is not looked at",
        ((LOGS, "        for key, data in given.items():\n", "        for key, data in ():\n"),),
        ("tests/contracts/test_backends.py::TestFileBackend::test_a_changed_record_refuses_the_commit",),
    ),
    Mutant(
        "the feed does not wait for a writer",
        (
            (
                FEED,
                "                state = logs.load(commit.stream, waiting=True)\n",
                "                pass\n",
            ),
        ),
        (f"{JOURNAL_TESTS}test_a_reader_waits_for_whoever_is_writing",),
    ),
    Mutant(
        "the journal's line comes after the commit",
        (
            (LOGS, "            self._journal.add(note.line)\n            try:\n", "            try:\n"),
            (
                LOGS,
                "            if prepared:\n                held.name_snapshot()\n",
                "            if prepared:\n                held.name_snapshot()\n            self._journal.add(note.line)\n",
            ),
        ),
        (
            f"{JOURNAL_TESTS}test_a_commit_is_announced_before_its_log_is_written",
            f"{CRASH_TESTS}test_after_a_power_cut_the_feed_has_each_event_once[approve]",
        ),
    ),
    Mutant(
        "doubt is forgotten",
        ((LEDGER, "                self._doubtful.add(stream)\n", "                pass\n"),),
        (f"{CRASH_TESTS}test_a_manifest_whose_write_could_not_be_taken_back_is_read_before_it_is_written",),
    ),
    Mutant(
        "the state's hash is not compared",
        (
            (
                RECOVERY,
                "found[0] == state.position.head and is_proved(state, found[1])\n",
                "found[0] == state.position.head\n",
            ),
        ),
        (f"{FORGED_TESTS}test_nothing_of_a_forged_snapshot_is_decided_on_or_answered[proved-register]",),
    ),
    Mutant(
        "nothing proves a snapshot but its checksum",
        (
            (
                RECOVERY,
                "    line = last_line(read, state.position.size_bytes)\n    found = proof_of(line)",
                "    return True\n    line = last_line(read, state.position.size_bytes)\n    found = proof_of(line)",
            ),
        ),
        (f"{FORGED_TESTS}test_nothing_of_a_forged_snapshot_is_decided_on_or_answered[release 0.1-show]",),
    ),
    Mutant(
        "nothing is decided again",
        (
            (
                REDECIDING,
                "            doubts.extend(self._decided_again(event, rules))  # those before an error stay\n",
                "            pass\n",
            ),
        ),
        (
            f"{REDECIDING_TESTS}test_a_registration_that_no_rule_allowed_is_found_by_its_line",
            f"{REDECIDING_TESTS}test_a_rule_that_is_named_and_not_kept_is_damage",
        ),
    ),
    Mutant(
        "checks in one go compare no bytes",
        (
            (
                REDECIDING,
                "            if not event.line.startswith(covered_line(event, made)):\n                return False\n",
                "",
            ),
        ),
        (
            "tests/torture/test_tampered_logs.py::test_checks_in_one_go_let_nothing_pass_that_single_ones_find[timed]",
        ),
    ),
)


def mutated(mutant: Mutant, root: Path = ROOT) -> dict[str, str]:
    """The files that a mutant changes, by path, with their new source.

    Raises:
        AssertionError: when a text that it replaces is not there, or more than once.
    """
    files: dict[str, str] = {}
    for file, old, new in mutant.edits:
        source = files.get(file) or (root / file).read_text()
        assert source.count(old) == 1, f"{mutant.name}: {file} has {source.count(old)} times: {old!r}"
        files[file] = source.replace(old, new)
    return files


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the package and its tests."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder, "project")
        root.mkdir()
        for name in ("registration", "tests"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", root)
        (root / "fixtures").symlink_to(ROOT / "fixtures")  # which no test writes to
        yield root


def failures(root: Path, mutant: Mutant | None, tests: Sequence[str]) -> list[str]:
    """The tests that fail in a copy where a mutant is at work.

    Raises:
        AssertionError: when they could not be run.
    """
    files = mutated(mutant, root) if mutant is not None else {}
    sound = {file: (root / file).read_text() for file in files}
    try:
        for file, source in files.items():
            (root / file).write_text(source)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-m",
            "",
            "-rf",
            *tests,
        ]
        # What is measured is the package, not the mutants of it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        environment |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        run = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    finally:
        for file, source in sound.items():
            (root / file).write_text(source)
    assert run.returncode in {0, 1}, run.stdout + run.stderr
    return re.findall(r"^FAILED (.*?)(?: - .*)?$", run.stdout, re.MULTILINE)


def main(names: Sequence[str]) -> int:
    """Run the mutants, all or those of these names, and print which test caught each."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    with copied() as root:
        failed = failures(root, None, sorted({test for mutant in chosen for test in mutant.tests}))
        print(f"without a mutant: {', '.join(failed) or 'all pass'}", flush=True)
        survived = 0
        for mutant in chosen:
            found = failures(root, mutant, mutant.tests)
            survived += not found
            print(f"{mutant.name}: {'caught by' if found else 'SURVIVED'}", *found, sep="\n    ", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} caught")
    return int(bool(failed or survived))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
