"""Programs that some tests run, and that need not be on every machine."""

from __future__ import annotations

import os
import shutil

import pytest

PACKAGES = {"dot": "graphviz", "openssl": "openssl", "strace": "strace"}
"""Each program with the package of Debian and Ubuntu that it comes in; `.ci/run` installs them."""


def needs_program(name: str) -> None:
    """Go on where a program is installed. Elsewhere the test is skipped, with the line that installs it; in CI it fails."""
    if shutil.which(name) is not None:
        return
    missing = f"{name} is not installed: sudo apt-get install {PACKAGES[name]}"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)
