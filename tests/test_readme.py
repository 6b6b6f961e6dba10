"""The README's promises: each of its snippets runs, and its commands are those that CI runs."""

import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"
LIQUID = Path(__file__).parents[1] / "docs" / "liquid.md"


def snippets_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


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
    """The snippets of docs/liquid.md run as they stand, and the toy task is learnt."""
    contract, task = snippets_of(LIQUID)
    exec(compile(contract, str(LIQUID), "exec"), {})
    names: dict = {}
    exec(compile(task, str(LIQUID), "exec"), names)
    assert names["loss"] < 0.4
