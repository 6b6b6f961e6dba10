"""A run that is killed leaves files that play up to two seconds before it, and none under a final name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="forks, and waits as Linux alone can")
def test_a_kill_loses_two_seconds_at_most():
    """Three runs, of three ways of writing, are killed within a second and a half of their first bytes."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "kill_infer.py", "--kills", "3", "--latest", "1.5"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| 1 |") == 3
