"""docs/guides/webcam.md is correct: its client runs, and its tables match the code."""

import re
import subprocess
import sys
from pathlib import Path

from conftest import build_model
from web import running

from liquidvision import predict
from liquidvision.web.protocol import COMMANDS
from liquidvision.web.server import MAX_CONNECTIONS

PAGE = (Path(__file__).parents[1] / "docs" / "guides" / "webcam.md").read_text(encoding="utf-8")


def test_the_client_runs(make_video, tmp_path: Path) -> None:
    """The client in the guide has at most twenty lines besides imports and labels a clip as `predict` does."""
    (text,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len([line for line in text.splitlines() if line and not line.startswith("import")]) <= 20
    program = tmp_path / "client.py"
    program.write_text(text)
    clip, model = make_video(), build_model()
    with running(model) as server:
        command = [sys.executable, program, server.address, clip]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "model tiny" and len(lines) == 21
    wanted = [prediction.label for _, prediction in predict(clip, model)]
    labels = [re.search(r"\['(\w+)'", line).group(1) for line in lines[1:]]
    assert sum(a == b for a, b in zip(labels, wanted, strict=True)) >= 18  # JPEG changes the pictures a little


def test_the_tables_are_true() -> None:
    """The table of commands and the number of clients match the code."""
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", PAGE.split("**From the server.**")[0], flags=re.MULTILINE)
    documented = {name: tuple(re.findall(r"`(\w+)`", fields)) for name, fields in rows}
    assert documented == {name: tuple(fields) for name, fields in COMMANDS.items()}
    assert f"| clients at a time | {MAX_CONNECTIONS} |" in PAGE
