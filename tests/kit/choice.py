"""Which tests run by default, and what a run says of those that it left out.

All tests in `tests/torture` are marked `torture`, but for a few of each kind that are marked `sample`: those run by default,
so that a change of the commit path meets crash states at once. What is named test by test runs, whatever its mark.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

TORTURE = Path(__file__).resolve().parents[1] / "torture"
MARKED = ("slow", "torture")
BY_DEFAULT = "not slow and not torture"
"""What `addopts` in pyproject.toml says. Another expression on the command line takes its place."""
LEFT_OUT = "tests left out for their mark"


def sampled(values: Iterable[Any], *every_run: Any, rest: str = "torture") -> list[Any]:
    """The values as parameters of a test: those of `every_run` as a sample that runs by default, the others marked."""
    return [
        pytest.param(value, marks=getattr(pytest.mark, "sample" if value in every_run else rest))
        for value in values
    ]


class Choice:
    """A plugin that marks what the folder says, and counts what its mark left out."""

    def __init__(self) -> None:
        self._left_out = 0

    def pytest_configure(self, config: pytest.Config) -> None:
        if config.option.markexpr == BY_DEFAULT and config.args and all("::" in one for one in config.args):
            config.option.markexpr = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if TORTURE in item.path.parents and item.get_closest_marker("sample") is None:
                item.add_marker(pytest.mark.torture)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        if items and items[0].config.option.markexpr == BY_DEFAULT:
            self._left_out += sum(any(map(item.get_closest_marker, MARKED)) for item in items)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[LEFT_OUT] = self._left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # Each process collects all tests, so each has left out the same.
        self._left_out = max(self._left_out, getattr(node, "workeroutput", {}).get(LEFT_OUT, 0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._left_out:
            terminalreporter.write_line(
                f"{self._left_out:,} tests marked {' or '.join(MARKED)} were left out; "
                f"`pytest -m '{' or '.join(MARKED)}'` runs them"
            )
