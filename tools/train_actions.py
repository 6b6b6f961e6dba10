"""Makes weights/actions: renders clips, embeds them with the distilled backbone, trains the liquid head on them.

    python tools/train_actions.py --backbone BACKBONE.safetensors --work WORK [-o weights/actions]

Pictures and embeddings are kept in WORK; a second call goes on with what is there.
"""

import argparse
import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import Backbone, Head, HeadConfig, Model, Preprocessing, layouts_of
from tools.actions.card import card_of
from tools.actions.clips import SIDE, embed_set, render_set
from tools.actions.fit import Recipe, accuracy, fit
from tools.bench_actions import SAMPLINGS, measure
from tools.figures import ACTIONS

NODES = {"features.18": 1, "features.13": 5}


def frozen_backbone(weights: Path) -> Backbone:
    """The distilled backbone at the pictures' own size, in the half precision that it is stored in."""
    preprocessing = Preprocessing(size=(SIDE, SIDE), shorter=None)
    backbone = Backbone("mobilenet_v2", nodes=NODES, weights=weights, preprocessing=preprocessing)
    backbone.extractor.load_state_dict(
        {k: v.half().float() if v.is_floating_point() else v for k, v in backbone.extractor.state_dict().items()}
    )
    return backbone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", type=Path, required=True, help="what tools/distill_backbone.py exported")
    parser.add_argument("--work", type=Path, required=True, help="where pictures and embeddings are kept")
    parser.add_argument("-o", "--out", type=Path, default=Path("weights/actions"))
    parser.add_argument("--clips", type=int, default=1400, help="training clips")
    parser.add_argument("--test-clips", type=int, default=60, help="clips that the card's figures are measured on")
    parser.add_argument("--epochs", type=int, default=Recipe().epochs)
    parser.add_argument("--calm", type=float, default=Recipe().calm, help="weight of the penalty on flicker")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    sets = {
        "train": render_set(options.work / "train", "train", range(options.clips)),
        "validation": render_set(
            options.work / "validation", "train", range(100_000, 100_000 + max(1, options.clips * 60 // 1400))
        ),
    }
    backbone = frozen_backbone(options.backbone)
    key = hashlib.sha256(options.backbone.read_bytes() + repr(NODES).encode()).hexdigest()[:16]
    embedded = {name: embed_set(clips, backbone, options.work / name, key) for name, clips in sets.items()}
    config = HeadConfig(layouts_of(backbone), len(ACTIONS), cell="gated", width=48, dropout=0.2)
    recipe = Recipe(epochs=options.epochs, seed=options.seed, calm=options.calm)
    head: Head = fit(config, embedded["train"], recipe)
    with_memory, alone = accuracy(head, embedded["validation"], recipe.first_dt)
    print(f"validation: {with_memory:.1%} of frames right with memory, {alone:.1%} by each frame alone")
    model = Model(backbone, head, ACTIONS, name="actions", first_dt=recipe.first_dt)
    measured = {name: measure(model, options.test_clips, sampling) for name, sampling in SAMPLINGS.items()}
    card = card_of(
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
