"""The processor time that each test uses, with its processes: printed for the ten that use most, and bounded.

It is processor time, not time on a clock, so that a machine with much else to do fails no test. What a fixture of more
than one test uses is nobody's: it would fall on whichever comes first. What a test's processes use counts once they ended
and were waited for.
"""

from __future__ import annotations

import resource
import sys
from typing import Any

import pytest
from hypothesis import settings

LIMIT_S = 1.0
"""What a test that runs by default may use. Above it, make it smaller, or mark it: `slow`, or `torture`."""
EXEMPT = ("slow", "torture")
SPENT = pytest.StashKey[float]()
PROPERTY = "processor_s"


def processor_s() -> float:
    """Of this process and of its children that ended, since they began."""
    own, ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def is_usual() -> bool:
    """Whether tests run as they do by default: no debugger or coverage looks on, and properties try their usual examples."""
    coverage = sys.modules.get("coverage")
    watched = sys.gettrace() is not None or (coverage is not None and coverage.Coverage.current() is not None)
    return not watched and settings.get_current_profile_name() == "quick"


class ProcessorTime:
    """A plugin that measures the tests of one process; where several run them, each measures its own."""

    def __init__(self) -> None:
        self._begun_s = self._shared_s = 0.0
        self._sharing = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Any:
        self._begun_s, self._shared_s = processor_s(), 0.0
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Any:
        if fixturedef.scope == "function" or self._sharing:
            return (yield)
        begun_s, self._sharing = processor_s(), True
        try:
            return (yield)
        finally:
            self._shared_s += processor_s() - begun_s
            self._sharing = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        result = yield
        spent_s = self._spent_s()
        if spent_s > LIMIT_S and not any(map(item.get_closest_marker, EXEMPT)) and is_usual():
            pytest.fail(
                f"it used {spent_s:.2f} s of processor time, and a test that runs by default may use {LIMIT_S:g} s: "
                f"make it smaller, or mark it {' or '.join(EXEMPT)}",
                pytrace=False,
            )
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Any:
        try:
            return (yield)
        finally:
            item.user_properties.append((PROPERTY, self._spent_s()))

    def _spent_s(self) -> float:
        return processor_s() - self._begun_s - self._shared_s


def print_slowest(reporter: pytest.TerminalReporter, count: int = 10) -> None:
    """One line for each of the tests that used most; nothing where no test ran long enough to be told apart."""
    spent = [
        (seconds, report.nodeid)
        for reports in reporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "teardown"
        for name, seconds in report.user_properties
        if name == PROPERTY
    ]
    slowest = sorted(spent, reverse=True)[:count]
    if slowest and slowest[0][0] >= 0.1:
        reporter.write_line("processor time, of the tests that used most:")
        for seconds, nodeid in slowest:
            reporter.write_line(f"{seconds:6.2f} s  {nodeid}")
