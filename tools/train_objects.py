"""Make weights/objects: the distilled backbone with its classifier, and a liquid filter on its scores.

    python tools/train_objects.py --backbone BACKBONE.safetensors --data DATA --work WORK [-o weights/objects]

Embedded clips are kept in WORK; a second call continues from them.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import Backbone, Model, Preprocessing
from liquidvision.models.heads.liquid_filter import LiquidFilterConfig
from tools.bench_objects import CLIPS, TRAINING_SEEDS, TUNING_CLIPS, compare_filters
from tools.distill.pictures import imagenet_classes
from tools.objects.card import make_card
from tools.objects.clips import halves, names, pictures, simulated
from tools.objects.fit import FIRST_DT, Recipe, fit
from tools.objects.simulate import SIDE

NODES = {"features.18": 1, "classifier.1": 1}
CHUNK = 50


def frozen_backbone(weights: Path, classes: list[int], work: Path) -> Backbone:
    """Return the distilled backbone with only these classes, in its stored half precision."""
    state = load_file(weights)
    for key in ("classifier.1.weight", "classifier.1.bias"):
        state[key] = state[key][classes].clone()
    file = work / "backbone.safetensors"
    save_file(state, file)
    preprocessing = Preprocessing(size=(SIDE, SIDE), shorter=None)
    return Backbone("mobilenet_v2", nodes=NODES, weights=file, preprocessing=preprocessing)


def still_accuracy(backbone: Backbone, pool: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the share of undamaged pictures that the classifier gets right, 0..1."""
    shown, labels = pool
    classes = backbone.channels["classifier.1"]
    right = 0
    for start in range(0, len(shown), CHUNK):
        said = backbone.embed(list(shown[start : start + CHUNK]))[:, -classes:].argmax(-1).numpy()
        right += int((said == labels[start : start + CHUNK]).sum())
    return right / len(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", type=Path, required=True, help="what tools/distill_backbone.py exported")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/")
    parser.add_argument("--work", type=Path, required=True, help="where embedded clips are kept")
    parser.add_argument("-o", "--out", type=Path, default=Path("weights/objects"))
    parser.add_argument("--clips", type=int, default=300, help="training clips")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    images = options.data / "images"
    called, numbers = names(images), imagenet_classes(images)
    wnids = list(called)
    backbone = frozen_backbone(options.backbone, [numbers[wnid] for wnid in wnids], options.work)
    key = hashlib.sha256(options.backbone.read_bytes()).hexdigest()[:12]
    unseen = pictures(images, "val", wnids)
    stills = still_accuracy(backbone, unseen)
    print(f"pictures of tiny ImageNet's val part, undamaged: {stills:.1%} right", flush=True)
    learn, judge = halves(unseen)
    train = simulated(backbone, learn, range(options.clips), "train", options.work / key / "train")
    recipe = Recipe()
    head = fit(LiquidFilterConfig(*backbone.channels.values()), train, recipe)
    model = Model(backbone, head, [called[wnid] for wnid in wnids], name="objects", first_dt=FIRST_DT)
    tuning = simulated(
        backbone, learn, range(TRAINING_SEEDS, TRAINING_SEEDS + TUNING_CLIPS), "train", options.work / key / "tuning"
    )
    clips = simulated(backbone, judge, range(CLIPS), "test", options.work / key / "test")
    table = compare_filters(model, tuning, clips)
    card = make_card(model, recipe, clips=options.clips, backbone=options.backbone, stills=stills, table=table)
    model.save_pretrained(options.out, card=card)
    print(f"written: {options.out}\n{card}")


if __name__ == "__main__":
    main()
