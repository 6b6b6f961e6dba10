"""Make weights/actions: render clips, embed them with the backbone that finds joints, train the liquid head.

    python tools/train_actions.py --backbone BACKBONE.safetensors --work WORK [-o weights/actions]

Pictures and embeddings are kept in WORK; a second call continues from them.
"""

import argparse
import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import LiquidHead, LiquidHeadConfig, Model
from liquidvision.training.recipe import TAUS
from tools.actions.card import make_card
from tools.actions.clips import embed_set, render_set
from tools.actions.fit import Recipe, accuracy, fit
from tools.actions.poses import load_taught_backbone
from tools.bench_actions import SAMPLINGS, measure
from tools.figures import ACTIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", type=Path, required=True, help="what tools/train_poses.py exported")
    parser.add_argument("--work", type=Path, required=True, help="where pictures and embeddings are kept")
    parser.add_argument("-o", "--out", type=Path, default=Path("weights/actions"))
    parser.add_argument("--clips", type=int, default=1000, help="training clips")
    parser.add_argument("--test-clips", type=int, default=60, help="clips that the card's figures are measured on")
    parser.add_argument("--epochs", type=int, default=Recipe().epochs)
    parser.add_argument("--calm", type=float, default=Recipe().calm, help="weight of the penalty on flicker")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    sets = {
        "train": render_set(options.work / "train", "train", range(options.clips)),
        "validation": render_set(
            options.work / "validation", "train", range(100_000, 100_000 + max(1, options.clips * 60 // 1000))
        ),
    }
    backbone, to_joints = load_taught_backbone(options.backbone)
    backbone.place("auto")
    key = hashlib.sha256(options.backbone.read_bytes()).hexdigest()[:16]
    embedded = {name: embed_set(clips, backbone, options.work / name, key) for name, clips in sets.items()}
    layouts, components = backbone.layouts, to_joints.out_features
    config = LiquidHeadConfig(
        layouts, len(ACTIONS), components=components, taus=TAUS, width=64, units=96, cell="gated", dropout=0.1
    )
    recipe = Recipe(epochs=options.epochs, seed=options.seed, calm=options.calm)
    head: LiquidHead = fit(config, embedded["train"], recipe, readout=to_joints.weight)
    with_memory, alone = accuracy(head, embedded["validation"], recipe.first_dt)
    print(f"validation: {with_memory:.1%} of frames right with memory, {alone:.1%} by each frame alone")
    model = Model(backbone, head, ACTIONS, name="actions", first_dt=recipe.first_dt).to("auto")
    measured = {name: measure(model, options.test_clips, sampling) for name, sampling in SAMPLINGS.items()}
    card = make_card(
        model,
        recipe,
        clips=options.clips,
        backbone=options.backbone,
        seed=options.seed,
        test_clips=options.test_clips,
        measured=measured,
    )
    model.save_pretrained(options.out, card=card)
    print(f"written: {options.out}\n{card}")


if __name__ == "__main__":
    main()
