"""Pictures of the rendered figure at scattered times, and its joints on them, in a folder."""

import json
import os
import threading
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tools.actions.clips import SIDE
from tools.figures import render_clip

JOINTS = 14
STILLS, SECONDS = 8, 30.0  # pictures of a clip, and the time they are spread over
FIRST = 200_000  # seeds below are those of the head's clips


class Stills:
    """Pictures and joints of many rendered clips: used as soon as the first are there, while the rest is rendered.

    Attributes:
        pictures: (n, SIDE, SIDE, 3) uint8.
        joints: (n, 14, 2) float32, fractions of the picture.
        ready: how many of them are there.
    """

    def __init__(self, folder: Path, clips: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.done, self.recipe = folder / "done.json", {"clips": clips, "stills": STILLS, "seconds": SECONDS}
        finished = self.done.exists() and json.loads(self.done.read_text()) == self.recipe
        self.pictures, self.joints = opened(folder, clips, "r+" if finished else "w+")
        self.ready = clips * STILLS if finished else 0
        self.failure: BaseException | None = None
        self.grown = threading.Condition()
        if not finished:
            threading.Thread(target=self.render, args=(folder, clips), daemon=True).start()

    def render(self, folder: Path, clips: int) -> None:
        """Render the missing clips on all cores; `draw` may be called meanwhile."""
        try:
            with get_context("spawn").Pool(initializer=yield_to_training) as pool:
                for number in pool.imap(partial(render_stills, folder, clips), range(clips), chunksize=4):
                    with self.grown:
                        self.ready = (number + 1) * STILLS
                        self.grown.notify()
            self.done.write_text(json.dumps(self.recipe))
        except BaseException as error:  # raised again by `draw`, which would wait for ever
            with self.grown:
                self.failure = error
                self.grown.notify()

    def draw(self, count: int, chance: torch.Generator) -> list[Tensor]:
        """Return `count` random pictures (count, SIDE, SIDE, 3) of those rendered, and their joints (count, 14, 2)."""
        with self.grown:
            self.grown.wait_for(lambda: self.failure or self.ready >= min(4 * count, len(self.pictures)))
        if self.failure:
            raise self.failure
        rows = torch.randint(self.ready, (count,), generator=chance)
        return [torch.from_numpy(each)[rows] for each in (self.pictures, self.joints)]


def yield_to_training() -> None:
    """Give training priority over rendering where cores are short."""
    if hasattr(os, "nice"):
        os.nice(10)


def opened(folder: Path, clips: int, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays of the clips' stills, backed by files."""
    pictures = np.memmap(folder / "pictures.u8", np.uint8, mode, shape=(clips * STILLS, SIDE, SIDE, 3))
    return pictures, np.memmap(folder / "joints.f32", np.float32, mode, shape=(clips * STILLS, JOINTS, 2))


def render_stills(folder: Path, clips: int, number: int) -> int:
    """Write the stills of one clip, at random times, into the arrays; return the clip's number."""
    pictures, joints = opened(folder, clips, "r+")
    times = np.sort(np.random.default_rng(FIRST + number).uniform(0, SECONDS, STILLS))
    for row, still in enumerate(render_clip(FIRST + number, times=times, size=(SIDE, SIDE)), number * STILLS):
        pictures[row], joints[row] = still.image, still.joints
    return number
