"""What the tests share: registries in temporary directories, and a check of every byte after each test.

A test that breaks its registry on purpose says so: `@pytest.mark.damaged`. All others end with every
manifest's files verified, without a finding.
"""

from __future__ import annotations

import os
import random
import sys

import pytest
from hypothesis import HealthCheck, settings

from registration import RegistrationPipeline
from registration.lifecycles.registration import REGISTRATION
from registration.stores.files import FileStore
from registration.verification import verify_files
from tests.totals import print_totals

# Its assertions shall say as much as a test's own: it must not be imported before this line.
pytest.register_assert_rewrite("registration.testing.contract")

# No deadlines: a slow machine is no failure. The same examples each time, unless more are asked for.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_configure(config):
    config.addinivalue_line("markers", "damaged: the test leaves damage behind, on purpose")


def pytest_terminal_summary(terminalreporter, config):
    print_totals(config, terminalreporter.write_line)


def check_store(store):
    """Fail unless every byte of every stream is what was written, and every snapshot is up to date."""
    for stream in store.streams():
        verified = verify_files(
            store.inspect(stream), stream=stream, source=store.source, definition=store.definition
        )
        assert verified.findings == (), stream


@pytest.fixture
def root(request, tmp_path):
    """Where a registry goes. Whatever the test made there is verified afterwards."""
    root = tmp_path / "registry"
    yield root
    if (root / "registry.json").exists() and request.node.get_closest_marker("damaged") is None:
        check_store(FileStore(root, REGISTRATION))


@pytest.fixture
def restless_threads():
    """Let threads take turns as often as they can: without system calls they would hardly ever meet."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


@pytest.fixture
def clock():
    """A clock that goes one second further at each reading."""
    from registration.testing import FakeClock

    return FakeClock()


@pytest.fixture
def open_pipeline(root, clock):
    """Open the registry at `root`, as often as wanted; time and ids are the same in every run."""
    opened = []
    source = random.Random(1)

    def open_pipeline(**options):
        pipeline = RegistrationPipeline(root, **{"actor": "ada", "clock": clock, "random": source} | options)
        opened.append(pipeline)
        return pipeline

    yield open_pipeline
    for pipeline in opened:
        pipeline.close()


@pytest.fixture
def pipeline(open_pipeline):
    """A registry on files, newly made."""
    return open_pipeline()
