"""The benchmark: contenders in turn, figures that hang together, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from registration import RegistrationPipeline, StoreError
from registration.cli.app import app
from registration.testing.bench.contention import contend_in_processes, contend_in_threads
from registration.testing.bench.floors import BareFiles, read_lines
from registration.testing.bench.measuring import Row, Samples, at_once, in_turn, rate_rows, timed_rows
from registration.testing.bench.processes import cpu_s, run_workers
from registration.testing.bench.subject import DOCUMENT, Walker, modes, open_subject
from registration.testing.bench.suite import Effort

SMALL = Effort(
    rounds=4, rate_rounds=2, times=2, writers_times=3, events=10, manifests=30, processes_started=1
)


def test_contenders_take_turns():
    """Each round does each contender once, in an order that is turned round; the first rounds are not counted."""
    done = []

    taken = in_turn(
        {"a": lambda: done.append("a"), "b": lambda: done.append("b")},
        rounds=3,
        warm_up=1,
        step=lambda: done.append("."),
    )

    assert "".join(done) == "b.a." + "a.b." + "b.a." + "a.b."
    assert [len(samples.seconds) for samples in taken.values()] == [3, 3]


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=50))
def test_percentiles_are_samples_in_order(seconds):
    """A percentile is one of the samples, and a higher one is no shorter."""
    samples = Samples(tuple(seconds))

    found = [samples.percentile(percent) for percent in (0, 50, 95, 99, 100)]

    assert found == sorted(found)
    assert set(found) <= set(seconds)
    assert (found[0], found[-1]) == (min(seconds), max(seconds))
    assert samples.ratio_to(samples) == samples.paired_ratio_to(samples) == 1


def test_paired_ratios_forget_what_disturbed_both():
    """Where some rounds were slow for both, the median of the ratios is that of the quiet ones."""
    floor, subject = Samples((1.0, 9.0, 1.0)), Samples((2.0, 18.0, 2.0))

    assert subject.paired_ratio_to(floor) == 2
    (_, row) = timed_rows("g", {"floor": floor, "subject": subject}, {"subject": "floor"}, unit="ms")
    assert (row.median, row.ratio, row.paired_ratio, row.floor) == (2000, 2, 2, "floor")


def test_rates_are_compared_as_rates():
    """Twice as many is a ratio of two."""
    (_, row) = rate_rows(
        "g", {"floor": [10.0, 20.0, 30.0], "subject": [20.0, 40.0, 60.0]}, {"subject": "floor"}
    )

    assert (row.median, row.ratio, row.paired_ratio, row.p99) == (40, 2, 2, None)


def test_threads_at_once_and_their_errors():
    """Each work is done by a thread of its own; what one raises is raised."""
    seen = set()

    rate = at_once(
        [lambda: seen.add(threading.get_ident()), lambda: seen.add(threading.get_ident())], times=1
    )

    assert rate > 0
    with pytest.raises(ZeroDivisionError):
        at_once([lambda: None, lambda: 1 // 0], times=2)


def test_the_floor_writes_the_same_bytes(tmp_path):
    """What the subject wrote last is what its floor writes, to the byte."""
    with (
        open_subject(str(tmp_path / "registry"), "each") as pipeline,
        BareFiles(str(tmp_path / "bare")) as bare,
    ):
        walker = Walker(pipeline, "walked")
        walker.step()
        walker.lend(bare)
        bare.write_both()

    log = tmp_path / "registry" / "manifests" / "walked" / "events.jsonl"
    assert log.read_bytes().endswith((tmp_path / "bare" / "log").read_bytes())
    assert (tmp_path / "bare" / "snapshot").read_bytes() == log.with_name("state.json").read_bytes()
    read_lines(log.read_bytes())


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory to measure in, with little effort."""
    monkeypatch.setattr("registration.testing.bench.suite.QUICK", SMALL)
    place = tmp_path / "disk"
    place.mkdir()
    return place


def test_a_program_is_told_every_figure(place):
    """One JSON object: every figure is a positive number, and has its floor in its own group."""
    told = CliRunner().invoke(app, ["bench", "--quick", "--json", str(place)])

    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert set(found) == {
        "directory",
        "file_system",
        "cpus",
        "python",
        "release",
        "quick",
        "rows",
        "contention",
    }
    assert found["quick"] is True
    rows = [Row(**row) for row in found["rows"]]
    assert all(row.median > 0 for row in rows)
    for row in rows:
        beside = [other for other in rows if (other.group, other.measure) == (row.group, row.floor)]
        assert len(beside) == (row.floor is not None)
        if beside:
            assert row.ratio == pytest.approx(row.median / beside[0].median)
    assert {f"transition, snapshots {mode}" for mode in modes()} <= {row.measure for row in rows}
    contended = found["contention"]
    assert {one["writers"] for one in contended} == {"8 threads", "8 processes"}
    assert {(one["lost"], one["unclaimed"], one["refused"], one["writes"]) for one in contended} == {
        (0, 0, 0, 24)
    }
    assert list(place.iterdir()) == []


