"""Ten thousand manifests, once: made by several processes, listed, followed, verified. A million is for an afternoon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "million.py"
MANIFESTS = 10_000


def test_ten_thousand_manifests_are_all_found(tmp_path):
    """Each is made once, found in its state, followed in order and sound to the byte; no process needs much memory."""
    run = subprocess.run(
        [sys.executable, SCRIPT, "--manifests", str(MANIFESTS), "--processes", "2", "--json", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr
    steps = {one["step"]: one for one in json.loads(run.stdout)["steps"]}
    assert steps["create"]["made"] == MANIFESTS
    assert steps["follow"]["events"] == MANIFESTS * 1.1
    assert steps["verify"]["sound"] == MANIFESTS
    assert 3 * MANIFESTS <= steps["create"]["inodes"] <= 3 * MANIFESTS + 100
    assert max(step["memory_mib"] for step in steps.values()) < 150
    assert list(tmp_path.iterdir()) == []
