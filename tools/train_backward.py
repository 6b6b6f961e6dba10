"""Give weights/actions its backward head: render and embed clips, and train on them from their ends.

    python tools/train_backward.py --work WORK [-m actions] [-o weights/actions]

Embeddings are kept in WORK, one file a clip; a second call continues from them. `--minutes` ends a call early: the next
one goes on. Choices are made on clips of the `train` split that are not trained on.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import LiquidHead, Model, Session
from liquidvision.inference.recording import predict_embeddings
from liquidvision.models.model import own_tensors
from tools.actions.card import add_backward_section
from tools.actions.clips import ClipSet, embed_clips, instants, read_clip
from tools.actions.fit import Recipe, fit_backward
from tools.bench_actions import frames_without_pictures
from tools.figures import ACTIONS

VALIDATION_SEED = 100_000  # the first of the clips that choices are made on


def train_times(seed: int) -> np.ndarray:
    """Return the times of a training clip's frames."""
    return instants(seed, seconds=8.0, rate=25.0, jitter=0.5)


def stack_clips(paths: list[Path]) -> ClipSet:
    """Return clips of equal length as one set."""
    times, labels, embeddings = (np.stack(part) for part in zip(*map(read_clip, paths), strict=True))
    return ClipSet(times, labels, embeddings)


def validate(model: Model, paths: list[Path]) -> tuple[float, float]:
    """Return the percentages of frames right with memory, and with two passes and runs of .3 s or more."""
    causal = two = total = 0
    for path in paths:
        times, labels, embeddings = read_clip(path)
        frames, xs = frames_without_pictures(times), torch.from_numpy(embeddings).float()
        for truth, prediction in zip(labels, predict_embeddings(Session(model), frames, xs), strict=True):
            causal += int(prediction.causal_scores.argmax() == truth)
            two += prediction.label_index == truth
            total += 1
    return 100 * causal / total, 100 * two / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where embeddings are kept")
    parser.add_argument("-m", "--model", default="actions")
    parser.add_argument("-o", "--out", type=Path, default=Path("weights/actions"))
    parser.add_argument("--clips", type=int, default=400, help="training clips")
    parser.add_argument("--validation-clips", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=Recipe().epochs)
    parser.add_argument("--calm", type=float, default=Recipe().calm, help="weight of the penalty on flicker")
    parser.add_argument("--cell", help="another cell than the forward head's, to compare")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="embed for this long at most")
    options = parser.parse_args()
    model = Model.from_pretrained(options.model, device="auto")
    if model.labels != ACTIONS or not isinstance(model.head, LiquidHead):
        parser.error(f"the labels of {options.model} are not the rendered actions")
    sets, left = {}, 60 * options.minutes
    for name, first, count in (("validation", VALIDATION_SEED, options.validation_clips), ("train", 0, options.clips)):
        seeds = range(first, first + count)
        sets[name] = embed_clips(model.backbone, options.work, name, "train", seeds, train_times, seconds=left)
        print(f"{name}: {len(sets[name])} of {count} clips are embedded", flush=True)
        if len(sets[name]) < count:
            sys.exit("call again to go on")
    recipe = Recipe(epochs=options.epochs, calm=options.calm, seed=options.seed, first_dt=model.first_dt)
    forward = model.head.cpu()
    config = replace(forward.config, cell=options.cell or forward.config.cell)
    head = fit_backward(forward, config, stack_clips(sets["train"]), recipe, log=partial(print, flush=True))
    sides = Model(
        model.backbone, model.head, model.labels, name=model.name, first_dt=model.first_dt, backward_head=head
    )
    causal, two = validate(sides, sets["validation"])
    print(f"validation: {causal:.1f} % of frames right with memory, {two:.1f} % with two passes")
    card = (model.folder / "README.md").read_text(encoding="utf-8") if model.folder else ""
    own = sum(value.numel() for value in own_tensors(head).values())
    card = add_backward_section(card, clips=options.clips, parameters=own, recipe=recipe)
    sides.save_pretrained(options.out, card=card)
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
