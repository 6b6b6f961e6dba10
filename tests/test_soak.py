"""The soak test in tools/: it runs, and a short run leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc, which Linux has")
def test_a_short_run() -> None:
    """Several hundred frames and twenty opened files leave no descriptor and no thread behind."""
    command = [sys.executable, ROOT / "tools" / "soak.py", "--frames", "400", "--written", "400", "--opens", "20"]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    ends = [line for line in ran.stdout.splitlines() if "descriptors" in line]
    assert len(ends) == 4
    for line in ends:
        before, after = (part.split()[0] for part in line.split("descriptors ")[1].split(" → ")[:2])
        assert int(after.rstrip(",")) <= int(before)
