"""Train a model on a folder of clips, one folder per class, and measure it.

python examples/train_and_evaluate.py    # makes clips/ and trains my-model/
"""

from pathlib import Path

import cv2
import numpy as np

import liquidvision as lv


def write_clip(path: Path, direction: int, seed: int) -> None:
    """A second of a bright square that moves to one side: no single frame says to which."""
    start = int(np.random.default_rng(seed).integers(30, 60))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 12, (96, 96))
    for step in range(12):
        picture = np.full((96, 96, 3), 60 + seed, np.uint8)
        x = start + direction * 3 * step
        cv2.rectangle(picture, (x, 40), (x + 12, 56), (240, 240, 240), -1)
        writer.write(picture)
    writer.release()


for label, direction in (("to the left", -1), ("to the right", 1)):
    folder = Path("clips") / label
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(8):
        write_clip(folder / f"{number}.mp4", direction, number)

lv.train("clips/", "my-model", backbone="objects", epochs=3)
result = lv.evaluate("clips/", "my-model")
print(result)
