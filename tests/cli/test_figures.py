"""The figures of the doctor: measured on the disk that was named, and nothing left there."""

from __future__ import annotations

import json
import threading

import pytest
from click.testing import CliRunner

from registration import RegistrationPipeline
from registration.cli.app import app
from registration.pipeline import figures
from registration.storage.disk import PosixDisk

NAMES = [
    "transition", "durable write", "append and sync", "attempts under contention", "recovery of 100 events",
]  # fmt: skip


@pytest.fixture
def place(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    return place


@pytest.fixture
def few(monkeypatch):
    """Fewer rounds, for what is not about their number."""
    for name, value in (("EVENTS", 6), ("WRITES_EACH", 1), ("RECOVERIES", 1)):
        monkeypatch.setattr(figures, name, value)


def test_a_program_is_told_five_figures(place):
    """After the checks, each with its numbers; what is measured is what the name says."""
    told = CliRunner().invoke(app, ["doctor", "--json", str(place)])

    assert told.exit_code == 0, told.output
    found = {one["check"]: one for one in map(json.loads, told.stdout.splitlines()) if "figures" in one}
    assert list(found) == NAMES
    times = [found[name]["figures"] for name in NAMES if "attempts" not in name]
    assert all(0 < one["median_ms"] <= one["p95_ms"] for one in times)
    transition, durable, append = times[:3]
    assert append["median_ms"] <= durable["median_ms"]
    assert transition["times_a_durable_write"] == pytest.approx(
        transition["median_ms"] / durable["median_ms"], abs=0.01
    )
    contended = found["attempts under contention"]["figures"]
    assert (contended["writes"], 0 < contended["within_3"] <= 1) == (40, True)
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("few")
def test_people_are_shown_them(place):
    """A line each, beside the checks."""
    shown = CliRunner().invoke(app, ["doctor", str(place)])

    assert shown.exit_code == 0, shown.output
    assert "times a durable write" in shown.stdout
    assert "8 writers, one manifest" in shown.stdout
    assert list(place.iterdir()) == []


def test_the_transitions_are_real_and_the_log_has_its_hundred_events(place, monkeypatch):
    """What is recovered is a log of 100 events, written by transitions of the same pipeline."""
    seen = []
    recover = RegistrationPipeline.recover_from_events

    def watched(self, id):
        state = recover(self, id)
        seen.append((id, state.version))
        return state

    monkeypatch.setattr(RegistrationPipeline, "recover_from_events", watched)

    list(figures.figures(str(place)))

    assert set(seen) == {("walked", 100)}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "interrupted",
    [
        "registration.pipeline.figures.encode_snapshot",
        "registration.pipeline.figures.Counter",
        "registration.pipeline.pipeline.RegistrationPipeline.recover_from_events",
    ],
)
def test_an_interrupt_removes_everything(place, monkeypatch, interrupted):
    """Ctrl-C, whatever is being measured: it ends as interrupted, with its directory and its threads gone."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, interrupt)

    told = CliRunner().invoke(app, ["doctor", str(place)])

    assert told.exit_code == 1
    assert "Aborted" in told.stderr
    assert list(place.iterdir()) == []
    assert not [one for one in threading.enumerate() if one.name.startswith("ThreadPoolExecutor")]


def test_nothing_is_measured_where_a_registry_could_not_be_kept(place, monkeypatch):
    """A disk whose syncs fail has no figures; the check says why."""

    class BadDisk(PosixDisk):
        def sync_data(self, fd):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("registration.storage.doctor.PosixDisk", BadDisk)

    told = CliRunner().invoke(app, ["doctor", "--json", str(place)])

    assert told.exit_code == 1
    assert "figures" not in told.stdout
    assert list(place.iterdir()) == []
