"""A few of the kill points of `benchmarks.kills`: nothing half, nothing lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("image", "video", "live", "data crops", "evaluate")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="commands run in forks")
def test_killed_commands_leave_nothing_half_and_lose_nothing(tmp_path):
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", "3", *COMMANDS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| ([a-z ]+) \| 3 \| (\d) \| 0 \| 0 \|$", done.stdout, flags=re.MULTILINE)
    assert [name for name, _ in rows] == list(COMMANDS)
    assert sum(int(killed) for _, killed in rows) >= 10, "most of them must have died of it"
