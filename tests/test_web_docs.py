"""docs/guides/webcam.md keeps its word: its client runs as it is written, and its tables are those of the code."""

import re
import subprocess
import sys
from pathlib import Path

from conftest import build_model
from web import running

from liquidvision import predict
from liquidvision.web.protocol import COMMANDS
from liquidvision.web.server import MOST_CONNECTIONS

PAGE = (Path(__file__).parents[1] / "docs" / "guides" / "webcam.md").read_text(encoding="utf-8")


def test_the_client_runs(make_video, tmp_path: Path) -> None:
    """The page's client, of twenty lines and imports, labels a clip as `predict` does."""
    (text,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len([line for line in text.splitlines() if line and not line.startswith("import")]) <= 20
    program = tmp_path / "client.py"
    program.write_text(text)
    clip, model = make_video(), build_model()
    with running(model) as place:
        command = [sys.executable, program, place.address, clip]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "model tiny" and len(lines) == 21
    wanted = [prediction.label for _, prediction in predict(clip, model)]
    labels = [re.search(r"\['(\w+)'", line).group(1) for line in lines[1:]]
    assert sum(a == b for a, b in zip(labels, wanted, strict=True)) >= 18  # JPEG changes the pictures a little


def test_the_tables_are_true() -> None:
    """Each command is told with its fields; the number of clients is the code's."""
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", PAGE.split("**From the server.**")[0], flags=re.MULTILINE)
    told = {name: tuple(re.findall(r"`(\w+)`", fields)) for name, fields in rows}
    assert told == {name: tuple(fields) for name, fields in COMMANDS.items()}
    assert f"| clients at a time | {MOST_CONNECTIONS} |" in PAGE
