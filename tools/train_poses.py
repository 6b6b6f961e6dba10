"""Make the backbone of weights/actions: render the figure and train a network to find its joints.

    python tools/train_poses.py --work WORK [--images 2140000]

Wants a GPU: some six minutes on a large one, and four more for what 16 cores render; half a day and more without. A
second call goes on from the last checkpoint; pictures are kept once all are rendered. Ends with
WORK/backbone.safetensors.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision.models.device import choose_device
from tools.actions.poses import BATCH, RATE, STILL, teach
from tools.actions.stills import STILLS, Stills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2_140_000, help="seen in training, views of the stills")
    parser.add_argument("--stills", type=int, default=560_000, help="rendered; 77 kB of disk each")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rate", type=float, default=RATE, help="peak of the learning rate")
    parser.add_argument("--start", type=Path, help="a backbone.safetensors to begin with, to teach it further")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--still", type=float, default=STILL, help="share of the steps with running statistics")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    stills = Stills(options.work / "stills", -(-options.stills // STILLS))
    device = choose_device(options.device)
    written = teach(
        stills,
        options.work,
        images=options.images,
        device=device,
        batch=options.batch,
        rate=options.rate,
        start=options.start,
        still=options.still,
        seed=options.seed,
    )
    print("written:", written)


if __name__ == "__main__":
    main()
