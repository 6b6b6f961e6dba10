"""A killed run leaves files that play up to two seconds before its end, and none under a final name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="forks, and needs pidfd_open, which Linux has")
def test_a_kill_loses_two_seconds_at_most():
    """Three runs that write in three ways are killed within 1.5 s of their first bytes."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "kill_infer.py", "--kills", "3", "--latest", "1.5"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| 1 |") == 3
