"""Python shown in README and guides runs as it stands, and the README's set-up commands are those that CI runs."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CI = ROOT / ".ci" / "run"
LIQUID = ROOT / "docs" / "guides" / "liquid.md"
# Pages whose snippets need nothing but the samples; other tests run those of liquid, train, evaluate and webcam.
PAGES = [
    README,
    *(ROOT / "docs" / f"{name}.md" for name in ("index", "getting-started", "guides/infer", "guides/streams")),
]


def snippets_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def command_after(marker: str) -> str:
    """The code block that directly follows `<!-- ci: MARKER -->`, as .ci/run finds it."""
    found = re.findall(
        rf"^<!-- ci: {marker} -->\n```\w*\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(found) == 1, f"README.md needs one code block directly after <!-- ci: {marker} -->"
    return found[0].strip()


SNIPPETS = [
    pytest.param(snippet, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, snippet in enumerate(snippets_of(page), start=1)
]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_has_snippets(page):
    """Each of these pages shows how its job is done in Python."""
    assert snippets_of(page)


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


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_each_snippet_runs(snippet, tmp_path, monkeypatch):
    """A snippet, pasted into a file, runs."""
    import cv2

    ticks = iter(range(10**6))
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    monkeypatch.setattr("liquidvision.video.read.opencv_reader.time.monotonic", lambda: next(ticks) * 0.5)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    (tmp_path / "clip.mp4").symlink_to(ROOT / "samples" / "actions_vfr.mp4")
    exec(compile(snippet, "snippet", "exec"), {"__name__": "snippet"})


def test_the_page_of_the_liquid_core_shows_what_runs():
    """The snippets of docs/guides/liquid.md run as they stand, and the toy task is learnt."""
    contract, task = snippets_of(LIQUID)
    exec(compile(contract, str(LIQUID), "exec"), {})
    names: dict = {}
    exec(compile(task, str(LIQUID), "exec"), names)
    assert names["loss"] < 0.4
