"""The bundled models and samples: size, model cards and accuracy."""

import csv
from pathlib import Path

import pytest

from liquidvision import Model, Session, open_video
from liquidvision.models.folder import bundled_models

ROOT = Path(__file__).parents[1]
SAMPLES = sorted((ROOT / "samples").glob("*.mp4"))


def truth(sample: Path) -> list[tuple[float, float, str]]:
    with sample.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return [(float(row["start"]), float(row["end"]), row["label"]) for row in csv.DictReader(file)]


def test_everything_bundled_is_small():
    """Weights and samples together stay under 25 MB."""
    files = [path for folder in ("weights", "samples") for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 25e6


def test_every_model_has_a_card():
    """Each bundled model loads by its name and has a card with its training data, accuracy and limits."""
    assert "actions" in bundled_models()
    for name, folder in bundled_models().items():
        assert Model.from_pretrained(name, device="cpu").name == name
        card = (folder / "README.md").read_text(encoding="utf-8")
        for part in ("license: apache-2.0", "## Trained on", "## How well it does", "## Not for"):
            assert part in card, f"{name}: {part}"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_memory_improves_accuracy_on_the_samples(sample):
    """On the held-out samples, accuracy with memory is at least 25 points higher than from each frame alone."""
    spans = truth(sample)
    session = Session(Model.from_pretrained("actions", device="cpu"))
    right = alone = frames = 0
    with open_video(sample) as video:
        for frame in video:
            prediction = session.push(frame)
            label = next((label for start, end, label in spans if start <= frame.time < end), spans[-1][2])
            frames += 1
            right += prediction.label == label
            alone += prediction.frame_label == label
    assert right / frames >= 0.6
    assert right / frames - alone / frames >= 0.25
