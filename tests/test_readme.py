"""The README's promises: each of its snippets runs, and its commands are those that CI runs."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"
CI = Path(__file__).parents[1] / ".ci" / "run"
LIQUID = Path(__file__).parents[1] / "docs" / "guides" / "liquid.md"


def snippets_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def command_after(marker: str) -> str:
    """The code block that directly follows `<!-- ci: MARKER -->`, as .ci/run finds it."""
    found = re.findall(
        rf"^<!-- ci: {marker} -->\n```\w*\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(found) == 1, f"README.md needs one code block directly after <!-- ci: {marker} -->"
    return found[0].strip()


SNIPPETS = snippets_of(README)
SAMPLES = Path(__file__).parents[1] / "samples"


class FakeCamera:
    """Stands for a camera: a picture each time, of increasing brightness."""

    def __init__(self, *_: object) -> None:
        self.count = 0

    def isOpened(self) -> bool:  # OpenCV's name  # noqa: N802
        return True

    def read(self) -> tuple[bool, np.ndarray]:
        self.count += 1
        return True, np.full((48, 64, 3), self.count % 255, np.uint8)

    def get(self, _: int) -> float:
        return 0.0

    def getBackendName(self) -> str:  # OpenCV's name  # noqa: N802
        return "FAKE"

    def release(self) -> None:
        pass


def test_the_readme_has_its_snippets():
    """File, camera, arrays, session, whole job and own head: the README shows six snippets."""
    assert len(SNIPPETS) == 6


def test_the_set_up_commands_are_marked():
    """One marked command installs the package and runs the main job; the other installs the tests and runs them."""
    run, test = command_after("install-and-run"), command_after("install-and-test")
    assert run.startswith("python3 -m venv .venv && ") and "\n" not in run
    assert "pip install . " in run and "liquidvision infer samples/" in run
    assert test.startswith("python3 -m venv .venv && ") and "\n" not in test
    assert "pip install -e '.[test]'" in test and test.endswith("python -m pytest")


def test_ci_runs_the_marked_commands():
    """.ci/run extracts exactly the two marked commands."""
    script = CI.read_text(encoding="utf-8")
    function = script[script.index("readme_command() {") :].split("\n}\n")[0] + "\n}\n"
    for marker in ("install-and-run", "install-and-test"):
        assert f"$(readme_command {marker})" in script
        ran = subprocess.run(
            ["bash", "-euc", f"{function}readme_command {marker}"],
            cwd=README.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.strip() == command_after(marker)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: re.sub(r"\W+", " ", text)[-40:].strip())
def test_each_snippet_runs(snippet, tmp_path, monkeypatch):
    """A snippet of the README, pasted into a file, runs."""
    import cv2

    ticks = iter(range(10**6))
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    monkeypatch.setattr("liquidvision.video.read.opencv_reader.time.monotonic", lambda: next(ticks) * 0.5)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").symlink_to(SAMPLES)
    exec(compile(snippet, "README.md", "exec"), {"__name__": "readme"})


def test_the_page_of_the_liquid_core_shows_what_runs():
    """The snippets of docs/guides/liquid.md run as they stand, and the toy task is learnt."""
    contract, task = snippets_of(LIQUID)
    exec(compile(contract, str(LIQUID), "exec"), {})
    names: dict = {}
    exec(compile(task, str(LIQUID), "exec"), names)
    assert names["loss"] < 0.4
