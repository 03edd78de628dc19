"""What the tests share: registries in temporary directories, and a check of every byte after each test.

A test that breaks its registry on purpose says so: `@pytest.mark.damaged`. All others end with every
manifest's files verified, without a finding, and with every rule that an event names read back.
"""

from __future__ import annotations

import os
import random
import signal
import sys

import pytest
from hypothesis import HealthCheck, find, settings
from hypothesis import strategies as st

from registration import RegistrationPipeline
from registration.engine.opening import open_registry
from registration.evidence.verification import verify_files
from tests.kit.choice import Choice
from tests.kit.deciding_again import DecidedAgain
from tests.kit.spent import ProcessorTime, print_slowest
from tests.kit.totals import add_totals, hand_over_totals, print_totals

# Their assertions shall say as much as a test's own: they must not be imported before this line.
pytest.register_assert_rewrite(
    *(f"registration.testing.{name}_contract" for name in ("backend", "lease", "records")),
    "registration.testing.contract",
)

# No deadlines: a slow machine is no failure. The same examples each time, unless more are asked for. What a property tries
# is a share of its own number: 15 % as usual, all of them in a steady run, and two thousand in a thorough one.
for profile, percent in (("quick", 15), ("steady", 100)):
    settings.register_profile(
        profile,
        deadline=None,
        derandomize=True,
        max_examples=percent,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.register_profile(
    "thorough", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_configure(config):
    # A shell has what it starts in the background ignore Ctrl-C, and so would every process that a test wants to interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(ProcessorTime(), "processor time")
    config.pluginmanager.register(Choice(), "choice")
    config.pluginmanager.register(DecidedAgain(config), "decided again")


def pytest_sessionfinish(session):
    hand_over_totals(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    add_totals(node.config, getattr(node, "workeroutput", {}))


def pytest_terminal_summary(terminalreporter, config):
    print_totals(config, terminalreporter.write_line)
    print_slowest(terminalreporter)


def check_store(store):
    """Fail unless every byte is what was written, every snapshot is up to date, and every rule is kept."""
    named = set()
    for stream in store.streams():
        verified = verify_files(
            store.inspect(stream), stream=stream, source=store.source, definition=store.definition
        )
        assert verified.findings == (), stream
        if store.load(stream) is not None:
            named |= {rule for event in store.read(stream) for rule in rules_named(event.data)}
    check_rules(store, named)
    assert not [stray for stray in store.strays() if stray.damaged]


def rules_named(data):
    """The rules that an event's data names by digest, each with its kind."""
    grounds = [data, data.get("approval") or {}]
    lifecycles = {
        said["digest"] if isinstance(said, dict) else said for g in grounds if (said := g.get("lifecycle"))
    }
    policies = {said for g in grounds if (said := g.get("policy"))}
    return {("lifecycles", digest) for digest in lifecycles} | {("policies", digest) for digest in policies}


def check_rules(store, named):
    """Fail unless each rule, and each schema that a policy names, is kept. A store on files compares its digest itself."""
    for kind, digest in named:
        for schema in {one["schema"] for one in store.kept(kind, digest).get("kinds", ())} - {None}:
            store.kept("schemas", schema)


@pytest.fixture(scope="session", autouse=True)
def _hypothesis_is_warm(request):
    """What Hypothesis reads once, the constants of the package among it, is no test's own time."""
    if any(getattr(item.obj, "is_hypothesis_test", False) for item in request.session.items):
        find(st.integers() | st.text(), lambda _: True)


@pytest.fixture
def root(request, tmp_path):
    """Where a registry goes. Whatever the test made there is verified afterwards."""
    root = tmp_path / "registry"
    yield root
    if (root / "registry.json").exists() and request.node.get_closest_marker("damaged") is None:
        check_store(open_registry(root)[0])


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