def test_people_are_shown_tables(place):
    """Each group with its columns, and the place that was measured."""
    shown = CliRunner().invoke(app, ["bench", "--quick", str(place)])

    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith(f"{place} on ")
    for words in (
        "one transition",
        "bare two files",
        "8 threads, a manifest each",
        "took three at most",
        "replay",
    ):
        assert words in shown.stdout
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("contend", [contend_in_threads, contend_in_processes])
def test_contention_counts_every_write(tmp_path, contend):
    """Attempts add up to the writes, and the log is looked through for what was acknowledged."""
    root = tmp_path / "registry"

    found = contend(str(root), "each", writers=3, times=5)

    assert (found.writes, found.refused, found.lost, found.unclaimed) == (15, 0, 0, 0)
    assert sum(found.attempts.values()) == 15
    assert 0 < found.median_s <= found.p99_s <= found.slowest_s
    with RegistrationPipeline(root) as pipeline:
        assert pipeline.load_state("shared").version == 16


def test_a_lost_update_would_be_seen(tmp_path, monkeypatch):
    """What was acknowledged under another event than the log's counts as lost, and that event as nobody's."""
    from registration.testing.bench import contention

    real = contention.revise
    monkeypatch.setattr(contention, "revise", lambda *given: {**real(*given), "event": "another"})

    found = contend_in_threads(str(tmp_path / "registry"), "each", writers=1, times=2)

    assert (found.lost, found.unclaimed) == (2, 2)


def test_a_worker_that_fails_says_why(tmp_path):
    """A process that can't do its task is an error with its last words, not a hang."""
    with pytest.raises(
        StoreError, match=r"A process of the benchmark failed: registration\.errors\.NotFound"
    ):
        run_workers([(str(tmp_path), "each", "shared", "w0", "1")])
    with pytest.raises(StoreError, match="There is no registry"):
        cpu_s("--registry", str(tmp_path / "nowhere"), "list")


def test_a_worker_whose_master_is_gone_ends(tmp_path):
    """Nobody tells it to begin: it does nothing and is gone."""
    run = subprocess.run(
        [sys.executable, "-m", "registration.testing.bench.worker", tmp_path, "each", "own", "m", "5"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (run.returncode, run.stdout, run.stderr) == (0, "ready\n", "")


def test_walking_goes_on_for_ever(tmp_path):
    """Each step is one event, and the document stays."""
    with open_subject(str(tmp_path / "registry"), "each") as pipeline:
        walker = Walker(pipeline, "walked")
        versions = [walker.step().event.version for _ in range(6)]

        assert versions == [3, 4, 5, 6, 7, 8]
        assert pipeline.load_state("walked").document == DOCUMENT


def test_places_that_will_not_do(tmp_path):
    """A directory that isn't there, or that nothing can be made in, is named."""
    missing = CliRunner().invoke(app, ["bench", str(tmp_path / "nowhere")])
    (tmp_path / "file").touch()
    no_directory = CliRunner().invoke(app, ["bench", str(tmp_path / "file")])
    unwritable = CliRunner().invoke(app, ["bench", "/proc"])

    assert (missing.exit_code, no_directory.exit_code, unwritable.exit_code) == (3, 2, 1)
    assert "There is no directory" in missing.stderr
    assert "Nothing can be made in /proc" in unwritable.stderr


@pytest.mark.parametrize("wait_s", [0.3, 2.5])
def test_an_interrupt_removes_everything(tmp_path, wait_s):
    """Ctrl-C, whatever is being measured: it ends quietly, with its directory and its processes gone."""
    process = subprocess.Popen(
        [sys.executable, "-m", "registration", "bench", "--quick", "--json", tmp_path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(tmp_path.iterdir()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(wait_s)
    process.send_signal(signal.SIGINT)
    output, said = process.communicate()

    assert (process.returncode, output) == (1, "")
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in commands_running()


def commands_running():
    """The command lines of all processes of this machine."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as opened:
                found.append(opened.read().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return "\n".join(found)
